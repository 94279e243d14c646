//! What whoever manages a group is to be told, and which Recipient Contexts have outlived their use (draft sections 2.6.1.2, 2.6.2, 2.6.3,
//! 14.5.2 and 14.16).
//!
//! Anybody can send messages that do not verify. So each kind of request that these can call forth is told at most once in
//! [`again_after`](UpkeepSettings::again_after), however many come.

use alloc::collections::VecDeque;
use core::num::NonZeroU32;
use core::time::Duration;

use super::Group;
use crate::identity::Kid;

/// When a group asks for something, and what it deletes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpkeepSettings {
    /// Whether it is told when a Recipient Context was deleted on purpose (draft section 2.6.1.2). Default `false`.
    pub tell_deleted: bool,
    /// A Recipient Context is deleted when for so long nothing of its member has verified and nothing was sent to it alone
    /// (draft section 2.6.3). Those made afterwards begin with an invalid window, and without [`dynamic`](super::Settings::dynamic) a
    /// deleted member stays unknown. Default `None`: never.
    pub idle: Option<Duration>,
    /// After so many messages in a row under one Sender ID that did not verify it is asked whether its credential is still
    /// that of the member (draft section 2.6.3). Default `None`: never.
    pub recheck_after: Option<NonZeroU32>,
    /// After so many messages in a row that could not be opened with the keys of the group, or so many requests in a row
    /// under no known Gid, current keys are asked for (draft section 14.5.2). Default 16.
    pub keys_after: Option<NonZeroU32>,
    /// Not sooner than this the same kind of request comes again, whatever comes from the network. Default 10 min.
    pub again_after: Duration,
}

impl Default for UpkeepSettings {
    fn default() -> UpkeepSettings {
        UpkeepSettings {
            tell_deleted: false,
            idle: None,
            recheck_after: None,
            keys_after: NonZeroU32::new(16),
            again_after: Duration::from_secs(600),
        }
    }
}

/// What the Group Manager should be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// A new Sender ID or new keys: the sequence numbers will soon be used up (draft sections 2.6.2 and 14.16). Told once for each
    /// Sender Context, when [`margin`](crate::sequence::SequenceSettings::margin) is reached.
    SenderContext,
    /// The current keys: it seems that a rekeying was missed (draft section 14.5.2).
    CurrentKeys,
    /// Whether the credential is still that of the member with this Sender ID (draft section 2.6.3).
    Credential(Kid),
}

/// News of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupEvent {
    /// The Recipient Context of this Recipient ID was deleted, by the application or because it was idle.
    RecipientDeleted(Kid),
    /// The Group Manager should be asked for this.
    Wanted(Wanted),
}

/// News that nobody has taken yet are kept for this many members at least.
const MIN_EVENTS: usize = 64;

/// What a group remembers for that.
#[derive(Default)]
pub(super) struct Upkeep {
    events: VecDeque<GroupEvent>,
    /// From then on current keys may be asked for again, and a credential.
    keys_from: Duration,
    credentials_from: Duration,
    /// Serial number of the Sender Context for which new parameters were asked for.
    exhausting: Option<u64>,
    /// Before this no Recipient Context has to be looked at.
    look_at: Duration,
}

impl Upkeep {
    /// There are Recipient Contexts that were not looked at yet.
    pub(super) fn look_again(&mut self) {
        self.look_at = Duration::ZERO;
    }

    /// The keys that were wanted are there.
    pub(super) fn installed(&mut self) {
        self.events
            .retain(|event| matches!(event, GroupEvent::RecipientDeleted(_)));
        self.look_again();
    }
}

impl Group {
    /// The next news, each told once. It may have some after any message in either direction, and after
    /// [`remove_peer`](Self::remove_peer).
    pub fn poll_event(&mut self) -> Option<GroupEvent> {
        let sender = self.current.sender.as_ref();
        if let Some(sender) = sender.filter(|sender| sender.sequence.near_exhaustion())
            && self.upkeep.exhausting != Some(sender.serial)
        {
            self.upkeep.exhausting = Some(sender.serial);
            return Some(GroupEvent::Wanted(Wanted::SenderContext));
        }
        self.upkeep.events.pop_front()
    }

    /// A Recipient Context that is [idle](UpkeepSettings::idle) since long enough: to be made durable as
    /// [deleted](crate::record::Record::PeerDeleted), then [removed](Self::remove_peer). It is given out once, and once more when it is
    /// still there and idle after the same time. There may be several at one time.
    ///
    /// Where Recipient Contexts are deleted by time, this is to be called whenever [`next_timeout`](Self::next_timeout) is over. While new
    /// keys are being installed none is idle: the record would come behind theirs.
    pub fn take_idle(&mut self, now: Duration) -> Option<Kid> {
        let idle = self.settings.upkeep.idle?;
        if self.installing || now < self.upkeep.look_at {
            return None;
        }
        let mut next = Duration::MAX;
        for (kid, peer) in self.current.recipients.iter_mut() {
            let due = peer.used_at.get_or_insert(now).saturating_add(idle);
            if due <= now {
                peer.used_at = Some(now);
                return Some(kid);
            }
            next = next.min(due);
        }
        self.upkeep.look_at = next;
        None
    }

    /// When a Recipient Context may be idle.
    pub(super) fn idle_timeout(&self) -> Option<Duration> {
        let watched =
            self.settings.upkeep.idle.is_some() && self.peer_count() > 0 && !self.installing;
        watched.then_some(self.upkeep.look_at)
    }

    /// So many messages in a row could not be opened.
    pub(crate) fn want_keys(&mut self, now: Duration, failed: u32) {
        let after = self.settings.upkeep.keys_after;
        if after.is_some_and(|after| failed >= after.get()) && now >= self.upkeep.keys_from {
            self.upkeep.keys_from = now.saturating_add(self.settings.upkeep.again_after);
            self.tell(GroupEvent::Wanted(Wanted::CurrentKeys));
        }
    }

    /// So many messages of this peer in a row did not verify. True: its credential is asked for.
    pub(crate) fn want_credential(&mut self, now: Duration, kid: Kid, failed: u32) -> bool {
        let after = self.settings.upkeep.recheck_after;
        let wanted = after.is_some_and(|after| failed >= after.get());
        if !wanted || now < self.upkeep.credentials_from {
            return false;
        }
        self.upkeep.credentials_from = now.saturating_add(self.settings.upkeep.again_after);
        self.tell(GroupEvent::Wanted(Wanted::Credential(kid)));
        true
    }

    /// A Recipient Context was deleted on purpose.
    pub(super) fn tell_deleted(&mut self, kid: Kid) {
        if self.settings.upkeep.tell_deleted {
            self.tell(GroupEvent::RecipientDeleted(kid));
        }
    }

    fn tell(&mut self, event: GroupEvent) {
        if self.upkeep.events.len() < self.settings.recipients.max(MIN_EVENTS) {
            self.upkeep.events.push_back(event);
        }
    }
}
