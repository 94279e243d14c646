//! Who remembers how far a store was, so that an older state of it is noticed.

use std::io;

use hkdf::hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::log::Medium;
use super::{Area, SealKey, StoreId, Witnessing};

/// What a witness remembers. Both numbers only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Which store. `None` from a witness that cannot tell: it then belongs to any.
    pub store: Option<StoreId>,
    /// How often the store was opened.
    pub opening: u64,
    /// The number of the last frame that is durable. 0 from a witness that only counts openings.
    pub sequence: u64,
}

/// A memory outside of the file: the monotonic counter of a secure element, another machine.
///
/// What it remembers is never ahead of the file: it is told after the file is durable. If it says more than the file does, the file
/// is an older one.
pub trait Witness: Send {
    /// What it remembers; `None` if it was never told anything.
    ///
    /// # Errors
    /// Anything: the store is not opened then.
    fn recall(&mut self) -> io::Result<Option<Seen>>;

    /// The store was opened, closed or written anew. Must be durable when it returns.
    ///
    /// # Errors
    /// Anything: the store is not opened or closed then.
    fn note(&mut self, seen: Seen) -> io::Result<()>;

    /// Records became durable. May be forgotten, as by a medium that wears out; what is remembered closes the gap in which the
    /// last records can be cut off unnoticed.
    ///
    /// # Errors
    /// Anything; ignored.
    fn progress(&mut self, seen: Seen) -> io::Result<()> {
        let _ = seen;
        Ok(())
    }
}

/// What is remembered of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Recalled {
    Nothing,
    Seen(Seen),
    /// There is a witness file, and nothing in it verifies.
    Damaged,
}

/// The witness that a store has.
pub(super) enum Keeper {
    /// A file of entries of 64 bytes: version 1, zero 7, store 16, opening 8, sequence 8, check 24. It is written anew, durably, for
    /// each note; progress is appended without a sync. The highest entry that verifies counts.
    File {
        /// How many more entries may be appended; none where an append has failed.
        room: usize,
    },
    Given(Box<dyn Witness>),
    Nobody,
}

const ENTRY: usize = 64;
const CHECKED: usize = 40;
const ENTRY_VERSION: u8 = 1;

/// So many entries the file may have; then the next one is a note.
const MOST_ENTRIES: usize = 1_024;

impl Keeper {
    pub(super) fn of(witnessing: Witnessing) -> Self {
        match witnessing {
            Witnessing::File => Keeper::File { room: 0 },
            Witnessing::Given(witness) => Keeper::Given(witness),
            Witnessing::Nobody => Keeper::Nobody,
        }
    }

    pub(super) fn recall(&mut self, medium: &mut Medium, key: &SealKey) -> io::Result<Recalled> {
        match self {
            Keeper::File { .. } => Ok(match medium.disk.read(Area::Witness)? {
                None => Recalled::Nothing,
                Some(bytes) => read(&bytes, key).map_or(Recalled::Damaged, Recalled::Seen),
            }),
            Keeper::Given(witness) => {
                Ok(witness.recall()?.map_or(Recalled::Nothing, Recalled::Seen))
            }
            Keeper::Nobody => Ok(Recalled::Nothing),
        }
    }

    pub(super) fn note(
        &mut self,
        medium: &mut Medium,
        key: &SealKey,
        seen: Seen,
    ) -> io::Result<()> {
        match self {
            Keeper::File { room } => {
                *room = 0;
                medium.disk.create(Area::NextWitness)?;
                medium.append(Area::NextWitness, &entry(key, seen))?;
                medium.sync(Area::NextWitness)?;
                medium.disk.rename(Area::NextWitness, Area::Witness)?;
                medium.sync_directory()?;
                *room = MOST_ENTRIES;
                Ok(())
            }
            Keeper::Given(witness) => witness.note(seen),
            Keeper::Nobody => Ok(()),
        }
    }

    pub(super) fn progress(&mut self, medium: &mut Medium, key: &SealKey, seen: Seen) {
        let done = match self {
            Keeper::File { room: 0 } => self.note(medium, key, seen),
            Keeper::File { room } => {
                *room -= 1;
                match medium.append(Area::Witness, &entry(key, seen)) {
                    // A place of fixed size, as in flash: as if all entries were used up.
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                        self.note(medium, key, seen)
                    }
                    Err(error) => {
                        *room = 0;
                        Err(error)
                    }
                    Ok(()) => Ok(()),
                }
            }
            Keeper::Given(witness) => witness.progress(seen),
            Keeper::Nobody => Ok(()),
        };
        if let Err(error) = done {
            tracing::warn!(%error, "the witness of the store does not keep up");
        }
    }
}

fn check(key: &SealKey, bytes: &[u8]) -> Hmac<Sha256> {
    let key = key.derive(b"", b"witness", b"");
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_ref()).expect("HMAC takes every key");
    mac.update(bytes);
    mac
}

fn entry(key: &SealKey, seen: Seen) -> [u8; ENTRY] {
    let mut bytes = [0; ENTRY];
    bytes[0] = ENTRY_VERSION;
    bytes[8..24].copy_from_slice(&seen.store.map_or([0; 16], |store| store.0));
    bytes[24..32].copy_from_slice(&seen.opening.to_be_bytes());
    bytes[32..40].copy_from_slice(&seen.sequence.to_be_bytes());
    let mac = check(key, &bytes[..CHECKED]).finalize().into_bytes();
    bytes[CHECKED..].copy_from_slice(&mac[..ENTRY - CHECKED]);
    bytes
}

/// The highest entry that verifies.
fn read(bytes: &[u8], key: &SealKey) -> Option<Seen> {
    let (entries, _) = bytes.as_chunks::<ENTRY>();
    entries
        .iter()
        .filter_map(|entry| read_entry(entry, key))
        .max_by_key(|seen| (seen.opening, seen.sequence))
}

fn read_entry(bytes: &[u8; ENTRY], key: &SealKey) -> Option<Seen> {
    let (checked, mac) = bytes.split_at(CHECKED);
    let (&[version, ..], rest) = checked.split_first_chunk::<8>()?;
    let (store, rest) = rest.split_first_chunk()?;
    let (opening, rest) = rest.split_first_chunk()?;
    let sequence = rest.first_chunk()?;
    if version != ENTRY_VERSION {
        return None;
    }
    check(key, checked).verify_truncated_left(mac).ok()?;
    Some(Seen {
        store: Some(StoreId(*store)),
        opening: u64::from_be_bytes(*opening),
        sequence: u64::from_be_bytes(*sequence),
    })
}
