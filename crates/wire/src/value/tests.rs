use alloc::format;

use super::*;

#[test]
fn an_integer_takes_as_few_bytes_as_it_can() {
    let cases: [(u32, &[u8]); 9] = [
        (0, b""),
        (1, b"\x01"),
        (255, b"\xff"),
        (256, b"\x01\0"),
        (65535, b"\xff\xff"),
        (65536, b"\x01\0\0"),
        (0x00ff_ffff, b"\xff\xff\xff"),
        (0x0100_0000, b"\x01\0\0\0"),
        (u32::MAX, b"\xff\xff\xff\xff"),
    ];
    for (value, bytes) in cases {
        assert_eq!(encode_uint(value).as_bytes(), bytes);
        assert_eq!(decode_uint(bytes), Some(value));
    }
}

#[test]
fn leading_zeros_are_accepted() {
    assert_eq!(decode_uint(b"\0"), Some(0));
    assert_eq!(decode_uint(b"\0\0\0\0\0\x01\x02"), Some(0x0102));
    assert_eq!(decode_uint(b"\0\xff\xff\xff\xff"), Some(u32::MAX));
    assert_eq!(decode_uint(b"\x01\0\0\0\0"), None);
    assert_eq!(decode_uint(b"\0\x01\0\0\0\0"), None);
}

#[test]
fn content_formats_have_names() {
    let registered = [
        (ContentFormat::TEXT, 0, "text/plain; charset=utf-8", "text"),
        (
            ContentFormat::COSE_SIGN1,
            18,
            "application/cose; cose-type=\"cose-sign1\"",
            "cose-sign1",
        ),
        (ContentFormat::ACE_CBOR, 19, "application/ace+cbor", "ace"),
        (
            ContentFormat::LINK_FORMAT,
            40,
            "application/link-format",
            "link-format",
        ),
        (ContentFormat::XML, 41, "application/xml", "xml"),
        (
            ContentFormat::OCTETS,
            42,
            "application/octet-stream",
            "octets",
        ),
        (ContentFormat::EXI, 47, "application/exi", "exi"),
        (ContentFormat::JSON, 50, "application/json", "json"),
        (
            ContentFormat::JSON_PATCH,
            51,
            "application/json-patch+json",
            "json-patch",
        ),
        (
            ContentFormat::MERGE_PATCH,
            52,
            "application/merge-patch+json",
            "merge-patch",
        ),
        (ContentFormat::CBOR, 60, "application/cbor", "cbor"),
        (ContentFormat::CWT, 61, "application/cwt", "cwt"),
        (
            ContentFormat::MULTIPART,
            62,
            "application/multipart-core",
            "multipart",
        ),
        (
            ContentFormat::CBOR_SEQ,
            63,
            "application/cbor-seq",
            "cbor-seq",
        ),
        (
            ContentFormat::COSE_KEY,
            101,
            "application/cose-key",
            "cose-key",
        ),
        (
            ContentFormat::SENML_JSON,
            110,
            "application/senml+json",
            "senml-json",
        ),
        (
            ContentFormat::SENML_CBOR,
            112,
            "application/senml+cbor",
            "senml-cbor",
        ),
        (
            ContentFormat::PROBLEM_DETAILS,
            257,
            "application/concise-problem-details+cbor",
            "problem-details",
        ),
        (
            ContentFormat::ACE_GROUPCOMM,
            261,
            "application/ace-groupcomm+cbor",
            "ace-groupcomm",
        ),
        (
            ContentFormat::SENML_ETCH_JSON,
            320,
            "application/senml-etch+json",
            "senml-etch-json",
        ),
        (
            ContentFormat::SENML_ETCH_CBOR,
            322,
            "application/senml-etch+cbor",
            "senml-etch-cbor",
        ),
    ];
    for (format, number, media_type, short) in registered {
        assert_eq!(format, ContentFormat(number));
        assert_eq!(format.name(), Some(media_type));
        assert_eq!(format!("{format}"), media_type);
        assert_eq!(
            ContentFormat::from_name(&media_type.to_uppercase()),
            Some(format)
        );
        assert_eq!(ContentFormat::from_name(short), Some(format));
        assert_eq!(ContentFormat::from_name(&format!("{number}")), Some(format));
    }
    assert_eq!(ContentFormat(9999).name(), None);
    assert_eq!(format!("{}", ContentFormat(9999)), "9999");
    assert_eq!(
        ContentFormat::from_name("65535"),
        Some(ContentFormat(65535))
    );
    for none in ["65536", "", "+1", "-1", "cborx", "application/"] {
        assert_eq!(ContentFormat::from_name(none), None, "{none}");
    }
}

#[test]
fn a_block_value_has_three_fields() {
    let block = BlockValue::decode(b"\x01\x2e").unwrap();
    assert_eq!((block.num(), block.more(), block.szx()), (18, true, 6));
    assert_eq!((block.size(), block.start()), (1024, 18 * 1024));
    assert_eq!(block.encode().as_bytes(), b"\x01\x2e");
    assert_eq!(
        BlockValue::decode(b"").unwrap(),
        BlockValue::new(0, false, 0).unwrap()
    );
    let last = BlockValue::decode(b"\x32").unwrap();
    assert_eq!((last.num(), last.more(), last.szx()), (3, false, 2));
    assert_eq!(
        BlockValue::new(0, false, 0).unwrap().encode().as_bytes(),
        b""
    );
    assert_eq!(
        BlockValue::new(3, false, 2).unwrap().encode().as_bytes(),
        b"\x32"
    );
    assert_eq!(
        BlockValue::new(3, true, 2).unwrap().encode().as_bytes(),
        b"\x3a"
    );
    assert_eq!(
        BlockValue::decode(b"\xff\xff\xfe").unwrap(),
        BlockValue::new(BlockValue::MAX_NUM, true, 6).unwrap()
    );
    for (szx, size) in [
        (0, 16),
        (1, 32),
        (2, 64),
        (3, 128),
        (4, 256),
        (5, 512),
        (6, 1024),
    ] {
        let block = BlockValue::new(5, false, szx).unwrap();
        assert_eq!((block.size(), block.start()), (size, 5 * size));
    }
}

#[test]
fn reserved_and_overlong_block_values_are_refused() {
    assert_eq!(BlockValue::decode(b"\x07"), None);
    assert_eq!(BlockValue::decode(b"\x0f"), None);
    assert_eq!(BlockValue::decode(b"\0\0\0\x01"), None);
    assert_eq!(BlockValue::new(0, false, 7), None);
    assert_eq!(BlockValue::MAX_NUM, 0xf_ffff);
    assert_eq!(BlockValue::new(BlockValue::MAX_NUM + 1, false, 0), None);
    assert!(BlockValue::new(BlockValue::MAX_NUM, false, 0).is_some());
}

#[test]
fn no_response_names_the_classes_that_are_not_wanted() {
    let all = [Class::Success, Class::ClientError, Class::ServerError];
    let suppressed = |value: NoResponse| all.map(|class| value.suppresses(class));
    assert_eq!(suppressed(NoResponse::NONE), [false, false, false]);
    assert_eq!(suppressed(NoResponse::SUCCESS), [true, false, false]);
    assert_eq!(suppressed(NoResponse::CLIENT_ERROR), [false, true, false]);
    assert_eq!(suppressed(NoResponse::SERVER_ERROR), [false, false, true]);
    assert_eq!(suppressed(NoResponse::ALL), [true, true, true]);
    assert_eq!(suppressed(NoResponse::new(!26)), [false, false, false]);
    assert_eq!(NoResponse::SUCCESS.bits(), 2);
    assert_eq!(NoResponse::CLIENT_ERROR.bits(), 8);
    assert_eq!(NoResponse::SERVER_ERROR.bits(), 16);
    assert_eq!(NoResponse::ALL.bits(), 26);
    assert_eq!(
        NoResponse::SUCCESS.union(NoResponse::new(0x18)),
        NoResponse::ALL
    );
    assert_eq!(NoResponse::ALL.union(NoResponse::SUCCESS), NoResponse::ALL);
    assert!(NoResponse::SUCCESS.suppresses_code(Code::CONTENT));
    assert!(!NoResponse::SUCCESS.suppresses_code(Code::NOT_FOUND));
    assert!(!NoResponse::ALL.suppresses_code(Code::GET));
}

#[test]
fn no_response_is_one_byte_or_none() {
    assert_eq!(NoResponse::decode(b""), Some(NoResponse::NONE));
    assert_eq!(NoResponse::decode(b"\x1a"), Some(NoResponse::ALL));
    assert_eq!(NoResponse::decode(b"\0\x1a"), None);
    assert_eq!(NoResponse::NONE.encode().as_bytes(), b"");
    assert_eq!(NoResponse::ALL.encode().as_bytes(), b"\x1a");
}
