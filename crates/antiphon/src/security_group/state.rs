//! The file in which groups and contexts live, and its key.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use antiphon_oscore::record::Restored;

use crate::store::{FileDisk, KeyFileError, Opened, Options, SealKey, Store, StoreError};

/// Why the state could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The file.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Opens the file in which groups and contexts live, or makes an empty one. The key that seals it is beside it, in a file of the same
/// name with `.key` behind it, for its owner alone; it is made with it. Blocks.
///
/// A key without a file is a file that is gone ([`StoreError::Missing`]), with the sequence numbers in it, not a new one.
///
/// Whoever wants the key elsewhere opens a [`Store`] with it and with [`options`].
///
/// # Errors
/// [`StateError`].
pub fn open_state(path: &Path) -> Result<Opened, StateError> {
    let (key_file, first) = (beside(path, ".key"), beside(path, ".key.new"));
    match SealKey::load(&key_file) {
        Err(KeyFileError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
        key => {
            let options = options().existing();
            let opened = Store::open(FileDisk::new(path), key?, options)?;
            // What a crash has left while the file was made.
            let _ = std::fs::remove_file(first);
            return Ok(opened);
        }
    }
    // The key gets its name when the file has its own, so that a key alone says that there was a file.
    let key = SealKey::load_or_create(&first)?;
    let opened = Store::open(FileDisk::new(path), key, options())?;
    SealKey::publish(&first, &key_file)?;
    Ok(opened)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

/// The options of a store that knows how to write groups and contexts shorter when its file has grown.
#[must_use]
pub fn options() -> Options {
    Options::default().condense(|name, records| match is_ours(name) {
        true => Restored::condense(records),
        false => records,
    })
}

pub(super) fn is_ours(name: &str) -> bool {
    name.starts_with("group/") || name.starts_with("pair/")
}

/// The names of the security groups in a store that are not open yet.
pub fn stored_groups(state: &Opened) -> impl Iterator<Item = &str> {
    names(state, "group/")
}

/// The names of the OSCORE contexts in a store that are not open yet.
pub fn stored_contexts(state: &Opened) -> impl Iterator<Item = &str> {
    names(state, "pair/")
}

fn names<'a>(state: &'a Opened, kind: &'static str) -> impl Iterator<Item = &'a str> {
    let waiting = state.records.iter().filter(|(_, all)| !all.is_empty());
    waiting.filter_map(move |(name, _)| name.strip_prefix(kind))
}
