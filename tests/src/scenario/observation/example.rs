//! The figure of groupcomm-bis Appendix D with its tokens, Message IDs and numbers, and the variants of the scenario that it does not show.

use std::net::SocketAddr;

use antiphon_proto::{Incoming, Leisure, Response};
use antiphon_tests::stage::{CLIENT_PORT, Datagram, Stranger};
use antiphon_wire::{Class, Message};

use super::*;

/// C's own port; A and B answer from the group's.
const PORT_C: u16 = 40_003;
/// The request of the figure, byte for byte: Token 0x86, Observe 0.
const REGISTER: &[u8] = b"\x51\x01\x7d\x41\x86\x60\x52gp\x03gp1\x0btemperature";
const FIRST: [&str; 3] = ["22.3 C", "20.9 C", "21.0 C"];
const CHANGED: [&str; 3] = ["32.3 C", "30.9 C", "31.0 C"];

/// A, B and C of the figure, in the application group gp1, with temperatures that can be changed.
fn servers(stage: &mut Stage) -> Vec<(HostId, ResourceId, Arc<Mutex<&'static str>>)> {
    let ground = stage.ground;
    let all = MEMBERS.into_iter().zip(FIRST).map(|(n, temperature)| {
        let ports: &[u16] = if n == 73 { &[PORT_C] } else { &[5683, PORT] };
        let host = stage.member_with(n, ports, EndpointConfig::default());
        let group = stage.join(host, ground.group(1, PORT));
        let memberships = stage.server(host).memberships_mut();
        let naming = antiphon_proto::Naming::path();
        let gp1 = memberships.create_application("gp1", naming, antiphon_proto::Attributes::new());
        memberships.relate(gp1.unwrap(), group).unwrap();
        let state = Arc::new(Mutex::new(temperature));
        let said = Arc::clone(&state);
        let resource = Resource::at("/temperature")
            .in_group("gp1")
            .get(move |_: &Incoming<'_>, r: &mut Response| {
                r.payload.extend_from_slice(said.lock().unwrap().as_bytes());
            })
            .observable()
            .group_policy(GroupPolicy::respond());
        (host, stage.offer(host, resource), state)
    });
    let all = all.collect();
    stage.settle();
    all
}

/// What was heard, ascending by server: its number and port, the message, its number.
fn sorted(heard: &[(SocketAddr, Vec<u8>)]) -> Vec<(u16, u16, Message<'_>, u32)> {
    let mut all: Vec<_> = heard
        .iter()
        .map(|(from, bytes)| {
            let message = parse(bytes);
            let number = message.uint(OptionNumber::OBSERVE).unwrap();
            (number_of(from.ip()), from.port(), message, number)
        })
        .collect();
    all.sort_by_key(|(server, ..)| *server);
    all
}

// Covers: GN-D-02
#[test]
fn our_servers_say_what_the_figure_shows() {
    for ground in Ground::ALL {
        let mut stage = Stage::new(ground, 17);
        let servers = servers(&mut stage);
        let client = stage.stranger(98, 50_000);
        let heard = stage.provoke(client, ground.group(1, PORT), REGISTER);
        let heard: Vec<_> = heard.iter().map(|d| (d.src, d.bytes.to_vec())).collect();
        let first = sorted(&heard);
        let from: Vec<_> = first.iter().map(|(n, port, ..)| (*n, *port)).collect();
        assert_eq!(from, [(71, PORT), (72, PORT), (73, PORT_C)], "{ground:?}");
        for ((.., message, number), text) in first.iter().zip(FIRST) {
            assert_eq!((message.kind(), message.code()), (Type::Non, Code::CONTENT));
            assert_eq!(message.token().as_bytes(), [0x86]);
            assert_eq!(message.payload(), text.as_bytes());
            let [option] = message.options().collect::<Vec<_>>()[..] else {
                panic!("{message:?}");
            };
            assert_eq!(option.number, OptionNumber::OBSERVE);
            assert!(*number < 1 << 24);
        }
        // Some time later, the temperature changes.
        let now = stage.world.now();
        for ((host, resource, state), text) in servers.iter().zip(CHANGED) {
            *state.lock().unwrap() = text;
            stage.world.endpoint(*host).changed(now, *resource);
        }
        // Longer than the leisure, and not so long that what is Confirmable for an unknown client is sent again and again.
        stage.run(Duration::from_millis(5_100));
        let again = stage.heard(client);
        let again: Vec<_> = again.iter().map(|d| (d.src, d.bytes.to_vec())).collect();
        let mut latest = std::collections::BTreeMap::new();
        for (server, port, message, number) in sorted(&again) {
            let ids = latest.entry((server, port)).or_insert(message.message_id());
            assert_eq!(
                *ids,
                message.message_id(),
                "one notification, perhaps sent again"
            );
            let at = usize::from(server) - 71;
            let (.., before, old) = &first[at];
            assert_eq!(message.code(), Code::CONTENT);
            assert_eq!(message.token().as_bytes(), [0x86]);
            assert_eq!(message.payload(), CHANGED[at].as_bytes());
            assert_ne!(
                message.message_id(),
                before.message_id(),
                "a new Message ID"
            );
            assert!(number > *old, "{number} after {old}");
        }
        let from: Vec<_> = latest.into_keys().collect();
        assert_eq!(from, [(71, PORT), (72, PORT), (73, PORT_C)]);
    }
}

/// What A, B and C of the figure say: Message ID, number, text.
type Said = [(u16, u8, &'static str); 3];
const NOTIFIED: Said = [
    (0x60b1, 3, FIRST[0]),
    (0x01a0, 13, FIRST[1]),
    (0x952a, 23, FIRST[2]),
];
const NOTIFIED_AGAIN: Said = [
    (0x60b2, 7, CHANGED[0]),
    (0x01a1, 18, CHANGED[1]),
    (0x952b, 29, CHANGED[2]),
];

/// A client of ours, and the servers of the figure, which say its bytes.
struct Figure {
    stage: Stage,
    client: HostId,
    servers: [Stranger; 3],
    token: Token,
}

impl Figure {
    fn registered(ground: Ground) -> Self {
        let mut stage = Stage::new(ground, 17);
        let client = stage.client();
        let servers = [(71, PORT), (72, PORT), (73, PORT_C)];
        let servers = servers.map(|(n, port)| stage.stranger(n, port));
        let group = target(ground.group(1, PORT));
        let security = Security::Unsecured(NoSec::Accepted);
        let request = get("/gp/gp1/temperature");
        let mut request = ObserveRequest::group(request, group, security);
        request.expect = Expectation::nobody();
        let now = stage.world.now();
        stage.world.endpoint(client).observe(now, request).unwrap();
        stage.settle();
        let sent = stage.sent(client);
        assert_eq!(sent.len(), 1);
        // The figure's request; its token is longer here: it must not be guessed.
        assert_eq!((sent[0][0], sent[0][1]), (0x58, REGISTER[1]));
        assert_eq!(sent[0][12..], REGISTER[5..]);
        let token = parse(&sent[0]).token();
        Self {
            stage,
            client,
            servers,
            token,
        }
    }

    fn say(&mut self, server: usize, mid: u16, number: u8, text: &str) {
        let notification = Datagram {
            kind: Type::Non,
            code: Code::CONTENT,
            mid,
            token: self.token.as_bytes(),
            options: &[(OptionNumber::OBSERVE, &[number])],
            payload: text.as_bytes(),
        };
        let to = SocketAddr::new(self.stage.ground.address(1), CLIENT_PORT);
        let bytes = notification.bytes();
        self.stage.say(self.servers[server], to, bytes);
        self.stage.settle();
    }

    fn events(&mut self) -> Vec<ObservationEvent> {
        let events = std::mem::take(&mut self.stage.world.node(self.client).events);
        let events = events.into_iter().filter_map(|(_, event)| match event {
            Event::Observation(event) => Some(event),
            _ => None,
        });
        events.collect()
    }

    /// Who has said what: number of the host, what is new, number, text.
    fn heard(&mut self) -> Vec<(u16, News, u32, String)> {
        let heard = self.events().into_iter().filter_map(|event| match event {
            ObservationEvent::Notification(n) => Some((
                number_of(n.from.peer.ip()),
                n.news,
                n.number.unwrap(),
                String::from_utf8(n.response.payload).unwrap(),
            )),
            _ => None,
        });
        heard.collect()
    }
}

fn expected(said: Said, news: News) -> Vec<(u16, News, u32, String)> {
    let said = (71..).zip(said);
    said.map(|(n, (_, number, text))| (n, news, u32::from(number), text.to_owned()))
        .collect()
}

// Covers: GN-D-02
#[test]
fn our_client_takes_the_notifications_of_the_figure_and_no_old_number_for_the_newest() {
    for ground in Ground::ALL {
        let mut figure = Figure::registered(ground);
        for (said, news) in [(NOTIFIED, News::First), (NOTIFIED_AGAIN, News::Update)] {
            for (server, (mid, number, text)) in said.into_iter().enumerate() {
                figure.say(server, mid, number, text);
            }
            assert_eq!(figure.heard(), expected(said, news), "{ground:?}");
        }
        // A notification that was overtaken on the way: 5 is newer than 3 and older than 7. The order is each server's own: 8 of A is newer, 18 and
        // 29 of the others notwithstanding.
        figure.say(0, 0x60b3, 5, "overtaken");
        let events = figure.events();
        let [ObservationEvent::Stale { member, number, .. }] = events[..] else {
            panic!("{events:?}");
        };
        assert_eq!((member, number), (ObservedIndex(0), Some(5)));
        figure.say(0, 0x60b4, 8, "newest");
        let newest = (71, News::Update, 8, "newest".to_owned());
        assert_eq!(figure.heard(), [newest], "{ground:?}");
    }
}

// Covers: GC-3.6-03
#[test]
fn members_without_the_resource_or_the_method_answer_with_errors_or_not_at_all() {
    for ground in Ground::ALL {
        for answering in [true, false] {
            let mut stage = Stage::new(ground, 17);
            let client = stage.client();
            let policy = GroupPolicy::respond().leisure(Leisure::Fixed(Duration::ZERO));
            let policy = match answering {
                true => policy.answer(Class::ClientError),
                false => policy,
            };
            let group = ground.group(1, PORT);
            let mut config = EndpointConfig::default();
            config.server.unmatched = policy.clone();
            let hosts = MEMBERS.map(|n| stage.member_with(n, &[5683, PORT], config.clone()));
            // The first has the resource, the second only other methods of it, the third nothing.
            let said = |_: &Incoming<'_>, r: &mut Response| r.payload.extend_from_slice(b"1 C");
            let resource = Resource::at("/temperature").observable();
            stage.offer(hosts[0], resource.get(said).group_policy(policy.clone()));
            let put = Resource::at("/temperature").put(|_, _| {}).observable();
            stage.offer(hosts[1], put.group_policy(policy));
            for host in hosts {
                stage.join(host, group);
            }
            stage.settle();
            let security = Security::Unsecured(NoSec::Accepted);
            let request = ObserveRequest::group(get("/temperature"), target(group), security);
            let now = stage.world.now();
            stage.world.endpoint(client).observe(now, request).unwrap();
            stage.run(Duration::from_secs(10));
            let events = std::mem::take(&mut stage.world.node(client).events);
            let mut codes: Vec<_> = events
                .into_iter()
                .filter_map(|(_, event)| match event {
                    Event::Observation(ObservationEvent::Notification(n)) => {
                        Some((number_of(n.from.peer.ip()), n.response.code))
                    }
                    _ => None,
                })
                .collect();
            codes.sort_unstable();
            let errors = [(72, Code::METHOD_NOT_ALLOWED), (73, Code::NOT_FOUND)];
            let errors = errors.into_iter().filter(|_| answering);
            let expected: Vec<_> = [(71, Code::CONTENT)].into_iter().chain(errors).collect();
            assert_eq!(codes, expected, "{ground:?} {answering}");
            let observers: Vec<_> = hosts
                .iter()
                .map(|host| stage.world.endpoint(*host).load().observers)
                .collect();
            assert_eq!(observers, [1, 0, 0]);
        }
    }
}

/// Message IDs are the endpoint's to choose: what an application hands in has none, and what is sent in person never has that of the group request.
// Covers: GC-3.6-07
#[test]
fn no_request_of_an_observation_has_the_message_id_of_another() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        cast.deaf(1, true);
        let mut request = cast.request(get("/temperature"));
        request.repeat = Repeat::NewMessageId(1);
        let id = cast.observe(request);
        cast.run(20);
        cast.deaf(1, false);
        cast.run(60);
        assert_eq!(cast.observers(), [1, 1, 1], "B was followed up in person");
        cast.deaf(1, true);
        cast.end(id);
        cast.run(60);
        let requests = cast.requests();
        let mut ids: Vec<_> = requests.iter().map(|(_, _, mid, ..)| *mid).collect();
        ids.sort_unstable();
        let all = ids.len();
        ids.dedup();
        // What is Confirmable and was not acknowledged is sent again with the same one, which is no other request.
        let again = cast.retransmissions();
        assert_eq!(ids.len() + again, all, "{ground:?}: {requests:?}");
        let in_person = |observe| {
            let of_it = |r: &&(bool, Type, u16, Token, Option<u32>)| !r.0 && r.4 == Some(observe);
            requests.iter().filter(of_it).count()
        };
        assert!(in_person(0) > 0 && in_person(1) > 0, "{requests:?}");
    }
}

impl Cast {
    /// How many of the client's requests are byte for byte what it had sent before to the same place.
    fn retransmissions(&mut self) -> usize {
        let sent = &self.stage.world.node(self.client).sent;
        let mut seen = std::collections::BTreeSet::new();
        let requests = sent.iter().filter(|(_, _, b)| parse(b).code().is_request());
        requests
            .filter(|(_, route, bytes)| !seen.insert((route.destination, bytes.clone())))
            .count()
    }
}
