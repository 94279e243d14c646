//! What carries group requests (groupcomm-bis section 3.9).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use antiphon_proto::{
    CoapGroupSpec, CollectError, Endpoint, EndpointConfig, Event, GroupPolicy, Instant, Interface,
    Leisure, ListenChange, Listening, Path, Resource, SocketId, SocketInfo,
};
use antiphon_tests::sim::World;
use antiphon_tests::stage::{Datagram, Diary, Ground, INTERFACE, Stage, get};
use antiphon_wire::{Code, OptionNumber, Type, Uri, UriErrorKind};

// Covers: GC-3.8-01, GC-1.1-01
#[test]
fn a_group_is_asked_by_udp_and_by_nothing_else() {
    for scheme in ["coap+tcp", "coaps+tcp", "coap+ws", "coaps+ws", "coaps"] {
        for host in ["[ff05::1:2]", "224.0.1.187", "grp.example"] {
            let uri = format!("{scheme}://{host}/r");
            let error = Uri::parse_group(&uri).unwrap_err();
            assert_eq!(error.kind, UriErrorKind::GroupScheme, "{uri}");
        }
    }
    for uri in ["coap+sms://15105550101/r", "http://[ff05::1:2]/r"] {
        assert!(Uri::parse_group(uri).is_err());
    }
    // By UDP multicast in both families.
    for ground in [Ground::Site, Ground::V4] {
        let mut stage = Stage::new(ground, 1);
        let client = stage.client();
        let member = stage.member(11);
        let handler = Diary::new().handler(Code::CONTENT, "1");
        stage.offer(
            member,
            Resource::at("/r")
                .get(handler)
                .group_policy(GroupPolicy::respond()),
        );
        stage.settle();
        let question = stage.question(get("/r"), ground.all_nodes());
        assert_eq!(stage.collect(client, question).who(), [11]);
        // A unicast or broadcast destination is no group.
        for ip in [ground.address(11), IpAddr::V4(Ipv4Addr::BROADCAST)] {
            let to = SocketAddr::new(ip, 5683);
            let now = stage.world.now();
            let question = stage.question(get("/r"), to);
            let refused = stage.world.endpoint(client).collect(now, question);
            assert_eq!(refused, Err(CollectError::NotAGroup(to)));
        }
    }
}

// Covers: GC-3.8.1-01, GC-3.9.1-03
#[test]
fn a_group_that_cannot_be_joined_is_told_tried_again_and_stops_nobody() {
    // A host with nothing but IPv4 is asked to join groups of both families.
    let mut world = World::new(2);
    let config = EndpointConfig::default();
    let host = world.host("member", &[Ground::V4.address(11)], 5683, config);
    let client = {
        let config = EndpointConfig::default();
        world.host("client", &[Ground::V4.address(1)], 40_001, config)
    };
    let mut stage = Stage::new(Ground::V4, 2);
    stage.world = world;
    let interface = Interface {
        ipv6: false,
        ..Interface::new(INTERFACE)
    };
    let memberships = stage.server(host).memberships_mut();
    memberships.set_interface(interface).unwrap();
    let group = Ground::Site.group(1, 5683);
    let spec = CoapGroupSpec::new(group).on(INTERFACE).unsecured();
    memberships.create(spec).unwrap();
    let handler = Diary::new().handler(Code::CONTENT, "1");
    stage.offer(
        host,
        Resource::at("/r")
            .get(handler)
            .group_policy(GroupPolicy::respond()),
    );
    stage.run(Duration::from_secs(10));
    let events = &stage.world.node(host).events;
    let told: Vec<_> = events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::Membership(event) if event.group == group => match event.change {
                ListenChange::JoinFailed { retry_in, .. } => Some(retry_in.as_secs()),
                other => panic!("{other:?}"),
            },
            _ => None,
        })
        .collect();
    assert_eq!(
        told,
        [1, 2, 4, 8],
        "told each time, at longer and longer intervals"
    );
    let standing: Vec<_> = stage.server(host).memberships().listening().collect();
    assert!(
        standing
            .iter()
            .any(|(g, _, s)| *g == group && matches!(s, Listening::Failed { .. }))
    );
    assert!(standing.contains(&(Ground::V4.all_nodes(), INTERFACE, Listening::Joined)));
    // The server answers where it could join.
    let question = stage.question(get("/r"), Ground::V4.all_nodes());
    assert_eq!(stage.collect(client, question).who(), [11]);
}

// Covers: GN-3.9.5-01
#[test]
fn a_broadcast_is_under_the_rules_of_a_multicast() {
    let mut endpoint = Endpoint::new(EndpointConfig::default(), [1; 32]);
    let me: SocketAddr = ([10, 0, 0, 1], 5683).into();
    let info = SocketInfo {
        local: me,
        respond_from: None,
    };
    endpoint.add_socket(SocketId(0), info);
    let diary = Diary::new();
    let policy = GroupPolicy::respond().leisure(Leisure::Fixed(Duration::ZERO));
    let resource = Resource::at("/r").get(diary.handler(Code::CONTENT, "1"));
    let resource = resource.group_policy(policy);
    let open = antiphon_proto::Access::Unsecured;
    let server = endpoint.server_mut();
    server.set_nosec(antiphon_proto::NoSecPolicy::Stated);
    server.add(resource.access(open)).unwrap();
    let mut answers = |local: SocketAddr, bytes: &[u8]| {
        let path = Path {
            socket: SocketId(0),
            local,
            interface: 1,
            peer: ([10, 0, 0, 2], 40_000).into(),
        };
        endpoint.handle_datagram(Instant::ZERO, path, bytes);
        let mut out = Vec::new();
        core::iter::from_fn(|| endpoint.poll_transmit(Instant::ZERO, &mut out)).count()
    };
    let message = |kind, mid, options: &[(OptionNumber, &[u8])]| {
        Datagram {
            kind,
            code: Code::GET,
            mid,
            token: b"abcd",
            options,
            payload: b"",
        }
        .bytes()
    };
    let known = [(OptionNumber::URI_PATH, &b"r"[..])];
    let unknown = [(OptionNumber::URI_PATH, &b"x"[..])];
    let critical = [(OptionNumber(65_001), &b""[..])];
    let broadcast = SocketAddr::new(Ipv4Addr::BROADCAST.into(), 5683);
    for bytes in [
        message(Type::Con, 1, &known),    // not Non-confirmable
        message(Type::Non, 2, &known),    // to a group that was never joined
        message(Type::Non, 3, &unknown),  // an error
        message(Type::Non, 4, &critical), // an error
        b"\x40\x01\x00\x05\xff".to_vec(), // malformed
        b"\x40\x00\x00\x06".to_vec(),     // a ping
        b"\x60\x45\x00\x07".to_vec(),     // a response
    ] {
        assert_eq!(answers(broadcast, &bytes), 0, "{bytes:?}");
    }
    // By unicast each Confirmable one of them has an answer.
    for bytes in [
        message(Type::Con, 11, &known),
        message(Type::Con, 12, &unknown),
        message(Type::Con, 13, &critical),
        b"\x40\x01\x00\x0e\xff".to_vec(),
        b"\x40\x00\x00\x0f".to_vec(),
    ] {
        assert_eq!(answers(me, &bytes), 1, "{bytes:?}");
    }
    assert_eq!(diary.len(), 1);
}
