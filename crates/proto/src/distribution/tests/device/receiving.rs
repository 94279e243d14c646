use std::vec;
use std::vec::Vec;

use antiphon_wire::OptionNumber;

use super::*;

#[test]
fn an_image_is_received_verified_and_activated() {
    for span in [None, Some(1), Some(4), Some(100)] {
        let content = Content::new(1_000, span);
        let mut rig = Rig::new();
        assert_eq!(rig.device.status(), DeviceStatus::default());
        rig.announce(&content);
        assert_eq!(rig.application.asked, [(content.id(), rig.sender.clone())]);
        assert_eq!(rig.state(), (DeviceState::Receiving, None));
        rig.send(&content, 0..content.blocks());
        assert!(rig.is_activated(&content), "{span:?}");
        assert_eq!(rig.memory.state().content, content.bytes);
        assert_eq!(rig.application.activations, 1);
        assert_eq!(rig.device.image(), Some(content.id()));
        let status = rig.device.status();
        assert_eq!(
            (status.have, status.total),
            (content.blocks(), content.blocks())
        );
        assert_eq!(rig.device.counters().stored, u64::from(content.blocks()));
        let id = content.id();
        let (name, from) = ("test".into(), rig.peer);
        assert_eq!(
            rig.events.first(),
            Some(&DeviceEvent::Accepted { id, name, from })
        );
        let last = &rig.events[rig.events.len() - 2..];
        assert_eq!(
            last,
            [DeviceEvent::Verified(id), DeviceEvent::Activated(id)]
        );
        assert_eq!(rig.device.next_timeout(), None);
    }
}

#[test]
fn blocks_may_come_in_any_order_and_more_than_once() {
    let content = Content::new(2_000, Some(3));
    let mut rig = Rig::new();
    rig.announce(&content);
    let backwards: Vec<u32> = (0..content.blocks()).rev().collect();
    rig.send(&content, backwards[..20].iter().copied());
    rig.send(&content, backwards[..20].iter().copied());
    assert_eq!(rig.device.counters().duplicate, 20);
    assert_eq!(rig.device.status().have, 20);
    rig.announce(&content);
    assert_eq!(rig.application.asked.len(), 1, "it is asked once");
    rig.send(&content, backwards);
    assert!(rig.is_activated(&content));
    let writes = rig.memory.state().writes;
    assert_eq!(writes, content.blocks() as usize, "each is written once");
    rig.send(&content, 0..content.blocks());
    rig.announce(&content);
    assert_eq!(
        rig.memory.state().writes,
        writes,
        "nothing after completion"
    );
    assert_eq!(rig.application.activations, 1);
    let twice = 20 + 20 + u64::from(content.blocks());
    assert_eq!(rig.device.counters().duplicate, twice);
}

#[test]
fn the_status_says_what_is_missing_by_unicast_only() {
    let content = Content::new(1_000, None);
    let mut rig = Rig::new();
    let idle = rig.tell(true, &Command::Status).unwrap();
    assert_eq!(
        DeviceStatus::decode(&idle.payload),
        Ok(DeviceStatus::default())
    );
    rig.announce(&content);
    rig.send(&content, [0, 1, 2, 5]);
    let to_group = rig.tell(true, &Command::Status).unwrap();
    let status = DeviceStatus::decode(&to_group.payload).unwrap();
    let counts = (status.id, status.have, status.total, status.missing);
    assert_eq!(counts, (Some(content.id()), 4, 16, None));
    let by_unicast = rig.tell(false, &Command::Status).unwrap();
    assert_eq!(by_unicast.code, Code::CONTENT);
    assert_eq!(
        by_unicast.options.get(OptionNumber::MAX_AGE),
        Some([].as_slice()),
        "0 s"
    );
    assert_eq!(
        by_unicast.options.get(OptionNumber::CONTENT_FORMAT),
        Some([60].as_slice())
    );
    let status = DeviceStatus::decode(&by_unicast.payload).unwrap();
    let missing = status.missing.unwrap();
    let missing: Vec<u32> = (0..20).filter(|block| missing.contains(*block)).collect();
    assert_eq!(missing, [3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    rig.send(&content, 0..16);
    assert_eq!(rig.device.status().missing, None, "no longer");
}

#[test]
fn by_unicast_every_request_has_an_answer() {
    let content = Content::new(200, None);
    let mut rig = Rig::unstarted(DeviceConfig::default());
    for command in [announce(&content), block_of(&content, 0), Command::Status] {
        let response = rig.tell(false, &command).unwrap();
        assert_eq!(
            response.code,
            Code::SERVICE_UNAVAILABLE,
            "the record was not read yet"
        );
        assert_eq!(
            response.options.get(OptionNumber::MAX_AGE),
            Some([1].as_slice())
        );
        rig.group(&command);
    }
    rig.work();
    assert_eq!(rig.unicast(&block_of(&content, 0)), Code::NOT_FOUND);
    assert_eq!(rig.unicast(&end(&content, 1)), Code::NOT_FOUND);
    assert_eq!(rig.unicast(&cancel(&content)), Code::NOT_FOUND);
    assert_eq!(rig.unicast(&announce(&content)), Code::CHANGED);
    rig.work();
    assert_eq!(rig.unicast(&announce(&content)), Code::CHANGED);
    assert_eq!(rig.unicast(&block_of(&content, 0)), Code::CHANGED);
    assert_eq!(rig.unicast(&end(&content, 1)), Code::CHANGED);
    let (id, block) = (content.id(), 0);
    assert_eq!(rig.unicast(&Command::Repair { id, block }), Code::NOT_FOUND);
    assert_eq!(
        rig.unicast(&Command::Other(Code::METHOD_NOT_ALLOWED)),
        Code::METHOD_NOT_ALLOWED
    );
    assert_eq!(
        rig.unicast(&Command::Notice(Err(Malformed))),
        Code::BAD_REQUEST
    );
    assert_eq!(rig.unicast(&cancel(&content)), Code::CHANGED);
    rig.group(&Command::Other(Code::NOT_FOUND));
    rig.group(&Command::Repair { id, block });
}

#[test]
fn what_was_received_is_noted_after_64_blocks_or_5_seconds() {
    let content = Content::new(64 * 200, None);
    let mut rig = Rig::new();
    rig.announce(&content);
    assert_eq!(rig.memory.state().notes, 1, "that nothing is there");
    rig.send(&content, 0..63);
    assert_eq!(rig.memory.state().notes, 1);
    rig.send(&content, [63]);
    assert_eq!(rig.memory.state().notes, 2);
    let first = rig.now;
    rig.send(&content, [64]);
    rig.pass(Duration::from_secs(2));
    rig.send(&content, [65]);
    assert_eq!(
        rig.device.next_timeout(),
        Some(first + Duration::from_secs(5))
    );
    rig.pass(Duration::from_micros(2_999_999));
    assert_eq!(rig.memory.state().notes, 2);
    rig.pass(Duration::from_micros(1));
    assert_eq!(rig.memory.state().notes, 3);
    let silent = first + Duration::from_secs(102);
    assert_eq!(
        rig.device.next_timeout(),
        Some(silent),
        "nothing is left to be noted"
    );
    rig.restart();
    assert_eq!(rig.device.status().have, 66);
}

#[test]
fn blocks_that_come_faster_than_the_storage_takes_them_are_bounded() {
    let config = DeviceConfig {
        waiting: 3,
        ..DeviceConfig::default()
    };
    let content = Content::new(64 * 10, None);
    let mut rig = Rig::with(config);
    rig.announce(&content);
    for block in 0..2 {
        rig.group(&block_of(&content, block));
    }
    let (work, task) = rig.device.poll_work().unwrap(); // the worker has two
    for block in 2..6 {
        rig.group(&block_of(&content, block));
    }
    assert_eq!(
        rig.device.counters().overrun,
        3,
        "one waits beside these two"
    );
    assert_eq!(
        rig.unicast(&block_of(&content, 6)),
        Code::SERVICE_UNAVAILABLE
    );
    let result = task.perform(&mut rig.memory, &mut rig.application);
    rig.device.work_done(rig.now, work, result);
    rig.work();
    assert_eq!(rig.device.status().have, 3);
    rig.send(&content, 0..10);
    assert!(rig.is_activated(&content));
}

#[test]
fn blocks_that_come_while_room_is_made_are_kept() {
    let content = Content::new(300, None);
    let mut rig = Rig::new();
    rig.group(&announce(&content));
    assert!(rig.work_once(), "the application is asked");
    rig.group(&block_of(&content, 0));
    let (work, task) = rig.device.poll_work().unwrap(); // room is made
    rig.group(&block_of(&content, 1));
    let result = task.perform(&mut rig.memory, &mut rig.application);
    rig.device.work_done(rig.now, work, result);
    rig.work();
    assert_eq!(rig.device.status().have, 2);
    rig.send(&content, 2..5);
    assert!(rig.is_activated(&content));
}

// Covers: GC-A.3-02, S0-2.3-01
#[test]
fn a_corrupted_block_is_found_by_the_digest_of_its_span_and_received_again() {
    let content = Content::new(1_000, Some(1));
    let list = content.announcement.list_blocks();
    let mut rig = Rig::new();
    rig.application.in_use = vec![1, 2, 3]; // the old image
    rig.announce(&content);
    rig.send(&content, 0..list + 2);
    let mut flipped = content.block(list + 2).to_vec();
    flipped[10] ^= 1;
    let corrupted = Command::Block {
        id: content.id(),
        block: list + 2,
        bytes: &flipped,
    };
    rig.group(&corrupted);
    rig.work();
    let (id, span) = (content.id(), Some(2));
    assert!(rig.events.contains(&DeviceEvent::Corrupted { id, span }));
    assert_eq!(rig.device.status().have, list + 2, "it is missing again");
    rig.send(&content, list + 3..content.blocks());
    assert_eq!(rig.state(), (DeviceState::Receiving, None));
    assert_eq!(rig.application.in_use, [1, 2, 3], "the old one is in use");
    rig.send(&content, [list + 2]);
    assert!(rig.is_activated(&content));
    assert_eq!(rig.memory.state().content, content.bytes);
}

#[test]
fn a_wrong_span_loses_its_own_blocks_and_no_others() {
    let content = Content::new(64 * 12, Some(4));
    let list = content.announcement.list_blocks(); // 2: three digests
    let mut rig = Rig::new();
    rig.announce(&content);
    // the image first, so that spans wait for the list
    rig.send(&content, list..list + 5);
    rig.group(&Command::Block {
        id: content.id(),
        block: list + 5,
        bytes: &[0; 64],
    });
    rig.send(&content, list + 6..content.blocks());
    assert_eq!(rig.device.status().have, 12);
    rig.send(&content, 0..list);
    let missing = rig.device.status().missing.unwrap();
    let missing: Vec<u32> = (0..content.blocks())
        .filter(|block| missing.contains(*block))
        .collect();
    assert_eq!(missing, [list + 4, list + 5, list + 6, list + 7]);
    rig.send(&content, missing);
    assert!(rig.is_activated(&content));
}

#[test]
fn a_wrong_list_is_received_again() {
    let content = Content::new(64 * 12, Some(4));
    let mut rig = Rig::new();
    rig.announce(&content);
    rig.send(&content, [0]);
    rig.group(&Command::Block {
        id: content.id(),
        block: 1,
        bytes: &[9; 32],
    });
    rig.work();
    let (id, span) = (content.id(), None);
    assert!(rig.events.contains(&DeviceEvent::Corrupted { id, span }));
    assert_eq!(rig.device.status().have, 0);
    rig.send(&content, 0..content.blocks());
    assert!(rig.is_activated(&content));
}
