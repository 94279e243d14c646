//! Protected responses that come in outer blocks (RFC 8613 section 4.1.3.4.2): somebody on the way has cut them. The blocks
//! that follow the first one are fetched by unicast from where that came, and the whole is opened as if it had come at once.
//!
//! For a further block the request goes out again as it was sent, without what belongs to its first answer: the same code,
//! the same options with the same OSCORE option, and Block2. Nothing is protected anew. The payload goes along with a FETCH
//! only, as RFC 7959 and RFC 8132 have it.
//!
//! None of these blocks is proven. So each first block is put together by itself, what fits together is opened, and what
//! does not ends nothing: the request waits on until its time is over. Whoever can guess the token of a request, 64 bits, or
//! sees it, can begin what comes to nothing; that takes one of the places below until a block is missing, and gives
//! way to others as long as only its first block is there.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;

use antiphon_wire::{BlockValue, Code, Message, MessageId, OptionNumber, Token, Type};

use super::Endpoint;
use super::answer::append;
use super::hear::{Heard, HeardBy};
use super::outer::{PLACES, PLACES_PER_ADDRESS};
use crate::block::{BlockSize, Bounds, Step, Transfer};
use crate::exchange::{ExchangeId, Failure, Owner, Reliability, UnicastRequest, encoded_bound};
use crate::identity::Sender;
use crate::message::{Request, Response};
use crate::path::{Path, Route};
use crate::rng::Rng;
use crate::security::{Budgets, Protection};
use crate::shares::Holder;
use crate::time::Instant;

/// Fetches that are begun in a second for questions to groups. Those go wherever a first block claims to come from.
const FOR_GROUPS: u32 = 16;
/// A request for further blocks is at most so many times as large as the first block of an answer to a group's question.
const LARGER: usize = 3;

/// The responses of which blocks are being fetched.
pub(super) struct OuterFetches {
    /// The oldest first.
    open: Vec<Fetch>,
    /// What all answers to groups' questions may make this endpoint begin.
    for_groups: Budgets,
}

struct Fetch {
    heard: Heard,
    token: Token,
    /// The hash of the first block, to know its copies.
    first: u64,
    /// The exchange that the fetching was begun with.
    exchange: ExchangeId,
    /// Only the first block is there.
    begun: bool,
}

/// What became of a first block.
pub(super) enum Fetched {
    /// It is dealt with.
    Taken,
    /// There was no room for it: it is as lost as on the way.
    Lost,
}

impl OuterFetches {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self {
            open: Vec::new(),
            for_groups: Budgets::new(FOR_GROUPS, 0, rng),
        }
    }

    /// What they take at most: the body while it grows and is made a message, and the request in the transfer, in its exchange
    /// and as it is sent.
    pub(super) const fn memory_total(largest: usize) -> usize {
        const EXCHANGE: usize = 1_024;
        PLACES * (2 * size_of::<Fetch>() + 5 * largest + 6 * 1_500 + EXCHANGE)
    }

    /// Responses that are being put together.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    fn knows(&self, heard: &Heard, first: u64) -> bool {
        let same = |fetch: &Fetch| {
            fetch.heard.to == heard.to
                && fetch.heard.path.peer == heard.path.peer
                && fetch.first == first
        };
        self.open.iter().any(same)
    }

    /// What is to be given up for one of this peer. The oldest of which only the first block is there gives way, of the same
    /// address if that has its share, and before others one whose request has not left: who sends first blocks does not
    /// decide how many requests leave. An error: there is no room.
    fn gives_way(
        &self,
        peer: SocketAddr,
        has_left: impl Fn(ExchangeId) -> bool,
    ) -> Result<Option<ExchangeId>, ()> {
        let holder = Holder::of(peer.ip());
        let is_own = |fetch: &Fetch| Holder::of(fetch.heard.path.peer.ip()) == holder;
        let own = self.open.iter().filter(|fetch| is_own(fetch)).count();
        let has_share = own >= PLACES_PER_ADDRESS;
        if !has_share && self.open.len() < PLACES {
            return Ok(None);
        }
        let gives_way = |fetch: &Fetch| fetch.begun && (!has_share || is_own(fetch));
        let waits = |fetch: &Fetch| gives_way(fetch) && !has_left(fetch.exchange);
        let waiting = self.open.iter().position(waits);
        let oldest = waiting.or_else(|| self.open.iter().position(gives_way));
        let oldest = oldest.ok_or(())?;
        Ok(self.open.get(oldest).map(|fetch| fetch.exchange))
    }

    fn take(&mut self, exchange: ExchangeId) -> Option<Fetch> {
        let at = self.open.iter().position(|it| it.exchange == exchange)?;
        Some(self.open.remove(at))
    }
}

impl Endpoint {
    /// The first outer block of a protected response, of which there are more: the others are fetched. `None`: it is none.
    pub(super) fn fetch_outer(
        &mut self,
        now: Instant,
        heard: Heard,
        message: &Message<'_>,
    ) -> Option<Fetched> {
        let block = message
            .option(OptionNumber::BLOCK2)
            .and_then(BlockValue::decode)?;
        let body = self.config.security.unfragmented;
        if body == 0 || block.num() > 0 || !block.more() {
            return None;
        }
        let unicast = self.asked_outside(&heard)?;
        let first = self.dedup.fingerprint(message);
        if self.client.outer.knows(&heard, first) {
            return Some(Fetched::Taken);
        }
        let bounds = Bounds {
            size: BlockSize::LARGEST,
            body,
            restarts: 0, // that would be another answer
        };
        let mut transfer = Box::new(Transfer::asked(unicast.request.clone(), bounds));
        let request = match transfer.on_response(Response::from(message)) {
            Step::Send(request) => request,
            Step::Done(_) => return None,
            Step::Failed(failure) => {
                self.not_assembled(&heard, Failure::Body(failure));
                return Some(Fetched::Taken);
            }
        };
        if !self.may_fetch(now, &heard, message, &request) {
            return Some(Fetched::Lost);
        }
        let exchange =
            self.begin_outer(now, &heard, transfer, UnicastRequest { request, ..unicast });
        let Some(exchange) = exchange else {
            self.guard.counters.not_assembled += 1;
            return Some(Fetched::Lost);
        };
        self.client.outer.open.push(Fetch {
            heard,
            token: message.token(),
            first,
            exchange,
            begun: true,
        });
        Some(Fetched::Taken)
    }

    /// Each first block makes this endpoint send something: a source gets no more of that than of failed signatures. To an
    /// address that nobody has asked in person all of them together get no more than this, and little for a small block.
    fn may_fetch(
        &mut self,
        now: Instant,
        heard: &Heard,
        first: &Message<'_>,
        request: &Request,
    ) -> bool {
        let for_group = matches!(heard.to, HeardBy::Collection(_));
        let asks = encoded_bound(&request.options, &request.payload);
        if for_group && asks > LARGER * first.as_bytes().len() {
            self.guard.counters.not_assembled += 1;
            return false;
        }
        let source = heard.path.peer.ip();
        if !self.guard.failures.take(now, source) {
            self.guard.counters.over_budget += 1;
            return false;
        }
        if for_group && !self.client.outer.for_groups.take(now, source) {
            self.guard.failures.give_back(source);
            self.guard.counters.over_budget += 1;
            return false;
        }
        true
    }

    /// Are blocks being fetched that belong to the response to this request?
    pub(super) fn is_fetching_for(&self, id: ExchangeId) -> bool {
        let mut open = self.client.outer.open.iter();
        open.any(|fetch| fetch.heard.to == HeardBy::Exchange(id))
    }

    /// What was put together was opened: what was taken for its first block was well spent.
    pub(super) fn repay_outer(&mut self, heard: &Heard) {
        if !heard.assembled {
            return;
        }
        let source = heard.path.peer.ip();
        self.guard.failures.give_back(source);
        if matches!(heard.to, HeardBy::Collection(_)) {
            self.client.outer.for_groups.give_back(source);
        }
    }

    fn begin_outer(
        &mut self,
        now: Instant,
        heard: &Heard,
        transfer: Box<Transfer>,
        unicast: UnicastRequest,
    ) -> Option<ExchangeId> {
        let client = &self.client;
        let has_left = |id| client.exchanges.sent_as(id).is_some();
        let other = client.outer.gives_way(heard.path.peer, has_left).ok()?;
        // Nobody gives way to what finds no room in the end.
        if self.is_crowded_without(&transfer, other) {
            return None;
        }
        if let Some(other) = other {
            self.client.outer.take(other);
            self.guard.counters.not_assembled += 1;
            self.cancel(now, other);
        }
        let beside = match heard.to {
            HeardBy::Exchange(id) => Some(id),
            _ => None,
        };
        let (owner, nobody) = (Owner::Outer(beside), Sender::Unauthenticated);
        let exchange = self
            .fetch_rest(now, owner, transfer, unicast, nobody)
            .ok()?;
        self.rest_is_to_come(now, beside);
        Some(exchange)
    }

    /// The request to which something was heard, as it was sent, and how its further blocks are asked for.
    fn asked_outside(&self, heard: &Heard) -> Option<UnicastRequest> {
        let (sealed, route, reliability, response_timeout) = match heard.to {
            HeardBy::Exchange(id) => {
                let (sealed, unicast) = self.client.exchanges.sealed_request(id)?;
                let (reliability, timeout) = (unicast.reliability, unicast.response_timeout);
                (sealed, unicast.route, reliability, timeout)
            }
            HeardBy::Collection(id) => {
                let sealed = self.client.collections.sealed_question(id)?;
                let route = Route {
                    socket: heard.path.socket,
                    source: None,
                    interface: heard.path.interface,
                    destination: heard.path.peer,
                };
                (sealed, route, Reliability::Confirmable, None)
            }
            // What registered may have been sent in many messages.
            HeardBy::Observation(..) => return None,
        };
        let mut request = Request::from(&Message::parse(sealed).ok()?);
        if request.method != Code::FETCH {
            request.payload = Vec::new();
        }
        Some(UnicastRequest {
            request,
            route,
            reliability,
            response_timeout,
            protection: Protection::None, // it is protected
        })
    }

    /// One more block is there, and the next one was asked for.
    pub(super) fn outer_went_on(
        &mut self,
        now: Instant,
        exchange: ExchangeId,
        beside: Option<ExchangeId>,
    ) {
        let open = &mut self.client.outer.open;
        if let Some(fetch) = open.iter_mut().find(|it| it.exchange == exchange) {
            fetch.begun = false;
        }
        self.rest_is_to_come(now, beside);
    }

    fn rest_is_to_come(&mut self, now: Instant, beside: Option<ExchangeId>) {
        if let Some(id) = beside {
            let longest = self.config.transfers.patience;
            self.client.exchanges.wait_for_rest(now, id, longest);
        }
    }

    /// All blocks are there, or there will not be more of them.
    pub(super) fn outer_fetched(
        &mut self,
        now: Instant,
        exchange: ExchangeId,
        result: Result<(Path, Sender, Response), Failure>,
    ) {
        let Some(fetch) = self.client.outer.take(exchange) else {
            return;
        };
        let whole = match result {
            Ok((_, _, whole)) if whole.options.get(OptionNumber::OSCORE).is_some() => whole,
            Ok((_, _, error)) => {
                let failure = Failure::OnlyUnprotected(error.code);
                return self.not_assembled(&fetch.heard, failure);
            }
            Err(failure) => return self.not_assembled(&fetch.heard, failure),
        };
        let mut bytes = Vec::new();
        // Its sender on the message layer has been told already, so that type and Message ID mean nothing. What was said of
        // the blocks (ETag, Size2) is class E, and not looked at outside.
        let head = (Type::Non, MessageId(0));
        append(&mut bytes, usize::MAX, head.0, head.1, fetch.token, &whole);
        if let Ok(message) = Message::parse(&bytes) {
            let heard = Heard {
                assembled: true,
                ..fetch.heard
            };
            self.open_again(now, heard, &message);
        }
    }

    /// A response was not put together. Anyone may have sent it, so it ends nothing; if nothing else comes that is how the
    /// exchange will have failed.
    fn not_assembled(&mut self, heard: &Heard, failure: Failure) {
        self.guard.counters.not_assembled += 1;
        if let HeardBy::Exchange(id) = heard.to {
            self.client.exchanges.hint(id, failure);
        }
    }

    /// Blocks of a response that nobody waits for any more are not fetched.
    pub(super) fn cancel_outer_fetches(&mut self, now: Instant) {
        if self.client.outer.open.is_empty() {
            return; // the usual case
        }
        let client = &self.client;
        let is_over = |fetch: &Fetch| match fetch.heard.to {
            HeardBy::Exchange(id) => client.exchanges.sealed_request(id).is_none(),
            HeardBy::Collection(id) => client.collections.sealed_question(id).is_none(),
            HeardBy::Observation(..) => true,
        };
        let open = client.outer.open.iter().filter(|fetch| is_over(fetch));
        let over: Vec<_> = open.map(|fetch| fetch.exchange).collect();
        for exchange in over {
            self.client.outer.take(exchange);
            self.cancel(now, exchange);
        }
    }
}
