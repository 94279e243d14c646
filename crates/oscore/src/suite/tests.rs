use super::*;
use crate::crypto::{CryptoError, GroupKey};
use crate::derive::{Pairwise, pairwise_key};
use crate::nonce::{PartialIv, nonce};
use crate::secret::Secret;
use crate::test_vectors as vectors;
use alloc::string::ToString;
use alloc::vec::Vec;

const CCM16: Option<Aead> = Some(Aead::AesCcm16_64_128);
const CCM64: Option<Aead> = Some(Aead::AesCcm64_64_128);

fn group(aead: Aead) -> Option<GroupEncryption> {
    Some(GroupEncryption::Aead(aead))
}

fn suite(aead: Option<Aead>, group_encryption: Option<GroupEncryption>) -> Suite {
    let signature = Some(SignatureAlgorithm::EdDsa);
    Suite::new(
        Hkdf::Sha256,
        aead,
        group_encryption,
        signature,
        Some(KeyAgreement::EcdhSsHkdf256),
    )
    .unwrap()
}

#[test]
fn numbers_lengths_and_names_are_those_of_the_registry() {
    let aeads = [
        (1, "A128GCM", 16, 12, 16),
        (2, "A192GCM", 24, 12, 16),
        (3, "A256GCM", 32, 12, 16),
        (10, "AES-CCM-16-64-128", 16, 13, 8),
        (11, "AES-CCM-16-64-256", 32, 13, 8),
        (12, "AES-CCM-64-64-128", 16, 7, 8),
        (13, "AES-CCM-64-64-256", 32, 7, 8),
        (24, "ChaCha20/Poly1305", 32, 12, 16),
        (30, "AES-CCM-16-128-128", 16, 13, 16),
        (31, "AES-CCM-16-128-256", 32, 13, 16),
        (32, "AES-CCM-64-128-128", 16, 7, 16),
        (33, "AES-CCM-64-128-256", 32, 7, 16),
    ];
    assert_eq!(Aead::ALL.len(), aeads.len());
    for (id, name, key, nonce, tag) in aeads {
        let aead = Aead::from_id(id).unwrap();
        assert_eq!(
            (aead.id(), aead.name(), Aead::from_name(name)),
            (id, name, Some(aead))
        );
        assert_eq!(
            (aead.key_len(), aead.nonce_len(), aead.tag_len()),
            (key, nonce, tag),
            "{name}"
        );
        let group = GroupEncryption::from_id(id).unwrap();
        assert_eq!(group, GroupEncryption::Aead(aead));
        assert_eq!(
            (group.id(), group.name(), GroupEncryption::from_name(name)),
            (id, name, Some(group))
        );
        assert_eq!(
            (group.key_len(), group.nonce_len(), group.tag_len()),
            (key, nonce, tag),
            "{name}"
        );
    }
    for (id, name, key) in [
        (-65534, "A128CTR", 16),
        (-65533, "A192CTR", 24),
        (-65532, "A256CTR", 32),
    ] {
        let group = GroupEncryption::from_id(id).unwrap();
        assert_eq!(
            (group.id(), group.name(), GroupEncryption::from_name(name)),
            (id, name, Some(group))
        );
        assert_eq!(
            (group.key_len(), group.nonce_len(), group.tag_len()),
            (key, 12, 0),
            "{name}"
        );
    }
    for (id, name, len) in [
        (-8, "EdDSA", 64),
        (-7, "ES256", 64),
        (-35, "ES384", 96),
        (-36, "ES512", 132),
    ] {
        let signature = SignatureAlgorithm::from_id(id).unwrap();
        assert_eq!(
            (signature.id(), signature.name(), signature.signature_len()),
            (id, name, len)
        );
        assert_eq!(SignatureAlgorithm::from_name(name), Some(signature));
    }
    assert_eq!(
        (Hkdf::Sha256.id(), Hkdf::Sha256.name()),
        (5, "HMAC 256/256")
    );
    assert_eq!(
        (Hkdf::Sha512.id(), Hkdf::Sha512.name()),
        (7, "HMAC 512/512")
    );
    assert_eq!(
        (
            KeyAgreement::EcdhSsHkdf256.id(),
            KeyAgreement::EcdhSsHkdf256.name()
        ),
        (-27, "ECDH-SS + HKDF-256")
    );
    assert_eq!(
        (
            KeyAgreement::EcdhSsHkdf512.id(),
            KeyAgreement::EcdhSsHkdf512.name()
        ),
        (-28, "ECDH-SS + HKDF-512")
    );
    assert_eq!(Aead::from_name("aes-ccm-16-64-128"), CCM16);
    assert_eq!(
        GroupEncryption::from_name("a128ctr"),
        Some(GroupEncryption::A128Ctr)
    );
    assert_eq!(
        (
            Aead::from_name("A128CTR"),
            Aead::from_name(""),
            GroupEncryption::from_name("A128CBC")
        ),
        (None, None, None)
    );
}

// Covers: GO-2.1.1-01
#[test]
fn the_aead_algorithm_has_integrity() {
    for id in -65534..=-65532 {
        assert_eq!(
            Suite::from_ids(5, Some(id), Some(10), Some(-8), Some(-27)),
            Err(SuiteError::Unknown(id))
        );
    }
    for id in -65531..=-65529 {
        assert_eq!(
            Suite::from_ids(5, Some(id), Some(10), Some(-8), Some(-27)),
            Err(SuiteError::Forbidden(id))
        );
    }
    assert_eq!(Aead::from_id(-65534), None);
}

// Covers: GO-2.1.7-04, GO-2.1.7-08, GO-2.1.7-09, GO-2.1.7-10
#[test]
fn only_listed_algorithms_encrypt_for_groups() {
    for id in [-65531, -65530, -65529] {
        assert_eq!(
            Suite::from_ids(5, Some(10), Some(id), Some(-8), Some(-27)),
            Err(SuiteError::Forbidden(id))
        );
    }
    let cbc = vectors::cbc();
    let id = i32::try_from(cbc["group"]["alg_group_enc"].as_i64().unwrap()).unwrap();
    assert_eq!(
        GroupEncryption::lookup(id),
        Err(SuiteError::Forbidden(-65531))
    );
    let mut without_integrity = Vec::new();
    for id in -70_000..=70_000 {
        let Some(algorithm) = GroupEncryption::from_id(id) else {
            let forbidden = (-65531..=-65529).contains(&id);
            let error = if forbidden {
                SuiteError::Forbidden(id)
            } else {
                SuiteError::Unknown(id)
            };
            assert_eq!(GroupEncryption::lookup(id), Err(error));
            assert_eq!(
                Suite::from_ids(5, Some(10), Some(id), Some(-8), Some(-27)),
                Err(error)
            );
            continue;
        };
        assert_eq!(GroupEncryption::lookup(id), Ok(algorithm));
        if algorithm.tag_len() == 0 {
            without_integrity.push(algorithm);
        }
    }
    // the ones that draft -28 has a rule for: 12 bytes of nonce, then the counter; other nonces are not stretched
    assert_eq!(
        without_integrity,
        [
            GroupEncryption::A128Ctr,
            GroupEncryption::A192Ctr,
            GroupEncryption::A256Ctr
        ]
    );
    for algorithm in without_integrity {
        let key = GroupKey::new(algorithm, &[7; 32][..algorithm.key_len()]).unwrap();
        for len in [0, 7, 11, 13, 16] {
            assert_eq!(
                key.seal(&[0; 16][..len], &[], &mut alloc::vec![0; 3]),
                Err(CryptoError::Length),
                "{len}"
            );
        }
        assert_eq!(key.seal(&[0; 12], &[], &mut alloc::vec![0; 3]), Ok(()));
    }
}

// Covers: GO-2.1.4-01, GO-2.1.4-02
#[test]
fn the_common_iv_is_as_long_as_the_longer_nonce() {
    for (aead, group_encryption, len) in [
        (CCM16, None, 13),
        (CCM16, group(Aead::ChaCha20Poly1305), 13),
        (CCM64, group(Aead::AesCcm64_64_128), 7),
        (CCM64, group(Aead::A128Gcm), 12),
        (Some(Aead::A128Gcm), group(Aead::AesCcm64_128_256), 12),
        (None, Some(GroupEncryption::A128Ctr), 12),
        (None, Some(GroupEncryption::A192Ctr), 12),
        (None, Some(GroupEncryption::A256Ctr), 12),
        (CCM16, Some(GroupEncryption::A128Ctr), 13),
        (CCM64, Some(GroupEncryption::A128Ctr), 12),
    ] {
        assert_eq!(
            suite(aead, group_encryption).common_iv_len(),
            len,
            "{aead:?} {group_encryption:?}"
        );
    }
}

// Covers: GO-2.2-02
#[test]
fn sender_ids_are_6_bytes_shorter_than_the_shorter_nonce() {
    for (aead, group_encryption, len) in [
        (CCM16, None, 7),
        (None, group(Aead::AesCcm16_64_128), 7),
        (CCM16, group(Aead::AesCcm16_64_128), 7),
        (CCM16, group(Aead::A128Gcm), 6),
        (
            Some(Aead::ChaCha20Poly1305),
            group(Aead::AesCcm16_64_128),
            6,
        ),
        (CCM16, Some(GroupEncryption::A128Ctr), 6),
        (CCM16, group(Aead::AesCcm64_64_128), 1),
        (CCM64, group(Aead::A128Gcm), 1),
        (CCM64, None, 1),
    ] {
        let suite = suite(aead, group_encryption);
        assert_eq!(
            suite.max_sender_id_len(),
            len,
            "{aead:?} {group_encryption:?}"
        );
        // and a longer one has no nonce in at least one of the modes
        let lens = [
            aead.map(Aead::nonce_len),
            group_encryption.map(GroupEncryption::nonce_len),
        ];
        let made = |id: &[u8]| {
            lens.into_iter()
                .flatten()
                .all(|n| nonce(n, id, PartialIv::ZERO, &[0; 13]).is_some())
        };
        assert!(made(&[1; 8][..len]));
        assert!(!made(&[1; 9][..=len]));
    }
}

// Covers: GO-2.1.10-01, GO-2.1.10-02
#[test]
fn the_key_agreement_is_static_and_names_the_hkdf_of_the_group() {
    let made =
        |hkdf, agreement| Suite::from_ids(hkdf, Some(10), Some(10), Some(-8), Some(agreement));
    for (hkdf, agreement) in [(5, -27), (7, -28)] {
        let suite = made(hkdf, agreement).unwrap();
        assert_eq!(suite.key_agreement().unwrap().hkdf(), suite.hkdf());
        assert_eq!(
            (suite.hkdf().id(), suite.key_agreement().unwrap().id()),
            (hkdf, agreement)
        );
    }
    assert_eq!(made(5, -28), Err(SuiteError::HkdfMismatch));
    assert_eq!(made(7, -27), Err(SuiteError::HkdfMismatch));
    // ECDH-ES, with key wrap, the signature algorithm that one implementation sends, and everything else
    for agreement in (-100..=100).filter(|id| ![-27, -28].contains(id)) {
        assert_eq!(
            made(5, agreement),
            Err(SuiteError::Unknown(agreement)),
            "{agreement}"
        );
    }
    let file = vectors::wrong_key_agreement();
    assert_eq!(file["group"]["alg_pairwise_key_agreement"], -7);
}

#[test]
fn each_mode_needs_both_of_its_algorithms() {
    let (signature, agreement) = (
        Some(SignatureAlgorithm::EdDsa),
        Some(KeyAgreement::EcdhSsHkdf256),
    );
    let group = group(Aead::A128Gcm);
    let made = |aead, group, signature, agreement| {
        Suite::new(Hkdf::Sha256, aead, group, signature, agreement)
            .map(|suite| (suite.has_group_mode(), suite.has_pairwise_mode()))
    };
    assert_eq!(made(CCM16, group, signature, agreement), Ok((true, true)));
    assert_eq!(made(None, group, signature, agreement), Ok((true, false)));
    assert_eq!(made(CCM16, group, signature, None), Ok((true, false)));
    assert_eq!(made(CCM16, None, signature, agreement), Ok((false, true)));
    assert_eq!(made(CCM16, group, None, agreement), Ok((false, true)));
    for (aead, group, signature, agreement) in [
        (None, None, None, None),
        (CCM16, group, None, None),
        (None, group, None, agreement),
        (CCM16, None, signature, None),
        (None, None, signature, agreement),
    ] {
        assert_eq!(
            made(aead, group, signature, agreement),
            Err(SuiteError::NoMode)
        );
    }
}

#[test]
fn a_mode_that_is_off_has_no_keys() {
    let (key, empty) = (Secret::copy_of(&[1; 16]), &[][..]);
    let parts = Pairwise {
        sender_key: &key,
        sender_id: empty,
        sender_credential: empty,
        receiver_credential: empty,
        shared_secret: &key,
        gid: empty,
    };
    assert_eq!(
        pairwise_key(&suite(None, group(Aead::A128Gcm)), &parts),
        Err(CryptoError::Unavailable)
    );
    let material = vectors::material(&vectors::derived()["group"]);
    let suite = suite(CCM16, None);
    assert_eq!(
        material.material().signature_encryption_key(&suite),
        Err(CryptoError::Unavailable)
    );
}

#[test]
fn unknown_numbers_are_named() {
    assert_eq!(
        Suite::from_ids(-12, Some(10), None, None, Some(-27)),
        Err(SuiteError::Unknown(-12))
    );
    assert_eq!(
        Suite::from_ids(5, Some(14), None, None, Some(-27)),
        Err(SuiteError::Unknown(14))
    );
    assert_eq!(
        Suite::from_ids(5, None, Some(10), Some(-19), None),
        Err(SuiteError::Unknown(-19))
    );
    assert_eq!(
        SuiteError::Unknown(14).to_string(),
        "algorithm 14 is not known for this use"
    );
    assert_eq!(
        SuiteError::Forbidden(-65531).to_string(),
        "algorithm -65531 (AES-CBC) must not be used in a group"
    );
}

// Covers: GO-14.16-01, GO-14.16-07
#[test]
fn no_algorithm_supports_a_claim_of_128_bits_against_collisions() {
    let claim = |algorithm, bits| suite(CCM16, Some(algorithm)).claim_collision_resistance(bits);
    for algorithm in (-70_000..100).filter_map(GroupEncryption::from_id) {
        let tag_bits = algorithm.tag_len() * 8;
        assert_eq!(
            claim(algorithm, 128),
            Err(SuiteError::TagTooShort {
                needed_bits: 256,
                tag_bits
            })
        );
    }
    let ccm = |aead| GroupEncryption::Aead(aead);
    assert_eq!(claim(ccm(Aead::AesCcm16_64_128), 32), Ok(()));
    assert!(claim(ccm(Aead::AesCcm16_64_128), 33).is_err());
    assert_eq!(claim(ccm(Aead::AesCcm16_128_128), 64), Ok(()));
    assert!(claim(ccm(Aead::AesCcm16_128_128), 65).is_err());
    assert_eq!(claim(GroupEncryption::A128Ctr, 0), Ok(()));
    assert!(claim(GroupEncryption::A128Ctr, 1).is_err());
}

#[test]
fn short_tags_are_advised_against_where_they_are_used() {
    let advice = |aead, group| suite(aead, group).lint().collect::<Vec<_>>();
    assert_eq!(
        advice(CCM16, group(Aead::A128Gcm)),
        [Advice::ShortPairwiseTag]
    );
    assert_eq!(
        advice(Some(Aead::A128Gcm), group(Aead::AesCcm16_64_128)),
        [Advice::ShortGroupTag]
    );
    assert_eq!(
        advice(CCM16, group(Aead::AesCcm64_64_256)),
        [Advice::ShortGroupTag, Advice::ShortPairwiseTag]
    );
    assert_eq!(
        advice(Some(Aead::A128Gcm), Some(GroupEncryption::A128Ctr)),
        []
    );
    // an algorithm of a mode that is off is not used
    let off = Suite::new(
        Hkdf::Sha256,
        CCM16,
        group(Aead::A128Gcm),
        Some(SignatureAlgorithm::EdDsa),
        None,
    )
    .unwrap();
    assert_eq!(off.lint().count(), 0);
    let off = Suite::new(
        Hkdf::Sha256,
        Some(Aead::A128Gcm),
        group(Aead::AesCcm16_64_128),
        None,
        Some(KeyAgreement::EcdhSsHkdf256),
    );
    assert_eq!(off.unwrap().lint().count(), 0);
}

#[test]
fn the_default_has_long_tags_and_both_modes() {
    let suite = Suite::default();
    let ids = (5, Some(30), Some(30), Some(-8), Some(-27));
    assert_eq!(
        Suite::from_ids(ids.0, ids.1, ids.2, ids.3, ids.4),
        Ok(suite)
    );
    assert!(suite.has_group_mode() && suite.has_pairwise_mode());
    assert_eq!(suite.lint().count(), 0);
    assert_eq!((suite.common_iv_len(), suite.max_sender_id_len()), (13, 7));
}
