//! Congestion control with nothing configured (groupcomm-bis section 3.6).

use std::net::SocketAddr;
use std::time::Duration;

use antiphon_proto::{
    CollectError, EndpointConfig, Event, GroupPolicy, Leisure, Methods, Resource, Response,
};
use antiphon_tests::stage::{Datagram, Diary, Ground, Stage, get, parse};
use antiphon_wire::{Code, OptionNumber, Type};

// Covers: GC-3.5-11
#[test]
fn the_default_configuration_follows_every_guideline() {
    for ground in Ground::ALL {
        let mut stage = Stage::new(ground, 1);
        let client = stage.client();
        let resource =
            |path, text: &str| Resource::at(path).get(Diary::new().handler(Code::CONTENT, text));
        let mut members = vec![];
        for n in 11..31 {
            let member = stage.member(n);
            members.push(member);
            let policy = GroupPolicy::respond();
            stage.offer(member, resource("/small", "x").group_policy(policy.clone()));
            stage.offer(member, resource("/empty", "").group_policy(policy.clone()));
            let large = "x".repeat(65);
            stage.offer(member, resource("/large", &large).group_policy(policy));
            stage.offer(member, resource("/unicast", "x"));
            stage.offer(member, resource("/a", "x"));
            stage.offer(member, resource("/a/b", "x"));
        }
        stage.settle();
        let group = ground.all_nodes();
        let ask = |stage: &mut Stage, path: &str| {
            let question = stage.question(get(path), group);
            stage.collect(client, question)
        };
        // Rates, at sending: a group that has not answered is asked at 1 byte a second, one question at a time.
        let began = stage.world.sim.now();
        assert_eq!(ask(&mut stage, "/nobody").who(), [0_u16; 0]);
        assert_eq!(ask(&mut stage, "/nobody").who(), [0_u16; 0]);
        let bytes = stage.sent(client)[0].len() as u64;
        assert!(bytes > 10, "the debt is what holds the second one back");
        let waited = stage.world.sim.now().since(began);
        assert_eq!(waited, Duration::from_secs(bytes.max(10) + 10));
        // Nothing useful to say, not meant for groups: silence.
        for path in ["/empty", "/unicast"] {
            assert_eq!(ask(&mut stage, path).who(), [0_u16; 0], "{path}");
        }
        // Too large for a group: a block that is not, and the rest to whoever asks for it alone.
        stage.forget(&members);
        let large = ask(&mut stage, "/large");
        assert_eq!(large.texts().len(), 20);
        assert!(large.texts().iter().all(|(_, text)| text.len() == 65));
        for member in members {
            let sent = stage.sent(member);
            let first = parse(&sent[0]);
            // What proves nothing gets three times its request at most, which is less.
            assert_eq!((first.payload().len(), first.kind()), (16, Type::Non));
            assert!(first.option(OptionNumber::BLOCK2).is_some());
        }
        // Answers are Non-confirmable, small, and spread over 5 s.
        let small = ask(&mut stage, "/small");
        assert_eq!(small.answers.len(), 20);
        assert!(small.answers.iter().all(|a| a.kind == Some(Type::Non)));
        let last = small.answers.iter().map(|a| a.after).max().unwrap();
        let fourth = Duration::from_secs(4);
        assert!(last > fourth - Duration::from_secs(1) && last <= Duration::from_millis(5_002));
        // Unfiltered discovery names the top of the hierarchy only.
        let links = ask(&mut stage, "/.well-known/core");
        let links = &links.texts()[0].1;
        assert!(
            links.contains("</a>") && !links.contains("</a/b>"),
            "{links}"
        );
        // Global scope takes an explicit choice.
        let global: SocketAddr = match ground {
            Ground::V4 => ([226, 1, 1, 1], 5683).into(),
            _ => "[ff0e::fd]:5683".parse().unwrap(),
        };
        let now = stage.world.now();
        let question = stage.question(get("/small"), global);
        let refused = stage.world.endpoint(client).collect(now, question);
        assert_eq!(refused, Err(CollectError::GlobalScope(global)));
    }
}

// Covers: GN-3.6.1-05
#[test]
fn leisure_delays_the_first_transmission_and_no_retransmission() {
    for ground in Ground::ALL {
        let mut stage = Stage::new(ground, 2);
        let stranger = stage.stranger(91, 40_000);
        let member = stage.member_with(11, &[5683], EndpointConfig::default());
        let leisure = Leisure::Fixed(Duration::from_secs(20));
        let resource = Resource::at("/slow").deferred(Methods::GET);
        let policy = GroupPolicy::respond().leisure(leisure);
        stage.offer(member, resource.group_policy(policy));
        stage.settle();
        let question = |kind, mid| {
            Datagram {
                kind,
                code: Code::GET,
                mid,
                token: b"abcd",
                options: &[(OptionNumber::URI_PATH, b"slow")],
                payload: b"",
            }
            .bytes()
        };
        let respond = |stage: &mut Stage| {
            let events = &stage.world.node(member).events;
            let incoming = events.iter().rev().find_map(|(_, event)| match event {
                Event::Request { incoming, .. } => Some(*incoming),
                _ => None,
            });
            let now = stage.world.now();
            let mut response = Response::new(Code::CONTENT);
            response.payload.extend_from_slice(b"done");
            let endpoint = stage.world.endpoint(member);
            endpoint.respond(now, incoming.unwrap(), response);
        };
        // A separate response, Confirmable and never acknowledged.
        let own = SocketAddr::new(ground.address(11), 5683);
        stage.say(stranger, own, question(Type::Con, 1));
        stage.run(Duration::from_secs(1));
        let asked = stage.world.now();
        respond(&mut stage);
        stage.run(Duration::from_secs(300));
        let sent = stage.world.node(member).sent.clone();
        let responses: Vec<_> = sent
            .iter()
            .filter(|(_, _, bytes)| parse(bytes).code() == Code::CONTENT)
            .collect();
        let times: Vec<_> = responses.iter().map(|(at, ..)| at.since(asked)).collect();
        assert_eq!(times.len(), 5);
        assert!(
            responses
                .iter()
                .all(|(_, _, bytes)| *bytes == responses[0].2)
        );
        assert_eq!(times[0], Duration::ZERO);
        let first = times[1];
        assert!(first >= Duration::from_secs(2) && first <= Duration::from_secs(3));
        // Exactly doubled each time: 1, 3, 7, 15 times the first timeout.
        let expected = [1, 3, 7, 15].map(|n| first * n);
        assert_eq!(times[1..], expected, "{ground:?}");

        // The answer to a group request is delayed, once, and not sent again.
        stage.forget(&[member]);
        stage.say(stranger, ground.all_nodes(), question(Type::Non, 2));
        stage.settle();
        let asked = stage.world.now();
        respond(&mut stage);
        stage.run(Duration::from_secs(300));
        let sent = stage.world.node(member).sent.clone();
        assert_eq!(sent.len(), 1);
        let delay = sent[0].0.since(asked);
        assert!(delay > Duration::ZERO && delay <= Duration::from_secs(20));
        assert_eq!(parse(&sent[0].2).kind(), Type::Non);
    }
}
