//! What an exchange has to do with a response that comes in outer blocks.

use core::time::Duration;

use super::{ExchangeId, Exchanges, Owner, Timer, UnicastRequest};
use crate::time::Instant;

impl<C: Clone> Exchanges<C> {
    /// A request as it was sent, protected, and how; `None` if it was not.
    pub(crate) fn sealed_request(&self, id: ExchangeId) -> Option<(&[u8], &UnicastRequest)> {
        let exchange = self.table.get(&id)?;
        exchange.sent?;
        Some((exchange.sealed.as_deref()?, &exchange.unicast))
    }

    /// Does the exchange fetch an outer block?
    pub(crate) fn is_for_outer(&self, id: ExchangeId) -> bool {
        self.table
            .get(&id)
            .is_some_and(|exchange| matches!(exchange.owner, Owner::Outer(_)))
    }

    /// A part of the response is there: the others are waited for as the first one was, but no longer than this after the
    /// request has left. As long as the request is repeated, that is its limit.
    pub(crate) fn wait_for_rest(&mut self, now: Instant, id: ExchangeId, longest: Duration) {
        let wait = self.parameters.max_transmit_wait();
        let Some(exchange) = self.table.get_mut(&id) else {
            return;
        };
        let (Some(sent), Some(set)) = (exchange.sent, exchange.deadline) else {
            return;
        };
        let wait = exchange.unicast.response_timeout.unwrap_or(wait);
        let deadline = (now + wait).min(sent + longest);
        if deadline > set {
            exchange.deadline = Some(deadline);
            self.schedule(deadline, Timer::Deadline(id));
        }
    }
}
