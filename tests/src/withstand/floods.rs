//! Floods of distinct peers, Message IDs and tokens: each table keeps to its stated memory, and nobody pushes others out.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use antiphon_oscore::Settings;
use antiphon_proto::{
    Access, CollectionEvent, EndpointConfig, Event, Expectation, GroupPolicy, GroupRequest,
    GroupTarget, Leisure, Member, Methods, NoSec, Path, Request, Resource, Response, Security,
    SocketId, Task, Work, WorkResult,
};
use antiphon_tests::secure;
use antiphon_tests::stage::{Datagram, Diary, parse};
use antiphon_wire::{Code, OptionNumber, Type};

use super::bare::{Bare, group, me, request};
use crate::memory;

/// What the measuring itself and buffers of a single message take.
const SLACK: usize = 200_000;

/// The n-th of many addresses, each with a port of its own.
fn stranger(n: u32) -> SocketAddr {
    let address = Ipv4Addr::from_bits(0x0a01_0000 + n);
    (address, 1_024 + (n % 50_000) as u16).into()
}

fn deferring(config: EndpointConfig) -> Bare {
    let mut bare = Bare::new(config);
    let server = bare.endpoint.server_mut();
    let slow = Resource::at("/slow").deferred(Methods::GET);
    server.add(slow.access(Access::Unsecured)).unwrap();
    let policy = GroupPolicy::respond().leisure(Leisure::Fixed(Duration::from_secs(5)));
    let spread = Resource::at("/spread").get(Diary::new().handler(Code::CONTENT, "0123456789"));
    server
        .add(spread.group_policy(policy).access(Access::Unsecured))
        .unwrap();
    bare
}

fn asked(kind: Type, mid: u16, path: &str) -> Vec<u8> {
    Datagram {
        kind,
        code: Code::GET,
        mid,
        token: b"abcdefgh",
        options: &[(OptionNumber::URI_PATH, path.as_bytes())],
        payload: b"",
    }
    .bytes()
}

/// At most what is stated, and not so much less that the statement means nothing.
fn keeps_to(peak: usize, stated: usize) {
    assert!(
        peak <= stated + SLACK,
        "{peak} bytes taken, {stated} stated"
    );
    assert!(peak * 40 > stated, "{peak} bytes taken, {stated} stated");
}

#[test]
fn records_of_messages_seen_keep_to_their_memory() {
    let config = EndpointConfig::default();
    let stated = config.memory_totals().dedup;
    assert_eq!(stated, config.dedup.memory_total());
    let mut bare = Bare::new(config);
    let peak = memory::peak(|| {
        for n in 0..15_000 {
            // Each with a stored reply.
            let bytes = asked(Type::Con, n as u16, "unknown");
            assert_eq!(bare.hear_from(stranger(n), me(), &bytes).len(), 1);
        }
        for n in 0..15_000 {
            let bytes = asked(Type::Con, n as u16, "unknown");
            bare.hear_from(stranger(n % 5), me(), &bytes);
        }
    });
    keeps_to(peak, stated);
    let load = bare.endpoint.load();
    assert!(load.dedup_records <= 8_192);
    assert!(bare.endpoint.counters().dedup_evicted > 15_000);
    bare.goes_on();
}

#[test]
fn many_addresses_with_one_message_each_push_out_nobody_who_has_more() {
    let mut bare = Bare::new(EndpointConfig::default());
    let victim: SocketAddr = ([10, 0, 0, 50], 5_000).into();
    for mid in 0..10 {
        bare.hear_from(victim, me(), &request(Type::Con, mid, b"once", &[]));
    }
    assert_eq!(bare.diary.len(), 10);
    for n in 0..10_000 {
        bare.hear_from(stranger(n), me(), &asked(Type::Non, 1, "unknown"));
    }
    for mid in 0..10 {
        bare.hear_from(victim, me(), &request(Type::Con, mid, b"once", &[]));
    }
    assert_eq!(
        bare.diary.len(),
        10,
        "all ten are still known as duplicates"
    );
    assert_eq!(bare.endpoint.counters().duplicates, 10);
}

#[test]
fn answers_that_wait_for_their_leisure_keep_to_their_memory_and_nobody_takes_all_places() {
    let config = EndpointConfig::default();
    let totals = config.memory_totals();
    let mut bare = deferring(config);
    // One address asks and asks.
    for mid in 0..1_000 {
        let bytes = asked(Type::Non, mid, "spread");
        assert_eq!(bare.hear(group(), &bytes), []);
    }
    assert_eq!(bare.endpoint.load().pending_answers, 256);
    assert_eq!(bare.endpoint.counters().answers_dropped, 744);
    // Another one still finds a place, whatever the port of the first.
    bare.hear_from(stranger(0), group(), &asked(Type::Non, 1, "spread"));
    let same_address = SocketAddr::new(super::bare::peer().ip(), 9);
    bare.hear_from(same_address, group(), &asked(Type::Non, 1, "spread"));
    assert_eq!(bare.endpoint.load().pending_answers, 257);
    let sent = bare.pass(Duration::from_secs(5));
    assert_eq!(sent.len(), 257);
    // Everybody asks at once.
    let peak = memory::peak(|| {
        for n in 0..5_000 {
            bare.hear_from(stranger(n), group(), &asked(Type::Non, 2, "spread"));
        }
        assert_eq!(bare.endpoint.load().pending_answers, 1_024);
        assert_eq!(bare.pass(Duration::from_secs(5)).len(), 1_024);
    });
    let stated = totals.pending_answers + totals.dedup + totals.message_ids;
    keeps_to(peak, stated);
    assert_eq!(bare.endpoint.load().pending_answers, 0);
    assert_eq!(
        bare.endpoint.counters().answers_dropped,
        745 + 5_000 - 1_024
    );
    bare.goes_on();
}

#[test]
fn deferred_requests_keep_to_their_memory_and_nobody_takes_all_places() {
    let mut config = EndpointConfig::default();
    config.dedup.records = 0; // its memory is measured above
    let stated = config.memory_totals().incoming;
    let mut bare = deferring(config);
    let codes = |bare: &mut Bare, from: SocketAddr, mid: u16, tags: usize| -> Vec<Code> {
        let mut options = vec![(OptionNumber::ETAG, &b"12345678"[..]); tags];
        options.push((OptionNumber::URI_PATH, b"slow"));
        let datagram = Datagram {
            kind: Type::Con,
            code: Code::GET,
            mid,
            token: b"abcdefgh",
            options: &options,
            payload: b"",
        };
        let answers = bare.hear_from(from, me(), &datagram.bytes());
        answers.iter().map(|(_, b)| parse(b).code()).collect()
    };
    for mid in 0..64 {
        assert_eq!(codes(&mut bare, stranger(0), mid, 0), []);
    }
    let busy = [Code::SERVICE_UNAVAILABLE];
    assert_eq!(codes(&mut bare, stranger(0), 64, 0), busy);
    assert_eq!(codes(&mut bare, stranger(1), 0, 0), []);
    assert_eq!(bare.endpoint.load().incoming, 65);
    // Forgotten after five minutes, and the places are free.
    bare.pass(Duration::from_secs(301));
    assert_eq!(bare.endpoint.load().incoming, 0);
    assert_eq!(bare.endpoint.counters().deferred_expired, 65);
    let peak = memory::peak(|| {
        for n in 0..5_000 {
            let answered = codes(&mut bare, stranger(n), 1, 200);
            let full = n >= 256;
            assert_eq!(answered, if full { &busy[..] } else { &[] });
        }
    });
    assert_eq!(bare.endpoint.load().incoming, 256);
    assert_eq!(bare.endpoint.counters().deferred_dropped, 1 + 5_000 - 256);
    assert!(
        peak <= stated + SLACK,
        "{peak} bytes taken, {stated} stated"
    );
    bare.goes_on();
}

#[test]
fn separate_responses_that_nobody_acknowledges_keep_to_their_memory() {
    let mut config = EndpointConfig::default();
    config.dedup.records = 0;
    config.limits.incoming_per_address = 1_000;
    let totals = config.memory_totals();
    let mut bare = deferring(config);
    let mut last = 0;
    let peak = memory::peak(|| {
        for n in 0..3_000 {
            let path = Path {
                socket: SocketId(0),
                local: me(),
                interface: 1,
                peer: stranger(n),
            };
            let bytes = asked(Type::Con, 1, "slow");
            bare.endpoint.handle_datagram(bare.now, path, &bytes);
            let Some(Event::Request { incoming, .. }) = bare.endpoint.poll_event() else {
                panic!("no event");
            };
            // Acknowledged after half a second; then the response goes by itself.
            bare.now = bare.now + Duration::from_millis(501);
            bare.endpoint.handle_timeout(bare.now);
            let mut response = Response::new(Code::CONTENT);
            response.payload.resize(1_000, b'x');
            bare.endpoint.respond(bare.now, incoming, response);
            let sent = bare.sent();
            last = sent
                .iter()
                .filter(|(_, b)| parse(b).kind() == Type::Con)
                .count();
            bare.now = bare.now - Duration::from_millis(501);
        }
    });
    assert_eq!(bare.endpoint.load().confirmables, 1_280);
    assert_eq!(last, 0, "without room to repeat it a response is sent once");
    keeps_to(peak, totals.confirmables + totals.message_ids);
    bare.pass(Duration::from_secs(400));
    for _ in 0..10 {
        bare.pass(Duration::from_secs(100));
    }
    assert_eq!(bare.endpoint.load().confirmables, 0);
    bare.goes_on();
}

/// Timers of acknowledged messages must not pile up behind one that waits long.
#[test]
fn acknowledged_messages_leave_nothing_behind() {
    let mut config = EndpointConfig::default();
    config.dedup.records = 0;
    let mut bare = deferring(config);
    let exchange = |bare: &mut Bare, n: u32, acknowledge: bool| {
        let path = Path {
            socket: SocketId(0),
            local: me(),
            interface: 1,
            peer: stranger(n),
        };
        let bytes = asked(Type::Con, 1, "slow");
        bare.endpoint.handle_datagram(bare.now, path, &bytes);
        let Some(Event::Request { incoming, .. }) = bare.endpoint.poll_event() else {
            panic!("no event");
        };
        bare.now = bare.now + Duration::from_millis(500);
        bare.endpoint.handle_timeout(bare.now);
        let response = Response::new(Code::CONTENT);
        bare.endpoint.respond(bare.now, incoming, response);
        for (_, bytes) in bare.sent() {
            let message = parse(&bytes);
            if message.kind() == Type::Con && acknowledge {
                let [high, low] = message.message_id().0.to_be_bytes();
                bare.hear_from(stranger(n), me(), &[0x60, 0, high, low]);
            }
        }
        bare.now = bare.now - Duration::from_millis(499);
    };
    exchange(&mut bare, 0, false);
    let peak = memory::peak(|| {
        for n in 0..5_000 {
            exchange(&mut bare, 1 + n % 4, true);
        }
    });
    assert_eq!(bare.endpoint.load().confirmables, 1);
    assert!(peak < 30_000, "{peak} bytes");
}

#[test]
fn messages_that_wait_for_work_keep_to_their_memory_and_nobody_takes_all_places() {
    let config = EndpointConfig::default();
    let totals = config.memory_totals();
    let mut bare = Bare::new(config);
    let group = secure::group(2, [1], Settings::default());
    bare.endpoint.security_mut().add_group(group);
    // Whoever knows a Gid and a Sender ID can make something that looks like a message of a member.
    let forged = |mid| {
        Datagram {
            kind: Type::Con,
            code: Code::POST,
            mid,
            token: b"abcd",
            options: &[(OptionNumber::OSCORE, b"\x39\x05\x02\x47\x01\x01")],
            payload: &[0x55; 360],
        }
        .bytes()
    };
    for mid in 0..100 {
        assert_eq!(bare.hear(me(), &forged(mid)), []);
    }
    assert_eq!(bare.endpoint.load().parked, 64);
    assert_eq!(bare.endpoint.counters().security.over_budget, 36);
    let peak = memory::peak(|| {
        for n in 0..5_000 {
            bare.hear_from(stranger(n), me(), &forged(1));
        }
    });
    // 1024 sources are told apart; all others share one budget.
    assert_eq!(bare.endpoint.load().parked, 64 + 1_023 + 64);
    let stated = totals.parking + totals.dedup + totals.security;
    assert!(
        peak <= stated + SLACK,
        "{peak} bytes taken, {stated} stated"
    );
    // The work for those that were dropped was never handed out.
    let mut work = Vec::new();
    while let Some(piece) = bare.endpoint.poll_work(bare.now) {
        work.push(piece);
    }
    assert_eq!(work.len(), 1_151);
    // Who waits too long is dropped, and a result that comes later changes nothing.
    bare.pass(Duration::from_secs(11));
    assert_eq!(bare.endpoint.load().parked, 0);
    assert_eq!(bare.endpoint.counters().parking_expired, 1_151);
    for Work { id, task } in work.into_iter().take(20) {
        let Task::Verify(job) = task else {
            panic!("{task:?}")
        };
        let result = WorkResult::Checked(job.run());
        bare.endpoint.work_done(bare.now, id, result);
    }
    assert_eq!(bare.sent(), []);
    assert!(bare.diary.is_empty());
    bare.goes_on();
}

#[test]
fn strangers_who_know_the_token_take_only_their_share() {
    let mut bare = Bare::new(EndpointConfig::default());
    let question = {
        let target = GroupTarget {
            group: group(),
            socket: SocketId(0),
            interface: 1,
        };
        let request = Request::new(Code::GET).path("/r");
        let mut question = GroupRequest::new(request, target, Security::Unsecured(NoSec::Accepted));
        let mut expect = Expectation::nobody();
        expect.add(Member::named("lamp").at(super::bare::peer()));
        question.expect = expect;
        question
    };
    let limits = question.limits;
    assert_eq!((limits.unexpected, limits.per_responder), (4_096, 64));
    let id = bare.endpoint.collect(bare.now, question).unwrap();
    let sent = bare.sent();
    let token = parse(&sent[0].1).token();
    let answer = |mid: u16| {
        Datagram {
            kind: Type::Non,
            code: Code::CONTENT,
            mid,
            token: token.as_bytes(),
            options: &[],
            payload: b"on",
        }
        .bytes()
    };
    let before = bare.endpoint.load().dedup_records;
    let totals = EndpointConfig::default().memory_totals();
    let peak = memory::peak(|| {
        for n in 0..6_000 {
            assert_eq!(bare.hear_from(stranger(n), me(), &answer(1)), []);
        }
        // One of them again and again.
        for mid in 2..500 {
            bare.hear_from(stranger(1), me(), &answer(mid));
        }
    });
    let stated = limits.unexpected * 150 + totals.dedup;
    assert!(
        peak <= stated + SLACK,
        "{peak} bytes taken, {stated} stated"
    );
    assert!(before <= 8_192);
    // The expected one is heard all the same, and that ends the collection.
    let path = Path {
        socket: SocketId(0),
        local: me(),
        interface: 1,
        peer: super::bare::peer(),
    };
    bare.endpoint.handle_datagram(bare.now, path, &answer(1));
    let mut outcome = None;
    while let Some(event) = bare.endpoint.poll_event() {
        if let Event::Collection(CollectionEvent::Ended(ended)) = event {
            assert!(outcome.is_none());
            outcome = Some(ended);
        }
    }
    let outcome = outcome.unwrap();
    assert_eq!(outcome.collection, id);
    assert!(outcome.is_complete());
    assert_eq!(outcome.unexpected.len(), 4_096);
    assert_eq!(outcome.dropped.no_room, 6_000 - 4_096);
    assert_eq!(outcome.dropped.over_share, 500 - 2 - 63);
    bare.goes_on();
}

#[test]
fn message_ids_towards_countless_peers_keep_to_their_memory() {
    let mut config = EndpointConfig::default();
    config.dedup.records = 0;
    let stated = config.memory_totals().message_ids;
    let mut bare = Bare::new(config);
    let peak = memory::peak(|| {
        for n in 0..10_000 {
            let answers = bare.hear_from(stranger(n), me(), &asked(Type::Non, 1, "r"));
            assert_eq!(answers.len(), 1);
        }
    });
    // The diary of the handler is the test's own.
    let diary = bare.diary.len() * 350;
    assert!(
        peak <= stated + diary + SLACK,
        "{peak} bytes, {stated} stated"
    );
    bare.goes_on();
}

#[test]
fn all_tables_together_are_stated() {
    let totals = EndpointConfig::default().memory_totals();
    let parts = [
        totals.dedup,
        totals.parking,
        totals.incoming,
        totals.pending_answers,
        totals.confirmables,
        totals.outbox,
        totals.message_ids,
        totals.security,
        totals.bodies,
        totals.observers,
    ];
    assert_eq!(totals.sum(), parts.iter().sum::<usize>());
    assert!(parts.iter().all(|bytes| *bytes > 0));
    assert!(totals.sum() < 64 << 20, "{totals:?}");
    // Smaller limits, less memory; each limit counts for its own table.
    let mut config = EndpointConfig::default();
    config.limits.pending_answers /= 2;
    let smaller = config.memory_totals();
    assert!(smaller.pending_answers < totals.pending_answers * 6 / 10);
    assert_eq!(
        smaller.sum() - smaller.pending_answers,
        totals.sum() - totals.pending_answers
    );
}
