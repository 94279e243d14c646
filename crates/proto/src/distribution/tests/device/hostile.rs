use std::vec::Vec;

use proptest::prelude::*;

use super::*;

#[test]
fn an_announcement_without_a_proven_sender_is_dropped() {
    let content = Content::new(500, None);
    let mut rig = Rig::new();
    rig.sender = Sender::Unauthenticated;
    assert_eq!(rig.unicast(&announce(&content)), Code::UNAUTHORIZED);
    rig.announce(&content);
    rig.send(&content, 0..8);
    rig.end(&content, 1);
    assert_eq!(rig.device.status(), DeviceStatus::default());
    assert!(rig.application.asked.is_empty());
    let counters = rig.device.counters();
    assert_eq!((counters.foreign, counters.unknown), (3, 8));
    // one who may announce is not disturbed by one who may not
    rig.sender = member(b"distributor");
    rig.announce(&content);
    rig.sender = Sender::Unauthenticated;
    rig.send(&content, 0..8);
    rig.group(&cancel(&content));
    rig.work();
    assert_eq!(
        (rig.device.image(), rig.device.status().have),
        (Some(content.id()), 0)
    );
}

#[test]
fn blocks_that_cannot_be_are_ignored() {
    let content = Content::new(1_000, None); // 15 blocks of 64 bytes, one of 40
    let other = Content::new(1_001, None);
    let mut rig = Rig::new();
    rig.announce(&content);
    let zeros = [0; 65];
    let block = |block, bytes| Command::Block {
        id: content.id(),
        block,
        bytes,
    };
    for (number, length) in [
        (16, 64),
        (16, 0),
        (u32::MAX, 64),
        (0, 63),
        (0, 65),
        (0, 0),
        (15, 64),
        (15, 41),
    ] {
        assert_eq!(
            rig.unicast(&block(number, &zeros[..length])),
            Code::BAD_REQUEST,
            "{number} {length}"
        );
        rig.work();
    }
    assert_eq!(rig.device.counters().malformed, 8);
    rig.send(&other, 0..16);
    assert_eq!(rig.device.counters().unknown, 16);
    assert_eq!(
        (rig.device.status().have, rig.memory.state().writes),
        (0, 0)
    );
    rig.send(&content, 0..16);
    assert!(rig.is_activated(&content));
}

#[test]
fn strangers_have_the_application_asked_once_a_second_at_most() {
    let mut rig = Rig::with(DeviceConfig {
        proven_only: false,
        ..DeviceConfig::default()
    });
    rig.sender = Sender::Unauthenticated;
    rig.application.refuses = Some(Refusal::Signature);
    for n in 0..100 {
        rig.announce(&Content::new(500 + n, None));
        rig.pass(Duration::from_millis(100));
    }
    assert_eq!(rig.application.asked.len(), 10);
    assert_eq!(rig.device.counters().passed_over, 90);
    assert_eq!(rig.memory.state().prepared, 0);
}

#[test]
fn events_that_nobody_fetches_are_bounded() {
    let content = Content::new(64 * 300, None);
    let mut rig = Rig::new();
    rig.application.refuses = Some(Refusal::Kind);
    let mut device = Device::new(DeviceConfig::default(), [0; 32]).unwrap();
    let mut now = rig.now;
    for n in 0..200 {
        while let Some((work, task)) = device.poll_work() {
            let result = task.perform(&mut rig.memory, &mut rig.application);
            device.work_done(now, work, result);
        }
        let heard = Heard {
            peer: rig.peer,
            interface: 1,
            group: true,
            sender: &rig.sender,
        };
        let it = content.announcement.clone().with_version(n);
        device.handle(now, &heard, &Command::Notice(Ok(Notice::Announced(it))));
        now = now + Duration::from_secs(1);
    }
    let mut count = 0;
    while device.poll_event().is_some() {
        count += 1;
    }
    assert_eq!(count, 64);
}

#[derive(Clone, Debug)]
enum Step {
    Announce(usize, usize),
    Block(usize, usize, u32, bool),
    End(usize, usize, u16),
    Cancel(usize, usize),
    Work,
    Pass(u64),
    Repair(bool, bool),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let (image, who) = (0usize..3, 0usize..3);
    prop_oneof![
        2 => (image.clone(), who.clone()).prop_map(|(a, b)| Step::Announce(a, b)),
        12 => (image.clone(), who.clone(), 0u32..14, prop::bool::weighted(0.1))
            .prop_map(|(a, b, c, d)| Step::Block(a, b, c, d)),
        1 => (image.clone(), who.clone(), 0u16..3).prop_map(|(a, b, c)| Step::End(a, b, c)),
        1 => (image, who).prop_map(|(a, b)| Step::Cancel(a, b)),
        10 => Just(Step::Work),
        2 => (0u64..60_000).prop_map(Step::Pass),
        3 => any::<(bool, bool)>().prop_map(|(a, b)| Step::Repair(a, b)),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn whatever_happens_only_an_exact_image_is_activated_and_memory_is_bounded(
        steps in proptest::collection::vec(step(), 0..400),
    ) {
        let contents = [Content::new(300, None), Content::new(500, Some(2)), Content::new(640, Some(1))];
        let senders = [member(b"a"), member(b"b"), Sender::Unauthenticated];
        let mut rig = Rig::with(DeviceConfig { waiting: 4, note_blocks: 3, ..DeviceConfig::default() });
        for step in steps {
            match step {
                Step::Announce(image, who) => {
                    rig.sender = senders[who].clone();
                    rig.group(&announce(&contents[image]));
                }
                Step::Block(image, who, block, corrupt) => {
                    let content = &contents[image];
                    rig.sender = senders[who].clone();
                    let mut bytes = content.block(block.min(content.blocks() - 1)).to_vec();
                    bytes[0] ^= u8::from(corrupt);
                    rig.group(&Command::Block { id: content.id(), block, bytes: &bytes });
                }
                Step::End(image, who, window) => {
                    rig.sender = senders[who].clone();
                    rig.group(&end(&contents[image], window));
                }
                Step::Cancel(image, who) => {
                    rig.sender = senders[who].clone();
                    rig.group(&cancel(&contents[image]));
                }
                Step::Work => {
                    rig.work_once();
                }
                Step::Pass(millis) => {
                    rig.now = rig.now + Duration::from_millis(millis);
                    rig.device.handle_timeout(rig.now);
                }
                Step::Repair(answered, corrupt) => {
                    if let Some(repair) = rig.device.poll_repair(rig.now) {
                        let content = contents.iter().find(|it| it.id() == repair.id).unwrap();
                        let mut response = block_response(content, repair.block);
                        response.payload[0] ^= u8::from(corrupt);
                        let sender = rig.sender.clone();
                        let answer = answered.then_some((&response, &sender));
                        rig.device.repaired(rig.now, repair.repair, answer);
                    }
                }
                Step::Restart => rig.device = Device::new(rig.config.clone(), [9; 32]).unwrap(),
            }
            let status = rig.device.status();
            prop_assert!(status.have <= status.total);
            prop_assert_eq!(DeviceStatus::decode(&status.encode()), Ok(status.clone()));
            let in_use = &rig.application.in_use;
            prop_assert!(in_use.is_empty() || contents.iter().any(|it| it.image == *in_use));
            if status.state == DeviceState::Activated {
                let content = contents.iter().find(|it| Some(it.id()) == status.id).unwrap();
                prop_assert_eq!(in_use, &content.image);
            }
        }
        // whatever state it is in, an honest distributor brings its image
        rig.sender = senders[0].clone();
        rig.work();
        rig.pass(Duration::from_secs(3600));
        rig.pass(rig.config.max_silence);
        let fresh = Content::new(777, Some(3));
        rig.announce(&fresh);
        rig.pass(Duration::from_secs(2));
        rig.announce(&fresh);
        rig.end(&fresh, 1);
        let blocks: Vec<u32> = (0..fresh.blocks()).collect();
        rig.send(&fresh, blocks);
        prop_assert!(rig.is_activated(&fresh));
    }
}

#[test]
fn notices_that_mean_nothing_to_the_device_are_counted_for_what_they_are() {
    let content = Content::new(64 * 16, None);
    let mut rig = Rig::new();
    let cancelled = Command::Notice(Ok(Notice::Cancelled(content.id())));
    assert_eq!(
        rig.unicast(&Command::Notice(Err(Malformed))),
        Code::BAD_REQUEST
    );
    assert_eq!(rig.unicast(&end(&content, 10)), Code::NOT_FOUND);
    assert_eq!(rig.unicast(&cancelled), Code::NOT_FOUND);
    let counters = rig.device.counters();
    assert_eq!((counters.malformed, counters.unknown), (1, 2));
    rig.announce(&content);
    rig.send(&content, 0..8);
    rig.sender = member(b"another");
    assert_eq!(rig.unicast(&end(&content, 10)), Code::FORBIDDEN);
    assert_eq!(rig.unicast(&cancelled), Code::FORBIDDEN);
    assert_eq!(rig.device.counters().foreign, 2);
    assert_eq!(rig.state(), (DeviceState::Receiving, None));
    rig.sender = member(b"distributor");
    rig.send(&content, 8..16);
    assert!(rig.is_activated(&content));
}
