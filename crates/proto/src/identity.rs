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

impl Identity {
    /// The identity of a member of a security group: the group's invariant name and the member's authentication
    /// credential. Never its Sender ID, which may go to somebody else later.
    ///
    /// Encoded as the length of the name in two bytes, name, credential; a name is 255 bytes long at most.
    pub fn member(group: &str, credential: &[u8]) -> Self {
        let name = group.as_bytes();
        let name = name.get(..MAX_NAME).unwrap_or(name);
        let mut identity = Vec::with_capacity(2 + name.len() + credential.len());
        identity.extend_from_slice(&(name.len() as u16).to_be_bytes()); // at most `MAX_NAME`
        identity.extend_from_slice(name);
        identity.extend_from_slice(credential);
        Self(identity)
    }

    /// The name of the security group, if this is the identity of a member of one.
    pub fn group(&self) -> Option<&str> {
        core::str::from_utf8(self.parts()?.0).ok()
    }

    /// The member's authentication credential.
    pub fn credential(&self) -> Option<&[u8]> {
        Some(self.parts()?.1)
    }

    fn parts(&self) -> Option<(&[u8], &[u8])> {
        let (length, rest) = self.0.split_first_chunk()?;
        rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
    }
}

/// The longest name of a security group that counts.
const MAX_NAME: usize = 255;

/// How a message is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecurityMode {
    /// Not at all.
    #[default]
    NoSec,
    /// By OSCORE, between two endpoints (RFC 8613).
    Oscore,
    /// By the group mode of Group OSCORE: signed, and to be read by the whole security group. When it came by unicast,
    /// it is not known for whom it was meant: somebody on the way may have redirected it
    /// (draft-ietf-core-oscore-groupcomm-28 section 14.9).
    Group,
    /// By the pairwise mode of Group OSCORE: for this endpoint alone.
    Pairwise {
        /// The security group does not use the group mode at all.
        only: bool,
    },
}

/// What is known of whoever sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing<'a> {
    /// Who is proven to have sent it.
    pub sender: &'a Sender,
    /// How it was protected.
    pub mode: SecurityMode,
    /// The security group that protected it, by its invariant name.
    pub security_group: Option<&'a str>,
    /// It is proven to be fresh: it carried an Echo value that this endpoint sent to this sender (RFC 9175).
    pub fresh: bool,
    /// The sender is proven to be reachable at the source address: an Echo value that was sent there came back.
    pub reachable: bool,
    /// The own Sender ID in that security group.
    pub own_id: Option<&'a [u8]>,
    /// The unicast address from which a request through a group is answered, where it is known.
    pub own_address: Option<SocketAddr>,
}

impl<'a> Standing<'a> {
    /// Nothing is known beside the sender; one that is proven is taken for a peer by OSCORE.
    pub const fn of(sender: &'a Sender) -> Self {
        Self {
            sender,
            mode: match sender {
                Sender::Proven(_) => SecurityMode::Oscore,
                Sender::Unauthenticated => SecurityMode::NoSec,
            },
            security_group: None,
            fresh: false,
            reachable: false,
            own_id: None,
            own_address: None,
        }
    }
}

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
    /// How it was protected. Together with [`is_group`](Self::is_group) it tells a request in group mode that came by
    /// unicast.
    pub mode: SecurityMode,
}

impl Arrival {
    /// Did it come by multicast?
    pub fn is_group(&self) -> bool {
        self.path.is_multicast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_of_a_member_is_its_group_and_its_credential() {
        let identity = Identity::member("lights", &[1, 2, 3]);
        assert_eq!(identity.0, b"\x00\x06lights\x01\x02\x03");
        assert_eq!(identity.group(), Some("lights"));
        assert_eq!(identity.credential(), Some([1, 2, 3].as_slice()));
        assert_ne!(
            Identity::member("a", b"bc"),
            Identity::member("ab", b"c"),
            "no two have the same"
        );
        let long = Identity::member(&"n".repeat(300), b"c");
        assert_eq!(long.group().map(str::len), Some(255));
        assert_eq!(long.credential(), Some(b"c".as_slice()));
    }

    #[test]
    fn bytes_that_are_no_identity_of_a_member_have_neither_part() {
        for bytes in [b"".as_slice(), b"\x00", b"\x00\x02a", b"\xff\xff"] {
            let identity = Identity(bytes.to_vec());
            assert_eq!((identity.group(), identity.credential()), (None, None));
        }
        assert_eq!(Identity(b"\x00\x01\xff".to_vec()).group(), None, "no text");
    }
}
