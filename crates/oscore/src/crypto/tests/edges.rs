//! Keys and signatures that are wrong in ways that some libraries accept.

use crate::crypto::{
    Curve, EcY, KeyFailure, KeyRefused, PrivateKey, PublicKey, SignatureRefused, SoftwareKey,
    verify,
};
use crate::suite::SignatureAlgorithm;
use crate::test_vectors::hex;
use alloc::vec::Vec;
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;
use ed25519_dalek::Verifier;
use p256::elliptic_curve::ops::Reduce;
use p256::elliptic_curve::point::AffineCoordinates;
use sha2::{Digest, Sha256, Sha512};

fn ed25519(bytes: &[u8]) -> Result<PublicKey, KeyRefused> {
    PublicKey::okp(Curve::Ed25519, bytes)
}

/// p + k, little endian.
fn above_p(k: u8) -> [u8; 32] {
    let mut bytes = [0xff; 32];
    bytes[31] = 0x7f;
    bytes[0] = 0xed + k;
    bytes
}

// Covers: GO-2.5.2.1-01
#[test]
fn y_of_one_and_minus_one_are_refused_in_every_encoding() {
    let one = [&[1][..], &[0; 31]].concat();
    let mut minus_one = above_p(0);
    minus_one[0] = 0xec;
    for mut bytes in [one.try_into().unwrap(), minus_one, above_p(1)] {
        assert_eq!(ed25519(&bytes), Err(KeyRefused::SmallOrder), "{bytes:02x?}");
        // x is 0, and 0 has no sign
        bytes[31] |= 0x80;
        assert!(ed25519(&bytes).is_err(), "{bytes:02x?}");
    }
    // p - 1 is the largest coordinate: -1 has no encoding above it
    assert!(ed25519(&above_p(0)).is_err());
}

// Covers: GO-2.5.2.1-02
#[test]
fn the_base_point_is_mapped_to_9() {
    let base = ed25519(ED25519_BASEPOINT_POINT.compress().as_bytes()).unwrap();
    // y = 4/5
    assert_eq!(base.coordinates().0, [&[0x58][..], &[0x66; 31]].concat());
    let mut nine = [0; 32];
    nine[0] = 9;
    assert_eq!(base.ed25519_u(), Some(nine));
}

#[test]
fn encodings_that_are_not_canonical_are_refused() {
    let mut on_curve = 0;
    for k in 0..19 {
        for sign in [0, 0x80] {
            let mut bytes = above_p(k);
            bytes[31] |= sign;
            let refused = ed25519(&bytes).unwrap_err();
            // the library takes them, as the coordinate below p
            if let Some(point) = CompressedEdwardsY(bytes).decompress() {
                let expected = if point.is_small_order() {
                    KeyRefused::SmallOrder
                } else {
                    KeyRefused::NotCanonical
                };
                assert_eq!(refused, expected, "{k}");
                on_curve += usize::from(expected == KeyRefused::NotCanonical);
            } else {
                assert_eq!(refused, KeyRefused::NotOnCurve, "{k}");
            }
        }
    }
    assert!(on_curve > 5, "{on_curve}");
    for len in [0, 31, 33, 64] {
        assert_eq!(ed25519(&alloc::vec![9; len]), Err(KeyRefused::Length));
        assert_eq!(
            PublicKey::okp(Curve::X25519, &alloc::vec![9; len]),
            Err(KeyRefused::Length)
        );
    }
}

/// A signature with this R that the plain equation accepts, made with the private scalar.
fn signature_with(
    r: CompressedEdwardsY,
    key: &ed25519_dalek::SigningKey,
    public: &[u8; 32],
    message: &[u8],
) -> Vec<u8> {
    let hash = Sha512::new()
        .chain_update(r.as_bytes())
        .chain_update(public)
        .chain_update(message)
        .finalize();
    let k = Scalar::from_bytes_mod_order_wide(&hash.into());
    [&r.as_bytes()[..], (k * key.to_scalar()).as_bytes()].concat()
}

#[test]
fn threat_09_weak_keys_and_signatures_are_refused() {
    let software = SoftwareKey::from_ed25519_seed(&[7; 32]);
    let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let public = *key.verifying_key().as_bytes();
    let message = b"open the door";
    let check = |signature: &[u8]| {
        verify(
            &software.public(),
            SignatureAlgorithm::EdDsa,
            message,
            signature,
        )
    };
    let signature = software
        .sign_bytes(SignatureAlgorithm::EdDsa, message)
        .unwrap();
    assert_eq!(check(&signature), Ok(()));

    // S + L is congruent to S. Control: the two are the same scalar
    let order = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let (mut carry, mut malleated) = (0, signature.clone());
    for (byte, add) in malleated[32..].iter_mut().zip(&order) {
        let sum = u16::from(*byte) + u16::from(*add) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    let reduced = |s: &[u8]| Scalar::from_bytes_mod_order(s.try_into().unwrap());
    assert_eq!(
        (reduced(&malleated[32..]), carry),
        (reduced(&signature[32..]), 0)
    );
    assert_eq!(check(&malleated), Err(SignatureRefused));

    // small-order R. Control: a verifier that does not look accepts the neutral element
    let neutral = curve25519_dalek::EdwardsPoint::identity().compress();
    let crafted = signature_with(neutral, &key, &public, message);
    let as_is = ed25519_dalek::Signature::from_slice(&crafted).unwrap();
    assert!(key.verifying_key().verify(message, &as_is).is_ok());
    assert_eq!(check(&crafted), Err(SignatureRefused));
    for point in EIGHT_TORSION {
        assert_eq!(
            check(&signature_with(point.compress(), &key, &public, message)),
            Err(SignatureRefused)
        );
    }

    // small-order A. Control: under the neutral element one signature is valid for every message
    let weak = ed25519_dalek::VerifyingKey::from_bytes(neutral.as_bytes()).unwrap();
    let any = [
        &ED25519_BASEPOINT_POINT.compress().as_bytes()[..],
        Scalar::ONE.as_bytes(),
    ]
    .concat();
    let any_message = ed25519_dalek::Signature::from_slice(&any).unwrap();
    assert!(
        weak.verify(b"one", &any_message).is_ok() && weak.verify(b"another", &any_message).is_ok()
    );
    for point in EIGHT_TORSION {
        assert_eq!(
            ed25519(point.compress().as_bytes()),
            Err(KeyRefused::SmallOrder)
        );
    }

    // mixed order: a proper key plus a point of small order. Control: the library reads it, and does not call it weak
    for point in &EIGHT_TORSION[1..] {
        let mixed = (key.verifying_key().to_edwards() + point).compress();
        assert!(
            !ed25519_dalek::VerifyingKey::from_bytes(mixed.as_bytes())
                .unwrap()
                .is_weak()
        );
        assert_eq!(ed25519(mixed.as_bytes()), Err(KeyRefused::MixedOrder));
    }
    // and a mixed R: whether it is accepted must not depend on cofactors
    for point in &EIGHT_TORSION[1..] {
        let r = Scalar::from(5_u64);
        let mixed = (ED25519_BASEPOINT_POINT * r + point).compress();
        let mut crafted = signature_with(mixed, &key, &public, message);
        let s = reduced(&crafted[32..]) + r;
        crafted[32..].copy_from_slice(s.as_bytes());
        assert_eq!(check(&crafted), Err(SignatureRefused));
    }
}

const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";

#[test]
fn threat_09_ecdsa_signatures_outside_of_their_range_are_refused() {
    let key = SoftwareKey::from_p256_scalar(&[9; 32]).unwrap();
    let check = |signature: &[u8]| {
        verify(
            &key.public(),
            SignatureAlgorithm::Es256,
            b"message",
            signature,
        )
    };
    let signature = key
        .sign_bytes(SignatureAlgorithm::Es256, b"message")
        .unwrap();
    assert_eq!(check(&signature), Ok(()));
    let (r, s) = signature.split_at(32);
    let (zero, order, ones) = ([0; 32], hex(ORDER), [0xff; 32]);
    for wrong in [&zero[..], &order, &ones] {
        assert_eq!(check(&[r, wrong].concat()), Err(SignatureRefused));
        assert_eq!(check(&[wrong, s].concat()), Err(SignatureRefused));
        assert_eq!(check(&[wrong, wrong].concat()), Err(SignatureRefused));
    }
    // a DER encoding is none of ours
    let der = [b"\x30\x44\x02\x20", r, b"\x02\x20", s].concat();
    assert_eq!(check(&der), Err(SignatureRefused));

    // Control for two zeros: where zero has zero as its inverse, z/s G + r/s Q is infinity for every message z and every
    // key Q, and the x coordinate of that is zero for the library, as r is
    let inverse = p256::Scalar::ZERO.invert().unwrap_or(p256::Scalar::ZERO);
    let public = key.public().as_p256().unwrap().to_projective();
    for message in [&b"one"[..], b"another"] {
        let z = modulo_order(&Sha256::digest(message));
        let sum = p256::ProjectivePoint::GENERATOR * (z * inverse)
            + public * (p256::Scalar::ZERO * inverse);
        assert_eq!(sum.to_affine().x()[..], zero);
    }
}

fn modulo_order(bytes: &[u8]) -> p256::Scalar {
    let bytes: [u8; 32] = bytes.try_into().unwrap();
    Reduce::<p256::FieldBytes>::reduce(&bytes.into())
}

#[test]
fn threat_09_ecdsa_numbers_with_the_order_added_are_refused() {
    // Numbers that are so small that the sum is as long as the order. Such a signature exists for a key that is made for
    // it: R is a point with a small x coordinate, and s R = z G + r Q.
    let small = |number: u8| [&[0; 31][..], &[number]].concat();
    let above = |number: u8| {
        let mut bytes = hex(ORDER);
        bytes[31] += number;
        bytes
    };
    let point = |x: u8| p256::PublicKey::from_sec1_bytes(&[&[2][..], &small(x)].concat()).ok();
    let (x, point) = (1..100).find_map(|x| Some((x, point(x)?))).unwrap();
    let [r, s] = [x, 7].map(|number| modulo_order(&small(number)));
    let z = modulo_order(&Sha256::digest(b"message"));
    let public =
        (point.to_projective() * s - p256::ProjectivePoint::GENERATOR * z) * r.invert().unwrap();
    let public = p256::PublicKey::from_affine(public.to_affine()).unwrap();
    let key = PublicKey::from_p256(public);
    let check = |signature: &[u8]| verify(&key, SignatureAlgorithm::Es256, b"message", signature);
    assert_eq!(check(&[small(x), small(7)].concat()), Ok(()));
    for (r, s) in [
        (small(x), above(7)),
        (above(x), small(7)),
        (above(x), above(7)),
    ] {
        assert_eq!(check(&[&r[..], &s].concat()), Err(SignatureRefused));
        // Control: a reader that reduces has the signature that the library accepts
        let read = p256::ecdsa::Signature::from_scalars(modulo_order(&r), modulo_order(&s));
        let verifier = p256::ecdsa::VerifyingKey::from(&public);
        assert!(verifier.verify(b"message", &read.unwrap()).is_ok());
    }
}

// Covers: GO-14.16-02, GO-14.16-04
#[test]
fn points_that_are_none_are_refused() {
    let key = SoftwareKey::from_p256_scalar(&[9; 32]).unwrap();
    let (x, y) = key.public().coordinates();
    let y = y.unwrap();
    let p256 = |x: &[u8], y: &[u8]| PublicKey::ec2(Curve::P256, x, EcY::Bytes(y));
    assert!(p256(&x, &y).is_ok());
    for at in [0, 31] {
        let mut wrong = y.clone();
        wrong[at] ^= 1;
        assert_eq!(p256(&x, &wrong), Err(KeyRefused::NotOnCurve));
        let mut wrong = x.clone();
        wrong[at] ^= 1;
        assert_eq!(p256(&wrong, &y), Err(KeyRefused::NotOnCurve));
    }
    // what is written for infinity; coordinates at and above the prime
    let prime = hex("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff");
    for wrong in [&[0; 32][..], &prime, &[0xff; 32]] {
        assert_eq!(p256(wrong, wrong), Err(KeyRefused::NotOnCurve));
        assert_eq!(p256(&x, wrong), Err(KeyRefused::NotOnCurve));
    }
    assert_eq!(
        PublicKey::ec2(Curve::P256, &prime, EcY::Sign(false)),
        Err(KeyRefused::NotOnCurve)
    );
    for len in [0, 31, 33] {
        assert_eq!(p256(&alloc::vec![1; len], &y), Err(KeyRefused::Length));
        assert_eq!(p256(&x, &alloc::vec![1; len]), Err(KeyRefused::Length));
        assert_eq!(
            PublicKey::ec2(Curve::P256, &alloc::vec![1; len], EcY::Sign(true)),
            Err(KeyRefused::Length)
        );
    }
    // small order, on both curves of one coordinate
    for point in EIGHT_TORSION {
        assert_eq!(
            ed25519(point.compress().as_bytes()),
            Err(KeyRefused::SmallOrder)
        );
        assert_eq!(
            PublicKey::okp(Curve::X25519, &point.to_montgomery().to_bytes()),
            Err(KeyRefused::SmallOrder)
        );
    }
    for u in [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ] {
        assert_eq!(
            PublicKey::okp(Curve::X25519, &hex(u)),
            Err(KeyRefused::SmallOrder),
            "{u}"
        );
    }
    // no key that passed agrees on infinity; with a key of another curve there is an error and no secret
    assert!(key.agree_with(&key.public()).is_ok());
    let other = SoftwareKey::from_ed25519_seed(&[1; 32]).public();
    assert_eq!(key.agree_with(&other), Err(KeyFailure::CurveMismatch));
}
