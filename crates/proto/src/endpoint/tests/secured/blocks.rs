//! Bodies in blocks under Group OSCORE: each block is protected by itself, inside of it are the Block options.

use super::*;

/// Five blocks of 64 bytes.
pub(super) fn body() -> Vec<u8> {
    (0..300_u32).map(|at| (at / 16 * 7 + at) as u8).collect()
}

/// None of the Block options is to be seen on the outside.
fn are_inner(datagrams: &[&Datagram]) {
    for datagram in datagrams {
        for number in [
            OptionNumber::BLOCK1,
            OptionNumber::BLOCK2,
            OptionNumber::ETAG,
            OptionNumber::SIZE1,
            OptionNumber::REQUEST_TAG,
        ] {
            assert_eq!(datagram.message().option(number), None);
        }
    }
}

// Covers: GO-14.9-04
#[test]
fn after_the_first_blocks_the_others_are_asked_for_by_unicast_in_pairwise_mode() {
    let mut world = world();
    world.ask_group(GroupRequest {
        expect: both(),
        ..question(&world, "large")
    });
    world.pass(Duration::from_secs(20));
    let answers = world.answers();
    assert_eq!(answers.len(), 2);
    for answer in &answers {
        assert_eq!(answer.response.payload, body());
    }
    let mut senders: Vec<_> = answers.iter().map(|a| a.sender.clone()).collect();
    senders.sort_by_key(|sender| *sender != proven(LAMP));
    assert_eq!(senders, [proven(LAMP), proven(BELL)]);
    assert!(world.outcome().is_complete());
    let asked = world.from(CLIENT);
    assert_eq!(asked.len(), 1 + 2 * 4);
    assert!(asked[0].route.is_multicast() && asked[0].option().group_flag);
    for request in &asked[1..] {
        assert!(!request.route.is_multicast());
        assert!(!request.option().group_flag, "pairwise mode");
        assert_eq!(request.message().kind(), Type::Con);
    }
    are_inner(&asked);
    are_inner(&world.from(LAMP));
    let to_lamp = asked
        .iter()
        .filter(|d| d.route.destination == address(LAMP));
    assert_eq!(to_lamp.count(), 4);
}

// Covers: GN-3.8-01
#[test]
fn further_blocks_by_group_requests_are_each_a_request_in_group_mode() {
    let mut world = world();
    world.ask_group(GroupRequest {
        expect: both(),
        blocks: crate::collection::FurtherBlocks::Group,
        ..question(&world, "large")
    });
    world.pass(Duration::from_secs(60));
    let answers = world.answers();
    assert_eq!(answers.len(), 2);
    let mut senders: Vec<_> = answers.iter().map(|a| a.sender.clone()).collect();
    senders.sort_by_key(|sender| *sender != proven(LAMP));
    assert_eq!(senders, [proven(LAMP), proven(BELL)]);
    for answer in &answers {
        assert_eq!(answer.response.payload, body());
    }
    let asked = world.from(CLIENT);
    assert_eq!(asked.len(), 5);
    let mut numbers = Vec::new();
    for request in &asked {
        assert!(request.route.is_multicast() && request.option().group_flag);
        numbers.push(request.option().partial_iv);
    }
    numbers.dedup();
    assert_eq!(numbers.len(), 5, "each is protected for itself");
    are_inner(&asked);
    are_inner(&world.from(LAMP));
    assert_eq!(world.from(LAMP).len(), 5);
}

#[test]
fn a_group_without_pairwise_mode_goes_on_in_group_mode_by_unicast() {
    let mut world = world_of(Modes::GroupOnly, Settings::default());
    world.ask_group(question(&world, "large"));
    world.pass(Duration::from_secs(20));
    assert_eq!(world.answers().len(), 2);
    for request in &world.from(CLIENT)[1..] {
        assert!(!request.route.is_multicast() && request.option().group_flag);
    }
}

#[test]
fn a_request_in_group_mode_to_one_goes_on_with_whoever_has_answered() {
    let mut world = world();
    world.now = world.now + Duration::from_secs(1);
    let protection = Protection::Group(world.group());
    let mut request = request_to(LAMP, "large", protection);
    request.request.options.push(OptionNumber::BLOCK2, &[2]);
    world.ask(request);
    world.pass(Duration::from_secs(5));
    let (response, sender) = world.response().unwrap();
    assert_eq!((&response.payload, sender), (&body(), &proven(LAMP)));
    let modes: Vec<_> = world
        .from(CLIENT)
        .iter()
        .map(|d| d.option().group_flag)
        .collect();
    assert_eq!(modes, [true, false, false, false, false]);
}

#[test]
fn large_bodies_go_both_ways_under_protection() {
    let mut world = world();
    let whole: Vec<u8> = (0..5_000_u32).map(|at| (at % 251) as u8).collect();
    let mut request = request_to(BELL, "large", to_member(&world, BELL));
    request.request.method = Code::POST;
    request.request.payload.clone_from(&whole);
    world.ask(request);
    world.pass(Duration::from_secs(5));
    let (response, sender) = world.response().unwrap();
    let reversed: Vec<u8> = whole.iter().rev().copied().collect();
    assert_eq!(response.code, Code::CHANGED);
    assert_eq!((&response.payload, sender), (&reversed, &proven(BELL)));
    assert_eq!(world.from(CLIENT).len(), 5 + 4);
    are_inner(&world.from(CLIENT));
    are_inner(&world.from(BELL));
    let largest = world.sent.iter().map(|d| d.bytes.len()).max().unwrap();
    assert!((1_024..1_150).contains(&largest), "{largest}");
}

/// What the lamp has at `/big`.
fn has_big(world: &mut World, body: Vec<u8>) {
    let big = move |_: &crate::resource::Incoming<'_>, response: &mut Response| {
        response.payload.clone_from(&body);
    };
    let done = world.nodes[LAMP].handled.clone();
    let take = move |request: &crate::resource::Incoming<'_>, response: &mut Response| {
        done.fetch_add(1, Ordering::Relaxed);
        response.payload = request.payload().iter().rev().copied().collect();
    };
    let policy = GroupPolicy::respond().leisure(Leisure::Fixed(Duration::ZERO));
    let big = Resource::at("/big")
        .get(big)
        .post(take)
        .group_policy(policy);
    world.nodes[LAMP].endpoint.server_mut().add(big).unwrap();
    world.run();
}

/// A world in which the lamp reboots after so many datagrams since `ask`: its windows, Message IDs and bodies are gone, its
/// sequence numbers go on. How often it had handled a POST by then.
fn rebooted_after(datagrams: usize, ask: fn(&mut World)) -> (World, u32) {
    let mut world = world();
    world.now = world.now + Duration::from_secs(1);
    has_big(&mut world, body());
    world.forget_sent();
    ask(&mut world);
    world.drain(CLIENT);
    for _ in 0..datagrams {
        let Some(datagram) = world.flying.pop_front() else {
            break;
        };
        for n in world.deliver(&datagram) {
            world.drain(n);
        }
    }
    let before = world.nodes[LAMP].handled();
    let numbers = super::challenges::reserved_from(5_000);
    let mut group = group_of(LAMP, Modes::Both, numbers, Settings::default());
    group.windows_unknown();
    let mut fresh = node(LAMP, trusting(), Modes::Both, Settings::default());
    let id = fresh.group;
    fresh.endpoint.security_mut().remove_group(id);
    fresh.group = fresh.endpoint.security_mut().add_group(group);
    world.nodes[LAMP] = fresh;
    has_big(&mut world, other());
    world.pass(Duration::from_secs(60));
    assert_eq!(world.nodes[CLIENT].endpoint.load().exchanges, 0);
    assert!(world.nodes[CLIENT].endpoint.client.transfers.is_clear());
    (world, before)
}

/// As long as [`body`], and different in every byte.
fn other() -> Vec<u8> {
    body().iter().map(|byte| !byte).collect()
}

#[test]
fn a_body_of_a_member_that_reboots_is_wholly_the_old_or_the_new_one() {
    let by_unicast = |world: &mut World| {
        let mut request = request_to(LAMP, "big", to_member(world, LAMP));
        request.request.options.push(OptionNumber::BLOCK2, &[2]);
        let now = world.now;
        let client = &mut world.nodes[CLIENT].endpoint;
        client.request(now, request).unwrap();
    };
    // Five requests and five responses: with the ninth datagram it has all that is asked of it.
    for datagrams in 0..12 {
        let (world, _) = rebooted_after(datagrams, by_unicast);
        let (response, sender) = world.response().unwrap();
        let whole = if datagrams < 9 { other() } else { body() };
        assert_eq!(sender, &proven(LAMP));
        assert!(response.payload == whole, "after {datagrams}");
        let echoed = world.nodes[CLIENT].endpoint.counters().echoed;
        assert_eq!(echoed, u64::from(datagrams < 9), "after {datagrams}");
    }
    let by_group = |world: &mut World| {
        let mut expect = Expectation::nobody();
        let lamp = Member::named("lamp").at(address(LAMP));
        expect.add(lamp.identity(identity(LAMP)));
        let request = GroupRequest {
            expect,
            ..question(world, "big")
        };
        let now = world.now;
        let client = &mut world.nodes[CLIENT].endpoint;
        client.collect(now, request).unwrap();
    };
    let mut old = 0;
    for datagrams in 0..14 {
        let (world, _) = rebooted_after(datagrams, by_group);
        let [answer] = world.answers()[..] else {
            panic!("after {datagrams}: {} answers", world.answers().len());
        };
        assert_eq!(answer.sender, proven(LAMP));
        let whole = &answer.response.payload;
        assert!(*whole == other() || *whole == body(), "after {datagrams}");
        assert!(old == 0 || *whole == body(), "after {datagrams}");
        old += usize::from(*whole == body());
        assert!(world.outcome().is_complete());
    }
    assert!((3..6).contains(&old), "{old}");
}

#[test]
fn a_protected_upload_to_a_member_that_reboots_is_processed_once() {
    let post = |world: &mut World| {
        let mut request = request_to(LAMP, "big", to_member(world, LAMP));
        request.request.method = Code::POST;
        request.request.payload = (0..3_000_u32).map(|at| (at % 251) as u8).collect();
        let now = world.now;
        let client = &mut world.nodes[CLIENT].endpoint;
        client.request(now, request).unwrap();
    };
    let reversed: Vec<u8> = (0..3_000_u32).rev().map(|at| (at % 251) as u8).collect();
    // Three blocks there, of which the fifth datagram is the last, and two more requests for the rest of the response.
    for datagrams in 0..13 {
        let (world, before) = rebooted_after(datagrams, post);
        let after = world.nodes[LAMP].handled();
        assert_eq!(before, u32::from(datagrams >= 5), "after {datagrams}");
        assert_eq!(before + after, 1, "after {datagrams}");
        match datagrams {
            5..9 => {
                let lost = crate::block::BodyFailure::Lost(Code::REQUEST_ENTITY_INCOMPLETE);
                assert_eq!(world.failure(), Some(Failure::Body(lost)));
                assert!(world.response().is_none());
            }
            _ => {
                let (response, sender) = world.response().unwrap();
                assert!(response.payload == reversed, "after {datagrams}");
                assert_eq!((response.code, sender), (Code::CHANGED, &proven(LAMP)));
            }
        }
    }
}
