//! Outer blocks: a proxy on the way cuts protected messages into blocks, and puts them together again.

mod fetching;
mod hostile;

use super::*;
use antiphon_wire::{BlockValue, OptionNumber};

/// A proxy at the client's address.
struct Proxy {
    world: World,
    /// What the client has sent, protected.
    request: Vec<u8>,
    mid: u16,
}

fn block(num: u32, more: bool, szx: u8) -> BlockValue {
    BlockValue::new(num, more, szx).unwrap()
}

/// The client asks the lamp this, and the proxy has it.
fn proxy(config: EndpointConfig, method: Code, payload: &[u8]) -> Proxy {
    let mut world = world_with(Modes::Both, Settings::default(), config);
    world.lossy = |datagram| datagram.from == CLIENT || datagram.from == LAMP;
    let mut request = request_to(LAMP, "large", to_member(&world, LAMP));
    request.request.method = method;
    request.request.payload = payload.to_vec();
    world.ask(request);
    let request = world.from(CLIENT)[0].bytes.clone();
    world.forget_sent();
    Proxy {
        world,
        request,
        mid: 0x4000,
    }
}

impl Proxy {
    /// Sends a message of the client with these options more, and only this part of its payload; what the lamp answers.
    fn asks(
        &mut self,
        options: &[(OptionNumber, &[u8])],
        part: core::ops::Range<usize>,
    ) -> Option<Vec<u8>> {
        self.mid += 1;
        let message = Message::parse(&self.request).unwrap();
        let mut all = crate::message::Options::new();
        for option in message.options() {
            all.push(option.number, option.value);
        }
        for (number, value) in options {
            all.push(*number, value);
        }
        let mut bytes = alloc::vec![0; 3_000];
        let (code, token) = (message.code(), message.token());
        let mid = MessageId(self.mid);
        let mut writer = Writer::new(&mut bytes, Type::Con, code, mid, token).unwrap();
        all.write(&mut writer).unwrap();
        let payload = &message.payload()[part];
        if !payload.is_empty() {
            writer.payload(payload).unwrap();
        }
        let length = writer.finish();
        self.sends(&bytes[..length])
    }

    fn sends(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.world.sent.clear();
        self.world.inject(LAMP, false, address(CLIENT), bytes);
        let sent = self.world.from(LAMP);
        assert!(sent.len() <= 1, "{sent:?}");
        sent.first().map(|datagram| datagram.bytes.clone())
    }

    fn length(&self) -> usize {
        Message::parse(&self.request).unwrap().payload().len()
    }

    /// The n-th block of the request.
    fn sends_block(&mut self, num: u32, szx: u8) -> Option<Vec<u8>> {
        let size = 16 << szx;
        let start = num as usize * size;
        let end = (start + size).min(self.length());
        let value = block(num, end < self.length(), szx).encode();
        self.asks(&[(OptionNumber::BLOCK1, value.as_bytes())], start..end)
    }

    /// The whole of a protected response comes to the client.
    fn brings(&mut self, response: &[u8]) {
        let mut bytes = response.to_vec();
        crate::endpoint::protect::set_head(&mut bytes, Type::Non, MessageId(0x5001));
        self.world.inject(CLIENT, false, address(LAMP), &bytes);
    }

    fn held(&self) -> (usize, usize, usize) {
        self.world.nodes[LAMP].endpoint.outer.len()
    }
}

fn option(bytes: &[u8], number: OptionNumber) -> Option<(u32, bool, usize)> {
    let message = Message::parse(bytes).unwrap();
    let block = BlockValue::decode(message.option(number)?).unwrap();
    Some((block.num(), block.more(), block.size()))
}

fn code(bytes: &[u8]) -> Code {
    Message::parse(bytes).unwrap().code()
}

#[test]
fn a_protected_request_in_outer_blocks_is_put_together_and_opened_once() {
    let body: Vec<u8> = (0..500_u32).map(|at| (at % 251) as u8).collect();
    let mut p = proxy(trusting(), Code::POST, &body);
    let blocks = u32::try_from(p.length().div_ceil(128)).unwrap();
    for num in 0..blocks - 1 {
        let reply = p.sends_block(num, 3).unwrap();
        assert_eq!(code(&reply), Code::CONTINUE);
        assert_eq!(option(&reply, OptionNumber::BLOCK1), Some((num, true, 128)));
        let message = Message::parse(&reply).unwrap();
        assert_eq!(message.option(OptionNumber::OSCORE), None);
        assert_eq!(p.held(), (1, 0, 0));
    }
    let reply = p.sends_block(blocks - 1, 3).unwrap();
    let last = Some((blocks - 1, false, 128));
    assert_eq!(
        option(&reply, OptionNumber::BLOCK1),
        last,
        "acknowledged too"
    );
    assert!(
        Message::parse(&reply)
            .unwrap()
            .option(OptionNumber::OSCORE)
            .is_some()
    );
    assert_eq!(p.held(), (0, 0, 0));
    assert_eq!(p.world.nodes[LAMP].counters().requests, 1);
    p.brings(&reply);
    let (response, sender) = p.world.response().unwrap();
    let reversed: Vec<u8> = body.iter().rev().copied().collect();
    assert_eq!((&response.payload, sender), (&reversed, &proven(LAMP)));
    // The blocks of a message that was opened before are no news.
    for num in 0..blocks {
        p.sends_block(num, 3);
    }
    let counters = p.world.nodes[LAMP].counters();
    assert_eq!((counters.requests, p.held()), (1, (0, 0, 0)));
}

#[test]
fn a_protected_response_goes_in_outer_blocks_of_the_size_that_is_asked_for() {
    let mut p = proxy(trusting(), Code::GET, b"");
    let all = 0..p.length();
    let asks = |p: &mut Proxy, num| {
        let value = block(num, false, 2).encode();
        p.asks(&[(OptionNumber::BLOCK2, value.as_bytes())], all.clone())
            .unwrap()
    };
    let first = asks(&mut p, 0);
    assert_eq!(option(&first, OptionNumber::BLOCK2), Some((0, true, 64)));
    assert_eq!(p.held(), (0, 1, 0));
    let mut payload = Message::parse(&first).unwrap().payload().to_vec();
    for num in 1.. {
        let next = asks(&mut p, num);
        let (number, more, size) = option(&next, OptionNumber::BLOCK2).unwrap();
        assert_eq!((number, size), (num, 64));
        let message = Message::parse(&next).unwrap();
        let same =
            |number| message.option(number) == Message::parse(&first).unwrap().option(number);
        assert!(same(OptionNumber::OSCORE));
        payload.extend_from_slice(message.payload());
        if !more {
            break;
        }
    }
    assert_eq!(
        p.world.nodes[LAMP].counters().requests,
        1,
        "opened and answered once"
    );
    let message = Message::parse(&first).unwrap();
    let mut bytes = alloc::vec![0; 2_000];
    let (kind, code, mid) = (Type::Non, message.code(), MessageId(1));
    let mut writer = Writer::new(&mut bytes, kind, code, mid, message.token()).unwrap();
    let oscore = message.option(OptionNumber::OSCORE).unwrap();
    writer.option(OptionNumber::OSCORE, oscore).unwrap();
    writer.payload(&payload).unwrap();
    let length = writer.finish();
    p.brings(&bytes[..length]);
    // It is itself the first of the inner blocks, or the whole.
    let client = &p.world.nodes[CLIENT];
    assert_eq!(client.counters().responses, 1);
    // A block of an answer that is not kept, or not any more.
    p.world.pass(Duration::from_secs(248));
    assert_eq!(p.held(), (0, 0, 0));
    let late = asks(&mut p, 1);
    assert_eq!(self::code(&late), Code::REQUEST_ENTITY_INCOMPLETE);
}

#[test]
fn outer_blocks_cost_no_more_than_the_largest_unfragmented_message() {
    let mut config = trusting();
    config.security.unfragmented = 256;
    let body = alloc::vec![5; 300];
    let mut p = proxy(config, Code::POST, &body);
    for num in 0..3 {
        assert_eq!(code(&p.sends_block(num, 2).unwrap()), Code::CONTINUE);
    }
    // The fourth one is there, and there is more.
    let reply = p.sends_block(3, 2).unwrap();
    assert_eq!(code(&reply), Code::REQUEST_ENTITY_TOO_LARGE);
    assert_eq!(p.held(), (0, 0, 0), "discarded");
    // A claim of a gibibyte.
    let value = block(0, true, 2).encode();
    let claim = [
        (OptionNumber::BLOCK1, value.as_bytes()),
        (OptionNumber::SIZE1, &[0x40, 0, 0, 0]),
    ];
    let reply = p.asks(&claim, 0..64).unwrap();
    assert_eq!(code(&reply), Code::REQUEST_ENTITY_TOO_LARGE);
    // What does not follow, and a block that is not as long as it says.
    let reply = p.sends_block(2, 2).unwrap();
    assert_eq!(code(&reply), Code::REQUEST_ENTITY_INCOMPLETE);
    let short = p.asks(&[(OptionNumber::BLOCK1, value.as_bytes())], 0..63);
    assert_eq!(code(&short.unwrap()), Code::BAD_REQUEST);
    assert_eq!(p.held(), (0, 0, 0));
    assert_eq!(p.world.nodes[LAMP].counters().requests, 0);
}

#[test]
fn nobody_takes_all_places_of_messages_in_outer_blocks_and_time_makes_room() {
    let mut p = proxy(trusting(), Code::POST, &[5; 300]);
    let value = block(0, true, 2).encode();
    let mut codes = Vec::new();
    for n in 0..5_u8 {
        let options = [
            (OptionNumber::BLOCK1, value.as_bytes()),
            (OptionNumber::REQUEST_TAG, &[n]),
        ];
        codes.push(code(&p.asks(&options, 0..64).unwrap()));
    }
    assert_eq!(codes[..4], [Code::CONTINUE; 4]);
    assert_eq!(codes[4], Code::SERVICE_UNAVAILABLE);
    assert_eq!(p.held(), (4, 0, 0));
    let now = p.world.now;
    let lamp = &mut p.world.nodes[LAMP].endpoint;
    let due = lamp.next_timeout().unwrap();
    assert!(due <= now + Duration::from_secs(247));
    // All of the others can be had as well; one more takes the place of the oldest that has not gone on.
    for n in 0..13_u8 {
        let bytes = first_block(&p, n);
        p.world.inject(LAMP, false, stranger(n / 4), &bytes);
        assert_eq!(p.held(), (5 + usize::from(n.min(11)), 0, 0), "{n}");
    }
    p.world.pass(Duration::from_secs(247));
    assert_eq!(p.held(), (0, 0, 0));
}

/// The first block of a request, by another host.
fn first_block(p: &Proxy, n: u8) -> Vec<u8> {
    let message = Message::parse(&p.request).unwrap();
    let value = block(0, true, 2).encode();
    let mut bytes = alloc::vec![0; 3_000];
    let (code, token) = (message.code(), message.token());
    let mid = MessageId(0x7100 + u16::from(n));
    let mut writer = Writer::new(&mut bytes, Type::Non, code, mid, token).unwrap();
    let oscore = message.option(OptionNumber::OSCORE).unwrap();
    writer.option(OptionNumber::OSCORE, oscore).unwrap();
    writer
        .option(OptionNumber::BLOCK1, value.as_bytes())
        .unwrap();
    writer.option(OptionNumber::REQUEST_TAG, &[n]).unwrap();
    writer.payload(&message.payload()[..64]).unwrap();
    let length = writer.finish();
    bytes.truncate(length);
    bytes
}

#[test]
fn a_block_that_was_exchanged_on_the_way_opens_nothing() {
    let mut p = proxy(trusting(), Code::POST, &[5; 300]);
    let blocks = u32::try_from(p.length().div_ceil(128)).unwrap();
    let end = p.request.len() - 150; // in one of the later blocks
    p.request[end] ^= 1;
    for num in 0..blocks {
        p.sends_block(num, 3);
    }
    let counters = p.world.nodes[LAMP].counters();
    assert_eq!(counters.requests, 0);
    assert_eq!(p.held(), (0, 0, 0), "no answer is to come");
}

/// A host of which nothing is known.
fn stranger(n: u8) -> SocketAddr {
    ([192, 0, 2, n], 5683).into()
}

/// A request of somebody who has no keys, and wants the answer in blocks.
fn forged(p: &Proxy, n: u8) -> Vec<u8> {
    let message = Message::parse(&p.request).unwrap();
    let value = block(0, false, 2).encode();
    let mut bytes = alloc::vec![0; 3_000];
    let (code, token) = (message.code(), Token::new(&[n; 8]).unwrap());
    let mid = MessageId(0x7000 + u16::from(n));
    let mut writer = Writer::new(&mut bytes, Type::Non, code, mid, token).unwrap();
    let oscore = message.option(OptionNumber::OSCORE).unwrap();
    writer.option(OptionNumber::OSCORE, oscore).unwrap();
    writer
        .option(OptionNumber::BLOCK2, value.as_bytes())
        .unwrap();
    writer.payload(&[n; 120]).unwrap(); // a signature would fit
    let length = writer.finish();
    bytes.truncate(length);
    bytes
}

#[test]
fn what_cannot_be_opened_keeps_no_answer_from_being_cut() {
    let mut p = proxy(trusting(), Code::GET, b"");
    for n in 0..40 {
        let bytes = forged(&p, n);
        p.world.inject(LAMP, false, stranger(n), &bytes);
    }
    assert_eq!(p.held(), (0, 0, 0));
    let value = block(0, false, 2).encode();
    let all = 0..p.length();
    let first = p.asks(&[(OptionNumber::BLOCK2, value.as_bytes())], all);
    let first = option(&first.unwrap(), OptionNumber::BLOCK2);
    assert_eq!(first, Some((0, true, 64)));
}

#[test]
fn requests_whose_signatures_are_being_verified_take_places_from_each_other_only() {
    let mut world = world_with(Modes::GroupOnly, Settings::default(), trusting());
    world.lossy = |datagram| datagram.from == CLIENT || datagram.from == LAMP;
    let protection = Protection::Group(world.group());
    world.ask(request_to(LAMP, "large", protection));
    let request = world.from(CLIENT)[0].bytes.clone();
    world.forget_sent();
    let mut p = Proxy {
        world,
        request,
        mid: 0x4000,
    };
    p.world.nodes[LAMP].worker = Worker::Held;
    for n in 0..17 {
        let bytes = forged(&p, n);
        p.world.inject(LAMP, false, stranger(n), &bytes);
    }
    assert_eq!(p.held(), (0, 0, 16));
    // The one that is genuine takes the place of the oldest.
    let value = block(0, false, 2).encode();
    let all = 0..p.length();
    assert_eq!(
        p.asks(&[(OptionNumber::BLOCK2, value.as_bytes())], all),
        None
    );
    assert_eq!(p.held(), (0, 0, 16));
    p.world.nodes[LAMP].worker = Worker::Eager;
    let now = p.world.now;
    for work in core::mem::take(&mut p.world.nodes[LAMP].waiting) {
        p.world.nodes[LAMP].work(now, work);
    }
    p.world.run();
    assert_eq!(p.held(), (0, 1, 0), "verified or not, nothing is left");
    let sent = p.world.from(LAMP);
    let [answer] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    let first = option(&answer.bytes, OptionNumber::BLOCK2);
    assert_eq!(first, Some((0, true, 64)));
}

#[test]
fn what_copies_the_head_of_a_request_changes_nothing_of_its_answer() {
    let mut p = proxy(trusting(), Code::GET, b"");
    p.world.forget_sent();
    p.world.nodes[CLIENT]
        .endpoint
        .set_transmission(p.world.now, {
            let mut config = crate::config::Transmission::default();
            config.set_nstart(16).unwrap();
            config
        });
    p.world
        .ask(request_to(LAMP, "slow", to_member(&p.world, LAMP)));
    p.request = p.world.from(CLIENT)[0].bytes.clone();
    let value = block(0, false, 0).encode();
    let wants = [(OptionNumber::BLOCK2, value.as_bytes())];
    let all = 0..p.length();
    p.asks(&wants, all.clone());
    assert_eq!(p.held(), (0, 0, 1), "to come");
    // The same address, token and Message ID, and it does not verify.
    let end = p.request.len() - 1;
    p.request[end] ^= 1;
    p.mid -= 1;
    p.asks(&wants, all);
    assert_eq!(p.world.nodes[LAMP].counters().requests, 1);
    assert_eq!(p.held(), (0, 0, 1), "still to come");
}

#[test]
fn an_address_has_four_answers_to_come_and_the_last_request_under_a_token_counts() {
    let mut p = proxy(trusting(), Code::GET, b"");
    // Five requests of which the answers are not there yet, each under a token of its own.
    let requests: Vec<Vec<u8>> = (0..5)
        .map(|_| {
            let request = request_to(LAMP, "slow", to_member(&p.world, LAMP));
            let now = p.world.now;
            let client = &mut p.world.nodes[CLIENT].endpoint;
            let mut config = crate::config::Transmission::default();
            config.set_nstart(16).unwrap();
            client.set_transmission(now, config);
            p.world.forget_sent();
            p.world.ask(request);
            p.world.from(CLIENT)[0].bytes.clone()
        })
        .collect();
    let value = block(0, false, 0).encode();
    for (n, request) in requests.iter().enumerate() {
        p.request.clone_from(request);
        let all = 0..p.length();
        p.asks(&[(OptionNumber::BLOCK2, value.as_bytes())], all);
        assert_eq!(p.held(), (0, 0, (n + 1).min(4)));
    }
    // A new request under the token of the first.
    let first = Message::parse(&requests[0]).unwrap().token();
    p.world.forget_sent();
    let request = request_to(LAMP, "t", to_member(&p.world, LAMP));
    p.world.ask(request);
    let mut request = p.world.from(CLIENT)[0].bytes.clone();
    request[4..12].copy_from_slice(first.as_bytes());
    request[2..4].copy_from_slice(&[0x66, 0x66]);
    p.sends(&request);
    assert_eq!(p.held(), (0, 0, 3));
    p.world.pass(Duration::from_secs(247));
    assert_eq!(p.held(), (0, 0, 0));
}

#[test]
fn an_answer_leaves_whole_where_the_acknowledgement_of_a_block_would_be_too_much() {
    let value = block(0, false, 6).encode();
    let answers = |config: EndpointConfig| {
        let mut p = proxy(config, Code::GET, b"");
        let all = 0..p.length();
        p.asks(&[(OptionNumber::BLOCK1, value.as_bytes())], all)
            .unwrap()
    };
    let whole = answers(trusting());
    assert!(option(&whole, OptionNumber::BLOCK1).is_some());
    for (limit, acknowledged) in [(whole.len(), true), (whole.len() - 1, false)] {
        let mut config = trusting();
        config.limits.datagram = limit;
        let answer = answers(config);
        let message = Message::parse(&answer).unwrap();
        assert!(message.option(OptionNumber::OSCORE).is_some());
        assert_eq!(
            option(&answer, OptionNumber::BLOCK1).is_some(),
            acknowledged
        );
        let payload = Message::parse(&whole).unwrap().payload().len();
        assert_eq!(message.payload().len(), payload);
    }
}

#[test]
fn through_a_group_and_where_it_is_switched_off_nothing_is_put_together() {
    let mut p = proxy(trusting(), Code::POST, &[5; 300]);
    let value = block(0, true, 2).encode();
    let message = Message::parse(&p.request).unwrap();
    let mut bytes = alloc::vec![0; 3_000];
    let (code, token) = (message.code(), message.token());
    let mut writer = Writer::new(&mut bytes, Type::Non, code, MessageId(1), token).unwrap();
    let oscore = message.option(OptionNumber::OSCORE).unwrap();
    writer.option(OptionNumber::OSCORE, oscore).unwrap();
    writer
        .option(OptionNumber::BLOCK1, value.as_bytes())
        .unwrap();
    writer.payload(&message.payload()[..64]).unwrap();
    let length = writer.finish();
    let silenced = |p: &Proxy| p.world.nodes[LAMP].endpoint.counters().silenced;
    let before = silenced(&p);
    p.world
        .inject(LAMP, true, address(CLIENT), &bytes[..length]);
    assert_eq!((p.world.sent.len(), p.held()), (0, (0, 0, 0)));
    assert_eq!(silenced(&p), before + 1);

    let mut config = trusting();
    config.security.unfragmented = 0;
    let mut p = proxy(config, Code::POST, &[5; 300]);
    assert_eq!(p.sends_block(0, 2), None, "it does not verify");
    assert_eq!(p.held(), (0, 0, 0));
    // In one block it is whole.
    let value = block(0, false, 6).encode();
    let all = 0..p.length();
    let reply = p.asks(&[(OptionNumber::BLOCK1, value.as_bytes())], all);
    assert!(reply.is_some());
    assert_eq!(p.world.nodes[LAMP].counters().requests, 1);
}

#[test]
fn the_memory_for_outer_blocks_follows_from_their_largest_message() {
    let limits = crate::endpoint::outer::outer_limits(1_000);
    assert_eq!(
        (limits.body, limits.incomplete, limits.kept),
        (1_000, 16, 16)
    );
    assert_eq!(
        (limits.incomplete_bytes, limits.kept_bytes),
        (16_000, 16_000)
    );
    assert_eq!(
        (limits.incomplete_per_address, limits.kept_per_address),
        (4, 4)
    );
    let memory = crate::endpoint::outer_memory;
    assert_eq!(memory(0), 0, "nothing is put together");
    let server = |largest| crate::endpoint::outer::outer_limits(largest).memory_total();
    let growth = server(2_000) - server(1_000) + 16 * 5 * 1_000;
    assert_eq!(memory(2_000) - memory(1_000), growth);
    // Beside the bodies: requests noted and repeated, each no larger than a datagram.
    let rest = memory(1_000) - limits.memory_total() - 16 * 5_000;
    assert!(rest > 32 * 1_500 + 16 * 9_000, "{rest}");
    assert!(rest < 32 * 2_500 + 16 * 12_000, "{rest}");
    let mut config = EndpointConfig::default();
    let with = config.memory_totals().security;
    config.security.unfragmented = 0;
    assert_eq!(with - config.memory_totals().security, memory(4_096));
    assert_eq!(
        crate::security::SecurityConfig::default().unfragmented,
        4_096
    );
}
