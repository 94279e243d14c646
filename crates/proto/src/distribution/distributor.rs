//! The half that has the image: it announces it, sends its blocks in passes, says when a pass is over, answers those
//! who lack something, and asks everyone how far it is.
//!
//! ```text
//! announce (3 times) -> count: who lacks what? -> pass -> end, window 0 -> count -> pass .. -> end, window W -> repair
//! ```
//!
//! Nothing has to be remembered over a restart: the same image with the same parameters has the same identifier, and
//! counting finds out who lacks what. So a restart resumes.
//!
//! # Pace
//!
//! Everything that goes to the group keeps to one rate in bytes per second, in which the IP and UDP headers count. What goes to
//! and comes from single devices is Confirmable and keeps to NSTART. While a pass is under way devices are asked so rarely
//! that it takes [`WATCH_SHARE`] of the rate at most.
//!
//! # Which blocks a pass sends
//!
//! See [`plan`]: those of which sending them once more to everyone is cheaper than to each who lacks them.

mod config;
mod event;
mod member;
mod pace;
mod plan;
mod request;
mod survey;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use antiphon_wire::Code;

use super::{
    Command, DeviceStatus, ImageId, Notice, block_request, notice_request, status_request,
};
use crate::config::ConfigError;
use crate::exchange::Failure;
use crate::message::{Request, Response};
use crate::time::Instant;

pub use config::{DistributorConfig, Estimate};
pub use event::{
    DeviceReport, DistributionEnd, DistributionPhase, DistributionProgress, DistributorEvent,
};
pub use request::{Ask, AskId, Fills, GroupSend, Served};
pub use survey::ImageSurvey;

use member::Member;
use pace::Pace;
use plan::Plan;

/// While a pass is under way, questions to devices take at most one part in so many of the rate.
pub const WATCH_SHARE: u32 = 50;
/// Announcements in the course of a distribution take at most one part in so many of the rate.
const ANNOUNCE_SHARE: u32 = 100;
/// What a question to a device and its answer take, in bytes on the air, at 20 % loss.
const ASK_BYTES: u64 = 420;
/// A device that has just been served all that it lacked is asked after this time.
const SETTLE: Duration = Duration::from_secs(2);
/// A device that does not answer, or does not get further, is asked again after this, then after twice that, and so on.
const ASK_AGAIN: Duration = Duration::from_secs(15);
/// So often at most it is doubled.
const DOUBLED: u32 = 4;
/// For a device that has not heard of the image the announcement is repeated, this long after the last one at the earliest.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(2);
/// Announcements of a long repair phase are this far apart at most, unless the rate is very low.
const SELDOM: Duration = Duration::from_secs(300);
/// What could not be sent is tried again after this time.
const NOT_SENT: Duration = Duration::from_secs(1);
/// How often it is looked who has not been heard for too long.
const LOOK: Duration = Duration::from_secs(5);
/// Notices that end a pass with repairs, or cancel a distribution, are sent so often, and this far apart.
const NOTICES: u8 = 3;
const NOTICE_GAP: Duration = Duration::from_secs(1);

/// Brings one image to a group. A state machine: requests and responses go in and out, time is an argument.
///
/// In a loop: [`poll_send`](Self::poll_send) and report each with [`sent`](Self::sent), [`poll_ask`](Self::poll_ask) and report each
/// with [`asked`](Self::asked), [`poll_event`](Self::poll_event), then wait until [`next_timeout`](Self::next_timeout) and call
/// [`handle_timeout`](Self::handle_timeout). Requests for blocks go to [`handle_request`](Self::handle_request).
///
/// Memory: about 300 bytes for each member, whatever the size of the image.
#[derive(Debug)]
pub struct Distributor {
    config: DistributorConfig,
    id: ImageId,
    total: u32,
    members: Vec<Member>,
    by_address: BTreeMap<SocketAddr, usize>,
    /// When members are asked next.
    due: BTreeSet<(Instant, usize)>,
    asks: BTreeMap<AskId, usize>,
    next_ask: u64,
    stage: Stage,
    began: Option<Instant>,
    /// The pass that is under way or was last.
    pass: u16,
    pace: Pace,
    /// What was handed out and not yet reported as sent.
    outstanding: Option<Item>,
    next_announcement: Instant,
    last_announcement: Instant,
    /// In the repair phase, an end notice follows each announcement.
    notice_due: bool,
    next_look: Instant,
    last_repair: Option<Instant>,
    events: VecDeque<DistributorEvent>,
    changed: BTreeSet<usize>,
    progress: DistributionProgress,
}

/// Where the distribution stands.
#[derive(Debug)]
enum Stage {
    /// The announcement is repeated, so that nearly everyone hears it before the first block.
    Announcing { left: u8, next: Instant },
    /// The members are asked what they lack, before a pass.
    Counting {
        /// Then those who have not answered do not count.
        until: Instant,
        /// Who has not answered yet.
        open: usize,
    },
    /// Blocks are sent; `next` is the next candidate.
    Passing { plan: Plan, next: u32 },
    /// The end of a pass is told.
    Ending {
        left: u8,
        next: Instant,
        window: u16,
    },
    /// Devices ask for what they lack.
    Repairing { since: Instant },
    /// The end of the distribution is told.
    Cancelling { left: u8, next: Instant },
    /// It is over.
    Over(DistributionEnd),
}

/// What was handed out to be sent to the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Announcement,
    Block(u32),
    End,
    Cancel,
}

impl Distributor {
    /// A distribution that begins with the first call of [`poll_send`](Self::poll_send).
    ///
    /// # Errors
    /// A parameter outside of its limits: see [`DistributorConfig`].
    pub fn new(config: DistributorConfig) -> Result<Self, ConfigError> {
        config.check()?;
        let mut members: Vec<Member> = Vec::new();
        let mut by_address = BTreeMap::new();
        for address in &config.members {
            if !by_address.contains_key(address) {
                by_address.insert(*address, members.len());
                members.push(Member::new(*address));
            }
        }
        let left = config.announcements;
        Ok(Self {
            id: config.announcement.id(),
            total: config.announcement.blocks(),
            pace: Pace::new(config.rate),
            config,
            members,
            by_address,
            due: BTreeSet::new(),
            asks: BTreeMap::new(),
            next_ask: 0,
            stage: Stage::Announcing {
                left,
                next: Instant::ZERO,
            },
            began: None,
            pass: 0,
            outstanding: None,
            next_announcement: Instant::ZERO,
            last_announcement: Instant::ZERO,
            notice_due: false,
            next_look: Instant::ZERO,
            last_repair: None,
            events: VecDeque::new(),
            changed: BTreeSet::new(),
            progress: DistributionProgress::default(),
        })
    }

    /// The identifier of the image with these parameters.
    pub fn id(&self) -> ImageId {
        self.id
    }

    /// How it was set up.
    pub fn config(&self) -> &DistributorConfig {
        &self.config
    }

    // ---- to the group ----

    /// The next request to the group, when the rate allows one: a silent group request. Whoever takes it reports it with
    /// [`sent`](Self::sent); until then there is no other.
    pub fn poll_send(&mut self, now: Instant) -> Option<GroupSend> {
        self.begin(now);
        self.advance(now);
        if self.outstanding.is_some() || now < self.pace.free() {
            return None;
        }
        let item = self.next_item(now)?;
        let (request, fills) = match item {
            Item::Announcement => (
                notice_request(
                    &self.config.path,
                    &Notice::Announced(self.config.announcement.clone()),
                ),
                None,
            ),
            Item::End => {
                let window = match self.stage {
                    Stage::Ending { window, .. } => window,
                    _ => self.config.window_seconds(),
                };
                let end = Notice::EndOfPass {
                    id: self.id,
                    pass: self.pass,
                    window,
                };
                (notice_request(&self.config.path, &end), None)
            }
            Item::Cancel => (
                notice_request(&self.config.path, &Notice::Cancelled(self.id)),
                None,
            ),
            Item::Block(number) => (
                block_request(&self.config.path, self.id, number, Vec::new()),
                Some(self.block(number)),
            ),
        };
        self.outstanding = Some(item);
        Some(GroupSend { request, fills })
    }

    /// The request of the last [`poll_send`](Self::poll_send) left, as a datagram with this many bytes after the UDP header;
    /// or (`None`) it could not be sent, and is tried again.
    pub fn sent(&mut self, now: Instant, bytes: Option<usize>) {
        let Some(item) = self.outstanding.take() else {
            return;
        };
        let Some(bytes) = bytes else {
            self.pace.pause(now, NOT_SENT);
            self.progress.not_sent += 1;
            return;
        };
        let bytes = bytes as u64 + u64::from(self.config.overhead);
        self.pace.sent(now, bytes);
        self.progress.group_datagrams += 1;
        self.progress.group_bytes += bytes;
        match item {
            Item::Announcement => self.announced(now, bytes),
            Item::End => self.told_end(now),
            Item::Block(number) => {
                self.progress.block_datagrams += 1;
                if let Stage::Passing { plan, next } = &mut self.stage {
                    *next = number.saturating_add(1);
                    self.progress.pass_sent += 1;
                    if plan.next_from(*next).is_none() {
                        self.end_pass(now);
                    }
                }
            }
            Item::Cancel => {
                if let Stage::Cancelling { left, next } = &mut self.stage {
                    *left = left.saturating_sub(1);
                    *next = now + NOTICE_GAP;
                    if *left == 0 {
                        self.over(DistributionEnd::Cancelled);
                    }
                }
            }
        }
    }

    fn begin(&mut self, now: Instant) {
        if self.began.is_none() {
            self.began = Some(now);
            self.next_look = now + LOOK;
            for member in &mut self.members {
                member.since = now;
            }
        }
    }

    /// What is sent now, if it is time.
    fn next_item(&self, now: Instant) -> Option<Item> {
        match &self.stage {
            Stage::Announcing { next, .. } => (now >= *next).then_some(Item::Announcement),
            Stage::Ending { next, .. } => (now >= *next).then_some(Item::End),
            Stage::Cancelling { next, .. } => (now >= *next).then_some(Item::Cancel),
            Stage::Over(_) => None,
            Stage::Repairing { .. } if self.notice_due => Some(Item::End),
            _ if now >= self.next_announcement => Some(Item::Announcement),
            Stage::Passing { plan, next } => plan.next_from(*next).map(Item::Block),
            Stage::Counting { .. } | Stage::Repairing { .. } => None,
        }
    }

    fn announced(&mut self, now: Instant, bytes: u64) {
        let least = self.pace.time_of(bytes * u64::from(ANNOUNCE_SHARE));
        let mut every = self.config.announce_every.max(least);
        if let Stage::Repairing { since } = self.stage {
            // the longer repairs take, the fewer devices are still to be told
            every = every.max((now.since(since) / 10).min(SELDOM));
        }
        self.next_announcement = now + every;
        self.last_announcement = now;
        match &mut self.stage {
            Stage::Announcing { left, next } => {
                if *left == self.config.announcements {
                    self.events.push_back(DistributorEvent::Announced);
                }
                *left = left.saturating_sub(1);
                *next = now + self.config.announce_gap;
                if *left == 0 {
                    self.count(now);
                }
            }
            Stage::Repairing { .. } => self.notice_due = true,
            _ => {}
        }
    }

    fn told_end(&mut self, now: Instant) {
        self.notice_due = false;
        if let Stage::Ending { left, next, window } = &mut self.stage {
            *left = left.saturating_sub(1);
            *next = now + NOTICE_GAP;
            let window = *window;
            if *left == 0 {
                match window {
                    0 => self.count(now),
                    _ => self.repair(now),
                }
            }
        }
    }

    // ---- the course ----

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout), [`poll_send`](Self::poll_send) and [`poll_ask`](Self::poll_ask) are due again.
    pub fn next_timeout(&self) -> Option<Instant> {
        let Some(began) = self.began else {
            return Some(Instant::ZERO);
        };
        if let Stage::Over(_) = self.stage {
            return None;
        }
        let send = match &self.stage {
            _ if self.outstanding.is_some() => None,
            Stage::Announcing { next, .. }
            | Stage::Ending { next, .. }
            | Stage::Cancelling { next, .. } => Some(*next),
            Stage::Passing { .. } => Some(Instant::ZERO),
            Stage::Repairing { .. } if self.notice_due => Some(Instant::ZERO),
            Stage::Counting { .. } | Stage::Repairing { .. } => Some(self.next_announcement),
            Stage::Over(_) => None,
        };
        let send = send.map(|at| at.max(self.pace.free()));
        let ask = match self.asks.len() < self.config.asks_at_once {
            true => self.due.first().map(|(at, _)| *at),
            false => None,
        };
        let counting = match self.stage {
            Stage::Counting { until, .. } => Some(until),
            _ => None,
        };
        let deadline = self.config.deadline.map(|deadline| began + deadline);
        let times = [send, ask, counting, deadline, Some(self.next_look)];
        times.into_iter().flatten().min()
    }

    /// Ends it: the devices are told to forget what they have of the image. Whoever has all of it keeps it.
    pub fn cancel(&mut self, now: Instant) {
        if !matches!(self.stage, Stage::Over(_) | Stage::Cancelling { .. }) {
            self.due.clear();
            self.stage = Stage::Cancelling {
                left: NOTICES,
                next: now,
            };
        }
    }

    fn advance(&mut self, now: Instant) {
        let Some(began) = self.began else { return };
        if matches!(self.stage, Stage::Over(_) | Stage::Cancelling { .. }) {
            return;
        }
        if self
            .config
            .deadline
            .is_some_and(|deadline| now >= began + deadline)
        {
            self.over(DistributionEnd::Deadline);
            return;
        }
        if let Stage::Counting { until, open } = self.stage
            && (open == 0 || now >= until || self.everything_is_lacking())
        {
            self.plan(now);
        }
        if now >= self.next_look {
            self.next_look = now + LOOK;
            self.look(now);
        }
    }

    /// Is it over, and who is lost?
    fn look(&mut self, now: Instant) {
        let Stage::Repairing { since } = self.stage else {
            return;
        };
        if self.members.is_empty() {
            let quiet = self.last_repair.unwrap_or(since).max(since);
            if now >= quiet + self.config.give_up {
                self.over(DistributionEnd::Quiet);
            }
            return;
        }
        let give_up = self.config.give_up;
        let mut lost = false;
        for (index, member) in self.members.iter_mut().enumerate() {
            if member.is_open() && now >= member.last_heard().max(since) + give_up {
                member.given_up = true;
                lost = true;
                self.changed.insert(index);
            }
        }
        if lost {
            self.end_if_all_are_final();
        }
    }

    fn end_if_all_are_final(&mut self) {
        if self.members.is_empty() || self.members.iter().any(Member::is_open) {
            return;
        }
        let end = match self.members.iter().any(|member| member.given_up) {
            true => DistributionEnd::GivenUp,
            false => DistributionEnd::AllFinal,
        };
        self.over(end);
    }

    fn over(&mut self, end: DistributionEnd) {
        self.due.clear();
        self.stage = Stage::Over(end);
        self.events.push_back(DistributorEvent::Ended(end));
    }

    /// Before a pass: everyone is asked what it lacks.
    fn count(&mut self, now: Instant) {
        self.due.clear();
        let mut open = 0;
        for (index, member) in self.members.iter_mut().enumerate() {
            member.counted = member.is_final();
            if !member.counted {
                open += 1;
                if !member.asked {
                    self.due.insert((now, index));
                }
            }
        }
        let until = now + self.config.count_for;
        self.stage = Stage::Counting { until, open };
    }

    /// Some member lacks everything, so that the first pass sends everything.
    fn everything_is_lacking(&self) -> bool {
        let counted = |member: &&Member| member.counted && member.lacks_everything();
        self.pass == 0 && self.members.iter().any(|member| counted(&member))
    }

    fn plan(&mut self, now: Instant) {
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
                Plan::worth(self.total, lacking, first, self.members.len())
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

    /// During a pass members are asked now and then how far they are, so that somebody who watches sees it.
    fn watch(&mut self, now: Instant) {
        let gap = self.watch_gap();
        let mut at = now;
        for (index, member) in self.members.iter().enumerate() {
            if !member.is_final() && !member.asked {
                at = at + gap;
                self.due.insert((at, index));
            }
        }
    }

    /// The time between two questions during a pass.
    fn watch_gap(&self) -> Duration {
        self.pace.time_of(ASK_BYTES * u64::from(WATCH_SHARE))
    }

    fn end_pass(&mut self, now: Instant) {
        self.due.clear();
        self.events
            .push_back(DistributorEvent::PassEnded { pass: self.pass });
        match self.pass < self.config.passes && !self.members.is_empty() {
            true => self.say_end(now, 0),
            false => self.say_end(now, self.config.window_seconds()),
        }
    }

    /// With window 0 devices wait: a lost notice costs nothing, so it is said once.
    fn say_end(&mut self, now: Instant, window: u16) {
        self.stage = Stage::Ending {
            left: if window == 0 { 1 } else { NOTICES },
            next: now,
            window,
        };
    }

    fn repair(&mut self, now: Instant) {
        self.stage = Stage::Repairing { since: now };
        let window = self.config.window;
        self.events
            .push_back(DistributorEvent::RepairBegun { window });
        self.due.clear();
        let gap = window / u32::try_from(self.members.len().max(1)).unwrap_or(u32::MAX);
        let mut at = now + window;
        for (index, member) in self.members.iter_mut().enumerate() {
            member.again = 0;
            if !member.is_final() && !member.asked {
                at = at + gap;
                self.due.insert((at, index));
            }
        }
        self.end_if_all_are_final();
    }

    // ---- to single devices ----

    /// The next device to be asked for its status: a Confirmable request. Whoever takes it reports the end with [`asked`](Self::asked).
    pub fn poll_ask(&mut self, now: Instant) -> Option<Ask> {
        self.advance(now);
        if self.asks.len() >= self.config.asks_at_once {
            return None;
        }
        let (at, index) = *self.due.first()?;
        if at > now {
            return None;
        }
        self.due.remove(&(at, index));
        let member = self.members.get_mut(index)?;
        member.asked = true;
        let ask = AskId(self.next_ask);
        self.next_ask += 1;
        self.asks.insert(ask, index);
        self.progress.asks += 1;
        Some(Ask {
            ask,
            member: index,
            to: member.address,
            request: status_request(&self.config.path),
        })
    }

    /// What came of a question.
    pub fn asked(&mut self, now: Instant, ask: AskId, result: Result<&Response, Failure>) {
        let Some(index) = self.asks.remove(&ask) else {
            return;
        };
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
            let soon = now.max(self.last_announcement + ANNOUNCE_AGAIN);
            self.next_announcement = self.next_announcement.min(soon);
        }
        match &mut self.stage {
            Stage::Counting { open, .. } if !counted => *open = open.saturating_sub(1),
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
        if let Some(member) = member.and_then(|index| self.members.get_mut(index)) {
            member.heard(now);
        }
        if let Some(soon) = self.comes_in(number) {
            self.progress.repairs_later += 1;
            return Served::Response(request::later(soon));
        }
        self.progress.repairs += 1;
        self.last_repair = Some(now);
        if let Some(index) = member
            && let Some(member) = self.members.get_mut(index)
            && member.serve()
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
            Command::Repair { id, block } if id == self.id && block < self.total => Ok(block),
            Command::Other(code) => Err(code),
            Command::Repair { .. } | Command::Status => Err(Code::NOT_FOUND),
            Command::Notice(_) | Command::Block { .. } => Err(Code::METHOD_NOT_ALLOWED),
        }
    }

    fn block(&self, number: u32) -> Fills {
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
        Some(self.pace.time_of(blocks.saturating_mul(each)))
    }

    // ---- what is known ----

    /// What has happened, oldest first; news of one member are told once, however much has changed.
    pub fn poll_event(&mut self) -> Option<DistributorEvent> {
        if let Some(index) = self.changed.pop_first() {
            return Some(DistributorEvent::Member(index));
        }
        self.events.pop_front()
    }

    /// How far it is.
    pub fn progress(&self) -> DistributionProgress {
        DistributionProgress {
            phase: self.phase(),
            pass: self.pass,
            ..self.progress
        }
    }

    /// Where it stands.
    pub fn phase(&self) -> DistributionPhase {
        match self.stage {
            Stage::Announcing { .. } => DistributionPhase::Announcing,
            Stage::Counting { .. } => DistributionPhase::Counting,
            Stage::Passing { .. } => DistributionPhase::Passing,
            Stage::Ending { .. } => DistributionPhase::Ending,
            Stage::Repairing { .. } => DistributionPhase::Repairing,
            Stage::Cancelling { .. } => DistributionPhase::Cancelling,
            Stage::Over(end) => DistributionPhase::Over(end),
        }
    }

    /// What is known of one member, by its place among the members without those that are named twice.
    pub fn member(&self, index: usize) -> Option<DeviceReport> {
        self.members
            .get(index)
            .map(|member| member.report(self.total))
    }

    /// What is known of every member, in their order.
    pub fn report(&self) -> impl Iterator<Item = DeviceReport> + use<'_> {
        let total = self.total;
        self.members.iter().map(move |member| member.report(total))
    }

    /// Have all members activated the image? `false` if no members are known.
    pub fn all_activated(&self) -> bool {
        !self.members.is_empty() && self.members.iter().all(Member::is_activated)
    }
}

/// The status in a response; otherwise its code.
fn read_status(response: &Response) -> Result<DeviceStatus, Code> {
    if response.code != Code::CONTENT {
        return Err(response.code);
    }
    DeviceStatus::decode(&response.payload).map_err(|_| Code::CONTENT)
}

#[cfg(test)]
mod tests;
