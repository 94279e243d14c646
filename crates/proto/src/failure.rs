//! Why requests to one peer fail.

use core::fmt;

use antiphon_wire::Code;

use crate::block::BodyFailure;
use crate::security::NotProtected;

/// Why a request to one peer got no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing came back in time; for a Confirmable request after MAX_RETRANSMIT retransmissions.
    TimedOut,
    /// The peer rejected the message with a Reset.
    Reset,
    /// The datagram could not be sent, or the network said that it could not be delivered.
    Unreachable(SendError),
    /// The response was not acceptable: an unknown critical option (RFC 7252 section 5.4.1) or a format error.
    Rejected,
    /// The application gave it up.
    Cancelled,
    /// The request could not be protected, so it was not sent; or its security group was left meanwhile.
    NotProtected(NotProtected),
    /// The request was protected, and nothing came back in time but a response without protection, which anyone can
    /// forge. Its code is a hint and nothing more.
    OnlyUnprotected(Code),
    /// The body of the request or of the response could not be transferred in blocks. Also, when nothing else came in time:
    /// a protected response came in outer blocks that did not fit together, or were too many.
    Body(BodyFailure),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no response in time"),
            Self::Reset => f.write_str("rejected by the peer with a Reset"),
            Self::Unreachable(error) => write!(f, "unreachable: {error}"),
            Self::Rejected => f.write_str("the response could not be accepted"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::NotProtected(NotProtected::Left) => NotProtected::Left.fmt(f),
            Self::NotProtected(why) => write!(f, "not sent: {why}"),
            Self::OnlyUnprotected(code) => {
                write!(
                    f,
                    "no protected response in time; an unprotected {code} came"
                )
            }
            Self::Body(failure) => failure.fmt(f),
        }
    }
}

impl core::error::Error for Failure {}

/// Why a datagram was not sent or not delivered, as the operating system says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// There is no route (ENETUNREACH, EHOSTUNREACH, or an ICMP message of that meaning).
    NoRoute,
    /// Nobody listens on the port (ICMP port unreachable). Never the result of a multicast.
    PortUnreachable,
    /// The datagram is too large for the socket or the path (EMSGSIZE).
    TooLarge,
    /// The system had no buffer (ENOBUFS); the next attempt may succeed.
    NoBuffer,
    /// The interface or the source address is gone (ENODEV, EADDRNOTAVAIL).
    InterfaceGone,
    /// Sending is forbidden (EPERM, EACCES), for example by a firewall.
    Forbidden,
    /// Any other error, by its number.
    Other(i32),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoute => f.write_str("no route to the destination"),
            Self::PortUnreachable => f.write_str("nobody listens on that port"),
            Self::TooLarge => f.write_str("the datagram is too large for the path"),
            Self::NoBuffer => f.write_str("the system has no buffer left"),
            Self::InterfaceGone => f.write_str("the interface or source address is gone"),
            Self::Forbidden => f.write_str("sending is forbidden by the system"),
            Self::Other(code) => write!(f, "system error {code}"),
        }
    }
}

impl core::error::Error for SendError {}
