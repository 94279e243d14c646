//! What verifying a request and verifying a response have in common (draft sections 7.2, 7.4, 8.4 and 8.6).

use alloc::boxed::Box;
use core::time::Duration;

use super::{AgreeJob, Job, JobResult, Opening, Step, With};
use crate::context::{Context, Recipient};
use crate::contexts::{ContextId, Contexts, GroupId, Scratch};
use crate::group::Group;
use crate::group_mode::Binding;
use crate::identity::{Kid, Mode};
use crate::refused::{Reason, Refused};

/// What the result of the work says.
pub(super) enum Settled {
    /// The pairwise keys are there now.
    Agreed,
    /// Whether the countersignature is right.
    Checked(bool),
}

impl Contexts {
    /// Takes the result of the work that a message waited for.
    pub(super) fn settle(
        &mut self,
        opening: &Opening,
        result: JobResult,
    ) -> Result<Settled, Refused> {
        let settled = match result {
            JobResult::Agreed(agreed) => opening
                .check(&agreed)
                .and_then(|()| self.agreed(agreed))
                .map(|()| Settled::Agreed),
            JobResult::Checked(checked) => checked
                .of(opening.ticket)
                .map(Settled::Checked)
                .ok_or(Reason::WrongResult),
        };
        settled.map_err(|reason| Refused::in_context(opening.candidate.place, reason))
    }

    /// A message does not wait any more. To be called for those that are given up while their work is under way;
    /// `finish` does it by itself.
    pub fn give_up(&mut self, opening: Box<Opening>) {
        self.leave(&opening);
    }

    pub(super) fn leave(&mut self, opening: &Opening) {
        let ContextId::Group(id) = opening.candidate.place else {
            return;
        };
        let serial = opening.candidate.serial;
        let context = self
            .group_mut(id)
            .and_then(|group| group.context_mut(serial));
        if let Some(context) = context {
            context.in_progress = context.in_progress.saturating_sub(1);
        }
    }
}

impl Context {
    /// The work that has to be done before a message can be decrypted, if there is any.
    pub(super) fn work(
        &self,
        group: GroupId,
        (kid, peer): (Kid, &Recipient),
        mode: Mode,
        binding: &Binding<'_>,
        payload: &[u8],
        ticket: u64,
    ) -> Result<Option<Job>, Reason> {
        if mode == Mode::Group {
            let keys = self.common.countersigning();
            let job = keys.job(&peer.credential, binding, payload, ticket)?;
            return Ok(Some(Job::Verify(job)));
        }
        Ok(self.agree_with(group, kid, peer).map(Job::Agree))
    }

    /// What is to be agreed on with a peer whose pairwise keys are not there.
    pub(crate) fn agree_job(&self, group: GroupId, kid: Kid) -> Option<AgreeJob> {
        self.agree_with(group, kid, self.recipients.get(kid)?)
    }

    fn agree_with(&self, group: GroupId, kid: Kid, peer: &Recipient) -> Option<AgreeJob> {
        let sender = self.sender.as_ref()?;
        if peer.pairwise.is_some() {
            return None;
        }
        Some(AgreeJob {
            with: With {
                group,
                context: self.serial,
                sender: sender.serial,
                kid,
                recipient: peer.serial,
            },
            peer: Box::new(peer.credential.public_key().clone()),
        })
    }
}

impl Group {
    /// The Security Context with this serial number and, in it, the Recipient Context of the sender of a message.
    pub(super) fn context_for(
        &self,
        group: GroupId,
        serial: u64,
        kid: Kid,
        mode: Mode,
    ) -> Result<(&Context, &Recipient), Reason> {
        let context = self.context(serial).ok_or(Reason::Superseded)?;
        if context.own_id() == Some(kid) {
            return Err(Reason::OwnKid);
        }
        if !context.has_mode(mode) {
            return Err(Reason::ModeUnavailable(mode));
        }
        let peer = context
            .recipients
            .get(kid)
            .ok_or(match self.settings.dynamic {
                true => Reason::NoCredential { group, kid },
                false => Reason::NoContext,
            })?;
        Ok((context, peer))
    }

    /// The message waits until the work is done.
    pub(super) fn wait<T>(&mut self, opening: Opening, job: Job) -> Step<T> {
        if let Some(context) = self.context_mut(opening.candidate.serial) {
            context.in_progress = context.in_progress.saturating_add(1);
        }
        Step::Work(Box::new(opening), job)
    }

    /// Decrypts and verifies with the pairwise keys, which are there.
    pub(super) fn decrypt_pairwise(
        &mut self,
        now: Duration,
        serial: u64,
        kid: Kid,
        binding: &Binding<'_>,
        payload: &[u8],
        scratch: &mut Scratch,
    ) -> Result<(), Reason> {
        let context = self.context_mut(serial).ok_or(Reason::Superseded)?;
        let decrypted = context.pairwise_decrypt(kid, binding, payload, scratch);
        decrypted.inspect_err(|reason| self.failed(now, serial, kid, *reason))
    }

    /// The countersignature was looked at: decrypts, with the same keys.
    pub(super) fn decrypt_checked(
        &mut self,
        now: Duration,
        opening: &Opening,
        binding: &Binding<'_>,
        payload: &[u8],
        valid: bool,
        scratch: &mut Scratch,
    ) -> Result<(), Reason> {
        let (serial, kid) = (opening.candidate.serial, opening.kid);
        self.may_finish(serial, now)?;
        let context = self.context_mut(serial).ok_or(Reason::Superseded)?;
        let peer = context.recipients.get(kid);
        if peer.is_none_or(|peer| peer.serial != opening.recipient) {
            return Err(Reason::Superseded);
        }
        let decrypted = match valid {
            true => context.group_decrypt(kid, binding, payload, scratch),
            false => Err(Reason::NotVerified),
        };
        decrypted.inspect_err(|reason| self.failed(now, serial, kid, *reason))
    }

    pub(super) fn may_begin(&self) -> Result<(), Reason> {
        if self.is_lost() {
            return Err(Reason::Lost);
        }
        match self.installing {
            true => Err(Reason::Installing),
            false => Ok(()),
        }
    }

    /// A message that was begun is finished with the keys it was begun with (draft section 7), for a limited time.
    fn may_finish(&self, serial: u64, now: Duration) -> Result<(), Reason> {
        if self.is_lost() {
            return Err(Reason::Lost);
        }
        let old = self.retained.as_ref();
        let over = old.is_some_and(|old| old.context.serial == serial && now >= old.until);
        match over {
            true => Err(Reason::Superseded),
            false => Ok(()),
        }
    }

    /// A message that was begun under keys that were replaced meanwhile counts as long as its sender is still a member (draft section
    /// 2.6.3.2): who was expelled with the old keys is not heard any more.
    pub(super) fn is_still_member(&self, serial: u64, kid: Kid) -> Result<(), Reason> {
        let old = self.retained.as_ref().filter(|old| old.draining);
        let old = old.filter(|old| old.context.serial == serial);
        let peer = old.and_then(|old| old.context.recipients.get(kid));
        match peer.is_some_and(|peer| self.client(kid, peer.hash).is_none()) {
            true => Err(Reason::Superseded),
            false => Ok(()),
        }
    }

    /// A message with the keys of `kid` did not verify. A peer that was only added for it goes (draft section 7.2).
    fn failed(&mut self, now: Duration, serial: u64, kid: Kid, reason: Reason) {
        if reason != Reason::NotVerified {
            return;
        }
        self.undecryptable = self.undecryptable.saturating_add(1);
        self.want_keys(now, self.undecryptable);
        let Some(context) = self.context_mut(serial) else {
            return;
        };
        let Some(peer) = context.recipients.get_mut(kid) else {
            return;
        };
        if peer.provisional {
            let serial = peer.serial;
            context.recipients.delete(kid);
            context.cache.forget(serial);
            return;
        }
        peer.failures = peer.failures.saturating_add(1);
        let failures = peer.failures;
        if self.current.serial == serial
            && self.want_credential(now, kid, failures)
            && let Some(peer) = self.current.recipients.get_mut(kid)
        {
            peer.failures = 0;
        }
    }
}
