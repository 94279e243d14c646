//! A protected request that its receiver would refuse by the time it is repeated.
//!
//! A repetition is the same bytes, with the same Partial IV. If its receiver has heard more messages of this endpoint
//! meanwhile than its Replay Window spans, commands to the group above all, it takes the repetition for a replay and says nothing. So
//! if the own Sender Sequence Number has moved on so far, and the request may be processed twice, it begins again in the
//! place of the repetition: a new request, protected at that moment, with a Partial IV, Message ID and token of its own. How
//! often something is sent, and when, stays as it was.
//!
//! Whatever still comes to the earlier message is bound to its Partial IV, and is not taken for an answer to the new one. What
//! has come is opened first. A request is not ordered with what was sent after it: when it begins again it comes after that.

use alloc::boxed::Box;
use alloc::vec::Vec;

use antiphon_wire::{Code, MessageId, OptionNumber};

use super::Endpoint;
use super::client::Question;
use super::hear::HeardBy;
use super::protect::{FromStranger, Outgoing, Parked};
use crate::exchange::{ExchangeId, Owner, Unprotected};
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
    /// A Confirmable request is to be sent again. True: it is a protected one, and begins again instead.
    pub(super) fn begins_again(&mut self, now: Instant, id: ExchangeId) -> bool {
        if !self.is_outrun(id).unwrap_or(false) {
            return false;
        }
        let Some(bare) = self.client.exchanges.begin_again(&mut self.rng, id) else {
            return false;
        };
        self.protect(now, Outgoing::Question(Question::ToPeer(Box::new(bare))));
        true
    }

    /// Is this request one to be begun again? `None`: whatever has been sent since.
    fn is_outrun(&self, id: ExchangeId) -> Option<bool> {
        let client = &self.client;
        let (owner, unicast, asked) = client.exchanges.may_begin_again(id)?;
        let has = |number| unicast.request.options.get(number).is_some();
        let allowance = match unicast.request.method {
            // A server that has taken a block of a request knows it again by its Message ID alone.
            _ if has(OptionNumber::BLOCK1) => return None,
            // What the request itself has done may be what its condition forbids.
            _ if has(OptionNumber::IF_MATCH) || has(OptionNumber::IF_NONE_MATCH) => return None,
            // A registration takes the place of the one before, a deregistration ends it.
            Code::GET | Code::FETCH if !has(OptionNumber::OBSERVE) => SOON_BEHIND,
            Code::GET | Code::FETCH | Code::PUT | Code::DELETE | Code::IPATCH => BEHIND,
            _ => match owner {
                Owner::Completion((collection, _))
                    if client.collections.may_be_processed_twice(*collection) =>
                {
                    BEHIND
                }
                _ => return None,
            },
        };
        Some(self.sent_since(asked)? >= allowance && !self.is_being_answered(id))
    }

    /// Has a response to what was sent come in, of which the rest is being fetched, or which is being opened?
    fn is_being_answered(&self, id: ExchangeId) -> bool {
        let to = HeardBy::Exchange(id);
        let opened = |parked: &Parked| match parked {
            Parked::Response(heard, _) => heard.to == to,
            Parked::Stranger(FromStranger::Response(heard), _) => heard.to == to,
            _ => false,
        };
        self.is_fetching_for(id) || self.parking.tickets().any(opened)
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
    /// meanwhile. If a response is there that may answer that message, or if this one was protected under other keys or another
    /// Sender ID, under which the earlier one could be processed after it, that message is repeated.
    pub(super) fn begun_again(
        &mut self,
        now: Instant,
        request: &Unprotected,
        instead_of: MessageId,
        mut bytes: Vec<u8>,
        asked: Option<Box<Asked>>,
    ) {
        let (id, peer) = (request.exchange, request.peer);
        let asked_before = self.client.exchanges.asked_mut(id);
        let same = asked.as_deref().zip(asked_before).is_some_and(|(a, b)| {
            (a.context(), a.kid(), a.kid_context()) == (b.context(), b.kid(), b.kid_context())
        });
        if !same || self.is_being_answered(id) {
            return self.repeat_as_before(id, instead_of);
        }
        let unsettled = self.confirmables.unsettled(id, peer, instead_of);
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
        if let Some((route, bytes)) = self.confirmables.unsettled(id, peer, mid) {
            self.counters.retransmissions += 1;
            self.outbox.push(route, |out| out.extend_from_slice(bytes));
        }
    }
}
