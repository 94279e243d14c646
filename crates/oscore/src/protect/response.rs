//! Protecting a response (draft sections 7.3, 8.5 and 9; RFC 8613, section 8.3).

use alloc::vec::Vec;
use core::time::Duration;

use antiphon_wire::{Code, Message, MessageId, OptionNumber, Token, Type, Writer};

use super::{Numbering, Protected, Protecting, check_length, check_option, write_option};
use crate::aad::OscoreAad;
use crate::context::Context;
use crate::contexts::{ContextId, Contexts, GroupId, PairId};
use crate::echo::{Client, EchoNote};
use crate::group::Settings;
use crate::group_mode::Binding;
use crate::identity::{Gid, Kid, Mode};
use crate::message::{Direction, Split};
use crate::open::Received;
use crate::option::OscoreOption;
use crate::refused::ProtectError;

/// The Max-Age of a response that says none (RFC 7252, section 5.10.5), in seconds.
const DEFAULT_MAX_AGE: u32 = 60;

impl Contexts {
    /// Protects a response with the latest Security Context, whatever the request came with. `mode` is `None` for the
    /// mode of the request, where there is that mode.
    ///
    /// A response to a request in group mode always has an own Partial IV; the nonce of the request serves only for the
    /// first response to a request in pairwise mode or in a plain context, and only once.
    ///
    /// # Errors
    /// [`ProtectError`].
    pub fn protect_response(
        &mut self,
        now: Duration,
        message: &Message<'_>,
        received: &mut Received,
        mode: Option<Mode>,
    ) -> Result<Protecting, ProtectError> {
        self.protect_response_as(now, message, received, mode, Numbering::Allocated)
    }

    /// Protects a response under a Partial IV that the caller chooses, or with the nonce of the request: for test
    /// vectors. Used twice with one key, it breaks the encryption.
    ///
    /// # Errors
    /// [`ProtectError`].
    #[cfg(any(test, feature = "vectors"))]
    pub fn protect_response_numbered(
        &mut self,
        now: Duration,
        message: &Message<'_>,
        received: &mut Received,
        mode: Option<Mode>,
        partial_iv: Option<crate::nonce::PartialIv>,
    ) -> Result<Protecting, ProtectError> {
        let numbering = Numbering::Given(partial_iv);
        self.protect_response_as(now, message, received, mode, numbering)
    }

    /// A challenge for the client of a request: makes the Echo value, and gives the message to be protected, a 4.01 with
    /// the Echo option and nothing else (draft section 9). `None` if the keys were replaced since, or the client is known
    /// no more: then there is no answer.
    ///
    /// `random` is drawn for the first challenge of a Security Context, and becomes its secret. The note comes back in
    /// [`OpenedRequest::echoed`](crate::OpenedRequest::echoed).
    pub fn challenge(
        &mut self,
        now: Duration,
        received: &Received,
        random: impl FnOnce() -> [u8; 32],
        note: EchoNote,
        (kind, message_id, token): (Type, MessageId, Token),
    ) -> Option<Vec<u8>> {
        let kid = received.kid;
        let value = match received.place {
            ContextId::Group(id) => {
                let group = self.group_mut(id)?;
                let same = group.current.serial == received.context;
                let group = Some(group).filter(|_| same)?;
                let peer = group.current.recipients.get_mut(kid)?;
                let peer = Some(peer).filter(|peer| peer.hash == received.client)?;
                let serial = peer.serial;
                let client = Client { kid, serial };
                let echo = &mut group.echo;
                echo.challenge(client, &mut peer.challenges, now, random, note)?
            }
            ContextId::Pair(id) => {
                let pair = self.pair_mut(id)?;
                let client = Client { kid, serial: 0 };
                pair.echo
                    .challenge(client, &mut pair.challenges, now, random, note)?
            }
        };
        let mut bytes = alloc::vec![0; 4 + Token::MAX_LEN + 3 + value.len()];
        let mut writer =
            Writer::new(&mut bytes, kind, Code::UNAUTHORIZED, message_id, token).ok()?;
        writer.option(OptionNumber::ECHO, &value).ok()?;
        let end = writer.finish();
        bytes.truncate(end);
        Some(bytes)
    }

    fn protect_response_as(
        &mut self,
        now: Duration,
        message: &Message<'_>,
        received: &mut Received,
        mode: Option<Mode>,
        numbering: Numbering,
    ) -> Result<Protecting, ProtectError> {
        let split = Split::of(message, Direction::Response)?;
        if message.code() == Code::UNAUTHORIZED && message.option(OptionNumber::ECHO).is_some() {
            received.permission = None; // a challenge has an own Partial IV (draft section 9)
        }
        match received.place {
            ContextId::Group(id) => {
                self.protect_group_response(now, id, message, split, received, mode, numbering)
            }
            ContextId::Pair(id) => self
                .protect_pair_response(id, message, split, received, numbering)
                .map(Protecting::Done),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the steps of one procedure")]
    fn protect_group_response(
        &mut self,
        now: Duration,
        id: GroupId,
        message: &Message<'_>,
        split: Split,
        received: &mut Received,
        mode: Option<Mode>,
        numbering: Numbering,
    ) -> Result<Protecting, ProtectError> {
        let found = self.group_and_scratch(id);
        let (group, scratch) = found.ok_or(ProtectError::NoContext)?;
        group.may_protect()?;
        let (settings, context) = (group.settings, &mut group.current);
        let mode = mode_of_response(context, mode, received.mode)?;
        let client = client_now(context, received);
        if mode == Mode::Pairwise {
            let kid = client.ok_or(ProtectError::UnknownMember)?;
            if let Some(job) = context.agree_job(id, kid) {
                return Ok(Protecting::Agree(job));
            }
        }
        scratch.body.clear();
        split.write_plaintext(message, &mut scratch.body)?;
        check_length(scratch.body.len())?;
        let gid = context.common.gid.clone();
        let same_context = received.context == context.serial;
        let sender = context.sender.as_mut().ok_or(ProtectError::NoSender)?;
        let own_id = sender.id;
        check_option(own_id, Some(gid.as_bytes()))?;

        // Step 3: the nonce. The permission is gone with the first response, used or not.
        let permission = received.permission.take();
        let permitted = permission.is_some_and(|it| it.sender == sender.serial)
            && same_context
            && received.responses == 0
            && received.mode == Mode::Pairwise
            && mode == Mode::Pairwise
            && settings.reuse_request_nonce;
        let own_piv = match numbering.reuses(permitted) {
            true => None,
            false => Some(numbering.take(&mut sender.sequence)?),
        };

        // Step 4: the option.
        let hinted = names_keys(now, &settings, context, received);
        let told = client.and_then(|kid| context.recipients.get_mut(kid));
        let knows = told.as_ref().is_some_and(|peer| peer.knows_sender_id);
        let named = received.mode == Mode::Group || !knows || settings.kid_in_pairwise_responses;
        let option = OscoreOption {
            partial_iv: own_piv,
            kid_context: hinted.then_some(gid.as_bytes()),
            kid: named.then_some(own_id.as_bytes()),
            group_flag: mode == Mode::Group,
        };
        write_option(&option, &mut scratch.option)?;
        if let Some(peer) = told {
            peer.knows_sender_id = true;
        }

        note_response(now, context, message, received);

        // What the response is bound to.
        let request_kid_context = received.kid_context.as_ref().map_or(&[][..], Gid::as_bytes);
        let binding = Binding {
            request: false,
            request_kid: received.kid,
            request_piv: received.piv,
            request_kid_context,
            option: &scratch.option,
            generator: match own_piv {
                Some(_) => own_id,
                None => received.kid,
            },
            piv: own_piv.unwrap_or(received.piv),
        };

        // The encryption, and in group mode the signature.
        match (mode, client) {
            (Mode::Pairwise, Some(kid)) => {
                let (aad, body) = (&mut scratch.aad, &mut scratch.body);
                context.pairwise_encrypt(kid, &binding, aad, body)?;
                let bytes = split.outer(message, &scratch.option, &scratch.body, 0)?;
                Ok(Protecting::Done(Protected { bytes, asked: None }))
            }
            _ => {
                let body = &mut scratch.body;
                let signing =
                    context.encrypt_for_signing(id, &settings, message, split, &binding, body)?;
                Ok(Protecting::Sign(signing))
            }
        }
    }

    fn protect_pair_response(
        &mut self,
        id: PairId,
        message: &Message<'_>,
        split: Split,
        received: &mut Received,
        numbering: Numbering,
    ) -> Result<Protected, ProtectError> {
        let found = self.pair_and_scratch(id);
        let (pair, scratch) = found.ok_or(ProtectError::NoContext)?;
        if pair.is_lost() {
            return Err(ProtectError::Lost);
        }
        scratch.body.clear();
        split.write_plaintext(message, &mut scratch.body)?;
        check_length(scratch.body.len())?;
        let permission = received.permission.take();
        let permitted =
            permission.is_some() && received.responses == 0 && pair.settings.reuse_request_nonce;
        let own_piv = match numbering.reuses(permitted) {
            true => None,
            false => Some(numbering.take(&mut pair.sequence)?),
        };
        let option = OscoreOption {
            partial_iv: own_piv,
            kid_context: None,
            kid: None,
            group_flag: false,
        };
        write_option(&option, &mut scratch.option)?;
        received.responses = received.responses.saturating_add(1);
        let parts = OscoreAad {
            aead: pair.aead,
            request_kid: received.kid.as_bytes(),
            request_piv: received.piv,
            class_i_options: &[],
        };
        let (generator, piv) = match own_piv {
            Some(piv) => (pair.sender_id, piv),
            None => (received.kid, received.piv),
        };
        let (aad, body) = (&mut scratch.aad, &mut scratch.body);
        pair.encrypt(generator, piv, &parts, aad, body)?;
        Ok(Protected {
            bytes: split.outer(message, &scratch.option, &scratch.body, 0)?,
            asked: None,
        })
    }
}

/// In which mode a response leaves: the one that is wanted, else that of the request; keys that were installed since may have
/// only the other one.
fn mode_of_response(
    context: &Context,
    wanted: Option<Mode>,
    asked_in: Mode,
) -> Result<Mode, ProtectError> {
    let has_mode = |mode: &Mode| context.has_mode(*mode);
    let mode = match wanted {
        Some(mode) => Some(mode).filter(has_mode),
        None => [asked_in, Mode::Pairwise, Mode::Group]
            .into_iter()
            .find(has_mode),
    };
    mode.ok_or(ProtectError::ModeUnavailable)
}

/// The ID of the client. It may have another one by now; its credential is the same.
fn client_now(context: &Context, received: &Received) -> Option<Kid> {
    let peer = context.recipients.get(received.kid);
    if peer.is_some_and(|peer| peer.hash == received.client) {
        return Some(received.kid);
    }
    let holder = context.recipients.holder(received.client);
    holder.map(|(kid, _)| kid)
}

/// Whether the response names its keys: they are others than those of the request, and it is the first under them, or the client may
/// still not know them.
fn names_keys(
    now: Duration,
    settings: &Settings,
    context: &Context,
    received: &mut Received,
) -> bool {
    if received.context == context.serial {
        return false;
    }
    let first_here = received
        .last
        .is_none_or(|(serial, _)| serial != context.serial);
    if first_here {
        received.hint_until = match (settings.rekey_duration, received.last) {
            (Some(duration), _) => context.installed_at.map(|at| at.saturating_add(duration)),
            (None, last) => last.map(|(_, until)| until),
        };
    }
    first_here || received.hint_until.is_some_and(|until| now < until)
}

/// What later responses to the same request want to know of this one.
fn note_response(now: Duration, context: &Context, message: &Message<'_>, received: &mut Received) {
    let age = message
        .uint(OptionNumber::MAX_AGE)
        .unwrap_or(DEFAULT_MAX_AGE);
    let until = now.saturating_add(Duration::from_secs(age.into()));
    received.last = Some((context.serial, until));
    received.responses = received.responses.saturating_add(1);
}
