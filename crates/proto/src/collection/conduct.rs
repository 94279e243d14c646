//! How questions are conducted: turns, rounds, waits, deliveries and ends.

use alloc::vec::Vec;
use core::time::Duration;

use antiphon_wire::{Code, MessageId, Token, Type, Writer};

use super::cached::Memory;
use super::outcome::{Answer, CollectionEvent, EndedBy, Held, HoldReason, How, Verdict};
use super::protected::Challenged;
use super::question::{InPerson, Phase, Progress, Question, Target};
use super::request::{
    CollectError, Completion, FurtherBlocks, GroupRequest, Larger, LinkProfile, OverFrameBudget,
    Repeat,
};
use super::responders::{Admission, Responders};
use super::together::Together;
use super::{Asking, CollectionId, Collections};
use crate::exchange::encoded_bound;
use crate::expect::{MemberIndex, Members, responder_address};
use crate::identity::Sender;
use crate::message::{Request, Response};
use crate::message_id::MessageIds;
use crate::pacing::{GroupKey, Pacing, Wanted};
use crate::path::{Path, Route};
use crate::rng::KeyedHash;
use crate::time::Instant;

/// The largest UDP payload over IPv4.
const MAX_DATAGRAM: usize = 65_507;
/// The own group messages that are recognised when they come back.
const OWN_REMEMBERED: usize = 64;

impl Collections {
    pub(super) fn over_frame_budget(
        &self,
        bytes: usize,
    ) -> Result<Option<OverFrameBudget>, CollectError> {
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

    /// Takes a token, unless there is one already, and writes it into the datagram.
    pub(super) fn take_token(
        &mut self,
        now: Instant,
        datagram: &mut [u8],
        token: Option<Token>,
    ) -> Result<Token, CollectError> {
        let token = match token {
            Some(token) => token,
            None => self.tokens.take(now).map_err(CollectError::Tokens)?,
        };
        if let Some(bytes) = datagram.get_mut(4..4 + token.len()) {
            bytes.copy_from_slice(token.as_bytes());
        }
        Ok(token)
    }

    /// A question that has just been accepted. On failure the token is free again.
    pub(super) fn question(
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
        let token_reuse = self.token_reuse(request.leisure);
        #[cfg(feature = "oscore")]
        let idempotent = request.may_be_processed_twice();
        let members = Members::new(request.expect, by_member).map_err(|duplicate| {
            self.tokens.give_back(token, Instant::ZERO);
            CollectError::DuplicateMember(duplicate)
        })?;
        let protected = request.security.is_protected();
        Ok(Question {
            token,
            datagram,
            targets: request.targets.iter().map(Target::new).collect(),
            ids: Vec::new(),
            repeats: request.repeat.count(),
            same_message: matches!(request.repeat, Repeat::SameMessage(_)),
            bodies: Vec::new(),
            request: (request.completion != Completion::None
                || protected
                || matches!(request.request.method, Code::GET | Code::FETCH))
            .then_some(request.request),
            security: request.security,
            protected: match protected {
                true => Progress::Due,
                false => Progress::Done,
            },
            asked: None,
            challenged: Challenged::default(),
            completion: request.completion,
            #[cfg(feature = "oscore")]
            idempotent,
            end: request.end,
            rtt: request.rtt,
            patience: request.rtt.saturating_add(request.leisure),
            exchange_span: self.config.transmission.max_transmit_wait(),
            token_reuse,
            late: request.late,
            silent: request.silent,
            wanted,
            room_to_keep: request.limits.kept_bytes,
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
            is_round: false,
            follows: None,
            together: match request.blocks {
                FurtherBlocks::Unicast => None,
                FurtherBlocks::Group => Some(Together::default()),
            },
            memory: Memory::None,
        })
    }

    /// For how long a token stays taken after the last request to servers of this leisure.
    pub(crate) fn token_reuse(&self, leisure: Duration) -> Duration {
        let delay = self.config.server_delay.unwrap_or(UNKNOWN_DELAY);
        self.config
            .transmission
            .min_token_reuse(Some(delay.max(leisure)))
    }

    pub(super) fn is_queued(&self, id: CollectionId) -> bool {
        self.questions
            .get(&id)
            .is_some_and(|question| question.phase == Phase::Queued)
    }

    /// How many questions have not yet been sent to this group.
    pub(super) fn waiting_for(&self, key: &GroupKey) -> usize {
        let unsent = |target: &Target| target.key == *key && target.sent == 0;
        self.questions
            .values()
            .filter(|question| question.targets.iter().any(unsent))
            .count()
    }

    /// Opens the questions whose turn it is: those for which every group has a slot, and no earlier one waits for the same group.
    pub(super) fn admit(&mut self, now: Instant) {
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
    pub(super) fn look_again(&mut self, now: Instant) {
        self.admit(now);
        let all: Vec<_> = self.questions.keys().copied().collect();
        for id in all {
            self.step(now, id);
        }
    }

    /// Looks at one question: is it over, may it send, when is it to be looked at again?
    pub(super) fn step(&mut self, now: Instant, id: CollectionId) {
        let Some(question) = self.questions.get_mut(&id) else {
            return;
        };
        question.advance(now);
        if question.in_person.began.is_some() && self.in_person.insert(id) {
            self.fill_up(now, id, true);
        }
        let Some(question) = self.questions.get_mut(&id) else {
            return;
        };
        if question.is_gathered(now) {
            self.follow_ups.push_back(id);
        }
        if question.in_person.broken_off {
            let asked = question.take_asked();
            self.cancelled
                .extend(asked.into_iter().map(|member| (id, Asking::Member(member))));
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
        if may_send && !question.is_ready && question.protected != Progress::UnderWay {
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
    pub(super) fn send(
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
        question.memory.leaves(now, &mut self.cache);
        let target = question.sent(now, index)?;
        let (route, key) = (target.route, target.key);
        let begins = question.is_round && question.transmissions == 1;
        self.pacing.sent(now, key, out.len(), wanted);
        if begins {
            self.round_sent(id);
        }
        if !self.own.contains(&(token, message_id)) {
            if self.own.len() >= OWN_REMEMBERED {
                self.own.pop_front();
            }
            self.own.push_back((token, message_id));
        }
        Some(route)
    }

    /// Records an acceptable answer and tells it.
    pub(super) fn deliver(
        &mut self,
        now: Instant,
        id: CollectionId,
        arrived: &Arrived<'_>,
        response: impl FnOnce() -> Response,
    ) -> Verdict {
        // It is made only when it is wanted.
        let (mut made, make) = match self.remembers(id) {
            true => (Some(response()), None),
            false => (None, Some(response)),
        };
        if let Some(response) = &made
            && let Some(verdict) = self.heed(now, id, arrived, response)
        {
            return verdict;
        }
        let Some(question) = self.questions.get_mut(&id) else {
            return Verdict::Dropped;
        };
        let late = matches!(question.phase, Phase::Late(_));
        let peer = responder_address(arrived.path);
        let room =
            self.events.len() < self.config.events && self.event_bytes < self.config.event_bytes;
        let responders = &mut question.responders;
        let sender = arrived.sender;
        let Admission::Sequence(sequence) =
            responders.admit(arrived.member, peer, sender, late, room)
        else {
            return Verdict::Dropped;
        };
        if let Some(response) = &mut made {
            self.remember(now, id, arrived, response);
        }
        let Some(question) = self.questions.get_mut(&id) else {
            return Verdict::Dropped;
        };
        let answer = Answer {
            collection: id,
            member: arrived.member,
            from: *arrived.path,
            sender: arrived.sender.clone(),
            kind: arrived.kind,
            response: made
                .or_else(|| make.map(|make| make()))
                .unwrap_or(Response::new(Code::EMPTY)),
            sequence,
            after: now.since(question.first_sent.unwrap_or(now)),
            how: arrived.how,
        };
        if let How::Cached { .. } = arrived.how {
            question
                .responders
                .taken_from_cache(arrived.member, peer, arrived.sender);
        }
        question.keep(&answer);
        self.event_bytes += answer.footprint();
        if late {
            self.events.push_back(CollectionEvent::LateAnswer(answer));
            Verdict::Late
        } else {
            self.events.push_back(CollectionEvent::Answer(answer));
            Verdict::Delivered
        }
    }

    /// Ends a question, or the time for its late answers.
    pub(super) fn finish(&mut self, now: Instant, id: CollectionId, ended_by: EndedBy) {
        if let EndedBy::Deadline | EndedBy::Failed(_) = ended_by {
            self.fill_up(now, id, false);
        }
        let Some(mut question) = self.questions.remove(&id) else {
            return;
        };
        let was = question.phase;
        if question.protected != Progress::Done {
            self.unprotected = self.unprotected.saturating_sub(1);
        }
        self.ready.retain(|other| *other != id);
        question.is_ready = false;
        self.in_person.remove(&id);
        let asked = question.take_asked();
        self.cancelled
            .extend(asked.into_iter().map(|member| (id, Asking::Member(member))));
        let strangers = core::mem::take(&mut question.challenged.strangers);
        self.cancelled
            .extend(strangers.into_iter().map(|n| (id, Asking::Stranger(n))));
        if matches!(was, Phase::Late(_)) || !question.goes_on_late(ended_by) {
            self.line.forget(id);
            let bodies = question.open_bodies();
            self.cancelled.extend(bodies.map(|n| (id, Asking::Body(n))));
            self.forget_together(now, &mut question);
        }
        if let Some(at) = question.wake.take() {
            self.timers.remove(&(at, id));
        }
        match was {
            Phase::Queued => self.queue.retain(|other| *other != id),
            Phase::Open if question.wanted == Wanted::Answers => {
                for target in &question.targets {
                    // A question for further blocks has that of the question that it follows.
                    if question.follows.is_none() {
                        self.pacing.free_slot(&target.key);
                    }
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
        if question.is_round {
            return self.round_over(now, id, &question, ended_by);
        }
        if let Some(first) = question.follows {
            self.forget_token(&question);
            return self.followed_up(first, &question);
        }
        let late = question.late.filter(|_| question.goes_on_late(ended_by));
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
    pub(super) fn forget_token(&mut self, question: &Question) {
        self.by_token.remove(&question.token);
        let taken_until = match question.last_sent {
            Some(last) => last + question.token_reuse,
            None => Instant::ZERO,
        };
        self.tokens.give_back(question.token, taken_until);
    }

    /// Why the next transmission of a question waits.
    pub(super) fn held(&self, now: Instant, id: CollectionId, question: &Question) -> Option<Held> {
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
    pub(super) fn paced_for(&self, now: Instant, id: CollectionId) -> Duration {
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
    pub(super) fn turn_in(&self, now: Instant, id: CollectionId) -> Duration {
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
    pub(super) fn tell(&mut self, event: CollectionEvent) {
        let event = self.of_first(event).and_then(|e| self.tell_of_round(e));
        let Some(event) = event else {
            return;
        };
        if self.events.len() < self.config.events {
            self.events.push_back(event);
        }
    }
}

/// MAX_SERVER_RESPONSE_DELAY when it is unknown (seed -03 section 3.1).
const UNKNOWN_DELAY: Duration = Duration::from_secs(250);

/// An answer on its way to the application.
pub(super) struct Arrived<'a> {
    pub(super) member: Option<MemberIndex>,
    pub(super) path: &'a Path,
    pub(super) sender: &'a Sender,
    pub(super) kind: Option<Type>,
    pub(super) how: How,
}

/// Notes for the pace of the groups that a response came from there. Says whether a restriction is lifted.
pub(super) fn respond_for(question: &mut Question, pacing: &mut Pacing, path: &Path) -> bool {
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
pub(super) fn encode(request: &Request, token_len: usize) -> Result<Vec<u8>, CollectError> {
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

/// The encoded length of options and payload; without limit if they cannot be encoded.
pub(crate) fn body_len(response: &Response) -> usize {
    let mut body = alloc::vec![0; encoded_bound(&response.options, &response.payload)];
    let mut writer = Writer::tail(&mut body);
    let written = response
        .options
        .write(&mut writer)
        .and_then(|()| writer.payload(&response.payload));
    match written {
        Ok(()) => writer.len(),
        Err(_) => usize::MAX,
    }
}

pub(super) fn earlier(wake: Option<Instant>, at: Instant) -> Option<Instant> {
    Some(wake.map_or(at, |wake| wake.min(at)))
}
