//! Scenario 1: distributed device discovery (groupcomm-bis Appendix A.1.1).

use std::time::Duration;

use antiphon_netsim::HostId;
use antiphon_proto::{
    Attributes, Discoverable, EndedBy, EndpointConfig, GroupPolicy, NoSec, Resource, Security,
};
use antiphon_tests::stage::{
    CLIENT_PORT, Collected, Datagram, Diary, Ground, Stage, get, number_of, parse,
};
use antiphon_wire::{Code, OptionNumber, Type, Uri};

struct Cast {
    stage: Stage,
    client: HostId,
    members: [HostId; 4],
}

/// A client, S1 and S2 of model x, S3 of another, and S4, which does not want to be discovered.
fn cast(ground: Ground) -> Cast {
    let mut stage = Stage::new(ground, 1);
    let client = stage.client();
    let members = [11, 12, 13, 14].map(|n| {
        let mut config = EndpointConfig::default();
        if n == 14 {
            config.server.discoverable = Discoverable::Off;
        }
        let member = stage.member_with(n, &[5683], config);
        let model = if n < 13 { "model-x" } else { "model-y" };
        let policy = GroupPolicy::respond();
        let resource = Resource::at(&format!("/dev/{model}"))
            .get(Diary::new().handler(Code::CONTENT, model))
            .attributes(Attributes::new().rt(model));
        stage.offer(member, resource.group_policy(policy));
        if n == 14 {
            stage.join(member, ground.all_nodes()); // it hears everything, and still says nothing
        }
        member
    });
    stage.settle();
    Cast {
        stage,
        client,
        members,
    }
}

impl Cast {
    fn discover(&mut self, query: Option<&str>) -> Collected {
        let mut request = get("/.well-known/core");
        if let Some(query) = query {
            request = request.query(query);
        }
        let group = self.stage.ground.all_nodes();
        let mut question = self.stage.question(request, group);
        question.security = Security::Unsecured(NoSec::Discovery);
        self.stage.collect(self.client, question)
    }

    /// Whatever has happened: the next valid request is answered by everybody.
    fn goes_on(&mut self) {
        assert_eq!(self.discover(None).who(), [11, 12, 13]);
    }
}

// Covers: GC-A.1.1-01, GC-A.1.1-02, GC-A.1.1-03, GC-3.1-05, GC-3.5-04, GC-1-01
#[test]
fn every_discoverable_device_answers_the_plain_query_and_nobody_else() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        cast.stage.forget(&[cast.client]);
        let found = cast.discover(None);
        assert_eq!(
            found.codes(),
            [11, 12, 13].map(|n| (n, Code::CONTENT)),
            "{ground:?}"
        );
        // One datagram asked.
        let sent = cast.stage.sent(cast.client);
        assert_eq!(sent.len(), 1);
        let request = parse(&sent[0]);
        assert_eq!(
            (request.kind(), request.code()),
            (Type::Non, Code::GET),
            "{ground:?}"
        );
        let client = cast.stage.ground.address(1);
        for answer in &cast.stage.world.node(cast.client).received {
            let (_, path, bytes) = answer;
            let response = parse(bytes);
            assert_eq!(response.kind(), Type::Non);
            assert_eq!(response.token(), request.token());
            assert_eq!(response.uint(OptionNumber::CONTENT_FORMAT), Some(40));
            assert_eq!((path.local.ip(), path.local.port()), (client, CLIENT_PORT));
        }
        // The non-discoverable one heard the question.
        let [.., hidden] = cast.members;
        assert_eq!(cast.stage.world.node(hidden).received.len(), 1);
        assert_eq!(cast.stage.sent(hidden).len(), 0);
        // A filter finds a part of them.
        let some = cast.discover(Some("rt=model-x"));
        assert_eq!(some.codes(), [11, 12].map(|n| (n, Code::CONTENT)));
        // The result is keyed by source address.
        let sources: Vec<_> = some.answers.iter().map(|a| a.from.peer.port()).collect();
        assert_eq!(sources, [5683, 5683]);
    }
}

// Covers: GC-3.1-09, GC-3.3-03
#[test]
fn a_known_path_finds_those_that_have_it() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let question = cast.stage.question(get("/dev/model-x"), ground.all_nodes());
        let found = cast.stage.collect(cast.client, question);
        assert_eq!(
            found.texts(),
            [11, 12].map(|n| (n, "model-x".to_owned())),
            "{ground:?}"
        );
        // By unicast the same path is an error that says so.
        let third = std::net::SocketAddr::new(ground.address(13), 5683);
        let (_, response) = cast
            .stage
            .unicast(
                cast.client,
                third,
                antiphon_proto::Reliability::Confirmable,
                get("/dev/model-x"),
            )
            .unwrap();
        assert_eq!(response.code, Code::NOT_FOUND);
    }
}

// Covers: GC-3.5-05, GN-3.6-04
#[test]
fn answers_are_spread_over_the_default_leisure() {
    let mut cast = cast(Ground::Link);
    let mut delays = Vec::new();
    for _ in 0..340 {
        let found = cast.discover(None);
        delays.extend(found.answers.iter().map(|answer| answer.after));
    }
    assert!(delays.len() > 1_000);
    let way = Duration::from_millis(2);
    assert!(
        delays
            .iter()
            .all(|d| *d >= way && *d <= way + Duration::from_secs(5))
    );
    // Uniform: each fifth of the interval has its fifth of the answers, within five standard deviations.
    let mut fifths = [0_usize; 5];
    for delay in &delays {
        let fifth = (*delay - way).as_millis() / 1_000;
        fifths[usize::try_from(fifth).unwrap().min(4)] += 1;
    }
    let expected = delays.len() as f64 / 5.0;
    let deviation = (expected * 0.8).sqrt();
    for count in fifths {
        let off = (count as f64 - expected).abs();
        assert!(off < 5.0 * deviation, "{fifths:?}");
    }
    assert!(delays.iter().filter(|d| **d == way).count() < 10);
}

// Covers: GC-3.1-03
#[test]
fn a_confirmable_multicast_is_met_with_silence() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let stranger = cast.stage.stranger(99, 5000);
        let question = Datagram {
            kind: Type::Con,
            code: Code::GET,
            mid: 7,
            token: b"abcd",
            options: &[
                (OptionNumber::URI_PATH, b"dev"),
                (OptionNumber::URI_PATH, b"model-x"),
            ],
            payload: b"",
        };
        let to = ground.all_nodes();
        assert_eq!(cast.stage.provoke(stranger, to, question.bytes()), []);
        // The same as NON is answered.
        let question = Datagram {
            kind: Type::Non,
            mid: 8,
            ..question
        };
        let heard = cast.stage.provoke(stranger, to, question.bytes());
        assert_eq!(heard.len(), 2, "{ground:?}");
        cast.goes_on();
    }
}

// Covers: GC-3.8.1-04, GC-3.8.2-03
#[test]
fn a_port_where_nobody_listens_gives_an_empty_result_and_no_error() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let mut group = ground.all_nodes();
        group.set_port(5685);
        let question = cast.stage.question(get("/dev/model-x"), group);
        let events = cast.stage.world.node(cast.client).events.len();
        let found = cast.stage.collect(cast.client, question);
        let outcome = found.outcome();
        assert_eq!(
            (outcome.ended_by, outcome.servers(), outcome.transmissions),
            (EndedBy::Deadline, 0, 1)
        );
        assert_eq!(outcome.took, Duration::from_secs(10));
        // Its end is the only thing that is ever reported.
        assert_eq!(cast.stage.world.node(cast.client).events.len(), events + 1);
        assert_eq!(
            cast.stage
                .world
                .endpoint(cast.client)
                .counters()
                .send_errors,
            0
        );
        cast.goes_on();
    }
}

#[test]
fn garbage_gets_no_reply() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let stranger = cast.stage.stranger(99, 5000);
        for garbage in [
            &b""[..],
            b"\x50",
            b"\x50\x01\x00",
            b"\x90\x01\x00\x01",
            b"\x59\x01\x00\x01aaaaaaaaa",
            b"\x50\x01\x00\x01\xff",
            b"\x50\x01\x00\x01\xf0",
            b"\x40\x01\x00\x01\xff",
            b"GET / HTTP/1.1\r\n\r\n",
        ] {
            let heard = cast.stage.provoke(stranger, ground.all_nodes(), garbage);
            assert_eq!(heard, [], "{garbage:?}");
        }
        cast.goes_on();
    }
}

#[test]
fn a_query_with_broken_percent_encoding_is_no_uri() {
    for (query, at) in [("rt=%zz", 0), ("rt=%4", 0), ("%", 0)] {
        let before = "coap://[ff02::fd]/.well-known/core?";
        let uri = format!("{before}{query}");
        let error = Uri::parse_group(&uri).unwrap_err();
        assert!(error.offset >= before.len() + at, "{error:?}");
    }
    assert!(Uri::parse_group("coap://[ff02::fd]/.well-known/core?rt=%7a").is_ok());
}

#[test]
fn an_answer_with_a_foreign_token_is_not_delivered() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let stranger = cast.stage.stranger(99, 5683);
        let question = cast.stage.question(get("/dev/model-x"), ground.all_nodes());
        cast.stage.forget(&[cast.client]);
        let id = cast.stage.ask(cast.client, question);
        cast.stage.settle();
        let sent = cast.stage.sent(cast.client);
        let token = parse(&sent[0]).token();
        let client = std::net::SocketAddr::new(ground.address(1), CLIENT_PORT);
        for cut in [0, 4, 7] {
            let mut foreign = token.as_bytes()[..cut].to_vec();
            if cut == 7 {
                foreign.push(token.as_bytes()[7] ^ 1);
            }
            let answer = Datagram {
                kind: Type::Non,
                code: Code::CONTENT,
                mid: 100 + cut as u16,
                token: &foreign,
                options: &[],
                payload: b"not yours",
            };
            cast.stage.say(stranger, client, answer.bytes());
        }
        cast.stage.run(Duration::from_secs(20));
        assert_eq!(cast.stage.collected(cast.client, id).who(), [11, 12]);
        assert_eq!(cast.stage.heard(stranger), []);
        let counters = cast.stage.world.endpoint(cast.client).counters();
        assert_eq!(counters.unmatched, 3);
        cast.goes_on();
    }
}

// Covers: GC-3.5-09, GC-3.7-04
#[test]
fn a_list_of_links_larger_than_an_answer_begins_with_its_first_block_and_is_completed_by_unicast() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let large = cast.members[0];
        for n in 0..40 {
            let resource = Resource::at(&format!("/sensors/temperature/{n}"));
            cast.stage.offer(
                large,
                resource.get(Diary::new().handler(Code::CONTENT, "0")),
            );
        }
        cast.stage.forget(&cast.members.clone());
        cast.stage.forget(&[cast.client]);
        let found = cast.discover(None);
        assert_eq!(found.who(), [11, 12, 13], "{ground:?}");
        let links = &found.texts()[0].1;
        for n in 0..40 {
            assert!(
                links.contains(&format!("</sensors/temperature/{n}>")),
                "{n}: {links}"
            );
        }
        // 0/1/x by the group request, and the others in order, asked of it alone.
        let said = cast.stage.sent(large);
        let blocks: Vec<_> = said
            .iter()
            .map(|bytes| block2(&parse(bytes)).unwrap())
            .collect();
        let size = blocks[0].2;
        let last = links.len().div_ceil(size) as u32 - 1;
        let expected: Vec<_> = (0..=last).map(|n| (n, n < last, size)).collect();
        assert_eq!(blocks, expected);
        assert_eq!(parse(&said[0]).kind(), Type::Non);
        let sent = &cast.stage.world.node(cast.client).sent;
        let multicast = sent.iter().filter(|(_, route, _)| route.is_multicast());
        assert_eq!(multicast.count(), 1);
        let in_person = sent.iter().filter(|(_, route, _)| !route.is_multicast());
        let whom = in_person.map(|(_, route, _)| number_of(route.destination.ip()));
        assert_eq!(whom.collect::<Vec<_>>(), vec![11; last as usize]);
        // The others fit, and are whole.
        for member in &cast.members[1..3] {
            let said = cast.stage.sent(*member);
            assert_eq!((said.len(), block2(&parse(&said[0]))), (1, None));
        }
        cast.goes_on();
    }
}

fn block2(message: &antiphon_wire::Message<'_>) -> Option<(u32, bool, usize)> {
    let value = message.option(OptionNumber::BLOCK2)?;
    let block = antiphon_wire::BlockValue::decode(value).unwrap();
    Some((block.num(), block.more(), block.size()))
}
