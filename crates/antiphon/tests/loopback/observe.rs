//! Observations from their beginning to their outcome.

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::sync::Arc;

use antiphon::{
    Access, AskError, ContentFormat, GroupPolicy, MemberEnd, Membership, News, NoSec, Observation,
    ObservationEnd, ObserveError, ObservedIndex, ObservedState, Observing, OneError, Resource,
    Running,
};
use tokio::time::timeout;

use crate::place::{LEISURE, PATIENCE, Place};

/// A member of group 1 with a temperature that PUT changes.
async fn thermometer(place: &Place, n: u8) -> Running {
    let value = Arc::new(AtomicU32::new(20 + u32::from(n)));
    let put = Arc::clone(&value);
    let resource = Resource::at("/temperature")
        .access(Access::Unsecured)
        .group_policy(GroupPolicy::respond())
        .observable()
        .get(move |_, response| {
            let text = value.load(Ordering::SeqCst).to_string();
            response.set_payload(ContentFormat::TEXT, text.as_bytes());
        })
        .put(move |request, _| put.store(u32::from(request.payload()[0]), Ordering::SeqCst));
    let server = place
        .server(n)
        .join(Membership::new(place.group(1)).unsecured())
        .resource(resource);
    server.build().await.unwrap().spawn()
}

/// Member, what is new, and text of the next notification.
async fn next(observation: &mut Observation) -> (u32, News, String) {
    let note = timeout(PATIENCE, observation.notification()).await;
    let note = note.expect("in time").expect("it is not over");
    let text = String::from_utf8(note.response.payload).unwrap();
    (note.member.0, note.news, text)
}

fn observing() -> Observing {
    Observing::new().once()
}

#[tokio::test]
async fn a_group_is_observed_one_member_is_left_and_the_outcome_names_all() {
    let place = Place::new();
    let _members = [thermometer(&place, 1).await, thermometer(&place, 2).await];
    let client = place.client().build().await.unwrap();
    let call = client
        .group(&place.group_uri(1, "/temperature"))
        .unwrap()
        .get()
        .unsecured(NoSec::Accepted)
        .expect(place.expected(1..=2))
        .leisure(2 * LEISURE)
        .rtt(Duration::from_millis(100));
    let mut observation = call.observe(observing()).await.unwrap();
    let mut first = [next(&mut observation).await, next(&mut observation).await];
    first.sort_by_key(|(member, ..)| *member);
    assert_eq!(first[0], (0, News::First, "21".into()));
    assert_eq!(first[1], (1, News::First, "22".into()));
    let status = observation.status().await.unwrap().unwrap();
    assert_eq!((status.registrations, status.fresh), (1, 2));
    assert_eq!((status.members, status.ending), (2, false));
    assert_eq!(status.next, None);
    observation.end_of(ObservedIndex(0)).await.unwrap();
    let left = observation.member(ObservedIndex(0)).await.unwrap().unwrap();
    assert_eq!(left.state, ObservedState::Ended(MemberEnd::Deregistered));
    assert_eq!(left.name.as_deref(), Some("m1"));
    let put = |n: u8, value: u8| {
        let call = client.one(&place.member_uri(n, "/temperature")).unwrap();
        call.put(ContentFormat::OCTETS, [value])
            .unsecured(NoSec::Accepted)
            .send()
    };
    put(1, 30).await.unwrap();
    put(2, 31).await.unwrap();
    assert_eq!(
        next(&mut observation).await,
        (1, News::Update, "31".into()),
        "the first says nothing more"
    );
    assert!(observation.outcome().is_none());
    observation.end();
    let outcome = timeout(PATIENCE, observation.finish()).await.unwrap();
    let outcome = outcome.unwrap();
    assert_eq!(outcome.ended_by, ObservationEnd::Deregistered);
    assert_eq!(outcome.notifications, 3);
    for report in outcome.members {
        assert_eq!(report.state, ObservedState::Ended(MemberEnd::Deregistered));
    }
}

#[tokio::test]
async fn what_cannot_be_observed_is_refused() {
    let place = Place::new();
    let client = place.client().build().await.unwrap();
    let group = || client.group(&place.group_uri(1, "/x")).unwrap();
    let one = || client.one(&place.member_uri(1, "/x")).unwrap();
    let refused = group().observe(observing()).await;
    assert!(matches!(refused, Err(AskError::SecurityNotStated)));
    let refused = one().observe(observing()).await;
    assert!(matches!(refused, Err(OneError::SecurityNotStated)));
    let deleting = group().delete().unsecured(NoSec::Accepted);
    let refused = deleting.observe(observing()).await;
    assert!(matches!(
        refused,
        Err(AskError::Observe(ObserveError::NotObservable(_)))
    ));
    let deleting = one().delete().unsecured(NoSec::Accepted);
    let refused = deleting.observe(observing()).await;
    assert!(matches!(
        refused,
        Err(OneError::Observe(ObserveError::NotObservable(_)))
    ));
}

#[tokio::test]
async fn a_client_that_closes_ends_its_observations() {
    let place = Place::new();
    let member = thermometer(&place, 1).await;
    let client = place.client().build().await.unwrap();
    let call = client.one(&place.member_uri(1, "/temperature")).unwrap();
    let call = call.get().unsecured(NoSec::Accepted);
    let mut observation = call.observe(observing()).await.unwrap();
    assert_eq!(next(&mut observation).await.2, "21");
    client.close().await;
    let outcome = timeout(PATIENCE, observation.finish()).await.unwrap();
    // Whether the server's confirmation still comes is not waited for.
    if let Ok(outcome) = outcome {
        assert_eq!(outcome.ended_by, ObservationEnd::Deregistered);
    }
    let deregistered = async {
        loop {
            let counted = member.handle.counters().await.unwrap();
            if counted.endpoint.received >= 2 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, deregistered).await.expect("it was told");
}
