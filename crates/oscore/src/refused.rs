//! Why a message was not opened, and what a server may say about it: often nothing.

use antiphon_wire::Code;

use crate::contexts::{ContextId, GroupId};
use crate::identity::{Kid, Mode};

/// A message that was not opened. Nothing has changed: no replay window, no Response Number, no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// Where several contexts were tried, of which group the reason speaks.
    pub group: Option<GroupId>,
}

impl Refused {
    /// In this group, or in a pair.
    pub(crate) fn in_context(place: ContextId, reason: Reason) -> Refused {
        Refused {
            reason,
            group: place.group(),
        }
    }
}

/// Why a message was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No OSCORE option, one that does not decode, a missing field, or a payload that is too short
    /// (RFC 8613, section 8.2 step 2).
    Malformed,
    /// No Security Context for 'kid context' and 'kid' (RFC 8613, section 8.2 step 2).
    NoContext,
    /// The group is known, the sender's credential is not: whoever can fetch it may add the peer and begin
    /// again (draft sections 7.2 and 7.4). Only with [`dynamic recipients`](crate::Settings::dynamic).
    NoCredential {
        /// In which group.
        group: GroupId,
        /// Whose credential is missing.
        kid: Kid,
    },
    /// The Partial IV was received before, or is too old to tell.
    Replayed,
    /// The Replay Window of the sender is invalid and this endpoint cannot send an Echo challenge
    /// (draft sections 2.6.1.2 and 14.14).
    WindowInvalid,
    /// Countersignature or tag do not verify. The two are never told apart (draft section 7.2).
    NotVerified,
    /// The group or this endpoint does not have the mode of the message (draft section 6).
    ModeUnavailable(Mode),
    /// The message carries the own Sender ID (draft section 7.2).
    OwnKid,
    /// The varying part of the Security Context is lost (draft section 2.6.1.1).
    Lost,
    /// A new Security Context is being installed (draft section 2.6.3.2).
    Installing,
    /// The context, the peer or the exchange changed while the message waited.
    Superseded,
    /// A response of another member than the one the request was for (draft section 7.4).
    OtherMember,
    /// A response of the same member under another 'kid' than before in this exchange (draft section 7.4).
    KidChanged,
    /// This exchange has heard as many servers as it keeps count of.
    TooManyServers,
    /// The message verified, and what it holds is no CoAP message that may come here.
    Content,
    /// The own private key could not be used.
    KeyFailure,
    /// The result that was handed in belongs to another message.
    WrongResult,
}

/// An error response that a server may send, unprotected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorAnswer {
    /// The response code.
    pub code: Code,
    /// The diagnostic payload.
    pub text: Option<&'static str>,
    /// Whether an outer Max-Age of 0 belongs into it. Without it a client may retry after 60 s.
    pub max_age_zero: bool,
}

impl Reason {
    /// Whether the same message may well be opened a little later: when keys or credential have come, or there is time. A server that
    /// says nothing to it then takes its retransmission for a new message.
    pub const fn is_passing(self) -> bool {
        matches!(
            self,
            Reason::NoContext
                | Reason::NoCredential { .. }
                | Reason::Installing
                | Reason::Superseded
                | Reason::KeyFailure
        )
    }

    /// The one error map: what a server whose policy is to answer says to this, and `None` where it stays
    /// silent. Everything is silence for a request that came by multicast, or of which that is not known
    /// (draft section 7). A client never answers.
    ///
    /// RFC 8613 sections 7.4 and 8.2; draft sections 7.2 and 8.4.
    pub const fn answer(self, multicast: bool) -> Option<ErrorAnswer> {
        if multicast {
            return None;
        }
        let (code, text) = match self {
            Reason::Malformed => (Code::BAD_OPTION, Some("Failed to decode COSE")),
            Reason::NoContext => (Code::UNAUTHORIZED, Some("Security context not found")),
            Reason::Replayed => (Code::UNAUTHORIZED, Some("Replay detected")),
            Reason::NotVerified => (Code::BAD_REQUEST, Some("Decryption failed")),
            Reason::ModeUnavailable(Mode::Pairwise) => (Code::BAD_OPTION, None),
            Reason::NoCredential { .. } => {
                return Some(ErrorAnswer {
                    code: Code::SERVICE_UNAVAILABLE,
                    text: None,
                    max_age_zero: false,
                });
            }
            _ => return None,
        };
        Some(ErrorAnswer {
            code,
            text,
            max_age_zero: true,
        })
    }
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Refused {
        Refused {
            reason,
            group: None,
        }
    }
}

/// Why a message was not protected. Nothing left, and a sequence number that was taken is not given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProtectError {
    /// Sequence numbers have to be made durable first: try again when that is done.
    NotReserved,
    /// The sequence numbers are used up (draft section 2.6.2).
    Exhausted,
    /// The varying part of the Security Context is lost (draft section 2.6.1.1).
    Lost,
    /// A silent server sends nothing.
    NoSender,
    /// A new Security Context is being installed.
    Installing,
    /// There is no such group or pair.
    NoContext,
    /// The group or this endpoint does not have that mode.
    ModeUnavailable,
    /// The member is not known.
    UnknownMember,
    /// The message cannot be protected.
    Message(crate::message::MessageRefused),
    /// The message is too long for the algorithm.
    TooLong,
    /// The private key could not be used, or gave a signature of the wrong length.
    KeyFailure,
    /// The context changed while the message waited for its signature.
    Superseded,
}

impl From<crate::message::MessageRefused> for ProtectError {
    fn from(refused: crate::message::MessageRefused) -> ProtectError {
        ProtectError::Message(refused)
    }
}
