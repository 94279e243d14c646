//! Options, tags and sizes where a body just fits, or is none.

use super::*;

/// A server with `/r`, which answers every method but GET with this, and GET with what it was asked for last.
fn answering(code: Code, length: usize) -> Server {
    let mut server = server();
    let handler = move |_: &Incoming<'_>, response: &mut Response| {
        response.code = code;
        response.payload = body(length);
    };
    let resource = Resource::at("/r")
        .get(handler)
        .post(handler)
        .access(Access::Unsecured)
        .group_policy(open_policy());
    server.add(resource).unwrap();
    server
}

fn option(reply: &Reply, number: OptionNumber) -> Option<Vec<u8>> {
    reply.response().options.get(number).map(<[u8]>::to_vec)
}

#[test]
fn what_is_whole_says_so_unless_there_is_nothing() {
    let asks = |method, num| {
        let asked = ask(method, "/r");
        asked.option(OptionNumber::BLOCK2, &block(num, false, 2))
    };
    // An empty representation is one, an empty answer to a POST is none.
    let empty = answering(Code::CONTENT, 0).ask(&asks(Code::GET, 0));
    assert_eq!(
        (empty.code(), block2(&empty)),
        (Code::CONTENT, (0, false, 64))
    );
    assert_eq!(etag(&empty), None);
    let none = answering(Code::CHANGED, 0).ask(&asks(Code::POST, 0));
    assert_eq!(
        none.code(),
        Code::CHANGED,
        "a new request, not one for the rest"
    );
    assert_eq!(option(&none, OptionNumber::BLOCK2), None);
    assert_eq!(etag(&none), None);
    let some = answering(Code::CHANGED, 64).ask(&asks(Code::POST, 0));
    assert_eq!(
        (some.code(), block2(&some)),
        (Code::CHANGED, (0, false, 64))
    );
    assert_eq!(etag(&some), None, "which only blocks have");
    // Behind a body that fits into one block there is nothing.
    let behind = answering(Code::CONTENT, 10).ask(&asks(Code::GET, 1));
    assert_eq!(behind.code(), Code::BAD_REQUEST);
    assert_eq!(behind.text(), "Block2: behind the end");
    // An empty one has no size to tell.
    let sized = get("/r").option(OptionNumber::SIZE2, b"");
    let none = answering(Code::CONTENT, 0).ask(&sized);
    assert_eq!(option(&none, OptionNumber::SIZE2), None);
    let one = answering(Code::CONTENT, 1).ask(&sized);
    assert_eq!(option(&one, OptionNumber::SIZE2), Some(vec![1]));
}

#[test]
fn an_error_is_sent_whole_and_has_no_tag() {
    let reply = answering(Code::BAD_REQUEST, 1_100).ask(&get("/r"));
    assert_eq!(
        (reply.code(), reply.response().payload.len()),
        (Code::BAD_REQUEST, 1_100)
    );
    assert_eq!(etag(&reply), None);
    assert_eq!(option(&reply, OptionNumber::BLOCK2), None);
}

#[test]
fn a_last_block_that_is_asked_for_alone_is_not_kept() {
    for (length, last, kept) in [(2_048, (1, false), 0), (2_049, (1, true), 1)] {
        let mut server = answering(Code::CONTENT, length);
        let reply = server.ask(&get_block(1, 6));
        assert_eq!(block2(&reply), (last.0, last.1, 1_024));
        assert_eq!(server.bodies(), (0, kept), "{length}");
    }
}

#[test]
fn an_answer_to_a_group_may_be_three_times_as_large_as_its_request_to_the_byte() {
    let padded = |length: usize| {
        let ask = get("/r").to(ALL_NODES);
        let padding = (0..60).find_map(|n| {
            let ask = ask.clone().option(OptionNumber(65_000), &vec![0; n]);
            (ask.bytes().len() == length).then_some(ask)
        });
        padding.unwrap()
    };
    // With 32 bytes of payload 51 in all.
    let (mut server, _) = holding(100, GroupPolicy::respond());
    let exact = server.ask(&padded(17));
    assert_eq!(encoded_len(1, exact.response()), 51);
    assert_eq!(block2(&exact), (0, true, 32));
    assert_eq!(block2(&server.ask(&padded(16))), (0, true, 16));
    // What fits into a block, and is 48 bytes, is whole. One byte less is cut.
    let (mut server, _) = holding(40, GroupPolicy::respond());
    let whole = server.ask(&padded(16));
    assert_eq!(encoded_len(1, whole.response()), 48);
    assert_eq!(option(&whole, OptionNumber::BLOCK2), None);
    assert_eq!(block2(&server.ask(&padded(15))), (0, true, 16));
}

#[test]
fn a_request_in_a_single_block_is_the_message_without_block1() {
    let mut server = server();
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let shown = Arc::clone(&seen);
    let handler = move |request: &Incoming<'_>, _: &mut Response| {
        let message = request.message;
        let has = |number| message.option(number).is_some();
        let options = [OptionNumber::BLOCK1, OptionNumber::SIZE1].map(has);
        shown
            .lock()
            .unwrap()
            .push((options, message.payload().to_vec()));
    };
    let resource = Resource::at("/a").put(handler).access(Access::Unsecured);
    server.add(resource).unwrap();
    let one = send(Code::PUT, b"on", 0, 6).uint(OptionNumber::SIZE1, 2);
    let reply = server.ask(&one);
    assert_eq!(
        (reply.code(), block1(&reply)),
        (Code::CHANGED, (0, false, 1_024))
    );
    assert_eq!(*seen.lock().unwrap(), [([false, false], b"on".to_vec())]);
}
