//! Protected requests that came in: opened in two steps with the work in between, and then on as any other message.
//!
//! Nothing here delivers a message that was not opened; nothing that is not opened changes a window.

use alloc::boxed::Box;
use alloc::string::String;

use antiphon_oscore::{
    ErrorAnswer, GroupId, Job, Kid, Mode, Opened, Opening, Reason, Refused, Step,
};
use antiphon_wire::{Message, OptionNumber};

use super::answer::Asker;
use super::protect::{FromStranger, Parked};
use super::{Endpoint, Origin};
use crate::identity::{Identity, SecurityMode, Sender, Standing};
use crate::message::Response;
use crate::parking::Direction;
use crate::path::Path;
use crate::security::{Fetch, NotProtected, at};
use crate::time::Instant;
use crate::work::Task;

impl Origin {
    /// Did the request come by multicast, or is that not known? Nobody then gets an error of the security layer
    /// (draft-ietf-core-oscore-groupcomm-28 section 7).
    pub(super) fn may_be_multicast(&self) -> bool {
        self.path.is_multicast() || self.path.local.ip().is_unspecified()
    }
}

/// Was something taken from the budget of its source to open a message?
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Paid {
    Yes,
    No,
}

impl Endpoint {
    /// A protected request, of which the message layer knows that it is no duplicate.
    pub(super) fn open_request(&mut self, now: Instant, origin: Origin, message: &Message<'_>) {
        let multicast = origin.may_be_multicast();
        let contexts = &mut self.guard.contexts;
        match contexts.begin_request(at(now), message, multicast) {
            Err(refused) => {
                let from = FromStranger::Request(origin);
                if !self.wait_for_credential(now, from, origin.path, refused, message) {
                    self.guard.counters.count(refused.reason);
                    self.answer_refused(now, origin, refused.reason);
                }
            }
            step => self.go_on_with_request(now, origin, step, Paid::No),
        }
    }

    pub(super) fn go_on_with_request(
        &mut self,
        now: Instant,
        origin: Origin,
        step: Result<Step<Opened>, Refused>,
        paid: Paid,
    ) {
        match step {
            Ok(Step::Done(opened)) => self.opened(now, origin, opened, paid),
            Ok(Step::Work(opening, job)) => {
                let parked = |opening| Parked::Request(origin, opening);
                if !self.work_on(now, &origin.path, opening, job, parked) {
                    self.lose(&origin);
                }
            }
            Err(refused) => {
                self.guard.counters.count(refused.reason);
                self.answer_refused(now, origin, refused.reason);
            }
        }
    }

    /// There is no room for a request, no time, or no key yet: it is as if it had been lost on the way, so that its repetition is looked at.
    pub(super) fn lose(&mut self, origin: &Origin) {
        self.outer.forget(origin);
        if let Some(record) = origin.record {
            self.dedup.forget(record);
        }
    }

    /// Parks a message that is being opened. Signatures of a source of which too much has failed are not looked at. False: it
    /// was dropped.
    pub(super) fn work_on(
        &mut self,
        now: Instant,
        path: &Path,
        opening: Box<Opening>,
        job: Job,
        parked: impl FnOnce(Box<Opening>) -> Parked,
    ) -> bool {
        if !self.guard.failures.take(now, path.peer.ip()) {
            self.guard.counters.over_budget += 1;
            self.guard.contexts.give_up(opening);
            return false;
        }
        let len = opening.message().len();
        let task = match job {
            Job::Verify(job) => Task::Verify(job),
            Job::Agree(job) => Task::Agree(job),
        };
        let parked = parked(opening);
        if let Err(parked) = self.hand_out(now, path.peer, len, Direction::Incoming, parked, task) {
            self.give_up_parked(now, *parked, NotProtected::Crowded);
            return false;
        }
        true
    }

    /// A request was opened: it is served, or its sender is to send an Echo value back first.
    fn opened(&mut self, now: Instant, origin: Origin, opened: Opened, paid: Paid) {
        self.outer.opened(&origin);
        let opened = match opened {
            Opened::Request(opened) => {
                self.repay(&origin.path, paid);
                opened
            }
            // What is challenged may be an old message that somebody sends again: its verification stays paid for.
            Opened::Challenge(challenged) => {
                let mode = self.mode(challenged.mode, challenged.received.group());
                let received = challenged.received;
                let asker = Asker {
                    received: Some(Box::new(received)),
                    ..Asker::from(origin)
                };
                let leisure = self.server.draw_leisure(&origin.path, mode);
                return self.challenge(now, asker, leisure);
            }
        };
        let context = opened.received.context();
        if let Some(note) = opened.echoed {
            let peer = origin.path.peer;
            self.guard.echoed(context, &opened.sender, note, peer);
        }
        let Ok(message) = Message::parse(&opened.message) else {
            self.guard.counters.content += 1;
            return;
        };
        self.guard.counters.requests += 1;
        let sender = Sender::Proven(Identity(opened.sender.identity().to_vec()));
        self.heard_from(now, origin.path.peer, &sender);
        let reachable = self
            .guard
            .is_reachable(context, &opened.sender, origin.path.peer);
        let group = String::from(opened.sender.group());
        let own_id = opened.received.group();
        let own_id = own_id.and_then(|id| self.guard.contexts.group(id)?.sender_id());
        let standing = Standing {
            sender: &sender,
            mode: self.mode(opened.mode, opened.received.group()),
            security_group: opened.received.group().is_some().then_some(&*group),
            fresh: opened.fresh,
            reachable,
            own_id: own_id.as_ref().map(Kid::as_bytes),
            own_address: self.own_address(&origin.path),
        };
        let asker = Asker {
            received: Some(Box::new(opened.received)),
            ..Asker::from(origin)
        };
        self.serve(now, asker, &standing, &message);
    }

    /// How a message was protected, as the server knows it.
    pub(super) fn mode(&self, mode: Mode, group: Option<GroupId>) -> SecurityMode {
        let group = group.and_then(|id| self.guard.contexts.group(id));
        match mode {
            Mode::Plain => SecurityMode::Oscore,
            Mode::Group => SecurityMode::Group,
            Mode::Pairwise => SecurityMode::Pairwise {
                only: group.is_some_and(|group| !group.suite().has_group_mode()),
            },
        }
    }

    /// What a server says to a request that it could not open: nothing, unless it was set up to say something to those who asked by unicast.
    pub(super) fn answer_refused(&mut self, now: Instant, origin: Origin, reason: Reason) {
        self.outer.forget(&origin);
        let answer = reason.answer(origin.may_be_multicast());
        let answer = answer.filter(|_| self.guard.config.answer_errors);
        let answer = answer.filter(|_| self.guard.challenges.take(now, origin.path.peer.ip()));
        let Some(answer) = answer else {
            self.counters.silenced += 1;
            if reason.is_passing() {
                self.lose(&origin);
            }
            return;
        };
        self.guard.counters.errors_answered += 1;
        let mut response = error(answer);
        if matches!(reason, Reason::NoCredential { .. }) {
            // When it is worth while to try again (draft section 7.2).
            let again = self.guard.config.unknown_for.as_secs();
            let again = u32::try_from(again).unwrap_or(u32::MAX);
            response.options.push_uint(OptionNumber::MAX_AGE, again);
        }
        self.answer(now, origin.into(), None, &response);
    }

    /// The message of an unknown member waits until its credential is there, if that is to be fetched.
    pub(super) fn wait_for_credential(
        &mut self,
        now: Instant,
        from: FromStranger,
        path: Path,
        refused: Refused,
        message: &Message<'_>,
    ) -> bool {
        let Reason::NoCredential { group, kid } = refused.reason else {
            return false;
        };
        let fetch = self.guard.fetch(now, path.peer.ip(), group, kid);
        if fetch == Fetch::Drop {
            return false;
        }
        let id = self.fresh_work_id();
        let bytes = message.as_bytes();
        let parked = Parked::Stranger(from, bytes.to_vec());
        let direction = Direction::Incoming;
        let waits = self
            .parking
            .park(now, id, path.peer, bytes.len(), direction, parked);
        if waits.is_err() {
            return false;
        }
        if fetch == Fetch::Ask {
            let work = self.fresh_work_id();
            self.guard.fetching(now, group, kid, work);
            self.work.push_back(crate::work::Work {
                id: work,
                task: Task::LoadCredential { group, kid },
            });
        }
        self.guard.wait_for(group, kid, id);
        true
    }

    /// May this source be sent one more challenge? If not, its request is lost, so that it gets one when it comes again.
    pub(super) fn may_challenge(&mut self, now: Instant, asker: &Asker) -> bool {
        let peer = asker.origin.path.peer;
        if !self.guard.challenges.take(now, peer.ip()) {
            self.guard.counters.challenges_withheld += 1;
            self.lose(&asker.origin);
            return false;
        }
        self.guard.counters.challenges += 1;
        true
    }

    /// What was taken from the budget of its source for a message that turned out genuine comes back.
    pub(super) fn repay(&mut self, path: &Path, paid: Paid) {
        if paid == Paid::Yes {
            self.guard.failures.give_back(path.peer.ip());
        }
    }
}

/// An error response, with Max-Age 0 where it must not be cached.
fn error(answer: ErrorAnswer) -> Response {
    let mut response = Response::new(answer.code);
    if answer.max_age_zero {
        response.options.push(OptionNumber::MAX_AGE, &[]);
    }
    if let Some(text) = answer.text {
        response.payload.extend_from_slice(text.as_bytes());
    }
    response
}
