//! What can be wrong with a security group or an OSCORE context.

use antiphon_oscore::credential::CredentialRefused;
use antiphon_oscore::record::{InstallRefused, Loss};
use antiphon_oscore::{GroupError, InstallError, PairError};

use crate::store::StoreError;

/// Why there is no security group or OSCORE context, or why it cannot be used. No message holds a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecurityError {
    /// Something that every group or pair needs was not given.
    #[error("{name}: {what} is missing")]
    Missing {
        /// The group or pair.
        name: String,
        /// What.
        what: &'static str,
    },
    /// The name is empty or longer than 240 bytes, or a group is called NoSec.
    #[error(
        "the name of a security group or OSCORE context has 1 to 240 bytes, and no group is called NoSec"
    )]
    Name,
    /// An identifier is too long.
    #[error("{name}: {what} {id} is too long")]
    TooLong {
        /// The group or pair.
        name: String,
        /// What.
        what: &'static str,
        /// In hexadecimal.
        id: String,
    },
    /// An authentication credential is refused.
    #[error("{name}: the credential of {of}: {reason}")]
    Credential {
        /// The group.
        name: String,
        /// Whose.
        of: String,
        /// Why.
        reason: CredentialRefused,
    },
    /// A member cannot be in the group.
    #[error("{name}: member {of}: {}", text(*reason))]
    Member {
        /// The group.
        name: String,
        /// Who.
        of: String,
        /// Why.
        reason: GroupError,
    },
    /// The own private key is not the one of the own credential.
    #[error("{name}: the private key does not belong to the public key in the own credential")]
    OtherKey {
        /// The group.
        name: String,
    },
    /// The group needs a private key, and it is neither stored nor given.
    #[error(
        "{name}: the private key is not in the store, because it lives elsewhere; open the group with it"
    )]
    NoKey {
        /// The group.
        name: String,
    },
    /// The OSCORE context cannot be.
    #[error("{name}: {}", pair_text(*reason))]
    Pair {
        /// The context.
        name: String,
        /// Why.
        reason: PairError,
    },
    /// These keys must not be installed: sequence numbers would be used twice.
    #[error(
        "{name}: {reason}; installed once, keys go on from the store, and new ones need a higher generation and another Gid"
    )]
    Refused {
        /// The group.
        name: String,
        /// Why.
        reason: InstallRefused,
    },
    /// The store has these keys under another name: their sequence numbers would begin again. Also where only Gid and Sender ID
    /// are known to be the same, because the Master Secret of the other one is gone.
    #[error(
        "{name}: the store has this Gid and Sender ID under the name {other}, with the same Master Secret or one that is not known any \
         more, and their sequence numbers would begin again: go on under that name, or take new keys with a Gid that was never used"
    )]
    UsedElsewhere {
        /// The group or pair.
        name: String,
        /// Under which name its keys are in the store.
        other: String,
    },
    /// Nothing may begin in a store of which it is not known what was used:
    /// [`Continuity::Broken`](crate::store::Continuity::Broken), now or when it was opened earlier.
    #[error(
        "{name}: no keys may begin in a store that is not the one that was last in use, because it is not known which were used since: \
         put new ones, which were never used, into a new store"
    )]
    Broken {
        /// The group or pair.
        name: String,
    },
    /// There is an OSCORE context of this name, and it is another one. It is not replaced: a context has no generations that would
    /// say which is newer.
    #[error(
        "{name}: the store has an OSCORE context of this name with other parts, which goes on there as it was; keys that were never \
         used are another context, with a name of its own"
    )]
    OtherContext {
        /// The context.
        name: String,
    },
    /// The store does not know it, or it was opened already.
    #[error("{name}: there is no such group or context in the store, or it is open already")]
    Unknown {
        /// The group or pair.
        name: String,
    },
    /// It is not certain which sequence numbers were used. Going on would break the encryption.
    #[error(
        "{name}: its sequence numbers are lost ({}): nothing may be sent with these keys; provide new keying material with a higher \
         generation and another Gid, to all members",
        loss_text(*why)
    )]
    Lost {
        /// The group or pair.
        name: String,
        /// How that is known; `None` when the store itself is not the last one in use.
        why: Option<Loss>,
    },
    /// Another client or server of this process uses it.
    #[error(
        "{name} is in use by another client or server; one endpoint at a time may count its sequence numbers: use the same one, for \
         example by Server::client()"
    )]
    InUse {
        /// The group or pair.
        name: String,
    },
    /// It was left: its keys are gone.
    #[error("{name} was left")]
    Left {
        /// The group.
        name: String,
    },
    /// There is no such member.
    #[error("{name}: there is no member {of}")]
    NoMember {
        /// The group.
        name: String,
        /// The Sender ID.
        of: String,
    },
    /// The own credential would change. That takes a description that is [created](super::SecurityGroupBuilder::create) anew.
    #[error("{name}: the own credential cannot change while the group is open")]
    OtherCredential {
        /// The group.
        name: String,
    },
    /// The description is of another group.
    #[error("{name}: this describes another group, {other}")]
    OtherGroup {
        /// The group.
        name: String,
        /// The other one.
        other: String,
    },
    /// New keys cannot be installed; the ones in use go on.
    #[error("{name}: {}", install_text(*reason))]
    NotInstalled {
        /// The group.
        name: String,
        /// Why.
        reason: InstallError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The thread that does the work ended.
    #[error("a worker ended before its work was done")]
    Worker,
}

fn text(reason: GroupError) -> &'static str {
    match reason {
        GroupError::Name => "the name of the group has 1 to 255 bytes",
        GroupError::IdTooLong => "its Sender ID is too long for the algorithms of the group",
        GroupError::IdTaken => "its Sender ID is that of another member",
        GroupError::OwnId => "its Sender ID is that of this endpoint, or was under these keys",
        GroupError::OwnCredential => "its credential is that of this endpoint",
        GroupError::Full => "the group is full",
        GroupError::Credential => {
            "its key is not of the kind that the algorithms of the group need"
        }
        GroupError::Format => "its credential is not in the format of the group",
        GroupError::NoMode => "the group has none of the modes that this endpoint is to use",
        GroupError::EchoNeedsPairwise => {
            "proof of freshness from each client needs the pairwise mode, which this endpoint is not to use"
        }
        GroupError::Derivation => "no key can be derived",
    }
}

fn install_text(reason: InstallError) -> &'static str {
    match reason {
        InstallError::NotNewer => "the keys are not newer than those in use",
        InstallError::SameGid => "new keys need another Gid",
        InstallError::StaleUnknown => {
            "it is not known since the keys in use who is no member any more; name all members instead"
        }
        InstallError::UsedSenderId => "the Sender ID was used before under this Gid",
        InstallError::NoSender => "a silent server has no Sender ID",
        InstallError::Superseded => "something else has changed meanwhile",
        InstallError::Group(reason) => text(reason),
    }
}

fn pair_text(reason: PairError) -> &'static str {
    match reason {
        PairError::Name => "the name of an OSCORE context has 1 to 255 bytes",
        PairError::IdTooLong => "an ID is too long for the AEAD algorithm",
        PairError::SameIds => "both ends have the same ID",
        PairError::Derivation => "no key can be derived",
    }
}

fn loss_text(why: Option<Loss>) -> String {
    match why {
        None => "the store is not the one that was last in use".to_owned(),
        Some(Loss::Unreadable) => "a record cannot be read".to_owned(),
        Some(Loss::Mismatch) => "a record does not belong to the others".to_owned(),
        Some(Loss::Refused(refused)) => refused.to_string(),
        Some(Loss::Recorded) => "it was written down that they are lost".to_owned(),
    }
}
