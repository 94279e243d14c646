use std::vec;

use super::*;

/// What is announced, with another image.
fn contradictory(span: Option<u32>) -> Content {
    let mut content = Content::new(1_000, span);
    let it = &content.announcement;
    let mut wrong = Announcement::new(it.size(), it.block_size(), [1; 32]).unwrap();
    if let Some(span) = span {
        wrong = wrong.with_list(span, *it.list_digest().unwrap()).unwrap();
    }
    content.announcement = wrong;
    content
}

// Covers: GC-A.3-02, S0-2.3-01
#[test]
fn an_image_that_is_not_the_announced_one_is_discarded_and_never_activated() {
    // one flipped byte in block 2, found by the digest of the whole; and a digest that no image has
    let mut flipped = Content::new(1_000, None);
    flipped.bytes[2 * 64] ^= 1;
    for content in [flipped, contradictory(None), contradictory(Some(2))] {
        let mut rig = Rig::new();
        rig.application.in_use = vec![1, 2, 3]; // the old image
        rig.announce(&content);
        rig.send(&content, 0..content.blocks());
        let failed = (DeviceState::Failed, Some(Code::BAD_REQUEST));
        assert_eq!(rig.state(), failed);
        assert_eq!(rig.application.activations, 0);
        assert_eq!(rig.application.in_use, [1, 2, 3], "the old one is in use");
        assert!(rig.memory.state().content.is_empty(), "discarded");
        let (id, why) = (content.id(), DeviceFailure::Digest);
        assert_eq!(rig.events.last(), Some(&DeviceEvent::Failed { id, why }));
        let status = rig.device.status();
        assert_eq!((status.have, status.missing), (0, None));
        rig.announce(&content);
        rig.send(&content, 0..content.blocks());
        assert_eq!(rig.state(), failed, "the same is not received again");
        rig.restart();
        assert_eq!(rig.state(), failed, "nor after a restart");
    }
}

#[test]
fn what_is_corrupted_for_ever_is_given_up() {
    let config = DeviceConfig {
        max_corrupted: 3,
        ..DeviceConfig::default()
    };
    let content = Content::new(200, Some(2));
    let wrong = Command::Block {
        id: content.id(),
        block: 0,
        bytes: &[0; 64],
    };
    let mut rig = Rig::with(config);
    rig.announce(&content);
    for round in 1..=3 {
        assert_eq!(rig.state().0, DeviceState::Receiving, "{round}");
        rig.group(&wrong);
        rig.work();
    }
    assert_eq!(rig.state(), (DeviceState::Failed, Some(Code::BAD_REQUEST)));
}

#[test]
fn a_full_storage_is_said_in_the_status_only() {
    let content = Content::new(1_000, None);
    let mut rig = Rig::new();
    rig.memory.state().capacity = Some(999);
    rig.announce(&content);
    let full = (DeviceState::Failed, Some(Code::REQUEST_ENTITY_TOO_LARGE));
    assert_eq!(rig.state(), full);
    let (id, why) = (content.id(), DeviceFailure::NoRoom);
    assert_eq!(rig.events.last(), Some(&DeviceEvent::Failed { id, why }));
    rig.send(&content, 0..16);
    rig.end(&content, 10);
    assert_eq!(rig.next_repair(), None, "nothing is asked for");
    assert_eq!(rig.memory.state().writes, 0);
    // there is room later
    rig.memory.state().capacity = Some(1_000);
    rig.announce(&content);
    assert_eq!(rig.state(), full, "not yet");
    rig.pass(Duration::from_secs(3600));
    rig.announce(&content);
    rig.send(&content, 0..16);
    assert!(rig.is_activated(&content));
}

#[test]
fn what_is_larger_than_the_limits_is_refused_without_asking() {
    let limits = |max_content, max_blocks| DeviceConfig {
        max_content,
        max_blocks,
        ..DeviceConfig::default()
    };
    let content = Content::new(1_000, Some(4)); // 128 bytes of list, 2 blocks, and 16
    for (config, taken) in [
        (limits(1_128, 18), true),
        (limits(1_127, 18), false),
        (limits(1_128, 17), false),
    ] {
        let mut rig = Rig::with(config);
        rig.announce(&content);
        assert_eq!(rig.state().0 == DeviceState::Receiving, taken);
        assert_eq!(rig.application.asked.len(), usize::from(taken));
        if !taken {
            assert_eq!(rig.state().1, Some(Code::REQUEST_ENTITY_TOO_LARGE));
            let (id, why) = (content.id(), DeviceFailure::TooLarge);
            assert_eq!(rig.events, [DeviceEvent::Failed { id, why }]);
        }
    }
    // a block bomb: 4 GiB in blocks of 16 bytes
    let bomb = Announcement::new(u32::MAX, 16, [0; 32])
        .unwrap()
        .with_list(1, [0; 32])
        .unwrap();
    let mut rig = Rig::new();
    rig.group(&Command::Notice(Ok(Notice::Announced(bomb))));
    rig.work();
    assert_eq!(rig.state().1, Some(Code::REQUEST_ENTITY_TOO_LARGE));
}

#[test]
fn a_storage_that_fails_ends_the_distribution() {
    let content = Content::new(1_000, Some(4));
    for fails_after in [0, 1, 5, 17] {
        let mut rig = Rig::new();
        rig.group(&announce(&content));
        rig.work_once();
        if fails_after > 0 {
            rig.work();
        }
        rig.send(&content, 0..fails_after);
        rig.memory.state().failing = true;
        rig.send(&content, fails_after..18);
        rig.work();
        assert_eq!(
            rig.state(),
            (DeviceState::Failed, Some(Code::INTERNAL_SERVER_ERROR))
        );
        let (id, why) = (content.id(), DeviceFailure::Storage);
        assert_eq!(rig.events.last(), Some(&DeviceEvent::Failed { id, why }));
    }
}

#[test]
fn a_worker_that_gives_up_is_as_a_storage_that_fails() {
    let content = Content::new(200, Some(1));
    for lost in 0..20 {
        let mut rig = Rig::unstarted(DeviceConfig::default());
        let (mut step, mut done) = (0, false);
        let mut blocks = 0..content.blocks();
        while !done {
            while let Some((work, task)) = rig.device.poll_work() {
                let result = match step == lost {
                    true => TaskResult::lost(),
                    false => task.perform(&mut rig.memory, &mut rig.application),
                };
                rig.device.work_done(rig.now, work, result);
                step += 1;
            }
            if rig.device.image().is_none() {
                rig.now = rig.now + Duration::from_secs(2);
                rig.group(&announce(&content));
            } else if let Some(block) = blocks.next() {
                rig.group(&block_of(&content, block));
            } else {
                done = true;
            }
        }
        let state = rig.state();
        assert!(state.0.is_final(), "{lost}: {state:?}");
        if state.0 == DeviceState::Failed {
            assert_ne!(rig.application.activations, 2);
        } else {
            assert!(rig.is_activated(&content));
        }
    }
}

#[test]
fn an_activation_that_fails_is_reported_and_not_repeated() {
    let content = Content::new(500, None);
    let mut rig = Rig::new();
    rig.application.fails = Some("wrong hardware");
    rig.announce(&content);
    rig.send(&content, 0..8);
    assert_eq!(
        rig.state(),
        (DeviceState::Failed, Some(Code::INTERNAL_SERVER_ERROR))
    );
    let why = DeviceFailure::Activation(ActivationError::new("wrong hardware"));
    assert_eq!(
        std::format!("{why}"),
        "the activation failed: wrong hardware"
    );
    let id = content.id();
    assert_eq!(rig.events.last(), Some(&DeviceEvent::Failed { id, why }));
    rig.announce(&content);
    rig.restart();
    rig.announce(&content);
    assert_eq!(rig.application.activations, 1);
    assert_eq!(
        rig.state(),
        (DeviceState::Failed, Some(Code::INTERNAL_SERVER_ERROR))
    );
}

#[test]
fn what_is_not_for_the_device_is_refused() {
    let content = Content::new(500, None);
    for refusal in [
        Refusal::Kind,
        Refusal::Version,
        Refusal::Signature,
        Refusal::Permission,
        Refusal::Other,
    ] {
        let mut rig = Rig::new();
        rig.application.refuses = Some(refusal);
        rig.announce(&content);
        assert_eq!(
            rig.state(),
            (DeviceState::Failed, Some(Code::NOT_ACCEPTABLE))
        );
        let (id, why) = (content.id(), DeviceFailure::Refused(refusal));
        assert_eq!(rig.events, [DeviceEvent::Failed { id, why }]);
        rig.send(&content, 0..8);
        assert_eq!(rig.memory.state().prepared, 0, "no room is made");
        assert_eq!(rig.memory.state().writes, 0);
        rig.pass(Duration::from_secs(3599));
        rig.announce(&content);
        assert_eq!(rig.application.asked.len(), 1);
        rig.pass(Duration::from_secs(1));
        rig.application.refuses = None;
        rig.announce(&content);
        assert_eq!(rig.state().0, DeviceState::Receiving, "an hour later");
    }
}

#[test]
fn a_cancelled_distribution_leaves_nothing() {
    let content = Content::new(500, None);
    let mut rig = Rig::new();
    rig.announce(&content);
    rig.send(&content, 0..5);
    rig.group(&cancel(&content));
    rig.work();
    assert_eq!(rig.device.status(), DeviceStatus::default());
    assert_eq!(
        rig.events.last(),
        Some(&DeviceEvent::Cancelled(content.id()))
    );
    assert!(rig.memory.state().content.is_empty());
    rig.restart();
    assert_eq!(rig.device.status(), DeviceStatus::default());
    rig.pass(Duration::from_secs(1));
    rig.announce(&content);
    rig.send(&content, 0..8);
    assert!(rig.is_activated(&content));
    assert_eq!(rig.unicast(&cancel(&content)), Code::CONFLICT, "too late");
    assert!(rig.is_activated(&content));
}

#[test]
fn a_cancellation_while_the_application_thinks_counts() {
    let content = Content::new(500, None);
    let mut rig = Rig::new();
    rig.group(&announce(&content));
    let (work, task) = rig.device.poll_work().unwrap();
    rig.group(&cancel(&content));
    // another one is announced meanwhile: what the application says of the first is not said of it
    let other = Content::new(600, None);
    rig.now = rig.now + Duration::from_secs(1);
    rig.group(&announce(&other));
    let result = task.perform(&mut rig.memory, &mut rig.application);
    rig.device.work_done(rig.now, work, result);
    assert_eq!(rig.device.status().id, None);
    rig.work();
    assert_eq!(rig.device.status().id, Some(other.id()));
    assert_eq!(rig.application.asked.len(), 2);
}

#[test]
fn a_cancellation_while_the_image_is_verified_counts() {
    let content = Content::new(500, None);
    let mut rig = Rig::new();
    rig.announce(&content);
    rig.send(&content, 0..7);
    rig.group(&block_of(&content, 7));
    assert!(rig.work_once());
    let (work, task) = rig.device.poll_work().unwrap(); // verifies
    assert_eq!(rig.state().0, DeviceState::Verifying);
    rig.group(&cancel(&content));
    let result = task.perform(&mut rig.memory, &mut rig.application);
    rig.device.work_done(rig.now, work, result);
    rig.work();
    assert_eq!(rig.device.status(), DeviceStatus::default());
    assert_eq!(rig.application.activations, 0);
    assert!(rig.memory.state().content.is_empty());
}
