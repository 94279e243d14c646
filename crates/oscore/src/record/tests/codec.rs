use proptest::prelude::*;

use super::RecordMalformed::{Malformed, Version};
use super::*;

#[test]
fn every_record_is_read_as_it_was_written() {
    for record in samples() {
        let bytes = record.encode();
        assert_eq!(Record::decode(&bytes), Ok(record));
    }
}

#[test]
fn records_have_these_bytes() {
    assert_eq!(Record::Running.encode().as_slice(), [0x81, 0x04]);
    assert_eq!(Record::Lost.encode().as_slice(), [0x81, 0x08]);
    assert_eq!(
        reserved(1, OWN, 1024).encode().as_slice(),
        [0x84, 0x03, 0x42, 0xDD, 1, 0x41, 0x25, 0x19, 4, 0]
    );
    assert_eq!(sender_id(1, OWN, 1024).encode()[..2], [0x84, 0x02]);
    assert_eq!(
        peer(1, PEER).encode().as_slice(),
        [0x84, 0x05, 0x42, 0xDD, 1, 0x41, 0x52, 0x41, 0xA2]
    );
    assert_eq!(
        deleted(1, PEER).encode().as_slice(),
        [0x83, 0x06, 0x42, 0xDD, 1, 0x41, 0x52]
    );
    assert_eq!(
        clean(1, OWN, 7, &[]).encode().as_slice(),
        [0x85, 0x07, 0x42, 0xDD, 1, 0x41, 0x25, 7, 0x80]
    );
    assert_eq!(
        Record::Left(Installations::default()).encode().as_slice(),
        [0x83, 0x09, 0xF6, 0x80]
    );
    assert_eq!(install(1, OWN, 0).encode()[..11], *b"\x8f\x00\x68draft-28");
    assert_eq!(paired(0).encode()[..10], *b"\x8b\x01\x67rfc8613");
}

#[test]
fn memory_with_keys_never_moves_while_it_is_written() {
    for record in samples() {
        let bytes = record.encode();
        let enough = super::super::codec::encode(&record).capacity();
        assert!(bytes.len() <= enough);
        // a vector that had grown would have doubled a smaller capacity
        assert_eq!(
            enough,
            super::super::codec::capacity_for(&record),
            "{record:?}"
        );
    }
}

#[test]
fn another_version_is_not_read() {
    for (record, version) in [(install(1, OWN, 0), VERSION), (paired(0), PAIR_VERSION)] {
        let mut bytes = record.encode().to_vec();
        let at = 3 + version.len() - 1;
        bytes[at] += 1;
        assert_eq!(Record::decode(&bytes), Err(Version));
    }
    assert_ne!(format!("{Version}"), format!("{Malformed}"));
}

#[test]
fn what_is_no_record_is_malformed() {
    for record in samples() {
        let bytes = record.encode();
        for len in 0..bytes.len().min(600) {
            assert_eq!(
                Record::decode(&bytes[..len]),
                Err(Malformed),
                "{record:?} cut to {len}"
            );
        }
        assert_eq!(Record::decode(&[&bytes[..], &[0]].concat()), Err(Malformed));
    }
    for bad in [
        &[][..],
        &[0x80],
        &[0x81, 0x0a],
        &[0x82, 0x04, 0x00],
        &[0x9f, 0x04, 0xff],
        &[0x04],
        &[0xf6],
        &[
            0x83, 0x09, 0xf6, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ],
    ] {
        assert_eq!(Record::decode(bad), Err(Malformed), "{bad:02x?}");
    }
}

#[test]
fn lengths_and_numbers_are_checked() {
    let reserved = |gid: usize, id: usize| {
        Record::decode(
            &Record::Reserved {
                gid: vec![0; gid],
                sender_id: vec![0; id],
                upto: 0,
            }
            .encode(),
        )
    };
    assert!(reserved(255, 7).is_ok());
    assert_eq!(reserved(256, 7), Err(Malformed));
    assert_eq!(reserved(255, 8), Err(Malformed));
    // algorithms that no suite has: AES-CBC as group encryption, and none at all
    let bytes = install(1, OWN, 0).encode().to_vec();
    let suite = bytes
        .windows(6)
        .position(|bytes| bytes == [0x85, 0x05, 0x18, 30, 0x18, 30])
        .unwrap();
    assert_eq!(
        bytes[suite..][..9],
        [0x85, 0x05, 0x18, 30, 0x18, 30, 0x27, 0x38, 26]
    );
    let with = |replaced: &[u8]| {
        Record::decode(&[&bytes[..suite], replaced, &bytes[suite + 9..]].concat())
    };
    assert!(with(&bytes[suite..][..9]).is_ok());
    assert_eq!(
        with(&[0x85, 0x05, 0x18, 30, 0x39, 0xff, 0xfa, 0x27, 0x38, 26]),
        Err(Malformed)
    );
    assert_eq!(with(&[0x85, 0x05, 0xf6, 0xf6, 0xf6, 0xf6]), Err(Malformed));
    assert_eq!(
        with(&[0x85, 0x06, 0x18, 30, 0x18, 30, 0x27, 0x38, 26]),
        Err(Malformed)
    );
    assert_eq!(
        with(&[0x84, 0x05, 0x18, 30, 0x18, 30, 0x27]),
        Err(Malformed)
    );
}

#[test]
fn secrets_are_absent_from_debug() {
    for record in samples() {
        let shown = format!("{record:?} {:?}", fold(core::slice::from_ref(&record)));
        for secret in ["165, 165", "a5a5", "A5A5", "master_secret"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        if let Ok(record) = Record::decode(&bytes) {
            prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
        }
    }

    #[test]
    fn damaged_records_neither_panic_nor_read_differently_twice(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
    ) {
        let mut bytes = which.get(&samples()).encode().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = with;
        if let Ok(record) = Record::decode(&bytes) {
            prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
        }
    }
}
