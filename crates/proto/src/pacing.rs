//! Pacing of requests to groups (groupcomm-bis section 3.6): NSTART and PROBING_RATE for each CoAP group.
//!
//! What was sent is a debt in bytes, which the group's rate pays off. Two debts are kept. The
//! *probing* debt holds back requests to a group of which no member answered the last one, and an answer
//! cancels it. The *silent* debt holds back requests that want no answer; nothing but time pays it off.

use core::net::SocketAddr;
use core::time::Duration;

use hashbrown::HashMap;

use crate::config::{ConfigError, Transmission};
use crate::rng::{KeyedHash, Rng};
use crate::time::Instant;

/// Which group is paced: a CoAP group (address and port) on one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey {
    /// Multicast address and port; scope id and flow label are zero.
    pub group: SocketAddr,
    /// Interface index; 0 when the routing table chooses.
    pub interface: u32,
}

impl GroupKey {
    /// Brings address and interface into the form in which they are compared: an IPv4-mapped address
    /// becomes IPv4, and the scope id of a link-local group names the interface if nothing else does.
    pub fn new(group: SocketAddr, interface: u32) -> Self {
        let scope = match group {
            SocketAddr::V6(v6) => v6.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        Self {
            group: SocketAddr::new(group.ip().to_canonical(), group.port()),
            interface: if interface == 0 { scope } else { interface },
        }
    }
}

/// How fast a group may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupPacing {
    nstart: usize,
    rate: u32,
}

impl GroupPacing {
    /// For a group of actuators that is commanded without answers: five requests of up to 128 bytes a
    /// second (640 bytes per second), one outstanding question.
    pub const LIGHTS: Self = Self {
        nstart: 1,
        rate: 640,
    };

    /// `nstart` outstanding questions (1 to 1024) and `rate` bytes per second (1 to 1,000,000,000).
    ///
    /// # Errors
    /// Outside of the limits.
    pub fn new(nstart: usize, rate: u32) -> Result<Self, ConfigError> {
        let mut checked = Transmission::default();
        checked.set_nstart(nstart)?.set_probing_rate(rate)?;
        Ok(Self { nstart, rate })
    }

    /// NSTART: how many questions may be outstanding at once.
    pub fn nstart(&self) -> usize {
        self.nstart
    }

    /// PROBING_RATE in bytes per second, also the pace of requests that want no answer.
    pub fn rate(&self) -> u32 {
        self.rate
    }
}

impl From<&Transmission> for GroupPacing {
    fn from(parameters: &Transmission) -> Self {
        Self {
            nstart: parameters.nstart(),
            rate: parameters.probing_rate(),
        }
    }
}

/// Is an answer to the request wanted?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Yes: it is paced only if the group does not respond.
    Answers,
    /// No: it always keeps to the rate of the group.
    Silence,
}

/// A table is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// The pace of all groups.
#[derive(Debug)]
pub(crate) struct Pacing {
    default: GroupPacing,
    /// `None` as interface: on every interface.
    configured: HashMap<(SocketAddr, Option<u32>), GroupPacing, KeyedHash>,
    groups: HashMap<GroupKey, Pace, KeyedHash>,
    limit: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    outstanding: usize,
    /// No member answered the last question.
    unresponsive: bool,
    probing: Debt,
    silent: Debt,
}

impl Pacing {
    /// At most `limit` groups are remembered, and as many configured.
    pub(crate) fn new(default: GroupPacing, limit: usize, rng: &mut Rng) -> Self {
        Self {
            default,
            configured: HashMap::with_hasher(rng.keyed_hash()),
            groups: HashMap::with_hasher(rng.keyed_hash()),
            limit,
        }
    }

    /// The pace of groups that have none of their own. What is owed is paid off at the new rate from `now` on.
    pub(crate) fn set_default(&mut self, now: Instant, pacing: GroupPacing) {
        self.settle(now);
        self.default = pacing;
    }

    /// The pace of one group, on one interface or on all; `None` removes it.
    pub(crate) fn set(
        &mut self,
        now: Instant,
        group: SocketAddr,
        interface: Option<u32>,
        pacing: Option<GroupPacing>,
    ) -> Result<(), Full> {
        let key = GroupKey::new(group, interface.unwrap_or(0));
        let entry = (key.group, interface.map(|_| key.interface));
        let room = self.configured.len() < self.limit || self.configured.contains_key(&entry);
        self.settle(now);
        match pacing {
            Some(_) if !room => return Err(Full),
            Some(pacing) => {
                self.configured.insert(entry, pacing);
            }
            None => {
                self.configured.remove(&entry);
            }
        }
        Ok(())
    }

    /// How fast this group may be asked: its own pace on this interface, on any, or the default.
    pub(crate) fn of(&self, key: &GroupKey) -> GroupPacing {
        self.configured
            .get(&(key.group, Some(key.interface)))
            .or_else(|| self.configured.get(&(key.group, None)))
            .copied()
            .unwrap_or(self.default)
    }

    /// Makes sure that the group is remembered. Groups of which nothing is outstanding or owed give way.
    pub(crate) fn remember(&mut self, now: Instant, key: GroupKey) -> Result<(), Full> {
        if self.groups.contains_key(&key) {
            return Ok(());
        }
        if self.groups.len() >= self.limit {
            self.settle(now);
            self.groups.retain(|_, pace| {
                pace.outstanding > 0 || pace.probing.owed > 0 || pace.silent.owed > 0
            });
        }
        if self.groups.len() >= self.limit {
            return Err(Full);
        }
        self.groups.insert(key, Pace::default());
        Ok(())
    }

    /// May one more question be outstanding?
    pub(crate) fn has_slot(&self, key: &GroupKey) -> bool {
        self.outstanding(key) < self.of(key).nstart
    }

    /// How many questions are outstanding.
    pub(crate) fn outstanding(&self, key: &GroupKey) -> usize {
        self.groups.get(key).map_or(0, |pace| pace.outstanding)
    }

    pub(crate) fn take_slot(&mut self, key: GroupKey) {
        self.groups.entry(key).or_default().outstanding += 1;
    }

    pub(crate) fn free_slot(&mut self, key: &GroupKey) {
        if let Some(pace) = self.groups.get_mut(key) {
            pace.outstanding = pace.outstanding.saturating_sub(1);
        }
    }

    /// How long the next request must still wait.
    pub(crate) fn wait(&self, now: Instant, key: &GroupKey, wanted: Wanted) -> Duration {
        let Some(pace) = self.groups.get(key) else {
            return Duration::ZERO;
        };
        let rate = self.of(key).rate;
        let probing = if pace.unresponsive {
            pace.probing.wait(now, rate)
        } else {
            Duration::ZERO
        };
        match wanted {
            Wanted::Answers => probing,
            Wanted::Silence => probing.max(pace.silent.wait(now, rate)),
        }
    }

    /// A datagram of this many bytes was sent.
    pub(crate) fn sent(&mut self, now: Instant, key: GroupKey, bytes: usize, wanted: Wanted) {
        let rate = self.of(&key).rate;
        let pace = self.groups.entry(key).or_default();
        pace.probing.add(now, rate, bytes);
        if wanted == Wanted::Silence {
            pace.silent.add(now, rate, bytes);
        }
    }

    /// A datagram that was counted did not leave after all.
    pub(crate) fn not_sent(&mut self, key: &GroupKey, bytes: usize, wanted: Wanted) {
        if let Some(pace) = self.groups.get_mut(key) {
            pace.probing.remit(bytes);
            if wanted == Wanted::Silence {
                pace.silent.remit(bytes);
            }
        }
    }

    /// A member of the group answered. Says whether that lifts a restriction.
    pub(crate) fn responded(&mut self, key: &GroupKey) -> bool {
        match self.groups.get_mut(key) {
            Some(pace) => {
                pace.probing.owed = 0;
                core::mem::replace(&mut pace.unresponsive, false)
            }
            None => false,
        }
    }

    /// No member of the group has answered a question.
    pub(crate) fn went_silent(&mut self, key: &GroupKey) {
        if let Some(pace) = self.groups.get_mut(key) {
            pace.unresponsive = true;
        }
    }

    /// Pays off all debts up to `now`, at the rates that were valid so far.
    fn settle(&mut self, now: Instant) {
        let configured = &self.configured;
        for (key, pace) in &mut self.groups {
            let rate = configured
                .get(&(key.group, Some(key.interface)))
                .or_else(|| configured.get(&(key.group, None)))
                .unwrap_or(&self.default)
                .rate;
            pace.probing.settle(now, rate);
            pace.silent.settle(now, rate);
        }
    }
}

/// Bytes that were sent and are not yet paid off by the rate.
#[derive(Clone, Copy, Debug, Default)]
struct Debt {
    /// In millionths of a byte: what a rate of one byte per second pays off in a microsecond.
    owed: u64,
    as_of: Instant,
}

const MILLION: u64 = 1_000_000;

impl Debt {
    fn settle(&mut self, now: Instant, rate: u32) {
        self.owed = self.owed_at(now, rate);
        self.as_of = self.as_of.max(now);
    }

    fn add(&mut self, now: Instant, rate: u32, bytes: usize) {
        self.settle(now, rate);
        self.owed = self.owed.saturating_add(in_millionths(bytes));
    }

    fn remit(&mut self, bytes: usize) {
        self.owed = self.owed.saturating_sub(in_millionths(bytes));
    }

    fn owed_at(&self, now: Instant, rate: u32) -> u64 {
        let elapsed = now.as_micros().saturating_sub(self.as_of.as_micros());
        self.owed
            .saturating_sub(elapsed.saturating_mul(u64::from(rate)))
    }

    /// Until nothing is owed, to the full microsecond.
    fn wait(&self, now: Instant, rate: u32) -> Duration {
        Duration::from_micros(self.owed_at(now, rate).div_ceil(u64::from(rate.max(1))))
    }
}

fn in_millionths(bytes: usize) -> u64 {
    u64::try_from(bytes)
        .unwrap_or(u64::MAX)
        .saturating_mul(MILLION)
}

#[cfg(test)]
mod tests;
