//! Notifications (RFC 7641 section 4): the request of an observer is asked anew, and the answer is sent as one more response.
//!
//! Whose turn it is, and whether Confirmably, is decided in `server::observe`. What protects the notifications of an
//! observer is with the answer that is being made, and comes back when that has left; so there is one at a time.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use antiphon_wire::{Header, Message, MessageId, Token, Type};

use super::answer::{Asker, append};
use super::{Endpoint, Origin, Separate};
use crate::failure::{Failure, SendError};
use crate::identity::{Sender, Standing};
use crate::message::Response;
use crate::path::{Path, SocketId};
use crate::reliability::Sent;
use crate::resource::ResourceId;
#[cfg(feature = "oscore")]
use crate::security::NotProtected;
use crate::server::{
    DEREGISTER, Disposition, Kept, ObserverId, SilenceReason, Taken, Turn, is_success, observe_of,
};
use crate::time::Instant;

/// What an answer has to do with an observation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Observing {
    /// Nothing.
    #[default]
    No,
    /// It makes an observer.
    First(ObserverId),
    /// It is a notification.
    Notification(Turn),
}

impl Observing {
    /// The observer that the answer makes.
    pub(super) const fn registered(self) -> Option<ObserverId> {
        match self {
            Self::First(observer) => Some(observer),
            Self::No | Self::Notification(_) => None,
        }
    }
}

/// A notification that could not be made is tried again after this long.
const AGAIN: Duration = Duration::from_secs(1);
/// One that finds a table full, after this long.
const CROWDED: Duration = Duration::from_millis(100);

impl Endpoint {
    /// The state of a resource has changed: all its observers are notified of the newest state. Says how many they are.
    ///
    /// Each gets it as soon as its pace and the leisure of its group allow; of several changes until then it gets the
    /// last. A successful PUT, POST, DELETE, PATCH or iPATCH of the resource itself needs no such call.
    pub fn changed(&mut self, now: Instant, id: ResourceId) -> usize {
        let observers = self.server.changed(id);
        self.notify_observers(now);
        observers
    }

    /// Notifies those whose turn it is.
    pub(super) fn notify_observers(&mut self, now: Instant) {
        let nstart = self.config.transmission.nstart();
        let ack_timeout = self.config.transmission.ack_timeout();
        while self.server.observers().has_turns(now) {
            self.server.observers_mut().set_ack_timeout(ack_timeout);
            self.withdraw_overdue(now);
            let Some(turn) = self.server.observers_mut().poll(now, nstart) else {
                return;
            };
            self.notify(now, turn);
        }
    }

    /// Those that do not acknowledge give way to those that wait.
    fn withdraw_overdue(&mut self, now: Instant) {
        while let Some((peer, mid)) = self.server.observers_mut().overdue(now) {
            if let Some(Sent::Response(Separate::Notification(turn))) =
                self.confirmables.settle(peer, mid)
                && !self.server.observers_mut().withdrawn(now, &turn)
            {
                self.notification_failed(now, &turn, Failure::TimedOut);
            }
        }
    }

    /// Asks the request of an observer anew.
    fn notify(&mut self, now: Instant, turn: Turn) {
        let Some(taken) = self.server.observers_mut().take(&turn) else {
            return self.server.observers_mut().unsent(now, &turn, None);
        };
        let Taken {
            path,
            request,
            kept,
            secured,
            reachable,
        } = taken;
        if let Ok(message) = Message::parse(&request) {
            let asker = Asker::notified(path, &message, turn);
            match secured {
                false => {
                    let nobody = Sender::Unauthenticated;
                    let standing = Standing {
                        reachable,
                        ..Standing::of(&nobody)
                    };
                    self.ask_again(now, asker, &standing, &message);
                }
                true => self.ask_again_secured(now, asker, kept, reachable, &message),
            }
        }
        self.server.observers_mut().put_back(turn.observer, request);
    }

    #[cfg(feature = "oscore")]
    fn ask_again_secured(
        &mut self,
        now: Instant,
        asker: Asker,
        kept: Option<Box<Kept>>,
        reachable: bool,
        message: &Message<'_>,
    ) {
        use alloc::string::String;

        use crate::identity::Identity;

        let Some(kept) = kept else {
            return self.end_of(now, &asker);
        };
        let Kept { received, own } = *kept;
        // The client is a member no more, or this endpoint has become another sender: clients need not follow it there
        // (draft-ietf-core-oscore-groupcomm-28 section 7.4).
        let client = self.guard.contexts.client(&received);
        let Some(client) = client.filter(|_| self.own_id(&received) == own) else {
            return self.end_of(now, &asker);
        };
        let sender = Sender::Proven(Identity(client.identity().to_vec()));
        let group = String::from(client.group());
        let standing = Standing {
            mode: self.mode(received.mode(), received.group()),
            security_group: received.group().is_some().then_some(&*group),
            fresh: true,
            reachable,
            ..Standing::of(&sender)
        };
        let asker = Asker {
            received: Some(Box::new(received)),
            own,
            ..asker
        };
        self.ask_again(now, asker, &standing, message);
    }

    #[cfg(not(feature = "oscore"))]
    fn ask_again_secured(
        &mut self,
        now: Instant,
        asker: Asker,
        _kept: Option<Box<Kept>>,
        _reachable: bool,
        _message: &Message<'_>,
    ) {
        self.end_of(now, &asker);
    }

    fn ask_again(
        &mut self,
        now: Instant,
        asker: Asker,
        standing: &Standing<'_>,
        message: &Message<'_>,
    ) {
        let Observing::Notification(turn) = asker.observing else {
            return;
        };
        let mut response = Response::new(antiphon_wire::Code::CONTENT);
        let path = asker.origin.path;
        let disposition =
            self.server
                .notification(now, &path, standing, message, &mut response, turn.observer);
        match disposition {
            Disposition::Deferred(deferred) => self.defer(now, asker, *deferred, message),
            other => self.dispose_notification(now, asker, turn, &other, &response),
        }
    }

    /// Does with the answer to an observer's request what policy has decided.
    pub(super) fn dispose_notification(
        &mut self,
        now: Instant,
        mut asker: Asker,
        mut turn: Turn,
        disposition: &Disposition,
        response: &Response,
    ) {
        match disposition {
            Disposition::Respond { .. } => {
                if !is_success(response) {
                    let nstart = self.config.transmission.nstart();
                    let peer = asker.origin.path.peer;
                    self.server
                        .observers_mut()
                        .confirm_last(&mut turn, peer, nstart);
                    asker.observing = Observing::Notification(turn);
                }
                match asker.received {
                    Some(_) => self.protect_notification(now, asker, response),
                    None => self.send_notification(now, &asker, turn, response),
                }
            }
            Disposition::Silence(SilenceReason::Handler) => {
                self.put_back(asker);
                self.server.observers_mut().unsent(now, &turn, None);
            }
            _ => self.end_of(now, &asker),
        }
    }

    /// Sends a notification that needs no protection.
    fn send_notification(&mut self, now: Instant, asker: &Asker, turn: Turn, response: &Response) {
        let mut bytes = Vec::new();
        let mid = self.fresh_mid(now, asker, turn);
        let (limit, kind) = (self.config.limits.datagram, kind_of(&turn));
        if !append(&mut bytes, limit, kind, mid, asker.origin.token, response) {
            // An error stands in its place, and is the last that the client hears.
            self.counters.too_large += 1;
            self.server.observers_mut().end(turn.observer);
        }
        self.send_notified(now, asker, turn, mid, bytes);
    }

    /// Whoever has registered in the name of somebody else must not be able to acknowledge for that one
    /// (groupcomm-bis-18 section 6.3).
    fn fresh_mid(&mut self, now: Instant, asker: &Asker, turn: Turn) -> MessageId {
        let peer = asker.origin.path.peer;
        match turn.stranger {
            true => self.message_ids.next_unforeseen(now, &mut self.rng, peer),
            false => self.message_ids.next(now, &mut self.rng, peer),
        }
    }

    fn send_notified(
        &mut self,
        now: Instant,
        asker: &Asker,
        turn: Turn,
        mid: MessageId,
        bytes: Vec<u8>,
    ) {
        let route = self.way_back(&asker.origin.path);
        self.outbox.push(route, |out| out.extend_from_slice(&bytes));
        if turn.confirm {
            self.confirmables.start(
                now,
                &mut self.rng,
                &self.config.transmission,
                Sent::Response(Separate::Notification(turn)),
                route,
                bytes,
            );
        }
        self.server.observers_mut().sent(now, &turn, mid);
    }

    /// Sends a protected notification; type and Message ID are those of this moment.
    #[cfg(feature = "oscore")]
    pub(super) fn send_protected_notification(
        &mut self,
        now: Instant,
        asker: Asker,
        turn: Turn,
        mut bytes: Vec<u8>,
    ) {
        let mid = self.fresh_mid(now, &asker, turn);
        super::protect::set_head(&mut bytes, kind_of(&turn), mid);
        let way = Asker::from(asker.origin);
        self.put_back(asker);
        self.send_notified(now, &way, turn, mid, bytes);
    }

    #[cfg(feature = "oscore")]
    fn protect_notification(&mut self, now: Instant, asker: Asker, response: &Response) {
        self.protect_answer(now, asker, None, response);
    }

    #[cfg(not(feature = "oscore"))]
    fn protect_notification(&mut self, now: Instant, asker: Asker, _response: &Response) {
        self.end_of(now, &asker);
    }

    /// An answer of an observation could not be protected.
    #[cfg(feature = "oscore")]
    pub(super) fn notification_not_protected(
        &mut self,
        now: Instant,
        asker: Asker,
        why: NotProtected,
    ) {
        let passes = matches!(
            why,
            NotProtected::NotReserved | NotProtected::Crowded | NotProtected::NoSignature
        );
        match asker.observing {
            Observing::Notification(turn) if passes => {
                self.put_back(asker);
                self.server.observers_mut().unsent(now, &turn, Some(AGAIN));
            }
            _ => self.end_of(now, &asker),
        }
    }

    /// There is no room to ask a deferred handler for a notification now.
    pub(super) fn put_off(&mut self, now: Instant, asker: Asker, turn: Turn) {
        self.put_back(asker);
        self.server
            .observers_mut()
            .unsent(now, &turn, Some(CROWDED));
    }

    /// An answer is on its way, or not wanted: what protects it waits for the next notification.
    pub(super) fn put_back(&mut self, asker: Asker) {
        let observer = match asker.observing {
            Observing::No => return,
            Observing::First(observer) => observer,
            Observing::Notification(turn) => turn.observer,
        };
        #[cfg(feature = "oscore")]
        if let Some(received) = asker.received {
            let own = match asker.observing {
                Observing::Notification(_) => asker.own,
                _ => self.own_id(&received),
            };
            let received = *received;
            let kept = Kept { received, own };
            self.server.observers_mut().keep(observer, kept);
        }
        let _ = observer;
    }

    /// The first answer to an observer was sent, or is not wanted: from now on it can be notified.
    pub(super) fn answered(&mut self, now: Instant, asker: Asker) {
        if let Observing::First(observer) = asker.observing
            && asker.received.is_some()
        {
            self.put_back(asker);
            self.server.observers_mut().rest(now, observer);
        }
    }

    /// Ends the observations of those who are members no more, and those that would go on under another Sender ID.
    #[cfg(feature = "oscore")]
    pub(super) fn review_observers(&mut self, now: Instant) {
        let observers = self.server.observers().secured();
        let over: Vec<ObserverId> = observers
            .filter(|(_, kept)| {
                self.guard.contexts.client(&kept.received).is_none()
                    || self.own_id(&kept.received) != kept.own
            })
            .map(|(id, _)| id)
            .collect();
        for id in over {
            self.server.observers_mut().counters_mut().ended += 1;
            self.remove_observer(now, id);
        }
    }

    /// The Sender ID of this endpoint in the group that a request came in.
    #[cfg(feature = "oscore")]
    pub(super) fn own_id(&self, received: &super::Received) -> Option<antiphon_oscore::Kid> {
        self.guard.contexts.group(received.group()?)?.sender_id()
    }

    /// The observation that an answer belongs to ends with it.
    pub(super) fn end_of(&mut self, now: Instant, asker: &Asker) {
        match asker.observing {
            Observing::No => {}
            Observing::First(observer) => {
                self.server.observers_mut().end(observer);
            }
            Observing::Notification(turn) => {
                self.server.observers_mut().end(turn.observer);
                self.server.observers_mut().unsent(now, &turn, None);
            }
        }
    }

    /// Takes an observer off the list. What was to be sent again to it is not.
    fn remove_observer(&mut self, now: Instant, observer: ObserverId) {
        if let Some((peer, mid)) = self.server.observers_mut().remove(observer) {
            self.settle_notification(now, peer, mid);
        }
    }

    /// A Confirmable notification is not sent again.
    fn settle_notification(&mut self, now: Instant, peer: SocketAddr, mid: MessageId) {
        if let Some(Sent::Response(Separate::Notification(turn))) =
            self.confirmables.settle(peer, mid)
        {
            self.server.observers_mut().release(now, &turn);
        }
    }

    /// A request with Observe 1 takes its sender off the list, whatever else becomes of it (RFC 7641 section 4.1).
    pub(super) fn deregister(
        &mut self,
        now: Instant,
        path: &Path,
        sender: &Sender,
        message: &Message<'_>,
    ) {
        if self.server.observers().len() == 0 || observe_of(message) != Some(DEREGISTER) {
            return;
        }
        let observers = self.server.observers_mut();
        if let Some(observer) = observers.find(path.peer, message.token(), sender) {
            observers.counters_mut().deregistered += 1;
            self.remove_observer(now, observer);
        }
    }

    /// What the answer to the request that was just processed has to do with an observation.
    pub(super) fn registered(&mut self, now: Instant) -> Observing {
        let observers = self.server.observers_mut();
        let admitted = observers.take_admitted();
        while let Some((peer, mid)) = self.server.observers_mut().take_settled() {
            self.settle_notification(now, peer, mid);
        }
        admitted.map_or(Observing::No, Observing::First)
    }

    /// A Confirmable notification was acknowledged.
    pub(super) fn notification_acknowledged(&mut self, now: Instant, turn: &Turn) {
        let ack_timeout = self.config.transmission.ack_timeout();
        let observers = self.server.observers_mut();
        observers.acknowledged(now, turn, ack_timeout);
    }

    /// An acknowledgement of a Confirmable notification that has given way to others: whoever has sent it is slow, and there.
    pub(super) fn notification_acknowledged_late(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        mid: MessageId,
    ) -> bool {
        let observers = self.server.observers_mut();
        let observer = observers.notified_as(peer, mid);
        observer.is_some_and(|observer| observers.acknowledged_late(now, observer))
    }

    /// A Confirmable notification was rejected, or nobody has acknowledged it: the observation ends, and with an endpoint
    /// that is not there all that it observes as the same sender (RFC 7641 section 4.5).
    pub(super) fn notification_failed(&mut self, now: Instant, turn: &Turn, failure: Failure) {
        let observers = self.server.observers_mut();
        let ended = match failure {
            Failure::Reset => {
                observers.counters_mut().reset += 1;
                alloc::vec![turn.observer]
            }
            _ => {
                observers.counters_mut().unanswered += 1;
                observers.all_of(turn)
            }
        };
        // The turn's own message is with nobody any more.
        observers.release(now, turn);
        for observer in ended {
            self.remove_observer(now, observer);
        }
    }

    /// The network says that a notification did not arrive. Of whom nothing has shown that it is there, the one observation
    /// ends to which the quoted notification belongs; false if it quotes none of these.
    pub(super) fn notification_undelivered(
        &mut self,
        now: Instant,
        socket: SocketId,
        peer: SocketAddr,
        quote: &[u8],
        error: SendError,
    ) -> bool {
        let quoted = self.confirmables.quoted(socket, peer, quote);
        let (Some(Sent::Response(Separate::Notification(turn))), Some(header)) =
            (quoted, Header::peek(quote))
        else {
            return false;
        };
        let token = quote.get(4..4 + usize::from(header.token_length));
        let Some(token) = token.and_then(Token::new).filter(|_| turn.stranger) else {
            return false;
        };
        if error == SendError::NoBuffer {
            return true; // that passes, and it is sent again anyway
        }
        self.settle_notification(now, peer, header.message_id);
        let observers = self.server.observers_mut();
        // It may have registered again meanwhile.
        if let Some(observer) = observers.find(peer, token, &Sender::Unauthenticated) {
            observers.counters_mut().unanswered += 1;
            self.remove_observer(now, observer);
        }
        true
    }

    /// The first answer to an observer leaves Non-confirmable: it is a notification like any other, and a Reset ends the
    /// observation (RFC 7641 section 3.6).
    pub(super) fn first_answer_sent(&mut self, observing: Observing, mid: MessageId) {
        if let Some(observer) = observing.registered() {
            self.server.observers_mut().answered_as(observer, mid);
        }
    }

    /// The first answer to an observer was sent separately and Confirmably, and was rejected or not acknowledged.
    pub(super) fn first_answer_failed(
        &mut self,
        now: Instant,
        observer: ObserverId,
        failure: Failure,
    ) {
        let observers = self.server.observers_mut();
        if !observers.contains(observer) {
            return;
        }
        let counters = observers.counters_mut();
        match failure {
            Failure::Reset => counters.reset += 1,
            _ => counters.unanswered += 1,
        }
        self.remove_observer(now, observer);
    }

    /// A Reset that answers a Non-confirmable notification ends its observation; false if it answers none.
    pub(super) fn notification_reset(&mut self, now: Instant, path: &Path, mid: MessageId) -> bool {
        let observers = self.server.observers_mut();
        let Some(observer) = observers.notified_as(path.peer, mid) else {
            return false;
        };
        observers.counters_mut().reset += 1;
        self.remove_observer(now, observer);
        true
    }
}

impl Asker {
    /// Whom a notification goes to.
    fn notified(path: Path, message: &Message<'_>, turn: Turn) -> Self {
        let origin = Origin {
            path,
            kind: Type::Non,
            mid: message.message_id(),
            token: message.token(),
            record: None,
            acknowledged: true,
            #[cfg(feature = "oscore")]
            outer: None,
        };
        Self {
            observing: Observing::Notification(turn),
            ..Self::from(origin)
        }
    }
}

fn kind_of(turn: &Turn) -> Type {
    match turn.confirm {
        true => Type::Con,
        false => Type::Non,
    }
}
