use std::string::String;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::super::*;

pub(super) fn plain() -> Announcement {
    Announcement::new(1_000, 64, [7; 32]).unwrap()
}

pub(super) fn complete() -> Announcement {
    plain()
        .with_list(4, [8; 32])
        .and_then(|it| it.with_name("light"))
        .and_then(|it| it.with_kind("X"))
        .and_then(|it| it.with_manifest(&[1, 2]))
        .and_then(|it| it.with_signature(&[3]))
        .unwrap()
        .with_version(300)
}

#[test]
fn the_encoding_is_the_documented_one() {
    let mut expected = vec![
        0xa3, 0x00, 0x19, 0x03, 0xe8, 0x01, 0x18, 0x40, 0x02, 0x58, 0x20,
    ];
    expected.extend([7; 32]);
    assert_eq!(plain().encode(), expected);
    expected[0] = 0xaa;
    expected.extend([0x03, 0x04, 0x04, 0x58, 0x20]);
    expected.extend([8; 32]);
    expected.extend(*b"\x05\x65light\x06\x61X\x07\x19\x01\x2c\x08\x42\x01\x02\x09\x41\x03");
    assert_eq!(complete().encode(), expected);
    expected.truncate(expected.len() - 3);
    expected[0] = 0xa9;
    assert_eq!(complete().signed_part(), expected);
    assert_eq!(Announcement::decode(&plain().encode()), Ok(plain()));
    assert_eq!(Announcement::decode(&complete().encode()), Ok(complete()));
}

#[test]
fn what_is_read_is_what_was_written() {
    let read = Announcement::decode(&complete().encode()).unwrap();
    assert_eq!((read.size(), read.block_size()), (1_000, 64));
    assert_eq!((read.digest(), read.span()), (&[7; 32], Some(4)));
    assert_eq!(read.list_digest(), Some(&[8; 32]));
    assert_eq!(
        (read.name(), read.kind(), read.version()),
        ("light", "X", 300)
    );
    assert_eq!(read.manifest(), Some([1, 2].as_slice()));
    assert_eq!(read.signature(), Some([3].as_slice()));
    let read = plain();
    assert_eq!((read.span(), read.list_digest()), (None, None));
    assert_eq!((read.name(), read.kind(), read.version()), ("", "", 0));
    assert_eq!((read.manifest(), read.signature()), (None, None));
}

#[test]
fn the_id_is_of_everything_but_the_signature() {
    // sha256sum of the encoding of `plain`
    assert_eq!(
        std::format!("{}", plain().id()),
        std::format!("{}", sha(&plain().encode()))
    );
    let signed = plain().with_signature(&[1; 64]).unwrap();
    assert_eq!(signed.id(), plain().id());
    assert_eq!(signed.id(), plain().with_signature(&[2; 64]).unwrap().id());
    let others = [
        Announcement::new(1_001, 64, [7; 32]).unwrap(),
        Announcement::new(1_000, 32, [7; 32]).unwrap(),
        Announcement::new(1_000, 64, [6; 32]).unwrap(),
        plain().with_version(1),
        plain().with_name("a").unwrap(),
        plain().with_kind("a").unwrap(),
        plain().with_list(4, [8; 32]).unwrap(),
        plain().with_list(4, [9; 32]).unwrap(),
        plain().with_manifest(&[0]).unwrap(),
    ];
    let mut ids: Vec<ImageId> = others.iter().map(Announcement::id).collect();
    ids.push(plain().id());
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), others.len() + 1);
}

fn sha(bytes: &[u8]) -> ImageId {
    use sha2::Digest as _;
    ImageId(sha2::Sha256::digest(bytes)[..8].try_into().unwrap())
}

#[test]
fn an_id_in_a_path_is_16_digits_in_lower_case() {
    let id = ImageId([0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
    assert_eq!(std::format!("{id}"), "0123456789abcdef");
    assert_eq!(std::format!("{id:?}"), "ImageId(0123456789abcdef)");
    assert_eq!(ImageId::from_hex(b"0123456789abcdef"), Some(id));
    for wrong in [
        "0123456789abcde",
        "0123456789abcdef0",
        "0123456789abcdeF",
        "0123456789abcdeg",
        "0123456789abcde`",
        "0123456789abcde/",
        "0123456789abcde:",
        "",
    ] {
        assert_eq!(ImageId::from_hex(wrong.as_bytes()), None, "{wrong}");
    }
}

#[test]
fn what_cannot_be_is_refused() {
    assert_eq!(
        Announcement::new(0, 64, [0; 32]),
        Err(AnnouncementError::Size)
    );
    for size in [0, 1, 8, 15, 17, 48, 1023, 2048, 32768] {
        assert_eq!(
            Announcement::new(1, size, [0; 32]),
            Err(AnnouncementError::BlockSize),
            "{size}"
        );
    }
    for size in [16, 32, 64, 128, 256, 512, 1024] {
        assert!(Announcement::new(1, size, [0; 32]).is_ok(), "{size}");
    }
    assert_eq!(plain().with_list(0, [0; 32]), Err(AnnouncementError::Span));
    let longest = "x".repeat(64);
    assert!(plain().with_name(&longest).is_ok() && plain().with_kind(&longest).is_ok());
    let longer = "x".repeat(65);
    assert_eq!(plain().with_name(&longer), Err(AnnouncementError::Text));
    assert_eq!(plain().with_kind(&longer), Err(AnnouncementError::Text));
    assert!(plain().with_manifest(&[0; 512]).is_ok() && plain().with_signature(&[0; 128]).is_ok());
    assert_eq!(
        plain().with_manifest(&[0; 513]),
        Err(AnnouncementError::Manifest)
    );
    assert_eq!(plain().with_manifest(&[]), Err(AnnouncementError::Manifest));
    assert_eq!(
        plain().with_signature(&[0; 129]),
        Err(AnnouncementError::Signature)
    );
    assert_eq!(
        plain().with_signature(&[]),
        Err(AnnouncementError::Signature)
    );
}

#[test]
fn the_longest_announcement_stays_within_the_limit() {
    let longest = Announcement::new(u32::MAX, 1024, [0; 32])
        .and_then(|it| it.with_list(u32::MAX, [0; 32]))
        .and_then(|it| it.with_name(&"n".repeat(64)))
        .and_then(|it| it.with_kind(&"k".repeat(64)))
        .and_then(|it| it.with_manifest(&[0; 512]))
        .and_then(|it| it.with_signature(&[0; 128]))
        .unwrap()
        .with_version(u64::MAX);
    let encoded = longest.encode();
    assert!(encoded.len() <= Announcement::MAX_LEN, "{}", encoded.len());
    assert_eq!(Announcement::decode(&encoded), Ok(longest));
}

#[test]
fn only_the_deterministic_encoding_is_read() {
    let good = plain().encode();
    let replaced = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).position(|it| it == from).unwrap();
        [&good[..at], to, &good[at + from.len()..]].concat()
    };
    let mut wrong = vec![
        replaced(&[0x19, 0x03, 0xe8], &[0x1a, 0x00, 0x00, 0x03, 0xe8]), // longer than necessary
        replaced(&[0xa3, 0x00], &[0xa3, 0x18, 0x00]),
        replaced(&[0x58, 0x20], &[0x59, 0x00, 0x20]),
        replaced(&[0xa3], &[0xb8, 0x03]),
        [&good[..], &[0]].concat(),                    // something follows
        [&[0xbf], &good[1..], &[0xff]].concat(),       // of indefinite length
        [&[0xa4], &good[1..], &[0x05, 0x60]].concat(), // an empty name
        [&[0xa4], &good[1..], &[0x07, 0x00]].concat(), // version 0
        [&[0xa4], &good[1..], &[0x0a, 0x00]].concat(), // an unknown key
        [&[0xa4], &good[1..], &[0x03, 0x04]].concat(), // a span without the digest of the list
        [&[0xa4], &good[1..], &[0x00, 0x01]].concat(), // a key twice
        [&[0xa2], &good[1..8]].concat(),               // no digest
        [&[0xa3], &good[4..]].concat(),
    ];
    let mut order = vec![0xa3, 0x01, 0x18, 0x40, 0x00, 0x19, 0x03, 0xe8];
    order.extend(&good[8..]);
    wrong.push(order);
    for wrong in wrong {
        assert_eq!(Announcement::decode(&wrong), Err(Malformed), "{wrong:02x?}");
    }
}

#[test]
fn the_content_is_the_list_and_then_the_image() {
    // 1,000 bytes in blocks of 64: 16 blocks, the last of 40 bytes; spans of 3 blocks: 6 digests, 192 bytes, 3 blocks
    let it = plain().with_list(3, [0; 32]).unwrap();
    assert_eq!((it.spans(), it.list_size(), it.list_blocks()), (6, 192, 3));
    assert_eq!(
        (it.image_blocks(), it.blocks(), it.content_size()),
        (16, 19, 1_192)
    );
    assert_eq!(
        (it.block_offset(0), it.block_length(0)),
        (Some(0), Some(64))
    );
    assert_eq!(
        (it.block_offset(2), it.block_length(2)),
        (Some(128), Some(64))
    );
    assert_eq!(
        (it.block_offset(3), it.block_length(3)),
        (Some(192), Some(64))
    );
    assert_eq!(
        (it.block_offset(18), it.block_length(18)),
        (Some(192 + 960), Some(40))
    );
    assert_eq!((it.block_offset(19), it.block_length(19)), (None, None));
    assert_eq!(
        (it.span_of(2), it.span_of(3), it.span_of(5)),
        (None, Some(0), Some(0))
    );
    assert_eq!(
        (it.span_of(6), it.span_of(18), it.span_of(19)),
        (Some(1), Some(5), None)
    );
    assert_eq!((it.span_blocks(0), it.span_blocks(5)), (3..6, 18..19));
    assert_eq!(it.span_blocks(6), 0..0);
    // spans of 4: 4 digests, 128 bytes, 2 blocks; of 5: 4 digests, too
    let shorter = Announcement::new(1_000, 128, [7; 32])
        .unwrap()
        .with_list(5, [0; 32])
        .unwrap();
    assert_eq!((shorter.spans(), shorter.list_blocks()), (2, 1));
    assert_eq!(
        shorter.block_length(0),
        Some(64),
        "the list is shorter than a block"
    );
    assert_eq!(shorter.block_offset(1), Some(64));
    // without a list
    assert_eq!(
        (plain().blocks(), plain().list_blocks(), plain().spans()),
        (16, 0, 0)
    );
    assert_eq!(
        (plain().block_offset(15), plain().block_length(15)),
        (Some(960), Some(40))
    );
    assert_eq!((plain().span_of(0), plain().span_blocks(0)), (None, 0..0));
}

fn any_announcement() -> impl Strategy<Value = Announcement> {
    let text = || "[a-zäß]{0,20}".prop_map(String::from);
    let bytes = |most| proptest::collection::vec(any::<u8>(), 0..=most);
    (
        (1..=u32::MAX, 4u32..=10, any::<[u8; 32]>()),
        proptest::option::of((1..=u32::MAX, any::<[u8; 32]>())),
        (text(), text(), any::<u64>()),
        (bytes(512), bytes(128)),
    )
        .prop_map(
            |((size, bits, digest), list, (name, kind, version), (manifest, signature))| {
                let mut it = Announcement::new(size, 1 << bits, digest)
                    .unwrap()
                    .with_version(version);
                it = it.with_name(&name).unwrap().with_kind(&kind).unwrap();
                if let Some((span, digest)) = list {
                    it = it.with_list(span, digest).unwrap();
                }
                if !manifest.is_empty() {
                    it = it.with_manifest(&manifest).unwrap();
                }
                if !signature.is_empty() {
                    it = it.with_signature(&signature).unwrap();
                }
                it
            },
        )
}

proptest! {
    #[test]
    fn every_announcement_reads_back(it in any_announcement()) {
        let encoded = it.encode();
        prop_assert!(encoded.len() <= Announcement::MAX_LEN);
        prop_assert_eq!(Announcement::decode(&encoded), Ok(it.clone()));
        for cut in 0..encoded.len() {
            prop_assert_eq!(Announcement::decode(&encoded[..cut]), Err(Malformed));
        }
        let notice = Notice::Announced(it);
        prop_assert_eq!(Notice::decode(&notice.encode()), Ok(notice));
    }

    #[test]
    fn blocks_cover_the_content_without_gap(
        size in 1u32..5_000, bits in 4u32..=10, span in proptest::option::of(1u32..40),
    ) {
        let mut it = Announcement::new(size, 1 << bits, [0; 32]).unwrap();
        if let Some(span) = span {
            it = it.with_list(span, [0; 32]).unwrap();
        }
        let mut at = 0;
        for block in 0..it.blocks() {
            prop_assert_eq!(it.block_offset(block), Some(at));
            at += it.block_length(block).unwrap() as u64;
            if let Some(span) = it.span_of(block) {
                prop_assert!(it.span_blocks(span).contains(&block));
            }
        }
        prop_assert_eq!(at, it.content_size());
        prop_assert_eq!(it.block_offset(it.blocks()), None);
        let spanned: u32 = (0..it.spans()).map(|span| it.span_blocks(span).len() as u32).sum();
        prop_assert_eq!(spanned, if span.is_some() { it.image_blocks() } else { 0 });
        prop_assert_eq!(it.list_size(), 32 * u64::from(it.spans()));
    }

    #[test]
    fn any_numbers_are_harmless(it in any_announcement(), block: u32, span: u32) {
        let place = (it.block_offset(block), it.block_length(block));
        prop_assert_eq!(place.0.is_some(), block < it.blocks());
        prop_assert_eq!(place.1.is_some(), block < it.blocks());
        prop_assert!(it.span_blocks(span).end <= it.blocks());
        prop_assert!(it.span_of(block).is_none_or(|span| span < it.spans()));
    }

    #[test]
    fn bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(read) = Announcement::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }
}
