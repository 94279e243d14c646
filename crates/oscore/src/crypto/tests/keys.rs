use crate::crypto::private::refuse_zero;
use crate::crypto::{
    Curve, EcY, KeyFailure, KeyRefused, PrivateKey, PublicKey, SignatureRefused, SoftwareKey,
    verify,
};
use crate::secret::Secret;
use crate::suite::SignatureAlgorithm;
use crate::test_vectors::{self as vectors, bytes, hex, list, member, secret, text};
use alloc::format;
use alloc::vec::Vec;
use sha2::{Digest, Sha512};

fn array<const N: usize>(digits: &str) -> [u8; N] {
    hex(digits).try_into().unwrap()
}

fn curves() -> impl Iterator<Item = Curve> {
    [
        Curve::P256,
        Curve::P384,
        Curve::P521,
        Curve::X25519,
        Curve::Ed25519,
    ]
    .into_iter()
    .filter(|curve| curve.supported())
}

fn generated(curve: Curve, byte: u8) -> SoftwareKey {
    SoftwareKey::generate(curve, &[byte; 64]).unwrap()
}

#[test]
fn curves_have_the_registry_s_numbers() {
    for (id, curve, name, len) in [
        (1, Curve::P256, "P-256", 32),
        (2, Curve::P384, "P-384", 48),
        (3, Curve::P521, "P-521", 66),
        (4, Curve::X25519, "X25519", 32),
        (6, Curve::Ed25519, "Ed25519", 32),
    ] {
        assert_eq!(
            (
                Curve::from_id(id),
                curve.id(),
                curve.name(),
                curve.field_len()
            ),
            (Some(curve), id, name, len)
        );
        assert_eq!(Curve::from_name(&name.to_lowercase()), Some(curve));
        let signature = curve.signature().map(SignatureAlgorithm::signature_len);
        let expected = [(1, 64), (2, 96), (3, 132), (6, 64)]
            .into_iter()
            .find(|(of, _)| *of == id);
        assert_eq!(signature, expected.map(|(_, len)| len));
    }
    // X448 and Ed448 are left out
    assert_eq!(
        (
            Curve::from_id(5),
            Curve::from_id(7),
            Curve::from_id(0),
            Curve::from_name("Ed448")
        ),
        (None, None, None, None)
    );
}

// Covers: GO-14.16-03
#[test]
fn every_signature_of_an_ed25519_key_is_pure() {
    // RFC 8032, section 7.1: TEST 1 to TEST 3
    for (seed, public, message, signature) in [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ] {
        for key in [
            SoftwareKey::from_ed25519_seed(&array(seed)),
            SoftwareKey::from_ed25519_seed(&array(seed)).hedged(&[1; 32]),
        ] {
            assert_eq!(key.public().coordinates(), (hex(public), None));
            assert_eq!(
                key.sign_bytes(SignatureAlgorithm::EdDsa, &hex(message))
                    .unwrap(),
                hex(signature)
            );
        }
        let public = PublicKey::okp(Curve::Ed25519, &hex(public)).unwrap();
        assert_eq!(
            verify(
                &public,
                SignatureAlgorithm::EdDsa,
                &hex(message),
                &hex(signature)
            ),
            Ok(())
        );
    }
    // RFC 8032, section 7.3: Ed25519ph, of the message and of its hash
    let key = SoftwareKey::from_ed25519_seed(&array(
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
    ));
    let public = key.public();
    assert_eq!(
        public.coordinates().0,
        hex("ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf")
    );
    let signature = hex(
        "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae4131f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406",
    );
    let hash = hex(
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    );
    // control: as such it is valid
    let of_hash =
        ed25519_dalek::VerifyingKey::from_bytes(&public.coordinates().0.try_into().unwrap())
            .unwrap();
    let (hashed, prehashed) = (
        Sha512::new().chain_update(b"abc"),
        ed25519_dalek::Signature::from_slice(&signature),
    );
    assert!(
        of_hash
            .verify_prehashed(hashed, None, &prehashed.unwrap())
            .is_ok()
    );
    for message in [&b"abc"[..], &hash] {
        assert_eq!(
            verify(&public, SignatureAlgorithm::EdDsa, message, &signature),
            Err(SignatureRefused)
        );
    }
    // and no number selects such a variant: EdDSA is the one algorithm of these keys
    let key = SoftwareKey::from_ed25519_seed(&[1; 32]);
    for algorithm in (-300..300).filter_map(SignatureAlgorithm::from_id) {
        assert_eq!(
            key.sign_bytes(algorithm, b"abc").is_ok(),
            algorithm == SignatureAlgorithm::EdDsa,
            "{algorithm:?}"
        );
    }
}

// Covers: GO-10-07
#[test]
fn ecdsa_is_deterministic_or_hedged() {
    // RFC 6979, appendix A.2.5: P-256, SHA-256
    let scalar = array("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");
    let key = SoftwareKey::from_p256_scalar(&scalar).unwrap();
    let signature = key
        .sign_bytes(SignatureAlgorithm::Es256, b"sample")
        .unwrap();
    let expected = "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8";
    assert_eq!(signature, hex(expected));
    assert_eq!(
        key.sign_bytes(SignatureAlgorithm::Es256, b"sample")
            .unwrap(),
        signature
    );
    for curve in curves().filter(|curve| ![Curve::X25519, Curve::Ed25519].contains(curve)) {
        let algorithm = curve.signature().unwrap();
        let (public, hedged) = (
            generated(curve, 7).public(),
            generated(curve, 7).hedged(&[3; 32]),
        );
        let mut signatures: Vec<_> = (0..3)
            .map(|_| hedged.sign_bytes(algorithm, b"sample").unwrap())
            .collect();
        signatures.push(
            generated(curve, 7)
                .hedged(&[4; 32])
                .sign_bytes(algorithm, b"sample")
                .unwrap(),
        );
        signatures.push(
            generated(curve, 7)
                .sign_bytes(algorithm, b"sample")
                .unwrap(),
        );
        for (at, signature) in signatures.iter().enumerate() {
            assert_eq!(verify(&public, algorithm, b"sample", signature), Ok(()));
            assert!(!signatures[..at].contains(signature), "{curve:?} {at}");
        }
    }
}

#[test]
fn every_curve_signs_as_long_as_its_algorithm_says() {
    for curve in curves() {
        let (key, other) = (generated(curve, 1), generated(curve, 2));
        let Some(algorithm) = curve.signature() else {
            for algorithm in SignatureAlgorithm::ALL {
                assert_eq!(
                    key.sign_bytes(*algorithm, b""),
                    Err(KeyFailure::Unsupported)
                );
                assert_eq!(
                    verify(&key.public(), *algorithm, b"", &[0; 64]),
                    Err(SignatureRefused)
                );
            }
            continue;
        };
        let signature = key.sign_bytes(algorithm, b"message").unwrap();
        assert_eq!(signature.len(), algorithm.signature_len());
        assert_eq!(
            verify(&key.public(), algorithm, b"message", &signature),
            Ok(())
        );
        assert_eq!(
            verify(&other.public(), algorithm, b"message", &signature),
            Err(SignatureRefused)
        );
        assert_eq!(
            verify(&key.public(), algorithm, b"messagf", &signature),
            Err(SignatureRefused)
        );
        let longer = [&signature[..], b"\x00"].concat();
        for wrong in [
            &[][..],
            &signature[1..],
            &signature[..signature.len() - 1],
            &longer,
        ] {
            assert_eq!(
                verify(&key.public(), algorithm, b"message", wrong),
                Err(SignatureRefused)
            );
        }
        for other in SignatureAlgorithm::ALL
            .iter()
            .filter(|other| **other != algorithm)
        {
            assert_eq!(
                key.sign_bytes(*other, b"message"),
                Err(KeyFailure::Unsupported)
            );
            assert_eq!(
                verify(&key.public(), *other, b"message", &signature),
                Err(SignatureRefused)
            );
        }
    }
}

// Covers: GO-2.5.2.1-03, GO-2.5.1-04
#[test]
fn the_known_shared_secrets() {
    // Ed25519 keys, mapped: two known answers of another implementation
    let seed = array("397ceb5a8d21d74a9258c20c33fc45ab152b02cf479b2e3081285f77454cf347");
    let peer = hex("2668ba6ca302f14e952228da1250a890c143fdba4daed27246188b9e42c94b6d");
    let expected = hex("4546babdb9482396c167af11d21953bfa49eb9f630c45de93ee4d3b9ef059576");
    let key = SoftwareKey::from_ed25519_seed(&seed);
    let agreed = |peer: &[u8]| {
        key.agree_with(&PublicKey::okp(Curve::Ed25519, peer).unwrap())
            .unwrap()
    };
    assert_eq!(agreed(&peer).as_bytes(), expected);
    let second = hex("5394e43633cdac96f05120ea9f21307c9355a1b66b60a834b53e9bf60b1fb7df");
    assert_eq!(
        agreed(&second).as_bytes(),
        hex("bb11648af3dfebb35e612914a7a21fc751b001aceb0267c5536528e2b9261450")
    );
    let other = SoftwareKey::from_ed25519_seed(&array(
        "70559b9eecdc578d5fc2ca37f9969630029f1592aff3306392ab15546c6a184a",
    ));
    assert_eq!(other.public().coordinates().0, peer);
    assert_eq!(
        other.agree_with(&key.public()).unwrap().as_bytes(),
        expected
    );
    // the sign of x is not in the secret
    let mut negated = peer.clone();
    negated[31] ^= 0x80;
    assert_eq!(agreed(&negated).as_bytes(), expected);
    // unmapped, the bytes would have been read as another point
    let unmapped = SoftwareKey::from_x25519(&seed).unwrap();
    assert_eq!(
        unmapped.agree_with(&PublicKey::okp(Curve::Ed25519, &peer).unwrap()),
        Err(KeyFailure::CurveMismatch)
    );
    let as_it_is = PublicKey::okp(Curve::X25519, &peer).unwrap();
    assert_eq!(key.agree_with(&as_it_is), Err(KeyFailure::CurveMismatch));
    assert_ne!(unmapped.agree_with(&as_it_is).unwrap().as_bytes(), expected);
    // X25519: RFC 7748, section 5.2
    let scalar = array("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
    let u = hex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
    let x25519 = SoftwareKey::from_x25519(&scalar).unwrap();
    let shared = x25519
        .agree_with(&PublicKey::okp(Curve::X25519, &u).unwrap())
        .unwrap();
    assert_eq!(
        shared.as_bytes(),
        hex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552")
    );
    // P-256, recorded
    let file = vectors::group("group-p256-ccm-draft");
    for pair in list(&file, "pairwise") {
        let own = vectors::private_key(&file, member(&file, text(pair, "owner")));
        let peer = vectors::public_key(member(&file, text(pair, "peer")));
        assert_eq!(
            own.agree_with(&peer).unwrap(),
            secret(pair, "shared_secret")
        );
    }
}

#[test]
fn both_ends_agree_and_only_on_one_curve() {
    for curve in curves() {
        let (a, b) = (generated(curve, 1), generated(curve, 2));
        let shared = a.agree_with(&b.public()).unwrap();
        assert_eq!(
            (shared.len(), &shared),
            (curve.field_len(), &b.agree_with(&a.public()).unwrap())
        );
        assert_ne!(a.agree_with(&a.public()).unwrap(), shared);
        for other in curves().filter(|other| *other != curve) {
            assert_eq!(
                a.agree_with(&generated(other, 2).public()),
                Err(KeyFailure::CurveMismatch)
            );
        }
    }
}

#[test]
fn a_shared_secret_of_zero_is_refused() {
    for len in [32, 48, 66] {
        assert_eq!(
            refuse_zero(Secret::zeroed(len)),
            Err(KeyFailure::ZeroSecret)
        );
        for at in [0, len / 2, len - 1] {
            for bit in 0..8 {
                let mut one = alloc::vec![0; len];
                one[at] = 1 << bit;
                assert!(refuse_zero(Secret::new(one)).is_ok(), "{at} {bit}");
            }
        }
    }
}

#[test]
fn generated_keys_depend_on_curve_and_randomness_alone() {
    for curve in curves() {
        let key = generated(curve, 1);
        assert_eq!((key.curve(), key.public().curve()), (curve, curve));
        assert_eq!(key.to_bytes(), generated(curve, 1).to_bytes());
        assert_eq!(key.to_bytes().len(), curve.field_len());
        assert_ne!(key.public(), generated(curve, 2).public());
        for other in curves().filter(|other| *other != curve) {
            assert_ne!(
                key.to_bytes().as_bytes()[..32],
                generated(other, 1).to_bytes().as_bytes()[..32]
            );
        }
        // every byte of the randomness counts
        let mut entropy = [1; 64];
        entropy[63] = 0;
        assert_ne!(
            SoftwareKey::generate(curve, &entropy).unwrap().public(),
            key.public()
        );
        // from the store and back
        let stored = SoftwareKey::from_bytes(curve, key.to_bytes().as_bytes()).unwrap();
        assert_eq!(
            (stored.public(), stored.to_bytes()),
            (key.public(), key.to_bytes())
        );
        for len in [0, curve.field_len() - 1, curve.field_len() + 1] {
            assert!(matches!(
                SoftwareKey::from_bytes(curve, &alloc::vec![1; len]),
                Err(KeyFailure::NotAKey)
            ));
        }
    }
    for curve in [Curve::P384, Curve::P521]
        .into_iter()
        .filter(|curve| !curve.supported())
    {
        assert!(matches!(
            SoftwareKey::generate(curve, &[1; 64]),
            Err(KeyFailure::Unsupported)
        ));
        assert!(matches!(
            SoftwareKey::from_bytes(curve, &[1; 48]),
            Err(KeyFailure::Unsupported)
        ));
        let zeros = alloc::vec![0; curve.field_len()];
        assert_eq!(
            PublicKey::ec2(curve, &zeros, EcY::Bytes(&zeros)),
            Err(KeyRefused::Unsupported)
        );
    }
}

#[test]
fn scalars_are_below_the_group_order() {
    let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let below = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632550";
    let made = |digits: &str| {
        SoftwareKey::from_p256_scalar(&array(digits)).map(|key| key.to_bytes().as_bytes().to_vec())
    };
    assert_eq!(made(below), Ok(hex(below)));
    assert_eq!(made(order), Err(KeyFailure::NotAKey));
    assert_eq!(made(&"00".repeat(32)), Err(KeyFailure::NotAKey));
    assert_eq!(made(&"ff".repeat(32)), Err(KeyFailure::NotAKey));
}

#[test]
fn points_are_read_with_both_coordinates_or_with_a_sign() {
    for curve in curves().filter(|curve| ![Curve::X25519, Curve::Ed25519].contains(curve)) {
        let mut odds = Vec::new();
        for byte in 0..8 {
            let public = generated(curve, byte).public();
            let (x, y) = public.coordinates();
            let y = y.unwrap();
            let odd = y.last().unwrap() & 1 == 1;
            odds.push(odd);
            assert_eq!((x.len(), y.len()), (curve.field_len(), curve.field_len()));
            assert_eq!(
                PublicKey::ec2(curve, &x, EcY::Bytes(&y)).as_ref(),
                Ok(&public)
            );
            assert_eq!(
                PublicKey::ec2(curve, &x, EcY::Sign(odd)).as_ref(),
                Ok(&public)
            );
            let negated = PublicKey::ec2(curve, &x, EcY::Sign(!odd)).unwrap();
            assert_ne!(negated, public);
            assert_eq!(negated.coordinates().0, x);
            assert_eq!(PublicKey::okp(curve, &x), Err(KeyRefused::Unsupported));
        }
        assert!(odds.contains(&true) && odds.contains(&false));
    }
    for curve in [Curve::X25519, Curve::Ed25519] {
        let (x, y) = generated(curve, 3).public().coordinates();
        assert_eq!(PublicKey::okp(curve, &x), Ok(generated(curve, 3).public()));
        assert_eq!(y, None);
        assert_eq!(
            PublicKey::ec2(curve, &x, EcY::Sign(false)),
            Err(KeyRefused::Unsupported)
        );
    }
}

#[test]
fn debug_shows_the_public_half_only() {
    let file = vectors::group("group-ed25519-ccm");
    let member = member(&file, "client");
    let key = vectors::private_key(&file, member);
    assert_eq!(
        format!("{:?}", key.public()),
        "PublicKey(Ed25519 02662d9e..)"
    );
    assert_eq!(
        format!("{key:?}"),
        "SoftwareKey(PublicKey(Ed25519 02662d9e..), ..)"
    );
    assert_eq!(key.to_bytes().as_bytes(), bytes(member, "private_key"));
}

/// Keys are handed to threads, and to secure elements behind the seam.
#[test]
fn keys_can_be_sent() {
    fn sendable<T: Send>() {}
    sendable::<SoftwareKey>();
    sendable::<PublicKey>();
    sendable::<alloc::boxed::Box<dyn PrivateKey>>();
    sendable::<crate::crypto::AeadKey>();
    sendable::<crate::crypto::GroupKey>();
}
