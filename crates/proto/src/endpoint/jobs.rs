//! What comes back from the work seam for protected messages, and what leaves the parking lot.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;

use antiphon_oscore::{Agreed, ContextId, Contexts, GroupId, JobResult, Kid};
use antiphon_wire::Message;

use super::Endpoint;
use super::open::Paid;
use super::protect::{FromStranger, Parked};
use crate::event::Event;
use crate::parking::Direction;
use crate::security::{AnswerMode, NotProtected, SecurityEvent, Stored, Storing, at};
use crate::time::Instant;
use crate::work::{Task, Work, WorkFailure, WorkId, WorkResult};

impl Endpoint {
    /// The security contexts.
    pub fn security(&self) -> &Contexts {
        &self.guard.contexts
    }

    /// The security contexts, to add, to install and to remove. What needs to be durable first is the caller's to store.
    pub fn security_mut(&mut self) -> &mut Contexts {
        &mut self.guard.contexts
    }

    /// Changes whether errors are answered when a unicast request cannot be opened.
    pub fn set_answer_errors(&mut self, answered: bool) {
        self.guard.config.answer_errors = answered;
    }

    /// Changes in which mode of Group OSCORE requests are answered from now on.
    pub fn set_answers(&mut self, answers: AnswerMode) {
        self.guard.config.answers = answers;
    }

    /// Parks a message and hands out the work it waits for. An error: there is no room for the message.
    pub(super) fn hand_out(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        len: usize,
        direction: Direction,
        parked: Parked,
        task: Task,
    ) -> Result<WorkId, Box<Parked>> {
        let id = self.fresh_work_id();
        self.parking
            .park(now, id, peer, len, direction, parked)
            .map_err(Box::new)?;
        self.work.push_back(Work { id, task });
        Ok(id)
    }

    /// The next reservation of sequence numbers that is to be made durable, or deletion of a member that is idle.
    pub(super) fn poll_record(&mut self, now: Instant) -> Option<Work> {
        let reservation = self.guard.poll_reservation(now);
        let (context, what, record) = match reservation {
            Some((it, record)) => (it.context, Storing::Reservation(it), record),
            None => {
                let (it, record) = self.guard.poll_deletion(now)?;
                (it.group.into(), Storing::Deletion(it), record)
            }
        };
        let id = self.fresh_work_id();
        self.guard.storing(id, what);
        let task = Task::Store { context, record };
        Some(Work { id, task })
    }

    /// Work for a protected message is done.
    pub(super) fn security_done(&mut self, now: Instant, id: WorkId, result: WorkResult) {
        let ok = matches!(result, WorkResult::Done);
        match self.guard.stored(now, id, ok) {
            Some(Stored::Reservation(context)) => return self.reserved(now, context, ok),
            Some(Stored::Deletion) => return,
            None => {}
        }
        let found = matches!(result, WorkResult::Credential(Some(_)));
        if let Some((group, kid, waiting)) = self.guard.fetched(now, id, found) {
            return self.fetched(now, group, kid, result, waiting);
        }
        let Some(parked) = self.parking.take(id) else {
            // A secret is worth keeping even if nobody waits for it any more.
            if let WorkResult::Agreed(agreed) = result {
                self.agreed(agreed);
            }
            return;
        };
        match (parked, result) {
            (Parked::Request(origin, opening), result) => match job_result(result) {
                Some(result) => {
                    let step = self.guard.contexts.finish_request(at(now), opening, result);
                    self.go_on_with_request(now, origin, step, Paid::Yes);
                }
                None => {
                    self.lose(&origin);
                    self.guard.contexts.give_up(opening);
                    self.guard.counters.key_failures += 1;
                }
            },
            (Parked::Response(heard, opening), result) => match job_result(result) {
                Some(result) => self.finish_response(now, heard, opening, result),
                None => {
                    self.guard.contexts.give_up(opening);
                    self.guard.counters.key_failures += 1;
                }
            },
            (Parked::Signing(outgoing, signing, keys), WorkResult::Signed(signature)) => {
                self.signed(now, outgoing, *signing, keys, &signature);
            }
            (Parked::Signing(outgoing, ..), _) => {
                self.not_protected(now, outgoing, NotProtected::NoSignature);
            }
            (Parked::Waiting(outgoing), WorkResult::Agreed(agreed)) => match self.agreed(agreed) {
                true => self.protect(now, outgoing),
                false => self.not_protected(now, outgoing, NotProtected::NoSignature),
            },
            (Parked::Waiting(outgoing), _) => {
                self.not_protected(now, outgoing, NotProtected::NoSignature);
            }
            (Parked::Stranger(..), _) => {}
        }
    }

    fn agreed(&mut self, agreed: Agreed) -> bool {
        self.guard.contexts.agreed(agreed).is_ok()
    }

    fn reserved(&mut self, now: Instant, context: ContextId, ok: bool) {
        match ok {
            true => self.try_again(now),
            false => self
                .events
                .push_back(Event::Security(SecurityEvent::NotReserved(context))),
        }
    }

    /// A credential was fetched: those who wait for it begin again.
    fn fetched(
        &mut self,
        now: Instant,
        group: GroupId,
        kid: Kid,
        result: WorkResult,
        waiting: Vec<WorkId>,
    ) {
        let known = match result {
            WorkResult::Credential(Some(credential)) => {
                let group = self.guard.contexts.group_mut(group);
                group.is_some_and(|group| group.add_peer_on_reception(kid, credential).is_ok())
            }
            _ => false,
        };
        for id in waiting {
            let Some(Parked::Stranger(from, bytes)) = self.parking.take(id) else {
                continue;
            };
            let Ok(message) = Message::parse(&bytes) else {
                continue;
            };
            match (from, known) {
                (FromStranger::Request(origin), true) => self.open_request(now, origin, &message),
                (FromStranger::Response(heard), true) => self.open_again(now, heard, &message),
                (FromStranger::Request(origin), false) => {
                    let reason = antiphon_oscore::Reason::NoCredential { group, kid };
                    self.answer_refused(now, origin, reason);
                }
                (FromStranger::Response(_), false) => {}
            }
        }
    }

    /// Drops what has waited too long, and does what is due for what still waits.
    pub(super) fn handle_work_timeout(&mut self, now: Instant) {
        self.outer.expire(now);
        self.acknowledge_slow_answers(now);
        for (id, parked) in self.parking.expire(now) {
            self.work.retain(|work| work.id != id);
            let why = match &parked {
                Parked::Waiting(_) => NotProtected::NotReserved,
                _ => NotProtected::NoSignature,
            };
            self.give_up_parked(now, parked, why);
        }
        if self.guard.handle_timeout(now) {
            self.try_again(now);
        }
    }

    pub(super) fn next_work_timeout(&self) -> Option<Instant> {
        let contexts = self.guard.contexts.next_timeout();
        let contexts = contexts.map(|after| Instant::ZERO + after);
        let parked = self.parking.next_timeout();
        self.guard.next_timeout(
            [contexts, parked, self.outer.next_timeout()]
                .into_iter()
                .flatten()
                .min(),
        )
    }
}

/// What a worker made of an opening; `None` if it could not do its work.
fn job_result(result: WorkResult) -> Option<JobResult> {
    match result {
        WorkResult::Checked(checked) => Some(JobResult::Checked(checked)),
        WorkResult::Agreed(agreed) => Some(JobResult::Agreed(agreed)),
        WorkResult::Failed(WorkFailure::Key | WorkFailure::System(_)) => None,
        _ => None,
    }
}
