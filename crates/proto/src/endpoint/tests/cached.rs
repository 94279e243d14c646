//! The cache as the application of an endpoint sees it: requests to groups and to one server share it.

mod notified;
mod poisoning;
mod unanswered;

use super::*;
use crate::cache::{CacheConfig, CacheCounters};
use crate::collection::{
    Answer, Caching, CollectionEvent, End, GroupTarget, How, NoSec, Rejection, Security,
};
use crate::security::Protection;

const ETAG: OptionNumber = OptionNumber::ETAG;
const MAX_AGE: OptionNumber = OptionNumber::MAX_AGE;

/// Peers may be asked at any pace.
fn fast() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    let transmission = &mut config.transmission;
    transmission.set_probing_rate(1_000_000_000).unwrap();
    transmission.set_nstart(100).unwrap();
    config
}

/// A server of the group.
fn server(n: u16) -> SocketAddr {
    std::format!("[2001:db8:{n}::a]:5683").parse().unwrap()
}

fn to(n: u16, request: Request) -> UnicastRequest {
    UnicastRequest {
        request,
        route: Route {
            socket: UNICAST,
            source: None,
            interface: 0,
            destination: server(n),
        },
        reliability: Reliability::Confirmable,
        response_timeout: None,
        protection: Protection::None,
    }
}

fn get_r() -> Request {
    Request::new(Code::GET).path("r")
}

fn to_group(request: Request) -> crate::collection::GroupRequest {
    let target = GroupTarget {
        group: "[ff05::1]:5683".parse().unwrap(),
        socket: UNICAST,
        interface: 1,
    };
    crate::collection::GroupRequest {
        caching: Some(Caching::default()),
        end: End::after(Duration::from_secs(5)),
        ..crate::collection::GroupRequest::new(
            request,
            target,
            Security::Unsecured(NoSec::Accepted),
        )
    }
}

/// A response to this datagram.
fn response(
    request: &[u8],
    code: Code,
    options: &[(OptionNumber, &[u8])],
    payload: &[u8],
) -> Vec<u8> {
    let request = Message::parse(request).unwrap();
    let (kind, mid) = match request.kind() {
        Type::Con => (Type::Ack, request.message_id()),
        _ => (Type::Non, MessageId(0x7000)),
    };
    let mut bytes = [0; 256];
    let mut writer = Writer::new(&mut bytes, kind, code, mid, request.token()).unwrap();
    for (number, value) in options {
        writer.option(*number, value).unwrap();
    }
    writer.payload(payload).unwrap();
    let len = writer.finish();
    bytes[..len].to_vec()
}

fn from(n: u16) -> Path {
    Path {
        peer: server(n),
        ..path(false)
    }
}

impl Bench {
    /// Asks one server by way of the cache; what is sent.
    fn cached(&mut self, unicast: UnicastRequest) -> (ExchangeId, Vec<(Route, Vec<u8>)>) {
        let id = self.endpoint.request_cached(self.now, unicast).unwrap();
        (id, self.sent())
    }

    /// Asks the group, and these servers answer.
    fn group(&mut self, options: &[(OptionNumber, &[u8])], answers: &[(u16, &[u8])]) {
        self.endpoint.collect(self.now, to_group(get_r())).unwrap();
        let asked = self.sent()[0].1.clone();
        for (n, payload) in answers {
            self.hear(from(*n), &response(&asked, Code::CONTENT, options, payload));
        }
        self.pass(Duration::from_secs(5));
        self.events();
    }

    fn events(&mut self) -> Vec<Event> {
        core::iter::from_fn(|| self.endpoint.poll_event()).collect()
    }

    /// The one event there is, of a request that was answered from the cache.
    fn given_from_cache(&mut self) -> (ExchangeId, Response, Path, Duration) {
        match self.events().as_slice() {
            [
                Event::Cached {
                    exchange,
                    response,
                    from,
                    age,
                    sender: Sender::Unauthenticated,
                },
            ] => (*exchange, response.clone(), *from, *age),
            other => panic!("{other:?}"),
        }
    }

    /// The one response there is.
    fn answered(&mut self) -> Response {
        match self.events().as_slice() {
            [Event::Response { response, .. }] => response.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn cache(&self) -> CacheCounters {
        self.endpoint.counters().cache
    }
}

// Covers: GC-3.2-04
#[test]
fn an_answer_to_a_group_request_serves_a_later_request_to_that_server() {
    let mut bench = bench(fast());
    bench.group(&[], &[(1, b"one"), (2, b"two")]);
    assert_eq!(bench.endpoint.load().cached, 2);
    let (id, sent) = bench.cached(to(1, get_r()));
    assert_eq!(sent, [], "nothing is sent");
    let (exchange, response, way, age) = bench.given_from_cache();
    assert_eq!((exchange, way, age), (id, from(1), Duration::from_secs(5)));
    assert_eq!(
        (response.code, response.payload),
        (Code::CONTENT, b"one".to_vec())
    );
    assert_eq!(response.options.get(MAX_AGE), Some([55].as_slice()));

    // Another server, another resource, another port, or not by way of the cache: it is asked.
    assert_eq!(bench.cached(to(3, get_r())).1.len(), 1);
    assert_eq!(bench.cached(to(1, get_r().path("more"))).1.len(), 1);
    assert_eq!(
        bench
            .cached(to(1, get_r().option(OptionNumber::URI_HOST, b"h")))
            .1
            .len(),
        1
    );
    let mut elsewhere = to(1, get_r());
    elsewhere.route.destination.set_port(5685);
    assert_eq!(bench.cached(elsewhere).1.len(), 1);
    bench.endpoint.request(bench.now, to(2, get_r())).unwrap();
    assert_eq!(bench.sent().len(), 1);
    // No longer than it is fresh.
    bench.now = Instant::ZERO + Duration::from_secs(60);
    assert_eq!(bench.cached(to(2, get_r())).1, []);
    bench.given_from_cache();
    bench.now = bench.now + Duration::from_micros(1);
    assert_eq!(bench.cached(to(2, get_r())).1.len(), 1);
    let counters = bench.cache();
    assert_eq!((counters.hits, counters.stale), (2, 1));
    // Names are not used twice.
    let (next, _) = bench.cached(to(4, get_r()));
    assert!(next > id);
}

// Covers: GC-3.2-05
#[test]
fn an_answer_that_is_not_fresh_is_validated_by_a_unicast_request() {
    let mut bench = bench(EndpointConfig::default());
    bench.group(&[(ETAG, b"tag"), (MAX_AGE, &[1])], &[(1, b"one")]);
    let (_, sent) = bench.cached(to(1, get_r()));
    let [(route, asked)] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    assert_eq!(route.destination, server(1));
    let message = Message::parse(asked).unwrap();
    let tags: Vec<_> = message.options().filter(|o| o.number == ETAG).collect();
    assert_eq!(tags.len(), 1);
    assert_eq!(tags[0].value, b"tag");
    let valid = response(asked, Code::VALID, &[(ETAG, b"tag"), (MAX_AGE, &[30])], b"");
    bench.hear(from(1), &valid);
    let answer = bench.answered();
    assert_eq!(
        (answer.code, answer.payload),
        (Code::CONTENT, b"one".to_vec())
    );
    assert_eq!(answer.options.get(MAX_AGE), Some([30].as_slice()));
    assert_eq!(bench.cache().validated, 1);
    // It is fresh again, for requests to the group as well.
    bench.now = bench.now + Duration::from_secs(25);
    bench.cached(to(1, get_r()));
    assert_eq!(bench.given_from_cache().3, Duration::from_secs(25));
    bench
        .endpoint
        .collect(bench.now, to_group(get_r()))
        .unwrap();
    bench.sent();
    bench.pass(Duration::from_secs(5));
    let answers: Vec<Answer> = bench
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Collection(CollectionEvent::Answer(answer)) => Some(answer),
            _ => None,
        })
        .collect();
    let age = Duration::from_secs(30);
    assert_eq!(answers.len(), 1);
    assert_eq!(
        (answers[0].how, answers[0].from),
        (How::Cached { age }, from(1))
    );
}

#[test]
fn any_other_response_to_a_validation_replaces_what_is_kept() {
    let mut bench = bench(EndpointConfig::default());
    bench.group(&[(ETAG, b"tag"), (MAX_AGE, &[1])], &[(1, b"old")]);
    let (_, sent) = bench.cached(to(1, get_r()));
    bench.hear(from(1), &response(&sent[0].1, Code::CONTENT, &[], b"new"));
    assert_eq!(bench.answered().payload, b"new");
    bench.cached(to(1, get_r()));
    assert_eq!(bench.given_from_cache().1.payload, b"new");
    assert_eq!(bench.endpoint.load().cached, 1);
}

#[test]
fn a_2_03_that_confirms_nothing_is_no_response() {
    let mut bench = bench(EndpointConfig::default());
    let (exchange, sent) = bench.cached(to(1, get_r()));
    let valid = response(&sent[0].1, Code::VALID, &[(ETAG, b"never")], b"");
    bench.hear(from(1), &valid);
    let failure = Failure::Rejected;
    assert_eq!(bench.events(), [Event::Failed { exchange, failure }]);
    // One to a tag of the application's own is its own affair.
    let (_, sent) = bench.cached(to(1, get_r().option(ETAG, b"mine")));
    let valid = response(&sent[0].1, Code::VALID, &[(ETAG, b"mine")], b"");
    bench.hear(from(1), &valid);
    assert_eq!(bench.answered().code, Code::VALID);
}

#[test]
fn a_validation_that_ends_without_a_response_holds_nothing_back() {
    let mut config = fast();
    config.collections.cache = CacheConfig {
        entries_per_responder: 1,
        ..CacheConfig::default()
    };
    let mut bench = bench(config);
    bench.group(&[(ETAG, b"tag"), (MAX_AGE, &[1])], &[(1, b"one")]);
    let (cancelled, _) = bench.cached(to(1, get_r()));
    bench.endpoint.cancel(bench.now, cancelled);
    let (failed, sent) = bench.cached(to(1, get_r()));
    let [high, low] = parsed(&sent[0].1).2.to_be_bytes();
    // While it is under way, another answer of this server finds no room.
    let asks_other = |bench: &mut Bench| {
        let (_, sent) = bench.cached(to(1, Request::new(Code::GET).path("other")));
        sent.first().map(|(_, asked)| asked.clone())
    };
    bench.hear(from(1), &[0x70, 0, high, low]);
    assert!(matches!(
        bench.events().as_slice(),
        [Event::Failed { exchange, .. }] if *exchange == failed
    ));
    let asked = asks_other(&mut bench).unwrap();
    bench.hear(from(1), &response(&asked, Code::CONTENT, &[], b"kept"));
    assert_eq!(bench.answered().payload, b"kept");
    assert_eq!(asks_other(&mut bench), None, "it was");
    assert_eq!(bench.cache().evicted, 1);
}

#[test]
fn a_validation_that_is_refused_holds_nothing_back() {
    let mut config = fast();
    config.limits.exchanges = 1;
    config.collections.cache = CacheConfig {
        entries_per_responder: 1,
        ..CacheConfig::default()
    };
    let mut bench = bench(config);
    bench.group(&[(ETAG, b"tag"), (MAX_AGE, &[1])], &[(1, b"one")]);
    let (other, _) = bench.cached(to(2, get_r()));
    let refused = bench.endpoint.request_cached(bench.now, to(1, get_r()));
    assert_eq!(refused, Err(RequestError::TooMany));
    bench.endpoint.cancel(bench.now, other);
    // Another answer of this server takes the place.
    let request = || to(1, Request::new(Code::GET).path("other"));
    let (_, sent) = bench.cached(request());
    let answer = response(&sent[0].1, Code::CONTENT, &[], b"kept");
    bench.hear(from(1), &answer);
    assert_eq!(bench.answered().payload, b"kept");
    assert_eq!(bench.cache().evicted, 1);
    assert!(bench.cached(request()).1.is_empty(), "it is kept");
}

// Covers: GC-3.2-06
#[test]
fn nothing_is_kept_of_a_proxy_that_does_not_say_for_whom_it_speaks() {
    for option in [OptionNumber::PROXY_URI, OptionNumber::PROXY_SCHEME] {
        let mut bench = bench(EndpointConfig::default());
        let request = || get_r().option(option, b"coap");
        for _ in 0..2 {
            let (_, sent) = bench.cached(to(1, request()));
            assert_eq!(sent.len(), 1, "asked each time");
            bench.hear(from(1), &response(&sent[0].1, Code::CONTENT, &[], b"x"));
            bench.answered();
        }
        assert_eq!(bench.endpoint.load().cached, 0);
    }
    // Answers to a group request that were passed on.
    let mut bench = bench(EndpointConfig::default());
    bench.group(
        &[(OptionNumber::REPLY_FROM, b"\x82\x20\x81\x44\x0a")],
        &[(1, b"x")],
    );
    assert_eq!(bench.endpoint.load().cached, 0);
}

#[test]
fn what_is_changed_is_not_fresh_any_more() {
    let fresh_after = |method: Code, path: &str, n: u16, code: Code| {
        let mut bench = bench(EndpointConfig::default());
        bench.group(&[], &[(1, b"one")]);
        let unicast = to(n, Request::new(method).path(path));
        bench.endpoint.request(bench.now, unicast).unwrap();
        let asked = bench.sent()[0].1.clone();
        bench.hear(from(n), &response(&asked, code, &[], b""));
        bench.events();
        bench.cached(to(1, get_r())).1.is_empty()
    };
    for method in [
        Code::PUT,
        Code::POST,
        Code::DELETE,
        Code::PATCH,
        Code::IPATCH,
    ] {
        assert!(!fresh_after(method, "r", 1, Code::CHANGED), "{method}");
    }
    assert!(fresh_after(Code::GET, "r", 1, Code::CONTENT));
    assert!(
        fresh_after(Code::PUT, "r", 2, Code::CHANGED),
        "another server"
    );
    assert!(
        fresh_after(Code::PUT, "s", 1, Code::CHANGED),
        "another resource"
    );
    assert!(
        fresh_after(Code::PUT, "r", 1, Code::FORBIDDEN),
        "nothing changed"
    );
}

#[test]
fn what_was_asked_before_one_server_said_that_it_changed_is_not_fresh() {
    let put = || Request::new(Code::PUT).path("r");
    // The server has made its answer to the group, holds it for its leisure, and does meanwhile as it is told.
    let mut bench = bench(fast());
    let group = to_group(get_r());
    bench.endpoint.collect(bench.now, group).unwrap();
    let asked = bench.sent()[0].1.clone();
    bench.endpoint.request(bench.now, to(1, put())).unwrap();
    let told = bench.sent()[0].1.clone();
    bench.hear(from(1), &response(&told, Code::CHANGED, &[], b""));
    let old = response(&asked, Code::CONTENT, &[(ETAG, b"t")], b"old");
    bench.hear(from(1), &old);
    bench.pass(Duration::from_secs(5));
    bench.events();
    let (id, sent) = bench.cached(to(1, get_r()));
    assert_eq!(sent.len(), 1, "it is asked");
    // So with requests to that server alone.
    bench.endpoint.request(bench.now, to(1, put())).unwrap();
    let told = bench.sent()[0].1.clone();
    bench.hear(from(1), &response(&told, Code::CHANGED, &[], b""));
    bench.hear(
        from(1),
        &response(&sent[0].1, Code::VALID, &[(ETAG, b"t")], b""),
    );
    let events = bench.events();
    let said = events.iter().find_map(|event| match event {
        Event::Response {
            exchange, response, ..
        } if *exchange == id => Some(response),
        _ => None,
    });
    assert_eq!(said.unwrap().payload, b"old");
    let (_, sent) = bench.cached(to(1, get_r()));
    assert_eq!(sent.len(), 1, "and asked again");
    bench.hear(from(1), &response(&sent[0].1, Code::CONTENT, &[], b"new"));
    assert_eq!(bench.answered().payload, b"new");
    assert!(bench.cached(to(1, get_r())).1.is_empty());
}

#[test]
fn an_answer_to_the_group_that_comes_late_does_not_replace_what_one_said_since() {
    let mut bench = bench(fast());
    let group = to_group(get_r());
    bench.endpoint.collect(bench.now, group).unwrap();
    let asked = bench.sent()[0].1.clone();
    let (_, sent) = bench.cached(to(1, get_r()));
    bench.hear(from(1), &response(&sent[0].1, Code::CONTENT, &[], b"newer"));
    assert_eq!(bench.answered().payload, b"newer");
    bench.hear(from(1), &response(&asked, Code::CONTENT, &[], b"older"));
    bench.events();
    bench.cached(to(1, get_r()));
    assert_eq!(bench.given_from_cache().1.payload, b"newer");
}

// Covers: GC-3.2.2-03
#[test]
fn multi_etag_is_refused_for_one_server_and_goes_to_a_proxy() {
    let mut bench = bench(EndpointConfig::default());
    let multi = || get_r().option(OptionNumber::MULTI_ETAG, b"x");
    let refused = Err(RequestError::MultiEtag);
    assert_eq!(bench.endpoint.request(bench.now, to(1, multi())), refused);
    assert_eq!(
        bench.endpoint.request_cached(bench.now, to(1, multi())),
        refused
    );
    assert_eq!(bench.sent(), []);
    for option in [OptionNumber::PROXY_URI, OptionNumber::PROXY_SCHEME] {
        let to_proxy = to(1, multi().option(option, b"coap"));
        bench.endpoint.request(bench.now, to_proxy).unwrap();
    }
    assert_eq!(bench.sent().len(), 1, "the other waits for its turn");
}

#[test]
fn a_request_does_not_observe() {
    let mut bench = bench(EndpointConfig::default());
    let observing = || to(1, get_r().option(OptionNumber::OBSERVE, b""));
    let refused = Err(RequestError::Observe);
    assert_eq!(bench.endpoint.request(bench.now, observing()), refused);
    assert_eq!(
        bench.endpoint.request_cached(bench.now, observing()),
        refused
    );
    assert_eq!(bench.sent(), []);
}

// Covers: GN-3.2.2-03
#[test]
fn a_server_that_confirms_what_another_has_said_is_asked_again_by_unicast() {
    let mut bench = bench(EndpointConfig::default());
    bench.group(&[(ETAG, b"of A"), (MAX_AGE, &[1])], &[(1, b"A says")]);
    let id = bench
        .endpoint
        .collect(bench.now, to_group(get_r()))
        .unwrap();
    let asked = bench.sent()[0].1.clone();
    let message = Message::parse(&asked).unwrap();
    assert_eq!(message.option(ETAG), Some(b"of A".as_slice()));
    let valid = response(&asked, Code::VALID, &[(ETAG, b"of A")], b"");
    let sent = bench.hear(from(2), &valid);
    let [(route, again)] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    assert_eq!(route.destination, server(2));
    let message = Message::parse(again).unwrap();
    assert_eq!((message.kind(), message.code()), (Type::Con, Code::GET));
    assert_eq!(message.option(ETAG), None, "without the tag");
    bench.hear(
        from(2),
        &response(again, Code::CONTENT, &[(ETAG, b"of A")], b"B says"),
    );
    bench.pass(Duration::from_secs(30));
    let events = bench.events();
    let answers: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Collection(CollectionEvent::Answer(answer)) => Some(answer),
            _ => None,
        })
        .collect();
    assert_eq!(answers.len(), 1);
    assert_eq!((answers[0].collection, answers[0].how), (id, How::Unicast));
    assert_eq!(answers[0].response.payload, b"B says");
    let outcome = events.iter().find_map(|event| match event {
        Event::Collection(CollectionEvent::Ended(outcome)) => Some(outcome),
        _ => None,
    });
    let unexpected = &outcome.unwrap().unexpected;
    assert_eq!(unexpected[0].rejection, Some(Rejection::NotStored));
    assert_eq!(unexpected[0].answers, 1);
    // Both have the tag: neither is offered to a group again.
    bench.now = bench.now + Duration::from_secs(100);
    bench
        .endpoint
        .collect(bench.now, to_group(get_r()))
        .unwrap();
    let asked = bench.sent()[0].1.clone();
    assert_eq!(Message::parse(&asked).unwrap().option(ETAG), None);
    assert_eq!(bench.cache().duplicated, 2);
}

#[test]
fn everything_can_be_forgotten() {
    let mut bench = bench(EndpointConfig::default());
    bench.group(&[], &[(1, b"one"), (2, b"two")]);
    bench.endpoint.forget_cached();
    assert_eq!(bench.endpoint.load().cached, 0);
    assert_eq!(bench.cached(to(1, get_r())).1.len(), 1);
}
