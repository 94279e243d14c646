//! Ours with each of the other implementations, in both directions, and all of them in one group.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use antiphon_tests::{Lab, Peer, Process, ours};

const IPV4: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 1, 187));
const SITE: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0xfd));

/// Ours asks a peer's server: GET confirmable and not, PUT and what it left, a separate response.
fn we_ask(peer: Peer) {
    let lab = Lab::up(2);
    let _server = peer.serve(&lab, 2, IPV4);
    let uri = |path: &str| format!("coap://{}/{path}", lab.ipv4(2));
    let ask = |words: &[&str]| ours::ask_one(&lab, 1, &[words, &["-u", "-t", "15s"]].concat());
    let (code, payload) = ask(&["get", &uri(peer.readable())]);
    assert_eq!(code, "2.05", "CON GET");
    assert!(!payload.is_empty());
    assert_eq!(
        ask(&["get", &uri(peer.readable()), "--non"]).0,
        "2.05",
        "NON GET"
    );
    let (code, _) = ask(&["put", &uri(peer.writable()), "antiphon"]);
    assert!(["2.01", "2.04"].contains(&code.as_str()), "PUT: {code}");
    let read_back = ask(&["get", &uri(peer.writable())]);
    assert_eq!(
        read_back,
        ("2.05".into(), "antiphon".into()),
        "what was written is there"
    );
    let slow = ask(&["get", &uri(peer.slow())]);
    assert_eq!(
        slow,
        ("2.05".into(), peer.slow_payload().into()),
        "a separate response"
    );
}

/// A peer's client asks our server the same.
fn they_ask(peer: Peer) {
    let lab = Lab::up(2);
    let _server = ours::serve(&lab, 2, ours::MEMBER);
    let uri = |path: &str| format!("coap://{}/{path}", lab.ipv4(2));
    let is = |answer: Option<antiphon_tests::Answer>, code: &str, payload: &str| {
        let answer = answer.unwrap_or_else(|| panic!("{} got no answer", peer.name()));
        assert_eq!(
            (answer.code.as_str(), answer.payload.as_str()),
            (code, payload)
        );
    };
    is(peer.get(&lab, 1, &uri("temp")), "2.05", "21.5 C");
    is(peer.get_non(&lab, 1, &uri("temp")), "2.05", "21.5 C");
    is(peer.put(&lab, 1, &uri("light"), peer.name()), "2.04", "");
    is(peer.get(&lab, 1, &uri("light")), "2.05", peer.name());
    is(peer.get(&lab, 1, &uri("slow")), "2.05", "at last");
}

#[test]
fn libcoap_with_ours() {
    we_ask(Peer::Libcoap);
    they_ask(Peer::Libcoap);
}

#[test]
fn aiocoap_with_ours() {
    we_ask(Peer::Aiocoap);
    they_ask(Peer::Aiocoap);
}

#[test]
fn node_coap_with_ours() {
    we_ask(Peer::NodeCoap);
    they_ask(Peer::NodeCoap);
}

#[test]
fn coap_rs_with_ours() {
    we_ask(Peer::CoapRs);
    they_ask(Peer::CoapRs);
}

/// Hosts 2 to 5 run the peers' servers, host 6 ours.
fn everybody(lab: &Lab, group: IpAddr) -> Vec<Process> {
    let mut all: Vec<Process> = (2..)
        .zip(Peer::ALL)
        .map(|(host, peer)| peer.serve(lab, host, group))
        .collect();
    all.push(ours::serve(lab, 6, ours::MEMBER));
    all
}

/// libcoap answers within five seconds at random: a member that is missing after that is missing.
fn we_hear_everybody(group: IpAddr) {
    let lab = Lab::up(6);
    let _members = everybody(&lab, group);
    let (uri, expected): (_, BTreeSet<String>) = match group {
        IpAddr::V4(group) => (
            format!("coap://{group}/.well-known/core"),
            (2..=6).map(|h| lab.ipv4(h)).collect(),
        ),
        IpAddr::V6(group) => (
            format!("coap://[{group}]/.well-known/core"),
            (2..=6).map(|h| lab.ipv6(h)).collect(),
        ),
    };
    let mut words = vec![
        "get".to_owned(),
        uri,
        "-i".into(),
        "eth0".into(),
        "-t".into(),
        "8s".into(),
    ];
    for address in &expected {
        words.extend(["--expect".to_owned(), format!("{address}={address}")]);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let asked = ours::ask(&lab, 1, &words);
    assert_eq!(asked.addresses(), expected, "{:?}", asked.lines);
    assert_eq!(asked.names("answered"), expected);
    assert_eq!(asked.names("missing"), BTreeSet::new());
    assert!(asked.success, "all expected members answered");
}

#[test]
fn we_hear_all_four_and_ourselves_in_one_ipv4_group() {
    we_hear_everybody(IPV4);
}

#[test]
fn we_hear_all_four_and_ourselves_in_one_ipv6_group_at_site_scope() {
    we_hear_everybody(SITE);
}

/// Three members of ours, and a client of theirs.
fn they_hear_us(peer: Peer, group: IpAddr) {
    let lab = Lab::up(4);
    let _members = [2, 3, 4].map(|host| ours::serve(&lab, host, ours::MEMBER));
    let (uri, expected): (_, BTreeSet<String>) = match group {
        IpAddr::V4(group) => (
            format!("coap://{group}/temp"),
            (2..=4).map(|h| lab.ipv4(h)).collect(),
        ),
        IpAddr::V6(group) => (
            format!("coap://[{group}]/temp"),
            (2..=4).map(|h| lab.ipv6(h)).collect(),
        ),
    };
    let answers = peer.collect(&lab, 1, &uri, 3);
    let heard: BTreeSet<String> = answers.iter().map(|a| a.from.clone()).collect();
    let complete = peer != Peer::Aiocoap; // whose client delivers the first answer only
    assert_eq!(
        heard.len(),
        if complete { 3 } else { 1 },
        "{} heard {answers:?}",
        peer.name()
    );
    assert!(heard.is_subset(&expected));
    assert!(
        answers
            .iter()
            .all(|a| (a.code.as_str(), a.payload.as_str()) == ("2.05", "21.5 C"))
    );
}

#[test]
fn their_clients_collect_all_answers_of_ours_by_ipv4() {
    for peer in Peer::ALL {
        they_hear_us(peer, IPV4);
    }
}

#[test]
fn their_clients_collect_all_answers_of_ours_by_ipv6() {
    for peer in Peer::ALL {
        they_hear_us(peer, SITE);
    }
}
