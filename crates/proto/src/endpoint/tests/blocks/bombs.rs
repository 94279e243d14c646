//! Block bombs: claims, numbers and sizes that are meant to make somebody else run out of memory.

use antiphon_wire::Writer;

use super::*;
use crate::collection::{FurtherBlocks, Repeat};
use crate::expect::{Expectation, Member};
use crate::observation::{ObservationEvent, ObserveRequest};

/// A message of `/r`'s server, with these options before its payload.
fn says(
    (kind, mid, token): (Type, u16, Token),
    options: &[(OptionNumber, &[u8])],
    length: usize,
) -> Vec<u8> {
    let mut bytes = alloc::vec![0; 2_000];
    let mut writer = Writer::new(&mut bytes, kind, Code::CONTENT, MessageId(mid), token).unwrap();
    for (number, value) in options {
        writer.option(*number, value).unwrap();
    }
    writer.payload(&alloc::vec![7; length]).unwrap();
    let len = writer.finish();
    bytes.truncate(len);
    bytes
}

impl Net {
    /// A datagram comes to the client as if from this host, whatever that is.
    fn forge(&mut self, from: usize, bytes: &[u8]) {
        let path = Path {
            socket: UNICAST,
            local: address(CLIENT),
            interface: 1,
            peer: address(from),
        };
        let now = self.now;
        self.hosts[CLIENT]
            .endpoint
            .handle_datagram(now, path, bytes);
        self.drain(CLIENT);
    }

    /// The token of the last question to the group.
    fn token(&self) -> Token {
        let to_group = |d: &&&Flying| d.route.is_multicast();
        let requests = self.requests();
        requests.iter().rfind(to_group).unwrap().message().token()
    }
}

fn question(blocks: FurtherBlocks) -> crate::collection::GroupRequest {
    let target = GroupTarget {
        group: GROUP.into(),
        socket: UNICAST,
        interface: 1,
    };
    let mut expect = Expectation::nobody();
    for n in 1..=2 {
        expect.add(Member::named(alloc::format!("m{n}")).at(address(n)));
    }
    crate::collection::GroupRequest {
        expect,
        blocks,
        repeat: Repeat::None,
        ..crate::collection::GroupRequest::new(get(), target, Security::Unsecured(NoSec::Accepted))
    }
}

const GIBIBYTE: [u8; 4] = [0x40, 0, 0, 0];
/// Block 0 of more, of 1,024 and of 64 bytes.
const FIRST: &[u8] = &[0x0e];
const FIRST_OF_64: &[u8] = &[0x0a];

#[test]
fn a_members_claim_of_a_gibibyte_ends_its_answer_and_reserves_nothing() {
    for blocks in [FurtherBlocks::Unicast, FurtherBlocks::Group] {
        let mut net = Net::new(3);
        net.loss = 100;
        let now = net.now;
        let id = net.hosts[CLIENT].endpoint.collect(now, question(blocks));
        net.drain(CLIENT);
        let token = net.token();
        let claim = [
            (OptionNumber::BLOCK2, FIRST),
            (OptionNumber::SIZE2, &GIBIBYTE),
        ];
        let bomb = says((Type::Non, 1, token), &claim, 1_024);
        net.sent.clear();
        for n in 1..=2 {
            net.forge(n, &bomb);
        }
        let client = &net.hosts[CLIENT].endpoint;
        assert_eq!(client.client.collections.held_bytes(), 0);
        assert!(client.client.transfers.is_clear());
        assert!(net.sent.is_empty(), "no block is asked for");
        let now = net.now;
        net.hosts[CLIENT].endpoint.close(now, id.unwrap());
        net.drain(CLIENT);
        let outcome = net.hosts[CLIENT]
            .events
            .iter()
            .find_map(|event| match event {
                Event::Collection(CollectionEvent::Ended(outcome)) => Some(outcome),
                _ => None,
            });
        let too_large = Failure::Body(BodyFailure::TooLarge(1 << 20));
        let rejected: Vec<_> = outcome.unwrap().rejected().collect();
        let rejection = Rejection::Incomplete(too_large);
        assert_eq!(rejected, [("m1", rejection), ("m2", rejection)]);
    }
}

#[test]
fn a_notifications_claim_of_a_gibibyte_is_told_and_nothing_is_fetched() {
    let mut net = Net::new(2);
    net.loss = 100;
    let UnicastRequest { request, route, .. } = unicast(1, get());
    let now = net.now;
    let observe = ObserveRequest::one(request, route, Protection::None);
    net.hosts[CLIENT].endpoint.observe(now, observe).unwrap();
    net.drain(CLIENT);
    let asked = net.requests()[0].message();
    let (mid, token) = (asked.message_id().0, asked.token());
    net.sent.clear();
    let claim = [
        (OptionNumber::OBSERVE, &[1][..]),
        (OptionNumber::BLOCK2, FIRST),
        (OptionNumber::SIZE2, &GIBIBYTE),
    ];
    net.forge(1, &says((Type::Ack, mid, token), &claim, 1_024));
    let told = net.hosts[CLIENT]
        .events
        .iter()
        .find_map(|event| match event {
            Event::Observation(ObservationEvent::Incomplete { failure, .. }) => Some(*failure),
            _ => None,
        });
    assert_eq!(told, Some(Failure::Body(BodyFailure::TooLarge(65_535))));
    assert!(net.sent.is_empty());
}

#[test]
fn a_member_whose_answer_never_ends_is_given_up_at_the_limit_and_others_are_not() {
    let mut net = Net::new(3);
    *net.hosts[1].body.lock().unwrap() = body(2_000_000);
    let now = net.now;
    let mut request = question(FurtherBlocks::Group);
    request.limits.response_bytes = 5_000;
    net.hosts[CLIENT].endpoint.collect(now, request).unwrap();
    net.pass(secs(600));
    let events = net.hosts[CLIENT].events.iter();
    let bodies: Vec<_> = events
        .filter_map(|event| match event {
            Event::Collection(CollectionEvent::Answer(answer)) => {
                Some((answer.from.peer, answer.response.payload.len()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(bodies, [(address(2), 3_000)]);
    assert_eq!(
        net.hosts[CLIENT].endpoint.client.collections.held_bytes(),
        0
    );
}

#[test]
fn the_last_block_number_is_behind_the_end_and_keeps_nothing() {
    let mut net = Net::new(2);
    let last = BlockValue::new(BlockValue::MAX_NUM, false, 6)
        .unwrap()
        .encode();
    let far = |method: Code| {
        Request::new(method)
            .path("/r")
            .option(OptionNumber::BLOCK2, last.as_bytes())
    };
    let get = net.ask(1, far(Code::GET));
    net.pass(secs(5));
    assert_eq!(net.response(get).unwrap().code, Code::BAD_REQUEST);
    let upload = Request::new(Code::PUT)
        .path("/r")
        .option(OptionNumber::BLOCK1, last.as_bytes())
        .payload(ContentFormat::OCTETS, b"x".as_slice());
    let put = net.ask(1, upload);
    net.pass(secs(5));
    assert_eq!(
        net.response(put).unwrap().code,
        Code::REQUEST_ENTITY_INCOMPLETE
    );
    let server = net.hosts[1].endpoint.server();
    assert_eq!(server.bodies().0, 0);
    assert!(net.hosts[1].put.lock().unwrap().is_empty());
    // Through a group it is silence.
    let now = net.now;
    let mut request = question(FurtherBlocks::Unicast);
    request.request = far(Code::GET);
    net.sent.clear();
    net.hosts[CLIENT].endpoint.collect(now, request).unwrap();
    net.pass(secs(60));
    assert!(net.sent.iter().all(|d| d.from == CLIENT));
}

#[test]
fn sizes_that_change_from_block_to_block_give_the_same_body_or_none() {
    // From large to small and back, as long as each block begins where the last one has ended.
    let whole = body(500);
    let fitting: [(usize, u8); 4] = [(0, 3), (128, 2), (192, 2), (256, 4)];
    let send = |net: &mut Net, steps: &[(usize, u8)]| {
        let mut code = Code::EMPTY;
        for (start, szx) in steps {
            let size = 16 << szx;
            let end = (start + size).min(whole.len());
            let num = u32::try_from(start / size).unwrap();
            let block = BlockValue::new(num, end < whole.len(), *szx)
                .unwrap()
                .encode();
            let request = Request::new(Code::PUT)
                .path("/r")
                .option(OptionNumber::BLOCK1, block.as_bytes())
                .payload(ContentFormat::OCTETS, &whole[*start..end]);
            let id = net.ask(1, request);
            net.pass(secs(1));
            code = net.response(id).unwrap().code;
        }
        code
    };
    let mut net = Net::new(2);
    assert_eq!(send(&mut net, &fitting), Code::CHANGED);
    assert_eq!(
        *net.hosts[1].put.lock().unwrap(),
        core::slice::from_ref(&whole)
    );
    // A size at which the block would begin elsewhere.
    let mut net = Net::new(2);
    let lacking = [(0, 3), (256, 4)];
    assert_eq!(send(&mut net, &lacking), Code::REQUEST_ENTITY_INCOMPLETE);
    assert!(net.hosts[1].put.lock().unwrap().is_empty());
}

#[test]
fn first_blocks_of_countless_tags_and_addresses_keep_to_the_limits() {
    let mut net = Net::with(3, |_, config| {
        config.transfers.bytes = 4_096;
        config.transfers.at_once = 2;
    });
    net.loss = 100;
    let now = net.now;
    let mut request = question(FurtherBlocks::Group);
    request.limits.unexpected = 20;
    net.hosts[CLIENT].endpoint.collect(now, request).unwrap();
    net.drain(CLIENT);
    let token = net.token();
    for n in 0..500_u16 {
        let tag = n.to_be_bytes();
        let options = [
            (OptionNumber::ETAG, tag.as_slice()),
            (OptionNumber::BLOCK2, FIRST_OF_64),
        ];
        let bomb = says((Type::Non, 1_000 + n, token), &options, 64);
        let path = Path {
            socket: UNICAST,
            local: address(CLIENT),
            interface: 1,
            peer: ([10, 1, (n >> 8) as u8, n as u8], 5683).into(),
        };
        net.hosts[CLIENT].endpoint.handle_datagram(now, path, &bomb);
        net.drain(CLIENT);
        let client = &net.hosts[CLIENT].endpoint.client;
        assert!(client.collections.held_bytes() <= 4_096);
        assert!(client.transfers.len() <= 2);
    }
    net.pass(secs(2_000));
    let client = &net.hosts[CLIENT].endpoint.client;
    assert!(client.collections.is_empty() && client.transfers.is_clear());
    assert_eq!(client.collections.held_bytes(), 0);
}
