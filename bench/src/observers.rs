//! One change told to 10,000 observers of a group, and what unrelated requests notice of it.
//!
//! The server is a process on CPU 1. The observers, each with a socket of its own, and who asks besides are here, on CPU 0.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use antiphon::socket::SocketOptions;
use antiphon::{
    Access, ContentFormat, DriverConfig, GroupPolicy, Incoming, Leisure, Membership, NoSec,
    Resource, Response, Server,
};
use antiphon_wire::{Code, Message, MessageId, OptionNumber, Token, Type, Writer};
use mio::{Events, Interest, Poll};
use socket2::{Domain, Protocol, Socket};

use crate::group::free_group;
use crate::server::{announce, pin_here};

const OBSERVERS: usize = 10_000;
/// Observers at one address; the server allows 64.
const EACH_ADDRESS: usize = 50;
const LEISURE: Duration = Duration::from_secs(5);
/// The first is told in Confirmable messages, because nobody's address is proven; the eighth is again.
const CHANGES: usize = 4;
/// Between two unrelated requests.
const GAP: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(1);

/// The server that is observed, until it is ended.
pub(crate) fn serve(group: SocketAddr) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut config = crate::serve::config();
        // Until they have acknowledged something, observers without security have half of the places.
        config.server.observe.observers = 2 * OBSERVERS;
        config.server.observe.per_resource = 2 * OBSERVERS;
        config.limits.pending_answers = OBSERVERS + 16;
        let driver = DriverConfig {
            sockets: SocketOptions {
                receive_buffer: Some(4 << 20),
                ..SocketOptions::default()
            },
            ..DriverConfig::default()
        };
        let server = Server::builder()
            .unicast(([127, 0, 0, 1], 0).into())
            .interface("lo")
            .endpoint(config)
            .driver(driver)
            .discoverable(antiphon::Discoverable::Off)
            .unsecured(NoSec::Accepted)
            .join(Membership::new(group).unsecured())
            .resource(crate::serve::time())
            .resource(watched())
            .build()
            .await?;
        for address in server.addresses() {
            announce(address);
        }
        server.run(std::future::pending()).await;
        Ok(())
    })
}

/// What is observed: a small text that PUT replaces.
fn watched() -> Resource {
    let value = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = Arc::clone(&value);
    Resource::at("/watched")
        .get(move |_: &Incoming<'_>, response: &mut Response| {
            if let Ok(value) = value.lock() {
                response.set_payload(ContentFormat::TEXT, &value);
            }
        })
        .put(move |request: &Incoming<'_>, _: &mut Response| {
            if let Ok(mut kept) = kept.lock() {
                *kept = request.message.payload().to_vec();
            }
        })
        .group_policy(GroupPolicy::respond().leisure(Leisure::Fixed(LEISURE)))
        .access(Access::Unsecured)
        .observable()
}

/// The process of the server, ended with this value.
struct Watched {
    child: Child,
    address: SocketAddr,
}

impl Watched {
    fn start(group: SocketAddr) -> Result<Self, String> {
        let this = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut child = Command::new("taskset")
            .args(["-c", "1"])
            .arg(this)
            .args(["watched", &group.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut line = String::new();
        let read = child
            .stdout
            .take()
            .map(|out| BufReader::new(out).read_line(&mut line));
        let address = line
            .trim()
            .strip_prefix("listening ")
            .and_then(|a| a.parse().ok());
        match (read, address) {
            (Some(Ok(_)), Some(address)) => Ok(Self { child, address }),
            _ => {
                let _ = child.kill();
                Err(format!("the observed server: {line:?}"))
            }
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All observers, with what each was told last.
struct Observers {
    poll: Poll,
    events: Events,
    sockets: Vec<(mio::net::UdpSocket, Vec<u8>)>,
    confirmable: usize,
}

impl Observers {
    fn new() -> std::io::Result<Self> {
        let poll = Poll::new()?;
        let mut sockets = Vec::with_capacity(OBSERVERS);
        for n in 0..OBSERVERS {
            let at = Ipv4Addr::new(127, 78, 0, (n / EACH_ADDRESS) as u8 + 1);
            let socket = Socket::new(Domain::IPV4, socket2::Type::DGRAM, Some(Protocol::UDP))?;
            socket.bind(&SocketAddr::from((at, 0)).into())?;
            socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST)?;
            socket.set_nonblocking(true)?;
            let mut socket = mio::net::UdpSocket::from_std(socket.into());
            poll.registry()
                .register(&mut socket, mio::Token(n), Interest::READABLE)?;
            sockets.push((socket, Vec::new()));
        }
        Ok(Self {
            poll,
            events: Events::with_capacity(1_024),
            sockets,
            confirmable: 0,
        })
    }

    /// Registers all of them through the group, no faster than the server hears.
    fn register(&mut self, group: SocketAddr) -> Result<(), String> {
        for n in 0..OBSERVERS {
            let mut bytes = [0; 64];
            let len = request(&mut bytes, Type::Non, Code::GET, n as u32, |writer| {
                writer.option(OptionNumber::OBSERVE, &[])?;
                writer.option(OptionNumber::URI_PATH, b"watched").map(drop)
            });
            self.sockets[n]
                .0
                .send_to(&bytes[..len], group)
                .map_err(|error| format!("registering: {error}"))?;
            if n % 16 == 15 {
                self.hear(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    /// Hears what there is, acknowledges it, and notes what each was told.
    fn hear(&mut self, wait: Duration) {
        if self.poll.poll(&mut self.events, Some(wait)).is_err() {
            return;
        }
        let mut buffer = [0; 256];
        for event in &self.events {
            let (socket, told) = &mut self.sockets[event.token().0];
            while let Ok((len, from)) = socket.recv_from(&mut buffer) {
                let Ok(message) = Message::parse(&buffer[..len]) else {
                    continue;
                };
                if message.kind() == Type::Con {
                    let [high, low] = message.message_id().0.to_be_bytes();
                    let _ = socket.send_to(&[0x60, 0, high, low], from);
                    self.confirmable += 1;
                }
                told.clear();
                told.extend_from_slice(message.payload());
            }
        }
    }

    /// Hears until all were told this, and says how many were, and after how long the last one.
    fn until_told(&mut self, value: &[u8], at_most: Duration) -> (usize, Duration) {
        let began = Instant::now();
        let mut last = (0, Duration::ZERO);
        while last.0 < OBSERVERS && began.elapsed() < at_most {
            self.hear(Duration::from_millis(20));
            let told = self
                .sockets
                .iter()
                .filter(|(_, told)| told == value)
                .count();
            if told > last.0 {
                last = (told, began.elapsed());
            }
        }
        last
    }
}

/// Writes a request and says its length.
fn request(
    bytes: &mut [u8],
    kind: Type,
    method: Code,
    number: u32,
    fill: impl FnOnce(&mut Writer<'_>) -> Result<(), antiphon_wire::EncodeError>,
) -> usize {
    let write = || {
        let token = Token::new(&number.to_be_bytes())?;
        let mid = MessageId(number as u16);
        let mut writer = Writer::new(bytes, kind, method, mid, token).ok()?;
        fill(&mut writer).ok()?;
        Some(writer.finish())
    };
    write().expect("there is room for a small request")
}

/// Asks for something else all the while, until it is stopped; gives the latencies in microseconds.
struct Asking {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<f64>>,
}

impl Asking {
    fn start(address: SocketAddr, first: u32) -> std::io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut waited = Vec::new();
            let mut number = first;
            let (mut bytes, mut answer) = ([0; 64], [0; 256]);
            while !stopped.load(Ordering::Relaxed) {
                number += 1;
                let len = request(&mut bytes, Type::Non, Code::GET, number, |writer| {
                    writer.option(OptionNumber::URI_PATH, b"time").map(drop)
                });
                let asked = Instant::now();
                let _ = socket.send(&bytes[..len]);
                // What is lost counts with all the time that was waited for it.
                while socket
                    .recv(&mut answer)
                    .is_ok_and(|len| answer[..len].get(4..8) != Some(&number.to_be_bytes()))
                {
                }
                waited.push(asked.elapsed().as_secs_f64() * 1e6);
                std::thread::sleep(GAP);
            }
            waited
        });
        Ok(Self { stop, thread })
    }

    /// Median and 99th percentile, and of how many.
    fn stop(self) -> (f64, f64, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let mut waited = self.thread.join().unwrap_or_default();
        waited.sort_by(f64::total_cmp);
        let at = |share: usize| {
            let place = (waited.len() * share / 100).min(waited.len().saturating_sub(1));
            waited.get(place).copied().unwrap_or(f64::NAN)
        };
        (at(50), at(99), waited.len())
    }
}

/// Prints the table.
pub(crate) fn run() -> Result<(), String> {
    pin_here()?;
    let group = free_group(4)?;
    let server = Watched::start(group)?;
    let text = |error: std::io::Error| error.to_string();
    let mut observers = Observers::new()
        .map_err(|error| format!("{OBSERVERS} sockets (`ulimit -n` has to allow them): {error}"))?;
    put(server.address, b"0", 1).map_err(text)?;
    observers.register(group)?;
    let (registered, _) = observers.until_told(b"0", LEISURE * 2);
    println!(
        "observers: {registered} of {OBSERVERS} registered through a group with a leisure of {} ms; one unrelated request each ms",
        LEISURE.as_millis()
    );
    println!(
        "| | told | Confirmable | the last one after ms | unrelated p50 us | p99 us | p99 / idle |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    let asking = Asking::start(server.address, 0x0100_0000).map_err(text)?;
    let began = Instant::now();
    while began.elapsed() < LEISURE {
        observers.hear(Duration::from_millis(20));
    }
    let (p50, idle, _) = asking.stop();
    println!("| nothing changes | | | | {p50:.0} | {idle:.0} | 1.00 |");
    for change in 1..=CHANGES as u32 {
        let value = change.to_string().into_bytes();
        observers.confirmable = 0;
        let asking = Asking::start(server.address, 0x0100_0000 * (change + 1)).map_err(text)?;
        put(server.address, &value, change + 1).map_err(text)?;
        let (told, last) = observers.until_told(&value, LEISURE * 3);
        let (p50, p99, _) = asking.stop();
        println!(
            "| change {change} | {told} | {} | {:.0} | {p50:.0} | {p99:.0} | {:.2} |",
            observers.confirmable,
            last.as_secs_f64() * 1e3,
            p99 / idle
        );
    }
    println!(
        "bounds: all within one leisure of {} ms, p99 / idle at most 3",
        LEISURE.as_millis()
    );
    Ok(())
}

/// Changes what is observed.
fn put(address: SocketAddr, value: &[u8], number: u32) -> std::io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = [0; 64];
    let len = request(&mut bytes, Type::Con, Code::PUT, number, |writer| {
        writer.option(OptionNumber::URI_PATH, b"watched")?;
        writer.payload(value)
    });
    socket.send_to(&bytes[..len], address)?;
    let (len, _) = socket.recv_from(&mut bytes)?;
    match Message::parse(&bytes[..len]).map(|message| message.code()) {
        Ok(Code::CHANGED) => Ok(()),
        other => Err(std::io::Error::other(format!("PUT was answered {other:?}"))),
    }
}
