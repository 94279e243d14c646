//! Message IDs: a sequence of its own towards each destination (RFC 7252 section 4.4).
//!
//! A sequence starts at a random value, so that an off-path attacker does not know it and a restart does
//! not repeat the last run's values. Towards one destination a value comes again only after 65,536 messages.

use alloc::collections::VecDeque;
use core::net::{IpAddr, SocketAddr};

use antiphon_wire::MessageId;
use hashbrown::HashMap;

use crate::rng::{KeyedHash, Rng};

/// How many destinations are remembered; the one remembered longest gives way, and gets a new random start when it comes back.
const DESTINATIONS: usize = 4_096;

/// Hands out Message IDs.
#[derive(Debug)]
pub struct MessageIds {
    next: HashMap<(IpAddr, u16), u16, KeyedHash>,
    order: VecDeque<(IpAddr, u16)>,
}

impl MessageIds {
    /// No destination is known yet.
    pub fn new(rng: &mut Rng) -> Self {
        Self {
            next: HashMap::with_hasher(rng.keyed_hash()),
            order: VecDeque::new(),
        }
    }

    /// A fresh Message ID towards `destination`.
    pub fn next(&mut self, rng: &mut Rng, destination: SocketAddr) -> MessageId {
        let key = (destination.ip(), destination.port());
        if let Some(next) = self.next.get_mut(&key) {
            *next = next.wrapping_add(1);
            return MessageId(*next);
        }
        if self.order.len() >= DESTINATIONS
            && let Some(oldest) = self.order.pop_front()
        {
            self.next.remove(&oldest);
        }
        let start = rng.u16();
        self.next.insert(key, start);
        self.order.push_back(key);
        MessageId(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn peer(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn a_destination_sees_every_value_once_before_any_comes_again() {
        let mut rng = Rng::from_seed([1; 32]);
        let mut ids = MessageIds::new(&mut rng);
        let seen: HashSet<u16> = (0..65_536).map(|_| ids.next(&mut rng, peer(1)).0).collect();
        assert_eq!(seen.len(), 65_536);
    }

    #[test]
    fn destinations_have_sequences_of_their_own_with_random_starts() {
        let mut rng = Rng::from_seed([1; 32]);
        let mut ids = MessageIds::new(&mut rng);
        let first = ids.next(&mut rng, peer(1)).0;
        let other = ids.next(&mut rng, peer(2)).0;
        assert_ne!(other, first.wrapping_add(1), "not one sequence for all");
        assert_eq!(ids.next(&mut rng, peer(1)).0, first.wrapping_add(1));
        let mut rng = Rng::from_seed([2; 32]);
        let again = MessageIds::new(&mut rng).next(&mut rng, peer(1)).0;
        assert_ne!(again, first, "another seed, another start");
    }

    #[test]
    fn memory_is_bounded() {
        let mut rng = Rng::from_seed([1; 32]);
        let mut ids = MessageIds::new(&mut rng);
        for port in 0..10_000 {
            ids.next(&mut rng, peer(port));
        }
        assert_eq!(
            (ids.next.len(), ids.order.len()),
            (DESTINATIONS, DESTINATIONS)
        );
    }
}
