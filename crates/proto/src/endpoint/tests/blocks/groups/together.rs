//! Further blocks by group requests.

use std::collections::BTreeSet;

use super::*;
use crate::collection::{AnswerLimits, FurtherBlocks};

/// A question to the group whose further blocks are asked of all together.
fn together(request: Request, hosts: core::ops::RangeInclusive<usize>) -> GroupRequest {
    GroupRequest {
        blocks: FurtherBlocks::Group,
        expect: members(hosts),
        ..question(request)
    }
}

/// Blocks of 64 bytes.
fn by_64() -> Request {
    get().option(OptionNumber::BLOCK2, &[0x02])
}

/// By multicast or to which host, and which block of which size.
type AskedFor = (Option<usize>, Option<(u32, usize)>);

impl Net {
    /// Of each request of the client: by multicast or to whom, and which block it asks for.
    fn asked_for(&self) -> Vec<AskedFor> {
        let to = |d: &Flying| (0..self.hosts.len()).find(|n| d.route.destination == address(*n));
        let block = |d: &Flying| d.block(OptionNumber::BLOCK2).map(|(n, _, size)| (n, size));
        self.requests().iter().map(|d| (to(d), block(d))).collect()
    }

    /// Who has given which whole body.
    fn bodies(&self) -> Vec<(SocketAddr, Vec<u8>)> {
        let events = self.hosts[CLIENT].events.iter();
        let mut bodies: Vec<_> = events
            .filter_map(|event| match event {
                Event::Collection(CollectionEvent::Answer(answer)) => {
                    Some((answer.from.peer, answer.response.payload.clone()))
                }
                _ => None,
            })
            .collect();
        bodies.sort();
        bodies
    }

    /// What this host has sent and is on its way gets lost.
    fn lose_from(&mut self, host: usize) {
        self.flying.retain(|(_, datagram)| datagram.from != host);
    }

    fn is_clear(&self) {
        let endpoint = &self.hosts[CLIENT].endpoint;
        assert_eq!(endpoint.client.collections.held_bytes(), 0);
        assert!(endpoint.client.collections.is_empty() && endpoint.client.completing.is_empty());
        assert!(endpoint.client.transfers.is_clear());
    }
}

// Covers: GN-3.8-01
#[test]
fn blocks_of_one_size_are_asked_for_by_group_requests_and_every_member_answers_each() {
    let mut net = Net::new(4);
    for n in 1..=3 {
        *net.hosts[n].body.lock().unwrap() = body(100 + 50 * n);
    }
    net.ask_group(together(by_64(), 1..=3));
    net.pass(secs(1));
    let all = [(1, 150), (2, 200), (3, 250)].map(|(n, length)| (address(n), body(length)));
    assert_eq!(net.bodies(), all);
    let asked: Vec<_> = (0..=3).map(|num| (None, Some((num, 64)))).collect();
    assert_eq!(net.asked_for(), asked);
    let requests = net.requests();
    let tokens: BTreeSet<_> = requests.iter().map(|d| d.message().token()).collect();
    let ids: BTreeSet<_> = requests
        .iter()
        .map(|d| d.message().message_id().0)
        .collect();
    assert_eq!(
        (tokens.len(), ids.len()),
        (4, 4),
        "each is a request of its own"
    );
    for request in &requests {
        assert_eq!(request.message().kind(), Type::Non);
    }
    // The second block comes from everyone, without acknowledgement and in the size that was asked for.
    for n in 1..=3 {
        let of_server: Vec<_> = net.sent.iter().filter(|d| d.from == n).collect();
        assert_eq!(
            of_server[1].block(OptionNumber::BLOCK2).map(|b| (b.0, b.2)),
            Some((1, 64))
        );
        assert_eq!(of_server[1].message().kind(), Type::Non);
        assert_eq!(
            of_server[1].message().token(),
            requests[1].message().token()
        );
        assert_eq!(net.asked(n), 1, "the representation was kept");
    }
    let outcome = net.outcome();
    assert!(outcome.is_complete());
    assert_eq!((outcome.answers, outcome.transmissions), (3, 4));
    let bytes: usize = requests.iter().map(|d| d.bytes.len()).sum();
    assert_eq!(outcome.bytes, bytes as u64);
    let of_last = |p: &&AnswerProgress| p.from == address(3);
    let progress = net.answer_progress();
    let progress = progress.iter().filter(of_last).map(|p| p.progress.bytes);
    assert_eq!(progress.collect::<Vec<_>>(), [64, 128, 192]);
    net.is_clear();
}

// Covers: GN-3.8-02
#[test]
fn of_sizes_that_servers_chose_themselves_the_smallest_is_asked_for() {
    let mut net = Net::with(3, |n, config| {
        config.server.group_answer_limit = Some([0, 256, 64][n]);
    });
    net.ask_group(together(get(), 1..=2));
    net.pass(secs(5));
    let first: Vec<_> = (1..=2)
        .map(|n| net.sent.iter().find(|d| d.from == n).unwrap())
        .map(|d| d.block(OptionNumber::BLOCK2).unwrap())
        .collect();
    assert_eq!(first, [(0, true, 256), (0, true, 64)]);
    assert_eq!(net.bodies(), [1, 2].map(|n| (address(n), body(3_000))));
    // Byte 64 is where the first block of 64 bytes that somebody lacks begins.
    let mut asked = Vec::from([(None, None)]);
    asked.extend((1..=46).map(|num| (None, Some((num, 64)))));
    assert_eq!(net.asked_for(), asked);
    assert_eq!(
        net.outcome().dropped.same_body,
        3,
        "what one of them had already"
    );
    net.is_clear();
}

#[test]
fn sizes_that_differ_although_one_was_asked_for_go_on_by_unicast() {
    let mut net = Net::with(3, |n, config| {
        config.server.group_answer_limit = Some([0, 256, 64][n]);
    });
    for n in 1..=2 {
        *net.hosts[n].body.lock().unwrap() = body(500);
    }
    net.ask_group(together(get().option(OptionNumber::BLOCK2, &[0x04]), 1..=2));
    net.pass(secs(5));
    assert_eq!(net.bodies(), [1, 2].map(|n| (address(n), body(500))));
    let by_multicast = |d: &&&Flying| d.route.is_multicast();
    assert_eq!(net.requests().iter().filter(by_multicast).count(), 1);
    net.is_clear();
}

#[test]
fn who_misses_a_block_is_asked_by_unicast_for_the_rest_and_the_others_go_on_together() {
    let mut net = Net::new(4);
    for n in 1..=3 {
        *net.hosts[n].body.lock().unwrap() = body(300);
    }
    net.ask_group(GroupRequest {
        leisure: secs(2),
        rtt: secs(1),
        ..together(by_64(), 1..=3)
    });
    // The first blocks are there after 10 ms, the second ones are on their way after 15.
    net.pass(Duration::from_millis(17));
    net.lose_from(2);
    net.pass(Duration::from_millis(2_990));
    assert_eq!(
        net.asked_for().len(),
        2,
        "it is waited for, round trip and leisure"
    );
    net.pass(secs(5));
    assert_eq!(net.bodies(), [1, 2, 3].map(|n| (address(n), body(300))));
    let asked = net.asked_for();
    let of = |to: Option<usize>| {
        let of = asked.iter().filter(|(host, _)| *host == to);
        of.map(|(_, block)| block.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(of(None), [0, 1, 2, 3, 4].map(|num| (num, 64)));
    assert_eq!(of(Some(2)), [1, 2, 3, 4].map(|num| (num, 64)));
    assert_eq!((of(Some(1)).len(), of(Some(3)).len()), (0, 0));
    assert!(net.outcome().is_complete());
    net.is_clear();
}

#[test]
fn a_representation_that_changed_is_begun_anew_by_unicast() {
    let mut net = Net::with(4, |_, config| config.server.blocks.kept = 0);
    net.ask_group(together(by_64(), 1..=3));
    net.pass(Duration::from_millis(22));
    *net.hosts[2].body.lock().unwrap() = body(2_000);
    net.pass(secs(60));
    let all = [(1, 3_000), (2, 2_000), (3, 3_000)].map(|(n, length)| (address(n), body(length)));
    assert_eq!(net.bodies(), all);
    let asked = net.asked_for();
    let of_second: Vec<_> = asked.iter().filter(|(to, _)| *to == Some(2)).collect();
    assert_eq!(of_second[0].1, Some((0, 64)), "from the beginning");
    assert_eq!(of_second.len(), 32);
    assert!(asked.iter().all(|(to, _)| matches!(to, None | Some(2))));
    net.is_clear();
}

#[test]
fn for_one_alone_no_group_is_asked_again() {
    // Expected: at once.
    let mut net = Net::new(2);
    net.ask_group(together(by_64(), 1..=1));
    net.pass(Duration::from_millis(500));
    assert_eq!(net.bodies(), [(address(1), body(3_000))]);
    // Not expected: when the first request has had its time.
    let mut net = Net::new(2);
    net.ask_group(GroupRequest {
        blocks: FurtherBlocks::Group,
        leisure: secs(2),
        rtt: secs(1),
        ..question(by_64())
    });
    net.pass(Duration::from_micros(2_999_999));
    assert_eq!(net.asked_for().len(), 1);
    net.pass(Duration::from_micros(1));
    assert_eq!(net.asked_for()[1..], [(Some(1), Some((1, 64)))]);
    net.pass(secs(5));
    assert_eq!(net.bodies(), [(address(1), body(3_000))]);
    net.is_clear();
}

#[test]
fn whoever_answers_only_a_later_request_is_no_answer() {
    let mut net = Net::new(4);
    for n in 1..=3 {
        *net.hosts[n].body.lock().unwrap() = body(120);
    }
    net.ask_group(GroupRequest {
        leisure: secs(1),
        rtt: secs(1),
        ..together(by_64(), 1..=3)
    });
    net.pass(Duration::from_millis(7));
    net.lose_from(3);
    net.pass(secs(60));
    assert_eq!(net.bodies(), [1, 2].map(|n| (address(n), body(120))));
    let missing: Vec<_> = net.outcome().missing().map(|(name, _)| name).collect();
    assert_eq!(missing, ["m3"]);
    // What it says of the second block comes when nobody waits for that any more.
    let counters = net.hosts[CLIENT].endpoint.counters();
    assert_eq!(counters.unmatched, 1);
    net.is_clear();
}

#[test]
fn what_becomes_of_a_further_request_is_told_of_the_collection() {
    let mut net = Net::with(3, |_, config| {
        config.collections.link = crate::collection::LinkProfile::SixLowpan {
            budget: 15,
            larger: crate::collection::Larger::Warn,
        };
    });
    for n in 1..=2 {
        *net.hosts[n].body.lock().unwrap() = body(200);
    }
    let now = net.now;
    let request = together(by_64(), 1..=2);
    let id = net.hosts[CLIENT].endpoint.collect(now, request).unwrap();
    net.pass(Duration::from_millis(12));
    // The second request does not leave.
    let route = net.requests()[1].route;
    let error = crate::failure::SendError::NoBuffer;
    let now = net.now;
    net.hosts[CLIENT]
        .endpoint
        .handle_send_error(now, route, error);
    net.pass(secs(60));
    let mut warnings = 0;
    let mut failed = 0;
    for event in &net.hosts[CLIENT].events {
        match event {
            Event::Collection(CollectionEvent::Warning(of, _)) => {
                assert_eq!(*of, id);
                warnings += 1;
            }
            Event::Collection(CollectionEvent::SendFailed { collection, .. }) => {
                assert_eq!(*collection, id);
                failed += 1;
            }
            _ => {}
        }
    }
    assert_eq!((warnings, failed), (1, 1), "it is warned once");
    // Without it they are asked for the rest one by one.
    assert_eq!(net.bodies(), [1, 2].map(|n| (address(n), body(200))));
    assert!(net.asked_for().iter().any(|(to, _)| to.is_some()));
    net.is_clear();
}

#[test]
fn closing_the_collection_ends_the_asking_for_blocks() {
    let mut net = Net::new(3);
    let now = net.now;
    let request = together(by_64(), 1..=2);
    let id = net.hosts[CLIENT].endpoint.collect(now, request).unwrap();
    net.pass(Duration::from_millis(52));
    let before = net.asked_for().len();
    assert!(before >= 4, "{before}");
    let now = net.now;
    net.hosts[CLIENT].endpoint.close(now, id);
    net.pass(secs(60));
    assert_eq!(net.asked_for().len(), before);
    assert!(net.is_over() && net.bodies().is_empty());
    net.is_clear();
}

#[test]
fn bodies_that_are_held_keep_to_the_memory_of_all_transfers() {
    let mut net = Net::with(3, |_, config| config.transfers.bytes = 1_000);
    net.ask_group(together(by_64(), 1..=2));
    net.pass(secs(60));
    assert!(net.bodies().is_empty());
    let failure = Rejection::Incomplete(Failure::Body(BodyFailure::Crowded));
    let rejected: Vec<_> = net.outcome().rejected().collect();
    assert_eq!(rejected, [("m1", failure), ("m2", failure)]);
    net.is_clear();
    // One that is too large for this request.
    let mut net = Net::new(3);
    *net.hosts[1].body.lock().unwrap() = body(400);
    net.ask_group(GroupRequest {
        limits: AnswerLimits {
            response_bytes: 500,
            ..AnswerLimits::default()
        },
        ..together(by_64(), 1..=2)
    });
    net.pass(secs(60));
    assert_eq!(net.bodies(), [(address(1), body(400))]);
    let failure = Rejection::Incomplete(Failure::Body(BodyFailure::TooLarge(500)));
    let rejected: Vec<_> = net.outcome().rejected().collect();
    assert_eq!(rejected, [("m2", failure)]);
    net.is_clear();
}

#[test]
fn with_loss_every_body_comes_whole_by_one_way_or_the_other() {
    let mut net = Net::new(6);
    for n in 1..=5 {
        *net.hosts[n].body.lock().unwrap() = body(200 * n);
    }
    net.loss = 20;
    net.ask_group(GroupRequest {
        leisure: Duration::ZERO,
        rtt: Duration::from_millis(100),
        repeat: Repeat::NewMessageId(4),
        end: End::after(secs(100)),
        ..together(by_64(), 1..=5)
    });
    net.pass(secs(1_000));
    let all = [1, 2, 3, 4, 5].map(|n| (address(n), body(200 * n)));
    assert_eq!(net.bodies(), all);
    net.is_clear();
}
