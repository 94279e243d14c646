use std::format;

use super::*;

const A: &[u8] = &[0x01];
const B: &[u8] = &[0x02];
const START: Duration = Duration::from_secs(1000);

fn at(seconds: u64) -> Duration {
    START + Duration::from_secs(seconds)
}

fn value(byte: u8) -> EchoValue {
    [byte; 8]
}

fn store(clients: usize) -> EchoStore {
    EchoStore::new(EchoSettings {
        lifetime: Duration::from_secs(60),
        clients,
        values: 2,
    })
}

#[test]
fn defaults() {
    let settings = EchoSettings::default();
    assert_eq!(
        (settings.lifetime, settings.clients, settings.values),
        (Duration::from_secs(60), 1024, 16)
    );
}

// Covers: GO-9-05
#[test]
fn a_value_counts_for_the_client_and_the_group_that_it_was_made_for() {
    // each Security Context, so each Gid, has its store
    let (mut lights, mut doors) = (store(8), store(8));
    assert!(lights.challenge(A, START, value(1)) && lights.challenge(B, START, value(2)));
    assert!(doors.challenge(A, START, value(3)));
    assert!(!lights.verify(A, &value(2), START));
    assert!(!lights.verify(B, &value(1), START));
    assert!(!lights.verify(A, &value(3), START));
    assert!(!doors.verify(A, &value(1), START));
    assert!(!doors.verify(B, &value(2), START));
    assert!(lights.verify(A, &value(1), START) && lights.verify(B, &value(2), START));
    assert!(doors.verify(A, &value(3), START));
}

// Covers: GO-9-12
#[test]
fn a_value_matches_whole_or_not_at_all() {
    let mut store = store(8);
    let right = [1, 2, 3, 4, 5, 6, 7, 8];
    store.challenge(A, START, right);
    assert!(!store.verify(A, &right[..7], START), "a prefix");
    assert!(
        !store.verify(A, &[1, 2, 3, 4, 5, 6, 7, 8, 0], START),
        "one byte more"
    );
    assert!(!store.verify(A, &[], START));
    for bit in 0..64 {
        let mut wrong = right;
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert!(!store.verify(A, &wrong, START), "bit {bit}");
    }
    assert!(store.verify(A, &right, START));
}

#[test]
fn a_value_counts_once() {
    let mut store = store(8);
    store.challenge(A, START, value(1));
    assert!(store.is_waiting(A, START) && !store.is_waiting(B, START));
    assert!(store.verify(A, &value(1), START));
    assert!(!store.is_waiting(A, START));
    assert!(!store.verify(A, &value(1), START));
    assert!(store.is_empty());
}

#[test]
fn a_value_expires() {
    let mut store = store(8);
    store.challenge(A, START, value(1));
    store.challenge(B, START, value(2));
    assert!(store.is_waiting(A, at(60) - Duration::from_nanos(1)));
    assert!(!store.is_waiting(A, at(60)));
    assert!(store.verify(A, &value(1), at(60) - Duration::from_nanos(1)));
    assert!(!store.verify(B, &value(2), at(60)));
    assert!(store.is_empty(), "what expired is gone");
}

#[test]
fn two_challenges_that_cross_do_not_cancel_each_other() {
    let mut store = store(8);
    store.challenge(A, START, value(1));
    store.challenge(A, at(10), value(2));
    assert_eq!(store.len(), 1);
    assert!(store.verify(A, &value(1), at(11)));
    assert!(!store.verify(A, &value(2), at(11)), "used up together");

    store.challenge(A, START, value(1));
    store.challenge(A, at(10), value(2));
    store.challenge(A, at(20), value(3));
    assert!(
        !store.verify(A, &value(1), at(21)),
        "only the last two are kept"
    );
    assert!(store.verify(A, &value(2), at(21)));

    // A value that is over takes no place from one that is good.
    store.challenge(A, START, value(1));
    store.challenge(A, at(50), value(2));
    store.challenge(A, at(60), value(3));
    assert!(store.verify(A, &value(2), at(61)));
    // One value at least is kept.
    let settings = EchoSettings {
        values: 0,
        ..EchoSettings::default()
    };
    let mut least = EchoStore::new(settings);
    assert!(least.challenge(A, START, value(1)) && least.verify(A, &value(1), START));

    store.challenge(A, START, value(1));
    store.challenge(A, at(30), value(2));
    assert!(!store.verify(A, &value(1), at(60)), "each has its own end");
    assert!(store.verify(A, &value(2), at(60)));
}

#[test]
fn a_full_store_challenges_nobody_new_until_there_is_room() {
    let mut store = store(2);
    assert!(store.challenge(A, START, value(1)) && store.challenge(B, at(1), value(2)));
    assert!(!store.challenge(&[3], at(2), value(3)));
    assert_eq!(store.len(), 2);
    // who has a place may go on, and takes no second one
    for byte in 10..20 {
        assert!(store.challenge(A, at(2), value(byte)));
    }
    assert!(!store.challenge(&[3], at(2), value(3)));
    assert!(store.verify(B, &value(2), at(3)), "nobody pushed it out");
    assert!(store.challenge(&[3], at(3), value(3)));
    // expired ones give way
    assert!(!store.challenge(&[4], at(61), value(4)));
    assert!(store.challenge(&[4], at(62), value(4)));
    assert!(!store.is_waiting(A, at(61)) || store.len() == 2);
    assert!(store.verify(&[3], &value(3), at(62)));
    assert!(
        !EchoStore::new(EchoSettings {
            clients: 0,
            ..EchoSettings::default()
        })
        .challenge(A, START, value(1))
    );
}

#[test]
fn times_at_the_end_of_the_range_do_not_overflow() {
    let mut store = store(8);
    assert!(store.challenge(A, Duration::MAX, value(1)));
    assert!(!store.verify(A, &value(1), Duration::MAX));
}

#[test]
fn values_are_absent_from_debug() {
    let mut store = store(8);
    store.challenge(A, START, value(0xab));
    let shown = format!("{store:?}");
    assert!(!shown.contains("171") && !shown.contains("ab"), "{shown}");
}

#[test]
fn a_value_that_was_given_twice_is_right_all_the_same() {
    let mut store = store(8);
    assert!(store.challenge(A, START, value(1)) && store.challenge(A, START, value(1)));
    assert!(store.verify(A, &value(1), START));
    assert!(!store.verify(A, &value(1), START), "and used up");
}

#[test]
fn a_store_is_empty_until_somebody_is_waited_for() {
    let mut store = store(8);
    assert!(store.is_empty());
    store.challenge(A, START, value(7));
    assert!(!store.is_empty());
    let text = format!("{store:?}");
    assert!(text.contains("{[1]: Entry(..)}"), "{text}");
    assert!(!text.contains('7'), "{text}");
    assert!(store.verify(A, &value(7), START) && store.is_empty());
}
