use super::*;
use crate::crypto::{AeadKey, CryptoError};
use crate::replay::{ReplayWindow, WindowSize};
use crate::suite::Aead;
use crate::test_vectors::{self as vectors, bytes, hex, list, member, text};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

// Covers: GO-B-5.2-01
#[test]
fn partial_ivs_have_one_encoding() {
    for (number, encoded) in [
        (0, "00"),
        (1, "01"),
        (255, "ff"),
        (256, "0100"),
        (65_535, "ffff"),
        (65_536, "010000"),
        (0xff_ffff, "ffffff"),
        (0x100_0000, "01000000"),
        (0xffff_ffff, "ffffffff"),
        (0x1_0000_0000, "0100000000"),
        ((1 << 40) - 1, "ffffffffff"),
    ] {
        let piv = PartialIv::new(number).unwrap();
        assert_eq!(
            (piv.as_bytes(), piv.value()),
            (hex(encoded).as_slice(), number)
        );
        assert_eq!(PartialIv::from_wire(&hex(encoded)), Some(piv));
    }
    // leading zeros are malformed, so never another nonce
    for refused in [
        "",
        "0000",
        "0001",
        "00ff",
        "000100",
        "0000000001",
        "010000000000",
        "ffffffffffff",
    ] {
        assert_eq!(PartialIv::from_wire(&hex(refused)), None, "{refused}");
    }
}

/// The boundaries of sequence numbers: what fits, what follows, how they compare.
#[test]
fn threat_25_partial_ivs_beyond_the_boundaries_are_refused() {
    assert_eq!(PartialIv::new(1 << 40), None);
    assert_eq!(PartialIv::new(u64::MAX), None);
    assert_eq!(PartialIv::new((1 << 40) - 1), Some(PartialIv::MAX));
    assert_eq!(
        (PartialIv::MAX.value(), PartialIv::ZERO.value()),
        ((1 << 40) - 1, 0)
    );
    assert_eq!(PartialIv::default(), PartialIv::ZERO);
    for length in 0..=8 {
        let ones = vec![0xff; length];
        assert_eq!(
            PartialIv::from_wire(&ones).is_some(),
            (1..=5).contains(&length),
            "{length}"
        );
        let zero_before = [&[0][..], &ones].concat();
        assert_eq!(
            PartialIv::from_wire(&zero_before).is_some(),
            length == 0,
            "{length}"
        );
    }
    let mut numbers = [
        PartialIv::MAX,
        PartialIv::new(256).unwrap(),
        PartialIv::ZERO,
        PartialIv::new(255).unwrap(),
    ];
    numbers.sort();
    assert_eq!(
        numbers.iter().map(|piv| piv.value()).collect::<Vec<_>>(),
        [0, 255, 256, (1 << 40) - 1]
    );
    assert_eq!(format!("{:?}", PartialIv::MAX), "PartialIv(1099511627775)");

    // The control: a reader that takes what it gets.
    let lenient = |bytes: &[u8]| {
        let mut value = [0; 8];
        value[8 - bytes.len()..].copy_from_slice(bytes);
        PartialIv(value)
    };
    let nonce_of = |piv| nonce(13, b"\x40", piv, &[0x5a; 13]).unwrap();
    let five = PartialIv::new(5).unwrap();
    let mut window = ReplayWindow::valid(WindowSize::default());
    window.commit(five).unwrap();
    // What is too long has the nonce of a number that was received, and the window takes it for another one.
    for long in ["010000000005", "ff0000000005", "01000000000005"] {
        assert_eq!(PartialIv::from_wire(&hex(long)), None);
        let read = lenient(&hex(long));
        assert_eq!(nonce_of(read), nonce_of(five));
        assert_eq!(
            (window.check(five).is_ok(), window.check(read)),
            (false, Ok(()))
        );
    }
    // What is not minimal is the same number in bytes that its sender did not authenticate.
    for zeros in ["0005", "0000000005"] {
        assert_eq!(PartialIv::from_wire(&hex(zeros)), None);
        assert_eq!(lenient(&hex(zeros)), five);
        assert_ne!(hex(zeros), five.as_bytes());
    }
    // And a sender that counts on beyond the largest begins anew.
    let beyond = PartialIv((1_u64 << 40).to_be_bytes());
    assert_eq!(nonce_of(beyond), nonce_of(PartialIv::ZERO));
}

// Covers: GO-3.3-01
#[test]
fn of_a_longer_common_iv_the_leading_bytes_count() {
    let common_iv = hex("0102030405060708090a0b0c0d");
    let made =
        |len, id: &[u8]| nonce(len, id, PartialIv::new(0x1234).unwrap(), &common_iv).unwrap();
    // size | id | Partial IV
    let plain = hex("01520000001234");
    let expected: Vec<u8> = plain.iter().zip(&common_iv).map(|(a, b)| a ^ b).collect();
    assert_eq!(made(7, b"\x52").as_bytes(), expected);
    assert_eq!(made(7, b"\x52").as_bytes(), hex("00500304051433"));
    // size | zeros | id | Partial IV
    let plain = hex("02000000007e570000001234");
    let expected: Vec<u8> = plain.iter().zip(&common_iv).map(|(a, b)| a ^ b).collect();
    assert_eq!(made(12, b"\x7e\x57").as_bytes(), expected);
    assert_eq!(made(13, b"").as_bytes().len(), 13);
}

#[test]
fn the_published_nonces() {
    let published = vectors::published();
    let common_iv = bytes(&published["group"], "common_iv");
    let request = nonce(13, &hex("dc"), PartialIv::ZERO, &common_iv).unwrap();
    assert_eq!(request.as_bytes(), hex("46eb80969ab7389b084dd6f996"));
    let response = nonce(13, &hex("52"), PartialIv::ZERO, &common_iv).unwrap();
    assert_eq!(response.as_bytes(), hex("46eb80969ab73815084dd6f996"));
}

/// Whose identifier, and which Partial IV.
fn of_case(file: &vectors::Value, case: &vectors::Value) -> (Vec<u8>, PartialIv) {
    if case["own_piv"] == true {
        let option = bytes(case, "oscore_option");
        let len = usize::from(option[0] & 7);
        let id = bytes(member(file, text(case, "sender")), "sender_id");
        return (id, PartialIv::from_wire(&option[1..=len]).unwrap());
    }
    (
        bytes(case, "request_kid"),
        vectors::piv(case, "request_piv"),
    )
}

// Covers: GO-3.3-02
#[test]
fn each_mode_has_nonces_of_its_algorithm() {
    let mut lens = Vec::new();
    for file in vectors::groups() {
        let suite = vectors::suite(&file["group"]);
        let common_iv = bytes(&file["group"], "common_iv");
        for case in list(&file, "cases") {
            let (mode, other) = match text(case, "mode") {
                "group" => (
                    suite.group_encryption().unwrap().nonce_len(),
                    suite.aead().unwrap().nonce_len(),
                ),
                _ => (
                    suite.aead().unwrap().nonce_len(),
                    suite.group_encryption().unwrap().nonce_len(),
                ),
            };
            let (id, piv) = of_case(&file, case);
            let made = nonce(mode, &id, piv, &common_iv).unwrap();
            assert_eq!(
                made.as_bytes(),
                bytes(case, "nonce"),
                "{}",
                vectors::label(&file, case)
            );
            lens.push((mode, other));
        }
    }
    assert!(lens.contains(&(12, 13)) && lens.contains(&(13, 12)) && lens.contains(&(13, 13)));
    // nonces of 7 bytes
    for vector in list(&vectors::oscore_single(), "vectors") {
        let aead = Aead::from_id(vector["alg_value"].as_i64().unwrap() as i32).unwrap();
        let common_iv = bytes(vector, "common_iv");
        let case = &list(vector, "cases")[0];
        let made = nonce(
            aead.nonce_len(),
            &bytes(case, "request_kid"),
            vectors::piv(case, "request_piv"),
            &common_iv,
        );
        assert_eq!(made.unwrap().as_bytes(), bytes(case, "nonce"));
        lens.push((aead.nonce_len(), 0));
    }
    assert!(lens.contains(&(7, 0)));
    // the nonce of the other algorithm's length is no nonce
    for (aead, other) in [
        (Aead::AesCcm16_64_128, 12),
        (Aead::A128Gcm, 13),
        (Aead::AesCcm64_64_128, 13),
    ] {
        let key = AeadKey::new(aead, &[1; 16]).unwrap();
        let made = nonce(other, b"\x01", PartialIv::ZERO, &[9; 13]).unwrap();
        assert_eq!(
            key.seal(made.as_bytes(), b"", &mut vec![0]),
            Err(CryptoError::Length)
        );
        let cut = &made.as_bytes()[..aead.nonce_len().min(other)];
        if let Some(right) = nonce(aead.nonce_len(), b"\x01", PartialIv::ZERO, &[9; 13]) {
            assert_ne!(right.as_bytes(), cut);
        }
    }
}

#[test]
fn appendix_c_of_rfc_8613() {
    for vector in list(&vectors::appendix_c(), "vectors")
        .iter()
        .filter(|vector| vector["sender_key"].is_string())
    {
        let common_iv = bytes(vector, "common_iv");
        for (id, expected) in [
            ("sender_id", "sender_nonce_seq0"),
            ("recipient_id", "recipient_nonce_seq0"),
        ] {
            let made = nonce(13, &bytes(vector, id), PartialIv::ZERO, &common_iv).unwrap();
            assert_eq!(
                made.as_bytes(),
                bytes(vector, expected),
                "{}",
                text(vector, "appendix")
            );
        }
    }
}

#[test]
fn what_does_not_fit_has_no_nonce() {
    let made = |len, id: usize, iv: usize| {
        nonce(len, &[1; 16][..id], PartialIv::ZERO, &[0; 16][..iv]).is_some()
    };
    assert!(made(7, 1, 7) && made(12, 6, 12) && made(13, 7, 13) && made(13, 0, 13));
    assert!(!made(7, 2, 7) && !made(12, 7, 12) && !made(13, 8, 13));
    assert!(!made(7, 1, 6) && !made(13, 0, 12));
    assert!(!made(6, 0, 13) && !made(14, 0, 14) && !made(0, 0, 13));
    assert!(made(13, 0, 16));
}

proptest! {
    /// No two of a group's (identifier, sequence number) pairs share a nonce, whatever the Common IV.
    #[test]
    fn nonces_differ_when_identifier_or_number_does(
        a in (prop::collection::vec(any::<u8>(), 0..=6), 0..1_u64 << 40),
        b in (prop::collection::vec(any::<u8>(), 0..=6), 0..1_u64 << 40),
        common_iv in prop::array::uniform13(any::<u8>()),
    ) {
        let made = |(id, number): &(Vec<u8>, u64)| nonce(12, id, PartialIv::new(*number).unwrap(), &common_iv).unwrap();
        prop_assert_eq!(made(&a) == made(&b), a == b);
        let next = (a.0.clone(), (a.1 + 1) % (1 << 40));
        prop_assert_ne!(made(&a), made(&next));
        let longer = ([&[0][..], &a.0[..a.0.len().min(5)]].concat(), a.1);
        let shorter = (a.0[..a.0.len().min(5)].to_vec(), a.1);
        prop_assert_ne!(made(&longer), made(&shorter));
    }

    #[test]
    fn partial_ivs_survive_the_wire(number in 0..1_u64 << 40) {
        let piv = PartialIv::new(number).unwrap();
        prop_assert_eq!(PartialIv::from_wire(piv.as_bytes()), Some(piv));
        prop_assert_eq!(piv.value(), number);
    }
}

#[test]
fn a_nonce_that_is_shown_does_not_show_the_common_iv() {
    let piv = PartialIv::new(1).unwrap();
    let made = nonce(13, &[1], piv, &[0xa5; 13]).unwrap();
    assert_eq!(format!("{made:?}"), "Nonce(..)");
}
