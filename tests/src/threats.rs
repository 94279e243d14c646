//! Threats against secured endpoints on a network, each with a control in which the attack succeeds once the defence is
//! taken out. `docs/threats.md` lists all of them, also those that are tested elsewhere.

mod amplification;
mod downgrade;
mod injection;
mod redirection;

use std::net::SocketAddr;
use std::time::Duration;

use antiphon_netsim::HostId;
use antiphon_oscore::Settings;
use antiphon_proto::{Access, EndpointConfig, GroupPolicy, Leisure, Resource};
use antiphon_tests::secure::{self, Sealer};
use antiphon_tests::stage::{Datagram, Diary, Ground, Stage, Stranger};
use antiphon_wire::{Class, Code, OptionNumber, Type};

/// The member that asks, by its number in the security group.
const ASKER: u8 = 1;

/// Servers of one security group, numbered from 2 there, at addresses from 11 on; and the two ends of an attack.
struct Scene {
    stage: Stage,
    servers: Vec<HostId>,
    diaries: Vec<Diary>,
    /// What the asking member would send.
    sealer: Sealer,
    /// Where that member is.
    asker: Stranger,
    /// Whoever is to be drowned in answers.
    victim: Stranger,
}

impl Scene {
    fn new(count: u8, config: EndpointConfig) -> Scene {
        let mut stage = Stage::new(Ground::Realm, 21);
        let numbers = 2..2 + count;
        let (mut servers, mut diaries) = (vec![], vec![]);
        for number in numbers.clone() {
            let host = stage.member_with(u16::from(number) + 9, &[5683], config.clone());
            let diary = Diary::new();
            // As talkative as a server can be.
            let policy = GroupPolicy::respond()
                .answer(Class::ClientError)
                .answer(Class::ServerError)
                .leisure(Leisure::Fixed(Duration::ZERO));
            let secured = Resource::at("/r").get(diary.handler(Code::CONTENT, "1"));
            let server = stage.server(host);
            server.add(secured.group_policy(policy.clone())).unwrap();
            let open = Resource::at("/open").get(diary.handler(Code::CONTENT, "1"));
            let open = open.group_policy(policy).access(Access::Unsecured);
            server.add(open).unwrap();
            stage.join(host, Ground::Realm.group(1, 5683));
            let node = stage.world.node(host);
            node.key = Some(secure::key(number));
            let group = secure::group(number, [ASKER], Settings::default());
            node.endpoint.security_mut().add_group(group);
            node.endpoint.set_answer_errors(true);
            servers.push(host);
            diaries.push(diary);
        }
        let asker = stage.stranger(1, 40_000);
        let victim = stage.stranger(3, 40_000);
        stage.settle();
        Scene {
            stage,
            servers,
            diaries,
            sealer: Sealer::new(ASKER, numbers),
            asker,
            victim,
        }
    }

    fn group(&self) -> SocketAddr {
        self.stage.ground.group(1, 5683)
    }

    /// The address of a server, counted from 0.
    fn server(&self, number: u16) -> SocketAddr {
        SocketAddr::new(self.stage.ground.address(11 + number), 5683)
    }

    fn address_of(&self, number: u16) -> SocketAddr {
        SocketAddr::new(self.stage.ground.address(number), 40_000)
    }

    /// Sends as if it came from the victim, and waits for longer than any leisure; how much the victim gets for it.
    fn spoof(&mut self, to: SocketAddr, bytes: &[u8]) -> usize {
        self.stage.heard(self.victim);
        let victim = self.address_of(3);
        self.stage.forge(victim, to, bytes);
        self.stage.run(Duration::from_secs(60));
        self.stage.heard(self.victim).len()
    }

    /// How often handlers ran, at all servers.
    fn delivered(&self) -> usize {
        self.diaries.iter().map(Diary::len).sum()
    }
}

/// GET of one path segment.
fn get(mid: u16, segment: &str) -> Vec<u8> {
    let token = [b't', mid as u8];
    Datagram {
        kind: Type::Non,
        code: Code::GET,
        mid,
        token: &token,
        options: &[(OptionNumber::URI_PATH, segment.as_bytes())],
        payload: b"",
    }
    .bytes()
}

/// The last bit changed: of signature or tag.
fn spoiled(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    bytes
}

/// A message that looks protected.
fn disguised(mid: u16, option: &[u8]) -> Vec<u8> {
    Datagram {
        kind: Type::Non,
        code: Code::POST,
        mid,
        token: b"d",
        options: &[(OptionNumber::OSCORE, option)],
        payload: &[0x55; 100],
    }
    .bytes()
}
