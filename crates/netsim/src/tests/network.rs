use core::time::Duration;

use super::*;

#[test]
fn unicast_arrives_after_the_delay_of_the_segment_with_source_and_interface() {
    let (mut net, _, hosts) = lan(1, 2, Segment::default());
    say(&mut net, hosts[0], "10.0.0.2:5683", b"hi");
    assert_eq!(net.in_flight(), 1);
    assert_eq!(net.next_event_at(), Some(Time::from_micros(1_000)));
    net.advance_to(Time::from_micros(999));
    assert_eq!(net.deliveries(hosts[1]).len(), 0);
    net.advance_to(Time::from_micros(1_000));
    let delivery = net.next_delivery(hosts[1]).unwrap();
    assert_eq!(
        delivery,
        Delivery {
            at: Time::from_millis(1),
            interface: eth(),
            src: at("10.0.0.1:5683"),
            dst: at("10.0.0.2:5683"),
            hop_limit: DEFAULT_HOP_LIMIT,
            bytes: b"hi".as_slice().into(),
        }
    );
    assert_eq!(net.next_event_at(), None);
    assert_eq!(net.counters(hosts[0]).sent, 1);
    assert_eq!(net.counters(hosts[1]).received, 1);
}

#[test]
fn a_group_reaches_joined_interfaces_only() {
    let (mut net, _, hosts) = lan(1, 4, Segment::default());
    let group = ip("224.0.1.187");
    net.join(hosts[1], eth(), group).unwrap();
    net.join(hosts[2], eth(), group).unwrap();
    net.join(hosts[3], eth(), ip("224.0.1.188")).unwrap();
    say(&mut net, hosts[0], "224.0.1.187:5683", b"all");
    assert_eq!(heard(&mut net, &hosts), [0, 1, 1, 0]);
    net.leave(hosts[1], eth(), group).unwrap();
    assert!(!net.has_joined(hosts[1], eth(), group));
    assert!(net.has_joined(hosts[2], eth(), group));
    say(&mut net, hosts[0], "224.0.1.187:5683", b"all");
    assert_eq!(heard(&mut net, &hosts), [0, 0, 1, 0]);
}

#[test]
fn loss_is_what_arithmetic_says() {
    let (mut net, _, hosts) = lan(42, 2, Segment::new(Impairment::none().loss(0.2)));
    for _ in 0..10_000 {
        say(&mut net, hosts[0], "10.0.0.2:5683", b"x");
    }
    settle(&mut net);
    let arrived = net.deliveries(hosts[1]).len();
    // 8,000 expected, standard deviation 40: five of them.
    assert!((7_800..=8_200).contains(&arrived), "{arrived}");
    assert_eq!(net.counters(hosts[1]).lost, 10_000 - arrived as u64);
}

#[test]
fn equal_seeds_give_equal_runs_and_other_seeds_others() {
    let run = |seed| {
        let segment = Segment::new(
            Impairment::none()
                .loss(0.3)
                .delay(Duration::from_millis(1))
                .jitter(Duration::from_millis(9))
                .duplicate(0.2)
                .reorder(0.1, Duration::from_millis(20)),
        );
        let (mut net, _, hosts) = lan(seed, 5, segment);
        for &host in &hosts {
            net.join(host, eth(), ip("ff02::fd")).unwrap();
        }
        for round in 0..50u8 {
            say(
                &mut net,
                hosts[usize::from(round) % 5],
                "[ff02::fd]:5683",
                &[round],
            );
            net.advance_to(Time::from_millis(u64::from(round) * 3));
        }
        settle(&mut net);
        let entries: Vec<Entry> = net.trace().entries().cloned().collect();
        (net.trace().digest(), entries)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).0, run(8).0);
}

#[test]
fn more_traffic_at_one_host_does_not_change_the_luck_of_another() {
    let luck = |noise: usize| {
        let (mut net, _, hosts) = lan(5, 3, Segment::default());
        for &host in &hosts {
            net.set_ingress(host, Impairment::none().loss(0.5));
        }
        (0..64)
            .map(|_| {
                for _ in 0..noise {
                    say(&mut net, hosts[0], "10.0.0.3:5683", b"noise");
                }
                say(&mut net, hosts[0], "10.0.0.2:5683", b"x");
                heard(&mut net, &hosts[1..2])[0]
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(luck(0), luck(3));
    assert!(luck(0).contains(&0) && luck(0).contains(&1));
}

#[test]
fn a_member_hears_its_own_multicast_at_once_unless_told_otherwise() {
    let (mut net, _, hosts) = lan(1, 2, Segment::default());
    for &host in &hosts {
        net.join(host, eth(), ip("ff02::fd")).unwrap();
    }
    net.set_egress(hosts[0], Impairment::none().loss(1.0));
    say(&mut net, hosts[0], "[ff02::fd]:5683", b"me");
    assert_eq!(net.next_event_at(), Some(Time::ZERO));
    assert_eq!(heard(&mut net, &hosts), [1, 0]);
    net.set_egress(hosts[0], Impairment::none());
    say(&mut net, hosts[0], "[ff02::fd]:5683", b"me");
    assert_eq!(heard(&mut net, &hosts), [1, 1]);
    net.set_multicast_loop(hosts[0], false);
    say(&mut net, hosts[0], "[ff02::fd]:5683", b"me");
    assert_eq!(heard(&mut net, &hosts), [0, 1]);
}

#[test]
fn interface_scope_does_not_leave_the_host() {
    let (mut net, _, hosts) = lan(1, 2, Segment::default());
    for &host in &hosts {
        net.join(host, eth(), ip("ff01::fd")).unwrap();
    }
    say(&mut net, hosts[0], "[ff01::fd]:5683", b"me");
    assert_eq!(heard(&mut net, &hosts), [1, 0]);
}

#[test]
fn what_a_host_sends_to_itself_needs_no_segment() {
    let (mut net, lan, hosts) = lan(1, 1, Segment::new(Impairment::none().loss(1.0)));
    let other = net.attach(hosts[0], lan, &[ip("10.0.1.1")]);
    say(&mut net, hosts[0], "10.0.1.1:5683", b"me");
    net.advance_to(Time::ZERO);
    let delivery = net.next_delivery(hosts[0]).unwrap();
    assert_eq!(delivery.interface, other);
    assert_eq!(delivery.src, at("10.0.0.1:5683"));
}

#[test]
fn a_link_local_sender_is_seen_with_the_zone_of_the_receiving_interface() {
    let (mut net, lan, hosts) = lan(1, 1, Segment::default());
    let two = net.add_host("two interfaces");
    let other = net.add_segment(Segment::default());
    net.attach(two, other, &[ip("fe80::2")]);
    let second = net.attach(two, lan, &[ip("fe80::3"), ip("2001:db8::3")]);
    net.bind(two, 5683).unwrap();
    net.join(two, second, ip("ff02::fd")).unwrap();
    for dst in ["[ff02::fd]:5683", "[fe80::3]:5683"] {
        say(&mut net, hosts[0], dst, b"x");
        settle(&mut net);
        let delivery = net.next_delivery(two).unwrap();
        assert_eq!(delivery.src, at("[fe80::1%2]:5683"));
        assert_eq!(delivery.dst, at(dst));
        assert_eq!(delivery.interface.index(), 2);
        assert_eq!(delivery.arrival().src, delivery.src);
        // An answer to that address finds the way back by its zone.
        net.send(two, Outgoing::from_port(5683, delivery.src, b"y"))
            .unwrap();
        assert_eq!(heard(&mut net, &hosts), [1]);
    }
}

#[test]
fn a_wide_sender_is_seen_without_zone() {
    let (mut net, lan, _) = lan(1, 1, Segment::default());
    let a = add(&mut net, lan, &[ip("2001:db8::a")]);
    let b = add(&mut net, lan, &[ip("2001:db8::b")]);
    say(&mut net, a, "[2001:db8::b]:5683", b"x");
    settle(&mut net);
    assert_eq!(net.next_delivery(b).unwrap().src, at("[2001:db8::a]:5683"));
}

#[test]
fn an_open_source_takes_the_address_that_reaches_as_far_as_the_destination() {
    let mut net = Network::new(1);
    let lan = net.add_segment(Segment::default());
    let own = ["2001:db8::1", "fe80::1", "10.0.0.1"].map(ip);
    let host = add(&mut net, lan, &own);
    for (dst, src) in [
        ("[2001:db8::9]:1", "[2001:db8::1]:5683"),
        ("[fe80::9]:1", "[fe80::1]:5683"),
        ("[ff02::fd]:1", "[fe80::1]:5683"),
        ("[ff05::fd]:1", "[2001:db8::1]:5683"),
        ("10.0.0.9:1", "10.0.0.1:5683"),
        ("224.0.1.187:1", "10.0.0.1:5683"),
    ] {
        say(&mut net, host, dst, b"x");
        let sent = net.trace().entries().rfind(|e| e.what == What::Sent);
        assert_eq!(sent.unwrap().path, Some((at(src), at(dst))));
    }
    let only_near = add(&mut net, lan, &[ip("fe80::2")]);
    say(&mut net, only_near, "[ff05::fd]:1", b"x");
    let sent = net.trace().entries().rfind(|e| e.what == What::Sent);
    assert_eq!(sent.unwrap().path.unwrap().0, at("[fe80::2]:5683"));
}

#[test]
fn sends_that_a_socket_would_refuse_are_refused() {
    let (mut net, lan, hosts) = lan(1, 2, Segment::default());
    let host = hosts[0];
    let refused = |net: &mut Network, outgoing: Outgoing| net.send(host, outgoing).unwrap_err();
    let out = |src: &str, dst: &str| Outgoing::new(at(src), at(dst), b"x");
    for (outgoing, error) in [
        (
            out("10.0.0.9:5683", "10.0.0.2:1"),
            SendError::AddressNotAvailable,
        ),
        (
            out("224.0.1.187:5683", "10.0.0.2:1"),
            SendError::AddressNotAvailable,
        ),
        (out("10.0.0.1:5684", "10.0.0.2:1"), SendError::PortNotBound),
        (out("10.0.0.1:5683", "[fe80::2]:1"), SendError::Invalid),
        (out("10.0.0.1:5683", "0.0.0.0:1"), SendError::Invalid),
        (
            out("10.0.0.1:5683", "255.255.255.255:1"),
            SendError::Invalid,
        ),
        (
            out("10.0.0.1:5683", "10.0.0.2:1").over(Interface::new(2)),
            SendError::NoSuchInterface,
        ),
        (
            out("[::]:5683", "[fe80::2%3]:1"),
            SendError::NoSuchInterface,
        ),
    ] {
        assert_eq!(refused(&mut net, outgoing.clone()), error, "{outgoing:?}");
    }
    for (dst, longest) in [("10.0.0.2:5683", 65_507), ("[fe80::2]:5683", 65_527)] {
        let outgoing = |length| Outgoing::from_port(5683, at(dst), vec![0; length]);
        assert_eq!(net.send(host, outgoing(longest)), Ok(()));
        assert_eq!(
            net.send(host, outgoing(longest + 1)),
            Err(SendError::MessageTooLong)
        );
    }
    let only_v4 = add(&mut net, lan, &[ip("10.0.9.9")]);
    let to_v6 = Outgoing::from_port(5683, at("[fe80::2]:1"), b"x");
    assert_eq!(
        net.send(only_v4, to_v6.clone()),
        Err(SendError::NetworkUnreachable)
    );
    assert_eq!(
        net.send(only_v4, to_v6.over(eth())),
        Err(SendError::NetworkUnreachable)
    );
    assert_eq!(net.counters(host).refused, 10);
    assert_eq!(net.counters(host).sent, 2);
    assert_eq!(heard(&mut net, &hosts), [0, 2]);
}

#[test]
fn a_host_can_send_from_one_interface_with_the_address_of_another() {
    let (mut net, lan, hosts) = lan(1, 1, Segment::default());
    let second = net.attach(hosts[0], lan, &[ip("10.0.5.1")]);
    net.join(hosts[0], second, ip("224.0.1.187")).unwrap();
    let out = Outgoing::new(at("10.0.5.1:5683"), at("224.0.1.187:5683"), b"x").over(eth());
    net.send(hosts[0], out).unwrap();
    settle(&mut net);
    // Sent over the first interface, it is heard by the second one from the wire.
    let delivery = net.next_delivery(hosts[0]).unwrap();
    assert_eq!(
        (delivery.interface, delivery.at),
        (second, Time::from_millis(1))
    );
    assert_eq!(net.next_delivery(hosts[0]), None);
}

#[test]
fn sockets_open_and_close() {
    let (mut net, _, hosts) = lan(1, 2, Segment::default());
    assert_eq!(net.bind(hosts[0], 5683), Err(SocketError::AlreadyInUse));
    assert_eq!(net.unbind(hosts[1], 5683), Ok(()));
    assert_eq!(net.unbind(hosts[1], 5683), Err(SocketError::NotInUse));
    say(&mut net, hosts[0], "10.0.0.2:5683", b"x");
    assert_eq!(heard(&mut net, &hosts), [0, 0]);
    assert_eq!(causes(&net), [DropCause::NoSocket]);
    net.bind(hosts[1], 5684).unwrap();
    say(&mut net, hosts[0], "10.0.0.2:5684", b"x");
    assert_eq!(heard(&mut net, &hosts), [0, 1]);
}

#[test]
fn memberships_have_rules_and_a_limit() {
    let (mut net, lan, hosts) = lan(1, 1, Segment::default());
    let host = hosts[0];
    let join = |net: &mut Network, interface, group| net.join(host, interface, ip(group));
    assert_eq!(
        join(&mut net, eth(), "10.0.0.1"),
        Err(SocketError::NotAGroup)
    );
    let other = Interface::new(2);
    assert_eq!(
        join(&mut net, other, "ff02::fd"),
        Err(SocketError::NoSuchInterface)
    );
    assert_eq!(net.attach(host, lan, &[ip("10.0.0.2")]), other);
    assert_eq!(
        join(&mut net, other, "ff02::fd"),
        Err(SocketError::NoAddress)
    );
    assert_eq!(join(&mut net, eth(), "ff02::fd"), Ok(()));
    assert_eq!(
        join(&mut net, eth(), "ff02::fd"),
        Err(SocketError::AlreadyInUse)
    );
    net.set_membership_limit(host, 2);
    assert_eq!(join(&mut net, other, "224.0.1.187"), Ok(()));
    assert_eq!(
        join(&mut net, eth(), "224.0.1.187"),
        Err(SocketError::TooManyMemberships)
    );
    assert_eq!(net.leave(host, other, ip("224.0.1.187")), Ok(()));
    assert_eq!(
        net.leave(host, other, ip("224.0.1.187")),
        Err(SocketError::NotInUse)
    );
    assert_eq!(join(&mut net, eth(), "224.0.1.187"), Ok(()));
}

#[test]
fn who_leaves_while_it_is_under_way_does_not_hear_it() {
    let (mut net, _, hosts) = lan(1, 2, Segment::default());
    net.join(hosts[1], eth(), ip("ff02::fd")).unwrap();
    say(&mut net, hosts[0], "[ff02::fd]:5683", b"x");
    net.leave(hosts[1], eth(), ip("ff02::fd")).unwrap();
    assert_eq!(heard(&mut net, &hosts), [0, 0]);
    assert_eq!(causes(&net), [DropCause::NotMine]);
}

#[test]
fn addresses_and_interfaces_come_and_go() {
    let (mut net, segment, hosts) = lan(1, 2, Segment::default());
    let (a, b) = (hosts[0], hosts[1]);
    assert!(net.remove_address(b, eth(), ip("10.0.0.2")));
    assert!(!net.remove_address(b, eth(), ip("10.0.0.2")));
    say(&mut net, a, "10.0.0.2:5683", b"x");
    assert_eq!(heard(&mut net, &hosts), [0, 0]);
    assert_eq!(causes(&net), [DropCause::NoSuchAddress]);
    net.add_address(b, eth(), ip("10.0.0.77"));
    assert_eq!(net.addresses(b, eth()), [ip("fe80::2"), ip("10.0.0.77")]);
    say(&mut net, a, "10.0.0.77:5683", b"x");
    assert_eq!(heard(&mut net, &hosts), [0, 1]);

    net.join(b, eth(), ip("ff02::fd")).unwrap();
    net.set_membership_limit(b, 1);
    net.detach(b, eth());
    assert!(net.addresses(b, eth()).is_empty());
    assert!(!net.has_joined(b, eth(), ip("ff02::fd")));
    say(&mut net, a, "[ff02::fd]:5683", b"x");
    say(&mut net, a, "10.0.0.77:5683", b"x");
    assert_eq!(heard(&mut net, &hosts), [0, 0]);
    let again = net.attach(b, segment, &[ip("10.0.0.77"), ip("fe80::2")]);
    assert_eq!(again.index(), 2);
    net.join(b, again, ip("ff02::fd")).unwrap();
    say(&mut net, a, "[ff02::fd]:5683", b"x");
    say(&mut net, a, "10.0.0.77:5683", b"x");
    assert_eq!(heard(&mut net, &hosts), [0, 2]);
}

#[test]
#[should_panic(expected = "10.0.0.1 is taken")]
fn one_address_for_two_hosts_is_a_mistake() {
    let (mut net, _, hosts) = lan(1, 2, Segment::default());
    net.add_address(hosts[1], eth(), ip("10.0.0.1"));
}

#[test]
#[should_panic(expected = "ff02::fd is no unicast address")]
fn a_group_is_no_address_of_an_interface() {
    let (mut net, _, hosts) = lan(1, 1, Segment::default());
    net.add_address(hosts[0], eth(), ip("ff02::fd"));
}

#[test]
#[should_panic(expected = "time goes back")]
fn time_does_not_go_back() {
    let mut net = Network::new(1);
    net.advance_to(Time::from_secs(1));
    net.advance_to(Time::from_micros(999_999));
}

#[test]
fn a_stranger_can_claim_any_source() {
    let (mut net, segment, hosts) = lan(1, 2, Segment::default());
    net.inject(segment, at("224.0.1.187:5683"), at("10.0.0.2:5683"), b"x");
    settle(&mut net);
    let delivery = net.next_delivery(hosts[1]).unwrap();
    assert_eq!(delivery.src, at("224.0.1.187:5683"));
    assert_eq!(delivery.at, Time::from_millis(1));
}

#[test]
fn ready_hosts_are_named_once_each() {
    let (mut net, _, hosts) = lan(1, 3, Segment::default());
    for dst in ["10.0.0.3:5683", "10.0.0.2:5683", "10.0.0.3:5683"] {
        say(&mut net, hosts[0], dst, b"x");
    }
    settle(&mut net);
    assert_eq!(net.next_ready_host(), Some(hosts[2]));
    assert_eq!(net.deliveries(hosts[1]).len(), 1);
    // The second one has nothing left by now.
    assert_eq!(net.next_ready_host(), None);
    say(&mut net, hosts[0], "10.0.0.2:5683", b"x");
    settle(&mut net);
    assert_eq!(net.next_ready_host(), Some(hosts[1]));
    assert_eq!(net.next_ready_host(), None);
}
