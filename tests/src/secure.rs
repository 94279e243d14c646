//! Security groups for tests: members with known keys, and a stranger's side of the conversation without an endpoint.

use std::time::Duration;

use antiphon_oscore::credential::{Credential, CredentialFormat};
use antiphon_oscore::crypto::{PrivateKey, SoftwareKey};
use antiphon_oscore::secret::Secret;
use antiphon_oscore::sequence::{Sequence, SequenceSettings};
use antiphon_oscore::suite::{
    Aead, GroupEncryption, Hkdf, KeyAgreement, SignatureAlgorithm, Suite,
};
use antiphon_oscore::{
    Asked, ContextId, Contexts, Gid, Group, GroupId, GroupManagerCredential, Job, JobResult, Kid,
    Own, Parameters, Protected, Protecting, Settings, Step, To,
};
use antiphon_proto::Identity;
use antiphon_wire::Message;

/// The name of the group.
pub const NAME: &str = "lights";

/// The private key of member `n`.
pub fn key(n: u8) -> SoftwareKey {
    SoftwareKey::from_ed25519_seed(&[n + 1; 32])
}

/// The credential of member `n`.
pub fn credential(n: u8) -> Credential {
    let bytes = Credential::build_ccs(&format!("member {n}"), &key(n).public());
    Credential::import(CredentialFormat::Ccs, &bytes).unwrap()
}

/// The Sender ID of member `n`.
pub fn kid(n: u8) -> Kid {
    Kid::new(&[n]).unwrap()
}

/// Who member `n` is proven to be.
pub fn identity(n: u8) -> Identity {
    Identity::member(NAME, credential(n).bytes())
}

/// Ed25519, and AES-CCM with tags of 16 bytes in both modes.
pub fn suite() -> Suite {
    let aead = Aead::AesCcm16_128_128;
    Suite::new(
        Hkdf::Sha256,
        Some(aead),
        Some(GroupEncryption::Aead(aead)),
        Some(SignatureAlgorithm::EdDsa),
        Some(KeyAgreement::EcdhSsHkdf256),
    )
    .unwrap()
}

/// The keys of a generation, from 1 on: another secret and another Gid than those of any other.
pub fn parameters(generation: u8) -> Parameters {
    Parameters {
        gid: Gid::new(&[0x47, generation]).unwrap(),
        generation: generation.into(),
        master_secret: Secret::new(vec![0x4c + generation; 16]),
        master_salt: Secret::new(vec![0x53; 8]),
        suite: suite(),
        format: CredentialFormat::Ccs,
        gm_credential: GroupManagerCredential::no_manager(),
    }
}

/// The group as member `me` has it, with these peers. A million sequence numbers are reserved.
pub fn group(me: u8, peers: impl IntoIterator<Item = u8>, settings: Settings) -> Group {
    group_from(0, me, peers, parameters(1), settings)
}

/// The same with these keys, and sequence numbers from `next` on.
pub fn group_from(
    next: u64,
    me: u8,
    peers: impl IntoIterator<Item = u8>,
    parameters: Parameters,
    settings: Settings,
) -> Group {
    let own = Own {
        sender_id: kid(me),
        credential: credential(me),
        sequence: Sequence::exact(next, next + 1_000_000, SequenceSettings::default()),
    };
    let mut group = Group::new(NAME, parameters, Some(own), settings, None).unwrap();
    for peer in peers {
        group.add_peer(kid(peer), credential(peer)).unwrap();
    }
    group
}

/// A member that protects and opens single messages, at once.
pub struct Sealer {
    contexts: Contexts,
    group: GroupId,
    key: SoftwareKey,
    asked: Vec<Asked>,
}

impl Sealer {
    /// Member `me`, who knows these peers.
    pub fn new(me: u8, peers: impl IntoIterator<Item = u8>) -> Self {
        Self::of(key(me), group(me, peers, Settings::default()))
    }

    /// The member that has this key, and the group like this.
    pub fn of(key: SoftwareKey, group: Group) -> Self {
        let mut contexts = Contexts::new();
        let group = contexts.add_group(group);
        Self {
            contexts,
            group,
            key,
            asked: Vec::new(),
        }
    }

    /// Protects a request in group mode.
    pub fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        self.seal_to(plain, To::Group)
    }

    /// Protects a request in pairwise mode.
    pub fn seal_for(&mut self, member: u8, plain: &[u8]) -> Vec<u8> {
        self.seal_to(plain, To::Member(kid(member)))
    }

    fn seal_to(&mut self, plain: &[u8], to: To) -> Vec<u8> {
        let message = Message::parse(plain).unwrap();
        let id = ContextId::Group(self.group);
        loop {
            let protecting = self
                .contexts
                .protect_request(Duration::ZERO, id, &message, to);
            let Protected { bytes, asked } = match protecting.unwrap() {
                Protecting::Done(protected) => protected,
                Protecting::Sign(signing) => signing.sign(&self.key).unwrap(),
                Protecting::Agree(job) => {
                    self.contexts.agreed(job.run(&self.key)).unwrap();
                    continue;
                }
            };
            self.asked.extend(asked);
            return bytes;
        }
    }

    /// Opens a response to any of the requests so far.
    pub fn open(&mut self, response: &[u8]) -> Option<Vec<u8>> {
        let message = Message::parse(response).ok()?;
        for asked in &mut self.asked {
            let mut step = self
                .contexts
                .begin_response(Duration::ZERO, &message, asked);
            loop {
                match step {
                    Err(_) => break,
                    Ok(Step::Done(opened)) => return Some(opened.message),
                    Ok(Step::Work(opening, job)) => {
                        let result = match job {
                            Job::Verify(job) => JobResult::Checked(job.run()),
                            Job::Agree(job) => JobResult::Agreed(job.run(&self.key)),
                        };
                        step =
                            self.contexts
                                .finish_response(Duration::ZERO, opening, result, asked);
                    }
                }
            }
        }
        None
    }
}
