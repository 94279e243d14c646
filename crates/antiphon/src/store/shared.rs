//! The handle that threads share, and how they share a sync.

use core::fmt;
use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use super::log::{self, Log};
use super::{
    Batch, Contents, Continuity, Disk, MAX_BATCH, Opened, Options, Records, SealKey, StoreError,
    StoreId, Wear,
};

/// A store that is owned. Clones are the same store; when the last one is dropped without [`Store::close`], it is left as by a crash.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    file: String,
    id: StoreId,
    queue: Mutex<Queue>,
    /// Something in the queue has changed.
    changed: Condvar,
    /// Whoever decides by what the store holds what it may hold next.
    alone: Mutex<()>,
    /// `None` when closed. Whoever holds it may work for long; the queue is never held meanwhile.
    log: Mutex<Option<Log>>,
}

/// Who waits for a sync. The first to come does the work for all that came until then.
#[derive(Default)]
struct Queue {
    waiting: Vec<(u64, Batch)>,
    next: u64,
    working: bool,
    done: BTreeMap<u64, Result<(), StoreError>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("file", &self.shared.file)
            .field("id", &self.shared.id)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// What [`open`](Self::open) would find, without writing anything: what the store holds, `None` if there is none, and
    /// how it was left. Only for looking: whoever uses what is found must open the store.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn examine(
        disk: impl Disk + 'static,
        key: &SealKey,
        options: Options,
    ) -> Result<(Option<Contents>, Continuity), StoreError> {
        log::examine(Box::new(disk), key, options)
    }

    /// Opens a store, or creates it if there is none, and becomes its owner.
    ///
    /// After a crash the file is written anew unless its witness knows all of it; so whatever is returned is durable.
    ///
    /// # Errors
    /// [`StoreError`]: another owner, another key, damage, a file that is not the one last in use, no room, errors of the medium.
    /// Nothing is lost by trying again.
    pub fn open(
        disk: impl Disk + 'static,
        key: SealKey,
        options: Options,
    ) -> Result<Opened, StoreError> {
        let (log, records, continuity) = Log::open(Box::new(disk), key, options)?;
        let shared = Shared {
            file: log.file().to_owned(),
            id: log.store_id(),
            queue: Mutex::default(),
            changed: Condvar::new(),
            alone: Mutex::default(),
            log: Mutex::new(Some(log)),
        };
        Ok(Opened {
            store: Store {
                shared: Arc::new(shared),
            },
            records,
            continuity,
        })
    }

    /// All records as they are durable now, read from the medium: they are not kept in memory.
    pub(crate) fn records(&self) -> Result<Records, StoreError> {
        self.log()
            .as_mut()
            .ok_or_else(|| self.closed())?
            .read_back()
    }

    /// For who reads [`Self::records`] and decides by them what to commit: one at a time. Others may commit meanwhile.
    pub(crate) fn alone(&self) -> MutexGuard<'_, ()> {
        let alone = &self.shared.alone;
        alone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a record behind the others of this name. When this returns without an error, it is durable.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn append(&self, name: &str, record: &[u8]) -> Result<(), StoreError> {
        self.commit(Batch::new().add(name, record)?)
    }

    /// Makes a batch durable, whole or not at all. Blocks until the medium has done so; what other threads commit meanwhile shares the
    /// next sync. May write the file anew when it has grown over its bound.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Io`], [`StoreError::Poisoned`], [`StoreError::Closed`]. What failed is not used in this
    /// opening, but may be found when the store is next opened.
    pub fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut queue = self.queue();
        let ticket = queue.next;
        queue.next += 1;
        queue.waiting.push((ticket, batch));
        loop {
            if let Some(result) = queue.done.remove(&ticket) {
                return result;
            }
            queue = match queue.working {
                true => self
                    .shared
                    .changed
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner),
                false => {
                    queue.working = true;
                    drop(queue);
                    Turn::new(self).take();
                    self.queue()
                }
            };
        }
    }

    /// Writes the file anew with what is still needed. Happens by itself when it has grown: see [`Options::compact_at`].
    ///
    /// # Errors
    /// As [`Store::commit`]; the records stay as they were.
    pub fn compact(&self) -> Result<(), StoreError> {
        self.log().as_mut().ok_or_else(|| self.closed())?.compact()
    }

    /// Says in the file that all is in good order, and gives up ownership. Every clone of this store is closed then.
    ///
    /// # Errors
    /// As [`Store::commit`]; the store is still owned then.
    pub fn close(&self) -> Result<(), StoreError> {
        let mut log = self.log();
        log.as_mut().ok_or_else(|| self.closed())?.close()?;
        *log = None;
        Ok(())
    }

    /// What the store has cost its medium so far, in its whole life.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub fn wear(&self) -> Result<Wear, StoreError> {
        self.log()
            .as_ref()
            .map(Log::wear)
            .ok_or_else(|| self.closed())
    }

    /// The length of the file, in bytes.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub fn length(&self) -> Result<u64, StoreError> {
        self.log()
            .as_ref()
            .map(Log::length)
            .ok_or_else(|| self.closed())
    }

    /// Which store it is.
    pub fn id(&self) -> StoreId {
        self.shared.id
    }

    /// How many batches stand behind the one at work.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.queue().waiting.len()
    }

    fn closed(&self) -> StoreError {
        StoreError::Closed {
            file: self.shared.file.clone(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.shared
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, Option<Log>> {
        // Whoever panicked while it worked may have left anything: then the store is closed, as by a crash.
        self.shared.log.lock().unwrap_or_else(|poisoned| {
            let mut log = poisoned.into_inner();
            *log = None;
            log
        })
    }

    /// Commits batches of several as one frame, and says so to each.
    fn work(&self, batches: Vec<(u64, Batch)>) {
        let mut log = self.log();
        let result = match (log.as_mut(), batches.as_slice()) {
            (None, _) => Err(self.closed()),
            (Some(log), [(_, only)]) => log.commit(only.body()),
            (Some(log), _) => {
                let length = batches.iter().map(|(_, batch)| batch.body().len()).sum();
                let mut body = Zeroizing::new(Vec::with_capacity(length));
                for (_, batch) in &batches {
                    body.extend_from_slice(batch.body());
                }
                log.commit(&body)
            }
        };
        let mut queue = self.queue();
        for (ticket, _) in &batches {
            queue.done.insert(*ticket, result.clone());
        }
        drop(queue);
        self.shared.changed.notify_all();
        if let Some(log) = log.as_mut()
            && log.has_grown()
            && let Err(error) = log.compact()
        {
            tracing::warn!(%error, "the store could not be written anew; it keeps growing");
        }
    }
}

/// The turn to work. Ends in whatever way the work ends: a disk that panics must not leave the others waiting.
struct Turn<'a> {
    store: &'a Store,
    tickets: Vec<u64>,
}

impl<'a> Turn<'a> {
    fn new(store: &'a Store) -> Turn<'a> {
        Turn {
            store,
            tickets: Vec::new(),
        }
    }

    fn take(mut self) {
        let mut queue = self.store.queue();
        let mut length = 0;
        let fits = queue
            .waiting
            .iter()
            .take_while(|(_, batch)| {
                length += batch.body().len();
                length <= MAX_BATCH
            })
            .count();
        let rest = queue.waiting.split_off(fits);
        let batches = mem::replace(&mut queue.waiting, rest);
        drop(queue);
        self.tickets = batches.iter().map(|(ticket, _)| *ticket).collect();
        self.store.work(batches);
        self.tickets.clear();
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut queue = self.store.queue();
        queue.working = false;
        for ticket in &self.tickets {
            queue
                .done
                .entry(*ticket)
                .or_insert_with(|| Err(self.store.closed()));
        }
        drop(queue);
        self.store.shared.changed.notify_all();
    }
}
