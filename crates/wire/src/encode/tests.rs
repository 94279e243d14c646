use alloc::format;
use alloc::vec;

use super::*;
use crate::Message;

fn writer(buf: &mut [u8]) -> Writer<'_> {
    Writer::new(buf, Type::Non, Code::GET, MessageId(0x7d41), Token::EMPTY).unwrap()
}

#[test]
fn a_message_is_written_byte_for_byte() {
    let mut buf = [0; 64];
    let token = Token::new(b"\xab\xcd").unwrap();
    let mut writer =
        Writer::new(&mut buf, Type::Non, Code::CONTENT, MessageId(0x7d41), token).unwrap();
    assert_eq!((writer.len(), writer.is_empty()), (6, false));
    writer.option(OptionNumber::ETAG, b"\x07").unwrap();
    writer
        .uint_option(OptionNumber::CONTENT_FORMAT, 40)
        .unwrap();
    writer.payload(b"on").unwrap();
    assert_eq!(writer.len(), 13);
    let len = writer.finish();
    assert_eq!(
        &buf[..len],
        b"\x52\x45\x7d\x41\xab\xcd\x41\x07\x81\x28\xffon"
    );
}

#[test]
fn all_types_are_written() {
    for (kind, first) in [
        (Type::Con, 0x40),
        (Type::Non, 0x50),
        (Type::Ack, 0x60),
        (Type::Rst, 0x70),
    ] {
        let mut buf = [0; 4];
        Writer::new(&mut buf, kind, Code::EMPTY, MessageId(0x0102), Token::EMPTY).unwrap();
        assert_eq!(buf, [first, 0, 1, 2]);
    }
}

#[test]
fn deltas_and_lengths_are_written_in_their_shortest_form() {
    let cases: [(u16, usize, &[u8]); 10] = [
        (0, 0, b"\x00"),
        (12, 12, b"\xcc"),
        (13, 0, b"\xd0\x00"),
        (0, 13, b"\x0d\x00"),
        (13, 13, b"\xdd\x00\x00"),
        (268, 268, b"\xdd\xff\xff"),
        (269, 12, b"\xec\x00\x00"),
        (12, 269, b"\xce\x00\x00"),
        (269, 269, b"\xee\x00\x00\x00\x00"),
        (65535, 65804, b"\xee\xfe\xf2\xff\xff"),
    ];
    for (number, length, head) in cases {
        let value = vec![0x5a; length];
        let mut buf = vec![0; 66000];
        let mut writer = writer(&mut buf);
        writer.option(OptionNumber(number), &value).unwrap();
        let len = writer.finish();
        assert_eq!(&buf[4..len], [head, &value].concat(), "{number} {length}");
        let message = Message::parse(&buf[..len]).unwrap();
        assert_eq!(message.option(OptionNumber(number)), Some(&value[..]));
        // One byte less is too little, and what had been written is still there.
        let mut writer = self::writer(&mut buf[..len - 1]);
        assert_eq!(
            writer.option(OptionNumber(number), &value).unwrap_err(),
            EncodeError::BufferTooSmall { needed: len }
        );
        assert_eq!(writer.len(), 4);
        let mut writer = self::writer(&mut buf[..len]);
        assert!(writer.option(OptionNumber(number), &value).is_ok());
    }
}

#[test]
fn a_value_has_a_greatest_length() {
    let mut buf = vec![0; 66000];
    let mut writer = writer(&mut buf);
    assert_eq!(
        writer.option(OptionNumber(1), &[0; 65805]).unwrap_err(),
        EncodeError::OptionTooLong
    );
    assert_eq!(writer.len(), 4);
}

#[test]
fn options_ascend() {
    let mut buf = [0; 64];
    let mut writer = writer(&mut buf);
    writer
        .option(OptionNumber(11), b"a")
        .unwrap()
        .option(OptionNumber(11), b"b")
        .unwrap();
    assert_eq!(
        writer.option(OptionNumber(10), b"").unwrap_err(),
        EncodeError::OptionOrder
    );
    // A refused option leaves no trace.
    writer.option(OptionNumber(12), b"").unwrap();
    let len = writer.finish();
    assert_eq!(&buf[4..len], b"\xb1a\x01b\x10");
}

#[test]
fn a_refused_option_does_not_count_for_the_next_delta() {
    let mut buf = [0; 8];
    let mut writer = writer(&mut buf);
    assert!(writer.option(OptionNumber(300), b"").is_ok());
    assert!(writer.option(OptionNumber(400), b"12").is_err());
    writer.option(OptionNumber(301), b"").unwrap();
    assert_eq!(writer.finish(), 8);
    assert_eq!(&buf[4..], b"\xe0\x00\x1f\x10");
}

#[test]
fn header_and_token_need_their_room() {
    let token = Token::new(b"abc").unwrap();
    for size in 0..7 {
        let mut buf = [0; 7];
        let result =
            Writer::new(&mut buf[..size], Type::Non, Code::GET, MessageId(0), token).unwrap_err();
        assert_eq!(result, EncodeError::BufferTooSmall { needed: 7 });
    }
    let mut buf = [0; 7];
    let len = Writer::new(&mut buf, Type::Non, Code::GET, MessageId(0), token)
        .unwrap()
        .finish();
    assert_eq!((len, &buf), (7, b"\x53\x01\0\0abc"));
}

#[test]
fn a_payload_needs_its_room_and_comes_last() {
    let mut buf = [0; 7];
    let mut small = writer(&mut buf[..6]);
    assert_eq!(
        small.payload(b"xy"),
        Err(EncodeError::BufferTooSmall { needed: 7 })
    );
    assert_eq!(small.payload(b"x"), Ok(()));
    let mut writer = writer(&mut buf);
    assert_eq!(writer.payload(b""), Ok(()));
    assert_eq!(writer.len(), 4);
    assert_eq!(writer.payload(b"xy"), Ok(()));
    assert_eq!(
        writer.option(OptionNumber(1), b"").unwrap_err(),
        EncodeError::AfterPayload
    );
    assert_eq!(writer.payload(b"z"), Err(EncodeError::AfterPayload));
    assert_eq!(writer.body(b"z"), Err(EncodeError::AfterPayload));
    assert_eq!(writer.payload(b""), Ok(()));
    assert_eq!(writer.finish(), 7);
    assert_eq!(&buf[4..], b"\xffxy");
}

#[test]
fn an_empty_message_stays_empty() {
    let mut buf = [0; 16];
    let id = MessageId(1);
    let token = Token::new(b"a").unwrap();
    assert_eq!(
        Writer::new(&mut buf, Type::Ack, Code::EMPTY, id, token).unwrap_err(),
        EncodeError::EmptyMessageNotEmpty
    );
    let mut writer = Writer::new(&mut buf, Type::Ack, Code::EMPTY, id, Token::EMPTY).unwrap();
    let refused = Err(EncodeError::EmptyMessageNotEmpty);
    assert_eq!(writer.option(OptionNumber(1), b"").map(drop), refused);
    assert_eq!(writer.payload(b"x"), refused);
    assert_eq!(writer.body(b"x"), refused);
    assert_eq!(writer.payload(b""), Ok(()));
    assert_eq!(writer.body(b""), Ok(()));
    assert_eq!(writer.finish(), 4);
}

#[test]
fn an_encoded_body_is_appended_as_it_is() {
    let mut buf = [0; 9];
    let body = b"\xb1a\xffx";
    let mut small = writer(&mut buf[..7]);
    assert_eq!(
        small.body(body),
        Err(EncodeError::BufferTooSmall { needed: 8 })
    );
    let mut large = writer(&mut buf);
    large.body(body).unwrap();
    assert_eq!(
        large.option(OptionNumber(20), b"").map(drop),
        Err(EncodeError::AfterPayload)
    );
    assert_eq!(large.finish(), 8);
    assert_eq!(&buf[4..8], body);
    let mut writer = writer(&mut buf);
    writer.option(OptionNumber(1), b"").unwrap();
    assert_eq!(writer.body(body), Err(EncodeError::AfterPayload));
    assert_eq!(writer.body(b""), Ok(()));
}

#[test]
fn a_tail_has_no_header() {
    let mut buf = [0; 16];
    let mut writer = Writer::tail(&mut buf);
    assert!(writer.is_empty());
    writer.option(OptionNumber(11), b"a").unwrap();
    writer.payload(b"x").unwrap();
    assert_eq!(writer.finish(), 4);
    assert_eq!(&buf[..4], b"\xb1a\xffx");
}

#[test]
fn integers_are_written_in_their_shortest_form() {
    let mut buf = [0; 64];
    let mut writer = writer(&mut buf);
    for value in [
        0,
        1,
        255,
        256,
        65535,
        65536,
        0x00ff_ffff,
        0x0100_0000,
        u32::MAX,
    ] {
        writer.uint_option(OptionNumber::MAX_AGE, value).unwrap();
    }
    let len = writer.finish();
    assert_eq!(
        &buf[4..len],
        b"\xd0\x01\x01\x01\x01\xff\x02\x01\0\x02\xff\xff\x03\x01\0\0\x03\xff\xff\xff\
          \x04\x01\0\0\0\x04\xff\xff\xff\xff"
    );
}

#[test]
fn errors_are_told_in_words() {
    assert_eq!(
        format!("{}", EncodeError::BufferTooSmall { needed: 7 }),
        "the buffer is too small, 7 bytes are needed"
    );
    assert_eq!(
        format!("{}", EncodeError::OptionOrder),
        "options are not in ascending order"
    );
}
