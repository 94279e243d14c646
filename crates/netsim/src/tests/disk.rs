use alloc::collections::BTreeSet;

use super::*;

/// The content of `name` after a crash of a copy of `disk`, for each of many seeds.
fn outcomes(disk: &Disk, name: &str) -> BTreeSet<Option<Vec<u8>>> {
    (0..500)
        .map(|seed| {
            let mut copy = disk.clone();
            copy.crash(seed);
            copy.read(name).ok()
        })
        .collect()
}

/// A disk with a durable file `log` of these bytes.
fn with_log(bytes: &[u8]) -> Disk {
    let mut disk = Disk::new(1);
    disk.append("log", bytes).unwrap();
    disk.sync("log").unwrap();
    disk.sync_directory().unwrap();
    disk
}

#[test]
fn what_is_written_is_read_back() {
    let mut disk = Disk::new(1);
    assert!(disk.is_empty());
    assert_eq!(disk.read("a"), Err(DiskError::NotFound));
    assert_eq!(disk.len("a"), Err(DiskError::NotFound));
    disk.create("a").unwrap();
    assert_eq!(disk.create("a"), Err(DiskError::AlreadyExists));
    assert_eq!(disk.read("a").unwrap(), b"");
    disk.append("a", b"hello").unwrap();
    disk.append("a", b" world").unwrap();
    disk.write("a", 0, b"J").unwrap();
    disk.write("a", 13, b"!").unwrap();
    assert_eq!(disk.read("a").unwrap(), b"Jello world\0\0!");
    assert_eq!(disk.len("a"), Ok(14));
    disk.truncate("a", 2).unwrap();
    disk.truncate("a", 4).unwrap();
    assert_eq!(disk.read("a").unwrap(), b"Je\0\0");
    disk.append("b", b"bb").unwrap();
    assert_eq!(disk.used(), 6);
    assert_eq!(disk.list().collect::<Vec<_>>(), ["a", "b"]);
    disk.rename("b", "a").unwrap();
    assert_eq!(disk.read("a").unwrap(), b"bb");
    assert!(!disk.exists("b"));
    assert_eq!(disk.rename("b", "c"), Err(DiskError::NotFound));
    disk.remove("a").unwrap();
    assert_eq!(disk.remove("a"), Err(DiskError::NotFound));
    assert_eq!(disk.truncate("a", 1), Err(DiskError::NotFound));
    assert_eq!(disk.sync("a"), Err(DiskError::NotFound));
    assert!(disk.is_empty());
}

#[test]
fn unsynced_data_can_vanish_be_torn_or_stay() {
    let mut disk = with_log(b"synced.");
    disk.append("log", b"first.").unwrap();
    disk.append("log", b"second").unwrap();
    assert_eq!(disk.durable("log"), Some(&b"synced."[..]));
    let seen: BTreeSet<Vec<u8>> = outcomes(&disk, "log").into_iter().flatten().collect();
    assert!(seen.iter().all(|content| content.starts_with(b"synced.")));
    for possible in [
        &b"synced."[..],
        b"synced.first.second",
        b"synced.first.",
        b"synced.fir",
        b"synced.first.sec",
        // Reordered: the second without the first.
        b"synced.\0\0\0\0\0\0second",
        // Longer, without its data.
        b"synced.\0\0\0\0\0\0",
        b"synced.first.\0\0\0\0\0\0",
    ] {
        assert!(seen.contains(possible), "{possible:?}");
    }
    let made_of = |content: &[u8], whole: &[u8]| {
        content.len() <= whole.len() && content.iter().zip(whole).all(|(c, w)| c == w || *c == 0)
    };
    assert!(seen.iter().all(|c| made_of(c, b"synced.first.second")));
}

#[test]
fn synced_data_never_vanishes() {
    // Random operations on a log of records; after each sync the model knows what must survive.
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let mut disk = with_log(b"");
        let mut written = Vec::new();
        let mut synced = 0;
        for step in 0..40 {
            match rng.below(8) {
                0 => {
                    disk.sync("log").unwrap();
                    synced = written.len();
                }
                1 => {
                    disk.crash(seed * 1_000 + step);
                    let left = disk.read("log").unwrap();
                    assert!(left.len() >= synced && left.len() <= written.len());
                    assert_eq!(left[..synced], written[..synced], "seed {seed}");
                    // As a log does: keep the good part, and go on from there. Without this sync, what was cut off
                    // could come back behind what is written next.
                    disk.truncate("log", synced).unwrap();
                    disk.sync("log").unwrap();
                    written.truncate(synced);
                }
                _ => {
                    let mut record = vec![0; rng.between(1, 1_500) as usize];
                    rng.fill(&mut record);
                    disk.append("log", &record).unwrap();
                    written.extend_from_slice(&record);
                }
            }
            assert_eq!(disk.read("log").unwrap(), written);
        }
        disk.sync("log").unwrap();
        disk.crash(seed);
        assert_eq!(disk.read("log").unwrap(), written);
    }
}

#[test]
fn an_overwrite_without_sync_leaves_old_new_or_torn_and_nothing_else() {
    let old = vec![b'o'; 1_536];
    let mut disk = with_log(&old);
    disk.write("log", 256, &[b'n'; 1_024]).unwrap();
    let seen = outcomes(&disk, "log");
    let mut first_lost_second_kept = false;
    for content in seen.iter().flatten() {
        assert_eq!(content.len(), 1_536);
        assert_eq!(content[..256], old[..256]);
        assert_eq!(content[1_280..], old[1_280..]);
        // Each sector is new up to somewhere, and old from there on.
        for sector in [256..512, 512..1_024, 1_024..1_280] {
            let part = &content[sector];
            let new = part.iter().take_while(|b| **b == b'n').count();
            assert!(part[new..].iter().all(|b| *b == b'o'));
        }
        first_lost_second_kept |= content[256] == b'o' && content[512] == b'n';
    }
    assert!(first_lost_second_kept);
}

#[test]
fn an_unsynced_truncation_happens_or_not() {
    let mut disk = with_log(b"0123456789");
    disk.truncate("log", 4).unwrap();
    let both = [Some(b"0123".to_vec()), Some(b"0123456789".to_vec())];
    assert_eq!(outcomes(&disk, "log"), BTreeSet::from(both));
    disk.sync("log").unwrap();
    assert_eq!(
        outcomes(&disk, "log"),
        BTreeSet::from([Some(b"0123".to_vec())])
    );
}

#[test]
fn a_name_is_durable_only_after_the_directory_is() {
    let mut disk = Disk::new(1);
    disk.append("a", b"x").unwrap();
    disk.sync("a").unwrap();
    assert_eq!(disk.durable("a"), None);
    assert_eq!(
        outcomes(&disk, "a"),
        BTreeSet::from([None, Some(b"x".to_vec())])
    );
    disk.sync_directory().unwrap();
    assert_eq!(disk.durable("a"), Some(&b"x"[..]));
    assert_eq!(outcomes(&disk, "a"), BTreeSet::from([Some(b"x".to_vec())]));
    assert_eq!(disk.syncs(), 2);
    disk.remove("a").unwrap();
    assert_eq!(
        outcomes(&disk, "a"),
        BTreeSet::from([None, Some(b"x".to_vec())])
    );
    disk.sync_directory().unwrap();
    assert_eq!(outcomes(&disk, "a"), BTreeSet::from([None]));
}

#[test]
fn replacing_a_file_by_rename_is_safe_with_a_sync_before_and_not_without() {
    let replace = |with_sync: bool| {
        let mut disk = with_log(b"old");
        disk.append("new", b"new").unwrap();
        if with_sync {
            disk.sync("new").unwrap();
        }
        disk.rename("new", "log").unwrap();
        outcomes(&disk, "log")
    };
    let whole = BTreeSet::from([Some(b"old".to_vec()), Some(b"new".to_vec())]);
    assert_eq!(replace(true), whole);
    let risky = replace(false);
    assert!(risky.is_superset(&whole));
    assert!(
        risky.contains(&Some(Vec::new())),
        "the name before the data"
    );
    assert!(!risky.contains(&None), "the name is always there");
}

#[test]
fn changes_of_names_survive_in_order() {
    let mut disk = Disk::new(1);
    for name in ["a", "b", "c"] {
        disk.create(name).unwrap();
    }
    let seen: BTreeSet<Vec<String>> = (0..200)
        .map(|seed| {
            let mut copy = disk.clone();
            copy.crash(seed);
            copy.list().map(str::to_owned).collect()
        })
        .collect();
    let prefix = |n: usize| ["a", "b", "c"][..n].iter().map(|n| n.to_string()).collect();
    assert_eq!(seen, (0..=3).map(prefix).collect());
}

#[test]
fn after_a_crash_the_disk_is_what_is_durable_and_stays_so() {
    let mut disk = with_log(b"synced");
    disk.append("log", b"unsynced").unwrap();
    disk.create("other").unwrap();
    disk.crash(3);
    let content = disk.read("log").unwrap();
    assert_eq!(outcomes(&disk, "log"), BTreeSet::from([Some(content)]));
    let mut twin = with_log(b"synced");
    twin.append("log", b"unsynced").unwrap();
    twin.create("other").unwrap();
    twin.crash(3);
    assert_eq!(twin.read("log"), disk.read("log"));
    assert_eq!(twin.exists("other"), disk.exists("other"));
}

#[test]
fn a_full_disk_takes_what_fits() {
    let mut disk = Disk::new(1);
    disk.set_capacity(10);
    disk.append("a", b"123456").unwrap();
    assert_eq!(disk.append("b", b"123456"), Err(DiskError::Full));
    assert_eq!(disk.read("b").unwrap(), b"1234");
    assert_eq!(disk.used(), 10);
    // In place there is always room; beyond the end there is not.
    disk.write("a", 0, b"654321").unwrap();
    assert_eq!(disk.write("a", 5, b"xy"), Err(DiskError::Full));
    assert_eq!(disk.read("a").unwrap(), b"65432x");
    assert_eq!(disk.write("a", 7, b"z"), Err(DiskError::Full));
    assert_eq!(disk.truncate("a", 7), Err(DiskError::Full));
    assert_eq!(disk.read("a").unwrap(), b"65432x");
    disk.truncate("b", 3).unwrap();
    disk.truncate("a", 7).unwrap();
    assert_eq!(disk.used(), 10);
    disk.remove("b").unwrap();
    disk.append("a", b"abc").unwrap();
    assert_eq!(disk.read("a").unwrap(), b"65432x\0abc");
}

#[test]
fn errors_come_on_demand_and_change_nothing_but_where_said() {
    let mut disk = with_log(b"log");
    for (operation, act) in [
        (
            Operation::Read,
            (|d: &mut Disk| d.read("log").map(drop)) as fn(&mut Disk) -> Result<(), DiskError>,
        ),
        (Operation::Write, |d| d.create("new")),
        (Operation::Write, |d| d.append("new", b"new")),
        (Operation::Truncate, |d| d.truncate("log", 0)),
        (Operation::Rename, |d| d.rename("log", "gol")),
        (Operation::Rename, |d| d.remove("log")),
    ] {
        disk.fail_next(operation, 2);
        assert_eq!(act(&mut disk), Err(DiskError::Io), "{operation:?}");
        assert_eq!(act(&mut disk), Err(DiskError::Io), "{operation:?}");
        assert_eq!(disk.list().collect::<Vec<_>>(), ["log"]);
        assert_eq!(disk.read("log").unwrap(), b"log");
    }
    disk.fail_randomly(Operation::Read, 0.5);
    let failed = (0..1_000)
        .filter(|_| disk.read("log") == Err(DiskError::Io))
        .count();
    assert!((421..=579).contains(&failed), "{failed}");
    disk.fail_randomly(Operation::Read, 0.0);
    assert!((0..100).all(|_| disk.read("log").is_ok()));
}

#[test]
fn a_failing_write_may_have_written_the_first_bytes() {
    let lengths: BTreeSet<usize> = (0..200)
        .map(|seed| {
            let mut disk = Disk::new(seed);
            disk.append("a", b"").unwrap();
            disk.fail_next(Operation::Write, 1);
            assert_eq!(disk.append("a", b"123"), Err(DiskError::Io));
            let content = disk.read("a").unwrap();
            assert!(b"123".starts_with(&content));
            content.len()
        })
        .collect();
    assert_eq!(lengths, BTreeSet::from([0, 1, 2, 3]));
}

#[test]
fn a_sync_after_a_failed_sync_saves_nothing_of_what_the_first_lost() {
    let mut lost = 0;
    for seed in 0..200 {
        let mut disk = Disk::new(seed);
        disk.create("log").unwrap();
        disk.sync_directory().unwrap();
        disk.append("log", b"first").unwrap();
        disk.fail_next(Operation::Sync, 1);
        assert_eq!(disk.sync("log"), Err(DiskError::Io));
        disk.append("log", b"second").unwrap();
        disk.sync("log").unwrap();
        assert_eq!(disk.read("log").unwrap(), b"firstsecond");
        disk.crash(seed);
        let content = disk.read("log").unwrap();
        assert_eq!(&content[5..], b"second");
        lost += usize::from(&content[..5] != b"first");
    }
    assert!((80..=170).contains(&lost), "{lost}");
}

#[test]
fn a_failed_sync_of_the_directory_can_be_tried_again() {
    let mut kept = BTreeSet::new();
    for seed in 0..100 {
        let mut disk = Disk::new(seed);
        disk.create("a").unwrap();
        disk.create("b").unwrap();
        disk.fail_next(Operation::SyncDirectory, 1);
        assert_eq!(disk.sync_directory(), Err(DiskError::Io));
        kept.insert(["a", "b"].map(|name| disk.durable(name).is_some()));
        disk.sync_directory().unwrap();
        assert!(disk.durable("a").is_some() && disk.durable("b").is_some());
        assert_eq!(disk.syncs(), 1);
    }
    assert_eq!(
        kept,
        BTreeSet::from([[false, false], [true, false], [true, true]])
    );
}

#[test]
fn unsynced_data_is_bounded() {
    let mut disk = with_log(b"");
    let half = vec![7; (8 << 20) - 64];
    disk.append("log", &half).unwrap();
    disk.append("log", &half).unwrap();
    // With the 64 bytes that each operation costs besides, this is the limit.
    assert_eq!(disk.durable("log").unwrap().len(), 0);
    disk.append("log", b"7").unwrap();
    assert_eq!(disk.durable("log").unwrap(), half);
    disk.crash(0);
    assert!(disk.len("log").unwrap() >= half.len());

    let mut disk = Disk::new(1);
    for n in 0..1_025 {
        assert!(disk.durable("0000").is_none());
        disk.create(&format!("{n:04}")).unwrap();
    }
    assert!(disk.durable("0511").is_some());
    assert!(disk.durable("0512").is_none());
}

#[test]
fn files_without_a_name_take_no_room() {
    let mut disk = with_log(b"old");
    for n in 0..3_000 {
        disk.append("new", format!("{n}").as_bytes()).unwrap();
        disk.rename("new", "log").unwrap();
    }
    assert!(disk.files_held() <= 1_024, "{}", disk.files_held());
    disk.sync_directory().unwrap();
    assert_eq!(disk.files_held(), 1);
    assert_eq!(disk.read("log").unwrap(), b"2999");
}
