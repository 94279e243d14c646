//! A security group made up for one run: who is in it, and what each of them has to know.

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;

use antiphon_oscore::credential::{Credential, CredentialFormat};
use antiphon_oscore::crypto::{PrivateKey, SoftwareKey};
use antiphon_oscore::record::{Installed, OwnMember, PeersKept, Record};
use antiphon_oscore::secret::Secret;
use antiphon_oscore::sequence::{Sequence, SequenceSettings};
use antiphon_oscore::suite::{
    Aead, GroupEncryption, Hkdf, KeyAgreement, SignatureAlgorithm, Suite,
};
use antiphon_oscore::{
    Asked, Contexts, Gid, Group, GroupId, GroupManagerCredential, Job, Kid, Member, OpenedResponse,
    Own, Parameters, Protected, Protecting, Settings, Step, To,
};
use antiphon_wire::Message;

use crate::random;

pub(crate) type Failed = Box<dyn Error>;

/// Someone in the group, or someone who says so.
pub(crate) struct Person {
    pub(crate) kid: Kid,
    pub(crate) credential: Credential,
    seed: [u8; 32],
}

impl Person {
    fn new(name: &str, kid: Kid) -> Result<Person, Failed> {
        let seed = random::bytes()?;
        let bytes = Credential::build_ccs(name, &SoftwareKey::from_ed25519_seed(&seed).public());
        let credential = Credential::import(CredentialFormat::Ccs, &bytes)?;
        Ok(Person {
            kid,
            credential,
            seed,
        })
    }

    pub(crate) fn key(&self) -> SoftwareKey {
        SoftwareKey::from_ed25519_seed(&self.seed)
    }
}

/// The group: a board, a client, another member, and someone who has the keys of the group and is no member.
pub(crate) struct Made {
    gid: Gid,
    generation: u64,
    master_secret: [u8; 16],
    master_salt: Vec<u8>,
    suite: Suite,
    manager: Credential,
    pub(crate) board: Person,
    pub(crate) client: Person,
    pub(crate) other: Person,
    /// Every number below has been used by the board in its earlier life.
    pub(crate) used: u64,
}

impl Made {
    /// A new one: keys, identifiers and numbers at random.
    pub(crate) fn random() -> Result<Made, Failed> {
        let mut kids = BTreeSet::new();
        let mut kid = || {
            loop {
                let kid = Kid::new(&random::some(1, 7)?).ok_or("too long")?;
                if kids.insert(kid) {
                    return Ok::<_, Failed>(kid);
                }
            }
        };
        let aead = Aead::AesCcm16_64_128;
        Ok(Made {
            gid: Gid::new(&random::some(3, 8)?).ok_or("too long")?,
            generation: random::between(1, 1 << 20)?,
            master_secret: random::bytes()?,
            master_salt: random::some(0, 16)?,
            suite: Suite::new(
                Hkdf::Sha256,
                Some(aead),
                Some(GroupEncryption::Aead(aead)),
                Some(SignatureAlgorithm::EdDsa),
                Some(KeyAgreement::EcdhSsHkdf256),
            )?,
            manager: Person::new("manager", kid()?)?.credential,
            board: Person::new("board", kid()?)?,
            client: Person::new("client", kid()?)?,
            other: Person::new("other", kid()?)?,
            used: random::between(0, 1 << 32)?,
        })
    }

    /// What the store of the board holds when it is switched on for the first time.
    pub(crate) fn records(&self) -> Vec<Vec<u8>> {
        let installed = Record::Installed(Box::new(Installed {
            name: "lamps".to_owned(),
            generation: self.generation,
            gid: self.gid.as_bytes().to_vec(),
            master_secret: Secret::copy_of(&self.master_secret),
            master_salt: self.master_salt.clone(),
            suite: self.suite,
            format: CredentialFormat::Ccs,
            manager: self.manager.bytes().to_vec(),
            own: Some(OwnMember {
                sender_id: self.board.kid.as_bytes().to_vec(),
                credential: self.board.credential.bytes().to_vec(),
                key: Some(self.board.key().to_bytes()),
            }),
            upto: self.used,
            peers: PeersKept::Nobody,
            past: Vec::new(),
            ever_deleted: false,
        }));
        let peer = |person: &Person| Record::Peer {
            gid: self.gid.as_bytes().to_vec(),
            recipient_id: person.kid.as_bytes().to_vec(),
            credential: person.credential.bytes().to_vec(),
        };
        [installed, peer(&self.client), peer(&self.other)]
            .iter()
            .map(|record| record.encode().to_vec())
            .collect()
    }

    /// A host that takes part as this person, and knows the board.
    pub(crate) fn host(&self, person: &Person) -> Result<Host, Failed> {
        let next = random::between(0, 1 << 32)?;
        let own = Own {
            sender_id: person.kid,
            credential: person.credential.clone(),
            sequence: Sequence::exact(next, next + (1 << 16), SequenceSettings::default()),
        };
        let parameters = Parameters {
            gid: self.gid.clone(),
            generation: self.generation,
            master_secret: Secret::copy_of(&self.master_secret),
            master_salt: Secret::copy_of(&self.master_salt),
            suite: self.suite,
            format: CredentialFormat::Ccs,
            gm_credential: GroupManagerCredential::configured_by_hand(self.manager.bytes()),
        };
        let mut group = Group::new("lamps", parameters, Some(own), Settings::default(), None)
            .map_err(|error| format!("no group: {error:?}"))?;
        group
            .add_peer(self.board.kid, self.board.credential.clone())
            .map_err(|error| format!("no peer: {error:?}"))?;
        let mut contexts = Contexts::new();
        let group = contexts.add_group(group);
        Ok(Host {
            contexts,
            group,
            key: person.key(),
            board: self.board.kid,
            credential_of_board: self.board.credential.bytes().to_vec(),
        })
    }

    /// Someone with all keys of the group and the client's Sender ID, but not the client's private key.
    pub(crate) fn impostor(&self) -> Result<Host, Failed> {
        self.host(&Person {
            kid: self.client.kid,
            credential: self.client.credential.clone(),
            seed: random::bytes()?,
        })
    }
}

/// A member that runs on the host.
pub(crate) struct Host {
    contexts: Contexts,
    group: GroupId,
    key: SoftwareKey,
    /// The Sender ID of the board.
    pub(crate) board: Kid,
    credential_of_board: Vec<u8>,
}

impl Host {
    /// Whether this proven sender is the board.
    pub(crate) fn is_board(&self, sender: &Member) -> bool {
        sender.kid() == self.board && sender.credential() == self.credential_of_board
    }

    /// Protects a request.
    pub(crate) fn ask(
        &mut self,
        now: Duration,
        to: To,
        plain: &[u8],
    ) -> Result<(Vec<u8>, Asked), Failed> {
        let message = Message::parse(plain)?;
        let refused = |error| format!("not protected: {error:?}");
        let protected: Protected = loop {
            let protecting = self
                .contexts
                .protect_request(now, self.group.into(), &message, to);
            match protecting.map_err(refused)? {
                Protecting::Done(protected) => break protected,
                Protecting::Sign(signing) => break signing.sign(&self.key).map_err(refused)?,
                Protecting::Agree(job) => {
                    let agreed = job.run(&self.key);
                    self.contexts
                        .agreed(agreed)
                        .map_err(|reason| format!("no secret: {reason:?}"))?;
                }
            }
        };
        Ok((protected.bytes, protected.asked.ok_or("no request")?))
    }

    /// Opens a response, and proves who sent it.
    pub(crate) fn open(
        &mut self,
        now: Duration,
        bytes: &[u8],
        asked: &mut Asked,
    ) -> Result<OpenedResponse, Failed> {
        let message = Message::parse(bytes)?;
        let refused = |refused| format!("not opened: {refused:?}");
        let mut step = self
            .contexts
            .begin_response(now, &message, asked)
            .map_err(refused)?;
        loop {
            match step {
                Step::Done(opened) => return Ok(opened),
                Step::Work(opening, job) => {
                    let result = Job::run(job, &self.key);
                    step = self
                        .contexts
                        .finish_response(now, opening, result, asked)
                        .map_err(refused)?;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon_oscore::crypto::{AeadKey, CryptoError, Curve, GroupKey, KeyFailure};
    use antiphon_oscore::suite::SuiteError;

    use super::*;

    /// This host is built without them, as the board is.
    #[test]
    fn algorithms_that_are_left_out_are_refused() {
        let left_out = |aead: &Aead| !aead.supported();
        let ids: Vec<i32> = Aead::ALL
            .iter()
            .copied()
            .filter(left_out)
            .map(Aead::id)
            .collect();
        assert_eq!(ids, [1, 2, 3, 11, 13, 24, 31, 33]);
        for aead in Aead::ALL.iter().copied() {
            let suite = Suite::new(
                Hkdf::Sha256,
                Some(aead),
                None,
                None,
                Some(KeyAgreement::EcdhSsHkdf256),
            );
            let key = AeadKey::new(aead, &vec![0; aead.key_len()]).map(|_| ());
            match left_out(&aead) {
                true => {
                    assert_eq!(suite, Err(SuiteError::Unavailable(aead.id())));
                    assert_eq!(key, Err(CryptoError::Unavailable));
                }
                false => {
                    assert!(suite.is_ok());
                    assert_eq!(key, Ok(()));
                }
            }
        }
        let counter = GroupEncryption::A128Ctr;
        let suite = Suite::new(
            Hkdf::Sha256,
            None,
            Some(counter),
            Some(SignatureAlgorithm::EdDsa),
            None,
        );
        assert_eq!(suite, Err(SuiteError::Unavailable(counter.id())));
        let key = GroupKey::new(counter, &[0; 16]).map(|_| ());
        assert_eq!(key, Err(CryptoError::Unavailable));
        assert!(!Curve::P256.supported());
        let key = SoftwareKey::generate(Curve::P256, &[7; 64]).map(|_| ());
        assert_eq!(key, Err(KeyFailure::Unsupported));
    }
}
