//! What errors and values say of themselves: something, and never a secret.

use alloc::string::ToString;

use super::floor::*;
use crate::credential::CredentialRefused;
use crate::crypto::{AeadKey, CryptoError, GroupKey, KeyFailure, KeyRefused, SignatureRefused};
use crate::record::RecordMalformed;
use crate::suite::{Advice, Aead, GroupEncryption, SuiteError};

#[test]
fn errors_have_words() {
    let said = [
        SuiteError::Forbidden(-1).to_string(),
        Advice::ShortPairwiseTag.to_string(),
        ProofRefused::NoKey.to_string(),
        ProofRefused::Key(KeyFailure::ZeroSecret).to_string(),
        RestoreError::Id.to_string(),
        RestoreError::Group(GroupError::Full).to_string(),
        RecordMalformed::Version.to_string(),
        KeyRefused::NotOnCurve.to_string(),
        SignatureRefused.to_string(),
        CredentialRefused::NoKey.to_string(),
        CryptoError::NotAuthentic.to_string(),
    ];
    let expected = [
        "algorithm -1 (AES-CBC) must not be used in a group",
        "pairwise mode has tags of 8 bytes; prefer 16 bytes",
        "the proof takes an own private key",
        "the keys agree on zero",
        "a stored identifier is too long",
        "the stored group cannot be used: Full",
        "a record of another version of the protocol",
        "the public key is not a point of its curve",
        "the signature is not valid",
        "the credential holds no public key",
        "the message is not authentic",
    ];
    assert_eq!(said, expected);
}

#[test]
fn values_print_names_and_no_keys() {
    let mut floor = Floor::new(2, Suite::default());
    let one = &mut floor.members[0];
    let member = one.group().member(kid(1)).unwrap();
    assert_eq!(format!("{member:?}"), "\"lights\"/41");
    assert_eq!(format!("{} {:?}", kid(1), kid(1)), "41 41");
    let gid = one.group().gid();
    assert_eq!(format!("{gid} {gid:?}"), "44616c 44616c");
    let group =
        "Group { name: \"lights\", gid: 44616c, generation: 1, sender_id: Some(40), peers: 1, .. }";
    assert_eq!(format!("{:?}", one.group()), group);
    assert_eq!(
        format!("{:?}", one.group().peer(kid(1)).unwrap()),
        "Peer(41)"
    );
    let all = format!("Contexts {{ groups: [(GroupId(1), {group})], pairs: [], .. }}");
    assert_eq!(format!("{:?}", one.contexts), all);
    let stale = Stale::All;
    let new = parameters(b"Em", 2, Suite::default());
    let prepared = one.group().prepare_install(new, None, stale, 100).unwrap();
    assert_eq!(format!("{prepared:?}"), "Prepared(456d, ..)");
    one.group().abort_install();
    let prepared = one.group().prepare_sender_id(kid(9), 100).unwrap();
    assert_eq!(format!("{prepared:?}"), "PreparedSender(49)");

    assert_eq!(format!("{:?}", Secret::new(vec![1, 2, 3])), "Secret(..)");
    let key = AeadKey::new(Aead::A128Gcm, &[7; 16]).unwrap();
    assert_eq!(format!("{key:?}"), "AeadKey(A128GCM, ..)");
    let key = GroupKey::new(GroupEncryption::A128Ctr, &[7; 16]).unwrap();
    assert_eq!(format!("{key:?}"), "GroupKey(A128CTR, ..)");
    let public = format!("{:?}", super::floor::key(0).public());
    assert!(
        public.starts_with("PublicKey(Ed25519 ") && public.ends_with("..)"),
        "{public}"
    );
    assert_eq!(public.len(), "PublicKey(Ed25519 01020304..)".len());
    let private = format!("{:?}", super::floor::key(0));
    assert_eq!(private, format!("SoftwareKey({public}, ..)"));
    let text = format!("{:?}", credential(0));
    let len = credential(0).bytes().len();
    assert_eq!(
        text,
        format!(
            "Credential {{ format: Ccs, subject: Some(\"member 0\"), key: {public}, len: {len} }}"
        )
    );
    let parameters = parameters(GID, 1, Suite::default());
    let checker = SignatureChecker::new(
        "lights",
        Gid::new(GID).unwrap(),
        Suite::default(),
        Secret::new(vec![5; 16]),
        &parameters.gm_credential,
    );
    assert_eq!(
        format!("{:?}", checker.unwrap()),
        "SignatureChecker { name: \"lights\", gid: 44616c, members: 0, .. }"
    );
}
