//! Answers that were not kept: an answer to an older request that is still under way is not fresh, as the same server has
//! said something newer.

use alloc::collections::BTreeMap;

use super::{Context, Key, ResourcePath, Responder, Shareholder};

/// So many of them are remembered: as many as a cache keeps answers by default. What is forgotten may let an answer be fresh that
/// its server has revoked, until its Max-Age; only if it is still under way after so many others have come.
const PLACES: usize = 1_024;

/// When the requests left whose answers were not kept, by server and resource.
#[derive(Debug, Default)]
pub(super) struct Overtaken {
    /// By whose share they count against. None is empty.
    shares: BTreeMap<Shareholder, BTreeMap<Answered, u64>>,
    len: usize,
}

/// Who has answered, about what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Answered {
    path: ResourcePath,
    context: Context,
    responder: Responder,
}

impl Answered {
    fn of(key: &Key) -> Self {
        Self {
            path: key.request.path.clone(),
            context: key.context,
            responder: key.responder.clone(),
        }
    }
}

impl Overtaken {
    /// An answer to a request that left at this moment is not kept.
    pub(super) fn note(&mut self, key: &Key, asked: u64) {
        let (holder, answered) = (key.shareholder(), Answered::of(key));
        if let Some(last) = self.last_mut(&holder, &answered) {
            *last = asked.max(*last);
            return;
        }
        if self.len >= PLACES {
            self.make_room();
        }
        let share = self.shares.entry(holder).or_default();
        share.insert(answered, asked);
        self.len += 1;
    }

    /// Was there one to a request that left after this moment, from the same server about the same resource?
    pub(super) fn since(&self, key: &Key, asked: u64) -> bool {
        if self.shares.is_empty() {
            return false; // the usual case
        }
        let share = self.shares.get(&key.shareholder());
        share
            .and_then(|share| share.get(&Answered::of(key)))
            .is_some_and(|last| *last > asked)
    }

    fn last_mut(&mut self, holder: &Shareholder, answered: &Answered) -> Option<&mut u64> {
        self.shares.get_mut(holder)?.get_mut(answered)
    }

    /// The oldest of whoever has most gives way; where several have as much, the oldest of theirs, of strangers first.
    fn make_room(&mut self) {
        let claim = |holder: &Shareholder, share: &BTreeMap<_, _>| {
            let is_stranger = matches!(holder, Shareholder::Host(_));
            (share.len(), is_stranger)
        };
        let claims = self
            .shares
            .iter()
            .map(|(holder, share)| claim(holder, share));
        let Some(largest) = claims.max() else {
            return;
        };
        let largest_ones =
            (self.shares.iter()).filter(|(holder, share)| claim(holder, share) == largest);
        let oldest = largest_ones
            .filter_map(|(holder, share)| {
                let (answered, last) = share.iter().min_by_key(|(_, last)| **last)?;
                Some((*last, holder, answered))
            })
            .min_by_key(|(last, ..)| *last);
        let Some((_, holder, answered)) = oldest else {
            return;
        };
        let (holder, answered) = (holder.clone(), answered.clone());
        if let Some(share) = self.shares.get_mut(&holder) {
            share.remove(&answered);
            if share.is_empty() {
                self.shares.remove(&holder);
            }
            self.len -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::RequestKey;
    use crate::message::Request;
    use antiphon_wire::Code;

    /// What the server `n` of this prefix says about this resource.
    fn key(resource: usize, prefix: u16, n: u16) -> Key {
        let request = Request::new(Code::GET).path(&std::format!("r{resource}"));
        let address = core::net::Ipv6Addr::from([0x2001, 0xdb8, 0, prefix, 0, 0, 0, n]);
        Key {
            request: RequestKey::of_unicast(&request).unwrap(),
            context: Context::Open,
            responder: Responder::Address((address, 5683).into()),
        }
    }

    impl Overtaken {
        fn counted(&self) -> usize {
            assert!(self.shares.values().all(|share| !share.is_empty()));
            let counted = self.shares.values().map(BTreeMap::len).sum();
            assert_eq!(self.len, counted);
            counted
        }
    }

    #[test]
    fn it_counts_for_one_server_and_one_resource() {
        let mut overtaken = Overtaken::default();
        assert!(!overtaken.since(&key(1, 1, 1), 0));
        overtaken.note(&key(1, 1, 1), 7);
        overtaken.note(&key(1, 1, 1), 5);
        assert!(overtaken.since(&key(1, 1, 1), 6));
        assert!(!overtaken.since(&key(1, 1, 1), 7));
        assert!(!overtaken.since(&key(1, 1, 2), 0), "another server");
        assert!(!overtaken.since(&key(2, 1, 1), 0), "another resource");
    }

    #[test]
    fn when_all_places_are_taken_the_oldest_of_whoever_has_most_gives_way() {
        let mut overtaken = Overtaken::default();
        for n in 0..4 {
            overtaken.note(&key(0, 1, n), 1);
        }
        for n in 4..PLACES as u16 {
            overtaken.note(&key(0, 2, n), 100 + u64::from(n));
        }
        assert!(overtaken.since(&key(0, 2, 4), 0), "all are remembered");
        overtaken.note(&key(0, 2, 4), 5_000);
        assert_eq!(overtaken.counted(), PLACES);
        overtaken.note(&key(0, 3, 1), 9); // in place of the oldest of the second prefix
        assert_eq!(overtaken.counted(), PLACES);
        assert!(overtaken.since(&key(0, 3, 1), 8));
        assert!(!overtaken.since(&key(0, 2, 5), 0));
        assert!(overtaken.since(&key(0, 2, 6), 0));
        assert!(overtaken.since(&key(0, 2, 4), 4_999));
        for n in 0..4 {
            assert!(overtaken.since(&key(0, 1, n), 0));
        }
    }

    /// The oldest of all gives way where everybody has one, but for those who are proven, who come after all strangers.
    #[test]
    fn among_equals_the_oldest_of_a_stranger_gives_way_first() {
        use crate::identity::Identity;
        let proven = |name: &[u8]| Key {
            responder: Responder::Proven(Identity(name.to_vec())),
            ..key(0, 0, 0)
        };
        let mut overtaken = Overtaken::default();
        overtaken.note(&proven(b"lamp"), 1);
        overtaken.note(&key(0, 1, 0), 900);
        for prefix in 2..PLACES as u16 {
            let moment = if prefix == 500 { 2 } else { 1_000 };
            overtaken.note(&key(0, prefix, 0), moment);
        }
        assert_eq!(overtaken.counted(), PLACES);
        for (n, gives_way) in [(500, 500), (1, 1)] {
            assert!(overtaken.since(&key(0, gives_way, 0), 0));
            overtaken.note(&key(0, 5_000 + n, 0), 2_000);
            assert!(!overtaken.since(&key(0, gives_way, 0), 0), "{gives_way}");
            assert_eq!(overtaken.counted(), PLACES);
        }
        assert!(overtaken.since(&proven(b"lamp"), 0));
        // Whoever has more than one gives way before them, also if it is proven.
        let other = Key {
            request: key(1, 0, 0).request,
            ..proven(b"lamp")
        };
        overtaken.note(&other, 3_000); // in place of a stranger's
        assert!(overtaken.since(&proven(b"lamp"), 0));
        overtaken.note(&key(0, 6_000, 0), 4_000);
        assert!(!overtaken.since(&proven(b"lamp"), 0));
        assert!(overtaken.since(&other, 2_999));
        assert_eq!(overtaken.counted(), PLACES);
    }
}
