//! The half of a device: it keeps what it hears, asks for what it misses, verifies, takes into use, and tells.

mod config;
mod current;
mod hear;
mod record;
mod repair;
mod rhythm;
mod task;
mod work;

use alloc::collections::VecDeque;
use core::time::Duration;

use antiphon_wire::{Code, ContentFormat, OptionNumber};

pub use config::{
    Contention, DeviceConfig, DeviceCounters, DeviceEvent, DeviceFailure, Repair, RepairId,
};
pub use task::{Task, TaskResult};

use self::current::{Asking, Considering, Current, Stage};
use self::work::What;
use super::announcement::{Announcement, ImageId};
use super::heard::Heard;
use super::message::{DeviceState, DeviceStatus, MissingBlocks};
use super::request::Command;
use crate::config::ConfigError;
use crate::message::Response;
use crate::rng::Rng;
use crate::time::Instant;
use crate::work::WorkId;

/// The device's half of a distribution.
///
/// Requests come in by [`handle`](Self::handle); what may take long is fetched by [`poll_work`](Self::poll_work), performed by a
/// worker, and given back by [`work_done`](Self::work_done), one task at a time; requests for repair are fetched by
/// [`poll_repair`](Self::poll_repair) and their results given back by [`repaired`](Self::repaired). After any of these, and after
/// [`handle_timeout`](Self::handle_timeout), all three may have something new.
///
/// Its memory is bounded by its configuration: 2 bits for each block and 2 more for as long as a record is written, 2 bits for each
/// span, the blocks that wait for the storage, and three announcements (one that is received, one that is considered, one that the
/// worker has) of less than 1 KiB each. So a block takes half a byte: an image of 1 MiB in blocks of 1,024 bytes, with a span for
/// each, takes 800 bytes, the largest that [`max_blocks`](DeviceConfig::max_blocks) permits by default 192 KiB.
#[derive(Debug)]
pub struct Device {
    config: DeviceConfig,
    rng: Rng,
    /// The record was read.
    restored: bool,
    current: Option<Current>,
    considering: Option<Considering>,
    /// When the next announcement may be looked at.
    consider_from: Instant,
    /// The image activated last.
    installed: Option<ImageId>,
    /// The storage holds what is of no use any more.
    discard: bool,
    /// What the worker does, and for which distribution.
    working: Option<(WorkId, u64, What)>,
    next_work: u64,
    next_generation: u64,
    next_repair: u64,
    events: VecDeque<DeviceEvent>,
    counters: DeviceCounters,
}

/// So many events wait at most; when nobody fetches them the oldest are dropped.
const MAX_EVENTS: usize = 64;
/// A device that is not ready asks to come again so many seconds later.
const NOT_READY: u32 = 1;

impl Device {
    /// A record has so many bytes at most, under every configuration: 96 MiB and 1,044 bytes. See
    /// [`DeviceConfig::max_record`].
    pub const MAX_RECORD: u64 = record::longest(Announcement::MAX_BLOCKS);

    /// A device that first reads what it noted before the start; until then it takes nothing.
    ///
    /// # Errors
    /// A value outside of its limits: see [`DeviceConfig`].
    pub fn new(config: DeviceConfig, seed: [u8; 32]) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            config,
            rng: Rng::from_seed(seed),
            restored: false,
            current: None,
            considering: None,
            consider_from: Instant::ZERO,
            installed: None,
            discard: false,
            working: None,
            next_work: 0,
            next_generation: 0,
            next_repair: 0,
            events: VecDeque::new(),
            counters: DeviceCounters::default(),
        })
    }

    /// Takes a request. A group is told nothing but the status, and `None` is silence.
    pub fn handle(
        &mut self,
        now: Instant,
        heard: &Heard<'_>,
        command: &Command<'_>,
    ) -> Option<Response> {
        let code = match command {
            Command::Status if !self.restored => Code::SERVICE_UNAVAILABLE,
            Command::Status => return Some(self.tell(heard.group)),
            Command::Other(code) => *code,
            Command::Repair { .. } => Code::NOT_FOUND,
            Command::Notice(_) | Command::Block { .. } if !self.restored => {
                Code::SERVICE_UNAVAILABLE
            }
            Command::Notice(Err(_)) => {
                self.counters.malformed += 1;
                Code::BAD_REQUEST
            }
            Command::Notice(Ok(notice)) => self.notice(now, heard, notice),
            Command::Block { id, block, bytes } => self.block(now, heard, *id, *block, bytes),
        };
        if heard.group {
            return None;
        }
        let mut response = Response::new(code);
        if code == Code::SERVICE_UNAVAILABLE {
            response.options.push_uint(OptionNumber::MAX_AGE, NOT_READY);
        }
        Some(response)
    }

    /// How far it is; what is missing is said while receiving.
    pub fn status(&self) -> DeviceStatus {
        let Some(current) = &self.current else {
            return DeviceStatus::default();
        };
        let state = current.state();
        DeviceStatus {
            id: Some(current.id),
            state,
            code: match &current.stage {
                Stage::Activated => Some(Code::CHANGED),
                Stage::Failed { code, .. } => Some(*code),
                _ => None,
            },
            have: match state {
                DeviceState::Activated => current.total,
                _ => current.have.len(),
            },
            total: current.total,
            missing: (state == DeviceState::Receiving).then(|| MissingBlocks::of(&current.have)),
        }
    }

    /// What it counted so far.
    pub fn counters(&self) -> DeviceCounters {
        self.counters
    }

    /// The image that it received or was told of last.
    pub fn image(&self) -> Option<ImageId> {
        self.current.as_ref().map(|current| current.id)
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<DeviceEvent> {
        self.events.pop_front()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some(current) = &mut self.current else {
            return;
        };
        if current.note_at.is_some_and(|at| at <= now) {
            current.note_at = None;
            current.note_due = true;
        }
        if current.silent_at(&self.config).is_some_and(|at| at <= now) {
            let window = current.rhythm.silence(&self.config) / 10;
            self.begin_repair(now, window, Asking::Alone);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout), or [`poll_repair`](Self::poll_repair), is to be called next.
    pub fn next_timeout(&self) -> Option<Instant> {
        let current = self.current.as_ref()?;
        [
            current.note_at,
            current.silent_at(&self.config),
            current.repair_at(self.config.waiting),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn tell(&self, group: bool) -> Response {
        let mut status = self.status();
        if group {
            status.missing = None; // short enough for an answer to a group
        }
        let mut response = Response::new(Code::CONTENT);
        response.set_payload(ContentFormat::CBOR, &status.encode());
        response.options.push_uint(OptionNumber::MAX_AGE, 0); // it is true now
        response
    }

    fn event(&mut self, event: DeviceEvent) {
        let progress = |event: &DeviceEvent| matches!(event, DeviceEvent::Progress { .. });
        if progress(&event) && self.events.back().is_some_and(progress) {
            self.events.pop_back(); // the newer one says it all
        }
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// It comes to nothing.
    fn fail(&mut self, now: Instant, why: DeviceFailure) {
        let retry_at = now + self.config.retry_after;
        if let Some(current) = &mut self.current {
            current.fail(why.code(), retry_at);
            let id = current.id;
            self.discard = true;
            self.event(DeviceEvent::Failed { id, why });
        }
    }

    /// Requests for repair begin within `window`, unless they have begun.
    fn begin_repair(&mut self, now: Instant, window: Duration, why: fn(Instant) -> Asking) {
        let delay = self.rng.duration_up_to(window);
        let Some(current) = &mut self.current else {
            return;
        };
        if !current.begin_repair(why(now + delay)) {
            return;
        }
        let (id, missing) = (current.id, current.total - current.have.len());
        self.event(DeviceEvent::Repairing { id, missing });
    }
}
