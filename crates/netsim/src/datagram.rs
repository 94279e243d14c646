//! Datagrams as hosts hand them over and receive them.

use alloc::sync::Arc;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::address::{HostId, Interface};
use crate::time::Time;

/// The hop limit of an [`Outgoing`] that names none. (Operating systems use 1 for multicast; set it where it matters.)
pub const DEFAULT_HOP_LIMIT: u8 = 64;

/// A datagram that a host wants to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outgoing {
    /// The interface, or nothing: then the zone in `dst`, the owner of `src`, or the first interface that is up and has
    /// an address of the same family decides, in this order.
    pub interface: Option<Interface>,
    /// One of the host's own addresses with a port that it has bound. If the address is unspecified (`0.0.0.0`, `::`), the
    /// interface's best one is taken.
    pub src: SocketAddr,
    /// A unicast address or a group.
    pub dst: SocketAddr,
    /// Each router takes one; a datagram that has none left is not forwarded.
    pub hop_limit: u8,
    /// The UDP payload.
    pub bytes: Vec<u8>,
}

impl Outgoing {
    /// A datagram from `src` to `dst` with the default hop limit, over the interface that is found for it.
    pub fn new(src: SocketAddr, dst: SocketAddr, bytes: impl Into<Vec<u8>>) -> Outgoing {
        Outgoing {
            interface: None,
            src,
            dst,
            hop_limit: DEFAULT_HOP_LIMIT,
            bytes: bytes.into(),
        }
    }

    /// A datagram to `dst` from `port` at whichever address fits.
    pub fn from_port(port: u16, dst: SocketAddr, bytes: impl Into<Vec<u8>>) -> Outgoing {
        let any: IpAddr = match dst {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        Outgoing::new(SocketAddr::new(any, port), dst, bytes)
    }

    /// Over this interface.
    pub fn over(mut self, interface: Interface) -> Outgoing {
        self.interface = Some(interface);
        self
    }

    /// With this hop limit.
    pub fn hop_limit(mut self, hop_limit: u8) -> Outgoing {
        self.hop_limit = hop_limit;
        self
    }
}

/// How a datagram came to its receiver; what an operating system tells in its packet information.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Arrival {
    /// The interface over which it came.
    pub interface: Interface,
    /// The sender. A link-local IPv6 address carries the receiving interface as its zone.
    pub src: SocketAddr,
    /// The address to which it was sent: the receiver's own, or a group that it has joined. Without a zone.
    pub dst: SocketAddr,
    /// What is left of the hop limit.
    pub hop_limit: u8,
}

/// A datagram in a host's receive buffer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// When it arrived.
    pub at: Time,
    /// The interface over which it came.
    pub interface: Interface,
    /// The sender, see [`Arrival::src`].
    pub src: SocketAddr,
    /// The address to which it was sent, see [`Arrival::dst`].
    pub dst: SocketAddr,
    /// What is left of the hop limit.
    pub hop_limit: u8,
    /// The UDP payload, shared by all receivers.
    pub bytes: Arc<[u8]>,
}

impl Delivery {
    /// The way by which this datagram came.
    pub fn arrival(&self) -> Arrival {
        Arrival {
            interface: self.interface,
            src: self.src,
            dst: self.dst,
            hop_limit: self.hop_limit,
        }
    }
}

/// A datagram under way, shared by all its copies.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) id: u64,
    /// The sending host; none for an injected datagram.
    pub(crate) from: Option<HostId>,
    pub(crate) src: SocketAddr,
    pub(crate) dst: SocketAddr,
    pub(crate) hop_limit: u8,
    pub(crate) bytes: Arc<[u8]>,
}

/// Why a datagram was not sent. The names in brackets are what a socket would report.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The host is down.
    HostDown,
    /// No interface is up that has an address of this family (ENETUNREACH).
    NetworkUnreachable,
    /// The host has no such interface (ENXIO).
    NoSuchInterface,
    /// The interface is down (ENETDOWN).
    InterfaceDown,
    /// The source is not an address of this host, or it is a group (EADDRNOTAVAIL).
    AddressNotAvailable,
    /// The source port is not bound: no socket could send this.
    PortNotBound,
    /// Source and destination are of different families, or the destination is unspecified (EINVAL).
    Invalid,
    /// Longer than UDP can carry: 65,507 bytes over IPv4, 65,527 over IPv6 (EMSGSIZE).
    MessageTooLong,
    /// The send buffer is full (ENOBUFS); only on demand, see [`Network::refuse_sends`](crate::Network::refuse_sends).
    NoBufferSpace,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::HostDown => "the host is down",
            SendError::NetworkUnreachable => "network unreachable",
            SendError::NoSuchInterface => "no such interface",
            SendError::InterfaceDown => "the interface is down",
            SendError::AddressNotAvailable => "the source is no address of this host",
            SendError::PortNotBound => "the source port is not bound",
            SendError::Invalid => "source and destination do not fit together",
            SendError::MessageTooLong => "message too long",
            SendError::NoBufferSpace => "no buffer space",
        })
    }
}

impl core::error::Error for SendError {}

/// Why a group was not joined or left, or a port not bound.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SocketError {
    /// The host is down.
    HostDown,
    /// The host has no such interface (ENODEV).
    NoSuchInterface,
    /// The address is no multicast address (EINVAL).
    NotAGroup,
    /// The interface has no address of this family (ENODEV).
    NoAddress,
    /// Already joined, or already bound (EADDRINUSE).
    AlreadyInUse,
    /// To be left, but not joined; or to be closed, but not bound (EADDRNOTAVAIL).
    NotInUse,
    /// The host's limit of memberships is reached (ENOBUFS).
    TooManyMemberships,
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SocketError::HostDown => "the host is down",
            SocketError::NoSuchInterface => "no such interface",
            SocketError::NotAGroup => "not a multicast address",
            SocketError::NoAddress => "the interface has no address of this family",
            SocketError::AlreadyInUse => "already in use",
            SocketError::NotInUse => "not in use",
            SocketError::TooManyMemberships => "too many memberships",
        })
    }
}

impl core::error::Error for SocketError {}
