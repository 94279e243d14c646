use alloc::string::String;
use std::format;

use proptest::prelude::*;

use super::CredentialRefused::{
    FormatUnavailable, Key, KeyIncomplete, Malformed, NoKey, SecretInside, TooLarge, WrongAlgorithm,
};
use super::*;
use crate::suite::{Aead, GroupEncryption, Hkdf, KeyAgreement, SignatureAlgorithm};

#[cfg(feature = "cwt")]
mod cwt;
#[cfg(feature = "x509")]
mod x509;

const ED25519_X: &str = "02662d9e4706a70b169009b1f100f5b7c802217663b8f672731a3647f57cd6e6";
const X25519_X: &str = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
const P256_X: &str = "f4f276551ed4e68ee350095848b01edaf0b75ffe064fa26b2fad49db29083170";
const P256_Y: &str = "e08fed9caa80b83d0d30d70f05fd9c29a332001f8ea6d9a743567faf003aa752";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn import(text: &str) -> Result<Credential, CredentialRefused> {
    Credential::import(CredentialFormat::Ccs, &hex(text))
}

/// A CCS around the entries of a COSE_Key.
fn with_key(entries: &str) -> Result<Credential, CredentialRefused> {
    import(&format!("a1 08 a1 01 {entries}"))
}

/// As another implementation writes it.
fn ed25519_ccs() -> String {
    format!("a2 02 66 636c69656e74 08 a1 01 a4 01 01 03 27 20 06 21 5820 {ED25519_X}")
}

fn p256_ccs() -> String {
    format!("a2 02 66 636c69656e74 08 a1 01 a5 01 02 03 26 20 01 21 5820 {P256_X} 22 5820 {P256_Y}")
}

fn x25519_ccs() -> String {
    format!("a1 08 a1 01 a3 01 01 20 04 21 5820 {X25519_X}")
}

fn group_only(signature: SignatureAlgorithm) -> Suite {
    let encryption = GroupEncryption::Aead(Aead::AesCcm16_128_128);
    Suite::new(Hkdf::Sha256, None, Some(encryption), Some(signature), None).unwrap()
}

fn pairwise_only() -> Suite {
    let agreement = Some(KeyAgreement::EcdhSsHkdf256);
    Suite::new(
        Hkdf::Sha256,
        Some(Aead::AesCcm16_128_128),
        None,
        None,
        agreement,
    )
    .unwrap()
}

fn both_modes(signature: SignatureAlgorithm) -> Suite {
    let (aead, agreement) = (Aead::AesCcm16_128_128, Some(KeyAgreement::EcdhSsHkdf256));
    Suite::new(
        Hkdf::Sha256,
        Some(aead),
        Some(GroupEncryption::Aead(aead)),
        Some(signature),
        agreement,
    )
    .unwrap()
}

#[test]
fn formats_have_the_numbers_and_names_of_the_registry() {
    let table = CredentialFormat::ALL.map(|format| (format.id(), format.name()));
    assert_eq!(table, [(13, "kcwt"), (14, "kccs"), (33, "x5chain")]);
    for format in CredentialFormat::ALL {
        assert_eq!(CredentialFormat::from_id(format.id()), Some(format));
        assert_eq!(CredentialFormat::from_name(format.name()), Some(format));
    }
    assert_eq!(
        CredentialFormat::from_name("KCCS"),
        Some(CredentialFormat::Ccs)
    );
    assert_eq!(
        (
            CredentialFormat::from_id(32),
            CredentialFormat::from_name("c5c")
        ),
        (None, None)
    );
    assert!(CredentialFormat::Ccs.supported());
    assert_eq!(CredentialFormat::Cwt.supported(), cfg!(feature = "cwt"));
    assert_eq!(CredentialFormat::X509.supported(), cfg!(feature = "x509"));
    for format in CredentialFormat::ALL
        .into_iter()
        .filter(|format| !format.supported())
    {
        assert_eq!(
            Credential::import(format, &hex(&ed25519_ccs())),
            Err(FormatUnavailable)
        );
    }
}

#[test]
fn a_ccs_is_read_and_kept() {
    let credential = import(&ed25519_ccs()).unwrap();
    assert_eq!(credential.format(), CredentialFormat::Ccs);
    assert_eq!(credential.bytes(), hex(&ed25519_ccs()));
    assert_eq!(credential.subject(), Some("client"));
    assert_eq!(
        credential.public_key(),
        &PublicKey::okp(Curve::Ed25519, &hex(ED25519_X)).unwrap()
    );
    let credential = import(&p256_ccs()).unwrap();
    let key = PublicKey::ec2(
        Curve::P256,
        &hex(P256_X),
        crate::crypto::EcY::Bytes(&hex(P256_Y)),
    )
    .unwrap();
    assert_eq!(credential.public_key(), &key);
    let credential = import(&x25519_ccs()).unwrap();
    assert_eq!(
        (credential.subject(), credential.public_key().curve()),
        (None, Curve::X25519)
    );
}

// Covers: GO-2.4-05
#[test]
fn an_odd_encoding_is_kept_byte_for_byte() {
    for odd in [
        // integers longer than they need to be, labels in another order, lengths in eight bytes
        format!(
            "b9 0002 1808 bb 0000000000000001 1900 01 a3 21 590020 {ED25519_X} 3800 1806 1801 1b 0000000000000001 02 7801 61"
        ),
        // indefinite lengths everywhere, strings in chunks
        format!(
            "bf 02 7f 61 61 60 ff 08 bf 01 bf 01 01 20 06 21 5f 50 {} 40 50 {} ff ff ff ff",
            &ED25519_X[..32],
            &ED25519_X[32..]
        ),
        // claims and parameters that say nothing here, also under text labels, tags, floats, nested
        format!(
            "a5 01 61 69 02 61 61 08 a2 01 a6 01 01 20 06 02 42 aabb 04 82 01 02 61 78 f6 21 5820 {ED25519_X} 03 41 00 \
             19 0101 c1 fb 41d0000000000000 63 6e6577 a1 80 9f 81 a0 ff"
        ),
    ] {
        let credential = import(&odd).unwrap_or_else(|error| panic!("{odd}: {error:?}"));
        assert_eq!(credential.bytes(), hex(&odd));
        assert_eq!(credential.public_key().coordinates().0, hex(ED25519_X));
        assert_eq!(credential.subject(), Some("a"));
    }
}

// Covers: GO-2.4-06, GO-2.4-07
#[test]
fn tags_and_chains_are_taken_off() {
    let plain = hex(&ed25519_ccs());
    for tagged in [
        "d8 3d",
        "d9 0259",
        "d9d9f7",
        "d9d9f7 d9 0259",
        "da 00000259",
    ] {
        let credential = import(&format!("{tagged} {}", ed25519_ccs())).unwrap();
        assert_eq!(credential.bytes(), plain, "{tagged}");
    }
    for chain in [
        format!("82 {} {}", ed25519_ccs(), p256_ccs()),
        format!("81 d9 0259 {}", ed25519_ccs()),
        format!("9f {} {} ff", ed25519_ccs(), x25519_ccs()),
    ] {
        assert_eq!(import(&chain).unwrap().bytes(), plain, "{chain}");
    }
    // a COSE_Sign1 is no CCS
    assert_eq!(import(&format!("d2 {}", ed25519_ccs())), Err(Malformed));
    assert_eq!(import("80"), Err(Malformed));
    assert_eq!(import(&format!("82 {}", ed25519_ccs())), Err(Malformed));
    assert_eq!(import(&format!("81 {} 00", ed25519_ccs())), Err(Malformed));
    assert_eq!(import(&format!("82 {} 00", ed25519_ccs())), Err(Malformed));
}

// Covers: GO-2.4-03
#[test]
fn a_key_needs_its_type_its_curve_and_its_coordinates() {
    let x = format!("21 5820 {ED25519_X}");
    let (px, py) = (format!("21 5820 {P256_X}"), format!("22 5820 {P256_Y}"));
    assert!(with_key(&format!("a3 01 01 20 06 {x}")).is_ok());
    assert!(with_key(&format!("a4 01 02 20 01 {px} {py}")).is_ok());
    for incomplete in [
        format!("a2 20 06 {x}"),        // no type
        format!("a2 01 01 {x}"),        // no curve
        String::from("a2 01 01 20 06"), // no x
        format!("a3 01 02 20 01 {px}"), // no y
        format!("a3 01 02 20 01 {py}"), // no x
        format!("a3 01 02 20 06 {x}"),  // type of the other kind
        format!("a4 01 01 20 01 {px} {py}"),
        format!("a4 01 01 20 06 {x} {py}"), // one coordinate too many
        format!("a3 01 01 20 01 {px}"),
        format!("a3 01 05 20 06 {x}"),        // unknown type
        format!("a3 01 63 4f4b50 20 06 {x}"), // as text
        format!("a3 01 01 20 06 21 7820 {}", "61".repeat(32)), // x as text
    ] {
        assert_eq!(with_key(&incomplete), Err(KeyIncomplete), "{incomplete}");
    }
    assert_eq!(import("a0"), Err(NoKey));
    assert_eq!(import("a1 02 61 61"), Err(NoKey));
    assert_eq!(import("a1 08 a0"), Err(NoKey));
    assert_eq!(
        import("a1 08 a1 03 42 0102"),
        Err(NoKey),
        "a key named by its kid only"
    );
}

#[test]
fn the_algorithm_of_a_key_must_fit_its_curve() {
    let ed =
        |alg: &str| with_key(&format!("a4 01 01 03 {alg} 20 06 21 5820 {ED25519_X}")).map(|_| ());
    let x =
        |alg: &str| with_key(&format!("a4 01 01 03 {alg} 20 04 21 5820 {X25519_X}")).map(|_| ());
    let p = |alg: &str| {
        with_key(&format!(
            "a5 01 02 03 {alg} 20 01 21 5820 {P256_X} 22 5820 {P256_Y}"
        ))
        .map(|_| ())
    };
    // EdDSA, Ed25519, ES256, ESP256, ECDH-SS + HKDF-256, ES384
    let algorithms = ["27", "32", "26", "28", "38 1a", "38 22"];
    let yes = Ok(());
    let no = Err(KeyIncomplete);
    assert_eq!(algorithms.map(ed), [yes, yes, no, no, no, no]);
    assert_eq!(algorithms.map(x), [no, no, no, no, yes, no]);
    assert_eq!(algorithms.map(p), [no, no, yes, yes, yes, no]);
    // the key agreements are -25 to -34
    assert_eq!(["37", "38 18", "38 21", "38 22"].map(x), [no, yes, yes, no]);
}

#[test]
fn bad_keys_are_refused_for_their_own_reason() {
    let identity = format!("01{}", "00".repeat(31));
    assert_eq!(
        with_key(&format!("a3 01 01 20 06 21 5820 {identity}")),
        Err(Key(KeyRefused::SmallOrder))
    );
    assert_eq!(
        with_key(&format!("a3 01 01 20 06 21 581f {}", &ED25519_X[2..])),
        Err(Key(KeyRefused::Length))
    );
    let off = format!("a4 01 02 20 01 21 5820 {P256_X} 22 5820 {P256_X}");
    assert_eq!(with_key(&off), Err(Key(KeyRefused::NotOnCurve)));
    let curve = |crv: &str| with_key(&format!("a3 01 01 20 {crv} 21 5820 {ED25519_X}"));
    assert_eq!(curve("07"), Err(Key(KeyRefused::Unsupported)), "Ed448");
    assert_eq!(curve("1b ffffffffffffffff"), Err(KeyIncomplete));
    // a compressed point: the sign of y decides
    let odd = hex(P256_Y)[31] & 1 == 1;
    let compressed =
        |sign: &str| with_key(&format!("a4 01 02 20 01 21 5820 {P256_X} 22 {sign}")).unwrap();
    let full = import(&p256_ccs()).unwrap();
    assert_eq!(compressed("f5").public_key() == full.public_key(), odd);
    assert_eq!(compressed("f4").public_key() == full.public_key(), !odd);
}

#[test]
fn secret_keys_are_refused() {
    let secret = format!("a4 01 01 20 06 21 5820 {ED25519_X} 23 5820 {ED25519_X}");
    assert_eq!(with_key(&secret), Err(SecretInside));
    assert_eq!(
        with_key("a2 01 04 20 41 00"),
        Err(SecretInside),
        "a symmetric key"
    );
}

#[test]
fn what_is_no_ccs_is_malformed() {
    let good = ed25519_ccs();
    for bad in [
        String::new(),
        format!("{good} 00"),
        String::from("f6"),
        String::from("40"),
        String::from("a1 08 01"),
        String::from("a1 08 a1 01 01"),
        String::from("a1 02 01"),      // the subject is text
        String::from("a1 02 62 c328"), // which this is not
        format!("a3 02 61 61 02 61 61 {}", &good.split_at(25).1),
        format!("a2 08 a1 01 a0 08 a1 01 a3 01 01 20 06 21 5820 {ED25519_X}"),
        format!("a1 08 a2 01 a0 01 a3 01 01 20 06 21 5820 {ED25519_X}"),
        format!("a1 08 a1 01 a4 01 01 20 06 20 06 21 5820 {ED25519_X}"),
        String::from("a1 ff"),
        String::from("a1 08"),
        String::from("bf 08"),
        String::from("a1 18 18 ff"),
    ] {
        assert_eq!(import(&bad), Err(Malformed), "{bad}");
    }
    let bytes = hex(&good);
    for len in 0..bytes.len() {
        assert!(
            Credential::import(CredentialFormat::Ccs, &bytes[..len]).is_err(),
            "{len}"
        );
    }
}

#[test]
fn size_and_depth_are_bounded() {
    let nested = |arrays: usize| {
        let claim = format!("0a {} 00", "81".repeat(arrays));
        import(&format!(
            "a2 {claim} 08 a1 01 a3 01 01 20 06 21 5820 {ED25519_X}"
        ))
        .map(|_| ())
    };
    assert_eq!(nested(15), Ok(()));
    assert_eq!(nested(16), Err(TooLarge));
    assert_eq!(nested(4000), Err(TooLarge));
    let in_key = |arrays: usize| {
        with_key(&format!(
            "a4 01 01 20 06 0a {} 00 21 5820 {ED25519_X}",
            "81".repeat(arrays)
        ))
        .map(|_| ())
    };
    assert_eq!((in_key(13), in_key(14)), (Ok(()), Err(TooLarge)));
    let beside_key = |arrays: usize| {
        let other = format!("0a {} 00", "81".repeat(arrays));
        import(&format!(
            "a1 08 a2 {other} 01 a3 01 01 20 06 21 5820 {ED25519_X}"
        ))
        .map(|_| ())
    };
    assert_eq!((beside_key(14), beside_key(15)), (Ok(()), Err(TooLarge)));
    // Maps and tags count like arrays.
    let of = |one: &str, count: usize| {
        let claim = format!("0a {} 00", one.repeat(count));
        import(&format!(
            "a2 {claim} 08 a1 01 a3 01 01 20 06 21 5820 {ED25519_X}"
        ))
        .map(|_| ())
    };
    for one in ["a1 00", "c1"] {
        assert_eq!((of(one, 15), of(one, 16)), (Ok(()), Err(TooLarge)), "{one}");
    }
    let tags =
        |count: usize| import(&format!("{} {}", "d8 3d".repeat(count), x25519_ccs())).map(|_| ());
    assert_eq!((tags(15), tags(16)), (Ok(()), Err(TooLarge)));
    let padded = |len: usize| {
        let empty = hex(&x25519_ccs()).len() + 4;
        let padding = format!("{:04x}{}", len - empty, "00".repeat(len - empty));
        let text = x25519_ccs().replacen("a1", &format!("a2 0a 59 {padding}"), 1);
        assert_eq!(hex(&text).len(), len);
        import(&text).map(|_| ())
    };
    assert_eq!(
        (padded(Credential::MAX_LEN), padded(Credential::MAX_LEN + 1)),
        (Ok(()), Err(TooLarge))
    );
}

// Covers: GO-2.4-01
#[test]
fn a_credential_in_another_format_is_refused() {
    // certificates, tokens and raw keys in a group with CCSs
    let certificate = include_bytes!("tests/ed25519.der");
    assert_eq!(
        Credential::import(CredentialFormat::Ccs, certificate),
        Err(Malformed)
    );
    assert_eq!(
        import(&format!("84 40 a0 58 36 {} 40", "00".repeat(54))),
        Err(Malformed)
    );
    assert_eq!(
        Credential::import(CredentialFormat::Ccs, &hex(ED25519_X)),
        Err(Malformed)
    );
    #[cfg(feature = "x509")]
    assert!(Credential::import(CredentialFormat::X509, &hex(&ed25519_ccs())).is_err());
    #[cfg(feature = "cwt")]
    assert!(Credential::import(CredentialFormat::Cwt, &hex(&ed25519_ccs())).is_err());
}

// Covers: GO-2.4-04, GO-2.4-08
#[test]
fn a_key_must_be_of_the_kind_that_the_group_needs() {
    let keys = [ed25519_ccs(), x25519_ccs(), p256_ccs()].map(|ccs| import(&ccs).unwrap());
    let usable = |suite: Suite| {
        keys.each_ref()
            .map(|key| key.check_usable(&suite) == Ok(()))
    };
    assert_eq!(
        usable(group_only(SignatureAlgorithm::EdDsa)),
        [true, false, false]
    );
    assert_eq!(
        usable(group_only(SignatureAlgorithm::Es256)),
        [false, false, true]
    );
    assert_eq!(
        usable(group_only(SignatureAlgorithm::Es384)),
        [false, false, false]
    );
    assert_eq!(
        usable(both_modes(SignatureAlgorithm::EdDsa)),
        [true, false, false]
    );
    assert_eq!(
        usable(both_modes(SignatureAlgorithm::Es256)),
        [false, false, true]
    );
    assert_eq!(usable(pairwise_only()), [false, true, true]);
    let refused = keys[1].check_usable(&group_only(SignatureAlgorithm::EdDsa));
    assert_eq!(refused, Err(WrongAlgorithm));
}

#[test]
fn signing_and_agreeing_are_told_apart() {
    let keys = [ed25519_ccs(), x25519_ccs(), p256_ccs()].map(|ccs| import(&ccs).unwrap());
    let signing = |suite: Suite| keys.each_ref().map(|key| key.usable_for_signing(&suite));
    let agreeing = |suite: Suite| keys.each_ref().map(|key| key.usable_for_agreement(&suite));
    assert_eq!(
        signing(both_modes(SignatureAlgorithm::EdDsa)),
        [true, false, false]
    );
    assert_eq!(
        agreeing(both_modes(SignatureAlgorithm::EdDsa)),
        [true, false, false]
    );
    assert_eq!(
        signing(both_modes(SignatureAlgorithm::Es256)),
        [false, false, true]
    );
    assert_eq!(
        agreeing(both_modes(SignatureAlgorithm::Es256)),
        [false, false, true]
    );
    assert_eq!(
        signing(group_only(SignatureAlgorithm::EdDsa)),
        [true, false, false]
    );
    assert_eq!(
        agreeing(group_only(SignatureAlgorithm::EdDsa)),
        [false, false, false]
    );
    assert_eq!(
        agreeing(group_only(SignatureAlgorithm::Es256)),
        [false, false, false]
    );
    assert_eq!(signing(pairwise_only()), [false, false, false]);
    assert_eq!(agreeing(pairwise_only()), [false, true, true]);
}

#[test]
fn a_ccs_is_built_as_others_build_it() {
    let ed25519 = import(&ed25519_ccs()).unwrap();
    assert_eq!(
        Credential::build_ccs("client", ed25519.public_key()),
        hex(&ed25519_ccs())
    );
    let p256 = import(&p256_ccs()).unwrap();
    assert_eq!(
        Credential::build_ccs("client", p256.public_key()),
        hex(&p256_ccs())
    );
    let x25519 = import(&x25519_ccs()).unwrap();
    assert_eq!(
        Credential::build_ccs("", x25519.public_key()),
        hex(&x25519_ccs())
    );
    let long = "a name of more than twenty-three bytes: é";
    let built = Credential::build_ccs(long, ed25519.public_key());
    let read = Credential::import(CredentialFormat::Ccs, &built).unwrap();
    assert_eq!(
        (read.subject(), read.public_key()),
        (Some(long), ed25519.public_key())
    );
}

#[test]
fn every_refusal_has_words() {
    for refused in [
        FormatUnavailable,
        TooLarge,
        Malformed,
        NoKey,
        KeyIncomplete,
        SecretInside,
        CredentialRefused::NoEndEntity,
        Key(KeyRefused::SmallOrder),
        WrongAlgorithm,
    ] {
        assert!(format!("{refused}").len() > 10);
    }
    assert_eq!(
        format!("{}", Key(KeyRefused::SmallOrder)),
        format!("{}", KeyRefused::SmallOrder)
    );
    assert!(format!("{:?}", import(&ed25519_ccs()).unwrap()).contains("client"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for format in CredentialFormat::ALL {
            let _ = Credential::import(format, &bytes);
        }
    }

    #[test]
    fn damaged_credentials_neither_panic_nor_change(at in 0..60_usize, with in any::<u8>(), indefinite in any::<bool>()) {
        let text = if indefinite {
            format!("bf 02 61 61 08 bf 01 bf 01 01 20 06 21 5820 {ED25519_X} ff ff ff")
        } else {
            ed25519_ccs()
        };
        let mut bytes = hex(&text);
        let len = bytes.len();
        bytes[at % len] = with;
        if let Ok(credential) = Credential::import(CredentialFormat::Ccs, &bytes) {
            prop_assert!(bytes.ends_with(credential.bytes()));
        }
    }
}

#[test]
fn an_entry_of_another_type_is_passed_over() {
    // the algorithm as text; where it is known as a number it must fit
    let named = format!("a4 01 01 03 65 4564445341 20 06 21 5820 {ED25519_X}");
    let key = with_key(&named).map(|credential| credential.public_key().clone());
    assert_eq!(
        key,
        Ok(PublicKey::okp(Curve::Ed25519, &hex(ED25519_X)).unwrap())
    );
    // y as text, or as the number 1, is no y
    for y in ["61 61", "01"] {
        let key = format!("a4 01 02 20 01 21 5820 {P256_X} 22 {y}");
        assert_eq!(with_key(&key), Err(KeyIncomplete), "{y}");
    }
}

#[test]
fn the_fully_specified_algorithms_of_the_larger_curves_fit_them() {
    // ES384 and ESP384, ES512 and ESP512; all have the form 38 xx
    let curves = [(Curve::P384, 0x22, 0x32), (Curve::P521, 0x23, 0x33)];
    for (curve, old, full) in curves.into_iter().filter(|(curve, ..)| curve.supported()) {
        let key = crate::crypto::SoftwareKey::generate(curve, &[7; 64]).unwrap();
        let public = crate::crypto::PrivateKey::public(&key);
        let built = Credential::build_ccs("", &public);
        let at = built
            .windows(3)
            .position(|it| it == [3, 0x38, old])
            .unwrap();
        for (algorithm, fits) in [
            (old, true),
            (full, true),
            (0x22 + 0x23 - old, false),
            (0x31, false),
        ] {
            let mut bytes = built.clone();
            bytes[at + 2] = algorithm;
            let read = Credential::import(CredentialFormat::Ccs, &bytes);
            let expected = fits.then_some(&public).ok_or(KeyIncomplete);
            let read = read.as_ref().map(Credential::public_key).map_err(|it| *it);
            assert_eq!(read, expected, "{curve:?} {algorithm:#x}");
        }
    }
}
