//! The last steps before a message leaves: it is protected, signed, and sent.
//!
//! A message is protected when it may leave and not before, so that a cancelled answer burns no number and a rekeying in
//! between is taken into account. What waits for a signature, for a shared secret or for sequence numbers stands in the
//! parking lot, and the first transmission and every repetition send the same bytes.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;

use antiphon_oscore::{Mode, ProtectError, Protected, Protecting, Signing};
use antiphon_wire::{Code, Message, MessageId, OptionNumber, Type};

use super::answer::{Asker, append};
use super::client::{Heard, Question};
use super::notify::Observing;
use super::{Endpoint, Origin, Separate};
use crate::event::{Event, IncomingId};
use crate::failure::Failure;
use crate::message::Response;
use crate::parking::Direction;
use crate::reliability::Sent;
use crate::security::{AnswerMode, NotProtected, at};
use crate::time::Instant;
use crate::work::{SignJob, Task, WorkId};

/// A message that waits for work.
pub(super) enum Parked {
    /// A request that is being opened.
    Request(Origin, Box<antiphon_oscore::Opening>),
    /// A response that is being opened.
    Response(Heard, Box<antiphon_oscore::Opening>),
    /// A request or response whose sender's credential is being fetched.
    Stranger(FromStranger, Vec<u8>),
    /// A message that waits for its signature, made under these keys.
    Signing(Outgoing, Box<Signing>, Keys),
    /// A message that waits for a shared secret, or for sequence numbers.
    Waiting(Outgoing),
}

/// What a member said that is not known yet.
#[derive(Clone, Copy)]
pub(super) enum FromStranger {
    Request(Origin),
    Response(Heard),
}

/// Which keys of a group: another generation is another set of keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Keys {
    generation: u64,
    sender_id: Option<antiphon_oscore::Kid>,
}

/// A message on its way out that is not protected yet.
pub(super) enum Outgoing {
    /// A request, to one peer or to a group.
    Question(Question),
    /// An answer.
    Answer(Box<Answering>),
}

/// An answer that is not protected yet.
pub(super) struct Answering {
    pub(super) asker: Asker,
    incoming: Option<IncomingId>,
    response: Response,
    /// The plain message is too large already, or the protected one was: an error stands in its place.
    reduced: bool,
}

impl Outgoing {
    fn peer(&self) -> SocketAddr {
        match self {
            Self::Question(question) => question.peer(),
            Self::Answer(answer) => answer.asker.origin.path.peer,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Question(question) => question.len(),
            Self::Answer(answer) => crate::server::encoded_len(8, &answer.response),
        }
    }
}

impl Endpoint {
    /// Protects an answer and sends it.
    pub(super) fn protect_answer(
        &mut self,
        now: Instant,
        asker: Asker,
        incoming: Option<IncomingId>,
        response: &Response,
    ) {
        let answer = Answering {
            asker,
            incoming,
            response: response.clone(),
            reduced: false,
        };
        self.protect(now, Outgoing::Answer(Box::new(answer)));
    }

    /// Protects a message as far as that goes without work; the rest follows when the work is done.
    pub(super) fn protect(&mut self, now: Instant, outgoing: Outgoing) {
        self.protect_since(now, now, outgoing);
    }

    /// The same for a message that has waited for sequence numbers since then.
    fn protect_since(&mut self, now: Instant, since: Instant, mut outgoing: Outgoing) {
        let protecting = match &mut outgoing {
            Outgoing::Question(question) => self.protect_question(now, question),
            Outgoing::Answer(answer) => self.protect_response(now, answer),
        };
        match protecting {
            Ok(Protecting::Done(protected)) => self.protected(now, outgoing, protected),
            Ok(Protecting::Sign(signing)) => {
                let task = Task::Sign(SignJob(signing.job()));
                let (peer, len) = (outgoing.peer(), outgoing.len());
                let slow = slow(&outgoing);
                let Some(keys) = self.keys_of(signing.group()) else {
                    return self.not_protected(now, outgoing, NotProtected::NoContext);
                };
                let parked = Parked::Signing(outgoing, Box::new(signing), keys);
                match self.hand_out(now, peer, len, Direction::Outgoing, parked, task) {
                    Ok(id) => self.acknowledge_later(now, id, slow),
                    Err(parked) => self.give_up_parked(now, *parked, NotProtected::Crowded),
                }
            }
            Ok(Protecting::Agree(job)) => {
                let (peer, len) = (outgoing.peer(), outgoing.len());
                let slow = slow(&outgoing);
                let parked = Parked::Waiting(outgoing);
                let task = Task::Agree(job);
                match self.hand_out(now, peer, len, Direction::Outgoing, parked, task) {
                    Ok(id) => self.acknowledge_later(now, id, slow),
                    Err(parked) => self.give_up_parked(now, *parked, NotProtected::Crowded),
                }
            }
            Err(ProtectError::NotReserved | ProtectError::Installing) => {
                self.stall(now, since, outgoing);
            }
            Err(error) => self.not_protected(now, outgoing, error.into()),
        }
    }

    fn keys_of(&self, group: crate::security::GroupId) -> Option<Keys> {
        let group = self.guard.contexts.group(group)?;
        Some(Keys {
            generation: group.generation(),
            sender_id: group.sender_id(),
        })
    }

    /// The signature of a message is there. If the keys were replaced meanwhile it is protected anew, because nothing is
    /// sent under old ones.
    pub(super) fn signed(
        &mut self,
        now: Instant,
        outgoing: Outgoing,
        signing: Signing,
        keys: Keys,
        signature: &[u8],
    ) {
        if self.keys_of(signing.group()) != Some(keys) {
            return self.protect(now, outgoing);
        }
        match signing.finish(signature) {
            Ok(protected) => self.protected(now, outgoing, protected),
            Err(error) => self.not_protected(now, outgoing, error.into()),
        }
    }

    /// A message waits until there are sequence numbers again.
    fn stall(&mut self, now: Instant, since: Instant, outgoing: Outgoing) {
        if since + self.config.parking.patience <= now {
            return self.not_protected(now, outgoing, NotProtected::NotReserved);
        }
        let id = self.fresh_work_id();
        let (peer, len) = (outgoing.peer(), outgoing.len());
        let slow = slow(&outgoing);
        let parked = Parked::Waiting(outgoing);
        match self
            .parking
            .park(now, id, peer, len, Direction::Outgoing, parked)
        {
            Ok(()) => {
                self.guard.stalled.push((id, since));
                self.acknowledge_later(now, id, slow);
            }
            Err(parked) => self.give_up_parked(now, parked, NotProtected::Crowded),
        }
    }

    /// Tries again with those that waited for sequence numbers, in their order.
    pub(super) fn try_again(&mut self, now: Instant) {
        for (id, since) in core::mem::take(&mut self.guard.stalled) {
            if let Some(Parked::Waiting(outgoing)) = self.parking.take(id) {
                self.protect_since(now, since, outgoing);
            }
        }
    }

    fn acknowledge_later(&mut self, now: Instant, id: WorkId, slow: bool) {
        if slow {
            let due = now + self.config.limits.separate_after;
            self.guard.slow.insert((due, id));
        }
    }

    fn protect_response(
        &mut self,
        now: Instant,
        answer: &mut Answering,
    ) -> Result<Protecting, ProtectError> {
        let origin = answer.asker.origin;
        let mode = self.answer_mode(&answer.asker);
        let notification = matches!(answer.asker.observing, Observing::Notification(_));
        let own = answer.asker.own;
        let Some(received) = answer.asker.received.as_deref() else {
            return Err(ProtectError::NoContext);
        };
        // The keys may have been replaced while it waited.
        if notification && self.own_id(received) != own {
            return Err(ProtectError::Superseded);
        }
        let Some(received) = answer.asker.received.as_deref_mut() else {
            return Err(ProtectError::NoContext);
        };
        let echo = answer.response.options.get(OptionNumber::ECHO);
        let note = (answer.asker.challenge && echo.is_none())
            .then(|| self.guard.note_of(origin.path.peer));
        let contexts = &mut self.guard.contexts;
        if let Some(note) = note {
            let rng = &mut self.rng;
            let random = || {
                let mut random = [0; 32];
                rng.fill(&mut random);
                random
            };
            let head = (Type::Non, MessageId(0), origin.token);
            let challenge = contexts
                .challenge(at(now), received, random, note, head)
                .ok_or(ProtectError::Superseded)?;
            let message = plain(&challenge)?;
            // Kept, so that it is the same challenge if it has to wait.
            answer.response = Response::from(&message);
            return contexts.protect_response(at(now), &message, received, mode);
        }
        let mut bytes = Vec::new();
        let limit = self.config.limits.datagram;
        let head = (Type::Non, MessageId(0), origin.token);
        if !append(&mut bytes, limit, head.0, head.1, head.2, &answer.response) {
            self.counters.too_large += u64::from(!answer.reduced);
            answer.reduced = true;
        }
        contexts.protect_response(at(now), &plain(&bytes)?, received, mode)
    }

    /// In which mode a request is answered; `None` is its own, or the only one.
    fn answer_mode(&self, asker: &Asker) -> Option<Mode> {
        let received = asker.received.as_deref()?;
        let group = self.guard.contexts.group(received.group()?)?;
        let wanted = match self.guard.config.answers {
            AnswerMode::AsRequested => return None,
            AnswerMode::ByArrival if asker.origin.path.is_multicast() => Mode::Group,
            AnswerMode::Group => Mode::Group,
            AnswerMode::ByArrival | AnswerMode::Pairwise => Mode::Pairwise,
        };
        let has = match wanted {
            Mode::Group => group.suite().has_group_mode(),
            _ => group.suite().has_pairwise_mode(),
        };
        has.then_some(wanted)
    }

    /// A message is protected: it leaves.
    pub(super) fn protected(&mut self, now: Instant, outgoing: Outgoing, protected: Protected) {
        let Protected { bytes, asked } = protected;
        if bytes.len() > self.config.limits.datagram {
            return self.too_large(now, outgoing);
        }
        self.guard.counters.protected += 1;
        match outgoing {
            Outgoing::Question(question) => {
                self.question_protected(now, &question, bytes, asked.map(Box::new));
            }
            Outgoing::Answer(answer) => {
                if let Observing::Notification(turn) = answer.asker.observing {
                    return self.send_protected_notification(now, answer.asker, turn, bytes);
                }
                self.send_answer(now, &answer, bytes);
                self.answered(now, answer.asker);
            }
        }
    }

    /// Protection has made a message too large: of an answer the code of an error remains, of a request nothing.
    fn too_large(&mut self, now: Instant, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Answer(mut answer)
                if !answer.reduced && !answer.asker.origin.path.is_multicast() =>
            {
                self.counters.too_large += 1;
                answer.reduced = true;
                answer.response = Response::new(Code::INTERNAL_SERVER_ERROR);
                self.protect(now, Outgoing::Answer(answer));
            }
            other => {
                self.counters.too_large += 1;
                self.not_protected(now, other, NotProtected::TooLarge);
            }
        }
    }

    /// Sends a protected answer: type and Message ID, which protection does not cover, are those of this moment.
    fn send_answer(&mut self, now: Instant, answer: &Answering, bytes: Vec<u8>) {
        let origin = &answer.asker.origin;
        let mut bytes = self.in_outer_blocks(now, origin, bytes);
        let route = self.way_back(&origin.path);
        let group = origin.path.is_multicast();
        let piggybacked = !group && origin.kind == Type::Con && !origin.acknowledged;
        let separate = !group && origin.kind == Type::Con && origin.acknowledged;
        if piggybacked {
            set_head(&mut bytes, Type::Ack, origin.mid);
            let stored = self.outbox.push(route, |out| out.extend_from_slice(&bytes));
            if let Some(record) = origin.record {
                self.dedup.store_reply(record, stored);
            }
            return;
        }
        let mid = self.message_ids.next(now, &mut self.rng, route.destination);
        if separate && self.room_to_repeat(&route) {
            set_head(&mut bytes, Type::Con, mid);
            self.serial += 1;
            let incoming = answer.incoming.unwrap_or(IncomingId(self.serial));
            let observer = answer.asker.observing.registered();
            let owner = Separate::Answer(incoming, route.destination, observer);
            let owner = Sent::Response(owner);
            self.confirmables.start(
                now,
                &mut self.rng,
                &self.config.transmission,
                owner,
                route,
                bytes.clone(),
            );
        } else {
            set_head(&mut bytes, Type::Non, mid);
            self.first_answer_sent(answer.asker.observing, mid);
        }
        self.outbox.push(route, |out| out.extend_from_slice(&bytes));
    }

    /// A message cannot be protected: whoever waits for it is told.
    pub(super) fn not_protected(&mut self, now: Instant, outgoing: Outgoing, why: NotProtected) {
        self.guard.counters.not_protected += 1;
        match outgoing {
            Outgoing::Question(question) => self.question_not_protected(now, &question, why),
            Outgoing::Answer(answer) => {
                if answer.asker.challenge {
                    self.lose(&answer.asker.origin); // there may be room for one when it comes again
                }
                if let Some(incoming) = answer.incoming {
                    let failure = Failure::NotProtected(why);
                    self.events
                        .push_back(Event::Undelivered { incoming, failure });
                }
                self.notification_not_protected(now, answer.asker, why);
            }
        }
    }

    /// A message leaves the parking lot without having been sent, or there was no room for it.
    pub(super) fn give_up_parked(&mut self, now: Instant, parked: Parked, why: NotProtected) {
        match parked {
            Parked::Signing(outgoing, ..) | Parked::Waiting(outgoing) => {
                self.not_protected(now, outgoing, why);
            }
            Parked::Request(origin, opening) => {
                self.lose(&origin);
                self.guard.contexts.give_up(opening);
            }
            Parked::Response(_, opening) => self.guard.contexts.give_up(opening),
            Parked::Stranger(FromStranger::Request(origin), _) => self.lose(&origin),
            Parked::Stranger(FromStranger::Response(_), _) => {}
        }
    }

    /// Acknowledges the Confirmable requests whose answers wait for work too long; these will go separately.
    pub(super) fn acknowledge_slow_answers(&mut self, now: Instant) {
        while let Some((due, id)) = self.guard.slow.first().copied() {
            if due > now {
                return;
            }
            self.guard.slow.pop_first();
            let origin = match self.parking.get_mut(id) {
                Some(
                    Parked::Signing(Outgoing::Answer(answer), ..)
                    | Parked::Waiting(Outgoing::Answer(answer)),
                ) => {
                    let origin = answer.asker.origin;
                    answer.asker.origin.acknowledged = true;
                    origin
                }
                _ => continue,
            };
            if !origin.acknowledged {
                self.acknowledge(&origin);
            }
        }
    }
}

/// Does somebody wait for the acknowledgement that this answer carries?
fn slow(outgoing: &Outgoing) -> bool {
    match outgoing {
        Outgoing::Answer(answer) => {
            let origin = &answer.asker.origin;
            origin.kind == Type::Con && !origin.acknowledged && !origin.path.is_multicast()
        }
        Outgoing::Question(_) => false,
    }
}

pub(super) fn plain(bytes: &[u8]) -> Result<Message<'_>, ProtectError> {
    Message::parse(bytes)
        .map_err(|_| ProtectError::Message(antiphon_oscore::MessageRefused::Option))
}

/// Writes type and Message ID into a message.
pub(super) fn set_head(bytes: &mut [u8], kind: Type, mid: MessageId) {
    let [first, ..] = super::answer::empty(kind, mid);
    if let Some([head, _, high, low]) = bytes.first_chunk_mut() {
        *head = *head & 0xcf | first & 0x30;
        [*high, *low] = mid.0.to_be_bytes();
    }
}
