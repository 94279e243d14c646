use antiphon_wire::{Code, MessageId, Token, Type, Writer};
use std::string::ToString;
use std::vec;

use super::*;
use crate::path::SocketId;
use crate::rng::Rng;

fn path(peer: &str, interface: u32) -> Path {
    Path {
        socket: SocketId(1),
        local: "10.0.0.1:4000".parse().unwrap(),
        interface,
        peer: peer.parse().unwrap(),
    }
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn indexed(members: Vec<Member>) -> Result<Members, DuplicateMember> {
    let mut expectation = Expectation::nobody();
    for member in members {
        expectation.add(member);
    }
    Members::new(expectation, Rng::from_seed([2; 32]).keyed_hash())
}

/// Whose answer from this address on this interface is.
fn at(members: &Members, peer: &str, interface: u32) -> Option<u32> {
    let mut bytes = [0; 16];
    let writer = Writer::new(
        &mut bytes,
        Type::Non,
        Code::CONTENT,
        MessageId(1),
        Token::EMPTY,
    );
    let len = writer.unwrap().finish();
    let message = Message::parse(&bytes[..len]).unwrap();
    members
        .find(&path(peer, interface), &Sender::Unauthenticated, &message)
        .map(|member| member.0)
}

#[test]
fn an_address_without_port_matches_every_port() {
    let members = indexed(vec![
        Member::named("a").at(ip("192.0.2.1")),
        Member::named("b").at(ip("2001:db8::2")),
    ])
    .unwrap();
    for port in [1, 5683, 65_535] {
        assert_eq!(at(&members, &std::format!("192.0.2.1:{port}"), 0), Some(0));
        assert_eq!(
            at(&members, &std::format!("[2001:db8::2]:{port}"), 7),
            Some(1)
        );
    }
    assert_eq!(at(&members, "[::ffff:192.0.2.1]:9", 0), Some(0));
    assert_eq!(at(&members, "192.0.2.2:5683", 0), None);
}

#[test]
fn ports_tell_members_on_one_host_apart() {
    let members = indexed(vec![
        Member::named("a").at(socket("127.0.0.1:5001")),
        Member::named("b").at(socket("127.0.0.1:5002")),
        Member::named("c").at(socket("127.0.0.2:5001")),
        Member::named("d")
            .at(socket("127.0.0.3:5001"))
            .at(socket("127.0.0.3:5002")),
    ])
    .unwrap();
    assert_eq!(at(&members, "127.0.0.1:5001", 0), Some(0));
    assert_eq!(at(&members, "127.0.0.1:5002", 0), Some(1));
    assert_eq!(
        at(&members, "127.0.0.1:5003", 0),
        None,
        "either of two members"
    );
    // A server may answer from another port (GC-3.1-19): on this host only one is expected.
    assert_eq!(at(&members, "127.0.0.2:61000", 0), Some(2));
    assert_eq!(at(&members, "127.0.0.3:61000", 0), Some(3));
}

#[test]
fn an_exact_port_goes_before_any_port() {
    let members = indexed(vec![
        Member::named("host").at(ip("192.0.2.1")),
        Member::named("port").at(socket("192.0.2.1:6000")),
    ])
    .unwrap();
    assert_eq!(at(&members, "192.0.2.1:6000", 0), Some(1));
    assert_eq!(at(&members, "192.0.2.1:6001", 0), Some(0));
}

#[test]
fn the_interface_of_a_link_local_address_counts_only_if_it_is_named() {
    let members = indexed(vec![
        Member::named("anywhere").at(socket("[fe80::1]:5683")),
        Member::named("on 2").at(socket("[fe80::2%2]:5683")),
        Member::named("on 3").at(socket("[fe80::2%3]:5683")),
        Member::named("any port on 5").at(socket("[fe80::9%5]:0")),
        Member::named("global").at(socket("[2001:db8::1%5]:5683")),
    ])
    .unwrap();
    assert_eq!(at(&members, "[fe80::1%2]:5683", 2), Some(0));
    assert_eq!(at(&members, "[fe80::1]:5683", 9), Some(0));
    assert_eq!(at(&members, "[fe80::2%2]:5683", 0), Some(1));
    assert_eq!(at(&members, "[fe80::2%3]:5683", 0), Some(2));
    assert_eq!(at(&members, "[fe80::2]:5683", 3), Some(2));
    assert_eq!(at(&members, "[fe80::2%4]:5683", 0), None);
    assert_eq!(at(&members, "[fe80::9%5]:1", 0), Some(3));
    assert_eq!(at(&members, "[fe80::9%6]:1", 0), None);
    assert_eq!(at(&members, "[2001:db8::1]:5683", 8), Some(4));
}

#[test]
fn another_port_on_another_interface_is_another_host() {
    let members = indexed(vec![Member::named("a").at(socket("[fe80::1%2]:5683"))]).unwrap();
    assert_eq!(at(&members, "[fe80::1%2]:61000", 0), Some(0));
    assert_eq!(at(&members, "[fe80::1%3]:61000", 0), None);
}

#[test]
fn any_of_several_addresses_will_do_and_all_are_kept_in_order() {
    let members = indexed(vec![
        Member::named("a")
            .at(ip("192.0.2.1"))
            .at(ip("192.0.2.1"))
            .at(ip("2001:db8::1"))
            .at(socket("[fe80::1%2]:7")),
        Member::named("none"),
        Member::named("b").at(ip("192.0.2.9")),
    ])
    .unwrap();
    assert_eq!(at(&members, "192.0.2.1:1", 0), Some(0));
    assert_eq!(at(&members, "[2001:db8::1]:1", 0), Some(0));
    assert_eq!(at(&members, "[fe80::1%2]:7", 0), Some(0));
    assert_eq!(at(&members, "192.0.2.9:7", 0), Some(2));
    assert_eq!(members.addresses(MemberIndex(0)).len(), 4);
    assert_eq!(members.addresses(MemberIndex(1)).len(), 0);
    let address = members.addresses(MemberIndex(0))[3];
    assert_eq!(address.ip(), ip("fe80::1"));
    assert_eq!((address.port(), address.scope()), (Some(7), Some(2)));
    let any = members.addresses(MemberIndex(2))[0];
    assert_eq!((any.port(), any.scope()), (None, None));
    assert_eq!(members.addresses(MemberIndex(3)).len(), 0);
    assert_eq!(members.len(), 3);
    assert_eq!(members.name(MemberIndex(1)), "none");
    assert_eq!(members.name(MemberIndex(2)), "b");
    assert_eq!(members.name(MemberIndex(3)), "");
    let names = members.names();
    assert_eq!(names.get(MemberIndex(0)), "a");
    assert_eq!(members.into_names(), names);
}

#[test]
fn members_that_share_something_are_duplicates() {
    let duplicate = |first, second| {
        Some(DuplicateMember {
            first: MemberIndex(first),
            second: MemberIndex(second),
        })
    };
    let error = |members| indexed(members).err();
    let a = || Member::named("a");
    assert_eq!(
        error(vec![a(), a().at(ip("192.0.2.1")), a().at(ip("192.0.2.1"))]),
        duplicate(1, 2)
    );
    assert_eq!(
        error(vec![
            a().at(socket("[fe80::1%2]:5683")),
            a().at(socket("[fe80::1]:5683"))
        ]),
        duplicate(0, 1)
    );
    assert_eq!(error(vec![a().id(*b"x"), a().id(*b"x")]), duplicate(0, 1));
    let proven = || a().identity(Identity(vec![1]));
    assert_eq!(error(vec![proven(), proven()]), duplicate(0, 1));
    assert_eq!(
        error(vec![
            a().id(*b"x"),
            a().id(*b"y"),
            a().at(socket("192.0.2.1:1")),
            a().at(socket("192.0.2.1:2")),
            a().at(ip("192.0.2.1")),
            a().at(socket("[fe80::1%2]:5683")),
            a().at(socket("[fe80::1%3]:5683")),
            // An identity says more than an address, so that this is no second member at that address.
            proven().at(ip("192.0.2.1")),
        ]),
        None
    );
}

#[test]
fn addresses_are_written_as_they_are_read() {
    for text in ["192.0.2.1:5683", "[2001:db8::1]:5683", "[fe80::1%2]:5683"] {
        assert_eq!(MemberAddress::from(socket(text)).to_string(), text);
    }
    assert_eq!(
        MemberAddress::from(ip("192.0.2.1")).to_string(),
        "192.0.2.1"
    );
    let any_port = MemberAddress::from(socket("[fe80::1%2]:0"));
    assert_eq!(any_port.to_string(), "fe80::1%2");
    let mapped = MemberAddress::from(socket("[::ffff:192.0.2.1]:7"));
    assert_eq!(mapped.to_string(), "192.0.2.1:7");
    let expectation: Expectation = [socket("192.0.2.1:7"), socket("[fe80::1%2]:0")]
        .into_iter()
        .collect();
    assert_eq!(expectation.len(), 2);
    assert!(!expectation.is_empty());
    assert!(Expectation::nobody().is_empty());
    let members = Members::new(expectation, Rng::from_seed([2; 32]).keyed_hash()).unwrap();
    assert_eq!(members.name(MemberIndex(0)), "192.0.2.1:7");
    assert_eq!(members.name(MemberIndex(1)), "fe80::1%2");
}

#[test]
fn members_are_numbered_as_they_are_added() {
    let mut expectation = Expectation::nobody();
    assert_eq!(expectation.addresses.capacity(), 0);
    expectation.reserve(30);
    assert!(expectation.addresses.capacity() >= 30);
    assert!(expectation.names.ends.capacity() >= 30);
    assert_eq!(expectation.add(Member::named("a")), MemberIndex(0));
    assert_eq!(expectation.add(Member::named("b")), MemberIndex(1));
    assert_eq!(expectation.len(), 2);
    let text = "Expectation { members: 2, .. }";
    assert_eq!(std::format!("{expectation:?}"), text);
    let members = Members::new(expectation, Rng::from_seed([2; 32]).keyed_hash()).unwrap();
    assert_eq!(std::format!("{members:?}"), text);
    // Different endpoints have different hashes, so that looking one up takes no search.
    let hash = |port| {
        let address = MemberAddress::from(SocketAddr::from(([192, 0, 2, 1], port)));
        (
            endpoint_hash(&members.hash, Some(address)),
            ip_hash(&members.hash, Some(address)),
        )
    };
    assert_ne!(hash(1).0, hash(2).0);
    assert_eq!(hash(1).1, hash(2).1);
    let other = MemberAddress::from(ip("192.0.2.2"));
    assert_ne!(hash(1).1, ip_hash(&members.hash, Some(other)));
}
