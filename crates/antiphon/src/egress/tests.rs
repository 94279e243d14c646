use super::*;

fn interface(index: u32, name: &str, addresses: &[&str]) -> Interface {
    Interface {
        index,
        name: name.to_owned(),
        up: true,
        multicast: true,
        loopback: false,
        mtu: Some(1_500),
        addresses: addresses.iter().map(|one| one.parse().unwrap()).collect(),
    }
}

fn loopback() -> Interface {
    Interface {
        multicast: false,
        loopback: true,
        ..interface(1, "lo", &["127.0.0.1", "::1"])
    }
}

fn two() -> Vec<Interface> {
    vec![
        loopback(),
        interface(2, "eth0", &["10.0.0.2", "fe80::2"]),
        interface(3, "wlan0", &["10.1.0.2", "fe80::3"]),
    ]
}

fn group(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn by_route(source: &str) -> impl Fn(SocketAddr) -> Option<IpAddr> {
    let source: IpAddr = source.parse().unwrap();
    move |_| Some(source)
}

fn no_route(_: SocketAddr) -> Option<IpAddr> {
    None
}

const SITE: &str = "[ff05::fd]:5683";
const LINK: &str = "[ff02::fd]:5683";
const V4: &str = "239.1.2.3:5683";
const V4_LINK: &str = "224.0.0.7:5683";

#[test]
fn the_address_that_the_client_is_bound_to_decides() {
    let bound = Some("10.1.0.2".parse().unwrap());
    assert_eq!(choose(&two(), group(V4), bound, no_route).unwrap(), 3);
    let bound = Some("127.9.9.9".parse().unwrap());
    assert_eq!(choose(&two(), group(V4), bound, no_route).unwrap(), 1);
    let bound = Some("0.0.0.0".parse().unwrap());
    assert_eq!(
        choose(&two(), group(V4), bound, by_route("10.1.0.2")).unwrap(),
        3
    );
}

#[test]
fn interface_local_groups_stay_on_the_loopback_interface() {
    let chosen = choose(&two(), group("[ff01::fd]:5683"), None, by_route("fe80::2"));
    assert_eq!(chosen.unwrap(), 1);
}

#[test]
fn the_only_interface_of_the_family_is_taken_and_loopback_when_there_is_none() {
    let mut all = two();
    all[2].addresses.retain(IpAddr::is_ipv4);
    assert_eq!(choose(&all, group(LINK), None, no_route).unwrap(), 2);
    all[1].up = false;
    assert_eq!(choose(&all, group(V4_LINK), None, no_route).unwrap(), 3);
    all[2].multicast = false;
    assert_eq!(choose(&all, group(V4), None, no_route).unwrap(), 1);
    all[0].up = false;
    let error = choose(&all, group(V4), None, no_route).unwrap_err();
    assert!(matches!(error, InterfaceError::None(address) if address == group(V4).ip()));
}

#[test]
fn of_several_interfaces_the_route_decides_but_never_for_a_link_local_group() {
    for wide in [SITE, V4] {
        let chosen = choose(&two(), group(wide), None, by_route("10.1.0.2"));
        assert_eq!(chosen.unwrap(), 3);
        assert_eq!(choose(&two(), group(wide), None, no_route).unwrap(), 2);
        // A route over an interface that carries no multicast is none.
        let chosen = choose(&two(), group(wide), None, by_route("127.0.0.1"));
        assert_eq!(chosen.unwrap(), 2);
    }
    for link in [LINK, V4_LINK] {
        let error = choose(&two(), group(link), None, by_route("10.1.0.2")).unwrap_err();
        assert!(error.to_string().contains("eth0, wlan0"), "{error}");
    }
}

#[test]
fn the_zone_comes_first_and_must_not_contradict() {
    let zoned = group("[ff02::fd%7]:5683");
    let named = |named| Wishes { named, bound: None };
    assert_eq!(for_request(zoned, named(&[])).unwrap(), [7]);
    assert_eq!(for_request(zoned, named(&[6, 7])).unwrap(), [7]);
    let error = for_request(zoned, named(&[6])).unwrap_err();
    assert!(matches!(error, InterfaceError::Contradiction { zone: 7 }));
    assert_eq!(for_request(group(LINK), named(&[6, 7])).unwrap(), [6, 7]);
    assert_eq!(for_membership(zoned, &[]).unwrap(), [7]);
}

#[test]
fn a_server_joins_where_its_addresses_are() {
    let bound =
        |list: &[&str]| -> Vec<IpAddr> { list.iter().map(|one| one.parse().unwrap()).collect() };
    let all = two();
    assert_eq!(
        memberships(&all, group(V4), &bound(&["127.0.0.9", "127.0.0.8"])),
        [1]
    );
    assert_eq!(
        memberships(&all, group(V4), &bound(&["10.1.0.2", "10.0.0.2", "::1"])),
        [2, 3]
    );
    assert_eq!(memberships(&all, group(V4), &bound(&["0.0.0.0"])), [2, 3]);
    assert_eq!(
        memberships(&all, group(SITE), &bound(&["10.0.0.2"])),
        [2, 3]
    );
    assert_eq!(memberships(&all, group(V4), &bound(&["192.0.2.1"])), []);
}

#[test]
fn an_interface_that_does_not_exist_is_refused_by_name() {
    let error = named("none0").unwrap_err();
    assert!(matches!(error, InterfaceError::Unknown(_)));
    assert!(error.to_string().contains("none0"));
    assert_eq!(named("127.0.0.1").unwrap(), named("lo").unwrap());
}
