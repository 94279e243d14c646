//! Three endpoints that share a security group, and an attacker who holds every wire between them.
//!
//! The bytes of the input choose what happens: they ask the group and each other, observe, answer; their work is done in any
//! order, late or never; datagrams are lost, repeated, put in another order, brought to somebody else, changed and made up; keys
//! are replaced, members get other Sender IDs, are removed and join again. What always holds:
//!
//! - a handler sees nothing but what a member of the group has asked, and knows which one;
//! - the application hears nothing but what a member has answered to that very question;
//! - no number is used twice under one key, and the nonce of a request once at most for a response;
//! - every table keeps to its limit, what is sent is a message from a unicast address, and no timeout stays due;
//! - collections, exchanges and observations end once, and in the end all of them have.

mod hosts;
mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use antiphon_oscore::Kid;
use antiphon_proto::{
    CollectionEvent, Completion, End, Event, Expectation, GroupRequest, GroupTarget, Instant,
    Member, ObservationEvent, ObserveRequest, Protection, Reliability, Repeat, Request, Response,
    Route, Security, SendError, Sender, UnicastRequest, Work, WorkFailure, WorkResult,
};
use antiphon_wire::Code;

use crate::operations::Bytes;
use hosts::{Host, credential, identity};
use wire::{Datagram, Wire};

/// How many hosts there are.
const HOSTS: usize = 3;
/// Datagrams that can still arrive.
const FLYING: usize = 48;
/// Generations of keys.
const GENERATIONS: u64 = 12;
const PATHS: [&str; 4] = ["t", "t", "slow", "wait"];

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
    let mut reached = play.reached;
    for host in &play.hosts {
        let counters = host.endpoint.counters().security;
        reached.opened += counters.requests + counters.responses;
        reached.challenges += counters.challenges;
    }
    reached.handled = book(&play.book).handled;
    reached
}

/// What a sequence of operations reached.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reached {
    /// Requests that a handler has seen.
    pub handled: u64,
    /// Messages that were opened.
    pub opened: u64,
    /// Challenges.
    pub challenges: u64,
    /// Responses to unicast requests.
    pub responses: u64,
    /// Answers of members of the group.
    pub answers: u64,
    /// Notifications.
    pub notifications: u64,
    /// New keys that were installed.
    pub installed: u64,
}

/// What was asked and answered, as whoever did so knows it.
#[derive(Default)]
struct Book {
    /// By whom each payload of a request was made up.
    asked: BTreeMap<Vec<u8>, usize>,
    /// By whom each payload of a response was.
    answered: BTreeMap<Vec<u8>, usize>,
    handled: u64,
    serial: u32,
}

impl Book {
    fn serial(&mut self) -> [u8; 4] {
        self.serial += 1;
        self.serial.to_be_bytes()
    }

    /// Something to ask that nobody has asked before.
    fn ask(&mut self, host: usize) -> Vec<u8> {
        let mark = [b"q", &self.serial()[..]].concat();
        self.asked.insert(mark.clone(), host);
        mark
    }

    /// An answer of this host to what it was asked by that sender.
    fn answer(&mut self, host: usize, sender: &Sender, asked: &[u8]) -> Vec<u8> {
        let by = self.asked.get(asked).expect("nobody has asked that");
        assert_eq!(sender, &Sender::Proven(identity(*by)), "asked by another");
        assert_ne!(*by, host, "its own request");
        self.handled += 1;
        let mark = [b"a", &self.serial()[..], asked].concat();
        self.answered.insert(mark.clone(), host);
        mark
    }

    /// What a host hears in response to what it has asked.
    fn hear(&self, response: &Response, sender: &Sender, asked: &[u8]) {
        if !matches!(response.code, Code::CONTENT | Code::CHANGED) {
            return;
        }
        let by = self.answered.get(&response.payload);
        let by = by.expect("nobody has answered that");
        assert_eq!(sender, &Sender::Proven(identity(*by)), "told by another");
        assert_eq!(&response.payload[5..], asked, "another question");
    }
}

type Shared = Arc<Mutex<Book>>;

fn book(shared: &Shared) -> MutexGuard<'_, Book> {
    shared.lock().unwrap()
}

/// What was begun, what was asked with it, and whether it has ended.
type Begun<Id> = BTreeMap<Id, (Vec<u8>, bool)>;

fn end<Id: Ord + Copy>(begun: &mut Begun<Id>, id: Id) {
    let (_, ended) = begun.get_mut(&id).expect("what ends was begun");
    assert!(!*ended, "it ends once");
    *ended = true;
}

struct Play<'a> {
    input: Bytes<'a>,
    hosts: Vec<Host>,
    now: Instant,
    book: Shared,
    wire: Wire,
    /// The newest generation of keys, and in which each host was removed.
    generation: u64,
    removed: [Option<u64>; HOSTS],
    /// Sender IDs that were ever given out, and to whom.
    kids: Vec<(Kid, usize)>,
    reached: Reached,
}

impl<'a> Play<'a> {
    fn new(mut input: Bytes<'a>) -> Self {
        let kind = input.byte();
        let book = Shared::default();
        let kids: Vec<_> = (0..HOSTS).map(|n| (hosts::kid(n), n)).collect();
        let hosts = (0..HOSTS).map(|n| Host::new(n, kind, &book)).collect();
        let mut play = Self {
            input,
            hosts,
            now: Instant::from_millis(1_000),
            book,
            wire: Wire::default(),
            generation: 1,
            removed: [None; HOSTS],
            kids,
            reached: Reached::default(),
        };
        for host in 0..HOSTS {
            play.drain(host);
            play.labour(host);
        }
        play
    }

    fn operation(&mut self) {
        let host = self.input.below(HOSTS);
        match self.input.below(40) {
            0..=2 => self.collect(host),
            3..=5 => self.request(host),
            6 | 7 => self.observe(host),
            8..=17 => self.deliver(),
            18..=20 => {
                // All that is on its way arrives, and all work is done.
                for _ in 0..8 {
                    (0..HOSTS).for_each(|n| self.labour(n));
                    let all: Vec<_> = self.wire.flying.drain(..).collect();
                    for datagram in all {
                        self.arrive(&datagram, &datagram.bytes, None);
                    }
                }
            }
            21 => self.mutated(),
            22 => self.made_up(),
            23 => self.lose(),
            24..=26 => self.work_done(host),
            27 => self.labour(host),
            28 => self.respond(host),
            29 => {
                let resource = self.hosts[host].observable;
                self.hosts[host].endpoint.changed(self.now, resource);
            }
            30 => self.now = self.now + Duration::from_millis(u64::from(self.input.byte())),
            31..=33 => {
                let due = self.hosts.iter().filter_map(|h| h.endpoint.next_timeout());
                self.now = due.min().unwrap_or(self.now).max(self.now);
                self.timeout();
            }
            34 => {
                let short = self.input.byte() < 220;
                let seconds = u64::from(self.input.byte()) / if short { 16 } else { 1 };
                self.now = self.now + Duration::from_secs(seconds);
                self.timeout();
            }
            35 => self.new_keys(),
            36 => self.install(host),
            37 => self.other_sender_id(host),
            38 => self.join_or_leave(host),
            _ => self.give_up(host),
        }
        for host in 0..HOSTS {
            self.drain(host);
            self.hosts[host].check();
        }
    }

    // ---- the application ----------------------------------------------------------------------------------

    fn expectation(&mut self, host: usize) -> Expectation {
        let mut expect = Expectation::nobody();
        for other in (0..HOSTS).filter(|other| *other != host) {
            let member = Member::named(other.to_string());
            let known = member.clone().at(hosts::address(other));
            expect.add(match self.input.below(3) {
                0 => member,
                1 => known,
                _ => known.identity(identity(other)),
            });
        }
        expect
    }

    fn collect(&mut self, host: usize) {
        let path = self.input.pick(&PATHS);
        let mark = book(&self.book).ask(host);
        let mut request = Request::new(Code::FETCH).path(path);
        request.payload.clone_from(&mark);
        let target = GroupTarget {
            group: hosts::group(),
            socket: hosts::UNICAST,
            interface: 1,
        };
        let security = Security::Group(self.hosts[host].group);
        let times = 1 + self.input.byte() % 2;
        let question = GroupRequest {
            expect: self.expectation(host),
            end: End {
                deadline: Duration::from_millis(u64::from(self.input.byte()) * 100),
                count: None,
                when_all_expected: self.input.flag(),
            },
            repeat: self.input.pick(&[
                Repeat::None,
                Repeat::NewMessageId(times),
                Repeat::SameMessage(times),
            ]),
            completion: match self.input.flag() {
                true => Completion::Unicast {
                    at_once: 2,
                    within: None,
                },
                false => Completion::None,
            },
            idempotent: true,
            late: self.input.flag().then(|| Duration::from_secs(20)),
            ..GroupRequest::new(request, target, security)
        };
        let host = &mut self.hosts[host];
        if let Ok(id) = host.endpoint.collect(self.now, question) {
            let again = host.collections.insert(id, (mark, false));
            assert!(again.is_none(), "an id is used once");
        }
    }

    /// A request of this host to another one: the path, its payload, the way and how it is protected.
    fn unicast(&mut self, host: usize) -> (Request, Vec<u8>, Route, Protection) {
        let other = (host + 1 + self.input.below(HOSTS - 1)) % HOSTS;
        let mark = book(&self.book).ask(host);
        let mut request = Request::new(Code::FETCH).path(self.input.pick(&PATHS));
        request.payload.clone_from(&mark);
        let route = Route {
            socket: hosts::UNICAST,
            source: None,
            interface: 1,
            destination: hosts::address(other),
        };
        let group = self.hosts[host].group;
        let protection = match self.input.below(4) {
            0 => Protection::Group(group),
            _ => Protection::Member {
                group,
                credential: credential(other).bytes().to_vec(),
            },
        };
        (request, mark, route, protection)
    }

    fn request(&mut self, host: usize) {
        let (request, mark, route, protection) = self.unicast(host);
        let unicast = UnicastRequest {
            request,
            route,
            reliability: self
                .input
                .pick(&[Reliability::Confirmable, Reliability::NonConfirmable]),
            response_timeout: self.input.flag().then(|| Duration::from_secs(3)),
            protection,
        };
        let host = &mut self.hosts[host];
        if let Ok(id) = host.endpoint.request(self.now, unicast) {
            let again = host.exchanges.insert(id, (mark, false));
            assert!(again.is_none(), "an id is used once");
        }
    }

    fn observe(&mut self, host: usize) {
        let observe = if self.input.flag() {
            let (request, _, route, protection) = self.unicast(host);
            ObserveRequest::one(request, route, protection)
        } else {
            let mut request = Request::new(Code::FETCH).path("t");
            request.payload = book(&self.book).ask(host);
            let target = GroupTarget {
                group: hosts::group(),
                socket: hosts::UNICAST,
                interface: 1,
            };
            ObserveRequest {
                expect: self.expectation(host),
                ..ObserveRequest::group(request, target, Security::Group(self.hosts[host].group))
            }
        };
        let every = 1 + u64::from(self.input.byte());
        let observe = ObserveRequest {
            every: self.input.flag().then(|| Duration::from_secs(every)),
            ..observe
        };
        let mark = observe.request.payload.clone();
        let host = &mut self.hosts[host];
        if let Ok(id) = host.endpoint.observe(self.now, observe) {
            let again = host.observations.insert(id, (mark, false));
            assert!(again.is_none(), "an id is used once");
        }
    }

    fn respond(&mut self, host: usize) {
        let incoming = &mut self.hosts[host].incoming;
        if incoming.is_empty() {
            return;
        }
        let at = self.input.below(incoming.len());
        let (id, payload) = match self.input.byte() < 200 {
            true => incoming.swap_remove(at),
            false => incoming[at].clone(), // answered once more
        };
        let mut response = Response::new(Code::CONTENT);
        response.payload = payload;
        self.hosts[host].endpoint.respond(self.now, id, response);
    }

    /// Ends something that was begun, or what was sent comes back as not sent.
    fn give_up(&mut self, n: usize) {
        let host = &mut self.hosts[n];
        match self.input.below(4) {
            0 => {
                let open = host.exchanges.iter().find(|(_, (_, ended))| !ended);
                if let Some(id) = open.map(|(id, _)| *id) {
                    host.endpoint.cancel(self.now, id);
                    end(&mut host.exchanges, id);
                }
            }
            1 => {
                if let Some(id) = host.collections.keys().next_back().copied() {
                    host.endpoint.close(self.now, id);
                }
            }
            2 => {
                if let Some(id) = host.observations.keys().next_back().copied() {
                    host.endpoint.end_observation(self.now, id);
                }
            }
            _ => {
                let last = self.wire.flying.iter().rev().find(|d| d.from == n);
                if let Some(route) = last.map(|d| d.route) {
                    let error = self.input.pick(&[
                        SendError::NoBuffer,
                        SendError::NoRoute,
                        SendError::TooLarge,
                        SendError::InterfaceGone,
                    ]);
                    host.endpoint.handle_send_error(self.now, route, error);
                }
            }
        }
    }

    // ---- work -----------------------------------------------------------------------------------------------

    /// Does all work of a host.
    fn labour(&mut self, host: usize) {
        for turns in 0.. {
            self.drain(host);
            if self.hosts[host].work.is_empty() {
                return;
            }
            assert!(turns < 1_000, "there is always more work");
            let work = self.hosts[host].work.remove(0);
            let id = work.id;
            let result = self.result(host, work);
            self.hosts[host].endpoint.work_done(self.now, id, result);
        }
    }

    /// Does one piece of work: well, again, or badly.
    fn work_done(&mut self, host: usize) {
        let count = self.hosts[host].work.len();
        if count == 0 {
            return;
        }
        let at = self.input.below(count);
        let how = self.input.below(16);
        let work = self.hosts[host].work.swap_remove(at);
        let id = work.id;
        let result = match how {
            0 => WorkResult::Failed(WorkFailure::Key),
            1 => WorkResult::Failed(WorkFailure::System(5)),
            2 => WorkResult::Credential(Some(credential(self.input.below(HOSTS)).clone())),
            3 => WorkResult::Signed(self.input.take(64).to_vec()),
            _ => self.result(host, work),
        };
        self.hosts[host].endpoint.work_done(self.now, id, result);
        if how == 15 {
            let again = WorkResult::Done;
            self.hosts[host].endpoint.work_done(self.now, id, again);
        }
    }

    fn result(&self, host: usize, work: Work) -> WorkResult {
        self.hosts[host].result(work, |kid| {
            let of = self.kids.iter().find(|(known, _)| known == kid);
            of.map(|(_, host)| *host)
                .filter(|host| self.removed[*host].is_none())
        })
    }

    // ---- keys -----------------------------------------------------------------------------------------------

    /// Whoever manages the group makes new keys; perhaps somebody is no member under them.
    fn new_keys(&mut self) {
        if self.generation >= GENERATIONS {
            return;
        }
        self.generation += 1;
        let out = self.input.below(8);
        let members = self.removed.iter().filter(|removed| removed.is_none());
        if out < HOSTS && members.count() > 2 && self.removed[out].is_none() {
            self.removed[out] = Some(self.generation);
        }
    }

    /// A member gets the newest keys.
    fn install(&mut self, host: usize) {
        if self.removed[host].is_some() {
            return;
        }
        let gone: Vec<_> = (0..HOSTS)
            .filter(|other| self.removed[*other].is_some())
            .collect();
        let stale = self.kids.iter().filter(|(_, of)| gone.contains(of));
        let stale = stale.map(|(kid, _)| *kid).collect();
        if self.hosts[host].install(self.now, self.generation, stale) {
            self.reached.installed += 1;
        }
    }

    fn next_kid(&mut self, host: usize) -> Option<Kid> {
        let kid = Kid::new(&[0x60 + u8::try_from(self.kids.len()).ok()?])?;
        self.kids.push((kid, host));
        Some(kid)
    }

    fn other_sender_id(&mut self, host: usize) {
        if self.removed[host].is_none()
            && self.kids.len() < 40
            && let Some(kid) = self.next_kid(host)
        {
            self.hosts[host].other_sender_id(self.now, kid);
        }
    }

    /// A host leaves; or, having left or been removed, joins under new keys and another Sender ID.
    fn join_or_leave(&mut self, host: usize) {
        if self.generation >= GENERATIONS || self.kids.len() >= 40 {
            return;
        }
        let now = self.now;
        self.generation += 1;
        self.hosts[host].leave(now);
        match self.removed[host] {
            None => self.removed[host] = Some(self.generation),
            Some(_) => {
                self.removed[host] = None;
                // The Sender IDs it had are not its any more.
                self.kids.retain(|(_, of)| *of != host);
                let Some(kid) = self.next_kid(host) else {
                    return;
                };
                let in_it = |(_, of): &&(Kid, usize)| *of != host && self.removed[*of].is_none();
                let peers: Vec<_> = self.kids.iter().filter(in_it).copied().collect();
                self.hosts[host].join(self.generation, kid, &peers);
            }
        }
    }

    // ---- time and what comes out ----------------------------------------------------------------------------

    fn timeout(&mut self) {
        for host in 0..HOSTS {
            for calls in 0.. {
                assert!(calls < 1_000, "a timeout stays due at {:?}", self.now);
                self.hosts[host].endpoint.handle_timeout(self.now);
                self.drain(host);
                let due = self.hosts[host].endpoint.next_timeout();
                if due.is_none_or(|due| due > self.now) {
                    break;
                }
            }
        }
    }

    fn drain(&mut self, n: usize) {
        let mut out = Vec::new();
        for taken in 0.. {
            assert!(taken < 10_000, "it never stops sending");
            let host = &mut self.hosts[n];
            let Some(transmit) = host.endpoint.poll_transmit(self.now, &mut out) else {
                break;
            };
            let sent = Datagram {
                from: n,
                route: transmit.route,
                bytes: out.clone(),
            };
            self.wire.went(sent, host.installed());
        }
        for taken in 0.. {
            assert!(taken < 1_000, "there is always more work");
            let Some(work) = self.hosts[n].endpoint.poll_work(self.now) else {
                break;
            };
            self.hosts[n].work.push(work);
        }
        while let Some(event) = self.hosts[n].endpoint.poll_event() {
            self.note(n, event);
        }
    }

    fn note(&mut self, n: usize, event: Event) {
        let host = &mut self.hosts[n];
        let mut book = book(&self.book);
        match event {
            Event::Request {
                incoming,
                request,
                arrival,
                ..
            } => {
                let answer = book.answer(n, &arrival.sender, &request.payload);
                host.incoming.push((incoming, answer));
            }
            Event::Response {
                exchange,
                response,
                sender,
                ..
            } => {
                self.reached.responses += 1;
                book.hear(&response, &sender, &host.exchanges[&exchange].0);
                end(&mut host.exchanges, exchange);
            }
            Event::Failed { exchange, .. } => end(&mut host.exchanges, exchange),
            Event::Collection(
                CollectionEvent::Answer(answer) | CollectionEvent::LateAnswer(answer),
            ) => {
                self.reached.answers += 1;
                let asked = &host.collections[&answer.collection].0;
                book.hear(&answer.response, &answer.sender, asked);
            }
            Event::Collection(CollectionEvent::Ended(outcome)) => {
                end(&mut host.collections, outcome.collection);
            }
            Event::Observation(ObservationEvent::Notification(told)) => {
                self.reached.notifications += 1;
                let (asked, ended) = &host.observations[&told.observation];
                assert!(!ended, "told after the end");
                book.hear(&told.response, &told.sender, asked);
            }
            Event::Observation(ObservationEvent::Ended(outcome)) => {
                end(&mut host.observations, outcome.observation);
            }
            _ => {}
        }
    }

    /// With nothing more from outside, everything that was begun ends.
    fn come_to_an_end(&mut self) {
        for host in 0..HOSTS {
            self.labour(host);
            let open: Vec<_> = self.hosts[host].observations.keys().copied().collect();
            for id in open {
                self.hosts[host].endpoint.end_observation(self.now, id);
            }
            self.labour(host);
        }
        for _ in 0..20_000 {
            if self.hosts.iter().all(Host::is_done) {
                self.hosts.iter().for_each(Host::check);
                return;
            }
            let due = self.hosts.iter().filter_map(|h| h.endpoint.next_timeout());
            self.now = due.min().expect("something is open").max(self.now);
            self.timeout();
            (0..HOSTS).for_each(|host| self.labour(host));
        }
        panic!("something never ends");
    }
}
