//! `antiphon discover` on the real groups and the real port, in a network namespace where nobody else hears it.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

const INSIDE: &str = "ANTIPHON_TEST_INSIDE";

/// A member that runs until the end of the test.
struct Member(Child);

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn member(name: &str, listen: &str, rt: &str, discoverable: &str) -> Member {
    let path = std::env::temp_dir().join(format!(
        "antiphon-discover-{}-{name}.toml",
        std::process::id()
    ));
    let text = format!(
        "[server]\nlisten = [\"{listen}\"]\ninterfaces = [\"lo\"]\nunsecured = true\ndiscoverable = \"{discoverable}\"\nleisure = \"100ms\"\n\
         [[resource]]\npath = \"/{name}\"\nrt = [\"{rt}\"]\nvalue = \"x\"\naccess = \"public\"\n"
    );
    std::fs::write(&path, text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_antiphon"))
        .args(["serve", "--json", "--config", path.to_str().unwrap()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    assert!(first.contains("\"serving\""), "{first}");
    std::fs::remove_file(&path).unwrap();
    Member(child)
}

/// Targets that were found, with the device and the scope, and the exit code.
fn discover(args: &[&str]) -> (Vec<(String, String)>, i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_antiphon"))
        .args(["discover", "-i", "lo", "-t", "500ms", "--json"])
        .args(args)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut found = Vec::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["event"] == "device" {
            for link in line["links"].as_array().unwrap() {
                let device = line["address"].as_str().unwrap();
                found.push((
                    device.to_owned(),
                    link["target"].as_str().unwrap().to_owned(),
                ));
            }
        }
    }
    found.sort();
    (
        found,
        output.status.code().unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn devices_are_found_in_each_scope() {
    if std::env::var_os(INSIDE).is_none() {
        return inside_a_namespace("devices_are_found_in_each_scope");
    }
    let _members = [
        member("lamp", "127.0.0.2:5683", "light", "all"),
        member("door", "[::1]:5683", "lock", "all"),
        member("hidden", "127.0.0.3:5683", "light", "off"),
    ];
    let lamp = ("127.0.0.2:5683".to_owned(), "/lamp".to_owned());
    let door = ("[::1]:5683".to_owned(), "/door".to_owned());
    let both = vec![lamp.clone(), door.clone()];
    for (args, expected) in [
        (&[][..], &both[..]),
        (&["--scope", "ipv4"], &both[..1]),
        (&["--scope", "link,site"], &both[1..]),
        (&["--scope", "site"], &both[1..]),
        (&["--rt", "light"], &both[..1]),
        (&["--rt", "l*"], &both),
        (&["--href", "/door"], &both[1..]),
    ] {
        let (found, code, err) = discover(args);
        assert_eq!((&found[..], code), (expected, 0), "{args:?}: {err}");
    }
    let (found, code, _) = discover(&["--rt", "window"]);
    assert_eq!((found.len(), code), (0, 4));

    let text = Command::new(env!("CARGO_BIN_EXE_antiphon"))
        .args(["discover", "-i", "lo", "-t", "500ms", "--scope", "ipv4"])
        .output()
        .unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.starts_with("127.0.0.2:5683  after "), "{text}");
    assert!(
        text.contains("\n  </lamp>  rt=light, ct=0\n1 device, 1 link in "),
        "{text}"
    );
}

/// Runs one test of this file again, in a network namespace where only the loopback interface is, with multicast of both families on it.
fn inside_a_namespace(test: &str) {
    let this = std::env::current_exe().unwrap();
    let script = format!(
        "ip link set lo up && ip -6 route add local ff00::/8 dev lo && exec '{}' --exact {test} --nocapture",
        this.display()
    );
    let mut failures = Vec::new();
    // Root needs no user namespace and may not be allowed one.
    for flags in ["-n", "-rn"] {
        let output = Command::new("unshare")
            .args([flags, "sh", "-c", &script])
            .env(INSIDE, "1")
            .output()
            .expect("unshare (package util-linux) and ip (package iproute2) are needed");
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        if output.status.success() {
            assert!(text.contains("1 passed"), "{text}");
            return;
        }
        assert!(
            !text.contains("running 1 test"),
            "inside of the namespace:\n{text}"
        );
        failures.push(text);
    }
    panic!("no network namespace can be made here, which this test needs: {failures:?}");
}
