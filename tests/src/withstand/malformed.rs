//! Garbage, truncation, oversize, wrong versions, token tricks, option floods.

use antiphon_netsim::Rng;
use antiphon_proto::EndpointConfig;
use antiphon_tests::stage::parse;
use antiphon_wire::{Code, Header, Message, OptionNumber, Type};

use super::bare::{Bare, Datagram, group, me, request};

/// What may come back for these bytes by unicast: a Reset for a Confirmable message that is not well-formed.
fn is_due_reset(bytes: &[u8], reply: &[u8]) -> bool {
    let header = Header::peek(bytes).unwrap();
    reply.len() == 4 && reply[..2] == [0x70, 0] && reply[2..] == header.message_id.0.to_be_bytes()
}

// Covers: GC-3.1-38
#[test]
fn ten_thousand_random_datagrams_get_no_reply_through_a_group() {
    let seed = antiphon_netsim::seed_from_env(1);
    let mut rng = Rng::new(seed);
    let mut bare = Bare::new(EndpointConfig::default());
    let mut malformed = 0;
    for n in 0..10_000 {
        let mut bytes = vec![0; rng.between(0, 64) as usize];
        rng.fill(&mut bytes);
        if n % 4 == 0 && !bytes.is_empty() {
            bytes[0] = 0x40 | bytes[0] & 0x3f; // the right version
        }
        // What happens to be a valid request for /r would rightly be answered.
        let is_message = Message::parse(&bytes).is_ok();
        malformed += u64::from(!is_message);
        assert_eq!(bare.hear(group(), &bytes), [], "seed {seed}: {bytes:?}");
        let replies = bare.hear(me(), &bytes);
        if !is_message {
            let con = Header::peek(&bytes).is_some_and(|h| h.kind == Type::Con);
            assert_eq!(replies.len(), usize::from(con), "seed {seed}: {bytes:?}");
            assert!(replies.iter().all(|(_, reply)| is_due_reset(&bytes, reply)));
        }
    }
    assert!(malformed > 5_000);
    assert!(bare.endpoint.counters().malformed >= 2 * malformed);
    assert!(bare.diary.is_empty());
    bare.goes_on();
}

#[test]
fn every_truncation_of_a_message_is_survived() {
    let options = [
        (OptionNumber::URI_QUERY, &[b'q'; 300][..]),
        (OptionNumber(65_000), &[1, 2, 3]),
    ];
    for kind in [Type::Con, Type::Non] {
        let whole = request(kind, 1, b"12345678", &options);
        let mut bare = Bare::new(EndpointConfig::default());
        for len in 0..whole.len() {
            let mut cut = whole[..len].to_vec();
            if len >= 4 {
                cut[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            }
            let parses = Message::parse(&cut).is_ok();
            let through_group = bare.hear(group(), &cut);
            assert!(parses || through_group.is_empty());
            for (_, reply) in bare.hear(me(), &cut) {
                assert!(parses || is_due_reset(&cut, &reply));
            }
        }
        bare.goes_on();
    }
}

#[test]
fn the_largest_datagram_is_processed_and_a_longer_one_is_no_message() {
    let mut bare = Bare::new(EndpointConfig::default());
    let head = request(Type::Con, 1, b"abcd", &[]);
    let body = vec![b'x'; 65_507 - head.len() - 1];
    let mut bytes = head.clone();
    bytes.push(0xff);
    bytes.extend_from_slice(&body);
    assert_eq!(bytes.len(), 65_507);
    assert_eq!(bare.hear(me(), &bytes).len(), 1);
    assert_eq!(bare.diary.entries()[0].payload.len(), body.len());
    // An option that claims more than there is.
    for claim in [&b"\xbe\xff\xff"[..], b"\xbe\xff\xfe", b"\xbd\xff", b"\xb1"] {
        let mut bytes = b"\x40\x01\x00\x09".to_vec();
        bytes.extend_from_slice(claim);
        assert!(is_due_reset(&bytes, &bare.hear(me(), &bytes)[0].1));
        assert_eq!(bare.hear(group(), &bytes), []);
    }
    bare.goes_on();
}

#[test]
fn an_answer_that_fits_no_datagram_is_sent_in_blocks() {
    use antiphon_proto::{Access, GroupPolicy, Resource};
    let mut bare = Bare::new(EndpointConfig::default());
    let large = "x".repeat(2_000);
    let handler = antiphon_tests::stage::Diary::new().handler(Code::CONTENT, &large);
    let policy = GroupPolicy::respond().limit(100_000);
    let resource = Resource::at("/large").get(handler).group_policy(policy);
    let server = bare.endpoint.server_mut();
    server.add(resource.access(Access::Unsecured)).unwrap();
    let mut asked = Datagram::get(1, b"abcd", "large");
    asked[0] = 0x44;
    let answers = bare.hear(me(), &asked);
    let answer = parse(&answers[0].1);
    assert_eq!((answer.kind(), answer.code()), (Type::Ack, Code::CONTENT));
    let block = answer.option(antiphon_wire::OptionNumber::BLOCK2);
    let block = antiphon_wire::BlockValue::decode(block.unwrap()).unwrap();
    assert_eq!((block.num(), block.more(), block.size()), (0, true, 1_024));
    assert_eq!(answer.payload().len(), 1_024);
    assert_eq!(bare.endpoint.counters().too_large, 0);
    bare.goes_on();
}

#[test]
fn other_versions_are_silently_ignored() {
    let mut bare = Bare::new(EndpointConfig::default());
    for version in [0, 2, 3] {
        for kind in [Type::Con, Type::Non] {
            let mut bytes = request(kind, 1, b"abcd", &[]);
            bytes[0] = bytes[0] & 0x3f | version << 6;
            assert_eq!(bare.hear(me(), &bytes), []);
            assert_eq!(bare.hear(group(), &bytes), []);
        }
    }
    assert!(bare.diary.is_empty());
    bare.goes_on();
}

#[test]
fn token_lengths_beyond_eight_are_errors_and_never_read_as_something_else() {
    let mut bare = Bare::new(EndpointConfig::default());
    for length in 9..=15_u8 {
        for kind in [Type::Con, Type::Non] {
            // Long enough for RFC 8974, with a valid request behind an extended token of 13 bytes.
            let mut bytes = request(kind, u16::from(length), b"", &[]);
            bytes[0] |= length;
            bytes.splice(4..4, [0; 14]);
            let replies = bare.hear(me(), &bytes);
            assert_eq!(replies.len(), usize::from(kind == Type::Con));
            assert!(replies.iter().all(|(_, reply)| is_due_reset(&bytes, reply)));
            assert_eq!(bare.hear(group(), &bytes), []);
        }
    }
    assert!(bare.diary.is_empty());
    // All others come back as they are.
    for length in 0..=8 {
        let token = &b"\x00\x01\x02\x03\x04\x05\x06\x07"[..length];
        for (mid, local) in [(100, me()), (200, group())] {
            let asked = request(Type::Non, mid + length as u16, token, &[]);
            let answers = bare.hear(local, &asked);
            assert_eq!(parse(&answers[0].1).token().as_bytes(), token);
        }
    }
    // An empty message with a token is none.
    assert_eq!(bare.hear(group(), b"\x41\x00\x00\x01\xaa"), []);
    let reply = bare.hear(me(), b"\x41\x00\x00\x01\xaa");
    assert_eq!(reply[0].1, b"\x70\x00\x00\x01");
    bare.goes_on();
}

#[test]
fn thousands_of_options_are_read_in_passing() {
    let mut bare = Bare::new(EndpointConfig::default());
    // 65,000 empty options of unknown elective and critical numbers, one byte each.
    for (number, kind, replies) in [
        (2_000, Type::Con, Code::CONTENT),
        (2_001, Type::Con, Code::BAD_OPTION),
    ] {
        let mut bytes = request(kind, number, b"abcd", &[(OptionNumber(number), b"")]);
        bytes.resize(65_000, 0x00); // the same number again
        let answers = bare.hear(me(), &bytes);
        assert_eq!(parse(&answers[0].1).code(), replies, "{number}");
        assert!(answers[0].1.len() < 100);
    }
    assert_eq!(bare.diary.len(), 1);
    // Through the group the critical ones are met with silence.
    let mut bytes = request(Type::Non, 1, b"abcd", &[(OptionNumber(2_001), b"")]);
    bytes.resize(65_000, 0x00);
    assert_eq!(bare.hear(group(), &bytes), []);
    // A path of 60,000 segments is a path that nobody has.
    let mut bytes = request(Type::Con, 2, b"abcd", &[]);
    bytes.resize(60_000, 0x00);
    assert_eq!(parse(&bare.hear(me(), &bytes)[0].1).code(), Code::NOT_FOUND);
    bare.goes_on();
}

#[test]
fn reserved_codes_and_types_that_do_not_fit_do_nothing_through_a_group() {
    let mut bare = Bare::new(EndpointConfig::default());
    for first in 0..=255_u8 {
        for code in 0..=255_u8 {
            let mut bytes = vec![first, code, 0x12, code];
            bytes.extend_from_slice(&[0xaa; 8][..usize::from(first & 0x0f).min(8)]);
            let replies = bare.hear(group(), &bytes);
            assert_eq!(replies, [], "{first:02x} {code:02x}");
        }
    }
    bare.goes_on();
}
