use super::*;

// Covers: GC-3.8.1-06
#[test]
fn all_coap_nodes_has_one_address_per_scope() {
    let expected = [
        (1, "ff01::fd"),
        (2, "ff02::fd"),
        (3, "ff03::fd"),
        (4, "ff04::fd"),
        (5, "ff05::fd"),
        (8, "ff08::fd"),
        (14, "ff0e::fd"),
    ];
    for (value, address) in expected {
        let scope = Scope::from_value(value).unwrap();
        assert_eq!(
            all_coap_nodes_v6(scope),
            address.parse::<Ipv6Addr>().unwrap()
        );
        assert!(all_coap_nodes(IpAddr::V6(address.parse().unwrap())));
    }
    assert_eq!(
        ALL_COAP_NODES_V4,
        "224.0.1.187".parse::<Ipv4Addr>().unwrap()
    );
    assert!(all_coap_nodes("224.0.1.187".parse().unwrap()));
    assert!(!all_coap_nodes("224.0.1.188".parse().unwrap()));
    assert!(!all_coap_nodes("ff02::fe".parse().unwrap()));
    assert!(!all_coap_nodes("ff12::fd".parse().unwrap()));
    assert!(!all_coap_nodes("ff06::fd".parse().unwrap()));
}

// Covers: GC-3.8.3-03, GN-1.3-01
#[test]
fn the_newer_scopes_are_allowed() {
    assert_eq!(Scope::Realm as u8, 3); // GC-3.8.3-03: realm-local is 3
    assert_eq!(Scope::of("ff13::1".parse().unwrap()), Some(Scope::Realm));
    // GN-1.3-01: realm-local, admin-local and global
    assert_eq!(Scope::from_value(3), Some(Scope::Realm));
    assert_eq!(Scope::from_value(4), Some(Scope::Admin));
    assert_eq!(Scope::from_value(14), Some(Scope::Global));
    assert_eq!(Scope::from_value(6), None);
}

#[test]
fn scopes_have_numbers_and_names() {
    let expected = [
        (Scope::Interface, 1, "interface"),
        (Scope::Link, 2, "link"),
        (Scope::Realm, 3, "realm"),
        (Scope::Admin, 4, "admin"),
        (Scope::Site, 5, "site"),
        (Scope::Organisation, 8, "organisation"),
        (Scope::Global, 14, "global"),
    ];
    assert_eq!(Scope::ALL, expected.map(|(scope, _, _)| scope));
    for (scope, value, name) in expected {
        assert_eq!(scope as u8, value);
        assert_eq!(scope.name(), name);
        assert_eq!(
            alloc::format!("{scope:12}|").trim_end_matches([' ', '|']),
            name
        );
        assert_eq!(Scope::from_name(name), Some(scope));
        assert_eq!(Scope::from_name(&name.to_uppercase()), Some(scope));
        assert_eq!(
            Scope::from_name(&alloc::format!("{name}-Local")),
            Some(scope)
        );
    }
    for value in [0, 6, 7, 9, 10, 11, 12, 13, 15, 18] {
        assert_eq!(Scope::from_value(value), None);
    }
    for name in [
        "",
        "-local",
        "links",
        "link-",
        "local",
        "\u{e9}-local",
        "e\u{301}ocal",
    ] {
        assert_eq!(Scope::from_name(name), None, "{name}");
    }
}

#[test]
fn an_address_has_a_scope_if_it_is_multicast() {
    let of = |text: &str| Scope::of(text.parse().unwrap());
    assert_eq!(of("ff02::fd"), Some(Scope::Link));
    assert_eq!(of("ff35:30:2001:db8::1"), Some(Scope::Site));
    assert_eq!(of("ff0e::1"), Some(Scope::Global));
    assert_eq!(of("ff0f::1"), None);
    assert_eq!(of("fe02::1"), None);
    assert_eq!(of("2001:db8::2"), None);
}

#[test]
fn ports_are_the_registered_ones() {
    assert_eq!((DEFAULT_PORT, SECURE_PORT), (5683, 5684));
}
