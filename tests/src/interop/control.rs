//! The peers among themselves. When one of ours fails with a peer, these tell whether the lab or the peer is at fault.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use antiphon_tests::{Answer, Lab, Peer, Process};

const IPV4: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 1, 187));
const SITE: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0xfd));

/// Host 1 is the client's; each server has its own from 2 on.
fn servers(lab: &Lab, group: IpAddr) -> Vec<(u8, Peer, Process)> {
    (2..)
        .zip(Peer::ALL)
        .map(|(host, peer)| (host, peer, peer.serve(lab, host, group)))
        .collect()
}

fn is(answer: Option<Answer>, code: &str, payload: &str) -> bool {
    answer.is_some_and(|answer| answer.code == code && answer.payload == payload)
}

/// Reads, writes, reads back and waits for a separate response, at every server.
fn speaks_with_all(client: Peer) {
    let lab = Lab::up(5);
    for (host, server, _process) in servers(&lab, IPV4) {
        let uri = |path: &str| format!("coap://{}/{path}", lab.ipv4(host));
        let pair = format!("{} asks {}", client.name(), server.name());
        let read = client.get(&lab, 1, &uri(server.readable()));
        assert_eq!(
            read.map(|answer| answer.code).as_deref(),
            Some("2.05"),
            "{pair}"
        );
        let read = client.get_non(&lab, 1, &uri(server.readable()));
        assert_eq!(
            read.map(|answer| answer.code).as_deref(),
            Some("2.05"),
            "{pair}, NON"
        );
        let wrote = client.put(&lab, 1, &uri(server.writable()), client.name());
        assert!(
            wrote
                .as_ref()
                .is_some_and(|answer| ["2.01", "2.04"].contains(&&*answer.code)),
            "{pair}: {wrote:?}"
        );
        let back = client.get(&lab, 1, &uri(server.writable()));
        assert!(
            is(back, "2.05", client.name()),
            "{pair}: what was written is not there"
        );
        let slow = client.get(&lab, 1, &uri(server.slow()));
        assert!(
            is(slow, "2.05", server.slow_payload()),
            "{pair}: no separate response"
        );
    }
}

/// Everybody who answers discovery in a group, by address.
fn hears(client: Peer, group: IpAddr, seconds: u8) -> (BTreeSet<String>, BTreeSet<String>) {
    let lab = Lab::up(5);
    let servers = servers(&lab, group);
    let (uri, expected): (_, BTreeSet<String>) = match group {
        IpAddr::V4(group) => (
            format!("coap://{group}/.well-known/core"),
            servers.iter().map(|s| lab.ipv4(s.0)).collect(),
        ),
        IpAddr::V6(group) => (
            format!("coap://[{group}]/.well-known/core"),
            servers.iter().map(|s| lab.ipv6(s.0)).collect(),
        ),
    };
    let answers = client.collect(&lab, 1, &uri, seconds);
    (
        answers.into_iter().map(|answer| answer.from).collect(),
        expected,
    )
}

#[test]
fn libcoap_speaks_with_all() {
    speaks_with_all(Peer::Libcoap);
}

#[test]
fn aiocoap_speaks_with_all() {
    speaks_with_all(Peer::Aiocoap);
}

#[test]
fn node_coap_speaks_with_all() {
    speaks_with_all(Peer::NodeCoap);
}

#[test]
fn coap_rs_speaks_with_all() {
    speaks_with_all(Peer::CoapRs);
}

/// libcoap's server answers after a leisure of up to five seconds; the clients wait side by side.
fn all_hear(group: IpAddr) {
    std::thread::scope(|scope| {
        let [libcoap, aiocoap, node_coap, coap_rs] =
            Peer::ALL.map(|client| scope.spawn(move || hears(client, group, 6)));
        for full in [libcoap, node_coap, coap_rs] {
            let (heard, expected) = full.join().expect("a client");
            assert_eq!(heard, expected);
        }
        let (heard, expected) = aiocoap.join().expect("a client");
        assert_eq!(heard.len(), 1, "aiocoap delivers the first answer only");
        assert!(heard.is_subset(&expected));
    });
}

#[test]
fn three_clients_hear_the_whole_ipv4_group_and_aiocoap_hears_one() {
    all_hear(IPV4);
}

#[test]
fn three_clients_hear_the_whole_ipv6_group_at_site_scope_and_aiocoap_hears_one() {
    all_hear(SITE);
}
