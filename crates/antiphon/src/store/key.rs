//! The key that a store is sealed with.

use core::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// 32 bytes, from a file that only the owner can read, or from the caller: a secure element, the environment. Wiped when dropped,
/// never shown.
#[derive(Clone)]
pub struct SealKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(..)")
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("key file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It has not exactly 32 bytes.
    #[error("key file {} has not 32 bytes", path.display())]
    Length {
        /// The file.
        path: PathBuf,
    },
    /// Others than its owner may read or write it.
    #[error("key file {} is open to others: its mode is {mode:03o}, not 600", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

impl SealKey {
    /// A key of the caller's: 32 bytes that nobody can guess. A password is none.
    pub fn new(bytes: [u8; 32]) -> SealKey {
        SealKey(Zeroizing::new(bytes))
    }

    /// The key in a file.
    ///
    /// # Errors
    /// [`KeyFileError`]: not there, not 32 bytes, open to others.
    pub fn load(path: &Path) -> Result<SealKey, KeyFileError> {
        let failed = |source| KeyFileError::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = File::open(path).map_err(failed)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(KeyFileError::Exposed {
                    path: path.to_owned(),
                    mode,
                });
            }
        }
        let mut read = Zeroizing::new([0; 33]);
        let mut length = 0;
        loop {
            match file.read(&mut read[length..]) {
                Ok(0) => break,
                Ok(some) => length += some,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        if length != 32 {
            return Err(KeyFileError::Length {
                path: path.to_owned(),
            });
        }
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(&read[..32]);
        Ok(SealKey(key))
    }

    /// The key in a file, which is made, with randomness of the operating system and for its owner alone, if it is not there. When
    /// this returns, the key is on stable storage; of two that make it at once, both get the same.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn load_or_create(path: &Path) -> Result<SealKey, KeyFileError> {
        match SealKey::load(path) {
            Err(KeyFileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        SealKey::create(path).map_err(|source| KeyFileError::Io {
            path: path.to_owned(),
            source,
        })?;
        SealKey::load(path)
    }

    /// Gives a key file the name under which it will be found, if no other has that. Durable when it returns.
    pub(crate) fn publish(from: &Path, to: &Path) -> Result<(), KeyFileError> {
        fs::hard_link(from, to)
            .and_then(|()| fs::remove_file(from))
            .and_then(|()| super::file_disk::sync_folder_of(to))
            .map_err(|source| KeyFileError::Io {
                path: to.to_owned(),
                source,
            })
    }

    /// Writes a new key under a name of its own, and links it to its place only when it is whole: whoever is first wins.
    fn create(path: &Path) -> io::Result<()> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut()).map_err(io::Error::other)?;
        let mut unique = [0; 8];
        getrandom::fill(&mut unique).map_err(io::Error::other)?;
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{:016x}", u64::from_be_bytes(unique)));
        let made = PathBuf::from(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options
            .open(&made)
            .and_then(|mut file| file.write_all(key.as_ref()).and_then(|()| file.sync_all()))
            .and_then(|()| match fs::hard_link(&made, path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                other => other,
            });
        let removed = fs::remove_file(&made);
        written.and(removed)?;
        super::file_disk::sync_folder_of(path)
    }

    /// A key for one purpose.
    pub(super) fn derive(&self, salt: &[u8], purpose: &[u8], about: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(salt), self.0.as_ref())
            .expand_multi_info(&[b"antiphon store ", purpose, about], key.as_mut())
            .expect("32 bytes are not too many for HKDF");
        key
    }
}
