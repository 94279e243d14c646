use std::vec;
use std::vec::Vec;

use super::*;

#[test]
fn a_device_that_restarts_goes_on_where_it_noted() {
    let content = Content::new(64 * 200, Some(10));
    let mut rig = Rig::new();
    rig.announce(&content);
    rig.send(&content, 0..130);
    rig.restart();
    let (id, total) = (content.id(), content.blocks());
    let restored = DeviceEvent::Restored {
        id,
        have: 128,
        total,
    };
    assert_eq!(rig.events.last(), Some(&restored));
    assert_eq!(rig.state(), (DeviceState::Receiving, None));
    // until its distributor is heard again, nothing counts and nothing is asked for
    rig.send(&content, [150]);
    assert_eq!(rig.device.counters().foreign, 1);
    assert_eq!(rig.next_repair(), None);
    rig.announce(&content);
    assert_eq!(
        rig.application.asked.len(),
        2,
        "it may be permitted no more"
    );
    assert_eq!(rig.memory.state().prepared, 1, "what is there stays");
    rig.send(&content, 150..total);
    rig.end(&content, 5);
    assert_eq!(rig.repair_all(&content), 150 - 128);
    assert!(rig.is_activated(&content));
}

#[test]
fn what_is_no_more_wanted_after_a_restart_does_not_go_on() {
    let content = Content::new(64 * 100, None);
    let mut rig = Rig::new();
    rig.announce(&content);
    rig.send(&content, 0..64);
    rig.restart();
    rig.application.refuses = Some(Refusal::Version);
    rig.announce(&content);
    let refused = (DeviceState::Failed, Some(Code::NOT_ACCEPTABLE));
    assert_eq!(rig.state(), refused);
    let why = DeviceFailure::Refused(Refusal::Version);
    let id = content.id();
    assert_eq!(rig.events.last(), Some(&DeviceEvent::Failed { id, why }));
    rig.send(&content, 64..100);
    assert_eq!(rig.device.status().have, 0);
    assert!(rig.memory.state().content.is_empty(), "discarded");
    rig.restart();
    assert_eq!(rig.state(), refused, "noted");
    // another distributor that is refused disturbs nobody
    let other = Content::new(500, None);
    rig.application.refuses = None;
    rig.pass(Duration::from_secs(1));
    rig.announce(&other);
    rig.send(&other, 0..3);
    rig.sender = member(b"another");
    rig.pass(Duration::from_secs(100));
    rig.application.refuses = Some(Refusal::Permission);
    rig.announce(&other);
    assert_eq!(rig.state(), (DeviceState::Receiving, None));
    rig.sender = member(b"distributor");
    rig.send(&other, 3..8);
    assert!(rig.is_activated(&other));
}

#[test]
fn another_s_announcement_of_an_image_that_was_kept_does_not_cost_it() {
    let content = Content::new(64 * 100, None);
    for refusal in [Refusal::Permission, Refusal::Signature, Refusal::Other] {
        let mut rig = Rig::new();
        rig.announce(&content);
        rig.send(&content, 0..64);
        rig.restart();
        rig.sender = member(b"another");
        rig.application.refuses = Some(refusal);
        rig.announce(&content);
        let why = DeviceFailure::Refused(refusal);
        let id = content.id();
        assert_eq!(rig.events.last(), Some(&DeviceEvent::Failed { id, why }));
        assert_eq!(rig.state(), (DeviceState::Receiving, None));
        assert_eq!(rig.device.status().have, 64);
        rig.sender = member(b"distributor");
        rig.application.refuses = None;
        rig.pass(Duration::from_secs(1));
        rig.announce(&content);
        rig.send(&content, 64..100);
        assert!(rig.is_activated(&content), "{refusal:?}");
    }
}

#[test]
fn a_device_that_restarted_takes_a_cancellation_from_whom_the_application_permits() {
    let content = Content::new(64 * 100, None);
    for refuses in [None, Some(Refusal::Permission)] {
        let mut rig = Rig::new();
        rig.announce(&content);
        rig.send(&content, 0..64);
        rig.restart();
        rig.application.refuses = refuses;
        assert_eq!(rig.unicast(&cancel(&content)), Code::CHANGED);
        let sender = core::mem::replace(&mut rig.sender, member(b"another"));
        let too_soon = rig.unicast(&cancel(&content));
        assert_eq!(too_soon, Code::SERVICE_UNAVAILABLE, "one at a time");
        rig.sender = sender.clone();
        rig.work();
        assert_eq!(rig.application.asked.last(), Some(&(content.id(), sender)));
        if refuses.is_none() {
            let cancelled = DeviceEvent::Cancelled(content.id());
            assert_eq!(rig.events.last(), Some(&cancelled));
            assert_eq!(rig.device.status(), DeviceStatus::default());
            assert!(rig.memory.state().content.is_empty(), "discarded");
            continue;
        }
        assert_eq!(rig.device.status().have, 64, "as if nothing was said");
        assert_eq!(rig.device.counters().foreign, 1);
        rig.application.refuses = None;
        rig.pass(Duration::from_secs(1));
        rig.announce(&content);
        rig.send(&content, 64..100);
        assert!(rig.is_activated(&content));
    }
}

#[test]
fn a_cancellation_that_follows_the_announcement_after_a_restart_counts() {
    let content = Content::new(500, None);
    let mut rig = Rig::new();
    rig.announce(&content);
    rig.send(&content, 0..3);
    rig.restart();
    rig.group(&announce(&content));
    rig.group(&cancel(&content));
    rig.work();
    assert_eq!(rig.application.asked.len(), 2);
    assert_eq!(rig.device.status(), DeviceStatus::default());
}

#[test]
fn a_cancellation_that_is_permitted_too_late_changes_nothing() {
    let content = Content::new(500, None);
    let mut rig = Rig::new();
    rig.receive(&content);
    rig.work_once(); // stored and noted: complete
    rig.boot();
    let (work, task) = rig.work_until(DeviceState::Activating);
    assert_eq!(rig.unicast(&cancel(&content)), Code::FORBIDDEN);
    rig.perform(work, task);
    rig.work();
    assert!(rig.is_activated(&content));
}

#[test]
fn an_image_of_before_a_restart_holds_another_up_for_one_silence() {
    let (first, second) = (Content::new(500, None), Content::new(600, None));
    let mut rig = Rig::new();
    rig.announce(&first);
    rig.pass(Duration::from_secs(3_600));
    rig.restart();
    rig.pass(Duration::from_secs(99));
    rig.announce(&second);
    assert_eq!(rig.device.image(), Some(first.id()));
    rig.pass(Duration::from_secs(1));
    rig.announce(&second);
    assert_eq!(rig.device.image(), Some(second.id()));
}

#[test]
fn that_an_image_is_in_use_is_noted_again_until_it_is_noted() {
    let content = Content::new(500, None);
    let mut rig = Rig::new();
    rig.receive(&content);
    let (work, task) = rig.work_until(DeviceState::Activating);
    rig.perform(work, task);
    rig.memory.state().full_notes = true;
    rig.work();
    assert!(rig.is_activated(&content));
    rig.pass(Duration::from_secs(5)); // once more in vain
    rig.memory.state().full_notes = false;
    let due = rig.now + Duration::from_secs(5);
    assert_eq!(rig.device.next_timeout(), Some(due));
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.device.next_timeout(), None);
    rig.restart();
    assert!(rig.is_activated(&content));
    assert_eq!(rig.application.activations, 1, "it is known to be in use");
}

#[test]
fn a_complete_image_that_is_refused_after_a_restart_is_not_activated() {
    let content = Content::new(500, None);
    for refused in [true, false] {
        let mut rig = Rig::new();
        rig.receive(&content);
        rig.work_once(); // stored and noted: complete
        rig.boot();
        rig.work_once(); // read
        let (work, task) = rig.device.poll_work().unwrap(); // verifies
        if refused {
            rig.application.refuses = Some(Refusal::Version);
        }
        rig.group(&announce(&content));
        rig.perform(work, task);
        rig.work();
        assert_eq!(rig.application.asked.len(), 2);
        assert_eq!(rig.application.activations, usize::from(!refused));
        match refused {
            true => assert_eq!(rig.state().1, Some(Code::NOT_ACCEPTABLE)),
            false => assert!(rig.is_activated(&content)),
        }
    }
}

#[test]
fn what_the_application_says_of_an_image_that_is_in_use_meanwhile_counts_for_nothing() {
    let content = Content::new(500, None);
    for refuses in [None, Some(Refusal::Version)] {
        let mut rig = Rig::new();
        rig.receive(&content);
        rig.work_once();
        rig.boot();
        let (work, task) = rig.work_until(DeviceState::Activating);
        rig.group(&announce(&content));
        rig.perform(work, task);
        rig.application.refuses = refuses;
        rig.work();
        assert_eq!(rig.application.asked.len(), 2);
        assert!(rig.is_activated(&content), "{refuses:?}");
        assert_eq!(rig.memory.state().prepared, 1);
    }
}

#[test]
fn a_power_cut_at_every_step_loses_nothing_that_was_noted_and_activates_nothing_unverified() {
    let content = Content::new(64 * 30, Some(4));
    let config = DeviceConfig {
        note_blocks: 7,
        ..DeviceConfig::default()
    };
    let steps = 80;
    for cut in 0..steps {
        let mut rig = Rig::with(config.clone());
        rig.group(&announce(&content));
        let mut blocks = 0..content.blocks();
        for _ in 0..cut {
            if rig.work_once() {
                continue;
            }
            match blocks.next() {
                Some(block) => rig.group(&block_of(&content, block)),
                None => break,
            }
        }
        let known = rig.device.status();
        let activations = rig.application.activations;
        rig.restart();
        if known.state == DeviceState::Receiving && rig.device.image().is_some() {
            let have = rig.device.status().have;
            assert!(
                have <= known.have + 1 && have + 7 > known.have,
                "{cut}: {known:?}"
            );
        }
        assert!(activations <= 1);
        rig.pass(Duration::from_secs(2));
        rig.announce(&content);
        rig.end(&content, 5);
        rig.repair_all(&content);
        assert!(rig.is_activated(&content), "{cut}");
        assert_eq!(rig.memory.state().content, content.bytes);
    }
}

#[test]
fn a_power_cut_during_activation_repeats_it_without_the_distributor() {
    let content = Content::new(500, Some(2));
    let mut rig = Rig::new();
    rig.receive(&content);
    let (_, task) = rig.work_until(DeviceState::Activating);
    // it did half of it, or all of it: nobody knows
    drop(task.perform(&mut rig.memory, &mut rig.application));
    rig.application.in_use = vec![0];
    rig.restart();
    assert!(rig.is_activated(&content));
    assert_eq!(rig.application.activations, 2);
    rig.restart();
    assert_eq!(
        rig.application.activations, 2,
        "once it is noted, never again"
    );
    assert!(rig.is_activated(&content));
    rig.announce(&content);
    rig.send(&content, 0..3);
    assert!(rig.is_activated(&content));
}

#[test]
fn an_activation_that_restarts_the_device_is_begun_three_times() {
    let content = Content::new(500, Some(2));
    let old = Content::new(300, None);
    let mut rig = Rig::new();
    rig.announce(&old);
    rig.send(&old, 0..5);
    rig.pass(Duration::from_secs(1));
    rig.receive(&content);
    for begun in 2..=4 {
        let (_, task) = rig.work_until(DeviceState::Activating);
        drop(task.perform(&mut rig.memory, &mut rig.application));
        assert_eq!(rig.application.activations, begun);
        rig.boot();
    }
    rig.events.clear();
    rig.work();
    let failed = (DeviceState::Failed, Some(Code::INTERNAL_SERVER_ERROR));
    assert_eq!(rig.state(), failed);
    assert_eq!(rig.application.activations, 4);
    let why = ActivationError::new("it was begun again and again, and never ended");
    let (id, why) = (content.id(), DeviceFailure::Activation(why));
    assert_eq!(rig.events, [DeviceEvent::Failed { id, why }]);
    assert!(rig.memory.state().content.is_empty(), "discarded");
    rig.announce(&content);
    rig.restart();
    assert_eq!(rig.state(), failed, "noted");
    rig.pass(Duration::from_secs(1));
    rig.announce(&old);
    assert_eq!(
        rig.state().0,
        DeviceState::Receiving,
        "it may not be in use"
    );
}

#[test]
fn an_activation_that_ends_when_it_is_begun_again_counts() {
    let content = Content::new(500, Some(2));
    let mut rig = Rig::new();
    rig.receive(&content);
    for _ in 0..2 {
        let (_, task) = rig.work_until(DeviceState::Activating);
        drop(task.perform(&mut rig.memory, &mut rig.application));
        rig.boot();
    }
    rig.work();
    let (id, total) = (content.id(), content.blocks());
    let have = total;
    assert!(
        rig.events
            .contains(&DeviceEvent::Restored { id, have, total })
    );
    assert!(rig.is_activated(&content));
    assert_eq!(rig.application.activations, 3);
}

#[test]
fn an_activation_that_cannot_be_noted_is_not_begun() {
    let content = Content::new(500, None);
    for (failing, full, code) in [
        (true, false, Code::INTERNAL_SERVER_ERROR),
        (false, true, Code::REQUEST_ENTITY_TOO_LARGE),
    ] {
        let mut rig = Rig::new();
        rig.receive(&content);
        let (work, task) = rig.work_until(DeviceState::Activating);
        rig.memory.state().failing = failing;
        rig.memory.state().full_notes = full;
        rig.perform(work, task);
        rig.work();
        assert_eq!(rig.state(), (DeviceState::Failed, Some(code)));
        assert_eq!(rig.application.activations, 0);
    }
}

#[test]
fn an_activation_beyond_the_limits_of_today_is_not_begun_again() {
    let content = Content::new(500, None);
    let mut rig = Rig::new();
    rig.receive(&content);
    let (_, task) = rig.work_until(DeviceState::Activating);
    drop(task.perform(&mut rig.memory, &mut rig.application));
    rig.config.max_blocks = 7;
    rig.restart();
    assert_eq!(rig.device.status(), DeviceStatus::default());
    assert_eq!(rig.application.activations, 1);
}

#[test]
fn what_rotted_on_the_disk_is_not_activated() {
    let content = Content::new(64 * 8, None);
    let mut rig = Rig::new();
    rig.receive(&content);
    rig.work_once(); // stored and noted: complete
    rig.memory.state().content[100] ^= 1;
    rig.restart();
    assert_eq!(rig.state(), (DeviceState::Failed, Some(Code::BAD_REQUEST)));
    assert_eq!(rig.application.activations, 0);
}

#[test]
fn a_record_that_cannot_be_read_is_as_none() {
    let content = Content::new(500, None);
    let mut rig = Rig::new();
    rig.announce(&content);
    rig.memory.state().record = Some(vec![1, 2, 3]);
    rig.restart();
    assert_eq!(rig.events.last(), Some(&DeviceEvent::Forgotten));
    assert_eq!(rig.device.status(), DeviceStatus::default());
    rig.announce(&content);
    rig.send(&content, 0..8);
    assert!(rig.is_activated(&content));
}

#[test]
fn a_noted_distribution_beyond_the_limits_of_today_is_discarded() {
    let content = Content::new(500, None);
    let mut rig = Rig::new();
    rig.announce(&content);
    rig.config.max_content = 499;
    rig.restart();
    assert_eq!(rig.device.status(), DeviceStatus::default());
    assert!(rig.memory.state().content.is_empty());
}

#[test]
fn a_distributor_that_restarts_is_known_again() {
    let content = Content::new(64 * 20, None);
    // secured: by its identity, wherever it is; without security: by its address, whatever its port
    let unsecured = DeviceConfig {
        proven_only: false,
        ..DeviceConfig::default()
    };
    let moved: SocketAddr = "192.0.2.1:61234".parse().unwrap();
    for (config, sender, to) in [
        (DeviceConfig::default(), member(b"distributor"), peer(9)),
        (unsecured.clone(), Sender::Unauthenticated, moved),
    ] {
        let mut rig = Rig::with(config);
        rig.sender = sender;
        rig.announce(&content);
        rig.send(&content, 0..10);
        rig.peer = to;
        rig.announce(&content);
        assert_eq!(rig.application.asked.len(), 1);
        rig.send(&content, 10..15);
        assert_eq!(rig.device.status().have, 15);
        rig.end(&content, 5);
        assert_eq!(rig.repair_all(&content), 5, "from where it is now");
        assert!(rig.is_activated(&content));
    }
    // a block from another port alone is from another one
    let mut rig = Rig::with(unsecured);
    rig.sender = Sender::Unauthenticated;
    rig.announce(&content);
    rig.peer = moved;
    rig.send(&content, 0..3);
    assert_eq!(
        (rig.device.status().have, rig.device.counters().foreign),
        (0, 3)
    );
}

#[test]
fn what_is_in_use_is_known_after_other_announcements() {
    let (first, second) = (Content::new(500, None), Content::new(600, None));
    let mut rig = Rig::new();
    rig.announce(&first);
    rig.send(&first, 0..8);
    rig.application.refuses = Some(Refusal::Kind);
    rig.pass(Duration::from_secs(1));
    rig.announce(&second);
    assert_eq!(
        rig.state(),
        (DeviceState::Failed, Some(Code::NOT_ACCEPTABLE))
    );
    rig.announce(&first);
    assert!(rig.is_activated(&first), "neither asked nor received again");
    assert_eq!(rig.application.activations, 1);
    rig.application.refuses = None;
    rig.pass(Duration::from_secs(3600));
    rig.announce(&second);
    rig.send(&second, 0..3);
    rig.restart();
    rig.pass(Duration::from_secs(1));
    rig.announce(&second);
    rig.send(&second, 0..10);
    assert!(rig.is_activated(&second));
    let asked: Vec<ImageId> = rig.application.asked.iter().map(|(id, _)| *id).collect();
    assert_eq!(asked, [first.id(), second.id(), second.id(), second.id()]);
}

#[test]
fn after_a_power_cut_during_activation_the_old_image_is_not_taken_for_the_one_in_use() {
    let (first, second) = (Content::new(500, None), Content::new(600, None));
    let mut rig = Rig::new();
    rig.announce(&first);
    rig.send(&first, 0..8);
    rig.pass(Duration::from_secs(1));
    rig.announce(&second);
    rig.send(&second, 0..9);
    rig.group(&block_of(&second, 9));
    let (work, task) = rig.device.poll_work().unwrap(); // stores and notes
    rig.perform(work, task);
    rig.memory.state().content[0] ^= 1; // and what it had activated cannot be found any more
    rig.restart();
    assert_eq!(rig.state(), (DeviceState::Failed, Some(Code::BAD_REQUEST)));
    rig.pass(Duration::from_secs(1));
    rig.announce(&first);
    assert_eq!(
        rig.state().0,
        DeviceState::Receiving,
        "it may not be in use"
    );
    rig.send(&first, 0..8);
    assert!(rig.is_activated(&first));
}
