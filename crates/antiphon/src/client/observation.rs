//! An observation that is under way.

use core::net::SocketAddr;
use core::time::Duration;

use antiphon_proto::{
    FollowUp, GroupTarget, Instant, NoSec, Notification, ObservationEvent, ObservationId,
    ObservationLimits, ObservationOutcome, ObservationStatus, ObserveRequest, ObservedIndex,
    ObservedReport, Request, Security, SocketId,
};

use crate::driver::mailbox::Mailbox;
use crate::driver::{Abandoned, Driver, WeakLink};
use crate::error::Closed;

/// How a resource is observed. The defaults suit a building: registered again each hour, silent members asked in person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observing {
    every: Option<Option<Duration>>,
    margin: Option<Duration>,
    follow_up: Option<FollowUp>,
    limits: Option<ObservationLimits>,
    cached: bool,
}

impl Observing {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The registration is made again after this time, under the same token: members that have joined are brought in. Default 1 h; never
    /// sooner than round trip and leisure.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.every = Some(Some(interval));
        self
    }

    /// The registration is not made again by itself.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.every = Some(None);
        self
    }

    /// So long after the end of its Max-Age a member is taken for silent. Default: the leisure, and 5 to 15 s at random.
    #[must_use]
    pub fn margin(mut self, margin: Duration) -> Self {
        self.margin = Some(margin);
        self
    }

    /// Whether silent members are asked in person. Default: four at once.
    #[must_use]
    pub fn follow_up(mut self, follow_up: FollowUp) -> Self {
        self.follow_up = Some(follow_up);
        self
    }

    /// What members may take at most.
    #[must_use]
    pub fn limits(mut self, limits: ObservationLimits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Notifications are kept in the client's cache: [`OneCall::cached`](super::OneCall::cached) and
    /// [`GroupCall::cached`](super::GroupCall::cached) get the newest state without asking. What is kept of a member already is
    /// refreshed by its notifications in any case.
    #[must_use]
    pub fn cached(mut self) -> Self {
        self.cached = true;
        self
    }

    /// A request like this; where it goes is left open.
    pub(super) fn applied_to(self, request: Request) -> ObserveRequest {
        let nowhere = GroupTarget {
            group: SocketAddr::from(([0, 0, 0, 0], 0)),
            socket: SocketId(0),
            interface: 0,
        };
        let security = Security::Unsecured(NoSec::Discovery);
        let defaults = ObserveRequest::group(request, nowhere, security);
        ObserveRequest {
            every: self.every.unwrap_or(defaults.every),
            margin: self.margin,
            follow_up: self.follow_up.unwrap_or(defaults.follow_up),
            limits: self.limits.unwrap_or(defaults.limits),
            cached: self.cached,
            leisure: Duration::ZERO,
            ..defaults
        }
    }
}

/// A resource that is observed, at one server or at every member of a group, and what they say as it comes in. Dropping it
/// ends it: its members are asked to forget it.
#[must_use = "dropping an observation ends it"]
pub struct Observation {
    id: ObservationId,
    events: Mailbox,
    outcome: Option<Box<ObservationOutcome>>,
    link: WeakLink,
    over: bool,
}

impl Observation {
    /// Begins to follow an observation that the endpoint has just taken; `of_member` notifications of a member may wait.
    pub(super) fn follow(
        driver: &mut Driver,
        id: ObservationId,
        of_member: u32,
        link: WeakLink,
    ) -> Self {
        Self {
            id,
            events: driver.follow_observation(id, of_member),
            outcome: None,
            link,
            over: false,
        }
    }

    /// Its name, as it stands in its events.
    #[must_use]
    pub fn id(&self) -> ObservationId {
        self.id
    }

    /// What happens next: a notification, a member that falls silent or ends, a registration. `None` when it is over. The
    /// outcome is no event: it comes from [`finish`](Self::finish). Safe to cancel.
    ///
    /// Events wait for whoever is slow, within bounds: of one member [`waiting_per_member`](antiphon_proto::ObservationLimits::waiting_per_member)
    /// notifications, in all 4 MiB and [`DriverConfig::events`](crate::DriverConfig::events). Beyond that the older notifications of whoever has most
    /// give way, so that the newest state of each member comes through; [`DriverCounters::events_dropped`](crate::DriverCounters::events_dropped) counts them.
    pub async fn next(&mut self) -> Option<ObservationEvent> {
        match self.events.take().await {
            Some(ObservationEvent::Ended(outcome)) => {
                self.outcome = Some(Box::new(outcome));
                self.over = true;
                None
            }
            Some(event) => Some(event),
            None => {
                self.over = true;
                None
            }
        }
    }

    /// The next notification; other events are passed over. Safe to cancel.
    pub async fn notification(&mut self) -> Option<Notification> {
        loop {
            if let ObservationEvent::Notification(notification) = self.next().await? {
                return Some(notification);
            }
        }
    }

    /// Ends it: its members are asked to forget it, all at once by multicast, and in person those that do not confirm. Events that are on their way still
    /// come, and [`finish`](Self::finish) gives the outcome.
    pub fn end(&self) {
        self.link.abandon(Abandoned::Observation(self.id));
    }

    /// Ends it at this member alone, by a unicast request.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn end_of(&self, member: ObservedIndex) -> Result<(), Closed> {
        let id = self.id;
        self.call(move |driver, now| driver.endpoint.end_observation_of(now, id, member))
            .await
    }

    /// Registers again now, or as soon as the members have had round trip and leisure for the last registration.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn register_again(&self) -> Result<(), Closed> {
        let id = self.id;
        self.call(move |driver, now| driver.endpoint.observe_again(now, id))
            .await
    }

    /// The outcome, once it is over.
    #[must_use]
    pub fn outcome(&self) -> Option<&ObservationOutcome> {
        self.outcome.as_deref()
    }

    /// Waits until it is over, passes over what comes until then, and says what came of each member. It does not end it.
    ///
    /// # Errors
    /// [`Closed`] if the client was closed before.
    pub async fn finish(mut self) -> Result<ObservationOutcome, Closed> {
        while self.next().await.is_some() {}
        self.outcome.take().map(|outcome| *outcome).ok_or(Closed)
    }

    /// How it stands; `None` when it is over.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn status(&self) -> Result<Option<ObservationStatus>, Closed> {
        let id = self.id;
        self.call(move |driver, now| driver.endpoint.observation_status(now, id))
            .await
    }

    /// What is known of one member.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn member(&self, member: ObservedIndex) -> Result<Option<ObservedReport>, Closed> {
        let id = self.id;
        self.call(move |driver, _| driver.endpoint.observed(id, member))
            .await
    }

    async fn call<R: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Driver, Instant) -> R + Send + 'static,
    ) -> Result<R, Closed> {
        self.link.upgrade().ok_or(Closed)?.call(task).await
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        if !self.over {
            self.end();
        }
    }
}

impl core::fmt::Debug for Observation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Observation")
            .field("id", &self.id)
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}
