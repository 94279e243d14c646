//! Operations in any order, made up from seeds; the fuzzer makes up others.

use antiphon_netsim::{Rng, seed_from_env};

/// The body of the fuzz target.
#[allow(
    unreachable_pub,
    reason = "the package of the fuzz targets publishes it"
)]
#[path = "../../../fuzz/src/operations.rs"]
mod body;

use body::Reached;

#[test]
fn any_sequence_of_operations_keeps_what_always_holds() {
    let first = seed_from_env(1);
    let mut all = Reached::default();
    for seed in first..first + 300 {
        println!("seed {seed}"); // seen when it fails
        let mut rng = Rng::new(seed);
        let mut data = vec![0; 1_500];
        rng.fill(&mut data);
        // A part of the seeds prefers some operations: their bytes come again and again.
        if seed % 3 == 0 {
            let favourites = [rng.next_u32() as u8, rng.next_u32() as u8];
            for byte in &mut data {
                if rng.chance(0.3) {
                    *byte = favourites[usize::from(*byte & 1)];
                }
            }
        }
        add(&mut all, body::run(&data));
    }
    // They reach what they are meant to reach.
    let Reached {
        collections,
        answers,
        exchanges,
        members,
        memberships,
        counters,
    } = all;
    println!("{all:?}");
    assert!(collections > 1_000);
    assert!(
        answers
            .iter()
            .chain(&exchanges)
            .chain(&members)
            .chain(&memberships)
            .all(|n| *n > 10)
    );
    for (name, count) in [
        ("malformed", counters.malformed),
        ("malformed, reset", counters.malformed_reset),
        ("bad source", counters.bad_source),
        ("own multicast", counters.own_multicast),
        ("group, not NON", counters.group_not_non),
        ("group, no request", counters.group_not_request),
        ("duplicates", counters.duplicates),
        ("replies repeated", counters.replies_repeated),
        ("records evicted", counters.dedup_evicted),
        ("silenced", counters.silenced),
        ("answers dropped", counters.answers_dropped),
        ("deferred dropped", counters.deferred_dropped),
        ("deferred expired", counters.deferred_expired),
        ("unmatched", counters.unmatched),
        ("unmatched, reset", counters.unmatched_reset),
        ("unmatched empty", counters.unmatched_empty),
        ("rejected", counters.responses_rejected),
        ("retransmissions", counters.retransmissions),
        ("too large", counters.too_large),
        ("send errors", counters.send_errors),
        ("observers", counters.observers.registered),
        ("observers, again", counters.observers.renewed),
        ("observers without a place", counters.observers.refused),
        ("deregistered", counters.observers.deregistered),
        ("notifications", counters.observers.notifications),
        ("acknowledged", counters.observers.acknowledged),
        ("notifications, reset", counters.observers.reset),
        ("unanswered", counters.observers.unanswered),
        ("observations ended", counters.observers.ended),
    ] {
        assert!(count > 0, "{name} never happened");
    }
}

fn add(all: &mut Reached, one: Reached) {
    let pairs = |all: &mut [u64], one: &[u64]| {
        all.iter_mut().zip(one).for_each(|(all, one)| *all += one);
    };
    all.collections += one.collections;
    pairs(&mut all.answers, &one.answers);
    pairs(&mut all.exchanges, &one.exchanges);
    pairs(&mut all.members, &one.members);
    pairs(&mut all.memberships, &one.memberships);
    let (all, one) = (&mut all.counters, &one.counters);
    macro_rules! sum {
        ($all:ident $one:ident: $($field:ident)*) => { $($all.$field += $one.$field;)* };
    }
    sum! { all one:
        malformed malformed_reset bad_source own_multicast group_not_non group_not_request duplicates
        replies_repeated dedup_evicted silenced answers_dropped deferred_dropped deferred_expired
        unmatched unmatched_reset unmatched_empty responses_rejected retransmissions parking_full
        parking_expired too_large send_errors
    }
    let (all, one) = (&mut all.observers, &one.observers);
    sum! { all one:
        registered renewed refused deregistered notifications acknowledged reset unanswered ended
    }
}
