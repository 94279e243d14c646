use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::*;

fn refused(bytes: &[u8]) -> (ParseErrorKind, usize) {
    let error = Message::parse(bytes).unwrap_err();
    (error.kind, error.offset)
}

fn pairs<'a>(message: &Message<'a>) -> Vec<(u16, &'a [u8])> {
    message
        .options()
        .map(|option| (option.number.0, option.value))
        .collect()
}

#[test]
fn a_message_is_read_field_by_field() {
    let bytes = b"\x52\x45\x7d\x41\xab\xcd\x41\x07\x81\x28\xffon";
    let message = Message::parse(bytes).unwrap();
    assert_eq!(message.kind(), Type::Non);
    assert_eq!(message.code(), Code::CONTENT);
    assert_eq!(message.message_id(), MessageId(0x7d41));
    assert_eq!(message.token().as_bytes(), b"\xab\xcd");
    assert_eq!(message.option(OptionNumber::ETAG), Some(&b"\x07"[..]));
    assert_eq!(message.option(OptionNumber::MAX_AGE), None);
    assert_eq!(message.uint(OptionNumber::CONTENT_FORMAT), Some(40));
    assert_eq!(message.uint(OptionNumber::MAX_AGE), None);
    assert_eq!(message.options().count(), 2);
    assert_eq!(message.payload(), b"on");
    assert_eq!(message.options_and_payload(), b"\x41\x07\x81\x28\xffon");
    assert_eq!(message.as_bytes(), bytes);
    assert_eq!(
        format!("{message:?}"),
        "Message { kind: Non, code: 2.05, message_id: 0x7d41, token: Token(abcd), \
         options: [ETag: [07], Content-Format: [28]], payload: [111, 110] }"
    );
}

#[test]
fn types_are_two_bits() {
    let kinds = [
        (0x40, Type::Con, "CON"),
        (0x50, Type::Non, "NON"),
        (0x60, Type::Ack, "ACK"),
        (0x70, Type::Rst, "RST"),
    ];
    for (first, kind, name) in kinds {
        assert_eq!(Message::parse(&[first, 1, 0, 0]).unwrap().kind(), kind);
        assert_eq!(
            Message::parse(&[first, 0, 0, 9]).unwrap().message_id(),
            MessageId(9)
        );
        assert_eq!(format!("{kind}"), name);
    }
}

#[test]
fn tokens_of_all_lengths_are_read() {
    for len in 0..=8 {
        let mut bytes = vec![0x40 | len as u8, 1, 0, 0];
        bytes.extend((0..len).map(|at| at as u8 + 0xf0));
        bytes.extend(b"\xb1a\xffx");
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.token().as_bytes(), &bytes[4..4 + len]);
        assert_eq!(pairs(&message), [(11, &b"a"[..])]);
        assert_eq!(message.options_and_payload(), b"\xb1a\xffx");
    }
}

#[test]
fn a_header_needs_four_bytes() {
    for len in 0..4 {
        assert_eq!(
            refused(&b"\x40\x01\x00\x00"[..len]),
            (ParseErrorKind::TooShort, len)
        );
    }
    assert!(Message::parse(b"\x40\x01\x00\x00").is_ok());
}

#[test]
fn other_versions_are_refused_before_anything_else() {
    for version in [0, 2, 3] {
        let first = version << 6 | 0x0f;
        assert_eq!(
            refused(&[first, 0, 0, 0, 0xf0]),
            (ParseErrorKind::Version(version), 0)
        );
    }
}

#[test]
fn reserved_and_extended_token_lengths_are_refused() {
    for len in 9..=15_u8 {
        let mut bytes = vec![0x40 | len, 1, 0, 0];
        bytes.resize(40, 0);
        let kind = match len {
            13 | 14 => ParseErrorKind::ExtendedToken(len),
            _ => ParseErrorKind::TokenLength(len),
        };
        assert_eq!(refused(&bytes), (kind, 0));
        bytes[1] = 0;
        assert_eq!(refused(&bytes), (kind, 0));
    }
}

#[test]
fn a_token_is_not_cut_off() {
    for len in 1..=8_u8 {
        let bytes = [0x40 | len, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(
            refused(&bytes[..3 + usize::from(len)]),
            (ParseErrorKind::TokenTruncated, 4)
        );
        assert!(Message::parse(&bytes[..4 + usize::from(len)]).is_ok());
    }
}

#[test]
fn an_empty_message_is_four_bytes() {
    let message = Message::parse(b"\x70\x00\x12\x34").unwrap();
    assert!(message.code().is_empty());
    assert_eq!(message.token(), Token::EMPTY);
    assert_eq!(message.payload(), b"");
    assert_eq!(message.options_and_payload(), b"");
    let kind = ParseErrorKind::EmptyMessageNotEmpty;
    assert_eq!(refused(b"\x41\x00\0\0"), (kind, 0));
    assert_eq!(refused(b"\x41\x00\0\0\x01"), (kind, 4));
    assert_eq!(refused(b"\x40\x00\0\0\xb1a"), (kind, 4));
    assert_eq!(refused(b"\x40\x00\0\0\xffx"), (kind, 4));
    assert_eq!(refused(b"\x40\x00\0\0\xff"), (kind, 4));
}

#[test]
fn reserved_code_classes_are_for_the_message_layer() {
    for code in [0x20, 0x3f, 0xc1, 0xe1, 0xff] {
        assert!(
            Message::parse(&[0x40, code, 0, 0])
                .unwrap()
                .code()
                .is_reserved()
        );
    }
}

#[test]
fn options_are_read_with_all_lengths_of_delta_and_value() {
    for delta in [
        0,
        1,
        12,
        13,
        14,
        268,
        269,
        270,
        524,
        525,
        65534,
        65535_usize,
    ] {
        for length in [0, 1, 12, 13, 268, 269, 270, 65804_usize] {
            let (mut head, mut extra) = (0, Vec::new());
            for field in [delta, length] {
                head <<= 4;
                match field {
                    0..=12 => head |= field as u8,
                    13..=268 => {
                        head |= 13;
                        extra.push((field - 13) as u8);
                    }
                    _ => {
                        head |= 14;
                        extra.extend(((field - 269) as u16).to_be_bytes());
                    }
                }
            }
            let mut bytes = vec![0x40, 1, 0, 0, head];
            bytes.extend(extra);
            bytes.resize(bytes.len() + length, 0xff);
            let message = Message::parse(&bytes).unwrap();
            assert_eq!(pairs(&message), [(delta as u16, &vec![0xff; length][..])]);
            assert_eq!(message.payload(), b"");
            // Each byte less is a cut.
            for end in 5..bytes.len().min(9) {
                assert_eq!(refused(&bytes[..end]), (ParseErrorKind::OptionTruncated, 4));
            }
            if length > 0 {
                let end = bytes.len() - 1;
                assert_eq!(refused(&bytes[..end]), (ParseErrorKind::OptionTruncated, 4));
            }
        }
    }
}

#[test]
fn option_errors_are_found_where_the_option_begins() {
    let with = |tail: &[u8]| refused(&[b"\x42\x01\0\0\xaa\xbb\xb1a", tail].concat());
    assert_eq!(with(b"\xf0"), (ParseErrorKind::OptionDelta15, 8));
    assert_eq!(with(b"\xf1xx"), (ParseErrorKind::OptionDelta15, 8));
    assert_eq!(with(b"\xfexx"), (ParseErrorKind::OptionDelta15, 8));
    assert_eq!(with(b"\x0f"), (ParseErrorKind::OptionLength15, 8));
    assert_eq!(with(b"\xdf\0"), (ParseErrorKind::OptionLength15, 8));
    assert_eq!(with(b"\xef"), (ParseErrorKind::OptionLength15, 8));
    assert_eq!(with(b"\x01"), (ParseErrorKind::OptionTruncated, 8));
    assert_eq!(with(b"\x05xxxx"), (ParseErrorKind::OptionTruncated, 8));
    assert_eq!(with(b"\xd0"), (ParseErrorKind::OptionTruncated, 8));
    assert_eq!(with(b"\xe0\0"), (ParseErrorKind::OptionTruncated, 8));
    assert_eq!(with(b"\x0d"), (ParseErrorKind::OptionTruncated, 8));
    assert_eq!(with(b"\x0e\0"), (ParseErrorKind::OptionTruncated, 8));
    assert_eq!(with(b"\xdd\0"), (ParseErrorKind::OptionTruncated, 8));
    assert_eq!(with(b"\x01x\x02y"), (ParseErrorKind::OptionTruncated, 10));
}

#[test]
fn option_numbers_end_at_65535() {
    // 11 + 65524 = 65535.
    let bytes = b"\x40\x01\0\0\xb1a\xe0\xfe\xe7";
    let message = Message::parse(bytes).unwrap();
    assert_eq!(pairs(&message), [(11, &b"a"[..]), (65535, b"")]);
    assert_eq!(
        refused(b"\x40\x01\0\0\xb1a\xe0\xfe\xe8"),
        (ParseErrorKind::OptionNumberOverflow, 6)
    );
    // One more by a short delta, and by the largest of all.
    assert_eq!(
        refused(b"\x40\x01\0\0\xe0\xfe\xf2\x10"),
        (ParseErrorKind::OptionNumberOverflow, 7)
    );
    assert_eq!(
        refused(b"\x40\x01\0\0\xe0\xff\xff"),
        (ParseErrorKind::OptionNumberOverflow, 4)
    );
    assert_eq!(
        refused(b"\x40\x01\0\0\xe0\xfe\xf3"),
        (ParseErrorKind::OptionNumberOverflow, 4)
    );
    let message = Message::parse(b"\x40\x01\0\0\xe0\xfe\xf2\0").unwrap();
    assert_eq!(pairs(&message), [(65535, &b""[..]), (65535, b"")]);
}

#[test]
fn a_marker_needs_a_payload() {
    assert_eq!(
        refused(b"\x40\x01\0\0\xff"),
        (ParseErrorKind::PayloadMarkerWithoutPayload, 4)
    );
    assert_eq!(
        refused(b"\x41\x01\0\0\xff\xb1a\xff"),
        (ParseErrorKind::PayloadMarkerWithoutPayload, 7)
    );
    assert_eq!(
        Message::parse(b"\x40\x01\0\0\xff\xff").unwrap().payload(),
        b"\xff"
    );
    assert_eq!(
        Message::parse(b"\x40\x01\0\0\xff\xff\xff")
            .unwrap()
            .payload(),
        b"\xff\xff"
    );
}

#[test]
fn options_of_one_number_come_in_order() {
    let message = Message::parse(b"\x40\x01\0\0\x31h\x81a\0\x01b\x41q\x01r").unwrap();
    let of = |number| message.options_of(number).collect::<Vec<_>>();
    assert_eq!(of(OptionNumber::URI_HOST), [b"h"]);
    assert_eq!(of(OptionNumber::URI_PATH), [&b"a"[..], b"", b"b"]);
    assert_eq!(of(OptionNumber::URI_QUERY), [b"q", b"r"]);
    assert_eq!(of(OptionNumber::CONTENT_FORMAT), [] as [&[u8]; 0]);
    assert_eq!(of(OptionNumber(0)), [] as [&[u8]; 0]);
    assert_eq!(of(OptionNumber(99)), [] as [&[u8]; 0]);
    let mut options = message.options();
    assert_eq!(options.by_ref().count(), 6);
    assert_eq!(options.next(), None);
}

#[test]
fn an_option_reads_as_number_or_text() {
    let option = |value| Opt {
        number: OptionNumber::ACCEPT,
        value,
    };
    assert_eq!(option(b"\x01\0").as_uint(), Some(256));
    assert_eq!(option(b"\x01\0\0\0\0").as_uint(), None);
    assert_eq!(option(b"ab").as_str(), Some("ab"));
    assert_eq!(option(b"\xff").as_str(), None);
    assert_eq!(format!("{:?}", option(b"\x0a")), "Accept: [0a]");
}

#[test]
fn options_without_a_header_are_read_too() {
    let (options, payload) = Options::parse(b"\xb1a\xffxy").unwrap();
    assert_eq!(
        options.collect::<Vec<_>>(),
        [Opt {
            number: OptionNumber::URI_PATH,
            value: b"a"
        }]
    );
    assert_eq!(payload, b"xy");
    // The marker is no part of the options.
    let with_payload = Options::parse(b"\xb1a\xffxy").unwrap().0;
    assert_eq!(with_payload, Options::parse(b"\xb1a").unwrap().0);
    let (mut options, payload) = Options::parse(b"").unwrap();
    assert_eq!((options.next(), payload), (None, &b""[..]));
    assert_eq!(
        Options::parse(b"\xb1a\xff").unwrap_err(),
        ParseError {
            kind: ParseErrorKind::PayloadMarkerWithoutPayload,
            offset: 2
        }
    );
}

#[test]
fn a_header_is_seen_even_if_the_rest_is_malformed() {
    let bytes = b"\x4f\x01\x12\x34";
    assert!(Message::parse(bytes).is_err());
    assert_eq!(
        Header::peek(bytes),
        Some(Header {
            kind: Type::Con,
            code: Code::GET,
            message_id: MessageId(0x1234),
            token_length: 15
        })
    );
    assert_eq!(
        Header::peek(b"\x72\x45\0\x01junk").map(|header| header.kind),
        Some(Type::Rst)
    );
    assert_eq!(Header::peek(b"\x40\x01\x12"), None);
    for first in [0x00, 0x80, 0xc0] {
        assert_eq!(Header::peek(&[first, 1, 0, 0]), None);
    }
}

#[test]
fn errors_are_told_in_words() {
    let told = |bytes: &[u8]| format!("{}", Message::parse(bytes).unwrap_err());
    assert_eq!(told(b""), "shorter than the header of four bytes at byte 0");
    assert_eq!(told(b"\x80\0\0\0"), "version 2 instead of 1 at byte 0");
    assert_eq!(told(b"\x49\x01\0\0"), "reserved token length 9 at byte 0");
    assert_eq!(
        told(b"\x4d\x01\0\0"),
        "extended token (token length 13) is not supported at byte 0"
    );
    assert_eq!(
        told(b"\x40\x01\0\0\xff"),
        "payload marker without payload at byte 4"
    );
}
