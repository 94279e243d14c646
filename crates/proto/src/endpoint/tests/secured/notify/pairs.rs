//! Observations under plain OSCORE, between two that share a Security Context (RFC 8613 sections 4.1.3.5 and 7.4.1).

use antiphon_oscore::{Pair, PairId, PairParameters, PairSettings};

use super::*;

/// The context as one of the two has it.
pub(in crate::endpoint::tests::secured) fn pair(own: u8, peer: u8) -> Pair {
    let parameters = PairParameters {
        master_secret: Secret::new(alloc::vec![9; 16]),
        master_salt: Secret::new(alloc::vec![]),
        id_context: None,
        sender_id: Kid::new(&[own]).unwrap(),
        recipient_id: Kid::new(&[peer]).unwrap(),
        hkdf: Hkdf::Sha256,
        aead: Aead::AesCcm16_64_128,
    };
    Pair::new("pair", &parameters, reserved(), PairSettings::default()).unwrap()
}

/// A world in which client and lamp are a pair as well: and its name at the client.
fn paired() -> (Watched, PairId) {
    let mut w = watched();
    let mut add = |node: usize, own, peer| {
        let contexts = w.world.nodes[node].endpoint.security_mut();
        contexts.add_pair(pair(own, peer))
    };
    let id = add(CLIENT, 1, 2);
    add(LAMP, 2, 1);
    (w, id)
}

fn under(pair: PairId, path: &str) -> ObserveRequest {
    let route = request_to(LAMP, path, Protection::None).route;
    let request = Request::new(Code::GET).path(path);
    ObserveRequest {
        every: None,
        ..ObserveRequest::one(request, route, Protection::Pair(pair))
    }
}

#[test]
fn each_notification_to_a_pair_has_its_own_partial_iv_and_an_outer_observe() {
    let (mut w, pair) = paired();
    w.observe(under(pair, "o"));
    let asked = w.world.from(CLIENT);
    let [request] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    let message = request.message();
    assert_eq!(
        message.code(),
        Code::FETCH,
        "outer code of a request with Observe"
    );
    assert_eq!(message.option(OptionNumber::OBSERVE), Some(&[][..]));
    assert_eq!(message.option(OptionNumber::URI_PATH), None);
    assert!(!request.option().group_flag);
    let token = message.token();
    let answered = w.world.from(LAMP)[0].clone();
    assert_eq!(answered.message().code(), Code::CONTENT);
    assert!(answered.message().option(OptionNumber::OBSERVE).is_some());
    assert_eq!(w.observers(LAMP), 1);
    w.world.pass(Duration::from_secs(10));
    let mut numbers = Vec::new();
    for value in 1..=3 {
        w.world.forget_sent();
        w.change(LAMP, value);
        w.world.pass(Duration::from_secs(10));
        let sent = w.world.from(LAMP);
        let [note] = sent.as_slice() else {
            panic!("{sent:?}")
        };
        assert_eq!(note.message().token(), token);
        assert_eq!(note.message().code(), Code::CONTENT);
        assert!(note.message().option(OptionNumber::OBSERVE).is_some());
        let number = note.option().partial_iv.expect("of its own").value();
        numbers.push(number);
        let heard = w.heard();
        let [(text, sender)] = heard.as_slice() else {
            panic!("{heard:?}")
        };
        assert_eq!(*text, alloc::format!("1: {value}"));
        assert!(sender.is_proven());
    }
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}

#[test]
fn the_partial_iv_orders_what_a_pair_hears_and_nothing_is_taken_twice() {
    let (mut w, pair) = paired();
    w.observe(under(pair, "o"));
    w.world.pass(Duration::from_secs(10));
    w.heard();
    // Two notifications; the second one arrives first.
    w.world.lossy = |datagram| datagram.from == LAMP;
    let mut notes = Vec::new();
    for value in 1..=2 {
        w.world.sent.clear();
        w.change(LAMP, value);
        w.world.pass(Duration::from_secs(10));
        notes.push(w.world.from(LAMP)[0].bytes.clone());
        // Whoever does not acknowledge is not told more.
        let ack = Message::parse(&notes[value as usize - 1]).unwrap();
        let ack = crate::endpoint::answer::empty(Type::Ack, ack.message_id());
        w.world.inject(LAMP, false, address(CLIENT), &ack);
    }
    w.world.lossy = |_| false;
    let again = |bytes: &[u8], mid: u16| {
        let mut bytes = bytes.to_vec();
        bytes[2..4].copy_from_slice(&mid.to_be_bytes());
        bytes
    };
    w.world
        .inject(CLIENT, false, address(LAMP), &again(&notes[1], 0x6001));
    assert_eq!(w.texts(), ["1: 2"]);
    w.world
        .inject(CLIENT, false, address(LAMP), &again(&notes[0], 0x6002));
    w.world
        .inject(CLIENT, false, address(LAMP), &again(&notes[1], 0x6003));
    assert!(w.texts().is_empty(), "overtaken, and said already");
}

#[test]
fn only_the_peer_of_a_pair_ends_its_observation() {
    let (mut w, pair) = paired();
    let id = w.observe(under(pair, "o"));
    w.world.pass(Duration::from_secs(10));
    let token = w.world.from(CLIENT)[0].message().token();
    // Without protection, under the token and from the address of the client.
    let mut bytes = [0; 64];
    let mut writer =
        Writer::new(&mut bytes, Type::Con, Code::GET, MessageId(0x7001), token).unwrap();
    writer.uint_option(OptionNumber::OBSERVE, 1).unwrap();
    writer.option(OptionNumber::URI_PATH, b"o").unwrap();
    let length = writer.finish();
    w.world
        .inject(LAMP, false, address(CLIENT), &bytes[..length]);
    assert_eq!(w.observers(LAMP), 1);
    w.heard();
    // An unprotected notification under the token is none.
    let forged = {
        let mut bytes = [0; 64];
        let mut writer = Writer::new(
            &mut bytes,
            Type::Non,
            Code::CONTENT,
            MessageId(0x7002),
            token,
        )
        .unwrap();
        writer.uint_option(OptionNumber::OBSERVE, 900).unwrap();
        writer.payload(b"forged").unwrap();
        let length = writer.finish();
        bytes[..length].to_vec()
    };
    w.world.inject(CLIENT, false, address(LAMP), &forged);
    assert!(w.heard().is_empty());
    let now = w.world.now;
    w.world.nodes[CLIENT].endpoint.end_observation(now, id);
    w.world.run();
    assert_eq!(w.observers(LAMP), 0);
}

#[test]
fn a_large_notification_to_a_pair_is_put_together_from_inner_blocks() {
    let (mut w, pair) = paired();
    let body: Vec<u8> = (0..3_000_u32).map(|at| (at / 16 * 7 + at) as u8).collect();
    let whole = body.clone();
    let large = Resource::at("big")
        .get(move |_, response| response.payload.clone_from(&whole))
        .observable();
    let server = w.world.nodes[LAMP].endpoint.server_mut();
    server.add(large).unwrap();
    w.observe(ObserveRequest {
        cached: true,
        ..under(pair, "big")
    });
    w.world.pass(Duration::from_secs(10));
    let notes: Vec<_> = w.world.nodes[CLIENT]
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Observation(ObservationEvent::Notification(note)) => Some(note),
            _ => None,
        })
        .collect();
    let [note] = notes.as_slice() else {
        panic!("{notes:?}")
    };
    assert_eq!(note.response.payload, body);
    assert_eq!(w.world.from(CLIENT).len(), 3, "and two more blocks");
    for datagram in &w.world.sent {
        for number in [OptionNumber::BLOCK2, OptionNumber::ETAG] {
            assert_eq!(datagram.message().option(number), None);
        }
    }
    // The cache has it for this context, and for no other.
    w.world.forget_sent();
    let now = w.world.now;
    let client = &mut w.world.nodes[CLIENT].endpoint;
    client
        .request_cached(now, request_to(LAMP, "big", Protection::Pair(pair)))
        .unwrap();
    w.world.run();
    assert_eq!(w.world.sent.len(), 0);
    let cached =
        |event: &Event| matches!(event, Event::Cached { response, .. } if response.payload == body);
    assert!(w.world.nodes[CLIENT].events.iter().any(cached));
    w.world.forget_sent();
    let client = &mut w.world.nodes[CLIENT].endpoint;
    client
        .request_cached(now, request_to(LAMP, "big", Protection::None))
        .unwrap();
    w.world.run();
    assert!(!w.world.from(CLIENT).is_empty(), "it is asked");
}
