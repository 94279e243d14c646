//! What an endpoint knows of security: how messages are to be protected, and why one was not.
//!
//! Keys, contexts and cryptography stand in `antiphon-oscore`, which is used with the feature `oscore` alone. Without it
//! nothing here can be asked for but [`Protection::None`].

use core::fmt;

#[cfg(feature = "oscore")]
mod budget;
#[cfg(feature = "oscore")]
mod guard;

#[cfg(feature = "oscore")]
pub(crate) use antiphon_oscore::{Asked, Received};
#[cfg(feature = "oscore")]
pub use antiphon_oscore::{ContextId, GroupId, PairId};
#[cfg(feature = "oscore")]
pub(crate) use budget::Budgets;
#[cfg(feature = "oscore")]
pub use guard::{AnswerMode, SecurityConfig, SecurityCounters, SecurityEvent};
#[cfg(feature = "oscore")]
pub(crate) use guard::{Fetch, Guard, Stored, Storing, at};

/// How a request to one peer is protected. There is no default: sending without protection is a stated choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Not at all: anyone may read, forge and repeat it.
    None,
    /// With OSCORE (RFC 8613), in the context that is shared with this peer.
    #[cfg(feature = "oscore")]
    Pair(PairId),
    /// With Group OSCORE, for this member alone: in pairwise mode, or in group mode if the group has no other.
    #[cfg(feature = "oscore")]
    Member {
        /// The security group.
        group: GroupId,
        /// The member's authentication credential. A Sender ID would not do: it may change before the request leaves.
        credential: alloc::vec::Vec<u8>,
    },
    /// With Group OSCORE in group mode: every member can open it. For a member that is not known yet.
    #[cfg(feature = "oscore")]
    Group(GroupId),
}

impl Protection {
    /// Is it none at all?
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Is it with the keys of this security group?
    #[cfg(feature = "oscore")]
    pub(crate) fn is_in(&self, id: GroupId) -> bool {
        match self {
            Self::Member { group, .. } | Self::Group(group) => *group == id,
            Self::None | Self::Pair(_) => false,
        }
    }
}

/// Why a message could not be protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotProtected {
    /// There is no such security context (any more), or this endpoint may not send in it.
    NoContext,
    /// The member is not known in the security group.
    UnknownMember,
    /// The group has no mode for this kind of message.
    ModeUnavailable,
    /// Every sequence number of the context is used up. New keying material is needed.
    Exhausted,
    /// It is not certain which sequence numbers have been used. New keying material is needed.
    Lost,
    /// Sequence numbers could not be reserved durably in time.
    NotReserved,
    /// The private key could not be used, or not in time.
    NoSignature,
    /// Protected, the message does not fit into a datagram.
    TooLarge,
    /// The message cannot be protected as it is.
    Malformed,
    /// Too many messages wait for work already.
    Crowded,
    /// This endpoint has left the security group.
    Left,
}

impl fmt::Display for NotProtected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoContext => "there is no security context to send in",
            Self::UnknownMember => "the member is not known in the security group",
            Self::ModeUnavailable => "the security group has no mode for such a message",
            Self::Exhausted => "all sequence numbers are used; new keying material is needed",
            Self::Lost => {
                "it is not certain which sequence numbers were used; new keying material is needed"
            }
            Self::NotReserved => "no sequence number could be reserved in time",
            Self::NoSignature => "the private key could not be used in time",
            Self::TooLarge => "the protected message does not fit into a datagram",
            Self::Malformed => "the message cannot be protected",
            Self::Crowded => "too many messages wait to be protected",
            Self::Left => "this endpoint has left the security group",
        })
    }
}

impl core::error::Error for NotProtected {}

/// Nothing is ever asked under protection in an image without security.
#[cfg(not(feature = "oscore"))]
#[derive(Debug)]
pub(crate) enum Asked {}

/// Nothing is ever received under protection in an image without security.
#[cfg(not(feature = "oscore"))]
#[derive(Debug)]
pub(crate) enum Received {}

#[cfg(feature = "oscore")]
impl From<antiphon_oscore::ProtectError> for NotProtected {
    fn from(error: antiphon_oscore::ProtectError) -> Self {
        use antiphon_oscore::ProtectError;
        match error {
            ProtectError::NotReserved | ProtectError::Installing => Self::NotReserved,
            ProtectError::Exhausted => Self::Exhausted,
            ProtectError::Lost => Self::Lost,
            ProtectError::NoSender | ProtectError::NoContext | ProtectError::Superseded => {
                Self::NoContext
            }
            ProtectError::ModeUnavailable => Self::ModeUnavailable,
            ProtectError::UnknownMember => Self::UnknownMember,
            ProtectError::Message(_) => Self::Malformed,
            ProtectError::TooLong => Self::TooLarge,
            ProtectError::KeyFailure => Self::NoSignature,
        }
    }
}

#[cfg(all(test, feature = "oscore"))]
mod tests {
    use antiphon_oscore::{MessageRefused, ProtectError};

    use super::*;

    #[test]
    fn each_failure_to_protect_keeps_its_meaning() {
        for (error, why, said) in [
            (
                ProtectError::NotReserved,
                NotProtected::NotReserved,
                "reserved",
            ),
            (
                ProtectError::Installing,
                NotProtected::NotReserved,
                "reserved",
            ),
            (
                ProtectError::Exhausted,
                NotProtected::Exhausted,
                "all sequence",
            ),
            (ProtectError::Lost, NotProtected::Lost, "not certain"),
            (
                ProtectError::NoSender,
                NotProtected::NoContext,
                "no security context",
            ),
            (
                ProtectError::NoContext,
                NotProtected::NoContext,
                "no security context",
            ),
            (
                ProtectError::Superseded,
                NotProtected::NoContext,
                "no security context",
            ),
            (
                ProtectError::ModeUnavailable,
                NotProtected::ModeUnavailable,
                "no mode",
            ),
            (
                ProtectError::UnknownMember,
                NotProtected::UnknownMember,
                "member",
            ),
            (
                ProtectError::Message(MessageRefused::Nested),
                NotProtected::Malformed,
                "cannot be protected",
            ),
            (
                ProtectError::TooLong,
                NotProtected::TooLarge,
                "does not fit",
            ),
            (
                ProtectError::KeyFailure,
                NotProtected::NoSignature,
                "private key",
            ),
        ] {
            assert_eq!(NotProtected::from(error), why, "{error:?}");
            let text = alloc::format!("{why}");
            assert!(text.contains(said), "{text}");
        }
        let crowded = alloc::format!("{}", NotProtected::Crowded);
        assert!(crowded.contains("too many"), "{crowded}");
        assert!(Protection::None.is_none());
    }
}
