//! Calls that use the cache.

use core::time::Duration;

use antiphon::{CacheConfig, Caching, EndedBy, How, Member, NoSec, StaticMembers};

use crate::place::{PATIENCE, Place};

#[tokio::test]
async fn what_members_have_said_stands_in_for_them_and_serves_calls_to_one() {
    let place = Place::new();
    let one = place.status_server(1).build().await.unwrap().spawn();
    let two = place.status_server(2).build().await.unwrap().spawn();
    let client = place.client().build().await.unwrap();
    let uri = place.group_uri(1, "/status");
    let call = || {
        let call = client.group(&uri).unwrap().unsecured(NoSec::Accepted);
        call.expect(place.expected(1..=2)).collect_for(PATIENCE)
    };
    let first = call().cached().send().await.unwrap();
    let outcome = first.finish().await.unwrap();
    assert_eq!((outcome.answers, outcome.cached().count()), (2, 0));
    two.stop().await;

    // The group is asked all the same, and the answer that is missing is there.
    let short = Duration::from_millis(500);
    let mut second = call().collect_for(short).cached().send().await.unwrap();
    let mut heard = Vec::new();
    while let Some(answer) = second.answer().await {
        let cached = matches!(answer.how, How::Cached { .. });
        heard.push((answer.from.peer, answer.response.payload, cached));
    }
    assert_eq!(
        heard,
        [
            (place.member(1), b"member 1".to_vec(), false),
            (place.member(2), b"member 2".to_vec(), true),
        ]
    );
    let outcome = second.finish().await.unwrap();
    assert_eq!(outcome.ended_by, EndedBy::Deadline);
    assert_eq!(outcome.cached().collect::<Vec<_>>(), ["m2"]);
    one.stop().await;

    // Nobody is there any more, and nothing is sent.
    let caching = Caching {
        alone: true,
        ..Caching::default()
    };
    let alone = call().caching(caching).send().await.unwrap();
    let outcome = alone.finish().await.unwrap();
    assert_eq!(outcome.ended_by, EndedBy::AllExpected);
    assert_eq!((outcome.transmissions, outcome.answers), (0, 2));
    let reply = client.one(&place.member_uri(2, "/status")).unwrap();
    let reply = reply.unsecured(NoSec::Accepted).cached();
    let reply = reply.timeout(PATIENCE).send().await.unwrap();
    assert_eq!(reply.response.payload, b"member 2");
    assert_eq!((reply.from, reply.after), (place.member(2), Duration::ZERO));
    assert!(
        reply
            .cached
            .is_some_and(|age| age >= short && age < PATIENCE)
    );

    // Forgotten, it has to be asked for.
    client.forget_cached().await.unwrap();
    let gone = client.one(&place.member_uri(2, "/status")).unwrap();
    let gone = gone.unsecured(NoSec::Accepted).cached();
    assert!(gone.timeout(short).send().await.is_err());
}

#[tokio::test]
async fn who_the_current_members_are_is_said_by_the_application() {
    let place = Place::new();
    let one = place.status_server(1).build().await.unwrap().spawn();
    let two = place.status_server(2).build().await.unwrap().spawn();
    let client = place.client().build().await.unwrap();
    let call = || {
        let call = client.group(&place.group_uri(1, "/status")).unwrap();
        let caching = Caching {
            alone: true,
            ..Caching::default()
        };
        call.unsecured(NoSec::Accepted)
            .expect_current()
            .caching(caching)
    };
    let members = |all: core::ops::RangeInclusive<u8>| {
        let member = |n: u8| Member::named(format!("m{n}")).at(place.member(n));
        StaticMembers::new().group(place.group(1), all.map(member))
    };
    client.set_membership_oracle(members(1..=2)).await.unwrap();
    let outcome = call().send().await.unwrap().finish().await.unwrap();
    assert_eq!(outcome.ended_by, EndedBy::AllExpected);
    assert_eq!((outcome.transmissions, outcome.answers), (1, 2));
    let outcome = call().send().await.unwrap().finish().await.unwrap();
    assert_eq!((outcome.transmissions, outcome.answers), (0, 2));
    // A third one has joined, of which nothing is known.
    client.set_membership_oracle(members(1..=3)).await.unwrap();
    let short = Duration::from_millis(300);
    let asked = call().collect_for(short).send().await.unwrap();
    let outcome = asked.finish().await.unwrap();
    assert_eq!(outcome.transmissions, 1);
    let missing: Vec<_> = outcome.missing().map(|(name, _)| name).collect();
    assert_eq!(missing, ["m3"]);
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn the_builder_limits_what_is_kept() {
    let place = Place::new();
    let _one = place.status_server(1).build().await.unwrap().spawn();
    let none = CacheConfig {
        entries: 0,
        ..CacheConfig::default()
    };
    let client = place.client().cache(none).build().await.unwrap();
    for _ in 0..2 {
        let call = client.one(&place.member_uri(1, "/status")).unwrap();
        let call = call.unsecured(NoSec::Accepted).cached().timeout(PATIENCE);
        let reply = call.send().await.unwrap();
        assert_eq!(
            (reply.response.payload, reply.cached),
            (b"member 1".to_vec(), None)
        );
    }
}
