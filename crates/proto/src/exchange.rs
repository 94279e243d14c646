//! Requests to one peer (RFC 7252 sections 4 and 5): tokens, matching, NSTART and PROBING_RATE.

use alloc::boxed::Box;
use alloc::collections::{BinaryHeap, VecDeque};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use antiphon_wire::{Code, Header, Message, MessageId, OptionNumber, Token, Type, Writer};
use hashbrown::HashMap;

use crate::config::Transmission;
use crate::message::Request;
use crate::message_id::MessageIds;
use crate::observation::Observer;
use crate::path::{Path, Route, SocketId};
use crate::reliability::Confirmables;
use crate::rng::{KeyedHash, Rng};
use crate::security::{Asked, Protection};
use crate::time::Instant;

use beside::Beside;
use pause::Pause;

pub(crate) use crate::event::ExchangeId;
pub(crate) use crate::failure::{Failure, SendError};
pub(crate) use crate::message::encoded_bound;
pub(crate) use crate::path::{PeerKey, peer_key, same_peer};
pub(crate) use crate::reliability::Sent;

/// Is a unicast request retransmitted until it is acknowledged?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reliability {
    /// Confirmable: retransmitted with back-off (RFC 7252 section 4.2).
    #[default]
    Confirmable,
    /// Non-confirmable: sent once (RFC 7252 section 4.3).
    NonConfirmable,
}

/// Why a unicast request was refused before anything was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// The destination is a group: use a collection.
    GroupDestination,
    /// The code is not a request method.
    NotAMethod,
    /// Port 0 cannot be sent to.
    NoPort,
    /// Too many exchanges are open.
    TooMany,
    /// The message does not fit the largest datagram.
    TooLarge,
    /// Multi-ETag is for requests to groups, or to a proxy that forwards to one (groupcomm-bis section 3.2.2, version -03).
    MultiEtag,
    /// Whoever observes a resource starts an observation.
    Observe,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GroupDestination => {
                "the destination is a group address; a group is asked by a collection"
            }
            Self::NotAMethod => "the code is not a request method",
            Self::NoPort => "port 0 cannot be sent to",
            Self::TooMany => "too many exchanges are open",
            Self::TooLarge => "the request does not fit into the largest datagram",
            Self::MultiEtag => "Multi-ETag is for requests to groups",
            Self::Observe => "a resource is observed by an observation, not a request",
        })
    }
}

impl core::error::Error for RequestError {}

/// A request to one peer.
#[derive(Clone, Debug)]
pub struct UnicastRequest {
    /// What is asked.
    pub request: Request,
    /// Where it goes: a unicast destination.
    pub route: Route,
    /// Confirmable or not.
    pub reliability: Reliability,
    /// How long to wait for the response after the acknowledgement, or after a Non-confirmable request. `None` is MAX_TRANSMIT_WAIT (93 s with the defaults).
    pub response_timeout: Option<Duration>,
    /// How it is protected. There is no default: [`Protection::None`] is a stated choice.
    pub protection: Protection,
}

/// On whose behalf an exchange runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner<C> {
    /// The application asked.
    Application,
    /// It completes a collection.
    Completion(C),
    /// It asks one member of an observation, under the token of that.
    Observation(Observer),
    /// It fetches the rest of a notification of that member.
    Notification(Observer),
    /// It fetches the outer blocks of a protected response: to the request of that exchange, or to a question to a group.
    #[cfg(feature = "oscore")]
    Outer(Option<ExchangeId>),
}

/// An exchange that is over.
pub(crate) struct Ended<C> {
    pub(crate) id: ExchangeId,
    pub(crate) owner: Owner<C>,
    pub(crate) request_sent: Option<Instant>,
    /// What opens further responses to a protected request.
    pub(crate) asked: Option<Box<Asked>>,
    /// What was asked, and how.
    pub(crate) unicast: UnicastRequest,
}

struct Exchange<C> {
    owner: Owner<C>,
    unicast: UnicastRequest,
    token: Token,
    mid: Option<MessageId>,
    sent: Option<Instant>,
    deadline: Option<Instant>,
    /// The code that was sent: the outer one, if the request is protected.
    code: Option<Code>,
    /// The protected request.
    sealed: Option<Vec<u8>>,
    /// What opens the responses to it.
    asked: Option<Box<Asked>>,
    /// What can be said of a protected request to which no response could be opened.
    hint: Option<Failure>,
    /// How often the request was repeated with an Echo value.
    challenges: u8,
    /// It is being protected anew, to be sent in the place of a repetition.
    #[cfg(feature = "oscore")]
    again: bool,
}

/// A request that is to be protected before it can leave.
pub(crate) struct Unprotected {
    pub(crate) exchange: ExchangeId,
    /// The plain message, with Message ID 0.
    pub(crate) message: Vec<u8>,
    pub(crate) protection: Protection,
    pub(crate) peer: SocketAddr,
    /// The message in whose place it will be sent, if the request begins again.
    #[cfg(feature = "oscore")]
    pub(crate) instead_of: Option<MessageId>,
}

#[derive(Default)]
struct Peer {
    outstanding: usize,
    queue: VecDeque<ExchangeId>,
    pause: Pause,
    /// The instant for which a timer is set already.
    release_at: Option<Instant>,
    unanswered_bytes: u32,
}

pub(crate) struct Exchanges<C> {
    parameters: Transmission,
    limit: usize,
    table: HashMap<ExchangeId, Exchange<C>, KeyedHash>,
    by_token: HashMap<Token, ExchangeId, KeyedHash>,
    /// Those under the token of an observation, of which there may be one with each peer.
    shared: HashMap<(Token, PeerKey), ExchangeId, KeyedHash>,
    by_mid: HashMap<(PeerKey, u16), ExchangeId, KeyedHash>,
    peers: HashMap<PeerKey, Peer, KeyedHash>,
    beside: Beside,
    ready: VecDeque<ExchangeId>,
    /// Those that may leave as soon as they are protected.
    bare: VecDeque<ExchangeId>,
    timers: BinaryHeap<Reverse<(Instant, u64, Timer)>>,
    next_id: u64,
    next_serial: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Deadline(ExchangeId),
    Release(PeerKey),
}

/// Bytes of a message before its token.
const HEADER: usize = 4;

/// So many timers may be stale before they are cleared away.
const STALE: usize = 64;

/// So often a request is repeated because the server challenges it.
const CHALLENGES: u8 = 2;

impl<C> Exchange<C> {
    fn kind(&self) -> Type {
        match self.unicast.reliability {
            Reliability::Confirmable => Type::Con,
            Reliability::NonConfirmable => Type::Non,
        }
    }
}

/// Why a request to one peer has not left yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// NSTART: as many exchanges with this peer are open as are allowed.
    Nstart,
    /// PROBING_RATE: the peer did not respond before; this much time remains.
    ProbingRate(Duration),
}

impl<C: Clone> Exchanges<C> {
    pub(crate) fn new(parameters: Transmission, limit: usize, rng: &mut Rng) -> Self {
        Self {
            parameters,
            limit,
            table: HashMap::with_hasher(rng.keyed_hash()),
            by_token: HashMap::with_hasher(rng.keyed_hash()),
            shared: HashMap::with_hasher(rng.keyed_hash()),
            by_mid: HashMap::with_hasher(rng.keyed_hash()),
            peers: HashMap::with_hasher(rng.keyed_hash()),
            beside: Beside::default(),
            ready: VecDeque::new(),
            bare: VecDeque::new(),
            timers: BinaryHeap::new(),
            next_id: 1,
            next_serial: 0,
        }
    }

    /// Takes a request; it leaves as soon as NSTART and PROBING_RATE allow.
    pub(crate) fn start(
        &mut self,
        now: Instant,
        rng: &mut Rng,
        owner: Owner<C>,
        unicast: UnicastRequest,
    ) -> Result<ExchangeId, RequestError> {
        self.start_with(now, rng, owner, unicast, None)
    }

    /// Takes a request that has the token of an observation. Only one of these may be open with each peer.
    pub(crate) fn start_with(
        &mut self,
        now: Instant,
        rng: &mut Rng,
        owner: Owner<C>,
        unicast: UnicastRequest,
        shared: Option<Token>,
    ) -> Result<ExchangeId, RequestError> {
        if unicast.route.is_multicast() {
            return Err(RequestError::GroupDestination);
        }
        if !unicast.request.method.is_request() {
            return Err(RequestError::NotAMethod);
        }
        if unicast.route.destination.port() == 0 {
            return Err(RequestError::NoPort);
        }
        if self.table.len() >= self.limit {
            return Err(RequestError::TooMany);
        }
        let peer = peer_key(unicast.route.destination);
        let id = ExchangeId(self.next_id);
        let token = match shared {
            Some(token) if self.shared.contains_key(&(token, peer)) => {
                return Err(RequestError::TooMany);
            }
            Some(token) => {
                self.shared.insert((token, peer), id);
                token
            }
            None => {
                let token = self.fresh_token(rng);
                self.by_token.insert(token, id);
                token
            }
        };
        self.next_id += 1;
        let beside = owner.beside();
        self.table.insert(
            id,
            Exchange {
                owner,
                unicast,
                token,
                mid: None,
                sent: None,
                deadline: None,
                code: None,
                sealed: None,
                asked: None,
                hint: None,
                challenges: 0,
                #[cfg(feature = "oscore")]
                again: false,
            },
        );
        if let Some(of) = beside {
            self.stand_beside(of, id);
        } else {
            self.peers.entry(peer).or_default().queue.push_back(id);
            self.release(now, peer);
        }
        Ok(id)
    }

    /// A name for a request that is answered without an exchange.
    pub(crate) fn name(&mut self) -> ExchangeId {
        let id = ExchangeId(self.next_id);
        self.next_id += 1;
        id
    }

    /// Changes the parameters for exchanges that start from now on.
    pub(crate) fn set_parameters(&mut self, parameters: Transmission) {
        self.parameters = parameters;
    }

    /// Writes the next request that may leave.
    pub(crate) fn poll_transmit<I: Clone>(
        &mut self,
        now: Instant,
        rng: &mut Rng,
        mids: &mut MessageIds,
        confirmables: &mut Confirmables<Sent<I>>,
        out: &mut Vec<u8>,
    ) -> Option<Route> {
        while let Some(id) = self.ready.pop_front() {
            let Some(exchange) = self.table.get_mut(&id) else {
                continue;
            };
            let destination = exchange.unicast.route.destination;
            let mid = mids.next(now, rng, destination);
            let kind = exchange.kind();
            match &exchange.sealed {
                Some(sealed) => {
                    out.clear();
                    out.extend_from_slice(sealed);
                    if let Some(bytes) = out.get_mut(2..4) {
                        bytes.copy_from_slice(&mid.0.to_be_bytes());
                    }
                }
                None => write_request(out, kind, mid, exchange.token, &exchange.unicast.request),
            }
            exchange.code = Header::peek(out).map(|header| header.code);
            exchange.mid = Some(mid);
            exchange.sent = Some(now);
            self.by_mid.insert((peer_key(destination), mid.0), id);
            if let Some(peer) = self.peers.get_mut(&peer_key(destination))
                && !exchange.owner.is_for_unproven()
            {
                peer.unanswered_bytes = u32::try_from(out.len()).unwrap_or(u32::MAX);
            }
            match kind {
                Type::Con => confirmables.start(
                    now,
                    rng,
                    &self.parameters,
                    Sent::Request(id),
                    exchange.unicast.route,
                    out.clone(),
                ),
                _ => self.await_response(now, id),
            }
            return self.table.get(&id).map(|e| e.unicast.route);
        }
        None
    }

    /// The next request that may leave and is to be protected first.
    pub(crate) fn poll_bare(&mut self) -> Option<Unprotected> {
        while let Some(id) = self.bare.pop_front() {
            let Some(exchange) = self.table.get(&id) else {
                continue;
            };
            let mut message = Vec::new();
            write_request(
                &mut message,
                exchange.kind(),
                MessageId(0),
                exchange.token,
                &exchange.unicast.request,
            );
            return Some(Unprotected {
                exchange: id,
                message,
                protection: exchange.unicast.protection.clone(),
                peer: exchange.unicast.route.destination,
                #[cfg(feature = "oscore")]
                instead_of: None,
            });
        }
        None
    }

    /// A request is protected and may leave. Its Message ID is written when it does.
    pub(crate) fn sealed(&mut self, id: ExchangeId, bytes: Vec<u8>, asked: Option<Box<Asked>>) {
        if let Some(exchange) = self.table.get_mut(&id) {
            exchange.sealed = Some(bytes);
            exchange.asked = asked;
            self.ready.push_back(id);
        }
    }

    /// Is the exchange one whose responses must be protected?
    pub(crate) fn is_protected(&self, id: ExchangeId) -> bool {
        self.table
            .get(&id)
            .is_some_and(|e| !e.unicast.protection.is_none())
    }

    /// How a request is protected.
    pub(crate) fn protection(&self, id: ExchangeId) -> Option<&Protection> {
        self.table.get(&id).map(|e| &e.unicast.protection)
    }

    /// What opens the responses to a protected request.
    pub(crate) fn asked_mut(&mut self, id: ExchangeId) -> Option<&mut Asked> {
        self.table.get_mut(&id)?.asked.as_deref_mut()
    }

    /// Something came to a protected request that is not proven to answer it: an unprotected response, or blocks that do not
    /// make one. It is a hint. The request is not sent again if that acknowledges it, and the exchange goes on.
    pub(crate) fn hint(&mut self, id: ExchangeId, failure: Failure) {
        if let Some(exchange) = self.table.get_mut(&id) {
            exchange.hint = Some(failure);
        }
    }

    /// What is known of a protected request to which no response came in time.
    pub(crate) fn hinted(&self, id: ExchangeId) -> Option<Failure> {
        self.table.get(&id)?.hint
    }

    /// Repeats the request with an Echo value, as a new message with a new token, in the same place of its peer's queue.
    /// False: it has been repeated too often, or is no more.
    pub(crate) fn repeat_with_echo(
        &mut self,
        rng: &mut Rng,
        id: ExchangeId,
        echo: &[u8],
        protection: Protection,
    ) -> bool {
        let fresh = self.fresh_token(rng);
        let Some(exchange) = self.table.get_mut(&id) else {
            return false;
        };
        if exchange.challenges >= CHALLENGES {
            return false;
        }
        exchange.challenges += 1;
        exchange
            .unicast
            .request
            .options
            .set(OptionNumber::ECHO, echo);
        exchange.unicast.protection = protection;
        // An observation keeps its token, so that it has one entry in the server's list of observers (RFC 7641 section 3.1).
        let own_token = !matches!(exchange.owner, Owner::Observation(_));
        if own_token {
            self.by_token.remove(&exchange.token);
            exchange.token = fresh;
            self.by_token.insert(fresh, id);
        }
        if let Some(mid) = exchange.mid.take() {
            let peer = peer_key(exchange.unicast.route.destination);
            self.by_mid.remove(&(peer, mid.0));
        }
        exchange.sent = None;
        exchange.deadline = None;
        exchange.asked = None;
        exchange.sealed = None;
        #[cfg(feature = "oscore")]
        {
            exchange.again = false;
        }
        match !exchange.unicast.protection.is_none() {
            true => self.bare.push_back(id),
            false => self.ready.push_back(id),
        }
        true
    }

    /// The peer acknowledged the request without a response: a separate response follows.
    pub(crate) fn acknowledged(&mut self, now: Instant, id: ExchangeId) {
        self.await_response(now, id);
    }

    /// Finds the exchange of a response: by its token, from the peer that was asked, to the socket that asked (RFC 7252 section 5.3.2).
    pub(crate) fn matching(&self, path: &Path, message: &Message<'_>) -> Option<ExchangeId> {
        let id = self.under(message.token(), path.peer)?;
        let exchange = self.table.get(&id)?;
        let route = &exchange.unicast.route;
        let same = exchange.sent.is_some()
            && route.socket == path.socket
            && same_peer(route.destination, path.peer);
        // A piggybacked response must acknowledge the very message that asked.
        let acknowledges =
            message.kind() != Type::Ack || exchange.mid == Some(message.message_id());
        // A notification is no answer to a deregistration under its token.
        let passes_by = message.kind() != Type::Ack
            && matches!(exchange.owner, Owner::Observation(_))
            && message.option(OptionNumber::OBSERVE).is_some()
            && exchange.unicast.request.options.get(OptionNumber::OBSERVE) == Some(&[1]);
        (same && acknowledges && !passes_by).then_some(id)
    }

    /// The exchange with this token, or with this peer under the token of an observation.
    fn under(&self, token: Token, peer: SocketAddr) -> Option<ExchangeId> {
        let own = self.by_token.get(&token);
        own.or_else(|| self.shared.get(&(token, peer_key(peer))))
            .copied()
    }

    /// For which member of which observation an exchange is.
    pub(crate) fn observer(&self, id: ExchangeId) -> Option<Observer> {
        match self.table.get(&id)?.owner {
            Owner::Observation(observer) => Some(observer),
            _ => None,
        }
    }

    /// The exchange whose request had this Message ID.
    pub(crate) fn sent_with(&self, peer: SocketAddr, mid: MessageId) -> Option<ExchangeId> {
        self.by_mid.get(&(peer_key(peer), mid.0)).copied()
    }

    /// The Message ID under which a request was sent, and to whom.
    pub(crate) fn sent_as(&self, id: ExchangeId) -> Option<(SocketAddr, MessageId)> {
        let exchange = self.table.get(&id)?;
        Some((exchange.unicast.route.destination, exchange.mid?))
    }

    /// Ends an exchange. With `responded`, the peer is known to respond; otherwise what was sent to it counts against PROBING_RATE.
    pub(crate) fn end(
        &mut self,
        now: Instant,
        id: ExchangeId,
        responded: bool,
    ) -> Option<Ended<C>> {
        let exchange = self.table.remove(&id)?;
        let destination = peer_key(exchange.unicast.route.destination);
        match exchange.owner {
            Owner::Observation(_) => self.shared.remove(&(exchange.token, destination)),
            _ => self.by_token.remove(&exchange.token),
        };
        if let Some(mid) = exchange.mid {
            self.by_mid.remove(&(destination, mid.0));
        }
        if let Some(peer) = self.peers.get_mut(&destination) {
            match exchange.sent {
                Some(sent) => {
                    peer.outstanding = peer.outstanding.saturating_sub(1);
                    if exchange.owner.is_for_unproven() {
                        // Says nothing about the peer.
                    } else if responded {
                        peer.pause.responded();
                    } else {
                        let pause = per_rate(peer.unanswered_bytes, self.parameters.probing_rate());
                        peer.pause.silent(sent + pause);
                    }
                }
                None if self.beside.waits(id) => {}
                None if peer.queue.contains(&id) => peer.queue.retain(|other| *other != id),
                None => {
                    self.ready.retain(|other| *other != id);
                    self.bare.retain(|other| *other != id);
                    peer.outstanding = peer.outstanding.saturating_sub(1);
                }
            }
        }
        if let Some(of) = exchange.owner.beside() {
            self.no_more_beside(of, id);
        }
        self.release(now, destination);
        self.forget_stale_timers();
        Some(Ended {
            id,
            owner: exchange.owner,
            request_sent: exchange.sent,
            asked: exchange.asked,
            unicast: exchange.unicast,
        })
    }

    /// The next exchange whose response did not come in time.
    pub(crate) fn poll_timeout(&mut self, now: Instant) -> Option<ExchangeId> {
        while let Some(Reverse((due, _, timer))) = self.timers.peek().copied() {
            if due > now {
                return None;
            }
            self.timers.pop();
            match timer {
                Timer::Release(peer) => self.release(now, peer),
                Timer::Deadline(id) => {
                    if self.table.get(&id).is_some_and(|e| e.deadline == Some(due)) {
                        return Some(id);
                    }
                }
            }
        }
        None
    }

    /// When [`poll_timeout`](Self::poll_timeout) has work next.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((due, _, _))| *due)
    }

    /// Why this request has not left yet.
    pub(crate) fn waiting(&self, now: Instant, id: ExchangeId) -> Option<Waiting> {
        let exchange = self.table.get(&id)?;
        let peer = self
            .peers
            .get(&peer_key(exchange.unicast.route.destination))?;
        if exchange.sent.is_some() || !peer.queue.contains(&id) {
            return None;
        }
        let pause = peer.pause.left(now).map(Waiting::ProbingRate);
        pause.or(Some(Waiting::Nstart))
    }

    /// The exchange whose request begins with the bytes that `quote` begins with: sent from this socket to this
    /// destination, with this method, Message ID and token, all of it quoted.
    pub(crate) fn quoted(
        &self,
        socket: SocketId,
        destination: SocketAddr,
        quote: &[u8],
    ) -> Option<ExchangeId> {
        let header = Header::peek(quote)?;
        let token = quote
            .get(HEADER..)?
            .get(..usize::from(header.token_length))
            .and_then(Token::new)?;
        let id = self.under(token, destination)?;
        let exchange = self.table.get(&id)?;
        let route = &exchange.unicast.route;
        let same = exchange.mid == Some(header.message_id)
            && exchange.code == Some(header.code)
            && route.socket == socket
            && same_peer(route.destination, destination);
        same.then_some(id)
    }

    /// Exchanges towards this destination that have been sent and are not over.
    pub(crate) fn sent_to(&self, destination: SocketAddr) -> Vec<ExchangeId> {
        self.table
            .iter()
            .filter(|(_, e)| {
                e.sent.is_some() && same_peer(e.unicast.route.destination, destination)
            })
            .map(|(id, _)| *id)
            .collect()
    }

    /// Exchanges that are protected in this security group.
    #[cfg(feature = "oscore")]
    pub(crate) fn protected_in(&self, group: crate::security::GroupId) -> Vec<ExchangeId> {
        let mut found: Vec<_> = self
            .table
            .iter()
            .filter(|(_, exchange)| exchange.unicast.protection.is_in(group))
            .map(|(id, _)| *id)
            .collect();
        found.sort_unstable();
        found
    }

    /// Open exchanges.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    fn await_response(&mut self, now: Instant, id: ExchangeId) {
        let wait = self.parameters.max_transmit_wait();
        if let Some(exchange) = self.table.get_mut(&id) {
            let deadline = now + exchange.unicast.response_timeout.unwrap_or(wait);
            exchange.deadline = Some(deadline);
            self.schedule(deadline, Timer::Deadline(id));
        }
    }

    /// Lets as many waiting requests go as NSTART and PROBING_RATE allow.
    fn release(&mut self, now: Instant, destination: PeerKey) {
        let nstart = self.parameters.nstart();
        let Some(peer) = self.peers.get_mut(&destination) else {
            return;
        };
        let remembered = peer.pause.remembered(now);
        // Also with an empty queue: the pause is remembered for as long as it lasts, then the peer is forgotten.
        if let Some(due) = remembered
            && peer.release_at.replace(due) != Some(due)
        {
            self.next_serial += 1;
            let timer = Timer::Release(destination);
            self.timers.push(Reverse((due, self.next_serial, timer)));
        }
        if peer.pause.left(now).is_some() {
            return;
        }
        while peer.outstanding < nstart {
            let Some(id) = peer.queue.pop_front() else {
                break;
            };
            peer.outstanding += 1;
            let protected = |e: &Exchange<C>| !e.unicast.protection.is_none();
            match self.table.get(&id).is_some_and(protected) {
                true => self.bare.push_back(id),
                false => self.ready.push_back(id),
            }
        }
        if peer.outstanding == 0 && peer.queue.is_empty() && remembered.is_none() {
            self.peers.remove(&destination);
        }
    }

    fn schedule(&mut self, due: Instant, timer: Timer) {
        self.next_serial += 1;
        self.timers.push(Reverse((due, self.next_serial, timer)));
    }

    /// Exchanges that are over leave their timers behind; at thousands of requests a second these would grow in number.
    fn forget_stale_timers(&mut self) {
        let Self {
            timers,
            table,
            peers,
            ..
        } = self;
        if timers.len() <= 2 * (table.len() + peers.len()) + STALE {
            return;
        }
        timers.retain(|Reverse((due, _, timer))| match timer {
            Timer::Deadline(id) => table.get(id).is_some_and(|e| e.deadline == Some(*due)),
            Timer::Release(peer) => peers.get(peer).is_some_and(|p| p.release_at == Some(*due)),
        });
    }

    /// Eight random bytes that no open exchange has: an off-path attacker cannot guess them.
    fn fresh_token(&mut self, rng: &mut Rng) -> Token {
        loop {
            let mut bytes = [0; 8];
            rng.fill(&mut bytes);
            if let Some(token) = Token::new(&bytes)
                && !self.by_token.contains_key(&token)
            {
                return token;
            }
        }
    }
}

/// How long `bytes` take at `rate` bytes per second.
pub(crate) fn per_rate(bytes: u32, rate: u32) -> Duration {
    Duration::from_micros(u64::from(bytes) * 1_000_000 / u64::from(rate.max(1)))
}

/// Writes a request into `out`, replacing what is there; leaves it empty if an option value cannot be encoded.
pub(crate) fn write_request(
    out: &mut Vec<u8>,
    kind: Type,
    mid: MessageId,
    token: Token,
    request: &Request,
) {
    out.clear();
    out.resize(encoded_bound(&request.options, &request.payload), 0);
    let written = Writer::new(out, kind, request.method, mid, token).and_then(|mut writer| {
        request.options.write(&mut writer)?;
        if !request.payload.is_empty() {
            writer.payload(&request.payload)?;
        }
        Ok(writer.finish())
    });
    out.truncate(written.unwrap_or(0));
}

#[cfg(feature = "oscore")]
mod again;
mod beside;
#[cfg(feature = "oscore")]
mod outer;
mod pause;
#[cfg(test)]
mod tests;
