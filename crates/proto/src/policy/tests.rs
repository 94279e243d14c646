use super::*;

use std::format;

use proptest::prelude::*;

const CLASSES: [Class; 3] = [Class::Success, Class::ClientError, Class::ServerError];

#[test]
fn sets_of_classes_are_the_bits_of_no_response() {
    assert_eq!(
        format!("{:?}", Classes::ALL),
        "{\"2.xx\", \"4.xx\", \"5.xx\"}"
    );
    assert_eq!(format!("{:?}", Classes::ERRORS), "{\"4.xx\", \"5.xx\"}");
    assert_eq!(format!("{:?}", Classes::NONE), "{}");
    assert_eq!(Classes::default(), Classes::NONE);
    for class in CLASSES {
        let only = Classes::NONE.with(class);
        for other in CLASSES {
            assert_eq!(only.contains(other), class == other);
            assert_eq!(Classes::ALL.without(class).contains(other), class != other);
        }
        assert!(Classes::ALL.contains(class));
    }
    assert_eq!(Classes::from(NoResponse::new(0xff)), Classes::ALL);
    assert_eq!(
        Classes::from(NoResponse::new(2)),
        Classes::NONE.with(Class::Success)
    );
    assert_eq!(
        Classes::from(NoResponse::new(8 | 1)),
        Classes::NONE.with(Class::ClientError)
    );
    assert_eq!(
        Classes::from(NoResponse::new(16)),
        Classes::NONE.with(Class::ServerError)
    );
}

// Covers: GN-3.6.1-01
#[test]
fn leisure_is_computed_from_size_number_and_rate() {
    let estimated = |response_size, group_size, rate| {
        Leisure::Estimated {
            response_size,
            group_size,
            rate,
        }
        .interval()
    };
    assert_eq!(estimated(100, 100, 1_000), Duration::from_secs(10));
    assert_eq!(estimated(100, 50, 1_000), Duration::from_secs(5));
    assert_eq!(estimated(200, 100, 1_000), Leisure::DEFAULT_GROUP_MODE);
    assert_eq!(estimated(130, 100, 1_000), Leisure::DEFAULT_PAIRWISE_MODE);
    assert_eq!(estimated(1, 1, 3), Duration::from_micros(333_333));
    assert_eq!(estimated(100, 0, 1_000), Duration::ZERO);
    assert_eq!(estimated(36, 1_000, 10), Leisure::LONGEST);
    assert_eq!(
        estimated(36, 1_000, 11),
        Duration::from_micros(3_272_727_272)
    );
    assert_eq!(estimated(u32::MAX, u32::MAX, 1), Leisure::LONGEST);
    assert_eq!(estimated(1, 1, 0), Leisure::LONGEST);
    assert_eq!(Leisure::Fixed(Duration::ZERO).interval(), Duration::ZERO);
    assert_eq!(Leisure::Fixed(Duration::MAX).interval(), Leisure::LONGEST);
    assert_eq!(Leisure::DEFAULT, Duration::from_secs(5));
    assert_eq!(Leisure::DEFAULT_GROUP_MODE, Duration::from_secs(20));
    assert_eq!(Leisure::DEFAULT_PAIRWISE_MODE, Duration::from_secs(13));
}

#[test]
fn answers_to_group_requests_are_opt_in() {
    let policy = GroupPolicy::default();
    assert!(!policy.is_supported());
    assert!(GroupPolicy::silent().is_supported());
    assert_eq!(GroupPolicy::silent().suppressed(), Classes::ALL);
    assert_eq!(GroupPolicy::respond().suppressed(), Classes::ERRORS);
    assert!(!GroupPolicy::respond().considers_no_response());
    assert!(
        GroupPolicy::respond()
            .consider_no_response()
            .considers_no_response()
    );
}

#[test]
fn access_decides_by_method() {
    let methods = [
        Code::GET,
        Code::POST,
        Code::PUT,
        Code::DELETE,
        Code::FETCH,
        Code::PATCH,
        Code::IPATCH,
    ];
    for method in methods {
        assert!(!Access::Verified.allows_unsecured(method));
        let reads = matches!(method, Code::GET | Code::FETCH);
        assert_eq!(Access::Public.allows_unsecured(method), reads, "{method}");
        assert!(Access::Unsecured.allows_unsecured(method));
    }
    assert_eq!(Access::default(), Access::Verified);
    let open = [
        (Access::Verified, false),
        (Access::only([]), false),
        (Access::Public, true),
        (Access::Unsecured, true),
    ];
    for (access, is) in open {
        assert_eq!(access.is_open(), is, "{access:?}");
    }
    assert_eq!(NoSecPolicy::default(), NoSecPolicy::DiscoveryOnly);
    for (stated, policy) in [
        (NoSec::Discovery, NoSecPolicy::DiscoveryOnly),
        (NoSec::Accepted, NoSecPolicy::Stated),
        (NoSec::Global, NoSecPolicy::Stated),
    ] {
        assert_eq!(NoSecPolicy::from(stated), policy);
    }
}

#[test]
fn prefixes_match_their_bits() {
    let prefix = |text: &str, length| Prefix::new(text.parse().unwrap(), length).unwrap();
    let contains = |prefix: Prefix, text: &str| prefix.contains(text.parse().unwrap());
    let eight = prefix("10.0.0.0", 8);
    assert!(contains(eight, "10.255.0.1"));
    assert!(contains(eight, "::ffff:10.1.1.1"));
    assert!(!contains(eight, "11.0.0.0"));
    assert!(!contains(eight, "::a00:1"));
    let odd = prefix("2001:db8::", 33);
    assert!(contains(odd, "2001:db8:7fff::1"));
    assert!(!contains(odd, "2001:db8:8000::1"));
    assert!(contains(prefix("::", 0), "ff02::1"));
    assert!(contains(prefix("0.0.0.0", 0), "255.1.1.1"));
    assert!(contains(prefix("1.2.3.4", 32), "1.2.3.4"));
    assert!(!contains(prefix("1.2.3.4", 32), "1.2.3.5"));
    assert!(contains(prefix("::1", 128), "::1"));
    assert_eq!(Prefix::new("1.2.3.4".parse().unwrap(), 33), None);
    assert_eq!(Prefix::new("::1".parse().unwrap(), 129), None);
}

#[test]
fn what_the_public_internet_routes_is_told_from_what_it_does_not() {
    let not = [
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.0",
        "100.127.255.255",
        "127.0.0.1",
        "169.254.1.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fdff::1",
        "ff02::1",
        "100::1",
        "2001:db8::1",
        "2001:db8:ffff::1",
        "3fff::1",
        "3fff:fff::1",
        "::ffff:10.0.0.1",
        "1fff::1",
        "4000::1",
    ];
    for text in not {
        assert!(!is_publicly_routed(text.parse().unwrap()), "{text}");
    }
    let routed = [
        "1.0.0.1",
        "8.8.8.8",
        "11.0.0.1",
        "100.63.255.255",
        "100.128.0.0",
        "172.32.0.1",
        "192.0.1.1",
        "192.1.0.1",
        "192.167.1.1",
        "198.17.255.255",
        "198.20.0.1",
        "223.255.255.255",
        "2000::1",
        "2001:db7::1",
        "2001:db9::1",
        "2002:db8::1",
        "2a00::1",
        "3ffe::1",
        "3fff:1000::1",
        "::ffff:8.8.8.8",
        "64:ff9b::1",
    ];
    for text in routed {
        assert!(is_publicly_routed(text.parse().unwrap()), "{text}");
    }
    assert!(!is_publicly_routed("64:ff9c::1".parse().unwrap()));
    assert!(!is_publicly_routed("65:ff9b::1".parse().unwrap()));
}

fn policies() -> impl Strategy<Value = GroupPolicy> {
    let flag = || prop::bool::ANY;
    (flag(), flag(), flag(), flag(), flag()).prop_map(|(success, client, server, empty, option)| {
        let mut policy = GroupPolicy::respond();
        for (suppress, class) in [success, client, server].into_iter().zip(CLASSES) {
            policy = match suppress {
                true => policy.suppress(class),
                false => policy.answer(class),
            };
        }
        if empty {
            policy = policy.answer_empty();
        }
        if option {
            policy = policy.consider_no_response();
        }
        policy
    })
}

fn codes() -> impl Strategy<Value = Code> {
    (prop::sample::select(&[2_u8, 4, 5][..]), 0..32_u8)
        .prop_map(|(class, detail)| Code::new(class, detail).unwrap())
}

proptest! {
    /// Suppression is the same for all codes of a class.
    #[test]
    fn suppression_is_consistent_by_class(
        policy in policies(),
        option in prop::option::of(0..=255_u8),
        proven in prop::bool::ANY,
        one in codes(),
        other in codes(),
    ) {
        prop_assume!(one.class() == other.class());
        let suppression = Suppression::group(&policy, option.map(NoResponse::new), proven);
        prop_assert_eq!(suppression.of(one, false), suppression.of(other, false));
    }

    /// A sender that has proven nothing never gets an answer that it would not get without the option.
    #[test]
    fn an_unproven_sender_only_widens(policy in policies(), bits in 0..=255_u8, code in codes(), empty in prop::bool::ANY) {
        let without = Suppression::group(&policy, None, false).of(code, empty);
        let with = Suppression::group(&policy, Some(NoResponse::new(bits)), false).of(code, empty);
        prop_assert!(without.is_none() || with.is_some());
        // "Because of the group" and "because the request says so" are joined by or.
        let by_request = policy.considers_no_response() && NoResponse::new(bits).suppresses_code(code);
        prop_assert_eq!(with.is_some(), without.is_some() || by_request);
    }

    /// A proven sender gets exactly what its option asks for, where it is considered.
    #[test]
    fn a_proven_sender_decides(policy in policies(), bits in 0..=255_u8, code in codes(), empty in prop::bool::ANY) {
        let policy = policy.consider_no_response();
        let option = NoResponse::new(bits);
        let found = Suppression::group(&policy, Some(option), true).of(code, empty);
        prop_assert_eq!(found.is_some(), option.suppresses_code(code));
    }
}
