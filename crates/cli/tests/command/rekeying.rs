//! New keys for a group whose members run, somebody who is expelled, and what a changed file must not do.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::program::{antiphon, code, command, err, lines, of_event, out};
use super::secured::Place;

impl Place {
    /// New keys in a new folder, from the file of the switch.
    fn rekey(&self, folder: &str, more: &[&str]) -> serde_json::Value {
        let (file, to) = (self.path("lights/switch.toml"), self.path(folder));
        let args = ["oscore", "rekey", &file, "--out", &to, "--json"];
        let made = antiphon(&[&args, more].concat());
        assert_eq!(code(&made), 0, "{}", err(&made));
        lines(&made).remove(0)
    }

    /// A member gets its new file, as an operator brings it.
    fn bring(&self, folder: &str, member: &str) {
        let from = self.path(&format!("{folder}/{member}.toml"));
        std::fs::rename(from, self.path(&format!("lights/{member}.toml"))).unwrap();
    }

    /// Who answers the switch.
    fn who_answers(&self) -> Vec<String> {
        let asked = self.ask_group(&["get", &self.uri("/light")], &["--everyone"]);
        let lines = lines(&asked);
        let answers = of_event(&lines, "answer");
        let mut names: Vec<String> = answers
            .iter()
            .map(|answer| answer["signer"]["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    }

    fn generation(&self, member: &str) -> u64 {
        let state = self.path(&format!("lights/{member}.state"));
        let shown = antiphon(&["oscore", "inspect", &state, "--json"]);
        assert_eq!(code(&shown), 0, "{}", err(&shown));
        lines(&shown)[0]["groups"][0]["generation"]
            .as_u64()
            .unwrap()
    }
}

#[test]
fn a_group_gets_new_keys_while_it_runs_and_who_is_expelled_is_out() {
    let place = Place::new();
    let mut one = place.serve(1, "lights/lamp-1.toml");
    let two = place.serve(2, "lights/lamp-2.toml");
    assert_eq!(place.who_answers(), ["lamp-1", "lamp-2"]);

    let made = place.rekey("next", &["--remove", "lamp-2"]);
    assert_eq!(
        (&made["name"], &made["generation"]),
        (&"lights".into(), &1.into())
    );
    let files: Vec<&str> = made["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| member["name"].as_str().unwrap())
        .collect();
    assert_eq!(files, ["switch", "lamp-1", "lamp-3"]);
    let is_there = |name: &str| std::path::Path::new(&place.path(name)).exists();
    assert!(!is_there("next/lamp-2.toml") && !is_there("next/lamp-1.key"));
    place.bring("next", "lamp-1");
    one.signal("-HUP");
    let told = one.wait_for("keys");
    assert_eq!(
        (
            &told["group"],
            &told["change"],
            &told["generation"],
            &told["gid"]
        ),
        (
            &"lights".into(),
            &"new-keys".into(),
            &1.into(),
            &made["gid"]
        )
    );
    assert_eq!(
        place.who_answers(),
        ["lamp-2"],
        "the switch has the old keys still"
    );
    place.bring("next", "switch");
    assert_eq!(place.who_answers(), ["lamp-1"]);
    assert_eq!(
        (place.generation("lamp-1"), place.generation("switch")),
        (1, 1)
    );
    // Who has the old keys is not heard.
    let log = two.stop();
    assert!(of_event(&log, "keys").is_empty());
    let uri = format!("coap://{}/light", place.member(1));
    let old = place.path("lights/lamp-2.toml");
    let times = ["-t", "600ms"];
    let unheard = antiphon(
        &[
            &["get", &uri, "--group", &old, "--to", "lamp-1"],
            &times[..],
        ]
        .concat(),
    );
    assert_eq!(code(&unheard), 4, "{}{}", out(&unheard), err(&unheard));

    // What does not fit is told, and changes nothing.
    let good = std::fs::read(place.path("lights/lamp-1.toml")).unwrap();
    for bad in ["[group", "[oscore]\nname = \"lights\""] {
        place.folder.write("lights/lamp-1.toml", bad);
        one.signal("-HUP");
        let told = one.wait_for("keys");
        assert_eq!(told["change"], "refused", "{told}");
    }
    std::fs::copy(&old, place.path("lights/lamp-1.toml")).unwrap();
    one.signal("-HUP");
    let told = one.wait_for("keys");
    assert_eq!(
        told["change"], "refused",
        "of somebody else, and older: {told}"
    );
    assert_eq!(place.who_answers(), ["lamp-1"]);
    std::fs::write(place.path("lights/lamp-1.toml"), good).unwrap();
    drop(one.stop());
    let verified = antiphon(&["oscore", "verify", &place.path("lights/lamp-1.state")]);
    assert_eq!(code(&verified), 0, "{}", out(&verified));

    // After a new start it goes on with the keys that it has; the old description does not come back.
    let again = place.serve(1, "lights/lamp-1.toml");
    assert_eq!(place.who_answers(), ["lamp-1"]);
    drop(again.stop());
    assert_eq!(place.generation("lamp-1"), 1);
}

#[test]
fn a_changed_file_is_noticed_by_servers_and_by_commands_that_wait() {
    let place = Place::new();
    let mut lamp = place.serve(1, "lights/lamp-1.toml");
    let switch = place.path("lights/switch.toml");
    let mut waiting = command()
        .args([
            "get",
            &place.uri("/light"),
            "--group",
            &switch,
            "--everyone",
            "-i",
            "127.0.0.1",
        ])
        .args(["--leisure", "60s", "-t", "60s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(waiting.stderr.take().unwrap()).lines();
    let mut heard = BufReader::new(waiting.stdout.take().unwrap()).lines();
    let first = heard.find(|line| line.as_ref().unwrap().contains("lamp-1"));
    assert!(first.is_some(), "it has answered");
    let made = place.rekey("next", &["--add", "lamp-4", "--gid", "0102030405"]);
    assert_eq!(made["members"][4]["new"], true);
    for file in ["next/lamp-4.toml", "next/lamp-4.key"] {
        assert!(std::path::Path::new(&place.path(file)).exists(), "{file}");
    }
    let fourth = antiphon(&[
        "oscore",
        "context",
        &place.path("next/lamp-4.toml"),
        "--check",
    ]);
    assert_eq!(code(&fourth), 0, "{}", err(&fourth));
    place.bring("next", "switch");
    place.bring("next", "lamp-1");
    assert_eq!(lamp.wait_for("keys")["gid"], "0102030405");
    let told = said.find(|line| line.as_ref().unwrap().contains("has new keys"));
    assert!(
        told.unwrap()
            .unwrap()
            .contains("Gid 0102030405, generation 1"),
        "the command that waits has them too"
    );
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    assert_eq!(place.who_answers(), ["lamp-1"]);
    assert_eq!(
        (place.generation("lamp-1"), place.generation("switch")),
        (1, 1)
    );
    // Other members with the same keys.
    let mine = std::fs::read_to_string(place.path("lights/lamp-1.toml")).unwrap();
    let (before, _) = mine.rsplit_once("\n[[member]]").unwrap();
    let next = place.folder.write("lights/lamp-1.next", before);
    std::fs::set_permissions(&next, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::rename(&next, place.path("lights/lamp-1.toml")).unwrap();
    let told = lamp.wait_for("keys");
    assert_eq!(
        (&told["change"], &told["removed"]),
        (&"members".into(), &serde_json::json!(["lamp-4"]))
    );
}

#[test]
fn new_keys_that_cannot_be_meant_are_refused() {
    let place = Place::new();
    let file = place.path("lights/switch.toml");
    let to = place.path("next");
    for (more, part) in [
        (&["--generation", "0"][..], "must be higher than 0"),
        (
            &["--remove", "lamp-9"],
            "no member \"lamp-9\" in the group, which has switch, lamp-1",
        ),
        (&["--remove", "switch"], "take that of one that stays"),
        (&["--add", "lamp-1"], "there is a member \"lamp-1\" already"),
        (&["--add", "../x"], "cannot be a member's name"),
        (&["--gid", "xy"], "--gid"),
    ] {
        let args = ["oscore", "rekey", &file, "--out", &to];
        let refused = antiphon(&[&args, more].concat());
        assert_eq!(code(&refused), 2, "{more:?}: {}", out(&refused));
        assert!(err(&refused).contains(part), "{more:?}: {}", err(&refused));
        assert!(!std::path::Path::new(&to).exists());
    }
    // By Sender ID, and for people.
    let args = [
        "oscore",
        "rekey",
        &file,
        "--out",
        &to,
        "--remove",
        "02",
        "--generation",
        "7",
    ];
    let made = antiphon(&args);
    assert_eq!(code(&made), 0, "{}", err(&made));
    let text = out(&made);
    assert!(text.contains("generation 7), 3 members in"), "{text}");
    assert!(!text.contains("lamp-2"), "{text}");
    let again = antiphon(&args);
    assert_eq!(code(&again), 2, "the folder is there");
    let secret = |path: &str| {
        let text = std::fs::read_to_string(place.path(path)).unwrap();
        let line = text.lines().find(|line| line.starts_with("master-secret"));
        line.unwrap().to_owned()
    };
    assert_ne!(secret("next/lamp-1.toml"), secret("lights/lamp-1.toml"));
    assert_eq!(secret("next/lamp-1.toml"), secret("next/switch.toml"));
    assert!(!text.contains(secret("next/lamp-1.toml").split('"').nth(1).unwrap()));
}
