//! Members that fall silent, end, or are to forget the observation.

use super::*;

fn silent(client: &Client, member: u32) -> ObservationEvent {
    ObservationEvent::Silent {
        observation: client.id,
        member: ObservedIndex(member),
    }
}

fn ended(client: &Client, member: u32, why: MemberEnd) -> ObservationEvent {
    ObservationEvent::MemberEnded {
        observation: client.id,
        member: ObservedIndex(member),
        why,
    }
}

#[test]
fn a_member_is_silent_when_its_max_age_and_the_margin_are_over() {
    for (max_age, fresh) in [(None, 60), (Some(5), 5), (Some(0), 0)] {
        let mut request = of_group();
        request.follow_up = FollowUp::None;
        let (mut client, _) = observing(request);
        let says = Says {
            max_age,
            ..client.says(Some(1), b"x")
        };
        client.bench.hear(way(11), &says.bytes());
        client.events();
        client.pass(secs(fresh + 15) - Duration::from_micros(1));
        assert!(client.events().is_empty());
        assert_eq!(client.state(0), ObservedState::Fresh);
        client.pass(Duration::from_micros(1));
        assert_eq!(client.events(), [silent(&client, 0)]);
        assert_eq!(client.state(0), ObservedState::Silent);
        client.notify(11, 2, b"y");
        assert_eq!(client.heard()[0].1, News::Returned);
        assert_eq!(client.state(0), ObservedState::Fresh);
    }
}

#[test]
fn without_a_margin_of_its_own_a_member_has_the_leisure_and_five_to_fifteen_seconds() {
    let mut request = of_group();
    request.margin = None;
    request.follow_up = FollowUp::None;
    let (mut client, _) = observing(request);
    for n in 1..=40 {
        client.notify(n, 1, b"x");
    }
    client.events();
    client.pass(secs(60 + 5 + 5) - Duration::from_micros(1));
    assert!(client.events().is_empty());
    client.pass(secs(5));
    let early = client.events().len();
    assert!((5..36).contains(&early), "{early} of 40 in the first half");
    client.pass(secs(5) + Duration::from_micros(1));
    assert_eq!(early + client.events().len(), 40);
}

#[test]
fn a_silent_member_is_asked_in_person_and_ever_more_rarely_if_it_does_not_answer() {
    let mut request = of_group();
    request.every = None;
    let (mut client, _) = observing(request);
    client.notify(11, 1, b"x");
    client.events();
    let asked = client.pass(secs(75));
    assert_eq!(asked.len(), 1);
    let (kind, mid, token, observe) = read(&asked[0].1);
    assert_eq!((kind, token, observe), (Type::Con, client.token, Some(0)));
    assert_eq!(asked[0].0.destination, server(11));
    // Nothing comes back: first the retransmissions of this message, then a new one after 1 minute, 2 minutes ...
    let mut mids = std::vec![mid];
    let mut at = std::vec![client.bench.now];
    for _ in 0..3_600 {
        let sent = client.pass(secs(1));
        for (_, bytes) in sent {
            let (_, mid, token, _) = read(&bytes);
            assert_eq!(token, client.token);
            if mids.last() != Some(&mid) {
                mids.push(mid);
                at.push(client.bench.now);
            }
        }
    }
    let waits: Vec<_> = at
        .windows(2)
        .map(|two| two[1].since(two[0]).as_secs())
        .collect();
    assert!(waits.len() >= 4, "{waits:?}");
    for (n, wait) in waits.iter().enumerate() {
        let pause = 60 << n;
        // MAX_TRANSMIT_WAIT is between 62 s and 93 s.
        assert!(
            (pause + 60..=pause + 95).contains(wait),
            "wait {n}: {wait} s"
        );
    }
    let failures = client.events();
    let failed = |event: &&ObservationEvent| {
        matches!(
            event,
            ObservationEvent::Unreached {
                failure: Failure::TimedOut,
                ..
            }
        )
    };
    assert!(failures.iter().filter(failed).count() >= 4);
    let report = client.bench.endpoint.observed(client.id, ObservedIndex(0));
    let report = report.unwrap();
    assert_eq!(
        (report.silences, report.failure),
        (1, Some(Failure::TimedOut))
    );
}

#[test]
fn an_answer_without_observe_is_delivered_and_the_last_of_its_member() {
    let (mut client, _) = observing(of_group());
    let says = client.says(None, b"just this").bytes();
    client.bench.hear(way(11), &says);
    let events = client.events();
    let ObservationEvent::Notification(first) = &events[0] else {
        panic!("{events:?}")
    };
    assert_eq!((first.number, first.count), (None, 1));
    assert_eq!(events[1], ended(&client, 0, MemberEnd::NotObserved));
    assert_eq!(
        client.state(0),
        ObservedState::Ended(MemberEnd::NotObserved)
    );
    assert!(client.pass(secs(200)).is_empty(), "it is not missed");
    assert!(client.events().is_empty());
}

#[test]
fn an_error_is_the_last_word_of_a_member_until_it_registers_anew() {
    let (mut client, _) = observing(of_group());
    client.notify(11, 1, b"x");
    client.notify(12, 1, b"x");
    client.events();
    let gone = Says {
        code: Code::NOT_FOUND,
        ..client.says(None, b"gone")
    };
    client.bench.hear(way(11), &gone.bytes());
    let events = client.events();
    let ObservationEvent::Notification(last) = &events[0] else {
        panic!("{events:?}")
    };
    assert_eq!(last.response.code, Code::NOT_FOUND);
    assert_eq!(
        events[1],
        ended(&client, 0, MemberEnd::Error(Code::NOT_FOUND))
    );
    // An Observe option does not make an error a notification.
    let odd = Says {
        code: Code::INTERNAL_SERVER_ERROR,
        ..client.says(Some(9), b"")
    };
    client.bench.hear(way(12), &odd.bytes());
    assert_eq!(
        client.state(1),
        ObservedState::Ended(MemberEnd::Error(Code::INTERNAL_SERVER_ERROR))
    );
    client.events();
    client.notify(11, 0, b"back");
    assert_eq!(
        client.heard(),
        [(0, News::Returned, Some(0), b"back".to_vec())]
    );
}

#[test]
fn the_observation_of_one_server_ends_with_its_last_word() {
    let (mut client, sent) = observing(of_one(11));
    let (_, mid, token, _) = read(&sent[0].1);
    let ack = Says {
        kind: Type::Ack,
        code: Code::NOT_FOUND,
        mid,
        token,
        observe: None,
        max_age: None,
        payload: b"",
    };
    client.bench.hear(way(11), &ack.bytes());
    let outcome = client.outcome();
    let why = MemberEnd::Error(Code::NOT_FOUND);
    assert_eq!(outcome.ended_by, ObservationEnd::ByServer(why));
    assert_eq!(outcome.members[0].state, ObservedState::Ended(why));
    assert_eq!(outcome.notifications, 1);
    assert!(client.pass(secs(3_600)).is_empty());
}

// Covers: GC-3.6-16
#[test]
fn a_group_is_deregistered_by_one_request_with_the_same_token_and_options() {
    let mut request = of_group();
    request.expect = three();
    request.request = Request::new(Code::GET)
        .path("temperature")
        .query("unit=k")
        .option(OptionNumber::ACCEPT, &[]);
    let (mut client, sent) = observing(request);
    for n in [11, 12, 13] {
        client.notify(n, 1, b"x");
    }
    client.bench.now = client.bench.now + secs(10);
    client.pass(Duration::ZERO);
    client.events();
    client.end();
    let last = core::mem::take(&mut client.last);
    let [(route, bytes)] = last.as_slice() else {
        panic!("{last:?}")
    };
    assert_eq!(route.destination, GROUP.into());
    let (first, last) = (
        Message::parse(&sent[0].1).unwrap(),
        Message::parse(bytes).unwrap(),
    );
    assert_eq!(last.uint(OptionNumber::OBSERVE), Some(1));
    assert_eq!((last.token(), last.kind()), (first.token(), Type::Non));
    assert_ne!(last.message_id(), first.message_id());
    let others = |message: &Message<'_>| -> Vec<_> {
        let options = message.options().map(|o| (o.number, o.value.to_vec()));
        options
            .filter(|(n, _)| *n != OptionNumber::OBSERVE)
            .collect()
    };
    assert_eq!(others(&last), others(&first));
    // All of them say that they have forgotten it: it is over at once.
    for n in [11, 12, 13] {
        assert!(client.events().is_empty());
        let says = client.says(None, b"bye").bytes();
        client.bench.hear(way(n), &says);
    }
    client.pass(Duration::ZERO);
    let outcome = client.outcome();
    assert_eq!(outcome.ended_by, ObservationEnd::Deregistered);
    assert_eq!(outcome.took, secs(10));
    assert_eq!((outcome.registrations, outcome.transmissions), (1, 2));
    assert_eq!(outcome.notifications, 3, "the last answers are none");
    for (report, name) in outcome.members.iter().zip(["a", "b", "c"]) {
        assert_eq!(report.name.as_deref(), Some(name));
        assert_eq!(report.state, ObservedState::Ended(MemberEnd::Deregistered));
    }
    assert!(client.pass(secs(3_600)).is_empty());
}

#[test]
fn members_that_do_not_confirm_the_end_are_told_in_person() {
    let (mut client, _) = observing(of_group());
    for n in [11, 12] {
        client.notify(n, 1, b"x");
    }
    client.pass(secs(10));
    client.end();
    assert_eq!(client.last.len(), 1);
    let says = client.says(None, b"bye").bytes();
    client.bench.hear(way(11), &says);
    // One that was on its way is no reason for more.
    assert!(client.notify(12, 2, b"y").is_empty());
    assert!(client.pass(secs(6) - Duration::from_micros(1)).is_empty());
    let told = client.pass(Duration::from_micros(1));
    let [(route, bytes)] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(route.destination, server(12));
    let (kind, _, token, observe) = read(bytes);
    assert_eq!((kind, token, observe), (Type::Con, client.token, Some(1)));
    client.acknowledged(12, bytes, None);
    assert_eq!(client.outcome().ended_by, ObservationEnd::Deregistered);
}

// Covers: GC-3.6-17
#[test]
fn a_member_that_notifies_after_the_end_is_told_again_and_finally_reset() {
    let mut request = of_group();
    request.follow_up = FollowUp::None;
    let (mut client, _) = observing(request);
    client.notify(11, 1, b"x");
    client.pass(secs(10));
    client.end();
    client.pass(secs(6));
    assert_eq!(client.outcome().ended_by, ObservationEnd::Deregistered);
    for number in 2..5 {
        let sent = client.notify(11, number, b"still here");
        let [(route, bytes)] = sent.as_slice() else {
            panic!("{sent:?}")
        };
        assert_eq!(route.destination, server(11));
        let (kind, _, token, observe) = read(bytes);
        assert_eq!((kind, token, observe), (Type::Con, client.token, Some(1)));
        // While it is being told it is not told again.
        let says = Says {
            kind: Type::Con,
            ..client.says(Some(number), b"again")
        };
        let sent = client.bench.hear(way(11), &says.bytes());
        assert_eq!(sent.len(), 1);
        assert_eq!(parsed(&sent[0].1), (Type::Ack, Code::EMPTY, says.mid));
        client.acknowledged(11, bytes, Some(number)); // it did not understand
    }
    let sent = client.notify(11, 9, b"deaf");
    assert_eq!(parsed(&sent[0].1).0, Type::Rst);
    assert!(client.events().is_empty(), "nothing of it is delivered");
}

#[test]
fn an_unknown_member_that_notifies_after_the_end_is_reset() {
    let (mut client, _) = observing(of_group());
    client.pass(secs(10));
    client.end();
    client.pass(secs(60));
    client.events();
    let sent = client.notify(17, 1, b"hello");
    assert_eq!(parsed(&sent[0].1).0, Type::Rst);
}

#[test]
fn one_member_of_a_group_is_deregistered_and_the_others_go_on() {
    let (mut client, _) = observing(of_group());
    for n in [11, 12] {
        client.notify(n, 1, b"x");
    }
    client.pass(secs(10));
    client.events();
    let now = client.bench.now;
    let endpoint = &mut client.bench.endpoint;
    endpoint.end_observation_of(now, client.id, ObservedIndex(1));
    let sent = client.pass(Duration::ZERO);
    let [(route, bytes)] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    assert_eq!(route.destination, server(12));
    let (kind, _, token, observe) = read(bytes);
    assert_eq!((kind, token, observe), (Type::Con, client.token, Some(1)));
    assert_eq!(
        client.events(),
        [ended(&client, 1, MemberEnd::Deregistered)]
    );
    client.acknowledged(12, bytes, None);
    assert!(client.events().is_empty());
    client.notify(11, 2, b"y");
    assert_eq!(client.heard().len(), 1);
    // If it did not hear, it is told again.
    let sent = client.notify(12, 2, b"y");
    assert_eq!(sent[0].0.destination, server(12));
    assert_eq!(read(&sent[0].1).3, Some(1));
    assert!(client.heard().is_empty());
}

#[test]
fn one_server_is_deregistered_by_unicast() {
    let (mut client, sent) = observing(of_one(11));
    client.acknowledged(11, &sent[0].1, Some(1));
    client.events();
    let now = client.bench.now;
    let endpoint = &mut client.bench.endpoint;
    endpoint.end_observation_of(now, client.id, ObservedIndex(0));
    let sent = client.pass(Duration::ZERO);
    let (kind, _, token, observe) = read(&sent[0].1);
    assert_eq!((kind, token, observe), (Type::Con, client.token, Some(1)));
    assert!(client.events().is_empty());
    client.acknowledged(11, &sent[0].1, None);
    assert_eq!(client.outcome().ended_by, ObservationEnd::Deregistered);
}

#[test]
fn an_end_before_the_first_registration_left_sends_nothing() {
    let mut bench = bench(EndpointConfig::default());
    let now = bench.now;
    let id = bench.endpoint.observe(now, of_group()).unwrap();
    bench.endpoint.end_observation(now, id);
    assert!(bench.sent().is_empty());
    let Some(Event::Observation(ObservationEvent::Ended(outcome))) = bench.endpoint.poll_event()
    else {
        panic!()
    };
    assert_eq!(outcome.ended_by, ObservationEnd::NeverSent);
    assert_eq!(bench.endpoint.load().observations, 0);
}

#[test]
fn an_end_while_a_registration_is_under_way_breaks_it_off() {
    let mut request = of_group();
    request.repeat = Repeat::NewMessageId(3);
    request.expect = three();
    let (mut client, _) = observing(request);
    client.notify(11, 1, b"x");
    client.end();
    let mut sent = core::mem::take(&mut client.last);
    sent.extend(client.pass(secs(200)));
    assert!(sent.iter().all(|(_, bytes)| read(bytes).3 == Some(1)));
    let by_multicast = sent.iter().filter(|(route, _)| route.is_multicast());
    assert_eq!(by_multicast.count(), 4, "as often as it was registered");
}
