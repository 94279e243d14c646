//! A secured group that is observed while it gets new keys: `antiphon observe`, `antiphon serve` and `antiphon oscore` as an operator has them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use antiphon_tests::{Lab, Process, ours};
use serde_json::{Value, json};

use super::folder::Folder;
use super::{PATIENCE, events};

const LAMPS: [&str; 3] = ["lamp-1", "lamp-2", "lamp-3"];

/// What the lamps and the one who observes them have: their keys, and what each lamp shows.
struct Place(Folder);

impl Place {
    /// The state of a lamp, which its server looks at each second.
    fn turn(&self, lamp: &str, to: &str) {
        let (file, next) = (self.0.path(lamp), self.0.path("next.txt"));
        fs::write(&next, to).expect("the folder can be written");
        fs::rename(next, file).expect("the folder can be written");
    }

    fn serve(&self, lab: &Lab, host: u8, lamp: &str) -> Process {
        self.turn(lamp, "off");
        let config = format!(
            r#"
[server]
group = "{}"
listen = ["0.0.0.0:5683"]
discoverable = "groups"
leisure = "100ms"

[[group]]
name = "floor"
address = "224.0.1.187"
interfaces = ["eth0"]
secured-by = ["lights"]

[[resource]]
path = "/light"
file = "{}"
content-format = "text"
observable = true
on-group = "respond"
"#,
            self.0.path(&format!("lights/{lamp}.toml")),
            self.0.path(lamp)
        );
        ours::serve(lab, host, &config)
    }
}

/// Waits for so many notifications that say this; returns by whom they are signed, ascending.
fn told(observer: &mut Process, text: &str, wanted: usize) -> Vec<String> {
    let mut signers: Vec<String> = Vec::new();
    let end = std::time::Instant::now() + PATIENCE;
    while signers.len() < wanted {
        assert!(
            std::time::Instant::now() < end,
            "{wanted} of {text}: {:#?}",
            observer.lines_so_far()
        );
        std::thread::sleep(Duration::from_millis(20));
        let heard = events(observer, "notification");
        let of_it = heard.iter().filter(|n| n["payload"] == text);
        signers = of_it
            .map(|n| {
                assert_eq!(n["signer"]["group"], "lights", "{n}");
                n["signer"]["name"].as_str().expect("a name").to_owned()
            })
            .collect();
    }
    signers.sort();
    signers
}

fn hang_up(process: &Process) {
    let sent = std::process::Command::new("kill")
        .args(["-HUP", &process.id().to_string()])
        .status();
    assert!(sent.is_ok_and(|status| status.success()));
}

#[test]
fn a_secured_group_is_observed_through_a_rekeying_and_who_is_expelled_is_not_heard() {
    let lab = Lab::up(4);
    let folder = Folder::new();
    folder.new_group(&["switch", "lamp-1", "lamp-2", "lamp-3"]);
    let place = Place(folder);
    let mut lamps: Vec<Process> = (2..)
        .zip(LAMPS)
        .map(|(host, lamp)| place.serve(&lab, host, lamp))
        .collect();
    let keys = place.0.path("lights/switch.toml");
    let mut observer = lab.start(
        1,
        &[
            &ours::program(),
            "observe",
            "coap://224.0.1.187/light",
            "--group",
            &keys,
            "-i",
            "eth0",
            "--everyone",
            "--leisure",
            "200ms",
            "--rtt",
            "200ms",
            "--json",
        ],
    );
    assert_eq!(told(&mut observer, "off", 3), LAMPS);
    for lamp in LAMPS {
        place.turn(lamp, "on");
    }
    assert_eq!(told(&mut observer, "on", 3), LAMPS);

    // New keys, without lamp-3, which goes on with the old ones.
    place.0.oscore(&[
        "rekey",
        "lights/switch.toml",
        "--out",
        "next",
        "--remove",
        "lamp-3",
    ]);
    let bring = |member: &str| {
        let name = format!("{member}.toml");
        let (from, to) = (place.0.path("next"), place.0.path("lights"));
        fs::rename(Path::new(&from).join(&name), Path::new(&to).join(&name)).unwrap();
    };
    for (lamp, server) in LAMPS[..2].iter().zip(&mut lamps) {
        bring(lamp);
        hang_up(server);
        server.wait_for_line("\"new-keys\"", PATIENCE);
    }
    bring("switch");
    observer.wait_for_line("has new keys", PATIENCE);
    let mut expelled = lab.capture(1, &format!("udp and src host {}", lab.ipv4(4)));
    for text in ["dim", "bright"] {
        for lamp in LAMPS {
            place.turn(lamp, text);
        }
        assert_eq!(told(&mut observer, text, 2), LAMPS[..2]);
    }
    // It goes on notifying, with the old keys.
    expelled.wait_for_line(&format!("{}.5683 > ", lab.ipv4(4)), PATIENCE);

    let (success, lines) = observer.interrupt(PATIENCE);
    assert!(success, "{lines:#?}");
    let lines = lines
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok());
    let lines: Vec<Value> = lines.collect();
    let outcome = lines.last().expect("an outcome");
    assert_eq!(outcome["ended_by"], "deregistered", "{outcome}");
    assert_eq!(
        outcome["registrations"], 1,
        "the keys changed, the observation went on"
    );
    assert_eq!(outcome["unconfirmed"], json!(["lamp-3"]));
    for (lamp, notifications) in LAMPS.into_iter().zip([4, 4, 2]) {
        let of_it = lines.iter().filter(|line| line["member"] == lamp);
        let said: Vec<_> = of_it
            .map(|line| (&line["news"], &line["payload"]))
            .collect();
        let all = ["off", "on", "dim", "bright"].map(|text| json!(text));
        let news = ["first", "update", "update", "update"].map(|news| json!(news));
        let all: Vec<_> = news.iter().zip(&all).take(notifications).collect();
        assert_eq!(said, all, "{lamp}");
    }
}
