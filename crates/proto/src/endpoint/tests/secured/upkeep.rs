//! What an endpoint asks whoever manages its groups for, and whom it forgets.

use core::num::NonZeroU32;

use antiphon_oscore::{UpkeepSettings, Wanted};

use super::*;

fn attentive() -> Settings {
    let five = NonZeroU32::new(5);
    Settings {
        upkeep: UpkeepSettings {
            tell_deleted: true,
            idle: Some(Duration::from_secs(3600)),
            recheck_after: five,
            keys_after: five,
            ..UpkeepSettings::default()
        },
        ..Settings::default()
    }
}

fn wanted(world: &World, node: usize) -> Vec<SecurityEvent> {
    let group = world.nodes[node].group;
    let events = world.nodes[node].events.iter();
    events
        .filter_map(|event| match event {
            Event::Security(event) => Some(*event),
            _ => None,
        })
        .inspect(|event| match event {
            SecurityEvent::Wanted { group: of, .. }
            | SecurityEvent::RecipientDeleted { group: of, .. } => assert_eq!(*of, group),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn junk_asks_for_keys_and_for_the_credential_once() {
    let mut world = world_of(Modes::Both, attentive());
    let group = world.nodes[LAMP].group;
    let anyone = address(200);
    world.lossy = |_| true;
    world.ask_group(question(&world, "t"));
    world.lossy = |_| false;
    let genuine = world.from(CLIENT)[0].bytes.clone();
    for number in 0..20 {
        let mut bytes = genuine.clone();
        bytes[3] = bytes[3].wrapping_add(number);
        *bytes.last_mut().unwrap() ^= 1 + number;
        world.inject(LAMP, true, anyone, &bytes);
        let told = wanted(&world, LAMP);
        match number {
            0..4 => assert_eq!(told, []),
            _ => assert_eq!(
                told,
                [
                    SecurityEvent::Wanted {
                        group,
                        what: Wanted::CurrentKeys
                    },
                    SecurityEvent::Wanted {
                        group,
                        what: Wanted::Credential(kid(CLIENT))
                    }
                ],
                "{number}"
            ),
        }
    }
    assert_eq!(world.nodes[LAMP].counters().not_verified, 20);
}

#[test]
fn who_is_idle_is_forgotten_when_that_is_durable() {
    let mut world = world_of(Modes::Both, attentive());
    let group = world.nodes[LAMP].group;
    world.pass(Duration::from_secs(1_800));
    world.ask_group(question(&world, "t"));
    assert_eq!(world.nodes[LAMP].handled(), 1);
    world.nodes[LAMP].worker = Worker::Held;
    world.pass(Duration::from_secs(1_800));
    // The bell has not been heard for an hour. Nothing happens before its deletion is written down.
    let lamp = &mut world.nodes[LAMP];
    let [work] = &lamp.waiting[..] else {
        panic!("{:?}", lamp.waiting)
    };
    assert!(
        matches!(&work.task, Task::Store { context, record: Record::PeerDeleted { gid, recipient_id } }
            if *context == ContextId::Group(group) && *gid == [0x47, 1] && recipient_id == kid(BELL).as_bytes()),
        "{work:?}"
    );
    assert!(lamp.group().peer(kid(BELL)).is_some());
    assert_eq!(wanted(&world, LAMP), []);
    let lamp = &mut world.nodes[LAMP];
    let work = lamp.waiting.pop().unwrap();
    lamp.worker = Worker::Eager;
    lamp.work(world.now, work);
    world.run();
    let lamp = &mut world.nodes[LAMP];
    assert!(lamp.group().peer(kid(BELL)).is_none());
    assert!(lamp.group().peer(kid(CLIENT)).is_some());
    assert!(lamp.group().ever_deleted());
    let gone = |node| SecurityEvent::RecipientDeleted {
        group,
        kid: kid(node),
    };
    assert_eq!(wanted(&world, LAMP), [gone(BELL)]);
    // The client's turn is half an hour later.
    world.pass(Duration::from_secs(1_799));
    assert_eq!(wanted(&world, LAMP), [gone(BELL)]);
    world.pass(Duration::from_secs(1));
    assert_eq!(wanted(&world, LAMP), [gone(BELL), gone(CLIENT)]);
    assert_eq!(world.nodes[LAMP].group().peer_count(), 0);
}

#[test]
fn a_deletion_that_could_not_be_written_down_does_not_happen() {
    let mut world = world_of(Modes::Both, attentive());
    world.nodes[LAMP].worker = Worker::Fails;
    world.pass(Duration::from_secs(3_700));
    assert_eq!(world.nodes[LAMP].group().peer_count(), 2);
    assert_eq!(wanted(&world, LAMP), []);
    // Another try comes after the same time.
    world.nodes[LAMP].worker = Worker::Eager;
    world.pass(Duration::from_secs(3_600));
    assert_eq!(world.nodes[LAMP].group().peer_count(), 0);
    assert_eq!(wanted(&world, LAMP).len(), 2);
}

#[test]
fn a_deletion_of_replaced_keys_deletes_nobody() {
    let mut world = world_of(Modes::Both, attentive());
    world.nodes[LAMP].worker = Worker::Held;
    world.pass(Duration::from_secs(3_600));
    let now = world.now;
    let lamp = &mut world.nodes[LAMP];
    assert_eq!(lamp.waiting.len(), 2);
    let parts = parameters(Modes::Both, 2, 2);
    let stale = Stale::Since {
        generation: 1,
        kids: Vec::new(),
    };
    let prepared = lamp.group().prepare_install(parts, None, stale, 1000);
    let installed = crate::security::at(now);
    lamp.group()
        .commit_install(prepared.unwrap(), installed)
        .unwrap();
    for work in core::mem::take(&mut lamp.waiting) {
        lamp.work(now, work);
    }
    world.run();
    assert_eq!(world.nodes[LAMP].group().peer_count(), 2);
    assert_eq!(wanted(&world, LAMP), []);
}

#[test]
fn new_parameters_are_asked_for_once_beside_the_warning() {
    let mut world = world();
    let sequence = SequenceSettings {
        limit: 20,
        margin: 10,
        ..SequenceSettings::default()
    };
    let numbers = Sequence::exact(0, 21, sequence);
    let own = group_of(CLIENT, Modes::Both, numbers, attentive());
    let client = &mut world.nodes[CLIENT];
    client.endpoint.security_mut().remove_group(client.group);
    client.group = client.endpoint.security_mut().add_group(own);
    let group = client.group;
    world.lossy = |_| true;
    for _ in 0..15 {
        world.ask_group(question(&world, "t"));
        world.pass(Duration::from_secs(600));
    }
    let told: Vec<_> = world.nodes[CLIENT]
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Security(
                event @ (SecurityEvent::Wanted { .. } | SecurityEvent::NearExhaustion(_)),
            ) => Some(*event),
            _ => None,
        })
        .collect();
    let what = Wanted::SenderContext;
    assert_eq!(
        told,
        [
            SecurityEvent::Wanted { group, what },
            SecurityEvent::NearExhaustion(group.into())
        ]
    );
}
