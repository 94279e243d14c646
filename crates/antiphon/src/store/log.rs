//! The one owner of the file: opening, appending, writing anew, closing.

use core::mem;
use std::io;
use std::sync::Arc;

use super::contents::{Contents, Unreadable};
use super::frame::{Epoch, Header, Kind, Opening};
use super::witness::{Keeper, Recalled, Seen};
use super::{
    Area, Condense, Continuity, Disk, Entropy, MAX_FILE, Mismatch, Options, Records, SealKey,
    StoreError, StoreId, Wear, Witnessing, batch,
};

/// When a file is written anew, its records are put into frames of about this size.
const FRAME: usize = 64 << 10;

/// A disk, and what it was asked to do.
pub(super) struct Medium {
    pub(super) disk: Box<dyn Disk>,
    pub(super) wear: Wear,
}

impl Medium {
    pub(super) fn append(&mut self, area: Area, bytes: &[u8]) -> io::Result<()> {
        self.wear.bytes += bytes.len() as u64;
        self.disk.append(area, bytes)
    }

    pub(super) fn sync(&mut self, area: Area) -> io::Result<()> {
        self.wear.syncs += 1;
        self.disk.sync(area)
    }

    pub(super) fn sync_directory(&mut self) -> io::Result<()> {
        self.wear.syncs += 1;
        self.disk.sync_directory()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Open,
    /// It is unknown what is durable.
    Poisoned,
}

pub(super) struct Log {
    medium: Medium,
    file: String,
    key: SealKey,
    keeper: Keeper,
    condense: Option<Condense>,
    entropy: Entropy,
    state: State,
    header: Header,
    epoch: Epoch,
    opening: Opening,
    /// The number of the last frame that is durable.
    last: u64,
    /// The last number that was sealed under; it is never used again.
    sequence: u64,
    /// So many bytes of the file are good.
    length: u64,
    /// What an append that failed may have left stands behind them.
    leftover: bool,
    bound: u64,
    /// The file is written anew when it is longer than this.
    next_compaction: u64,
}

/// Where the next frame goes, and how it is sealed.
struct Place {
    header: Header,
    epoch: Epoch,
    salt: [u8; 32],
}

/// What was found when opening.
struct Found {
    contents: Option<Contents>,
    /// Everything that is there is known to be durable, and nothing else is there.
    whole: bool,
    seen: Option<Seen>,
    continuity: Continuity,
}

impl Log {
    pub(super) fn open(
        disk: Box<dyn Disk>,
        key: SealKey,
        options: Options,
    ) -> Result<(Log, Records, Continuity), StoreError> {
        let asked = Asked {
            boot: options.boot,
            despite_loss: options.despite_loss,
            existing: options.existing,
        };
        let lock = |disk: &mut dyn Disk| disk.lock();
        let (mut medium, file, keeper, found) =
            locked(disk, lock, &key, options.witnessing, asked)?;
        let Found {
            contents,
            whole,
            seen,
            continuity,
        } = found;
        let mut entropy = options.entropy;
        let mut random16 = || {
            let mut bytes = [0; 16];
            fill(&mut entropy, &mut bytes).map(|()| bytes)
        };
        let store = match (&contents, seen.and_then(|seen| seen.store)) {
            (Some(contents), _) => contents.store,
            (None, Some(store)) => store,
            (None, None) => StoreId(random16()?),
        };
        let (mut records, mut opened, mut sequence) = (Records::new(), 0, 0);
        let (mut header, mut length) = (None, 0);
        if let Some(contents) = contents {
            (records, opened, sequence) = (contents.records, contents.opened, contents.sequence);
            (header, length) = (Some(contents.header), contents.length as u64);
            medium.wear = contents.wear;
        }
        let ahead = seen.filter(|_| matches!(continuity, Continuity::Broken(_)));
        let opening = Opening {
            number: opened.max(ahead.map_or(0, |seen| seen.opening)) + 1,
            boot: options.boot,
            process: std::process::id(),
            birth: None,
            wear: medium.wear,
        };
        let sequence = sequence.max(ahead.map_or(0, |seen| seen.sequence));
        let header = match header {
            Some(header) if whole => header,
            _ => Header::new(&key, store, random16()?),
        };
        let mut salt = [0; 32];
        fill(&mut entropy, &mut salt)?;
        let mut log = Log {
            medium,
            file,
            keeper,
            condense: options.condense,
            entropy,
            state: State::Open,
            epoch: Epoch::new(&key, &header, &salt),
            key,
            header,
            opening,
            last: sequence,
            sequence,
            length,
            leftover: false,
            bound: options.bound as u64,
            next_compaction: options.bound as u64,
        };
        match whole {
            true => log.begin_here(salt)?,
            false => log.write_anew(&records)?,
        }
        log.note()?;
        Ok((log, records, continuity))
    }

    /// Goes on in the file that is there.
    fn begin_here(&mut self, salt: [u8; 32]) -> Result<(), StoreError> {
        self.opening.birth = self
            .medium
            .disk
            .birth(Area::Log)
            .map_err(self.failed("look at it"))?;
        let body = self.opening.encode();
        self.append(Kind::Opening, Some(&salt), &body)
    }

    /// Appends what is in a batch. When this returns without an error, it is durable.
    pub(super) fn commit(&mut self, body: &[u8]) -> Result<(), StoreError> {
        self.ready()?;
        self.append(Kind::Entries, None, body)?;
        let seen = self.seen();
        self.keeper.progress(&mut self.medium, &self.key, seen);
        Ok(())
    }

    fn ready(&self) -> Result<(), StoreError> {
        match self.state {
            State::Open => Ok(()),
            State::Poisoned => Err(StoreError::Poisoned {
                file: self.file.clone(),
            }),
        }
    }

    fn append(
        &mut self,
        kind: Kind,
        salt: Option<&[u8; 32]>,
        body: &[u8],
    ) -> Result<(), StoreError> {
        if self.leftover {
            self.clear_leftover()?;
        }
        // Even if the write fails, its number is used up: part of what was sealed may have reached the medium.
        self.sequence += 1;
        let mut frame = Vec::new();
        self.epoch
            .seal(kind, self.sequence, self.last, salt, body, &mut frame);
        if let Err(error) = self.medium.append(Area::Log, &frame) {
            self.leftover = true;
            return Err(self.failed("append")(error));
        }
        if let Err(error) = self.medium.sync(Area::Log) {
            self.state = State::Poisoned;
            return Err(self.failed("sync")(error));
        }
        self.last = self.sequence;
        self.length += frame.len() as u64;
        Ok(())
    }

    /// Removes what an append that failed has left.
    fn clear_leftover(&mut self) -> Result<(), StoreError> {
        match self.medium.disk.truncate(Area::Log, self.length) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Unsupported => self.compact()?,
            Err(error) => return Err(self.failed("cut back a failed write")(error)),
        }
        self.leftover = false;
        Ok(())
    }

    /// Whether the file has grown so much that it should be written anew.
    pub(super) fn has_grown(&self) -> bool {
        self.state == State::Open && self.length > self.next_compaction
    }

    /// Writes the file anew with what is still needed.
    pub(super) fn compact(&mut self) -> Result<(), StoreError> {
        self.ready()?;
        let done = self.read_back().and_then(|mut records| {
            if let Some(condense) = &mut self.condense {
                for (name, kept) in &mut records {
                    *kept = condense(name, mem::take(kept));
                }
                records.retain(|_, kept| !kept.is_empty());
            }
            self.write_anew(&records)
        });
        match done {
            Ok(()) => self.medium.wear.compactions += 1,
            Err(_) => {
                self.medium.wear.failed_compactions += 1;
                self.next_compaction = self.length.saturating_mul(2);
            }
        }
        done?;
        let seen = self.seen();
        self.keeper.progress(&mut self.medium, &self.key, seen);
        Ok(())
    }

    /// All records, from the file: they are not kept in memory.
    pub(super) fn read_back(&mut self) -> Result<Records, StoreError> {
        self.ready()?;
        let bytes = self
            .medium
            .disk
            .read(Area::Log)
            .map_err(self.failed("read"))?
            .unwrap_or_default();
        let good = bytes
            .get(..self.length as usize)
            .and_then(|good| Contents::read(good, &self.key).ok())
            .filter(|read| read.sequence == self.last && read.length as u64 == self.length);
        good.map(|contents| contents.records).ok_or_else(|| {
            // Somebody else has written to it.
            self.state = State::Poisoned;
            StoreError::Corrupt {
                file: self.file.clone(),
                at: 0,
            }
        })
    }

    /// Puts a new file with these records in the place of the old one. Up to the rename an error changes nothing.
    fn write_anew(&mut self, records: &Records) -> Result<(), StoreError> {
        let (mut file, mut salt) = ([0; 16], [0; 32]);
        fill(&mut self.entropy, &mut file)?;
        fill(&mut self.entropy, &mut salt)?;
        let header = Header::new(&self.key, self.header.store, file);
        let place = Place {
            epoch: Epoch::new(&self.key, &header, &salt),
            header,
            salt,
        };
        self.medium
            .disk
            .create(Area::NextLog)
            .map_err(self.failed("create"))?;
        let birth = self
            .medium
            .disk
            .birth(Area::NextLog)
            .map_err(self.failed("look at it"))?;
        let opening = Opening {
            birth,
            wear: self.medium.wear,
            ..self.opening
        };
        let (bytes, sequence) = self.sealed(&place, &opening, records)?;
        let written = self
            .medium
            .append(Area::NextLog, &bytes)
            .and_then(|()| self.medium.sync(Area::NextLog));
        if let Err(error) = written {
            // The room that it takes is needed: perhaps it was all that there was.
            let _ = self.medium.disk.create(Area::NextLog);
            return Err(self.failed("write it anew")(error));
        }
        let renamed = self
            .medium
            .disk
            .rename(Area::NextLog, Area::Log)
            .and_then(|()| self.medium.sync_directory());
        if let Err(error) = renamed {
            // Which of the two files a crash would leave is unknown, so none may be appended to.
            self.state = State::Poisoned;
            return Err(self.failed("rename")(error));
        }
        self.header = place.header;
        self.epoch = place.epoch;
        self.opening = opening;
        self.last = sequence;
        self.sequence = sequence;
        self.length = bytes.len() as u64;
        self.leftover = false;
        self.next_compaction = self.bound.max(2 * self.length);
        Ok(())
    }

    /// A whole file, and the number of its last frame.
    fn sealed(
        &self,
        place: &Place,
        opening: &Opening,
        records: &Records,
    ) -> Result<(Vec<u8>, u64), StoreError> {
        let mut bytes = place.header.as_bytes().to_vec();
        let mut sequence = self.sequence + 1;
        let epoch = &place.epoch;
        let (salt, body) = (Some(&place.salt), opening.encode());
        epoch.seal(Kind::Opening, sequence, 0, salt, &body, &mut bytes);
        for batch in batch::batches_of(records, FRAME)? {
            let previous = sequence;
            sequence += 1;
            let body = batch.body();
            epoch.seal(Kind::Entries, sequence, previous, None, body, &mut bytes);
        }
        if bytes.len() > MAX_FILE {
            return Err(StoreError::TooLong);
        }
        Ok((bytes, sequence))
    }

    /// Says in the file that the owner ended in good order.
    pub(super) fn close(&mut self) -> Result<(), StoreError> {
        self.ready()?;
        let wear = self.medium.wear.encode();
        self.append(Kind::Closing, None, &wear)?;
        self.note()
    }

    pub(super) fn wear(&self) -> Wear {
        self.medium.wear
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn store_id(&self) -> StoreId {
        self.header.store
    }

    pub(super) fn file(&self) -> &str {
        &self.file
    }

    fn seen(&self) -> Seen {
        Seen {
            store: Some(self.header.store),
            opening: self.opening.number,
            sequence: self.last,
        }
    }

    fn note(&mut self) -> Result<(), StoreError> {
        let seen = self.seen();
        self.keeper
            .note(&mut self.medium, &self.key, seen)
            .map_err(|error| witness_error(&self.file, error))
    }

    fn failed(&self, doing: &'static str) -> impl Fn(io::Error) -> StoreError + use<> {
        let file = self.file.clone();
        move |error| StoreError::io(file.clone(), doing, error)
    }
}

/// What opening would find; nothing is written.
pub(super) fn examine(
    disk: Box<dyn Disk>,
    key: &SealKey,
    options: Options,
) -> Result<(Option<Contents>, Continuity), StoreError> {
    let asked = Asked {
        boot: options.boot,
        despite_loss: options.despite_loss,
        existing: options.existing,
    };
    let lock = |disk: &mut dyn Disk| disk.lock_to_look();
    let (.., found) = locked(disk, lock, key, options.witnessing, asked)?;
    Ok((found.contents, found.continuity))
}

/// Keeps others away from a disk, and sees what is there.
fn locked(
    disk: Box<dyn Disk>,
    lock: impl FnOnce(&mut dyn Disk) -> io::Result<()>,
    key: &SealKey,
    witnessing: Witnessing,
    asked: Asked,
) -> Result<(Medium, String, Keeper, Found), StoreError> {
    let mut medium = Medium {
        disk,
        wear: Wear::default(),
    };
    let file = medium.disk.name();
    lock(&mut *medium.disk).map_err(|error| lock_error(&file, error))?;
    let mut keeper = Keeper::of(witnessing);
    let found = look(&mut medium, &mut keeper, key, &file, asked)?;
    Ok((medium, file, keeper, found))
}

/// What is to be found.
struct Asked {
    boot: Option<[u8; 16]>,
    despite_loss: bool,
    existing: bool,
}

/// Reads the file and its witness, and decides whether the file is the one that was last in use.
fn look(
    medium: &mut Medium,
    keeper: &mut Keeper,
    key: &SealKey,
    file: &str,
    asked: Asked,
) -> Result<Found, StoreError> {
    let Asked {
        boot,
        despite_loss,
        existing,
    } = asked;
    let failed = |error| StoreError::io(file.to_owned(), "read", error);
    let bytes = medium.disk.read(Area::Log).map_err(failed)?;
    let recalled = keeper
        .recall(medium, key)
        .map_err(|error| witness_error(file, error))?;
    let seen = match recalled {
        Recalled::Seen(seen) => Some(seen),
        Recalled::Nothing | Recalled::Damaged => None,
    };
    let Some(bytes) = bytes else {
        let continuity = match (recalled, despite_loss) {
            (Recalled::Nothing, _) if !existing => Continuity::Created,
            (_, false) => {
                return Err(StoreError::Missing {
                    file: file.to_owned(),
                });
            }
            (Recalled::Nothing, true) => Continuity::Broken(Mismatch::NoWitness),
            (Recalled::Damaged, true) => Continuity::Broken(Mismatch::WitnessDamaged),
            (Recalled::Seen(seen), true) => Continuity::Broken(older(0, 0, seen)),
        };
        return Ok(Found {
            contents: None,
            whole: false,
            seen,
            continuity,
        });
    };
    if bytes.len() > MAX_FILE {
        return Err(StoreError::TooLong);
    }
    let contents = Contents::read(&bytes, key).map_err(|error| unreadable(file, error))?;
    let birth = medium.disk.birth(Area::Log).map_err(failed)?;
    let torn = contents.length < bytes.len();
    if let Some(seen) = seen
        && torn
        && seen.store.is_none_or(|store| store == contents.store)
        && seen.opening <= contents.opened
        && seen.sequence > contents.sequence
    {
        return Err(StoreError::Corrupt {
            file: file.to_owned(),
            at: contents.length as u64,
        });
    }
    let continuity = match mismatch(&contents, recalled, keeper, birth) {
        Some(mismatch) if despite_loss => Continuity::Broken(mismatch),
        Some(mismatch) => {
            return Err(StoreError::NotTheLast {
                file: file.to_owned(),
                mismatch,
            });
        }
        None if contents.closed => Continuity::Clean,
        None => Continuity::Crashed {
            same_boot: contents
                .opening
                .boot
                .zip(boot)
                .map(|(then, now)| then == now),
            process: contents.opening.process,
        },
    };
    // A witness is told of a frame after it was synced. What no witness knows may be in the system's memory only, after a
    // sync that failed: then all of it is written again.
    let whole = !torn
        && seen.is_some_and(|seen| seen.sequence == contents.sequence)
        && !matches!(continuity, Continuity::Broken(_));
    Ok(Found {
        contents: Some(contents),
        whole,
        seen,
        continuity,
    })
}

fn mismatch(
    contents: &Contents,
    recalled: Recalled,
    keeper: &Keeper,
    birth: Option<u64>,
) -> Option<Mismatch> {
    match recalled {
        // A crash while the store was created, before the witness was. Nothing can be lost of a store without records.
        Recalled::Nothing if contents.records.is_empty() => {}
        Recalled::Nothing if matches!(keeper, Keeper::Nobody) => {}
        Recalled::Nothing => return Some(Mismatch::NoWitness),
        Recalled::Damaged => return Some(Mismatch::WitnessDamaged),
        Recalled::Seen(seen) => {
            if seen.store.is_some_and(|store| store != contents.store) {
                return Some(Mismatch::Foreign);
            }
            if seen.opening > contents.opened || seen.sequence > contents.sequence {
                return Some(older(contents.opened, contents.sequence, seen));
            }
        }
    }
    let written = contents.opening.birth;
    (written.is_some() && written != birth).then_some(Mismatch::Copied)
}

fn older(opening: u64, sequence: u64, seen: Seen) -> Mismatch {
    Mismatch::Older {
        opening,
        sequence,
        seen_opening: seen.opening,
        seen_sequence: seen.sequence,
    }
}

fn unreadable(file: &str, error: Unreadable) -> StoreError {
    let file = file.to_owned();
    match error {
        Unreadable::NotAStore => StoreError::NotAStore { file },
        Unreadable::Version(found) => StoreError::Version { file, found },
        Unreadable::Key => StoreError::Key { file },
        Unreadable::Corrupt(at) => StoreError::Corrupt {
            file,
            at: at as u64,
        },
    }
}

fn lock_error(file: &str, error: io::Error) -> StoreError {
    if error.kind() != io::ErrorKind::WouldBlock {
        return StoreError::io(file.to_owned(), "lock", error);
    }
    StoreError::Locked {
        file: file.to_owned(),
        owner: error.to_string(),
    }
}

fn witness_error(file: &str, error: io::Error) -> StoreError {
    StoreError::Witness {
        file: file.to_owned(),
        source: Arc::new(error),
    }
}

fn fill(entropy: &mut Entropy, bytes: &mut [u8]) -> Result<(), StoreError> {
    entropy(bytes).map_err(|error| StoreError::Entropy(Arc::new(error)))
}
