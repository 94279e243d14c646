//! Where a datagram came from and where one goes.

use core::net::{IpAddr, SocketAddr};

/// One socket of the driver, by the number under which it was announced to the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u16);

/// Everything about the way a datagram arrived.
///
/// `local` is the *destination* of the datagram as the operating system reports it (packet info), so
/// whether it came by multicast is known and never guessed (GC-3.1-35).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The socket that received it.
    pub socket: SocketId,
    /// Destination address and port of the datagram.
    pub local: SocketAddr,
    /// Index of the interface it came in by; 0 when unknown.
    pub interface: u32,
    /// Source address and port of the datagram.
    pub peer: SocketAddr,
}

impl Path {
    /// Did the datagram come by IP multicast (or IPv4 broadcast, which is treated alike)?
    pub fn is_multicast(&self) -> bool {
        is_group_address(self.local.ip())
    }
}

/// The way a datagram is to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// The socket that sends it. Its own port is the source port.
    pub socket: SocketId,
    /// The source address, when it must be a particular one; never a multicast address.
    pub source: Option<IpAddr>,
    /// Index of the interface it must leave by; 0 leaves the choice to the routing table.
    /// A multicast datagram is always pinned to an interface by the driver.
    pub interface: u32,
    /// Where it goes.
    pub destination: SocketAddr,
}

impl Route {
    /// Does it go to a group?
    pub fn is_multicast(&self) -> bool {
        is_group_address(self.destination.ip())
    }
}

/// A datagram that the endpoint wants sent; its bytes are in the buffer given to `poll_transmit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The way it leaves.
    pub route: Route,
    /// Its length in bytes.
    pub len: usize,
}

/// Multicast, or the IPv4 limited broadcast address.
pub fn is_group_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.is_multicast() || v4.is_broadcast(),
            None => v6.is_multicast(),
        },
    }
}

/// Can a datagram truly have come from there? Not from a group, not from no address, not from port 0.
pub(crate) fn can_be_source(peer: SocketAddr) -> bool {
    let ip = peer.ip().to_canonical();
    peer.port() != 0 && !ip.is_unspecified() && !is_group_address(ip)
}

/// A peer's address and port, without scope id and flow label: what a map of peers is keyed by.
pub(crate) type PeerKey = (IpAddr, u16);

/// The key of a peer.
pub(crate) fn peer_key(peer: SocketAddr) -> PeerKey {
    (peer.ip(), peer.port())
}

/// The same peer, whatever the scope id and flow label of a link-local address say.
pub(crate) fn same_peer(a: SocketAddr, b: SocketAddr) -> bool {
    a.ip() == b.ip() && a.port() == b.port()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_unicast_address_with_a_port_can_be_a_source() {
        for good in ["10.0.0.1:1", "127.0.0.1:5683", "[fe80::1]:65535", "[::1]:1"] {
            assert!(can_be_source(good.parse().unwrap()), "{good}");
        }
        let bad = [
            "10.0.0.1:0",
            "0.0.0.0:5683",
            "224.0.1.187:5683",
            "255.255.255.255:5683",
            "[::]:5683",
            "[fe80::1]:0",
            "[ff02::fd]:5683",
            "[::ffff:224.0.1.187]:5683",
            "[::ffff:0.0.0.0]:5683",
        ];
        for bad in bad {
            assert!(!can_be_source(bad.parse().unwrap()), "{bad}");
        }
    }
}
