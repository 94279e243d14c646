//! What must be durable of a security group or of a plain OSCORE context, as records for an append-only store, and what a
//! start makes of them (draft section 2.6.1, RFC 8613 section 7.5 and appendix B.1).
//!
//! The endpoint hands out records; the store seals them, writes them in order and gives them back in order at the next start;
//! [`Restored::fold`] reads them. One list of records is for one group or one pair. When each must be durable:
//!
//! | record | durable before |
//! |---|---|
//! | [`Record::Installed`], [`Record::Paired`], [`Record::SenderId`] | anything is protected with the new keys |
//! | [`Record::Reserved`] | a number at or above the earlier bound is used in encryption |
//! | [`Record::Running`] | the first number is used and the first request is committed after a start |
//! | [`Record::PeerDeleted`] | the deletion takes effect |
//! | [`Record::Clean`] | the end of the process, after which nothing may be sent or received |

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

use crate::credential::CredentialFormat;
use crate::manager::GroupManagerCredential;
use crate::replay::ReplayWindow;
use crate::secret::Secret;
use crate::suite::{Aead, Hkdf, Suite};

mod codec;
mod installations;
mod restored;

pub use installations::{InstallRefused, Installations, Past};
pub use restored::{Established, Loss, Restored};

/// The version of Group OSCORE whose contexts are stored. Records of another version are not read.
pub const VERSION: &str = "draft-28";

/// The version of OSCORE whose contexts are stored.
pub const PAIR_VERSION: &str = "rfc8613";

/// One durable fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A Security Context of the group was installed.
    Installed(Box<Installed>),
    /// A plain OSCORE context was established.
    Paired(Box<Paired>),
    /// The endpoint got a new Sender ID under the current Gid: sequence numbers start at 0, those below `upto` are reserved.
    SenderId {
        /// The current Gid.
        gid: Vec<u8>,
        /// One that this endpoint never had under this Gid.
        sender_id: Vec<u8>,
        /// The first reservation, exclusive.
        upto: u64,
    },
    /// Sequence numbers below `upto` are reserved: any of them may have been used.
    Reserved {
        /// The Gid; of a pair, its ID Context, empty if it has none.
        gid: Vec<u8>,
        /// The own Sender ID.
        sender_id: Vec<u8>,
        /// Exclusive.
        upto: u64,
    },
    /// The endpoint is about to use the context: from here on Replay Windows are known in memory only.
    Running,
    /// A member and its credential.
    Peer {
        /// The current Gid.
        gid: Vec<u8>,
        /// The member's Sender ID.
        recipient_id: Vec<u8>,
        /// Its authentication credential, in the format of the group.
        credential: Vec<u8>,
    },
    /// A Recipient Context was deleted, and not for a message that failed verification: every later one in this Security
    /// Context starts with an invalid Replay Window.
    PeerDeleted {
        /// The current Gid.
        gid: Vec<u8>,
        /// The member's Sender ID.
        recipient_id: Vec<u8>,
    },
    /// The endpoint stopped in good order. What is used afterwards consumes it: it counts only while nothing but members follows,
    /// who come without having been heard, or go with their windows.
    Clean {
        /// The current Gid, as in [`Record::Reserved`].
        gid: Vec<u8>,
        /// The own Sender ID; `None` for a silent server.
        sender_id: Option<Vec<u8>>,
        /// The next unused sequence number.
        next: u64,
        /// The Replay Window of each Recipient Context that received something, or whose window is invalid.
        windows: Vec<(Vec<u8>, ReplayWindow)>,
    },
    /// The endpoint knows that it lost the varying part: nothing is protected or accepted until an installation.
    Lost,
    /// The endpoint left the group. The keys are gone; what was installed is remembered, so that it is not installed again.
    Left(Installations),
}

/// A Security Context of a group, with everything that a start needs.
#[derive(Clone, PartialEq, Eq)]
pub struct Installed {
    /// The invariant name of the group.
    pub name: String,
    /// The Key Generation Number: greater with each new Security Context of the group.
    pub generation: u64,
    /// The Group Identifier, at most 255 bytes.
    pub gid: Vec<u8>,
    /// The Master Secret.
    pub master_secret: Secret,
    /// The Master Salt, possibly empty.
    pub master_salt: Vec<u8>,
    /// The algorithms.
    pub suite: Suite,
    /// The format of all credentials of the group.
    pub format: CredentialFormat,
    /// The Group Manager's credential.
    pub manager: Vec<u8>,
    /// The own membership; `None` for a silent server.
    pub own: Option<OwnMember>,
    /// The first reservation of sequence numbers, exclusive.
    pub upto: u64,
    /// Which members of the context before remain.
    pub peers: PeersKept,
    /// (Gid, Sender ID) pairs that this endpoint had before. Only a condensed list needs it; else empty.
    pub past: Vec<Past>,
    /// A Recipient Context of this context was deleted. Only a condensed list needs it; else false.
    pub ever_deleted: bool,
}

impl Installed {
    /// The Group Manager's credential, which was there on good grounds when this was installed.
    pub fn group_manager(&self) -> GroupManagerCredential {
        GroupManagerCredential::installed(self.manager.clone())
    }
}

/// The endpoint as a member that can send.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnMember {
    /// The own Sender ID.
    pub sender_id: Vec<u8>,
    /// The own credential.
    pub credential: Vec<u8>,
    /// The private key, in the form that its kind stores; `None` when it never leaves its secure element.
    pub key: Option<Secret>,
}

/// Which credentials of the context before are taken over by an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeersKept {
    /// None.
    Nobody,
    /// All but these Sender IDs, which are stale.
    AllBut(Vec<Vec<u8>>),
}

/// A plain OSCORE context (RFC 8613).
#[derive(Clone, PartialEq, Eq)]
pub struct Paired {
    /// The name of the pair at this endpoint.
    pub name: String,
    /// The ID Context.
    pub id_context: Option<Vec<u8>>,
    /// The Master Secret.
    pub master_secret: Secret,
    /// The Master Salt, possibly empty.
    pub master_salt: Vec<u8>,
    /// The HKDF Algorithm.
    pub hkdf: Hkdf,
    /// The AEAD Algorithm.
    pub aead: Aead,
    /// The own Sender ID.
    pub sender_id: Vec<u8>,
    /// The peer's Sender ID.
    pub recipient_id: Vec<u8>,
    /// The first reservation of sequence numbers, exclusive.
    pub upto: u64,
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordMalformed {
    /// Not what [`Record::encode`] writes.
    Malformed,
    /// A context of another version of the protocol.
    Version,
}

impl fmt::Display for RecordMalformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a record",
            Self::Version => "a record of another version of the protocol",
        })
    }
}

impl core::error::Error for RecordMalformed {}

impl Record {
    /// The record as CBOR. The bytes hold key material and are overwritten when dropped.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        codec::encode(self)
    }

    /// Reads what [`Self::encode`] wrote. Never panics, whatever the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordMalformed> {
        codec::decode(bytes)
    }
}

impl fmt::Debug for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Installed")
            .field("name", &self.name)
            .field("generation", &self.generation)
            .field("gid", &self.gid)
            .field("suite", &self.suite)
            .field("own", &self.own)
            .field("upto", &self.upto)
            .field("peers", &self.peers)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for OwnMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnMember")
            .field("sender_id", &self.sender_id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Paired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paired")
            .field("name", &self.name)
            .field("id_context", &self.id_context)
            .field("sender_id", &self.sender_id)
            .field("recipient_id", &self.recipient_id)
            .field("upto", &self.upto)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
