//! The work seam: what is handed out, what waits for it, and what comes back.

use super::Endpoint;
use crate::time::Instant;
use crate::work::{Task, WorkId, WorkResult};

/// A message that waits for work: without security none does.
#[cfg(not(feature = "oscore"))]
pub(super) enum Parked {}

#[cfg(feature = "oscore")]
pub(super) use super::protect::Parked;

impl Endpoint {
    /// A piece of work is done, in whatever order. Unknown and repeated ids are ignored.
    pub fn work_done(&mut self, now: Instant, id: WorkId, result: WorkResult) {
        match self.memberships_at_work.remove(&id) {
            Some(task) => self.membership_done(now, &task, result),
            None => self.security_done(now, id, result),
        }
    }

    #[cfg(not(feature = "oscore"))]
    fn security_done(&mut self, _now: Instant, _id: WorkId, _result: WorkResult) {}

    fn membership_done(&mut self, now: Instant, task: &Task, result: WorkResult) {
        let outcome = match result {
            WorkResult::Failed(failure) => Err(failure),
            _ => Ok(()),
        };
        self.server.memberships_mut().task_done(now, task, outcome);
    }

    #[cfg(not(feature = "oscore"))]
    pub(super) fn handle_work_timeout(&mut self, now: Instant) {
        let _nothing = self.parking.expire(now);
    }

    #[cfg(not(feature = "oscore"))]
    pub(super) fn next_work_timeout(&self) -> Option<Instant> {
        self.parking.next_timeout()
    }
}
