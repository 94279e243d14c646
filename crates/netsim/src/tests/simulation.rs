use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::*;

/// Asks a group once a second and answers whatever comes to it.
#[derive(Default)]
struct Talker {
    ask: Option<(SocketAddr, Time, u32)>,
    sockets: Vec<SocketChange>,
    out: Vec<Outgoing>,
    heard: Vec<(Time, Arrival, Vec<u8>)>,
    errors: Vec<(SendError, Outgoing)>,
    socket_results: Vec<Result<(), SocketError>>,
}

impl Node for Talker {
    fn handle_datagram(&mut self, now: Time, arrival: &Arrival, bytes: &[u8]) {
        if arrival.dst.ip().is_multicast() {
            self.out
                .push(Outgoing::from_port(5683, arrival.src, bytes).over(arrival.interface));
        }
        self.heard.push((now, *arrival, bytes.to_vec()));
    }
    fn handle_timeout(&mut self, now: Time) {
        if let Some((dst, at, left)) = &mut self.ask {
            assert_eq!(*at, now, "timeouts come on time");
            self.out.push(Outgoing::from_port(5683, *dst, b"?"));
            *at = now + Duration::from_secs(1);
            *left -= 1;
            if *left == 0 {
                self.ask = None;
            }
        }
    }
    fn poll_transmit(&mut self, _now: Time) -> Option<Outgoing> {
        self.out.pop()
    }
    fn next_timeout(&self) -> Option<Time> {
        self.ask.map(|(_, at, _)| at)
    }
    fn handle_send_error(&mut self, _now: Time, outgoing: &Outgoing, error: SendError) {
        self.errors.push((error, outgoing.clone()));
    }
    fn poll_socket(&mut self, _now: Time) -> Option<SocketChange> {
        self.sockets.pop()
    }
    fn handle_socket(&mut self, _now: Time, _: SocketChange, result: Result<(), SocketError>) {
        self.socket_results.push(result);
    }
}

fn group() -> IpAddr {
    "ff02::fd".parse().unwrap()
}

fn member() -> Talker {
    Talker {
        sockets: vec![
            SocketChange::Join(Interface::new(1), group()),
            SocketChange::Bind(5683),
        ],
        ..Talker::default()
    }
}

fn asker(rounds: u32) -> Talker {
    Talker {
        ask: Some((SocketAddr::new(group(), 5683), Time::from_secs(1), rounds)),
        sockets: vec![SocketChange::Bind(5683)],
        ..Talker::default()
    }
}

/// One asker (the first host) and `members` members on one segment.
fn choir(
    seed: u64,
    members: u16,
    rounds: u32,
    segment: Segment,
) -> (Simulation<Talker>, Vec<HostId>) {
    let mut net = Network::new(seed);
    let lan = net.add_segment(segment);
    let hosts: Vec<HostId> = (0..=members)
        .map(|n| {
            let host = net.add_host(format!("n{n}"));
            net.attach(host, lan, &[format!("fe80::{:x}", n + 1).parse().unwrap()]);
            host
        })
        .collect();
    let mut sim = Simulation::new(net);
    for &host in &hosts {
        sim.insert(
            host,
            if host.index() == 0 {
                asker(rounds)
            } else {
                member()
            },
        );
    }
    (sim, hosts)
}

#[test]
fn a_group_of_ten_thousand_answers_completely_in_as_many_events() {
    let (mut sim, hosts) = choir(3, 10_000, 1, Segment::default());
    sim.run_until(Time::from_secs(2));
    let asker = sim.node(hosts[0]).unwrap();
    assert_eq!(asker.heard.len(), 10_000);
    assert_eq!(asker.heard[0].0, Time::from_micros(1_002_000));
    // One question sent, 10,000 heard it, 10,000 answers sent, 10,000 came: nothing else happened.
    assert_eq!(sim.network().trace().recorded(), 30_001);
}

#[test]
fn two_runs_with_one_seed_are_the_same() {
    let run = |seed| {
        let impairment = Impairment::none()
            .loss(0.2)
            .jitter(Duration::from_millis(30));
        let (mut sim, hosts) = choir(seed, 50, 5, Segment::new(impairment));
        sim.run_until(Time::from_secs(10));
        let heard = sim.node(hosts[0]).unwrap().heard.clone();
        (sim.network().trace().digest(), heard)
    };
    assert_eq!(run(11), run(11));
    assert_ne!(run(11), run(12));
}
