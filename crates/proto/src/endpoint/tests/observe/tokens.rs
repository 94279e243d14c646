//! Tricks with the token of an observation that lasts.

use std::collections::BTreeSet;

use super::*;
use crate::collection::{End, GroupRequest};
use crate::exchange::UnicastRequest;

fn question() -> GroupRequest {
    GroupRequest {
        end: End::after(Duration::ZERO),
        leisure: Duration::ZERO,
        rtt: Duration::from_millis(1),
        ..GroupRequest::new(
            Request::new(Code::GET).path("other"),
            target(),
            Security::Unsecured(NoSec::Accepted),
        )
    }
}

#[test]
fn nothing_else_gets_the_token_of_an_observation_while_it_lasts_and_long_after() {
    let (mut client, _) = observing_with(fast(), of_group());
    client.notify(11, 1, b"x");
    client.pass(secs(10));
    let mut tokens = BTreeSet::new();
    let ask = |client: &mut Client, tokens: &mut BTreeSet<Vec<u8>>| {
        for _ in 0..200 {
            let now = client.bench.now;
            client.bench.endpoint.collect(now, question()).unwrap();
            let request = UnicastRequest {
                request: Request::new(Code::GET).path("other"),
                route: Route {
                    socket: UNICAST,
                    source: None,
                    interface: 1,
                    destination: server(11),
                },
                reliability: Reliability::NonConfirmable,
                response_timeout: Some(Duration::from_millis(1)),
                protection: Protection::None,
            };
            client.bench.endpoint.request(now, request).unwrap();
            for (_, bytes) in client.pass(Duration::from_millis(5)) {
                let message = Message::parse(&bytes).unwrap();
                if message.option(OptionNumber::OBSERVE).is_none() {
                    tokens.insert(message.token().as_bytes().to_vec());
                }
            }
            while client.bench.endpoint.poll_event().is_some() {}
        }
    };
    ask(&mut client, &mut tokens);
    client.end();
    ask(&mut client, &mut tokens);
    client.pass(secs(3_600));
    while client.bench.endpoint.poll_event().is_some() {}
    ask(&mut client, &mut tokens);
    assert!(tokens.len() >= 1_000, "{}", tokens.len());
    assert!(!tokens.contains(client.token.as_bytes()));
}

fn fast() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    for transmission in [
        &mut config.transmission,
        &mut config.collections.transmission,
    ] {
        transmission.set_probing_rate(1_000_000_000).unwrap();
        transmission.set_nstart(1_000).unwrap();
    }
    config
}

#[test]
fn a_late_notification_of_an_observation_answers_no_later_question() {
    let (mut client, _) = observing_with(fast(), of_group());
    client.notify(11, 1, b"x");
    client.end();
    client.pass(secs(20));
    client.events();
    let now = client.bench.now;
    let request = GroupRequest {
        end: End::after(secs(30)),
        ..question()
    };
    client.bench.endpoint.collect(now, request).unwrap();
    client.bench.sent();
    // As if somebody had kept it back until now.
    let sent = client.notify(11, 2, b"kept back");
    assert!(sent.iter().all(|(_, bytes)| read(bytes).0 != Type::Ack));
    client.pass(secs(31));
    let mut answers = 0;
    while let Some(event) = client.bench.endpoint.poll_event() {
        if let Event::Collection(crate::collection::CollectionEvent::Answer(_)) = event {
            answers += 1;
        }
    }
    assert_eq!(answers, 0);
}

#[test]
fn what_others_say_under_the_token_is_never_said_by_a_member() {
    // Of one server: nobody else is heard, from whatever port of its host.
    let (mut client, sent) = observing(of_one(11));
    client.acknowledged(11, &sent[0].1, Some(1));
    client.heard();
    let says = Says {
        kind: Type::Con,
        ..client.says(Some(0x7f_ffff), b"forged")
    };
    let elsewhere = Path {
        peer: (server(11).ip(), 5_999).into(),
        ..way(11)
    };
    for path in [way(12), elsewhere] {
        let sent = client.bench.hear(path, &says.bytes());
        assert_eq!(parsed(&sent[0].1).0, Type::Rst);
    }
    assert!(client.events().is_empty());
    assert!(client.notify(11, 2, b"genuine").is_empty());
    assert_eq!(
        client.heard().len(),
        1,
        "its number is compared with its own only"
    );
    // Of a group: it is a stranger, and takes nothing of the member whose host it claims to be on.
    let mut request = of_group();
    request.expect = three();
    let (mut client, _) = observing(request);
    client.notify(11, 5, b"genuine");
    client.heard();
    let says = client.says(Some(0x7f_ffff), b"forged");
    client.bench.hear(way(99), &says.bytes());
    let heard: Vec<_> = client.heard().iter().map(|(member, ..)| *member).collect();
    assert_eq!(heard, [3], "by itself, after the three that are expected");
    client.notify(11, 6, b"genuine");
    assert_eq!(client.heard()[0].0, 0);
}
