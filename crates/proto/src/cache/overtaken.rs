//! Answers that were not kept: an answer to an older request that is still under way is not fresh, as the same server has
//! said something newer.

use alloc::collections::BTreeMap;

use super::{Context, Key, ResourcePath, Responder, Shareholder};

/// So many of them are remembered: as many as a cache keeps answers by default. What is forgotten may let an answer be fresh that
/// its server has revoked, until its Max-Age; only if it is still under way after so many others have come.
const PLACES: usize = 1_024;

/// When the requests left whose answers were not kept, by resource and server.
#[derive(Debug, Default)]
pub(super) struct Overtaken {
    last: BTreeMap<Answered, u64>,
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

    fn shareholder(&self) -> Shareholder {
        Shareholder::of(self.context, &self.responder)
    }
}

impl Overtaken {
    /// An answer to a request that left at this moment is not kept.
    pub(super) fn note(&mut self, key: &Key, asked: u64) {
        let answered = Answered::of(key);
        if !self.last.contains_key(&answered) && self.last.len() >= PLACES {
            self.make_room();
        }
        let last = self.last.entry(answered).or_default();
        *last = asked.max(*last);
    }

    /// Was there one to a request that left after this moment, from the same server about the same resource?
    pub(super) fn since(&self, key: &Key, asked: u64) -> bool {
        !self.last.is_empty()
            && self
                .last
                .get(&Answered::of(key))
                .is_some_and(|last| *last > asked)
    }

    /// The oldest of whoever has most gives way.
    fn make_room(&mut self) {
        let mut shares: BTreeMap<Shareholder, usize> = BTreeMap::new();
        for answered in self.last.keys() {
            *shares.entry(answered.shareholder()).or_default() += 1;
        }
        let Some((largest, _)) = shares.into_iter().max_by_key(|(_, places)| *places) else {
            return;
        };
        let own = self.last.iter().filter(|(a, _)| a.shareholder() == largest);
        let oldest = own.min_by_key(|(_, last)| **last);
        if let Some(oldest) = oldest.map(|(answered, _)| answered.clone()) {
            self.last.remove(&oldest);
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
        assert_eq!(overtaken.last.len(), PLACES);
        overtaken.note(&key(0, 3, 1), 9); // in place of the oldest of the second prefix
        assert_eq!(overtaken.last.len(), PLACES);
        assert!(overtaken.since(&key(0, 3, 1), 8));
        assert!(!overtaken.since(&key(0, 2, 5), 0));
        assert!(overtaken.since(&key(0, 2, 6), 0));
        assert!(overtaken.since(&key(0, 2, 4), 4_999));
        for n in 0..4 {
            assert!(overtaken.since(&key(0, 1, n), 0));
        }
    }
}
