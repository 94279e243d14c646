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
