//! Members that share groups and pairs: the same in every run.

use std::time::Duration;

use antiphon_oscore::credential::{Credential, CredentialFormat};
use antiphon_oscore::crypto::{Curve, PrivateKey, SoftwareKey};
use antiphon_oscore::replay::{ReplayWindow, WindowSize};
use antiphon_oscore::secret::Secret;
use antiphon_oscore::sequence::{MAX_NUMBER, Sequence, SequenceSettings};
use antiphon_oscore::suite::{
    Aead, GroupEncryption, Hkdf, KeyAgreement, SignatureAlgorithm, Suite,
};
use antiphon_oscore::{
    AgreeJob, Asked, ContextId, Contexts, Gid, Group, GroupManagerCredential, Kid, Opened,
    OpenedRequest, OpenedResponse, Own, Pair, PairId, PairParameters, PairSettings, Parameters,
    Protected, Protecting, Settings, Step, To,
};
use antiphon_wire::{Code, EncodeError, Message, MessageId, OptionNumber, Token, Type, Writer};

pub(crate) const NOW: Duration = Duration::from_secs(1);
pub(crate) const GID: &[u8] = b"\x5a\x17\x03";
pub(crate) const MASTER_SECRET: [u8; 16] = [0x5a; 16];
pub(crate) const MASTER_SALT: [u8; 8] = [0x7e; 8];
const TOKEN: [u8; 4] = [1, 2, 3, 4];

/// All Partial IVs of a run have three bytes.
pub(crate) const FIRST_NUMBER: u64 = 0x01_0001;

/// The ID of a member: one byte, where that is enough.
pub(crate) fn kid(member: u16) -> Kid {
    let id = match member.to_be_bytes() {
        [0, id] => Kid::new(&[id]),
        id => Kid::new(&id),
    };
    id.expect("two bytes are an ID")
}

pub(crate) fn key(curve: Curve, member: u16) -> SoftwareKey {
    let mut entropy = [0x51; 64];
    entropy[..2].copy_from_slice(&member.to_be_bytes());
    SoftwareKey::generate(curve, &entropy).expect("the curve is built in")
}

/// The credential of a member, as it is distributed.
pub(crate) fn credential_of(curve: Curve, kid: Kid) -> Vec<u8> {
    let member = kid
        .as_bytes()
        .iter()
        .fold(0, |member, byte| member << 8 | u16::from(*byte));
    let name = format!("floor-3/light-{member:05}");
    Credential::build_ccs(&name, &key(curve, member).public())
}

pub(crate) fn import(bytes: &[u8]) -> Credential {
    Credential::import(CredentialFormat::Ccs, bytes).expect("built by ourselves")
}

pub(crate) fn suite(curve: Curve, group: GroupEncryption, aead: Aead) -> Suite {
    let signature = match curve {
        Curve::P256 => SignatureAlgorithm::Es256,
        _ => SignatureAlgorithm::EdDsa,
    };
    Suite::new(
        Hkdf::Sha256,
        Some(aead),
        Some(group),
        Some(signature),
        Some(KeyAgreement::EcdhSsHkdf256),
    )
    .expect("these go together")
}

fn sequence() -> Sequence {
    Sequence::exact(FIRST_NUMBER, MAX_NUMBER, SequenceSettings::default())
}

pub(crate) fn manager(curve: Curve) -> GroupManagerCredential {
    let credential = Credential::build_ccs("manager", &key(curve, u16::MAX).public());
    GroupManagerCredential::configured_by_hand(credential)
}

/// A group in which `own` sends, without peers.
pub(crate) fn group(suite: Suite, curve: Curve, own: u16, settings: Settings) -> Group {
    let parameters = Parameters {
        gid: Gid::new(GID).expect("three bytes are a Gid"),
        generation: 1,
        master_secret: Secret::copy_of(&MASTER_SECRET),
        master_salt: Secret::copy_of(&MASTER_SALT),
        suite,
        format: CredentialFormat::Ccs,
        gm_credential: manager(curve),
    };
    let own = Own {
        sender_id: kid(own),
        credential: import(&credential_of(curve, kid(own))),
        sequence: sequence(),
    };
    Group::new("lights", parameters, Some(own), settings, None).expect("a sound group")
}

/// One member of a group, or one end of a pair.
pub(crate) struct One {
    pub(crate) contexts: Contexts,
    pub(crate) place: ContextId,
    pub(crate) key: SoftwareKey,
}

/// Two members that know each other, with their pairwise keys.
pub(crate) fn members(suite: Suite, curve: Curve) -> [One; 2] {
    let mut both = [(1, 2), (2, 1)].map(|(own, peer)| {
        let mut group = group(suite, curve, own, Settings::default());
        let credential = import(&credential_of(curve, kid(peer)));
        group
            .add_peer(kid(peer), credential)
            .expect("there is room");
        let mut contexts = Contexts::new();
        let place = ContextId::Group(contexts.add_group(group));
        One {
            contexts,
            place,
            key: key(curve, own),
        }
    });
    let plain = request();
    let to = [2, 1].map(|member| To::Member(kid(member)));
    for (one, to) in both.iter_mut().zip(to) {
        one.ask(&plain, to);
    }
    both
}

/// Both ends of a plain OSCORE context.
pub(crate) fn pair(aead: Aead) -> [One; 2] {
    [(1, 2), (2, 1)].map(|(own, peer)| {
        let parameters = PairParameters {
            master_secret: Secret::copy_of(&[0x5a; 16]),
            master_salt: Secret::copy_of(&[0x7e; 8]),
            id_context: None,
            sender_id: Kid::new(&[own]).expect("one byte is an ID"),
            recipient_id: Kid::new(&[peer]).expect("one byte is an ID"),
            hkdf: Hkdf::Sha256,
            aead,
        };
        let pair = Pair::new("pair", &parameters, sequence(), PairSettings::default());
        let mut contexts = Contexts::new();
        let place = ContextId::Pair(contexts.add_pair(pair.expect("a sound pair")));
        One {
            contexts,
            place,
            key: key(Curve::Ed25519, own.into()),
        }
    })
}

impl One {
    fn group(&mut self) -> &mut Group {
        let ContextId::Group(id) = self.place else {
            panic!("not in a group");
        };
        self.contexts.group_mut(id).expect("it is there")
    }

    pub(crate) fn add(&mut self, kid: Kid, credential: Credential) {
        let added = self.group().add_peer(kid, credential);
        added.expect("there is room");
    }

    /// Forgets a peer and meets it for the first time.
    pub(crate) fn meet_again(&mut self, kid: Kid, credential: Credential) {
        self.group().remove_peer(kid);
        let window = ReplayWindow::valid(WindowSize::default());
        let added = self.group().restore_peer(kid, credential, window);
        added.expect("there is room");
    }

    pub(crate) fn pair(&self) -> PairId {
        match self.place {
            ContextId::Pair(id) => id,
            ContextId::Group(_) => panic!("not a pair"),
        }
    }

    /// What has to be agreed on before the first request to a peer.
    pub(crate) fn agreement(&mut self, plain: &[u8], with: Kid) -> AgreeJob {
        let message = Message::parse(plain).expect("well formed");
        let to = To::Member(with);
        match self.contexts.protect_request(NOW, self.place, &message, to) {
            Ok(Protecting::Agree(job)) => job,
            _ => panic!("the keys are not there yet"),
        }
    }

    /// Protects a request, with whatever work it takes.
    pub(crate) fn ask(&mut self, plain: &[u8], to: To) -> (Vec<u8>, Asked) {
        let message = Message::parse(plain).expect("well formed");
        loop {
            let protecting = self
                .contexts
                .protect_request(NOW, self.place, &message, to)
                .expect("can be protected");
            let protected = match protecting {
                Protecting::Done(protected) => protected,
                Protecting::Sign(signing) => signing.sign(&self.key).expect("it signs"),
                Protecting::Agree(job) => {
                    let agreed = job.run(&self.key);
                    self.contexts.agreed(agreed).expect("a sound secret");
                    continue;
                }
            };
            let Protected { bytes, asked } = protected;
            return (bytes, asked.expect("it is a request"));
        }
    }

    /// Protects a response in the mode of its request.
    pub(crate) fn answer(&mut self, plain: &[u8], opened: &mut OpenedRequest) -> Vec<u8> {
        let message = Message::parse(plain).expect("well formed");
        let received = &mut opened.received;
        let protecting = self
            .contexts
            .protect_response(NOW, &message, received, None)
            .expect("can be protected");
        match protecting {
            Protecting::Done(protected) => protected.bytes,
            Protecting::Sign(signing) => signing.sign(&self.key).expect("it signs").bytes,
            Protecting::Agree(_) => panic!("the keys are there"),
        }
    }

    /// Opens a request, with whatever work it takes.
    pub(crate) fn hear(&mut self, bytes: &[u8]) -> OpenedRequest {
        let message = Message::parse(bytes).expect("well formed");
        let mut step = self
            .contexts
            .begin_request(NOW, &message, false)
            .expect("it is genuine");
        loop {
            step = match step {
                Step::Done(Opened::Request(opened)) => return opened,
                Step::Done(Opened::Challenge(_)) => panic!("the window is valid"),
                Step::Work(opening, job) => {
                    let result = job.run(&self.key);
                    self.contexts
                        .finish_request(NOW, opening, result)
                        .expect("it is genuine")
                }
            };
        }
    }

    /// Opens a response, with whatever work it takes.
    pub(crate) fn listen(&mut self, bytes: &[u8], asked: &mut Asked) -> OpenedResponse {
        let message = Message::parse(bytes).expect("well formed");
        let mut step = self
            .contexts
            .begin_response(NOW, &message, asked)
            .expect("it is genuine");
        loop {
            step = match step {
                Step::Done(opened) => return opened,
                Step::Work(opening, job) => {
                    let result = job.run(&self.key);
                    self.contexts
                        .finish_response(NOW, opening, result, asked)
                        .expect("it is genuine")
                }
            };
        }
    }
}

fn token() -> Token {
    Token::new(&TOKEN).expect("four bytes are a token")
}

/// A PUT with two path segments, a format and 32 bytes.
pub(crate) fn request() -> Vec<u8> {
    written(Code::PUT, token(), |writer| {
        writer.option(OptionNumber::URI_PATH, b"gp")?;
        writer.option(OptionNumber::URI_PATH, b"floor3")?;
        writer.uint_option(OptionNumber::CONTENT_FORMAT, 50)?;
        Ok(())
    })
}

/// A 2.05 with a format and 32 bytes.
pub(crate) fn response() -> Vec<u8> {
    response_to(token())
}

/// The same for another request.
pub(crate) fn response_to(token: Token) -> Vec<u8> {
    written(Code::CONTENT, token, |writer| {
        writer.uint_option(OptionNumber::CONTENT_FORMAT, 50)?;
        Ok(())
    })
}

fn written(
    code: Code,
    token: Token,
    options: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
) -> Vec<u8> {
    let mut bytes = vec![0; 128];
    let mut writer =
        Writer::new(&mut bytes, Type::Non, code, MessageId(0x7d41), token).expect("there is room");
    options(&mut writer).expect("there is room");
    writer.payload(&[0x61; 32]).expect("there is room");
    let end = writer.finish();
    bytes.truncate(end);
    bytes
}
