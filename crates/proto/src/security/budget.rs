//! What one source may cause at most in a while: each has a bucket that fills again with time.

use core::net::IpAddr;
use core::time::Duration;

use hashbrown::HashMap;

use crate::rng::{KeyedHash, Rng};
use crate::time::Instant;

/// The buckets of all sources that have taken from theirs lately. One is full again after `PERIOD`.
pub(crate) struct Budgets {
    buckets: HashMap<IpAddr, Bucket, KeyedHash>,
    /// What a full bucket holds.
    each: u32,
    /// How many sources are told apart. Those beyond share one bucket.
    sources: usize,
    others: Bucket,
}

#[derive(Clone, Copy)]
struct Bucket {
    /// What was taken and has not come back yet, in microseconds of `PERIOD`.
    taken: u64,
    at: Instant,
}

/// After so long an empty bucket is full again.
const PERIOD: Duration = Duration::from_secs(1);

const EMPTY: Bucket = Bucket {
    taken: 0,
    at: Instant::ZERO,
};

impl Bucket {
    fn refill(&mut self, now: Instant) {
        let since = u64::try_from(now.since(self.at).as_micros()).unwrap_or(u64::MAX);
        self.taken = self.taken.saturating_sub(since);
        self.at = self.at.max(now);
    }
}

impl Budgets {
    pub(crate) fn new(each: u32, sources: usize, rng: &mut Rng) -> Self {
        Self {
            buckets: HashMap::with_hasher(rng.keyed_hash()),
            each,
            sources,
            others: EMPTY,
        }
    }

    /// The memory for so many sources, at most.
    pub(crate) const fn memory_total(sources: usize) -> usize {
        4 * sources * (size_of::<(IpAddr, Bucket)>() + 1) + 256
    }

    /// What one piece costs.
    fn price(&self) -> u64 {
        PERIOD.as_micros() as u64 / u64::from(self.each.max(1))
    }

    /// Takes one piece from the bucket of this source; false if it is empty.
    pub(crate) fn take(&mut self, now: Instant, source: IpAddr) -> bool {
        if self.each == 0 {
            return false;
        }
        let price = self.price();
        let bucket = self.bucket(now, source);
        bucket.refill(now);
        let room = PERIOD.as_micros() as u64;
        if bucket.taken + price > room {
            return false;
        }
        bucket.taken += price;
        true
    }

    /// Gives back what was taken last: it was well spent.
    pub(crate) fn give_back(&mut self, source: IpAddr) {
        let price = self.price();
        let source = source.to_canonical();
        if let Some(bucket) = self.buckets.get_mut(&source) {
            bucket.taken = bucket.taken.saturating_sub(price);
            if bucket.taken == 0 {
                self.buckets.remove(&source);
            }
        } else if self.buckets.len() >= self.sources {
            self.others.taken = self.others.taken.saturating_sub(price);
        }
    }

    fn bucket(&mut self, now: Instant, source: IpAddr) -> &mut Bucket {
        let source = source.to_canonical();
        if !self.buckets.contains_key(&source) && self.buckets.len() >= self.sources {
            self.buckets.retain(|_, bucket| {
                bucket.refill(now);
                bucket.taken > 0
            });
            if self.buckets.len() >= self.sources {
                return &mut self.others;
            }
        }
        self.buckets.entry(source).or_insert(EMPTY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn budgets(each: u32, sources: usize) -> Budgets {
        Budgets::new(each, sources, &mut Rng::from_seed([1; 32]))
    }

    #[test]
    fn each_source_has_its_own_and_it_comes_back_with_time() {
        let mut budgets = budgets(4, 10);
        let start = Instant::from_millis(5_000);
        for _ in 0..4 {
            assert!(budgets.take(start, source(1)));
        }
        assert!(!budgets.take(start, source(1)));
        assert!(budgets.take(start, source(2)), "another's is untouched");
        let almost = start + Duration::from_micros(249_999);
        assert!(!budgets.take(almost, source(1)));
        let enough = start + Duration::from_micros(250_000);
        assert!(budgets.take(enough, source(1)));
        assert!(!budgets.take(enough, "::ffff:10.0.0.1".parse().unwrap()));
        let long_after = start + Duration::from_secs(60);
        let taken = (0..9).filter(|_| budgets.take(long_after, source(1)));
        assert_eq!(taken.count(), 4, "no more than a full bucket");
    }

    #[test]
    fn what_was_well_spent_is_given_back() {
        let mut budgets = budgets(1, 10);
        for _ in 0..3 {
            assert!(budgets.take(Instant::ZERO, source(1)));
            budgets.give_back(source(1));
        }
        assert!(budgets.buckets.is_empty());
        budgets.give_back(source(2));
        assert!(budgets.buckets.is_empty());
        assert!(budgets.take(Instant::ZERO, source(1)));
        assert!(!budgets.take(Instant::ZERO, source(1)));
    }

    #[test]
    fn sources_beyond_the_table_share_one_bucket_and_leave_the_others_theirs() {
        let mut budgets = budgets(2, 2);
        assert!(budgets.take(Instant::ZERO, source(1)) && budgets.take(Instant::ZERO, source(2)));
        let strangers = (10..20).filter(|n| budgets.take(Instant::ZERO, source(*n)));
        assert_eq!(strangers.count(), 2);
        assert!(budgets.take(Instant::ZERO, source(1)), "known before");
        assert_eq!(budgets.buckets.len(), 2);
        let later = Instant::from_millis(2_000);
        assert!(budgets.take(later, source(10)), "room again");
        assert_eq!(budgets.buckets.len(), 1, "full buckets are forgotten");
    }

    #[test]
    fn the_stated_memory_grows_with_the_sources() {
        let each = 4 * (size_of::<(IpAddr, Bucket)>() + 1);
        assert_eq!(Budgets::memory_total(0), 256);
        assert_eq!(Budgets::memory_total(7), 7 * each + 256);
    }

    #[test]
    fn what_is_given_back_beyond_the_table_goes_to_the_common_bucket() {
        let mut budgets = budgets(2, 1);
        assert!(budgets.take(Instant::ZERO, source(1)));
        for _ in 0..5 {
            assert!(budgets.take(Instant::ZERO, source(2)));
            budgets.give_back(source(3));
        }
        assert!(budgets.take(Instant::ZERO, source(2)) && budgets.take(Instant::ZERO, source(3)));
        assert!(!budgets.take(Instant::ZERO, source(4)));
    }

    #[test]
    fn the_last_piece_is_there_and_no_more() {
        let mut budgets = budgets(3, 4);
        // A piece costs 333,333: one microsecond is left over after three.
        let taken = (0..9).filter(|_| budgets.take(Instant::ZERO, source(1)));
        assert_eq!(taken.count(), 3);
        budgets.give_back(source(1));
        let known = budgets.buckets.get(&source(1)).unwrap();
        assert_eq!(known.taken, 2 * 333_333);
        assert!(budgets.take(Instant::ZERO, source(1)));
        assert!(!budgets.take(Instant::from_micros(333_331), source(1)));
        assert!(budgets.take(Instant::from_micros(333_332), source(1)));
    }

    #[test]
    fn a_budget_of_nothing_gives_nothing() {
        assert!(!budgets(0, 2).take(Instant::ZERO, source(1)));
    }
}
