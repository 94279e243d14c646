//! A question to a group that is under way.

use antiphon_proto::{Answer, CollectionEvent, CollectionId, Instant, Outcome, Status};
use tokio::sync::mpsc;

use crate::driver::{Abandoned, Driver, WeakLink};
use crate::error::Closed;

/// A question to a group, and its answers as they come in. Dropping it ends it: nothing more is sent.
#[must_use = "dropping a collection ends it"]
pub struct Collection {
    id: CollectionId,
    events: mpsc::Receiver<CollectionEvent>,
    outcome: Option<Box<Outcome>>,
    link: WeakLink,
    over: bool,
}

impl Collection {
    /// Begins to follow a collection that the endpoint has just taken.
    pub(crate) fn follow(driver: &mut Driver, id: CollectionId, link: WeakLink) -> Self {
        Self {
            id,
            events: driver.follow(id),
            outcome: None,
            link,
            over: false,
        }
    }

    /// Its name, as it stands in its events.
    #[must_use]
    pub fn id(&self) -> CollectionId {
        self.id
    }

    /// What happens next: an answer, a wait, a failure to send. `None` when it is over (with late answers: when the time for them is over).
    /// The outcome is no event: it comes from [`finish`](Self::finish). Safe to cancel.
    pub async fn next(&mut self) -> Option<CollectionEvent> {
        loop {
            match self.events.recv().await {
                Some(CollectionEvent::Ended(outcome) | CollectionEvent::LateEnded(outcome)) => {
                    self.outcome = Some(Box::new(outcome));
                }
                Some(event) => return Some(event),
                None => {
                    self.over = true;
                    return None;
                }
            }
        }
    }

    /// The next answer, late ones included; other events are passed over. Safe to cancel.
    pub async fn answer(&mut self) -> Option<Answer> {
        loop {
            match self.next().await? {
                CollectionEvent::Answer(answer) | CollectionEvent::LateAnswer(answer) => {
                    return Some(answer);
                }
                _ => {}
            }
        }
    }

    /// The outcome as it is known: `None` while answers are in time.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_deref()
    }

    /// Ends it now. Events that are on their way still come, and [`finish`](Self::finish) gives the outcome.
    pub fn close(&self) {
        self.link.abandon(Abandoned::Collection(self.id));
    }

    /// Waits until it is over, passes over what comes until then, and says who answered, who is missing, late or rejected.
    ///
    /// # Errors
    /// [`Closed`] if the client's task ended without an outcome, because its runtime was shut down.
    pub async fn finish(mut self) -> Result<Outcome, Closed> {
        while self.next().await.is_some() {}
        self.outcome.take().map(|outcome| *outcome).ok_or(Closed)
    }

    /// How it stands, and why it waits if it does; `None` when it is over.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn status(&self) -> Result<Option<Status>, Closed> {
        let id = self.id;
        let status = move |driver: &mut Driver, now: Instant| driver.endpoint.status(now, id);
        self.link.upgrade().ok_or(Closed)?.call(status).await
    }
}

impl Drop for Collection {
    fn drop(&mut self) {
        if !self.over {
            self.close();
        }
    }
}

impl core::fmt::Debug for Collection {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Collection")
            .field("id", &self.id)
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}
