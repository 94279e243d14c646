//! What can happen while a request that begins again is being protected, or while its repetition is due.

use super::*;

/// The work that nobody has done yet.
fn held(world: &mut World) -> Vec<Work> {
    core::mem::take(&mut world.nodes[CLIENT].waiting)
}

fn done(world: &mut World, work: Work) {
    let now = world.now;
    world.nodes[CLIENT].work(now, work);
    world.run();
}

/// The first answer of the lamp, as a message of its own.
fn separate(world: &World) -> Vec<u8> {
    let mut answer = world.from(LAMP)[0].bytes.clone();
    answer[0] = (answer[0] & 0xcf) | 0x10; // Non-confirmable
    answer[2..4].copy_from_slice(&[0xee, 0xee]);
    answer
}

/// The requests of the client to one peer.
fn requests(world: &World) -> Vec<Datagram> {
    let mut sent = in_person(world);
    sent.retain(|datagram| datagram.message().code().is_request());
    sent
}

#[test]
fn what_is_acknowledged_meanwhile_is_sent_no_more_and_answered_all_the_same() {
    let mut world = signing();
    let mid = in_person(&world)[0].message().message_id().0.to_be_bytes();
    world.inject(CLIENT, false, address(LAMP), &[0x60, 0, mid[0], mid[1]]);
    for work in held(&mut world) {
        done(&mut world, work);
    }
    world.pass(Duration::from_secs(20));
    assert_eq!(requests(&world).len(), 1);
    world.nodes[CLIENT].worker = Worker::Eager;
    let answer = separate(&world);
    world.inject(CLIENT, false, address(LAMP), &answer);
    assert_eq!(world.response().unwrap().0.payload, b"got");
}

#[test]
fn what_is_cancelled_meanwhile_is_sent_no_more() {
    let (mut world, id) = signing_in(hasty(Modes::GroupOnly), Code::GET);
    let now = world.now;
    world.nodes[CLIENT].endpoint.cancel(now, id);
    for work in held(&mut world) {
        done(&mut world, work);
    }
    world.pass(Duration::from_secs(20));
    assert_eq!(requests(&world).len(), 1);
    assert_eq!(world.nodes[CLIENT].endpoint.load().exchanges, 0);
}

#[test]
fn what_is_challenged_meanwhile_is_sent_with_the_echo_value_and_not_without() {
    let mut world = hasty(Modes::GroupOnly);
    world.nodes[LAMP].group().windows_unknown();
    let (mut world, _) = signing_in(world, Code::GET);
    let challenge = world.from(LAMP)[0].bytes.clone();
    world.lossy = |_| false;
    world.inject(CLIENT, false, address(LAMP), &challenge);
    let verification = world.nodes[CLIENT].waiting.pop().unwrap();
    assert!(matches!(verification.task, Task::Verify(_)));
    done(&mut world, verification);
    assert_eq!(world.nodes[CLIENT].endpoint.counters().echoed, 1);
    let mut signatures = held(&mut world);
    assert_eq!(signatures.len(), 2, "and one with the Echo value");
    done(&mut world, signatures.remove(0));
    assert_eq!(requests(&world).len(), 1, "that one is not needed");
    world.nodes[CLIENT].worker = Worker::Eager;
    done(&mut world, signatures.remove(0));
    let sent = requests(&world);
    assert_eq!(sent.len(), 2);
    assert_ne!(sent[0].bytes, sent[1].bytes);
    assert_eq!(world.response().unwrap().0.payload, b"got");
    assert_no_number_twice(&world);
}

#[test]
fn whoever_leaves_the_group_meanwhile_sends_nothing_more() {
    let mut world = signing();
    let (now, group) = (world.now, world.group());
    let client = &mut world.nodes[CLIENT].endpoint;
    assert!(client.leave_group(now, group).is_some());
    world.run();
    let left = Failure::NotProtected(NotProtected::Left);
    assert_eq!(world.failure(), Some(left));
    for work in held(&mut world) {
        done(&mut world, work);
    }
    world.pass(Duration::from_secs(20));
    assert_eq!(requests(&world).len(), 1);
}

#[test]
fn under_other_keys_or_another_sender_id_the_earlier_message_is_repeated() {
    let rekeyed = |world: &mut World| {
        for node in 0..NODES {
            super::super::groups::rekey(world, node);
        }
    };
    let renamed = |world: &mut World| {
        let group = world.nodes[CLIENT].group();
        let new = Kid::new(&[0x77]).unwrap();
        let prepared = group.prepare_sender_id(new, 64).unwrap();
        group.commit_sender_id(prepared).unwrap();
    };
    let changes: [fn(&mut World); 2] = [rekeyed, renamed];
    for change in changes {
        for method in [Code::GET, Code::PUT] {
            let (mut world, _) = signing_in(hasty(Modes::GroupOnly), method);
            change(&mut world);
            world.nodes[CLIENT].worker = Worker::Eager;
            for work in held(&mut world) {
                done(&mut world, work);
            }
            let sent = requests(&world);
            assert_eq!(sent.len(), 2);
            assert_eq!(sent[0].bytes, sent[1].bytes, "{method}");
        }
    }
}

#[test]
fn a_response_that_came_meanwhile_and_is_still_being_opened_is_not_thrown_away() {
    let (mut world, _) = signing_in(hasty(Modes::GroupOnly), Code::PUT);
    let answer = separate(&world);
    world.inject(CLIENT, false, address(LAMP), &answer);
    let mut work = held(&mut world);
    assert_eq!(work.len(), 2);
    done(&mut world, work.remove(0));
    let sent = requests(&world);
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].bytes, sent[1].bytes, "the response may be to it");
    done(&mut world, work.remove(0));
    assert_eq!(world.response().unwrap().0.payload, b"set");
}

#[test]
fn while_a_response_is_being_opened_or_its_signer_fetched_nothing_begins_again() {
    for stranger in [false, true] {
        let settings = Settings {
            dynamic: stranger,
            ..Settings::default()
        };
        let mut world = hasty_with(Modes::GroupOnly, settings);
        if stranger {
            assert!(world.nodes[CLIENT].group().remove_peer(kid(LAMP)));
        }
        world.lossy = |datagram| datagram.from == LAMP;
        world.ask(request_to(LAMP, "slow", Protection::Group(world.group())));
        command(&mut world, 40);
        world.pass(Duration::from_secs(1));
        let incoming = world.nodes[LAMP]
            .events
            .iter()
            .find_map(|event| match event {
                Event::Request { incoming, .. } => Some(*incoming),
                _ => None,
            });
        let (now, response) = (world.now, Response::new(Code::CONTENT));
        let lamp = &mut world.nodes[LAMP].endpoint;
        lamp.respond(now, incoming.unwrap(), response);
        world.run();
        let answer = world.from(LAMP).last().unwrap().bytes.clone();
        assert_eq!(Message::parse(&answer).unwrap().kind(), Type::Con);
        world.nodes[CLIENT].worker = Worker::Held;
        world.inject(CLIENT, false, address(LAMP), &answer);
        world.pass(Duration::from_secs(2));
        let sent = requests(&world);
        assert_eq!(sent.len(), 2, "{stranger}");
        assert_eq!(sent[0].bytes, sent[1].bytes);
        world.nodes[CLIENT].worker = Worker::Eager;
        for work in held(&mut world) {
            done(&mut world, work);
        }
        assert_eq!(world.response().unwrap().0.code, Code::CONTENT);
    }
}
