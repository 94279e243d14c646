//! Project Wycheproof: known answers, and attacks that libraries have fallen for.

use crate::crypto::{AeadKey, Curve, EcY, KeyRefused, PublicKey, SoftwareKey, hkdf, verify};
use crate::suite::{Aead, Hkdf, SignatureAlgorithm};
use alloc::vec;
use wycheproof::TestResult;

fn lengths(group: &wycheproof::aead::TestGroup) -> (usize, usize, usize) {
    (group.key_size / 8, group.nonce_size / 8, group.tag_size / 8)
}

fn aead(name: wycheproof::aead::TestName, algorithms: &[Aead], at_least: usize) {
    let mut count = 0;
    for group in wycheproof::aead::TestSet::load(name).unwrap().test_groups {
        let fits =
            |aead: &&Aead| (aead.key_len(), aead.nonce_len(), aead.tag_len()) == lengths(&group);
        let Some(algorithm) = algorithms.iter().find(fits) else {
            continue;
        };
        for test in &group.tests {
            let key = AeadKey::new(*algorithm, &test.key).unwrap();
            let mut opened = [&test.ct[..], &test.tag[..]].concat();
            let result = key.open(&test.nonce, &test.aad, &mut opened);
            assert_eq!(
                result.is_ok(),
                test.result == TestResult::Valid,
                "{algorithm:?} {}",
                test.tc_id
            );
            if result.is_ok() {
                assert_eq!(opened, test.pt[..]);
                key.seal(&test.nonce, &test.aad, &mut opened).unwrap();
                assert_eq!(opened, [&test.ct[..], &test.tag[..]].concat());
            } else {
                assert!(opened.is_empty());
            }
            count += 1;
        }
    }
    assert!(count >= at_least, "{count}");
}

#[test]
fn aes_gcm() {
    aead(
        wycheproof::aead::TestName::AesGcm,
        &[Aead::A128Gcm, Aead::A192Gcm, Aead::A256Gcm],
        150,
    );
}

#[test]
fn aes_ccm() {
    let ccm: vec::Vec<_> = Aead::ALL
        .iter()
        .copied()
        .filter(|aead| aead.name().contains("CCM"))
        .collect();
    aead(wycheproof::aead::TestName::AesCcm, &ccm, 10);
}

#[test]
fn chacha20_poly1305() {
    aead(
        wycheproof::aead::TestName::ChaCha20Poly1305,
        &[Aead::ChaCha20Poly1305],
        250,
    );
}

#[test]
fn hkdf_sha_256_and_sha_512() {
    use wycheproof::hkdf::{TestName, TestSet};
    for (name, hash) in [
        (TestName::HkdfSha256, Hkdf::Sha256),
        (TestName::HkdfSha512, Hkdf::Sha512),
    ] {
        for test in TestSet::load(name)
            .unwrap()
            .test_groups
            .iter()
            .flat_map(|group| &group.tests)
        {
            let mut out = vec![0; test.size];
            let done = hkdf(hash, &test.salt, &[&test.ikm], &test.info, &mut out);
            assert_eq!(
                done.is_ok(),
                test.result == TestResult::Valid,
                "{}",
                test.tc_id
            );
            assert!(done.is_err() || out == test.okm[..], "{}", test.tc_id);
        }
    }
}

#[test]
fn ed25519() {
    use wycheproof::eddsa::{TestName, TestSet};
    let mut count = 0;
    for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
        let key = PublicKey::okp(Curve::Ed25519, &group.key.pk).unwrap();
        for test in &group.tests {
            let verified = verify(&key, SignatureAlgorithm::EdDsa, &test.msg, &test.sig);
            assert_eq!(
                verified.is_ok(),
                test.result == TestResult::Valid,
                "{} {}",
                test.tc_id,
                test.comment
            );
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}

fn ecdsa(name: wycheproof::ecdsa::TestName, curve: Curve) {
    let (mut count, len) = (0, curve.field_len());
    for group in wycheproof::ecdsa::TestSet::load(name).unwrap().test_groups {
        let point = &group.key.key;
        let key = PublicKey::ec2(curve, &point[1..=len], EcY::Bytes(&point[1 + len..])).unwrap();
        for test in &group.tests {
            let verified = verify(&key, curve.signature().unwrap(), &test.msg, &test.sig);
            assert_eq!(
                verified.is_ok(),
                test.result == TestResult::Valid,
                "{} {}",
                test.tc_id,
                test.comment
            );
            count += 1;
        }
    }
    assert!(count > 150, "{count}");
}

#[test]
fn ecdsa_p256() {
    ecdsa(
        wycheproof::ecdsa::TestName::EcdsaSecp256r1Sha256P1363,
        Curve::P256,
    );
}

#[cfg(feature = "p384")]
#[test]
fn ecdsa_p384() {
    ecdsa(
        wycheproof::ecdsa::TestName::EcdsaSecp384r1Sha384P1363,
        Curve::P384,
    );
}

#[cfg(feature = "p521")]
#[test]
fn ecdsa_p521() {
    ecdsa(
        wycheproof::ecdsa::TestName::EcdsaSecp521r1Sha512P1363,
        Curve::P521,
    );
}

#[test]
fn x25519() {
    use wycheproof::xdh::{TestFlag, TestName, TestSet};
    let (mut agreed, mut refused) = (0, 0);
    for test in TestSet::load(TestName::X25519)
        .unwrap()
        .test_groups
        .iter()
        .flat_map(|group| &group.tests)
    {
        let key = SoftwareKey::from_bytes(Curve::X25519, &test.private_key).unwrap();
        match PublicKey::okp(Curve::X25519, &test.public_key) {
            Ok(peer) => {
                assert_eq!(
                    key.agree_with(&peer).unwrap().as_bytes(),
                    &test.shared_secret[..],
                    "{}",
                    test.tc_id
                );
                agreed += 1;
            }
            Err(KeyRefused::SmallOrder) => {
                assert!(
                    test.flags.contains(&TestFlag::ZeroSharedSecret),
                    "{} {}",
                    test.tc_id,
                    test.comment
                );
                refused += 1;
            }
            Err(other) => assert!(test.public_key.len() != 32, "{other} {}", test.tc_id),
        }
    }
    assert!(agreed > 400 && refused > 10, "{agreed} {refused}");
}
