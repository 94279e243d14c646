//! Which responses are answers, whose they are, and how many of them are let in.

use super::*;
use crate::expect::MemberAddress;
use crate::identity::Identity;

impl Client {
    /// A response to this question with everything chosen.
    fn respond_with(
        &mut self,
        id: CollectionId,
        kind: Type,
        code: Code,
        options: &[(OptionNumber, &[u8])],
    ) -> Option<Delivery> {
        let bytes = response(self.token(id), kind, code, options, "text");
        let path = self.path(host(1));
        self.respond(&path, &bytes)
    }

    /// The last outcome of a collection that is closed now.
    fn close(&mut self, id: CollectionId) -> Outcome {
        self.collections.close(self.now, id);
        self.drain();
        self.outcome(id).1.clone()
    }
}

fn told(delivery: Option<Delivery>) -> (Verdict, Reply) {
    let delivery = delivery.unwrap();
    (delivery.verdict, delivery.reply)
}

// Covers: GC-3.1-17, GC-3.1-18, GC-3.1-19
#[test]
fn an_answer_is_taken_from_any_address_and_port_and_says_where_it_came_from() {
    let mut client = Client::new();
    let id = client.start(get());
    client.run_until(millis(1_250));
    let from: [SocketAddr; 3] = [
        host(1),
        (host(2).ip(), 61_000).into(),
        (Ipv4Addr::new(203, 0, 113, 200), 1).into(),
    ];
    for (n, peer) in from.iter().enumerate() {
        let delivery = client.answer(id, *peer, &std::format!("answer {n}"));
        assert_eq!(told(delivery), (Verdict::Delivered, Reply::Nothing));
        assert_eq!(delivery.unwrap().collection, id);
    }
    let answers = client.answers();
    assert_eq!(answers.len(), 3);
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer.collection, id);
        assert_eq!(answer.from, client.path(from[n]));
        assert_eq!(answer.server(), AnsweredBy::Address(from[n]));
        assert_eq!(answer.sender, Sender::Unauthenticated);
        assert_eq!(answer.member, None);
        assert_eq!(answer.kind, Some(Type::Non));
        assert_eq!(answer.response.code, Code::CONTENT);
        assert_eq!(
            answer.response.payload,
            std::format!("answer {n}").as_bytes()
        );
        assert_eq!(answer.after, millis(1_250));
        assert_eq!(answer.how, How::Multicast);
    }
}

// Covers: GC-3.1-07
#[test]
fn success_and_error_codes_are_answers_alike() {
    let mut client = Client::new();
    let id = client.start(get_from(3));
    let codes = [Code::CONTENT, Code::NOT_FOUND, Code::INTERNAL_SERVER_ERROR];
    for (n, code) in (1..).zip(codes) {
        let bytes = response(client.token(id), Type::Non, code, &[], "");
        let path = client.path(host(n));
        client.respond(&path, &bytes);
    }
    let got: Vec<_> = client
        .answers()
        .iter()
        .map(|a| (a.member, a.response.code, a.from.peer))
        .collect();
    let expected = |n: u32| (Some(MemberIndex(n)), codes[n as usize], host(n as u16 + 1));
    assert_eq!(got, [expected(0), expected(1), expected(2)]);
    assert!(client.outcome(id).1.is_complete());
}

// Covers: GC-3.1-21
#[test]
fn interleaved_questions_are_told_apart_by_their_tokens_alone() {
    let mut client = Client::fast();
    let first = client.start(get());
    let second = client.start(get());
    assert_ne!(client.token(first), client.token(second));
    client.answer(second, host(1), "second");
    client.answer(first, host(1), "first");
    client.answer(second, (host(1).ip(), 9).into(), "second");
    client.answer(first, (host(1).ip(), 9).into(), "first");
    let got: Vec<_> = client
        .answers()
        .iter()
        .map(|a| (a.collection, a.response.payload.as_slice()))
        .collect();
    assert_eq!(
        got,
        [
            (second, &b"second"[..]),
            (first, b"first"),
            (second, b"second"),
            (first, b"first")
        ]
    );
    let foreign = response(
        Token::new(b"not ours").unwrap(),
        Type::Con,
        Code::CONTENT,
        &[],
        "",
    );
    let path = client.path(host(1));
    assert_eq!(client.respond(&path, &foreign), None);
    assert_eq!(client.answers().len(), 4);
}

// Covers: GC-3.1-22
#[test]
fn a_response_to_another_port_of_this_host_is_not_delivered() {
    let mut client = Client::new();
    let id = client.start(get());
    let bytes = response(client.token(id), Type::Non, Code::CONTENT, &[], "");
    let elsewhere = Path {
        socket: SocketId(9),
        ..client.path(host(1))
    };
    assert_eq!(client.respond(&elsewhere, &bytes), None);
    assert!(client.answers().is_empty());
    let here = client.path(host(1));
    assert!(client.respond(&here, &bytes).is_some());
    assert_eq!(client.answers().len(), 1);
}

// Covers: GC-3.1-31, GC-3.1-01
#[test]
fn two_clients_use_the_same_token_at_once_without_mixing() {
    // The same seed: the second client is the image of the first, on a socket of its own.
    let (mut one, mut two) = (Client::new(), Client::new());
    let first = one.start(get());
    let second = two.start(GroupRequest {
        targets: vec![GroupTarget {
            socket: SocketId(2),
            ..target(1)
        }],
        ..get()
    });
    let token = one.token(first);
    assert_eq!(two.token(second), token);
    assert_ne!(one.sent[0].route.socket, two.sent[0].route.socket);
    let bytes = response(token, Type::Non, Code::CONTENT, &[], "for the second");
    let path = Path {
        socket: SocketId(2),
        ..one.path(host(1))
    };
    assert_eq!(one.respond(&path, &bytes), None);
    assert!(two.respond(&path, &bytes).is_some());
    assert_eq!((one.answers().len(), two.answers().len()), (0, 1));
}

// Covers: GC-3.1-23, GC-3.1-32, GN-6.4-01, GN-3.1.6-01
#[test]
fn an_answer_frees_no_token_and_further_answers_are_delivered_with_their_number() {
    let mut client = Client::new();
    let id = client.start(get_from(2));
    for text in ["first", "the same", "the same"] {
        client.answer(id, host(1), text);
    }
    client.answer(id, host(7), "stranger");
    client.answer(id, host(7), "stranger");
    let got: Vec<_> = client
        .answers()
        .iter()
        .map(|a| (a.member, a.from.peer, a.sequence))
        .collect();
    let member = Some(MemberIndex(0));
    assert_eq!(
        got,
        [
            (member, host(1), 1),
            (member, host(1), 2),
            (member, host(1), 3),
            (None, host(7), 1),
            (None, host(7), 2)
        ]
    );
    let outcome = client.close(id);
    assert_eq!(outcome.answered().collect::<Vec<_>>(), [("m1", 3)]);
    assert_eq!(outcome.unexpected[0].answers, 2);
    assert_eq!(outcome.servers(), 2);
}

#[test]
fn an_answer_names_the_repeat_that_was_sent_last() {
    let mut client = Client::fast();
    let id = client.start(GroupRequest {
        repeat: Repeat::times(2),
        ..get()
    });
    client.answer(id, host(1), "");
    client.run_until(secs(6));
    client.answer(id, host(1), "");
    client.run_until(secs(12));
    client.answer(id, host(2), "");
    let how: Vec<_> = client.answers().iter().map(|a| a.how).collect();
    assert_eq!(how, [How::Multicast, How::Repeat(1), How::Repeat(2)]);
}

// Covers: GN-3.1.1-01
#[test]
fn a_confirmable_answer_is_acknowledged_and_delivered() {
    let mut client = Client::new();
    let id = client.start(get());
    let delivery = client.respond_with(id, Type::Con, Code::CONTENT, &[]);
    assert_eq!(told(delivery), (Verdict::Delivered, Reply::Acknowledge));
    assert_eq!(client.answers()[0].kind, Some(Type::Con));
}

#[test]
fn no_response_comes_by_multicast_from_a_group_or_on_an_acknowledgement() {
    let mut client = Client::new();
    let id = client.start(get());
    let nothing = (Verdict::Dropped, Reply::Nothing);
    let con = response(client.token(id), Type::Con, Code::CONTENT, &[], "");
    let by_multicast = Path {
        local: group(1),
        ..client.path(host(1))
    };
    assert_eq!(told(client.respond(&by_multicast, &con)), nothing);
    let from_group = client.path(group(1));
    assert_eq!(told(client.respond(&from_group, &con)), nothing);
    let delivery = client.respond_with(id, Type::Ack, Code::CONTENT, &[]);
    assert_eq!(told(delivery), nothing);
    assert!(client.answers().is_empty());
    let outcome = client.close(id);
    assert_eq!(outcome.dropped.not_unicast, 3);
    assert_eq!(outcome.servers(), 0);
}

#[test]
fn a_token_is_not_honoured_before_its_request_has_left() {
    let mut client = Client::new();
    client.start(get());
    let queued = client.start(get());
    assert_eq!(client.answer(queued, host(1), ""), None);
    assert!(client.answers().is_empty());
}

#[test]
fn what_is_no_response_is_not_for_us() {
    let mut client = Client::new();
    let id = client.start(get());
    for code in [Code::GET, Code::POST] {
        assert_eq!(client.respond_with(id, Type::Non, code, &[]), None);
    }
    assert!(client.answers().is_empty());
    let reserved = Code::new(7, 1).unwrap();
    let delivery = client.respond_with(id, Type::Con, reserved, &[]);
    let rejection = Rejection::ReservedCode(reserved);
    assert_eq!(told(delivery), (Verdict::Rejected(rejection), Reply::Reset));
}

#[test]
fn unrecognised_critical_options_reject_an_answer_and_elective_ones_do_not() {
    let block2 = OptionNumber::BLOCK2;
    let unknown = OptionNumber(65_001);
    type Options = [(OptionNumber, &'static [u8])];
    let bad: [(&Options, OptionNumber); 6] = [
        (&[(unknown, b"")], unknown),
        (&[(OptionNumber::OSCORE, b"")], OptionNumber::OSCORE),
        (&[(OptionNumber::URI_PATH, b"x")], OptionNumber::URI_PATH),
        (&[(block2, b"four")], block2),
        (&[(block2, b"\x06"), (block2, b"\x16")], block2),
        (
            &[
                (OptionNumber::ETAG, b"e"),
                (block2, b"\x06"),
                (unknown, b""),
            ],
            unknown,
        ),
    ];
    for (options, number) in bad {
        let mut client = Client::new();
        let id = client.start(get_from(2));
        let rejected = Verdict::Rejected(Rejection::CriticalOption(number));
        let con = client.respond_with(id, Type::Con, Code::CONTENT, options);
        assert_eq!(told(con), (rejected, Reply::Reset));
        let non = client.respond_with(id, Type::Non, Code::CONTENT, options);
        assert_eq!(told(non), (rejected, Reply::Nothing));
        assert!(client.answers().is_empty());
        assert_eq!(client.status(id).servers, 0);
        let outcome = client.close(id);
        assert_eq!(
            outcome.rejected().collect::<Vec<_>>(),
            [("m1", Rejection::CriticalOption(number))]
        );
        assert_eq!(names(outcome.missing()), ["m2"]);
        assert_eq!(outcome.dropped.rejected, 2);
        assert!(!outcome.is_complete());
    }
    let mut client = Client::new();
    let id = client.start(get());
    let fine: [&Options; 4] = [
        &[(OptionNumber(65_002), b"elective")],
        &[(OptionNumber::ETAG, b"far too long for it")],
        &[(block2, b"\x06")],
        &[(block2, b""), (OptionNumber::BLOCK1, b"")],
    ];
    for options in fine {
        let delivery = client.respond_with(id, Type::Non, Code::CONTENT, options);
        assert_eq!(told(delivery), (Verdict::Delivered, Reply::Nothing));
    }
    let first = client.answers()[0];
    assert_eq!(
        first.response.options.get(OptionNumber(65_002)),
        Some(&b"elective"[..])
    );
}

#[test]
fn a_rejected_member_may_still_answer_properly() {
    let mut client = Client::new();
    let id = client.start(get_from(1));
    let bad: &[(OptionNumber, &[u8])] = &[(OptionNumber(65_001), b"")];
    client.respond_with(id, Type::Non, Code::CONTENT, bad);
    client.respond_with(id, Type::Non, Code::CONTENT, &[]);
    let (_, outcome) = client.outcome(id);
    assert_eq!(outcome.ended_by, EndedBy::AllExpected);
    assert_eq!(outcome.rejected().count(), 0);
    assert_eq!(outcome.answered().collect::<Vec<_>>(), [("m1", 1)]);
    // And what is wrong afterwards takes nothing back.
    let id = client.start(get_from(2));
    client.respond_with(id, Type::Non, Code::CONTENT, &[]);
    client.respond_with(id, Type::Non, Code::CONTENT, bad);
    let outcome = client.close(id);
    assert_eq!(names(outcome.answered()), ["m1"]);
}

#[test]
fn a_rejected_member_is_not_asked_in_person() {
    let mut client = Client::new();
    let id = client.start(GroupRequest {
        completion: Completion::Unicast {
            at_once: 9,
            within: None,
        },
        ..get_from(2)
    });
    client.respond_with(id, Type::Non, Code::CONTENT, &[(OptionNumber(65_001), b"")]);
    client.run_until(secs(6));
    let asked: Vec<_> = client.completions().iter().map(|c| c.member.0).collect();
    assert_eq!(asked, [1]);
}

#[test]
fn an_answer_may_be_as_large_as_the_request_allows() {
    let mut client = Client::new();
    let id = client.start(GroupRequest {
        limits: AnswerLimits {
            response_bytes: 10,
            ..AnswerLimits::default()
        },
        ..get_from(1)
    });
    // Payload marker included.
    let delivery = client.answer(id, host(3), "123456789");
    assert_eq!(told(delivery), (Verdict::Delivered, Reply::Nothing));
    let bytes = response(
        client.token(id),
        Type::Con,
        Code::CONTENT,
        &[],
        "1234567890",
    );
    let path = client.path(host(4));
    let rejection = Rejection::TooLarge(11);
    assert_eq!(
        told(client.respond(&path, &bytes)),
        (Verdict::Rejected(rejection), Reply::Acknowledge)
    );
    let outcome = client.close(id);
    assert_eq!(outcome.unexpected[1].address, host(4));
    assert_eq!(outcome.unexpected[1].rejection, Some(rejection));
    assert_eq!(outcome.unexpected[1].answers, 0);
    assert_eq!(outcome.unexpected[0].rejection, None);
    assert_eq!(outcome.servers(), 1);
}

#[test]
fn an_answer_to_a_unicast_request_has_the_same_limit() {
    let mut client = Client::new();
    let id = client.start(GroupRequest {
        completion: Completion::Unicast {
            at_once: 2,
            within: None,
        },
        limits: AnswerLimits {
            response_bytes: 6,
            ..AnswerLimits::default()
        },
        ..get_from(2)
    });
    client.run_until(secs(6));
    assert_eq!(client.completions().len(), 2);
    for (member, text) in [(0, "12345"), (1, "123456")] {
        let path = client.path(host(9));
        let mut response = Response::new(Code::CONTENT);
        response.payload = text.into();
        client.collections.completion_done(
            client.now,
            id,
            MemberIndex(member),
            Ok((&path, response)),
        );
    }
    client.run_until(secs(10));
    let (_, outcome) = client.outcome(id);
    assert_eq!(outcome.answered().collect::<Vec<_>>(), [("m1", 1)]);
    assert_eq!(
        outcome.rejected().collect::<Vec<_>>(),
        [("m2", Rejection::TooLarge(7))]
    );
}

#[test]
fn one_responder_gets_its_share_and_takes_nothing_from_others() {
    let mut client = Client::new();
    let id = client.start(GroupRequest {
        limits: AnswerLimits {
            per_responder: 3,
            unexpected: 4,
            unexpected_per_address: 2,
            ..AnswerLimits::default()
        },
        ..get_from(2)
    });
    for _ in 0..10 {
        client.answer(id, host(1), "member");
        client.answer(id, host(9), "stranger");
    }
    assert_eq!(client.answers().len(), 6);
    // Many ports of one host get two places of the four.
    for port in 1..100 {
        client.answer(id, (host(9).ip(), port).into(), "stranger");
    }
    client.answer(id, host(10), "other");
    client.answer(id, host(11), "other");
    let delivery = client.answer(id, host(12), "no room");
    assert_eq!(told(delivery), (Verdict::Dropped, Reply::Nothing));
    assert_eq!(client.status(id).servers, 5);
    // Expected members are always let in.
    let delivery = client.answer(id, host(2), "member");
    assert_eq!(told(delivery), (Verdict::Delivered, Reply::Nothing));
    let (_, outcome) = client.outcome(id);
    assert_eq!(
        outcome.answered().collect::<Vec<_>>(),
        [("m1", 3), ("m2", 1)]
    );
    let others: Vec<_> = outcome
        .unexpected
        .iter()
        .map(|other| (other.address, other.answers))
        .collect();
    let port_one: SocketAddr = (host(9).ip(), 1).into();
    assert_eq!(
        others,
        [(host(9), 3), (port_one, 1), (host(10), 1), (host(11), 1)]
    );
    assert_eq!(outcome.dropped.over_share, 14);
    assert_eq!(outcome.dropped.no_room, 98 + 1);
    assert_eq!(outcome.answers, 3 + 3 + 1 + 1 + 1 + 1);
}

#[test]
fn strangers_with_bad_answers_are_bounded_too() {
    let mut client = Client::new();
    let id = client.start(GroupRequest {
        limits: AnswerLimits {
            unexpected: 2,
            ..AnswerLimits::default()
        },
        ..get()
    });
    let bad: &[(OptionNumber, &[u8])] = &[(OptionNumber(65_001), b"")];
    let bytes = response(client.token(id), Type::Non, Code::CONTENT, bad, "");
    for n in 1..=5 {
        let path = client.path(host(n));
        client.respond(&path, &bytes);
    }
    let outcome = client.close(id);
    assert_eq!(outcome.unexpected.len(), 2);
    assert_eq!(outcome.dropped.rejected, 5);
    assert_eq!(outcome.dropped.no_room, 3);
    assert_eq!(outcome.servers(), 0);
}

#[test]
fn even_a_share_of_nothing_lets_one_answer_in() {
    let mut client = Client::new();
    let id = client.start(GroupRequest {
        limits: AnswerLimits {
            per_responder: 0,
            ..AnswerLimits::default()
        },
        ..get_from(1)
    });
    client.answer(id, host(1), "x");
    assert!(client.outcome(id).1.is_complete());
    assert_eq!(client.answers().len(), 1);
}

#[test]
fn answers_that_nobody_fetches_are_counted_and_outcomes_are_kept() {
    let mut client = Client::with(|config| config.events = 2);
    let id = client.start(get_from(4));
    let bytes = response(client.token(id), Type::Non, Code::CONTENT, &[], "x");
    for n in 1..=4 {
        let path = client.path(host(n));
        let message = Message::parse(&bytes).unwrap();
        let delivery = client
            .collections
            .handle_response(client.now, &path, &message)
            .unwrap();
        let expected = if n <= 2 {
            Verdict::Delivered
        } else {
            Verdict::Dropped
        };
        assert_eq!(delivery.verdict, expected);
    }
    client.drain();
    assert_eq!(client.answers().len(), 2);
    let (_, outcome) = client.outcome(id);
    assert_eq!(outcome.dropped.not_fetched, 2);
    assert_eq!(outcome.answers, 2);
    assert!(outcome.is_complete(), "they did answer");
}

#[test]
fn answers_that_nobody_fetches_are_bounded_in_bytes_too() {
    let mut client = Client::with(|config| config.event_bytes = 3_000);
    let id = client.start(get());
    let text = "x".repeat(1_000);
    let bytes = response(client.token(id), Type::Non, Code::CONTENT, &[], &text);
    let message = Message::parse(&bytes).unwrap();
    let mut delivered = |n| {
        let path = client.path(host(n));
        let delivery = client
            .collections
            .handle_response(client.now, &path, &message);
        delivery.unwrap().verdict == Verdict::Delivered
    };
    // Each takes 1000 bytes and what is around them.
    assert_eq!([1, 2, 3, 4].map(&mut delivered), [true, true, true, false]);
    client.drain();
    assert_eq!(client.answers().len(), 3);
    assert_eq!(client.collections.event_bytes, 0);
    let path = client.path(host(5));
    client.respond(&path, &bytes);
    assert_eq!(client.answers().len(), 4);
    let outcome = client.close(id);
    assert_eq!(outcome.dropped.not_fetched, 1);
    // Options take memory as well.
    let mut answer = client.answers()[0].clone();
    let before = answer.footprint();
    assert_eq!(before, size_of::<Answer>() + 1_000);
    answer
        .response
        .options
        .push(OptionNumber::ETAG, b"12345678");
    answer.response.options.push(OptionNumber::ETAG, b"1");
    assert_eq!(answer.footprint(), before + 8 + 12 + 1 + 12);
}

#[test]
fn the_outcome_keeps_no_more_than_was_allowed() {
    let mut client = Client::new();
    let one = size_of::<Answer>() + 4;
    let id = client.start(GroupRequest {
        keep_answers: true,
        limits: AnswerLimits {
            kept_bytes: 2 * one,
            ..AnswerLimits::default()
        },
        ..get()
    });
    for n in 1..=3 {
        client.answer(id, host(n), "text");
    }
    assert_eq!(client.answers().len(), 3);
    let outcome = client.close(id);
    assert_eq!(outcome.kept_answers(AnswerPolicy::All).len(), 2);
    assert_eq!(outcome.dropped.not_kept, 1);
}

// Covers: GC-3.1-33
#[test]
fn the_application_chooses_all_answers_or_the_latest_of_each_server() {
    let mut client = Client::new();
    let id = client.start(GroupRequest {
        keep_answers: true,
        ..get_from(2)
    });
    client.answer(id, host(1), "old");
    client.answer(id, host(5), "stranger");
    client.answer(id, host(1), "new");
    let outcome = client.close(id);
    let texts = |policy| -> Vec<_> {
        outcome
            .kept_answers(policy)
            .iter()
            .map(|a| (a.server(), a.response.payload.as_slice()))
            .collect()
    };
    let member = AnsweredBy::Member(MemberIndex(0));
    let stranger = AnsweredBy::Address(host(5));
    assert_eq!(
        texts(AnswerPolicy::All),
        [
            (member, &b"old"[..]),
            (stranger, b"stranger"),
            (member, b"new")
        ]
    );
    assert_eq!(
        texts(AnswerPolicy::LatestPerServer),
        [(stranger, &b"stranger"[..]), (member, b"new")]
    );
    // Unless asked for, nothing is kept.
    let id = client.start(get_from(1));
    client.answer(id, host(1), "x");
    assert!(
        client
            .outcome(id)
            .1
            .kept_answers(AnswerPolicy::All)
            .is_empty()
    );
}

#[test]
fn a_light_that_answers_from_its_link_local_address_is_not_missing() {
    let mut client = Client::new();
    let mut expect = Expectation::nobody();
    expect.add(
        Member::named("light")
            .at(ip("2001:db8::7"))
            .at(ip("fe80::7")),
    );
    let id = client.start(GroupRequest { expect, ..get() });
    client.answer(id, "[fe80::7%2]:5683".parse().unwrap(), "on");
    let (_, outcome) = client.outcome(id);
    assert_eq!(outcome.answered().collect::<Vec<_>>(), [("light", 1)]);
}

#[test]
fn strangers_with_link_local_addresses_are_told_apart_by_interface() {
    let mut client = Client::new();
    let id = client.start(get());
    let bytes = response(client.token(id), Type::Non, Code::CONTENT, &[], "x");
    let peer: SocketAddr = "[fe80::7]:5683".parse().unwrap();
    for interface in [2, 3] {
        let path = Path {
            interface,
            ..client.path(peer)
        };
        client.respond(&path, &bytes);
    }
    client.answer(id, "[fe80::7%3]:5683".parse().unwrap(), "again");
    assert_eq!(client.status(id).servers, 2);
    assert_eq!(client.answers()[1].server(), client.answers()[2].server());
    assert_eq!(
        client.answers()[0].server(),
        AnsweredBy::Address("[fe80::7%2]:5683".parse().unwrap())
    );
}

#[test]
fn members_are_recognised_by_what_they_say() {
    let mut client = Client::new();
    let serial = |n: u8| Member::named(std::format!("serial {n}")).id([b'0' + n]);
    let mut expect = Expectation::nobody();
    expect.add(serial(1));
    expect.add(serial(2).at(MemberAddress::from(host(2).ip())));
    expect.identified_by(alloc::boxed::Box::new(|message| {
        let said = message.payload().strip_prefix(b"id=")?;
        Some(said.to_vec())
    }));
    let id = client.start(GroupRequest { expect, ..get() });
    client.answer(id, host(200), "id=1");
    client.answer(id, host(201), "nothing");
    client.answer(id, host(2), "id=1");
    let of: Vec<_> = client.answers().iter().map(|a| a.member).collect();
    assert_eq!(
        of,
        [Some(MemberIndex(0)), None, Some(MemberIndex(0))],
        "what is said goes before the address"
    );
    client.answer(id, host(2), "id=9");
    assert_eq!(client.answers()[3].member, Some(MemberIndex(1)));
    assert!(client.is_ended(id));
}

#[test]
fn members_are_recognised_by_an_option_or_a_proven_identity() {
    let number = OptionNumber(65_004);
    let mut client = Client::new();
    let mut expect = Expectation::nobody();
    expect.add(Member::named("by option").id(*b"abc"));
    expect.add(
        Member::named("by identity")
            .at(host(5).ip())
            .identity(Identity(b"key".to_vec())),
    );
    expect.identified_by_option(number);
    let id = client.start(GroupRequest { expect, ..get() });
    client.respond_with(id, Type::Non, Code::CONTENT, &[(number, b"abc")]);
    assert_eq!(client.answers()[0].member, Some(MemberIndex(0)));
    client.answer(id, host(5), "the address alone proves nothing");
    assert_eq!(client.answers()[1].member, None);
    let bytes = response(client.token(id), Type::Non, Code::CONTENT, &[], "x");
    let message = Message::parse(&bytes).unwrap();
    let prove = |client: &mut Client, identity: &[u8]| {
        let sender = Sender::Proven(Identity(identity.to_vec()));
        let path = client.path(host(77));
        client
            .collections
            .handle_response_of(client.now, &path, &sender, &message);
        client.drain();
    };
    prove(&mut client, b"other key");
    assert_eq!(client.answers()[2].member, None);
    prove(&mut client, b"key");
    let last = client.answers()[3];
    assert_eq!(last.member, Some(MemberIndex(1)));
    assert_eq!(last.sender, Sender::Proven(Identity(b"key".to_vec())));
    assert!(client.outcome(id).1.is_complete());
}
