//! A client puts protected responses together from outer blocks.

use super::*;
use crate::block::BodyFailure;
use crate::exchange::{Reliability, Waiting};
use crate::message::Options;
use crate::observation::{ObservationEvent, ObserveRequest};

/// The message with other options and another payload.
pub(super) fn rewritten(bytes: &[u8], edit: impl FnOnce(&mut Options, &mut Vec<u8>)) -> Vec<u8> {
    let message = Message::parse(bytes).unwrap();
    let mut options = Options::from(&message);
    let mut payload = message.payload().to_vec();
    edit(&mut options, &mut payload);
    let (kind, code) = (message.kind(), message.code());
    let (mid, token) = (message.message_id(), message.token());
    written(kind, code, mid, token, &options, &payload)
}

pub(super) fn written(
    kind: Type,
    code: Code,
    mid: MessageId,
    token: Token,
    options: &Options,
    payload: &[u8],
) -> Vec<u8> {
    let mut bytes = alloc::vec![0; 5_000];
    let mut writer = Writer::new(&mut bytes, kind, code, mid, token).unwrap();
    options.write(&mut writer).unwrap();
    if !payload.is_empty() {
        writer.payload(payload).unwrap();
    }
    let length = writer.finish();
    bytes.truncate(length);
    bytes
}

/// A world in which only what the test carries arrives.
pub(super) fn cut_world(config: EndpointConfig) -> World {
    let mut world = world_with(Modes::Both, Settings::default(), config);
    world.lossy = |_| true;
    world
}

/// Who stands before a host, and has its protected response, which goes in blocks.
pub(super) struct Cutter {
    pub(super) node: usize,
    pub(super) whole: Vec<u8>,
    pub(super) szx: u8,
    mid: u16,
}

impl Cutter {
    /// Brings the client's request to a host, and takes its response.
    pub(super) fn before(world: &mut World, node: usize, szx: u8) -> Self {
        let asked = world.from(CLIENT)[0].clone();
        let multicast = asked.route.is_multicast();
        world.inject(node, multicast, address(CLIENT), &asked.bytes);
        let whole = world.from(node)[0].bytes.clone();
        world.sent.retain(|datagram| datagram.from != node);
        Self {
            node,
            whole,
            szx,
            mid: 0x3000,
        }
    }

    pub(super) fn length(&self) -> usize {
        Message::parse(&self.whole).unwrap().payload().len()
    }

    pub(super) fn blocks(&self) -> u32 {
        u32::try_from(self.length().div_ceil(16 << self.szx)).unwrap()
    }

    /// The n-th block, as answer to what was asked.
    pub(super) fn block(&mut self, num: u32, asked: &[u8]) -> Vec<u8> {
        let asked = Message::parse(asked).unwrap();
        let whole = Message::parse(&self.whole).unwrap();
        let size = 16 << self.szx;
        let start = num as usize * size;
        let end = (start + size).min(whole.payload().len());
        let mut options = Options::from(&whole);
        let value = block(num, end < whole.payload().len(), self.szx).encode();
        options.push(OptionNumber::BLOCK2, value.as_bytes());
        let (kind, mid) = match asked.kind() {
            Type::Con => (Type::Ack, asked.message_id()),
            _ => {
                self.mid += 1;
                (Type::Non, MessageId(self.mid))
            }
        };
        let payload = &whole.payload()[start..end];
        written(kind, whole.code(), mid, asked.token(), &options, payload)
    }

    /// Brings something to the client.
    pub(super) fn brings(&self, world: &mut World, bytes: &[u8]) {
        world.inject(CLIENT, false, address(self.node), bytes);
    }

    /// Answers what the client has asked of this host since, block by block, each as it is edited; a block that is not there
    /// is lost. Gives what was asked.
    pub(super) fn goes_on(
        &mut self,
        world: &mut World,
        mut edit: impl FnMut(u32, Vec<u8>) -> Option<Vec<u8>>,
    ) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(at) = world.sent.iter().position(|datagram| {
            datagram.from == CLIENT && datagram.route.destination == address(self.node)
        }) {
            let asked = world.sent.remove(at).bytes;
            let Some((num, _, size)) = option(&asked, OptionNumber::BLOCK2) else {
                continue; // an acknowledgement, or another request
            };
            assert_eq!(size, 16 << self.szx);
            let answer = self.block(num, &asked);
            all.push(asked);
            if let Some(answer) = edit(num, answer) {
                self.brings(world, &answer);
            }
        }
        all
    }
}

/// What the client is putting together.
pub(super) fn fetching(world: &World) -> usize {
    world.nodes[CLIENT].endpoint.client.outer.len()
}

pub(super) fn not_assembled(world: &World) -> u64 {
    world.nodes[CLIENT].counters().not_assembled
}

/// The client has asked the lamp, and its first block is to come.
pub(super) fn asked(config: EndpointConfig, szx: u8) -> (World, Cutter) {
    let mut world = cut_world(config);
    let request = request_to(LAMP, "large", to_member(&world, LAMP));
    world.ask(request);
    let cutter = Cutter::before(&mut world, LAMP, szx);
    (world, cutter)
}

/// The client has the first block as well.
pub(super) fn begun(config: EndpointConfig, szx: u8) -> (World, Cutter) {
    let (mut world, mut cutter) = asked(config, szx);
    let request = world.sent.remove(0).bytes;
    let first = cutter.block(0, &request);
    cutter.brings(&mut world, &first);
    (world, cutter)
}

pub(super) fn is_delivered(world: &World) {
    let (response, sender) = world.response().expect("delivered");
    assert_eq!(
        (&response.payload, sender),
        (&blocks::body(), &proven(LAMP))
    );
    for number in [
        OptionNumber::BLOCK2,
        OptionNumber::ETAG,
        OptionNumber::SIZE2,
    ] {
        assert_eq!(response.options.get(number), None);
    }
}

/// Everything has come to its end.
pub(super) fn is_clear(world: &World) {
    assert_eq!(fetching(world), 0);
    let client = &world.nodes[CLIENT].endpoint.client;
    assert!(client.transfers.is_clear());
    assert_eq!(client.exchanges.len(), 0);
}

/// A proxy that asks the lamp for blocks and hands them on: what the server half cuts, the client half puts together.
fn through_a_proxy(mut world: World, protection: Protection) -> World {
    world.ask(request_to(LAMP, "large", protection));
    let mut asked = Vec::new();
    while let Some(datagram) = world.sent.first().cloned() {
        world.sent.remove(0);
        let bytes = match (datagram.from, option(&datagram.bytes, OptionNumber::BLOCK2)) {
            (CLIENT, None) => {
                let value = block(0, false, 2).encode();
                rewritten(&datagram.bytes, |options, _| {
                    options.push(OptionNumber::BLOCK2, value.as_bytes());
                })
            }
            _ => datagram.bytes.clone(),
        };
        match datagram.from {
            CLIENT => {
                asked.push(datagram.bytes);
                world.inject(LAMP, false, address(CLIENT), &bytes);
            }
            _ => world.inject(CLIENT, false, address(LAMP), &bytes),
        }
    }
    assert_eq!(asked.len(), 5);
    let first = Message::parse(&asked[0]).unwrap();
    for (num, bytes) in (0..).zip(&asked).skip(1) {
        let message = Message::parse(bytes).unwrap();
        assert_eq!(message.kind(), Type::Con);
        assert_eq!(message.code(), first.code());
        let of = |message: &Message<'_>| message.option(OptionNumber::OSCORE).map(<[u8]>::to_vec);
        assert_eq!(of(&message), of(&first), "nothing is protected anew");
        assert_eq!(option(bytes, OptionNumber::BLOCK2), Some((num, false, 64)));
        assert_eq!(message.options().count(), 2);
        assert!(message.payload().is_empty());
        assert_ne!(message.token(), first.token());
    }
    let client = world.nodes[CLIENT].counters();
    assert_eq!((client.protected, client.responses), (1, 1));
    assert_eq!((client.not_assembled, client.not_verified), (0, 0));
    assert_eq!(world.nodes[LAMP].counters().requests, 1);
    is_clear(&world);
    world
}

#[test]
fn what_a_member_sends_in_outer_blocks_is_fetched_and_opened_as_one() {
    let world = cut_world(trusting());
    let protection = to_member(&world, LAMP);
    is_delivered(&through_a_proxy(world, protection));
}

#[test]
fn what_the_other_of_a_pair_sends_in_outer_blocks_is_fetched_and_opened_as_one() {
    use crate::endpoint::tests::secured::notify::pairs::pair;
    let mut world = cut_world(trusting());
    let mut add = |node: usize, own, peer| {
        let contexts = world.nodes[node].endpoint.security_mut();
        contexts.add_pair(pair(own, peer))
    };
    let id = add(CLIENT, 1, 2);
    add(LAMP, 2, 1);
    let world = through_a_proxy(world, Protection::Pair(id));
    let (response, sender) = world.response().unwrap();
    assert_eq!(response.payload, blocks::body());
    assert!(sender.is_proven());
}

#[test]
fn answers_of_members_to_a_group_request_are_put_together_side_by_side() {
    let mut world = cut_world(trusting());
    world.ask_group(GroupRequest {
        expect: both(),
        ..question(&world, "large")
    });
    let mut cutters = [LAMP, BELL].map(|node| Cutter::before(&mut world, node, 2));
    let request = world.sent.remove(0).bytes;
    let oscore = |bytes: &[u8]| {
        let message = Message::parse(bytes).unwrap();
        message.option(OptionNumber::OSCORE).map(<[u8]>::to_vec)
    };
    for cutter in &mut cutters {
        let first = cutter.block(0, &request);
        cutter.brings(&mut world, &first);
    }
    assert_eq!(fetching(&world), 2);
    // One block each in turn.
    let mut asked = 0;
    while fetching(&world) > 0 {
        for cutter in &mut cutters {
            let mut once = true;
            let all = cutter.goes_on(&mut world, |_, answer| {
                core::mem::take(&mut once).then_some(answer)
            });
            for bytes in &all {
                let message = Message::parse(bytes).unwrap();
                assert_eq!(message.kind(), Type::Con);
                assert_eq!(oscore(bytes), oscore(&request));
            }
            asked += all.len();
            // What was asked after that is asked again.
            if all.len() > 1 {
                world.pass(Duration::from_secs(1));
            }
        }
        world.pass(Duration::from_secs(3));
    }
    assert!(asked >= 2 * (cutters[0].blocks() as usize - 1));
    assert_eq!(not_assembled(&world), 0);
    assert_eq!(world.nodes[CLIENT].counters().responses, 2);
    // Each was the first of the inner blocks. What follows nobody cuts.
    world.lossy = |_| false;
    world.pass(Duration::from_secs(30));
    let answers = world.answers();
    assert_eq!(answers.len(), 2);
    for answer in answers {
        assert_eq!(answer.response.payload, blocks::body());
        assert!(answer.sender.is_proven());
    }
    assert!(world.outcome().is_complete());
    is_clear(&world);
}

#[test]
fn a_block_that_is_lost_is_asked_for_again() {
    let (mut world, mut cutter) = begun(trusting(), 2);
    let mut lost = Vec::new();
    cutter.goes_on(&mut world, |num, answer| {
        let is_lost = num == 2;
        lost.push(num);
        (!is_lost).then_some(answer)
    });
    assert_eq!(lost, [1, 2]);
    assert_eq!(fetching(&world), 1);
    world.pass(Duration::from_secs(4));
    cutter.goes_on(&mut world, |num, answer| {
        lost.push(num);
        Some(answer)
    });
    assert_eq!(lost, [1, 2, 2, 3, 4]);
    is_delivered(&world);
    is_clear(&world);
}

#[test]
fn the_request_times_out_where_the_rest_does_not_come() {
    let (mut world, mut cutter) = begun(trusting(), 2);
    let all = cutter.goes_on(&mut world, |num, answer| (num < 3).then_some(answer));
    assert_eq!(all.len(), 3);
    world.pass(Duration::from_secs(200));
    assert_eq!(world.failure(), Some(Failure::TimedOut));
    assert_eq!(not_assembled(&world), 1);
    is_clear(&world);
}

#[test]
fn the_largest_unfragmented_message_is_put_together_and_no_larger_one() {
    let (_, cutter) = asked(trusting(), 2);
    let length = cutter.length();
    assert!(!length.is_multiple_of(64), "ends within a block: {length}");
    for (limit, size2, is_taken) in [
        (length, None, true),
        (length - 1, None, false),
        (length, Some(length), true),
        (length, Some(length + 1), false),
    ] {
        let mut config = trusting();
        config.security.unfragmented = limit;
        let (mut world, mut cutter) = asked(config, 2);
        let request = world.sent.remove(0).bytes;
        let first = cutter.block(0, &request);
        let first = rewritten(&first, |options, _| {
            if let Some(size) = size2 {
                options.push_uint(OptionNumber::SIZE2, size as u32);
            }
        });
        cutter.brings(&mut world, &first);
        assert_eq!(fetching(&world), usize::from(is_taken || size2.is_none()));
        let all = cutter.goes_on(&mut world, |_, answer| Some(answer));
        // A claim is enough; without one the last block is too much.
        let asks = if is_taken || size2.is_none() { 4 } else { 0 };
        assert_eq!(all.len(), asks, "{limit} {size2:?}");
        assert_eq!(not_assembled(&world), u64::from(!is_taken));
        if is_taken {
            is_delivered(&world);
        } else {
            world.pass(Duration::from_secs(100));
            let failure = Failure::Body(BodyFailure::TooLarge(limit));
            assert_eq!(world.failure(), Some(failure));
        }
        is_clear(&world);
    }
}

#[test]
fn where_nothing_is_put_together_nothing_is_fetched() {
    let mut config = trusting();
    config.security.unfragmented = 0;
    let (world, _) = begun(config, 2);
    assert!(world.from(CLIENT).is_empty());
    assert_eq!(fetching(&world), 0);
    assert_eq!(world.nodes[CLIENT].counters().not_verified, 1);
    // What is whole is whole.
    let mut config = trusting();
    config.security.unfragmented = 0;
    let (world, _) = begun(config, 6);
    is_delivered(&world);
}

#[test]
fn a_server_may_go_on_with_smaller_blocks() {
    let (mut world, mut cutter) = begun(trusting(), 3);
    let request = world.sent.remove(0).bytes;
    assert_eq!(
        option(&request, OptionNumber::BLOCK2),
        Some((1, false, 128))
    );
    cutter.szx = 1;
    let next = cutter.block(4, &request);
    cutter.brings(&mut world, &next);
    let all = cutter.goes_on(&mut world, |_, answer| Some(answer));
    let numbers = all.iter().map(|bytes| option(bytes, OptionNumber::BLOCK2));
    let numbers: Vec<_> = numbers.flatten().map(|(num, ..)| num).collect();
    assert_eq!(numbers, (5..cutter.blocks()).collect::<Vec<_>>());
    is_delivered(&world);
    is_clear(&world);
}

#[test]
fn blocks_stand_in_the_place_of_the_request_and_others_wait() {
    let (mut world, mut cutter) = begun(trusting(), 2);
    let other = request_to(LAMP, "t", to_member(&world, LAMP));
    let other = world.ask(other);
    let now = world.now;
    let waiting = |world: &World| world.nodes[CLIENT].endpoint.waiting(now, other);
    let mut seen = Vec::new();
    // The next block is asked for at once, whoever waits.
    while fetching(&world) > 0 {
        seen.push(waiting(&world));
        let request = world.sent.remove(0).bytes;
        let (num, ..) = option(&request, OptionNumber::BLOCK2).unwrap();
        let answer = cutter.block(num, &request);
        cutter.brings(&mut world, &answer);
    }
    assert_eq!(seen, [Some(Waiting::Nstart); 4]);
    is_delivered(&world);
    assert_eq!(waiting(&world), None, "its turn");
    assert_eq!(world.from(CLIENT).len(), 1);
}

#[test]
fn each_block_gives_the_response_its_time_anew_but_not_for_ever() {
    let run = |patience: u64| {
        let mut config = trusting();
        config.transfers.patience = Duration::from_secs(patience);
        let mut world = cut_world(config);
        let mut request = request_to(LAMP, "large", to_member(&world, LAMP));
        request.reliability = Reliability::NonConfirmable;
        request.response_timeout = Some(Duration::from_secs(2));
        world.ask(request);
        let mut cutter = Cutter::before(&mut world, LAMP, 2);
        let request = world.sent.remove(0).bytes;
        let first = cutter.block(0, &request);
        cutter.brings(&mut world, &first);
        let mut number = 1;
        while fetching(&world) > 0 {
            world.pass(Duration::from_millis(1_500));
            let request = world.sent.first().map(|datagram| datagram.bytes.clone());
            let Some(request) = request.filter(|_| fetching(&world) > 0) else {
                break;
            };
            world.sent.remove(0);
            assert_eq!(Message::parse(&request).unwrap().kind(), Type::Non);
            let answer = cutter.block(number, &request);
            cutter.brings(&mut world, &answer);
            number += 1;
        }
        is_clear(&world);
        (world, number)
    };
    // Four blocks more, each after one and a half seconds: six.
    let (world, number) = run(7);
    is_delivered(&world);
    assert_eq!(number, 5);
    let (world, number) = run(5);
    assert_eq!(world.response(), None);
    assert_eq!(number, 4);
    assert!(world.failure().is_some());
}

#[test]
fn who_gives_up_fetches_nothing_more() {
    let mut world = cut_world(trusting());
    let request = request_to(LAMP, "large", to_member(&world, LAMP));
    let id = world.ask(request);
    let mut cutter = Cutter::before(&mut world, LAMP, 2);
    let request = world.sent.remove(0).bytes;
    let first = cutter.block(0, &request);
    cutter.brings(&mut world, &first);
    assert_eq!(fetching(&world), 1);
    world.forget_sent();
    let now = world.now;
    world.nodes[CLIENT].endpoint.cancel(now, id);
    world.run();
    is_clear(&world);
    world.pass(Duration::from_secs(100));
    assert!(world.from(CLIENT).is_empty());
    assert_eq!(not_assembled(&world), 0, "nothing went wrong");

    // The same for a question that is closed.
    let mut world = cut_world(trusting());
    let question = question(&world, "large");
    let id = world.ask_group(question);
    let mut cutter = Cutter::before(&mut world, BELL, 2);
    let request = world.sent.remove(0).bytes;
    let first = cutter.block(0, &request);
    cutter.brings(&mut world, &first);
    assert_eq!(fetching(&world), 1);
    let now = world.now;
    world.nodes[CLIENT].endpoint.close(now, id);
    world.run();
    world.pass(Duration::from_secs(300));
    is_clear(&world);
}

#[test]
fn the_answer_to_a_registration_is_put_together_too() {
    let mut world = cut_world(trusting());
    let route = request_to(LAMP, "large", Protection::None).route;
    let protection = to_member(&world, LAMP);
    let request = Request::new(Code::GET).path("large");
    let observe = ObserveRequest {
        every: None,
        ..ObserveRequest::one(request, route, protection)
    };
    let now = world.now;
    world.nodes[CLIENT].endpoint.observe(now, observe).unwrap();
    world.run();
    let mut cutter = Cutter::before(&mut world, LAMP, 2);
    let request = world.sent.remove(0).bytes;
    let sent = Message::parse(&request).unwrap();
    assert_eq!(sent.code(), Code::FETCH);
    assert!(sent.option(OptionNumber::OBSERVE).is_some());
    let first = cutter.block(0, &request);
    cutter.brings(&mut world, &first);
    let all = cutter.goes_on(&mut world, |_, answer| Some(answer));
    assert_eq!(all.len(), 4);
    for bytes in &all {
        let message = Message::parse(bytes).unwrap();
        assert_eq!(message.code(), Code::FETCH);
        assert_eq!(message.option(OptionNumber::OBSERVE), None);
        assert_eq!(message.payload(), sent.payload(), "a FETCH has its payload");
    }
    let told = world.nodes[CLIENT].events.iter().any(|event| {
        matches!(event, Event::Observation(ObservationEvent::Notification(it))
            if it.response.payload == blocks::body())
    });
    assert!(told, "{:?}", world.nodes[CLIENT].events);
    assert_eq!(fetching(&world), 0);
}
