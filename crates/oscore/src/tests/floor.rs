//! A floor of members that share one group, for the tests.

pub(super) use alloc::{format, vec, vec::Vec};
pub(super) use core::time::Duration;

pub(super) use crate::credential::{Credential, CredentialFormat};
pub(super) use crate::crypto::{PrivateKey, SoftwareKey};
pub(super) use crate::secret::Secret;
pub(super) use crate::sequence::{Sequence, SequenceSettings};
pub(super) use crate::suite::Suite;
pub(super) use crate::*;
pub(super) use antiphon_wire::{Code, Message, MessageId, OptionNumber, Token, Type, Writer};

pub(super) const GID: &[u8] = b"Dal";

/// The Sender ID of a member of the floor.
pub(super) fn kid(member: usize) -> Kid {
    Kid::new(&[0x40 + member as u8]).unwrap()
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn key(member: usize) -> SoftwareKey {
    SoftwareKey::from_ed25519_seed(&[member as u8 + 1; 32])
}

pub(super) fn credential(member: usize) -> Credential {
    let name = format!("member {member}");
    let bytes = Credential::build_ccs(&name, &key(member).public());
    Credential::import(CredentialFormat::Ccs, &bytes).unwrap()
}

pub(super) fn parameters(gid: &[u8], generation: u64, suite: Suite) -> Parameters {
    let mut secret = vec![0x5a; 16];
    secret.extend_from_slice(gid);
    Parameters {
        gid: Gid::new(gid).unwrap(),
        generation,
        master_secret: Secret::new(secret),
        master_salt: Secret::new(vec![0x7e; 8]),
        suite,
        format: CredentialFormat::Ccs,
        gm_credential: GroupManagerCredential::configured_by_hand(Credential::build_ccs(
            "manager",
            &key(99).public(),
        )),
    }
}

/// Sequence numbers of which plenty are reserved.
pub(super) fn sequence() -> Sequence {
    Sequence::exact(0, 1 << 20, SequenceSettings::default())
}

pub(super) fn own(member: usize) -> Own {
    Own {
        sender_id: kid(member),
        credential: credential(member),
        sequence: sequence(),
    }
}

/// One member: its contexts, its key.
pub(super) struct One {
    pub(super) contexts: Contexts,
    pub(super) group: GroupId,
    pub(super) key: SoftwareKey,
    pub(super) now: Duration,
}

impl One {
    pub(super) fn group(&mut self) -> &mut Group {
        self.contexts.group_mut(self.group).unwrap()
    }

    pub(super) fn protect(
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

    pub(super) fn ask(&mut self, to: To, plain: &[u8]) -> Result<(Vec<u8>, Asked), ProtectError> {
        let message = Message::parse(plain).unwrap();
        let id = self.group.into();
        let protected = self.protect(|it, now| it.protect_request(now, id, &message, to))?;
        Ok((protected.bytes, protected.asked.unwrap()))
    }

    pub(super) fn hear_any(&mut self, bytes: &[u8], multicast: bool) -> Result<Opened, Refused> {
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

    pub(super) fn hear(&mut self, bytes: &[u8]) -> Result<OpenedRequest, Reason> {
        match self
            .hear_any(bytes, false)
            .map_err(|refused| refused.reason)?
        {
            Opened::Request(opened) => Ok(opened),
            Opened::Challenge(_) => panic!("challenged"),
        }
    }

    pub(super) fn answer(
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

    pub(super) fn listen(
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

/// Members that all know each other.
pub(super) struct Floor {
    pub(super) members: Vec<One>,
}

impl Floor {
    pub(super) fn new(count: usize, suite: Suite) -> Floor {
        Floor::with(count, suite, Settings::default())
    }

    pub(super) fn with(count: usize, suite: Suite, settings: Settings) -> Floor {
        let member = |index: usize| {
            let start = Some(seconds(100));
            let mut group = Group::new(
                "lights",
                parameters(GID, 1, suite),
                Some(own(index)),
                settings,
                start,
            )
            .unwrap();
            for peer in (0..count).filter(|peer| *peer != index) {
                group.add_peer(kid(peer), credential(peer)).unwrap();
            }
            let mut contexts = Contexts::new();
            let group = contexts.add_group(group);
            One {
                contexts,
                group,
                key: key(index),
                now: seconds(1000),
            }
        };
        Floor {
            members: (0..count).map(member).collect(),
        }
    }

    pub(super) fn ask(&mut self, member: usize, to: To, plain: &[u8]) -> (Vec<u8>, Asked) {
        self.members[member].ask(to, plain).unwrap()
    }

    pub(super) fn hear(&mut self, member: usize, bytes: &[u8]) -> Result<OpenedRequest, Reason> {
        self.members[member].hear(bytes)
    }

    pub(super) fn answer(
        &mut self,
        member: usize,
        received: &mut Received,
        plain: &[u8],
        mode: Option<Mode>,
    ) -> Vec<u8> {
        self.members[member].answer(received, plain, mode).unwrap()
    }

    pub(super) fn listen(
        &mut self,
        member: usize,
        bytes: &[u8],
        asked: &mut Asked,
    ) -> Result<OpenedResponse, Reason> {
        self.members[member].listen(bytes, asked)
    }
}

pub(super) fn message(
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

pub(super) fn get(message_id: u16, token: &[u8], path: &str) -> Vec<u8> {
    let options = [(OptionNumber::URI_PATH, path.as_bytes())];
    message(Type::Non, Code::GET, message_id, token, &options, b"")
}

pub(super) fn content(message_id: u16, token: &[u8], payload: &[u8]) -> Vec<u8> {
    message(Type::Non, Code::CONTENT, message_id, token, &[], payload)
}

/// The OSCORE option of a message.
pub(super) fn option(bytes: &[u8]) -> Vec<u8> {
    let message = Message::parse(bytes).unwrap();
    message.option(OptionNumber::OSCORE).unwrap().to_vec()
}
