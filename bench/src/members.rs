//! Thousands of expected members in a simulated network: complete, in linear time, in little memory.
//!
//! The client is a whole endpoint. The members are as simple as members can be, so that the time is the client's and the
//! simulation's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use antiphon_netsim::{Arrival, Network, Node, Outgoing, Segment, Simulation, Time};
use antiphon_proto::{
    CollectionEvent, Endpoint, EndpointConfig, Event, Expectation, GroupRequest, GroupTarget,
    Instant, Member, NoSec, Outcome, Path, Request, Security, SocketId, SocketInfo,
};
use antiphon_wire::{Code, Message, Type, Writer};

use crate::server::cpu_seconds;

thread_local! {
    static CLIENT_WORKS: Cell<bool> = const { Cell::new(false) };
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// Counts what is allocated while the client works, and nothing else.
struct Counting;

fn count(bytes: isize) {
    // At the end of a thread nothing is measured any more.
    let _gone = CLIENT_WORKS.try_with(|works| {
        if works.get() {
            HELD.set(HELD.get() + bytes);
            PEAK.set(PEAK.get().max(HELD.get()));
        }
    });
}

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Does the client's work, counted.
fn as_client<R>(work: impl FnOnce() -> R) -> R {
    CLIENT_WORKS.set(true);
    let result = work();
    CLIENT_WORKS.set(false);
    result
}

/// How many bytes more are allocated after this work than before.
pub(crate) fn held_by(work: impl FnOnce()) -> usize {
    HELD.set(0);
    as_client(work);
    usize::try_from(HELD.get()).unwrap_or_default()
}

const PORT: u16 = 5683;
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 1, 1);
const SOCKET: SocketId = SocketId(1);

enum Host {
    Client(Box<Asking>),
    /// Answers after a while of its own.
    Member {
        address: SocketAddr,
        patience: Duration,
        answer: Option<(Time, SocketAddr, Vec<u8>)>,
    },
}

struct Asking {
    endpoint: Endpoint,
    local: SocketAddr,
    answers: usize,
    outcome: Option<Outcome>,
}

fn instant(time: Time) -> Instant {
    Instant::from_micros(time.as_micros())
}

impl Asking {
    fn drain(&mut self) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Collection(CollectionEvent::Answer(_)) => self.answers += 1,
                Event::Collection(CollectionEvent::Ended(outcome)) => self.outcome = Some(outcome),
                _ => {}
            }
        }
    }
}

impl Node for Host {
    fn handle_datagram(&mut self, now: Time, arrival: &Arrival, bytes: &[u8]) {
        match self {
            Self::Client(client) => as_client(|| {
                let path = Path {
                    socket: SOCKET,
                    local: arrival.dst,
                    interface: arrival.interface.index(),
                    peer: arrival.src,
                };
                client.endpoint.handle_datagram(instant(now), path, bytes);
                client.drain();
            }),
            Self::Member {
                patience, answer, ..
            } => {
                let Ok(request) = Message::parse(bytes) else {
                    return;
                };
                let (mid, token) = (request.message_id(), request.token());
                let mut room = [0; 32];
                let write = |room| {
                    let mut writer =
                        Writer::new(room, Type::Non, Code::CONTENT, mid, token).ok()?;
                    writer.payload(b"on").ok()?;
                    Some(writer.finish())
                };
                if let Some(len) = write(&mut room) {
                    *answer = Some((now + *patience, arrival.src, room[..len].to_vec()));
                }
            }
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        if let Self::Client(client) = self {
            as_client(|| {
                client.endpoint.handle_timeout(instant(now));
                client.drain();
            });
        }
    }

    fn poll_transmit(&mut self, now: Time) -> Option<Outgoing> {
        match self {
            Self::Client(client) => {
                let mut bytes = Vec::new();
                let route = as_client(|| {
                    let sent = client.endpoint.poll_transmit(instant(now), &mut bytes);
                    client.drain();
                    sent
                })?
                .route;
                Some(Outgoing::new(client.local, route.destination, bytes))
            }
            Self::Member {
                address, answer, ..
            } => {
                let (_, to, bytes) = answer.take_if(|(at, ..)| *at <= now)?;
                Some(Outgoing::new(*address, to, bytes))
            }
        }
    }

    fn next_timeout(&self) -> Option<Time> {
        match self {
            Self::Client(client) => client
                .endpoint
                .next_timeout()
                .map(|at| Time::from_micros(at.as_micros())),
            Self::Member { answer, .. } => answer.as_ref().map(|(at, ..)| *at),
        }
    }
}

/// What one collection took.
struct Took {
    seconds: f64,
    peak: usize,
    complete: bool,
}

fn collect(members: u32) -> Result<Took, String> {
    let mut network = Network::new(u64::from(members));
    let lan = network.add_segment(Segment::default());
    let at = |n: u32| SocketAddr::from((Ipv4Addr::from(0x0a00_0001 + n), PORT));
    let mut places = Vec::new();
    for n in 0..=members {
        let host = network.add_host(format!("host {n}"));
        let interface = network.attach(host, lan, &[at(n).ip()]);
        network.bind(host, PORT).map_err(|e| format!("{e:?}"))?;
        if n > 0 {
            network
                .join(host, interface, IpAddr::V4(GROUP))
                .map_err(|e| format!("{e:?}"))?;
        }
        places.push((host, interface));
    }
    let mut simulation = Simulation::new(network);
    let (client, interface) = places[0];
    for (n, (host, _)) in (0..).zip(&places).skip(1) {
        simulation.insert(
            *host,
            Host::Member {
                address: at(n),
                patience: Duration::from_micros(u64::from(n) * 50),
                answer: None,
            },
        );
    }
    HELD.set(0);
    let asking = as_client(|| {
        let mut endpoint = Endpoint::new(EndpointConfig::default(), [7; 32]);
        endpoint.add_socket(
            SOCKET,
            SocketInfo {
                local: at(0),
                respond_from: None,
            },
        );
        // What an endpoint takes without members does not count for them.
        PEAK.set(0);
        HELD.set(0);
        let mut expect = Expectation::nobody();
        for n in 1..=members {
            expect.add(Member::named(format!("floor-3/light-{n}")).at(at(n)));
        }
        let target = GroupTarget {
            group: (GROUP, PORT).into(),
            socket: SOCKET,
            interface: interface.index(),
        };
        let request = GroupRequest {
            expect,
            ..GroupRequest::new(
                Request::new(Code::GET).path("status"),
                target,
                Security::Unsecured(NoSec::Accepted),
            )
        };
        endpoint
            .collect(Instant::ZERO, request)
            .map_err(|error| error.to_string())?;
        Ok::<_, String>(Asking {
            endpoint,
            local: at(0),
            answers: 0,
            outcome: None,
        })
    })?;
    simulation.insert(client, Host::Client(Box::new(asking)));
    let before = cpu_seconds("self");
    simulation.run_for(Duration::from_secs(12));
    let seconds = cpu_seconds("self") - before;
    let Some(Host::Client(client)) = simulation.node(client) else {
        return Err("the client is gone".into());
    };
    Ok(Took {
        seconds,
        peak: usize::try_from(PEAK.get()).unwrap_or_default(),
        complete: client.answers == members as usize
            && client.outcome.as_ref().is_some_and(Outcome::is_complete),
    })
}

/// Prints the table.
pub(crate) fn run() -> Result<(), String> {
    println!("members: one collection in the simulator; CPU time of client and simulator together");
    println!(
        "| members | complete | us for each | client's peak, bytes for each member (bound 400 for 10,000) |"
    );
    println!("| ---: | --- | ---: | ---: |");
    // About as much work in every row: the scheduler's clock is coarse.
    for (members, times) in [(1_000, 30), (3_000, 10), (10_000, 3)] {
        let (mut seconds, mut peak) = (0.0, 0);
        for _ in 0..times {
            let took = collect(members)?;
            if !took.complete {
                return Err(format!("not all of {members} members were collected"));
            }
            seconds += took.seconds;
            peak = peak.max(took.peak);
        }
        println!(
            "| {members} | yes | {:.2} | {} |",
            seconds * 1e6 / f64::from(members) / f64::from(times),
            peak / members as usize
        );
    }
    Ok(())
}
