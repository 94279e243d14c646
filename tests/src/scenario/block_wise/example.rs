//! The figure of groupcomm-bis Appendix D with its tokens, Message IDs and option values. Where the figure has `Code=4.04` in the first
//! answer of C, 2.05 is meant, as beside it; where a request for block 2 of B goes to ADDR_C, ADDR_B is.

use super::*;

/// The group request, byte for byte: Token 0x86, Block2 0/0/64.
const REQUEST: &[u8] = b"\x51\x01\x7d\x41\x86\xb2gp\x03gp1\x03log\xc1\x02";

/// The requests in person: to which server, Message ID, token, Block2, and Block2 of the answer.
const FURTHER: [(usize, u8, u8, u8, u8); 6] = [
    (0, 0x42, 0xa6, 0x12, 0x1a),
    (0, 0x43, 0xa7, 0x22, 0x22),
    (1, 0x44, 0xb6, 0x12, 0x1a),
    (1, 0x45, 0xb7, 0x22, 0x22),
    (2, 0x46, 0xc6, 0x12, 0x1a),
    (2, 0x47, 0xc7, 0x22, 0x22),
];

// Covers: GN-D-03
#[test]
fn our_servers_answer_the_bytes_of_the_figure() {
    for ground in Ground::ALL {
        let mut cast = cast(ground, [64; 3]);
        let client = cast.stage.stranger(98, 50_000);
        let heard = cast
            .stage
            .provoke(client, ground.group(1, GROUP_PORT), REQUEST);
        let mut first: Vec<_> = heard.iter().map(|d| (d.src, d.bytes.to_vec())).collect();
        first.sort_by_key(|(from, _)| number_of(from.ip()));
        assert_eq!(first.len(), 3, "{ground:?}");
        for (n, (from, bytes)) in (0_u8..).zip(&first) {
            let (number, port) = SERVERS[usize::from(n)];
            assert_eq!((number_of(from.ip()), from.port()), (number, port));
            let answer = parse(bytes);
            assert_eq!((answer.kind(), answer.code()), (Type::Non, Code::CONTENT));
            assert_eq!(answer.token().as_bytes(), [0x86]);
            assert_eq!(answer.option(OptionNumber::BLOCK2), Some(&[0x0a][..]));
            assert_eq!(answer.payload(), block_of(n, 0));
        }
        for (server, mid, token, asked, answered) in FURTHER {
            let mut request = REQUEST.to_vec();
            (request[0], request[3], request[4]) = (0x41, mid, token);
            *request.last_mut().unwrap() = asked;
            let to = first[server].0;
            let heard = cast.stage.provoke(client, to, request);
            let [answer] = &heard[..] else {
                panic!("{heard:?}")
            };
            assert_eq!(answer.src, to);
            // An Acknowledgement with the request's Message ID and token: 2.05.
            assert_eq!(answer.bytes[..5], [0x61, 0x45, 0x7d, mid, token]);
            let answer = parse(&answer.bytes);
            assert_eq!(answer.option(OptionNumber::BLOCK2), Some(&[answered][..]));
            let block = usize::from(asked >> 4);
            assert_eq!(answer.payload(), block_of(server as u8, block));
        }
    }
}

/// Message IDs of the first answers.
const MIDS: [u16; 3] = [0x60b1, 0x01a0, 0x952a];

// Covers: GN-D-03
#[test]
fn our_client_goes_on_as_the_figure_shows() {
    for ground in Ground::ALL {
        let mut stage = Stage::new(ground, 18);
        let client = stage.client();
        let servers = SERVERS.map(|(number, port)| stage.stranger(number, port));
        let request = get("/gp/gp1/log").option(OptionNumber::BLOCK2, BY_64);
        let question = stage.question(request, ground.group(1, GROUP_PORT));
        let id = stage.ask(client, question);
        stage.settle();
        let sent = stage.sent(client);
        assert_eq!(sent.len(), 1);
        // Its token is longer than the figure's: it must not be guessed.
        assert_eq!((sent[0][0], sent[0][1]), (0x58, REQUEST[1]));
        assert_eq!(sent[0][12..], REQUEST[5..]);
        let token = parse(&sent[0]).token();
        for (n, server) in (0_u8..).zip(servers) {
            let mid = MIDS[usize::from(n)];
            say(
                &mut stage,
                server,
                Type::Non,
                mid,
                token,
                0x0a,
                &block_of(n, 0),
            );
        }
        let mut asked = Vec::new();
        let mut tokens = vec![token];
        for _ in 0..2 {
            stage.run(Duration::from_millis(10));
            for (n, server) in (0_u8..).zip(servers) {
                for heard in stage.heard(server) {
                    let request = parse(&heard.bytes);
                    assert_eq!((request.kind(), request.code()), (Type::Con, Code::GET));
                    assert!(!tokens.contains(&request.token()), "a new one");
                    tokens.push(request.token());
                    // All that is behind the token is the figure's.
                    let [value] = *request.option(OptionNumber::BLOCK2).unwrap() else {
                        panic!("{request:?}")
                    };
                    let mut options = REQUEST[5..].to_vec();
                    *options.last_mut().unwrap() = value;
                    assert_eq!(heard.bytes[12..], options);
                    asked.push((usize::from(n), value));
                    let (_, _, _, _, answered) = FURTHER
                        .into_iter()
                        .find(|further| (further.0, further.3) == (usize::from(n), value))
                        .expect("a block of the figure");
                    let block = block_of(n, usize::from(value >> 4));
                    let (mid, token) = (request.message_id().0, request.token());
                    say(&mut stage, server, Type::Ack, mid, token, answered, &block);
                }
            }
        }
        asked.sort_unstable();
        assert_eq!(asked, FURTHER.map(|further| (further.0, further.3)));
        stage.run(Duration::from_secs(30));
        let done = stage.collected(client, id);
        assert_eq!(bodies(&done), logs(), "{ground:?}");
    }
}

fn say(
    stage: &mut Stage,
    server: Stranger,
    kind: Type,
    mid: u16,
    token: Token,
    block: u8,
    payload: &[u8],
) {
    let answer = Datagram {
        kind,
        code: Code::CONTENT,
        mid,
        token: token.as_bytes(),
        options: &[(OptionNumber::BLOCK2, &[block])],
        payload,
    };
    let to = SocketAddr::new(stage.ground.address(1), CLIENT_PORT);
    stage.say(server, to, answer.bytes());
}
