//! The list of observers by itself.

mod bounds;
mod places;

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
        stranger: false,
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
        outstanding_to_strangers: 0,
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

fn member(n: u8) -> Sender {
    Sender::Proven(Identity(alloc::vec![n; 9]))
}

fn stranger(all: &mut Observers, now: Instant, path: &Path, token: u8) -> Option<ObserverId> {
    admit_as(all, now, path, token, &nobody(), false)
}

#[test]
fn strangers_have_half_of_the_list_and_give_way_to_members() {
    let mut all = observers(|config| {
        config.observers = 6;
        config.per_resource = 6;
    });
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(stranger(&mut all, seconds(n), &way(0, n as u8), 1));
    }
    assert_eq!(ids.iter().flatten().count(), 3, "{ids:?}");
    assert_eq!((all.len(), all.strangers, all.counters.refused), (3, 3, 2));
    for n in 10..13 {
        assert!(admit_as(&mut all, seconds(9), &way(0, n), 1, &member(n), false).is_some());
    }
    assert_eq!((all.len(), all.counters.gave_way), (6, 0));
    // The list is full: the one that is there for longest goes, until there is none.
    for n in 13..16 {
        assert!(admit_as(&mut all, seconds(9), &way(0, n), 1, &member(n), false).is_some());
        let there = ids.iter().flatten().filter(|id| all.contains(**id));
        assert_eq!(there.count(), usize::from(15 - n));
        assert_eq!((all.len(), all.strangers), (6, usize::from(15 - n)));
        assert_eq!(all.contains(ids[2].unwrap()), n < 15);
    }
    assert_eq!(all.counters.gave_way, 3);
    assert!(admit_as(&mut all, seconds(9), &way(0, 16), 1, &member(16), true).is_none());
    assert_eq!(stranger(&mut all, seconds(9), &way(0, 1), 1), None);
    assert_eq!(all.watched[&RESOURCE].strangers, 0);
}

#[test]
fn strangers_have_half_of_the_places_of_one_resource_and_give_way_there() {
    let mut all = observers(|config| config.per_resource = 3);
    let first = stranger(&mut all, seconds(1), &way(0, 1), 1);
    assert!(first.is_some());
    assert!(stranger(&mut all, seconds(1), &way(0, 2), 1).is_some());
    assert_eq!(stranger(&mut all, seconds(1), &way(0, 3), 1), None);
    assert!(
        stranger(&mut all, seconds(2), &way(0, 2), 1).is_some(),
        "who is there may stay"
    );
    assert!(admit(&mut all, seconds(3), &way(0, 4), 1).is_some());
    assert!(admit(&mut all, seconds(3), &way(0, 5), 1).is_some());
    assert!(!all.contains(first.unwrap()));
    assert_eq!((all.of(RESOURCE), all.counters.gave_way), (3, 1));
    // One that has sent an Echo value since is no stranger.
    assert!(admit(&mut all, seconds(3), &way(0, 2), 1).is_some());
    assert_eq!(all.strangers, 0);
    assert_eq!(admit(&mut all, seconds(4), &way(0, 6), 1), None);
}

#[test]
fn strangers_at_the_address_of_a_member_give_way_to_it() {
    let mut all = observers(|config| config.per_address = 2);
    let other = stranger(&mut all, seconds(0), &way(0, 2), 9).unwrap();
    let first = stranger(&mut all, seconds(1), &way(0, 1), 1).unwrap();
    let second = stranger(&mut all, seconds(2), &way(0, 1), 2).unwrap();
    assert_eq!(stranger(&mut all, seconds(3), &way(0, 1), 3), None);
    assert!(admit_as(&mut all, seconds(4), &way(0, 1), 1, &member(1), false).is_some());
    let there = [other, first, second].map(|id| all.contains(id));
    assert_eq!(there, [true, false, true]);
    assert!(admit_as(&mut all, seconds(4), &way(0, 1), 2, &member(1), false).is_some());
    assert!(admit_as(&mut all, seconds(4), &way(0, 1), 3, &member(1), false).is_none());
    assert_eq!((all.len(), all.counters.gave_way), (3, 2));
}

#[test]
fn nobody_gives_way_to_a_member_that_finds_no_place_in_the_end() {
    // A share of the address it would find, and no place at its resource: members have them all.
    let mut all = observers(|config| {
        config.per_address = 1;
        config.per_resource = 2;
    });
    for n in [10, 11] {
        assert!(admit_as(&mut all, seconds(0), &way(0, n), 1, &member(n), false).is_some());
    }
    let path = way(0, 1);
    let bytes = request(7, 10);
    let message = Message::parse(&bytes).unwrap();
    let other = ResourceId {
        index: 2,
        generation: 1,
    };
    let strange = nobody();
    let asks = Asks::new(&path, &strange, false, &message, other);
    let stays = all.admit(seconds(1), &asks, LEISURE).unwrap();
    assert!(admit_as(&mut all, seconds(2), &path, 1, &member(1), false).is_none());
    assert!(all.contains(stays));
    assert_eq!((all.len(), all.counters.gave_way), (3, 0));
    // At the other resource there is one: there the stranger makes room for both.
    let sender = member(1);
    let asks = Asks::new(&path, &sender, false, &message, other);
    assert!(all.admit(seconds(2), &asks, LEISURE).is_some());
    assert!(!all.contains(stays));
    assert_eq!((all.len(), all.counters.gave_way), (3, 1));
    // The share is the member's, and no other's: one more finds none.
    assert!(admit_as(&mut all, seconds(3), &path, 2, &member(2), false).is_none());
}

#[test]
fn what_is_on_its_way_to_one_that_gives_way_is_not_repeated() {
    let mut all = observers(|config| {
        config.per_address = 1;
        config.observers = 2;
    });
    let mut mid = 70;
    for n in [1, 2] {
        let id = match n {
            1 => stranger(&mut all, seconds(0), &way(0, n), 1),
            _ => admit_as(&mut all, seconds(0), &way(0, n), 1, &member(n), false),
        };
        all.rest(seconds(0), id.unwrap());
    }
    all.changed(RESOURCE);
    while let Some(turn) = all.poll(seconds(1), 2) {
        mid += 1;
        all.sent(seconds(1), &turn, MessageId(mid));
    }
    assert_eq!(mid, 72, "both are asked whether they are there");
    assert_eq!(all.take_settled(), None);
    assert!(admit_as(&mut all, seconds(2), &way(0, 3), 1, &member(3), false).is_some());
    let settled = all.take_settled().unwrap();
    assert_eq!(settled.0, way(0, 1).peer, "of the stranger");
    assert_eq!(all.take_settled(), None, "and of nobody else");
}

#[test]
fn who_acknowledges_is_a_stranger_no_more() {
    let mut all = observers(|config| config.per_resource = 2);
    let id = stranger(&mut all, seconds(0), &way(0, 1), 1).unwrap();
    assert_eq!(stranger(&mut all, seconds(0), &way(0, 2), 1), None);
    all.changed(RESOURCE);
    let turn = all.poll(seconds(1), 1).unwrap();
    assert!(turn.confirm && turn.stranger);
    all.sent(seconds(1), &turn, MessageId(5));
    all.acknowledged(seconds(1), &turn, Duration::from_secs(2));
    assert_eq!((all.strangers, all.watched[&RESOURCE].strangers), (0, 0));
    assert_eq!(all.unacknowledged_by_strangers, 0);
    assert!(stranger(&mut all, seconds(1), &way(0, 2), 1).is_some());
    assert_eq!(
        admit(&mut all, seconds(1), &way(0, 3), 1).map(|_| all.contains(id)),
        Some(true)
    );
    // It is one again when it asks once more without proof; nothing of that puts a question off.
    assert!(stranger(&mut all, seconds(90), &way(0, 1), 1).is_some());
    assert_eq!(all.strangers, 1);
    let turn = all.poll(seconds(91), 1);
    assert!(
        turn.is_some_and(|turn| turn.confirm && turn.stranger),
        "{turn:?}"
    );
}

#[test]
fn what_a_stranger_leaves_unacknowledged_ends_nothing_of_a_member_at_its_address() {
    let mut all = observers(|_| {});
    let path = way(0, 1);
    let kept = admit_as(&mut all, seconds(0), &path, 1, &member(1), false).unwrap();
    all.rest(seconds(0), kept);
    let echoed = admit(&mut all, seconds(0), &path, 2).unwrap();
    let forged = stranger(&mut all, seconds(0), &path, 3).unwrap();
    let other = stranger(&mut all, seconds(0), &path, 4).unwrap();
    all.changed(RESOURCE);
    let turns: Vec<_> = core::iter::from_fn(|| all.poll(seconds(1), 1)).collect();
    let of = |id| turns.iter().find(|turn| turn.observer == id).copied();
    let strange = of(other).or(of(forged)).unwrap();
    assert!(strange.confirm && strange.stranger);
    // Both have their one Confirmable notification under way (NSTART).
    let proven = of(kept).unwrap();
    assert!(proven.confirm && !proven.stranger);
    assert!(of(echoed).is_some_and(|turn| !turn.confirm));
    assert_eq!(turns.len(), 3);
    for turn in &turns {
        all.sent(seconds(1), turn, MessageId(9));
    }
    let sorted = |mut ids: Vec<ObserverId>| {
        ids.sort_unstable_by_key(|id| id.index);
        ids
    };
    assert_eq!(sorted(all.all_of(&strange)), [forged, other]);
    assert_eq!(sorted(all.all_of(&proven)), [kept, forged, other]);
    // The other stranger waits for the first, and not for the member.
    all.release(seconds(2), &proven);
    assert_eq!(all.poll(seconds(2), 1), None);
    all.release(seconds(2), &strange);
    assert!(all.poll(seconds(2), 1).is_some_and(|turn| turn.stranger));
}

#[test]
fn a_member_that_registers_again_is_not_ended_by_what_it_has_missed() {
    let mut all = observers(|_| {});
    let path = way(0, 1);
    for (sender, reachable) in [(member(1), false), (nobody(), true), (nobody(), false)] {
        let known = reachable || sender.is_proven();
        let first = admit_as(&mut all, seconds(0), &path, 1, &sender, reachable).unwrap();
        all.rest(seconds(0), first);
        all.table.get_mut(first).unwrap().unconfirmed = 7;
        all.changed(RESOURCE);
        let turn = all.poll(seconds(1), 1).unwrap();
        assert!(turn.confirm);
        all.sent(seconds(1), &turn, MessageId(77));
        let again = admit_as(&mut all, seconds(50), &path, 1, &sender, reachable).unwrap();
        assert_eq!(all.take_admitted(), Some(again));
        assert_eq!(all.take_admitted(), None);
        let settled = known.then_some((path.peer, MessageId(77)));
        assert_eq!(all.take_settled(), settled, "its retransmissions");
        let ended = if known {
            alloc::vec![]
        } else {
            alloc::vec![again]
        };
        assert_eq!(all.all_of(&turn), ended, "{sender:?}");
        let heard = all.table.get(again).unwrap().acknowledged;
        assert_eq!(heard, seconds(if known { 50 } else { 0 }));
        all.release(seconds(60), &turn);
        all.remove(again);
        assert_eq!((all.peers.len(), all.unacknowledged), (0, 0));
    }
}

#[test]
fn strangers_have_a_quarter_of_the_places_for_what_is_not_acknowledged() {
    let mut all = observers(|config| config.unacknowledged = 8);
    for n in 0..5 {
        stranger(&mut all, seconds(0), &way(0, n), 1).unwrap();
    }
    all.changed(RESOURCE);
    let mut strange: Vec<_> = core::iter::from_fn(|| all.poll(seconds(1), 1)).collect();
    assert_eq!((strange.len(), all.crowded_strangers.len()), (2, 3));
    let mut ids = Vec::new();
    for n in 10..20 {
        let id = admit_as(&mut all, seconds(2), &way(0, n), 1, &member(n), false).unwrap();
        all.rest(seconds(2), id);
        ids.push(id);
    }
    all.changed(RESOURCE);
    let mut known: Vec<_> = core::iter::from_fn(|| all.poll(seconds(2), 1)).collect();
    assert_eq!((known.len(), all.crowded.len()), (6, 4));
    assert!(known.iter().all(|turn| !turn.stranger));
    // A place that comes free is a member's; the strangers' turn comes when no member waits.
    for turn in strange.split_off(1) {
        all.release(seconds(3), &turn);
        let next = all.poll(seconds(3), 1).unwrap();
        assert!(!next.stranger);
        known.push(next);
    }
    assert_eq!((all.unacknowledged, all.crowded.len()), (8, 3));
    while let Some(turn) = known.pop() {
        all.release(seconds(4), &turn);
        known.extend(core::iter::from_fn(|| all.poll(seconds(4), 1)).filter(|turn| !turn.stranger));
        assert!(all.crowded.is_empty() || all.unacknowledged_by_strangers == 1);
        assert!(all.unacknowledged_by_strangers <= 2);
    }
    assert!(all.crowded.is_empty());
    assert_eq!(all.unacknowledged_by_strangers, 2);
}

#[test]
fn last_notifications_leave_half_of_the_places_to_those_that_go_on() {
    let mut all = observers(|config| {
        config.unacknowledged = 7;
        config.confirm_every = 8;
    });
    for n in 0..6 {
        let id = admit_as(&mut all, seconds(0), &way(0, n), 1, &member(n), true).unwrap();
        all.rest(seconds(0), id);
    }
    all.changed(RESOURCE);
    let turns: Vec<_> = core::iter::from_fn(|| all.poll(seconds(1), 1)).collect();
    assert_eq!(turns.len(), 6);
    let mut last = Vec::new();
    for (n, mut turn) in (0..).zip(turns) {
        assert!(!turn.confirm);
        all.remove(turn.observer);
        all.confirm_last(&mut turn, way(0, n).peer, 1);
        last.push(turn);
    }
    let confirmable = last.iter().map(|turn| turn.confirm);
    let expected = [true, true, true, true, false, false];
    assert!(confirmable.eq(expected));
    assert_eq!(all.unacknowledged, 4);
    all.release(seconds(2), &last[0]);
    all.confirm_last(&mut last[5], way(0, 5).peer, 1);
    assert!(last[5].confirm);
}

#[test]
fn whoever_is_gone_is_passed_over_in_the_queues_and_they_do_not_grow() {
    let mut all = observers(|config| config.unacknowledged = 4);
    for n in 0..3 {
        stranger(&mut all, seconds(0), &way(0, n), 1).unwrap();
    }
    all.changed(RESOURCE);
    let first = all.poll(seconds(1), 1).unwrap();
    assert_eq!(all.poll(seconds(1), 1), None);
    for round in 0..100 {
        for n in 0..3 {
            if let Some(id) = all.find(way(0, n).peer, Token::new(&[1]).unwrap(), &nobody()) {
                all.remove(id);
            }
            stranger(&mut all, seconds(2), &way(0, n), 1).unwrap();
        }
        all.changed(RESOURCE);
        assert_eq!(
            all.poll(seconds(3 + round), 1),
            None,
            "one place, and it is taken"
        );
        assert!(all.crowded_strangers.len() <= 7, "{round}");
    }
    all.release(seconds(200), &first);
    assert!(all.poll(seconds(200), 1).is_some());
}

#[test]
fn a_share_is_given_back_only_if_it_was_taken() {
    let mut all = observers(|config| config.per_address = 3);
    // All ways are in use, by others than the address that is refused.
    for n in 0..256 {
        let peer = way(n, 10 + (n / 3) as u8);
        assert!(admit(&mut all, Instant::ZERO, &peer, (n % 3) as u8).is_some());
    }
    for token in 0..3 {
        assert!(admit(&mut all, Instant::ZERO, &way(0, 1), token).is_some());
    }
    for _ in 0..5 {
        assert_eq!(admit(&mut all, Instant::ZERO, &way(999, 1), 9), None);
    }
    assert_eq!(
        admit(&mut all, Instant::ZERO, &way(0, 1), 9),
        None,
        "three at one address"
    );
    // A refusal for want of a way keeps no share.
    for _ in 0..5 {
        assert_eq!(admit(&mut all, Instant::ZERO, &way(999, 2), 9), None);
    }
    assert!(admit(&mut all, Instant::ZERO, &way(0, 2), 9).is_some());
}

#[test]
fn only_what_was_being_made_comes_to_rest() {
    let mut all = observers(|_| {});
    let id = admit(&mut all, Instant::ZERO, &way(0, 1), 1).unwrap();
    all.changed(RESOURCE);
    let turn = all.poll(Instant::ZERO, 1).unwrap();
    all.unsent(Instant::ZERO, &turn, Some(Duration::from_secs(5)));
    all.rest(seconds(1), id);
    assert_eq!(all.table.get(id).unwrap().state, State::Due);
    assert_eq!(all.poll(seconds(4), 1), None);
    assert_eq!(all.poll(seconds(5), 1).map(|turn| turn.observer), Some(id));
    assert!(all.timers.is_empty());
}

#[test]
fn the_list_is_looked_through_in_steps() {
    let mut all = observers(|config| {
        config.observers = 10_000;
        config.per_resource = 10_000;
    });
    for n in 0..5_000u32 {
        let [high, low] = (n as u16).to_be_bytes();
        let path = Path {
            peer: ([10, 1, high, low], 40_000).into(),
            ..way(0, 1)
        };
        stranger(&mut all, Instant::ZERO, &path, 1).unwrap();
    }
    let now = seconds(60);
    assert_eq!(all.next_timeout(), Some(now));
    assert!(!all.has_turns(now - Duration::from_micros(1)));
    // 128 steps at a time: one to look at 32 places, one for each that is found there.
    let turns: Vec<_> = core::iter::from_fn(|| all.poll(now, 1)).collect();
    assert_eq!(turns.len(), 64, "a quarter of 256");
    let mut rounds = 1;
    let mut at = now;
    while all.looking.is_some() || !all.ready.is_empty() {
        at = at + Duration::from_millis(1);
        assert_eq!(all.poll(at, 1), None);
        rounds += 1;
        assert!(rounds < 100);
    }
    assert!((39..=43).contains(&rounds), "{rounds}");
    assert_eq!(all.crowded_strangers.len(), 5_000 - 64);
}
