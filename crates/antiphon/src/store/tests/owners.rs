//! One owner after another: how the last one left, and whether the file is the last one.

use std::sync::{Arc, Mutex};

use antiphon_netsim::Operation;

use super::*;

fn options() -> Options {
    Options::default()
        .entropy(|bytes| getrandom::fill(bytes).map_err(io::Error::other))
        .boot_id(Some([1; 16]))
}

fn open(disk: &SimDisk) -> Result<Opened, StoreError> {
    Store::open(disk.clone(), key(), options())
}

/// A disk with a store that holds one record and was closed.
fn closed() -> SimDisk {
    let mut disk = SimDisk::new(1);
    let store = open(&disk).unwrap().store;
    store.append("name", b"one").unwrap();
    store.close().unwrap();
    disk.restart();
    disk
}

fn mismatch(result: Result<Opened, StoreError>) -> Mismatch {
    match result {
        Err(StoreError::NotTheLast { mismatch, .. }) => mismatch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_store_is_created_closed_crashed() {
    let mut disk = SimDisk::new(1);
    let opened = open(&disk).unwrap();
    assert_eq!(opened.continuity, Continuity::Created);
    let id = opened.store.id();
    opened.store.append("name", b"one").unwrap();
    opened.store.close().unwrap();
    for closed in [
        opened.store.append("name", b"two"),
        opened.store.close(),
        opened.store.compact(),
    ] {
        assert!(matches!(closed, Err(StoreError::Closed { .. })));
    }
    disk.restart();

    let opened = open(&disk).unwrap();
    assert_eq!(opened.continuity, Continuity::Clean);
    assert_eq!(opened.store.id(), id);
    disk.restart();
    // Nothing was written; but it was opened, and not closed.
    let opened = open(&disk).unwrap();
    let process = std::process::id();
    let same_boot = Some(true);
    assert_eq!(
        opened.continuity,
        Continuity::Crashed { same_boot, process }
    );
    disk.crash(3);

    for (boot, same_boot) in [(Some([2; 16]), Some(false)), (None, None)] {
        let options = options().boot_id(boot);
        let opened = Store::open(disk.clone(), key(), options).unwrap();
        assert_eq!(
            opened.continuity,
            Continuity::Crashed { same_boot, process }
        );
        assert_eq!(of(&opened.records, "name"), [b"one"]);
        disk.restart();
    }
}

#[test]
fn a_second_owner_is_refused() {
    let disk = SimDisk::new(1);
    let first = open(&disk).unwrap();
    match open(&disk) {
        Err(error @ StoreError::Locked { .. }) => {
            assert_eq!(
                error.to_string(),
                "state is in use by another owner (process 7)"
            );
        }
        other => panic!("{other:?}"),
    }
    first.store.append("name", b"one").unwrap();
}

#[test]
fn an_older_file_is_refused() {
    let mut disk = closed();
    let old = disk.get(Area::Log);
    let opened = open(&disk).unwrap();
    disk.restart();
    let once_more = disk.get(Area::Log);
    assert_eq!(once_more.len() as u64, opened.store.length().unwrap());

    // Opened once more and no more: that is enough.
    disk.put(Area::Log, &old);
    let older = Mismatch::Older {
        opening: 1,
        sequence: 3,
        seen_opening: 2,
        seen_sequence: 4,
    };
    let error = open(&disk).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("older than what was last in use"),
        "{error}"
    );
    assert_eq!(mismatch(open(&disk).or(Err(error))), older);

    // Who insists gets it, and is told; and from then on this is the one.
    disk.restart();
    let opened = Store::open(disk.clone(), key(), options().despite_loss()).unwrap();
    assert_eq!(opened.continuity, Continuity::Broken(older));
    assert_eq!(of(&opened.records, "name"), [b"one"]);
    disk.restart();
    assert!(matches!(
        open(&disk).unwrap().continuity,
        Continuity::Crashed { .. }
    ));
    disk.restart();
    disk.put(Area::Log, &once_more);
    assert!(matches!(
        mismatch(open(&disk)),
        Mismatch::Older {
            seen_opening: 4,
            ..
        }
    ));
}

#[test]
fn a_record_that_was_cut_off_is_noticed_though_the_owner_was_killed() {
    let mut disk = SimDisk::new(1);
    let store = open(&disk).unwrap().store;
    store.append("name", b"one").unwrap();
    let before = disk.get(Area::Log);
    store.append("name", b"two").unwrap();
    disk.restart();
    disk.put(Area::Log, &before);
    let older = Mismatch::Older {
        opening: 1,
        sequence: 2,
        seen_opening: 1,
        seen_sequence: 3,
    };
    assert_eq!(mismatch(open(&disk)), older);
}

#[test]
fn a_copy_is_refused() {
    let mut disk = closed();
    disk.machine().knows_births = true;
    // Written by a medium that did not know: nothing to compare with.
    open(&disk).unwrap().store.compact().unwrap();
    disk.restart();
    assert!(open(&disk).is_ok());
    disk.restart();
    disk.made_anew(Area::Log);
    assert_eq!(mismatch(open(&disk)), Mismatch::Copied);
    disk.restart();
    disk.machine().knows_births = false;
    assert_eq!(mismatch(open(&disk)), Mismatch::Copied);
}

#[test]
fn a_witness_that_is_gone_or_of_another_store_is_noticed() {
    let mut disk = closed();
    let witness = disk.get(Area::Witness);
    disk.remove(Area::Witness);
    assert_eq!(mismatch(open(&disk)), Mismatch::NoWitness);
    disk.restart();
    disk.put(Area::Witness, &{
        let other = closed();
        other.get(Area::Witness)
    });
    assert_eq!(mismatch(open(&disk)), Mismatch::Foreign);
    disk.restart();
    disk.put(Area::Witness, &witness);
    assert!(open(&disk).is_ok());
    disk.restart();
    disk.remove(Area::Log);
    assert!(matches!(open(&disk), Err(StoreError::Missing { .. })));
    disk.restart();
    let opened = Store::open(disk, key(), options().despite_loss()).unwrap();
    assert!(matches!(
        opened.continuity,
        Continuity::Broken(Mismatch::Older {
            opening: 0,
            seen_opening: 2,
            ..
        })
    ));
}

#[test]
fn without_a_witness_an_older_file_is_taken() {
    let mut disk = SimDisk::new(1);
    let open = |disk: &SimDisk| Store::open(disk.clone(), key(), options().without_witness());
    open(&disk).unwrap().store.append("name", b"one").unwrap();
    let old = disk.get(Area::Log);
    disk.restart();
    open(&disk).unwrap().store.append("name", b"two").unwrap();
    disk.restart();
    disk.put(Area::Log, &old);
    assert_eq!(of(&open(&disk).unwrap().records, "name"), [b"one"]);
    assert!(!disk.machine().disk.exists("state.witness"));
}

/// A monotonic counter as a secure element has it, which knows openings and nothing else.
#[derive(Clone, Default)]
struct Counter(Arc<Mutex<u64>>);

impl Witness for Counter {
    fn recall(&mut self) -> io::Result<Option<Seen>> {
        let opening = *self.0.lock().unwrap();
        Ok((opening > 0).then_some(Seen {
            store: None,
            opening,
            sequence: 0,
        }))
    }

    fn note(&mut self, seen: Seen) -> io::Result<()> {
        let mut count = self.0.lock().unwrap();
        assert!(seen.opening >= *count);
        *count = seen.opening;
        Ok(())
    }
}

#[test]
fn a_counter_of_the_callers_notices_what_was_put_back_with_its_witness() {
    let mut disk = SimDisk::new(1);
    let counter = Counter::default();
    let open =
        |disk: &SimDisk| Store::open(disk.clone(), key(), options().witness(counter.clone()));
    open(&disk).unwrap().store.append("name", b"one").unwrap();
    let old = disk.get(Area::Log);
    disk.restart();
    open(&disk).unwrap();
    disk.restart();
    assert_eq!(of(&open(&disk).unwrap().records, "name"), [b"one"]);
    assert_eq!(*counter.0.lock().unwrap(), 3);
    disk.restart();
    disk.put(Area::Log, &old);
    let older = Mismatch::Older {
        opening: 1,
        sequence: 2,
        seen_opening: 3,
        seen_sequence: 0,
    };
    assert_eq!(mismatch(open(&disk)), older);
}

#[test]
fn a_full_disk_loses_nothing_and_is_forgotten_when_there_is_room() {
    for flash in [false, true] {
        let mut disk = SimDisk::new(4);
        disk.flash = flash;
        let store = open(&disk).unwrap().store;
        store.append("name", b"one").unwrap();
        let used = disk.machine().disk.used();
        disk.machine().disk.set_capacity(used + 100);
        for _ in 0..3 {
            let full = store.append("name", &[1; 200]);
            assert!(matches!(full, Err(StoreError::Full { .. })), "{full:?}");
        }
        disk.machine().disk.set_capacity(usize::MAX);
        store.append("name", b"two").unwrap();
        disk.crash(1);
        assert_eq!(of(&open(&disk).unwrap().records, "name"), [b"one", b"two"]);
    }
}

#[test]
fn after_a_failed_sync_nothing_is_accepted_until_it_is_opened_again() {
    let mut disk = SimDisk::new(1);
    let store = open(&disk).unwrap().store;
    store.append("name", b"one").unwrap();
    disk.machine().disk.fail_next(Operation::Sync, 1);
    let failed = store.append("name", b"two");
    assert!(
        matches!(failed, Err(StoreError::Io { doing: "sync", .. })),
        "{failed:?}"
    );
    for refused in [
        store.append("name", b"three"),
        store.compact(),
        store.close(),
    ] {
        assert!(
            matches!(refused, Err(StoreError::Poisoned { .. })),
            "{refused:?}"
        );
    }
    disk.restart();
    // What the system still shows may not be stored: it is written again before it is believed.
    let opened = open(&disk).unwrap();
    assert_eq!(of(&opened.records, "name"), [b"one", b"two"]);
    opened.store.append("name", b"four").unwrap();
    for seed in 0..20 {
        let mut disk = disk.fork();
        disk.crash(seed);
        let all = [b"one".as_slice(), b"two", b"four"];
        assert_eq!(of(&open(&disk).unwrap().records, "name"), all);
    }
}

#[test]
fn a_write_that_failed_uses_its_number_up() {
    tracker::start();
    let disk = SimDisk::new(1);
    let store = open(&disk).unwrap().store;
    for round in 0..50 {
        disk.machine().disk.fail_next(Operation::Write, 1);
        assert!(store.append("name", &[round; 50]).is_err());
        store.append("name", &[round; 50]).unwrap();
    }
    assert_eq!(tracker::count(), 101);
}

#[test]
fn a_file_that_has_grown_is_written_anew_with_what_is_needed() {
    let mut disk = SimDisk::new(1);
    let options = || {
        options().compact_at(4_000).condense(|name, mut records| {
            assert_eq!(name, "last");
            records.split_off(records.len() - 1)
        })
    };
    let store = Store::open(disk.clone(), key(), options()).unwrap().store;
    store.append("gone", &[1; 300]).unwrap();
    store.commit(Batch::new().forget("gone").unwrap()).unwrap();
    let mut longest = 0;
    for number in 0..300_u32 {
        store.append("last", &number.to_be_bytes()).unwrap();
        longest = longest.max(store.length().unwrap());
    }
    assert!((3_900..=4_000).contains(&longest), "{longest}");
    let wear = store.wear().unwrap();
    // Each append is 51 bytes; from a start of some 200 to 4,000 there are some 75.
    assert_eq!((wear.compactions, wear.failed_compactions), (4, 0));
    // One for each append, and two for each file and witness that is written anew or begun.
    assert_eq!(wear.syncs, 302 + 2 + 2 + 4 * 2);
    store.close().unwrap();
    disk.restart();
    let opened = Store::open(disk.clone(), key(), options()).unwrap();
    let last = 299_u32.to_be_bytes();
    assert_eq!(of(&opened.records, "last").last(), Some(&last.as_slice()));
    assert!(!opened.records.contains_key("gone"));
    // Counted on over the whole life.
    let now = opened.store.wear().unwrap();
    assert!(now.compactions == 4 && now.syncs > wear.syncs && now.bytes > wear.bytes);
}

#[test]
fn when_writing_anew_fails_the_old_file_goes_on() {
    let mut disk = SimDisk::new(1);
    let store = Store::open(disk.clone(), key(), options().compact_at(1_000))
        .unwrap()
        .store;
    let used = disk.machine().disk.used();
    // Room for the records, and none for the file a second time.
    disk.machine().disk.set_capacity(used + 1_950);
    for _ in 0..6 {
        store.append("name", &[5; 200]).unwrap();
    }
    let wear = store.wear().unwrap();
    assert_eq!((wear.compactions, wear.failed_compactions), (0, 1));
    assert!(matches!(store.compact(), Err(StoreError::Full { .. })));
    disk.crash(9);
    disk.machine().disk.set_capacity(usize::MAX);
    assert_eq!(of(&open(&disk).unwrap().records, "name").len(), 6);
}

#[test]
fn lengths_have_limits() {
    let long = "n".repeat(MAX_NAME);
    let batch = Batch::new().add(&long, &vec![0; MAX_RECORD]).unwrap();
    assert!(matches!(
        Batch::new().add(&format!("{long}n"), b""),
        Err(StoreError::TooLong)
    ));
    assert!(matches!(
        Batch::new().add("n", &vec![0; MAX_RECORD + 1]),
        Err(StoreError::TooLong)
    ));
    // A batch holds three of the longest, and then as much as fits.
    let batch = batch.add(&long, &vec![0; MAX_RECORD]).unwrap();
    let batch = batch.add(&long, &vec![0; MAX_RECORD]).unwrap();
    let rest = MAX_BATCH - batch.body().len() - (2 + MAX_NAME + 4);
    assert!(batch.clone().add(&long, &vec![0; rest + 1]).is_err());
    let batch = batch.add(&long, &vec![0; rest]).unwrap();
    assert_eq!(batch.body().len(), MAX_BATCH);
    let disk = SimDisk::new(1);
    let store = open(&disk).unwrap().store;
    store.commit(batch.clone()).unwrap();
    store.commit(batch).unwrap();
    store.compact().unwrap();
    drop(store);
    let read = Contents::read(&disk.get(Area::Log), &key()).unwrap();
    assert_eq!(of(&read.records, &long).len(), 8);
}

#[test]
fn looking_finds_what_opening_would_and_writes_nothing() {
    let mut disk = SimDisk::new(1);
    let look = |disk: &SimDisk| Store::examine(disk.clone(), &key(), options());
    let (contents, continuity) = look(&disk).unwrap();
    assert!(contents.is_none());
    assert_eq!(continuity, Continuity::Created);
    disk.restart();

    let opened = open(&disk).unwrap();
    opened.store.append("group/a", b"one").unwrap();
    assert!(matches!(look(&disk), Err(StoreError::Locked { .. })));
    drop(opened);
    disk.restart();
    let before = (disk.get(Area::Log), disk.get(Area::Witness));
    let (contents, continuity) = look(&disk).unwrap();
    assert_eq!(of(&contents.unwrap().records, "group/a"), [b"one"]);
    assert!(matches!(continuity, Continuity::Crashed { .. }));
    assert_eq!(before, (disk.get(Area::Log), disk.get(Area::Witness)));

    disk.restart();
    disk.put(Area::Log, &before.0[..before.0.len() - 1]);
    assert!(matches!(look(&disk), Err(StoreError::Corrupt { .. })));
}
