use super::*;

fn peer(host: u8) -> SocketAddr {
    ([10, 0, 0, host], 5683).into()
}

fn lot(messages: usize, bytes: usize, per_peer: usize) -> ParkingLot<u8> {
    ParkingLot::new(ParkingLimits {
        messages,
        bytes,
        per_peer,
        patience: Duration::from_secs(10),
    })
}

#[test]
fn what_is_parked_is_taken_out_once() {
    let mut lot = lot(4, 100, 4);
    assert!(lot.park(Instant::ZERO, WorkId(1), peer(1), 10, 7));
    assert_eq!(lot.take(WorkId(2)), None);
    assert_eq!(lot.take(WorkId(1)), Some(7));
    assert!(lot.take(WorkId(1)).is_none());
}

#[test]
fn is_bounded_in_messages_in_bytes_and_per_peer() {
    let mut by_messages = lot(2, 100, 9);
    assert!(by_messages.park(Instant::ZERO, WorkId(1), peer(1), 1, 0));
    assert!(by_messages.park(Instant::ZERO, WorkId(2), peer(2), 1, 0));
    assert!(!by_messages.park(Instant::ZERO, WorkId(3), peer(3), 1, 0));
    let mut by_bytes = lot(9, 100, 9);
    assert!(by_bytes.park(Instant::ZERO, WorkId(1), peer(1), 60, 0));
    assert!(!by_bytes.park(Instant::ZERO, WorkId(2), peer(2), 41, 0));
    assert!(by_bytes.park(Instant::ZERO, WorkId(3), peer(2), 40, 0));
    by_bytes.take(WorkId(1));
    assert!(
        by_bytes.park(Instant::ZERO, WorkId(4), peer(2), 60, 0),
        "room is given back"
    );
    let mut by_peer = lot(9, 100, 1);
    assert!(by_peer.park(Instant::ZERO, WorkId(1), peer(1), 1, 0));
    assert!(!by_peer.park(Instant::ZERO, WorkId(2), peer(1), 1, 0));
    assert!(by_peer.park(Instant::ZERO, WorkId(3), peer(2), 1, 0));
    assert_eq!(by_messages.dropped(), (1, 0));
}

#[test]
fn a_message_that_waits_too_long_leaves_and_its_room_is_free() {
    let mut lot = lot(9, 20, 9);
    lot.park(Instant::ZERO, WorkId(1), peer(1), 10, 0);
    lot.park(Instant::from_millis(1), WorkId(2), peer(2), 10, 0);
    assert_eq!(lot.next_timeout(), Some(Instant::from_millis(10_000)));
    assert!(lot.expire(Instant::from_millis(9_999)).is_empty());
    assert_eq!(lot.expire(Instant::from_millis(10_000)), [WorkId(1)]);
    assert!(lot.take(WorkId(1)).is_none());
    assert_eq!((lot.len(), lot.dropped()), (1, (0, 1)));
    assert!(lot.park(Instant::from_millis(10_000), WorkId(3), peer(3), 10, 0));
}
