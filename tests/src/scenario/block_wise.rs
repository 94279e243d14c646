//! Scenario 18: message exchange example 3 (groupcomm-bis Appendix D): the log of a group, in blocks.

mod example;
mod lossy;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use antiphon_netsim::{HostId, Impairment};
use antiphon_proto::{
    Amplification, Attributes, EndpointConfig, Expectation, FurtherBlocks, GroupPolicy,
    GroupRequest, Incoming, Leisure, Member, Naming, Request, Resource, Response,
};
use antiphon_tests::stage::{
    CLIENT_PORT, Collected, Datagram, Diary, Ground, Stage, Stranger, get, number_of, parse, put,
};
use antiphon_wire::{BlockValue, Code, Message, OptionNumber, Token, Type};

const GROUP_PORT: u16 = 61_616;
/// PORT_A, PORT_B and PORT_C: each server has one port, of its own.
const SERVERS: [(u16, u16); 3] = [(71, 40_071), (72, 40_072), (73, 40_073)];
/// Block2 0/0/64 in a request.
const BY_64: &[u8] = &[0x02];

/// The log of a server: 64 bytes 0x0a 0x00, 64 bytes 0x0a 0x01, and 40 bytes 0x0a 0x02; and so on for the others.
fn log(server: u8) -> Vec<u8> {
    let blocks = [(0, 32), (1, 32), (2, 20)];
    let blocks = blocks.map(|(block, pairs)| [0x0a + server, block].repeat(pairs));
    blocks.concat()
}

/// The block of a log.
fn block_of(server: u8, block: usize) -> Vec<u8> {
    log(server).chunks(64).nth(block).unwrap().to_vec()
}

struct Cast {
    stage: Stage,
    client: HostId,
    servers: Vec<HostId>,
    logs: Vec<Arc<Mutex<Vec<u8>>>>,
}

/// Three servers in the application group gp1 that answer at once, with at most so many bytes to the group.
fn cast(ground: Ground, limits: [usize; 3]) -> Cast {
    cast_with(ground, limits, EndpointConfig::default())
}

/// The same with servers that are set up like this.
fn cast_with(ground: Ground, limits: [usize; 3], config: EndpointConfig) -> Cast {
    let mut stage = Stage::new(ground, 18);
    let client = stage.client();
    let (mut servers, mut logs) = (Vec::new(), Vec::new());
    for (n, ((number, port), limit)) in (0..).zip(SERVERS.into_iter().zip(limits)) {
        let host = stage.member_with(number, &[port], config.clone());
        let entries = Arc::new(Mutex::new(log(n)));
        serve(&mut stage, host, &entries, limit);
        servers.push(host);
        logs.push(entries);
    }
    stage.settle();
    Cast {
        stage,
        client,
        servers,
        logs,
    }
}

/// A log of a member of the application group.
fn serve(stage: &mut Stage, host: HostId, entries: &Arc<Mutex<Vec<u8>>>, limit: usize) {
    let group = stage.join(host, stage.ground.group(1, GROUP_PORT));
    let memberships = stage.server(host).memberships_mut();
    let gp1 = memberships.create_application("gp1", Naming::path(), Attributes::new());
    memberships.relate(gp1.unwrap(), group).unwrap();
    let said = Arc::clone(entries);
    let policy = GroupPolicy::respond()
        .leisure(Leisure::Fixed(Duration::ZERO))
        .amplification(Amplification::Unlimited)
        .limit(limit);
    let resource = Resource::at("/log")
        .in_group("gp1")
        .get(move |_: &Incoming<'_>, r: &mut Response| {
            r.payload.extend_from_slice(&said.lock().unwrap());
        })
        .group_policy(policy);
    stage.offer(host, resource);
}

/// A request of the client: by multicast or to which server, type, token, block.
#[derive(Debug)]
struct Asked {
    to: Option<u16>,
    port: u16,
    kind: Type,
    token: Token,
    block: Option<(u32, usize)>,
    bytes: Vec<u8>,
}

impl Cast {
    fn question(&self, request: Request) -> GroupRequest {
        let ground = self.stage.ground;
        let group = ground.group(1, GROUP_PORT);
        let mut question = self.stage.question(request, group);
        let mut expect = Expectation::nobody();
        for (n, port) in SERVERS {
            let address = SocketAddr::new(ground.address(n), port);
            expect.add(Member::named(format!("server {n}")).at(address));
        }
        question.expect = expect;
        question
    }

    /// GET /gp/gp1/log with Block2 0/0/64.
    fn by_64(&self) -> GroupRequest {
        self.question(get("/gp/gp1/log").option(OptionNumber::BLOCK2, BY_64))
    }

    fn asked(&mut self) -> Vec<Asked> {
        let sent = &self.stage.world.node(self.client).sent;
        let requests = sent.iter().filter_map(|(_, route, bytes)| {
            let message = parse(bytes);
            message.code().is_request().then(|| Asked {
                to: (!route.is_multicast()).then(|| number_of(route.destination.ip())),
                port: route.destination.port(),
                kind: message.kind(),
                token: message.token(),
                block: block2(&message).map(|(number, _, size)| (number, size)),
                bytes: bytes.clone(),
            })
        });
        requests.collect()
    }

    /// What was asked of one server alone.
    fn asked_of(&mut self, server: u16) -> Vec<Option<(u32, usize)>> {
        let asked = self.asked().into_iter();
        asked
            .filter(|asked| asked.to == Some(server))
            .map(|asked| asked.block)
            .collect()
    }

    fn deaf(&mut self, server: usize, deaf: bool) {
        let loss = Impairment::none().loss(if deaf { 1.0 } else { 0.0 });
        let network = self.stage.world.sim.network_mut();
        network.set_ingress(self.servers[server], loss);
    }

    /// Whatever was sent before: the next question is answered by all, with all there is.
    fn goes_on(&mut self) {
        let question = self.by_64();
        let done = self.stage.collect(self.client, question);
        assert_eq!(bodies(&done), logs());
    }
}

fn block2(message: &Message<'_>) -> Option<(u32, bool, usize)> {
    let value = message.option(OptionNumber::BLOCK2)?;
    let block = BlockValue::decode(value).unwrap();
    Some((block.num(), block.more(), block.size()))
}

/// Who has given which body, ascending.
fn bodies(done: &Collected) -> Vec<(u16, Vec<u8>)> {
    let answers = done.answers.iter().map(|answer| {
        assert_eq!(answer.response.code, Code::CONTENT);
        let whole = answer.response.options.get(OptionNumber::BLOCK2);
        assert_eq!(whole, None, "one answer, not its blocks");
        let from = number_of(answer.from.peer.ip());
        (from, answer.response.payload.clone())
    });
    let mut bodies: Vec<_> = answers.collect();
    bodies.sort();
    bodies
}

fn logs() -> Vec<(u16, Vec<u8>)> {
    let logs = (0..).zip(SERVERS);
    logs.map(|(n, (number, _))| (number, log(n))).collect()
}

// Covers: GN-D-03, GC-3.7-01, GC-3.7-03
#[test]
fn the_logs_of_a_group_arrive_whole_after_one_group_request() {
    for ground in Ground::ALL {
        let mut cast = cast(ground, [64; 3]);
        let question = cast.by_64();
        let done = cast.stage.collect(cast.client, question);
        assert_eq!(bodies(&done), logs(), "{ground:?}");
        assert!(done.outcome().is_complete());
        let asked = cast.asked();
        assert_eq!((asked[0].to, asked[0].kind), (None, Type::Non));
        assert_eq!(asked[0].block, Some((0, 64)));
        assert_eq!(asked.len(), 1 + 3 * 2);
        let mut tokens: Vec<_> = asked.iter().map(|asked| asked.token).collect();
        tokens.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        tokens.dedup();
        assert_eq!(tokens.len(), asked.len(), "new tokens");
        for ((number, port), server) in SERVERS.into_iter().zip(cast.servers.clone()) {
            assert_eq!(cast.asked_of(number), [Some((1, 64)), Some((2, 64))]);
            let asked = cast.asked();
            let of_it = asked.iter().filter(|asked| asked.to == Some(number));
            for asked in of_it {
                assert_eq!((asked.kind, asked.port), (Type::Con, port), "its own port");
            }
            let said = cast.stage.sent(server);
            let said: Vec<_> = said.iter().map(|bytes| parse(bytes)).collect();
            let blocks: Vec<_> = said
                .iter()
                .map(|m| (m.kind(), block2(m).unwrap()))
                .collect();
            assert_eq!(
                blocks,
                [
                    (Type::Non, (0, true, 64)),
                    (Type::Ack, (1, true, 64)),
                    (Type::Ack, (2, false, 64)),
                ]
            );
        }
    }
}

// Covers: GN-3.8-01
#[test]
fn where_all_sizes_agree_the_group_can_be_asked_for_the_further_blocks() {
    for ground in Ground::ALL {
        let mut cast = cast(ground, [64; 3]);
        let mut question = cast.by_64();
        question.blocks = FurtherBlocks::Group;
        let done = cast.stage.collect(cast.client, question);
        assert_eq!(bodies(&done), logs(), "{ground:?}");
        let asked = cast.asked();
        let asked: Vec<_> = asked.iter().map(|a| (a.to, a.kind, a.block)).collect();
        let block = |number| (None, Type::Non, Some((number, 64)));
        assert_eq!(asked, [block(0), block(1), block(2)]);
    }
}

// Covers: GN-3.8-02
#[test]
fn servers_with_different_sizes_are_asked_by_unicast_or_together_for_the_smallest() {
    for ground in Ground::ALL {
        // They start block-wise by themselves: the request says nothing of blocks.
        for blocks in [FurtherBlocks::Unicast, FurtherBlocks::Group] {
            let mut cast = cast(ground, [64, 32, 16]);
            let mut question = cast.question(get("/gp/gp1/log"));
            question.blocks = blocks;
            let done = cast.stage.collect(cast.client, question);
            assert_eq!(bodies(&done), logs(), "{ground:?} {blocks:?}");
            let first = cast.servers.clone().into_iter().map(|server| {
                let said = cast.stage.sent(server);
                block2(&parse(&said[0])).unwrap()
            });
            let first: Vec<_> = first.collect();
            assert_eq!(first, [(0, true, 64), (0, true, 32), (0, true, 16)]);
            let alone = SERVERS.map(|(number, _)| cast.asked_of(number));
            let group: Vec<_> = cast
                .asked()
                .into_iter()
                .filter(|a| a.to.is_none())
                .collect();
            if blocks == FurtherBlocks::Unicast {
                let sizes = [64, 32, 16]
                    .map(|size| (1..=167 / size).map(move |n| Some((n, size as usize))));
                assert_eq!(alone, sizes.map(|blocks| blocks.collect::<Vec<_>>()));
                assert_eq!(group.len(), 1);
            } else {
                let sizes: Vec<_> = group[1..].iter().map(|a| a.block.unwrap().1).collect();
                assert!(
                    !sizes.is_empty() && sizes.iter().all(|size| *size == 16),
                    "{sizes:?}"
                );
            }
        }
        // Asked for 64 bytes, they give less, and are then asked one by one.
        let mut cast = cast(ground, [64, 32, 16]);
        let mut question = cast.by_64();
        question.blocks = FurtherBlocks::Group;
        let done = cast.stage.collect(cast.client, question);
        assert_eq!(bodies(&done), logs(), "{ground:?}");
        let group = cast.asked().into_iter().filter(|asked| asked.to.is_none());
        assert_eq!(group.count(), 1);
    }
}

#[test]
fn a_part_that_is_lost_comes_by_the_retransmission_of_its_request() {
    for ground in Ground::ALL {
        let mut cast = cast(ground, [64; 3]);
        let question = cast.by_64();
        let id = cast.stage.ask(cast.client, question);
        // The first blocks are there, the second ones under way.
        cast.stage.run(Duration::from_micros(2_500));
        cast.deaf(1, true);
        cast.stage.run(Duration::from_secs(1));
        cast.deaf(1, false);
        cast.stage.run(Duration::from_secs(60));
        let done = cast.stage.collected(cast.client, id);
        assert_eq!(bodies(&done), logs(), "{ground:?}");
        assert!(done.outcome().is_complete());
        let asked = cast.asked();
        let of_b: Vec<_> = asked.iter().filter(|a| a.to == Some(72)).collect();
        let blocks: Vec<_> = of_b.iter().map(|a| a.block.unwrap().0).collect();
        assert_eq!(blocks, [1, 2, 2]);
        assert_eq!(of_b[1].bytes, of_b[2].bytes, "the same message");
        assert_eq!(cast.asked_of(71).len(), 2, "the others are not held up");
    }
}

// Covers: GN-3.8-04
#[test]
fn q_block2_by_multicast_is_ignored() {
    for ground in Ground::ALL {
        let mut cast = cast(ground, [64; 3]);
        let stranger = cast.stage.stranger(98, 50_000);
        let log = get_log(&[(OptionNumber(31), BY_64)]);
        let group = ground.group(1, GROUP_PORT);
        assert_eq!(cast.stage.provoke(stranger, group, log), [], "{ground:?}");
        cast.goes_on();
    }
}

/// A Non-confirmable GET of the log with these options after the path.
fn get_log(options: &[(OptionNumber, &[u8])]) -> Vec<u8> {
    let path = [&b"gp"[..], b"gp1", b"log"];
    let path = path.map(|segment| (OptionNumber::URI_PATH, segment));
    Datagram {
        kind: Type::Non,
        code: Code::GET,
        mid: 0x4000,
        token: b"t",
        options: &[&path[..], options].concat(),
        payload: b"",
    }
    .bytes()
}

// Covers: GC-3.7-05
#[test]
fn block1_by_multicast_is_neither_sent_nor_put_together() {
    for ground in Ground::ALL {
        let mut stage = Stage::new(ground, 18);
        let client = stage.client();
        let stranger = stage.stranger(98, 50_000);
        let member = stage.member(71);
        let diary = Diary::new();
        let policy = GroupPolicy::respond().leisure(Leisure::Fixed(Duration::ZERO));
        let resource = Resource::at("/log").put(diary.handler(Code::CHANGED, ""));
        stage.offer(member, resource.group_policy(policy));
        stage.settle();
        // Block 0 of two, block 1, which is the last, and a body that is whole with its only block.
        for (mid, block) in (0..).zip([0x0a_u8, 0x12, 0x02]) {
            let length = if block == 0x0a { 64 } else { 10 };
            let block = Datagram {
                kind: Type::Non,
                code: Code::PUT,
                mid,
                token: b"t",
                options: &[
                    (OptionNumber::URI_PATH, b"log"),
                    (OptionNumber::BLOCK1, &[block]),
                ],
                payload: &vec![b'x'; length],
            };
            let heard = stage.provoke(stranger, ground.all_nodes(), block.bytes());
            assert_eq!(heard, [], "{ground:?}");
        }
        assert!(diary.is_empty());
        // Ours sends none, whatever the application says.
        let blocked = put("/log", "x").option(OptionNumber::BLOCK1, &[0x0a]);
        let question = stage.question(blocked, ground.all_nodes());
        let now = stage.world.now();
        let refused = stage.world.endpoint(client).collect(now, question);
        assert!(refused.is_err(), "{refused:?}");
        assert!(stage.sent(client).is_empty());
        // Nor does it cut a body that is large by itself.
        let large = put("/log", &"x".repeat(1_100));
        let question = stage.question(large, ground.all_nodes());
        assert_eq!(
            stage.collect(client, question).codes(),
            [(71, Code::CHANGED)]
        );
        let sent = stage.sent(client);
        assert_eq!(sent.len(), 1);
        assert_eq!(parse(&sent[0]).option(OptionNumber::BLOCK1), None);
        assert_eq!(diary.entries()[0].payload, vec![b'x'; 1_100]);
        // The next valid request is processed.
        let question = stage.question(put("/log", "x"), ground.all_nodes());
        assert_eq!(
            stage.collect(client, question).codes(),
            [(71, Code::CHANGED)]
        );
        assert_eq!(diary.len(), 2);
        assert_eq!(diary.entries()[1].payload, b"x");
    }
}

#[test]
fn a_block_behind_the_end_is_refused_by_unicast() {
    for ground in Ground::ALL {
        let mut cast = cast(ground, [64; 3]);
        let stranger = cast.stage.stranger(98, 50_000);
        let (number, port) = SERVERS[0];
        let to = SocketAddr::new(ground.address(number), port);
        for (mid, block, code) in [
            (1, [0x22], Code::CONTENT),
            (2, [0x32], Code::BAD_REQUEST),
            (3, [0xf2], Code::BAD_REQUEST),
        ] {
            let mut asked = get_log(&[(OptionNumber::BLOCK2, &block)]);
            asked[0] &= 0b1100_1111; // Confirmable
            asked[3] = mid;
            let heard = cast.stage.provoke(stranger, to, asked);
            let [answer] = &heard[..] else {
                panic!("{heard:?}")
            };
            let answer = parse(&answer.bytes);
            assert_eq!(
                (answer.kind(), answer.code()),
                (Type::Ack, code),
                "{block:?}"
            );
        }
        cast.goes_on();
    }
}

// Covers: GC-3.7-03
#[test]
fn a_change_between_blocks_begins_anew_with_that_server_only() {
    for ground in Ground::ALL {
        // They keep nothing: each block is cut from what there is when it is asked for.
        let mut config = EndpointConfig::default();
        config.server.blocks.kept = 0;
        let mut cast = cast_with(ground, [64; 3], config);
        let question = cast.by_64();
        let id = cast.stage.ask(cast.client, question);
        // The first blocks are there, and what is asked for next is under way.
        cast.stage.run(Duration::from_micros(2_500));
        *cast.logs[1].lock().unwrap() = b"anew".repeat(40);
        cast.stage.run(Duration::from_secs(60));
        let done = cast.stage.collected(cast.client, id);
        let mut expected = logs();
        expected[1].1 = b"anew".repeat(40);
        assert_eq!(bodies(&done), expected, "{ground:?}");
        let of_b = cast.asked_of(72).into_iter().flatten();
        let of_b: Vec<_> = of_b.map(|(number, _)| number).collect();
        assert_eq!(of_b, [1, 0, 1, 2], "from the beginning");
        for other in [71, 73] {
            assert_eq!(cast.asked_of(other), [Some((1, 64)), Some((2, 64))]);
        }
    }
}
