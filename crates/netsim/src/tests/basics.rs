use core::time::Duration;

use super::*;

#[test]
fn time_is_arithmetic_that_saturates() {
    let second = Duration::from_secs(1);
    assert_eq!(Time::from_secs(2).as_micros(), 2_000_000);
    assert_eq!(Time::from_millis(2).as_micros(), 2_000);
    assert_eq!(Time::from_secs(2) + second, Time::from_secs(3));
    assert_eq!(Time::from_secs(2) - second, Time::from_secs(1));
    assert_eq!(Time::from_secs(3) - Time::from_secs(2), second);
    assert_eq!(Time::from_secs(2).since(Time::from_secs(3)), Duration::ZERO);
    assert_eq!(Time::from_millis(500) - second, Time::ZERO);
    assert_eq!(Time::MAX + second, Time::MAX);
    assert_eq!(Time::ZERO + Duration::MAX, Time::MAX);
    assert_eq!(Time::from_secs(1).since_start(), second);
    let mut time = Time::ZERO;
    time += Duration::from_nanos(1_999);
    assert_eq!(time, Time::from_micros(1));
    assert_eq!(Time::from_micros(12_000_034).to_string(), "12.000034");
    assert_eq!(format!("{:?}", Time::from_millis(1)), "0.001000s");
}

#[test]
fn the_generator_is_xoshiro256plusplus_over_splitmix64() {
    // Computed apart from this code from the published definitions of both generators.
    let mut rng = Rng::new(0);
    let first: [u64; 3] = core::array::from_fn(|_| rng.next_u64());
    assert_eq!(
        first,
        [
            0x5317_5d61_490b_23df,
            0x61da_6f3d_c380_d507,
            0x5c0f_df91_ec9a_7bfc
        ]
    );
    let mut rng = Rng::new(12_345);
    let first: [u64; 3] = core::array::from_fn(|_| rng.next_u64());
    assert_eq!(
        first,
        [
            0x8d94_8a82_def8_a568,
            0x3477_f953_7967_02a0,
            0x15ca_a2fc_e6db_8d69
        ]
    );
}

#[test]
fn the_generator_serves_bytes_ranges_chances_and_orders() {
    let mut rng = Rng::new(1);
    let mut twin = rng.clone();
    let word = twin.next_u64();
    assert_eq!(u64::from(rng.clone().next_u32()), word >> 32);
    let mut bytes = [0; 11];
    rng.fill(&mut bytes);
    assert_eq!(bytes[..8], word.to_le_bytes());
    assert_eq!(bytes[8..], twin.next_u64().to_le_bytes()[..3]);

    let mut seen = [0u32; 5];
    for _ in 0..5_000 {
        seen[rng.between(10, 14) as usize - 10] += 1;
    }
    assert!(seen.iter().all(|n| (850..=1_150).contains(n)), "{seen:?}");
    assert_eq!(rng.below(0), 0);
    assert_eq!(rng.below(1), 0);
    assert_eq!(rng.between(3, 3), 3);
    rng.between(0, u64::MAX);
    assert!((0..1_000).all(|_| !rng.chance(0.0)));
    assert!((0..1_000).all(|_| rng.chance(1.0)));
    let often = (0..10_000).filter(|_| rng.chance(0.9)).count();
    assert!((8_850..=9_150).contains(&often), "{often}");

    let mut firsts = [0u32; 4];
    for _ in 0..4_000 {
        let mut items = [0, 1, 2, 3];
        rng.shuffle(&mut items);
        firsts[items[0]] += 1;
        items.sort_unstable();
        assert_eq!(items, [0, 1, 2, 3]);
    }
    assert!(
        firsts.iter().all(|n| (860..=1_140).contains(n)),
        "{firsts:?}"
    );
    assert_ne!(Rng::stream(1, 0), Rng::stream(1, 1));
    assert_ne!(Rng::stream(1, 0), Rng::stream(2, 0));
}

#[test]
fn scopes_of_groups() {
    for (group, scope) in [
        ("ff01::fd", Some(Scope::INTERFACE)),
        ("ff02::fd", Some(Scope::LINK)),
        ("ff03::fd", Some(Scope::REALM)),
        ("ff04::fd", Some(Scope::ADMIN)),
        ("ff05::fd", Some(Scope::SITE)),
        ("ff18::1", Some(Scope::ORGANIZATION)),
        ("ff3e::1", Some(Scope::GLOBAL)),
        ("fe80::1", None),
        ("224.0.0.1", Some(Scope::LINK)),
        ("224.0.1.187", Some(Scope::GLOBAL)),
        ("239.255.1.1", Some(Scope::REALM)),
        ("239.192.1.1", Some(Scope::ORGANIZATION)),
        ("239.195.1.1", Some(Scope::ORGANIZATION)),
        ("239.196.1.1", Some(Scope::GLOBAL)),
        ("10.0.0.1", None),
    ] {
        assert_eq!(Scope::of(ip(group)), scope, "{group}");
    }
    for (address, near) in [
        ("fe80::1", true),
        ("febf::1", true),
        ("fec0::1", false),
        ("169.254.0.1", true),
        ("10.0.0.1", false),
    ] {
        assert_eq!(is_link_local(ip(address)), near, "{address}");
    }
}

#[test]
fn hosts_have_names_and_numbers() {
    let mut net = Network::new(9);
    let (a, b) = (net.add_host("kitchen"), net.add_host("hall"));
    assert_eq!(net.hosts().collect::<Vec<_>>(), [a, b]);
    assert_eq!((a.index(), b.index()), (0, 1));
    assert_eq!((net.name(a), net.name(b)), ("kitchen", "hall"));
    assert_eq!(b.to_string(), "host 1");
    assert_eq!(Interface::new(3).to_string(), "if3");
    assert_eq!(net.seed(), 9);
}

#[test]
fn errors_say_what_is_wrong() {
    let texts = [
        SendError::NoBufferSpace.to_string(),
        SocketError::TooManyMemberships.to_string(),
        DiskError::Full.to_string(),
    ];
    assert_eq!(
        texts,
        [
            "no buffer space",
            "too many memberships",
            "no space left on the disk"
        ]
    );
}
