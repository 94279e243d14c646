//! Power cuts at every write, on a disk that loses, tears and reorders what was not synced.
//!
//! `ANTIPHON_CRASHES` says how many there are in all (100,000 by default), `ANTIPHON_SEED` where the dice start.

use antiphon_netsim::{Operation, Rng};

use super::*;

/// Names whose records all count, and names of which only the last does: what the owner's [`Options::condense`] knows.
const NAMES: [&str; 4] = ["windows/a", "windows/b", "last/a", "last/b"];

fn condense(name: &str, mut records: Vec<Zeroizing<Vec<u8>>>) -> Vec<Zeroizing<Vec<u8>>> {
    match name.starts_with("last/") {
        true => records.split_off(records.len() - 1),
        false => records,
    }
}

pub(super) fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// What the owner knows to be durable.
type Known = BTreeMap<String, Vec<Vec<u8>>>;

#[derive(Clone, Debug)]
enum Change {
    Add(&'static str, Vec<u8>),
    Replace(&'static str, Vec<u8>),
    Forget(&'static str),
}

fn known_after(known: &Known, changes: &[Change]) -> Known {
    let mut known = known.clone();
    for change in changes {
        match change {
            Change::Add(name, record) => known
                .entry((*name).to_owned())
                .or_default()
                .push(record.clone()),
            Change::Replace(name, record) => {
                known.insert((*name).to_owned(), vec![record.clone()]);
            }
            Change::Forget(name) => {
                known.remove(*name);
            }
        }
    }
    known
}

/// Whether these records are what is known, apart from what the owner allowed to be condensed.
fn same(records: &Records, known: &Known) -> bool {
    records.keys().eq(known.keys())
        && known.iter().all(|(name, all)| {
            let found = of(records, name);
            let tail = all.iter().rev().zip(found.iter().rev());
            let enough = match name.starts_with("last/") {
                true => !found.is_empty() && found.len() <= all.len(),
                false => found.len() == all.len(),
            };
            enough && tail.into_iter().all(|(known, found)| known == found)
        })
}

fn batch_of(changes: &[Change]) -> Batch {
    changes
        .iter()
        .try_fold(Batch::new(), |batch, change| match change {
            Change::Add(name, record) => batch.add(name, record),
            Change::Replace(name, record) => batch.replace(name, record),
            Change::Forget(name) => batch.forget(name),
        })
        .unwrap()
}

/// One machine through many lives, each ended by a power cut, a killed process or an orderly end.
struct History {
    rng: Rng,
    disk: SimDisk,
    /// Durable for certain.
    known: Known,
    /// What failed since: one of these may have become durable all the same.
    uncertain: Vec<Vec<Change>>,
    created: bool,
    written: u64,
    crashes: u64,
}

impl History {
    fn new(seed: u64) -> History {
        let mut disk = SimDisk::new(seed);
        let mut rng = Rng::new(seed);
        disk.flash = rng.chance(0.3);
        History {
            disk,
            rng,
            known: Known::new(),
            uncertain: Vec::new(),
            created: false,
            written: 0,
            crashes: 0,
        }
    }

    fn changes(&mut self) -> Vec<Change> {
        (0..self.rng.between(1, 3))
            .map(|_| {
                self.written += 1;
                let name = NAMES[self.rng.below(4) as usize];
                // The number first, so that no two records are equal.
                let mut record = self.written.to_be_bytes().to_vec();
                record.resize(8 + self.rng.below(120) as usize, self.written as u8);
                match self.rng.below(12) {
                    0 => Change::Forget(name),
                    1 | 2 => Change::Replace(name, record),
                    _ => Change::Add(name, record),
                }
            })
            .collect()
    }

    fn options(&mut self) -> Options {
        Options::default()
            .compact_at(1_500)
            .condense(condense)
            .entropy(seeded(self.rng.next_u64()))
            .boot_id(Some([1; 16]))
    }

    /// The disk gets worse, or well again.
    fn faults(&mut self, seed: u64) {
        let mut machine = self.disk.machine();
        for (operation, chance) in [
            (Operation::Write, 0.02),
            (Operation::Sync, 0.01),
            (Operation::SyncDirectory, 0.01),
            (Operation::Rename, 0.01),
            (Operation::Truncate, 0.1),
        ] {
            let chance = if seed.is_multiple_of(4) { chance } else { 0.0 };
            machine.disk.fail_randomly(operation, chance);
        }
        let used = machine.disk.used();
        machine.disk.set_capacity(match seed % 16 {
            1 => used + 700,
            _ => usize::MAX,
        });
    }

    fn live(&mut self) {
        let fate = self.rng.next_u64();
        self.faults(fate);
        // Opening takes about ten operations, a commit three.
        let until = (!fate.is_multiple_of(3)).then(|| self.rng.below(40));
        self.disk.machine().until_crash = until;
        let options = self.options();
        match Store::open(self.disk.clone(), key(), options) {
            Ok(opened) => self.work(&opened),
            Err(error) => self.could_not_open(&error),
        }
        match self.rng.chance(0.2) {
            true => self.disk.restart(),
            false => {
                self.crashes += 1;
                let seed = self.rng.next_u64();
                self.disk.crash(seed);
            }
        }
    }

    fn could_not_open(&self, error: &StoreError) {
        assert!(
            matches!(
                error,
                StoreError::Io { .. } | StoreError::Full { .. } | StoreError::Witness { .. }
            ),
            "{error}"
        );
    }

    fn work(&mut self, opened: &Opened) {
        let records = &opened.records;
        let possible = core::iter::once(self.known.clone()).chain(
            self.uncertain
                .iter()
                .map(|changes| known_after(&self.known, changes)),
        );
        let known = possible.into_iter().find(|known| same(records, known));
        self.known = known.unwrap_or_else(|| {
            panic!(
                "known:\n{:?}\nuncertain:\n{:?}\nfound:\n{records:?}",
                self.known, self.uncertain
            )
        });
        // Condensed ones count as they are now.
        for (name, all) in &mut self.known {
            *all = records[name].iter().map(|record| record.to_vec()).collect();
        }
        self.uncertain.clear();
        assert!(!(self.created && opened.continuity == Continuity::Created));
        self.created = true;
        for _ in 0..self.rng.below(12) {
            let changes = self.changes();
            match opened.store.commit(batch_of(&changes)) {
                Ok(()) => {
                    self.known = known_after(&self.known, &changes);
                    self.uncertain.clear();
                }
                Err(_) => self.uncertain.push(changes),
            }
        }
        if self.rng.chance(0.3) {
            let _ = opened.store.close();
        }
    }
}

fn histories(part: u64) {
    let wanted = number("ANTIPHON_CRASHES", 100_000) / 4;
    let seed = number("ANTIPHON_SEED", 1);
    let mut crashes = 0;
    for history in 0.. {
        let seed = Rng::stream(seed, 4 * history + part).next_u64();
        let mut history = History::new(seed);
        tracker::start();
        while history.crashes < 100 {
            let result = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| history.live()));
            if let Err(panic) = result {
                eprintln!("history of seed {seed:#x}, crash {}", history.crashes);
                std::panic::resume_unwind(panic);
            }
        }
        assert!(tracker::count() > 100);
        crashes += history.crashes;
        if crashes >= wanted {
            break;
        }
    }
}

#[test]
fn what_was_acknowledged_survives_power_cuts_a() {
    histories(0);
}

#[test]
fn what_was_acknowledged_survives_power_cuts_b() {
    histories(1);
}

#[test]
fn what_was_acknowledged_survives_power_cuts_c() {
    histories(2);
}

#[test]
fn what_was_acknowledged_survives_power_cuts_d() {
    histories(3);
}
