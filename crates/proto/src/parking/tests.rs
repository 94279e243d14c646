use super::*;

fn peer(host: u8) -> SocketAddr {
    ([10, 0, 0, host], 5683).into()
}

fn lot(messages: usize, bytes: usize, per_peer: usize, outgoing: usize) -> ParkingLot<u8> {
    let limits = ParkingLimits {
        messages,
        bytes,
        per_peer,
        outgoing,
        patience: Duration::from_secs(10),
    };
    ParkingLot::new(limits, &mut Rng::from_seed([1; 32]))
}

impl ParkingLot<u8> {
    fn out(&mut self, id: u64, host: u8, len: usize) -> bool {
        let (at, direction) = (Instant::ZERO, Direction::Outgoing);
        self.park(at, WorkId(id), peer(host), len, direction, 7)
            .is_ok()
    }

    fn inward(&mut self, id: u64, host: u8, len: usize) -> bool {
        let (at, direction) = (Instant::ZERO, Direction::Incoming);
        self.park(at, WorkId(id), peer(host), len, direction, 7)
            .is_ok()
    }
}

#[test]
fn what_is_parked_is_taken_out_once() {
    let mut lot = lot(4, 100, 4, 0);
    assert!(lot.inward(1, 1, 10));
    assert_eq!(lot.take(WorkId(2)), None);
    assert_eq!(lot.take(WorkId(1)), Some(7));
    assert!(lot.take(WorkId(1)).is_none());
}

#[test]
fn is_bounded_in_messages_in_bytes_and_per_peer() {
    let mut by_messages = lot(2, 100, 9, 0);
    assert!(by_messages.inward(1, 1, 1) && by_messages.inward(2, 2, 1));
    assert!(!by_messages.inward(3, 3, 1));
    assert_eq!(by_messages.dropped(), (1, 0));
    let mut by_bytes = lot(9, 100, 9, 0);
    assert!(by_bytes.out(1, 1, 60));
    assert!(!by_bytes.out(2, 2, 41));
    assert!(by_bytes.out(3, 2, 40));
    by_bytes.take(WorkId(1));
    assert!(by_bytes.out(4, 2, 60), "room is given back");
    let mut by_peer = lot(9, 100, 1, 0);
    assert!(by_peer.inward(1, 1, 1));
    assert!(!by_peer.inward(2, 1, 1));
    let mapped: SocketAddr = "[::ffff:10.0.0.1]:9".parse().unwrap();
    let refused = by_peer.park(Instant::ZERO, WorkId(9), mapped, 1, Direction::Incoming, 5);
    assert_eq!(refused, Err(5), "whatever the port");
    assert!(by_peer.inward(3, 2, 1));
    by_peer.take(WorkId(1));
    assert!(by_peer.inward(4, 1, 1), "its share is given back");
    assert_eq!(by_peer.of_peer.len(), 2);
    by_peer.take(WorkId(3));
    by_peer.take(WorkId(4));
    assert!(by_peer.of_peer.is_empty(), "nothing is kept of who is gone");
}

#[test]
fn what_comes_in_leaves_room_for_what_goes_out() {
    let mut lot = lot(8, 100, 9, 2);
    for id in 1..=6 {
        assert!(lot.inward(id, 1, 1));
    }
    assert!(!lot.inward(7, 2, 1));
    assert!(lot.out(8, 2, 1) && lot.out(9, 2, 1));
    assert!(!lot.out(10, 2, 1), "full is full");
    lot.take(WorkId(8));
    assert!(
        !lot.inward(11, 2, 1),
        "an outgoing one leaves its place behind"
    );
    lot.take(WorkId(1));
    assert!(lot.inward(12, 2, 1));
    let mut bytes = self::lot(8, 100, 9, 0);
    assert!(bytes.inward(1, 1, 75));
    assert!(!bytes.inward(2, 1, 1));
    assert!(bytes.out(3, 1, 25));
    let mut greedy = self::lot(8, 100, 9, 8);
    assert!(
        (1..=6).all(|id| greedy.inward(id, 1, 1)),
        "a quarter at most"
    );
}

#[test]
fn a_message_that_waits_too_long_leaves_and_its_room_is_free() {
    let mut lot = lot(9, 20, 9, 0);
    assert!(lot.out(1, 1, 10));
    let later = Instant::from_millis(1);
    let parked = lot.park(later, WorkId(2), peer(2), 10, Direction::Outgoing, 0);
    assert_eq!(parked, Ok(()));
    assert_eq!(lot.next_timeout(), Some(Instant::from_millis(10_000)));
    assert!(lot.expire(Instant::from_millis(9_999)).is_empty());
    assert_eq!(lot.expire(Instant::from_millis(10_000)), [(WorkId(1), 7)]);
    assert!(lot.take(WorkId(1)).is_none());
    assert_eq!((lot.len(), lot.dropped()), (1, (0, 1)));
    assert!(lot.out(3, 3, 10));
}

#[test]
fn the_stated_memory_grows_with_messages_and_adds_their_bytes() {
    let total = |messages, bytes, place| {
        let limits = ParkingLimits {
            messages,
            bytes,
            ..ParkingLimits::default()
        };
        limits.memory_total(place)
    };
    let share = size_of::<(IpAddr, usize)>() + 1;
    assert_eq!(total(0, 0, 9), 256);
    assert_eq!(total(0, 7, 9), 7 + 256);
    assert_eq!(total(3, 7, 0), 7 + 3 * 4 * share + 256);
    assert_eq!(total(3, 7, 9), 7 + 3 * (3 * 9 + 4 * share) + 256);
}
