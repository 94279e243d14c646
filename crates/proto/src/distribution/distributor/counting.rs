//! Before a pass: who lacks what, and which blocks the pass sends.
//!
//! Members are asked a few at a time, so that a count of many takes long: it goes on until everyone has answered, or for
//! [`count_for`](super::DistributorConfig::count_for) and until [half](ENOUGH) have, but not for [longer](LONGEST) than a
//! multiple of that. What those lack who answered stands for those who were not heard yet. The next count begins where
//! the last one ended, and asks those last that did not answer when they were asked before.
//!
//! Devices without power often stand together in the list. If nobody at all has answered, it is counted once more, in an order that
//! begins everywhere in the list at once.

use alloc::collections::VecDeque;
use core::time::Duration;

use super::member::Member;
use super::plan::{Plan, Sample};
use super::{ASK_BYTES, Distributor, DistributorEvent, Stage, WATCH_SHARE};
use crate::time::Instant;

/// A question is repeated for so long: MAX_TRANSMIT_SPAN of RFC 7252.
const REPEATED_FOR: Duration = Duration::from_secs(45);
/// So many blocks may be sent meanwhile: half of a Replay Window of RFC 8613. The other half is for announcements, and for what it takes
/// until the answer is there.
const WITHIN_WINDOW: u32 = 16;

/// One of so many members has to have answered, or failed to, before a pass is planned without the others.
const ENOUGH: usize = 2;
/// So many times as long as answers are waited for in any case, at most.
const LONGEST: u32 = 10;

/// A count that is under way.
#[derive(Debug)]
pub(super) struct Count {
    /// Until then everyone is waited for.
    until: Instant,
    /// Then nobody is.
    latest: Instant,
    /// Who is still to be asked.
    queue: VecDeque<usize>,
    /// How many are asked in all.
    of: usize,
    /// How many of them have neither answered nor failed to.
    open: usize,
    /// How many have answered.
    answered: usize,
    /// It is the second one before this pass.
    again: bool,
}

impl Count {
    /// Who is asked next.
    pub(super) fn next(&mut self) -> Option<usize> {
        self.queue.pop_front()
    }

    /// Is somebody still to be asked?
    pub(super) fn has_next(&self) -> bool {
        !self.queue.is_empty()
    }

    /// One of them has answered, or failed to.
    pub(super) fn heard(&mut self, answered: bool) {
        self.open = self.open.saturating_sub(1);
        self.answered += usize::from(answered);
    }

    /// When it is over, unless an answer ends it sooner.
    pub(super) fn ends_at(&self) -> Instant {
        match (self.of - self.open) * ENOUGH >= self.of {
            true => self.until,
            false => self.latest,
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.open == 0 || now >= self.ends_at()
    }
}

impl Distributor {
    /// Everyone is asked what it lacks.
    pub(super) fn count(&mut self, now: Instant) {
        self.begin_count(now, false);
    }

    fn begin_count(&mut self, now: Instant, again: bool) {
        self.due.clear();
        let mut failed = VecDeque::new();
        let mut count = Count {
            until: now + self.config.count_for,
            latest: now + self.config.count_for.saturating_mul(LONGEST),
            queue: VecDeque::new(),
            of: 0,
            open: 0,
            answered: 0,
            again,
        };
        let (before, from) = (0..self.count_from, self.count_from..self.members.len());
        for index in from.chain(before) {
            let Some(member) = self.members.get_mut(index) else {
                continue;
            };
            member.counted = member.is_final();
            if !member.counted {
                count.of += 1;
                if !member.asked {
                    match member.has_failed() {
                        false => count.queue.push_back(index),
                        true => failed.push_back(index),
                    }
                }
            }
        }
        if again {
            count.queue = spread(&count.queue, self.config.asks_at_once);
        }
        count.queue.extend(failed);
        count.open = count.of;
        self.stage = Stage::Counting(count);
    }

    /// Has the count that is under way gone on for long enough?
    pub(super) fn is_counted(&self, now: Instant) -> bool {
        matches!(&self.stage, Stage::Counting(count) if count.is_over(now) || self.everything_is_lacking())
    }

    /// Some member lacks everything, so that the first pass sends everything.
    fn everything_is_lacking(&self) -> bool {
        let counted = |member: &&Member| member.counted && member.lacks_everything();
        self.pass == 0 && self.members.iter().any(|member| counted(&member))
    }

    /// Of whom those who have answered are a sample: whoever was not heard yet lacks as much. Whoever did not answer
    /// when it was asked last is not waited for.
    fn sample(&self) -> Sample {
        let answered = match &self.stage {
            Stage::Counting(count) => count.answered,
            _ => 0,
        };
        let unknown = self.members.iter().filter(|member| member.is_unknown());
        Sample {
            counted: answered,
            of: answered + unknown.count(),
        }
    }

    /// Nobody has answered: whoever was asked may be where there is no power, which says nothing of the others.
    fn has_asked_the_wrong_ones(&self) -> bool {
        let in_vain = |count: &Count| count.answered == 0 && !count.again;
        self.pass > 0
            && matches!(&self.stage, Stage::Counting(count) if in_vain(count))
            && self.members.iter().any(Member::is_unknown)
    }

    pub(super) fn plan(&mut self, now: Instant) {
        if self.has_asked_the_wrong_ones() {
            self.begin_count(now, true);
            return;
        }
        self.due.clear();
        let first = self.pass == 0;
        let known = self
            .members
            .iter()
            .any(|member| member.counted && !member.is_final())
            || (!self.members.is_empty() && self.members.iter().all(Member::is_final));
        let plan = match first && (!known || self.everything_is_lacking()) {
            true => Some(Plan::all(self.total)),
            false => {
                let counted = |member: &&Member| member.counted;
                let lacking = self.members.iter().filter(counted).map(|m| m.lacks());
                let sample = self.sample();
                Plan::worth(self.total, lacking, sample, first, self.members.len())
            }
        };
        match plan {
            Some(plan) if self.pass < self.config.passes => {
                self.pass += 1;
                self.progress.pass_blocks = plan.blocks();
                self.progress.pass_sent = 0;
                self.events.push_back(DistributorEvent::PassBegun {
                    pass: self.pass,
                    blocks: plan.blocks(),
                });
                self.stage = Stage::Passing { plan, next: 0 };
                self.watch(now);
            }
            _ => self.say_end(now, self.config.window_seconds()),
        }
    }

    /// During a pass members are asked now and then how far they are, so that somebody who watches sees it. A question that
    /// is protected grows old with every block: repeated, it would be a replay to a device that missed it at first. It
    /// then begins again in the place of the repetition; a fast pass asks nobody all the same.
    fn watch(&mut self, now: Instant) {
        if self.config.protection > 0 && !self.is_slow() {
            return;
        }
        let gap = self.watch_gap();
        let mut at = now;
        for (index, member) in self.members.iter().enumerate() {
            if !member.is_final() && !member.asked {
                at = at + gap;
                self.due.insert((at, index));
            }
        }
    }

    /// Do the blocks that are sent while a question is repeated leave it in the Replay Window?
    fn is_slow(&self) -> bool {
        let block = u64::from(self.config.announcement.block_size());
        self.pace.time_of(block * u64::from(self.copies)) * WITHIN_WINDOW >= REPEATED_FOR
    }

    /// The time between two questions during a pass.
    pub(super) fn watch_gap(&self) -> Duration {
        self.pace.time_of(ASK_BYTES * u64::from(WATCH_SHARE))
    }
}

/// The same in another order, so that any so many that follow each other are from all over the queue.
fn spread(queue: &VecDeque<usize>, lanes: usize) -> VecDeque<usize> {
    let lane = queue.len().div_ceil(lanes.max(1)).max(1);
    let places = (0..lane).flat_map(|first| (first..queue.len()).step_by(lane));
    places
        .filter_map(|place| queue.get(place).copied())
        .collect()
}
