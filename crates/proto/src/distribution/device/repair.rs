//! Asking for what is missing: confirmable, one request at a time (NSTART), after a random delay.

use core::time::Duration;

use antiphon_wire::{Code, OptionNumber, decode_uint};

use super::current::{Asking, Current};
use super::{Device, DeviceEvent, Repair, RepairId};
use crate::identity::Sender;
use crate::message::Response;
use crate::time::Instant;

/// Max-Age of a response that does not say (RFC 7252 section 5.10.5).
const DEFAULT_MAX_AGE: u32 = 60;

/// What came of a request for repair.
enum Outcome {
    Taken,
    /// The distributor says that it is to be asked again in this time.
    Later(Duration),
    /// The distributor knows nothing of the image: it cancelled, or has another one.
    Unknown,
    Failed,
}

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
        let outcome = match answer {
            Some((response, _)) if response.code == Code::CONTENT => {
                current.heard_at = now;
                let already = current.claimed.contains(block);
                match self.take(block, &response.payload) {
                    Code::CHANGED => {
                        self.counters.repaired += u64::from(!already);
                        Outcome::Taken
                    }
                    _ => Outcome::Failed,
                }
            }
            Some((response, _)) if is_later(response.code) => {
                current.heard_at = now;
                Outcome::Later(max_age(response))
            }
            Some((response, _)) if response.code == Code::NOT_FOUND => Outcome::Unknown,
            _ => Outcome::Failed,
        };
        self.ask_on(now, outcome);
    }

    /// Whether and when it asks again.
    fn ask_on(&mut self, now: Instant, outcome: Outcome) {
        let Some(current) = &mut self.current else {
            return;
        };
        let config = &self.config;
        let failures = current.failures;
        current.failures = match outcome {
            Outcome::Taken | Outcome::Later(_) => 0,
            Outcome::Failed | Outcome::Unknown => failures.saturating_add(1),
        };
        let wait = match outcome {
            Outcome::Taken => return current.asking.put_off(now),
            Outcome::Later(wait) => wait.min(config.max_later),
            Outcome::Failed | Outcome::Unknown => Duration::ZERO,
        };
        self.counters.unanswered += 1;
        let nobody_has_it =
            matches!(outcome, Outcome::Unknown) || current.failures >= config.max_failures;
        if nobody_has_it && current.asking.at().is_some() {
            current.asking = Asking::GaveUp;
            let (id, missing) = (current.id, current.total - current.have.len());
            return self.event(DeviceEvent::Waiting { id, missing });
        }
        // a random time that doubles with each failure
        let doubled = 1 << failures.min(16);
        let spread = config.backoff.saturating_mul(doubled);
        let delay = wait + self.rng.duration_up_to(spread.min(config.max_backoff));
        current.asking.put_off(now + delay);
    }
}

impl Current {
    /// Repairs begin so, unless they have begun or nothing is missing.
    pub(super) fn begin_repair(&mut self, asking: Asking) -> bool {
        let begin = self.is_open() && self.asking.at().is_none() && !self.claimed.is_full();
        if begin {
            self.asking = asking;
            self.failures = 0;
        }
        begin
    }

    /// When the next request for repair may go; not while as many blocks as may wait do.
    pub(super) fn repair_at(&self, waiting: usize) -> Option<Instant> {
        let may = self.is_open() && self.asked.is_none() && !self.claimed.is_full();
        let at = self.asking.at();
        at.filter(|_| may && self.has_room(waiting))
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
