//! The commands that talk: members that `antiphon serve` runs, on the loopback interface and on ports of their own.

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::Value;

use super::program::{
    Folder, Member, antiphon, code, command, err, free_port, lines, of_event, out,
};

/// The line of this event.
fn event<'a>(lines: &'a [Value], name: &str) -> &'a Value {
    let events = of_event(lines, name);
    events
        .first()
        .unwrap_or_else(|| panic!("no {name} in {lines:?}"))
}

/// A folder, addresses and a port that no other test, and no other run of it, uses.
pub(super) struct Place {
    pub(super) folder: Folder,
    net: [u8; 2],
    port: u16,
}

impl Place {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let process = std::process::id();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            folder: Folder::new(&format!("network-{number}")),
            net: [1 + (process % 250) as u8, number],
            port: free_port(),
        }
    }

    pub(super) fn member(&self, i: u8) -> String {
        format!("127.{}.{}.{i}:{}", self.net[0], self.net[1], self.port)
    }

    fn group(&self) -> String {
        format!("239.255.{}.{}:{}", self.net[0], self.net[1], self.port)
    }

    pub(super) fn group_uri(&self, path: &str) -> String {
        format!("coap://{}{path}", self.group())
    }

    /// Serves these resources at address `i`.
    pub(super) fn serve(&self, i: u8, resources: &str) -> Member {
        let config = format!(
            "[server]\nlisten = [\"{}\"]\nunsecured = true\ndiscoverable = \"groups\"\nleisure = \"100ms\"\n\
             [[group]]\naddress = \"{}\"\ninterfaces = [\"127.0.0.1\"]\nunsecured = true\n{resources}",
            self.member(i),
            self.group()
        );
        let member = Member::serve(&self.folder, &format!("member-{i}.toml"), &config);
        assert_eq!(member.serving["addresses"][0], self.member(i));
        member
    }
}

const LIGHT: &str = "[[resource]]\npath = \"/light\"\nrt = [\"light\"]\nvalue = \"off\"\nwritable = true\naccess = \"unsecured\"\non-group = \"respond\"\n";

#[test]
fn a_group_is_asked_and_the_missing_are_named() {
    let place = Place::new();
    let _members = [place.serve(1, LIGHT), place.serve(2, LIGHT)];
    let (one, two, three) = (
        format!("one={}", place.member(1)),
        format!("two={}", place.member(2)),
        format!("three={}", place.member(3)),
    );
    let uri = place.group_uri("/light");
    let all = antiphon(&[
        "get",
        &uri,
        "-u",
        "-i",
        "127.0.0.1",
        "-e",
        &one,
        "-e",
        &two,
        "-t",
        "5s",
    ]);
    assert_eq!(code(&all), 0, "{}{}", out(&all), err(&all));
    let text = out(&all);
    assert!(text.starts_with("member"), "{text}");
    for name in ["one", "two"] {
        assert!(
            text.lines().any(|line| line.starts_with(name)
                && line.contains("2.05 Content")
                && line.ends_with("multicast  off")),
            "{text}"
        );
    }
    assert!(
        text.contains("2 of 2 expected members answered in "),
        "{text}"
    );

    let some = antiphon(&[
        "get",
        &uri,
        "-u",
        "-i",
        "127.0.0.1",
        "-e",
        &one,
        "-e",
        &two,
        "-e",
        &three,
        "-t",
        "400ms",
        "--json",
    ]);
    assert_eq!(code(&some), 3, "{}{}", out(&some), err(&some));
    let some = lines(&some);
    assert_eq!(
        some.iter().filter(|line| line["event"] == "answer").count(),
        2
    );
    let outcome = event(&some, "outcome");
    assert_eq!(
        outcome["missing"],
        serde_json::json!([{"name": "three", "reason": "silent"}])
    );
    assert_eq!(
        (
            &outcome["expected"],
            &outcome["exit"],
            &outcome["transmissions"]
        ),
        (&3.into(), &3.into(), &1.into())
    );

    let none = antiphon(&[
        "get",
        &uri,
        "-u",
        "-i",
        "127.0.0.1",
        "-e",
        &three,
        "-t",
        "400ms",
    ]);
    assert_eq!(code(&none), 4, "{}", out(&none));
    assert!(out(&none).contains("three (silent)"), "{}", out(&none));

    // Nobody is named: whoever answers will do, and --count ends it early.
    let counted = antiphon(&[
        "get",
        &uri,
        "-u",
        "-i",
        "127.0.0.1",
        "--count",
        "2",
        "-t",
        "60s",
        "--json",
    ]);
    assert_eq!(code(&counted), 0);
    assert_eq!(event(&lines(&counted), "outcome")["ended_by"], "count");
}

#[test]
fn lights_are_switched_and_silence_is_asked_in_person() {
    let place = Place::new();
    let hearing = place.serve(1, LIGHT);
    // A member that ignores the group and answers in person.
    let _shy = place.serve(2, &LIGHT.replace("on-group = \"respond\"\n", ""));
    let (one, two) = (
        format!("one={}", place.member(1)),
        format!("two={}", place.member(2)),
    );
    let put = antiphon(&[
        "put",
        &place.group_uri("/light"),
        "on",
        "-u",
        "-i",
        "127.0.0.1",
        "-e",
        &one,
        "-e",
        &two,
        "-t",
        "600ms",
        "--leisure",
        "100ms",
        "--rtt",
        "100ms",
        "--complete",
        "--json",
    ]);
    assert_eq!(code(&put), 0, "{}{}", out(&put), err(&put));
    let put = lines(&put);
    let outcome = event(&put, "outcome");
    assert_eq!(outcome["answered"], serde_json::json!(["one", "two"]));
    assert_eq!(outcome["by_unicast"], serde_json::json!(["two"]));

    for i in [1, 2] {
        let state = antiphon(&[
            "get",
            &format!("coap://{}/light", place.member(i)),
            "-u",
            "--raw",
        ]);
        assert_eq!(
            (code(&state), out(&state).as_str()),
            (0, "on"),
            "{}",
            err(&state)
        );
        assert!(
            err(&state).starts_with("2.05 Content from 127."),
            "{}",
            err(&state)
        );
    }

    let notify = antiphon(&[
        "notify",
        &place.group_uri("/light"),
        "off",
        "--put",
        "-u",
        "-i",
        "127.0.0.1",
    ]);
    assert_eq!(code(&notify), 0, "{}", err(&notify));
    assert_eq!(
        out(&notify),
        "sent 1 multicast datagram; nobody was asked to answer\n"
    );
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    loop {
        let state = antiphon(&[
            "get",
            &format!("coap://{}/light", place.member(1)),
            "-u",
            "--raw",
        ]);
        if out(&state) == "off" {
            break;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "the notification never arrived"
        );
    }

    let log = hearing.stop();
    let through_group: Vec<_> = log
        .iter()
        .filter(|line| line["event"] == "request" && line["group"] == place.group())
        .collect();
    assert_eq!(through_group.len(), 2, "{log:?}");
    assert!(
        through_group.iter().all(|line| line["method"] == "PUT"
            && line["path"] == "/light"
            && line["code"] == "2.04")
    );
    assert_eq!(event(&log, "stopped")["group_requests"], 2);
}

#[test]
fn a_single_member_is_asked_in_every_way() {
    let place = Place::new();
    let _member = place.serve(
        1,
        "[[resource]]\npath = \"/cbor\"\nvalue = \"{\\\"on\\\": false}\"\ncontent-format = \"cbor\"\nwritable = true\naccess = \"unsecured\"\n\
         [[resource]]\npath = \"/count\"\ncounter = 3\nwritable = true\naccess = \"unsecured\"\n\
         [[resource]]\npath = \"/run\"\ncommand = [\"sh\", \"-c\", \"printf '%s ' $ANTIPHON_METHOD; cat\"]\nwritable = true\naccess = \"unsecured\"\n\
         [[resource]]\npath = \"/closed\"\nvalue = \"x\"\n",
    );
    let ask = |method: &str, path: &str, more: &[&str]| {
        let uri = format!("coap://{}{path}", place.member(1));
        antiphon(&[&[method, &uri, "-u"], more].concat())
    };
    let shown = ask("get", "/cbor", &[]);
    assert_eq!(code(&shown), 0, "{}", err(&shown));
    let mut text = out(&shown);
    assert!(
        text.starts_with(&format!("2.05 Content from {} in ", place.member(1))),
        "{text}"
    );
    assert!(
        text.ends_with(", application/cbor, 5 bytes\n{\"on\": false}\n"),
        "{text}"
    );

    let put = ask("put", "/cbor", &["{\"on\":true}", "-f", "cbor"]);
    assert!(
        out(&put).starts_with("2.04 Changed"),
        "{}{}",
        out(&put),
        err(&put)
    );
    let json = lines(&ask("get", "/cbor", &["--json"]));
    assert_eq!(
        (&json[0]["payload"], &json[0]["code"]),
        (&serde_json::json!({"on": true}), &"2.05".into())
    );
    let wrong_format = ask("put", "/cbor", &["text"]);
    assert!(
        out(&wrong_format).starts_with("4.15 Unsupported"),
        "{}",
        out(&wrong_format)
    );

    ask("post", "/count", &[]);
    text = out(&ask("get", "/count", &["--non"]));
    assert!(text.ends_with("\n4\n"), "{text}");
    text = out(&ask("put", "/run", &["input", "--raw"]));
    assert_eq!(text, "PUT input");
    let closed = ask("get", "/closed", &[]);
    assert!(
        out(&closed).starts_with("4.01 Unauthorized"),
        "{}",
        out(&closed)
    );
    let missing = ask("get", "/nowhere", &[]);
    assert!(
        out(&missing).starts_with("4.04 Not Found"),
        "{}",
        out(&missing)
    );
    assert_eq!((code(&missing), code(&closed)), (6, 6));

    let nobody = antiphon(&[
        "get",
        &format!("coap://{}/x", place.member(9)),
        "-u",
        "-t",
        "1s",
    ]);
    assert_eq!(code(&nobody), 4, "{}", out(&nobody));
    assert!(err(&nobody).contains(&place.member(9)), "{}", err(&nobody));
}

#[test]
fn what_is_offered_is_found() {
    let place = Place::new();
    let light = format!(
        "{LIGHT}[[resource]]\npath = \"/a b\"\nvalue = \"x\"\naccess = \"public\"\nhidden = true\n"
    );
    let _members = [
        place.serve(1, &light),
        place.serve(2, &LIGHT.replace("[\"light\"]", "[\"switch\"]")),
    ];
    let found = antiphon(&[
        "get",
        &place.group_uri("/.well-known/core?rt=light"),
        "-i",
        "127.0.0.1",
        "-t",
        "500ms",
        "--json",
    ]);
    assert_eq!(code(&found), 0, "{}{}", out(&found), err(&found));
    let answers: Vec<_> = lines(&found)
        .into_iter()
        .filter(|line| line["event"] == "answer")
        .collect();
    assert_eq!(answers.len(), 1, "only the light answers: {answers:?}");
    assert_eq!(answers[0]["address"], place.member(1));
    assert_eq!(answers[0]["payload"], "</light>;rt=light;ct=0");
}

#[test]
fn nothing_is_sent_that_was_not_stated() {
    let place = Place::new();
    let listener = UdpSocket::bind(place.member(1)).unwrap();
    listener
        .set_read_timeout(Some(std::time::Duration::from_millis(200)))
        .unwrap();
    let refused = antiphon(&[
        "get",
        &format!("coap://{}/x", place.member(1)),
        "-t",
        "300ms",
    ]);
    assert_eq!(code(&refused), 2);
    assert!(
        err(&refused).contains("would travel without security"),
        "{}",
        err(&refused)
    );
    let not_discovery = antiphon(&[
        "put",
        &format!("coap://{}/.well-known/core", place.member(1)),
        "x",
    ]);
    assert_eq!(code(&not_discovery), 2);
    let repeated_post = antiphon(&[
        "post",
        &place.group_uri("/x"),
        "-u",
        "-i",
        "127.0.0.1",
        "--repeat",
        "1",
    ]);
    assert_eq!(code(&repeated_post), 2);
    assert!(
        err(&repeated_post).contains("say --idempotent"),
        "{}",
        err(&repeated_post)
    );
    let members = antiphon(&[
        "get",
        &format!("coap://{}/x", place.member(1)),
        "-u",
        "--complete",
    ]);
    assert_eq!(code(&members), 2);
    assert!(
        err(&members).contains("is a single member, so --complete has no meaning"),
        "{}",
        err(&members)
    );
    let mut buffer = [0; 64];
    assert!(
        listener.recv(&mut buffer).is_err(),
        "nothing was to be sent"
    );

    let nowhere = antiphon(&[
        "get",
        &place.group_uri("/x"),
        "-u",
        "-i",
        "no-such-interface",
    ]);
    assert_eq!(code(&nowhere), 5, "{}", err(&nowhere));
    let taken = UdpSocket::bind(place.member(2)).unwrap();
    let bound = antiphon(&[
        "get",
        &place.group_uri("/x"),
        "-u",
        "--bind",
        &taken.local_addr().unwrap().to_string(),
    ]);
    assert_eq!(code(&bound), 5, "{}", err(&bound));
    assert!(err(&bound).contains("cannot bind"), "{}", err(&bound));
}

#[test]
fn ctrl_c_prints_the_outcome_so_far() {
    let place = Place::new();
    let _member = place.serve(1, LIGHT);
    let (one, two) = (
        format!("one={}", place.member(1)),
        format!("two={}", place.member(2)),
    );
    let mut child = command()
        .args([
            "get",
            &place.group_uri("/light"),
            "-u",
            "-i",
            "127.0.0.1",
            "-e",
            &one,
            "-e",
            &two,
            "-t",
            "60s",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    // The header, and the answer of one.
    shown.read_line(&mut text).unwrap();
    shown.read_line(&mut text).unwrap();
    assert!(text.contains("\none "), "{text}");
    let interrupted = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupted.success());
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let rest: String = shown.lines().map(|line| line.unwrap() + "\n").collect();
    assert!(rest.contains("1 of 2 expected members answered"), "{rest}");
    assert!(rest.contains("missing     two (silent)"), "{rest}");
    assert!(
        rest.contains("interrupted: this is the outcome so far"),
        "{rest}"
    );
}
