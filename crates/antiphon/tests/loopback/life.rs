//! How clients and servers begin and end.

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use antiphon::{
    Access, Asked, AsyncResource, Closed, Code, CollectionEvent, EndedBy, GroupPolicy, Membership,
    NoSec, OneError, Resource, Response,
};
use tokio::time::timeout;

use crate::place::{PATIENCE, Place, quick, status};

fn alive() -> usize {
    tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks()
}

/// Waits until as many tasks are left, and no longer than anyone would.
async fn until_tasks(count: usize) {
    let patience = async {
        while alive() != count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = timeout(PATIENCE, patience).await;
    assert!(waited.is_ok(), "{} tasks are left, not {count}", alive());
}

#[tokio::test]
async fn the_task_of_a_client_ends_when_the_last_clone_is_dropped() {
    let place = Place::new();
    let before = alive();
    let client = place.client().build().await.unwrap();
    let clone = client.clone();
    let mut answers = client
        .group(&place.group_uri(1, "/x"))
        .unwrap()
        .unsecured(NoSec::Accepted)
        .collect_for(PATIENCE)
        .send()
        .await
        .unwrap();
    drop(client);
    assert_eq!(alive(), before + 1);
    assert!(answers.outcome().is_none());
    drop(clone);
    until_tasks(before).await;
    // The collection ended with its outcome.
    assert!(answers.next().await.is_none());
    let outcome = answers.finish().await.unwrap();
    assert_eq!(outcome.ended_by, EndedBy::Closed);
}

#[tokio::test]
async fn a_client_that_is_closed_ends_what_it_has_under_way() {
    let place = Place::new();
    let before = alive();
    let client = place.client().build().await.unwrap();
    let answers = client
        .group(&place.group_uri(1, "/x"))
        .unwrap()
        .unsecured(NoSec::Accepted)
        .collect_for(PATIENCE)
        .send()
        .await
        .unwrap();
    let silent = format!("coap://{}/x", place.keeper().local_addr().unwrap());
    let request = tokio::spawn({
        let call = client.one(&silent).unwrap().unsecured(NoSec::Accepted);
        async move { call.send().await }
    });
    while client.counters().await.unwrap().load.exchanges == 0 {
        tokio::task::yield_now().await;
    }
    client.close().await;
    assert_eq!(answers.finish().await.unwrap().ended_by, EndedBy::Closed);
    let error = request.await.unwrap().unwrap_err();
    assert!(matches!(error, OneError::Closed(Closed)), "{error}");
    until_tasks(before).await;
    assert_eq!(client.counters().await.unwrap_err(), Closed);
    let later = client.group(&place.group_uri(1, "/x")).unwrap();
    let error = later.unsecured(NoSec::Accepted).send().await.unwrap_err();
    assert!(matches!(error, antiphon::AskError::Closed(Closed)));
}

#[tokio::test]
async fn a_collection_that_is_dropped_is_closed_and_makes_room_for_the_next() {
    let place = Place::new();
    let client = place.client().build().await.unwrap();
    let ask = || {
        let call = client.group(&place.group_uri(1, "/x")).unwrap();
        call.unsecured(NoSec::Accepted).collect_for(PATIENCE).send()
    };
    let first = ask().await.unwrap();
    let mut second = ask().await.unwrap();
    assert!(matches!(
        second.next().await,
        Some(CollectionEvent::Held(..))
    ));
    assert_eq!(client.status().await.unwrap().len(), 2);
    drop(first);
    let left = client.status().await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].0, second.id());
}

#[tokio::test]
async fn a_future_that_is_dropped_asks_nothing() {
    let place = Place::new();
    let client = place.client().build().await.unwrap();
    let call = client.group(&place.group_uri(1, "/x")).unwrap();
    drop(call.unsecured(NoSec::Accepted).send());
    let silent = format!("coap://{}/x", place.keeper().local_addr().unwrap());
    let one = client.one(&silent).unwrap().unsecured(NoSec::Accepted);
    let given_up = timeout(Duration::from_millis(30), one.send()).await;
    assert!(given_up.is_err());
    let counted = client.counters().await.unwrap();
    assert_eq!(client.status().await.unwrap(), []);
    assert_eq!(counted.load.exchanges, 0);
}

#[tokio::test]
async fn a_server_that_stops_leaves_its_groups_and_no_task_behind() {
    let place = Place::new();
    let before = alive();
    let server = place.status_server(1).build().await.unwrap().spawn();
    let handle = server.handle.clone();
    assert_eq!(handle.listening().await.unwrap().len(), 1);
    assert!(joined(&place));
    server.stop().await;
    assert_eq!(alive(), before);
    assert!(!joined(&place));
    assert_eq!(handle.counters().await.unwrap_err(), Closed);
    // The address is free again.
    drop(place.status_server(1).build().await.unwrap());
}

/// Whether the loopback interface is a member of the first group of this place, as the kernel has it.
fn joined(place: &Place) -> bool {
    let std::net::IpAddr::V4(group) = place.group(1).ip() else {
        panic!("not IPv4")
    };
    // The kernel writes the address as a number in the byte order of the machine.
    let wanted = format!("{:08X}", u32::from_ne_bytes(group.octets()));
    std::fs::read_to_string("/proc/net/igmp")
        .unwrap()
        .lines()
        .any(|line| line.trim_start().starts_with(&wanted))
}

#[tokio::test]
async fn a_server_that_is_dropped_without_running_leaves_nothing() {
    let place = Place::new();
    let server = place.status_server(1).build().await.unwrap();
    assert!(joined(&place));
    let before = alive();
    drop(server);
    assert!(!joined(&place));
    let running = place.status_server(1).build().await.unwrap().spawn();
    drop(running);
    until_tasks(before).await;
    assert!(!joined(&place));
}

#[tokio::test]
async fn what_is_under_way_is_finished_before_a_server_ends() {
    let place = Place::new();
    let done = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&done);
    let slow = Resource::at("/slow")
        .access(Access::Unsecured)
        .get_async(move |_: Asked| {
            let done = Arc::clone(&counted);
            async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                done.fetch_add(1, Ordering::SeqCst);
                Response::new(Code::CONTENT)
            }
        });
    let server = place
        .server(1)
        .resource(slow)
        .build()
        .await
        .unwrap()
        .spawn();
    let client = place.client().build().await.unwrap();
    let call = client.one(&place.member_uri(1, "/slow")).unwrap();
    let asked = tokio::spawn(call.unsecured(NoSec::Accepted).send());
    while server.handle.counters().await.unwrap().load.incoming == 0 {
        tokio::task::yield_now().await;
    }
    // While it waits for that, it begins nothing new.
    let own = server.client();
    let stopping = tokio::spawn(server.stop());
    tokio::time::sleep(Duration::from_millis(20)).await;
    let late = own.group(&place.group_uri(1, "/x")).unwrap();
    let late = late.unsecured(NoSec::Accepted).send().await;
    assert!(matches!(late, Err(antiphon::AskError::Closed(Closed))));
    let late = own.one(&place.member_uri(2, "/x")).unwrap();
    let late = late.unsecured(NoSec::Accepted).send().await;
    assert!(matches!(late, Err(OneError::Closed(Closed))));
    stopping.await.unwrap();
    assert_eq!(done.load(Ordering::SeqCst), 1);
    assert_eq!(asked.await.unwrap().unwrap().response.code, Code::CONTENT);
}

#[tokio::test]
async fn a_handler_that_never_ends_does_not_keep_a_server_from_ending() {
    let place = Place::new();
    let before = alive();
    let stuck = Resource::at("/stuck")
        .access(Access::Unsecured)
        .get_async(|_: Asked| core::future::pending::<Response>());
    let driver = antiphon::DriverConfig {
        drain: Duration::from_millis(50),
        ..Default::default()
    };
    let server = place.server(1).driver(driver).resource(stuck);
    let server = server.build().await.unwrap().spawn();
    let client = place.client().build().await.unwrap();
    let call = client.one(&place.member_uri(1, "/stuck")).unwrap();
    let limit = call
        .unsecured(NoSec::Accepted)
        .timeout(Duration::from_secs(1));
    let asked = tokio::spawn(limit.send());
    while server.handle.counters().await.unwrap().load.incoming == 0 {
        tokio::task::yield_now().await;
    }
    let started = Instant::now();
    server.stop().await;
    assert!(started.elapsed() >= Duration::from_millis(50));
    assert!(started.elapsed() < Duration::from_secs(5));
    asked.abort();
    drop(client);
    until_tasks(before).await;
}

#[test]
fn a_server_runs_on_a_runtime_with_a_single_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let place = Place::new();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let address = place.member(1);
    let server = runtime
        .block_on(place.server(1).resource(status("single")).build())
        .unwrap();
    let asking = std::thread::spawn(move || {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = [0; 64];
        // GET /status, Non-confirmable, a hundred times with Message IDs of their own.
        for mid in 0..100u8 {
            let ask = [0x50, 0x01, 0, mid, 0xb6, b's', b't', b'a', b't', b'u', b's'];
            socket.send_to(&ask, address).unwrap();
            let (length, source) = socket.recv_from(&mut buffer).unwrap();
            assert_eq!(source, address);
            assert!(buffer[..length].ends_with(b"single"));
        }
        stop.send(()).unwrap();
    });
    runtime.block_on(async {
        let handle = server.handle();
        let run = server.run(async {
            let _ = stopped.await;
        });
        let watch = async {
            // Other tasks have their turn, although there is only one thread.
            while let Ok(counted) = handle.counters().await {
                assert!(counted.endpoint.received <= 100);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::join!(run, watch);
    });
    asking.join().unwrap();
}

#[tokio::test]
async fn the_events_of_a_collection_that_nobody_fetches_are_bounded_and_its_outcome_is_whole() {
    let place = Place::new();
    let mut servers = Vec::new();
    for n in 1..=6 {
        servers.push(place.status_server(n).build().await.unwrap().spawn());
    }
    let driver = antiphon::DriverConfig {
        events: 2,
        ..Default::default()
    };
    let client = place.client().driver(driver).build().await.unwrap();
    let mut answers = client
        .group(&place.group_uri(1, "/status"))
        .unwrap()
        .unsecured(NoSec::Accepted)
        .expect(place.expected(1..=6))
        .collect_for(PATIENCE)
        .send()
        .await
        .unwrap();
    while !client.status().await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut fetched = 0;
    while answers.answer().await.is_some() {
        fetched += 1;
    }
    assert_eq!(fetched, 2);
    assert!(answers.finish().await.unwrap().is_complete());
    assert_eq!(client.counters().await.unwrap().driver.events_dropped, 4);
}

#[tokio::test]
async fn answers_that_come_too_late_are_delivered_when_that_is_wanted() {
    let place = Place::new();
    let sleepy = Resource::at("/sleepy")
        .access(Access::Unsecured)
        .group_policy(GroupPolicy::respond())
        .get_async(|_: Asked| async {
            tokio::time::sleep(Duration::from_millis(150)).await;
            Response::new(Code::CONTENT).with_payload(antiphon::ContentFormat::TEXT, b"yawn")
        });
    let server = place
        .server(1)
        .endpoint(quick())
        .join(Membership::new(place.group(1)).unsecured())
        .resource(sleepy);
    let _server = server.build().await.unwrap().spawn();
    let client = place.client().build().await.unwrap();
    let mut answers = client
        .group(&place.group_uri(1, "/sleepy"))
        .unwrap()
        .unsecured(NoSec::Accepted)
        .expect(place.expected([1]))
        .collect_for(Duration::from_millis(50))
        .late(Duration::from_millis(500))
        .send()
        .await
        .unwrap();
    let Some(CollectionEvent::LateAnswer(answer)) = answers.next().await else {
        panic!("no late answer")
    };
    assert_eq!(answer.response.payload, b"yawn");
    assert_eq!(answers.outcome().unwrap().missing().count(), 1);
    let outcome = answers.finish().await.unwrap();
    assert_eq!(outcome.late().collect::<Vec<_>>(), ["m1"]);
}

#[tokio::test]
async fn an_answer_that_waits_for_its_leisure_is_sent_before_the_server_ends() {
    let place = Place::new();
    let before = alive();
    let mut config = quick();
    config.server.leisure = Some(antiphon::Leisure::Fixed(Duration::from_millis(400)));
    let server = place.status_server(1).endpoint(config).build().await;
    let server = server.unwrap().spawn();
    let client = place.client().build().await.unwrap();
    let mut answers = client
        .group(&place.group_uri(1, "/status"))
        .unwrap()
        .unsecured(NoSec::Accepted)
        .expect(place.expected([1]))
        .collect_for(PATIENCE)
        .send()
        .await
        .unwrap();
    while server.handle.counters().await.unwrap().server.handled == 0 {
        tokio::task::yield_now().await;
    }
    server.handle.stop().await;
    assert_eq!(alive(), before + 1);
    assert_eq!(answers.answer().await.unwrap().from.peer, place.member(1));
    assert!(answers.finish().await.unwrap().is_complete());
}

#[tokio::test]
async fn pace_and_parameters_change_while_a_client_runs() {
    let place = Place::new();
    let client = place.client().build().await.unwrap();
    let ask = || {
        let call = client.group(&place.group_uri(1, "/x")).unwrap();
        call.unsecured(NoSec::Accepted).collect_for(PATIENCE).send()
    };
    let sent = async || client.counters().await.unwrap().endpoint.sent;
    let _first = ask().await.unwrap();
    let _second = ask().await.unwrap();
    assert_eq!(sent().await, 1);
    let mut transmission = antiphon::Transmission::default();
    transmission.set_nstart(2).unwrap();
    client.set_transmission(transmission).await.unwrap();
    assert_eq!(sent().await, 2);
    let _third = ask().await.unwrap();
    assert_eq!(sent().await, 2);
    // This group alone may have three at a time.
    let pacing = antiphon::GroupPacing::new(3, 1_000).unwrap();
    let group = place.group(1);
    client
        .set_pacing(group, Some("lo"), Some(pacing))
        .await
        .unwrap();
    assert_eq!(sent().await, 3);
    let error = client.set_pacing(group, Some("none0"), None).await;
    assert!(matches!(error, Err(antiphon::AskError::Interface(_))));
}
