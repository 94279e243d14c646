//! Protected responses that came in: opened in two steps with the work in between, and then on as any other response.
//!
//! Nothing here delivers a message that was not opened; nothing that is not opened ends an exchange.

use alloc::boxed::Box;

use antiphon_oscore::{JobResult, OpenedResponse, Opening, Refused, Step};
use antiphon_wire::{Code, Message, OptionNumber};

use super::Endpoint;
use super::open::Paid;
use super::outer_fetch::Fetched;
use super::protect::{FromStranger, Parked};
use crate::collection::{CollectionId, Reply};
use crate::exchange::{ExchangeId, Reliability, UnicastRequest};
use crate::identity::{Identity, Sender};
use crate::observation::{Binding, ObservationId};
use crate::path::Path;
use crate::security::at;
use crate::time::Instant;

/// A response that was heard, and to what.
#[derive(Clone, Copy)]
pub(super) struct Heard {
    pub(super) to: HeardBy,
    pub(super) path: Path,
    /// It was put together from outer blocks.
    pub(super) assembled: bool,
}

/// Who waits for a response.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum HeardBy {
    Exchange(ExchangeId),
    Collection(CollectionId),
    Observation(ObservationId, Binding),
}

impl Heard {
    pub(super) fn exchange(id: ExchangeId, path: Path) -> Self {
        Self {
            to: HeardBy::Exchange(id),
            path,
            assembled: false,
        }
    }

    pub(super) fn collection(id: CollectionId, path: Path) -> Self {
        Self {
            to: HeardBy::Collection(id),
            path,
            assembled: false,
        }
    }

    pub(super) fn observation(id: ObservationId, binding: Binding, path: Path) -> Self {
        Self {
            to: HeardBy::Observation(id, binding),
            path,
            assembled: false,
        }
    }
}

impl Endpoint {
    /// A response that would belong to a protected question. `None`: it belongs to none.
    pub(super) fn hear_answer(
        &mut self,
        now: Instant,
        path: &Path,
        message: &Message<'_>,
    ) -> Option<Reply> {
        // One that is not protected is counted with the collection, and never delivered.
        message.option(OptionNumber::OSCORE)?;
        let collection = self.client.collections.protected_for(path, message)?;
        Some(self.open_response(now, Heard::collection(collection, *path), message))
    }

    /// A protected response to a protected request. One that is taken is acknowledged, whatever is found in it.
    pub(super) fn open_response(
        &mut self,
        now: Instant,
        heard: Heard,
        message: &Message<'_>,
    ) -> Reply {
        let taken = match message.kind() {
            antiphon_wire::Type::Con => Reply::Acknowledge,
            _ => Reply::Nothing,
        };
        if let Some(fetched) = self.fetch_outer(now, heard, message) {
            return match fetched {
                Fetched::Taken => taken,
                Fetched::Lost => Reply::Lost,
            };
        }
        let asked = match heard.to {
            HeardBy::Exchange(id) => self.client.exchanges.asked_mut(id),
            HeardBy::Collection(id) => self.client.collections.asked_mut(id),
            HeardBy::Observation(id, binding) => self.client.observations.asked_mut(id, binding),
        };
        let Some(asked) = asked else {
            self.guard.counters.superseded += 1;
            return taken;
        };
        let step = self.guard.contexts.begin_response(at(now), message, asked);
        if let Err(refused) = &step
            && let from = FromStranger::Response(heard)
            && self.wait_for_credential(now, from, heard.path, *refused, message)
        {
            return taken;
        }
        if let Err(refused) = &step
            && let Some(next) = self.bound_elsewhere(heard, refused.reason, message.token())
        {
            return self.open_response(now, next, message);
        }
        match self.go_on_with_response(now, heard, step, Paid::No) {
            true => taken,
            false => Reply::Lost,
        }
    }

    /// The same for one whose sender on the message layer has been told already.
    pub(super) fn open_again(&mut self, now: Instant, heard: Heard, message: &Message<'_>) {
        let _acknowledged = self.open_response(now, heard, message);
    }

    pub(super) fn finish_response(
        &mut self,
        now: Instant,
        heard: Heard,
        opening: Box<Opening>,
        result: JobResult,
    ) {
        let message = self.kept_for_next(heard, opening.message());
        let asked = match heard.to {
            HeardBy::Exchange(id) => self.client.exchanges.asked_mut(id),
            HeardBy::Collection(id) => self.client.collections.asked_mut(id),
            HeardBy::Observation(id, binding) => self.client.observations.asked_mut(id, binding),
        };
        let Some(asked) = asked else {
            // The exchange ended while the response was being opened.
            self.guard.contexts.give_up(opening);
            self.guard.counters.superseded += 1;
            return;
        };
        let contexts = &mut self.guard.contexts;
        let step = contexts.finish_response(at(now), opening, result, asked);
        if let Err(refused) = &step
            && let Some(bytes) = message
            && let Ok(message) = Message::parse(&bytes)
            && let Some(next) = self.bound_elsewhere(heard, refused.reason, message.token())
        {
            return self.open_again(now, next, &message);
        }
        let _acknowledged = self.go_on_with_response(now, heard, step, Paid::Yes);
    }

    fn go_on_with_response(
        &mut self,
        now: Instant,
        heard: Heard,
        step: Result<Step<OpenedResponse>, Refused>,
        paid: Paid,
    ) -> bool {
        match step {
            Ok(Step::Done(opened)) => {
                self.repay(&heard.path, paid);
                self.repay_outer(&heard);
                self.heard(now, heard, opened);
            }
            Ok(Step::Work(opening, job)) => {
                let parked = |opening| Parked::Response(heard, opening);
                return self.work_on(now, &heard.path, opening, job, parked);
            }
            Err(refused) => self.guard.counters.count(refused.reason),
        }
        true
    }

    /// A response was opened: it is delivered, or the request is repeated with the Echo value that it asks for.
    fn heard(&mut self, now: Instant, heard: Heard, opened: OpenedResponse) {
        if let HeardBy::Exchange(id) = heard.to
            && let Some((peer, mid)) = self.client.exchanges.sent_as(id)
        {
            self.confirmables.settle(peer, mid); // a response acknowledges as well
        }
        let Ok(message) = Message::parse(&opened.message) else {
            self.guard.counters.content += 1;
            return;
        };
        self.guard.counters.responses += 1;
        let identity = Identity(opened.sender.identity().to_vec());
        let challenge = (message.code() == Code::UNAUTHORIZED)
            .then(|| message.option(OptionNumber::ECHO))
            .flatten();
        let bound = self.bound(heard, &opened);
        match (heard.to, challenge) {
            (HeardBy::Observation(id, _), _) => {
                self.notified(
                    now,
                    id,
                    &heard.path,
                    &Sender::Proven(identity),
                    &message,
                    bound,
                );
            }
            (HeardBy::Exchange(id), None)
                if let Some(observer) = self.client.exchanges.observer(id) =>
            {
                let sender = Sender::Proven(identity);
                self.answered_in_person(now, id, observer, &heard.path, &sender, &message, bound);
            }
            (HeardBy::Exchange(id), _) => {
                self.deliver_opened(now, id, &heard.path, identity, &message);
            }
            (HeardBy::Collection(id), Some(echo)) => {
                let challenged =
                    self.client
                        .collections
                        .challenged(&heard.path, id, &identity, echo);
                if let Some(wanted) = challenged {
                    self.guard.counters.echoed += 1;
                    self.heard_from(now, heard.path.peer, &Sender::Proven(identity));
                    let unicast = UnicastRequest {
                        request: wanted.request,
                        route: wanted.route,
                        reliability: Reliability::Confirmable,
                        response_timeout: None,
                        protection: wanted.protection,
                    };
                    self.complete(now, (id, wanted.asking), unicast);
                }
            }
            (HeardBy::Collection(_), None) => {
                let sender = Sender::Proven(identity);
                let delivery =
                    self.client
                        .collections
                        .handle_response_of(now, &heard.path, &sender, &message);
                if let Some(delivery) = delivery {
                    self.heed(now, &heard.path, &sender, delivery);
                }
            }
        }
    }

    fn deliver_opened(
        &mut self,
        now: Instant,
        id: crate::exchange::ExchangeId,
        path: &Path,
        identity: Identity,
        message: &Message<'_>,
    ) {
        // The message layer has been told already.
        let _reply = self.deliver(now, id, path, &Sender::Proven(identity), message);
    }
}
