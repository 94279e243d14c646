//! Questions to groups.

use core::time::Duration;
use std::collections::BTreeSet;

use antiphon::{
    Access, AskError, Asked, AsyncResource, CollectError, CollectionEvent, Completion,
    ContentFormat, EndedBy, GroupPolicy, How, Membership, MissingReason, NoSec, Repeat, Resource,
    Response, wire,
};
use tokio::time::timeout;

use crate::place::{LEISURE, PATIENCE, Place, SILENCE, quick, status};

// Covers: GC-1-01
#[tokio::test]
async fn one_request_is_answered_by_every_member_of_the_group() {
    let place = Place::new();
    let mut servers = Vec::new();
    for n in 1..=3 {
        servers.push(place.status_server(n).build().await.unwrap().spawn());
    }
    // One more member that only listens sees how many datagrams the client really sends.
    let listener = listen(&place);
    let client = place.client().build().await.unwrap();
    let mut answers = client
        .group(&place.group_uri(1, "/status"))
        .unwrap()
        .get()
        .unsecured(NoSec::Accepted)
        .expect(place.expected(1..=3))
        .collect_for(PATIENCE)
        .send()
        .await
        .unwrap();
    let mut heard = BTreeSet::new();
    while let Some(answer) = answers.answer().await {
        assert_eq!(answer.how, How::Multicast);
        assert_eq!(answer.sequence, 1);
        assert!(!answer.from.peer.ip().is_multicast());
        let text = String::from_utf8(answer.response.payload.clone()).unwrap();
        heard.insert((answer.from.peer, text));
    }
    let expected: BTreeSet<_> = (1..=3)
        .map(|n| (place.member(n), format!("member {n}")))
        .collect();
    assert_eq!(heard, expected);

    let outcome = answers.finish().await.unwrap();
    assert_eq!(outcome.ended_by, EndedBy::AllExpected);
    assert_eq!(outcome.transmissions, 1);
    assert!(outcome.is_complete());
    assert_eq!(datagrams(&listener).await.len(), 1);
}

#[tokio::test]
async fn a_member_that_does_not_answer_is_missing_by_name() {
    let place = Place::new();
    let _one = place.status_server(1).build().await.unwrap().spawn();
    let client = place.client().build().await.unwrap();
    let outcome = client
        .group(&place.group_uri(1, "/status"))
        .unwrap()
        .unsecured(NoSec::Accepted)
        .expect(place.expected([1, 2]))
        .collect_for(SILENCE)
        .send()
        .await
        .unwrap()
        .finish()
        .await
        .unwrap();
    assert_eq!(outcome.ended_by, EndedBy::Deadline);
    assert_eq!(outcome.answered().collect::<Vec<_>>(), [("m1", 1)]);
    let missing: Vec<_> = outcome.missing().collect();
    assert_eq!(missing, [("m2", MissingReason::Silent)]);
}

#[tokio::test]
async fn one_question_to_several_groups_is_one_collection() {
    let place = Place::new();
    let in_second = |n: u8| {
        place
            .server(n)
            .join(Membership::new(place.group(2)).unsecured())
            .resource(status(&format!("member {n}")))
    };
    let _first = place.status_server(1).build().await.unwrap().spawn();
    let _second = in_second(2).build().await.unwrap().spawn();
    let both = in_second(3).join(Membership::new(place.group(1)).unsecured());
    let _both = both.build().await.unwrap().spawn();
    let client = place.client().build().await.unwrap();
    let call = || {
        client
            .group(&place.group_uri(1, "/status"))
            .unwrap()
            .unsecured(NoSec::Accepted)
            .expect(place.expected(1..=3))
    };
    // The group of the URI is not asked twice.
    let call_both = call().also([place.group(2), place.group(1)]);
    let groups: Vec<_> = call_both.targets().await.unwrap();
    let groups: Vec<_> = groups.iter().map(|target| target.group).collect();
    assert_eq!(groups, [place.group(1), place.group(2)]);
    let question = call_both.collect_for(PATIENCE).send().await.unwrap();
    let outcome = question.finish().await.unwrap();
    assert_eq!(outcome.ended_by, EndedBy::AllExpected);
    assert_eq!((outcome.transmissions, outcome.unexpected.len()), (2, 0));
    let names: Vec<_> = outcome.answered().map(|(name, _)| name).collect();
    assert_eq!(names, ["m1", "m2", "m3"]);

    let error = call().also([place.member(1)]).send().await.unwrap_err();
    assert!(matches!(error, AskError::Collect(_)), "{error}");
}

#[tokio::test]
async fn a_silent_member_is_asked_in_person_and_answers() {
    let place = Place::new();
    // The second member is in no group: deaf to the question, and reached by unicast.
    let _one = place.status_server(1).build().await.unwrap().spawn();
    let deaf = place.server(2).resource(status("deaf"));
    let _deaf = deaf.build().await.unwrap().spawn();
    let client = place.client().build().await.unwrap();
    let mut answers = client
        .group(&place.group_uri(1, "/status"))
        .unwrap()
        .unsecured(NoSec::Accepted)
        .expect(place.expected([1, 2]))
        .collect_for(PATIENCE)
        .leisure(LEISURE)
        .rtt(Duration::from_millis(100))
        .complete(Completion::Unicast {
            at_once: 4,
            within: None,
        })
        .send()
        .await
        .unwrap();
    let mut how = Vec::new();
    while let Some(answer) = answers.answer().await {
        how.push((answer.from.peer, answer.how));
    }
    assert_eq!(
        how,
        [
            (place.member(1), How::Multicast),
            (place.member(2), How::Unicast)
        ]
    );
    assert!(answers.finish().await.unwrap().is_complete());
}

#[tokio::test]
async fn repeats_bring_further_answers_with_their_number() {
    let place = Place::new();
    let _one = place.status_server(1).build().await.unwrap().spawn();
    let client = place.client().build().await.unwrap();
    let mut answers = client
        .group(&place.group_uri(1, "/status"))
        .unwrap()
        .unsecured(NoSec::Accepted)
        .collect_for(SILENCE)
        .leisure(LEISURE)
        .rtt(Duration::from_millis(50))
        .repeat(Repeat::NewMessageId(2))
        .send()
        .await
        .unwrap();
    let mut seen = Vec::new();
    while let Some(answer) = answers.answer().await {
        seen.push((answer.sequence, answer.how));
    }
    assert_eq!(
        seen,
        [
            (1, How::Multicast),
            (2, How::Repeat(1)),
            (3, How::Repeat(2))
        ]
    );
    assert_eq!(answers.finish().await.unwrap().transmissions, 3);
}

#[tokio::test]
async fn a_notification_is_done_when_it_is_sent_and_nobody_answers() {
    let place = Place::new();
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let light = Resource::at("/light")
        .access(Access::Unsecured)
        .group_policy(GroupPolicy::respond().consider_no_response())
        .put(move |request: &antiphon::Incoming<'_>, _: &mut Response| {
            told.send(request.payload().to_vec()).unwrap();
        });
    let server = place
        .server(1)
        .join(Membership::new(place.group(1)).unsecured())
        .resource(light);
    let server = server.build().await.unwrap().spawn();
    let client = place.client().build().await.unwrap();
    let outcome = client
        .notify(&place.group_uri(1, "/light"))
        .unwrap()
        .put(ContentFormat::TEXT, "on")
        .unsecured(NoSec::Accepted)
        .send()
        .await
        .unwrap()
        .finish()
        .await
        .unwrap();
    assert_eq!(outcome.ended_by, EndedBy::Sent);
    assert_eq!(outcome.answers, 0);
    let payload = timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
    assert_eq!(payload, b"on");
    tokio::time::sleep(LEISURE * 2).await;
    let counted = server.handle.counters().await.unwrap();
    assert_eq!((counted.server.handled, counted.endpoint.sent), (1, 0));
}

// Covers: GC-3.8.1-04, GC-3.8.2-03
#[tokio::test]
async fn a_port_that_nobody_serves_ends_by_time_and_without_an_error() {
    let place = Place::new();
    let other = Place::new();
    let client = place.client().build().await.unwrap();
    let mut answers = client
        .group(&other.group_uri(1, "/status"))
        .unwrap()
        .unsecured(NoSec::Accepted)
        .collect_for(SILENCE)
        .send()
        .await
        .unwrap();
    let mut events = Vec::new();
    while let Some(event) = answers.next().await {
        events.push(event);
    }
    assert!(events.is_empty(), "{events:?}");
    let outcome = answers.finish().await.unwrap();
    // The IPv4 half of GC-3.8.1-04; the lab has the IPv6 half.
    assert_eq!(outcome.ended_by, EndedBy::Deadline);
    assert!(outcome.took >= SILENCE);
    assert_eq!((outcome.answers, outcome.transmissions), (0, 1));
    let counted = client.counters().await.unwrap();
    assert_eq!(counted.driver.unreachable, 0);
    assert_eq!(counted.endpoint.send_errors, 0);
}

// Covers: GC-3.1-01, GC-3.1-22
#[tokio::test]
async fn two_clients_have_ports_of_their_own_and_never_mix() {
    let place = Place::new();
    let _server = place.status_server(1).build().await.unwrap().spawn();
    let one = place.client().build().await.unwrap();
    let two = place.client().build().await.unwrap();
    let ports = |client: &antiphon::Client| -> Vec<u16> {
        let addresses = client.local_addresses();
        addresses.iter().map(|address| address.port()).collect()
    };
    assert_eq!((ports(&one).len(), ports(&two).len()), (1, 1));
    assert_ne!(ports(&one), ports(&two));

    // What leaves has the client's own port as its source.
    let listener = listen(&place);
    let ask = |client: &antiphon::Client| {
        let call = client.group(&place.group_uri(1, "/status")).unwrap();
        call.unsecured(NoSec::Accepted).collect_for(SILENCE).send()
    };
    let mut first = ask(&one).await.unwrap();
    let mut second = ask(&two).await.unwrap();
    let mut sources: Vec<u16> = Vec::new();
    let mut token = Vec::new();
    let mut tokens = BTreeSet::new();
    for (source, bytes) in datagrams(&listener).await {
        sources.push(source.port());
        tokens.insert(wire::Message::parse(&bytes).unwrap().token());
        if source.port() == ports(&one)[0] {
            token = wire::Message::parse(&bytes)
                .unwrap()
                .token()
                .as_bytes()
                .to_vec();
        }
    }
    sources.sort_unstable();
    let mut expected = [ports(&one), ports(&two)].concat();
    expected.sort_unstable();
    assert_eq!(sources, expected);
    // Each draws from randomness of its own.
    assert_eq!(tokens.len(), 2);

    // An answer with the first client's token that is sent to the second client's port belongs to nobody.
    let stray = answer_to(&token, 7);
    let to = two.local_addresses()[0];
    place.keeper().send_to(&stray, to).unwrap();

    for answers in [&mut first, &mut second] {
        let mut payloads = Vec::new();
        while let Some(answer) = answers.answer().await {
            payloads.push(answer.response.payload);
        }
        assert_eq!(payloads, [b"member 1".to_vec()]);
    }
    assert_eq!(unmatched(&two, 1).await, 1);
    assert_eq!(one.counters().await.unwrap().endpoint.unmatched, 0);
}

// Covers: GC-6.3-03
#[tokio::test]
async fn an_answer_after_the_end_matches_nothing_and_is_dropped() {
    let place = Place::new();
    let client = place.client().build().await.unwrap();
    let listener = listen(&place);
    let mut answers = client
        .group(&place.group_uri(1, "/status"))
        .unwrap()
        .unsecured(NoSec::Accepted)
        .collect_for(SILENCE)
        .send()
        .await
        .unwrap();
    let (client_address, request) = datagrams(&listener).await.remove(0);
    let token = wire::Message::parse(&request).unwrap().token();
    // In time it would be an answer like any other.
    let keeper = place.keeper();
    keeper
        .send_to(&answer_to(token.as_bytes(), 1), client_address)
        .unwrap();
    // The listener waited for silence, and with it for the end of the collection.
    while answers.next().await.is_some() {}
    keeper
        .send_to(&answer_to(token.as_bytes(), 2), client_address)
        .unwrap();
    let dropped = unmatched(&client, 1).await;
    assert!(dropped >= 1, "{dropped}");
    assert!(answers.next().await.is_none());
    let outcome = answers.finish().await.unwrap();
    assert_eq!(u64::from(outcome.answers) + dropped, 2);
    // Nothing is said to whoever sent it: it was Non-confirmable.
    assert_eq!(client.counters().await.unwrap().endpoint.sent, 1);
}

#[tokio::test]
async fn async_handlers_answer_a_group_too() {
    let place = Place::new();
    let mut servers = Vec::new();
    for n in 1..=2 {
        let slow = Resource::at("/slow")
            .access(Access::Unsecured)
            .group_policy(GroupPolicy::respond())
            .get_async(move |asked: Asked| async move {
                assert!(asked.arrival.is_group());
                tokio::time::sleep(Duration::from_millis(20)).await;
                Response::new(wire::Code::CONTENT).with_payload(ContentFormat::TEXT, &[b'0' + n])
            });
        let server = place
            .server(n)
            .join(Membership::new(place.group(1)).unsecured())
            .resource(slow);
        servers.push(server.build().await.unwrap().spawn());
    }
    let client = place.client().build().await.unwrap();
    let mut answers = client
        .group(&place.group_uri(1, "/slow"))
        .unwrap()
        .unsecured(NoSec::Accepted)
        .expect(place.expected(1..=2))
        .collect_for(PATIENCE)
        .send()
        .await
        .unwrap();
    let mut payloads = Vec::new();
    while let Some(answer) = answers.answer().await {
        payloads.push(answer.response.payload);
    }
    payloads.sort();
    assert_eq!(payloads, [b"1".to_vec(), b"2".to_vec()]);
}

// Covers: GC-4-03
#[tokio::test]
async fn going_without_security_is_always_a_stated_choice() {
    let place = Place::new();
    // A client that does not say so sends nothing.
    let client = place.client().build().await.unwrap();
    let silent = client.group(&place.group_uri(1, "/status")).unwrap();
    let error = silent.send().await.unwrap_err();
    assert!(matches!(error, AskError::SecurityNotStated), "{error}");
    assert_eq!(client.counters().await.unwrap().endpoint.sent, 0);
    let error = client
        .one(&place.member_uri(1, "/status"))
        .unwrap()
        .send()
        .await
        .unwrap_err();
    assert!(matches!(error, antiphon::OneError::SecurityNotStated));

    // A server that does not say so for a group does not start.
    let unstated = place.server(1).join(Membership::new(place.group(1)));
    let Err(error) = unstated.build().await else {
        panic!("a group without stated security was joined")
    };
    assert!(
        matches!(
            error,
            antiphon::BuildError::Membership {
                reason: antiphon::MembershipError::SecurityNotStated,
                ..
            }
        ),
        "{error}"
    );
    // One that does is warned, and the warning names amplification.
    let server = place.status_server(1).build().await.unwrap().spawn();
    let lints = server.handle.lints().await.unwrap();
    let warned = lints.iter().any(|lint| {
        matches!(lint, antiphon::Lint::Unsecured { group } if *group == place.group(1))
            && lint.to_string().contains("amplif")
    });
    assert!(warned, "{lints:?}");
}

#[tokio::test]
async fn what_the_endpoint_refuses_is_told_at_once() {
    let place = Place::new();
    let client = place.client().build().await.unwrap();
    let error = client
        .group(&place.group_uri(1, "/status"))
        .unwrap()
        .unsecured(NoSec::Discovery)
        .send()
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        AskError::Collect(CollectError::NotDiscovery)
    ));
    let error = client
        .group(&place.group_uri(1, "/status"))
        .unwrap()
        .unsecured(NoSec::Accepted)
        .interfaces(["none0"])
        .send()
        .await
        .unwrap_err();
    assert!(matches!(error, AskError::Interface(_)));
    let error = client
        .group("coap://[ff02::fd]/x")
        .unwrap()
        .unsecured(NoSec::Accepted)
        .send()
        .await
        .unwrap_err();
    assert!(matches!(error, AskError::Family(_)), "{error}");
}

// Covers: GC-1.1-01
#[tokio::test]
async fn udp_over_ip_multicast_is_the_only_way_to_a_group() {
    let place = Place::new();
    let client = place.client().build().await.unwrap();
    for uri in [
        "coap+tcp://224.0.1.187/x",
        "coaps://224.0.1.187/x",
        "coap+ws://[ff02::fd]/x",
        "coap://10.0.0.1/x",
        "coap://224.0.1.187:5684/x",
    ] {
        let error = client.group(uri).unwrap_err();
        assert!(error.to_string().starts_with(uri), "{error}");
    }
    // IPv4 multicast is one half of what works; the lab shows IPv6.
    let _server = place.status_server(1).build().await.unwrap().spawn();
    let mut answers = client
        .group(&place.group_uri(1, "/status"))
        .unwrap()
        .unsecured(NoSec::Accepted)
        .count(1)
        .send()
        .await
        .unwrap();
    assert!(answers.answer().await.is_some());
    assert_eq!(answers.finish().await.unwrap().ended_by, EndedBy::Count);
}

#[tokio::test]
async fn own_multicast_is_ignored_if_that_is_wanted() {
    let place = Place::new();
    for ignored in [false, true] {
        let mut config = quick();
        config.ignore_own_multicast = ignored;
        let n = 1 + u8::from(ignored);
        // A member that asks the group it belongs to, through its own socket.
        let server = place.status_server(n).endpoint(config);
        let server = server.build().await.unwrap().spawn();
        let mut answers = server
            .client()
            .group(&place.group_uri(1, "/status"))
            .unwrap()
            .unsecured(NoSec::Accepted)
            .collect_for(SILENCE)
            .send()
            .await
            .unwrap();
        let mut peers = Vec::new();
        while let Some(answer) = answers.answer().await {
            peers.push(answer.from.peer);
        }
        let counted = server.handle.counters().await.unwrap();
        match ignored {
            false => assert_eq!(peers, [place.member(n)]),
            true => assert!(peers.is_empty(), "{peers:?}"),
        }
        assert_eq!(counted.endpoint.own_multicast, u64::from(ignored));
        server.stop().await;
    }
}

#[tokio::test]
async fn a_question_that_waits_says_why_and_for_how_long() {
    let place = Place::new();
    let client = place.client().build().await.unwrap();
    let ask = || {
        let call = client.group(&place.group_uri(1, "/status")).unwrap();
        call.unsecured(NoSec::Accepted).collect_for(SILENCE).send()
    };
    let first = ask().await.unwrap();
    let mut second = ask().await.unwrap();
    let Some(CollectionEvent::Held(id, held)) = second.next().await else {
        panic!("NSTART does not hold the second question")
    };
    assert_eq!(id, second.id());
    assert_eq!(held.reason, antiphon::HoldReason::Outstanding);
    let status = client.status().await.unwrap();
    assert_eq!(status.len(), 2);
    assert_eq!(status[0].0, first.id());
    assert!(status[1].1.held.is_some());
    assert_eq!(status[1].1.transmissions, 0);
    assert!(second.status().await.unwrap().unwrap().held.is_some());
    drop(first);
    second.close();
    let outcome = second.finish().await.unwrap();
    assert_eq!(outcome.ended_by, EndedBy::Closed);
    assert_eq!(client.status().await.unwrap(), []);
}

/// A Non-confirmable 2.05 with this token.
fn answer_to(token: &[u8], mid: u16) -> Vec<u8> {
    let mut bytes = [0; 64];
    let token = wire::Token::new(token).unwrap();
    let mut writer = wire::Writer::new(
        &mut bytes,
        wire::Type::Non,
        wire::Code::CONTENT,
        wire::MessageId(mid),
        token,
    )
    .unwrap();
    writer.payload(b"stray").unwrap();
    let length = writer.finish();
    bytes[..length].to_vec()
}

/// How many responses belonged to nothing, as soon as there are this many.
async fn unmatched(client: &antiphon::Client, count: u64) -> u64 {
    let reached = async {
        loop {
            let unmatched = client.counters().await.unwrap().endpoint.unmatched;
            if unmatched >= count {
                break unmatched;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, reached).await.unwrap()
}

/// A plain socket that listens to the first group of a place.
fn listen(place: &Place) -> std::net::UdpSocket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&place.group(1).into()).unwrap();
    let socket: std::net::UdpSocket = socket.into();
    let std::net::IpAddr::V4(group) = place.group(1).ip() else {
        panic!("not IPv4")
    };
    socket
        .join_multicast_v4(&group, &"127.0.0.1".parse().unwrap())
        .unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    socket
}

/// Everything that arrives until there is silence.
async fn datagrams(socket: &std::net::UdpSocket) -> Vec<(std::net::SocketAddr, Vec<u8>)> {
    let socket = socket.try_clone().unwrap();
    let read = tokio::task::spawn_blocking(move || {
        let mut all = Vec::new();
        let mut buffer = [0; 2048];
        while let Ok((length, source)) = socket.recv_from(&mut buffer) {
            all.push((source, buffer[..length].to_vec()));
        }
        all
    });
    read.await.unwrap()
}
