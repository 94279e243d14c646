//! Endpoints that share a security group, with a worker that can be slow, clumsy or gone.

mod again;
mod blocks;
mod cached;
mod challenges;
mod exchanges;
mod groups;
mod hostile;
mod keys;
mod labour;
mod member;
mod notify;
mod observe;
mod outer;
mod repeated;
mod upkeep;

use std::collections::VecDeque;

use antiphon_oscore::credential::{Credential, CredentialFormat};
use antiphon_oscore::crypto::{PrivateKey, SoftwareKey};
use antiphon_oscore::option::OscoreOption;
use antiphon_oscore::record::Record;
use antiphon_oscore::secret::Secret;
use antiphon_oscore::sequence::{Sequence, SequenceSettings};
use antiphon_oscore::suite::{
    Aead, GroupEncryption, Hkdf, KeyAgreement, SignatureAlgorithm, Suite,
};
use antiphon_oscore::{
    ContextId, Gid, Group, GroupId, GroupManagerCredential, Kid, Own, Parameters, Settings, Stale,
};

use super::*;
use crate::collection::{CollectionEvent, Outcome};
use crate::collection::{Completion, End, GroupTarget, Repeat, Security};
use crate::expect::{Expectation, Member};
use crate::identity::{Identity, SecurityGroup};
use crate::security::{AnswerMode, NotProtected, Protection, SecurityEvent};
use crate::server::Reachability;
use crate::work::WorkFailure;

const LIGHTS: &str = "lights";
const NODES: usize = 3;
const CLIENT: usize = 0;
const LAMP: usize = 1;
const BELL: usize = 2;

/// Which modes the group has.
#[derive(Clone, Copy, PartialEq)]
enum Modes {
    Both,
    GroupOnly,
}

/// One host.
struct Node {
    endpoint: Endpoint,
    key: SoftwareKey,
    group: GroupId,
    at: SocketAddr,
    handled: Arc<AtomicU32>,
    /// What its handler has seen of the last request.
    seen: Arc<std::sync::Mutex<Option<crate::identity::Arrival>>>,
    worker: Worker,
    /// Work that nobody has done yet.
    waiting: Vec<Work>,
    stored: Vec<Record>,
    events: Vec<Event>,
    deaf: bool,
}

/// How work is done.
#[derive(Clone, Copy, PartialEq)]
enum Worker {
    /// At once.
    Eager,
    /// When the test says so.
    Held,
    /// Never successfully.
    Fails,
}

/// A datagram that was sent.
#[derive(Clone, Debug)]
struct Datagram {
    from: usize,
    route: Route,
    bytes: Vec<u8>,
}

impl Datagram {
    fn message(&self) -> Message<'_> {
        Message::parse(&self.bytes).unwrap()
    }

    fn option(&self) -> OscoreOption<'_> {
        let value = self.message().option(antiphon_wire::OptionNumber::OSCORE);
        OscoreOption::parse(value.expect("protected")).unwrap()
    }

    fn is_protected(&self) -> bool {
        let number = antiphon_wire::OptionNumber::OSCORE;
        self.message().option(number).is_some()
    }
}

/// Some hosts on one link, in one security group. Every datagram arrives at once unless the test takes it away.
struct World {
    nodes: Vec<Node>,
    now: Instant,
    sent: Vec<Datagram>,
    flying: VecDeque<Datagram>,
    /// Datagrams for which it says true are lost.
    lossy: fn(&Datagram) -> bool,
}

fn address(node: usize) -> SocketAddr {
    ([10, 0, (node >> 8) as u8, node as u8], 5683).into()
}

fn key(node: usize) -> SoftwareKey {
    let mut seed = [1; 32];
    seed[..2].copy_from_slice(&(node as u16).to_be_bytes());
    SoftwareKey::from_ed25519_seed(&seed)
}

fn credential(node: usize) -> Credential {
    let bytes = Credential::build_ccs(&alloc::format!("node {node}"), &key(node).public());
    Credential::import(CredentialFormat::Ccs, &bytes).unwrap()
}

fn kid(node: usize) -> Kid {
    match node {
        0..100 => Kid::new(&[0x50 + node as u8]),
        _ => Kid::new(&(node as u16).to_be_bytes()),
    }
    .unwrap()
}

fn identity(node: usize) -> Identity {
    Identity::member(LIGHTS, credential(node).bytes())
}

fn suite(modes: Modes) -> Suite {
    let pairwise = modes == Modes::Both;
    Suite::new(
        Hkdf::Sha256,
        pairwise.then_some(Aead::AesCcm16_128_128),
        Some(GroupEncryption::Aead(Aead::AesCcm16_128_128)),
        Some(SignatureAlgorithm::EdDsa),
        pairwise.then_some(KeyAgreement::EcdhSsHkdf256),
    )
    .unwrap()
}

fn parameters(modes: Modes, gid: u8, generation: u64) -> Parameters {
    Parameters {
        gid: Gid::new(&[0x47, gid]).unwrap(),
        generation,
        master_secret: Secret::new(alloc::vec![gid; 16]),
        master_salt: Secret::new(alloc::vec![7; 8]),
        suite: suite(modes),
        format: CredentialFormat::Ccs,
        gm_credential: GroupManagerCredential::no_manager(),
    }
}

fn own(node: usize, sequence: Sequence) -> Own {
    Own {
        sender_id: kid(node),
        credential: credential(node),
        sequence,
    }
}

/// The security group as this host has it, with these peers.
fn group_of(node: usize, modes: Modes, sequence: Sequence, settings: Settings) -> Group {
    let own = own(node, sequence);
    let parameters = parameters(modes, 1, 1);
    let mut group = Group::new(LIGHTS, parameters, Some(own), settings, None).unwrap();
    for peer in (0..NODES).filter(|peer| *peer != node) {
        group.add_peer(kid(peer), credential(peer)).unwrap();
    }
    group
}

fn reserved() -> Sequence {
    Sequence::exact(0, 1_000_000, SequenceSettings::default())
}

fn node(node: usize, config: EndpointConfig, modes: Modes, settings: Settings) -> Node {
    let mut seed = [60; 32];
    seed[..2].copy_from_slice(&(node as u16).to_be_bytes());
    let mut endpoint = Endpoint::new(config, seed);
    let unicast = SocketInfo {
        local: address(node),
        respond_from: None,
    };
    endpoint.add_socket(UNICAST, unicast);
    let of_group = SocketInfo {
        local: GROUP.into(),
        respond_from: None,
    };
    endpoint.add_socket(OF_GROUP, of_group);
    let handled = Arc::new(AtomicU32::new(0));
    let seen = Arc::new(std::sync::Mutex::new(None));
    let (counter, last) = (handled.clone(), seen.clone());
    let server = endpoint.server_mut();
    let name = alloc::format!("I am {node}");
    let answer = move |incoming: &crate::resource::Incoming<'_>, response: &mut Response| {
        counter.fetch_add(1, Ordering::Relaxed);
        *last.lock().unwrap() = Some(incoming.arrival.clone());
        response.set_payload(ContentFormat::TEXT, name.as_bytes());
    };
    let at_once = GroupPolicy::respond().leisure(Leisure::Fixed(Duration::ZERO));
    server
        .add(Resource::at("/t").get(answer).group_policy(at_once.clone()))
        .unwrap();
    let large = |_: &crate::resource::Incoming<'_>, response: &mut Response| {
        response.payload = blocks::body();
    };
    let take = |request: &crate::resource::Incoming<'_>, response: &mut Response| {
        response.payload = request.payload().iter().rev().copied().collect();
    };
    let large = Resource::at("/large").get(large).post(take);
    server.add(large.group_policy(at_once.clone())).unwrap();
    server
        .add(
            Resource::at("/slow")
                .deferred(Methods::GET)
                .group_policy(at_once),
        )
        .unwrap();
    let late = GroupPolicy::respond().leisure(Leisure::Fixed(Duration::from_secs(3)));
    server
        .add(
            Resource::at("/wait")
                .get(|_, r| r.set_payload(ContentFormat::TEXT, b"w"))
                .group_policy(late),
        )
        .unwrap();
    let spec = CoapGroupSpec::new(GROUP.into())
        .on(1)
        .leisure(Leisure::Fixed(Duration::ZERO));
    let name = crate::membership::SecurityGroupName::new(LIGHTS).unwrap();
    server.memberships_mut().create(spec.secured(name)).unwrap();
    let group = group_of(node, modes, reserved(), settings);
    let group = endpoint.security_mut().add_group(group);
    Node {
        endpoint,
        key: key(node),
        group,
        at: address(node),
        handled,
        seen,
        worker: Worker::Eager,
        waiting: Vec::new(),
        stored: Vec::new(),
        events: Vec::new(),
        deaf: false,
    }
}

impl Node {
    /// Takes the work that the endpoint hands out, and does it as its worker does.
    fn labour(&mut self, now: Instant) {
        while let Some(work) = self.endpoint.poll_work(now) {
            if matches!(work.task, Task::Join { .. } | Task::Leave { .. }) {
                self.endpoint.work_done(now, work.id, WorkResult::Done);
                continue;
            }
            match self.worker {
                Worker::Eager => self.work(now, work),
                Worker::Held => self.waiting.push(work),
                Worker::Fails => {
                    let failed = WorkResult::Failed(WorkFailure::System(5));
                    self.endpoint.work_done(now, work.id, failed);
                }
            }
        }
    }

    /// Does one piece of work.
    fn work(&mut self, now: Instant, work: Work) {
        let result = match work.task {
            Task::Verify(job) => WorkResult::Checked(job.run()),
            Task::Agree(job) => WorkResult::Agreed(job.run(&self.key)),
            Task::Sign(job) => job.run(&self.key),
            Task::Store { record, .. } => {
                self.stored.push(record);
                WorkResult::Done
            }
            Task::LoadCredential { kid, .. } => {
                let number = kid.as_bytes().first().map_or(0, |b| usize::from(b - 0x50));
                WorkResult::Credential((number < 9).then(|| credential(number)))
            }
            Task::Join { .. } | Task::Leave { .. } => WorkResult::Done,
        };
        self.endpoint.work_done(now, work.id, result);
    }

    fn handled(&self) -> u32 {
        self.handled.load(Ordering::Relaxed)
    }

    fn counters(&self) -> crate::security::SecurityCounters {
        self.endpoint.counters().security
    }

    fn group(&mut self) -> &mut Group {
        let id = self.group;
        self.endpoint.security_mut().group_mut(id).unwrap()
    }
}

fn world() -> World {
    world_of(Modes::Both, Settings::default())
}

fn world_of(modes: Modes, settings: Settings) -> World {
    world_with(modes, settings, trusting())
}

/// Addresses are taken for what they say they are, so that nobody is challenged for its address.
fn trusting() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.server.proven_reachability = Reachability::Assumed;
    config
}

fn world_with(modes: Modes, settings: Settings, config: EndpointConfig) -> World {
    let nodes = (0..NODES).map(|n| node(n, config.clone(), modes, settings));
    let mut world = World {
        nodes: nodes.collect(),
        now: Instant::from_millis(1_000),
        sent: Vec::new(),
        flying: VecDeque::new(),
        lossy: |_| false,
    };
    world.run();
    for node in &mut world.nodes {
        node.events.clear();
    }
    world
}

impl World {
    /// Lets everything happen that happens without time passing.
    fn run(&mut self) {
        for n in 0..self.nodes.len() {
            self.drain(n);
        }
        while let Some(datagram) = self.flying.pop_front() {
            if !(self.lossy)(&datagram) {
                for n in self.deliver(&datagram) {
                    self.drain(n);
                }
            }
        }
    }

    fn drain(&mut self, n: usize) {
        let now = self.now;
        loop {
            let node = &mut self.nodes[n];
            node.labour(now);
            let mut out = Vec::new();
            let mut quiet = true;
            while let Some(transmit) = node.endpoint.poll_transmit(now, &mut out) {
                quiet = false;
                let datagram = Datagram {
                    from: n,
                    route: transmit.route,
                    bytes: out.clone(),
                };
                self.sent.push(datagram.clone());
                self.flying.push_back(datagram);
            }
            while let Some(event) = node.endpoint.poll_event() {
                node.events.push(event);
            }
            if quiet {
                return;
            }
        }
    }

    /// Brings a datagram to whom it is for, and says who that is.
    fn deliver(&mut self, datagram: &Datagram) -> Vec<usize> {
        let mut reached = Vec::new();
        let (now, peer) = (self.now, self.nodes[datagram.from].at);
        let to = datagram.route.destination;
        for (n, node) in self.nodes.iter_mut().enumerate() {
            let multicast = datagram.route.is_multicast();
            if node.deaf || (multicast && n == datagram.from) || (!multicast && node.at != to) {
                continue;
            }
            let path = Path {
                socket: if multicast { OF_GROUP } else { UNICAST },
                local: to,
                interface: 1,
                peer,
            };
            node.endpoint.handle_datagram(now, path, &datagram.bytes);
            reached.push(n);
        }
        reached
    }

    /// A datagram comes to a host as if from this address.
    fn inject(&mut self, to: usize, multicast: bool, peer: SocketAddr, bytes: &[u8]) {
        let path = Path {
            socket: if multicast { OF_GROUP } else { UNICAST },
            local: if multicast { GROUP.into() } else { address(to) },
            interface: 1,
            peer,
        };
        let now = self.now;
        self.nodes[to].endpoint.handle_datagram(now, path, bytes);
        self.run();
    }

    /// Lets time pass, and everything happen that is due.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let due = self.nodes.iter().filter_map(|n| n.endpoint.next_timeout());
            let next = due.min().filter(|due| *due <= end);
            self.now = next.unwrap_or(end).max(self.now);
            for node in &mut self.nodes {
                node.endpoint.handle_timeout(self.now);
            }
            self.run();
            if next.is_none() {
                return;
            }
        }
    }

    fn ask_group(&mut self, request: GroupRequest) -> CollectionId {
        let now = self.now;
        let id = self.nodes[CLIENT].endpoint.collect(now, request).unwrap();
        self.run();
        id
    }

    fn ask(&mut self, unicast: UnicastRequest) -> ExchangeId {
        let now = self.now;
        let id = self.nodes[CLIENT].endpoint.request(now, unicast).unwrap();
        self.run();
        id
    }

    fn answers(&self) -> Vec<&crate::collection::Answer> {
        let events = self.nodes[CLIENT].events.iter();
        let answers = events.filter_map(|event| match event {
            Event::Collection(CollectionEvent::Answer(answer)) => Some(answer),
            _ => None,
        });
        answers.collect()
    }

    fn outcome(&self) -> &Outcome {
        let mut events = self.nodes[CLIENT].events.iter();
        let outcome = events.find_map(|event| match event {
            Event::Collection(CollectionEvent::Ended(outcome)) => Some(outcome),
            _ => None,
        });
        outcome.expect("ended")
    }

    /// The response to a unicast request, and its sender.
    fn response(&self) -> Option<(&Response, &Sender)> {
        self.nodes[CLIENT]
            .events
            .iter()
            .find_map(|event| match event {
                Event::Response {
                    response, sender, ..
                } => Some((response, sender)),
                _ => None,
            })
    }

    fn failure(&self) -> Option<Failure> {
        self.nodes[CLIENT]
            .events
            .iter()
            .find_map(|event| match event {
                Event::Failed { failure, .. } => Some(*failure),
                _ => None,
            })
    }

    fn from(&self, node: usize) -> Vec<&Datagram> {
        self.sent.iter().filter(|d| d.from == node).collect()
    }

    fn forget_sent(&mut self) {
        self.sent.clear();
        for node in &mut self.nodes {
            node.events.clear();
        }
    }

    fn group(&self) -> GroupId {
        self.nodes[CLIENT].group
    }
}

/// A question to the group, protected.
fn question(world: &World, at: &str) -> GroupRequest {
    let target = GroupTarget {
        group: GROUP.into(),
        socket: UNICAST,
        interface: 1,
    };
    let request = Request::new(Code::GET).path(at);
    GroupRequest {
        end: End::after(Duration::from_secs(10)),
        ..GroupRequest::new(request, target, Security::Group(world.group()))
    }
}

/// Both servers are expected, by their proven identities.
fn both() -> Expectation {
    let mut expect = Expectation::nobody();
    for (name, node) in [("lamp", LAMP), ("bell", BELL)] {
        let member = Member::named(name).at(address(node));
        expect.add(member.identity(identity(node)));
    }
    expect
}

/// A request to one host.
fn request_to(node: usize, at: &str, protection: Protection) -> UnicastRequest {
    UnicastRequest {
        request: Request::new(Code::GET).path(at),
        route: Route {
            socket: UNICAST,
            source: None,
            interface: 0,
            destination: address(node),
        },
        reliability: crate::exchange::Reliability::Confirmable,
        response_timeout: None,
        protection,
    }
}

fn to_member(world: &World, node: usize) -> Protection {
    Protection::Member {
        group: world.group(),
        credential: credential(node).bytes().to_vec(),
    }
}

fn proven(node: usize) -> Sender {
    Sender::Proven(identity(node))
}
