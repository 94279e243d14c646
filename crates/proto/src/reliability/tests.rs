use alloc::vec;

use super::*;
use crate::path::SocketId;

const MID: MessageId = MessageId(0x1234);

fn route() -> Route {
    Route {
        socket: SocketId(1),
        source: None,
        interface: 0,
        destination: ([10, 0, 0, 1], 5683).into(),
    }
}

fn message() -> Vec<u8> {
    vec![0x40, 0x01, 0x12, 0x34]
}

fn started(parameters: &Transmission) -> Confirmables<u8> {
    let mut rng = Rng::from_seed([1; 32]);
    let mut confirmables = Confirmables::new(&mut rng);
    confirmables.start(Instant::ZERO, &mut rng, parameters, 7, route(), message());
    confirmables
}

fn exact(ack_timeout: u64) -> Transmission {
    let mut parameters = Transmission::default();
    parameters
        .set_ack_timeout(Duration::from_secs(ack_timeout))
        .unwrap();
    parameters.set_ack_random_permille(1_000).unwrap();
    parameters
}

#[test]
fn backs_off_exponentially_and_gives_up_after_max_retransmit() {
    let mut confirmables = started(&exact(2));
    let mut sent = Vec::new();
    let gave_up = loop {
        let due = confirmables.next_timeout().unwrap();
        assert!(
            confirmables.poll(due - Duration::from_micros(1)).is_none(),
            "not a moment early"
        );
        match confirmables.poll(due).unwrap() {
            Due::Retransmit(owner, to, bytes) => {
                assert_eq!(
                    (owner, to, bytes),
                    (7, route(), message()),
                    "the same bytes to the same place"
                );
                sent.push(due.as_micros() / 1_000_000);
            }
            Due::GivenUp(owner) => {
                assert_eq!(owner, 7);
                break due.as_micros() / 1_000_000;
            }
        }
    };
    assert_eq!(sent, [2, 6, 14, 30]);
    assert_eq!(gave_up, 62);
    assert_eq!((confirmables.len(), confirmables.next_timeout()), (0, None));
}

#[test]
fn the_first_timeout_is_spread_between_ack_timeout_and_the_random_factor() {
    let mut rng = Rng::from_seed([5; 32]);
    let parameters = Transmission::default();
    let (mut low, mut high) = (u64::MAX, 0);
    for _ in 0..500 {
        let mut confirmables = Confirmables::new(&mut rng);
        confirmables.start(Instant::ZERO, &mut rng, &parameters, 0, route(), message());
        let due = confirmables.next_timeout().unwrap().as_micros();
        (low, high) = (low.min(due), high.max(due));
    }
    assert!((2_000_000..2_050_000).contains(&low), "{low}");
    assert!((2_950_000..=3_000_000).contains(&high), "{high}");
}

#[test]
fn an_acknowledgement_from_the_right_peer_ends_it() {
    let mut confirmables = started(&exact(2));
    let stranger = ([10, 0, 0, 2], 5683).into();
    assert_eq!(confirmables.settle(stranger, MID), None);
    assert_eq!(confirmables.settle(route().destination, MessageId(1)), None);
    assert_eq!(confirmables.settle(route().destination, MID), Some(7));
    assert_eq!(confirmables.next_timeout(), None);
    assert!(confirmables.poll(Instant::from_millis(1_000_000)).is_none());
}

#[test]
fn no_retransmission_with_max_retransmit_zero() {
    let mut parameters = exact(2);
    parameters.set_max_retransmit(0).unwrap();
    let mut confirmables = started(&parameters);
    assert!(matches!(
        confirmables.poll(Instant::from_millis(2_000)),
        Some(Due::GivenUp(7))
    ));
}

#[test]
fn the_stated_memory_grows_with_messages_and_their_size() {
    let total = Confirmables::<u8>::memory_total;
    let entry = 4 * (size_of::<(Key, Confirmable<u8>)>() + 1);
    let timer = size_of::<Reverse<(Instant, u64, Key)>>();
    assert_eq!(total(0, 0), 3 * STALE * timer + 256);
    assert_eq!(total(5, 0) - total(0, 0), 5 * entry + 3 * 10 * timer);
    assert_eq!(total(5, 100) - total(5, 0), 500);
}

#[cfg(all(feature = "client", feature = "oscore"))]
#[test]
fn whose_message_waits_is_not_told_by_its_message_id_alone() {
    let mut rng = Rng::from_seed([1; 32]);
    let mut start = |owner| {
        let mut confirmables: Confirmables<Sent<u8>> = Confirmables::new(&mut rng);
        confirmables.start(
            Instant::ZERO,
            &mut rng,
            &exact(2),
            owner,
            route(),
            message(),
        );
        confirmables
    };
    let (one, other) = (ExchangeId(1), ExchangeId(2));
    let peer = route().destination;
    let request = start(Sent::Request(one));
    let found = request.unsettled(one, peer, MID);
    assert_eq!(found, Some((route(), message().as_slice())));
    assert_eq!(request.unsettled(other, peer, MID), None);
    assert_eq!(request.unsettled(one, peer, MessageId(1)), None);
    assert_eq!(
        start(Sent::Response(1)).unsettled(one, peer, MID),
        None,
        "a response that was given the Message ID of a request"
    );
}
