//! What a store needs of the medium.

use std::io;

/// The places that a store writes to. On a file system they are files; on flash, areas of their own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Area {
    /// The store.
    Log,
    /// The store while it is written anew, until it becomes [`Area::Log`].
    NextLog,
    /// The witness.
    Witness,
    /// The witness while it is written anew.
    NextWitness,
}

/// A medium: a folder of files ([`FileDisk`](super::FileDisk)), or NOR flash ([`FlashDisk`](super::FlashDisk)).
///
/// Nothing is ever overwritten in place: areas are created empty, appended to, cut back after a failed write, and take the place of another.
/// A medium that cannot cut back says [`Unsupported`](io::ErrorKind::Unsupported), whereupon the store is written anew.
///
/// Errors are the medium's own; [`StorageFull`](io::ErrorKind::StorageFull) and [`QuotaExceeded`](io::ErrorKind::QuotaExceeded) mean
/// that there is no room.
pub trait Disk: Send {
    /// What the store is called in errors: its path.
    fn name(&self) -> String;

    /// Makes the caller the one owner, until this value is dropped. What a crashed owner held is free.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is another owner, with its process id as text if it is known.
    fn lock(&mut self) -> io::Result<()>;

    /// Keeps owners away for a moment, to look: from now on [`read`](Disk::read) and [`birth`](Disk::birth) are called, and nothing
    /// may be written or changed. Others may look meanwhile. Default: as [`lock`](Disk::lock).
    ///
    /// # Errors
    /// As [`lock`](Disk::lock).
    fn lock_to_look(&mut self) -> io::Result<()> {
        self.lock()
    }

    /// All bytes of an area, or `None` if it was never created.
    fn read(&mut self, area: Area) -> io::Result<Option<Vec<u8>>>;

    /// Makes an area that exists and is empty; what was there is gone.
    fn create(&mut self, area: Area) -> io::Result<()>;

    /// Writes behind the last byte. After an error the first of the bytes may have been written.
    fn append(&mut self, area: Area, bytes: &[u8]) -> io::Result<()>;

    /// Cuts an area back to its first `length` bytes. Need not be durable by itself.
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported) where the medium cannot.
    fn truncate(&mut self, area: Area, length: u64) -> io::Result<()>;

    /// When it returns, what was appended to the area is on stable storage. After an error, what was unsynced counts as lost.
    fn sync(&mut self, area: Area) -> io::Result<()>;

    /// An area takes the place of another, in one step that a crash does not divide; the name `from` is free then.
    fn rename(&mut self, from: Area, to: Area) -> io::Result<()>;

    /// When it returns, what was created and renamed is on stable storage.
    fn sync_directory(&mut self) -> io::Result<()>;

    /// A number that a copy of the area would not have, as the time at which its file was made; it stays when the area takes another's
    /// place. `None` where there is none.
    fn birth(&mut self, area: Area) -> io::Result<Option<u64>>;
}
