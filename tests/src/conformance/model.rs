//! Who is in a group, who may ask it, and what is said about it (groupcomm-bis sections 1 and 2).

use std::net::SocketAddr;
use std::time::Duration;

use antiphon_netsim::Interface as NetInterface;
use antiphon_proto::{
    Attributes, EndpointConfig, GroupPolicy, Leisure, Naming, Resource, SecurityGroup,
};
use antiphon_tests::stage::{Datagram, Diary, Ground, Stage, get, parse, uri_request};
use antiphon_wire::{Code, OptionNumber, Uri};

fn status() -> Resource {
    let policy = GroupPolicy::respond().leisure(Leisure::Fixed(Duration::ZERO));
    let handler = Diary::new().handler(Code::CONTENT, "ok");
    Resource::at("/status").get(handler).group_policy(policy)
}

// Covers: GC-2.1.1-04, GC-2.1.2-02, GC-2.2.2-02, GC-2.2.1-12, GN-2.1.3-02
#[test]
fn a_client_that_knows_only_a_group_uri_is_no_member_and_is_answered() {
    for ground in Ground::ALL {
        let mut stage = Stage::new(ground, 1);
        let client = stage.client();
        let group = ground.group(1, 61_616);
        let diary = Diary::new();
        for n in [11, 12] {
            let member = stage.member_with(n, &[5683, 61_616], EndpointConfig::default());
            let coap = stage.join(member, group);
            let memberships = stage.server(member).memberships_mut();
            let gp1 = memberships.create_application("gp1", Naming::path(), Attributes::new());
            memberships.relate(gp1.unwrap(), coap).unwrap();
            let resource = Resource::at("r").in_group("gp1");
            let resource = resource.get(diary.handler(Code::CONTENT, "here"));
            stage.offer(member, resource.group_policy(GroupPolicy::respond()));
        }
        stage.settle();
        // All that the client has: one text.
        let host = match group {
            SocketAddr::V4(v4) => v4.ip().to_string(),
            SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
        };
        let text = format!("coap://{host}:61616/gp/gp1/r");
        let uri = Uri::parse_group(&text).unwrap();
        let to = SocketAddr::new(uri.host.ip().unwrap(), uri.effective_port());
        let question = stage.question(uri_request(Code::GET, &text, to), to);
        let done = stage.collect(client, question);
        assert_eq!(done.who(), [11, 12], "{ground:?}");
        // It listens to no group and serves nothing.
        let network = stage.world.sim.network();
        let interface = NetInterface::new(1);
        assert!(!network.has_joined(client, interface, group.ip()));
        assert!(!network.has_joined(client, interface, ground.all_nodes().ip()));
        let memberships = stage.world.endpoint(client).server().memberships();
        assert_eq!(memberships.listening().count(), 0);
        // Neither question nor answers show anything of a security group.
        let node = stage.world.node(client);
        let received = node.received.iter().map(|(_, _, bytes)| bytes);
        for bytes in node.sent.iter().map(|(_, _, bytes)| bytes).chain(received) {
            let message = parse(bytes);
            assert_eq!(message.option(OptionNumber::OSCORE), None);
            let known = [OptionNumber::URI_PATH, OptionNumber::CONTENT_FORMAT];
            assert!(message.options().all(|o| known.contains(&o.number)));
            assert!(
                !message
                    .payload()
                    .to_ascii_lowercase()
                    .windows(5)
                    .any(|w| w == b"nosec")
            );
        }
        for entry in diary.entries() {
            let tuple = entry.arrival.group.unwrap();
            assert_eq!(tuple.security_group, SecurityGroup::None);
        }
    }
}

// Covers: GN-1.1-01, GC-2.2.2-09
#[test]
fn anyone_may_join_an_unsecured_group_and_anyone_may_ask_it() {
    for ground in Ground::ALL {
        let mut stage = Stage::new(ground, 2);
        let group = ground.group(1, 5683);
        let members = [11, 12, 13].map(|n| {
            let member = stage.member(n);
            stage.join(member, group);
            stage.offer(member, status());
            member
        });
        let strangers = [91, 92].map(|n| stage.stranger(n, 5683));
        stage.settle();
        // Two that are no members ask, and one that is.
        for stranger in strangers {
            let heard = stage.provoke(stranger, group, Datagram::get(1, b"abcd", "status"));
            assert_eq!(heard.len(), 3, "{ground:?}");
        }
        let question = stage.question(get("/status"), group);
        let done = stage.collect(members[0], question);
        let mut others = done.who();
        others.retain(|n| *n != 11); // it hears itself, too
        assert_eq!(others, [12, 13]);
        // Without asking anyone a stranger joins, and receives what is said to the group.
        let network = stage.world.sim.network_mut();
        network
            .join(strangers[0].host, NetInterface::new(1), group.ip())
            .unwrap();
        stage.say(strangers[1], group, Datagram::get(2, b"abcd", "status"));
        stage.settle();
        let heard = stage.heard(strangers[0]);
        assert_eq!(heard.len(), 1);
        assert_eq!(&heard[0].bytes[..], Datagram::get(2, b"abcd", "status"));
    }
}

// Covers: GN-2.1.1-01
#[test]
fn a_node_with_two_endpoints_answers_each_group_from_the_right_one() {
    for ground in Ground::ALL {
        let mut stage = Stage::new(ground, 3);
        let stranger = stage.stranger(91, 40_000);
        // Two endpoints on one address: ports 5683 and 5685, each with a group and a resource of its own.
        let node = stage.member_with(11, &[5683, 5685], EndpointConfig::default());
        let groups = [ground.group(1, 5683), ground.group(2, 5685)];
        for (n, group) in groups.into_iter().enumerate() {
            let coap = stage.join(node, group);
            let name = format!("gp{n}");
            let memberships = stage.server(node).memberships_mut();
            let application =
                memberships.create_application(&name, Naming::Implied, Attributes::new());
            memberships.relate(application.unwrap(), coap).unwrap();
            let handler = Diary::new().handler(Code::CONTENT, &name);
            let policy = GroupPolicy::respond().leisure(Leisure::Fixed(Duration::ZERO));
            let resource = Resource::at("/status").in_group(&name).get(handler);
            stage.offer(node, resource.group_policy(policy));
        }
        stage.settle();
        for (n, group) in groups.into_iter().enumerate() {
            let question = Datagram::get(n as u16, b"abcd", "status");
            let heard = stage.provoke(stranger, group, question);
            assert_eq!(heard.len(), 1, "{ground:?}");
            assert_eq!(heard[0].src.port(), group.port());
            assert_eq!(
                parse(&heard[0].bytes).payload(),
                format!("gp{n}").as_bytes()
            );
        }
        // The port of one group with the address of the other is no group.
        for (address, port) in [(groups[0], 5685), (groups[1], 5683)] {
            let crossed = SocketAddr::new(address.ip(), port);
            let question = Datagram::get(9, b"abcd", "status");
            assert_eq!(stage.provoke(stranger, crossed, question), []);
        }
    }
}
