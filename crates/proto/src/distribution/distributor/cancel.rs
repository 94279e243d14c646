//! The end before the end: devices are told to forget what they have.
//!
//! The group is told three times, at the rate, and nobody confirms that. Known members are told by unicast as well, a few at a time:
//! first those that were heard of. What is not confirmed after [`CANCEL_FOR`], and when the group was told, stays so: such a device
//! finds out by itself that nothing comes any more, or when it asks for a block.

use alloc::collections::VecDeque;
use core::time::Duration;

use super::{DistributionEnd, Distributor, NOTICE_GAP, NOTICES, Stage};
use crate::distribution::{Notice, notice_to_one};
use crate::message::Request;
use crate::time::Instant;

/// Members are waited for so long: MAX_TRANSMIT_WAIT of RFC 7252, for what is under way at first, and a few seconds.
const CANCEL_FOR: Duration = Duration::from_secs(100);

/// A cancellation that is under way.
#[derive(Debug)]
pub(super) struct Cancelling {
    /// How often the group is still told, and when next.
    left: u8,
    next: Instant,
    until: Instant,
    /// Who is still to be told alone.
    queue: VecDeque<usize>,
}

impl Cancelling {
    /// When the group is told again, if it is.
    pub(super) fn next(&self) -> Option<Instant> {
        (self.left > 0).then_some(self.next)
    }

    /// When it is over, whoever has confirmed it by then; `None` while the group is still to be told.
    pub(super) fn until(&self) -> Option<Instant> {
        (self.left == 0).then_some(self.until)
    }

    /// Who is told alone next.
    pub(super) fn next_member(&mut self) -> Option<usize> {
        self.queue.pop_front()
    }

    /// Is somebody still to be told alone?
    pub(super) fn has_member(&self) -> bool {
        !self.queue.is_empty()
    }
}

impl Distributor {
    /// Ends it: the devices are told to forget what they have of the image. Whoever has all of it keeps it.
    ///
    /// The group is told three times, at the rate: after what was sent last is paid off. Members that are known, and have not activated the image, are told by Confirmable requests as
    /// well: [`poll_ask`](Self::poll_ask) hands them out, as many at a time as questions, and
    /// [`cancelled`](super::DistributionProgress::cancelled) counts who has confirmed it. It is over when everyone was told; members
    /// are waited for until 100 s have passed and the group was told. Who asks for a block from now on is told that there is none
    /// (4.04). It remains best effort for devices that are not known, or cannot be reached in that time.
    pub fn cancel(&mut self, now: Instant) {
        if matches!(self.stage, Stage::Over(_) | Stage::Cancelling(_)) {
            return;
        }
        self.due.clear();
        let mut queue: VecDeque<usize> = VecDeque::new();
        for heard in [true, false] {
            let members = self.members.iter().enumerate();
            let told = members.filter(|(_, m)| m.is_heard() == heard && !m.is_activated());
            queue.extend(told.map(|(index, _)| index));
        }
        self.asks.clear(); // what comes of questions is of no interest any more
        self.stage = Stage::Cancelling(Cancelling {
            left: NOTICES,
            next: now,
            until: now + CANCEL_FOR,
            queue,
        });
    }

    pub(super) fn cancellation(&self) -> Request {
        notice_to_one(&self.config.path, &Notice::Cancelled(self.id))
    }

    /// The group was told.
    pub(super) fn told_cancel(&mut self, now: Instant) {
        if let Stage::Cancelling(cancelling) = &mut self.stage {
            cancelling.left = cancelling.left.saturating_sub(1);
            cancelling.next = now + NOTICE_GAP;
        }
        self.end_if_cancelled(now);
    }

    /// The group could not be told. That is tried again as often as one likes while members are waited for, then not for ever.
    pub(super) fn not_told(&mut self, now: Instant) {
        if let Stage::Cancelling(cancelling) = &self.stage
            && now >= cancelling.until
        {
            self.told_cancel(now);
        }
    }

    /// A member has answered, or could not be reached.
    pub(super) fn told_member(&mut self, now: Instant, confirmed: bool) {
        self.progress.cancelled += u64::from(confirmed);
        self.end_if_cancelled(now);
    }

    pub(super) fn end_if_cancelled(&mut self, now: Instant) {
        let Stage::Cancelling(cancelling) = &self.stage else {
            return;
        };
        let confirmed = !cancelling.has_member() && self.asks.is_empty();
        if cancelling.left == 0 && (confirmed || now >= cancelling.until) {
            self.over(DistributionEnd::Cancelled);
        }
    }
}
