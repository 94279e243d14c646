//! Any sequence of operations on an endpoint: what always holds must hold.
//!
//! The bytes of the input choose the operations and their arguments, so that a fuzzer can learn from them and any test
//! can make them up. Datagrams are valid, nearly valid, or nothing; time passes or does not; the application asks,
//! closes, answers; the worker is done with anything in any order. After each operation the outputs are drained, as the
//! endpoint demands, and then:
//!
//! - every table keeps to its limit, and everything sent is a message that fits a datagram and has a unicast source;
//! - nothing is acknowledged or reset that came by multicast;
//! - time goes on: no timeout stays due;
//! - a collection ends once, an exchange ends once, and in the end all of them have.

// The workspace's tests include this file by its path, where a plain `mod` would look elsewhere.
#[path = "operations/arrivals.rs"]
mod arrivals;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use antiphon_proto::{
    Access, CoapGroupId, CoapGroupSpec, CollectionEvent, CollectionId, Completion, Counters, End,
    Endpoint, EndpointConfig, Event, ExchangeId, Expectation, GroupPacing, GroupPolicy,
    GroupRequest, GroupTarget, How, IncomingId, Instant, Leisure, ListenChange, Member, Methods,
    NoSec, NoSecPolicy, Path, Protection, Reliability, Repeat, Request, Resource, ResourceId,
    Response, Route, Security, SendError, SocketId, SocketInfo, Transmission, UnicastRequest, Work,
    WorkFailure, WorkResult,
};
use antiphon_wire::{
    Class, Code, ContentFormat, Message, MessageId, OptionNumber, Token, Type, Writer,
};

/// Runs the operations that the bytes stand for, and says what came of them.
///
/// # Panics
/// If something that always holds does not.
pub fn run(data: &[u8]) -> Reached {
    let mut play = Play::new(Bytes(data));
    while !play.input.0.is_empty() {
        play.operation();
    }
    play.come_to_an_end();
    Reached {
        counters: play.endpoint.counters(),
        ..play.reached
    }
}

/// What a sequence of operations reached.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reached {
    /// Collections that ended.
    pub collections: u64,
    /// Answers in time, late, and by completion.
    pub answers: [u64; 3],
    /// Exchanges that ended with a response, and with a failure.
    pub exchanges: [u64; 2],
    /// Members that were missing, and that gave unacceptable answers only.
    pub members: [u64; 2],
    /// Groups that were joined, and left.
    pub memberships: [u64; 2],
    /// What the endpoint counted.
    pub counters: Counters,
}

/// The input, read from the front; zeros when it is used up.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end.max(1)
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub(crate) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// Small tables, so that their limits are reached.
pub(crate) fn small_tables() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.dedup.records = 40;
    config.dedup.records_per_address = 12;
    config.parking.per_peer = 2;
    config.limits.exchanges = 8;
    config.limits.confirmables = 6;
    config.limits.incoming = 3;
    config.limits.pending_answers = 3;
    config.limits.outbox = 64;
    config.server.observe.observers = 4;
    config.server.observe.per_resource = 3;
    config.server.observe.unacknowledged = 2;
    config
}

/// Every table keeps to its limit.
pub(crate) fn check_tables(
    endpoint: &Endpoint,
    config: &EndpointConfig,
    observable: &[ResourceId],
) {
    let (load, limits) = (endpoint.load(), &config.limits);
    let observe = &config.server.observe;
    assert!(load.dedup_records <= config.dedup.records, "{load:?}");
    assert!(load.exchanges <= limits.exchanges, "{load:?}");
    assert!(
        load.confirmables <= limits.confirmables + limits.exchanges + observe.unacknowledged,
        "{load:?}"
    );
    assert!(load.incoming <= limits.incoming, "{load:?}");
    assert!(load.pending_answers <= limits.pending_answers, "{load:?}");
    assert!(load.parked <= config.parking.messages, "{load:?}");
    assert!(load.observers <= observe.observers, "{load:?}");
    for id in observable {
        assert!(endpoint.server().observers_of(*id) <= observe.per_resource);
    }
    assert_eq!(load.outbox, 0, "everything was taken");
}

struct Play<'a> {
    input: Bytes<'a>,
    endpoint: Endpoint,
    config: EndpointConfig,
    now: Instant,
    /// The last datagrams sent.
    sent: Vec<(Route, Vec<u8>)>,
    /// The last datagrams received.
    heard: Vec<(Path, Vec<u8>)>,
    work: Vec<Work>,
    incoming: Vec<IncomingId>,
    /// Whether each collection has ended.
    collections: BTreeMap<CollectionId, bool>,
    exchanges: BTreeMap<ExchangeId, bool>,
    groups: Vec<CoapGroupId>,
    observable: Vec<ResourceId>,
    reached: Reached,
}

const PATHS: [&str; 9] = [
    "r",
    "r",
    "r",
    "slow",
    "slow",
    "silent",
    "closed",
    "unknown",
    ".well-known",
];
const REMEMBERED: usize = 32;

fn own() -> SocketAddr {
    ([10, 0, 0, 1], 5683).into()
}

fn group(n: usize) -> SocketAddr {
    ([239, 1, 0, n as u8], 5683).into()
}

fn peer(n: usize) -> SocketAddr {
    ([10, 0, 1, (n % 5) as u8], 40_000 + (n % 3) as u16).into()
}

impl<'a> Play<'a> {
    fn new(mut input: Bytes<'a>) -> Self {
        let mut config = small_tables();
        config.dedup.addresses = 4;
        config.dedup.reply_bytes = 200;
        config.parking.messages = 3;
        config.parking.bytes = 600;
        config.limits.incoming_per_address = 1;
        config.limits.pending_per_address = 1;
        config.limits.datagram = 300;
        config.collections.collections = 8;
        config.collections.waiting_per_group = 4;
        config.collections.groups = 6;
        config.server.observe.per_address = 2;
        config.server.observe.request = 40;
        let kind = input.byte();
        config.reset_unmatched = kind & 1 != 0;
        config.ignore_own_multicast = kind & 2 != 0;
        if kind & 4 != 0 {
            config.dedup.records = 0;
        }
        let mut endpoint = Endpoint::new(config.clone(), [kind; 32]);
        for (id, local) in [(0, own()), (1, group(0)), (2, group(1))] {
            let info = SocketInfo {
                local,
                respond_from: None,
            };
            endpoint.add_socket(SocketId(id), info);
        }
        let server = endpoint.server_mut();
        server.set_nosec(NoSecPolicy::Stated);
        let respond = GroupPolicy::respond()
            .answer(Class::ClientError)
            .leisure(Leisure::Fixed(Duration::from_secs(20)))
            .consider_no_response();
        let echo = |request: &antiphon_proto::Incoming<'_>, response: &mut Response| {
            response.set_payload(ContentFormat::TEXT, request.payload());
        };
        let mut observable = Vec::new();
        for (path, policy) in [("r", respond.clone()), ("silent", GroupPolicy::silent())] {
            let resource = Resource::at(path).on(Methods::ALL, echo).observable();
            let resource = resource.access(Access::Unsecured).group_policy(policy);
            observable.push(server.add(resource).unwrap());
        }
        let slow = Resource::at("slow").deferred(Methods::ALL);
        let slow = slow.access(Access::Unsecured).group_policy(respond);
        observable.push(server.add(slow.observable()).unwrap());
        server
            .add(Resource::at("closed").on(Methods::ALL, echo))
            .unwrap();
        let memberships = server.memberships_mut();
        let groups = [0, 1].map(|n| {
            let spec = CoapGroupSpec::new(group(n)).on(1).unsecured();
            memberships.create(spec).unwrap()
        });
        Self {
            input,
            endpoint,
            config,
            now: Instant::ZERO,
            sent: Vec::new(),
            heard: Vec::new(),
            work: Vec::new(),
            incoming: Vec::new(),
            collections: BTreeMap::new(),
            exchanges: BTreeMap::new(),
            groups: groups.to_vec(),
            observable,
            reached: Reached::default(),
        }
    }

    fn operation(&mut self) {
        match self.input.below(34) {
            0 => {
                let len = self.input.below(80);
                let bytes = self.input.take(len).to_vec();
                self.arrive(&bytes);
            }
            1..=5 => {
                let bytes = self.some_request();
                self.arrive(&bytes);
            }
            6..=9 => self.answer_something(),
            10 => self.empty_message(),
            11 => self.mutated(),
            12 | 13 => self.once_more(),
            14 => self.now = self.now + Duration::from_millis(u64::from(self.input.byte())),
            15 | 16 => {
                if let Some(next) = self.endpoint.next_timeout() {
                    self.now = self.now.max(next);
                }
                self.timeout();
            }
            17 => {
                let short = self.input.byte() < 220;
                let seconds = u64::from(self.input.byte()) / if short { 32 } else { 1 };
                self.now = self.now + Duration::from_secs(seconds);
                self.timeout();
            }
            18..=20 => self.collect(),
            21 => {
                let ids: Vec<_> = self.collections.keys().copied().collect();
                if !ids.is_empty() {
                    let id = self.input.pick(&ids);
                    self.endpoint.close(self.now, id);
                }
            }
            22 => self.request(),
            23 | 24 => self.work_done(),
            25 => self.respond(),
            26 => self.send_error(),
            28 | 29 => {
                let id = self.input.pick(&self.observable);
                self.endpoint.changed(self.now, id);
            }
            30 | 31 => self.observe(),
            32 | 33 => self.settle_something(),
            _ => self.configure(),
        }
        self.drain(false);
        self.check();
    }

    fn timeout(&mut self) {
        let mut calls = 0;
        loop {
            self.endpoint.handle_timeout(self.now);
            self.drain(false);
            match self.endpoint.next_timeout() {
                Some(due) if due <= self.now => calls += 1,
                _ => return,
            }
            assert!(calls < 1_000, "a timeout stays due at {:?}", self.now);
        }
    }

    fn collect(&mut self) {
        let path = self.input.pick(&PATHS);
        let mut request = Request::new(Code::from_u8(1 + self.input.byte() % 7)).path(path);
        if path == ".well-known" {
            request = request.path("core");
        }
        let targets = 1 + self.input.below(3);
        let first = self.input.below(4);
        let target = |n: usize| GroupTarget {
            group: group(n),
            socket: SocketId(0),
            interface: 1,
        };
        let reason = self
            .input
            .pick(&[NoSec::Accepted, NoSec::Accepted, NoSec::Discovery]);
        let mut question = GroupRequest::new(request, target(first), Security::Unsecured(reason));
        question.targets = (first..first + targets).map(target).collect();
        let mut expect = Expectation::nobody();
        for n in 0..self.input.below(5) {
            let member = Member::named(n.to_string());
            expect.add(match self.input.below(4) {
                0 => member,
                _ => member.at(peer(n).ip()),
            });
        }
        question.expect = expect;
        question.end = End {
            deadline: Duration::from_millis(u64::from(self.input.byte()) * 100),
            count: (self.input.byte() < 60).then(|| self.input.below(4)),
            when_all_expected: self.input.flag(),
        };
        let times = self.input.byte() % 4;
        question.repeat = match self.input.below(3) {
            0 => Repeat::None,
            1 => Repeat::NewMessageId(times),
            _ => Repeat::SameMessage(times),
        };
        if self.input.flag() {
            question.completion = Completion::Unicast {
                at_once: self.input.below(4),
                within: self.input.flag().then(|| Duration::from_secs(20)),
            };
        }
        question.idempotent = self.input.flag();
        question.leisure = Duration::from_millis(u64::from(self.input.byte()) * 20);
        question.rtt = Duration::from_millis(u64::from(self.input.byte()));
        question.late = self
            .input
            .flag()
            .then(|| Duration::from_secs(u64::from(times)));
        question.silent = self.input.byte() < 50;
        question.keep_answers = self.input.flag();
        question.limits.unexpected = 3;
        question.limits.per_responder = 2;
        if let Ok(id) = self.endpoint.collect(self.now, question) {
            assert!(
                self.collections.insert(id, false).is_none(),
                "an id is used once"
            );
        }
    }

    fn request(&mut self) {
        let path = self.input.pick(&PATHS);
        let unicast = UnicastRequest {
            request: Request::new(Code::from_u8(1 + self.input.byte() % 7)).path(path),
            route: Route {
                socket: SocketId(0),
                source: None,
                interface: 1,
                destination: peer(self.input.below(16)),
            },
            reliability: self
                .input
                .pick(&[Reliability::Confirmable, Reliability::NonConfirmable]),
            response_timeout: self.input.flag().then(|| Duration::from_secs(3)),
            protection: Protection::None,
        };
        if let Ok(id) = self.endpoint.request(self.now, unicast) {
            assert!(
                self.exchanges.insert(id, false).is_none(),
                "an id is used once"
            );
            if self.input.byte() < 20 {
                self.drain(false);
                if self.exchanges.get(&id) == Some(&false) {
                    self.endpoint.cancel(self.now, id);
                    self.exchanges.insert(id, true);
                }
            }
        }
    }

    fn work_done(&mut self) {
        if self.work.is_empty() {
            return;
        }
        let at = self.input.below(self.work.len());
        let work = if self.input.byte() < 200 {
            self.work.swap_remove(at).id
        } else {
            self.work[at].id // it will be done once more
        };
        let result = match self.input.below(5) {
            0 => WorkResult::Failed(WorkFailure::Key),
            1 => WorkResult::Failed(WorkFailure::System(5)),
            2 => WorkResult::Signed(self.input.take(6).to_vec()), // nobody has asked for it
            3 => WorkResult::Credential(None),
            _ => WorkResult::Done,
        };
        self.endpoint.work_done(self.now, work, result);
    }

    fn respond(&mut self) {
        if self.incoming.is_empty() {
            return;
        }
        let at = self.input.below(self.incoming.len());
        let id = if self.input.byte() < 200 {
            self.incoming.swap_remove(at)
        } else {
            self.incoming[at] // answered once more
        };
        let mut response = Response::new(Code::from_u8(self.input.byte()));
        let len = usize::from(self.input.byte()) * 2;
        response.payload.resize(len, b'x');
        self.endpoint.respond(self.now, id, response);
    }

    fn send_error(&mut self) {
        let at = self.input.below(self.sent.len());
        let Some((route, bytes)) = self.sent.get(at) else {
            return;
        };
        let error = self.input.pick(&[
            SendError::NoBuffer,
            SendError::NoRoute,
            SendError::TooLarge,
            SendError::InterfaceGone,
            SendError::PortUnreachable,
        ]);
        match error {
            // Only the network can know.
            SendError::PortUnreachable => {
                let Route {
                    socket,
                    destination,
                    ..
                } = *route;
                self.endpoint
                    .handle_undelivered(self.now, socket, destination, bytes, error);
            }
            _ => self.endpoint.handle_send_error(self.now, *route, error),
        }
    }

    fn configure(&mut self) {
        let id = self.input.pick(&self.groups);
        let memberships = self.endpoint.server_mut().memberships_mut();
        // What is refused changes nothing.
        match self.input.below(8) {
            0 => {
                let _ = memberships.leave(id, 1);
            }
            1 => {
                let _ = memberships.join(id, 1);
            }
            2 => memberships.interface_away(1),
            3 => memberships.interface_back(1),
            4 => {
                let spec = CoapGroupSpec::new(group(self.input.below(10)))
                    .on(1)
                    .unsecured();
                if let Ok(id) = memberships.create(spec)
                    && self.groups.len() < 20
                {
                    self.groups.push(id);
                }
            }
            5 => {
                let _ = memberships.move_to(id, group(self.input.below(10)));
            }
            6 => {
                let rate = 1 + u32::from(self.input.byte()) * 100;
                let pacing = GroupPacing::new(1 + self.input.below(3), rate).ok();
                let group = group(self.input.below(4));
                let collections = self.endpoint.collections_mut();
                let _ = collections.set_pacing(self.now, group, None, pacing);
            }
            _ => {
                let mut transmission = Transmission::default();
                let nstart = 1 + self.input.below(3);
                transmission.set_nstart(nstart).unwrap();
                let retransmit = u32::from(self.input.byte() % 5);
                transmission.set_max_retransmit(retransmit).unwrap();
                self.endpoint.set_transmission(self.now, transmission);
            }
        }
    }

    fn drain(&mut self, by_multicast: bool) {
        let mut out = Vec::new();
        for taken in 0.. {
            assert!(taken < 10_000, "it never stops sending");
            let Some(transmit) = self.endpoint.poll_transmit(self.now, &mut out) else {
                break;
            };
            self.check_datagram(&transmit.route, &out, by_multicast);
            if self.sent.len() >= REMEMBERED {
                self.sent.remove(0);
            }
            self.sent.push((transmit.route, out.clone()));
        }
        for taken in 0.. {
            assert!(taken < 1_000, "there is always more work");
            let Some(work) = self.endpoint.poll_work(self.now) else {
                break;
            };
            self.work.push(work);
        }
        while let Some(event) = self.endpoint.poll_event() {
            self.note(event);
        }
    }

    fn check_datagram(&self, route: &Route, bytes: &[u8], by_multicast: bool) {
        let message = Message::parse(bytes).expect("what is sent is a message");
        assert!(route.source.is_none_or(|source| !source.is_multicast()));
        assert_eq!(route.socket, SocketId(0), "never from a group's socket");
        assert_ne!(route.destination.port(), 0);
        if route.is_multicast() {
            assert_eq!(message.kind(), Type::Non);
            assert!(message.code().is_request());
        } else if message.code().is_response() {
            assert!(bytes.len() <= self.config.limits.datagram);
        }
        if by_multicast {
            assert!(
                !matches!(message.kind(), Type::Ack | Type::Rst),
                "{bytes:?} in answer to a multicast"
            );
        }
    }

    fn note(&mut self, event: Event) {
        let reached = &mut self.reached;
        match event {
            Event::Request { incoming, .. } => self.incoming.push(incoming),
            Event::Response { exchange, .. } => {
                reached.exchanges[0] += 1;
                let ended = self.exchanges.insert(exchange, true);
                assert_eq!(ended, Some(false), "an exchange ends once");
            }
            Event::Failed { exchange, .. } => {
                reached.exchanges[1] += 1;
                let ended = self.exchanges.insert(exchange, true);
                assert_eq!(ended, Some(false), "an exchange ends once");
            }
            Event::Collection(CollectionEvent::Ended(outcome)) => {
                reached.collections += 1;
                let ended = self.collections.insert(outcome.collection, true);
                assert_eq!(ended, Some(false), "a collection ends once");
                let missing = outcome.missing().count();
                let rejected = outcome.rejected().count();
                reached.members[0] += missing as u64;
                reached.members[1] += rejected as u64;
                let named =
                    outcome.answered().count() + missing + outcome.late().count() + rejected;
                assert_eq!(outcome.members().count(), named, "everybody is in one list");
            }
            Event::Collection(CollectionEvent::Answer(answer)) => {
                reached.answers[if answer.how == How::Unicast { 2 } else { 0 }] += 1;
                let ended = self.collections.get(&answer.collection);
                assert_eq!(ended, Some(&false), "no answer after the end");
            }
            Event::Collection(CollectionEvent::LateAnswer(answer)) => {
                reached.answers[1] += 1;
                let ended = self.collections.get(&answer.collection);
                assert_eq!(ended, Some(&true), "no late answer before the end");
            }
            Event::Membership(event) => match event.change {
                ListenChange::Joined => reached.memberships[0] += 1,
                ListenChange::Left => reached.memberships[1] += 1,
                _ => {}
            },
            _ => {}
        }
    }

    fn check(&self) {
        check_tables(&self.endpoint, &self.config, &self.observable);
        let server = self.endpoint.server();
        let each = self.observable.iter().map(|id| server.observers_of(*id));
        assert_eq!(each.sum::<usize>(), self.endpoint.load().observers);
    }

    /// With nothing more from outside, everything that was begun ends.
    fn come_to_an_end(&mut self) {
        for work in core::mem::take(&mut self.work) {
            self.endpoint.work_done(self.now, work.id, WorkResult::Done);
        }
        self.drain(false);
        for _ in 0..20_000 {
            let open = self.collections.values().chain(self.exchanges.values());
            if open.into_iter().all(|ended| *ended) {
                self.check();
                return;
            }
            let next = self.endpoint.next_timeout().expect("something is open");
            self.now = self.now.max(next);
            self.timeout();
        }
        panic!("{:?} {:?} never end", self.collections, self.exchanges);
    }
}

fn parse(bytes: &[u8]) -> Message<'_> {
    Message::parse(bytes).unwrap()
}
