use super::*;
use crate::nonce::nonce;
use crate::suite::GroupEncryption;
use crate::test_vectors::{self as vectors, Value, bytes, hex, list, member, secret, text};
use alloc::format;

fn suite(aead: Option<i32>, group: Option<i32>) -> Suite {
    Suite::from_ids(5, aead, group, Some(-8), Some(-27)).unwrap()
}

/// Salt, input, info and output of each derivation, as another implementation recorded them.
#[test]
fn every_recorded_derivation() {
    let mut count = 0;
    let (single, appendix) = (vectors::oscore_single(), vectors::appendix_c());
    let mut files = vectors::groups();
    files.extend(
        list(&appendix, "vectors")
            .iter()
            .filter(|vector| vector["hkdf_calls"].is_array())
            .cloned(),
    );
    files.extend(
        list(&single, "vectors")
            .iter()
            .filter(|vector| vector["hkdf_calls"].is_array())
            .cloned(),
    );
    for file in files {
        let hash = vectors::hash(if file["group"].is_object() {
            &file["group"]
        } else {
            &file
        });
        for call in list(&file, "hkdf_calls") {
            let mut out = alloc::vec![0; call["L"].as_u64().unwrap() as usize];
            hkdf(
                hash,
                &bytes(call, "salt"),
                &[&bytes(call, "ikm")],
                &bytes(call, "info"),
                &mut out,
            )
            .unwrap();
            assert_eq!(out, bytes(call, "out"));
            count += 1;
        }
    }
    assert!(count > 40, "{count}");
}

#[test]
fn the_keys_of_appendix_c_of_rfc_8613_and_of_plain_oscore() {
    let (single, appendix) = (vectors::oscore_single(), vectors::appendix_c());
    let mut count = 0;
    for vector in list(&appendix, "vectors")
        .iter()
        .chain(list(&single, "vectors"))
    {
        let names = if vector["client_key"].is_string() {
            [("client_id", "client_key"), ("server_id", "server_key")]
        } else {
            [
                ("sender_id", "sender_key"),
                ("recipient_id", "recipient_key"),
            ]
        };
        if !vector["common_iv"].is_string() {
            continue;
        }
        let aead = vector["alg_value"]
            .as_i64()
            .map_or(Aead::AesCcm16_64_128, |id| {
                Aead::from_id(id as i32).unwrap()
            });
        let context = vector["id_context"].as_str().map(hex);
        let (master_secret, master_salt) = (
            secret(vector, "master_secret"),
            bytes(vector, "master_salt"),
        );
        let material = Material {
            hkdf: vectors::hash(vector),
            master_secret: &master_secret,
            master_salt: &master_salt,
            id_context: context.as_deref(),
        };
        for (id, key) in names {
            assert_eq!(
                material.oscore_key(aead, &bytes(vector, id)).unwrap(),
                secret(vector, key)
            );
        }
        assert_eq!(
            material.oscore_common_iv(aead).unwrap().as_bytes(),
            bytes(vector, "common_iv")
        );
        count += 1;
    }
    assert_eq!(count, 6 + 48);
}

// Covers: GC-6.2.3-05
#[test]
fn the_keys_of_all_groups() {
    for file in vectors::groups() {
        let group = &file["group"];
        let (suite, owned) = (vectors::suite(group), vectors::material(group));
        let material = owned.material();
        for member in list(&file, "members") {
            let key = material
                .sender_key(&suite, &bytes(member, "sender_id"))
                .unwrap();
            assert_eq!(key, secret(member, "sender_key"), "{}", text(&file, "name"));
        }
        assert_eq!(
            material.common_iv(&suite).unwrap().as_bytes(),
            bytes(group, "common_iv")
        );
        assert_eq!(
            material.signature_encryption_key(&suite).unwrap(),
            secret(group, "signature_encryption_key")
        );
    }
}

// Covers: GO-2.1.9-01, GO-2.1.9-02
#[test]
fn the_published_signature_encryption_key() {
    let file = vectors::published();
    let (suite, owned) = (
        vectors::suite(&file["group"]),
        vectors::material(&file["group"]),
    );
    let key = owned.material().signature_encryption_key(&suite).unwrap();
    assert_eq!(key.as_bytes(), hex("85ca7c0bc5b8ea2e267b203dc3b71ce6"));
    let info = info(&[], Some(&hex("dd11")), 10, "SEKey", 16);
    assert_eq!(info, hex("854042dd110a6553454b657910"));
    assert!(info.ends_with(b"\x65SEKey\x10"));
    // the length is that of the group algorithm's key, whatever the AEAD Algorithm is
    for entry in list(&vectors::derived(), "each_algorithm") {
        let id = entry["alg"].as_i64().unwrap() as i32;
        let suite = super::tests::suite(Some(10), Some(id));
        let key = owned.material().signature_encryption_key(&suite).unwrap();
        assert_eq!(key, secret(entry, "signature_encryption_key"), "{id}");
    }
}

#[test]
fn the_key_of_a_deterministic_request_is_derived_as_sender_keys_are() {
    for file in vectors::deterministic() {
        let (case, gid) = (&list(&file, "cases")[0], bytes(&file["group"], "gid"));
        let id = bytes(&file["deterministic_client"], "sender_id");
        let info = info(&id, Some(&gid), 10, "Key", 16);
        assert_eq!(info, bytes(case, "derived_info"), "{}", text(&file, "name"));
    }
}

// Covers: GO-2.3-01, GO-2.3-02, GO-2.3-03
#[test]
fn keys_are_for_the_group_algorithm_if_there_is_one() {
    let file = vectors::derived();
    let owned = vectors::material(&file["group"]);
    let material = owned.material();
    // group 24, AEAD 10: keys of 32 bytes
    let mixed = suite(Some(10), Some(24));
    let key = material.sender_key(&mixed, &hex("25")).unwrap();
    assert_eq!(
        (key.len(), &key),
        (32, &secret(&file["mixed"], "client_sender_key"))
    );
    assert_eq!(
        material.common_iv(&mixed).unwrap().as_bytes(),
        bytes(&file["mixed"], "common_iv")
    );
    // no group algorithm: the AEAD Algorithm
    let pairwise = suite(Some(11), None);
    assert_eq!(
        material.sender_key(&pairwise, &hex("25")).unwrap(),
        secret(&file["pairwise_only"], "client_sender_key")
    );
    assert_eq!(
        material.common_iv(&pairwise).unwrap().as_bytes(),
        bytes(&file["pairwise_only"], "common_iv")
    );
    // AES-CCM-64 for pairwise mode, GCM for group mode: L is 12
    let lengths = suite(Some(12), Some(1));
    let iv = material.common_iv(&lengths).unwrap();
    assert_eq!(
        (iv.as_bytes().len(), iv.as_bytes()),
        (12, &*bytes(&file["ccm64_gcm"], "common_iv"))
    );
    assert_eq!(
        info(&[], material.id_context, 1, "IV", 12),
        hex("854042dd11016249560c")
    );
}

// Covers: GO-2.3-04
#[test]
fn keys_are_as_long_as_the_algorithm_has_them() {
    let file = vectors::derived();
    let owned = vectors::material(&file["group"]);
    let mut count = 0;
    for entry in list(&file, "each_algorithm") {
        let id = entry["alg"].as_i64().unwrap() as i32;
        let algorithm = GroupEncryption::from_id(id).unwrap();
        let group = suite(None, Some(id));
        let key = owned.material().sender_key(&group, &hex("25")).unwrap();
        assert_eq!(
            (key.len(), &key),
            (algorithm.key_len(), &secret(entry, "sender_key")),
            "{id}"
        );
        assert_eq!(
            owned.material().common_iv(&group).unwrap().as_bytes(),
            bytes(entry, "common_iv"),
            "{id}"
        );
        if let GroupEncryption::Aead(aead) = algorithm {
            let pairwise = suite(Some(id), None);
            assert_eq!(
                owned.material().sender_key(&pairwise, &hex("25")).unwrap(),
                key
            );
            assert_eq!(owned.material().oscore_key(aead, &hex("25")).unwrap(), key);
        }
        let info = info(
            &hex("25"),
            Some(b"\xdd\x11"),
            id,
            "Key",
            algorithm.key_len(),
        );
        let mut length = alloc::vec::Vec::new();
        cbor::unsigned(&mut length, key.len() as u64);
        assert!(info.ends_with(&[b"\x63Key", &length[..]].concat()), "{id}");
        count += 1;
    }
    assert_eq!(count, Aead::ALL.len() + 3);
}

fn pairwise<'a>(
    sender: (&'a Secret, &'a [u8], &'a [u8]),
    receiver_credential: &'a [u8],
    shared_secret: &'a Secret,
    gid: &'a [u8],
) -> Pairwise<'a> {
    let (sender_key, sender_id, sender_credential) = sender;
    Pairwise {
        sender_key,
        sender_id,
        sender_credential,
        receiver_credential,
        shared_secret,
        gid,
    }
}

// Covers: GO-2.5.1-01, GO-2.5.1-03
#[test]
fn the_derived_pairwise_keys() {
    let file = vectors::derived();
    let gid = bytes(&file["group"], "gid");
    let (client, server) = (
        bytes(&file["client"], "cred"),
        bytes(&file["server"], "cred"),
    );
    let shared = secret(&file, "shared_secret");
    let owned = vectors::material(&file["group"]);
    let ccm = vectors::suite(&file["ccm"]);
    let (client_id, server_id) = (hex("25"), hex("52"));
    let client_key = owned.material().sender_key(&ccm, &client_id).unwrap();
    let server_key = owned.material().sender_key(&ccm, &server_id).unwrap();
    let to_server = pairwise((&client_key, &client_id, &client), &server, &shared, &gid);
    assert_eq!(
        pairwise_key(&ccm, &to_server).unwrap(),
        secret(&file["ccm"], "client_to_server")
    );
    let to_client = pairwise((&server_key, &server_id, &server), &client, &shared, &gid);
    assert_eq!(
        pairwise_key(&ccm, &to_client).unwrap(),
        secret(&file["ccm"], "server_to_client")
    );
    let swapped = pairwise((&client_key, &client_id, &server), &client, &shared, &gid);
    assert_ne!(
        pairwise_key(&ccm, &swapped).unwrap(),
        secret(&file["ccm"], "client_to_server")
    );
    // group 24, AEAD 10: a salt of 32 bytes, a key of 16, for algorithm 10
    let mixed = vectors::suite(&file["mixed"]);
    let long_key = owned.material().sender_key(&mixed, &client_id).unwrap();
    let to_server = pairwise((&long_key, &client_id, &client), &server, &shared, &gid);
    let key = pairwise_key(&mixed, &to_server).unwrap();
    assert_eq!(
        (key.len(), &key),
        (16, &secret(&file["mixed"], "client_to_server"))
    );
}

/// Both keys of owner and peer as recorded, from the shared secret that the owner's private key agrees on.
fn recorded_pairs(file: &Value) -> usize {
    let suite = vectors::suite(&file["group"]);
    let gid = bytes(&file["group"], "gid");
    for pair in list(file, "pairwise") {
        let (owner, peer) = (
            member(file, text(pair, "owner")),
            member(file, text(pair, "peer")),
        );
        let name = format!(
            "{} {} {}",
            text(file, "name"),
            text(pair, "owner"),
            text(pair, "peer")
        );
        let shared = vectors::private_key(file, owner)
            .agree_with(&vectors::public_key(peer))
            .unwrap();
        assert_eq!(shared, secret(pair, "shared_secret"), "{name}");
        let ids = (bytes(owner, "sender_id"), bytes(peer, "sender_id"));
        let credentials = (bytes(owner, "cred"), bytes(peer, "cred"));
        let keys = (secret(owner, "sender_key"), secret(peer, "sender_key"));
        let send = pairwise(
            (&keys.0, &ids.0, &credentials.0),
            &credentials.1,
            &shared,
            &gid,
        );
        let receive = pairwise(
            (&keys.1, &ids.1, &credentials.1),
            &credentials.0,
            &shared,
            &gid,
        );
        assert_eq!(
            pairwise_key(&suite, &send).unwrap(),
            secret(pair, "pairwise_sender_key"),
            "{name}"
        );
        assert_eq!(
            pairwise_key(&suite, &receive).unwrap(),
            secret(pair, "pairwise_recipient_key"),
            "{name}"
        );
        let swapped = Pairwise {
            sender_credential: &credentials.1,
            receiver_credential: &credentials.0,
            ..send
        };
        assert_ne!(
            pairwise_key(&suite, &swapped).unwrap(),
            secret(pair, "pairwise_sender_key"),
            "{name}"
        );
    }
    list(file, "pairwise").len()
}

// Covers: GO-2.5.1-02, GO-10-09
#[test]
fn pairwise_keys_of_all_groups() {
    for file in vectors::groups() {
        assert_eq!(recorded_pairs(&file), 6, "{}", text(&file, "name"));
        // what one sends with, the other receives with
        for pair in list(&file, "pairwise") {
            let other =
                |other: &&Value| other["owner"] == pair["peer"] && other["peer"] == pair["owner"];
            let other = list(&file, "pairwise").iter().find(other).unwrap();
            assert_eq!(pair["pairwise_sender_key"], other["pairwise_recipient_key"]);
        }
    }
}

// Covers: GO-10-10, GO-10-11
#[test]
fn both_curves_of_pairwise_mode() {
    for name in ["group-ed25519-ccm", "group-p256-ccm-draft"] {
        let file = vectors::group(name);
        assert_eq!(recorded_pairs(&file), 6);
        let suite = vectors::suite(&file["group"]);
        let (gid, aead) = (bytes(&file["group"], "gid"), suite.aead().unwrap());
        let (client, server) = (member(&file, "client"), member(&file, "server1"));
        let key = |own: &Value, peer: &Value| {
            let shared = vectors::private_key(&file, own)
                .agree_with(&vectors::public_key(peer))
                .unwrap();
            let (id, credential) = (bytes(client, "sender_id"), bytes(client, "cred"));
            let (sender_key, receiver) = (secret(client, "sender_key"), bytes(server, "cred"));
            let parts = pairwise((&sender_key, &id, &credential), &receiver, &shared, &gid);
            crate::crypto::AeadKey::new(aead, pairwise_key(&suite, &parts).unwrap().as_bytes())
                .unwrap()
        };
        let nonce = nonce(
            aead.nonce_len(),
            &bytes(client, "sender_id"),
            PartialIv::ZERO,
            &[3; 13],
        )
        .unwrap();
        let mut message = b"\x01 a request".to_vec();
        key(client, server)
            .seal(nonce.as_bytes(), b"aad", &mut message)
            .unwrap();
        key(server, client)
            .open(nonce.as_bytes(), b"aad", &mut message)
            .unwrap();
        assert_eq!(message, b"\x01 a request");
    }
}

/// The keystream as bytes: what it makes of zeros.
fn stream(
    hash: Hkdf,
    key: &Secret,
    algorithm: SignatureAlgorithm,
    of: &KeystreamOf<'_>,
) -> Vec<u8> {
    let mut zeros = alloc::vec![0; algorithm.signature_len()];
    keystream(hash, key, algorithm, of)
        .unwrap()
        .apply(&mut zeros)
        .unwrap();
    zeros
}

// Covers: GO-4.1-03, GO-4.2-01
#[test]
fn the_published_keystream_encrypts_the_published_signature() {
    let file = vectors::published();
    let case = &list(&file, "cases")[1];
    let key = secret(&file["group"], "signature_encryption_key");
    let of = KeystreamOf {
        partial_iv: PartialIv::ZERO,
        id: &hex("52"),
        gid: &hex("dd11"),
        request: false,
    };
    let bytes_of = |hash| stream(hash, &key, SignatureAlgorithm::EdDsa, &of);
    assert_eq!(bytes_of(Hkdf::Sha256), bytes(case, "keystream"));
    assert!(bytes_of(Hkdf::Sha256).starts_with(&hex("f6161f5e")));
    assert_ne!(bytes_of(Hkdf::Sha512), bytes(case, "keystream"));
    let keystream = keystream(Hkdf::Sha256, &key, SignatureAlgorithm::EdDsa, &of).unwrap();
    let mut signature = bytes(case, "signature");
    keystream.apply(&mut signature).unwrap();
    assert_eq!(signature, bytes(case, "encrypted_signature"));
    assert!(signature.starts_with(&hex("b291806c")));
    keystream.apply(&mut signature).unwrap();
    assert_eq!(signature, bytes(case, "signature"));
}

// Covers: GO-4.2-02, GO-4.2-03
#[test]
fn the_keystreams_of_all_groups() {
    let (mut own, mut of_request, mut salts) = (0, 0, alloc::vec::Vec::new());
    for file in vectors::groups() {
        let group = &file["group"];
        let (suite, gid) = (vectors::suite(group), bytes(group, "gid"));
        let key = secret(group, "signature_encryption_key");
        for case in list(&file, "cases")
            .iter()
            .filter(|case| case["mode"] == "group")
        {
            let request = case["kind"] == "request";
            let (id, partial_iv) = if case["own_piv"] == true {
                let option = bytes(case, "oscore_option");
                own += 1;
                let piv = PartialIv::from_wire(&option[1..=usize::from(option[0] & 7)]).unwrap();
                (bytes(member(&file, text(case, "sender")), "sender_id"), piv)
            } else {
                // of a response without Partial IV, the client's
                of_request += usize::from(!request);
                (
                    bytes(case, "request_kid"),
                    vectors::piv(case, "request_piv"),
                )
            };
            assert_eq!(partial_iv.as_bytes(), bytes(case, "keystream_salt"));
            salts.push(partial_iv.value());
            let of = KeystreamOf {
                partial_iv,
                id: &id,
                gid: &gid,
                request,
            };
            let bytes_of =
                |of: &KeystreamOf<'_>| stream(suite.hkdf(), &key, suite.signature().unwrap(), of);
            assert_eq!(
                bytes_of(&of),
                bytes(case, "keystream"),
                "{}",
                vectors::label(&file, case)
            );
            assert_ne!(
                bytes_of(&KeystreamOf {
                    request: !request,
                    ..of
                }),
                bytes_of(&of)
            );
            assert_ne!(bytes_of(&KeystreamOf { gid: b"new", ..of }), bytes_of(&of));
        }
    }
    assert!(
        own > 5
            && of_request > 5
            && salts.contains(&0)
            && salts.contains(&0x1234)
            && salts.contains(&(1 << 32))
    );
    // the salt of 0105 is two bytes, and of a response without Partial IV the identifier is the client's
    let file = vectors::derived();
    let owned = vectors::material(&file["group"]);
    let key = owned
        .material()
        .signature_encryption_key(&vectors::suite(&file["ccm"]))
        .unwrap();
    let of = KeystreamOf {
        partial_iv: PartialIv::new(5).unwrap(),
        id: &hex("25"),
        gid: &hex("dd11"),
        request: true,
    };
    let bytes_of = |of: &KeystreamOf<'_>| stream(Hkdf::Sha256, &key, SignatureAlgorithm::EdDsa, of);
    assert_eq!(
        bytes_of(&of),
        bytes(&file["ccm"]["group_request"], "keystream")
    );
    let response = KeystreamOf {
        request: false,
        ..of
    };
    assert_eq!(
        bytes_of(&response),
        bytes(&file["ccm"]["group_response_without_piv"], "keystream")
    );
    assert_ne!(
        bytes_of(&KeystreamOf {
            id: &hex("52"),
            ..response
        }),
        bytes_of(&response)
    );
    let two = KeystreamOf {
        partial_iv: PartialIv::new(0x0105).unwrap(),
        ..of
    };
    let mut expected = alloc::vec![0; 64];
    hkdf(
        Hkdf::Sha256,
        &hex("0105"),
        &[key.as_bytes()],
        &hex("84412542dd11f51840"),
        &mut expected,
    )
    .unwrap();
    assert_eq!(bytes_of(&two), expected);
}

/// A gap of the text that both ends have to follow (the salt is an HMAC key, and those are padded with zeros): the
/// allocator of sequence numbers leaves such numbers out.
#[test]
fn multiples_of_256_repeat_keystreams() {
    let key = Secret::copy_of(&[1; 16]);
    let bytes_of = |number| {
        let of = KeystreamOf {
            partial_iv: PartialIv::new(number).unwrap(),
            id: b"\x01",
            gid: b"g",
            request: true,
        };
        stream(Hkdf::Sha256, &key, SignatureAlgorithm::EdDsa, &of)
    };
    assert_eq!(bytes_of(1), bytes_of(256));
    assert_eq!(bytes_of(1), bytes_of(65_536));
    assert_ne!(bytes_of(1), bytes_of(257));
}

// Covers: GO-2.1.2-01
#[test]
fn the_hkdf_is_one_of_hmac() {
    for id in [-12, -13, -10, -11, 4, 6, 8, 0] {
        let refused = Suite::from_ids(id, Some(10), Some(10), Some(-8), None);
        assert_eq!(refused, Err(crate::suite::SuiteError::Unknown(id)));
    }
    let file = vectors::derived();
    let mut owned = vectors::material(&file["group"]);
    owned.hash = Hkdf::Sha512;
    let (sha512, expected) = (
        Suite::from_ids(7, Some(10), Some(10), Some(-8), Some(-28)).unwrap(),
        &file["sha512"],
    );
    let material = owned.material();
    let client_key = material.sender_key(&sha512, &hex("25")).unwrap();
    assert_eq!(client_key, secret(expected, "client_sender_key"));
    assert_eq!(
        material.common_iv(&sha512).unwrap().as_bytes(),
        bytes(expected, "common_iv")
    );
    let key = material.signature_encryption_key(&sha512).unwrap();
    assert_eq!(key, secret(expected, "signature_encryption_key"));
    let (client, server) = (
        bytes(&file["client"], "cred"),
        bytes(&file["server"], "cred"),
    );
    let shared = secret(&file, "shared_secret");
    let (id, gid) = (hex("25"), hex("dd11"));
    let parts = pairwise((&client_key, &id, &client), &server, &shared, &gid);
    assert_eq!(
        pairwise_key(&sha512, &parts).unwrap(),
        secret(expected, "client_to_server")
    );
    let of = KeystreamOf {
        partial_iv: PartialIv::new(5).unwrap(),
        id: &id,
        gid: &gid,
        request: true,
    };
    assert_eq!(
        stream(Hkdf::Sha512, &key, SignatureAlgorithm::EdDsa, &of),
        bytes(expected, "keystream")
    );
    // SHA-256, of the same
    assert_ne!(
        vectors::material(&file["group"])
            .material()
            .sender_key(&sha512, &id)
            .unwrap(),
        client_key
    );
}

#[test]
fn a_keystream_is_as_long_as_the_signature() {
    let key = Secret::copy_of(&[1; 16]);
    let of = KeystreamOf {
        partial_iv: PartialIv::ZERO,
        id: b"",
        gid: b"",
        request: true,
    };
    for algorithm in SignatureAlgorithm::ALL.iter().copied() {
        let keystream = keystream(Hkdf::Sha256, &key, algorithm, &of).unwrap();
        for len in [
            0,
            algorithm.signature_len() - 1,
            algorithm.signature_len() + 1,
        ] {
            let mut signature = alloc::vec![0; len];
            assert_eq!(keystream.apply(&mut signature), Err(CryptoError::Length));
            assert_eq!(signature, alloc::vec![0; len]);
        }
        let mut signature = alloc::vec![0; algorithm.signature_len()];
        keystream.apply(&mut signature).unwrap();
        assert_ne!(signature[algorithm.signature_len() - 8..], [0; 8]);
    }
}

#[test]
fn debug_shows_no_secret() {
    let file = vectors::derived();
    let owned = vectors::material(&file["group"]);
    let suite = Suite::default();
    let common_iv = owned.material().common_iv(&suite).unwrap();
    assert_eq!(format!("{common_iv:?}"), "CommonIv(..)");
    let of = KeystreamOf {
        partial_iv: PartialIv::ZERO,
        id: b"",
        gid: b"",
        request: true,
    };
    let keystream = keystream(Hkdf::Sha256, &owned.secret, SignatureAlgorithm::EdDsa, &of).unwrap();
    assert_eq!(format!("{keystream:?}"), "Keystream(..)");
    let shown = format!("{:?}", owned.material());
    assert!(
        shown.contains("Secret(..)") && !shown.contains("[1, 2, 3"),
        "{shown}"
    );
}
