//! Resets, spoofed sources, multicast CON, foreign tokens, replays.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use antiphon_netsim::HostId;
use antiphon_proto::{
    EndpointConfig, Expectation, Failure, GroupPolicy, Leisure, Member, Reliability, Resource,
};
use antiphon_tests::stage::{CLIENT_PORT, Datagram, Diary, Ground, Stage, get, parse};
use antiphon_wire::{Code, Type};

use super::bare::{Bare, group, me, request};

#[test]
fn nobody_is_answered_who_claims_to_be_a_group_or_nobody() {
    let sources: [(IpAddr, u16); 6] = [
        (Ipv4Addr::new(224, 0, 1, 187).into(), 5683),
        (Ipv4Addr::new(239, 1, 1, 1).into(), 5683),
        (Ipv4Addr::BROADCAST.into(), 5683),
        (Ipv4Addr::UNSPECIFIED.into(), 5683),
        ("ff02::fd".parse().unwrap(), 5683),
        (Ipv4Addr::new(10, 0, 0, 2).into(), 0),
    ];
    let mut bare = Bare::new(EndpointConfig::default());
    for source in sources.map(SocketAddr::from) {
        for (local, kind) in [(me(), Type::Con), (me(), Type::Non), (group(), Type::Non)] {
            let asked = request(kind, 1, b"abcd", &[]);
            assert_eq!(bare.hear_from(source, local, &asked), [], "{source}");
        }
        // Neither is a ping, a malformed message, or a response that nobody waits for.
        for bytes in [
            &b"\x40\x00\x00\x01"[..],
            b"\x40\x01\x00\x01\xff",
            b"\x40\x45\x00\x01",
        ] {
            assert_eq!(bare.hear_from(source, me(), bytes), [], "{source}");
        }
    }
    assert!(bare.diary.is_empty());
    assert_eq!(bare.endpoint.counters().bad_source, 36);
    bare.goes_on();
}

#[test]
fn a_confirmable_multicast_runs_no_handler() {
    let mut bare = Bare::new(EndpointConfig::default());
    for mid in 0..100 {
        assert_eq!(
            bare.hear(group(), &request(Type::Con, mid, b"abcd", &[])),
            []
        );
    }
    assert!(bare.diary.is_empty());
    assert_eq!(bare.endpoint.counters().group_not_non, 100);
    // It has left no trace by which the same as NON would be a duplicate.
    assert_eq!(
        bare.hear(group(), &request(Type::Non, 1, b"abcd", &[]))
            .len(),
        1
    );
    bare.goes_on();
}

struct Cast {
    stage: Stage,
    client: HostId,
}

fn cast(ground: Ground) -> Cast {
    let mut stage = Stage::new(ground, 3);
    let client = stage.client();
    for n in [11, 12] {
        let member = stage.member(n);
        let resource = Resource::at("/r").get(Diary::new().handler(Code::CONTENT, "1"));
        stage.offer(member, resource.group_policy(GroupPolicy::respond()));
        stage.join(member, ground.group(1, 5683));
    }
    stage.settle();
    stage.forget(&[client]);
    Cast { stage, client }
}

impl Cast {
    fn client_address(&self) -> SocketAddr {
        SocketAddr::new(self.stage.ground.address(1), CLIENT_PORT)
    }

    fn member_address(&self, n: u16) -> SocketAddr {
        SocketAddr::new(self.stage.ground.address(n), 5683)
    }
}

#[test]
fn a_reset_for_a_group_request_ends_nothing() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let mut question = cast.stage.question(get("/r"), ground.group(1, 5683));
        for n in [11, 12] {
            question
                .expect
                .add(Member::named(n.to_string()).at(ground.address(n)));
        }
        let id = cast.stage.ask(cast.client, question);
        cast.stage.run(Duration::from_millis(5));
        let mid = parse(&cast.stage.sent(cast.client)[0])
            .message_id()
            .0
            .to_be_bytes();
        let to = cast.client_address();
        for n in [11, 12, 99] {
            let from = cast.member_address(n);
            for first in [0x70, 0x60] {
                cast.stage.forge(from, to, vec![first, 0, mid[0], mid[1]]);
            }
        }
        cast.stage.run(Duration::from_secs(20));
        let done = cast.stage.collected(cast.client, id);
        assert_eq!(done.who(), [11, 12], "{ground:?}");
        assert!(done.outcome().is_complete());
        let counters = cast.stage.world.endpoint(cast.client).counters();
        assert_eq!(counters.unmatched_empty, 6);
    }
}

#[test]
fn a_reset_by_anybody_but_the_peer_does_not_end_a_unicast_request() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let silent = cast.stage.stranger(50, 5683);
        let peer = cast.member_address(50);
        let reliability = Reliability::Confirmable;
        cast.stage
            .start_unicast(cast.client, peer, reliability, get("/r"));
        cast.stage.settle();
        let mid = parse(&cast.stage.heard(silent)[0].bytes)
            .message_id()
            .0
            .to_be_bytes();
        let to = cast.client_address();
        let mut other_port = peer;
        other_port.set_port(5685);
        for from in [cast.member_address(51), other_port] {
            cast.stage.forge(from, to, vec![0x70, 0, mid[0], mid[1]]);
        }
        // Of the peer, but for another message.
        cast.stage
            .forge(peer, to, vec![0x70, 0, mid[0], mid[1] ^ 1]);
        cast.stage.run(Duration::from_secs(30));
        assert!(
            cast.stage.heard(silent).len() >= 2,
            "it is still being retransmitted"
        );
        let events = cast.stage.world.node(cast.client).events.len();
        cast.stage.forge(peer, to, vec![0x70, 0, mid[0], mid[1]]);
        cast.stage.settle();
        let all = &cast.stage.world.node(cast.client).events;
        assert_eq!(all.len(), events + 1);
        assert!(matches!(
            all[events].1,
            antiphon_proto::Event::Failed {
                failure: Failure::Reset,
                ..
            }
        ));
    }
}

#[test]
fn foreign_tokens_in_numbers_are_counted_and_never_delivered() {
    for ground in [Ground::Link, Ground::V4] {
        let mut cast = cast(ground);
        let question = cast.stage.question(get("/r"), ground.group(1, 5683));
        let id = cast.stage.ask(cast.client, question);
        cast.stage.settle();
        let to = cast.client_address();
        let from = cast.member_address(99);
        for n in 0..10_000_u64 {
            let token = n.to_be_bytes();
            let answer = Datagram {
                kind: Type::Non,
                code: Code::CONTENT,
                mid: n as u16,
                token: &token[..(n % 9) as usize],
                options: &[],
                payload: b"forged",
            };
            cast.stage.forge(from, to, answer.bytes());
        }
        cast.stage.run(Duration::from_secs(20));
        let done = cast.stage.collected(cast.client, id);
        assert_eq!(done.who(), [11, 12]);
        let client = cast.stage.world.endpoint(cast.client);
        assert_eq!(client.counters().unmatched, 10_000);
        assert_eq!(client.counters().sent, 1, "no forged answer is answered");
        assert_eq!(client.load().dedup_records, 2, "nor remembered");
    }
}

// Covers: GC-6.3-03
#[test]
fn answers_provoked_by_a_replay_after_the_end_are_not_delivered() {
    for reset in [false, true] {
        for ground in Ground::ALL {
            let mut stage = Stage::new(ground, 4);
            let config = EndpointConfig {
                reset_unmatched: reset,
                ..EndpointConfig::default()
            };
            let client = stage.client_with(config);
            let diary = Diary::new();
            let member = stage.member(11);
            let resource = Resource::at("/r").get(diary.handler(Code::CONTENT, "1"));
            stage.offer(member, resource.group_policy(GroupPolicy::respond()));
            stage.join(member, ground.group(1, 5683));
            stage.settle();
            let question = stage.question(get("/r"), ground.group(1, 5683));
            let done = stage.collect(client, question);
            assert_eq!(done.who(), [11]);
            // Somebody has recorded the request, and sends it again when the server has forgotten it and the token
            // is free.
            let recorded = stage.sent(client)[0].clone();
            stage.run(Duration::from_secs(600));
            let events = stage.world.node(client).events.len();
            stage.forget(&[client]);
            let from = SocketAddr::new(ground.address(1), CLIENT_PORT);
            stage.forge(from, ground.group(1, 5683), recorded);
            stage.run(Duration::from_secs(20));
            assert_eq!(diary.len(), 2, "the server cannot know");
            let node = stage.world.node(client);
            assert_eq!(node.received.len(), 1);
            assert_eq!(node.events.len(), events, "{ground:?}");
            assert_eq!(node.endpoint.counters().unmatched, 1);
            let sent: Vec<_> = node.sent.iter().map(|(_, _, b)| b[0]).collect();
            assert_eq!(sent, if reset { vec![0x70] } else { vec![] });
        }
    }
}

// Covers: GN-6.4-01
#[test]
fn answers_provoked_by_a_replay_before_the_end_are_further_answers() {
    for ground in Ground::ALL {
        let mut stage = Stage::new(ground, 5);
        let client = stage.client();
        let mut config = EndpointConfig::default();
        config.dedup.records = 0; // a server that does not deduplicate
        let member = stage.member_with(11, &[5683], config);
        let policy = GroupPolicy::respond().leisure(Leisure::Fixed(Duration::ZERO));
        let resource = Resource::at("/r").get(Diary::new().handler(Code::CONTENT, "1"));
        stage.offer(member, resource.group_policy(policy));
        stage.join(member, ground.group(1, 5683));
        stage.settle();
        let mut question = stage.question(get("/r"), ground.group(1, 5683));
        question.expect = Expectation::nobody();
        let id = stage.ask(client, question);
        stage.settle();
        let recorded = stage.sent(client)[0].clone();
        let from = SocketAddr::new(ground.address(1), CLIENT_PORT);
        for _ in 0..2 {
            stage.forge(from, ground.group(1, 5683), recorded.clone());
            stage.settle();
        }
        stage.run(Duration::from_secs(20));
        let done = stage.collected(client, id);
        let sequences: Vec<_> = done.answers.iter().map(|a| a.sequence).collect();
        assert_eq!(sequences, [1, 2, 3], "{ground:?}");
        assert_eq!(done.outcome().servers(), 1);
    }
}

#[test]
fn own_multicast_is_heard_or_ignored_as_configured() {
    for (ignore, answers) in [(false, 1), (true, 0)] {
        for ground in Ground::ALL {
            let mut stage = Stage::new(ground, 6);
            let config = EndpointConfig {
                ignore_own_multicast: ignore,
                ..EndpointConfig::default()
            };
            let member = stage.member_with(11, &[5683], config);
            let resource = Resource::at("/r").get(Diary::new().handler(Code::CONTENT, "1"));
            stage.offer(member, resource.group_policy(GroupPolicy::respond()));
            stage.join(member, ground.group(1, 5683));
            stage.settle();
            let question = stage.question(get("/r"), ground.group(1, 5683));
            assert_eq!(stage.collect(member, question).answers.len(), answers);
            let counters = stage.world.endpoint(member).counters();
            assert_eq!(counters.own_multicast, u64::from(ignore));
        }
    }
}
