//! Resources whose answers and notifications are made later.

use super::*;

/// How `/d` is observed; without the first one it is asked once.
const OPTIONS: [(OptionNumber, &[u8]); 2] = [
    (OptionNumber::OBSERVE, REGISTER),
    (OptionNumber::URI_PATH, b"d"),
];

/// Adds an observable resource `/d`, the answers of which are made later.
pub(super) fn add_deferred(o: &mut Observed) -> ResourceId {
    let deferred = Resource::at("d")
        .deferred(Methods::GET)
        .access(Access::Unsecured)
        .observable();
    o.bench.endpoint.server_mut().add(deferred).unwrap()
}

/// Asks for `/d`, or observes it. What is sent at once.
pub(super) fn asks_deferred(o: &mut Observed, from: SocketAddr, observes: bool) -> Vec<Note> {
    let (token, options) = match observes {
        true => (b"t", &OPTIONS[..]),
        false => (b"p", &OPTIONS[1..]),
    };
    o.ask_with(false, from, Type::Con, token, Code::GET, options, b"")
}

fn text(text: &str) -> Response {
    Response::new(Code::CONTENT).with_payload(ContentFormat::TEXT, text.as_bytes())
}

#[test]
fn a_deferred_handler_makes_first_answers_and_notifications() {
    let mut o = observed();
    let id = add_deferred(&mut o);
    assert!(asks_deferred(&mut o, client(1), true).is_empty());
    let incoming = o.bench.request_event();
    // A change before the first answer is told after it.
    o.bench.endpoint.changed(o.bench.now, id);
    assert!(o.sent().is_empty());
    o.bench
        .endpoint
        .respond(o.bench.now, incoming, text("first"));
    let notes = o.sent();
    assert_eq!(
        (only(&notes).payload.as_str(), only(&notes).kind),
        ("first", Type::Ack)
    );
    let number = only(&notes).number.unwrap();
    let incoming = o.bench.request_event();
    assert!(o.sent().is_empty());
    o.bench.endpoint.changed(o.bench.now, id);
    o.bench
        .endpoint
        .respond(o.bench.now, incoming, text("second"));
    let notes = o.sent();
    let note = only(&notes).clone();
    assert_eq!((note.payload.as_str(), note.kind), ("second", Type::Con));
    assert!(note.number.unwrap() > number);
    assert!(o.bench.endpoint.poll_event().is_none(), "one at a time");
    o.reply(Type::Ack, &note);
    let incoming = o.bench.request_event();
    o.bench
        .endpoint
        .respond(o.bench.now, incoming, Response::new(Code::FORBIDDEN));
    let notes = o.sent();
    assert_eq!(
        (only(&notes).code, only(&notes).number),
        (Code::FORBIDDEN, None)
    );
    assert_eq!(o.bench.endpoint.load().observers, 0);
}

#[test]
fn notifications_that_are_being_made_leave_half_of_the_places_to_requests() {
    let mut config = EndpointConfig::default();
    config.limits.incoming = 4;
    let mut o = observed_with(config);
    let id = add_deferred(&mut o);
    for n in 0..5 {
        asks_deferred(&mut o, client(n), true);
        let incoming = o.bench.request_event();
        o.bench
            .endpoint
            .respond(o.bench.now, incoming, text("first"));
        assert_eq!(o.sent().len(), 1);
    }
    o.bench.endpoint.changed(o.bench.now, id);
    let notified = [(); 2].map(|()| o.bench.request_event());
    assert!(
        o.bench.endpoint.poll_event().is_none(),
        "two of four places"
    );
    for n in [10, 11] {
        assert!(asks_deferred(&mut o, client(n), false).is_empty());
        o.bench.request_event();
    }
    let path = o.path(false, client(12));
    let bytes = asks(Type::Con, Code::GET, 9, b"p", &OPTIONS[1..], b"");
    let sent = o.bench.hear(path, &bytes);
    let refused = Message::parse(&sent[0].1).unwrap();
    assert_eq!(refused.code(), Code::SERVICE_UNAVAILABLE);
    assert_eq!(refused.uint(OptionNumber::MAX_AGE), Some(5));
    for incoming in notified {
        o.bench
            .endpoint
            .respond(o.bench.now, incoming, text("second"));
    }
    assert_eq!(o.run(Duration::from_millis(200)).len(), 2);
    for _ in 0..2 {
        o.bench.request_event(); // the next two
    }
    assert!(o.bench.endpoint.poll_event().is_none());
}

#[test]
fn a_deferred_handler_that_never_answers_leaves_no_observer() {
    let mut o = observed();
    add_deferred(&mut o);
    asks_deferred(&mut o, client(1), true);
    assert_eq!(o.bench.endpoint.load().observers, 1);
    o.pass(Duration::from_secs(300));
    assert_eq!(o.bench.endpoint.load().observers, 0);
}

#[test]
fn a_handler_with_nothing_to_say_keeps_its_observers() {
    let mut o = observed();
    let silent = Arc::new(AtomicBool::new(false));
    let quiet = silent.clone();
    let resource = Resource::at("q")
        .get(move |_, response| match quiet.load(Ordering::Relaxed) {
            true => response.reset(Code::EMPTY),
            false => response.set_payload(ContentFormat::TEXT, b"said"),
        })
        .access(Access::Unsecured)
        .observable();
    let id = o.bench.endpoint.server_mut().add(resource).unwrap();
    let options = [
        (OptionNumber::OBSERVE, REGISTER),
        (OptionNumber::URI_PATH, b"q"),
    ];
    o.ask_with(false, client(1), Type::Con, b"t", Code::GET, &options, b"");
    silent.store(true, Ordering::Relaxed);
    o.bench.endpoint.changed(o.bench.now, id);
    assert!(o.sent().is_empty());
    silent.store(false, Ordering::Relaxed);
    assert_eq!(o.bench.endpoint.changed(o.bench.now, id), 1);
    let notes = o.sent();
    assert_eq!(only(&notes).payload, "said");
    // Who asks while there is nothing to say is no observer.
    silent.store(true, Ordering::Relaxed);
    let notes = o.ask_with(false, client(2), Type::Con, b"t", Code::GET, &options, b"");
    assert_eq!(only(&notes).code, Code::EMPTY);
    assert_eq!(o.bench.endpoint.load().observers, 1);
}
