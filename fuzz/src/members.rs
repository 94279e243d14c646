//! Members of a security group, for the targets that open messages: two of them know each other, and share a plain
//! OSCORE context as well.

use std::sync::OnceLock;
use std::time::Duration;

use antiphon_oscore::credential::{Credential, CredentialFormat};
use antiphon_oscore::crypto::{PrivateKey, SoftwareKey};
use antiphon_oscore::secret::Secret;
use antiphon_oscore::sequence::{Sequence, SequenceSettings};
use antiphon_oscore::suite::{Aead, Hkdf, Suite};
use antiphon_oscore::{
    Asked, ContextId, Contexts, Gid, Group, GroupId, GroupManagerCredential, Job, JobResult, Kid,
    Mode, Opened, OpenedResponse, Opening, Own, Pair, PairId, PairParameters, PairSettings,
    Parameters, ProtectError, Protected, Protecting, Reason, Received, Settings, Stale, Step, To,
};
use antiphon_wire::{Code, Message, MessageId, OptionNumber, Token, Type, Writer};

/// One member: its contexts and its key.
pub struct Member {
    /// Where it opens and protects.
    pub contexts: Contexts,
    /// Its group there.
    pub group: GroupId,
    /// Its pair there.
    pub pair: PairId,
    /// Its private key.
    pub key: SoftwareKey,
    /// Its clock.
    pub now: Duration,
}

/// The Sender ID of a member.
pub fn kid(member: usize) -> Kid {
    Kid::new(&[0x40 + member as u8]).unwrap()
}

fn key(member: usize) -> SoftwareKey {
    SoftwareKey::from_ed25519_seed(&[member as u8 + 1; 32])
}

/// What does not change from run to run.
fn credentials() -> &'static [Credential; 2] {
    static CREDENTIALS: OnceLock<[Credential; 2]> = OnceLock::new();
    CREDENTIALS.get_or_init(|| {
        [0, 1].map(|member| {
            let bytes = Credential::build_ccs("member", &key(member).public());
            Credential::import(CredentialFormat::Ccs, &bytes).unwrap()
        })
    })
}

/// The keys of one generation.
pub fn parameters(generation: u8) -> Parameters {
    Parameters {
        gid: Gid::new(&[b'D', b'a', generation]).unwrap(),
        generation: generation.into(),
        master_secret: Secret::new(vec![generation; 16]),
        master_salt: Secret::new(vec![0x7e; 8]),
        suite: Suite::default(),
        format: CredentialFormat::Ccs,
        gm_credential: GroupManagerCredential::configured_by_hand(*b"manager"),
    }
}

fn sequence() -> Sequence {
    Sequence::exact(0, 1 << 20, SequenceSettings::default())
}

/// Two members that know each other.
pub fn two() -> [Member; 2] {
    [0, 1].map(|index| {
        let own = Own {
            sender_id: kid(index),
            credential: credentials()[index].clone(),
            sequence: sequence(),
        };
        let settings = Settings::default();
        let mut group = Group::new("lights", parameters(1), Some(own), settings, None).unwrap();
        let peer = credentials()[1 - index].clone();
        group.add_peer(kid(1 - index), peer).unwrap();
        let pair = PairParameters {
            master_secret: Secret::new(vec![0x11; 16]),
            master_salt: Secret::new(vec![]),
            id_context: None,
            sender_id: kid(index),
            recipient_id: kid(1 - index),
            hkdf: Hkdf::Sha256,
            aead: Aead::AesCcm16_64_128,
        };
        let pair = Pair::new("pair", &pair, sequence(), PairSettings::default()).unwrap();
        let mut contexts = Contexts::new();
        Member {
            group: contexts.add_group(group),
            pair: contexts.add_pair(pair),
            contexts,
            key: key(index),
            now: Duration::from_secs(1),
        }
    })
}

/// Everything that opening a message could move, in bytes: windows, numbers, peers.
pub fn state(member: &Member) -> Vec<u8> {
    let group = member.contexts.group(member.group).unwrap();
    let pair = member.contexts.pair(member.pair).unwrap();
    let mut state = group.clean_record().encode().to_vec();
    let pair = (pair.window(), pair.sequence().next());
    let group = (
        group.peer_count(),
        group.sequence().map(Sequence::next),
        group.ever_deleted(),
    );
    state.extend_from_slice(format!("{pair:?} {group:?}").as_bytes());
    state
}

impl Member {
    /// Its group, to change it.
    pub fn group(&mut self) -> &mut Group {
        self.contexts.group_mut(self.group).unwrap()
    }

    /// Protects, with all work done at once.
    ///
    /// # Errors
    /// [`ProtectError`].
    pub fn protect(
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

    /// Sends a request.
    ///
    /// # Errors
    /// [`ProtectError`].
    pub fn ask(&mut self, to: To, plain: &[u8]) -> Result<(Vec<u8>, Asked), ProtectError> {
        let message = Message::parse(plain).unwrap();
        let id: ContextId = match to {
            To::Peer => self.pair.into(),
            _ => self.group.into(),
        };
        let protected = self.protect(|it, now| it.protect_request(now, id, &message, to))?;
        Ok((protected.bytes, protected.asked.unwrap()))
    }

    /// Sends a response.
    ///
    /// # Errors
    /// [`ProtectError`].
    pub fn answer(
        &mut self,
        received: &mut Received,
        plain: &[u8],
        mode: Option<Mode>,
    ) -> Result<Vec<u8>, ProtectError> {
        let message = Message::parse(plain).unwrap();
        let mode = mode.filter(|_| received.group().is_some());
        let protected =
            self.protect(|it, now| it.protect_response(now, &message, received, mode))?;
        Ok(protected.bytes)
    }

    /// Begins with a request; what has to be done is done, and not handed in yet.
    ///
    /// # Errors
    /// [`Reason`].
    pub fn begin(&mut self, bytes: &[u8]) -> Result<Begun, Reason> {
        let Ok(message) = Message::parse(bytes) else {
            return Err(Reason::Malformed);
        };
        let step = self.contexts.begin_request(self.now, &message, false);
        Ok(self.begun(step.map_err(|refused| refused.reason)?))
    }

    /// Goes on with one.
    ///
    /// # Errors
    /// [`Reason`].
    pub fn finish(&mut self, opening: Box<Opening>, result: JobResult) -> Result<Begun, Reason> {
        let step = self.contexts.finish_request(self.now, opening, result);
        Ok(self.begun(step.map_err(|refused| refused.reason)?))
    }

    fn begun(&self, step: Step<Opened>) -> Begun {
        match step {
            Step::Done(opened) => Begun::Done(opened),
            Step::Work(opening, job) => Begun::Waiting(opening, self.work(job)),
        }
    }

    fn work(&self, job: Job) -> JobResult {
        job.run(&self.key)
    }

    /// Opens a request.
    ///
    /// # Errors
    /// [`Reason`].
    pub fn hear(&mut self, bytes: &[u8]) -> Result<Opened, Reason> {
        let mut begun = self.begin(bytes)?;
        loop {
            match begun {
                Begun::Done(opened) => return Ok(opened),
                Begun::Waiting(opening, result) => begun = self.finish(opening, result)?,
            }
        }
    }

    /// Opens a response.
    ///
    /// # Errors
    /// [`Reason`].
    pub fn listen(&mut self, bytes: &[u8], asked: &mut Asked) -> Result<OpenedResponse, Reason> {
        let Ok(message) = Message::parse(bytes) else {
            return Err(Reason::Malformed);
        };
        let mut step = self.contexts.begin_response(self.now, &message, asked);
        loop {
            match step.map_err(|refused| refused.reason)? {
                Step::Done(opened) => return Ok(opened),
                Step::Work(opening, job) => {
                    let result = self.work(job);
                    let now = self.now;
                    step = self.contexts.finish_response(now, opening, result, asked);
                }
            }
        }
    }

    /// Installs the next keys.
    pub fn install(&mut self) {
        let group = self.contexts.group_mut(self.group).unwrap();
        let stale = Stale::Since {
            generation: group.generation(),
            kids: vec![],
        };
        let parameters = parameters(group.generation() as u8 + 1);
        let prepared = group.prepare_install(parameters, None, stale, 1 << 20);
        group.commit_install(prepared.unwrap(), self.now).unwrap();
    }
}

/// A request on its way in.
#[expect(clippy::large_enum_variant, reason = "taken apart at once")]
pub enum Begun {
    /// Opened.
    Done(Opened),
    /// Waiting, with the result of its work.
    Waiting(Box<Opening>, JobResult),
}

/// A message.
pub fn message(
    code: Code,
    serial: u16,
    options: &[(OptionNumber, &[u8])],
    payload: &[u8],
) -> Vec<u8> {
    let mut bytes = vec![0; 512 + payload.len()];
    let token = Token::new(&[0xaa]).unwrap();
    let mut writer = Writer::new(&mut bytes, Type::Non, code, MessageId(serial), token).unwrap();
    for (number, value) in options {
        writer.option(*number, value).unwrap();
    }
    writer.payload(payload).unwrap();
    let end = writer.finish();
    bytes.truncate(end);
    bytes
}

/// What of a message is protected: code, encrypted options, payload.
pub fn inside(bytes: &[u8]) -> (Code, Vec<(OptionNumber, Vec<u8>)>, Vec<u8>) {
    let message = Message::parse(bytes).unwrap();
    let options = message.options().filter(|option| {
        antiphon_oscore::OptionClass::of(option.number) == antiphon_oscore::OptionClass::E
    });
    let options = options.map(|option| (option.number, option.value.to_vec()));
    (
        message.code(),
        options.collect(),
        message.payload().to_vec(),
    )
}
