//! Limits of the list of observers, what it takes, and what is kept of whom.

use super::*;
use crate::server::observe::places::Places;

const OTHER: ResourceId = ResourceId {
    index: 2,
    generation: 1,
};

fn admit_at(
    all: &mut Observers,
    now: Instant,
    (path, token): (&Path, u8),
    reachable: bool,
    resource: ResourceId,
) -> Option<ObserverId> {
    let (bytes, sender) = (request(token, 10), nobody());
    let message = Message::parse(&bytes).unwrap();
    let asks = Asks::new(path, &sender, reachable, &message, resource);
    let id = all.admit(now, &asks, LEISURE)?;
    all.established(now, id);
    Some(id)
}

fn through(group: u8, peer: u8) -> Path {
    Path {
        local: ([224, 0, 1, group], 5683).into(),
        ..way(0, peer)
    }
}

#[test]
fn each_table_has_its_part_in_the_stated_memory() {
    let config = ObserveConfig {
        observers: 100,
        request: 50,
        unacknowledged: 3,
        ..ObserveConfig::default()
    };
    let index = size_of::<u32>();
    let entry = 50
        + Taken::KEPT
        + 4 * (index + 1) // found by address
        + 2 * index // in the list of its resource
        + 3 * size_of::<(Instant, u32)>() // waits for its time
        + 6 * size_of::<ObserverId>() // stands in a queue
        + 3 * size_of::<(ResourceId, Watched)>()
        + 3 * size_of::<Period>();
    let places = 2 * 3 * size_of::<(Instant, u32)>();
    let ways = 256 * 4 * size_of::<Way>();
    let slabs = Slab::<Observer>::memory_total(100) + Slab::<Peer>::memory_total(103);
    let total = 100 * entry + places + ways + slabs + Shares::memory_total(100);
    assert_eq!(config.memory_total(), total);
    assert_eq!(Places::memory_total(3), places);
}

#[test]
fn addresses_are_told_apart_by_a_hash_that_nobody_can_foresee() {
    let (one, other) = (way(0, 1).peer, way(0, 2).peer);
    let port = SocketAddr::new(one.ip(), 40_001);
    let all = observers(|_| {});
    let hash = |address| Observers::address_hash(&all.hash, address);
    assert_eq!(hash(one), hash(one));
    assert!(hash(one) != hash(other) && hash(one) != hash(port));
    let another = Rng::from_seed([8; 32]).keyed_hash();
    assert_ne!(Observers::address_hash(&another, one), hash(one));
}

#[test]
fn a_notification_gives_way_after_the_ack_timeout_that_is_set() {
    let mut all = observers(|config| config.confirm_every = 1);
    all.set_ack_timeout(Duration::from_secs(5));
    let id = admit(&mut all, seconds(1), &way(0, 1), 1).unwrap();
    all.changed(RESOURCE);
    let turn = all.poll(seconds(1), 1).unwrap();
    all.sent(seconds(1), &turn, MessageId(1));
    assert_eq!(all.places.first(), Some((seconds(6), id.index)));
}

#[test]
fn only_what_has_given_way_is_acknowledged_late() {
    for (withdrawn, outstanding, late) in [
        (0, false, false),
        (0, true, false),
        (1, true, false),
        (1, false, true),
    ] {
        let mut all = observers(|_| {});
        let id = admit(&mut all, seconds(1), &way(0, 1), 1).unwrap();
        let observer = all.table.get_mut(id).unwrap();
        (observer.withdrawn, observer.outstanding) = (withdrawn, outstanding);
        observer.unconfirmed = 3;
        assert_eq!(all.acknowledged_late(seconds(9), id), late);
        let observer = all.table.get(id).unwrap();
        let state = (observer.withdrawn, observer.unconfirmed);
        assert_eq!(state, if late { (0, 0) } else { (withdrawn, 3) });
        let heard = seconds(if late { 9 } else { 1 });
        assert_eq!(observer.acknowledged, heard);
        assert_eq!(all.counters.acknowledged, u64::from(late));
    }
}

#[test]
fn the_way_of_a_group_is_free_when_its_last_observer_is_gone_however_often_it_asked() {
    let mut all = observers(|_| {});
    let (group, unicast) = (through(187, 1), way(0, 1));
    for path in [&group, &group, &unicast, &unicast] {
        assert!(admit(&mut all, seconds(1), path, 1).is_some());
    }
    let id = all
        .find(unicast.peer, Token::new(&[1]).unwrap(), &nobody())
        .unwrap();
    let first = usize::from(all.table.get(id).unwrap().group);
    assert_eq!(all.ways[first].local, group.local, "it stays one of these");
    let users = |all: &Observers| all.ways.iter().map(|way| way.users).sum::<u32>();
    assert_eq!(users(&all), 2, "one it came by, one it came through first");
    all.remove(id);
    assert_eq!(users(&all), 0);
}

#[test]
fn whoever_turns_to_another_resource_needs_no_further_place_in_a_full_list() {
    let mut all = observers(|config| config.observers = 2);
    for n in [1, 2] {
        assert!(admit_at(&mut all, seconds(1), (&way(0, n), 1), true, RESOURCE).is_some());
    }
    assert!(admit_at(&mut all, seconds(2), (&way(0, 3), 1), true, OTHER).is_none());
    assert!(admit_at(&mut all, seconds(2), (&way(0, 2), 1), true, OTHER).is_some());
    assert_eq!((all.of(RESOURCE), all.of(OTHER), all.len()), (1, 1, 2));
}

#[test]
fn a_stranger_finds_no_place_where_others_have_them_all() {
    for (places, per_resource, room) in [(2, 9, false), (3, 9, true), (9, 2, false)] {
        let mut all = observers(|config| {
            config.observers = places;
            config.per_resource = per_resource;
        });
        for n in [1, 2] {
            assert!(admit(&mut all, seconds(1), &way(0, n), 1).is_some());
        }
        let strange = stranger(&mut all, seconds(1), &way(0, 3), 1);
        assert_eq!(strange.is_some(), room, "{places} {per_resource}");
    }
}

#[test]
fn a_stranger_gives_way_at_the_resource_that_is_full_and_at_no_other() {
    let mut all = observers(|config| config.per_resource = 1);
    let elsewhere = admit_at(&mut all, seconds(0), (&way(0, 1), 1), false, OTHER).unwrap();
    let here = admit_at(&mut all, seconds(1), (&way(0, 2), 1), false, RESOURCE).unwrap();
    assert!(admit(&mut all, seconds(2), &way(0, 3), 1).is_some());
    assert!(all.contains(elsewhere) && !all.contains(here));
}

#[test]
fn what_is_refused_ends_the_older_registration_and_settles_what_a_known_client_was_sent() {
    for reachable in [true, false] {
        let mut all = observers(|config| config.confirm_every = 1);
        let path = way(0, 1);
        let id = admit_as(&mut all, seconds(0), &path, 1, &nobody(), reachable).unwrap();
        all.changed(RESOURCE);
        let turn = all.poll(seconds(1), 1).unwrap();
        assert!(turn.confirm);
        all.sent(seconds(1), &turn, MessageId(77));
        all.supersede(path.peer, Token::new(&[2]).unwrap(), &nobody());
        assert!(all.contains(id), "another token");
        all.supersede(path.peer, Token::new(&[1]).unwrap(), &nobody());
        assert!(!all.contains(id));
        let settled = reachable.then_some((path.peer, MessageId(77)));
        assert_eq!(all.take_settled(), settled, "{reachable}");
        assert_eq!(all.counters.ended, 1);
    }
}

/// One observer has the one place, and these wait for it.
fn crowd(peers: u8) -> (Observers, Vec<ObserverId>) {
    let mut all = observers(|config| {
        config.unacknowledged = 1;
        config.confirm_every = 1;
    });
    for n in 0..=peers {
        admit(&mut all, seconds(0), &way(0, n), 1).unwrap();
    }
    all.changed(RESOURCE);
    let turn = all.poll(seconds(1), 1).unwrap();
    assert_eq!(all.poll(seconds(1), 1), None);
    let keys: Vec<_> = all.table.keys().collect();
    let waiting = keys.into_iter().filter(|id| *id != turn.observer);
    let waiting: Vec<_> = waiting.collect();
    assert_eq!(waiting.len(), usize::from(peers));
    (all, waiting)
}

#[test]
fn a_queue_is_thinned_when_it_is_more_than_twice_as_long_as_the_list() {
    let (mut all, waiting) = crowd(6);
    assert_eq!((all.len(), all.crowded.len()), (7, 6));
    let lengths = waiting.iter().take(5).map(|id| {
        all.remove(*id);
        all.crowded.len()
    });
    let lengths: Vec<_> = lengths.collect();
    // Of 6, 5, 4, 3 and 2 that are left.
    assert_eq!(lengths, [6, 6, 6, 6, 1]);
    assert_eq!(all.crowded.front(), waiting.last());
}

#[test]
fn each_who_leaves_thins_the_queue_that_it_stood_in() {
    for withdrawn in [0, 1] {
        let (mut all, waiting) = crowd(6);
        for id in &waiting {
            all.table.get_mut(*id).unwrap().withdrawn = withdrawn;
        }
        if withdrawn > 0 {
            all.crowded_again = core::mem::take(&mut all.crowded);
        }
        // The other queues hold what is long gone.
        let gone = ObserverId {
            index: 99,
            generation: 1,
        };
        let others = |all: &mut Observers| {
            let [own, other] = match withdrawn {
                0 => [all.crowded.len(), all.crowded_again.len()],
                _ => [all.crowded_again.len(), all.crowded.len()],
            };
            (own, other, all.crowded_strangers.len())
        };
        let old = core::iter::repeat_n(gone, 50);
        match withdrawn {
            0 => all.crowded_again.extend(old.clone()),
            _ => all.crowded.extend(old.clone()),
        }
        all.crowded_strangers.extend(old);
        for id in waiting.iter().take(5) {
            all.remove(*id);
        }
        assert_eq!(others(&mut all), (1, 50, 50), "{withdrawn}");
    }
}

#[test]
fn with_its_last_observer_a_change_of_a_resource_is_forgotten_and_no_other() {
    let mut all = observers(|_| {});
    let first = admit_at(&mut all, seconds(0), (&way(0, 1), 1), true, RESOURCE).unwrap();
    let second = admit_at(&mut all, seconds(0), (&way(0, 2), 1), true, OTHER).unwrap();
    assert_eq!((all.changed(RESOURCE), all.changed(OTHER)), (1, 1));
    all.remove(first);
    let turn = all.poll(seconds(1), 1).unwrap();
    assert_eq!(turn.observer, second);
    assert_eq!(all.poll(seconds(1), 1), None);
}

#[test]
fn an_endpoint_is_known_as_long_as_a_stranger_there_has_to_acknowledge() {
    let mut all = observers(|_| {});
    let id = stranger(&mut all, seconds(0), &way(0, 1), 1).unwrap();
    all.changed(RESOURCE);
    let turn = all.poll(seconds(1), 1).unwrap();
    assert!(turn.confirm && turn.stranger);
    all.sent(seconds(1), &turn, MessageId(1));
    all.remove(id);
    assert_eq!((all.len(), all.peers.len()), (0, 1));
    all.release(seconds(2), &turn);
    assert_eq!((all.peers.len(), all.by_address.len()), (0, 0));
}

#[test]
fn each_group_has_one_leisure_period_for_the_last_change() {
    let mut all = observers(|config| config.pause = Duration::ZERO);
    for (group, peer) in [(187, 1), (188, 2)] {
        admit(&mut all, seconds(0), &through(group, peer), 1).unwrap();
    }
    for change in 1..=3 {
        let now = seconds(100 * change);
        all.changed(RESOURCE);
        assert_eq!(all.poll(now, 1), None, "in its leisure");
        let periods = &all.watched[&RESOURCE].periods;
        let mut of: Vec<_> = periods.iter().map(|p| (p.group, p.start)).collect();
        of.sort_unstable();
        let group = |n| SocketAddr::from(([224, 0, 1, n], 5683));
        assert_eq!(of, [(group(187), now), (group(188), now)]);
        let turns: Vec<_> = core::iter::from_fn(|| all.poll(now + LEISURE, 1)).collect();
        assert_eq!(turns.len(), 2);
        for turn in turns {
            all.sent(now + LEISURE, &turn, MessageId(1));
        }
    }
}
