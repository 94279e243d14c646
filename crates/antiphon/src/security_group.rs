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
mod change;
mod error;
mod facts;
pub(crate) mod held;
pub(crate) mod keeper;
mod member;
mod news;
mod open;
mod pair;
mod state;
#[cfg(test)]
mod tests;
mod used;

use std::sync::{Arc, PoisonError, RwLock};

use antiphon_oscore::suite::Suite;
use antiphon_proto::{Expectation, GroupId, SecurityGroupName, Sender};

pub use antiphon_oscore::credential::{Credential, CredentialFormat, CredentialRefused};
pub use antiphon_oscore::crypto::{Curve, KeyFailure, PrivateKey, PublicKey, SoftwareKey};
pub use antiphon_oscore::secret::Secret;
pub use antiphon_oscore::suite;
pub use antiphon_oscore::{
    Grounds, GroupManagerCredential, Proof, ProofRefused, UpkeepSettings, Wanted,
};
pub use builder::SecurityGroupBuilder;
pub use error::SecurityError;
pub use facts::Update;
pub use keeper::{CredentialSource, OwnKey};
pub use member::{GroupMember, Signed, Signer, expected};
pub use news::{GroupNews, NewsReceiver};
pub use open::OpenWith;
pub use pair::{OscoreContext, OscoreContextBuilder};
pub use state::{StateError, open_state, options, stored_contexts, stored_groups};

use crate::store::Opened;
use change::Change;
use facts::Facts;
use held::Held;
use member::kid_of;

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
    facts: RwLock<Arc<Facts>>,
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
        open::open(state, name, OpenWith::default())
    }

    /// As [`open`](Self::open), with a private key that is not stored, with settings of your own, or with a source of
    /// credentials.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`SecurityError::OtherKey`].
    pub fn open_with(
        state: &mut Opened,
        name: &str,
        with: OpenWith,
    ) -> Result<Self, SecurityError> {
        open::open(state, name, with)
    }

    fn of(held: Arc<Held>, label: SecurityGroupName, facts: Facts) -> Self {
        Self {
            shared: Arc::new(Shared {
                held,
                label,
                facts: RwLock::new(Arc::new(facts)),
            }),
        }
    }

    /// Makes the group as it is described, while it is used or not.
    ///
    /// - **New keys**: a higher generation, another Gid, another Master Secret. Everyone who is not described as a
    ///   [peer](SecurityGroupBuilder::peer) is removed first ([`stale`](SecurityGroupBuilder::stale) names who goes instead). The own
    ///   credential stays; the own Sender ID may be another one.
    /// - **A new Sender ID** with the keys of now.
    /// - **Other members** with the keys of now.
    ///
    /// The change is durable before it takes effect: after a crash the group is as before, or as described. Messages that were to be
    /// sent meanwhile leave under the new keys; requests that were sent before are still answered as far as
    /// [`Settings::retention`](antiphon_oscore::Settings) lets answers under the old ones be opened. The old keys are gone from the
    /// file then. Dropping the future changes nothing: what has begun is done.
    ///
    /// # Errors
    /// [`SecurityError`]; the group goes on as it was.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn install(
        &self,
        description: SecurityGroupBuilder,
    ) -> Result<Update, SecurityError> {
        let wanted = description.wanted(self)?;
        self.change(Change::Describe(Box::new(wanted))).await
    }

    /// Adds a member.
    ///
    /// # Errors
    /// As [`install`](Self::install); [`SecurityError::Member`] if it cannot be one.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn add(&self, sender_id: &[u8], credential: &[u8]) -> Result<(), SecurityError> {
        let kid = kid_of(self.name(), sender_id)?;
        let credential = builder::import(self.name(), self.facts().format, kid, credential)?;
        self.change(Change::Add(kid, Box::new(credential)))
            .await
            .map(|_| ())
    }

    /// Removes a member: its messages are not opened any more. It still has the keys, and can read what it hears: only
    /// [new ones](Self::install) for the others keep it out.
    ///
    /// # Errors
    /// As [`install`](Self::install); [`SecurityError::NoMember`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn remove(&self, sender_id: &[u8]) -> Result<(), SecurityError> {
        let kid = kid_of(self.name(), sender_id)?;
        self.change(Change::Remove(kid)).await.map(|_| ())
    }

    /// Leaves the group, for instance before joining it again. Requests and collections in it end with
    /// [`NotProtected::Left`](antiphon_proto::NotProtected); what comes later is refused. Then the keys are gone, from memory
    /// and from the file of the store; what stays there is which ones they were, so that they never begin again.
    ///
    /// # Errors
    /// [`SecurityError::Store`]: the group is left, but the store does not know it yet. Call it again.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn leave(&self) -> Result<(), SecurityError> {
        change::leave(&self.shared.held).await
    }

    async fn change(&self, change: Change) -> Result<Update, SecurityError> {
        let (update, facts) = change::change(&self.shared.held, change).await?;
        let now = &self.shared.facts;
        *now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(facts);
        Ok(update)
    }

    fn facts(&self) -> Arc<Facts> {
        let facts = &self.shared.facts;
        Arc::clone(&facts.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The invariant name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.held.name()
    }

    /// The Group Identifier.
    #[must_use]
    pub fn gid(&self) -> Vec<u8> {
        self.facts().gid.clone()
    }

    /// The number of its keys: new ones have a higher one.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.facts().generation
    }

    /// The algorithms.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.facts().suite
    }

    /// Whether everything that comes is refused until there are new keys. So it is after a crash where no sender can be
    /// challenged: for a silent server, and with [`Modes::Group`](antiphon_oscore::Modes) in a group that has the pairwise mode. As it
    /// was when the group was opened or last changed.
    #[must_use]
    pub fn needs_new_keys(&self) -> bool {
        self.facts().needs_new_keys
    }

    /// This endpoint as a member; `None` for a silent server, which only listens.
    #[must_use]
    pub fn me(&self) -> Option<GroupMember> {
        let facts = self.facts();
        let (kid, credential) = facts.own.as_ref()?;
        Some(self.member_of(*kid, credential))
    }

    /// The other members, in the order of their Sender IDs: those that were described, stored or [added](Self::add). Who was
    /// met on the way is among them when the group is opened the next time.
    pub fn members(&self) -> impl Iterator<Item = GroupMember> + use<> {
        let peers = self.facts().peers.clone();
        let group = self.clone();
        peers
            .into_iter()
            .map(move |(kid, credential)| group.member_of(kid, &credential))
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

    /// What whoever manages the group should know, from now on: see [`GroupNews`]. Nothing is lost for others, and nothing
    /// fails if nobody listens.
    #[must_use]
    pub fn news(&self) -> NewsReceiver {
        NewsReceiver(self.shared.held.news())
    }

    fn member_of(&self, kid: antiphon_oscore::Kid, credential: &Credential) -> GroupMember {
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
            .field("generation", &self.generation())
            .field("members", &self.facts().peers.len())
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
