//! The bodies of the fuzz targets: each takes any bytes and panics if something that always holds does not.
//!
//! Fuzz one with `cargo +nightly fuzz run message`. The corpora under `corpus/` also run as plain tests, with
//! `cargo test --no-default-features` in this folder. The samples of [`corpus`] are written by
//! `cargo run --no-default-features --example make_corpus`.

use std::net::SocketAddr;

use antiphon_wire::{
    BlockValue, Code, ContentFormat, Filter, Header, LinkFormat, LinkWriter, Message, MessageId,
    MultiEtag, NoResponse, Opt, OptionNumber, Options, Token, Type, Uri, Writer, decode_uint,
    encode_uint, write_uri,
};

pub mod block;
pub mod corpus;
mod distribution;
pub mod members;
pub mod operations;
pub mod protection;
mod secured;
mod two_members;

pub use distribution::{Reached as DistributionReached, run as distribution};
pub use protection::{credentials, oscore_open, oscore_option, state_files};
pub use secured::{Reached as SecuredReached, run as run_secured};
pub use two_members::{Done, run as run_two_members};

/// A datagram: it is refused, or it is read and written again byte for byte.
pub fn message(data: &[u8]) {
    let header = Header::peek(data);
    if let Ok((options, payload)) = Options::parse(data) {
        assert_eq!(tail(options, payload, data.len()), data);
    }
    match Message::parse(data) {
        Err(error) => {
            assert!(error.offset <= data.len());
            // Up to the option that is wrong all is well, or the error would have been found earlier.
            let front = data.get(..error.offset).unwrap_or_default();
            assert!(error.offset <= 4 || Message::parse(front).is_ok());
        }
        Ok(message) => {
            let header = header.expect("a message has a header");
            assert_eq!((header.kind, header.code), (message.kind(), message.code()));
            assert_eq!(header.message_id, message.message_id());
            assert_eq!(usize::from(header.token_length), message.token().len());
            assert!(!message.code().is_empty() || data.len() == 4);
            let written = rewrite(&message);
            assert_eq!(written, data);
            let mut uri = String::new();
            let destination = SocketAddr::from(([224, 0, 1, 187], 5683));
            if write_uri(&mut uri, &message, destination).is_ok() && uri.len() <= Uri::MAX_LEN {
                // Values that are no strings of at most 255 bytes make a URI that is refused.
                let _ = Uri::parse(&uri);
            }
        }
    }
}

fn rewrite(message: &Message<'_>) -> Vec<u8> {
    let mut buf = vec![0; message.as_bytes().len()];
    let (code, id) = (message.code(), message.message_id());
    let mut writer = Writer::new(&mut buf, message.kind(), code, id, message.token()).unwrap();
    for option in message.options() {
        writer.option(option.number, option.value).unwrap();
    }
    writer.payload(message.payload()).unwrap();
    let len = writer.finish();
    buf.truncate(len);
    buf
}

fn tail(options: Options<'_>, payload: &[u8], len: usize) -> Vec<u8> {
    let mut buf = vec![0; len];
    let mut writer = Writer::tail(&mut buf);
    for option in options {
        writer.option(option.number, option.value).unwrap();
    }
    writer.payload(payload).unwrap();
    let len = writer.finish();
    buf.truncate(len);
    buf
}

/// Operations on an endpoint: datagrams, time, calls of the application and results of work, in any order.
pub fn endpoint_operations(data: &[u8]) {
    let _ = operations::run(data);
}

/// What endpoints that share a security group do, with an attacker between them.
pub fn secured_operations(data: &[u8]) {
    let _ = run_secured(data);
}

/// Bodies in blocks between a client and a server, with an attacker between them.
pub fn block_operations(data: &[u8]) {
    let _ = block::run(data);
}

/// What two members of a security group do, with an attacker between them.
pub fn two_members(data: &[u8]) {
    let _ = run_two_members(data);
}

/// Two bytes of option number, then a value: checks and typed readings agree.
pub fn option_values(data: &[u8]) {
    let Some((&[high, low], value)) = data.split_first_chunk() else {
        return;
    };
    let number = OptionNumber(u16::from_be_bytes([high, low]));
    let checked = number.check(value, 0);
    if let Some((min, max)) = number.length_limits() {
        assert!(checked.is_err() || (min..=max).contains(&value.len()));
    } else {
        assert_eq!(checked, Ok(()));
    }
    assert_eq!(
        number.check(value, 1).is_ok(),
        checked.is_ok() && number.is_repeatable() != Some(false)
    );
    let option = Opt { number, value };
    match option.as_uint() {
        Some(uint) => {
            let significant = value.iter().skip_while(|byte| **byte == 0);
            assert!(encode_uint(uint).as_bytes().iter().eq(significant));
        }
        None => assert!(value.len() > 4),
    }
    if let Some(block) = BlockValue::decode(value) {
        assert!((16..=1024).contains(&block.size()) && block.num() <= BlockValue::MAX_NUM);
        assert_eq!(decode_uint(block.encode().as_bytes()), decode_uint(value));
    }
    if let Some(no_response) = NoResponse::decode(value) {
        assert_eq!(
            NoResponse::decode(no_response.encode().as_bytes()),
            Some(no_response)
        );
    }
    if let Some(format) = option.as_str().and_then(ContentFormat::from_name) {
        assert_eq!(ContentFormat::from_name(&format.to_string()), Some(format));
    }
    let mut buf = vec![0; value.len() + 16];
    let mut writer =
        Writer::new(&mut buf, Type::Non, Code::GET, MessageId(0), Token::EMPTY).unwrap();
    if writer.option(number, value).is_ok() {
        let len = writer.finish();
        let message = Message::parse(&buf[..len]).unwrap();
        assert!(message.options().eq([option]));
    }
}

/// The value of a Multi-ETag option: it is refused, or its server and tags, written again, are read as the same.
pub fn multi_etag(data: &[u8]) {
    let Ok(read) = MultiEtag::parse(data) else {
        return;
    };
    let tags: Vec<&[u8]> = read.tags().collect();
    let room = MultiEtag::MAX_ADDRESS_LEN + tags.len() * MultiEtag::MAX_TAG_LEN;
    let mut buf = vec![0; room];
    let len = MultiEtag::write(read.server(), &tags, &mut buf).unwrap();
    // What is written has no null, and lengths in their shortest form.
    assert!(len <= data.len());
    let again = MultiEtag::parse(&buf[..len]).unwrap();
    assert_eq!(again.server(), read.server());
    assert!(again.tags().eq(tags));
}

/// A text: it is refused, or it is a URI whose options make the same URI in normal form.
pub fn uri(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let uri = match Uri::parse(text) {
        Ok(uri) => uri,
        Err(error) => {
            assert!(error.offset <= text.len());
            return;
        }
    };
    let shown = uri.to_string();
    assert_eq!(Uri::parse(&shown).unwrap().to_string(), shown);
    let destination = SocketAddr::from(([192, 0, 2, 1], 5683));
    let options = uri_options(&uri, destination);
    let message = Message::parse(&options).unwrap();
    for option in message.options() {
        assert_eq!(option.number.check(option.value, 0), Ok(()));
    }
    // Putting together fails only for a host that needs percent-encoding within ASCII.
    let mut normal = String::new();
    if write_uri(&mut normal, &message, destination).is_ok() && normal.len() <= Uri::MAX_LEN {
        let again = Uri::parse(&normal).unwrap();
        let again_options = uri_options(&again, destination);
        let again_message = Message::parse(&again_options).unwrap();
        let mut again_normal = String::new();
        write_uri(&mut again_normal, &again_message, destination).unwrap();
        assert_eq!(
            again_normal.to_ascii_lowercase(),
            normal.to_ascii_lowercase()
        );
        assert!(
            message
                .options_of(OptionNumber::URI_QUERY)
                .eq(again_message.options_of(OptionNumber::URI_QUERY))
        );
    }
}

fn uri_options(uri: &Uri<'_>, destination: SocketAddr) -> Vec<u8> {
    let mut buf = vec![0; 4 * Uri::MAX_LEN];
    let mut writer =
        Writer::new(&mut buf, Type::Non, Code::GET, MessageId(0), Token::EMPTY).unwrap();
    uri.write_options(&mut writer, destination).unwrap();
    let len = writer.finish();
    buf.truncate(len);
    buf
}

/// A filter up to the first line end, then a document: it is refused, or its links are written and read
/// again.
pub fn link_format(data: &[u8]) {
    let end = data
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(data.len());
    let (query, document) = data.split_at(end);
    let filter = Filter::parse(query);
    for link in LinkFormat::parse(document) {
        let link = match link {
            Ok(link) => link,
            Err(error) => {
                assert!(error.offset <= document.len());
                continue;
            }
        };
        let mut copy = String::new();
        LinkWriter::new(&mut copy).copy(&link).unwrap();
        assert_eq!(LinkFormat::parse(&copy).next(), Some(Ok(link)));
        let mut written = String::new();
        let mut writer = LinkWriter::new(&mut written);
        writer.link(link.target).unwrap();
        for attribute in link.attributes() {
            match attribute.value {
                Some(value) => writer
                    .attribute(attribute.name, &value.to_string())
                    .unwrap(),
                None => writer.flag(attribute.name).unwrap(),
            };
        }
        let again = LinkFormat::parse(&written).next().unwrap().unwrap();
        assert!(again.attributes().eq(link.attributes()));
        if let Some(filter) = filter {
            assert_eq!(filter.matches(&link), filter.matches(&again));
        }
    }
}
