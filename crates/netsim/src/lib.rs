//! A deterministic network simulator over byte datagrams.
//!
//! Virtual time, hosts with several interfaces and addresses, IPv4 and IPv6 multicast with scopes, routers, loss, delay,
//! duplication, reordering, partitions, translators, restarts, full buffers; a trace that a failing test prints together
//! with its seed; pcap files. It knows nothing of what is in the datagrams and uses no clock, no thread and no randomness
//! but its seed: the same seed and the same calls give the same run, on every machine.
//!
//! # By hand
//!
//! A test sends, moves time, and looks what has arrived:
//!
//! ```
//! use antiphon_netsim::{Impairment, Network, Outgoing, Segment, Time};
//! use std::time::Duration;
//!
//! let mut net = Network::new(7);
//! let lan = net.add_segment(Segment::new(Impairment::none().delay(Duration::from_millis(2))));
//! let group = "ff02::fd".parse().unwrap();
//!
//! let client = net.add_host("client");
//! net.attach(client, lan, &["fe80::1".parse().unwrap()]);
//! net.bind(client, 40_000).unwrap();
//!
//! let lights: Vec<_> = (0x10..0x14)
//!     .map(|n| {
//!         let light = net.add_host(format!("light {n:x}"));
//!         let eth = net.attach(light, lan, &[format!("fe80::{n:x}").parse().unwrap()]);
//!         net.bind(light, 5683).unwrap();
//!         net.join(light, eth, group).unwrap();
//!         light
//!     })
//!     .collect();
//! net.set_ingress(lights[3], Impairment::none().loss(1.0)); // this one is deaf
//!
//! net.send(client, Outgoing::from_port(40_000, "[ff02::fd]:5683".parse().unwrap(), b"hello")).unwrap();
//! assert_eq!(net.next_event_at(), Some(Time::from_millis(2)));
//! net.advance_to(Time::from_millis(2));
//!
//! let heard: Vec<_> = lights.iter().map(|&light| net.deliveries(light).len()).collect();
//! assert_eq!(heard, [1, 1, 1, 0]);
//! ```
//!
//! # With nodes
//!
//! Anything that implements [`Node`] is driven by a [`Simulation`], in time that grows with the number of events only:
//!
//! ```
//! use antiphon_netsim::{Arrival, Network, Node, Outgoing, Segment, Simulation, Time};
//!
//! /// Answers whatever it gets.
//! struct Echo(Vec<Outgoing>);
//!
//! impl Node for Echo {
//!     fn handle_datagram(&mut self, _now: Time, arrival: &Arrival, bytes: &[u8]) {
//!         // To a group the answer's source must be an own address: leave it open, keep the port.
//!         let answer = Outgoing::from_port(arrival.dst.port(), arrival.src, bytes);
//!         self.0.push(answer.over(arrival.interface));
//!     }
//!     fn handle_timeout(&mut self, _now: Time) {}
//!     fn poll_transmit(&mut self, _now: Time) -> Option<Outgoing> {
//!         self.0.pop()
//!     }
//!     fn next_timeout(&self) -> Option<Time> {
//!         None
//!     }
//! }
//!
//! let mut net = Network::new(1);
//! let lan = net.add_segment(Segment::default());
//! let (asker, echo) = (net.add_host("asker"), net.add_host("echo"));
//! for (host, address) in [(asker, "192.0.2.1"), (echo, "192.0.2.2")] {
//!     net.attach(host, lan, &[address.parse().unwrap()]);
//!     net.bind(host, 5683).unwrap();
//! }
//! let mut sim = Simulation::new(net);
//! sim.insert(echo, Echo(Vec::new()));
//! let question = Outgoing::from_port(5683, "192.0.2.2:5683".parse().unwrap(), b"?");
//! sim.network_mut().send(asker, question).unwrap();
//! sim.run_until(Time::from_secs(1));
//! let answer = sim.network_mut().next_delivery(asker).unwrap();
//! assert_eq!((answer.at, &answer.bytes[..]), (Time::from_millis(2), &b"?"[..]));
//! ```
#![forbid(unsafe_code)]

extern crate alloc;

mod address;
mod datagram;
mod disk;
mod failure;
mod flash;
mod host;
mod link;
mod network;
mod node;
mod pcap;
mod queue;
mod rng;
mod simulation;
#[cfg(test)]
mod tests;
mod time;
mod topology;
mod trace;

pub use address::{HostId, Interface, RouterId, Scope, SegmentId, is_link_local};
pub use datagram::{Arrival, DEFAULT_HOP_LIMIT, Delivery, Outgoing, SendError, SocketError};
pub use disk::{Disk, DiskError, Operation};
pub use failure::seed_from_env;
pub use flash::{Flash, FlashError};
pub use host::HostCounters;
pub use link::{Impairment, NatFilter, Router, Segment};
pub use network::Network;
pub use node::{Node, SocketChange};
pub use pcap::{Capture, CapturePoint, PcapWriter};
pub use rng::Rng;
pub use simulation::Simulation;
pub use time::Time;
pub use trace::{DropCause, Entry, Trace, What};
