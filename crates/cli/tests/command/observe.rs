//! `antiphon observe`, before members that the tests play by hand.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use antiphon_wire::{Code, Message, MessageId, OptionNumber, Token, Type, Writer};

use super::program::{antiphon, code, command, err, free_port, lines, of_event, out};

/// A request as a member heard it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Heard {
    multicast: bool,
    kind: Type,
    code: Code,
    observe: Option<u32>,
    token: Token,
    mid: u16,
}

/// A member that notifies as often as it is told to, from number 7 on.
struct Played {
    heard: Arc<Mutex<Vec<Heard>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Place {
    net: [u8; 2],
    port: u16,
}

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let process = std::process::id();
        Self {
            net: [
                1 + (process % 250) as u8,
                128 + NEXT.fetch_add(1, Ordering::Relaxed),
            ],
            port: free_port(),
        }
    }

    fn member(&self, n: u8) -> SocketAddr {
        ([127, self.net[0], self.net[1], n], self.port).into()
    }

    fn group(&self) -> Ipv4Addr {
        [239, 254, self.net[0], self.net[1]].into()
    }

    fn uri(&self) -> String {
        format!("coap://{}:{}/temperature", self.group(), self.port)
    }

    fn play(&self, n: u8, notifications: u32) -> Played {
        let own = UdpSocket::bind(self.member(n)).unwrap();
        let of_group =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        of_group.set_reuse_address(true).unwrap();
        let group = SocketAddr::from((self.group(), self.port));
        of_group.bind(&group.into()).unwrap();
        let of_group = UdpSocket::from(of_group);
        of_group
            .join_multicast_v4(&self.group(), &Ipv4Addr::LOCALHOST)
            .unwrap();
        for socket in [&own, &of_group] {
            socket
                .set_read_timeout(Some(Duration::from_millis(5)))
                .unwrap();
        }
        let (heard, stop) = (Arc::<Mutex<Vec<Heard>>>::default(), Arc::default());
        let thread = std::thread::spawn({
            let (heard, stop) = (Arc::clone(&heard), Arc::clone(&stop));
            move || serve(&own, &of_group, &heard, &stop, notifications)
        });
        Played {
            heard,
            stop,
            thread: Some(thread),
        }
    }
}

/// Answers and notifies until it is stopped.
fn serve(
    own: &UdpSocket,
    of_group: &UdpSocket,
    heard: &Mutex<Vec<Heard>>,
    stop: &AtomicBool,
    notifications: u32,
) {
    let mut buffer = [0; 1500];
    let mut observer: Option<(SocketAddr, Token, u32)> = None;
    let mut mid = 1_000;
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        for (socket, multicast) in [(own, false), (of_group, true)] {
            let Ok((len, from)) = socket.recv_from(&mut buffer) else {
                continue;
            };
            let message = Message::parse(&buffer[..len]).unwrap();
            if !message.code().is_request() {
                continue;
            }
            let observe = message.uint(OptionNumber::OBSERVE);
            heard.lock().unwrap().push(Heard {
                multicast,
                kind: message.kind(),
                code: message.code(),
                observe,
                token: message.token(),
                mid: message.message_id().0,
            });
            mid += 1;
            let (kind, id) = match message.kind() {
                Type::Con => (Type::Ack, message.message_id().0),
                _ => (Type::Non, mid),
            };
            let number = (observe == Some(0)).then_some(7);
            observer = number.map(|number| (from, message.token(), number));
            own.send_to(&content(kind, id, message.token(), number), from)
                .unwrap();
            next = Instant::now() + Duration::from_millis(60);
        }
        if let Some((to, token, number)) = &mut observer
            && *number < 6 + notifications
            && next <= Instant::now()
        {
            mid += 1;
            *number += 1;
            own.send_to(&content(Type::Non, mid, *token, Some(*number)), *to)
                .unwrap();
            next += Duration::from_millis(60);
        }
    }
}

fn content(kind: Type, mid: u16, token: Token, number: Option<u32>) -> Vec<u8> {
    let mut bytes = [0; 64];
    let mut writer = Writer::new(&mut bytes, kind, Code::CONTENT, MessageId(mid), token).unwrap();
    if let Some(number) = number {
        writer.uint_option(OptionNumber::OBSERVE, number).unwrap();
    }
    writer.uint_option(OptionNumber::CONTENT_FORMAT, 0).unwrap();
    let text = number.map_or("bye".into(), |number| format!("{number} C"));
    writer.payload(text.as_bytes()).unwrap();
    let len = writer.finish();
    bytes[..len].to_vec()
}

impl Played {
    fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

const QUICK: [&str; 7] = [
    "-u",
    "-i",
    "127.0.0.1",
    "--leisure",
    "200ms",
    "--rtt",
    "100ms",
];

#[test]
fn a_group_is_observed_and_deregistered() {
    let place = Place::new();
    let members = [place.play(1, 2), place.play(2, 2)];
    let (one, two) = (
        format!("one={}", place.member(1)),
        format!("two={}", place.member(2)),
    );
    let args = [
        "observe",
        &place.uri(),
        "-e",
        &one,
        "-e",
        &two,
        "--count",
        "4",
    ];
    let output = antiphon(&[&args[..], &QUICK].concat());
    let text = out(&output);
    assert_eq!(code(&output), 0, "{text}{}", err(&output));
    assert!(text.starts_with("member  after s  news"), "{text}");
    for name in ["one", "two"] {
        for (news, value) in [("first", "7  7 C"), ("update", "8  8 C")] {
            let said =
                |line: &str| line.starts_with(name) && line.contains(news) && line.ends_with(value);
            assert_eq!(text.lines().filter(|line| said(line)).count(), 1, "{text}");
        }
    }
    let last = text.lines().last().unwrap();
    assert!(
        last.starts_with("4 notifications of 2 of 2 expected members in "),
        "{text}"
    );
    assert!(last.ends_with("(1 registration)"), "{text}");
    for member in &members {
        let heard = member.heard();
        let [first, last] = heard.as_slice() else {
            panic!("{heard:?}")
        };
        assert_eq!((first.observe, last.observe), (Some(0), Some(1)));
        assert!(first.multicast && last.multicast);
        assert_eq!((first.code, first.kind), (Code::GET, Type::Non));
        assert_eq!(first.token, last.token);
        assert_ne!(first.mid, last.mid);
    }
}

#[test]
fn a_member_that_is_missing_is_named() {
    let place = Place::new();
    let _member = place.play(1, 1);
    let (one, two) = (
        format!("one={}", place.member(1)),
        format!("two={}", place.member(2)),
    );
    let args = [
        "observe",
        &place.uri(),
        "-e",
        &one,
        "-e",
        &two,
        "--complete",
        "0",
        "--for",
        "300ms",
    ];
    let output = antiphon(&[&args[..], &QUICK].concat());
    let text = out(&output);
    assert_eq!(code(&output), 3, "{text}{}", err(&output));
    assert!(
        text.contains("1 notification of 1 of 2 expected members in "),
        "{text}"
    );
    assert!(text.ends_with("  missing     two\n"), "{text}");
}

#[test]
fn who_cannot_be_reached_has_a_row_with_the_reason_in_the_last_column() {
    let place = Place::new();
    let _member = place.play(1, 1);
    let (one, two) = (
        format!("one={}", place.member(1)),
        format!("two={}", place.member(2)),
    );
    let args = ["observe", &place.uri(), "-e", &one, "-e", &two];
    let output = antiphon(&[&args[..], &["--for", "1s"], &QUICK].concat());
    let text = out(&output);
    let column = text.find("value").unwrap();
    let row = |name| text.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(row("one").contains("  first  "), "{text}");
    assert_eq!(&row("one")[column..], "7 C", "{text}");
    assert!(row("two").contains("  unreached  "), "{text}");
    let why = &row("two")[column..];
    assert_eq!(why, "unreachable: nobody listens on that port", "{text}");
}

#[test]
fn one_member_is_observed_and_each_event_is_an_object() {
    let place = Place::new();
    let member = place.play(1, 9);
    let uri = format!("coap://{}/temperature", place.member(1));
    let output = antiphon(&[
        "observe", &uri, "-u", "--json", "--count", "3", "--every", "0",
    ]);
    assert_eq!(code(&output), 0, "{}{}", out(&output), err(&output));
    let lines = lines(&output);
    assert_eq!(lines[0]["event"], "registered");
    assert_eq!(lines[0]["registration"], 1);
    let told = of_event(&lines, "notification");
    let orders: Vec<_> = told.iter().map(|n| n["order"].as_u64().unwrap()).collect();
    assert_eq!(orders, [7, 8, 9]);
    assert_eq!(told[0]["news"], "first");
    assert_eq!(told[1]["news"], "update");
    assert_eq!(told[1]["payload"], "8 C");
    assert_eq!(told[1]["max_age"], 60);
    assert_eq!(told[1]["address"], place.member(1).to_string());
    let outcome = lines.last().unwrap();
    assert_eq!(outcome["event"], "outcome");
    assert_eq!(outcome["ended_by"], "deregistered");
    assert_eq!(outcome["notifications"], 3);
    assert_eq!(outcome["members"][0]["state"], "ended: deregistered");
    assert_eq!(outcome["interrupted"], false);
    assert_eq!(outcome["exit"], 0);
    let heard = member.heard();
    let [first, last] = heard.as_slice() else {
        panic!("{heard:?}")
    };
    assert_eq!((first.kind, last.kind), (Type::Con, Type::Con));
    assert_eq!((first.observe, last.observe), (Some(0), Some(1)));
    assert_eq!(first.token, last.token);
}

#[test]
fn an_interrupt_deregisters_and_tells_the_outcome() {
    let place = Place::new();
    let member = place.play(1, 1);
    let uri = format!("coap://{}/temperature", place.member(1));
    let mut child = command()
        .args(["observe", &uri, "-u", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next =
        || -> serde_json::Value { serde_json::from_str(&output.next().unwrap().unwrap()).unwrap() };
    while next()["event"] != "notification" {}
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(sent.success());
    let outcome = next();
    assert_eq!(outcome["event"], "outcome");
    assert_eq!(outcome["interrupted"], true);
    assert_eq!(outcome["ended_by"], "deregistered");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(member.heard().last().unwrap().observe, Some(1));
}

#[test]
fn nobody_there_is_said_by_the_exit_code() {
    let place = Place::new();
    let uri = format!("coap://{}/temperature", place.member(1));
    let output = antiphon(&["observe", &uri, "-u"]);
    assert_eq!(code(&output), 4, "{}", out(&output));
    assert!(err(&output).contains("nobody listens on that port"));
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_sent() {
    let group = "coap://239.254.1.1/temperature";
    for (args, part) in [
        (vec![group], "without security"),
        (
            vec![group, "-u", "--option", "Observe=0"],
            "Observe is said",
        ),
        (vec![group, "-u", "--count", "0"], "--count"),
        (vec![group, "-u", "-f", "cbor"], "--fetch"),
        (
            vec!["coap://127.0.0.1/t", "-u", "-e", "10.0.0.1"],
            "has no meaning",
        ),
    ] {
        let output = antiphon(&[&["observe"], &args[..]].concat());
        assert_eq!(code(&output), 2, "{args:?}");
        assert!(err(&output).contains(part), "{args:?}: {}", err(&output));
    }
}

#[test]
fn a_dry_run_shows_the_registration_and_sends_nothing() {
    let place = Place::new();
    let member = place.play(1, 1);
    let output = antiphon(&[
        "observe",
        &place.uri(),
        "-u",
        "--fetch",
        "[\"level\"]",
        "-f",
        "cbor",
        "--dry-run",
    ]);
    let text = out(&output);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(text.contains("FETCH"), "{text}");
    assert!(text.contains("Observe"), "{text}");
    assert!(member.heard().is_empty());
}
