//! Scenario 16: message exchange example 1 (groupcomm-bis Appendix D).

use std::net::SocketAddr;
use std::time::Duration;

use antiphon_netsim::{HostId, Impairment, NatFilter};
use antiphon_proto::{
    Attributes, EndpointConfig, GroupPacing, GroupPolicy, GroupRequest, Naming, Repeat, Resource,
    SocketId, SocketInfo,
};
use antiphon_tests::stage::{
    CLIENT_PORT, Collected, Datagram, Ground, Stage, Stranger, get, number_of, parse,
};
use antiphon_wire::{Code, MessageId, Type};

const GROUP_PORT: u16 = 61_616;
const PORT_C: u16 = 40_003;
/// The request of the example, byte for byte.
const REQUEST: &[u8] = b"\x51\x01\x7d\x41\x86\xb2gp\x03gp1\x0btemperature";
/// A's answer without the Message ID, which is the server's to choose.
const ANSWER_A: (&[u8], &[u8]) = (b"\x51\x45", b"\x86\xff22.3 C");

struct Cast {
    stage: Stage,
    client: HostId,
    a: HostId,
    b: HostId,
    c: HostId,
}

fn cast(ground: Ground) -> Cast {
    let mut stage = Stage::new(ground, 16);
    let client = stage.client();
    let servers = [(71, "22.3 C"), (72, "20.9 C"), (73, "21.0 C")].map(|(n, temperature)| {
        // A and B have a socket at the group's port; C only one at a port of its own.
        let ports: &[u16] = if n == 73 {
            &[PORT_C]
        } else {
            &[5683, GROUP_PORT]
        };
        let host = stage.member_with(n, ports, EndpointConfig::default());
        let group = stage.join(host, ground.group(1, GROUP_PORT));
        let memberships = stage.server(host).memberships_mut();
        let gp1 = memberships.create_application("gp1", Naming::path(), Attributes::new());
        memberships.relate(gp1.unwrap(), group).unwrap();
        // The texts of the example have no Content-Format.
        let resource = Resource::at("/temperature")
            .in_group("gp1")
            .get(
                move |_: &antiphon_proto::Incoming<'_>, r: &mut antiphon_proto::Response| {
                    r.payload.extend_from_slice(temperature.as_bytes());
                },
            )
            .group_policy(GroupPolicy::respond());
        stage.offer(host, resource);
        host
    });
    stage.settle();
    let [a, b, c] = servers;
    Cast {
        stage,
        client,
        a,
        b,
        c,
    }
}

impl Cast {
    fn question(&self) -> GroupRequest {
        let group = self.stage.ground.group(1, GROUP_PORT);
        self.stage.question(get("/gp/gp1/temperature"), group)
    }

    fn mute(&mut self, host: HostId, mute: bool) {
        let loss = Impairment::none().loss(if mute { 1.0 } else { 0.0 });
        self.stage.world.sim.network_mut().set_egress(host, loss);
    }

    fn stranger(&mut self) -> Stranger {
        self.stage.stranger(98, 50_000)
    }
}

fn temperatures(collected: &Collected) -> Vec<(u16, String)> {
    collected.texts()
}

fn all() -> Vec<(u16, String)> {
    vec![
        (71, "22.3 C".into()),
        (72, "20.9 C".into()),
        (73, "21.0 C".into()),
    ]
}

// Covers: GN-D-01, GC-3.1-20
#[test]
fn the_example_of_appendix_d_with_its_bytes_and_ports() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let stranger = cast.stranger();
        let b = cast.b;
        cast.mute(b, true);
        let group = ground.group(1, GROUP_PORT);
        let heard = cast.stage.provoke(stranger, group, REQUEST);
        let mut seen: Vec<_> = heard.iter().map(|d| (d.src, d.bytes.to_vec())).collect();
        seen.sort_by_key(|(src, _)| number_of(src.ip()));
        let [(from_a, answer_a), (from_c, answer_c)] = &seen[..] else {
            panic!("{seen:?}");
        };
        assert_eq!((number_of(from_a.ip()), from_a.port()), (71, GROUP_PORT));
        assert_eq!(number_of(from_c.ip()), 73);
        assert_eq!(from_c.port(), PORT_C);
        assert_eq!((&answer_a[..2], &answer_a[4..]), ANSWER_A);
        assert_eq!(&answer_c[4..], b"\x86\xff21.0 C");
        // B has answered; its answer is lost.
        assert_eq!(cast.stage.sent(b).len(), 1);
        // The same Message ID once more: everybody has it already, and B's answer stays lost.
        cast.mute(b, false);
        assert_eq!(cast.stage.provoke(stranger, group, REQUEST), []);
        // A new one brings it, and the others again.
        let mut again = REQUEST.to_vec();
        again[3] += 1;
        let heard = cast.stage.provoke(stranger, group, again);
        assert_eq!(heard.len(), 3, "{ground:?}");
    }
}

// Covers: GC-3.1-16
#[test]
fn our_client_sends_the_bytes_of_the_example_and_recovers_a_lost_answer() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let (client, b) = (cast.client, cast.b);
        cast.mute(b, true);
        let mut question = cast.question();
        question.repeat = Repeat::times(1);
        let id = cast.stage.ask(client, question);
        cast.stage.run(Duration::from_millis(5_900));
        let first = cast.stage.collected(client, id);
        assert_eq!(temperatures(&first), [all()[0].clone(), all()[2].clone()]);
        cast.mute(b, false);
        cast.stage.run(Duration::from_secs(60));
        let done = cast.stage.collected(client, id);
        let sent = cast.stage.sent(client);
        assert_eq!(sent.len(), 2);
        for bytes in &sent {
            // Longer tokens than the example's: they must not be guessed.
            let message = parse(bytes);
            assert_eq!(message.token().len(), 8);
            assert_eq!(bytes[0], 0x58);
            assert_eq!(bytes[1], REQUEST[1]);
            assert_eq!(bytes[12..], REQUEST[5..]);
        }
        assert_eq!(parse(&sent[0]).token(), parse(&sent[1]).token());
        assert_eq!(
            parse(&sent[0]).message_id().next(),
            parse(&sent[1]).message_id()
        );
        let mut expected = all();
        expected.extend([all()[0].clone(), all()[2].clone()]);
        expected.sort();
        assert_eq!(temperatures(&done), expected, "{ground:?}");
        let sequences: Vec<_> = done.answers.iter().map(|a| a.sequence).collect();
        assert_eq!(sequences.iter().filter(|s| **s == 2).count(), 2);
    }
}

// Covers: GC-3.1-15
#[test]
fn the_same_message_again_leaves_a_lost_answer_lost() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let (client, b) = (cast.client, cast.b);
        cast.mute(b, true);
        let mut question = cast.question();
        question.repeat = Repeat::SameMessage(2);
        let id = cast.stage.ask(client, question);
        cast.stage.run(Duration::from_millis(5_900));
        cast.mute(b, false);
        cast.stage.run(Duration::from_secs(60));
        let done = cast.stage.collected(client, id);
        assert_eq!(done.who(), [71, 73], "{ground:?}");
        assert_eq!(cast.stage.sent(client).len(), 3);
        assert_eq!(cast.stage.world.endpoint(b).counters().duplicates, 2);
    }
}

#[test]
fn behind_an_address_dependent_filter_an_answer_is_lost_without_an_error() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let client = cast.client;
        let minute = Duration::from_secs(60);
        let network = cast.stage.world.sim.network_mut();
        network.set_nat(client, NatFilter::AddressAndPortDependent, minute);
        // The client has spoken to A and B at the group's port before, and never to C.
        for n in [71, 72] {
            let to = SocketAddr::new(ground.address(n), GROUP_PORT);
            let reliability = antiphon_proto::Reliability::Confirmable;
            let answer = cast
                .stage
                .unicast(client, to, reliability, get("/gp/gp1/temperature"));
            assert_eq!(answer.unwrap().1.code, Code::CONTENT);
        }
        let question = cast.question();
        let done = cast.stage.collect(client, question);
        assert_eq!(done.who(), [71, 72], "{ground:?}");
        assert_eq!(cast.stage.sent(cast.c).len(), 1);
        assert_eq!(cast.stage.world.endpoint(client).counters().send_errors, 0);
    }
}

// Covers: GC-3.1-21, GC-3.1-17
#[test]
fn answers_are_sorted_by_token_when_servers_swap_ports() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let client = cast.client;
        let group = ground.group(1, GROUP_PORT);
        let now = cast.stage.world.now();
        let pacing = GroupPacing::new(2, 1).unwrap();
        let collections = cast.stage.world.endpoint(client).collections_mut();
        collections
            .set_pacing(now, group, None, Some(pacing))
            .unwrap();
        for host in [cast.a, cast.b, cast.c] {
            cast.stage.world.sim.network_mut().take_down(host);
        }
        let odd = cast.stage.stranger(81, 1_001);
        let even = cast.stage.stranger(82, 1_002);
        cast.stage
            .world
            .sim
            .network_mut()
            .bind(odd.host, 1_002)
            .unwrap();
        cast.stage
            .world
            .sim
            .network_mut()
            .bind(even.host, 1_001)
            .unwrap();
        let [first, second] = [(); 2].map(|()| {
            let question = cast.question();
            cast.stage.ask(client, question)
        });
        cast.stage.settle();
        let sent = cast.stage.sent(client);
        let to = SocketAddr::new(ground.address(1), CLIENT_PORT);
        for (n, bytes) in sent.iter().enumerate() {
            let token = parse(bytes).token();
            for (at, who) in [odd, even].into_iter().enumerate() {
                let swapped = Stranger {
                    port: if n == 0 { who.port } else { 2_003 - who.port },
                    ..who
                };
                let text = format!("{n} {at}");
                let answer = Datagram {
                    kind: Type::Non,
                    code: Code::CONTENT,
                    mid: n as u16,
                    token: token.as_bytes(),
                    options: &[],
                    payload: text.as_bytes(),
                };
                cast.stage.say(swapped, to, answer.bytes());
            }
        }
        cast.stage.run(Duration::from_secs(30));
        for (n, id) in [first, second].into_iter().enumerate() {
            let done = cast.stage.collected(client, id);
            let expected = [(81, format!("{n} 0")), (82, format!("{n} 1"))];
            assert_eq!(done.texts(), expected, "{ground:?}");
            // Told apart by source address and port.
            let mut ports: Vec<_> = done.answers.iter().map(|a| a.from.peer.port()).collect();
            ports.sort_unstable();
            assert_eq!(ports, [1_001, 1_002]);
        }
    }
}

// Covers: GC-3.1-22, GC-3.1-01
#[test]
fn an_answer_to_another_port_of_the_client_is_not_delivered() {
    for ground in Ground::ALL {
        let mut cast = cast(ground);
        let client = cast.client;
        let stranger = cast.stranger();
        // A second client on the same host, with a port of its own.
        let other_port = CLIENT_PORT + 1;
        cast.stage
            .world
            .sim
            .network_mut()
            .bind(client, other_port)
            .unwrap();
        let local = SocketAddr::new(ground.address(1), other_port);
        cast.stage.world.node(client).add_unicast(
            SocketId(1),
            SocketInfo {
                local,
                respond_from: None,
            },
        );
        let first = cast.question();
        let mut second = cast.question();
        second.targets[0].socket = SocketId(1);
        second.targets[0].group = ground.group(2, GROUP_PORT);
        let first = cast.stage.ask(client, first);
        let second = cast.stage.ask(client, second);
        cast.stage.settle();
        let sent = cast.stage.world.node(client).sent.clone();
        let sockets: Vec<_> = sent.iter().map(|(_, route, _)| route.socket).collect();
        assert_eq!(sockets, [SocketId(0), SocketId(1)]);
        let ports: Vec<_> = cast
            .stage
            .world
            .node(cast.a)
            .received
            .iter()
            .map(|(_, path, _)| path.peer.port())
            .collect();
        assert_eq!(ports, [CLIENT_PORT]);
        // The right token at the wrong port, both ways.
        for (n, port) in [(0, other_port), (1, CLIENT_PORT)] {
            let token = parse(&sent[n].2).token();
            let answer = Datagram {
                kind: Type::Non,
                code: Code::CONTENT,
                mid: 40 + n as u16,
                token: token.as_bytes(),
                options: &[],
                payload: b"wrong door",
            };
            let bytes = answer.bytes();
            cast.stage
                .say(stranger, SocketAddr::new(ground.address(1), port), bytes);
        }
        cast.stage.run(Duration::from_secs(30));
        assert_eq!(
            cast.stage.collected(client, first).texts(),
            all(),
            "{ground:?}"
        );
        assert_eq!(cast.stage.collected(client, second).texts(), []);
        assert_eq!(cast.stage.world.endpoint(client).counters().unmatched, 2);
    }
}

#[test]
fn the_client_never_uses_one_message_id_for_two_questions() {
    let mut cast = cast(Ground::Site);
    let client = cast.client;
    for _ in 0..50 {
        let question = cast.question();
        assert_eq!(cast.stage.collect(client, question).who().len(), 3);
    }
    let sent = cast.stage.sent(client);
    let mut ids: Vec<MessageId> = sent.iter().map(|b| parse(b).message_id()).collect();
    ids.sort_by_key(|id| id.0);
    ids.dedup();
    assert_eq!(ids.len(), 50);
}
