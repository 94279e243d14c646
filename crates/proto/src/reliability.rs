//! Confirmable messages on their way: retransmission with back-off (RFC 7252 section 4.2).
//!
//! Both requests and separate responses are sent this way. What is sent again is the same bytes, always. A protected request
//! that its receiver would refuse by now is another message in the place of the first (`endpoint::again`).

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::SocketAddr;
use core::time::Duration;

use antiphon_wire::{Header, MessageId};
use hashbrown::HashMap;

use crate::config::Transmission;
use crate::event::ExchangeId;
use crate::path::{PeerKey, Route, SocketId, peer_key};
use crate::rng::{KeyedHash, Rng};
use crate::time::Instant;

/// Confirmable messages that wait for their acknowledgement. `O` says who sent one.
pub(crate) struct Confirmables<O> {
    waiting: HashMap<Key, Confirmable<O>, KeyedHash>,
    timers: BinaryHeap<Reverse<(Instant, u64, Key)>>,
    next_serial: u64,
}

/// Who waits for an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent<I> {
    /// A request.
    Request(ExchangeId),
    /// A separate response to this incoming request.
    Response(I),
}

/// Message IDs are a peer's own.
type Key = (PeerKey, u16);

struct Confirmable<O> {
    owner: O,
    route: Route,
    bytes: Vec<u8>,
    timeout: Duration,
    due: Instant,
    serial: u64,
    left: u32,
}

/// What became due.
pub(crate) enum Due<O> {
    /// The message is to be sent again.
    Retransmit(O, Route, Vec<u8>),
    /// MAX_RETRANSMIT is exhausted.
    GivenUp(O),
}

/// Version, type, token length, code and Message ID.
const HEADER: usize = 4;
/// So many timers may be stale before they are cleared away.
const STALE: usize = 64;

impl<O> Confirmables<O> {
    /// The memory for so many messages of at most `datagram` bytes, at most.
    pub(crate) const fn memory_total(messages: usize, datagram: usize) -> usize {
        messages * (datagram + 4 * (size_of::<(Key, Confirmable<O>)>() + 1))
            + 3 * (2 * messages + STALE) * size_of::<Reverse<(Instant, u64, Key)>>()
            + 256
    }
}

impl<O: Clone> Confirmables<O> {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Self {
            waiting: HashMap::with_hasher(rng.keyed_hash()),
            timers: BinaryHeap::new(),
            next_serial: 0,
        }
    }

    /// Starts the retransmission of a message that is sent for the first time now.
    ///
    /// The first timeout is random between ACK_TIMEOUT and ACK_TIMEOUT * ACK_RANDOM_FACTOR.
    pub(crate) fn start(
        &mut self,
        now: Instant,
        rng: &mut Rng,
        parameters: &Transmission,
        owner: O,
        route: Route,
        bytes: Vec<u8>,
    ) {
        let spread = parameters
            .ack_timeout_max()
            .saturating_sub(parameters.ack_timeout());
        let timeout = parameters
            .ack_timeout()
            .saturating_add(rng.duration_up_to(spread));
        let mid = Header::peek(&bytes).map_or(0, |header| header.message_id.0);
        let key = (peer_key(route.destination), mid);
        let serial = self.next_serial;
        self.next_serial += 1;
        let due = now + timeout;
        self.timers.push(Reverse((due, serial, key)));
        self.waiting.insert(
            key,
            Confirmable {
                owner,
                route,
                bytes,
                timeout,
                due,
                serial,
                left: parameters.max_retransmit(),
            },
        );
    }

    /// An ACK or RST from `peer` for `mid` came in: whose message was it? It is sent no more.
    pub(crate) fn settle(&mut self, peer: SocketAddr, mid: MessageId) -> Option<O> {
        let settled = self.waiting.remove(&(peer_key(peer), mid.0))?;
        self.bound_timers();
        self.forget_stale_timers();
        Some(settled.owner)
    }

    /// Another message takes the place of that one: it is sent as often as that one would have been, at the same times.
    #[cfg(all(feature = "client", feature = "oscore"))]
    pub(crate) fn replace(&mut self, peer: SocketAddr, mid: MessageId, bytes: Vec<u8>) {
        let peer = peer_key(peer);
        let (Some(entry), Some(header)) =
            (self.waiting.remove(&(peer, mid.0)), Header::peek(&bytes))
        else {
            return;
        };
        let key = (peer, header.message_id.0);
        self.timers.push(Reverse((entry.due, entry.serial, key)));
        self.waiting.insert(key, Confirmable { bytes, ..entry });
        self.bound_timers();
        self.forget_stale_timers();
    }

    /// Whose message begins with the bytes that `quote` begins with, up to and with the token? Sent from this socket to this
    /// peer, and not acknowledged.
    pub(crate) fn quoted(&self, socket: SocketId, peer: SocketAddr, quote: &[u8]) -> Option<O> {
        let header = Header::peek(quote)?;
        let sent = self.waiting.get(&(peer_key(peer), header.message_id.0))?;
        let length = HEADER + usize::from(header.token_length);
        let same =
            sent.route.socket == socket && sent.bytes.get(..length)? == quote.get(..length)?;
        same.then(|| sent.owner.clone())
    }

    /// The next message that is due at `now`.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Due<O>> {
        let Reverse((due, serial, key)) = self.timers.peek().copied()?;
        if due > now {
            return None;
        }
        self.timers.pop();
        let entry = self.waiting.get_mut(&key)?;
        let result = if entry.left == 0 {
            self.waiting.remove(&key).map(|c| Due::GivenUp(c.owner))
        } else {
            entry.left -= 1;
            entry.timeout = entry.timeout.saturating_mul(2);
            entry.due = now + entry.timeout;
            self.timers.push(Reverse((entry.due, serial, key)));
            let owner = entry.owner.clone();
            Some(Due::Retransmit(owner, entry.route, entry.bytes.clone()))
        };
        self.forget_stale_timers();
        result
    }

    /// When [`poll`](Self::poll) has something next.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((due, _, _))| *due)
    }

    /// The timers of settled messages behind one that waits long would grow in number.
    fn bound_timers(&mut self) {
        if self.timers.len() > 2 * self.waiting.len() + STALE {
            let waiting = &self.waiting;
            self.timers.retain(|Reverse((_, serial, key))| {
                waiting.get(key).is_some_and(|c| c.serial == *serial)
            });
        }
    }

    /// Keeps the first timer one of a message that still waits: settled messages leave theirs behind.
    fn forget_stale_timers(&mut self) {
        while let Some(Reverse((due, serial, key))) = self.timers.peek().copied() {
            if self
                .waiting
                .get(&key)
                .is_some_and(|c| c.serial == serial && c.due == due)
            {
                return;
            }
            self.timers.pop();
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(all(feature = "client", feature = "oscore"))]
impl<I> Confirmables<Sent<I>> {
    /// The message with which this request was sent to `peer`, if it waits for its acknowledgement.
    pub(crate) fn unsettled(
        &self,
        id: ExchangeId,
        peer: SocketAddr,
        mid: MessageId,
    ) -> Option<(Route, &[u8])> {
        let entry = self.waiting.get(&(peer_key(peer), mid.0))?;
        matches!(entry.owner, Sent::Request(owner) if owner == id)
            .then_some((entry.route, &*entry.bytes))
    }
}

#[cfg(test)]
mod tests;
