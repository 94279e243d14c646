//! How unicast exchanges end, and for whom: the application, or a collection that asks a silent member in person.

use core::time::Duration;

use antiphon_wire::{Code, Message, OptionNumber, Type};

use super::Endpoint;
use super::client::Completing;
#[cfg(feature = "oscore")]
use super::client::Heard;
use crate::collection::{Asking, Reply, unrecognised_critical};
use crate::event::Event;
use crate::exchange::{Ended, ExchangeId, Failure, Owner, Reliability, SendError, UnicastRequest};
use crate::identity::Sender;
use crate::message::Response;
use crate::path::Path;
#[cfg(feature = "oscore")]
use crate::security::Protection;
use crate::time::Instant;

impl Endpoint {
    /// A response to a unicast request. One with a critical option that is not understood is rejected (RFC 7252 section 5.4.1).
    pub(super) fn deliver(
        &mut self,
        now: Instant,
        id: ExchangeId,
        path: &Path,
        sender: &Sender,
        message: &Message<'_>,
    ) -> Reply {
        let rejected = unrecognised_critical(message).is_some() && !self.is_outer_block(id);
        // RFC 9175 section 2.3: the server wants to see that the client is where it says it is.
        if !rejected
            && message.code() == Code::UNAUTHORIZED
            && let Some(echo) = message.option(OptionNumber::ECHO)
            && self.echo_to(id, sender, echo)
        {
            return match message.kind() {
                Type::Con => Reply::Acknowledge,
                _ => Reply::Nothing,
            };
        }
        if let Some(observer) = self.client.exchanges.observer(id) {
            return self.answered_in_person(now, id, observer, path, sender, message, None);
        }
        if let Some(ended) = self.client.exchanges.end(now, id, true) {
            let result = match rejected {
                true => Err(Failure::Rejected),
                false => Ok((*path, sender.clone(), Response::from(message))),
            };
            self.report(now, ended, result);
        }
        match (message.kind(), rejected) {
            (Type::Con, true) => Reply::Reset,
            (Type::Con, false) => Reply::Acknowledge,
            _ => Reply::Nothing,
        }
    }

    /// Is the response an outer block of another one? Its OSCORE option is then looked at when all of them are there.
    fn is_outer_block(&self, id: ExchangeId) -> bool {
        #[cfg(feature = "oscore")]
        return self.client.exchanges.is_for_outer(id);
        #[cfg(not(feature = "oscore"))]
        return {
            let _ = id;
            false
        };
    }

    /// Repeats a request with the Echo value that the server has sent, protected for that server alone if at all; false if
    /// that was done often enough.
    fn echo_to(&mut self, id: ExchangeId, sender: &Sender, echo: &[u8]) -> bool {
        let Some(protection) = self.client.exchanges.protection(id) else {
            return false;
        };
        let protection = match (protection, sender) {
            #[cfg(feature = "oscore")]
            (Protection::Group(group), Sender::Proven(identity)) => match identity.credential() {
                Some(credential) => Protection::Member {
                    group: *group,
                    credential: credential.to_vec(),
                },
                None => Protection::Group(*group),
            },
            (same, _) => same.clone(),
        };
        let repeated = self
            .client
            .exchanges
            .repeat_with_echo(&mut self.rng, id, echo, protection);
        self.counters.echoed += u64::from(repeated);
        repeated
    }

    pub(super) fn fail(&mut self, now: Instant, id: ExchangeId, failure: Failure) {
        if let Some((peer, mid)) = self.client.exchanges.sent_as(id) {
            self.confirmables.settle(peer, mid);
        }
        let failure = match (failure, self.client.exchanges.hinted(id)) {
            (Failure::TimedOut, Some(hint)) => hint,
            _ => failure,
        };
        let responded = failure == Failure::Reset; // a Reset is a sign of life
        if let Some(ended) = self.client.exchanges.end(now, id, responded) {
            self.report(now, ended, Err(failure));
        }
    }

    /// Tells whoever asked how an exchange ended.
    pub(super) fn report(
        &mut self,
        now: Instant,
        ended: Ended<Completing>,
        result: Result<(Path, Sender, Response), Failure>,
    ) {
        let Some((ended, result)) = self.transfer(now, ended, result) else {
            return; // more of the body is to come
        };
        let after = ended
            .request_sent
            .map_or(Duration::ZERO, |sent| now.since(sent));
        match (ended.owner, result) {
            (Owner::Completion(completing), Ok((path, sender, response))) => {
                self.client.completing.remove(&completing);
                self.completed(now, completing, &sender, Ok((&path, response)));
            }
            (Owner::Completion(completing), Err(failure)) => {
                self.not_answered(now, ended.id, &ended);
                self.client.completing.remove(&completing);
                let nobody = Sender::Unauthenticated;
                self.completed(now, completing, &nobody, Err(failure));
            }
            (Owner::Notification(observer), result) => {
                let result = result.map(|(_, _, response)| response);
                self.client
                    .observations
                    .rest_done(now, observer, Some(ended.id), result);
            }
            #[cfg(feature = "oscore")]
            (Owner::Outer(_), result) => self.outer_fetched(now, ended.id, result),
            // Answers go there before the exchange ends.
            (Owner::Observation(_), Ok(_)) => {}
            (Owner::Observation(observer), Err(failure)) => {
                self.client.observations.not_reached(now, observer, failure);
            }
            (Owner::Application, Ok((from, sender, response))) => {
                let event = match self.recall(now, ended.id, &from, &sender, response) {
                    Ok(response) => Event::Response {
                        exchange: ended.id,
                        response,
                        from,
                        after,
                        sender,
                    },
                    Err(failure) => Event::Failed {
                        exchange: ended.id,
                        failure,
                    },
                };
                self.events.push_back(event);
            }
            (Owner::Application, Err(failure)) => {
                self.not_answered(now, ended.id, &ended);
                self.events.push_back(Event::Failed {
                    exchange: ended.id,
                    failure,
                });
            }
        }
    }

    fn completed(
        &mut self,
        now: Instant,
        (collection, asking): Completing,
        sender: &Sender,
        result: Result<(&Path, Response), Failure>,
    ) {
        match asking {
            Asking::Member(member) => self
                .client
                .collections
                .completion_done_by(now, collection, member, sender, result),
            Asking::Stranger(stranger) => self
                .client
                .collections
                .stranger_done(now, collection, stranger, sender, result),
            Asking::Body(n) => {
                let result = result.map(|(_, response)| response);
                self.client
                    .collections
                    .body_done(now, collection, n, sender, result);
            }
        }
    }

    /// An Acknowledgement ends the repetitions of its request, whatever it carries.
    fn heed_acknowledgement(&mut self, now: Instant, id: ExchangeId, message: &Message<'_>) {
        if message.kind() == Type::Ack
            && let Some((peer, mid)) = self.client.exchanges.sent_as(id)
            && self.confirmables.settle(peer, mid).is_some()
        {
            self.client.exchanges.acknowledged(now, id);
        }
    }

    /// A response to a protected request. Only a protected one can answer it; any other is a hint, which stops the
    /// repetition of the request on the message layer if it acknowledges it, and nothing else.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        id: ExchangeId,
        path: &Path,
        message: &Message<'_>,
    ) -> Reply {
        #[cfg(feature = "oscore")]
        if message.option(OptionNumber::OSCORE).is_some() {
            let reply = self.open_response(now, Heard::exchange(id, *path), message);
            if reply != Reply::Lost {
                self.heed_acknowledgement(now, id, message);
            }
            return reply;
        }
        let _ = path;
        self.heed_acknowledgement(now, id, message);
        self.counters.unprotected_responses += 1;
        let hint = Failure::OnlyUnprotected(message.code());
        self.client.exchanges.hint(id, hint);
        match message.kind() {
            Type::Con => Reply::Reset,
            _ => Reply::Nothing,
        }
    }

    /// Silent members of a collection are asked one by one, each by a Confirmable exchange of its own.
    pub(super) fn start_completions(&mut self, now: Instant) {
        while let Some(wanted) = self.client.collections.poll_completion(now) {
            let unicast = UnicastRequest {
                request: wanted.request,
                route: wanted.route,
                reliability: Reliability::Confirmable,
                response_timeout: None,
                protection: wanted.protection,
            };
            self.complete(
                now,
                (wanted.collection, Asking::Member(wanted.member)),
                unicast,
            );
        }
    }

    /// Asks a server by unicast on behalf of a collection.
    pub(super) fn complete(
        &mut self,
        now: Instant,
        completing: Completing,
        unicast: UnicastRequest,
    ) {
        let owner = Owner::Completion(completing);
        let unicast = self.sized(unicast);
        let started = self
            .client
            .exchanges
            .start(now, &mut self.rng, owner, unicast);
        if let Ok(id) = started {
            self.client.completing.insert(completing, id);
        } else {
            let failure = Failure::Unreachable(SendError::NoBuffer);
            let nobody = Sender::Unauthenticated;
            self.completed(now, completing, &nobody, Err(failure));
        }
    }

    /// What completes a collection that has ended is of no use any more.
    pub(super) fn cancel_completions(&mut self, now: Instant) {
        while let Some(completing) = self.client.collections.poll_cancel() {
            if let Some(id) = self.client.completing.remove(&completing) {
                self.cancel(now, id);
            }
        }
    }
}
