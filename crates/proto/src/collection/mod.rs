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

mod body;
mod cached;
mod conduct;
mod config;
mod line;
mod outcome;
mod protected;
mod question;
mod request;
mod responders;
mod round;
mod together;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use antiphon_wire::{Message, MessageId, NoResponse, OptionNumber, Token, Type};
use hashbrown::HashMap;

use crate::block::{BlockSize, Bounds, TransferLimits};
use crate::cache::Cache;
use crate::config::Transmission;
use crate::exchange::{Failure, SendError};
use crate::expect::{Expectation, MemberIndex, MembershipOracle, responder_address};
use crate::identity::Sender;
use crate::message::Response;
use crate::message_id::MessageIds;
use crate::pacing::{GroupKey, GroupPacing, Pacing};
use crate::path::{Path, Route};
use crate::rng::{KeyedHash, Rng};
use crate::time::Instant;
use crate::tokens::Tokens;

pub(crate) use crate::policy::NoSec;
pub(crate) use body::BodyWanted;
pub use cached::Caching;
pub(crate) use cached::{changes, note_change};
pub(crate) use conduct::body_len;
pub use config::CollectionConfig;
pub(crate) use line::Rank;
pub use outcome::{
    Answer, AnswerPolicy, AnswerProgress, AnsweredBy, CollectionEvent, CompletionRequest, Delivery,
    Dropped, EndedBy, Held, HoldReason, How, MemberReport, MemberState, MissingReason, Outcome,
    Rejection, Reply, Stage, Status, Unexpected, Verdict,
};
#[cfg(feature = "oscore")]
pub(crate) use protected::BareQuestion;
#[cfg(feature = "oscore")]
pub(crate) use protected::member_of;
pub(crate) use question::{Target, way_to};
pub use request::{
    Again, AnswerLimits, CollectError, Completion, End, FurtherBlocks, GroupRequest, GroupTarget,
    Ipv4Global, Larger, LinkProfile, OverFrameBudget, Repeat, SIXLOWPAN_BUDGET, Security,
};
pub(crate) use responders::unrecognised_critical;
pub(crate) use round::{RoundNews, RoundOver};

use cached::Memory;
use conduct::{Arrived, respond_for};
use question::{Phase, Progress, Question};
use request::RequestLimits;

/// Names one question to a group; never reused within an endpoint's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CollectionId(pub u64);

/// Who is asked by unicast on behalf of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asking {
    /// An expected member that is silent, or has challenged the request.
    Member(MemberIndex),
    /// The how-manieth server that was not expected and has challenged the request.
    Stranger(u32),
    /// The how-manieth server whose answer is the first of several blocks: it is asked for the others.
    Body(u32),
}

/// On whose behalf groups are asked.
#[derive(Clone, Copy)]
enum For {
    Application,
    /// An observation, under its token.
    Observation(Token),
    /// A question: a further block of its answers.
    Blocks(CollectionId),
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
    cancelled: VecDeque<(CollectionId, Asking)>,
    /// Answers of which the other blocks are to be fetched.
    line: line::Line,
    /// What an answer in blocks may take.
    bounds: Bounds,
    /// Bytes of answers whose blocks are asked for by group requests: how many there are, and may be.
    held: (usize, usize),
    /// Questions of which the next block is to be asked for.
    follow_ups: VecDeque<CollectionId>,
    cache: Cache,
    /// Who knows the current members of groups.
    oracle: Option<Box<dyn MembershipOracle>>,
    /// Who is to be asked again, as what it has confirmed is not in the cache.
    again: VecDeque<(CollectionId, protected::ChallengeRequest)>,
    /// Questions that may be sent as soon as they are protected.
    bare: VecDeque<CollectionId>,
    /// How many questions are not protected yet that have to be.
    unprotected: usize,
    timers: BTreeSet<(Instant, CollectionId)>,
    events: VecDeque<CollectionEvent>,
    /// The memory of the answers among them.
    event_bytes: usize,
    /// How many of the events are outcomes.
    outcomes: usize,
    /// What the observations are to know of their rounds.
    rounds: VecDeque<RoundNews>,
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
            line: line::Line::default(),
            bounds: TransferLimits::default().bounds(BlockSize::LARGEST),
            held: (0, TransferLimits::default().bytes),
            follow_ups: VecDeque::new(),
            cache: Cache::new(config.cache.clone()),
            oracle: None,
            again: VecDeque::new(),
            bare: VecDeque::new(),
            unprotected: 0,
            timers: BTreeSet::new(),
            events: VecDeque::new(),
            event_bytes: 0,
            outcomes: 0,
            rounds: VecDeque::new(),
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
        request: GroupRequest,
    ) -> Result<CollectionId, CollectError> {
        self.begin(now, rng, request, For::Application)
    }

    /// What bodies may take that come in blocks.
    pub(crate) fn limit_bodies(&mut self, bounds: Bounds, bytes: usize) {
        (self.bounds, self.held.1) = (bounds, bytes);
    }

    /// Takes a question.
    fn begin(
        &mut self,
        now: Instant,
        rng: &mut Rng,
        mut request: GroupRequest,
        asker: For,
    ) -> Result<CollectionId, CollectError> {
        self.handle_timeout(now);
        let observes = request.request.options.get(OptionNumber::OBSERVE).is_some();
        if observes && matches!(asker, For::Application) {
            return Err(CollectError::Observe);
        }
        self.settle(&mut request.expect, &request.targets);
        self.check(&request)?;
        if request.silent {
            request.request.options.set(
                OptionNumber::NO_RESPONSE,
                NoResponse::ALL.encode().as_bytes(),
            );
        }
        let memory = match asker {
            For::Application => self.memory_of(now, &request),
            For::Observation(_) | For::Blocks(_) => Memory::None,
        };
        let datagram = self.datagram_of(now, &request.request, &memory)?;
        let too_large_for_frame = self.over_frame_budget(datagram.len())?;
        let hash = [(); 3].map(|()| rng.keyed_hash());
        let mut question = self.asked_by(now, asker, request, datagram, hash)?;
        question.memory = memory;
        let queued = question.phase == Phase::Queued;
        let id = self.enter(question);
        if self.answered_alone(now, id) {
            return Ok(id);
        }
        if let Some(over) = too_large_for_frame {
            self.tell(CollectionEvent::Warning(id, over));
        }
        match queued {
            true => self.wait_for_turn(now, id),
            false => self.step(now, id),
        }
        Ok(id)
    }

    /// Is the request allowed, and is there room for it?
    fn check(&self, request: &GroupRequest) -> Result<(), CollectError> {
        request.check(&RequestLimits {
            targets: self.config.targets,
            ipv4_global: self.config.ipv4_global,
            profile: self.config.profile,
        })?;
        if self.questions.len() + self.outcomes >= self.config.collections {
            return Err(CollectError::TooManyCollections);
        }
        for target in &request.targets {
            if self.waiting_for(&target.key()) >= self.config.waiting_per_group {
                return Err(CollectError::QueueFull(target.group));
            }
        }
        Ok(())
    }

    /// The question with its token, as whoever asks it needs it.
    fn asked_by(
        &mut self,
        now: Instant,
        asker: For,
        request: GroupRequest,
        mut datagram: Vec<u8>,
        hash: [KeyedHash; 3],
    ) -> Result<Question, CollectError> {
        for target in &request.targets {
            self.pacing
                .remember(now, target.key())
                .map_err(|_| CollectError::TooManyGroups)?;
        }
        let shared = match asker {
            For::Observation(token) => Some(token),
            For::Application | For::Blocks(_) => None,
        };
        let token = self.take_token(now, &mut datagram, shared)?;
        let mut question = self.question(request, token, datagram, hash)?;
        question.is_round = shared.is_some();
        if let For::Blocks(first) = asker {
            question.follows = Some(first);
            question.phase = Phase::Open; // in the place of the question that it follows
        }
        Ok(question)
    }

    /// From now on the question has a name, and answers find it by its token.
    fn enter(&mut self, question: Question) -> CollectionId {
        let id = CollectionId(self.next_id);
        self.next_id += 1;
        if !question.is_round {
            self.by_token.insert(question.token, id);
        }
        if question.protected != Progress::Done {
            self.unprotected += 1;
        }
        self.questions.insert(id, question);
        id
    }

    /// It is the turn of a question now, or later, which is told.
    fn wait_for_turn(&mut self, now: Instant, id: CollectionId) {
        self.queue.push_back(id);
        self.admit(now);
        if self.is_queued(id) {
            let remaining = self.turn_in(now, id);
            let reason = HoldReason::Outstanding;
            self.tell(CollectionEvent::Held(id, Held { reason, remaining }));
        }
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

    /// Who knows the current members of groups, for questions and observations that begin from now on and expect
    /// [them](Expectation::current). Default (`None`): nobody does.
    pub fn set_membership_oracle(&mut self, oracle: Option<Box<dyn MembershipOracle>>) {
        self.oracle = oracle;
    }

    /// Asks who the expected members are, if that was left open.
    pub(crate) fn settle(&self, expect: &mut Expectation, targets: &[GroupTarget]) {
        expect.settle(self.oracle.as_deref(), targets);
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
        if let Some(reply) = question.ignores(path, sender, message) {
            return told(Verdict::Dropped, reply);
        }
        let lifted = respond_for(question, &mut self.pacing, path);
        let follows = question.follows;
        let (verdict, reply) = match (follows, question.unacceptable(message)) {
            (Some(_), Some(_)) => (Verdict::Dropped, Reply::Acknowledge),
            (Some(first), None) => {
                let verdict = self.further_block(now, first, path, sender, message);
                (verdict, Reply::Acknowledge)
            }
            (None, Some(rejection)) => {
                let reply = question.reject(path, sender, message, rejection);
                (Verdict::Rejected(rejection), reply)
            }
            (None, None) => {
                let arrived = Arrived {
                    member: question.responders.members.find(path, sender, message),
                    path,
                    sender,
                    kind: Some(message.kind()),
                    how: question.how(),
                };
                let verdict = match self.begin_body(collection, &arrived, message) {
                    Some(verdict) => verdict,
                    None => self.deliver(now, collection, &arrived, || message.into()),
                };
                (verdict, Reply::Acknowledge)
            }
        };
        if lifted {
            self.look_again(now);
        }
        if follows.is_none() {
            self.step(now, collection);
        }
        told(verdict, reply)
    }

    /// The unicast exchange with a silent member has ended.
    pub fn completion_done(
        &mut self,
        now: Instant,
        id: CollectionId,
        member: MemberIndex,
        result: Result<(&Path, Response), Failure>,
    ) {
        self.completion_done_by(now, id, member, &Sender::Unauthenticated, result);
    }

    /// As [`completion_done`](Self::completion_done), with what is known of the sender.
    pub fn completion_done_by(
        &mut self,
        now: Instant,
        id: CollectionId,
        member: MemberIndex,
        sender: &Sender,
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
                    let peer = responder_address(path);
                    question
                        .responders
                        .reject(Some(member), peer, sender, rejection);
                } else {
                    let arrived = Arrived {
                        member: Some(member),
                        path,
                        sender,
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
        if self.next_timeout().is_none_or(|due| due > now) {
            return; // asked with every datagram that leaves
        }
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
                if question.protected == Progress::Due {
                    question.protected = Progress::UnderWay;
                    self.bare.push_back(id);
                    continue;
                }
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
        if self.in_person.is_empty() {
            return None; // the usual case, asked for each datagram
        }
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
                        request: self.validating(now, collection, member, request),
                        protection: self.protection_for(collection, member),
                    });
                }
                None => self.step(now, collection),
            }
        }
        None
    }

    /// The next unicast exchange that was begun for a completion and is of no use any more.
    #[must_use]
    pub fn poll_cancel(&mut self) -> Option<(CollectionId, Asking)> {
        self.cancelled.pop_front()
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<CollectionEvent> {
        let event = self.events.pop_front();
        match &event {
            Some(CollectionEvent::Ended(_) | CollectionEvent::LateEnded(_)) => self.outcomes -= 1,
            Some(CollectionEvent::Answer(answer) | CollectionEvent::LateAnswer(answer)) => {
                self.event_bytes = self.event_bytes.saturating_sub(answer.footprint());
            }
            _ => {}
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
}

#[cfg(test)]
mod tests;
