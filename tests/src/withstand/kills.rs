//! Real processes, killed at any moment: what they said is durable is there.
//!
//! `ANTIPHON_KILLS` says how often (50 by default).

mod endpoints;
mod tracker;

use std::path::PathBuf;
use std::process::Command;

use antiphon::store::{Continuity, FileDisk, Options, SealKey, Store, StoreError};
use antiphon_tests::kill::{Kills, kill_again_and_again};

/// In the process that is going to be killed: the folder of its store.
const FOLDER: &str = "ANTIPHON_TEST_STORE";

fn open(folder: &std::path::Path) -> Result<antiphon::store::Opened, StoreError> {
    let key = SealKey::load_or_create(&folder.join("key")).expect("a key");
    let options = Options::default()
        .compact_at(3_000)
        .condense(|_, mut records| {
            // Only the last two are needed.
            records.split_off(records.len().saturating_sub(2))
        });
    Store::open(FileDisk::new(folder.join("state")), key, options)
}

/// The number of the last record of a name, and that the one before it is the one before.
fn last(records: &antiphon::store::Records, name: &str) -> u64 {
    let numbers: Vec<u64> = records
        .get(name)
        .map(|records| records.iter())
        .into_iter()
        .flatten()
        .map(|record| u64::from_be_bytes(record[..8].try_into().expect("a number")))
        .collect();
    assert!(numbers.is_sorted_by(|a, b| a + 1 == *b), "{numbers:?}");
    numbers.last().copied().unwrap_or_default()
}

/// Two threads append numbers for ever, each under its name, and say so.
fn work(folder: &std::path::Path) {
    let opened = open(folder).expect("a store");
    std::thread::scope(|scope| {
        for name in ["a", "b"] {
            let (store, mut number) = (&opened.store, last(&opened.records, name));
            scope.spawn(move || {
                loop {
                    number += 1;
                    let mut record = number.to_be_bytes().to_vec();
                    record.resize(8 + number as usize % 90, 0);
                    store.append(name, &record).expect("an append");
                    println!("durable {name} {number}");
                }
            });
        }
    });
}

/// Where the killed ones keep their files. What a killed process has written is there whatever the medium is, so that memory will do, and
/// nobody waits for a disk.
fn scratch() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    match memory.is_dir() {
        true => memory,
        false => std::env::temp_dir(),
    }
}

fn kills() -> u64 {
    std::env::var("ANTIPHON_KILLS").map_or(50, |text| text.parse().expect("a number"))
}

#[test]
fn what_was_acknowledged_survives_sigkill() {
    if let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) {
        return work(&folder);
    }
    let folder = scratch().join(format!("antiphon-kills-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let rounds = kills();
    let kills = Kills {
        rounds,
        seed: 1,
        longest: 2_000_000,
        lines: 40,
    };
    let program = |_| {
        let mut program = Command::new(std::env::current_exe().expect("a path"));
        program
            .args([
                "--exact",
                "--nocapture",
                "withstand::kills::what_was_acknowledged_survives_sigkill",
            ])
            .env(FOLDER, &folder);
        program
    };
    let mut said = [0, 0];
    let mut killed_at_work = 0;
    kill_again_and_again(kills, program, |round, lines| {
        for (name, said) in ["a", "b"].into_iter().zip(&mut said) {
            let prefix = format!("durable {name} ");
            let mut numbers = lines.iter().filter_map(|line| line.strip_prefix(&prefix));
            if let Some(number) = numbers.next_back() {
                *said = number.parse().expect("a number");
            }
        }
        let opened = open(&folder).unwrap_or_else(|error| panic!("round {round}: {error}"));
        for (name, said) in ["a", "b"].into_iter().zip(&mut said) {
            let found = last(&opened.records, name);
            // One more may have been under way.
            assert!(
                found == *said || found == *said + 1,
                "round {round}: {name} {said}, {found}"
            );
            *said = found;
        }
        if let Continuity::Crashed { same_boot, process } = opened.continuity {
            assert_eq!(same_boot, Some(true));
            assert_ne!(process, std::process::id());
            killed_at_work += 1;
        }
        opened
            .store
            .close()
            .unwrap_or_else(|error| panic!("round {round}: {error}"));
    });
    std::fs::remove_dir_all(&folder).expect("the folder can go");
    assert!(killed_at_work > rounds / 3, "{killed_at_work} of {rounds}");
    assert!(said.iter().all(|number| *number > rounds), "{said:?}");
}
