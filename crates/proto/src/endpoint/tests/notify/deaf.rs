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
