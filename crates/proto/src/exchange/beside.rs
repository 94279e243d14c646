//! Exchanges that stand in the place of another one, of whose response a part is there. That one is not outstanding any more
//! (RFC 7252 section 4.7), though it is not over. So one of them is outstanding at a time, and the others wait for it.

use alloc::vec::Vec;

use super::{ExchangeId, Exchanges, Owner, peer_key};

impl<C> Owner<C> {
    /// The exchange in whose place this one stands.
    pub(super) fn beside(&self) -> Option<ExchangeId> {
        match self {
            #[cfg(feature = "oscore")]
            Self::Outer(beside) => *beside,
            _ => None,
        }
    }

    /// Is the exchange there because of what nobody has proven? Then how it ends holds no peer back, and releases none:
    /// PROBING_RATE goes by the request that it belongs to.
    pub(super) fn is_for_unproven(&self) -> bool {
        match self {
            #[cfg(feature = "oscore")]
            Self::Outer(_) => true,
            _ => false,
        }
    }
}

/// Those that are not over, in the order in which they came.
#[derive(Default)]
pub(super) struct Beside(Vec<Place>);

struct Place {
    of: ExchangeId,
    id: ExchangeId,
    /// It may leave, or has left.
    is_let_go: bool,
}

impl Beside {
    pub(super) fn waits(&self, id: ExchangeId) -> bool {
        self.0
            .iter()
            .any(|place| place.id == id && !place.is_let_go)
    }

    /// The one whose turn it is, if it is that of none yet.
    fn next(&mut self, of: ExchangeId) -> Option<ExchangeId> {
        let mut same = self.0.iter_mut().filter(|place| place.of == of);
        let first = same.next()?;
        if first.is_let_go || same.any(|place| place.is_let_go) {
            return None;
        }
        let first = self.0.iter_mut().find(|place| place.of == of)?;
        first.is_let_go = true;
        Some(first.id)
    }
}

impl<C: Clone> Exchanges<C> {
    /// Takes one that is new.
    pub(super) fn stand_beside(&mut self, of: ExchangeId, id: ExchangeId) {
        self.beside.0.push(Place {
            of,
            id,
            is_let_go: false,
        });
        self.let_next_go(of);
    }

    /// One is over: it is the turn of the next one. So those that have many blocks to fetch take turns, block by block.
    pub(super) fn no_more_beside(&mut self, of: ExchangeId, id: ExchangeId) {
        self.beside.0.retain(|place| place.id != id);
        // Without that exchange nobody waits for them any more.
        if self.table.contains_key(&of) {
            self.let_next_go(of);
        }
    }

    fn let_next_go(&mut self, of: ExchangeId) {
        let Some(next) = self.beside.next(of) else {
            return;
        };
        if let Some(exchange) = self.table.get(&next) {
            let peer = peer_key(exchange.unicast.route.destination);
            self.peers.entry(peer).or_default().outstanding += 1;
            self.ready.push_back(next);
        }
    }
}
