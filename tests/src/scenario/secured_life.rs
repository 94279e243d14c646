//! Scenario 10: a secured group from its first question to the eviction of one member and the restart of another; and
//! what replays, forgeries and spoofed addresses come to. Keys are handed out by the test, in place of a Group Manager.

mod hostile;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use antiphon_netsim::{Delivery, HostId};
use antiphon_oscore::option::OscoreOption;
use antiphon_oscore::{Group, Settings, Stale};
use antiphon_proto::{
    AnswerMode, CoapGroupSpec, CollectionId, End, EndpointConfig, Event, GroupId, GroupPolicy,
    GroupRequest, How, Leisure, ObservationEvent, ObserveRequest, Protection, Reachability,
    Reliability, Request, Resource, Response, Route, Security, SecurityCounters, SecurityGroupName,
    SecurityMode, Sender, SocketId, UnicastRequest,
};
use antiphon_tests::secure::{self, Sealer};
use antiphon_tests::sim::EndpointHost;
use antiphon_tests::stage::{
    CLIENT_PORT, Datagram, Diary, Ground, INTERFACE, Stage, Stranger, get, number_of, parse, put,
    target,
};
use antiphon_wire::{Code, OptionNumber, Type};

/// The member that asks. Members have the same number in the security group and in their addresses.
const CLIENT: u8 = 1;
/// A member that the test plays itself, datagram by datagram.
const ASKER: u8 = 9;
/// The three servers that are there from the beginning.
const SERVERS: [u8; 3] = [11, 12, 13];
/// The member that comes later.
const NEWCOMER: u8 = 14;
/// An address that has asked for nothing.
const VICTIM: u8 = 99;
const SIGNATURE: usize = 64;
const TAG: usize = 16;

struct Cast {
    stage: Stage,
    client: HostId,
    group: GroupId,
    servers: BTreeMap<u8, HostId>,
    diaries: BTreeMap<u8, Diary>,
    asker: Stranger,
    victim: Stranger,
}

/// Addresses are taken for what they say they are: only what is lost in a restart makes a server doubt.
fn trusting() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.server.proven_reachability = Reachability::Assumed;
    config
}

/// Successes are answered within a second.
fn at_once() -> GroupPolicy {
    GroupPolicy::respond().leisure(Leisure::Fixed(Duration::from_secs(1)))
}

fn everyone_but(me: u8, others: &[u8]) -> Vec<u8> {
    let all = [CLIENT, ASKER].into_iter().chain(others.iter().copied());
    all.filter(|n| *n != me).collect()
}

fn cast(ground: Ground) -> Cast {
    cast_with(ground, &trusting())
}

fn cast_with(ground: Ground, config: &EndpointConfig) -> Cast {
    let mut stage = Stage::new(ground, 10);
    let client = stage.client();
    let node = stage.world.node(client);
    node.key = Some(secure::key(CLIENT));
    let settings = Settings::default();
    let group = secure::group(CLIENT, everyone_but(CLIENT, &SERVERS), settings);
    let group = node.endpoint.add_group(group);
    let asker = stage.stranger(ASKER.into(), 40_000);
    let victim = stage.stranger(VICTIM.into(), 40_000);
    let mut cast = Cast {
        stage,
        client,
        group,
        servers: BTreeMap::new(),
        diaries: BTreeMap::new(),
        asker,
        victim,
    };
    for n in SERVERS {
        let group = secure::group(n, everyone_but(n, &SERVERS), settings);
        cast.server(n, config.clone(), group);
    }
    cast.stage.settle();
    cast.forget();
    cast
}

impl Cast {
    fn server(&mut self, n: u8, config: EndpointConfig, group: Group) {
        let host = self.stage.member_with(n.into(), &[5683], config);
        self.servers.insert(n, host);
        self.diaries.insert(n, Diary::new());
        self.set_up(n, group);
    }

    /// What a server does when it starts: its resource, its groups, its key.
    fn set_up(&mut self, n: u8, group: Group) {
        let (host, diary) = (self.servers[&n], self.diaries[&n].clone());
        let resource = Resource::at("/r")
            .get(diary.handler(Code::CONTENT, &n.to_string()))
            .put(diary.handler(Code::CHANGED, ""))
            .observable()
            .group_policy(at_once());
        let name = SecurityGroupName::new(secure::NAME).unwrap();
        let spec = CoapGroupSpec::new(self.to_all())
            .on(INTERFACE)
            .secured(name);
        let server = self.stage.server(host);
        server.add(resource).unwrap();
        server.memberships_mut().create(spec).unwrap();
        let node = self.stage.world.node(host);
        node.key = Some(secure::key(n));
        node.endpoint.add_group(group);
        node.endpoint.set_answer_errors(true); // as talkative as it can be
    }

    fn to_all(&self) -> SocketAddr {
        self.stage.ground.group(1, 5683)
    }

    /// A group that is not secured: the same servers are in it, once they have joined it.
    fn open_group(&mut self) -> SocketAddr {
        let group = self.stage.ground.group(2, 5683);
        for host in self.hosts() {
            self.stage.join(host, group);
        }
        self.stage.settle();
        group
    }

    fn address(&self, n: u8) -> SocketAddr {
        let port = match n {
            CLIENT => CLIENT_PORT,
            ASKER | VICTIM => 40_000,
            _ => 5683,
        };
        SocketAddr::new(self.stage.ground.address(n.into()), port)
    }

    fn hosts(&self) -> Vec<HostId> {
        self.servers.values().copied().collect()
    }

    fn host(&self, n: u8) -> HostId {
        match n {
            CLIENT => self.client,
            n => self.servers[&n],
        }
    }

    fn run(&mut self, seconds: u64) {
        self.stage.run(Duration::from_secs(seconds));
    }

    fn forget(&mut self) {
        let hosts = [self.hosts(), vec![self.client]].concat();
        self.stage.forget(&hosts);
        self.stage.heard(self.asker);
        self.stage.heard(self.victim);
    }

    fn counters(&mut self, n: u8) -> SecurityCounters {
        let host = self.host(n);
        self.stage.world.endpoint(host).counters().security
    }

    /// The sum of a counter over all servers.
    fn count(&mut self, counter: fn(&SecurityCounters) -> u64) -> u64 {
        let servers: Vec<u8> = self.servers.keys().copied().collect();
        let each = servers.into_iter().map(|n| counter(&self.counters(n)));
        each.sum()
    }

    /// How often handlers ran, at all servers.
    fn handled(&self) -> usize {
        self.diaries.values().map(Diary::len).sum()
    }

    /// What all servers have sent.
    fn said(&mut self) -> Vec<Vec<u8>> {
        let hosts = self.hosts();
        hosts.into_iter().flat_map(|h| self.stage.sent(h)).collect()
    }

    /// A question to the secured group, from any of its members.
    fn question(&mut self, from: u8, request: Request) -> GroupRequest {
        let host = self.host(from);
        let contexts = self.stage.world.endpoint(host).security();
        let group = contexts.group_named(secure::NAME).unwrap();
        GroupRequest::new(request, target(self.to_all()), Security::Group(group))
    }

    /// The client asks the group; who answers.
    fn ask_all(&mut self, request: Request) -> Vec<u16> {
        self.forget();
        let question = self.question(CLIENT, request);
        self.stage.collect(self.client, question).who()
    }

    fn begin(&mut self, from: u8, request: Request) -> CollectionId {
        let (host, question) = (self.host(from), self.question(from, request));
        self.stage.ask(host, question)
    }

    /// A member asks another one in pairwise mode.
    fn ask_one(&mut self, from: u8, to: u8, request: Request) -> Option<(Response, Sender)> {
        let (host, destination) = (self.host(from), self.address(to));
        let now = self.stage.world.now();
        let endpoint = self.stage.world.endpoint(host);
        let group = endpoint.security().group_named(secure::NAME).unwrap();
        let request = UnicastRequest {
            request,
            route: Route {
                socket: SocketId(0),
                source: None,
                interface: INTERFACE,
                destination,
            },
            reliability: Reliability::NonConfirmable,
            response_timeout: None,
            protection: Protection::Member {
                group,
                credential: secure::credential(to).bytes().to_vec(),
            },
        };
        let id = endpoint.request(now, request).unwrap();
        self.run(20);
        let events = &self.stage.world.node(host).events;
        events.iter().find_map(|(_, event)| match event {
            Event::Response {
                exchange,
                response,
                sender,
                ..
            } if *exchange == id => Some((response.clone(), sender.clone())),
            _ => None,
        })
    }

    /// New keys for these members, to whom nobody belongs any more who is gone.
    fn rekey(&mut self, generation: u8, members: &[u8], gone: &[u8]) {
        let now = self.stage.world.now();
        let since = Duration::from_micros(now.as_micros());
        for n in members {
            let host = self.host(*n);
            let endpoint = self.stage.world.endpoint(host);
            let id = endpoint.security().group_named(secure::NAME).unwrap();
            let group = endpoint.security_mut().group_mut(id).unwrap();
            let stale = Stale::Since {
                generation: u64::from(generation) - 1,
                kids: gone.iter().copied().map(secure::kid).collect(),
            };
            let parameters = secure::parameters(generation);
            let prepared = group.prepare_install(parameters, None, stale, 1_000_000);
            group.commit_install(prepared.unwrap(), since).unwrap();
            endpoint.keys_changed(now);
        }
    }

    /// The client sends this to the group, or so it seems; nobody answers it, and no handler runs.
    fn is_silent_at(&mut self, what: &str, bytes: &[u8]) {
        let (handled, group, ground) = (self.handled(), self.to_all(), self.stage.ground);
        self.forget();
        self.stage.forge(self.address(CLIENT), group, bytes);
        self.stage.forge(self.address(VICTIM), group, bytes);
        self.run(60);
        assert_eq!(self.handled(), handled, "{ground:?}: {what}");
        assert_eq!(self.said(), Vec::<Vec<u8>>::new(), "{ground:?}: {what}");
    }

    /// Sends as if it came from the victim, and waits; what the victim gets for it.
    fn spoof(&mut self, to: SocketAddr, bytes: Vec<u8>) -> Vec<Delivery> {
        self.stage.heard(self.victim);
        self.stage.forge(self.address(VICTIM), to, bytes);
        self.run(60);
        self.stage.heard(self.victim)
    }

    /// Sends from the member that the test plays, and waits.
    fn provoke(&mut self, to: SocketAddr, bytes: &[u8]) -> Vec<Delivery> {
        self.stage.provoke(self.asker, to, bytes)
    }
}

/// Of a protected message, what everybody can see of how it is protected: is it in group mode, Gid, Sender ID.
fn seen(bytes: &[u8]) -> (bool, Option<Vec<u8>>, Option<Vec<u8>>) {
    let message = parse(bytes);
    let option = OscoreOption::of(&message).unwrap().expect("protected");
    let owned = |value: Option<&[u8]>| value.map(<[u8]>::to_vec);
    (
        option.group_flag,
        owned(option.kid_context),
        owned(option.kid),
    )
}

/// The same message, of which the option says that it was protected with the keys of another generation.
fn with_gid(bytes: &[u8], from: u8, to: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let context = [2, 0x47, from];
    let at = bytes.windows(3).position(|it| it == context).unwrap();
    bytes[at + 2] = to;
    bytes
}

/// The same message under another Message ID: no duplicate.
fn again(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[2] ^= 0x40;
    bytes
}

fn flipped(bytes: &[u8], from_end: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = bytes.len() - from_end;
    bytes[at] ^= 1;
    bytes
}

/// A Non-confirmable request, as bytes.
fn datagram(mid: u16, code: Code, options: &[(OptionNumber, &[u8])]) -> Vec<u8> {
    Datagram {
        kind: Type::Non,
        code,
        mid,
        token: &mid.to_be_bytes(),
        options,
        payload: b"",
    }
    .bytes()
}

/// GET (or PUT) of one path segment.
fn of(mid: u16, code: Code, segment: &str) -> Vec<u8> {
    datagram(mid, code, &[(OptionNumber::URI_PATH, segment.as_bytes())])
}

#[test]
fn a_secured_group_lives_through_joining_eviction_and_a_restart() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        asks_in_group_mode(&mut cast);
        asks_one_in_pairwise_mode(&mut cast);
        takes_a_member_in(&mut cast);
        evicts_a_member(&mut cast);
        goes_on_with_a_member_that_was_restarted(&mut cast);
    }
}

fn asks_in_group_mode(cast: &mut Cast) {
    for (n, mode) in [(12, AnswerMode::Pairwise), (13, AnswerMode::Group)] {
        let host = cast.host(n);
        cast.stage.world.endpoint(host).set_answers(mode);
    }
    let question = cast.question(CLIENT, get("/r"));
    let done = cast.stage.collect(cast.client, question);
    assert_eq!(done.texts(), SERVERS.map(|n| (u16::from(n), n.to_string())));
    for answer in &done.answers {
        let n = number_of(answer.from.peer.ip()) as u8;
        assert_eq!(answer.sender, Sender::Proven(secure::identity(n)));
    }
    // One message, signed; method and path are inside.
    let sent = cast.stage.sent(cast.client);
    assert_eq!(sent.len(), 1);
    let message = parse(&sent[0]);
    assert_eq!((message.code(), message.kind()), (Code::POST, Type::Non));
    let sender = Some(vec![CLIENT]);
    assert_eq!(seen(&sent[0]), (true, Some(vec![0x47, 1]), sender));
    assert_eq!(message.option(OptionNumber::URI_PATH), None);
    let inside = 1 + 2; // code, and one option of one byte
    assert_eq!(message.payload().len(), inside + TAG + SIGNATURE);
    // The answers: in the mode of the request, in pairwise mode, in group mode.
    for (n, group_mode) in [(11, true), (12, false), (13, true)] {
        let sent = cast.stage.sent(cast.servers[&n]);
        assert_eq!(sent.len(), 1);
        let message = parse(&sent[0]);
        assert_eq!(message.code(), Code::CHANGED, "seen from outside");
        assert_eq!(seen(&sent[0]).0, group_mode);
        let inside = 1 + 1 + 1 + 2; // code, Content-Format 0, marker, two digits
        let signature = if group_mode { SIGNATURE } else { 0 };
        assert_eq!(message.payload().len(), inside + TAG + signature);
        let entry = &cast.diaries[&n].entries()[0];
        assert_eq!(entry.arrival.mode, SecurityMode::Group);
        let sender = Sender::Proven(secure::identity(CLIENT));
        assert_eq!(entry.arrival.sender, sender);
    }
}

fn asks_one_in_pairwise_mode(cast: &mut Cast) {
    cast.forget();
    let (response, sender) = cast.ask_one(CLIENT, 11, get("/r")).unwrap();
    assert_eq!(
        (response.code, &response.payload[..]),
        (Code::CONTENT, &b"11"[..])
    );
    assert_eq!(sender, Sender::Proven(secure::identity(11)));
    let sent = cast.stage.sent(cast.client);
    assert_eq!(sent.len(), 1);
    assert_eq!(seen(&sent[0]), (false, Some(vec![0x47, 1]), Some(vec![1])));
    assert_eq!(parse(&sent[0]).payload().len(), 3 + TAG);
    let said = cast.said();
    assert_eq!(said.len(), 1);
    assert!(!seen(&said[0]).0);
    let entries = cast.diaries[&11].entries();
    let mode = entries.last().unwrap().arrival.mode;
    assert_eq!(mode, SecurityMode::Pairwise { only: false });
}

fn takes_a_member_in(cast: &mut Cast) {
    assert_eq!(cast.ask_all(get("/r")), [11, 12, 13]);
    let recorded = cast.stage.sent(cast.client)[0].clone();
    cast.rekey(2, &[CLIENT, 11, 12, 13], &[]);
    let peers = everyone_but(NEWCOMER, &SERVERS);
    let settings = Settings::default();
    let keys = secure::parameters(2);
    let group = secure::group_from(0, NEWCOMER, peers, keys, settings);
    cast.server(NEWCOMER, trusting(), group);
    for n in [CLIENT, 11, 12, 13] {
        let host = cast.host(n);
        let contexts = cast.stage.world.endpoint(host).security_mut();
        let id = contexts.group_named(secure::NAME).unwrap();
        let group = contexts.group_mut(id).unwrap();
        let credential = secure::credential(NEWCOMER);
        group.add_peer(secure::kid(NEWCOMER), credential).unwrap();
    }
    cast.stage.settle();
    // What was said before the newcomer came, it cannot read: not as it is, and not with the keys that it has.
    let (from, to) = (cast.address(CLIENT), cast.address(NEWCOMER));
    cast.stage.forge(from, to, recorded.clone());
    cast.stage
        .forge(from, to, again(&with_gid(&recorded, 1, 2)));
    cast.run(60);
    let counters = cast.counters(NEWCOMER);
    assert_eq!((counters.no_context, counters.not_verified), (1, 1));
    assert_eq!((counters.requests, cast.diaries[&NEWCOMER].len()), (0, 0));
    // From now on it is one of them.
    assert_eq!(cast.ask_all(get("/r")), [11, 12, 13, 14]);
    let sent = cast.stage.sent(cast.client);
    assert_eq!(seen(&sent[0]).1, Some(vec![0x47, 2]));
}

fn evicts_a_member(cast: &mut Cast) {
    // A question is under way, which the member may still answer with the keys that it has: too late.
    cast.forget();
    let id = cast.begin(CLIENT, get("/r"));
    cast.stage.run(Duration::from_millis(2));
    cast.rekey(3, &[CLIENT, 11, 12, NEWCOMER], &[13]);
    cast.run(30);
    let evicted = cast.address(13);
    let node = cast.stage.world.node(cast.client);
    assert!(
        node.received
            .iter()
            .any(|(_, path, _)| path.peer.ip() == evicted.ip())
    );
    let done = cast.stage.collected(cast.client, id);
    assert!(done.outcome.is_some());
    assert_eq!(done.who(), [11, 12, 14]);
    // It cannot read.
    let (before, handled) = (cast.counters(13), cast.diaries[&13].len());
    assert_eq!(cast.ask_all(get("/r")), [11, 12, 14]);
    let after = cast.counters(13);
    assert_eq!(after.no_context, before.no_context + 1);
    assert_eq!(
        (after.requests, cast.diaries[&13].len()),
        (before.requests, handled)
    );
    assert!(cast.stage.sent(cast.host(13)).is_empty());
    // It cannot command: not all, and not one.
    cast.forget();
    let (handled, refused) = (cast.handled(), cast.count(|all| all.no_context));
    cast.begin(13, put("/r", "mine"));
    cast.run(60);
    assert_eq!(cast.ask_one(13, 11, put("/r", "mine")), None);
    assert_eq!(cast.count(|all| all.no_context), refused + 3 + 1);
    assert_eq!(cast.handled(), handled);
    for n in [12, NEWCOMER] {
        assert!(cast.stage.sent(cast.host(n)).is_empty());
    }
    // To the request by unicast there is an error, which says nothing.
    let said = cast.stage.sent(cast.host(11));
    assert_eq!(said.len(), 1);
    assert_eq!(parse(&said[0]).code(), Code::UNAUTHORIZED);
    assert_eq!(parse(&said[0]).option(OptionNumber::OSCORE), None);
}

fn goes_on_with_a_member_that_was_restarted(cast: &mut Cast) {
    assert_eq!(cast.ask_all(get("/r")), [11, 12, 14]);
    let recorded = cast.stage.sent(cast.client)[0].clone();
    // What it has received it does not know any more; its sequence numbers go on where none was used.
    let others = [11, 12, NEWCOMER];
    let (keys, settings) = (secure::parameters(3), Settings::default());
    let peers = everyone_but(12, &others);
    let mut group = secure::group_from(1_000_000, 12, peers, keys, settings);
    group.windows_unknown();
    let (host, local) = (cast.host(12), cast.address(12));
    cast.stage.world.sim.crash(host);
    cast.run(1);
    let node = EndpointHost::new(trusting(), 12, &[local]);
    cast.stage.world.sim.restart(host, node);
    let _ = cast.stage.world.sim.network_mut().bind(host, 5683);
    cast.stage.open(host);
    cast.diaries.insert(12, Diary::new());
    cast.set_up(12, group);
    cast.stage.settle();
    // An old request is challenged, and not processed.
    let from = cast.address(CLIENT);
    cast.stage.forge(from, local, recorded.clone());
    cast.run(5);
    assert_eq!(
        (cast.counters(12).challenges, cast.diaries[&12].len()),
        (1, 0)
    );
    // A challenge is protected, and the Echo value is inside.
    let group = secure::group_from(0, ASKER, others, secure::parameters(3), settings);
    let mut sealer = Sealer::of(secure::key(ASKER), group);
    let asked = sealer.seal_for(12, &of(1, Code::GET, "r"));
    let heard = cast.provoke(local, &asked);
    assert_eq!(heard.len(), 1);
    let challenge = parse(&heard[0].bytes);
    assert_eq!(challenge.code(), Code::CHANGED);
    assert_eq!(challenge.option(OptionNumber::ECHO), None);
    let inner = sealer.open(&heard[0].bytes).unwrap();
    assert_eq!(parse(&inner).code(), Code::UNAUTHORIZED);
    let value = parse(&inner).option(OptionNumber::ECHO).unwrap().to_vec();
    assert_eq!(cast.diaries[&12].len(), 0);
    let path = (OptionNumber::URI_PATH, &b"r"[..]);
    let echoing = datagram(2, Code::GET, &[path, (OptionNumber::ECHO, &value)]);
    let asked = sealer.seal_for(12, &echoing);
    let heard = cast.provoke(local, &asked);
    assert_eq!(heard.len(), 1);
    let inner = sealer.open(&heard[0].bytes).unwrap();
    assert_eq!(
        (parse(&inner).code(), parse(&inner).payload()),
        (Code::CONTENT, &b"12"[..])
    );
    // The client meets it by itself, and by unicast. Challenges are spread over the leisure of the server, which is 20 s.
    cast.forget();
    let mut question = cast.question(CLIENT, get("/r"));
    question.end = End::after(Duration::from_secs(25));
    let done = cast.stage.collect(cast.client, question);
    assert_eq!(done.who(), [11, 12, 14]);
    for answer in &done.answers {
        let restarted = answer.from.peer.ip() == local.ip();
        assert_eq!(answer.how == How::Unicast, restarted, "{:?}", answer.how);
    }
    assert_eq!(cast.counters(CLIENT).echoed, 1);
    let sent = &cast.stage.world.node(cast.client).sent;
    let to = sent.iter().map(|(_, route, _)| route.destination.ip());
    let to = to.collect::<Vec<_>>();
    assert_eq!(to, [cast.to_all().ip(), local.ip()]);
    // By now the old request is known to be a replay.
    assert_eq!(cast.counters(12).replayed, 0);
    let handled = cast.diaries[&12].len();
    cast.stage.forge(from, local, again(&recorded));
    cast.run(5);
    assert_eq!(
        (cast.counters(12).replayed, cast.diaries[&12].len()),
        (1, handled)
    );
}

#[test]
fn an_observation_is_asked_for_with_0_05() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let security = Security::Group(cast.group);
        let request = ObserveRequest::group(get("/r"), target(cast.to_all()), security);
        let now = cast.stage.world.now();
        let client = cast.stage.world.endpoint(cast.client);
        let id = client.observe(now, request).unwrap();
        cast.run(10);
        let sent = cast.stage.sent(cast.client);
        let message = parse(&sent[0]);
        assert_eq!(message.code(), Code::FETCH);
        assert_eq!(message.option(OptionNumber::OBSERVE), Some(&[][..]));
        assert_eq!(message.option(OptionNumber::URI_PATH), None);
        assert!(seen(&sent[0]).0, "in group mode");
        for n in SERVERS {
            let said = cast.stage.sent(cast.host(n));
            assert_eq!(parse(&said[0]).code(), Code::CONTENT, "seen from outside");
            assert!(parse(&said[0]).option(OptionNumber::OBSERVE).is_some());
        }
        let events = &cast.stage.world.node(cast.client).events;
        let of_members = events.iter().filter_map(|(_, event)| match event {
            Event::Observation(ObservationEvent::Notification(it)) => Some(it.response.code),
            _ => None,
        });
        assert_eq!(of_members.collect::<Vec<_>>(), [Code::CONTENT; 3]);
        cast.forget();
        let now = cast.stage.world.now();
        let client = cast.stage.world.endpoint(cast.client);
        client.end_observation(now, id);
        cast.run(10);
        let sent = cast.stage.sent(cast.client);
        let message = parse(&sent[0]);
        assert_eq!(message.code(), Code::FETCH);
        assert_eq!(message.option(OptionNumber::OBSERVE), Some(&[1][..]));
    }
}
