//! A protected request that its receiver would refuse by the time it is repeated.
//!
//! A repetition is the same bytes, with the same Partial IV. If its receiver has heard more messages of this endpoint
//! meanwhile than its Replay Window spans, commands to the group above all, it takes the repetition for a replay and says nothing. So
//! if the own Sender Sequence Number has moved on so far, and the request may be processed twice, it begins again in the
//! place of the repetition: a new request, protected at that moment, with a Partial IV, Message ID and token of its own. How
//! often something is sent, and when, stays as it was.
//!
//! Whatever still comes to the earlier message is bound to its Partial IV, and is not taken for an answer to the new one.

use alloc::boxed::Box;
use alloc::vec::Vec;

use antiphon_wire::{Code, Header, MessageId, OptionNumber};

use super::Endpoint;
use super::client::Question;
use super::protect::Outgoing;
use crate::exchange::{ExchangeId, Owner, Unprotected};
use crate::path::Route;
use crate::security::{Asked, ContextId};
use crate::time::Instant;

/// A Replay Window spans so many numbers (RFC 8613 section 3.2.2).
const WINDOW: u64 = 32;
/// So many further messages leave no doubt that the earlier one is behind the window. Whatever has an effect begins again
/// then and not before, so that of the two messages the earlier one cannot be processed after the later one.
const BEHIND: u64 = WINDOW;
/// For what has no effect half of them are enough: others may leave while it is on its way.
const SOON_BEHIND: u64 = WINDOW / 2;

impl Endpoint {
    /// A Confirmable message is to be sent again. True: it is a protected request that begins again instead.
    pub(super) fn begins_again(&mut self, now: Instant, route: &Route, bytes: &[u8]) -> bool {
        let mid = Header::peek(bytes).map(|header| header.message_id);
        let Some(id) = mid.and_then(|mid| self.is_outrun(route, mid)) else {
            return false;
        };
        let Some(bare) = self.client.exchanges.begin_again(&mut self.rng, id) else {
            return false;
        };
        self.protect(now, Outgoing::Question(Question::ToPeer(Box::new(bare))));
        true
    }

    /// The exchange of this message, if that is a request to be begun again.
    fn is_outrun(&self, route: &Route, mid: MessageId) -> Option<ExchangeId> {
        let client = &self.client;
        let (id, owner, unicast, asked) =
            client.exchanges.may_begin_again(route.destination, mid)?;
        let allowance = match unicast.request.method {
            // A server that has taken a block of a request knows it again by its Message ID alone.
            _ if unicast.request.options.get(OptionNumber::BLOCK1).is_some() => return None,
            Code::GET | Code::FETCH => SOON_BEHIND,
            Code::PUT | Code::DELETE | Code::IPATCH => BEHIND,
            _ => match owner {
                Owner::Completion((collection, _))
                    if client.collections.may_be_processed_twice(*collection) =>
                {
                    BEHIND
                }
                _ => return None,
            },
        };
        (self.sent_since(asked)? >= allowance && !self.is_fetching_for(id)).then_some(id)
    }

    /// How many numbers were used after that of this request. `None`: it was protected under other keys, or in a pair,
    /// where the receiver hears nothing beside what it is asked.
    fn sent_since(&self, asked: &Asked) -> Option<u64> {
        let ContextId::Group(group) = asked.context() else {
            return None;
        };
        let group = self.guard.contexts.group(group)?;
        let same =
            group.sender_id() == Some(asked.kid()) && asked.kid_context() == Some(group.gid());
        let next = group.sequence().filter(|_| same)?.next();
        next.checked_sub(asked.partial_iv().value() + 1)
    }

    /// A request that begins again is protected, and leaves in the place of that message; unless that was acknowledged
    /// meanwhile.
    pub(super) fn begun_again(
        &mut self,
        now: Instant,
        request: &Unprotected,
        instead_of: MessageId,
        mut bytes: Vec<u8>,
        asked: Option<Box<Asked>>,
    ) {
        let (id, peer) = (request.exchange, request.peer);
        if self.is_fetching_for(id) {
            return self.repeat_as_before(id, instead_of);
        }
        let unsettled = self.confirmables.unsettled(peer, instead_of);
        let Some(route) = unsettled.map(|(route, _)| route) else {
            return;
        };
        if !self.client.exchanges.end_again(id, instead_of) {
            return;
        }
        let mid = self.message_ids.next(now, &mut self.rng, peer);
        if let Some(place) = bytes.get_mut(2..4) {
            place.copy_from_slice(&mid.0.to_be_bytes());
        }
        self.client.exchanges.begun_again(id, &bytes, asked);
        self.confirmables.replace(peer, instead_of, bytes.clone());
        self.counters.retransmissions += 1;
        self.outbox.push(route, |out| out.extend_from_slice(&bytes));
    }

    /// A request that was to begin again cannot: that message is repeated as it was.
    pub(super) fn repeat_as_before(&mut self, id: ExchangeId, instead_of: MessageId) {
        if !self.client.exchanges.end_again(id, instead_of) {
            return;
        }
        let Some((peer, mid)) = self.client.exchanges.sent_as(id) else {
            return;
        };
        if let Some((route, bytes)) = self.confirmables.unsettled(peer, mid) {
            self.counters.retransmissions += 1;
            self.outbox.push(route, |out| out.extend_from_slice(bytes));
        }
    }
}
