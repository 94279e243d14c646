//! Places of Confirmable notifications, and who gives way to whom.

use super::*;

const MILLI: Duration = Duration::from_millis(1);
const ACK_TIMEOUT: Duration = Duration::from_secs(2);

/// One place, and these observers, whose turn it is in this order. The first has the place.
fn one_place(peers: &[u8], round_trip: u32) -> (Observers, Vec<ObserverId>, Turn) {
    let mut all = observers(|config| {
        config.unacknowledged = 1;
        config.confirm_every = 1;
    });
    let ids = peers
        .iter()
        .map(|n| admit(&mut all, Instant::ZERO, &way(0, *n), 1).unwrap());
    let ids: Vec<_> = ids.collect();
    for id in &ids {
        let peer = all.table.get(*id).unwrap().peer;
        all.peers.get_mut(peer).unwrap().round_trip = round_trip;
    }
    all.changed(RESOURCE);
    let turn = all.poll(Instant::ZERO, 1).unwrap();
    all.sent(Instant::ZERO, &turn, MessageId(9));
    while all.poll(Instant::ZERO, 1).is_some() {}
    (all, ids, turn)
}

#[test]
fn a_notification_gives_way_after_four_round_trips_or_ack_timeout_if_others_wait() {
    for (round_trip, within) in [
        (0, ACK_TIMEOUT),
        (1, 100 * MILLI),
        (25_000, 100 * MILLI),
        (26_000, 104 * MILLI),
        (499_000, 1_996 * MILLI),
        (u32::MAX, ACK_TIMEOUT),
    ] {
        let (mut all, _, turn) = one_place(&[1, 2], round_trip);
        let due = Instant::ZERO + within;
        assert_eq!(all.next_timeout(), Some(due), "{round_trip}");
        assert_eq!(all.overdue(due - Duration::from_micros(1)), None);
        let peer = all.peers.get(turn.peer).unwrap().address;
        assert_eq!(all.overdue(due), Some((peer, MessageId(9))));
        assert_eq!(all.overdue(due), None, "once");
        assert!(all.withdrawn(due, &turn));
        let other = all.poll(due, 1).unwrap();
        assert!(other.confirm && other.observer != turn.observer);
        assert_eq!(all.unacknowledged, 1);
    }
    let (mut alone, ..) = one_place(&[1], 1);
    assert_eq!(alone.overdue(seconds(1_000)), None);
    assert_eq!(alone.next_timeout(), Some(seconds(3_600)));
    // Whoever waited and is gone waits no more.
    let (mut all, ids, turn) = one_place(&[1, 2], 1);
    let waiting = ids.iter().find(|id| **id != turn.observer).unwrap();
    all.remove(*waiting);
    assert_eq!(all.overdue(seconds(1_000)), None);
    assert_eq!(all.next_timeout(), Some(seconds(3_600)));
    // And whoever has acknowledged gives nothing more away.
    let (mut all, _, turn) = one_place(&[1, 2], 1);
    all.acknowledged(Instant::ZERO, &turn, ACK_TIMEOUT);
    assert_eq!((all.overdue(seconds(9)), all.places.first()), (None, None));
}

#[test]
fn whoever_gave_way_is_asked_again_ever_more_seldom_and_then_no_more() {
    let (mut all, ids, mut turn) = one_place(&[1, 2], 1);
    let dead = turn.observer;
    let mut now = Instant::ZERO + 100 * MILLI;
    for (attempt, pause) in [(1, 4), (2, 8), (3, 16), (4, 32)] {
        assert!(all.overdue(now).is_some());
        assert!(all.withdrawn(now, &turn));
        // The other is there, and has it for a moment.
        let other = all.poll(now, 1).unwrap();
        assert_ne!(other.observer, dead);
        all.sent(now, &other, MessageId(7));
        all.acknowledged(now, &other, ACK_TIMEOUT);
        let due = now + Duration::from_secs(pause);
        assert_eq!(all.poll(due - Duration::from_micros(1), 1), None);
        turn = all.poll(due, 1).unwrap();
        assert_eq!((turn.observer, turn.confirm), (dead, true));
        assert_eq!(all.table.get(dead).unwrap().withdrawn, attempt);
        all.sent(due, &turn, MessageId(8));
        all.changed(RESOURCE);
        assert_eq!(all.poll(due, 1), None);
        now = due + ACK_TIMEOUT; // whatever its round trip was
        assert_eq!(all.overdue(now - Duration::from_micros(1)), None);
    }
    assert!(all.overdue(now).is_some());
    assert!(!all.withdrawn(now, &turn), "five times it was not there");
    assert_eq!(all.unacknowledged, 1, "it is for the caller to release");
    all.remove(dead);
    all.release(now, &turn);
    let left = all.poll(now, 1).unwrap();
    assert!(ids.contains(&left.observer) && left.observer != dead);
    // One that answers after all begins anew.
    let (mut all, _, turn) = one_place(&[1, 2], 1);
    let now = seconds(1);
    all.overdue(now);
    all.withdrawn(now, &turn);
    let other = all.poll(now, 1).unwrap();
    all.sent(now, &other, MessageId(7));
    all.acknowledged(now, &other, ACK_TIMEOUT);
    let turn = all.poll(seconds(5), 1).unwrap();
    all.sent(seconds(5), &turn, MessageId(8));
    all.acknowledged(seconds(5), &turn, ACK_TIMEOUT);
    assert_eq!(all.table.get(turn.observer).unwrap().withdrawn, 0);
}

#[test]
fn who_was_not_asked_yet_goes_before_who_did_not_acknowledge() {
    let (mut all, ids, turn) = one_place(&[1, 2, 3], 1);
    let now = seconds(1);
    all.overdue(now);
    all.withdrawn(now, &turn);
    let second = all.poll(now, 1).unwrap();
    all.sent(now, &second, MessageId(7));
    // Its time has come, and it waits again: behind the third, and behind a fourth that comes after it.
    assert_eq!(all.poll(seconds(5), 1), None);
    assert_eq!(all.table.get(turn.observer).unwrap().state, State::Crowded);
    let fourth = admit(&mut all, seconds(5), &way(0, 4), 1).unwrap();
    all.changed(RESOURCE);
    assert_eq!(all.poll(seconds(5), 1), None);
    let mut order = Vec::new();
    let mut before = second;
    for _ in 0..3 {
        all.acknowledged(seconds(6), &before, ACK_TIMEOUT);
        before = all.poll(seconds(6), 1).unwrap();
        all.sent(seconds(6), &before, MessageId(7));
        order.push(before.observer);
    }
    let third = ids
        .iter()
        .find(|id| ![turn.observer, second.observer].contains(id));
    assert_eq!(order[..2], [*third.unwrap(), fourth]);
    assert!([turn.observer, second.observer].contains(&order[2]));
    all.remove(turn.observer);
}

#[test]
fn a_place_that_is_not_wanted_any_more_goes_to_the_next() {
    let (mut all, ids, turn) = one_place(&[1, 2, 3], 1);
    let waiting: Vec<_> = ids.iter().filter(|id| **id != turn.observer).collect();
    // It has registered anew meanwhile, and knows everything.
    all.table.get_mut(*waiting[0]).unwrap().changed = false;
    all.table.get_mut(*waiting[1]).unwrap().changed = true;
    let first = *all.crowded.front().unwrap();
    all.table.get_mut(first).unwrap().changed = false;
    let other = *all.crowded.back().unwrap();
    all.table.get_mut(other).unwrap().changed = true;
    all.acknowledged(seconds(1), &turn, ACK_TIMEOUT);
    assert_eq!(
        all.poll(seconds(1), 1).map(|turn| turn.observer),
        Some(other)
    );
}

#[test]
fn only_what_is_confirmable_and_to_nobody_strange_has_a_place_to_give_away() {
    let mut all = observers(|_| {});
    let known = admit(&mut all, Instant::ZERO, &way(0, 1), 1).unwrap();
    stranger(&mut all, Instant::ZERO, &way(0, 2), 1).unwrap();
    all.changed(RESOURCE);
    let turns: Vec<_> = core::iter::from_fn(|| all.poll(Instant::ZERO, 1)).collect();
    assert_eq!(turns.len(), 2);
    for turn in &turns {
        assert_eq!(
            (turn.confirm, turn.stranger),
            (turn.observer != known, turn.observer != known)
        );
        all.sent(Instant::ZERO, turn, MessageId(1));
        assert_eq!(all.places.first(), None, "{turn:?}");
    }
    assert_eq!(
        (all.counters.notifications, all.counters.confirmable),
        (2, 1)
    );
    all.table.get_mut(known).unwrap().unconfirmed = 7;
    all.changed(RESOURCE);
    let turn = all.poll(seconds(10), 1).unwrap();
    assert!(turn.confirm && turn.observer == known);
    all.sent(seconds(10), &turn, MessageId(2));
    assert_eq!(all.places.first(), Some((seconds(12), known.index)));
    assert_eq!(
        (all.counters.notifications, all.counters.confirmable),
        (3, 2)
    );
}
