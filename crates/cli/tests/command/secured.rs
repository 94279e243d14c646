//! A secured group from nothing: keys, files, members that serve, questions, and who is proven to have answered.

use std::net::UdpSocket;
use std::process::Output;

use super::program::{Folder, Member, antiphon, code, err, free_port, lines, of_event, out};

const MEMBERS: [&str; 4] = ["switch", "lamp-1", "lamp-2", "lamp-3"];

/// A folder with a group of four, addresses and a port that no other test uses.
pub(crate) struct Place {
    pub(crate) folder: Folder,
    port: u16,
}

impl Place {
    pub(crate) fn new() -> Self {
        let port = free_port();
        let folder = Folder::new(&format!("group-{port}"));
        let place = Self { folder, port };
        place.new_group("lights", &[]);
        place
    }

    fn new_group(&self, name: &str, more: &[&str]) {
        self.folder.new_group(name, &MEMBERS, more);
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path(name)
    }

    pub(crate) fn member(&self, i: u8) -> String {
        let [high, low] = self.port.to_be_bytes();
        format!("127.{high}.{low}.{i}:{}", self.port)
    }

    pub(crate) fn uri(&self, path: &str) -> String {
        let [high, low] = self.port.to_be_bytes();
        format!("coap://239.{high}.{low}.1:{}{path}", self.port)
    }

    /// Lamp `i` with these keys.
    pub(crate) fn serve(&self, i: u8, keys: &str) -> Member {
        let [high, low] = self.port.to_be_bytes();
        let config = format!(
            "[server]\ngroup = \"{keys}\"\nlisten = [\"{}\"]\ndiscoverable = \"groups\"\nleisure = \"100ms\"\n\
             [[group]]\nname = \"floor\"\naddress = \"239.{high}.{low}.1:{}\"\ninterfaces = [\"127.0.0.1\"]\nsecured-by = [\"lights\"]\n\
             [[resource]]\npath = \"/light\"\nrt = [\"light\"]\nvalue = \"off\"\nwritable = true\non-group = \"respond\"\n\
             [[resource.allow]]\nmethods = [\"GET\"]\n[[resource.allow]]\nmethods = [\"PUT\"]\nmembers = [\"switch\"]\n",
            self.member(i),
            self.port
        );
        Member::serve(&self.folder, &format!("serve-{i}.toml"), &config)
    }

    /// A question with the keys of the switch, and short times.
    pub(crate) fn ask(&self, args: &[&str]) -> Output {
        let keys = self.path("lights/switch.toml");
        let usual = ["--group", &keys, "--json"];
        antiphon(&[args, &usual[..]].concat())
    }

    pub(crate) fn ask_group(&self, method: &[&str], more: &[&str]) -> Output {
        let times = [
            "-i",
            "127.0.0.1",
            "--leisure",
            "200ms",
            "--rtt",
            "100ms",
            "-t",
            "1500ms",
        ];
        self.ask(&[method, &times[..], more].concat())
    }
}

#[test]
fn from_nothing_to_answers_that_are_signed() {
    let place = Place::new();
    let one = place.serve(1, "lights/lamp-1.toml");
    let two = place.serve(2, "lights/lamp-2.toml");
    let members = place.path("members.txt");
    let text = format!(
        "lamp-1 {}\nlamp-2 {}\nlamp-3\n",
        place.member(1),
        place.member(2)
    );
    std::fs::write(&members, text).unwrap();

    // Everybody who is there is named by what it proves; who is not is missing.
    let asked = place.ask_group(&["get", &place.uri("/light")], &["--members", &members]);
    assert_eq!(code(&asked), 3, "{}{}", out(&asked), err(&asked));
    let asked = lines(&asked);
    let answers = of_event(&asked, "answer");
    assert_eq!(answers.len(), 2, "{asked:?}");
    for answer in &answers {
        assert_eq!(answer["member"], answer["signer"]["name"]);
        assert_eq!(
            (&answer["signer"]["group"], &answer["payload"]),
            (&"lights".into(), &"off".into())
        );
    }
    let outcome = of_event(&asked, "outcome")[0];
    assert_eq!(outcome["answered"], serde_json::json!(["lamp-1", "lamp-2"]));
    assert_eq!(
        outcome["missing"],
        serde_json::json!([{"name": "lamp-3", "reason": "silent"}])
    );

    // By name alone; the switch may switch.
    let put = ["put", &place.uri("/light"), "on"];
    let switched = place.ask_group(&put, &["-e", "lamp-1", "-e", "lamp-2"]);
    assert_eq!(code(&switched), 0, "{}{}", out(&switched), err(&switched));
    let everyone = place.ask_group(&["get", &place.uri("/light")], &["--everyone"]);
    assert_eq!(code(&everyone), 3);
    let everyone = lines(&everyone);
    assert_eq!(of_event(&everyone, "outcome")[0]["expected"], 3);
    assert!(
        of_event(&everyone, "answer")
            .iter()
            .all(|answer| answer["payload"] == "on")
    );

    // One member, in pairwise mode: by name, by Sender ID, by the members file.
    let uri = format!("coap://{}/light", place.member(1));
    for whom in [
        &["--to", "lamp-1"][..],
        &["--to", "01"],
        &["--members", &members],
    ] {
        let reply = place.ask(&[&["get", &uri, "-t", "3s"], whom].concat());
        assert_eq!(code(&reply), 0, "{whom:?}: {}", err(&reply));
        let reply = &lines(&reply)[0];
        assert_eq!(
            (&reply["signer"]["name"], &reply["signer"]["kid"]),
            (&"lamp-1".into(), &"01".into())
        );
    }

    // A lamp is in the group, and may not switch.
    let keys = place.path("lights/lamp-3.toml");
    let refused = antiphon(&[
        "put", &uri, "off", "--group", &keys, "--to", "lamp-1", "-t", "3s",
    ]);
    assert!(
        out(&refused).starts_with("4.03 Forbidden from lamp-1 at "),
        "{}{}",
        out(&refused),
        err(&refused)
    );

    let log = one.stop();
    let requests = of_event(&log, "request");
    assert!(
        requests
            .iter()
            .all(|request| request["signer"]["group"] == "lights"),
        "{log:?}"
    );
    assert!(
        requests
            .iter()
            .any(|request| request["method"] == "PUT" && request["signer"]["name"] == "switch")
    );
    drop(two);
    for member in ["switch", "lamp-1"] {
        let verified = antiphon(&[
            "oscore",
            "verify",
            &place.path(&format!("lights/{member}.state")),
        ]);
        assert_eq!(code(&verified), 0, "{}", out(&verified));
    }
}

#[test]
fn a_strict_member_refuses_what_is_not_protected() {
    let place = Place::new();
    let _lamp = place.serve(1, "lights/lamp-1.toml");
    let times = ["-u", "-i", "127.0.0.1", "-t", "600ms"];
    let group = antiphon(&[&["get", &place.uri("/light")], &times[..]].concat());
    assert_eq!(code(&group), 4, "silence: {}{}", out(&group), err(&group));
    let one = antiphon(&["get", &format!("coap://{}/light", place.member(1)), "-u"]);
    assert!(out(&one).starts_with("4.01 Unauthorized"), "{}", out(&one));
    assert_eq!(code(&one), 6, "an error is no success");

    // Discovery is open, and can be asked under protection too.
    let open = antiphon(&[
        "get",
        &place.uri("/.well-known/core"),
        "-i",
        "127.0.0.1",
        "-t",
        "600ms",
    ]);
    assert_eq!(code(&open), 0, "{}", err(&open));
    let found = place.ask_group(&["get", &place.uri("/.well-known/core")], &[]);
    let found = lines(&found);
    assert_eq!(of_event(&found, "answer")[0]["signer"]["name"], "lamp-1");
}

#[test]
fn other_keys_are_not_heard() {
    let place = Place::new();
    let _lamp = place.serve(1, "lights/lamp-1.toml");
    // The same names, another secret; and the same secret with another private key.
    place.new_group("others", &[]);
    let keys = place.path("others/switch.toml");
    let times = [
        "-i",
        "127.0.0.1",
        "--leisure",
        "100ms",
        "-t",
        "800ms",
        "--json",
    ];
    let stranger = antiphon(
        &[
            &[
                "get",
                &place.uri("/light"),
                "--group",
                &keys,
                "-e",
                "lamp-1",
            ],
            &times[..],
        ]
        .concat(),
    );
    assert_eq!(code(&stranger), 4, "{}{}", out(&stranger), err(&stranger));

    let mine = std::fs::read_to_string(place.path("lights/switch.toml")).unwrap();
    std::fs::write(
        place.path("lights/switch.toml"),
        mine.replace("switch.key", "lamp-3.key"),
    )
    .unwrap();
    let wrong = place.ask_group(&["get", &place.uri("/light")], &[]);
    assert_eq!(code(&wrong), 2, "{}", err(&wrong));
    assert!(
        err(&wrong).contains("does not belong to the public key"),
        "{}",
        err(&wrong)
    );
    std::fs::write(place.path("lights/switch.toml"), &mine).unwrap();

    // Whoever answers to another name is not that member.
    let uri = format!("coap://{}/light", place.member(1));
    let other = place.ask(&["get", &uri, "--to", "lamp-2", "-t", "700ms"]);
    assert_eq!(code(&other), 4, "{}{}", out(&other), err(&other));
}

#[test]
fn what_cannot_be_meant_is_said_before_anything_is_sent() {
    let place = Place::new();
    let keys = place.path("lights/switch.toml");
    let uri = place.uri("/light");
    let one = format!("coap://{}/light", place.member(1));
    for (args, part) in [
        (&["get", &uri][..], "--group FILE"),
        (&["get", &uri][..], "say --unsecured (-u)"),
        (
            &["get", &uri, "-u", "--group", &keys],
            "cannot be used with",
        ),
        (
            &["get", &uri, "--group", &keys, "--to", "lamp-1"],
            "is a group, so --to has no meaning",
        ),
        (
            &["get", &one, "--group", &keys],
            "say which member of lights is at",
        ),
        (
            &["get", &one, "--group", &keys, "--to", "lamp-9"],
            "there is no member \"lamp-9\" in the group lights, which has lamp-1, lamp-2, lamp-3",
        ),
        (
            &["get", &one, "--group", &keys, "--to", "switch"],
            "is this endpoint itself",
        ),
        (
            &["get", &uri, "--group", &keys, "-e", "lamp-9"],
            "there is no member \"lamp-9\"",
        ),
        (
            &["get", &uri, "-u", "-e", "lamp-1"],
            "\"lamp-1\" is no IP address",
        ),
    ] {
        let refused = antiphon(args);
        assert_eq!(
            code(&refused),
            2,
            "{args:?}: {}{}",
            out(&refused),
            err(&refused)
        );
        assert!(err(&refused).contains(part), "{args:?}: {}", err(&refused));
    }
    let gone = antiphon(&["get", &uri, "--group", &place.path("nothing.state")]);
    assert_eq!(code(&gone), 5);
    assert!(!std::path::Path::new(&place.path("nothing.state.key")).exists());
}

#[test]
fn a_dry_run_counts_the_bytes_of_protection() {
    let place = Place::new();
    let group = place.ask(&["get", "coap://[ff05::fd]/light", "--dry-run"]);
    assert_eq!(code(&group), 0, "{}", err(&group));
    let group = &lines(&group)[0];
    // Flags, a Partial IV and a kid of 1 byte each, a Gid of 4 bytes behind its length: 8, and 1 before.
    assert_eq!(
        group["protected"],
        serde_json::json!({
            "header": 4, "token": 8, "outer_options": 0, "oscore_option": 9, "ciphertext": 8, "tag": 16, "signature": 64, "total": 109,
            "sequence_number": null,
        })
    );
    assert_eq!(group["frame"]["fits"], false);
    let keys = place.path("lights/switch.toml");
    let text = antiphon(&[
        "get",
        "coap://[ff05::fd]/light",
        "--group",
        &keys,
        "--dry-run",
    ]);
    assert!(
        out(&text).contains("Without its signature of 64 bytes it would"),
        "{}",
        out(&text)
    );
    assert!(
        out(&text).contains("up to 4 bytes more as numbers grow"),
        "{}",
        out(&text)
    );
    let one = place.ask(&[
        "get",
        "coap://[fd00::1]/light",
        "--to",
        "lamp-1",
        "--dry-run",
    ]);
    let one = &lines(&one)[0];
    assert_eq!(
        (
            &one["protected"]["signature"],
            &one["protected"]["total"],
            &one["frame"]["fits"]
        ),
        (&0.into(), &45.into(), &true.into())
    );
    assert!(
        !std::path::Path::new(&place.path("lights/switch.state")).exists(),
        "nothing is used, so nothing is counted"
    );
    // Where a state file counts, it is the number that comes next.
    let sent = place.ask(&["notify", &place.uri("/light"), "-i", "127.0.0.1"]);
    assert_eq!(code(&sent), 0, "{}", err(&sent));
    for file in ["lights/switch.toml", "lights/switch.state"] {
        let keys = place.path(file);
        let uri = "coap://[ff05::fd]/light";
        let next = antiphon(&["get", uri, "--group", &keys, "--dry-run", "--json"]);
        let next = &lines(&next)[0]["protected"];
        assert_eq!(
            (&next["sequence_number"], &next["total"]),
            (&1.into(), &109.into())
        );
    }
    let text = antiphon(&[
        "get",
        "coap://[ff05::fd]/light",
        "--group",
        &keys,
        "--dry-run",
    ]);
    let text = out(&text);
    assert!(
        text.contains("  numbers   sequence number 1 is next\n"),
        "{text}"
    );
}

#[test]
fn a_protected_message_is_opened_or_told_which_step_failed() {
    use std::time::Duration;
    let place = Place::new();
    // A relay between switch and lamp that writes down what passes: it is at the address that is asked.
    let relay = UdpSocket::bind(place.member(9)).unwrap();
    relay
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let _lamp = place.serve(1, "lights/lamp-1.toml");
    let lamp: std::net::SocketAddr = place.member(1).parse().unwrap();
    let uri = format!("coap://{}/light", place.member(9));
    let keys = place.path("lights/switch.toml");
    let asking = std::thread::spawn(move || {
        antiphon(&["get", &uri, "--group", &keys, "--to", "lamp-1", "-t", "5s"])
    });
    let mut buffer = [0; 2_048];
    let (length, switch) = relay.recv_from(&mut buffer).unwrap();
    let request = buffer[..length].to_vec();
    relay.send_to(&request, lamp).unwrap();
    let (length, _) = relay.recv_from(&mut buffer).unwrap();
    let response = buffer[..length].to_vec();
    relay.send_to(&response, switch).unwrap();
    let answered = asking.join().unwrap();
    assert_eq!(code(&answered), 0, "{}", err(&answered));

    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let (request_hex, response_hex) = (hex(&request), hex(&response));
    let decode = |file: &str, args: &[&str]| {
        let keys = place.path(file);
        antiphon(&[&["decode", "--group", &keys, "--json"], args].concat())
    };
    // Its receiver opens it, by the description as by the state file; while that is in use, and as often as one likes.
    for file in [
        "lights/lamp-1.toml",
        "lights/lamp-1.state",
        "lights/lamp-1.state",
    ] {
        let opened = decode(file, &[&request_hex]);
        assert_eq!(code(&opened), 0, "{}{}", out(&opened), err(&opened));
        let opened = &lines(&opened)[0]["opened"];
        assert_eq!(
            (&opened["signer"], &opened["mode"]),
            (&"switch".into(), &"pairwise mode".into())
        );
        assert_eq!(
            (
                &opened["message"]["code"],
                &opened["message"]["options"][0]["value"]
            ),
            (&"0.01".into(), &"light".into())
        );
    }
    let opened = decode(
        "lights/switch.toml",
        &[&response_hex, "--request", &request_hex],
    );
    assert_eq!(code(&opened), 0, "{}{}", out(&opened), err(&opened));
    let opened = &lines(&opened)[0]["opened"];
    assert_eq!(
        (
            &opened["signer"],
            &opened["message"]["code"],
            &opened["message"]["payload"]
        ),
        (&"lamp-1".into(), &"2.05".into(), &"off".into())
    );

    let mut changed = request.clone();
    *changed.last_mut().unwrap() ^= 1;
    let changed = hex(&changed);
    place.new_group("others", &[]);
    for (file, args, part) in [
        (
            "lights/lamp-1.toml",
            &[changed.as_str()][..],
            "the tag does not verify",
        ),
        (
            "lights/switch.toml",
            &[&request_hex],
            "opened with the file of its receiver",
        ),
        ("lights/switch.toml", &[&response_hex], "--request HEX"),
        (
            "others/lamp-1.toml",
            &[&request_hex],
            "no keys for it: it is for Gid ",
        ),
        ("lights/lamp-1.toml", &["40010001"], "it is not protected"),
    ] {
        let failed = decode(file, args);
        assert_eq!(code(&failed), 1, "{part}: {}{}", out(&failed), err(&failed));
        let problem = lines(&failed)[0]["opened"]["problem"].clone();
        assert!(
            problem.as_str().unwrap().contains(part),
            "{part}: {problem}"
        );
    }
}

#[test]
fn discovery_under_protection_and_members_that_are_found_by_their_sender_id() {
    let place = Place::new();
    let all_nodes = format!("224.0.1.187:{}", place.port);
    let serve = |i: u8| {
        let config = format!(
            "[server]\ngroup = \"lights/lamp-{i}.toml\"\nlisten = [\"{}\"]\ndiscoverable = \"groups\"\nleisure = \"100ms\"\n\
             mark-protected = true\naddress-discovery = true\nunsecured = true\n\
             [[group]]\nname = \"everybody\"\naddress = \"{all_nodes}\"\ninterfaces = [\"127.0.0.1\"]\nsecured-by = [\"lights\"]\n\
             [[resource]]\npath = \"/light\"\nvalue = \"off\"\non-group = \"respond\"\n\
             [[resource]]\npath = \"/name\"\nvalue = \"lamp\"\naccess = \"public\"\n",
            place.member(i)
        );
        Member::serve(&place.folder, &format!("found-{i}.toml"), &config)
    };
    let (mut one, _two) = (serve(1), serve(2));
    let port = place.port.to_string();
    let here = ["-i", "127.0.0.1", "-s", "ipv4", "-p", &port, "-t", "1500ms"];
    let keys = place.path("lights/switch.toml");
    let protected = ["--group", &keys, "--json"];
    let found = antiphon(&[&["discover"], &here[..], &protected].concat());
    assert_eq!(code(&found), 0, "{}{}", out(&found), err(&found));
    let found = lines(&found);
    let devices = of_event(&found, "device");
    let mut names: Vec<_> = devices.iter().map(|it| &it["signer"]["name"]).collect();
    names.sort_by_key(|name| name.to_string());
    assert_eq!(names, ["lamp-1", "lamp-2"], "{found:?}");
    for device in &devices {
        let links = device["links"].as_array().unwrap();
        let security: Vec<_> = links
            .iter()
            .map(|it| (&it["target"], &it["security"]))
            .collect();
        let gosc = serde_json::json!("gosc");
        assert_eq!(
            security,
            [
                (&"/member-address".into(), &gosc),
                (&"/light".into(), &gosc),
                (&"/name".into(), &serde_json::Value::Null)
            ]
        );
        assert_eq!(links[0]["attributes"]["gosc"], true);
    }
    // People read it behind the link, and who signed beside the address.
    let text = antiphon(&[&["discover"], &here[..], &protected[..2]].concat());
    let text = out(&text);
    assert!(text.contains("  signed by lamp-1"), "{text}");
    assert!(text.contains("gosc, osc"), "{text}");
    // Other keys find nobody; a context of two is no group.
    place.new_group("others", &[]);
    let others = place.path("others/switch.toml");
    let nobody = antiphon(&[&["discover"], &here[..], &["--group", &others]].concat());
    assert_eq!(code(&nobody), 4, "{}", out(&nobody));

    // Where the second lamp is.
    let uri = format!("coap://{all_nodes}/member-address?kid=02");
    let asked = place.ask_group(&["get", &uri], &[]);
    let asked = lines(&asked);
    let answers = of_event(&asked, "answer");
    assert_eq!(answers.len(), 1, "{asked:?}");
    assert_eq!(answers[0]["signer"]["name"], "lamp-2");
    let link = format!("<coap://{}>", place.member(2));
    let payload = answers[0]["payload"].to_string();
    assert!(payload.contains(&link), "{payload}");

    // Messages under keys that nobody here has: whoever runs the lamp is asked for current ones, once.
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    for number in 1..=40 {
        let mut junk = vec![0x50, 0x02, 0x77, number, 0x97, 0x39, number, 3];
        junk.extend_from_slice(b"zzz\x00\xff");
        junk.extend_from_slice(&[number; 90]);
        stranger.send_to(&junk, place.member(1)).unwrap();
    }
    let news = one.wait_for("security");
    assert_eq!(news["group"], "lights");
    assert_eq!(news["news"], "current-keys-wanted");
    // It has heard them all when it answers the next question.
    let uri = format!("coap://{}/name", place.member(1));
    let last = antiphon(&["get", &uri, "-u"]);
    assert_eq!(code(&last), 0, "{}", err(&last));
    let log = one.stop();
    assert!(of_event(&log, "security").is_empty(), "{log:?}");
}
