//! Unprotected errors that somebody else sends (threat 23).

use antiphon_proto::{Event, ExchangeId, Protection, Reliability, Route, SocketId, UnicastRequest};
use antiphon_tests::stage::{self, parse};

use super::*;

/// How the exchange ended: with the code of a response, or otherwise.
fn end(scene: &mut Scene, client: HostId, id: ExchangeId) -> Option<Option<Code>> {
    let events = &scene.stage.world.node(client).events;
    events.iter().find_map(|(_, event)| match event {
        Event::Response {
            exchange, response, ..
        } if *exchange == id => Some(Some(response.code)),
        Event::Failed { exchange, .. } if *exchange == id => Some(None),
        _ => None,
    })
}

/// Asks a server that is slow; before its answer comes, an attacker sends an unprotected one in its name.
fn asked_under_attack(code: Code, protected: bool) -> Option<Option<Code>> {
    let mut scene = Scene::new(1, EndpointConfig::default());
    let host = scene.servers[0];
    let client = scene.stage.world.host(
        "client",
        &[scene.stage.ground.address(5)],
        40_000,
        EndpointConfig::default(),
    );
    let node = scene.stage.world.node(client);
    node.key = Some(secure::key(ASKER));
    let group = secure::group(ASKER, [2], Settings::default());
    let group = node.endpoint.security_mut().add_group(group);
    let slow = Duration::from_millis(500);
    scene.stage.world.node(host).toil = Some(Box::new(move |_| slow));
    // Without protection there is no work for the worker, and so the answer is delayed by never asking for it: the server
    // is told of the request only after the attack.
    let server = scene.server(0);
    let protection = match protected {
        true => Protection::Member {
            group,
            credential: secure::credential(2).bytes().to_vec(),
        },
        false => Protection::None,
    };
    let request = UnicastRequest {
        request: stage::get(if protected { "/r" } else { "/open" }),
        route: Route {
            socket: SocketId(0),
            source: None,
            interface: 1,
            destination: server,
        },
        reliability: Reliability::NonConfirmable,
        response_timeout: None,
        protection,
    };
    let now = scene.stage.world.now();
    let id = scene
        .stage
        .world
        .endpoint(client)
        .request(now, request)
        .unwrap();
    if !protected {
        scene.stage.world.loss(host, 1.0);
    }
    scene.stage.run(Duration::from_millis(100));
    let sent = scene.stage.sent(client);
    let token = parse(sent.last().unwrap()).token().as_bytes().to_vec();
    let forged = Datagram {
        kind: Type::Non,
        code,
        mid: 77,
        token: &token,
        options: &[],
        payload: b"go away",
    };
    scene
        .stage
        .forge(server, scene.address_of(5), forged.bytes());
    scene.stage.run(Duration::from_millis(50));
    let at_once = end(&mut scene, client, id);
    if protected {
        assert_eq!(at_once, None, "it is a hint, and no more");
        let counters = scene.stage.world.endpoint(client).counters();
        assert_eq!(counters.unprotected_responses, 1);
    }
    scene.stage.run(Duration::from_secs(20));
    end(&mut scene, client, id)
}

#[test]
fn threat_23_an_unprotected_error_does_not_end_a_protected_exchange() {
    for code in [
        Code::UNAUTHORIZED,
        Code::BAD_OPTION,
        Code::SERVICE_UNAVAILABLE,
    ] {
        assert_eq!(asked_under_attack(code, true), Some(Some(Code::CONTENT)));
        // The control: without protection the first to speak is believed.
        assert_eq!(asked_under_attack(code, false), Some(Some(code)));
    }
}
