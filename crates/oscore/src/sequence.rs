//! Sender Sequence Numbers: taken once, never twice, whatever crashes (draft sections 2.5.3 and 2.6,
//! RFC 8613 sections 7.2.1 and B.1.1).
//!
//! Numbers are reserved ahead in blocks: a number is given out only if an upper bound above it is on stable storage.
//! After a crash the sequence continues at that bound. One sequence serves everything that a Sender Context
//! protects: group mode, pairwise mode, requests, responses, challenges.

use crate::nonce::PartialIv;

/// The largest number that a Partial IV holds.
pub const MAX_NUMBER: u64 = (1 << 40) - 1;

/// How a [`Sequence`] uses its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceSettings {
    /// The largest usable number, at most (and by default) 2^40 - 1. Larger values count as that.
    pub limit: u64,
    /// How many numbers are reserved by one write, 1 or more, by default 1024. A crash wastes up to so many.
    pub block: u32,
    /// [`Sequence::near_exhaustion`] warns when so many numbers are left, by default a sixteenth of all.
    pub margin: u64,
}

impl Default for SequenceSettings {
    fn default() -> Self {
        Self {
            limit: MAX_NUMBER,
            block: 1024,
            margin: (MAX_NUMBER + 1) / 16,
        }
    }
}

/// Why there is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceError {
    /// The next numbers are not reserved on stable storage yet. It helps to wait for it.
    NotReserved,
    /// The largest usable number was consumed. Only a new Sender ID or a new Security Context helps.
    Exhausted,
    /// It is not known which numbers were used: nothing may be protected (draft section 2.6.1.1). Only new
    /// parameters from the Group Manager help.
    Lost,
}

/// The Sender Sequence Numbers of one Sender Context. It cannot be copied: two copies would give the same numbers.
#[derive(Debug)]
pub struct Sequence {
    /// The next number; never one that is to be skipped.
    next: u64,
    /// Numbers below this are reserved.
    reserved: u64,
    /// The bound that was asked for and is not durable yet.
    asked: Option<u64>,
    settings: SequenceSettings,
    lost: bool,
}

impl Sequence {
    /// Numbers from 0, none of them reserved: only for a Sender Key that was never used.
    pub fn new(settings: SequenceSettings) -> Self {
        Self::exact(0, 0, settings)
    }

    /// After a start: numbers from the stored upper bound, none of them reserved.
    pub fn resume_at(stored_upper: u64, settings: SequenceSettings) -> Self {
        Self::exact(stored_upper, stored_upper, settings)
    }

    /// Numbers from `next`, those below `upto` reserved already: for a new Sender Context that was made durable
    /// together with its first reservation, or after a clean shutdown whose record is consumed.
    pub fn exact(next: u64, upto: u64, settings: SequenceSettings) -> Self {
        let limit = settings.limit.min(MAX_NUMBER);
        let settings = SequenceSettings {
            limit,
            block: settings.block.max(1),
            ..settings
        };
        let next = usable(next.min(limit + 1));
        Self {
            next,
            reserved: upto.min(limit + 1),
            asked: None,
            settings,
            lost: false,
        }
    }

    /// It is not known which numbers were used: gives none.
    pub fn lost() -> Self {
        let mut sequence = Self::new(SequenceSettings::default());
        sequence.mark_lost();
        sequence
    }

    /// From now on it is not known which numbers were used: gives no more. There is no way back.
    pub fn mark_lost(&mut self) {
        self.lost = true;
    }

    /// The next number, for one message. It counts as used, also if the message is never sent.
    ///
    /// Numbers divisible by 256, other than 0, are skipped: their keystream would be that of another number
    /// (the salt of the keystream is an HMAC key, which is padded with zeros).
    pub fn take(&mut self) -> Result<PartialIv, SequenceError> {
        if self.lost {
            return Err(SequenceError::Lost);
        }
        if self.is_exhausted() {
            return Err(SequenceError::Exhausted);
        }
        if self.next >= self.reserved {
            return Err(SequenceError::NotReserved);
        }
        let number = PartialIv::new(self.next).ok_or(SequenceError::Exhausted)?;
        self.next = usable(self.next + 1);
        Ok(number)
    }

    /// The upper bound that should be made durable now, if half a block or less is left: all numbers below it will be
    /// used. Says it once; [`Self::reserved`] or [`Self::not_reserved`] tell how it ended.
    pub fn wants(&mut self) -> Option<u64> {
        let end = self.settings.limit + 1;
        let left = self.reserved.saturating_sub(self.next);
        let half = u64::from(self.settings.block / 2);
        if self.lost
            || self.asked.is_some()
            || self.reserved >= end
            || self.next >= end
            || left > half
        {
            return None;
        }
        let upto = self
            .reserved
            .max(self.next)
            .saturating_add(u64::from(self.settings.block))
            .min(end);
        self.asked = Some(upto);
        Some(upto)
    }

    /// The upper bound `upto` is on stable storage (written and synced). A smaller one than before changes nothing.
    pub fn reserved(&mut self, upto: u64) {
        self.reserved = self.reserved.max(upto.min(self.settings.limit + 1));
        if self.asked.is_some_and(|asked| asked <= upto) {
            self.asked = None;
        }
    }

    /// The bound that was asked for could not be made durable; [`Self::wants`] asks again.
    pub fn not_reserved(&mut self) {
        self.asked = None;
    }

    /// Whether it is time to ask the Group Manager for a new Sender ID or a new Security Context (draft section 2.6.2).
    pub fn near_exhaustion(&self) -> bool {
        (self.settings.limit + 1).saturating_sub(self.next) <= self.settings.margin
    }

    /// Whether the largest usable number was consumed.
    pub fn is_exhausted(&self) -> bool {
        self.next > self.settings.limit
    }

    /// Whether it is not known which numbers were used.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// The number that comes next, for the record of a clean shutdown and for people; [`Self::take`] gives numbers.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Numbers below this are reserved.
    pub fn reserved_upto(&self) -> u64 {
        self.reserved
    }
}

/// `number`, or the one after it if it is to be skipped.
const fn usable(number: u64) -> u64 {
    if number != 0 && number.is_multiple_of(256) {
        number + 1
    } else {
        number
    }
}

#[cfg(test)]
mod tests;
