//! What goes wrong when sending, at once or later by ICMP, and when joining a group.

use core::net::{IpAddr, SocketAddr};
use std::io;

/// Why a datagram did not reach its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unreachable {
    /// No program listens on that port.
    Port,
    /// The host does not answer, or the last router cannot reach it.
    Host,
    /// No route leads there.
    Network,
    /// A filter forbids it.
    Prohibited,
    /// The datagram exceeds what the path carries.
    TooBig {
        /// What the path carries at most, in bytes, when known.
        mtu: Option<u32>,
    },
    /// The hop limit was used up on the way.
    HopLimit,
    /// The interface or the kernel had no room; trying again later may help.
    NoBuffers,
    /// Something else, by the operating system's error number.
    Other(i32),
}

/// A datagram that the system refused when it was to be sent.
#[derive(Debug)]
pub struct FailedSend {
    /// The caller's own number from `Outgoing::tag`.
    pub tag: u64,
    /// Where it was to go.
    pub destination: SocketAddr,
    /// The system's reason.
    pub error: io::Error,
}

impl FailedSend {
    /// The reason in words of the network.
    #[must_use]
    pub fn reason(&self) -> Unreachable {
        super::platform::reason(&self.error)
    }
}

/// Bytes of the failed datagram that an error report quotes at most: enough for a CoAP header and token.
pub const QUOTE: usize = 64;

/// A report, often by ICMP and some time after sending, that a datagram did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendFailure {
    /// Where the datagram was to go, canonical.
    pub destination: SocketAddr,
    /// Who reported it: the destination, a router, or nobody when this host found out by itself.
    pub offender: Option<IpAddr>,
    /// The reason.
    pub reason: Unreachable,
    /// The start of the datagram that failed.
    pub(super) quote: [u8; QUOTE],
    pub(super) quoted: usize,
}

impl SendFailure {
    /// The start of the failed datagram's payload, at most [`QUOTE`] bytes, as far as the report quotes it.
    /// It came over the network, and anyone can forge such a report: match it with what was really sent.
    #[must_use]
    pub fn quote(&self) -> &[u8] {
        self.quote.get(..self.quoted).unwrap_or_default()
    }
}

/// Why an interface could not join a group, or leave it.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The address is not a multicast address.
    #[error("{0} is not a multicast address")]
    NotMulticast(IpAddr),
    /// The interface does not exist, any more or yet.
    #[error("there is no interface with index {0}")]
    NoSuchInterface(u32),
    /// The socket is a member through this interface already.
    #[error("already a member through interface {0}")]
    AlreadyMember(u32),
    /// The socket is not a member through this interface.
    #[error("not a member through interface {0}")]
    NotMember(u32),
    /// A socket holds no further membership (Linux: 20 in IPv4, `net.ipv4.igmp_max_memberships`). Open one
    /// more [`GroupSocket`](super::GroupSocket) for the same group: each then receives what comes through
    /// its own interfaces.
    #[error("this socket takes no further membership: open another socket for the group")]
    TooManyMemberships,
    /// A group of interface-local or link-local scope needs a socket of its own per interface.
    #[error(
        "a socket for {group} belongs to one interface: open another socket for interface {interface}"
    )]
    OneInterfaceOnly {
        /// The group.
        group: IpAddr,
        /// The interface that was to join.
        interface: u32,
    },
    /// The system's own reason.
    #[error(transparent)]
    Os(#[from] io::Error),
}
