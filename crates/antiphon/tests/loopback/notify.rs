//! Resources that are observed.

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::sync::Arc;

use antiphon::{
    Access, AsyncResource, Code, ContentFormat, GroupPolicy, Membership, NoSec, Observation,
    ObservationEvent, Observing, Resource, Response,
};
use tokio::time::timeout;

use crate::place::{PATIENCE, Place};

/// A resource that shows a number, also to groups.
fn counting(value: &Arc<AtomicU32>) -> Resource {
    let value = Arc::clone(value);
    Resource::at("/count")
        .get(move |_, response| {
            let text = value.load(Ordering::SeqCst).to_string();
            response.set_payload(ContentFormat::TEXT, text.as_bytes());
        })
        .access(Access::Unsecured)
        .group_policy(GroupPolicy::silent())
        .observable()
}

/// What the next notification says.
async fn told(observation: &mut Observation) -> String {
    let next = async {
        while let Some(event) = observation.next().await {
            if let ObservationEvent::Notification(note) = event {
                return String::from_utf8(note.response.payload).unwrap();
            }
        }
        panic!("it is over");
    };
    timeout(PATIENCE, next).await.expect("in time")
}

/// Notifications until one says this.
async fn told_in_the_end(observation: &mut Observation, last: &str) {
    while told(observation).await != last {}
}

#[tokio::test]
async fn an_observer_is_notified_from_another_thread_and_deregisters_when_it_is_dropped() {
    let place = Place::new();
    let value = Arc::new(AtomicU32::new(1));
    let server = place
        .server(1)
        .resource(counting(&value))
        .build()
        .await
        .unwrap();
    let count = server.resource("/count").unwrap();
    assert_eq!(server.resources()[0].id(), count.id());
    assert!(server.resource("/other").is_none());
    let running = server.spawn();
    let client = place.client().build().await.unwrap();
    let mut observation = client
        .one(&place.member_uri(1, "/count"))
        .unwrap()
        .get()
        .unsecured(NoSec::Accepted)
        .observe(Observing::new())
        .await
        .unwrap();
    assert_eq!(told(&mut observation).await, "1");
    assert_eq!(count.observers().await.unwrap(), 1);
    let (from_afar, state) = (count.clone(), Arc::clone(&value));
    std::thread::spawn(move || {
        for n in 2..=50 {
            state.store(n, Ordering::SeqCst);
            from_afar.notify().unwrap();
        }
    })
    .join()
    .unwrap();
    told_in_the_end(&mut observation, "50").await;
    drop(observation);
    timeout(PATIENCE, async {
        while count.observers().await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("it has deregistered");
    let counted = running.handle.counters().await.unwrap();
    assert_eq!(counted.endpoint.observers.deregistered, 1);
    running.stop().await;
    assert!(count.notify().is_err());
}

#[tokio::test]
async fn members_of_a_group_notify_of_their_own_changes_and_of_a_put() {
    let place = Place::new();
    let mut servers = Vec::new();
    let mut values = Vec::new();
    for n in 1..=2 {
        let value = Arc::new(AtomicU32::new(u32::from(n) * 10));
        let put = Arc::clone(&value);
        let resource = counting(&value).put(move |request, _| {
            put.store(u32::from(request.payload()[0]), Ordering::SeqCst);
        });
        let server = place
            .server(n)
            .join(Membership::new(place.group(1)).unsecured())
            .resource(resource);
        servers.push(server.build().await.unwrap().spawn());
        values.push(value);
    }
    let client = place.client().build().await.unwrap();
    let mut observation = client
        .group(&place.group_uri(1, "/count"))
        .unwrap()
        .get()
        .unsecured(NoSec::Accepted)
        .expect(place.expected(1..=2))
        .observe(Observing::new())
        .await
        .unwrap();
    let mut first = [told(&mut observation).await, told(&mut observation).await];
    first.sort();
    assert_eq!(first, ["10", "20"]);
    let reply = client
        .one(&place.member_uri(2, "/count"))
        .unwrap()
        .put(ContentFormat::OCTETS, [99])
        .unsecured(NoSec::Accepted)
        .send()
        .await
        .unwrap();
    assert_eq!(reply.response.code, Code::CHANGED);
    assert_eq!(told(&mut observation).await, "99");
    for server in servers {
        server.stop().await;
    }
}

#[tokio::test]
async fn an_async_handler_makes_notifications_too() {
    let place = Place::new();
    let value = Arc::new(AtomicU32::new(7));
    let state = Arc::clone(&value);
    let resource = Resource::at("/slow")
        .access(Access::Unsecured)
        .observable()
        .get_async(move |_| {
            let state = Arc::clone(&state);
            async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                let text = state.load(Ordering::SeqCst).to_string();
                Response::new(Code::CONTENT).with_payload(ContentFormat::TEXT, text.as_bytes())
            }
        });
    let server = place.server(1).resource(resource).build().await.unwrap();
    let slow = server.resource("slow").unwrap();
    let running = server.spawn();
    let client = place.client().build().await.unwrap();
    let mut observation = client
        .one(&place.member_uri(1, "/slow"))
        .unwrap()
        .get()
        .unsecured(NoSec::Accepted)
        .observe(Observing::new())
        .await
        .unwrap();
    assert_eq!(told(&mut observation).await, "7");
    value.store(8, Ordering::SeqCst);
    running.handle.resource(slow.id()).notify().unwrap();
    assert_eq!(told(&mut observation).await, "8");
}
