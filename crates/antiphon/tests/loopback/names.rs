//! Host names that stand for groups.

use std::collections::BTreeSet;

use antiphon::error::ResolveError;
use antiphon::{AskError, Membership, NoResolver, NoSec, StaticResolver};

use crate::place::{PATIENCE, Place, SILENCE, status};

// Covers: GC-2.2.1-03
#[tokio::test]
async fn a_name_leads_to_its_group_and_without_a_resolver_to_an_error() {
    let place = Place::new();
    let table = StaticResolver::new().with("grp.example", [place.group(1).ip()]);
    let uri = format!("coap://grp.example:{}/status", place.port());
    // Server and client resolve the same name; the request says which name was meant.
    let member = Membership::uri(&uri).unwrap().unsecured();
    let server = place.server(1).resolver(table.clone()).join(member);
    let server = server
        .resource(status("named"))
        .build()
        .await
        .unwrap()
        .spawn();
    let client = place.client().resolver(table).build().await.unwrap();
    let call = client.group(&uri).unwrap().unsecured(NoSec::Accepted);
    assert_eq!(call.groups().await.unwrap(), [place.group(1)]);
    let mut answers = call.count(1).collect_for(PATIENCE).send().await.unwrap();
    let answer = answers.answer().await.unwrap();
    assert_eq!(answer.from.peer, place.member(1));
    assert_eq!(
        server.handle.listening().await.unwrap()[0].0,
        place.group(1)
    );

    let lost = place.client().resolver(NoResolver).build().await.unwrap();
    let call = lost.group(&uri).unwrap().unsecured(NoSec::Accepted);
    let error = call.send().await.unwrap_err();
    assert!(
        matches!(&error, AskError::Resolve(ResolveError::Lookup { name, .. }) if name == "grp.example"),
        "{error}"
    );
    assert_eq!(lost.counters().await.unwrap().endpoint.sent, 0);
}

// Covers: GN-2.2.1.1-01
#[tokio::test]
async fn a_name_with_several_addresses_stands_for_several_groups() {
    let place = Place::new();
    let groups = [place.group(1), place.group(2)];
    let table = StaticResolver::new().with("all.example", groups.map(|group| group.ip()));
    let uri = format!("coap://all.example:{}/status", place.port());
    let mut servers = Vec::new();
    for n in [1, 2] {
        let member = Membership::new(place.group(n)).unsecured();
        let server = place.server(n).join(member).name_and_status(n);
        servers.push(server.build().await.unwrap().spawn());
    }
    // A member by name is a member of both groups.
    let member = Membership::uri(&uri).unwrap().unsecured();
    let both = place.server(3).resolver(table.clone()).join(member);
    let both = both.name_and_status(3).build().await.unwrap().spawn();
    let listed: BTreeSet<_> = both
        .handle
        .groups()
        .await
        .unwrap()
        .iter()
        .map(|g| g.address())
        .collect();
    assert_eq!(listed, groups.into());

    let client = place.client().resolver(table).build().await.unwrap();
    let peers = async |only: &[std::net::SocketAddr]| -> BTreeSet<_> {
        let mut call = client.group(&uri).unwrap().unsecured(NoSec::Accepted);
        for group in only {
            call = call.only(*group);
        }
        let mut answers = call.collect_for(SILENCE).send().await.unwrap();
        let mut peers = BTreeSet::new();
        while let Some(answer) = answers.answer().await {
            peers.insert(answer.from.peer);
        }
        peers
    };
    let members = |list: &[u8]| -> BTreeSet<_> { list.iter().map(|n| place.member(*n)).collect() };
    assert_eq!(peers(&[groups[0]]).await, members(&[1, 3]));
    assert_eq!(peers(&[groups[1]]).await, members(&[2, 3]));
    assert_eq!(peers(&[]).await, members(&[1, 2, 3]));

    // The member of both groups has processed the question to both only once.
    let counted = both.handle.counters().await.unwrap();
    assert_eq!(
        (counted.server.handled, counted.endpoint.duplicates),
        (3, 1)
    );

    let elsewhere = client.group(&uri).unwrap().unsecured(NoSec::Accepted);
    let error = elsewhere.only(place.group(9)).send().await.unwrap_err();
    assert!(matches!(error, AskError::OtherGroup(group) if group == place.group(9)));
}

#[tokio::test]
async fn a_name_of_a_single_host_is_no_group() {
    let place = Place::new();
    let table = StaticResolver::new().with("host.example", [place.member(1).ip()]);
    let client = place.client().resolver(table).build().await.unwrap();
    let uri = format!("coap://host.example:{}/status", place.port());
    let call = client.group(&uri).unwrap().unsecured(NoSec::Accepted);
    let error = call.send().await.unwrap_err();
    assert!(matches!(
        error,
        AskError::Resolve(ResolveError::NotAGroup { .. })
    ));
    // Asked as the host that it is, it answers.
    let _server = place.status_server(1).build().await.unwrap().spawn();
    let one = client.one(&uri).unwrap().unsecured(NoSec::Accepted);
    assert_eq!(one.send().await.unwrap().from, place.member(1));
}

#[tokio::test]
async fn of_the_addresses_of_a_peer_the_first_that_can_be_reached_is_asked() {
    let place = Place::new();
    let _server = place.status_server(1).build().await.unwrap().spawn();
    // This client has no IPv6 socket.
    let both = ["::1".parse().unwrap(), place.member(1).ip()];
    let table = StaticResolver::new().with("dual.example", both);
    let client = place.client().resolver(table).build().await.unwrap();
    let uri = format!("coap://dual.example:{}/status", place.port());
    let one = client.one(&uri).unwrap().unsecured(NoSec::Accepted);
    assert_eq!(one.send().await.unwrap().from, place.member(1));
}

trait NameAndStatus {
    fn name_and_status(self, n: u8) -> Self;
}

impl NameAndStatus for antiphon::ServerBuilder {
    fn name_and_status(self, n: u8) -> Self {
        self.resource(status(&format!("member {n}")))
    }
}
