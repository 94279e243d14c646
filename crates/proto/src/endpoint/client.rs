//! The half that asks: unicast exchanges, collections, observations, bodies in blocks, and the cache.
//!
//! An image without the feature `client` has `server_only` in this place, with the same functions, which find nothing.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;

use antiphon_wire::{Message, MessageId, Type};

use super::block::Transfers;
use super::cached::Recall;
use super::{Endpoint, EndpointConfig, Load, boxed};
use crate::block::BlockSize;
use crate::collection::{
    Asking, CollectError, CollectionId, Collections, Delivery, GroupRequest, Reply, Status, Verdict,
};
use crate::config::Transmission;
use crate::dedup::Seen;
use crate::event::{Event, ExchangeId};
use crate::exchange::{Exchanges, RequestError, UnicastRequest, Waiting};
use crate::failure::{Failure, SendError};
use crate::identity::Sender;
use crate::observation::Observations;
use crate::path::{Path, Route, SocketId};
use crate::rng::Rng;
use crate::time::Instant;

#[cfg(feature = "oscore")]
pub(super) use super::hear::Heard;
#[cfg(feature = "oscore")]
pub(super) use super::question::Question;

/// What an exchange for the completion of a collection belongs to.
pub(super) type Completing = (CollectionId, Asking);

/// The tables of the half that asks.
pub(super) struct Client {
    pub(super) exchanges: Exchanges<Completing>,
    pub(super) collections: Box<Collections>,
    pub(super) observations: Box<Observations>,
    /// The exchanges by which silent members are asked in person.
    pub(super) completing: BTreeMap<Completing, ExchangeId>,
    pub(super) transfers: Transfers,
    /// Protected responses of which outer blocks are missing.
    #[cfg(feature = "oscore")]
    pub(super) outer: super::outer_fetch::OuterFetches,
    /// What the responses to unicast requests mean for the cache.
    pub(super) recalls: BTreeMap<ExchangeId, Recall>,
}

impl Client {
    pub(super) fn new(config: &EndpointConfig, rng: &mut Rng) -> Self {
        let bounds = config.transfers.bounds(BlockSize::LARGEST);
        Self {
            exchanges: Exchanges::new(config.transmission.clone(), config.limits.exchanges, rng),
            collections: boxed(|| {
                let mut collections = Collections::new(config.collections.clone(), rng);
                collections.limit_bodies(bounds, config.transfers.bytes);
                collections
            }),
            observations: boxed(|| {
                let mut observations = Observations::new(config.observations.clone(), rng);
                observations.limit_bodies(bounds);
                observations
            }),
            completing: BTreeMap::new(),
            transfers: Transfers::default(),
            #[cfg(feature = "oscore")]
            outer: super::outer_fetch::OuterFetches::new(rng),
            recalls: BTreeMap::new(),
        }
    }

    /// Is the message one that this endpoint has sent to a group?
    pub(super) fn has_sent(&self, path: &Path, message: &Message<'_>) -> bool {
        self.collections.is_own_request(path, message)
    }

    /// The exchange whose request a report of the network quotes.
    pub(super) fn quoted(
        &self,
        socket: SocketId,
        destination: SocketAddr,
        quote: &[u8],
    ) -> Option<ExchangeId> {
        self.exchanges.quoted(socket, destination, quote)
    }

    pub(super) fn set_transmission(&mut self, now: Instant, transmission: &Transmission) {
        self.exchanges.set_parameters(transmission.clone());
        self.collections.set_transmission(now, transmission.clone());
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.collections
            .poll_event()
            .map(Event::Collection)
            .or_else(|| self.observations.poll_event().map(Event::Observation))
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        [
            self.exchanges.next_timeout(),
            self.transfers.next_timeout(),
            self.collections.next_timeout(),
            self.observations.next_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// How full these tables are.
    pub(super) fn load(&self) -> Load {
        Load {
            exchanges: self.exchanges.len(),
            transfers: self.transfers.len(),
            observations: self.observations.len(),
            cached: self.collections.cache().len(),
            ..Load::default()
        }
    }
}

/// What the application asks.
impl Endpoint {
    /// Asks one peer. A body larger than a block goes in blocks, and so does that of the response; the response is
    /// delivered whole. A request with a Block2 option of a number above 0 asks for that block alone.
    ///
    /// # Errors
    /// See [`RequestError`]; nothing is sent then.
    pub fn request(
        &mut self,
        now: Instant,
        unicast: UnicastRequest,
    ) -> Result<ExchangeId, RequestError> {
        self.request_noted(now, unicast)
    }

    /// Gives up a unicast request. No event follows.
    pub fn cancel(&mut self, now: Instant, id: ExchangeId) {
        let current = self.client.transfers.remove(id).unwrap_or(id);
        if let Some((peer, mid)) = self.client.exchanges.sent_as(current) {
            self.confirmables.settle(peer, mid);
        }
        if let Some(ended) = self.client.exchanges.end(now, current, false) {
            self.not_answered(now, id, &ended);
        }
    }

    /// Why a unicast request has not left yet; `None` if it has, or is over.
    pub fn waiting(&self, now: Instant, id: ExchangeId) -> Option<Waiting> {
        self.client
            .exchanges
            .waiting(now, self.client.transfers.current(id))
    }

    /// Asks a group: see [`GroupRequest`].
    ///
    /// # Errors
    /// See [`CollectError`]; nothing is sent then.
    pub fn collect(
        &mut self,
        now: Instant,
        request: GroupRequest,
    ) -> Result<CollectionId, CollectError> {
        self.client.collections.start(now, &mut self.rng, request)
    }

    /// Ends a collection early; its outcome follows as an event.
    pub fn close(&mut self, now: Instant, id: CollectionId) {
        self.client.collections.close(now, id);
    }

    /// What a collection is doing, and why it waits if it does.
    pub fn status(&self, now: Instant, id: CollectionId) -> Option<Status> {
        self.client.collections.status(now, id)
    }

    /// The collections, to change paces at run time.
    pub fn collections_mut(&mut self) -> &mut Collections {
        &mut self.client.collections
    }
}

/// What the way of a message comes by.
impl Endpoint {
    /// What is to be done before anything is sent or handed out.
    pub(super) fn prepare(&mut self, now: Instant) {
        self.conduct_observations(now);
        self.cancel_completions(now);
        #[cfg(feature = "oscore")]
        self.cancel_outer_fetches(now);
        self.start_completions(now);
        self.start_bodies(now);
        self.notify_observers(now);
        self.ask_servers_again(now);
        #[cfg(feature = "oscore")]
        self.protect_requests(now);
    }

    pub(super) fn handle_client_timeout(&mut self, now: Instant) {
        while let Some(id) = self.client.exchanges.poll_timeout(now) {
            self.fail(now, id, Failure::TimedOut);
        }
        self.give_up_transfers(now);
        self.client.collections.handle_timeout(now);
        self.client.observations.handle_timeout(now);
    }

    #[cfg(not(feature = "oscore"))]
    pub(super) fn begins_again(&mut self, _: Instant, _: ExchangeId) -> bool {
        false
    }

    /// A peer has shown that it is there: it is asked without a further pause (PROBING_RATE).
    pub(super) fn heard_from(&mut self, now: Instant, peer: SocketAddr, sender: &Sender) {
        let exchanges = &mut self.client.exchanges;
        exchanges.heard_from(now, peer, sender.is_proven());
    }

    /// A datagram could not be sent.
    pub(super) fn not_sent(&mut self, now: Instant, route: &Route, error: SendError) {
        if route.is_multicast() {
            let collections = &mut self.client.collections;
            collections.handle_send_error(now, route, error);
            return;
        }
        // A full buffer passes, and a Confirmable message is sent again anyway.
        if error == SendError::NoBuffer {
            return;
        }
        for id in self.client.exchanges.sent_to(route.destination) {
            self.fail(now, id, Failure::Unreachable(error));
        }
    }

    /// Writes the next request.
    pub(super) fn poll_request(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Route> {
        let client = &mut self.client;
        let unicast = client.exchanges.poll_transmit(
            now,
            &mut self.rng,
            &mut self.message_ids,
            &mut self.confirmables,
            out,
        );
        unicast.or_else(|| {
            let collections = &mut client.collections;
            collections.poll_transmit(now, &mut self.message_ids, out)
        })
    }

    /// A request was acknowledged without a response.
    pub(super) fn request_acknowledged(&mut self, now: Instant, id: ExchangeId) {
        self.client.exchanges.acknowledged(now, id);
    }

    /// A Reset answers a Non-confirmable request; false if it answers none.
    pub(super) fn request_reset(&mut self, now: Instant, peer: SocketAddr, mid: MessageId) -> bool {
        let Some(id) = self.client.exchanges.sent_with(peer, mid) else {
            return false;
        };
        self.fail(now, id, Failure::Reset);
        true
    }

    /// This endpoint leaves a security group: whatever it has asked there ends.
    #[cfg(feature = "oscore")]
    pub(super) fn end_asked_in(&mut self, now: Instant, id: crate::security::GroupId) {
        let left = Failure::NotProtected(crate::security::NotProtected::Left);
        self.end_all_in(now, id);
        self.client.collections.leave(now, id);
        self.cancel_completions(now);
        for exchange in self.client.exchanges.protected_in(id) {
            self.fail(now, exchange, left);
        }
    }

    pub(super) fn handle_response(&mut self, now: Instant, path: &Path, message: &Message<'_>) {
        let (kind, mid) = (message.kind(), message.message_id());
        if kind == Type::Rst {
            self.counters.malformed += 1;
            return;
        }
        let fingerprint = self.dedup.fingerprint(message);
        if kind != Type::Ack
            && let Some(record) = self.dedup.lookup(now, path.peer, mid, fingerprint)
        {
            return self.repeat_reply(path, kind, record);
        }
        let reply = if let Some(id) = self.client.exchanges.matching(path, message) {
            if self.client.exchanges.is_protected(id) {
                let reply = self.hear(now, id, path, message);
                return self.settle(now, path, message, fingerprint, Some(reply));
            }
            if let Some((peer, request_mid)) = self.client.exchanges.sent_as(id) {
                self.confirmables.settle(peer, request_mid); // a response acknowledges as well
            }
            Some(self.deliver(now, id, path, &Sender::Unauthenticated, message))
        } else if kind == Type::Ack {
            None
        } else if let Some(id) = self.client.observations.matching(path, message.token()) {
            Some(self.hear_notification(now, id, path, message))
        } else {
            #[cfg(feature = "oscore")]
            if let Some(reply) = self.hear_answer(now, path, message) {
                return self.settle(now, path, message, fingerprint, Some(reply));
            }
            self.client
                .collections
                .handle_response(now, path, message)
                .map(|d| self.heed(now, path, &Sender::Unauthenticated, d))
        };
        self.settle(now, path, message, fingerprint, reply);
    }

    /// Tells the sender of a response on the message layer what became of it.
    fn settle(
        &mut self,
        now: Instant,
        path: &Path,
        message: &Message<'_>,
        fingerprint: u64,
        reply: Option<Reply>,
    ) {
        let (kind, mid) = (message.kind(), message.message_id());
        match reply {
            Some(Reply::Acknowledge) => self.settle_response(now, path, message, fingerprint),
            Some(Reply::Nothing) if kind == Type::Non => {
                self.settle_response(now, path, message, fingerprint)
            }
            Some(Reply::Nothing | Reply::Lost) => {}
            Some(Reply::Reset) => self.send_empty(path, Type::Rst, mid),
            None => self.reject_response(path, message),
        }
    }

    pub(super) fn heed(
        &mut self,
        now: Instant,
        path: &Path,
        sender: &Sender,
        delivery: Delivery,
    ) -> Reply {
        match delivery.verdict {
            Verdict::Delivered | Verdict::Late | Verdict::Begun => {
                self.heard_from(now, path.peer, sender);
            }
            Verdict::Rejected(_) => self.counters.responses_rejected += 1,
            Verdict::Dropped => {}
        }
        delivery.reply
    }

    /// Remembers a response, so that its duplicate is not delivered again, and acknowledges a Confirmable one.
    fn settle_response(
        &mut self,
        now: Instant,
        path: &Path,
        message: &Message<'_>,
        fingerprint: u64,
    ) {
        let lifetime = match message.kind() {
            Type::Con => self.config.transmission.exchange_lifetime(),
            _ => self.config.transmission.non_lifetime(),
        };
        let mid = message.message_id();
        let seen = self.dedup.check(now, path.peer, mid, fingerprint, lifetime);
        if message.kind() == Type::Con {
            self.send_empty(path, Type::Ack, mid);
            if let Some(Seen::New(record)) = seen {
                self.dedup
                    .store_reply(record, &super::answer::empty(Type::Ack, mid));
            }
        }
    }
}
