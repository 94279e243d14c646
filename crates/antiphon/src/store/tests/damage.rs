//! Files that somebody, or age, has changed: an error, or what was acknowledged; never silently less.

use proptest::prelude::*;

use super::*;
use crate::store::frame::{Epoch, Header, Kind, Opening};

/// A store with three records, left as by a crash; what its files hold.
fn left_open() -> (Vec<u8>, Vec<u8>) {
    let disk = SimDisk::new(1);
    let opened = open(&disk).unwrap();
    for record in [b"one".as_slice(), b"two", b"three"] {
        opened.store.append("name", record).unwrap();
    }
    (disk.get(Area::Log), disk.get(Area::Witness))
}

fn options() -> Options {
    Options::default().entropy(seeded(5)).boot_id(None)
}

fn open(disk: &SimDisk) -> Result<Opened, StoreError> {
    Store::open(disk.clone(), key(), options())
}

fn disk_with(log: &[u8], witness: &[u8]) -> SimDisk {
    let disk = SimDisk::new(2);
    disk.put(Area::Log, log);
    disk.put(Area::Witness, witness);
    disk
}

fn refused(result: Result<Opened, StoreError>, what: &str) -> StoreError {
    match result {
        Err(error) => error,
        Ok(opened) => panic!("{what}: opened with {:?}", opened.records),
    }
}

#[test]
fn every_bit_of_the_file_that_flips_is_noticed() {
    let (log, witness) = left_open();
    for at in 0..log.len() {
        for bit in 0..8 {
            let mut damaged = log.clone();
            damaged[at] ^= 1 << bit;
            let error = refused(open(&disk_with(&damaged, &witness)), "flipped");
            let fits = match at {
                0..8 => matches!(error, StoreError::NotAStore { .. }),
                8..10 => matches!(error, StoreError::Version { found, .. } if found != 1),
                10..64 => matches!(error, StoreError::Key { .. }),
                _ => {
                    matches!(error, StoreError::Corrupt { at: told, .. } if told <= at as u64 && told >= 64)
                }
            };
            assert!(fits, "byte {at}, bit {bit}: {error}");
        }
    }
}

#[test]
fn every_shorter_file_is_noticed() {
    let (log, witness) = left_open();
    for length in 0..log.len() {
        refused(open(&disk_with(&log[..length], &witness)), "cut off");
    }
}

#[test]
fn without_a_witness_only_the_last_write_can_be_cut_off_unnoticed() {
    let (log, _) = left_open();
    let whole = Contents::read(&log, &key()).unwrap();
    assert_eq!(
        of(&whole.records, "name"),
        [b"one".as_slice(), b"two", b"three"]
    );
    assert_eq!(
        (whole.sequence, whole.opened, whole.length),
        (4, 1, log.len())
    );
    // The last frame: 21 bytes in front, the entry with its name and lengths, the tag.
    let last = log.len() - (21 + 2 + 4 + 4 + 5 + 16);
    for at in 64..log.len() {
        let mut damaged = log.clone();
        damaged[at] ^= 0x10;
        match Contents::read(&damaged, &key()) {
            Err(error) => assert!(at < last && matches!(error, Unreadable::Corrupt(_)), "{at}"),
            Ok(contents) => {
                assert!(at >= last, "{at}");
                assert_eq!(of(&contents.records, "name"), [b"one".as_slice(), b"two"]);
                assert_eq!(contents.length, last);
            }
        }
    }
}

#[test]
fn frames_are_not_dropped_reordered_repeated_or_brought_from_another_file() {
    let (log, _) = left_open();
    let other = {
        let disk = SimDisk::new(3);
        let opened = Store::open(disk.clone(), key(), options().entropy(seeded(6))).unwrap();
        opened.store.append("name", b"foreign").unwrap();
        disk.get(Area::Log)
    };
    // Where frames begin: after each, one more record.
    let ends = |log: &[u8]| -> Vec<usize> {
        (64..=log.len())
            .filter(|end| {
                Contents::read(&log[..*end], &key()).is_ok_and(|read| read.length == *end)
            })
            .collect()
    };
    let (at, there) = (ends(&log), ends(&other));
    assert_eq!((at.len(), there.len()), (4, 2));
    let (first, second, third) = (&log[at[0]..at[1]], &log[at[1]..at[2]], &log[at[2]..at[3]]);
    let foreign = &other[there[0]..there[1]];
    let start = &log[..at[0]];
    for (what, frames) in [
        ("dropped", vec![first, third]),
        ("reordered", vec![second, first, third]),
        ("repeated", vec![first, first, second]),
        ("foreign", vec![first, foreign]),
        ("foreign first", vec![foreign, second]),
    ] {
        let bytes = [start, &frames.concat()].concat();
        let read = Contents::read(&bytes, &key()).map(|contents| contents.sequence);
        // Where the order ends. A foreign frame, under a key of its own, is as junk behind the last write.
        let expected = match what {
            "dropped" | "repeated" => Err(Unreadable::Corrupt(at[1])),
            "reordered" | "foreign first" => Err(Unreadable::Corrupt(at[0])),
            _ => Ok(2),
        };
        assert_eq!(read, expected, "{what}");
    }
}

#[test]
fn another_key_is_told_apart_from_damage() {
    let (log, witness) = left_open();
    let disk = disk_with(&log, &witness);
    let error = refused(
        Store::open(disk, SealKey::new([8; 32]), options()),
        "another key",
    );
    assert!(matches!(error, StoreError::Key { .. }), "{error}");
}

#[test]
fn the_content_cannot_be_read_in_the_file() {
    let (log, witness) = left_open();
    for secret in [b"three".as_slice(), b"name"] {
        for bytes in [&log, &witness] {
            assert!(!bytes.windows(secret.len()).any(|part| part == secret));
        }
    }
}

#[test]
fn what_a_torn_write_leaves_is_cut_off() {
    let (log, witness) = left_open();
    let junk = [[0; 40].as_slice(), &[2; 40], &log[100..180], b"x"];
    for (number, junk) in junk.iter().enumerate() {
        let disk = disk_with(&[&log, *junk].concat(), &witness);
        let opened = open(&disk).unwrap_or_else(|error| panic!("{number}: {error}"));
        assert_eq!(of(&opened.records, "name").len(), 3, "{number}");
        assert!(matches!(
            opened.continuity,
            Continuity::Crashed {
                same_boot: None,
                ..
            }
        ));
        // It is not there for the next one to find.
        let now = disk.get(Area::Log);
        assert_eq!(Contents::read(&now, &key()).unwrap().length, now.len());
    }
}

#[test]
fn more_than_one_write_can_leave_is_no_torn_write() {
    let (log, _) = left_open();
    let longest = 21 + 32 + MAX_BATCH + 16;
    for (more, fine) in [(longest, true), (longest + 1, false)] {
        let mut bytes = log.clone();
        bytes.resize(log.len() + more, 0);
        assert_eq!(Contents::read(&bytes, &key()).is_ok(), fine);
    }
}

#[test]
fn a_frame_with_an_old_number_or_another_predecessor_is_damage() {
    let header = Header::new(&key(), StoreId([1; 16]), [2; 16]);
    let epoch = Epoch::new(&key(), &header, &[3; 32]);
    let mut bytes = header.as_bytes().to_vec();
    let opening = Opening::default().encode();
    epoch.seal(Kind::Opening, 5, 0, Some(&[3; 32]), &opening, &mut bytes);
    let start = bytes.clone();
    let refused = Err(Unreadable::Corrupt(start.len()));
    for (number, previous) in [(5, 5), (4, 5), (6, 4), (6, 6)] {
        let mut bytes = start.clone();
        epoch.seal(Kind::Entries, number, previous, None, &[], &mut bytes);
        let read = Contents::read(&bytes, &key()).map(|read| read.sequence);
        assert_eq!(read, refused, "{number} behind {previous}");
    }
    // The same with the next number is fine, and so is one that leaves some out.
    for number in [6, 60] {
        let mut bytes = start.clone();
        epoch.seal(Kind::Entries, number, 5, None, &[], &mut bytes);
        assert_eq!(Contents::read(&bytes, &key()).unwrap().sequence, number);
    }
}

#[test]
fn a_witness_with_flipped_bits_raises_no_false_alarm_and_says_when_it_is_of_no_use() {
    let (log, witness) = left_open();
    // Entries of 64 bytes: one for the opening, three for the records.
    assert_eq!(witness.len(), 4 * 64);
    for at in 0..witness.len() {
        let mut damaged = witness.clone();
        damaged[at] ^= 1;
        let opened = open(&disk_with(&log, &damaged)).unwrap();
        assert_eq!(of(&opened.records, "name").len(), 3);
    }
    let error = refused(open(&disk_with(&log, &witness[1..])), "no entry verifies");
    assert!(
        matches!(
            error,
            StoreError::NotTheLast {
                mismatch: Mismatch::WitnessDamaged,
                ..
            }
        ),
        "{error}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Any bytes, also behind a header that is right.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Contents::read(&bytes, &key());
        let header = Header::new(&key(), StoreId([1; 16]), [2; 16]);
        let behind = [header.as_bytes().as_slice(), &bytes].concat();
        prop_assert!(Contents::read(&behind, &key()).is_err());
    }

    /// Any bytes, also sealed as they should be: as changes they are applied or refused.
    #[test]
    fn any_changes_are_applied_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut records = Records::new();
        let applied = super::super::batch::apply(&body, &mut records).is_some();
        let header = Header::new(&key(), StoreId([1; 16]), [2; 16]);
        let epoch = Epoch::new(&key(), &header, &[3; 32]);
        let mut bytes = header.as_bytes().to_vec();
        let opening = Opening::default().encode();
        epoch.seal(Kind::Opening, 1, 0, Some(&[3; 32]), &opening, &mut bytes);
        let at = bytes.len();
        epoch.seal(Kind::Entries, 2, 1, None, &body, &mut bytes);
        match Contents::read(&bytes, &key()) {
            Ok(contents) => prop_assert!(applied && contents.records == records),
            Err(error) => prop_assert!(!applied && error == Unreadable::Corrupt(at)),
        }
    }

    /// What is put in comes out.
    #[test]
    fn batches_round_trip(changes in proptest::collection::vec(("[a-c]", proptest::collection::vec(any::<u8>(), 0..40), 0..3), 0..12)) {
        let mut expected = Records::new();
        let mut batch = Batch::new();
        for (name, record, change) in changes {
            batch = match change {
                0 => {
                    expected.entry(name.clone()).or_default().push(Zeroizing::new(record.clone()));
                    batch.add(&name, &record).unwrap()
                }
                1 => {
                    expected.insert(name.clone(), vec![Zeroizing::new(record.clone())]);
                    batch.replace(&name, &record).unwrap()
                }
                _ => {
                    expected.remove(&name);
                    batch.forget(&name).unwrap()
                }
            };
        }
        let mut records = Records::new();
        prop_assert_eq!(super::super::batch::apply(batch.body(), &mut records), Some(()));
        prop_assert!(records == expected);
    }
}
