//! Unicast requests: how they end.

use super::*;
use crate::security::Protection;

fn ask(bench: &mut Bench, reliability: Reliability) -> (ExchangeId, Vec<u8>) {
    let unicast = UnicastRequest {
        request: Request::new(Code::GET).path("/x"),
        route: Route {
            socket: UNICAST,
            source: None,
            interface: 0,
            destination: PEER.into(),
        },
        reliability,
        response_timeout: None,
        protection: Protection::None,
    };
    let id = bench.endpoint.request(bench.now, unicast).unwrap();
    (id, bench.sent()[0].1.clone())
}

fn answer(request: &[u8], kind: Type, mid: u16, options: &[(OptionNumber, &[u8])]) -> Vec<u8> {
    let token = Message::parse(request).unwrap().token();
    let mut bytes = [0; 64];
    let mut writer = Writer::new(&mut bytes, kind, Code::CONTENT, MessageId(mid), token).unwrap();
    for (number, value) in options {
        writer.option(*number, value).unwrap();
    }
    let len = writer.finish();
    bytes[..len].to_vec()
}

#[test]
fn a_piggybacked_response_ends_the_exchange_and_its_retransmissions() {
    let mut bench = bench(EndpointConfig::default());
    let (id, request) = ask(&mut bench, Reliability::Confirmable);
    bench.now = Instant::from_millis(300);
    let mid = parsed(&request).2;
    bench.hear(path(false), &answer(&request, Type::Ack, mid, &[]));
    let Some(Event::Response {
        exchange, after, ..
    }) = bench.endpoint.poll_event()
    else {
        panic!()
    };
    assert_eq!((exchange, after), (id, Duration::from_millis(300)));
    assert!(bench.pass(Duration::from_secs(200)).is_empty());
    assert_eq!(bench.endpoint.load().confirmables, 0);
}

#[test]
fn a_separate_confirmable_response_is_acknowledged_each_time_and_delivered_once() {
    let mut bench = bench(EndpointConfig::default());
    let (_, request) = ask(&mut bench, Reliability::Confirmable);
    let [high, low] = parsed(&request).2.to_be_bytes();
    assert!(bench.hear(path(false), &[0x60, 0, high, low]).is_empty());
    assert!(
        bench.pass(Duration::from_secs(60)).is_empty(),
        "acknowledged: no retransmission"
    );
    let response = answer(&request, Type::Con, 77, &[]);
    for _ in 0..3 {
        assert_eq!(bench.hear(path(false), &response)[0].1, [0x60, 0, 0, 77]);
    }
    assert!(matches!(
        bench.endpoint.poll_event(),
        Some(Event::Response { .. })
    ));
    assert!(bench.endpoint.poll_event().is_none());
}

#[test]
fn a_response_that_overtakes_its_acknowledgement_counts_as_one() {
    let mut bench = bench(EndpointConfig::default());
    let (_, request) = ask(&mut bench, Reliability::Confirmable);
    bench.hear(path(false), &answer(&request, Type::Non, 77, &[]));
    assert!(matches!(
        bench.endpoint.poll_event(),
        Some(Event::Response { .. })
    ));
    assert!(bench.pass(Duration::from_secs(200)).is_empty());
}

#[test]
fn a_reset_ends_the_exchange_confirmable_or_not() {
    let mut bench = bench(EndpointConfig::default());
    for reliability in [Reliability::Confirmable, Reliability::NonConfirmable] {
        let (exchange, request) = ask(&mut bench, reliability);
        let [high, low] = parsed(&request).2.to_be_bytes();
        bench.hear(path(false), &[0x70, 0, high, low]);
        let failure = Failure::Reset;
        assert_eq!(
            bench.endpoint.poll_event(),
            Some(Event::Failed { exchange, failure })
        );
    }
}

#[test]
fn a_request_that_nobody_answers_times_out_after_all_retransmissions() {
    let mut bench = bench(EndpointConfig::default());
    let (exchange, request) = ask(&mut bench, Reliability::Confirmable);
    let mut copies = 0;
    while let Some(due) = bench.endpoint.next_timeout() {
        let step = due.since(bench.now);
        for (_, bytes) in bench.pass(step) {
            assert_eq!(bytes, request);
            copies += 1;
        }
        if bench.endpoint.load().exchanges == 0 {
            break;
        }
    }
    assert_eq!(copies, 4);
    assert!(bench.now >= Instant::from_millis(62_000) && bench.now <= Instant::from_millis(93_000));
    let failure = Failure::TimedOut;
    assert_eq!(
        bench.endpoint.poll_event(),
        Some(Event::Failed { exchange, failure })
    );
}

#[test]
fn a_response_with_an_unknown_critical_option_is_rejected() {
    let mut bench = bench(EndpointConfig::default());
    let (exchange, request) = ask(&mut bench, Reliability::NonConfirmable);
    let odd = answer(&request, Type::Con, 77, &[(OptionNumber(65_001), b"x")]);
    assert_eq!(bench.hear(path(false), &odd)[0].1, [0x70, 0, 0, 77]);
    let failure = Failure::Rejected;
    assert_eq!(
        bench.endpoint.poll_event(),
        Some(Event::Failed { exchange, failure })
    );
}

#[test]
fn an_unreachable_peer_ends_its_exchanges_but_a_full_buffer_does_not() {
    let mut bench = bench(EndpointConfig::default());
    let (exchange, _) = ask(&mut bench, Reliability::Confirmable);
    let route = Route {
        socket: UNICAST,
        source: None,
        interface: 0,
        destination: PEER.into(),
    };
    bench
        .endpoint
        .handle_send_error(bench.now, route, SendError::NoBuffer);
    assert!(bench.endpoint.poll_event().is_none());
    bench
        .endpoint
        .handle_send_error(bench.now, route, SendError::PortUnreachable);
    let failure = Failure::Unreachable(SendError::PortUnreachable);
    assert_eq!(
        bench.endpoint.poll_event(),
        Some(Event::Failed { exchange, failure })
    );
    assert!(bench.pass(Duration::from_secs(100)).is_empty());
}

/// An endpoint that asks one peer several things at a time.
fn busy_bench() -> Bench {
    let mut config = EndpointConfig::default();
    config.transmission.set_nstart(2).unwrap();
    bench(config)
}

fn reported(bench: &mut Bench, quote: &[u8], error: SendError) -> bool {
    bench
        .endpoint
        .handle_undelivered(bench.now, UNICAST, PEER.into(), quote, error)
}

#[test]
fn a_report_ends_the_one_exchange_that_it_quotes() {
    let mut bench = busy_bench();
    let (first, request_of_first) = ask(&mut bench, Reliability::Confirmable);
    let (second, request) = ask(&mut bench, Reliability::Confirmable);
    // Header and token: that is enough, and less is not.
    for quoted in 0..12 {
        assert!(!reported(
            &mut bench,
            &request[..quoted],
            SendError::NoRoute
        ));
    }
    assert!(bench.endpoint.poll_event().is_none());
    assert_eq!(bench.endpoint.counters().reports_ignored, 12);
    assert!(reported(&mut bench, &request[..12], SendError::NoRoute));
    assert_eq!(
        bench.endpoint.poll_event(),
        Some(Event::Failed {
            exchange: second,
            failure: Failure::Unreachable(SendError::NoRoute)
        })
    );
    assert!(bench.endpoint.poll_event().is_none());
    assert_eq!(
        (
            bench.endpoint.load().exchanges,
            bench.endpoint.load().confirmables
        ),
        (1, 1),
        "the other goes on"
    );
    // The same report once more, as each retransmission may provoke one.
    assert!(!reported(&mut bench, &request, SendError::NoRoute));
    let counters = bench.endpoint.counters();
    assert_eq!((counters.send_errors, counters.reports_ignored), (1, 13));
    assert!(reported(&mut bench, &request_of_first, SendError::NoRoute));
    assert!(matches!(
        bench.endpoint.poll_event(),
        Some(Event::Failed { exchange, .. }) if exchange == first
    ));
}

#[test]
fn a_forged_report_changes_nothing() {
    let mut bench = busy_bench();
    let (_, request) = ask(&mut bench, Reliability::Confirmable);
    let (_, other) = ask(&mut bench, Reliability::Confirmable);
    let error = SendError::PortUnreachable;
    // Each byte of the quote counts: version, type and token length (but for the type), method, Message ID, token.
    for at in 0..12 {
        let mut forged = request.clone();
        forged[at] ^= 0x41;
        assert!(!reported(&mut bench, &forged, error), "byte {at}");
    }
    // One request's Message ID with another one's token.
    let mixed = [&request[..4], &other[4..]].concat();
    assert!(!reported(&mut bench, &mixed, error));
    // Another port, another address, a group, another socket.
    for destination in ["10.0.0.2:40001", "10.0.0.3:40000", "224.0.1.187:5683"] {
        let destination = destination.parse().unwrap();
        assert!(!bench.endpoint.handle_undelivered(
            bench.now,
            UNICAST,
            destination,
            &request,
            error
        ));
    }
    assert!(
        !bench
            .endpoint
            .handle_undelivered(bench.now, OF_GROUP, PEER.into(), &request, error)
    );
    assert!(bench.endpoint.poll_event().is_none());
    assert_eq!(bench.endpoint.load().exchanges, 2);
    let counters = bench.endpoint.counters();
    assert_eq!((counters.send_errors, counters.reports_ignored), (0, 17));
}

#[test]
fn a_request_that_has_not_left_cannot_be_reported_and_a_full_buffer_passes() {
    let mut bench = bench(EndpointConfig::default());
    let (_, request) = ask(&mut bench, Reliability::NonConfirmable);
    assert!(reported(&mut bench, &request, SendError::NoBuffer));
    assert!(bench.endpoint.poll_event().is_none());
    assert_eq!(bench.endpoint.counters().send_errors, 1);
    // The next one waits for NSTART: it has a token, but nobody has seen it.
    let unicast = UnicastRequest {
        request: Request::new(Code::GET).path("/x"),
        route: Route {
            socket: UNICAST,
            source: None,
            interface: 0,
            destination: PEER.into(),
        },
        reliability: Reliability::NonConfirmable,
        response_timeout: None,
        protection: Protection::None,
    };
    let waiting = bench.endpoint.request(bench.now, unicast).unwrap();
    assert!(bench.sent().is_empty());
    assert!(reported(&mut bench, &request, SendError::Forbidden));
    let Some(Event::Failed { exchange, .. }) = bench.endpoint.poll_event() else {
        panic!()
    };
    assert_ne!(exchange, waiting);
}

#[test]
fn a_cancelled_exchange_is_over_without_an_event() {
    let mut bench = bench(EndpointConfig::default());
    let (id, request) = ask(&mut bench, Reliability::Confirmable);
    bench.endpoint.cancel(bench.now, id);
    bench.hear(path(false), &answer(&request, Type::Non, 7, &[]));
    assert!(bench.endpoint.poll_event().is_none());
    assert!(bench.pass(Duration::from_secs(100)).is_empty());
}

// Covers: GN-6.3.1-05
#[test]
fn a_request_is_repeated_with_the_echo_value_that_the_server_asks_for_and_not_for_ever() {
    let mut bench = bench(EndpointConfig::default());
    let unicast = UnicastRequest {
        request: Request::new(Code::GET).path("t"),
        route: Route {
            socket: UNICAST,
            source: None,
            interface: 0,
            destination: PEER.into(),
        },
        reliability: Reliability::Confirmable,
        response_timeout: None,
        protection: Protection::None,
    };
    let id = bench.endpoint.request(bench.now, unicast).unwrap();
    let mut asked = bench.sent();
    let mut tokens = Vec::new();
    for n in 1..=3_u8 {
        let (route, bytes) = asked.pop().expect("asked");
        assert!(asked.is_empty());
        assert_eq!(route.destination, PEER.into());
        let request = Message::parse(&bytes).unwrap();
        let echoed = (n > 1).then(|| [n - 1; 8]);
        assert_eq!(
            request.option(OptionNumber::ECHO),
            echoed.as_ref().map(<[u8; 8]>::as_slice)
        );
        assert_eq!(
            request.option(OptionNumber::URI_PATH),
            Some(b"t".as_slice())
        );
        assert!(!tokens.contains(&request.token()), "a token of its own");
        tokens.push(request.token());
        let mut out = [0; 64];
        let code = Code::UNAUTHORIZED;
        let (mid, token) = (request.message_id(), request.token());
        let mut writer = Writer::new(&mut out, Type::Ack, code, mid, token).unwrap();
        writer.option(OptionNumber::ECHO, &[n; 8]).unwrap();
        let len = writer.finish();
        asked = bench.hear(path(false), &out[..len]);
    }
    assert!(asked.is_empty(), "twice, and no more");
    match bench.endpoint.poll_event() {
        Some(Event::Response {
            exchange, response, ..
        }) => {
            assert_eq!((exchange, response.code), (id, Code::UNAUTHORIZED));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(bench.endpoint.counters().echoed, 2);
    assert!(bench.pass(Duration::from_secs(100)).is_empty());
}

#[test]
fn an_echo_value_is_heeded_in_a_4_01_that_is_understood_and_a_confirmable_one_is_acknowledged() {
    const CRITICAL: OptionNumber = OptionNumber(65_001);
    let answered = |code: Code, kind, critical: bool| {
        let mut bench = bench(EndpointConfig::default());
        let (_, request) = ask(&mut bench, Reliability::Confirmable);
        let asked = Message::parse(&request).unwrap();
        let mut bytes = [0; 64];
        let mid = match kind {
            Type::Ack => asked.message_id(),
            _ => MessageId(77),
        };
        let mut writer = Writer::new(&mut bytes, kind, code, mid, asked.token()).unwrap();
        writer.option(OptionNumber::ECHO, &[5; 8]).unwrap();
        if critical {
            writer.option(CRITICAL, b"").unwrap();
        }
        let len = writer.finish();
        let sent = bench.hear(path(false), &bytes[..len]);
        let again = sent.iter().filter(|(_, bytes)| {
            let message = Message::parse(bytes).unwrap();
            message.option(OptionNumber::ECHO) == Some(&[5; 8])
        });
        let again = again.count();
        let empty = sent.iter().find(|(_, bytes)| bytes.len() == 4);
        let empty = empty.map(|(_, bytes)| parsed(bytes));
        let told = match bench.endpoint.poll_event() {
            Some(Event::Response { response, .. }) => Some(Ok(response.code)),
            Some(Event::Failed { failure, .. }) => Some(Err(failure)),
            None => None,
            other => panic!("{other:?}"),
        };
        (again, empty, told)
    };
    let acknowledged = Some((Type::Ack, Code::EMPTY, 77));
    let reset = Some((Type::Rst, Code::EMPTY, 77));
    let unauthorized = Code::UNAUTHORIZED;
    assert_eq!(answered(unauthorized, Type::Ack, false), (1, None, None));
    assert_eq!(
        answered(unauthorized, Type::Con, false),
        (1, acknowledged, None)
    );
    assert_eq!(answered(unauthorized, Type::Non, false), (1, None, None));
    // A value for later comes with what was asked for.
    let content = Some(Ok(Code::CONTENT));
    assert_eq!(
        answered(Code::CONTENT, Type::Ack, false),
        (0, None, content)
    );
    assert_eq!(
        answered(Code::CONTENT, Type::Con, false),
        (0, acknowledged, content)
    );
    // What is not understood is rejected.
    let rejected = Some(Err(Failure::Rejected));
    assert_eq!(answered(unauthorized, Type::Ack, true), (0, None, rejected));
    assert_eq!(
        answered(unauthorized, Type::Con, true),
        (0, reset, rejected)
    );
}

#[test]
fn a_request_that_cannot_fit_into_a_datagram_is_refused_at_once() {
    let request = || Request::new(Code::GET).query(&"q".repeat(250));
    let whole = request();
    let bound = crate::exchange::encoded_bound(&whole.options, &whole.payload);
    assert!((250..400).contains(&bound), "{bound}");
    // What protection adds is not known yet: so many bytes more are let pass.
    for (datagram, refused) in [(bound - 64, false), (bound - 65, true), (bound - 100, true)] {
        let mut config = EndpointConfig::default();
        config.limits.datagram = datagram;
        let mut bench = bench(config);
        let unicast = UnicastRequest {
            request: request(),
            route: Route {
                socket: UNICAST,
                source: None,
                interface: 0,
                destination: PEER.into(),
            },
            reliability: Reliability::Confirmable,
            response_timeout: None,
            protection: Protection::None,
        };
        let asked = bench.endpoint.request(bench.now, unicast);
        assert_eq!(asked == Err(RequestError::TooLarge), refused, "{datagram}");
        assert_eq!(asked.is_ok(), !refused);
    }
}

#[test]
fn an_acknowledged_request_without_response_times_out_and_is_gone() {
    let mut bench = bench(EndpointConfig::default());
    let (id, request) = ask(&mut bench, Reliability::Confirmable);
    let [high, low] = parsed(&request).2.to_be_bytes();
    bench.now = Instant::from_millis(1_000);
    assert!(bench.hear(path(false), &[0x60, 0, high, low]).is_empty());
    // MAX_TRANSMIT_WAIT from the acknowledgement on.
    let wait = Duration::from_secs(93);
    assert!(bench.pass(wait - Duration::from_micros(1)).is_empty());
    assert!(bench.endpoint.poll_event().is_none());
    assert_eq!(bench.endpoint.load().exchanges, 1);
    assert!(bench.pass(Duration::from_micros(1)).is_empty());
    match bench.endpoint.poll_event() {
        Some(Event::Failed { exchange, failure }) => {
            assert_eq!((exchange, failure), (id, Failure::TimedOut));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(bench.endpoint.load().exchanges, 0);
}

#[test]
fn a_response_is_remembered_as_long_as_its_type_is_repeated() {
    for (kind, lifetime) in [(Type::Con, 247), (Type::Non, 145)] {
        let mut bench = bench(EndpointConfig::default());
        let (_, request) = ask(&mut bench, Reliability::NonConfirmable);
        let response = answer(&request, kind, 77, &[]);
        let acknowledgements = usize::from(kind == Type::Con);
        assert_eq!(bench.hear(path(false), &response).len(), acknowledgements);
        assert!(bench.endpoint.poll_event().is_some());
        bench.pass(Duration::from_secs(lifetime) - Duration::from_micros(1));
        let again = bench.hear(path(false), &response);
        assert_eq!(again.len(), acknowledgements);
        assert!(again.iter().all(|(_, bytes)| *bytes == [0x60, 0, 0, 77]));
        let counters = bench.endpoint.counters();
        assert_eq!(
            (counters.duplicates, counters.unmatched),
            (1, 0),
            "{kind:?}"
        );
        bench.pass(Duration::from_micros(1));
        let stray = bench.hear(path(false), &response);
        assert!(stray.iter().all(|(_, bytes)| *bytes == [0x70, 0, 0, 77]));
        let counters = bench.endpoint.counters();
        assert_eq!(
            (counters.duplicates, counters.unmatched),
            (1, 1),
            "{kind:?}"
        );
    }
}

#[test]
fn a_collection_tells_what_it_does_and_what_is_rejected_is_counted_each_time() {
    use crate::collection::{GroupTarget, NoSec, Security, Stage};
    let mut bench = bench(EndpointConfig::default());
    let target = GroupTarget {
        group: GROUP.into(),
        socket: UNICAST,
        interface: 1,
    };
    let request = Request::new(Code::GET).path("/x");
    let security = Security::Unsecured(NoSec::Accepted);
    let question = GroupRequest::new(request, target, security);
    let id = bench.endpoint.collect(bench.now, question).unwrap();
    let asked = bench.sent()[0].1.clone();
    for n in 1..=2_u16 {
        let critical = [(OptionNumber(65_001), b"".as_slice())];
        bench.hear(path(false), &answer(&asked, Type::Non, n, &critical));
        assert_eq!(bench.endpoint.counters().responses_rejected, u64::from(n));
    }
    bench.hear(path(false), &answer(&asked, Type::Non, 3, &[]));
    let status = bench.endpoint.status(bench.now, id).unwrap();
    assert_eq!(status.stage, Stage::Collecting);
    assert_eq!((status.answers, status.transmissions), (1, 1));
    let unknown = CollectionId(id.0 + 1);
    assert!(bench.endpoint.status(bench.now, unknown).is_none());
}

#[test]
fn a_reset_carries_no_response() {
    let mut bench = bench(EndpointConfig::default());
    let (_, request) = ask(&mut bench, Reliability::Confirmable);
    let mid = parsed(&request).2;
    for n in 1..=2 {
        let malformed = answer(&request, Type::Rst, mid, &[]);
        assert!(bench.hear(path(false), &malformed).is_empty());
        assert_eq!(bench.endpoint.counters().malformed, n);
    }
    assert!(bench.endpoint.poll_event().is_none());
    assert_eq!(bench.endpoint.load().exchanges, 1, "it still waits");
}

#[test]
fn without_security_an_answer_to_an_own_question_lifts_the_pause_of_who_gave_it() {
    use crate::collection::{GroupTarget, NoSec, Security};
    use crate::exchange::Waiting;

    let mut bench = bench(EndpointConfig::default());
    let (silent, _) = ask(&mut bench, Reliability::NonConfirmable);
    bench.pass(Duration::from_secs(93));
    assert!(bench.endpoint.waiting(bench.now, silent).is_none());
    while bench.endpoint.poll_event().is_some() {}
    // Nobody hears this one, as there was nothing to hold it yet.
    let unicast = UnicastRequest {
        request: Request::new(Code::PUT).path("/x").query(&"long".repeat(60)),
        route: Route {
            socket: UNICAST,
            source: None,
            interface: 0,
            destination: PEER.into(),
        },
        reliability: Reliability::NonConfirmable,
        response_timeout: Some(Duration::from_secs(1)),
        protection: Protection::None,
    };
    bench.endpoint.request(bench.now, unicast.clone()).unwrap();
    assert_eq!(bench.sent().len(), 1);
    bench.pass(Duration::from_secs(1));
    let held = bench.endpoint.request(bench.now, unicast).unwrap();
    let waits = |bench: &Bench| {
        let waiting = bench.endpoint.waiting(bench.now, held);
        matches!(waiting, Some(Waiting::ProbingRate(_)))
    };
    assert!(waits(&bench));
    let target = GroupTarget {
        group: GROUP.into(),
        socket: UNICAST,
        interface: 1,
    };
    let question = Request::new(Code::GET).path("t");
    let question = GroupRequest::new(question, target, Security::Unsecured(NoSec::Accepted));
    bench.endpoint.collect(bench.now, question).unwrap();
    let sent = bench.sent();
    let asked = &sent.last().expect("asked").1;
    bench.hear(path(false), &get(Type::Non, 5, "t"));
    assert!(waits(&bench), "a request proves nothing");
    let mut other = answer(asked, Type::Non, 8, &[]);
    other[4] ^= 1;
    bench.hear(path(false), &other);
    assert!(waits(&bench), "an answer to nothing");
    let critical = [(OptionNumber(65_001), b"".as_slice())];
    bench.hear(path(false), &answer(asked, Type::Non, 10, &critical));
    assert!(waits(&bench), "an answer that is not delivered");
    assert_eq!(bench.endpoint.counters().responses_rejected, 1);
    let leaves = bench.hear(path(false), &answer(asked, Type::Non, 9, &[]));
    assert!(!waits(&bench));
    assert_eq!(leaves.len(), 1, "what was held");
    assert_eq!(parsed(&leaves[0].1).1, Code::PUT);
}
