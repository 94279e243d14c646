//! Bodies in blocks with each of the other implementations, in both directions, and the bodies of a group.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use antiphon_tests::{Lab, Peer, Process, ours, scratch};
use serde_json::Value;

const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 1, 187));

/// A body of 5,000 bytes that is nobody else's: no two blocks of it, and no two bodies, are alike.
fn body(of: &str) -> String {
    let lines = (0..).map(|n| format!("{of}:{n:04}."));
    let mut text: String = lines.take(1_000).collect();
    text.truncate(5_000);
    text
}

/// A file with a body; it vanishes with this.
struct BodyFile(PathBuf);

impl BodyFile {
    fn of(text: &str) -> Self {
        let file = scratch("body");
        fs::write(&file, text).expect("the temporary folder can be written");
        Self(file)
    }

    fn name(&self) -> String {
        self.0.to_string_lossy().into_owned()
    }
}

impl Drop for BodyFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Datagrams at host 1 that are longer than a block of `size` bytes and what belongs to it, or in fragments.
fn oversized(lab: &Lab, size: usize) -> Process {
    let longest = 20 + 8 + 4 + 8 + 60 + size;
    let filter = format!(
        "udp and (greater {} or ip[6:2] & 0x3fff != 0)",
        longest + 14
    );
    lab.capture(1, &filter)
}

fn is_silent(mut capture: Process) {
    // What it has seen it has told when the answer of the last exchange was there; it only has to be read.
    std::thread::sleep(std::time::Duration::from_millis(100));
    let lines = capture.lines_so_far();
    let seen: Vec<_> = lines.iter().filter(|line| line.contains(" > ")).collect();
    assert!(seen.is_empty(), "longer than a block: {seen:?}");
}

/// Ours writes a peer's resource, in blocks of this size. Is it changed?
fn is_written(lab: &Lab, uri: &str, size: &str, text: &str) -> bool {
    let file = BodyFile::of(text);
    let words = ["put", uri, "--payload-file", &file.name(), "-u", "-t", "3s"];
    let (code, _) = ours::ask_one(lab, 1, &[&words[..], &["--block-size", size]].concat());
    assert!(["2.01", "2.04", ""].contains(&code.as_str()), "{code}");
    !code.is_empty()
}

/// Ours writes a peer's resource in blocks, and reads it.
fn we_transfer(peer: Peer) {
    let lab = Lab::up(2);
    let _server = peer.serve(&lab, 2, GROUP);
    let uri = format!("coap://{}/blob", lab.ipv4(2));
    for size in [1_024, 256] {
        let sent = body(&format!("{}-{size}", peer.name()));
        let watch = oversized(&lab, size);
        let number = size.to_string();
        if peer == Peer::NodeCoap {
            // It takes blocks with other tokens for other bodies, and fails on the last one.
            assert!(!is_written(&lab, &uri, &number, &sent));
            drop(watch);
            let file = BodyFile::of(&sent);
            let own = peer.put_file(&lab, 1, &uri, &file.0);
            assert_eq!(own.expect("an answer").code, "2.04");
        } else {
            assert!(is_written(&lab, &uri, &number, &sent));
            is_silent(watch);
        }
        let watch = oversized(&lab, size);
        let words = ["get", &uri, "-u", "-t", "15s", "--block-size", &number];
        let asked = ours::ask(&lab, 1, &words);
        let read = asked.answers().map(ours::text_of).collect::<Vec<_>>();
        assert_eq!(read, [sent], "{size}");
        is_silent(watch);
    }
}

/// A member of ours with room for a body.
const MEMBER: &str = r#"
[server]
listen = ["0.0.0.0:5683"]
interfaces = ["eth0"]
leisure = "300ms"
unsecured = true

[[resource]]
path = "/blob"
value = ""
writable = true
access = "unsecured"
on-group = "respond"
"#;

/// A peer's client writes ours in blocks, and reads it.
fn they_transfer(peer: Peer) {
    let lab = Lab::up(2);
    let _server = ours::serve(&lab, 2, MEMBER);
    let uri = format!("coap://{}/blob", lab.ipv4(2));
    let sent = body(peer.name());
    let file = BodyFile::of(&sent);
    let watch = oversized(&lab, 1_024);
    let wrote = peer.put_file(&lab, 1, &uri, &file.0);
    assert_eq!(wrote.expect("an answer").code, "2.04");
    assert_eq!(peer.get_body(&lab, 1, &uri).expect("an answer"), sent);
    is_silent(watch);
    // And ours reads what was written.
    let asked = ours::ask(&lab, 1, &["get", &uri, "-u"]);
    let read = asked.answers().map(ours::text_of).collect::<Vec<_>>();
    assert_eq!(read, [sent]);
}

#[test]
fn libcoap_and_ours_exchange_bodies_in_blocks() {
    we_transfer(Peer::Libcoap);
    they_transfer(Peer::Libcoap);
}

#[test]
fn aiocoap_and_ours_exchange_bodies_in_blocks() {
    we_transfer(Peer::Aiocoap);
    they_transfer(Peer::Aiocoap);
}

#[test]
fn node_coap_and_ours_exchange_bodies_in_blocks() {
    we_transfer(Peer::NodeCoap);
    they_transfer(Peer::NodeCoap);
}

#[test]
fn coap_rs_and_ours_exchange_bodies_in_blocks() {
    we_transfer(Peer::CoapRs);
    they_transfer(Peer::CoapRs);
}

/// Each of the other implementations, and ours, has a body of its own; one request to the group brings all of them.
#[test]
fn one_request_to_a_group_brings_the_whole_bodies_of_all_implementations() {
    let lab = Lab::up(6);
    let mut members: Vec<(u8, &str, Process)> = (2..)
        .zip(Peer::ALL)
        .map(|(host, peer)| (host, peer.name(), peer.serve(&lab, host, GROUP)))
        .collect();
    members.push((6, "ours", ours::serve(&lab, 6, MEMBER)));
    let words = [
        "get",
        "coap://224.0.1.187/blob",
        "-u",
        "-i",
        "eth0",
        "-t",
        "8s",
    ];
    let mut words = words.map(str::to_owned).to_vec();
    let mut sent = BTreeMap::new();
    for (host, name, _) in &members {
        let text = body(name);
        let file = BodyFile::of(&text);
        let uri = format!("coap://{}/blob", lab.ipv4(*host));
        let filled = match name {
            // Which takes no body of ours.
            &"node-coap" => Peer::NodeCoap.put_file(&lab, 1, &uri, &file.0).is_some(),
            _ => is_written(&lab, &uri, "1024", &text),
        };
        assert!(filled, "{name}");
        words.extend(["--expect".to_owned(), format!("{name}={}", lab.ipv4(*host))]);
        sent.insert((*name).to_owned(), text);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let watch = oversized(&lab, 1_024);
    let asked = ours::ask(&lab, 1, &words);
    assert!(asked.success, "nobody is missing: {}", asked.outcome());
    let name = |answer: &Value| answer["member"].as_str().expect("known").to_owned();
    let bodies = asked
        .answers()
        .map(|answer| (name(answer), ours::text_of(answer)));
    assert_eq!(bodies.collect::<BTreeMap<_, _>>(), sent);
    assert!(asked.answers().all(|answer| answer["how"] == "multicast"));
    is_silent(watch);
}
