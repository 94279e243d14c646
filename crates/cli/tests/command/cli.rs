//! The binary from outside: what it prints, and what it ends with.

use std::process::Output;

use super::program::{Folder, antiphon, code, err, out, with_input};

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", out(output)))
}

#[test]
fn decode_shows_a_message() {
    let shown = antiphon(&["decode", "51 01 7d41 86 b2 6770 03", "677031"]);
    assert_eq!(code(&shown), 0);
    assert_eq!(
        out(&shown),
        "NON 0.01 GET  message ID 32065 (0x7d41), token 86, 12 bytes\n  \
         option    number  bytes  value\n  \
         Uri-Path      11      2  \"gp\"\n  \
         Uri-Path      11      3  \"gp1\"\n"
    );
    let piped = with_input(
        &["decode", "-"],
        b"0x51 0x01 0x7d 0x41\n86 b2:67:70:03:67:70:31\n",
    );
    assert_eq!(out(&piped), out(&shown));
    let binary = with_input(
        &["decode", "--binary", "--json", "-"],
        &[0x60, 0x45, 0x00, 0x07],
    );
    assert_eq!(json(&binary)["type"], "ACK");
    assert_eq!(json(&binary)["message_id"], 7);
}

#[test]
fn decode_marks_what_is_malformed() {
    let shown = antiphon(&["decode", "50010001ff"]);
    assert_eq!(code(&shown), 1);
    assert!(out(&shown).starts_with("malformed: payload marker without payload at byte 4, of 5\n"));
    assert!(
        out(&shown).ends_with("  0000  50 01 00 01 ff\n                    ^^\n"),
        "{}",
        out(&shown)
    );
    let as_json = antiphon(&["decode", "--json", "50010001ff"]);
    assert_eq!(code(&as_json), 1);
    assert_eq!(json(&as_json)["kind"], "PayloadMarkerWithoutPayload");
    assert_eq!(json(&as_json)["offset"], 4);

    let not_hex = antiphon(&["decode", "50 0x"]);
    assert_eq!(
        code(&not_hex),
        1,
        "0x alone is an empty group: two bytes are too short"
    );
    let not_hex = antiphon(&["decode", "50 zz"]);
    assert_eq!(code(&not_hex), 2);
    assert_eq!(
        err(&not_hex),
        "antiphon: \"z\" is not a hexadecimal digit at character 4\n"
    );
}

#[test]
fn nothing_that_a_payload_says_reaches_the_terminal_as_a_command() {
    let shown = antiphon(&["decode", "50 45 0001 c0 ff 1b5b324a c29b 0d e280ae"]);
    assert_eq!(code(&shown), 0);
    assert!(
        out(&shown).contains("\\u001b[2J\\u009b\\r\\u202e"),
        "{}",
        out(&shown)
    );
    assert!(!out(&shown).contains(|c: char| c.is_control() && c != '\n'));
}

#[test]
fn dry_run_shows_the_request_and_its_sizes() {
    let shown = antiphon(&[
        "put",
        "coap://[ff05::fd]/gp/l/light",
        "{\"on\":true}",
        "-f",
        "cbor",
        "--dry-run",
    ]);
    assert_eq!(code(&shown), 0, "{}", err(&shown));
    let text = out(&shown);
    for part in [
        "NON 0.03 PUT  coap://[ff05::fd]/gp/l/light\n",
        "the group ff05::fd port 5683, site scope\n",
        "Content-Format      12      1  60 (application/cbor)\n",
        "payload   {\"on\": true}\n",
        "size      31 bytes: header 4, token 8, options 13, payload 6; 79 with UDP and IPv6\n",
        "fits one frame: 31 of 79 bytes, of 58 with link-layer security\n",
        "datagram  58 03 mm mm tt tt tt tt tt tt tt tt b2 67 70 01 6c 05 6c 69 67 68 74 11 3c ff a1 62 6f 6e f5\n",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }

    let as_json = json(&antiphon(&[
        "get",
        "coap://[ff05::fd]/x?a=b",
        "--dry-run",
        "--json",
    ]));
    assert_eq!(as_json["size"]["total"], 18);
    assert_eq!(as_json["options_and_payload_hex"], "b17843613d62");
    assert_eq!(as_json["frame"]["fits"], true);

    let large = antiphon(&["put", "coap://[ff05::fd]/x", &"x".repeat(70), "--dry-run"]);
    assert!(
        out(&large).contains("does not fit one frame: 86 of 79 bytes"),
        "{}",
        out(&large)
    );
    let strict = antiphon(&[
        "put",
        "coap://[ff05::fd]/x",
        &"x".repeat(43),
        "--dry-run",
        "--link",
        "6lowpan-strict",
    ]);
    assert_eq!(code(&strict), 2, "{}", out(&strict));
    assert!(
        err(&strict).contains("--link 6lowpan-strict allows 58 bytes, and these are 59"),
        "{}",
        err(&strict)
    );
    let tight = antiphon(&["put", "coap://[ff05::fd]/x", &"x".repeat(63), "--dry-run"]);
    assert!(
        out(&tight).contains(
            "fits one frame (79 of 79 bytes), but not with link-layer security (58 bytes)"
        ),
        "{}",
        out(&tight)
    );
}

#[test]
fn dry_run_of_the_other_kinds() {
    let member = json(&antiphon(&[
        "get",
        "coap://10.0.0.7/x",
        "--dry-run",
        "--json",
    ]));
    assert_eq!(
        (&member["type"], &member["group"]),
        (&"CON".into(), &false.into())
    );
    let non = json(&antiphon(&[
        "get",
        "coap://10.0.0.7/x",
        "--non",
        "--dry-run",
        "--json",
    ]));
    assert_eq!(non["type"], "NON");
    let notify = json(&antiphon(&[
        "notify",
        "coap://224.0.1.187/alarm",
        "fire",
        "--dry-run",
        "--json",
    ]));
    assert_eq!(
        (&notify["name"], &notify["options"][2]["value"]),
        (&"POST".into(), &26.into())
    );
    let confirm = json(&antiphon(&[
        "notify",
        "coap://224.0.1.187/alarm",
        "--put",
        "--confirm",
        "--dry-run",
        "--json",
    ]));
    assert_eq!(confirm["name"], "PUT");
    assert_eq!(
        confirm["options"].as_array().unwrap().len(),
        1,
        "no No-Response where members shall answer"
    );
    let named = json(&antiphon(&[
        "fetch",
        "coap://lights.example/x",
        "q",
        "--dry-run",
        "--json",
    ]));
    assert_eq!(
        (&named["code"], &named["options"][0]["value"]),
        (&"0.05".into(), &"lights.example".into())
    );
    let piped = with_input(
        &["post", "coap://10.0.0.7/x", "-", "--dry-run", "--json"],
        b"from a pipe",
    );
    assert_eq!(json(&piped)["payload"], "from a pipe");
    for (method, number) in [("delete", "0.04"), ("patch", "0.06"), ("ipatch", "0.07")] {
        let shown = antiphon(&[method, "coap://10.0.0.7/x", "--dry-run", "--json"]);
        assert_eq!(json(&shown)["code"], number);
    }
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_sent() {
    let folder = Folder::new("members");
    let members = folder.write("members.txt", "a 10.0.0.1\nb 10.0.0.300\n");
    for (args, part) in [
        (&["get"][..], "required arguments were not provided"),
        (
            &["get", "http://x/"],
            "the scheme is not one of CoAP\n  http://x/\n  ^",
        ),
        (
            &["get", "coap://224.0.1.187:5684/"],
            "the port of a group is never 5684\n  coap://224.0.1.187:5684/\n                     ^",
        ),
        (
            &["get", "coap://x/%zz"],
            "% without two hexadecimal digits\n  coap://x/%zz\n           ^",
        ),
        (
            &["get", "coap://x/", "--option", "Uri-Path=x"],
            "Uri-Path is said by the URI",
        ),
        (
            &[
                "get",
                "coap://x/",
                "--option",
                "No-Response=2",
                "--option",
                "258=8",
            ],
            "the option No-Response is given twice",
        ),
        (
            &["get", "coap://x/", "--accept", "yaml"],
            "\"yaml\" is no known Content-Format",
        ),
        (
            &["get", "coap://x/", "-t", "soon"],
            "\"soon\" is no unit of time",
        ),
        (&["get", "coap://x/", "--count", "0"], "0 is not in 1.."),
        (
            &["get", "coap://x/", "--expect", "224.0.0.1"],
            "is a group's address, not a member's",
        ),
        (
            &[
                "get",
                "coap://x/",
                "--expect",
                "a=10.0.0.1",
                "--expect",
                "a=10.0.0.2",
            ],
            "the member \"a\" is expected twice",
        ),
        (
            &["get", "coap://x/", "--members", &members],
            "members.txt:2: \"10.0.0.300\" is no IP address",
        ),
        (
            &["put", "coap://x/", "{", "-f", "cbor"],
            "the payload is not JSON",
        ),
        (
            &["notify", "coap://224.0.1.187/x", "--count", "3"],
            "so --count has no meaning",
        ),
        (
            &["notify", "coap://224.0.1.187/x", "--expect", "10.0.0.1"],
            "so expected members has no meaning",
        ),
    ] {
        let refused = antiphon(args);
        assert_eq!(code(&refused), 2, "{args:?}: {}", err(&refused));
        assert!(err(&refused).contains(part), "{args:?}: {}", err(&refused));
        assert_eq!(out(&refused), "", "{args:?}");
    }
    for args in [
        &["get", "coap://x/", "--members", "/no/such/file"][..],
        &["put", "coap://x/", "@/no/such/file"],
        &["serve", "--config", "/no/such/file"],
    ] {
        let failed = antiphon(args);
        assert_eq!(code(&failed), 5, "{args:?}: {}", err(&failed));
        assert!(
            err(&failed).contains("/no/such/file: No such file"),
            "{}",
            err(&failed)
        );
    }
}

#[test]
fn serve_checks_its_configuration() {
    let folder = Folder::new("serve");
    let good = folder.write(
        "good.toml",
        "[server]\nunsecured = true\n[[group]]\nname = \"floor\"\naddress = \"224.0.1.187\"\ninterfaces = [\"lo\"]\nunsecured = true\n\
         [[resource]]\npath = \"/light\"\nvalue = \"off\"\nwritable = true\naccess = \"unsecured\"\non-group = \"respond\"\n",
    );
    let shown = antiphon(&["serve", "--check", "--config", &good]);
    assert_eq!(code(&shown), 0, "{}", err(&shown));
    for part in [
        "listens on  0.0.0.0:5683\n",
        "group       floor at 224.0.1.187:5683 on lo\n",
        "/light    unsecured  GET PUT  answers in 5 s",
        "  - /light can be read and changed by anyone on the network\n",
    ] {
        assert!(
            out(&shown).contains(part),
            "{part:?} is not in:\n{}",
            out(&shown)
        );
    }
    let as_json = json(&antiphon(&[
        "serve", "--check", "--json", "--config", &good,
    ]));
    assert_eq!(as_json["resources"][0]["access"], "unsecured");

    let bad = folder.write(
        "bad.toml",
        "[server]\nlisten = []\n\n[[resource]]\npath = \"/x\"\nvalu = \"1\"\n",
    );
    let refused = antiphon(&["serve", "--check", "--config", &bad]);
    assert_eq!(code(&refused), 2);
    assert!(
        err(&refused).contains("bad.toml:6: unknown field `valu`"),
        "{}",
        err(&refused)
    );
}

#[test]
fn help_has_examples_and_no_colour_where_nobody_wants_it() {
    let overview = antiphon(&["--help"]);
    assert_eq!(code(&overview), 0);
    assert!(out(&overview).contains("Exit codes:"));
    for command in [
        "get", "put", "post", "delete", "fetch", "patch", "ipatch", "notify", "serve", "decode",
        "oscore",
    ] {
        let help = antiphon(&[command, "--help"]);
        assert_eq!(code(&help), 0);
        let text = out(&help);
        assert!(text.contains("xample"), "{command} has no example");
        assert!(
            text.contains(&format!("  antiphon {command} ")),
            "{command}"
        );
        assert!(!text.contains('\u{1b}'), "{command}: colours in a pipe");
        if !["serve", "decode", "oscore"].contains(&command) {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for default in [
                "after the last transmission [default: 10s; with --group 25s, the leisure and 5s; one member: up to 93s]",
                "before they answer [default: 5s; with --group 20s]",
                "to a member and back [default: 1s]",
            ] {
                assert!(text.contains(default), "{command}: {default}");
            }
        }
    }
    let discover = out(&antiphon(&["discover", "--help"]));
    let discover = discover.split_whitespace().collect::<Vec<_>>().join(" ");
    let default = "after the last transmission [default: 6s; with --group 25s]";
    assert!(discover.contains(default), "{discover}");
    assert_eq!(code(&antiphon(&[])), 2);
    assert_eq!(code(&antiphon(&["sing"])), 2);
}
