//! Answers of groups in blocks: the first by the group request, the others by unicast from each member.

mod together;

use super::*;
use crate::collection::{Completion, How, Repeat};
use crate::expect::{Expectation, Member};

pub(super) fn question(request: Request) -> GroupRequest {
    let target = GroupTarget {
        group: GROUP.into(),
        socket: UNICAST,
        interface: 1,
    };
    let security = Security::Unsecured(NoSec::Accepted);
    GroupRequest {
        end: End::after(secs(5)),
        ..GroupRequest::new(request, target, security)
    }
}

pub(super) fn members(hosts: core::ops::RangeInclusive<usize>) -> Expectation {
    let mut expect = Expectation::nobody();
    for n in hosts {
        expect.add(Member::named(alloc::format!("m{n}")).at(address(n)));
    }
    expect
}

impl Net {
    pub(super) fn ask_group(&mut self, request: GroupRequest) {
        let now = self.now;
        self.hosts[CLIENT].endpoint.collect(now, request).unwrap();
        self.drain(CLIENT);
    }

    pub(super) fn answers(&self) -> Vec<(SocketAddr, usize)> {
        let events = self.hosts[CLIENT].events.iter();
        let answers = events.filter_map(|event| match event {
            Event::Collection(CollectionEvent::Answer(answer)) => {
                assert_eq!(answer.response.options.get(OptionNumber::BLOCK2), None);
                Some((answer.from.peer, answer.response.payload.len()))
            }
            _ => None,
        });
        answers.collect()
    }

    pub(super) fn outcome(&self) -> &Outcome {
        let mut events = self.hosts[CLIENT].events.iter();
        let outcome = events.find_map(|event| match event {
            Event::Collection(CollectionEvent::Ended(outcome)) => Some(outcome),
            _ => None,
        });
        outcome.expect("ended")
    }

    fn is_over(&self) -> bool {
        let ended = |event: &Event| matches!(event, Event::Collection(CollectionEvent::Ended(_)));
        self.hosts[CLIENT].events.iter().any(ended)
    }

    fn answer_progress(&self) -> Vec<AnswerProgress> {
        let events = self.hosts[CLIENT].events.iter();
        let progress = events.filter_map(|event| match event {
            Event::Collection(CollectionEvent::Progress(progress)) => Some(*progress),
            _ => None,
        });
        progress.collect()
    }
}

// Covers: GC-3.7-01, GC-3.7-03, GN-D-03
#[test]
fn a_group_request_limits_the_first_blocks_and_the_others_come_by_unicast() {
    let mut net = Net::new(4);
    for n in 1..=3 {
        *net.hosts[n].body.lock().unwrap() = body(100 + 50 * n);
    }
    let request = get().option(OptionNumber::BLOCK2, &[0x02]);
    net.ask_group(GroupRequest {
        expect: members(1..=3),
        ..question(request)
    });
    net.pass(secs(60));
    let mut answers = net.answers();
    answers.sort();
    assert_eq!(
        answers,
        [(address(1), 150), (address(2), 200), (address(3), 250)]
    );
    let outcome = net.outcome();
    assert!(outcome.is_complete());
    assert_eq!((outcome.answers, outcome.transmissions), (3, 1));
    // By multicast only the first; each member's own others, confirmable and with new tokens.
    let requests = net.requests();
    assert!(requests[0].route.is_multicast());
    let question_token = requests[0].message().token();
    let mut tokens = std::collections::BTreeSet::new();
    for n in 1..=3 {
        let of_member = |d: &&&Flying| d.route.destination == address(n);
        let of_member: Vec<_> = requests.iter().filter(of_member).collect();
        let blocks: Vec<_> = of_member
            .iter()
            .map(|d| d.block(OptionNumber::BLOCK2).unwrap())
            .collect();
        let count = [3, 4, 4][n - 1];
        let expected: Vec<_> = (1..count).map(|num| (num, false, 64)).collect();
        assert_eq!(blocks, expected);
        for datagram in of_member {
            assert_eq!(datagram.message().kind(), Type::Con);
            assert_ne!(datagram.message().token(), question_token);
            assert!(tokens.insert(datagram.message().token()));
        }
        // Not more than 64 bytes in any answer, and the others piggybacked.
        let of_server: Vec<_> = net.sent.iter().filter(|d| d.from == n).collect();
        assert_eq!(
            of_server[0].block(OptionNumber::BLOCK2),
            Some((0, true, 64))
        );
        assert_eq!(of_server[0].message().kind(), Type::Non);
        for datagram in &of_server[1..] {
            assert!(datagram.message().payload().len() <= 64);
            assert_eq!(datagram.message().kind(), Type::Ack);
        }
    }
    for n in 1..=3 {
        assert_eq!(net.asked(n), 1, "the representation was kept");
    }
    let of_first = |p: &&AnswerProgress| p.from == address(1);
    let progress = net.answer_progress();
    let bytes: Vec<_> = progress
        .iter()
        .filter(of_first)
        .map(|p| p.progress.bytes)
        .collect();
    assert_eq!(bytes, [64, 128]);
    assert!(progress.iter().all(|p| p.member.is_some()));
}

// Covers: GC-3.7-02
#[test]
fn fetch_works_as_get_does() {
    let mut net = Net::new(3);
    for n in 1..=2 {
        *net.hosts[n].body.lock().unwrap() = body(40);
    }
    let request = Request::new(Code::FETCH)
        .path("/r")
        .payload(ContentFormat::TEXT, b"q".as_slice())
        .option(OptionNumber::BLOCK2, b"");
    net.ask_group(question(request));
    net.pass(secs(60));
    assert_eq!(net.answers(), [(address(1), 40), (address(2), 40)]);
    let first: Vec<_> = net
        .sent
        .iter()
        .filter(|d| d.from != CLIENT)
        .take(2)
        .map(|d| (d.block(OptionNumber::BLOCK2), d.message().payload().len()))
        .collect();
    assert_eq!(first, [(Some((0, true, 16)), 16); 2]);
    for n in 1..=2 {
        let events = net.hosts[CLIENT].events.iter();
        let mut bodies = events.filter_map(|event| match event {
            Event::Collection(CollectionEvent::Answer(answer))
                if answer.from.peer == address(n) =>
            {
                Some(answer.response.payload.clone())
            }
            _ => None,
        });
        assert_eq!(bodies.next(), Some(body(40)), "unchanged");
    }
}

// Covers: GC-3.5-09
#[test]
fn servers_start_block_wise_by_themselves_and_differ_in_size() {
    let mut net = Net::with(4, |n, config| {
        config.server.group_answer_limit = Some([0, 64, 256, 20_000][n]);
    });
    net.ask_group(GroupRequest {
        expect: members(1..=3),
        ..question(get())
    });
    net.pass(secs(60));
    let mut answers = net.answers();
    answers.sort();
    assert_eq!(answers, [1, 2, 3].map(|n| (address(n), 3_000)));
    assert!(net.outcome().is_complete());
    for (n, size) in [(1, 64), (2, 256)] {
        let of_member = |d: &&&Flying| d.route.destination == address(n);
        for datagram in net.requests().iter().filter(of_member) {
            let (_, _, asked) = datagram.block(OptionNumber::BLOCK2).unwrap();
            assert_eq!(asked, size);
        }
    }
}

// Covers: GC-3.5-08
#[test]
fn discovery_of_many_links_is_completed() {
    let mut net = Net::new(2);
    let server = net.hosts[1].endpoint.server_mut();
    for n in 0..100 {
        let resource = Resource::at(&alloc::format!("/sensors/temperature/{n}"));
        let resource = resource.get(|_, _| {}).access(Access::Unsecured);
        server.add(resource).unwrap();
    }
    net.ask_group(GroupRequest {
        security: Security::Unsecured(NoSec::Discovery),
        ..question(Request::new(Code::GET).path("/.well-known/core"))
    });
    net.pass(secs(60));
    let [(from, length)] = net.answers()[..] else {
        panic!("{:?}", net.answers());
    };
    assert!(from == address(1) && length > 2_400, "{length}");
    let first = net.sent.iter().find(|d| d.from == 1).unwrap();
    assert_eq!(first.block(OptionNumber::BLOCK2), Some((0, true, 1_024)));
    assert_eq!(first.message().payload().len(), 1_024);
}

#[test]
fn so_many_members_are_fetched_from_at_the_same_time() {
    let mut net = Net::with(7, |_, config| config.transfers.at_once = 2);
    net.ask_group(GroupRequest {
        expect: members(1..=6),
        ..question(get())
    });
    let mut most = 0;
    for _ in 0..2_000 {
        net.pass(Duration::from_millis(1));
        most = most.max(net.hosts[CLIENT].endpoint.load().exchanges);
    }
    assert_eq!(most, 2);
    net.pass(secs(60));
    assert_eq!(net.answers().len(), 6);
}

#[test]
fn the_collection_waits_for_bodies_beyond_its_deadline_and_then_ends() {
    let mut net = Net::new(2);
    *net.hosts[1].body.lock().unwrap() = body(64 * 300);
    net.delay = Duration::from_millis(50);
    net.ask_group(question(get()));
    net.pass(secs(6));
    assert!(!net.is_over() && net.answers().is_empty());
    net.pass(secs(60));
    assert_eq!(net.answers(), [(address(1), 64 * 300)]);
    assert_eq!(net.outcome().ended_by, crate::collection::EndedBy::Deadline);
    assert_eq!(net.outcome().took, Duration::from_millis(100 * 300));
    // Whoever closes it ends the fetching too.
    let mut net = Net::new(2);
    *net.hosts[1].body.lock().unwrap() = body(64 * 300);
    let now = net.now;
    let id = net.hosts[CLIENT].endpoint.collect(now, question(get()));
    net.pass(Duration::from_millis(100));
    let now = net.now;
    net.hosts[CLIENT].endpoint.close(now, id.unwrap());
    net.sent.clear();
    net.pass(secs(60));
    assert!(net.requests().len() <= 1);
    assert!(net.is_over() && net.answers().is_empty());
    assert_eq!(net.hosts[CLIENT].endpoint.load().exchanges, 0);
    assert!(net.hosts[CLIENT].endpoint.client.completing.is_empty());
}

#[test]
fn a_member_whose_body_cannot_be_had_is_named() {
    let mut net = Net::new(3);
    net.ask_group(GroupRequest {
        expect: members(1..=2),
        ..question(get())
    });
    net.pass(Duration::from_millis(40));
    // The second one is gone.
    net.hosts[2].body.lock().unwrap().clear();
    let gone: Vec<_> = net
        .flying
        .iter()
        .filter(|(_, d)| d.from != 2)
        .cloned()
        .collect();
    net.flying = gone.into();
    let client = address(CLIENT);
    let deaf = net.hosts.pop().unwrap();
    drop(deaf);
    net.pass(secs(200));
    assert_eq!(net.answers(), [(address(1), 3_000)]);
    let rejected: Vec<_> = net.outcome().rejected().collect();
    assert_eq!(rejected, [("m2", Rejection::Incomplete(Failure::TimedOut))]);
    assert_eq!(client, address(CLIENT));
}

#[test]
fn repeats_do_not_fetch_a_body_twice() {
    let mut net = Net::new(2);
    net.ask_group(GroupRequest {
        repeat: Repeat::NewMessageId(2),
        leisure: Duration::ZERO,
        rtt: secs(1),
        ..question(get())
    });
    net.pass(secs(60));
    assert_eq!(net.answers(), [(address(1), 3_000)]);
    assert_eq!(net.outcome().dropped.same_body, 2);
    let by_unicast = |d: &&&Flying| !d.route.is_multicast();
    assert_eq!(net.requests().iter().filter(by_unicast).count(), 46);
    // One that is being fetched is not asked in person.
    let mut net = Net::new(2);
    *net.hosts[1].body.lock().unwrap() = body(64 * 300);
    net.delay = Duration::from_millis(50);
    net.ask_group(GroupRequest {
        expect: members(1..=1),
        leisure: Duration::ZERO,
        rtt: secs(1),
        completion: Completion::Unicast {
            at_once: 1,
            within: None,
        },
        ..question(get())
    });
    net.pass(secs(100));
    assert_eq!(net.answers(), [(address(1), 64 * 300)]);
    let whole = |d: &&&Flying| d.block(OptionNumber::BLOCK2).is_none();
    assert_eq!(net.requests().iter().filter(whole).count(), 1);
}

#[test]
fn a_silent_member_that_is_asked_in_person_may_have_a_large_body_too() {
    let mut net = Net::new(2);
    net.loss = 100;
    net.ask_group(GroupRequest {
        expect: members(1..=1),
        leisure: Duration::ZERO,
        rtt: secs(1),
        completion: Completion::Unicast {
            at_once: 1,
            within: None,
        },
        ..question(get())
    });
    net.pass(Duration::from_millis(10));
    net.loss = 0;
    net.pass(secs(100));
    assert_eq!(net.answers(), [(address(1), 3_000)]);
    assert!(net.outcome().is_complete());
    let blocks: Vec<_> = net
        .requests()
        .iter()
        .skip(1)
        .map(|d| d.block(OptionNumber::BLOCK2).map(|b| b.0))
        .collect();
    assert_eq!(blocks, [None, Some(1), Some(2)]);
}

#[test]
fn a_change_between_blocks_restarts_that_member_only() {
    let mut net = Net::with(3, |_, config| config.server.blocks.kept = 0);
    net.ask_group(question(get()));
    net.pass(Duration::from_millis(40));
    let changed = body(2_000);
    *net.hosts[2].body.lock().unwrap() = changed;
    net.pass(secs(60));
    let mut answers = net.answers();
    answers.sort();
    assert_eq!(answers, [(address(1), 3_000), (address(2), 2_000)]);
    let whole = |n: usize| {
        let to = |d: &&&Flying| {
            d.route.destination == address(n) && d.block(OptionNumber::BLOCK2).is_none()
        };
        net.requests().iter().filter(to).count()
    };
    assert_eq!((whole(1), whole(2)), (0, 1));
}

#[test]
fn a_body_above_the_limit_of_the_request_is_rejected() {
    let mut net = Net::new(2);
    let limits = crate::collection::AnswerLimits {
        response_bytes: 2_999,
        ..Default::default()
    };
    net.ask_group(GroupRequest {
        expect: members(1..=1),
        limits,
        ..question(get())
    });
    net.pass(secs(60));
    let failure = Failure::Body(BodyFailure::TooLarge(2_999));
    assert_eq!(
        net.outcome().rejected().collect::<Vec<_>>(),
        [("m1", Rejection::Incomplete(failure))]
    );
    let limits = ServerBlocks::default();
    assert_eq!(limits.size, BlockSize::LARGEST);
}

#[test]
fn a_body_that_is_whole_when_the_collection_has_ended_is_a_late_answer() {
    let mut net = Net::new(3);
    *net.hosts[2].body.lock().unwrap() = body(30);
    // The first block of the one is there, and then the whole answer of the other, with which it ends.
    net.ask_group(GroupRequest {
        expect: members(1..=2),
        late: Some(secs(20)),
        end: End {
            count: Some(1),
            ..End::after(secs(5))
        },
        ..question(get())
    });
    net.pass(secs(60));
    let events = net.hosts[CLIENT].events.iter();
    let answers = events.filter_map(|event| match event {
        Event::Collection(CollectionEvent::Answer(answer)) => Some((false, answer)),
        Event::Collection(CollectionEvent::LateAnswer(answer)) => Some((true, answer)),
        _ => None,
    });
    let told: Vec<_> = answers
        .map(|(late, answer)| {
            (
                late,
                answer.from.peer,
                answer.response.payload.len(),
                answer.how,
            )
        })
        .collect();
    let in_time = (false, address(2), 30, How::Multicast);
    assert_eq!(told, [in_time, (true, address(1), 3_000, How::Late)]);
    assert_eq!(net.outcome().ended_by, crate::collection::EndedBy::Count);
}
