use super::*;

#[test]
fn another_image_does_not_disturb_one_that_is_under_way() {
    let (first, second) = (Content::new(500, None), Content::new(600, None));
    let mut rig = Rig::new();
    rig.announce(&first);
    rig.send(&first, 0..3);
    (rig.sender, rig.peer) = (member(b"another"), peer(2));
    rig.pass(Duration::from_secs(10));
    assert_eq!(rig.unicast(&announce(&second)), Code::CONFLICT);
    rig.announce(&second);
    assert_eq!(rig.device.counters().passed_over, 2);
    rig.send(&second, 0..10);
    assert_eq!(rig.device.counters().unknown, 10);
    assert_eq!(rig.application.asked.len(), 1);
    (rig.sender, rig.peer) = (member(b"distributor"), peer(1));
    rig.send(&first, 3..8);
    assert!(rig.is_activated(&first));
    rig.announce(&second);
    rig.send(&second, 0..10);
    assert!(rig.is_activated(&second), "one after the other");
}

#[test]
fn two_distributors_of_the_same_image_are_one_until_it_is_silent() {
    let content = Content::new(640, None);
    let mut rig = Rig::new();
    rig.announce(&content);
    rig.send(&content, 0..3);
    (rig.sender, rig.peer) = (member(b"another"), peer(2));
    rig.pass(Duration::from_micros(99_999_999));
    assert_eq!(rig.unicast(&announce(&content)), Code::CONFLICT);
    rig.send(&content, 3..6);
    assert_eq!(rig.unicast(&end(&content, 1)), Code::FORBIDDEN);
    assert_eq!(rig.unicast(&cancel(&content)), Code::FORBIDDEN);
    assert_eq!(rig.unicast(&block_of(&content, 3)), Code::FORBIDDEN);
    assert_eq!(rig.device.counters().foreign, 7);
    assert_eq!(rig.device.status().have, 3);
    rig.pass(Duration::from_micros(1));
    rig.announce(&content);
    assert_eq!(
        rig.application.asked.len(),
        2,
        "is the other one permitted?"
    );
    assert_eq!(rig.memory.state().prepared, 1, "what is there stays");
    rig.send(&content, 3..6);
    assert_eq!(rig.device.status().have, 6);
    rig.end(&content, 3);
    assert_eq!(rig.repair_all(&content), 4, "of the other one");
    assert!(rig.is_activated(&content));
}

#[test]
fn another_image_takes_the_place_of_one_whose_distributor_is_silent() {
    let (first, second) = (Content::new(500, None), Content::new(600, None));
    let mut rig = Rig::new();
    rig.announce(&first);
    rig.send(&first, 0..3);
    rig.sender = member(b"another");
    rig.pass(Duration::from_secs(100));
    rig.application.refuses = Some(Refusal::Kind);
    rig.announce(&second);
    assert_eq!(
        rig.device.image(),
        Some(first.id()),
        "refused: the first one stays"
    );
    assert_eq!(rig.device.status().have, 3);
    rig.application.refuses = None;
    rig.pass(Duration::from_secs(1));
    rig.announce(&second);
    rig.send(&second, 0..10);
    assert!(rig.is_activated(&second));
}

#[test]
fn a_newer_version_takes_the_place_of_an_older_one_if_so_configured() {
    let version = |size, version| {
        let mut content = Content::new(size, None);
        content.announcement = content.announcement.with_version(version);
        content
    };
    let (old, same, newer) = (version(500, 2), version(600, 2), version(700, 3));
    for contention in [Contention::First, Contention::NewerVersion] {
        let mut rig = Rig::with(DeviceConfig {
            contention,
            ..DeviceConfig::default()
        });
        rig.announce(&old);
        rig.send(&old, 0..3);
        rig.pass(Duration::from_secs(1));
        assert_eq!(rig.unicast(&announce(&same)), Code::CONFLICT);
        rig.announce(&newer);
        rig.send(&newer, 0..11);
        rig.send(&old, 0..8);
        match contention {
            Contention::First => assert!(rig.is_activated(&old)),
            Contention::NewerVersion => assert!(rig.is_activated(&newer)),
        }
    }
}

#[test]
fn results_of_work_for_a_distribution_that_is_no_more_count_for_nothing() {
    let (old, newer) = (Content::new(500, None), Content::new(700, None));
    let mut rig = Rig::new();
    rig.announce(&old);
    rig.group(&block_of(&old, 0));
    let (work, task) = rig.device.poll_work().unwrap();
    rig.group(&cancel(&old));
    rig.now = rig.now + Duration::from_secs(1);
    rig.group(&announce(&newer));
    let result = task.perform(&mut rig.memory, &mut rig.application);
    rig.device.work_done(rig.now, work, result);
    rig.work();
    assert_eq!(
        (rig.device.image(), rig.device.status().have),
        (Some(newer.id()), 0)
    );
    rig.device.work_done(rig.now, work, TaskResult::lost());
    assert_eq!(
        rig.state().0,
        DeviceState::Receiving,
        "nothing is known of such work"
    );
    rig.send(&newer, 0..11);
    assert!(rig.is_activated(&newer));
}

#[test]
fn a_device_that_verifies_or_activates_is_not_disturbed() {
    let (first, second) = (Content::new(500, None), Content::new(600, None));
    let mut rig = Rig::with(DeviceConfig {
        contention: Contention::NewerVersion,
        ..DeviceConfig::default()
    });
    rig.announce(&first);
    rig.send(&first, 0..7);
    rig.group(&block_of(&first, 7));
    rig.work_once();
    let (work, task) = rig.device.poll_work().unwrap();
    assert_eq!(rig.state().0, DeviceState::Verifying);
    rig.now = rig.now + Duration::from_secs(200);
    let mut newer = second;
    newer.announcement = newer.announcement.with_version(5);
    assert_eq!(rig.unicast(&announce(&newer)), Code::CONFLICT);
    let result = task.perform(&mut rig.memory, &mut rig.application);
    rig.device.work_done(rig.now, work, result);
    rig.work();
    assert!(rig.is_activated(&first));
}
