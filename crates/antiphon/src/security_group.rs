//! Security groups and OSCORE contexts, as those who use them see them.
//!
//! A [`SecurityGroup`] is what the members of a group share (RFC 8613 and draft-ietf-core-oscore-groupcomm-28): every message is
//! encrypted, and signed by its sender or protected for one member alone. An [`OscoreContext`] is shared by two.
//!
//! ```no_run
//! use antiphon::security_group::{Signed, open_state};
//! use antiphon::{Client, SecurityGroup};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut state = open_state("/var/lib/antiphon/state".as_ref())?;
//! let lights = SecurityGroup::open(&mut state, "lights")?;
//! let client = Client::builder().interface("eth0").build().await?;
//! let call = client.group("coap://224.0.1.187/status")?.get();
//! let mut answers = call.secure(&lights).expect(lights.expect_all()).send().await?;
//! while let Some(answer) = answers.answer().await {
//!     println!("{} is proven to have answered {:?}", answer.signer().unwrap(), answer.response);
//! }
//! for (name, why) in answers.finish().await?.missing() {
//!     println!("{name} is missing: {why:?}");
//! }
//! client.close().await; // what was counted is written down exactly
//! # Ok(())
//! # }
//! ```
//!
//! # What outlives the program
//!
//! A sequence number must never be used twice with the same keys, and an old request must never be taken for a new one. So a group lives in
//! a [`Store`](crate::store::Store), and:
//!
//! - Before a group is used the store says that it is *in use*, and a block of sequence numbers is reserved; the next block is
//!   reserved when half of one is gone. What is sent never waits for the disk, except for the first time.
//! - [`Client::close`](crate::Client::close), [`Running::stop`](crate::Running::stop) and the end of
//!   [`Server::run`](crate::Server::run) write down the exact state: the next start goes on where this one ended.
//! - After anything else (a crash, a kill, a runtime that was shut down) the next start goes on above the reserved block, and it
//!   is not known which requests were received. Every member that asks is then challenged once: it has to send its request again
//!   with an Echo value (RFC 9175). Clients of this crate do that by themselves.
//! - A store that is not the one last in use, or a record that cannot be read: the state is *lost*. Nothing is sent or accepted
//!   with these keys any more ([`SecurityError::Lost`]). The group has to be provisioned again: new Master Secret, higher generation, another Gid.
//!
//! When the store fails while a group is used, it is tried again, later and later, and reported
//! ([`DriverCounters::store_failures`](crate::DriverCounters)). What is reserved is used meanwhile; then messages wait, and are given up.
//!
//! # Private keys
//!
//! The own private key is used by worker threads only; the endpoint never sees it. [`OwnKey::elsewhere`] takes
//! one that lives in a secure element.

mod builder;
mod error;
pub(crate) mod held;
pub(crate) mod keeper;
mod member;
mod pair;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use antiphon_oscore::suite::Suite;
use antiphon_oscore::{Kid, Settings};
use antiphon_proto::{Expectation, GroupId, SecurityGroupName, Sender};

pub use antiphon_oscore::credential::{Credential, CredentialFormat, CredentialRefused};
pub use antiphon_oscore::crypto::{Curve, KeyFailure, PrivateKey, PublicKey, SoftwareKey};
pub use antiphon_oscore::secret::Secret;
pub use antiphon_oscore::suite;
pub use antiphon_oscore::{Grounds, GroupManagerCredential, Proof, ProofRefused};
pub use builder::SecurityGroupBuilder;
pub use error::SecurityError;
pub use keeper::{CredentialSource, OwnKey};
pub use member::{GroupMember, Signed, Signer, expected};
pub use pair::{OscoreContext, OscoreContextBuilder};
pub use state::{StateError, open_state, options, stored_contexts, stored_groups};

use crate::store::Opened;
use held::Held;

/// A group whose messages are protected. Clones are the same group. See the [module](self).
///
/// It belongs to one endpoint at a time: the first client or server that uses it, until that is closed. A server and its
/// [client](crate::Server::client) are one endpoint.
#[derive(Clone)]
pub struct SecurityGroup {
    shared: Arc<Shared>,
}

struct Shared {
    held: Arc<Held>,
    label: SecurityGroupName,
    gid: Vec<u8>,
    generation: u64,
    suite: Suite,
    own: Option<(Kid, Credential)>,
    peers: Vec<(Kid, Credential)>,
}

impl SecurityGroup {
    /// A group from its parts, as they were configured.
    pub fn builder(name: impl Into<String>) -> SecurityGroupBuilder {
        SecurityGroupBuilder::new(name.into())
    }

    /// The group of this name in a store, as it was left. It is taken out of `state`: nobody else gets it.
    ///
    /// # Errors
    /// [`SecurityError::Unknown`], [`SecurityError::Lost`], [`SecurityError::NoKey`] if the private key is not stored:
    /// see [`open_with`](Self::open_with).
    pub fn open(state: &mut Opened, name: &str) -> Result<Self, SecurityError> {
        builder::open(state, name, None, Settings::default())
    }

    /// As [`open`](Self::open), with a private key that is not stored and with settings of your own.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`SecurityError::OtherKey`].
    pub fn open_with(
        state: &mut Opened,
        name: &str,
        key: Option<OwnKey>,
        settings: Settings,
    ) -> Result<Self, SecurityError> {
        builder::open(state, name, key, settings)
    }

    /// The invariant name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.held.name()
    }

    /// The Group Identifier with which it was opened.
    #[must_use]
    pub fn gid(&self) -> &[u8] {
        &self.shared.gid
    }

    /// The number of its keys: new ones have a higher one.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.shared.generation
    }

    /// The algorithms.
    #[must_use]
    pub fn suite(&self) -> &Suite {
        &self.shared.suite
    }

    /// This endpoint as a member; `None` for a silent server, which only listens.
    #[must_use]
    pub fn me(&self) -> Option<GroupMember> {
        let (kid, credential) = self.shared.own.as_ref()?;
        Some(self.member_of(*kid, credential))
    }

    /// The other members, in the order of their Sender IDs.
    pub fn members(&self) -> impl Iterator<Item = GroupMember> {
        let peers = self.shared.peers.iter();
        peers.map(|(kid, credential)| self.member_of(*kid, credential))
    }

    /// The other member of this name: the subject of its credential, or its Sender ID in hexadecimal. `None` also if several have it.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<GroupMember> {
        let mut found = self.members().filter(|member| member.name() == name);
        match (found.next(), found.next()) {
            (Some(member), None) => Some(member),
            (Some(_), Some(_)) => None,
            _ => self
                .members()
                .find(|member| member.kid.to_string().eq_ignore_ascii_case(name)),
        }
    }

    /// The other member with this Sender ID.
    #[must_use]
    pub fn member_by_kid(&self, kid: &[u8]) -> Option<GroupMember> {
        self.members().find(|member| member.kid.as_bytes() == kid)
    }

    /// The member of this group that is proven to have sent a message.
    #[must_use]
    pub fn identify(&self, sender: &Sender) -> Option<GroupMember> {
        let Sender::Proven(identity) = sender else {
            return None;
        };
        if identity.group() != Some(self.name()) {
            return None;
        }
        self.members()
            .chain(self.me())
            .find(|member| identity.credential() == Some(member.credential.bytes()))
    }

    /// Expects all other members, recognised by their proven identities. [`expected`] makes a smaller choice, and one with addresses.
    #[must_use]
    pub fn expect_all(&self) -> Expectation {
        expected(self.members().map(|member| member.expected()))
    }

    fn member_of(&self, kid: Kid, credential: &Credential) -> GroupMember {
        GroupMember {
            group: self.clone(),
            kid,
            credential: credential.clone(),
        }
    }

    pub(crate) fn held(&self) -> &Arc<Held> {
        &self.shared.held
    }

    pub(crate) fn label(&self) -> &SecurityGroupName {
        &self.shared.label
    }
}

impl core::fmt::Debug for SecurityGroup {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SecurityGroup")
            .field("name", &self.name())
            .field("generation", &self.shared.generation)
            .field("members", &self.shared.peers.len())
            .finish_non_exhaustive()
    }
}

/// How a request to one peer is protected: for a [member](GroupMember) of a group alone (pairwise mode), for a whole
/// [group](SecurityGroup) (group mode, for a peer of which it is not known who it is), or in an [`OscoreContext`].
#[derive(Clone, Debug)]
pub struct Secured {
    held: Arc<Held>,
    member: Option<Vec<u8>>,
}

impl From<&SecurityGroup> for Secured {
    fn from(group: &SecurityGroup) -> Self {
        Self {
            held: Arc::clone(group.held()),
            member: None,
        }
    }
}

impl From<&GroupMember> for Secured {
    fn from(member: &GroupMember) -> Self {
        Self {
            held: Arc::clone(member.group.held()),
            member: Some(member.credential.bytes().to_vec()),
        }
    }
}

impl From<&OscoreContext> for Secured {
    fn from(context: &OscoreContext) -> Self {
        Self {
            held: Arc::clone(context.held()),
            member: None,
        }
    }
}

impl Secured {
    pub(crate) fn held(&self) -> &Arc<Held> {
        &self.held
    }

    /// As the endpoint says it.
    pub(crate) fn protection(self, id: antiphon_oscore::ContextId) -> antiphon_proto::Protection {
        use antiphon_oscore::ContextId;
        use antiphon_proto::Protection;
        match (id, self.member) {
            (ContextId::Pair(pair), _) => Protection::Pair(pair),
            (ContextId::Group(group), None) => Protection::Group(group),
            (ContextId::Group(group), Some(credential)) => Protection::Member { group, credential },
        }
    }
}

/// The group of an id, if it is one.
pub(crate) fn group_id(id: antiphon_oscore::ContextId) -> Option<GroupId> {
    match id {
        antiphon_oscore::ContextId::Group(group) => Some(group),
        antiphon_oscore::ContextId::Pair(_) => None,
    }
}
