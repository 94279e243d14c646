//! What of a message is inside and what outside (RFC 8613, section 4).

use super::floor::*;
use crate::message::{Direction, Inner, Split};

fn values(bytes: &[u8]) -> Vec<(OptionNumber, Vec<u8>)> {
    let message = Message::parse(bytes).unwrap();
    message
        .options()
        .filter(|option| option.number != OptionNumber::OSCORE)
        .map(|option| (option.number, option.value.to_vec()))
        .collect()
}

// Covers: GO-B-4.1-01, GO-B-4.2-01, GC-5-03, GC-3.2.2-05
#[test]
fn options_go_where_their_class_says() {
    let mut floor = Floor::new(2, Suite::default());
    let options: Vec<(OptionNumber, &[u8])> = vec![
        (OptionNumber::IF_MATCH, b"m"),
        (OptionNumber::URI_HOST, b"host"),
        (OptionNumber::OBSERVE, &[1]),
        (OptionNumber::URI_PORT, &[22]),
        (OptionNumber::URI_PATH, b"path"),
        (OptionNumber::URI_QUERY, b"q"),
        (OptionNumber::HOP_LIMIT, &[9]),
        (OptionNumber::BLOCK2, &[6]),
        (OptionNumber::PROXY_SCHEME, b"coap"),
        (OptionNumber::NO_RESPONSE, &[26]),
        (OptionNumber(2000), b"unknown"),
        (OptionNumber::MULTI_ETAG, b"for one server"),
    ];
    let plain = message(Type::Con, Code::GET, 1, &[0xaa], &options, b"payload");
    let (bytes, _) = floor.ask(0, To::Member(kid(1)), &plain);
    let outside = [
        (OptionNumber::URI_HOST, b"host".to_vec()),
        (OptionNumber::OBSERVE, vec![1]),
        (OptionNumber::URI_PORT, vec![22]),
        (OptionNumber::HOP_LIMIT, vec![9]),
        (OptionNumber::PROXY_SCHEME, b"coap".to_vec()),
    ];
    assert_eq!(values(&bytes), outside);
    let protected = Message::parse(&bytes).unwrap();
    assert_eq!(protected.code(), Code::FETCH);
    assert_eq!(protected.kind(), Type::Con);
    assert_eq!(floor.hear(1, &bytes).unwrap().message, plain);
    // Without Observe it is a POST; responses are 2.05 and 2.04.
    let (bytes, mut asked) = floor.ask(0, To::Group, &get(2, &[0xaa], "x"));
    assert_eq!(Message::parse(&bytes).unwrap().code(), Code::POST);
    let mut opened = floor.hear(1, &bytes).unwrap();
    let plain = content(3, &[0xaa], b"x");
    let response = floor.answer(1, &mut opened.received, &plain, None);
    assert_eq!(Message::parse(&response).unwrap().code(), Code::CHANGED);
    assert!(floor.listen(0, &response, &mut asked).is_ok());
    // A notification that nobody asked for stops there (RFC 8613, section 4.1.3.5.2).
    let options = [(OptionNumber::OBSERVE, &[][..])];
    let plain = message(Type::Non, Code::CONTENT, 4, &[0xaa], &options, b"x");
    let response = floor.answer(1, &mut opened.received, &plain, None);
    assert_eq!(Message::parse(&response).unwrap().code(), Code::CONTENT);
    assert_eq!(
        floor.listen(0, &response, &mut asked).unwrap_err(),
        Reason::Content
    );
}

// Covers: GO-B-4.1-02
#[test]
fn what_is_outside_and_belongs_inside_is_discarded() {
    let mut floor = Floor::new(2, Suite::default());
    let plain = get(1, &[0xaa], "temp");
    let (bytes, _) = floor.ask(0, To::Group, &plain);
    let protected = Message::parse(&bytes).unwrap();
    let raw = option(&bytes);
    let options: Vec<(OptionNumber, &[u8])> = vec![
        (OptionNumber::IF_MATCH, b"evil"),
        (OptionNumber::URI_HOST, b"proxied"),
        (OptionNumber::OBSERVE, &[]),
        (OptionNumber::OSCORE, &raw),
        (OptionNumber::URI_PATH, b"evil"),
        (OptionNumber::MAX_AGE, &[9]),
        (OptionNumber::ECHO, b"evilevil"),
        (OptionNumber::NO_RESPONSE, &[26]),
    ];
    let changed = message(
        Type::Con,
        Code::DELETE,
        5,
        &[0xbb],
        &options,
        protected.payload(),
    );
    let opened = floor.hear(1, &changed).unwrap();
    let opened = Message::parse(&opened.message).unwrap();
    assert_eq!(opened.code(), Code::GET);
    assert_eq!(
        (opened.kind(), opened.message_id()),
        (Type::Con, MessageId(5))
    );
    assert_eq!(opened.token().as_bytes(), [0xbb]);
    let kept = [
        (OptionNumber::URI_HOST, b"proxied".to_vec()),
        (OptionNumber::URI_PATH, b"temp".to_vec()),
    ];
    assert_eq!(values(opened.as_bytes()), kept);
}

// Covers: GO-B-4.1-03
#[test]
fn a_proxy_uri_is_taken_apart() {
    let cases: [(&str, &str, &[&str], &[&str]); 6] = [
        (
            "coap://example.com/resource?q=1",
            "coap://example.com",
            &["resource"],
            &["q=1"],
        ),
        (
            "coap://example.com:5683/a/b",
            "coap://example.com",
            &["a", "b"],
            &[],
        ),
        (
            "coap://example.com:61616/a",
            "coap://example.com:61616",
            &["a"],
            &[],
        ),
        (
            "coap://[2001:db8::1]/?x&y",
            "coap://[2001:db8::1]",
            &[],
            &["x", "y"],
        ),
        (
            "coap://[2001:db8::1]:99/%C3%A4",
            "coap://[2001:db8::1]:99",
            &["\u{e4}"],
            &[],
        ),
        ("coaps://h:5684", "coaps://h", &[], &[]),
    ];
    for (uri, outer, path, query) in cases {
        let mut floor = Floor::new(2, Suite::default());
        let options = [
            (OptionNumber::ACCEPT, &[][..]),
            (OptionNumber::PROXY_URI, uri.as_bytes()),
        ];
        let plain = message(Type::Con, Code::GET, 1, &[0xaa], &options, b"p");
        let (bytes, _) = floor.ask(0, To::Group, &plain);
        assert_eq!(
            values(&bytes),
            [(OptionNumber::PROXY_URI, outer.as_bytes().to_vec())],
            "{uri}"
        );
        let opened = floor.hear(1, &bytes).unwrap();
        let mut expected: Vec<(OptionNumber, Vec<u8>)> = vec![];
        let all = |number, texts: &[&str]| -> Vec<(OptionNumber, Vec<u8>)> {
            texts
                .iter()
                .map(|text| (number, text.as_bytes().to_vec()))
                .collect()
        };
        expected.extend(all(OptionNumber::URI_PATH, path));
        expected.extend(all(OptionNumber::URI_QUERY, query));
        expected.push((OptionNumber::ACCEPT, vec![]));
        expected.push((OptionNumber::PROXY_URI, outer.as_bytes().to_vec()));
        assert_eq!(values(&opened.message), expected, "{uri}");
    }
    let mut floor = Floor::new(2, Suite::default());
    let options = [(OptionNumber::PROXY_URI, &b"nonsense"[..])];
    let plain = message(Type::Con, Code::GET, 1, &[0xaa], &options, b"");
    let refused = floor.members[0].try_ask(To::Group, &plain).unwrap_err();
    assert_eq!(refused, ProtectError::Message(MessageRefused::ProxyUri));
}

#[test]
fn what_cannot_be_protected_uses_no_number() {
    let mut floor = Floor::new(2, Suite::default());
    let options = [(OptionNumber::OSCORE, &[][..])];
    let nested = message(Type::Con, Code::GET, 1, &[], &options, b"x");
    let one = &mut floor.members[0];
    let refused = |reason| ProtectError::Message(reason);
    assert_eq!(
        one.try_ask(To::Group, &nested).unwrap_err(),
        refused(MessageRefused::Nested)
    );
    let response = content(1, &[], b"x");
    assert_eq!(
        one.try_ask(To::Group, &response).unwrap_err(),
        refused(MessageRefused::Code)
    );
    let unknown = one
        .try_ask(To::Member(kid(9)), &get(1, &[], "x"))
        .unwrap_err();
    assert_eq!(unknown, ProtectError::UnknownMember);
    assert_eq!(
        one.try_ask(To::Peer, &get(1, &[], "x")).unwrap_err(),
        ProtectError::UnknownMember
    );
    let long = message(Type::Con, Code::POST, 1, &[], &[], &vec![0; 0x10000]);
    assert_eq!(
        one.try_ask(To::Group, &long).unwrap_err(),
        ProtectError::TooLong
    );
    assert_eq!(one.group().sequence().unwrap().next(), 0);
    let longest = message(Type::Con, Code::POST, 1, &[], &[], &vec![0; 0xffff - 2]);
    let (bytes, _) = one.try_ask(To::Group, &longest).unwrap();
    assert_eq!(one.group().sequence().unwrap().next(), 1);
    assert_eq!(floor.hear(1, &bytes).unwrap().message, longest);
}

#[test]
fn a_verified_message_with_nothing_sensible_inside_is_not_delivered_and_not_repeated() {
    // A member that encrypts a response as if it were a request.
    let mut floor = Floor::new(2, Suite::default());
    let own = kid(0);
    let option = crate::option::OscoreOption {
        partial_iv: crate::nonce::PartialIv::new(0),
        kid_context: Some(GID),
        kid: Some(own.as_bytes()),
        group_flag: true,
    };
    for (at, body) in [
        &[0x45_u8][..],
        &[0x00],
        &[0x01, 0xff],
        &[0x01, 0x90],
        &[0x45; 300],
    ]
    .into_iter()
    .enumerate()
    {
        let piv = crate::nonce::PartialIv::new(at as u64).unwrap();
        let mut raw = vec![];
        let option = crate::option::OscoreOption {
            partial_iv: Some(piv),
            ..option
        };
        option.write(&mut raw).unwrap();
        let one = &mut floor.members[0];
        let context = &mut one.contexts.group_mut(one.group).unwrap().current;
        let binding = crate::group_mode::Binding {
            request: true,
            request_kid: own,
            request_piv: piv,
            request_kid_context: GID,
            option: &raw,
            generator: own,
            piv,
        };
        let mut body = body.to_vec();
        let structure = context.group_encrypt(&binding, &mut body).unwrap();
        // One allocation, with room for the head of a message and no more.
        assert!(structure.capacity() - structure.len() < 128, "{at}");
        let algorithm = crate::suite::SignatureAlgorithm::EdDsa;
        let mut signature = one.key.sign_bytes(algorithm, &structure).unwrap();
        let stream = context.common.countersigning().keystream(&binding).unwrap();
        stream.apply(&mut signature).unwrap();
        body.extend_from_slice(&signature);
        let options = [(OptionNumber::OSCORE, &raw[..])];
        let bytes = message(Type::Non, Code::POST, 1, &[0xaa], &options, &body);
        let server = &mut floor.members[1];
        let server_said = server.hear(&bytes).unwrap_err();
        assert_eq!(server_said, Reason::Content, "{at}");
        assert_eq!(server.hear(&bytes).unwrap_err(), Reason::Replayed, "{at}");
    }
}

#[test]
fn no_number_is_taken_for_an_option_that_may_not_fit() {
    // 255 bytes: flags, the longest Partial IV, the length of the Gid, the Gid, the ID.
    for (gid, fits) in [(247, true), (248, false)] {
        let parameters = parameters(&vec![7; gid], 1, Suite::default());
        let settings = Settings::default();
        let mut group = Group::new("far", parameters, Some(own(0)), settings, None).unwrap();
        group.add_peer(kid(1), credential(1)).unwrap();
        let mut contexts = Contexts::new();
        let mut one = One {
            group: contexts.add_group(group),
            contexts,
            key: key(0),
            now: seconds(1),
        };
        for (number, to) in [(1, To::Group), (2, To::Member(kid(1)))] {
            let asked = one.try_ask(to, &get(1, &[0xaa], "temp"));
            let refused = asked.err();
            assert_eq!(refused, (!fits).then_some(ProtectError::TooLong));
            let next = one.group().sequence().unwrap().next();
            assert_eq!(next, if fits { number } else { 0 });
        }
        // With a number of five bytes it still fits.
        *one.group().sequence_mut().unwrap() = sequence_from(1 << 39);
        let asked = one.try_ask(To::Group, &get(1, &[0xaa], "temp"));
        assert_eq!(
            asked.map(|(bytes, _)| option(&bytes).len()).ok(),
            fits.then_some(255)
        );
    }
}

fn split(message: &Message<'_>, direction: Direction) -> Split {
    Split::of(message, direction).unwrap()
}

fn plaintext(message: &[u8], direction: Direction) -> Vec<u8> {
    let message = Message::parse(message).unwrap();
    let mut out = vec![];
    let split = split(&message, direction);
    split.write_plaintext(&message, &mut out).unwrap();
    out
}

/// On a microcontroller each message is one allocation, and no larger than it has to be.
#[test]
fn a_protected_message_takes_the_room_that_was_asked_for() {
    let plain = get(1, &[0xaa, 0xbb], "temp");
    let plain = Message::parse(&plain).unwrap();
    let split = split(&plain, Direction::Request);
    for (option, payload, room) in [(0, 9, 0), (1, 30, 64), (12, 9, 64)] {
        let value = vec![0x11; option];
        let body = vec![0x22; payload];
        let out = split.outer(&plain, &value, &body, room).unwrap();
        assert_eq!(out.len(), 4 + 2 + 1 + option + 1 + payload);
        assert_eq!(out.capacity(), out.len() + room, "{option}");
        let inner = Inner::parse(&body, Direction::Request);
        assert!(inner.is_err(), "0x22 is no method");
    }
    let body = plaintext(plain.as_bytes(), Direction::Request);
    let inner = Inner::parse(&body, Direction::Request).unwrap();
    let rebuilt = inner.rebuild(&plain, None).unwrap();
    assert_eq!(rebuilt, plain.as_bytes());
    assert_eq!(rebuilt.capacity(), rebuilt.len());
}

#[test]
fn there_is_room_for_the_longest_headers() {
    // Uri-Host stays outside, so that the inner option alone has to find its five bytes of header.
    let long = vec![7; 300];
    let options = [
        (OptionNumber::URI_HOST, &b"h"[..]),
        (OptionNumber(2000), &long),
    ];
    let plain = message(Type::Con, Code::GET, 1, &[0xaa], &options, b"");
    let mut expected = vec![0x01, 0xee];
    expected.extend_from_slice(&(2000_u16 - 269).to_be_bytes());
    expected.extend_from_slice(&(300_u16 - 269).to_be_bytes());
    expected.extend_from_slice(&long);
    assert_eq!(plaintext(&plain, Direction::Request), expected);
    let mut floor = Floor::new(2, Suite::default());
    let (bytes, _) = floor.ask(0, To::Group, &plain);
    assert_eq!(floor.hear(1, &bytes).unwrap().message, plain);
}

// RFC 8613, section 4.1.3.5.2
#[test]
fn the_inner_observe_of_a_notification_is_empty_and_its_number_takes_its_place() {
    let options = [
        (OptionNumber::ETAG, &b"e"[..]),
        (OptionNumber::OBSERVE, &[5]),
        (OptionNumber::MAX_AGE, &[60]),
    ];
    let notification = message(Type::Non, Code::CONTENT, 1, &[0xaa], &options, b"x");
    let inside = plaintext(&notification, Direction::Response);
    assert_eq!(inside, *b"\x45\x41e\x20\x81\x3c\xffx");
    let inner = Inner::parse(&inside, Direction::Response).unwrap();
    // What comes out has the number that it is given, and all else as it was.
    let outer = content(9, &[0xbb], b"sealed");
    let outer = Message::parse(&outer).unwrap();
    let rebuilt = inner.rebuild(&outer, Some(0x0102)).unwrap();
    let options = [
        (OptionNumber::ETAG, &b"e"[..]),
        (OptionNumber::OBSERVE, &[1, 2]),
        (OptionNumber::MAX_AGE, &[60]),
    ];
    let expected = message(Type::Non, Code::CONTENT, 9, &[0xbb], &options, b"x");
    assert_eq!(rebuilt, expected);
    // Of a request it stays inside as it is, and comes out as it is.
    let options = [(OptionNumber::OBSERVE, &[1][..])];
    let request = message(Type::Con, Code::GET, 1, &[0xaa], &options, b"");
    let inside = plaintext(&request, Direction::Request);
    assert_eq!(inside, [0x01, 0x61, 0x01]);
    let inner = Inner::parse(&inside, Direction::Request).unwrap();
    let parsed = Message::parse(&request).unwrap();
    assert_eq!(inner.rebuild(&parsed, None).unwrap(), request);
}

#[test]
fn what_is_protected_takes_the_place_of_what_is_not() {
    let inside = |options: &[(OptionNumber, &[u8])]| {
        let plain = message(Type::Con, Code::GET, 1, &[], options, b"p");
        let mut body = vec![Code::GET.to_u8()];
        body.extend_from_slice(Message::parse(&plain).unwrap().options_and_payload());
        body
    };
    let options = [
        (OptionNumber::URI_HOST, &b"outer"[..]),
        (OptionNumber::URI_PORT, &[9]),
        (OptionNumber::OSCORE, &[]),
    ];
    let outer = message(Type::Con, Code::POST, 1, &[], &options, b"sealed");
    let outer = Message::parse(&outer).unwrap();
    let rebuilt = |options: &[(OptionNumber, &[u8])]| {
        let body = inside(options);
        let inner = Inner::parse(&body, Direction::Request).unwrap();
        values(&inner.rebuild(&outer, None).unwrap())
    };
    let (host, port) = (OptionNumber::URI_HOST, OptionNumber::URI_PORT);
    let expected = [(host, b"inner".to_vec()), (port, vec![9])];
    assert_eq!(rebuilt(&[(host, b"inner")]), expected);
    let expected = [(host, b"outer".to_vec()), (port, vec![8])];
    assert_eq!(rebuilt(&[(port, &[8])]), expected);
}

// RFC 7252, section 5.10.2
#[test]
fn a_proxy_uri_takes_precedence_over_path_and_query() {
    let mut floor = Floor::new(2, Suite::default());
    let options = [
        (OptionNumber::URI_PATH, &b"other"[..]),
        (OptionNumber::URI_QUERY, b"o=1"),
        (OptionNumber::PROXY_URI, b"coap://h/a?q=1"),
        (OptionNumber::SIZE1, &[7]),
    ];
    let plain = message(Type::Con, Code::GET, 1, &[0xaa], &options, b"");
    let (bytes, _) = floor.ask(0, To::Group, &plain);
    let opened = floor.hear(1, &bytes).unwrap().message;
    let expected = [
        (OptionNumber::URI_PATH, b"a".to_vec()),
        (OptionNumber::URI_QUERY, b"q=1".to_vec()),
        (OptionNumber::PROXY_URI, b"coap://h".to_vec()),
        (OptionNumber::SIZE1, vec![7]),
    ];
    assert_eq!(values(&opened), expected);
}
