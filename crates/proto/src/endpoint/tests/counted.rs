//! What is counted of datagrams that nobody waits for, and of answers that are not sent.

use super::*;

#[test]
fn what_is_sent_and_what_is_heard_again_is_counted_each_time() {
    let mut bench = bench(EndpointConfig::default());
    for mid in 1..=3 {
        assert_eq!(bench.hear(path(false), &get(Type::Con, mid, "t")).len(), 1);
    }
    assert_eq!(bench.endpoint.counters().sent, 3);
    assert_eq!(bench.endpoint.counters().duplicates, 0);
    assert_eq!(bench.hear(path(false), &get(Type::Con, 1, "t")).len(), 1);
    assert_eq!(bench.hear(path(true), &get(Type::Non, 9, "t")).len(), 1);
    assert_eq!(bench.hear(path(true), &get(Type::Non, 9, "t")).len(), 0);
    let counters = bench.endpoint.counters();
    assert_eq!((counters.sent, counters.duplicates), (5, 2));
}

#[test]
fn messages_that_belong_to_nothing_are_counted_each_time() {
    let mut bench = bench(EndpointConfig::default());
    for (n, kind) in [Type::Ack, Type::Rst, Type::Ack].into_iter().enumerate() {
        // A request acknowledges nothing.
        assert!(bench.hear(path(false), &get(kind, 7, "t")).is_empty());
        assert_eq!(bench.endpoint.counters().malformed, n as u64 + 1);
    }
    for (n, first) in [0x60, 0x60, 0x70, 0x70].into_iter().enumerate() {
        assert!(bench.hear(path(false), &[first, 0, 0, 9]).is_empty());
        assert_eq!(bench.endpoint.counters().unmatched_empty, n as u64 + 1);
    }
    for n in 1..=2_u16 {
        let stray = message(Type::Con, Code::CONTENT, n, &[]);
        assert_eq!(bench.hear(path(false), &stray).len(), 1);
        let counters = bench.endpoint.counters();
        let expected = (u64::from(n), u64::from(n));
        assert_eq!((counters.unmatched, counters.unmatched_reset), expected);
    }
    assert_eq!(bench.handled(), 0);
}

fn not_wanted(kind: Type, mid: u16, at: &str) -> Vec<u8> {
    let none = NoResponse::ALL.encode();
    let options = [
        (OptionNumber::URI_PATH, at.as_bytes()),
        (OptionNumber::NO_RESPONSE, none.as_bytes()),
    ];
    message(kind, Code::GET, mid, &options)
}

#[test]
fn a_response_that_is_not_wanted_is_counted_and_neither_reset_nor_acknowledged_twice() {
    let mut bench = bench(EndpointConfig::default());
    assert!(
        bench
            .hear(path(false), &not_wanted(Type::Non, 1, "t"))
            .is_empty()
    );
    assert_eq!(bench.endpoint.counters().silenced, 1);
    assert_eq!(bench.handled(), 1);
    assert!(
        bench
            .hear(path(false), &not_wanted(Type::Con, 2, "slow"))
            .is_empty()
    );
    let incoming = bench.request_event();
    let acknowledged = bench.pass(Duration::from_millis(500));
    assert_eq!(acknowledged[0].1, [0x60, 0, 0, 2]);
    let (now, response) = (bench.now, Response::new(Code::CONTENT));
    bench.endpoint.respond(now, incoming, response);
    assert!(bench.sent().is_empty(), "it was acknowledged before");
    assert_eq!(bench.endpoint.counters().silenced, 2);
}

#[test]
fn a_group_is_not_told_that_there_is_no_place_for_its_request() {
    let mut config = EndpointConfig::default();
    config.limits.incoming = 1;
    let mut bench = bench(config);
    bench.hear(path(false), &get(Type::Con, 7, "slow"));
    for n in 1..=2 {
        assert!(
            bench
                .hear(path(true), &get(Type::Non, 8 + n, "slow"))
                .is_empty()
        );
        assert_eq!(bench.endpoint.counters().silenced, u64::from(n));
    }
}

#[test]
fn nothing_leaves_by_a_socket_that_is_gone() {
    let mut bench = bench(EndpointConfig::default());
    let by = |bench: &mut Bench, mid| {
        let sent = bench.hear(path(true), &get(Type::Non, mid, "t"));
        sent.iter()
            .map(|(route, _)| route.socket)
            .collect::<Vec<_>>()
    };
    assert_eq!(by(&mut bench, 1), [UNICAST]);
    bench.endpoint.remove_socket(UNICAST);
    assert!(!by(&mut bench, 2).contains(&UNICAST));
}

#[test]
fn an_answer_to_a_group_leaves_by_a_unicast_socket_of_its_family() {
    let mut bench = bench(EndpointConfig::default());
    bench.endpoint.remove_socket(UNICAST);
    let sockets: [(u16, SocketAddr); 4] = [
        (1, "[2001:db8::1]:5683".parse().unwrap()),
        (2, ([224, 0, 1, 188], 5683).into()),
        (3, ([10, 0, 0, 1], 5684).into()),
        (4, ([10, 0, 0, 1], 5683).into()),
    ];
    for (id, local) in sockets {
        let info = SocketInfo {
            local,
            respond_from: None,
        };
        bench.endpoint.add_socket(SocketId(id), info);
    }
    // The group's port, then any port, then the socket that heard it.
    for (mid, gone, left_by) in [(1, None, 4), (2, Some(4), 3), (3, Some(3), OF_GROUP.0)] {
        if let Some(gone) = gone {
            bench.endpoint.remove_socket(SocketId(gone));
        }
        let sent = bench.hear(path(true), &get(Type::Non, mid, "t"));
        assert_eq!(sent[0].0.socket, SocketId(left_by));
    }
}

#[test]
fn an_answer_may_be_as_large_as_a_datagram() {
    // Header, token, Content-Format, marker and "21.5 C".
    for (datagram, too_large) in [(14, 0), (13, 1)] {
        let mut config = EndpointConfig::default();
        config.limits.datagram = datagram;
        let mut bench = bench(config);
        for n in 1..=2_u16 {
            let sent = bench.hear(path(true), &get(Type::Non, n, "t"));
            let lengths: Vec<_> = sent.iter().map(|(_, bytes)| bytes.len()).collect();
            match too_large {
                0 => assert_eq!(lengths, [14]),
                _ => assert!(lengths.is_empty()),
            }
            let counted = bench.endpoint.counters().too_large;
            assert_eq!(counted, too_large * u64::from(n));
        }
        let sent = bench.hear(path(false), &get(Type::Con, 9, "t"));
        let code = match too_large {
            0 => Code::CONTENT,
            _ => Code::INTERNAL_SERVER_ERROR,
        };
        assert_eq!(parsed(&sent[0].1), (Type::Ack, code, 9));
        assert_eq!(bench.endpoint.counters().too_large, too_large * 3);
    }
}

#[test]
fn answers_that_find_no_place_to_wait_are_counted_each_time() {
    let mut config = EndpointConfig::default();
    config.limits.pending_answers = 1;
    let mut bench = bench(config);
    for n in 0..4_u16 {
        assert!(
            bench
                .hear(path(true), &get(Type::Non, n, "wait"))
                .is_empty()
        );
        assert_eq!(bench.endpoint.load().pending_answers, 1);
        assert_eq!(bench.endpoint.counters().answers_dropped, u64::from(n));
    }
    assert_eq!(bench.pass(Duration::from_secs(3)).len(), 1);
    assert_eq!(bench.endpoint.load().pending_answers, 0);
}
