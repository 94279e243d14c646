//! Scenario 6: network-wide query by scope (groupcomm-bis Appendix A.2.3).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use antiphon_netsim::{HostId, Interface as NetInterface, Router, Scope, Segment};
use antiphon_proto::{
    CoapGroupSpec, CollectError, CollectionEvent, EndpointConfig, Event, GroupPacing, GroupPolicy,
    HoldReason, Instant, Interface, Larger, Leisure, LinkProfile, Member, MembershipError, NoSec,
    Resource, SIXLOWPAN_BUDGET, Security, Stage as Phase, Transmission,
};
use antiphon_tests::sim::World;
use antiphon_tests::stage::{CLIENT_PORT, Diary, Ground, INTERFACE, Stage, get, target};
use antiphon_wire::Code;

/// A client and two members on one segment, two members on another one behind a router at the boundary of the realm.
struct Building {
    stage: Stage,
    client: HostId,
}

const HERE: [u16; 2] = [51, 52];
const THERE: [u16; 2] = [61, 62];

fn addresses(n: u16) -> [IpAddr; 3] {
    [Ground::Link, Ground::Site, Ground::V4].map(|ground| ground.address(n))
}

fn building() -> Building {
    let mut world = World::new(6);
    let network = world.sim.network_mut();
    let other = network.add_segment(Segment::default());
    let lan = world.lan;
    let network = world.sim.network_mut();
    network.add_router(Router::forwarding_from(Scope::ADMIN), &[lan, other]);
    let client = world.host(
        "client",
        &addresses(1),
        CLIENT_PORT,
        EndpointConfig::default(),
    );
    for (segment, members) in [(lan, HERE), (other, THERE)] {
        for n in members {
            let name = format!("member {n}");
            let config = EndpointConfig::default();
            let host = world.host_at(segment, &name, &addresses(n), 5683, config);
            let interface = Interface {
                sixlowpan: true,
                ..Interface::new(INTERFACE)
            };
            let server = world.endpoint(host).server_mut();
            server.set_nosec(antiphon_proto::NoSecPolicy::Stated);
            server.memberships_mut().set_interface(interface).unwrap();
            let battery = Diary::new().handler(Code::CONTENT, "3.1 V");
            let resource = Resource::at("/battery").get(battery);
            let resource = resource
                .access(antiphon_proto::Access::Public)
                .group_policy(GroupPolicy::respond());
            server.add(resource).unwrap();
            // Its application uses a group at another port.
            let own = Ground::Site.group(1, 61_616);
            let spec = CoapGroupSpec::new(own).on(INTERFACE).unsecured();
            server.memberships_mut().create(spec).unwrap();
        }
    }
    let mut stage = Stage::new(Ground::Site, 6);
    stage.world = world;
    stage.settle();
    Building { stage, client }
}

fn all_nodes(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), 5683)
}

impl Building {
    fn battery(&mut self, group: &str) -> Vec<u16> {
        self.ask("/battery", group)
    }

    fn ask(&mut self, path: &str, group: &str) -> Vec<u16> {
        let mut question = self.stage.question(get(path), all_nodes(group));
        // The second socket is the one for IPv4.
        let socket = u16::from(question.targets[0].group.is_ipv4());
        question.targets[0].socket = antiphon_proto::SocketId(socket);
        self.stage.collect(self.client, question).who()
    }
}

// Covers: GC-A.2.3-01, GC-3.8.3-02, GC-3.8.1-02, GC-3.8.1-03, GC-3.8.1-05, GC-3.8.2-02
#[test]
fn each_scope_reaches_just_as_far_as_it_says() {
    let mut building = building();
    assert_eq!(building.battery("ff02::fd"), HERE);
    assert_eq!(building.battery("ff03::fd"), HERE);
    let everybody = [HERE, THERE].concat();
    assert_eq!(building.battery("ff04::fd"), everybody);
    assert_eq!(building.battery("ff05::fd"), everybody);
    assert_eq!(building.battery("224.0.1.187"), everybody);
    // Discovery is served at port 5683 of every All CoAP Nodes group that they have joined.
    for (scope, who) in [
        ("ff02::fd", &HERE[..]),
        ("ff03::fd", &HERE),
        ("ff04::fd", &everybody),
        ("ff05::fd", &everybody),
        ("224.0.1.187", &everybody),
    ] {
        assert_eq!(building.ask("/.well-known/core", scope), who, "{scope}");
    }
    let network = building.stage.world.sim.network();
    for (host, node) in building.stage.world.sim.nodes().skip(1) {
        let memberships = node.endpoint.server().memberships();
        let listening: Vec<_> = memberships.listening().map(|(group, ..)| group).collect();
        assert_eq!(listening.len(), 6, "five for discovery, and its own");
        let joined =
            |group: &SocketAddr| network.has_joined(host, NetInterface::new(1), group.ip());
        assert!(listening.iter().all(joined));
    }
}

// Covers: GN-3.6.1-01
#[test]
fn answers_are_spread_over_the_estimated_leisure() {
    // 50 servers, S = 100, R = 1000: S * G / R = 5 s; a tenth of the rate makes it 50 s.
    for (rate, interval) in [(1_000, 5_u64), (100, 50)] {
        let mut stage = Stage::new(Ground::Site, 61);
        let client = stage.client();
        for n in 100..150 {
            let mut config = EndpointConfig::default();
            config.server.leisure = Some(Leisure::Estimated {
                response_size: 100,
                group_size: 50,
                rate,
            });
            let member = stage.member_with(n, &[5683], config);
            let battery = Diary::new().handler(Code::CONTENT, "3.1 V");
            let resource = Resource::at("/battery").get(battery);
            stage.offer(member, resource.group_policy(GroupPolicy::respond()));
        }
        stage.settle();
        let mut question = stage.question(get("/battery"), Ground::Site.all_nodes());
        question.end.deadline = Duration::from_secs(interval + 1);
        question.leisure = Duration::from_secs(interval);
        let found = stage.collect(client, question);
        assert_eq!(found.answers.len(), 50);
        let mut delays: Vec<_> = found.answers.iter().map(|answer| answer.after).collect();
        delays.sort_unstable();
        let (way, all) = (Duration::from_millis(2), Duration::from_secs(interval));
        assert!(delays[49] <= way + all, "{delays:?}");
        // The chance that all 50 fall into the first 7/8 is a little more than 1 in 1000, with this seed they do not.
        assert!(
            delays[49] > all * 7 / 8 && delays[0] < all / 8,
            "{delays:?}"
        );
    }
}

// Covers: GN-3.6-01, GN-3.6-05
#[test]
fn a_second_question_to_the_same_group_waits_until_the_first_is_over() {
    let mut building = building();
    let stage = &mut building.stage;
    let group = all_nodes("ff05::fd");
    let first = stage.ask(building.client, stage.question(get("/battery"), group));
    let second = stage.ask(building.client, stage.question(get("/battery"), group));
    let other = stage.question(get("/battery"), all_nodes("ff03::fd"));
    let elsewhere = stage.ask(building.client, other);
    stage.settle();
    let now = stage.world.now();
    let endpoint = stage.world.endpoint(building.client);
    let waiting = endpoint.status(now, second).unwrap();
    assert_eq!((waiting.stage, waiting.transmissions), (Phase::Waiting, 0));
    let held = waiting.held.unwrap();
    assert_eq!(held.reason, HoldReason::Outstanding);
    assert!(held.remaining <= Duration::from_secs(10) && held.remaining > Duration::from_secs(9));
    assert_eq!(endpoint.status(now, elsewhere).unwrap().transmissions, 1);
    // It was told, too.
    let told = stage
        .world
        .node(building.client)
        .events
        .iter()
        .any(|(_, event)| {
            matches!(event, Event::Collection(CollectionEvent::Held(id, held))
            if *id == second && held.reason == HoldReason::Outstanding)
        });
    assert!(told);
    // The application closes the first: the second leaves at once.
    stage.run(Duration::from_secs(2));
    let now = stage.world.now();
    stage.world.endpoint(building.client).close(now, first);
    stage.settle();
    let now = stage.world.now();
    let status = stage.world.endpoint(building.client).status(now, second);
    assert_eq!(status.unwrap().transmissions, 1);
    stage.run(Duration::from_secs(20));
    let second = stage.collected(building.client, second);
    assert_eq!(second.who(), [HERE, THERE].concat());
}

/// When each of ten questions to a group that does not answer has left, counted from the first.
fn probes(pacing: Option<GroupPacing>, silent: bool, answering: bool) -> Vec<Duration> {
    let mut stage = Stage::new(Ground::Site, 62);
    let client = stage.client();
    let group = Ground::Site.group(9, 5683);
    if answering {
        let member = stage.member(51);
        let resource = Resource::at("/battery").get(Diary::new().handler(Code::CONTENT, "3.1 V"));
        let policy = GroupPolicy::respond().leisure(Leisure::Fixed(Duration::from_secs(1)));
        stage.offer(member, resource.group_policy(policy));
        stage.join(member, group);
        stage.settle();
    }
    if let Some(pacing) = pacing {
        let collections = stage.world.endpoint(client).collections_mut();
        let pace = collections.set_pacing(Instant::ZERO, group, None, Some(pacing));
        pace.unwrap();
    }
    for _ in 0..10 {
        let mut question = stage.question(get("/battery").query("x=1234567"), group);
        question.end.deadline = Duration::from_secs(2);
        question.silent = silent;
        stage.ask(client, question);
    }
    stage.run(Duration::from_secs(3_600));
    let sent = &stage.world.node(client).sent;
    assert_eq!(sent.len(), 10);
    // 30 bytes each, and three more for the option No-Response where there is one.
    let size = if silent { 33 } else { 30 };
    assert!(
        sent.iter().all(|(_, _, bytes)| bytes.len() == size),
        "{}",
        sent[0].2.len()
    );
    let first = sent[0].0;
    sent.iter().map(|(at, ..)| at.since(first)).collect()
}

// Covers: GN-3.6-02
#[test]
fn a_silent_network_is_probed_at_the_probing_rate() {
    // 1 byte a second: 30 s between questions of 30 bytes, 270 s for nine of them.
    let steps = |rate: u64, size: u64| -> Vec<Duration> {
        (0..10)
            .map(|n| Duration::from_micros(n * size * 1_000_000 / rate))
            .collect()
    };
    assert_eq!(probes(None, false, false), steps(1, 30));
    // 10 bytes a second: 3 s, which is more than the deadline of 2 s.
    let ten = GroupPacing::new(1, 10).unwrap();
    assert_eq!(probes(Some(ten), false, false), steps(10, 30));
    // A group that answers is not probed, and its questions follow each other by NSTART alone.
    let answered = probes(None, false, true);
    assert_eq!(answered[9], Duration::from_secs(18));
    // Requests that are silent by design keep to the group's rate, whether or not it answers others.
    assert_eq!(probes(Some(ten), true, true), steps(10, 33));
    assert_eq!(probes(Some(ten), true, false), steps(10, 33));
}

// Covers: GC-3.5-01
#[test]
fn a_burst_of_calls_leaves_at_the_configured_rate() {
    for ground in Ground::ALL {
        let mut stage = Stage::new(ground, 65);
        let client = stage.client();
        let group = ground.group(1, 5683);
        let now = stage.world.now();
        let collections = stage.world.endpoint(client).collections_mut();
        let lights = Some(GroupPacing::LIGHTS);
        collections.set_pacing(now, group, None, lights).unwrap();
        for n in 0..100 {
            let mut question = stage.question(get("/light").query(&format!("{n:02}")), group);
            question.silent = true;
            stage.ask(client, question);
        }
        stage.run(Duration::from_secs(60));
        let sent = &stage.world.node(client).sent;
        assert_eq!(sent.len(), 100);
        let bytes = sent[0].2.len() as u64;
        assert!(sent.iter().all(|(_, _, b)| b.len() as u64 == bytes));
        // 640 bytes a second: none sooner than the ones before it have paid for.
        for (n, (at, ..)) in (0_u64..).zip(sent) {
            let paid =
                Duration::from_micros(n * bytes * 1_000_000 / GroupPacing::LIGHTS.rate() as u64);
            let late = at.since(sent[0].0) - paid;
            assert!(
                late < Duration::from_micros(200),
                "{ground:?} {n}: {late:?}"
            );
        }
    }
}

// Covers: GN-3.6-03
#[test]
fn parameters_that_change_at_run_time_count_at_once() {
    for ground in Ground::ALL {
        let mut stage = Stage::new(ground, 66);
        let client = stage.client();
        let member = stage.member(11);
        let resource = Resource::at("/battery").get(Diary::new().handler(Code::CONTENT, "3.1 V"));
        stage.offer(member, resource.group_policy(GroupPolicy::respond()));
        stage.settle();
        // NSTART: the second question is waiting, and goes when two may be outstanding.
        let group = ground.all_nodes();
        let ask = |stage: &mut Stage, group| {
            let question = stage.question(get("/battery"), group);
            stage.ask(client, question)
        };
        let [first, second] = [(); 2].map(|()| ask(&mut stage, group));
        stage.settle();
        assert_eq!(stage.sent(client).len(), 1);
        let mut transmission = Transmission::default();
        transmission.set_nstart(2).unwrap();
        let now = stage.world.now();
        stage
            .world
            .endpoint(client)
            .set_transmission(now, transmission.clone());
        stage.settle();
        assert_eq!(stage.sent(client).len(), 2, "{ground:?}");
        stage.run(Duration::from_secs(20));
        for id in [first, second] {
            assert_eq!(stage.collected(client, id).who(), [11]);
        }
        // PROBING_RATE: what is held back by a debt of 20 bytes at 1 byte a second goes after 2 s at 10.
        let nobody = ground.group(9, 5683);
        let began = stage.world.now();
        let mut question = stage.question(get("/battery"), nobody);
        question.end.deadline = Duration::ZERO;
        stage.collect(client, question);
        stage.forget(&[client]);
        ask(&mut stage, nobody);
        stage.run(Duration::from_millis(500));
        assert_eq!(stage.sent(client).len(), 0);
        transmission.set_probing_rate(10).unwrap();
        let changed = stage.world.now();
        stage
            .world
            .endpoint(client)
            .set_transmission(changed, transmission);
        stage.run(Duration::from_secs(20));
        let owed = Duration::from_secs(20) - changed.since(began);
        let (at, ..) = stage.world.node(client).sent[0];
        let waited = at.since(changed);
        assert!(
            waited <= owed / 10 && waited > owed / 10 - Duration::from_millis(1),
            "{waited:?}"
        );
        // DEFAULT_LEISURE: no delay from now on.
        let at_once = Leisure::Fixed(Duration::ZERO);
        stage.server(member).set_leisure(at_once);
        let question = stage.question(get("/battery"), group);
        let done = stage.collect(client, question);
        assert_eq!(done.answers[0].after, Duration::from_millis(2));
    }
}

// Covers: GN-4-02
#[test]
fn global_scope_is_refused_without_security_unless_it_is_allowed() {
    let mut building = building();
    let stage = &mut building.stage;
    let now = stage.world.now();
    let group = all_nodes("ff0e::fd");
    for reason in [NoSec::Accepted, NoSec::Discovery] {
        let mut question = stage.question(get("/.well-known/core"), group);
        question.security = Security::Unsecured(reason);
        let refused = stage.world.endpoint(building.client).collect(now, question);
        assert_eq!(refused, Err(CollectError::GlobalScope(group)));
    }
    stage.settle();
    assert_eq!(stage.sent(building.client).len(), 0);
    let mut question = stage.question(get("/.well-known/core"), group);
    question.security = Security::Unsecured(NoSec::Global);
    stage.ask(building.client, question);
    stage.settle();
    assert_eq!(stage.sent(building.client).len(), 1);
    // Nor is it joined without security.
    let member = stage.member(77);
    let spec = CoapGroupSpec::new(group).on(INTERFACE).unsecured();
    let refused = stage.server(member).memberships_mut().create(spec);
    assert_eq!(refused, Err(MembershipError::GlobalScope));
    // Requests from addresses of the public Internet are dropped.
    let public: SocketAddr = "[2003::1]:40000".parse().unwrap();
    let near: SocketAddr = "[fd00::99]:40000".parse().unwrap();
    let battery = || Diary::new().handler(Code::CONTENT, "3.1 V");
    let policy = GroupPolicy::respond().leisure(Leisure::Fixed(Duration::ZERO));
    stage.offer(
        member,
        Resource::at("/battery").get(battery()).group_policy(policy),
    );
    stage.settle();
    for (from, answers) in [(public, 0), (near, 1)] {
        stage.forget(&[member]);
        let bytes = antiphon_tests::stage::Datagram::get(9, b"abcd", "battery");
        stage.forge(from, all_nodes("ff05::fd"), bytes);
        stage.settle();
        assert_eq!(stage.world.node(member).received.len(), 1);
        assert_eq!(stage.sent(member).len(), answers, "{from}");
    }
}

// Covers: GC-3.8.3-01, GC-6.5-01
#[test]
fn a_request_that_a_frame_cannot_take_is_warned_about_or_refused() {
    for larger in [Larger::Warn, Larger::Refuse] {
        let mut stage = Stage::new(Ground::Realm, 63);
        let mut config = EndpointConfig::default();
        config.collections.link = LinkProfile::SixLowpan {
            budget: SIXLOWPAN_BUDGET,
            larger,
        };
        let client = stage.client_with(config);
        // 4 bytes of header, 8 of token, 1 + 7 of path, then the query: 20 + 2 + n.
        let request = |bytes: usize| {
            let query = "q".repeat(bytes - 22);
            get("/battery").query(&query)
        };
        let ask = |stage: &mut Stage, bytes| {
            let question = stage.question(request(bytes), Ground::Realm.all_nodes());
            let now = stage.world.now();
            stage.world.endpoint(client).collect(now, question)
        };
        assert_eq!(SIXLOWPAN_BUDGET, 58);
        let fits = ask(&mut stage, 58).unwrap();
        stage.settle();
        assert_eq!(stage.sent(client)[0].len(), 58);
        let now = stage.world.now();
        stage.world.endpoint(client).close(now, fits);
        stage.world.node(client).events.clear();
        let over = ask(&mut stage, 59);
        stage.run(Duration::from_secs(100));
        match larger {
            Larger::Warn => {
                let id = over.unwrap();
                let warned = stage.world.node(client).events.iter().any(|(_, event)| {
                    matches!(event, Event::Collection(CollectionEvent::Warning(warned, over))
                        if *warned == id && (over.bytes, over.budget) == (59, 58))
                });
                assert!(warned);
                assert_eq!(stage.sent(client).len(), 2);
            }
            Larger::Refuse => {
                let Err(CollectError::OverFrameBudget(over)) = over else {
                    panic!("{over:?}");
                };
                assert_eq!((over.bytes, over.budget), (59, 58));
                assert_eq!(stage.sent(client).len(), 1);
            }
        }
    }
}

// Covers: GC-3.5-06
#[test]
fn a_large_representation_is_served_to_a_group_in_blocks() {
    for ground in Ground::ALL {
        let mut stage = Stage::new(ground, 64);
        let client = stage.client();
        let mut members = vec![];
        for (n, bytes) in [(51, 64), (52, 65)] {
            let member = stage.member(n);
            members.push(member);
            let text = "x".repeat(bytes);
            let resource = Resource::at("/battery").get(Diary::new().handler(Code::CONTENT, &text));
            let policy =
                GroupPolicy::respond().amplification(antiphon_proto::Amplification::Unlimited);
            stage.offer(member, resource.group_policy(policy));
        }
        stage.settle();
        let question = stage.question(get("/battery"), ground.all_nodes());
        let done = stage.collect(client, question);
        let bodies = [(51, "x".repeat(64)), (52, "x".repeat(65))];
        assert_eq!(done.texts(), bodies, "each is one whole answer");
        let [whole, cut] = [members[0], members[1]].map(|member| stage.sent(member));
        let block = antiphon_wire::OptionNumber::BLOCK2;
        let (whole, first) = (
            antiphon_tests::stage::parse(&whole[0]),
            antiphon_tests::stage::parse(&cut[0]),
        );
        assert_eq!(
            (whole.payload().len(), whole.option(block)),
            (64, None),
            "5 % of 1280"
        );
        assert_eq!(first.payload().len(), 64);
        assert!(first.option(block).is_some());
        assert_eq!(cut.len(), 2, "the rest, to who asked for it alone");
        // By unicast it is.
        let second = SocketAddr::new(ground.address(52), 5683);
        let reliability = antiphon_proto::Reliability::Confirmable;
        let answer = stage.unicast(client, second, reliability, get("/battery"));
        assert_eq!(answer.unwrap().1.payload.len(), 65);
    }
}

#[test]
fn one_question_in_several_scopes_is_one_collection_merged_by_member() {
    // The two wider groups are asked from one address: who is in both sees one message.
    let mut building = building();
    let stage = &mut building.stage;
    let mut question = stage.question(get("/battery"), all_nodes("ff03::fd"));
    question.targets.push(target(all_nodes("ff05::fd")));
    let done = stage.collect(building.client, question);
    assert_eq!(done.outcome().transmissions, 2);
    assert_eq!(done.who(), [HERE, THERE].concat());
    // The link-local group is asked from a link-local address, and to a server that is another client. It answers
    // twice, from two addresses, and is still one member.
    let mut question = stage.question(get("/battery"), all_nodes("ff02::fd"));
    question.targets.push(target(all_nodes("ff05::fd")));
    question.end.when_all_expected = false;
    for n in HERE.into_iter().chain(THERE) {
        let member = Member::named(n.to_string());
        let [near, far, _] = addresses(n);
        question.expect.add(member.at(near).at(far));
    }
    let done = stage.collect(building.client, question);
    assert_eq!(done.who(), [51, 51, 52, 52, 61, 62]);
    let answered: Vec<_> = done.outcome().answered().collect();
    assert_eq!(answered, [("51", 2), ("52", 2), ("61", 1), ("62", 1)]);
    assert_eq!(
        (done.outcome().servers(), done.outcome().unexpected.len()),
        (4, 0)
    );
}
