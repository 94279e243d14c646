//! What needs interfaces of its own: each test runs in a network namespace that it makes.
//!
//! A test starts itself again under `unshare -rn` (util-linux), which needs no privileges where user
//! namespaces are allowed, and builds its interfaces with `ip` (iproute2). Without these it fails.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::process::Command;
use std::time::Instant;

use tokio::time::timeout;

use super::tests::{PATIENCE, Receive, SENT, lo, send};
use super::*;
use crate::interfaces;

/// Set in the process that runs inside the namespace.
const INSIDE: &str = "ANTIPHON_TEST_NAMESPACE";

/// Runs `body` in a network namespace with nothing but `lo`, which is up.
fn in_namespace(test: &str, body: impl Future<Output = ()>) {
    if std::env::var_os(INSIDE).is_none() {
        let output = Command::new("unshare")
            .args(["--user", "--map-root-user", "--net"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg(format!("socket::namespace_tests::{test}"))
            .env(INSIDE, "1")
            .output()
            .expect("unshare (util-linux) can be started");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "in the namespace:\n{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    }
    let only = interfaces::list().unwrap();
    assert!(
        matches!(only.as_slice(), [lo] if lo.loopback && !lo.up),
        "not a fresh namespace: {only:?}"
    );
    ip("link set lo up");
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(body);
}

/// Runs `ip` with these words and returns what it says.
fn ip(words: &str) -> String {
    let output = Command::new("ip")
        .args(words.split(' '))
        .output()
        .expect("ip (iproute2) can be started");
    assert!(output.status.success(), "ip {words}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn sysctl(path: &str, value: &str) {
    std::fs::write(format!("/proc/sys/net/{path}"), value)
        .unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// A wire with two ends `{name}0` and `{name}1` in this namespace: 10.0.{net}.1 and .2, fd00:{net}::1 and
/// ::2, fe80::{net}1 and ::{net}2. Returns both indices.
fn wire(name: &str, net: u8) -> (u32, u32) {
    ip(&format!("link add {name}0 type veth peer name {name}1"));
    for end in [0, 1] {
        let host = end + 1;
        ip(&format!("link set {name}{end} addrgenmode none"));
        ip(&format!("link set {name}{end} up"));
        ip(&format!("addr add 10.0.{net}.{host}/24 dev {name}{end}"));
        ip(&format!(
            "addr add fd00:{net}::{host}/64 dev {name}{end} nodad"
        ));
        ip(&format!(
            "addr add fe80::{net}{host}/64 dev {name}{end} nodad"
        ));
        // What comes in from an address of this very host is not a forgery here.
        sysctl(&format!("ipv4/conf/{name}{end}/accept_local"), "1");
        sysctl(&format!("ipv4/conf/{name}{end}/rp_filter"), "0");
    }
    carrier(&format!("{name}0"));
    carrier(&format!("{name}1"));
    let index = |end: u8| interfaces::by_name(&format!("{name}{end}")).unwrap().index;
    (index(0), index(1))
}

/// Waits until the kernel has noticed that an interface's wire is whole; it takes its time over that when
/// interfaces change in quick succession, and drops what is sent meanwhile.
fn carrier(name: &str) {
    let start = Instant::now();
    while !ip(&format!("link show {name}")).contains("state UP") {
        assert!(start.elapsed() < PATIENCE, "{name} stays down");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn socket(address: &str) -> UnicastSocket {
    UnicastSocket::bind(address.parse().unwrap(), &SocketOptions::default()).unwrap()
}

fn group(address: &str, port: u16, interface: u32) -> GroupSocket {
    let group = address.parse().unwrap();
    GroupSocket::open(group, port, interface, &SocketOptions::default()).unwrap()
}

fn address(group: &str, port: u16) -> SocketAddr {
    SocketAddr::new(group.parse().unwrap(), port)
}

#[test]
fn ipv6_groups_of_every_scope_work_over_loopback() {
    in_namespace("ipv6_groups_of_every_scope_work_over_loopback", async {
        ip("-6 route add local ff00::/8 dev lo");
        let sender = socket("[::1]:0");
        // On the very port, and still deaf to groups that others joined.
        let wildcard = socket("[::]:5683");
        for scope in ["ff01", "ff02", "ff03", "ff05", "ff08", "ff0e"] {
            let to = format!("{scope}::fd");
            let member = group(&to, 5683, lo());
            assert_eq!(
                send(
                    &sender,
                    Outgoing::to(address(&to, 5683)).through(lo()),
                    b"x"
                ),
                SENT
            );
            let got = member.one().await;
            assert_eq!(got.destination, Some(to.parse().unwrap()));
            assert_eq!(got.cast, Cast::Multicast);
            assert_eq!(got.interface, lo());
            assert_eq!(got.source, sender.local_addr());
            member.silent().await;
        }
        wildcard.silent().await;
        sender.silent().await;
    });
}

#[test]
fn multicast_leaves_by_the_interface_that_the_datagram_names() {
    in_namespace(
        "multicast_leaves_by_the_interface_that_the_datagram_names",
        async {
            let (a0, a1) = wire("a", 1);
            let (b0, b1) = wire("b", 2);
            for scope in [
                "239.9.8.7",
                "ff02::fd",
                "ff03::fd",
                "ff05::fd",
                "ff08::fd",
                "ff0e::fd",
            ] {
                let v4 = !scope.contains(':');
                let sender = socket(if v4 { "0.0.0.0:0" } else { "[::]:0" });
                // Two sockets for one group: each hears its own interface alone.
                let on_a = group(scope, 5683, a1);
                let on_b = group(scope, 5683, b1);
                for (leave, heard, deaf, net) in [(b0, &on_b, &on_a, 2), (a0, &on_a, &on_b, 1)] {
                    let to = Outgoing::to(address(scope, 5683)).through(leave);
                    assert_eq!(send(&sender, to, b"x"), SENT, "{scope}");
                    let got = heard.one().await;
                    assert_eq!(got.interface, heard.members()[0], "{scope}");
                    let from: &[IpAddr] = &[
                        format!("10.0.{net}.1").parse().unwrap(),
                        format!("fd00:{net}::1").parse().unwrap(),
                        format!("fe80::{net}1").parse().unwrap(),
                    ];
                    assert!(from.contains(&got.source.ip()), "{scope}: {}", got.source);
                    deaf.silent().await;
                }
                // Both names of the interface may be given at once; the source is the caller's.
                let source: IpAddr = if v4 { "10.0.2.1" } else { "fd00:2::1" }.parse().unwrap();
                let mut to = address(scope, 5683);
                if let SocketAddr::V6(v6) = &mut to {
                    v6.set_scope_id(b0);
                }
                send(&sender, Outgoing::to(to).through(b0).from(source), b"x");
                assert_eq!(on_b.one().await.source.ip(), source, "{scope}");
            }
        },
    );
}

#[test]
fn a_socket_hears_a_group_through_each_interface_that_joined() {
    in_namespace(
        "a_socket_hears_a_group_through_each_interface_that_joined",
        async {
            let (a0, a1) = wire("a", 1);
            let (b0, b1) = wire("b", 2);
            let (c0, _c1) = wire("c", 3);
            for scope in ["239.9.8.7", "ff05::fd"] {
                let sender = socket(if scope.contains(':') {
                    "[::]:0"
                } else {
                    "0.0.0.0:0"
                });
                let mut member = group(scope, 5683, a1);
                member.join(b1).unwrap();
                assert_eq!(member.members(), [a1, b1]);
                for leave in [a0, b0, c0] {
                    send(
                        &sender,
                        Outgoing::to(address(scope, 5683)).through(leave),
                        b"x",
                    );
                }
                let got = member.collect(2, &mut RecvBatch::default()).await;
                let through: Vec<u32> = got.iter().map(|one| one.interface).collect();
                assert_eq!(through, [a1, b1]);
                member.silent().await;
                member.leave(a1).unwrap();
                for leave in [a0, b0] {
                    send(
                        &sender,
                        Outgoing::to(address(scope, 5683)).through(leave),
                        b"x",
                    );
                }
                assert_eq!(member.one().await.interface, b1);
                member.silent().await;
            }
        },
    );
}

#[test]
fn more_memberships_than_one_socket_takes_need_another_socket() {
    in_namespace(
        "more_memberships_than_one_socket_takes_need_another_socket",
        async {
            sysctl("ipv4/igmp_max_memberships", "2");
            let (a0, a1) = wire("a", 1);
            let (b0, b1) = wire("b", 2);
            let (c0, c1) = wire("c", 3);
            let mut member = group("239.9.8.7", 5683, a1);
            member.join(b1).unwrap();
            assert!(matches!(
                member.join(c1),
                Err(JoinError::TooManyMemberships)
            ));
            assert_eq!(member.members(), [a1, b1]);
            let second = group("239.9.8.7", 5683, c1);
            let sender = socket("0.0.0.0:0");
            for leave in [a0, b0, c0] {
                let to = Outgoing::to(address("239.9.8.7", 5683)).through(leave);
                send(&sender, to, b"x");
            }
            let got = member.collect(2, &mut RecvBatch::default()).await;
            assert_eq!((got[0].interface, got[1].interface), (a1, b1));
            assert_eq!(second.one().await.interface, c1);
            member.silent().await;
            second.silent().await;
            // Room again.
            member.leave(a1).unwrap();
            member.join(c1).unwrap();
        },
    );
}

#[test]
fn own_multicast_comes_back_only_if_wanted() {
    in_namespace("own_multicast_comes_back_only_if_wanted", async {
        let (a0, _) = wire("a", 1);
        for scope in ["239.9.8.7", "ff05::fd"] {
            let member = group(scope, 5683, a0);
            for multicast_loop in [true, false] {
                let options = SocketOptions {
                    multicast_loop,
                    ..SocketOptions::default()
                };
                let any = wildcard(scope.parse().unwrap());
                let sender = UnicastSocket::bind(SocketAddr::new(any, 0), &options).unwrap();
                send(
                    &sender,
                    Outgoing::to(address(scope, 5683)).through(a0),
                    b"x",
                );
                if multicast_loop {
                    assert_eq!(member.one().await.interface, a0);
                }
                member.silent().await;
            }
        }
    });
}

#[test]
fn link_local_peers_carry_their_interface() {
    in_namespace("link_local_peers_carry_their_interface", async {
        let (a0, a1) = wire("a", 1);
        let receiver = socket("[::]:0");
        let port = receiver.local_addr().port();
        let sender = UnicastSocket::bind(
            format!("[fe80::11%{a0}]:0").parse().unwrap(),
            &SocketOptions::default(),
        )
        .unwrap();
        let to: SocketAddr = format!("[fe80::12]:{port}").parse().unwrap();
        assert_eq!(send(&sender, Outgoing::to(to).through(a0), b"x"), SENT);
        let got = receiver.one().await;
        assert_eq!(
            got.source,
            format!("[fe80::11%{a1}]:{}", sender.local_addr().port())
                .parse()
                .unwrap()
        );
        assert_eq!(got.destination, Some("fe80::12".parse().unwrap()));
        // And the way back needs nothing but that name.
        let answer = Outgoing::to(got.source).from(got.destination.unwrap());
        assert_eq!(send(&receiver, answer, b"y"), SENT);
        assert_eq!(sender.one().await.payload, Ok(b"y".to_vec()));
    });
}

#[test]
fn what_cannot_be_reached_is_said_at_once_or_later() {
    in_namespace("what_cannot_be_reached_is_said_at_once_or_later", async {
        let (a0, _) = wire("a", 1);
        sysctl("ipv4/neigh/a0/mcast_solicit", "1");
        sysctl("ipv4/neigh/a0/retrans_time_ms", "50");
        let sender = UnicastSocket::bind(
            "10.0.1.1:0".parse().unwrap(),
            &SocketOptions {
                send_buffer: Some(1),
                ..SocketOptions::default()
            },
        )
        .unwrap();
        // No route.
        let mut batch = SendBatch::new(64, 512);
        let nowhere = Outgoing::to("198.51.100.1:5683".parse().unwrap()).tagged(7);
        batch.push(nowhere, b"x").unwrap();
        assert_eq!(sender.send_batch(&mut batch).unwrap().failed, 1);
        let failure = batch.take_failures().next().unwrap();
        assert_eq!((failure.tag, failure.reason()), (7, Unreachable::Network));

        // Nobody answers for the address: datagrams wait in the kernel and fill the send buffer.
        let absent: SocketAddr = "10.0.1.99:5683".parse().unwrap();
        for number in 0..64 {
            batch
                .push(Outgoing::to(absent).tagged(number), &[number as u8; 512])
                .unwrap();
        }
        let sent = sender.send_batch(&mut batch).unwrap();
        assert!(sent.sent > 0 && sent.waiting > 0, "{sent:?}");
        assert_eq!((sent.failed, sent.sent + sent.waiting), (0, 64));
        assert_eq!(batch.len(), sent.waiting);
        assert!(
            timeout(Duration::from_millis(10), sender.writable())
                .await
                .is_err(),
            "the send buffer is full"
        );
        // Until the kernel gives the address up, reports that, and there is room again.
        let reported = async {
            loop {
                sender.readable().await.unwrap();
                if let Some(failure) = sender.poll_error() {
                    break failure;
                }
            }
        };
        let failure = timeout(PATIENCE, reported).await.unwrap();
        assert_eq!(failure.destination, absent);
        assert_eq!(failure.reason, Unreachable::Host);
        assert_eq!(failure.quote(), [0; QUOTE]);
        while sender.poll_error().is_some() {}
        timeout(PATIENCE, sender.writable()).await.unwrap().unwrap();
        // The report has not made `writable` forget how to wait.
        batch.clear();
        let absent: SocketAddr = "10.0.1.98:5683".parse().unwrap();
        for _ in 0..64 {
            batch.push(Outgoing::to(absent), &[1; 512]).unwrap();
        }
        assert!(sender.send_batch(&mut batch).unwrap().waiting > 0);
        assert!(
            timeout(Duration::from_millis(10), sender.writable())
                .await
                .is_err(),
            "the send buffer is full again"
        );
        timeout(PATIENCE, sender.writable()).await.unwrap().unwrap();
        while sender.poll_error().is_some() {}
        batch.clear();
        let here = socket("10.0.1.2:0");
        assert_eq!(send(&sender, Outgoing::to(here.local_addr()), b"x"), SENT);
        assert_eq!(here.one().await.payload, Ok(b"x".to_vec()));

        // The interface goes down.
        ip("link set a0 down");
        let to = address("239.9.8.7", 5683);
        batch.push(Outgoing::to(to).through(a0), b"x").unwrap();
        assert_eq!(sender.send_batch(&mut batch).unwrap().failed, 1);
        assert_eq!(batch.failures()[0].reason(), Unreachable::Network);
    });
}

#[test]
fn a_membership_survives_an_interface_that_goes_down_and_up() {
    in_namespace(
        "a_membership_survives_an_interface_that_goes_down_and_up",
        async {
            let (a0, a1) = wire("a", 1);
            let sender = socket("10.0.1.1:0");
            let member = group("239.9.8.7", 5683, a1);
            ip("link set a1 down");
            ip("link set a1 up");
            carrier("a0");
            carrier("a1");
            let to = Outgoing::to(address("239.9.8.7", 5683)).through(a0);
            send(&sender, to, b"x");
            assert_eq!(member.one().await.interface, a1);
        },
    );
}

#[test]
fn an_interface_that_vanished_and_returned_is_joined_again() {
    in_namespace(
        "an_interface_that_vanished_and_returned_is_joined_again",
        async {
            for (scope, any) in [("239.9.8.7", "0.0.0.0:0"), ("ff05::fd", "[::]:0")] {
                let (_, old) = wire("a", 1);
                let sender = socket(any);
                let mut member = group(scope, 5683, old);
                ip("link del a0");
                assert!(matches!(
                    member.rejoin(old, old),
                    Err(JoinError::NoSuchInterface(index)) if index == old
                ));
                assert!(member.members().is_empty());
                // No sleeping: the socket itself is in good order meanwhile.
                assert_eq!(member.recv_batch(&mut RecvBatch::default()).unwrap(), 0);
                let (a0, new) = wire("a", 1);
                assert_ne!(old, new);
                member.rejoin(old, new).unwrap();
                assert_eq!(member.members(), [new]);
                send(
                    &sender,
                    Outgoing::to(address(scope, 5683)).through(a0),
                    b"x",
                );
                assert_eq!(member.one().await.interface, new);
                ip("link del a0");
                // Leaving what is gone is no error.
                member.leave(new).unwrap();
                // A group of link scope needs a new socket on the new interface.
                drop(member);
            }
            let (_, old) = wire("a", 1);
            let mut member = group("ff02::fd", 5683, old);
            ip("link del a0");
            let (a0, new) = wire("a", 1);
            assert!(matches!(
                member.rejoin(old, new),
                Err(JoinError::OneInterfaceOnly { .. })
            ));
            let member = group("ff02::fd", 5683, new);
            let sender = socket("[::]:0");
            send(
                &sender,
                Outgoing::to(address("ff02::fd", 5683)).through(a0),
                b"x",
            );
            assert_eq!(member.one().await.interface, new);
        },
    );
}

#[test]
fn an_interface_is_listed_with_its_addresses_flags_and_mtu() {
    in_namespace(
        "an_interface_is_listed_with_its_addresses_flags_and_mtu",
        async {
            let (a0, a1) = wire("a", 1);
            ip("link set a0 mtu 1280");
            ip("addr add 10.0.1.77/24 dev a0 label a0:second");
            ip("link set a1 down");
            let first = interfaces::by_index(a0).unwrap();
            assert_eq!(
                first,
                interfaces::Interface {
                    index: a0,
                    name: "a0".into(),
                    up: true,
                    multicast: true,
                    loopback: false,
                    mtu: Some(1280),
                    addresses: ["10.0.1.1", "10.0.1.77", "fd00:1::1", "fe80::11"]
                        .map(|text| text.parse().unwrap())
                        .to_vec(),
                }
            );
            assert_eq!(first.ipv4(), Some(Ipv4Addr::new(10, 0, 1, 1)));
            let second = interfaces::by_name("a1").unwrap();
            assert_eq!((second.index, second.up), (a1, false));
            assert_eq!(second.mtu, Some(1500));
            assert!(!second.speaks("::1".parse().unwrap()));
            assert_eq!(interfaces::resolve("fe80::11").unwrap(), first);
            assert_eq!(interfaces::resolve("10.0.1.77").unwrap(), first);
            // Without any address it is listed all the same.
            ip("addr flush dev a1");
            assert!(interfaces::by_name("a1").unwrap().addresses.is_empty());
        },
    );
}
