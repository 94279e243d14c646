//! What strangers, floods and reused tokens can do: nothing that lasts.

use super::*;

#[test]
fn a_notification_under_an_unknown_token_is_reset_if_it_is_confirmable() {
    let (mut client, _) = observing(of_group());
    for (kind, reset) in [(Type::Con, true), (Type::Non, false)] {
        let says = Says {
            kind,
            token: Token::new(&[1, 2, 3, 4, 5, 6, 7, 8]).unwrap(),
            ..client.says(Some(1), b"x")
        };
        let sent = client.bench.hear(way(11), &says.bytes());
        assert_eq!(sent.len(), usize::from(reset));
        if reset {
            assert_eq!(parsed(&sent[0].1), (Type::Rst, Code::EMPTY, says.mid));
        }
    }
    assert!(client.events().is_empty());
}

#[test]
fn a_notification_by_multicast_or_at_another_socket_is_none() {
    let (mut client, _) = observing(of_group());
    let says = client.says(Some(1), b"x").bytes();
    for path in [
        Path {
            local: GROUP.into(),
            ..way(11)
        },
        Path {
            socket: SocketId(5),
            ..way(11)
        },
    ] {
        assert!(client.bench.hear(path, &says).is_empty());
        assert!(client.events().is_empty());
    }
    assert!(client.bench.hear(way(11), &says).is_empty());
    assert_eq!(client.heard().len(), 1);
}

#[test]
fn strangers_have_a_limit_and_take_no_place_of_an_expected_member() {
    let mut request = of_group();
    request.expect = three();
    request.limits.unexpected = 4;
    let (mut client, _) = observing(request);
    for n in 20..24 {
        assert!(client.notify(n, 1, b"x").is_empty());
    }
    let sent = client.notify(24, 1, b"x");
    assert_eq!(parsed(&sent[0].1).0, Type::Rst, "nobody is interested");
    for n in [11, 12, 13] {
        assert!(client.notify(n, 1, b"x").is_empty());
    }
    let members: Vec<_> = client.heard().iter().map(|(m, ..)| *m).collect();
    assert_eq!(members, [3, 4, 5, 6, 0, 1, 2]);
    client.notify(20, 2, b"y");
    assert_eq!(client.heard().len(), 1, "who is known stays");
    client.end();
    client.pass(secs(300));
    assert_eq!(client.outcome().dropped.no_room, 1);
}

#[test]
fn one_address_cannot_take_all_places_by_changing_its_port() {
    let mut request = of_group();
    request.limits.unexpected_per_address = 2;
    let (mut client, _) = observing(request);
    let mut reset = 0;
    for port in 1..=10 {
        let says = client.says(Some(1), b"x").bytes();
        let from = Path {
            peer: ([10, 0, 0, 66], port).into(),
            ..path(false)
        };
        reset += client.bench.hear(from, &says).len();
    }
    assert_eq!((client.heard().len(), reset), (2, 8));
    client.notify(12, 1, b"x");
    assert_eq!(client.heard().len(), 1);
}

#[test]
fn what_is_not_fetched_is_replaced_by_what_is_newer_and_costs_nobody_else() {
    let mut request = of_group();
    request.limits.waiting_per_member = 2;
    let (mut client, _) = observing(request);
    for number in 1..=50 {
        client.notify(11, number, b"flood");
    }
    client.notify(12, 1, b"quiet");
    let heard: Vec<_> = client.heard().iter().map(|(m, _, n, _)| (*m, *n)).collect();
    assert_eq!(heard, [(0, Some(1)), (0, Some(50)), (1, Some(1))]);
    let report = client.bench.endpoint.observed(client.id, ObservedIndex(0));
    assert_eq!(report.unwrap().dropped, 48);
    client.notify(11, 51, b"fetched again");
    client.notify(11, 52, b"and again");
    assert_eq!(client.heard().len(), 2);
}

#[test]
fn what_is_new_about_a_notification_that_gives_way_is_told_with_the_one_that_replaces_it() {
    let mut request = of_group();
    request.limits.waiting_per_member = 1;
    let (mut client, _) = observing(request);
    client.notify(11, 1, b"a");
    client.notify(12, 1, b"x");
    client.notify(11, 2, b"b");
    client.notify(11, 3, b"c");
    let heard = client.heard();
    assert_eq!(
        heard,
        [
            (1, News::First, Some(1), b"x".to_vec()),
            (0, News::First, Some(3), b"c".to_vec()),
        ]
    );
    client.notify(11, 4, b"d");
    assert_eq!(client.heard()[0].1, News::Update, "told once");
    // One that was silent is back, and says more before anybody looks.
    client.pass(secs(60 + 16));
    client.events();
    client.notify(11, 5, b"e");
    client.notify(11, 6, b"f");
    let returned = (0, News::Returned, Some(6), b"f".to_vec());
    assert_eq!(client.heard(), [returned]);
}

#[test]
fn what_is_new_about_one_that_finds_no_room_is_told_with_the_next() {
    let mut config = EndpointConfig::default();
    config.observations.events = 2;
    let (mut client, _) = observing_with(config, of_group());
    for n in [11, 12, 13] {
        client.notify(n, 1, b"x");
    }
    client.notify(13, 2, b"y");
    assert_eq!(client.heard().len(), 2);
    client.notify(13, 3, b"z");
    client.notify(13, 4, b"z");
    let heard: Vec<_> = client.heard().iter().map(|(m, n, ..)| (*m, *n)).collect();
    assert_eq!(heard, [(2, News::First), (2, News::Update)]);
}

#[test]
fn the_end_of_a_member_takes_room_from_values_and_from_no_other_end() {
    let mut config = EndpointConfig::default();
    config.observations.events = 4;
    let (mut client, _) = observing_with(config, of_group());
    client.notify(11, 1, b"one");
    client.notify(12, 1, b"x");
    client.notify(12, 2, b"y");
    client.notify(12, 3, b"z");
    let last_word = |client: &mut Client, n| {
        let says = client.says(None, b"over").bytes();
        client.bench.hear(way(n), &says);
    };
    let shown = |client: &mut Client| -> Vec<_> {
        let short = |event| match event {
            ObservationEvent::Notification(n) => (n.member.0, n.number, Some(n.news)),
            ObservationEvent::MemberEnded { member, .. } => (member.0, None, None),
            other => panic!("{other:?}"),
        };
        client.events().into_iter().map(short).collect()
    };
    // Its last word replaces what it said before; the oldest of the one that has most makes room for its end.
    last_word(&mut client, 11);
    let update = (1, Some(3), Some(News::Update));
    assert_eq!(
        shown(&mut client),
        [
            (1, Some(2), Some(News::First)),
            update,
            (0, None, Some(News::First)),
            (0, None, None)
        ]
    );
    // With one of each, the oldest gives way, and ends stay.
    for n in [21, 22, 23, 24] {
        client.notify(n, 1, b"v");
    }
    for n in [21, 22, 23, 24] {
        last_word(&mut client, n);
    }
    let ends: Vec<_> = (2..6).map(|member| (member, None, None)).collect();
    assert_eq!(shown(&mut client), ends);
    let reports: Vec<_> = (2..6)
        .map(|n| client.bench.endpoint.observed(client.id, ObservedIndex(n)))
        .map(|report| report.unwrap().dropped)
        .collect();
    assert_eq!(reports, [2; 4]);
    client.notify(21, 2, b"again");
    let back = (2, Some(2), Some(News::First));
    assert_eq!(shown(&mut client), [back], "nobody has heard of it yet");
}

#[test]
fn an_older_end_of_a_member_gives_way_to_its_newer_one_and_nothing_else() {
    let mut config = EndpointConfig::default();
    config.observations.events = 2;
    let (mut client, _) = observing_with(config, of_group());
    for (n, code) in [
        (11, Code::NOT_FOUND),
        (12, Code::NOT_FOUND),
        (11, Code::FORBIDDEN),
    ] {
        client.notify(n, 1, b"v");
        let says = Says {
            code,
            ..client.says(None, b"")
        };
        client.bench.hear(way(n), &says.bytes());
    }
    let says = client.says(None, b"over").bytes();
    client.bench.hear(way(13), &says);
    let ended = |member, code| ObservationEvent::MemberEnded {
        observation: client.id,
        member: ObservedIndex(member),
        why: MemberEnd::Error(code),
    };
    let expected = [ended(1, Code::NOT_FOUND), ended(0, Code::FORBIDDEN)];
    assert_eq!(client.events(), expected);
}

#[test]
fn the_bytes_that_wait_have_a_limit() {
    let mut config = EndpointConfig::default();
    config.observations.event_bytes = 2_000;
    let (mut client, _) = observing_with(config, of_group());
    for n in 1..=100 {
        client.notify(n, 1, &[b'x'; 100]);
    }
    let first = client.heard().len();
    assert!((1..8).contains(&first), "{first}");
    client.notify(1, 2, b"room again");
    assert_eq!(client.heard().len(), 1);
}

#[test]
fn too_large_and_critical_ones_are_reset_and_not_delivered() {
    let mut request = of_group();
    request.expect = three();
    request.limits.response_bytes = 20;
    let (mut client, _) = observing(request);
    let says = client.says(Some(1), &[b'x'; 17]).bytes(); // with option and marker 20 bytes
    assert!(client.bench.hear(way(11), &says).is_empty());
    let says = client.says(Some(2), &[b'x'; 18]).bytes();
    assert_eq!(parsed(&client.bench.hear(way(11), &says)[0].1).0, Type::Rst);
    let mut bytes = [0; 64];
    let mut writer = Writer::new(
        &mut bytes,
        Type::Con,
        Code::CONTENT,
        MessageId(900),
        client.token,
    )
    .unwrap();
    writer.uint_option(OptionNumber::OBSERVE, 1).unwrap();
    writer.option(OptionNumber(65_001), &[]).unwrap();
    let len = writer.finish();
    let sent = client.bench.hear(way(12), &bytes[..len]);
    assert_eq!(parsed(&sent[0].1), (Type::Rst, Code::EMPTY, 900));
    assert_eq!(client.heard().len(), 1);
    assert!(matches!(client.state(1), ObservedState::Rejected(_)));
    assert!(matches!(client.state(0), ObservedState::Rejected(_)));
}

#[test]
fn observations_have_a_limit_until_their_outcomes_are_fetched() {
    let mut config = EndpointConfig::default();
    config.observations.observations = 2;
    let mut bench = bench(config);
    let now = bench.now;
    let first = bench.endpoint.observe(now, of_one(11)).unwrap();
    bench.endpoint.observe(now, of_one(12)).unwrap();
    assert_eq!(
        bench.endpoint.observe(now, of_one(13)),
        Err(ObserveError::TooMany)
    );
    bench.endpoint.end_observation(now, first);
    bench.sent();
    for _ in 0..100 {
        bench.pass(secs(1)); // nothing comes back
    }
    assert_eq!(
        bench.endpoint.observe(bench.now, of_one(13)),
        Err(ObserveError::TooMany),
        "the outcome is still there"
    );
    while bench.endpoint.poll_event().is_some() {}
    assert!(bench.endpoint.observe(bench.now, of_one(13)).is_ok());
}

#[test]
fn a_token_stays_taken_as_long_as_a_member_may_notify_under_it() {
    let mut config = EndpointConfig::default();
    config.collections.set_token_len(4).unwrap();
    let (mut client, _) = observing_with(config, of_group());
    client.notify(11, 1, b"x");
    client.pass(secs(10));
    client.end();
    client.pass(secs(300));
    client.events();
    assert_eq!(client.bench.endpoint.load().observations, 1, "remembered");
    client.pass(secs(110));
    assert_eq!(client.bench.endpoint.load().observations, 0);
    // Member 11 never answered. Within a day it asks whether anybody listens, and hears that nobody does.
    let says = Says {
        kind: Type::Con,
        ..client.says(Some(2), b"x")
    };
    let sent = client.bench.hear(way(11), &says.bytes());
    assert_eq!(parsed(&sent[0].1).0, Type::Rst);
    assert!(client.events().is_empty());
}

#[test]
fn a_notification_lifts_a_pause_once_and_only_if_it_is_delivered() {
    use crate::exchange::{Reliability, UnicastRequest, Waiting};

    let mut request = of_group();
    request.limits.response_bytes = 40;
    let (mut client, _) = observing(request);
    let ask = |client: &mut Client| {
        let unicast = UnicastRequest {
            request: Request::new(Code::GET).path("x"),
            route: Route {
                socket: UNICAST,
                source: None,
                interface: 0,
                destination: server(11),
            },
            reliability: Reliability::NonConfirmable,
            response_timeout: Some(secs(1)),
            protection: Protection::None,
        };
        let now = client.bench.now;
        client.bench.endpoint.request(now, unicast).unwrap()
    };
    let waits = |client: &Client, id| {
        let waiting = client.bench.endpoint.waiting(client.bench.now, id);
        matches!(waiting, Some(Waiting::ProbingRate(_)))
    };
    ask(&mut client);
    assert_eq!(client.bench.sent().len(), 1);
    client.bench.pass(secs(1));
    let held = ask(&mut client);
    assert!(waits(&client, held));
    client.notify(11, 1, &[b'x'; 60]);
    assert!(waits(&client, held), "too large");
    let sent = client.notify(11, 2, b"x");
    assert_eq!((sent.len(), waits(&client, held)), (1, false));
    client.bench.pass(secs(1));
    let held = ask(&mut client);
    client.notify(11, 3, b"y");
    assert!(waits(&client, held), "it has not responded");
}
