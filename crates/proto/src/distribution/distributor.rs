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
//! that it takes a fiftieth of the rate at most, and announcements a hundredth.
//!
//! # Which blocks a pass sends
//!
//! See [`plan`]: those of which sending them once more to everyone is cheaper than to each who lacks them.

mod cancel;
mod config;
mod counting;
mod devices;
mod event;
mod link;
mod member;
mod pace;
mod plan;
mod request;
mod survey;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::{ImageId, Notice, block_request, notice_request};
use crate::config::ConfigError;
use crate::time::Instant;

pub use config::{DistributorConfig, Estimate};
pub use event::{
    DeviceReport, DistributionEnd, DistributionPhase, DistributionProgress, DistributorEvent,
};
pub use link::LinkProfile;
pub use request::{Ask, AskId, Fills, GroupSend, Served};
pub use survey::ImageSurvey;

use cancel::Cancelling;
use counting::Count;
use member::Member;
use pace::Pace;
use plan::Plan;

/// While a pass is under way, questions to devices take at most one part in so many of the rate.
const WATCH_SHARE: u32 = 50;
/// While a pass is under way, announcements take at most one part in so many of the rate.
const ANNOUNCE_SHARE: u32 = 100;
/// What a question to a device and its answer take, in bytes on the air, at 20 % loss.
const ASK_BYTES: u64 = 420;
/// A device that has just been served all that it lacked is asked after this time.
const SETTLE: Duration = Duration::from_secs(2);
/// A device that does not answer, or does not get further, is asked again after this, then after twice that, and so on.
const ASK_AGAIN: Duration = Duration::from_secs(15);
/// So often at most it is doubled.
const DOUBLED: u32 = 4;
/// For a device that has not heard of the image the announcement is repeated, this long after the last one at the earliest;
/// during a pass later, if it took more than its share of the rate.
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
/// Memory: about 300 bytes for each member, whatever the size of the image, and up to 1,024 numbers of blocks that it asked for.
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
    /// With which member the next count begins.
    count_from: usize,
    stage: Stage,
    began: Option<Instant>,
    /// The pass that is under way or was last.
    pass: u16,
    pace: Pace,
    /// What was handed out and not yet reported as sent.
    outstanding: Option<Item>,
    next_announcement: Instant,
    last_announcement: Instant,
    /// So far apart announcements are while a pass is under way, at least.
    announcement_share: Duration,
    /// In how many datagrams the last request to the group left.
    copies: u32,
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
    Counting(Count),
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
    Cancelling(Cancelling),
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
            count_from: 0,
            stage: Stage::Announcing {
                left,
                next: Instant::ZERO,
            },
            began: None,
            pass: 0,
            outstanding: None,
            next_announcement: Instant::ZERO,
            last_announcement: Instant::ZERO,
            announcement_share: Duration::ZERO,
            copies: 1,
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
        self.sent_copies(now, 1, bytes);
    }

    /// As [`sent`](Self::sent), where it left in several datagrams, for several groups or interfaces: this many, which have so many
    /// bytes in all. Each keeps to the rate, as they may share a network.
    pub fn sent_copies(&mut self, now: Instant, copies: u32, bytes: Option<usize>) {
        let Some(item) = self.outstanding.take() else {
            return;
        };
        let Some(bytes) = bytes else {
            self.pace.pause(now, NOT_SENT);
            self.progress.not_sent += 1;
            if item == Item::Cancel {
                self.not_told(now);
            }
            return;
        };
        let copies = copies.max(1);
        let headers = u64::from(self.config.overhead) * u64::from(copies);
        let bytes = bytes as u64 + headers;
        self.copies = copies;
        self.pace.sent(now, bytes);
        self.progress.group_datagrams += u64::from(copies);
        self.progress.group_bytes += bytes;
        match item {
            Item::Announcement => self.announced(now, bytes),
            Item::End => self.told_end(now),
            Item::Block(number) => {
                self.progress.block_datagrams += u64::from(copies);
                if let Stage::Passing { plan, next } = &mut self.stage {
                    *next = number.saturating_add(1);
                    self.progress.pass_sent += 1;
                    if plan.next_from(*next).is_none() {
                        self.end_pass(now);
                    }
                }
            }
            Item::Cancel => self.told_cancel(now),
        }
    }

    fn begin(&mut self, now: Instant) {
        if self.began.is_none() {
            self.began = Some(now);
            self.next_look = now + LOOK;
        }
    }

    /// What is sent now, if it is time.
    fn next_item(&self, now: Instant) -> Option<Item> {
        match &self.stage {
            Stage::Announcing { next, .. } => (now >= *next).then_some(Item::Announcement),
            Stage::Ending { next, .. } => (now >= *next).then_some(Item::End),
            Stage::Cancelling(cancelling) => {
                let due = cancelling.next().is_some_and(|next| now >= next);
                due.then_some(Item::Cancel)
            }
            Stage::Over(_) => None,
            Stage::Repairing { .. } if self.notice_due => Some(Item::End),
            _ if now >= self.next_announcement => Some(Item::Announcement),
            Stage::Passing { plan, next } => plan.next_from(*next).map(Item::Block),
            Stage::Counting(_) | Stage::Repairing { .. } => None,
        }
    }

    fn announced(&mut self, now: Instant, bytes: u64) {
        self.announcement_share = self.pace.time_of(bytes * u64::from(ANNOUNCE_SHARE));
        let mut every = self.config.announce_every.max(self.announcement_share);
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
            Stage::Announcing { next, .. } | Stage::Ending { next, .. } => Some(*next),
            Stage::Cancelling(cancelling) => cancelling.next(),
            Stage::Passing { .. } => Some(Instant::ZERO),
            Stage::Repairing { .. } if self.notice_due => Some(Instant::ZERO),
            Stage::Counting(_) | Stage::Repairing { .. } => Some(self.next_announcement),
            Stage::Over(_) => None,
        };
        let send = send.map(|at| at.max(self.pace.free()));
        let ask = match (&self.stage, self.asks.len() < self.config.asks_at_once) {
            (_, false) => None,
            (Stage::Counting(count), true) => count.has_next().then_some(Instant::ZERO),
            (Stage::Cancelling(cancelling), true) => {
                cancelling.has_member().then_some(Instant::ZERO)
            }
            (_, true) => self.due.first().map(|(at, _)| *at),
        };
        let deadline = self.config.deadline.map(|deadline| began + deadline);
        let [stage, deadline, look] = match &self.stage {
            Stage::Counting(count) => [Some(count.ends_at()), deadline, Some(self.next_look)],
            Stage::Cancelling(cancelling) => [cancelling.until(), None, None],
            _ => [None, deadline, Some(self.next_look)],
        };
        let times = [send, ask, stage, deadline, look];
        times.into_iter().flatten().min()
    }

    fn advance(&mut self, now: Instant) {
        let Some(began) = self.began else { return };
        if matches!(self.stage, Stage::Over(_) | Stage::Cancelling(_)) {
            self.end_if_cancelled(now);
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
        if self.is_counted(now) {
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
            if member.is_open() && now >= member.news.max(since) + give_up {
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
            Stage::Counting(_) => DistributionPhase::Counting,
            Stage::Passing { .. } => DistributionPhase::Passing,
            Stage::Ending { .. } => DistributionPhase::Ending,
            Stage::Repairing { .. } => DistributionPhase::Repairing,
            Stage::Cancelling(_) => DistributionPhase::Cancelling,
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

#[cfg(test)]
mod tests;
