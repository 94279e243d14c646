//! One question: its rounds to each target, its ends, and the members that are asked in person.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use antiphon_wire::{Message, MessageId, Token, Type};

use super::CollectionId;
use super::body::Body;
use super::cached::Memory;
use super::outcome::{Answer, EndedBy, HoldReason, How, Outcome, Rejection, Reply, Stage};
use super::protected::Challenged;
use super::request::{Completion, End, GroupTarget, Security};
use super::responders::{Responders, unrecognised_critical};
use super::together::Together;
use crate::exchange::SendError;
use crate::expect::{MemberAddress, MemberIndex, is_link_local, responder_address};
use crate::identity::Sender;
use crate::message::Request;
use crate::message_id::MessageIds;
use crate::pacing::{GroupKey, Pacing, Wanted};
use crate::path::{Path, Route, is_group_address};
use crate::security::Asked;
use crate::time::Instant;

/// Everything about one question.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) token: Token,
    /// The whole datagram, protected as soon as `protected` says so; only its Message ID changes between rounds.
    pub(crate) datagram: Vec<u8>,
    pub(crate) security: Security,
    pub(crate) protected: Progress,
    /// What opens the answers to a protected question.
    pub(crate) asked: Option<Box<Asked>>,
    pub(crate) challenged: Challenged,
    pub(crate) targets: Vec<Target>,
    /// Message IDs, one for each round that has begun; a single one if all rounds send the same message.
    pub(crate) ids: Vec<MessageId>,
    pub(crate) repeats: u8,
    pub(crate) same_message: bool,
    /// What is asked of silent members in person, and of those that challenge.
    pub(crate) request: Option<Request>,
    pub(crate) completion: Completion,
    /// A member may process it twice.
    #[cfg(feature = "oscore")]
    pub(crate) idempotent: bool,
    pub(crate) end: End,
    /// A round trip to the farthest member.
    pub(crate) rtt: Duration,
    /// Round trip and leisure: how long a round is given before the next.
    pub(crate) patience: Duration,
    /// How long a Confirmable exchange takes at most (MAX_TRANSMIT_WAIT), to tell others how long they wait.
    pub(crate) exchange_span: Duration,
    /// For how long the token stays taken after the last transmission.
    pub(crate) token_reuse: Duration,
    pub(crate) late: Option<Duration>,
    pub(crate) silent: bool,
    pub(crate) wanted: Wanted,
    /// How many bytes of answers may still be kept for the outcome.
    pub(crate) room_to_keep: usize,
    pub(crate) keep_answers: bool,
    pub(crate) response_bytes: usize,
    pub(crate) responders: Responders,
    pub(crate) phase: Phase,
    pub(crate) first_sent: Option<Instant>,
    /// When the last datagram to a group was sent.
    pub(crate) last_sent: Option<Instant>,
    pub(crate) transmissions: u32,
    pub(crate) bytes: u64,
    pub(crate) in_person: InPerson,
    /// Answers of several blocks.
    pub(crate) bodies: Vec<Body>,
    pub(crate) kept: Vec<Answer>,
    /// No Message ID is free before this instant.
    pub(crate) no_id_before: Option<Instant>,
    /// When it ended, and why.
    pub(crate) ended: Option<(Instant, EndedBy)>,
    /// When this question wants to be looked at next.
    pub(crate) wake: Option<Instant>,
    /// It stands in the list of questions that may send.
    pub(crate) is_ready: bool,
    /// It is a round of an observation: the token is not its own, and its answers go there.
    pub(crate) is_round: bool,
    /// The question for whose answers it asks a further block.
    pub(crate) follows: Option<CollectionId>,
    /// How far the further blocks of its answers are that are asked for by group requests, if they are.
    pub(crate) together: Option<Together>,
    /// What it has to do with the cache.
    pub(crate) memory: Memory,
}

/// How far the protection of a question is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It has none, or has it already.
    Done,
    /// It will be protected when it may be sent.
    Due,
    /// It is being protected.
    UnderWay,
}

/// Where a question stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It waits for its turn (NSTART).
    Queued,
    /// It is asked and answered.
    Open,
    /// It has ended; late answers are delivered until then.
    Late(Instant),
}

/// A group on an interface, and how far its rounds have come.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) route: Route,
    pub(crate) key: GroupKey,
    /// Datagrams sent.
    pub(crate) sent: u8,
    /// Of which could not leave.
    pub(crate) failed: u8,
    pub(crate) last_sent: Option<Instant>,
    pub(crate) last_error: Option<SendError>,
    /// Somebody answered from there.
    pub(crate) responded: bool,
    /// The application knows that the next datagram waits.
    pub(crate) told: bool,
}

impl Target {
    pub(crate) fn new(target: &GroupTarget) -> Self {
        let key = target.key();
        Self {
            route: Route {
                socket: target.socket,
                source: None,
                interface: key.interface,
                destination: target.group,
            },
            key,
            sent: 0,
            failed: 0,
            last_sent: None,
            last_error: None,
            responded: false,
            told: false,
        }
    }
}

/// The members that are asked in person.
#[derive(Debug, Default)]
pub(crate) struct InPerson {
    pub(crate) began: Option<Instant>,
    /// The next member to look at.
    next: u32,
    /// Asked, and not yet done.
    pub(crate) asked: Vec<MemberIndex>,
    pub(crate) broken_off: bool,
}

impl Question {
    /// How many datagrams each target gets at most.
    fn rounds(&self) -> u8 {
        // All expected members have answered: nothing to gain by repeats.
        if self.responders.all_expected() {
            1
        } else {
            self.repeats.saturating_add(1)
        }
    }

    /// When this target is due next; `None` if it has had all its rounds.
    pub(crate) fn due_at(&self, index: usize) -> Option<(Instant, GroupKey)> {
        let target = self.targets.get(index)?;
        if self.phase != Phase::Open || target.sent >= self.rounds() {
            return None;
        }
        let due = match target.last_sent {
            None => Instant::ZERO,
            Some(last) => last + self.patience,
        };
        Some((due, target.key))
    }

    /// For how long the next datagram to this group must wait even though it is due, and why.
    pub(crate) fn wait(
        &self,
        now: Instant,
        key: &GroupKey,
        pacing: &Pacing,
    ) -> (HoldReason, Duration) {
        let for_id = self.no_id_before.map_or(Duration::ZERO, |at| at.since(now));
        let for_pace = pacing.wait(now, key, self.wanted);
        match self.wanted {
            _ if for_id > for_pace => (HoldReason::MessageIds, for_id),
            Wanted::Answers => (HoldReason::ProbingRate, for_pace),
            Wanted::Silence => (HoldReason::GroupRate, for_pace),
        }
    }

    /// Bytes that are due for this group and have not left.
    pub(crate) fn due_bytes(&self, now: Instant, key: &GroupKey) -> usize {
        let due = |index: &usize| {
            self.due_at(*index)
                .is_some_and(|(due, group)| due <= now && group == *key)
        };
        (0..self.targets.len()).filter(due).count() * self.datagram.len()
    }

    /// Has this target been asked, and nobody answered from there?
    pub(crate) fn went_unanswered(&self, index: usize) -> bool {
        self.wanted == Wanted::Answers
            && self
                .targets
                .get(index)
                .is_some_and(|target| target.sent > target.failed && !target.responded)
    }

    /// Is it news to the application that the next datagram to this target waits?
    pub(crate) fn tell(&mut self, index: usize) -> bool {
        self.targets
            .get_mut(index)
            .is_some_and(|target| !core::mem::replace(&mut target.told, true))
    }

    /// Notes that a datagram is sent to this target.
    pub(crate) fn sent(&mut self, now: Instant, index: usize) -> Option<&Target> {
        let target = self.targets.get_mut(index)?;
        target.sent += 1;
        target.last_sent = Some(now);
        target.told = false;
        self.first_sent.get_or_insert(now);
        self.last_sent = Some(now);
        self.transmissions += 1;
        self.bytes += self.datagram.len() as u64;
        Some(target)
    }

    /// Every round has been sent to every target.
    pub(crate) fn is_fully_sent(&self) -> bool {
        self.targets
            .iter()
            .all(|target| target.sent >= self.rounds())
    }

    /// When members may be asked in person: after the last round has had its time.
    fn in_person_from(&self) -> Option<Instant> {
        match self.completion {
            Completion::Unicast { .. } if self.is_fully_sent() => {
                self.last_sent.map(|last| last + self.patience)
            }
            _ => None,
        }
    }

    /// When asking in person is broken off.
    fn in_person_until(&self) -> Option<Instant> {
        match self.completion {
            Completion::Unicast {
                within: Some(within),
                ..
            } => self.in_person.began.map(|began| began + within),
            _ => None,
        }
    }

    /// Is there, or may there be, someone to ask in person?
    fn in_person_open(&self) -> bool {
        let to_come = (self.in_person.next as usize) < self.responders.expected();
        matches!(self.completion, Completion::Unicast { .. })
            && !self.in_person.broken_off
            && !self.responders.all_expected()
            && (to_come || !self.in_person.asked.is_empty())
    }

    /// Is someone who has challenged the request still being asked again? They are given as long as a round.
    fn challenges_open(&self, now: Instant) -> bool {
        (!self.in_person.asked.is_empty() || !self.challenged.strangers.is_empty())
            && self.challenged.any
            && self.deadline().is_some_and(|at| now < at + self.patience)
    }

    /// The end by time, as soon as everything is sent.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.last_sent {
            Some(last) if self.is_fully_sent() => Some(last + self.end.deadline),
            _ => None,
        }
    }

    /// Notes that it is time to ask in person, or to stop doing so.
    pub(crate) fn advance(&mut self, now: Instant) {
        if self.phase != Phase::Open {
            return;
        }
        if self.in_person.began.is_none() && self.in_person_from().is_some_and(|at| at <= now) {
            self.in_person.began = Some(now);
        }
        if self.in_person_until().is_some_and(|at| at <= now) {
            self.in_person.broken_off = true;
        }
    }

    /// Whether the question is over, and why.
    pub(crate) fn over(&self, now: Instant) -> Option<EndedBy> {
        if self.phase != Phase::Open {
            return None;
        }
        if self.end.when_all_expected && self.responders.all_expected() {
            return Some(EndedBy::AllExpected);
        }
        if self
            .end
            .count
            .is_some_and(|count| self.responders.distinct() >= count.max(1))
        {
            return Some(EndedBy::Count);
        }
        if !self.is_fully_sent() {
            return None;
        }
        if let Some(error) = self.failed() {
            return Some(EndedBy::Failed(error));
        }
        if self.silent {
            // One instant later, so that an error of the last transmission is heard first.
            return self
                .last_sent
                .filter(|last| *last < now)
                .map(|_| EndedBy::Sent);
        }
        (self.deadline().is_some_and(|at| at <= now)
            && !self.in_person_open()
            && !self.challenges_open(now)
            && self.open_bodies().next().is_none())
        .then_some(EndedBy::Deadline)
    }

    /// The error, if no datagram has left for any target.
    fn failed(&self) -> Option<SendError> {
        let none_left = self
            .targets
            .iter()
            .all(|target| target.failed >= target.sent);
        let error = self.targets.iter().find_map(|target| target.last_error);
        error.filter(|_| none_left)
    }

    /// When the question changes by itself, apart from sending.
    pub(crate) fn next_change(&self, now: Instant) -> Option<Instant> {
        if let Phase::Late(until) = self.phase {
            return Some(until);
        }
        if self.phase == Phase::Queued || !self.is_fully_sent() {
            return None;
        }
        if self.silent {
            return self.last_sent.map(|last| last + Duration::from_micros(1));
        }
        let in_person_from = self
            .in_person_from()
            .filter(|_| self.in_person.began.is_none());
        let in_person_until = self
            .in_person_until()
            .filter(|_| !self.in_person.broken_off);
        let challenges_until = self
            .deadline()
            .filter(|_| self.challenged.any)
            .map(|at| at + self.patience);
        [
            self.gathered_at(),
            self.deadline(),
            in_person_from,
            in_person_until,
            challenges_until,
        ]
        .into_iter()
        .flatten()
        .filter(|at| *at > now)
        .min()
    }

    /// The latest end, if pacing does not hold it up; it may come sooner.
    pub(crate) fn planned_end(&self, now: Instant) -> Instant {
        let rounds = self.rounds();
        let left = self
            .targets
            .iter()
            .map(|target| rounds.saturating_sub(target.sent));
        let left = u32::from(left.max().unwrap_or(0));
        let last_sent = match self.last_sent {
            Some(last) => last + self.patience * left,
            None => now + self.patience * left.saturating_sub(1),
        };
        let deadline = last_sent + self.end.deadline;
        match self.completion {
            Completion::Unicast { within, .. } if self.in_person_open() => {
                let begins = self.in_person.began.unwrap_or(last_sent + self.patience);
                deadline.max(begins + within.unwrap_or(self.exchange_span))
            }
            _ => deadline,
        }
    }

    /// The Message ID of the next datagram to this target: that of its round, which begins with the first target.
    pub(crate) fn message_id(
        &mut self,
        now: Instant,
        index: usize,
        ids: &mut MessageIds,
    ) -> Option<MessageId> {
        let sent = self.targets.get(index)?.sent;
        let round = if self.same_message {
            0
        } else {
            usize::from(sent)
        };
        if let Some(id) = self.ids.get(round) {
            ids.sent_again(now, *id);
            return Some(*id);
        }
        match ids.next_for_groups(now) {
            Ok(id) => {
                self.no_id_before = None;
                self.ids.push(id);
                Some(id)
            }
            Err(free_at) => {
                self.no_id_before = Some(free_at);
                None
            }
        }
    }

    /// Whether a message cannot be an answer to this question, and what its sender is told on the message layer.
    pub(crate) fn ignores(
        &mut self,
        path: &Path,
        sender: &Sender,
        message: &Message<'_>,
    ) -> Option<Reply> {
        let by_unicast = !path.is_multicast() && !is_group_address(path.peer.ip());
        let dropped = &mut self.responders.dropped;
        if !by_unicast || !matches!(message.kind(), Type::Con | Type::Non) {
            dropped.not_unicast += 1;
            return Some(Reply::Nothing);
        }
        if self.silent {
            return Some(Reply::Reset);
        }
        if self.security.is_protected() && !sender.is_proven() {
            // Anyone can forge it: a hint at most (threat: errors that are injected to stop a client).
            dropped.unprotected += 1;
            return Some(Reply::Nothing);
        }
        None
    }

    /// Notes whose response is not acceptable; what its sender is told on the message layer.
    pub(crate) fn reject(
        &mut self,
        path: &Path,
        sender: &Sender,
        message: &Message<'_>,
        rejection: Rejection,
    ) -> Reply {
        let member = self.responders.members.find(path, sender, message);
        let peer = responder_address(path);
        self.responders.reject(member, peer, sender, rejection);
        match rejection {
            Rejection::TooLarge(_) | Rejection::Incomplete(_) | Rejection::NotStored => {
                Reply::Acknowledge
            }
            Rejection::CriticalOption(_) | Rejection::ReservedCode(_) => Reply::Reset,
        }
    }

    /// What is wrong with a response, if anything.
    pub(crate) fn unacceptable(&self, message: &Message<'_>) -> Option<Rejection> {
        if message.code().is_reserved() {
            return Some(Rejection::ReservedCode(message.code()));
        }
        let bytes = message.options_and_payload().len();
        if bytes > self.response_bytes {
            return Some(Rejection::TooLarge(bytes));
        }
        unrecognised_critical(message).map(Rejection::CriticalOption)
    }

    /// Keeps an answer for the outcome, if that is wanted.
    pub(crate) fn keep(&mut self, answer: &Answer) {
        if !self.keep_answers {
            return;
        }
        match self.room_to_keep.checked_sub(answer.footprint()) {
            Some(room) => {
                self.room_to_keep = room;
                self.kept.push(answer.clone());
            }
            None => self.responders.dropped.not_kept += 1,
        }
    }

    /// How an answer that comes now came about.
    pub(crate) fn how(&self) -> How {
        let sent = self.targets.iter().map(|target| target.sent).max();
        match (self.phase, sent.unwrap_or(0)) {
            (Phase::Late(_), _) => How::Late,
            (_, 0 | 1) => How::Multicast,
            (_, sent) => How::Repeat(sent - 1),
        }
    }

    /// The next silent member to ask in person, with the way to it. Members without an address are passed over.
    pub(crate) fn next_in_person(&mut self) -> Option<(MemberIndex, Route, Request)> {
        let Completion::Unicast { at_once, .. } = self.completion else {
            return None;
        };
        // It is called only after asking in person has begun, and not after the end.
        while !self.in_person.broken_off
            && self.in_person.asked.len() < at_once
            && (self.in_person.next as usize) < self.responders.expected()
        {
            let member = MemberIndex(self.in_person.next);
            self.in_person.next += 1;
            let begun = |body: &Body| body.member == Some(member);
            if !self.responders.is_silent(member)
                || self.in_person.asked.contains(&member)
                || self.bodies.iter().any(begun)
            {
                continue;
            }
            match (self.route_to(member), &self.request) {
                (Some(route), Some(request)) => {
                    self.in_person.asked.push(member);
                    return Some((member, route, request.clone()));
                }
                _ => self.responders.unicast_failed(member, None),
            }
        }
        None
    }

    /// The way to a member: its first address of a family in which the group was asked.
    fn route_to(&self, member: MemberIndex) -> Option<Route> {
        way_to(&self.targets, self.responders.members.addresses(member))
    }

    /// Who was asked in person and is not done; the question is over for them.
    pub(crate) fn take_asked(&mut self) -> Vec<MemberIndex> {
        core::mem::take(&mut self.in_person.asked)
    }

    /// Do answers still count when it has ended this way?
    pub(crate) fn goes_on_late(&self, ended_by: EndedBy) -> bool {
        let by_itself = matches!(
            ended_by,
            EndedBy::Deadline | EndedBy::Count | EndedBy::AllExpected
        );
        by_itself && self.late.is_some()
    }

    /// Where it is in its course.
    pub(crate) fn stage(&self) -> Stage {
        match self.phase {
            Phase::Late(_) => Stage::Late,
            _ if self.first_sent.is_none() => Stage::Waiting,
            _ if !self.is_fully_sent() => Stage::Asking,
            _ if self.in_person.began.is_some() && self.in_person_open() => Stage::Completing,
            _ => Stage::Collecting,
        }
    }

    /// What came out of it so far. The names and reports are copied.
    pub(crate) fn outcome(&self, id: CollectionId, now: Instant) -> Outcome {
        Outcome {
            unexpected: self.responders.others().to_vec(),
            names: self.responders.members.names(),
            reports: self.responders.reports().to_vec(),
            kept: self.kept.clone(),
            ..self.summary(id, now)
        }
    }

    /// What came out of it. Nothing is copied.
    pub(crate) fn into_outcome(mut self, id: CollectionId, now: Instant) -> Outcome {
        let summary = self.summary(id, now);
        let kept = core::mem::take(&mut self.kept);
        let (members, reports, unexpected) = self.responders.into_parts();
        Outcome {
            unexpected,
            names: members.into_names(),
            reports,
            kept,
            ..summary
        }
    }

    fn summary(&self, id: CollectionId, now: Instant) -> Outcome {
        let (at, ended_by) = self.ended.unwrap_or((now, EndedBy::Closed));
        Outcome {
            collection: id,
            ended_by,
            took: self
                .first_sent
                .map(|first| at.since(first))
                .unwrap_or_default(),
            transmissions: self.transmissions,
            bytes: self.bytes,
            answers: self.responders.answers,
            dropped: self.responders.dropped,
            unexpected: Vec::new(),
            names: Default::default(),
            reports: Vec::new(),
            kept: Vec::new(),
        }
    }
}

/// The way to a member: its first address of a family in which the group was asked.
pub(crate) fn way_to(targets: &[Target], addresses: &[MemberAddress]) -> Option<Route> {
    addresses.iter().find_map(|address| {
        let target = targets.iter().find(|target| reaches(target, address))?;
        let port = address.port().unwrap_or(target.key.group.port());
        let link_local = matches!(address.ip(), core::net::IpAddr::V6(ip) if is_link_local(ip));
        let interface = match address.scope() {
            Some(scope) => scope,
            None if link_local => target.key.interface,
            None => 0,
        };
        Some(Route {
            socket: target.route.socket,
            source: None,
            interface,
            destination: destination(address, port, interface),
        })
    })
}

/// Is the address of the family of this target, and on its interface if it names one?
fn reaches(target: &Target, address: &MemberAddress) -> bool {
    let group = &target.key;
    address.ip().is_ipv4() == group.group.is_ipv4()
        && address
            .scope()
            .is_none_or(|scope| group.interface == 0 || group.interface == scope)
}

fn destination(address: &MemberAddress, port: u16, scope: u32) -> core::net::SocketAddr {
    match address.ip() {
        core::net::IpAddr::V6(ip) if is_link_local(ip) => {
            core::net::SocketAddrV6::new(ip, port, 0, scope).into()
        }
        ip => core::net::SocketAddr::new(ip, port),
    }
}
