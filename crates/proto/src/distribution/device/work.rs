//! The work of a device: which task is next, and what its result means. One at a time, because there is one storage.

use alloc::vec::Vec;

use super::current::{Current, Stage};
use super::record::{Noted, Record};
use super::task::{Done, Job};
use super::{Device, DeviceEvent, DeviceFailure, Task, TaskResult};
use crate::distribution::block_set::BlockSet;
use crate::distribution::storage::{ActivationError, StorageError};
use crate::time::Instant;
use crate::work::WorkId;

/// So many spans are verified by one task at most, so that blocks need not wait long for the storage.
const SPANS_AT_ONCE: usize = 16;

/// What the worker does.
#[derive(Debug)]
pub(super) enum What {
    Restore,
    /// Which of the announcements.
    Accept(u64),
    Discard,
    Prepare,
    /// The numbers of the blocks that are stored, and whether it is noted.
    Keep {
        blocks: Vec<u32>,
        noted: bool,
    },
    List,
    Spans,
    Image,
    Activate,
    /// It is in use, and that is noted.
    Note,
}

impl Device {
    /// The next task for the worker; none while it has one.
    pub fn poll_work(&mut self) -> Option<(WorkId, Task)> {
        if self.working.is_some() {
            return None;
        }
        let (what, job) = self.next_job()?;
        let work = WorkId(self.next_work);
        self.next_work += 1;
        let generation = self.current.as_ref().map_or(u64::MAX, |it| it.generation);
        self.working = Some((work, generation, what));
        Some((work, Task(job)))
    }

    fn next_job(&mut self) -> Option<(What, Job)> {
        if !self.restored {
            return Some((What::Restore, Job::Restore));
        }
        if self.discard {
            self.discard = false;
            let over = self.current.as_ref().filter(|it| it.state().is_final());
            let record = match over {
                Some(current) => current.record(self.installed, BlockSet::new(0)),
                None => Record {
                    installed: self.installed,
                    of: None,
                },
            };
            return Some((What::Discard, Job::Discard(record.encode())));
        }
        if let Some(considering) = &self.considering {
            let announcement = considering.announcement.clone();
            let from = considering.from.sender.clone();
            let what = What::Accept(considering.serial);
            return Some((what, Job::Accept { announcement, from }));
        }
        self.job_of_current()
    }

    fn job_of_current(&mut self) -> Option<(What, Job)> {
        let current = self.current.as_mut()?;
        let announcement = &current.announcement;
        match current.stage {
            Stage::Preparing => {
                let record = current.record(self.installed, current.have.clone());
                let job = Job::Prepare {
                    content: announcement.content_size(),
                    record: record.encode(),
                };
                Some((What::Prepare, job))
            }
            Stage::Receiving => self.job_while_receiving(),
            Stage::Verifying => None, // the worker has it
            Stage::Verified => {
                current.stage = Stage::Activating;
                current.activations = current.activations.saturating_add(1);
                let job = Job::Activate {
                    announcement: current.announcement.clone(),
                    record: current.record_of_activation().encode(),
                };
                Some((What::Activate, job))
            }
            Stage::Activating => None,
            Stage::Activated => {
                current.note_due.then_some(())?;
                current.note_due = false;
                let record = current.record(self.installed, BlockSet::new(0));
                Some((What::Note, Job::Note(record.encode())))
            }
            Stage::Failed { .. } => None,
        }
    }

    /// Blocks are stored first; what is complete is verified meanwhile.
    fn job_while_receiving(&mut self) -> Option<(What, Job)> {
        let installed = self.installed;
        let current = self.current.as_mut()?;
        if !current.queue.is_empty() || current.note_due {
            let blocks = core::mem::take(&mut current.queue);
            current.with_worker = blocks.len();
            let numbers: Vec<u32> = blocks.iter().map(|block| block.number).collect();
            let fresh = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            // none of them is there already, or it would not have been taken
            let full = current.have.len().saturating_add(fresh) >= current.total;
            let many = current.unnoted.saturating_add(fresh) >= self.config.note_blocks;
            let noted = many || current.note_due || full;
            let record = noted.then(|| {
                let mut have = current.have.clone();
                numbers.iter().for_each(|number| {
                    have.insert(*number);
                });
                // Activation follows: from now on it is not known which image is in use, until that is noted.
                current.record(installed.filter(|_| !full), have).encode()
            });
            let what = What::Keep {
                blocks: numbers,
                noted,
            };
            return Some((what, Job::Keep { blocks, record }));
        }
        if current.awaits_list() {
            return Some((What::List, Job::VerifyList(current.announcement.clone())));
        }
        let spans = current.take_complete(SPANS_AT_ONCE);
        if !spans.is_empty() {
            let job = Job::VerifySpans(current.announcement.clone(), spans);
            return Some((What::Spans, job));
        }
        if current.have.is_full() && current.is_verified_by_spans() {
            current.stage = Stage::Verifying;
            return Some((What::Image, Job::VerifyImage(current.announcement.clone())));
        }
        None
    }

    /// Takes the result of a task.
    pub fn work_done(&mut self, now: Instant, work: WorkId, result: TaskResult) {
        let Some((_, generation, what)) = self.working.take_if(|(id, _, _)| *id == work) else {
            return;
        };
        let valid = self.current.as_ref().map_or(u64::MAX, |it| it.generation) == generation;
        match (what, result.0) {
            (What::Restore, done) => self.restored(now, done),
            (What::Accept(serial), done) => self.accepted(now, serial, done),
            // when the storage fails there is nothing that could be discarded still
            (What::Discard, _) => {}
            // of a distribution that is no more
            _ if !valid => {}
            (What::Note, Done::Stored(Ok(()))) => {}
            // or it would be activated again after a restart
            (What::Note, _) => {
                if let Some(current) = &mut self.current {
                    current.note_at = Some(now + self.config.note_after);
                }
            }
            (What::Activate, Done::Activated(result)) => self.activated(now, result),
            (What::Activate, Done::Stored(Err(error))) => self.fail(now, error.into()), // it was not begun
            (What::Activate, _) => {
                self.installed = None; // nobody knows which image is in use
                let why = ActivationError::new("the worker gave up");
                self.fail(now, DeviceFailure::Activation(why));
            }
            _ if self
                .current
                .as_ref()
                .is_some_and(|it| it.state().is_final()) => {}
            (what, done) => {
                if let Err(error) = self.progress(now, what, done) {
                    self.fail(now, error.into());
                }
            }
        }
    }

    fn restored(&mut self, now: Instant, done: Done) {
        self.restored = true;
        let record = match done {
            Done::Restored(Ok(record)) => record.unwrap_or_default(),
            _ => {
                self.event(DeviceEvent::Forgotten);
                return;
            }
        };
        self.installed = record.installed;
        let Some((announcement, noted)) = record.of else {
            return;
        };
        let retry_at = now + self.config.retry_after;
        let mut begun = 0;
        let (stage, have) = match noted {
            Noted::Activated => (Stage::Activated, BlockSet::new(0)),
            Noted::Failed(code) => (Stage::Failed { code, retry_at }, BlockSet::new(0)),
            Noted::Blocks(_) | Noted::Activating(_) if !self.fits(&announcement) => {
                self.discard = true;
                return;
            }
            Noted::Blocks(have) => (Stage::Receiving, have),
            Noted::Activating(times) => {
                begun = times;
                (Stage::Receiving, BlockSet::full(announcement.blocks()))
            }
        };
        let receiving = stage == Stage::Receiving;
        let (id, have_now, total) = (announcement.id(), have.len(), announcement.blocks());
        self.replace(now, announcement, stage, have);
        if let Some(current) = &mut self.current {
            current.activations = begun;
        }
        if begun >= self.config.max_activations {
            let why = ActivationError::new("it was begun again and again, and never ended");
            return self.fail(now, DeviceFailure::Activation(why));
        }
        if receiving {
            let have = have_now;
            self.event(DeviceEvent::Restored { id, have, total });
        }
    }

    fn accepted(&mut self, now: Instant, serial: u64, done: Done) {
        let Some(it) = self.considering.take_if(|it| it.serial == serial) else {
            return; // cancelled meanwhile
        };
        let in_use = |it: &Current| it.stage == Stage::Activated;
        let same = self.current.as_ref().filter(|current| current.id == it.id);
        if same.is_some_and(in_use) {
            return; // complete when the device was restarted, and taken into use meanwhile
        }
        if it.cancelled {
            let in_time = same.is_some_and(|current| !current.is_decided());
            match done {
                Done::Accepted(Ok(())) if in_time => self.forget(it.id),
                _ => self.counters.foreign += 1,
            }
            return;
        }
        match done {
            Done::Accepted(Ok(())) => {}
            Done::Accepted(Err(refusal)) => {
                return self.refuse(now, it.announcement, DeviceFailure::Refused(refusal));
            }
            _ => return self.refuse(now, it.announcement, DeviceFailure::Storage),
        }
        let accepted = DeviceEvent::Accepted {
            id: it.id,
            name: it.announcement.name().into(),
            from: it.from.peer,
        };
        let goes_on = self
            .current
            .as_ref()
            .is_some_and(|current| current.id == it.id && !current.state().is_final());
        if !goes_on {
            let none = BlockSet::new(it.announcement.blocks());
            self.replace(now, it.announcement, Stage::Preparing, none);
        }
        if let Some(current) = &mut self.current {
            current.begin_with(now, it.from);
        }
        self.event(accepted);
    }

    /// The result of a task for the distribution that is under way.
    fn progress(&mut self, now: Instant, what: What, done: Done) -> Result<(), StorageError> {
        let note_after = self.config.note_after;
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        let id = current.id;
        match (what, done) {
            (What::Prepare, Done::Stored(result)) => {
                result?;
                current.stage = Stage::Receiving;
            }
            (What::Keep { blocks, noted }, Done::Stored(result)) => {
                current.with_worker = 0;
                result?;
                let fresh = u32::try_from(blocks.len()).unwrap_or(u32::MAX);
                for number in blocks {
                    current.stored(number);
                }
                if noted {
                    (current.unnoted, current.note_at, current.note_due) = (0, None, false);
                } else {
                    current.unnoted = current.unnoted.saturating_add(fresh);
                    current.note_at = current.note_at.or(Some(now + note_after));
                }
                self.counters.stored += u64::from(fresh);
                let (have, total) = (current.have.len(), current.total);
                if fresh > 0 {
                    self.event(DeviceEvent::Progress { id, have, total });
                }
            }
            (What::List, Done::List(right)) => match right? {
                true => current.list_is_right(),
                false => {
                    current.forget(0..current.announcement.list_blocks());
                    self.corrupted(now, None);
                }
            },
            (What::Spans, Done::Spans(result)) => {
                let (wrong, right) = result?;
                right.iter().for_each(|span| {
                    current.verified.insert(*span);
                });
                for span in &wrong {
                    current.forget(current.announcement.span_blocks(*span));
                }
                for span in wrong {
                    self.corrupted(now, Some(span));
                }
            }
            (What::Image, Done::Image(right)) => match right? {
                true => {
                    current.stage = Stage::Verified;
                    self.event(DeviceEvent::Verified(id));
                }
                false => self.fail(now, DeviceFailure::Digest),
            },
            _ => return Err(StorageError::Failed), // the worker gave up
        }
        Ok(())
    }

    /// Blocks are to be received again; not for ever.
    fn corrupted(&mut self, now: Instant, span: Option<u32>) {
        let most = self.config.max_corrupted;
        let Some(current) = self.current.as_mut().filter(|it| it.is_open()) else {
            return; // given up already
        };
        current.corrupted = current.corrupted.saturating_add(1);
        let (id, corrupted) = (current.id, current.corrupted);
        self.event(DeviceEvent::Corrupted { id, span });
        if corrupted >= most {
            self.fail(now, DeviceFailure::Digest);
        }
    }

    fn activated(&mut self, now: Instant, result: Result<(), ActivationError>) {
        if let Err(why) = result {
            return self.fail(now, DeviceFailure::Activation(why));
        }
        let Some(current) = &mut self.current else {
            return;
        };
        let id = current.id;
        current.stage = Stage::Activated;
        current.release();
        current.note_due = true;
        self.installed = Some(id);
        self.event(DeviceEvent::Activated(id));
    }
}
