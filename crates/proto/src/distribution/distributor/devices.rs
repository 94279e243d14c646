//! What goes to and comes from single devices: questions how far they are, and blocks that they ask for.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use antiphon_wire::Code;

use super::request::{self, Ask, AskId, Fills, Served};
use super::{ANNOUNCE_AGAIN, DistributionEnd, Distributor, LOOK, SETTLE, Stage};
use crate::distribution::{Command, DeviceStatus, block_request, status_request};
use crate::exchange::Failure;
use crate::message::{Request, Response};
use crate::time::Instant;

impl Distributor {
    /// The next device to be asked for its status, or told that it is cancelled: a Confirmable
    /// request. Whoever takes it reports the end with [`asked`](Self::asked).
    pub fn poll_ask(&mut self, now: Instant) -> Option<Ask> {
        self.advance(now);
        if self.asks.len() >= self.config.asks_at_once {
            return None;
        }
        let index = self.next_asked(now)?;
        let cancelled = matches!(self.stage, Stage::Cancelling(_)).then(|| self.cancellation());
        let member = self.members.get_mut(index)?;
        member.asked = true;
        let ask = AskId(self.next_ask);
        self.next_ask += 1;
        self.asks.insert(ask, index);
        self.progress.asks += u64::from(cancelled.is_none());
        Some(Ask {
            ask,
            member: index,
            to: member.address,
            request: cancelled.unwrap_or_else(|| status_request(&self.config.path)),
        })
    }

    /// Whom to ask now.
    fn next_asked(&mut self, now: Instant) -> Option<usize> {
        if let Stage::Counting(count) = &mut self.stage {
            let index = count.next()?;
            self.count_from = index + 1;
            return Some(index);
        }
        if let Stage::Cancelling(cancelling) = &mut self.stage {
            return cancelling.next_member();
        }
        let (at, index) = *self.due.first()?;
        if at > now {
            return None;
        }
        self.due.remove(&(at, index));
        Some(index)
    }

    /// What came of a question.
    pub fn asked(&mut self, now: Instant, ask: AskId, result: Result<&Response, Failure>) {
        let Some(index) = self.asks.remove(&ask) else {
            return;
        };
        if let Stage::Cancelling(_) = self.stage {
            // 4.04: it has heard what the group was told, or knew nothing of it
            let forgotten =
                |response: &Response| matches!(response.code, Code::CHANGED | Code::NOT_FOUND);
            self.told_member(now, result.is_ok_and(forgotten));
            return;
        }
        let Some(member) = self.members.get_mut(index) else {
            return;
        };
        member.asked = false;
        let was_open = member.is_open();
        let counted = core::mem::replace(&mut member.counted, true);
        let changed = match result {
            Ok(response) => match read_status(response) {
                Ok(status) => member.tell(now, self.id, self.total, status),
                Err(code) => member.answered(now, code),
            },
            Err(failure) => {
                // Whoever does not answer does not count in a plan.
                member.failed(failure)
            }
        };
        if result.is_err() {
            member.counted = counted;
        }
        if changed {
            self.changed.insert(index);
        }
        let (open, again) = (member.is_open(), member.next_ask(changed));
        if member.waits_for_announcement() {
            let gap = match self.stage {
                Stage::Passing { .. } => self.announcement_share.max(ANNOUNCE_AGAIN),
                _ => ANNOUNCE_AGAIN,
            };
            let soon = now.max(self.last_announcement + gap);
            self.next_announcement = self.next_announcement.min(soon);
        }
        match &mut self.stage {
            Stage::Counting(count) if !counted => count.heard(result.is_ok()),
            Stage::Passing { .. } if open => {
                let round =
                    self.watch_gap() * u32::try_from(self.members.len()).unwrap_or(u32::MAX);
                self.due.insert((now + round.max(LOOK), index));
            }
            Stage::Repairing { .. } | Stage::Ending { .. } if open => {
                self.due.insert((now + again, index));
            }
            _ => {}
        }
        if was_open && !open && matches!(self.stage, Stage::Repairing { .. }) {
            self.end_if_all_are_final();
        }
        self.advance(now);
    }

    /// A request of a device: `from` is where it comes from.
    ///
    /// A block that is still to come by multicast is not sent to one alone: 5.03, with the rest of the pass as Max-Age.
    pub fn handle_request(&mut self, now: Instant, from: SocketAddr, request: &Request) -> Served {
        let number = match self.asked_for(request) {
            Ok(number) => number,
            Err(code) => {
                self.progress.repairs_refused += 1;
                return Served::Response(Response::new(code));
            }
        };
        let member = self.by_address.get(&from).copied();
        let mut is_back = false;
        if let Some(member) = member.and_then(|index| self.members.get_mut(index)) {
            let given_up = member.given_up;
            member.asks_for(now, number);
            is_back = given_up && !member.given_up;
        }
        if let Some(soon) = self.comes_in(number) {
            self.progress.repairs_later += 1;
            return Served::Response(request::later(soon));
        }
        self.progress.repairs += 1;
        self.last_repair = Some(now);
        if let Some(index) = member
            && let Some(member) = self.members.get_mut(index)
            && (member.serve() || is_back)
            && !member.asked
            && matches!(self.stage, Stage::Repairing { .. })
        {
            self.due.retain(|(_, other)| *other != index);
            self.due.insert((now + SETTLE, index));
        }
        Served::Block(self.block(number))
    }

    /// Which of its requests asks for a block that there is, and for which one.
    fn asked_for(&self, request: &Request) -> Result<u32, Code> {
        match Command::of_request(&self.config.path, request) {
            // it missed the cancellation: it is not helped to complete the image
            Command::Repair { .. } if self.is_cancelled() => Err(Code::NOT_FOUND),
            Command::Repair { id, block } if id == self.id && block < self.total => Ok(block),
            Command::Other(code) => Err(code),
            Command::Repair { .. } | Command::Status => Err(Code::NOT_FOUND),
            Command::Notice(_) | Command::Block { .. } => Err(Code::METHOD_NOT_ALLOWED),
        }
    }

    fn is_cancelled(&self) -> bool {
        matches!(
            self.stage,
            Stage::Cancelling(_) | Stage::Over(DistributionEnd::Cancelled)
        )
    }

    pub(super) fn block(&self, number: u32) -> Fills {
        let announcement = &self.config.announcement;
        Fills {
            number,
            offset: announcement.block_offset(number).unwrap_or(0),
            length: announcement.block_length(number).unwrap_or(0),
        }
    }

    /// The time until the pass is over, if this block is still to be sent in it. Whoever is told so does not come again for
    /// the next block, however slow the pass is.
    fn comes_in(&self, number: u32) -> Option<Duration> {
        let Stage::Passing { plan, next } = &self.stage else {
            return None;
        };
        if number < *next || !plan.contains(number) {
            return None;
        }
        let blocks = u64::from(plan.between(*next, self.total));
        let empty = block_request(&self.config.path, self.id, number, Vec::new());
        let each =
            self.config.on_air(&empty) + 1 + u64::from(self.config.announcement.block_size());
        let each = each * u64::from(self.copies);
        Some(self.pace.time_of(blocks.saturating_mul(each)))
    }
}

/// The status in a response; otherwise its code.
fn read_status(response: &Response) -> Result<DeviceStatus, Code> {
    if response.code != Code::CONTENT {
        return Err(response.code);
    }
    DeviceStatus::decode(&response.payload).map_err(|_| Code::CONTENT)
}
