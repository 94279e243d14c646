//! Who hears of observations.

use std::collections::HashMap;

use antiphon_proto::{Instant, ObservationEvent, ObservationId};
use tokio::sync::mpsc;

use super::Driver;

/// The queues of those that observe.
#[derive(Default)]
pub(crate) struct Observing {
    queues: HashMap<ObservationId, mpsc::Sender<ObservationEvent>>,
}

impl Driver {
    /// Whoever observes hears of it through this queue.
    pub(crate) fn follow_observation(
        &mut self,
        id: ObservationId,
    ) -> mpsc::Receiver<ObservationEvent> {
        // One more place is kept free for the outcome.
        let (queue, events) = mpsc::channel(self.config.events.saturating_add(1));
        self.observations.queues.insert(id, queue);
        events
    }

    /// The observations end: their members are told as far as there is time for it.
    pub(super) fn end_observations(&mut self, now: Instant) {
        let all: Vec<_> = self.observations.queues.keys().copied().collect();
        for id in all {
            self.endpoint.end_observation(now, id);
        }
    }

    pub(super) fn tell_of_observation(&mut self, event: ObservationEvent) {
        let (id, over) = subject(&event);
        let Some(queue) = self.observations.queues.get(&id) else {
            return;
        };
        if !over && queue.capacity() <= 1 {
            self.counters.events_dropped += 1;
            return;
        }
        let _ = queue.try_send(event);
        if over {
            self.observations.queues.remove(&id);
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
