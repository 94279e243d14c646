//! The distribution that a device takes part in.

use alloc::vec::Vec;
use core::net::SocketAddr;

use antiphon_wire::Code;

use super::DeviceConfig;
use super::config::RepairId;
use super::record::{Noted, Record};
use super::rhythm::Rhythm;
use super::task::KeptBlock;
use crate::distribution::announcement::{Announcement, ImageId};
use crate::distribution::block_set::BlockSet;
use crate::distribution::heard::Heard;
use crate::distribution::message::DeviceState;
use crate::identity::Sender;
use crate::time::Instant;

/// Who distributes.
#[derive(Clone, Debug)]
pub(super) struct Distributor {
    pub(super) sender: Sender,
    pub(super) peer: SocketAddr,
    pub(super) interface: u32,
}

impl Distributor {
    pub(super) fn of(heard: &Heard<'_>) -> Self {
        Self {
            sender: heard.sender.clone(),
            peer: heard.peer,
            interface: heard.interface,
        }
    }

    /// Is it the one that this came from: the proven identity, or else address and port?
    pub(super) fn is(&self, heard: &Heard<'_>) -> bool {
        self.sender == *heard.sender && (self.sender.is_proven() || self.peer == heard.peer)
    }

    /// As [`is`](Self::is); without security it may have another port, because it started again.
    pub(super) fn may_be(&self, heard: &Heard<'_>) -> bool {
        self.sender == *heard.sender
            && (self.sender.is_proven() || self.peer.ip() == heard.peer.ip())
    }
}

/// An announcement that the application is asked about.
#[derive(Debug)]
pub(super) struct Considering {
    /// Tells it from others that were asked about.
    pub(super) serial: u64,
    pub(super) announcement: Announcement,
    pub(super) id: ImageId,
    pub(super) from: Distributor,
    /// It was cancelled, by whom the device did not know any more: what the application permits decides.
    pub(super) cancelled: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Room is made.
    Preparing,
    Receiving,
    Verifying,
    Verified,
    Activating,
    Activated,
    Failed {
        code: Code,
        retry_at: Instant,
    },
}

/// Are blocks that are missing asked for, and from when on?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    /// No: they come by multicast.
    Not,
    /// The distributor said that it is time.
    Told(Instant),
    /// The distributor is silent. No longer when it is heard.
    Alone(Instant),
    /// No more: nobody has them. Until the distributor is heard.
    GaveUp,
}

impl Asking {
    /// When the next request may go.
    pub(super) fn at(self) -> Option<Instant> {
        match self {
            Self::Told(at) | Self::Alone(at) => Some(at),
            Self::Not | Self::GaveUp => None,
        }
    }

    /// The next one goes at this time, if any does.
    pub(super) fn put_off(&mut self, until: Instant) {
        if let Self::Told(at) | Self::Alone(at) = self {
            *at = until;
        }
    }
}

/// The distribution that a device takes part in, or took part in last.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) announcement: Announcement,
    pub(super) id: ImageId,
    pub(super) total: u32,
    /// Tells results of work for it from those for others.
    pub(super) generation: u64,
    pub(super) stage: Stage,
    /// Not known after a restart, until it announces again.
    pub(super) from: Option<Distributor>,
    /// When anything came from its distributor, answers included.
    pub(super) heard_at: Instant,
    /// When messages to the group came.
    pub(super) rhythm: Rhythm,
    /// Blocks in the storage.
    pub(super) have: BlockSet,
    /// These, and those on their way there.
    pub(super) claimed: BlockSet,
    /// Blocks that wait for the storage, and how many the worker has.
    pub(super) queue: Vec<KeptBlock>,
    pub(super) with_worker: usize,
    /// Blocks stored and not noted.
    pub(super) unnoted: u32,
    pub(super) note_at: Option<Instant>,
    pub(super) note_due: bool,
    pub(super) list_verified: bool,
    /// Spans that are verified.
    pub(super) verified: BlockSet,
    /// Spans whose blocks are all there, to be verified.
    complete: BlockSet,
    /// No span below this is among them.
    complete_from: u32,
    /// No block of the list below this is missing.
    list_from: u32,
    /// The span that was looked at last, and the block below which none of it was missing.
    looked_at: Option<(u32, u32)>,
    pub(super) corrupted: u32,
    /// How often activation was begun.
    pub(super) activations: u8,
    pub(super) asking: Asking,
    pub(super) asked: Option<(RepairId, u32)>,
    /// No block below this is missing.
    pub(super) cursor: u32,
    /// Requests for repair that failed in a row.
    pub(super) failures: u32,
}

impl Current {
    pub(super) fn new(
        announcement: Announcement,
        generation: u64,
        stage: Stage,
        have: BlockSet,
        now: Instant,
    ) -> Self {
        let spans = announcement.spans();
        let mut current = Self {
            id: announcement.id(),
            total: announcement.blocks(),
            generation,
            stage,
            from: None,
            heard_at: now,
            rhythm: Rhythm::new(now),
            claimed: have.clone(),
            have,
            queue: Vec::new(),
            with_worker: 0,
            unnoted: 0,
            note_at: None,
            note_due: false,
            list_verified: announcement.list_digest().is_none(),
            verified: BlockSet::new(0),
            complete: BlockSet::new(0),
            complete_from: 0,
            list_from: 0,
            looked_at: None,
            corrupted: 0,
            activations: 0,
            asking: Asking::Not,
            asked: None,
            cursor: 0,
            failures: 0,
            announcement,
        };
        if current.have.total() > 0 {
            current.verified = BlockSet::new(spans);
            current.complete = BlockSet::new(spans);
        }
        current
    }

    pub(super) fn state(&self) -> DeviceState {
        match self.stage {
            Stage::Preparing | Stage::Receiving => DeviceState::Receiving,
            Stage::Verifying => DeviceState::Verifying,
            Stage::Verified => DeviceState::Verified,
            Stage::Activating => DeviceState::Activating,
            Stage::Activated => DeviceState::Activated,
            Stage::Failed { .. } => DeviceState::Failed,
        }
    }

    /// May blocks come?
    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Preparing | Stage::Receiving)
    }

    /// Is it too late for a cancellation, because the image is taken into use?
    pub(super) fn is_decided(&self) -> bool {
        matches!(
            self.stage,
            Stage::Verified | Stage::Activating | Stage::Activated
        )
    }

    pub(super) fn is_from(&self, heard: &Heard<'_>) -> bool {
        self.from.as_ref().is_some_and(|from| from.is(heard))
    }

    /// The distributor that is listened to from now on.
    pub(super) fn begin_with(&mut self, now: Instant, from: Distributor) {
        self.from = Some(from);
        self.heard_at = now;
        self.rhythm = Rhythm::new(now);
        (self.asking, self.asked) = (Asking::Not, None); // it was asked of another one
    }

    /// A notice or a block came from its distributor: what is missing may come by multicast.
    pub(super) fn hear(&mut self, now: Instant, config: &DeviceConfig) {
        self.heard_at = now;
        self.rhythm.hear(now, config);
        if let Asking::Alone(_) | Asking::GaveUp = self.asking {
            self.asking = Asking::Not;
        }
    }

    /// Is its distributor silent, or has it nothing any more?
    pub(super) fn is_silent(&self, now: Instant, config: &DeviceConfig) -> bool {
        let silence = match self.from {
            Some(_) => self.rhythm.silence(config),
            None => config.silence, // nothing says that it is there at all
        };
        self.asking == Asking::GaveUp || self.heard_at + silence <= now
    }

    /// Room in the queue, given how many blocks may wait.
    pub(super) fn has_room(&self, waiting: usize) -> bool {
        self.queue.len() + self.with_worker < waiting
    }

    /// When repairs begin though nobody said so.
    pub(super) fn silent_at(&self, config: &DeviceConfig) -> Option<Instant> {
        let waits = self.is_open() && self.from.is_some() && self.asking == Asking::Not;
        let silence = self.rhythm.silence(config);
        (waits && !self.claimed.is_full()).then_some(self.heard_at + silence)
    }

    /// The record that says which blocks are there: those in `have`.
    pub(super) fn record(&self, installed: Option<ImageId>, have: BlockSet) -> Record {
        let noted = match self.stage {
            Stage::Activated => Noted::Activated,
            Stage::Failed { code, .. } => Noted::Failed(code),
            _ => Noted::Blocks(have),
        };
        Record {
            installed,
            of: Some((self.announcement.clone(), noted)),
        }
    }

    /// The record that says how often activation was begun. Which image is in use is not known until it has ended.
    pub(super) fn record_of_activation(&self) -> Record {
        let noted = Noted::Activating(self.activations);
        Record {
            installed: None,
            of: Some((self.announcement.clone(), noted)),
        }
    }

    /// Blocks arrived in the storage.
    pub(super) fn stored(&mut self, number: u32) {
        self.have.insert(number);
        if !self.list_verified {
            return;
        }
        if let Some(span) = self.announcement.span_of(number) {
            self.look_at_span(span);
        }
    }

    /// The list is right: the spans can be verified.
    pub(super) fn list_is_right(&mut self) {
        self.list_verified = true;
        for span in 0..self.announcement.spans() {
            self.look_at_span(span);
        }
    }

    fn look_at_span(&mut self, span: u32) {
        let blocks = self.announcement.span_blocks(span);
        if self.verified.contains(span) {
            return;
        }
        // A span may be the whole image: it is not looked through from its start for each of its blocks.
        let from = match self.looked_at {
            Some((last, from)) if last == span => from,
            _ => blocks.start,
        };
        let missing = self.have.missing_in(from..blocks.end);
        self.looked_at = Some((span, missing.unwrap_or(blocks.end)));
        if missing.is_none() {
            self.complete.insert(span);
            self.complete_from = self.complete_from.min(span);
        }
    }

    /// Takes spans that are to be verified, so many at most.
    pub(super) fn take_complete(&mut self, most: usize) -> Vec<u32> {
        let mut spans = Vec::new();
        while spans.len() < most
            && !self.complete.is_empty()
            && let Some(span) = self.complete.next_present(self.complete_from)
        {
            self.complete.remove(span);
            self.complete_from = span;
            spans.push(span);
        }
        spans
    }

    /// Is the list there, and not known to be right?
    pub(super) fn awaits_list(&mut self) -> bool {
        if self.list_verified {
            return false;
        }
        let end = self.announcement.list_blocks();
        let missing = self.have.missing_in(self.list_from..end);
        self.list_from = missing.unwrap_or(end);
        missing.is_none()
    }

    /// These blocks are not what they should be.
    pub(super) fn forget(&mut self, blocks: core::ops::Range<u32>) {
        self.cursor = self.cursor.min(blocks.start);
        self.list_from = self.list_from.min(blocks.start);
        self.looked_at = None;
        for block in blocks {
            self.have.remove(block);
            self.claimed.remove(block);
        }
    }

    /// Are all spans verified?
    pub(super) fn is_verified_by_spans(&self) -> bool {
        self.list_verified && self.verified.is_full()
    }

    /// It comes to nothing: what it needed memory for is gone.
    pub(super) fn fail(&mut self, code: Code, retry_at: Instant) {
        self.stage = Stage::Failed { code, retry_at };
        self.release();
    }

    /// Frees what is needed for receiving only.
    pub(super) fn release(&mut self) {
        let none = BlockSet::new(0);
        self.have = none.clone();
        self.claimed = none.clone();
        self.verified = none.clone();
        self.complete = none;
        self.queue = Vec::new();
        self.with_worker = 0;
        (self.note_at, self.note_due, self.unnoted) = (None, false, 0);
        (self.asking, self.asked) = (Asking::Not, None);
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    const BLOCKS: u32 = 1 << 18;

    /// An image of 2^18 blocks of 16 bytes, with a digest for each `span` of them.
    fn large(span: u32) -> Current {
        let it = Announcement::new(BLOCKS * 16, 16, [1; 32]).unwrap();
        let it = it.with_list(span, [2; 32]).unwrap();
        let have = BlockSet::new(it.blocks());
        Current::new(it, 1, Stage::Receiving, have, Instant::ZERO)
    }

    /// So little time suffices where a block costs the same whatever the number of blocks.
    fn quickly<T>(act: impl FnOnce() -> T) -> T {
        let begun = std::time::Instant::now();
        let done = act();
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(10), "{took:?}");
        done
    }

    #[test]
    fn a_span_of_the_whole_image_is_not_looked_through_for_each_block() {
        let mut current = large(BLOCKS);
        let list = current.announcement.list_blocks();
        current.list_verified = true;
        quickly(|| {
            for block in list..current.total - 1 {
                current.stored(block);
            }
        });
        assert_eq!(current.take_complete(16), []);
        current.stored(current.total - 1);
        assert_eq!(current.take_complete(16), [0]);
        assert_eq!(current.take_complete(16), []);
        // what was forgotten is missing, wherever it was looked last
        current.cursor = current.total;
        current.forget(list + 5..list + 6);
        assert_eq!(current.cursor, list + 5);
        current.stored(list + 5);
        assert_eq!(current.take_complete(16), [0]);
    }

    #[test]
    fn a_list_that_comes_last_costs_no_more() {
        let mut current = large(1);
        let list = current.announcement.list_blocks();
        let spans = quickly(|| {
            for block in list..current.total {
                current.stored(block);
            }
            for block in 0..list {
                assert!(!current.awaits_list());
                current.stored(block);
            }
            assert!(current.awaits_list());
            current.forget(3..4);
            assert!(!current.awaits_list());
            current.stored(3);
            assert!(current.awaits_list());
            current.list_is_right();
            assert!(!current.awaits_list());
            let mut spans = Vec::new();
            loop {
                match current.take_complete(16) {
                    none if none.is_empty() => break spans,
                    some => spans.extend(some),
                }
            }
        });
        assert!(spans.into_iter().eq(0..BLOCKS));
    }

    #[test]
    fn spans_are_taken_in_their_order_sixteen_at_a_time_and_once() {
        let mut current = large(2);
        let list = current.announcement.list_blocks();
        current.list_verified = true;
        let mut complete = |spans: core::ops::Range<u32>| {
            for span in spans.rev() {
                current.stored(list + 2 * span + 1);
                current.stored(list + 2 * span);
            }
            current.take_complete(16)
        };
        assert!(complete(100..117).into_iter().eq(100..116));
        assert_eq!(complete(50..51), [50, 116]);
        assert_eq!(complete(0..0), []);
        current.verified.insert(60);
        current.stored(list + 120);
        current.stored(list + 121);
        assert_eq!(current.take_complete(16), [], "verified already");
    }
}
