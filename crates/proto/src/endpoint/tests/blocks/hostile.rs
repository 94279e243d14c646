//! Servers that do not keep to the rules, or to any.

use super::*;

/// Asks `/r` of a server that answers the n-th request so, and says how that ended.
fn answered_by(
    request: Request,
    answer: impl Fn(usize, &Message<'_>) -> Option<Response>,
) -> (Result<Response, Failure>, Vec<Vec<u8>>) {
    let mut config = EndpointConfig::default();
    config.transfers.body = 4_096;
    let mut client = host(CLIENT, config).endpoint;
    let mut now = Instant::from_millis(1_000);
    let id = client.request(now, unicast(1, request)).unwrap();
    let mut requests = Vec::new();
    let mut out = Vec::new();
    loop {
        while let Some(work) = client.poll_work(now) {
            client.work_done(now, work.id, WorkResult::Done);
        }
        while let Some(transmit) = client.poll_transmit(now, &mut out) {
            let message = Message::parse(&out).unwrap();
            if !message.code().is_request() {
                continue;
            }
            let response = answer(requests.len(), &message);
            requests.push(out.clone());
            assert!(requests.len() < 200, "it never ends");
            let Some(response) = response else { continue };
            let mut bytes = Vec::new();
            let (mid, token) = (message.message_id(), message.token());
            answer::append(&mut bytes, 65_000, Type::Ack, mid, token, &response);
            let path = Path {
                socket: UNICAST,
                local: address(CLIENT),
                interface: 1,
                peer: transmit.route.destination,
            };
            client.handle_datagram(now, path, &bytes);
        }
        while let Some(event) = client.poll_event() {
            match event {
                Event::Response {
                    exchange, response, ..
                } => {
                    assert_eq!(exchange, id);
                    return (Ok(response), requests);
                }
                Event::Failed { failure, .. } => return (Err(failure), requests),
                _ => {}
            }
        }
        now = now + secs(1);
        client.handle_timeout(now);
    }
}

fn block2(num: u32, more: bool, szx: u8, length: usize) -> Response {
    let mut response = Response::new(Code::CONTENT);
    let block = BlockValue::new(num, more, szx).unwrap().encode();
    response.options.push(OptionNumber::ETAG, b"tag");
    response
        .options
        .push(OptionNumber::BLOCK2, block.as_bytes());
    response.payload = alloc::vec![num as u8; length];
    response
}

fn continued(num: u32, more: bool, szx: u8, code: Code) -> Response {
    let mut response = Response::new(code);
    let block = BlockValue::new(num, more, szx).unwrap().encode();
    response
        .options
        .push(OptionNumber::BLOCK1, block.as_bytes());
    response
}

const INCONSISTENT: Result<Response, Failure> = Err(Failure::Body(BodyFailure::Inconsistent));

fn too_large() -> Result<Response, Failure> {
    Err(Failure::Body(BodyFailure::TooLarge(4_096)))
}

#[test]
fn a_body_without_end_is_broken_off_at_the_limit() {
    let (result, requests) = answered_by(get(), |n, _| Some(block2(n as u32, true, 6, 1_024)));
    assert_eq!((result, requests.len()), (too_large(), 4));
    // As much as is allowed.
    let (result, _) = answered_by(get(), |n, _| Some(block2(n as u32, n < 3, 6, 1_024)));
    assert_eq!(result.unwrap().payload.len(), 4_096);
}

#[test]
fn a_claim_of_a_gibibyte_ends_the_transfer_at_once() {
    let (result, requests) = answered_by(get(), |_, _| {
        let mut first = block2(0, true, 6, 1_024);
        first.options.push_uint(OptionNumber::SIZE2, 1 << 30);
        Some(first)
    });
    assert_eq!((result, requests.len()), (too_large(), 1));
    let stated = |size| {
        move |n: usize, _: &Message<'_>| {
            let mut block = block2(n as u32, n == 0, 6, 1_024);
            block.options.push_uint(OptionNumber::SIZE2, size);
            Some(block)
        }
    };
    assert!(answered_by(get(), stated(4_096)).0.is_ok());
    assert_eq!(answered_by(get(), stated(4_097)).0, too_large());
}

#[test]
fn blocks_that_do_not_fit_end_the_transfer() {
    let second: [(&str, Response); 8] = [
        ("another number", block2(2, false, 6, 10)),
        ("the same again", block2(0, true, 6, 1_024)),
        ("the last number", block2(BlockValue::MAX_NUM, false, 6, 10)),
        ("too short", block2(1, true, 6, 1_023)),
        ("too long", block2(1, false, 6, 1_025)),
        ("nothing", block2(1, false, 6, 0)),
        ("in another place", block2(1, false, 5, 10)),
        ("no block", {
            let mut whole = Response::new(Code::CONTENT);
            whole.payload = b"whole".to_vec();
            whole
        }),
    ];
    for (what, second) in second {
        let (result, requests) = answered_by(get(), |n, _| match n {
            0 => Some(block2(0, true, 6, 1_024)),
            _ => Some(second.clone()),
        });
        assert_eq!(result, INCONSISTENT, "{what}");
        assert_eq!(requests.len(), 2);
    }
    let (result, _) = answered_by(get(), |_, _| Some(block2(0, true, 6, 1_000)));
    assert_eq!(
        result, INCONSISTENT,
        "a first block that is not as long as it says"
    );
    // Blocks may become smaller on the way, but not larger.
    let (result, requests) = answered_by(get(), |n, _| {
        Some(
            [
                block2(0, true, 6, 1_024),
                block2(2, true, 5, 512),
                block2(3, false, 5, 1),
            ][n]
                .clone(),
        )
    });
    assert_eq!((result.unwrap().payload.len(), requests.len()), (1_537, 3));
    let (result, _) = answered_by(get(), |n, _| {
        Some(
            [
                block2(0, true, 5, 512),
                block2(1, true, 5, 512),
                block2(1, false, 6, 1),
            ][n]
                .clone(),
        )
    });
    assert_eq!(result, INCONSISTENT);
    // A larger block than was asked for.
    let small = get().option(OptionNumber::BLOCK2, &[0x02]);
    let (result, _) = answered_by(small.clone(), |_, _| Some(block2(0, true, 3, 128)));
    assert_eq!(result, INCONSISTENT);
    let (result, _) = answered_by(small, |n, _| Some(block2(n as u32, n == 0, 2, 64)));
    assert_eq!(result.unwrap().payload.len(), 128);
}

#[test]
fn mixed_tags_formats_and_codes_are_never_put_together() {
    let other = |change: fn(&mut Response)| {
        move |n: usize, _: &Message<'_>| {
            let mut block = block2((n % 2) as u32, n.is_multiple_of(2), 6, 1_024);
            if !n.is_multiple_of(2) {
                change(&mut block);
            }
            Some(block)
        }
    };
    let changes: [fn(&mut Response); 4] = [
        |block| block.options.remove(OptionNumber::ETAG),
        |block| {
            block.options.set(OptionNumber::ETAG, b"tah");
        },
        |block| {
            block.options.push(OptionNumber::CONTENT_FORMAT, b"");
        },
        |block| block.code = Code::CHANGED,
    ];
    for change in changes {
        let (result, requests) = answered_by(get(), other(change));
        assert_eq!(result, Err(Failure::Body(BodyFailure::Changed)));
        assert_eq!(requests.len(), 6, "three attempts");
    }
    // What cannot be asked for twice is not asked for twice.
    let post = Request::new(Code::POST).path("/r");
    let (result, requests) = answered_by(post, other(changes[1]));
    assert_eq!(result, Err(Failure::Body(BodyFailure::Changed)));
    assert_eq!(requests.len(), 2);
}

#[test]
fn an_error_on_the_way_is_the_answer() {
    let (result, _) = answered_by(get(), |n, _| match n {
        0 => Some(block2(0, true, 6, 1_024)),
        _ => Some(Response::new(Code::NOT_FOUND)),
    });
    assert_eq!(result.unwrap().code, Code::NOT_FOUND);
    // Behind the end: it has become shorter, so it is asked for again.
    let (result, requests) = answered_by(get(), |n, _| match n % 2 {
        0 => Some(block2(0, true, 6, 1_024)),
        _ => Some(Response::new(Code::BAD_REQUEST)),
    });
    assert_eq!(result, Err(Failure::Body(BodyFailure::Changed)));
    assert_eq!(requests.len(), 6);
    // The first answer is the answer, whatever it is.
    let (result, _) = answered_by(get(), |_, _| Some(Response::new(Code::BAD_REQUEST)));
    assert_eq!(result.unwrap().code, Code::BAD_REQUEST);
}

#[test]
fn what_follows_the_completed_body_belongs_to_nothing() {
    let mut net = Net::new(2);
    let id = net.ask(1, get());
    net.pass(secs(1));
    assert!(net.response(id).is_some());
    let token = net.requests()[2].message().token();
    let mut bytes = Vec::new();
    let more = block2(3, true, 6, 1_024);
    answer::append(&mut bytes, 2_000, Type::Con, MessageId(9), token, &more);
    let path = Path {
        socket: UNICAST,
        local: address(CLIENT),
        interface: 1,
        peer: address(1),
    };
    let now = net.now;
    net.sent.clear();
    net.hosts[CLIENT]
        .endpoint
        .handle_datagram(now, path, &bytes);
    net.drain(CLIENT);
    assert_eq!(net.sent.len(), 1);
    assert_eq!(net.sent[0].message().kind(), Type::Rst);
    assert_eq!(net.hosts[CLIENT].endpoint.counters().unmatched, 1);
}

/// PUT of a body of 3,000 bytes.
fn put() -> Request {
    let request = Request::new(Code::PUT).path("/r");
    request.payload(ContentFormat::OCTETS, body(3_000))
}

#[test]
fn a_server_may_act_on_each_block() {
    let (result, requests) = answered_by(put(), |n, _| {
        Some(continued(n as u32, false, 6, Code::CHANGED))
    });
    assert_eq!((result.unwrap().code, requests.len()), (Code::CHANGED, 3));
}

#[test]
fn acknowledgements_that_do_not_fit_end_the_transfer() {
    let answers = [
        ("another block", continued(1, true, 6, Code::CONTINUE)),
        ("success that waits", continued(0, true, 6, Code::CHANGED)),
        ("nothing about blocks", Response::new(Code::CHANGED)),
        ("2.31 without it", Response::new(Code::CONTINUE)),
    ];
    for (what, answer) in answers {
        let (result, requests) = answered_by(put(), |_, _| Some(answer.clone()));
        assert_eq!(result, INCONSISTENT, "{what}");
        assert_eq!(requests.len(), 1);
    }
    // "Continue" to the last block.
    let (result, _) = answered_by(put(), |n, _| {
        Some(continued(n as u32, true, 6, Code::CONTINUE))
    });
    assert_eq!(result, INCONSISTENT);
    // 2.31 itself says that more is wanted, with the M bit (RFC 7959 section 2.3) and without it.
    for more in [true, false] {
        let (result, requests) = answered_by(put(), |n, _| match n {
            0 | 1 => Some(continued(n as u32, more, 6, Code::CONTINUE)),
            _ => Some(Response::new(Code::CHANGED)),
        });
        let ended = (result.map(|response| response.code), requests.len());
        assert_eq!(ended, (Ok(Code::CHANGED), 3), "{more}");
    }
    // A larger size than ours is not taken.
    let smaller = Request::new(Code::PUT).path("/r");
    let smaller = smaller.payload(ContentFormat::OCTETS, body(2_000));
    let (_, requests) = answered_by(smaller, |n, _| {
        let size = if n == 0 { 2 } else { 6 };
        match n {
            0 => Some(continued(0, true, size, Code::CONTINUE)),
            1 => Some(continued(16, true, size, Code::CONTINUE)),
            _ => Some(Response::new(Code::CHANGED)),
        }
    });
    let third = Message::parse(&requests[2]).unwrap();
    assert_eq!(third.payload().len(), 64);
}

#[test]
fn a_refusal_is_heeded_so_often_and_then_delivered() {
    // 4.08: from the beginning, twice.
    let lost = |_: usize, _: &Message<'_>| Some(Response::new(Code::REQUEST_ENTITY_INCOMPLETE));
    let (result, requests) = answered_by(put(), lost);
    assert_eq!(result.unwrap().code, Code::REQUEST_ENTITY_INCOMPLETE);
    assert_eq!(requests.len(), 3);
    // 4.13 with a smaller size: once.
    let shrink = |n: usize, _: &Message<'_>| {
        let szx = 5 - n.min(5) as u8;
        Some(continued(0, true, szx, Code::REQUEST_ENTITY_TOO_LARGE))
    };
    let (result, requests) = answered_by(put(), shrink);
    assert_eq!(result.unwrap().code, Code::REQUEST_ENTITY_TOO_LARGE);
    assert_eq!(requests.len(), 2);
    assert_eq!(Message::parse(&requests[1]).unwrap().payload().len(), 512);
    // 4.13 with the size that was used: that is the answer, and so it is without a size.
    let (result, requests) = answered_by(put(), |_, _| {
        Some(continued(0, true, 6, Code::REQUEST_ENTITY_TOO_LARGE))
    });
    assert_eq!(result.unwrap().code, Code::REQUEST_ENTITY_TOO_LARGE);
    assert_eq!(requests.len(), 1);
    let (_, requests) = answered_by(put(), |_, _| {
        Some(Response::new(Code::REQUEST_ENTITY_TOO_LARGE))
    });
    assert_eq!(requests.len(), 1);
}

#[test]
fn a_request_that_was_refused_whole_goes_in_the_blocks_that_the_server_wants() {
    let request = Request::new(Code::PUT).path("/r");
    let request = request.payload(ContentFormat::OCTETS, body(100));
    let answer = |n: usize, _: &Message<'_>| {
        Some(match n {
            0 => continued(0, false, 2, Code::REQUEST_ENTITY_TOO_LARGE),
            1 => continued(0, true, 2, Code::CONTINUE),
            _ => continued(1, false, 2, Code::CHANGED),
        })
    };
    let (result, requests) = answered_by(request.clone(), answer);
    assert_eq!(result.unwrap().code, Code::CHANGED);
    let lengths: Vec<_> = requests
        .iter()
        .map(|bytes| Message::parse(bytes).unwrap().payload().len())
        .collect();
    assert_eq!(lengths, [100, 64, 36]);
    // A size that it would fit anyway is no hint.
    let (result, requests) = answered_by(request, |_, _| {
        Some(continued(0, false, 3, Code::REQUEST_ENTITY_TOO_LARGE))
    });
    assert_eq!(result.unwrap().code, Code::REQUEST_ENTITY_TOO_LARGE);
    assert_eq!(requests.len(), 1);
}

#[test]
fn what_concerns_the_first_request_only_is_not_repeated() {
    let request = get()
        .option(OptionNumber::ETAG, b"old")
        .option(OptionNumber::SIZE2, b"")
        .option(OptionNumber::ACCEPT, &[42]);
    let (result, requests) = answered_by(request, |n, _| Some(block2(n as u32, n == 0, 6, 1_024)));
    assert!(result.is_ok());
    let second = Message::parse(&requests[1]).unwrap();
    for number in [OptionNumber::ETAG, OptionNumber::SIZE2] {
        assert_eq!(second.option(number), None);
    }
    assert_eq!(second.option(OptionNumber::ACCEPT), Some(&[42][..]));
    let request = put().option(OptionNumber::IF_NONE_MATCH, b"");
    let (_, requests) = answered_by(request, |n, _| {
        Some(continued(
            n as u32,
            n < 2,
            6,
            if n < 2 { Code::CONTINUE } else { Code::CREATED },
        ))
    });
    let has = |bytes: &Vec<u8>| {
        let message = Message::parse(bytes).unwrap();
        message.option(OptionNumber::IF_NONE_MATCH).is_some()
    };
    let has: Vec<_> = requests.iter().map(has).collect();
    assert_eq!(has, [true, false, false]);
}

#[test]
fn whoever_names_a_block_gets_what_comes_and_no_transfer_begins() {
    // The second block was asked for, and the first one comes.
    let second = get().option(OptionNumber::BLOCK2, &[0x16]);
    let (result, requests) = answered_by(second, |_, _| Some(block2(0, true, 6, 1_024)));
    let response = result.unwrap();
    assert_eq!((response.payload.len(), requests.len()), (1_024, 1));
    let block = response.options.get(OptionNumber::BLOCK2);
    assert_eq!(block, Some(&[0x0e][..]));
    // A body in blocks of the application's own.
    let own = Request::new(Code::POST).path("/r");
    let own = own.option(OptionNumber::BLOCK1, &[0x06]);
    let own = own.payload(ContentFormat::OCTETS, body(100));
    let (result, requests) = answered_by(own, |_, _| Some(block2(0, true, 2, 64)));
    let response = result.unwrap();
    assert_eq!((response.payload.len(), requests.len()), (64, 1));
    let block = response.options.get(OptionNumber::BLOCK2);
    assert_eq!(block, Some(&[0x0a][..]));
    // Without it a transfer begins.
    let (_, requests) = answered_by(get(), |n, _| Some(block2(n as u32, n == 0, 6, 1_024)));
    assert_eq!(requests.len(), 2);
}
