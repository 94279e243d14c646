//! Messages whose bytes are given by the documents.

use std::net::SocketAddr;

use antiphon_wire::{
    Code, ContentFormat, Message, MessageId, OptionNumber, Token, Type, Uri, Writer, write_uri,
};

/// Bytes from hexadecimal digits, spaces ignored.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn destination(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A message with these options and this payload.
fn written(
    kind: Type,
    code: Code,
    message_id: u16,
    token: &[u8],
    options: &[(OptionNumber, &[u8])],
    payload: &[u8],
) -> Vec<u8> {
    let mut buf = [0; 1500];
    let token = Token::new(token).unwrap();
    let mut writer = Writer::new(&mut buf, kind, code, MessageId(message_id), token).unwrap();
    for (number, value) in options {
        writer.option(*number, value).unwrap();
    }
    writer.payload(payload).unwrap();
    let len = writer.finish();
    buf[..len].to_vec()
}

/// A request for `uri` to `to`, as draft-ietf-core-groupcomm-bis, Appendix B has them: NON, 0x7d41, no Token.
fn group_request(code: Code, uri: &str, to: &str) -> Vec<u8> {
    let mut buf = [0; 200];
    let mut writer =
        Writer::new(&mut buf, Type::Non, code, MessageId(0x7d41), Token::EMPTY).unwrap();
    Uri::parse_group(uri)
        .unwrap()
        .write_options(&mut writer, destination(to))
        .unwrap();
    let len = writer.finish();
    buf[..len].to_vec()
}

/// The options as the documents list them.
fn listed(bytes: &[u8]) -> Vec<String> {
    let message = Message::parse(bytes).unwrap();
    let shown =
        |option: antiphon_wire::Opt<'_>| format!("{}: {}", option.number, option.as_str().unwrap());
    message.options().map(shown).collect()
}

/// The seven examples of Appendix B: method, group URI, destination, options, bytes behind the Message ID.
const NAMING: [(Code, &str, &str, &[&str], &str); 7] = [
    (
        Code::GET,
        "coap://grp.example:5685/gp/gp1/light?foo=bar",
        "[ff05::db8:8000:1]:5685",
        &[
            "Uri-Host: grp.example",
            "Uri-Path: gp",
            "Uri-Path: gp1",
            "Uri-Path: light",
            "Uri-Query: foo=bar",
        ],
        "3b 6772702e6578616d706c65 82 6770 03 677031 05 6c69676874 47 666f6f3d626172",
    ),
    (
        Code::POST,
        "coap://[ff05::db8:8000:1]/g/gp1/li",
        "[ff05::db8:8000:1]:5683",
        &["Uri-Path: g", "Uri-Path: gp1", "Uri-Path: li"],
        "b1 67 03 677031 02 6c69",
    ),
    (
        Code::GET,
        "coap://grp.example:5685/light?gp1",
        "[ff05::db8:8000:1]:5685",
        &["Uri-Host: grp.example", "Uri-Path: light", "Uri-Query: gp1"],
        "3b 6772702e6578616d706c65 85 6c69676874 43 677031",
    ),
    (
        Code::GET,
        "coap://grp.example:5685/light?foo=bar&gp=gp1",
        "[ff05::db8:8000:1]:5685",
        &[
            "Uri-Host: grp.example",
            "Uri-Path: light",
            "Uri-Query: foo=bar",
            "Uri-Query: gp=gp1",
        ],
        "3b 6772702e6578616d706c65 85 6c69676874 47 666f6f3d626172 06 67703d677031",
    ),
    (
        Code::GET,
        "coap://grp.example:5685/light?foo=bar",
        "[ff05::db8:8000:1]:5685",
        &[
            "Uri-Host: grp.example",
            "Uri-Path: light",
            "Uri-Query: foo=bar",
        ],
        "3b 6772702e6578616d706c65 85 6c69676874 47 666f6f3d626172",
    ),
    (
        Code::GET,
        "coap://grp42.example:5685/light?foo=bar",
        "[ff05::db8:8000:1]:5685",
        &[
            "Uri-Host: grp42.example",
            "Uri-Path: light",
            "Uri-Query: foo=bar",
        ],
        "3d 00 67727034322e6578616d706c65 85 6c69676874 47 666f6f3d626172",
    ),
    (
        Code::GET,
        "coap://grp.example:55685/light?foo=bar",
        "[ff05::db8:8000:1]:55685",
        &[
            "Uri-Host: grp.example",
            "Uri-Path: light",
            "Uri-Query: foo=bar",
        ],
        "3b 6772702e6578616d706c65 85 6c69676874 47 666f6f3d626172",
    ),
];

// Covers: GN-B-01, GN-2.2.1.2-07
#[test]
fn the_naming_examples_encode_to_the_listed_options_and_back() {
    for (code, uri, to, options, tail) in NAMING {
        let request = group_request(code, uri, to);
        // GN-B-01: options and bytes.
        assert_eq!(listed(&request), options, "{uri}");
        assert_eq!(
            request,
            [&[0x50, code.to_u8(), 0x7d, 0x41], &hex(tail)[..]].concat(),
            "{uri}"
        );
        // GN-2.2.1.2-07: the server rebuilds the URI from options and destination.
        let mut rebuilt = String::new();
        write_uri(
            &mut rebuilt,
            &Message::parse(&request).unwrap(),
            destination(to),
        )
        .unwrap();
        assert_eq!(rebuilt, uri);
    }
}

// Covers: GN-2.2.1.2-05, GN-2.2.1.2-06
#[test]
fn host_and_port_are_elided_where_the_datagram_carries_them() {
    // GN-2.2.1.2-05: a literal that is the destination.
    let request = group_request(
        Code::GET,
        "coap://[ff05::db8:8000:1]/g/gp1/li",
        "[ff05::db8:8000:1]:5683",
    );
    let message = Message::parse(&request).unwrap();
    assert_eq!(message.option(OptionNumber::URI_HOST), None);
    assert_eq!(message.option(OptionNumber::URI_PORT), None);
    // GN-2.2.1.2-06: a name stays, a port that is the destination's goes.
    let request = group_request(
        Code::GET,
        "coap://grp.example:5685/light",
        "[ff05::db8:8000:1]:5685",
    );
    let message = Message::parse(&request).unwrap();
    assert_eq!(
        message.option(OptionNumber::URI_HOST),
        Some(&b"grp.example"[..])
    );
    assert_eq!(message.option(OptionNumber::URI_PORT), None);
    // Neither goes where the datagram says something else.
    let request = group_request(
        Code::GET,
        "coap://[ff05::db8:8000:1]:5685/li",
        "[ff05::db8:8000:2]:5683",
    );
    let message = Message::parse(&request).unwrap();
    assert_eq!(
        message.option(OptionNumber::URI_HOST),
        Some(&b"[ff05::db8:8000:1]"[..])
    );
    assert_eq!(message.uint(OptionNumber::URI_PORT), Some(5685));
}

/// Checks that the message is written as given and read as written.
fn golden(
    bytes: &str,
    (kind, code, id): (Type, Code, u16),
    token: &str,
    options: &[(OptionNumber, &[u8])],
    payload: &[u8],
) {
    let (bytes, token) = (hex(bytes), hex(token));
    assert_eq!(written(kind, code, id, &token, options, payload), bytes);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!((message.kind(), message.code()), (kind, code));
    assert_eq!(message.message_id(), MessageId(id));
    assert_eq!(message.token().as_bytes(), token);
    assert!(
        message
            .options()
            .map(|one| (one.number, one.value))
            .eq(options.iter().copied())
    );
    assert_eq!(message.payload(), payload);
}

const TEMPERATURE: [(OptionNumber, &[u8]); 1] = [(OptionNumber::URI_PATH, b"temperature")];

// RFC 7252, Appendix A, figures 16 to 23.
#[test]
fn the_message_flows_of_the_coap_document_are_byte_exact() {
    use Type::*;
    let path = "bb 74656d7065726174757265";
    let reading = "ff 32322e332043";
    for (first, id, token) in [
        ("40", 0x7d34, ""),
        ("41", 0x7d35, "20"),
        ("41", 0x7d36, "31"),
        ("41", 0x7d37, "42"),
        ("41", 0x7d38, "53"),
        ("41", 0x7d39, "64"),
    ] {
        let request = format!("{first} 01 {id:04x} {token} {path}");
        golden(&request, (Con, Code::GET, id), token, &TEMPERATURE, b"");
        let ack = if token.is_empty() { "60" } else { "61" };
        let answer = format!("{ack} 45 {id:04x} {token} {reading}");
        golden(&answer, (Ack, Code::CONTENT, id), token, &[], b"22.3 C");
    }
    // Figures 16 and 17 count the bytes.
    assert_eq!(hex(&format!("40 01 7d34 {path}")).len(), 16);
    assert_eq!(hex(&format!("60 45 7d34 {reading}")).len(), 11);
    assert_eq!(hex(&format!("41 01 7d35 20 {path}")).len(), 17);
    assert_eq!(hex(&format!("61 45 7d35 20 {reading}")).len(), 12);
    // Figures 20 and 21: separate response, acknowledged or reset.
    golden("60 00 7d38", (Ack, Code::EMPTY, 0x7d38), "", &[], b"");
    let separate = format!("41 45 ad7b 53 {reading}");
    golden(
        &separate,
        (Con, Code::CONTENT, 0xad7b),
        "53",
        &[],
        b"22.3 C",
    );
    golden("60 00 ad7b", (Ack, Code::EMPTY, 0xad7b), "", &[], b"");
    golden("70 00 ad7c", (Rst, Code::EMPTY, 0xad7c), "", &[], b"");
    // Figure 22: Non-confirmable both ways.
    let request = format!("51 01 7d40 75 {path}");
    golden(&request, (Non, Code::GET, 0x7d40), "75", &TEMPERATURE, b"");
    let answer = format!("51 45 ad7d 75 {reading}");
    golden(&answer, (Non, Code::CONTENT, 0xad7d), "75", &[], b"22.3 C");
    // Figure 23: to a group.
    let request = format!("51 01 7d41 86 {path}");
    golden(&request, (Non, Code::GET, 0x7d41), "86", &TEMPERATURE, b"");
    let answer = format!("51 45 60b1 86 {reading}");
    golden(&answer, (Non, Code::CONTENT, 0x60b1), "86", &[], b"22.3 C");
    golden(
        "51 45 01a0 86 ff 32302e392043",
        (Non, Code::CONTENT, 0x01a0),
        "86",
        &[],
        b"20.9 C",
    );
    golden(
        "51 84 952a 86",
        (Non, Code::NOT_FOUND, 0x952a),
        "86",
        &[],
        b"",
    );
}

fn path(value: &[u8]) -> (OptionNumber, &[u8]) {
    (OptionNumber::URI_PATH, value)
}

fn query(value: &[u8]) -> (OptionNumber, &[u8]) {
    (OptionNumber::URI_QUERY, value)
}

// RFC 7252, Appendix B.
#[test]
fn the_uris_of_the_coap_document_come_from_their_options() {
    let composed = |options: &[(OptionNumber, &[u8])], to: &str| {
        let bytes = written(Type::Con, Code::GET, 1, b"", options, b"");
        let mut uri = String::new();
        write_uri(&mut uri, &Message::parse(&bytes).unwrap(), destination(to)).unwrap();
        // Taken apart again the URI gives the same options.
        let mut buf = [0; 200];
        let mut writer =
            Writer::new(&mut buf, Type::Con, Code::GET, MessageId(1), Token::EMPTY).unwrap();
        Uri::parse(&uri)
            .unwrap()
            .write_options(&mut writer, destination(to))
            .unwrap();
        let len = writer.finish();
        assert_eq!(buf[..len], bytes);
        uri
    };
    let v6 = "[2001:db8::2:1]:5683";
    let host: (OptionNumber, &[u8]) = (OptionNumber::URI_HOST, b"example.net");
    assert_eq!(composed(&[], v6), "coap://[2001:db8::2:1]/");
    assert_eq!(composed(&[host], v6), "coap://example.net/");
    assert_eq!(
        composed(&[host, path(b".well-known"), path(b"core")], v6),
        "coap://example.net/.well-known/core"
    );
    let hello = hex("E38193E38293E381ABE381A1E381AF");
    assert_eq!(
        composed(
            &[(OptionNumber::URI_HOST, b"xn--18j4d.example"), path(&hello)],
            v6
        ),
        "coap://xn--18j4d.example/%E3%81%93%E3%82%93%E3%81%AB%E3%81%A1%E3%81%AF"
    );
    // The document prints the slashes of the query as %2F, which step 8 of its section 6.5 leaves alone.
    assert_eq!(
        composed(
            &[
                path(b""),
                path(b"/"),
                path(b""),
                path(b""),
                query(b"//"),
                query(b"?&")
            ],
            "198.51.100.1:61616"
        ),
        "coap://198.51.100.1:61616//%2F//?//&?%26"
    );
}

// draft-ietf-core-groupcomm-bis, Appendix D, and what the proxy document and the cacheable one add.
#[test]
fn group_messages_with_new_options_are_byte_exact() {
    use Type::*;
    let path: [(OptionNumber, &[u8]); 3] = [
        (OptionNumber::URI_PATH, b"gp"),
        (OptionNumber::URI_PATH, b"gp1"),
        (OptionNumber::URI_PATH, b"temperature"),
    ];
    let segments = "6770 03 677031 0b 74656d7065726174757265";
    let request = format!("51 01 7d41 86 b2 {segments}");
    golden(&request, (Non, Code::GET, 0x7d41), "86", &path, b"");
    golden(
        "51 45 60b1 86 ff 32322e332043",
        (Non, Code::CONTENT, 0x60b1),
        "86",
        &[],
        b"22.3 C",
    );
    let observe: [(OptionNumber, &[u8]); 1] = [(OptionNumber::OBSERVE, b"")];
    let request = format!("51 01 7d41 86 60 52 {segments}");
    golden(
        &request,
        (Non, Code::GET, 0x7d41),
        "86",
        &[&observe[..], &path].concat(),
        b"",
    );
    // Multicast-Timeout: 60 s, and empty in an Early Stop Request.
    golden(
        "50 01 0001 21 3c",
        (Non, Code::GET, 1),
        "",
        &[(OptionNumber::MULTICAST_TIMEOUT, &[60])],
        b"",
    );
    golden(
        "41 01 0001 4a 20",
        (Con, Code::GET, 1),
        "4a",
        &[(OptionNumber::MULTICAST_TIMEOUT, b"")],
        b"",
    );
    // Reply-From of coap://192.0.2.1 as the only option.
    let reply_from = hex("82 20 81 44 c0000201");
    golden(
        "50 45 0001 d8 eb 82 20 81 44 c0000201",
        (Non, Code::CONTENT, 1),
        "",
        &[(OptionNumber::REPLY_FROM, &reply_from)],
        b"",
    );
    // Multi-ETag: delta 65000, length 15.
    let multi_etag = hex("82 01 d90104 44 c0000201 44 deadbeef");
    golden(
        "50 01 0001 ed fcdb 02 82 01 d90104 44 c0000201 44 deadbeef",
        (Non, Code::GET, 1),
        "",
        &[(OptionNumber::MULTI_ETAG, &multi_etag)],
        b"",
    );
}

#[test]
fn typed_options_are_byte_exact() {
    let mut buf = [0; 64];
    let mut writer =
        Writer::new(&mut buf, Type::Non, Code::PUT, MessageId(7), Token::EMPTY).unwrap();
    let cbor = u32::from(ContentFormat::CBOR.0);
    writer
        .uint_option(OptionNumber::CONTENT_FORMAT, cbor)
        .unwrap();
    let block = antiphon_wire::BlockValue::new(2, true, 2).unwrap().encode();
    writer
        .option(OptionNumber::BLOCK1, block.as_bytes())
        .unwrap();
    let silent = antiphon_wire::NoResponse::ALL.encode();
    writer
        .option(OptionNumber::NO_RESPONSE, silent.as_bytes())
        .unwrap();
    let len = writer.finish();
    assert_eq!(buf[..len], hex("50 03 0007 c1 3c d1 02 2a d1 da 1a"));
}
