use crate::crypto::cipher::{counter_allows, initial_counter};
use crate::crypto::{AeadKey, CryptoError, GroupKey, hkdf};
use crate::nonce::{PartialIv, nonce};
use crate::suite::{Aead, GroupEncryption, Hkdf};
use crate::test_vectors::{self as vectors, bytes, hex};
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;
use zeroize::ZeroizeOnDrop;

const CTR: [GroupEncryption; 3] = [
    GroupEncryption::A128Ctr,
    GroupEncryption::A192Ctr,
    GroupEncryption::A256Ctr,
];

fn all() -> impl Iterator<Item = GroupEncryption> {
    Aead::ALL
        .iter()
        .copied()
        .map(GroupEncryption::Aead)
        .chain(CTR)
}

fn key(algorithm: GroupEncryption) -> GroupKey {
    GroupKey::new(algorithm, &[0x42; 32][..algorithm.key_len()]).unwrap()
}

#[test]
fn every_algorithm_opens_what_it_sealed_and_nothing_else() {
    for algorithm in all() {
        let (key, nonce) = (key(algorithm), vec![7; algorithm.nonce_len()]);
        assert_eq!(key.algorithm(), algorithm);
        for len in [0, 1, 15, 16, 17, 100] {
            let message: Vec<u8> = (0..len).collect();
            let mut sealed = message.clone();
            key.seal(&nonce, b"aad", &mut sealed).unwrap();
            assert_eq!(
                sealed.len(),
                message.len() + algorithm.tag_len(),
                "{algorithm:?}"
            );
            let mut opened = sealed.clone();
            key.open(&nonce, b"aad", &mut opened).unwrap();
            assert_eq!(opened, message, "{algorithm:?}");
            if algorithm.tag_len() == 0 {
                continue;
            }
            let refused = |aad: &[u8], nonce: &[u8], mut sealed: Vec<u8>| {
                let opened = key.open(nonce, aad, &mut sealed);
                (opened, sealed.is_empty())
            };
            let not_authentic = (Err(CryptoError::NotAuthentic), true);
            for bit in 0..sealed.len() * 8 {
                let mut flipped = sealed.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(
                    refused(b"aad", &nonce, flipped),
                    not_authentic,
                    "{algorithm:?} {bit}"
                );
            }
            assert_eq!(refused(b"aae", &nonce, sealed.clone()), not_authentic);
            assert_eq!(refused(b"", &nonce, sealed.clone()), not_authentic);
            let mut other = nonce.clone();
            other[0] ^= 1;
            assert_eq!(refused(b"aad", &other, sealed.clone()), not_authentic);
            for short in 0..sealed.len() {
                assert_eq!(
                    refused(b"aad", &nonce, sealed[..short].to_vec()),
                    not_authentic,
                    "{algorithm:?} {short}"
                );
            }
        }
    }
}

#[test]
fn what_stands_before_the_message_stays() {
    for algorithm in all() {
        let (key, nonce) = (key(algorithm), vec![7; algorithm.nonce_len()]);
        let mut alone = b"message".to_vec();
        key.seal(&nonce, b"aad", &mut alone).unwrap();
        let mut behind = b"head message"[..].to_vec();
        key.seal_from(&nonce, b"aad", &mut behind, 5).unwrap();
        assert_eq!(behind, [b"head ", &alone[..]].concat());
        key.open_from(&nonce, b"aad", &mut behind, 5).unwrap();
        assert_eq!(behind, b"head message");
        // a failure leaves neither ciphertext nor anything decrypted
        let mut refused = [b"head ", &alone[..]].concat();
        let wrong = &[7; 20][..algorithm.nonce_len() + 1];
        assert_eq!(
            key.open_from(wrong, b"aad", &mut refused, 5),
            Err(CryptoError::Length)
        );
        assert_eq!(refused, b"head ");
        assert_eq!(
            key.seal_from(wrong, b"aad", &mut refused, 5),
            Err(CryptoError::Length)
        );
        assert_eq!(
            key.seal_from(&nonce, b"aad", &mut refused, 6),
            Err(CryptoError::Length)
        );
        assert!(key.open_from(&nonce, b"aad", &mut refused, 6).is_err());
        assert_eq!(refused, b"head ");
    }
}

#[test]
fn keys_of_other_lengths_are_refused() {
    for algorithm in all() {
        for len in [0, 15, 16, 17, 24, 31, 32, 33, 64] {
            let made = GroupKey::new(algorithm, &vec![1; len]);
            assert_eq!(
                made.is_ok(),
                len == algorithm.key_len(),
                "{algorithm:?} {len}"
            );
            if let GroupEncryption::Aead(aead) = algorithm {
                assert_eq!(
                    AeadKey::new(aead, &vec![1; len]).is_ok(),
                    len == aead.key_len()
                );
            }
        }
    }
}

#[test]
fn ccm_with_nonces_of_13_bytes_ends_at_65_535_bytes() {
    let key = AeadKey::new(Aead::AesCcm16_64_128, &[1; 16]).unwrap();
    let mut message = vec![0; 65_535];
    key.seal(&[0; 13], b"", &mut message).unwrap();
    key.open(&[0; 13], b"", &mut message).unwrap();
    assert_eq!(message.len(), 65_535);
    message.push(0);
    assert_eq!(
        key.seal(&[0; 13], b"", &mut message),
        Err(CryptoError::Length)
    );
    assert_eq!(message, b"");
    let key = AeadKey::new(Aead::AesCcm64_64_128, &[1; 16]).unwrap();
    assert_eq!(key.seal(&[0; 7], b"", &mut vec![0; 70_000]), Ok(()));
}

// Covers: GO-2.1.7-05, GO-2.1.7-06
#[test]
fn the_counter_block_is_the_nonce_and_four_zeros() {
    let file = vectors::derived();
    let message = &file["ctr"]["group_request"];
    let common_iv = bytes(&file["ctr"], "common_iv");
    let made = nonce(12, &hex("25"), PartialIv::new(5).unwrap(), &common_iv).unwrap();
    assert_eq!(
        (made.as_bytes().len(), made.as_bytes()),
        (12, &*bytes(message, "nonce"))
    );
    let key = bytes(&file["ctr"], "client_sender_key");
    let group_key = GroupKey::new(GroupEncryption::A128Ctr, &key).unwrap();
    let mut sealed = bytes(message, "plaintext");
    group_key.seal(made.as_bytes(), b"", &mut sealed).unwrap();
    assert_eq!(sealed, bytes(message, "ciphertext"));
    let other = nonce(12, &hex("25"), PartialIv::new(6).unwrap(), &common_iv).unwrap();
    let mut sealed = bytes(message, "plaintext");
    group_key.seal(other.as_bytes(), b"", &mut sealed).unwrap();
    assert_ne!(sealed, bytes(message, "ciphertext"));
    // the cipher alone, on the nonce with block counters 0, 1 and 2
    let cipher = aes::Aes128::new_from_slice(&key).unwrap();
    let mut expected = Vec::new();
    for counter in 0..3_u32 {
        let block: [u8; 16] = [made.as_bytes(), &counter.to_be_bytes()]
            .concat()
            .try_into()
            .unwrap();
        let mut block = block.into();
        cipher.encrypt_block(&mut block);
        expected.extend_from_slice(&block);
    }
    let mut stream = vec![0; 48];
    group_key.seal(made.as_bytes(), b"", &mut stream).unwrap();
    assert_eq!(stream, expected);
    assert_eq!(initial_counter(made.as_bytes()).unwrap()[12..], [0; 4]);
}

// Covers: GO-2.1.7-07
#[test]
fn counter_mode_ends_at_2_to_the_36_bytes() {
    assert!(
        counter_allows(0)
            && counter_allows(1)
            && counter_allows((1 << 36) - 1)
            && counter_allows(1 << 36)
    );
    assert!(
        !counter_allows((1 << 36) + 1) && !counter_allows(1 << 37) && !counter_allows(u64::MAX)
    );
}

proptest! {
    // Covers: GO-2.1.7-03
    #[test]
    fn no_two_counter_blocks_of_one_key_coincide(
        a in (prop::collection::vec(any::<u8>(), 0..=6), 0..1_u64 << 40, 0..1_u64 << 36),
        b in (prop::collection::vec(any::<u8>(), 0..=6), 0..1_u64 << 40, 0..1_u64 << 36),
        common_iv in prop::array::uniform13(any::<u8>()),
    ) {
        // the block at an offset: the initial one, plus the number of blocks before it
        let block = |(id, number, offset): &(Vec<u8>, u64, u64)| {
            assert!(counter_allows(*offset));
            let nonce = nonce(12, id, PartialIv::new(*number).unwrap(), &common_iv).unwrap();
            let initial = u128::from_be_bytes(initial_counter(nonce.as_bytes()).unwrap());
            (initial + u128::from(offset / 16)).to_be_bytes()
        };
        let same_block = |a: &(Vec<u8>, u64, u64), b: &(Vec<u8>, u64, u64)| (&a.0, a.1, a.2 / 16) == (&b.0, b.1, b.2 / 16);
        prop_assert_eq!(block(&a) == block(&b), same_block(&a, &b));
        // the last block of one message, the first of the next
        let last = (a.0.clone(), a.1, (1 << 36) - 1);
        let next = (a.0.clone(), (a.1 + 1) % (1 << 40), 0);
        prop_assert_ne!(block(&last), block(&next));
        let before = (a.0.clone(), a.1, 0);
        prop_assert_ne!(block(&last), block(&before));
    }
}

// Covers: GO-10-04
#[test]
fn no_additional_data_reaches_a_cipher_without_integrity() {
    for algorithm in all() {
        let (key, nonce) = (key(algorithm), vec![7; algorithm.nonce_len()]);
        let sealed = |aad: &[u8]| {
            let mut message = b"a message of some length".to_vec();
            key.seal(&nonce, aad, &mut message).unwrap();
            message
        };
        let reaches = sealed(b"one") != sealed(b"two");
        assert_eq!(reaches, !CTR.contains(&algorithm), "{algorithm:?}");
        let mut opened = sealed(b"one");
        assert_eq!(
            key.open(&nonce, b"two", &mut opened).is_ok(),
            CTR.contains(&algorithm),
            "{algorithm:?}"
        );
    }
}

// Covers: GO-10-01
#[test]
fn the_vectors_of_rfc_5869() {
    let derive = |salt: &str, ikm: &[&[u8]], info: &str, len| {
        let mut out = vec![0; len];
        hkdf(Hkdf::Sha256, &hex(salt), ikm, &hex(info), &mut out).map(|()| out)
    };
    let (salt, info) = ("000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9");
    let first =
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
    assert_eq!(derive(salt, &[&[0x0b; 22]], info, 42), Ok(hex(first)));
    assert_eq!(
        derive(salt, &[&[0x0b; 10], &[], &[0x0b; 12]], info, 42),
        Ok(hex(first))
    );
    let third =
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8";
    assert_eq!(derive("", &[&[0x0b; 22]], "", 42), Ok(hex(third)));
    assert_ne!(
        derive(salt, &[&[0x0b; 22]], "f0f1f2f3f4f5f6f7f8fa", 42),
        Ok(hex(first))
    );
    let counted = |from: u8, to: u8| (from..=to).collect::<Vec<u8>>();
    let mut out = vec![0; 82];
    let (salt, info) = (counted(0x60, 0xaf), counted(0xb0, 0xff));
    hkdf(
        Hkdf::Sha256,
        &salt,
        &[&counted(0x00, 0x4f)],
        &info,
        &mut out,
    )
    .unwrap();
    let second = "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09\
                  da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87";
    assert_eq!(out, hex(second));
    assert!(derive("", &[&[1]], "", 255 * 32).is_ok());
    assert_eq!(
        derive("", &[&[1]], "", 255 * 32 + 1),
        Err(CryptoError::Length)
    );
}

#[test]
fn keys_are_overwritten_and_not_shown() {
    fn overwritten<T: ZeroizeOnDrop>() {}
    // of which every schedule is made; CCM holds the cipher and nothing else
    overwritten::<aes::Aes128>();
    overwritten::<aes::Aes192>();
    overwritten::<aes::Aes256>();
    overwritten::<aes_gcm::Aes128Gcm>();
    overwritten::<chacha20poly1305::ChaCha20Poly1305>();
    overwritten::<ed25519_dalek::SigningKey>();
    overwritten::<x25519_dalek::StaticSecret>();
    overwritten::<p256::SecretKey>();
    for algorithm in all() {
        assert_eq!(
            format!("{:?}", key(algorithm)),
            match algorithm {
                GroupEncryption::Aead(aead) => {
                    let shown = format!("AeadKey({}, ..)", aead.name());
                    assert_eq!(
                        format!(
                            "{:?}",
                            AeadKey::new(aead, &[0x42; 32][..aead.key_len()]).unwrap()
                        ),
                        shown
                    );
                    format!("GroupKey({}, ..)", aead.name())
                }
                ctr => format!("GroupKey({}, ..)", ctr.name()),
            }
        );
    }
}
