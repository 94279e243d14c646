//! What a device hears: notices and blocks.

use core::time::Duration;

use antiphon_wire::Code;

use super::current::{Asking, Considering, Current, Distributor, Stage};
use super::task::KeptBlock;
use super::{Contention, Device, DeviceEvent, DeviceFailure};
use crate::distribution::announcement::{Announcement, ImageId};
use crate::distribution::block_set::BlockSet;
use crate::distribution::heard::Heard;
use crate::distribution::message::Notice;
use crate::time::Instant;

impl Device {
    /// What is heard from a distributor. The code is for one that told this device alone.
    pub(super) fn notice(&mut self, now: Instant, heard: &Heard<'_>, notice: &Notice) -> Code {
        if self.config.proven_only && !heard.sender.is_proven() {
            self.counters.foreign += 1;
            return Code::UNAUTHORIZED;
        }
        match notice {
            Notice::Announced(announcement) => self.announced(now, heard, announcement),
            Notice::EndOfPass { id, window, .. } => self.end_of_pass(now, heard, *id, *window),
            Notice::Cancelled(id) => self.cancelled(now, heard, *id),
        }
    }

    fn announced(&mut self, now: Instant, heard: &Heard<'_>, it: &Announcement) -> Code {
        let id = it.id();
        let silent = match &self.current {
            Some(current) => current.is_silent(now, &self.config),
            None => false,
        };
        match &mut self.current {
            Some(current) if current.id == id => match current.stage {
                Stage::Activated => return Code::CHANGED,
                Stage::Failed { retry_at, .. } if now < retry_at => return Code::CHANGED,
                Stage::Failed { .. } => {}
                _ => match &mut current.from {
                    Some(from) if from.may_be(heard) => {
                        *from = Distributor::of(heard);
                        current.hear(now, &self.config);
                        return Code::CHANGED;
                    }
                    Some(_) if !silent => {
                        self.counters.foreign += 1;
                        return Code::CONFLICT;
                    }
                    _ => {} // after a restart, or in the place of one that is silent
                },
            },
            Some(current) if !current.state().is_final() => {
                let newer = self.config.contention == Contention::NewerVersion
                    && it.version() > current.announcement.version();
                if !current.is_open() || !(newer || silent) {
                    self.counters.passed_over += 1;
                    return Code::CONFLICT;
                }
            }
            _ if self.installed == Some(id) => {
                self.replace(now, it.clone(), Stage::Activated, BlockSet::new(0));
                return Code::CHANGED;
            }
            _ => {}
        }
        self.consider(now, heard, it, id)
    }

    /// Has the application asked about an announcement.
    fn consider(
        &mut self,
        now: Instant,
        heard: &Heard<'_>,
        it: &Announcement,
        id: ImageId,
    ) -> Code {
        if !self.may_consider(now) {
            return Code::SERVICE_UNAVAILABLE;
        }
        if !self.fits(it) {
            self.refuse(now, it.clone(), DeviceFailure::TooLarge);
            return Code::REQUEST_ENTITY_TOO_LARGE;
        }
        self.ask_about(it.clone(), id, Distributor::of(heard), false);
        Code::CHANGED
    }

    /// One at a time, and not too often. From now on it is too soon for the next one.
    fn may_consider(&mut self, now: Instant) -> bool {
        let may = self.considering.is_none() && now >= self.consider_from;
        match may {
            true => self.consider_from = now + self.config.consider_every,
            false => self.counters.passed_over += 1,
        }
        may
    }

    fn ask_about(
        &mut self,
        announcement: Announcement,
        id: ImageId,
        from: Distributor,
        cancelled: bool,
    ) {
        let serial = self.next_generation;
        self.next_generation += 1;
        self.considering = Some(Considering {
            serial,
            announcement,
            id,
            from,
            cancelled,
        });
    }

    /// Is it within the limits?
    pub(super) fn fits(&self, it: &Announcement) -> bool {
        it.content_size() <= self.config.max_content && it.blocks() <= self.config.max_blocks
    }

    /// Says that it is not taken. One that is under way stays, unless it is this one, kept over a restart, and the device does
    /// not want it any more, whoever announces it. The name of an image says nothing of who announced it and who has signed
    /// it: somebody else's copy of the announcement must not cost what was received.
    pub(super) fn refuse(&mut self, now: Instant, it: Announcement, why: DeviceFailure) {
        let id = it.id();
        match &self.current {
            Some(current) if !current.state().is_final() => {
                if current.id == id && current.from.is_none() && why.is_of_the_image() {
                    return self.fail(now, why);
                }
            }
            _ => {
                let stage = Stage::Failed {
                    code: why.code(),
                    retry_at: now + self.config.retry_after,
                };
                self.replace(now, it, stage, BlockSet::new(0));
            }
        }
        self.event(DeviceEvent::Failed { id, why });
    }

    /// Another distribution takes the place of the one that is known.
    pub(super) fn replace(&mut self, now: Instant, it: Announcement, stage: Stage, have: BlockSet) {
        let generation = self.next_generation;
        self.next_generation += 1;
        self.current = Some(Current::new(it, generation, stage, have, now));
    }

    fn end_of_pass(&mut self, now: Instant, heard: &Heard<'_>, id: ImageId, window: u16) -> Code {
        let Some(current) = self.current.as_mut().filter(|current| current.id == id) else {
            self.counters.unknown += 1;
            return Code::NOT_FOUND;
        };
        if !current.is_from(heard) {
            self.counters.foreign += 1;
            return Code::FORBIDDEN;
        }
        current.hear(now, &self.config);
        match window {
            0 => current.asking = Asking::Not, // another pass comes: it may bring what is missing
            seconds => self.begin_repair(now, Duration::from_secs(seconds.into()), Asking::Told),
        }
        Code::CHANGED
    }

    fn cancelled(&mut self, now: Instant, heard: &Heard<'_>, id: ImageId) -> Code {
        let by_it = |it: &&mut Considering| it.id == id && it.from.is(heard);
        let considered = self.considering.as_mut().filter(by_it);
        let kept = |current: &&Current| current.id == id && current.from.is_none();
        if let Some(current) = self.current.as_ref().filter(kept)
            && !current.is_decided()
        {
            // it was kept over a restart, or refused: whoever may distribute it may cancel it
            if let Some(considered) = considered {
                considered.cancelled = true;
                return Code::CHANGED;
            }
            let announcement = current.announcement.clone();
            if !self.may_consider(now) {
                return Code::SERVICE_UNAVAILABLE;
            }
            self.ask_about(announcement, id, Distributor::of(heard), true);
            return Code::CHANGED;
        }
        let considered = considered.is_some();
        let current = self.current.as_ref().filter(|current| current.id == id);
        let Some(current) = current else {
            if considered {
                self.considering = None;
                return Code::CHANGED;
            }
            self.counters.unknown += 1;
            return Code::NOT_FOUND;
        };
        if !current.is_from(heard) {
            self.counters.foreign += 1;
            return Code::FORBIDDEN;
        }
        if current.is_decided() {
            return Code::CONFLICT; // too late
        }
        if considered {
            self.considering = None;
        }
        self.forget(id);
        Code::CHANGED
    }

    /// Nothing is kept of what was cancelled.
    pub(super) fn forget(&mut self, id: ImageId) {
        self.current = None;
        self.discard = true;
        self.event(DeviceEvent::Cancelled(id));
    }

    pub(super) fn block(
        &mut self,
        now: Instant,
        heard: &Heard<'_>,
        id: ImageId,
        block: u32,
        bytes: &[u8],
    ) -> Code {
        let Some(current) = self.current.as_mut().filter(|current| current.id == id) else {
            self.counters.unknown += 1;
            return Code::NOT_FOUND;
        };
        if !current.is_from(heard) {
            self.counters.foreign += 1;
            return Code::FORBIDDEN;
        }
        current.hear(now, &self.config);
        self.take(block, bytes)
    }

    /// Takes a block of the distribution that is known, by multicast or as an answer.
    pub(super) fn take(&mut self, block: u32, bytes: &[u8]) -> Code {
        let counters = &mut self.counters;
        let Some(current) = &mut self.current else {
            return Code::NOT_FOUND;
        };
        let place = current
            .announcement
            .block_offset(block)
            .filter(|_| current.announcement.block_length(block) == Some(bytes.len()));
        let Some(offset) = place else {
            counters.malformed += 1;
            return Code::BAD_REQUEST;
        };
        if !current.is_open() || current.claimed.contains(block) {
            counters.duplicate += 1;
            return Code::CHANGED;
        }
        if !current.has_room(self.config.waiting) {
            counters.overrun += 1;
            return Code::SERVICE_UNAVAILABLE;
        }
        current.claimed.insert(block);
        current.queue.push(KeptBlock {
            number: block,
            offset,
            bytes: bytes.to_vec(),
        });
        Code::CHANGED
    }
}
