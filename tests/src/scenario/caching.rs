//! Scenario 11, the half of the client: answers of a group that are kept, and validated. What needs the proxy between (aggregates,
//! Group-ETag, Deterministic Requests) is not here.

mod tags;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use antiphon_netsim::{HostId, Impairment};
use antiphon_proto::{
    Caching, EndpointConfig, Event, Expectation, GroupPacing, GroupPolicy, GroupRequest, How,
    Incoming, Leisure, Member, Profile, Protection, Reliability, Resource, Response, Route,
    SocketId, StaticMembers, UnicastRequest,
};
use antiphon_tests::stage::{Collected, Datagram, Ground, INTERFACE, Stage, get, number_of, parse};
use antiphon_wire::{Code, ContentFormat, MultiEtag, OptionNumber, Type};

const ETAG: OptionNumber = OptionNumber::ETAG;
const MULTI_ETAG: OptionNumber = OptionNumber::MULTI_ETAG;
/// S1, S2 and S3, and the Max-Age that each states.
const SERVERS: [(u16, Option<u8>); 3] = [(81, Some(10)), (82, Some(20)), (83, None)];

struct Cast {
    stage: Stage,
    client: HostId,
    servers: Vec<HostId>,
    states: Vec<Arc<Mutex<String>>>,
}

/// Everybody answers at once; the client need not spare who is silent.
fn cast(ground: Ground, profile: Profile) -> Cast {
    let mut stage = Stage::new(ground, 11);
    let mut config = EndpointConfig::default();
    config.collections.profile = profile;
    let client = stage.client_with(config);
    let now = stage.world.now();
    let pacing = GroupPacing::new(1, 1_000_000).unwrap();
    let collections = stage.world.endpoint(client).collections_mut();
    collections
        .set_pacing(now, ground.all_nodes(), None, Some(pacing))
        .unwrap();
    let (mut servers, mut states) = (Vec::new(), Vec::new());
    for (n, max_age) in SERVERS {
        let host = stage.member(n);
        let state = Arc::new(Mutex::new(format!("{n} at first")));
        let said = Arc::clone(&state);
        let resource = Resource::at("/status")
            .get(move |_: &Incoming<'_>, r: &mut Response| {
                r.set_payload(ContentFormat::TEXT, said.lock().unwrap().as_bytes());
                if let Some(seconds) = max_age {
                    r.options.push(OptionNumber::MAX_AGE, &[seconds]);
                }
            })
            .put(|_, _| {})
            .tagged()
            .group_policy(GroupPolicy::respond().leisure(Leisure::Fixed(Duration::ZERO)));
        stage.offer(host, resource);
        let address = SocketAddr::new(ground.address(n), 5683);
        stage.server(host).set_addresses([address]);
        servers.push(host);
        states.push(state);
    }
    stage.settle();
    Cast {
        stage,
        client,
        servers,
        states,
    }
}

impl Cast {
    fn address(&self, n: u16) -> SocketAddr {
        SocketAddr::new(self.stage.ground.address(n), 5683)
    }

    /// GET /status to the group, for a second, by way of the cache; all three are expected.
    fn question(&self) -> GroupRequest {
        let group = self.stage.ground.all_nodes();
        let mut question = self.stage.question(get("/status"), group);
        let mut expect = Expectation::nobody();
        for (n, _) in SERVERS {
            expect.add(Member::named(n.to_string()).at(self.address(n)));
        }
        question.expect = expect;
        question.end.deadline = Duration::from_secs(1);
        question.caching = Some(Caching::default());
        question
    }

    fn ask(&mut self) -> Collected {
        let question = self.question();
        self.stage.collect(self.client, question)
    }

    /// Who answered, and whether from the cache.
    fn asked(&mut self) -> Vec<(u16, bool)> {
        kept(&self.ask())
    }

    fn mute(&mut self, server: usize, mute: bool) {
        let loss = Impairment::none().loss(if mute { 1.0 } else { 0.0 });
        let network = self.stage.world.sim.network_mut();
        network.set_egress(self.servers[server], loss);
    }

    /// Until so many seconds after the beginning.
    fn until(&mut self, seconds: u64) {
        let now = self.stage.world.now().as_micros();
        let left = (seconds * 1_000_000).checked_sub(now).expect("not over");
        self.stage.run(Duration::from_micros(left));
    }

    fn change(&mut self, server: usize, to: &str) {
        *self.states[server].lock().unwrap() = to.into();
    }

    /// What the servers have said since this was asked last: code, tag, length of the payload.
    fn said(&mut self, server: usize) -> Vec<(Code, Option<Vec<u8>>, usize)> {
        let sent = std::mem::take(&mut self.stage.world.node(self.servers[server]).sent);
        let said = sent.iter().map(|(_, _, bytes)| {
            let message = parse(bytes);
            let tag = message.option(ETAG).map(<[u8]>::to_vec);
            (message.code(), tag, message.payload().len())
        });
        said.collect()
    }

    /// The values of an option in what the client has sent since this was asked last.
    fn sent(&mut self, number: OptionNumber) -> Vec<Vec<Vec<u8>>> {
        let sent = std::mem::take(&mut self.stage.world.node(self.client).sent);
        let values = sent.iter().map(|(_, _, bytes)| {
            let message = parse(bytes);
            let values = message.options().filter(|option| option.number == number);
            values.map(|option| option.value.to_vec()).collect()
        });
        values.collect()
    }

    /// GET /status of one server by way of the cache: the text, and whether it was kept.
    fn ask_one(&mut self, n: u16) -> (String, bool) {
        let now = self.stage.world.now();
        let unicast = UnicastRequest {
            request: get("/status"),
            route: Route {
                socket: SocketId(0),
                source: None,
                interface: INTERFACE,
                destination: self.address(n),
            },
            reliability: Reliability::Confirmable,
            response_timeout: None,
            protection: Protection::None,
        };
        let endpoint = self.stage.world.endpoint(self.client);
        let id = endpoint.request_cached(now, unicast).unwrap();
        self.stage.run(Duration::from_millis(10));
        let events = std::mem::take(&mut self.stage.world.node(self.client).events);
        let mut given = events.into_iter().filter_map(|(_, event)| match event {
            Event::Response {
                exchange, response, ..
            } if exchange == id => Some((response, false)),
            Event::Cached {
                exchange, response, ..
            } if exchange == id => Some((response, true)),
            _ => None,
        });
        let (response, kept) = given.next().expect("an answer");
        assert_eq!(response.code, Code::CONTENT, "never a bare 2.03");
        (String::from_utf8(response.payload).unwrap(), kept)
    }
}

fn kept(done: &Collected) -> Vec<(u16, bool)> {
    let answers = done.answers.iter();
    let mut all: Vec<_> = answers
        .map(|answer| {
            let kept = matches!(answer.how, How::Cached { .. });
            (number_of(answer.from.peer.ip()), kept)
        })
        .collect();
    all.sort_unstable();
    all
}

// Covers: GC-3.2.1-01, GC-3.2-03
#[test]
fn each_answer_is_fresh_for_its_own_max_age_and_never_served_after_it() {
    for ground in Ground::ALL {
        for profile in [Profile::Current, Profile::Seed03] {
            let mut cast = cast(ground, profile);
            assert_eq!(cast.asked(), [(81, false), (82, false), (83, false)]);
            for server in 0..3 {
                cast.mute(server, true);
            }
            for (seconds, fresh) in [
                (8, &[81, 82, 83][..]),
                (10, &[82, 83]),
                (18, &[82, 83]),
                (20, &[83]),
                (58, &[83]),
                (60, &[]),
                (300, &[]),
            ] {
                cast.until(seconds);
                let all: Vec<_> = fresh.iter().map(|n| (*n, true)).collect();
                assert_eq!(cast.asked(), all, "{ground:?} {profile:?}, at {seconds} s");
            }
            // One that is there again is heard again, and the result is what is new and what is kept.
            cast.mute(0, false);
            assert_eq!(cast.asked(), [(81, false)]);
            cast.mute(0, true);
            cast.mute(1, false);
            assert_eq!(cast.asked(), [(81, true), (82, false)]);
        }
    }
}

// Covers: GN-3.2.1-01, GC-3.2.1-02
#[test]
fn nothing_is_sent_only_where_all_members_are_known_and_fresh() {
    for ground in Ground::ALL {
        for (profile, alone, sent) in [
            (Profile::Current, true, 0),
            (Profile::Current, false, 1),
            (Profile::Seed03, true, 1),
        ] {
            let mut cast = cast(ground, profile);
            cast.ask();
            cast.sent(ETAG);
            let ask = |cast: &mut Cast| {
                let mut question = cast.question();
                let caching = question.caching.as_mut().unwrap();
                caching.alone = alone;
                let done = cast.stage.collect(cast.client, question);
                (kept(&done).len(), cast.sent(ETAG).len())
            };
            cast.until(5);
            assert_eq!(ask(&mut cast), (3, sent), "{ground:?} {profile:?} {alone}");
            // One of them is not fresh any more: the group is asked. (Where it was asked before, all are as fresh as that.)
            cast.until(16);
            assert_eq!(ask(&mut cast), (3, 1), "{ground:?} {profile:?} {alone}");
        }
    }
}

// Covers: GN-3.2-01
#[test]
fn the_members_that_must_be_fresh_are_those_that_the_application_knows() {
    for ground in Ground::ALL {
        for (known, sent) in [
            (Some(&[81, 82, 83][..]), 0),
            (Some(&[81, 83]), 0),
            (Some(&[81, 82, 83, 84]), 1),
            (None, 1),
        ] {
            let mut cast = cast(ground, Profile::Current);
            cast.ask();
            cast.sent(ETAG);
            let mut oracle = StaticMembers::new();
            if let Some(numbers) = known {
                let member = |n: &u16| Member::named(n.to_string()).at(cast.address(*n));
                oracle = oracle.group(ground.all_nodes(), numbers.iter().map(member));
            }
            let endpoint = cast.stage.world.endpoint(cast.client);
            let collections = endpoint.collections_mut();
            collections.set_membership_oracle(Some(Box::new(oracle)));
            let mut question = cast.question();
            question.expect = Expectation::current();
            question.caching.as_mut().unwrap().alone = true;
            let done = cast.stage.collect(cast.client, question);
            assert_eq!(cast.sent(ETAG).len(), sent, "{ground:?} {known:?}");
            // Who was asked answers; who is known and gone is missing.
            let missing = done.outcome().missing().count();
            assert_eq!(
                missing,
                usize::from(known.is_some_and(|known| known.contains(&84)))
            );
        }
    }
}

// Covers: GC-3.2-04, GC-3.2-05
#[test]
fn an_answer_to_the_group_serves_a_request_to_one_server_and_is_validated_by_it() {
    for ground in Ground::ALL {
        let mut cast = cast(ground, Profile::Current);
        cast.ask();
        cast.sent(ETAG);
        let first = ("81 at first".to_owned(), true);
        assert_eq!(cast.ask_one(81), first, "{ground:?}");
        assert!(cast.sent(ETAG).is_empty(), "nothing is sent");
        // S1 is not fresh after 10 s: it confirms without payload, and is fresh again.
        cast.until(15);
        cast.said(0);
        let (text, kept) = cast.ask_one(81);
        assert_eq!((text.as_str(), kept), ("81 at first", false));
        let tags = cast.sent(ETAG);
        assert_eq!((tags.len(), tags[0].len()), (1, 1), "its own tag");
        let said = cast.said(0);
        assert_eq!(said, [(Code::VALID, Some(tags[0][0].clone()), 0)]);
        assert_eq!(cast.ask_one(81), first);
        // What has changed comes whole, and is kept in its place.
        cast.until(30);
        cast.change(0, "81 later");
        cast.said(0);
        assert_eq!(cast.ask_one(81), ("81 later".to_owned(), false));
        assert_eq!(cast.said(0)[0].0, Code::CONTENT);
        assert_eq!(cast.ask_one(81), ("81 later".to_owned(), true));
        // The two others are still what they were, each for its own time.
        assert_eq!(cast.ask_one(83), ("83 at first".to_owned(), true));
    }
}

// Covers: GN-3.2.2-01, GN-3.2.2-05
#[test]
fn profile_current_validates_by_etag_in_the_group_request() {
    for ground in Ground::ALL {
        let mut cast = cast(ground, Profile::Current);
        cast.ask();
        let tags = [0, 1, 2].map(|server| cast.said(server)[0].1.clone().unwrap());
        cast.sent(ETAG);
        cast.until(30);
        cast.change(1, "82 later");
        let done = cast.ask();
        // S1 and S2 are not fresh; S3 is, and its tag is not sent.
        let sent = cast.sent(ETAG);
        assert_eq!(sent.len(), 1);
        let mut named = sent[0].clone();
        named.sort();
        let mut expected = [tags[0].clone(), tags[1].clone()];
        expected.sort();
        assert_eq!(named, expected, "{ground:?}");
        assert!(cast.said(0) == [(Code::VALID, Some(tags[0].clone()), 0)]);
        assert_eq!(cast.said(1)[0].0, Code::CONTENT);
        assert_eq!(cast.said(2)[0].0, Code::CONTENT);
        // The application hears of all of them in full.
        let texts = ["81 at first", "82 later", "83 at first"];
        let texts: Vec<_> = (81..).zip(texts.map(str::to_owned)).collect();
        assert_eq!(done.texts(), texts);
    }
}

// Covers: GC-3.2.2.2-01, GC-3.2.2.2-06, GC-3.2.2.2-07
#[test]
fn profile_seed03_validates_by_one_multi_etag_for_each_server() {
    for ground in Ground::ALL {
        let mut cast = cast(ground, Profile::Seed03);
        cast.ask();
        let tags = [0, 1, 2].map(|server| cast.said(server)[0].1.clone().unwrap());
        cast.sent(MULTI_ETAG);
        cast.until(30);
        cast.change(1, "82 later");
        let done = cast.ask();
        let mut sent = cast.sent(MULTI_ETAG).remove(0);
        sent.sort();
        let mut expected = [0, 1].map(|n: usize| {
            let mut value = [0; 40];
            let server = cast.address(SERVERS[n].0);
            let length = MultiEtag::write(server, &[&tags[n]], &mut value).unwrap();
            value[..length].to_vec()
        });
        expected.sort();
        assert_eq!(sent, expected, "{ground:?}");
        assert_eq!(cast.said(0), [(Code::VALID, Some(tags[0].clone()), 0)]);
        for server in [1, 2] {
            let said = cast.said(server);
            assert_eq!((said.len(), said[0].0), (1, Code::CONTENT));
            assert!(said[0].2 > 0, "in full");
        }
        let texts = ["81 at first", "82 later", "83 at first"];
        let texts: Vec<_> = (81..).zip(texts.map(str::to_owned)).collect();
        assert_eq!(done.texts(), texts);
    }
}
