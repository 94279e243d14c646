//! The cache under protection: kept under who is proven to have answered, in one security group.

use super::*;
use crate::collection::{Caching, How, NoSec};

/// The question whose answers are kept.
fn kept(world: &World) -> GroupRequest {
    GroupRequest {
        expect: both(),
        caching: Some(Caching::default()),
        ..question(world, "t")
    }
}

impl World {
    fn ask_cached(&mut self, unicast: UnicastRequest) -> ExchangeId {
        let client = &mut self.nodes[CLIENT].endpoint;
        let id = client.request_cached(self.now, unicast).unwrap();
        self.run();
        id
    }

    /// The answers of the last question: sender, payload, from the cache?
    fn said(&self) -> Vec<(Sender, Vec<u8>, bool)> {
        let answers = self.answers().into_iter();
        answers
            .map(|answer| {
                let cached = matches!(answer.how, How::Cached { .. });
                (
                    answer.sender.clone(),
                    answer.response.payload.clone(),
                    cached,
                )
            })
            .collect()
    }

    fn given_from_cache(&self) -> Option<(&Response, &Sender)> {
        let mut events = self.nodes[CLIENT].events.iter();
        events.find_map(|event| match event {
            Event::Cached {
                response, sender, ..
            } => Some((response, sender)),
            _ => None,
        })
    }
}

#[test]
fn a_member_answers_for_itself_only_whatever_its_address() {
    let mut world = world();
    world.ask_group(kept(&world));
    world.pass(Duration::from_secs(20));
    assert_eq!(world.said().len(), 2);
    world.forget_sent();

    // The lamp is silent, and the bell answers from the lamp's address.
    world.lossy = |datagram| datagram.from != CLIENT;
    world.ask_group(kept(&world));
    world.pass(Duration::from_secs(6));
    let of_bell = world.from(BELL)[0].bytes.clone();
    world.inject(CLIENT, false, address(LAMP), &of_bell);
    world.pass(Duration::from_secs(20));
    let mut said = world.said();
    said.sort_by_key(|answer| answer.2);
    assert_eq!(
        said,
        [
            (proven(BELL), b"I am 2".to_vec(), false),
            (proven(LAMP), b"I am 1".to_vec(), true),
        ]
    );
    assert_eq!(world.outcome().cached().collect::<Vec<_>>(), ["lamp"]);
    world.forget_sent();

    // A request to the lamp alone is answered by what the lamp has said.
    world.ask_cached(request_to(LAMP, "t", to_member(&world, LAMP)));
    let (response, sender) = world.given_from_cache().unwrap();
    assert_eq!(
        (response.payload.as_slice(), sender),
        (b"I am 1".as_slice(), &proven(LAMP))
    );
    assert_eq!(world.sent.len(), 0);
}

#[test]
fn what_is_kept_in_a_group_counts_in_no_other_context() {
    let mut world = world();
    world.ask_group(kept(&world));
    world.pass(Duration::from_secs(20));
    world.forget_sent();
    world.lossy = |datagram| datagram.from != CLIENT;
    for protection in [Protection::None, Protection::Group(world.group())] {
        world.ask_cached(request_to(LAMP, "t", protection));
        assert!(world.given_from_cache().is_none());
        assert_eq!(world.from(CLIENT).len(), 1, "it is asked");
        world.pass(Duration::from_secs(300));
        world.forget_sent();
    }
    let mut open = kept(&world);
    open.security = Security::Unsecured(NoSec::Accepted);
    world.ask_group(open);
    world.pass(Duration::from_secs(20));
    assert_eq!(world.said(), []);
}

#[test]
fn a_command_outdates_what_came_through_its_groups_in_another_context() {
    let other_port = SocketAddr::from((GROUP.0, 5_700));
    for (to, outdated) in [(SocketAddr::from(GROUP), true), (other_port, false)] {
        let mut world = world();
        world.ask_group(kept(&world));
        world.pass(Duration::from_secs(20));
        assert_eq!(world.nodes[CLIENT].endpoint.load().cached, 2);
        world.lossy = |datagram| datagram.from != CLIENT; // it is not answered, as usual
        let mut command = question(&world, "t");
        command.request = Request::new(Code::PUT).path("t");
        command.security = Security::Unsecured(NoSec::Accepted);
        command.targets[0].group = to;
        world.ask_group(command);
        world.pass(Duration::from_secs(20));
        world.forget_sent();
        world.ask_cached(request_to(LAMP, "t", to_member(&world, LAMP)));
        assert_eq!(world.given_from_cache().is_none(), outdated, "{to}");
    }
}

#[test]
fn a_command_that_is_given_up_outdates_what_is_kept_of_whom_it_was_for() {
    type Whom = fn(&World) -> Protection;
    let cases: [(Whom, [bool; 2]); 4] = [
        (|_| Protection::None, [false, true]),
        (|world| to_member(world, LAMP), [false, true]),
        // By address and by name.
        (|world| to_member(world, BELL), [false, false]),
        // Whoever of the group is there.
        (|world| Protection::Group(world.group()), [false, false]),
    ];
    for (n, (whom, fresh)) in cases.into_iter().enumerate() {
        let mut world = world();
        world.ask_group(kept(&world));
        world.pass(Duration::from_secs(20));
        world.lossy = |datagram| datagram.from == CLIENT;
        let mut command = request_to(LAMP, "t", whom(&world));
        command.request = Request::new(Code::PUT).path("t");
        let now = world.now;
        let client = &mut world.nodes[CLIENT].endpoint;
        let id = client.request(now, command).unwrap();
        world.run();
        world.nodes[CLIENT].endpoint.cancel(now, id);
        let given = [LAMP, BELL].map(|node| {
            world.nodes[CLIENT].events.clear();
            world.ask_cached(request_to(node, "t", to_member(&world, node)));
            world.given_from_cache().is_some()
        });
        assert_eq!(given, fresh, "{n}");
    }
}

#[test]
fn whoever_leaves_a_group_forgets_what_was_said_in_it() {
    let mut world = world();
    world.ask_group(kept(&world));
    world.pass(Duration::from_secs(20));
    let (now, group) = (world.now, world.group());
    let client = &mut world.nodes[CLIENT].endpoint;
    assert_eq!(client.load().cached, 2);
    assert!(client.leave_group(now, group).is_some());
    assert_eq!(client.load().cached, 0);
}

#[test]
fn another_member_of_the_group_cannot_change_what_is_kept_of_one() {
    let mut world = world();
    let observe = |world: &mut World, cached| {
        let target = crate::collection::GroupTarget {
            group: GROUP.into(),
            socket: UNICAST,
            interface: 1,
        };
        let request = Request::new(Code::GET).path("t");
        let security = Security::Group(world.group());
        let mut request = crate::observation::ObserveRequest::group(request, target, security);
        (request.cached, request.expect) = (cached, both());
        let now = world.now;
        let client = &mut world.nodes[CLIENT].endpoint;
        client.observe(now, request).unwrap();
        world.run();
    };
    observe(&mut world, true);
    world.pass(Duration::from_secs(30));
    assert_eq!(world.nodes[CLIENT].endpoint.load().cached, 2);
    world.forget_sent();
    // What the bell says, also from the lamp's address, is said by the bell.
    world.lossy = |datagram| datagram.from != CLIENT;
    observe(&mut world, false);
    world.pass(Duration::from_secs(6));
    let of_bell = world.from(BELL)[0].bytes.clone();
    world.inject(CLIENT, false, address(LAMP), &of_bell);
    world.pass(Duration::from_secs(1));
    world.forget_sent();
    world.ask_cached(request_to(LAMP, "t", to_member(&world, LAMP)));
    let (response, sender) = world.given_from_cache().unwrap();
    assert_eq!(
        (response.payload.as_slice(), sender),
        (b"I am 1".as_slice(), &proven(LAMP))
    );
    assert_eq!(world.nodes[CLIENT].endpoint.load().cached, 2);
}

/// New keys, with which these are members no more.
pub(super) fn rekey_without(world: &mut World, node: usize, removed: &[usize]) {
    let now = crate::security::at(world.now);
    let group = world.nodes[node].group();
    let generation = group.generation() + 1;
    let parameters = parameters(Modes::Both, generation as u8, generation);
    let stale = Stale::Since {
        generation: generation - 1,
        kids: removed.iter().map(|node| kid(*node)).collect(),
    };
    let prepared = group
        .prepare_install(parameters, None, stale, 1_000)
        .unwrap();
    group.commit_install(prepared, now).unwrap();
    let now = world.now;
    world.nodes[node].endpoint.keys_changed(now);
    world.run();
}

#[test]
fn whoever_is_removed_by_new_keys_is_forgotten_at_once() {
    let mut world = world();
    world.ask_group(kept(&world));
    world.pass(Duration::from_secs(20));
    assert_eq!(world.nodes[CLIENT].endpoint.load().cached, 2);
    rekey_without(&mut world, CLIENT, &[LAMP]);
    assert_eq!(world.nodes[CLIENT].endpoint.load().cached, 1);
    world.forget_sent();
    world.ask_cached(request_to(BELL, "t", to_member(&world, BELL)));
    let (response, _) = world.given_from_cache().unwrap();
    assert_eq!(response.payload, b"I am 2", "the others stay");
    world.forget_sent();
    // Nor does it stand in for itself when the group is asked.
    world.lossy = |datagram| datagram.from != CLIENT;
    world.ask_group(kept(&world));
    world.pass(Duration::from_secs(20));
    assert_eq!(world.said(), [(proven(BELL), b"I am 2".to_vec(), true)]);
}

#[test]
fn nothing_is_kept_of_what_a_removed_member_was_asked_before() {
    let settings = Settings {
        retention: Duration::from_secs(60),
        ..Settings::default()
    };
    let mut world = world_of(Modes::Both, settings);
    world.nodes[LAMP].deaf = true;
    world.ask_group(kept(&world));
    let asked = world.from(CLIENT)[0].clone();
    assert_eq!(world.nodes[CLIENT].endpoint.load().cached, 1);
    world.nodes[LAMP].deaf = false;
    rekey_without(&mut world, CLIENT, &[LAMP]);
    // Its answer under the old keys is still opened, as the settings of the group want.
    world.forget_sent();
    world.inject(LAMP, true, address(CLIENT), &asked.bytes);
    world.run();
    assert_eq!(world.from(LAMP).len(), 1);
    assert!(world.said().iter().any(|answer| answer.0 == proven(LAMP)));
    assert_eq!(world.nodes[CLIENT].endpoint.load().cached, 1, "of the bell");
}
