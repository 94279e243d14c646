//! The rate of everything that goes to the group.

use core::time::Duration;

use crate::time::Instant;

/// Whoever is called so much too late may make up for it: timers of systems are late by a millisecond, at each datagram.
const LATE: Duration = Duration::from_millis(10);

/// What was sent is paid off at the rate before anything else is sent: no bursts.
#[derive(Debug)]
pub(super) struct Pace {
    rate: u32,
    free: Instant,
}

impl Pace {
    pub(super) fn new(rate: u32) -> Self {
        Self {
            rate: rate.max(1),
            free: Instant::ZERO,
        }
    }

    /// When the next datagram may leave.
    pub(super) fn free(&self) -> Instant {
        self.free
    }

    /// A datagram left.
    pub(super) fn sent(&mut self, now: Instant, bytes: u64) {
        self.free = self.free.max(now - LATE) + self.time_of(bytes);
    }

    /// Nothing leaves for this long.
    pub(super) fn pause(&mut self, now: Instant, pause: Duration) {
        self.free = self.free.max(now + pause);
    }

    /// How long so many bytes take.
    pub(super) fn time_of(&self, bytes: u64) -> Duration {
        let micros = bytes
            .saturating_mul(1_000_000)
            .div_ceil(u64::from(self.rate));
        Duration::from_micros(micros)
    }
}
