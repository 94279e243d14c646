//! The server, with all its guarantees on, against loops that only move datagrams.
//!
//! Servers are processes of their own, pinned to one core; the load comes from the other.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::load::{self, Kind, Seen, Shape};
use crate::measure::median;

/// One server under test.
struct Subject {
    name: &'static str,
    command: Vec<String>,
    kind: Kind,
    child: Option<Child>,
    address: SocketAddr,
}

const SHAPES: [Shape; 3] = [
    Shape {
        outstanding: 1,
        sockets: 1,
    },
    Shape {
        outstanding: 16,
        sockets: 4,
    },
    Shape {
        outstanding: 64,
        sockets: 8,
    },
];

const ROUNDS: usize = 5;
const TURN: Duration = Duration::from_millis(1_000);
/// The deduplication records of the servers, and how long filling them may take.
const RECORDS: u64 = 65_536;
const FILL: Duration = Duration::from_secs(10);

/// A loop that sends back what it gets: the ceiling.
pub(crate) fn raw_echo() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has free ports");
    announce(socket.local_addr().expect("a bound socket has an address"));
    let mut buffer = [0; 2048];
    while let Ok((len, from)) = socket.recv_from(&mut buffer) {
        let _ = socket.send_to(&buffer[..len], from);
    }
}

/// Tells the parent where this server listens.
pub(crate) fn announce(address: SocketAddr) {
    println!("listening {address}");
}

/// Starts a hidden subcommand of this program on CPU 1 and waits until it listens.
fn start(subject: &mut Subject) -> Result<(), String> {
    let mut child = Command::new("taskset")
        .args(["-c", "1"])
        .args(&subject.command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", subject.name))?;
    let mut line = String::new();
    if subject.address.port() == 0 {
        let out = child.stdout.take().ok_or("no output")?;
        BufReader::new(out)
            .read_line(&mut line)
            .map_err(|e| e.to_string())?;
        let address = line
            .trim()
            .strip_prefix("listening ")
            .ok_or_else(|| format!("{}: {line:?}", subject.name))?;
        subject.address = address
            .parse()
            .map_err(|_| format!("{}: {line:?}", subject.name))?;
    } else {
        std::thread::sleep(Duration::from_millis(300));
    }
    subject.child = Some(child);
    Ok(())
}

/// CPU time of a process of one thread in seconds, from the scheduler's own accounting.
pub(crate) fn cpu_seconds(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/schedstat")).unwrap_or_default();
    let nanoseconds = stat.split_whitespace().next().unwrap_or_default();
    nanoseconds.parse::<f64>().unwrap_or(f64::NAN) / 1e9
}

/// Resident memory in KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find(|l| l.starts_with("VmRSS:"))
        .unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

impl Drop for Subject {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Binds this process to CPU 0: the other core belongs to the servers.
pub(crate) fn pin_here() -> Result<(), String> {
    let pinned = Command::new("taskset")
        .args(["-pc", "0", &std::process::id().to_string()])
        .output();
    match pinned.is_ok_and(|o| o.status.success()) {
        true => Ok(()),
        false => Err("taskset cannot pin this process to a core".into()),
    }
}

struct Row {
    rate: Vec<f64>,
    cpu: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    lost: u64,
    bad: u64,
}

/// Prints the tables.
pub(crate) fn run() -> Result<(), String> {
    let this = std::env::current_exe().map_err(|e| e.to_string())?;
    let this = this
        .to_str()
        .ok_or("a path without odd characters is needed")?;
    let own = |what: &str| vec![this.to_owned(), what.to_owned()];
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let subject = |name, command, kind, address| Subject {
        name,
        command,
        kind,
        child: None,
        address,
    };
    let mut subjects = vec![
        subject("raw echo", own("raw-echo"), Kind::Non, any),
        subject("antiphon NON", own("serve"), Kind::Non, any),
        subject("antiphon CON", own("serve"), Kind::Con, any),
    ];
    if Command::new("coap-server-notls").arg("-h").output().is_ok() {
        let port = UdpSocket::bind("127.0.0.1:0")
            .and_then(|s| s.local_addr())
            .map_err(|e| e.to_string())?
            .port();
        let command = [
            "coap-server-notls",
            "-A",
            "127.0.0.1",
            "-p",
            &port.to_string(),
        ]
        .map(String::from)
        .to_vec();
        subjects.push(subject(
            "libcoap NON",
            command,
            Kind::Non,
            ([127, 0, 0, 1], port).into(),
        ));
    } else {
        println!("libcoap: not run (coap-server-notls is not installed)");
    }
    pin_here()?;
    for subject in &mut subjects {
        start(subject)?;
        if subject.name.starts_with("antiphon") {
            // The table of records is full before anything is measured.
            load::run(subject.address, subject.kind, SHAPES[2], FILL, RECORDS);
        }
    }
    println!(
        "server: closed loop, server on CPU 1, load on CPU 0; medians of {ROUNDS} interleaved rounds of {} ms",
        TURN.as_millis()
    );
    for shape in SHAPES {
        measure(&mut subjects, shape);
    }
    memory(&subjects[1]);
    Ok(())
}

fn measure(subjects: &mut [Subject], shape: Shape) {
    let mut rows: Vec<Row> = subjects
        .iter()
        .map(|_| Row {
            rate: Vec::new(),
            cpu: Vec::new(),
            p50: Vec::new(),
            p99: Vec::new(),
            lost: 0,
            bad: 0,
        })
        .collect();
    for _ in 0..ROUNDS {
        for (subject, row) in subjects.iter().zip(&mut rows) {
            let Some(pid) = subject.child.as_ref().map(Child::id) else {
                continue;
            };
            let process = pid.to_string();
            let before = cpu_seconds(&process);
            let mut seen: Seen = load::run(subject.address, subject.kind, shape, TURN, u64::MAX);
            row.rate.push(seen.rate());
            row.cpu
                .push((cpu_seconds(&process) - before) * 1e6 / seen.answers.max(1) as f64);
            row.p50.push(seen.percentile(0.5));
            row.p99.push(seen.percentile(0.99));
            row.lost += seen.lost;
            row.bad += seen.bad;
        }
    }
    println!(
        "\n{} outstanding over {} sockets",
        shape.outstanding, shape.sockets
    );
    println!(
        "| server | rate / raw echo | CPU / raw echo | p50 us | p99 us | lost | bad | (rate here) |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let base = (median(rows[0].rate.clone()), median(rows[0].cpu.clone()));
    for (subject, row) in subjects.iter().zip(rows) {
        // Pair by pair against the raw loop of the same round would hide drift less well than medians do.
        let (rate, cpu) = (median(row.rate), median(row.cpu));
        println!(
            "| {} | {:.2} | {:.2} | {:.0} | {:.0} | {} | {} | {rate:.0}/s |",
            subject.name,
            rate / base.0,
            cpu / base.1,
            median(row.p50),
            median(row.p99),
            row.lost,
            row.bad
        );
    }
}

/// A million more requests must not cost memory.
fn memory(subject: &Subject) {
    let Some(pid) = subject.child.as_ref().map(Child::id) else {
        return;
    };
    let before = resident(pid);
    let seen = load::run(
        subject.address,
        Kind::Non,
        SHAPES[2],
        Duration::from_secs(30),
        1_000_000,
    );
    println!(
        "\nresident memory of {}: {before} KiB before and {} KiB after {} more requests",
        subject.name,
        resident(pid),
        seen.answers
    );
}
