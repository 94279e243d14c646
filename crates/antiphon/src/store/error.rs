//! What can go wrong with a store.

use std::io;
use std::sync::Arc;

use super::{MAX_BATCH, MAX_FILE, MAX_NAME, MAX_RECORD};

/// Why a store is not the one that was last in use.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// An older state of the file, or one whose end was cut off.
    #[error(
        "it is older than what was last in use: opened {opening} times up to record {sequence}, but its witness saw {seen_opening} and \
         {seen_sequence}"
    )]
    Older {
        /// How often the file says that it was opened.
        opening: u64,
        /// The number of its last frame.
        sequence: u64,
        /// How often the witness saw it opened.
        seen_opening: u64,
        /// The number of the last frame that the witness saw.
        seen_sequence: u64,
    },
    /// The file was made at another time than it says: somebody copied it, or put a copy back.
    #[error("it is a copy: this file was not made when the store was written")]
    Copied,
    /// The witness belongs to another store.
    #[error("its witness belongs to another store")]
    Foreign,
    /// There is a store that was in use, and no witness.
    #[error("its witness is gone")]
    NoWitness,
    /// There is a witness, and nothing of it can be verified.
    #[error("its witness is damaged, or was sealed under another key")]
    WitnessDamaged,
}

/// Why a store did not do what was asked. Nothing that was acknowledged is lost by an error.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process, or another part of this one, owns the store.
    #[error("{file} is in use by another owner{}", if owner.is_empty() { String::new() } else { format!(" (process {owner})") })]
    Locked {
        /// The store.
        file: String,
        /// The other owner's process id, if known.
        owner: String,
    },
    /// It does not begin as a store does.
    #[error("{file} is not a store")]
    NotAStore {
        /// The store.
        file: String,
    },
    /// It was written by a version that this one does not know.
    #[error(
        "{file} has format {found}; this version reads format {}",
        super::frame::VERSION
    )]
    Version {
        /// The store.
        file: String,
        /// Its format.
        found: u16,
    },
    /// It was sealed under another key, or its first bytes are damaged.
    #[error("{file} cannot be opened with this key")]
    Key {
        /// The store.
        file: String,
    },
    /// A part that was acknowledged does not verify.
    #[error("{file} is damaged at byte {at}: records may be missing, so nothing of it is used")]
    Corrupt {
        /// The store.
        file: String,
        /// Where.
        at: u64,
    },
    /// There is no store, but a witness of one, or its key; or the caller knows that there was [one](super::Options::existing).
    #[error(
        "{file} is gone, and what goes with it (its witness, or its key) is there: which sequence numbers were used is not known. \
         Provide new keys, in a new file"
    )]
    Missing {
        /// The store.
        file: String,
    },
    /// It is not the one that was last in use; see [`Options::despite_loss`](super::Options::despite_loss).
    #[error(
        "{file}: {mismatch}; going on could use sequence numbers twice, so new keys are needed"
    )]
    NotTheLast {
        /// The store.
        file: String,
        /// In which way.
        mismatch: Mismatch,
    },
    /// There is no room. The store stays usable: the same can be tried again when there is.
    #[error("{file}: no space left")]
    Full {
        /// The store.
        file: String,
    },
    /// The medium failed. The store stays usable if the next call works, except after a failed sync: see [`StoreError::Poisoned`].
    #[error("{file}: cannot {doing}: {source}")]
    Io {
        /// The store.
        file: String,
        /// During what.
        doing: &'static str,
        /// The system's reason.
        source: Arc<io::Error>,
    },
    /// A sync failed before, so it is unknown what is durable. Drop the store and open it again.
    #[error("{file}: a write could not be made durable; open the store again")]
    Poisoned {
        /// The store.
        file: String,
    },
    /// It was closed.
    #[error("{file} is closed")]
    Closed {
        /// The store.
        file: String,
    },
    /// The witness failed.
    #[error("the witness of {file} failed: {source}")]
    Witness {
        /// The store.
        file: String,
        /// Its reason.
        source: Arc<io::Error>,
    },
    /// There were no random numbers.
    #[error("no random numbers: {0}")]
    Entropy(Arc<io::Error>),
    /// A name, record or batch is too long, or the file is.
    #[error(
        "too long: a name has at most {MAX_NAME} bytes, a record {MAX_RECORD}, a batch {MAX_BATCH}, a file {MAX_FILE}"
    )]
    TooLong,
}

impl StoreError {
    pub(super) fn io(file: String, doing: &'static str, source: io::Error) -> StoreError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { file },
            _ => StoreError::Io {
                file,
                doing,
                source: Arc::new(source),
            },
        }
    }
}
