//! What comes from nobody in the group, or from the wrong one: it is never delivered, and nothing goes wrong by it.

use super::*;

/// A response to the client's first request, with this head.
fn unprotected(world: &World, code: Code, kind: Type) -> Vec<u8> {
    let asked = world.from(CLIENT)[0].message().message_id();
    let token = world.from(CLIENT)[0].message().token();
    let mut bytes = [0; 64];
    let mut writer = Writer::new(&mut bytes, kind, code, asked, token).unwrap();
    writer.payload(b"forged").unwrap();
    let len = writer.finish();
    bytes[..len].to_vec()
}

// Covers: GO-7-06
#[test]
fn no_changed_message_is_delivered_and_the_genuine_one_still_is() {
    for multicast in [true, false] {
        let mut world = world();
        world.nodes[LAMP].deaf = true;
        let protection = to_member(&world, LAMP);
        match multicast {
            true => {
                world.ask_group(question(&world, "t"));
            }
            false => {
                world.ask(request_to(LAMP, "t", protection));
            }
        }
        world.nodes[LAMP].deaf = false;
        let genuine = world.from(CLIENT)[0].bytes.clone();
        world.sent.clear();
        let covered = 4 + 8; // header and token are not
        for at in covered..genuine.len() {
            for bit in 0..8 {
                let mut changed = genuine.clone();
                changed[at] ^= 1 << bit;
                changed[2..4].copy_from_slice(&[0x70 + (at >> 5) as u8, (at << 3) as u8 | bit]);
                world.inject(
                    LAMP,
                    multicast,
                    ([10, 1, at as u8, bit], 7).into(),
                    &changed,
                );
                assert_eq!(world.nodes[LAMP].handled(), 0, "byte {at}, bit {bit}");
            }
        }
        for len in covered..genuine.len() {
            let mut cut = genuine[..len].to_vec();
            cut[2..4].copy_from_slice(&[0x60, len as u8]);
            world.inject(LAMP, multicast, ([10, 2, len as u8, 1], 7).into(), &cut);
            assert_eq!(world.nodes[LAMP].handled(), 0, "{len} bytes");
        }
        if multicast {
            assert!(world.from(LAMP).is_empty(), "silence");
        }
        world.inject(LAMP, multicast, address(CLIENT), &genuine);
        assert_eq!(world.nodes[LAMP].handled(), 1, "the genuine one is");
    }
}

// Covers: GO-7-08, GC-6.2.3-02, GC-6.2.3-03, GC-6.3-01
#[test]
fn a_replayed_or_forged_group_request_causes_no_datagram() {
    let mut world = world();
    world.nodes[BELL].deaf = true;
    for node in [LAMP, BELL] {
        world.nodes[node].endpoint.set_answer_errors(true);
    }
    world.ask_group(question(&world, "t"));
    let genuine = world.from(CLIENT)[0].bytes.clone();
    world.sent.clear();
    let mut replayed = genuine.clone();
    replayed[2] ^= 1; // another Message ID, so that only the window can know it
    world.inject(LAMP, true, address(CLIENT), &replayed);
    assert_eq!(world.nodes[LAMP].counters().replayed, 1);
    world.nodes[BELL].deaf = false;
    let mut forged = genuine.clone();
    *forged.last_mut().unwrap() ^= 1;
    world.inject(BELL, true, address(CLIENT), &forged);
    assert_eq!(world.nodes[BELL].counters().not_verified, 1);
    assert!(world.from(LAMP).is_empty() && world.from(BELL).is_empty());
    assert_eq!(
        (world.nodes[LAMP].handled(), world.nodes[BELL].handled()),
        (1, 0)
    );
    // The same by unicast is an error, where errors are answered.
    replayed[2] ^= 2;
    world.inject(LAMP, false, address(CLIENT), &replayed);
    let error = world.from(LAMP)[0];
    assert_eq!(error.message().code(), Code::UNAUTHORIZED);
    assert_eq!(
        error.message().option(OptionNumber::MAX_AGE),
        Some(b"".as_slice())
    );
    assert_eq!(error.message().payload(), b"Replay detected");
    assert_eq!(world.nodes[LAMP].counters().errors_answered, 1);
}

#[test]
fn errors_are_not_answered_unless_that_is_wanted_and_then_within_a_budget() {
    let mut world = world();
    world.ask_group(question(&world, "t"));
    let mut bytes = world.from(CLIENT)[0].bytes.clone();
    for (wanted, expected) in [(false, 0), (true, 8)] {
        world.nodes[LAMP].endpoint.set_answer_errors(wanted);
        world.sent.clear();
        for n in 0..20 {
            bytes[2..4].copy_from_slice(&[u8::from(wanted) + 3, n]);
            world.inject(LAMP, false, address(CLIENT), &bytes);
        }
        assert_eq!(world.from(LAMP).len(), expected);
    }
}

// Covers: GO-B-8.4-02
#[test]
fn an_unprotected_response_answers_no_protected_request() {
    for code in [
        Code::CONTENT,
        Code::UNAUTHORIZED,
        Code::BAD_OPTION,
        Code::SERVICE_UNAVAILABLE,
    ] {
        let mut world = world();
        world.nodes[LAMP].worker = Worker::Held;
        world.ask(request_to(LAMP, "slow", to_member(&world, LAMP)));
        let forged = unprotected(&world, code, Type::Ack);
        world.inject(CLIENT, false, address(LAMP), &forged);
        assert_eq!(
            world.nodes[CLIENT]
                .endpoint
                .counters()
                .unprotected_responses,
            1
        );
        assert_eq!((world.response(), world.failure()), (None, None));
        // The genuine answer still counts.
        world.nodes[LAMP].worker = Worker::Eager;
        let waiting = core::mem::take(&mut world.nodes[LAMP].waiting);
        let now = world.now;
        for work in waiting {
            world.nodes[LAMP].work(now, work);
        }
        world.run();
        let incoming = world.nodes[LAMP].events.iter().find_map(|e| match e {
            Event::Request { incoming, .. } => Some(*incoming),
            _ => None,
        });
        let response = Response::new(Code::CHANGED);
        world.nodes[LAMP]
            .endpoint
            .respond(now, incoming.unwrap(), response);
        world.run();
        assert_eq!(world.response().unwrap().0.code, Code::CHANGED);
    }
}

#[test]
fn when_nothing_but_an_unprotected_response_came_that_is_said_in_the_end() {
    let mut world = world();
    world.nodes[LAMP].deaf = true;
    world.ask(request_to(LAMP, "t", to_member(&world, LAMP)));
    for (kind, expected) in [
        (Type::Ack, None),
        (Type::Con, Some(0x70)),
        (Type::Non, None),
    ] {
        let forged = unprotected(&world, Code::SERVICE_UNAVAILABLE, kind);
        let before = world.from(CLIENT).len();
        world.inject(CLIENT, false, address(LAMP), &forged);
        let told = world.from(CLIENT).get(before).map(|d| d.bytes[0]);
        assert_eq!(told, expected, "{kind:?}");
    }
    world.pass(Duration::from_secs(92));
    assert_eq!(world.failure(), None);
    world.pass(Duration::from_secs(2));
    assert_eq!(
        world.failure(),
        Some(Failure::OnlyUnprotected(Code::SERVICE_UNAVAILABLE))
    );
    assert_eq!(
        world.nodes[CLIENT]
            .endpoint
            .counters()
            .unprotected_responses,
        3
    );
}

#[test]
fn an_unprotected_answer_counts_for_nothing_in_a_protected_collection() {
    let mut world = world();
    world.nodes[LAMP].deaf = true;
    world.ask_group(GroupRequest {
        expect: both(),
        ..question(&world, "t")
    });
    let token = world.from(CLIENT)[0].message().token();
    let mut bytes = [0; 64];
    for code in [Code::CONTENT, Code::UNAUTHORIZED] {
        let mut writer = Writer::new(
            &mut bytes,
            Type::Non,
            code,
            MessageId(code.to_u8().into()),
            token,
        )
        .unwrap();
        writer.payload(b"forged").unwrap();
        let len = writer.finish();
        let forged = bytes[..len].to_vec();
        world.inject(CLIENT, false, address(LAMP), &forged);
    }
    assert_eq!(world.answers().len(), 1, "that of the other member");
    world.pass(Duration::from_secs(11));
    let outcome = world.outcome();
    assert_eq!(outcome.dropped.unprotected, 2);
    assert_eq!(
        outcome.missing().map(|(name, _)| name).collect::<Vec<_>>(),
        ["lamp"]
    );
    assert!(outcome.unexpected.is_empty());
}

// Covers: GO-7.4-06, GO-7.4-16
#[test]
fn an_answer_of_another_member_than_the_one_that_was_asked_is_not_delivered() {
    let mut world = world();
    // The lamp does not answer, and the bell does: it takes the request for its own, as a member may.
    world.nodes[LAMP].deaf = true;
    world.ask(request_to(
        LAMP,
        "t",
        Protection::Member {
            group: world.group(),
            credential: credential(LAMP).bytes().to_vec(),
        },
    ));
    let asked = world.from(CLIENT)[0].clone();
    let token = asked.message().token();
    // The bell's own answer to a question to the group, under the token of the request to the lamp.
    world.ask_group(question(&world, "t"));
    let answer = world.from(BELL)[0].bytes.clone();
    let mut moved = answer.clone();
    moved[4..12].copy_from_slice(token.as_bytes());
    moved[2] ^= 0x11;
    world.inject(CLIENT, false, address(LAMP), &moved);
    assert_eq!(world.response(), None);
    assert_eq!(world.failure(), None, "and it ends nothing");
    let counters = world.nodes[CLIENT].counters();
    assert_eq!(counters.responses, 1, "only the answer to the question");
    assert_eq!(counters.not_verified + counters.other_member, 1);
}

#[test]
fn a_protected_response_to_an_unprotected_request_is_not_understood() {
    let mut world = world();
    world.nodes[LAMP].deaf = true;
    world.ask(request_to(LAMP, "t", Protection::None));
    let asked = world.from(CLIENT)[0].clone();
    world.ask_group(question(&world, "t"));
    let mut moved = world.from(BELL)[0].bytes.clone();
    moved[4..12].copy_from_slice(asked.message().token().as_bytes());
    world.inject(CLIENT, false, address(LAMP), &moved);
    assert_eq!(world.failure(), Some(Failure::Rejected));
}

#[test]
fn forgeries_of_one_source_cost_a_bounded_number_of_verifications() {
    let mut config = trusting();
    config.security.failures_per_source = 4;
    let mut world = world_with(Modes::Both, Settings::default(), config);
    world.nodes[LAMP].deaf = true;
    world.ask_group(question(&world, "t"));
    let genuine = world.from(CLIENT)[0].bytes.clone();
    world.nodes[LAMP].deaf = false;
    let mut forged = genuine.clone();
    *forged.last_mut().unwrap() ^= 1;
    for n in 0..20 {
        forged[2..4].copy_from_slice(&[0x66, n]);
        world.inject(LAMP, true, address(9), &forged);
    }
    let counters = world.nodes[LAMP].counters();
    assert_eq!((counters.not_verified, counters.over_budget), (4, 16));
    // Another source has its own.
    world.inject(LAMP, true, address(CLIENT), &genuine);
    assert_eq!(world.nodes[LAMP].handled(), 1);
    // And a source whose messages verify never runs out.
    for _ in 0..20 {
        world.pass(Duration::from_micros(1));
        let id = world.ask_group(question(&world, "t"));
        let now = world.now;
        world.nodes[CLIENT].endpoint.close(now, id);
    }
    assert_eq!(world.nodes[LAMP].counters().over_budget, 16);
}

#[test]
fn old_messages_to_a_server_in_doubt_cost_a_bounded_number_of_verifications_too() {
    let mut config = trusting();
    config.security.failures_per_source = 4;
    let mut world = world_with(Modes::Both, Settings::default(), config);
    world.nodes[LAMP].deaf = true;
    world.ask_group(question(&world, "t"));
    let mut genuine = world.from(CLIENT)[0].bytes.clone();
    world.nodes[LAMP].group().windows_unknown();
    for n in 0..20 {
        genuine[2..4].copy_from_slice(&[0x66, n]);
        world.inject(LAMP, true, address(9), &genuine);
    }
    let counters = world.nodes[LAMP].counters();
    assert_eq!((counters.challenges, counters.over_budget), (4, 16));
    assert_eq!(world.nodes[LAMP].handled(), 0);
}

#[test]
fn what_costs_nothing_to_open_pays_nothing_back() {
    let mut config = trusting();
    config.security.failures_per_source = 2;
    let mut world = world_with(Modes::Both, Settings::default(), config);
    // The keys of the pair are worked out by the first.
    for _ in 0..2 {
        let protection = to_member(&world, LAMP);
        world.ask(request_to(LAMP, "t", protection));
    }
    world.nodes[LAMP].deaf = true;
    world.ask_group(question(&world, "t"));
    let mut forged = world.from(CLIENT).last().unwrap().bytes.clone();
    *forged.last_mut().unwrap() ^= 1;
    world.nodes[LAMP].deaf = false;
    for n in 0..4 {
        forged[2..4].copy_from_slice(&[0x66, n]);
        world.inject(LAMP, true, address(CLIENT), &forged);
        let protection = to_member(&world, LAMP);
        world.ask(request_to(LAMP, "t", protection));
    }
    assert_eq!(world.nodes[LAMP].handled(), 6);
    let counters = world.nodes[LAMP].counters();
    assert_eq!((counters.not_verified, counters.over_budget), (2, 2));
}

#[test]
fn a_request_for_which_there_is_no_room_is_as_if_it_had_been_lost() {
    let mut config = trusting();
    config.security.failures_per_source = 1;
    let mut world = world_with(Modes::GroupOnly, Settings::default(), config);
    world.nodes[LAMP].deaf = true;
    let group = Protection::Group(world.group());
    world.ask(request_to(LAMP, "t", group));
    let genuine = world.from(CLIENT)[0].bytes.clone();
    let mut forged = genuine.clone();
    *forged.last_mut().unwrap() ^= 1;
    forged[2] ^= 1;
    world.inject(LAMP, false, address(CLIENT), &forged);
    world.inject(LAMP, false, address(CLIENT), &genuine);
    let counters = world.nodes[LAMP].counters();
    assert_eq!((counters.not_verified, counters.over_budget), (1, 1));
    assert_eq!(world.nodes[LAMP].handled(), 0);
    // Its repetition, the same bytes, is served.
    world.pass(Duration::from_secs(1));
    world.inject(LAMP, false, address(CLIENT), &genuine);
    assert_eq!(world.nodes[LAMP].handled(), 1);
    world.inject(LAMP, false, address(CLIENT), &genuine);
    assert_eq!(world.nodes[LAMP].handled(), 1, "and that only once");
}

#[test]
fn a_response_for_which_there_is_no_room_is_as_if_it_had_been_lost() {
    let mut config = trusting();
    config.security.failures_per_source = 1;
    let mut world = world_with(Modes::GroupOnly, Settings::default(), config);
    world.lossy = |datagram| datagram.from == LAMP;
    world.ask_group(question(&world, "t"));
    world.pass(Duration::from_secs(5));
    let genuine = world.from(LAMP)[0].bytes.clone();
    let mut forged = genuine.clone();
    *forged.last_mut().unwrap() ^= 1;
    forged[2] ^= 1;
    world.inject(CLIENT, false, address(LAMP), &forged);
    world.inject(CLIENT, false, address(LAMP), &genuine);
    assert_eq!(world.nodes[CLIENT].counters().over_budget, 1);
    let from_lamp = |world: &World| {
        let answers = world.answers();
        answers.iter().filter(|a| a.sender == proven(LAMP)).count()
    };
    assert_eq!(from_lamp(&world), 0);
    world.pass(Duration::from_secs(1));
    for _ in 0..2 {
        world.inject(CLIENT, false, address(LAMP), &genuine);
        assert_eq!(from_lamp(&world), 1);
    }
}

#[test]
fn an_own_question_that_comes_back_is_not_answered() {
    let mut world = world();
    world.ask_group(question(&world, "t"));
    let own = world.from(CLIENT)[0].bytes.clone();
    world.sent.clear();
    world.inject(CLIENT, true, address(CLIENT), &own);
    assert_eq!(world.nodes[CLIENT].handled(), 0);
    assert_eq!(world.nodes[CLIENT].counters().own, 1);
    assert!(world.sent.is_empty());
}

// Covers: GO-7.2-18, GO-8.4-01, GO-8.4-06
#[test]
fn errors_of_context_and_mode_are_unprotected_and_not_to_be_cached_where_they_are_answered() {
    for (modes, group_mode, gid, expected) in [
        (
            Modes::Both,
            true,
            9,
            (Code::UNAUTHORIZED, "Security context not found"),
        ),
        (
            Modes::Both,
            false,
            9,
            (Code::UNAUTHORIZED, "Security context not found"),
        ),
        (Modes::GroupOnly, false, 1, (Code::BAD_OPTION, "")),
    ] {
        for answered in [true, false] {
            // A member of another group, or of one with another mode.
            let mut world = world_of(Modes::Both, Settings::default());
            let mut other = node(LAMP, trusting(), modes, Settings::default());
            other.endpoint.set_answer_errors(answered);
            world.nodes[LAMP] = other;
            world.run();
            let client = &mut world.nodes[CLIENT];
            let old = client.group;
            client.endpoint.security_mut().remove_group(old);
            let parameters = parameters(Modes::Both, gid, 1);
            let own = own(CLIENT, reserved());
            let settings = Settings::default();
            let mut group = Group::new(LIGHTS, parameters, Some(own), settings, None).unwrap();
            group.add_peer(kid(LAMP), credential(LAMP)).unwrap();
            client.group = client.endpoint.security_mut().add_group(group);
            let protection = match group_mode {
                true => Protection::Group(world.group()),
                false => to_member(&world, LAMP),
            };
            world.ask(request_to(LAMP, "t", protection));
            let sent = world.from(LAMP);
            assert_eq!(sent.len(), usize::from(answered));
            let Some(error) = sent.first() else {
                continue;
            };
            assert!(!error.is_protected());
            let error = error.message();
            assert_eq!(
                (error.code(), error.payload()),
                (expected.0, expected.1.as_bytes())
            );
            assert_eq!(error.option(OptionNumber::MAX_AGE), Some(b"".as_slice()));
        }
    }
}

// Covers: GO-7-07
#[test]
fn no_error_is_sent_when_it_is_not_known_whether_a_request_was_for_a_group() {
    let mut world = world();
    world.nodes[LAMP].endpoint.set_answer_errors(true);
    world.ask(request_to(LAMP, "t", to_member(&world, LAMP)));
    let mut replay = world.from(CLIENT)[0].bytes.clone();
    world.sent.clear();
    for (n, (local, errors)) in [("0.0.0.0:5683", 0), ("10.0.0.1:5683", 1)]
        .into_iter()
        .enumerate()
    {
        replay[2] = 0x70 + n as u8;
        let path = Path {
            socket: UNICAST,
            local: local.parse().unwrap(),
            interface: 1,
            peer: address(CLIENT),
        };
        let now = world.now;
        world.nodes[LAMP]
            .endpoint
            .handle_datagram(now, path, &replay);
        world.run();
        assert_eq!(world.from(LAMP).len(), errors, "{local}");
        assert_eq!(world.nodes[LAMP].counters().replayed, n as u64 + 1);
    }
}

// Covers: GO-B-8.4-01
#[test]
fn a_response_is_opened_for_the_request_with_its_token_and_for_no_other() {
    let mut world = world();
    world.lossy = |datagram| datagram.from == LAMP;
    world.ask_group(question(&world, "t"));
    let genuine = world.from(LAMP)[0].clone();
    let opened = |world: &World| world.nodes[CLIENT].counters().responses;
    let before = opened(&world);
    // Under a token that is nobody's.
    let mut moved = genuine.bytes.clone();
    moved[4] ^= 1;
    world.inject(CLIENT, false, address(LAMP), &moved);
    assert_eq!(world.nodes[CLIENT].endpoint.counters().unmatched, 1);
    assert_eq!(opened(&world), before, "not even looked at");
    // Under the token of another request.
    world.lossy = |_| false;
    world.nodes[LAMP].deaf = true;
    world.ask(request_to(LAMP, "t", Protection::Group(world.group())));
    let other = world.from(CLIENT).last().unwrap().message().token();
    let mut moved = genuine.bytes.clone();
    moved[4..12].copy_from_slice(other.as_bytes());
    moved[2] ^= 1;
    world.inject(CLIENT, false, address(LAMP), &moved);
    assert_eq!(opened(&world), before, "bound to its own request");
    assert_eq!(world.nodes[CLIENT].counters().not_verified, 1);
    assert_eq!(world.response(), None);
    // Under its own.
    world.inject(CLIENT, false, address(LAMP), &genuine.bytes);
    assert_eq!(opened(&world), before + 1);
    assert!(world.answers().iter().any(|a| a.sender == proven(LAMP)));
}

// Covers: GO-1.1-02
#[test]
fn a_valid_response_that_comes_after_the_client_freed_the_token_is_not_looked_at() {
    let mut world = world();
    world.lossy = |datagram| datagram.from == LAMP;
    let id = world.ask_group(question(&world, "t"));
    let late = world.from(LAMP)[0].bytes.clone();
    let opened = |world: &World| world.nodes[CLIENT].counters().responses;
    assert_eq!(opened(&world), 1, "the bell's; the exchange goes on");
    world.pass(Duration::from_secs(5));
    let mut in_time = late.clone();
    in_time[0] ^= 0x10; // the same, Confirmable, is taken as long as the token lives
    world.inject(CLIENT, false, address(LAMP), &in_time);
    assert_eq!(opened(&world), 2);
    let now = world.now;
    world.nodes[CLIENT].endpoint.close(now, id);
    world.run();
    let mut late = late;
    late[2] ^= 1;
    world.inject(CLIENT, false, address(LAMP), &late);
    assert_eq!(world.nodes[CLIENT].endpoint.counters().unmatched, 1);
    let counters = world.nodes[CLIENT].counters();
    assert_eq!((counters.responses, counters.replayed), (2, 0));
}
