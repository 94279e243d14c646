//! NSTART, PROBING_RATE, the rate of requests without answers, tokens: what holds a request back, how long, and who is told.

use super::*;
use crate::tokens::TokensExhausted;

/// A GET of exactly 30 bytes (8 of them token) that is over after a second.
fn thirty_bytes() -> GroupRequest {
    GroupRequest {
        end: End::after(secs(1)),
        ..accepted(Request::new(Code::GET).path("sixteen-letters!"))
    }
}

/// A notification of exactly 30 bytes.
fn silent_thirty_bytes() -> GroupRequest {
    let request = Request::new(Code::PUT).path("thirteen-long");
    GroupRequest {
        silent: true,
        ..accepted(request)
    }
}

fn rate(rate: u32) -> Option<GroupPacing> {
    Some(GroupPacing::new(1, rate).unwrap())
}

impl Client {
    fn pace(&mut self, n: u8, pacing: Option<GroupPacing>) {
        self.collections
            .set_pacing(self.now, group(n), None, pacing)
            .unwrap();
        self.drain();
    }

    fn held_for(&self, id: CollectionId) -> Option<(HoldReason, Duration)> {
        let held = self.status(id).held?;
        Some((held.reason, held.remaining))
    }
}

// Covers: GN-3.6-01
#[test]
fn one_question_to_a_group_is_outstanding_and_the_next_waits_for_its_end() {
    let mut client = Client::new();
    let first = client.start(get());
    let second = client.start(get());
    let third = client.start(get());
    let elsewhere = client.start(GroupRequest {
        targets: vec![target(2)],
        ..get()
    });
    assert_eq!(client.sent.len(), 2);
    assert_eq!(client.sent[1].route.destination, group(2));
    let nstart = HoldReason::Outstanding;
    assert_eq!(
        client.held(),
        [
            (Instant::ZERO, second, nstart, secs(10)),
            (Instant::ZERO, third, nstart, secs(20)),
        ]
    );
    client.run_until(secs(4));
    assert_eq!(client.held_for(first), None);
    assert_eq!(client.held_for(elsewhere), None);
    assert_eq!(client.held_for(second), Some((nstart, secs(6))));
    assert_eq!(client.held_for(third), Some((nstart, secs(16))));
    assert_eq!(client.status(second).stage, Stage::Waiting);
    client.answer(first, host(1), "the group responds");
    client.run_until(secs(10) - MICRO);
    assert_eq!(client.sent.len(), 2);
    client.run_until(secs(10));
    assert!(client.is_ended(first));
    assert_eq!(client.sent.len(), 3);
    assert_eq!(client.sent[2].message().token(), client.token(second));
}

#[test]
fn the_wait_for_a_question_with_completion_counts_its_exchanges_too() {
    let mut client = Client::new();
    let ask = |within| GroupRequest {
        completion: Completion::Unicast { at_once: 1, within },
        repeat: Repeat::times(1),
        ..get_from(1)
    };
    client.start(ask(None));
    let second = client.start(ask(Some(secs(30))));
    let third = client.start(get());
    let nstart = HoldReason::Outstanding;
    // 6 s until the repeat, 6 s of patience, 93 s of exchange; then again with 30 s of exchange.
    assert_eq!(client.held_for(second), Some((nstart, secs(105))));
    assert_eq!(client.held_for(third), Some((nstart, secs(147))));
}

// Covers: GN-3.6-05
#[test]
fn closing_a_collection_frees_its_turn_at_once() {
    let mut client = Client::new();
    let first = client.start(get());
    let second = client.start(get());
    let third = client.start(get());
    client.answer(first, host(1), "x");
    client.run_until(secs(1));
    client.collections.close(client.now, second);
    client.drain();
    assert!(client.is_ended(second));
    assert_eq!(client.outcome(second).1.transmissions, 0);
    assert_eq!(client.outcome(second).1.took, Duration::ZERO);
    assert_eq!(client.sent.len(), 1, "a queued question held no turn");
    client.run_until(secs(2));
    client.collections.close(client.now, first);
    client.drain();
    assert_eq!(client.sent_times(), [secs(0), secs(2)]);
    assert_eq!(client.sent[1].message().token(), client.token(third));
    assert_eq!(client.held_for(third), None);
}

// Covers: GN-3.6-02
#[test]
fn ten_requests_of_thirty_bytes_to_a_silent_group_take_as_long_as_its_rate_says() {
    for (pacing, step) in [(None, secs(30)), (rate(10), secs(3))] {
        let mut client = Client::new();
        client.pace(1, pacing);
        for _ in 0..10 {
            client.start(thirty_bytes());
        }
        client.run_until(secs(400));
        let expected: Vec<_> = (0..10).map(|n| step * n).collect();
        assert_eq!(client.sent_times(), expected);
        assert!(client.sent.iter().all(|sent| sent.bytes.len() == 30));
    }
    // To a group that answers, requests that want no answer keep to its rate.
    let mut client = Client::new();
    client.pace(1, rate(10));
    let asked = client.start(thirty_bytes());
    client.answer(asked, host(1), "x");
    for _ in 0..10 {
        client.start(silent_thirty_bytes());
    }
    client.answer(asked, host(1), "still there");
    client.run_until(secs(400));
    assert_eq!(client.sent.len(), 11);
    assert!(client.sent.iter().all(|sent| sent.bytes.len() == 30));
    let expected: Vec<_> = (0..10).map(|n| secs(3) * n).collect();
    assert_eq!(client.sent_times()[1..], expected);
}

// Covers: GC-3.5-01
#[test]
fn a_burst_of_a_hundred_notifications_leaves_at_the_rate_of_the_group() {
    let mut client = Client::new();
    client.pace(1, rate(100));
    let all: Vec<_> = (0..100)
        .map(|_| client.start(silent_thirty_bytes()))
        .collect();
    assert_eq!(client.sent.len(), 1);
    let told = client.held();
    assert_eq!(told.len(), 99, "everyone who waits is told once");
    assert_eq!(
        told[0],
        (Instant::ZERO, all[1], HoldReason::GroupRate, millis(300))
    );
    assert_eq!(told[98].3, millis(29_700));
    client.run_until(secs(10) + MICRO);
    assert_eq!(
        client.held_for(all[99]),
        Some((HoldReason::GroupRate, millis(19_700) - MICRO))
    );
    client.run_until(secs(60));
    let expected: Vec<_> = (0..100).map(|n| millis(300) * n).collect();
    assert_eq!(client.sent_times(), expected);
    let order: Vec<_> = client
        .sent
        .iter()
        .map(|sent| sent.message().token())
        .collect();
    assert_eq!(
        order.iter().collect::<std::collections::HashSet<_>>().len(),
        100
    );
    assert_eq!(client.held().len(), 99);
    let ends: Vec<_> = all.iter().map(|id| client.outcome(*id).0).collect();
    assert!(ends.is_sorted(), "in order");
}

#[test]
fn lights_are_commanded_five_times_a_second_for_hours() {
    let mut client = Client::new();
    client.pace(1, Some(GroupPacing::LIGHTS));
    let every = millis(200);
    for n in 0..3 * 3_600 * 5 {
        client.run_until(every * n);
        client.start(GroupRequest::notify(
            put(),
            target(1),
            Security::Unsecured(NoSec::Accepted),
        ));
        assert_eq!(client.sent.last().unwrap().at, at(every * n));
        client.sent.truncate(1);
        assert!(client.held().is_empty());
        client.events.clear();
    }
    // The largest command for which this holds.
    let payload = vec![b'x'; 128 - 4 - 8 - 6 - 1 - 1 - 3];
    let large = Request::new(Code::PUT)
        .path("light")
        .payload(ContentFormat::TEXT, payload);
    let mut client = Client::new();
    client.pace(1, Some(GroupPacing::LIGHTS));
    for n in 0..20 {
        client.run_until(every * n);
        client.start(GroupRequest {
            silent: true,
            ..accepted(large.clone())
        });
    }
    assert!(
        client.sent.iter().all(|sent| sent.bytes.len() == 128),
        "{}",
        client.sent[0].bytes.len()
    );
    let expected: Vec<_> = (0..20).map(|n| every * n).collect();
    assert_eq!(client.sent_times(), expected);
}

#[test]
fn notifications_are_never_outstanding_and_do_not_wait_for_questions() {
    let mut client = Client::new();
    client.pace(1, rate(1_000));
    let question = client.start(get());
    let waiting = client.start(get());
    client.run_until(secs(1));
    client.start(silent_thirty_bytes());
    assert_eq!(client.sent_times(), [secs(0), secs(1)]);
    assert_eq!(
        client.held_for(waiting),
        Some((HoldReason::Outstanding, secs(9)))
    );
    client.collections.close(client.now, question);
    client.run_until(secs(2));
    assert_eq!(client.sent.len(), 3);
    // Nor do questions wait for notifications, to a group that responds.
    let mut client = Client::new();
    client.start(silent_thirty_bytes());
    client.start(get());
    assert_eq!(client.sent_times(), [secs(0), secs(0)]);
}

#[test]
fn no_response_26_of_the_application_is_silence_by_design_too() {
    let mut client = Client::new();
    let quiet = |value: u8| GroupRequest {
        ..accepted(put().option(OptionNumber::NO_RESPONSE, &[value]))
    };
    let first = client.start(quiet(26));
    let second = client.start(quiet(26));
    assert_eq!(client.held()[0].2, HoldReason::GroupRate);
    assert_eq!(client.held()[0].1, second);
    client.answer(first, host(1), "from a server that ignores the option");
    assert_eq!(client.answers().len(), 1);
    client.run_until(secs(10));
    assert_eq!(client.outcome(first).1.ended_by, EndedBy::Deadline);
    // With some answers wanted it is an ordinary question.
    let mut client = Client::new();
    client.start(quiet(24));
    client.start(quiet(24));
    assert_eq!(client.held()[0].2, HoldReason::Outstanding);
}

#[test]
fn a_silent_group_is_asked_again_when_its_debt_is_paid_or_it_answers() {
    let mut client = Client::new();
    let first = client.start(thirty_bytes());
    let second = client.start(thirty_bytes());
    client.run_until(secs(1));
    assert!(client.is_ended(first));
    let probing = HoldReason::ProbingRate;
    assert_eq!(client.held()[1], (at(secs(1)), second, probing, secs(29)));
    client.run_until(secs(30) - MICRO);
    assert_eq!(client.sent.len(), 1);
    assert_eq!(client.held_for(second), Some((probing, MICRO)));
    client.run_until(secs(30));
    assert_eq!(client.sent.len(), 2);
    client.answer(second, host(3), "here");
    let third = client.start(thirty_bytes());
    client.run_until(secs(31));
    assert_eq!(client.sent_times(), [secs(0), secs(30), secs(31)]);
    client.run_until(secs(32));
    assert!(client.is_ended(third));
    client.start(thirty_bytes());
    client.run_until(secs(100));
    assert_eq!(client.sent_times()[3], secs(61), "it is silent again");
}

#[test]
fn repeats_to_a_silent_group_keep_to_the_probing_rate_until_somebody_answers() {
    let mut client = Client::new();
    let id = client.start(GroupRequest {
        repeat: Repeat::times(3),
        end: End::after(secs(1)),
        ..thirty_bytes()
    });
    client.run_until(secs(6));
    assert_eq!(
        client.held(),
        [(at(secs(6)), id, HoldReason::ProbingRate, secs(24))]
    );
    client.run_until(secs(36));
    assert_eq!(client.sent_times(), [secs(0), secs(30)]);
    assert_eq!(client.held().len(), 2);
    client.run_until(secs(40));
    client.answer(id, host(1), "x");
    assert_eq!(
        client.sent_times()[2],
        secs(40),
        "the answer lifts it at once"
    );
    client.run_until(secs(100));
    assert_eq!(client.sent_times(), [secs(0), secs(30), secs(40), secs(46)]);
    assert_eq!(client.outcome(id).0, at(secs(47)));
}

#[test]
fn a_late_answer_shows_that_the_group_responds() {
    let mut client = Client::new();
    let first = client.start(GroupRequest {
        late: Some(secs(60)),
        ..thirty_bytes()
    });
    client.start(thirty_bytes());
    client.run_until(secs(5));
    assert_eq!(client.sent.len(), 1);
    client.answer(first, host(1), "late");
    assert_eq!(client.sent_times(), [secs(0), secs(5)]);
}

// Covers: GN-3.6-03
#[test]
fn the_pace_of_a_group_can_be_changed_at_any_time() {
    let mut client = Client::new();
    client.start(thirty_bytes());
    let second = client.start(thirty_bytes());
    client.run_until(secs(10));
    assert_eq!(
        client.held_for(second),
        Some((HoldReason::ProbingRate, secs(20)))
    );
    client.pace(1, rate(10));
    assert_eq!(
        client.held_for(second),
        Some((HoldReason::ProbingRate, secs(2)))
    );
    client.run_until(secs(12) - MICRO);
    assert_eq!(client.sent.len(), 1);
    client.run_until(secs(12));
    assert_eq!(client.sent.len(), 2);
    // NSTART.
    let mut client = Client::new();
    for _ in 0..4 {
        client.start(get());
    }
    assert_eq!(client.sent.len(), 1);
    client.pace(1, Some(GroupPacing::new(3, 1).unwrap()));
    assert_eq!(client.sent.len(), 3);
    assert_eq!(client.collections.pacing_of(group(1), 2).nstart(), 3);
    assert_eq!(client.collections.pacing_of(group(1), 2).rate(), 1);
    // Of all groups that have none of their own.
    let mut parameters = Transmission::default();
    parameters
        .set_nstart(2)
        .unwrap()
        .set_probing_rate(7)
        .unwrap();
    let mut client = Client::new();
    for _ in 0..3 {
        client.start(get());
    }
    client.collections.set_transmission(client.now, parameters);
    client.drain();
    assert_eq!(client.sent.len(), 2);
    assert_eq!(client.collections.pacing_of(group(1), 2).rate(), 7);
    client.pace(1, rate(9));
    client.pace(1, None);
    assert_eq!(client.collections.pacing_of(group(1), 2).rate(), 7);
}

#[test]
fn the_interface_belongs_to_the_group() {
    let mut client = Client::new();
    let on = |interface| GroupTarget {
        interface,
        ..target(1)
    };
    let asks = |interface| GroupRequest {
        targets: vec![on(interface)],
        ..get()
    };
    client.start(asks(2));
    client.start(asks(3));
    assert_eq!(client.sent.len(), 2);
    client.start(asks(2));
    assert_eq!(client.sent.len(), 2);
}

#[test]
fn a_question_to_several_groups_waits_for_all_of_them_and_is_not_overtaken() {
    let mut client = Client::fast();
    client.collections.set_transmission(client.now, {
        let mut parameters = Transmission::default();
        parameters.set_probing_rate(1_000_000_000).unwrap();
        parameters
    });
    let to = |groups: &[u8]| GroupRequest {
        targets: groups.iter().map(|n| target(*n)).collect(),
        ..get()
    };
    let one = client.start(to(&[1]));
    client.run_until(secs(3));
    let both = client.start(to(&[1, 2]));
    let two = client.start(to(&[2]));
    let three = client.start(to(&[3]));
    assert_eq!(client.sent.len(), 2, "groups 1 and 3");
    assert_eq!(client.sent[1].message().token(), client.token(three));
    assert_eq!(
        client.held_for(both),
        Some((HoldReason::Outstanding, secs(7)))
    );
    assert_eq!(
        client.held_for(two),
        Some((HoldReason::Outstanding, secs(10))),
        "behind a question that could start now, as far as its own group goes"
    );
    client.run_until(secs(10));
    assert!(client.is_ended(one));
    client.run_until(secs(10) + MICRO);
    assert_eq!(client.sent.len(), 4);
    assert!(
        client.sent[2..]
            .iter()
            .all(|sent| sent.message().token() == client.token(both))
    );
    client.collections.close(client.now, both);
    client.run_until(secs(11));
    assert_eq!(client.sent.len(), 5);
    assert_eq!(client.sent[4].message().token(), client.token(two));
}

#[test]
fn each_target_is_held_back_by_its_own_group_only() {
    let mut client = Client::new();
    client.start(GroupRequest {
        targets: vec![target(2)],
        ..thirty_bytes()
    });
    client.run_until(secs(1));
    let id = client.start(GroupRequest {
        targets: vec![target(1), target(2)],
        ..thirty_bytes()
    });
    assert_eq!(client.sent.len(), 2);
    assert_eq!(client.status(id).stage, Stage::Asking);
    assert_eq!(
        client.held(),
        [(at(secs(1)), id, HoldReason::ProbingRate, secs(29))]
    );
    client.run_until(secs(60));
    assert_eq!(client.sent_times(), [secs(0), secs(1), secs(30)]);
    assert_eq!(client.sent[1].bytes, client.sent[2].bytes);
    assert_eq!(client.outcome(id).0, at(secs(31)), "counted from the last");
}

#[test]
fn an_answer_says_nothing_of_a_group_that_has_not_been_asked_yet() {
    let mut client = Client::new();
    client.start(GroupRequest {
        targets: vec![target(2)],
        ..thirty_bytes()
    });
    client.run_until(secs(1));
    let id = client.start(GroupRequest {
        targets: vec![target(1), target(2)],
        ..thirty_bytes()
    });
    client.answer(id, host(1), "of the first group");
    client.run_until(secs(60));
    assert_eq!(client.sent_times(), [secs(0), secs(1), secs(30)]);
}

#[test]
fn who_responded_is_told_by_socket_and_interface_if_there_are_several_groups() {
    let mut client = Client::new();
    let second = GroupTarget {
        group: group(2),
        socket: SOCKET,
        interface: 3,
    };
    let asks = |targets| GroupRequest {
        targets,
        ..thirty_bytes()
    };
    let id = client.start(asks(vec![target(1), second]));
    client.answer(id, host(1), "on interface 2");
    client.run_until(secs(1));
    client.start(asks(vec![target(1)]));
    client.start(asks(vec![second]));
    assert_eq!(client.sent.len(), 3);
    assert_eq!(client.sent[2].route.destination, group(1));
    client.run_until(secs(50));
    assert_eq!(client.sent[3].route.destination, group(2));
    assert_eq!(client.sent_times()[3], secs(30));
    // With one group it does not matter where the answer comes from.
    let mut client = Client::new();
    let id = client.start(asks(vec![target(1)]));
    let path = Path {
        interface: 77,
        ..client.path(host(1))
    };
    let bytes = response(client.token(id), Type::Non, Code::CONTENT, &[], "x");
    client.respond(&path, &bytes);
    client.run_until(secs(1));
    client.start(asks(vec![target(1)]));
    assert_eq!(client.sent.len(), 2);
}

#[test]
fn the_queue_of_a_group_and_the_number_of_collections_are_bounded() {
    let mut client = Client::with(|config| {
        config.waiting_per_group = 3;
        config.collections = 6;
    });
    let first = client.start(get());
    let waiting: Vec<_> = (0..3).map(|_| client.start(get())).collect();
    assert_eq!(
        client.try_start(get()),
        Err(CollectError::QueueFull(group(1)))
    );
    let elsewhere = |n| GroupRequest {
        targets: vec![target(n)],
        ..get()
    };
    client.start(elsewhere(2));
    client.start(elsewhere(3));
    assert_eq!(
        client.try_start(elsewhere(4)),
        Err(CollectError::TooManyCollections)
    );
    assert_eq!(client.collections.len(), 6);
    client.collections.close(client.now, waiting[1]);
    let sum = |client: &Client| client.collections.len();
    assert_eq!(sum(&client), 5);
    assert_eq!(
        client
            .collections
            .start(client.now, &mut client.rng, elsewhere(4)),
        Err(CollectError::TooManyCollections),
        "an outcome that nobody has fetched counts"
    );
    client.drain();
    client.start(elsewhere(4));
    client.collections.close(client.now, first);
    client.drain();
    client.start(get());
    assert_eq!(
        client.try_start(elsewhere(5)),
        Err(CollectError::TooManyCollections)
    );
}

#[test]
fn what_is_told_about_waiting_is_bounded_and_outcomes_come_all_the_same() {
    let mut client = Client::with(|config| config.events = 2);
    let all: Vec<_> = (0..4)
        .map(|_| {
            client
                .collections
                .start(client.now, &mut client.rng, get())
                .unwrap()
        })
        .collect();
    for id in &all {
        client.collections.close(client.now, *id);
    }
    client.drain();
    let held: Vec<_> = client.held().iter().map(|(_, id, ..)| *id).collect();
    assert_eq!(
        held,
        all[1..3],
        "the first did not wait, the last found no room"
    );
    assert_eq!(client.events.len(), 2 + 4);
}

#[test]
fn notifications_that_wait_are_bounded_too() {
    let mut client = Client::with(|config| config.waiting_per_group = 2);
    client.start(silent_thirty_bytes());
    client.start(silent_thirty_bytes());
    client.start(silent_thirty_bytes());
    assert_eq!(
        client.try_start(silent_thirty_bytes()),
        Err(CollectError::QueueFull(group(1)))
    );
    client.run_until(secs(30));
    client.start(silent_thirty_bytes());
}

#[test]
fn groups_are_bounded_and_forgotten_when_nothing_is_owed() {
    let mut client = Client::with(|config| config.groups = 2);
    let asks = |n| GroupRequest {
        targets: vec![target(n)],
        ..thirty_bytes()
    };
    client.start(asks(1));
    client.start(asks(2));
    assert_eq!(client.try_start(asks(3)), Err(CollectError::TooManyGroups));
    client.run_until(secs(30) - MICRO);
    assert_eq!(client.try_start(asks(3)), Err(CollectError::TooManyGroups));
    client.run_until(secs(30));
    client.start(asks(3));
    assert_eq!(client.sent.len(), 3);
    let pace = GroupPacing::LIGHTS;
    client.pace(1, Some(pace));
    client.pace(2, Some(pace));
    let full = client
        .collections
        .set_pacing(client.now, group(3), None, Some(pace));
    assert_eq!(full, Err(CollectError::TooManyGroups));
    client.pace(2, rate(1));
}

#[test]
fn message_ids_that_are_all_taken_hold_a_request_back() {
    let mut client = Client::fast();
    for _ in 0..0x4000 {
        client.ids.next_for_groups(client.now).unwrap();
    }
    let id = client.start(get());
    assert!(client.sent.is_empty());
    assert_eq!(
        client.held(),
        [(Instant::ZERO, id, HoldReason::MessageIds, secs(145))]
    );
    assert_eq!(
        client.held_for(id),
        Some((HoldReason::MessageIds, secs(145)))
    );
    client.run_until(secs(145) - MICRO);
    assert!(client.sent.is_empty());
    client.run_until(secs(145));
    assert_eq!(client.sent.len(), 1);
    assert_eq!(client.status(id).deadline, Some(at(secs(155))));
}

/// A client with 256 tokens that may send as fast as it likes.
fn with_few_tokens(server_delay: Option<Duration>) -> Client {
    let mut client = Client::with(|config| {
        config.token_len = 1;
        config.server_delay = server_delay;
        config.transmission.set_probing_rate(1_000_000_000).unwrap();
    });
    for _ in 0..256 {
        let id = client.start(get());
        client.collections.close(client.now, id);
        client.run_until(client.now.since(Instant::ZERO) + MICRO);
    }
    assert_eq!(client.sent.len(), 256);
    client
}

// Covers: GC-3.1-24, GC-3.1-25, GC-3.1-28
#[test]
fn a_token_is_refused_until_its_reuse_time_after_the_last_transmission_is_over() {
    for (delay, reuse) in [(Some(secs(10)), secs(260)), (None, secs(500))] {
        let mut client = with_few_tokens(delay);
        // The first was sent at 0, the others each a microsecond or two later.
        client.now = at(reuse - millis(100));
        assert_eq!(
            client.try_start(get()),
            Err(CollectError::Tokens(TokensExhausted {
                remaining: Some(millis(100) + MICRO)
            }))
        );
        client.now = at(reuse);
        assert_eq!(
            client.try_start(get()),
            Err(CollectError::Tokens(TokensExhausted {
                remaining: Some(MICRO)
            }))
        );
        client.now = at(reuse + MICRO);
        client.start(get());
        assert_eq!(
            client.sent[256].message().token(),
            client.sent[0].message().token()
        );
        assert_ne!(
            client.sent[256].message().message_id(),
            client.sent[0].message().message_id()
        );
    }
}

#[test]
fn the_reuse_time_counts_from_the_last_repeat_not_from_the_end() {
    let mut client = Client::with(|config| {
        config.token_len = 1;
        config.server_delay = Some(secs(10));
        config.transmission.set_probing_rate(1_000_000_000).unwrap();
    });
    let id = client.start(GroupRequest {
        repeat: Repeat::SameMessage(1),
        end: End::after(secs(50)),
        ..get()
    });
    let token = client.token(id);
    client.run_until(secs(56));
    assert_eq!(client.sent_times(), [secs(0), secs(6)]);
    assert!(client.is_ended(id));
    let others: Vec<_> =
        core::iter::from_fn(|| client.collections.tokens_mut().take(client.now).ok()).collect();
    assert_eq!(others.len(), 255);
    let tokens = client.collections.tokens_mut();
    assert!(tokens.take(at(secs(266))).is_err());
    assert_eq!(tokens.take(at(secs(266) + MICRO)), Ok(token));
}

// Covers: GC-3.1-26
#[test]
fn a_leisure_above_the_configured_server_delay_raises_the_reuse_time() {
    for (delay, leisure, reuse) in [
        (Some(secs(10)), secs(30), secs(280)),
        (Some(secs(10)), secs(9), secs(260)),
        (None, secs(300), secs(550)),
    ] {
        let mut client = with_few_tokens(delay);
        client.now = at(secs(2_000));
        let id = client.start(GroupRequest { leisure, ..get() });
        let token = client.token(id);
        client.collections.close(client.now, id);
        let tokens = client.collections.tokens_mut();
        while let Ok(other) = tokens.take(client.now) {
            assert_ne!(other, token);
        }
        let free = at(secs(2_000) + reuse);
        assert!(tokens.take(free).is_err());
        assert_eq!(tokens.take(free + MICRO), Ok(token));
    }
}

#[test]
fn a_question_that_was_never_sent_or_accepted_keeps_no_token() {
    let mut client = Client::with(|config| config.token_len = 1);
    let first = client.start(get());
    for _ in 0..300 {
        let id = client.start(get());
        client.collections.close(client.now, id);
        client.drain();
        client.now = client.now + MICRO;
    }
    let mut twice = members(1);
    twice.add(Member::named("again").at(host(1).ip()));
    for _ in 0..300 {
        client.now = client.now + MICRO;
        let refused = client.try_start(GroupRequest {
            expect: core::mem::take(&mut twice),
            ..get()
        });
        match refused {
            Err(CollectError::DuplicateMember(_)) => {}
            other => {
                client.collections.close(client.now, other.unwrap());
                client.drain();
            }
        }
        twice = members(1);
        twice.add(Member::named("again").at(host(1).ip()));
    }
    assert!(!client.is_ended(first));
}

// Covers: GC-3.1-30
#[test]
fn without_binding_tokens_do_not_come_back_until_the_keys_change() {
    let mut client = Client::with(|config| {
        config.token_len = 1;
        config.binding = Binding::Unbound;
    });
    for _ in 0..256 {
        let id = client.start(get());
        client.collections.close(client.now, id);
        client.drain();
        client.now = client.now + secs(1_000);
    }
    assert_eq!(
        client.try_start(get()),
        Err(CollectError::Tokens(TokensExhausted { remaining: None }))
    );
    client.collections.tokens_mut().new_association();
    client.start(get());
}
