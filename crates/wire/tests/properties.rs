//! What holds for all inputs: nothing panics, what is written is read, what is read is written again byte
//! for byte.

use std::net::SocketAddr;

use antiphon_wire::{
    BlockValue, Code, Filter, Header, LinkFormat, LinkWriter, Message, MessageId, NoResponse,
    OptionNumber, Options, Token, Type, Uri, Writer, decode_uint, encode_uint, write_uri,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// A message in parts that own themselves.
#[derive(Clone, Debug)]
struct Parts {
    kind: Type,
    code: u8,
    id: u16,
    token: Vec<u8>,
    options: Vec<(u16, Vec<u8>)>,
    payload: Vec<u8>,
}

fn kind() -> impl Strategy<Value = Type> {
    prop_oneof![
        Just(Type::Con),
        Just(Type::Non),
        Just(Type::Ack),
        Just(Type::Rst)
    ]
}

/// Mostly short values, as in life, and some around the borders of the length field.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![6 => vec(any::<u8>(), 0..20), 1 => vec(any::<u8>(), 250..300), 1 => vec(any::<u8>(), 12..14)]
}

fn number() -> impl Strategy<Value = u16> {
    prop_oneof![6 => 0..70_u16, 2 => 0..600_u16, 1 => any::<u16>()]
}

fn parts() -> impl Strategy<Value = Parts> {
    let options = vec((number(), value()), 0..12);
    (
        kind(),
        1..=255_u8,
        any::<u16>(),
        vec(any::<u8>(), 0..=8),
        options,
        vec(any::<u8>(), 0..40),
    )
        .prop_map(|(kind, code, id, token, mut options, payload)| {
            options.sort_by_key(|(number, _)| *number);
            Parts {
                kind,
                code,
                id,
                token,
                options,
                payload,
            }
        })
}

fn write(parts: &Parts) -> Vec<u8> {
    let mut buf = vec![0; 8000];
    let token = Token::new(&parts.token).unwrap();
    let mut writer = Writer::new(
        &mut buf,
        parts.kind,
        Code::from_u8(parts.code),
        MessageId(parts.id),
        token,
    )
    .unwrap();
    for (number, value) in &parts.options {
        writer.option(OptionNumber(*number), value).unwrap();
    }
    writer.payload(&parts.payload).unwrap();
    let len = writer.finish();
    buf.truncate(len);
    buf
}

/// Reads everything of a message that can be read, and writes it again.
fn rewrite(message: &Message<'_>) -> Vec<u8> {
    let options = message
        .options()
        .map(|one| (one.number.0, one.value.to_vec()))
        .collect();
    write(&Parts {
        kind: message.kind(),
        code: message.code().to_u8(),
        id: message.message_id().0,
        token: message.token().as_bytes().to_vec(),
        options,
        payload: message.payload().to_vec(),
    })
}

fn check_any_bytes(bytes: &[u8]) {
    let header = Header::peek(bytes);
    let _ = Options::parse(bytes);
    match Message::parse(bytes) {
        Ok(message) => {
            let header = header.unwrap();
            assert_eq!((header.kind, header.code), (message.kind(), message.code()));
            assert_eq!(header.message_id, message.message_id());
            assert_eq!(usize::from(header.token_length), message.token().len());
            assert!(message.options().is_sorted_by_key(|one| one.number));
            assert_eq!(rewrite(&message), bytes);
        }
        Err(error) => assert!(error.offset <= bytes.len()),
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(parts in parts()) {
        let bytes = write(&parts);
        let message = Message::parse(&bytes).unwrap();
        prop_assert_eq!(message.kind(), parts.kind);
        prop_assert_eq!(message.code().to_u8(), parts.code);
        prop_assert_eq!(message.message_id().0, parts.id);
        let token = message.token();
        prop_assert_eq!(token.as_bytes(), &parts.token);
        let options: Vec<_> = message.options().map(|one| (one.number.0, one.value.to_vec())).collect();
        prop_assert_eq!(options, parts.options);
        prop_assert_eq!(message.payload(), &parts.payload);
        prop_assert_eq!(rewrite(&message), &bytes[..]);
        // The tail alone is the same tail.
        let tail = message.options_and_payload();
        let (options, payload) = Options::parse(tail).unwrap();
        prop_assert!(options.eq(message.options()));
        prop_assert_eq!(payload, message.payload());
        let mut buf = vec![0; bytes.len()];
        let mut writer = Writer::new(&mut buf, parts.kind, message.code(), message.message_id(), token).unwrap();
        writer.body(tail).unwrap();
        prop_assert_eq!(writer.finish(), bytes.len());
        prop_assert_eq!(buf, bytes);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..64)) {
        check_any_bytes(&bytes);
    }

    #[test]
    fn any_tail_is_read_or_refused(tail in vec(any::<u8>(), 0..64), code in any::<u8>(), token in 0..=15_u8) {
        check_any_bytes(&[&[0x50 | token, code, 0, 1], &tail[..]].concat());
    }

    #[test]
    fn a_damaged_message_is_read_or_refused(parts in parts(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut bytes = write(&parts);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        check_any_bytes(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        check_any_bytes(&bytes);
    }

    #[test]
    fn a_short_buffer_is_told_and_not_overrun(parts in parts(), size in 0..80_usize) {
        let bytes = write(&parts);
        let mut buf = vec![0xee; size];
        let token = Token::new(&parts.token).unwrap();
        let result = (|| {
            let mut writer =
                Writer::new(&mut buf, parts.kind, Code::from_u8(parts.code), MessageId(parts.id), token)?;
            for (number, value) in &parts.options {
                writer.option(OptionNumber(*number), value)?;
            }
            writer.payload(&parts.payload)?;
            Ok(writer.finish())
        })();
        match result {
            Ok(len) => prop_assert_eq!(&buf[..len], &bytes[..]),
            Err(antiphon_wire::EncodeError::BufferTooSmall { needed }) => {
                prop_assert!(size < needed && needed <= bytes.len());
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }

    #[test]
    fn integers_are_what_they_were(value in any::<u32>(), zeros in 0..4_usize) {
        let encoded = encode_uint(value);
        let bytes = encoded.as_bytes();
        prop_assert_eq!(decode_uint(bytes), Some(value));
        prop_assert_ne!(bytes.first(), Some(&0));
        prop_assert_eq!(decode_uint(&[&vec![0; zeros][..], bytes].concat()), Some(value));
    }

    #[test]
    fn typed_values_are_what_they_were(bytes in vec(any::<u8>(), 0..6)) {
        if let Some(block) = BlockValue::decode(&bytes) {
            prop_assert_eq!(BlockValue::decode(block.encode().as_bytes()), Some(block));
            prop_assert_eq!(decode_uint(block.encode().as_bytes()), decode_uint(&bytes));
        }
        if let Some(value) = NoResponse::decode(&bytes) {
            prop_assert_eq!(NoResponse::decode(value.encode().as_bytes()), Some(value));
        }
        for number in OptionNumber::KNOWN {
            let _ = number.check(&bytes, bytes.len());
        }
    }

    #[test]
    fn a_path_and_query_survive_the_way_through_a_uri(
        path in vec("[a-c/%&? .é]{0,4}", 0..5),
        query in vec("[a-c/%&? .é]{0,4}", 0..4),
        host in prop::option::of("[a-z]{1,9}"),
        port in 1..=65535_u16,
    ) {
        let mut parts = Parts {
            kind: Type::Non, code: 1, id: 0, token: vec![], options: vec![], payload: vec![],
        };
        parts.options.extend(host.iter().map(|host| (3, host.clone().into_bytes())));
        // A single empty segment is the same path as none, and dots alone are no segment.
        let legal = path != [""] && path.iter().all(|one| one != "." && one != "..");
        parts.options.extend(path.into_iter().map(|one| (11, one.into_bytes())));
        parts.options.extend(query.into_iter().map(|one| (15, one.into_bytes())));
        let bytes = write(&parts);
        let to = SocketAddr::new("192.0.2.1".parse().unwrap(), port);
        let mut text = String::new();
        let composed = write_uri(&mut text, &Message::parse(&bytes).unwrap(), to);
        if legal {
            prop_assert!(composed.is_ok());
            let uri = Uri::parse(&text).unwrap();
            let mut buf = vec![0; 2000];
            let mut writer =
                Writer::new(&mut buf, Type::Non, Code::GET, MessageId(0), Token::EMPTY).unwrap();
            uri.write_options(&mut writer, to).unwrap();
            let len = writer.finish();
            prop_assert_eq!(&buf[..len], &bytes[..]);
            prop_assert_eq!(uri.to_string(), text);
        }
    }

    #[test]
    fn any_text_is_a_uri_or_refused(text in "(coap://)?[a\\[\\]:/?#%0-9.@&\u{e9}]{0,24}") {
        match Uri::parse(&text) {
            Ok(uri) => {
                let again = uri.to_string();
                prop_assert_eq!(Uri::parse(&again).unwrap().to_string(), again);
                let mut buf = [0; 2000];
                let mut writer =
                    Writer::new(&mut buf, Type::Non, Code::GET, MessageId(0), Token::EMPTY).unwrap();
                uri.write_options(&mut writer, "192.0.2.1:5683".parse().unwrap()).unwrap();
                let len = writer.finish();
                let message = Message::parse(&buf[..len]).unwrap();
                for one in message.options() {
                    prop_assert_eq!(one.number.check(one.value, 0), Ok(()));
                }
                // The path is resolved: it can always be put together again.
                prop_assert!(message.options_of(OptionNumber::URI_PATH).all(|one| one != b"." && one != b".."));
            }
            Err(error) => prop_assert!(error.offset <= text.len()),
        }
    }

    #[test]
    fn any_text_is_link_format_or_refused(text in "[</>;,=\" a\\\\*é]{0,40}") {
        for link in LinkFormat::parse(&text) {
            match link {
                Ok(link) => {
                    let mut copy = String::new();
                    LinkWriter::new(&mut copy).copy(&link).unwrap();
                    prop_assert_eq!(LinkFormat::parse(&copy).next().unwrap().unwrap(), link);
                    let _ = Filter::parse(b"rt=a*").unwrap().matches(&link);
                    prop_assert!(link.attributes().all(|one| !one.name.is_empty()));
                }
                Err(error) => prop_assert!(error.offset <= text.len()),
            }
        }
    }

    #[test]
    fn links_that_are_written_are_read(
        links in vec(("[a-z/:.%]{0,12}", vec(("[a-z]{1,4}\\*?", prop::option::of("[ -~é]{0,8}")), 0..4)), 0..5),
    ) {
        let mut text = String::new();
        let mut writer = LinkWriter::new(&mut text);
        for (target, attributes) in &links {
            writer.link(target).unwrap();
            for (name, value) in attributes {
                match value {
                    Some(value) => writer.attribute(name, value).unwrap(),
                    None => writer.flag(name).unwrap(),
                };
            }
        }
        let read: Vec<_> = LinkFormat::parse(&text)
            .map(|link| {
                let link = link.unwrap();
                let attributes = link.attributes();
                let owned = attributes.map(|one| (one.name.to_string(), one.value.map(|value| value.to_string())));
                (link.target.to_string(), owned.collect::<Vec<_>>())
            })
            .collect();
        prop_assert_eq!(read, links);
    }
}
