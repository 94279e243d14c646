//! Observations: what they ask leaves as rounds of collections and as exchanges, and what comes under their tokens goes to them.

use antiphon_wire::{Message, Type};

use super::Endpoint;
#[cfg(feature = "oscore")]
use super::hear::{Heard, HeardBy};
use crate::collection::Reply;
use crate::exchange::{ExchangeId, Failure, Owner, SendError};
use crate::identity::Sender;
use crate::observation::{
    Act, Arrived, Bound, InPerson, ObservationId, ObservationStatus, ObserveError, ObserveRequest,
    Observed, ObservedIndex, ObservedReport, Observer, Purpose,
};
use crate::path::Path;
use crate::time::Instant;

impl Endpoint {
    /// Observes a resource at one server or at every member of a group: see [`ObserveRequest`].
    ///
    /// # Errors
    /// See [`ObserveError`]; nothing is sent then.
    pub fn observe(
        &mut self,
        now: Instant,
        mut request: ObserveRequest,
    ) -> Result<ObservationId, ObserveError> {
        if let Observed::Group { targets, .. } = &request.of {
            self.client.collections.settle(&mut request.expect, targets);
        }
        let tokens = self.client.collections.tokens_mut();
        let token = tokens.take(now).map_err(|error| {
            ObserveError::Collect(crate::collection::CollectError::Tokens(error))
        })?;
        let started = self
            .client
            .observations
            .open(now, &mut self.rng, token, request)
            .and_then(|id| match self.begin_round(now, id, Purpose::Register) {
                Ok(()) => Ok(id),
                Err(error) => {
                    self.client.observations.forget(id);
                    Err(error)
                }
            });
        match started {
            Ok(id) => self.client.observations.first(now, id),
            Err(_) => self
                .client
                .collections
                .tokens_mut()
                .give_back(token, Instant::ZERO),
        }
        started
    }

    /// Registers again now, or as soon as the members have had the expected round trip and leisure for the last
    /// registration (groupcomm-bis section 3.7).
    pub fn observe_again(&mut self, now: Instant, id: ObservationId) {
        self.client.observations.register_again(now, id);
    }

    /// Ends an observation: its members are asked to forget it, by multicast and those that do not answer in person. The
    /// outcome follows as an event.
    pub fn end_observation(&mut self, now: Instant, id: ObservationId) {
        self.client.observations.end(now, id);
    }

    /// Ends the observation of one member, by a unicast request. Of one server: as [`end_observation`](Self::end_observation).
    pub fn end_observation_of(&mut self, now: Instant, id: ObservationId, member: ObservedIndex) {
        self.client.observations.end_member(now, id, member);
    }

    /// Ends every observation that is protected in this group or pair, at once and without a further message, as a member
    /// must before it leaves or joins anew (draft-ietf-core-oscore-groupcomm-28 section 5.1). Says how many there were.
    #[cfg(feature = "oscore")]
    pub fn end_all_in(
        &mut self,
        now: Instant,
        context: impl Into<crate::security::ContextId>,
    ) -> usize {
        let ended = self.client.observations.end_all_in(now, context.into());
        self.conduct_observations(now);
        ended
    }

    /// How an observation stands; `None` when it is over.
    pub fn observation_status(&self, now: Instant, id: ObservationId) -> Option<ObservationStatus> {
        self.client.observations.status(now, id)
    }

    /// What is known of one member of an observation.
    pub fn observed(&self, id: ObservationId, member: ObservedIndex) -> Option<ObservedReport> {
        self.client.observations.report(id, member)
    }

    /// Asks the groups of an observation; one of a single server asks that by itself.
    fn begin_round(
        &mut self,
        now: Instant,
        id: ObservationId,
        purpose: Purpose,
    ) -> Result<(), ObserveError> {
        let Some((request, token)) = self.client.observations.round(id, purpose) else {
            return Ok(());
        };
        let round = self
            .client
            .collections
            .start_round(now, &mut self.rng, request, token)?;
        self.client
            .observations
            .round_began(now, id, purpose, round);
        Ok(())
    }

    /// Does what the observations want done.
    pub(super) fn conduct_observations(&mut self, now: Instant) {
        if self.client.observations.is_idle() {
            return; // the usual case, asked for each datagram
        }
        loop {
            while let Some(news) = self.client.collections.poll_round() {
                self.client.observations.round_news(now, news);
            }
            let Some(act) = self.client.observations.poll_act() else {
                break;
            };
            match act {
                Act::Round(id, purpose) => {
                    if self.begin_round(now, id, purpose).is_err() {
                        self.client.observations.round_refused(now, id, purpose);
                    }
                }
                Act::Ask(observer, echo) => self.ask_member(now, observer, echo.as_deref()),
                Act::Break(exchange) => self.cancel(now, exchange),
                Act::Keep(told) => self.keep_notified(now, &told),
                Act::Stop(round) => self.client.collections.close(now, round),
                Act::Free(token, Instant::ZERO) => {
                    self.client
                        .collections
                        .tokens_mut()
                        .give_back(token, Instant::ZERO);
                }
                Act::Free(token, at) => {
                    let reuse = self
                        .client
                        .collections
                        .token_reuse(core::time::Duration::ZERO);
                    self.client
                        .collections
                        .tokens_mut()
                        .give_back(token, at + reuse);
                }
            }
        }
        self.fetch_rests(now);
    }

    /// Fetches what follows the first blocks of notifications, so many at the same time.
    fn fetch_rests(&mut self, now: Instant) {
        let at_once = self.config.transfers.at_once;
        while let Some(wanted) = self.client.observations.poll_rest(at_once) {
            let observer = wanted.observer;
            let owner = Owner::Notification(observer);
            let (transfer, unicast) = (wanted.transfer, wanted.unicast);
            match self.fetch_rest(now, owner, transfer, unicast, wanted.sender) {
                Ok(exchange) => self.client.observations.rest_begun(observer, exchange),
                Err(failure) => {
                    let failure = Failure::Body(failure);
                    self.client
                        .observations
                        .rest_done(now, observer, None, Err(failure));
                }
            }
        }
    }

    fn ask_member(&mut self, now: Instant, observer: Observer, echo: Option<&[u8]>) {
        let started = self.client.observations.unicast(observer, echo);
        let started = started.and_then(|(unicast, token)| {
            let owner = Owner::Observation(observer);
            self.client
                .exchanges
                .start_with(now, &mut self.rng, owner, unicast, Some(token))
                .ok()
        });
        match started {
            Some(exchange) => self.client.observations.asked(observer, exchange),
            None => {
                let failure = Failure::Unreachable(SendError::NoBuffer);
                self.client.observations.not_reached(now, observer, failure);
            }
        }
    }

    /// A message came under the token of an observation, and answers no request to one member.
    pub(super) fn hear_notification(
        &mut self,
        now: Instant,
        id: ObservationId,
        path: &Path,
        message: &Message<'_>,
    ) -> Reply {
        if !self.client.observations.is_protected(id) {
            return self.notified(now, id, path, &Sender::Unauthenticated, message, None);
        }
        #[cfg(feature = "oscore")]
        if message
            .option(antiphon_wire::OptionNumber::OSCORE)
            .is_some()
        {
            if let Some(binding) = self.client.observations.next_binding(id, path, None) {
                return self.open_response(now, Heard::observation(id, binding, *path), message);
            }
            return match message.kind() {
                Type::Con => Reply::Acknowledge,
                _ => Reply::Nothing,
            };
        }
        // Anyone can forge it.
        self.client.observations.unprotected(id);
        match message.kind() {
            Type::Con => Reply::Reset,
            _ => Reply::Nothing,
        }
    }

    /// A message that belongs to an observation; under protection, opened.
    pub(super) fn notified(
        &mut self,
        now: Instant,
        id: ObservationId,
        path: &Path,
        sender: &Sender,
        message: &Message<'_>,
        bound: Option<Bound>,
    ) -> Reply {
        if let Some(round) = self.client.observations.round_of(id) {
            self.client.collections.round_answered(now, round, path);
        }
        let used = self.client.collections.cache().len() > 0;
        self.client.observations.cache_in_use(used);
        let arrived = Arrived {
            path,
            sender,
            bound,
            in_person: None,
        };
        let passed_over = self.client.observations.passed_over(id);
        let reply = self
            .client
            .observations
            .hear(now, &mut self.rng, id, arrived, message);
        if self.client.observations.passed_over(id) == passed_over {
            self.heard_from(now, path.peer, sender);
        }
        reply
    }

    /// The answer to a request to one member of an observation.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn answered_in_person(
        &mut self,
        now: Instant,
        exchange: ExchangeId,
        observer: Observer,
        path: &Path,
        sender: &Sender,
        message: &Message<'_>,
        bound: Option<Bound>,
    ) -> Reply {
        let Some(ended) = self.client.exchanges.end(now, exchange, true) else {
            return Reply::Nothing;
        };
        let used = self.client.collections.cache().len() > 0;
        self.client.observations.cache_in_use(used);
        let arrived = Arrived {
            path,
            sender,
            bound,
            in_person: Some(InPerson {
                member: observer.member,
                asked: ended.asked,
                sent: ended.request_sent,
            }),
        };
        self.client
            .observations
            .hear(now, &mut self.rng, observer.observation, arrived, message)
    }
}

#[cfg(feature = "oscore")]
impl Endpoint {
    /// To which request a verified message of an observation is bound, and where it stands.
    pub(super) fn bound(
        &self,
        heard: Heard,
        opened: &antiphon_oscore::OpenedResponse,
    ) -> Option<Bound> {
        use antiphon_oscore::replay::Rank;
        let registration = match heard.to {
            HeardBy::Collection(_) => return None,
            HeardBy::Exchange(id) => {
                let observer = self.client.exchanges.observer(id)?;
                self.client.observations.registration_of_ask(observer)?
            }
            HeardBy::Observation(id, binding) => {
                self.client.observations.registration(id, binding)?
            }
        };
        let kid = opened.sender.kid();
        let kid = kid.as_bytes();
        Some(Bound {
            registration,
            kid: kid.iter().fold(kid.len() as u64, |packed, byte| {
                (packed << 8) | u64::from(*byte)
            }),
            place: match opened.order.rank {
                Rank::Oldest => None,
                Rank::Numbered {
                    context,
                    change,
                    number,
                } => Some((context, change, number.value())),
            },
        })
    }

    /// A message did not verify as response to one request of an observation: the next to which it may be bound.
    pub(super) fn bound_elsewhere(
        &self,
        heard: Heard,
        reason: antiphon_oscore::Reason,
        token: antiphon_wire::Token,
    ) -> Option<Heard> {
        use antiphon_oscore::Reason;
        if !matches!(
            reason,
            Reason::NotVerified | Reason::OtherMember | Reason::Malformed | Reason::NoContext
        ) {
            return None;
        }
        let (id, after) = self.next_after(heard, token)?;
        let next = self
            .client
            .observations
            .next_binding(id, &heard.path, after)?;
        Some(Heard::observation(id, next, heard.path))
    }

    fn next_after(
        &self,
        heard: Heard,
        token: antiphon_wire::Token,
    ) -> Option<(ObservationId, Option<crate::observation::Binding>)> {
        match heard.to {
            HeardBy::Observation(id, binding) => Some((id, Some(binding))),
            HeardBy::Exchange(id) => {
                self.client.exchanges.observer(id)?;
                Some((self.client.observations.matching(&heard.path, token)?, None))
            }
            HeardBy::Collection(_) => None,
        }
    }

    /// The message, if there may be another request that it is bound to.
    pub(super) fn kept_for_next(
        &self,
        heard: Heard,
        message: &[u8],
    ) -> Option<alloc::vec::Vec<u8>> {
        let token = Message::parse(message).ok()?.token();
        let (id, after) = self.next_after(heard, token)?;
        self.client
            .observations
            .next_binding(id, &heard.path, after)?;
        Some(message.to_vec())
    }
}
