//! One endpoint, datagram by datagram: what it answers and what it does not.

#[cfg(feature = "client")]
mod blocks;
#[cfg(feature = "client")]
mod cached;
mod counted;
#[cfg(feature = "client")]
mod exchanges;
mod notify;
#[cfg(feature = "client")]
mod observe;
#[cfg(all(feature = "client", feature = "oscore"))]
mod secured;
#[cfg(feature = "oscore")]
mod serving;
mod work;

use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use antiphon_wire::{ContentFormat, NoResponse, OptionNumber, Writer};

use super::*;
use crate::membership::CoapGroupSpec;
use crate::policy::{Access, GroupPolicy, Leisure};
use crate::resource::{Methods, Resource};
use crate::work::WorkResult;
#[cfg(feature = "client")]
use crate::{
    collection::{CollectionId, GroupRequest},
    event::ExchangeId,
    exchange::{Reliability, RequestError, UnicastRequest},
    message::Request,
};

const GROUP: ([u8; 4], u16) = ([224, 0, 1, 187], 5683);
const ME: ([u8; 4], u16) = ([10, 0, 0, 1], 5683);
const PEER: ([u8; 4], u16) = ([10, 0, 0, 2], 40_000);
const UNICAST: SocketId = SocketId(0);
const OF_GROUP: SocketId = SocketId(9);

struct Bench {
    endpoint: Endpoint,
    now: Instant,
    handled: Arc<AtomicU32>,
}

/// An endpoint that is a member of a group and has a few resources.
fn bench(config: EndpointConfig) -> Bench {
    let mut endpoint = Endpoint::new(config, [3; 32]);
    endpoint.add_socket(
        UNICAST,
        SocketInfo {
            local: ME.into(),
            respond_from: None,
        },
    );
    endpoint.add_socket(
        OF_GROUP,
        SocketInfo {
            local: GROUP.into(),
            respond_from: None,
        },
    );
    let handled = Arc::new(AtomicU32::new(0));
    let counter = handled.clone();
    let server = endpoint.server_mut();
    server.set_nosec(crate::policy::NoSecPolicy::Stated);
    let at_once = GroupPolicy::respond().leisure(Leisure::Fixed(Duration::ZERO));
    let count = move |_: &crate::resource::Incoming<'_>, response: &mut Response| {
        counter.fetch_add(1, Ordering::Relaxed);
        response.reset(Code::CONTENT);
        response.set_payload(ContentFormat::TEXT, b"21.5 C");
    };
    let resources = [
        Resource::at("/t").get(count).group_policy(at_once.clone()),
        Resource::at("/slow")
            .deferred(Methods::GET)
            .group_policy(at_once.clone()),
        Resource::at("/wait")
            .get(|_, r| r.set_payload(ContentFormat::TEXT, b"w"))
            .group_policy(GroupPolicy::respond().leisure(Leisure::Fixed(Duration::from_secs(3)))),
    ];
    for resource in resources {
        server.add(resource.access(Access::Unsecured)).unwrap();
    }
    server
        .memberships_mut()
        .create(CoapGroupSpec::new(GROUP.into()).on(1).unsecured())
        .unwrap();
    let mut bench = Bench {
        endpoint,
        now: Instant::ZERO,
        handled,
    };
    while let Some(work) = bench.endpoint.poll_work(bench.now) {
        bench
            .endpoint
            .work_done(bench.now, work.id, WorkResult::Done);
    }
    while bench.endpoint.poll_event().is_some() {}
    bench
}

fn path(to_group: bool) -> Path {
    Path {
        socket: if to_group { OF_GROUP } else { UNICAST },
        local: if to_group { GROUP.into() } else { ME.into() },
        interface: 1,
        peer: PEER.into(),
    }
}

fn message(kind: Type, code: Code, mid: u16, options: &[(OptionNumber, &[u8])]) -> Vec<u8> {
    let mut bytes = [0; 256];
    let token = Token::new(&[0xaa, 0xbb]).unwrap();
    let mut writer = Writer::new(&mut bytes, kind, code, MessageId(mid), token).unwrap();
    for (number, value) in options {
        writer.option(*number, value).unwrap();
    }
    let len = writer.finish();
    bytes[..len].to_vec()
}

fn get(kind: Type, mid: u16, at: &str) -> Vec<u8> {
    message(
        kind,
        Code::GET,
        mid,
        &[(OptionNumber::URI_PATH, at.as_bytes())],
    )
}

impl Bench {
    fn hear(&mut self, path: Path, bytes: &[u8]) -> Vec<(Route, Vec<u8>)> {
        self.endpoint.handle_datagram(self.now, path, bytes);
        self.sent()
    }

    fn sent(&mut self) -> Vec<(Route, Vec<u8>)> {
        let mut all = Vec::new();
        let mut out = Vec::new();
        while let Some(transmit) = self.endpoint.poll_transmit(self.now, &mut out) {
            assert_eq!(transmit.len, out.len());
            all.push((transmit.route, out.clone()));
        }
        all
    }

    fn pass(&mut self, duration: Duration) -> Vec<(Route, Vec<u8>)> {
        self.now = self.now + duration;
        self.endpoint.handle_timeout(self.now);
        self.sent()
    }

    fn handled(&self) -> u32 {
        self.handled.load(Ordering::Relaxed)
    }

    fn request_event(&mut self) -> IncomingId {
        match self.endpoint.poll_event() {
            Some(Event::Request { incoming, .. }) => incoming,
            other => panic!("{other:?}"),
        }
    }
}

fn parsed(bytes: &[u8]) -> (Type, Code, u16) {
    let message = Message::parse(bytes).unwrap();
    (message.kind(), message.code(), message.message_id().0)
}

#[test]
fn a_confirmable_request_gets_a_piggybacked_response_from_where_it_was_sent_to() {
    let mut bench = bench(EndpointConfig::default());
    let sent = bench.hear(path(false), &get(Type::Con, 7, "t"));
    let [(route, bytes)] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    assert_eq!(route.destination, PEER.into());
    assert_eq!(
        (route.socket, route.source),
        (UNICAST, Some(SocketAddr::from(ME).ip()))
    );
    let message = Message::parse(bytes).unwrap();
    assert_eq!(parsed(bytes), (Type::Ack, Code::CONTENT, 7));
    assert_eq!(
        (message.token().as_bytes(), message.payload()),
        ([0xaa, 0xbb].as_slice(), b"21.5 C".as_slice())
    );
}

#[test]
fn a_duplicate_confirmable_request_gets_the_same_bytes_without_being_processed_again() {
    let mut bench = bench(EndpointConfig::default());
    let first = bench.hear(path(false), &get(Type::Con, 7, "t"));
    let second = bench.hear(path(false), &get(Type::Con, 7, "t"));
    assert_eq!(first, second);
    assert_eq!(bench.handled(), 1);
    assert_eq!(bench.endpoint.counters().replies_repeated, 1);
}

// Covers: GC-3.1-04, GC-3.1-15, GN-A.2.1-02
#[test]
fn a_duplicate_group_request_is_processed_once_and_its_lost_response_is_not_made_again() {
    let mut bench = bench(EndpointConfig::default());
    assert_eq!(bench.hear(path(true), &get(Type::Non, 7, "t")).len(), 1);
    assert_eq!(
        bench.hear(path(true), &get(Type::Non, 7, "t")).len(),
        0,
        "no second response"
    );
    bench.now = bench.now + Duration::from_secs(145) - Duration::from_micros(1);
    assert_eq!(bench.hear(path(true), &get(Type::Non, 7, "t")).len(), 0);
    assert_eq!(bench.handled(), 1, "one action");
    bench.now = bench.now + Duration::from_micros(1);
    assert_eq!(
        bench.hear(path(true), &get(Type::Non, 7, "t")).len(),
        1,
        "NON_LIFETIME is over"
    );
    let mut config = EndpointConfig::default();
    config.dedup.records = 0;
    let mut without = self::bench(config);
    without.hear(path(true), &get(Type::Non, 7, "t"));
    without.hear(path(true), &get(Type::Non, 7, "t"));
    assert_eq!(without.handled(), 2, "twice when deduplication is off");
}

#[test]
fn a_request_that_arrives_through_two_groups_is_processed_once() {
    let mut bench = bench(EndpointConfig::default());
    let other = ([224, 0, 1, 188], 5683).into();
    let memberships = bench.endpoint.server_mut().memberships_mut();
    memberships
        .create(CoapGroupSpec::new(other).on(1).unsecured())
        .unwrap();
    while let Some(work) = bench.endpoint.poll_work(bench.now) {
        bench
            .endpoint
            .work_done(bench.now, work.id, WorkResult::Done);
    }
    bench.hear(path(true), &get(Type::Non, 7, "t"));
    let through_other = Path {
        socket: SocketId(10),
        local: other,
        ..path(true)
    };
    assert!(
        bench
            .hear(through_other, &get(Type::Non, 7, "t"))
            .is_empty()
    );
    assert_eq!(bench.handled(), 1);
    bench.hear(through_other, &get(Type::Non, 8, "t"));
    assert_eq!(bench.handled(), 2, "the other group is really heard");
}

#[test]
fn the_same_message_id_with_another_content_is_another_request() {
    let mut bench = bench(EndpointConfig::default());
    bench.hear(path(false), &get(Type::Con, 7, "t"));
    let sent = bench.hear(path(false), &get(Type::Con, 7, "nothing"));
    assert_eq!(parsed(&sent[0].1), (Type::Ack, Code::NOT_FOUND, 7));
}

// Covers: GC-3.1-05, GC-3.1-20, GC-3.5-04
#[test]
fn a_group_answer_is_a_fresh_non_by_unicast_from_the_group_port() {
    let mut bench = bench(EndpointConfig::default());
    let sent = bench.hear(path(true), &get(Type::Non, 7, "t"));
    let [(route, bytes)] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    assert_eq!(route.destination, PEER.into(), "to the request's source");
    assert_eq!(route.socket, UNICAST, "whose port is the group's");
    assert_eq!(route.source, None, "the source is never the group");
    let (kind, code, mid) = parsed(bytes);
    assert_eq!((kind, code), (Type::Non, Code::CONTENT));
    assert_ne!(mid, 7, "a Message ID of its own");
    let second = bench.hear(path(true), &get(Type::Non, 8, "t"));
    assert_ne!(parsed(&second[0].1).2, mid);
}

// Covers: GC-3.1-03
#[test]
fn a_confirmable_group_request_is_ignored_and_the_same_as_non_is_answered() {
    let mut bench = bench(EndpointConfig::default());
    assert!(bench.hear(path(true), &get(Type::Con, 7, "t")).is_empty());
    assert_eq!(
        (bench.handled(), bench.endpoint.counters().group_not_non),
        (0, 1)
    );
    assert_eq!(bench.hear(path(true), &get(Type::Non, 8, "t")).len(), 1);
}

// Covers: GC-3.1-34, GC-3.1-36
#[test]
fn what_cannot_be_processed_is_met_with_silence_in_a_group_and_with_an_error_by_unicast() {
    let mut bench = bench(EndpointConfig::default());
    let unknown = (OptionNumber(65_001), b"x".as_slice());
    let odd = |kind, mid| {
        message(
            kind,
            Code::GET,
            mid,
            &[(OptionNumber::URI_PATH, b"t"), unknown],
        )
    };
    assert!(
        bench.hear(path(true), &odd(Type::Non, 1)).is_empty(),
        "no Reset, no 4.02"
    );
    assert!(bench.pass(Duration::from_secs(60)).is_empty(), "nor later");
    let answer = bench.hear(path(false), &odd(Type::Con, 2));
    assert_eq!(parsed(&answer[0].1), (Type::Ack, Code::BAD_OPTION, 2));
    let truncated = &get(Type::Non, 3, "t")[..7];
    assert!(
        bench.hear(path(true), truncated).is_empty(),
        "no Reset for a format error"
    );
    let rejected = bench.hear(path(false), &odd(Type::Non, 4));
    assert_eq!(parsed(&rejected[0].1), (Type::Rst, Code::EMPTY, 4));
    assert_eq!(bench.handled(), 0);
}

// Covers: GC-3.1-38
#[test]
fn garbage_to_the_group_is_dropped_and_the_next_request_is_answered() {
    let mut bench = bench(EndpointConfig::default());
    let mut rng = Rng::from_seed([8; 32]);
    for _ in 0..10_000 {
        let mut garbage = alloc::vec![0; rng.up_to(80) as usize];
        rng.fill(&mut garbage);
        // A well-formed request by chance would not be garbage.
        if let Some(code) = garbage.get_mut(1) {
            *code |= 0x40;
        }
        assert!(bench.hear(path(true), &garbage).is_empty());
    }
    assert_eq!(bench.hear(path(true), &get(Type::Non, 8, "t")).len(), 1);
}

#[test]
fn only_a_malformed_confirmable_unicast_message_is_reset() {
    let mut bench = bench(EndpointConfig::default());
    let bad = |kind| {
        let mut bytes = get(kind, 9, "t");
        bytes.push(0xff); // a payload marker with no payload
        bytes
    };
    let sent = bench.hear(path(false), &bad(Type::Con));
    assert_eq!(sent[0].1, [0x70, 0, 0, 9]);
    assert!(bench.hear(path(false), &bad(Type::Non)).is_empty());
    assert!(bench.hear(path(false), &bad(Type::Ack)).is_empty());
    assert!(bench.hear(path(true), &bad(Type::Con)).is_empty());
    let mut version_2 = bad(Type::Con);
    version_2[0] = 0x80 | version_2[0] & 0x3f;
    assert!(
        bench.hear(path(false), &version_2).is_empty(),
        "unknown versions are ignored"
    );
    assert_eq!(bench.endpoint.counters().malformed, 5);
    assert_eq!(bench.endpoint.counters().malformed_reset, 1);
}

#[test]
fn a_ping_is_answered_by_a_reset_unless_it_came_by_multicast() {
    let mut bench = bench(EndpointConfig::default());
    assert_eq!(
        bench.hear(path(false), &[0x40, 0, 0x12, 0x34])[0].1,
        [0x70, 0, 0x12, 0x34]
    );
    assert!(bench.hear(path(false), &[0x50, 0, 0x12, 0x34]).is_empty());
    assert!(bench.hear(path(true), &[0x40, 0, 0x12, 0x34]).is_empty());
    assert_eq!(bench.endpoint.counters().group_not_request, 1);
}

#[test]
fn a_response_that_belongs_to_nothing_is_reset_if_confirmable_and_else_only_on_wish() {
    let stray = |kind| message(kind, Code::CONTENT, 5, &[]);
    let mut bench = bench(EndpointConfig::default());
    assert_eq!(
        bench.hear(path(false), &stray(Type::Con))[0].1,
        [0x70, 0, 0, 5]
    );
    assert!(bench.hear(path(false), &stray(Type::Non)).is_empty());
    assert!(bench.hear(path(false), &stray(Type::Ack)).is_empty());
    assert!(
        bench.hear(path(true), &stray(Type::Non)).is_empty(),
        "never by multicast"
    );
    assert!(bench.endpoint.poll_event().is_none());
    let mut resetting = self::bench(EndpointConfig {
        reset_unmatched: true,
        ..EndpointConfig::default()
    });
    assert_eq!(
        resetting.hear(path(false), &stray(Type::Non))[0].1,
        [0x70, 0, 0, 5]
    );
    assert!(resetting.hear(path(true), &stray(Type::Non)).is_empty());
}

#[test]
fn a_quick_deferred_handler_is_piggybacked_and_a_slow_one_answers_separately() {
    let mut bench = bench(EndpointConfig::default());
    assert!(
        bench
            .hear(path(false), &get(Type::Con, 7, "slow"))
            .is_empty()
    );
    let incoming = bench.request_event();
    bench
        .endpoint
        .respond(bench.now, incoming, Response::new(Code::CONTENT));
    assert_eq!(parsed(&bench.sent()[0].1), (Type::Ack, Code::CONTENT, 7));

    bench.hear(path(false), &get(Type::Con, 8, "slow"));
    let incoming = bench.request_event();
    assert_eq!(
        bench.endpoint.next_timeout(),
        Some(bench.now + Duration::from_millis(500))
    );
    assert!(bench.pass(Duration::from_micros(499_999)).is_empty());
    assert_eq!(
        bench.pass(Duration::from_micros(1))[0].1,
        [0x60, 0, 0, 8],
        "an empty acknowledgement"
    );
    assert_eq!(
        bench.hear(path(false), &get(Type::Con, 8, "slow"))[0].1,
        [0x60, 0, 0, 8],
        "for duplicates too"
    );
    bench
        .endpoint
        .respond(bench.now, incoming, Response::new(Code::CONTENT));
    let sent = bench.sent();
    let (kind, code, mid) = parsed(&sent[0].1);
    assert_eq!((kind, code), (Type::Con, Code::CONTENT));
    let again = bench.pass(Duration::from_secs(3));
    assert_eq!(again, sent, "retransmitted, the same bytes");
    let [high, low] = mid.to_be_bytes();
    bench.hear(path(false), &[0x60, 0, high, low]);
    assert!(
        bench.pass(Duration::from_secs(100)).is_empty(),
        "until acknowledged"
    );
}

#[test]
fn a_separate_response_that_nobody_acknowledges_is_reported() {
    let mut bench = bench(EndpointConfig::default());
    for (mid, reset) in [(8, true), (9, false)] {
        bench.hear(path(false), &get(Type::Con, mid, "slow"));
        let incoming = bench.request_event();
        bench.pass(Duration::from_secs(1));
        bench
            .endpoint
            .respond(bench.now, incoming, Response::new(Code::CONTENT));
        let [high, low] = parsed(&bench.sent()[0].1).2.to_be_bytes();
        let failure = if reset {
            bench.hear(path(false), &[0x70, 0, high, low]);
            Failure::Reset
        } else {
            for _ in 0..5 {
                bench.pass(Duration::from_secs(50));
            }
            Failure::TimedOut
        };
        assert_eq!(
            bench.endpoint.poll_event(),
            Some(Event::Undelivered { incoming, failure })
        );
    }
}

#[test]
fn separate_responses_that_nobody_acknowledges_are_bounded() {
    let mut config = EndpointConfig::default();
    config.limits.confirmables = 1;
    let mut bench = bench(config);
    let mut kinds = Vec::new();
    for mid in 0..3 {
        bench.hear(path(false), &get(Type::Con, mid, "slow"));
        let incoming = bench.request_event();
        bench.pass(Duration::from_millis(500));
        bench
            .endpoint
            .respond(bench.now, incoming, Response::new(Code::CONTENT));
        kinds.extend(bench.sent().iter().map(|(_, bytes)| parsed(bytes).0));
    }
    assert_eq!(kinds, [Type::Con, Type::Non, Type::Non]);
    assert_eq!(bench.endpoint.load().confirmables, 1);
}

#[test]
fn a_peer_that_acknowledges_nothing_takes_its_own_share_only() {
    let mut config = EndpointConfig::default();
    config.limits.separate_per_address = 1;
    let mut bench = bench(config);
    let mut separate = |peer: [u8; 4], mid| {
        let path = Path {
            peer: (peer, 40_000).into(),
            ..path(false)
        };
        bench.hear(path, &get(Type::Con, mid, "slow"));
        let incoming = bench.request_event();
        bench.pass(Duration::from_millis(500));
        let response = Response::new(Code::CONTENT);
        bench.endpoint.respond(bench.now, incoming, response);
        let (kind, _, sent) = parsed(&bench.sent()[0].1);
        (kind, move |bench: &mut Bench| {
            let [high, low] = sent.to_be_bytes();
            bench.hear(path, &[0x60, 0, high, low]);
        })
    };
    let (first, acknowledge) = separate([10, 0, 0, 2], 1);
    assert_eq!(first, Type::Con);
    assert_eq!(
        separate([10, 0, 0, 2], 2).0,
        Type::Non,
        "its share is taken"
    );
    assert_eq!(separate([10, 0, 0, 3], 3).0, Type::Con, "another's is not");
    acknowledge(&mut bench);
    let path = path(false);
    bench.hear(path, &get(Type::Con, 9, "slow"));
    let incoming = bench.request_event();
    bench.pass(Duration::from_millis(500));
    bench
        .endpoint
        .respond(bench.now, incoming, Response::new(Code::CONTENT));
    let kinds: Vec<Type> = bench.sent().iter().map(|(_, b)| parsed(b).0).collect();
    assert!(
        kinds.contains(&Type::Con),
        "what is given back can be taken again"
    );
}

#[test]
fn a_deferred_request_whose_handler_never_answers_is_forgotten() {
    let mut bench = bench(EndpointConfig::default());
    bench.hear(path(false), &get(Type::Non, 7, "slow"));
    let incoming = bench.request_event();
    assert_eq!(bench.endpoint.load().incoming, 1);
    bench.pass(Duration::from_secs(300));
    assert_eq!(
        (
            bench.endpoint.load().incoming,
            bench.endpoint.counters().deferred_expired
        ),
        (0, 1)
    );
    bench
        .endpoint
        .respond(bench.now, incoming, Response::new(Code::CONTENT));
    assert!(bench.sent().is_empty(), "a late answer is ignored");
}

#[test]
fn too_many_deferred_requests_are_refused() {
    let mut config = EndpointConfig::default();
    config.limits.incoming = 1;
    let mut bench = bench(config);
    assert!(
        bench
            .hear(path(false), &get(Type::Con, 7, "slow"))
            .is_empty()
    );
    let sent = bench.hear(path(false), &get(Type::Con, 8, "slow"));
    assert_eq!(
        parsed(&sent[0].1),
        (Type::Ack, Code::SERVICE_UNAVAILABLE, 8)
    );
    assert!(
        bench
            .hear(path(true), &get(Type::Non, 9, "slow"))
            .is_empty(),
        "silence in a group"
    );
    assert_eq!(bench.endpoint.counters().deferred_dropped, 2);
}

// Covers: GC-A.2.1-02
#[test]
fn leisure_delays_the_response_and_not_the_action() {
    let mut bench = bench(EndpointConfig::default());
    assert!(
        bench
            .hear(path(true), &get(Type::Non, 7, "wait"))
            .is_empty()
    );
    assert_eq!(
        bench.endpoint.server().counters().handled,
        1,
        "the handler has run"
    );
    let due = bench.endpoint.next_timeout().unwrap();
    assert!(due > bench.now && due <= bench.now + Duration::from_secs(3));
    let just_before = due.since(bench.now) - Duration::from_micros(1);
    assert!(bench.pass(just_before).is_empty());
    assert_eq!(bench.pass(Duration::from_micros(1)).len(), 1);
}

#[test]
fn group_answers_that_wait_are_bounded() {
    let mut config = EndpointConfig::default();
    config.limits.pending_answers = 2;
    let mut bench = bench(config);
    for mid in 0..5 {
        bench.hear(path(true), &get(Type::Non, mid, "wait"));
    }
    assert_eq!(
        (
            bench.endpoint.load().pending_answers,
            bench.endpoint.counters().answers_dropped
        ),
        (2, 3)
    );
    assert_eq!(bench.pass(Duration::from_secs(3)).len(), 2);
}

#[test]
fn a_confirmable_request_whose_response_is_not_wanted_is_still_acknowledged() {
    let mut bench = bench(EndpointConfig::default());
    let silent = message(
        Type::Con,
        Code::GET,
        7,
        &[
            (OptionNumber::URI_PATH, b"t"),
            (
                OptionNumber::NO_RESPONSE,
                NoResponse::ALL.encode().as_bytes(),
            ),
        ],
    );
    assert_eq!(bench.hear(path(false), &silent)[0].1, [0x60, 0, 0, 7]);
    assert_eq!(
        bench.hear(path(false), &silent)[0].1,
        [0x60, 0, 0, 7],
        "and so is its duplicate"
    );
}

#[test]
fn a_response_too_large_for_a_datagram_becomes_an_error_and_is_counted() {
    let mut config = EndpointConfig::default();
    config.limits.datagram = 100;
    let mut bench = bench(config);
    let large = Resource::at("/large").get(|_, r| r.set_payload(ContentFormat::OCTETS, &[7; 200]));
    bench
        .endpoint
        .server_mut()
        .add(large.access(Access::Unsecured))
        .unwrap();
    let sent = bench.hear(path(false), &get(Type::Con, 7, "large"));
    assert_eq!(
        parsed(&sent[0].1),
        (Type::Ack, Code::INTERNAL_SERVER_ERROR, 7)
    );
    bench.hear(path(false), &get(Type::Non, 8, "large"));
    assert_eq!(bench.endpoint.counters().too_large, 2);
}

#[test]
fn counters_tell_of_bad_sources_evicted_records_and_a_full_outbox() {
    let mut config = EndpointConfig::default();
    config.dedup.records = 2;
    config.limits.outbox = 1;
    let mut bench = bench(config);
    for _ in 0..2 {
        let mut from_nobody = path(false);
        from_nobody.peer.set_port(0);
        assert!(bench.hear(from_nobody, &get(Type::Con, 1, "t")).is_empty());
    }
    assert_eq!(bench.endpoint.counters().bad_source, 2);
    assert_eq!(bench.endpoint.counters().received, 2);
    for mid in 1..=5 {
        bench.hear(path(false), &get(Type::Non, mid, "t"));
    }
    assert_eq!(bench.endpoint.counters().dedup_evicted, 3);
    assert_eq!(bench.endpoint.counters().outbox_full, 0);
    for mid in 6..=8 {
        let bytes = get(Type::Con, mid, "t");
        bench
            .endpoint
            .handle_datagram(bench.now, path(false), &bytes);
    }
    assert_eq!(bench.endpoint.counters().outbox_full, 2, "one had room");
}
