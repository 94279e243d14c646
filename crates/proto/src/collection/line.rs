//! The line of answers of which blocks are missing: who is fetched next.
//!
//! Expected members, and whoever is proven, go before strangers. Strangers have half of what there is, in the line and of
//! what is fetched at the same time, and one address of theirs is fetched once at a time; those come first of whose /64 prefix
//! none is. One prefix has no more of the line than is left free to others: half of what strangers have if it is alone, the less the
//! more are full. Of what is fetched at the same time it leaves one place to others, if strangers have more than one.

use alloc::collections::VecDeque;
use core::net::IpAddr;

use super::CollectionId;
use super::body::BodyWanted;
use crate::shares::Holder;

/// So many wait at most for their turn.
const WAITING: usize = 1_024;

/// Whose answer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rank {
    /// That of an expected member, or of somebody proven.
    Known,
    /// That of somebody at this address.
    Stranger(IpAddr),
}

impl Rank {
    fn holder(self) -> Option<Holder> {
        match self {
            Self::Known => None,
            Self::Stranger(address) => Some(Holder::of(address)),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Line {
    known: VecDeque<BodyWanted>,
    strangers: VecDeque<BodyWanted>,
    /// What is kept of those that were begun and wait again.
    bytes: usize,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.known.len() + self.strangers.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// May one more wait?
    pub(super) fn has_room(&self, rank: Rank) -> bool {
        let Some(holder) = rank.holder() else {
            return self.len() < WAITING;
        };
        let free = (WAITING / 2).saturating_sub(self.strangers.len());
        let of_holder = |wanted: &&BodyWanted| wanted.rank.holder() == Some(holder);
        self.len() < WAITING && self.strangers.iter().filter(of_holder).count() < free
    }

    /// The last one waits behind all others.
    pub(super) fn push(&mut self, wanted: BodyWanted) {
        self.bytes += wanted.kept();
        match wanted.rank {
            Rank::Known => self.known.push_back(wanted),
            Rank::Stranger(_) => self.strangers.push_back(wanted),
        }
    }

    /// The next one, beside those that are being fetched.
    pub(super) fn next(&mut self, under_way: &[Rank], at_once: usize) -> Option<BodyWanted> {
        if under_way.len() >= at_once {
            return None;
        }
        let next = match self.known.pop_front() {
            Some(known) => known,
            None => {
                let strangers = under_way.iter().filter(|rank| **rank != Rank::Known);
                let places = (at_once / 2).max(1);
                if strangers.count() >= places {
                    return None;
                }
                let of_host = |wanted: &BodyWanted| {
                    let holder = wanted.rank.holder();
                    let of_host = under_way.iter().filter(|rank| rank.holder() == holder);
                    of_host.count()
                };
                let same_address = |wanted: &BodyWanted| under_way.contains(&wanted.rank);
                let of_others = self.strangers.iter().position(|w| of_host(w) == 0);
                let place = of_others.or_else(|| {
                    self.strangers
                        .iter()
                        .position(|w| !same_address(w) && of_host(w) + 1 < places)
                })?;
                self.strangers.remove(place)?
            }
        };
        self.bytes = self.bytes.saturating_sub(next.kept());
        Some(next)
    }

    /// A question is over.
    pub(super) fn forget(&mut self, id: CollectionId) {
        let bytes = &mut self.bytes;
        for line in [&mut self.known, &mut self.strangers] {
            line.retain(|wanted| {
                let stays = wanted.collection != id;
                if !stays {
                    *bytes = bytes.saturating_sub(wanted.kept());
                }
                stays
            });
        }
    }
}

impl BodyWanted {
    /// The memory of what is there of it, if it was begun before.
    fn kept(&self) -> usize {
        match self.deadline {
            Some(_) => self.transfer.footprint(),
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon_wire::Code;

    use super::*;
    use crate::block::{BlockSize, Transfer, TransferLimits};
    use crate::identity::Sender;
    use crate::message::Request;
    use crate::path::{Path, Route, SocketId};
    use crate::security::Protection;
    use crate::time::Instant;

    fn stranger(n: u16) -> Rank {
        let [high, low] = n.to_be_bytes();
        Rank::Stranger([10, 1, high, low].into())
    }

    fn wanted(n: u32, rank: Rank) -> BodyWanted {
        let socket = SocketId(1);
        let local = ([10, 9, 9, 9], 40_000).into();
        let peer = ([10, 0, 0, 1], 5_683).into();
        let request = Request::new(Code::GET);
        let bounds = TransferLimits::default().bounds(BlockSize::LARGEST);
        BodyWanted {
            collection: CollectionId(u64::from(n % 2)),
            n,
            path: Path {
                socket,
                local,
                interface: 1,
                peer,
            },
            sender: Sender::Unauthenticated,
            route: Route {
                socket,
                source: None,
                interface: 1,
                destination: peer,
            },
            protection: Protection::None,
            transfer: alloc::boxed::Box::new(Transfer::asked(request.clone(), bounds)),
            request,
            rank,
            within: core::time::Duration::ZERO,
            deadline: None,
        }
    }

    #[test]
    fn known_ones_go_first_and_strangers_have_half_and_one_place_each() {
        let mut line = Line::default();
        let ranks = [
            stranger(1),
            stranger(1),
            stranger(2),
            Rank::Known,
            Rank::Known,
        ];
        for (n, rank) in ranks.into_iter().enumerate() {
            line.push(wanted(n as u32, rank));
        }
        let mut next = |under_way: &[Rank], at_once| line.next(under_way, at_once).map(|w| w.n);
        let known = Rank::Known;
        assert_eq!(next(&[known; 4], 4), None, "all places are taken");
        assert_eq!(next(&[known; 3], 4), Some(3));
        assert_eq!(next(&[stranger(1), stranger(2)], 4), Some(4));
        assert_eq!(next(&[stranger(8), stranger(9)], 4), None, "half");
        assert_eq!(next(&[stranger(8), stranger(9)], 5), None);
        assert_eq!(next(&[stranger(8), known], 4), Some(0));
        assert_eq!(next(&[stranger(1), stranger(2)], 6), None, "one each");
        assert_eq!(next(&[stranger(1)], 4), Some(2), "the next of another");
        assert_eq!(next(&[], 0), None);
        assert_eq!(next(&[], 1), Some(1), "one place is for everybody");
        assert_eq!(next(&[], 9), None);
    }

    #[test]
    fn of_one_prefix_strangers_are_fetched_behind_those_of_others() {
        let stranger = |text: &str| Rank::Stranger(text.parse().unwrap());
        let (a, b, c) = (
            stranger("2001:db8::1"),
            stranger("2001:db8::2"),
            stranger("2001:db9::1"),
        );
        let mut line = Line::default();
        for (n, rank) in [a, b, c].into_iter().enumerate() {
            line.push(wanted(n as u32, rank));
        }
        let mut next = |under_way: &[Rank]| line.next(under_way, 9).map(|w| w.n);
        assert_eq!(next(&[a]), Some(2), "of another prefix");
        assert_eq!(next(&[a, c]), Some(1), "then another address");
        assert_eq!(next(&[a, b, c]), None);
        assert_eq!(next(&[b]), Some(0));
    }

    /// The n-th stranger of a prefix.
    fn of_prefix(prefix: u16, n: u16) -> Rank {
        let address = core::net::Ipv6Addr::from([0x2001, 0xdb8, 0, prefix, 0, 0, 0, n]);
        Rank::Stranger(address.into())
    }

    #[test]
    fn one_prefix_leaves_one_of_the_places_to_others() {
        let mut line = Line::default();
        line.push(wanted(0, of_prefix(1, 9)));
        let own = [1, 2, 3].map(|n| of_prefix(1, n));
        assert!(line.next(&own, 8).is_none(), "three of four");
        line.push(wanted(1, of_prefix(2, 1)));
        assert_eq!(line.next(&own, 8).map(|w| w.n), Some(1));
        assert_eq!(line.next(&own[1..], 8).map(|w| w.n), Some(0));
        // Where strangers have two places it has one, and if they have one, then that.
        line.push(wanted(2, of_prefix(1, 9)));
        assert!(line.next(&own[2..], 5).is_none());
        assert!(line.next(&own[2..], 3).is_none());
        assert_eq!(line.next(&[], 3).map(|w| w.n), Some(2));
    }

    #[test]
    fn one_prefix_has_no_more_of_the_line_than_is_left_to_others() {
        let mut line = Line::default();
        for (prefix, places) in [(1, 256), (2, 128), (3, 64)] {
            for n in 0..places {
                assert!(line.has_room(of_prefix(prefix, n)));
                line.push(wanted(0, of_prefix(prefix, n)));
            }
            assert!(!line.has_room(of_prefix(prefix, 999)));
        }
        assert!(line.has_room(of_prefix(4, 1)) && line.has_room(Rank::Known));
        assert_eq!(line.len(), 448);
        // Those of one prefix whose addresses are those of neighbours do not count together.
        for n in 0..64 {
            let neighbour = core::net::Ipv6Addr::from([0xfe80, 0, 0, 0, 0, 0, 0, n]);
            assert!(line.has_room(Rank::Stranger(neighbour.into())));
            line.push(wanted(0, Rank::Stranger(neighbour.into())));
        }
        assert!(!line.has_room(of_prefix(4, 1)) && line.has_room(Rank::Known));
    }

    #[test]
    fn strangers_fill_half_of_the_line() {
        let mut line = Line::default();
        for n in 0..512 {
            assert!(line.has_room(stranger(n)));
            line.push(wanted(0, stranger(n)));
        }
        assert!(!line.has_room(stranger(512)));
        for _ in 0..512 {
            assert!(line.has_room(Rank::Known));
            line.push(wanted(0, Rank::Known));
        }
        assert!(!line.has_room(Rank::Known));
        line.next(&[], 1).unwrap();
        assert!(line.has_room(Rank::Known) && !line.has_room(stranger(512)));
        assert_eq!(line.len(), 1_023);
    }

    #[test]
    fn what_was_begun_is_counted_as_long_as_it_waits() {
        let mut line = Line::default();
        let begun = |n, rank| BodyWanted {
            deadline: Some(Instant::ZERO),
            ..wanted(n, rank)
        };
        line.push(wanted(0, Rank::Known));
        assert_eq!(line.bytes(), 0);
        let each = wanted(0, Rank::Known).transfer.footprint();
        for n in 1..=3 {
            line.push(begun(n, Rank::Known));
        }
        line.push(begun(5, stranger(1)));
        assert_eq!(line.bytes(), 4 * each);
        assert_eq!(line.next(&[], 9).map(|w| w.n), Some(0));
        assert_eq!(line.bytes(), 4 * each);
        assert_eq!(line.next(&[], 9).map(|w| w.n), Some(1));
        assert_eq!(line.bytes(), 3 * each);
        line.forget(CollectionId(1)); // 3 and 5
        assert_eq!((line.len(), line.bytes()), (1, each));
        line.forget(CollectionId(0));
        assert_eq!((line.len(), line.bytes()), (0, 0));
    }
}
