//! A whole endpoint: message layer, groups, resources, policies, and Group OSCORE below.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use antiphon_embedded_image::{Member, Provisioned, report, run, save};
use antiphon_embedded_line::{
    Arrival, Failure, MAX_BODY, PATH, PORT, Report, SEED_LEN, TEMPERATURE,
};
use antiphon_oscore::crypto::SoftwareKey;
use antiphon_proto::{
    CoapGroupSpec, DedupLimits, Discoverable, Endpoint, EndpointConfig, GroupPolicy, Incoming,
    Instant, Limits, NoSecPolicy, ParkingLimits, Path, Resource, Response, SecurityGroupName,
    SocketId, SocketInfo, Task, WorkResult,
};
use antiphon_wire::ContentFormat;
use cortex_m_rt::entry;

/// The one socket, on the one interface.
const SOCKET: SocketId = SocketId(0);
const INTERFACE: u32 = 1;

/// Addresses, which say nothing on a serial line: of the board, of its group, of everybody else.
const OWN: SocketAddr = address([0xfd00, 0, 0, 0, 0, 0, 0, 2]);
const GROUP: SocketAddr = address([0xff15, 0, 0, 0, 0, 0, 0, 0x1234]);
const HOST: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1));

const fn address([a, b, c, d, e, f, g, h]: [u16; 8]) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), PORT)
}

#[entry]
fn main() -> ! {
    run::<Board>()
}

/// The endpoint, which lives as long as the board has power, and the key that it signs with.
struct Board {
    endpoint: &'static mut Endpoint,
    key: SoftwareKey,
}

impl Member for Board {
    #[inline(never)]
    fn start(it: Box<Provisioned>, now: u64) -> Result<Board, Failure> {
        let it = *it;
        let endpoint = Box::leak(endpoint(it.seed));
        serve(endpoint, it.group.name())?;
        endpoint.security_mut().add_group(*it.group);
        let key = it.key;
        let mut board = Board { endpoint, key };
        board.go_on(Instant::from_micros(now));
        Ok(board)
    }

    fn hear(&mut self, arrival: Arrival, bytes: &[u8]) {
        let path = Path {
            socket: SOCKET,
            local: if arrival.multicast { GROUP } else { OWN },
            interface: INTERFACE,
            peer: SocketAddr::new(HOST, arrival.port),
        };
        let now = Instant::from_micros(arrival.now);
        self.endpoint.handle_timeout(now);
        self.take(now, path, bytes);
        self.go_on(now);
    }

    fn wait(&mut self, now: u64) {
        let now = Instant::from_micros(now);
        self.endpoint.handle_timeout(now);
        self.go_on(now);
    }

    fn next(&self) -> Option<u64> {
        Some(self.endpoint.next_timeout()?.as_micros())
    }
}

impl Board {
    #[inline(never)]
    fn take(&mut self, now: Instant, path: Path, bytes: &[u8]) {
        self.endpoint.handle_datagram(now, path, bytes);
    }

    /// Does all work and sends all datagrams that there are.
    fn go_on(&mut self, now: Instant) {
        let mut datagram = Vec::new();
        loop {
            if let Some(work) = self.endpoint.poll_work(now) {
                let result = self.work(work.task);
                self.endpoint.work_done(now, work.id, result);
            } else if let Some(transmit) = self.endpoint.poll_transmit(now, &mut datagram) {
                let port = transmit.route.destination.port().to_be_bytes();
                report(Report::Datagram, &port, &datagram);
            } else {
                break;
            }
        }
        while self.endpoint.poll_event().is_some() {}
    }

    /// Everything is done here and now: nothing else runs on this processor. It is not inlined, so that the stack which
    /// signatures need is not added to what the endpoint needs.
    #[inline(never)]
    fn work(&self, task: Task) -> WorkResult {
        match task {
            Task::Verify(job) => WorkResult::Checked(job.run()),
            Task::Agree(job) => WorkResult::Agreed(job.run(&self.key)),
            Task::Sign(job) => job.run(&self.key),
            Task::Store { record, .. } => {
                save(&record);
                WorkResult::Done
            }
            Task::LoadCredential { .. } => WorkResult::Credential(None),
            Task::Join { .. } | Task::Leave { .. } => WorkResult::Done,
        }
    }
}

/// In a function of its own: an endpoint has some kilobytes, and is on the stack until it is in the box.
#[inline(never)]
fn endpoint(seed: [u8; SEED_LEN]) -> Box<Endpoint> {
    Box::new(Endpoint::new(config(), seed))
}

/// Limits of a small device.
fn config() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.dedup = DedupLimits {
        records: 16,
        records_per_address: 8,
        addresses: 8,
        reply_bytes: 512,
    };
    config.parking = ParkingLimits {
        messages: 4,
        bytes: 2048,
        per_peer: 2,
        outgoing: 1,
        ..config.parking
    };
    config.limits = Limits {
        exchanges: 1,
        confirmables: 2,
        separate_per_address: 1,
        incoming: 2,
        incoming_per_address: 1,
        pending_answers: 4,
        pending_per_address: 2,
        outbox: 4,
        datagram: MAX_BODY - Arrival::LEN,
        ..config.limits
    };
    config.security.addresses = 8;
    config.security.sources = 8;
    config.server.nosec = NoSecPolicy::Nothing;
    config.server.discoverable = Discoverable::Off;
    config.server.resources = 1;
    config
}

/// Sets up the socket, the group and the resource.
#[inline(never)]
fn serve(endpoint: &mut Endpoint, security_group: &str) -> Result<(), Failure> {
    let socket = SocketInfo {
        local: OWN,
        respond_from: None,
    };
    endpoint.add_socket(SOCKET, socket);
    let answer = |_: &Incoming<'_>, response: &mut Response| {
        response.set_payload(ContentFormat::TEXT, TEMPERATURE);
    };
    let resource = Resource::at(PATH)
        .get(answer)
        .group_policy(GroupPolicy::respond());
    let wrong = |_| Failure::Resource;
    let name = SecurityGroupName::new(security_group).map_err(wrong)?;
    let group = CoapGroupSpec::new(GROUP).on(INTERFACE).secured(name);
    let server = endpoint.server_mut();
    server.add(resource).map_err(|_| Failure::Resource)?;
    server.memberships_mut().create(group).map_err(wrong)?;
    Ok(())
}
