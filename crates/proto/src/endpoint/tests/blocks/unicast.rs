//! One client and one server.

use super::*;
use crate::collection::LinkProfile;

#[test]
fn a_large_representation_arrives_whole() {
    let mut net = Net::new(2);
    let id = net.ask(1, get());
    net.pass(secs(1));
    let response = net.response(id).unwrap();
    assert_eq!(response.code, Code::CONTENT);
    assert_eq!(response.payload, body(3_000));
    assert_eq!(response.options.get(OptionNumber::BLOCK2), None);
    assert_eq!(
        response.options.get(OptionNumber::CONTENT_FORMAT),
        Some(&[42][..])
    );
    assert_eq!(net.asked(1), 1);
    let blocks: Vec<_> = net
        .requests()
        .iter()
        .map(|d| d.block(OptionNumber::BLOCK2))
        .collect();
    assert_eq!(
        blocks,
        [None, Some((1, false, 1_024)), Some((2, false, 1_024))]
    );
    let tokens: Vec<_> = net.requests().iter().map(|d| d.message().token()).collect();
    assert_ne!(tokens[0], tokens[1]);
    assert_ne!(tokens[1], tokens[2]);
    let received = |bytes| BodyProgress {
        sending: false,
        bytes,
        total: None,
    };
    assert_eq!(net.progress(id), [received(1_024), received(2_048)]);
    let events = &net.hosts[CLIENT].events;
    let Some(Event::Response { after, .. }) = events.last() else {
        panic!("{events:?}");
    };
    assert_eq!(*after, Duration::from_millis(30), "since the first request");
    assert_eq!(net.hosts[CLIENT].endpoint.load().exchanges, 0);
    assert!(net.hosts[CLIENT].endpoint.client.transfers.is_clear());
}

#[test]
fn a_large_body_is_sent_and_processed_once() {
    let mut net = Net::new(2);
    let whole = body(3_000);
    let id = net.ask(
        1,
        Request::new(Code::PUT)
            .path("/r")
            .payload(ContentFormat::OCTETS, whole.clone()),
    );
    net.pass(secs(1));
    assert_eq!(net.response(id).unwrap().code, Code::CHANGED);
    let options = &net.response(id).unwrap().options;
    assert_eq!(options.get(OptionNumber::BLOCK1), None);
    assert_eq!(*net.hosts[1].put.lock().unwrap(), [whole]);
    let blocks: Vec<_> = net
        .requests()
        .iter()
        .map(|d| d.block(OptionNumber::BLOCK1).unwrap())
        .collect();
    assert_eq!(
        blocks,
        [(0, true, 1_024), (1, true, 1_024), (2, false, 1_024)]
    );
    let size1: Vec<_> = net
        .requests()
        .iter()
        .map(|d| d.message().option(OptionNumber::SIZE1).is_some())
        .collect();
    assert_eq!(size1, [true, false, false]);
    // Nothing else is under way: no Request-Tag is needed.
    let tagged = |d: &&&Flying| d.message().option(OptionNumber::REQUEST_TAG).is_some();
    assert_eq!(net.requests().iter().filter(tagged).count(), 0);
    let sent = |bytes| BodyProgress {
        sending: true,
        bytes,
        total: Some(3_000),
    };
    assert_eq!(net.progress(id), [sent(1_024), sent(2_048)]);
    // What fits into one block has no option.
    net.sent.clear();
    let request = Request::new(Code::PUT).path("/r");
    net.ask(1, request.payload(ContentFormat::OCTETS, body(1_024)));
    net.pass(secs(1));
    assert_eq!(net.requests().len(), 1);
    assert_eq!(net.requests()[0].block(OptionNumber::BLOCK1), None);
}

#[test]
fn both_bodies_of_a_post_are_large() {
    let mut net = Net::new(2);
    let whole = body(2_500);
    let request = Request::new(Code::POST).path("/r");
    let id = net.ask(1, request.payload(ContentFormat::OCTETS, whole.clone()));
    net.pass(secs(1));
    let reversed: Vec<u8> = whole.iter().rev().copied().collect();
    assert_eq!(net.response(id).unwrap().payload, reversed);
    assert_eq!(net.hosts[1].put.lock().unwrap().len(), 1);
    let last = net.requests()[4].message();
    assert!(last.payload().is_empty());
    assert_eq!(net.requests()[4].block(OptionNumber::BLOCK1), None);
    assert_eq!(
        net.requests()[4].block(OptionNumber::BLOCK2),
        Some((2, false, 1_024))
    );
}

#[test]
fn bodies_survive_the_loss_of_every_third_datagram() {
    let mut net = Net::with(2, |_, config| {
        // So that a request which gets no answer at all is as rare as a few in a thousand million.
        config.transmission.set_max_retransmit(20).unwrap();
        config.transfers.patience = secs(1_000_000_000);
        config.server.blocks.incomplete_for = secs(1_000_000_000);
    });
    net.loss = 33;
    let whole = body(20_000);
    let get = net.ask(1, get());
    let put = Request::new(Code::PUT).path("/r");
    let put = net.ask(1, put.payload(ContentFormat::OCTETS, whole.clone()));
    net.pass(secs(100_000));
    assert_eq!(net.response(get).unwrap().payload, body(3_000));
    assert_eq!(net.response(put).unwrap().code, Code::CHANGED);
    assert_eq!(*net.hosts[1].put.lock().unwrap(), [whole]);
    assert!(net.hosts[CLIENT].endpoint.counters().retransmissions > 5);
}

#[test]
fn a_transfer_does_not_hold_up_other_requests() {
    let mut net = Net::new(2);
    *net.hosts[1].body.lock().unwrap() = body(100_000);
    let long = net.ask(1, get());
    net.pass(Duration::from_millis(100));
    let short = net.ask(1, Request::new(Code::DELETE).path("/r"));
    net.pass(Duration::from_millis(20));
    assert_eq!(net.response(short).unwrap().code, Code::METHOD_NOT_ALLOWED);
    assert!(net.response(long).is_none());
    net.pass(secs(2));
    assert_eq!(net.response(long).unwrap().payload, body(100_000));
}

#[test]
fn a_constrained_link_has_blocks_of_64_bytes_from_the_beginning() {
    let mut net = Net::with(2, |n, config| {
        if n == CLIENT {
            config.collections.link = LinkProfile::SixLowpan {
                budget: 64,
                larger: crate::collection::Larger::Warn,
            };
        }
    });
    *net.hosts[1].body.lock().unwrap() = body(130);
    let id = net.ask(1, get());
    net.pass(secs(1));
    assert_eq!(net.response(id).unwrap().payload, body(130));
    let blocks: Vec<_> = net
        .requests()
        .iter()
        .map(|d| d.block(OptionNumber::BLOCK2).unwrap())
        .collect();
    assert_eq!(blocks, [(0, false, 64), (1, false, 64), (2, false, 64)]);
    net.sent.clear();
    let put = Request::new(Code::PUT).path("/r");
    net.ask(1, put.payload(ContentFormat::OCTETS, body(65)));
    net.pass(secs(1));
    let blocks: Vec<_> = net
        .requests()
        .iter()
        .map(|d| d.block(OptionNumber::BLOCK1).unwrap())
        .collect();
    assert_eq!(blocks, [(0, true, 64), (1, false, 64)]);
}

#[test]
fn the_sizes_that_the_server_prefers_are_heeded() {
    let mut net = Net::with(2, |n, config| {
        if n == 1 {
            config.server.blocks.size = BlockSize::new(256).unwrap();
        }
    });
    let id = net.ask(1, get());
    net.pass(secs(1));
    assert_eq!(net.response(id).unwrap().payload, body(3_000));
    assert_eq!(net.requests().len(), 12);
    net.sent.clear();
    let put = Request::new(Code::PUT).path("/r");
    let id = net.ask(1, put.payload(ContentFormat::OCTETS, body(1_500)));
    net.pass(secs(1));
    assert_eq!(net.response(id).unwrap().code, Code::CHANGED);
    let blocks: Vec<_> = net
        .requests()
        .iter()
        .map(|d| d.block(OptionNumber::BLOCK1).unwrap())
        .collect();
    // RFC 7959 figure 9: the first block counts as four of the smaller size.
    assert_eq!(blocks, [(0, true, 1_024), (4, true, 256), (5, false, 256)]);
    assert_eq!(*net.hosts[1].put.lock().unwrap(), [body(1_500)]);
}

#[test]
fn a_representation_that_changes_is_fetched_again_and_never_mixed() {
    let kept_nothing = |n: usize, config: &mut EndpointConfig| {
        if n == 1 {
            config.server.blocks.kept = 0;
        }
    };
    let mut net = Net::with(2, kept_nothing);
    let id = net.ask(1, get());
    net.pass(Duration::from_millis(12));
    let changed: Vec<u8> = body(3_000).iter().map(|b| !b).collect();
    *net.hosts[1].body.lock().unwrap() = changed.clone();
    net.pass(secs(1));
    assert_eq!(net.response(id).unwrap().payload, changed);
    let again = |d: &&&Flying| d.block(OptionNumber::BLOCK2).is_none();
    assert_eq!(net.requests().iter().filter(again).count(), 2);

    // It becomes shorter than what was fetched already.
    let mut net = Net::with(2, kept_nothing);
    let id = net.ask(1, get());
    net.pass(Duration::from_millis(12));
    *net.hosts[1].body.lock().unwrap() = body(500);
    net.pass(secs(1));
    assert_eq!(net.response(id).unwrap().payload, body(500));

    // It changes all the time: two more attempts, then that is said.
    let mut net = Net::with(2, kept_nothing);
    let id = net.ask(1, get());
    for n in 0..20 {
        net.hosts[1].body.lock().unwrap()[0] = n;
        net.pass(Duration::from_millis(10));
    }
    assert_eq!(net.failure(id), Some(Failure::Body(BodyFailure::Changed)));
    assert_eq!(net.requests().iter().filter(again).count(), 3);
}

#[test]
fn a_range_is_fetched_by_the_blocks_that_hold_it() {
    let mut net = Net::new(2);
    let now = net.now;
    let mut fetch = |start, length| {
        net.sent.clear();
        let asked = unicast(1, get());
        let endpoint = &mut net.hosts[CLIENT].endpoint;
        let id = endpoint.request_range(now, asked, start, length).unwrap();
        net.pass(secs(1));
        let blocks: Vec<_> = net
            .requests()
            .iter()
            .map(|d| d.block(OptionNumber::BLOCK2).unwrap().0)
            .collect();
        let response = net.response(id).unwrap().clone();
        (response, blocks)
    };
    let whole = body(3_000);
    let (response, blocks) = fetch(1_500, 10);
    assert_eq!(
        (&response.payload[..], blocks),
        (&whole[1_500..1_510], [1].to_vec())
    );
    assert_eq!(response.options.get(OptionNumber::BLOCK2), None);
    let (response, blocks) = fetch(1_000, 1_048);
    assert_eq!(
        (&response.payload[..], blocks),
        (&whole[1_000..2_048], [0, 1].to_vec())
    );
    let (response, blocks) = fetch(2_047, 2);
    assert_eq!(
        (&response.payload[..], blocks),
        (&whole[2_047..2_049], [1, 2].to_vec())
    );
    let (response, _) = fetch(2_900, 500);
    assert_eq!(response.payload, whole[2_900..]);
    let (response, blocks) = fetch(5_000, 1);
    assert_eq!((response.code, blocks), (Code::BAD_REQUEST, [4].to_vec()));
    let endpoint = &mut net.hosts[CLIENT].endpoint;
    let far = endpoint.request_range(now, unicast(1, get()), usize::MAX, 1);
    assert_eq!(far, Err(RequestError::TooLarge));
    let put = unicast(1, Request::new(Code::PUT).path("/r"));
    assert_eq!(
        endpoint.request_range(now, put, 0, 1),
        Err(RequestError::NotAMethod)
    );
    // One block by its number, as it is.
    let single = get().option(OptionNumber::BLOCK2, &[0x16]);
    let id = net.ask(1, single);
    net.pass(secs(1));
    let response = net.response(id).unwrap();
    assert_eq!(response.payload, whole[1_024..2_048]);
    assert_eq!(
        response.options.get(OptionNumber::BLOCK2),
        Some(&[0x1e][..])
    );
}

#[test]
fn transfers_to_the_same_resource_have_request_tags_of_their_own() {
    let mut net = Net::with(2, |_, config| {
        config.transmission.set_nstart(8).unwrap();
    });
    let put = |byte: u8| {
        let request = Request::new(Code::PUT).path("/r");
        request.payload(ContentFormat::OCTETS, alloc::vec![byte; 2_000])
    };
    let ids = [1, 2, 3].map(|byte| net.ask(1, put(byte)));
    net.pass(secs(1));
    for id in ids {
        assert_eq!(net.response(id).unwrap().code, Code::CHANGED);
    }
    let bodies = net.hosts[1].put.lock().unwrap().clone();
    let whole = [1, 2, 3].map(|byte| alloc::vec![byte; 2_000]);
    assert_eq!(bodies, whole);
    let tags = |net: &Net| {
        let tag = |d: &&Flying| {
            let message = d.message();
            message
                .option(OptionNumber::REQUEST_TAG)
                .map(<[u8]>::to_vec)
        };
        net.requests().iter().map(tag).collect::<Vec<_>>()
    };
    let of_each = [None, Some(Vec::new()), Some(alloc::vec![1])];
    assert_eq!(tags(&net)[..3], of_each);
    assert_eq!(tags(&net)[3..], of_each);
    // An operation that is given up leaves its tag taken.
    net.sent.clear();
    let id = net.ask(1, put(4));
    let now = net.now;
    net.hosts[CLIENT].endpoint.cancel(now, id);
    net.pass(secs(2_000)); // PROBING_RATE holds for what was given up
    assert!(net.response(id).is_none() && net.failure(id).is_none());
    net.ask(1, put(5));
    net.pass(secs(1));
    assert_eq!(tags(&net), [None, Some(Vec::new()), Some(Vec::new())]);
    assert!(net.hosts[CLIENT].endpoint.client.transfers.is_clear());
}

#[test]
fn the_server_forgets_half_a_body_and_the_client_sends_it_again() {
    let mut net = Net::new(2);
    let id = net.ask(
        1,
        Request::new(Code::PUT)
            .path("/r")
            .payload(ContentFormat::OCTETS, body(3_000)),
    );
    net.pass(Duration::from_millis(12));
    assert_eq!(net.hosts[1].endpoint.server().bodies(), (1, 0));
    let later = net.now + secs(10_000);
    net.hosts[1]
        .endpoint
        .server_mut()
        .forget_stale_bodies(later);
    net.pass(secs(1));
    assert_eq!(net.response(id).unwrap().code, Code::CHANGED);
    assert_eq!(*net.hosts[1].put.lock().unwrap(), [body(3_000)]);
    let first = |d: &&&Flying| d.block(OptionNumber::BLOCK1).unwrap().0 == 0;
    assert_eq!(net.requests().iter().filter(first).count(), 2);
}

#[test]
fn bodies_beyond_the_limits_are_refused_before_or_while_they_are_transferred() {
    let mut net = Net::with(2, |n, config| {
        config.transfers.body = 2_999;
        if n == 1 {
            config.server.blocks.body = 2_000;
        }
    });
    let now = net.now;
    let put = |length| {
        let request = Request::new(Code::PUT).path("/r");
        request.payload(ContentFormat::OCTETS, body(length))
    };
    let endpoint = &mut net.hosts[CLIENT].endpoint;
    assert_eq!(
        endpoint.request(now, unicast(1, put(3_000))),
        Err(RequestError::TooLarge)
    );
    let id = net.ask(1, put(2_999));
    let fetched = net.ask(1, get());
    net.pass(secs(1));
    let refused = net.response(id).unwrap();
    assert_eq!(refused.code, Code::REQUEST_ENTITY_TOO_LARGE);
    assert_eq!(
        refused.options.get(OptionNumber::SIZE1),
        Some(&[0x07, 0xd0][..])
    );
    assert_eq!(
        net.failure(fetched),
        Some(Failure::Body(BodyFailure::TooLarge(2_999)))
    );
    *net.hosts[1].body.lock().unwrap() = body(2_999);
    let fetched = net.ask(1, get());
    net.pass(secs(1));
    assert_eq!(net.response(fetched).unwrap().payload, body(2_999));

    let mut net = Net::with(2, |_, config| config.transfers.bytes = 4_000);
    let one = net.ask(1, put(2_500));
    let endpoint = &mut net.hosts[CLIENT].endpoint;
    assert_eq!(
        endpoint.request(now, unicast(1, put(2_500))),
        Err(RequestError::TooMany)
    );
    let two = net.ask(1, get());
    net.pass(secs(1));
    assert_eq!(net.response(one).unwrap().code, Code::CHANGED);
    assert_eq!(net.failure(two), Some(Failure::Body(BodyFailure::Crowded)));
    let two = net.ask(1, get());
    net.pass(secs(1));
    assert_eq!(net.response(two).unwrap().payload, body(3_000));
}

#[test]
fn a_transfer_that_takes_too_long_ends_and_one_that_is_given_up_is_silent() {
    let mut net = Net::with(2, |_, config| config.transfers.patience = secs(3));
    *net.hosts[1].body.lock().unwrap() = body(1_000_000);
    net.delay = Duration::from_millis(20);
    let id = net.ask(1, get());
    net.pass(secs(4));
    assert_eq!(net.failure(id), Some(Failure::Body(BodyFailure::TimedOut)));
    let requests = net.requests().len();
    assert!((74..=77).contains(&requests), "{requests}");
    net.pass(secs(10));
    assert_eq!(net.requests().len(), requests);

    let id = net.ask(1, get());
    net.pass(secs(1));
    let now = net.now;
    net.hosts[CLIENT].endpoint.cancel(now, id);
    net.sent.clear();
    net.pass(secs(10));
    assert_eq!(net.requests().len(), 0);
    assert!(net.failure(id).is_none());
    let endpoint = &net.hosts[CLIENT].endpoint;
    assert_eq!(endpoint.load().exchanges, 0);
    assert!(endpoint.client.transfers.is_clear());
}

#[test]
fn whoever_does_not_answer_any_more_fails_the_transfer() {
    let mut net = Net::new(2);
    let id = net.ask(1, get());
    net.pass(Duration::from_millis(12));
    net.loss = 100;
    net.pass(secs(200));
    assert_eq!(net.failure(id), Some(Failure::TimedOut));
}

#[test]
fn fetch_repeats_its_payload_so_that_the_response_can_be_made_again() {
    let mut net = Net::with(2, |n, config| {
        if n == 1 {
            config.server.blocks.kept = 0;
        }
    });
    let request = Request::new(Code::FETCH).path("/r");
    let id = net.ask(
        1,
        request.payload(ContentFormat::OCTETS, b"which".as_slice()),
    );
    net.pass(secs(1));
    assert_eq!(net.response(id).unwrap().payload, body(3_000));
    for datagram in net.requests() {
        assert_eq!(datagram.message().payload(), b"which");
    }
}
