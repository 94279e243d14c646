use core::time::Duration;

use super::*;

/// Three segments in a row, joined by two routers, with one host on each: 2001:db8:N::1, fe80::1 (N from 0).
fn row(routers: [Router; 2]) -> (Network, Vec<SegmentId>, Vec<RouterId>, Vec<HostId>) {
    let mut net = Network::new(1);
    let segments: Vec<_> = (0..3)
        .map(|_| net.add_segment(Segment::default()))
        .collect();
    let [first, second] = routers;
    let routers = vec![
        net.add_router(first, &segments[..2]),
        net.add_router(second, &segments[1..]),
    ];
    let hosts = (0..3)
        .map(|n| {
            let own = [
                ip(&format!("2001:db8:{n}::1")),
                ip("fe80::1"),
                ip(&format!("10.0.{n}.1")),
            ];
            add(&mut net, segments[n], &own)
        })
        .collect();
    (net, segments, routers, hosts)
}

/// A realm of two segments, behind its edge a third one in the same site.
fn realm_in_site() -> (Network, Vec<SegmentId>, Vec<RouterId>, Vec<HostId>) {
    row([
        Router::forwarding_from(Scope::REALM),
        Router::forwarding_from(Scope::ADMIN),
    ])
}

#[test]
fn groups_travel_as_far_as_their_scope() {
    let (mut net, _, _, hosts) = realm_in_site();
    for (group, reached) in [
        ("ff02::fd", [0, 0, 0]),
        ("ff03::fd", [0, 1, 0]),
        ("ff04::fd", [0, 1, 1]),
        ("ff05::fd", [0, 1, 1]),
        ("ff0e::fd", [0, 1, 1]),
        ("ff35:30:2001:db8::1", [0, 1, 1]),
        ("224.0.0.251", [0, 0, 0]),
        ("239.255.0.1", [0, 1, 0]),
        ("239.192.0.1", [0, 1, 1]),
        ("224.0.1.187", [0, 1, 1]),
    ] {
        for &host in &hosts[1..] {
            net.join(host, eth(), ip(group)).unwrap();
        }
        let dst = SocketAddr::new(ip(group), 5683).to_string();
        say(&mut net, hosts[0], &dst, b"x");
        assert_eq!(heard(&mut net, &hosts), reached, "{group}");
    }
}

#[test]
fn no_router_forwards_link_scope_whatever_it_is_told() {
    let open = Router::forwarding_from(Scope::INTERFACE);
    let (mut net, _, _, hosts) = row([open.clone(), open]);
    net.join(hosts[1], eth(), ip("ff02::fd")).unwrap();
    say(&mut net, hosts[0], "[ff02::fd]:5683", b"x");
    assert_eq!(heard(&mut net, &hosts), [0, 0, 0]);
}

#[test]
fn unicast_goes_over_the_routers_and_takes_their_time() {
    let slow = Router::forwarding_from(Scope::REALM).delay(Duration::from_millis(7));
    let (mut net, _, _, hosts) = row([slow.clone(), slow]);
    say(&mut net, hosts[0], "[2001:db8:2::1]:5683", b"x");
    settle(&mut net);
    let delivery = net.next_delivery(hosts[2]).unwrap();
    assert_eq!(delivery.at, Time::from_millis(3 + 2 * 7));
    assert_eq!(delivery.src, at("[2001:db8::1]:5683"));
    assert_eq!(delivery.hop_limit, DEFAULT_HOP_LIMIT - 2);
}

#[test]
fn multicast_takes_the_same_time_as_unicast() {
    let slow = Router::forwarding_from(Scope::REALM).delay(Duration::from_millis(7));
    let (mut net, _, _, hosts) = row([slow.clone(), slow]);
    for &host in &hosts[1..] {
        net.join(host, eth(), ip("ff05::fd")).unwrap();
    }
    say(&mut net, hosts[0], "[ff05::fd]:5683", b"x");
    settle(&mut net);
    let near = net.next_delivery(hosts[1]).unwrap();
    let far = net.next_delivery(hosts[2]).unwrap();
    assert_eq!((near.at, near.hop_limit), (Time::from_millis(9), 63));
    assert_eq!((far.at, far.hop_limit), (Time::from_millis(17), 62));
}

#[test]
fn link_local_addresses_stay_on_their_segment() {
    let (mut net, segments, _, hosts) = realm_in_site();
    let neighbour = add(&mut net, segments[0], &[ip("fe80::9")]);
    say(&mut net, hosts[0], "[fe80::9]:5683", b"x");
    assert_eq!(heard(&mut net, &[neighbour]), [1]);
    say(&mut net, hosts[1], "[fe80::9]:5683", b"x");
    assert_eq!(heard(&mut net, &[neighbour]), [0]);
    assert_eq!(causes(&net), [DropCause::NoSuchAddress]);
    // fe80::1 is on all three segments: each sender's own.
    say(&mut net, neighbour, "[fe80::1]:5683", b"x");
    assert_eq!(heard(&mut net, &hosts), [1, 0, 0]);
}

#[test]
fn each_router_takes_one_hop() {
    let (mut net, _, _, hosts) = realm_in_site();
    for &host in &hosts[1..] {
        net.join(host, eth(), ip("ff05::fd")).unwrap();
    }
    for (hop_limit, reached) in [(1, [0, 0, 0]), (2, [0, 1, 0]), (3, [0, 1, 1])] {
        let out = Outgoing::from_port(5683, at("[ff05::fd]:5683"), b"x").hop_limit(hop_limit);
        net.send(hosts[0], out).unwrap();
        assert_eq!(heard(&mut net, &hosts), reached, "{hop_limit}");
        let out = Outgoing::from_port(5683, at("[2001:db8:2::1]:5683"), b"x").hop_limit(hop_limit);
        net.send(hosts[0], out).unwrap();
        assert_eq!(heard(&mut net, &hosts), [0, 0, reached[2]], "{hop_limit}");
    }
    assert_eq!(causes(&net), [DropCause::HopLimit; 2]);
}

#[test]
fn a_router_can_be_off_or_for_unicast_only() {
    let (mut net, _, routers, hosts) = row([
        Router::forwarding_from(Scope::REALM),
        Router::unicast_only(),
    ]);
    for &host in &hosts[1..] {
        net.join(host, eth(), ip("ff0e::fd")).unwrap();
    }
    say(&mut net, hosts[0], "[ff0e::fd]:5683", b"x");
    assert_eq!(heard(&mut net, &hosts), [0, 1, 0]);
    say(&mut net, hosts[0], "10.0.2.1:5683", b"x");
    assert_eq!(heard(&mut net, &hosts), [0, 0, 1]);
    net.set_router_up(routers[0], false);
    say(&mut net, hosts[0], "[ff0e::fd]:5683", b"x");
    say(&mut net, hosts[0], "10.0.2.1:5683", b"x");
    assert_eq!(heard(&mut net, &hosts), [0, 0, 0]);
    assert_eq!(causes(&net), [DropCause::NoSuchAddress]);
    net.set_router_up(routers[0], true);
    say(&mut net, hosts[0], "10.0.2.1:5683", b"x");
    assert_eq!(heard(&mut net, &hosts), [0, 0, 1]);
}

#[test]
fn the_way_leads_around_a_segment_that_is_down_and_reaches_everyone_once() {
    let mut net = Network::new(1);
    let segments: Vec<_> = (0..4)
        .map(|_| net.add_segment(Segment::default()))
        .collect();
    // A ring of four segments.
    for n in 0..4 {
        let router = Router::forwarding_from(Scope::REALM);
        net.add_router(router, &[segments[n], segments[(n + 1) % 4]]);
    }
    let hosts: Vec<_> = (0..4)
        .map(|n| add(&mut net, segments[n], &[ip(&format!("10.0.{n}.1"))]))
        .collect();
    for &host in &hosts {
        net.join(host, eth(), ip("224.0.1.187")).unwrap();
    }
    say(&mut net, hosts[0], "224.0.1.187:5683", b"x");
    assert_eq!(heard(&mut net, &hosts), [1, 1, 1, 1]);
    net.set_segment_up(segments[1], false);
    let before = net.now();
    say(&mut net, hosts[0], "10.0.2.1:5683", b"x");
    settle(&mut net);
    assert_eq!(
        net.next_delivery(hosts[2]).unwrap().at,
        before + Duration::from_millis(3)
    );
    say(&mut net, hosts[0], "224.0.1.187:5683", b"x");
    assert_eq!(heard(&mut net, &hosts), [1, 0, 1, 1]);
}

#[test]
fn what_a_router_misses_everybody_behind_it_misses() {
    let (mut net, segments, _, hosts) = realm_in_site();
    let twin = add(&mut net, segments[1], &[ip("10.0.1.2")]);
    let members = [hosts[1], twin];
    for member in members {
        net.join(member, eth(), ip("224.0.1.187")).unwrap();
    }
    net.set_segment(segments[0], Segment::new(Impairment::none().loss(0.5)));
    let mut both = 0;
    for _ in 0..400 {
        say(&mut net, hosts[0], "224.0.1.187:5683", b"x");
        match heard(&mut net, &members)[..] {
            [1, 1] => both += 1,
            [0, 0] => {}
            _ => panic!("one of two behind the same router"),
        }
    }
    assert!((150..=250).contains(&both), "{both}");
    net.set_segment(segments[0], Segment::new(Impairment::none().loss(1.0)));
    say(&mut net, hosts[0], "10.0.1.2:5683", b"x");
    assert_eq!(heard(&mut net, &members), [0, 0]);
    assert_eq!(causes(&net).last(), Some(&DropCause::SegmentLoss));
}

#[test]
fn a_host_with_a_foot_on_each_side_of_a_router_hears_once_per_interface() {
    let (mut net, segments, _, _) = realm_in_site();
    let two = add(&mut net, segments[0], &[ip("2001:db8::22")]);
    let second = net.attach(two, segments[1], &[ip("2001:db8:1::22")]);
    net.join(two, eth(), ip("ff05::fd")).unwrap();
    net.join(two, second, ip("ff05::fd")).unwrap();
    let out = Outgoing::from_port(5683, at("[ff05::fd]:5683"), b"x").over(second);
    net.send(two, out).unwrap();
    settle(&mut net);
    let mut arrived: Vec<_> = net
        .deliveries(two)
        .map(|d| (d.interface, d.at, d.src))
        .collect();
    arrived.sort();
    let src = at("[2001:db8:1::22]:5683");
    assert_eq!(
        arrived,
        [
            (eth(), Time::from_millis(2), src),
            (second, Time::ZERO, src)
        ]
    );
}
