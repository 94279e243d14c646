//! Verifying a request (draft sections 7.2 and 8.4; RFC 8613, section 8.2).

use alloc::boxed::Box;
use core::time::Duration;

use antiphon_wire::Message;

use super::admit::{Gate, Verdict};
use super::job::With;
use super::{
    AgreeJob, Challenged, Job, JobResult, NoncePermission, Opened, OpenedRequest, Opening,
    Received, Step, Tries, option_of,
};
use crate::aad::OscoreAad;
use crate::context::CredentialHash;
use crate::contexts::{Candidate, ContextId, Contexts, GroupId, PairId};
use crate::group::Freshness;
use crate::group_mode::Binding;
use crate::identity::{Gid, Kid, Member, Mode};
use crate::message::{Direction, Inner};
use crate::nonce::PartialIv;
use crate::refused::{Reason, Refused};

/// A request and what its OSCORE option says.
#[derive(Clone, Copy)]
struct Incoming<'a, 'm> {
    message: &'a Message<'m>,
    multicast: bool,
    option: &'m [u8],
    kid: Kid,
    piv: PartialIv,
    kid_context: Option<&'m [u8]>,
    mode: Mode,
}

impl<'m> Incoming<'_, 'm> {
    /// A request is bound to itself.
    fn binding(&self) -> Binding<'m> {
        Binding {
            request: true,
            request_kid: self.kid,
            request_piv: self.piv,
            request_kid_context: self.kid_context.unwrap_or_default(),
            option: self.option,
            generator: self.kid,
            piv: self.piv,
        }
    }
}

impl Contexts {
    /// Begins to open a request: finds its context and checks its Replay Window. `multicast` says that it came by
    /// multicast, or that this is not known.
    ///
    /// # Errors
    /// [`Refused`], with nothing changed.
    pub fn begin_request(
        &mut self,
        now: Duration,
        message: &Message<'_>,
        multicast: bool,
    ) -> Result<Step<Opened>, Refused> {
        self.try_request(now, message, multicast, Tries::default())
    }

    /// Goes on with a request whose work is done.
    ///
    /// # Errors
    /// [`Refused`], with nothing changed.
    pub fn finish_request(
        &mut self,
        now: Duration,
        opening: Box<Opening>,
        result: JobResult,
    ) -> Result<Step<Opened>, Refused> {
        self.leave(&opening);
        if opening.asked.is_some() {
            return Err(Reason::WrongResult.into());
        }
        let message = Message::parse(&opening.message).map_err(|_| Reason::Malformed)?;
        let mut tries = opening.tries;
        let place = opening.candidate.place;
        let refuse = |reason| Refused {
            reason,
            group: match place {
                ContextId::Group(id) => Some(id),
                ContextId::Pair(_) => None,
            },
        };
        let valid = match result {
            JobResult::Agreed(agreed) => {
                self.check_agreed(&opening, &agreed).map_err(refuse)?;
                self.agreed(agreed).map_err(refuse)?;
                let incoming = incoming(&message, opening.multicast)?;
                return match self.request_with(now, opening.candidate, incoming, tries) {
                    Ok(step) => Ok(step),
                    Err(reason) => {
                        tries.note(place, reason);
                        self.try_request(now, &message, opening.multicast, tries)
                    }
                };
            }
            JobResult::Checked(checked) => checked.of(opening.ticket),
        };
        let valid = valid.ok_or(Reason::WrongResult).map_err(refuse)?;
        let incoming = incoming(&message, opening.multicast)?;
        match self.request_verified(now, &opening, incoming, valid) {
            Ok(opened) => Ok(Step::Done(opened)),
            // Only whether it is genuine can be otherwise in another context.
            Err(Reason::NotVerified) => {
                tries.note(place, Reason::NotVerified);
                self.try_request(now, &message, opening.multicast, tries)
            }
            Err(reason) => Err(refuse(reason)),
        }
    }

    fn try_request(
        &mut self,
        now: Duration,
        message: &Message<'_>,
        multicast: bool,
        mut tries: Tries,
    ) -> Result<Step<Opened>, Refused> {
        let incoming = incoming(message, multicast)?;
        let option = crate::option::OscoreOption {
            partial_iv: None,
            kid_context: incoming.kid_context,
            kid: None,
            group_flag: incoming.mode == Mode::Group,
        };
        while !tries.is_over() {
            let found = self.request_candidate(tries.next, &option, incoming.kid, now);
            let Some(candidate) = found else {
                break;
            };
            tries.count += 1;
            tries.next = candidate.next;
            match self.request_with(now, candidate, incoming, tries) {
                Ok(step) => return Ok(step),
                Err(reason) => tries.note(candidate.place, reason),
            }
        }
        if tries.count == 0 {
            self.count_unknown(false);
        }
        Err(tries.end())
    }

    /// Tries one context.
    fn request_with(
        &mut self,
        now: Duration,
        candidate: Candidate,
        incoming: Incoming<'_, '_>,
        tries: Tries,
    ) -> Result<Step<Opened>, Reason> {
        let id = match candidate.place {
            ContextId::Group(id) => id,
            ContextId::Pair(id) => return self.pair_request(now, id, incoming).map(Step::Done),
        };
        let mode = match incoming.mode {
            Mode::Group => Mode::Group,
            _ => Mode::Pairwise,
        };
        let ticket = self.ticket();
        let scratch = &mut self.scratch;
        let group = self.groups.iter_mut().find(|(of, _)| *of == id);
        let (_, group) = group.ok_or(Reason::NoContext)?;
        group.may_begin()?;
        let dynamic = group.settings.dynamic;
        let context = group
            .context_mut(candidate.serial)
            .ok_or(Reason::Superseded)?;
        if context.own_id() == Some(incoming.kid) {
            return Err(Reason::OwnKid);
        }
        if !context.has_mode(mode) {
            return Err(Reason::ModeUnavailable(mode));
        }
        let kid = incoming.kid;
        let can_challenge = context.can_challenge();
        let Some(peer) = context.recipients.get(kid) else {
            return Err(match dynamic {
                true => Reason::NoCredential { group: id, kid },
                false => Reason::NoContext,
            });
        };
        if peer.window.is_valid() {
            peer.window
                .check(incoming.piv)
                .map_err(|_| Reason::Replayed)?;
        } else if !can_challenge {
            return Err(Reason::WindowInvalid);
        }
        let recipient = peer.serial;
        let binding = incoming.binding();
        let payload = incoming.message.payload();
        let job = match (mode, &peer.pairwise, &context.sender) {
            (Mode::Group, ..) => {
                let keys = context.countersigning();
                Job::Verify(keys.job(&peer.credential, &binding, payload, ticket)?)
            }
            (_, Some(_), _) => {
                let (aad, body) = (&mut scratch.aad, &mut scratch.body);
                let opened = context.pairwise_decrypt(kid, &binding, payload, aad, body);
                if let Err(reason) = opened {
                    group.failed(candidate.serial, kid, reason);
                    return Err(reason);
                }
                let opened = self.accept_request(now, id, candidate.serial, incoming, mode)?;
                return Ok(Step::Done(opened));
            }
            (_, None, Some(sender)) => Job::Agree(AgreeJob {
                with: With {
                    group: id,
                    context: candidate.serial,
                    sender: sender.serial,
                    kid,
                    recipient,
                },
                peer: peer.credential.public_key().clone(),
            }),
            (_, None, None) => return Err(Reason::ModeUnavailable(mode)),
        };
        context.in_progress = context.in_progress.saturating_add(1);
        let opening = Opening {
            ticket,
            message: incoming.message.as_bytes().to_vec(),
            multicast: incoming.multicast,
            candidate,
            tries,
            kid,
            recipient,
            asked: None,
        };
        Ok(Step::Work(Box::new(opening), job))
    }

    /// The countersignature was looked at: decrypts, and admits.
    fn request_verified(
        &mut self,
        now: Duration,
        opening: &Opening,
        incoming: Incoming<'_, '_>,
        valid: bool,
    ) -> Result<Opened, Reason> {
        let ContextId::Group(id) = opening.candidate.place else {
            return Err(Reason::WrongResult);
        };
        let serial = opening.candidate.serial;
        let scratch = &mut self.scratch;
        let group = self.groups.iter_mut().find(|(of, _)| *of == id);
        let (_, group) = group.ok_or(Reason::NoContext)?;
        group.may_finish(serial, now)?;
        let context = group.context_mut(serial).ok_or(Reason::Superseded)?;
        let peer = context.recipients.get(opening.kid);
        if peer.is_none_or(|peer| peer.serial != opening.recipient) {
            return Err(Reason::Superseded);
        }
        let decrypted = match valid {
            true => context.group_decrypt(
                opening.kid,
                &incoming.binding(),
                incoming.message.payload(),
                &mut scratch.aad,
                &mut scratch.body,
            ),
            false => Err(Reason::NotVerified),
        };
        if let Err(reason) = decrypted {
            group.failed(serial, opening.kid, reason);
            return Err(reason);
        }
        self.accept_request(now, id, serial, incoming, Mode::Group)
    }

    /// The message is genuine and its plaintext in `scratch.body`: checks the window again and moves it.
    fn accept_request(
        &mut self,
        now: Duration,
        id: GroupId,
        serial: u64,
        incoming: Incoming<'_, '_>,
        mode: Mode,
    ) -> Result<Opened, Reason> {
        self.count_unknown(true);
        let inner = Inner::parse(&self.scratch.body, Direction::Request);
        let group = self.groups.iter_mut().find(|(of, _)| *of == id);
        let (_, group) = group.ok_or(Reason::NoContext)?;
        group.undecryptable = 0;
        let latest = group.current.serial == serial;
        let settings = group.settings;
        let context = match (&mut group.current, &mut group.retained) {
            (current, _) if latest => current,
            (_, Some(old)) if old.context.serial == serial => &mut old.context,
            _ => return Err(Reason::Superseded),
        };
        let kid = incoming.kid;
        let can_challenge = context.can_challenge();
        let peer = context.recipients.get_mut(kid).ok_or(Reason::Superseded)?;
        let echo = inner.as_ref().ok().and_then(|inner| inner.echo);
        let gate = Gate {
            window: &mut peer.window,
            proven: &mut peer.fresh,
            // There is one store, and it ends with its context.
            echo: (latest && can_challenge).then_some(&mut group.echo),
            first_contact: settings.freshness == Freshness::FirstContact,
            young: context
                .installed_at
                .is_some_and(|at| now.saturating_sub(at) < settings.fresh_within),
        };
        let verdict = gate.admit(now, kid, incoming.piv, echo.filter(|_| !incoming.multicast))?;
        peer.provisional = false;
        let sender = Member::new(&group.name, peer.credential.bytes(), kid);
        let own = context.sender.as_ref();
        let reuse = matches!(verdict, Verdict::Deliver { reuse: true, .. }) && latest;
        let received = Received {
            place: id.into(),
            context: serial,
            kid,
            piv: incoming.piv,
            kid_context: incoming.kid_context.and_then(Gid::new),
            client: peer.hash,
            mode,
            permission: own
                .filter(|_| reuse)
                .map(|own| NoncePermission { sender: own.serial }),
            responses: 0,
            last: None,
            hint_until: None,
        };
        match verdict {
            Verdict::Challenge => Ok(Opened::Challenge(Challenged {
                sender,
                received,
                mode,
            })),
            Verdict::Deliver { fresh, .. } => Ok(Opened::Request(OpenedRequest {
                message: inner
                    .and_then(|inner| inner.rebuild(incoming.message, None))
                    .map_err(|_| Reason::Content)?,
                sender,
                received,
                fresh,
                mode,
            })),
        }
    }

    /// A request of a plain OSCORE context (RFC 8613, section 8.2).
    fn pair_request(
        &mut self,
        now: Duration,
        id: PairId,
        incoming: Incoming<'_, '_>,
    ) -> Result<Opened, Reason> {
        let scratch = &mut self.scratch;
        let pair = self.pairs.iter_mut().find(|(of, _)| *of == id);
        let (_, pair) = pair.ok_or(Reason::NoContext)?;
        if pair.is_lost() {
            return Err(Reason::Lost);
        }
        let (kid, piv) = (incoming.kid, incoming.piv);
        if pair.window.is_valid() {
            pair.window.check(piv).map_err(|_| Reason::Replayed)?;
        }
        let parts = OscoreAad {
            aead: pair.aead,
            request_kid: kid.as_bytes(),
            request_piv: piv,
            class_i_options: &[],
        };
        let payload = incoming.message.payload();
        pair.decrypt(
            kid,
            piv,
            &parts,
            payload,
            &mut scratch.aad,
            &mut scratch.body,
        )?;
        let inner = Inner::parse(&scratch.body, Direction::Request);
        let echo = inner.as_ref().ok().and_then(|inner| inner.echo);
        let gate = Gate {
            window: &mut pair.window,
            proven: &mut pair.fresh,
            echo: Some(&mut pair.echo),
            first_contact: false,
            young: false,
        };
        let verdict = gate.admit(now, kid, piv, echo.filter(|_| !incoming.multicast))?;
        let sender = pair.member();
        let reuse = matches!(verdict, Verdict::Deliver { reuse: true, .. });
        let received = Received {
            place: id.into(),
            context: pair.serial(),
            kid,
            piv,
            kid_context: incoming.kid_context.and_then(Gid::new),
            client: CredentialHash::NONE,
            mode: Mode::Plain,
            permission: reuse.then_some(NoncePermission { sender: 0 }),
            responses: 0,
            last: None,
            hint_until: None,
        };
        match verdict {
            Verdict::Challenge => Ok(Opened::Challenge(Challenged {
                sender,
                received,
                mode: Mode::Plain,
            })),
            Verdict::Deliver { fresh, .. } => Ok(Opened::Request(OpenedRequest {
                message: inner
                    .and_then(|inner| inner.rebuild(incoming.message, None))
                    .map_err(|_| Reason::Content)?,
                sender,
                received,
                fresh,
                mode: Mode::Plain,
            })),
        }
    }
}

/// Step 2: the option decodes, and has what a request needs.
fn incoming<'a, 'm>(message: &'a Message<'m>, multicast: bool) -> Result<Incoming<'a, 'm>, Reason> {
    let (option, raw) = option_of(message)?;
    let (piv, kid) = option
        .check_request(option.group_flag)
        .map_err(|_| Reason::Malformed)?;
    Ok(Incoming {
        message,
        multicast,
        option: raw,
        kid: Kid::new(kid).ok_or(Reason::NoContext)?,
        piv,
        kid_context: option.kid_context,
        mode: match option.group_flag {
            true => Mode::Group,
            false => Mode::Pairwise,
        },
    })
}
