//! Who sent a message, and through what it came.
//!
//! Handlers see both from the first day on, so that security changes no signature later.

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::path::Path;
use crate::time::Instant;

/// An identity that has been *proven*, for example by a verified signature: never an address, never
/// a key identifier alone. The bytes are opaque here; the security layer that proves them says what they mean.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(pub Vec<u8>);

/// The sender of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sender {
    /// Nothing is known but the source address, which anyone can forge.
    #[default]
    Unauthenticated,
    /// The message was verified as coming from this identity.
    Proven(Identity),
}

impl Sender {
    /// Has an identity been proven?
    pub fn is_proven(&self) -> bool {
        matches!(self, Self::Proven(_))
    }
}

/// The security group a message belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecurityGroup {
    /// No security group: the message is not protected (groupcomm-bis section 2.1.3).
    None,
    /// The conceptual group "NoSec" of the seed document: what [`None`](Self::None) is called in profile `seed03`. It has no name of its own and no keys.
    NoSec,
    /// A named security group, by its stable name.
    Named(alloc::string::String),
    /// The message is protected, and which of several groups protects it is not known here.
    Unidentified,
}

/// The tuple to which every group message belongs (seed -03 section 2.1.4), as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupTuple {
    /// The CoAP group: multicast address and port.
    pub coap_group: SocketAddr,
    /// The application group's name, if the request named one or the CoAP group implies one.
    pub application_group: Option<alloc::string::String>,
    /// The security group.
    pub security_group: SecurityGroup,
}

/// How a request reached the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When.
    pub at: Instant,
    /// Socket, local address, interface and peer.
    pub path: Path,
    /// The group it came through; `None` for a unicast request.
    pub group: Option<GroupTuple>,
    /// Who is proven to have sent it.
    pub sender: Sender,
}

impl Arrival {
    /// Did it come by multicast?
    pub fn is_group(&self) -> bool {
        self.path.is_multicast()
    }
}
