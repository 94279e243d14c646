//! Hosts in network namespaces, made and removed by `tests/lab/lab.sh`.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::process::{Process, root};

/// Which way datagrams are lost at a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// What arrives.
    In,
    /// What leaves.
    Out,
    /// Both, independently.
    Both,
}

/// A wire that takes time, for each datagram its own. Without numbers it takes none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wire {
    /// Milliseconds, each way.
    pub delay: u16,
    /// So many more or less.
    pub jitter: u16,
    /// Of a hundred datagrams so many take no time at all.
    pub overtake: u8,
    /// Of a hundred datagrams so many arrive twice, the copy with a delay of its own.
    pub twice: u8,
}

/// Hosts 1 to N on one bridge: host I has eth0 with 10.77.0.I/24, fd77::I/64 and fe80::I (I in hexadecimal for IPv6).
/// Everything vanishes when this is dropped.
#[derive(Debug)]
pub struct Lab {
    name: String,
    hosts: u8,
}

impl Lab {
    /// Makes a network of `hosts` hosts, of its own: tests may run side by side.
    ///
    /// # Panics
    /// Where namespaces cannot be made; the message says how to run these tests.
    pub fn up(hosts: u8) -> Lab {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let lab = Lab {
            name: format!("t{}-{number}", std::process::id()),
            hosts,
        };
        let made = lab.script(&["up", &hosts.to_string()]);
        assert!(
            made.is_ok(),
            "no lab: {}\nrun these tests with `tests/lab/lab.sh alone cargo test --offline -p antiphon-tests`",
            made.unwrap_err()
        );
        lab
    }

    /// The IPv4 address of a host.
    pub fn ipv4(&self, host: u8) -> String {
        self.known(host);
        format!("10.77.0.{host}")
    }

    /// The IPv6 address of a host that reaches beyond its link.
    pub fn ipv6(&self, host: u8) -> String {
        self.known(host);
        format!("fd77::{host:x}")
    }

    /// The link-local address of a host.
    pub fn link_local(&self, host: u8) -> String {
        self.known(host);
        format!("fe80::{host:x}")
    }

    /// A command that will run inside a host.
    pub fn command(&self, host: u8, program: &str) -> Command {
        self.known(host);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("{}-{host}", self.name), program]);
        command.current_dir(root());
        command
    }

    /// Starts a program inside a host.
    pub fn start(&self, host: u8, words: &[&str]) -> Process {
        let (program, arguments) = words.split_first().expect("a program");
        let mut command = self.command(host, program);
        command.args(arguments);
        Process::start(command)
    }

    /// Prints every packet that a host sees on eth0 and that matches a filter of tcpdump, a line for each, with addresses
    /// and ports as numbers. Returns when it listens.
    pub fn capture(&self, host: u8, filter: &str) -> Process {
        let mut command = self.command(host, "tcpdump");
        command.args(["-i", "eth0", "-n", "-v", "-l", "--immediate-mode", filter]);
        let mut process = Process::start(command);
        process.wait_for_line("listening on", Duration::from_secs(10));
        process
    }

    /// Loses datagrams at a host at random; 0 ends it.
    pub fn loss(&self, host: u8, percent: u8, direction: Direction) {
        let direction = match direction {
            Direction::In => "in",
            Direction::Out => "out",
            Direction::Both => "both",
        };
        self.must(&["loss", &host.to_string(), &percent.to_string(), direction]);
    }

    /// Datagrams to and from a host take their time. Where there is loss as well, this comes first.
    pub fn delay(&self, host: u8, wire: Wire) {
        let numbers = [
            wire.delay,
            wire.jitter,
            wire.overtake.into(),
            wire.twice.into(),
        ];
        let numbers = numbers.map(|number| number.to_string());
        let [delay, jitter, overtake, twice] = numbers.each_ref().map(String::as_str);
        self.must(&["delay", &host.to_string(), delay, jitter, overtake, twice]);
    }

    /// Unplugs a host, or plugs it in again.
    pub fn link(&self, host: u8, up: bool) {
        self.must(&["link", &host.to_string(), if up { "up" } else { "down" }]);
    }

    /// Gives a host another address, with its prefix length.
    pub fn add_address(&self, host: u8, address: &str) {
        self.must(&["address", &host.to_string(), "add", address]);
    }

    /// Takes an address from a host.
    pub fn remove_address(&self, host: u8, address: &str) {
        self.must(&["address", &host.to_string(), "del", address]);
    }

    /// Ends a host: its processes are killed, its interface vanishes.
    pub fn remove(&self, host: u8) {
        self.must(&["remove", &host.to_string()]);
    }

    /// The names of its namespaces that exist.
    pub fn namespaces(&self) -> Vec<String> {
        let prefix = format!("{}-", self.name);
        let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(&prefix)).collect()
    }

    fn known(&self, host: u8) {
        assert!(
            (1..=self.hosts).contains(&host),
            "host {host} of {}",
            self.hosts
        );
    }

    fn must(&self, arguments: &[&str]) {
        if let Err(message) = self.script(arguments) {
            panic!("lab.sh {arguments:?}: {message}");
        }
    }

    fn script(&self, arguments: &[&str]) -> Result<(), String> {
        let mut command = Command::new(root().join("tests/lab/lab.sh"));
        command
            .args(arguments)
            .env("LAB", &self.name)
            .stdin(Stdio::null());
        let output = command.output().map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(message) = self.script(&["down"]) {
            eprintln!("lab.sh down: {message}");
        }
    }
}
