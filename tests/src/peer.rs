//! Other implementations of CoAP: their servers and clients, inside hosts of a lab. See `tests/peers/README.md`.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::hosts::Lab;
use crate::process::{Process, installed, root, scratch};

/// How long a peer may take to start, and to answer one unicast request.
const PATIENCE: Duration = Duration::from_secs(20);

/// An implementation that is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// libcoap, C, as Debian ships it.
    Libcoap,
    /// aiocoap, Python.
    Aiocoap,
    /// node-coap, JavaScript.
    NodeCoap,
    /// coap-rs, Rust.
    CoapRs,
}

/// An answer that a peer's client delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The address of who answered, without port; empty for unicast requests.
    pub from: String,
    /// The code as text, such as `2.05`.
    pub code: String,
    /// The payload as text.
    pub payload: String,
}

impl Peer {
    /// All of them.
    pub const ALL: [Peer; 4] = [Peer::Libcoap, Peer::Aiocoap, Peer::NodeCoap, Peer::CoapRs];

    /// The name that people know it by.
    pub fn name(self) -> &'static str {
        match self {
            Peer::Libcoap => "libcoap",
            Peer::Aiocoap => "aiocoap",
            Peer::NodeCoap => "node-coap",
            Peer::CoapRs => "coap-rs",
        }
    }

    /// A resource of its server that can be read.
    pub fn readable(self) -> &'static str {
        if self == Peer::Libcoap {
            "time"
        } else {
            "temp"
        }
    }

    /// A resource of its server that can be read and written.
    pub fn writable(self) -> &'static str {
        if self == Peer::Libcoap {
            "example_data"
        } else {
            "light"
        }
    }

    /// A resource of its server that answers after a second, by a separate response.
    pub fn slow(self) -> &'static str {
        if self == Peer::Libcoap {
            "async?1"
        } else {
            "slow"
        }
    }

    /// What `slow` answers.
    pub fn slow_payload(self) -> &'static str {
        if self == Peer::Libcoap {
            "done"
        } else {
            "at last"
        }
    }

    /// A resource of its server that can be observed, and changes when it is written. coap-rs has it once it was written.
    pub fn observable(self) -> &'static str {
        self.writable()
    }

    /// Starts its server in a host, on port 5683, as a member of `group`; returns when it has joined.
    /// libcoap listens in the family of the group only; the others listen in both and are members of 224.0.1.187, ff02::fd
    /// and ff05::fd.
    pub fn serve(self, lab: &Lab, host: u8, group: IpAddr) -> Process {
        let address = lab.ipv4(host);
        let group_text = group.to_string();
        let any = if group.is_ipv4() { "0.0.0.0" } else { "::" };
        let program = self.program("server");
        let program: Vec<&str> = program.iter().map(String::as_str).collect();
        let arguments: &[&str] = match self {
            Peer::Libcoap => &["-A", any, "-g", &group_text, "-G", "eth0", "-d", "10"],
            Peer::Aiocoap => &["eth0"],
            Peer::NodeCoap => &["eth0", &address],
            Peer::CoapRs => &["serve", "eth0", &address],
        };
        let mut process = lab.start(host, &[&program, arguments].concat());
        let id = process.id();
        process.wait_until(&format!("a member of {group}"), PATIENCE, || {
            is_member(id, group)
        });
        process
    }

    /// Asks one server with a confirmable GET.
    pub fn get(self, lab: &Lab, host: u8, uri: &str) -> Option<Answer> {
        match self {
            Peer::Libcoap => self.ask(lab, host, &["-m", "get", uri]),
            _ => self.ask(lab, host, &["get", uri]),
        }
    }

    /// Asks one server with a non-confirmable GET.
    pub fn get_non(self, lab: &Lab, host: u8, uri: &str) -> Option<Answer> {
        match self {
            Peer::Libcoap => self.ask(lab, host, &["-N", "-m", "get", uri]),
            _ => self.ask(lab, host, &["get", uri, "--non"]),
        }
    }

    /// Writes to one server with a confirmable PUT.
    pub fn put(self, lab: &Lab, host: u8, uri: &str, payload: &str) -> Option<Answer> {
        match self {
            Peer::Libcoap => self.ask(lab, host, &["-m", "put", "-e", payload, uri]),
            _ => self.ask(lab, host, &["put", uri, payload]),
        }
    }

    /// Writes the content of a file to one server with a confirmable PUT, in blocks where it is larger than one.
    pub fn put_file(self, lab: &Lab, host: u8, uri: &str, file: &Path) -> Option<Answer> {
        let file = file.to_string_lossy();
        match self {
            Peer::Libcoap => self.ask(lab, host, &["-m", "put", "-f", &file, uri]),
            _ => self.ask(lab, host, &["put", uri, &format!("@{file}")]),
        }
    }

    /// Asks one server for a body of several blocks, and returns it as its client has put it together: a text of one line.
    pub fn get_body(self, lab: &Lab, host: u8, uri: &str) -> Option<String> {
        if self != Peer::Libcoap {
            return self.get(lab, host, uri).map(|answer| answer.payload);
        }
        let file = scratch("body");
        let program = self.program("client");
        let name = file.to_string_lossy();
        let words = [program[0].as_str(), "-o", &name, "-m", "get", uri];
        lab.start(host, &words).finish(PATIENCE);
        let body = fs::read_to_string(&file).ok();
        let _ = fs::remove_file(file);
        body
    }

    /// Observes a resource with its client, which deregisters after `wanted` notifications; libcoap's does so after two
    /// seconds. The others run on until they are dropped.
    pub fn observe(self, lab: &Lab, host: u8, uri: &str, wanted: usize) -> Process {
        let wanted = wanted.to_string();
        let mut words = self.client();
        match self {
            Peer::Libcoap => words.extend(["-s", "2", "-m", "get", uri].map(str::to_owned)),
            _ => words.extend(["observe", uri, &wanted].map(str::to_owned)),
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        lab.start(host, &words)
    }

    /// What its client has delivered, as it is printed by [`observe`](Self::observe).
    pub fn notifications(self, lines: &[String]) -> Vec<String> {
        let answers: Vec<Answer> = match self {
            Peer::Libcoap => libcoap_answers(lines),
            _ => lines.iter().filter_map(|line| answer(line, "")).collect(),
        };
        let content = answers.into_iter().filter(|answer| answer.code == "2.05");
        content.map(|answer| answer.payload).collect()
    }

    /// Asks a group once and returns what its client delivers within `seconds`. aiocoap delivers the first answer only.
    pub fn collect(self, lab: &Lab, host: u8, uri: &str, seconds: u8) -> Vec<Answer> {
        let seconds = seconds.to_string();
        let (_, lines) = match self {
            Peer::Libcoap => {
                // A link-local group needs its zone; libcoap wants it inside the address.
                let uri = uri.replace("[ff02::fd]", "[ff02::fd%eth0]");
                self.run(lab, host, &["-N", "-B", &seconds, "-m", "get", &uri])
            }
            _ => self.run(lab, host, &["collect", uri, &seconds, "eth0"]),
        };
        match self {
            Peer::Libcoap => libcoap_answers(&lines),
            _ => lines
                .iter()
                .filter_map(|line| answer_with_address(line))
                .collect(),
        }
    }

    fn ask(self, lab: &Lab, host: u8, arguments: &[&str]) -> Option<Answer> {
        let (_, lines) = self.run(lab, host, arguments);
        match self {
            Peer::Libcoap => libcoap_answers(&lines).pop().map(|answer| Answer {
                from: String::new(),
                ..answer
            }),
            _ => lines.iter().find_map(|line| answer(line, "")),
        }
    }

    fn run(self, lab: &Lab, host: u8, arguments: &[&str]) -> (bool, Vec<String>) {
        let client = self.client();
        let mut words: Vec<&str> = client.iter().map(String::as_str).collect();
        words.extend(arguments);
        lab.start(host, &words).finish(PATIENCE)
    }

    fn client(self) -> Vec<String> {
        let mut words = self.program("client");
        if self == Peer::Libcoap {
            // Every message as a line, payloads not between them.
            words.extend(["-v", "7", "-o", "/dev/null"].map(str::to_owned));
        }
        words
    }

    /// The program and the words that choose `server` or `client`.
    fn program(self, role: &str) -> Vec<String> {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let source =
            |folder: &str, file: String| text(root().join("tests/peers").join(folder).join(file));
        match self {
            Peer::Libcoap => vec![format!("coap-{role}-notls")],
            Peer::Aiocoap => vec![
                text(installed("venv/bin/python")),
                source("aiocoap", format!("{role}.py")),
            ],
            Peer::NodeCoap => {
                let modules = text(installed("node/node_modules"));
                vec![
                    "env".into(),
                    format!("NODE_PATH={modules}"),
                    "node".into(),
                    source("node", format!("{role}.js")),
                ]
            }
            Peer::CoapRs => vec![text(installed("coaprs/debug/coaprs-peer"))],
        }
    }
}

/// Whether a process's host has joined a group, as the kernel tells.
fn is_member(process: u32, group: IpAddr) -> bool {
    let (table, entry) = match group {
        // In memory order, read as a little-endian number.
        IpAddr::V4(group) => (
            "igmp",
            format!("{:08X}", u32::from_le_bytes(group.octets())),
        ),
        IpAddr::V6(group) => ("igmp6", format!("{:032x}", u128::from(group))),
    };
    fs::read_to_string(format!("/proc/{process}/net/{table}"))
        .is_ok_and(|text| text.contains(&entry))
}

/// `CODE PAYLOAD`, as our small clients print it.
fn answer(line: &str, from: &str) -> Option<Answer> {
    let (code, payload) = line.split_once(' ').unwrap_or((line, ""));
    let is_code = matches!(
        code.as_bytes(),
        [b'2'..=b'5', b'.', b'0'..=b'9', b'0'..=b'9']
    );
    is_code.then(|| Answer {
        from: from.into(),
        code: code.into(),
        payload: payload.into(),
    })
}

/// `ADDRESS CODE PAYLOAD`; brackets and zone are dropped.
fn answer_with_address(line: &str) -> Option<Answer> {
    let (address, rest) = line.split_once(' ')?;
    let address = address.trim_matches(['[', ']']);
    answer(rest, address.split('%').next()?)
}

/// libcoap's log: a line says from where something was received, the next one what.
fn libcoap_answers(lines: &[String]) -> Vec<Answer> {
    let mut answers = Vec::new();
    let mut from = String::new();
    for line in lines {
        if let (Some(at), true) = (line.find("<-> "), line.contains(" received ")) {
            let peer = line[at + 4..].split(' ').next().unwrap_or_default();
            let host = peer
                .rsplit_once(':')
                .map_or(peer, |(host, _)| host)
                .trim_matches(['[', ']']);
            from = host.split('%').next().unwrap_or_default().into();
        } else if let Some((_, rest)) = line.split_once(" c:") {
            let payload = line
                .split_once(" :: ")
                .map_or("", |(_, payload)| payload.trim_matches('\''));
            let code = rest.split(' ').next().unwrap_or_default();
            answers.extend(answer(&format!("{code} {payload}"), &from));
        }
    }
    answers
}
