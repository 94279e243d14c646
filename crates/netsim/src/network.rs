//! The network: hosts on segments, virtual time, and the way of a datagram from one to the others.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use core::net::{IpAddr, SocketAddr};

use crate::address::{
    HostId, Interface, RouterId, Scope, SegmentId, is_link_local, is_sendable, with_zone,
    without_zone,
};
use crate::datagram::{DEFAULT_HOP_LIMIT, Delivery, Flight, Outgoing, SendError};
use crate::failure;
use crate::host::Host;
use crate::link::{Copies, Router, Segment};
use crate::pcap::Capture;
use crate::queue::{Arriving, Queue};
use crate::rng::Rng;
use crate::time::Time;
use crate::trace::{DropCause, Entry, Trace, What};

/// Copies that may be under way at the same time, unless told otherwise.
const DEFAULT_IN_FLIGHT: usize = 1 << 20;

/// Lines of the trace that are printed when a test fails.
const REPORTED_LINES: usize = 200;

/// A segment and who is on it.
#[derive(Debug)]
pub(crate) struct SegmentState {
    pub(crate) segment: Segment,
    pub(crate) up: bool,
    pub(crate) rng: Rng,
    pub(crate) addresses: BTreeMap<IpAddr, (HostId, Interface)>,
    pub(crate) groups: BTreeMap<IpAddr, BTreeSet<(HostId, Interface)>>,
    pub(crate) routers: Vec<RouterId>,
}

/// A segment that a datagram reaches, and from which one and by which router.
struct Branch {
    segment: SegmentId,
    from: Option<(usize, RouterId)>,
    hops: u8,
}

/// A simulated network. See the [crate documentation](crate) for an example.
///
/// Everything that happens follows from the seed and the calls: equal seeds and equal calls give equal runs. When a
/// test panics while it owns a network, seed and trace go to standard error.
#[derive(Debug)]
pub struct Network {
    seed: u64,
    now: Time,
    pub(crate) hosts: Vec<Host>,
    pub(crate) segments: Vec<SegmentState>,
    pub(crate) routers: Vec<Router>,
    /// Addresses with a meaning beyond their segment.
    pub(crate) wide_addresses: BTreeMap<IpAddr, (SegmentId, HostId, Interface)>,
    queue: Queue,
    ready: VecDeque<HostId>,
    trace: Trace,
    capture: Option<Capture>,
    flights: u64,
}

impl Network {
    /// An empty network at [`Time::ZERO`].
    pub fn new(seed: u64) -> Network {
        Network {
            seed,
            now: Time::ZERO,
            hosts: Vec::new(),
            segments: Vec::new(),
            routers: Vec::new(),
            wide_addresses: BTreeMap::new(),
            queue: Queue::new(DEFAULT_IN_FLIGHT),
            ready: VecDeque::new(),
            trace: Trace::default(),
            capture: None,
            flights: 0,
        }
    }

    /// The seed from which all chances follow.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The present.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The events of the past.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Keeps a trace of another size from now on; what was recorded is forgotten.
    pub fn set_trace(&mut self, trace: Trace) {
        self.trace = trace;
    }

    /// Writes a line into the trace.
    pub fn note(&mut self, host: Option<HostId>, text: impl Into<String>) {
        self.trace.record(Entry {
            at: self.now,
            id: 0,
            host,
            what: What::Note(text.into()),
            path: None,
            hop_limit: 0,
            bytes: Arc::from([]),
        });
    }

    /// Seed and the last events as text, as printed when a test fails.
    pub fn report(&self) -> String {
        self.trace.report(self.seed, REPORTED_LINES)
    }

    /// Writes datagrams into a capture from now on.
    pub fn set_capture(&mut self, capture: Capture) {
        self.capture = Some(capture);
    }

    /// Ends the capture and hands it back, if there is one.
    pub fn take_capture(&mut self) -> Option<Capture> {
        self.capture.take()
    }

    /// At most so many copies of datagrams may be under way; more are lost as [`DropCause::QueueFull`]. 1,048,576 by
    /// default.
    pub fn set_in_flight_limit(&mut self, copies: usize) {
        self.queue.set_limit(copies);
    }

    /// Copies that are under way.
    pub fn in_flight(&self) -> usize {
        self.queue.len()
    }

    /// Sends a datagram now.
    ///
    /// `Ok` means what it means with UDP: it left the host. Loss and all other luck is drawn here; whether the receiver
    /// is there, up and listening is seen on arrival. A group reaches every (interface, group) that has joined when the
    /// datagram is sent and still is a member when it arrives. The sender is among them if it has joined itself; its own
    /// copy is not impaired and arrives at once, that is, with the next [`Network::advance_to`].
    ///
    /// # Errors
    /// See [`SendError`].
    ///
    /// # Panics
    /// If there is no such host.
    pub fn send(&mut self, from: HostId, outgoing: Outgoing) -> Result<(), SendError> {
        self.try_send(from, outgoing).map_err(|(error, _)| error)
    }

    /// As [`Network::send`], and hands back what was refused.
    pub(crate) fn try_send(
        &mut self,
        from: HostId,
        outgoing: Outgoing,
    ) -> Result<(), (SendError, Outgoing)> {
        match self.admit(from, &outgoing) {
            Ok((interface, segment, src)) => {
                self.launch(from, interface, segment, src, outgoing);
                Ok(())
            }
            Err(error) => {
                self.hosts[from.index()].counters.refused += 1;
                self.trace.record(Entry {
                    at: self.now,
                    id: 0,
                    host: Some(from),
                    what: What::Refused(error),
                    path: Some((without_zone(outgoing.src), without_zone(outgoing.dst))),
                    hop_limit: outgoing.hop_limit,
                    bytes: Arc::from(outgoing.bytes.as_slice()),
                });
                Err((error, outgoing))
            }
        }
    }

    /// What the operating system checks before a datagram leaves; gives interface, segment and source.
    fn admit(
        &mut self,
        from: HostId,
        outgoing: &Outgoing,
    ) -> Result<(Interface, SegmentId, SocketAddr), SendError> {
        let host = &mut self.hosts[from.index()];
        if !host.up {
            return Err(SendError::HostDown);
        }
        let (src, dst) = (outgoing.src, outgoing.dst);
        if src.is_ipv4() != dst.is_ipv4() || !is_sendable(dst.ip()) {
            return Err(SendError::Invalid);
        }
        let longest = if dst.is_ipv4() { 65_507 } else { 65_527 };
        if outgoing.bytes.len() > longest {
            return Err(SendError::MessageTooLong);
        }
        let (interface, attachment) = host.choose_interface(outgoing.interface, src, dst)?;
        let segment = attachment.segment;
        let src = host.choose_source(attachment, src, dst)?;
        match host.refuses() {
            Some(error) => Err(error),
            None => Ok((interface, segment, src)),
        }
    }

    fn launch(
        &mut self,
        from: HostId,
        interface: Interface,
        segment: SegmentId,
        src: SocketAddr,
        outgoing: Outgoing,
    ) {
        let dst = without_zone(outgoing.dst);
        let flight = self.flight(Some(from), src, dst, outgoing.hop_limit, outgoing.bytes);
        let host = &mut self.hosts[from.index()];
        host.counters.sent += 1;
        if let Some(nat) = &mut host.nat {
            nat.sent(self.now, src.port(), dst);
        }
        let own = host
            .attachments()
            .find(|(_, attachment)| attachment.addresses.contains(&dst.ip()))
            .map(|(interface, _)| interface);
        if let Some(own) = own {
            self.schedule(&flight, from, own, 0, &Copies::one());
            return;
        }
        if host.hears_itself
            && host
                .attachment(interface)
                .is_some_and(|attachment| attachment.groups.contains(&dst.ip()))
        {
            self.schedule(&flight, from, interface, 0, &Copies::one());
        }
        let host = &mut self.hosts[from.index()];
        let copies = host.egress.pass(&mut host.egress_rng, &Copies::one(), 1);
        if copies.is_empty() {
            self.dropped(&flight, Some(from), DropCause::EgressLoss);
            return;
        }
        self.spread(&flight, Some((from, interface)), segment, copies);
    }

    /// Puts a datagram with any source onto a segment, as a stranger there can: no host sends it, so no host's
    /// impairment or island holds it back.
    ///
    /// # Panics
    /// If there is no such segment, or the addresses are of different families.
    pub fn inject(
        &mut self,
        segment: SegmentId,
        src: SocketAddr,
        dst: SocketAddr,
        bytes: impl Into<Vec<u8>>,
    ) {
        let (src, dst) = (without_zone(src), without_zone(dst));
        assert_eq!(src.is_ipv4(), dst.is_ipv4(), "{src} cannot send to {dst}");
        let flight = self.flight(None, src, dst, DEFAULT_HOP_LIMIT, bytes.into());
        self.spread(&flight, None, segment, Copies::one());
    }

    /// Numbers a datagram, and writes it into trace and capture.
    fn flight(
        &mut self,
        from: Option<HostId>,
        src: SocketAddr,
        dst: SocketAddr,
        hop_limit: u8,
        bytes: Vec<u8>,
    ) -> Arc<Flight> {
        self.flights += 1;
        let flight = Arc::new(Flight {
            id: self.flights,
            from,
            src,
            dst,
            hop_limit,
            bytes: Arc::from(bytes),
        });
        let what = match from {
            Some(_) => What::Sent,
            None => What::Injected,
        };
        self.record(&flight, from, what, hop_limit);
        if let Some(capture) = &mut self.capture {
            capture.sent(self.now, &flight);
        }
        flight
    }

    /// Carries a datagram over its segment and those behind it.
    fn spread(
        &mut self,
        flight: &Arc<Flight>,
        origin: Option<(HostId, Interface)>,
        segment: SegmentId,
        copies: Copies,
    ) {
        let scope = Scope::of(flight.dst.ip());
        if scope == Some(Scope::INTERFACE) {
            return;
        }
        if !self.segments[segment.0 as usize].up {
            self.dropped(flight, origin.map(|(host, _)| host), DropCause::LinkDown);
            return;
        }
        match scope {
            Some(_) => self.spread_to_group(flight, origin, segment, scope, copies),
            None => self.carry_to_host(flight, segment, copies),
        }
    }

    /// The segments that can be reached from `start`, each over the fewest routers, nearest first. True besides if the
    /// hop limit kept any from being reached.
    fn reach(&self, start: SegmentId, scope: Option<Scope>, hop_limit: u8) -> (Vec<Branch>, bool) {
        let mut branches = vec![Branch {
            segment: start,
            from: None,
            hops: 0,
        }];
        let mut cut = false;
        if self.segments[start.0 as usize].routers.is_empty() {
            return (branches, cut);
        }
        let mut seen = BTreeSet::from([start]);
        let mut next = 0;
        while next < branches.len() {
            let (here, hops) = (branches[next].segment, branches[next].hops);
            for &router in &self.segments[here.0 as usize].routers {
                let state = &self.routers[router.0 as usize];
                if !state.forwards(scope) {
                    continue;
                }
                if hops + 1 >= hop_limit {
                    cut = true;
                    continue;
                }
                for &segment in &state.segments {
                    if self.segments[segment.0 as usize].up && seen.insert(segment) {
                        branches.push(Branch {
                            segment,
                            from: Some((next, router)),
                            hops: hops + 1,
                        });
                    }
                }
            }
            next += 1;
        }
        (branches, cut)
    }

    fn spread_to_group(
        &mut self,
        flight: &Arc<Flight>,
        origin: Option<(HostId, Interface)>,
        segment: SegmentId,
        scope: Option<Scope>,
        copies: Copies,
    ) {
        let (branches, _) = self.reach(segment, scope, flight.hop_limit);
        // A router is one receiver of its segment: what it misses, everybody behind it misses.
        let mut heard_by_router: BTreeMap<(usize, RouterId), Copies> = BTreeMap::new();
        let mut at_branch: Vec<Copies> = Vec::with_capacity(branches.len());
        for branch in &branches {
            let here = match branch.from {
                None => copies,
                Some((parent, router)) => {
                    let heard = match heard_by_router.get(&(parent, router)) {
                        Some(heard) => *heard,
                        None => {
                            let heard =
                                self.cross(flight, branches[parent].segment, &at_branch[parent]);
                            heard_by_router.insert((parent, router), heard);
                            heard
                        }
                    };
                    heard.delayed(self.routers[router.0 as usize].delay)
                }
            };
            at_branch.push(here);
            let state = &self.segments[branch.segment.0 as usize];
            let members: Vec<(HostId, Interface)> = match state.groups.get(&flight.dst.ip()) {
                Some(members) => members.iter().copied().collect(),
                None => continue,
            };
            for (host, interface) in members {
                // The sender's own copy never was on the wire.
                if Some((host, interface)) != origin {
                    self.reach_host(flight, branch.segment, host, interface, branch.hops, &here);
                }
            }
        }
    }

    fn carry_to_host(&mut self, flight: &Arc<Flight>, segment: SegmentId, mut copies: Copies) {
        let ip = flight.dst.ip();
        let here = self.segments[segment.0 as usize].addresses.get(&ip);
        let target = match here {
            Some(&(host, interface)) => Some((segment, host, interface)),
            None if is_link_local(ip) => None,
            None => self.wide_addresses.get(&ip).copied(),
        };
        let Some((target, host, interface)) = target else {
            self.dropped(flight, None, DropCause::NoSuchAddress);
            return;
        };
        let (branches, cut) = self.reach(segment, None, flight.hop_limit);
        let Some(end) = branches.iter().position(|branch| branch.segment == target) else {
            let cause = if cut {
                DropCause::HopLimit
            } else {
                DropCause::NoSuchAddress
            };
            self.dropped(flight, Some(host), cause);
            return;
        };
        let mut way = Vec::new();
        let mut at = end;
        while let Some((parent, router)) = branches[at].from {
            way.push((branches[parent].segment, router));
            at = parent;
        }
        for (crossed, router) in way.into_iter().rev() {
            copies = self
                .cross(flight, crossed, &copies)
                .delayed(self.routers[router.0 as usize].delay);
        }
        if !copies.is_empty() {
            self.reach_host(flight, target, host, interface, branches[end].hops, &copies);
        }
    }

    /// From one end of a segment to a router on it.
    fn cross(&mut self, flight: &Arc<Flight>, segment: SegmentId, copies: &Copies) -> Copies {
        if copies.is_empty() {
            return *copies;
        }
        let state = &mut self.segments[segment.0 as usize];
        let heard = state
            .segment
            .pass(&mut state.rng, copies, flight.bytes.len());
        if heard.is_empty() {
            self.dropped(flight, None, DropCause::SegmentLoss);
        }
        heard
    }

    /// From one end of a segment into a host.
    fn reach_host(
        &mut self,
        flight: &Arc<Flight>,
        segment: SegmentId,
        host: HostId,
        interface: Interface,
        hops: u8,
        copies: &Copies,
    ) {
        if copies.is_empty() {
            return;
        }
        if self.parted(flight.from, host) {
            self.lost(flight, host, DropCause::Partition);
            return;
        }
        let state = &mut self.segments[segment.0 as usize];
        let heard = state
            .segment
            .pass(&mut state.rng, copies, flight.bytes.len());
        if heard.is_empty() {
            self.lost(flight, host, DropCause::SegmentLoss);
            return;
        }
        let receiver = &mut self.hosts[host.index()];
        let taken = receiver.ingress.pass(&mut receiver.ingress_rng, &heard, 1);
        if taken.is_empty() {
            self.lost(flight, host, DropCause::IngressLoss);
            return;
        }
        self.schedule(flight, host, interface, hops, &taken);
    }

    fn schedule(
        &mut self,
        flight: &Arc<Flight>,
        host: HostId,
        interface: Interface,
        hops: u8,
        copies: &Copies,
    ) {
        for &offset in copies.offsets() {
            let at = Time::from_micros(self.now.as_micros().saturating_add(offset));
            if !self
                .queue
                .push(at, host, interface, hops, Arc::clone(flight))
            {
                self.lost(flight, host, DropCause::QueueFull);
            }
        }
    }

    fn parted(&self, from: Option<HostId>, to: HostId) -> bool {
        from.is_some_and(|from| self.hosts[from.index()].island != self.hosts[to.index()].island)
    }

    /// When the next datagram arrives somewhere. [`Network::advance_to`] with this time makes the smallest step.
    pub fn next_event_at(&self) -> Option<Time> {
        self.queue.next_at()
    }

    /// Lets time go on, and puts everything that arrives until then (`time` included) into the receive buffers.
    ///
    /// # Panics
    /// If `time` is in the past.
    pub fn advance_to(&mut self, time: Time) {
        assert!(
            time >= self.now,
            "time goes back from {} to {time}",
            self.now
        );
        while let Some(arriving) = self.queue.pop_until(time) {
            self.now = arriving.at;
            self.arrive(arriving);
        }
        self.now = time;
    }

    fn arrive(&mut self, arriving: Arriving) {
        let Arriving {
            at,
            host: id,
            interface,
            hops,
            flight,
            ..
        } = arriving;
        if let Err(cause) = self.accept(id, interface, &flight) {
            self.lost(&flight, id, cause);
            return;
        }
        let hop_limit = flight.hop_limit.saturating_sub(hops);
        let host = &mut self.hosts[id.index()];
        host.counters.received += 1;
        host.inbox.push_back(Delivery {
            at,
            interface,
            src: with_zone(flight.src, interface),
            dst: flight.dst,
            hop_limit,
            bytes: Arc::clone(&flight.bytes),
        });
        if !host.listed {
            host.listed = true;
            self.ready.push_back(id);
        }
        self.record(&flight, Some(id), What::Delivered, hop_limit);
        if let Some(capture) = &mut self.capture {
            capture.delivered(at, id, &flight, hop_limit);
        }
    }

    /// What a receiving host checks, in the order in which a real one would.
    fn accept(
        &mut self,
        id: HostId,
        interface: Interface,
        flight: &Flight,
    ) -> Result<(), DropCause> {
        let own = flight.from == Some(id);
        if self.parted(flight.from, id) {
            return Err(DropCause::Partition);
        }
        let now = self.now;
        let host = &mut self.hosts[id.index()];
        if !host.up {
            return Err(DropCause::HostDown);
        }
        let attachment = host.attachment(interface).ok_or(DropCause::NotMine)?;
        if !attachment.up || !self.segments[attachment.segment.0 as usize].up {
            return Err(DropCause::LinkDown);
        }
        let ip = flight.dst.ip();
        if !attachment.addresses.contains(&ip) && !attachment.groups.contains(&ip) {
            return Err(DropCause::NotMine);
        }
        let port = flight.dst.port();
        if let Some(nat) = &host.nat
            && !own
            && !nat.lets_in(now, port, flight.src)
        {
            return Err(DropCause::Filtered);
        }
        if !host.ports.contains(&port) {
            return Err(DropCause::NoSocket);
        }
        if host.inbox.len() >= host.inbox_limit {
            host.counters.overflowed += 1;
            return Err(DropCause::BufferFull);
        }
        Ok(())
    }

    /// Takes everything out of a host's receive buffer, in the order of arrival.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn deliveries(&mut self, host: HostId) -> impl ExactSizeIterator<Item = Delivery> + '_ {
        self.hosts[host.index()].inbox.drain(..)
    }

    /// Takes the first datagram out of a host's receive buffer.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn next_delivery(&mut self, host: HostId) -> Option<Delivery> {
        self.hosts[host.index()].inbox.pop_front()
    }

    /// A host that has something in its receive buffer, each one once: it is named again only if something arrives after
    /// this call. Who drives many hosts finds the few that have work without asking them all.
    pub fn next_ready_host(&mut self) -> Option<HostId> {
        while let Some(id) = self.ready.pop_front() {
            let host = &mut self.hosts[id.index()];
            host.listed = false;
            if !host.inbox.is_empty() {
                return Some(id);
            }
        }
        None
    }

    /// A datagram did not get to a host for which it was.
    fn lost(&mut self, flight: &Flight, host: HostId, cause: DropCause) {
        self.hosts[host.index()].counters.lost += 1;
        self.dropped(flight, Some(host), cause);
    }

    fn dropped(&mut self, flight: &Flight, host: Option<HostId>, cause: DropCause) {
        self.record(flight, host, What::Dropped(cause), flight.hop_limit);
    }

    fn record(&mut self, flight: &Flight, host: Option<HostId>, what: What, hop_limit: u8) {
        self.trace.record(Entry {
            at: self.now,
            id: flight.id,
            host,
            what,
            path: Some((flight.src, flight.dst)),
            hop_limit,
            bytes: Arc::clone(&flight.bytes),
        });
    }
}

impl Drop for Network {
    /// A network that goes while its thread panics is the network of a failing test: it tells how to see that again.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprint!(
                "{}",
                failure::report(self.seed, &self.trace, REPORTED_LINES)
            );
        }
    }
}
