//! One observation: its registrations, and the members that notify.

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use antiphon_wire::{Message, OptionNumber, Token};
use hashbrown::HashMap;

use super::body::Arriving;
use super::event::{
    MemberEnd, News, ObservationDropped, ObservationEnd, ObservationOutcome, ObservedIndex,
    ObservedReport, ObservedState,
};
use super::freshness::Latest;
use super::request::{ObservationLimits, ObserveRequest, Observed};
use super::{ASK_AGAIN, DOUBLED, ObservationId, Purpose, TRY_AGAIN};
use crate::collection::{CollectionId, GroupTarget, Rejection, Repeat, Security, Target, way_to};
use crate::exchange::{ExchangeId, Failure};
use crate::expect::{DuplicateMember, MemberIndex, Members, responder_address};
use crate::identity::{Identity, Sender};
use crate::message::Request;
use crate::path::{Path, Route, SocketId};
use crate::rng::{KeyedHash, Rng};
use crate::security::{Asked, Protection};
use crate::time::Instant;

/// So many registrations of the group are remembered, so that notifications which are bound to an earlier one are opened.
pub(super) const BINDINGS: usize = 3;

/// Where it observes.
#[derive(Debug)]
pub(super) enum Of {
    One {
        route: Route,
        protection: Protection,
    },
    Group {
        targets: Vec<GroupTarget>,
        ways: Vec<Target>,
        security: Security,
    },
}

/// Where an observation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// Members are being asked to forget it.
    Ending,
    /// It is over. Until then members that did not hear of it are told when they notify.
    Lingering(Instant),
}

/// A request to the groups that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) id: CollectionId,
    pub(super) registration: u32,
    pub(super) purpose: Purpose,
    /// It has left.
    pub(super) sent: bool,
}

/// A request to one member that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    /// `None` until it is handed on.
    pub(super) exchange: Option<ExchangeId>,
    pub(super) registration: u32,
    pub(super) purpose: Purpose,
}

/// A member.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) state: ObservedState,
    pub(super) sender: Sender,
    pub(super) address: Option<SocketAddr>,
    /// The way back to where it spoke from.
    pub(super) route: Option<Route>,
    pub(super) latest: Option<Latest>,
    pub(super) count: u32,
    pub(super) stale: u32,
    pub(super) silences: u32,
    pub(super) dropped: u32,
    /// Its events that were not fetched yet.
    pub(super) waiting: u32,
    /// The newest registration that it is known to have heard.
    pub(super) heard: u32,
    pub(super) ask: Option<Ask>,
    /// When the last request to it alone that it answered was sent.
    pub(super) asked_at: Option<Instant>,
    pub(super) failure: Option<Failure>,
    /// How often it was not reached in a row.
    pub(super) failures: u32,
    /// It was asked again with an Echo value for this registration.
    pub(super) challenged: u32,
    /// How often it was asked to forget the observation because it went on to notify.
    pub(super) goodbyes: u8,
    /// When it is taken for silent, or asked again.
    pub(super) silent_at: Option<Instant>,
    /// What opens the responses to a registration for it alone, and its number.
    pub(super) own: Option<(u32, Box<Asked>)>,
    /// Its last notification, if that came in blocks and the others are not there yet.
    pub(super) body: Option<Box<Arriving>>,
    /// What was new about notifications that never became whole, or that gave way.
    pub(super) unsaid: Option<News>,
}

impl Slot {
    /// What was new about a notification that could not be told; an update says no more than any later one does.
    pub(super) fn keep_unsaid(&mut self, news: News) {
        let news = self.unsaid.take().map_or(news, |old| news.or_untold(old));
        self.unsaid = Some(news).filter(|news| *news != News::Update);
    }

    fn awaited() -> Self {
        Self {
            state: ObservedState::Awaited,
            sender: Sender::Unauthenticated,
            address: None,
            route: None,
            latest: None,
            count: 0,
            stale: 0,
            silences: 0,
            dropped: 0,
            waiting: 0,
            heard: 0,
            ask: None,
            asked_at: None,
            failure: None,
            failures: 0,
            challenged: 0,
            goodbyes: 0,
            silent_at: None,
            own: None,
            body: None,
            unsaid: None,
        }
    }

    /// Does it, as far as is known, have this endpoint among its observers?
    pub(super) fn is_registered(&self) -> bool {
        matches!(self.state, ObservedState::Fresh | ObservedState::Silent)
    }
}

#[derive(Debug)]
pub(crate) struct Watch {
    pub(super) token: Token,
    pub(super) of: Of,
    /// With Observe 0.
    pub(super) request: Request,
    pub(super) every: Option<Duration>,
    pub(super) repeat: Repeat,
    pub(super) at_once: usize,
    pub(super) margin: Option<Duration>,
    pub(super) leisure: Duration,
    pub(super) rtt: Duration,
    pub(super) limits: ObservationLimits,
    /// Notifications are kept in the cache.
    pub(super) cached: bool,
    pub(super) members: Members,
    pub(super) slots: Vec<Slot>,
    by_address: HashMap<SocketAddr, u32, KeyedHash>,
    by_identity: HashMap<Identity, u32, KeyedHash>,
    on_ip: HashMap<IpAddr, usize, KeyedHash>,
    pub(super) phase: Phase,
    /// The number of the last request, to the groups or to one member.
    pub(super) serial: u32,
    /// The newest registration of the groups.
    pub(super) newest: u32,
    /// Registrations that left.
    pub(super) registrations: u32,
    /// How often in a row a registration could not be made.
    pub(super) refusals: u32,
    pub(super) round: Option<Round>,
    /// What opens the responses to the last registrations of the groups.
    pub(super) bindings: Vec<(u32, Box<Asked>)>,
    pub(super) first_sent: Option<Instant>,
    pub(super) last_sent: Option<Instant>,
    /// When the next registration is due.
    pub(super) next: Option<Instant>,
    pub(super) silences: BTreeSet<(Instant, u32)>,
    /// Who is to be asked in person.
    pub(super) queue: VecDeque<u32>,
    /// How many are being asked.
    pub(super) asking: usize,
    pub(super) wake: Option<Instant>,
    pub(super) transmissions: u32,
    pub(super) bytes: u64,
    pub(super) notifications: u64,
    pub(super) dropped: ObservationDropped,
}

impl Watch {
    pub(super) fn new(
        now: Instant,
        rng: &mut Rng,
        token: Token,
        request: ObserveRequest,
    ) -> Result<Self, DuplicateMember> {
        let members = Members::new(request.expect, rng.keyed_hash())?;
        let of = match request.of {
            Observed::One { route, protection } => Of::One { route, protection },
            Observed::Group { targets, security } => Of::Group {
                ways: targets.iter().map(Target::new).collect(),
                targets,
                security,
            },
        };
        // One server is its one member, whoever else was expected.
        let places = match of {
            Of::One { .. } => 1,
            Of::Group { .. } => members.len(),
        };
        let mut registration = request.request;
        registration.options.set(OptionNumber::OBSERVE, &[]);
        let patience = request.rtt.saturating_add(request.leisure);
        Ok(Self {
            token,
            of,
            request: registration,
            every: request.every.map(|every| every.max(patience)),
            repeat: request.repeat,
            at_once: request.follow_up.at_once(),
            margin: request.margin,
            leisure: request.leisure,
            rtt: request.rtt,
            limits: request.limits,
            cached: request.cached,
            members,
            slots: (0..places).map(|_| Slot::awaited()).collect(),
            by_address: HashMap::with_hasher(rng.keyed_hash()),
            by_identity: HashMap::with_hasher(rng.keyed_hash()),
            on_ip: HashMap::with_hasher(rng.keyed_hash()),
            phase: Phase::Open,
            serial: 0,
            newest: 0,
            registrations: 0,
            refusals: 0,
            round: None,
            bindings: Vec::new(),
            first_sent: None,
            last_sent: None,
            next: Some(now),
            silences: BTreeSet::new(),
            queue: VecDeque::new(),
            asking: 0,
            wake: None,
            transmissions: 0,
            bytes: 0,
            notifications: 0,
            dropped: ObservationDropped::default(),
        })
    }

    /// Round trip and leisure: how long a registration is given before the next.
    pub(super) fn patience(&self) -> Duration {
        self.rtt.saturating_add(self.leisure)
    }

    pub(super) fn is_one(&self) -> bool {
        matches!(self.of, Of::One { .. })
    }

    pub(super) fn is_protected(&self) -> bool {
        match &self.of {
            Of::One { protection, .. } => !protection.is_none(),
            Of::Group { security, .. } => security.is_protected(),
        }
    }

    /// Were requests sent from this socket?
    pub(super) fn asks_from(&self, socket: SocketId) -> bool {
        match &self.of {
            Of::One { route, .. } => route.socket == socket,
            Of::Group { targets, .. } => targets.iter().any(|target| target.socket == socket),
        }
    }

    pub(super) fn slot(&mut self, ObservedIndex(index): ObservedIndex) -> Option<&mut Slot> {
        self.slots.get_mut(index as usize)
    }

    pub(super) fn slot_ref(&self, ObservedIndex(index): ObservedIndex) -> Option<&Slot> {
        self.slots.get(index as usize)
    }

    /// The place of whoever sent this message; strangers get one if there is room.
    pub(super) fn place_of(
        &mut self,
        path: &Path,
        sender: &Sender,
        message: &Message<'_>,
    ) -> Option<ObservedIndex> {
        if let Of::One { route, .. } = &self.of {
            return crate::exchange::same_peer(route.destination, path.peer)
                .then_some(ObservedIndex(0));
        }
        if let Some(MemberIndex(index)) = self.members.find(path, sender, message) {
            return Some(ObservedIndex(index));
        }
        self.stranger(path, sender)
    }

    fn stranger(&mut self, path: &Path, sender: &Sender) -> Option<ObservedIndex> {
        let address = responder_address(path);
        let known = match sender {
            Sender::Proven(identity) => self.by_identity.get(identity),
            Sender::Unauthenticated => self.by_address.get(&address),
        };
        if let Some(index) = known {
            return Some(ObservedIndex(*index));
        }
        if self.phase != Phase::Open {
            return None;
        }
        let ip = (!sender.is_proven()).then_some(address.ip());
        let on_ip = ip.and_then(|ip| self.on_ip.get(&ip));
        let crowded = on_ip.is_some_and(|count| *count >= self.limits.unexpected_per_address);
        let strangers = self.slots.len().saturating_sub(self.members.len());
        let index = if crowded || strangers >= self.limits.unexpected {
            self.vacate(ip.filter(|_| crowded))?
        } else {
            let index = u32::try_from(self.slots.len()).ok()?;
            self.slots.push(Slot::awaited());
            index
        };
        if let Some(slot) = self.slot(ObservedIndex(index)) {
            slot.sender = sender.clone();
            slot.address = Some(address);
        }
        if let Some(ip) = ip {
            *self.on_ip.entry(ip).or_insert(0) += 1;
        }
        match sender {
            Sender::Proven(identity) => self.by_identity.insert(identity.clone(), index),
            Sender::Unauthenticated => self.by_address.insert(address, index),
        };
        Some(ObservedIndex(index))
    }

    /// Makes the place free of the stranger that was heard longest ago and is not heard any more, with `ip` of one at this
    /// address whose identity is not proven. One that was deregistered is remembered as long as there is another.
    fn vacate(&mut self, ip: Option<IpAddr>) -> Option<u32> {
        let strangers = self.slots.iter().enumerate().skip(self.members.len());
        let free = strangers.filter(|(_, slot)| {
            let at = |ip| !slot.sender.is_proven() && slot.address.is_some_and(|a| a.ip() == ip);
            slot.state != ObservedState::Fresh
                && slot.ask.is_none()
                && slot.body.is_none()
                && ip.is_none_or(at)
        });
        let (index, _) = free.min_by_key(|(_, slot)| {
            let told = slot.state == ObservedState::Ended(MemberEnd::Deregistered);
            (told, slot.latest.map(|latest| latest.at))
        })?;
        let index = u32::try_from(index).ok()?;
        self.silent_at(ObservedIndex(index), None);
        self.queue.retain(|queued| *queued != index);
        let slot = self.slot(ObservedIndex(index))?;
        let vacant = Slot {
            waiting: slot.waiting, // its events are still to be fetched
            ..Slot::awaited()
        };
        let old = core::mem::replace(slot, vacant);
        match (old.sender, old.address) {
            (Sender::Proven(identity), _) => {
                self.by_identity.remove(&identity);
            }
            (Sender::Unauthenticated, Some(address)) => {
                self.by_address.remove(&address);
                if let Some(count) = self.on_ip.get_mut(&address.ip()) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        self.on_ip.remove(&address.ip());
                    }
                }
            }
            (Sender::Unauthenticated, None) => {}
        }
        Some(index)
    }

    /// The member that spoke from there last, as far as it has something of its own.
    pub(super) fn with_own(&self, path: &Path) -> Option<(u32, ObservedIndex)> {
        let address = responder_address(path);
        let mut slots = self.slots.iter().enumerate();
        let (index, slot) = slots.find(|(_, slot)| {
            slot.own.is_some() && (self.is_one() || slot.address == Some(address))
        })?;
        let (registration, _) = slot.own.as_ref()?;
        Some((*registration, ObservedIndex(u32::try_from(index).ok()?)))
    }

    /// The way to a member: back to where it spoke from, else to the address that was stated for it.
    pub(super) fn way_to(&self, member: ObservedIndex) -> Option<Route> {
        match &self.of {
            Of::One { route, .. } => Some(*route),
            Of::Group { ways, .. } => {
                let back = self.slot_ref(member).and_then(|slot| slot.route);
                let expected = (member.0 as usize) < self.members.len();
                back.or_else(|| match expected {
                    true => way_to(ways, self.members.addresses(MemberIndex(member.0))),
                    false => None,
                })
            }
        }
    }

    /// How a member is asked in person.
    pub(super) fn protection_for(&self, member: ObservedIndex) -> Protection {
        match &self.of {
            Of::One { protection, .. } => protection.clone(),
            Of::Group { security, .. } => match security {
                Security::Unsecured(_) => {
                    let _ = member;
                    Protection::None
                }
                #[cfg(feature = "oscore")]
                Security::Group(group) => {
                    let known = match self.slot_ref(member).map(|slot| &slot.sender) {
                        Some(Sender::Proven(identity)) => Some(identity.clone()),
                        _ if (member.0 as usize) < self.members.len() => {
                            self.members.identity(MemberIndex(member.0))
                        }
                        _ => None,
                    };
                    crate::collection::member_of(*group, known.as_ref())
                }
            },
        }
    }

    /// Is the observation protected in this security context?
    #[cfg(feature = "oscore")]
    pub(super) fn is_in(&self, context: crate::security::ContextId) -> bool {
        use crate::security::ContextId;
        match (&self.of, context) {
            (Of::Group { security, .. }, ContextId::Group(group)) => {
                *security == Security::Group(group)
            }
            (Of::Group { .. }, ContextId::Pair(_)) => false,
            (Of::One { protection, .. }, context) => match (protection, context) {
                (Protection::Pair(pair), ContextId::Pair(of)) => *pair == of,
                (
                    Protection::Group(group) | Protection::Member { group, .. },
                    ContextId::Group(of),
                ) => *group == of,
                _ => false,
            },
        }
    }

    /// The request for a purpose: the same but for the value of Observe (RFC 7641 section 3.6).
    pub(super) fn request_to(&self, purpose: Purpose) -> Request {
        let mut request = self.request.clone();
        if purpose == Purpose::Deregister {
            request.options.set(OptionNumber::OBSERVE, &[1]);
        }
        request
    }

    pub(super) fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.saturating_add(1);
        self.serial
    }

    /// Has this member nothing to do any more with the present registration, or deregistration?
    pub(super) fn is_served(&self, member: ObservedIndex) -> bool {
        let Some(slot) = self.slot_ref(member) else {
            return true;
        };
        match self.phase {
            Phase::Open => match slot.state {
                ObservedState::Ended(_) => true,
                ObservedState::Rejected(_) => slot.silent_at.is_some(),
                ObservedState::Awaited | ObservedState::Silent => false,
                ObservedState::Fresh => slot.heard >= self.newest,
            },
            Phase::Ending | Phase::Lingering(_) => !slot.is_registered(),
        }
    }

    /// All members, in their order.
    pub(super) fn indices(&self) -> impl Iterator<Item = ObservedIndex> + use<> {
        (0..u32::try_from(self.slots.len()).unwrap_or(u32::MAX)).map(ObservedIndex)
    }

    /// Sets when a member is taken for silent.
    pub(super) fn silent_at(&mut self, ObservedIndex(index): ObservedIndex, at: Option<Instant>) {
        let Some(slot) = self.slots.get_mut(index as usize) else {
            return;
        };
        if let Some(old) = core::mem::replace(&mut slot.silent_at, at) {
            self.silences.remove(&(old, index));
        }
        self.silences.extend(at.map(|at| (at, index)));
    }

    /// What a member said cannot be used: after a while it is asked again.
    pub(super) fn reject(&mut self, now: Instant, member: ObservedIndex, why: Rejection) {
        let deregistered = ObservedState::Ended(MemberEnd::Deregistered);
        let open = self.phase == Phase::Open;
        let Some(slot) = self.slot(member) else {
            return;
        };
        if !open || slot.state == deregistered {
            return;
        }
        let waits = matches!(slot.state, ObservedState::Rejected(_)) && slot.silent_at.is_some();
        slot.state = ObservedState::Rejected(why);
        if !waits {
            self.silent_at(member, None);
            self.ask_later(now, member);
        }
    }

    /// A member has told nothing that can be used: it is asked again, ever more rarely, unless a time is set already.
    pub(super) fn ask_later(&mut self, now: Instant, member: ObservedIndex) {
        let Some(slot) = self.slot(member) else {
            return;
        };
        if slot.silent_at.is_some()
            || !matches!(
                slot.state,
                ObservedState::Silent | ObservedState::Rejected(_)
            )
        {
            return;
        }
        let pause = ASK_AGAIN * (1 << slot.failures.min(DOUBLED));
        slot.failures = slot.failures.saturating_add(1);
        self.silent_at(member, Some(now + pause));
    }

    /// A registration could not be made: it is tried again after round trip and leisure, then after twice as long each time,
    /// as often as it would be made otherwise at least.
    pub(super) fn register_later(&mut self, now: Instant) {
        let first = self.patience().max(Duration::from_secs(1));
        let pause = first.saturating_mul(1 << self.refusals.min(16));
        let longest = self.every.unwrap_or(TRY_AGAIN).max(first);
        self.refusals = self.refusals.saturating_add(1);
        self.next = Some(now + pause.min(longest));
    }

    /// The next change by itself.
    pub(super) fn next_change(&self) -> Option<Instant> {
        let silence = self.silences.first().map(|(at, _)| *at);
        match self.phase {
            Phase::Lingering(until) => Some(until),
            Phase::Ending => None,
            Phase::Open => {
                let next = self.next.filter(|_| self.round.is_none());
                [next, silence].into_iter().flatten().min()
            }
        }
    }

    pub(super) fn report(&self, member: ObservedIndex) -> Option<ObservedReport> {
        let slot = self.slot_ref(member)?;
        let name = ((member.0 as usize) < self.members.len())
            .then(|| String::from(self.members.name(MemberIndex(member.0))));
        Some(ObservedReport {
            state: slot.state,
            name,
            address: slot.address,
            sender: slot.sender.clone(),
            notifications: slot.count,
            stale: slot.stale,
            silences: slot.silences,
            dropped: slot.dropped,
            failure: slot.failure,
        })
    }

    pub(super) fn outcome(
        &self,
        now: Instant,
        observation: ObservationId,
        ended_by: ObservationEnd,
    ) -> ObservationOutcome {
        ObservationOutcome {
            observation,
            ended_by,
            took: self.first_sent.map_or(Duration::ZERO, |at| now.since(at)),
            registrations: self.registrations,
            notifications: self.notifications,
            transmissions: self.transmissions,
            bytes: self.bytes,
            members: self
                .indices()
                .filter_map(|member| self.report(member))
                .collect(),
            dropped: self.dropped,
        }
    }

    /// Is there a member that may still have this endpoint among its observers?
    pub(super) fn may_be_registered(&self) -> bool {
        self.slots
            .iter()
            .any(|slot| !matches!(slot.state, ObservedState::Ended(_)))
            || self.slots.is_empty()
    }

    /// Notes that a member is deregistered, or at least that it should be.
    pub(super) fn deregistered(&mut self, member: ObservedIndex) -> bool {
        self.silent_at(member, None);
        let Some(slot) = self.slot(member) else {
            return false;
        };
        let was = slot.is_registered();
        if !matches!(slot.state, ObservedState::Ended(_)) {
            slot.state = ObservedState::Ended(MemberEnd::Deregistered);
        }
        was
    }
}
