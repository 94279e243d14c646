//! Observations without protection: what is sent when, and what is made of notifications.

mod again;
mod bounds;
mod members;
mod tokens;

use super::*;
use crate::collection::{CollectError, GroupTarget, HoldReason, NoSec, Repeat, Security};
use crate::exchange::RequestError;
use crate::expect::{Expectation, Member};
use crate::observation::*;
use crate::security::Protection;

fn server(n: u8) -> SocketAddr {
    ([10, 0, 0, n], 5683).into()
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn way(n: u8) -> Path {
    Path {
        peer: server(n),
        ..path(false)
    }
}

fn target() -> GroupTarget {
    GroupTarget {
        group: GROUP.into(),
        socket: UNICAST,
        interface: 1,
    }
}

/// Leisure 5 s, round trip 1 s, no repeats, 15 s after Max-Age.
fn of_group() -> ObserveRequest {
    ObserveRequest {
        margin: Some(secs(15)),
        ..ObserveRequest::group(
            Request::new(Code::GET).path("temperature"),
            target(),
            Security::Unsecured(NoSec::Accepted),
        )
    }
}

fn of_one(n: u8) -> ObserveRequest {
    let route = Route {
        socket: UNICAST,
        source: None,
        interface: 1,
        destination: server(n),
    };
    ObserveRequest {
        margin: Some(secs(5)),
        ..ObserveRequest::one(
            Request::new(Code::GET).path("temperature"),
            route,
            Protection::None,
        )
    }
}

fn three() -> Expectation {
    let mut expect = Expectation::nobody();
    for (name, n) in [("a", 11), ("b", 12), ("c", 13)] {
        expect.add(Member::named(name).at(server(n)));
    }
    expect
}

/// What a datagram says: type, Message ID, token, value of Observe.
fn read(bytes: &[u8]) -> (Type, u16, Token, Option<u32>) {
    let message = Message::parse(bytes).unwrap();
    (
        message.kind(),
        message.message_id().0,
        message.token(),
        message.uint(OptionNumber::OBSERVE),
    )
}

struct Says<'a> {
    kind: Type,
    code: Code,
    mid: u16,
    token: Token,
    observe: Option<u32>,
    max_age: Option<u32>,
    payload: &'a [u8],
}

impl Says<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = [0; 256];
        let mid = MessageId(self.mid);
        let mut writer = Writer::new(&mut bytes, self.kind, self.code, mid, self.token).unwrap();
        for (number, value) in [
            (OptionNumber::OBSERVE, self.observe),
            (OptionNumber::MAX_AGE, self.max_age),
        ] {
            if let Some(value) = value {
                writer.uint_option(number, value).unwrap();
            }
        }
        writer.payload(self.payload).unwrap();
        let len = writer.finish();
        bytes[..len].to_vec()
    }
}

/// A client, and the token of its observation.
struct Client {
    bench: Bench,
    id: ObservationId,
    token: Token,
    mid: u16,
    /// What was sent to end it.
    last: Vec<(Route, Vec<u8>)>,
}

fn observing(request: ObserveRequest) -> (Client, Vec<(Route, Vec<u8>)>) {
    observing_with(EndpointConfig::default(), request)
}

fn observing_with(
    config: EndpointConfig,
    request: ObserveRequest,
) -> (Client, Vec<(Route, Vec<u8>)>) {
    let mut bench = bench(config);
    bench.now = Instant::from_millis(1_000);
    let id = bench.endpoint.observe(bench.now, request).unwrap();
    let sent = bench.sent();
    let token = read(&sent[0].1).2;
    let mut client = Client {
        bench,
        id,
        token,
        mid: 100,
        last: Vec::new(),
    };
    client.events();
    (client, sent)
}

impl Client {
    fn says(&mut self, observe: Option<u32>, payload: &'static [u8]) -> Says<'static> {
        self.mid += 1;
        Says {
            kind: Type::Non,
            code: Code::CONTENT,
            mid: self.mid,
            token: self.token,
            observe,
            max_age: None,
            payload,
        }
    }

    /// A Non-confirmable notification comes.
    fn notify(&mut self, n: u8, observe: u32, payload: &'static [u8]) -> Vec<(Route, Vec<u8>)> {
        let says = self.says(Some(observe), payload).bytes();
        self.bench.hear(way(n), &says)
    }

    fn events(&mut self) -> Vec<ObservationEvent> {
        let mut all = Vec::new();
        while let Some(event) = self.bench.endpoint.poll_event() {
            match event {
                Event::Observation(event) => all.push(event),
                other => panic!("{other:?}"),
            }
        }
        all
    }

    /// Member, what is new, number and payload of the notifications that were delivered.
    fn heard(&mut self) -> Vec<(u32, News, Option<u32>, Vec<u8>)> {
        let events = self.events().into_iter();
        events
            .filter_map(|event| match event {
                ObservationEvent::Notification(n) => {
                    Some((n.member.0, n.news, n.number, n.response.payload))
                }
                _ => None,
            })
            .collect()
    }

    /// Lets time pass from one thing that is due to the next.
    fn pass(&mut self, duration: Duration) -> Vec<(Route, Vec<u8>)> {
        let end = self.bench.now + duration;
        let mut all = Vec::new();
        loop {
            let due = self.bench.endpoint.next_timeout().filter(|due| *due <= end);
            let at = due.unwrap_or(end).max(self.bench.now);
            let wait = at.since(self.bench.now);
            all.extend(self.bench.pass(wait));
            if due.is_none() {
                return all;
            }
        }
    }

    fn end(&mut self) {
        self.bench.endpoint.end_observation(self.bench.now, self.id);
        self.last = self.bench.sent();
    }

    fn outcome(&mut self) -> ObservationOutcome {
        let ended = |event| match event {
            ObservationEvent::Ended(outcome) => Some(outcome),
            _ => None,
        };
        self.events().into_iter().find_map(ended).expect("ended")
    }

    fn state(&self, member: u32) -> ObservedState {
        let report = self.bench.endpoint.observed(self.id, ObservedIndex(member));
        report.unwrap().state
    }

    /// An acknowledgement with a response to a request in person.
    fn acknowledged(&mut self, n: u8, request: &[u8], observe: Option<u32>) {
        let (_, mid, token, _) = read(request);
        let ack = Says {
            kind: Type::Ack,
            code: Code::CONTENT,
            mid,
            token,
            observe,
            max_age: None,
            payload: b"ack",
        };
        let sent = self.bench.hear(way(n), &ack.bytes());
        assert!(sent.is_empty(), "{sent:?}");
    }
}

// Covers: GC-3.6-01, GC-1-03
#[test]
fn one_get_by_multicast_registers_with_every_member_and_all_notify_under_its_token() {
    let (mut client, sent) = observing(of_group());
    let [(route, bytes)] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    assert_eq!(route.destination, GROUP.into());
    let request = Message::parse(bytes).unwrap();
    assert_eq!((request.kind(), request.code()), (Type::Non, Code::GET));
    assert_eq!(request.option(OptionNumber::OBSERVE), Some(&[][..]));
    for (n, number) in [(11, 3), (12, 13), (13, 23)] {
        assert!(client.notify(n, number, b"22.3").is_empty());
    }
    let first = |member, number| (member, News::First, Some(number), b"22.3".to_vec());
    assert_eq!(client.heard(), [first(0, 3), first(1, 13), first(2, 23)]);
    // Hours later, still.
    client.bench.now = client.bench.now + secs(10);
    for (n, number) in [(13, 24), (11, 4), (12, 14)] {
        assert!(client.notify(n, number, b"22.9").is_empty());
    }
    let update = |member, number| (member, News::Update, Some(number), b"22.9".to_vec());
    assert_eq!(client.heard(), [update(2, 24), update(0, 4), update(1, 14)]);
    assert_eq!(client.bench.endpoint.counters().unmatched, 0);
}

// Covers: GC-3.6-02
#[test]
fn fetch_observes_as_get_does_with_its_payload_in_each_request() {
    let fetch = Request::new(Code::FETCH).payload(ContentFormat::TEXT, &b"max"[..]);
    let mut request = of_group();
    request.request = fetch;
    request.every = Some(secs(60));
    let (mut client, sent) = observing(request);
    let mut all = sent;
    for n in [11, 12, 13] {
        client.notify(n, 1, b"30");
        client.notify(n, 2, b"31");
    }
    assert_eq!(client.heard().len(), 6);
    all.extend(client.pass(secs(60)));
    let requests: Vec<_> = all.iter().filter(|(r, _)| r.is_multicast()).collect();
    assert_eq!(requests.len(), 2);
    for (_, bytes) in requests {
        let message = Message::parse(bytes).unwrap();
        assert_eq!(message.code(), Code::FETCH);
        assert_eq!(message.uint(OptionNumber::OBSERVE), Some(0));
        assert_eq!(message.payload(), b"max");
        assert_eq!(message.token(), client.token);
    }
}

#[test]
fn confirmable_notifications_are_acknowledged_also_again_and_delivered_once() {
    let (mut client, _) = observing(of_group());
    let says = Says {
        kind: Type::Con,
        ..client.says(Some(7), b"22")
    };
    for round in 0..3 {
        let sent = client.bench.hear(way(11), &says.bytes());
        let [(route, ack)] = sent.as_slice() else {
            panic!("{sent:?}")
        };
        assert_eq!(route.destination, server(11));
        assert_eq!(parsed(ack), (Type::Ack, Code::EMPTY, says.mid));
        assert_eq!(client.heard().len(), usize::from(round == 0));
    }
    // One that is out of date is acknowledged as well: its sender is fine.
    let old = Says {
        kind: Type::Con,
        ..client.says(Some(6), b"21")
    };
    let sent = client.bench.hear(way(11), &old.bytes());
    assert_eq!(parsed(&sent[0].1), (Type::Ack, Code::EMPTY, old.mid));
    assert_eq!(
        client.events(),
        [ObservationEvent::Stale {
            observation: client.id,
            member: ObservedIndex(0),
            number: Some(6)
        }]
    );
}

#[test]
fn a_notification_that_was_overtaken_is_not_delivered_as_the_newest() {
    let (mut client, _) = observing(of_group());
    client.notify(11, 0xff_fffe, b"1");
    client.notify(11, 0xff_fffd, b"0");
    client.notify(11, 0xff_fffe, b"1 again");
    client.notify(11, 2, b"2");
    client.notify(12, 1, b"another member");
    let numbers: Vec<_> = client.heard().iter().map(|(m, _, n, _)| (*m, *n)).collect();
    assert_eq!(
        numbers,
        [(0, Some(0xff_fffe)), (0, Some(2)), (1, Some(1))],
        "the numbers wrap around, and are each member's own"
    );
    client.bench.now = client.bench.now + secs(128);
    client.notify(11, 1, b"3");
    assert!(client.heard().is_empty());
    client.bench.now = client.bench.now + Duration::from_micros(1);
    client.notify(11, 1, b"3");
    assert_eq!(client.heard().len(), 1, "after 128 s numbers say nothing");
    let report = client.bench.endpoint.observed(client.id, ObservedIndex(0));
    assert_eq!(report.unwrap().stale, 3);
}

// Covers: GN-3.7-01
#[test]
fn a_first_notification_may_come_long_after_the_request() {
    let (mut client, _) = observing(of_group());
    client.pass(secs(600));
    client.events();
    assert!(client.notify(11, 4, b"at last").is_empty());
    assert_eq!(
        client.heard(),
        [(0, News::First, Some(4), b"at last".to_vec())]
    );
}

// Covers: GC-3.6-04, GC-3.6-10
#[test]
fn a_repeat_has_the_same_token_and_waits_for_round_trip_and_leisure() {
    for (repeat, same_id) in [
        (Repeat::NewMessageId(1), false),
        (Repeat::SameMessage(1), true),
    ] {
        let mut request = of_group();
        request.repeat = repeat;
        let (mut client, sent) = observing(request);
        client.notify(11, 1, b"x"); // the group is not silent
        assert!(client.pass(Duration::from_micros(5_999_999)).is_empty());
        let again = client.pass(Duration::from_micros(1));
        assert_eq!(again.len(), 1);
        let (first, second) = (read(&sent[0].1), read(&again[0].1));
        assert_eq!((second.2, second.3), (client.token, Some(0)));
        assert_eq!(first.1 == second.1, same_id);
    }
    // By hand as well.
    let (mut client, _) = observing(of_group());
    client.notify(11, 1, b"x");
    client
        .bench
        .endpoint
        .observe_again(client.bench.now, client.id);
    assert!(client.pass(Duration::from_micros(5_999_999)).is_empty());
    let again = client.pass(Duration::from_micros(1));
    assert_eq!(read(&again[0].1).2, client.token);
    assert!(again[0].0.is_multicast());
}

// Covers: GC-3.6-06, GC-3.6-07, GC-3.6-09
#[test]
fn an_expected_member_that_did_not_answer_is_asked_in_person_under_the_same_token() {
    let mut request = of_group();
    request.expect = three();
    let (mut client, sent) = observing(request);
    client.notify(11, 1, b"x");
    client.notify(13, 1, b"x");
    assert!(client.pass(Duration::from_micros(5_999_999)).is_empty());
    let asked = client.pass(Duration::from_micros(1));
    let [(route, bytes)] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    assert_eq!(route.destination, server(12));
    let multicast = read(&sent[0].1);
    let (kind, mid, token, observe) = read(bytes);
    assert_eq!((kind, token, observe), (Type::Con, multicast.2, Some(0)));
    assert_ne!(mid, multicast.1);
    assert_eq!(
        Message::parse(bytes)
            .unwrap()
            .option(OptionNumber::URI_PATH),
        Some(&b"temperature"[..])
    );
    client.heard();
    client.acknowledged(12, bytes, Some(5));
    assert_eq!(client.heard(), [(1, News::First, Some(5), b"ack".to_vec())]);
    // What it says later comes under the same token.
    client.notify(12, 6, b"later");
    assert_eq!(
        client.heard(),
        [(1, News::Update, Some(6), b"later".to_vec())]
    );
    assert!(client.pass(secs(30)).is_empty(), "nobody is silent");
}

// Covers: GC-3.6-08
#[test]
fn a_new_registration_brings_late_joiners_in() {
    let mut request = of_group();
    request.every = Some(secs(100));
    request.follow_up = FollowUp::None;
    let (mut client, sent) = observing(request);
    client.notify(11, 1, b"x");
    let again = client.pass(secs(100));
    let [(route, bytes)] = again.as_slice() else {
        panic!("{again:?}")
    };
    assert!(route.is_multicast());
    let (first, second) = (read(&sent[0].1), read(bytes));
    assert_eq!(
        (second.0, second.2, second.3),
        (Type::Non, first.2, Some(0))
    );
    assert_ne!(second.1, first.1, "a fresh Message ID");
    client.heard();
    client.notify(11, 2, b"x");
    client.notify(14, 900, b"new here");
    let heard = client.heard();
    assert_eq!(heard[0].1, News::Returned, "its Max-Age was over");
    assert_eq!((heard[1].0, heard[1].1), (1, News::Joined));
    let status = client
        .bench
        .endpoint
        .observation_status(client.bench.now, client.id)
        .unwrap();
    assert_eq!((status.registrations, status.members), (2, 2));
    assert_eq!(status.next, Some(secs(100)));
    // And so on.
    assert_eq!(client.pass(secs(99)).len(), 0);
    assert_eq!(client.pass(secs(1)).len(), 1);
}

#[test]
fn with_the_interval_off_nothing_is_registered_again() {
    let mut request = of_group();
    request.every = None;
    request.follow_up = FollowUp::None;
    let (mut client, _) = observing(request);
    client.notify(11, 1, b"x");
    assert!(client.pass(secs(3 * 3_600)).is_empty());
}

#[test]
fn an_interval_shorter_than_round_trip_and_leisure_is_not_kept() {
    let mut request = of_group();
    request.every = Some(secs(1));
    request.follow_up = FollowUp::None;
    let (mut client, _) = observing(request);
    for _ in 0..3 {
        client.notify(11, 1, b"x"); // also stale ones are signs of life
        assert!(client.pass(Duration::from_micros(5_999_999)).is_empty());
        assert_eq!(client.pass(Duration::from_micros(1)).len(), 1);
    }
}

#[test]
fn a_silent_group_holds_the_next_registration_back() {
    let mut request = of_group();
    request.every = Some(secs(6));
    let (mut client, sent) = observing(request);
    let bytes = sent[0].1.len() as u64; // at one byte a second
    assert!(
        client
            .pass(secs(bytes) - Duration::from_micros(1))
            .is_empty()
    );
    assert!(client.events().iter().any(|event| matches!(
        event,
        ObservationEvent::Held(_, held) if held.reason == HoldReason::ProbingRate
    )));
    assert_eq!(client.pass(Duration::from_micros(1)).len(), 1);
}

#[test]
fn one_server_is_observed_by_a_confirmable_request() {
    let (mut client, sent) = observing(of_one(11));
    let (kind, _, _, observe) = read(&sent[0].1);
    assert_eq!((kind, observe), (Type::Con, Some(0)));
    assert_eq!(sent[0].0.destination, server(11));
    client.acknowledged(11, &sent[0].1, Some(5));
    let id = client.id;
    let events = client.events();
    assert_eq!(
        events[0],
        ObservationEvent::Registered {
            observation: id,
            registration: 1
        }
    );
    let ObservationEvent::Notification(first) = &events[1] else {
        panic!("{events:?}")
    };
    assert_eq!((first.news, first.number), (News::First, Some(5)));
    client.notify(11, 6, b"x");
    client.notify(11, 5, b"old");
    assert_eq!(client.heard().len(), 1);
    // Nobody else can speak for it.
    let says = Says {
        kind: Type::Con,
        ..client.says(Some(7), b"forged")
    };
    let sent = client.bench.hear(way(12), &says.bytes());
    assert_eq!(parsed(&sent[0].1), (Type::Rst, Code::EMPTY, says.mid));
    assert!(client.events().is_empty());
}

#[test]
fn a_response_that_acknowledges_a_newer_request_is_newer_whatever_its_number() {
    // The server has started anew, and counts from zero.
    let (mut client, sent) = observing(of_one(11));
    client.acknowledged(11, &sent[0].1, Some(500));
    client.bench.now = client.bench.now + secs(10);
    client
        .bench
        .endpoint
        .observe_again(client.bench.now, client.id);
    let again = client.pass(Duration::ZERO);
    assert_eq!(read(&again[0].1).2, client.token);
    client.heard();
    client.acknowledged(11, &again[0].1, Some(1));
    assert_eq!(client.heard().len(), 1);
    client.notify(11, 2, b"x");
    assert_eq!(client.heard().len(), 1);
}

#[test]
fn a_server_that_cannot_be_reached_ends_its_observation() {
    let (mut client, _) = observing(of_one(11));
    client.pass(secs(100));
    let outcome = client.outcome();
    assert_eq!(outcome.ended_by, ObservationEnd::Failed(Failure::TimedOut));
    assert!(
        client
            .bench
            .endpoint
            .observation_status(client.bench.now, client.id)
            .is_none()
    );
}

#[test]
fn what_cannot_be_observed_is_refused_before_anything_is_sent() {
    let mut bench = bench(EndpointConfig::default());
    let now = bench.now;
    let put = |method| ObserveRequest {
        request: Request::new(method),
        ..of_group()
    };
    let stated = ObserveRequest {
        request: Request::new(Code::GET).option(OptionNumber::OBSERVE, &[]),
        ..of_group()
    };
    let nobody_at_once = ObserveRequest {
        follow_up: FollowUp::Unicast { at_once: 0 },
        ..of_group()
    };
    let unicast = ([10, 0, 0, 9], 5683).into();
    let no_group = ObserveRequest::group(
        Request::new(Code::GET),
        GroupTarget {
            group: unicast,
            ..target()
        },
        Security::Unsecured(NoSec::Accepted),
    );
    let to = |destination: SocketAddr| {
        let route = Route {
            socket: UNICAST,
            source: None,
            interface: 0,
            destination,
        };
        ObserveRequest::one(Request::new(Code::GET), route, Protection::None)
    };
    let cases = [
        (put(Code::PUT), ObserveError::NotObservable(Code::PUT)),
        (put(Code::POST), ObserveError::NotObservable(Code::POST)),
        (stated, ObserveError::ObserveStated),
        (
            nobody_at_once,
            ObserveError::Collect(CollectError::NoCompletionAtOnce),
        ),
        (
            no_group,
            ObserveError::Collect(CollectError::NotAGroup(unicast)),
        ),
        (
            to(GROUP.into()),
            ObserveError::Request(RequestError::GroupDestination),
        ),
        (
            to(([10, 0, 0, 9], 0).into()),
            ObserveError::Request(RequestError::NoPort),
        ),
    ];
    for (request, error) in cases {
        assert_eq!(bench.endpoint.observe(now, request), Err(error));
        assert!(bench.sent().is_empty());
        assert_eq!(bench.endpoint.load().observations, 0);
    }
}
