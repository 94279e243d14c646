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
