use super::*;

const LIFE: Duration = Duration::from_secs(145);

fn peer(host: u8, port: u16) -> SocketAddr {
    ([10, 0, 0, host], port).into()
}

fn table(limits: DedupLimits) -> Dedup {
    Dedup::new(limits, &mut Rng::from_seed([9; 32]))
}

fn is_new(dedup: &mut Dedup, now: Instant, peer: SocketAddr, mid: u16, print: u64) -> bool {
    matches!(
        dedup.check(now, peer, MessageId(mid), print, LIFE),
        Some(Seen::New(_))
    )
}

#[test]
fn a_message_is_new_once_and_a_duplicate_until_its_lifetime_ends() {
    let mut dedup = table(DedupLimits::default());
    let start = Instant::from_millis(5);
    assert!(is_new(&mut dedup, start, peer(1, 7), 3, 11));
    let last = start + LIFE - Duration::from_micros(1);
    assert!(!is_new(&mut dedup, last, peer(1, 7), 3, 11));
    assert!(dedup.lookup(last, peer(1, 7), MessageId(3), 11).is_some());
    assert!(
        dedup
            .lookup(start + LIFE, peer(1, 7), MessageId(3), 11)
            .is_none()
    );
    assert!(is_new(&mut dedup, start + LIFE, peer(1, 7), 3, 11));
}

#[test]
fn another_port_address_or_message_id_is_another_message() {
    let mut dedup = table(DedupLimits::default());
    assert!(is_new(&mut dedup, Instant::ZERO, peer(1, 7), 3, 11));
    assert!(is_new(&mut dedup, Instant::ZERO, peer(1, 8), 3, 11));
    assert!(is_new(&mut dedup, Instant::ZERO, peer(2, 7), 3, 11));
    assert!(is_new(&mut dedup, Instant::ZERO, peer(1, 7), 4, 11));
    assert_eq!(dedup.len(), 4);
}

#[test]
fn the_same_message_id_with_another_fingerprint_is_a_new_message_without_the_old_reply() {
    let mut dedup = table(DedupLimits::default());
    let Some(Seen::New(first)) = dedup.check(Instant::ZERO, peer(1, 7), MessageId(3), 11, LIFE)
    else {
        panic!("not new")
    };
    dedup.store_reply(first, b"old");
    assert!(is_new(&mut dedup, Instant::ZERO, peer(1, 7), 3, 12));
    let Some(Seen::Duplicate(again)) =
        dedup.check(Instant::ZERO, peer(1, 7), MessageId(3), 12, LIFE)
    else {
        panic!("not a duplicate")
    };
    assert!(
        !dedup.reply(again, &mut Vec::new()),
        "the old message's reply does not answer the new one"
    );
    assert_eq!(dedup.len(), 1);
}

#[test]
fn the_stored_reply_comes_back_byte_for_byte_until_younger_ones_take_its_place() {
    let mut dedup = table(DedupLimits {
        reply_bytes: 10,
        ..DedupLimits::default()
    });
    let mut records = Vec::new();
    for mid in 0..3 {
        let Some(Seen::New(record)) =
            dedup.check(Instant::ZERO, peer(1, 7), MessageId(mid), 1, LIFE)
        else {
            panic!("not new")
        };
        records.push(record);
    }
    dedup.store_reply(records[0], b"abcd");
    dedup.store_reply(records[1], b"efgh");
    let read = |dedup: &Dedup, record| {
        let mut out = Vec::new();
        dedup.reply(record, &mut out).then_some(out)
    };
    assert_eq!(read(&dedup, records[0]).unwrap(), b"abcd");
    dedup.store_reply(records[2], b"ijkl");
    assert_eq!(read(&dedup, records[0]), None);
    assert_eq!(read(&dedup, records[1]).unwrap(), b"efgh");
    assert_eq!(read(&dedup, records[2]).unwrap(), b"ijkl");
    dedup.store_reply(records[1], b"longer than the ring");
    assert_eq!(
        read(&dedup, records[1]).unwrap(),
        b"efgh",
        "what does not fit is not kept"
    );
}

#[test]
fn a_flood_from_one_address_pushes_out_its_own_records_only() {
    let mut dedup = table(DedupLimits {
        records: 64,
        records_per_address: 64,
        ..DedupLimits::default()
    });
    for host in 1..=8 {
        for mid in 0..4 {
            assert!(is_new(&mut dedup, Instant::ZERO, peer(host, 7), mid, 1));
        }
    }
    for n in 0..10_000u32 {
        is_new(
            &mut dedup,
            Instant::ZERO,
            peer(99, (n % 60_000) as u16),
            (n / 7) as u16,
            u64::from(n),
        );
    }
    assert_eq!(dedup.len(), 64);
    for host in 1..=8 {
        for mid in 0..4 {
            assert!(
                !is_new(&mut dedup, Instant::ZERO, peer(host, 7), mid, 1),
                "host {host} lost {mid}"
            );
        }
    }
    assert_eq!(dedup.evicted(), 10_000 - 32);
}

#[test]
fn an_address_holds_no_more_than_its_share() {
    let mut dedup = table(DedupLimits {
        records: 100,
        records_per_address: 10,
        ..DedupLimits::default()
    });
    for mid in 0..11 {
        assert!(is_new(&mut dedup, Instant::ZERO, peer(1, 7), mid, 1));
    }
    assert_eq!((dedup.len(), dedup.evicted()), (10, 1));
    assert!(
        !is_new(&mut dedup, Instant::ZERO, peer(1, 7), 1, 1),
        "the second is still there"
    );
    assert!(
        is_new(&mut dedup, Instant::ZERO, peer(1, 7), 0, 1),
        "the first gave way"
    );
}

#[test]
fn a_flood_of_addresses_stays_within_the_stated_memory() {
    let limits = DedupLimits {
        records: 1_000,
        records_per_address: 100,
        addresses: 50,
        reply_bytes: 1_000,
    };
    let stated = limits.memory_total();
    let mut dedup = table(limits);
    for n in 0..50_000u32 {
        let address = SocketAddr::from((n.to_be_bytes(), 5683));
        assert!(is_new(&mut dedup, Instant::ZERO, address, 1, 1));
        assert!(dedup.by_address.len() <= 50);
        assert!(dedup.rings.len() <= 51);
    }
    let held: usize = dedup
        .rings
        .iter()
        .map(|r| r.records.capacity() * size_of::<Record>())
        .sum::<usize>()
        + dedup.rings.capacity() * size_of::<Ring>()
        + dedup.index.capacity() * size_of::<Place>()
        + dedup.replies.capacity();
    assert!(held <= stated, "{held} of {stated}");
}

#[test]
fn expired_records_are_reclaimed_while_others_arrive() {
    let mut dedup = table(DedupLimits {
        records: 1_000,
        records_per_address: 1_000,
        ..DedupLimits::default()
    });
    for host in 1..=10 {
        for mid in 0..50 {
            is_new(&mut dedup, Instant::ZERO, peer(host, 7), mid, 1);
        }
    }
    assert_eq!(dedup.len(), 500);
    let later = Instant::ZERO + LIFE;
    for mid in 0..200 {
        is_new(&mut dedup, later, peer(200, 7), mid, 1);
    }
    assert_eq!(
        (dedup.len(), dedup.evicted()),
        (200, 0),
        "nothing had to give way"
    );
    assert_eq!(dedup.by_address.len(), 1, "empty rings are given back");
}

#[test]
fn no_records_means_no_deduplication() {
    let mut dedup = table(DedupLimits {
        records: 0,
        ..DedupLimits::default()
    });
    assert_eq!(
        dedup.check(Instant::ZERO, peer(1, 7), MessageId(1), 1, LIFE),
        None
    );
}

#[test]
fn a_reference_to_a_record_that_gave_way_finds_nothing() {
    let mut dedup = table(DedupLimits {
        records: 1,
        records_per_address: 1,
        ..DedupLimits::default()
    });
    let Some(Seen::New(old)) = dedup.check(Instant::ZERO, peer(1, 7), MessageId(1), 1, LIFE) else {
        panic!("not new")
    };
    assert!(is_new(&mut dedup, Instant::ZERO, peer(1, 7), 2, 1));
    dedup.store_reply(old, b"late");
    assert!(!dedup.reply(old, &mut Vec::new()));
    let young = dedup
        .lookup(Instant::ZERO, peer(1, 7), MessageId(2), 1)
        .unwrap();
    assert!(
        !dedup.reply(young, &mut Vec::new()),
        "a late reply lands nowhere else"
    );
}

#[test]
fn a_reference_into_a_ring_that_changed_hands_finds_nothing_of_the_new_owner() {
    let mut dedup = table(DedupLimits {
        addresses: 1,
        ..DedupLimits::default()
    });
    let Some(Seen::New(old)) = dedup.check(Instant::ZERO, peer(1, 7), MessageId(1), 1, LIFE) else {
        panic!("not new")
    };
    // The same Message ID in the same place of the same ring, of another address.
    assert!(is_new(&mut dedup, Instant::ZERO, peer(2, 7), 1, 1));
    dedup.store_reply(old, b"for another");
    let young = dedup
        .lookup(Instant::ZERO, peer(2, 7), MessageId(1), 1)
        .unwrap();
    assert!(!dedup.reply(young, &mut Vec::new()));
    assert!(!dedup.reply(old, &mut Vec::new()));
}

/// Every ring that holds records stands among the occupied ones exactly once, and no other does.
fn check_occupied(dedup: &Dedup) {
    let holding = dedup.rings.iter().filter(|r| !r.records.is_empty()).count();
    assert_eq!(dedup.occupied.len(), holding);
    for (standing, ring) in dedup.occupied.iter().enumerate() {
        let ring = &dedup.rings[*ring as usize];
        assert_eq!(ring.standing as usize, standing);
        assert!(!ring.records.is_empty());
    }
    let held: usize = dedup.rings.iter().map(|r| r.records.len()).sum();
    assert_eq!(dedup.len(), held);
}

#[test]
fn the_search_for_what_gives_way_looks_at_no_empty_ring() {
    let mut dedup = table(DedupLimits {
        records: 1_000,
        records_per_address: 990,
        addresses: 1_000,
        reply_bytes: 0,
    });
    let mut now = Instant::ZERO;
    for round in 0..3_000u32 {
        // A thousand addresses, then few, then a thousand again: rings fill, give way, expire and change hands.
        let host = match round / 500 {
            1 | 4 => round % 3,
            _ => round,
        };
        let address = SocketAddr::from((host.to_be_bytes(), 5683));
        assert!(is_new(&mut dedup, now, address, round as u16, 1));
        check_occupied(&dedup);
        assert_eq!(
            dedup.candidates().count(),
            CANDIDATES.min(dedup.occupied.len())
        );
        assert!(dedup.candidates().all(|ring| dedup.ring_len(ring) > 0));
        now = now + Duration::from_millis(200);
    }
    assert!(dedup.rings.len() > 500 && dedup.evicted() > 0);
}

#[test]
fn the_fullest_ring_is_found_wherever_it_stands() {
    for hosts in [8u8, 9, 16, 17, 18, 27] {
        for fullest in 1..=hosts {
            let mut dedup = table(DedupLimits {
                records: usize::from(hosts) - 1 + 50,
                records_per_address: 60,
                ..DedupLimits::default()
            });
            for host in 1..=hosts {
                for mid in 0..if host == fullest { 50 } else { 1 } {
                    assert!(is_new(&mut dedup, Instant::ZERO, peer(host, 7), mid, 1));
                }
            }
            // Searches go round: after so many each ring has been a candidate. One more, because the first may empty
            // a ring, and another takes its place.
            let searches = usize::from(hosts).div_ceil(CANDIDATES) + 1;
            for n in 0..searches as u16 {
                is_new(&mut dedup, Instant::ZERO, peer(1, 7), 1_000 + n, 1);
            }
            let ring = dedup.by_address[&peer(fullest, 7).ip()];
            let held = dedup.ring_len(ring as usize);
            let own = if fullest == 1 { 50 } else { 49 };
            assert!(held <= own, "{hosts} hosts, {fullest} has {held}");
        }
    }
}

#[test]
fn the_stated_memory_adds_up_what_each_limit_allows() {
    let total = |records, addresses, reply_bytes| {
        DedupLimits {
            records,
            records_per_address: 1,
            addresses,
            reply_bytes,
        }
        .memory_total()
    };
    let a_record = 4 * size_of::<Record>() + 2 * size_of::<Place>();
    let an_address = 2 * (size_of::<Ring>() + size_of::<(IpAddr, u32)>() + 24);
    assert_eq!(total(0, 0, 0), 0);
    assert_eq!(total(3, 0, 0), 3 * a_record);
    assert_eq!(total(0, 5, 0), 5 * an_address);
    assert_eq!(total(3, 5, 7), 3 * a_record + 5 * an_address + 7);
}

#[test]
fn a_reply_may_fill_the_ring_to_the_last_byte() {
    let mut dedup = table(DedupLimits {
        reply_bytes: 10,
        ..DedupLimits::default()
    });
    let mut record = |mid| match dedup.check(Instant::ZERO, peer(1, 7), MessageId(mid), 1, LIFE) {
        Some(Seen::New(record)) => record,
        other => panic!("{other:?}"),
    };
    let [one, two, three] = [1, 2, 3].map(&mut record);
    let read = |dedup: &Dedup, record| {
        let mut out = Vec::new();
        dedup.reply(record, &mut out).then_some(out)
    };
    dedup.store_reply(one, b"0123456789");
    assert_eq!(read(&dedup, one).unwrap(), b"0123456789");
    dedup.store_reply(two, b"0123456789a");
    assert_eq!(read(&dedup, two), None, "one byte too long");
    assert_eq!(read(&dedup, one).unwrap(), b"0123456789");
    dedup.store_reply(three, b"x");
    assert_eq!(
        (read(&dedup, one), read(&dedup, three).unwrap()),
        (None, b"x".to_vec())
    );
    // Round the end of the ring.
    dedup.store_reply(two, b"abcdefghij");
    assert_eq!(read(&dedup, two).unwrap(), b"abcdefghij");
    assert_eq!(read(&dedup, three), None);
}

#[test]
fn of_two_that_hold_as_much_the_one_that_asks_gives_way() {
    for (asks, stays) in [(1, 2), (2, 1)] {
        let mut dedup = table(DedupLimits {
            records: 4,
            records_per_address: 4,
            ..DedupLimits::default()
        });
        for mid in 0..2 {
            for host in 1..=2 {
                assert!(is_new(&mut dedup, Instant::ZERO, peer(host, 7), mid, 1));
            }
        }
        assert!(is_new(&mut dedup, Instant::ZERO, peer(asks, 7), 2, 1));
        assert_eq!((dedup.len(), dedup.evicted()), (4, 1));
        let has = |host, mid| {
            let found = dedup.lookup(Instant::ZERO, peer(host, 7), MessageId(mid), 1);
            found.is_some()
        };
        assert!(has(stays, 0) && has(stays, 1));
        assert_eq!([0, 1, 2].map(|mid| has(asks, mid)), [false, true, true]);
    }
}

#[test]
fn a_ring_that_empties_gives_its_memory_back_when_a_quarter_is_left() {
    let mut dedup = table(DedupLimits {
        records: 2_000,
        records_per_address: 2_000,
        ..DedupLimits::default()
    });
    for mid in 0..1_500 {
        assert!(is_new(&mut dedup, Instant::ZERO, peer(1, 7), mid, 1));
    }
    let capacity = |dedup: &Dedup| dedup.rings[0].records.capacity();
    let mut shrunk = 0;
    for left in (0..1_500).rev() {
        let before = capacity(&dedup);
        assert!(dedup.remove_front(0));
        let expected = match left < before / 4 {
            true => left * 2,
            false => before,
        };
        assert_eq!(capacity(&dedup), expected, "{left} left");
        shrunk += usize::from(expected < before);
    }
    assert!((8..16).contains(&shrunk), "each time by half: {shrunk}");
    assert_eq!((dedup.len(), capacity(&dedup)), (0, 0));
    assert!(!dedup.remove_front(0), "nothing is left");
    check_occupied(&dedup);
}

#[test]
fn address_port_and_message_id_each_make_another_key() {
    let hash = Rng::from_seed([9; 32]).keyed_hash();
    let of = |address: &str, port, mid| key(&hash, address.parse().unwrap(), port, mid);
    for [one, other] in [
        ["10.0.0.1", "10.0.0.2"],
        ["10.0.0.1", "11.0.0.1"],
        ["2001:db8::1", "2001:db8::2"],
    ] {
        let mut keys = Vec::new();
        for address in [one, other] {
            for port in [0x1633, 0x1634, 0x9633] {
                for mid in [0x0007, 0x0008, 0x8007] {
                    keys.push(of(address, port, mid));
                    assert_eq!(keys.last(), Some(&of(address, port, mid)));
                }
            }
        }
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 18, "{one}");
    }
}
