//! Building a network and changing it while it runs.

use core::net::IpAddr;
use core::time::Duration;

use alloc::collections::{BTreeMap, BTreeSet};

use crate::address::{HostId, Interface, RouterId, Scope, SegmentId, is_link_local, is_sendable};
use crate::datagram::{SendError, SocketError};
use crate::host::{Attachment, Host, HostCounters, Refusal};
use crate::link::{Impairment, Nat, NatFilter, Router, Segment};
use crate::network::{Network, SegmentState};
use crate::rng::Rng;

/// Streams of random numbers from here on belong to segments, below to hosts.
const SEGMENT_STREAMS: u64 = 1 << 40;

/// Hosts, segments and routers. A name that is not of this network is a mistake in the test, and a panic.
impl Network {
    /// A new segment with nobody on it.
    pub fn add_segment(&mut self, segment: Segment) -> SegmentId {
        let id = SegmentId(u32::try_from(self.segments.len()).expect("fewer than 2^32 segments"));
        self.segments.push(SegmentState {
            segment,
            up: true,
            rng: Rng::stream(self.seed(), SEGMENT_STREAMS + u64::from(id.0)),
            addresses: BTreeMap::new(),
            groups: BTreeMap::new(),
            routers: Vec::new(),
        });
        id
    }

    /// A router on these segments.
    pub fn add_router(&mut self, mut router: Router, segments: &[SegmentId]) -> RouterId {
        let id = RouterId(u32::try_from(self.routers.len()).expect("fewer than 2^32 routers"));
        for segment in segments {
            self.segments[segment.0 as usize].routers.push(id);
        }
        router.segments = segments.to_vec();
        self.routers.push(router);
        id
    }

    /// A new host: up, without interfaces and sockets. The name is for people.
    pub fn add_host(&mut self, name: impl Into<String>) -> HostId {
        let id = HostId(u32::try_from(self.hosts.len()).expect("fewer than 2^32 hosts"));
        self.hosts.push(Host::new(name.into(), id, self.seed()));
        id
    }

    /// All hosts, in the order in which they were added.
    pub fn hosts(&self) -> impl ExactSizeIterator<Item = HostId> + use<> {
        (0..self.hosts.len() as u32).map(HostId)
    }

    /// The name under which a host was added.
    pub fn name(&self, host: HostId) -> &str {
        &self.hosts[host.index()].name
    }

    /// What a host did and suffered.
    pub fn counters(&self, host: HostId) -> HostCounters {
        self.hosts[host.index()].counters
    }

    /// A new interface of `host` on `segment`, with these unicast addresses. It joins no group by itself.
    ///
    /// # Panics
    /// As [`Network::add_address`].
    pub fn attach(&mut self, host: HostId, segment: SegmentId, addresses: &[IpAddr]) -> Interface {
        assert!(
            (segment.0 as usize) < self.segments.len(),
            "no such segment"
        );
        let interfaces = &mut self.hosts[host.index()].interfaces;
        interfaces.push(Some(Attachment {
            segment,
            up: true,
            addresses: Vec::new(),
            groups: BTreeSet::new(),
        }));
        let interface = Interface::new(interfaces.len() as u32);
        for &address in addresses {
            self.add_address(host, interface, address);
        }
        interface
    }

    /// One more address of an interface.
    ///
    /// # Panics
    /// If it is no unicast address; if another interface has it already on this segment, or (unless it is link-local)
    /// anywhere; if there is no such interface.
    pub fn add_address(&mut self, host: HostId, interface: Interface, address: IpAddr) {
        assert!(
            Scope::of(address).is_none() && is_sendable(address),
            "{address} is no unicast address"
        );
        let attachment = self.hosts[host.index()]
            .attachment_mut(interface)
            .expect("no such interface");
        let segment = attachment.segment;
        attachment.addresses.push(address);
        let taken = self.segments[segment.0 as usize]
            .addresses
            .insert(address, (host, interface))
            .is_some();
        let taken_elsewhere = !is_link_local(address)
            && self
                .wide_addresses
                .insert(address, (segment, host, interface))
                .is_some();
        assert!(!taken && !taken_elsewhere, "{address} is taken");
    }

    /// Takes an address away; what is under way to it will find nobody. False if the interface does not have it.
    pub fn remove_address(&mut self, host: HostId, interface: Interface, address: IpAddr) -> bool {
        let Some(attachment) = self.hosts[host.index()].attachment_mut(interface) else {
            return false;
        };
        let Some(position) = attachment.addresses.iter().position(|own| *own == address) else {
            return false;
        };
        attachment.addresses.remove(position);
        let segment = attachment.segment;
        self.segments[segment.0 as usize].addresses.remove(&address);
        self.wide_addresses.remove(&address);
        true
    }

    /// The addresses of an interface, in the order in which they were added; none if there is no such interface.
    pub fn addresses(&self, host: HostId, interface: Interface) -> &[IpAddr] {
        self.hosts[host.index()]
            .attachment(interface)
            .map_or(&[], |attachment| &attachment.addresses)
    }

    /// Removes an interface with its addresses and memberships. Its index is not given again; who returns attaches anew.
    pub fn detach(&mut self, host: HostId, interface: Interface) {
        for address in self.addresses(host, interface).to_vec() {
            self.remove_address(host, interface, address);
        }
        let state = &mut self.hosts[host.index()];
        if let Some(attachment) = state
            .interfaces
            .get_mut(interface.slot())
            .and_then(Option::take)
        {
            state.memberships -= attachment.groups.len();
            for group in attachment.groups {
                self.forget_member(attachment.segment, host, interface, group);
            }
            self.note(Some(host), format!("{interface} is gone"));
        }
    }

    fn forget_member(
        &mut self,
        segment: SegmentId,
        host: HostId,
        interface: Interface,
        group: IpAddr,
    ) {
        let groups = &mut self.segments[segment.0 as usize].groups;
        if let Some(members) = groups.get_mut(&group) {
            members.remove(&(host, interface));
            if members.is_empty() {
                groups.remove(&group);
            }
        }
    }

    /// Opens a UDP port on all addresses of a host, those of its groups included. What comes to a port that nobody has
    /// bound vanishes.
    ///
    /// # Errors
    /// [`SocketError::HostDown`], [`SocketError::AlreadyInUse`].
    pub fn bind(&mut self, host: HostId, port: u16) -> Result<(), SocketError> {
        let host = &mut self.hosts[host.index()];
        if !host.up {
            return Err(SocketError::HostDown);
        }
        match host.ports.insert(port) {
            true => Ok(()),
            false => Err(SocketError::AlreadyInUse),
        }
    }

    /// Closes a port. What is in the receive buffer stays there.
    ///
    /// # Errors
    /// [`SocketError::NotInUse`].
    pub fn unbind(&mut self, host: HostId, port: u16) -> Result<(), SocketError> {
        match self.hosts[host.index()].ports.remove(&port) {
            true => Ok(()),
            false => Err(SocketError::NotInUse),
        }
    }

    /// Joins a group on one interface. The interface needs an address of the same family.
    ///
    /// # Errors
    /// All of [`SocketError`] but [`SocketError::NotInUse`].
    pub fn join(
        &mut self,
        host: HostId,
        interface: Interface,
        group: IpAddr,
    ) -> Result<(), SocketError> {
        if Scope::of(group).is_none() {
            return Err(SocketError::NotAGroup);
        }
        let state = &mut self.hosts[host.index()];
        if !state.up {
            return Err(SocketError::HostDown);
        }
        let full = state.memberships >= state.membership_limit;
        let attachment = state
            .attachment_mut(interface)
            .ok_or(SocketError::NoSuchInterface)?;
        if !attachment.has_family_of(group) {
            return Err(SocketError::NoAddress);
        }
        if attachment.groups.contains(&group) {
            return Err(SocketError::AlreadyInUse);
        }
        if full {
            return Err(SocketError::TooManyMemberships);
        }
        attachment.groups.insert(group);
        let segment = attachment.segment;
        state.memberships += 1;
        self.segments[segment.0 as usize]
            .groups
            .entry(group)
            .or_default()
            .insert((host, interface));
        Ok(())
    }

    /// Leaves a group on one interface.
    ///
    /// # Errors
    /// [`SocketError::NoSuchInterface`], [`SocketError::NotInUse`].
    pub fn leave(
        &mut self,
        host: HostId,
        interface: Interface,
        group: IpAddr,
    ) -> Result<(), SocketError> {
        let state = &mut self.hosts[host.index()];
        let attachment = state
            .attachment_mut(interface)
            .ok_or(SocketError::NoSuchInterface)?;
        if !attachment.groups.remove(&group) {
            return Err(SocketError::NotInUse);
        }
        let segment = attachment.segment;
        state.memberships -= 1;
        self.forget_member(segment, host, interface, group);
        Ok(())
    }

    /// Whether a host has joined a group on an interface.
    pub fn has_joined(&self, host: HostId, interface: Interface, group: IpAddr) -> bool {
        self.hosts[host.index()]
            .attachment(interface)
            .is_some_and(|attachment| attachment.groups.contains(&group))
    }

    /// A host can join so many (interface, group) pairs; 1,024 by default. Memberships that it has already stay.
    pub fn set_membership_limit(&mut self, host: HostId, memberships: usize) {
        self.hosts[host.index()].membership_limit = memberships;
    }

    /// Whether a host's own datagrams to a group that it has joined come back to it (IP_MULTICAST_LOOP). They do by
    /// default.
    pub fn set_multicast_loop(&mut self, host: HostId, on: bool) {
        self.hosts[host.index()].hears_itself = on;
    }

    /// A host's receive buffer takes so many datagrams; 16,384 by default. What does not fit is lost and counted.
    pub fn set_receive_buffer(&mut self, host: HostId, datagrams: usize) {
        self.hosts[host.index()].inbox_limit = datagrams;
    }

    /// What happens to everything that a host sends to others. A multicast is drawn for once, not for each receiver.
    pub fn set_egress(&mut self, host: HostId, impairment: Impairment) {
        self.hosts[host.index()].egress = impairment;
    }

    /// What happens to everything that a host gets from others.
    pub fn set_ingress(&mut self, host: HostId, impairment: Impairment) {
        self.hosts[host.index()].ingress = impairment;
    }

    /// Replaces impairment and frame size of a segment.
    pub fn set_segment(&mut self, segment: SegmentId, to: Segment) {
        self.segments[segment.0 as usize].segment = to;
    }

    /// The next `count` sends of a host fail with `error`.
    pub fn refuse_sends(&mut self, host: HostId, error: SendError, count: u64) {
        self.set_refusal(host, error, count, 0.0);
    }

    /// From now on each send of a host fails with this probability and `error`; 0 ends it.
    ///
    /// # Panics
    /// If `probability` is not between 0 and 1.
    pub fn refuse_sends_randomly(&mut self, host: HostId, error: SendError, probability: f64) {
        assert!(
            (0.0..=1.0).contains(&probability),
            "a probability is between 0 and 1, not {probability}"
        );
        self.set_refusal(host, error, 0, probability);
    }

    fn set_refusal(&mut self, host: HostId, error: SendError, next: u64, chance: f64) {
        self.hosts[host.index()].refusal = Some(Refusal {
            error,
            next,
            chance,
        });
    }

    /// Puts a host behind a translator's filter, which forgets a mapping `lifetime` after the last datagram out. All that
    /// comes from other hosts is filtered, multicast included. Nothing is rewritten.
    pub fn set_nat(&mut self, host: HostId, filter: NatFilter, lifetime: Duration) {
        self.hosts[host.index()].nat = Some(Nat::new(filter, lifetime));
    }

    /// Takes the filter away.
    pub fn clear_nat(&mut self, host: HostId) {
        self.hosts[host.index()].nat = None;
    }

    /// How many mappings a host's filter holds; at most 1,024.
    pub fn nat_mappings(&self, host: HostId) -> usize {
        self.hosts[host.index()]
            .nat
            .as_ref()
            .map_or(0, Nat::mappings)
    }

    /// Pulls or plugs an interface. Addresses and memberships stay. What arrives meanwhile is lost.
    pub fn set_interface_up(&mut self, host: HostId, interface: Interface, up: bool) {
        if let Some(attachment) = self.hosts[host.index()].attachment_mut(interface) {
            attachment.up = up;
            let state = if up { "up" } else { "down" };
            self.note(Some(host), format!("{interface} is {state}"));
        }
    }

    /// Cuts or mends a whole segment. What is under way on it or through it when it is cut, and arrives on it, is lost.
    pub fn set_segment_up(&mut self, segment: SegmentId, up: bool) {
        self.segments[segment.0 as usize].up = up;
        let state = if up { "up" } else { "down" };
        self.note(None, format!("segment {} is {state}", segment.0));
    }

    /// Switches a router off or on. What has passed it goes on.
    pub fn set_router_up(&mut self, router: RouterId, up: bool) {
        self.routers[router.0 as usize].up = up;
        let state = if up { "up" } else { "down" };
        self.note(None, format!("router {} is {state}", router.0));
    }

    /// Puts a host on an island. Hosts on different islands do not hear each other, whatever segments they share; this
    /// also cuts what is under way between them. Every host starts on island 0; all on one island again: healed.
    pub fn set_island(&mut self, host: HostId, island: u32) {
        self.hosts[host.index()].island = island;
        self.note(Some(host), format!("is on island {island}"));
    }

    /// Whether a host is up.
    pub fn is_up(&self, host: HostId) -> bool {
        self.hosts[host.index()].up
    }

    /// Stops a host at once. Its receive buffer, sockets and memberships are gone; what arrives meanwhile vanishes.
    pub fn take_down(&mut self, host: HostId) {
        let left = self.hosts[host.index()].forget();
        self.hosts[host.index()].up = false;
        for (segment, interface, group) in left {
            self.forget_member(segment, host, interface, group);
        }
        self.note(Some(host), "is down");
    }

    /// Starts a stopped host. It has its interfaces and addresses, and must bind and join again.
    pub fn bring_up(&mut self, host: HostId) {
        self.hosts[host.index()].up = true;
        self.note(Some(host), "is up");
    }
}
