//! Where a device keeps an image while it receives it: a folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use antiphon_proto::distribution::{Device, ReadAt, Storage, StorageError};

#[cfg(test)]
mod tests;

/// So many bytes are written or copied at once.
const CHUNK: usize = 64 * 1024;

/// The files of a [`FileStorage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Content,
    Record,
    /// The record while it is written, until it takes the place of [`Part::Record`].
    NextRecord,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Record => "record",
            Self::NextRecord => "record.new",
        }
    }
}

/// What a [`FileStorage`] needs of a folder. What is written is durable when it was synced, a name when the names were.
pub(crate) trait Folder: Send {
    /// What it is called in reports.
    fn name(&self) -> String;
    /// All bytes; `None` if there is no such file.
    fn read(&mut self, part: Part) -> io::Result<Option<Vec<u8>>>;
    fn read_at(&mut self, part: Part, offset: u64, into: &mut [u8]) -> io::Result<()>;
    /// A new file that is empty; one that was there is gone.
    fn create(&mut self, part: Part) -> io::Result<()>;
    fn write_at(&mut self, part: Part, offset: u64, bytes: &[u8]) -> io::Result<()>;
    fn sync(&mut self, part: Part) -> io::Result<()>;
    fn rename(&mut self, from: Part, to: Part) -> io::Result<()>;
    /// Nothing if there is no such file.
    fn remove(&mut self, part: Part) -> io::Result<()>;
    fn sync_names(&mut self) -> io::Result<()>;
}

/// Keeps the content in one file of a folder and the record in another. Whatever moment the power fails at, the record is whole, and
/// the blocks that it says are there, are.
///
/// The room is taken when a distribution is accepted, by writing zeros, so that a full disk is noticed before anything is
/// received. Beside the content, the record takes a bit for each block and 1,044 bytes, twice while it is replaced
/// ([`DeviceConfig::max_record`](antiphon_proto::distribution::DeviceConfig::max_record)). The folder is for one device alone; a lock (`flock`) sees to that as far as the process ends.
pub struct FileStorage {
    folder: Box<dyn Folder>,
    /// Something was written and not synced.
    unsynced: bool,
}

impl FileStorage {
    /// Uses this folder, which is made if it is not there.
    ///
    /// # Errors
    /// The folder cannot be made or written; [`WouldBlock`](io::ErrorKind::WouldBlock) if another device uses it.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Self> {
        Ok(Self::over(FileFolder::open(folder.into())?))
    }

    pub(crate) fn over(folder: impl Folder + 'static) -> Self {
        Self {
            folder: Box::new(folder),
            unsynced: false,
        }
    }

    /// Says in the log what the system said.
    fn checked<T>(&self, doing: &str, result: io::Result<T>) -> Result<T, StorageError> {
        result.map_err(|error| {
            tracing::warn!("{}: {doing}: {error}", self.folder.name());
            match error.kind() {
                io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::FileTooLarge => StorageError::Full,
                _ => StorageError::Failed,
            }
        })
    }

    /// The record first, and durably: there must be none without its content.
    fn remove_record(&mut self) -> io::Result<()> {
        self.folder.remove(Part::Record)?;
        self.folder.remove(Part::NextRecord)?;
        self.folder.sync_names()
    }

    fn make_room(&mut self, mut size: u64) -> io::Result<()> {
        self.remove_record()?;
        self.folder.create(Part::Content)?;
        let zeros = [0; CHUNK];
        let mut at = 0;
        while size > 0 {
            let length = size.min(CHUNK as u64);
            self.folder
                .write_at(Part::Content, at, &zeros[..length as usize])?;
            at += length;
            size -= length;
        }
        self.folder.sync(Part::Content)?;
        self.folder.sync_names()
    }

    fn replace_record(&mut self, record: &[u8]) -> io::Result<()> {
        if self.unsynced {
            self.folder.sync(Part::Content)?;
            self.unsynced = false;
        }
        self.folder.create(Part::NextRecord)?;
        self.folder.write_at(Part::NextRecord, 0, record)?;
        self.folder.sync(Part::NextRecord)?;
        self.folder.rename(Part::NextRecord, Part::Record)?;
        self.folder.sync_names()
    }
}

impl core::fmt::Debug for FileStorage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "FileStorage({})", self.folder.name())
    }
}

impl Storage for FileStorage {
    fn kept(&mut self) -> Result<Option<Vec<u8>>, StorageError> {
        let read = self.folder.read(Part::Record);
        self.checked("reading the record", read)
    }

    fn prepare(&mut self, content_size: u64) -> Result<(), StorageError> {
        let made = self.make_room(content_size);
        self.unsynced = false;
        if made.is_err() {
            let _ = self.folder.remove(Part::Content); // so that others have the room
        }
        self.checked("making room", made)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        self.unsynced = true;
        let written = self.folder.write_at(Part::Content, offset, bytes);
        self.checked("writing", written)
    }

    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
        let read = self.folder.read_at(Part::Content, offset, into);
        self.checked("reading", read)
    }

    fn note(&mut self, record: &[u8]) -> Result<(), StorageError> {
        let noted = self.replace_record(record);
        self.checked("writing the record", noted)
    }

    fn discard(&mut self) -> Result<(), StorageError> {
        self.unsynced = false;
        let removed = self.remove_record();
        let removed = removed.and_then(|()| self.folder.remove(Part::Content));
        self.checked("removing", removed)
    }
}

/// Writes an image to a file of its own, whole or not at all: for an activation that hands it to another program.
///
/// # Errors
/// The image cannot be read, or the file cannot be written.
pub fn copy_image(image: &mut dyn ReadAt, to: &Path) -> io::Result<()> {
    let mut name = to.as_os_str().to_owned();
    name.push(".new");
    let beside = PathBuf::from(name);
    let mut file = File::create(&beside)?;
    let mut chunk = vec![0; CHUNK];
    let (mut at, size) = (0, image.size());
    while at < size {
        let length = (size - at).min(CHUNK as u64);
        let into = &mut chunk[..length as usize];
        image.read_at(at, into).map_err(io::Error::other)?;
        file.write_all(into)?;
        at += length;
    }
    file.sync_all()?;
    fs::rename(&beside, to)?;
    crate::store::sync_folder_of(to)
}

/// A folder of the file system.
struct FileFolder {
    path: PathBuf,
    /// Held for as long as the folder is used.
    _lock: File,
    content: Option<File>,
}

impl FileFolder {
    fn open(path: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&path)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let lock = options.open(path.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::WouldBlock, "another device uses it")
            }
            fs::TryLockError::Error(error) => error,
        })?;
        Ok(Self {
            path,
            _lock: lock,
            content: None,
        })
    }

    fn path(&self, part: Part) -> PathBuf {
        self.path.join(part.name())
    }

    /// Does something with a file. The content stays open, the record does not.
    fn with<T>(
        &mut self,
        part: Part,
        act: impl FnOnce(&mut File) -> io::Result<T>,
    ) -> io::Result<T> {
        if let (Part::Content, Some(file)) = (part, &mut self.content) {
            return act(file);
        }
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).open(self.path(part))?;
        let done = act(&mut file);
        if part == Part::Content {
            self.content = Some(file);
        }
        done
    }
}

impl Folder for FileFolder {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn read(&mut self, part: Part) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.path(part)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut bytes = Vec::new();
        file.take(Device::MAX_RECORD).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn read_at(&mut self, part: Part, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.with(part, |file| {
            file.seek(SeekFrom::Start(offset))?;
            file.read_exact(into)
        })
    }

    fn create(&mut self, part: Part) -> io::Result<()> {
        self.remove(part)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        let file = options.open(self.path(part))?;
        if part == Part::Content {
            self.content = Some(file);
        }
        Ok(())
    }

    fn write_at(&mut self, part: Part, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(part, |file| {
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(bytes)
        })
    }

    fn sync(&mut self, part: Part) -> io::Result<()> {
        self.with(part, |file| file.sync_all())
    }

    fn rename(&mut self, from: Part, to: Part) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&mut self, part: Part) -> io::Result<()> {
        if part == Part::Content {
            self.content = None;
        }
        match fs::remove_file(self.path(part)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn sync_names(&mut self) -> io::Result<()> {
        crate::store::sync_folder_of(&self.path(Part::Record))
    }
}
