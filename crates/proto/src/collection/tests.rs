//! A client in virtual time, and what all tests of collections use.

mod answers;
mod cached;
mod completion;
mod course;
mod pace;
mod refused;
mod sequences;

use core::net::{IpAddr, Ipv4Addr};
use std::vec;
use std::vec::Vec;

use antiphon_wire::{Code, ContentFormat};

use antiphon_wire::Writer;

use super::*;
use crate::expect::{Expectation, Member};
use crate::message::Request;
use crate::path::SocketId;
use crate::tokens::Binding;

const SOCKET: SocketId = SocketId(1);

/// A group of the IPv4 local scope.
fn group(n: u8) -> SocketAddr {
    (Ipv4Addr::new(239, 1, 2, n), 5683).into()
}

/// A member's own address.
fn host(n: u16) -> SocketAddr {
    let [high, low] = n.to_be_bytes();
    (Ipv4Addr::new(10, 0, high, low), 5683).into()
}

fn target(n: u8) -> GroupTarget {
    GroupTarget {
        group: group(n),
        socket: SOCKET,
        interface: 2,
    }
}

fn accepted(request: Request) -> GroupRequest {
    GroupRequest::new(request, target(1), Security::Unsecured(NoSec::Accepted))
}

fn get() -> GroupRequest {
    accepted(Request::new(Code::GET).path("status"))
}

fn put() -> Request {
    Request::new(Code::PUT)
        .path("light")
        .payload(ContentFormat::TEXT, *b"on")
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn at(duration: Duration) -> Instant {
    Instant::ZERO + duration
}

const MICRO: Duration = Duration::from_micros(1);

/// A datagram that left.
#[derive(Clone, Debug, PartialEq)]
struct Sent {
    at: Instant,
    route: Route,
    bytes: Vec<u8>,
}

impl Sent {
    fn message(&self) -> Message<'_> {
        Message::parse(&self.bytes).unwrap()
    }
}

/// One client endpoint, as far as groups are concerned.
struct Client {
    now: Instant,
    rng: Rng,
    ids: MessageIds,
    collections: Collections,
    sent: Vec<Sent>,
    events: Vec<(Instant, CollectionEvent)>,
}

impl Client {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut CollectionConfig)) -> Self {
        let mut config = CollectionConfig::default();
        change(&mut config);
        let mut rng = Rng::from_seed([11; 32]);
        Self {
            now: Instant::ZERO,
            ids: MessageIds::new(&config.transmission, 16, &mut rng),
            collections: Collections::new(config, &mut rng),
            rng,
            sent: Vec::new(),
            events: Vec::new(),
        }
    }

    /// A client whose groups may be asked at any pace, for tests of other things.
    fn fast() -> Self {
        Self::with(|config| {
            config
                .transmission
                .set_probing_rate(1_000_000_000)
                .unwrap()
                .set_nstart(100)
                .unwrap();
        })
    }

    fn start(&mut self, request: GroupRequest) -> CollectionId {
        self.try_start(request).unwrap()
    }

    fn try_start(&mut self, request: GroupRequest) -> Result<CollectionId, CollectError> {
        let id = self.collections.start(self.now, &mut self.rng, request);
        self.drain();
        id
    }

    /// Does what is to do now.
    fn drain(&mut self) {
        let mut out = Vec::new();
        while let Some(route) = self
            .collections
            .poll_transmit(self.now, &mut self.ids, &mut out)
        {
            self.sent.push(Sent {
                at: self.now,
                route,
                bytes: out.clone(),
            });
        }
        while let Some(event) = self.collections.poll_event() {
            self.events.push((self.now, event));
        }
    }

    /// Lets time pass, and does everything when it is due.
    fn run_until(&mut self, end: Duration) {
        let end = at(end);
        assert!(end >= self.now);
        loop {
            self.drain();
            match self.collections.next_timeout() {
                Some(next) if next <= end => {
                    assert!(next > self.now, "a timer in the past: {next:?}");
                    self.now = next;
                    self.collections.handle_timeout(next);
                }
                _ => break,
            }
        }
        self.now = end;
        self.collections.handle_timeout(end);
        self.drain();
    }

    fn token(&self, id: CollectionId) -> Token {
        self.collections.questions[&id].token
    }

    fn path(&self, peer: SocketAddr) -> Path {
        Path {
            socket: SOCKET,
            local: (Ipv4Addr::new(10, 9, 9, 9), 40_000).into(),
            interface: 2,
            peer,
        }
    }

    /// A response comes in.
    fn respond(&mut self, path: &Path, bytes: &[u8]) -> Option<Delivery> {
        let message = Message::parse(bytes).unwrap();
        let delivery = self.collections.handle_response(self.now, path, &message);
        self.drain();
        delivery
    }

    /// A member answers 2.05 with this text.
    fn answer(&mut self, id: CollectionId, peer: SocketAddr, text: &str) -> Option<Delivery> {
        let bytes = response(self.token(id), Type::Non, Code::CONTENT, &[], text);
        let path = self.path(peer);
        self.respond(&path, &bytes)
    }

    /// The answers that were delivered, late ones included.
    fn answers(&self) -> Vec<&Answer> {
        self.events
            .iter()
            .filter_map(|(_, event)| match event {
                CollectionEvent::Answer(answer) | CollectionEvent::LateAnswer(answer) => {
                    Some(answer)
                }
                _ => None,
            })
            .collect()
    }

    /// The one outcome of a collection, and when it came.
    fn outcome(&self, id: CollectionId) -> (Instant, &Outcome) {
        let all: Vec<_> = self
            .events
            .iter()
            .filter_map(|(at, event)| match event {
                CollectionEvent::Ended(outcome) if outcome.collection == id => Some((*at, outcome)),
                _ => None,
            })
            .collect();
        assert_eq!(all.len(), 1, "outcomes of {id:?}");
        all[0]
    }

    fn is_ended(&self, id: CollectionId) -> bool {
        self.events.iter().any(
            |(_, event)| matches!(event, CollectionEvent::Ended(outcome) if outcome.collection == id),
        )
    }

    /// What was told about waiting.
    fn held(&self) -> Vec<(Instant, CollectionId, HoldReason, Duration)> {
        self.events
            .iter()
            .filter_map(|(at, event)| match event {
                CollectionEvent::Held(id, held) => Some((*at, *id, held.reason, held.remaining)),
                _ => None,
            })
            .collect()
    }

    fn sent_times(&self) -> Vec<Duration> {
        self.sent
            .iter()
            .map(|sent| sent.at.since(Instant::ZERO))
            .collect()
    }

    fn completions(&mut self) -> Vec<CompletionRequest> {
        core::iter::from_fn(|| self.collections.poll_completion(self.now)).collect()
    }

    fn status(&self, id: CollectionId) -> Status {
        self.collections.status(self.now, id).unwrap()
    }
}

/// The bytes of a response.
fn response(
    token: Token,
    kind: Type,
    code: Code,
    options: &[(OptionNumber, &[u8])],
    text: &str,
) -> Vec<u8> {
    let mut bytes = vec![0; 2_000 + text.len()];
    let mut writer = Writer::new(&mut bytes, kind, code, MessageId(77), token).unwrap();
    for (number, value) in options {
        writer.option(*number, value).unwrap();
    }
    writer.payload(text.as_bytes()).unwrap();
    let len = writer.finish();
    bytes.truncate(len);
    bytes
}

/// Members named `m1` ... with the addresses of `host(1)` ...
fn members(count: u16) -> Expectation {
    let mut expectation = Expectation::nobody();
    for n in 1..=count {
        expectation.add(Member::named(std::format!("m{n}")).at(host(n).ip()));
    }
    expectation
}

/// A GET that expects `m1` ... and waits 10 s.
fn get_from(count: u16) -> GroupRequest {
    GroupRequest {
        expect: members(count),
        ..get()
    }
}

fn names<'a, T>(of: impl Iterator<Item = (&'a str, T)>) -> Vec<&'a str> {
    of.map(|(name, _)| name).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
