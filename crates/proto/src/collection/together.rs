//! Further blocks by group requests (groupcomm-bis-18 section 3.8): each asks all members for the next block that one of
//! them lacks.
//!
//! The first blocks are gathered until the first request has had its time. Then one question follows the other, each with
//! a token of its own and in the place that the first one has at its groups. Who does not answer one of them, begins anew,
//! or is the only one left, is asked for the rest by unicast.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use antiphon_wire::{Class, Message, OptionNumber};

use super::outcome::{CollectionEvent, Verdict};
use super::question::{Phase, Question};
use super::request::{AnswerLimits, Completion, End, FurtherBlocks, GroupRequest, GroupTarget};
use super::{Asking, CollectionId, Collections, For, Repeat};
use crate::block::{BodyFailure, Step, Transfer, block, later_block};
use crate::expect::{Expectation, MemberIndex};
use crate::failure::Failure;
use crate::identity::Sender;
use crate::message::{Request, Response};
use crate::path::Path;
use crate::rng::Rng;
use crate::time::Instant;

/// How far the blocks are that are asked for by group requests.
#[derive(Debug, Default)]
pub(crate) struct Together {
    /// Enough first blocks are there; those that come later are no part of it.
    begun: bool,
    /// The question that asks for a block now.
    asking: Option<CollectionId>,
    /// Where that block begins; 0: none was asked for yet.
    at: usize,
}

impl Question {
    /// Are first blocks still being gathered?
    pub(super) fn gathers(&self) -> bool {
        self.phase == Phase::Open && self.together.as_ref().is_some_and(|t| !t.begun)
    }

    fn holds_any(&self) -> bool {
        self.bodies.iter().any(|body| body.held.is_some())
    }

    /// When the first request has had its time.
    pub(super) fn gathered_at(&self) -> Option<Instant> {
        if !self.gathers() || !self.holds_any() || !self.is_fully_sent() {
            return None;
        }
        let patience = self.patience.min(self.end.deadline);
        self.last_sent.map(|last| last + patience)
    }

    /// Nobody who is expected is still waited for: they have answered, or at least begun to.
    fn all_have_begun(&self) -> bool {
        let expected = self.responders.expected();
        // Each of them is looked at once: this is asked with every answer.
        let mut begun = alloc::vec![false; expected];
        for MemberIndex(member) in self.bodies.iter().filter_map(|body| body.member) {
            if let Some(begun) = begun.get_mut(member as usize) {
                *begun = true;
            }
        }
        expected > 0
            && (0..)
                .map(MemberIndex)
                .zip(begun)
                .all(|(member, begun)| begun || !self.responders.is_silent(member))
    }

    /// Is it time to ask for the second blocks? It is so once.
    pub(super) fn is_gathered(&mut self, now: Instant) -> bool {
        if !self.gathers() || !self.holds_any() {
            return false;
        }
        let all = self.all_have_begun();
        if !all && self.gathered_at().is_none_or(|at| at > now) {
            return false;
        }
        if all {
            self.repeats = 0; // there is nobody left to hear them
        }
        if let Some(together) = &mut self.together {
            together.begun = true;
        }
        true
    }

    /// What was sent for it by another question.
    fn count(&mut self, follow_up: &Self) {
        self.transmissions += follow_up.transmissions;
        self.bytes += follow_up.bytes;
    }

    fn held(&self) -> impl Iterator<Item = (u32, &Transfer)> {
        self.bodies
            .iter()
            .filter_map(|body| Some((body.number(), body.held.as_deref()?)))
    }
}

impl Collections {
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.held.0
    }

    /// Keeps what is there of an answer until its next block is asked for.
    pub(super) fn hold(&mut self, id: CollectionId, n: u32, transfer: Box<Transfer>) {
        let question = self.questions.get_mut(&id);
        if let Some(body) = question.and_then(|question| question.bodies.get_mut(n as usize)) {
            self.held.0 += transfer.footprint();
            body.held = Some(transfer);
        }
    }

    /// Takes it back, to go on by unicast or to an end.
    fn release(&mut self, id: CollectionId, n: u32) -> Option<Box<Transfer>> {
        let body = self.questions.get_mut(&id)?.bodies.get_mut(n as usize)?;
        let transfer = body.held.take()?;
        self.held.0 = self.held.0.saturating_sub(transfer.footprint());
        Some(transfer)
    }

    /// The question is over, and with it what was asked on its behalf.
    pub(super) fn forget_together(&mut self, now: Instant, question: &mut Question) {
        for body in &mut question.bodies {
            if let Some(transfer) = body.held.take() {
                self.held.0 = self.held.0.saturating_sub(transfer.footprint());
            }
        }
        let Some(asking) = question.together.take().and_then(|t| t.asking) else {
            return;
        };
        if let Some(follow_up) = self.questions.get(&asking) {
            question.count(follow_up);
        }
        self.close(now, asking);
    }

    /// Asks the groups for the next blocks, where it is time.
    pub(crate) fn start_follow_ups(&mut self, now: Instant, rng: &mut Rng) {
        while let Some(id) = self.follow_ups.pop_front() {
            self.follow_up(now, rng, id);
        }
    }

    fn follow_up(&mut self, now: Instant, rng: &mut Rng, id: CollectionId) {
        let Some(together) = self.together(id) else {
            return;
        };
        together.asking = None;
        let at = together.at;
        // Who was asked and has not answered is asked in person.
        let missed = self.those_at(id, at);
        self.fetch_all(now, id, missed);
        let Some((at, request)) = self.next_block(id) else {
            let all = self.held_of(id);
            return self.fetch_all(now, id, all);
        };
        let follow_up = self
            .questions
            .get(&id)
            .map(|question| further(question, request));
        let begun = follow_up.and_then(|r| self.begin(now, rng, r, For::Blocks(id)).ok());
        match begun {
            Some(asking) => {
                if let Some(together) = self.together(id) {
                    (together.asking, together.at) = (Some(asking), at);
                }
            }
            None => {
                let all = self.held_of(id);
                self.fetch_all(now, id, all);
            }
        }
    }

    fn together(&mut self, id: CollectionId) -> Option<&mut Together> {
        self.questions.get_mut(&id)?.together.as_mut()
    }

    fn held_of(&self, id: CollectionId) -> Vec<u32> {
        let question = self.questions.get(&id);
        let held = question.into_iter().flat_map(Question::held);
        held.map(|(n, _)| n).collect()
    }

    /// Those that lack the block which begins there.
    fn those_at(&self, id: CollectionId, at: usize) -> Vec<u32> {
        let question = self.questions.get(&id);
        let held = question.into_iter().flat_map(Question::held);
        held.filter(|(_, transfer)| transfer.position() == Some(at))
            .map(|(n, _)| n)
            .collect()
    }

    /// The first block that one of them lacks, and the request for it. `None`: that is to be asked by unicast.
    fn next_block(&self, id: CollectionId) -> Option<(usize, Request)> {
        let question = self.questions.get(&id)?;
        let request = question.request.as_ref()?;
        let sizes = || question.held().filter_map(|(_, transfer)| transfer.size());
        if sizes().count() < 2 {
            return None;
        }
        let smallest = sizes().min()?;
        let asked_for = block(&request.options, OptionNumber::BLOCK2).is_some();
        if asked_for && sizes().any(|size| size != smallest) {
            return None;
        }
        let positions = question.held().filter_map(|(_, t)| t.position());
        let at = positions.min()?;
        let block = smallest.block_at(at, false)?;
        Some((at, later_block(request, block)))
    }

    fn fetch_all(&mut self, now: Instant, id: CollectionId, which: Vec<u32>) {
        for n in which {
            let Some(transfer) = self.release(id, n) else {
                continue;
            };
            match transfer.next_request() {
                Some(next) => self.fetch(id, n, transfer, next),
                None => self.fail_body(now, id, n, BodyFailure::Inconsistent),
            }
        }
    }

    fn fail_body(&mut self, now: Instant, id: CollectionId, n: u32, failure: BodyFailure) {
        let question = self.questions.get(&id);
        let body = question.and_then(|question| question.bodies.get(n as usize));
        if let Some(sender) = body.map(|body| body.sender().clone()) {
            self.body_done(now, id, n, &sender, Err(Failure::Body(failure)));
        }
    }

    /// The answer to a question for a further block of the answers to `id`.
    pub(super) fn further_block(
        &mut self,
        now: Instant,
        id: CollectionId,
        path: &Path,
        sender: &Sender,
        message: &Message<'_>,
    ) -> Verdict {
        let Some(question) = self.questions.get_mut(&id) else {
            return Verdict::Dropped;
        };
        let mut held = question.bodies.iter_mut();
        let body = held.find(|body| body.held.is_some() && body.came_from(path, sender));
        let response = Response::from(message);
        let behind = |transfer: &Transfer| {
            let sent = block(&response.options, OptionNumber::BLOCK2);
            let success = response.code.response_class() == Some(Class::Success);
            success && sent.is_some_and(|sent| Some(sent.start()) < transfer.position())
        };
        let Some((n, way, transfer)) = body.and_then(|body| {
            let (n, way) = (body.number(), *body.way());
            Some((n, way, body.held.as_mut()?))
        }) else {
            question.responders.dropped.same_body += 1;
            return Verdict::Dropped;
        };
        if behind(transfer) {
            // It is asked for because others lack it.
            question.responders.dropped.same_body += 1;
            return Verdict::Dropped;
        }
        let before = transfer.footprint();
        let step = transfer.on_response(response);
        let (after, progress) = (transfer.footprint(), transfer.progress());
        let anew = transfer.position() == Some(0);
        self.held.0 = (self.held.0 + after).saturating_sub(before);
        match step {
            Step::Send(next) if anew => {
                if let Some(transfer) = self.release(id, n) {
                    self.fetch(id, n, transfer, next);
                }
            }
            Step::Send(_) if self.held.0 > self.held.1 => {
                self.release(id, n);
                self.fail_body(now, id, n, BodyFailure::Crowded);
            }
            Step::Send(_) => self.body_progress(id, Asking::Body(n), &way, progress),
            Step::Done(response) => {
                self.release(id, n);
                self.body_done(now, id, n, sender, Ok(response));
            }
            Step::Failed(failure) => {
                self.release(id, n);
                self.fail_body(now, id, n, failure);
            }
        }
        self.close_follow_up(now, id);
        Verdict::Begun
    }

    /// Ends a question for a further block as soon as nobody lacks that any more.
    fn close_follow_up(&mut self, now: Instant, id: CollectionId) {
        let Some(together) = self.together(id) else {
            return;
        };
        let (Some(asking), at) = (together.asking, together.at) else {
            return;
        };
        if self.those_at(id, at).is_empty() {
            self.close(now, asking);
        }
    }

    /// A question for a further block is over: the next one may follow.
    pub(super) fn followed_up(&mut self, first: CollectionId, question: &Question) {
        if let Some(first) = self.questions.get_mut(&first) {
            first.count(question);
        }
        self.follow_ups.push_back(first);
    }

    /// What happens to a question for a further block is told of the one that it follows.
    pub(super) fn of_first(&self, event: CollectionEvent) -> Option<CollectionEvent> {
        let first = |id: &CollectionId| self.questions.get(id)?.follows;
        match event {
            CollectionEvent::Warning(id, _) if first(&id).is_some() => None, // told already
            CollectionEvent::Held(id, held) => {
                Some(CollectionEvent::Held(first(&id).unwrap_or(id), held))
            }
            CollectionEvent::SendFailed {
                collection,
                group,
                error,
            } => Some(CollectionEvent::SendFailed {
                collection: first(&collection).unwrap_or(collection),
                group,
                error,
            }),
            event => Some(event),
        }
    }
}

/// The question for a further block of the answers to another one.
fn further(first: &Question, request: Request) -> GroupRequest {
    let target = |target: &super::Target| GroupTarget {
        group: target.key.group,
        socket: target.route.socket,
        interface: target.key.interface,
    };
    GroupRequest {
        request,
        targets: first.targets.iter().map(target).collect(),
        security: first.security,
        expect: Expectation::nobody(),
        end: End {
            deadline: first.patience,
            count: None,
            when_all_expected: false,
        },
        repeat: Repeat::None,
        completion: Completion::None,
        idempotent: true,
        leisure: first.patience,
        rtt: Duration::ZERO,
        late: None,
        silent: false,
        keep_answers: false,
        blocks: FurtherBlocks::Unicast,
        caching: None,
        limits: AnswerLimits::default(), // what a body may have is counted where it is put together
    }
}
