//! Names of the things in a network, and the reach of addresses.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A host of one [`Network`](crate::Network); counted from 0 in the order in which hosts are added.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostId(pub(crate) u32);

impl HostId {
    /// The position of this host in the order in which hosts were added.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host {}", self.0)
    }
}

/// A segment (link) of one [`Network`](crate::Network).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SegmentId(pub(crate) u32);

/// A router of one [`Network`](crate::Network).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RouterId(pub(crate) u32);

/// An interface as its own host numbers it: 1 for the first, never reused after a removal. The same number on two hosts
/// means nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Interface(u32);

impl Interface {
    /// The interface with this index, which is at least 1.
    ///
    /// # Panics
    /// If `index` is 0, which operating systems read as 'any'.
    pub fn new(index: u32) -> Interface {
        assert!(index != 0, "interface indexes start with 1");
        Interface(index)
    }

    /// The index, as an operating system's packet information carries it.
    pub fn index(self) -> u32 {
        self.0
    }

    pub(crate) fn slot(self) -> usize {
        self.0 as usize - 1
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "if{}", self.0)
    }
}

/// The scope of a multicast group: how far its datagrams may travel. The numbers are those of IPv6 (RFC 4291 section 2.7,
/// RFC 7346); IPv4 groups are put beside them by their range (RFC 2365, RFC 5771).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Scope(pub u8);

impl Scope {
    /// `ff01`: does not leave the host.
    pub const INTERFACE: Scope = Scope(1);
    /// `ff02` and 224.0.0.0/24: does not leave the segment, whatever a router is told.
    pub const LINK: Scope = Scope(2);
    /// `ff03` and 239.255.0.0/16.
    pub const REALM: Scope = Scope(3);
    /// `ff04`.
    pub const ADMIN: Scope = Scope(4);
    /// `ff05`.
    pub const SITE: Scope = Scope(5);
    /// `ff08` and 239.192.0.0/14.
    pub const ORGANIZATION: Scope = Scope(8);
    /// `ff0e` and every other IPv4 group, 224.0.1.187 among them.
    pub const GLOBAL: Scope = Scope(14);

    /// The scope of `group`, or nothing if it is no multicast address.
    pub fn of(group: IpAddr) -> Option<Scope> {
        match group {
            IpAddr::V6(a) if a.is_multicast() => Some(Scope(a.octets()[1] & 0x0f)),
            IpAddr::V4(a) if a.is_multicast() => Some(match a.octets() {
                [224, 0, 0, _] => Scope::LINK,
                [239, 255, ..] => Scope::REALM,
                [239, 192..=195, ..] => Scope::ORGANIZATION,
                _ => Scope::GLOBAL,
            }),
            _ => None,
        }
    }
}

/// Whether a unicast address means something on its own segment only: `fe80::/10` and 169.254.0.0/16.
pub fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => a.is_link_local(),
        IpAddr::V6(a) => a.segments()[0] & 0xffc0 == 0xfe80,
    }
}

/// The same address and port without flow label and zone index, which are matters of one host.
pub(crate) fn without_zone(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

/// The zone index in an address, if it has one.
pub(crate) fn zone(address: SocketAddr) -> Option<u32> {
    match address {
        SocketAddr::V6(a) if a.scope_id() != 0 => Some(a.scope_id()),
        _ => None,
    }
}

/// An address as a receiver's socket shows it: a link-local IPv6 address carries the zone of the interface.
pub(crate) fn with_zone(address: SocketAddr, interface: Interface) -> SocketAddr {
    match address {
        SocketAddr::V6(mut a) if is_link_local(IpAddr::V6(*a.ip())) => {
            a.set_scope_id(interface.index());
            SocketAddr::V6(a)
        }
        other => other,
    }
}

/// 255.255.255.255 is the only broadcast address known here, and nobody is reached by it.
pub(crate) fn is_sendable(address: IpAddr) -> bool {
    !address.is_unspecified() && address != IpAddr::V4(Ipv4Addr::BROADCAST)
}
