//! Scenario 5: device group status request with unicast completion (groupcomm-bis Appendix A.2.2).

use std::net::SocketAddr;
use std::time::Duration;

use antiphon_netsim::{HostId, Impairment};
use antiphon_proto::{
    AnswerPolicy, Completion, EndedBy, Expectation, Failure, GroupPolicy, GroupRequest, How,
    Member, MissingReason, Resource,
};
use antiphon_tests::stage::{CLIENT_PORT, Datagram, Diary, Ground, Stage, get, number_of, parse};
use antiphon_wire::{Code, Token, Type};

const MEMBERS: [u16; 6] = [31, 32, 33, 34, 35, 36];

struct Cast {
    stage: Stage,
    client: HostId,
    members: Vec<HostId>,
}

/// "Floor 3": a client that knows S1 to S6.
fn cast(ground: Ground) -> Cast {
    let mut stage = Stage::new(ground, 5);
    let client = stage.client();
    let members = MEMBERS
        .iter()
        .map(|n| {
            let member = stage.member(*n);
            let status = Diary::new().handler(Code::CONTENT, &format!("ok {n}"));
            let resource = Resource::at("/status").get(status);
            stage.offer(member, resource.group_policy(GroupPolicy::respond()));
            stage.join(member, ground.group(3, 5683));
            member
        })
        .collect();
    stage.settle();
    stage.forget(&[client]);
    Cast {
        stage,
        client,
        members,
    }
}

impl Cast {
    fn status(&self) -> GroupRequest {
        let group = self.stage.ground.group(3, 5683);
        let mut question = self.stage.question(get("/status"), group);
        let mut expect = Expectation::nobody();
        for n in MEMBERS {
            expect.add(Member::named(format!("S{}", n - 30)).at(self.address(n)));
        }
        question.expect = expect;
        question.completion = Completion::Unicast {
            at_once: 4,
            within: None,
        };
        question
    }

    fn address(&self, n: u16) -> SocketAddr {
        SocketAddr::new(self.stage.ground.address(n), 5683)
    }

    fn hears(&mut self, member: usize, hears: bool) {
        let loss = if hears { 0.0 } else { 1.0 };
        let host = self.members[member];
        let network = self.stage.world.sim.network_mut();
        network.set_ingress(host, Impairment::none().loss(loss));
    }

    /// The client's socket.
    fn client_address(&self) -> SocketAddr {
        SocketAddr::new(self.stage.ground.address(1), CLIENT_PORT)
    }
}

// Covers: GC-A.2.2-01
#[test]
fn silent_members_are_asked_in_person_and_the_table_is_complete() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let question = cast.status();
        cast.hears(4, false);
        cast.hears(5, false);
        let id = cast.stage.ask(cast.client, question);
        cast.stage.run(Duration::from_millis(100));
        cast.hears(4, true);
        cast.hears(5, true);
        cast.stage.run(Duration::from_secs(60));
        let done = cast.stage.collected(cast.client, id);
        let outcome = done.outcome();
        assert!(outcome.is_complete());
        assert_eq!(outcome.ended_by, EndedBy::AllExpected);
        let names: Vec<_> = outcome.answered().collect();
        assert_eq!(
            names,
            [
                ("S1", 1),
                ("S2", 1),
                ("S3", 1),
                ("S4", 1),
                ("S5", 1),
                ("S6", 1)
            ]
        );
        let texts = MEMBERS.map(|n| (n, format!("ok {n}")));
        assert_eq!(done.texts(), texts);
        for answer in &done.answers {
            let in_person = number_of(answer.from.peer.ip()) >= 35;
            let how = if in_person {
                How::Unicast
            } else {
                How::Multicast
            };
            assert_eq!(answer.how, how, "{ground:?}");
        }
        // On the wire: one NON to the group, then after leisure and round trip a CON to each of the two, answered in
        // an acknowledgement.
        let sent = cast.stage.world.node(cast.client).sent.clone();
        assert_eq!(sent.len(), 3);
        let (began, route, bytes) = &sent[0];
        assert!(route.is_multicast());
        assert_eq!(
            (parse(bytes).kind(), parse(bytes).code()),
            (Type::Non, Code::GET)
        );
        for (at, route, bytes) in &sent[1..] {
            assert!(!route.is_multicast());
            assert_eq!(parse(bytes).kind(), Type::Con);
            assert_ne!(parse(bytes).message_id(), parse(&sent[0].2).message_id());
            assert_eq!(
                at.since(*began),
                Duration::from_secs(6),
                "leisure 5 s, round trip 1 s"
            );
        }
        let kinds: Vec<_> = cast
            .stage
            .world
            .node(cast.client)
            .received
            .iter()
            .map(|(_, _, bytes)| parse(bytes).kind())
            .collect();
        assert_eq!(kinds.iter().filter(|k| **k == Type::Non).count(), 4);
        assert_eq!(kinds.iter().filter(|k| **k == Type::Ack).count(), 2);
    }
}

#[test]
fn a_member_that_is_down_is_asked_five_times_and_missing_by_name() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let down = cast.members[2];
        cast.stage.world.sim.network_mut().take_down(down);
        let question = cast.status();
        let done = cast.stage.collect(cast.client, question);
        let missing: Vec<_> = done.outcome().missing().collect();
        let reason = MissingReason::Unicast(Failure::TimedOut);
        assert_eq!(missing, [("S3", reason)], "{ground:?}");
        let sent = &cast.stage.world.node(cast.client).sent;
        let to_it: Vec<_> = sent
            .iter()
            .filter(|(_, route, _)| !route.is_multicast())
            .collect();
        assert_eq!(to_it.len(), 5, "once, and MAX_RETRANSMIT times again");
        assert!(to_it.iter().all(|(_, _, bytes)| *bytes == to_it[0].2));
        assert_eq!(done.who(), [31, 32, 34, 35, 36]);
    }
}

#[test]
fn an_answer_after_the_end_is_not_delivered() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let stranger = cast.stage.stranger(99, 5683);
        let mut question = cast.status();
        question.completion = Completion::None;
        let done = cast.stage.collect(cast.client, question);
        let token = parse(&cast.stage.sent(cast.client)[0]).token();
        let answer = late_answer(token, 5);
        let events = cast.stage.world.node(cast.client).events.len();
        let client = cast.client_address();
        assert_eq!(cast.stage.provoke(stranger, client, answer), []);
        assert_eq!(cast.stage.world.node(cast.client).events.len(), events);
        assert_eq!(
            cast.stage.world.endpoint(cast.client).counters().unmatched,
            1
        );
        assert_eq!(done.who(), MEMBERS);
    }
}

fn late_answer(token: Token, mid: u16) -> Vec<u8> {
    Datagram {
        kind: Type::Non,
        code: Code::CONTENT,
        mid,
        token: token.as_bytes(),
        options: &[],
        payload: b"here I am",
    }
    .bytes()
}

// Covers: GC-3.1-18, GC-3.1-19, GC-3.1-32, GC-3.1-33, GN-3.1.1-01, GC-3.1-23
#[test]
fn answers_count_by_token_alone_from_any_port_twice_and_confirmable() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        // S6 is another implementation: it answers from a port of its own, twice and then Confirmable.
        cast.stage
            .world
            .sim
            .network_mut()
            .take_down(cast.members[5]);
        let sixth = cast.stage.stranger(37, 49_999);
        let group = ground.group(3, 5683);
        let network = cast.stage.world.sim.network_mut();
        network.bind(sixth.host, 5683).unwrap();
        let interface = antiphon_netsim::Interface::new(1);
        network.join(sixth.host, interface, group.ip()).unwrap();
        let mut question = cast.status();
        question.expect = Expectation::nobody();
        question.completion = Completion::None;
        question.keep_answers = true;
        let id = cast.stage.ask(cast.client, question);
        cast.stage.settle();
        let heard = cast.stage.heard(sixth);
        let token = parse(&heard[0].bytes).token();
        let to = heard[0].src;
        for (kind, mid, text) in [
            (Type::Non, 900, &b"first"[..]),
            (Type::Non, 901, b"second"),
            (Type::Con, 902, b"third"),
        ] {
            let answer = Datagram {
                kind,
                code: Code::CONTENT,
                mid,
                token: token.as_bytes(),
                options: &[],
                payload: text,
            };
            cast.stage.say(sixth, to, answer.bytes());
        }
        cast.stage.run(Duration::from_secs(30));
        let done = cast.stage.collected(cast.client, id);
        assert_eq!(done.who(), [31, 32, 33, 34, 35, 37, 37, 37], "{ground:?}");
        let from_it: Vec<_> = done
            .answers
            .iter()
            .filter(|a| a.from.peer.port() == 49_999)
            .collect();
        let sequences: Vec<_> = from_it.iter().map(|a| a.sequence).collect();
        assert_eq!(sequences, [1, 2, 3]);
        let texts: Vec<_> = from_it.iter().map(|a| &a.response.payload[..]).collect();
        assert_eq!(texts, [&b"first"[..], b"second", b"third"]);
        assert_eq!(done.outcome().kept_answers(AnswerPolicy::All).len(), 8);
        let latest = done.outcome().kept_answers(AnswerPolicy::LatestPerServer);
        assert_eq!(latest.len(), 6);
        let of_it: Vec<_> = latest
            .iter()
            .filter(|a| a.from.peer.port() == 49_999)
            .collect();
        assert_eq!(of_it.len(), 1);
        assert_eq!(of_it[0].response.payload, b"third");
        // The Confirmable one is acknowledged by an empty message with its Message ID; nothing else is said.
        let replies = cast.stage.heard(sixth);
        let replies: Vec<_> = replies.iter().map(|d| d.bytes.to_vec()).collect();
        assert_eq!(replies, [vec![0x60, 0, 0x03, 0x86]]);
    }
}

// Covers: GN-3.1.6-01
#[test]
fn a_duplicate_of_an_answer_is_dropped_and_the_same_answer_with_a_new_message_id_is_not() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let stranger = cast.stage.stranger(99, 5683);
        let mut question = cast.status();
        question.expect = Expectation::nobody();
        question.completion = Completion::None;
        let id = cast.stage.ask(cast.client, question);
        cast.stage.settle();
        let token = parse(&cast.stage.sent(cast.client)[0]).token();
        let client = cast.client_address();
        for mid in [5, 5, 6, 5] {
            cast.stage.say(stranger, client, late_answer(token, mid));
        }
        cast.stage.run(Duration::from_secs(30));
        let done = cast.stage.collected(cast.client, id);
        let from_it = done.who().iter().filter(|n| **n == 99).count();
        assert_eq!(from_it, 2);
        let counters = cast.stage.world.endpoint(cast.client).counters();
        assert_eq!(counters.duplicates, 2);
    }
}

#[test]
fn the_next_question_has_another_token() {
    let mut cast = cast(Ground::Site);
    for _ in 0..20 {
        let mut question = cast.status();
        question.end.when_all_expected = true;
        assert!(
            cast.stage
                .collect(cast.client, question)
                .outcome()
                .is_complete()
        );
    }
    let sent = cast.stage.sent(cast.client);
    let mut tokens: Vec<_> = sent
        .iter()
        .map(|b| parse(b).token().as_bytes().to_vec())
        .collect();
    assert_eq!(tokens.len(), 20);
    tokens.sort();
    tokens.dedup();
    assert_eq!(
        tokens.len(),
        20,
        "within 250 s and the server's delay none is used twice"
    );
    assert!(cast.stage.world.now().as_micros() < 250_000_000);
}
