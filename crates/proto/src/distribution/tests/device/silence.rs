//! When the distributor is not heard: asking alone, waiting, and going on.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A device that has the first three blocks of ten.
fn begun(content: &Content) -> Rig {
    let mut rig = Rig::new();
    rig.announce(content);
    rig.send(content, 0..3);
    rig
}

fn waiting(content: &Content, missing: u32) -> DeviceEvent {
    let id = content.id();
    DeviceEvent::Waiting { id, missing }
}

#[test]
fn asking_that_a_silence_began_ends_when_the_distributor_is_heard() {
    let content = Content::new(640, None);
    let heard: [fn(&mut Rig, &Content); 3] = [
        |rig, content| rig.announce(content),
        |rig, content| rig.send(content, [9]),
        |rig, content| rig.end(content, 0),
    ];
    for heard in heard {
        let mut rig = begun(&content);
        rig.pass(100 * SECOND);
        let repair = rig.next_repair().unwrap();
        heard(&mut rig, &content);
        // what was asked for already is taken, and nothing else is asked for
        rig.answer(repair.clone(), Some(&block_response(&content, 3)));
        assert_eq!(rig.device.counters().repaired, 1);
        assert_eq!(rig.device.poll_repair(rig.now), None);
        rig.pass(99 * SECOND);
        assert_eq!(rig.device.poll_repair(rig.now), None);
        // until it is silent again
        rig.pass(12 * SECOND);
        rig.pass(12 * SECOND);
        assert_eq!(rig.device.poll_repair(rig.now).unwrap().block, 4);
    }
}

#[test]
fn the_time_without_a_distributor_is_no_gap_between_its_messages() {
    let content = Content::new(640, None);
    for restarts in [true, false] {
        let mut rig = begun(&content);
        rig.pass(3_600 * SECOND); // noted, too
        match restarts {
            true => rig.restart(),
            false => rig.sender = member(b"another"),
        }
        rig.pass(3_600 * SECOND);
        rig.announce(&content);
        assert_eq!(rig.application.asked.len(), 2);
        let twenty_minutes = rig.now + 1_200 * SECOND;
        assert_eq!(rig.device.next_timeout(), Some(twenty_minutes));
        rig.send(&content, [2]); // which is there
        let silent = rig.now + 100 * SECOND;
        assert_eq!(rig.device.next_timeout(), Some(silent), "{restarts}");
    }
}

#[test]
fn what_the_distributor_began_goes_on_when_it_is_heard() {
    let content = Content::new(640, None);
    let mut rig = begun(&content);
    rig.end(&content, 1);
    rig.announce(&content);
    rig.send(&content, [3]);
    rig.pass(SECOND);
    let repair = rig.device.poll_repair(rig.now).unwrap();
    assert_eq!(repair.block, 4);
    // an end after a silence is an end
    let mut rig = begun(&content);
    rig.pass(100 * SECOND);
    rig.next_repair().unwrap();
    rig.end(&content, 1);
    rig.announce(&content);
    rig.pass(SECOND);
    let at = rig.device.next_timeout();
    assert_eq!(at, None, "the answer is waited for");
    let asked = |event: &&DeviceEvent| matches!(event, DeviceEvent::Repairing { .. });
    assert_eq!(rig.events.iter().filter(asked).count(), 2);
}

#[test]
fn at_a_byte_a_second_nobody_asks_between_two_blocks() {
    let content = Content::new(64 * 40, None);
    let mut rig = Rig::new();
    let (announcement, block) = (200 * SECOND, 1_120 * SECOND);
    for _ in 0..3 {
        rig.announce(&content);
        rig.pass(announcement);
    }
    for number in 0..39 {
        // every fourth is lost, and once three in a row
        if number % 4 != 3 && !(20..23).contains(&number) {
            rig.send(&content, [number]);
        }
        rig.pass(block);
        assert_eq!(rig.device.poll_repair(rig.now), None, "{number}");
    }
    assert_eq!(rig.device.counters().asked, 0);
    let asked = |event: &DeviceEvent| matches!(event, DeviceEvent::Repairing { .. });
    assert!(!rig.events.iter().any(asked));
    // but when nothing comes for four times as long and more
    let heard = rig.now - block;
    rig.next_repair().unwrap();
    let after = rig.now.since(heard);
    assert!(
        after > 4 * block && after <= 6 * 3_600 * SECOND * 11 / 10,
        "{after:?}"
    );
}

#[test]
fn a_distributor_that_is_gone_is_asked_sixteen_times() {
    let content = Content::new(640, None);
    for alone in [true, false] {
        let mut rig = begun(&content);
        match alone {
            true => rig.pass(100 * SECOND),
            false => rig.end(&content, 10),
        }
        // an answer in between, whatever it says: it is there
        for failure in 0..15 {
            let repair = rig.next_repair().unwrap();
            rig.answer(repair, None);
            assert_eq!(rig.device.counters().unanswered, failure + 1);
        }
        let repair = rig.next_repair().unwrap();
        match alone {
            true => rig.answer(repair, Some(&block_response(&content, 3))),
            false => rig.answer(repair, Some(&Response::new(Code::SERVICE_UNAVAILABLE))),
        }
        for _ in 0..16 {
            assert!(
                !rig.events
                    .contains(&waiting(&content, if alone { 6 } else { 7 }))
            );
            let repair = rig.next_repair().unwrap();
            rig.answer(repair, None);
        }
        let missing = if alone { 6 } else { 7 };
        assert_eq!(rig.events.last(), Some(&waiting(&content, missing)));
        let asked = rig.device.counters().asked;
        assert_eq!(asked, 32);
        assert_eq!(rig.next_repair(), None, "not within a day");
        assert_eq!(rig.device.next_timeout(), None);
        rig.pass(86_400 * SECOND);
        assert_eq!(rig.next_repair(), None);
        // what is there is kept, and it goes on when the distributor is heard
        assert_eq!(rig.state(), (DeviceState::Receiving, None));
        assert_eq!(rig.device.status().have, 10 - missing);
        rig.announce(&content);
        assert_eq!(rig.application.asked.len(), 1);
        rig.end(&content, 1);
        assert_eq!(rig.repair_all(&content), missing);
        assert!(rig.is_activated(&content));
    }
}

#[test]
fn a_distributor_that_knows_nothing_of_the_image_is_asked_no_more() {
    let content = Content::new(640, None);
    let unknown = Response::new(Code::NOT_FOUND);
    let mut rig = begun(&content);
    rig.end(&content, 1);
    // somebody else says so
    let repair = rig.next_repair().unwrap();
    let stranger = member(b"stranger");
    let answer = Some((&unknown, &stranger));
    rig.device.repaired(rig.now, repair.repair, answer);
    // the distributor does
    let repair = rig.next_repair().unwrap();
    assert!(!rig.events.contains(&waiting(&content, 7)));
    rig.answer(repair, Some(&unknown));
    assert_eq!(rig.events.last(), Some(&waiting(&content, 7)));
    assert_eq!(rig.device.counters().unanswered, 2);
    assert_eq!(rig.next_repair(), None);
    assert_eq!(rig.device.status().have, 3);
    // a block that comes after all is taken, and silence begins anew
    rig.send(&content, [3]);
    assert_eq!(rig.device.status().have, 4);
    assert_eq!(rig.repair_all(&content), 6);
    assert!(rig.is_activated(&content));
}

#[test]
fn a_cancellation_that_was_missed_holds_nobody_up() {
    let (first, second) = (Content::new(640, None), Content::new(700, None));
    let mut rig = begun(&first);
    rig.end(&first, 1);
    rig.announce(&second);
    assert_eq!(rig.device.image(), Some(first.id()));
    let repair = rig.next_repair().unwrap();
    rig.answer(repair, Some(&Response::new(Code::NOT_FOUND)));
    rig.pass(SECOND);
    rig.announce(&second);
    rig.send(&second, 0..11);
    assert!(rig.is_activated(&second));
}

#[test]
fn an_answer_4_04_to_what_was_asked_before_the_distributor_was_heard_says_nothing() {
    let content = Content::new(640, None);
    let mut rig = begun(&content);
    rig.pass(100 * SECOND);
    let repair = rig.next_repair().unwrap();
    rig.announce(&content);
    rig.answer(repair, Some(&Response::new(Code::NOT_FOUND)));
    assert!(!rig.events.contains(&waiting(&content, 7)));
    assert_eq!(rig.repair_all(&content), 7, "after the next silence");
}

#[test]
fn only_blocks_of_its_own_distributor_end_a_silence() {
    let content = Content::new(640, None);
    let mut rig = begun(&content);
    rig.pass(100 * SECOND);
    let repair = rig.next_repair().unwrap();
    rig.sender = member(b"another");
    rig.send(&content, [5]);
    rig.sender = member(b"distributor");
    rig.answer(repair, Some(&block_response(&content, 3)));
    assert_eq!(rig.device.poll_repair(rig.now).unwrap().block, 4);
}
