//! Answers on their way out: deferred, delayed by leisure, piggybacked, separate, or none at all.

use alloc::boxed::Box;
use alloc::vec::Vec;
#[cfg(feature = "oscore")]
use core::net::SocketAddr;
use core::time::Duration;

use antiphon_wire::{Code, Message, MessageId, OptionNumber, Token, Type, Writer};

use super::notify::Observing;
use super::{Endpoint, Incoming, Origin, Received, Separate, SocketInfo};
use crate::event::{Event, IncomingId};
use crate::message::{Request, Response, encoded_bound};
use crate::path::{Path, Route, SocketId};
use crate::reliability::Sent;
use crate::server::{Deferred, Disposition, SilenceReason, encoded_len};
use crate::time::Instant;

/// Whom an answer goes to, and what protects it.
pub(super) struct Asker {
    pub(super) origin: Origin,
    /// For a protected request: what its answer is protected with.
    pub(super) received: Option<Box<Received>>,
    /// The answer is a challenge: it gets its Echo value when it is protected.
    pub(super) challenge: bool,
    /// What the answer has to do with an observation.
    pub(super) observing: Observing,
    /// For a notification: the Sender ID of this endpoint in those before.
    #[cfg(feature = "oscore")]
    pub(super) own: Option<antiphon_oscore::Kid>,
}

impl Asker {
    /// What is kept of a protected request beside it, at most: what protects the answer.
    #[cfg(feature = "oscore")]
    pub(super) const KEPT: usize = size_of::<Received>() + 1_024;
    #[cfg(not(feature = "oscore"))]
    pub(super) const KEPT: usize = 0;
}

impl From<Origin> for Asker {
    fn from(origin: Origin) -> Self {
        Self {
            origin,
            received: None,
            challenge: false,
            observing: Observing::No,
            #[cfg(feature = "oscore")]
            own: None,
        }
    }
}

/// Who finds no place is told to try again after so many seconds.
const BUSY: u32 = 5;

/// A group answer that waits for its leisure.
pub(super) struct Pending {
    pub(super) asker: Asker,
    pub(super) response: Response,
}

impl Endpoint {
    pub(super) fn defer(
        &mut self,
        now: Instant,
        asker: Asker,
        deferred: Deferred,
        message: &Message<'_>,
    ) {
        if self.incoming.len() >= self.config.limits.incoming
            || self.are_many_notifications(&asker)
            || !self.incoming_shares.take(asker.origin.path.peer)
        {
            self.counters.deferred_dropped += 1;
            if let Observing::Notification(turn) = asker.observing {
                return self.put_off(now, asker, turn);
            }
            self.end_of(now, &asker);
            return self.refuse_now(now, asker);
        }
        self.serial += 1;
        let id = IncomingId(self.serial);
        self.incoming.insert(
            id,
            Incoming {
                context: deferred.context,
                acknowledge_at: (asker.origin.kind == Type::Con)
                    .then(|| now + self.config.limits.separate_after),
                expires: now + self.config.limits.handler_patience,
                asker,
            },
        );
        let assembled = deferred.assembled.as_deref();
        let assembled = assembled.and_then(|bytes| Message::parse(bytes).ok());
        self.events.push_back(Event::Request {
            incoming: id,
            resource: deferred.resource,
            request: Request::from(assembled.as_ref().unwrap_or(message)),
            arrival: deferred.arrival,
        });
    }

    /// Half of the places are left to requests: a notification can wait, and they are refused.
    fn are_many_notifications(&self, asker: &Asker) -> bool {
        let is_one = |asker: &Asker| matches!(asker.observing, Observing::Notification(_));
        is_one(asker)
            && self
                .incoming
                .values()
                .filter(|other| is_one(&other.asker))
                .count()
                >= self.config.limits.incoming.div_ceil(2)
    }

    pub(super) fn forget_incoming(&mut self, id: IncomingId) -> Option<Incoming> {
        let incoming = self.incoming.remove(&id)?;
        self.incoming_shares
            .give_back(incoming.asker.origin.path.peer);
        Some(incoming)
    }

    /// Does with a response what policy has decided.
    pub(super) fn dispose(
        &mut self,
        now: Instant,
        asker: Asker,
        incoming: Option<IncomingId>,
        disposition: Disposition,
        response: &mut Response,
    ) {
        if let Observing::Notification(turn) = asker.observing {
            return self.dispose_notification(now, asker, turn, &disposition, response);
        }
        match disposition {
            Disposition::Respond { leisure, .. } if asker.origin.path.is_multicast() => {
                self.answer_group(now, asker, leisure, response);
            }
            Disposition::Respond { .. } => self.answer(now, asker, incoming, response),
            Disposition::Challenge { leisure } => self.challenge(now, asker, leisure),
            Disposition::Silence(reason) => {
                self.stay_silent(&asker.origin, reason);
                self.answered(now, asker);
            }
            Disposition::Deferred(_) => {} // `finish` defers nothing
        }
    }

    /// Sends the 4.01 with an Echo value, which protection puts in. Nobody whose request was not verified is challenged,
    /// and nobody more often than the budget for its address allows.
    pub(super) fn challenge(&mut self, now: Instant, asker: Asker, leisure: Duration) {
        if asker.received.is_none() || !self.may_challenge(now, &asker) {
            self.counters.silenced += 1;
            return;
        }
        let asker = Asker {
            challenge: true,
            ..asker
        };
        let response = Response::new(Code::UNAUTHORIZED);
        match asker.origin.path.is_multicast() {
            true => self.answer_group(now, asker, leisure, &response),
            false => self.answer(now, asker, None, &response),
        }
    }

    #[cfg(not(feature = "oscore"))]
    fn may_challenge(&mut self, _now: Instant, _asker: &Asker) -> bool {
        false
    }

    pub(super) fn stay_silent(&mut self, origin: &Origin, reason: SilenceReason) {
        self.counters.silenced += 1;
        if origin.path.is_multicast() {
            return;
        }
        match origin.kind {
            // A Confirmable request is acknowledged even if its response is not wanted (RFC 7967).
            Type::Con if !origin.acknowledged => self.acknowledge(origin),
            // A message that is rejected may be reset, if it came by unicast (RFC 7252 section 4.3).
            Type::Non if reason.rejects() => self.send_empty(&origin.path, Type::Rst, origin.mid),
            _ => {}
        }
    }

    /// There is no place for a request now: an error of our own making, and silence for a group.
    fn refuse_now(&mut self, now: Instant, asker: Asker) {
        if asker.origin.path.is_multicast() {
            self.counters.silenced += 1;
            return;
        }
        let mut response = Response::new(Code::SERVICE_UNAVAILABLE);
        response.options.push_uint(OptionNumber::MAX_AGE, BUSY);
        self.answer(now, asker, None, &response);
    }

    pub(super) fn answer_group(
        &mut self,
        now: Instant,
        asker: Asker,
        leisure: Duration,
        response: &Response,
    ) {
        if encoded_len(asker.origin.token.len(), response) > self.config.limits.datagram {
            // It cannot be sent, and an error of our own making is silence for a group.
            self.counters.too_large += 1;
            return self.end_of(now, &asker);
        }
        if leisure.is_zero() {
            return self.send_group_answer(now, asker, response);
        }
        if self.pending.len() >= self.config.limits.pending_answers
            || !self.pending_shares.take(asker.origin.path.peer)
        {
            self.counters.answers_dropped += 1;
            return self.end_of(now, &asker);
        }
        self.serial += 1;
        let response = response.clone();
        let pending = Box::new(Pending { asker, response });
        self.pending.insert((now + leisure, self.serial), pending);
    }

    /// An answer whose leisure is over. This is the moment at which it is protected.
    pub(super) fn send_group_answer(&mut self, now: Instant, asker: Asker, response: &Response) {
        if asker.received.is_some() {
            return self.protect_answer(now, asker, None, response);
        }
        let route = self.way_back(&asker.origin.path);
        let mid = self.send_non(now, route, asker.origin.token, response);
        self.first_answer_sent(asker.observing, mid);
    }

    #[cfg(not(feature = "oscore"))]
    fn protect_answer(&mut self, _: Instant, _: Asker, _: Option<IncomingId>, _: &Response) {}

    /// Piggybacked, separate, or Non-confirmable as the request was (RFC 7252 section 5.2).
    pub(super) fn answer(
        &mut self,
        now: Instant,
        asker: Asker,
        incoming: Option<IncomingId>,
        response: &Response,
    ) {
        if asker.received.is_some() {
            return self.protect_answer(now, asker, incoming, response);
        }
        let origin = &asker.origin;
        let route = self.way_back(&origin.path);
        // A separate response is Confirmable as its request was, as long as there is room to repeat it.
        if origin.kind == Type::Non || (origin.acknowledged && !self.room_to_repeat(&route)) {
            let mid = self.send_non(now, route, origin.token, response);
            return self.first_answer_sent(asker.observing, mid);
        }
        if origin.acknowledged {
            let mid = self.message_ids.next(now, &mut self.rng, route.destination);
            let mut bytes = Vec::new();
            self.write(&mut bytes, Type::Con, mid, origin.token, response);
            if let Some(incoming) = incoming {
                let observer = asker.observing.registered();
                let answer = Separate::Answer(incoming, route.destination, observer);
                let owner = Sent::Response(answer);
                self.confirmables.start(
                    now,
                    &mut self.rng,
                    &self.config.transmission,
                    owner,
                    route,
                    bytes.clone(),
                );
            }
            self.outbox.push(route, |out| out.extend_from_slice(&bytes));
            return;
        }
        let limit = self.config.limits.datagram;
        let mut fits = true;
        let bytes = self.outbox.push(route, |out| {
            fits = append(out, limit, Type::Ack, origin.mid, origin.token, response);
        });
        if let Some(record) = origin.record {
            self.dedup.store_reply(record, bytes);
        }
        self.counters.too_large += u64::from(!fits);
    }

    /// Takes a place among the Confirmable messages that wait, if there is one and the peer has not its share already.
    pub(super) fn room_to_repeat(&mut self, route: &Route) -> bool {
        self.confirmables.len() < self.config.limits.confirmables
            && self.separate_shares.take(route.destination)
    }

    pub(super) fn send_non(
        &mut self,
        now: Instant,
        route: Route,
        token: Token,
        response: &Response,
    ) -> MessageId {
        let mid = self.message_ids.next(now, &mut self.rng, route.destination);
        let limit = self.config.limits.datagram;
        let mut fits = true;
        self.outbox.push(route, |out| {
            fits = append(out, limit, Type::Non, mid, token, response);
        });
        self.counters.too_large += u64::from(!fits);
        mid
    }

    pub(super) fn write(
        &mut self,
        out: &mut Vec<u8>,
        kind: Type,
        mid: MessageId,
        token: Token,
        response: &Response,
    ) {
        if !append(out, self.config.limits.datagram, kind, mid, token, response) {
            self.counters.too_large += 1;
        }
    }

    pub(super) fn acknowledge(&mut self, origin: &Origin) {
        self.send_empty(&origin.path, Type::Ack, origin.mid);
        if let Some(record) = origin.record {
            self.dedup
                .store_reply(record, &empty(Type::Ack, origin.mid));
        }
    }

    pub(super) fn acknowledge_slow_handlers(&mut self, now: Instant) {
        let due: Vec<IncomingId> = self
            .incoming
            .iter()
            .filter(|(_, i)| i.acknowledge_at.is_some_and(|at| at <= now) || i.expires <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let Some(incoming) = self.incoming.get_mut(&id) else {
                continue;
            };
            if incoming.acknowledge_at.take().is_some_and(|at| at <= now) {
                incoming.asker.origin.acknowledged = true;
                let origin = incoming.asker.origin;
                self.acknowledge(&origin);
            }
            if self.incoming.get(&id).is_some_and(|i| i.expires <= now) {
                if let Some(forgotten) = self.forget_incoming(id) {
                    self.end_of(now, &forgotten.asker);
                }
                self.counters.deferred_expired += 1;
            }
        }
    }

    /// The unicast address that answers come from.
    #[cfg(feature = "oscore")]
    pub(super) fn own_address(&self, path: &Path) -> Option<SocketAddr> {
        let route = self.way_back(path);
        let bound = self.sockets.get(&route.socket)?.local;
        let ip = route.source.unwrap_or(bound.ip());
        Some(SocketAddr::new(ip, bound.port()))
    }

    /// The way back to where a request came from. A response never has a multicast source: one to a group request leaves from the unicast socket that stands for the group's socket.
    pub(super) fn way_back(&self, path: &Path) -> Route {
        if !path.is_multicast() {
            return Route {
                socket: path.socket,
                source: Some(path.local.ip()),
                interface: path.interface,
                destination: path.peer,
            };
        }
        let respond_from = self
            .sockets
            .get(&path.socket)
            .and_then(|info| info.respond_from)
            .or_else(|| self.unicast_socket_for(path))
            .unwrap_or(path.socket);
        Route {
            socket: respond_from,
            source: None,
            interface: path.interface,
            destination: path.peer,
        }
    }

    /// A unicast socket of the same family, best one with the group's port (GC-3.1-20).
    pub(super) fn unicast_socket_for(&self, path: &Path) -> Option<SocketId> {
        let fits = |info: &SocketInfo| {
            info.local.is_ipv4() == path.local.is_ipv4()
                && !crate::path::is_group_address(info.local.ip())
        };
        let same_port = |info: &SocketInfo| info.local.port() == path.local.port();
        self.sockets
            .iter()
            .find(|(_, info)| fits(info) && same_port(info))
            .or_else(|| self.sockets.iter().find(|(_, info)| fits(info)))
            .map(|(id, _)| *id)
    }

    pub(super) fn send_empty(&mut self, path: &Path, kind: Type, mid: MessageId) {
        let route = self.way_back(path);
        self.outbox
            .push(route, |out| out.extend_from_slice(&empty(kind, mid)));
    }
}

/// An empty message: four bytes.
pub(super) fn empty(kind: Type, mid: MessageId) -> [u8; 4] {
    let kind: u8 = match kind {
        Type::Con => 0,
        Type::Non => 1,
        Type::Ack => 2,
        Type::Rst => 3,
    };
    let [high, low] = mid.0.to_be_bytes();
    [0x40 | kind << 4, 0, high, low]
}

/// Appends an encoded response. One that does not fit into `limit` bytes becomes 5.00 with a diagnostic, and false is returned.
pub(super) fn append(
    out: &mut Vec<u8>,
    limit: usize,
    kind: Type,
    mid: MessageId,
    token: Token,
    response: &Response,
) -> bool {
    let start = out.len();
    let bound = encoded_bound(&response.options, &response.payload);
    out.resize(start + bound, 0);
    let written = out.get_mut(start..).and_then(|buffer| {
        let mut writer = Writer::new(buffer, kind, response.code, mid, token).ok()?;
        response.options.write(&mut writer).ok()?;
        if !response.payload.is_empty() {
            writer.payload(&response.payload).ok()?;
        }
        Some(writer.finish())
    });
    match written {
        Some(len) if len <= limit => {
            out.truncate(start + len);
            true
        }
        _ => {
            out.truncate(start);
            let mut failed = Response::new(Code::INTERNAL_SERVER_ERROR);
            failed.payload.extend_from_slice(b"response too large");
            append(out, usize::MAX, kind, mid, token, &failed);
            false
        }
    }
}
