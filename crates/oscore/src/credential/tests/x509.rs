use super::*;
use crate::credential::CredentialRefused::NoEndEntity;

const AUTHORITY: &[u8] = include_bytes!("ca.der");
const ED25519: &[u8] = include_bytes!("ed25519.der");
const X25519: &[u8] = include_bytes!("x25519.der");
const P256: &[u8] = include_bytes!("p256.der");
const P256_COMPRESSED: &[u8] = include_bytes!("p256_compressed.der");
const P384: &[u8] = include_bytes!("p384.der");
const P521: &[u8] = include_bytes!("p521.der");
const SECP256K1: &[u8] = include_bytes!("secp256k1.der");

fn import_x509(bytes: &[u8]) -> Result<Credential, CredentialRefused> {
    Credential::import(CredentialFormat::X509, bytes)
}

fn array(certificates: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    crate::cbor::array(&mut out, certificates.len() as u64);
    certificates
        .iter()
        .for_each(|certificate| crate::cbor::bytes(&mut out, certificate));
    out
}

#[test]
fn the_key_of_a_certificate_is_read() {
    let credential = import_x509(ED25519).unwrap();
    assert_eq!(
        (credential.bytes(), credential.subject()),
        (ED25519, Some("CN=lamp"))
    );
    let key = PublicKey::okp(
        Curve::Ed25519,
        &hex("2b3694b721cce9cbedcee704bb0459446fcd69810f3e8aff4b72476c1ee832d3"),
    );
    assert_eq!(credential.public_key(), &key.unwrap());
    let x25519 = import_x509(X25519).unwrap();
    let x = hex("9d69d025a5a84fd7eb983c64d2f408fbfed775d42318f6cee5274335bd309d16");
    assert_eq!(
        (
            x25519.public_key().curve(),
            x25519.public_key().coordinates()
        ),
        (Curve::X25519, (x, None))
    );
    let p256 = import_x509(P256).unwrap();
    assert_eq!(p256.public_key().curve(), Curve::P256);
    assert_eq!(
        p256.public_key(),
        import_x509(P256_COMPRESSED).unwrap().public_key()
    );
    let p384 = import_x509(P384).map(|credential| credential.public_key().curve());
    assert_eq!(
        p384,
        if cfg!(feature = "p384") {
            Ok(Curve::P384)
        } else {
            Err(Key(KeyRefused::Unsupported))
        }
    );
    let p521 = import_x509(P521).map(|credential| credential.public_key().curve());
    assert_eq!(
        p521,
        if cfg!(feature = "p521") {
            Ok(Curve::P521)
        } else {
            Err(Key(KeyRefused::Unsupported))
        }
    );
    assert_eq!(import_x509(SECP256K1), Err(Key(KeyRefused::Unsupported)));
}

#[test]
fn the_form_of_a_compressed_point_says_which_of_two_it_is() {
    let (x, y) = import_x509(P256_COMPRESSED)
        .unwrap()
        .public_key()
        .coordinates();
    let y = y.unwrap();
    let at = P256_COMPRESSED.windows(x.len()).position(|it| it == x);
    let form = at.unwrap() - 1;
    assert_eq!(P256_COMPRESSED[form], 2 + (y[31] & 1));
    let mut other = P256_COMPRESSED.to_vec();
    other[form] ^= 1;
    let (other_x, other_y) = import_x509(&other).unwrap().public_key().coordinates();
    assert_eq!(other_x, x);
    assert_eq!(other_y.unwrap()[31] & 1, 1 - (y[31] & 1));
}

// Covers: GO-2.4-07
#[test]
fn of_a_chain_or_bag_the_end_entity_is_kept() {
    for certificates in [&[ED25519, AUTHORITY][..], &[AUTHORITY, ED25519], &[ED25519]] {
        let credential = import_x509(&array(certificates)).unwrap();
        assert_eq!(credential.bytes(), ED25519);
    }
    let mut one = Vec::new();
    crate::cbor::bytes(&mut one, ED25519);
    assert_eq!(import_x509(&one).unwrap().bytes(), ED25519);
    // a certificate that signed itself, alone
    assert_eq!(import_x509(AUTHORITY).unwrap().bytes(), AUTHORITY);
    assert_eq!(
        import_x509(&array(&[AUTHORITY])).unwrap().bytes(),
        AUTHORITY
    );
    assert_eq!(
        import_x509(&array(&[ED25519, P256, AUTHORITY])),
        Err(NoEndEntity)
    );
    assert_eq!(
        import_x509(&array(&[AUTHORITY, AUTHORITY])),
        Err(NoEndEntity)
    );
    assert_eq!(import_x509(&array(&[])), Err(NoEndEntity));
    assert_eq!(import_x509(&array(&[ED25519; 16])), Err(NoEndEntity));
    assert_eq!(import_x509(&array(&[ED25519; 17])), Err(TooLarge));
}

#[test]
fn what_is_no_certificate_is_malformed() {
    let with_rest = [ED25519, &[0]].concat();
    for bad in [
        &with_rest[..],
        &[],
        &[0x30],
        &[0x30, 0x00],
        &[0xf6],
        &[0x40],
        &array(&[&[]]),
        &array(&[ED25519, &[0x30]]),
    ] {
        assert_eq!(import_x509(bad), Err(Malformed), "{bad:02x?}");
    }
    let mut followed = array(&[ED25519]);
    followed.push(0);
    assert_eq!(import_x509(&followed), Err(Malformed));
    for len in 0..ED25519.len() {
        assert!(import_x509(&ED25519[..len]).is_err(), "{len}");
    }
}

#[test]
fn no_damage_makes_the_reader_panic() {
    for certificate in [ED25519, P256, P256_COMPRESSED] {
        for at in 0..certificate.len() {
            for with in [0, 1, 0x7f, 0x80, 0xff, certificate[at] ^ 1] {
                let mut damaged = certificate.to_vec();
                damaged[at] = with;
                let _ = import_x509(&damaged);
            }
        }
    }
}
