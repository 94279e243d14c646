//! How a collection runs: rounds, ends, late answers, errors.

use super::*;

// Covers: GC-3.1-02
#[test]
fn a_request_leaves_at_once_and_as_non_confirmable() {
    let mut client = Client::new();
    let id = client.start(accepted(Request::new(Code::GET).path("gp/gp1/temperature")));
    assert_eq!(client.sent.len(), 1);
    let sent = &client.sent[0];
    assert_eq!(sent.at, Instant::ZERO);
    assert_eq!(
        sent.route,
        Route {
            socket: SOCKET,
            source: None,
            interface: 2,
            destination: group(1),
        }
    );
    let message = sent.message();
    assert_eq!(message.kind(), Type::Non);
    assert_eq!(message.code(), Code::GET);
    assert_eq!(message.token(), client.token(id));
    assert_eq!(message.token().len(), 8);
    // Appendix D of groupcomm-bis: the options of its first example.
    let options = b"\xb2gp\x03gp1\x0btemperature";
    assert_eq!(message.options_and_payload(), options);
}

#[test]
fn the_deadline_counts_from_the_only_transmission() {
    let mut client = Client::new();
    client.now = at(secs(3));
    assert!(client.collections.is_empty());
    let id = client.start(get_from(2));
    assert!(!client.collections.is_empty());
    assert_eq!(client.status(id).deadline, Some(at(secs(13))));
    client.run_until(secs(13) - MICRO);
    assert!(!client.is_ended(id));
    assert_eq!(client.status(id).stage, Stage::Collecting);
    client.run_until(secs(13));
    let (when, outcome) = client.outcome(id);
    assert_eq!(when, at(secs(13)));
    assert_eq!(outcome.ended_by, EndedBy::Deadline);
    assert_eq!(outcome.took, secs(10));
    assert_eq!(names(outcome.missing()), ["m1", "m2"]);
    assert_eq!(outcome.missing().next().unwrap().1, MissingReason::Silent);
    assert_eq!(outcome.transmissions, 1);
    assert_eq!(outcome.bytes, client.sent[0].bytes.len() as u64);
    assert!(!outcome.is_complete());
    assert_eq!(client.collections.status(client.now, id), None);
    assert!(client.collections.is_empty());
}

// Covers: GC-3.1-16, GN-3.1.3-01
#[test]
fn repeats_have_new_message_ids_the_same_token_and_extend_the_deadline() {
    let mut client = Client::fast();
    let id = client.start(GroupRequest {
        repeat: Repeat::times(2),
        leisure: secs(5),
        rtt: millis(250),
        ..get_from(2)
    });
    client.run_until(millis(5_250) - MICRO);
    assert_eq!(client.sent.len(), 1);
    assert_eq!(client.status(id).stage, Stage::Asking);
    assert_eq!(client.status(id).deadline, None);
    client.run_until(secs(60));
    assert_eq!(
        client.sent_times(),
        [secs(0), millis(5_250), millis(10_500)]
    );
    let messages: Vec<_> = client.sent.iter().map(Sent::message).collect();
    let [first, second, third] = messages[..] else {
        panic!()
    };
    assert_eq!(first.token(), second.token());
    assert_eq!(first.token(), third.token());
    assert_ne!(first.message_id(), second.message_id());
    assert_ne!(second.message_id(), third.message_id());
    assert_ne!(first.message_id(), third.message_id());
    assert_eq!(first.options_and_payload(), third.options_and_payload());
    let (when, outcome) = client.outcome(id);
    assert_eq!(when, at(millis(20_500)));
    assert_eq!(outcome.transmissions, 3);
}

// Covers: GC-3.1-14, GN-3.1.3-02
#[test]
fn the_same_message_is_sent_again_only_on_request_and_byte_for_byte() {
    let mut client = Client::fast();
    client.start(GroupRequest {
        repeat: Repeat::SameMessage(3),
        ..get()
    });
    client.run_until(secs(60));
    assert_eq!(client.sent_times(), [secs(0), secs(6), secs(12), secs(18)]);
    for sent in &client.sent[1..] {
        assert_eq!(sent.bytes, client.sent[0].bytes);
    }
    assert_eq!(Repeat::times(4), Repeat::NewMessageId(4));
    assert_eq!(Repeat::default(), Repeat::None);
}

#[test]
fn repeats_stop_when_all_expected_members_have_answered() {
    let mut client = Client::fast();
    let id = client.start(GroupRequest {
        repeat: Repeat::times(3),
        end: End {
            deadline: secs(10),
            count: None,
            when_all_expected: false,
        },
        ..get_from(2)
    });
    client.answer(id, host(1), "a");
    client.run_until(secs(6));
    assert_eq!(client.sent.len(), 2, "m2 has not answered yet");
    client.answer(id, host(2), "b");
    assert_eq!(client.status(id).deadline, Some(at(secs(16))));
    client.run_until(secs(60));
    assert_eq!(client.sent.len(), 2);
    let (when, outcome) = client.outcome(id);
    assert_eq!((when, outcome.ended_by), (at(secs(16)), EndedBy::Deadline));
    assert!(outcome.is_complete());
}

#[test]
fn a_collection_ends_when_the_last_expected_member_answers() {
    let mut client = Client::new();
    let id = client.start(get_from(3));
    for n in [2, 3, 2, 9] {
        client.answer(id, host(n), "x");
    }
    client.now = at(secs(2));
    assert!(!client.is_ended(id));
    assert_eq!(client.status(id).expected, 3);
    assert_eq!(client.status(id).expected_answered, 2);
    assert_eq!(client.status(id).servers, 3);
    assert_eq!(client.status(id).answers, 4);
    client.answer(id, host(1), "x");
    let (when, outcome) = client.outcome(id);
    assert_eq!(
        (when, outcome.ended_by),
        (at(secs(2)), EndedBy::AllExpected)
    );
    assert_eq!(
        outcome.answered().collect::<Vec<_>>(),
        [("m1", 1), ("m2", 2), ("m3", 1)]
    );
    assert_eq!(outcome.servers(), 4);
    assert_eq!(outcome.answers, 5);
    assert_eq!(outcome.unexpected.len(), 1);
    assert_eq!(outcome.unexpected[0].address, host(9));
    assert_eq!(client.collections.next_timeout(), None);
}

#[test]
fn a_collection_ends_by_the_count_of_distinct_servers() {
    let mut client = Client::new();
    let id = client.start(GroupRequest {
        end: End {
            count: Some(3),
            ..End::after(secs(10))
        },
        ..get_from(1)
    });
    client.answer(id, host(8), "x");
    client.answer(id, host(8), "x again");
    client.answer(id, host(7), "x");
    assert!(!client.is_ended(id));
    client.answer(id, host(6), "x");
    let (_, outcome) = client.outcome(id);
    assert_eq!(outcome.ended_by, EndedBy::Count);
    assert_eq!(names(outcome.missing()), ["m1"]);
    // A count of none would be over before it began.
    let id = client.start(GroupRequest {
        end: End {
            count: Some(0),
            ..End::after(secs(10))
        },
        ..get()
    });
    assert!(!client.is_ended(id));
    client.answer(id, host(1), "x");
    assert!(client.is_ended(id));
}

#[test]
fn closing_ends_at_once_and_sends_nothing_more() {
    let mut client = Client::fast();
    let id = client.start(GroupRequest {
        repeat: Repeat::times(5),
        late: Some(secs(100)),
        ..get_from(2)
    });
    client.answer(id, host(1), "x");
    client.run_until(secs(1));
    client.collections.close(client.now, id);
    client.drain();
    let (_, outcome) = client.outcome(id);
    assert_eq!(outcome.ended_by, EndedBy::Closed);
    assert_eq!(names(outcome.answered()), ["m1"]);
    assert_eq!(names(outcome.missing()), ["m2"]);
    client.run_until(secs(200));
    assert_eq!(client.sent.len(), 1);
    client.collections.close(client.now, id);
    client.drain();
    client.outcome(id);
}

#[test]
fn a_notification_says_no_response_26_and_is_done_when_sent() {
    let mut client = Client::new();
    let request = GroupRequest::notify(
        put().option(OptionNumber::NO_RESPONSE, &[2]),
        target(1),
        Security::Unsecured(NoSec::Accepted),
    );
    let id = client.start(request);
    let message = client.sent[0].message();
    let all: Vec<_> = message.options_of(OptionNumber::NO_RESPONSE).collect();
    assert_eq!(all, [[26]]);
    assert!(!client.is_ended(id), "an error of this very call counts");
    client.run_until(MICRO);
    let (when, outcome) = client.outcome(id);
    assert_eq!(when, at(MICRO));
    assert_eq!(outcome.ended_by, EndedBy::Sent);
    assert_eq!(outcome.transmissions, 1);
}

#[test]
fn a_notification_collects_nothing_between_its_repeats() {
    let mut client = Client::fast();
    let id = client.start(GroupRequest {
        silent: true,
        repeat: Repeat::times(1),
        ..accepted(put())
    });
    let token = client.token(id);
    let path = client.path(host(1));
    let non = response(token, Type::Non, Code::CHANGED, &[], "");
    let con = response(token, Type::Con, Code::CHANGED, &[], "");
    let told = client.respond(&path, &non).unwrap();
    assert_eq!(
        (told.verdict, told.reply),
        (Verdict::Dropped, Reply::Nothing)
    );
    let told = client.respond(&path, &con).unwrap();
    assert_eq!((told.verdict, told.reply), (Verdict::Dropped, Reply::Reset));
    client.run_until(secs(60));
    assert_eq!(client.sent_times(), [secs(0), secs(6)]);
    let (when, outcome) = client.outcome(id);
    assert_eq!(when, at(secs(6) + MICRO));
    assert_eq!(outcome.answers, 0);
    assert!(client.answers().is_empty());
}

#[test]
fn a_request_that_confirms_is_an_ordinary_collection() {
    let mut client = Client::new();
    let id = client.start(accepted(put()));
    assert_eq!(
        client.sent[0].message().option(OptionNumber::NO_RESPONSE),
        None
    );
    client.answer(id, host(1), "");
    assert_eq!(client.answers().len(), 1);
}

#[test]
fn late_answers_are_delivered_on_request_and_named() {
    let mut client = Client::new();
    let id = client.start(GroupRequest {
        late: Some(secs(20)),
        keep_answers: true,
        ..get_from(3)
    });
    client.answer(id, host(1), "in time");
    client.answer(id, host(7), "from a stranger");
    client.run_until(secs(10));
    let (_, outcome) = client.outcome(id);
    assert_eq!(outcome.ended_by, EndedBy::Deadline);
    assert_eq!(names(outcome.missing()), ["m2", "m3"]);
    assert_eq!(outcome.late().count(), 0);
    assert_eq!(outcome.unexpected[0].address, host(7));
    assert_eq!((outcome.answers, outcome.transmissions), (2, 1));
    assert_eq!(outcome.servers(), 2);
    assert_eq!(outcome.kept_answers(AnswerPolicy::All).len(), 2);
    assert_eq!(client.status(id).stage, Stage::Late);
    client.run_until(secs(30) - MICRO);
    let told = client.answer(id, host(2), "late").unwrap();
    assert_eq!(told.verdict, Verdict::Late);
    client.answer(id, host(1), "again");
    let last = client.answers()[3];
    assert_eq!((last.how, last.sequence), (How::Late, 2));
    assert_eq!(client.answers()[2].how, How::Late);
    assert_eq!(client.answers()[2].after, secs(30) - MICRO);
    let token = client.token(id);
    client.run_until(secs(30));
    let Some((when, CollectionEvent::LateEnded(outcome))) = client.events.last() else {
        panic!("no outcome of the late time")
    };
    assert_eq!(*when, at(secs(30)));
    assert_eq!(outcome.ended_by, EndedBy::Deadline);
    assert_eq!(outcome.took, secs(10));
    assert_eq!(outcome.late().collect::<Vec<_>>(), ["m2"]);
    assert_eq!(names(outcome.missing()), ["m3"]);
    assert_eq!(outcome.answered().collect::<Vec<_>>(), [("m1", 2)]);
    assert!(!outcome.is_complete());
    let path = client.path(host(3));
    let bytes = response(token, Type::Non, Code::CONTENT, &[], "too late");
    assert_eq!(client.respond(&path, &bytes), None);
    assert_eq!(client.answers().len(), 4);
}

#[test]
fn closing_ends_the_time_for_late_answers() {
    let mut client = Client::new();
    let id = client.start(GroupRequest {
        late: Some(secs(20)),
        ..get_from(1)
    });
    client.run_until(secs(12));
    client.collections.close(client.now, id);
    client.drain();
    assert!(matches!(
        client.events.last(),
        Some((_, CollectionEvent::LateEnded(_)))
    ));
    assert!(client.collections.is_empty());
    assert_eq!(client.collections.next_timeout(), None);
}

// Covers: GC-3.1-37
#[test]
fn a_response_after_the_end_belongs_to_nobody() {
    let mut client = Client::new();
    let id = client.start(get());
    let token = client.token(id);
    client.run_until(secs(10));
    let path = client.path(host(1));
    let bytes = response(token, Type::Non, Code::CONTENT, &[], "x");
    assert_eq!(client.respond(&path, &bytes), None);
    assert!(client.answers().is_empty());
}

// Covers: GN-3.1.4-01
#[test]
fn silence_of_everyone_is_no_error() {
    let mut client = Client::new();
    let id = client.start(get());
    client.run_until(secs(10));
    let (_, outcome) = client.outcome(id);
    assert_eq!(outcome.ended_by, EndedBy::Deadline);
    assert_eq!(outcome.servers(), 0);
    assert!(outcome.is_complete(), "nobody was expected");
}

#[test]
fn a_question_on_several_interfaces_is_one_collection_with_one_message() {
    let mut client = Client::fast();
    let second = GroupTarget {
        group: "[ff02::fd]:5683".parse().unwrap(),
        socket: SocketId(2),
        interface: 3,
    };
    let mut expect = Expectation::nobody();
    expect.add(Member::named("both").at(host(1).ip()).at(ip("fe80::1")));
    expect.add(Member::named("one").at(host(2).ip()));
    let id = client.start(GroupRequest {
        targets: vec![target(1), second],
        repeat: Repeat::times(1),
        expect,
        ..get()
    });
    assert_eq!(client.sent.len(), 2);
    assert_eq!(client.sent[0].bytes, client.sent[1].bytes);
    assert_eq!(client.sent[0].route.destination, group(1));
    assert_eq!(client.sent[1].route.destination, second.group);
    assert_eq!(client.sent[1].route.socket, SocketId(2));
    assert_eq!(client.sent[1].route.interface, 3);
    client.answer(id, host(1), "by IPv4");
    let path = Path {
        socket: SocketId(2),
        interface: 3,
        ..client.path("[fe80::1%3]:5683".parse().unwrap())
    };
    let bytes = response(client.token(id), Type::Non, Code::CONTENT, &[], "by IPv6");
    client.respond(&path, &bytes);
    let of: Vec<_> = client
        .answers()
        .iter()
        .map(|a| (a.member, a.sequence))
        .collect();
    assert_eq!(of, [(Some(MemberIndex(0)), 1), (Some(MemberIndex(0)), 2)]);
    client.run_until(secs(60));
    assert_eq!(client.sent.len(), 4);
    assert_eq!(client.sent[2].bytes, client.sent[3].bytes);
    assert_ne!(client.sent[1].bytes, client.sent[2].bytes);
    let (_, outcome) = client.outcome(id);
    assert_eq!(outcome.answered().collect::<Vec<_>>(), [("both", 2)]);
    assert_eq!(outcome.servers(), 1);
    assert_eq!(outcome.transmissions, 4);
}

#[test]
fn a_collection_of_which_nothing_could_leave_fails_with_the_reason() {
    let mut client = Client::new();
    let id = client.start(get());
    let route = client.sent[0].route;
    assert!(
        client
            .collections
            .handle_send_error(client.now, &route, SendError::NoRoute)
    );
    client.drain();
    let (when, outcome) = client.outcome(id);
    assert_eq!(when, Instant::ZERO);
    assert_eq!(outcome.ended_by, EndedBy::Failed(SendError::NoRoute));
    assert!(client.events.iter().any(|(_, event)| *event
        == CollectionEvent::SendFailed {
            collection: id,
            group: group(1),
            error: SendError::NoRoute
        }));
    assert!(
        !client
            .collections
            .handle_send_error(client.now, &route, SendError::NoRoute),
        "no question is open"
    );
    // Nothing was sent, so nothing has to be waited for.
    client.start(get());
    assert_eq!(client.sent_times(), [secs(0), secs(0)]);
}

#[test]
fn an_error_of_one_transmission_leaves_the_others_their_chance() {
    let mut client = Client::fast();
    let id = client.start(GroupRequest {
        targets: vec![target(1), target(2)],
        repeat: Repeat::times(1),
        ..get_from(1)
    });
    let routes: Vec<_> = client.sent.iter().map(|sent| sent.route).collect();
    for route in &routes {
        client
            .collections
            .handle_send_error(client.now, route, SendError::NoBuffer);
    }
    client.drain();
    assert!(!client.is_ended(id), "the repeat tries again");
    client.run_until(secs(6));
    assert_eq!(client.sent.len(), 4);
    client
        .collections
        .handle_send_error(client.now, &routes[1], SendError::InterfaceGone);
    client.drain();
    assert!(!client.is_ended(id), "one datagram left");
    client.run_until(secs(16));
    assert_eq!(client.outcome(id).1.ended_by, EndedBy::Deadline);
}

#[test]
fn an_error_belongs_to_the_last_datagram_that_went_this_way() {
    let mut client = Client::fast();
    let elsewhere = |n| GroupRequest {
        targets: vec![target(n)],
        ..get()
    };
    let first = client.start(get());
    client.run_until(secs(1));
    let second = client.start(get());
    client.run_until(secs(2));
    let other = client.start(elsewhere(2));
    let route = client.sent[0].route;
    let failed = |client: &mut Client| {
        let now = client.now;
        let known = client
            .collections
            .handle_send_error(now, &route, SendError::NoRoute);
        client.drain();
        known
    };
    assert!(failed(&mut client));
    assert!(client.is_ended(second));
    assert!(!client.is_ended(first) && !client.is_ended(other));
    assert!(failed(&mut client));
    assert!(client.is_ended(first));
    assert!(!failed(&mut client), "every datagram this way has failed");
    assert!(!client.is_ended(other));
    // With a repeat to come the question stays open, but there is no further datagram to fail.
    client.start(GroupRequest {
        repeat: Repeat::times(1),
        ..get()
    });
    assert!(failed(&mut client));
    assert!(!failed(&mut client));
}

#[test]
fn a_notification_that_could_not_leave_fails() {
    let mut client = Client::new();
    let id = client.start(GroupRequest::notify(
        put(),
        target(1),
        Security::Unsecured(NoSec::Accepted),
    ));
    let route = client.sent[0].route;
    client
        .collections
        .handle_send_error(client.now, &route, SendError::Forbidden);
    client.run_until(secs(1));
    assert_eq!(
        client.outcome(id).1.ended_by,
        EndedBy::Failed(SendError::Forbidden)
    );
}

#[test]
fn own_requests_are_recognised_when_they_come_back_by_loopback() {
    let mut client = Client::fast();
    client.start(GroupRequest {
        repeat: Repeat::times(1),
        ..get()
    });
    client.run_until(secs(20));
    let back = Path {
        local: group(1),
        ..client.path(host(9))
    };
    assert_eq!(client.sent.len(), 2);
    for sent in &client.sent {
        assert!(client.collections.is_own_request(&back, &sent.message()));
    }
    let unicast = client.path(host(9));
    let message = client.sent[0].message();
    assert!(!client.collections.is_own_request(&unicast, &message));
    let mut other = client.sent[0].bytes.clone();
    other[3] ^= 1;
    let other = Message::parse(&other).unwrap();
    assert!(!client.collections.is_own_request(&back, &other));
    let bytes = response(message.token(), Type::Non, Code::CONTENT, &[], "");
    let answer = Message::parse(&bytes).unwrap();
    assert!(!client.collections.is_own_request(&back, &answer));
    // Only the last ones are remembered.
    let first = client.sent[0].clone();
    let one_more = |client: &mut Client| {
        client.start(get());
        client.run_until(client.now.since(Instant::ZERO) + MICRO);
    };
    for _ in 0..62 {
        one_more(&mut client);
    }
    assert!(client.collections.is_own_request(&back, &first.message()));
    one_more(&mut client);
    assert!(!client.collections.is_own_request(&back, &first.message()));
}

#[test]
fn the_names_of_open_collections_can_be_asked() {
    let mut client = Client::new();
    let id = client.start(get_from(2));
    let name = |n| client.collections.member_name(id, MemberIndex(n));
    assert_eq!(name(0), Some("m1"));
    assert_eq!(name(1), Some("m2"));
    assert_eq!(name(2), None);
    assert_eq!(
        client
            .collections
            .member_name(CollectionId(99), MemberIndex(0)),
        None
    );
}
