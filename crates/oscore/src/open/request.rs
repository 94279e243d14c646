//! Verifying a request (draft sections 7.2 and 8.4; RFC 8613, section 8.2).

use alloc::boxed::Box;
use core::time::Duration;

use antiphon_wire::Message;

use super::admit::{Gate, Proof, Verdict};
use super::verification::Settled;
use super::{
    Challenged, JobResult, NoncePermission, Opened, OpenedRequest, Opening, Received, Step, Tries,
    option_of,
};
use crate::aad::OscoreAad;
use crate::context::CredentialHash;
use crate::contexts::{Candidate, ContextId, Contexts, GroupId, PairId};
use crate::echo::Client;
use crate::group::{Freshness, with_serial};
use crate::group_mode::Binding;
use crate::identity::{Gid, Kid, Member, Mode};
use crate::message::{Direction, Inner, MessageRefused};
use crate::nonce::PartialIv;
use crate::pair::Pair;
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

    /// What is kept of it to answer it, under the Security Context with this serial number.
    fn received(
        &self,
        place: ContextId,
        context: u64,
        client: CredentialHash,
        mode: Mode,
        permission: Option<NoncePermission>,
    ) -> Received {
        Received {
            place,
            context,
            kid: self.kid,
            piv: self.piv,
            kid_context: self.kid_context.and_then(Gid::new),
            client,
            mode,
            permission,
            responses: 0,
            last: None,
            hint_until: None,
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
        let incoming = incoming(&message, opening.multicast)?;
        let mut tries = opening.tries;
        let candidate = opening.candidate;
        let opened = match self.settle(&opening, result)? {
            Settled::Agreed => self.request_with(now, candidate, &incoming, tries),
            Settled::Checked(valid) => {
                match self.request_verified(now, &opening, &incoming, valid) {
                    // Only whether it is genuine can be otherwise in another context.
                    Err(reason) if reason != Reason::NotVerified => {
                        return Err(Refused::in_context(candidate.place, reason));
                    }
                    opened => opened.map(Step::Done),
                }
            }
        };
        opened.or_else(|reason| {
            tries.note(candidate.place, reason);
            self.try_request(now, &message, opening.multicast, tries)
        })
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
            match self.request_with(now, candidate, &incoming, tries) {
                Ok(step) => return Ok(step),
                Err(reason) => tries.note(candidate.place, reason),
            }
        }
        if tries.count == 0 {
            self.count_unknown(now, false);
        }
        Err(tries.end())
    }

    /// Tries one context.
    fn request_with(
        &mut self,
        now: Duration,
        candidate: Candidate,
        incoming: &Incoming<'_, '_>,
        tries: Tries,
    ) -> Result<Step<Opened>, Reason> {
        let id = match candidate.place {
            ContextId::Group(id) => id,
            ContextId::Pair(id) => return self.pair_request(now, id, incoming).map(Step::Done),
        };
        let serial = candidate.serial;
        let ticket = self.ticket();
        let (group, scratch) = self.group_and_scratch(id).ok_or(Reason::NoContext)?;
        group.may_begin()?;
        let (kid, mode) = (incoming.kid, incoming.mode);
        let (context, peer) = group.context_for(id, serial, kid, mode)?;
        if peer.window.is_valid() {
            peer.window
                .check(incoming.piv)
                .map_err(|_| Reason::Replayed)?;
        } else if !context.can_challenge() {
            return Err(Reason::WindowInvalid);
        }
        let recipient = peer.serial;
        let binding = incoming.binding();
        let payload = incoming.message.payload();
        let Some(job) = context.work(id, (kid, peer), mode, &binding, payload, ticket)? else {
            group.decrypt_pairwise(now, serial, kid, &binding, payload, scratch)?;
            let opened = self.accept_request(now, id, serial, incoming);
            return opened.map(Step::Done);
        };
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
        Ok(group.wait(opening, job))
    }

    /// The countersignature was looked at: decrypts, and admits.
    fn request_verified(
        &mut self,
        now: Duration,
        opening: &Opening,
        incoming: &Incoming<'_, '_>,
        valid: bool,
    ) -> Result<Opened, Reason> {
        let ContextId::Group(id) = opening.candidate.place else {
            return Err(Reason::WrongResult);
        };
        let (group, scratch) = self.group_and_scratch(id).ok_or(Reason::NoContext)?;
        let payload = incoming.message.payload();
        group.decrypt_checked(now, opening, &incoming.binding(), payload, valid, scratch)?;
        self.accept_request(now, id, opening.candidate.serial, incoming)
    }

    /// The message is genuine and its plaintext in `scratch.body`: checks the window again and moves it.
    fn accept_request(
        &mut self,
        now: Duration,
        id: GroupId,
        serial: u64,
        incoming: &Incoming<'_, '_>,
    ) -> Result<Opened, Reason> {
        self.count_unknown(now, true);
        let (group, scratch) = self.group_and_scratch(id).ok_or(Reason::NoContext)?;
        group.is_still_member(serial, incoming.kid)?;
        let inner = Inner::parse(&scratch.body, Direction::Request);
        group.undecryptable = 0;
        let latest = group.current.serial == serial;
        let settings = group.settings;
        let context = with_serial(&mut group.current, &mut group.retained, serial)
            .ok_or(Reason::Superseded)?;
        let kid = incoming.kid;
        let can_challenge = context.can_challenge();
        let context_has_pairwise = context.has_mode(Mode::Pairwise);
        let peer = context.recipients.get_mut(kid).ok_or(Reason::Superseded)?;
        // By multicast, or in a mode that others open as well, it proves nothing (draft section 9).
        let proves =
            !incoming.multicast && (incoming.mode == Mode::Pairwise || !context_has_pairwise);
        let echo = inner.as_ref().ok().and_then(|inner| inner.echo);
        let gate = Gate {
            window: &mut peer.window,
            proven: &mut peer.fresh,
            // The secret ends with its context.
            echo: (latest && can_challenge).then_some(Proof {
                echoes: &group.echo,
                client: Client {
                    kid,
                    serial: peer.serial,
                },
                challenges: &mut peer.challenges,
            }),
            first_contact: settings.freshness == Freshness::FirstContact,
            young: context
                .installed_at
                .is_some_and(|at| now.saturating_sub(at) < settings.fresh_within),
        };
        let verdict = gate.admit(now, incoming.piv, echo.filter(|_| proves))?;
        peer.verified(now);
        let sender = Member::new(&group.name, peer.credential.bytes(), kid);
        let own = context.sender.as_ref();
        let reuse = matches!(verdict, Verdict::Deliver { reuse: true, .. }) && latest;
        let permission = own
            .filter(|_| reuse)
            .map(|own| NoncePermission { sender: own.serial });
        let received = incoming.received(id.into(), serial, peer.hash, incoming.mode, permission);
        opened(verdict, inner, incoming.message, sender, received)
    }

    /// A request of a plain OSCORE context (RFC 8613, section 8.2).
    fn pair_request(
        &mut self,
        now: Duration,
        id: PairId,
        incoming: &Incoming<'_, '_>,
    ) -> Result<Opened, Reason> {
        let (pair, scratch) = self.pair_and_scratch(id).ok_or(Reason::NoContext)?;
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
        pair.decrypt(kid, piv, &parts, payload, scratch)?;
        let inner = Inner::parse(&scratch.body, Direction::Request);
        let echo = inner.as_ref().ok().and_then(|inner| inner.echo);
        let gate = Gate {
            window: &mut pair.window,
            proven: &mut pair.fresh,
            echo: Some(Proof {
                echoes: &pair.echo,
                client: Client { kid, serial: 0 },
                challenges: &mut pair.challenges,
            }),
            first_contact: false,
            young: false,
        };
        let verdict = gate.admit(now, piv, echo.filter(|_| !incoming.multicast))?;
        let sender = pair.member();
        let reuse = matches!(verdict, Verdict::Deliver { reuse: true, .. });
        let permission = reuse.then_some(NoncePermission { sender: 0 });
        let (serial, client) = (Pair::SERIAL, CredentialHash::NONE);
        let received = incoming.received(id.into(), serial, client, Mode::Plain, permission);
        opened(verdict, inner, incoming.message, sender, received)
    }
}

/// What a verified request has come to. Its window has moved, whatever it holds.
fn opened(
    verdict: Verdict,
    inner: Result<Inner<'_>, MessageRefused>,
    message: &Message<'_>,
    sender: Member,
    received: Received,
) -> Result<Opened, Reason> {
    let mode = received.mode;
    Ok(match verdict {
        Verdict::Challenge => Opened::Challenge(Challenged {
            sender,
            received,
            mode,
        }),
        Verdict::Deliver { fresh, echoed, .. } => Opened::Request(OpenedRequest {
            message: inner
                .and_then(|inner| inner.rebuild(message, None))
                .map_err(|_| Reason::Content)?,
            sender,
            received,
            fresh,
            echoed,
            mode,
        }),
    })
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
