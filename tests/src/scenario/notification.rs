//! Scenario 7: network-wide or group notification (groupcomm-bis Appendix A.2.4).

use std::time::Duration;

use antiphon_netsim::{HostId, Impairment};
use antiphon_proto::{Again, CollectError, EndedBy, GroupPolicy, GroupRequest, Repeat, Resource};
use antiphon_tests::stage::{Collected, Diary, Ground, Stage, parse, post};
use antiphon_wire::{Code, NoResponse, OptionNumber, Type};

struct Cast {
    stage: Stage,
    client: HostId,
    members: [HostId; 3],
    diaries: [Diary; 3],
}

fn cast(ground: Ground, policy: &GroupPolicy, code: Code) -> Cast {
    let mut stage = Stage::new(ground, 7);
    let client = stage.client();
    let diaries = [(); 3].map(|()| Diary::new());
    let mut diary = diaries.iter();
    let members = [41, 42, 43].map(|n| {
        let member = stage.member(n);
        let resource = Resource::at("/notify")
            .post(diary.next().unwrap().handler(code, ""))
            .group_policy(policy.clone());
        stage.offer(member, resource);
        stage.join(member, ground.group(7, 5683));
        member
    });
    stage.settle();
    stage.forget(&[client, members[0], members[1], members[2]]);
    Cast {
        stage,
        client,
        members,
        diaries,
    }
}

impl Cast {
    fn notification(&self) -> GroupRequest {
        let group = self.stage.ground.group(7, 5683);
        self.stage.question(post("/notify", "fire"), group)
    }

    fn send(&mut self, question: GroupRequest) -> Collected {
        self.stage.collect(self.client, question)
    }

    fn runs(&self) -> [usize; 3] {
        self.diaries.each_ref().map(Diary::len)
    }

    fn datagrams_back(&mut self) -> usize {
        let members = self.members;
        members.iter().map(|m| self.stage.sent(*m).len()).sum()
    }
}

// Covers: GC-A.2.4-01, GC-3.1-08
#[test]
fn a_notification_is_taken_by_all_and_answered_by_nobody() {
    for ground in Ground::ALL {
        let mut cast = cast(ground, &GroupPolicy::silent(), Code::CHANGED);
        let mut question = cast.notification();
        question.silent = true;
        let done = cast.send(question);
        assert_eq!(done.outcome().ended_by, EndedBy::Sent);
        assert!(
            done.outcome().took < Duration::from_millis(1),
            "nothing is waited for"
        );
        cast.stage.run(Duration::from_secs(60));
        assert_eq!(cast.runs(), [1, 1, 1], "{ground:?}");
        assert_eq!(cast.datagrams_back(), 0);
        // It says itself that no answer is wanted.
        let sent = cast.stage.sent(cast.client);
        assert_eq!(sent.len(), 1);
        assert_eq!(
            parse(&sent[0]).option(OptionNumber::NO_RESPONSE),
            Some(&[26][..])
        );
        assert_eq!(parse(&sent[0]).kind(), Type::Non);
    }
}

// Covers: GC-A.2.4-02
#[test]
fn a_resource_that_confirms_answers_after_it_has_processed() {
    for ground in Ground::ALL {
        let mut cast = cast(ground, &GroupPolicy::respond(), Code::CHANGED);
        let question = cast.notification();
        let done = cast.send(question);
        assert_eq!(done.codes(), [41, 42, 43].map(|n| (n, Code::CHANGED)));
        assert_eq!(cast.runs(), [1, 1, 1], "{ground:?}");
    }
}

#[test]
fn no_response_silences_a_resource_that_confirms() {
    for ground in Ground::ALL {
        for (bits, answers) in [(2, 0), (26, 0), (24, 3), (0, 3)] {
            let policy = GroupPolicy::respond().consider_no_response();
            let mut cast = cast(ground, &policy, Code::CHANGED);
            let mut question = cast.notification();
            let value = NoResponse::new(bits).encode();
            let options = &mut question.request.options;
            options.push(OptionNumber::NO_RESPONSE, value.as_bytes());
            let done = cast.send(question);
            cast.stage.run(Duration::from_secs(60));
            assert_eq!(done.answers.len(), answers, "{ground:?} {bits}");
            assert_eq!(cast.datagrams_back(), answers);
            assert_eq!(cast.runs(), [1, 1, 1]);
        }
    }
}

#[test]
fn an_error_of_the_handler_stays_silent() {
    for ground in Ground::ALL {
        for code in [Code::INTERNAL_SERVER_ERROR, Code::BAD_REQUEST] {
            for policy in [GroupPolicy::silent(), GroupPolicy::respond()] {
                let mut cast = cast(ground, &policy, code);
                let question = cast.notification();
                let done = cast.send(question);
                assert_eq!(done.who(), [0_u16; 0]);
                assert_eq!(cast.datagrams_back(), 0, "{ground:?}");
                assert_eq!(cast.runs(), [1, 1, 1]);
            }
        }
    }
}

// Covers: GC-3.1-14
#[test]
fn the_same_message_again_reaches_only_who_missed_it() {
    for ground in Ground::ALL {
        let mut cast = cast(ground, &GroupPolicy::silent(), Code::CHANGED);
        let deaf = Impairment::none().loss(1.0);
        let network = cast.stage.world.sim.network_mut();
        network.set_ingress(cast.members[1], deaf);
        let mut question = cast.notification();
        question.silent = true;
        question.repeat = Repeat::SameMessage(1);
        cast.stage.ask(cast.client, question);
        cast.stage.settle();
        assert_eq!(cast.runs(), [1, 0, 1]);
        let network = cast.stage.world.sim.network_mut();
        network.set_ingress(cast.members[1], Impairment::none());
        cast.stage.run(Duration::from_secs(120));
        assert_eq!(cast.runs(), [1, 1, 1], "{ground:?}");
        let sent = cast.stage.sent(cast.client);
        assert_eq!(sent.len(), 2);
        assert_eq!(sent[0], sent[1], "byte for byte");
        for member in [cast.members[0], cast.members[2]] {
            assert_eq!(cast.stage.world.endpoint(member).counters().duplicates, 1);
        }
    }
}

#[test]
fn a_notification_is_not_repeated_as_a_new_message_unless_it_is_idempotent() {
    for ground in Ground::ALL {
        let mut cast = cast(ground, &GroupPolicy::silent(), Code::CHANGED);
        let mut question = cast.notification();
        question.repeat = Repeat::times(1);
        let now = cast.stage.world.now();
        let refused = cast
            .stage
            .world
            .endpoint(cast.client)
            .collect(now, question);
        let reason = CollectError::NotIdempotent(Again::NewMessageId);
        assert_eq!(refused, Err(reason));
        let mut question = cast.notification();
        question.repeat = Repeat::times(1);
        question.idempotent = true;
        cast.send(question);
        assert_eq!(cast.runs(), [2, 2, 2], "{ground:?}");
    }
}
