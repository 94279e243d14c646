//! Asking for what is missing: confirmable, one request at a time (NSTART), after a random delay.

use core::time::Duration;

use antiphon_wire::{Code, OptionNumber, decode_uint};

use super::current::Current;
use super::{Device, Repair, RepairId};
use crate::identity::Sender;
use crate::message::Response;
use crate::time::Instant;

/// Max-Age of a response that does not say (RFC 7252 section 5.10.5).
const DEFAULT_MAX_AGE: u32 = 60;

impl Device {
    /// The next request for a block that is missing.
    pub fn poll_repair(&mut self, now: Instant) -> Option<Repair> {
        let current = self.current.as_mut()?;
        current
            .repair_at(self.config.waiting)
            .filter(|at| *at <= now)?;
        let from = current.from.as_ref()?;
        let block = current.claimed.next_missing(current.cursor)?;
        current.cursor = block;
        let repair = RepairId(self.next_repair);
        self.next_repair += 1;
        current.asked = Some((repair, block));
        self.counters.asked += 1;
        Some(Repair {
            repair,
            to: from.peer,
            interface: from.interface,
            sender: from.sender.clone(),
            id: current.id,
            block,
        })
    }

    /// What came of a request for repair: the response and who is proven to have sent it, or nothing.
    pub fn repaired(
        &mut self,
        now: Instant,
        repair: RepairId,
        answer: Option<(&Response, &Sender)>,
    ) {
        let Some(current) = &mut self.current else {
            return;
        };
        let Some((_, block)) = current.asked.filter(|(asked, _)| *asked == repair) else {
            return; // of a distribution that is no more
        };
        current.asked = None;
        let expected = current.from.as_ref().map(|from| &from.sender);
        let answer = answer.filter(|(_, sender)| expected == Some(*sender));
        let later = match answer {
            Some((response, _)) if response.code == Code::CONTENT => {
                current.heard_at = now;
                let already = current.claimed.contains(block);
                match self.take(block, &response.payload) {
                    Code::CHANGED => {
                        self.counters.repaired += u64::from(!already);
                        None
                    }
                    _ => Some(Duration::ZERO),
                }
            }
            Some((response, _)) if is_later(response.code) => {
                current.heard_at = now;
                Some(max_age(response))
            }
            _ => Some(Duration::ZERO),
        };
        match later {
            None => {
                if let Some(current) = &mut self.current {
                    current.failures = 0;
                    current.ask_at = current.ask_at.map(|_| now);
                }
            }
            Some(wait) => {
                self.counters.unanswered += 1;
                self.ask_later(now, wait);
            }
        }
    }

    /// Asks again after `wait` and a random time that doubles with each failure.
    fn ask_later(&mut self, now: Instant, wait: Duration) {
        let Some(current) = &mut self.current else {
            return;
        };
        let most = self.config.max_backoff;
        let doubled = 1 << current.failures.min(16);
        let spread = self.config.backoff.saturating_mul(doubled).min(most);
        let delay = wait.min(most) + self.rng.duration_up_to(spread);
        if wait.is_zero() {
            current.failures = current.failures.saturating_add(1);
        }
        current.ask_at = current.ask_at.map(|_| now + delay);
    }
}

impl Current {
    /// Repairs begin at this time, unless they have begun or nothing is missing.
    pub(super) fn begin_repair(&mut self, at: Instant) -> bool {
        let begin = self.is_open() && self.ask_at.is_none() && !self.claimed.is_full();
        if begin {
            self.ask_at = Some(at);
            self.failures = 0;
        }
        begin
    }

    /// When the next request for repair may go; not while as many blocks as may wait do.
    pub(super) fn repair_at(&self, waiting: usize) -> Option<Instant> {
        let may = self.is_open() && self.asked.is_none() && !self.claimed.is_full();
        self.ask_at.filter(|_| may && self.has_room(waiting))
    }
}

/// Does this response say to come again?
fn is_later(code: Code) -> bool {
    matches!(code, Code::SERVICE_UNAVAILABLE | Code::TOO_MANY_REQUESTS)
}

fn max_age(response: &Response) -> Duration {
    let said = response.options.get(OptionNumber::MAX_AGE);
    let seconds = said.and_then(decode_uint).unwrap_or(DEFAULT_MAX_AGE);
    Duration::from_secs(seconds.max(1).into())
}
