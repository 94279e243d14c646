//! Observers that registered through a group.

use super::*;

/// Registers through the group, and lets the leisure of the answer pass.
fn join(o: &mut Observed, peer: SocketAddr) -> Note {
    assert!(
        o.ask(true, peer, Type::Non, b"grp", Some(REGISTER))
            .is_empty(),
        "not at once"
    );
    let sent = o.run(LEISURE);
    let [(_, note)] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    note.clone()
}

// Covers: GC-3.6-11, GC-3.6-14
#[test]
fn a_registration_through_a_group_is_answered_whatever_the_policy_and_notified_from_the_unicast_address()
 {
    let mut o = observed();
    let first = join(&mut o, client(1));
    assert_eq!(
        (first.kind, first.code, first.payload.as_str()),
        (Type::Non, Code::CONTENT, "0")
    );
    assert!(first.number.is_some(), "although the policy is silence");
    assert_eq!((first.route.socket, first.route.source), (UNICAST, None));
    assert_eq!(first.route.destination, client(1));
    let silent = o.ask(true, client(1), Type::Non, b"x", None);
    assert!(
        silent.is_empty() && o.run(LEISURE).is_empty(),
        "a plain request is not answered"
    );
    assert!(o.change(1).is_empty(), "its leisure");
    let sent = o.run_acknowledged(LEISURE);
    let [(_, note)] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    assert_eq!(
        (note.payload.as_str(), note.token.as_slice()),
        ("1", b"grp".as_slice())
    );
    assert_eq!(
        (note.route.socket, note.route.source, note.to),
        (UNICAST, None, client(1))
    );
    assert_ne!(note.mid, first.mid);
    assert!(note.number > first.number);
    assert_eq!(
        note.kind,
        Type::Con,
        "although the request was Non-confirmable"
    );
}

// Covers: GN-3.7-05, GC-3.6-12
#[test]
fn the_clients_own_no_response_keeps_the_first_answer_back_and_nothing_else() {
    for (profile, answers) in [(crate::Profile::Current, 0), (crate::Profile::Seed03, 1)] {
        let mut config = EndpointConfig::default();
        config.server.profile = profile;
        let mut o = observed_with(config);
        let policy = GroupPolicy::silent()
            .leisure(Leisure::Fixed(LEISURE))
            .consider_no_response();
        o.bench.endpoint.server_mut().set_group_policy(o.id, policy);
        let no_response = [NoResponse::SUCCESS.bits()];
        let options = [
            (OptionNumber::OBSERVE, REGISTER),
            (OptionNumber::URI_PATH, RESOURCE.as_bytes()),
            (OptionNumber::NO_RESPONSE, no_response.as_slice()),
        ];
        o.ask_with(true, client(1), Type::Non, b"t", Code::GET, &options, b"");
        o.ask(true, client(2), Type::Non, b"u", Some(REGISTER));
        let sent = o.run(LEISURE);
        let to = |peer| sent.iter().filter(|(_, note)| note.to == peer).count();
        assert_eq!((to(client(1)), to(client(2))), (answers, 1), "{profile:?}");
        assert!(sent.iter().all(|(_, note)| note.number.is_some()));
        assert_eq!(o.observers(), 2);
        o.change(1);
        let sent = o.run_acknowledged(LEISURE);
        assert_eq!(sent.len(), 2);
        assert!(sent.iter().all(|(_, note)| note.payload == "1"));
        // In person just the same.
        let mut person = observed();
        let notes = person.ask_with(false, client(1), Type::Con, b"t", Code::GET, &options, b"");
        assert_eq!(
            (only(&notes).code, only(&notes).kind),
            (Code::EMPTY, Type::Ack)
        );
        assert_eq!(person.change(1).len(), 1);
    }
}

// Covers: GC-3.6-03
#[test]
fn members_without_the_resource_answer_with_an_error_or_not_at_all() {
    let respond = GroupPolicy::respond().leisure(Leisure::Fixed(Duration::ZERO));
    for (answered, codes) in [
        (true, alloc::vec![Code::NOT_FOUND, Code::METHOD_NOT_ALLOWED]),
        (false, alloc::vec![]),
    ] {
        let mut config = EndpointConfig::default();
        let policy = match answered {
            true => respond.clone().answer(antiphon_wire::Class::ClientError),
            false => respond.clone(),
        };
        config.server.unmatched = policy.clone();
        let mut o = observed_with(config);
        let put_only = Resource::at("put")
            .put(|_, _| {})
            .access(Access::Unsecured)
            .group_policy(policy)
            .observable();
        o.bench.endpoint.server_mut().add(put_only).unwrap();
        let mut heard = Vec::new();
        for at in ["none", "put"] {
            let options = [
                (OptionNumber::OBSERVE, REGISTER),
                (OptionNumber::URI_PATH, at.as_bytes()),
            ];
            let notes = o.ask_with(true, client(1), Type::Non, b"t", Code::GET, &options, b"");
            heard.extend(notes.iter().map(|note| note.code));
        }
        assert_eq!(heard, codes);
        assert_eq!(o.bench.endpoint.load().observers, 0);
    }
}

// Covers: GN-3.7-02
#[test]
fn every_notification_has_its_leisure() {
    let mut o = observed();
    let spread = |began: Instant, sent: &[(Instant, Note)]| {
        assert_eq!(sent.len(), 50, "all within one leisure period");
        let after: Vec<f64> = sent
            .iter()
            .map(|(at, _)| at.since(began).as_secs_f64())
            .collect();
        let mean = after.iter().sum::<f64>() / 50.0;
        assert!((1.0..3.0).contains(&mean), "spread over 4 s, not {mean}");
        assert!(after.iter().any(|after| *after < 0.5) && after.iter().any(|after| *after > 3.5));
    };
    let began = o.bench.now;
    for n in 0..50 {
        o.ask(true, client(n), Type::Non, b"t", Some(REGISTER));
    }
    spread(began, &o.run(LEISURE));
    for value in 1..4 {
        let began = o.bench.now;
        assert!(o.change(value).is_empty());
        let sent = o.run_acknowledged(LEISURE);
        spread(began, &sent);
        for (_, note) in &sent {
            assert_eq!(note.payload, alloc::format!("{value}"));
        }
    }
}

// Covers: GN-3.7-04
#[test]
fn what_is_sent_again_to_an_observer_of_a_group_has_no_leisure() {
    for seed in 0..10 {
        let mut o = observed();
        o.bench.now = Instant::from_millis(seed);
        join(&mut o, client(1));
        o.change(1);
        let sent = o.run(Duration::from_secs(110));
        let times: Vec<u128> = sent
            .iter()
            .map(|(at, _)| at.since(sent[0].0).as_millis())
            .collect();
        // ACK_TIMEOUT to 1.5 ACK_TIMEOUT, then twice that each time; a leisure of 4 s would show.
        let [0, first, second, third, fourth] = times.as_slice() else {
            panic!("{times:?}")
        };
        assert!((2_000..=3_000).contains(first), "{first}");
        for (time, factor) in [(second, 3), (third, 7), (fourth, 15)] {
            assert!(time.abs_diff(first * factor) <= factor, "{times:?}");
        }
    }
}

// Covers: GN-3.7-03
#[test]
fn the_leisure_of_another_change_begins_when_that_of_the_first_is_over() {
    let mut o = observed();
    let other = Resource::at("p")
        .get(|_, response| response.set_payload(ContentFormat::TEXT, b"p"))
        .access(Access::Unsecured)
        .group_policy(GroupPolicy::respond().leisure(Leisure::Fixed(LEISURE)))
        .observable();
    let other = o.bench.endpoint.server_mut().add(other).unwrap();
    let mut first_waits = 0;
    for round in 0..20u16 {
        let peer = client(round);
        o.ask(true, peer, Type::Non, b"o", Some(REGISTER));
        let options = [
            (OptionNumber::OBSERVE, REGISTER),
            (OptionNumber::URI_PATH, b"p"),
        ];
        o.ask_with(true, peer, Type::Non, b"p", Code::GET, &options, b"");
        o.run(2 * LEISURE);
        let began = o.bench.now;
        o.bench.endpoint.changed(began, o.id);
        o.bench.endpoint.changed(began, other);
        let sent = o.run_acknowledged(2 * LEISURE);
        assert_eq!(sent.len(), 2);
        let of = |token: &[u8]| {
            let sent = sent.iter().find(|(_, note)| note.token == token);
            sent.unwrap().0.since(began)
        };
        let (of_o, of_p) = (of(b"o"), of(b"p"));
        assert!(of_o <= LEISURE, "{of_o:?}");
        assert!(of_p >= LEISURE && of_p <= 2 * LEISURE, "{of_p:?}");
        first_waits += u32::from(of_o > LEISURE / 8);
        for token in [b"o", b"p"] {
            o.ask(false, peer, Type::Con, token, Some(DEREGISTER));
        }
    }
    assert!(first_waits > 10, "it has a leisure of its own");
}

#[test]
fn a_notification_does_not_overtake_the_first_answer_and_tells_the_newest_state() {
    for seed in 0..20u64 {
        let mut o = observed();
        o.bench.now = Instant::from_millis(seed);
        o.ask(true, client(1), Type::Non, b"t", Some(REGISTER));
        assert!(o.change(1).is_empty());
        o.run(Duration::from_millis(10 * seed));
        let mut sent = o.run(Duration::ZERO);
        o.change(2);
        sent.extend(o.run(3 * LEISURE));
        let numbers: Vec<_> = sent.iter().map(|(_, note)| note.number.unwrap()).collect();
        assert!(numbers.is_sorted());
        assert_eq!(sent.last().unwrap().1.payload, "2");
        let (at, _) = sent.iter().find(|(_, note)| note.payload == "2").unwrap();
        assert!(
            at.since(Instant::from_millis(seed)) >= LEISURE,
            "a leisure period of its own"
        );
    }
}

#[test]
fn a_change_during_the_leisure_changes_what_is_said_and_not_when() {
    let mut o = observed();
    join(&mut o, client(1));
    let began = o.bench.now;
    o.change(1);
    let due = o.bench.endpoint.next_timeout().unwrap();
    assert!(due > began);
    o.change(2);
    o.change(3);
    assert_eq!(o.bench.endpoint.next_timeout(), Some(due));
    let sent = o.run_acknowledged(LEISURE);
    let [(at, note)] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    assert_eq!((*at, note.payload.as_str()), (due, "3"));
}

// Covers: GN-6.3-05
#[test]
fn observations_through_a_group_have_confirmable_notifications_in_between() {
    let mut o = observed();
    join(&mut o, client(1));
    let mut kinds = Vec::new();
    for value in 0..17 {
        o.change(value);
        let sent = o.run_acknowledged(LEISURE);
        kinds.extend(sent.iter().map(|(_, note)| note.kind == Type::Con));
    }
    assert_eq!(kinds.len(), 17);
    let sure = kinds.iter().filter(|sure| **sure).count();
    assert!(sure >= 3, "{kinds:?}");
    assert!(
        !kinds.windows(8).any(|eight| eight.iter().all(|sure| !sure)),
        "{kinds:?}"
    );
}

// Covers: GC-3.6-15, GC-3.6-16
#[test]
fn one_request_to_the_group_deregisters_wherever_it_arrives() {
    let mut members = [observed(), observed()];
    for o in &mut members {
        o.ask(true, client(1), Type::Non, b"grp", Some(REGISTER));
        o.ask(true, client(2), Type::Non, b"other", Some(REGISTER));
        assert_eq!(o.run(LEISURE).len(), 2);
    }
    for o in &mut members {
        o.ask(true, client(1), Type::Non, b"grp", Some(DEREGISTER));
        let sent = o.run(LEISURE);
        assert_eq!(
            (sent.len(), sent[0].1.number),
            (1, None),
            "it was successful, so it is answered"
        );
        assert_eq!(o.observers(), 1);
    }
    // In person it concerns one member, and so does a Reset.
    let [first, second] = &mut members;
    first.ask(false, client(2), Type::Con, b"other", Some(DEREGISTER));
    assert_eq!((first.observers(), second.observers()), (0, 1));
    second.change(1);
    let sent = second.run(LEISURE);
    second.reply(Type::Rst, &sent[0].1);
    assert_eq!(second.observers(), 0);
}

#[test]
fn a_client_that_follows_up_in_person_is_one_observer_and_keeps_the_leisure_of_the_group() {
    for seed in 0..10 {
        let mut o = observed();
        o.bench.now = Instant::from_millis(seed);
        let first = join(&mut o, client(1));
        let answer = o.register(client(1), b"grp");
        assert_eq!((answer.kind, o.observers()), (Type::Ack, 1));
        assert!(answer.number > first.number);
        assert_eq!(o.counters().renewed, 1);
        let again = o.register(client(1), b"grp");
        assert!(again.number > answer.number);
        let began = o.bench.now;
        assert!(o.change(1).is_empty(), "not at once");
        let sent = o.run_acknowledged(LEISURE);
        let [(at, note)] = sent.as_slice() else {
            panic!("{sent:?}")
        };
        assert_eq!((note.to, note.payload.as_str()), (client(1), "1"));
        assert!(*at > began && at.since(began) <= LEISURE);
        // Who leaves and comes back in person has not come through the group.
        o.ask(false, client(1), Type::Con, b"grp", Some(DEREGISTER));
        o.register(client(1), b"grp");
        assert_eq!(o.change(2).len(), 1);
    }
}

#[test]
fn what_changes_while_a_leisure_period_lasts_shares_the_next_one() {
    let mut o = observed();
    let mut all = alloc::vec![(o.id, b"o")];
    for at in ["p", "q", "r"] {
        let other = Resource::at(at)
            .get(|_, response| response.set_payload(ContentFormat::TEXT, b"p"))
            .access(Access::Unsecured)
            .group_policy(GroupPolicy::respond().leisure(Leisure::Fixed(LEISURE)))
            .observable();
        let id = o.bench.endpoint.server_mut().add(other).unwrap();
        let token = at.as_bytes().try_into().unwrap();
        all.push((id, token));
        let options = [
            (OptionNumber::OBSERVE, REGISTER),
            (OptionNumber::URI_PATH, at.as_bytes()),
        ];
        o.ask_with(true, client(1), Type::Non, token, Code::GET, &options, b"");
    }
    o.ask(true, client(1), Type::Non, b"o", Some(REGISTER));
    o.run(2 * LEISURE);
    for _ in 0..5 {
        let began = o.bench.now;
        for (id, _) in &all {
            o.bench.endpoint.changed(began, *id);
        }
        let sent = o.run_acknowledged(2 * LEISURE);
        assert_eq!(sent.len(), 4);
        for (at, note) in &sent {
            let first = note.token == b"o";
            assert_eq!(at.since(began) <= LEISURE, first, "{note:?}");
        }
        // In the middle of the second period another change waits for its end, and no longer.
        let began = o.bench.now;
        o.bench.endpoint.changed(began, o.id);
        o.run_acknowledged(LEISURE / 2);
        o.bench.endpoint.changed(o.bench.now, all[1].0);
        o.run_acknowledged(LEISURE);
        let middle = o.bench.now;
        for (id, _) in &all[2..] {
            o.bench.endpoint.changed(middle, *id);
        }
        let sent = o.run_acknowledged(2 * LEISURE);
        let late = sent.iter().filter(|(_, note)| note.token != b"p");
        for (at, _) in late {
            let after = at.since(began);
            assert!(after >= 2 * LEISURE && after <= 3 * LEISURE, "{after:?}");
        }
    }
}

// Covers: GC-3.6-05
#[test]
fn a_repeated_registration_is_answered_again_under_another_message_id_only() {
    let mut o = observed();
    o.ask(true, client(1), Type::Non, b"grp", Some(REGISTER));
    o.mid -= 1;
    o.ask(true, client(1), Type::Non, b"grp", Some(REGISTER));
    assert_eq!(o.run(LEISURE).len(), 1, "the same message");
    o.ask(true, client(1), Type::Non, b"grp", Some(REGISTER));
    assert_eq!(o.run(LEISURE).len(), 1, "another message");
    assert_eq!((o.observers(), o.counters().renewed), (1, 1));
}

#[test]
fn who_has_left_the_group_notifies_its_observers_no_more() {
    let mut o = observed();
    join(&mut o, client(1));
    o.register(client(2), b"t");
    let server = o.bench.endpoint.server_mut();
    let group = server
        .memberships()
        .groups()
        .find(|group| group.address() == GROUP.into());
    let group = group.unwrap().id();
    server.memberships_mut().remove(group).unwrap();
    while let Some(work) = o.bench.endpoint.poll_work(o.bench.now) {
        o.bench
            .endpoint
            .work_done(o.bench.now, work.id, WorkResult::Done);
    }
    let mut sent = o.change(1);
    sent.extend(o.run(LEISURE).into_iter().map(|(_, note)| note));
    assert!(sent.iter().all(|note| note.to == client(2)));
    assert_eq!((o.observers(), o.counters().ended), (1, 1));
}

#[test]
fn an_answer_that_no_group_may_get_makes_no_observer() {
    // Too large for a group.
    let mut o = observed();
    let large = Resource::at("l")
        .get(|_, response| response.set_payload(ContentFormat::TEXT, &[b'x'; 65]))
        .access(Access::Unsecured)
        .group_policy(
            GroupPolicy::respond()
                .leisure(Leisure::Fixed(Duration::ZERO))
                .oversize(crate::policy::Oversize::Suppress),
        )
        .observable();
    o.bench.endpoint.server_mut().add(large).unwrap();
    let options = [
        (OptionNumber::OBSERVE, REGISTER),
        (OptionNumber::URI_PATH, b"l"),
        (OptionNumber::URI_QUERY, &[b'q'; 60]),
    ];
    assert!(
        o.ask_with(true, client(1), Type::Non, b"t", Code::GET, &options, b"")
            .is_empty()
    );
    assert_eq!(o.bench.endpoint.load().observers, 0);
    // No room to wait for the leisure.
    let mut config = EndpointConfig::default();
    config.limits.pending_answers = 1;
    let mut o = observed_with(config);
    o.ask(true, client(1), Type::Non, b"t", Some(REGISTER));
    o.ask(true, client(2), Type::Non, b"t", Some(REGISTER));
    assert_eq!(
        (o.observers(), o.bench.endpoint.counters().answers_dropped),
        (1, 1)
    );
}

#[test]
fn an_error_is_told_to_an_observer_of_a_group_too() {
    let mut o = observed();
    join(&mut o, client(1));
    o.broken.store(true, Ordering::Relaxed);
    o.change(1);
    let sent = o.run(LEISURE);
    let (_, note) = &sent[0];
    assert_eq!(
        (note.code, note.number),
        (Code::INTERNAL_SERVER_ERROR, None)
    );
    assert_eq!(o.observers(), 0);
}

// Covers: GN-D-02
#[test]
fn each_member_has_its_own_sequence_under_the_one_token() {
    let mut members = [observed(), observed()];
    members[1].bench.now = Instant::from_micros(16 * 500_000);
    let firsts = members.each_mut().map(|o| join(o, client(1)));
    let numbers = firsts.each_ref().map(|first| first.number);
    assert_eq!(numbers, [Some(1), Some(500_000)], "the time of each");
    let mut notify = |of: usize, value| {
        let o = &mut members[of];
        o.change(value);
        let sent = o.run_acknowledged(LEISURE);
        let (at, later) = &sent[0];
        let (first, time) = (&firsts[of], at.as_micros() / 16);
        assert_eq!(
            (later.token.as_slice(), &later.token),
            (b"grp".as_slice(), &first.token)
        );
        assert_ne!(later.mid, first.mid);
        assert!(later.number > first.number);
        assert_eq!(later.number.map(u64::from), Some(time));
    };
    // However much one has said, the sequence of the other goes its own way.
    for (of, value) in [(0, 1), (0, 2), (0, 3), (1, 1), (0, 4), (1, 2)] {
        notify(of, value);
    }
}

#[test]
fn of_a_large_representation_a_notification_has_the_first_block() {
    let mut o = observed();
    let large = Resource::at("l")
        .get(|_, response| response.set_payload(ContentFormat::TEXT, &[b'x'; 200]))
        .access(Access::Unsecured)
        .group_policy(GroupPolicy::respond().leisure(Leisure::Fixed(Duration::ZERO)))
        .observable();
    let id = o.bench.endpoint.server_mut().add(large).unwrap();
    let wanted = [2];
    let options = [
        (OptionNumber::OBSERVE, REGISTER),
        (OptionNumber::URI_PATH, b"l"),
        (OptionNumber::BLOCK2, wanted.as_slice()),
    ];
    o.ask_with(false, client(1), Type::Con, b"t", Code::GET, &options, b"");
    o.bench.endpoint.changed(o.bench.now, id);
    let sent = o.bench.sent();
    let message = Message::parse(&sent[0].1).unwrap();
    assert_eq!(message.payload().len(), 64);
    assert_eq!(message.uint(OptionNumber::BLOCK2), Some(0b1010), "0/1/64");
    assert!(message.option(OptionNumber::ETAG).is_some());
    assert!(message.option(OptionNumber::OBSERVE).is_some());
    // A further block is asked for under another token and observes nothing, whatever it says.
    let next = [0x12];
    let options = [
        (OptionNumber::OBSERVE, REGISTER),
        (OptionNumber::URI_PATH, b"l"),
        (OptionNumber::BLOCK2, next.as_slice()),
    ];
    let notes = o.ask_with(false, client(1), Type::Con, b"u", Code::GET, &options, b"");
    assert_eq!(
        (only(&notes).payload.len(), only(&notes).number),
        (64, None)
    );
    assert_eq!(o.bench.endpoint.load().observers, 1);
}

#[test]
fn to_an_address_that_has_acknowledged_nothing_a_notification_is_no_larger_than_an_answer() {
    let mut o = observed();
    let length = Arc::new(AtomicU32::new(1));
    let size = length.clone();
    let grows = Resource::at("g")
        .get(move |_, response| {
            let size = size.load(Ordering::Relaxed) as usize;
            response.set_payload(ContentFormat::TEXT, &[b'x'; 60][..size]);
        })
        .access(Access::Unsecured)
        .group_policy(GroupPolicy::respond().leisure(Leisure::Fixed(Duration::ZERO)))
        .observable();
    let id = o.bench.endpoint.server_mut().add(grows).unwrap();
    let options = [
        (OptionNumber::OBSERVE, REGISTER),
        (OptionNumber::URI_PATH, b"g"),
    ];
    for (first, then) in [(60, None), (1, Some(60))] {
        length.store(1, Ordering::Relaxed);
        let notes = o.ask_with(true, client(1), Type::Non, b"t", Code::GET, &options, b"");
        assert!(only(&notes).number.is_some());
        length.store(first, Ordering::Relaxed);
        o.bench.endpoint.changed(o.bench.now, id);
        let notes = o.sent();
        let note = only(&notes).clone();
        o.reply(Type::Ack, &note);
        let Some(then) = then else {
            // Who is there registers again, and shows that it is.
            assert_eq!(
                (note.kind, note.code),
                (Type::Con, Code::SERVICE_UNAVAILABLE)
            );
            assert_eq!((note.payload.as_str(), note.number), ("", None));
            assert_eq!(note.max_age, Some(0), "at once, in person");
            assert_eq!(o.bench.endpoint.load().observers, 0);
            continue;
        };
        length.store(then, Ordering::Relaxed);
        o.bench.endpoint.changed(o.bench.now, id);
        assert_eq!(only(&o.sent()).payload.len(), 60);
    }
}
