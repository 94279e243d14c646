//! What waits for whoever observes: bounded, and a member that says much takes nothing from the others.
//!
//! The state machine hands its events over at once, so it is here that a slow reader is waited for. What must never happen is that the
//! newest state of a member is lost to older news, its own or another's, nor that a member has come or gone.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use antiphon_proto::{News, Notification, ObservationEvent, ObservedIndex};
use tokio::sync::Notify;

/// How much may wait; at least one event, of each member too.
#[derive(Clone, Copy)]
pub(crate) struct Room {
    /// Events in all.
    pub(crate) events: usize,
    /// Notifications of one member: then its newest replaces the last.
    pub(crate) of_member: u32,
    /// Bytes of notifications in all.
    pub(crate) bytes: usize,
}

impl Room {
    /// Bytes of notifications that wait for one reader.
    pub(crate) const BYTES: usize = 4 << 20;
}

/// An empty mailbox: who puts in, and who takes out.
pub(crate) fn mailbox(room: Room) -> (Slot, Mailbox) {
    let shared = Arc::new(Shared {
        waiting: Mutex::new(Waiting::new(room)),
        news: Notify::new(),
    });
    (Slot(Arc::clone(&shared)), Mailbox(shared))
}

struct Shared {
    waiting: Mutex<Waiting>,
    news: Notify,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here is left half done by a panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the driver puts events in. Dropped, nothing comes any more.
pub(crate) struct Slot(Arc<Shared>);

impl Slot {
    /// Puts an event in. Says how many were given up for it, or instead of it.
    pub(crate) fn put(&self, event: ObservationEvent) -> u64 {
        let dropped = self.0.waiting().put(event);
        self.0.news.notify_one();
        dropped
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.waiting().closed = true;
        self.0.news.notify_one();
    }
}

/// Where the events are taken out.
pub(crate) struct Mailbox(Arc<Shared>);

impl Mailbox {
    /// The next event; `None` when there will be no other. Safe to cancel.
    pub(crate) async fn take(&mut self) -> Option<ObservationEvent> {
        loop {
            {
                let mut waiting = self.0.waiting();
                if let Some(event) = waiting.take() {
                    return Some(event);
                }
                if waiting.closed {
                    return None;
                }
            }
            self.0.news.notified().await;
        }
    }
}

/// The events that wait, in their order.
struct Waiting {
    events: VecDeque<ObservationEvent>,
    /// Notifications by member.
    of: HashMap<ObservedIndex, u32>,
    /// Members of which it waits to be told that something stale came.
    stale: HashSet<ObservedIndex>,
    /// What was new about notifications of members of which none waits any more.
    untold: HashMap<ObservedIndex, News>,
    bytes: usize,
    room: Room,
    closed: bool,
}

impl Waiting {
    fn new(room: Room) -> Self {
        Self {
            events: VecDeque::new(),
            of: HashMap::new(),
            stale: HashSet::new(),
            untold: HashMap::new(),
            bytes: 0,
            room,
            closed: false,
        }
    }

    fn take(&mut self) -> Option<ObservationEvent> {
        let event = self.events.pop_front()?;
        self.gone(&event);
        Some(event)
    }

    /// An event does not wait any more.
    fn gone(&mut self, event: &ObservationEvent) {
        match event {
            ObservationEvent::Notification(notification) => {
                self.bytes -= size(notification);
                if let Some(count) = self.of.get_mut(&notification.member) {
                    *count -= 1;
                    if *count == 0 {
                        self.of.remove(&notification.member);
                    }
                }
            }
            ObservationEvent::Stale { member, .. } => {
                self.stale.remove(member);
            }
            _ => {}
        }
    }

    fn put(&mut self, event: ObservationEvent) -> u64 {
        match event {
            ObservationEvent::Notification(notification) => self.put_notification(notification),
            // Told exactly once, whatever waits.
            ObservationEvent::Ended(_) => {
                self.events.push_back(event);
                0
            }
            // One that waits says as much as many.
            ObservationEvent::Stale { member, .. } if self.stale.contains(&member) => 1,
            ObservationEvent::MemberEnded { member, .. } => {
                let mut dropped = self.make_room();
                if self.is_full() {
                    // Only ends wait: an older one of this member, else the oldest, says least.
                    let same = self.events.iter().position(|e| is_end_of(e, member));
                    dropped += self.give_up(same.unwrap_or(0));
                }
                self.events.push_back(event);
                dropped
            }
            event => {
                let dropped = self.make_room();
                if self.is_full() {
                    return dropped + 1;
                }
                if let ObservationEvent::Stale { member, .. } = event {
                    self.stale.insert(member);
                }
                self.events.push_back(event);
                dropped
            }
        }
    }

    fn put_notification(&mut self, mut notification: Notification) -> u64 {
        let member = notification.member;
        let mut dropped = 0;
        let waiting = self.of.get(&member).copied().unwrap_or(0);
        if waiting >= self.room.of_member.max(1) {
            let last = self.events.iter().rposition(|e| is_of(e, member));
            dropped += last.map_or(0, |at| self.give_up(at));
        }
        dropped += self.make_room();
        dropped += self.make_bytes(size(&notification));
        if let Some(untold) = self.untold.remove(&member) {
            notification.news = notification.news.or_untold(untold);
        }
        if self.is_full() {
            self.keep_untold(member, notification.news);
            return dropped + 1;
        }
        self.bytes += size(&notification);
        *self.of.entry(member).or_default() += 1;
        self.events
            .push_back(ObservationEvent::Notification(notification));
        dropped
    }

    /// Is there no room for one event more? An empty mailbox takes one always.
    fn is_full(&self) -> bool {
        !self.events.is_empty() && self.events.len() >= self.room.events
    }

    /// Makes room for one event. No end of a member gives way.
    fn make_room(&mut self) -> u64 {
        let mut dropped = 0;
        while self.is_full()
            && let Some(at) = self.least_worth()
        {
            dropped += self.give_up(at);
        }
        dropped
    }

    /// Makes room for so many bytes. Only notifications have any.
    fn make_bytes(&mut self, bytes: usize) -> u64 {
        let mut dropped = 0;
        while self.bytes.saturating_add(bytes) > self.room.bytes
            && let Some(at) = self.least_notification()
        {
            dropped += self.give_up(at);
        }
        dropped
    }

    /// Which event says least: the oldest notification of the member that has most of them; where nobody has two, the oldest
    /// event that is no end.
    fn least_worth(&self) -> Option<usize> {
        let oldest = || self.events.iter().position(|e| !is_end(e));
        self.oldest_of_several().or_else(oldest)
    }

    fn least_notification(&self) -> Option<usize> {
        let is_notification = |e: &_| matches!(e, ObservationEvent::Notification(_));
        let oldest = || self.events.iter().position(is_notification);
        self.oldest_of_several().or_else(oldest)
    }

    fn oldest_of_several(&self) -> Option<usize> {
        let (member, count) = self.of.iter().max_by_key(|(_, count)| **count)?;
        let first = || self.events.iter().position(|e| is_of(e, *member));
        (*count > 1).then(first).flatten()
    }

    /// An event is not told. What was new about a notification is as new about the next one of its member.
    fn give_up(&mut self, at: usize) -> u64 {
        let Some(event) = self.events.remove(at) else {
            return 0;
        };
        self.gone(&event);
        if let ObservationEvent::Notification(gone) = event {
            let mut later = self.events.iter_mut().skip(at);
            match later.find(|e| is_of(e, gone.member)) {
                Some(ObservationEvent::Notification(next)) => {
                    next.news = next.news.or_untold(gone.news);
                }
                _ => self.keep_untold(gone.member, gone.news),
            }
        }
        1
    }

    fn keep_untold(&mut self, member: ObservedIndex, news: News) {
        let old = self.untold.remove(&member).unwrap_or(News::Update);
        let news = news.or_untold(old);
        if news != News::Update {
            self.untold.insert(member, news);
        }
    }
}

fn is_of(event: &ObservationEvent, member: ObservedIndex) -> bool {
    matches!(event, ObservationEvent::Notification(n) if n.member == member)
}

fn is_end_of(event: &ObservationEvent, of: ObservedIndex) -> bool {
    matches!(event, ObservationEvent::MemberEnded { member, .. } if *member == of)
}

/// Is something over?
fn is_end(event: &ObservationEvent) -> bool {
    matches!(
        event,
        ObservationEvent::MemberEnded { .. } | ObservationEvent::Ended(_)
    )
}

/// Roughly the memory that a notification takes.
fn size(notification: &Notification) -> usize {
    let options = notification.response.options.iter();
    let options = options.map(|(_, value)| value.len() + 12);
    size_of::<Notification>() + notification.response.payload.len() + options.sum::<usize>()
}

#[cfg(test)]
mod tests;
