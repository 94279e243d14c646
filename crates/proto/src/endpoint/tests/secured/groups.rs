//! Questions to a group under Group OSCORE, and the answers.

use super::*;

// Covers: GC-5-01, GC-5-02, GO-7-02, GO-7-03, GC-6.2.2-01
#[test]
fn a_protected_question_is_answered_by_every_member_with_its_proven_identity() {
    let mut world = world();
    world.ask_group(GroupRequest {
        expect: both(),
        ..question(&world, "t")
    });
    let asked = world.from(CLIENT)[0].clone();
    assert!(asked.route.is_multicast());
    assert_eq!(asked.message().kind(), Type::Non);
    assert_eq!(asked.message().code(), Code::POST, "the method is hidden");
    assert!(asked.option().group_flag, "group mode is the default");
    assert_eq!(asked.option().kid, Some(kid(CLIENT).as_bytes()));
    assert!(
        !asked.bytes.windows(2).any(|two| two == b"\xb1t"),
        "no path in the clear"
    );
    let answers = world.answers();
    assert_eq!(answers.len(), 2);
    for (answer, node) in answers.iter().zip([LAMP, BELL]) {
        assert_eq!(answer.sender, proven(node));
        assert_eq!(answer.response.code, Code::CONTENT);
        assert_eq!(
            answer.response.payload,
            alloc::format!("I am {node}").as_bytes()
        );
    }
    let outcome = world.outcome();
    assert!(outcome.is_complete());
    assert_eq!(
        outcome.answered().collect::<Vec<_>>(),
        [("lamp", 1), ("bell", 1)]
    );
    for node in [LAMP, BELL] {
        let seen = world.nodes[node].seen.lock().unwrap().clone().unwrap();
        assert_eq!(seen.sender, proven(CLIENT));
        assert_eq!(
            seen.group.unwrap().security_group,
            SecurityGroup::Named(LIGHTS.into())
        );
        let answer = world.from(node)[0];
        assert!(answer.option().group_flag, "group mode answers group mode");
        assert_eq!(answer.option().kid, Some(kid(node).as_bytes()));
        assert!(answer.option().partial_iv.is_some(), "an own Partial IV");
        assert_eq!(answer.message().code(), Code::CHANGED);
        assert_eq!(answer.message().kind(), Type::Non);
    }
    world.sent.clear();
    world.pass(Duration::from_secs(60));
    assert!(
        world.from(CLIENT).is_empty(),
        "no retransmission by the messaging layer"
    );
}

// Covers: GO-7-04
#[test]
fn repeats_of_a_protected_question_are_the_same_ciphertext() {
    for (repeat, same_id) in [
        (Repeat::SameMessage(2), true),
        (Repeat::NewMessageId(2), false),
    ] {
        let mut world = world();
        world.ask_group(GroupRequest {
            repeat,
            ..question(&world, "t")
        });
        world.pass(Duration::from_secs(30));
        let sent = world.from(CLIENT);
        assert_eq!(sent.len(), 3);
        for again in &sent[1..] {
            assert_eq!(again.bytes[4..], sent[0].bytes[4..], "all but the header");
            assert_eq!(again.bytes[2..4] == sent[0].bytes[2..4], same_id);
        }
        for node in [LAMP, BELL] {
            assert_eq!(world.nodes[node].handled(), 1, "processed once");
            let replayed = world.nodes[node].counters().replayed;
            assert_eq!(replayed, if same_id { 0 } else { 2 });
        }
        assert_eq!(world.answers().len(), 2);
    }
}

#[test]
fn a_silent_member_is_asked_in_person_under_keys_of_two() {
    let mut world = world();
    world.nodes[BELL].deaf = true;
    world.ask_group(GroupRequest {
        expect: both(),
        completion: Completion::Unicast {
            at_once: 4,
            within: None,
        },
        ..question(&world, "t")
    });
    assert_eq!(world.answers().len(), 1);
    world.nodes[BELL].deaf = false;
    world.sent.clear();
    world.pass(Duration::from_secs(8));
    let sent = world.from(CLIENT);
    let asked = sent[0];
    assert_eq!(asked.route.destination, address(BELL));
    assert_eq!(asked.message().kind(), Type::Con);
    assert!(!asked.option().group_flag, "pairwise mode");
    let first = world.from(BELL);
    assert!(!first[0].option().group_flag, "answered in pairwise mode");
    let outcome = world.outcome();
    assert_eq!(
        outcome.answered().collect::<Vec<_>>(),
        [("lamp", 1), ("bell", 1)]
    );
    let answers = world.answers();
    let last = answers.last().unwrap();
    assert_eq!(last.sender, proven(BELL));
    assert_eq!(last.how, crate::collection::How::Unicast);
}

#[test]
fn a_member_known_by_its_address_alone_is_asked_in_person_in_group_mode() {
    let mut world = world();
    world.nodes[BELL].deaf = true;
    world.ask_group(GroupRequest {
        expect: [LAMP, BELL].map(address).into_iter().collect(),
        completion: Completion::Unicast {
            at_once: 4,
            within: None,
        },
        ..question(&world, "t")
    });
    world.nodes[BELL].deaf = false;
    world.sent.clear();
    world.pass(Duration::from_secs(8));
    assert!(world.from(CLIENT)[0].option().group_flag);
    assert!(world.outcome().is_complete());
}

#[test]
fn a_question_is_protected_when_it_leaves_and_not_before() {
    let mut world = world();
    let first = question(&world, "wait");
    let second = question(&world, "t");
    world.ask_group(first);
    let id = world.ask_group(second);
    let next = |world: &mut World| world.nodes[CLIENT].group().sequence().unwrap().next();
    assert_eq!(
        next(&mut world),
        1,
        "the second waits for its turn (NSTART)"
    );
    let now = world.now;
    world.nodes[CLIENT].endpoint.close(now, id);
    world.pass(Duration::from_secs(60));
    assert_eq!(
        next(&mut world),
        1,
        "and burns no number when it is cancelled"
    );
}

// Covers: GO-7.3-01
#[test]
fn answers_are_protected_when_their_leisure_is_over_under_the_keys_of_then() {
    let mut world = world_of(
        Modes::Both,
        Settings {
            retention: Duration::from_secs(60),
            ..Settings::default()
        },
    );
    world.ask_group(question(&world, "wait"));
    let before = world.nodes[LAMP].group().sequence().unwrap().next();
    assert_eq!(before, 0, "nothing is protected yet");
    for node in 0..NODES {
        rekey(&mut world, node);
    }
    world.pass(Duration::from_secs(4));
    let answers = world.from(LAMP);
    assert_eq!(answers.len(), 1);
    assert_eq!(
        answers[0].option().kid_context,
        Some([0x47, 2].as_slice()),
        "the latest Gid, and it is named"
    );
    let senders: Vec<_> = world.answers().iter().map(|a| a.sender.clone()).collect();
    assert_eq!(senders.len(), 2, "the collection knows what it asked");
    assert!(senders.contains(&proven(LAMP)) && senders.contains(&proven(BELL)));
}

/// Installs the next keys at one host.
pub(super) fn rekey(world: &mut World, node: usize) {
    let now = crate::security::at(world.now);
    let group = world.nodes[node].group();
    let modes = match group.suite().has_pairwise_mode() {
        true => Modes::Both,
        false => Modes::GroupOnly,
    };
    let generation = group.generation() + 1;
    let parameters = parameters(modes, generation as u8, generation);
    let stale = Stale::Since {
        generation: generation - 1,
        kids: alloc::vec![],
    };
    let prepared = group
        .prepare_install(parameters, None, stale, 1_000)
        .unwrap();
    group.commit_install(prepared, now).unwrap();
}

#[test]
fn an_answer_under_keys_that_were_replaced_before_its_signature_is_protected_anew() {
    let mut world = world_of(
        Modes::Both,
        Settings {
            retention: Duration::from_secs(60),
            ..Settings::default()
        },
    );
    world.nodes[LAMP].worker = Worker::Held;
    world.ask_group(question(&world, "t"));
    let verify = world.nodes[LAMP].waiting.pop().unwrap();
    let now = world.now;
    world.nodes[LAMP].work(now, verify);
    world.run();
    let sign = world.nodes[LAMP].waiting.pop().unwrap();
    assert!(matches!(sign.task, Task::Sign(_)));
    for node in 0..NODES {
        rekey(&mut world, node);
    }
    world.nodes[LAMP].worker = Worker::Eager;
    world.nodes[LAMP].work(now, sign);
    world.run();
    let sent = world.from(LAMP);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].option().kid_context, Some([0x47, 2].as_slice()));
    assert!(world.answers().iter().any(|a| a.sender == proven(LAMP)));
}

// Covers: GC-5-10
#[test]
fn a_question_that_cannot_be_protected_says_why_and_goes_nowhere() {
    let mut world = world();
    world.nodes[CLIENT].group().mark_lost();
    world.ask_group(question(&world, "t"));
    assert_eq!(
        world.outcome().ended_by,
        crate::collection::EndedBy::NotProtected(NotProtected::Lost)
    );
    assert!(world.sent.is_empty());
    let context = ContextId::Group(world.group());
    assert!(
        world.nodes[CLIENT]
            .events
            .contains(&Event::Security(SecurityEvent::Lost(context)))
    );
}

// Covers: GC-3.1-29
#[test]
fn an_answer_of_before_does_not_answer_a_question_that_has_its_token_again() {
    let mut world = world();
    // The lamp's answer to the first question is held back on the way.
    world.lossy = |datagram| datagram.from == LAMP;
    let first = world.ask_group(question(&world, "t"));
    let mut held_back = world.from(LAMP)[0].bytes.clone();
    let now = world.now;
    world.nodes[CLIENT].endpoint.close(now, first);
    world.pass(Transmission::default().min_token_reuse(None));
    world.forget_sent();
    world.nodes[BELL].deaf = true;
    world.ask_group(question(&world, "t"));
    // It arrives when its token is that of another question.
    let token = world.from(CLIENT)[0].message().token();
    held_back[4..12].copy_from_slice(token.as_bytes());
    let refused = world.nodes[CLIENT].counters().not_verified;
    world.inject(CLIENT, false, address(LAMP), &held_back);
    assert_eq!(world.nodes[CLIENT].counters().not_verified, refused + 1);
    assert!(world.answers().is_empty());
    // The answer to this question still comes.
    let genuine = world.from(LAMP)[0].bytes.clone();
    world.inject(CLIENT, false, address(LAMP), &genuine);
    assert_eq!(world.answers().len(), 1);
}
