//! New keys while the endpoint runs, and leaving a security group.

use super::*;

impl World {
    fn leave(&mut self, node: usize) -> Option<Group> {
        let (now, id) = (self.now, self.nodes[node].group);
        let group = self.nodes[node].endpoint.leave_group(now, id);
        self.run();
        group
    }

    fn failures(&self) -> Vec<Failure> {
        let failed = |event: &Event| match event {
            Event::Failed { failure, .. } => Some(*failure),
            _ => None,
        };
        self.nodes[CLIENT]
            .events
            .iter()
            .filter_map(failed)
            .collect()
    }
}

// Covers: GO-5.1-03
#[test]
fn whoever_leaves_ends_what_it_has_asked_and_refuses_what_comes_later() {
    let mut world = world();
    // Answers that are on their way when the client leaves.
    world.ask_group(GroupRequest {
        late: Some(Duration::from_secs(100)),
        ..question(&world, "wait")
    });
    world.ask(request_to(LAMP, "slow", to_member(&world, LAMP)));
    world.ask(request_to(BELL, "slow", Protection::Group(world.group())));
    let before = world.nodes[CLIENT].endpoint.load();
    assert_eq!((before.exchanges, world.failures().len()), (2, 0));
    let incoming = world.nodes[LAMP]
        .events
        .iter()
        .find_map(|event| match event {
            Event::Request { incoming, .. } => Some(*incoming),
            _ => None,
        });
    let tokens: Vec<_> = world
        .from(CLIENT)
        .iter()
        .map(|sent| sent.message().token())
        .collect();
    assert!(world.leave(CLIENT).is_some());

    // The tokens are free: no table knows them any more.
    let left = Failure::NotProtected(NotProtected::Left);
    assert_eq!(world.failures(), [left, left]);
    assert_eq!(
        world.outcome().ended_by,
        crate::collection::EndedBy::NotProtected(NotProtected::Left)
    );
    let after = world.nodes[CLIENT].endpoint.load();
    assert_eq!((after.exchanges, after.confirmables), (0, 0));
    assert!(world.nodes[CLIENT].endpoint.collections_mut().is_empty());
    assert!(world.leave(CLIENT).is_none(), "left already");

    // Late answers, each under one of these tokens, are refused: they reach nobody.
    world.forget_sent();
    let unmatched = world.nodes[CLIENT].endpoint.counters().unmatched;
    let (now, late) = (world.now, Response::new(Code::CONTENT));
    let lamp = &mut world.nodes[LAMP].endpoint;
    lamp.respond(now, incoming.unwrap(), late);
    world.run();
    world.pass(Duration::from_secs(5));
    let late: Vec<_> = [LAMP, BELL]
        .iter()
        .flat_map(|node| world.from(*node))
        .filter(|sent| sent.is_protected())
        .collect();
    assert_eq!(
        late.len(),
        3,
        "both answer the question to the group, one what it was asked"
    );
    assert!(
        late.iter()
            .all(|sent| tokens.contains(&sent.message().token()))
    );
    let counters = world.nodes[CLIENT].endpoint.counters();
    assert_eq!(counters.unmatched - unmatched, 3);
    assert_eq!(counters.security.responses, 0);
    assert!(world.answers().is_empty() && world.response().is_none());
    assert!(world.nodes[CLIENT].events.is_empty());
    assert!(
        world.from(CLIENT).iter().all(|sent| sent.bytes.len() == 4),
        "nothing is asked again"
    );
}

#[test]
fn what_is_asked_in_another_group_goes_on_when_one_is_left() {
    let mut world = world();
    let now = world.now;
    let other = {
        let parameters = Parameters {
            gid: Gid::new(b"other").unwrap(),
            ..parameters(Modes::Both, 9, 1)
        };
        let own = Some(own(CLIENT, reserved()));
        let mut group = Group::new("other", parameters, own, Settings::default(), None).unwrap();
        group.add_peer(kid(LAMP), credential(LAMP)).unwrap();
        group
    };
    let endpoint = &mut world.nodes[CLIENT].endpoint;
    let name = crate::membership::SecurityGroupName::new("other").unwrap();
    let memberships = endpoint.server_mut().memberships_mut();
    let application = memberships
        .create_application(
            "app",
            crate::membership::Naming::default(),
            crate::attributes::Attributes::new(),
        )
        .unwrap();
    memberships
        .set_application_security(application, alloc::vec![name])
        .unwrap();
    assert_eq!(memberships.is_ready(application), Ok(false));
    let other = endpoint.add_group(other);
    let ready = |world: &World| {
        let server = world.nodes[CLIENT].endpoint.server();
        server.memberships().is_ready(application)
    };
    assert_eq!(ready(&world), Ok(true), "its context is loaded");
    let asked = world.nodes[CLIENT]
        .endpoint
        .request(now, request_to(LAMP, "t", Protection::Group(other)))
        .unwrap();
    let plain = world.nodes[CLIENT]
        .endpoint
        .request(now, request_to(BELL, "t", Protection::None))
        .unwrap();
    world.leave(CLIENT);
    assert!(world.failures().is_empty());
    assert_eq!(world.nodes[CLIENT].endpoint.load().exchanges, 1);
    let answered = |world: &World, id| {
        let mut events = world.nodes[CLIENT].events.iter();
        events.any(|e| matches!(e, Event::Response { exchange, .. } if *exchange == id))
    };
    assert!(answered(&world, plain), "without protection: an error");
    assert!(!answered(&world, asked), "the lamp is not in that group");
    assert!(
        world.nodes[CLIENT]
            .endpoint
            .leave_group(now, other)
            .is_some()
    );
    assert_eq!(ready(&world), Ok(false), "and is no more");
    world.run();
    assert_eq!(
        world.failures(),
        [Failure::NotProtected(NotProtected::Left)]
    );
}

// Covers: GO-2.6.3.2-06
#[test]
fn what_waits_for_new_keys_leaves_under_them_as_soon_as_they_are_installed() {
    let mut world = world();
    for node in 0..NODES {
        let settings = SequenceSettings::default();
        let prepared = world.nodes[node].group().prepare_install(
            parameters(Modes::Both, 2, 2),
            None,
            Stale::Since {
                generation: 1,
                kids: Vec::new(),
            },
            u64::from(settings.block),
        );
        let prepared = prepared.unwrap();
        if node == CLIENT {
            world.ask(request_to(LAMP, "t", to_member(&world, LAMP)));
            assert!(world.from(CLIENT).is_empty(), "neither old keys nor new");
        }
        let (now, id) = (world.now, world.nodes[node].group);
        let group = world.nodes[node].group();
        group.commit_install(prepared, Duration::ZERO).unwrap();
        let endpoint = &mut world.nodes[node].endpoint;
        endpoint.keys_changed(now);
        assert_eq!(
            endpoint.security().group(id).unwrap().gid().as_bytes(),
            [0x47, 2]
        );
    }
    world.run();
    let first = world.from(CLIENT)[0].clone();
    assert_eq!(first.option().kid_context, Some([0x47, 2].as_slice()));
    assert_eq!(world.response().unwrap().1, &proven(LAMP));
}

#[test]
fn an_installation_that_is_given_up_leaves_everything_as_it_was() {
    let mut world = world();
    let group = world.nodes[CLIENT].group();
    let parameters = parameters(Modes::Both, 2, 2);
    group
        .prepare_install(parameters, None, Stale::All, 64)
        .unwrap();
    world.ask(request_to(LAMP, "t", to_member(&world, LAMP)));
    assert!(world.from(CLIENT).is_empty());
    let now = world.now;
    world.nodes[CLIENT].group().abort_install();
    world.nodes[CLIENT].endpoint.keys_changed(now);
    world.run();
    assert_eq!(world.response().unwrap().1, &proven(LAMP));
    let gid = world.from(CLIENT)[0].option().kid_context;
    assert_eq!(gid, Some([0x47, 1].as_slice()));
}

#[test]
fn a_new_sender_id_is_used_at_once_and_the_member_stays_the_same() {
    let mut world = world();
    let new = Kid::new(&[0x77]).unwrap();
    let group = world.nodes[CLIENT].group();
    let prepared = group.prepare_sender_id(new, 64).unwrap();
    group.commit_sender_id(prepared).unwrap();
    world.nodes[LAMP]
        .group()
        .add_peer(new, credential(CLIENT))
        .unwrap();
    world.ask(request_to(LAMP, "t", to_member(&world, LAMP)));
    assert_eq!(world.from(CLIENT)[0].option().kid, Some(new.as_bytes()));
    let seen = world.nodes[LAMP].seen.lock().unwrap().clone().unwrap();
    assert_eq!(seen.sender, proven(CLIENT));
    assert_eq!(world.leave(CLIENT).unwrap().sender_id(), Some(new));
}

#[test]
fn numbers_reserved_for_the_old_sender_id_protect_nothing_under_the_new_one() {
    let block = u64::from(SequenceSettings::default().block);
    let mut world = world();
    // A reservation under the old Sender ID is being made durable.
    let (now, new) = (world.now, Kid::new(&[0x77]).unwrap());
    let old = group_of(
        CLIENT,
        Modes::Both,
        Sequence::new(SequenceSettings::default()),
        Settings::default(),
    );
    let node = &mut world.nodes[CLIENT];
    node.endpoint.leave_group(now, node.group);
    node.group = node.endpoint.security_mut().add_group(old);
    let reservation = |node: &mut Node| {
        let work = node.endpoint.poll_work(now).unwrap();
        let Task::Store { record, .. } = work.task else {
            panic!("{:?}", work.task);
        };
        (work.id, record)
    };
    let (under_way, record) = reservation(node);
    let reserved = |sender_id: Kid, upto| Record::Reserved {
        gid: alloc::vec![0x47, 1],
        sender_id: sender_id.as_bytes().to_vec(),
        upto,
    };
    assert_eq!(record, reserved(kid(CLIENT), block));
    let prepared = node.group().prepare_sender_id(new, 1).unwrap();
    node.group().commit_sender_id(prepared).unwrap();
    node.endpoint.work_done(now, under_way, WorkResult::Done);
    let sequence = node.group().sequence_mut().unwrap();
    assert_eq!((sequence.next(), sequence.reserved_upto()), (0, 1));
    // One number is durable for the new one: the second request waits for its own reservation.
    node.worker = Worker::Held;
    for to in [LAMP, BELL] {
        world.ask(request_to(to, "t", Protection::Group(world.group())));
    }
    let stores = |node: &mut Node| {
        let all = core::mem::take(&mut node.waiting).into_iter();
        let (stores, others): (Vec<_>, Vec<_>) =
            all.partition(|work| matches!(work.task, Task::Store { .. }));
        node.waiting = others;
        stores
    };
    let mut waiting = stores(&mut world.nodes[CLIENT]);
    assert_eq!(waiting.len(), 1);
    let store = waiting.remove(0);
    let Task::Store { record, .. } = &store.task else {
        panic!("{:?}", store.task);
    };
    assert_eq!(*record, reserved(new, 1 + block));
    let node = &mut world.nodes[CLIENT];
    let sequence = node.group().sequence_mut().unwrap();
    assert_eq!((sequence.next(), sequence.reserved_upto()), (1, 1));
    node.endpoint.work_done(now, store.id, WorkResult::Done);
    let sequence = node.group().sequence_mut().unwrap();
    assert_eq!((sequence.next(), sequence.reserved_upto()), (2, 1 + block));
}
