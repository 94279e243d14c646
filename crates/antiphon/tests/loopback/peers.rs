//! Questions to single peers.

use core::time::Duration;
use std::time::Instant;

use antiphon::{
    Access, Asked, AsyncResource, Code, ContentFormat, Failure, Methods, NoSec, OneError, Resource,
    Response, proto,
};

use crate::place::{PATIENCE, Place, SILENCE, quick, status};

#[tokio::test]
async fn a_peer_answers_confirmable_and_non_confirmable() {
    let place = Place::new();
    let server = place.status_server(1).build().await.unwrap().spawn();
    let client = place.client().build().await.unwrap();
    for confirmable in [true, false] {
        let reply = client
            .one(&place.member_uri(1, "/status"))
            .unwrap()
            .get()
            .unsecured(NoSec::Accepted)
            .confirmable(confirmable)
            .timeout(PATIENCE)
            .send()
            .await
            .unwrap();
        assert_eq!(reply.response.code, Code::CONTENT);
        assert_eq!(reply.response.payload, b"member 1");
        assert_eq!(reply.from, place.member(1));
        assert!(reply.after < PATIENCE);
    }
    let counted = server.handle.counters().await.unwrap();
    assert_eq!((counted.endpoint.received, counted.endpoint.sent), (2, 2));
}

#[tokio::test]
async fn what_is_asked_arrives_whole() {
    let place = Place::new();
    let echo = Resource::at("/a b").access(Access::Unsecured).put(
        |request: &antiphon::Incoming<'_>, response: &mut Response| {
            let query: Vec<u8> = request.query().flatten().copied().collect();
            let whole = [&query, request.payload()].concat();
            response.set_payload(ContentFormat::OCTETS, &whole);
        },
    );
    let server = place.server(1).resource(echo);
    let _server = server.build().await.unwrap().spawn();
    let client = place.client().build().await.unwrap();
    let reply = client
        .one(&place.member_uri(1, "/a%20b?x=1&y"))
        .unwrap()
        .put(ContentFormat::TEXT, "body")
        .accept(ContentFormat::OCTETS)
        .unsecured(NoSec::Accepted)
        .send()
        .await
        .unwrap();
    assert_eq!(reply.response.code, Code::CHANGED);
    assert_eq!(reply.response.payload, b"x=1ybody");
}

#[tokio::test]
async fn a_slow_handler_becomes_a_separate_response() {
    let place = Place::new();
    let mut config = quick();
    config.limits.separate_after = Duration::from_millis(20);
    let slow = Resource::at("/slow")
        .access(Access::Unsecured)
        .get_async(|_: Asked| async {
            tokio::time::sleep(Duration::from_millis(120)).await;
            Response::new(Code::CONTENT).with_payload(ContentFormat::TEXT, b"late")
        });
    let server = place.server(1).endpoint(config).resource(slow);
    let server = server.build().await.unwrap().spawn();
    let client = place.client().build().await.unwrap();
    let reply = client
        .one(&place.member_uri(1, "/slow"))
        .unwrap()
        .unsecured(NoSec::Accepted)
        .send()
        .await
        .unwrap();
    assert_eq!(reply.response.payload, b"late");
    assert!(reply.after >= Duration::from_millis(120));
    // The empty acknowledgement and the response; the request and the acknowledgement of the response.
    tokio::time::sleep(SILENCE).await;
    let counted = server.handle.counters().await.unwrap();
    assert_eq!((counted.endpoint.received, counted.endpoint.sent), (2, 2));
    assert_eq!(counted.endpoint.retransmissions, 0);
    assert_eq!(counted.load.confirmables, 0);
}

#[tokio::test]
async fn a_handler_that_panics_is_an_error_of_the_server_and_of_nobody_else() {
    let place = Place::new();
    let broken = Resource::at("/broken")
        .access(Access::Unsecured)
        .on_async(Methods::GET, |_: Asked| async { panic!("on purpose") });
    let server = place.server(1).resource(broken).resource(status("fine"));
    let server = server.build().await.unwrap().spawn();
    let client = place.client().build().await.unwrap();
    for (path, code) in [
        ("/broken", Code::INTERNAL_SERVER_ERROR),
        ("/status", Code::CONTENT),
    ] {
        let call = client.one(&place.member_uri(1, path)).unwrap();
        let reply = call.unsecured(NoSec::Accepted).send().await.unwrap();
        assert_eq!(reply.response.code, code);
    }
    let counted = server.handle.counters().await.unwrap();
    assert_eq!(counted.driver.handlers_panicked, 1);
}

#[tokio::test]
async fn more_requests_than_handlers_wait_their_turn() {
    let place = Place::new();
    let slow = Resource::at("/slow")
        .access(Access::Unsecured)
        .get_async(|_: Asked| async {
            tokio::time::sleep(Duration::from_millis(40)).await;
            Response::new(Code::CONTENT)
        });
    let driver = antiphon::DriverConfig {
        handlers: 1,
        ..Default::default()
    };
    let server = place.server(1).driver(driver).resource(slow);
    let _server = server.build().await.unwrap().spawn();
    let mut transmission = proto::Transmission::default();
    transmission.set_nstart(8).unwrap();
    let client = place
        .client()
        .transmission(transmission)
        .build()
        .await
        .unwrap();
    let started = Instant::now();
    let ask = || async {
        let call = client.one(&place.member_uri(1, "/slow")).unwrap();
        call.unsecured(NoSec::Accepted).send().await.unwrap()
    };
    let replies = tokio::join!(ask(), ask(), ask());
    assert_eq!(replies.0.response.code, Code::CONTENT);
    assert!(started.elapsed() >= Duration::from_millis(120));
}

#[tokio::test]
async fn a_port_that_nobody_serves_is_unreachable_at_once() {
    let place = Place::new();
    let client = place.client().build().await.unwrap();
    let started = Instant::now();
    let error = client
        .one(&place.member_uri(9, "/status"))
        .unwrap()
        .unsecured(NoSec::Accepted)
        .timeout(PATIENCE)
        .send()
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            OneError::Failed(Failure::Unreachable(proto::SendError::PortUnreachable))
        ),
        "{error}"
    );
    // Long before the first retransmission, which comes after two seconds.
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!(client.counters().await.unwrap().driver.unreachable, 1);
}

#[tokio::test]
async fn a_peer_that_is_silent_times_out_and_nothing_is_left_of_it() {
    let place = Place::new();
    let client = place.client().build().await.unwrap();
    let silent = format!("coap://{}/x", place.keeper().local_addr().unwrap());
    let limit = Duration::from_millis(80);
    let started = Instant::now();
    let call = client.one(&silent).unwrap().unsecured(NoSec::Accepted);
    let error = call.timeout(limit).send().await.unwrap_err();
    assert!(matches!(error, OneError::Failed(Failure::TimedOut)));
    assert!(started.elapsed() >= limit);
    let load = client.counters().await.unwrap().load;
    assert_eq!((load.exchanges, load.confirmables), (0, 0));
}

#[tokio::test]
async fn what_was_sent_by_a_server_and_did_not_arrive_ends_no_exchange_of_its_client() {
    let place = Place::new();
    let node = place.status_server(1).build().await.unwrap().spawn();
    // A peer that asks, is gone when the answer comes, and so makes an error report about a response.
    let gone = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let ask = [
        0x50, 0x01, 0x12, 0x34, 0xb6, b's', b't', b'a', b't', b'u', b's',
    ];
    gone.send_to(&ask, place.member(1)).unwrap();
    drop(gone);
    let mut counted = node.handle.counters().await.unwrap();
    let started = Instant::now();
    while counted.driver.unreachable_ignored == 0 && started.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(5)).await;
        counted = node.handle.counters().await.unwrap();
    }
    assert_eq!(counted.driver.unreachable_ignored, 1);
    assert_eq!(counted.endpoint.send_errors, 0);
}

#[tokio::test]
async fn a_protected_request_is_refused_because_there_is_no_security_yet() {
    let place = Place::new();
    let _server = place.status_server(1).build().await.unwrap().spawn();
    let client = place.client().build().await.unwrap();
    let call = client.one(&place.member_uri(1, "/status")).unwrap();
    let call = call.option(antiphon::OptionNumber::OSCORE, b"\x09\x01kid");
    let reply = call.unsecured(NoSec::Accepted).send().await.unwrap();
    assert_eq!(reply.response.code, Code::BAD_OPTION);
}

#[tokio::test]
async fn resources_come_and_go_while_the_server_runs() {
    let place = Place::new();
    let server = place.server(1).build().await.unwrap().spawn();
    let client = place.client().build().await.unwrap();
    let code = async |path: &str| {
        let call = client.one(&place.member_uri(1, path)).unwrap();
        let reply = call.unsecured(NoSec::Accepted).send().await.unwrap();
        reply.response.code
    };
    assert_eq!(code("/status").await, Code::NOT_FOUND);
    let plain = server.handle.add(status("new")).await.unwrap();
    let slow = Resource::at("/slow").access(Access::Unsecured);
    let slow = slow
        .get_async(|_: Asked| async { Response::new(Code::CONTENT) })
        .put_async(|_: Asked| async { Response::new(Code::CHANGED) });
    let slow = server.handle.add(slow).await.unwrap();
    let again = server.handle.add(status("twice")).await.unwrap_err();
    assert!(matches!(again, antiphon::ChangeError::Resource(_)));
    assert_eq!(code("/status").await, Code::CONTENT);
    assert_eq!(code("/slow").await, Code::CONTENT);
    let put = client.one(&place.member_uri(1, "/slow")).unwrap();
    let put = put.put(ContentFormat::TEXT, "").unsecured(NoSec::Accepted);
    assert_eq!(put.send().await.unwrap().response.code, Code::CHANGED);

    // What anyone may use is told: discovery, and these two.
    let report = server.handle.policy_report().await.unwrap();
    let paths: Vec<_> = report.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(paths, ["/.well-known/core", "/status", "/slow"]);

    assert!(server.handle.remove(plain).await.unwrap());
    assert!(!server.handle.remove(plain).await.unwrap());
    assert!(server.handle.remove(slow).await.unwrap());
    assert_eq!(code("/status").await, Code::NOT_FOUND);
    assert_eq!(code("/slow").await, Code::NOT_FOUND);
}

#[tokio::test]
async fn a_deferred_method_without_a_handler_is_not_implemented() {
    let place = Place::new();
    let empty = Resource::at("/empty")
        .access(Access::Unsecured)
        .deferred(Methods::GET | Methods::PUT);
    let empty = empty.on_async(Methods::POST, |_: Asked| async {
        Response::new(Code::CHANGED)
    });
    let _server = place
        .server(1)
        .resource(empty)
        .build()
        .await
        .unwrap()
        .spawn();
    let client = place.client().build().await.unwrap();
    let call = client.one(&place.member_uri(1, "/empty")).unwrap();
    let reply = call.unsecured(NoSec::Accepted).send().await.unwrap();
    assert_eq!(reply.response.code, Code::NOT_IMPLEMENTED);
    let call = client.one(&place.member_uri(1, "/empty")).unwrap();
    let call = call
        .post(ContentFormat::TEXT, "x")
        .unsecured(NoSec::Accepted);
    assert_eq!(call.send().await.unwrap().response.code, Code::CHANGED);
}

#[tokio::test]
async fn only_coap_is_spoken_and_a_bad_uri_is_told_with_its_place() {
    let place = Place::new();
    let client = place.client().build().await.unwrap();
    let secure = client.one("coaps://127.0.0.1/x").unwrap();
    let error = secure.unsecured(NoSec::Accepted).send().await.unwrap_err();
    assert!(matches!(error, OneError::Scheme("coaps")), "{error}");
    let error = client.one("coap://127.0.0.1/a b").unwrap_err();
    assert_eq!(error.uri, "coap://127.0.0.1/a b");
    assert_eq!(error.reason.offset, 18);
    let group = client.one("coap://224.0.1.187/x").unwrap();
    let error = group.unsecured(NoSec::Accepted).send().await.unwrap_err();
    assert!(matches!(error, OneError::Resolve(_)), "{error}");
    let v6 = client.one("coap://[::1]/x").unwrap();
    let error = v6.unsecured(NoSec::Accepted).send().await.unwrap_err();
    assert!(matches!(error, OneError::Family(_)), "{error}");
}

#[tokio::test]
async fn a_client_without_wishes_has_a_socket_of_each_family() {
    let client = antiphon::Client::new().await.unwrap();
    let local = client.local_addresses();
    assert!(local.iter().all(|address| address.ip().is_unspecified()));
    assert!(local.iter().all(|address| address.port() != 0));
    let families = local.iter().filter(|address| address.is_ipv6()).count();
    let has_v6 = std::net::UdpSocket::bind("[::1]:0").is_ok();
    assert_eq!((local.len() - families, families), (1, usize::from(has_v6)));
    let taken = antiphon::Client::builder().bind(local[0]).build().await;
    assert!(
        matches!(taken, Err(antiphon::BuildError::Bind { address, .. }) if address == local[0])
    );
    let unknown = antiphon::Client::builder().interface("none0").build().await;
    assert!(matches!(unknown, Err(antiphon::BuildError::Interface(_))));
}
