//! A member that reboots in the middle of a transfer has no partial body, no kept response and no Message ID of before: what comes of the
//! transfer is one whole body, never a part of the old and a part of the new one. Of a download the entity tags say so, which every body
//! in blocks has here; RFC 7959 section 2.4 knows no other sign.

use super::groups::{members, question};
use super::*;
use crate::collection::{Completion, Repeat};

const REBORN: u8 = 99;
const SAME: u8 = 2;

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Of the same length as the one before, and different in every byte.
fn inverted() -> Vec<u8> {
    body(3_000).iter().map(|byte| !byte).collect()
}

impl Net {
    /// A host goes off and on again. What was put to it before stays outside of it.
    fn reboot(&mut self, n: usize, seed: u8, body: Vec<u8>) -> Arc<Mutex<Vec<Vec<u8>>>> {
        let fresh = host_of(n, seed, EndpointConfig::default());
        *fresh.body.lock().unwrap() = body;
        let before = core::mem::replace(&mut self.hosts[n], fresh);
        self.drain(n);
        before.put
    }

    /// What was on its way to a host that is off.
    fn lose_what_flies_to(&mut self, n: usize) {
        self.flying
            .retain(|(_, d)| d.route.destination != address(n) && !d.route.is_multicast());
    }

    fn nothing_is_left(&self) {
        let client = &self.hosts[CLIENT].endpoint;
        assert_eq!(client.load().exchanges, 0);
        assert!(client.client.transfers.is_clear());
        for host in &self.hosts {
            assert_eq!(host.endpoint.server().bodies().0, 0, "an incomplete body");
        }
    }

    /// How often the whole representation of a host was asked for.
    fn begun(&self, n: usize) -> usize {
        let to = |d: &&&Flying| {
            d.route.destination == address(n) && d.block(OptionNumber::BLOCK2).is_none()
        };
        self.requests().iter().filter(to).count()
    }
}

/// A GET of three blocks is answered after 5, 15 and 25 ms; the server reboots at this moment.
fn download(at: u64, seed: u8, after: &[u8], off: bool) {
    let mut net = Net::new(2);
    let id = net.ask(1, get());
    net.pass(millis(at));
    net.reboot(1, seed, after.to_vec());
    if off {
        net.lose_what_flies_to(1);
    }
    net.pass(secs(100));
    let says = alloc::format!("at {at} ms, {} bytes, off: {off}", after.len());
    let response = net.response(id).unwrap_or_else(|| panic!("{says}"));
    let (before, changed) = (body(3_000), after != body(3_000));
    let whole = if at < 25 { after } else { &before };
    assert_eq!(response.code, Code::CONTENT, "{says}");
    assert!(response.payload == whole, "{says}");
    assert_eq!(response.options.get(OptionNumber::BLOCK2), None);
    // Another tag, under which nothing of before is used. Under the same one it goes on.
    let anew = (5..25).contains(&at) && (changed || seed != SAME);
    let asked = 1 + usize::from(anew) + usize::from(off && at < 5);
    assert_eq!(net.begun(1), asked, "{says}");
    let blocks_after = match at {
        0..5 => 1, // the whole of it, of which blocks are kept
        5..25 if anew => net.asked(1),
        5..25 => 1,
        _ => 0,
    };
    assert_eq!(net.asked(1), blocks_after, "{says}");
    net.nothing_is_left();
}

#[test]
fn a_download_ends_in_one_whole_body_whenever_the_server_reboots() {
    let bodies = [inverted(), body(3_000), body(500), body(5_000), Vec::new()];
    for at in 0..32 {
        for after in &bodies {
            for seed in [SAME, REBORN] {
                for off in [false, true] {
                    download(at, seed, after, off);
                }
            }
        }
    }
}

#[test]
fn a_server_that_is_off_for_seconds_is_asked_again_and_its_new_body_is_fetched() {
    for at in [7, 12, 17, 22] {
        let mut net = Net::new(2);
        let id = net.ask(1, get());
        net.pass(millis(at));
        net.reboot(1, REBORN, inverted());
        net.stalls = 1..=1;
        net.pass(secs(4));
        assert!(net.response(id).is_none() && net.failure(id).is_none());
        net.stalls = 0..=0;
        net.pass(secs(60));
        assert_eq!(net.response(id).unwrap().payload, inverted(), "{at}");
        net.nothing_is_left();
    }
    // One that stays off.
    let mut net = Net::new(2);
    let id = net.ask(1, get());
    net.pass(millis(12));
    net.stalls = 1..=1;
    net.pass(secs(200));
    assert_eq!(net.failure(id), Some(Failure::TimedOut));
    net.nothing_is_left();
}

#[test]
fn a_server_that_reboots_again_and_again_is_given_up_after_two_further_attempts() {
    let mut net = Net::new(2);
    let id = net.ask(1, get());
    for n in 1..=3_u8 {
        // After the first block of each attempt, which ends 20 ms after it began: at the second the tag is another one.
        net.pass(millis(if n == 1 { 12 } else { 20 }));
        assert!(net.failure(id).is_none() && net.response(id).is_none());
        net.reboot(1, REBORN + n, alloc::vec![n; 3_000]);
    }
    net.pass(secs(100));
    assert_eq!(net.failure(id), Some(Failure::Body(BodyFailure::Changed)));
    assert_eq!(net.begun(1), 3);
    net.nothing_is_left();
    // Twice is not too often.
    let mut net = Net::new(2);
    let id = net.ask(1, get());
    for n in 1..=2_u8 {
        net.pass(millis(if n == 1 { 12 } else { 20 }));
        net.reboot(1, REBORN + n, alloc::vec![n; 3_000]);
    }
    net.pass(secs(100));
    assert_eq!(net.response(id).unwrap().payload, [2; 3_000]);
}

#[test]
fn a_range_is_of_one_representation_when_the_server_reboots() {
    for at in 0..25 {
        for (after, code) in [
            (inverted(), Code::CONTENT),
            (body(500), Code::BAD_REQUEST), // the range lies behind its end
        ] {
            let mut net = Net::new(2);
            let now = net.now;
            let endpoint = &mut net.hosts[CLIENT].endpoint;
            let asked = endpoint.request_range(now, unicast(1, get()), 1_500, 1_000);
            let id = asked.unwrap();
            net.drain(CLIENT);
            net.pass(millis(at));
            net.reboot(1, REBORN, after.clone());
            net.pass(secs(100));
            let response = net.response(id).unwrap();
            // Both blocks of it are answered after 5 and 15 ms.
            match at < 15 {
                true if code == Code::BAD_REQUEST => assert_eq!(response.code, code),
                true => assert!(response.payload == after[1_500..2_500], "{at}"),
                false => assert!(response.payload == body(3_000)[1_500..2_500], "{at}"),
            }
            net.nothing_is_left();
        }
    }
}

#[test]
fn a_group_s_answer_whose_member_reboots_is_its_whole_new_body() {
    // 47 blocks of 64 bytes, one in 10 ms: the first answers after 5 ms, the last blocks after 465 ms.
    for at in (0..490).step_by(7) {
        for (seed, after) in [
            (REBORN, inverted()),
            (3, inverted()), // the same random numbers as at its first start
            (REBORN, body(3_000)),
            (REBORN, body(100)),
            (REBORN, body(30)),
        ] {
            let mut net = Net::new(3);
            net.ask_group(GroupRequest {
                expect: members(1..=2),
                ..question(get())
            });
            net.pass(millis(at));
            net.reboot(2, seed, after.clone());
            net.pass(secs(60));
            let events = net.hosts[CLIENT].events.iter();
            let answers = events.filter_map(|event| match event {
                Event::Collection(CollectionEvent::Answer(answer)) => Some(answer),
                _ => None,
            });
            let mut bodies: Vec<_> = answers
                .map(|answer| (answer.from.peer, answer.response.payload.clone()))
                .collect();
            bodies.sort();
            let whole = if at < 465 { after } else { body(3_000) };
            let expected = [(address(1), body(3_000)), (address(2), whole)];
            assert!(bodies == expected, "at {at} ms: {}", bodies.len());
            assert!(net.outcome().is_complete(), "at {at} ms");
            assert_eq!(net.begun(1), 0, "the other one is not asked anew");
            net.nothing_is_left();
        }
    }
}

#[test]
fn a_repeated_group_request_mixes_nothing_when_a_member_reboots_meanwhile() {
    // The first block of the new body comes while blocks of the old one are being fetched.
    for at in [10, 200, 900, 995, 1_000, 1_003, 1_100, 1_300] {
        let mut net = Net::new(2);
        *net.hosts[1].body.lock().unwrap() = body(64 * 200);
        net.ask_group(GroupRequest {
            expect: members(1..=1),
            repeat: Repeat::NewMessageId(2),
            leisure: Duration::ZERO,
            rtt: secs(1),
            completion: Completion::Unicast {
                at_once: 1,
                within: None,
            },
            ..question(get())
        });
        net.pass(millis(at));
        let after: Vec<u8> = body(64 * 200).iter().map(|byte| !byte).collect();
        net.reboot(1, REBORN, after.clone());
        net.pass(secs(100));
        let events = net.hosts[CLIENT].events.iter();
        let answers = events.filter_map(|event| match event {
            Event::Collection(CollectionEvent::Answer(answer)) => Some(&answer.response.payload),
            _ => None,
        });
        let answers: Vec<_> = answers.collect();
        assert!(!answers.is_empty(), "at {at} ms");
        assert!(answers.iter().all(|body| **body == after), "at {at} ms");
        assert!(net.outcome().is_complete(), "at {at} ms");
        net.nothing_is_left();
    }
}

fn put(method: Code) -> Request {
    let request = Request::new(method).path("/r");
    request.payload(ContentFormat::OCTETS, body(2_500))
}

#[test]
fn an_upload_begins_anew_and_no_part_of_a_body_is_processed() {
    // Three blocks, which come after 5, 15 and 25 ms.
    for at in 0..36 {
        for off in [false, true] {
            let mut net = Net::new(2);
            let id = net.ask(1, put(Code::PUT));
            net.pass(millis(at));
            let before = net.reboot(1, REBORN, Vec::new());
            if off {
                net.lose_what_flies_to(1);
            }
            net.pass(secs(100));
            assert_eq!(net.response(id).unwrap().code, Code::CHANGED, "at {at} ms");
            let whole = [body(2_500)];
            let (before, after) = (before.lock().unwrap(), net.hosts[1].put.lock().unwrap());
            match at < 25 {
                true => assert!(before.is_empty() && *after == whole, "at {at} ms"),
                false => assert!(*before == whole && after.is_empty(), "at {at} ms"),
            }
            let first = |d: &&&Flying| d.block(OptionNumber::BLOCK1).unwrap().0 == 0;
            let begun = net.requests().iter().filter(first).count();
            let anew = (5..25).contains(&at) || (off && at < 5);
            assert_eq!(begun, 1 + usize::from(anew), "at {at} ms");
            drop((before, after));
            net.nothing_is_left();
        }
    }
}

#[test]
fn uploads_that_go_on_together_begin_anew_each_for_itself() {
    for at in (0..60).step_by(3) {
        let mut net = Net::with(2, |_, config| {
            config.transmission.set_nstart(8).unwrap();
        });
        let put = |byte: u8| {
            let request = Request::new(Code::PUT).path("/r");
            request.payload(ContentFormat::OCTETS, alloc::vec![byte; 4_000])
        };
        let ids = [1, 2, 3].map(|byte| net.ask(1, put(byte)));
        net.pass(millis(at));
        let before = net.reboot(1, REBORN, Vec::new());
        net.pass(secs(100));
        for id in ids {
            assert_eq!(net.response(id).unwrap().code, Code::CHANGED, "at {at} ms");
        }
        let mut bodies = before.lock().unwrap().clone();
        bodies.extend(net.hosts[1].put.lock().unwrap().iter().cloned());
        bodies.sort();
        let whole = [1, 2, 3].map(|byte| alloc::vec![byte; 4_000]);
        assert!(bodies == whole, "at {at} ms: {}", bodies.len());
    }
}

#[test]
fn an_upload_to_a_server_that_reboots_each_time_is_answered_with_4_08() {
    let mut net = Net::new(2);
    let id = net.ask(1, put(Code::PUT));
    // An attempt whose second block finds nothing takes 20 ms.
    for n in 1..=3_u8 {
        net.pass(millis(if n == 1 { 12 } else { 20 }));
        assert!(net.response(id).is_none());
        let before = net.reboot(1, REBORN + n, Vec::new());
        assert!(before.lock().unwrap().is_empty());
    }
    net.pass(secs(100));
    let response = net.response(id).unwrap();
    assert_eq!(response.code, Code::REQUEST_ENTITY_INCOMPLETE);
    assert!(net.hosts[1].put.lock().unwrap().is_empty());
    let numbers: Vec<_> = net
        .requests()
        .iter()
        .map(|d| d.block(OptionNumber::BLOCK1).unwrap().0)
        .collect();
    assert_eq!(numbers, [0, 1, 0, 1, 0, 1]);
    net.nothing_is_left();
}

#[test]
fn what_was_done_is_not_done_again_for_the_rest_of_its_response() {
    // A POST of three blocks, done after 25 ms; of its response there are three too, answered after 25, 35 and 45 ms.
    let reversed: Vec<u8> = body(2_500).into_iter().rev().collect();
    for at in 0..56 {
        let mut net = Net::new(2);
        let id = net.ask(1, put(Code::POST));
        net.pass(millis(at));
        let before = net.reboot(1, REBORN, Vec::new());
        net.pass(secs(100));
        let done_before = before.lock().unwrap().len();
        let done_after = net.hosts[1].put.lock().unwrap().len();
        assert_eq!(done_before + done_after, 1, "at {at} ms");
        match at {
            25..45 => {
                let lost = BodyFailure::Lost(Code::REQUEST_ENTITY_INCOMPLETE);
                assert_eq!(net.failure(id), Some(Failure::Body(lost)), "at {at} ms");
                assert!(net.response(id).is_none());
                assert_eq!(done_after, 0);
            }
            _ => {
                let response = net.response(id).unwrap();
                assert_eq!(response.code, Code::CHANGED);
                assert!(response.payload == reversed, "at {at} ms");
                assert_eq!(done_before, usize::from(at >= 45));
            }
        }
        net.nothing_is_left();
    }
}

#[test]
fn a_large_fetch_sends_its_body_again_to_a_server_that_has_forgotten_it() {
    // Two blocks there, three back: answered after 5, 15, 25 and 35 ms.
    for at in 0..46 {
        let mut net = Net::new(2);
        let request = Request::new(Code::FETCH).path("/r");
        let id = net.ask(1, request.payload(ContentFormat::OCTETS, body(2_000)));
        net.pass(millis(at));
        net.reboot(1, REBORN, inverted());
        net.pass(secs(100));
        let whole = if at < 35 { inverted() } else { body(3_000) };
        assert!(net.response(id).unwrap().payload == whole, "at {at} ms");
        net.nothing_is_left();
    }
}
