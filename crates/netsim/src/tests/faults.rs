use core::time::Duration;

use super::*;

const MS: Duration = Duration::from_millis(1);

#[test]
fn loss_can_be_on_each_stretch_of_the_way_and_in_one_direction() {
    let all = Impairment::none().loss(1.0);
    let (mut net, _, hosts) = lan(1, 2, Segment::default());
    net.set_egress(hosts[0], all);
    say(&mut net, hosts[0], "10.0.0.2:5683", b"x");
    say(&mut net, hosts[1], "10.0.0.1:5683", b"x");
    assert_eq!(heard(&mut net, &hosts), [1, 0]);
    assert_eq!(causes(&net), [DropCause::EgressLoss]);

    let (mut net, _, hosts) = lan(1, 2, Segment::default());
    net.set_ingress(hosts[0], all);
    say(&mut net, hosts[0], "10.0.0.2:5683", b"x");
    say(&mut net, hosts[1], "10.0.0.1:5683", b"x");
    assert_eq!(heard(&mut net, &hosts), [0, 1]);
    assert_eq!(causes(&net), [DropCause::IngressLoss]);
    assert_eq!(net.counters(hosts[0]).lost, 1);
    assert_eq!(net.counters(hosts[1]).lost, 0);

    let (mut net, segment, hosts) = lan(1, 2, Segment::default());
    net.set_segment(segment, Segment::new(all));
    say(&mut net, hosts[0], "10.0.0.2:5683", b"x");
    assert_eq!(heard(&mut net, &hosts), [0, 0]);
    assert_eq!(causes(&net), [DropCause::SegmentLoss]);
}

#[test]
fn loss_on_a_segment_is_drawn_for_each_member_and_loss_at_the_sender_for_all() {
    let rounds = 2_000;
    let run = |segment: Impairment, egress: Impairment| {
        let (mut net, _, hosts) = lan(9, 3, Segment::new(segment));
        net.set_egress(hosts[0], egress);
        net.join(hosts[1], eth(), ip("ff02::fd")).unwrap();
        net.join(hosts[2], eth(), ip("ff02::fd")).unwrap();
        let mut both = 0;
        let mut one = 0;
        for _ in 0..rounds {
            say(&mut net, hosts[0], "[ff02::fd]:5683", b"x");
            match heard(&mut net, &hosts[1..])[..] {
                [1, 1] => both += 1,
                [0, 0] => {}
                _ => one += 1,
            }
        }
        (both, one)
    };
    let half = Impairment::none().loss(0.5);
    // Independent: 1/4 both, 1/2 one. Five standard deviations are 97 and 112.
    let (both, one) = run(half, Impairment::none());
    assert!((403..=597).contains(&both), "{both}");
    assert!((888..=1112).contains(&one), "{one}");
    let (both, one) = run(Impairment::none(), half);
    assert!((888..=1112).contains(&both), "{both}");
    assert_eq!(one, 0);
}

#[test]
fn delays_add_up_and_jitter_stays_within_its_bounds() {
    let (mut net, _, hosts) = lan(1, 2, Segment::new(Impairment::none().delay(10 * MS)));
    net.set_egress(hosts[0], Impairment::none().delay(2 * MS));
    net.set_ingress(hosts[1], Impairment::none().delay(3 * MS).jitter(4 * MS));
    for _ in 0..1_000 {
        say(&mut net, hosts[0], "10.0.0.2:5683", b"x");
    }
    settle(&mut net);
    let times: Vec<u64> = net.deliveries(hosts[1]).map(|d| d.at.as_micros()).collect();
    assert!(times.is_sorted());
    assert!((15_000..15_100).contains(&times[0]), "{}", times[0]);
    assert!((18_900..=19_000).contains(&times[999]), "{}", times[999]);
    let early = times.iter().filter(|&&at| at < 17_000).count();
    assert!((420..=580).contains(&early), "{early}");
}

#[test]
fn duplicates_come_as_often_as_told_and_never_without_bound() {
    let (mut net, _, hosts) = lan(6, 2, Segment::default());
    net.set_ingress(hosts[1], Impairment::none().duplicate(0.25));
    for _ in 0..4_000 {
        say(&mut net, hosts[0], "10.0.0.2:5683", b"x");
    }
    let extra = heard(&mut net, &hosts)[1] - 4_000;
    // 1,000 expected, five standard deviations are 137.
    assert!((863..=1_137).contains(&extra), "{extra}");

    let twice = Impairment::none().duplicate(1.0);
    net.set_egress(hosts[0], twice);
    net.set_ingress(hosts[1], twice);
    say(&mut net, hosts[0], "10.0.0.2:5683", b"x");
    assert_eq!(heard(&mut net, &hosts), [0, 4]);

    // Five stretches that duplicate would make 32 copies.
    let mut net = Network::new(1);
    let segments = [(); 3].map(|()| net.add_segment(Segment::new(twice)));
    net.add_router(Router::unicast_only(), &segments[..2]);
    net.add_router(Router::unicast_only(), &segments[1..]);
    let a = add(&mut net, segments[0], &[ip("10.0.0.1")]);
    let b = add(&mut net, segments[2], &[ip("10.0.2.1")]);
    net.set_egress(a, twice);
    net.set_ingress(b, twice);
    say(&mut net, a, "10.0.2.1:5683", b"x");
    assert_eq!(heard(&mut net, &[b]), [8]);
}

#[test]
fn a_datagram_held_back_is_overtaken() {
    let (mut net, _, hosts) = lan(4, 2, Segment::default());
    net.set_egress(hosts[0], Impairment::none().reorder(0.2, 5 * MS));
    let mut order = Vec::new();
    for n in 0..200u8 {
        say(&mut net, hosts[0], "10.0.0.2:5683", &[n]);
        net.advance_to(net.now() + MS);
        order.extend(net.deliveries(hosts[1]).map(|d| (d.bytes[0], d.at)));
    }
    settle(&mut net);
    order.extend(net.deliveries(hosts[1]).map(|d| (d.bytes[0], d.at)));
    assert_eq!(order.len(), 200);
    let late: Vec<_> = order
        .iter()
        .filter(|(n, at)| *at == Time::from_millis(u64::from(*n) + 6))
        .collect();
    let on_time = order
        .iter()
        .filter(|(n, at)| *at == Time::from_millis(u64::from(*n) + 1))
        .count();
    assert_eq!(late.len() + on_time, 200);
    assert!((12..=68).contains(&late.len()), "{}", late.len());
    assert!(!order.iter().map(|(n, _)| n).is_sorted());
}

#[test]
fn a_long_datagram_is_lost_with_any_of_its_frames() {
    let survivors = |bytes: usize| {
        let segment = Segment::new(Impairment::none().loss(0.3)).frame(80);
        let (mut net, _, hosts) = lan(2, 2, segment);
        for _ in 0..5_000 {
            say(&mut net, hosts[0], "10.0.0.2:5683", &vec![0; bytes]);
        }
        heard(&mut net, &hosts)[1]
    };
    // 0.7, 0.49 and 0.343 of 5,000; five standard deviations are at most 177.
    assert!((3_338..=3_662).contains(&survivors(0)));
    assert!((3_338..=3_662).contains(&survivors(80)));
    assert!((2_273..=2_627).contains(&survivors(81)));
    assert!((2_273..=2_627).contains(&survivors(160)));
    assert!((1_547..=1_883).contains(&survivors(161)));
}

#[test]
fn islands_do_not_hear_each_other_until_healed() {
    let (mut net, _, hosts) = lan(1, 4, Segment::default());
    for &host in &hosts {
        net.join(host, eth(), ip("ff02::fd")).unwrap();
    }
    say(&mut net, hosts[0], "[ff02::fd]:5683", b"under way");
    net.set_island(hosts[2], 1);
    net.set_island(hosts[3], 1);
    assert_eq!(heard(&mut net, &hosts), [1, 1, 0, 0]);
    say(&mut net, hosts[0], "[ff02::fd]:5683", b"x");
    assert_eq!(heard(&mut net, &hosts), [1, 1, 0, 0]);
    say(&mut net, hosts[2], "[ff02::fd]:5683", b"x");
    assert_eq!(heard(&mut net, &hosts), [0, 0, 1, 1]);
    say(&mut net, hosts[2], "10.0.0.1:5683", b"x");
    assert_eq!(heard(&mut net, &hosts), [0, 0, 0, 0]);
    assert_eq!(causes(&net), [DropCause::Partition; 7]);
    for &host in &hosts {
        net.set_island(host, 0);
    }
    say(&mut net, hosts[0], "[ff02::fd]:5683", b"x");
    assert_eq!(heard(&mut net, &hosts), [1, 1, 1, 1]);
}

#[test]
fn an_interface_that_is_down_neither_sends_nor_hears_and_keeps_its_memberships() {
    let (mut net, _, hosts) = lan(1, 2, Segment::default());
    net.join(hosts[1], eth(), ip("ff02::fd")).unwrap();
    say(&mut net, hosts[0], "[ff02::fd]:5683", b"under way");
    net.set_interface_up(hosts[1], eth(), false);
    assert_eq!(heard(&mut net, &hosts), [0, 0]);
    assert_eq!(causes(&net), [DropCause::LinkDown]);
    let out = Outgoing::from_port(5683, at("10.0.0.1:5683"), b"x");
    assert_eq!(
        net.send(hosts[1], out.clone().over(eth())),
        Err(SendError::InterfaceDown)
    );
    assert_eq!(net.send(hosts[1], out), Err(SendError::NetworkUnreachable));
    net.set_interface_up(hosts[1], eth(), true);
    say(&mut net, hosts[0], "[ff02::fd]:5683", b"x");
    assert_eq!(heard(&mut net, &hosts), [0, 1]);
}

#[test]
fn a_segment_that_is_down_carries_nothing() {
    let (mut net, segment, hosts) = lan(1, 2, Segment::default());
    say(&mut net, hosts[0], "10.0.0.2:5683", b"under way");
    net.set_segment_up(segment, false);
    say(&mut net, hosts[0], "10.0.0.2:5683", b"x");
    assert_eq!(heard(&mut net, &hosts), [0, 0]);
    assert_eq!(causes(&net), [DropCause::LinkDown; 2]);
    net.set_segment_up(segment, true);
    say(&mut net, hosts[0], "10.0.0.2:5683", b"x");
    assert_eq!(heard(&mut net, &hosts), [0, 1]);
}

#[test]
fn a_host_that_restarts_has_lost_buffer_sockets_and_memberships() {
    let (mut net, _, hosts) = lan(1, 2, Segment::default());
    let (a, b) = (hosts[0], hosts[1]);
    net.join(b, eth(), ip("ff02::fd")).unwrap();
    say(&mut net, a, "10.0.0.2:5683", b"in the buffer");
    settle(&mut net);
    say(&mut net, a, "10.0.0.2:5683", b"under way");
    net.take_down(b);
    assert!(!net.is_up(b));
    assert_eq!(heard(&mut net, &hosts), [0, 0]);
    assert_eq!(causes(&net), [DropCause::HostDown]);
    assert_eq!(net.bind(b, 5683), Err(SocketError::HostDown));
    assert_eq!(
        net.join(b, eth(), ip("ff02::fd")),
        Err(SocketError::HostDown)
    );
    let out = Outgoing::from_port(5683, at("10.0.0.1:5683"), b"x");
    assert_eq!(net.send(b, out), Err(SendError::HostDown));

    net.bring_up(b);
    assert!(net.is_up(b));
    assert!(!net.has_joined(b, eth(), ip("ff02::fd")));
    say(&mut net, a, "10.0.0.2:5683", b"no socket yet");
    assert_eq!(heard(&mut net, &hosts), [0, 0]);
    net.set_membership_limit(b, 1);
    net.bind(b, 5683).unwrap();
    net.join(b, eth(), ip("ff02::fd")).unwrap();
    say(&mut net, a, "[ff02::fd]:5683", b"x");
    say(&mut net, a, "10.0.0.2:5683", b"x");
    assert_eq!(heard(&mut net, &hosts), [0, 2]);
}

#[test]
fn a_translator_lets_in_only_whom_the_host_has_addressed() {
    let other_port = |net: &mut Network, from: HostId| {
        net.bind(from, 9).unwrap();
        let out = Outgoing::from_port(9, at("10.0.0.1:5683"), b"x");
        net.send(from, out).unwrap();
        net.unbind(from, 9).unwrap();
    };
    for (filter, expected) in [
        (NatFilter::EndpointIndependent, [true, true, true]),
        (NatFilter::AddressDependent, [true, true, false]),
        (NatFilter::AddressAndPortDependent, [true, false, false]),
    ] {
        let (mut net, _, hosts) = lan(1, 3, Segment::default());
        let home = &hosts[..1];
        net.set_nat(hosts[0], filter, Duration::from_secs(30));
        say(&mut net, hosts[1], "10.0.0.1:5683", b"unasked");
        assert_eq!(heard(&mut net, home), [0], "{filter:?}");
        say(&mut net, hosts[0], "10.0.0.2:5683", b"out");
        say(
            &mut net,
            hosts[1],
            "10.0.0.1:5683",
            b"same address and port",
        );
        let same = heard(&mut net, home)[0] == 1;
        other_port(&mut net, hosts[1]);
        let port = heard(&mut net, home)[0] == 1;
        say(&mut net, hosts[2], "10.0.0.1:5683", b"another address");
        let address = heard(&mut net, home)[0] == 1;
        assert_eq!([same, port, address], expected, "{filter:?}");
    }
}

#[test]
fn a_translator_knows_ports_forgets_with_time_and_hides_group_answers() {
    let (mut net, _, hosts) = lan(1, 2, Segment::default());
    let home = &hosts[..1];
    net.set_nat(
        hosts[0],
        NatFilter::AddressDependent,
        Duration::from_secs(30),
    );
    net.bind(hosts[0], 1000).unwrap();
    net.join(hosts[1], eth(), ip("224.0.1.187")).unwrap();
    say(&mut net, hosts[0], "224.0.1.187:5683", b"who is there?");
    settle(&mut net);
    say(&mut net, hosts[1], "10.0.0.1:5683", b"me");
    assert_eq!(heard(&mut net, home), [0]);
    assert_eq!(causes(&net), [DropCause::Filtered]);

    let sent = net.now();
    say(&mut net, hosts[0], "10.0.0.2:5683", b"out");
    say(&mut net, hosts[1], "10.0.0.1:1000", b"another local port");
    assert_eq!(heard(&mut net, home), [0]);
    // It arrives 1 ms after the sending: just in time, and just too late.
    let lifetime = Duration::from_secs(30);
    net.advance_to(sent + lifetime - MS);
    say(&mut net, hosts[1], "10.0.0.1:5683", b"x");
    assert_eq!(heard(&mut net, home), [1]);
    say(&mut net, hosts[1], "10.0.0.1:5683", b"x");
    assert_eq!(heard(&mut net, home), [0]);
    net.clear_nat(hosts[0]);
    assert_eq!(net.nat_mappings(hosts[0]), 0);
    say(&mut net, hosts[1], "10.0.0.1:5683", b"x");
    assert_eq!(heard(&mut net, home), [1]);
}

#[test]
fn a_translator_remembers_a_bounded_number_and_forgets_the_oldest() {
    let (mut net, _, hosts) = lan(1, 2, Segment::default());
    let nat = NatFilter::AddressAndPortDependent;
    net.set_nat(hosts[0], nat, Duration::from_secs(3600));
    say(&mut net, hosts[0], "10.0.0.2:5683", b"first");
    for port in 0..1_023u16 {
        net.advance_to(net.now() + MS);
        say(
            &mut net,
            hosts[0],
            &format!("10.0.0.2:{}", 10_000 + port),
            b"x",
        );
    }
    assert_eq!(net.nat_mappings(hosts[0]), 1_024);
    say(&mut net, hosts[1], "10.0.0.1:5683", b"x");
    assert_eq!(heard(&mut net, &hosts[..1]), [1]);
    say(&mut net, hosts[0], "10.0.0.2:9", b"one more");
    assert_eq!(net.nat_mappings(hosts[0]), 1_024);
    say(&mut net, hosts[1], "10.0.0.1:5683", b"x");
    assert_eq!(heard(&mut net, &hosts[..1]), [0]);
}

#[test]
fn sends_can_be_refused_by_count_and_by_chance() {
    let (mut net, _, hosts) = lan(3, 2, Segment::default());
    let send = |net: &mut Network| {
        net.send(
            hosts[0],
            Outgoing::from_port(5683, at("10.0.0.2:5683"), b"x"),
        )
    };
    net.refuse_sends(hosts[0], SendError::NoBufferSpace, 2);
    assert_eq!(send(&mut net), Err(SendError::NoBufferSpace));
    assert_eq!(send(&mut net), Err(SendError::NoBufferSpace));
    assert_eq!(send(&mut net), Ok(()));
    net.refuse_sends_randomly(hosts[0], SendError::NetworkUnreachable, 0.5);
    let refused = (0..1_000)
        .filter(|_| send(&mut net) == Err(SendError::NetworkUnreachable))
        .count();
    assert!((421..=579).contains(&refused), "{refused}");
    net.refuse_sends_randomly(hosts[0], SendError::NetworkUnreachable, 0.0);
    assert!((0..100).all(|_| send(&mut net).is_ok()));
    assert_eq!(net.counters(hosts[0]).refused, 2 + refused as u64);
}

#[test]
fn a_full_receive_buffer_loses_and_counts() {
    let (mut net, _, hosts) = lan(1, 2, Segment::default());
    net.set_receive_buffer(hosts[1], 3);
    for _ in 0..5 {
        say(&mut net, hosts[0], "10.0.0.2:5683", b"x");
    }
    assert_eq!(heard(&mut net, &hosts), [0, 3]);
    let counters = net.counters(hosts[1]);
    assert_eq!(
        counters,
        HostCounters {
            received: 3,
            lost: 2,
            overflowed: 2,
            ..HostCounters::default()
        }
    );
    assert_eq!(causes(&net), [DropCause::BufferFull; 2]);
}

#[test]
fn what_is_under_way_is_bounded() {
    let (mut net, _, hosts) = lan(1, 2, Segment::default());
    net.set_in_flight_limit(2);
    for _ in 0..3 {
        say(&mut net, hosts[0], "10.0.0.2:5683", b"x");
    }
    assert_eq!(net.in_flight(), 2);
    assert_eq!(causes(&net), [DropCause::QueueFull]);
    assert_eq!(heard(&mut net, &hosts), [0, 2]);
}

#[test]
#[should_panic(expected = "a probability is between 0 and 1, not 1.5")]
fn a_probability_above_one_is_a_mistake() {
    let _ = Impairment::none().loss(1.5);
}
