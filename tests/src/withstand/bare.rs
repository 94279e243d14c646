//! One endpoint without a network, fed datagram by datagram.

use std::net::SocketAddr;
use std::time::Duration;

use antiphon_proto::{
    Access, CoapGroupSpec, Endpoint, EndpointConfig, GroupPolicy, Instant, Leisure, NoSecPolicy,
    Path, Resource, Route, SocketId, SocketInfo, WorkResult,
};
use antiphon_tests::stage::Diary;
use antiphon_wire::{Class, Code, OptionNumber, Type};

pub(crate) use antiphon_tests::stage::Datagram;

/// The endpoint's address.
pub(crate) fn me() -> SocketAddr {
    ([10, 0, 0, 1], 5683).into()
}

/// Somebody else's.
pub(crate) fn peer() -> SocketAddr {
    ([10, 0, 0, 2], 40_000).into()
}

/// A group that the endpoint is a member of.
pub(crate) fn group() -> SocketAddr {
    ([224, 0, 1, 187], 5683).into()
}

/// An endpoint that serves `/r` to a group at once, errors of the client included, and counts.
pub(crate) struct Bare {
    pub(crate) endpoint: Endpoint,
    pub(crate) now: Instant,
    pub(crate) diary: Diary,
}

impl Bare {
    pub(crate) fn new(config: EndpointConfig) -> Self {
        let mut endpoint = Endpoint::new(config, [7; 32]);
        for (id, local) in [(SocketId(0), me()), (SocketId(1), group())] {
            let info = SocketInfo {
                local,
                respond_from: None,
            };
            endpoint.add_socket(id, info);
        }
        let diary = Diary::new();
        let policy = GroupPolicy::respond()
            .answer(Class::ClientError)
            .leisure(Leisure::Fixed(Duration::ZERO));
        let resource = Resource::at("/r").get(diary.handler(Code::CONTENT, "1"));
        let resource = resource.group_policy(policy).access(Access::Unsecured);
        let server = endpoint.server_mut();
        server.set_nosec(NoSecPolicy::Stated);
        server.add(resource).unwrap();
        let spec = CoapGroupSpec::new(group()).on(1).unsecured();
        server.memberships_mut().create(spec).unwrap();
        while let Some(work) = endpoint.poll_work(Instant::ZERO) {
            endpoint.work_done(Instant::ZERO, work.id, WorkResult::Done);
        }
        while endpoint.poll_event().is_some() {}
        Self {
            endpoint,
            now: Instant::ZERO,
            diary,
        }
    }

    /// A datagram from somebody else.
    pub(crate) fn hear(&mut self, local: SocketAddr, bytes: &[u8]) -> Vec<(Route, Vec<u8>)> {
        self.hear_from(peer(), local, bytes)
    }

    /// A datagram with this source.
    pub(crate) fn hear_from(
        &mut self,
        peer: SocketAddr,
        local: SocketAddr,
        bytes: &[u8],
    ) -> Vec<(Route, Vec<u8>)> {
        let path = Path {
            socket: SocketId(u16::from(local.ip().is_multicast())),
            local,
            interface: 1,
            peer,
        };
        self.endpoint.handle_datagram(self.now, path, bytes);
        self.sent()
    }

    pub(crate) fn pass(&mut self, duration: Duration) -> Vec<(Route, Vec<u8>)> {
        self.now = self.now + duration;
        self.endpoint.handle_timeout(self.now);
        self.sent()
    }

    pub(crate) fn sent(&mut self) -> Vec<(Route, Vec<u8>)> {
        let mut all = Vec::new();
        let mut out = Vec::new();
        while let Some(transmit) = self.endpoint.poll_transmit(self.now, &mut out) {
            all.push((transmit.route, out.clone()));
        }
        while self.endpoint.poll_event().is_some() {}
        all
    }

    /// Whatever happened: the next valid request is answered, by unicast and through the group.
    pub(crate) fn goes_on(&mut self) {
        let before = self.diary.len();
        let fresh: SocketAddr = ([10, 0, 0, 77], 7_777).into();
        let mid = before as u16;
        let asked = request(Type::Con, mid, b"ping", &[]);
        let answers = self.hear_from(fresh, me(), &asked);
        assert_eq!(answers.len(), 1);
        let asked = request(Type::Non, mid.wrapping_add(1), b"ping", &[]);
        let answers = self.hear_from(fresh, group(), &asked);
        assert_eq!(answers.len(), 1);
        assert_eq!(self.diary.len(), before + 2);
    }
}

/// GET /r with these further options.
pub(crate) fn request(
    kind: Type,
    mid: u16,
    token: &[u8],
    options: &[(OptionNumber, &[u8])],
) -> Vec<u8> {
    let mut all = vec![(OptionNumber::URI_PATH, &b"r"[..])];
    all.extend_from_slice(options);
    all.sort_by_key(|(number, _)| number.0);
    Datagram {
        kind,
        code: Code::GET,
        mid,
        token,
        options: &all,
        payload: b"",
    }
    .bytes()
}
