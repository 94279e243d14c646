//! One question to a group until all answers are in, against members and a client that only move datagrams.
//!
//! All members of a kind live in one process on CPU 1, each with a socket for the group and one with an address
//! of its own; the client is here, on CPU 0. Nobody takes any leisure.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use antiphon::socket::SocketOptions;
use antiphon::{
    Client, DriverConfig, EndpointConfig, Expectation, Member, Membership, NoSec, Server,
};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use crate::measure::median;
use crate::serve::time;

const ROUNDS: usize = 41;
/// Room for the answers of all members while the client waits for its core, as far as the system allows.
const ROOM: usize = 1 << 20;
/// How long answers are waited for; a round in which one is missing does not count.
const PATIENCE: Duration = Duration::from_millis(500);
/// The loopback interface.
const LOOPBACK: u32 = 1;

/// The n-th member's own address.
pub(crate) fn member(n: usize, port: u16) -> SocketAddr {
    let [_, _, high, low] = (n as u32 + 1).to_be_bytes();
    ([127, 77, high, low], port).into()
}

/// Opens a socket that hears one group on the loopback interface and nothing else.
pub(crate) fn group_socket(group: SocketAddr) -> std::io::Result<UdpSocket> {
    let SocketAddr::V4(v4) = group else {
        return Err(std::io::ErrorKind::InvalidInput.into());
    };
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_multicast_all_v4(false)?;
    socket.bind(&group.into())?;
    socket.join_multicast_v4_n(v4.ip(), &InterfaceIndexOrAddress::Index(LOOPBACK))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Members that send back what they hear. One question is open at a time, so one read for each event is enough.
pub(crate) fn raw_members(group: SocketAddr, count: usize) -> Result<(), String> {
    let members = || -> std::io::Result<_> {
        let poll = Poll::new()?;
        let mut members = Vec::new();
        for n in 0..count {
            let mut listens = mio::net::UdpSocket::from_std(group_socket(group)?);
            poll.registry()
                .register(&mut listens, Token(n), Interest::READABLE)?;
            members.push((listens, UdpSocket::bind(member(n, group.port()))?));
        }
        Ok((poll, members))
    };
    let (mut poll, members) = members().map_err(|error| format!("raw members: {error}"))?;
    let mut events = Events::with_capacity(count);
    let mut buffer = [0; 2048];
    println!("ready");
    loop {
        poll.poll(&mut events, None)
            .map_err(|error| error.to_string())?;
        for event in &events {
            let (listens, answers) = &members[event.token().0];
            if let Ok((len, from)) = listens.recv_from(&mut buffer) {
                let _ = answers.send_to(&buffer[..len], from);
            }
        }
    }
}

/// How members and clients drive their sockets here: nothing else happens while time is taken.
pub(crate) fn driver() -> DriverConfig {
    DriverConfig {
        interface_check: Duration::ZERO,
        sockets: SocketOptions {
            receive_buffer: Some(ROOM),
            ..SocketOptions::default()
        },
        ..DriverConfig::default()
    }
}

/// Members of this library, each with an endpoint and a driver of its own, on one thread.
pub(crate) fn members(group: SocketAddr, count: usize) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut running = Vec::new();
        for n in 0..count {
            let mut endpoint = EndpointConfig::default();
            endpoint.server.discoverable = antiphon::Discoverable::Groups;
            let server = Server::builder()
                .endpoint(endpoint)
                .driver(driver())
                .unicast(member(n, group.port()))
                .interface("lo")
                .unsecured(NoSec::Accepted)
                .join(Membership::new(group).unsecured())
                .resource(time());
            running.push(server.build().await?.spawn());
        }
        println!("ready");
        std::future::pending::<()>().await;
        drop(running);
        Ok(())
    })
}

/// A process with members, ended with this value.
struct Members(Child);

impl Members {
    fn start(kind: &str, group: SocketAddr, count: usize) -> Result<Self, String> {
        let this = std::env::current_exe().map_err(|error| error.to_string())?;
        let child = Command::new("taskset")
            .args(["-c", "1"])
            .arg(this)
            .args([kind, &group.to_string(), &count.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut started = Self(child);
        let out = started.0.stdout.take().ok_or("no output")?;
        let mut line = String::new();
        BufReader::new(out)
            .read_line(&mut line)
            .map_err(|error| error.to_string())?;
        match line.trim() {
            "ready" => Ok(started),
            other => Err(format!("{kind}: {other:?}")),
        }
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A group on a port that is free now.
pub(crate) fn free_group(last: u8) -> Result<SocketAddr, String> {
    let keeper = UdpSocket::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let port = keeper
        .local_addr()
        .map_err(|error| error.to_string())?
        .port();
    Ok((Ipv4Addr::new(239, 77, 1, last), port).into())
}

/// A client that only counts answers.
struct RawClient {
    socket: UdpSocket,
    group: SocketAddr,
    asked: u32,
}

impl RawClient {
    fn new(group: SocketAddr) -> std::io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST)?;
        socket.set_recv_buffer_size(ROOM)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            socket: socket.into(),
            group,
            asked: 0,
        })
    }

    /// Milliseconds until all answers are in, and how many came.
    fn ask(&mut self, members: usize) -> (f64, usize) {
        self.asked += 1;
        let mut datagram = *b"\x54\x01\x12\x34tokn\xb4time";
        datagram[4..8].copy_from_slice(&self.asked.to_be_bytes());
        let token = self.asked.to_be_bytes();
        let mut buffer = [0; 2048];
        let mut answers = 0;
        let began = Instant::now();
        let _ = self.socket.send_to(&datagram, self.group);
        while answers < members {
            let Ok((len, _)) = self.socket.recv_from(&mut buffer) else {
                break;
            };
            answers += usize::from(buffer[..len].get(4..8) == Some(&token));
        }
        (began.elapsed().as_secs_f64() * 1e3, answers)
    }
}

/// Milliseconds until all answers are in, and how many came. Who is expected is known before.
async fn ask(client: &Client, group: SocketAddr, members: usize) -> Result<(f64, usize), String> {
    let mut expected = Expectation::nobody();
    expected.reserve(members);
    for n in 0..members {
        expected.add(Member::named(format!("m{n}")).at(member(n, group.port())));
    }
    let call = client
        .group(&format!("coap://{group}/time"))
        .map_err(|error| error.to_string())?
        .get()
        .unsecured(NoSec::Accepted)
        .expect(expected)
        .collect_for(PATIENCE);
    let began = Instant::now();
    let answers = call.send().await.map_err(|error| error.to_string())?;
    let outcome = answers.finish().await.map_err(|error| error.to_string())?;
    Ok((
        began.elapsed().as_secs_f64() * 1e3,
        outcome.answered().count(),
    ))
}

/// Prints the table.
pub(crate) fn run() -> Result<(), String> {
    crate::server::pin_here()?;
    println!(
        "group: one GET until all answers are in, no leisure; medians of {ROUNDS} interleaved rounds"
    );
    println!(
        "| members | raw ms | antiphon ms | antiphon / raw | bound | answers missing, raw and antiphon |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: |");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    for (members, bound) in [(30, 3.0), (300, 2.5)] {
        let (raw_group, group) = (free_group(1)?, free_group(2)?);
        let mut raw = RawClient::new(raw_group).map_err(|error| error.to_string())?;
        let (mut raw_times, mut times) = (Vec::new(), Vec::new());
        let (mut raw_missing, mut missing) = (0, 0);
        let _raw_members = Members::start("raw-members", raw_group, members)?;
        let _members = Members::start("members-of", group, members)?;
        runtime.block_on(async {
            let client = Client::builder()
                .interface("lo")
                .bind(([127, 0, 0, 1], 0).into())
                .driver(driver())
                .build()
                .await
                .map_err(|error| error.to_string())?;
            for _ in 0..ROUNDS {
                let (took, answers) = raw.ask(members);
                raw_times.extend((answers == members).then_some(took));
                raw_missing += members - answers;
                let (took, answers) = ask(&client, group, members).await?;
                times.extend((answers == members).then_some(took));
                missing += members - answers;
            }
            Ok::<(), String>(())
        })?;
        let (raw, ours) = (median(raw_times), median(times));
        println!(
            "| {members} | {raw:.2} | {ours:.2} | {:.2} | {bound} | {raw_missing}, {missing} |",
            ours / raw
        );
    }
    Ok(())
}
