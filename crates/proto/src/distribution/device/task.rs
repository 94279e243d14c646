//! What may take long: storing, hashing, and asking the application.

use alloc::vec::Vec;

use sha2::{Digest as _, Sha256};

use super::record::Record;
use crate::distribution::announcement::{Announcement, DIGEST_LEN, Digest};
use crate::distribution::storage::{
    ActivationError, Installation, ReadAt, Refusal, Storage, StorageError,
};
use crate::identity::Sender;

/// So many bytes are read at once.
const CHUNK: usize = 1024;

/// Work of a device that may take long, for a worker that has the storage and the application's decisions.
#[derive(Debug)]
pub struct Task(pub(super) Job);

/// What came of a task.
#[derive(Debug)]
pub struct TaskResult(pub(super) Done);

#[derive(Debug)]
pub(super) enum Job {
    Restore,
    Accept {
        announcement: Announcement,
        from: Sender,
    },
    /// Makes room, and notes that nothing is there.
    Prepare {
        content: u64,
        record: Vec<u8>,
    },
    /// Writes blocks, and then perhaps notes which are there.
    Keep {
        blocks: Vec<KeptBlock>,
        record: Option<Vec<u8>>,
    },
    VerifyList(Announcement),
    VerifySpans(Announcement, Vec<u32>),
    VerifyImage(Announcement),
    /// Notes that activation begins, and begins.
    Activate {
        announcement: Announcement,
        record: Vec<u8>,
    },
    Note(Vec<u8>),
    /// Frees the room, and notes what is still to be known.
    Discard(Vec<u8>),
}

/// A block on its way to the storage.
#[derive(Debug)]
pub(super) struct KeptBlock {
    pub(super) number: u32,
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug)]
pub(super) enum Done {
    /// The record; `Err` when there is one that cannot be read.
    Restored(Result<Option<Record>, StorageError>),
    Accepted(Result<(), Refusal>),
    Stored(Result<(), StorageError>),
    List(Result<bool, StorageError>),
    /// The spans that are wrong, and those that are right.
    Spans(Result<(Vec<u32>, Vec<u32>), StorageError>),
    Image(Result<bool, StorageError>),
    Activated(Result<(), ActivationError>),
    /// The worker gave up.
    Lost,
}

impl TaskResult {
    /// The worker that had the task did not finish it: as if the storage had failed.
    pub fn lost() -> Self {
        Self(Done::Lost)
    }
}

impl Task {
    /// Performs the task.
    pub fn perform(
        self,
        storage: &mut dyn Storage,
        installation: &mut dyn Installation,
    ) -> TaskResult {
        TaskResult(match self.0 {
            Job::Restore => Done::Restored(restore(storage)),
            Job::Accept { announcement, from } => {
                Done::Accepted(installation.accept(&announcement, &from))
            }
            Job::Prepare { content, record } => {
                let prepared = storage.prepare(content);
                Done::Stored(prepared.and_then(|()| storage.note(&record)))
            }
            Job::Keep { blocks, record } => Done::Stored(keep(storage, &blocks, record)),
            Job::VerifyList(announcement) => Done::List(list_is_right(storage, &announcement)),
            Job::VerifySpans(announcement, spans) => {
                Done::Spans(wrong_spans(storage, &announcement, spans))
            }
            Job::VerifyImage(announcement) => {
                let size = u64::from(announcement.size());
                let digest = hash(storage, announcement.list_size(), size);
                Done::Image(digest.map(|digest| digest == *announcement.digest()))
            }
            Job::Activate {
                announcement,
                record,
            } => match storage.note(&record) {
                Err(error) => Done::Stored(Err(error)),
                Ok(()) => {
                    let mut image = Image {
                        storage,
                        start: announcement.list_size(),
                        size: u64::from(announcement.size()),
                    };
                    Done::Activated(installation.activate(&announcement, &mut image))
                }
            },
            Job::Note(record) => Done::Stored(storage.note(&record)),
            Job::Discard(record) => {
                let discarded = storage.discard();
                Done::Stored(discarded.and_then(|()| storage.note(&record)))
            }
        })
    }
}

fn restore(storage: &mut dyn Storage) -> Result<Option<Record>, StorageError> {
    let Some(bytes) = storage.kept()? else {
        return Ok(None);
    };
    match Record::decode(&bytes) {
        Ok(record) => Ok(Some(record)),
        Err(_) => Err(StorageError::Failed),
    }
}

fn keep(
    storage: &mut dyn Storage,
    blocks: &[KeptBlock],
    record: Option<Vec<u8>>,
) -> Result<(), StorageError> {
    for block in blocks {
        storage.write(block.offset, &block.bytes)?;
    }
    match record {
        Some(record) => storage.note(&record),
        None => Ok(()),
    }
}

fn list_is_right(storage: &mut dyn Storage, it: &Announcement) -> Result<bool, StorageError> {
    let digest = hash(storage, 0, it.list_size())?;
    Ok(it.list_digest() == Some(&digest))
}

fn wrong_spans(
    storage: &mut dyn Storage,
    it: &Announcement,
    spans: Vec<u32>,
) -> Result<(Vec<u32>, Vec<u32>), StorageError> {
    let (mut wrong, mut right) = (Vec::new(), Vec::new());
    for span in spans {
        let blocks = it.span_blocks(span);
        let start = it.block_offset(blocks.start).unwrap_or(0);
        let end = it.block_offset(blocks.end).unwrap_or(it.content_size());
        let mut listed = Digest::default();
        storage.read(u64::from(span) * DIGEST_LEN, &mut listed)?;
        let digest = hash(storage, start, end.saturating_sub(start))?;
        match digest == listed {
            true => right.push(span),
            false => wrong.push(span),
        }
    }
    Ok((wrong, right))
}

/// The SHA-256 of a part of the content.
fn hash(storage: &mut dyn Storage, start: u64, length: u64) -> Result<Digest, StorageError> {
    let mut hasher = Sha256::new();
    let mut chunk = [0; CHUNK];
    let (mut at, mut rest) = (start, length);
    while rest > 0 {
        let length = rest.min(CHUNK as u64) as usize;
        let Some(into) = chunk.get_mut(..length) else {
            return Err(StorageError::Failed);
        };
        storage.read(at, into)?;
        hasher.update(&*into);
        at += length as u64;
        rest -= length as u64;
    }
    Ok(hasher.finalize().into())
}

/// The image within the content.
struct Image<'a> {
    storage: &'a mut dyn Storage,
    start: u64,
    size: u64,
}

impl ReadAt for Image<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
        let end = offset.checked_add(into.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(StorageError::Failed);
        }
        self.storage.read(self.start + offset, into)
    }
}
