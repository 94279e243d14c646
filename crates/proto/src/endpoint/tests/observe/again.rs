//! Members that have to be asked again, and those that must not be asked too often.

use super::*;

/// The member answers a request in person; what it says is acknowledged by its own means.
fn answers(client: &mut Client, n: u8, request: &[u8], says: Says<'_>) -> Vec<(Route, Vec<u8>)> {
    let (kind, mid, token, observe) = read(request);
    assert_eq!((kind, token, observe), (Type::Con, client.token, Some(0)));
    let ack = Says {
        kind: Type::Ack,
        mid,
        token,
        ..says
    };
    client.bench.hear(way(n), &ack.bytes())
}

/// The member says that it has heard, and answers later by a message of its own.
fn answers_later(client: &mut Client, n: u8, request: &[u8], number: u32) {
    let [high, low] = read(request).1.to_be_bytes();
    assert!(client.bench.hear(way(n), &[0x60, 0, high, low]).is_empty());
    let says = Says {
        kind: Type::Con,
        ..client.says(Some(number), b"later")
    };
    let sent = client.bench.hear(way(n), &says.bytes());
    let [(_, ack)] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    assert_eq!(parsed(ack), (Type::Ack, Code::EMPTY, says.mid));
}

fn one(sent: Vec<(Route, Vec<u8>)>, n: u8) -> Vec<u8> {
    let [(route, bytes)] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    assert_eq!(route.destination, server(n));
    bytes.clone()
}

const MOMENT: Duration = Duration::from_micros(1);

#[test]
fn a_silent_member_that_started_anew_is_heard_when_it_answers_in_person() {
    let (mut client, _) = observing(of_group());
    client.notify(11, 500_000, b"x");
    client.events();
    let request = one(client.pass(secs(75)), 11);
    client.events();
    client.bench.now = client.bench.now + secs(1);
    answers_later(&mut client, 11, &request, 300);
    assert_eq!(
        client.heard(),
        [(0, News::Returned, Some(300), b"later".to_vec())]
    );
    assert_eq!(client.state(0), ObservedState::Fresh);
    client.notify(11, 301, b"y");
    client.notify(11, 299, b"old");
    let numbers: Vec<_> = client.heard().iter().map(|(_, _, n, _)| *n).collect();
    assert_eq!(numbers, [Some(301)]);
}

#[test]
fn a_member_whose_answer_in_person_tells_nothing_new_is_asked_again() {
    let (mut client, _) = observing(of_group());
    let says = Says {
        max_age: Some(0),
        ..client.says(Some(500_000), b"x")
    };
    client.bench.hear(way(11), &says.bytes());
    let request = one(client.pass(secs(15)), 11);
    client.events();
    client.bench.now = client.bench.now + secs(1);
    answers_later(&mut client, 11, &request, 500_000);
    assert!(matches!(
        client.events().as_slice(),
        [ObservationEvent::Stale { .. }]
    ));
    assert_eq!(client.state(0), ObservedState::Silent);
    assert!(client.pass(secs(60) - MOMENT).is_empty());
    let again = one(client.pass(MOMENT), 11);
    assert_ne!(read(&again).1, read(&request).1, "a request of its own");
    answers_later(&mut client, 11, &again, 500_001);
    assert_eq!(client.heard().len(), 1);
}

#[test]
fn a_member_whose_notification_is_rejected_is_asked_again_ever_more_rarely() {
    let mut request = of_group();
    request.limits.response_bytes = 20;
    let (mut client, _) = observing(request);
    client.notify(11, 1, b"x");
    client.events();
    let large = |client: &mut Client| client.notify(11, 2, &[b'x'; 18]);
    assert_eq!(parsed(&large(&mut client)[0].1).0, Type::Rst);
    assert!(matches!(client.state(0), ObservedState::Rejected(_)));
    client.pass(secs(30));
    large(&mut client); // changes nothing about when it is asked
    assert!(client.pass(secs(30) - MOMENT).is_empty());
    let request = one(client.pass(MOMENT), 11);
    assert!(matches!(client.state(0), ObservedState::Rejected(_)));
    // It is still too large.
    let says = client.says(Some(3), &[b'x'; 18]);
    answers(&mut client, 11, &request, says);
    assert!(matches!(client.state(0), ObservedState::Rejected(_)));
    assert!(client.pass(secs(120) - MOMENT).is_empty());
    let request = one(client.pass(MOMENT), 11);
    assert!(client.heard().is_empty());
    let says = client.says(Some(4), b"small");
    assert!(answers(&mut client, 11, &request, says).is_empty());
    assert_eq!(
        client.heard(),
        [(0, News::Returned, Some(4), b"small".to_vec())]
    );
    assert_eq!(client.state(0), ObservedState::Fresh);
}

#[test]
fn a_rejected_member_that_is_not_reached_is_asked_again() {
    let mut request = of_group();
    request.limits.response_bytes = 20;
    let (mut client, _) = observing(request);
    client.notify(11, 2, &[b'x'; 18]);
    let first = one(client.pass(secs(60)), 11);
    let more = client.pass(secs(93 + 120));
    let last = more.last().map(|(_, bytes)| read(bytes).1);
    assert!(last.is_some_and(|mid| mid != read(&first).1));
}

#[test]
fn a_member_without_max_age_is_asked_with_patience() {
    let mut request = of_group();
    request.margin = Some(Duration::ZERO);
    let (mut client, _) = observing(request);
    let says = |client: &mut Client, number| Says {
        max_age: Some(0),
        ..client.says(Some(number), b"x")
    };
    let first = says(&mut client, 1).bytes();
    let mut request = one(client.bench.hear(way(11), &first), 11);
    for number in 2..5 {
        client.events();
        let answer = says(&mut client, number);
        assert!(answers(&mut client, 11, &request, answer).is_empty());
        assert_eq!(client.state(0), ObservedState::Silent);
        let silent = |event: &&ObservationEvent| matches!(event, ObservationEvent::Silent { .. });
        assert_eq!(client.events().iter().filter(silent).count(), 1);
        assert!(client.pass(secs(6) - MOMENT).is_empty());
        assert!(client.events().is_empty());
        request = one(client.pass(MOMENT), 11);
        assert!(client.events().is_empty(), "it is silent already");
    }
}

#[test]
fn a_deregistration_that_has_to_wait_is_sent_also_if_all_have_ended_meanwhile() {
    let mut request = of_group();
    request.expect.add(Member::named("a").at(server(11)));
    let (mut client, _) = observing(request);
    client.end();
    assert!(client.last.is_empty(), "nobody has answered yet");
    let gone = Says {
        code: Code::NOT_FOUND,
        ..client.says(None, b"")
    };
    let mut sent = client.bench.hear(way(11), &gone.bytes());
    sent.extend(client.pass(secs(60)));
    let [(route, bytes)] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    assert_eq!((route.destination, read(bytes).3), (GROUP.into(), Some(1)));
    assert_eq!(client.outcome().ended_by, ObservationEnd::Deregistered);
}

#[test]
fn a_deregistration_is_repeated_while_a_member_was_never_heard() {
    for (heard, repeats) in [(&[11, 12][..], 1), (&[11, 12, 13], 0)] {
        let mut request = of_group();
        request.expect = three();
        request.repeat = Repeat::NewMessageId(1);
        request.follow_up = FollowUp::None;
        let (mut client, _) = observing(request);
        for n in heard {
            client.notify(*n, 1, b"x");
        }
        client.pass(secs(30));
        client.end();
        assert_eq!(client.last.len(), 1);
        for n in heard {
            let says = client.says(None, b"bye").bytes();
            client.bench.hear(way(*n), &says);
        }
        assert_eq!(client.pass(secs(30)).len(), repeats, "{heard:?}");
        assert_eq!(client.outcome().ended_by, ObservationEnd::Deregistered);
    }
}
