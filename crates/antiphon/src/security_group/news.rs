//! News of a security group: what whoever manages it should know or do.

use core::fmt;

use antiphon_oscore::{ContextId, Kid, Wanted};
use antiphon_proto::SecurityEvent;
use tokio::sync::broadcast;

/// So many news wait for each who listens; when more come, the oldest are gone for it.
pub(super) const WAITING: usize = 64;

/// News of a [`SecurityGroup`](super::SecurityGroup) while an endpoint uses it. There is no Group Manager yet that the endpoint could ask by itself:
/// whoever provisions the group is asked here.
///
/// What strangers can cause is told at most once in [`UpkeepSettings::again_after`](antiphon_oscore::UpkeepSettings::again_after).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GroupNews {
    /// The sequence numbers will soon be used up. [`Wanted::SenderContext`] comes with it.
    NearExhaustion,
    /// The sequence numbers are used up: nothing is sent until there are new keys.
    Exhausted,
    /// The sequence numbers are lost: nothing is sent or accepted until there are new keys.
    Lost,
    /// Sequence numbers could not be reserved; what is to be sent waits.
    NotReserved,
    /// The Recipient Context of this Recipient ID was deleted. Only with [`UpkeepSettings::tell_deleted`](antiphon_oscore::UpkeepSettings::tell_deleted).
    RecipientDeleted(Kid),
    /// The Group Manager, or whoever stands in its place, should be asked for this.
    Wanted(Wanted),
}

impl GroupNews {
    /// A short name, for logs: `current-keys-wanted`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NearExhaustion => "near-exhaustion",
            Self::Exhausted => "exhausted",
            Self::Lost => "lost",
            Self::NotReserved => "not-reserved",
            Self::RecipientDeleted(_) => "recipient-deleted",
            Self::Wanted(Wanted::SenderContext) => "sender-context-wanted",
            Self::Wanted(Wanted::CurrentKeys) => "current-keys-wanted",
            Self::Wanted(Wanted::Credential(_)) => "credential-wanted",
        }
    }

    /// The member that it is about, if about one.
    #[must_use]
    pub const fn kid(&self) -> Option<Kid> {
        match self {
            Self::RecipientDeleted(kid) | Self::Wanted(Wanted::Credential(kid)) => Some(*kid),
            _ => None,
        }
    }

    /// Of which context an event of the endpoint speaks, and what it says.
    pub(crate) fn of(event: SecurityEvent) -> (ContextId, Self) {
        match event {
            SecurityEvent::NearExhaustion(id) => (id, Self::NearExhaustion),
            SecurityEvent::Exhausted(id) => (id, Self::Exhausted),
            SecurityEvent::Lost(id) => (id, Self::Lost),
            SecurityEvent::NotReserved(id) => (id, Self::NotReserved),
            SecurityEvent::RecipientDeleted { group, kid } => {
                (group.into(), Self::RecipientDeleted(kid))
            }
            SecurityEvent::Wanted { group, what } => (group.into(), Self::Wanted(what)),
        }
    }

    /// Writes it into the log.
    pub(crate) fn log(&self, name: &str) {
        match self {
            Self::Exhausted | Self::Lost | Self::NotReserved => tracing::error!(name, "{self}"),
            Self::NearExhaustion | Self::Wanted(_) => tracing::warn!(name, "{self}"),
            Self::RecipientDeleted(_) => tracing::info!(name, "{self}"),
        }
    }
}

impl fmt::Display for GroupNews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NearExhaustion => {
                f.write_str("most sequence numbers are used; new keys are needed soon")
            }
            Self::Exhausted => f.write_str(
                "all sequence numbers are used; nothing is sent until there are new keys",
            ),
            Self::Lost => f.write_str(
                "the sequence numbers are lost; nothing is sent or accepted until there are new keys",
            ),
            Self::NotReserved => {
                f.write_str("sequence numbers could not be reserved; what is to be sent waits")
            }
            Self::RecipientDeleted(kid) => write!(f, "the member {kid} was forgotten"),
            Self::Wanted(Wanted::SenderContext) => {
                f.write_str("a new Sender ID or new keys are wanted before the numbers end")
            }
            Self::Wanted(Wanted::CurrentKeys) => {
                f.write_str("messages cannot be opened; the current keys are wanted")
            }
            Self::Wanted(Wanted::Credential(kid)) => write!(
                f,
                "messages of {kid} do not verify; its present credential is wanted"
            ),
        }
    }
}

/// The news of one group from here on. Each who listens hears all of them.
#[derive(Debug)]
pub struct NewsReceiver(pub(super) broadcast::Receiver<GroupNews>);

impl NewsReceiver {
    /// The next one; `None` when nobody can have the group any more. Where more than 64 came and were not taken, the oldest
    /// are left out.
    pub async fn next(&mut self) -> Option<GroupNews> {
        loop {
            match self.0.recv().await {
                Ok(news) => return Some(news),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}
