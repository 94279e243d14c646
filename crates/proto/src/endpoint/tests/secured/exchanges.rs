//! Requests to one member, and what answers them.

use super::*;
use crate::exchange::Reliability;

// Covers: GO-7-09
#[test]
fn a_request_to_one_member_goes_and_is_answered_in_pairwise_mode() {
    for (reliability, kind) in [
        (Reliability::Confirmable, Type::Ack),
        (Reliability::NonConfirmable, Type::Non),
    ] {
        let mut world = world();
        let unicast = request_to(LAMP, "t", to_member(&world, LAMP));
        world.ask(UnicastRequest {
            reliability,
            ..unicast
        });
        let (response, sender) = world.response().expect("answered");
        assert_eq!(response.payload, b"I am 1");
        assert_eq!(sender, &proven(LAMP));
        let asked = world.from(CLIENT)[0];
        assert!(!asked.option().group_flag);
        assert_eq!(asked.option().kid_context, Some([0x47, 1].as_slice()));
        let answer = world.from(LAMP)[0];
        assert!(!answer.option().group_flag);
        assert_eq!(answer.message().kind(), kind);
        let seen = world.nodes[LAMP].seen.lock().unwrap().clone().unwrap();
        assert_eq!((seen.sender, seen.group), (proven(CLIENT), None));
        assert_eq!(
            seen.mode,
            crate::identity::SecurityMode::Pairwise { only: false }
        );
    }
}

#[test]
fn in_a_group_without_pairwise_mode_one_member_is_asked_in_group_mode() {
    let mut world = world_of(Modes::GroupOnly, Settings::default());
    world.ask(request_to(LAMP, "t", to_member(&world, LAMP)));
    assert!(world.from(CLIENT)[0].option().group_flag);
    assert_eq!(world.response().unwrap().1, &proven(LAMP));
}

#[test]
fn a_retransmission_and_the_reply_to_a_duplicate_are_the_same_bytes() {
    let mut world = world();
    world.lossy = |datagram| datagram.from == LAMP; // no answer arrives
    world.ask(request_to(LAMP, "t", to_member(&world, LAMP)));
    world.pass(Duration::from_secs(5));
    let asked = world.from(CLIENT);
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].bytes, asked[1].bytes);
    let answered = world.from(LAMP);
    assert_eq!(answered.len(), 2);
    assert_eq!(answered[0].bytes, answered[1].bytes);
    assert_eq!(world.nodes[LAMP].handled(), 1);
    assert_eq!(world.nodes[LAMP].counters().protected, 1);
    assert_eq!(world.nodes[CLIENT].counters().protected, 1);
}

// Covers: GO-7-05
#[test]
fn a_separate_answer_is_confirmable_as_its_request_and_acknowledged_before_it_is_opened() {
    let mut world = world();
    world.ask(request_to(LAMP, "slow", to_member(&world, LAMP)));
    let incoming = world.nodes[LAMP]
        .events
        .iter()
        .find_map(|event| match event {
            Event::Request {
                incoming, arrival, ..
            } => {
                assert_eq!(arrival.sender, proven(CLIENT));
                Some(*incoming)
            }
            _ => None,
        })
        .unwrap();
    world.pass(Duration::from_secs(1));
    assert_eq!(world.from(LAMP)[0].message().code(), Code::EMPTY);
    let now = world.now;
    let response = Response::new(Code::CONTENT).with_payload(ContentFormat::TEXT, b"late");
    world.nodes[LAMP].endpoint.respond(now, incoming, response);
    world.run();
    let separate = world.from(LAMP)[1].clone();
    assert_eq!(separate.message().kind(), Type::Con);
    assert!(separate.is_protected());
    let acknowledged = world.from(CLIENT).last().unwrap().message().kind();
    assert_eq!(acknowledged, Type::Ack);
    assert_eq!(world.response().unwrap().0.payload, b"late");
    // A Confirmable response to a Non-confirmable question is taken as well.
    world.forget_sent();
    world.ask_group(question(&world, "wait"));
    world.lossy = |datagram| datagram.from == LAMP;
    world.pass(Duration::from_secs(4));
    let mut answer = world.from(LAMP)[0].bytes.clone();
    answer[0] &= 0xcf; // Confirmable
    world.inject(CLIENT, false, address(LAMP), &answer);
    let last = world.from(CLIENT).last().unwrap().bytes.clone();
    assert_eq!(last, [0x60, 0, answer[2], answer[3]], "acknowledged");
    assert!(world.answers().iter().any(|a| a.sender == proven(LAMP)));
}

#[test]
fn a_member_that_is_not_known_and_a_group_that_is_gone_are_said() {
    let mut world = world();
    let stranger = Protection::Member {
        group: world.group(),
        credential: credential(7).bytes().to_vec(),
    };
    world.ask(request_to(LAMP, "t", stranger));
    assert_eq!(
        world.failure(),
        Some(Failure::NotProtected(NotProtected::UnknownMember))
    );
    world.forget_sent();
    let to_lamp = to_member(&world, LAMP);
    let id = world.group();
    world.nodes[CLIENT].endpoint.security_mut().remove_group(id);
    world.ask(request_to(LAMP, "t", to_lamp));
    assert_eq!(
        world.failure(),
        Some(Failure::NotProtected(NotProtected::NoContext))
    );
    assert!(world.sent.is_empty());
}

#[test]
fn a_request_or_answer_that_protection_makes_too_large_is_not_sent_as_it_is() {
    let mut config = trusting();
    config.limits.datagram = 150;
    let mut world = world_with(Modes::Both, Settings::default(), config);
    let mut unicast = request_to(LAMP, "t", to_member(&world, LAMP));
    unicast.request.payload = alloc::vec![7; 130];
    world.ask(unicast);
    assert_eq!(
        world.failure(),
        Some(Failure::NotProtected(NotProtected::TooLarge))
    );
    assert!(world.sent.is_empty());
    let large = Resource::at("/bulky").get(|_, r| r.set_payload(ContentFormat::OCTETS, &[7; 130]));
    world.nodes[LAMP].endpoint.server_mut().add(large).unwrap();
    world.forget_sent();
    world.ask(request_to(LAMP, "bulky", to_member(&world, LAMP)));
    let (response, sender) = world.response().expect("an error, protected");
    assert_eq!(response.code, Code::INTERNAL_SERVER_ERROR);
    assert_eq!(sender, &proven(LAMP));
    assert_eq!(world.nodes[LAMP].endpoint.counters().too_large, 1);
}

// Covers: GO-7.1-05, GO-7.1-06, GO-7.4-04
#[test]
fn an_answer_after_a_rekeying_belongs_to_the_request_before_it() {
    let settings = Settings {
        retention: Duration::from_secs(60),
        ..Settings::default()
    };
    let mut world = world_of(Modes::Both, settings);
    world.ask(request_to(LAMP, "slow", to_member(&world, LAMP)));
    world.pass(Duration::from_secs(1));
    for node in 0..NODES {
        super::groups::rekey(&mut world, node);
        super::groups::rekey(&mut world, node);
    }
    let incoming = world.nodes[LAMP].events.iter().find_map(|e| match e {
        Event::Request { incoming, .. } => Some(*incoming),
        _ => None,
    });
    let (now, response) = (world.now, Response::new(Code::CONTENT));
    world.nodes[LAMP]
        .endpoint
        .respond(now, incoming.unwrap(), response);
    world.run();
    let answer = world.from(LAMP).last().unwrap().option().kid_context;
    assert_eq!(answer, Some([0x47, 3].as_slice()), "the keys of now");
    assert_eq!(world.response().unwrap().0.code, Code::CONTENT);
}

#[test]
fn policy_decides_the_mode_of_an_answer() {
    use AnswerMode::{AsRequested, ByArrival, Group, Pairwise};
    for (answers, modes, multicast, unicast) in [
        (ByArrival, Modes::Both, true, false),
        (AsRequested, Modes::Both, true, true),
        (Group, Modes::Both, true, true),
        (Pairwise, Modes::Both, false, false),
        (ByArrival, Modes::GroupOnly, true, true),
        (Pairwise, Modes::GroupOnly, true, true),
    ] {
        let mut world = world_of(modes, Settings::default());
        world.nodes[BELL].deaf = true;
        world.nodes[LAMP].endpoint.set_answers(answers);
        world.ask_group(question(&world, "t"));
        let flag = |world: &World| world.from(LAMP)[0].option().group_flag;
        assert_eq!(flag(&world), multicast, "{answers:?}");
        assert_eq!(world.answers()[0].sender, proven(LAMP));
        world.forget_sent();
        // A request in group mode by unicast.
        world.ask(request_to(LAMP, "t", Protection::Group(world.group())));
        assert_eq!(flag(&world), unicast, "{answers:?}");
        assert_eq!(world.response().unwrap().1, &proven(LAMP));
    }
}

// Covers: GO-9-02
#[test]
fn a_challenge_to_a_pairwise_request_does_not_use_its_nonce() {
    let mut world = world();
    let fresh = Resource::at("/fresh")
        .get(|_, r| r.set_payload(ContentFormat::TEXT, b"f"))
        .fresh(Methods::GET);
    world.nodes[LAMP].endpoint.server_mut().add(fresh).unwrap();
    world.ask(request_to(LAMP, "fresh", to_member(&world, LAMP)));
    let answers = world.from(LAMP);
    assert_eq!(answers.len(), 2, "the challenge and the answer");
    assert!(answers[0].option().partial_iv.is_some(), "an own one");
    assert!(answers[1].option().partial_iv.is_none(), "the request's");
    assert_eq!(world.response().unwrap().0.payload, b"f");
    assert_eq!(world.from(CLIENT).len(), 2);
    let echoed = world.nodes[CLIENT].endpoint.counters().echoed;
    assert_eq!((echoed, world.nodes[CLIENT].counters().protected), (1, 2));
}
