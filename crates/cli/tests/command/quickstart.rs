//! What `antiphon quickstart` claims, against what a packet capture sees: every request, every answer, and nothing else.

use std::collections::HashMap;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use antiphon_wire::{Code, Message, OptionNumber, Token, Type};
use serde_json::Value;
use socket2::{Domain, Protocol, Socket};

use super::program::{command, in_a_namespace, is_inside};

/// ETH_P_IP: a packet socket for this protocol sees what comes in, and on the loopback interface everything comes in, once.
const ETH_P_IP: u16 = 0x0800;

#[test]
fn claims_are_what_a_capture_sees() {
    if !is_inside() {
        return in_a_namespace("quickstart::claims_are_what_a_capture_sees", &[]);
    }
    let mut choices = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64;
    let mut below = |n: u64| {
        choices = choices
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (choices >> 33) % n
    };
    for _ in 0..3 {
        let members = 1 + below(30);
        let deaf = below(members.min(5) + 1);
        let dead = below((members - deaf).min(4) + 1);
        let seed = below(1_000_000);
        println!("--members {members} --deaf {deaf} --dead {dead} --seed {seed}");
        let (claims, capture) = show(&[members, deaf, dead, seed], &["--nosec"]);
        compare(&claims, &capture, [members, deaf, dead, seed]);
    }
}

#[test]
fn of_a_secured_group_a_capture_sees_nothing() {
    if !is_inside() {
        return in_a_namespace("quickstart::of_a_secured_group_a_capture_sees_nothing", &[]);
    }
    let (claims, capture) = show(&[6, 1, 1, 5], &[]);
    let start = &claims[0];
    let gid = start["secured"]["gid"].as_str().unwrap();
    assert_eq!(start["secured"]["leisure_ms"], 1_000);
    let (group, client) = (address(&start["group"]), address(&start["client"][0]));
    let messages: Vec<(&Datagram, Message<'_>)> = capture
        .iter()
        .map(|datagram| (datagram, Message::parse(&datagram.bytes).unwrap()))
        .collect();
    let (open, protected): (Vec<_>, Vec<_>) = messages
        .iter()
        .partition(|(_, message)| message.option(OptionNumber::OSCORE).is_none());

    // Discovery is open, and nothing else is but empty messages.
    let discovery = open
        .iter()
        .filter(|(_, message)| !message.code().is_empty());
    for (_, message) in discovery {
        let question = path_of(message) == ".well-known/core";
        let answer = message.code() == Code::CONTENT && message.payload().starts_with(b"<");
        assert!(question || answer, "{message:?}");
    }

    // The rest is POST and 2.04 to everybody else, without path, format and text of it.
    assert!(protected.len() > 20, "{}", protected.len());
    let mut sequence = std::collections::HashSet::new();
    for (datagram, message) in &protected {
        let outer = match message.code().is_request() {
            true => Code::POST,
            false => Code::CHANGED,
        };
        assert_eq!(message.code(), outer);
        let visible: Vec<OptionNumber> = message.options().map(|option| option.number).collect();
        assert_eq!(visible, [OptionNumber::OSCORE], "{datagram:?}");
        for word in [&b"light"[..], b"status", b"lamp", b" is o"] {
            let says = |bytes: &[u8]| bytes.windows(word.len()).any(|window| window == word);
            assert!(!says(&datagram.bytes), "{datagram:?}");
        }
        if message.code().is_request() && message.kind() == Type::Non {
            sequence.insert(message.option(OptionNumber::OSCORE).unwrap().to_vec());
        }
    }
    let of_group: Vec<_> = protected
        .iter()
        .filter(|(datagram, _)| datagram.to == group)
        .collect();
    assert_eq!(of_group.len(), 2, "status and switch, once each");
    assert!(of_group.iter().all(|(datagram, _)| datagram.from == client));
    assert!(sequence.len() >= 2, "no sequence number twice");

    // What the eavesdropper is said to have seen is what came last to the group.
    let told = claims
        .iter()
        .find(|claim| claim["event"] == "eavesdropped")
        .unwrap();
    let (last, message) = of_group.last().unwrap();
    let hex: String = message
        .payload()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        (&told["code"], &told["bytes"]),
        (&"0.02".into(), &last.bytes.len().into())
    );
    assert_eq!(
        (&told["payload_hex"], &told["oscore"]["gid"]),
        (&hex.into(), &gid.into())
    );
    assert_eq!(
        (&told["oscore"]["signed"], &told["path"]),
        (&true.into(), &serde_json::json!([]))
    );

    // Every answer but those to discovery is signed by the member that is said to have given it.
    let mut signed = 0;
    for step in steps(&claims)
        .iter()
        .filter(|step| step.path != ".well-known/core")
    {
        assert_eq!(names(&step.outcome["answered"]).len(), 5);
        for answer in &step.answers {
            assert_eq!(answer["signer"]["name"], answer["member"]);
            assert_eq!(answer["signer"]["group"], "lights");
            signed += 1;
        }
    }
    assert_eq!(signed, 10);
    let summary = claims.last().unwrap();
    assert_eq!(
        (&summary["as_planned"], &summary["lights_on"]),
        (&true.into(), &5.into())
    );
}

// Covers: GC-1-02, GC-1.1-02
#[test]
fn the_same_scenario_runs_without_security_and_with_it_which_is_group_oscore() {
    if !is_inside() {
        return in_a_namespace(
            "quickstart::the_same_scenario_runs_without_security_and_with_it_which_is_group_oscore",
            &[],
        );
    }
    for (mode, is_secured) in [(&["--nosec"][..], false), (&[], true)] {
        let (claims, capture) = show(&[3, 0, 1, 7], mode);
        let summary = claims.last().unwrap();
        assert_eq!(
            (&summary["as_planned"], &summary["lights_on"]),
            (&true.into(), &2.into()),
            "{mode:?}"
        );
        // What switches the lights goes to the group: readable in one mode, and in the other as no security protocol but
        // Group OSCORE has it, which nobody named.
        let group = address(&claims[0]["group"]);
        let to_group: Vec<_> = capture
            .iter()
            .filter(|datagram| datagram.to == group)
            .map(|datagram| Message::parse(&datagram.bytes).unwrap())
            .collect();
        let readable = to_group.iter().filter(|m| path_of(m) == "light").count();
        let protected = to_group.iter().filter(|message| {
            let option = message.option(OptionNumber::OSCORE);
            // RFC 8613 section 6.1, and bit 2 of the draft: group mode
            option.is_some_and(|value| value.first().is_some_and(|flags| flags & 0x20 != 0))
                && message.code() == Code::POST
        });
        match is_secured {
            false => assert_eq!((readable > 0, protected.count()), (true, 0)),
            true => assert_eq!((readable, protected.count()), (0, 2)),
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_group() {
    let start = |seed: &str| -> Value {
        let output = quickstart()
            .args(["--json", "--members", "4", "--seed", seed])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
        let text = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str(text.lines().next().unwrap()).unwrap()
    };
    let (first, again, other) = (start("11"), start("11"), start("12"));
    assert_eq!(first["members"], again["members"]);
    assert_eq!(first["group"], again["group"]);
    assert_ne!(first["members"], other["members"]);
}

#[test]
fn people_see_the_missing_the_completed_and_what_to_try_next() {
    let started = std::time::Instant::now();
    let output = quickstart().stdin(Stdio::null()).output().unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "it ends by itself within 20 s"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    for part in [
        "12 members, from 127.",
        ": deaf to multicast",
        ": not there at all",
        "11 of 12 expected members answered in ",
        "  missing     lamp-",
        "  by unicast  lamp-",
        "10 of 12 members found by one multicast request",
        "11 lights are on; the 10 that heard the group switched within ",
        "as planned, in ",
        "What to try next",
        "Secured: the group lights (Gid ",
        "Leisure is set to 1 s for the demonstration",
        "signed by",
        "What an eavesdropper saw of the last request\n  NON 0.02 POST, ",
        "Sender ID 00, sequence number ",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    let open = quickstart()
        .arg("--nosec")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(open.stdout).unwrap();
    assert_eq!(open.status.code(), Some(0), "{text}");
    for part in [
        "Not secured (--nosec)",
        "What an eavesdropper saw of the last request\n  NON 0.03 PUT, ",
        "Uri-Path: \"light\"",
        "payload: on",
        "Everything: and it could have sent the same itself.",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    assert!(!text.contains("signed by"));
    let refused = quickstart()
        .args(["--members", "3", "--deaf", "2", "--dead", "2"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&refused.stderr)
            .contains("2 deaf and 2 dead members are more than 3")
    );
}

fn quickstart() -> Command {
    let mut command = command();
    command.arg("quickstart");
    command
}

/// One datagram on the loopback interface.
#[derive(Debug)]
struct Datagram {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// Runs a quickstart, and captures meanwhile.
fn show(numbers: &[u64; 4], more: &[&str]) -> (Vec<Value>, Vec<Datagram>) {
    let protocol = Protocol::from(i32::from(ETH_P_IP.to_be()));
    let mut capture = Socket::new(Domain::PACKET, socket2::Type::DGRAM, Some(protocol)).unwrap();
    capture.set_recv_buffer_size(1 << 22).unwrap();
    capture.set_nonblocking(true).unwrap();
    let mut command = quickstart();
    for (name, number) in ["--members", "--deaf", "--dead", "--seed"]
        .iter()
        .zip(numbers)
    {
        command.arg(name).arg(number.to_string());
    }
    let mut child = command
        .args(more)
        .arg("--json")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        text
    });
    let mut datagrams = Vec::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let over = child.try_wait().unwrap();
        while let Ok(length) = capture.read(&mut buffer) {
            datagrams.extend(datagram(&buffer[..length]));
        }
        if let Some(status) = over {
            let text = reader.join().unwrap();
            assert_eq!(status.code(), Some(0), "{text}");
            let claims = text
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            return (claims, datagrams);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Takes a UDP datagram out of an IPv4 packet.
fn datagram(packet: &[u8]) -> Option<Datagram> {
    let header = usize::from(packet[0] & 0x0f) * 4;
    let address =
        |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
    let udp = packet.get(header..)?;
    let number = |at: usize| u16::from_be_bytes([udp[at], udp[at + 1]]);
    (packet[9] == 17).then(|| Datagram {
        from: (address(12), number(0)).into(),
        to: (address(16), number(2)).into(),
        bytes: udp[8..usize::from(number(4))].to_vec(),
    })
}

/// One step as it was claimed.
struct Step<'a> {
    path: &'static str,
    answers: Vec<&'a Value>,
    outcome: &'a Value,
}

fn steps(claims: &[Value]) -> Vec<Step<'_>> {
    let paths = HashMap::from([
        ("discovery", ".well-known/core"),
        ("status", "status"),
        ("switch", "light"),
    ]);
    let mut steps: Vec<Step<'_>> = Vec::new();
    for claim in claims {
        match claim["event"].as_str().unwrap() {
            "step" => steps.push(Step {
                path: paths[claim["step"].as_str().unwrap()],
                answers: Vec::new(),
                outcome: claim,
            }),
            "answer" => steps.last_mut().unwrap().answers.push(claim),
            "outcome" => steps.last_mut().unwrap().outcome = claim,
            _ => {}
        }
    }
    assert_eq!(steps.len(), 3);
    steps
}

fn path_of(message: &Message<'_>) -> String {
    let segments: Vec<_> = message
        .options_of(OptionNumber::URI_PATH)
        .map(|segment| String::from_utf8_lossy(segment).into_owned())
        .collect();
    segments.join("/")
}

fn address(text: &Value) -> SocketAddr {
    text.as_str().unwrap().parse().unwrap()
}

fn names(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap();
    list.iter()
        .map(|item| {
            item.as_str()
                .unwrap_or_else(|| item["name"].as_str().unwrap())
                .to_owned()
        })
        .collect()
}

fn compare(claims: &[Value], capture: &[Datagram], [members, deaf, dead, seed]: [u64; 4]) {
    let start = &claims[0];
    assert_eq!(start["seed"], seed);
    let group = address(&start["group"]);
    let client = address(&start["client"][0]);
    let mut roles: HashMap<&str, Vec<(String, SocketAddr)>> = HashMap::new();
    for member in start["members"].as_array().unwrap() {
        let entry = (
            member["name"].as_str().unwrap().to_owned(),
            address(&member["address"]),
        );
        roles
            .entry(member["role"].as_str().unwrap())
            .or_default()
            .push(entry);
    }
    let of = |role: &str| roles.get(role).cloned().unwrap_or_default();
    assert_eq!(of("hearing").len() as u64, members - deaf - dead);
    assert_eq!(
        (of("deaf").len() as u64, of("dead").len() as u64),
        (deaf, dead)
    );
    let everyone: HashMap<SocketAddr, String> = roles
        .values()
        .flatten()
        .map(|(name, at)| (*at, name.clone()))
        .collect();
    assert_eq!(
        everyone.len() as u64,
        members,
        "every member has an address of its own"
    );

    // Nothing else is on the wire, and the dead are silent.
    for datagram in capture {
        let asked = datagram.from == client
            && (datagram.to == group || everyone.contains_key(&datagram.to));
        let answered = datagram.to == client && everyone.contains_key(&datagram.from);
        assert!(asked || answered, "{datagram:?}");
        assert!(
            of("dead").iter().all(|(_, at)| *at != datagram.from),
            "{datagram:?}"
        );
    }
    let messages: Vec<(&Datagram, Message<'_>)> = capture
        .iter()
        .map(|datagram| (datagram, Message::parse(&datagram.bytes).unwrap()))
        .collect();

    let mut explained = 0;
    for step in steps(claims) {
        // The question: as often and as long as claimed, always Non-confirmable, one token.
        let asked: Vec<_> = messages
            .iter()
            .filter(|(datagram, message)| datagram.to == group && path_of(message) == step.path)
            .collect();
        assert_eq!(
            asked.len() as u64,
            step.outcome["transmissions"],
            "{}",
            step.path
        );
        let bytes: usize = asked.iter().map(|(datagram, _)| datagram.bytes.len()).sum();
        assert_eq!(bytes as u64, step.outcome["bytes"], "{}", step.path);
        let token = asked[0].1.token();
        assert!(
            asked
                .iter()
                .all(|(_, message)| message.kind() == Type::Non && message.token() == token)
        );
        assert_eq!(token.len(), Token::MAX_LEN);
        explained += asked.len();

        // Those who are asked in person, and by which token.
        let in_person: Vec<_> = messages
            .iter()
            .filter(|(datagram, message)| {
                datagram.from == client
                    && datagram.to != group
                    && message.code().is_request()
                    && path_of(message) == step.path
            })
            .collect();
        assert!(
            in_person
                .iter()
                .all(|(_, message)| message.kind() == Type::Con && message.token() != token)
        );
        explained += in_person.len();

        // Every answer that is claimed was on the wire, and every one on the wire is claimed.
        let mut on_the_wire: Vec<(SocketAddr, String, String, &str)> = Vec::new();
        for (datagram, message) in &messages {
            let how = match message.code().is_response() && datagram.to == client {
                false => continue,
                true if message.token() == token => "multicast",
                true => "unicast",
            };
            let person = |(to, request): &(&Datagram, Message<'_>)| {
                to.to == datagram.from && request.token() == message.token()
            };
            if how == "unicast" && !in_person.iter().any(|asked| person(asked)) {
                continue;
            }
            let code = format!("{}.{:02}", message.code().class(), message.code().detail());
            let payload: String = message
                .payload()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            on_the_wire.push((datagram.from, code, payload, how));
            explained += 1;
        }
        let mut claimed: Vec<(SocketAddr, String, String, &str)> = step
            .answers
            .iter()
            .map(|answer| {
                let text = |key: &str| answer[key].as_str().unwrap().to_owned();
                (
                    address(&answer["address"]),
                    text("code"),
                    text("payload_hex"),
                    answer["how"].as_str().unwrap(),
                )
            })
            .collect();
        on_the_wire.sort();
        claimed.sort();
        assert_eq!(claimed, on_the_wire, "{}", step.path);

        // Who is said to have answered, to have been asked in person, and to be missing.
        let by = |how: &str| -> Vec<SocketAddr> {
            claimed
                .iter()
                .filter(|(.., claimed_how)| *claimed_how == how)
                .map(|(from, ..)| *from)
                .collect()
        };
        let hearing: Vec<SocketAddr> = of("hearing").iter().map(|(_, at)| *at).collect();
        assert_eq!(by("multicast"), hearing, "{}", step.path);
        if step.path == ".well-known/core" {
            assert!(in_person.is_empty());
            continue;
        }
        assert_eq!(
            by("unicast"),
            of("deaf").iter().map(|(_, at)| *at).collect::<Vec<_>>(),
            "{}",
            step.path
        );
        let dead_names: Vec<String> = of("dead").into_iter().map(|(name, _)| name).collect();
        assert_eq!(names(&step.outcome["missing"]), dead_names, "{}", step.path);
        let answered: Vec<String> = claimed
            .iter()
            .map(|(from, ..)| everyone[from].clone())
            .collect();
        assert_eq!(names(&step.outcome["answered"]), answered, "{}", step.path);
        if step.path == "light" {
            assert!(claimed.iter().all(|(_, code, ..)| code == "2.04"));
            assert!(
                asked
                    .iter()
                    .all(|(_, message)| message.code() == Code::PUT && message.payload() == b"on")
            );
        }
    }
    assert_eq!(
        explained,
        messages.len(),
        "every datagram belongs to a step"
    );

    let summary = claims.last().unwrap();
    assert_eq!(summary["event"], "summary");
    assert_eq!(summary["found"], members - deaf - dead);
    assert_eq!(summary["lights_on"], members - dead);
    assert_eq!(summary["as_planned"], true);
}
