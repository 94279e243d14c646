use core::net::Ipv6Addr;

use super::*;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn at(n: u64) -> Instant {
    Instant::ZERO + secs(n)
}

fn key(n: u8) -> GroupKey {
    GroupKey::new(SocketAddr::from(([239, 0, 0, n], 5683)), 4)
}

fn pacing(limit: usize) -> Pacing {
    Pacing::new(
        GroupPacing { nstart: 1, rate: 1 },
        limit,
        &mut Rng::from_seed([1; 32]),
    )
}

fn pace(nstart: usize, rate: u32) -> Option<GroupPacing> {
    Some(GroupPacing::new(nstart, rate).unwrap())
}

#[test]
fn limits_are_checked_and_defaults_are_those_of_the_parameters() {
    assert_eq!(GroupPacing::new(0, 1).unwrap_err().parameter, "NSTART");
    assert_eq!(
        GroupPacing::new(1, 0).unwrap_err().parameter,
        "PROBING_RATE"
    );
    let default = GroupPacing::from(&Transmission::default());
    assert_eq!((default.nstart(), default.rate()), (1, 1));
    assert_eq!(
        (GroupPacing::LIGHTS.nstart(), GroupPacing::LIGHTS.rate()),
        (1, 640)
    );
}

#[test]
fn keys_are_compared_in_one_form() {
    let scoped: SocketAddr = "[ff02::fd%7]:5683".parse().unwrap();
    let plain: SocketAddr = "[ff02::fd]:5683".parse().unwrap();
    assert_eq!(GroupKey::new(scoped, 0), GroupKey::new(plain, 7));
    assert_eq!(GroupKey::new(scoped, 3), GroupKey::new(plain, 3));
    let mapped = SocketAddr::new(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0xef00, 5).into(), 5683);
    assert_eq!(GroupKey::new(mapped, 4), key(5));
}

#[test]
fn a_debt_is_paid_off_to_the_microsecond() {
    let mut pacing = pacing(9);
    pacing.set(at(0), key(1).group, None, pace(1, 7)).unwrap();
    pacing.sent(at(0), key(1), 10, Wanted::Silence);
    // 10 bytes at 7 per second: 1.428571 s and a bit.
    let wait = |pacing: &Pacing, micros| {
        pacing.wait(Instant::from_micros(micros), &key(1), Wanted::Silence)
    };
    assert_eq!(wait(&pacing, 0), Duration::from_micros(1_428_572));
    assert_eq!(wait(&pacing, 1_428_571), Duration::from_micros(1));
    assert_eq!(wait(&pacing, 1_428_572), Duration::ZERO);
    pacing.sent(Instant::from_micros(1_000_000), key(1), 1, Wanted::Silence);
    assert_eq!(wait(&pacing, 1_000_000), Duration::from_micros(571_429));
    // Time that has passed without debt is no credit.
    pacing.sent(at(100), key(1), 7, Wanted::Silence);
    assert_eq!(wait(&pacing, 100_000_000), secs(1));
}

#[test]
fn the_probing_debt_counts_only_while_the_group_is_silent() {
    let mut pacing = pacing(9);
    pacing.sent(at(0), key(1), 30, Wanted::Answers);
    let wait = |pacing: &Pacing, now, wanted| pacing.wait(at(now), &key(1), wanted);
    assert_eq!(wait(&pacing, 0, Wanted::Answers), Duration::ZERO);
    pacing.went_silent(&key(1));
    assert_eq!(wait(&pacing, 1, Wanted::Answers), secs(29));
    assert_eq!(wait(&pacing, 1, Wanted::Silence), secs(29));
    assert!(pacing.responded(&key(1)));
    assert_eq!(wait(&pacing, 1, Wanted::Answers), Duration::ZERO);
    assert!(!pacing.responded(&key(1)));
    pacing.went_silent(&key(1));
    assert_eq!(
        wait(&pacing, 1, Wanted::Answers),
        Duration::ZERO,
        "paid by the answer"
    );
    // What wants no answer adds to both debts; an answer pays only one of them.
    pacing.sent(at(2), key(1), 10, Wanted::Silence);
    assert_eq!(wait(&pacing, 2, Wanted::Answers), secs(10));
    pacing.responded(&key(1));
    assert_eq!(wait(&pacing, 2, Wanted::Answers), Duration::ZERO);
    assert_eq!(wait(&pacing, 2, Wanted::Silence), secs(10));
    assert!(!pacing.responded(&key(7)), "never heard of");
    pacing.went_silent(&key(7));
    assert_eq!(pacing.wait(at(0), &key(7), Wanted::Answers), Duration::ZERO);
}

#[test]
fn what_did_not_leave_is_not_owed() {
    let mut pacing = pacing(9);
    pacing.sent(at(0), key(1), 30, Wanted::Silence);
    pacing.sent(at(0), key(1), 20, Wanted::Silence);
    pacing.went_silent(&key(1));
    pacing.not_sent(&key(1), 30, Wanted::Silence);
    assert_eq!(pacing.wait(at(0), &key(1), Wanted::Silence), secs(20));
    assert_eq!(pacing.wait(at(0), &key(1), Wanted::Answers), secs(20));
    pacing.not_sent(&key(1), 5, Wanted::Answers);
    assert_eq!(pacing.wait(at(0), &key(1), Wanted::Answers), secs(15));
    assert_eq!(pacing.wait(at(0), &key(1), Wanted::Silence), secs(20));
    pacing.not_sent(&key(3), 5, Wanted::Silence);
}

#[test]
fn a_new_rate_pays_only_what_is_still_owed() {
    let mut pacing = pacing(9);
    pacing.sent(at(0), key(1), 30, Wanted::Silence);
    pacing.sent(at(0), key(2), 30, Wanted::Silence);
    pacing.set(at(10), key(1).group, None, pace(1, 10)).unwrap();
    assert_eq!(pacing.wait(at(10), &key(1), Wanted::Silence), secs(2));
    assert_eq!(pacing.wait(at(10), &key(2), Wanted::Silence), secs(20));
    pacing.set_default(at(20), GroupPacing { nstart: 1, rate: 5 });
    assert_eq!(pacing.wait(at(20), &key(2), Wanted::Silence), secs(2));
    pacing.set(at(11), key(1).group, None, None).unwrap();
    assert_eq!(
        pacing.wait(at(11), &key(1), Wanted::Silence),
        Duration::ZERO
    );
}

#[test]
fn the_pace_of_one_interface_goes_before_that_of_all() {
    let mut pacing = pacing(9);
    let group = key(1).group;
    pacing.set(at(0), group, None, pace(2, 20)).unwrap();
    pacing.set(at(0), group, Some(4), pace(3, 30)).unwrap();
    assert_eq!(pacing.of(&key(1)).rate(), 30);
    assert_eq!(pacing.of(&GroupKey::new(group, 5)).rate(), 20);
    assert_eq!(pacing.of(&key(2)).rate(), 1);
    pacing.set(at(0), group, Some(4), None).unwrap();
    assert_eq!(pacing.of(&key(1)).rate(), 20);
    // A debt of an interface with its own pace is settled at that pace.
    pacing.set(at(0), group, Some(4), pace(3, 30)).unwrap();
    pacing.sent(at(0), key(1), 60, Wanted::Silence);
    pacing.set_default(at(1), GroupPacing { nstart: 1, rate: 9 });
    pacing.set(at(1), group, Some(4), pace(1, 1)).unwrap();
    assert_eq!(pacing.wait(at(1), &key(1), Wanted::Silence), secs(30));
}

#[test]
fn slots_are_counted() {
    let mut pacing = pacing(9);
    assert!(pacing.has_slot(&key(1)));
    pacing.take_slot(key(1));
    assert!(!pacing.has_slot(&key(1)));
    assert!(pacing.has_slot(&key(2)));
    pacing.set(at(0), key(1).group, None, pace(2, 1)).unwrap();
    assert!(pacing.has_slot(&key(1)));
    pacing.take_slot(key(1));
    assert_eq!(pacing.outstanding(&key(1)), 2);
    assert!(!pacing.has_slot(&key(1)));
    pacing.free_slot(&key(1));
    assert!(pacing.has_slot(&key(1)));
    pacing.free_slot(&key(1));
    pacing.free_slot(&key(1));
    pacing.free_slot(&key(9));
    assert_eq!(pacing.outstanding(&key(1)), 0);
}

#[test]
fn both_tables_are_bounded() {
    let mut pacing = pacing(2);
    pacing.remember(at(0), key(1)).unwrap();
    pacing.take_slot(key(1));
    pacing.remember(at(0), key(2)).unwrap();
    pacing.sent(at(0), key(2), 10, Wanted::Answers);
    assert_eq!(pacing.remember(at(0), key(3)), Err(Full));
    assert_eq!(pacing.remember(at(0), key(2)), Ok(()));
    assert_eq!(pacing.remember(at(9), key(3)), Err(Full));
    assert_eq!(pacing.remember(at(10), key(3)), Ok(()));
    assert_eq!(pacing.outstanding(&key(1)), 1, "not forgotten");
    pacing.sent(at(10), key(3), 10, Wanted::Silence);
    pacing.responded(&key(3));
    assert_eq!(pacing.remember(at(19), key(4)), Err(Full), "still owed");
    assert_eq!(pacing.remember(at(20), key(4)), Ok(()));

    pacing.set(at(0), key(1).group, None, pace(1, 5)).unwrap();
    pacing
        .set(at(0), key(1).group, Some(1), pace(1, 5))
        .unwrap();
    assert_eq!(pacing.set(at(0), key(2).group, None, pace(1, 5)), Err(Full));
    assert_eq!(pacing.set(at(0), key(1).group, None, pace(1, 6)), Ok(()));
    assert_eq!(pacing.set(at(0), key(2).group, None, None), Ok(()));
    assert_eq!(pacing.of(&key(1)).rate(), 6);
}
