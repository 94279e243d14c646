//! The recorded deterministic requests (draft-ietf-core-cacheable-oscore): all that is of Group OSCORE in them. Making and
//! opening them waits for that capability: the Request-Hash, and Class I options in the authenticated data of a message.

use super::floor::*;
use super::vectors::recorded;
use crate::aad::{Aad, GroupAad};
use crate::crypto::{GroupKey, hkdf, verify};
use crate::derive::{KeystreamOf, keystream};
use crate::nonce::{PartialIv, nonce};
use crate::option::OscoreOption;
use crate::suite::SignatureAlgorithm;
use crate::test_vectors::*;

/// The option Request-Hash (548) as the Class I options of a response hold it: its delta and length, and its value.
fn class_i(request: &Value) -> Vec<u8> {
    [hex("ed011713"), bytes(request, "request_hash")].concat()
}

/// The authenticated data of the request (without credential of a sender, who is nobody), or of the response.
fn aad(file: &Value, case: usize) -> Aad {
    let suite = suite(&file["group"]);
    let [request, response] = list(file, "cases") else {
        panic!("two cases");
    };
    let (options, sender, option) = match case {
        0 => (vec![], vec![], bytes(request, "oscore_option")),
        _ => (
            class_i(request),
            bytes(member(file, "server"), "cred"),
            bytes(response, "oscore_option"),
        ),
    };
    let parts = GroupAad {
        suite: &suite,
        request_kid: &bytes(request, "request_kid"),
        request_piv: piv(request, "request_piv"),
        class_i_options: &options,
        request_kid_context: &bytes(&file["group"], "gid"),
        oscore_option: &option,
        sender_credential: &sender,
        group_manager_credential: &bytes(&file["group"], "gm_cred"),
    };
    Aad::group(&parts, Vec::new())
}

#[test]
fn the_keys_around_deterministic_requests() {
    for file in deterministic() {
        let name = text(&file, "name");
        let (suite, owned) = (suite(&file["group"]), material(&file["group"]));
        let material = owned.material();
        let (client, server) = (&file["deterministic_client"], member(&file, "server"));
        let common_iv = material.common_iv(&suite).unwrap();
        assert_eq!(
            common_iv.as_bytes(),
            bytes(&file["group"], "common_iv"),
            "{name}"
        );
        let signatures = material.signature_encryption_key(&suite).unwrap();
        assert_eq!(
            signatures,
            secret(&file["group"], "signature_encryption_key"),
            "{name}"
        );
        for (of, key) in [(client, "base_key"), (server, "sender_key")] {
            let made = material.sender_key(&suite, &bytes(of, "sender_id"));
            assert_eq!(made.unwrap(), secret(of, key), "{name} {key}");
        }
        // The key of one request: of the base key, and of the hash of the request.
        let request = &list(&file, "cases")[0];
        assert_eq!(
            bytes(request, "derived_salt"),
            bytes(client, "base_key"),
            "{name}"
        );
        assert_eq!(
            bytes(request, "derived_ikm"),
            bytes(request, "request_hash"),
            "{name}"
        );
        let mut key = [0; 16];
        let (salt, hash) = (bytes(client, "base_key"), bytes(request, "request_hash"));
        let info = bytes(request, "derived_info");
        hkdf(suite.hkdf(), &salt, &[&hash], &info, &mut key).unwrap();
        assert_eq!(key[..], bytes(request, "key"), "{name}");
        assert_eq!(key[..], bytes(request, "derived_key"), "{name}");
    }
}

#[test]
fn deterministic_requests_and_their_responses_are_encrypted_as_all_messages() {
    for file in deterministic() {
        let suite = suite(&file["group"]);
        let common_iv = bytes(&file["group"], "common_iv");
        let server = member(&file, "server");
        let [request, response] = list(&file, "cases") else {
            panic!("two cases");
        };
        let ids = [bytes(request, "request_kid"), bytes(server, "sender_id")];
        for (at, (case, id)) in [request, response].into_iter().zip(&ids).enumerate() {
            let label = label(&file, case);
            let mut aad = aad(&file, at);
            assert_eq!(aad.array(), bytes(case, "external_aad"), "{label}");
            assert_eq!(
                aad.enc_structure(),
                bytes(case, "aad_enc_structure"),
                "{label}"
            );
            let nonce = nonce(13, id, PartialIv::ZERO, &common_iv).unwrap();
            assert_eq!(nonce.as_bytes(), bytes(case, "nonce"), "{label}");
            let key = GroupKey::new(suite.group_encryption().unwrap(), &bytes(case, "key"));
            let key = key.unwrap();
            let mut body = bytes(case, "plaintext");
            key.seal(nonce.as_bytes(), aad.enc_structure(), &mut body)
                .unwrap();
            assert_eq!(body, bytes(case, "ciphertext"), "{label}");
            key.open(nonce.as_bytes(), aad.enc_structure(), &mut body)
                .unwrap();
            assert_eq!(body, bytes(case, "plaintext"), "{label}");
        }
        assert_eq!(bytes(response, "key"), bytes(server, "sender_key"));
    }
}

#[test]
fn responses_to_deterministic_requests_are_signed_as_all_messages() {
    for file in deterministic() {
        let (suite, server) = (suite(&file["group"]), member(&file, "server"));
        let case = &list(&file, "cases")[1];
        let label = label(&file, case);
        let ciphertext = bytes(case, "ciphertext");
        let signed = aad(&file, 1).into_signed_structure(&ciphertext);
        assert_eq!(signed, bytes(case, "to_be_signed"), "{label}");
        let key = private_key(&file, server);
        let signature = key.sign_bytes(SignatureAlgorithm::EdDsa, &signed).unwrap();
        assert_eq!(signature, bytes(case, "signature"), "{label}");
        let credential = Credential::import(CredentialFormat::Ccs, &bytes(server, "cred")).unwrap();
        let public = credential.public_key();
        let verified = verify(public, SignatureAlgorithm::EdDsa, &signed, &signature);
        assert_eq!(verified, Ok(()), "{label}");

        let of = KeystreamOf {
            partial_iv: PartialIv::ZERO,
            id: &bytes(server, "sender_id"),
            gid: &bytes(&file["group"], "gid"),
            request: false,
        };
        let of_the_group = secret(&file["group"], "signature_encryption_key");
        let stream = keystream(suite.hkdf(), &of_the_group, SignatureAlgorithm::EdDsa, &of);
        let stream = stream.unwrap();
        let mut zeros = vec![0; 64];
        stream.apply(&mut zeros).unwrap();
        assert_eq!(zeros, bytes(case, "keystream"), "{label}");
        let mut encrypted = signature;
        stream.apply(&mut encrypted).unwrap();
        assert_eq!(encrypted, bytes(case, "encrypted_signature"), "{label}");
        assert_eq!(
            [ciphertext, encrypted].concat(),
            bytes(case, "payload"),
            "{label}"
        );
    }
}

#[test]
fn a_member_that_knows_no_deterministic_requests_has_no_context_for_them() {
    for file in deterministic() {
        for case in list(&file, "cases") {
            let label = label(&file, case);
            let protected = bytes(case, "protected_coap");
            let message = Message::parse(&protected).unwrap();
            assert_eq!(message.payload(), bytes(case, "payload"), "{label}");
            let value = option(&protected);
            assert_eq!(value, bytes(case, "oscore_option"), "{label}");
            let read = OscoreOption::parse(&value).unwrap();
            assert_eq!(read.partial_iv, Some(PartialIv::ZERO), "{label}");
            let (kid, gid) = match text(case, "kind") {
                // the deterministic client's, in pairwise mode
                "request" => {
                    let kid = bytes(&file["deterministic_client"], "sender_id");
                    (kid, Some(bytes(&file["group"], "gid")))
                }
                _ => (bytes(member(&file, "server"), "sender_id"), None),
            };
            assert_eq!(read.kid, Some(&kid[..]), "{label}");
            assert_eq!(read.kid_context, gid.as_deref(), "{label}");
            assert_eq!(read.group_flag, text(case, "kind") == "response", "{label}");
            let plain = bytes(case, "plain_coap");
            let plain = Message::parse(&plain).unwrap();
            assert_eq!(plain.token(), message.token(), "{label}");
            assert_eq!(plain.payload().is_empty(), text(case, "kind") == "request");
        }
        let mut server = recorded(&file, "server");
        let request = bytes(&list(&file, "cases")[0], "protected_coap");
        assert_eq!(server.hear(&request).unwrap_err(), Reason::NoContext);
    }
}
