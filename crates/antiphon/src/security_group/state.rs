//! The file in which groups and contexts live, and its key.

use std::ffi::OsString;
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
/// Whoever wants the key elsewhere opens a [`Store`] with it and with [`options`].
///
/// # Errors
/// [`StateError`].
pub fn open_state(path: &Path) -> Result<Opened, StateError> {
    let mut key = OsString::from(path);
    key.push(".key");
    let key = SealKey::load_or_create(&PathBuf::from(key))?;
    Ok(Store::open(FileDisk::new(path), key, options())?)
}

/// The options of a store that knows how to write groups and contexts shorter when its file has grown.
#[must_use]
pub fn options() -> Options {
    Options::default().condense(|name, records| match is_ours(name) {
        true => Restored::condense(records),
        false => records,
    })
}

fn is_ours(name: &str) -> bool {
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
