//! Questions to groups, and their answers (groupcomm-bis section 3.1).
//!
//! A [`Collections`] is the client half of group communication for one endpoint. It decides; it does not send. Its
//! methods come in families, to be called in this order:
//!
//! 1. application: [`start`](Collections::start), [`close`](Collections::close), [`set_pacing`](Collections::set_pacing);
//! 2. input: [`handle_response`](Collections::handle_response), [`completion_done`](Collections::completion_done),
//!    [`handle_send_error`](Collections::handle_send_error), [`handle_timeout`](Collections::handle_timeout);
//! 3. output, each until it is `None`: [`poll_transmit`](Collections::poll_transmit), [`poll_completion`](Collections::poll_completion),
//!    [`poll_cancel`](Collections::poll_cancel), [`poll_event`](Collections::poll_event); then [`next_timeout`](Collections::next_timeout).
//!
//! Every call of the first two families may change what every method of the third returns. Calls of
//! `handle_timeout` without need are harmless.
//!
//! # One question
//!
//! A question has *one token* for all its targets and rounds, and one Message ID for each round. So a
//! member of two of its groups sees one message and processes it once, and answers are merged by member.
//! What cannot be told by the token alone, through which of several groups an answer was provoked, is
//! taken from the socket and the interface by which it came.
//!
//! # Deduplication
//!
//! Duplicates of one answer (same source, same Message ID) are dropped by the endpoint before they come
//! here. A further answer with another Message ID is delivered, also if it says the same (GN-3.1.6-01).

mod outcome;
mod question;
mod request;
mod responders;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use antiphon_wire::{Message, MessageId, NoResponse, OptionNumber, Token, Type, Writer};
use hashbrown::HashMap;

use crate::config::{ConfigError, Transmission};
use crate::exchange::{Failure, SendError, encoded_bound};
use crate::expect::{MemberIndex, Members, responder_address};
use crate::identity::Sender;
use crate::message::{Request, Response};
use crate::message_id::MessageIds;
use crate::pacing::{GroupKey, GroupPacing, Pacing, Wanted};
use crate::path::{Path, Route, is_group_address};
use crate::rng::{KeyedHash, Rng};
use crate::time::Instant;
use crate::tokens::{Binding, Tokens};

pub use outcome::{
    Answer, AnswerPolicy, AnsweredBy, CollectionEvent, Dropped, EndedBy, Held, HoldReason, How,
    MemberReport, MemberState, MissingReason, Outcome, Rejection, Unexpected,
};
pub use request::{
    Again, AnswerLimits, CollectError, Completion, End, GroupRequest, GroupTarget, Ipv4Global,
    Larger, LinkProfile, NoSec, OverFrameBudget, Repeat, SIXLOWPAN_BUDGET, Security,
};

use question::{InPerson, Phase, Question, Target};
use request::RequestLimits;
pub(crate) use responders::unrecognised_critical;
use responders::{Admission, Responders};

/// The largest UDP payload over IPv4.
const MAX_DATAGRAM: usize = 65_507;
/// The own group messages that are recognised when they come back.
const OWN_REMEMBERED: usize = 64;

/// Names one question to a group; never reused within an endpoint's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CollectionId(pub u64);

/// How an endpoint asks groups.
#[derive(Clone, Debug)]
pub struct CollectionConfig {
    /// NSTART and PROBING_RATE for groups without pacing of their own, and the times of which the token reuse time is made.
    pub transmission: Transmission,
    /// MAX_SERVER_RESPONSE_DELAY: the longest time a server takes to answer a group request. A request
    /// that states a longer leisure raises it. `None` (default): unknown, which counts as 250 s.
    pub server_delay: Option<Duration>,
    /// Whether responses are bound to requests by security; default bound.
    pub binding: Binding,
    /// What the link can carry; default unconstrained.
    pub link: LinkProfile,
    /// Where IPv4 groups are taken to reach; default restricted.
    pub ipv4_global: Ipv4Global,
    /// Collections at a time, late ones and those whose outcome was not fetched included; default 1024.
    pub collections: usize,
    /// Requests to one group that wait; default 256.
    pub waiting_per_group: usize,
    /// Targets of one request; default 32.
    pub targets: usize,
    /// Groups whose pace is remembered, and as many whose pace is set; default 1024, about 100 bytes each.
    pub groups: usize,
    /// Events that wait to be fetched, outcomes apart; default 65,536. Answers beyond that are counted and dropped.
    pub events: usize,
    token_len: usize,
}

impl Default for CollectionConfig {
    fn default() -> Self {
        Self {
            transmission: Transmission::default(),
            server_delay: None,
            binding: Binding::Bound,
            link: LinkProfile::Unconstrained,
            ipv4_global: Ipv4Global::Restricted,
            collections: 1_024,
            waiting_per_group: 256,
            targets: 32,
            groups: 1_024,
            events: 65_536,
            token_len: Token::MAX_LEN,
        }
    }
}

impl CollectionConfig {
    /// The length of tokens in bytes: 4 to 8, default 8. Below 4 they could be guessed (RFC 7252 section 5.3.1).
    ///
    /// # Errors
    /// Outside of the limits.
    pub fn set_token_len(&mut self, len: usize) -> Result<&mut Self, ConfigError> {
        let problem = match len {
            0..4 => "is below its lower limit",
            4..=8 => {
                self.token_len = len;
                return Ok(self);
            }
            _ => "is above its upper limit",
        };
        Err(ConfigError {
            parameter: "token length",
            problem,
        })
    }

    /// The length of tokens in bytes.
    pub fn token_len(&self) -> usize {
        self.token_len
    }
}

/// What became of a response, and what its sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// To which question it belongs.
    pub collection: CollectionId,
    /// What became of it.
    pub verdict: Verdict,
    /// What its sender is told.
    pub reply: Reply,
}

/// What became of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is delivered.
    Delivered,
    /// It is delivered as a late answer.
    Late,
    /// It is unacceptable.
    Rejected(Rejection),
    /// It is not wanted, came in a way in which no response comes, or found no room.
    Dropped,
}

/// What the sender of a response is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing.
    Nothing,
    /// An empty Acknowledgement: it was Confirmable.
    Acknowledge,
    /// A Reset: it was Confirmable, and it is not accepted.
    Reset,
}

/// A unicast request to a silent member, to be made as a Confirmable exchange. Its end is told by
/// [`Collections::completion_done`].
#[derive(Clone, Debug, PartialEq)]
pub struct CompletionRequest {
    /// For which question.
    pub collection: CollectionId,
    /// To which member.
    pub member: MemberIndex,
    /// The way to it.
    pub route: Route,
    /// What it is asked.
    pub request: Request,
}

/// How a collection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where it is in its course.
    pub stage: Stage,
    /// Why its next transmission waits, and for how long.
    pub held: Option<Held>,
    /// Members that are expected.
    pub expected: usize,
    /// Of which have answered in time.
    pub expected_answered: usize,
    /// Distinct servers that have answered in time, expected or not.
    pub servers: usize,
    /// Answers delivered.
    pub answers: u32,
    /// Datagrams sent to groups.
    pub transmissions: u32,
    /// Members that are being asked in person.
    pub in_person: usize,
    /// The end by time, as soon as the last transmission is made.
    pub deadline: Option<Instant>,
}

/// Where a collection is in its course.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing has been sent.
    Waiting,
    /// Some of its transmissions are made.
    Asking,
    /// All transmissions to groups are made; answers come in.
    Collecting,
    /// Silent members are asked in person.
    Completing,
    /// It has ended; late answers come in.
    Late,
}

/// All questions of one client endpoint to groups. The order of calls stands at the head of this module's file.
#[derive(Debug)]
pub struct Collections {
    config: CollectionConfig,
    questions: BTreeMap<CollectionId, Question>,
    by_token: HashMap<Token, CollectionId, KeyedHash>,
    tokens: Tokens,
    pacing: Pacing,
    /// Questions that wait for their turn (NSTART), in order.
    queue: VecDeque<CollectionId>,
    /// Questions that may send.
    ready: VecDeque<CollectionId>,
    /// Questions whose silent members are asked in person.
    in_person: BTreeSet<CollectionId>,
    cancelled: VecDeque<(CollectionId, MemberIndex)>,
    timers: BTreeSet<(Instant, CollectionId)>,
    events: VecDeque<CollectionEvent>,
    /// How many of the events are outcomes.
    outcomes: usize,
    /// The last messages sent to groups, oldest first.
    own: VecDeque<(Token, MessageId)>,
    next_id: u64,
}

impl Collections {
    /// No question yet.
    pub fn new(config: CollectionConfig, rng: &mut Rng) -> Self {
        Self {
            questions: BTreeMap::new(),
            by_token: HashMap::with_hasher(rng.keyed_hash()),
            tokens: Tokens::new(config.token_len, config.binding, rng),
            pacing: Pacing::new((&config.transmission).into(), config.groups, rng),
            queue: VecDeque::new(),
            ready: VecDeque::new(),
            in_person: BTreeSet::new(),
            cancelled: VecDeque::new(),
            timers: BTreeSet::new(),
            events: VecDeque::new(),
            outcomes: 0,
            own: VecDeque::new(),
            next_id: 1,
            config,
        }
    }

    // What the application asks for

    /// Takes a question. It is sent as soon as the pace of its groups allows; if that is not now, an
    /// event [`Held`](CollectionEvent::Held) says why.
    ///
    /// # Errors
    /// Something about the request is not allowed, or a table is full. Nothing was sent and nothing is kept.
    pub fn start(
        &mut self,
        now: Instant,
        rng: &mut Rng,
        mut request: GroupRequest,
    ) -> Result<CollectionId, CollectError> {
        self.handle_timeout(now);
        request.check(&RequestLimits {
            targets: self.config.targets,
            ipv4_global: self.config.ipv4_global,
        })?;
        if self.questions.len() + self.outcomes >= self.config.collections {
            return Err(CollectError::TooManyCollections);
        }
        for target in &request.targets {
            if self.waiting_for(&target.key()) >= self.config.waiting_per_group {
                return Err(CollectError::QueueFull(target.group));
            }
        }
        if request.silent {
            request.request.options.set(
                OptionNumber::NO_RESPONSE,
                NoResponse::ALL.encode().as_bytes(),
            );
        }
        let mut datagram = encode(&request.request, self.config.token_len)?;
        let too_large_for_frame = self.over_frame_budget(datagram.len())?;
        let hash = [(); 3].map(|()| rng.keyed_hash());
        let question = {
            for target in &request.targets {
                self.pacing
                    .remember(now, target.key())
                    .map_err(|_| CollectError::TooManyGroups)?;
            }
            let token = self.take_token(now, &mut datagram)?;
            self.question(request, token, datagram, hash)?
        };
        let id = CollectionId(self.next_id);
        self.next_id += 1;
        self.by_token.insert(question.token, id);
        if let Some(over) = too_large_for_frame {
            self.tell(CollectionEvent::Warning(id, over));
        }
        let queued = question.phase == Phase::Queued;
        self.questions.insert(id, question);
        if queued {
            self.queue.push_back(id);
            self.admit(now);
            if self.is_queued(id) {
                let remaining = self.turn_in(now, id);
                let reason = HoldReason::Outstanding;
                self.tell(CollectionEvent::Held(id, Held { reason, remaining }));
            }
        } else {
            self.step(now, id);
        }
        Ok(id)
    }

    /// Ends a collection at once: what has not been sent is not sent, its turn passes to the next
    /// question, and its outcome is told. A late collection stops to deliver late answers.
    pub fn close(&mut self, now: Instant, id: CollectionId) {
        self.finish(now, id, EndedBy::Closed);
    }

    /// Sets the pace of one group on one interface, or (`None`) on all without a pace of their own;
    /// without `pacing` the default applies again. It counts from now on, also for what waits.
    ///
    /// # Errors
    /// The pace of as many groups as are allowed is set already.
    pub fn set_pacing(
        &mut self,
        now: Instant,
        group: SocketAddr,
        interface: Option<u32>,
        pacing: Option<GroupPacing>,
    ) -> Result<(), CollectError> {
        self.pacing
            .set(now, group, interface, pacing)
            .map_err(|_| CollectError::TooManyGroups)?;
        self.look_again(now);
        Ok(())
    }

    /// Changes the parameters. NSTART and PROBING_RATE count from now on, the token reuse time for questions that start from now on.
    pub fn set_transmission(&mut self, now: Instant, transmission: Transmission) {
        self.pacing.set_default(now, (&transmission).into());
        self.config.transmission = transmission;
        self.look_again(now);
    }

    /// The token space of this endpoint, for requests that are not to groups, and to announce new keys.
    pub fn tokens_mut(&mut self) -> &mut Tokens {
        &mut self.tokens
    }

    // What comes in

    /// A response, of which the endpoint knows that it is no duplicate and that nothing proves its sender.
    /// `None`: its token is not that of an open question of this socket.
    pub fn handle_response(
        &mut self,
        now: Instant,
        path: &Path,
        message: &Message<'_>,
    ) -> Option<Delivery> {
        self.handle_response_of(now, path, &Sender::Unauthenticated, message)
    }

    /// As [`handle_response`](Self::handle_response), with what is known of the sender.
    pub fn handle_response_of(
        &mut self,
        now: Instant,
        path: &Path,
        sender: &Sender,
        message: &Message<'_>,
    ) -> Option<Delivery> {
        // Matched by token alone, from whatever address and port; but to the port that asked.
        let collection = *self.by_token.get(&message.token())?;
        let question = self.questions.get_mut(&collection)?;
        let asked_from_here = question
            .targets
            .iter()
            .any(|target| target.route.socket == path.socket && target.sent > 0);
        let code = message.code();
        if !asked_from_here || !(code.is_response() || code.is_reserved()) {
            return None;
        }
        let confirmable = message.kind() == Type::Con;
        let told = |verdict, reply| {
            Some(Delivery {
                collection,
                verdict,
                reply: if confirmable { reply } else { Reply::Nothing },
            })
        };
        let by_unicast = !path.is_multicast() && !is_group_address(path.peer.ip());
        if !by_unicast || !matches!(message.kind(), Type::Con | Type::Non) {
            question.responders.dropped.not_unicast += 1;
            return told(Verdict::Dropped, Reply::Nothing);
        }
        if question.silent {
            return told(Verdict::Dropped, Reply::Reset);
        }
        let lifted = respond_for(question, &mut self.pacing, path);
        let member = question.responders.members.find(path, sender, message);
        let delivery = match question.unacceptable(message) {
            Some(rejection) => {
                question
                    .responders
                    .reject(member, responder_address(path), rejection);
                let reply = match rejection {
                    Rejection::TooLarge(_) => Reply::Acknowledge,
                    Rejection::CriticalOption(_) | Rejection::ReservedCode(_) => Reply::Reset,
                };
                told(Verdict::Rejected(rejection), reply)
            }
            None => {
                let arrived = Arrived {
                    member,
                    path,
                    sender,
                    kind: Some(message.kind()),
                    how: question.how(),
                };
                let verdict = self.deliver(now, collection, &arrived, || message.into());
                told(verdict, Reply::Acknowledge)
            }
        };
        if lifted {
            self.look_again(now);
        }
        self.step(now, collection);
        delivery
    }

    /// The unicast exchange with a silent member has ended.
    pub fn completion_done(
        &mut self,
        now: Instant,
        id: CollectionId,
        member: MemberIndex,
        result: Result<(&Path, Response), Failure>,
    ) {
        let Some(question) = self.questions.get_mut(&id) else {
            return;
        };
        let asked = &mut question.in_person.asked;
        let Some(place) = asked.iter().position(|m| *m == member) else {
            return;
        };
        asked.swap_remove(place);
        match result {
            Ok((path, response)) => {
                let bytes = body_len(&response);
                if bytes > question.response_bytes {
                    let rejection = Rejection::TooLarge(bytes);
                    question
                        .responders
                        .reject(Some(member), responder_address(path), rejection);
                } else {
                    let arrived = Arrived {
                        member: Some(member),
                        path,
                        sender: &Sender::Unauthenticated,
                        kind: None,
                        how: How::Unicast,
                    };
                    self.deliver(now, id, &arrived, || response);
                }
            }
            Err(failure) => question.responders.unicast_failed(member, Some(failure)),
        }
        self.step(now, id);
    }

    /// A datagram could not leave. Says whether it was one to a group, and still of interest.
    pub fn handle_send_error(&mut self, now: Instant, route: &Route, error: SendError) -> bool {
        let sent_by = |question: &Question| {
            let same = |target: &&Target| target.route == *route && target.sent > target.failed;
            question
                .targets
                .iter()
                .find(same)
                .and_then(|target| target.last_sent)
        };
        // The last one that was sent this way.
        let Some((_, id)) = self
            .questions
            .iter()
            .filter_map(|(id, question)| Some((sent_by(question)?, *id)))
            .max()
        else {
            return false;
        };
        let Some(question) = self.questions.get_mut(&id) else {
            return false;
        };
        for target in &mut question.targets {
            if target.route == *route {
                target.failed += 1;
                target.last_error = Some(error);
                self.pacing
                    .not_sent(&target.key, question.datagram.len(), question.wanted);
            }
        }
        self.tell(CollectionEvent::SendFailed {
            collection: id,
            group: route.destination,
            error,
        });
        self.step(now, id);
        true
    }

    /// Does everything that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let later = self
            .timers
            .split_off(&(now + Duration::from_micros(1), CollectionId(0)));
        let due = core::mem::replace(&mut self.timers, later);
        for (_, id) in due {
            if let Some(question) = self.questions.get_mut(&id) {
                question.wake = None;
            }
            self.step(now, id);
        }
    }

    // What goes out

    /// Writes the next datagram into `out`, replacing what is there, and says where it goes. Call it until it is `None`.
    #[must_use]
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        ids: &mut MessageIds,
        out: &mut Vec<u8>,
    ) -> Option<Route> {
        self.handle_timeout(now);
        while let Some(id) = self.ready.pop_front() {
            if let Some(question) = self.questions.get_mut(&id) {
                question.is_ready = false;
            }
            let sent = self.send(now, id, ids, out);
            self.step(now, id);
            if sent.is_some() {
                return sent;
            }
        }
        None
    }

    /// The next member that is to be asked in person.
    #[must_use]
    pub fn poll_completion(&mut self, now: Instant) -> Option<CompletionRequest> {
        let open: Vec<_> = self.in_person.iter().copied().collect();
        for collection in open {
            let next = self
                .questions
                .get_mut(&collection)
                .and_then(Question::next_in_person);
            match next {
                Some((member, route, request)) => {
                    return Some(CompletionRequest {
                        collection,
                        member,
                        route,
                        request,
                    });
                }
                None => self.step(now, collection),
            }
        }
        None
    }

    /// The next unicast exchange that was begun for a completion and is of no use any more.
    #[must_use]
    pub fn poll_cancel(&mut self) -> Option<(CollectionId, MemberIndex)> {
        self.cancelled.pop_front()
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<CollectionEvent> {
        let event = self.events.pop_front();
        if let Some(CollectionEvent::Ended(_) | CollectionEvent::LateEnded(_)) = event {
            self.outcomes -= 1;
        }
        event
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    // What can be asked

    /// How a collection stands; `None` when it is over.
    pub fn status(&self, now: Instant, id: CollectionId) -> Option<Status> {
        let question = self.questions.get(&id)?;
        Some(Status {
            stage: question.stage(),
            held: self.held(now, id, question),
            expected: question.responders.expected(),
            expected_answered: question.responders.expected_answered(),
            servers: question.responders.distinct(),
            answers: question.responders.answers,
            transmissions: question.transmissions,
            in_person: question.in_person.asked.len(),
            deadline: question.deadline(),
        })
    }

    /// How many collections are open, late ones included.
    pub fn len(&self) -> usize {
        self.questions.len()
    }

    /// Is none open?
    pub fn is_empty(&self) -> bool {
        self.questions.is_empty()
    }

    /// The name of an expected member of an open collection.
    pub fn member_name(&self, id: CollectionId, member: MemberIndex) -> Option<&str> {
        let responders = &self.questions.get(&id)?.responders;
        (responders.expected() > member.0 as usize).then(|| responders.members.name(member))
    }

    /// Is this one of the last requests that this endpoint sent to a group, come back by multicast
    /// loopback? (Token and Message ID together, which nobody else could have chosen.)
    pub fn is_own_request(&self, path: &Path, message: &Message<'_>) -> bool {
        path.is_multicast()
            && message.code().is_request()
            && self.own.contains(&(message.token(), message.message_id()))
    }

    /// The pace of a group as it is set now.
    pub fn pacing_of(&self, group: SocketAddr, interface: u32) -> GroupPacing {
        self.pacing.of(&GroupKey::new(group, interface))
    }

    // How it is done

    fn over_frame_budget(&self, bytes: usize) -> Result<Option<OverFrameBudget>, CollectError> {
        match self.config.link {
            LinkProfile::SixLowpan { budget, larger } if bytes > budget => {
                let over = OverFrameBudget { bytes, budget };
                match larger {
                    Larger::Warn => Ok(Some(over)),
                    Larger::Refuse => Err(CollectError::OverFrameBudget(over)),
                }
            }
            _ => Ok(None),
        }
    }

    /// Takes a token and writes it into the datagram.
    fn take_token(&mut self, now: Instant, datagram: &mut [u8]) -> Result<Token, CollectError> {
        let token = self.tokens.take(now).map_err(CollectError::Tokens)?;
        if let Some(bytes) = datagram.get_mut(4..4 + token.len()) {
            bytes.copy_from_slice(token.as_bytes());
        }
        Ok(token)
    }

    /// A question that has just been accepted. On failure the token is free again.
    fn question(
        &mut self,
        request: GroupRequest,
        token: Token,
        datagram: Vec<u8>,
        [by_member, by_address, by_ip]: [KeyedHash; 3],
    ) -> Result<Question, CollectError> {
        let wanted = match request.wants_no_answer() {
            true => Wanted::Silence,
            false => Wanted::Answers,
        };
        let delay = self.config.server_delay.unwrap_or(UNKNOWN_DELAY);
        let token_reuse = self
            .config
            .transmission
            .min_token_reuse(Some(delay.max(request.leisure)));
        let members = Members::new(request.expect, by_member).map_err(|duplicate| {
            self.tokens.give_back(token, Instant::ZERO);
            CollectError::DuplicateMember(duplicate)
        })?;
        Ok(Question {
            token,
            datagram,
            targets: request.targets.iter().map(Target::new).collect(),
            ids: Vec::new(),
            repeats: request.repeat.count(),
            same_message: matches!(request.repeat, Repeat::SameMessage(_)),
            request: (request.completion != Completion::None).then_some(request.request),
            completion: request.completion,
            end: request.end,
            patience: request.rtt.saturating_add(request.leisure),
            token_reuse,
            late: request.late,
            silent: request.silent,
            wanted,
            keep_answers: request.keep_answers,
            response_bytes: request.limits.response_bytes,
            responders: Responders::new(members, request.limits, [by_address, by_ip]),
            phase: match wanted {
                Wanted::Answers => Phase::Queued,
                Wanted::Silence => Phase::Open,
            },
            first_sent: None,
            last_sent: None,
            transmissions: 0,
            bytes: 0,
            in_person: InPerson::default(),
            kept: Vec::new(),
            no_id_before: None,
            ended: None,
            wake: None,
            is_ready: false,
        })
    }

    fn is_queued(&self, id: CollectionId) -> bool {
        self.questions
            .get(&id)
            .is_some_and(|question| question.phase == Phase::Queued)
    }

    /// How many questions have not yet been sent to this group.
    fn waiting_for(&self, key: &GroupKey) -> usize {
        let unsent = |target: &Target| target.key == *key && target.sent == 0;
        self.questions
            .values()
            .filter(|question| question.targets.iter().any(unsent))
            .count()
    }

    /// Opens the questions whose turn it is: those for which every group has a slot, and no earlier one waits for the same group.
    fn admit(&mut self, now: Instant) {
        let mut taken: Vec<GroupKey> = Vec::new();
        let mut opened = Vec::new();
        let Self {
            queue,
            questions,
            pacing,
            ..
        } = self;
        queue.retain(|id| {
            let Some(question) = questions.get_mut(id) else {
                return false;
            };
            let keys = question.targets.iter().map(|target| target.key);
            if keys
                .clone()
                .all(|key| !taken.contains(&key) && pacing.has_slot(&key))
            {
                keys.for_each(|key| pacing.take_slot(key));
                question.phase = Phase::Open;
                opened.push(*id);
                false
            } else {
                taken.extend(keys);
                true
            }
        });
        for id in opened {
            self.step(now, id);
        }
    }

    /// Looks at every question again, because the pace of a group has changed.
    fn look_again(&mut self, now: Instant) {
        self.admit(now);
        let all: Vec<_> = self.questions.keys().copied().collect();
        for id in all {
            self.step(now, id);
        }
    }

    /// Looks at one question: is it over, may it send, when is it to be looked at again?
    fn step(&mut self, now: Instant, id: CollectionId) {
        let Some(question) = self.questions.get_mut(&id) else {
            return;
        };
        question.advance(now);
        if question.in_person.began.is_some() {
            self.in_person.insert(id);
        }
        if question.in_person.broken_off {
            let asked = question.take_asked();
            self.cancelled
                .extend(asked.into_iter().map(|member| (id, member)));
        }
        if let Some(ended_by) = question.over(now) {
            return self.finish(now, id, ended_by);
        }
        if let Phase::Late(until) = question.phase
            && until <= now
        {
            return self.finish(now, id, EndedBy::Closed);
        }
        let mut wake = question.next_change(now);
        let mut may_send = false;
        let mut held = None;
        for index in 0..question.targets.len() {
            let Some((due, key)) = question.due_at(index) else {
                continue;
            };
            if due > now {
                wake = earlier(wake, due);
                continue;
            }
            if question.went_unanswered(index) {
                self.pacing.went_silent(&key);
            }
            let (reason, wait) = question.wait(now, &key, &self.pacing);
            if wait.is_zero() {
                may_send = true;
            } else {
                wake = earlier(wake, now + wait);
                if question.tell(index) {
                    held = Some(reason);
                }
            }
        }
        if may_send && !question.is_ready {
            question.is_ready = true;
            self.ready.push_back(id);
        }
        if question.wake != wake {
            if let Some(old) = question.wake {
                self.timers.remove(&(old, id));
            }
            question.wake = wake;
            self.timers.extend(wake.map(|at| (at, id)));
        }
        if let Some(reason) = held {
            let remaining = self.paced_for(now, id);
            self.tell(CollectionEvent::Held(id, Held { reason, remaining }));
        }
    }

    /// Writes the datagram for the first target that is due and may be sent to.
    fn send(
        &mut self,
        now: Instant,
        id: CollectionId,
        ids: &mut MessageIds,
        out: &mut Vec<u8>,
    ) -> Option<Route> {
        let question = self.questions.get_mut(&id)?;
        let may_send = |index: &usize| {
            question.due_at(*index).is_some_and(|(due, key)| {
                due <= now && question.wait(now, &key, &self.pacing).1.is_zero()
            })
        };
        let index = (0..question.targets.len()).find(may_send)?;
        let message_id = question.message_id(now, index, ids)?;
        if let Some(bytes) = question.datagram.get_mut(2..4) {
            bytes.copy_from_slice(&message_id.0.to_be_bytes());
        }
        out.clear();
        out.extend_from_slice(&question.datagram);
        let (token, wanted) = (question.token, question.wanted);
        let target = question.sent(now, index)?;
        let (route, key) = (target.route, target.key);
        self.pacing.sent(now, key, out.len(), wanted);
        if !self.own.contains(&(token, message_id)) {
            if self.own.len() >= OWN_REMEMBERED {
                self.own.pop_front();
            }
            self.own.push_back((token, message_id));
        }
        Some(route)
    }

    /// Records an acceptable answer and tells it.
    fn deliver(
        &mut self,
        now: Instant,
        id: CollectionId,
        arrived: &Arrived<'_>,
        response: impl FnOnce() -> Response,
    ) -> Verdict {
        let Some(question) = self.questions.get_mut(&id) else {
            return Verdict::Dropped;
        };
        let late = matches!(question.phase, Phase::Late(_));
        let peer = responder_address(arrived.path);
        let admission = question.responders.admit(arrived.member, peer, late);
        let Admission::Sequence(sequence) = admission else {
            return Verdict::Dropped;
        };
        if self.events.len() >= self.config.events {
            question.responders.dropped.not_fetched += 1;
            return Verdict::Dropped;
        }
        let answer = Answer {
            collection: id,
            member: arrived.member,
            from: *arrived.path,
            sender: arrived.sender.clone(),
            kind: arrived.kind,
            response: response(),
            sequence,
            after: now.since(question.first_sent.unwrap_or(now)),
            how: arrived.how,
        };
        if question.keep_answers {
            question.kept.push(answer.clone());
        }
        if late {
            self.events.push_back(CollectionEvent::LateAnswer(answer));
            Verdict::Late
        } else {
            self.events.push_back(CollectionEvent::Answer(answer));
            Verdict::Delivered
        }
    }

    /// Ends a question, or the time for its late answers.
    fn finish(&mut self, now: Instant, id: CollectionId, ended_by: EndedBy) {
        let Some(mut question) = self.questions.remove(&id) else {
            return;
        };
        let was = question.phase;
        self.ready.retain(|other| *other != id);
        question.is_ready = false;
        self.in_person.remove(&id);
        let asked = question.take_asked();
        self.cancelled
            .extend(asked.into_iter().map(|member| (id, member)));
        if let Some(at) = question.wake.take() {
            self.timers.remove(&(at, id));
        }
        match was {
            Phase::Queued => self.queue.retain(|other| *other != id),
            Phase::Open if question.wanted == Wanted::Answers => {
                for target in &question.targets {
                    self.pacing.free_slot(&target.key);
                    if target.sent > target.failed && !target.responded {
                        self.pacing.went_silent(&target.key);
                    }
                }
            }
            Phase::Open => {}
            Phase::Late(_) => {
                self.forget_token(&question);
                let outcome = question.into_outcome(id, now);
                self.outcomes += 1;
                self.events.push_back(CollectionEvent::LateEnded(outcome));
                return;
            }
        }
        question.ended = Some((now, ended_by));
        let late = match ended_by {
            EndedBy::Deadline | EndedBy::Count | EndedBy::AllExpected => question.late,
            EndedBy::Closed | EndedBy::Sent | EndedBy::Failed(_) => None,
        };
        let outcome = match late {
            Some(late) => {
                question.phase = Phase::Late(now + late);
                question.wake = Some(now + late);
                self.timers.insert((now + late, id));
                let outcome = question.outcome(id, now);
                self.questions.insert(id, question);
                outcome
            }
            None => {
                self.forget_token(&question);
                question.into_outcome(id, now)
            }
        };
        self.outcomes += 1;
        self.events.push_back(CollectionEvent::Ended(outcome));
        self.admit(now);
    }

    /// The token is not that of an open question any more; it stays taken for its reuse time.
    fn forget_token(&mut self, question: &Question) {
        self.by_token.remove(&question.token);
        let taken_until = match question.last_sent {
            Some(last) => last + question.token_reuse,
            None => Instant::ZERO,
        };
        self.tokens.give_back(question.token, taken_until);
    }

    /// Why the next transmission of a question waits.
    fn held(&self, now: Instant, id: CollectionId, question: &Question) -> Option<Held> {
        if question.phase == Phase::Queued {
            return Some(Held {
                reason: HoldReason::Outstanding,
                remaining: self.turn_in(now, id),
            });
        }
        let due = (0..question.targets.len())
            .filter_map(|index| question.due_at(index))
            .filter(|(due, _)| *due <= now);
        due.map(|(_, key)| question.wait(now, &key, &self.pacing))
            .find(|(_, wait)| !wait.is_zero())
            .map(|(reason, _)| Held {
                reason,
                remaining: self.paced_for(now, id),
            })
    }

    /// For how long pacing holds a question back, those that go before it included.
    fn paced_for(&self, now: Instant, id: CollectionId) -> Duration {
        let Some(question) = self.questions.get(&id) else {
            return Duration::ZERO;
        };
        let wait_at = |(due, key): (Instant, GroupKey)| {
            let (_, wait) = question.wait(now, &key, &self.pacing);
            let earlier = self.questions.range(..id).map(|(_, other)| other);
            let bytes: usize = match question.wanted {
                Wanted::Answers => 0,
                Wanted::Silence => earlier.map(|other| other.due_bytes(now, &key)).sum(),
            };
            let rate = u64::from(self.pacing.of(&key).rate());
            let ahead = u64::try_from(bytes)
                .unwrap_or(u64::MAX)
                .saturating_mul(1_000_000)
                / rate;
            (due <= now).then(|| wait.saturating_add(Duration::from_micros(ahead)))
        };
        (0..question.targets.len())
            .filter_map(|index| question.due_at(index))
            .filter_map(wait_at)
            .filter(|wait| !wait.is_zero())
            .min()
            .unwrap_or_default()
    }

    /// After which time it is the turn of a queued question at the latest, if nothing holds up those before it.
    fn turn_in(&self, now: Instant, id: CollectionId) -> Duration {
        let Some(question) = self.questions.get(&id) else {
            return Duration::ZERO;
        };
        let turns = question.targets.iter().map(|target| {
            let asks = |other: &&Question| {
                other.wanted == Wanted::Answers && other.targets.iter().any(|t| t.key == target.key)
            };
            // When each slot of the group becomes free.
            let mut slots: Vec<Instant> = self
                .questions
                .values()
                .filter(asks)
                .filter(|other| other.phase == Phase::Open)
                .map(|other| other.planned_end(now).max(now))
                .collect();
            let nstart = self.pacing.of(&target.key).nstart();
            slots.resize(slots.len().max(nstart), now);
            slots.sort_unstable_by(|a, b| b.cmp(a));
            slots.drain(..slots.len() - nstart);
            let before = self.queue.iter().take_while(|other| **other != id);
            for other in before
                .filter_map(|other| self.questions.get(other))
                .filter(asks)
            {
                if let Some(first) = slots.iter_mut().min() {
                    *first = *first + other.planned_end(now).since(now);
                }
            }
            slots.into_iter().min().unwrap_or(now)
        });
        turns.max().unwrap_or(now).since(now)
    }

    /// Tells an event that may be lost if nobody fetches events.
    fn tell(&mut self, event: CollectionEvent) {
        if self.events.len() < self.config.events {
            self.events.push_back(event);
        }
    }
}

/// MAX_SERVER_RESPONSE_DELAY when it is unknown (seed -03 section 3.1).
const UNKNOWN_DELAY: Duration = Duration::from_secs(250);

/// An answer on its way to the application.
struct Arrived<'a> {
    member: Option<MemberIndex>,
    path: &'a Path,
    sender: &'a Sender,
    kind: Option<Type>,
    how: How,
}

impl Question {
    /// What is wrong with a response, if anything.
    fn unacceptable(&self, message: &Message<'_>) -> Option<Rejection> {
        if message.code().is_reserved() {
            return Some(Rejection::ReservedCode(message.code()));
        }
        let bytes = message.options_and_payload().len();
        if bytes > self.response_bytes {
            return Some(Rejection::TooLarge(bytes));
        }
        unrecognised_critical(message).map(Rejection::CriticalOption)
    }
}

/// Notes for the pace of the groups that a response came from there. Says whether a restriction is lifted.
fn respond_for(question: &mut Question, pacing: &mut Pacing, path: &Path) -> bool {
    let only_one = question.targets.len() == 1;
    let mut lifted = false;
    for target in &mut question.targets {
        let here = target.route.socket == path.socket
            && (target.key.interface == 0
                || path.interface == 0
                || target.key.interface == path.interface);
        if (only_one || here) && target.sent > 0 {
            target.responded = true;
            lifted |= pacing.responded(&target.key);
        }
    }
    lifted
}

/// The datagram, with zeros for Message ID and token.
fn encode(request: &Request, token_len: usize) -> Result<Vec<u8>, CollectError> {
    let mut datagram = alloc::vec![0; encoded_bound(&request.options, &request.payload)];
    let token = [0; Token::MAX_LEN]
        .get(..token_len)
        .and_then(Token::new)
        .unwrap_or(Token::EMPTY);
    let mut writer = Writer::new(
        &mut datagram,
        Type::Non,
        request.method,
        MessageId(0),
        token,
    )
    .map_err(CollectError::Encode)?;
    request
        .options
        .write(&mut writer)
        .and_then(|()| writer.payload(&request.payload))
        .map_err(CollectError::Encode)?;
    let len = writer.finish();
    if len > MAX_DATAGRAM {
        return Err(CollectError::TooLarge(len));
    }
    datagram.truncate(len);
    datagram.shrink_to_fit();
    Ok(datagram)
}

/// Roughly the encoded length of options and payload.
fn body_len(response: &Response) -> usize {
    let options: usize = response
        .options
        .iter()
        .map(|(_, value)| value.len() + 1)
        .sum();
    options + response.payload.len()
}

fn earlier(wake: Option<Instant>, at: Instant) -> Option<Instant> {
    Some(wake.map_or(at, |wake| wake.min(at)))
}

#[cfg(test)]
mod tests;
