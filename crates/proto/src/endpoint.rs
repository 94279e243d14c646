//! The endpoint: the only room that sees all parts.
//!
//! The two routes of the architecture can be read here from top to bottom: [`Endpoint::handle_datagram`]
//! for what comes in, [`Endpoint::poll_transmit`] for what goes out.

#[cfg(all(feature = "client", feature = "oscore"))]
mod again;
mod answer;
#[cfg(feature = "client")]
mod ask;
#[cfg(feature = "client")]
mod block;
#[cfg(feature = "client")]
mod cached;
#[cfg_attr(not(feature = "client"), path = "endpoint/server_only.rs")]
mod client;
#[cfg(all(feature = "client", feature = "oscore"))]
mod hear;
#[cfg(feature = "oscore")]
mod jobs;
#[cfg(feature = "oscore")]
mod keys;
mod memory;
mod notify;
#[cfg(feature = "client")]
mod observe;
#[cfg(feature = "oscore")]
mod open;
#[cfg(feature = "oscore")]
mod outer;
#[cfg(all(feature = "client", feature = "oscore"))]
mod outer_fetch;
#[cfg(feature = "oscore")]
mod protect;
#[cfg(all(feature = "client", feature = "oscore"))]
mod question;
mod seam;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

#[cfg(feature = "oscore")]
use antiphon_wire::OptionNumber;
use antiphon_wire::{Code, Header, Message, MessageId, Token, Type};

use crate::config::Transmission;
use crate::dedup::{Dedup, DedupLimits, RecordRef, Seen};
use crate::event::{Counters, Event, IncomingId};
use crate::failure::{Failure, SendError};
use crate::identity::{Sender, Standing};
use crate::message::Response;
use crate::message_id::MessageIds;
use crate::outbox::Outbox;
use crate::parking::{ParkingLimits, ParkingLot};
use crate::path::{Path, Route, SocketId, Transmit, can_be_source};
use crate::reliability::{Confirmables, Due, Sent};
use crate::rng::Rng;
use crate::security::Received;
#[cfg(feature = "oscore")]
use crate::security::{Guard, SecurityConfig};
use crate::server::{Context, Disposition, ObserverId, Server, ServerConfig, Turn};
use crate::shares::Shares;
use crate::time::Instant;
use crate::work::{Task, Work, WorkId};
use answer::{Asker, Pending};
use client::Client;
use seam::Parked;

pub use memory::{Load, MemoryTotals};
#[cfg(feature = "oscore")]
pub(crate) use outer::outer_memory;

/// What an endpoint is made from. Every field has a default that suits a device with some hundred
/// kilobytes of memory.
#[derive(Clone, Debug, Default)]
pub struct EndpointConfig {
    /// Transmission parameters of RFC 7252, for unicast; those for groups stand in `collections`.
    pub transmission: Transmission,
    /// The deduplication table.
    pub dedup: DedupLimits,
    /// The parking lot for messages that wait for work.
    pub parking: ParkingLimits,
    /// All other tables.
    pub limits: Limits,
    /// Limits and defaults of group requests.
    #[cfg(feature = "client")]
    pub collections: crate::collection::CollectionConfig,
    /// Limits of observations.
    #[cfg(feature = "client")]
    pub observations: crate::observation::ObservationConfig,
    /// The server half.
    pub server: ServerConfig,
    /// Bodies that the client sends and receives in blocks.
    #[cfg(feature = "client")]
    pub transfers: crate::block::TransferLimits,
    /// Policies of protected messages.
    #[cfg(feature = "oscore")]
    pub security: SecurityConfig,
    /// Ignore multicast that this endpoint has sent itself. Default: it is processed like any other.
    pub ignore_own_multicast: bool,
    /// Answer a Non-confirmable response that belongs to nothing with a Reset, which tells its sender
    /// that nobody is interested (GC-3.1-37). Default: silence. (A Confirmable one is always reset.)
    pub reset_unmatched: bool,
}

/// Limits of the endpoint's tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open unicast exchanges of the client. Default 1024.
    pub exchanges: usize,
    /// Confirmable messages that wait for their acknowledgement; beyond that, separate responses are Non-confirmable. Default 1280.
    pub confirmables: usize,
    /// Separate responses of them for one address, in IPv6 one /64 prefix (but each link-local address); beyond that, its own are Non-confirmable. Default 64.
    pub separate_per_address: usize,
    /// Requests that deferred handlers have not answered yet. Default 256.
    pub incoming: usize,
    /// Of these, requests from one address or /64 prefix. Default 64.
    pub incoming_per_address: usize,
    /// Group answers that wait for their leisure. Default 1024.
    pub pending_answers: usize,
    /// Of these, answers to one address or /64 prefix. Default 256.
    pub pending_per_address: usize,
    /// Datagrams waiting to be taken by `poll_transmit`. Default 4096.
    pub outbox: usize,
    /// Largest datagram written, in bytes. Default 1472 (Ethernet without fragmentation in IPv4).
    pub datagram: usize,
    /// After this long without an answer from a deferred handler a Confirmable request gets its empty acknowledgement, and the response goes separately. Default 500 ms.
    pub separate_after: Duration,
    /// How long a deferred handler may take before its request is forgotten. Default 5 min.
    pub handler_patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            exchanges: 1_024,
            confirmables: 1_280,
            separate_per_address: 64,
            incoming: 256,
            incoming_per_address: 64,
            pending_answers: 1_024,
            pending_per_address: 256,
            outbox: 4_096,
            datagram: 1_472,
            separate_after: Duration::from_millis(500),
            handler_patience: Duration::from_secs(300),
        }
    }
}

/// A socket of the driver, as the endpoint needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketInfo {
    /// The address it is bound to; may be unspecified for a unicast socket.
    pub local: SocketAddr,
    /// For a group's socket: the unicast socket from which its requests are answered.
    pub respond_from: Option<SocketId>,
}

/// What must be remembered of a request to answer it.
#[derive(Clone, Copy, Debug)]
struct Origin {
    path: Path,
    kind: Type,
    mid: MessageId,
    token: Token,
    record: Option<RecordRef>,
    /// The empty acknowledgement has been sent: the response goes separately.
    acknowledged: bool,
    /// What its outer blocks want of the answer is noted under this number.
    #[cfg(feature = "oscore")]
    outer: Option<outer::AskedId>,
}

impl Incoming {
    /// What the entity tags of a request and the note of its operation take, at most.
    const NOTED: usize = crate::server::ETAGS_KEPT * 9 * 2 + crate::server::NotedOperation::MEMORY;
}

struct Incoming {
    asker: Asker,
    context: Context,
    acknowledge_at: Option<Instant>,
    expires: Instant,
}

/// A separate response.
#[derive(Clone, Copy)]
enum Separate {
    /// To which request, to whom, and which observer it makes.
    Answer(IncomingId, SocketAddr, Option<ObserverId>),
    /// A notification of an observer.
    Notification(Turn),
}

/// Makes a large part of the endpoint. Not inlined, so that on small devices the stack holds one at a time.
#[inline(never)]
fn boxed<T>(make: impl FnOnce() -> T) -> Box<T> {
    Box::new(make())
}

/// The endpoint of CoAP group communication: client and server in one, or without the feature `client` a server alone.
///
/// # How to drive it
/// 1. Announce the sockets ([`add_socket`](Self::add_socket)).
/// 2. Hand in what happens: [`handle_datagram`](Self::handle_datagram), [`handle_timeout`](Self::handle_timeout),
///    [`handle_send_error`](Self::handle_send_error), [`handle_undelivered`](Self::handle_undelivered),
///    [`work_done`](Self::work_done), or a call of the application ([`request`](Self::request), [`collect`](Self::collect), [`respond`](Self::respond) ...).
/// 3. After *every* call of step 2 drain all three outputs until they are empty:
///    [`poll_transmit`](Self::poll_transmit), [`poll_work`](Self::poll_work), [`poll_event`](Self::poll_event).
/// 4. Wait for a datagram or for [`next_timeout`](Self::next_timeout), whichever is first, and go on with 2.
///
/// The one rule that types cannot hold: **drain after each input**. Spurious calls of `handle_timeout` are harmless.
pub struct Endpoint {
    config: EndpointConfig,
    rng: Rng,
    sockets: BTreeMap<SocketId, SocketInfo>,
    message_ids: MessageIds,
    dedup: Dedup,
    confirmables: Confirmables<Sent<Separate>>,
    separate_shares: Shares,
    client: Client,
    server: Box<Server>,
    parking: ParkingLot<Parked>,
    #[cfg(feature = "oscore")]
    guard: Box<Guard>,
    #[cfg(feature = "oscore")]
    outer: Box<outer::OuterBlocks>,
    incoming: BTreeMap<IncomingId, Incoming>,
    incoming_shares: Shares,
    /// Group answers by the time they are due. In boxes, as the first node of a tree has eleven places.
    pending: BTreeMap<(Instant, u64), Box<Pending>>,
    pending_shares: Shares,
    outbox: Outbox,
    work: VecDeque<Work>,
    memberships_at_work: BTreeMap<WorkId, Box<Task>>,
    events: VecDeque<Event>,
    scratch: Box<Response>,
    counters: Counters,
    serial: u64,
}

impl Endpoint {
    /// Makes an endpoint. `seed` decides every random choice; in production it is 32 bytes from the
    /// operating system, never the same twice.
    pub fn new(config: EndpointConfig, seed: [u8; 32]) -> Self {
        let mut rng = Rng::from_seed(seed);
        Self {
            message_ids: MessageIds::new(&config.transmission, MessageIds::DEFAULT_LIMIT, &mut rng),
            dedup: Dedup::new(config.dedup.clone(), &mut rng),
            confirmables: Confirmables::new(&mut rng),
            separate_shares: Shares::new(config.limits.separate_per_address, &mut rng),
            client: Client::new(&config, &mut rng),
            server: boxed(|| Server::new(config.server.clone(), &mut rng)),
            parking: ParkingLot::new(config.parking.clone(), &mut rng),
            #[cfg(feature = "oscore")]
            guard: boxed(|| Guard::new(config.security.clone(), &mut rng)),
            outbox: Outbox::new(config.limits.outbox),
            sockets: BTreeMap::new(),
            incoming: BTreeMap::new(),
            incoming_shares: Shares::new(config.limits.incoming_per_address, &mut rng),
            pending: BTreeMap::new(),
            pending_shares: Shares::new(config.limits.pending_per_address, &mut rng),
            work: VecDeque::new(),
            memberships_at_work: BTreeMap::new(),
            events: VecDeque::new(),
            scratch: Box::new(Response::new(Code::CONTENT)),
            counters: Counters::default(),
            serial: 0,
            #[cfg(feature = "oscore")]
            outer: outer::outer_blocks(config.security.unfragmented, &mut rng),
            rng,
            config,
        }
    }

    // ---- sockets -------------------------------------------------------------------------------

    /// Announces a socket, or changes what is known of it.
    pub fn add_socket(&mut self, id: SocketId, info: SocketInfo) {
        self.sockets.insert(id, info);
    }

    /// A socket is gone; datagrams from it are still understood.
    pub fn remove_socket(&mut self, id: SocketId) {
        self.sockets.remove(&id);
    }

    // ---- what comes in ---------------------------------------------------------------------------

    /// A datagram arrived. `path.local` is its destination as packet info gives it.
    pub fn handle_datagram(&mut self, now: Instant, path: Path, bytes: &[u8]) {
        self.counters.received += 1;
        if !can_be_source(path.peer) {
            self.counters.bad_source += 1; // an answer would go to a group, or to nobody
            return;
        }
        let message = match Message::parse(bytes) {
            Ok(message) => message,
            Err(_) => return self.reject_malformed(&path, bytes),
        };
        if self.config.ignore_own_multicast && self.client.has_sent(&path, &message) {
            self.counters.own_multicast += 1;
        } else if message.code().is_request() {
            self.handle_request(now, path, &message);
        } else if path.is_multicast() {
            // Responses, empty messages and nonsense by multicast are never answered.
            self.counters.group_not_request += 1;
        } else if message.code().is_empty() {
            self.handle_empty(now, &path, &message);
        } else if message.code().is_response() {
            self.handle_response(now, &path, &message);
        } else {
            self.reject_malformed(&path, bytes); // a reserved class: RFC 7252 section 4.2
        }
    }

    /// Time passed. Calling it early or twice is harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(due) = self.confirmables.poll(now) {
            match due {
                Due::Retransmit(Sent::Request(id), ..) if self.begins_again(now, id) => {}
                Due::Retransmit(_, route, bytes) => {
                    self.counters.retransmissions += 1;
                    self.outbox.push(route, |out| out.extend_from_slice(&bytes));
                }
                Due::GivenUp(owner) => self.give_up(now, owner, Failure::TimedOut),
            }
        }
        self.handle_client_timeout(now);
        self.server.memberships_mut().handle_timeout(now);
        while let Some(entry) = self.pending.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let Pending { asker, response } = *entry.remove();
            self.pending_shares.give_back(asker.origin.path.peer);
            self.send_group_answer(now, asker, &response);
        }
        self.server.forget_stale_bodies(now);
        self.notify_observers(now);
        self.acknowledge_slow_handlers(now);
        self.handle_work_timeout(now);
    }

    /// The driver could not send a datagram. The error is this host's own, so it is believed: it ends the unicast
    /// exchanges with that peer, and counts against the group that the datagram was for. What the network reports
    /// later goes to [`handle_undelivered`](Self::handle_undelivered).
    pub fn handle_send_error(&mut self, now: Instant, route: Route, error: SendError) {
        self.counters.send_errors += 1;
        self.not_sent(now, &route, error);
    }

    /// The network reported (by ICMP) that a datagram to `destination`, sent from `socket`, was not delivered;
    /// `quote` is the beginning of its payload, as far as the report has it.
    ///
    /// Anyone can forge such a report. It ends the one exchange whose request it quotes, up to and with the token,
    /// and nothing else: who has not seen the request cannot quote it. So with a Confirmable notification to an observer of
    /// whom nothing has shown that it is there: that observation ends. Says whether there was one. A report about a
    /// group, another response or anything else is counted in [`Counters::reports_ignored`](crate::Counters::reports_ignored).
    pub fn handle_undelivered(
        &mut self,
        now: Instant,
        socket: SocketId,
        destination: SocketAddr,
        quote: &[u8],
        error: SendError,
    ) -> bool {
        let Some(id) = self.client.quoted(socket, destination, quote) else {
            let believed = self.notification_undelivered(now, socket, destination, quote, error);
            match believed {
                true => self.counters.send_errors += 1,
                false => self.counters.reports_ignored += 1,
            }
            return believed;
        };
        self.counters.send_errors += 1;
        // A full buffer passes, and a Confirmable message is sent again anyway.
        if error != SendError::NoBuffer {
            self.fail(now, id, Failure::Unreachable(error));
        }
        true
    }

    // ---- what the application asks -----------------------------------------------------------------

    /// The server half.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The server half, to change resources and memberships. New memberships are joined by the next `poll_work`.
    pub fn server_mut(&mut self) -> &mut Server {
        &mut self.server
    }

    /// Answers a request of [`Event::Request`]. Policy decides whether and when the answer leaves. Late
    /// answers to forgotten requests are ignored.
    pub fn respond(&mut self, now: Instant, id: IncomingId, mut response: Response) {
        let Some(incoming) = self.forget_incoming(id) else {
            return;
        };
        let disposition = self.server.finish(now, &incoming.context, &mut response);
        self.dispose(now, incoming.asker, Some(id), disposition, &mut response);
    }

    /// Changes the transmission parameters for what starts from now on.
    pub fn set_transmission(&mut self, now: Instant, transmission: Transmission) {
        self.client.set_transmission(now, &transmission);
        self.message_ids.set_parameters(&transmission);
        self.config.transmission = transmission;
    }

    // ---- what goes out -----------------------------------------------------------------------------

    /// Writes the next datagram into `out` (what was there is replaced). May have more after any input or application call.
    #[must_use]
    pub fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        self.prepare(now);
        let route = match self.outbox.pop(out) {
            Some(route) => route,
            None => self.poll_request(now, out)?,
        };
        self.counters.sent += 1;
        Some(Transmit {
            route,
            len: out.len(),
        })
    }

    /// The next piece of work to be done outside. May have more after any input or application call.
    #[must_use]
    pub fn poll_work(&mut self, now: Instant) -> Option<Work> {
        self.prepare(now);
        if let Some(work) = self.work.pop_front() {
            return Some(work);
        }
        #[cfg(feature = "oscore")]
        if let Some(work) = self.poll_record(now) {
            return Some(work);
        }
        let task = self.server.memberships_mut().poll_task(now)?;
        let id = self.fresh_work_id();
        if let Some(same) = task.of_membership() {
            self.memberships_at_work.insert(id, Box::new(same));
        }
        Some(Work { id, task })
    }

    /// The next event. May have more after any input or application call.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        #[cfg(feature = "oscore")]
        if let Some(news) = self.guard.poll_event() {
            return Some(Event::Security(news));
        }
        self.events
            .pop_front()
            .or_else(|| self.client.poll_event())
            .or_else(|| {
                self.server
                    .memberships_mut()
                    .poll_event()
                    .map(Event::Membership)
            })
    }

    /// When [`handle_timeout`](Self::handle_timeout) has work next. May change with every input, call and poll.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let handlers = self
            .incoming
            .values()
            .map(|i| i.acknowledge_at.unwrap_or(i.expires).min(i.expires))
            .min();
        [
            self.confirmables.next_timeout(),
            self.client.next_timeout(),
            self.pending.first_key_value().map(|((due, _), _)| *due),
            self.next_work_timeout(),
            self.server.memberships().next_timeout(),
            self.server.next_timeout(),
            self.server.observers().next_timeout(),
            handlers,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What has been counted so far.
    pub fn counters(&self) -> Counters {
        let (parking_full, parking_expired) = self.parking.dropped();
        Counters {
            dedup_evicted: self.dedup.evicted(),
            outbox_full: self.outbox.dropped(),
            parking_full,
            parking_expired,
            observers: *self.server.observer_counters(),
            #[cfg(feature = "oscore")]
            security: self.guard.counters,
            #[cfg(feature = "client")]
            cache: self.client.collections.cache().counters,
            ..self.counters
        }
    }

    // ---- the route of a received message ---------------------------------------------------------------

    fn reject_malformed(&mut self, path: &Path, bytes: &[u8]) {
        self.counters.malformed += 1;
        if path.is_multicast() {
            return;
        }
        // Only a Confirmable message is rejected with a Reset; the rest is ignored (RFC 7252 sections 4.2 and 4.3).
        if let Some(header) = Header::peek(bytes)
            && header.kind == Type::Con
        {
            self.counters.malformed_reset += 1;
            self.send_empty(path, Type::Rst, header.message_id);
        }
    }

    fn handle_request(&mut self, now: Instant, path: Path, message: &Message<'_>) {
        let lifetime = match (message.kind(), path.is_multicast()) {
            (Type::Non, _) => self.config.transmission.non_lifetime(),
            (Type::Con, false) => self.config.transmission.exchange_lifetime(),
            (Type::Con, true) => {
                self.counters.group_not_non += 1; // RFC 7252 section 8.1; we stay silent
                return;
            }
            (Type::Ack | Type::Rst, _) => {
                self.counters.malformed += 1; // a request acknowledges nothing
                return;
            }
        };
        let fingerprint = self.dedup.fingerprint(message);
        let seen = self
            .dedup
            .check(now, path.peer, message.message_id(), fingerprint, lifetime);
        let record = match seen {
            Some(Seen::Duplicate(record)) => {
                return self.repeat_reply(&path, message.kind(), record);
            }
            Some(Seen::New(record)) => Some(record),
            None => None,
        };
        self.counters.requests += 1;
        let origin = Origin {
            path,
            kind: message.kind(),
            mid: message.message_id(),
            token: message.token(),
            record,
            acknowledged: false,
            #[cfg(feature = "oscore")]
            outer: None,
        };
        #[cfg(feature = "oscore")]
        if message.option(OptionNumber::OSCORE).is_some() && self.guard.is_used() {
            return self.receive_protected(now, origin, message);
        }
        // Without any security context the OSCORE option is a critical option that is not recognised.
        let standing = Standing::of(&Sender::Unauthenticated);
        self.serve(now, origin.into(), &standing, message);
    }

    /// A duplicate of a Confirmable request gets the same bytes again, one of a Non-confirmable request gets silence.
    fn repeat_reply(&mut self, path: &Path, kind: Type, record: RecordRef) {
        self.counters.duplicates += 1;
        if kind != Type::Con {
            return;
        }
        let route = self.way_back(path);
        let dedup = &self.dedup;
        let repeated = self.outbox.push(route, |out| {
            dedup.reply(record, out);
        });
        if !repeated.is_empty() {
            self.counters.replies_repeated += 1;
        }
    }

    fn serve(
        &mut self,
        now: Instant,
        asker: Asker,
        standing: &Standing<'_>,
        message: &Message<'_>,
    ) {
        let mut response = core::mem::replace(&mut *self.scratch, Response::new(Code::EMPTY));
        response.reset(Code::CONTENT);
        let path = asker.origin.path;
        self.deregister(now, &path, standing.sender, message);
        let disposition =
            self.server
                .handle_request_of(now, &path, standing, message, &mut response);
        let asker = Asker {
            observing: self.registered(now),
            ..asker
        };
        match disposition {
            Disposition::Deferred(deferred) => self.defer(now, asker, *deferred, message),
            other => self.dispose(now, asker, None, other, &mut response),
        }
        *self.scratch = response;
    }

    fn handle_empty(&mut self, now: Instant, path: &Path, message: &Message<'_>) {
        let (peer, mid) = (path.peer, message.message_id());
        match message.kind() {
            Type::Con => self.send_empty(path, Type::Rst, mid), // a ping (RFC 7252 section 4.3)
            Type::Non => {}
            Type::Ack => match self.confirmables.settle(peer, mid) {
                Some(Sent::Request(id)) => self.request_acknowledged(now, id),
                Some(Sent::Response(Separate::Answer(_, peer, _))) => {
                    self.separate_shares.give_back(peer);
                }
                Some(Sent::Response(Separate::Notification(turn))) => {
                    self.notification_acknowledged(now, &turn);
                }
                None if self.notification_acknowledged_late(now, peer, mid) => {}
                None => self.counters.unmatched_empty += 1,
            },
            Type::Rst => match self.confirmables.settle(peer, mid) {
                Some(owner) => self.give_up(now, owner, Failure::Reset),
                None if self.request_reset(now, peer, mid) => {}
                None if self.notification_reset(now, path, mid) => {}
                None => self.counters.unmatched_empty += 1,
            },
        }
    }

    /// A response that belongs to nothing.
    fn reject_response(&mut self, path: &Path, message: &Message<'_>) {
        let kind = message.kind();
        self.counters.unmatched += 1;
        if kind == Type::Con || (kind == Type::Non && self.config.reset_unmatched) {
            self.counters.unmatched_reset += 1;
            self.send_empty(path, Type::Rst, message.message_id());
        }
    }

    fn give_up(&mut self, now: Instant, owner: Sent<Separate>, failure: Failure) {
        match owner {
            Sent::Request(id) => self.fail(now, id, failure),
            Sent::Response(Separate::Notification(turn)) => {
                self.notification_failed(now, &turn, failure);
            }
            Sent::Response(Separate::Answer(incoming, peer, observer)) => {
                self.separate_shares.give_back(peer);
                if let Some(observer) = observer {
                    self.first_answer_failed(now, observer, failure);
                }
                self.events
                    .push_back(Event::Undelivered { incoming, failure });
            }
        }
    }

    fn fresh_work_id(&mut self) -> WorkId {
        self.serial += 1;
        WorkId(self.serial)
    }
}

#[cfg(test)]
mod tests;
