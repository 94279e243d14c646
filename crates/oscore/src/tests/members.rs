//! Members of a security group, with all work done at once. The tests of this room and those of the threats share them.

pub(crate) use alloc::{format, vec, vec::Vec};
pub(crate) use core::time::Duration;

pub(crate) use antiphon_oscore::credential::{Credential, CredentialFormat};
pub(crate) use antiphon_oscore::crypto::{PrivateKey, SoftwareKey};
pub(crate) use antiphon_oscore::secret::Secret;
pub(crate) use antiphon_oscore::sequence::{Sequence, SequenceSettings};
pub(crate) use antiphon_oscore::suite::Suite;
pub(crate) use antiphon_oscore::*;
pub(crate) use antiphon_wire::{Code, Message, MessageId, OptionNumber, Token, Type, Writer};

pub(crate) const GID: &[u8] = b"Dal";
pub(crate) const MASTER_SECRET: [u8; 16] = *b"\xe1secret of all\xd2\xc3";

/// The Sender ID of a member.
pub(crate) fn kid(member: usize) -> Kid {
    Kid::new(&[0x40 + member as u8]).unwrap()
}

pub(crate) fn key(member: usize) -> SoftwareKey {
    SoftwareKey::from_ed25519_seed(&[member as u8 + 1; 32])
}

pub(crate) fn credential(member: usize) -> Credential {
    let name = format!("member {member}");
    let bytes = Credential::build_ccs(&name, &key(member).public());
    Credential::import(CredentialFormat::Ccs, &bytes).unwrap()
}

pub(crate) fn parameters(gid: &[u8], generation: u64, suite: Suite) -> Parameters {
    Parameters {
        gid: Gid::new(gid).unwrap(),
        generation,
        master_secret: Secret::copy_of(&MASTER_SECRET),
        master_salt: Secret::new(vec![0x7e; 8]),
        suite,
        format: CredentialFormat::Ccs,
        gm_credential: GroupManagerCredential::configured_by_hand(*b"manager"),
    }
}

/// Sequence numbers from `next` on, of which plenty are reserved.
pub(crate) fn sequence_from(next: u64) -> Sequence {
    Sequence::exact(next, next + (1 << 20), SequenceSettings::default())
}

/// One member: its contexts, its key.
pub(crate) struct One {
    pub(crate) contexts: Contexts,
    pub(crate) group: GroupId,
    pub(crate) key: SoftwareKey,
    pub(crate) now: Duration,
}

impl One {
    /// A member that knows `count` members, itself included, and goes on at this number.
    pub(crate) fn new(
        member: usize,
        count: usize,
        suite: Suite,
        settings: Settings,
        next: u64,
        installed_at: Option<Duration>,
    ) -> One {
        let own = Own {
            sender_id: kid(member),
            credential: credential(member),
            sequence: sequence_from(next),
        };
        let parameters = parameters(GID, 1, suite);
        let mut group =
            Group::new("lights", parameters, Some(own), settings, installed_at).unwrap();
        for peer in (0..count).filter(|peer| *peer != member) {
            group.add_peer(kid(peer), credential(peer)).unwrap();
        }
        let mut contexts = Contexts::new();
        One {
            group: contexts.add_group(group),
            contexts,
            key: key(member),
            now: Duration::from_secs(1000),
        }
    }

    pub(crate) fn group(&mut self) -> &mut Group {
        self.contexts.group_mut(self.group).unwrap()
    }

    pub(crate) fn protect(
        &mut self,
        mut protect: impl FnMut(&mut Contexts, Duration) -> Result<Protecting, ProtectError>,
    ) -> Result<Protected, ProtectError> {
        loop {
            match protect(&mut self.contexts, self.now)? {
                Protecting::Done(protected) => return Ok(protected),
                Protecting::Sign(signing) => return signing.sign(&self.key),
                Protecting::Agree(job) => {
                    let agreed = job.run(&self.key);
                    self.contexts.agreed(agreed).unwrap();
                }
            }
        }
    }

    pub(crate) fn try_ask(
        &mut self,
        to: To,
        plain: &[u8],
    ) -> Result<(Vec<u8>, Asked), ProtectError> {
        let message = Message::parse(plain).unwrap();
        let id = self.group.into();
        let protected = self.protect(|it, now| it.protect_request(now, id, &message, to))?;
        Ok((protected.bytes, protected.asked.unwrap()))
    }

    pub(crate) fn hear_any(&mut self, bytes: &[u8], multicast: bool) -> Result<Opened, Refused> {
        let message = Message::parse(bytes).unwrap();
        let mut step = self.contexts.begin_request(self.now, &message, multicast)?;
        loop {
            match step {
                Step::Done(opened) => return Ok(opened),
                Step::Work(opening, job) => {
                    let result = job.run(&self.key);
                    step = self.contexts.finish_request(self.now, opening, result)?;
                }
            }
        }
    }

    pub(crate) fn hear(&mut self, bytes: &[u8]) -> Result<OpenedRequest, Reason> {
        match self
            .hear_any(bytes, false)
            .map_err(|refused| refused.reason)?
        {
            Opened::Request(opened) => Ok(opened),
            Opened::Challenge(_) => panic!("challenged"),
        }
    }

    pub(crate) fn try_answer(
        &mut self,
        received: &mut Received,
        plain: &[u8],
        mode: Option<Mode>,
    ) -> Result<Vec<u8>, ProtectError> {
        let message = Message::parse(plain).unwrap();
        let protected =
            self.protect(|it, now| it.protect_response(now, &message, received, mode))?;
        Ok(protected.bytes)
    }

    pub(crate) fn listen(
        &mut self,
        bytes: &[u8],
        asked: &mut Asked,
    ) -> Result<OpenedResponse, Reason> {
        let message = Message::parse(bytes).unwrap();
        let begun = self.contexts.begin_response(self.now, &message, asked);
        let mut step = begun.map_err(|refused| refused.reason)?;
        loop {
            match step {
                Step::Done(opened) => return Ok(opened),
                Step::Work(opening, job) => {
                    let result = job.run(&self.key);
                    let finished = self
                        .contexts
                        .finish_response(self.now, opening, result, asked);
                    step = finished.map_err(|refused| refused.reason)?;
                }
            }
        }
    }
}

pub(crate) fn message(
    kind: Type,
    code: Code,
    message_id: u16,
    token: &[u8],
    options: &[(OptionNumber, &[u8])],
    payload: &[u8],
) -> Vec<u8> {
    let mut bytes = vec![0; 2048 + payload.len()];
    let token = Token::new(token).unwrap();
    let mut writer = Writer::new(&mut bytes, kind, code, MessageId(message_id), token).unwrap();
    for (number, value) in options {
        writer.option(*number, value).unwrap();
    }
    writer.payload(payload).unwrap();
    let end = writer.finish();
    bytes.truncate(end);
    bytes
}

/// The OSCORE option of a message.
pub(crate) fn option(bytes: &[u8]) -> Vec<u8> {
    let message = Message::parse(bytes).unwrap();
    message.option(OptionNumber::OSCORE).unwrap().to_vec()
}
