//! What must outlive a crash: keys, sequence numbers, replay windows, in one sealed append-only file.
//!
//! A [`Store`] keeps records, opaque bytes under a name, in the order in which they were appended. What it promises:
//!
//! - **Durable when it returns.** [`Store::append`] and [`Store::commit`] come back after the record is on stable storage.
//!   A [`Batch`] is there as a whole or not at all. Appends of several threads share one sync.
//! - **Never silently less.** After a crash everything that was acknowledged is there, in order, and nothing is invented. A write
//!   that was under way and not acknowledged may be there or not. A file that is damaged anywhere else is refused
//!   ([`StoreError::Corrupt`]), not read around.
//! - **Sealed.** ChaCha20-Poly1305 under keys derived from the [`SealKey`], a fresh one each time the file is opened
//!   or written anew; frames cannot be dropped, reordered or brought in from another file.
//! - **One owner**, by a lock; a second one gets [`StoreError::Locked`].
//! - **Not an old one.** Beside the file stands a witness (a small file, or a [`Witness`] of yours, as the monotonic counter of a secure
//!   element), and the file knows when it was made. An older or copied file is refused: whoever went on with it would use
//!   sequence numbers twice. A file **and** its witness that are both put back, or a machine that is cloned as a whole, cannot be
//!   told apart from the real one by anything on that machine: only a witness outside of what is copied can.
//! - **Bounded.** Over a bound the file is written anew with what is still needed; [`Wear`] counts what that costs the medium.
//!
//! Calls block while the medium works: on a runtime, call from a thread that may wait.
//!
//! ```
//! use antiphon::store::{FileDisk, Options, SealKey, Store};
//! # let folder = std::env::temp_dir().join(format!("antiphon-store-example-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! let key = SealKey::load_or_create(&folder.join("key"))?;
//! let opened = Store::open(FileDisk::new(folder.join("state")), key, Options::default())?;
//! assert!(opened.records.is_empty());
//! opened.store.append("group/lights", b"sequence numbers up to 4096 are mine")?;
//! opened.store.close()?;
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batch;
mod contents;
mod disk;
mod error;
mod file_disk;
mod flash;
mod frame;
mod key;
mod log;
mod shared;
#[cfg(test)]
pub(crate) mod tests;
mod wear;
mod witness;

use core::fmt;
use std::collections::BTreeMap;
use std::io;

use zeroize::Zeroizing;

pub use batch::Batch;
pub use contents::{Contents, Unreadable};
pub use disk::{Area, Disk};
pub use error::{Mismatch, StoreError};
pub use file_disk::FileDisk;
pub(crate) use file_disk::sync_folder_of;
pub use flash::{Flash, FlashDisk, Geometry, Layout};
pub use key::{KeyFileError, SealKey};
pub use shared::Store;
pub use wear::Wear;
pub use witness::{Seen, Witness};

/// The longest name of a record, in bytes of UTF-8.
pub const MAX_NAME: usize = 255;

/// The longest record, in bytes.
pub const MAX_RECORD: usize = 1 << 20;

/// The most bytes that one [`Batch`] may have, its names and lengths included.
pub const MAX_BATCH: usize = 4 << 20;

/// The longest file that is read.
pub const MAX_FILE: usize = 256 << 20;

/// All records by name, those of one name in the order in which they were appended. They are wiped when dropped.
pub type Records = BTreeMap<String, Vec<Zeroizing<Vec<u8>>>>;

/// Which store it is: drawn when it was first created, the same for its whole life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StoreId(pub [u8; 16]);

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How the last owner left the store.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Continuity {
    /// There was no store; this one is new.
    Created,
    /// The last owner called [`Store::close`].
    Clean,
    /// The last owner ended without closing. What it had been told is durable is there; what it held in memory is not.
    Crashed {
        /// The machine has not been started since: the process alone ended. `None` where that cannot be known.
        same_boot: Option<bool>,
        /// The process id that the last owner had.
        process: u32,
    },
    /// It is older than, or a copy of, what was last in use, and [`Options::despite_loss`] let it be opened all the same.
    /// Whatever must never be used twice has to count as lost.
    Broken(Mismatch),
}

/// What [`Store::open`] found.
pub struct Opened {
    /// The store, for as long as it is owned.
    pub store: Store,
    /// What it holds.
    pub records: Records,
    /// How it was left.
    pub continuity: Continuity,
}

/// Names and numbers of records, never their content.
impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: BTreeMap<&str, usize> = self
            .records
            .iter()
            .map(|(name, records)| (name.as_str(), records.len()))
            .collect();
        f.debug_struct("Opened")
            .field("store", &self.store)
            .field("records", &counts)
            .field("continuity", &self.continuity)
            .finish()
    }
}

/// Reduces the records of one name to fewer with the same meaning; see [`Options::condense`].
pub type Condense = Box<dyn FnMut(&str, Vec<Zeroizing<Vec<u8>>>) -> Vec<Zeroizing<Vec<u8>>> + Send>;

/// Fills a buffer with random bytes that nobody can guess.
pub type Entropy = Box<dyn FnMut(&mut [u8]) -> io::Result<()> + Send>;

/// Who remembers how far the store was.
#[derive(Default)]
pub(crate) enum Witnessing {
    #[default]
    File,
    Given(Box<dyn Witness>),
    Nobody,
}

/// How a store is owned. The default: a witness file, a bound of 256 KiB, records kept as they are.
pub struct Options {
    pub(crate) bound: usize,
    pub(crate) condense: Option<Condense>,
    pub(crate) entropy: Entropy,
    pub(crate) witnessing: Witnessing,
    pub(crate) despite_loss: bool,
    pub(crate) existing: bool,
    pub(crate) boot: Option<[u8; 16]>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            bound: 256 << 10,
            condense: None,
            entropy: Box::new(|bytes| getrandom::fill(bytes).map_err(io::Error::other)),
            witnessing: Witnessing::File,
            despite_loss: false,
            existing: false,
            boot: boot_id(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("bound", &self.bound)
            .field("despite_loss", &self.despite_loss)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// The file is written anew by itself when it is longer than this, in bytes, and has doubled since the last time. Default: 256 KiB.
    pub fn compact_at(mut self, bytes: usize) -> Options {
        self.bound = bytes;
        self
    }

    /// What to keep of a name's records when the file is written anew. The result must mean the same to whoever reads it back;
    /// none at all removes the name. Default: all of them, so that only [`Batch::replace`] and [`Batch::forget`] make room.
    pub fn condense(
        mut self,
        condense: impl FnMut(&str, Vec<Zeroizing<Vec<u8>>>) -> Vec<Zeroizing<Vec<u8>>> + Send + 'static,
    ) -> Options {
        self.condense = Some(Box::new(condense));
        self
    }

    /// Where randomness comes from, where it is not the operating system. It must not repeat: keys are made of it.
    pub fn entropy(
        mut self,
        entropy: impl FnMut(&mut [u8]) -> io::Result<()> + Send + 'static,
    ) -> Options {
        self.entropy = Box::new(entropy);
        self
    }

    /// Who remembers how far the store was, instead of the file beside it.
    pub fn witness(mut self, witness: impl Witness + 'static) -> Options {
        self.witnessing = Witnessing::Given(Box::new(witness));
        self
    }

    /// Nobody remembers how far the store was: an older file is not noticed, nor one whose last records were cut off.
    pub fn without_witness(mut self) -> Options {
        self.witnessing = Witnessing::Nobody;
        self
    }

    /// Opens a store that is older than, or a copy of, what was last in use, or whose witness is gone:
    /// [`Continuity::Broken`] says so instead of an error. Only for an owner that then treats every sequence number and window as
    /// lost.
    pub fn despite_loss(mut self) -> Options {
        self.despite_loss = true;
        self
    }

    /// There is a store already, by what the caller knows otherwise: where there is none, it is [`StoreError::Missing`], and none is made.
    pub fn existing(mut self) -> Options {
        self.existing = true;
        self
    }

    /// What names this start of the machine; `None` if nothing does. Default: the boot id of Linux.
    pub fn boot_id(mut self, boot: Option<[u8; 16]>) -> Options {
        self.boot = boot;
        self
    }
}

/// `/proc/sys/kernel/random/boot_id`, where there is one.
fn boot_id() -> Option<[u8; 16]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: Vec<u8> = text
        .bytes()
        .filter_map(|byte| char::from(byte).to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    let bytes: Vec<u8> = digits
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect();
    bytes.try_into().ok()
}
