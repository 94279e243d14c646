use core::time::Duration;

use super::*;

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

#[test]
fn timeouts_come_once_each_at_their_time() {
    let (mut sim, hosts) = choir(1, 1, 3, Segment::default());
    sim.run_until(Time::from_micros(1_000_999));
    assert_eq!(sim.now(), Time::from_micros(1_000_999));
    assert!(sim.node(hosts[1]).unwrap().heard.is_empty());
    assert_eq!(sim.next_at(), Some(Time::from_micros(1_001_000)));
    sim.run_for(Duration::from_secs(100));
    let times: Vec<_> = sim
        .node(hosts[1])
        .unwrap()
        .heard
        .iter()
        .map(|h| h.0)
        .collect();
    assert_eq!(times, [1_001, 2_001, 3_001].map(Time::from_millis));
    assert_eq!(sim.next_at(), None);
    assert_eq!(sim.now(), Time::from_micros(101_000_999));
}

#[test]
fn a_run_ends_when_the_test_has_seen_enough() {
    let (mut sim, hosts) = choir(1, 5, 100, Segment::default());
    let asker = hosts[0];
    let heard = move |sim: &Simulation<Talker>| sim.node(asker).unwrap().heard.len();
    assert!(sim.run_until_true(Time::from_secs(60), |sim| heard(sim) >= 12));
    assert_eq!(sim.now(), Time::from_millis(3_002));
    assert_eq!(heard(&sim), 15);
    assert!(!sim.run_until_true(Time::from_secs(5), |sim| heard(sim) >= 100));
    assert_eq!(sim.now(), Time::from_secs(5));
    assert!(sim.run_until_true(Time::from_secs(5), |_| true));
    assert!(!sim.run_until_idle(Time::from_secs(50)));
    assert!(sim.run_until_idle(Time::from_secs(200)));
    assert_eq!(sim.now(), Time::from_millis(100_002));
}

#[test]
fn actions_happen_in_the_order_of_time_and_making() {
    let (mut sim, hosts) = choir(1, 2, 10, Segment::default());
    let (second, third) = (hosts[1], hosts[2]);
    sim.at(Time::from_millis(2_500), move |sim| {
        sim.network_mut().set_island(second, 1);
    });
    sim.at(Time::from_millis(4_500), move |sim| {
        sim.network_mut().set_island(second, 0);
        sim.at(Time::from_millis(5_500), move |sim| {
            sim.network_mut().note(None, "one");
            sim.remove(third);
        });
        sim.at(Time::ZERO, |sim| {
            assert_eq!(sim.now(), Time::from_millis(4_500));
            sim.network_mut().note(None, "past");
        });
    });
    sim.at(Time::from_millis(5_500), |sim| {
        sim.network_mut().note(None, "zero")
    });
    sim.run_until(Time::from_secs(20));
    assert_eq!(sim.node(second).unwrap().heard.len(), 8);
    assert!(sim.node(third).is_none());
    let notes: Vec<String> = sim
        .network()
        .trace()
        .entries()
        .filter_map(|entry| match &entry.what {
            What::Note(text) if entry.host.is_none() => Some(text.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(notes, ["past", "zero", "one"]);
}

#[test]
fn a_node_is_told_of_refused_sends_and_socket_changes() {
    let (mut sim, hosts) = choir(1, 1, 2, Segment::default());
    let asker = hosts[0];
    sim.network_mut()
        .refuse_sends(asker, SendError::NoBufferSpace, 1);
    sim.node_mut(asker)
        .unwrap()
        .sockets
        .push(SocketChange::Unbind(9));
    sim.run_until(Time::from_secs(10));
    let node = sim.node(asker).unwrap();
    let refused = Outgoing::from_port(5683, SocketAddr::new(group(), 5683), b"?");
    assert_eq!(node.errors, [(SendError::NoBufferSpace, refused)]);
    assert_eq!(node.socket_results, [Err(SocketError::NotInUse), Ok(())]);
    assert_eq!(node.heard.len(), 1);
    sim.node_mut(hosts[1]).unwrap().sockets = vec![
        SocketChange::Unbind(5683),
        SocketChange::Leave(Interface::new(1), group()),
    ];
    sim.run_for(Duration::ZERO);
    assert_eq!(sim.node(hosts[1]).unwrap().socket_results, [Ok(()); 4]);
    assert!(
        !sim.network()
            .has_joined(hosts[1], Interface::new(1), group())
    );
}

#[test]
fn a_crashed_host_comes_back_with_a_new_node() {
    let (mut sim, hosts) = choir(1, 1, 6, Segment::default());
    let member_host = hosts[1];
    sim.run_until(Time::from_millis(2_500));
    let old = sim.crash(member_host).unwrap();
    assert_eq!(old.heard.len(), 2);
    assert!(sim.node(member_host).is_none());
    assert!(sim.crash(member_host).is_none());
    sim.run_until(Time::from_millis(4_500));
    sim.restart(member_host, member());
    sim.run_until(Time::from_secs(10));
    let times: Vec<_> = sim
        .node(member_host)
        .unwrap()
        .heard
        .iter()
        .map(|h| h.0)
        .collect();
    assert_eq!(times, [5_001, 6_001].map(Time::from_millis));
    assert_eq!(sim.node(hosts[0]).unwrap().heard.len(), 4);
    assert_eq!(sim.nodes().count(), 2);
    assert!(format!("{sim:?}").contains("nodes: 2"));
}

#[test]
fn a_removed_node_gets_no_timeout_and_its_host_keeps_what_comes() {
    let (mut sim, hosts) = choir(1, 1, 6, Segment::default());
    sim.run_until(Time::from_millis(500));
    assert!(sim.remove(hosts[0]).is_some());
    assert!(sim.remove(hosts[0]).is_none());
    assert_eq!(sim.next_at(), None);
    let out = Outgoing::from_port(5683, SocketAddr::new(group(), 5683), b"!");
    sim.network_mut().send(hosts[0], out).unwrap();
    sim.run_until(Time::from_secs(1));
    let delivery = sim.network_mut().next_delivery(hosts[0]).unwrap();
    assert_eq!(delivery.src, at("[fe80::2%1]:5683"));
}

#[test]
fn time_that_was_moved_by_hand_is_caught_up_with() {
    let (mut sim, hosts) = choir(1, 1, 1, Segment::default());
    sim.run_until(Time::from_secs(1));
    sim.network_mut().advance_to(Time::from_millis(1_001));
    assert!(sim.node(hosts[1]).unwrap().heard.is_empty());
    sim.run_for(Duration::ZERO);
    assert_eq!(sim.node(hosts[1]).unwrap().heard.len(), 1);
}

struct Stuck;

impl Node for Stuck {
    fn handle_datagram(&mut self, _: Time, _: &Arrival, _: &[u8]) {}
    fn handle_timeout(&mut self, _: Time) {}
    fn poll_transmit(&mut self, _: Time) -> Option<Outgoing> {
        None
    }
    fn next_timeout(&self) -> Option<Time> {
        Some(Time::from_secs(3))
    }
}

#[test]
#[should_panic(expected = "time stands still at 3.000000: next timeouts [(3.000000s, HostId(0))]")]
fn a_node_that_never_lets_time_go_on_is_named() {
    let mut net = Network::new(1);
    let host = net.add_host("stuck");
    let mut sim = Simulation::new(net);
    sim.insert(host, Stuck);
    sim.run_until(Time::from_secs(5));
}

#[test]
#[should_panic(expected = "host 0 has a node already")]
fn two_nodes_on_one_host_are_a_mistake() {
    let mut net = Network::new(1);
    let host = net.add_host("h");
    let mut sim = Simulation::new(net);
    sim.insert(host, Stuck);
    sim.insert(host, Stuck);
}
