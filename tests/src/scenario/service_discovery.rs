//! Scenario 2: distributed service discovery (groupcomm-bis Appendix A.1.2, RFC 6690 section 4.1).

use std::net::SocketAddr;

use antiphon_netsim::HostId;
use antiphon_proto::{
    Attributes, GroupPacing, GroupPolicy, NoSec, Reliability, Resource, Security,
};
use antiphon_tests::stage::{Collected, Datagram, Diary, Ground, Stage, get, number_of, parse};
use antiphon_wire::{Code, ContentFormat, OptionNumber, Type};

struct Cast {
    stage: Stage,
    client: HostId,
}

/// S1 measures temperature as a sensor, S2 temperature and humidity, S3 is a light; each has something else besides.
fn cast(ground: Ground) -> Cast {
    let mut stage = Stage::new(ground, 2);
    let client = stage.client();
    let members = [11, 12, 13].map(|n| stage.member(n));
    let services = [
        (
            "/s/temp",
            Attributes::new().rt("temp").interface("sensor"),
            ContentFormat::CBOR,
        ),
        (
            "/s/th",
            Attributes::new().rt("temp hum"),
            ContentFormat::TEXT,
        ),
        ("/light", Attributes::new().rt("light"), ContentFormat::CBOR),
    ];
    for (member, (path, attributes, format)) in members.into_iter().zip(services) {
        let value = || Diary::new().handler(Code::CONTENT, "0");
        let service = Resource::at(path).get(value()).attributes(attributes);
        let policy = GroupPolicy::respond();
        stage.offer(member, service.produces(format).group_policy(policy));
        let other = Resource::at("/name").get(value());
        stage.offer(
            member,
            other.attributes(Attributes::new().rt("name").interface("n")),
        );
    }
    stage.settle();
    Cast { stage, client }
}

impl Cast {
    fn discover(&mut self, query: &str) -> Collected {
        let request = get("/.well-known/core").query(query);
        let mut question = self.stage.question(request, self.stage.ground.all_nodes());
        question.security = Security::Unsecured(NoSec::Discovery);
        self.stage.collect(self.client, question)
    }
}

fn links(n: u16) -> (u16, String) {
    let links = match n {
        11 => "</s/temp>;rt=temp;if=sensor;ct=60",
        12 => "</s/th>;rt=\"temp hum\";ct=0",
        _ => "</light>;rt=light;ct=60",
    };
    (n, links.to_owned())
}

// Covers: GC-A.1.2-01, GN-2.2.3.2-07
#[test]
fn each_query_attribute_finds_the_matching_links_and_no_other() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        for (query, who) in [
            ("rt=temp", &[11, 12][..]),
            ("rt=te*", &[11, 12]),
            ("rt=hum", &[12]),
            ("rt=temp%20hum", &[]),
            ("if=sensor", &[11]),
            ("href=/s/*", &[11, 12]),
            ("href=/light", &[13]),
            ("ct=60", &[11, 13]),
            ("rt=tem", &[]),
            ("unknown=1", &[]),
        ] {
            let found = cast.discover(query);
            let expected: Vec<_> = who.iter().map(|n| links(*n)).collect();
            assert_eq!(found.texts(), expected, "{ground:?} {query}");
        }
    }
}

// Covers: GC-3.5-02
#[test]
fn nothing_found_is_silence_for_a_group_and_an_empty_answer_for_one() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        assert_eq!(cast.discover("rt=door").who(), [0_u16; 0]);
        let third = SocketAddr::new(ground.address(13), 5683);
        let request = get("/.well-known/core").query("rt=temp");
        cast.stage.forget(&[cast.client]);
        let answer = cast
            .stage
            .unicast(cast.client, third, Reliability::Confirmable, request);
        let (_, response) = answer.unwrap();
        assert_eq!((response.code, response.payload.len()), (Code::CONTENT, 0));
        let (_, _, bytes) = &cast.stage.world.node(cast.client).received[0];
        assert_eq!(parse(bytes).kind(), Type::Ack);
    }
}

// Covers: GC-3.1-04, GC-3.1-15
#[test]
fn the_same_message_again_is_a_duplicate_and_a_new_message_id_a_new_question() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let stranger = cast.stage.stranger(99, 5000);
        let question = Datagram {
            kind: Type::Non,
            code: Code::GET,
            mid: 7,
            token: b"abcd",
            options: &[
                (OptionNumber::URI_PATH, b".well-known"),
                (OptionNumber::URI_PATH, b"core"),
                (OptionNumber::URI_QUERY, b"rt=temp"),
            ],
            payload: b"",
        };
        let who = |cast: &mut Cast, mid| {
            let to = ground.all_nodes();
            let bytes = Datagram {
                mid,
                ..question.clone()
            }
            .bytes();
            let heard = cast.stage.provoke(stranger, to, bytes);
            let mut who: Vec<_> = heard.iter().map(|d| number_of(d.src.ip())).collect();
            who.sort_unstable();
            who
        };
        assert_eq!(who(&mut cast, 7), [11, 12]);
        assert_eq!(who(&mut cast, 7), [0_u16; 0]);
        assert_eq!(who(&mut cast, 8), [11, 12]);
        // NON_LIFETIME is 145 s: 60 s have passed, and after 146 s the Message ID is free again.
        assert_eq!(who(&mut cast, 7), [0_u16; 0]);
        cast.stage.run(std::time::Duration::from_secs(60));
        assert_eq!(who(&mut cast, 7), [11, 12]);
    }
}

#[test]
fn two_questions_at_once_never_mix() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let group = ground.all_nodes();
        let now = cast.stage.world.now();
        let pacing = GroupPacing::new(2, 1).unwrap();
        cast.stage
            .world
            .endpoint(cast.client)
            .collections_mut()
            .set_pacing(now, group, None, Some(pacing))
            .unwrap();
        let ask = |cast: &mut Cast, query| {
            let request = get("/.well-known/core").query(query);
            let question = cast.stage.question(request, group);
            cast.stage.ask(cast.client, question)
        };
        let temperatures = ask(&mut cast, "rt=temp");
        let lights = ask(&mut cast, "rt=light");
        cast.stage.run(std::time::Duration::from_millis(1));
        assert_eq!(cast.stage.sent(cast.client).len(), 2, "both are under way");
        cast.stage.run(std::time::Duration::from_secs(20));
        let temperatures = cast.stage.collected(cast.client, temperatures);
        assert_eq!(temperatures.texts(), [links(11), links(12)]);
        let lights = cast.stage.collected(cast.client, lights);
        assert_eq!(lights.texts(), [links(13)]);
    }
}

// Covers: GC-3.5-09
#[test]
fn many_matching_links_come_in_blocks_and_the_query_goes_with_each_request_for_them() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        // A fourth server with many services of the type, and many others.
        let many = cast.stage.member(14);
        for n in 0..160 {
            let kind = if n % 2 == 0 { "temp" } else { "light" };
            let resource = Resource::at(&format!("/s/{kind}/{n}"))
                .get(Diary::new().handler(Code::CONTENT, "0"))
                .attributes(Attributes::new().rt(kind));
            cast.stage.offer(many, resource);
        }
        cast.stage.settle();
        cast.stage.forget(&[cast.client]);
        let found = cast.discover("rt=temp");
        assert_eq!(found.who(), [11, 12, 14], "{ground:?}");
        let texts = found.texts();
        assert_eq!(texts[..2], [links(11), links(12)]);
        for n in 0..160 {
            let listed = texts[2].1.contains(&format!("</s/temp/{n}>"));
            assert_eq!(listed, n % 2 == 0, "{n}: {}", texts[2].1);
        }
        assert!(!texts[2].1.contains("light"));
        let requests = cast.stage.sent(cast.client);
        assert_eq!(requests.len(), 2, "one to the group, one to the fourth");
        for (number, bytes) in (0..).zip(&requests) {
            let request = parse(bytes);
            assert_eq!(
                request.option(OptionNumber::URI_QUERY),
                Some(&b"rt=temp"[..])
            );
            let block = request.option(OptionNumber::BLOCK2);
            let block = block.map(|value| antiphon_wire::BlockValue::decode(value).unwrap().num());
            assert_eq!(block, (number > 0).then_some(number));
        }
    }
}
