//! Unicast requests: how they end.

use super::*;

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

#[test]
fn a_cancelled_exchange_is_over_without_an_event() {
    let mut bench = bench(EndpointConfig::default());
    let (id, request) = ask(&mut bench, Reliability::Confirmable);
    bench.endpoint.cancel(bench.now, id);
    bench.hear(path(false), &answer(&request, Type::Non, 7, &[]));
    assert!(bench.endpoint.poll_event().is_none());
    assert!(bench.pass(Duration::from_secs(100)).is_empty());
}
