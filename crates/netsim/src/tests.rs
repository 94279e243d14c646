//! Tests of the whole crate; the helpers that they share.

use core::net::{IpAddr, SocketAddr};

use crate::*;

mod basics;
mod disk;
mod failing;
mod faults;
mod network;
mod pcap;
mod routing;
mod simulation;

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
            let own = [ip(&format!("10.0.0.{x}")), ip(&format!("fe80::{x:x}"))];
            add(&mut net, lan, &own)
        })
        .collect();
    (net, lan, hosts)
}

/// A host on `segment` with these addresses, port 5683 open.
fn add(net: &mut Network, segment: SegmentId, addresses: &[IpAddr]) -> HostId {
    let host = net.add_host(format!("h{}", addresses[0]));
    net.attach(host, segment, addresses);
    net.bind(host, 5683).unwrap();
    host
}

/// The first interface of any host.
fn eth() -> Interface {
    Interface::new(1)
}

/// Sends from port 5683 to `dst`.
fn say(net: &mut Network, from: HostId, dst: &str, bytes: &[u8]) {
    net.send(from, Outgoing::from_port(5683, at(dst), bytes))
        .unwrap();
}

/// Lets everything arrive that is under way.
fn settle(net: &mut Network) {
    while let Some(next) = net.next_event_at() {
        net.advance_to(next);
    }
}

/// How many datagrams each host finds in its receive buffer.
fn heard(net: &mut Network, hosts: &[HostId]) -> Vec<usize> {
    settle(net);
    hosts.iter().map(|&h| net.deliveries(h).len()).collect()
}

/// Why copies were lost, oldest first.
fn causes(net: &Network) -> Vec<DropCause> {
    net.trace()
        .entries()
        .filter_map(|entry| match entry.what {
            What::Dropped(cause) => Some(cause),
            _ => None,
        })
        .collect()
}
