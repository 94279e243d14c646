//! Bodies that are larger than a datagram.

use std::sync::{Arc, Mutex};

use antiphon::{
    Access, Amplification, BodyProgress, Code, ContentFormat, Failure, FurtherBlocks, GroupPolicy,
    Incoming, Membership, NoSec, Observing, OneError, Resource, Response, proto,
};
use tokio::time::timeout;

use crate::place::{PATIENCE, Place, quick};

fn body(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 16 * 7 + at) as u8).collect()
}

/// What was put is there; at first 5,000 bytes.
fn file() -> Resource {
    let kept = Arc::new(Mutex::new(body(5_000)));
    let shown = Arc::clone(&kept);
    Resource::at("/file")
        .access(Access::Unsecured)
        .group_policy(GroupPolicy::respond().amplification(Amplification::Unlimited))
        .get(move |_: &Incoming<'_>, response: &mut Response| {
            response.set_payload(ContentFormat::OCTETS, &shown.lock().unwrap());
        })
        .put(move |request: &Incoming<'_>, _: &mut Response| {
            *kept.lock().unwrap() = request.payload().to_vec();
        })
}

#[tokio::test]
async fn large_bodies_are_put_and_got_whole() {
    let place = Place::new();
    let server = place.server(1).resource(file()).build().await.unwrap();
    let _server = server.spawn();
    let client = place.client().build().await.unwrap();
    let one = || {
        let call = client.one(&place.member_uri(1, "/file")).unwrap();
        call.unsecured(NoSec::Accepted).timeout(PATIENCE)
    };
    let reply = one().get().send().await.unwrap();
    assert_eq!(reply.response.payload, body(5_000));

    let large = body(100_000);
    let seen: Arc<Mutex<Vec<BodyProgress>>> = Arc::default();
    let told = Arc::clone(&seen);
    let reply = one()
        .put(ContentFormat::OCTETS, large.clone())
        .on_progress(move |progress| told.lock().unwrap().push(progress))
        .send()
        .await
        .unwrap();
    assert_eq!(reply.response.code, Code::CHANGED);
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 97);
    assert_eq!(
        seen[96],
        BodyProgress {
            sending: true,
            bytes: 97 * 1_024,
            total: Some(100_000)
        }
    );
    let reply = one().get().send().await.unwrap();
    assert_eq!(reply.response.payload, large);
    let part = one().get().range(50_000, 100).send().await.unwrap();
    assert_eq!(part.response.payload, large[50_000..50_100]);
}

#[tokio::test]
async fn each_member_of_a_group_gives_its_whole_body_as_one_answer() {
    let place = Place::new();
    let mut members = Vec::new();
    for n in 1..=2 {
        let server = place.server(n).resource(file());
        let server = server.join(Membership::new(place.group(1)).unsecured());
        members.push(server.build().await.unwrap().spawn());
    }
    let client = place.client().build().await.unwrap();
    let call = client.group(&place.group_uri(1, "/file")).unwrap().get();
    let mut answers = call
        .unsecured(NoSec::Accepted)
        .expect(place.expected(1..=2))
        .send()
        .await
        .unwrap();
    for _ in 0..2 {
        let answer = answers.answer().await.unwrap();
        assert_eq!(answer.response.payload, body(5_000));
    }
    let outcome = answers.finish().await.unwrap();
    assert!(outcome.is_complete());
    assert_eq!(outcome.answers, 2);
}

#[tokio::test]
async fn further_blocks_are_asked_of_the_group_where_that_is_chosen() {
    let place = Place::new();
    let mut members = Vec::new();
    for n in 1..=2 {
        let mut config = quick();
        config.server.group_answer_limit = Some(1_024);
        let server = place.server(n).endpoint(config).resource(file());
        let server = server.join(Membership::new(place.group(1)).unsecured());
        members.push(server.build().await.unwrap().spawn());
    }
    let client = place.client().build().await.unwrap();
    let call = client.group(&place.group_uri(1, "/file")).unwrap().get();
    let mut answers = call
        .unsecured(NoSec::Accepted)
        .expect(place.expected(1..=2))
        .further_blocks(FurtherBlocks::Group)
        .send()
        .await
        .unwrap();
    for _ in 0..2 {
        let answer = answers.answer().await.unwrap();
        assert_eq!(answer.response.payload, body(5_000));
    }
    let outcome = answers.finish().await.unwrap();
    assert!(outcome.is_complete());
    assert_eq!((outcome.answers, outcome.transmissions), (2, 5));
}

#[tokio::test]
async fn large_notifications_come_whole_and_serve_later_calls() {
    let place = Place::new();
    let shown = Arc::new(Mutex::new(body(3_000)));
    let state = Arc::clone(&shown);
    let log = Resource::at("/log")
        .access(Access::Unsecured)
        .observable()
        .get(move |_: &Incoming<'_>, response: &mut Response| {
            response.set_payload(ContentFormat::OCTETS, &state.lock().unwrap());
        });
    let server = place.server(1).resource(log).build().await.unwrap();
    let resource = server.resource("/log").unwrap();
    let running = server.spawn();
    let client = place.client().build().await.unwrap();
    let one = || {
        let call = client.one(&place.member_uri(1, "/log")).unwrap();
        call.get().unsecured(NoSec::Accepted)
    };
    let observing = Observing::new().once().cached();
    let mut observation = one().observe(observing).await.unwrap();
    let first = timeout(PATIENCE, observation.notification()).await.unwrap();
    assert_eq!(first.unwrap().response.payload, body(3_000));
    let changed = body(2_000);
    shown.lock().unwrap().clone_from(&changed);
    resource.notify().unwrap();
    let next = timeout(PATIENCE, observation.notification()).await.unwrap();
    assert_eq!(next.unwrap().response.payload, changed);
    // What the last notification has said is given without asking.
    running.stop().await;
    let reply = one().cached().timeout(PATIENCE).send().await.unwrap();
    assert_eq!(reply.response.payload, changed);
    assert!(reply.cached.is_some());
}

#[tokio::test]
async fn limits_are_those_of_the_configuration() {
    let place = Place::new();
    let mut config = quick();
    config.server.blocks.body = 2_000;
    let server = place.server(1).endpoint(config).resource(file());
    let _server = server.build().await.unwrap().spawn();
    let mut config = quick();
    config.transfers.body = 4_999;
    let client = place.client().endpoint(config).build().await.unwrap();
    let one = || {
        let call = client.one(&place.member_uri(1, "/file")).unwrap();
        call.unsecured(NoSec::Accepted).timeout(PATIENCE)
    };
    let too_large = Failure::Body(antiphon::BodyFailure::TooLarge(4_999));
    let failed = one().get().send().await.unwrap_err();
    assert!(matches!(failed, OneError::Failed(failure) if failure == too_large));
    let refused = one().put(ContentFormat::OCTETS, body(2_001));
    assert_eq!(
        refused.send().await.unwrap().response.code,
        Code::REQUEST_ENTITY_TOO_LARGE
    );
    let never_sent = one().put(ContentFormat::OCTETS, body(5_000)).send().await;
    assert!(matches!(
        never_sent,
        Err(OneError::Refused(proto::RequestError::TooLarge))
    ));
}
