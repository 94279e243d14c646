//! A Confirmable request that cannot be opened or challenged now is looked at when it comes again, with the same Message ID.

use super::*;

/// A request to the lamp as this host sends it, which has not arrived.
fn request_of(world: &mut World, node: usize) -> Vec<u8> {
    world.nodes[LAMP].deaf = true;
    let unicast = request_to(LAMP, "t", to_member(world, LAMP));
    let now = world.now;
    let endpoint = &mut world.nodes[node].endpoint;
    endpoint.request(now, unicast).unwrap();
    world.run();
    let bytes = world.from(node)[0].bytes.clone();
    assert_eq!(Message::parse(&bytes).unwrap().kind(), Type::Con);
    world.forget_sent();
    bytes
}

fn dynamic() -> Settings {
    Settings {
        dynamic: true,
        ..Settings::default()
    }
}

fn install(world: &mut World, node: usize) {
    let stale = Stale::Since {
        generation: 1,
        kids: Vec::new(),
    };
    let new = parameters(Modes::Both, 2, 2);
    let now = crate::security::at(world.now);
    let group = world.nodes[node].group();
    let prepared = group.prepare_install(new, None, stale, 1_000);
    group.commit_install(prepared.unwrap(), now).unwrap();
}

#[test]
fn a_member_whose_credential_could_not_be_fetched_in_time_has_another_try() {
    let mut config = trusting();
    config.security.fetches = 1;
    let mut world = world_with(Modes::Both, dynamic(), config);
    assert!(world.nodes[LAMP].group().remove_peer(kid(CLIENT)));
    let bytes = request_of(&mut world, CLIENT);
    let mut stranger = bytes.clone();
    let at = stranger.windows(2).position(|w| w == [1, 0x50]).unwrap() + 1;
    stranger[at] = 0xaa;
    world.nodes[LAMP].worker = Worker::Held;
    world.inject(LAMP, false, address(7), &stranger);
    assert_eq!(world.work_of(LAMP).len(), 1, "this one is fetched");
    world.inject(LAMP, false, address(CLIENT), &bytes);
    assert!(world.work_of(LAMP).is_empty(), "one in a second");
    assert_eq!(world.nodes[LAMP].counters().no_credential, 1);
    world.pass(Duration::from_millis(1_100));
    world.inject(LAMP, false, address(CLIENT), &bytes);
    let work = world.work_of(LAMP).pop().unwrap();
    assert!(matches!(&work.task, Task::LoadCredential { kid: k, .. } if *k == kid(CLIENT)));
}

#[test]
fn a_client_whose_challenge_was_withheld_has_another_try() {
    let mut config = trusting();
    config.security.challenges_per_source = 1;
    let mut world = world_with(Modes::Both, Settings::default(), config);
    let (one, two) = (request_of(&mut world, CLIENT), request_of(&mut world, BELL));
    world.nodes[LAMP].group().windows_unknown();
    // Both behind one address.
    world.inject(LAMP, false, address(CLIENT), &one);
    world.inject(LAMP, false, address(CLIENT), &two);
    let counters = world.nodes[LAMP].counters();
    assert_eq!((counters.challenges, counters.challenges_withheld), (1, 1));
    world.pass(Duration::from_millis(1_100));
    world.inject(LAMP, false, address(CLIENT), &two);
    assert_eq!(world.nodes[LAMP].counters().challenges, 2);
    // Who was challenged gets the same again.
    world.inject(LAMP, false, address(CLIENT), &one);
    assert_eq!(world.nodes[LAMP].counters().challenges, 2);
}

#[test]
fn what_comes_while_keys_are_installed_or_before_they_are_there_has_another_try() {
    let mut world = world();
    let bytes = request_of(&mut world, CLIENT);
    let stale = Stale::All;
    let group = world.nodes[LAMP].group();
    let new = parameters(Modes::Both, 2, 2);
    group.prepare_install(new, None, stale, 1_000).unwrap();
    world.inject(LAMP, false, address(CLIENT), &bytes);
    assert_eq!(world.nodes[LAMP].counters().superseded, 1);
    world.nodes[LAMP].group().abort_install();
    world.inject(LAMP, false, address(CLIENT), &bytes);
    assert_eq!(world.nodes[LAMP].handled(), 1);
    world.inject(LAMP, false, address(CLIENT), &bytes);
    assert_eq!(world.nodes[LAMP].handled(), 1, "now it is a duplicate");

    install(&mut world, BELL);
    let bytes = request_of(&mut world, BELL);
    world.inject(LAMP, false, address(BELL), &bytes);
    assert_eq!(world.nodes[LAMP].counters().no_context, 1);
    install(&mut world, LAMP);
    world.inject(LAMP, false, address(BELL), &bytes);
    assert_eq!(world.nodes[LAMP].handled(), 2);
}

#[test]
fn what_is_refused_for_good_is_not_looked_at_again() {
    let mut world = world();
    let mut bytes = request_of(&mut world, CLIENT);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    for _ in 0..3 {
        world.inject(LAMP, false, address(CLIENT), &bytes);
    }
    assert_eq!(world.nodes[LAMP].counters().not_verified, 1);
    // Nor is a replay under a new Message ID.
    bytes[last] ^= 1;
    for id in [1, 2, 2, 2] {
        bytes[2..4].copy_from_slice(&[0xee, id]);
        world.inject(LAMP, false, address(CLIENT), &bytes);
    }
    assert_eq!(world.nodes[LAMP].handled(), 1);
    assert_eq!(world.nodes[LAMP].counters().replayed, 1);
}
