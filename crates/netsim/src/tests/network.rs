use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A network with one segment, and `n` hosts on it with 10.0.0.x and fe80::x (x from 1), port 5683 open on each.
fn lan(seed: u64, n: u8, segment: Segment) -> (Network, SegmentId, Vec<HostId>) {
    let mut net = Network::new(seed);
    let lan = net.add_segment(segment);
    let hosts = (1..=n)
        .map(|x| {
            let host = net.add_host(format!("h{x}"));
            net.attach(
                host,
                lan,
                &[ip(&format!("10.0.0.{x}")), ip(&format!("fe80::{x:x}"))],
            );
            net.bind(host, 5683).unwrap();
            host
        })
        .collect();
    (net, lan, hosts)
}

fn eth() -> Interface {
    Interface::new(1)
}

/// Sends from port 5683 to `dst`.
fn say(net: &mut Network, from: HostId, dst: &str, bytes: &[u8]) {
    net.send(from, Outgoing::from_port(5683, at(dst), bytes))
        .unwrap();
}

fn settle(net: &mut Network) {
    while let Some(next) = net.next_event_at() {
        net.advance_to(next);
    }
}

#[test]
fn unicast_arrives_after_the_delay_of_the_segment_with_source_and_interface() {
    let (mut net, _, hosts) = lan(1, 2, Segment::default());
    say(&mut net, hosts[0], "10.0.0.2:5683", b"hi");
    assert_eq!(net.in_flight(), 1);
    assert_eq!(net.next_event_at(), Some(Time::from_micros(1_000)));
    net.advance_to(Time::from_micros(999));
    assert_eq!(net.deliveries(hosts[1]).len(), 0);
    net.advance_to(Time::from_micros(1_000));
    let delivery = net.next_delivery(hosts[1]).unwrap();
    assert_eq!(
        delivery,
        Delivery {
            at: Time::from_millis(1),
            interface: eth(),
            src: at("10.0.0.1:5683"),
            dst: at("10.0.0.2:5683"),
            hop_limit: DEFAULT_HOP_LIMIT,
            bytes: b"hi".as_slice().into(),
        }
    );
    assert_eq!(net.next_event_at(), None);
    assert_eq!(net.counters(hosts[0]).sent, 1);
    assert_eq!(net.counters(hosts[1]).received, 1);
}

#[test]
fn a_group_reaches_joined_interfaces_only() {
    let (mut net, _, hosts) = lan(1, 4, Segment::default());
    let group = ip("224.0.1.187");
    net.join(hosts[1], eth(), group).unwrap();
    net.join(hosts[2], eth(), group).unwrap();
    net.join(hosts[3], eth(), ip("224.0.1.188")).unwrap();
    say(&mut net, hosts[0], "224.0.1.187:5683", b"all");
    settle(&mut net);
    let heard: Vec<usize> = hosts.iter().map(|&h| net.deliveries(h).len()).collect();
    assert_eq!(heard, [0, 1, 1, 0]);
    net.leave(hosts[1], eth(), group).unwrap();
    assert!(!net.has_joined(hosts[1], eth(), group));
    assert!(net.has_joined(hosts[2], eth(), group));
    say(&mut net, hosts[0], "224.0.1.187:5683", b"all");
    settle(&mut net);
    let heard: Vec<usize> = hosts.iter().map(|&h| net.deliveries(h).len()).collect();
    assert_eq!(heard, [0, 0, 1, 0]);
}

#[test]
fn loss_is_what_arithmetic_says() {
    let (mut net, _, hosts) = lan(42, 2, Segment::new(Impairment::none().loss(0.2)));
    for _ in 0..10_000 {
        say(&mut net, hosts[0], "10.0.0.2:5683", b"x");
    }
    settle(&mut net);
    let arrived = net.deliveries(hosts[1]).len();
    // 8,000 expected, standard deviation 40: five of them.
    assert!((7_800..=8_200).contains(&arrived), "{arrived}");
    assert_eq!(net.counters(hosts[1]).lost, 10_000 - arrived as u64);
}

#[test]
fn equal_seeds_give_equal_runs_and_other_seeds_others() {
    let run = |seed| {
        let segment = Segment::new(
            Impairment::none()
                .loss(0.3)
                .delay(Duration::from_millis(1))
                .jitter(Duration::from_millis(9))
                .duplicate(0.2)
                .reorder(0.1, Duration::from_millis(20)),
        );
        let (mut net, _, hosts) = lan(seed, 5, segment);
        for &host in &hosts {
            net.join(host, eth(), ip("ff02::fd")).unwrap();
        }
        for round in 0..50u8 {
            say(
                &mut net,
                hosts[usize::from(round) % 5],
                "[ff02::fd]:5683",
                &[round],
            );
            net.advance_to(Time::from_millis(u64::from(round) * 3));
        }
        settle(&mut net);
        let entries: Vec<Entry> = net.trace().entries().cloned().collect();
        (net.trace().digest(), entries)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).0, run(8).0);
}
