//! How often, and how sure.

use super::*;

/// Changes, and acknowledges what is Confirmable.
fn change_acknowledged(o: &mut Observed, value: u32) -> Note {
    let notes = o.change(value);
    let note = only(&notes).clone();
    if note.kind == Type::Con {
        assert!(o.reply(Type::Ack, &note).is_empty());
    }
    note
}

// Covers: GC-3.6-13, GN-6.3-04
#[test]
fn at_least_every_eighth_notification_is_confirmable() {
    for profile in [crate::Profile::Current, crate::Profile::Seed03] {
        let mut config = EndpointConfig::default();
        config.server.profile = profile;
        every_eighth(observed_with(config));
    }
}

fn every_eighth(mut o: Observed) {
    o.register(client(1), b"t");
    let mut kinds = Vec::new();
    for value in 0..25 {
        o.bench.now = o.bench.now + Duration::from_secs(4);
        kinds.push(change_acknowledged(&mut o, value).kind == Type::Con);
    }
    // The first asks whether there is anyone at all.
    let expected: Vec<bool> = (0..25).map(|n| n % 8 == 0).collect();
    assert_eq!(kinds, expected);
    let counters = o.counters();
    assert_eq!(
        (
            counters.notifications,
            counters.confirmable,
            counters.acknowledged
        ),
        (25, 4, 4)
    );
    // Without acknowledgement nothing follows, and in the end nobody is there.
    for value in 0..7 {
        o.bench.now = o.bench.now + Duration::from_secs(4);
        assert_eq!(change_acknowledged(&mut o, value).kind, Type::Non);
    }
    o.bench.now = o.bench.now + Duration::from_secs(4);
    let notes = o.change(1);
    let sure = only(&notes).clone();
    assert_eq!(sure.kind, Type::Con);
    for value in 0..10 {
        assert!(o.change(value).is_empty());
    }
    let sent = o.run(Duration::from_secs(100));
    assert_eq!(sent.len(), 4, "MAX_RETRANSMIT");
    assert!(sent.iter().all(|(_, note)| *note == sure), "the same bytes");
    assert_eq!((o.observers(), o.counters().unanswered), (0, 1));
    assert!(o.change(3).is_empty());
}

#[test]
fn how_often_is_a_matter_of_configuration() {
    let mut config = EndpointConfig::default();
    config.server.observe.confirm_every = 3;
    let mut o = observed_with(config);
    o.register(client(1), b"t");
    let mut kinds = Vec::new();
    for value in 0..7 {
        o.bench.now = o.bench.now + Duration::from_secs(4);
        kinds.push(change_acknowledged(&mut o, value).kind == Type::Con);
    }
    assert_eq!(kinds, [true, false, false, true, false, false, true]);
    let mut config = EndpointConfig::default();
    config.server.observe.confirm_every = 1;
    let mut o = observed_with(config);
    o.register(client(1), b"t");
    for value in 0..4 {
        assert_eq!(change_acknowledged(&mut o, value).kind, Type::Con);
    }
}

// Covers: GC-3.6-13
#[test]
fn once_a_day_a_confirmable_notification_asks_whether_anyone_is_there() {
    for profile in [crate::Profile::Current, crate::Profile::Seed03] {
        let mut config = EndpointConfig::default();
        config.server.profile = profile;
        once_a_day(observed_with(config));
    }
}

fn once_a_day(mut o: Observed) {
    const HOUR: Duration = Duration::from_secs(3_600);
    o.register(client(1), b"t");
    let began = o.bench.now;
    let note = change_acknowledged(&mut o, 1);
    assert_eq!(note.kind, Type::Con);
    let sent = o.run(22 * HOUR);
    assert!(sent.is_empty(), "{sent:?}");
    let sent = o.run(2 * HOUR);
    let [(at, note), repeated @ ..] = sent.as_slice() else {
        panic!("nothing")
    };
    assert!(at.since(began) >= 23 * HOUR && at.since(began) <= 24 * HOUR);
    assert_eq!(
        (note.kind, note.payload.as_str()),
        (Type::Con, "1"),
        "nothing has changed"
    );
    assert_eq!(repeated.len(), 4);
    assert_eq!((o.observers(), o.counters().unanswered), (0, 1));

    // One that answers stays, and is asked again a day later.
    o.register(client(1), b"t");
    change_acknowledged(&mut o, 1);
    let mut asked = 0;
    for _ in 0..24 * 8 {
        let sent = o.run_acknowledged(HOUR / 2);
        assert!(sent.iter().all(|(_, note)| note.kind == Type::Con));
        asked += sent.len();
    }
    assert_eq!((asked, o.observers()), (4, 1), "in four days");
}

#[test]
fn one_that_was_heard_of_lately_is_not_asked() {
    const HOUR: Duration = Duration::from_secs(3_600);
    let mut o = observed();
    o.register(client(1), b"t");
    change_acknowledged(&mut o, 1);
    // Non-confirmable notifications are no sign of life: within the day the next one is Confirmable.
    for hour in 1..=22 {
        o.bench.now = o.bench.now + HOUR;
        o.bench.endpoint.handle_timeout(o.bench.now);
        assert!(o.sent().is_empty());
        if hour % 5 == 0 {
            assert_eq!(
                change_acknowledged(&mut o, hour).kind,
                Type::Non,
                "hour {hour}"
            );
        }
    }
    o.bench.now = o.bench.now + HOUR - Duration::from_micros(1);
    assert_eq!(change_acknowledged(&mut o, 23).kind, Type::Non);
    o.bench.now = o.bench.now + SECOND * 4;
    let notes = o.change(24);
    assert_eq!(
        only(&notes).kind,
        Type::Con,
        "23 hours without a sign of life"
    );
}

#[test]
fn while_a_confirmable_notification_is_under_way_changes_wait_and_the_last_one_counts() {
    let mut o = observed();
    o.register(client(1), b"t");
    let notes = o.change(1);
    let first = only(&notes).clone();
    let mut sent = Vec::new();
    for value in 2..=9 {
        sent.extend(o.change(value));
        sent.extend(o.run(SECOND).into_iter().map(|(_, note)| note));
    }
    // ACK_TIMEOUT to 1.5 ACK_TIMEOUT, then twice that.
    assert!(matches!(sent.len(), 1 | 2), "{sent:?}");
    assert!(
        sent.iter().all(|note| *note == first),
        "what is repeated is not made anew"
    );
    assert_eq!(o.asked(), 2);
    let notes = o.reply(Type::Ack, &first);
    let next = only(&notes);
    assert_eq!((next.payload.as_str(), o.asked()), ("9", 3));
    assert_ne!(next.mid, first.mid);
    assert!(next.number > first.number);
    assert!(o.run(Duration::from_secs(100)).is_empty());
}

#[test]
fn retransmissions_have_the_times_of_any_confirmable_message() {
    let mut o = observed();
    o.register(client(1), b"t");
    o.change(1);
    let began = o.bench.now;
    let sent = o.run(Duration::from_secs(100));
    let times: Vec<u128> = sent
        .iter()
        .map(|(at, _)| at.since(began).as_millis())
        .collect();
    let [first, second, third, fourth] = times.as_slice() else {
        panic!("{times:?}")
    };
    assert!((2_000..=3_000).contains(first), "{first}");
    for (time, factor) in [(second, 3), (third, 7), (fourth, 15)] {
        assert!(time.abs_diff(first * factor) <= factor, "{times:?}");
    }
}

#[test]
fn non_confirmable_notifications_keep_three_seconds_apart_until_the_round_trip_is_known() {
    let mut o = observed();
    o.register(client(1), b"t");
    let notes = o.change(0);
    // The acknowledgement comes so late that the notification may have been sent twice: that measures nothing.
    o.run(Duration::from_secs(2));
    o.reply(Type::Ack, only(&notes));
    assert_eq!(only(&o.change(1)).kind, Type::Non);
    let began = o.bench.now;
    assert!(o.change(2).is_empty());
    assert!(o.run(Duration::from_millis(2_999)).is_empty());
    assert!(o.change(3).is_empty());
    let sent = o.run(Duration::from_millis(2));
    let [(at, note)] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    assert_eq!(at.since(began), Duration::from_secs(3));
    assert_eq!(
        (note.kind, note.payload.as_str()),
        (Type::Non, "3"),
        "the newest state"
    );
    assert_eq!(o.counters().notifications, 3);
}

#[test]
fn the_measured_round_trip_time_sets_the_pace() {
    let mut o = observed();
    o.register(client(1), b"t");
    let notes = o.change(0);
    o.run(Duration::from_millis(80));
    o.reply(Type::Ack, only(&notes));
    let began = o.bench.now;
    assert_eq!(o.change(1).len(), 1);
    let mut sent = Vec::new();
    for value in 2..40 {
        sent.extend(o.change(value).into_iter().map(|note| (o.bench.now, note)));
        sent.extend(o.run(Duration::from_millis(10)));
    }
    let at: Vec<u128> = sent
        .iter()
        .map(|(at, _)| at.since(began).as_millis())
        .collect();
    assert_eq!(at, [80, 160, 240, 320]);
    // The mean follows slowly: the eighth notification since is Confirmable and takes 40 ms.
    assert_eq!(o.run(SECOND).len(), 1);
    assert_eq!(only(&o.change(50)).kind, Type::Non);
    o.run(SECOND);
    let notes = o.change(51);
    let sure = only(&notes);
    assert_eq!(sure.kind, Type::Con);
    o.run(Duration::from_millis(40));
    o.reply(Type::Ack, sure);
    let began = o.bench.now;
    assert_eq!(o.change(1).len(), 1);
    assert!(o.change(2).is_empty());
    let sent = o.run(SECOND);
    assert_eq!(
        sent[0].0.since(began),
        Duration::from_millis(75),
        "80 - 80/8 + 40/8"
    );
}

#[test]
fn one_client_has_one_pace_and_one_confirmable_notification_whatever_it_observes() {
    let mut o = observed();
    o.register(client(1), b"a");
    o.register(client(1), b"b");
    o.register(client(2), b"c");
    let notes = o.change(1);
    assert_eq!(notes.len(), 2, "NSTART is 1");
    let first = notes
        .iter()
        .find(|note| note.to == client(1))
        .unwrap()
        .clone();
    let other = notes
        .iter()
        .find(|note| note.to == client(2))
        .unwrap()
        .clone();
    assert_eq!((first.kind, other.kind), (Type::Con, Type::Con));
    assert!(o.reply(Type::Ack, &other).is_empty());
    o.run(Duration::from_millis(500));
    let notes = o.reply(Type::Ack, &first);
    let second = only(&notes).clone();
    assert_eq!((second.to, second.kind), (client(1), Type::Con));
    assert_ne!(second.token, first.token);
    o.run(Duration::from_millis(500));
    assert!(o.reply(Type::Ack, &second).is_empty());
    let notes = o.change(2);
    let to_first: Vec<_> = notes.iter().filter(|note| note.to == client(1)).collect();
    assert_eq!(to_first.len(), 1, "one in a round trip time");
    let began = o.bench.now;
    let sent = o.run(SECOND);
    assert_eq!(
        (sent.len(), sent[0].0.since(began)),
        (1, Duration::from_millis(500))
    );
    assert_ne!(sent[0].1.token, to_first[0].token);
}

#[test]
fn more_may_be_outstanding_where_nstart_says_so() {
    let mut config = EndpointConfig::default();
    config.transmission.set_nstart(2).unwrap();
    let mut o = observed_with(config);
    for token in [b"a", b"b", b"c"] {
        o.register(client(1), token);
    }
    let notes = o.change(1);
    assert_eq!(notes.len(), 2);
    assert!(o.change(2).is_empty());
    let next = o.reply(Type::Ack, &notes[0]);
    let kinds: Vec<_> = next.iter().map(|note| note.kind).collect();
    assert_eq!(
        kinds,
        [Type::Non, Type::Con],
        "the first once more, and the third"
    );
    assert!(next.iter().all(|note| note.payload == "2"));
    for note in [&notes[1], &next[1]] {
        o.reply(Type::Ack, note);
    }
    o.run(Duration::from_secs(10));
    // All have answered once. Later nobody does.
    while o.bench.endpoint.load().confirmables == 0 {
        o.change(3);
        o.run(Duration::from_secs(4));
    }
    let silent = o.run(Duration::from_secs(100));
    assert!(!silent.is_empty());
    assert_eq!(
        o.observers(),
        0,
        "with an endpoint that is not there all its observations end"
    );
    assert_eq!(o.bench.endpoint.load().confirmables, 0);
}

#[test]
fn so_many_confirmable_notifications_are_outstanding_in_all() {
    let mut config = EndpointConfig::default();
    config.server.observe.unacknowledged = 3;
    config.server.observe.confirm_every = 1;
    let mut o = observed_with(config);
    for n in 0..10 {
        o.register(client(n), b"t");
    }
    // The first time they are strangers, who have a quarter of the places.
    for (value, places) in [(1, 1), (2, 3), (3, 3)] {
        let mut notes = o.change(value);
        assert_eq!(notes.len(), places);
        assert_eq!(o.bench.endpoint.load().confirmables, places);
        let mut told = notes.len();
        while let Some(note) = notes.pop() {
            let more = o.reply(Type::Ack, &note);
            assert!(more.len() <= 1);
            told += more.len();
            notes.extend(more);
        }
        assert_eq!(
            (told, o.counters().acknowledged),
            (10, 10 * u64::from(value))
        );
        assert_eq!(o.bench.endpoint.load().confirmables, 0);
    }
}

#[test]
fn strangers_that_do_not_answer_keep_nobody_else_waiting() {
    let mut config = EndpointConfig::default();
    config.server.observe.confirm_every = 1;
    let mut o = observed_with(config);
    for n in 0..10 {
        o.register(client(n), b"t");
    }
    for note in o.change(1) {
        o.reply(Type::Ack, &note);
    }
    for n in 100..400 {
        o.ask(false, client(n), Type::Non, b"forged", Some(REGISTER));
    }
    assert_eq!(o.observers(), 310);
    for value in 2..6 {
        let mut notes = o.change(value);
        let later = o.run(Duration::from_millis(100));
        notes.extend(later.into_iter().map(|(_, note)| note));
        let mut told = 0;
        for note in &notes {
            assert_eq!(note.kind, Type::Con);
            if note.token == b"t" {
                told += 1;
                assert_eq!(note.payload, alloc::format!("{value}"));
                o.reply(Type::Ack, note);
            }
        }
        assert_eq!(told, 10, "all of them, at once");
        o.run(Duration::from_secs(10));
    }
    assert_eq!(o.observers(), 310);
    assert!(o.bench.endpoint.load().confirmables <= 64);
}

#[test]
fn a_stranger_is_asked_within_two_minutes_although_nothing_has_changed() {
    let mut o = observed();
    o.ask(false, client(1), Type::Non, b"forged", Some(REGISTER));
    o.run(Duration::from_secs(20));
    o.register(client(2), b"t");
    let asked = o.run(Duration::from_secs(60));
    assert!(
        asked.iter().all(|(_, note)| note.to == client(1)),
        "one after 60 s"
    );
    assert!(!asked.is_empty());
    let asked = o.run_acknowledged(Duration::from_secs(40));
    let to_second = asked.iter().find(|(_, note)| note.to == client(2));
    let (at, note) = to_second.expect("the other at the next look");
    assert_eq!((note.kind, note.payload.as_str()), (Type::Con, "0"));
    assert!(*at > Instant::from_millis(80_000) && *at <= Instant::from_millis(120_000));
    // Of two strangers the one that has answered stays, and is left in peace.
    assert_eq!(o.observers(), 2);
    let mut forged = observed();
    for token in [b"a", b"b"] {
        forged.ask(false, client(1), Type::Non, token, Some(REGISTER));
    }
    forged.run(Duration::from_secs(220));
    assert_eq!((forged.observers(), forged.counters().unanswered), (0, 1));
    assert!(o.run(Duration::from_secs(20 * 3_600)).is_empty());
    assert_eq!(o.observers(), 2);
}

#[test]
fn the_message_id_of_what_a_stranger_is_to_acknowledge_cannot_be_foreseen() {
    let mut steps = std::collections::BTreeSet::new();
    let mut o = observed();
    for n in 0..20 {
        o.bench.now = o.bench.now + SECOND;
        let plain = o.ask(false, client(n), Type::Non, b"p", None);
        let mid = only(&plain).mid;
        o.register(client(n), b"t");
        let notes = o.change(1);
        let note = notes.iter().find(|note| note.to == client(n)).unwrap();
        steps.insert((u32::from(note.mid) + 0xa000 - u32::from(mid)) % 0xa000);
        // Afterwards they follow each other: an answer in between is counted with them.
        let sure = note.clone();
        for note in notes.iter().filter(|note| note.kind == Type::Con) {
            o.reply(Type::Ack, note);
        }
        let plain = o.ask(false, client(n), Type::Non, b"q", None);
        assert_eq!(only(&plain).mid, (sure.mid + 1) % 0xa000);
    }
    assert!(steps.iter().all(|step| (1..=0xa000 / 8 + 1).contains(step)));
    assert!(steps.len() > 15, "{steps:?}");
}

#[test]
fn a_place_comes_free_when_an_observer_leaves_or_does_not_answer() {
    let mut config = EndpointConfig::default();
    config.server.observe.unacknowledged = 1;
    let mut o = observed_with(config);
    for n in 0..4 {
        o.register(client(n), b"t");
    }
    let notes = o.change(1);
    let first = only(&notes).clone();
    let notes = o.ask(false, first.to, Type::Con, b"t", Some(DEREGISTER));
    assert_eq!(notes.len(), 2, "the answer, and the next one's turn");
    let second = notes[1].clone();
    assert_eq!((second.kind, second.code), (Type::Con, Code::CONTENT));
    let third = o.reply(Type::Rst, &second);
    assert_eq!(only(&third).kind, Type::Con);
    let sent = o.run(Duration::from_secs(94));
    let fourth = sent.iter().find(|(_, note)| note.to != third[0].to);
    assert!(fourth.is_some(), "{sent:?}");
    o.run(Duration::from_secs(94));
    assert_eq!(
        (o.observers(), o.bench.endpoint.load().confirmables),
        (0, 0)
    );
    let counters = o.counters();
    assert_eq!(
        (counters.deregistered, counters.reset, counters.unanswered),
        (1, 1, 2)
    );
}

#[test]
fn many_observers_are_notified_in_rounds_so_that_others_are_served_between_them() {
    let mut config = EndpointConfig::default();
    config.server.observe.unacknowledged = 4_000;
    config.server.observe.observers = 2_002;
    config.server.observe.per_resource = 2_002;
    let mut o = observed_with(config);
    for n in 0..1_000 {
        o.register(client(n), b"t");
    }
    let began = o.bench.now;
    let notes = o.change(1);
    assert_eq!(notes.len(), 64);
    assert_eq!(
        o.bench.endpoint.next_timeout(),
        Some(began + Duration::from_millis(1))
    );
    assert!(o.change(2).is_empty(), "and not more for more changes");
    let first = o.register(client(2_000), b"t");
    assert_eq!(first.payload, "2");
    let sent = o.run(Duration::from_millis(30));
    let told: std::collections::BTreeSet<_> = sent.iter().map(|(_, note)| note.to).collect();
    assert_eq!(told.len(), 936);
    assert!(sent.iter().all(|(_, note)| note.payload == "2"));
    assert!(!told.contains(&client(2_000)), "it knows");
}

// Covers: GN-6.3-04
#[test]
fn the_registration_of_a_forged_source_ends_at_the_first_unanswered_confirmable_notification() {
    let mut o = observed();
    let victim = client(7);
    for (token, through_group) in [(b"a", false), (b"b", true), (b"c", true)] {
        o.ask(through_group, victim, Type::Non, token, Some(REGISTER));
        o.run(Duration::from_secs(10));
    }
    assert_eq!(o.observers(), 3);
    let mut sent = o.change(1);
    sent.extend(
        o.run(Duration::from_secs(200))
            .into_iter()
            .map(|(_, note)| note),
    );
    assert!(
        sent.iter()
            .all(|note| note.to == victim && *note == sent[0])
    );
    assert_eq!(
        sent.len(),
        5,
        "one notification and its repetitions, for all three observations"
    );
    assert_eq!((o.observers(), o.counters().unanswered), (0, 1));
    // Registering again does not put the question off.
    for value in 0..5 {
        o.ask(false, victim, Type::Non, b"a", Some(REGISTER));
        let notes = o.change(value);
        assert!(notes.iter().all(|note| note.kind == Type::Con));
        o.run(SECOND);
    }
    assert_eq!(o.counters().notifications - o.counters().confirmable, 0);
}

#[test]
fn a_proven_address_is_not_asked_at_once() {
    let mut config = EndpointConfig::default();
    config.server.unproven_reachability = crate::server::Reachability::Required;
    let mut o = observed_with(config);
    let peer = client(1);
    let notes = o.ask(false, peer, Type::Con, b"t", Some(REGISTER));
    assert_eq!((only(&notes).code, o.observers()), (Code::UNAUTHORIZED, 0));
    let path = o.path(false, peer);
    let bytes = get_observe(1);
    let sent = o.bench.hear(path, &bytes);
    let challenge = Message::parse(&sent[0].1).unwrap();
    let echo = challenge.option(OptionNumber::ECHO).unwrap().to_vec();
    let options = [
        (OptionNumber::OBSERVE, REGISTER),
        (OptionNumber::URI_PATH, RESOURCE.as_bytes()),
        (OptionNumber::ECHO, echo.as_slice()),
    ];
    let notes = o.ask_with(false, peer, Type::Con, b"t", Code::GET, &options, b"");
    assert!(only(&notes).number.is_some());
    // Long after the address would have to be proven anew.
    for value in 0..7 {
        o.bench.now = o.bench.now + Duration::from_secs(1_800);
        o.bench.endpoint.handle_timeout(o.bench.now);
        let notes = o.change(value);
        assert_eq!(
            (only(&notes).kind, only(&notes).code),
            (Type::Non, Code::CONTENT)
        );
    }
    o.bench.now = o.bench.now + SECOND * 4;
    assert_eq!(only(&o.change(9)).kind, Type::Con);
}

#[test]
fn who_comes_back_and_registers_again_stays_although_nobody_has_acknowledged_before() {
    let mut config = EndpointConfig::default();
    config.server.unproven_reachability = crate::server::Reachability::Required;
    config.server.observe.confirm_every = 1;
    let mut o = observed_with(config);
    let path = o.path(false, client(1));
    let sent = o.bench.hear(path, &get_observe(1));
    let challenge = Message::parse(&sent[0].1).unwrap();
    let echo = challenge.option(OptionNumber::ECHO).unwrap().to_vec();
    let options = [
        (OptionNumber::OBSERVE, REGISTER),
        (OptionNumber::URI_PATH, RESOURCE.as_bytes()),
        (OptionNumber::ECHO, echo.as_slice()),
    ];
    let register = |o: &mut Observed| {
        let notes = o.ask_with(false, client(1), Type::Con, b"t", Code::GET, &options, b"");
        assert!(only(&notes).number.is_some());
    };
    register(&mut o);
    assert_eq!(only(&o.change(1)).kind, Type::Con);
    // It is off for a while, and back before the last repetition has been waited for.
    assert_eq!(o.run(Duration::from_secs(50)).len(), 4);
    register(&mut o);
    let notes = o.change(2);
    assert_eq!(
        (only(&notes).kind, only(&notes).payload.as_str()),
        (Type::Con, "2")
    );
    assert!(o.reply(Type::Ack, only(&notes)).is_empty());
    assert!(o.run(Duration::from_secs(100)).is_empty());
    assert_eq!((o.observers(), o.counters().unanswered), (1, 0));
    assert_eq!(o.bench.endpoint.load().confirmables, 0);
}

fn get_observe(mid: u16) -> Vec<u8> {
    let options = [
        (OptionNumber::OBSERVE, REGISTER),
        (OptionNumber::URI_PATH, RESOURCE.as_bytes()),
    ];
    asks(Type::Con, Code::GET, mid, b"t", &options, b"")
}
