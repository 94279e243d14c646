//! What two other implementations taught: each of their mistakes as a test that ours does not make it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant as Clock};

use antiphon_netsim::{Interface as NetInterface, Segment};
use antiphon_proto::{
    CollectionEvent, DedupLimits, EndpointConfig, Event, GroupPolicy, Incoming, Leisure, NoSec,
    ObservationEvent, ObserveRequest, Reliability, Resource, Response, Security,
};
use antiphon_tests::sim::World;
use antiphon_tests::stage::{CLIENT_PORT, Datagram, Diary, Ground, Stage, get, parse, target};
use antiphon_wire::{Code, NoResponse, OptionNumber, Token, Type};

use super::bare::{Bare, group, me, request};

/// Californium's client drops every answer to a group request that is not NON; go-coap answers NON with CON.
#[test]
fn lesson_01_a_non_is_answered_with_non_and_a_confirmable_answer_is_acknowledged_and_delivered() {
    let mut bare = Bare::new(EndpointConfig::default());
    for local in [me(), group()] {
        let asked = request(
            Type::Non,
            1 + local.port(),
            &[local.ip().is_multicast().into()],
            &[],
        );
        let answers = bare.hear(local, &asked);
        assert_eq!(parse(&answers[0].1).kind(), Type::Non);
    }
    for ground in Ground::ALL {
        let mut stage = Stage::new(ground, 1);
        let client = stage.client();
        let other = stage.stranger(91, 5683);
        let question = stage.question(get("/r"), ground.group(1, 5683));
        let id = stage.ask(client, question);
        stage.settle();
        let token = parse(&stage.sent(client)[0]).token();
        let answer = Datagram {
            kind: Type::Con,
            code: Code::CONTENT,
            mid: 0x1234,
            token: token.as_bytes(),
            options: &[],
            payload: b"yes",
        };
        let to = SocketAddr::new(ground.address(1), CLIENT_PORT);
        // Twice: the acknowledgement was lost.
        for _ in 0..2 {
            stage.say(other, to, answer.bytes());
            stage.settle();
            let heard = stage.heard(other);
            assert_eq!(heard.len(), 1);
            assert_eq!(&heard[0].bytes[..], b"\x60\x00\x12\x34");
        }
        assert_eq!(
            stage.collected(client, id).texts(),
            [(91, "yes".to_owned())]
        );
    }
}

/// go-coap caches under the answer's own Message ID and hands out old answers; Californium sends a stored answer with
/// the old token.
#[test]
fn lesson_02_a_duplicate_is_known_by_the_requests_message_id_and_its_token() {
    let mut bare = Bare::new(EndpointConfig::default());
    let first = request(Type::Con, 7, b"old", &[]);
    let answers = bare.hear(me(), &first);
    let stored = answers[0].1.clone();
    assert_eq!(parse(&stored).token().as_bytes(), b"old");
    // The same message again: the same bytes, and nothing is processed.
    assert_eq!(bare.hear(me(), &first)[0].1, stored);
    assert_eq!(bare.diary.len(), 1);
    // The same Message ID with another token is another message.
    let second = request(Type::Con, 7, b"new", &[]);
    let answers = bare.hear(me(), &second);
    assert_eq!(parse(&answers[0].1).token().as_bytes(), b"new");
    assert_eq!(bare.diary.len(), 2);
    // So it is with other options, another payload, another port, another address.
    let query = [(OptionNumber::URI_QUERY, &b"q"[..])];
    bare.hear(me(), &request(Type::Con, 7, b"new", &query));
    assert_eq!(bare.diary.len(), 3);
    for from in [([10, 0, 0, 2], 40_001), ([10, 0, 0, 3], 40_000)] {
        assert_eq!(bare.hear_from(from.into(), me(), &second).len(), 1);
    }
    assert_eq!(bare.diary.len(), 5);
    // A Message ID that an answer of ours carried means nothing for requests.
    let asked = request(Type::Non, 8, b"non", &[]);
    let own = parse(&bare.hear(me(), &asked)[0].1).message_id().0;
    assert_eq!(
        bare.hear(me(), &request(Type::Non, own, b"xyz", &[])).len(),
        1
    );
    assert_eq!(bare.diary.len(), 7);
}

/// go-coap walks over its table for each packet: two thirds of its time.
#[test]
fn lesson_03_a_full_table_costs_no_more_than_an_empty_one() {
    let measure = |records: usize| {
        let config = EndpointConfig {
            dedup: DedupLimits {
                records,
                records_per_address: records,
                addresses: 4_096,
                reply_bytes: 0,
            },
            ..EndpointConfig::default()
        };
        let mut bare = Bare::new(config);
        let unknown = Datagram::get(0, b"abcd", "unknown");
        let say = |bare: &mut Bare, n: u32| {
            let [_, a, b, c] = (n % 4_000).to_be_bytes();
            let from = SocketAddr::from(([11, a, b, c], 1_000 + (n / 4_000) as u16));
            let mut bytes = unknown.clone();
            bytes[2..4].copy_from_slice(&(n as u16).to_be_bytes());
            bare.hear_from(from, me(), &bytes);
        };
        for n in 0..20_000 {
            say(&mut bare, n);
        }
        let held = bare.endpoint.load().dedup_records;
        assert_eq!(held, records);
        let begun = Clock::now();
        for n in 20_000..26_000 {
            say(&mut bare, n);
        }
        begun.elapsed()
    };
    let (small, large) = (measure(16), measure(16_384));
    // A walk would take a thousand times as long.
    assert!(
        large < small * 20,
        "{small:?} with 16 records, {large:?} with 16,384"
    );
}

/// NON_LIFETIME is 145 s; two implementations keep everything for EXCHANGE_LIFETIME, 247 s.
#[test]
fn lesson_04_records_are_bounded_for_each_peer_and_in_total_and_live_as_long_as_they_must() {
    for (kind, lifetime) in [(Type::Non, 145), (Type::Con, 247)] {
        let mut bare = Bare::new(EndpointConfig::default());
        let asked = request(kind, 1, b"abcd", &[]);
        bare.hear(me(), &asked);
        let almost = Duration::from_micros(lifetime * 1_000_000 - 1);
        bare.pass(almost);
        bare.hear(me(), &asked);
        assert_eq!(bare.diary.len(), 1, "{kind:?}");
        bare.pass(Duration::from_micros(1));
        bare.hear(me(), &asked);
        assert_eq!(bare.diary.len(), 2, "{kind:?}");
    }
    let mut config = EndpointConfig::default();
    config.dedup.records = 1_000;
    config.dedup.records_per_address = 100;
    let mut bare = Bare::new(config);
    let victim: SocketAddr = ([10, 0, 0, 9], 9).into();
    let precious = request(Type::Con, 1, b"once", &[]);
    bare.hear_from(victim, me(), &precious);
    for mid in 0..10_000 {
        bare.hear(me(), &request(Type::Non, mid, b"abcd", &[]));
    }
    assert_eq!(bare.endpoint.load().dedup_records, 101);
    let counters = bare.endpoint.counters();
    assert_eq!(counters.dedup_evicted, 10_000 - 100);
    let before = bare.diary.len();
    bare.hear_from(victim, me(), &precious);
    assert_eq!(
        bare.diary.len(),
        before,
        "the flood of one peer costs another nothing"
    );
}

/// Californium and go-coap answer what must not be answered.
#[test]
fn lesson_05_no_answer_to_what_is_no_request_by_multicast_and_none_that_could_be_answered() {
    let mut bare = Bare::new(EndpointConfig::default());
    let message = |kind, code, token: &'static [u8]| {
        Datagram {
            kind,
            code,
            mid: 5,
            token,
            options: &[],
            payload: b"",
        }
        .bytes()
    };
    let kinds = [Type::Con, Type::Non, Type::Ack, Type::Rst];
    for kind in kinds {
        // Responses, empty messages, errors, codes of reserved classes.
        for code in [Code::CONTENT, Code::NOT_FOUND, Code::INTERNAL_SERVER_ERROR] {
            assert_eq!(bare.hear(group(), &message(kind, code, b"abcd")), []);
        }
        assert_eq!(bare.hear(group(), &message(kind, Code::EMPTY, b"")), []);
        for class in [1, 6, 7] {
            let code = Code::new(class, 1).unwrap();
            assert_eq!(bare.hear(group(), &message(kind, code, b"abcd")), []);
        }
    }
    // By unicast: only a Confirmable one, and with nothing but a Reset, which is never answered.
    for kind in kinds {
        for code in [Code::CONTENT, Code::NOT_FOUND] {
            let said = bare.hear(me(), &message(kind, code, b"abcd"));
            match kind {
                Type::Con => assert_eq!(said[0].1, b"\x70\x00\x00\x05"),
                _ => assert_eq!(said, [], "{kind:?}"),
            }
        }
        let said = bare.hear(me(), &message(kind, Code::EMPTY, b""));
        assert_eq!(said.len(), usize::from(kind == Type::Con));
        assert!(said.iter().all(|(_, bytes)| bytes == b"\x70\x00\x00\x05"));
    }
    bare.goes_on();
}

/// In Californium a No-Response option that is present switches the multicast rule off, and 4.04 goes to the group's caller.
#[test]
fn lesson_06_suppressed_for_the_group_or_suppressed_by_no_response() {
    for ground in Ground::ALL {
        let mut stage = Stage::new(ground, 6);
        let stranger = stage.stranger(91, 40_000);
        let member = stage.member(11);
        let policy = GroupPolicy::respond()
            .consider_no_response()
            .leisure(Leisure::Fixed(Duration::ZERO));
        let resource = Resource::at("/r").get(Diary::new().handler(Code::CONTENT, "1"));
        stage.offer(member, resource.group_policy(policy.clone()));
        let failing = Resource::at("/f").get(Diary::new().handler(Code::NOT_FOUND, ""));
        stage.offer(member, failing.group_policy(policy));
        stage.settle();
        for (bits, path, answers) in (0..=26_u8).flat_map(|bits| {
            let success = u8::from(!NoResponse::new(bits).suppresses_code(Code::CONTENT));
            [(bits, "r", success), (bits, "f", 0), (bits, "unknown", 0)]
        }) {
            let value = NoResponse::new(bits).encode();
            let asked = Datagram {
                kind: Type::Non,
                code: Code::GET,
                mid: u16::from(bits) * 8 + path.len() as u16 + u16::from(path.as_bytes()[0]) * 256,
                token: b"abcd",
                options: &[
                    (OptionNumber::URI_PATH, path.as_bytes()),
                    (OptionNumber::NO_RESPONSE, value.as_bytes()),
                ],
                payload: b"",
            };
            stage.say(stranger, ground.all_nodes(), asked.bytes());
            stage.settle();
            let heard = stage.heard(stranger).len();
            assert_eq!(heard, usize::from(answers), "{ground:?} {path} {bits}");
        }
    }
}

/// In Californium a leisure of 0 is an exception, and silence for ever.
#[test]
fn lesson_07_a_leisure_of_zero_answers_at_once() {
    for leisure in [
        Leisure::Fixed(Duration::ZERO),
        Leisure::Estimated {
            response_size: 0,
            group_size: 100,
            rate: 10,
        },
    ] {
        for ground in Ground::ALL {
            let mut stage = Stage::new(ground, 7);
            let client = stage.client();
            let member = stage.member(11);
            let policy = GroupPolicy::respond().leisure(leisure);
            let resource = Resource::at("/r").get(Diary::new().handler(Code::CONTENT, "1"));
            stage.offer(member, resource.group_policy(policy));
            stage.settle();
            let question = stage.question(get("/r"), ground.all_nodes());
            let done = stage.collect(client, question);
            assert_eq!(done.answers.len(), 1);
            assert_eq!(
                done.answers[0].after,
                Duration::from_millis(2),
                "only the way"
            );
        }
    }
}

/// In another implementation each update begins the leisure anew, and what changes faster than that is never told.
#[test]
fn lesson_07_a_new_state_replaces_what_a_pending_notification_says_and_not_its_time() {
    const LEISURE: Duration = Duration::from_secs(5);
    let ground = Ground::Link;
    let mut stage = Stage::new(ground, 7);
    let client = stage.client();
    let member = stage.member(11);
    let state = Arc::new(AtomicU32::new(0));
    let said = state.clone();
    let resource = Resource::at("/r")
        .get(move |_: &Incoming<'_>, r: &mut Response| {
            let now = said.load(Ordering::Relaxed);
            r.payload.extend_from_slice(now.to_string().as_bytes());
        })
        .observable()
        .group_policy(GroupPolicy::respond().leisure(Leisure::Fixed(LEISURE)));
    let resource = stage.offer(member, resource);
    stage.settle();
    let security = Security::Unsecured(NoSec::Accepted);
    let mut request = ObserveRequest::group(get("/r"), target(ground.all_nodes()), security);
    request.every = None;
    let now = stage.world.now();
    stage.world.endpoint(client).observe(now, request).unwrap();
    stage.run(2 * LEISURE);
    // Ten changes in each leisure period, a minute long.
    let began = stage.world.now();
    let mut told_at = Vec::new();
    for change in 1..=120 {
        state.store(change, Ordering::Relaxed);
        let now = stage.world.now();
        stage.world.endpoint(member).changed(now, resource);
        stage.run(LEISURE / 10);
        for (at, event) in std::mem::take(&mut stage.world.node(client).events) {
            if let Event::Observation(ObservationEvent::Notification(n)) = event {
                if at < began {
                    continue; // the first answer
                }
                let text = String::from_utf8(n.response.payload).unwrap();
                let told: u32 = text.parse().unwrap();
                assert!(told + 1 >= change, "{told} was told when {change} held");
                told_at.push(at);
            }
        }
    }
    assert!(
        told_at.len() >= 6,
        "{} notifications in a minute",
        told_at.len()
    );
    let gaps = told_at.windows(2).map(|two| two[1].since(two[0]));
    let longest = gaps.max().unwrap();
    // One leisure period after the other, at the end of each at the latest.
    assert!(
        longest <= 2 * LEISURE + Duration::from_millis(500),
        "{longest:?}"
    );
}

/// Californium has one order for all responders, so that all but one member seem silent.
#[test]
fn lesson_08_each_responder_has_an_order_of_its_own() {
    for ground in Ground::ALL {
        let mut stage = Stage::new(ground, 8);
        let client = stage.client();
        let members = [91, 92, 93].map(|n| stage.stranger(n, 5683));
        let security = Security::Unsecured(NoSec::Accepted);
        let group = target(ground.group(1, 5683));
        let request = ObserveRequest::group(get("/r"), group, security);
        let now = stage.world.now();
        stage.world.endpoint(client).observe(now, request).unwrap();
        stage.settle();
        let token = parse(&stage.sent(client)[0]).token();
        let to = SocketAddr::new(ground.address(1), CLIENT_PORT);
        let mut expected = Vec::new();
        // Numbers of the first far above those of the others, which rise as well.
        for round in 1..=3_u8 {
            for (member, base) in members.into_iter().zip([0x7f_ff_00_u32, 0x10, 0x01]) {
                let number = base + u32::from(round);
                let bytes = number.to_be_bytes();
                let leading = bytes.iter().take_while(|byte| **byte == 0).count();
                let text = format!("{number}");
                let notification = Datagram {
                    kind: Type::Non,
                    code: Code::CONTENT,
                    mid: u16::from(round),
                    token: token.as_bytes(),
                    options: &[(OptionNumber::OBSERVE, &bytes[leading..])],
                    payload: text.as_bytes(),
                };
                stage.say(member, to, notification.bytes());
                stage.settle();
                expected.push(number);
            }
        }
        let events = std::mem::take(&mut stage.world.node(client).events);
        let heard = events.into_iter().filter_map(|(_, event)| match event {
            Event::Observation(ObservationEvent::Notification(n)) => n.number,
            Event::Observation(ObservationEvent::Stale { .. }) => panic!("{ground:?}: {event:?}"),
            _ => None,
        });
        assert_eq!(heard.collect::<Vec<_>>(), expected, "{ground:?}");
    }
}

/// go-coap with three responders behind one address delivers short bodies without an error; Californium first blocks only.
#[test]
fn lesson_09_bodies_in_blocks_of_responders_behind_one_address_are_kept_apart() {
    for ground in Ground::ALL {
        let mut stage = Stage::new(ground, 9);
        let client = stage.client();
        let gateway = stage.stranger(91, 1_001);
        let ports = [1_001, 1_002, 1_003];
        for port in &ports[1..] {
            let network = stage.world.sim.network_mut();
            network.bind(gateway.host, *port).unwrap();
        }
        let question = stage.question(get("/r"), ground.group(1, 5683));
        let id = stage.ask(client, question);
        stage.settle();
        let to = SocketAddr::new(ground.address(1), CLIENT_PORT);
        let block = |port: u16, number: u8| vec![(port - 1_000) as u8 * 16 + number; 64];
        let answer = |port, kind, mid, token: Token, number: u8| {
            let value = number * 16 + if number < 2 { 0x0a } else { 0x02 };
            let datagram = Datagram {
                kind,
                code: Code::CONTENT,
                mid,
                token: token.as_bytes(),
                options: &[(OptionNumber::BLOCK2, &[value])],
                payload: &block(port, number),
            };
            datagram.bytes()
        };
        let token = parse(&stage.sent(client)[0]).token();
        for port in ports {
            let from = antiphon_tests::stage::Stranger { port, ..gateway };
            stage.say(from, to, answer(port, Type::Non, 1, token, 0));
        }
        let mut seen = 1;
        for _ in 0..20 {
            stage.run(Duration::from_millis(10));
            let sent = stage.world.node(client).sent[seen..].to_vec();
            seen += sent.len();
            // The last one asked is answered first.
            for (_, route, bytes) in sent.iter().rev() {
                let request = parse(bytes);
                let port = route.destination.port();
                let number = request.option(OptionNumber::BLOCK2).unwrap()[0] >> 4;
                let (mid, token) = (request.message_id().0, request.token());
                // Its neighbour answers with its token before it does: that is not its answer.
                let neighbour = 1_001 + (port - 1_000) % 3;
                let from = antiphon_tests::stage::Stranger {
                    port: neighbour,
                    ..gateway
                };
                stage.say(from, to, answer(neighbour, Type::Non, 7, token, number));
                let from = antiphon_tests::stage::Stranger { port, ..gateway };
                stage.say(from, to, answer(port, Type::Ack, mid, token, number));
            }
        }
        stage.run(Duration::from_secs(30));
        let done = stage.collected(client, id);
        let mut bodies: Vec<_> = done
            .answers
            .iter()
            .map(|answer| (answer.from.peer.port(), answer.response.payload.clone()))
            .collect();
        bodies.sort();
        let expected = ports.map(|port| (port, [0, 1, 2].map(|n| block(port, n)).concat()));
        assert_eq!(bodies, expected, "{ground:?}");
    }
}

/// Californium needs one connector per address to choose an answer's source.
#[test]
fn lesson_10_an_answer_comes_from_the_address_that_was_asked() {
    let addresses = [11, 12, 13].map(|n| Ground::Site.address(n));
    let mut world = World::new(10);
    let server = world.host("server", &addresses, 5683, EndpointConfig::default());
    let mut stage = Stage::new(Ground::Site, 10);
    stage.world = world;
    let client = stage.client();
    let resource = Resource::at("/r").get(Diary::new().handler(Code::CONTENT, "1"));
    stage.offer(server, resource);
    for address in addresses {
        let to = SocketAddr::new(address, 5683);
        let answer = stage.unicast(client, to, Reliability::NonConfirmable, get("/r"));
        assert_eq!(answer.unwrap().0.peer, to);
    }
}

/// Californium has no leave.
#[test]
fn lesson_10_a_group_can_be_left_and_joined_again() {
    for ground in Ground::ALL {
        let mut stage = Stage::new(ground, 10);
        let client = stage.client();
        let member = stage.member(11);
        let (group, other) = (ground.group(1, 5683), ground.group(2, 5683));
        let id = stage.join(member, group);
        stage.join(member, other);
        let policy = GroupPolicy::respond().leisure(Leisure::Fixed(Duration::ZERO));
        let resource = Resource::at("/r").get(Diary::new().handler(Code::CONTENT, "1"));
        stage.offer(member, resource.group_policy(policy));
        stage.settle();
        let interface = NetInterface::new(1);
        let joined = |stage: &Stage, group: SocketAddr| {
            let network = stage.world.sim.network();
            network.has_joined(member, interface, group.ip())
        };
        let ask = |stage: &mut Stage, group| {
            let question = stage.question(get("/r"), group);
            stage.collect(client, question).answers.len()
        };
        for _ in 0..2 {
            assert!(joined(&stage, group) && joined(&stage, other));
            assert_eq!((ask(&mut stage, group), ask(&mut stage, other)), (1, 1));
            stage.server(member).memberships_mut().leave(id, 1).unwrap();
            stage.settle();
            assert!(!joined(&stage, group) && joined(&stage, other));
            assert_eq!((ask(&mut stage, group), ask(&mut stage, other)), (0, 1));
            stage.server(member).memberships_mut().join(id, 1).unwrap();
            stage.settle();
        }
    }
}

/// go-coap's default group send leaves by every interface.
#[test]
fn lesson_10_a_group_request_leaves_by_the_interface_that_was_named() {
    let ground = Ground::Link;
    let mut stage = Stage::new(ground, 10);
    let client = stage.client();
    let lan = stage.world.lan;
    let network = stage.world.sim.network_mut();
    let other = network.add_segment(Segment::default());
    network.attach(client, other, &[ground.address(2)]);
    let members = [(lan, 11), (other, 12)].map(|(segment, n)| {
        let config = EndpointConfig::default();
        let name = n.to_string();
        let address = [ground.address(n)];
        let member = stage.world.host_at(segment, &name, &address, 5683, config);
        stage.join(member, ground.group(1, 5683));
        member
    });
    stage.settle();
    for (interface, heard) in [(1, [1, 0]), (2, [1, 1])] {
        let mut question = stage.question(get("/r"), ground.group(1, 5683));
        question.targets[0] = antiphon_proto::GroupTarget {
            interface,
            ..target(ground.group(1, 5683))
        };
        stage.ask(client, question);
        stage.settle();
        assert_eq!(members.map(|m| stage.world.node(m).received.len()), heard);
        assert_eq!(stage.sent(client).len(), interface as usize);
    }
}

/// Nobody is told of an answer that is not for him, and an event says what was.
#[test]
fn lesson_09_answers_behind_one_address_are_kept_apart_by_port() {
    for ground in Ground::ALL {
        let mut stage = Stage::new(ground, 9);
        let client = stage.client();
        let gateway = stage.stranger(91, 1_001);
        for port in [1_002, 1_003] {
            let network = stage.world.sim.network_mut();
            network.bind(gateway.host, port).unwrap();
        }
        let question = stage.question(get("/r"), ground.group(1, 5683));
        let id = stage.ask(client, question);
        stage.settle();
        let token = parse(&stage.sent(client)[0]).token();
        for port in [1_001, 1_002, 1_003] {
            let text = port.to_string();
            let answer = Datagram {
                kind: Type::Non,
                code: Code::CONTENT,
                mid: 1, // all the same: they are different endpoints
                token: token.as_bytes(),
                options: &[],
                payload: text.as_bytes(),
            };
            let from = antiphon_tests::stage::Stranger { port, ..gateway };
            stage.say(
                from,
                SocketAddr::new(ground.address(1), CLIENT_PORT),
                answer.bytes(),
            );
        }
        stage.run(Duration::from_secs(20));
        let done = stage.collected(client, id);
        let mut texts = done.texts();
        texts.sort();
        let expected = ["1001", "1002", "1003"].map(|t| (91, t.to_owned()));
        assert_eq!(texts, expected);
        assert_eq!(done.outcome().servers(), 3);
        let answers =
            stage.world.node(client).events.iter().filter(|(_, event)| {
                matches!(event, Event::Collection(CollectionEvent::Answer(_)))
            });
        assert_eq!(answers.count(), 3);
    }
}
