//! Who finds a place.

use super::*;

fn limited(change: impl FnOnce(&mut crate::server::ObserveConfig)) -> Observed {
    let mut config = EndpointConfig::default();
    change(&mut config.server.observe);
    observed_with(config)
}

/// Registers, and says whether there was a place.
fn is_taken(o: &mut Observed, peer: SocketAddr, token: &[u8]) -> bool {
    let note = o.register(peer, token);
    assert_eq!(
        (note.code, note.payload.as_str()),
        (Code::CONTENT, "0"),
        "answered in any case"
    );
    note.number.is_some()
}

#[test]
fn whoever_finds_no_place_is_answered_once() {
    let mut o = limited(|observe| observe.observers = 4); // of these 2 for strangers
    assert!(is_taken(&mut o, client(1), b"t"));
    assert!(is_taken(&mut o, client(2), b"t"));
    assert!(!is_taken(&mut o, client(3), b"t"));
    assert!(is_taken(&mut o, client(1), b"t"), "who is there may stay");
    assert_eq!((o.observers(), o.counters().refused), (2, 1));
    o.ask(false, client(2), Type::Con, b"t", Some(DEREGISTER));
    assert!(is_taken(&mut o, client(3), b"t"));
    assert!(!is_taken(&mut o, client(2), b"t"));
    assert_eq!(o.change(1).len(), 2);
}

#[test]
fn each_resource_has_its_own_limit() {
    let mut o = limited(|observe| observe.per_resource = 1);
    assert!(is_taken(&mut o, client(1), b"t"));
    assert!(!is_taken(&mut o, client(2), b"t"));
    let other = Resource::at("p")
        .get(|_, response| response.set_payload(ContentFormat::TEXT, b"p"))
        .access(Access::Unsecured)
        .observable();
    o.bench.endpoint.server_mut().add(other).unwrap();
    let options = [
        (OptionNumber::OBSERVE, REGISTER),
        (OptionNumber::URI_PATH, b"p"),
    ];
    let notes = o.ask_with(false, client(2), Type::Con, b"t", Code::GET, &options, b"");
    assert!(only(&notes).number.is_some());
    // A token that stands for another resource from now on stands for the first no more.
    let notes = o.ask_with(false, client(1), Type::Con, b"t", Code::GET, &options, b"");
    assert_eq!(only(&notes).number, None, "no place");
    assert_eq!(o.bench.endpoint.server().observers_of(o.id), 0);
    assert_eq!(o.bench.endpoint.load().observers, 1);
    assert!(is_taken(&mut o, client(3), b"t"));
}

#[test]
fn an_address_has_its_share_whatever_its_ports_and_tokens() {
    let mut o = limited(|observe| observe.per_address = 2);
    let port = |port| SocketAddr::new(client(1).ip(), port);
    assert!(is_taken(&mut o, port(1), b"a"));
    assert!(is_taken(&mut o, port(2), b"b"));
    assert!(!is_taken(&mut o, port(3), b"c"));
    assert!(!is_taken(&mut o, port(1), b"c"));
    for _ in 0..3 {
        assert!(is_taken(&mut o, port(2), b"b"), "again");
    }
    assert!(is_taken(&mut o, client(2), b"a"));
    o.ask(false, port(1), Type::Con, b"a", Some(DEREGISTER));
    assert!(is_taken(&mut o, port(3), b"c"));
    assert!(!is_taken(&mut o, port(1), b"a"));
    assert_eq!(o.observers(), 3);
}

#[test]
fn a_request_that_is_too_large_to_keep_is_answered_once() {
    let mut o = limited(|observe| observe.request = 12);
    // Header 4, token 1, Observe 1, Uri-Path 2: 8 bytes; a payload takes one more.
    let options = [
        (OptionNumber::OBSERVE, REGISTER),
        (OptionNumber::URI_PATH, RESOURCE.as_bytes()),
    ];
    let notes = o.ask_with(
        false,
        client(1),
        Type::Con,
        b"t",
        Code::FETCH,
        &options,
        b"123",
    );
    assert!(only(&notes).number.is_some());
    let notes = o.ask_with(
        false,
        client(2),
        Type::Con,
        b"t",
        Code::FETCH,
        &options,
        b"1234",
    );
    assert_eq!(
        (only(&notes).number, only(&notes).payload.as_str()),
        (None, "01234")
    );
    // One who was there and asks for too much is there no more.
    let notes = o.ask_with(
        false,
        client(1),
        Type::Con,
        b"t",
        Code::FETCH,
        &options,
        b"1234",
    );
    assert_eq!((only(&notes).number, o.observers()), (None, 0));
}

#[test]
fn any_order_of_coming_and_going_leaves_the_lists_whole() {
    let mut o = observed();
    let mut present = std::collections::BTreeSet::new();
    let mut dice = crate::rng::Rng::from_seed([8; 32]);
    for _ in 0..2_000 {
        let (n, token) = (dice.up_to(40) as u16, [dice.up_to(2) as u8]);
        o.bench.now = o.bench.now + Duration::from_millis(20);
        match dice.up_to(2) {
            0 => {
                o.ask(false, client(n), Type::Con, &token, Some(DEREGISTER));
                present.remove(&(client(n), token));
            }
            _ => {
                assert!(o.register(client(n), &token).number.is_some());
                present.insert((client(n), token));
            }
        }
        assert_eq!(o.observers(), present.len());
    }
    let mut heard = std::collections::BTreeSet::new();
    let mut notes = o.change(1);
    let later = o.run(Duration::from_millis(900));
    notes.extend(later.into_iter().map(|(_, note)| note));
    for note in notes {
        assert!(heard.insert((note.to, [note.token[0]])), "once");
    }
    let first: std::collections::BTreeSet<_> = present.iter().map(|(peer, _)| *peer).collect();
    let told: std::collections::BTreeSet<_> = heard.iter().map(|(peer, _)| *peer).collect();
    assert_eq!(told, first, "one of each, as nobody has acknowledged yet");
}

#[test]
fn whoever_registers_another_resource_under_the_same_token_observes_that_one_only() {
    let mut o = observed();
    let second = Resource::at("/second")
        .get(|_, response| response.payload = b"second".to_vec())
        .access(Access::Unsecured)
        .observable();
    let second = o.bench.endpoint.server_mut().add(second).unwrap();
    let path: [(OptionNumber, &[u8]); 2] = [
        (OptionNumber::OBSERVE, REGISTER),
        (OptionNumber::URI_PATH, b"second"),
    ];
    o.register(client(1), b"t");
    let asked = o.change(1);
    let of_first = only(&asked).clone();
    assert_eq!(of_first.kind, Type::Con);
    // The same token, while the notification of the first is on its way.
    let notes = o.ask_with(false, client(1), Type::Con, b"t", Code::GET, &path, b"");
    assert_eq!(only(&notes).payload, "second");
    let number = only(&notes).number.expect("it is an observer");
    let of = |o: &Observed| {
        let server = o.bench.endpoint.server();
        [o.id, second].map(|id| server.observers_of(id))
    };
    assert_eq!(of(&o), [0, 1]);
    o.bench.now = o.bench.now + Duration::from_secs(10);
    assert_eq!(o.change(2), [], "of the first nothing is told any more");
    o.reply(Type::Ack, &of_first);
    o.bench.endpoint.changed(o.bench.now, second);
    let told = o.sent();
    let told = only(&told);
    assert_eq!(
        (told.payload.as_str(), told.token.as_slice()),
        ("second", b"t".as_slice())
    );
    assert!(told.number.unwrap() > number, "and in order");
    // A plain request under the token of an observation does not end it.
    o.reply(Type::Ack, told);
    let plain = o.ask(false, client(1), Type::Con, b"t", None);
    assert_eq!(
        (only(&plain).payload.as_str(), only(&plain).number),
        ("2", None)
    );
    assert_eq!(of(&o), [0, 1]);
    // Somebody else under this token is somebody else.
    o.register(client(2), b"t");
    assert_eq!(of(&o), [1, 1]);
}
