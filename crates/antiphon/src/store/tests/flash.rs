//! A store in NOR flash, whose power goes at any page and at any erasure: what was acknowledged is there, no nonce of the seal and no
//! sequence number is used twice, and no page is programmed twice.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use antiphon_netsim::{self as netsim, FlashError, Rng};
use antiphon_oscore::record::{Record, Restored};
use antiphon_oscore::sequence::{SequenceError, SequenceSettings};

use super::reservation::{NAME, gid, installed, reserved};
use super::*;
use crate::store::{Flash, FlashDisk, Geometry, Layout};

/// The same flash for each start of the machine.
#[derive(Clone)]
struct Chip(Arc<Mutex<netsim::Flash>>);

impl Chip {
    fn new(page: usize, seed: u64) -> Self {
        let flash = netsim::Flash::new(12, 4_096, page, seed);
        Self(Arc::new(Mutex::new(flash)))
    }

    fn flash(&self) -> MutexGuard<'_, netsim::Flash> {
        self.0.lock().unwrap()
    }
}

/// A page that is programmed twice is a mistake of ours, whatever else happens.
fn failed(error: FlashError) -> io::Error {
    assert!(
        matches!(error, FlashError::NoPower | FlashError::Failed),
        "{error}"
    );
    io::Error::other(error)
}

impl Flash for Chip {
    fn geometry(&self) -> Geometry {
        let flash = self.flash();
        Geometry {
            sectors: flash.sectors(),
            sector: flash.sector(),
            page: flash.page(),
        }
    }

    fn read(&mut self, at: usize, into: &mut [u8]) -> io::Result<()> {
        self.flash().read(at, into).map_err(failed)
    }

    fn program(&mut self, at: usize, bytes: &[u8]) -> io::Result<()> {
        self.flash().program(at, bytes).map_err(failed)
    }

    fn erase(&mut self, sector: usize) -> io::Result<()> {
        self.flash().erase(sector).map_err(failed)
    }
}

const LAYOUT: Layout = Layout {
    log_banks: 3,
    log_sectors: 2,
    witness_banks: 2,
    witness_sectors: 1,
};

fn open(chip: &Chip, seed: u64) -> Result<Opened, StoreError> {
    let disk = FlashDisk::new(chip.clone(), LAYOUT).map_err(|error| StoreError::Io {
        file: String::new(),
        doing: "look",
        source: Arc::new(error),
    })?;
    let options = Options::default()
        .compact_at(1_200)
        .condense(|_, records| Restored::condense(records))
        .entropy(seeded(seed));
    Store::open(disk, key(), options)
}

/// A member that reserves and uses sequence numbers, and gets new keys.
struct Member {
    rng: Rng,
    chip: Chip,
    used: BTreeSet<(u64, u64)>,
    /// Acknowledged to be reserved, and under which keys.
    durable: (u64, u64),
    cuts: u64,
}

impl Member {
    fn live(&mut self) {
        let (until, seed) = (self.rng.below(120), self.rng.next_u64());
        let failing = if self.rng.chance(0.2) { 0.01 } else { 0.0 };
        self.chip.flash().fail_randomly(failing);
        self.chip.flash().cut_after(Some(until));
        match open(&self.chip, seed) {
            Ok(opened) => {
                let _ = self.work(&opened); // the power has gone, or the chip is broken
            }
            Err(StoreError::Io { .. } | StoreError::Witness { .. } | StoreError::Full { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        self.cuts += 1;
        self.chip.flash().power_on();
    }

    fn work(&mut self, opened: &Opened) -> Result<(), StoreError> {
        let store = &opened.store;
        let records = opened.records.get(NAME).map_or(&[][..], Vec::as_slice);
        let restored = Restored::fold(records);
        assert_eq!(restored.loss, None);
        let settings = SequenceSettings {
            block: 8,
            ..SequenceSettings::default()
        };
        let latest = restored.installations.latest.as_ref();
        let mut generation = latest.map_or(0, |(generation, _)| *generation);
        let mut sequence = restored.sequence(settings);
        let found = sequence.as_ref().map_or(0, |sequence| sequence.next());
        assert!(
            (generation, found) >= self.durable,
            "{generation} {found}: less than {:?}",
            self.durable
        );
        store.append("other", &found.to_be_bytes())?;
        if sequence.is_some() {
            store.append(NAME, &Record::Running.encode())?;
        }
        for _ in 0..self.rng.below(30) {
            if sequence.is_none() || self.rng.chance(0.05) {
                store.append(NAME, &installed(generation + 1).encode())?;
                generation += 1;
                self.durable = (generation, 0);
                sequence = Some(antiphon_oscore::sequence::Sequence::new(settings));
                store.append(NAME, &Record::Running.encode())?;
            }
            let Some(sequence) = &mut sequence else {
                continue;
            };
            if let Some(upto) = sequence.wants() {
                store.append(NAME, &reserved(generation, upto).encode())?;
                sequence.reserved(upto);
                self.durable = (generation, upto);
            }
            for _ in 0..self.rng.below(6) {
                match sequence.take() {
                    Ok(number) => {
                        let new = self.used.insert((generation, number.value()));
                        assert!(new, "{number:?} of generation {generation} is used twice");
                    }
                    Err(SequenceError::NotReserved) => break,
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
        if self.rng.chance(0.3) {
            store.close()?;
        }
        Ok(())
    }
}

#[test]
fn what_was_acknowledged_in_flash_survives_power_cuts_and_no_number_is_used_twice() {
    assert_eq!(gid(1).len(), 4);
    let cuts = crashes::number("ANTIPHON_CRASHES", 100_000) / 20;
    let mut used = 0;
    for history in 0..cuts.div_ceil(50) {
        let seed = Rng::stream(21, history).next_u64();
        let page = [8, 16, 64, 256][history as usize % 4];
        let mut member = Member {
            rng: Rng::new(seed),
            chip: Chip::new(page, seed),
            used: BTreeSet::new(),
            durable: (0, 0),
            cuts: 0,
        };
        tracker::start();
        while member.cuts < 50 {
            member.live();
        }
        assert!(tracker::count() > 50);
        used += member.used.len() as u64;
    }
    assert!(used > cuts, "{used} numbers over {cuts} cuts");
}

#[test]
fn banks_wear_alike_and_what_is_counted_is_what_was_erased() {
    let chip = Chip::new(8, 1);
    for seed in 0..4 {
        let opened = open(&chip, seed).unwrap();
        for n in 0..500_u64 {
            opened.store.append("a", &n.to_be_bytes()).unwrap();
            if n % 20 == 19 {
                let fresh = Batch::new().replace("a", b"only this").unwrap();
                opened.store.commit(fresh).unwrap();
            }
        }
        opened.store.close().unwrap();
    }
    let disk = FlashDisk::new(chip.clone(), LAYOUT).unwrap();
    let counted = disk.erasures();
    let erased = chip.flash().erasures()[..8].to_vec();
    for (at, (counted, erased)) in counted.iter().zip(&erased).enumerate() {
        // Since its mark a bank may have been erased once more.
        let more = erased.checked_sub(*counted);
        assert!(
            matches!(more, Some(0 | 1)),
            "sector {at}: {counted}, {erased}"
        );
    }
    let log = &erased[..6];
    let (least, most) = (log.iter().min().unwrap(), log.iter().max().unwrap());
    assert!(*least > 5 && most - least <= 1, "{erased:?}");
    assert_eq!(
        chip.flash().erasures()[8..],
        [0; 4],
        "nothing else is touched"
    );
}

#[test]
fn what_was_forgotten_is_nowhere_in_the_flash() {
    let chip = Chip::new(8, 2);
    let opened = open(&chip, 1).unwrap();
    opened.store.append("a", b"one").unwrap();
    let everything = |chip: &Chip| {
        let flash = chip.flash();
        let mut bytes = vec![0; flash.sectors() * flash.sector()];
        flash.read(0, &mut bytes).unwrap();
        bytes
    };
    let before = everything(&chip);
    let marked = before.windows(4).filter(|four| four == b"aBk1").count();
    assert_eq!(marked, 2, "one bank of the store and one of the witness");
    opened.store.compact().unwrap();
    let after = everything(&chip);
    let marked = after.windows(4).filter(|four| four == b"aBk1").count();
    assert_eq!(marked, 2, "the one of before is erased");
    let place = before.iter().zip(&after).position(|(a, b)| a != b);
    assert_eq!(place, Some(0), "it was there");
    assert!(after[..2 * 4_096].iter().all(|byte| *byte == 0xff));
}

#[test]
fn a_layout_that_does_not_fit_is_refused() {
    let refused = |layout: Layout| {
        let refused = FlashDisk::new(Chip::new(8, 3), layout).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{layout:?}");
    };
    refused(Layout {
        log_banks: 1,
        ..LAYOUT
    });
    refused(Layout {
        log_sectors: 0,
        ..LAYOUT
    });
    refused(Layout {
        log_sectors: 4,
        ..LAYOUT
    });
    refused(Layout {
        witness_banks: 1,
        ..LAYOUT
    });
    let without = Layout {
        witness_banks: 0,
        ..LAYOUT
    };
    let chip = Chip::new(8, 3);
    for n in 0..3_u64 {
        let disk = FlashDisk::new(chip.clone(), without).unwrap();
        let options = Options::default().without_witness().entropy(seeded(n));
        let opened = Store::open(disk, key(), options).unwrap();
        assert_eq!(of(&opened.records, "a").len() as u64, n);
        opened.store.append("a", &n.to_be_bytes()).unwrap();
    }
    let disk = FlashDisk::new(Chip::new(8, 3), without).unwrap();
    let no_place = Store::open(disk, key(), Options::default());
    assert!(matches!(no_place, Err(StoreError::Witness { .. })));
}

#[test]
fn the_check_is_the_usual_one() {
    let disk = FlashDisk::new(Chip::new(8, 4), LAYOUT).unwrap();
    assert!(format!("{disk:?}").contains("4096"));
    let chip = Chip::new(16, 4);
    let opened = open(&chip, 1).unwrap();
    opened.store.append("a", b"one").unwrap();
    opened.store.close().unwrap();
    // Length 0: its check, as everyone's CRC-32 of four zero bytes, is 2144df1c.
    let mut disk = FlashDisk::new(Chip::new(8, 5), LAYOUT).unwrap();
    disk.create(Area::NextWitness).unwrap();
    disk.append(Area::NextWitness, b"").unwrap();
    let mut bytes = [0; 8];
    let start = 6 * 4_096 + 32;
    // The chip is the disk's own now.
    let found = disk.look(start, &mut bytes);
    assert!(found.is_ok());
    assert_eq!(bytes, [0, 0, 0, 0, 0x21, 0x44, 0xdf, 0x1c]);
    assert_eq!(disk.read(Area::NextWitness).unwrap(), None);
    assert_eq!(disk.read(Area::Witness).unwrap(), None);
    disk.rename(Area::NextWitness, Area::Witness).unwrap();
    assert_eq!(disk.read(Area::Witness).unwrap(), Some(Vec::new()));
    assert!(disk.rename(Area::NextWitness, Area::Witness).is_err());
    assert!(disk.create(Area::Log).is_err() && disk.truncate(Area::Log, 0).is_err());
    let full = disk.append(Area::Witness, &[0; 4_096]).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
}
