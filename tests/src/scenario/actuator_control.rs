//! Scenario 4: actuator group control (groupcomm-bis Appendix A.2.1, the three example flows).

use std::time::Duration;

use antiphon_netsim::{HostId, Impairment, Router, Scope, Segment};
use antiphon_proto::{
    CollectError, EndedBy, EndpointConfig, Expectation, GroupPolicy, GroupRequest, Instant, Member,
    MissingReason, Resource,
};
use antiphon_tests::stage::{CLIENT_PORT, Collected, Datagram, Diary, Ground, Stage, get, put};
use antiphon_wire::{Class, Code, ContentFormat, NoResponse, OptionNumber, Type};

/// How long switching may take.
const LATENCY_BOUND: Duration = Duration::from_millis(50);

struct Cast {
    stage: Stage,
    switch: HostId,
    lights: [HostId; 3],
    diaries: [Diary; 3],
}

/// A switch and three lights, the third of which is faulty.
fn cast(ground: Ground, policy: &GroupPolicy) -> Cast {
    let mut stage = Stage::new(ground, 4);
    let switch = stage.client();
    let diaries = [(); 3].map(|()| Diary::new());
    let mut diary = diaries.iter();
    let lights = [21, 22, 23].map(|n| {
        let light = stage.member(n);
        let code = if n == 23 {
            Code::INTERNAL_SERVER_ERROR
        } else {
            Code::CHANGED
        };
        let resource = Resource::at("/light")
            .put(diary.next().unwrap().handler(code, ""))
            .consumes(ContentFormat::TEXT)
            .group_policy(policy.clone());
        stage.offer(light, resource);
        stage.join(light, ground.group(1, 5683));
        light
    });
    stage.settle();
    stage.forget(&[switch, lights[0], lights[1], lights[2]]);
    Cast {
        stage,
        switch,
        lights,
        diaries,
    }
}

impl Cast {
    fn command(&self, text: &str) -> GroupRequest {
        let group = self.stage.ground.group(1, 5683);
        let mut question = self.stage.question(put("/light", text), group);
        let mut expect = Expectation::nobody();
        for n in [21, 22, 23] {
            let name = format!("Light-{}", n - 20);
            expect.add(Member::named(name).at(self.stage.ground.address(n)));
        }
        question.expect = expect;
        question
    }

    fn send(&mut self, question: GroupRequest) -> Collected {
        self.stage.collect(self.switch, question)
    }

    fn runs(&self) -> [usize; 3] {
        self.diaries.each_ref().map(Diary::len)
    }

    fn datagrams_of_lights(&mut self) -> usize {
        let lights = self.lights;
        lights.iter().map(|l| self.stage.sent(*l).len()).sum()
    }
}

fn responding() -> GroupPolicy {
    GroupPolicy::respond().answer(Class::ServerError)
}

// Covers: GC-A.2.1-01, GC-3.1-06
#[test]
fn silent_lights_switch_at_once_and_say_nothing() {
    for ground in Ground::ALL {
        let mut cast = cast(ground, &GroupPolicy::silent());
        let mut command = cast.command("on");
        command.expect = Expectation::nobody();
        command.silent = true;
        let began = cast.stage.world.now();
        let done = cast.send(command);
        assert_eq!(done.outcome().ended_by, EndedBy::Sent);
        cast.stage.run(Duration::from_secs(60));
        for diary in &cast.diaries {
            let [entry] = &diary.entries()[..] else {
                panic!("each light is switched once");
            };
            assert_eq!((entry.method, &entry.payload[..]), (Code::PUT, &b"on"[..]));
            assert!(entry.arrival.at.since(began) < LATENCY_BOUND, "{ground:?}");
        }
        assert_eq!(cast.datagrams_of_lights(), 0);
        assert_eq!(cast.stage.sent(cast.switch).len(), 1);
    }
}

// Covers: GC-A.2.1-02, GC-A.2.1-03, GC-3.1-07
#[test]
fn responding_lights_tell_success_and_failure_after_their_leisure() {
    for ground in Ground::ALL {
        let mut cast = cast(ground, &responding());
        let began = cast.stage.world.now();
        let command = cast.command("on");
        let done = cast.send(command);
        assert_eq!(
            done.codes(),
            [
                (21, Code::CHANGED),
                (22, Code::CHANGED),
                (23, Code::INTERNAL_SERVER_ERROR)
            ]
        );
        // Acted at once, all of them; answered later, each at its own time.
        let mut last_action = Instant::ZERO;
        for diary in &cast.diaries {
            let at = diary.entries()[0].arrival.at;
            assert!(at.since(began) < LATENCY_BOUND);
            last_action = last_action.max(at);
        }
        let delays: Vec<_> = done.answers.iter().map(|answer| answer.after).collect();
        assert!(delays.iter().all(|d| *d > LATENCY_BOUND), "{delays:?}");
        assert_eq!(done.outcome().ended_by, EndedBy::AllExpected);
        // The failed one is known by name.
        let failed = done
            .answers
            .iter()
            .find(|answer| answer.response.code.response_class() == Some(Class::ServerError));
        let member = failed.unwrap().member.unwrap();
        let outcome = done.outcome();
        let names: Vec<_> = outcome.members().map(|(name, _)| name).collect();
        assert_eq!(names[member.0 as usize], "Light-3");
    }
}

// Covers: GN-A.2.1-01
#[test]
fn a_controller_on_the_backbone_gets_all_answers() {
    for ground in [Ground::Realm, Ground::Site, Ground::V4] {
        let mut cast = cast(ground, &GroupPolicy::respond().answer(Class::ServerError));
        let network = cast.stage.world.sim.network_mut();
        let backbone = network.add_segment(Segment::default());
        let lan = cast.stage.world.lan;
        let network = cast.stage.world.sim.network_mut();
        network.add_router(Router::forwarding_from(Scope::REALM), &[backbone, lan]);
        let controller = cast.stage.world.host_at(
            backbone,
            "controller",
            &[ground.address(200)],
            CLIENT_PORT,
            EndpointConfig::default(),
        );
        // The third light has been repaired.
        let repaired = cast.stage.member(24);
        let resource = Resource::at("/light")
            .put(Diary::new().handler(Code::CHANGED, ""))
            .group_policy(GroupPolicy::respond());
        cast.stage.offer(repaired, resource);
        cast.stage.join(repaired, ground.group(1, 5683));
        cast.stage.world.sim.network_mut().take_down(cast.lights[2]);
        cast.stage.settle();
        let question = cast
            .stage
            .question(put("/light", "on"), ground.group(1, 5683));
        let done = cast.stage.collect(controller, question);
        let changed = [21, 22, 24].map(|n| (n, Code::CHANGED));
        assert_eq!(done.codes(), changed, "{ground:?}");
        assert!(done.answers.iter().all(|a| a.kind == Some(Type::Non)));
        let sent = cast.stage.sent(controller);
        let token = antiphon_tests::stage::parse(&sent[0]).token();
        for (_, _, bytes) in &cast.stage.world.node(controller).received {
            assert_eq!(antiphon_tests::stage::parse(bytes).token(), token);
        }
    }
}

// Covers: GN-A.2.1-02
#[test]
fn a_duplicated_datagram_switches_once() {
    for ground in Ground::ALL {
        let mut cast = cast(ground, &responding());
        let twice = Impairment::none().duplicate(1.0);
        let network = cast.stage.world.sim.network_mut();
        network.set_egress(cast.switch, twice);
        let command = cast.command("toggle");
        let done = cast.send(command);
        assert_eq!(cast.runs(), [1, 1, 1]);
        for light in cast.lights {
            assert_eq!(cast.stage.world.node(light).received.len(), 2);
        }
        assert_eq!(done.who(), [21, 22, 23]);
    }
}

#[test]
fn a_lost_request_is_a_named_missing_light_where_answers_are_expected() {
    for ground in Ground::ALL {
        for silent in [true, false] {
            let policy = if silent {
                GroupPolicy::silent()
            } else {
                responding()
            };
            let mut cast = cast(ground, &policy);
            let deaf = Impairment::none().loss(1.0);
            let network = cast.stage.world.sim.network_mut();
            network.set_ingress(cast.lights[1], deaf);
            let mut command = cast.command("on");
            command.silent = silent;
            let done = cast.send(command);
            cast.stage.run(Duration::from_secs(60));
            assert_eq!(cast.runs(), [1, 0, 1]);
            let missing: Vec<_> = done.outcome().missing().collect();
            if silent {
                // Nothing can be known.
                assert_eq!(done.outcome().ended_by, EndedBy::Sent);
                assert_eq!(done.answers.len(), 0);
            } else {
                assert_eq!(missing, [("Light-2", MissingReason::Silent)]);
            }
        }
    }
}

// Covers: GC-3.1-13
#[test]
fn errors_of_one_class_are_all_silent_or_all_sent() {
    for (policy, heard) in [
        (GroupPolicy::respond(), false),
        (GroupPolicy::respond().answer(Class::ClientError), true),
    ] {
        for ground in Ground::ALL {
            let mut cast = cast(ground, &policy);
            let stranger = cast.stage.stranger(99, 5000);
            let to = ground.group(1, 5683);
            let wrong_method = Datagram::get(1, b"abcd", "light");
            let wrong_format = Datagram {
                kind: Type::Non,
                code: Code::PUT,
                mid: 2,
                token: b"abcd",
                options: &[
                    (OptionNumber::URI_PATH, b"light"),
                    (OptionNumber::CONTENT_FORMAT, &[60]),
                ],
                payload: b"\xf5",
            };
            let mut codes = Vec::new();
            for bytes in [wrong_method, wrong_format.bytes()] {
                let answers = cast.stage.provoke(stranger, to, bytes);
                assert_eq!(answers.len(), if heard { 3 } else { 0 }, "{ground:?}");
                codes.extend(answers.iter().map(|d| d.bytes[1]));
            }
            codes.dedup();
            let expected = [
                Code::METHOD_NOT_ALLOWED.to_u8(),
                Code::UNSUPPORTED_CONTENT_FORMAT.to_u8(),
            ];
            assert_eq!(codes, if heard { &expected[..] } else { &[] });
            assert_eq!(cast.runs(), [0, 0, 0]);
        }
    }
}

// Covers: GC-3.1-10, GC-3.1-11, GC-3.1-12, GC-6.4-01, GC-6.4-02
#[test]
fn no_response_silences_anyone_and_makes_nobody_talk_who_should_not() {
    let run = |policy: GroupPolicy, full: bool, bits: u8| {
        let mut total = Vec::new();
        for ground in Ground::ALL {
            let mut stage = Stage::new(ground, 5);
            let mut config = EndpointConfig::default();
            config.server.nosec_no_response_full = full;
            let light = stage.member_with(21, &[5683], config);
            let diary = Diary::new();
            let resource = Resource::at("/light")
                .put(diary.handler(Code::CHANGED, ""))
                .group_policy(policy.clone());
            stage.offer(light, resource);
            stage.join(light, ground.group(1, 5683));
            let stranger = stage.stranger(99, 5000);
            stage.settle();
            let value = NoResponse::new(bits).encode();
            let put = Datagram {
                kind: Type::Non,
                code: Code::PUT,
                mid: 1,
                token: b"abcd",
                options: &[
                    (OptionNumber::URI_PATH, b"light"),
                    (OptionNumber::NO_RESPONSE, value.as_bytes()),
                ],
                payload: b"on",
            };
            let heard = stage.provoke(stranger, ground.group(1, 5683), put.bytes());
            assert_eq!(diary.len(), 1, "the request is processed in any case");
            total.push(heard.len());
        }
        assert!(total.iter().all(|n| *n == total[0]), "{total:?}");
        total[0]
    };
    let talks = GroupPolicy::respond().consider_no_response();
    let silent = GroupPolicy::silent().consider_no_response();
    // Widening works for anyone, where the resource takes the option into account.
    assert_eq!(run(talks.clone(), false, 26), 0);
    assert_eq!(run(talks.clone(), false, 2), 0);
    assert_eq!(run(talks.clone(), false, 8), 1);
    assert_eq!(run(talks, false, 0), 1);
    assert_eq!(run(GroupPolicy::respond(), false, 26), 1);
    // Narrowing does not work for someone who has proven nothing; with the seed's rule it does.
    assert_eq!(run(silent.clone(), false, 0), 0);
    assert_eq!(run(silent.clone(), true, 0), 1);
    assert_eq!(run(silent, true, 26), 0);
    assert_eq!(run(GroupPolicy::silent(), true, 0), 0);
}

#[test]
fn a_light_is_still_switched_by_the_next_request() {
    for ground in Ground::ALL {
        let mut cast = cast(ground, &responding());
        let stranger = cast.stage.stranger(99, 5000);
        let to = ground.group(1, 5683);
        cast.stage
            .provoke(stranger, to, &b"\x50\x03\x00\x01\xff"[..]);
        cast.stage
            .provoke(stranger, to, Datagram::get(1, b"", "light"));
        let command = cast.command("on");
        assert_eq!(cast.send(command).who(), [21, 22, 23]);
        // A GET for a group cannot be refused for lack of a group: only its target can.
        let now = cast.stage.world.now();
        let mut to_one = cast.stage.question(get("/light"), to);
        let one = std::net::SocketAddr::new(ground.address(21), 5683);
        to_one.targets[0].group = one;
        let refused = cast.stage.world.endpoint(cast.switch).collect(now, to_one);
        assert_eq!(refused, Err(CollectError::NotAGroup(one)));
    }
}
