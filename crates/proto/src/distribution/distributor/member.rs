//! What is known of one device.

use alloc::collections::BTreeSet;
use core::net::SocketAddr;
use core::time::Duration;

use antiphon_wire::Code;

use super::event::DeviceReport;
use super::plan::Lacks;
use super::{ASK_AGAIN, DOUBLED, SETTLE};
use crate::distribution::{DeviceState, DeviceStatus, ImageId, MissingBlocks};
use crate::exchange::Failure;
use crate::time::Instant;

/// So many blocks that it asked for are remembered of a device, as long as it does not say that it has more.
const ASKED_FOR: usize = 1_024;

#[derive(Debug)]
pub(super) struct Member {
    pub(super) address: SocketAddr,
    /// What it said last of this image.
    state: Option<DeviceState>,
    code: Option<Code>,
    have: u32,
    /// How many blocks it lacks.
    lacking: u32,
    missing: Option<MissingBlocks>,
    busy_with: Option<ImageId>,
    heard: Option<Instant>,
    failure: Option<Failure>,
    repairs: u32,
    /// Blocks that it was sent alone since it said what it lacks.
    served: u32,
    /// How often it was asked without news.
    pub(super) again: u32,
    /// When it last got further: its state or the number of its blocks was another, or it asked for a block for the first time.
    pub(super) news: Instant,
    /// Which blocks it asked for since.
    asked_for: BTreeSet<u32>,
    /// A question to it is under way.
    pub(super) asked: bool,
    /// It has answered in this count.
    pub(super) counted: bool,
    pub(super) given_up: bool,
}

impl Member {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            state: None,
            code: None,
            have: 0,
            lacking: 0,
            missing: None,
            busy_with: None,
            heard: None,
            failure: None,
            repairs: 0,
            served: 0,
            again: 0,
            news: Instant::ZERO,
            asked_for: BTreeSet::new(),
            asked: false,
            counted: false,
            given_up: false,
        }
    }

    /// Nothing more changes.
    pub(super) fn is_final(&self) -> bool {
        self.state.is_some_and(DeviceState::is_final)
    }

    pub(super) fn is_activated(&self) -> bool {
        self.state == Some(DeviceState::Activated)
    }

    /// It is waited for.
    pub(super) fn is_open(&self) -> bool {
        !self.is_final() && !self.given_up
    }

    /// Something came from there.
    fn heard(&mut self, now: Instant) {
        self.heard = Some(now);
        self.failure = None;
    }

    /// It has got further, and is waited for again.
    fn gets_further(&mut self, now: Instant) {
        self.news = now;
        self.given_up = false;
    }

    /// It asks for a block. Whoever asks for the same blocks again and again does not get further.
    pub(super) fn asks_for(&mut self, now: Instant, block: u32) {
        self.heard(now);
        if self.asked_for.len() < ASKED_FOR && self.asked_for.insert(block) {
            self.gets_further(now);
        }
    }

    /// Something came from there at some time.
    pub(super) fn is_heard(&self) -> bool {
        self.heard.is_some()
    }

    /// It was sent a block. Does it have everything now, as far as can be known?
    pub(super) fn serve(&mut self) -> bool {
        self.repairs = self.repairs.saturating_add(1);
        self.served = self.served.saturating_add(1);
        self.served == self.lacking
    }

    /// It says how far it is. Is that news?
    pub(super) fn tell(
        &mut self,
        now: Instant,
        id: ImageId,
        total: u32,
        status: DeviceStatus,
    ) -> bool {
        self.heard(now);
        let before = (self.state, self.code, self.have, self.busy_with);
        self.served = 0;
        if status.id == Some(id) {
            self.state = Some(status.state);
            self.code = status.code;
            self.have = status.have.min(total);
            self.lacking = total - self.have;
            self.missing = status.missing.filter(|_| status.total == total);
            self.busy_with = None;
        } else {
            self.state = None;
            self.code = None;
            self.have = 0;
            self.lacking = total;
            self.missing = None;
            let occupied = !status.state.is_final() && status.state != DeviceState::Idle;
            self.busy_with = status.id.filter(|_| occupied);
        }
        if (before.0, before.2) != (self.state, self.have) {
            self.asked_for.clear();
            self.gets_further(now);
        }
        before != (self.state, self.code, self.have, self.busy_with)
    }

    /// It answered, but not how far it is. Is that news?
    pub(super) fn answered(&mut self, now: Instant, code: Code) -> bool {
        self.heard(now);
        let before = self.code.replace(code);
        before != Some(code)
    }

    /// It did not answer. Is that news?
    pub(super) fn failed(&mut self, failure: Failure) -> bool {
        self.failure.replace(failure).is_none()
    }

    /// It did not answer when it was asked last, and nothing came from there since.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// After which time it is asked again, outside of a pass.
    pub(super) fn next_ask(&mut self, changed: bool) -> Duration {
        self.again = match changed && self.failure.is_none() {
            true => 0,
            false => self.again.saturating_add(1).min(DOUBLED),
        };
        let busy = self.state.is_some_and(|state| {
            use DeviceState::{Activating, Verified, Verifying};
            matches!(state, Verifying | Verified | Activating)
        });
        let first = if busy { SETTLE } else { ASK_AGAIN };
        first.saturating_mul(1 << self.again)
    }

    /// It has answered and knows nothing of the image.
    pub(super) fn waits_for_announcement(&self) -> bool {
        self.state.is_none()
            && self.busy_with.is_none()
            && self.code.is_none()
            && self.failure.is_none()
            && self.heard.is_some()
    }

    /// It has not answered in this count, and nothing says that it would not.
    pub(super) fn is_unknown(&self) -> bool {
        !self.counted && self.failure.is_none()
    }

    pub(super) fn lacks_everything(&self) -> bool {
        matches!(self.lacks(), Lacks::Everything)
    }

    /// What it lacks, as far as sending it helps.
    pub(super) fn lacks(&self) -> Lacks<'_> {
        match (self.state, &self.missing) {
            (None, _) if self.busy_with.is_some() || self.heard.is_none() => Lacks::Nothing,
            (None, _) if self.code.is_some() => Lacks::Nothing,
            (None | Some(DeviceState::Idle), _) => Lacks::Everything,
            (Some(DeviceState::Receiving), _) if self.have == 0 => Lacks::Everything,
            (Some(DeviceState::Receiving), Some(missing)) => Lacks::Some {
                count: self.lacking,
                missing,
            },
            (Some(_), _) => Lacks::Nothing,
        }
    }

    pub(super) fn report(&self, total: u32) -> DeviceReport {
        DeviceReport {
            address: self.address,
            state: self.state,
            code: self.code,
            have: self.have,
            total,
            busy_with: self.busy_with,
            heard: self.heard,
            failure: self.failure,
            repairs: self.repairs,
            given_up: self.given_up,
        }
    }
}
