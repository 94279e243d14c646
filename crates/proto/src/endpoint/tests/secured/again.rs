//! A protected request whose repetition its receiver would take for a replay begins again; what may not be processed twice,
//! and what is not behind, is repeated as it was.

mod meanwhile;

use super::*;
use crate::exchange::Reliability;
use crate::observation::{ObservationEvent, ObserveRequest};

/// Commands to the group leave at once.
fn hasty(modes: Modes) -> World {
    hasty_with(modes, Settings::default())
}

fn hasty_with(modes: Modes, settings: Settings) -> World {
    let mut config = trusting();
    let transmission = &mut config.collections.transmission;
    transmission.set_probing_rate(1_000_000_000).unwrap();
    let mut world = world_with(modes, settings, config);
    let set = |_: &crate::resource::Incoming<'_>, response: &mut Response| {
        response.set_payload(ContentFormat::TEXT, b"set");
    };
    let get = |_: &crate::resource::Incoming<'_>, response: &mut Response| {
        response.set_payload(ContentFormat::TEXT, b"got");
    };
    let resource = Resource::at("/set").get(get).put(set).post(set);
    let server = world.nodes[LAMP].endpoint.server_mut();
    server.add(resource).unwrap();
    world
}

fn to_lamp(world: &World, method: Code) -> UnicastRequest {
    let mut unicast = request_to(LAMP, "set", to_member(world, LAMP));
    unicast.request.method = method;
    unicast
}

fn lose_unicast(datagram: &Datagram) -> bool {
    !datagram.route.is_multicast()
}

/// So many commands that nobody answers go to the group.
fn command(world: &mut World, count: usize) {
    for _ in 0..count {
        let asks = question(world, "set");
        let silent = GroupRequest::notify(asks.request, asks.targets[0], asks.security);
        world.ask_group(silent);
        world.pass(Duration::from_millis(1));
    }
}

/// What the client has sent to one peer.
fn in_person(world: &World) -> Vec<Datagram> {
    let sent = world.from(CLIENT).into_iter();
    sent.filter(|d| !d.route.is_multicast()).cloned().collect()
}

/// Everything the client has sent in a message of its own, each with its Partial IV, which is never the same in two.
fn assert_no_number_twice(world: &World) {
    let mut numbers = std::collections::BTreeMap::new();
    for datagram in world.from(CLIENT).into_iter().filter(|d| d.is_protected()) {
        let number = datagram.option().partial_iv.expect("a request").value();
        let message = datagram.message();
        let sealed = message.payload().to_vec();
        let before = numbers.insert(number, sealed.clone());
        assert!(before.is_none_or(|before| before == sealed), "{number}");
    }
}

/// The first transmission is lost, then so many commands are heard, and the second one is due.
fn outrun(modes: Modes, method: Code, commands: usize) -> World {
    let mut world = hasty(modes);
    world.lossy = lose_unicast;
    world.ask(to_lamp(&world, method));
    world.lossy = |_| false;
    command(&mut world, commands);
    world.pass(Duration::from_secs(3));
    world
}

#[test]
fn a_request_that_was_outrun_begins_again_under_other_numbers_and_is_answered() {
    for modes in [Modes::Both, Modes::GroupOnly] {
        let world = outrun(modes, Code::GET, 40);
        assert_eq!(world.response().expect("answered").0.payload, b"got");
        let sent = in_person(&world);
        let [first, second] = sent.as_slice() else {
            panic!("{sent:?}")
        };
        let (one, two) = (first.message(), second.message());
        assert_eq!((one.kind(), two.kind()), (Type::Con, Type::Con));
        assert_ne!(one.message_id(), two.message_id());
        assert_ne!(one.token(), two.token());
        let number = |d: &Datagram| d.option().partial_iv.unwrap().value();
        assert_eq!(number(second), number(first) + 41);
        assert_no_number_twice(&world);
        assert_eq!(world.nodes[LAMP].counters().replayed, 0);
        let counters = world.nodes[CLIENT].endpoint.counters();
        assert_eq!(counters.retransmissions, 1);
    }
}

#[test]
fn what_has_an_effect_each_time_is_repeated_as_it_was_and_refused() {
    let mut world = outrun(Modes::Both, Code::POST, 40);
    let sent = in_person(&world);
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].bytes, sent[1].bytes);
    assert_eq!(world.nodes[LAMP].counters().replayed, 1);
    world.pass(Duration::from_secs(100));
    assert_eq!(world.failure(), Some(Failure::TimedOut));
    assert_eq!(in_person(&world).len(), 5);
}

#[test]
fn a_request_begins_again_only_if_it_is_behind() {
    for (method, commands, again) in [
        (Code::GET, 15, false),
        (Code::GET, 16, true),
        (Code::FETCH, 15, false),
        (Code::FETCH, 16, true),
        (Code::PUT, 31, false),
        (Code::PUT, 32, true),
        (Code::DELETE, 31, false),
        (Code::DELETE, 32, true),
        (Code::IPATCH, 31, false),
        (Code::IPATCH, 32, true),
        (Code::PATCH, 40, false),
    ] {
        let world = outrun(Modes::Both, method, commands);
        let sent = in_person(&world);
        assert_eq!(sent.len(), 2);
        assert_eq!(sent[0].bytes != sent[1].bytes, again, "{method} {commands}");
        // An error is an answer as well.
        let refused = world.nodes[LAMP].counters().replayed;
        let lost = method == Code::PATCH;
        assert_eq!(
            (refused, world.response().is_none()),
            (u64::from(lost), lost)
        );
    }
}

#[test]
fn a_block_of_a_request_is_repeated_as_it_was() {
    let mut world = hasty(Modes::Both);
    world.lossy = lose_unicast;
    let mut unicast = to_lamp(&world, Code::PUT);
    let options = &mut unicast.request.options;
    options.push(antiphon_wire::OptionNumber::BLOCK1, &[0x08]);
    unicast.request.payload = alloc::vec![1; 16];
    world.ask(unicast);
    command(&mut world, 40);
    world.pass(Duration::from_secs(3));
    let sent = in_person(&world);
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].bytes, sent[1].bytes);
}

#[test]
fn a_condition_that_the_request_itself_has_changed_is_not_asked_again() {
    for (method, condition) in [
        (Code::PUT, OptionNumber::IF_NONE_MATCH),
        (Code::PUT, OptionNumber::IF_MATCH),
        (Code::DELETE, OptionNumber::IF_MATCH),
    ] {
        let mut world = hasty(Modes::Both);
        let done = Arc::new(AtomicU32::new(0));
        let once = move |_: &crate::resource::Incoming<'_>, response: &mut Response| {
            response.code = match done.fetch_add(1, Ordering::Relaxed) {
                0 => Code::CHANGED,
                _ => Code::PRECONDITION_FAILED,
            };
        };
        let resource = Resource::at("/once").put(once.clone()).delete(once);
        let server = world.nodes[LAMP].endpoint.server_mut();
        server.add(resource.evaluates_preconditions()).unwrap();
        let mut unicast = request_to(LAMP, "once", to_member(&world, LAMP));
        unicast.request.method = method;
        unicast.request.options.push(condition, b"");
        world.lossy = |datagram| datagram.from == LAMP;
        world.ask(unicast);
        command(&mut world, 40);
        world.lossy = |_| false;
        world.pass(Duration::from_secs(3));
        let sent = in_person(&world);
        assert_eq!(sent.len(), 2);
        assert_eq!(sent[0].bytes, sent[1].bytes, "{method} {condition:?}");
        assert_eq!(world.response().unwrap().0.code, Code::CHANGED);
    }
}

/// When the client sends something to one peer, and when the request fails.
fn schedule(commands: usize) -> (Vec<Instant>, Instant) {
    let mut world = hasty(Modes::Both);
    world.lossy = lose_unicast;
    world.ask(to_lamp(&world, Code::GET));
    let mut times = alloc::vec![world.now];
    command(&mut world, commands);
    while world.failure().is_none() {
        let due = world.nodes[CLIENT].endpoint.next_timeout().unwrap();
        world.pass(due.since(world.now));
        let sent = in_person(&world);
        if sent.len() > times.len() {
            times.push(world.now);
            let last = sent[sent.len() - 1].bytes.clone();
            let same = sent[..sent.len() - 1].iter().any(|d| d.bytes == last);
            assert_eq!(same, commands == 0);
            command(&mut world, commands);
        }
        assert_eq!(sent.len(), times.len());
    }
    assert_eq!(world.failure(), Some(Failure::TimedOut));
    assert_no_number_twice(&world);
    let counters = world.nodes[CLIENT].endpoint.counters();
    assert_eq!(counters.retransmissions, 4);
    (times, world.now)
}

#[test]
fn neither_how_often_nor_when_something_is_sent_changes() {
    let (times, end) = schedule(0);
    assert_eq!(times.len(), 5);
    assert_eq!(schedule(20), (times.clone(), end));
    let span = end.since(times[0]);
    assert!(span <= Duration::from_secs(93), "MAX_TRANSMIT_WAIT");
}

#[test]
fn an_answer_to_the_earlier_message_is_not_taken_for_one_to_the_later() {
    let mut world = hasty(Modes::Both);
    world.lossy = |datagram| datagram.from == LAMP;
    world.ask(to_lamp(&world, Code::GET));
    let early = world.from(LAMP)[0].bytes.clone();
    command(&mut world, 40);
    world.pass(Duration::from_secs(3));
    let sent = in_person(&world);
    let later = sent[1].message();
    let answers = world.from(LAMP).len();
    assert_eq!(answers, 2, "both were answered, and both answers lost");
    world.inject(CLIENT, false, address(LAMP), &early);
    assert!(world.response().is_none(), "it acknowledges nothing");
    let mut forged = early.clone();
    forged[0] = (forged[0] & 0xcf) | 0x10; // Non-confirmable
    world.inject(CLIENT, false, address(LAMP), &forged);
    assert!(world.response().is_none(), "nobody waits for its token");
    assert_eq!(world.nodes[CLIENT].endpoint.counters().unmatched, 2);
    forged[4..12].copy_from_slice(later.token().as_bytes());
    forged[2..4].copy_from_slice(&[0xee, 0xee]);
    world.inject(CLIENT, false, address(LAMP), &forged);
    assert!(world.response().is_none(), "it answers another request");
    assert_eq!(world.nodes[CLIENT].counters().not_verified, 1);
    // The acknowledgement of the earlier message stops nothing.
    let mid = sent[0].message().message_id().0.to_be_bytes();
    world.inject(CLIENT, false, address(LAMP), &[0x60, 0, mid[0], mid[1]]);
    world.lossy = |_| false;
    world.pass(Duration::from_secs(6));
    assert_eq!(world.response().expect("repeated").0.payload, b"got");
    let sent = in_person(&world);
    assert_eq!(sent[1].bytes, sent[2].bytes, "nothing was sent between");
}

/// The signature of a request that begins again is still missing.
fn signing() -> World {
    signing_in(hasty(Modes::GroupOnly), Code::GET).0
}

fn signing_in(mut world: World, method: Code) -> (World, ExchangeId) {
    world.lossy = |datagram| datagram.from == LAMP;
    let id = world.ask(to_lamp(&world, method));
    command(&mut world, 40);
    world.nodes[CLIENT].worker = Worker::Held;
    world.pass(Duration::from_secs(3));
    assert_eq!(in_person(&world).len(), 1, "not protected yet");
    (world, id)
}

#[test]
fn as_long_as_it_is_not_protected_anew_the_earlier_message_counts() {
    let mut world = signing();
    let early = world.from(LAMP)[0].bytes.clone();
    world.nodes[CLIENT].worker = Worker::Eager;
    world.lossy = |_| false;
    world.inject(CLIENT, false, address(LAMP), &early);
    assert_eq!(world.response().unwrap().0.payload, b"got");
    let now = world.now;
    for work in core::mem::take(&mut world.nodes[CLIENT].waiting) {
        world.nodes[CLIENT].work(now, work);
    }
    world.pass(Duration::from_secs(100));
    assert_eq!(in_person(&world).len(), 1, "nobody needs it any more");
}

#[test]
fn a_request_that_cannot_be_protected_anew_is_repeated_as_it_was() {
    let mut world = signing();
    let now = world.now;
    let work = world.nodes[CLIENT].waiting.pop().unwrap();
    assert!(matches!(work.task, Task::Sign(_)));
    let failed = WorkResult::Failed(WorkFailure::Key);
    world.nodes[CLIENT].endpoint.work_done(now, work.id, failed);
    world.run();
    let sent = in_person(&world);
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].bytes, sent[1].bytes);
    // The next time it can.
    world.nodes[CLIENT].worker = Worker::Eager;
    world.lossy = |_| false;
    world.pass(Duration::from_secs(6));
    let sent = in_person(&world);
    assert_eq!(sent.len(), 3);
    assert_ne!(sent[1].bytes, sent[2].bytes);
    assert_eq!(world.response().unwrap().0.payload, b"got");
}

#[test]
fn what_takes_its_time_to_be_protected_anew_leaves_later_and_others_meanwhile() {
    let mut world = signing();
    world.pass(Duration::from_secs(6));
    let sent = in_person(&world);
    assert_eq!(sent.len(), 2, "the second repetition");
    assert_eq!(sent[0].bytes, sent[1].bytes);
    let waiting = core::mem::take(&mut world.nodes[CLIENT].waiting);
    assert_eq!(waiting.len(), 1, "once only");
    let now = world.now;
    world.lossy = |_| false;
    for work in waiting {
        world.nodes[CLIENT].work(now, work);
    }
    world.nodes[CLIENT].worker = Worker::Eager;
    world.run();
    assert_eq!(in_person(&world).len(), 3);
    assert_eq!(world.response().unwrap().0.payload, b"got");
    assert_no_number_twice(&world);
}

#[test]
fn a_request_under_keys_that_were_replaced_is_repeated_as_it_was() {
    let mut world = hasty(Modes::Both);
    world.lossy = lose_unicast;
    world.ask(to_lamp(&world, Code::GET));
    for node in 0..NODES {
        super::groups::rekey(&mut world, node);
    }
    command(&mut world, 40);
    world.pass(Duration::from_secs(3));
    let sent = in_person(&world);
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].bytes, sent[1].bytes);
}

#[test]
fn without_security_the_same_bytes_are_sent_again() {
    let mut world = hasty(Modes::Both);
    world.lossy = lose_unicast;
    world.ask(request_to(LAMP, "set", Protection::None));
    command(&mut world, 40);
    world.pass(Duration::from_secs(3));
    let sent = in_person(&world);
    assert_eq!(sent.len(), 2);
    assert!(!sent[0].is_protected());
    assert_eq!(sent[0].bytes, sent[1].bytes);
}

#[test]
fn a_registration_begins_again_under_its_token_and_notifies() {
    let mut world = hasty(Modes::Both);
    world.lossy = lose_unicast;
    observe(&mut world, "t");
    command(&mut world, 40);
    world.lossy = |_| false;
    world.pass(Duration::from_secs(3));
    let sent = in_person(&world);
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].message().token(), sent[1].message().token());
    assert_ne!(sent[0].option().partial_iv, sent[1].option().partial_iv);
    assert_eq!(notified(&world), 1, "{:?}", world.nodes[CLIENT].events);
}

/// The client observes a resource of the lamp.
fn observe(world: &mut World, at: &str) {
    let route = request_to(LAMP, at, Protection::None).route;
    let request = Request::new(Code::GET).path(at);
    let request = ObserveRequest::one(request, route, to_member(world, LAMP));
    let now = world.now;
    world.nodes[CLIENT].endpoint.observe(now, request).unwrap();
    world.run();
}

fn notified(world: &World) -> usize {
    let is =
        |event: &&Event| matches!(event, Event::Observation(ObservationEvent::Notification(_)));
    world.nodes[CLIENT].events.iter().filter(is).count()
}

#[test]
fn a_registration_that_was_delayed_does_not_displace_the_later_one() {
    for (commands, again) in [(20, false), (31, false), (32, true)] {
        let mut world = hasty(Modes::Both);
        let seen = Resource::at("/seen").get(|_, r| r.set_payload(ContentFormat::TEXT, b"seen"));
        let server = world.nodes[LAMP].endpoint.server_mut();
        let seen = server.add(seen.observable()).unwrap();
        world.lossy = lose_unicast;
        observe(&mut world, "seen");
        let early = in_person(&world)[0].bytes.clone();
        command(&mut world, commands);
        world.lossy = |_| false;
        world.pass(Duration::from_secs(3));
        let sent = in_person(&world);
        assert_eq!(early != sent[1].bytes, again, "{commands}");
        assert_eq!(notified(&world), 1);
        world.inject(LAMP, false, address(CLIENT), &early);
        let now = world.now;
        world.nodes[LAMP].endpoint.changed(now, seen);
        world.pass(Duration::from_secs(1));
        assert_eq!(notified(&world), 2, "{commands}");
        assert_eq!(world.nodes[CLIENT].counters().not_verified, 0);
    }
}

/// The lamp is asked in person for a collection that may be processed twice, or not.
fn completed(idempotent: bool) -> Vec<Datagram> {
    let mut world = hasty(Modes::Both);
    world.nodes[BELL].deaf = true;
    let asks = question(&world, "set");
    let mut request = GroupRequest {
        expect: Expectation::nobody(),
        completion: Completion::Unicast {
            at_once: 4,
            within: None,
        },
        idempotent,
        ..asks
    };
    let lamp = Member::named("lamp").at(address(LAMP));
    request.expect.add(lamp.identity(identity(LAMP)));
    request.request.method = if idempotent { Code::POST } else { Code::PUT };
    request.end = End::after(Duration::from_secs(60));
    world.lossy = lose_unicast;
    world.ask_group(request);
    while in_person(&world).is_empty() {
        world.pass(Duration::from_millis(100));
    }
    command(&mut world, 40);
    world.lossy = |_| false;
    world.pass(Duration::from_secs(3));
    in_person(&world)
}

#[test]
fn what_a_collection_may_ask_twice_begins_again_whatever_its_method() {
    for idempotent in [true, false] {
        let sent = completed(idempotent);
        assert_eq!(sent.len(), 2);
        assert_ne!(sent[0].bytes, sent[1].bytes);
    }
}

// ---- PROBING_RATE ----------------------------------------------------------------------------------------

/// The lamp did not respond, so that the next request to it waits.
fn paused() -> (World, ExchangeId) {
    let mut world = hasty(Modes::Both);
    world.nodes[LAMP].deaf = true;
    let id = ask_and_wait(&mut world);
    (world, id)
}

fn ask_and_wait(world: &mut World) -> ExchangeId {
    let unicast = UnicastRequest {
        reliability: Reliability::NonConfirmable,
        response_timeout: Some(Duration::from_secs(2)),
        ..to_lamp(world, Code::GET)
    };
    world.ask(unicast.clone());
    world.pass(Duration::from_secs(3));
    assert!(world.failure().is_some());
    let id = world.ask(unicast);
    assert!(waits(world, id));
    world.forget_sent();
    id
}

fn waits(world: &World, id: ExchangeId) -> bool {
    let waiting = world.nodes[CLIENT].endpoint.waiting(world.now, id);
    matches!(waiting, Some(crate::exchange::Waiting::ProbingRate(_)))
}

/// A request of the lamp to the client, as it leaves.
fn of_lamp(world: &mut World) -> Vec<u8> {
    world.nodes[CLIENT].deaf = true;
    let now = world.now;
    let unicast = UnicastRequest {
        reliability: Reliability::NonConfirmable,
        ..request_to(CLIENT, "t", to_member(world, CLIENT))
    };
    let lamp = &mut world.nodes[LAMP].endpoint;
    let id = lamp.request(now, unicast).unwrap();
    world.run();
    world.nodes[CLIENT].deaf = false;
    let bytes = world.from(LAMP).last().unwrap().bytes.clone();
    // As if it had been answered, so that the lamp goes on.
    let lamp = &mut world.nodes[LAMP].endpoint;
    lamp.client.exchanges.end(now, id, true).unwrap();
    bytes
}

#[test]
fn a_verified_request_lifts_the_pause_of_its_sender_and_nothing_less_does() {
    let (mut world, id) = paused();
    let genuine = of_lamp(&mut world);
    let mut forged = genuine.clone();
    *forged.last_mut().unwrap() ^= 1;
    world.inject(CLIENT, false, address(LAMP), &forged);
    assert!(waits(&world, id), "not verified");
    let plain = [0x50, 1, 7, 7, 0xb1, b't'];
    world.inject(CLIENT, false, address(LAMP), &plain);
    assert!(waits(&world, id), "not protected");
    let mut elsewhere = of_lamp(&mut world);
    world.inject(CLIENT, false, address(BELL), &elsewhere);
    assert!(waits(&world, id), "from another address");
    assert!(
        in_person(&world)
            .iter()
            .all(|d| d.route.destination != address(LAMP)
                || d.message().kind() != Type::Non
                || !d.message().code().is_request())
    );
    elsewhere = of_lamp(&mut world);
    world.inject(CLIENT, false, address(LAMP), &elsewhere);
    assert!(!waits(&world, id));
    let asks = |d: &Datagram| d.message().code().is_request() || d.is_protected();
    assert!(in_person(&world).iter().any(asks), "it has left");

    // It stays silent: the rate is kept, also if it is heard again.
    world.pass(Duration::from_secs(3));
    let again = ask_and_wait_again(&mut world);
    let another = of_lamp(&mut world);
    world.inject(CLIENT, false, address(LAMP), &another);
    assert!(waits(&world, again), "it has not responded");
    // It responds, and is silent once more: what it said before lifts nothing.
    world.nodes[LAMP].deaf = false;
    world.pass(Duration::from_secs(200));
    assert!(world.response().is_some());
    world.nodes[LAMP].deaf = true;
    world.forget_sent();
    let again = ask_and_wait(&mut world);
    let mut replayed = elsewhere.clone();
    replayed[2..4].copy_from_slice(&[0xee, 0xef]);
    let before = world.nodes[CLIENT].counters().replayed;
    world.inject(CLIENT, false, address(LAMP), &replayed);
    assert_eq!(world.nodes[CLIENT].counters().replayed, before + 1);
    assert!(waits(&world, again), "a replay");
    let genuine = of_lamp(&mut world);
    world.inject(CLIENT, false, address(LAMP), &genuine);
    assert!(!waits(&world, again));
}

#[test]
fn an_answer_that_nobody_has_protected_lifts_nothing_that_a_protected_request_waits_for() {
    let (mut world, id) = paused();
    let unsecured = crate::collection::NoSec::Accepted;
    world.ask_group(GroupRequest {
        security: Security::Unsecured(unsecured),
        ..question(&world, "t")
    });
    let token = world.from(CLIENT)[0].message().token();
    let mut plain = alloc::vec![0x58, 0x45, 9, 9];
    plain.extend_from_slice(token.as_bytes());
    world.inject(CLIENT, false, address(LAMP), &plain);
    let mut from = world.answers().into_iter().map(|answer| answer.from.peer);
    assert!(from.any(|peer| peer == address(LAMP)), "delivered");
    assert!(waits(&world, id));
    let genuine = of_lamp(&mut world);
    world.inject(CLIENT, false, address(LAMP), &genuine);
    assert!(!waits(&world, id));
}

fn ask_and_wait_again(world: &mut World) -> ExchangeId {
    let unicast = UnicastRequest {
        reliability: Reliability::NonConfirmable,
        ..to_lamp(world, Code::GET)
    };
    let id = world.ask(unicast);
    assert!(waits(world, id));
    id
}

#[test]
fn a_verified_answer_to_a_group_lifts_the_pause_of_who_gave_it() {
    let (mut world, id) = paused();
    world.nodes[BELL].deaf = true;
    world.nodes[LAMP].deaf = false;
    world.lossy = |datagram| datagram.from == LAMP;
    world.ask_group(question(&world, "t"));
    let answer = world.from(LAMP)[0].bytes.clone();
    world.lossy = |_| false;
    let mut forged = answer.clone();
    *forged.last_mut().unwrap() ^= 1;
    world.inject(CLIENT, false, address(LAMP), &forged);
    assert!(waits(&world, id), "not verified");
    // An error that anyone can send.
    let token = Message::parse(&answer).unwrap().token();
    let mut plain = alloc::vec![0x58, 0xa0, 9, 9];
    plain.extend_from_slice(token.as_bytes());
    plain[0] = 0x50 | token.len() as u8;
    world.inject(CLIENT, false, address(LAMP), &plain);
    assert!(waits(&world, id), "not protected");
    world.inject(CLIENT, false, address(LAMP), &answer);
    assert!(!waits(&world, id));
    assert_eq!(world.answers().len(), 1);
    assert_eq!(world.response().expect("asked at once").0.payload, b"got");
}
