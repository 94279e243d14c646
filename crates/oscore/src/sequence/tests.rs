use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;
use std::vec::Vec;

use proptest::prelude::*;

use super::SequenceError::{Exhausted, Lost, NotReserved};
use super::*;

fn block(block: u32) -> SequenceSettings {
    SequenceSettings {
        block,
        ..SequenceSettings::default()
    }
}

fn limit(limit: u64) -> SequenceSettings {
    SequenceSettings {
        limit,
        ..SequenceSettings::default()
    }
}

fn all_reserved(next: u64, settings: SequenceSettings) -> Sequence {
    Sequence::exact(next, u64::MAX, settings)
}

fn taken(sequence: &mut Sequence) -> Vec<u64> {
    core::iter::from_fn(|| sequence.take().ok().map(PartialIv::value)).collect()
}

#[test]
fn defaults() {
    let settings = SequenceSettings::default();
    assert_eq!(
        (settings.limit, settings.block, settings.margin),
        ((1 << 40) - 1, 1024, 1 << 36)
    );
    assert_eq!(MAX_NUMBER, (1 << 40) - 1);
}

#[test]
fn no_number_before_it_is_reserved() {
    let mut sequence = Sequence::new(block(4));
    assert_eq!(sequence.take(), Err(NotReserved));
    assert_eq!(sequence.wants(), Some(4));
    assert_eq!(sequence.take(), Err(NotReserved), "wanted is not durable");
    sequence.reserved(4);
    assert_eq!(sequence.reserved_upto(), 4);
    assert_eq!(taken(&mut sequence), [0, 1, 2, 3]);
    assert_eq!(sequence.take(), Err(NotReserved));
    assert_eq!(sequence.next(), 4);
}

#[test]
fn the_next_block_is_wanted_once_when_half_a_block_is_left() {
    let mut sequence = Sequence::exact(0, 8, block(8));
    for _ in 0..3 {
        sequence.take().unwrap();
        assert_eq!(sequence.wants(), None);
    }
    sequence.take().unwrap();
    assert_eq!(sequence.wants(), Some(16));
    assert_eq!(sequence.wants(), None, "said once");
    sequence.take().unwrap();
    assert_eq!(sequence.wants(), None);
    sequence.not_reserved();
    assert_eq!(sequence.wants(), Some(16), "the writing failed");
    sequence.reserved(12);
    assert_eq!(
        sequence.wants(),
        None,
        "less than was asked for: the answer is still to come"
    );
    sequence.reserved(16);
    assert_eq!(sequence.wants(), None);
    assert_eq!(taken(&mut sequence), Vec::from_iter(5..16));
    assert_eq!(sequence.wants(), Some(24));
}

#[test]
fn a_reservation_never_shrinks_and_never_exceeds_the_limit() {
    let mut sequence = Sequence::exact(0, 10, limit(20));
    sequence.reserved(5);
    assert_eq!(sequence.reserved_upto(), 10);
    sequence.reserved(1000);
    assert_eq!(sequence.reserved_upto(), 21);
    assert_eq!(taken(&mut sequence), Vec::from_iter(0..=20));
    assert_eq!(sequence.take(), Err(Exhausted));
}

#[test]
fn the_last_block_ends_at_the_limit() {
    let settings = SequenceSettings {
        limit: 9,
        block: 8,
        margin: 0,
    };
    let mut sequence = Sequence::new(settings);
    assert_eq!(sequence.wants(), Some(8));
    sequence.reserved(8);
    assert_eq!(
        [(); 4].map(|()| sequence.take().unwrap().value()),
        [0, 1, 2, 3]
    );
    assert_eq!(sequence.wants(), Some(10));
    sequence.reserved(10);
    assert_eq!(taken(&mut sequence), [4, 5, 6, 7, 8, 9]);
    assert_eq!(sequence.wants(), None);
    // nothing is left to be reserved, also when it never was
    assert_eq!(Sequence::resume_at(10, settings).wants(), None);
    assert_eq!(Sequence::resume_at(9, settings).wants(), Some(10));
    // nor when all is reserved and some of it left, or when none is left and not all was reserved
    assert_eq!(Sequence::exact(9, 10, settings).wants(), None);
    assert_eq!(Sequence::exact(10, 5, settings).wants(), None);
}

#[test]
fn blocks_of_one_number_get_past_the_skipped_ones() {
    for size in [0, 1] {
        let mut sequence = Sequence::exact(255, 256, block(size));
        assert_eq!(sequence.take().map(PartialIv::value), Ok(255));
        assert_eq!(sequence.next(), 257);
        let upto = sequence.wants().unwrap();
        assert_eq!(upto, 258);
        sequence.reserved(upto);
        assert_eq!(sequence.take().map(PartialIv::value), Ok(257));
    }
}

#[test]
fn multiples_of_256_are_skipped_except_0() {
    let mut sequence = all_reserved(0, block(1));
    let numbers: Vec<u64> = (0..70_000)
        .map(|_| sequence.take().unwrap().value())
        .collect();
    assert_eq!(numbers[..2], [0, 1]);
    assert_eq!(numbers[255..257], [255, 257]);
    assert!(numbers.windows(2).all(|pair| pair[1] - pair[0]
        == if pair[1] % 256 == 1 && pair[1] > 1 {
            2
        } else {
            1
        }));
    assert!(
        numbers
            .iter()
            .all(|number| *number == 0 || number % 256 != 0)
    );
    assert!(numbers.contains(&65_537) && !numbers.contains(&65_536));
    // zeros at the end would not change an HMAC key: without them no two numbers are the same
    let keys: BTreeSet<Vec<u8>> = numbers
        .iter()
        .map(|number| {
            let number = PartialIv::new(*number).unwrap();
            let bytes = number.as_bytes();
            bytes[..bytes
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |last| last + 1)]
                .to_vec()
        })
        .collect();
    assert_eq!(keys.len(), numbers.len());
    for start in [256, 512, 1 << 39] {
        assert_eq!(
            all_reserved(start, block(1)).take().map(PartialIv::value),
            Ok(start + 1)
        );
        assert_eq!(Sequence::resume_at(start, block(1)).next(), start + 1);
    }
}

// Covers: GO-2.6.2-01
#[test]
fn after_the_largest_number_there_is_none() {
    let mut sequence = all_reserved((1 << 40) - 1, SequenceSettings::default());
    assert!(!sequence.is_exhausted());
    assert_eq!(sequence.take().map(PartialIv::value), Ok((1 << 40) - 1));
    assert!(sequence.is_exhausted());
    for _ in 0..3 {
        assert_eq!(sequence.take(), Err(Exhausted));
    }
    sequence.reserved(u64::MAX);
    assert_eq!(sequence.take(), Err(Exhausted), "nothing wraps");
    // a lower limit
    let mut sequence = all_reserved(998, limit(1000));
    assert_eq!(taken(&mut sequence), [998, 999, 1000]);
    assert_eq!(sequence.take(), Err(Exhausted));
    // a higher one does not exist
    let mut sequence = all_reserved((1 << 40) - 1, limit(u64::MAX));
    assert_eq!(taken(&mut sequence), [(1 << 40) - 1]);
    assert_eq!(sequence.take(), Err(Exhausted));
    assert_eq!(
        Sequence::resume_at(u64::MAX, limit(u64::MAX)).take(),
        Err(Exhausted)
    );
    // a limit that is itself skipped
    let mut sequence = all_reserved(255, limit(256));
    assert_eq!(taken(&mut sequence), [255]);
    assert!(sequence.is_exhausted());
}

#[test]
fn exhausted_comes_before_not_reserved() {
    assert_eq!(
        Sequence::resume_at(1 << 40, SequenceSettings::default()).take(),
        Err(Exhausted)
    );
    assert_eq!(
        Sequence::resume_at((1 << 40) - 1, SequenceSettings::default()).take(),
        Err(NotReserved)
    );
}

// Covers: GO-2.6.2-04, GO-2.6.2-06
#[test]
fn the_warning_comes_a_margin_before_the_end() {
    let mut sequence = all_reserved(
        0,
        SequenceSettings {
            limit: 99,
            margin: 10,
            ..SequenceSettings::default()
        },
    );
    for _ in 0..89 {
        sequence.take().unwrap();
        assert!(!sequence.near_exhaustion());
    }
    sequence.take().unwrap();
    assert!(sequence.near_exhaustion());
    assert_eq!(
        taken(&mut sequence).len(),
        10,
        "and there is still room to renew"
    );
    assert!(sequence.near_exhaustion());
    // by default a sixteenth of the space, more than six percent
    let first = (1 << 40) - (1 << 36);
    assert!(all_reserved(first + 1, SequenceSettings::default()).near_exhaustion());
    assert!(!all_reserved(first - 1, SequenceSettings::default()).near_exhaustion());
}

#[test]
fn what_is_lost_gives_no_number_ever() {
    let mut sequence = Sequence::lost();
    assert!(sequence.is_lost());
    assert_eq!(sequence.take(), Err(Lost));
    assert_eq!(sequence.wants(), None);
    sequence.reserved(100);
    assert_eq!(sequence.take(), Err(Lost));
    let mut sequence = Sequence::exact(0, 10, block(4));
    assert!(!sequence.is_lost());
    sequence.take().unwrap();
    sequence.mark_lost();
    assert_eq!(sequence.take(), Err(Lost));
    sequence.reserved(u64::MAX);
    assert_eq!((sequence.take(), sequence.wants()), (Err(Lost), None));
}

#[test]
fn a_start_continues_at_the_stored_bound() {
    let mut sequence = Sequence::resume_at(2049, block(16));
    assert_eq!((sequence.next(), sequence.reserved_upto()), (2049, 2049));
    assert_eq!(sequence.take(), Err(NotReserved));
    assert_eq!(sequence.wants(), Some(2065));
    let mut sequence = Sequence::exact(1500, 2048, block(1024));
    assert_eq!(sequence.wants(), None);
    assert_eq!(sequence.take().map(PartialIv::value), Ok(1500));
    // a reservation that was overtaken
    let mut sequence = Sequence::exact(100, 50, block(4));
    assert_eq!(sequence.take(), Err(NotReserved));
    assert_eq!(sequence.wants(), Some(104));
}

// Covers: GO-B-7.2.1-01
#[test]
fn parallel_senders_never_get_the_same_number() {
    let mut last = all_reserved((1 << 40) - 1, SequenceSettings::default());
    assert_eq!(last.take().map(PartialIv::value), Ok((1 << 40) - 1));
    assert_eq!(last.take(), Err(Exhausted));

    let sequence = Mutex::new(all_reserved(0, SequenceSettings::default()));
    let numbers: Vec<u64> = thread::scope(|scope| {
        let senders: Vec<_> = (0..10)
            .map(|_| {
                scope.spawn(|| {
                    (0..10_000)
                        .map(|_| sequence.lock().unwrap().take().unwrap().value())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        senders
            .into_iter()
            .flat_map(|sender| sender.join().unwrap())
            .collect()
    });
    assert_eq!(numbers.len(), 100_000);
    assert_eq!(BTreeSet::from_iter(numbers).len(), 100_000);
}

/// A disk that has what was written `delay` sends ago.
struct SlowDisk {
    durable: u64,
    under_way: Option<(u64, usize)>,
    delay: usize,
}

impl SlowDisk {
    fn tick(&mut self, sequence: &mut Sequence) {
        if let Some(upto) = sequence.wants() {
            self.under_way = Some((upto, self.delay));
        }
        match &mut self.under_way {
            Some((upto, 0)) => {
                self.durable = *upto;
                sequence.reserved(*upto);
                self.under_way = None;
            }
            Some((_, left)) => *left -= 1,
            None => {}
        }
    }
}

// Covers: GO-B-B.1.1-01
#[test]
fn after_a_crash_at_any_point_the_first_number_is_larger_than_all_before() {
    for (size, delay) in [(1, 0), (1, 3), (10, 0), (10, 4), (10, 20), (1000, 100)] {
        let (mut refused, mut sent) = (0, 0);
        let mut largest = None;
        let mut sequence = Sequence::new(block(size));
        let mut disk = SlowDisk {
            durable: 0,
            under_way: None,
            delay,
        };
        for _ in 0..2500 {
            disk.tick(&mut sequence);
            match sequence.take() {
                Ok(number) => {
                    sent += 1;
                    largest = Some(number.value());
                }
                // a delay that the margin of half a block does not bear: the start of the next block is refused
                Err(error) => {
                    assert_eq!(error, NotReserved);
                    refused += 1;
                }
            }
            // the crash: only what is durable is left
            let restarted = Sequence::resume_at(disk.durable, block(size));
            assert!(
                largest.is_none_or(|largest| restarted.next() > largest),
                "{size} {delay}"
            );
        }
        assert!(sent > 500);
        assert_eq!(
            refused > delay,
            delay >= size as usize / 2 && size < 1000 && delay > 0,
            "{size} {delay} {refused}"
        );
    }
}

#[derive(Clone, Debug)]
enum Step {
    Take,
    Want,
    Durable,
    Failed,
    Crash,
    Stop,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => Just(Step::Take),
        3 => Just(Step::Want),
        3 => Just(Step::Durable),
        1 => Just(Step::Failed),
        1 => Just(Step::Crash),
        1 => Just(Step::Stop),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_number_twice(
        size in 1..9_u32,
        start in prop_oneof![Just(0_u64), 240..260_u64, ((1_u64 << 40) - 40)..(1_u64 << 40)],
        steps in prop::collection::vec(step(), 1..400),
    ) {
        let mut sequence = Sequence::resume_at(start, block(size));
        let (mut stored, mut asked) = (start, None);
        let mut used = BTreeSet::new();
        for step in steps {
            match step {
                Step::Take => match sequence.take() {
                    Ok(number) => {
                        let number = number.value();
                        prop_assert!(number < stored, "{} at or above the durable {}", number, stored);
                        prop_assert!(number == 0 || number % 256 != 0);
                        prop_assert!(used.insert(number), "{} twice", number);
                    }
                    Err(NotReserved) => prop_assert!(sequence.next() >= stored),
                    Err(error) => {
                        prop_assert_eq!(error, Exhausted);
                        prop_assert!(sequence.next() > MAX_NUMBER);
                    }
                },
                Step::Want => asked = sequence.wants().or(asked),
                Step::Durable => if let Some(upto) = asked.take() {
                    stored = upto;
                    sequence.reserved(upto);
                },
                Step::Failed => if asked.take().is_some() {
                    sequence.not_reserved();
                },
                Step::Crash => {
                    // what was being written may be there or not; here it is not
                    asked = None;
                    sequence = Sequence::resume_at(stored, block(size));
                }
                Step::Stop => {
                    asked = None;
                    sequence = Sequence::exact(sequence.next(), stored, block(size));
                }
            }
        }
    }
}
