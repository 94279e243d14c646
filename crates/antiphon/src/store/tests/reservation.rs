//! Sequence numbers over crashes: what `antiphon-oscore` reserves, on this store. A tracker sees every number that is used under every
//! Sender Key. Each control takes one defence out, and the tracker notices.

use std::collections::BTreeSet;

use antiphon_netsim::{Operation, Rng};
use antiphon_oscore::credential::CredentialFormat;
use antiphon_oscore::record::{Installed, OwnMember, PeersKept, Record, Restored};
use antiphon_oscore::secret::Secret;
use antiphon_oscore::sequence::{Sequence, SequenceError, SequenceSettings};
use antiphon_oscore::suite::Suite;

use super::*;

pub(super) const NAME: &str = "group/lights";
const SENDER: [u8; 1] = [5];

/// What is done to keep numbers from being used twice, or left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Defence {
    /// As it has to be.
    Whole,
    /// Numbers are used without being reserved.
    NoReservation,
    /// Numbers are used while their reservation is still being written.
    ReservedTooEarly,
    /// The record of a clean shutdown is not consumed before the first number is taken.
    CleanNotConsumed,
}

/// What an eavesdropper sees: a Gid, which stands for the keys, and a number. Each may be seen once.
#[derive(Default)]
struct Tracker {
    seen: BTreeSet<(Vec<u8>, u64)>,
    twice: u64,
}

impl Tracker {
    fn used(&mut self, gid: &[u8], number: u64) {
        if !self.seen.insert((gid.to_vec(), number)) {
            self.twice += 1;
        }
    }
}

struct Member {
    rng: Rng,
    disk: SimDisk,
    defence: Defence,
    witnessed: bool,
    tracker: Tracker,
    settings: SequenceSettings,
    generation: u64,
    crashes: u64,
}

pub(super) fn gid(generation: u64) -> Vec<u8> {
    generation.to_be_bytes()[4..].to_vec()
}

pub(super) fn installed(generation: u64) -> Record {
    Record::Installed(Box::new(Installed {
        name: NAME.to_owned(),
        generation,
        gid: gid(generation),
        master_secret: Secret::new(vec![generation as u8; 16]),
        master_salt: Vec::new(),
        suite: Suite::default(),
        format: CredentialFormat::Ccs,
        manager: vec![0xa0],
        own: Some(OwnMember {
            sender_id: SENDER.to_vec(),
            credential: vec![0xa0],
            key: None,
        }),
        upto: 0,
        peers: PeersKept::Nobody,
        past: Vec::new(),
        ever_deleted: false,
    }))
}

pub(super) fn reserved(generation: u64, upto: u64) -> Record {
    Record::Reserved {
        gid: gid(generation),
        sender_id: SENDER.to_vec(),
        upto,
    }
}

impl Member {
    fn new(seed: u64, defence: Defence) -> Member {
        Member {
            rng: Rng::new(seed),
            disk: SimDisk::new(seed),
            defence,
            witnessed: true,
            tracker: Tracker::default(),
            settings: SequenceSettings {
                block: 8,
                ..SequenceSettings::default()
            },
            generation: 0,
            crashes: 0,
        }
    }

    fn options(&mut self) -> Options {
        let options = Options::default()
            .compact_at(1_200)
            .condense(|_, records| Restored::condense(records))
            .entropy(seeded(self.rng.next_u64()));
        match self.witnessed {
            true => options,
            false => options.without_witness(),
        }
    }

    /// From one start to the power cut, at whatever write that comes.
    fn live(&mut self) {
        let fate = self.rng.next_u64();
        for operation in [Operation::Write, Operation::Sync] {
            let chance = if fate.is_multiple_of(5) { 0.03 } else { 0.0 };
            self.disk.machine().disk.fail_randomly(operation, chance);
        }
        let until = self.rng.below(60);
        self.disk.machine().until_crash = Some(until);
        let options = self.options();
        if let Ok(opened) = Store::open(self.disk.clone(), key(), options) {
            // Whatever fails ends the work: the power has gone, or the medium is broken.
            let _ = self.work(&opened);
        }
        self.crashes += 1;
        let seed = self.rng.next_u64();
        self.disk.crash(seed);
    }

    fn work(&mut self, opened: &Opened) -> Result<(), StoreError> {
        let store = &opened.store;
        let records = opened.records.get(NAME).map_or(&[][..], Vec::as_slice);
        let restored = Restored::fold(records);
        assert_eq!(restored.loss, None, "{restored:?}");
        let mut sequence = match restored.sequence(self.settings) {
            Some(sequence) => {
                let latest = restored.installations.latest.as_ref();
                self.generation = latest.map_or(self.generation, |(generation, _)| *generation);
                sequence
            }
            None => self.install(store)?,
        };
        if self.defence != Defence::CleanNotConsumed || records.is_empty() {
            store.append(NAME, &Record::Running.encode())?;
        }
        for _ in 0..self.rng.below(40) {
            if self.rng.chance(0.03) {
                sequence = self.install(store)?;
                store.append(NAME, &Record::Running.encode())?;
            }
            self.reserve(store, &mut sequence)?;
            for _ in 0..self.rng.below(6) {
                match sequence.take() {
                    Ok(number) => self.tracker.used(&gid(self.generation), number.value()),
                    Err(SequenceError::NotReserved) => break,
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
        // A clean record beyond the reservation would be refused: a second line of defence, not the one that is looked at.
        if self.rng.chance(0.5) && self.defence != Defence::NoReservation {
            let clean = Record::Clean {
                gid: gid(self.generation),
                sender_id: Some(SENDER.to_vec()),
                next: sequence.next(),
                windows: Vec::new(),
            };
            store.append(NAME, &clean.encode())?;
            store.close()?;
        }
        Ok(())
    }

    fn install(&mut self, store: &Store) -> Result<Sequence, StoreError> {
        let next = self.generation + 1;
        store.append(NAME, &installed(next).encode())?;
        self.generation = next;
        Ok(Sequence::new(self.settings))
    }

    fn reserve(&mut self, store: &Store, sequence: &mut Sequence) -> Result<(), StoreError> {
        let Some(upto) = sequence.wants() else {
            return Ok(());
        };
        let record = reserved(self.generation, upto).encode();
        match self.defence {
            Defence::NoReservation => sequence.reserved(upto),
            Defence::ReservedTooEarly => {
                sequence.reserved(upto);
                for _ in 0..4 {
                    if let Ok(number) = sequence.take() {
                        self.tracker.used(&gid(self.generation), number.value());
                    }
                }
                store.append(NAME, &record)?;
            }
            Defence::Whole | Defence::CleanNotConsumed => match store.append(NAME, &record) {
                Ok(()) => sequence.reserved(upto),
                Err(error) => {
                    sequence.not_reserved();
                    return Err(error);
                }
            },
        }
        Ok(())
    }
}

/// Numbers used, and numbers used twice.
fn lives(defence: Defence, crashes: u64) -> (usize, u64) {
    let (mut used, mut twice) = (0, 0);
    for history in 0..crashes / 50 {
        let mut member = Member::new(Rng::stream(11, history).next_u64(), defence);
        while member.crashes < 50 {
            member.live();
        }
        used += member.tracker.seen.len();
        twice += member.tracker.twice;
    }
    (used, twice)
}

// Threat 2: nonce reuse after a crash, requester side.

#[test]
fn threat_02_no_sequence_number_is_used_twice_over_crashes() {
    let crashes = crashes::number("ANTIPHON_CRASHES", 100_000) / 10;
    let (used, twice) = lives(Defence::Whole, crashes);
    assert!(used as u64 > 5 * crashes, "{used} numbers");
    assert_eq!(twice, 0, "of {used}");
}

#[test]
fn threat_02_control_without_the_reservation_step_the_tracker_catches_it() {
    let (_, twice) = lives(Defence::NoReservation, 500);
    assert!(twice > 100, "{twice}");
}

#[test]
fn threat_02_control_with_numbers_used_before_they_are_durably_reserved_the_tracker_catches_it() {
    let (_, twice) = lives(Defence::ReservedTooEarly, 1_000);
    assert!(twice > 10, "{twice}");
}

#[test]
fn threat_02_control_with_a_clean_shutdown_believed_twice_the_tracker_catches_it() {
    let (_, twice) = lives(Defence::CleanNotConsumed, 2_000);
    assert!(twice > 10, "{twice}");
}

/// A member works, its file is saved, it goes on, and the saved file is put back.
fn put_back(witnessed: bool) -> (Member, Result<Opened, StoreError>) {
    let mut member = Member::new(1, Defence::Whole);
    member.witnessed = witnessed;
    let work = |member: &mut Member| {
        let options = member.options();
        let opened = Store::open(member.disk.clone(), key(), options).unwrap();
        member.work(&opened).unwrap();
        member.disk.restart();
    };
    work(&mut member);
    let saved = member.disk.get(Area::Log);
    work(&mut member);
    member.disk.put(Area::Log, &saved);
    let options = member.options();
    let opened = Store::open(member.disk.clone(), key(), options);
    (member, opened)
}

#[test]
fn threat_02_a_state_file_that_is_put_back_is_refused() {
    let (member, opened) = put_back(true);
    assert!(member.tracker.seen.len() > 10 && member.tracker.twice == 0);
    let error = opened.unwrap_err();
    let older = matches!(
        error,
        StoreError::NotTheLast {
            mismatch: Mismatch::Older { .. },
            ..
        }
    );
    assert!(older, "{error}");
}

#[test]
fn threat_02_control_without_a_witness_a_state_file_that_is_put_back_uses_numbers_twice() {
    let (mut member, opened) = put_back(false);
    member.work(&opened.unwrap()).unwrap();
    assert!(member.tracker.twice > 0);
}
