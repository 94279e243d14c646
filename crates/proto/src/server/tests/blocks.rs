//! Bodies in blocks, as a server sees them.

mod exact;

use super::*;
use crate::block::{BlockSize, ServerBlocks};

/// The value of a Block option.
fn block(num: u32, more: bool, szx: u8) -> Vec<u8> {
    let value = BlockValue::new(num, more, szx).unwrap();
    value.encode().as_bytes().to_vec()
}

/// A body of so many bytes, no two blocks of which are alike.
fn body(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (at / 16 * 7 + at) as u8)
        .collect::<Vec<_>>()
}

/// A server with `/r`, which answers GET with a body of so many bytes, and how often it was asked.
fn holding(length: usize, policy: GroupPolicy) -> (Server, Arc<AtomicUsize>) {
    let mut server = server();
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    let handler = move |_: &Incoming<'_>, response: &mut Response| {
        seen.fetch_add(1, Ordering::Relaxed);
        response.set_payload(ContentFormat::OCTETS, &body(length));
    };
    let resource = Resource::at("/r")
        .on(Methods::GET | Methods::FETCH, handler)
        .access(Access::Unsecured)
        .group_policy(policy);
    server.add(resource).unwrap();
    (server, count)
}

fn open_policy() -> GroupPolicy {
    GroupPolicy::respond().amplification(Amplification::Unlimited)
}

fn get_block(num: u32, szx: u8) -> Ask {
    get("/r").option(OptionNumber::BLOCK2, &block(num, false, szx))
}

#[track_caller]
fn block2(reply: &Reply) -> (u32, bool, usize) {
    let value = reply.response().options.get(OptionNumber::BLOCK2);
    let value = BlockValue::decode(value.expect("no Block2")).unwrap();
    (value.num(), value.more(), value.size())
}

#[track_caller]
fn block1(reply: &Reply) -> (u32, bool, usize) {
    let value = reply.response().options.get(OptionNumber::BLOCK1);
    let value = BlockValue::decode(value.expect("no Block1")).unwrap();
    (value.num(), value.more(), value.size())
}

fn etag(reply: &Reply) -> Option<Vec<u8>> {
    let tag = reply.response().options.get(OptionNumber::ETAG);
    tag.map(<[u8]>::to_vec)
}

#[test]
fn a_representation_larger_than_a_block_is_served_in_blocks_of_which_all_are_the_same() {
    let (mut server, count) = holding(2_049, open_policy());
    let whole = body(2_049);
    let first = server.ask(&get("/r"));
    assert_eq!(first.code(), Code::CONTENT);
    assert_eq!(block2(&first), (0, true, 1_024));
    assert_eq!(first.response().payload, whole[..1_024]);
    let tag = etag(&first).unwrap();
    assert_eq!(tag.len(), 8);
    assert_eq!(first.response().options.get(OptionNumber::SIZE2), None);
    let second = server.ask(&get_block(1, 6));
    assert_eq!(block2(&second), (1, true, 1_024));
    assert_eq!(second.response().payload, whole[1_024..2_048]);
    let third = server.ask(&get_block(2, 6));
    assert_eq!(block2(&third), (2, false, 1_024));
    assert_eq!(third.response().payload, whole[2_048..]);
    for reply in [&second, &third] {
        assert_eq!(etag(reply).as_ref(), Some(&tag));
        let format = reply.response().options.get(OptionNumber::CONTENT_FORMAT);
        assert_eq!(format, Some(&[42][..]));
    }
    assert_eq!(runs(&count), 1, "the representation was kept");
    assert_eq!(server.bodies(), (0, 1));
    // Behind the end there is nothing.
    assert_eq!(server.ask(&get_block(3, 6)).code(), Code::BAD_REQUEST);
    let last = BlockValue::MAX_NUM;
    assert_eq!(server.ask(&get_block(last, 6)).code(), Code::BAD_REQUEST);
    // A new request is answered anew, with the same tag.
    let again = server.ask(&get("/r"));
    assert_eq!((runs(&count), etag(&again)), (2, Some(tag)));
    // One byte less is two whole blocks; what fits one block has neither option.
    let (mut server, _) = holding(2_048, open_policy());
    assert_eq!(block2(&server.ask(&get_block(1, 6))), (1, false, 1_024));
    assert_eq!(server.ask(&get_block(2, 6)).code(), Code::BAD_REQUEST);
    let (mut server, _) = holding(1_024, open_policy());
    let whole = server.ask(&get("/r"));
    assert_eq!(whole.response().options.get(OptionNumber::BLOCK2), None);
    assert_eq!(etag(&whole), None);
    assert_eq!(server.bodies(), (0, 0));
}

#[test]
fn the_client_chooses_the_size_early_or_late_and_the_server_a_smaller_one() {
    let (mut server, count) = holding(200, open_policy());
    let whole = body(200);
    let early = server.ask(&get_block(0, 2));
    assert_eq!(block2(&early), (0, true, 64));
    assert_eq!(early.response().payload, whole[..64]);
    let next = server.ask(&get_block(1, 2));
    assert_eq!(
        (block2(&next), &next.response().payload[..]),
        ((1, true, 64), &whole[64..128])
    );
    // From 64 to 16: block 8 of 16 bytes begins where block 2 of 64 does.
    let late = server.ask(&get_block(8, 0));
    assert_eq!(
        (block2(&late), &late.response().payload[..]),
        ((8, true, 16), &whole[128..144])
    );
    let last = server.ask(&get_block(12, 0));
    assert_eq!(
        (block2(&last), &last.response().payload[..]),
        ((12, false, 16), &whole[192..])
    );
    assert_eq!(runs(&count), 1);
    // What fits says so, in the size that was asked for.
    assert_eq!(block2(&server.ask(&get_block(0, 4))), (0, false, 256));

    let (mut server, _) = holding(200, open_policy());
    server.config.blocks.size = BlockSize::SIXLOWPAN;
    assert_eq!(block2(&server.ask(&get("/r"))), (0, true, 64));
    assert_eq!(block2(&server.ask(&get_block(0, 6))), (0, true, 64));
    assert_eq!(block2(&server.ask(&get_block(0, 1))), (0, true, 32));
}

#[test]
fn the_size_of_a_representation_is_told_when_it_is_asked_for() {
    let (mut server, _) = holding(70_000, open_policy());
    let size = |reply: &Reply| {
        let size = reply.response().options.get(OptionNumber::SIZE2);
        size.and_then(antiphon_wire::decode_uint)
    };
    let asks = get("/r").option(OptionNumber::SIZE2, b"");
    assert_eq!(size(&server.ask(&asks)), Some(70_000));
    assert_eq!(size(&server.ask(&get("/r"))), None);
    let later = get_block(1, 6).option(OptionNumber::SIZE2, b"");
    assert_eq!(size(&server.ask(&later)), None);
    let (mut server, _) = holding(7, open_policy());
    assert_eq!(size(&server.ask(&asks)), Some(7));
}

#[test]
fn a_representation_that_is_not_kept_is_asked_for_again_and_its_tag_tells_a_change() {
    let (mut server, count) = holding(3_000, open_policy());
    let first = etag(&server.ask(&get("/r")));
    // Another peer, another query, another sender: other operations.
    let elsewhere = server.ask(&get_block(1, 6).from("[fe80::98]:61616"));
    assert_eq!((runs(&count), etag(&elsewhere)), (2, first.clone()));
    let other = get("/r?x").option(OptionNumber::BLOCK2, &block(1, false, 6));
    assert_eq!(block2(&server.ask(&other)), (1, true, 1_024));
    assert_eq!(runs(&count), 3);
    server.ask(&get_block(1, 6).by("a"));
    assert_eq!(runs(&count), 4);
    // ETag, Observe, No-Response and what is not in the cache key make no difference.
    let same = get_block(2, 6)
        .option(OptionNumber::ETAG, b"other")
        .option(OptionNumber::SIZE2, b"")
        .option(OptionNumber::NO_RESPONSE, b"\x08");
    assert_eq!(server.ask(&same).code(), Code::CONTENT);
    assert_eq!(runs(&count), 4);
    // Nobody has asked for it any more for 247 seconds: forgotten.
    let kept = NOW + Duration::from_micros(247_000_000 - 1);
    server.ask_at(kept, &get_block(1, 6));
    assert_eq!(runs(&count), 4);
    let others = NOW + Duration::from_secs(247);
    assert_eq!(server.next_timeout(), Some(others));
    server.forget_stale_bodies(others);
    let gone = kept + Duration::from_secs(247);
    assert_eq!(
        (server.bodies(), server.next_timeout()),
        ((0, 1), Some(gone))
    );
    server.forget_stale_bodies(gone);
    assert_eq!((server.bodies(), server.next_timeout()), ((0, 0), None));
    server.ask_at(gone, &get_block(1, 6));
    assert_eq!(runs(&count), 5);
    // Another length is another tag, and so is another server.
    let (mut server, _) = holding(3_001, open_policy());
    assert_ne!(etag(&server.ask(&get("/r"))), first);
    let mut other = Server::new(unsecured(), &mut Rng::from_seed([2; 32]));
    let handler = |_: &Incoming<'_>, response: &mut Response| {
        response.set_payload(ContentFormat::OCTETS, &body(3_000));
    };
    let resource = Resource::at("/r").get(handler).access(Access::Unsecured);
    other.add(resource).unwrap();
    assert_ne!(etag(&other.ask(&get("/r"))), first);
}

#[test]
fn the_tag_of_the_handler_stays_and_validates() {
    let mut server = server();
    let handler = |_: &Incoming<'_>, response: &mut Response| {
        response.options.push(OptionNumber::ETAG, b"mine");
        response.payload = body(1_025);
    };
    let made = |_: &Incoming<'_>, response: &mut Response| response.payload = body(1_025);
    server
        .add(Resource::at("/r").get(handler).access(Access::Unsecured))
        .unwrap();
    server
        .add(Resource::at("/made").get(made).access(Access::Unsecured))
        .unwrap();
    assert_eq!(etag(&server.ask(&get("/r"))), Some(b"mine".to_vec()));
    let valid = server.ask(&get("/r").option(OptionNumber::ETAG, b"mine"));
    assert_eq!((valid.code(), valid.text()), (Code::VALID, ""));
    assert_eq!(valid.response().options.get(OptionNumber::BLOCK2), None);
    let tag = etag(&server.ask(&get("/made"))).unwrap();
    let valid = server.ask(&get("/made").option(OptionNumber::ETAG, &tag));
    assert_eq!(valid.code(), Code::VALID);
}

#[test]
fn one_address_gets_its_share_of_what_is_kept_and_no_other_loses_by_it() {
    let (mut server, count) = holding(2_000, open_policy());
    server.ask(&get("/r").from("10.0.0.9:1"));
    for port in 1..=9 {
        server.ask(&get("/r").from(&std::format!("10.0.0.1:{port}")));
    }
    assert_eq!((runs(&count), server.bodies().1), (10, 9));
    // Its first one gave way.
    server.ask(&get_block(1, 6).from("10.0.0.1:2"));
    server.ask(&get_block(1, 6).from("10.0.0.9:1"));
    assert_eq!(runs(&count), 10);
    server.ask(&get_block(1, 6).from("10.0.0.1:1"));
    assert_eq!(runs(&count), 11);

    // Half of the bytes for one address, all for all.
    let blocks = ServerBlocks {
        kept_bytes: 4_400,
        ..ServerBlocks::default()
    };
    let config = ServerConfig {
        blocks,
        ..unsecured()
    };
    let mut server = Server::with(config);
    let handler = |_: &Incoming<'_>, response: &mut Response| response.payload = body(2_000);
    let resource = Resource::at("/r")
        .get(handler)
        .post(handler)
        .access(Access::Unsecured);
    server.add(resource).unwrap();
    for peer in ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1"] {
        assert_eq!(block2(&server.ask(&get("/r").from(peer))), (0, true, 1_024));
    }
    assert_eq!(server.bodies().1, 2);
    // A third address finds no room: GET goes on without, POST takes that of what can be made again.
    let third = get("/r").from("10.0.0.3:1");
    assert_eq!(block2(&server.ask(&third)), (0, true, 1_024));
    for n in 3..9 {
        let done = ask(Code::POST, "/r").from(&std::format!("10.0.0.{n}:1"));
        let first = server.ask(&done);
        assert_eq!(
            (first.code(), block2(&first)),
            (Code::CHANGED, (0, true, 1_024))
        );
        let rest = done.option(OptionNumber::BLOCK2, &block(1, false, 6));
        assert_eq!(block2(&server.ask(&rest)), (1, false, 1_024));
        assert_eq!(server.bodies().1, 2);
    }
    // What is larger than anyone's share is not sent.
    let large = |_: &Incoming<'_>, response: &mut Response| response.payload = body(2_300);
    let resource = Resource::at("/l").post(large).access(Access::Unsecured);
    server.add(resource).unwrap();
    let reply = server.ask(&ask(Code::POST, "/l").from("10.0.0.3:2"));
    assert_eq!(reply.code(), Code::INTERNAL_SERVER_ERROR);
}

// Covers: GC-3.7-04, GN-3.8-03
#[test]
fn a_large_answer_to_a_group_starts_block_wise_by_itself() {
    let (mut server, count) = holding(100, open_policy());
    let whole = body(100);
    let first = server.ask(&get("/r").to(ALL_NODES));
    assert_eq!(block2(&first), (0, true, 64));
    assert_eq!(first.response().payload, whole[..64]);
    assert!(etag(&first).is_some());
    // The rest by unicast, from the same representation.
    let rest = server.ask(&get_block(1, 2));
    assert_eq!(
        (block2(&rest), &rest.response().payload[..]),
        ((1, false, 64), &whole[64..])
    );
    assert_eq!((runs(&count), etag(&rest)), (1, etag(&first)));
    // Or through the group.
    let through = server.ask(&get_block(1, 2).to(ALL_NODES));
    assert_eq!(block2(&through), (1, false, 64));
    // FETCH too.
    let fetch = ask(Code::FETCH, "/r").payload(b"q").to(ALL_NODES);
    assert_eq!(block2(&server.ask(&fetch)), (0, true, 64));

    let (mut server, _) = holding(64, open_policy());
    let whole = server.ask(&get("/r").to(ALL_NODES));
    assert_eq!(whole.response().options.get(OptionNumber::BLOCK2), None);
    let (mut server, _) = holding(100, open_policy().limit(48));
    let first = server.ask(&get("/r").to(ALL_NODES));
    assert_eq!(block2(&first), (0, true, 32));
    let (mut server, _) = holding(100, open_policy().oversize(Oversize::Suppress));
    let none = server.ask(&get("/r").to(ALL_NODES));
    assert_eq!(none.silence(), SilenceReason::TooLarge);
    // Whoever asks for blocks gets one.
    let asked = server.ask(&get_block(0, 1).to(ALL_NODES));
    assert_eq!(block2(&asked), (0, true, 32));
}

#[test]
fn a_client_limits_the_first_answers_with_block2() {
    let (mut server, _) = holding(65, open_policy().limit(100));
    let first = server.ask(&get_block(0, 2).to(ALL_NODES));
    assert_eq!(block2(&first), (0, true, 64));
    assert_eq!(first.response().payload.len(), 64);
    let (mut server, _) = holding(64, open_policy());
    let whole = server.ask(&get_block(0, 2).to(ALL_NODES));
    assert_eq!(block2(&whole), (0, false, 64));
    assert_eq!(server.ask(&get_block(0, 2)).response().payload.len(), 64);
}

// Covers: GN-6.3-03
#[test]
fn blocks_keep_the_amplification_small() {
    let policy = GroupPolicy::respond();
    let (mut server, _) = holding(100, policy.clone());
    // 7 bytes: an answer of 21. Header, token, ETag, Content-Format, Block2, marker take 20 without a payload.
    let small = get("/r").to(ALL_NODES);
    assert_eq!(
        server.ask(&small).silence(),
        SilenceReason::Amplification,
        "not even 16 bytes"
    );
    let padding = OptionNumber(65_000);
    // 7 + 3 + 10: 60 bytes hold a block of 32.
    let larger = small.clone().option(padding, &[0; 10]);
    assert_eq!(larger.bytes().len(), 20);
    let answer = server.ask(&larger);
    assert_eq!(block2(&answer), (0, true, 32));
    assert!(encoded_len(1, answer.response()) <= 60);
    // Someone who proves who it is gets what fits the limit.
    assert_eq!(block2(&server.ask(&small.proven())), (0, true, 64));
    // What would fit the limit is cut too.
    let (mut server, _) = holding(60, policy);
    let answer = server.ask(&get("/r").to(ALL_NODES).option(padding, &[0; 10]));
    assert_eq!(block2(&answer), (0, true, 32));
}

/// A server with `/a`, which takes PUT and POST, POST echoes what it got, and what was put.
fn taking() -> (Server, Arc<std::sync::Mutex<Vec<Vec<u8>>>>) {
    taking_with(ServerBlocks::default())
}

fn taking_with(blocks: ServerBlocks) -> (Server, Arc<std::sync::Mutex<Vec<Vec<u8>>>>) {
    let mut server = Server::with(ServerConfig {
        blocks,
        ..unsecured()
    });
    let taken = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&taken);
    let put = move |request: &Incoming<'_>, _: &mut Response| {
        let block = request.message.option(OptionNumber::BLOCK1);
        assert!(block.is_none_or(|block| block.first().is_none_or(|b| *b < 0x08)));
        assert_eq!(request.message.option(OptionNumber::SIZE1), None);
        let none_match = request.message.option(OptionNumber::IF_NONE_MATCH);
        let mut seen = seen.lock().unwrap();
        seen.push(request.payload().to_vec());
        if none_match.is_some() {
            seen.push(b"If-None-Match".to_vec());
        }
    };
    let post = |request: &Incoming<'_>, response: &mut Response| {
        response.payload.extend_from_slice(request.payload());
    };
    let resource = Resource::at("/a")
        .put(put)
        .post(post)
        .evaluates_preconditions()
        .access(Access::Unsecured)
        .group_policy(GroupPolicy::respond().answer(Class::ClientError));
    server.add(resource).unwrap();
    (server, taken)
}

/// A block of a request's body.
fn send(method: Code, whole: &[u8], num: u32, szx: u8) -> Ask {
    let size = 16 << szx;
    let start = num as usize * size;
    let end = whole.len().min(start + size);
    let more = end < whole.len();
    ask(method, "/a")
        .option(OptionNumber::BLOCK1, &block(num, more, szx))
        .payload(&whole[start..end])
}

#[test]
fn the_body_of_a_request_is_put_together_and_processed_once() {
    let (mut server, taken) = taking();
    let whole = body(160);
    for num in 0..2 {
        let reply = server.ask(&send(Code::PUT, &whole, num, 2));
        assert_eq!((reply.code(), reply.text()), (Code::CONTINUE, ""));
        assert_eq!(block1(&reply), (num, true, 64));
        assert_eq!(server.bodies(), (1, 0));
    }
    assert_eq!(taken.lock().unwrap().len(), 0);
    let done = server.ask(&send(Code::PUT, &whole, 2, 2));
    assert_eq!(done.code(), Code::CHANGED);
    assert_eq!(block1(&done), (2, false, 64));
    assert_eq!(*taken.lock().unwrap(), [whole]);
    assert_eq!(server.bodies(), (0, 0));
    // Whole in one block.
    let one = server.ask(&send(Code::PUT, b"on", 0, 6));
    assert_eq!(
        (one.code(), block1(&one)),
        (Code::CHANGED, (0, false, 1_024))
    );
    assert_eq!(taken.lock().unwrap()[1], b"on");
}

#[test]
fn blocks_that_do_not_follow_each_other_are_refused() {
    let (mut server, taken) = taking();
    let whole = body(200);
    let incomplete = Code::REQUEST_ENTITY_INCOMPLETE;
    assert_eq!(
        server.ask(&send(Code::PUT, &whole, 1, 2)).code(),
        incomplete
    );
    server.ask(&send(Code::PUT, &whole, 0, 2));
    assert_eq!(
        server.ask(&send(Code::PUT, &whole, 2, 2)).code(),
        incomplete
    );
    // The same block again, in a new message, changes nothing.
    let again = server.ask(&send(Code::PUT, &whole, 0, 2).from("[fe80::99]:61616"));
    assert_eq!(again.code(), Code::CONTINUE);
    server.ask(&send(Code::PUT, &whole, 1, 2));
    let again = server.ask(&send(Code::PUT, &whole, 1, 2));
    assert_eq!(block1(&again), (1, true, 64));
    // Another one in its place does not fit.
    let forged = ask(Code::PUT, "/a")
        .option(OptionNumber::BLOCK1, &block(1, true, 2))
        .payload(&[9; 64]);
    assert_eq!(server.ask(&forged).code(), incomplete);
    server.ask(&send(Code::PUT, &whole, 2, 2));
    assert_eq!(
        server.ask(&send(Code::PUT, &whole, 3, 2)).code(),
        Code::CHANGED
    );
    assert_eq!(*taken.lock().unwrap(), core::slice::from_ref(&whole));
    // After completion there is nothing to add to.
    assert_eq!(
        server.ask(&send(Code::PUT, &whole, 3, 2)).code(),
        incomplete
    );

    // A block is as long as it says, the last one at most.
    for (more, length, code) in [
        (true, 63, Code::BAD_REQUEST),
        (true, 65, Code::BAD_REQUEST),
        (false, 65, Code::BAD_REQUEST),
        (false, 64, Code::CHANGED),
        (false, 0, Code::CHANGED),
        (true, 64, Code::CONTINUE),
    ] {
        let ask = ask(Code::PUT, "/a")
            .option(OptionNumber::BLOCK1, &block(0, more, 2))
            .payload(&vec![1; length]);
        assert_eq!(server.ask(&ask).code(), code, "{more} {length}");
    }
}

#[test]
fn the_server_states_the_size_that_it_prefers_and_takes_both() {
    let (mut server, taken) = taking_with(ServerBlocks {
        size: BlockSize::new(32).unwrap(),
        ..ServerBlocks::default()
    });
    let whole = body(200);
    let first = server.ask(&send(Code::PUT, &whole, 0, 3));
    assert_eq!(
        (first.code(), block1(&first)),
        (Code::CONTINUE, (0, true, 32))
    );
    // RFC 7959 figure 9: 128 bytes are there, block 4 of 32 bytes is next.
    for num in 4..6 {
        let next = server.ask(&send(Code::PUT, &whole, num, 1));
        assert_eq!(block1(&next), (num, true, 32));
    }
    let last = server.ask(&send(Code::PUT, &whole, 6, 1));
    assert_eq!(last.code(), Code::CHANGED);
    assert_eq!(*taken.lock().unwrap(), [whole]);
}

#[test]
fn operations_are_told_apart_by_peer_sender_options_and_request_tag() {
    let (mut server, taken) = taking();
    let (one, two) = (body(100), vec![3; 100]);
    let tagged = |whole: &[u8], num, tag: &[u8]| {
        send(Code::PUT, whole, num, 2).option(OptionNumber(292), tag)
    };
    // No tag, an empty one, and another one.
    server.ask(&send(Code::PUT, &one, 0, 2));
    server.ask(&tagged(&two, 0, b""));
    server.ask(&tagged(&one, 0, b"\x01"));
    assert_eq!(server.bodies().0, 3);
    // Another sender at the same address, and another address.
    assert_eq!(
        server.ask(&send(Code::PUT, &one, 1, 2).by("a")).code(),
        Code::REQUEST_ENTITY_INCOMPLETE
    );
    let elsewhere = send(Code::PUT, &one, 1, 2).from("[fe80::99]:61617");
    assert_eq!(
        server.ask(&elsewhere).code(),
        Code::REQUEST_ENTITY_INCOMPLETE
    );
    // Another Content-Format is not put together with it (RFC 7959 section 2.3).
    let format = send(Code::PUT, &one, 1, 2).uint(OptionNumber::CONTENT_FORMAT, 42);
    assert_eq!(server.ask(&format).code(), Code::REQUEST_ENTITY_INCOMPLETE);
    let post = send(Code::POST, &one, 1, 2);
    assert_eq!(server.ask(&post).code(), Code::REQUEST_ENTITY_INCOMPLETE);
    server.ask(&tagged(&two, 1, b""));
    server.ask(&send(Code::PUT, &one, 1, 2));
    assert_eq!(*taken.lock().unwrap(), [two, one]);
    assert_eq!(server.bodies().0, 1);
}

#[test]
fn a_transfer_that_begins_again_overwrites_what_was_there() {
    let (mut server, taken) = taking();
    let (one, two) = (body(200), vec![3; 100]);
    server.ask(&send(Code::PUT, &one, 0, 2));
    server.ask(&send(Code::PUT, &one, 1, 2));
    server.ask(&send(Code::PUT, &two, 0, 2));
    assert_eq!(server.bodies().0, 1);
    server.ask(&send(Code::PUT, &two, 1, 2));
    assert_eq!(*taken.lock().unwrap(), [two]);
}

#[test]
fn bodies_beyond_the_limit_are_refused_with_the_size_that_is_allowed() {
    let limits = ServerBlocks {
        body: 128,
        ..ServerBlocks::default()
    };
    let too_large = |reply: &Reply| {
        assert_eq!(reply.code(), Code::REQUEST_ENTITY_TOO_LARGE);
        let size = reply.response().options.get(OptionNumber::SIZE1);
        assert_eq!(size, Some(&[128][..]));
    };
    let (mut server, taken) = taking_with(limits);
    let whole = body(128);
    // As much as is allowed.
    server.ask(&send(Code::PUT, &whole, 0, 2));
    assert_eq!(
        server.ask(&send(Code::PUT, &whole, 1, 2)).code(),
        Code::CHANGED
    );
    assert_eq!(taken.lock().unwrap().len(), 1);
    // One byte more, told at once or noticed late.
    let stated = |size: u32| send(Code::PUT, &whole, 0, 2).uint(OptionNumber::SIZE1, size);
    assert_eq!(server.ask(&stated(128)).code(), Code::CONTINUE);
    too_large(&server.ask(&stated(129)));
    too_large(&server.ask(&stated(1 << 30)));
    let longer = body(129);
    server.ask(&send(Code::PUT, &longer, 0, 2));
    too_large(&server.ask(&send(Code::PUT, &longer, 1, 2)));
    assert_eq!(server.bodies().0, 0);
    assert_eq!(taken.lock().unwrap().len(), 1);
    // The last block number there is.
    let far = ask(Code::PUT, "/a")
        .option(OptionNumber::BLOCK1, &block(BlockValue::MAX_NUM, false, 6))
        .payload(b"x");
    assert_eq!(server.ask(&far).code(), Code::REQUEST_ENTITY_INCOMPLETE);
}

#[test]
fn nobody_takes_all_the_room_for_incomplete_bodies_and_time_makes_room_again() {
    let limits = ServerBlocks {
        incomplete: 6, // of these 3 for those who prove nothing
        incomplete_per_address: 2,
        incomplete_for: Duration::from_secs(10),
        ..ServerBlocks::default()
    };
    let (mut server, _) = taking_with(limits);
    let whole = body(300);
    let first = |peer: &str| send(Code::PUT, &whole, 0, 2).from(peer);
    let second = |peer: &str| send(Code::PUT, &whole, 1, 2).from(peer);
    let no_room = |reply: &Reply, seconds: u8| {
        assert_eq!(reply.code(), Code::SERVICE_UNAVAILABLE);
        let age = reply.response().options.get(OptionNumber::MAX_AGE);
        assert_eq!(age, Some(&[seconds][..]));
    };
    for peer in ["10.0.0.1:1", "10.0.0.1:2"] {
        assert_eq!(server.ask(&first(peer)).code(), Code::CONTINUE);
        assert_eq!(server.ask(&second(peer)).code(), Code::CONTINUE);
    }
    no_room(&server.ask(&first("10.0.0.1:3")), 10);
    // Whoever has only begun gives way to the next one that does.
    for peer in ["10.0.0.4:1", "10.0.0.5:1", "10.0.0.2:1"] {
        assert_eq!(server.ask(&first(peer)).code(), Code::CONTINUE);
        assert_eq!(server.bodies().0, 3);
    }
    let lost = server.ask(&second("10.0.0.4:1"));
    assert_eq!(lost.code(), Code::REQUEST_ENTITY_INCOMPLETE);
    assert_eq!(server.ask(&second("10.0.0.2:1")).code(), Code::CONTINUE);
    let later = NOW + Duration::from_secs(4);
    no_room(&server.ask_at(later, &first("10.0.0.3:1")), 6);
    // One of them goes on: it stays longer.
    let next = body(200);
    let going = |num| send(Code::PUT, &next, num, 2).from("10.0.0.2:1");
    server.ask(&going(0));
    assert_eq!(server.ask_at(later, &going(1)).code(), Code::CONTINUE);
    let end = NOW + Duration::from_secs(10);
    assert_eq!(server.next_timeout(), Some(end));
    let reply = server.ask_at(end, &send(Code::PUT, &whole, 2, 2).from("10.0.0.1:1"));
    assert_eq!(reply.code(), Code::REQUEST_ENTITY_INCOMPLETE);
    assert_eq!(server.bodies().0, 1);
    assert_eq!(server.ask_at(end, &going(2)).code(), Code::CONTINUE);

    // Half of the bytes for one address.
    let limits = ServerBlocks {
        incomplete_bytes: 400,
        ..ServerBlocks::default()
    };
    let (mut server, _) = taking_with(limits);
    let large = body(300);
    let from = |num, peer: &str| send(Code::PUT, &large, num, 2).from(peer);
    for num in 0..4 {
        let reply = server.ask(&from(num, "10.0.0.1:1"));
        let full = 64 * (num as usize + 1) + 5 > 200; // with the key: Uri-Path "a"
        assert_eq!(reply.code() == Code::SERVICE_UNAVAILABLE, full, "{num}");
    }
    assert_eq!(server.ask(&from(0, "10.0.0.2:1")).code(), Code::CONTINUE);
}

#[test]
fn if_none_match_of_the_first_block_counts_for_the_whole() {
    let (mut server, taken) = taking();
    let whole = body(100);
    let first = send(Code::PUT, &whole, 0, 2).option(OptionNumber::IF_NONE_MATCH, b"");
    assert_eq!(server.ask(&first).code(), Code::CONTINUE);
    server.ask(&send(Code::PUT, &whole, 1, 2));
    assert_eq!(
        *taken.lock().unwrap(),
        [whole.clone(), b"If-None-Match".to_vec()]
    );
    server.ask(&send(Code::PUT, &whole, 0, 2));
    server.ask(&send(Code::PUT, &whole, 1, 2));
    assert_eq!(taken.lock().unwrap().len(), 3);
}

#[test]
fn a_large_request_has_a_large_response() {
    let (mut server, _) = taking();
    let whole = body(150);
    // RFC 7959 figure 11.
    server.ask(&send(Code::POST, &whole, 0, 2));
    server.ask(&send(Code::POST, &whole, 1, 2));
    let early = send(Code::POST, &whole, 2, 2).option(OptionNumber::BLOCK2, &block(0, false, 2));
    let first = server.ask(&early);
    assert_eq!(first.code(), Code::CHANGED);
    assert_eq!(
        (block1(&first), block2(&first)),
        ((2, false, 64), (0, true, 64))
    );
    let rest =
        |num, szx| ask(Code::POST, "/a").option(OptionNumber::BLOCK2, &block(num, false, szx));
    let next = server.ask(&rest(1, 2));
    assert_eq!((next.code(), block2(&next)), (Code::CHANGED, (1, true, 64)));
    assert_eq!(next.response().payload, whole[64..128]);
    assert_eq!(next.response().options.get(OptionNumber::BLOCK1), None);
    assert_eq!(etag(&next), etag(&first));
    // A smaller size, from the beginning.
    let late = server.ask(&rest(0, 0));
    assert_eq!(
        (block2(&late), &late.response().payload[..]),
        ((0, true, 16), &whole[..16])
    );
    let last = server.ask(&rest(2, 2));
    assert_eq!(block2(&last), (2, false, 64));
    assert_eq!(last.response().payload, whole[128..]);
    // Of what is not kept there is no other block.
    let lost = rest(1, 2).from("[fe80::98]:61616");
    assert_eq!(server.ask(&lost).code(), Code::REQUEST_ENTITY_INCOMPLETE);
    // Block 1 of a response to a request that is not complete.
    let both = send(Code::POST, &whole, 0, 2).option(OptionNumber::BLOCK2, &block(1, false, 2));
    assert_eq!(server.ask(&both).code(), Code::BAD_OPTION);
}

#[test]
fn no_response_does_not_stop_a_transfer() {
    let (mut server, taken) = taking();
    let whole = body(100);
    let quiet = |num| send(Code::PUT, &whole, num, 2).no_response(NoResponse::ALL);
    assert_eq!(server.ask(&quiet(0)).code(), Code::CONTINUE);
    assert_eq!(server.ask(&quiet(1)).silence(), SilenceReason::NoResponse);
    assert_eq!(taken.lock().unwrap().len(), 1);
}

// Covers: GC-3.7-05, GN-3.8-04
#[test]
fn block1_and_q_block_through_groups_are_never_processed() {
    let (mut server, taken) = taking();
    for value in [block(0, false, 6), block(0, true, 0), block(3, false, 6)] {
        let put = ask(Code::PUT, "/a")
            .option(OptionNumber::BLOCK1, &value)
            .payload(&[1; 16]);
        let reply = server.ask(&put.to(ALL_NODES));
        assert_eq!(reply.silence(), SilenceReason::BlockwiseGroupRequest);
    }
    assert_eq!((server.bodies(), taken.lock().unwrap().len()), ((0, 0), 0));
    let (mut server, count) = holding(10, open_policy());
    for q_block in [OptionNumber::Q_BLOCK1, OptionNumber::Q_BLOCK2] {
        let asks = get("/r").option(q_block, b"").to(ALL_NODES);
        let silence = server.ask(&asks).silence();
        assert_eq!(silence, SilenceReason::BlockwiseGroupRequest);
    }
    assert_eq!(runs(&count), 0);
    assert_eq!(server.ask(&get("/r").to(ALL_NODES)).code(), Code::CONTENT);
}

#[test]
fn blocks_of_a_deferred_handler() {
    let mut server = server();
    let resource = Resource::at("/a")
        .deferred(Methods::POST)
        .access(Access::Unsecured);
    server.add(resource).unwrap();
    let whole = body(100);
    server.ask(&send(Code::POST, &whole, 0, 2));
    let Disposition::Deferred(deferred) = server.ask(&send(Code::POST, &whole, 1, 2)).disposition
    else {
        panic!("not deferred");
    };
    let assembled = deferred.assembled.unwrap();
    let message = Message::parse(&assembled).unwrap();
    assert_eq!(message.payload(), whole);
    assert_eq!(message.option(OptionNumber::BLOCK1), None);
    assert_eq!(message.option(OptionNumber::URI_PATH), Some(&b"a"[..]));
    let mut response = Response::new(Code::CHANGED);
    response.payload = body(1_500);
    let disposition = server.finish(NOW, &deferred.context, &mut response);
    let reply = Reply {
        disposition,
        response,
    };
    assert_eq!(
        (block1(&reply), block2(&reply)),
        ((1, false, 64), (0, true, 1_024))
    );
    let next = ask(Code::POST, "/a").option(OptionNumber::BLOCK2, &block(1, false, 6));
    assert_eq!(server.ask(&next).response().payload, body(1_500)[1_024..]);
}

#[test]
fn access_is_decided_for_every_block() {
    let mut server = server();
    let handler = |_: &Incoming<'_>, response: &mut Response| response.payload = body(2_000);
    server
        .add(Resource::at("/r").get(handler).put(says("")))
        .unwrap();
    let first = server.ask(&get("/r").by("a"));
    assert_eq!(block2(&first), (0, true, 1_024));
    assert_eq!(server.ask(&get_block(1, 6)).code(), Code::UNAUTHORIZED);
    assert_eq!(server.ask(&get_block(1, 6).by("a")).code(), Code::CONTENT);
    let put = ask(Code::PUT, "/r")
        .option(OptionNumber::BLOCK1, &block(0, true, 0))
        .payload(&[0; 16]);
    assert_eq!(server.ask(&put).code(), Code::UNAUTHORIZED);
    assert_eq!(server.bodies().0, 0);
}
