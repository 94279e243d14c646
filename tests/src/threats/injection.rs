//! Messages that somebody else sends, or sends too late (threats 17 and 23).

use antiphon_proto::{
    Event, ExchangeId, GroupId, Protection, Reliability, Route, SocketId, UnicastRequest,
};
use antiphon_tests::stage::{self, parse};

use super::*;

/// A member that asks one server, which is slow.
struct Asking {
    scene: Scene,
    client: HostId,
    group: GroupId,
}

impl Asking {
    fn new() -> Asking {
        let mut scene = Scene::new(1, EndpointConfig::default());
        let addresses = [scene.stage.ground.address(5)];
        let config = EndpointConfig::default();
        let world = &mut scene.stage.world;
        let client = world.host("client", &addresses, 40_000, config);
        let node = world.node(client);
        node.key = Some(secure::key(ASKER));
        let group = secure::group(ASKER, [2], Settings::default());
        let group = node.endpoint.security_mut().add_group(group);
        let slow = Duration::from_millis(500);
        world.node(scene.servers[0]).toil = Some(Box::new(move |_| slow));
        Asking {
            scene,
            client,
            group,
        }
    }

    /// Asks, and lets so little time pass that no answer has come.
    fn ask(&mut self, path: &str, protection: Protection) -> ExchangeId {
        let request = UnicastRequest {
            request: stage::get(path),
            route: Route {
                socket: SocketId(0),
                source: None,
                interface: stage::INTERFACE,
                destination: self.scene.server(0),
            },
            reliability: Reliability::NonConfirmable,
            response_timeout: None,
            protection,
        };
        let world = &mut self.scene.stage.world;
        let now = world.now();
        let id = world.endpoint(self.client).request(now, request).unwrap();
        self.scene.stage.run(Duration::from_millis(100));
        id
    }

    fn member(&self) -> Protection {
        Protection::Member {
            group: self.group,
            credential: secure::credential(2).bytes().to_vec(),
        }
    }

    /// How an exchange ended: with which response, or otherwise.
    fn end(&mut self, id: ExchangeId) -> Option<Option<(Code, Vec<u8>)>> {
        let events = &self.scene.stage.world.node(self.client).events;
        events.iter().find_map(|(_, event)| match event {
            Event::Response {
                exchange, response, ..
            } if *exchange == id => Some(Some((response.code, response.payload.to_vec()))),
            Event::Failed { exchange, .. } if *exchange == id => Some(None),
            _ => None,
        })
    }

    /// Sends to the client in the name of the server.
    fn forge(&mut self, bytes: Vec<u8>) {
        let (server, client) = (self.scene.server(0), self.scene.address_of(5));
        self.scene.stage.forge(server, client, bytes);
        self.scene.stage.run(Duration::from_millis(50));
    }

    /// Responses that were opened so far.
    fn opened(&mut self) -> u64 {
        let endpoint = self.scene.stage.world.endpoint(self.client);
        endpoint.counters().security.responses
    }
}

/// Before the answer comes, an attacker sends an unprotected one in the name of the server.
fn asked_under_attack(code: Code, protected: bool) -> Option<Option<(Code, Vec<u8>)>> {
    let mut asking = Asking::new();
    let id = match protected {
        true => asking.ask("/r", asking.member()),
        false => {
            // Nobody is slow here; so that the attacker is the first, the request is lost.
            let host = asking.scene.servers[0];
            asking.scene.stage.world.loss(host, 1.0);
            asking.ask("/open", Protection::None)
        }
    };
    let sent = asking.scene.stage.sent(asking.client);
    let token = parse(sent.last().unwrap()).token().as_bytes().to_vec();
    let forged = Datagram {
        kind: Type::Non,
        code,
        mid: 77,
        token: &token,
        options: &[],
        payload: b"go away",
    };
    asking.forge(forged.bytes());
    if protected {
        assert_eq!(asking.end(id), None, "it is a hint, and no more");
        let counters = asking.scene.stage.world.endpoint(asking.client).counters();
        assert_eq!(counters.unprotected_responses, 1);
    }
    asking.scene.stage.run(Duration::from_secs(20));
    asking.end(id)
}

// Covers: GO-B-8.4-02
#[test]
fn threat_23_an_unprotected_response_does_not_end_a_protected_exchange() {
    for code in [
        Code::UNAUTHORIZED,
        Code::BAD_OPTION,
        Code::SERVICE_UNAVAILABLE,
        Code::CONTENT,
    ] {
        let genuine = (Code::CONTENT, b"1".to_vec());
        assert_eq!(asked_under_attack(code, true), Some(Some(genuine)));
        // The control: without protection the first to speak is believed.
        let forged = (code, b"go away".to_vec());
        assert_eq!(asked_under_attack(code, false), Some(Some(forged)));
    }
}

// Covers: GO-1.1-02, GO-B-8.4-01
#[test]
fn threat_17_a_response_under_a_token_that_nobody_waits_for_is_dropped() {
    let genuine = |asking: &mut Asking| {
        let node = asking.scene.stage.world.node(asking.client);
        node.received.last().unwrap().2.clone()
    };
    // In group mode, where the exchange stays open for more than one response.
    let mut asking = Asking::new();
    let id = asking.ask("/r", Protection::Group(asking.group));
    let world = &mut asking.scene.stage.world;
    let now = world.now();
    world.endpoint(asking.client).cancel(now, id);
    // Long enough that the next request is not held back for the sake of this one.
    asking.scene.stage.run(Duration::from_secs(600));
    let mut late = genuine(&mut asking);
    late[2] ^= 0x40; // not a duplicate
    assert!(parse(&late).option(OptionNumber::OSCORE).is_some());
    assert_eq!((asking.end(id), asking.opened()), (None, 0));
    // Another request is under way, and this response is not for its token.
    let next = asking.ask("/r", Protection::Group(asking.group));
    asking.forge(late);
    assert_eq!((asking.end(next), asking.opened()), (None, 0));
    asking.scene.stage.run(Duration::from_secs(20));
    let answer = Some(Some((Code::CONTENT, b"1".to_vec())));
    assert_eq!((asking.end(next), asking.opened()), (answer, 1));
    // The control: whoever waits for it gets it.
    let mut waiting = Asking::new();
    let id = waiting.ask("/r", Protection::Group(waiting.group));
    waiting.scene.stage.run(Duration::from_secs(20));
    assert!(matches!(waiting.end(id), Some(Some((Code::CONTENT, _)))));
    assert_eq!(waiting.opened(), 1);
}
