//! The `antiphon` command inside hosts of a lab, as a user would start it.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::hosts::Lab;
use crate::process::{Process, scratch};

/// How long a member may take to start, and a question to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program, which `cargo build` puts beside the test binaries' folder.
///
/// # Panics
/// When it has not been built.
pub fn program() -> String {
    let mut path = std::env::current_exe().expect("a test binary has a path");
    path.pop(); // the file
    path.pop(); // deps
    path.push("antiphon");
    assert!(
        path.exists(),
        "{} is not there: run `cargo build` first",
        path.display()
    );
    path.to_string_lossy().into_owned()
}

/// A member with the resources that our peers have: `/temp`, `/light`, `/slow`.
pub const MEMBER: &str = r#"
[server]
listen = ["0.0.0.0:5683", "[::]:5683"]
interfaces = ["eth0"]
leisure = "300ms"
unsecured = true

[[resource]]
path = "/temp"
value = "21.5 C"
access = "public"
on-group = "respond"

[[resource]]
path = "/light"
value = "off"
writable = true
access = "unsecured"
on-group = "respond"

[[resource]]
path = "/slow"
command = ["sh", "-c", "sleep 1; printf 'at last'"]
access = "unsecured"
"#;

/// Starts a member in a host; returns when it serves.
pub fn serve(lab: &Lab, host: u8, config: &str) -> Process {
    let file = scratch("toml");
    fs::write(&file, config).expect("the temporary folder can be written");
    let mut process = lab.start(
        host,
        &[
            &program(),
            "serve",
            "--config",
            &file.to_string_lossy(),
            "--json",
        ],
    );
    process.wait_for_line("\"serving\"", PATIENCE);
    let _ = fs::remove_file(file);
    process
}

/// What the command printed with `--json`.
#[derive(Debug)]
pub struct Asked {
    /// Its exit code.
    pub success: bool,
    /// One value a line.
    pub lines: Vec<Value>,
}

impl Asked {
    /// The answers.
    pub fn answers(&self) -> impl Iterator<Item = &Value> {
        self.lines.iter().filter(|line| line["event"] == "answer")
    }

    /// The outcome.
    ///
    /// # Panics
    /// When none was printed.
    pub fn outcome(&self) -> &Value {
        self.lines
            .iter()
            .find(|line| line["event"] == "outcome")
            .unwrap_or_else(|| panic!("no outcome in {:?}", self.lines))
    }

    /// The addresses that answered, without port and brackets.
    pub fn addresses(&self) -> BTreeSet<String> {
        self.answers()
            .filter_map(|a| a["address"].as_str())
            .map(host_of)
            .collect()
    }

    /// The names in a list of the outcome: `answered`, `missing` and so on.
    pub fn names(&self, list: &str) -> BTreeSet<String> {
        let name = |entry: &Value| {
            entry
                .as_str()
                .or_else(|| entry["member"].as_str())
                .or_else(|| entry["name"].as_str())
                .map(str::to_owned)
        };
        let entries = self.outcome()[list].as_array().cloned().unwrap_or_default();
        entries.iter().filter_map(name).collect()
    }
}

fn host_of(address: &str) -> String {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_matches(['[', ']']);
    host.split('%').next().unwrap_or(host).to_owned()
}

/// Runs `antiphon WORDS --json` in a host until it ends.
pub fn ask(lab: &Lab, host: u8, words: &[&str]) -> Asked {
    let program = program();
    let all = [&[program.as_str()], words, &["--json"]].concat();
    let (success, lines) = lab.start(host, &all).finish(PATIENCE);
    let lines = lines
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    Asked { success, lines }
}

/// The code and the payload of a unicast request, as text.
pub fn ask_one(lab: &Lab, host: u8, words: &[&str]) -> (String, String) {
    let asked = ask(lab, host, words);
    let answer = asked.lines.iter().find(|line| line["code"].is_string());
    let text = |key: &str| {
        answer
            .and_then(|a| a[key].as_str())
            .unwrap_or_default()
            .to_owned()
    };
    (text("code"), text("payload"))
}

/// The payload of an answer as it was printed in hexadecimal, as text.
///
/// # Panics
/// When it is no UTF-8.
pub fn text_of(answer: &Value) -> String {
    let hex = answer["payload_hex"].as_str().unwrap_or_default();
    let digits = hex.as_bytes().chunks_exact(2);
    let bytes = digits.filter_map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok());
    String::from_utf8(bytes.collect()).expect("a text")
}
