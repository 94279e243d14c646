//! Which numbers were already received: the Replay Window of a Recipient Context (RFC 8613 sections 3.2.2 and
//! 7.4, draft section 5.3) and, at a client, the order of the responses of one server (draft section 5.3.1).
//!
//! Both are asked twice for each message: `check` before the slow verification, `commit` after it succeeded.
//! `commit` checks again, so that of two copies verified at the same time only one is taken.

use alloc::vec::Vec;

use minicbor::{Decoder, decode};

use crate::cbor;
use crate::nonce::PartialIv;

mod order;

pub use order::{
    KidChange, OlderResponses, Order, OrderPolicy, Rank, ResponseOrder, ResponseRefused,
};

/// How many numbers a Replay Window spans: 2 to 128, by default 32 (RFC 8613 section 3.2.2).
///
/// A window of 1 is refused: what is sent to many is reordered, and every second message would be lost
/// (draft section 14.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSize(u8);

impl WindowSize {
    /// The smallest size.
    pub const MIN: u8 = 2;
    /// The largest size.
    pub const MAX: u8 = 128;

    /// The size `numbers`, or `None` outside of [`Self::MIN`] to [`Self::MAX`].
    pub const fn new(numbers: u8) -> Option<Self> {
        if numbers < Self::MIN || numbers > Self::MAX {
            return None;
        }
        Some(Self(numbers))
    }

    /// How many numbers.
    pub const fn numbers(self) -> u8 {
        self.0
    }
}

impl Default for WindowSize {
    fn default() -> Self {
        Self(32)
    }
}

/// Why a Replay Window refuses a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayRefused {
    /// The number was received before, or is older than the window reaches.
    Replayed,
    /// Nobody knows what was received: the window is invalid (draft section 2.6.1). An Echo exchange or a new
    /// Security Context helps.
    Invalid,
}

/// The Replay Window of one Recipient Context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayWindow {
    /// Bit i: the number `limit + i` was received. Bits at and above `size` are zero.
    seen: u128,
    /// Below this everything counts as received.
    limit: u64,
    size: WindowSize,
    valid: bool,
}

impl ReplayWindow {
    /// The window of a new Recipient Context: nothing received, lower limit 0.
    pub const fn valid(size: WindowSize) -> Self {
        Self {
            seen: 0,
            limit: 0,
            size,
            valid: true,
        }
    }

    /// The window when it is not known what was received.
    pub const fn invalid(size: WindowSize) -> Self {
        Self {
            seen: 0,
            limit: 0,
            size,
            valid: false,
        }
    }

    /// Whether it is known what was received.
    pub const fn is_valid(&self) -> bool {
        self.valid
    }

    /// How many numbers the window spans.
    pub const fn size(&self) -> WindowSize {
        self.size
    }

    /// The lower limit: everything below counts as received. `None` while the window is invalid.
    pub const fn lower_limit(&self) -> Option<u64> {
        if self.valid { Some(self.limit) } else { None }
    }

    /// Whether `number` may still be received. Changes nothing; to be asked before verification.
    pub fn check(&self, number: PartialIv) -> Result<(), ReplayRefused> {
        if !self.valid {
            return Err(ReplayRefused::Invalid);
        }
        let Some(place) = number.value().checked_sub(self.limit) else {
            return Err(ReplayRefused::Replayed);
        };
        if place < self.span() && self.seen >> place & 1 == 1 {
            return Err(ReplayRefused::Replayed);
        }
        Ok(())
    }

    /// Marks `number` as received, only after signature and tag were verified. Checks again: of two copies that
    /// were verified at the same time, the second is refused.
    pub fn commit(&mut self, number: PartialIv) -> Result<(), ReplayRefused> {
        self.check(number)?;
        let place = number.value().saturating_sub(self.limit);
        // A number beyond the end moves the window so far that it is the last one in it.
        let by = place.saturating_sub(self.span() - 1);
        self.seen = u32::try_from(by)
            .ok()
            .and_then(|by| self.seen.checked_shr(by))
            .unwrap_or(0);
        self.limit += by;
        self.seen |= 1 << (place - by);
        Ok(())
    }

    /// Makes the window valid by an Echo exchange that succeeded with the request `number`: that is the lower limit
    /// and received, everything greater is not (draft section 9).
    ///
    /// A window that is valid already stays as it is, and the answer is what [`Self::commit`] says.
    pub fn restart_at(&mut self, number: PartialIv) -> Result<(), ReplayRefused> {
        if self.valid {
            return self.commit(number);
        }
        *self = Self {
            seen: 1,
            limit: number.value(),
            size: self.size,
            valid: true,
        };
        Ok(())
    }

    fn span(&self) -> u64 {
        u64::from(self.size.0)
    }

    /// The same knowledge in a window of another size. A smaller one takes more for received.
    pub fn resized(&self, size: WindowSize) -> Self {
        let excess = self.used().saturating_sub(u32::from(size.0));
        let seen = self.seen.checked_shr(excess).unwrap_or(0);
        Self {
            seen,
            limit: self.limit + u64::from(excess),
            size,
            valid: self.valid,
        }
    }

    /// How many numbers from the limit to the largest received one.
    const fn used(&self) -> u32 {
        u128::BITS - self.seen.leading_zeros()
    }

    /// Writes the window for a record: `[size, limit, seen]`, or `[size]` when invalid.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        cbor::array(out, if self.valid { 3 } else { 1 });
        cbor::unsigned(out, u64::from(self.size.0));
        if self.valid {
            cbor::unsigned(out, self.limit);
            cbor::bytes(out, &self.seen.to_be_bytes());
        }
    }

    /// Reads what [`Self::encode`] wrote; anything that no window can be is refused.
    pub(crate) fn decode(d: &mut Decoder<'_>) -> Result<Self, decode::Error> {
        let fields = d.array()?;
        let size = WindowSize::new(d.u8()?).ok_or_else(|| decode::Error::message("window size"))?;
        match fields {
            Some(1) => Ok(Self::invalid(size)),
            Some(3) => {
                let limit = d.u64()?;
                let bits = <[u8; 16]>::try_from(d.bytes()?)
                    .map_err(|_| decode::Error::message("window bits"))?;
                let window = Self {
                    seen: u128::from_be_bytes(bits),
                    limit,
                    size,
                    valid: true,
                };
                let last = limit.saturating_add(u64::from(window.used().saturating_sub(1)));
                if window.used() > u32::from(size.0) || PartialIv::new(last).is_none() {
                    return Err(decode::Error::message("window bits"));
                }
                Ok(window)
            }
            _ => Err(decode::Error::message("window fields")),
        }
    }
}

#[cfg(test)]
mod tests;
