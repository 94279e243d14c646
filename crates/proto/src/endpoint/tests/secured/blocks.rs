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
