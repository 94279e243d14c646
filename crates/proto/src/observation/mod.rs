//! Observations (RFC 7641; groupcomm-bis section 3.7): one token, under which one server or every member of a group
//! notifies for as long as the application wants.
//!
//! An observation does not ask by itself. What goes to groups is a round: a question of a collection that has the
//! observation's token, keeps to the pace of the groups and is protected and repeated as any other. What goes to one
//! member is a Confirmable exchange with the same token. What comes back under the token comes here.
//!
//! # One token
//!
//! Registrations, repeats, requests to silent members and deregistrations have the same token, so that a server has one
//! entry for this endpoint in its list of observers, and each has a Message ID of its own. The token stays taken until no
//! server can still be using it.
//!
//! # Who notifies
//!
//! A member is a proven identity under protection, else a source address. Members are bounded; what one of them sends
//! takes nothing from another.
//!
//! # Protection
//!
//! Each registration is a request of its own, with a Partial IV of its own. A server binds its notifications to the newest
//! one that it has heard, so the last few are remembered, and a notification is opened as response to the newest first.

mod body;
mod course;
mod event;
mod freshness;
mod hear;
mod request;
mod rounds;
#[cfg(test)]
mod tests;
mod waiting;
mod watch;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use antiphon_wire::Token;
use hashbrown::HashMap;

use crate::block::{BlockSize, Bounds, TransferLimits};
use crate::collection::CollectionId;
use crate::exchange::{ExchangeId, Failure};
use crate::path::{Path, is_group_address};
use crate::rng::{KeyedHash, Rng};
use crate::security::Asked;
use crate::time::Instant;

pub(crate) use body::Told;
pub use event::{
    MemberEnd, News, Notification, ObservationDropped, ObservationEnd, ObservationEvent,
    ObservationOutcome, ObservationStatus, ObservedIndex, ObservedReport, ObservedState,
};
pub(crate) use freshness::Bound;
pub(crate) use hear::{Arrived, InPerson};
pub use request::{
    FollowUp, ObservationConfig, ObservationLimits, ObserveError, ObserveRequest, Observed,
};

use crate::collection::CollectError;
use watch::{Of, Phase, Watch};

/// Names one observation; never reused within an endpoint's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObservationId(pub u64);

/// One member of one observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Observer {
    pub(crate) observation: ObservationId,
    pub(crate) member: ObservedIndex,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Observe 0.
    Register,
    /// Observe 1.
    Deregister,
}

/// A request that opens responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    /// To the groups.
    Round(u32),
    /// To this member alone.
    Member(ObservedIndex),
}

/// What the endpoint is to do for an observation.
#[derive(Debug)]
pub(crate) enum Act {
    /// Ask the groups.
    Round(ObservationId, Purpose),
    /// Ask one member, with an Echo value if it has sent one.
    Ask(Observer, Option<Vec<u8>>),
    /// Break an exchange off.
    Break(ExchangeId),
    /// Keep what a member has told in the cache.
    Keep(Box<Told>),
    /// Break a round off.
    Stop(CollectionId),
    /// The token is not in use any more, and may be taken again after this.
    Free(Token, Instant),
}

/// The first time after which a silent member is asked again, doubled each time.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// So often at most.
const DOUBLED: u32 = 6;
/// The longest time until a registration that could not be made is tried again, if there is no interval.
const TRY_AGAIN: Duration = Duration::from_secs(3_600);
/// The margin after Max-Age (RFC 7641 section 3.3.1): at least, and at random in addition.
const MARGIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(10));
/// A server asks at least this often whether anybody still listens (RFC 7641 section 4.5). Then it hears that nobody does.
const ASKED_WITHIN: Duration = Duration::from_secs(24 * 3_600);

/// All observations of one client endpoint.
#[derive(Debug)]
pub(crate) struct Observations {
    config: ObservationConfig,
    watches: BTreeMap<ObservationId, Watch>,
    by_token: HashMap<Token, ObservationId, KeyedHash>,
    by_round: BTreeMap<CollectionId, ObservationId>,
    timers: BTreeSet<(Instant, ObservationId)>,
    acts: VecDeque<Act>,
    events: VecDeque<ObservationEvent>,
    event_bytes: usize,
    /// How many of the events are outcomes.
    outcomes: usize,
    /// Those that are over and remembered, oldest first.
    lingering: VecDeque<ObservationId>,
    /// Members of whose notification further blocks are to be fetched, and how many are being fetched.
    bodies: VecDeque<Observer>,
    fetching: usize,
    /// What a notification in blocks may take.
    bounds: Bounds,
    /// The cache has something that may have to be refreshed.
    cache_in_use: bool,
    next_id: u64,
}

impl Observations {
    pub(crate) fn new(config: ObservationConfig, rng: &mut Rng) -> Self {
        Self {
            config,
            watches: BTreeMap::new(),
            by_token: HashMap::with_hasher(rng.keyed_hash()),
            by_round: BTreeMap::new(),
            timers: BTreeSet::new(),
            acts: VecDeque::new(),
            events: VecDeque::new(),
            event_bytes: 0,
            outcomes: 0,
            lingering: VecDeque::new(),
            bodies: VecDeque::new(),
            fetching: 0,
            bounds: TransferLimits::default().bounds(BlockSize::LARGEST),
            cache_in_use: false,
            next_id: 1,
        }
    }

    /// Is there none?
    pub(crate) fn is_idle(&self) -> bool {
        self.watches.is_empty() && self.acts.is_empty()
    }

    // ---- what the application asks for ---------------------------------------------------------------

    /// Takes an observation. Its first registration is to be made by the caller, so that its error is told.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        rng: &mut Rng,
        token: Token,
        request: ObserveRequest,
    ) -> Result<ObservationId, ObserveError> {
        request.check()?;
        let open = self.watches.len().saturating_sub(self.lingering.len());
        if open + self.outcomes >= self.config.observations {
            return Err(ObserveError::TooMany);
        }
        let watch = Watch::new(now, rng, token, request)
            .map_err(|duplicate| ObserveError::Collect(CollectError::DuplicateMember(duplicate)))?;
        let id = ObservationId(self.next_id);
        self.next_id += 1;
        self.by_token.insert(token, id);
        self.watches.insert(id, watch);
        Ok(id)
    }

    /// An observation could not even begin.
    pub(crate) fn forget(&mut self, id: ObservationId) {
        if let Some(watch) = self.watches.remove(&id) {
            self.by_token.remove(&watch.token);
            self.timers.retain(|(_, of)| *of != id);
            self.acts.retain(|act| match act {
                Act::Round(of, _) => *of != id,
                Act::Ask(observer, _) => observer.observation != id,
                _ => true,
            });
        }
    }

    /// Asks again, as soon as the last registration has had its time.
    pub(crate) fn register_again(&mut self, now: Instant, id: ObservationId) {
        if let Some(watch) = self.watches.get_mut(&id)
            && watch.phase == Phase::Open
        {
            let earliest = watch.last_sent.map_or(now, |at| at + watch.patience());
            let at = now.max(earliest);
            watch.next = Some(watch.next.map_or(at, |next| next.min(at)));
        }
        self.step(now, id);
    }

    /// Ends an observation: its members are asked to forget it, and its outcome follows.
    pub(crate) fn end(&mut self, now: Instant, id: ObservationId) {
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        if watch.phase != Phase::Open {
            return;
        }
        watch.phase = Phase::Ending;
        watch.next = None;
        watch.queue.clear();
        watch.silences.clear();
        let known = watch.slots.iter().any(|slot| slot.count > 0);
        let asked = watch.first_sent.is_some() || watch.last_sent.is_some();
        let under_way = watch.asking > 0; // perhaps it has arrived
        self.break_off(id);
        if !(known || asked || under_way) {
            return self.conclude(now, id, ObservationEnd::NeverSent);
        }
        let one = self.watches.get(&id).is_some_and(Watch::is_one);
        match one {
            true => self.ask(id, ObservedIndex(0), Purpose::Deregister, None),
            false => self.acts.push_back(Act::Round(id, Purpose::Deregister)),
        }
        self.step(now, id);
    }

    /// Ends the observation of one member, by unicast.
    pub(crate) fn end_member(&mut self, now: Instant, id: ObservationId, member: ObservedIndex) {
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        if watch.phase != Phase::Open || watch.slot_ref(member).is_none() {
            return;
        }
        if watch.is_one() {
            return self.end(now, id);
        }
        if watch.deregistered(member) {
            self.tell(ObservationEvent::MemberEnded {
                observation: id,
                member,
                why: MemberEnd::Deregistered,
            });
        }
        self.ask(id, member, Purpose::Deregister, None);
        self.step(now, id);
    }

    /// Ends every observation under this security context at once: nothing more is sent, and nothing that comes is opened
    /// (draft-ietf-core-oscore-groupcomm-28 section 5.1). Says how many there were.
    #[cfg(feature = "oscore")]
    pub(crate) fn end_all_in(
        &mut self,
        now: Instant,
        context: crate::security::ContextId,
    ) -> usize {
        let all: Vec<_> = self
            .watches
            .iter()
            .filter(|(_, watch)| watch.is_in(context))
            .map(|(id, watch)| (*id, watch.phase))
            .collect();
        for (id, phase) in &all {
            self.break_off(*id);
            match phase {
                Phase::Lingering(_) => self.remove(now, *id),
                _ => self.conclude(now, *id, ObservationEnd::GroupLeft),
            }
        }
        all.len()
    }

    pub(crate) fn status(&self, now: Instant, id: ObservationId) -> Option<ObservationStatus> {
        let watch = self.watches.get(&id)?;
        let ending = match watch.phase {
            Phase::Open => false,
            Phase::Ending => true,
            Phase::Lingering(_) => return None,
        };
        let fresh = watch.slots.iter();
        Some(ObservationStatus {
            registrations: watch.registrations,
            next: watch.next.map(|at| at.since(now)),
            fresh: fresh
                .filter(|slot| slot.state == ObservedState::Fresh)
                .count(),
            members: watch.slots.len(),
            ending,
        })
    }

    /// What is known of one member; `None` when the observation is over.
    pub(crate) fn report(
        &self,
        id: ObservationId,
        member: ObservedIndex,
    ) -> Option<ObservedReport> {
        self.watches.get(&id)?.report(member)
    }

    pub(crate) fn len(&self) -> usize {
        self.watches.len()
    }

    // ---- what comes in -----------------------------------------------------------------------------

    /// The open observation to which something with this token, arriving there, would belong.
    pub(crate) fn matching(&self, path: &Path, token: Token) -> Option<ObservationId> {
        let id = *self.by_token.get(&token)?;
        let watch = self.watches.get(&id)?;
        let from_member = match &watch.of {
            Of::One { route, .. } => crate::exchange::same_peer(route.destination, path.peer),
            Of::Group { .. } => !is_group_address(path.peer.ip()),
        };
        (watch.asks_from(path.socket) && from_member && !path.is_multicast()).then_some(id)
    }

    pub(crate) fn is_protected(&self, id: ObservationId) -> bool {
        self.watches.get(&id).is_some_and(Watch::is_protected)
    }

    /// The round that is under way.
    pub(crate) fn round_of(&self, id: ObservationId) -> Option<CollectionId> {
        self.watches.get(&id)?.round.map(|round| round.id)
    }

    /// How many messages were too old, unacceptable, or of a member for which there is no room.
    pub(crate) fn passed_over(&self, id: ObservationId) -> u32 {
        self.watches.get(&id).map_or(0, |watch| {
            let dropped = &watch.dropped;
            let outdated = dropped.stale.saturating_add(dropped.no_room);
            outdated.saturating_add(dropped.rejected)
        })
    }

    /// Something without protection came, where only protected messages count.
    pub(crate) fn unprotected(&mut self, id: ObservationId) {
        if let Some(watch) = self.watches.get_mut(&id) {
            watch.dropped.unprotected = watch.dropped.unprotected.saturating_add(1);
        }
    }

    /// The requests to which a message that came this way may be a response: the newest first, and with `after` only those
    /// that come after it.
    pub(crate) fn next_binding(
        &self,
        id: ObservationId,
        path: &Path,
        after: Option<Binding>,
    ) -> Option<Binding> {
        let watch = self.watches.get(&id)?;
        let rounds = watch.bindings.iter();
        let mut all: Vec<(u32, Binding)> = rounds.map(|(n, _)| (*n, Binding::Round(*n))).collect();
        all.extend(
            watch
                .with_own(path)
                .map(|(n, member)| (n, Binding::Member(member))),
        );
        all.sort_unstable_by_key(|(n, _)| core::cmp::Reverse(*n));
        let mut all = all.into_iter().map(|(_, binding)| binding);
        match after {
            None => all.next(),
            Some(after) => {
                all.find(|binding| *binding == after)?;
                all.next()
            }
        }
    }

    /// What opens the responses to a request.
    pub(crate) fn asked_mut(&mut self, id: ObservationId, binding: Binding) -> Option<&mut Asked> {
        let watch = self.watches.get_mut(&id)?;
        match binding {
            Binding::Round(wanted) => {
                let mut bindings = watch.bindings.iter_mut();
                let (_, asked) = bindings.find(|(registration, _)| *registration == wanted)?;
                Some(asked)
            }
            Binding::Member(member) => Some(&mut watch.slot(member)?.own.as_mut()?.1),
        }
    }

    /// The number of a request.
    pub(crate) fn registration(&self, id: ObservationId, binding: Binding) -> Option<u32> {
        match binding {
            Binding::Round(registration) => Some(registration),
            Binding::Member(member) => {
                let slot = self.watches.get(&id)?.slot_ref(member)?;
                slot.own.as_ref().map(|(registration, _)| *registration)
            }
        }
    }

    /// The number of the request to one member that is under way.
    pub(crate) fn registration_of_ask(&self, observer: Observer) -> Option<u32> {
        let watch = self.watches.get(&observer.observation)?;
        Some(watch.slot_ref(observer.member)?.ask?.registration)
    }

    /// A member that was asked in person did not answer.
    pub(crate) fn not_reached(&mut self, now: Instant, observer: Observer, failure: Failure) {
        let (id, member) = (observer.observation, observer.member);
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        let Some(ask) = watch.slot(member).and_then(|slot| slot.ask.take()) else {
            return;
        };
        watch.asking = watch.asking.saturating_sub(1);
        if watch.phase == Phase::Open && ask.purpose == Purpose::Register {
            if watch.is_one() && watch.registrations == 0 {
                return self.conclude(now, id, ObservationEnd::Failed(failure));
            }
            let mut again = None;
            if let Some(slot) = watch.slot(member) {
                slot.failure = Some(failure);
                // Whoever was there before is asked again, ever more rarely; whoever never was waits for the next round.
                if matches!(
                    slot.state,
                    ObservedState::Silent | ObservedState::Rejected(_)
                ) {
                    again = Some(now + ASK_AGAIN * (1 << slot.failures.min(DOUBLED)));
                }
                slot.failures = slot.failures.saturating_add(1);
            }
            if again.is_some() {
                watch.silent_at(member, again);
            }
            self.tell(ObservationEvent::Unreached {
                observation: id,
                member,
                failure,
            });
        }
        self.step(now, id);
    }
}
