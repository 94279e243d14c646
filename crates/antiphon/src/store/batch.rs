//! Several changes that happen together.

use core::fmt;

use zeroize::Zeroizing;

use super::{MAX_BATCH, MAX_NAME, MAX_RECORD, Records, StoreError};

const ADD: u8 = 1;
const REPLACE: u8 = 2;
const FORGET: u8 = 3;

/// Changes that become durable in one step, whole or not at all: see [`Store::commit`](super::Store::commit).
#[derive(Clone, Default)]
pub struct Batch {
    /// For each change: what 1, length of the name 1, name, and if it has a record: its length 4, the record.
    body: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} bytes)", self.body.len())
    }
}

impl Batch {
    /// Nothing yet.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Puts a record behind the others of this name.
    ///
    /// # Errors
    /// [`StoreError::TooLong`]; the batch stays as it was.
    pub fn add(mut self, name: &str, record: &[u8]) -> Result<Batch, StoreError> {
        self.put(ADD, name, Some(record))?;
        Ok(self)
    }

    /// Puts a record in the place of all others of this name.
    ///
    /// # Errors
    /// As [`Batch::add`].
    pub fn replace(mut self, name: &str, record: &[u8]) -> Result<Batch, StoreError> {
        self.put(REPLACE, name, Some(record))?;
        Ok(self)
    }

    /// Removes a name with all its records. They are gone from the file when it is next written anew.
    ///
    /// # Errors
    /// As [`Batch::add`].
    pub fn forget(mut self, name: &str) -> Result<Batch, StoreError> {
        self.put(FORGET, name, None)?;
        Ok(self)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    fn put(&mut self, change: u8, name: &str, record: Option<&[u8]>) -> Result<(), StoreError> {
        let length = length_of(name, record);
        if name.len() > MAX_NAME
            || record.is_some_and(|record| record.len() > MAX_RECORD)
            || self.body.len() + length > MAX_BATCH
        {
            return Err(StoreError::TooLong);
        }
        // A vector that grows by itself would leave a copy that nobody wipes.
        if self.body.capacity() - self.body.len() < length {
            let mut roomier = Vec::with_capacity((2 * self.body.len() + length).min(MAX_BATCH));
            roomier.extend_from_slice(&self.body);
            self.body = Zeroizing::new(roomier);
        }
        self.body.push(change);
        self.body.push(name.len() as u8);
        self.body.extend_from_slice(name.as_bytes());
        if let Some(record) = record {
            self.body
                .extend_from_slice(&(record.len() as u32).to_be_bytes());
            self.body.extend_from_slice(record);
        }
        Ok(())
    }
}

fn length_of(name: &str, record: Option<&[u8]>) -> usize {
    2 + name.len() + record.map_or(0, |record| 4 + record.len())
}

/// All records as batches, none longer than `most` unless a single record is.
pub(super) fn batches_of(records: &Records, most: usize) -> Result<Vec<Batch>, StoreError> {
    let mut batches = Vec::new();
    let mut batch = Batch::new();
    for (name, records) in records {
        for record in records {
            if !batch.is_empty() && batch.body.len() + length_of(name, Some(record)) > most {
                batches.push(core::mem::take(&mut batch));
            }
            batch.put(ADD, name, Some(record))?;
        }
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    Ok(batches)
}

/// Applies the changes in `body` to `records`. `None` if it is no list of changes; some of them may have been applied then.
pub(super) fn apply(mut body: &[u8], records: &mut Records) -> Option<()> {
    while let Some((&[change, name], rest)) = body.split_first_chunk() {
        let (name, rest) = rest.split_at_checked(usize::from(name))?;
        let name = core::str::from_utf8(name).ok()?;
        if change == FORGET {
            records.remove(name);
            body = rest;
            continue;
        }
        let (length, rest) = rest.split_first_chunk()?;
        let length = u32::from_be_bytes(*length) as usize;
        let (record, rest) = rest.split_at_checked(length)?;
        if length > MAX_RECORD || !matches!(change, ADD | REPLACE) {
            return None;
        }
        let kept = records.entry(name.to_owned()).or_default();
        if change == REPLACE {
            kept.clear();
        }
        kept.push(Zeroizing::new(record.to_vec()));
        body = rest;
    }
    body.is_empty().then_some(())
}
