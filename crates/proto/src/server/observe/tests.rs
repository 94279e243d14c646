//! The list of observers by itself.

use antiphon_wire::{Type, Writer};

use super::*;
use crate::identity::Identity;
use crate::resource::ResourceId;

const RESOURCE: ResourceId = ResourceId {
    index: 1,
    generation: 1,
};
const LEISURE: Duration = Duration::from_millis(1_500);

fn observers(change: impl FnOnce(&mut ObserveConfig)) -> Observers {
    let mut config = ObserveConfig::default();
    change(&mut config);
    Observers::new(config, &mut Rng::from_seed([9; 32]))
}

fn way(n: u16, peer: u8) -> Path {
    Path {
        socket: SocketId(n),
        local: ([10, 0, 0, 1], 5683).into(),
        interface: 1,
        peer: ([10, 0, 0, peer], 40_000).into(),
    }
}

fn request(token: u8, length: usize) -> Vec<u8> {
    let mut bytes = [0; 600];
    let token = Token::new(&[token]).unwrap();
    let mut writer = Writer::new(&mut bytes, Type::Con, Code::FETCH, MessageId(1), token).unwrap();
    writer.option(OptionNumber::OBSERVE, &[]).unwrap();
    writer.payload(&alloc::vec![1; length - 7]).unwrap();
    let written = writer.finish();
    assert_eq!(written, length);
    bytes[..written].to_vec()
}

fn nobody() -> Sender {
    Sender::Unauthenticated
}

/// Registers, and is answered.
fn admit(all: &mut Observers, now: Instant, path: &Path, token: u8) -> Option<ObserverId> {
    admit_as(all, now, path, token, &nobody(), true)
}

fn admit_as(
    all: &mut Observers,
    now: Instant,
    path: &Path,
    token: u8,
    sender: &Sender,
    reachable: bool,
) -> Option<ObserverId> {
    let bytes = request(token, 10);
    let message = Message::parse(&bytes).unwrap();
    let asks = Asks::new(path, sender, reachable, &message, RESOURCE);
    let id = all.admit(now, &asks, LEISURE)?;
    all.established(now, id);
    Some(id)
}

fn seconds(n: u64) -> Instant {
    Instant::from_millis(n * 1_000)
}

#[test]
fn the_defaults_are_those_of_the_documents() {
    let config = ObserveConfig::default();
    assert_eq!(
        (config.confirm_every, config.pause),
        (8, Duration::from_secs(3))
    );
    assert_eq!(config.confirm_within, Duration::from_secs(86_400));
    assert_eq!(config.look_every(), Duration::from_secs(3_600));
    let longer = ObserveConfig {
        confirm_within: Duration::from_secs(86_401),
        ..config.clone()
    };
    assert_eq!(
        longer.look_every(),
        Duration::from_secs(3_600),
        "a day at most"
    );
    let none = ObserveConfig {
        confirm_within: Duration::ZERO,
        ..config
    };
    assert_eq!(none.look_every(), Duration::from_millis(1));
}

#[test]
fn the_stated_memory_grows_with_each_limit() {
    let total = |observers, request, unacknowledged| {
        let config = ObserveConfig {
            observers,
            request,
            unacknowledged,
            ..ObserveConfig::default()
        };
        config.memory_total()
    };
    assert_eq!(total(100, 51, 3) - total(100, 50, 3), 100);
    assert!(total(64, 50, 3) > total(32, 50, 3) + 32 * 300);
    assert!(total(100, 50, 4) > total(100, 50, 3));
    assert!(size_of::<Observer>() <= 104, "{}", size_of::<Observer>());
    assert!(size_of::<Peer>() <= 56, "{}", size_of::<Peer>());
}

#[test]
fn an_observer_is_known_by_peer_token_and_proof() {
    let mut all = observers(|_| {});
    let member = |n: u8| Sender::Proven(Identity(alloc::vec![n; 9]));
    let (path, now) = (way(0, 1), seconds(1));
    let mut ids = Vec::new();
    for sender in [nobody(), member(1), member(2)] {
        for token in [1, 2] {
            ids.push((
                token,
                sender.clone(),
                admit_as(&mut all, now, &path, token, &sender, true),
            ));
        }
    }
    assert_eq!(all.len(), 6);
    for (token, sender, id) in &ids {
        let token = Token::new(&[*token]).unwrap();
        assert_eq!(all.find(path.peer, token, sender), *id);
    }
    let token = Token::new(&[1]).unwrap();
    assert_eq!(all.find(path.peer, token, &member(3)), None);
    assert_eq!(all.find(way(0, 2).peer, token, &nobody()), None);
    assert_eq!(
        all.find(path.peer, Token::new(&[1, 0]).unwrap(), &nobody()),
        None
    );
    for (_, _, id) in ids {
        assert!(all.remove(id.unwrap()).is_none(), "nothing is on its way");
        assert!(all.remove(id.unwrap()).is_none());
    }
    assert_eq!(
        (all.len(), all.peers.len(), all.by_address.len()),
        (0, 0, 0)
    );
    assert!(all.watched.is_empty() && all.ways.iter().all(|way| way.users == 0));
}

#[test]
fn a_request_fits_or_does_not() {
    let mut all = observers(|config| config.request = 20);
    let path = way(0, 1);
    for (length, fits) in [(19, true), (20, true), (21, false)] {
        let bytes = request(length as u8, length);
        let message = Message::parse(&bytes).unwrap();
        let asks = Asks::new(&path, &Sender::Unauthenticated, true, &message, RESOURCE);
        assert_eq!(all.admit(Instant::ZERO, &asks, LEISURE).is_some(), fits);
    }
    assert_eq!((all.len(), all.counters.refused), (2, 1));
}

#[test]
fn so_many_ways_are_told_apart() {
    let mut all = observers(|config| config.per_address = 1_000);
    for n in 0..256 {
        assert!(admit(&mut all, Instant::ZERO, &way(n, 1), n as u8).is_some());
    }
    let other = way(256, 2);
    assert_eq!(admit(&mut all, Instant::ZERO, &other, 1), None);
    assert!(admit(&mut all, Instant::ZERO, &way(255, 3), 1).is_some());
    let token = Token::new(&[7]).unwrap();
    let gone = all.find(way(7, 1).peer, token, &nobody()).unwrap();
    all.remove(gone);
    let id = admit(&mut all, Instant::ZERO, &other, 1).unwrap();
    let taken = all.take(&Turn {
        observer: id,
        peer: all.table.get(id).unwrap().peer,
        confirm: false,
    });
    assert_eq!(taken.unwrap().path, other);
}

#[test]
fn numbers_follow_the_time_in_steps_of_16_microseconds() {
    let mut all = observers(|_| {});
    let id = admit(&mut all, Instant::ZERO, &way(0, 1), 1).unwrap();
    let mut at = |micros| all.number(Instant::from_micros(micros), id);
    assert_eq!(
        [at(0), at(0), at(47), at(48), at(63), at(64)],
        [1, 2, 3, 4, 5, 6]
    );
    assert_eq!([at(159), at(160), at(16 << 24)], [9, 10, 0]);
    // 128 s later the number is less than half of them away (RFC 7641 section 3.4).
    let before = at((16 << 24) + 16);
    let after = at((16 << 24) + 16 + 128_000_000);
    assert_eq!(before, 1);
    assert_eq!(after, 8_000_001);
    assert!(after - before < 1 << 23);
}

#[test]
fn the_round_trip_time_is_a_mean_that_follows_by_an_eighth() {
    let mut peer = Peer {
        address: way(0, 1).peer,
        held_until: Instant::ZERO,
        round_trip: 0,
        outstanding: 0,
        first: 0,
    };
    let unknown = Duration::from_secs(3);
    assert_eq!(peer.pause(unknown), unknown);
    peer.measured(Duration::from_micros(800));
    assert_eq!(peer.pause(unknown), Duration::from_micros(800));
    peer.measured(Duration::from_micros(1_600));
    assert_eq!(peer.pause(unknown), Duration::from_micros(900));
    peer.measured(Duration::ZERO);
    assert_eq!(peer.pause(unknown), Duration::from_micros(788));
    peer.round_trip = 0;
    peer.measured(Duration::ZERO);
    assert_eq!(
        peer.pause(unknown),
        Duration::from_micros(1),
        "known, and very short"
    );
}

#[test]
fn a_round_trip_is_measured_if_nothing_was_sent_twice_meanwhile() {
    let timeout = Duration::from_secs(2);
    for (millis, measured) in [(1_999, true), (2_000, false)] {
        let mut all = observers(|config| config.confirm_every = 1);
        let id = admit(&mut all, Instant::ZERO, &way(0, 1), 1).unwrap();
        all.changed(RESOURCE);
        let turn = all.poll(Instant::ZERO, 1).unwrap();
        assert!(turn.confirm);
        all.sent(Instant::ZERO, &turn, MessageId(5));
        assert_eq!(all.notified_as(way(0, 1).peer, MessageId(5)), Some(id));
        assert_eq!(all.notified_as(way(0, 1).peer, MessageId(6)), None);
        assert_eq!((all.unacknowledged, all.counters.confirmable), (1, 1));
        all.acknowledged(Instant::from_millis(millis), &turn, timeout);
        let peer = all.table.get(id).unwrap().peer;
        assert_eq!(all.peers.get(peer).unwrap().round_trip > 0, measured);
        assert_eq!((all.unacknowledged, all.counters.acknowledged), (0, 1));
    }
}

#[test]
fn the_answer_to_a_registration_counts_as_its_first_notification() {
    let mut all = observers(|_| {});
    let id = admit(&mut all, Instant::ZERO, &way(0, 1), 1).unwrap();
    let peer = way(0, 1).peer;
    assert_eq!(
        all.notified_as(peer, MessageId(0)),
        None,
        "nothing was sent"
    );
    all.answered_as(id, MessageId(4));
    assert_eq!(all.notified_as(peer, MessageId(4)), Some(id));
    all.changed(RESOURCE);
    let turn = all.poll(Instant::ZERO, 1).unwrap();
    all.sent(Instant::ZERO, &turn, MessageId(5));
    // An answer whose leisure was longer than that of the notification.
    all.answered_as(id, MessageId(6));
    assert_eq!(all.notified_as(peer, MessageId(5)), Some(id));
    assert_eq!(all.notified_as(peer, MessageId(6)), None);
    assert!(all.contains(id));
    all.remove(id);
    assert!(!all.contains(id));
    all.answered_as(id, MessageId(7));
    assert_eq!(all.notified_as(peer, MessageId(7)), None);
}

#[test]
fn a_round_has_128_steps_and_the_next_one_begins_a_millisecond_later() {
    let mut all = observers(|config| config.observers = 100);
    for n in 0..100 {
        admit(&mut all, Instant::ZERO, &way(0, n), 1).unwrap();
    }
    assert_eq!(
        all.next_timeout(),
        Some(seconds(3_600)),
        "the look at who is there"
    );
    assert!(!all.has_turns(Instant::ZERO));
    assert_eq!(all.changed(RESOURCE), 100);
    let now = seconds(1);
    assert!(all.has_turns(now));
    let turns = |all: &mut Observers, now| core::iter::from_fn(|| all.poll(now, 1)).count();
    // One step to tell an observer, one to begin its turn.
    assert_eq!(turns(&mut all, now), 64);
    assert!(!all.has_turns(now));
    let next = now + Duration::from_millis(1);
    assert_eq!(all.next_timeout(), Some(next));
    assert_eq!(turns(&mut all, next - Duration::from_micros(1)), 0);
    assert_eq!(turns(&mut all, next), 36);
    assert_eq!(all.next_timeout(), Some(seconds(3_600)));
}

#[test]
fn what_is_put_off_comes_back_with_the_newest_change() {
    let mut all = observers(|_| {});
    let id = admit(&mut all, Instant::ZERO, &way(0, 1), 1).unwrap();
    all.changed(RESOURCE);
    let turn = all.poll(Instant::ZERO, 1).unwrap();
    assert_eq!(all.poll(Instant::ZERO, 1), None, "one at a time");
    all.changed(RESOURCE);
    assert_eq!(all.poll(Instant::ZERO, 1), None);
    all.unsent(Instant::ZERO, &turn, Some(Duration::from_secs(5)));
    assert_eq!(all.counters.put_off, 1);
    assert_eq!(all.poll(seconds(5) - Duration::from_micros(1), 1), None);
    assert_eq!(all.next_timeout(), Some(seconds(5)));
    let again = all.poll(seconds(5), 1).unwrap();
    assert_eq!(again.observer, id);
    all.unsent(seconds(5), &again, None);
    assert_eq!(all.poll(seconds(6), 1), None, "there was nothing to say");
}

#[test]
fn an_answer_that_never_came_back_is_missed_after_an_hour() {
    let mut all = observers(|_| {});
    let member = Sender::Proven(Identity(alloc::vec![1; 9]));
    let id = admit_as(&mut all, seconds(1), &way(0, 1), 1, &member, true).unwrap();
    assert_eq!(all.poll(seconds(3_600), 1), None);
    assert_eq!(all.len(), 1, "what protects it is on its way");
    assert_eq!(all.poll(seconds(3_601), 1), None);
    assert_eq!((all.len(), all.counters.ended), (0, 1));
    assert!(all.table.get(id).is_none());
}

#[test]
fn delays_are_spread_over_the_whole_limit_and_not_beyond() {
    let mut all = observers(|_| {});
    let limit = Duration::from_micros(3);
    let mut drawn = [0u32; 4];
    for _ in 0..400 {
        drawn[all.draw(limit).as_micros() as usize] += 1;
    }
    assert!(drawn.iter().all(|n| (60..140).contains(n)), "{drawn:?}");
    assert_eq!(all.draw(Duration::ZERO), Duration::ZERO);
    let _any = all.draw(Duration::MAX);
}
