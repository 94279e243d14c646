//! Observers that never acknowledge.

use std::collections::BTreeMap;

use super::*;

#[test]
fn observers_that_never_acknowledge_end_and_cost_the_others_nothing() {
    const DEAF: u16 = 400;
    let mut config = EndpointConfig::default();
    config.server.observe.per_resource = 2 * usize::from(DEAF);
    let mut o = observed_with(config);
    let good = client(0);
    o.register(good, b"t");
    let notes = o.change(0);
    let first = only(&notes).clone();
    o.reply(Type::Ack, &first); // it is there
    for n in 1..=DEAF {
        o.register(client(n), b"t");
    }
    assert_eq!(o.observers(), usize::from(DEAF) + 1);
    let mut sent: BTreeMap<SocketAddr, usize> = BTreeMap::new();
    let mut told = Vec::new();
    for value in 1..=40 {
        o.bench.now = o.bench.now + SECOND;
        let mut notes = o.change(value);
        let end = o.bench.now + Duration::from_secs(30);
        loop {
            for note in core::mem::take(&mut notes) {
                *sent.entry(note.to).or_default() += 1;
                if note.to == good {
                    told.push(note.payload.clone());
                    if note.kind == Type::Con {
                        notes.extend(o.reply(Type::Ack, &note));
                    }
                }
            }
            let load = o.bench.endpoint.load();
            assert!(load.confirmables <= 65, "a quarter of 256, and one");
            let next = o.bench.endpoint.next_timeout();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            let step = next.since(o.bench.now);
            notes.extend(o.pass(step));
        }
        o.bench.now = end;
    }
    let expected: Vec<_> = (1..=40).map(|n| alloc::format!("{n}")).collect();
    assert_eq!(told, expected, "each change, once");
    assert_eq!(o.observers(), 1);
    assert_eq!(o.counters().unanswered, u64::from(DEAF));
    for n in 1..=DEAF {
        assert!(
            sent[&client(n)] <= 5,
            "one notification and its repetitions"
        );
    }
}

/// How each of these clients is told: when, and of what.
fn living(
    o: &mut Observed,
    there: u16,
    duration: Duration,
) -> BTreeMap<SocketAddr, Vec<(Duration, String)>> {
    let (began, end) = (o.bench.now, o.bench.now + duration);
    let mut told: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let mut notes = o.sent();
    loop {
        while let Some(note) = notes.pop() {
            if (0..there).any(|n| client(n) == note.to) {
                notes.extend(o.reply(Type::Ack, &note));
                let after = o.bench.now.since(began);
                told.entry(note.to).or_default().push((after, note.payload));
            } else {
                let sent = told.entry(note.to).or_default();
                sent.push((o.bench.now.since(began), note.payload));
            }
        }
        assert!(o.bench.endpoint.load().confirmables <= 256);
        let next = o.bench.endpoint.next_timeout();
        let Some(next) = next.filter(|next| *next <= end) else {
            break;
        };
        assert!(next > o.bench.now, "a timeout stays due");
        let step = next.since(o.bench.now);
        notes = o.pass(step);
    }
    o.bench.now = end;
    told
}

#[test]
fn ten_that_are_there_are_told_beside_two_thousand_that_have_lost_power() {
    const ALL: u16 = 2_010;
    const THERE: u16 = 10;
    let mut config = EndpointConfig::default();
    config.server.observe.observers = 2 * usize::from(ALL);
    config.server.observe.per_resource = 2 * usize::from(ALL);
    config.server.observe.confirm_every = 1;
    let mut o = observed_with(config);
    for n in 0..ALL {
        o.ask(true, client(n), Type::Non, b"t", Some(REGISTER));
        if n % 100 == 0 {
            o.run(SECOND);
        }
    }
    o.run_acknowledged(LEISURE);
    o.change(1);
    o.run_acknowledged(Duration::from_secs(20)); // all of them were there
    assert_eq!(o.observers(), usize::from(ALL));
    assert_eq!(o.counters().acknowledged, u64::from(ALL));

    // The change of a leisure period, and one while all places are held by those that were asked in vain.
    for value in [2, 3, 4] {
        o.value.store(value, Ordering::Relaxed);
        o.bench.endpoint.changed(o.bench.now, o.id);
        let told = living(&mut o, THERE, LEISURE + Duration::from_secs(3));
        for n in 0..THERE {
            let [(_, text)] = told[&client(n)].as_slice() else {
                panic!("{n}: {:?}", told.get(&client(n)))
            };
            assert_eq!(*text, alloc::format!("{value}"));
        }
    }
    assert_eq!(
        o.observers(),
        usize::from(ALL),
        "nobody is given up so soon"
    );
    let later = living(&mut o, THERE, Duration::from_secs(240));
    assert_eq!(o.observers(), usize::from(THERE));
    let gone = u64::from(ALL - THERE);
    assert_eq!(o.counters().unanswered, gone);
    let most = later.values().map(Vec::len).max().unwrap();
    assert!(most <= 15, "{most}: five attempts, some of them repeated");
    assert_eq!(o.bench.endpoint.load().confirmables, 0);
}

#[test]
fn those_that_acknowledge_late_stay_though_others_wait_for_their_places() {
    const ALL: u16 = 40;
    let mut config = EndpointConfig::default();
    config.server.observe.unacknowledged = 8;
    config.server.observe.confirm_every = 1;
    let mut o = observed_with(config);
    for n in 0..ALL {
        o.ask(true, client(n), Type::Non, b"t", Some(REGISTER));
    }
    o.run_acknowledged(LEISURE);
    o.change(0);
    o.run_acknowledged(Duration::from_secs(20)); // all of them were there

    let round_trip = Duration::from_secs(3);
    for value in 1..=6 {
        let end = o.bench.now + Duration::from_secs(100);
        let mut notes = o.change(value);
        let mut late: Vec<(Instant, Note)> = Vec::new();
        let mut last: BTreeMap<SocketAddr, String> = BTreeMap::new();
        loop {
            for note in notes.drain(..) {
                last.insert(note.to, note.payload.clone());
                late.push((o.bench.now + round_trip, note));
            }
            late.sort_by_key(|(due, _)| *due);
            let reply = late.first().map(|(due, _)| *due);
            let timeout = o.bench.endpoint.next_timeout();
            let next = [reply, timeout].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            notes = o.pass(next.since(o.bench.now));
            while late.first().is_some_and(|(due, _)| *due <= o.bench.now) {
                let (_, note) = late.remove(0);
                notes.extend(o.reply(Type::Ack, &note));
            }
        }
        o.bench.now = end;
        assert_eq!(o.observers(), usize::from(ALL));
        assert_eq!(last.len(), usize::from(ALL));
        assert!(last.values().all(|text| *text == alloc::format!("{value}")));
    }
    assert_eq!(o.counters().unanswered, 0);
}

/// A notification to a stranger, as it was sent.
fn asked_stranger(o: &mut Observed, token: &[u8]) -> (Note, Vec<u8>) {
    o.ask(false, client(1), Type::Non, token, Some(REGISTER));
    o.value.fetch_add(1, Ordering::Relaxed);
    o.bench.endpoint.changed(o.bench.now, o.id);
    let sent = o.bench.sent();
    let [(route, bytes)] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    (note(&(*route, bytes.clone())), bytes.clone())
}

#[test]
fn a_report_that_quotes_the_notification_ends_a_registration_of_which_nobody_has_shown_anything() {
    let gone = SendError::PortUnreachable;
    let mut o = observed();
    let report = |o: &mut Observed, socket, to, quote: &[u8], error| {
        let now = o.bench.now;
        o.bench
            .endpoint
            .handle_undelivered(now, socket, to, quote, error)
    };
    let (note, bytes) = asked_stranger(&mut o, b"forged");
    o.ask(false, client(1), Type::Non, b"other", Some(REGISTER));
    assert_eq!((note.kind, o.observers()), (Type::Con, 2));
    let (to, socket) = (note.to, note.route.socket);
    // Header and token, all of it and of none else.
    for length in 0..10 {
        assert!(!report(&mut o, socket, to, &bytes[..length], gone));
    }
    for at in 0..10 {
        let mut other = bytes.clone();
        other[at] ^= 0x41;
        assert!(!report(&mut o, socket, to, &other, gone), "{at}");
    }
    assert!(!report(&mut o, socket, client(2), &bytes, gone));
    let elsewhere = if socket == UNICAST { OF_GROUP } else { UNICAST };
    assert!(!report(&mut o, elsewhere, to, &bytes, gone));
    assert_eq!(o.bench.endpoint.counters().reports_ignored, 22);
    // A full buffer passes.
    assert!(report(&mut o, socket, to, &bytes, SendError::NoBuffer));
    assert_eq!(o.observers(), 2);
    assert!(report(&mut o, socket, to, &bytes[..10], gone));
    assert_eq!(o.bench.endpoint.counters().send_errors, 2);
    assert_eq!(o.observers(), 1, "the other registration stays");
    assert_eq!(
        (
            o.counters().unanswered,
            o.bench.endpoint.load().confirmables
        ),
        (1, 0)
    );
    assert!(!report(&mut o, socket, to, &bytes, gone), "once");
    // Its place is free: the other one is asked, and its answer keeps it.
    let notes = o.change(9);
    let second = only(&notes).clone();
    assert_eq!(
        (second.kind, second.token.as_slice()),
        (Type::Con, b"other".as_slice())
    );
    o.reply(Type::Ack, &second);
    assert_eq!(o.observers(), 1);
}

#[test]
fn a_report_ends_a_forged_registration_that_was_made_again_meanwhile() {
    let mut o = observed();
    let (note, bytes) = asked_stranger(&mut o, b"forged");
    o.ask(false, client(1), Type::Non, b"forged", Some(REGISTER));
    assert_eq!(o.observers(), 1);
    let (now, socket) = (o.bench.now, note.route.socket);
    let gone = SendError::NoRoute;
    let endpoint = &mut o.bench.endpoint;
    assert!(endpoint.handle_undelivered(now, socket, note.to, &bytes, gone));
    assert_eq!(o.observers(), 0);
}

#[test]
fn a_report_about_somebody_who_was_there_ends_nothing() {
    let mut config = EndpointConfig::default();
    config.server.observe.confirm_every = 1;
    let mut o = observed_with(config);
    let (note, _) = asked_stranger(&mut o, b"t");
    o.reply(Type::Ack, &note);
    o.bench.now = o.bench.now + SECOND;
    o.bench.endpoint.changed(o.bench.now, o.id);
    let sent = o.bench.sent();
    let (route, bytes) = &sent[0];
    assert_eq!(parsed(bytes).0, Type::Con);
    let (now, gone) = (o.bench.now, SendError::PortUnreachable);
    let endpoint = &mut o.bench.endpoint;
    assert!(!endpoint.handle_undelivered(now, route.socket, note.to, bytes, gone));
    assert_eq!(
        (o.observers(), o.bench.endpoint.load().confirmables),
        (1, 1)
    );
    assert_eq!(o.bench.endpoint.counters().reports_ignored, 1);
}
