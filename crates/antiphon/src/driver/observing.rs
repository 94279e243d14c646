//! Who hears of observations.

use std::collections::HashMap;

use antiphon_proto::{Instant, ObservationEvent, ObservationId};

use super::Driver;
use super::mailbox::{Mailbox, Room, Slot, mailbox};

/// The mailboxes of those that observe.
#[derive(Default)]
pub(crate) struct Observing {
    slots: HashMap<ObservationId, Slot>,
}

impl Driver {
    /// Whoever observes hears of it through this mailbox.
    pub(crate) fn follow_observation(&mut self, id: ObservationId, of_member: u32) -> Mailbox {
        let (slot, events) = mailbox(Room {
            events: self.config.events,
            of_member,
            bytes: Room::BYTES,
        });
        self.observations.slots.insert(id, slot);
        events
    }

    /// The observations end: their members are told as far as there is time for it.
    pub(super) fn end_observations(&mut self, now: Instant) {
        let all: Vec<_> = self.observations.slots.keys().copied().collect();
        for id in all {
            self.endpoint.end_observation(now, id);
        }
    }

    pub(super) fn tell_of_observation(&mut self, event: ObservationEvent) {
        let (id, over) = subject(&event);
        let Some(slot) = self.observations.slots.get(&id) else {
            return;
        };
        self.counters.events_dropped += slot.put(event);
        if over {
            self.observations.slots.remove(&id);
        }
    }
}

/// Which observation it is about, and whether it is the outcome.
fn subject(event: &ObservationEvent) -> (ObservationId, bool) {
    match event {
        ObservationEvent::Ended(outcome) => (outcome.observation, true),
        ObservationEvent::Notification(notification) => (notification.observation, false),
        ObservationEvent::Warning(id, _) | ObservationEvent::Held(id, _) => (*id, false),
        ObservationEvent::Registered { observation, .. }
        | ObservationEvent::NotRegistered { observation, .. }
        | ObservationEvent::SendFailed { observation, .. }
        | ObservationEvent::Stale { observation, .. }
        | ObservationEvent::Incomplete { observation, .. }
        | ObservationEvent::Silent { observation, .. }
        | ObservationEvent::Unreached { observation, .. }
        | ObservationEvent::MemberEnded { observation, .. } => (*observation, false),
    }
}
