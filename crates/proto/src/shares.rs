//! How much of a table each host has taken, so that none takes it all.
//!
//! What counts as one is what one host can have as its own: an IPv4 address, and in IPv6 a whole /64 prefix, from
//! which a host picks as many addresses as it likes (RFC 4862, RFC 8273).

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use hashbrown::HashMap;

use crate::rng::{KeyedHash, Rng};

/// The shares of one table. Ports do not matter: whoever has an address has all its ports.
pub(crate) struct Shares {
    taken: HashMap<Holder, usize, KeyedHash>,
    each: usize,
}

impl Shares {
    /// At most `each` places for one holder.
    pub(crate) fn new(each: usize, rng: &mut Rng) -> Self {
        Self {
            taken: HashMap::with_hasher(rng.keyed_hash()),
            each,
        }
    }

    /// Takes one place; false if the holder of this address has its share already.
    pub(crate) fn take(&mut self, peer: SocketAddr) -> bool {
        let holder = Holder::of(peer.ip());
        let taken = self.taken.entry(holder).or_default();
        if *taken >= self.each {
            if *taken == 0 {
                self.taken.remove(&holder);
            }
            return false;
        }
        *taken += 1;
        true
    }

    /// Gives one place back.
    pub(crate) fn give_back(&mut self, peer: SocketAddr) {
        let holder = Holder::of(peer.ip());
        if let Some(taken) = self.taken.get_mut(&holder) {
            *taken = taken.saturating_sub(1);
            if *taken == 0 {
                self.taken.remove(&holder);
            }
        }
    }

    /// The memory for the shares of a table with `places` places, at most.
    pub(crate) const fn memory_total(places: usize) -> usize {
        4 * places * (size_of::<(Holder, usize)>() + 1) + 256
    }
}

/// Who has a share: an address, or the first address of the /64 prefix that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Holder(IpAddr);

impl Holder {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(v6) if !is_common(v6) => {
                Self(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into())
            }
            address => Self(address),
        }
    }
}

/// Many hosts have the /64 prefix of this address: all neighbours share the link-local one (RFC 4291 section 2.5.6),
/// all of IPv4 stands behind the one for translated addresses (RFC 6052 section 2.1).
fn is_common(address: Ipv6Addr) -> bool {
    address.is_unicast_link_local()
        || matches!(address.segments(), [0x64, 0xff9b, 0, 0, 0, 0, _, _])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Do these two addresses share?
    fn one_holder(a: &str, b: &str) -> bool {
        let [a, b] = [a, b].map(|address| SocketAddr::new(address.parse().unwrap(), 5683));
        let mut shares = Shares::new(1, &mut Rng::from_seed([1; 32]));
        assert!(shares.take(a));
        let refused = !shares.take(b);
        if refused {
            shares.give_back(b); // whichever address gives back
            assert!(shares.taken.is_empty());
        }
        refused
    }

    #[test]
    fn in_ipv6_the_first_64_bits_have_one_share() {
        let first = "2001:db8:1:2::";
        assert!(one_holder(first, "2001:db8:1:2::1"));
        assert!(one_holder(first, "2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert!(one_holder(first, "2001:db8:1:2:8000::"));
        assert!(!one_holder(first, "2001:db8:1:3::"), "bit 64");
        assert!(!one_holder(first, "2001:db8:1:1:ffff:ffff:ffff:ffff"));
        assert!(!one_holder(first, "a001:db8:1:2::"), "bit 1");
        assert!(one_holder("fd00::1", "fd00::2"), "unique local");
    }

    #[test]
    fn what_many_hosts_share_is_counted_by_address() {
        // fe80::/10, and one address before and after it.
        assert!(!one_holder("fe80::1", "fe80::2"));
        assert!(!one_holder(
            "febf:ffff:ffff:ffff::1",
            "febf:ffff:ffff:ffff::2"
        ));
        assert!(one_holder(
            "fe7f:ffff:ffff:ffff::1",
            "fe7f:ffff:ffff:ffff::2"
        ));
        assert!(one_holder("fec0::1", "fec0::2"));
        // 64:ff9b::/96, and what follows.
        assert!(!one_holder("64:ff9b::a00:1", "64:ff9b::a00:2"));
        assert!(one_holder("64:ff9b::1:0:1", "64:ff9b::2:0:1"));
        assert!(!one_holder("64:ff9b::ffff:ffff", "64:ff9b::1:0:0"));
        // IPv4, also as it is seen by an IPv6 socket.
        assert!(!one_holder("10.0.0.1", "10.0.0.2"));
        assert!(!one_holder("::ffff:10.0.0.1", "::ffff:10.0.0.2"));
        assert!(one_holder("::ffff:10.0.0.1", "10.0.0.1"));
        assert!(one_holder("fe80::1", "fe80::1"));
    }

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

    #[test]
    fn the_stated_memory_grows_with_the_places() {
        let each = 4 * (size_of::<(Holder, usize)>() + 1);
        assert_eq!(Shares::memory_total(0), 256);
        assert_eq!(Shares::memory_total(9), 9 * each + 256);
    }
}
