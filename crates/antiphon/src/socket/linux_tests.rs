//! What the kernel writes, byte by byte: forms that loopback does not produce, and forms that it never
//! should.

use core::net::Ipv6Addr;

use super::*;

/// A control message as the kernel lays it out.
fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
    let mut bytes = (16 + data.len()).to_ne_bytes().to_vec();
    bytes.extend(level.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(8), 0xaa);
    bytes
}

fn head() -> Head {
    Head {
        source: "192.0.2.1:5683".parse().unwrap(),
        destination: None,
        answer_from: None,
        cast: Cast::Unknown,
        interface: 0,
        slot: 0,
        length: 0,
    }
}

fn v4_arrival(local: [u8; 4], destination: [u8; 4]) -> Head {
    let mut data = 7_u32.to_ne_bytes().to_vec();
    data.extend(local);
    data.extend(destination);
    let mut head = head();
    let dropped = AtomicU64::new(0);
    read_arrival(
        (libc::IPPROTO_IP, libc::IP_PKTINFO, &data),
        &mut head,
        &dropped,
    );
    head
}

#[test]
fn ipv4_packet_information_tells_how_a_datagram_was_addressed() {
    for (local, destination, cast, answer_from) in [
        (
            [10, 0, 0, 5],
            [10, 0, 0, 5],
            Cast::Unicast,
            Some([10, 0, 0, 5]),
        ),
        (
            [10, 0, 0, 5],
            [224, 0, 1, 187],
            Cast::Multicast,
            Some([10, 0, 0, 5]),
        ),
        ([0, 0, 0, 0], [224, 0, 1, 187], Cast::Multicast, None),
        (
            [10, 0, 0, 5],
            [10, 0, 0, 255],
            Cast::Broadcast,
            Some([10, 0, 0, 5]),
        ),
        (
            [10, 0, 0, 5],
            [255; 4],
            Cast::Broadcast,
            Some([10, 0, 0, 5]),
        ),
        ([255; 4], [255; 4], Cast::Broadcast, Some([255; 4])),
    ] {
        let head = v4_arrival(local, destination);
        assert_eq!(head.cast, cast, "{destination:?}");
        assert_eq!(head.destination, Some(destination.into()));
        assert_eq!(head.answer_from, answer_from.map(IpAddr::from));
        assert_eq!(head.interface, 7);
    }
}

#[test]
fn ipv6_packet_information_names_an_address_to_answer_from_only_for_unicast() {
    let dropped = AtomicU64::new(0);
    for (address, cast) in [
        ("2001:db8::5", Cast::Unicast),
        ("ff05::fd", Cast::Multicast),
    ] {
        let address: Ipv6Addr = address.parse().unwrap();
        let mut data = address.octets().to_vec();
        data.extend(300_u32.to_ne_bytes());
        let mut head = head();
        read_arrival(
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &data),
            &mut head,
            &dropped,
        );
        assert_eq!(head.cast, cast);
        assert_eq!(head.interface, 300);
        assert_eq!(head.destination, Some(address.into()));
        let answer_from = (cast == Cast::Unicast).then_some(IpAddr::from(address));
        assert_eq!(head.answer_from, answer_from);
    }
}

#[test]
fn control_messages_cut_short_or_unknown_change_nothing() {
    let dropped = AtomicU64::new(0);
    for cut in [
        (libc::IPPROTO_IP, libc::IP_PKTINFO, &[1; 11][..]),
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &[1; 19]),
        (libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &[1; 3]),
        (libc::SOL_SOCKET, libc::SO_TIMESTAMP, &[1; 16]),
        (libc::IPPROTO_IP, libc::IPV6_PKTINFO, &[1; 20]),
    ] {
        let mut head = head();
        read_arrival(cut, &mut head, &dropped);
        assert_eq!(
            (head.cast, head.destination, head.interface),
            (Cast::Unknown, None, 0)
        );
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn control_messages_are_walked_to_their_end_and_no_further() {
    let mut bytes = message(1, 2, b"abc");
    bytes.extend(message(3, 4, b""));
    bytes.extend(message(5, 6, b"12345678"));
    let whole: Vec<_> = control::messages(&bytes).collect();
    assert_eq!(
        whole,
        [(1, 2, &b"abc"[..]), (3, 4, b""), (5, 6, b"12345678")]
    );
    // Anywhere cut off: only whole messages, no panic.
    for length in 0..bytes.len() {
        let count = control::messages(&bytes[..length]).count();
        let expected = [19, 40, 64].iter().filter(|end| length >= **end).count();
        assert_eq!(count, expected, "{length}");
    }
    // Lengths that make no sense end the walk.
    for nonsense in [0_usize, 15, 17, usize::MAX, usize::MAX - 7] {
        let mut bytes = message(1, 2, b"");
        bytes[..8].copy_from_slice(&nonsense.to_ne_bytes());
        assert_eq!(control::messages(&bytes).count(), 0, "{nonsense}");
    }
}

#[test]
fn addresses_are_written_as_they_are_read() {
    for (text, length) in [
        ("192.0.2.1:5683", 16),
        ("[2001:db8::1]:61616", 28),
        ("[fe80::1%77]:1", 28),
    ] {
        let address: SocketAddr = text.parse().unwrap();
        let (name, written) = control::write_name(address);
        assert_eq!(written, length);
        assert_eq!(control::read_name(&name.0[..written]), Some(address));
        assert_eq!(control::read_name(&name.0[..7]), None);
    }
    assert_eq!(control::read_name(&[9; 28]), None);
    assert_eq!(control::read_name(&[]), None);
}

#[test]
fn the_count_of_drops_widens_across_the_wrap_of_32_bits() {
    let total = AtomicU64::new(0);
    let after = |count: u32| {
        widen(&total, count);
        total.load(Ordering::Relaxed)
    };
    assert_eq!(after(5), 5);
    assert_eq!(after(5), 5);
    // A report that was overtaken by a later one takes nothing back.
    assert_eq!(after(4), 5);
    assert_eq!(after(2_000_000_000), 2_000_000_000);
    assert_eq!(after(4_000_000_000), 4_000_000_000);
    assert_eq!(after(u32::MAX), u64::from(u32::MAX));
    assert_eq!(after(0), 1 << 32);
    assert_eq!(after(3), (1 << 32) + 3);
}

/// `sock_extended_err` with an IPv4 offender behind it.
fn report(errno: i32, origin: u8, icmp_type: u8, info: u32) -> Vec<u8> {
    let mut data = errno.to_ne_bytes().to_vec();
    data.extend([origin, icmp_type, 0, 0]);
    data.extend(info.to_ne_bytes());
    data.extend([0; 4]);
    let (name, length) = control::write_name("192.0.2.9:0".parse().unwrap());
    data.extend(&name.0[..length]);
    data
}

#[test]
fn error_reports_are_put_into_words() {
    let router = Some("192.0.2.9".parse().unwrap());
    for (errno, origin, icmp_type, info, reason, offender) in [
        (libc::ECONNREFUSED, 2, 3, 0, Unreachable::Port, router),
        (libc::ECONNREFUSED, 3, 1, 0, Unreachable::Port, router),
        (libc::EHOSTUNREACH, 2, 3, 0, Unreachable::Host, router),
        (libc::EHOSTUNREACH, 2, 11, 0, Unreachable::HopLimit, router),
        (libc::EHOSTUNREACH, 3, 3, 0, Unreachable::HopLimit, router),
        (libc::EHOSTUNREACH, 3, 11, 0, Unreachable::Host, router),
        (libc::ENETUNREACH, 2, 3, 0, Unreachable::Network, router),
        (libc::EACCES, 3, 1, 0, Unreachable::Prohibited, router),
        (
            libc::EMSGSIZE,
            2,
            3,
            1280,
            Unreachable::TooBig { mtu: Some(1280) },
            router,
        ),
        (
            libc::EMSGSIZE,
            2,
            3,
            0,
            Unreachable::TooBig { mtu: None },
            router,
        ),
        // This host itself found out: the address behind is nobody's.
        (
            libc::EMSGSIZE,
            1,
            0,
            1500,
            Unreachable::TooBig { mtu: Some(1500) },
            None,
        ),
        (
            libc::EPROTO,
            2,
            12,
            0,
            Unreachable::Other(libc::EPROTO),
            router,
        ),
    ] {
        assert_eq!(
            read_report(&report(errno, origin, icmp_type, info)),
            Some((reason, offender)),
            "{errno} {origin} {icmp_type}"
        );
    }
    // Timestamps and zero-copy notices use the same queue.
    for origin in [0, 4, 5] {
        assert_eq!(read_report(&report(libc::ENOMSG, origin, 0, 0)), None);
    }
    // Without an offender, and cut short.
    let bare = &report(libc::ECONNREFUSED, 2, 3, 0)[..16];
    assert_eq!(read_report(bare), Some((Unreachable::Port, None)));
    for length in 0..12 {
        assert_eq!(read_report(&bare[..length]), None);
    }
}

#[test]
fn error_numbers_are_put_into_words() {
    for (errno, expected) in [
        (libc::ECONNREFUSED, Unreachable::Port),
        (libc::EHOSTUNREACH, Unreachable::Host),
        (libc::EHOSTDOWN, Unreachable::Host),
        (libc::ENETUNREACH, Unreachable::Network),
        (libc::ENETDOWN, Unreachable::Network),
        (libc::EACCES, Unreachable::Prohibited),
        (libc::EPERM, Unreachable::Prohibited),
        (libc::EMSGSIZE, Unreachable::TooBig { mtu: None }),
        (libc::ENOBUFS, Unreachable::NoBuffers),
        (libc::ENOMEM, Unreachable::NoBuffers),
        (libc::EINVAL, Unreachable::Other(libc::EINVAL)),
    ] {
        assert_eq!(reason(&io::Error::from_raw_os_error(errno)), expected);
    }
    assert_eq!(reason(&io::ErrorKind::Other.into()), Unreachable::Other(0));
    for errno in [libc::ENOBUFS, libc::ENOMEM] {
        let error = join_error(io::Error::from_raw_os_error(errno), 3);
        assert!(matches!(error, JoinError::TooManyMemberships));
    }
    for errno in [libc::ENODEV, libc::ENXIO] {
        let error = join_error(io::Error::from_raw_os_error(errno), 3);
        assert!(matches!(error, JoinError::NoSuchInterface(3)));
    }
    let error = join_error(io::Error::from_raw_os_error(libc::EINVAL), 3);
    assert!(matches!(error, JoinError::Os(_)));
}

#[test]
fn the_source_of_multicast_is_never_left_to_chance() {
    let group = Ipv4Addr::new(224, 0, 1, 187);
    let peer = Ipv4Addr::new(10, 0, 0, 1);
    let bound = Ipv4Addr::new(10, 0, 0, 5);
    let any = Ipv4Addr::UNSPECIFIED;
    for (from, to, interface, expected) in [
        (bound, group, 1, bound),
        (bound, group, 2, bound),
        (bound, peer, 2, bound),
        (any, group, 1, Ipv4Addr::LOCALHOST),
        (any, group, 2, any),
        (any, peer, 1, any),
    ] {
        assert_eq!(default_source(from, to, interface), expected);
    }
}

#[test]
fn a_call_is_prepared_for_as_many_as_were_there_lately() {
    // (likely, wanted, came) and what follows.
    for (before, after) in [
        ((LEAST, LEAST, 0), LEAST),
        ((LEAST, LEAST, 1), LEAST),
        ((LEAST, LEAST, LEAST), 2 * LEAST),
        ((16, 16, 16), PER_CALL),
        ((PER_CALL, PER_CALL, PER_CALL), PER_CALL),
        ((PER_CALL, PER_CALL, 8), PER_CALL),
        ((PER_CALL, PER_CALL, 7), 16),
        ((16, 1, 1), PER_CALL), // all that there was room for
        ((4, 4, 1), 4),
        ((4, 4, 0), LEAST),
    ] {
        assert_eq!(
            next_likely(before.0, before.1, before.2),
            after,
            "{before:?}"
        );
    }
}
