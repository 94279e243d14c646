//! The medium of most: files.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::{Area, Disk};

/// So long whoever wants to own a store waits for those who look at it, who read it once.
const LOOK: Duration = Duration::from_millis(250);

/// How long it is until it is tried again.
const PAUSE: Duration = Duration::from_millis(5);

/// A store in a file, with companions beside it: `.new` while it is written anew, `.witness`, and `.lock`, which stays. All of them are
/// for their owner alone (mode 0600).
///
/// The lock is the system's (`flock`): it ends with the process, however that ends. On network file systems it may hold
/// for one machine only; a store does not belong there.
#[derive(Debug)]
pub struct FileDisk {
    path: PathBuf,
    witness: PathBuf,
    lock: Option<File>,
    /// Nothing is written.
    looking: bool,
    /// What has been created or opened for appending.
    open: BTreeMap<Area, File>,
}

impl FileDisk {
    /// A store at this path. Its folder must exist.
    pub fn new(path: impl Into<PathBuf>) -> FileDisk {
        let path = path.into();
        FileDisk {
            witness: beside(&path, ".witness"),
            path,
            lock: None,
            looking: false,
            open: BTreeMap::new(),
        }
    }

    /// The witness stands at another path: best on another medium, which is not put back together with the store.
    pub fn witness_at(mut self, path: impl Into<PathBuf>) -> FileDisk {
        self.witness = path.into();
        self
    }

    fn path(&self, area: Area) -> PathBuf {
        match area {
            Area::Log => self.path.clone(),
            Area::NextLog => beside(&self.path, ".new"),
            Area::Witness => self.witness.clone(),
            Area::NextWitness => beside(&self.witness, ".new"),
        }
    }

    fn file(&mut self, area: Area) -> io::Result<&mut File> {
        let path = self.path(area);
        let write = !self.looking;
        match self.open.entry(area) {
            std::collections::btree_map::Entry::Occupied(there) => Ok(there.into_mut()),
            std::collections::btree_map::Entry::Vacant(free) => {
                refuse_links(&path)?;
                Ok(free.insert(OpenOptions::new().read(true).write(write).open(path)?))
            }
        }
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

/// The error that says who the owner is.
fn owned(file: File) -> io::Error {
    let mut owner = String::new();
    let _ = file.take(20).read_to_string(&mut owner);
    io::Error::new(io::ErrorKind::WouldBlock, owner.trim().to_owned())
}

fn owner_only(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// A link would be replaced by a file when the store is written anew, and the store would stay behind where it led to.
fn refuse_links(path: &Path) -> io::Result<()> {
    match path.symlink_metadata()?.is_file() {
        true => Ok(()),
        false => Err(io::Error::other("not a regular file")),
    }
}

/// Makes the names in the folder of `path` durable.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    // Windows has no such thing: a rename is in the journal of its file system.
    #[cfg(unix)]
    {
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        File::open(folder)?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

impl Disk for FileDisk {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn lock(&mut self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = owner_only(&mut options).open(beside(&self.path, ".lock"))?;
        // Whoever just looks is gone soon.
        let until = Instant::now() + LOOK;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => return Err(owned(file)),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        // For the message to the next one who tries; if it cannot be written, the message says less.
        let _ = file.set_len(0);
        let _ = file.write_all(std::process::id().to_string().as_bytes());
        self.lock = Some(file);
        Ok(())
    }

    fn lock_to_look(&mut self) -> io::Result<()> {
        self.looking = true;
        self.open.clear();
        match File::open(beside(&self.path, ".lock")) {
            // Nobody has ever owned it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
            Ok(file) => match file.try_lock_shared() {
                Ok(()) => self.lock = Some(file),
                Err(TryLockError::WouldBlock) => return Err(owned(file)),
                Err(TryLockError::Error(error)) => return Err(error),
            },
        }
        Ok(())
    }

    fn read(&mut self, area: Area) -> io::Result<Option<Vec<u8>>> {
        let looking = self.looking;
        let file = match self.file(area) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        #[cfg(unix)]
        if !looking {
            use std::os::unix::fs::PermissionsExt as _;
            let mut permissions = file.metadata()?.permissions();
            if permissions.mode() & 0o077 != 0 {
                permissions.set_mode(0o600);
                file.set_permissions(permissions)?;
            }
        }
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        // One more than is allowed, so that a longer file is noticed.
        file.take(super::MAX_FILE as u64 + 1)
            .read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn create(&mut self, area: Area) -> io::Result<()> {
        let path = self.path(area);
        self.open.remove(&area);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        let file = owner_only(&mut options).open(path)?;
        self.open.insert(area, file);
        Ok(())
    }

    fn append(&mut self, area: Area, bytes: &[u8]) -> io::Result<()> {
        let file = self.file(area)?;
        file.seek(SeekFrom::End(0))?;
        file.write_all(bytes)
    }

    fn truncate(&mut self, area: Area, length: u64) -> io::Result<()> {
        self.file(area)?.set_len(length)
    }

    fn sync(&mut self, area: Area) -> io::Result<()> {
        self.file(area)?.sync_data()
    }

    fn rename(&mut self, from: Area, to: Area) -> io::Result<()> {
        // Windows does not replace a file that is open.
        self.open.remove(&to);
        fs::rename(self.path(from), self.path(to))?;
        if let Some(file) = self.open.remove(&from) {
            self.open.insert(to, file);
        }
        Ok(())
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        sync_folder_of(&self.path)?;
        if self.witness.parent() != self.path.parent() {
            sync_folder_of(&self.witness)?;
        }
        Ok(())
    }

    /// When the file was made, in nanoseconds; file systems without that give none.
    fn birth(&mut self, area: Area) -> io::Result<Option<u64>> {
        let made = self.file(area)?.metadata()?.created();
        Ok(made
            .ok()
            .and_then(|made| made.duration_since(SystemTime::UNIX_EPOCH).ok())
            .and_then(|since| u64::try_from(since.as_nanos()).ok()))
    }
}
