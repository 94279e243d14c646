//! Protecting a request (draft sections 7.1 and 8.3; RFC 8613, section 8.1).

use core::time::Duration;

use antiphon_wire::Message;

use super::{
    Numbering, Protected, Protecting, Signing, To, check_length, check_option, write_option,
};
use crate::aad::OscoreAad;
use crate::context::CredentialHash;
use crate::contexts::{ContextId, Contexts, GroupId, PairId};
use crate::group_mode::Binding;
use crate::identity::{Gid, Mode};
use crate::message::{Direction, Split};
use crate::open::{Asked, Intended, Servers};
use crate::option::OscoreOption;
use crate::pair::Pair;
use crate::refused::ProtectError;

impl Contexts {
    /// Protects a request with the latest Security Context.
    ///
    /// # Errors
    /// [`ProtectError`].
    pub fn protect_request(
        &mut self,
        now: Duration,
        id: ContextId,
        message: &Message<'_>,
        to: To,
    ) -> Result<Protecting, ProtectError> {
        self.protect_request_as(now, id, message, to, Numbering::Allocated)
    }

    /// Protects a request under a Partial IV that the caller chooses: for test vectors. Used twice with one key, it
    /// breaks the encryption.
    ///
    /// # Errors
    /// [`ProtectError`].
    #[cfg(any(test, feature = "vectors"))]
    pub fn protect_request_numbered(
        &mut self,
        now: Duration,
        id: ContextId,
        message: &Message<'_>,
        to: To,
        partial_iv: crate::nonce::PartialIv,
    ) -> Result<Protecting, ProtectError> {
        let numbering = Numbering::Given(Some(partial_iv));
        self.protect_request_as(now, id, message, to, numbering)
    }

    fn protect_request_as(
        &mut self,
        now: Duration,
        id: ContextId,
        message: &Message<'_>,
        to: To,
        numbering: Numbering,
    ) -> Result<Protecting, ProtectError> {
        let split = Split::of(message, Direction::Request)?;
        match id {
            ContextId::Group(id) => {
                self.protect_group_request(now, id, message, split, to, numbering)
            }
            ContextId::Pair(id) if to == To::Peer => self
                .protect_pair_request(id, message, split, numbering)
                .map(Protecting::Done),
            ContextId::Pair(_) => Err(ProtectError::UnknownMember),
        }
    }

    fn protect_group_request(
        &mut self,
        now: Duration,
        id: GroupId,
        message: &Message<'_>,
        split: Split,
        to: To,
        numbering: Numbering,
    ) -> Result<Protecting, ProtectError> {
        let ticket = self.ticket();
        let found = self.group_and_scratch(id);
        let (group, scratch) = found.ok_or(ProtectError::NoContext)?;
        group.may_protect()?;
        let (settings, context) = (&group.settings, &mut group.current);
        let intended = match to {
            To::Group => None,
            To::Member(kid) => {
                let peer = context.recipients.get_mut(kid);
                let peer = peer.ok_or(ProtectError::UnknownMember)?;
                peer.used_at = Some(now);
                let credential = peer.hash;
                Some(Intended { kid, credential })
            }
            To::Peer => return Err(ProtectError::UnknownMember),
        };
        let mode = match intended {
            Some(_) if context.has_mode(Mode::Pairwise) => Mode::Pairwise,
            _ => Mode::Group,
        };
        if !context.has_mode(mode) {
            return Err(ProtectError::ModeUnavailable);
        }
        if let Some(intended) = intended.filter(|_| mode == Mode::Pairwise)
            && let Some(job) = context.agree_job(id, intended.kid)
        {
            return Ok(Protecting::Agree(job));
        }
        scratch.body.clear();
        split.write_plaintext(message, &mut scratch.body)?;
        check_length(scratch.body.len())?;
        let gid = context.common.gid.clone();
        let sender = context.sender.as_mut().ok_or(ProtectError::NoSender)?;
        let kid = sender.id;
        check_option(kid, Some(gid.as_bytes()))?;
        let piv = numbering.take(&mut sender.sequence)?;
        let option = OscoreOption {
            partial_iv: Some(piv),
            kid_context: Some(gid.as_bytes()),
            kid: Some(kid.as_bytes()),
            group_flag: mode == Mode::Group,
        };
        write_option(&option, &mut scratch.option)?;
        let binding = Binding {
            request: true,
            request_kid: kid,
            request_piv: piv,
            request_kid_context: gid.as_bytes(),
            option: &scratch.option,
            generator: kid,
            piv,
        };
        let asked = Asked {
            ticket,
            place: id.into(),
            context: context.serial,
            kid,
            piv,
            kid_context: Some(gid.clone()),
            mode,
            intended,
            observe: split.observe,
            answered: false,
            oldest: 0,
            servers: Servers::default(),
            limit: match intended {
                Some(_) => 1,
                None => settings.servers,
            },
        };
        match intended {
            Some(intended) if mode == Mode::Pairwise => {
                let (aad, body) = (&mut scratch.aad, &mut scratch.body);
                context.pairwise_encrypt(intended.kid, &binding, aad, body)?;
                let bytes = split.outer(message, &scratch.option, &scratch.body, 0)?;
                let asked = Some(asked);
                Ok(Protecting::Done(Protected { bytes, asked }))
            }
            _ => {
                let body = &mut scratch.body;
                let signing =
                    context.encrypt_for_signing(id, settings, message, split, &binding, body)?;
                let asked = Some(asked);
                Ok(Protecting::Sign(Signing { asked, ..signing }))
            }
        }
    }

    fn protect_pair_request(
        &mut self,
        id: PairId,
        message: &Message<'_>,
        split: Split,
        numbering: Numbering,
    ) -> Result<Protected, ProtectError> {
        let ticket = self.ticket();
        let found = self.pair_and_scratch(id);
        let (pair, scratch) = found.ok_or(ProtectError::NoContext)?;
        scratch.body.clear();
        split.write_plaintext(message, &mut scratch.body)?;
        check_length(scratch.body.len())?;
        let kid = pair.sender_id;
        let named = pair.id_context.clone();
        let named = named.filter(|_| pair.settings.send_id_context);
        let kid_context = named.as_ref().map(Gid::as_bytes);
        check_option(kid, kid_context)?;
        let piv = numbering.take(&mut pair.sequence)?;
        let option = OscoreOption {
            partial_iv: Some(piv),
            kid_context,
            kid: Some(kid.as_bytes()),
            group_flag: false,
        };
        write_option(&option, &mut scratch.option)?;
        let parts = OscoreAad {
            aead: pair.aead,
            request_kid: kid.as_bytes(),
            request_piv: piv,
            class_i_options: &[],
        };
        pair.encrypt(kid, piv, &parts, &mut scratch.aad, &mut scratch.body)?;
        let bytes = split.outer(message, &scratch.option, &scratch.body, 0)?;
        let asked = Asked {
            ticket,
            place: id.into(),
            context: Pair::SERIAL,
            kid,
            piv,
            kid_context: named,
            mode: Mode::Plain,
            intended: Some(Intended {
                kid: pair.recipient_id,
                credential: CredentialHash::NONE,
            }),
            observe: split.observe,
            answered: false,
            oldest: 0,
            servers: Servers::default(),
            limit: 1,
        };
        Ok(Protected {
            bytes,
            asked: Some(asked),
        })
    }
}
