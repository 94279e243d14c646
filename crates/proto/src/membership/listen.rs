//! What the endpoint listens to: one listener for each multicast address, port and interface, however
//! many groups and relations need it.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::time::Instant;
use crate::work::{Task, WorkFailure};

/// Something that became of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenEvent {
    /// Multicast address and port.
    pub group: SocketAddr,
    /// Interface index.
    pub interface: u32,
    /// What became of it.
    pub change: ListenChange,
}

/// What became of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenChange {
    /// The endpoint listens now.
    Joined,
    /// It does not listen any more.
    Left,
    /// Joining failed; it is tried again after this time.
    JoinFailed {
        /// Why.
        failure: WorkFailure,
        /// When the next attempt comes, counted from now.
        retry_in: Duration,
    },
    /// Leaving failed. The endpoint ignores what still arrives there.
    LeaveFailed {
        /// Why.
        failure: WorkFailure,
    },
}

/// How a listener stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listening {
    /// A Join is to be handed out, or handed out and not yet done.
    Joining,
    /// It listens.
    Joined,
    /// Joining failed; it is tried again at this time.
    Failed {
        /// Why it failed last.
        failure: WorkFailure,
        /// When it is tried again.
        retry_at: Instant,
    },
    /// The interface is away; it is joined again when the interface returns.
    Away,
}

/// First wait before a failed Join is tried again; doubled each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest wait before a failed Join is tried again.
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// Events that nobody takes are dropped beyond this number, oldest first.
const EVENTS: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Joining,
    Joined,
    Leaving,
    Failed {
        failure: WorkFailure,
        retry_at: Instant,
    },
}

#[derive(Clone, Debug)]
struct Listener {
    state: State,
    wanted: bool,
    failures: u32,
}

/// Address, port and interface. Ordered so that tasks come in a fixed order.
type Key = (IpAddr, u16, u32);

#[derive(Debug, Default)]
pub(super) struct Listeners {
    table: BTreeMap<Key, Listener>,
    /// Interfaces that went away.
    away: BTreeSet<u32>,
    /// Something may have become due since the last look.
    dirty: bool,
    events: VecDeque<ListenEvent>,
}

impl Listeners {
    /// Sets what is wanted from now on. What stays wanted is not touched.
    pub(super) fn want(&mut self, wanted: impl IntoIterator<Item = (SocketAddr, u32)>) {
        for listener in self.table.values_mut() {
            listener.wanted = false;
        }
        for (group, interface) in wanted {
            self.table
                .entry((group.ip(), group.port(), interface))
                .or_insert(Listener {
                    state: State::Idle,
                    wanted: false,
                    failures: 0,
                })
                .wanted = true;
        }
        self.forget_idle();
        self.dirty = true;
    }

    /// The next thing to do, Joins before Leaves, so that a group that moves is heard without a gap.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Task> {
        if !self.dirty {
            return None;
        }
        let due = |listener: &Listener| match listener.state {
            State::Idle => true,
            State::Failed { retry_at, .. } => retry_at <= now,
            _ => false,
        };
        let away = &self.away;
        let join = self.table.iter_mut().find(|((_, _, interface), listener)| {
            listener.wanted && !away.contains(interface) && due(listener)
        });
        if let Some((&(ip, port, interface), listener)) = join {
            listener.state = State::Joining;
            let group = SocketAddr::new(ip, port);
            return Some(Task::Join { group, interface });
        }
        let leave = self
            .table
            .iter_mut()
            .find(|(_, listener)| !listener.wanted && listener.state == State::Joined);
        if let Some((&(ip, port, interface), listener)) = leave {
            listener.state = State::Leaving;
            let group = SocketAddr::new(ip, port);
            return Some(Task::Leave { group, interface });
        }
        self.dirty = false;
        None
    }

    /// Takes the result of a task back. A result for nothing that is under way changes nothing.
    pub(super) fn done(&mut self, now: Instant, task: &Task, result: Result<(), WorkFailure>) {
        let (group, interface, joining) = match *task {
            Task::Join { group, interface } => (group, interface, true),
            Task::Leave { group, interface } => (group, interface, false),
            #[cfg(feature = "oscore")]
            _ => return,
        };
        let away = self.away.contains(&interface);
        let Some(listener) = self.table.get_mut(&(group.ip(), group.port(), interface)) else {
            return;
        };
        let change = match (listener.state, joining, result) {
            // An interface that went away meanwhile took the membership with it.
            (State::Joining, true, _) if away => {
                listener.state = State::Idle;
                self.forget_idle();
                return;
            }
            (State::Joining, true, Ok(())) => {
                listener.failures = 0;
                listener.state = State::Joined;
                ListenChange::Joined
            }
            (State::Joining, true, Err(failure)) => {
                let retry_in = FIRST_RETRY
                    .saturating_mul(1 << listener.failures.min(6))
                    .min(LONGEST_RETRY);
                listener.failures = listener.failures.saturating_add(1);
                let retry_at = now + retry_in;
                listener.state = State::Failed { failure, retry_at };
                ListenChange::JoinFailed { failure, retry_in }
            }
            (State::Leaving, false, Ok(())) => {
                listener.state = State::Idle;
                ListenChange::Left
            }
            (State::Leaving, false, Err(failure)) => {
                listener.state = State::Idle;
                ListenChange::LeaveFailed { failure }
            }
            _ => return,
        };
        self.forget_idle();
        self.dirty = true;
        self.report(ListenEvent {
            group,
            interface,
            change,
        });
    }

    /// An interface went away: its memberships are gone, without a Leave.
    pub(super) fn interface_away(&mut self, interface: u32) {
        self.away.insert(interface);
        for ((_, _, index), listener) in &mut self.table {
            if *index == interface && matches!(listener.state, State::Joined | State::Failed { .. })
            {
                listener.state = State::Idle;
            }
        }
        self.forget_idle();
    }

    /// An interface is there (again): what is wanted on it is joined at once.
    pub(super) fn interface_back(&mut self, interface: u32) {
        self.away.remove(&interface);
        for ((_, _, index), listener) in &mut self.table {
            if *index == interface {
                listener.failures = 0;
                if matches!(listener.state, State::Failed { .. }) {
                    listener.state = State::Idle;
                }
            }
        }
        self.dirty = true;
    }

    /// When a failed Join is due again.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.table
            .iter()
            .filter(|((_, _, index), listener)| listener.wanted && !self.away.contains(index))
            .filter_map(|(_, listener)| match listener.state {
                State::Failed { retry_at, .. } => Some(retry_at),
                _ => None,
            })
            .min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.next_retry().is_some_and(|at| at <= now) {
            self.dirty = true;
        }
    }

    pub(super) fn poll_event(&mut self) -> Option<ListenEvent> {
        self.events.pop_front()
    }

    /// Every listener that is wanted, and how it stands.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SocketAddr, u32, Listening)> {
        self.table
            .iter()
            .filter(|(_, listener)| listener.wanted)
            .map(|(&(ip, port, interface), listener)| {
                let standing = match listener.state {
                    _ if self.away.contains(&interface) => Listening::Away,
                    State::Joined => Listening::Joined,
                    State::Failed { failure, retry_at } => Listening::Failed { failure, retry_at },
                    State::Idle | State::Joining | State::Leaving => Listening::Joining,
                };
                (SocketAddr::new(ip, port), interface, standing)
            })
    }

    /// A listener that nobody wants and that does nothing is no listener.
    fn forget_idle(&mut self) {
        self.table.retain(|_, listener| {
            listener.wanted || !matches!(listener.state, State::Idle | State::Failed { .. })
        });
    }

    fn report(&mut self, event: ListenEvent) {
        if self.events.len() >= EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}
