//! Resources that are observed: who is notified of what, when, and for how long.

mod deaf;
mod deferred;
mod groups;
mod lists;
mod pace;
mod resets;

use core::sync::atomic::AtomicBool;

use super::*;
use crate::resource::ResourceId;
use crate::server::ObserverCounters;

const REGISTER: &[u8] = &[];
const DEREGISTER: &[u8] = &[1];
/// The leisure of the observed resource.
const LEISURE: Duration = Duration::from_secs(4);
const RESOURCE: &str = "o";
/// Message IDs of this test's client lie apart from each other.
const SECOND: Duration = Duration::from_secs(1);

/// An endpoint with an observable resource.
struct Observed {
    bench: Bench,
    id: ResourceId,
    /// What it is, and how often it was asked.
    value: Arc<AtomicU32>,
    asked: Arc<AtomicU32>,
    /// It gives an error.
    broken: Arc<AtomicBool>,
    /// The Message ID of the next message of a client.
    mid: u16,
}

/// A datagram to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Note {
    to: SocketAddr,
    kind: Type,
    mid: u16,
    code: Code,
    token: Vec<u8>,
    number: Option<u32>,
    max_age: Option<u32>,
    payload: String,
    route: Route,
}

fn note((route, bytes): &(Route, Vec<u8>)) -> Note {
    let message = Message::parse(bytes).unwrap();
    Note {
        to: route.destination,
        kind: message.kind(),
        mid: message.message_id().0,
        code: message.code(),
        token: message.token().as_bytes().to_vec(),
        number: message.uint(OptionNumber::OBSERVE),
        max_age: message.uint(OptionNumber::MAX_AGE),
        payload: String::from_utf8(message.payload().to_vec()).unwrap(),
        route: *route,
    }
}

fn client(n: u16) -> SocketAddr {
    ([10, 0, 1 + (n >> 8) as u8, n as u8], 40_000).into()
}

/// A client's request from this address.
fn asks(
    kind: Type,
    method: Code,
    mid: u16,
    token: &[u8],
    options: &[(OptionNumber, &[u8])],
    payload: &[u8],
) -> Vec<u8> {
    let mut bytes = [0; 900];
    let token = Token::new(token).unwrap();
    let mut writer = Writer::new(&mut bytes, kind, method, MessageId(mid), token).unwrap();
    for (number, value) in options {
        writer.option(*number, value).unwrap();
    }
    if !payload.is_empty() {
        writer.payload(payload).unwrap();
    }
    let len = writer.finish();
    bytes[..len].to_vec()
}

fn observed() -> Observed {
    observed_with(EndpointConfig::default())
}

fn observed_with(config: EndpointConfig) -> Observed {
    let mut bench = bench(config);
    let value = Arc::new(AtomicU32::new(0));
    let asked = Arc::new(AtomicU32::new(0));
    let broken = Arc::new(AtomicBool::new(false));
    let (state, count, fails) = (value.clone(), asked.clone(), broken.clone());
    let read = move |request: &crate::resource::Incoming<'_>, response: &mut Response| {
        count.fetch_add(1, Ordering::Relaxed);
        if fails.load(Ordering::Relaxed) {
            response.reset(Code::INTERNAL_SERVER_ERROR);
            return;
        }
        let value = state.load(Ordering::Relaxed);
        let query = String::from_utf8_lossy(request.payload()).into_owned();
        response.set_payload(
            ContentFormat::TEXT,
            alloc::format!("{value}{query}").as_bytes(),
        );
        response.options.push_uint(OptionNumber::MAX_AGE, 30);
        response.options.push(OptionNumber::ETAG, &[value as u8]);
    };
    let state = value.clone();
    let resource = Resource::at(RESOURCE)
        .on(Methods::GET | Methods::FETCH, read)
        .put(move |request, _| state.store(u32::from(request.payload()[0]), Ordering::Relaxed))
        .access(Access::Unsecured)
        .group_policy(GroupPolicy::silent().leisure(Leisure::Fixed(LEISURE)))
        .observable();
    let id = bench.endpoint.server_mut().add(resource).unwrap();
    Observed {
        bench,
        id,
        value,
        asked,
        broken,
        mid: 100,
    }
}

impl Observed {
    fn path(&self, to_group: bool, peer: SocketAddr) -> Path {
        Path {
            peer,
            ..path(to_group)
        }
    }

    /// A request of a client for the resource.
    fn ask(
        &mut self,
        to_group: bool,
        peer: SocketAddr,
        kind: Type,
        token: &[u8],
        observe: Option<&[u8]>,
    ) -> Vec<Note> {
        let mut options = Vec::new();
        options.extend(observe.map(|value| (OptionNumber::OBSERVE, value)));
        options.push((OptionNumber::URI_PATH, RESOURCE.as_bytes()));
        self.ask_with(to_group, peer, kind, token, Code::GET, &options, b"")
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a message")]
    fn ask_with(
        &mut self,
        to_group: bool,
        peer: SocketAddr,
        kind: Type,
        token: &[u8],
        method: Code,
        options: &[(OptionNumber, &[u8])],
        payload: &[u8],
    ) -> Vec<Note> {
        self.mid += 1;
        let bytes = asks(kind, method, self.mid, token, options, payload);
        let path = self.path(to_group, peer);
        self.bench.hear(path, &bytes).iter().map(note).collect()
    }

    /// A client registers in person, and is answered.
    fn register(&mut self, peer: SocketAddr, token: &[u8]) -> Note {
        let notes = self.ask(false, peer, Type::Con, token, Some(REGISTER));
        let [note] = notes.as_slice() else {
            panic!("{notes:?}")
        };
        note.clone()
    }

    /// The resource gets a new value.
    fn change(&mut self, value: u32) -> Vec<Note> {
        self.value.store(value, Ordering::Relaxed);
        self.bench.endpoint.changed(self.bench.now, self.id);
        self.sent()
    }

    fn sent(&mut self) -> Vec<Note> {
        self.bench.sent().iter().map(note).collect()
    }

    fn pass(&mut self, duration: Duration) -> Vec<Note> {
        self.bench.pass(duration).iter().map(note).collect()
    }

    /// Lets time pass, from one timeout to the next; what was sent, and when.
    fn run(&mut self, duration: Duration) -> Vec<(Instant, Note)> {
        let end = self.bench.now + duration;
        let mut all = Vec::new();
        loop {
            all.extend(self.sent().into_iter().map(|note| (self.bench.now, note)));
            let next = self.bench.endpoint.next_timeout();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            assert!(next > self.bench.now, "a timeout stays due");
            self.bench.now = next;
            self.bench.endpoint.handle_timeout(next);
        }
        self.bench.now = end;
        all
    }

    /// The same with clients that acknowledge at once.
    fn run_acknowledged(&mut self, duration: Duration) -> Vec<(Instant, Note)> {
        let end = self.bench.now + duration;
        let mut all = Vec::new();
        let mut notes = self.sent();
        loop {
            while let Some(note) = notes.pop() {
                if note.kind == Type::Con {
                    notes.extend(self.reply(Type::Ack, &note));
                }
                all.push((self.bench.now, note));
            }
            let next = self.bench.endpoint.next_timeout();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            assert!(next > self.bench.now, "a timeout stays due");
            let step = next.since(self.bench.now);
            notes = self.pass(step);
        }
        self.bench.now = end;
        all
    }

    /// An empty message of the client that a note went to.
    fn reply(&mut self, kind: Type, to: &Note) -> Vec<Note> {
        let bytes = crate::endpoint::answer::empty(kind, MessageId(to.mid));
        let path = self.path(false, to.to);
        self.bench.hear(path, &bytes).iter().map(note).collect()
    }

    fn observers(&self) -> usize {
        let server = self.bench.endpoint.server();
        assert_eq!(
            server.observers_of(self.id),
            self.bench.endpoint.load().observers
        );
        server.observers_of(self.id)
    }

    fn counters(&self) -> ObserverCounters {
        self.bench.endpoint.counters().observers
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

fn only(notes: &[Note]) -> &Note {
    let [note] = notes else { panic!("{notes:?}") };
    note
}

#[test]
fn an_observer_is_answered_at_once_and_notified_of_each_change() {
    let mut o = observed();
    let first = o.register(client(1), b"tok");
    assert_eq!((first.kind, first.code), (Type::Ack, Code::CONTENT));
    assert_eq!(
        (first.payload.as_str(), first.token.as_slice()),
        ("0", b"tok".as_slice())
    );
    let mut last = first
        .number
        .expect("an Observe option says that it is on the list");
    assert_eq!((o.observers(), o.asked()), (1, 1));

    for value in 1..4 {
        o.bench.now = o.bench.now + SECOND;
        let notes = o.change(value);
        let note = only(&notes);
        assert_eq!(
            (note.to, note.token.as_slice()),
            (client(1), b"tok".as_slice())
        );
        assert_eq!(
            (note.code, note.payload.clone()),
            (Code::CONTENT, alloc::format!("{value}"))
        );
        assert!(note.number.unwrap() > last, "in order");
        last = note.number.unwrap();
        assert_eq!(o.asked(), 1 + value, "the handler is asked for each");
        let route = note.route;
        assert_eq!(
            (route.socket, route.source),
            (UNICAST, Some(SocketAddr::from(ME).ip()))
        );
        if note.kind == Type::Con {
            assert!(o.reply(Type::Ack, note).is_empty());
        }
    }
    assert!(
        o.run(Duration::from_secs(300)).is_empty(),
        "and of nothing else"
    );
    let counters = o.counters();
    assert_eq!((counters.registered, counters.notifications), (1, 3));
}

#[test]
fn a_notification_has_the_options_of_any_answer() {
    let mut o = observed();
    o.register(client(1), b"t");
    o.value.store(7, Ordering::Relaxed);
    o.bench.endpoint.changed(o.bench.now, o.id);
    let sent = o.bench.sent();
    let message = Message::parse(&sent[0].1).unwrap();
    assert_eq!(message.uint(OptionNumber::MAX_AGE), Some(30));
    assert_eq!(message.option(OptionNumber::ETAG), Some([7].as_slice()));
    assert_eq!(message.uint(OptionNumber::CONTENT_FORMAT), Some(0));
}

#[test]
fn a_representation_that_the_client_has_is_confirmed_by_its_tag() {
    let mut o = observed();
    let options = [
        (OptionNumber::ETAG, [5].as_slice()),
        (OptionNumber::OBSERVE, REGISTER),
        (OptionNumber::URI_PATH, RESOURCE.as_bytes()),
    ];
    let notes = o.ask_with(false, client(1), Type::Con, b"t", Code::GET, &options, b"");
    assert_eq!(only(&notes).code, Code::CONTENT);
    let notes = o.change(5);
    let note = only(&notes);
    assert_eq!((note.code, note.payload.as_str()), (Code::VALID, ""));
    assert!(
        note.number.is_some(),
        "2.03 is a notification like any other"
    );
    assert_eq!(o.observers(), 1);
}

#[test]
fn sequence_numbers_follow_the_time_so_that_they_never_come_round_too_early() {
    let mut o = observed();
    o.bench.now = Instant::from_micros(16 * 0x00ff_fffe);
    assert_eq!(o.register(client(1), b"t").number, Some(0x00ff_fffe));
    let next = |o: &mut Observed, at: Instant| {
        o.bench.now = at;
        let notes = o.change(1);
        let note = only(&notes).clone();
        o.reply(Type::Ack, &note);
        note.number
    };
    let at = o.bench.now;
    assert_eq!(
        next(&mut o, at),
        Some(0x00ff_ffff),
        "greater, also in the same instant"
    );
    let at = at + Duration::from_micros(31);
    assert_eq!(next(&mut o, at), None.or(Some(0)), "24 bits");
    let at = at + Duration::from_secs(4);
    assert_eq!(next(&mut o, at), Some((4_000_000 + 31 - 32) / 16));
}

#[test]
fn the_client_deregisters_by_observe_one_or_by_a_reset() {
    let mut o = observed();
    let [a, b, c] = [client(1), client(2), client(3)];
    for peer in [a, b, c] {
        o.register(peer, b"t");
    }
    assert_eq!(o.observers(), 3);
    let notes = o.ask(false, a, Type::Con, b"t", Some(DEREGISTER));
    let answer = only(&notes);
    assert_eq!(
        (answer.kind, answer.code, answer.number),
        (Type::Ack, Code::CONTENT, None)
    );
    assert_eq!((o.observers(), o.counters().deregistered), (2, 1));
    let notes = o.change(1);
    assert_eq!(notes.len(), 2);
    let to_b = notes.iter().find(|note| note.to == b).unwrap().clone();
    assert_eq!(to_b.kind, Type::Con);
    assert!(o.reply(Type::Rst, &to_b).is_empty());
    assert_eq!((o.observers(), o.counters().reset), (1, 1));
    let to_c = notes.iter().find(|note| note.to == c).unwrap().clone();
    o.reply(Type::Ack, &to_c);
    let notes = o.change(2);
    let note = only(&notes);
    assert_eq!((note.to, note.kind), (c, Type::Non));
    assert!(o.reply(Type::Rst, note).is_empty());
    assert_eq!((o.observers(), o.counters().reset), (0, 2));
    let late = o.reply(Type::Rst, note);
    assert!(late.is_empty());
    assert_eq!(
        o.bench.endpoint.counters().unmatched_empty,
        1,
        "it is known no more"
    );
    assert!(o.change(3).is_empty());
    assert!(
        o.run(Duration::from_secs(200)).is_empty(),
        "nothing is sent again"
    );
    assert_eq!(o.counters().ended, 0);
}

#[test]
fn others_cannot_deregister_and_another_token_is_another_observation() {
    let mut o = observed();
    o.register(client(1), b"a");
    o.register(client(1), b"b");
    assert_eq!(o.observers(), 2);
    for (peer, token) in [
        (client(2), b"a".as_slice()),
        (client(1), b"c"),
        (client(1), b"aa"),
    ] {
        o.ask(false, peer, Type::Con, token, Some(DEREGISTER));
    }
    let options = [
        (OptionNumber::OBSERVE, DEREGISTER),
        (OptionNumber::URI_PATH, b"o"),
    ];
    o.ask_with(false, client(1), Type::Con, b"a", Code::PUT, &options, &[9]);
    assert_eq!((o.observers(), o.counters().deregistered), (2, 0));
    let mut other_port = client(1);
    other_port.set_port(1);
    o.ask(false, other_port, Type::Con, b"a", Some(DEREGISTER));
    assert_eq!(o.observers(), 2);
    o.ask(false, client(1), Type::Con, b"b", Some(DEREGISTER));
    assert_eq!((o.observers(), o.counters().deregistered), (1, 1));
}

// Covers: GC-3.6-08, GC-3.6-09
#[test]
fn whoever_registers_again_stays_one_observer() {
    let mut o = observed();
    let first = o.register(client(1), b"t");
    o.bench.now = o.bench.now + SECOND;
    o.value.store(3, Ordering::Relaxed);
    let again = o.register(client(1), b"t");
    assert_eq!((again.payload.as_str(), o.observers()), ("3", 1));
    assert!(again.number > first.number);
    assert_eq!((o.counters().registered, o.counters().renewed), (1, 1));
    assert_eq!(o.change(4).len(), 1);
}

#[test]
fn fetch_is_observed_with_its_payload() {
    let mut o = observed();
    let options = [
        (OptionNumber::OBSERVE, REGISTER),
        (OptionNumber::URI_PATH, RESOURCE.as_bytes()),
    ];
    for (token, payload) in [(b"1", b" a"), (b"2", b" b")] {
        let peer = client(u16::from(token[0]));
        let notes = o.ask_with(
            false,
            peer,
            Type::Con,
            token,
            Code::FETCH,
            &options,
            payload,
        );
        assert!(only(&notes).number.is_some());
    }
    let notes = o.change(5);
    let mut said: Vec<_> = notes.iter().map(|note| note.payload.as_str()).collect();
    said.sort_unstable();
    assert_eq!(said, ["5 a", "5 b"]);
    let notes = o.ask_with(false, client(9), Type::Con, b"9", Code::PUT, &options, &[1]);
    let answer = notes.iter().find(|note| note.to == client(9)).unwrap();
    assert_eq!(
        (answer.code, answer.number),
        (Code::CHANGED, None),
        "PUT observes nothing"
    );
    assert_eq!(o.observers(), 2);
}

#[test]
fn a_successful_put_notifies_by_itself() {
    let mut o = observed();
    o.register(client(1), b"t");
    let options = [(OptionNumber::URI_PATH, RESOURCE.as_bytes())];
    let notes = o.ask_with(
        false,
        client(2),
        Type::Con,
        b"p",
        Code::PUT,
        &options,
        &[42],
    );
    let [answer, note] = notes.as_slice() else {
        panic!("{notes:?}")
    };
    assert_eq!((answer.to, answer.code), (client(2), Code::CHANGED));
    assert_eq!((note.to, note.payload.as_str()), (client(1), "42"));
    o.reply(Type::Ack, note);
    let refused = [
        (OptionNumber::IF_NONE_MATCH, [].as_slice()),
        (OptionNumber::URI_PATH, RESOURCE.as_bytes()),
    ];
    let notes = o.ask_with(
        false,
        client(2),
        Type::Con,
        b"q",
        Code::PUT,
        &refused,
        &[43],
    );
    assert_eq!(
        only(&notes).code,
        Code::PRECONDITION_FAILED,
        "nothing has changed"
    );
}

#[test]
fn what_is_not_observable_is_answered_once() {
    let mut o = observed();
    for (at, code) in [("t", Code::CONTENT), ("none", Code::NOT_FOUND)] {
        let options = [
            (OptionNumber::OBSERVE, REGISTER),
            (OptionNumber::URI_PATH, at.as_bytes()),
        ];
        let notes = o.ask_with(false, client(1), Type::Con, b"t", Code::GET, &options, b"");
        assert_eq!((only(&notes).code, only(&notes).number), (code, None));
    }
    let notes = o.ask(false, client(1), Type::Con, b"t", Some(&[2]));
    assert_eq!(only(&notes).number, None, "2 is neither");
    o.broken.store(true, Ordering::Relaxed);
    let notes = o.ask(false, client(1), Type::Con, b"t", Some(REGISTER));
    assert_eq!(
        (only(&notes).code, only(&notes).number),
        (Code::INTERNAL_SERVER_ERROR, None)
    );
    assert_eq!(o.observers(), 0);
    assert_eq!(
        o.bench.endpoint.next_timeout(),
        None,
        "nothing is left of it"
    );
}

#[test]
fn an_error_is_the_last_that_an_observer_hears() {
    let mut o = observed();
    o.register(client(1), b"t");
    o.broken.store(true, Ordering::Relaxed);
    let notes = o.change(1);
    let note = only(&notes);
    assert_eq!(
        (note.code, note.number),
        (Code::INTERNAL_SERVER_ERROR, None)
    );
    assert_eq!(note.kind, Type::Con, "so that it arrives");
    assert_eq!((o.observers(), o.counters().ended), (0, 1));
    o.reply(Type::Ack, note);
    o.broken.store(false, Ordering::Relaxed);
    assert!(o.change(2).is_empty());
    // One that the client has acknowledged before is Confirmable all the same.
    o.register(client(1), b"t");
    let notes = o.change(3);
    o.reply(Type::Ack, only(&notes));
    o.broken.store(true, Ordering::Relaxed);
    o.bench.now = o.bench.now + SECOND;
    let notes = o.change(4);
    assert_eq!((only(&notes).kind, o.observers()), (Type::Con, 0));
}

#[test]
fn a_registration_that_is_refused_ends_the_one_before() {
    let mut o = observed();
    o.register(client(1), b"t");
    o.register(client(1), b"u");
    o.register(client(2), b"t");
    let options = [
        (OptionNumber::OBSERVE, REGISTER),
        (OptionNumber::URI_PATH, RESOURCE.as_bytes()),
        (OptionNumber(65_001), b"critical".as_slice()),
    ];
    // Without Observe it says nothing of observations.
    let notes = o.ask_with(
        false,
        client(1),
        Type::Con,
        b"t",
        Code::GET,
        &options[1..],
        b"",
    );
    assert_eq!((only(&notes).code, o.observers()), (Code::BAD_OPTION, 3));
    let notes = o.ask_with(false, client(1), Type::Con, b"t", Code::GET, &options, b"");
    assert_eq!(
        (only(&notes).code, only(&notes).number),
        (Code::BAD_OPTION, None)
    );
    assert_eq!((o.observers(), o.counters().ended), (2, 1));
    let notes = o.change(1);
    let mut told: Vec<_> = notes
        .iter()
        .map(|note| (note.to, note.token.as_slice()))
        .collect();
    told.sort_unstable();
    assert_eq!(told, [(client(1), b"u".as_slice()), (client(2), b"t")]);
}

#[test]
fn when_a_resource_is_removed_its_observers_are_told() {
    let mut o = observed();
    o.register(client(1), b"t");
    assert!(o.bench.endpoint.server_mut().remove(o.id));
    let notes = o.sent();
    let note = only(&notes);
    assert_eq!(
        (note.code, note.number, note.token.as_slice()),
        (Code::NOT_FOUND, None, b"t".as_slice())
    );
    assert_eq!(o.bench.endpoint.load().observers, 0);
}

#[test]
fn what_stands_in_place_of_a_removed_resource_is_not_observed() {
    let mut o = observed();
    o.register(client(1), b"t");
    let server = o.bench.endpoint.server_mut();
    server.remove(o.id);
    let other = Resource::at(RESOURCE)
        .get(|_, _| panic!("nobody asks"))
        .access(Access::Unsecured)
        .observable();
    server.add(other).unwrap();
    let notes = o.sent();
    assert_eq!(only(&notes).code, Code::NOT_FOUND);
    assert_eq!(o.bench.endpoint.load().observers, 0);
}

#[test]
fn links_say_what_is_observable() {
    let mut o = observed();
    let options = [
        (OptionNumber::URI_PATH, b".well-known".as_slice()),
        (OptionNumber::URI_PATH, b"core"),
    ];
    let notes = o.ask_with(false, client(1), Type::Con, b"t", Code::GET, &options, b"");
    let links = &only(&notes).payload;
    assert!(links.contains("</o>;obs"), "{links}");
    assert_eq!(links.matches("obs").count(), 1, "{links}");
}
