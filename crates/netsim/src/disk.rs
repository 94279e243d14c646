//! A disk that keeps what was synced, and of the rest what it likes.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::fmt;

use crate::rng::Rng;

/// A write is torn at borders of this many bytes, or within one such sector.
const SECTOR: usize = 512;

/// Unsynced bytes (and a little for each operation) that one file may have; the oldest are written back by themselves.
const DIRTY_LIMIT: usize = 16 << 20;
const OPERATION_COST: usize = 64;

/// Unsynced changes of names; beyond that, the older half is written back by itself.
const DIRTY_NAMES: usize = 1_024;

/// What can be made to fail.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Operation {
    /// [`Disk::read`]
    Read,
    /// [`Disk::create`], [`Disk::write`] and [`Disk::append`]; of the bytes, some of the first may have been written.
    Write,
    /// [`Disk::truncate`]
    Truncate,
    /// [`Disk::rename`] and [`Disk::remove`]
    Rename,
    /// [`Disk::sync`]; some of the data may have been stored, and the rest will not be stored by a second try.
    Sync,
    /// [`Disk::sync_directory`]; some of the first changes may have been stored. A second try can store the rest.
    SyncDirectory,
}

/// Why the disk did not do what was asked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum DiskError {
    /// There is no file of this name.
    NotFound,
    /// There is a file of this name.
    AlreadyExists,
    /// The disk is full. What fits of the bytes has been written.
    Full,
    /// An error of the device; only on demand, see [`Disk::fail_next`].
    Io,
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DiskError::NotFound => "no such file",
            DiskError::AlreadyExists => "the file exists",
            DiskError::Full => "no space left on the disk",
            DiskError::Io => "input/output error",
        })
    }
}

impl core::error::Error for DiskError {}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
}

impl Change {
    fn cost(&self) -> usize {
        match self {
            Change::Write { bytes, .. } => OPERATION_COST + bytes.len(),
            Change::Truncate(_) => OPERATION_COST,
        }
    }

    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes } => put(content, *offset, bytes),
            Change::Truncate(length) => content.resize(*length, 0),
        }
    }
}

/// Writes `bytes` at `offset`; what lies between the end and `offset` reads as zeros.
fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

#[derive(Clone, Debug, Default)]
struct File {
    /// What programs see.
    content: Vec<u8>,
    /// What is certainly stored.
    stored: Vec<u8>,
    /// What makes `content` out of `stored`, oldest first.
    changes: VecDeque<Change>,
    cost: usize,
}

impl File {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.content);
        self.cost += change.cost();
        self.changes.push_back(change);
        while self.cost > DIRTY_LIMIT {
            match self.changes.pop_front() {
                Some(oldest) => {
                    self.cost -= oldest.cost();
                    oldest.apply(&mut self.stored);
                }
                None => break,
            }
        }
    }

    fn store_all(&mut self) {
        for change in self.changes.drain(..) {
            change.apply(&mut self.stored);
        }
        self.cost = 0;
    }

    /// Stores what happens to be stored when nothing is promised, and forgets the rest of the changes.
    fn store_some(&mut self, rng: &mut Rng) {
        let changes = core::mem::take(&mut self.changes);
        self.cost = 0;
        match Fate::draw(rng) {
            Fate::Lost => {}
            Fate::Kept => changes.iter().for_each(|c| c.apply(&mut self.stored)),
            Fate::InOrder => {
                let whole = rng.below(changes.len() as u64 + 1) as usize;
                for change in changes.iter().take(whole) {
                    change.apply(&mut self.stored);
                }
                if let Some(Change::Write { offset, bytes }) = changes.get(whole) {
                    let torn = rng.below(bytes.len() as u64 + 1) as usize;
                    put(&mut self.stored, *offset, &bytes[..torn]);
                }
            }
            Fate::Scattered => changes
                .iter()
                .for_each(|change| scatter(change, &mut self.stored, rng)),
        }
    }
}

/// What becomes of unsynced changes: four ways, because tests need the extremes as much as the middle.
enum Fate {
    /// All gone.
    Lost,
    /// All there.
    Kept,
    /// The first ones there, one of them torn, the rest gone.
    InOrder,
    /// Any sector of any write there, gone or torn: later ones may be there without earlier ones.
    Scattered,
}

impl Fate {
    fn draw(rng: &mut Rng) -> Fate {
        match rng.below(4) {
            0 => Fate::Lost,
            1 => Fate::Kept,
            2 => Fate::InOrder,
            _ => Fate::Scattered,
        }
    }
}

fn scatter(change: &Change, stored: &mut Vec<u8>, rng: &mut Rng) {
    let Change::Write { offset, bytes } = change else {
        if rng.chance(0.5) {
            change.apply(stored);
        }
        return;
    };
    let mut from = 0;
    while from < bytes.len() {
        let to = bytes.len().min(from + SECTOR - (offset + from) % SECTOR);
        let kept = match rng.below(4) {
            0 | 1 => to,
            2 => from,
            _ => rng.between(from as u64, to as u64) as usize,
        };
        put(stored, offset + from, &bytes[from..kept]);
        from = to;
    }
    // The length of a file and its data go separate ways: a longer file may be full of zeros.
    let end = offset + bytes.len();
    if stored.len() < end && rng.chance(0.5) {
        stored.resize(end, 0);
    }
}

#[derive(Clone, Debug)]
enum NameChange {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Create(name, file) => {
                names.insert(name.clone(), *file);
            }
            NameChange::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            NameChange::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

/// When an operation fails.
#[derive(Clone, Copy, Debug, Default)]
struct Fault {
    next: u64,
    chance: f64,
}

/// One flat directory of files, in memory, with the manners of a real file system:
///
/// - What was written is read back at once, but a [`crash`](Disk::crash) keeps of it only what was synced, and of the
///   rest anything between nothing and all: writes lost, torn within a sector, there without earlier ones, files longer
///   by zeros.
/// - [`sync`](Disk::sync) makes the content of one file durable, **not its name**: a new, renamed or removed file needs
///   [`sync_directory`](Disk::sync_directory). Changes of names survive in order, each whole or not at all.
/// - After a failed [`sync`](Disk::sync) the data counts as clean: the next one succeeds and stores nothing of it. Who
///   needs the data must write it again.
/// - Bytes that an unsynced change does not touch are never damaged.
///
/// Unsynced data is bounded: beyond 16 MiB of one file, or 1,024 changes of names, older ones are stored unasked.
/// A clone has a fate of its own: crash clones with many seeds to see many outcomes of one state.
#[derive(Clone, Debug)]
pub struct Disk {
    files: BTreeMap<u64, File>,
    made: u64,
    names: BTreeMap<String, u64>,
    stored_names: BTreeMap<String, u64>,
    name_changes: VecDeque<NameChange>,
    capacity: usize,
    faults: BTreeMap<Operation, Fault>,
    rng: Rng,
    syncs: u64,
}

impl Disk {
    /// An empty disk without limit. The seed is for random faults and for what a failing operation leaves.
    pub fn new(seed: u64) -> Disk {
        Disk {
            files: BTreeMap::new(),
            made: 0,
            names: BTreeMap::new(),
            stored_names: BTreeMap::new(),
            name_changes: VecDeque::new(),
            capacity: usize::MAX,
            faults: BTreeMap::new(),
            rng: Rng::new(seed),
            syncs: 0,
        }
    }

    /// All files together can have this many bytes; what they have already stays.
    pub fn set_capacity(&mut self, bytes: usize) {
        self.capacity = bytes;
    }

    /// Bytes in all files, as programs see them.
    pub fn used(&self) -> usize {
        self.names
            .values()
            .filter_map(|file| self.files.get(file))
            .map(|file| file.content.len())
            .sum()
    }

    /// The next `count` operations of this kind fail with [`DiskError::Io`].
    pub fn fail_next(&mut self, operation: Operation, count: u64) {
        self.faults.entry(operation).or_default().next = count;
    }

    /// From now on each operation of this kind fails with this probability; 0 ends it.
    ///
    /// # Panics
    /// If `probability` is not between 0 and 1.
    pub fn fail_randomly(&mut self, operation: Operation, probability: f64) {
        assert!(
            (0.0..=1.0).contains(&probability),
            "a probability is between 0 and 1, not {probability}"
        );
        self.faults.entry(operation).or_default().chance = probability;
    }

    fn fails(&mut self, operation: Operation) -> bool {
        let Some(fault) = self.faults.get_mut(&operation) else {
            return false;
        };
        if fault.next > 0 {
            fault.next -= 1;
            return true;
        }
        fault.chance > 0.0 && self.rng.chance(fault.chance)
    }

    #[cfg(test)]
    pub(crate) fn files_held(&self) -> usize {
        self.files.len()
    }

    fn file_mut(&mut self, name: &str) -> Result<&mut File, DiskError> {
        let file = self.names.get(name).ok_or(DiskError::NotFound)?;
        self.files.get_mut(file).ok_or(DiskError::NotFound)
    }

    fn file(&self, name: &str) -> Option<&File> {
        self.files.get(self.names.get(name)?)
    }

    /// Whether there is a file of this name.
    pub fn exists(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// The names of all files, in order.
    pub fn list(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// The length of a file.
    ///
    /// # Errors
    /// [`DiskError::NotFound`].
    pub fn len(&self, name: &str) -> Result<usize, DiskError> {
        Ok(self.file(name).ok_or(DiskError::NotFound)?.content.len())
    }

    /// Whether there is no file at all.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// A file as it would certainly be after a crash: nothing if its name is not durable. Not an operation: never fails,
    /// changes nothing.
    pub fn durable(&self, name: &str) -> Option<&[u8]> {
        let file = self.files.get(self.stored_names.get(name)?)?;
        Some(&file.stored)
    }

    /// How many syncs, of files and of the directory, have succeeded.
    pub fn syncs(&self) -> u64 {
        self.syncs
    }

    /// The whole content of a file.
    ///
    /// # Errors
    /// [`DiskError::NotFound`], [`DiskError::Io`].
    pub fn read(&mut self, name: &str) -> Result<Vec<u8>, DiskError> {
        if self.fails(Operation::Read) {
            return Err(DiskError::Io);
        }
        Ok(self.file_mut(name)?.content.clone())
    }

    /// A new, empty file.
    ///
    /// # Errors
    /// [`DiskError::AlreadyExists`], [`DiskError::Io`].
    pub fn create(&mut self, name: &str) -> Result<(), DiskError> {
        if self.exists(name) {
            return Err(DiskError::AlreadyExists);
        }
        if self.fails(Operation::Write) {
            return Err(DiskError::Io);
        }
        self.create_file(name);
        Ok(())
    }

    fn create_file(&mut self, name: &str) {
        let file = self.made;
        self.made += 1;
        self.files.insert(file, File::default());
        self.change_names(NameChange::Create(name.to_owned(), file));
    }

    /// Writes at an offset; a file that is not there is created, a gap before the offset reads as zeros.
    ///
    /// # Errors
    /// [`DiskError::Full`], [`DiskError::Io`]: in both cases the first of the bytes may have been written.
    pub fn write(&mut self, name: &str, offset: usize, bytes: &[u8]) -> Result<(), DiskError> {
        let fails = self.fails(Operation::Write);
        if !self.exists(name) {
            if fails {
                return Err(DiskError::Io);
            }
            self.create_file(name);
        }
        let taken = match fails {
            true => self.rng.below(bytes.len() as u64 + 1) as usize,
            false => bytes.len(),
        };
        let free = self.capacity.saturating_sub(self.used());
        let file = self.file_mut(name)?;
        let most = file.content.len().saturating_add(free);
        let fits = most.saturating_sub(offset).min(taken);
        if fits > 0 {
            file.change(Change::Write {
                offset,
                bytes: bytes[..fits].to_vec(),
            });
        }
        match (fails, fits < taken) {
            (true, _) => Err(DiskError::Io),
            (false, true) => Err(DiskError::Full),
            (false, false) => Ok(()),
        }
    }

    /// Writes at the end; a file that is not there is created.
    ///
    /// # Errors
    /// As [`Disk::write`].
    pub fn append(&mut self, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
        let end = self.file(name).map_or(0, |file| file.content.len());
        self.write(name, end, bytes)
    }

    /// Gives a file this length; a longer one reads as zeros at its end.
    ///
    /// # Errors
    /// [`DiskError::NotFound`], [`DiskError::Io`], [`DiskError::Full`]; nothing is changed then.
    pub fn truncate(&mut self, name: &str, length: usize) -> Result<(), DiskError> {
        if self.fails(Operation::Truncate) {
            return Err(DiskError::Io);
        }
        let free = self.capacity.saturating_sub(self.used());
        let file = self.file_mut(name)?;
        if length.saturating_sub(file.content.len()) > free {
            return Err(DiskError::Full);
        }
        file.change(Change::Truncate(length));
        Ok(())
    }

    /// Gives a file another name, in one step; a file that had that name is gone.
    ///
    /// # Errors
    /// [`DiskError::NotFound`], [`DiskError::Io`]; nothing is changed then.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        if self.fails(Operation::Rename) {
            return Err(DiskError::Io);
        }
        if !self.exists(from) {
            return Err(DiskError::NotFound);
        }
        self.change_names(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    /// Removes a file.
    ///
    /// # Errors
    /// [`DiskError::NotFound`], [`DiskError::Io`]; nothing is changed then.
    pub fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        if self.fails(Operation::Rename) {
            return Err(DiskError::Io);
        }
        if !self.exists(name) {
            return Err(DiskError::NotFound);
        }
        self.change_names(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.name_changes.push_back(change);
        if self.name_changes.len() > DIRTY_NAMES {
            self.store_names(DIRTY_NAMES / 2);
        }
    }

    /// Makes the first `count` changes of names durable, and forgets files that no name can lead to any more.
    fn store_names(&mut self, count: usize) {
        for change in self.name_changes.drain(..count) {
            change.apply(&mut self.stored_names);
        }
        if count > 0 {
            let created = self.name_changes.iter().filter_map(|change| match change {
                NameChange::Create(_, file) => Some(*file),
                _ => None,
            });
            let reachable: BTreeSet<u64> = created
                .chain(self.names.values().copied())
                .chain(self.stored_names.values().copied())
                .collect();
            self.files.retain(|file, _| reachable.contains(file));
        }
    }

    /// Makes the content of a file durable (not its name).
    ///
    /// # Errors
    /// [`DiskError::NotFound`]; [`DiskError::Io`]: what was unsynced is stored in parts or not at all, and will not be by
    /// another sync.
    pub fn sync(&mut self, name: &str) -> Result<(), DiskError> {
        let fails = self.fails(Operation::Sync);
        let mut rng = self.rng.clone();
        let file = self.file_mut(name)?;
        if fails {
            file.store_some(&mut rng);
            self.rng = rng;
            return Err(DiskError::Io);
        }
        file.store_all();
        self.syncs += 1;
        Ok(())
    }

    /// Makes all names durable: which files there are (not what is in them).
    ///
    /// # Errors
    /// [`DiskError::Io`]: some of the first changes may be durable; another try can store the rest.
    pub fn sync_directory(&mut self) -> Result<(), DiskError> {
        let all = self.name_changes.len();
        if self.fails(Operation::SyncDirectory) {
            let some = self.rng.below(all as u64 + 1) as usize;
            self.store_names(some);
            return Err(DiskError::Io);
        }
        self.store_names(all);
        self.syncs += 1;
        Ok(())
    }

    /// The power goes: everything becomes what is durable by then. For each file, and for the names, the seed decides
    /// what of the unsynced was stored. Capacity and faults stay as they are.
    pub fn crash(&mut self, seed: u64) {
        let mut rng = Rng::new(seed);
        let changes = self.name_changes.len() as u64;
        let kept = match Fate::draw(&mut rng) {
            Fate::Lost => 0,
            Fate::Kept => changes,
            Fate::InOrder | Fate::Scattered => rng.below(changes + 1),
        };
        for change in self.name_changes.drain(..).take(kept as usize) {
            change.apply(&mut self.stored_names);
        }
        self.names = self.stored_names.clone();
        let reachable: BTreeSet<u64> = self.names.values().copied().collect();
        self.files.retain(|file, _| reachable.contains(file));
        for file in self.files.values_mut() {
            file.store_some(&mut rng);
            file.content = file.stored.clone();
        }
    }
}
