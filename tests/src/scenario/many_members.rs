//! Ten thousand members: collected completely, in steps that grow with their number only, in little memory.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use antiphon_netsim::{
    Arrival, HostId, Impairment, Interface, Network, Node, Outgoing, Rng, Segment, Simulation, Time,
};
use antiphon_proto::{
    CollectionEvent, Completion, Endpoint, EndpointConfig, Event, Expectation, GroupRequest,
    Member, NoSec, Outcome, Path, Repeat, Security, SocketId, SocketInfo,
};
use antiphon_tests::sim::instant;
use antiphon_tests::stage::{CLIENT_PORT, Datagram, get, parse, target};
use antiphon_wire::{Code, Type};

use crate::memory;

fn group() -> SocketAddr {
    ([239, 1, 0, 1], 5683).into()
}

fn address(n: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + n).into()
}

/// The client under test, or one of the members that ask for as little memory and time as can be.
enum Cast {
    Client(Box<Client>),
    Member(Responder),
}

struct Client {
    endpoint: Endpoint,
    outcome: Option<Outcome>,
    answers: u32,
    steps: u64,
}

/// Answers each request once, after a time of its own.
struct Responder {
    own: SocketAddr,
    rng: Rng,
    pending: Vec<(Time, SocketAddr, Vec<u8>)>,
    last: Option<u16>,
}

impl Responder {
    fn hear(&mut self, now: Time, arrival: &Arrival, bytes: &[u8]) {
        let request = parse(bytes);
        let con = request.kind() == Type::Con;
        let again = self.last.replace(request.message_id().0) == Some(request.message_id().0);
        if again && !con {
            return;
        }
        let token = request.token();
        let answer = Datagram {
            kind: if con { Type::Ack } else { Type::Non },
            code: Code::CONTENT,
            mid: if con {
                request.message_id().0
            } else {
                self.rng.next_u32() as u16
            },
            token: token.as_bytes(),
            options: &[],
            payload: b"21.5",
        };
        let leisure = Duration::from_micros(self.rng.between(0, 5_000_000));
        let due = if con { now } else { now + leisure };
        self.pending.push((due, arrival.src, answer.bytes()));
    }
}

impl Node for Cast {
    fn handle_datagram(&mut self, now: Time, arrival: &Arrival, bytes: &[u8]) {
        match self {
            Self::Client(client) => {
                client.steps += 1;
                let path = Path {
                    socket: SocketId(0),
                    local: arrival.dst,
                    interface: arrival.interface.index(),
                    peer: arrival.src,
                };
                client.endpoint.handle_datagram(instant(now), path, bytes);
            }
            Self::Member(member) => member.hear(now, arrival, bytes),
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        if let Self::Client(client) = self {
            client.steps += 1;
            client.endpoint.handle_timeout(instant(now));
        }
    }

    fn poll_transmit(&mut self, now: Time) -> Option<Outgoing> {
        match self {
            Self::Client(client) => {
                let mut bytes = Vec::new();
                let sent = client.endpoint.poll_transmit(instant(now), &mut bytes);
                while let Some(event) = client.endpoint.poll_event() {
                    match event {
                        Event::Collection(CollectionEvent::Answer(_)) => client.answers += 1,
                        Event::Collection(CollectionEvent::Ended(outcome)) => {
                            client.outcome = Some(outcome);
                        }
                        other => panic!("{other:?}"),
                    }
                }
                client.steps += u64::from(sent.is_some());
                let to = sent?.route.destination;
                let from = SocketAddr::new(address(1), CLIENT_PORT);
                Some(Outgoing::new(from, to, bytes))
            }
            Self::Member(member) => {
                let due = member.pending.iter().position(|(at, ..)| *at <= now)?;
                let (_, to, bytes) = member.pending.swap_remove(due);
                Some(Outgoing::new(member.own, to, bytes))
            }
        }
    }

    fn next_timeout(&self) -> Option<Time> {
        match self {
            Self::Client(client) => {
                let at = client.endpoint.next_timeout()?;
                Some(Time::from_micros(at.as_micros()))
            }
            Self::Member(member) => member.pending.iter().map(|(at, ..)| *at).min(),
        }
    }
}

struct Measured {
    /// What the client did: datagrams in and out, and timeouts.
    steps: u64,
    /// What happened in the network.
    events: u64,
    /// The bytes that the client held for the question when all but the last had answered.
    bytes: usize,
    outcome: Outcome,
    answers: u32,
}

fn collect(members: u32) -> Measured {
    let mut network = Network::new(u64::from(members));
    network.set_trace(antiphon_netsim::Trace::new(16, 4_096));
    let lan = network.add_segment(Segment::default());
    let add = |network: &mut Network, n: u32, port: u16| -> HostId {
        let host = network.add_host(n.to_string());
        network.attach(host, lan, &[address(n)]);
        network.bind(host, port).unwrap();
        host
    };
    let client = add(&mut network, 1, CLIENT_PORT);
    let hosts: Vec<_> = (0..members)
        .map(|n| add(&mut network, n + 2, 5683))
        .collect();
    for host in &hosts {
        network
            .join(*host, Interface::new(1), group().ip())
            .unwrap();
        // A tenth of the requests and of the answers is lost.
        network.set_ingress(*host, Impairment::none().loss(0.1));
        network.set_egress(*host, Impairment::none().loss(0.1));
    }
    let mut sim = Simulation::new(network);
    for (host, n) in hosts.iter().zip(0..) {
        let responder = Responder {
            own: SocketAddr::new(address(n + 2), 5683),
            rng: Rng::stream(9, u64::from(n)),
            pending: Vec::new(),
            last: None,
        };
        sim.insert(*host, Cast::Member(responder));
    }
    let mut endpoint = Endpoint::new(EndpointConfig::default(), [9; 32]);
    let info = SocketInfo {
        local: SocketAddr::new(address(1), CLIENT_PORT),
        respond_from: None,
    };
    endpoint.add_socket(SocketId(0), info);
    let begun = memory::held();
    let mut question = GroupRequest::new(
        get("/status"),
        target(group()),
        Security::Unsecured(NoSec::Accepted),
    );
    let mut expect = Expectation::nobody();
    for n in 0..members {
        expect.add(Member::named(format!("light-{n}")).at(address(n + 2)));
    }
    question.expect = expect;
    question.repeat = Repeat::times(2);
    question.completion = Completion::Unicast {
        at_once: 64,
        within: None,
    };
    endpoint.collect(instant(Time::ZERO), question).unwrap();
    let mut held = usize::try_from(memory::held() - begun).unwrap();
    let cast = Client {
        endpoint,
        outcome: None,
        answers: 0,
        steps: 0,
    };
    sim.insert(client, Cast::Client(Box::new(cast)));
    let of = |sim: &Simulation<Cast>| match sim.node(client) {
        Some(Cast::Client(client)) => (client.outcome.is_some(), client.endpoint.load()),
        _ => unreachable!(),
    };
    let limit = Time::from_secs(3_600);
    assert!(sim.run_until_true(limit, |sim| of(sim).0), "it never ends");
    let events = sim.network().trace().recorded();
    let Some(Cast::Client(client)) = sim.remove(client) else {
        unreachable!()
    };
    let Client {
        endpoint,
        outcome,
        answers,
        steps,
    } = *client;
    // What the endpoint has gathered beside: records of the answers.
    let before = memory::held();
    drop(endpoint);
    let gathered = usize::try_from(before - memory::held()).unwrap();
    let fresh = {
        let before = memory::held();
        let fresh = Endpoint::new(EndpointConfig::default(), [9; 32]);
        let bytes = usize::try_from(memory::held() - before).unwrap();
        drop(fresh);
        bytes
    };
    held += gathered.saturating_sub(fresh);
    Measured {
        steps,
        events,
        bytes: held,
        outcome: outcome.unwrap(),
        answers,
    }
}

#[test]
fn ten_thousand_members_are_collected_completely_in_linear_steps_and_little_memory() {
    let tenth = collect(1_000);
    let all = collect(10_000);
    for (measured, members) in [(&tenth, 1_000_usize), (&all, 10_000)] {
        assert!(
            measured.outcome.is_complete(),
            "{:?}",
            measured.outcome.missing().next()
        );
        assert_eq!(measured.outcome.answered().count(), members);
        assert_eq!(measured.outcome.servers(), members);
        assert!(measured.answers as usize >= members);
        assert_eq!(measured.outcome.transmissions, 3);
    }
    // The records by which duplicates of answers are known are bounded, and counted here all the same.
    let each = all.bytes / 10_000;
    println!("{each} bytes for each of 10,000 members");
    assert!(
        each <= 400,
        "{each} bytes of client memory for each expected member"
    );
    // Ten times the members, ten times the steps; a fiftieth more at the most.
    for (few, many) in [(tenth.steps, all.steps), (tenth.events, all.events)] {
        assert!(
            many * 50 <= few * 510,
            "{few} for 1,000 members, {many} for 10,000"
        );
        assert!(
            many * 50 >= few * 480,
            "{few} for 1,000 members, {many} for 10,000"
        );
    }
}
