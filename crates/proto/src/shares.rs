//! How much of a table each address has taken, so that none takes it all.

use core::net::{IpAddr, SocketAddr};

use hashbrown::HashMap;

use crate::rng::{KeyedHash, Rng};

/// The shares of one table. Ports do not matter: whoever has an address has all its ports.
pub(crate) struct Shares {
    taken: HashMap<IpAddr, usize, KeyedHash>,
    each: usize,
}

impl Shares {
    /// At most `each` places for one address.
    pub(crate) fn new(each: usize, rng: &mut Rng) -> Self {
        Self {
            taken: HashMap::with_hasher(rng.keyed_hash()),
            each,
        }
    }

    /// Takes one place; false if the address has its share already.
    pub(crate) fn take(&mut self, peer: SocketAddr) -> bool {
        let taken = self.taken.entry(peer.ip().to_canonical()).or_default();
        if *taken >= self.each {
            if *taken == 0 {
                self.taken.remove(&peer.ip().to_canonical());
            }
            return false;
        }
        *taken += 1;
        true
    }

    /// Gives one place back.
    pub(crate) fn give_back(&mut self, peer: SocketAddr) {
        let ip = peer.ip().to_canonical();
        if let Some(taken) = self.taken.get_mut(&ip) {
            *taken = taken.saturating_sub(1);
            if *taken == 0 {
                self.taken.remove(&ip);
            }
        }
    }

    /// The memory for the shares of a table with `places` places, at most.
    pub(crate) const fn memory_total(places: usize) -> usize {
        4 * places * (size_of::<(IpAddr, usize)>() + 1) + 256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8, port: u16) -> SocketAddr {
        ([10, 0, 0, last], port).into()
    }

    #[test]
    fn each_address_has_its_share_and_what_is_given_back_can_be_taken_again() {
        let mut shares = Shares::new(2, &mut Rng::from_seed([1; 32]));
        assert!(shares.take(at(1, 1)) && shares.take(at(1, 2)));
        assert!(!shares.take(at(1, 3)), "whatever the port");
        assert!(!shares.take("[::ffff:10.0.0.1]:1".parse().unwrap()));
        assert!(shares.take(at(2, 1)));
        shares.give_back(at(1, 9));
        assert!(shares.take(at(1, 1)));
        assert!(!shares.take(at(1, 1)));
        for _ in 0..3 {
            shares.give_back(at(1, 1));
        }
        shares.give_back(at(2, 1));
        assert!(
            shares.taken.is_empty(),
            "nothing is kept of who has nothing"
        );
    }

    #[test]
    fn a_share_of_nothing_is_nothing() {
        let mut shares = Shares::new(0, &mut Rng::from_seed([1; 32]));
        assert!(!shares.take(at(1, 1)));
        assert!(shares.taken.is_empty());
    }
}
