//! Groups that a server joins, leaves and moves while it runs.

use core::net::SocketAddr;

use antiphon::{BuildError, ChangeError, Client, CoapGroupId, Membership, NoSec};

use crate::place::{Place, SILENCE, status};

/// How many answer when this group is asked.
async fn answers(client: &Client, group: SocketAddr) -> usize {
    let collection = client
        .group(&format!("coap://{group}/status"))
        .unwrap()
        .unsecured(NoSec::Accepted)
        .collect_for(SILENCE)
        .send()
        .await
        .unwrap();
    collection.finish().await.unwrap().servers()
}

/// A client that asks as often as it likes.
async fn impatient(place: &Place) -> Client {
    let mut transmission = antiphon::Transmission::default();
    transmission.set_probing_rate(1_000_000).unwrap();
    place
        .client()
        .transmission(transmission)
        .build()
        .await
        .unwrap()
}

fn at(group: SocketAddr) -> Membership {
    Membership::new(group).unsecured()
}

// Covers: GC-2.1.1-01
#[tokio::test]
async fn a_group_is_one_address_and_one_port() {
    let place = Place::new();
    let other = Place::new();
    let (p, q) = (
        place.group(1),
        SocketAddr::new(place.group(1).ip(), other.port()),
    );
    let client = impatient(&place).await;
    let first = place.server(1).join(at(p)).resource(status("p"));
    let second = place.server(2).join(at(q)).resource(status("q"));
    let first = first.build().await.unwrap().spawn();
    let second = second.build().await.unwrap().spawn();
    for (group, counts) in [(p, [1, 0]), (q, [1, 1])] {
        assert_eq!(answers(&client, group).await, 1, "{group}");
        for (server, expected) in [&first, &second].into_iter().zip(counts) {
            let counted = server.handle.counters().await.unwrap();
            assert_eq!(counted.endpoint.received, expected, "{group}");
        }
    }
}

// Covers: GC-2.1.1-02
#[tokio::test]
async fn a_server_is_in_several_groups_by_address_and_by_port() {
    let place = Place::new();
    let other = Place::new();
    let ports = [place.port(), other.port()];
    let addresses = [place.group(1).ip(), place.group(2).ip()];
    let mut server = place.server(1).resource(status("everywhere"));
    let mut groups = Vec::new();
    for address in addresses {
        for port in ports {
            groups.push(SocketAddr::new(address, port));
        }
    }
    for group in &groups {
        server = server.join(at(*group));
    }
    let server = server.build().await.unwrap().spawn();
    let client = impatient(&place).await;
    for group in &groups {
        assert_eq!(answers(&client, *group).await, 1, "{group}");
    }
    let elsewhere = SocketAddr::new(place.group(3).ip(), place.port());
    assert_eq!(answers(&client, elsewhere).await, 0);
    assert_eq!(server.handle.listening().await.unwrap().len(), 4);
}

// Covers: GC-2.1.1-03
#[tokio::test]
async fn groups_are_joined_and_left_while_the_server_runs() {
    let place = Place::new();
    let server = place.status_server(1).build().await.unwrap().spawn();
    let client = impatient(&place).await;
    let group = place.group(2);
    assert_eq!(answers(&client, group).await, 0);
    let ids: Vec<CoapGroupId> = server.handle.join(at(group).on("lo")).await.unwrap();
    assert_eq!(answers(&client, group).await, 1);
    server.handle.leave(ids[0]).await.unwrap();
    assert_eq!(answers(&client, group).await, 0);
    let again = server.handle.join(at(group)).await.unwrap();
    assert_eq!(answers(&client, group).await, 1);
    server.handle.leave_on(again[0], "lo").await.unwrap();
    assert_eq!(answers(&client, group).await, 0);
    server.handle.join_on(again[0], "lo").await.unwrap();
    assert_eq!(answers(&client, group).await, 1);
    // All the while it was a member of its first group.
    assert_eq!(answers(&client, place.group(1)).await, 1);
}

#[tokio::test]
async fn a_group_moves_under_traffic_and_others_do_not_notice() {
    let place = Place::new();
    let server = place.status_server(1).build().await.unwrap().spawn();
    let client = impatient(&place).await;
    let moving = server.handle.join(at(place.group(2))).await.unwrap()[0];
    let steady = {
        let client = impatient(&place).await;
        let group = place.group(1);
        tokio::spawn(async move {
            let mut all = Vec::new();
            for _ in 0..4 {
                all.push(answers(&client, group).await);
            }
            all
        })
    };
    server.handle.move_to(moving, place.group(3)).await.unwrap();
    assert_eq!(answers(&client, place.group(2)).await, 0);
    assert_eq!(answers(&client, place.group(3)).await, 1);
    let split = place.group(4);
    let lo = antiphon::interfaces::resolve("lo").unwrap().index;
    let apart = server
        .handle
        .change(move |memberships| memberships.split(moving, split, &[lo]))
        .await
        .unwrap();
    assert_eq!(answers(&client, split).await, 1);
    server
        .handle
        .change(move |memberships| memberships.merge(apart, moving))
        .await
        .unwrap();
    assert_eq!(answers(&client, place.group(3)).await, 1);
    assert_eq!(answers(&client, split).await, 0);
    assert_eq!(steady.await.unwrap(), [1; 4]);
}

#[tokio::test]
async fn more_groups_than_one_socket_takes_are_all_heard() {
    let place = Place::new();
    let mut server = place.server(1).resource(status("many"));
    for n in 1..=40 {
        server = server.join(at(place.group(n)));
    }
    let server = server.build().await.unwrap().spawn();
    assert_eq!(server.handle.listening().await.unwrap().len(), 40);
    let client = impatient(&place).await;
    for n in [1, 20, 21, 40] {
        assert_eq!(answers(&client, place.group(n)).await, 1, "group {n}");
    }
}

// Covers: GC-3.8.2-01
#[tokio::test]
async fn all_coap_nodes_is_joined_in_ipv4_and_a_join_that_cannot_be_is_an_error() {
    let place = Place::new();
    // A server with nothing but an IPv4 address; the port is its own, so that no other server is met.
    let nodes = SocketAddr::new(antiphon::wire::ALL_COAP_NODES_V4.into(), place.port());
    let server = place.server(1).join(at(nodes)).resource(status("v4"));
    let server = server.build().await.unwrap().spawn();
    let client = impatient(&place).await;
    assert_eq!(answers(&client, nodes).await, 1);

    // An interface that carries no multicast, because there is none: building and changing both fail.
    let nowhere = Membership::new(place.group(2)).unsecured().on("4000000000");
    let built = place.server(2).join(nowhere.clone()).build().await;
    assert!(matches!(built.err(), Some(BuildError::Interface(_))));
    let error = server.handle.join(nowhere).await.unwrap_err();
    assert!(matches!(error, ChangeError::Interface(_)));
    // The system's own refusal is told as well.
    let group = server.handle.join(at(place.group(3))).await.unwrap()[0];
    let error = server
        .handle
        .change(move |memberships| memberships.join(group, 4_000_000))
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        ChangeError::Join {
            interface: 4_000_000,
            ..
        }
    ));
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_when_the_server_is_built() {
    let place = Place::new();
    let none = antiphon::Server::builder().build().await;
    assert!(matches!(none.err(), Some(BuildError::NoUnicastAddress)));
    let v6 = at("[ff05::fd]:5683".parse().unwrap()).on("lo");
    let unanswerable = place.server(1).join(v6).build().await;
    assert!(matches!(
        unanswerable.err(),
        Some(BuildError::NoUnicastFor(_))
    ));
    let unicast = place.server(1).join(at(place.member(7))).build().await;
    assert!(matches!(unicast.err(), Some(BuildError::Membership { .. })));
    let twice = place.server(1).resource(status("a")).resource(status("b"));
    assert!(matches!(
        twice.build().await.err(),
        Some(BuildError::Resource { .. })
    ));
    let taken = place.server(1).build().await.unwrap();
    let again = place.server(1).build().await;
    assert!(matches!(again.err(), Some(BuildError::Bind { .. })));
    drop(taken);
    drop(place.server(1).build().await.unwrap());
}
