use super::*;
use crate::crypto::{AeadKey, CryptoError, GroupKey, PrivateKey, SignatureRefused, verify};
use crate::derive::Material;
use crate::nonce::nonce;
use crate::suite::{GroupEncryption, Hkdf, KeyAgreement, SignatureAlgorithm};
use crate::test_vectors::{self as vectors, Parts, bytes, hex, label, list, member, piv, text};
use alloc::format;
use alloc::vec;

/// The published request and response of draft-ietf-core-cacheable-oscore, with their class I options.
fn published(case: usize) -> (Aad, vectors::Value) {
    let file = vectors::published();
    let case = list(&file, "cases")[case].clone();
    let suite = vectors::suite(&file["group"]);
    let response = case["kind"] == "response";
    let class_i = if response {
        [
            hex("ed011713"),
            bytes(&list(&file, "cases")[0], "request_hash"),
        ]
        .concat()
    } else {
        vec![]
    };
    let sender = if response {
        bytes(member(&file, "server"), "cred")
    } else {
        vec![]
    };
    let parts = GroupAad {
        suite: &suite,
        request_kid: &hex("dc"),
        request_piv: PartialIv::ZERO,
        class_i_options: &class_i,
        request_kid_context: &hex("dd11"),
        oscore_option: &bytes(&case, "oscore_option"),
        sender_credential: &sender,
        group_manager_credential: &bytes(&file["group"], "gm_cred"),
    };
    (Aad::group(&parts, Vec::new()), case)
}

// Covers: GO-3.4-01
#[test]
fn the_published_arrays() {
    let (mut request, case) = published(0);
    assert_eq!(request.array().len(), 150);
    assert_eq!(request.array(), bytes(&case, "external_aad"));
    assert_eq!(request.enc_structure(), bytes(&case, "aad_enc_structure"));
    let (mut response, case) = published(1);
    assert_eq!(response.array().len(), 303);
    assert_eq!(response.array(), bytes(&case, "external_aad"));
    assert_eq!(response.enc_structure(), bytes(&case, "aad_enc_structure"));
    // an array of nine, as a byte string
    assert_eq!(response.array()[0], 0x89);
    assert!(
        response
            .enc_structure()
            .starts_with(b"\x83\x68Encrypt0\x40\x59\x01\x2f\x89")
    );
}

// Covers: GO-3.1-02
#[test]
fn the_published_signature_covers_five_elements() {
    let (aad, case) = published(1);
    let signed = aad.into_signed_structure(&bytes(&case, "ciphertext"));
    assert!(signed.starts_with(b"\x85\x71CounterSignature0\x40\x40\x59\x01\x2f\x89"));
    assert_eq!(signed, bytes(&case, "to_be_signed"));
    let file = vectors::published();
    let key = vectors::private_key(&file, member(&file, "server"));
    let signature = bytes(&case, "signature");
    assert_eq!(
        key.sign_bytes(SignatureAlgorithm::EdDsa, &signed).unwrap(),
        signature
    );
    assert_eq!(
        verify(
            &key.public(),
            SignatureAlgorithm::EdDsa,
            &signed,
            &signature
        ),
        Ok(())
    );
    // the abbreviated form that generic COSE code makes
    let four = [b"\x84\x71CounterSignature0\x40", &signed[21..]].concat();
    assert_eq!(
        verify(&key.public(), SignatureAlgorithm::EdDsa, &four, &signature),
        Err(SignatureRefused)
    );
}

// Covers: GO-3.4-02, GO-3.4-09
#[test]
fn one_external_aad_for_both_modes_and_the_signature() {
    let mut signed = 0;
    for file in vectors::groups() {
        for case in list(&file, "cases") {
            let name = label(&file, case);
            let parts = Parts::of(&file, case);
            let mut aad = Aad::group(&parts.group_aad(), Vec::new());
            assert_eq!(aad.array(), bytes(case, "external_aad"), "{name}");
            assert_eq!(
                aad.enc_structure(),
                bytes(case, "aad_enc_structure"),
                "{name}"
            );
            // the credential is the one of this message's sender, in its bytes
            let sender = bytes(member(&file, text(case, "sender")), "cred");
            let manager = bytes(&file["group"], "gm_cred");
            let mut end = Vec::new();
            cbor::bytes(&mut end, &sender);
            cbor::bytes(&mut end, &manager);
            assert!(aad.array().ends_with(&end), "{name}");
            if case["mode"] == "group" {
                assert_eq!(
                    aad.signed_structure(&bytes(case, "ciphertext")),
                    bytes(case, "to_be_signed"),
                    "{name}"
                );
                // neither structure disturbs the other
                assert_eq!(
                    aad.enc_structure(),
                    bytes(case, "aad_enc_structure"),
                    "{name}"
                );
                let string = aad_string(&aad);
                let expected = [&bytes(case, "to_be_signed")[..21], &string, b"\x41x"].concat();
                assert_eq!(aad.signed_structure(b"x"), expected);
                signed += 1;
            }
        }
    }
    assert!(signed > 60, "{signed}");
}

fn aad_string(aad: &Aad) -> Vec<u8> {
    let mut out = Vec::new();
    cbor::bytes(&mut out, aad.array());
    out
}

fn algorithms(suite: &Suite) -> Vec<u8> {
    let parts = GroupAad {
        suite,
        request_kid: b"",
        request_piv: PartialIv::ZERO,
        class_i_options: b"",
        request_kid_context: b"",
        oscore_option: b"",
        sender_credential: b"",
        group_manager_credential: b"",
    };
    let array = Aad::group(&parts, Vec::new()).array().to_vec();
    assert_eq!(array[..3], [0x89, 0x01, 0x84]);
    let end = array.len() - b"\x40\x41\x00\x40\x40\x40\x40\x40".len();
    assert_eq!(array[end..], *b"\x40\x41\x00\x40\x40\x40\x40\x40");
    array[3..end].to_vec()
}

// Covers: GO-3.4-03, GO-3.4-04, GO-3.4-05, GO-3.4-06
#[test]
fn algorithms_that_are_not_set_are_null() {
    let ccm = Aead::AesCcm16_64_128;
    let group = Some(GroupEncryption::Aead(ccm));
    let (signature, agreement) = (
        Some(SignatureAlgorithm::EdDsa),
        Some(KeyAgreement::EcdhSsHkdf256),
    );
    let encoded = |aead, group, signature, agreement| {
        algorithms(&Suite::new(Hkdf::Sha256, aead, group, signature, agreement).unwrap())
    };
    assert_eq!(
        encoded(Some(ccm), group, signature, agreement),
        hex("0a0a27381a")
    );
    assert_eq!(
        encoded(None, group, signature, agreement),
        hex("f60a27381a")
    );
    assert_eq!(
        encoded(Some(ccm), None, signature, agreement),
        hex("0af627381a")
    );
    assert_eq!(
        encoded(Some(ccm), group, None, agreement),
        hex("0a0af6381a")
    );
    assert_eq!(encoded(Some(ccm), group, signature, None), hex("0a0a27f6"));
    // set or not is all that counts: these modes are off, as a partner of the algorithm is missing
    assert_eq!(encoded(Some(ccm), group, None, agreement)[1], 0x0a);
    assert_eq!(encoded(Some(ccm), group, signature, None)[0], 0x0a);
    assert_eq!(encoded(None, group, signature, agreement)[3..], hex("381a"));
    // with P-256 too the key agreement is ECDH-SS; and algorithms that a build leaves out are named
    assert_eq!(
        encoded(Some(ccm), group, Some(SignatureAlgorithm::Es256), agreement),
        hex("0a0a26381a")
    );
    assert_eq!(
        encoded(Some(ccm), group, Some(SignatureAlgorithm::Es512), agreement),
        hex("0a0a3823381a")
    );
    assert_eq!(
        encoded(
            Some(ccm),
            Some(GroupEncryption::A128Ctr),
            signature,
            agreement
        ),
        hex("0a39fffd27381a")
    );
}

// Covers: GO-3.4-08, GO-3.4-10
#[test]
fn another_option_or_group_manager_is_another_message() {
    for name in ["group-ed25519-ccm", "group-p256-ccm-draft"] {
        let file = vectors::group(name);
        for (index, mode) in [(0, "group"), (12, "pairwise"), (13, "pairwise")] {
            let case = &list(&file, "cases")[index];
            assert_eq!(case["mode"], mode);
            let parts = Parts::of(&file, case);
            let right = parts.group_aad();
            assert!(accepted(&file, case, &right), "{name} {index}");
            for changed in changes(right.oscore_option) {
                assert!(
                    !accepted(
                        &file,
                        case,
                        &GroupAad {
                            oscore_option: &changed,
                            ..right
                        }
                    ),
                    "{name} {changed:02x?}"
                );
            }
            for changed in changes(right.group_manager_credential)
                .into_iter()
                .step_by(7)
            {
                assert!(
                    !accepted(
                        &file,
                        case,
                        &GroupAad {
                            group_manager_credential: &changed,
                            ..right
                        }
                    ),
                    "{name} {index}"
                );
            }
        }
    }
}

/// Every bit flipped, one byte more, one less.
fn changes(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = (0..bytes.len() * 8)
        .map(|bit| {
            let mut changed = bytes.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            changed
        })
        .collect();
    all.push([bytes, b"\x00"].concat());
    if let Some((_, rest)) = bytes.split_last() {
        all.push(rest.to_vec());
    }
    all
}

/// Whether the tag of this message, and in group mode its signature too, belong to this external_aad.
fn accepted(file: &vectors::Value, case: &vectors::Value, parts: &GroupAad<'_>) -> bool {
    let mut aad = Aad::group(parts, Vec::new());
    let aead = parts.suite.aead().unwrap();
    let key = AeadKey::new(aead, &bytes(case, "key")).unwrap();
    let opens = key
        .open(
            &bytes(case, "nonce"),
            aad.enc_structure(),
            &mut bytes(case, "ciphertext"),
        )
        .is_ok();
    if case["mode"] == "pairwise" {
        return opens;
    }
    let sender = vectors::public_key(member(file, text(case, "sender")));
    let signed = aad.into_signed_structure(&bytes(case, "ciphertext"));
    let verified = verify(
        &sender,
        parts.suite.signature().unwrap(),
        &signed,
        &bytes(case, "signature"),
    )
    .is_ok();
    assert_eq!(opens, verified);
    opens && verified
}

// Covers: GO-10-02, GO-10-08
#[test]
fn the_ciphertexts_of_all_groups() {
    let (mut group_ccm, mut pairwise_ccm) = (0, 0);
    for file in vectors::groups() {
        let suite = vectors::suite(&file["group"]);
        for case in list(&file, "cases") {
            let name = label(&file, case);
            let mut aad = Aad::group(&Parts::of(&file, case).group_aad(), Vec::new());
            let algorithm = match text(case, "mode") {
                "group" => suite.group_encryption().unwrap(),
                _ => GroupEncryption::Aead(suite.aead().unwrap()),
            };
            let key = GroupKey::new(algorithm, &bytes(case, "key")).unwrap();
            let (nonce, plaintext) = (bytes(case, "nonce"), bytes(case, "plaintext"));
            let mut sealed = plaintext.clone();
            key.seal(&nonce, aad.enc_structure(), &mut sealed).unwrap();
            assert_eq!(sealed, bytes(case, "ciphertext"), "{name}");
            let mut opened = sealed.clone();
            key.open(&nonce, aad.enc_structure(), &mut opened).unwrap();
            assert_eq!(opened, plaintext, "{name}");
            if algorithm.tag_len() > 0 {
                let mut flipped = sealed.clone();
                *flipped.last_mut().unwrap() ^= 0x80;
                assert_eq!(
                    key.open(&nonce, aad.enc_structure(), &mut flipped),
                    Err(CryptoError::NotAuthentic)
                );
                assert_eq!(flipped, b"", "{name}");
            }
            if algorithm.id() == 10 {
                *if case["mode"] == "group" {
                    &mut group_ccm
                } else {
                    &mut pairwise_ccm
                } += 1;
            }
        }
    }
    assert!(
        group_ccm >= 20 && pairwise_ccm >= 20,
        "{group_ccm} {pairwise_ccm}"
    );
}

// Covers: GO-10-05, GO-10-06
#[test]
fn the_signatures_of_all_groups() {
    let mut algorithms = Vec::new();
    for file in vectors::groups() {
        let algorithm = vectors::suite(&file["group"]).signature().unwrap();
        for case in list(&file, "cases")
            .iter()
            .filter(|case| case["mode"] == "group")
        {
            let name = label(&file, case);
            let sender = member(&file, text(case, "sender"));
            let (message, signature) = (bytes(case, "to_be_signed"), bytes(case, "signature"));
            let key = vectors::private_key(&file, sender);
            assert_eq!(key.public(), vectors::public_key(sender));
            assert_eq!(
                verify(&key.public(), algorithm, &message, &signature),
                Ok(()),
                "{name}"
            );
            for bit in [0, 1, 255, 256, 300, 511] {
                let mut flipped = signature.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(
                    verify(&key.public(), algorithm, &message, &flipped),
                    Err(SignatureRefused),
                    "{name}"
                );
            }
            let own = key.sign_bytes(algorithm, &message).unwrap();
            assert_eq!(
                verify(&key.public(), algorithm, &message, &own),
                Ok(()),
                "{name}"
            );
            if file["protected_bytes_reproducible"] == true {
                assert_eq!(own, signature, "{name}");
            }
            algorithms.push(algorithm);
        }
    }
    assert!(
        algorithms.contains(&SignatureAlgorithm::EdDsa)
            && algorithms.contains(&SignatureAlgorithm::Es256)
    );
}

// Covers: GO-2.1.7-01, GO-10-03
#[test]
fn in_counter_mode_a_changed_ciphertext_fails_at_the_signature() {
    let file = vectors::group("group-ed25519-aead-ccm-genc-ctr");
    let suite = vectors::suite(&file["group"]);
    assert_eq!(suite.group_encryption(), Some(GroupEncryption::A128Ctr));
    for case in list(&file, "cases")
        .iter()
        .filter(|case| case["mode"] == "group")
    {
        let name = label(&file, case);
        let mut aad = Aad::group(&Parts::of(&file, case).group_aad(), Vec::new());
        let key = GroupKey::new(GroupEncryption::A128Ctr, &bytes(case, "key")).unwrap();
        let (nonce, plaintext) = (bytes(case, "nonce"), bytes(case, "plaintext"));
        let mut sealed = plaintext.clone();
        key.seal(&nonce, aad.enc_structure(), &mut sealed).unwrap();
        assert_eq!(sealed, bytes(case, "ciphertext"), "{name}");
        let sender = vectors::public_key(member(&file, text(case, "sender")));
        let signature = bytes(case, "signature");
        let check =
            |message: &[u8]| verify(&sender, SignatureAlgorithm::EdDsa, message, &signature);
        assert_eq!(check(aad.signed_structure(&sealed)), Ok(()), "{name}");
        sealed[0] ^= 1;
        // the cipher itself does not notice
        let mut opened = sealed.clone();
        key.open(&nonce, aad.enc_structure(), &mut opened).unwrap();
        assert_eq!(
            (opened[0] ^ 1, &opened[1..]),
            (plaintext[0], &plaintext[1..]),
            "{name}"
        );
        assert_eq!(
            check(aad.signed_structure(&sealed)),
            Err(SignatureRefused),
            "{name}"
        );
    }
}

#[test]
fn the_messages_of_appendix_c_of_rfc_8613_and_of_plain_oscore() {
    let (single, appendix) = (vectors::oscore_single(), vectors::appendix_c());
    let ccm = Aead::AesCcm16_64_128;
    let appendix = list(&appendix, "vectors")
        .iter()
        .filter(|vector| vector["ciphertext"].is_string());
    let mut cases: Vec<_> = appendix.map(|case| (ccm, case)).collect();
    assert_eq!(cases.len(), 5);
    for vector in list(&single, "vectors") {
        let aead = Aead::from_id(vector["alg_value"].as_i64().unwrap() as i32).unwrap();
        cases.extend(list(vector, "cases").iter().map(|case| (aead, case)));
    }
    assert!(cases.len() > 500);
    for (aead, case) in cases {
        let (kid, request_piv) = (bytes(case, "request_kid"), piv(case, "request_piv"));
        let parts = OscoreAad {
            aead,
            request_kid: &kid,
            request_piv,
            class_i_options: b"",
        };
        let mut aad = Aad::oscore(&parts, Vec::new());
        assert_eq!(aad.array(), bytes(case, "external_aad"));
        assert_eq!(aad.enc_structure(), bytes(case, "aad_enc_structure"));
        let key = AeadKey::new(aead, &bytes(case, "key")).unwrap();
        let mut message = bytes(case, "plaintext");
        key.seal(&bytes(case, "nonce"), aad.enc_structure(), &mut message)
            .unwrap();
        assert_eq!(message, bytes(case, "ciphertext"));
        key.open(&bytes(case, "nonce"), aad.enc_structure(), &mut message)
            .unwrap();
        assert_eq!(message, bytes(case, "plaintext"));
    }
}

/// Messages for which there is no published vector.
#[test]
fn the_derived_messages() {
    let file = vectors::derived();
    let (client, server) = (&file["client"], &file["server"]);
    let gid = bytes(&file["group"], "gid");
    let owned = vectors::material(&file["group"]);
    let material: Material<'_> = owned.material();
    for (group, message, sender) in [
        ("ccm", "group_request", client),
        ("ccm", "group_response_without_piv", server),
        ("ccm", "pairwise_request", client),
        ("ccm", "pairwise_response", server),
        ("ctr", "group_request", client),
    ] {
        let name = format!("{group} {message}");
        let (group, message, pairwise) = (
            &file[group],
            &file[group][message],
            message.starts_with("pairwise"),
        );
        let suite = vectors::suite(group);
        let parts = GroupAad {
            suite: &suite,
            request_kid: &hex("25"),
            request_piv: piv(message, "piv"),
            class_i_options: b"",
            request_kid_context: &gid,
            oscore_option: &bytes(message, "oscore_option"),
            sender_credential: &bytes(sender, "cred"),
            group_manager_credential: &bytes(&file["group"], "gm_cred"),
        };
        let mut aad = Aad::group(&parts, Vec::new());
        if message["external_aad"].is_string() {
            assert_eq!(aad.array(), bytes(message, "external_aad"));
        }
        let (algorithm, key) = match (pairwise, sender["sender_id"] == "25") {
            (false, _) => {
                let key = material
                    .sender_key(&suite, &bytes(sender, "sender_id"))
                    .unwrap();
                (suite.group_encryption().unwrap(), key.as_bytes().to_vec())
            }
            (true, true) => (
                GroupEncryption::Aead(suite.aead().unwrap()),
                bytes(group, "client_to_server"),
            ),
            (true, false) => (
                GroupEncryption::Aead(suite.aead().unwrap()),
                bytes(group, "server_to_client"),
            ),
        };
        let common_iv = material.common_iv(&suite).unwrap();
        assert_eq!(common_iv.as_bytes(), bytes(group, "common_iv"));
        let nonce = nonce(
            algorithm.nonce_len(),
            &hex("25"),
            piv(message, "piv"),
            common_iv.as_bytes(),
        )
        .unwrap();
        if message["nonce"].is_string() {
            assert_eq!(nonce.as_bytes(), bytes(message, "nonce"), "{name}");
        }
        let mut sealed = bytes(message, "plaintext");
        GroupKey::new(algorithm, &key)
            .unwrap()
            .seal(nonce.as_bytes(), aad.enc_structure(), &mut sealed)
            .unwrap();
        assert_eq!(sealed, bytes(message, "ciphertext"), "{name}");
    }
}

#[test]
fn a_buffer_is_used_again() {
    let kid = [7; 3];
    let parts = OscoreAad {
        aead: Aead::A128Gcm,
        request_kid: &kid,
        request_piv: PartialIv::MAX,
        class_i_options: b"",
    };
    let fresh = Aad::oscore(&parts, Vec::new()).enc_structure().to_vec();
    let used = Vec::with_capacity(500);
    let place = used.as_ptr();
    let mut aad = Aad::oscore(&parts, used);
    aad.signed_structure(&[1; 300]);
    let buffer = aad.into_buffer();
    assert_eq!(buffer.as_ptr(), place);
    let mut aad = Aad::oscore(&parts, buffer);
    assert_eq!(aad.enc_structure(), fresh);
    // long strings have longer heads
    for len in [0, 23, 24, 255, 256, 70_000] {
        let credential = vec![5; len];
        let suite = Suite::default();
        let parts = GroupAad {
            suite: &suite,
            request_kid: &kid,
            request_piv: PartialIv::ZERO,
            class_i_options: b"",
            request_kid_context: b"",
            oscore_option: b"",
            sender_credential: &credential,
            group_manager_credential: b"",
        };
        let aad = Aad::group(&parts, Vec::new());
        let mut string = Vec::new();
        cbor::bytes(&mut string, &credential);
        assert!(
            aad.array().ends_with(&[&string[..], b"\x40"].concat()),
            "{len}"
        );
    }
}

#[test]
fn the_memory_is_as_long_as_what_is_in_it() {
    for len in [0, 30, 300, 3000] {
        let credential = vec![7; len];
        let parts = GroupAad {
            suite: &Suite::default(),
            request_kid: b"kid",
            request_piv: PartialIv::ZERO,
            class_i_options: b"",
            request_kid_context: b"gid",
            oscore_option: b"",
            sender_credential: &credential,
            group_manager_credential: &credential,
        };
        let mut aad = Aad::group(&parts, Vec::new());
        assert_eq!(
            aad.enc_structure().len() + 10,
            aad.clone().into_buffer().len()
        );
        let buffer = aad.into_buffer();
        assert_eq!(buffer.capacity(), buffer.len());
    }
}
