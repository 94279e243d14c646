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
fn the_memory_for_a_record_follows_from_what_is_in_it() {
    let memory = |record: Record| super::super::codec::capacity_for(&record);
    let (heads, secret) = (32 * 9, SECRET.len());
    let (any_gid, any_id) = (255, 7);
    let (name, manager, salt, credential) = (6, 1, 3, 1);
    let shared = heads + VERSION.len() + name + gid(1).len() + manager + secret + 1 + salt;
    assert_eq!(memory(silent(1)), shared);
    let alone = shared + OWN.len() + credential + secret;
    assert_eq!(memory(install(1, OWN, 0)), alone);
    for (stale, past) in [(1, 0), (0, 1), (2, 3)] {
        let each = Past {
            gid: gid(1),
            sender_id: vec![],
        };
        let record = Record::Installed(Box::new(Installed {
            peers: PeersKept::AllBut(vec![vec![]; stale]),
            past: vec![each.clone(); past],
            ..installed(1, OWN, 0)
        }));
        let of_past = past * (3 * 9 + any_gid + any_id);
        assert_eq!(memory(record), alone + stale * (9 + any_id) + of_past);
        let left = Installations {
            latest: None,
            past: vec![each; past],
        };
        assert_eq!(memory(Record::Left(left)), heads + any_gid + of_past);
    }
    let Record::Paired(pair) = paired(1) else {
        panic!("not a pair");
    };
    let pair = Record::Paired(Box::new(Paired {
        id_context: Some(vec![5; 10]),
        master_salt: vec![6; 20],
        ..*pair
    }));
    let ids = OWN.len() + PEER.len() + 10;
    assert_eq!(
        memory(pair),
        heads + PAIR_VERSION.len() + 4 + secret + 20 + ids
    );
    let named = heads + any_gid + any_id;
    assert_eq!(memory(peer(1, PEER)), named + 1);
    assert_eq!(memory(reserved(1, OWN, 1)), named);
    for count in [0, 1, 3] {
        let window = (OWN, ReplayWindow::invalid(WindowSize::default()));
        let record = clean(1, OWN, 1, &vec![window; count]);
        assert_eq!(memory(record), named + count * (4 * 9 + any_id + 16));
    }
}

#[test]
fn what_is_printed_of_a_record_says_whose_it_is() {
    let text = format!("{:?}", installed(3, OWN, 7));
    let begin = "Installed { name: \"lights\", generation: 3, gid: [221, 3], suite: Suite {";
    assert!(text.starts_with(begin), "{text}");
    let end = "own: Some(OwnMember { sender_id: [37], .. }), upto: 7, peers: Nobody, .. }";
    assert!(text.ends_with(end), "{text}");
    assert_eq!(
        format!("{:?}", paired(9)),
        "Paired(Paired { name: \"desk\", id_context: None, sender_id: [37], recipient_id: [82], upto: 9, .. })"
    );
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
