//! What this build can compute is what its features say. For every set of features: `cargo test --test features --no-default-features`.

use antiphon_oscore::credential::{Credential, CredentialFormat, CredentialRefused};
use antiphon_oscore::crypto::{AeadKey, CryptoError, Curve, GroupKey, KeyFailure, SoftwareKey};
use antiphon_oscore::suite::{Aead, GroupEncryption};

#[test]
fn ciphers_are_there_with_their_features() {
    let ccm256 = cfg!(feature = "ccm256");
    let gcm = cfg!(feature = "gcm");
    let chacha = cfg!(feature = "chacha20poly1305");
    for (aead, there) in [
        (Aead::AesCcm16_64_128, true),
        (Aead::AesCcm64_64_128, true),
        (Aead::AesCcm16_128_128, true),
        (Aead::AesCcm64_128_128, true),
        (Aead::AesCcm16_64_256, ccm256),
        (Aead::AesCcm64_64_256, ccm256),
        (Aead::AesCcm16_128_256, ccm256),
        (Aead::AesCcm64_128_256, ccm256),
        (Aead::A128Gcm, gcm),
        (Aead::A192Gcm, gcm),
        (Aead::A256Gcm, gcm),
        (Aead::ChaCha20Poly1305, chacha),
    ] {
        let group = GroupEncryption::Aead(aead);
        let key = vec![7; aead.key_len()];
        let missing = (!there).then_some(CryptoError::Unavailable);
        assert_eq!(aead.supported(), there, "{aead:?}");
        assert_eq!(group.supported(), there, "{group:?}");
        assert_eq!(AeadKey::new(aead, &key).err(), missing, "{aead:?}");
        assert_eq!(GroupKey::new(group, &key).err(), missing, "{group:?}");
    }
    let there = cfg!(feature = "counter");
    for counter in [
        GroupEncryption::A128Ctr,
        GroupEncryption::A192Ctr,
        GroupEncryption::A256Ctr,
    ] {
        let key = vec![7; counter.key_len()];
        let missing = (!there).then_some(CryptoError::Unavailable);
        assert_eq!(counter.supported(), there, "{counter:?}");
        assert_eq!(GroupKey::new(counter, &key).err(), missing, "{counter:?}");
    }
}

#[test]
fn curves_are_there_with_their_features() {
    for (curve, there) in [
        (Curve::Ed25519, true),
        (Curve::X25519, true),
        (Curve::P256, cfg!(feature = "p256")),
        (Curve::P384, cfg!(feature = "p384")),
        (Curve::P521, cfg!(feature = "p521")),
    ] {
        assert_eq!(curve.supported(), there, "{curve:?}");
        let made = SoftwareKey::generate(curve, &[7; 64]);
        let unsupported = matches!(made, Err(KeyFailure::Unsupported));
        assert_eq!((made.is_ok(), unsupported), (there, !there), "{curve:?}");
    }
}

#[test]
fn credentials_are_read_with_their_features() {
    for (format, there) in [
        (CredentialFormat::Ccs, true),
        (CredentialFormat::Cwt, cfg!(feature = "cwt")),
        (CredentialFormat::X509, cfg!(feature = "x509")),
    ] {
        assert_eq!(format.supported(), there, "{format:?}");
        let refused = match there {
            true => CredentialRefused::Malformed,
            false => CredentialRefused::FormatUnavailable,
        };
        assert_eq!(Credential::import(format, &[0xff]).err(), Some(refused));
    }
}
