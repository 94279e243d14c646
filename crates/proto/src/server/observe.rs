//! Who observes which resource (RFC 7641, groupcomm-bis-18 section 3.7), and whose turn it is to be notified.
//!
//! An observer is an entry of a list: an endpoint, a token and, if the request was protected, whom it was verified to
//! come from. Kept of it is its request, which is asked anew for each notification as if it had just come: so access,
//! format and size are looked at each time, and every observer gets the newest state and no queue.
//!
//! Here is decided who is notified when, and whether Confirmably; `endpoint::notify` asks and sends.

mod places;
mod slab;
mod table;
#[cfg(test)]
mod tests;
mod turns;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use antiphon_wire::{Class, Code, Message, MessageId, OptionNumber, Token};
use hashbrown::HashTable;

use super::block::{Known, Part};
use super::disposition::{Context, Disposition, SilenceReason};
use super::{Outcome, Server};
use crate::config::Profile;
use crate::identity::{Sender, Standing};
use crate::message::Response;
use crate::path::{Path, SocketId};
use crate::policy::Suppressed;
use crate::resource::{Entry, ResourceId};
use crate::rng::{KeyedHash, Rng};
use crate::security::Received;
use crate::shares::Shares;
use crate::time::Instant;

pub(crate) use slab::Key as ObserverId;
use slab::Slab;
pub(crate) use table::Taken;

/// Limits and pace of observations. Every field has a default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObserveConfig {
    /// Observers of all resources together. Default 1024; about 300 bytes each. Who finds no place is answered once,
    /// without an Observe option.
    ///
    /// Of this limit, and of [`per_resource`](Self::per_resource), strangers have at most half: observers whose request
    /// was not verified, and who have neither sent an Echo value nor acknowledged a notification. Where there is no
    /// place left, the one of them that is there for longest gives way to whoever is no stranger.
    pub observers: usize,
    /// Observers of one resource. Default 768, so that there is room for those of others.
    pub per_resource: usize,
    /// Observers at one address, in IPv6 one /64 prefix (but each link-local address). Default 64.
    pub per_address: usize,
    /// The largest request that is kept, in bytes as a message without protection. Default 512.
    pub request: usize,
    /// At least every so many notifications one is Confirmable, and nothing more follows until it is acknowledged.
    /// Default 8; 1 makes all Confirmable. The first notification to an address that is not proven to be the
    /// observer's is Confirmable in any case, and a stranger gets it within two minutes even if nothing has changed.
    pub confirm_every: u8,
    /// At least one notification in this time is Confirmable, even if nothing has changed. Default 24 h
    /// (RFC 7641 section 4.5), which is the longest time as well.
    pub confirm_within: Duration,
    /// Confirmable notifications that wait for their acknowledgement at a time, of these a quarter to strangers.
    /// Default 256; others wait, strangers until nobody else does. While somebody waits who is no stranger, whoever has
    /// not acknowledged within four round trips, or ACK_TIMEOUT, gives way and is asked again later.
    pub unacknowledged: usize,
    /// The shortest time between two Non-confirmable notifications to one client whose round trip time is not known.
    /// Default 3 s (RFC 7641 section 4.5.1).
    pub pause: Duration,
}

impl Default for ObserveConfig {
    fn default() -> Self {
        Self {
            observers: 1_024,
            per_resource: 768,
            per_address: 64,
            request: 512,
            confirm_every: 8,
            confirm_within: Self::DAY,
            unacknowledged: 256,
            pause: Duration::from_secs(3),
        }
    }
}

impl ObserveConfig {
    const DAY: Duration = Duration::from_secs(24 * 3_600);
    /// A stranger is asked whether it is there as soon as this is over.
    const STRANGE: Duration = Duration::from_secs(60);

    /// How often it is looked whether a Confirmable notification is due by time.
    fn look_every(&self) -> Duration {
        (self.confirm_within.min(Self::DAY) / 24).max(Duration::from_millis(1))
    }

    /// Of so many places strangers have so many.
    const fn of_strangers(places: usize) -> usize {
        places.div_ceil(2)
    }

    /// The memory for all observers and their requests, at most.
    pub(crate) const fn memory_total(&self) -> usize {
        let each = self.request
            + Taken::KEPT
            + 4 * (size_of::<u32>() + 1)
            + 2 * size_of::<u32>()
            + 3 * size_of::<(Instant, u32)>()
            + 2 * 3 * size_of::<ObserverId>()
            + 3 * size_of::<(ResourceId, Watched)>()
            + 3 * size_of::<Period>();
        self.observers * each
            + places::Places::memory_total(self.unacknowledged)
            + Slab::<Observer>::memory_total(self.observers)
            + Slab::<Peer>::memory_total(self.observers + self.unacknowledged)
            + Shares::memory_total(self.observers)
            + Self::WAYS * 4 * size_of::<Way>()
    }

    /// Local sockets, addresses and interfaces that observers come through are told apart up to so many.
    const WAYS: usize = 256;
}

/// What has become of observers and notifications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObserverCounters {
    /// Registrations of new observers.
    pub registered: u64,
    /// Registrations of those who were observers already.
    pub renewed: u64,
    /// Registrations that found no place; they were answered once.
    pub refused: u64,
    /// Strangers that gave way to others: observers of whom nothing had shown that they were there.
    pub gave_way: u64,
    /// Observers that deregistered.
    pub deregistered: u64,
    /// Notifications sent.
    pub notifications: u64,
    /// Of these, Confirmable ones.
    pub confirmable: u64,
    /// Confirmable notifications that were acknowledged.
    pub acknowledged: u64,
    /// Notifications that were rejected with a Reset; their observers are gone.
    pub reset: u64,
    /// Confirmable notifications that nobody acknowledged; their observers are gone.
    pub unanswered: u64,
    /// Observations that the server ended: the resource is gone or gives an error, the permission or the key is.
    pub ended: u64,
    /// Notifications that could not be made at once, and were put off.
    pub put_off: u64,
}

/// Who observes what.
pub(crate) struct Observers {
    config: ObserveConfig,
    hash: KeyedHash,
    /// Draws delays, and how many were drawn.
    delays: (KeyedHash, u64),
    table: Slab<Observer>,
    peers: Slab<Peer>,
    by_address: HashTable<u32>,
    shares: Shares,
    ways: Vec<Way>,
    watched: BTreeMap<ResourceId, Watched>,
    /// How many strangers there are.
    strangers: usize,
    /// Whom the request that is being processed has put on the list.
    admitted: Option<ObserverId>,
    /// The Confirmable notification of an observation that this request has replaced or ended: the client was heard of.
    settled: Vec<(SocketAddr, MessageId)>,
    /// Resources that have changed and whose observers were not all told that it is their turn.
    walks: VecDeque<ResourceId>,
    /// The leisure period of the last notifications, or first answers, through each CoAP group: from when, and until when.
    leisures: BTreeMap<SocketAddr, (Instant, Instant)>,
    /// Observers to be notified later, by place.
    timers: BTreeSet<(Instant, u32)>,
    /// Observers whose turn it is, as soon as pace and limits allow.
    ready: VecDeque<ObserverId>,
    /// Those that wait for a place among the Confirmable notifications, and the strangers that do.
    crowded: VecDeque<ObserverId>,
    /// Those that have had one and did not acknowledge.
    crowded_again: VecDeque<ObserverId>,
    crowded_strangers: VecDeque<ObserverId>,
    places: places::Places,
    ack_timeout: Duration,
    unacknowledged: usize,
    /// Of these, to strangers.
    unacknowledged_by_strangers: usize,
    round_ends: Instant,
    in_round: usize,
    look_at: Instant,
    /// The place that is looked at next, while the list is looked through.
    looking: Option<u32>,
    counters: ObserverCounters,
}

/// A resource that somebody observes.
#[derive(Default)]
struct Watched {
    /// Counts its changes.
    version: u32,
    /// Its observers, by place.
    observers: Vec<u32>,
    /// Of these, so many were not told of the last change yet: the first ones.
    untold: usize,
    /// Of these, so many are strangers.
    strangers: u32,
    periods: Vec<Period>,
}

/// A leisure period of a CoAP group that belongs to one change of one resource.
struct Period {
    group: SocketAddr,
    version: u32,
    start: Instant,
}

/// How observers reach this endpoint: the same for most of them.
struct Way {
    socket: SocketId,
    local: SocketAddr,
    interface: u32,
    users: u32,
}

/// An endpoint that observes.
struct Peer {
    address: SocketAddr,
    /// Until then it gets no Non-confirmable notification.
    held_until: Instant,
    /// The measured round trip time in microseconds; 0: not known.
    round_trip: u32,
    /// Confirmable notifications on their way.
    outstanding: u16,
    /// Those to strangers at this address. They are counted apart: who registers in its name takes nothing from it.
    outstanding_to_strangers: u16,
    /// The first of its observers, by place.
    first: u32,
}

struct Observer {
    /// The message that it registered with.
    request: Box<[u8]>,
    /// What protects its notifications, unless that is with an answer on its way.
    kept: Option<Box<Kept>>,
    /// Whom the request was verified to come from, as a keyed hash; 0: it was not.
    who: u64,
    resource: ResourceId,
    /// The last sequence number, not yet cut to 24 bits.
    number: u64,
    /// When it is its turn in state `Due`; otherwise when the last notification was begun.
    due: Instant,
    /// When it was last known to be there.
    acknowledged: Instant,
    /// The leisure of its group in milliseconds.
    leisure: u32,
    peer: ObserverId,
    /// The next observer of the same endpoint, by place.
    next: u32,
    /// Its place in the list of its resource.
    place: u32,
    /// The change that it was told of.
    version: u32,
    way: u16,
    /// The way whose CoAP group it came through first; `NO_GROUP` if through none.
    group: u16,
    /// The Message ID of the last notification.
    mid: u16,
    state: State,
    /// Non-confirmable notifications since the last sign of life.
    unconfirmed: u8,
    /// Confirmable notifications since then that have given way to those of others.
    withdrawn: u8,
    /// The resource has changed since the last notification was made.
    changed: bool,
    /// Its last notification was Confirmable, and is not acknowledged.
    outstanding: bool,
    /// It was notified at all.
    notified: bool,
    /// Its address is proven to be its own.
    reachable: bool,
}

/// In place of a way.
const NO_GROUP: u16 = u16::MAX;

impl Observer {
    /// Nothing shows that anyone is there: the request was not verified, and the address not proven.
    const fn is_stranger(&self) -> bool {
        self.who == 0 && !self.reachable
    }
}

/// What protects the notifications of an observation.
pub(crate) struct Kept {
    pub(crate) received: Received,
    /// The Sender ID of this endpoint in the answers so far.
    #[cfg(feature = "oscore")]
    pub(crate) own: Option<antiphon_oscore::Kid>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It knows everything.
    Quiet,
    /// It is to be notified later: it stands in `timers`.
    Due,
    /// It stands in `ready`.
    Ready,
    /// It stands in `crowded`.
    Crowded,
    /// It waits for an acknowledgement, its own or one of the same endpoint.
    Waiting,
    /// An answer or notification is being made.
    Underway,
}

/// The turn of one observer: it is to be notified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) observer: ObserverId,
    peer: ObserverId,
    pub(crate) confirm: bool,
    /// It is the turn of a stranger.
    pub(crate) stranger: bool,
}

/// What a request wants of the list of observers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing.
    #[default]
    None,
    /// To be in it, or not to be in it any more: either way it is answered.
    Register,
    /// It is asked once more to make a notification.
    Notification,
}

/// A GET or FETCH that is to be put on the list of observers, or is there.
pub(super) struct Asks<'a, 'm> {
    path: &'a Path,
    sender: &'a Sender,
    reachable: bool,
    message: &'a Message<'m>,
    resource: ResourceId,
}

impl<'a, 'm> Asks<'a, 'm> {
    pub(super) const fn new(
        path: &'a Path,
        sender: &'a Sender,
        reachable: bool,
        message: &'a Message<'m>,
        resource: ResourceId,
    ) -> Self {
        Self {
            path,
            sender,
            reachable,
            message,
            resource,
        }
    }

    /// Nothing shows that it comes from its source address.
    fn is_strange(&self) -> bool {
        !self.sender.is_proven() && !self.reachable
    }
}

impl Observers {
    /// Notes what a request to an observable resource means for its observers. `observe` is its Observe option.
    pub(super) fn note(
        &mut self,
        now: Instant,
        asks: &Asks<'_, '_>,
        observe: Option<u32>,
        again: Option<ObserverId>,
        context: &mut Context,
    ) {
        if !context.safe {
            context.changes = Some(asks.resource);
            return;
        }
        if let Some(observer) = again {
            context.wish = Wish::Notification;
            context.observer = Some(observer);
            context.block1 = None; // the blocks of its request were acknowledged with the first answer
        } else if matches!(observe, Some(REGISTER | DEREGISTER)) {
            context.wish = Wish::Register;
            if observe == Some(REGISTER) {
                context.observer = self.admit(now, asks, context.leisure);
            }
        }
    }
}

/// The values of the Observe option in a request (RFC 7641 section 2).
const REGISTER: u32 = 0;
pub(crate) const DEREGISTER: u32 = 1;

impl Server {
    /// The state of a resource has changed: all its observers are notified of the newest state, soon. Says how many they
    /// are. A successful PUT, POST, DELETE, PATCH or iPATCH of the resource itself needs no such call.
    pub fn changed(&mut self, id: ResourceId) -> usize {
        self.observers.changed(id)
    }

    /// How many observe this resource.
    pub fn observers_of(&self, id: ResourceId) -> usize {
        self.observers.of(id)
    }

    /// What has become of observers and notifications.
    pub fn observer_counters(&self) -> &ObserverCounters {
        &self.observers.counters
    }

    /// A resource; for an observer only if it is the one that it observes, and not something else in its place.
    pub(super) fn entry(&self, id: ResourceId, again: Option<ObserverId>) -> Option<&Entry> {
        let same = again.is_none_or(|again| self.observers.is_of(again, id));
        self.resources.get(id).filter(|_| same)
    }

    pub(crate) fn observers(&self) -> &Observers {
        &self.observers
    }

    pub(crate) fn observers_mut(&mut self) -> &mut Observers {
        &mut self.observers
    }

    /// Processes the request of an observer once more, for a notification. What comes out is its answer, whatever a
    /// group's policy says of answers that nobody has asked for.
    pub(crate) fn notification(
        &mut self,
        now: Instant,
        path: &Path,
        standing: &Standing<'_>,
        message: &Message<'_>,
        response: &mut Response,
        observer: ObserverId,
    ) -> Disposition {
        match self.route(now, path, standing, message, response, Some(observer)) {
            Outcome::Processed(mut context) => {
                // An error may have come before the observer was known.
                context.wish = Wish::Notification;
                context.observer = Some(observer);
                let known = Known::Request(Part::of(path, standing, message));
                self.conclude(now, &context, &known, response)
            }
            Outcome::Challenge(_) => Disposition::Silence(SilenceReason::NotPermitted),
            Outcome::Silence(reason) => Disposition::Silence(reason),
            Outcome::Deferred(deferred) => Disposition::Deferred(deferred),
        }
    }

    /// A registration that was refused ends what the client has registered before under this token: the answer says that it
    /// is no observer (RFC 7641 section 4.1).
    pub(super) fn not_registered(&mut self, path: &Path, sender: &Sender, message: &Message<'_>) {
        if self.observers.len() > 0 && observe_of(message) == Some(REGISTER) {
            self.observers.supersede(path.peer, message.token(), sender);
        }
    }

    /// The sequence number of a notification, or of the first answer; the option is there to be counted.
    pub(super) fn number(&mut self, now: Instant, context: &Context, response: &mut Response) {
        if let Some(observer) = context.observer
            && is_success(response)
        {
            let number = self.observers.number(now, observer);
            response.options.remove(OptionNumber::OBSERVE);
            response.options.push_uint(OptionNumber::OBSERVE, number);
        }
    }

    /// Why an answer stays unsent. One that makes an observer is sent unless the request itself does not want it
    /// (groupcomm-bis-18 section 3.7), a notification always.
    pub(super) fn suppressed(&self, context: &Context, response: &Response) -> Option<Suppressed> {
        let empty = response.code == Code::CONTENT && response.payload.is_empty();
        match context.wish {
            Wish::Notification => None,
            Wish::Register if is_success(response) => {
                // The seed knows no exception for those who are new on the list.
                let seed = self.config.profile == Profile::Seed03 && context.observer.is_some();
                let suppressed = context.suppression.by_request(response.code);
                suppressed.filter(|_| !seed)
            }
            _ => context.suppression.of(response.code, empty),
        }
    }

    /// What the fate of a response means for observers.
    pub(super) fn settle(
        &mut self,
        now: Instant,
        context: &Context,
        disposition: &Disposition,
        response: &mut Response,
    ) {
        let Some(observer) = context.observer else {
            return;
        };
        let again = context.wish == Wish::Notification;
        let stands = match disposition {
            Disposition::Respond { .. } => is_success(response),
            // The client does not want this answer, and said nothing of notifications (groupcomm-bis-18 section 3.7).
            Disposition::Silence(SilenceReason::NoResponse) => is_success(response),
            // There is nothing to say this time.
            Disposition::Silence(SilenceReason::Handler) => again,
            _ => false,
        };
        match (stands, again) {
            (true, true) => {}
            (true, false) => self.observers.established(now, observer),
            (false, _) => {
                response.options.remove(OptionNumber::OBSERVE);
                self.observers.end(observer);
            }
        }
    }
}

pub(crate) fn is_success(response: &Response) -> bool {
    response.code.response_class() == Some(Class::Success)
}

/// The Observe option of a request that may have one (RFC 7641 section 2, RFC 8132 section 2.4).
pub(crate) fn observe_of(message: &Message<'_>) -> Option<u32> {
    match message.code() {
        Code::GET | Code::FETCH => message.uint(OptionNumber::OBSERVE),
        _ => None,
    }
}
