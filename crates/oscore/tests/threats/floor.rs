//! Members of one security group, with all work done at once.

pub(crate) use std::time::Duration;

pub(crate) use antiphon_oscore::credential::{Credential, CredentialFormat};
pub(crate) use antiphon_oscore::crypto::{PrivateKey, SoftwareKey};
pub(crate) use antiphon_oscore::nonce::PartialIv;
pub(crate) use antiphon_oscore::option::OscoreOption;
pub(crate) use antiphon_oscore::secret::Secret;
pub(crate) use antiphon_oscore::sequence::{Sequence, SequenceSettings};
pub(crate) use antiphon_oscore::suite::{Aead, GroupEncryption, Suite};
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
    let bytes = Credential::build_ccs(&format!("member {member}"), &key(member).public());
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
pub(crate) fn sequence(next: u64) -> Sequence {
    Sequence::exact(next, next + (1 << 20), SequenceSettings::default())
}

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
    ) -> One {
        let own = Own {
            sender_id: kid(member),
            credential: credential(member),
            sequence: sequence(next),
        };
        let parameters = parameters(GID, 1, suite);
        let mut group = Group::new("lights", parameters, Some(own), settings, None).unwrap();
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

    pub(crate) fn ask(&mut self, to: To, plain: &[u8]) -> (Vec<u8>, Asked) {
        self.try_ask(to, plain).unwrap()
    }

    pub(crate) fn hear_any(&mut self, bytes: &[u8]) -> Result<Opened, Reason> {
        let message = Message::parse(bytes).unwrap();
        let mut step = self.contexts.begin_request(self.now, &message, false);
        loop {
            match step.map_err(|refused| refused.reason)? {
                Step::Done(opened) => return Ok(opened),
                Step::Work(opening, job) => {
                    let result = job.run(&self.key);
                    step = self.contexts.finish_request(self.now, opening, result);
                }
            }
        }
    }

    pub(crate) fn hear(&mut self, bytes: &[u8]) -> Result<OpenedRequest, Reason> {
        match self.hear_any(bytes)? {
            Opened::Request(opened) => Ok(opened),
            Opened::Challenge(_) => panic!("challenged"),
        }
    }

    /// Hears a request that has to be challenged.
    pub(crate) fn challenged(&mut self, bytes: &[u8]) -> Challenged {
        match self.hear_any(bytes).unwrap() {
            Opened::Request(_) => panic!("delivered"),
            Opened::Challenge(challenged) => challenged,
        }
    }

    /// The protected challenge.
    pub(crate) fn challenge(&mut self, to: &mut Challenged, value: [u8; 8]) -> Vec<u8> {
        let header = (Type::Non, MessageId(9), Token::new(&[0xaa]).unwrap());
        let now = self.now;
        let plain = self.contexts.challenge(now, &to.received, value, header);
        self.answer(&mut to.received, &plain.unwrap(), None)
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

    pub(crate) fn answer(
        &mut self,
        received: &mut Received,
        plain: &[u8],
        mode: Option<Mode>,
    ) -> Vec<u8> {
        self.try_answer(received, plain, mode).unwrap()
    }

    pub(crate) fn listen(
        &mut self,
        bytes: &[u8],
        asked: &mut Asked,
    ) -> Result<OpenedResponse, Reason> {
        let message = Message::parse(bytes).unwrap();
        let mut step = self.contexts.begin_response(self.now, &message, asked);
        loop {
            match step.map_err(|refused| refused.reason)? {
                Step::Done(opened) => return Ok(opened),
                Step::Work(opening, job) => {
                    let result = job.run(&self.key);
                    let now = self.now;
                    step = self.contexts.finish_response(now, opening, result, asked);
                }
            }
        }
    }

    /// Installs other keys.
    pub(crate) fn install(&mut self, gid: &[u8], generation: u64) {
        let now = self.now;
        let group = self.group();
        let stale = Stale::Since {
            generation: group.generation(),
            kids: vec![],
        };
        let parameters = parameters(gid, generation, Suite::default());
        let prepared = group.prepare_install(parameters, None, stale, 1 << 20);
        group.commit_install(prepared.unwrap(), now).unwrap();
    }
}

/// Members that all know each other.
pub(crate) fn floor(count: usize) -> Vec<One> {
    floor_with(count, Suite::default(), Settings::default())
}

pub(crate) fn floor_with(count: usize, suite: Suite, settings: Settings) -> Vec<One> {
    (0..count)
        .map(|member| One::new(member, count, suite, settings, 0))
        .collect()
}

pub(crate) fn message(
    code: Code,
    message_id: u16,
    options: &[(OptionNumber, &[u8])],
    payload: &[u8],
) -> Vec<u8> {
    let mut bytes = vec![0; 600 + payload.len()];
    let token = Token::new(&[0xaa]).unwrap();
    let mut writer =
        Writer::new(&mut bytes, Type::Non, code, MessageId(message_id), token).unwrap();
    for (number, value) in options {
        writer.option(*number, value).unwrap();
    }
    writer.payload(payload).unwrap();
    let end = writer.finish();
    bytes.truncate(end);
    bytes
}

pub(crate) fn get(message_id: u16) -> Vec<u8> {
    message(
        Code::GET,
        message_id,
        &[(OptionNumber::URI_PATH, b"lock")],
        b"",
    )
}

/// A request that echoes.
pub(crate) fn echoing(message_id: u16, value: &[u8]) -> Vec<u8> {
    let options = [
        (OptionNumber::URI_PATH, &b"lock"[..]),
        (OptionNumber::ECHO, value),
    ];
    message(Code::GET, message_id, &options, b"")
}

pub(crate) fn content(message_id: u16, payload: &[u8]) -> Vec<u8> {
    message(Code::CONTENT, message_id, &[], payload)
}

/// The value of the OSCORE option of a message.
pub(crate) fn option(bytes: &[u8]) -> Vec<u8> {
    let message = Message::parse(bytes).unwrap();
    message.option(OptionNumber::OSCORE).unwrap().to_vec()
}

/// The Partial IV of a message, if it has one.
pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    let raw = option(bytes);
    OscoreOption::parse(&raw)
        .unwrap()
        .partial_iv
        .map(PartialIv::value)
}

pub(crate) fn payload(bytes: &[u8]) -> Vec<u8> {
    Message::parse(bytes).unwrap().payload().to_vec()
}

/// The same message with another ciphertext.
pub(crate) fn with_payload(bytes: &[u8], payload: &[u8]) -> Vec<u8> {
    message(
        Code::POST,
        77,
        &[(OptionNumber::OSCORE, &option(bytes))],
        payload,
    )
}

/// The same message with its last bit changed: of the signature, or of the tag.
pub(crate) fn spoiled(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    bytes
}

pub(crate) fn xor(one: &[u8], two: &[u8]) -> Vec<u8> {
    one.iter().zip(two).map(|(one, two)| one ^ two).collect()
}
