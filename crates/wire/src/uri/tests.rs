use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::*;
use crate::{Code, MessageId, Token, Type};

fn destination(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The options of a request for `uri` that is sent to `to`, as (number, value).
fn options(uri: &str, to: &str) -> Vec<(u16, Vec<u8>)> {
    let mut buf = [0; 2000];
    let id = MessageId(0x7d41);
    let mut writer = Writer::new(&mut buf, Type::Non, Code::GET, id, Token::EMPTY).unwrap();
    Uri::parse(uri)
        .unwrap()
        .write_options(&mut writer, destination(to))
        .unwrap();
    let len = writer.finish();
    let message = Message::parse(&buf[..len]).unwrap();
    message
        .options()
        .map(|option| (option.number.0, option.value.to_vec()))
        .collect()
}

fn text_options(uri: &str, to: &str) -> Vec<(u16, String)> {
    let text = |(number, value)| (number, String::from_utf8(value).unwrap());
    options(uri, to).into_iter().map(text).collect()
}

/// The URI that is put together from options that were written by hand.
fn composed(options: &[(OptionNumber, &[u8])], to: &str) -> Result<String, fmt::Error> {
    let mut buf = [0; 2000];
    let id = MessageId(1);
    let mut writer = Writer::new(&mut buf, Type::Non, Code::GET, id, Token::EMPTY).unwrap();
    for (number, value) in options {
        writer.option(*number, value).unwrap();
    }
    let len = writer.finish();
    let mut text = String::new();
    write_uri(
        &mut text,
        &Message::parse(&buf[..len]).unwrap(),
        destination(to),
    )
    .map(|()| text)
}

fn segments(path: &str) -> Vec<&str> {
    PathSegments::new(path)
        .map(|segment| segment.raw())
        .collect()
}

// Covers: GN-1.2-01
#[test]
fn a_group_uri_is_a_coap_uri() {
    let uri = Uri::parse_group("coap://[ff05::fd]/x").unwrap();
    assert_eq!(uri.scheme, Scheme::Coap);
    assert_eq!(
        uri.host,
        Host::V6 {
            addr: "ff05::fd".parse().unwrap(),
            zone: None
        }
    );
    assert_eq!(
        (uri.port, uri.effective_port(), uri.is_multicast()),
        (None, 5683, true)
    );
    assert_eq!((uri.path, uri.query), ("/x", None));

    let uri = Uri::parse_group("coap://224.0.1.187:5685/x").unwrap();
    assert_eq!(uri.host, Host::V4("224.0.1.187".parse().unwrap()));
    assert_eq!(
        (uri.port, uri.effective_port(), uri.is_multicast()),
        (Some(5685), 5685, true)
    );

    let uri = Uri::parse_group("coap://grp.example/x").unwrap();
    assert_eq!(
        (uri.host, uri.is_multicast()),
        (Host::Name("grp.example"), false)
    );

    use UriErrorKind::*;
    for (text, kind, offset) in [
        ("coaps://[ff05::fd]/x", GroupScheme, 0),
        ("coap+tcp://224.0.1.187/x", GroupScheme, 0),
        ("coap://me@grp.example/x", UserInfo, 7),
        ("coap://grp.example/x#y", Fragment, 20),
        ("coap://grp.example:x/", Port, 19),
        ("coap://[2001:db8::1]/r", NotMulticast, 7),
        ("coap://192.0.2.1/r", NotMulticast, 7),
        ("coap://[ff05::fd]:5684/r:1", SecurePort, 18),
        ("coap://grp.example:5684?a:b", SecurePort, 19),
        ("coap://grp.example:5684", SecurePort, 19),
    ] {
        assert_eq!(
            Uri::parse_group(text),
            Err(UriError { kind, offset }),
            "{text}"
        );
    }
    assert!(Uri::parse("coap://[2001:db8::1]:5684/r").is_ok());
}

// Covers: GC-2.2.2-04
#[test]
fn a_group_address_may_be_any_multicast_address() {
    // ff1x::/16 and ff3x::/16 in every scope are accepted and not required: so are the others.
    for flags in ["1", "3", "0", "7"] {
        for scope in "0123456789abcdef".chars() {
            let text = format!("coap://[ff{flags}{scope}::8000:1]/r");
            let uri = Uri::parse_group(&text).unwrap();
            assert_eq!(
                uri.host.ip(),
                Some(format!("ff{flags}{scope}::8000:1").parse().unwrap())
            );
        }
    }
    for address in ["224.0.0.0", "239.255.255.255"] {
        assert!(Uri::parse_group(&format!("coap://{address}/r")).is_ok());
    }
    for address in ["[fe80::1]", "[fec0::1]", "223.255.255.255", "240.0.0.0"] {
        let error = Uri::parse_group(&format!("coap://{address}/r")).unwrap_err();
        assert_eq!(error.kind, UriErrorKind::NotMulticast);
    }
}

#[test]
fn schemes_have_names_and_ports() {
    let expected = [
        ("coap", Scheme::Coap, 5683),
        ("coaps", Scheme::Coaps, 5684),
        ("coap+tcp", Scheme::CoapTcp, 5683),
        ("coaps+tcp", Scheme::CoapsTcp, 5684),
        ("coap+ws", Scheme::CoapWs, 80),
        ("coaps+ws", Scheme::CoapsWs, 443),
    ];
    assert_eq!(Scheme::ALL.len(), expected.len());
    for (name, scheme, port) in expected {
        assert_eq!(scheme.name(), name);
        assert_eq!(format!("{scheme}"), name);
        assert_eq!(Scheme::from_name(&name.to_uppercase()), Some(scheme));
        assert_eq!(scheme.default_port(), port);
        let text = format!("{name}://h");
        assert_eq!(Uri::parse(&text).unwrap().effective_port(), port);
    }
    assert_eq!(Scheme::from_name("http"), None);
    assert_eq!(Scheme::from_name(""), None);
}

#[test]
fn every_error_says_what_and_where() {
    use UriErrorKind::*;
    let cases = [
        ("", NoScheme, 0),
        ("/x", NoScheme, 0),
        ("grp.example", NoScheme, 0),
        ("//grp.example/x", NoScheme, 0),
        ("1coap://h/", NoScheme, 0),
        ("co_ap://h/", NoScheme, 0),
        ("://h/", NoScheme, 0),
        ("http://h/", UnknownScheme, 0),
        ("coap", NoScheme, 0),
        ("coap:", NoAuthority, 5),
        ("coap:/h", NoAuthority, 5),
        ("coap:h", NoAuthority, 5),
        ("coap://", EmptyHost, 7),
        ("coap:///x", EmptyHost, 7),
        ("coap://:5683/x", EmptyHost, 7),
        ("coap://u@h/", UserInfo, 7),
        ("coap://h:0/", Port, 9),
        ("coap://h:65536/", Port, 9),
        ("coap://h:+1/", Port, 9),
        ("coap://h:-1/", Port, 9),
        ("coap://h:1:2/", Port, 9),
        ("coap://[::1]:x/", Port, 13),
        ("coap://[::1/", IpLiteral, 7),
        ("coap://[::g]/", IpLiteral, 8),
        ("coap://[]/", IpLiteral, 8),
        ("coap://[1.2.3.4]/", IpLiteral, 8),
        ("coap://[v1.x]/", IpLiteral, 8),
        ("coap://[::1]x/", Character, 12),
        ("coap://[fe80::1%]/", Zone, 16),
        ("coap://[fe80::1%25]/", Zone, 18),
        ("coap://[fe80::1%25a%41]/", Zone, 18),
        ("coap://[fe80::1%e h]/", Zone, 16),
        ("coap://a b/", Character, 8),
        ("coap://a[b/", Character, 8),
        ("coap://h\u{e9}/", Character, 8),
        ("coap://a%4/", Percent, 8),
        ("coap://a%4g/", Percent, 8),
        ("coap://a%g4/", Percent, 8),
        ("coap://%ff/", NotUtf8, 7),
        ("coap://h/a b", Character, 10),
        ("coap://h/a/b\"", Character, 12),
        ("coap://h/a/\u{fc}", Character, 11),
        ("coap://h/%", Percent, 9),
        ("coap://h/ab/%2", Percent, 12),
        ("coap://h/ab/%c3%28", NotUtf8, 12),
        ("coap://h/?a&b[", Character, 13),
        ("coap://h?%", Percent, 9),
        ("coap://h/?x&%80", NotUtf8, 12),
        ("coap://h#", Fragment, 8),
        ("coap://h/#", Fragment, 9),
        ("coap://h/?a#b", Fragment, 11),
        ("coap://h?#", Fragment, 9),
    ];
    for (text, kind, offset) in cases {
        assert_eq!(Uri::parse(text), Err(UriError { kind, offset }), "{text}");
    }
}

#[test]
fn errors_are_told_in_words() {
    let error = Uri::parse("coap://h/#x").unwrap_err();
    assert_eq!(format!("{error}"), "a CoAP URI has no fragment (at byte 9)");
    let error = Uri::parse("coap://h:0").unwrap_err();
    assert_eq!(format!("{error}"), "not a port from 1 to 65535 (at byte 9)");
}

#[test]
fn lengths_have_limits() {
    let host = "h".repeat(255);
    assert!(Uri::parse(&format!("coap://{host}/")).is_ok());
    assert_eq!(
        Uri::parse(&format!("coap://{host}h/")),
        Err(UriError {
            kind: UriErrorKind::HostTooLong,
            offset: 7
        })
    );
    let segment = "%41".repeat(255);
    assert!(Uri::parse(&format!("coap://h/{segment}")).is_ok());
    assert!(Uri::parse(&format!("coap://h/?{segment}")).is_ok());
    assert_eq!(
        Uri::parse(&format!("coap://h/a/{segment}b")),
        Err(UriError {
            kind: UriErrorKind::SegmentTooLong,
            offset: 11
        })
    );
    assert_eq!(
        Uri::parse(&format!("coap://h/?{segment}b")),
        Err(UriError {
            kind: UriErrorKind::SegmentTooLong,
            offset: 10
        })
    );
    let path = "/a".repeat((Uri::MAX_LEN - 8) / 2);
    assert_eq!(Uri::MAX_LEN, 8192);
    assert!(Uri::parse(&format!("coap://h{path}")).is_ok());
    assert_eq!(
        Uri::parse(&format!("coap://h{path}/")),
        Err(UriError {
            kind: UriErrorKind::TooLong,
            offset: 8192
        })
    );
}

#[test]
fn zones_are_read_in_both_forms_and_written_in_one() {
    for text in ["coap://[fe80::1%25eth0]/x", "coap://[fe80::1%eth0]/x"] {
        let uri = Uri::parse(text).unwrap();
        assert_eq!(
            uri.host,
            Host::V6 {
                addr: "fe80::1".parse().unwrap(),
                zone: Some("eth0")
            }
        );
        assert_eq!(format!("{uri}"), "coap://[fe80::1%25eth0]/x");
    }
    let uri = Uri::parse("coap://[ff02::fd%3]").unwrap();
    assert_eq!(
        uri.host,
        Host::V6 {
            addr: "ff02::fd".parse().unwrap(),
            zone: Some("3")
        }
    );
    assert_eq!(uri.host.ip(), Some("ff02::fd".parse().unwrap()));
    // The zone is for this node only.
    assert_eq!(
        text_options("coap://[fe80::1%25eth0]/", "[fe80::2]:5683"),
        [(3, "[fe80::1]".into())]
    );
}

#[test]
fn what_is_almost_an_address_is_a_name() {
    for name in ["1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4x"] {
        let text = format!("coap://{name}/");
        assert_eq!(Uri::parse(&text).unwrap().host, Host::Name(name));
    }
    assert_eq!(Host::Name("h").ip(), None);
    assert_eq!(
        Uri::parse("coap://1.2.3.4").unwrap().host.ip(),
        Some("1.2.3.4".parse().unwrap())
    );
    assert!(!Uri::parse("coap://1.2.3.4").unwrap().is_multicast());
    assert!(!Uri::parse("coap://[2001:db8::1]").unwrap().is_multicast());
}

#[test]
fn a_uri_is_shown_as_it_was() {
    for text in [
        "coap://h",
        "coap://h/",
        "coap://H.example:61616/a%2fb/..?q",
        "coaps://1.2.3.4/?",
        "coap+tcp://[2001:db8::1]:1",
    ] {
        assert_eq!(format!("{}", Uri::parse(text).unwrap()), text);
    }
    assert_eq!(
        format!("{}", Uri::parse("COAP://h:/").unwrap()),
        "coap://h/"
    );
}

// RFC 7252, section 6.3: three URIs that mean the same.
#[test]
fn equivalent_uris_give_the_same_options() {
    for text in [
        "coap://example.com:5683/~sensors/temp.xml",
        "coap://EXAMPLE.com/%7Esensors/temp.xml",
        "coap://EXAMPLE.com:/%7esensors/temp.xml",
    ] {
        assert_eq!(
            text_options(text, "192.0.2.1:5683"),
            [
                (3, "example.com".into()),
                (11, "~sensors".into()),
                (11, "temp.xml".into())
            ]
        );
    }
}

#[test]
fn the_host_is_lowered_before_it_is_decoded() {
    // Step 5 of section 6.4 in this order: what was encoded keeps its case.
    assert_eq!(
        text_options("coap://A%41%c3%89Z/", "192.0.2.1:5683"),
        [(3, "aA\u{c9}z".into())]
    );
}

#[test]
fn host_and_port_are_left_out_if_the_datagram_says_them() {
    assert_eq!(text_options("coap://192.0.2.1/", "192.0.2.1:5683"), []);
    assert_eq!(
        text_options("coap://192.0.2.1/", "192.0.2.2:5683"),
        [(3, "192.0.2.1".into())]
    );
    assert_eq!(
        text_options("coap://[2001:DB8:0::1]/", "192.0.2.2:5683"),
        [(3, "[2001:db8::1]".into())]
    );
    // Port 61616 in two bytes, the default port too if the datagram goes elsewhere.
    assert_eq!(
        options("coap://192.0.2.1:61616/", "192.0.2.1:5683"),
        [(7, b"\xf0\xb0".to_vec())]
    );
    assert_eq!(
        options("coap://192.0.2.1/", "192.0.2.1:5685"),
        [(7, b"\x16\x33".to_vec())]
    );
    assert_eq!(
        options("coap://192.0.2.1:255/", "192.0.2.1:5685"),
        [(7, b"\xff".to_vec())]
    );
    let uri = Uri::parse("coap://[ff02::fd%25eth0]/").unwrap();
    assert!(!uri.needs_uri_host(destination("[ff02::fd%2]:5683")));
    assert!(!uri.needs_uri_port(destination("[ff02::fd%2]:5683")));
}

#[test]
fn percent_encoding_is_resolved_once() {
    assert_eq!(
        text_options(
            "coap://192.0.2.1/a%2Fb/%2541/%20?a%26b=%c3%a9&c",
            "192.0.2.1:5683"
        ),
        [
            (11, "a/b".into()),
            (11, "%41".into()),
            (11, " ".into()),
            (15, "a&b=\u{e9}".into()),
            (15, "c".into())
        ]
    );
}

#[test]
fn empty_segments_and_arguments_are_options_too() {
    let at = "192.0.2.1:5683";
    assert_eq!(text_options("coap://192.0.2.1", at), []);
    assert_eq!(text_options("coap://192.0.2.1/", at), []);
    assert_eq!(
        text_options("coap://192.0.2.1//", at),
        [(11, "".into()), (11, "".into())]
    );
    assert_eq!(
        text_options("coap://192.0.2.1/a/", at),
        [(11, "a".into()), (11, "".into())]
    );
    assert_eq!(text_options("coap://192.0.2.1?", at), [(15, "".into())]);
    assert_eq!(
        text_options("coap://192.0.2.1?&a&", at),
        [(15, "".into()), (15, "a".into()), (15, "".into())]
    );
}

#[test]
fn other_options_come_to_their_place() {
    let uri = Uri::parse("coap://h:61616/p?q").unwrap();
    let other = |number: u16, value| Opt {
        number: OptionNumber(number),
        value,
    };
    let others = [
        other(1, &b"m"[..]),
        other(4, b"e"),
        other(6, b""),
        other(11, b"p2"),
        other(12, b"\x3c"),
        other(15, b"q2"),
        other(17, b"\x3c"),
        other(258, b"\x1a"),
    ];
    let mut buf = [0; 100];
    let id = MessageId(1);
    let mut writer = Writer::new(&mut buf, Type::Non, Code::GET, id, Token::EMPTY).unwrap();
    uri.write_options_among(&mut writer, destination("192.0.2.1:5683"), &others)
        .unwrap();
    let len = writer.finish();
    let message = Message::parse(&buf[..len]).unwrap();
    let found: Vec<_> = message
        .options()
        .map(|one| (one.number.0, one.value))
        .collect();
    assert_eq!(
        found,
        [
            (1, &b"m"[..]),
            (3, b"h"),
            (4, b"e"),
            (6, b""),
            (7, b"\xf0\xb0"),
            (11, b"p"),
            (11, b"p2"),
            (12, b"\x3c"),
            (15, b"q"),
            (15, b"q2"),
            (17, b"\x3c"),
            (258, b"\x1a"),
        ]
    );
    // Too little room is said, wherever it runs out.
    for size in 4..len {
        let mut writer =
            Writer::new(&mut buf[..size], Type::Non, Code::GET, id, Token::EMPTY).unwrap();
        let result = uri.write_options_among(&mut writer, destination("192.0.2.1:5683"), &others);
        assert!(matches!(result, Err(EncodeError::BufferTooSmall { needed }) if needed > size));
    }
}

#[test]
fn components_decode_into_a_slice() {
    let uri = Uri::parse("coap://h/a%20b").unwrap();
    let segment = uri.path_segments().next().unwrap();
    assert_eq!(segment.raw(), "a%20b");
    assert!(segment == *"a b");
    assert!(segment != *"a b ");
    assert_eq!(segment.decode_into(&mut [0; 3]), Ok(&b"a b"[..]));
    assert_eq!(segment.decode_into(&mut [0; 9]), Ok(&b"a b"[..]));
    assert_eq!(
        segment.decode_into(&mut [0; 2]),
        Err(EncodeError::BufferTooSmall { needed: 3 })
    );
}

#[test]
fn hexadecimal_digits_are_of_any_case() {
    for (text, value) in [
        ("%09", 0x09),
        ("%1a", 0x1a),
        ("%1A", 0x1a),
        ("%6f", 0x6f),
        ("%7F", 0x7f),
    ] {
        assert_eq!(Component(text).bytes().collect::<Vec<_>>(), [value]);
    }
    for (bad, good) in [
        (b'/', b'0'),
        (b':', b'9'),
        (b'@', b'A'),
        (b'G', b'F'),
        (b'`', b'a'),
        (b'g', b'f'),
    ] {
        assert_eq!(hex(bad), None);
        assert!(hex(good).is_some());
    }
}

#[test]
fn dots_are_resolved() {
    let none: [&str; 0] = [];
    assert_eq!(segments("/a/b/c/./../../g"), ["a", "g"]); // RFC 3986, section 5.2.4
    assert_eq!(segments("/a/./b"), ["a", "b"]);
    assert_eq!(segments("/../../a"), ["a"]);
    assert_eq!(segments("/a/.."), none);
    assert_eq!(segments("/a/../"), none);
    assert_eq!(segments("/."), none);
    assert_eq!(segments("/./"), none);
    assert_eq!(segments("/.."), none);
    assert_eq!(segments("/a/."), ["a", ""]);
    assert_eq!(segments("/a/b/.."), ["a", ""]);
    assert_eq!(segments("/a//.."), ["a", ""]);
    assert_eq!(segments("/a/..//"), ["", ""]);
    assert_eq!(segments("/a/%2e%2E/b/%2e/.%2e/c"), ["c"]);
    assert_eq!(segments("/.../.a/..b/a."), ["...", ".a", "..b", "a."]);
    assert_eq!(segments("/"), none);
    assert_eq!(segments(""), none);
}

/// RFC 3986, section 5.2.4 word for word, with its two buffers.
fn remove_dot_segments(path: &str) -> String {
    let (mut input, mut output) = (String::from(path), String::new());
    while !input.is_empty() {
        if input.starts_with("/./") {
            input.replace_range(..3, "/");
        } else if input == "/." {
            input = "/".into();
        } else if input.starts_with("/../") || input == "/.." {
            let end = if input == "/.." { 3 } else { 4 };
            input.replace_range(..end, "/");
            output.truncate(output.rfind('/').unwrap_or(0));
        } else {
            let end = input[1..].find('/').map_or(input.len(), |at| at + 1);
            output.extend(input.drain(..end));
        }
    }
    output
}

#[test]
fn dots_are_resolved_as_with_two_buffers() {
    // All paths of up to seven segments out of four kinds.
    let kinds = ["a", "", ".", ".."];
    for count in 1..=7_u32 {
        for choice in 0..4_usize.pow(count) {
            let mut path = String::new();
            for at in 0..count {
                path.push('/');
                path.push_str(kinds[choice / 4_usize.pow(at) % 4]);
            }
            let resolved = remove_dot_segments(&path);
            let expected: Vec<_> = match resolved.as_str() {
                "" | "/" => Vec::new(),
                resolved => resolved[1..].split('/').collect(),
            };
            assert_eq!(segments(&path), expected, "{path}");
        }
    }
}

#[test]
fn options_make_a_uri_in_normal_form() {
    let at = "[2001:db8:0:0::1]:5683";
    assert_eq!(composed(&[], at).unwrap(), "coap://[2001:db8::1]/");
    assert_eq!(
        composed(&[], "192.0.2.1:61616").unwrap(),
        "coap://192.0.2.1:61616/"
    );
    assert_eq!(
        composed(&[], "[fe80::1%7]:5683").unwrap(),
        "coap://[fe80::1]/"
    );
    assert_eq!(
        composed(
            &[
                (OptionNumber::URI_HOST, "b\u{fc}cher.example".as_bytes()),
                (OptionNumber::URI_PORT, b"\x01"),
                (OptionNumber::URI_PATH, b"a/b %?#[]"),
                (OptionNumber::URI_PATH, b""),
                (OptionNumber::URI_PATH, b"-._~!$&'()*+,;=:@"),
                (OptionNumber::URI_QUERY, b"a&b=/?:@ %\"\xc3\xa9"),
                (OptionNumber::URI_QUERY, b""),
            ],
            at
        )
        .unwrap(),
        "coap://b%C3%BCcher.example:1/a%2Fb%20%25%3F%23%5B%5D//-._~!$&'()*+,;=:@\
         ?a%26b=/?:@%20%25%22%C3%A9&"
    );
    // A port option wins over the port of the datagram, and the default port is left out.
    let port: &[u8] = b"\x16\x33";
    assert_eq!(
        composed(&[(OptionNumber::URI_PORT, port)], "192.0.2.1:99").unwrap(),
        "coap://192.0.2.1/"
    );
}

#[test]
fn other_schemes_leave_out_their_own_port() {
    let message = Message::parse(b"\x50\x01\0\0").unwrap();
    let shown = |scheme, to| {
        let mut text = String::new();
        write_uri_as(&mut text, scheme, &message, destination(to)).unwrap();
        text
    };
    assert_eq!(shown(Scheme::Coaps, "192.0.2.1:5684"), "coaps://192.0.2.1/");
    assert_eq!(
        shown(Scheme::Coaps, "192.0.2.1:5683"),
        "coaps://192.0.2.1:5683/"
    );
}

#[test]
fn options_that_make_no_uri_are_refused() {
    let at = "192.0.2.1:5683";
    let host = |value| composed(&[(OptionNumber::URI_HOST, value)], at);
    assert!(host(b"a b").is_err());
    assert!(host(b"a/b").is_err());
    assert!(host(b"a%4").is_err());
    assert!(host(b"").is_err());
    assert!(host(b"[::1").is_err());
    assert!(host(b"[::g]").is_err());
    assert!(host(b"[\xff]").is_err());
    assert!(host(b"a:1").is_err());
    assert_eq!(host(b"[2001:db8::1]").unwrap(), "coap://[2001:db8::1]/");
    assert_eq!(host(b"192.0.2.9").unwrap(), "coap://192.0.2.9/");
    // Read again this would be another host.
    assert!(host(b"a%41").is_err());
    let port = |value| composed(&[(OptionNumber::URI_PORT, value)], at);
    assert!(port(b"").is_err());
    assert!(port(b"\0\0").is_err());
    assert!(port(b"\x01\0\0").is_err());
    assert!(port(b"\x01\0\0\0\0").is_err());
    assert_eq!(port(b"\0\x01").unwrap(), "coap://192.0.2.1:1/");
    let path = |value| composed(&[(OptionNumber::URI_PATH, value)], at);
    assert!(path(b".").is_err());
    assert!(path(b"..").is_err());
    assert_eq!(path(b"...").unwrap(), "coap://192.0.2.1/...");
}
