//! Verifying a response (draft sections 7.4 and 8.6; RFC 8613, section 8.4).

use alloc::boxed::Box;
use core::time::Duration;

use antiphon_wire::Message;

use super::verification::Settled;
use super::{Asked, JobResult, OpenedResponse, Opening, Step, Tries, option_of};
use crate::aad::OscoreAad;
use crate::context::{CredentialHash, Recipient};
use crate::contexts::{Candidate, ContextId, Contexts, GroupId, PairId};
use crate::group::with_serial;
use crate::group_mode::Binding;
use crate::identity::{Gid, Kid, Member, Mode};
use crate::message::{Direction, Inner};
use crate::nonce::PartialIv;
use crate::pair::Pair;
use crate::refused::{Reason, Refused};
use crate::replay::{OrderPolicy, ResponseOrder, ResponseRefused};

/// A response and what its OSCORE option says.
#[derive(Clone, Copy)]
struct Incoming<'a, 'm> {
    message: &'a Message<'m>,
    option: &'m [u8],
    /// The sender's ID, given or assumed.
    kid: Kid,
    piv: Option<PartialIv>,
    kid_context: Option<&'m [u8]>,
    mode: Mode,
}

impl<'m> Incoming<'_, 'm> {
    /// A response is bound to its request, whatever the own ID and the Gid are since.
    fn binding<'a>(&self, asked: &'a Asked) -> Binding<'a>
    where
        'm: 'a,
    {
        Binding {
            request: false,
            request_kid: asked.kid,
            request_piv: asked.piv,
            request_kid_context: asked.kid_context.as_ref().map_or(&[], Gid::as_bytes),
            option: self.option,
            generator: match self.piv {
                Some(_) => self.kid,
                None => asked.kid,
            },
            piv: self.piv.unwrap_or(asked.piv),
        }
    }

    /// What the client says the order of the notification is (RFC 8613, section 4.1.3.5.2).
    fn notification(&self) -> u32 {
        let number = self.piv.map_or(0, PartialIv::value);
        (number & 0xff_ffff) as u32
    }
}

impl Contexts {
    /// Begins to open a response to a request of this endpoint. The token has led to `asked`.
    ///
    /// # Errors
    /// [`Refused`], with nothing changed; the exchange goes on.
    pub fn begin_response(
        &mut self,
        now: Duration,
        message: &Message<'_>,
        asked: &mut Asked,
    ) -> Result<Step<OpenedResponse>, Refused> {
        self.try_response(now, message, asked, Tries::default())
    }

    /// Goes on with a response whose work is done.
    ///
    /// # Errors
    /// [`Refused`], with nothing changed; the exchange goes on.
    pub fn finish_response(
        &mut self,
        now: Duration,
        opening: Box<Opening>,
        result: JobResult,
        asked: &mut Asked,
    ) -> Result<Step<OpenedResponse>, Refused> {
        self.leave(&opening);
        if opening.asked != Some(asked.ticket) {
            return Err(Reason::WrongResult.into());
        }
        let message = Message::parse(&opening.message).map_err(|_| Reason::Malformed)?;
        let incoming = incoming(&message, asked)?;
        let mut tries = opening.tries;
        let candidate = opening.candidate;
        let opened = match self.settle(&opening, result)? {
            Settled::Agreed => self.response_with(now, candidate, &incoming, asked, tries),
            Settled::Checked(valid) => {
                match self.response_verified(now, &opening, &incoming, valid, asked) {
                    // As for a request.
                    Err(reason) if reason != Reason::NotVerified => {
                        return Err(Refused::in_context(candidate.place, reason));
                    }
                    opened => opened.map(Step::Done),
                }
            }
        };
        opened.or_else(|reason| {
            tries.note(candidate.place, reason);
            self.try_response(now, &message, asked, tries)
        })
    }

    fn try_response(
        &mut self,
        now: Duration,
        message: &Message<'_>,
        asked: &mut Asked,
        mut tries: Tries,
    ) -> Result<Step<OpenedResponse>, Refused> {
        let incoming = incoming(message, asked)?;
        let named = incoming.kid_context.filter(|_| asked.mode != Mode::Plain);
        while let Some(candidate) = self.response_candidate(tries.next, asked.place, named, now) {
            tries.next = candidate.next;
            match self.response_with(now, candidate, &incoming, asked, tries) {
                Ok(step) => return Ok(step),
                Err(reason) => tries.note(candidate.place, reason),
            }
        }
        Err(tries.end())
    }

    /// Tries one context.
    fn response_with(
        &mut self,
        now: Duration,
        candidate: Candidate,
        incoming: &Incoming<'_, '_>,
        asked: &mut Asked,
        tries: Tries,
    ) -> Result<Step<OpenedResponse>, Reason> {
        let id = match candidate.place {
            ContextId::Group(id) => id,
            ContextId::Pair(id) => {
                let opened = self.pair_response(id, incoming, asked)?;
                return Ok(Step::Done(opened));
            }
        };
        let serial = candidate.serial;
        // The nonce of the request belongs to the context of the request (draft section 7.3).
        if incoming.piv.is_none() && serial != asked.context {
            return Err(Reason::NoContext);
        }
        let ticket = self.ticket();
        let (group, scratch) = self.group_and_scratch(id).ok_or(Reason::NoContext)?;
        group.may_begin()?;
        group.retire(asked, now);
        let (kid, mode) = (incoming.kid, incoming.mode);
        let (context, peer) = group.context_for(id, serial, kid, mode)?;
        check_server(asked, serial, peer, incoming)?;
        let recipient = peer.serial;
        let binding = incoming.binding(asked);
        let payload = incoming.message.payload();
        let Some(job) = context.work(id, (kid, peer), mode, &binding, payload, ticket)? else {
            group.decrypt_pairwise(now, serial, kid, &binding, payload, scratch)?;
            let opened = self.accept_response(now, id, serial, incoming, asked);
            return opened.map(Step::Done);
        };
        let opening = Opening {
            ticket,
            message: incoming.message.as_bytes().to_vec(),
            multicast: false,
            candidate,
            tries,
            kid,
            recipient,
            asked: Some(asked.ticket),
        };
        Ok(group.wait(opening, job))
    }

    /// The countersignature was looked at: decrypts, and takes the response.
    fn response_verified(
        &mut self,
        now: Duration,
        opening: &Opening,
        incoming: &Incoming<'_, '_>,
        valid: bool,
        asked: &mut Asked,
    ) -> Result<OpenedResponse, Reason> {
        let ContextId::Group(id) = opening.candidate.place else {
            return Err(Reason::WrongResult);
        };
        let (group, scratch) = self.group_and_scratch(id).ok_or(Reason::NoContext)?;
        group.retire(asked, now);
        // What was assumed when it was begun still holds.
        if incoming.kid != opening.kid {
            return Err(Reason::Superseded);
        }
        let (binding, payload) = (incoming.binding(asked), incoming.message.payload());
        group.decrypt_checked(now, opening, &binding, payload, valid, scratch)?;
        self.accept_response(now, id, opening.candidate.serial, incoming, asked)
    }

    /// The message is genuine and its plaintext in `scratch.body`: checks its order again and takes it.
    fn accept_response(
        &mut self,
        now: Duration,
        id: GroupId,
        serial: u64,
        incoming: &Incoming<'_, '_>,
        asked: &mut Asked,
    ) -> Result<OpenedResponse, Reason> {
        let (group, scratch) = self.group_and_scratch(id).ok_or(Reason::NoContext)?;
        group.is_still_member(serial, incoming.kid)?;
        group.undecryptable = 0;
        let policy = group.settings.order;
        let name = &group.name;
        let context = with_serial(&mut group.current, &mut group.retained, serial)
            .ok_or(Reason::Superseded)?;
        let kid = incoming.kid;
        let peer = context.recipients.get_mut(kid).ok_or(Reason::Superseded)?;
        check_server(asked, serial, peer, incoming)?;
        peer.verified(now);
        let content = content(&scratch.body, asked, incoming)?;
        let order = take(asked, policy, serial, peer.hash, incoming)?;
        if let Some(intended) = &mut asked.intended {
            intended.kid = kid;
        }
        Ok(OpenedResponse {
            message: content,
            sender: Member::new(name, peer.credential.bytes(), kid),
            order,
            mode: incoming.mode,
        })
    }

    /// A response of a plain OSCORE context (RFC 8613, section 8.4).
    fn pair_response(
        &mut self,
        id: PairId,
        incoming: &Incoming<'_, '_>,
        asked: &mut Asked,
    ) -> Result<OpenedResponse, Reason> {
        let (pair, scratch) = self.pair_and_scratch(id).ok_or(Reason::NoContext)?;
        if pair.is_lost() {
            return Err(Reason::Lost);
        }
        if incoming.kid != pair.recipient_id {
            return Err(Reason::OtherMember);
        }
        let serial = Pair::SERIAL;
        check_order(asked, serial, CredentialHash::NONE, incoming)?;
        let parts = OscoreAad {
            aead: pair.aead,
            request_kid: asked.kid.as_bytes(),
            request_piv: asked.piv,
            class_i_options: &[],
        };
        let (generator, piv) = match incoming.piv {
            Some(piv) => (pair.recipient_id, piv),
            None => (asked.kid, asked.piv),
        };
        let payload = incoming.message.payload();
        pair.decrypt(generator, piv, &parts, payload, scratch)?;
        let content = content(&scratch.body, asked, incoming)?;
        let policy = pair.settings.order;
        let order = take(asked, policy, serial, CredentialHash::NONE, incoming)?;
        Ok(OpenedResponse {
            message: content,
            sender: pair.member(),
            order,
            mode: Mode::Plain,
        })
    }
}

/// Whether the response may be one of this server, before anything slow is done and again before it is taken.
fn check_server(
    asked: &Asked,
    serial: u64,
    peer: &Recipient,
    incoming: &Incoming<'_, '_>,
) -> Result<(), Reason> {
    // The credential says who it is, not the ID (draft section 7.4).
    let expected = asked.intended.as_ref();
    if expected.is_some_and(|intended| intended.credential != peer.hash) {
        return Err(Reason::OtherMember);
    }
    check_order(asked, serial, peer.hash, incoming)
}

fn check_order(
    asked: &Asked,
    serial: u64,
    server: CredentialHash,
    incoming: &Incoming<'_, '_>,
) -> Result<(), Reason> {
    if asked.answered && !asked.is_long() {
        return Err(Reason::Replayed); // there is at most one (draft section 5.3.1)
    }
    match asked.servers.get(server) {
        Some(order) => order
            .check_of(serial, incoming.kid, incoming.piv)
            .map_err(reason),
        None if asked.servers.len() >= asked.limit => Err(Reason::TooManyServers),
        None => Ok(()),
    }
}

/// The plain message, if it may come as response to this request.
fn content(
    body: &[u8],
    asked: &Asked,
    incoming: &Incoming<'_, '_>,
) -> Result<alloc::vec::Vec<u8>, Reason> {
    let inner = Inner::parse(body, Direction::Response).map_err(|_| Reason::Content)?;
    if inner.observe && !asked.observe {
        return Err(Reason::Content); // RFC 8613, section 4.1.3.5.2
    }
    let notification = inner.observe.then(|| incoming.notification());
    inner
        .rebuild(incoming.message, notification)
        .map_err(|_| Reason::Content)
}

/// Moves the Response Number of the server.
fn take(
    asked: &mut Asked,
    policy: OrderPolicy,
    serial: u64,
    server: CredentialHash,
    incoming: &Incoming<'_, '_>,
) -> Result<crate::replay::Order, Reason> {
    let (kid, piv) = (incoming.kid, incoming.piv);
    let known = asked.servers.get_mut(server);
    let order = match known {
        Some(order) => order.commit_of(serial, kid, piv).map_err(reason)?,
        None => {
            let mut first = ResponseOrder::new(policy);
            let order = first.commit_of(serial, kid, piv).map_err(reason)?;
            asked.servers.insert(server, first);
            order
        }
    };
    asked.answered = true;
    Ok(order)
}

fn reason(refused: ResponseRefused) -> Reason {
    match refused {
        ResponseRefused::KidChanged => Reason::KidChanged,
        ResponseRefused::ContextRetired => Reason::Superseded,
        ResponseRefused::Replayed
        | ResponseRefused::Older
        | ResponseRefused::SecondWithoutPartialIv => Reason::Replayed,
    }
}

/// Step 2: the option decodes; who says to have sent it.
fn incoming<'a, 'm>(message: &'a Message<'m>, asked: &Asked) -> Result<Incoming<'a, 'm>, Reason> {
    let (option, raw) = option_of(message)?;
    let mode = match (option.group_flag, asked.mode) {
        (true, Mode::Plain) => return Err(Reason::NoContext), // draft section 6
        (true, _) => Mode::Group,
        (false, Mode::Plain) => Mode::Plain,
        (false, _) => Mode::Pairwise,
    };
    let kid = match (option.kid, asked.intended) {
        (Some(kid), _) => Kid::new(kid).ok_or(Reason::NoContext)?,
        // Of whom the request was for (draft section 7.4).
        (None, Some(intended)) => intended.kid,
        (None, None) => return Err(Reason::Malformed),
    };
    Ok(Incoming {
        message,
        option: raw,
        kid,
        piv: option.partial_iv,
        kid_context: option.kid_context,
        mode,
    })
}
