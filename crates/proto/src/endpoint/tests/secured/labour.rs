//! The worker is late, clumsy, overtaken by itself, or gone.

use super::*;
use crate::security::Fetch;
use crate::work::WorkId;

impl World {
    /// The work that waits at one host.
    pub(super) fn work_of(&mut self, node: usize) -> Vec<Work> {
        core::mem::take(&mut self.nodes[node].waiting)
    }

    fn do_work(&mut self, node: usize, work: Work) {
        let now = self.now;
        self.nodes[node].work(now, work);
        self.run();
    }
}

#[test]
fn answers_are_delivered_in_the_order_in_which_they_are_verified() {
    let mut world = world();
    world.nodes[CLIENT].worker = Worker::Held;
    world.ask_group(question(&world, "t"));
    let sign = world.work_of(CLIENT).pop().unwrap();
    assert!(matches!(sign.task, Task::Sign(_)));
    assert!(world.sent.is_empty(), "not before it is signed");
    world.do_work(CLIENT, sign);
    let mut verify = world.work_of(CLIENT);
    assert_eq!(verify.len(), 2);
    assert!(world.answers().is_empty(), "not before it is verified");
    assert_eq!(world.nodes[CLIENT].endpoint.load().parked, 2);
    let first = verify.remove(0);
    let second = verify.remove(0);
    world.do_work(CLIENT, second);
    world.do_work(CLIENT, first);
    let senders: Vec<_> = world.answers().iter().map(|a| a.sender.clone()).collect();
    assert_eq!(senders, [proven(BELL), proven(LAMP)]);
    assert_eq!(world.nodes[CLIENT].endpoint.load().parked, 0);
}

#[test]
fn a_result_for_another_message_opens_nothing() {
    let mut world = world();
    world.nodes[LAMP].worker = Worker::Held;
    world.ask_group(question(&world, "t"));
    world.pass(Duration::from_secs(11)); // the first waits too long, and its result comes later
    let late = world.work_of(LAMP).pop().unwrap();
    let outcome = world.outcome().clone();
    assert_eq!(outcome.ended_by, crate::collection::EndedBy::Deadline);
    world.do_work(LAMP, late);
    assert_eq!(world.nodes[LAMP].handled(), 0);
    // The result of one message with the id of another.
    world.ask_group(question(&world, "t"));
    let first = world.work_of(LAMP).pop().unwrap();
    world.pass(Duration::from_secs(9));
    world.pass(Duration::from_secs(2));
    world.ask_group(question(&world, "t"));
    let second = world.work_of(LAMP).pop().unwrap();
    let mixed = Work {
        id: second.id,
        task: first.task,
    };
    world.do_work(LAMP, mixed);
    assert_eq!(
        world.nodes[LAMP].handled(),
        0,
        "not verified by another's result"
    );
    let now = world.now;
    let wrong = WorkResult::Signed(alloc::vec![0; 64]);
    world.nodes[LAMP].endpoint.work_done(now, second.id, wrong);
    world.run();
    assert_eq!(world.nodes[LAMP].handled(), 0);
}

#[test]
fn work_that_never_comes_back_ends_what_waits_for_it() {
    let mut world = world();
    world.nodes[CLIENT].worker = Worker::Held;
    world.ask_group(question(&world, "t"));
    world.ask(request_to(BELL, "t", Protection::Group(world.group())));
    assert_eq!(world.nodes[CLIENT].endpoint.load().parked, 2);
    world.pass(Duration::from_micros(9_999_999));
    assert_eq!(world.nodes[CLIENT].endpoint.load().parked, 2);
    assert_eq!(world.nodes[CLIENT].endpoint.counters().parking_expired, 0);
    world.pass(Duration::from_micros(1));
    assert_eq!(world.nodes[CLIENT].endpoint.load().parked, 0);
    let counters = world.nodes[CLIENT].endpoint.counters();
    assert_eq!((counters.parking_full, counters.parking_expired), (0, 2));
    let why = NotProtected::NoSignature;
    let ended = world.outcome().ended_by;
    assert_eq!(ended, crate::collection::EndedBy::NotProtected(why));
    assert_eq!(world.failure(), Some(Failure::NotProtected(why)));
    assert!(world.sent.is_empty());
    for work in world.work_of(CLIENT) {
        world.do_work(CLIENT, work);
    }
    assert!(world.sent.is_empty(), "and late results send nothing");
}

#[test]
fn a_key_that_fails_ends_what_was_to_be_signed_and_loses_what_was_to_be_opened() {
    let mut world = world();
    world.nodes[CLIENT].worker = Worker::Fails;
    world.ask_group(question(&world, "t"));
    let why = NotProtected::NoSignature;
    assert_eq!(
        world.outcome().ended_by,
        crate::collection::EndedBy::NotProtected(why)
    );
    assert_eq!(world.nodes[CLIENT].counters().not_protected, 1);
    world.nodes[CLIENT].worker = Worker::Eager;
    world.nodes[LAMP].worker = Worker::Fails;
    world.forget_sent();
    world.ask_group(question(&world, "t"));
    assert_eq!(world.answers().len(), 1, "the other one");
    assert_eq!(world.nodes[LAMP].handled(), 0);
    assert_eq!(world.nodes[LAMP].counters().key_failures, 1);
    // An answer that cannot be signed is not sent; its handler has run.
    world.nodes[LAMP].worker = Worker::Held;
    world.forget_sent();
    let now = world.now;
    let open = world.nodes[CLIENT].endpoint.collections_mut();
    let open: Vec<_> = (1..9)
        .map(CollectionId)
        .filter(|id| open.status(now, *id).is_some())
        .collect();
    for id in open {
        world.nodes[CLIENT].endpoint.close(now, id);
    }
    world.ask_group(question(&world, "t"));
    let verify = world.work_of(LAMP).pop().unwrap();
    world.do_work(LAMP, verify);
    let sign = world.work_of(LAMP).pop().unwrap();
    let failed = WorkResult::Failed(WorkFailure::Key);
    world.nodes[LAMP].endpoint.work_done(now, sign.id, failed);
    world.run();
    assert!(world.from(LAMP).is_empty());
    assert_eq!(world.nodes[LAMP].handled(), 1);
    assert_eq!(world.nodes[LAMP].counters().not_protected, 1);
}

#[test]
fn nothing_is_protected_before_its_number_is_reserved_and_more_are_reserved_ahead() {
    let mut world = world();
    let settings = SequenceSettings {
        block: 8,
        ..SequenceSettings::default()
    };
    let node = &mut world.nodes[CLIENT];
    let id = node.group;
    node.endpoint.security_mut().remove_group(id);
    let group = group_of(
        CLIENT,
        Modes::Both,
        Sequence::new(settings),
        Settings::default(),
    );
    node.group = node.endpoint.security_mut().add_group(group);
    node.worker = Worker::Held;
    let ask = |world: &mut World| {
        let unicast = request_to(LAMP, "t", to_member(world, LAMP));
        world.ask(unicast);
    };
    ask(&mut world);
    assert!(world.sent.is_empty(), "it waits for its number");
    let (mut store, agree): (Vec<_>, Vec<_>) = world
        .work_of(CLIENT)
        .into_iter()
        .partition(|work| matches!(work.task, Task::Store { .. }));
    assert_eq!((store.len(), agree.len()), (1, 1));
    for agree in agree {
        world.do_work(CLIENT, agree);
    }
    assert!(world.sent.is_empty() && world.work_of(CLIENT).is_empty());
    let store = store.pop().unwrap();
    let Task::Store { record, context } = &store.task else {
        panic!("{store:?}")
    };
    assert_eq!(*context, ContextId::Group(world.group()));
    let Record::Reserved {
        gid,
        sender_id,
        upto,
    } = record.clone()
    else {
        panic!("{record:?}")
    };
    assert_eq!((gid.as_slice(), upto), ([0x47, 1].as_slice(), 8));
    assert_eq!(sender_id, kid(CLIENT).as_bytes());
    // It could not be stored: it is said, and tried again a second later.
    let now = world.now;
    let failed = WorkResult::Failed(WorkFailure::System(28));
    world.nodes[CLIENT]
        .endpoint
        .work_done(now, store.id, failed);
    world.run();
    let context = ContextId::Group(world.group());
    assert!(
        world.nodes[CLIENT]
            .events
            .contains(&Event::Security(SecurityEvent::NotReserved(context)))
    );
    assert!(world.work_of(CLIENT).is_empty());
    world.pass(Duration::from_micros(999_999));
    assert!(world.work_of(CLIENT).is_empty());
    world.pass(Duration::from_micros(1));
    let store = world.work_of(CLIENT).pop().unwrap();
    world.nodes[CLIENT].worker = Worker::Eager;
    world.do_work(CLIENT, store);
    assert_eq!(
        world.response().unwrap().1,
        &proven(LAMP),
        "now it is asked"
    );
    // At half a block the next is reserved, before anyone has to wait.
    let stored = |world: &World| world.nodes[CLIENT].stored.len();
    assert_eq!(stored(&world), 1);
    for _ in 0..2 {
        ask(&mut world);
        assert_eq!(stored(&world), 1);
    }
    ask(&mut world);
    assert_eq!(stored(&world), 2);
    let next = world.nodes[CLIENT].group().sequence().unwrap();
    assert_eq!((next.next(), next.reserved_upto()), (4, 16));
}

#[test]
fn what_waits_for_a_number_does_not_wait_for_ever() {
    let mut world = world();
    let node = &mut world.nodes[CLIENT];
    let id = node.group;
    node.endpoint.security_mut().remove_group(id);
    let fresh = Sequence::new(SequenceSettings::default());
    let group = group_of(CLIENT, Modes::GroupOnly, fresh, Settings::default());
    node.group = node.endpoint.security_mut().add_group(group);
    node.worker = Worker::Held;
    world.ask_group(question(&world, "t"));
    for _ in 0..9 {
        world.pass(Duration::from_secs(1));
        // Every call of `handle_timeout` tries again, which makes it no younger.
        assert_eq!(world.nodes[CLIENT].endpoint.load().parked, 1);
    }
    world.pass(Duration::from_secs(1));
    let why = NotProtected::NotReserved;
    assert_eq!(
        world.outcome().ended_by,
        crate::collection::EndedBy::NotProtected(why)
    );
    assert_eq!(world.nodes[CLIENT].endpoint.load().parked, 0);
    assert_eq!(
        world.work_of(CLIENT).len(),
        1,
        "one reservation, asked for once"
    );
}

#[test]
fn numbers_reserved_for_replaced_keys_are_none_for_the_new_ones() {
    let mut world = world();
    let node = &mut world.nodes[CLIENT];
    let id = node.group;
    node.endpoint.security_mut().remove_group(id);
    let fresh = Sequence::new(SequenceSettings::default());
    let group = group_of(CLIENT, Modes::Both, fresh, Settings::default());
    node.group = node.endpoint.security_mut().add_group(group);
    node.worker = Worker::Held;
    world.ask(request_to(LAMP, "t", to_member(&world, LAMP)));
    let store = world.work_of(CLIENT).pop().unwrap();
    let now = crate::security::at(world.now);
    let group = world.nodes[CLIENT].group();
    let stale = Stale::Since {
        generation: 1,
        kids: Vec::new(),
    };
    let next = parameters(Modes::Both, 2, 2);
    let prepared = group.prepare_install(next, None, stale, 0).unwrap();
    group.commit_install(prepared, now).unwrap();
    let now = world.now;
    world.nodes[CLIENT]
        .endpoint
        .work_done(now, store.id, WorkResult::Done);
    world.run();
    assert!(
        world.sent.is_empty(),
        "nothing is reserved under the new keys"
    );
    let upto = world.nodes[CLIENT]
        .group()
        .sequence()
        .unwrap()
        .reserved_upto();
    assert_eq!(upto, 0);
    let store = world.work_of(CLIENT).pop().expect("it is asked for anew");
    assert!(matches!(
        &store.task,
        Task::Store { record: Record::Reserved { gid, .. }, .. } if *gid == [0x47, 2]
    ));
}

#[test]
fn a_confirmable_request_whose_answer_waits_is_acknowledged_and_answered_separately() {
    let mut world = world();
    world.nodes[LAMP]
        .endpoint
        .set_answers(AnswerMode::AsRequested);
    world.nodes[LAMP].worker = Worker::Held;
    world.ask(request_to(LAMP, "t", Protection::Group(world.group())));
    let verify = world.work_of(LAMP).pop().unwrap();
    world.do_work(LAMP, verify);
    let sign = world.work_of(LAMP).pop().unwrap();
    assert!(matches!(sign.task, Task::Sign(_)));
    world.pass(Duration::from_micros(499_999));
    assert!(world.from(LAMP).is_empty());
    world.pass(Duration::from_micros(1));
    let acknowledged = world.from(LAMP)[0].message();
    assert_eq!(
        (acknowledged.kind(), acknowledged.code()),
        (Type::Ack, Code::EMPTY)
    );
    world.do_work(LAMP, sign);
    let separate = world.from(LAMP)[1].clone();
    assert_eq!(separate.message().kind(), Type::Con);
    assert!(separate.is_protected());
    assert_eq!(world.response().unwrap().1, &proven(LAMP));
    world.sent.clear();
    world.pass(Duration::from_secs(60));
    assert!(world.from(LAMP).is_empty(), "acknowledged, so not repeated");
}

#[test]
fn a_thousand_signatures_to_verify_do_not_delay_an_acknowledgement() {
    let mut world = world();
    world.nodes[CLIENT].worker = Worker::Held;
    world.ask_group(question(&world, "t"));
    let sign = world.work_of(CLIENT).pop().unwrap();
    world.do_work(CLIENT, sign);
    let answer = world.from(LAMP)[0].bytes.clone();
    for n in 0..1_000_u16 {
        let mut copy = answer.clone();
        copy[2..4].copy_from_slice(&n.to_be_bytes());
        let peer = ([10, 9, (n >> 8) as u8, n as u8], 5683).into();
        world.inject(CLIENT, false, peer, &copy);
    }
    let parked = world.nodes[CLIENT].endpoint.load().parked;
    assert_eq!(parked, 1_002);
    // A ping and an unprotected request are answered in the same round, without any work.
    world.sent.clear();
    world.inject(CLIENT, false, address(BELL), &[0x40, 0, 0x12, 0x34]);
    assert_eq!(world.from(CLIENT)[0].bytes, [0x70, 0, 0x12, 0x34]);
    world.sent.clear();
    let discovery = message(
        Type::Con,
        Code::GET,
        77,
        &[
            (OptionNumber::URI_PATH, b".well-known"),
            (OptionNumber::URI_PATH, b"core"),
        ],
    );
    world.inject(CLIENT, false, address(BELL), &discovery);
    assert_eq!(
        parsed(&world.from(CLIENT)[0].bytes),
        (Type::Ack, Code::CONTENT, 77)
    );
    let verify = world.work_of(CLIENT);
    assert_eq!(verify.len(), 1_002);
    for work in verify {
        world.do_work(CLIENT, work);
    }
    assert_eq!(world.answers().len(), 2, "the copies are replays");
    assert_eq!(world.nodes[CLIENT].counters().replayed, 1_000);
}

// Covers: GO-7.2-02, GO-7.2-03, GO-7.4-02, GO-7.4-03
#[test]
fn the_credential_of_an_unknown_member_is_fetched_once_if_that_is_wanted() {
    for dynamic in [true, false] {
        let settings = Settings {
            dynamic,
            ..Settings::default()
        };
        let mut world = world_of(Modes::Both, settings);
        for node in [CLIENT, LAMP] {
            let other = if node == CLIENT { LAMP } else { CLIENT };
            assert!(world.nodes[node].group().remove_peer(kid(other)));
        }
        world.nodes[LAMP].worker = Worker::Held;
        world.ask_group(GroupRequest {
            repeat: Repeat::NewMessageId(2),
            ..question(&world, "t")
        });
        world.pass(Duration::from_secs(7));
        let fetches = world.work_of(LAMP);
        assert_eq!(fetches.len(), usize::from(dynamic), "one, for two messages");
        if !dynamic {
            assert_eq!(world.nodes[LAMP].counters().no_context, 2);
            assert_eq!(world.nodes[LAMP].group().peer_count(), 1);
            assert_eq!(world.nodes[LAMP].handled(), 0);
            assert!(world.answers().iter().all(|a| a.sender == proven(BELL)));
            continue;
        }
        assert_eq!(world.nodes[LAMP].endpoint.load().parked, 2);
        world.nodes[LAMP].worker = Worker::Eager;
        for fetch in fetches {
            assert!(
                matches!(&fetch.task, Task::LoadCredential { kid: k, .. } if *k == kid(CLIENT))
            );
            world.do_work(LAMP, fetch);
        }
        // Whoever was deleted before is challenged; the client fetches the lamp's credential to open that, and answers.
        assert_eq!(world.nodes[LAMP].handled(), 1);
        assert!(world.answers().iter().any(|a| a.sender == proven(LAMP)));
    }
}

#[test]
fn a_member_that_does_not_exist_is_not_asked_for_again_and_again() {
    let settings = Settings {
        dynamic: true,
        ..Settings::default()
    };
    let mut world = world_of(Modes::Both, settings);
    world.nodes[LAMP].worker = Worker::Held;
    world.nodes[BELL].deaf = true;
    world.ask_group(question(&world, "t"));
    let mut strange = world.from(CLIENT)[0].bytes.clone();
    let at = strange.windows(2).position(|w| w == [1, 0x50]).unwrap() + 1;
    world.work_of(LAMP);
    let mut fetched = 0;
    for n in 0..40_u8 {
        strange[at] = 0xa0 + n % 20;
        strange[2..4].copy_from_slice(&[9, n]);
        world.inject(LAMP, true, address(100 + usize::from(n)), &strange);
        for fetch in world.work_of(LAMP) {
            assert!(matches!(fetch.task, Task::LoadCredential { .. }));
            fetched += 1;
            let now = world.now;
            let nobody = WorkResult::Credential(None);
            world.nodes[LAMP].endpoint.work_done(now, fetch.id, nobody);
        }
    }
    assert_eq!(fetched, 16, "sixteen in a second, whoever claims to be one");
    world.pass(Duration::from_secs(2));
    strange[at] = 0xa0;
    strange[2..4].copy_from_slice(&[10, 0]);
    world.inject(LAMP, true, address(CLIENT), &strange);
    assert!(
        world.work_of(LAMP).is_empty(),
        "it is known not to be there"
    );
    world.pass(Duration::from_secs(60));
    strange[2..4].copy_from_slice(&[10, 1]);
    world.inject(LAMP, true, address(CLIENT), &strange);
    assert_eq!(world.work_of(LAMP).len(), 1, "for a minute");
    assert_eq!(world.nodes[LAMP].endpoint.load().parked, 1);
}

#[test]
fn threat_32_one_source_leaves_the_credentials_of_others_to_be_fetched() {
    let settings = Settings {
        dynamic: true,
        ..Settings::default()
    };
    let mut world = world_of(Modes::Both, settings);
    world.nodes[LAMP].worker = Worker::Held;
    world.nodes[BELL].deaf = true;
    world.ask_group(question(&world, "t"));
    let mut strange = world.from(CLIENT)[0].bytes.clone();
    let at = strange.windows(2).position(|w| w == [1, 0x50]).unwrap() + 1;
    world.work_of(LAMP);
    let mut fetched = |world: &mut World, source: usize, n: u16| {
        strange[at] = 0xa0 + (n % 80) as u8;
        strange[2..4].copy_from_slice(&(0x4000 + n).to_be_bytes());
        world.inject(LAMP, true, address(source), &strange);
        let work = world.work_of(LAMP);
        for fetch in &work {
            let nobody = WorkResult::Credential(None);
            world.nodes[LAMP]
                .endpoint
                .work_done(world.now, fetch.id, nobody);
        }
        work.len()
    };
    let one: usize = (0..20).map(|n| fetched(&mut world, 100, n)).sum();
    assert_eq!(one, 4, "in a second");
    assert_eq!(fetched(&mut world, 101, 20), 1, "the others have their own");
    world.pass(Duration::from_millis(300));
    assert_eq!(fetched(&mut world, 100, 21), 1, "and it comes back");
}

#[test]
fn credentials_that_are_not_there_are_forgotten_before_others_are_not_asked_for() {
    let settings = Settings {
        dynamic: true,
        ..Settings::default()
    };
    let mut world = world_of(Modes::Both, settings);
    let group = world.group();
    let (now, source) = (world.now, address(CLIENT).ip());
    let guard = &mut world.nodes[LAMP].endpoint.guard;
    let id = |n: u16| Kid::new(&n.to_be_bytes()).unwrap();
    let mut at = now;
    for n in 0..300 {
        at = at + Duration::from_millis(190); // all within the minute for which they are remembered
        let source = address(1_000 + usize::from(n)).ip();
        let fetch = guard.fetch(at, source, group, id(n));
        assert_eq!(fetch, Fetch::Ask, "{n}");
        let work = WorkId(1_000 + u64::from(n));
        guard.fetching(at, group, id(n), work);
        assert!(guard.fetched(at, work, false).is_some());
        assert_eq!(
            guard.fetch(at, source, group, id(n)),
            Fetch::Drop,
            "not again"
        );
    }
    assert_eq!(guard.fetch(at, source, group, id(44)), Fetch::Drop);
    assert_eq!(
        guard.fetch(at, source, group, id(43)),
        Fetch::Ask,
        "the oldest"
    );
}

// Covers: GO-7.2-05, GO-7.2-19
#[test]
fn a_client_whose_credential_is_not_found_is_told_when_to_try_again_if_errors_are_answered() {
    for (answered, multicast) in [(true, false), (true, true), (false, false)] {
        let settings = Settings {
            dynamic: true,
            ..Settings::default()
        };
        let mut world = world_of(Modes::Both, settings);
        let lamp = &mut world.nodes[LAMP];
        lamp.endpoint.set_answer_errors(answered);
        lamp.group().remove_peer(kid(CLIENT));
        lamp.worker = Worker::Held;
        match multicast {
            true => {
                world.ask_group(question(&world, "t"));
            }
            false => {
                world.ask(request_to(LAMP, "t", Protection::Group(world.group())));
            }
        }
        let fetch = world.work_of(LAMP).pop().unwrap();
        let (now, nobody) = (world.now, WorkResult::Credential(None));
        world.nodes[LAMP].endpoint.work_done(now, fetch.id, nobody);
        world.run();
        let sent = world.from(LAMP);
        if !answered || multicast {
            assert!(sent.is_empty(), "{answered} {multicast}");
            continue;
        }
        let error = sent[0].message();
        assert_eq!(error.code(), Code::SERVICE_UNAVAILABLE);
        let again = error.option(OptionNumber::MAX_AGE);
        assert_eq!(again.and_then(antiphon_wire::decode_uint), Some(60));
        assert!(world.response().is_none(), "to the client it is a hint");
    }
}

#[test]
fn whoever_finds_no_room_to_wait_for_a_signature_is_told_and_counted() {
    let mut config = trusting();
    config.parking.messages = 1;
    let mut world = world_with(Modes::Both, Settings::default(), config);
    world.nodes[CLIENT].worker = Worker::Held;
    world.ask_group(question(&world, "t"));
    assert_eq!(world.nodes[CLIENT].endpoint.load().parked, 1);
    world.ask(request_to(BELL, "t", Protection::Group(world.group())));
    let why = NotProtected::Crowded;
    assert_eq!(world.failure(), Some(Failure::NotProtected(why)));
    let counters = world.nodes[CLIENT].endpoint.counters();
    assert_eq!((counters.parking_full, counters.parking_expired), (1, 0));
    assert!(world.sent.is_empty());
}
