//! What counts, of whom, and what is told of it: exactly that.

use std::string::ToString;
use std::vec::Vec;

use super::*;

#[test]
fn what_is_considered_is_cancelled_by_whom_it_came_from_and_nothing_else() {
    let (content, other) = (Content::new(500, None), Content::new(600, None));
    let mut rig = Rig::new();
    rig.group(&announce(&content));
    assert_eq!(rig.unicast(&cancel(&other)), Code::NOT_FOUND);
    let sender = core::mem::replace(&mut rig.sender, member(b"another"));
    assert_eq!(rig.unicast(&cancel(&content)), Code::NOT_FOUND);
    assert_eq!(rig.device.counters().unknown, 2);
    rig.sender = sender;
    rig.work();
    assert_eq!(rig.device.image(), Some(content.id()));
    rig.send(&content, 0..8);
    assert!(rig.is_activated(&content));
}

#[test]
fn of_progress_that_nobody_fetched_the_newest_is_told_and_everything_else_stays() {
    let content = Content::new(640, None);
    let mut rig = Rig::new();
    let perform_all = |rig: &mut Rig| {
        while let Some((work, task)) = rig.device.poll_work() {
            rig.perform(work, task);
        }
    };
    rig.group(&announce(&content));
    perform_all(&mut rig);
    for block in 0..10 {
        rig.group(&block_of(&content, block));
        perform_all(&mut rig);
    }
    let id = content.id();
    let (name, from) = ("test".into(), rig.peer);
    let (have, total) = (10, 10);
    let events: Vec<_> = core::iter::from_fn(|| rig.device.poll_event()).collect();
    assert_eq!(
        events,
        [
            DeviceEvent::Accepted { id, name, from },
            DeviceEvent::Progress { id, have, total },
            DeviceEvent::Verified(id),
            DeviceEvent::Activated(id),
        ]
    );
}

#[test]
fn a_note_alone_is_no_progress() {
    let content = Content::new(640, None);
    let mut rig = Rig::new();
    rig.announce(&content);
    rig.send(&content, 0..3);
    let (notes, events) = (rig.memory.state().notes, rig.events.len());
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.memory.state().notes, notes + 1);
    assert_eq!(rig.events.len(), events);
    assert_eq!(rig.device.counters().stored, 3);
}

#[test]
fn while_it_verifies_a_device_says_that_it_has_everything_and_not_what_is_missing() {
    let content = Content::new(500, None);
    let mut rig = Rig::new();
    rig.receive(&content);
    rig.work_once();
    let (work, task) = rig.device.poll_work().unwrap();
    let id = Some(content.id());
    let verifying = DeviceStatus {
        id,
        state: DeviceState::Verifying,
        code: None,
        have: 8,
        total: 8,
        missing: None,
    };
    assert_eq!(rig.device.status(), verifying);
    assert_eq!(rig.device.next_timeout(), None);
    rig.perform(work, task);
    rig.work();
    let activated = DeviceStatus {
        state: DeviceState::Activated,
        code: Some(Code::CHANGED),
        ..verifying
    };
    assert_eq!(rig.device.status(), activated);
}

#[test]
fn a_result_of_work_that_is_over_says_nothing_of_the_next() {
    let content = Content::new(640, None);
    let mut rig = Rig::new();
    rig.announce(&content);
    rig.group(&block_of(&content, 0));
    let (first, task) = rig.device.poll_work().unwrap();
    rig.perform(first, task);
    rig.group(&block_of(&content, 1));
    let (second, task) = rig.device.poll_work().unwrap();
    assert_ne!(first, second);
    rig.device.work_done(rig.now, first, TaskResult::lost());
    assert_eq!(rig.state().0, DeviceState::Receiving);
    assert!(rig.device.poll_work().is_none(), "the second is under way");
    rig.perform(second, task);
    assert_eq!(rig.device.status().have, 2);
}

#[test]
fn a_note_of_a_distribution_that_is_no_more_is_not_repeated() {
    let content = Content::new(500, None);
    let mut rig = Rig::new();
    rig.receive(&content);
    rig.work_once(); // stored and noted: complete
    rig.boot();
    let (note, _) = rig.work_until(DeviceState::Activated);
    let bomb = Announcement::new(u32::MAX, 16, [0; 32]).unwrap();
    let notice = Command::Notice(Ok(Notice::Announced(bomb)));
    assert_eq!(rig.unicast(&notice), Code::REQUEST_ENTITY_TOO_LARGE);
    rig.device.work_done(rig.now, note, TaskResult::lost());
    assert_eq!(rig.device.next_timeout(), None);
}

#[test]
fn whoever_announces_what_another_began_and_is_refused_costs_nothing() {
    let content = Content::new(640, None);
    let mut rig = Rig::new();
    rig.announce(&content);
    rig.send(&content, 0..3);
    let sender = core::mem::replace(&mut rig.sender, member(b"another"));
    rig.pass(Duration::from_secs(100));
    rig.application.refuses = Some(Refusal::Kind);
    rig.announce(&content);
    let why = DeviceFailure::Refused(Refusal::Kind);
    let id = content.id();
    assert!(rig.events.contains(&DeviceEvent::Failed { id, why }));
    assert_eq!(rig.device.status().have, 3);
    rig.sender = sender;
    rig.send(&content, 3..10);
    assert!(rig.is_activated(&content));
}

#[test]
fn after_a_restart_another_image_that_is_refused_costs_nothing() {
    let (content, other) = (Content::new(64 * 100, None), Content::new(600, None));
    let mut rig = Rig::new();
    rig.announce(&content);
    rig.send(&content, 0..64);
    rig.restart();
    rig.pass(Duration::from_secs(100));
    rig.application.refuses = Some(Refusal::Kind);
    rig.announce(&other);
    let why = DeviceFailure::Refused(Refusal::Kind);
    let id = other.id();
    assert_eq!(rig.events.last(), Some(&DeviceEvent::Failed { id, why }));
    assert_eq!(rig.device.image(), Some(content.id()));
    assert_eq!(rig.device.status().have, 64);
}

#[test]
fn an_answer_that_is_neither_a_block_nor_4_04_is_a_failure_and_no_more() {
    let content = Content::new(640, None);
    for code in [
        Code::INTERNAL_SERVER_ERROR,
        Code::UNAUTHORIZED,
        Code::CHANGED,
    ] {
        let mut rig = Rig::new();
        rig.announce(&content);
        rig.end(&content, 1);
        let repair = rig.next_repair().unwrap();
        let asked = rig.now;
        let mut response = Response::new(code);
        response.payload = content.block(0).to_vec();
        rig.answer(repair, Some(&response));
        assert_eq!(rig.device.status().have, 0);
        let waits = |event: &DeviceEvent| matches!(event, DeviceEvent::Waiting { .. });
        assert!(!rig.events.iter().any(waits), "{code:?}");
        assert_eq!(rig.next_repair().unwrap().block, 0);
        let waited = rig.now.since(asked);
        assert!(waited <= Duration::from_secs(10), "{code:?}: {waited:?}");
        let counters = rig.device.counters();
        assert_eq!((counters.asked, counters.unanswered), (2, 1));
    }
}

#[test]
fn nobody_is_asked_about_an_image_that_is_in_use() {
    let content = Content::new(500, None);
    let mut rig = Rig::new();
    rig.announce(&content);
    rig.send(&content, 0..8);
    let sender = core::mem::replace(&mut rig.sender, member(b"another"));
    assert_eq!(rig.unicast(&announce(&content)), Code::CHANGED);
    assert_eq!(rig.device.counters().foreign, 0);
    rig.restart();
    rig.sender = sender;
    assert_eq!(rig.unicast(&announce(&content)), Code::CHANGED);
    assert!(!rig.work_once());
    assert_eq!(rig.application.asked.len(), 1);
    assert!(rig.is_activated(&content));
}

#[test]
fn a_silence_that_ends_makes_way_for_nobody() {
    let (content, other) = (Content::new(640, None), Content::new(700, None));
    let mut rig = Rig::new();
    rig.announce(&content);
    rig.send(&content, 0..3);
    rig.pass(Duration::from_micros(99_999_999));
    assert_eq!(rig.unicast(&announce(&other)), Code::CONFLICT);
    assert_eq!(rig.device.counters().passed_over, 1);
    rig.pass(Duration::from_micros(1));
    assert_eq!(rig.unicast(&announce(&other)), Code::CHANGED);
}

#[test]
fn why_it_failed_is_said() {
    for (why, text, code) in [
        (
            DeviceFailure::TooLarge,
            "it is larger than the device takes",
            Code::REQUEST_ENTITY_TOO_LARGE,
        ),
        (
            DeviceFailure::NoRoom,
            "there is no room for it",
            Code::REQUEST_ENTITY_TOO_LARGE,
        ),
        (
            DeviceFailure::Storage,
            "the storage failed",
            Code::INTERNAL_SERVER_ERROR,
        ),
        (
            DeviceFailure::Digest,
            "what was received is not what was announced",
            Code::BAD_REQUEST,
        ),
        (
            DeviceFailure::Activation(ActivationError::new("no power")),
            "the activation failed: no power",
            Code::INTERNAL_SERVER_ERROR,
        ),
        (
            DeviceFailure::Refused(Refusal::Version),
            "it is not newer",
            Code::NOT_ACCEPTABLE,
        ),
    ] {
        assert_eq!((why.to_string().as_str(), why.code()), (text, code));
    }
}
