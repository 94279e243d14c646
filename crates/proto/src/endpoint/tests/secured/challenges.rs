//! Challenges by Echo: made by servers that are in doubt, met by clients without being told.

use super::*;
use crate::collection::How;

fn doubting() -> World {
    world_with(
        Modes::Both,
        Settings::default(),
        EndpointConfig::default(), // proven senders must show that they are reachable
    )
}

/// What a host said that answers nobody's question: its challenges.
fn challenges(world: &World, node: usize) -> u64 {
    world.nodes[node].counters().challenges
}

// Covers: GO-9-07, GO-9-08, GO-9-10, GN-6.3.1-02, GN-6.3.1-04, GN-6.3.1-05
#[test]
fn a_challenge_to_a_group_request_is_met_in_pairwise_mode_and_the_answer_counts_once() {
    let mut world = doubting();
    world.ask_group(GroupRequest {
        expect: both(),
        ..question(&world, "t")
    });
    let sent: Vec<_> = world.from(CLIENT).into_iter().cloned().collect();
    assert_eq!(
        sent.len(),
        3,
        "the question, and one more to each of the two"
    );
    let asked = sent[0].option().partial_iv.unwrap().value();
    for (again, node) in sent[1..].iter().zip([LAMP, BELL]) {
        assert_eq!(again.route.destination, address(node), "by unicast");
        assert!(!again.option().group_flag, "in pairwise mode");
        assert!(again.option().partial_iv.unwrap().value() > asked);
    }
    let outcome = world.outcome();
    assert_eq!(
        outcome.answered().collect::<Vec<_>>(),
        [("lamp", 1), ("bell", 1)]
    );
    assert!(world.answers().iter().all(|a| a.how == How::Unicast));
    assert_eq!(
        world.nodes[LAMP].handled(),
        1,
        "not before the Echo came back"
    );
    assert_eq!((challenges(&world, LAMP), challenges(&world, BELL)), (1, 1));
    // The address is known now.
    world.forget_sent();
    world.ask_group(GroupRequest {
        expect: both(),
        ..question(&world, "t")
    });
    assert_eq!(world.answers().len(), 2);
    assert!(world.answers().iter().all(|a| a.how == How::Multicast));
    assert_eq!((challenges(&world, LAMP), challenges(&world, BELL)), (1, 1));
    // Another address of the same client is not.
    world.nodes[CLIENT].at = ([10, 0, 0, 99], 5683).into();
    world.forget_sent();
    world.ask_group(question(&world, "t"));
    assert_eq!((challenges(&world, LAMP), challenges(&world, BELL)), (2, 2));
    assert_eq!(world.answers().len(), 2, "and it is answered in the end");
}

// Covers: GO-9-01, GO-9-02, GN-6.3.1-03
#[test]
fn a_challenge_is_a_protected_4_01_with_an_inner_echo_and_an_own_partial_iv() {
    let mut world = doubting();
    world.lossy = |datagram| datagram.from == CLIENT && !datagram.route.is_multicast();
    world.ask_group(question(&world, "t"));
    let challenge = world.from(LAMP)[0].clone();
    assert_eq!(
        challenge.message().code(),
        Code::CHANGED,
        "seen from outside"
    );
    assert_eq!(challenge.message().option(OptionNumber::ECHO), None);
    assert!(challenge.option().partial_iv.is_some());
    assert_eq!(world.nodes[LAMP].handled(), 0, "not delivered");
    assert!(world.answers().is_empty(), "and no answer");
    // What is in it, the client has shown by what it does: it repeats the request with an Echo value.
    assert_eq!(world.nodes[CLIENT].counters().echoed, 2);
}

// Covers: GC-6.3-02, GO-9-18
#[test]
fn a_server_that_lost_its_windows_is_asked_again_and_an_old_request_is_still_refused() {
    let mut world = world();
    world.ask(request_to(BELL, "slow", to_member(&world, BELL))); // goes on meanwhile
    world.forget_sent();
    world.ask(request_to(LAMP, "t", to_member(&world, LAMP)));
    let old = world.from(CLIENT)[0].clone();
    world.forget_sent();
    // It restarts: the windows are not known any more, and the Message IDs are forgotten.
    let mut group = group_of(LAMP, Modes::Both, reserved_from(5_000), Settings::default());
    group.windows_unknown();
    let mut fresh = node(LAMP, trusting(), Modes::Both, Settings::default());
    let id = fresh.group;
    fresh.endpoint.security_mut().remove_group(id);
    fresh.group = fresh.endpoint.security_mut().add_group(group);
    world.nodes[LAMP] = fresh;
    world.run();
    world.inject(LAMP, false, address(CLIENT), &old.bytes);
    assert_eq!(
        world.nodes[LAMP].handled(),
        0,
        "an old request is not processed"
    );
    assert_eq!(
        challenges(&world, LAMP),
        1,
        "it is challenged, which it cannot meet"
    );
    world.forget_sent();
    world.ask(request_to(LAMP, "t", to_member(&world, LAMP)));
    let (response, sender) = world.response().unwrap();
    assert_eq!((response.code, sender), (Code::CONTENT, &proven(LAMP)));
    assert_eq!(world.from(CLIENT).len(), 2, "asked twice");
    assert_eq!(world.nodes[LAMP].handled(), 1);
    assert_eq!(
        world.nodes[CLIENT].endpoint.load().exchanges,
        1,
        "the other"
    );
    // Now the window is known: the old one is a replay.
    let mut replay = old.bytes.clone();
    replay[2] ^= 0x40;
    world.inject(LAMP, false, address(CLIENT), &replay);
    assert_eq!(world.nodes[LAMP].handled(), 1);
    assert_eq!(world.nodes[LAMP].counters().replayed, 1);
}

pub(super) fn reserved_from(next: u64) -> Sequence {
    Sequence::exact(next, next + 1_000, SequenceSettings::default())
}

// Covers: GO-9-09
#[test]
fn without_pairwise_mode_the_request_is_repeated_in_group_mode_by_unicast() {
    let mut world = world_with(
        Modes::GroupOnly,
        Settings::default(),
        EndpointConfig::default(),
    );
    world.ask_group(question(&world, "t"));
    let sent = world.from(CLIENT);
    assert_eq!(sent.len(), 3);
    for (again, node) in sent[1..].iter().zip([LAMP, BELL]) {
        assert_eq!(again.route.destination, address(node));
        assert!(again.option().group_flag);
    }
    assert_eq!(world.answers().len(), 2);
}

#[test]
fn challenges_to_one_address_are_bounded() {
    let mut config = EndpointConfig::default();
    config.security.challenges_per_source = 2;
    let mut world = world_with(Modes::Both, Settings::default(), config);
    // Whoever challenges hears nothing more: the client's second requests are lost.
    world.lossy = |datagram| datagram.from == CLIENT && !datagram.route.is_multicast();
    let (now, fast) = (world.now, crate::pacing::GroupPacing::new(8, 1_000_000_000));
    let collections = world.nodes[CLIENT].endpoint.collections_mut();
    let fast = Some(fast.unwrap());
    collections
        .set_pacing(now, GROUP.into(), None, fast)
        .unwrap();
    for _ in 0..5 {
        let id = world.ask_group(question(&world, "t"));
        let now = world.now;
        world.nodes[CLIENT].endpoint.close(now, id);
        world.pass(Duration::from_micros(10));
    }
    let counters = world.nodes[LAMP].counters();
    assert_eq!((counters.challenges, counters.challenges_withheld), (2, 3));
    assert_eq!(world.from(LAMP).len(), 2);
}

#[test]
fn a_forged_request_is_not_challenged() {
    let mut world = doubting();
    world.nodes[LAMP].deaf = true;
    world.ask_group(question(&world, "t"));
    let mut forged = world.from(CLIENT)[0].bytes.clone();
    *forged.last_mut().unwrap() ^= 1;
    world.nodes[LAMP].deaf = false;
    world.inject(LAMP, true, address(CLIENT), &forged);
    assert_eq!(challenges(&world, LAMP), 0);
    assert!(world.from(LAMP).is_empty());
    assert_eq!(world.nodes[LAMP].counters().not_verified, 1);
}

// Covers: GC-6.3-02
#[test]
fn a_floor_of_500_members_that_powers_up_at_once_resynchronises_with_bounded_traffic() {
    const MEMBERS: usize = 500;
    let leisure = Duration::from_secs(20);
    let mut world = World {
        nodes: Vec::new(),
        now: Instant::from_millis(1_000),
        sent: Vec::new(),
        flying: VecDeque::new(),
        lossy: |_| false,
    };
    for n in 0..=MEMBERS {
        let mut member = node(
            n,
            EndpointConfig::default(),
            Modes::Both,
            Settings::default(),
        );
        let security = member.endpoint.security_mut();
        security.remove_group(member.group);
        let (own, parameters) = (own(n, reserved()), parameters(Modes::Both, 1, 1));
        let mut group =
            Group::new(LIGHTS, parameters, Some(own), Settings::default(), None).unwrap();
        let peers = if n == CLIENT {
            1..=MEMBERS
        } else {
            CLIENT..=CLIENT
        };
        for peer in peers {
            group.add_peer(kid(peer), credential(peer)).unwrap();
        }
        if n != CLIENT {
            group.windows_unknown(); // it was off, and nobody knows what it has heard before
        }
        member.group = security.add_group(group);
        let memberships = member.endpoint.server_mut().memberships_mut();
        let groups: Vec<_> = memberships.groups().map(|group| group.id()).collect();
        for id in groups {
            memberships
                .set_leisure(id, Some(Leisure::Fixed(leisure)))
                .unwrap();
        }
        world.nodes.push(member);
    }
    world.run();
    world.forget_sent();
    let mut expect = Expectation::nobody();
    for n in 1..=MEMBERS {
        expect.add(Member::named(alloc::format!("{n}")).identity(identity(n)));
    }
    let start = world.now;
    world.ask_group(GroupRequest {
        expect,
        leisure,
        end: End::after(Duration::from_secs(30)),
        ..question(&world, "t")
    });
    // By the tenth of a second, to see how the traffic is spread.
    let mut peak = 0;
    for _ in 0..300 {
        let before = world.sent.len();
        world.pass(Duration::from_millis(100));
        peak = peak.max(world.sent.len() - before);
    }
    assert_eq!(world.outcome().answered().count(), MEMBERS, "everybody");
    let took = world.outcome().took;
    assert!(took <= leisure && took > leisure / 2, "{took:?}");
    assert!(world.now.since(start) >= Duration::from_secs(30));
    // The question; and for each member its challenge, the request to it alone, and the answer.
    assert_eq!(world.sent.len(), 1 + 3 * MEMBERS);
    let largest = world.sent.iter().map(|d| d.bytes.len()).max().unwrap();
    assert!(largest <= 140, "{largest} bytes");
    // 75 datagrams in a second on average; in no tenth of a second three times as many.
    assert!(peak <= 3 * 75 / 10 * 3, "{peak}");
    for member in &world.nodes[1..] {
        assert_eq!((member.handled(), member.counters().challenges), (1, 1));
    }
    // The second question finds everybody in step.
    world.forget_sent();
    world.ask_group(GroupRequest {
        leisure,
        end: End::after(Duration::from_secs(30)),
        ..question(&world, "t")
    });
    world.pass(Duration::from_secs(31));
    assert_eq!(world.answers().len(), MEMBERS);
    assert_eq!(world.sent.len(), 1 + MEMBERS);
}

/// The Echo values of so many challenges that this server makes for one client.
fn echo_values(world: &mut World, count: u32) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    let at = crate::security::at(world.now);
    let context = ContextId::Group(world.group());
    let mut other = Node {
        key: key(CLIENT),
        ..node(CLIENT, trusting(), Modes::Both, Settings::default())
    };
    let own_key = key(CLIENT);
    for n in 0..count {
        let [_, _, high, low] = n.to_be_bytes();
        let plain = get(Type::Non, u16::from_be_bytes([high, low]), "t");
        let plain = Message::parse(&plain).unwrap();
        let contexts = other.endpoint.security_mut();
        let to = antiphon_oscore::To::Member(kid(LAMP));
        let protected = loop {
            match contexts.protect_request(at, context, &plain, to).unwrap() {
                antiphon_oscore::Protecting::Done(protected) => break protected,
                antiphon_oscore::Protecting::Agree(job) => {
                    contexts.agreed(job.run(&own_key)).unwrap();
                }
                antiphon_oscore::Protecting::Sign(_) => panic!("in pairwise mode"),
            }
        };
        world.sent.clear();
        let lamp = &mut world.nodes[LAMP];
        let path = Path {
            peer: address(CLIENT),
            ..path(false)
        };
        lamp.endpoint
            .handle_datagram(world.now, path, &protected.bytes);
        world.drain(LAMP);
        world.flying.clear();
        let challenge = Message::parse(&world.sent[0].bytes).unwrap();
        let mut asked = protected.asked.unwrap();
        match contexts.begin_response(at, &challenge, &mut asked).unwrap() {
            antiphon_oscore::Step::Done(opened) => {
                let inner = Message::parse(&opened.message).unwrap();
                assert_eq!(
                    (inner.code(), inner.payload()),
                    (Code::UNAUTHORIZED, b"".as_slice())
                );
                assert_eq!(
                    inner.options().count(),
                    1,
                    "the Echo option and nothing else"
                );
                values.push(inner.option(OptionNumber::ECHO).unwrap().to_vec());
            }
            antiphon_oscore::Step::Work(..) => panic!("in pairwise mode"),
        }
    }
    values
}

// Covers: GO-9-01, GO-9-03, GO-9-04
#[test]
fn no_echo_value_is_used_twice_not_even_after_a_restart() {
    let mut all = std::collections::BTreeSet::new();
    for (seed, count) in [(1, 10_000), (2, 1_000)] {
        let mut world = world();
        // A restart: other random numbers, and nothing known of what was before.
        let mut config = trusting();
        config.security.challenges_per_source = u32::MAX;
        let mut endpoint = Endpoint::new(config, [seed; 32]);
        let unicast = SocketInfo {
            local: address(LAMP),
            respond_from: None,
        };
        endpoint.add_socket(UNICAST, unicast);
        let mut group = group_of(LAMP, Modes::Both, reserved(), Settings::default());
        group.windows_unknown();
        world.nodes[LAMP].group = endpoint.security_mut().add_group(group);
        world.nodes[LAMP].endpoint = endpoint;
        for value in echo_values(&mut world, count) {
            assert_eq!(value.len(), 23);
            // Numbers and times do come again; eight bytes that nobody can foresee do not.
            assert!(all.insert(value[15..].to_vec()), "a value came twice");
        }
    }
    assert_eq!(all.len(), 11_000);
}

/// A question to both, which is over when both have answered.
fn ask_both(world: &mut World) {
    world.ask_group(GroupRequest {
        expect: both(),
        ..question(world, "t")
    });
}

/// What the client has sent to the lamp alone.
fn to_lamp(world: &World) -> Datagram {
    let sent = world.from(CLIENT);
    let mut to_it = sent.iter().filter(|d| d.route.destination == address(LAMP));
    (*to_it.next().unwrap()).clone()
}

#[test]
fn threat_01_old_requests_that_are_sent_again_do_not_put_a_challenge_out_of_use() {
    let mut world = doubting();
    ask_both(&mut world);
    let old = to_lamp(&world);
    assert_eq!(
        (world.nodes[LAMP].handled(), challenges(&world, LAMP)),
        (1, 1)
    );
    world.nodes[LAMP].group().windows_unknown();
    world.nodes[CLIENT].at = ([10, 0, 0, 99], 5683).into();
    world.forget_sent();
    // What meets the challenge is lost on its way, and comes when the client repeats it. Meanwhile the client's old request, with
    // the value of that time, comes again and again, from everywhere.
    world.lossy = |datagram| datagram.from == CLIENT && !datagram.route.is_multicast();
    ask_both(&mut world);
    for n in 0..100 {
        let mut again = old.bytes.clone();
        again[2..4].copy_from_slice(&[0xee, n]);
        world.inject(LAMP, false, ([10, 9, 0, n], 5683).into(), &again);
    }
    assert_eq!(challenges(&world, LAMP), 1 + 1 + 100);
    assert_eq!(world.nodes[LAMP].handled(), 1);
    world.lossy = |_| false;
    world.pass(Duration::from_secs(4));
    assert_eq!(world.nodes[LAMP].handled(), 2);
    let lamp = |answer: &&crate::collection::Answer| answer.sender == proven(LAMP);
    assert_eq!(world.answers().into_iter().filter(lamp).count(), 1);
    assert_eq!(challenges(&world, LAMP), 102, "the first one was met");
    // And the address that it went to is the client's, whatever addresses others have named.
    ask_both(&mut world);
    assert_eq!(world.nodes[LAMP].handled(), 3);
    assert_eq!(challenges(&world, LAMP), 102);
}

#[test]
fn an_echo_value_that_comes_from_elsewhere_proves_no_address() {
    for (elsewhere, challenged_again) in [(false, 0), (true, 1)] {
        let mut world = doubting();
        world.lossy = |datagram| datagram.from == CLIENT && !datagram.route.is_multicast();
        ask_both(&mut world);
        let echoed = to_lamp(&world);
        let from = match elsewhere {
            false => address(CLIENT),
            true => ([10, 0, 0, 77], 5683).into(),
        };
        world.inject(LAMP, false, from, &echoed.bytes);
        // Until the question is over.
        world.lossy = |_| true;
        world.pass(Duration::from_secs(300));
        world.lossy = |_| false;
        let before = challenges(&world, LAMP);
        world.nodes[CLIENT].at = from;
        ask_both(&mut world);
        assert_eq!(challenges(&world, LAMP) - before, challenged_again);
    }
}

// Covers: GO-8-04
#[test]
fn whoever_challenges_in_a_group_with_pairwise_mode_understands_it() {
    let mut world = world();
    // A silent server has no keys of its own, and so neither pairwise mode nor challenges.
    let lamp = &mut world.nodes[LAMP];
    let old = lamp.group;
    lamp.endpoint.security_mut().remove_group(old);
    let parameters = parameters(Modes::Both, 1, 1);
    let mut silent = Group::new(LIGHTS, parameters, None, Settings::default(), None).unwrap();
    silent.add_peer(kid(CLIENT), credential(CLIENT)).unwrap();
    silent.windows_unknown();
    lamp.group = lamp.endpoint.security_mut().add_group(silent);
    // The bell is in doubt as well, and has keys.
    world.nodes[BELL].group().windows_unknown();
    world.ask_group(question(&world, "t"));
    let counters = world.nodes[LAMP].counters();
    assert_eq!((counters.window_invalid, counters.challenges), (1, 0));
    assert!(world.from(LAMP).is_empty());
    assert_eq!(world.nodes[BELL].counters().challenges, 1);
    let again = world.from(CLIENT)[1];
    assert!(!again.option().group_flag, "met in pairwise mode");
    assert_eq!(world.answers()[0].sender, proven(BELL));
}

#[test]
fn as_many_addresses_are_remembered_as_there_is_room_for() {
    let mut config = EndpointConfig::default();
    config.security.addresses = 1;
    let mut world = world_with(Modes::Both, Settings::default(), config);
    let ask = |world: &mut World, node: usize| {
        let request = GroupRequest {
            expect: both(),
            ..question(world, "t")
        };
        let now = world.now;
        let id = world.nodes[node].endpoint.collect(now, request).unwrap();
        world.run();
        world.nodes[node].endpoint.close(now, id);
        world.pass(Duration::from_millis(500));
    };
    ask(&mut world, CLIENT);
    assert_eq!(challenges(&world, LAMP), 1);
    ask(&mut world, BELL);
    assert_eq!(challenges(&world, LAMP), 2);
    // There was no room for both: the second took the place of the first.
    ask(&mut world, BELL);
    assert_eq!(challenges(&world, LAMP), 2);
    ask(&mut world, CLIENT);
    assert_eq!(challenges(&world, LAMP), 3);
}

#[test]
fn a_member_whose_sender_id_went_to_somebody_else_is_not_taken_for_it() {
    let mut world = doubting();
    world.ask_group(GroupRequest {
        expect: both(),
        ..question(&world, "t")
    });
    assert_eq!(challenges(&world, LAMP), 1);
    // A rekeying, after which the bell has the client's Sender ID and its address.
    let at = crate::security::at(world.now);
    let mut install = |node: usize, sender_id, peers| {
        let group = world.nodes[node].group();
        let (next, stale) = (parameters(Modes::Both, 2, 2), Stale::Replace(peers));
        let prepared = group
            .prepare_install(next, sender_id, stale, 1_000)
            .unwrap();
        group.commit_install(prepared, at).unwrap();
    };
    let lamp = alloc::vec![(kid(LAMP), credential(LAMP))];
    let bell = alloc::vec![(kid(CLIENT), credential(BELL))];
    install(LAMP, None, bell);
    install(BELL, Some(kid(CLIENT)), lamp);
    let bell = &mut world.nodes[BELL];
    bell.at = address(CLIENT);
    world.nodes[CLIENT].at = address(99);
    let request = GroupRequest {
        security: Security::Group(world.nodes[BELL].group),
        ..question(&world, "t")
    };
    let now = world.now;
    world.nodes[BELL].endpoint.collect(now, request).unwrap();
    world.run();
    assert_eq!(
        challenges(&world, LAMP),
        2,
        "it has to show that it is there"
    );
    let seen = world.nodes[LAMP].seen.lock().unwrap().clone().unwrap();
    assert_eq!(seen.sender, proven(BELL), "and is who its credential says");
}
