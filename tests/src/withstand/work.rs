//! The work seam, exercised by a worker that delays, reorders, fails and never finishes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use antiphon_netsim::{HostId, Interface as NetInterface, Rng};
use antiphon_oscore::Settings;
use antiphon_proto::{Event, GroupPolicy, Leisure, ListenChange, Resource, Sender, Task, Work};
use antiphon_tests::secure::{self, Sealer};
use antiphon_tests::stage::{Datagram, Diary, Ground, Stage, Stranger, parse};
use antiphon_wire::{Code, OptionNumber, Type};

fn plain(kind: Type, mid: u16, path: &str) -> Vec<u8> {
    Datagram {
        kind,
        code: Code::GET,
        mid,
        token: &[b'a', mid.to_be_bytes()[0], mid.to_be_bytes()[1]],
        options: &[(OptionNumber::URI_PATH, path.as_bytes())],
        payload: b"",
    }
    .bytes()
}

/// The member that asks, and the one that answers.
const ASKER: u8 = 1;
const MEMBER: u8 = 2;

struct Cast {
    stage: Stage,
    sealer: Sealer,
    opened: BTreeMap<Vec<u8>, Code>,
    member: HostId,
    peer: Stranger,
    diary: Diary,
}

/// A member whose worker opens every message that says nothing else in its path.
fn cast(ground: Ground) -> Cast {
    let mut stage = Stage::new(ground, 8);
    let member = stage.member(11);
    let diary = Diary::new();
    let policy = GroupPolicy::respond().leisure(Leisure::Fixed(Duration::ZERO));
    let resource = Resource::at("/r").get(diary.handler(Code::CONTENT, "1"));
    let server = stage.server(member);
    // Only for senders that are proven.
    server.add(resource.group_policy(policy)).unwrap();
    stage.join(member, ground.group(1, 5683));
    let peer = stage.stranger(91, 40_000);
    let node = stage.world.node(member);
    node.key = Some(secure::key(MEMBER));
    let group = secure::group(MEMBER, [ASKER], Settings::default());
    node.endpoint.security_mut().add_group(group);
    stage.settle();
    Cast {
        stage,
        sealer: Sealer::new(ASKER, [MEMBER]),
        opened: BTreeMap::new(),
        member,
        peer,
        diary,
    }
}

impl Cast {
    fn own(&self) -> SocketAddr {
        SocketAddr::new(self.stage.ground.address(11), 5683)
    }

    /// A host like this one whose endpoint answers errors, or does not.
    fn errors(&mut self, answered: bool) {
        let node = self.stage.world.node(self.member);
        node.endpoint.set_answer_errors(answered);
    }

    /// How long the worker takes for each message.
    fn toil(&mut self, toil: impl FnMut(&Work) -> Duration + 'static) {
        self.stage.world.node(self.member).toil = Some(Box::new(toil));
    }

    /// The peer sends a request in group mode.
    fn protect(&mut self, kind: Type, mid: u16, path: &str) -> Vec<u8> {
        self.sealer.seal(&plain(kind, mid, path))
    }

    fn say(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        self.stage.say(self.peer, to, bytes);
    }

    /// The responses that the peer can open, and the codes of those that are not protected.
    fn heard(&mut self) -> Vec<(u16, Code)> {
        let heard = self.stage.heard(self.peer);
        let mut read = |bytes: &[u8]| {
            let outer = parse(bytes);
            match outer.option(OptionNumber::OSCORE) {
                Some(_) => {
                    // A repeated one is the same bytes, and opened once only.
                    let code = *self.opened.entry(bytes.to_vec()).or_insert_with(|| {
                        let opened = self.sealer.open(bytes).expect("for the peer");
                        parse(&opened).code()
                    });
                    (outer.message_id().0, code)
                }
                None => (outer.message_id().0, outer.code()),
            }
        };
        heard.iter().map(|d| read(&d.bytes)).collect()
    }
}

#[test]
fn results_come_back_in_any_order_and_each_request_gets_its_own_answer() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let mut rng = Rng::new(8);
        let times = Arc::new(Mutex::new(BTreeMap::new()));
        let noted = times.clone();
        cast.toil(move |work| {
            if !matches!(work.task, Task::Verify(_)) {
                return Duration::ZERO;
            }
            let time = Duration::from_millis(rng.between(1, 9_000));
            noted.lock().unwrap().insert(work.id, time);
            time
        });
        let own = cast.own();
        for mid in 0..16 {
            let bytes = cast.protect(Type::Con, mid, "r");
            cast.say(own, bytes);
        }
        cast.stage.run(Duration::from_millis(2));
        assert_eq!(cast.diary.len(), 0);
        assert_eq!(cast.stage.world.endpoint(cast.member).load().parked, 16);
        cast.stage.run(Duration::from_secs(10));
        let heard = cast.heard();
        let answered: Vec<_> = heard.iter().map(|(mid, _)| *mid).collect();
        assert_ne!(
            answered,
            (0..16).collect::<Vec<_>>(),
            "they overtook each other"
        );
        // In the order in which the work was done.
        let times = times.lock().unwrap();
        let mut expected: Vec<_> = times.values().zip(0_u16..).collect();
        expected.sort();
        let expected: Vec<_> = expected.into_iter().map(|(_, mid)| mid).collect();
        assert_eq!(answered, expected, "{ground:?}");
        assert!(heard.iter().all(|(_, code)| *code == Code::CONTENT));
        for entry in cast.diary.entries() {
            let sender = Sender::Proven(secure::identity(ASKER));
            assert_eq!(entry.arrival.sender, sender);
        }
        assert_eq!(cast.stage.world.endpoint(cast.member).load().parked, 0);
    }
}

#[test]
fn a_failure_is_an_error_for_one_and_silence_for_a_group() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        cast.toil(|_| Duration::from_millis(30));
        let (own, group) = (cast.own(), ground.group(1, 5683));
        // No context, wrong signature, replay, truncated: by policy an error for one, and silence for a group.
        let mut strangers = Sealer::new(9, [MEMBER]);
        let mut seen = Vec::new();
        for answer_errors in [false, true] {
            cast.errors(answer_errors);
            let genuine = cast.protect(Type::Con, 50, "r");
            let mut forged = cast.protect(Type::Con, 51, "r");
            *forged.last_mut().unwrap() ^= 1;
            let unknown = strangers.seal(&plain(Type::Con, 52, "r"));
            cast.say(own, genuine.clone());
            cast.stage.run(Duration::from_secs(1));
            assert_eq!(cast.heard(), [(50, Code::CONTENT)]);
            let mut replayed = genuine;
            replayed[2..4].copy_from_slice(&[1, 1]);
            for (bytes, code) in [
                (forged, Code::BAD_REQUEST),
                (unknown, Code::UNAUTHORIZED),
                (replayed, Code::UNAUTHORIZED),
            ] {
                cast.say(own, bytes.clone());
                cast.stage.run(Duration::from_secs(1));
                let codes: Vec<_> = cast.heard().iter().map(|(_, code)| *code).collect();
                match answer_errors {
                    true => assert_eq!(codes, [code], "{ground:?}"),
                    false => assert_eq!(codes, [], "{ground:?}"),
                }
                let mut multicast = bytes;
                multicast[0] = multicast[0] & 0xcf | 0x10;
                multicast[2] = 7;
                cast.say(group, multicast);
                cast.stage.run(Duration::from_secs(10));
                assert_eq!(cast.heard(), [], "{ground:?}");
            }
            seen.push(cast.diary.len());
            cast.stage.run(Duration::from_secs(300));
        }
        assert_eq!(seen, [1, 2], "nothing but the genuine ones");
        // What is opened is answered, through the group as well.
        let bytes = cast.protect(Type::Non, 200, "r");
        cast.say(group, bytes);
        cast.stage.run(Duration::from_secs(1));
        let heard = cast.heard();
        assert_eq!(heard.len(), 1);
        assert_eq!(
            heard[0].1,
            Code::UNAUTHORIZED,
            "its address is not known yet"
        );
        // And without protection the resource is closed.
        cast.stage.say(cast.peer, own, plain(Type::Con, 201, "r"));
        cast.stage.run(Duration::from_secs(1));
        assert_eq!(cast.heard(), [(201, Code::UNAUTHORIZED)]);
        cast.stage.say(cast.peer, group, plain(Type::Non, 202, "r"));
        cast.stage.run(Duration::from_secs(1));
        assert_eq!(cast.heard(), []);
        assert_eq!(cast.diary.len(), 2);
    }
}

#[test]
fn a_duplicate_of_a_message_at_work_waits_with_it_and_is_processed_once() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        cast.toil(|work| match work.task {
            Task::Verify(_) => Duration::from_secs(5),
            _ => Duration::ZERO,
        });
        let own = cast.own();
        let bytes = cast.protect(Type::Con, 7, "r");
        for _ in 0..3 {
            cast.stage.say(cast.peer, own, bytes.clone());
            cast.stage.run(Duration::from_secs(1));
        }
        assert_eq!(cast.stage.world.endpoint(cast.member).load().parked, 1);
        assert_eq!(cast.heard(), []);
        cast.stage.run(Duration::from_secs(5));
        assert_eq!(cast.heard(), [(7, Code::CONTENT)]);
        // Afterwards the stored reply is repeated.
        cast.stage.say(cast.peer, own, bytes);
        cast.stage.run(Duration::from_secs(1));
        assert_eq!(cast.heard(), [(7, Code::CONTENT)]);
        assert_eq!(cast.diary.len(), 1, "{ground:?}");
    }
}

#[test]
fn a_worker_that_never_finishes_costs_its_messages_and_nothing_else() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        // Every second message is never done; those that are done late find nobody waiting.
        cast.toil(|work| match (&work.task, work.id.0 % 2) {
            (Task::Verify(_), 0) => Duration::MAX,
            (Task::Verify(_), _) => Duration::from_secs(11),
            _ => Duration::ZERO,
        });
        let own = cast.own();
        for mid in 0..16 {
            let bytes = cast.protect(Type::Con, mid, "r");
            cast.say(own, bytes);
        }
        cast.stage.run(Duration::from_secs(60));
        assert_eq!(cast.heard(), []);
        let endpoint = cast.stage.world.endpoint(cast.member);
        assert_eq!(endpoint.load().parked, 0);
        assert_eq!(endpoint.counters().parking_expired, 16);
        assert!(cast.diary.is_empty());
        cast.toil(|_| Duration::ZERO);
        let bytes = cast.protect(Type::Con, 99, "r");
        cast.say(own, bytes);
        cast.stage.run(Duration::from_secs(1));
        assert_eq!(cast.heard(), [(99, Code::CONTENT)], "{ground:?}");
    }
}

#[test]
fn a_join_that_takes_its_time_delays_only_its_own_group() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let slow = ground.group(2, 5683);
        cast.toil(move |work| match work.task {
            Task::Join { group, .. } if group == slow => Duration::from_secs(30),
            _ => Duration::ZERO,
        });
        let id = cast.stage.join(cast.member, slow);
        let quick = ground.group(3, 5683);
        cast.stage.join(cast.member, quick);
        cast.stage.settle();
        let interface = NetInterface::new(1);
        let joined = |cast: &Cast, group: SocketAddr| {
            let network = cast.stage.world.sim.network();
            network.has_joined(cast.member, interface, group.ip())
        };
        assert!(joined(&cast, quick) && !joined(&cast, slow));
        // It is left again before it is joined: in the end it is not.
        let memberships = cast.stage.server(cast.member).memberships_mut();
        memberships.leave(id, 1).unwrap();
        cast.stage.run(Duration::from_secs(60));
        assert!(joined(&cast, quick) && !joined(&cast, slow), "{ground:?}");
        let events = &cast.stage.world.node(cast.member).events;
        let of_slow: Vec<_> = events
            .iter()
            .filter_map(|(_, event)| match event {
                Event::Membership(event) if event.group == slow => Some(event.change),
                _ => None,
            })
            .collect();
        assert_eq!(of_slow, [ListenChange::Joined, ListenChange::Left]);
    }
}
