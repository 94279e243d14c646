//! Message IDs (RFC 7252 section 4.4): one not used again towards a peer while its last use may still be remembered there.
//!
//! A member of a group hears this endpoint both through its groups and in person, so a group message
//! and a unicast message must not share a Message ID either. The 65,536 values are therefore divided:
//!
//! | values | for |
//! | --- | --- |
//! | `0x0000..=0x9fff` | each destination its own sequence, from a random start |
//! | `0xa000..=0xbfff` | one sequence shared by the destinations that find the table full |
//! | `0xc000..=0xffff` | one sequence for all groups together, as their members overlap |

use core::net::SocketAddr;
use core::time::Duration;

use antiphon_wire::MessageId;
use hashbrown::HashMap;

use crate::config::Transmission;
use crate::rng::{KeyedHash, Rng};
use crate::time::Instant;

const SHARED: u16 = 0xa000;
const GROUPS: u16 = 0xc000;
const OWN_COUNT: u32 = 0xa000;
const SHARED_COUNT: u32 = 0x2000;
const GROUP_COUNT: u16 = 0x4000;
/// An eighth of a destination's own values.
const LEAP: u64 = 0xa000 / 8;
/// The group values are watched over in this many blocks.
const BLOCKS: usize = 16;
const BLOCK_LEN: u16 = GROUP_COUNT / 16;
/// The full table is searched for old entries at most this often.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The Message IDs of one endpoint.
#[derive(Debug)]
pub struct MessageIds {
    destinations: HashMap<SocketAddr, Sequence, KeyedHash>,
    limit: usize,
    shared: Sequence,
    next_sweep: Instant,
    group_start: u16,
    /// How many values after `group_start` the next one lies.
    group_next: u16,
    /// When a value of the block was last on the wire; `None`: never.
    group_blocks: [Option<Instant>; BLOCKS],
    exchange_lifetime: Duration,
    non_lifetime: Duration,
    early_reuses: u64,
}

impl MessageIds {
    /// Destinations with a sequence of their own, unless stated otherwise; about 100 bytes each.
    pub const DEFAULT_LIMIT: usize = 4_096;

    /// The memory for so many destinations, at most.
    pub(crate) const fn memory_total(limit: usize) -> usize {
        4 * limit * (size_of::<(SocketAddr, Sequence)>() + 1) + 256
    }

    /// Starts all sequences at random values. At most `limit` destinations have a sequence of their own.
    pub fn new(parameters: &Transmission, limit: usize, rng: &mut Rng) -> Self {
        Self {
            destinations: HashMap::with_hasher(rng.keyed_hash()),
            limit,
            shared: Sequence::new(SHARED_COUNT, rng),
            next_sweep: Instant::ZERO,
            group_start: rng.u16() % GROUP_COUNT,
            group_next: 0,
            group_blocks: [None; BLOCKS],
            exchange_lifetime: parameters.exchange_lifetime(),
            non_lifetime: parameters.non_lifetime(),
            early_reuses: 0,
        }
    }

    /// Takes over changed parameters (EXCHANGE_LIFETIME and NON_LIFETIME follow from them).
    pub fn set_parameters(&mut self, parameters: &Transmission) {
        self.exchange_lifetime = parameters.exchange_lifetime();
        self.non_lifetime = parameters.non_lifetime();
    }

    /// The Message ID for the next message to one peer.
    ///
    /// A destination with its own sequence sees no value twice within 40,960 messages. More than that
    /// within EXCHANGE_LIFETIME (165 a second for 247 s with the defaults) reuses values early, which is
    /// counted by [`early_reuses`](Self::early_reuses).
    pub fn next(&mut self, now: Instant, rng: &mut Rng, destination: SocketAddr) -> MessageId {
        self.next_after(now, rng, destination, 0)
    }

    /// As [`next`](Self::next), but passing over up to an eighth of the values, drawn at random: who knows the last one does
    /// not know this one.
    pub(crate) fn next_unforeseen(
        &mut self,
        now: Instant,
        rng: &mut Rng,
        destination: SocketAddr,
    ) -> MessageId {
        let passed = rng.up_to(LEAP);
        self.next_after(now, rng, destination, passed)
    }

    /// `leap`: so many 40,960ths of the values are passed over.
    fn next_after(
        &mut self,
        now: Instant,
        rng: &mut Rng,
        destination: SocketAddr,
        leap: u64,
    ) -> MessageId {
        let lifetime = self.exchange_lifetime;
        if self.destinations.len() >= self.limit && !self.destinations.contains_key(&destination) {
            self.sweep(now);
        }
        let room = self.destinations.len() < self.limit;
        let (first, count, sequence) = match self.destinations.entry(destination) {
            hashbrown::hash_map::Entry::Occupied(entry) => (0, OWN_COUNT, entry.into_mut()),
            hashbrown::hash_map::Entry::Vacant(entry) if room => {
                (0, OWN_COUNT, entry.insert(Sequence::new(OWN_COUNT, rng)))
            }
            hashbrown::hash_map::Entry::Vacant(_) => (SHARED, SHARED_COUNT, &mut self.shared),
        };
        let passed = u32::try_from(leap * u64::from(count) / u64::from(OWN_COUNT));
        let passed = passed.unwrap_or_default();
        let offset = sequence.next(now, lifetime, count, passed, &mut self.early_reuses);
        MessageId(first + offset)
    }

    /// The Message ID for the next message to groups. The same one may go to several groups: to a
    /// member of two of them it is the same message.
    ///
    /// # Errors
    /// When all 16,384 values were used within NON_LIFETIME: the instant at which the next one is free.
    pub fn next_for_groups(&mut self, now: Instant) -> Result<MessageId, Instant> {
        let offset = self.group_next;
        let block = usize::from(offset / BLOCK_LEN);
        let Some(last_used) = self.group_blocks.get_mut(block) else {
            return Err(now);
        };
        if offset.is_multiple_of(BLOCK_LEN)
            && let Some(last_used) = *last_used
            && now < last_used + self.non_lifetime
        {
            return Err(last_used + self.non_lifetime);
        }
        *last_used = Some(now);
        self.group_next = (offset + 1) % GROUP_COUNT;
        Ok(MessageId(
            GROUPS + (self.group_start + offset) % GROUP_COUNT,
        ))
    }

    /// Notes that a group message was sent once more with its old Message ID, whose lifetime thereby begins anew.
    pub fn sent_again(&mut self, now: Instant, id: MessageId) {
        if let Some(value) = id.0.checked_sub(GROUPS)
            && let offset = (value + GROUP_COUNT - self.group_start) % GROUP_COUNT
            && let Some(block) = self.group_blocks.get_mut(usize::from(offset / BLOCK_LEN))
        {
            *block = Some(now);
        }
    }

    /// How often a sequence began anew before EXCHANGE_LIFETIME was over.
    pub fn early_reuses(&self) -> u64 {
        self.early_reuses
    }

    /// Forgets destinations that cannot remember any Message ID of ours.
    fn sweep(&mut self, now: Instant) {
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + SWEEP_EVERY;
        let lifetime = self.exchange_lifetime;
        self.destinations
            .retain(|_, sequence| now < sequence.last_used + lifetime);
    }
}

/// Consecutive values from a random start, round and round.
#[derive(Clone, Copy, Debug)]
struct Sequence {
    start: u16,
    used: u32,
    lap_began: Instant,
    last_used: Instant,
}

impl Sequence {
    fn new(count: u32, rng: &mut Rng) -> Self {
        Self {
            start: u16::try_from(rng.up_to(u64::from(count - 1))).unwrap_or_default(),
            used: 0,
            lap_began: Instant::ZERO,
            last_used: Instant::ZERO,
        }
    }

    /// The next value below `count`, or if so many are passed over one of those behind it.
    fn next(
        &mut self,
        now: Instant,
        lifetime: Duration,
        count: u32,
        passed: u32,
        early: &mut u64,
    ) -> u16 {
        if self.used == count {
            self.used = 0;
            if now < self.lap_began + lifetime {
                *early += 1;
            }
        }
        if self.used == 0 {
            self.lap_began = now;
        }
        self.used = self.used.saturating_add(passed).min(count - 1);
        let value = (u32::from(self.start) + self.used) % count;
        self.used += 1;
        self.last_used = now;
        u16::try_from(value).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use std::collections::HashSet;

    use super::*;

    fn destination(n: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, (n % 250) as u8], 1_000 + n))
    }

    fn ids(limit: usize) -> (MessageIds, Rng) {
        let mut rng = Rng::from_seed([5; 32]);
        (
            MessageIds::new(&Transmission::default(), limit, &mut rng),
            rng,
        )
    }

    /// The group value that lies so many after another.
    fn nth(first: MessageId, n: u16) -> u16 {
        0xc000 + (first.0 - 0xc000 + n) % GROUP_COUNT
    }

    fn seconds(n: u64) -> Instant {
        Instant::from_millis(n * 1_000)
    }

    #[test]
    fn a_destination_sees_every_value_of_its_range_once_before_any_comes_back() {
        let (mut ids, mut rng) = ids(4);
        let mut seen = HashSet::new();
        let first = ids.next(Instant::ZERO, &mut rng, destination(1));
        assert!(seen.insert(first));
        let second = ids.next(Instant::ZERO, &mut rng, destination(1));
        assert!(seen.insert(second));
        assert_eq!(second.0, (first.0 + 1) % 0xa000);
        for _ in 2..0xa000 {
            let id = ids.next(Instant::ZERO, &mut rng, destination(1));
            assert!(id.0 < 0xa000);
            assert!(seen.insert(id), "{id:?} came twice");
        }
        assert_eq!(ids.early_reuses(), 0);
        assert_eq!(ids.next(seconds(247), &mut rng, destination(1)), first);
        assert_eq!(ids.early_reuses(), 0, "EXCHANGE_LIFETIME is over");
    }

    #[test]
    fn a_lap_within_the_lifetime_is_counted() {
        let (mut ids, mut rng) = ids(4);
        for _ in 0..0xa000 {
            ids.next(seconds(1), &mut rng, destination(1));
        }
        ids.next(
            seconds(248) - Duration::from_micros(1),
            &mut rng,
            destination(1),
        );
        assert_eq!(ids.early_reuses(), 1);
    }

    #[test]
    fn a_lap_begins_with_its_first_value() {
        let (mut ids, mut rng) = ids(4);
        ids.next(seconds(0), &mut rng, destination(1));
        for _ in 1..0xa000 {
            ids.next(seconds(100), &mut rng, destination(1));
        }
        // The value that comes back was used at 0; the ones after it will be early.
        ids.next(seconds(247), &mut rng, destination(1));
        assert_eq!(ids.early_reuses(), 0);
        for _ in 1..0xa000 {
            ids.next(seconds(400), &mut rng, destination(1));
        }
        ids.next(seconds(493), &mut rng, destination(1));
        assert_eq!(ids.early_reuses(), 1, "247 s + 247 s are 494 s");
    }

    #[test]
    fn destinations_start_at_random_values_and_a_full_table_shares_one_range() {
        let (mut ids, mut rng) = ids(2);
        let a = ids.next(seconds(1), &mut rng, destination(1));
        let b = ids.next(seconds(1), &mut rng, destination(2));
        assert_ne!(a, b);
        let shared: Vec<_> = (3..6)
            .map(|n| ids.next(seconds(1), &mut rng, destination(n)).0)
            .collect();
        assert!(
            shared.iter().all(|id| (0xa000..0xc000).contains(id)),
            "{shared:x?}"
        );
        assert_eq!(shared[1] - 0xa000, (shared[0] - 0xa000 + 1) % 0x2000);
        assert_eq!(shared[2] - 0xa000, (shared[0] - 0xa000 + 2) % 0x2000);
        assert_eq!(ids.next(seconds(2), &mut rng, destination(1)).0, a.0 + 1);
    }

    #[test]
    fn a_destination_is_forgotten_only_after_exchange_lifetime() {
        let (mut ids, mut rng) = ids(1);
        ids.next(seconds(10), &mut rng, destination(1));
        let early = ids.next(seconds(256), &mut rng, destination(2));
        assert!(
            early.0 >= 0xa000,
            "the first destination may still remember"
        );
        let later = ids.next(seconds(257), &mut rng, destination(2));
        assert!(later.0 < 0xa000, "room since 10 s + 247 s: {later:?}");
    }

    #[test]
    fn the_full_table_is_searched_once_a_second() {
        let (mut ids, mut rng) = ids(1);
        ids.next(seconds(10), &mut rng, destination(1));
        let almost = seconds(257) - Duration::from_millis(1);
        assert!(ids.next(almost, &mut rng, destination(2)).0 >= 0xa000);
        let too_soon = almost + Duration::from_millis(999);
        assert!(ids.next(too_soon, &mut rng, destination(2)).0 >= 0xa000);
        assert!(
            ids.next(almost + SWEEP_EVERY, &mut rng, destination(2)).0 < 0xa000,
            "searched again"
        );
    }

    #[test]
    fn what_must_not_be_foreseen_lies_up_to_an_eighth_further_on_and_comes_once_all_the_same() {
        for (limit, first, count) in [(4, 0, OWN_COUNT), (0, SHARED, SHARED_COUNT)] {
            let (mut ids, mut rng) = ids(limit);
            let mut last = ids.next(Instant::ZERO, &mut rng, destination(1)).0 - first;
            let mut steps = HashSet::new();
            let mut way = 0;
            while way < count * 7 / 8 - 2 {
                let next = ids.next_unforeseen(Instant::ZERO, &mut rng, destination(1));
                let next = next.0 - first;
                let step = (u32::from(next) + count - u32::from(last)) % count;
                assert!((1..=count / 8 + 1).contains(&step), "{step} of {count}");
                assert!(steps.insert(step), "{step} came twice");
                (last, way) = (next, way + step);
            }
            assert!((8..40).contains(&steps.len()), "{steps:?}");
            assert_eq!(ids.early_reuses(), 0, "one lap");
            let next = ids.next(Instant::ZERO, &mut rng, destination(1)).0 - first;
            assert_eq!(u32::from(next), (u32::from(last) + 1) % count);
            // Where a leap would lead beyond the lap, its last value comes, and then a new lap begins.
            for _ in 0..20 {
                ids.next_unforeseen(Instant::ZERO, &mut rng, destination(1));
            }
            assert!(ids.early_reuses() >= 1);
        }
    }

    #[test]
    fn group_values_come_back_only_after_non_lifetime() {
        let (mut ids, _) = ids(1);
        let mut seen = HashSet::new();
        for _ in 0..0x4000 {
            let id = ids.next_for_groups(seconds(5)).unwrap();
            assert!(id.0 >= 0xc000);
            assert!(seen.insert(id));
        }
        let free_at = seconds(150);
        assert_eq!(
            ids.next_for_groups(free_at - Duration::from_micros(1)),
            Err(free_at)
        );
        assert!(ids.next_for_groups(free_at).is_ok());
    }

    #[test]
    fn a_message_sent_again_keeps_its_value_taken_for_longer() {
        let (mut ids, _) = ids(1);
        let first = ids.next_for_groups(seconds(0)).unwrap();
        let second = ids.next_for_groups(seconds(0)).unwrap();
        assert_eq!(second.0 - 0xc000, (first.0 - 0xc000 + 1) % 0x4000);
        for _ in 2..0x4000 {
            ids.next_for_groups(seconds(0)).unwrap();
        }
        ids.sent_again(seconds(100), first);
        // The last of the first block, and the first of the second.
        ids.sent_again(seconds(120), MessageId(nth(first, BLOCK_LEN - 1)));
        ids.sent_again(seconds(500), MessageId(nth(first, BLOCK_LEN)));
        ids.sent_again(seconds(500), MessageId(nth(first, GROUP_COUNT - 1)));
        ids.sent_again(seconds(500), MessageId(0xbfff));
        assert_eq!(ids.next_for_groups(seconds(145)), Err(seconds(265)));
        assert_eq!(ids.next_for_groups(seconds(265)), Ok(first));
        for _ in 1..BLOCK_LEN {
            ids.next_for_groups(seconds(265)).unwrap();
        }
        assert_eq!(ids.next_for_groups(seconds(265)), Err(seconds(645)));
    }

    #[test]
    fn changed_parameters_change_the_lifetimes() {
        let (mut ids, _) = ids(1);
        for _ in 0..0x4000 {
            ids.next_for_groups(seconds(0)).unwrap();
        }
        let mut parameters = Transmission::default();
        parameters.set_max_latency(Duration::from_secs(10)).unwrap();
        ids.set_parameters(&parameters);
        assert_eq!(ids.next_for_groups(seconds(1)), Err(seconds(55)));
        assert_eq!(ids.exchange_lifetime, Duration::from_secs(67));
    }

    #[test]
    fn the_stated_memory_grows_with_the_destinations() {
        let each = 4 * (size_of::<(SocketAddr, Sequence)>() + 1);
        assert_eq!(MessageIds::memory_total(0), 256);
        assert_eq!(MessageIds::memory_total(7), 7 * each + 256);
    }

    #[test]
    fn group_values_wrap_within_their_range_wherever_they_start() {
        for seed in 0..32 {
            let (mut ids, _) = ids(seed);
            let first = ids.next_for_groups(seconds(0)).unwrap();
            assert!(first.0 >= GROUPS);
            for n in 1..GROUP_COUNT {
                let id = ids.next_for_groups(seconds(0)).unwrap();
                assert_eq!(id.0, nth(first, n), "value {n} after {first:?}");
            }
        }
    }
}
