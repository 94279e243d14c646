use std::vec::Vec;

use antiphon_wire::OptionNumber;
use proptest::prelude::*;

use super::*;

/// It asks however often it fails.
fn patient() -> DeviceConfig {
    DeviceConfig {
        max_failures: u32::MAX,
        ..DeviceConfig::default()
    }
}

// Covers: GC-A.3-03
#[test]
fn what_multicast_lost_is_asked_for_by_unicast_one_block_at_a_time() {
    let content = Content::new(64 * 100, Some(16));
    let list = content.announcement.list_blocks();
    let mut rig = Rig::new();
    rig.announce(&content);
    // 20 % are lost, the first block of the list among them
    rig.send(
        &content,
        (0..content.blocks()).filter(|block| block % 5 != 0),
    );
    rig.end(&content, 30);
    let lost = content.blocks().div_ceil(5);
    let id = content.id();
    let begins = DeviceEvent::Repairing { id, missing: lost };
    assert_eq!(rig.events.last(), Some(&begins));
    let repair = rig.next_repair().unwrap();
    assert_eq!(
        (repair.to, repair.interface, repair.block),
        (rig.peer, 3, 0)
    );
    let request = repair.request("fw");
    assert_eq!(request.method, Code::GET);
    assert_eq!(request.options.get(OptionNumber::NO_RESPONSE), None);
    assert_eq!(
        Command::of_request("fw", &request),
        Command::Repair { id, block: 0 }
    );
    assert_eq!(
        rig.device.poll_repair(rig.now),
        None,
        "one outstanding (NSTART)"
    );
    rig.answer(repair, Some(&block_response(&content, 0)));
    let second = rig.device.poll_repair(rig.now).unwrap();
    assert_eq!(second.block, 5, "at once");
    rig.answer(second, Some(&block_response(&content, 5)));
    assert_eq!(rig.repair_all(&content), lost - 2);
    assert!(rig.is_activated(&content));
    let counters = rig.device.counters();
    assert_eq!(
        (counters.asked, counters.repaired),
        (u64::from(lost), u64::from(lost))
    );
    assert_eq!(counters.unanswered, 0);
    assert!(list > 0);
}

#[test]
fn the_first_request_comes_after_a_random_delay_within_the_window() {
    let content = Content::new(640, None);
    let mut delays = Vec::new();
    for seed in 0..40 {
        let mut rig = Rig::new();
        rig.device = Device::new(DeviceConfig::default(), [seed; 32]).unwrap();
        rig.work();
        rig.announce(&content);
        rig.send(&content, 0..9);
        assert_eq!(rig.device.poll_repair(rig.now), None, "not before the end");
        rig.end(&content, 10);
        let start = rig.now;
        rig.next_repair().unwrap();
        delays.push(rig.now.since(start));
    }
    assert!(delays.iter().all(|delay| *delay <= Duration::from_secs(10)));
    assert!(delays.iter().any(|delay| *delay < Duration::from_secs(2)));
    assert!(delays.iter().any(|delay| *delay > Duration::from_secs(8)));
    delays.dedup();
    assert_eq!(delays.len(), 40);
}

#[test]
fn a_window_of_zero_means_that_another_pass_comes() {
    let content = Content::new(640, None);
    let mut rig = Rig::new();
    rig.announce(&content);
    rig.send(&content, 0..8);
    rig.end(&content, 0);
    let silent = rig.now + Duration::from_secs(100);
    assert_eq!(
        rig.device.next_timeout().map(|at| at.min(silent)),
        Some(rig.now + Duration::from_secs(5))
    );
    rig.pass(Duration::from_secs(60));
    assert_eq!(rig.device.poll_repair(rig.now), None);
    rig.end(&content, 1);
    rig.next_repair().unwrap();
    rig.end(&content, 0); // there is one more after all
    rig.pass(Duration::from_secs(60));
    assert_eq!(rig.device.poll_repair(rig.now), None);
    rig.send(&content, 8..10);
    assert!(rig.is_activated(&content));
}

#[test]
fn a_repeated_end_does_not_delay_repairs_that_have_begun() {
    let content = Content::new(640, None);
    let mut rig = Rig::new();
    rig.announce(&content);
    rig.end(&content, 10);
    let first = rig.device.next_timeout();
    rig.pass(Duration::from_millis(1));
    rig.end(&content, 10);
    assert_eq!(rig.device.next_timeout(), first);
    let begun = |event: &&DeviceEvent| matches!(event, DeviceEvent::Repairing { .. });
    assert_eq!(rig.events.iter().filter(begun).count(), 1);
    assert_eq!(rig.repair_all(&content), 10);
    rig.end(&content, 10);
    assert_eq!(rig.next_repair(), None, "nothing is missing");
}

#[test]
fn a_device_asks_on_its_own_when_its_distributor_is_silent_for_100_seconds() {
    let content = Content::new(640, None);
    let mut rig = Rig::new();
    rig.announce(&content);
    rig.send(&content, [2]);
    rig.pass(Duration::from_secs(90)); // one gap like this proves nothing
    rig.send(&content, [3]);
    let heard = rig.now;
    rig.pass(Duration::from_secs(5)); // noted
    assert_eq!(
        rig.device.next_timeout(),
        Some(heard + Duration::from_secs(100))
    );
    rig.pass(Duration::from_micros(94_999_999));
    assert_eq!(rig.device.poll_repair(rig.now), None);
    assert_eq!(rig.repair_all(&content), 8);
    assert!(rig.now >= heard + Duration::from_secs(100));
    assert!(
        rig.now <= heard + Duration::from_secs(110),
        "spread over 10 s"
    );
    assert!(rig.is_activated(&content));
}

#[test]
fn a_distributor_may_say_later() {
    let content = Content::new(640, None);
    for (code, max_age, at_least) in [
        (Code::SERVICE_UNAVAILABLE, Some(20), 20),
        (Code::TOO_MANY_REQUESTS, Some(30), 30),
        (Code::SERVICE_UNAVAILABLE, None, 60),
        (Code::SERVICE_UNAVAILABLE, Some(3_000), 3_000),
        (Code::SERVICE_UNAVAILABLE, Some(100_000), 3_600),
        (Code::SERVICE_UNAVAILABLE, Some(0), 1),
    ] {
        let mut rig = Rig::new();
        rig.announce(&content);
        rig.end(&content, 1);
        let repair = rig.next_repair().unwrap();
        let mut later = Response::new(code);
        if let Some(max_age) = max_age {
            later.options.push_uint(OptionNumber::MAX_AGE, max_age);
        }
        let asked = rig.now;
        rig.answer(repair, Some(&later));
        assert_eq!(rig.device.poll_repair(rig.now), None);
        assert_eq!(rig.next_repair().unwrap().block, 0, "the same again");
        let waited = rig.now.since(asked);
        assert!(
            waited >= Duration::from_secs(at_least),
            "{max_age:?}: {waited:?}"
        );
        assert!(
            waited <= Duration::from_secs(at_least + 10),
            "{max_age:?}: {waited:?}"
        );
        assert_eq!(rig.device.counters().unanswered, 1);
    }
}

#[test]
fn failed_requests_are_repeated_at_growing_intervals() {
    let content = Content::new(640, None);
    let mut rig = Rig::with(patient());
    rig.announce(&content);
    rig.end(&content, 1);
    let mut longest = Duration::ZERO;
    for failure in 0..200 {
        let repair = rig.next_repair().unwrap();
        assert_eq!(repair.block, 0);
        let asked = rig.now;
        let wrong = match failure % 4 {
            0 => None,
            1 => Some(Response::new(Code::INTERNAL_SERVER_ERROR)),
            2 => Some(Response::new(Code::CONTENT)), // no block
            _ => Some(block_response(&content, 0)),
        };
        if failure % 4 == 3 {
            let stranger = member(b"stranger");
            let answer = wrong.as_ref().map(|response| (response, &stranger));
            rig.device.repaired(rig.now, repair.repair, answer);
        } else {
            rig.answer(repair, wrong.as_ref());
        }
        let next = rig.device.next_timeout().unwrap();
        let doubled = Duration::from_secs(10) * (1 << failure.min(5));
        let most = doubled.min(Duration::from_secs(300));
        assert!(next.since(asked) <= most, "{failure}");
        longest = longest.max(next.since(asked));
    }
    assert!(longest > Duration::from_secs(200));
    assert_eq!(rig.device.counters().unanswered, 200);
    assert_eq!(rig.device.status().have, 0);
    assert_eq!(rig.repair_all(&content), 10);
    assert!(rig.is_activated(&content));
}

#[test]
fn the_answer_to_an_older_request_counts_for_nothing() {
    let content = Content::new(640, None);
    let mut rig = Rig::new();
    rig.announce(&content);
    rig.end(&content, 1);
    let old = rig.next_repair().unwrap();
    rig.answer(old.clone(), None);
    let new = rig.next_repair().unwrap();
    assert_ne!(old.repair, new.repair);
    rig.answer(old, Some(&block_response(&content, 0)));
    assert_eq!(rig.device.status().have, 0);
    rig.answer(new.clone(), Some(&block_response(&content, 0)));
    assert_eq!(rig.device.status().have, 1);
    rig.answer(new, Some(&block_response(&content, 0)));
    assert_eq!(rig.device.counters().duplicate, 0);
}

#[test]
fn a_block_that_came_by_multicast_meanwhile_is_no_harm() {
    let content = Content::new(640, None);
    let mut rig = Rig::new();
    rig.announce(&content);
    rig.end(&content, 1);
    let repair = rig.next_repair().unwrap();
    rig.send(&content, 0..3);
    rig.answer(repair, Some(&block_response(&content, 0)));
    assert_eq!(
        (
            rig.device.counters().repaired,
            rig.device.counters().duplicate
        ),
        (0, 1)
    );
    assert_eq!(rig.device.poll_repair(rig.now).unwrap().block, 3);
}

#[test]
fn repairs_wait_while_the_storage_is_behind() {
    let config = DeviceConfig {
        waiting: 1,
        ..DeviceConfig::default()
    };
    let content = Content::new(640, None);
    let mut rig = Rig::with(config);
    rig.announce(&content);
    rig.end(&content, 1);
    let repair = rig.next_repair().unwrap();
    let response = block_response(&content, repair.block);
    let sender = rig.sender.clone();
    rig.device
        .repaired(rig.now, repair.repair, Some((&response, &sender)));
    assert_eq!(rig.device.poll_repair(rig.now), None);
    assert_eq!(rig.device.next_timeout(), None, "the worker is waited for");
    rig.work();
    assert_eq!(rig.device.poll_repair(rig.now).unwrap().block, 1);
}

#[test]
fn a_late_joiner_fetches_everything() {
    let content = Content::new(2_000, Some(4));
    let mut rig = Rig::new();
    rig.announce(&content); // repeated for late joiners
    rig.end(&content, 5);
    assert_eq!(rig.repair_all(&content), content.blocks());
    assert!(rig.is_activated(&content));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_lost_reordered_and_duplicated_every_device_ends_with_the_exact_image(
        size in 1u32..6_000,
        span in proptest::option::of(1u32..20),
        seed: u64,
        loss in 0u64..60,
    ) {
        let content = Content::new(size, span);
        let mut rng = crate::Rng::from_seed([seed as u8; 32]);
        for byte in seed.to_ne_bytes() {
            rng.up_to(u64::from(byte));
        }
        let mut rig = Rig::with(patient());
        rig.announce(&content);
        for pass in 0..2 {
            let mut order: Vec<u32> = (0..content.blocks()).collect();
            for at in 0..order.len() {
                let other = rng.up_to(order.len() as u64 - 1) as usize;
                order.swap(at, other);
            }
            for block in order {
                if rng.up_to(99) >= loss {
                    for _ in 0..=rng.up_to(1) {
                        rig.group(&block_of(&content, block));
                    }
                }
                if rng.up_to(3) == 0 {
                    rig.work_once();
                }
            }
            rig.end(&content, pass * 10);
        }
        // requests and responses are lost as well
        let mut tries = 0;
        while let Some(repair) = rig.next_repair() {
            let response = block_response(&content, repair.block);
            rig.answer(repair, Some(&response).filter(|_| rng.up_to(99) >= loss));
            tries += 1;
            prop_assert!(tries < 5_000);
        }
        rig.work();
        prop_assert!(rig.is_activated(&content));
        prop_assert_eq!(&rig.memory.state().content, &content.bytes);
        prop_assert_eq!(rig.application.activations, 1);
    }
}
