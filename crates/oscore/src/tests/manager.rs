//! Whose key is proven, and what a private key does (draft sections 2.1.6 and 2.5).

use core::cell::RefCell;

use super::floor::*;
use crate::crypto::{
    Agreement, Curve, KeyFailure, PublicKey, Purpose, SharedSecret, ToBeSigned, verify,
};
use crate::suite::{Aead, GroupEncryption, Hkdf, KeyAgreement, SignatureAlgorithm};

const N_C: &[u8] = &[0x25, 0xa8, 0x99, 0x1c, 0xd7, 0x00, 0xac, 0x01];
const N_KDC: &[u8] = &[0xce, 0xf0, 0x4b, 0x2a, 0xa7, 0x91, 0xbc, 0x6d];
const MANAGER: usize = 99;

fn of_manager() -> Proof {
    Proof::of_manager(N_C, N_KDC)
}

/// What a Join Response brings.
struct Joined {
    credential: Vec<u8>,
    proof: Proof,
    evidence: Vec<u8>,
}

fn genuine() -> Joined {
    let own = key(0).public();
    Joined {
        credential: Credential::build_ccs("manager", &key(MANAGER).public()),
        proof: of_manager(),
        evidence: of_manager()
            .make(&Suite::default(), &key(MANAGER), &own)
            .unwrap(),
    }
}

/// What a member does with it: there is no other way to [`Parameters`] from something that came over the network.
fn join(contexts: &mut Contexts, response: &Joined) -> Result<GroupId, ProofRefused> {
    let suite = Suite::default();
    let gm_credential = GroupManagerCredential::proven(
        CredentialFormat::Ccs,
        &response.credential,
        &suite,
        &response.proof,
        &response.evidence,
        Some(&key(0)),
    )?;
    assert_eq!(gm_credential.grounds(), Grounds::Proven);
    let parameters = Parameters {
        gm_credential,
        ..parameters(GID, 1, suite)
    };
    let group = Group::new(
        "lights",
        parameters,
        Some(own(0)),
        Settings::default(),
        None,
    );
    Ok(contexts.add_group(group.unwrap()))
}

// Covers: GO-2.1.6-01
#[test]
fn without_proof_of_the_group_manager_there_is_no_context() {
    let mut contexts = Contexts::new();
    let as_it_is = genuine();
    let half = as_it_is.evidence.len() / 2;
    let mut flipped = genuine().evidence;
    flipped[half] ^= 1;
    let suite = Suite::default();
    let own = key(0).public();
    let by = |signer: usize, proof: Proof| proof.make(&suite, &key(signer), &own).unwrap();
    let not_proven = [
        flipped,
        Vec::new(),
        as_it_is.evidence[..half].to_vec(),
        // Of somebody else's key; with the right one over other challenges, over those of another exchange, and as a member proves itself.
        by(7, of_manager()),
        by(MANAGER, Proof::of_manager(N_KDC, N_C)),
        by(MANAGER, Proof::of_manager(N_C, b"another")),
        by(MANAGER, Proof::of_member(b"", N_C, N_KDC)),
    ];
    for (at, evidence) in not_proven.into_iter().enumerate() {
        let response = Joined {
            evidence,
            ..genuine()
        };
        let refused = join(&mut contexts, &response).unwrap_err();
        assert_eq!(refused, ProofRefused::NotProven, "{at}");
        assert_eq!(contexts.groups().count(), 0, "nothing is installed: {at}");
    }
    // Another credential than the one that was proven; one that is none, and one of the wrong kind.
    let x25519 = SoftwareKey::from_x25519(&[9; 32]).unwrap().public();
    for (credential, refused) in [
        (
            Credential::build_ccs("manager", &key(7).public()),
            ProofRefused::NotProven,
        ),
        (
            vec![0xa0],
            ProofRefused::Credential(crate::credential::CredentialRefused::NoKey),
        ),
        (
            Credential::build_ccs("manager", &x25519),
            ProofRefused::Credential(crate::credential::CredentialRefused::WrongAlgorithm),
        ),
    ] {
        let response = Joined {
            credential,
            ..genuine()
        };
        assert_eq!(join(&mut contexts, &response).unwrap_err(), refused);
        assert_eq!(contexts.groups().count(), 0);
    }
    // The control.
    let id = join(&mut contexts, &as_it_is).unwrap();
    let group = contexts.group(id).unwrap();
    assert_eq!(group.gm_credential(), as_it_is.credential);
}

#[test]
fn the_input_of_a_proof_is_that_of_the_documents() {
    // draft-ietf-ace-key-groupcomm, section 4.3.1.1, in CBOR.
    let expected = [&[0x48][..], N_C, &[0x48], N_KDC].concat();
    assert_eq!(of_manager().as_bytes(), expected);
    let expected = [&[0x43][..], b"\x01\x02\x03", &[0x41, 9, 0x48], N_C].concat();
    assert_eq!(Proof::of_member(&[1, 2, 3], &[9], N_C).as_bytes(), expected);
    // A signature proves nothing but that.
    let signature = genuine().evidence;
    let public = key(MANAGER).public();
    let algorithm = SignatureAlgorithm::EdDsa;
    let input = of_manager();
    assert!(verify(&public, algorithm, input.as_bytes(), &signature).is_ok());
}

fn pairwise_only() -> Suite {
    let (aead, agreement) = (Aead::AesCcm16_128_128, KeyAgreement::EcdhSsHkdf512);
    Suite::new(Hkdf::Sha512, Some(aead), None, None, Some(agreement)).unwrap()
}

#[test]
fn without_signatures_a_proof_is_a_mac_of_eight_bytes() {
    let suite = pairwise_only();
    let (manager, own) = (x25519(MANAGER), x25519(0));
    let evidence = of_manager().make(&suite, &manager, &own.public()).unwrap();
    assert_eq!(evidence.len(), 8);
    // As the document has it: HKDF SHA-256, no salt, the secret, the input.
    let shared = own.agree_with(&manager.public()).unwrap();
    let mut expected = [0; 8];
    let ikm = [shared.as_bytes()];
    let input = of_manager();
    crate::crypto::hkdf(Hkdf::Sha256, &[], &ikm, input.as_bytes(), &mut expected).unwrap();
    assert_eq!(evidence, expected);

    let credential = Credential::build_ccs("manager", &manager.public());
    let proven = |evidence: &[u8], key: Option<&dyn PrivateKey>| {
        let format = CredentialFormat::Ccs;
        GroupManagerCredential::proven(format, &credential, &suite, &of_manager(), evidence, key)
    };
    let right = proven(&evidence, Some(&own)).unwrap();
    assert_eq!(right.as_bytes(), credential);
    assert_eq!(proven(&evidence, None), Err(ProofRefused::NoKey));
    let other = x25519(7);
    let not = Err(ProofRefused::NotProven);
    assert_eq!(proven(&evidence, Some(&other)), not);
    assert_eq!(proven(&evidence[..7], Some(&own)), not);
    assert_eq!(proven(&[], Some(&own)), not);
    let mut wrong = evidence.clone();
    wrong[7] ^= 0x80;
    assert_eq!(proven(&wrong, Some(&own)), not);
    let mismatch = ProofRefused::Key(KeyFailure::CurveMismatch);
    assert_eq!(proven(&evidence, Some(&key(0))), Err(mismatch));
    // There is no MAC in a group that signs without agreeing.
    let (cipher, signature) = (
        GroupEncryption::Aead(Aead::AesCcm16_128_128),
        SignatureAlgorithm::EdDsa,
    );
    let signing = Suite::new(Hkdf::Sha256, None, Some(cipher), Some(signature), None).unwrap();
    let made = of_manager().make(&signing, &manager, &own.public());
    assert_eq!(made, Err(KeyFailure::Unsupported));
}

fn x25519(member: usize) -> SoftwareKey {
    let key = SoftwareKey::generate(Curve::X25519, &[member as u8 + 1; 64]);
    key.unwrap()
}

#[test]
fn the_grounds_are_kept_with_the_credential() {
    let by_hand = GroupManagerCredential::configured_by_hand(*b"manager");
    assert_eq!(
        (by_hand.grounds(), by_hand.as_bytes()),
        (Grounds::Configured, &b"manager"[..])
    );
    let none = GroupManagerCredential::no_manager();
    assert_eq!(
        (none.grounds(), none.as_bytes()),
        (Grounds::NoManager, &[][..])
    );
    assert_eq!(GroupManagerCredential::configured_by_hand(Vec::new()), none);
    let group = Group::new(
        "lights",
        parameters(GID, 1, Suite::default()),
        Some(own(0)),
        Settings::default(),
        None,
    );
    let group = group.unwrap();
    let restored = group.record(None, Vec::new()).group_manager();
    assert_eq!(
        (restored.grounds(), restored.as_bytes()),
        (Grounds::Installed, group.gm_credential())
    );
}

/// A secure element that writes down what it is asked for.
struct Element {
    key: SoftwareKey,
    signed: RefCell<Vec<(Purpose, SignatureAlgorithm, Vec<u8>)>>,
    agreed: RefCell<Vec<PublicKey>>,
}

impl PrivateKey for Element {
    fn public(&self) -> PublicKey {
        self.key.public()
    }

    fn sign(&self, what: &ToBeSigned<'_>) -> Result<Vec<u8>, KeyFailure> {
        let bytes = what.bytes().to_vec();
        let mut signed = self.signed.borrow_mut();
        signed.push((what.purpose(), what.algorithm(), bytes));
        self.key.sign(what)
    }

    fn agree(&self, with: &Agreement<'_>) -> Result<SharedSecret, KeyFailure> {
        self.agreed.borrow_mut().push(with.peer().clone());
        self.key.agree(with)
    }
}

// Covers: GO-2.5-01
#[test]
fn a_private_key_is_asked_for_messages_and_proofs_alone() {
    let mut floor = Floor::new(2, Suite::default());
    let element = Element {
        key: key(0),
        signed: RefCell::default(),
        agreed: RefCell::default(),
    };
    let plain = get(1, &[0xaa], "temp");
    let message = Message::parse(&plain).unwrap();
    let one = &mut floor.members[0];
    let (now, id) = (one.now, one.group);

    // A message in group mode: its countersignature structure, and nothing else.
    let made = one
        .contexts
        .protect_request(now, id.into(), &message, To::Group);
    let Ok(Protecting::Sign(signing)) = made else {
        panic!("it is signed")
    };
    let job = signing.job();
    assert_eq!(job.group(), id);
    let signature = job.run(&element).unwrap();
    let structure = job.to_be_signed().bytes().to_vec();
    assert_eq!(structure, signing.to_be_signed().bytes());
    assert!(structure.starts_with(b"\x85\x71CounterSignature0"));
    let bytes = signing.finish(&signature).unwrap().bytes;
    assert!(floor.hear(1, &bytes).is_ok(), "the job signs that message");
    // Pairwise mode: with a member of the group.
    let one = &mut floor.members[0];
    let to = To::Member(kid(1));
    let made = one.contexts.protect_request(now, id.into(), &message, to);
    let Ok(Protecting::Agree(job)) = made else {
        panic!("a secret is agreed on")
    };
    one.contexts.agreed(job.run(&element)).unwrap();
    // A proof: it begins otherwise than any message, so that none stands for the other.
    let suite = Suite::default();
    let proof = Proof::of_member(b"\x85\x71CounterSignature0", N_C, N_KDC);
    let peer = key(MANAGER).public();
    let evidence = proof.make(&suite, &element, &peer).unwrap();
    assert!(
        proof
            .check(&suite, &key(0).public(), &evidence, None)
            .is_ok()
    );
    assert_eq!(proof.as_bytes()[0] >> 5, 2, "a byte string");
    assert_eq!(structure[0] >> 5, 4, "an array");

    let algorithm = SignatureAlgorithm::EdDsa;
    assert_eq!(
        *element.signed.borrow(),
        [
            (Purpose::Message, algorithm, structure),
            (Purpose::Possession, algorithm, proof.as_bytes().to_vec()),
        ]
    );
    assert_eq!(*element.agreed.borrow(), [key(1).public()]);
    // And the secret is read by nobody.
    let shared = key(0).agree_with(&key(1).public()).unwrap();
    let shown = format!("{:?}", SharedSecret::new(shared));
    assert_eq!(shown, "SharedSecret(Secret(..))");
}
