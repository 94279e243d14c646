//! Scenario 17: message exchange example 2 (groupcomm-bis Appendix D): the temperatures of a group, observed.

mod example;
mod lossy;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use antiphon_netsim::{HostId, Impairment};
use antiphon_proto::{
    EndpointConfig, Event, Expectation, FollowUp, GroupPolicy, Instant, Member, MemberEnd, News,
    NoSec, ObservationEnd, ObservationEvent, ObservationId, ObservationOutcome, ObserveRequest,
    ObservedIndex, ObservedState, Repeat, Request, Resource, ResourceId, Security,
};
use antiphon_tests::stage::{Ground, Stage, get, number_of, parse, target};
use antiphon_wire::{Code, ContentFormat, OptionNumber, Token, Type};

const PORT: u16 = 61_616;
const MEMBERS: [u16; 3] = [71, 72, 73];

struct Cast {
    stage: Stage,
    client: HostId,
    servers: Vec<(HostId, ResourceId)>,
    temperature: Arc<Mutex<String>>,
}

fn cast(ground: Ground) -> Cast {
    let mut stage = Stage::new(ground, 17);
    let client = stage.client();
    let temperature = Arc::new(Mutex::new(String::from("21.0 C")));
    let servers = MEMBERS.map(|n| {
        let host = stage.member_with(n, &[5683, PORT], EndpointConfig::default());
        (host, serve(&mut stage, host, &temperature))
    });
    stage.settle();
    Cast {
        stage,
        client,
        servers: servers.into(),
        temperature,
    }
}

/// The temperature of a member of the group.
fn serve(stage: &mut Stage, host: HostId, temperature: &Arc<Mutex<String>>) -> ResourceId {
    stage.join(host, stage.ground.group(1, PORT));
    let said = Arc::clone(temperature);
    let answer = move |_: &antiphon_proto::Incoming<'_>, r: &mut antiphon_proto::Response| {
        r.payload.extend_from_slice(said.lock().unwrap().as_bytes());
    };
    let resource = Resource::at("/temperature")
        .get(answer.clone())
        .fetch(answer)
        .observable()
        .group_policy(GroupPolicy::respond());
    stage.offer(host, resource)
}

impl Cast {
    fn request(&self, what: Request) -> ObserveRequest {
        let group = target(self.stage.ground.group(1, PORT));
        let security = Security::Unsecured(NoSec::Accepted);
        let mut request = ObserveRequest::group(what, group, security);
        let mut expect = Expectation::nobody();
        for n in MEMBERS {
            let member = Member::named(format!("member {n}"));
            let ip = self.stage.ground.address(n);
            expect.add(member.at(std::net::SocketAddr::new(ip, 5683)));
        }
        request.expect = expect;
        request
    }

    fn observe(&mut self, request: ObserveRequest) -> ObservationId {
        let now = self.stage.world.now();
        let endpoint = self.stage.world.endpoint(self.client);
        endpoint.observe(now, request).unwrap()
    }

    fn end(&mut self, id: ObservationId) {
        let now = self.stage.world.now();
        let endpoint = self.stage.world.endpoint(self.client);
        endpoint.end_observation(now, id);
    }

    /// All temperatures change.
    fn change(&mut self, to: &str) {
        *self.temperature.lock().unwrap() = to.into();
        let now = self.stage.world.now();
        for (host, resource) in self.servers.clone() {
            let endpoint = self.stage.world.endpoint(host);
            endpoint.changed(now, resource);
        }
    }

    fn deaf(&mut self, server: usize, deaf: bool) {
        let loss = Impairment::none().loss(if deaf { 1.0 } else { 0.0 });
        let host = self.servers[server].0;
        self.stage.world.sim.network_mut().set_ingress(host, loss);
    }

    fn run(&mut self, seconds: u64) {
        self.stage.run(Duration::from_secs(seconds));
    }

    /// How many observers each server has.
    fn observers(&mut self) -> Vec<usize> {
        let servers = self.servers.clone();
        let count = |(host, resource)| self.stage.server(host).observers_of(resource);
        servers.into_iter().map(count).collect()
    }

    /// What was heard since the last look: member, what is new, number, text.
    fn heard(&mut self) -> Vec<(u32, News, u32, String)> {
        let events = std::mem::take(&mut self.stage.world.node(self.client).events);
        let mut heard: Vec<_> = events
            .into_iter()
            .filter_map(|(_, event)| match event {
                Event::Observation(ObservationEvent::Notification(n)) => Some((
                    n.member.0,
                    n.news,
                    n.number.unwrap(),
                    String::from_utf8(n.response.payload).unwrap(),
                )),
                _ => None,
            })
            .collect();
        heard.sort_by_key(|(member, ..)| *member);
        heard
    }

    fn outcome(&mut self) -> ObservationOutcome {
        let events = &self.stage.world.node(self.client).events;
        let ended = |event: &Event| match event {
            Event::Observation(ObservationEvent::Ended(outcome)) => Some(outcome.clone()),
            _ => None,
        };
        events.iter().find_map(|(_, event)| ended(event)).unwrap()
    }

    /// The requests that the client sent: by multicast, type, Message ID, token, value of Observe.
    fn requests(&mut self) -> Vec<(bool, Type, u16, Token, Option<u32>)> {
        let sent = &self.stage.world.node(self.client).sent;
        sent.iter()
            .filter_map(|(_, route, bytes)| {
                let message = parse(bytes);
                message.code().is_request().then(|| {
                    (
                        route.is_multicast(),
                        message.kind(),
                        message.message_id().0,
                        message.token(),
                        message.uint(OptionNumber::OBSERVE),
                    )
                })
            })
            .collect()
    }

    /// How long after this each server began to say something, in milliseconds.
    fn delays_since(&mut self, begun: Instant) -> Vec<u128> {
        let servers = self.servers.clone();
        let first = |(host, _)| {
            let sent = &self.stage.world.node(host).sent;
            let later = sent.iter().find(|(at, ..)| *at >= begun).unwrap();
            later.0.since(begun).as_millis()
        };
        servers.into_iter().map(first).collect()
    }

    /// What each server has said: type, Message ID, number.
    fn said(&mut self, server: usize) -> Vec<(Type, u16, Option<u32>)> {
        let host = self.servers[server].0;
        let sent = self.stage.sent(host);
        let said = sent.iter().map(|bytes| {
            let message = parse(bytes);
            let number = message.uint(OptionNumber::OBSERVE);
            (message.kind(), message.message_id().0, number)
        });
        said.collect()
    }
}

fn methods() -> [Request; 2] {
    let fetch = Request::new(Code::FETCH).path("/temperature");
    [
        get("/temperature"),
        fetch.payload(ContentFormat::TEXT, &b"celsius"[..]),
    ]
}

// Covers: GC-3.6-01, GC-3.6-02, GC-3.6-09, GN-D-02, GC-1-03
#[test]
fn the_temperatures_of_a_group_are_observed_and_forgotten() {
    for ground in Ground::ALL {
        for what in methods() {
            let mut cast = cast(ground);
            // B misses the request, and is asked in person.
            cast.deaf(1, true);
            let id = cast.observe(cast.request(what));
            cast.run(5);
            cast.deaf(1, false);
            assert_eq!(cast.observers(), [1, 0, 1]);
            let first = cast.heard();
            assert_eq!(first.len(), 2, "{first:?}");
            cast.run(30);
            assert_eq!(cast.observers(), [1, 1, 1]);
            let of_b = cast.heard();
            assert_eq!((of_b.len(), of_b[0].0, of_b[0].1), (1, 1, News::First));
            let requests = cast.requests();
            let [by_multicast, in_person] = requests[..] else {
                panic!("{requests:?}");
            };
            assert_eq!((by_multicast.0, by_multicast.1), (true, Type::Non));
            assert_eq!((in_person.0, in_person.1), (false, Type::Con));
            assert_eq!(in_person.3, by_multicast.3, "one token");
            assert_ne!(in_person.2, by_multicast.2, "another Message ID");
            // Each change reaches everybody, under numbers of each server's own.
            let mut numbers = [first[0].2, of_b[0].2, first[1].2];
            let mut spread = Vec::new();
            for change in 0..10 {
                let text = format!("{change} C");
                cast.change(&text);
                let changed = cast.stage.world.now();
                cast.run(20);
                spread.push(cast.delays_since(changed));
                let heard = cast.heard();
                let members: Vec<_> = heard.iter().map(|(member, ..)| *member).collect();
                assert_eq!(members, [0, 1, 2], "change {change}");
                for (member, news, number, said) in heard {
                    assert_eq!((news, said), (News::Update, text.clone()));
                    assert!(number > numbers[member as usize]);
                    numbers[member as usize] = number;
                }
            }
            // Each within the leisure, and not all at once.
            let leisure = 0..=5_000;
            assert!(spread.iter().flatten().all(|delay| leisure.contains(delay)));
            let latest = spread.iter().map(|delays| delays.iter().max().unwrap());
            let earliest = spread.iter().map(|delays| delays.iter().min().unwrap());
            let apart = latest.zip(earliest).filter(|(l, e)| *l - *e > 500);
            assert!(apart.count() > 5, "{spread:?}");
            for server in 0..3 {
                let said = cast.said(server);
                let mut ids: Vec<_> = said.iter().map(|(_, id, _)| *id).collect();
                ids.dedup();
                assert_eq!(ids.len(), said.len(), "nothing was sent twice: {said:?}");
                assert!(said.iter().any(|(kind, ..)| *kind == Type::Con), "{said:?}");
            }
            assert_eq!(cast.observers(), [1, 1, 1], "they were acknowledged");
            // To register again adds no entry.
            let now = cast.stage.world.now();
            cast.stage
                .world
                .endpoint(cast.client)
                .observe_again(now, id);
            cast.run(20);
            assert_eq!(cast.observers(), [1, 1, 1]);
            assert_eq!(cast.heard().len(), 3);
            cast.end(id);
            cast.run(20);
            assert_eq!(cast.observers(), [0, 0, 0]);
            let outcome = cast.outcome();
            assert_eq!(outcome.ended_by, ObservationEnd::Deregistered);
            assert_eq!(outcome.registrations, 2);
            for report in &outcome.members {
                assert_eq!(
                    report.state,
                    ObservedState::Ended(MemberEnd::Deregistered),
                    "{ground:?}"
                );
            }
            let requests = cast.requests();
            let last = requests.last().unwrap();
            assert_eq!((last.0, last.3, last.4), (true, by_multicast.3, Some(1)));
            cast.change("0 C");
            cast.run(60);
            assert!(cast.heard().is_empty());
        }
    }
}

// Covers: GC-3.6-17
#[test]
fn a_server_that_missed_the_deregistration_is_told_when_it_notifies() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let mut request = cast.request(get("/temperature"));
        request.follow_up = FollowUp::None;
        let id = cast.observe(request);
        cast.run(20);
        assert_eq!(cast.observers(), [1, 1, 1]);
        cast.heard();
        cast.deaf(1, true);
        cast.end(id);
        cast.run(20);
        assert_eq!(cast.observers(), [0, 1, 0]);
        assert_eq!(cast.outcome().members[1].state, ObservedState::Fresh);
        cast.deaf(1, false);
        cast.change("19 C");
        cast.run(20);
        assert_eq!(cast.observers(), [0, 0, 0]);
        let requests = cast.requests();
        let last = requests.last().unwrap();
        assert_eq!((last.0, last.1, last.4), (false, Type::Con, Some(1)));
        assert!(cast.heard().is_empty(), "nothing of it is delivered");
    }
}

// Covers: GC-3.6-15
#[test]
fn one_server_is_left_by_a_deregistration_or_by_a_reset_and_the_others_stay() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let id = cast.observe(cast.request(get("/temperature")));
        cast.run(20);
        let now = cast.stage.world.now();
        let endpoint = cast.stage.world.endpoint(cast.client);
        endpoint.end_observation_of(now, id, ObservedIndex(2));
        cast.run(5);
        assert_eq!(cast.observers(), [1, 1, 0]);
        // A client that has no place for a third member resets what comes from it.
        let mut cast = self::cast(ground);
        let mut request = cast.request(get("/temperature"));
        request.expect = Expectation::nobody();
        request.limits.unexpected = 2;
        cast.observe(request);
        cast.run(20);
        assert_eq!(cast.heard().len(), 2);
        cast.change("18 C");
        cast.run(20);
        let observers = cast.observers();
        assert_eq!(observers.iter().sum::<usize>(), 2, "{observers:?}");
        assert_eq!(cast.heard().len(), 2);
    }
}

// Covers: GC-3.6-04, GC-3.6-05
#[test]
fn a_repeat_reaches_who_missed_the_request_and_a_fresh_message_id_is_answered_by_all() {
    for ground in Ground::ALL {
        for (repeat, answers) in [
            (Repeat::SameMessage(1), [1, 1, 1]),
            (Repeat::NewMessageId(1), [2, 1, 2]),
        ] {
            let mut cast = cast(ground);
            let mut request = cast.request(get("/temperature"));
            request.repeat = repeat;
            cast.deaf(1, true);
            cast.observe(request);
            cast.run(5);
            cast.deaf(1, false);
            cast.run(10);
            assert_eq!(cast.observers(), [1, 1, 1], "one entry each");
            let said: Vec<_> = (0..3).map(|server| cast.said(server).len()).collect();
            assert_eq!(said, answers);
            let requests = cast.requests();
            assert_eq!(requests.len(), 2);
            assert_eq!(requests[0].3, requests[1].3);
        }
    }
}

#[test]
fn a_client_that_is_gone_is_forgotten_at_the_first_notification_that_nobody_acknowledges() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        cast.observe(cast.request(get("/temperature")));
        cast.run(20);
        assert_eq!(cast.observers(), [1, 1, 1]);
        let client = cast.client;
        cast.stage.world.loss(client, 1.0);
        for change in 0..10 {
            cast.change(&format!("{change} C"));
            cast.run(20);
        }
        cast.run(120);
        assert_eq!(cast.observers(), [0, 0, 0]);
        // When it is back, its next registration brings everything back.
        cast.stage.world.loss(client, 0.0);
        cast.heard();
        cast.run(3_600);
        assert_eq!(cast.observers(), [1, 1, 1]);
        let heard = cast.heard();
        assert!(heard.iter().all(|(.., said)| said == "9 C"), "{heard:?}");
        let members: Vec<_> = heard.iter().map(|(member, ..)| *member).collect();
        assert!([0, 1, 2].iter().all(|member| members.contains(member)));
    }
}

#[test]
fn a_late_joiner_is_heard_after_the_next_registration() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let mut request = cast.request(get("/temperature"));
        request.every = Some(Duration::from_secs(600));
        let id = cast.observe(request);
        cast.run(60);
        cast.heard();
        // A fourth member, not expected by anybody.
        let host = cast
            .stage
            .member_with(74, &[5683, PORT], EndpointConfig::default());
        cast.stage.join(host, ground.group(1, PORT));
        let resource = Resource::at("/temperature")
            .get(
                |_: &antiphon_proto::Incoming<'_>, r: &mut antiphon_proto::Response| {
                    r.payload.extend_from_slice(b"new");
                },
            )
            .observable()
            .group_policy(GroupPolicy::respond());
        let resource = cast.stage.offer(host, resource);
        cast.run(500);
        assert!(cast.heard().iter().all(|(member, ..)| *member < 3));
        cast.run(60);
        let joined = cast.heard();
        let joined: Vec<_> = joined.iter().filter(|(member, ..)| *member == 3).collect();
        let [(_, News::Joined, _, said)] = joined[..] else {
            panic!("{joined:?}");
        };
        assert_eq!(said, "new");
        assert_eq!(cast.stage.server(host).observers_of(resource), 1);
        cast.end(id);
        cast.run(60);
        assert_eq!(cast.stage.server(host).observers_of(resource), 0);
        let outcome = cast.outcome();
        let address = outcome.members[3].address.unwrap();
        assert_eq!(number_of(address.ip()), 74);
    }
}
