//! What waits for the application: bounded. The newest of each member stays, what was new about what gives way is told with
//! the next one, and that a member has ended is given up for nothing that only says how one is.

use super::event::{Notification, ObservationEvent, ObservedIndex};
use super::watch::Slot;
use super::{ObservationId, Observations};

impl Observations {
    pub(crate) fn poll_event(&mut self) -> Option<ObservationEvent> {
        let event = self.events.pop_front()?;
        match &event {
            ObservationEvent::Ended(_) => self.outcomes = self.outcomes.saturating_sub(1),
            ObservationEvent::Notification(notification) => {
                self.waits_no_more(notification);
            }
            _ => {}
        }
        Some(event)
    }

    /// Tells an event if there is room; that a member has ended takes it from something that says less.
    pub(super) fn tell(&mut self, event: ObservationEvent) {
        let room = self.events.len() < self.config.events;
        if room || end_of(&event).is_some_and(|who| self.give_way_to_end(who)) {
            self.events.push_back(event);
        }
    }

    /// Hands a notification to the application. If that does not fetch them, the newest of each member replaces its last one.
    pub(super) fn deliver(
        &mut self,
        id: ObservationId,
        member: ObservedIndex,
        mut notification: Notification,
    ) {
        let new = notification.footprint();
        let room = self.events.len() < self.config.events
            && self.event_bytes.saturating_add(new) <= self.config.event_bytes;
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        let limit = watch.limits.waiting_per_member.max(1);
        let Some(slot) = watch.slot(member) else {
            return;
        };
        if let Some(unsaid) = slot.unsaid.take() {
            notification.news = notification.news.or_untold(unsaid);
        }
        if room && slot.waiting < limit {
            slot.waiting += 1;
            watch.notifications += 1;
            self.put(notification);
            return;
        }
        slot.dropped = slot.dropped.saturating_add(1);
        let waiting = slot.waiting > 0;
        watch.dropped.not_fetched = watch.dropped.not_fetched.saturating_add(1);
        let last = waiting
            .then(|| (self.events.iter()).rposition(|event| of(event) == Some((id, member))))
            .flatten();
        let old = match last.and_then(|at| self.events.get(at)) {
            Some(ObservationEvent::Notification(last)) => Some((last.footprint(), last.news)),
            _ => None,
        };
        let without = old.map_or(0, |(old, _)| self.event_bytes.saturating_sub(old));
        match (last, old) {
            (Some(at), Some((_, news)))
                if without.saturating_add(new) <= self.config.event_bytes =>
            {
                // To the back: what was told of the member meanwhile comes before it.
                self.events.remove(at);
                self.event_bytes = without;
                notification.news = notification.news.or_untold(news);
                self.put(notification);
            }
            _ => {
                if let Some(slot) = self.slot_of(id, member) {
                    slot.keep_unsaid(notification.news);
                }
            }
        }
    }

    fn put(&mut self, notification: Notification) {
        self.event_bytes = self.event_bytes.saturating_add(notification.footprint());
        self.events
            .push_back(ObservationEvent::Notification(notification));
    }

    /// Makes room for the end of a member: an earlier end of it, the oldest notification of whoever has most of them waiting,
    /// the oldest event that is no end. Says whether there was any.
    fn give_way_to_end(&mut self, who: (ObservationId, ObservedIndex)) -> bool {
        let earlier = (self.events.iter()).position(|event| end_of(event) == Some(who));
        let at = earlier.or_else(|| self.least_worth());
        let Some(event) = at.and_then(|at| self.events.remove(at)) else {
            return false;
        };
        if let (ObservationEvent::Notification(notification), Some(at)) = (event, at) {
            self.gave_way(&notification, at);
        }
        true
    }

    fn least_worth(&self) -> Option<usize> {
        let waiting = |(at, event): (usize, &ObservationEvent)| {
            let (id, member) = of(event)?;
            let slot = self.watches.get(&id)?.slot_ref(member)?;
            (slot.waiting > 1).then_some((at, slot.waiting))
        };
        let several = self.events.iter().enumerate().filter_map(waiting);
        // The first of the greatest.
        let most = several.min_by_key(|(_, count)| core::cmp::Reverse(*count));
        let is_end = |event: &ObservationEvent| {
            end_of(event).is_some() || matches!(event, ObservationEvent::Ended(_))
        };
        most.map(|(at, _)| at)
            .or_else(|| self.events.iter().position(|event| !is_end(event)))
    }

    /// A notification that stood at `at` is not told. What was new about it is as new about the member's next one.
    fn gave_way(&mut self, notification: &Notification, at: usize) {
        self.waits_no_more(notification);
        let who = (notification.observation, notification.member);
        if let Some(watch) = self.watches.get_mut(&who.0) {
            watch.notifications = watch.notifications.saturating_sub(1);
            watch.dropped.not_fetched = watch.dropped.not_fetched.saturating_add(1);
        }
        if let Some(slot) = self.slot_of(who.0, who.1) {
            slot.dropped = slot.dropped.saturating_add(1);
        }
        let mut later = self.events.iter_mut().skip(at);
        match later.find(|event| of(event) == Some(who)) {
            Some(ObservationEvent::Notification(next)) => {
                next.news = next.news.or_untold(notification.news);
            }
            _ => {
                if let Some(slot) = self.slot_of(who.0, who.1) {
                    slot.keep_unsaid(notification.news);
                }
            }
        }
    }

    fn waits_no_more(&mut self, notification: &Notification) {
        self.event_bytes = self.event_bytes.saturating_sub(notification.footprint());
        if let Some(slot) = self.slot_of(notification.observation, notification.member) {
            slot.waiting = slot.waiting.saturating_sub(1);
        }
    }

    fn slot_of(&mut self, id: ObservationId, member: ObservedIndex) -> Option<&mut Slot> {
        self.watches.get_mut(&id)?.slot(member)
    }
}

/// Whose notification it is.
fn of(event: &ObservationEvent) -> Option<(ObservationId, ObservedIndex)> {
    match event {
        ObservationEvent::Notification(n) => Some((n.observation, n.member)),
        _ => None,
    }
}

/// Whose end it is.
fn end_of(event: &ObservationEvent) -> Option<(ObservationId, ObservedIndex)> {
    match event {
        ObservationEvent::MemberEnded {
            observation,
            member,
            ..
        } => Some((*observation, *member)),
        _ => None,
    }
}
