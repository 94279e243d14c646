use alloc::vec;
use alloc::vec::Vec;
use std::format;

use proptest::prelude::*;

use super::*;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn written(server: &str, tags: &[&[u8]]) -> Vec<u8> {
    let mut out = [0; 100];
    let len = MultiEtag::write(address(server), tags, &mut out).unwrap();
    out[..len].to_vec()
}

// Covers: GC-3.2.2-04, GC-3.2.2.1-01, GC-3.2.2.1-02, GC-3.2.2.1-03
#[test]
fn one_server_and_its_tags_are_a_sequence_of_cbor() {
    let tag: &[u8] = b"\xde\xad\xbe\xef";
    for (server, tags, value) in [
        (
            "192.0.2.1:5683",
            &[tag][..],
            "8201d9010444c0000201 44deadbeef",
        ),
        (
            "192.0.2.1:61616",
            &[tag, b"\x01"],
            "8301d9010444c000020119f0b0 44deadbeef 4101",
        ),
        (
            "[2001:db8::1]:5683",
            &[&[7; 8]],
            "8201d901045020010db8000000000000000000000001 480707070707070707",
        ),
        (
            "[2001:db8::1]:1",
            &[tag],
            "8301d901045020010db800000000000000000000000101 44deadbeef",
        ),
    ] {
        assert_eq!(written(server, tags), hex(value));
        let value = hex(value);
        let read = MultiEtag::parse(&value).unwrap();
        assert_eq!(read.server(), address(server));
        assert!(read.tags().eq(tags.iter().copied()));
    }
    // Nothing else is the address of a server: more or fewer elements, another transport, a group.
    for value in [
        "8101 4101",
        "8401d9010444c0000201f6f6 4101",
        "8200d9010444c0000201 4101",
        "8202d9010444c0000201 4101",
        "8201d9010444e00001bb 4101",
        "8201d9010450ff0200000000000000000000000000fd 4101",
        "8201d9010445c000020101 4101",
        "820144c0000201 4101",
    ] {
        assert!(MultiEtag::parse(&hex(value)).is_err(), "{value}");
    }
    let mut out = [0; 40];
    let group = MultiEtag::write(address("224.0.1.187:5683"), &[tag], &mut out);
    assert_eq!(group, Err(MultiEtagError::Address));
    // The longest address, and the longest tag.
    let longest = written("[2001:db8::1]:65535", &[&[1; 8]]);
    assert_eq!(
        longest.len(),
        MultiEtag::MAX_ADDRESS_LEN + MultiEtag::MAX_TAG_LEN
    );
}

// Covers: GC-3.2.2.2-05
#[test]
fn an_address_takes_ten_to_twenty_five_bytes() {
    for (server, len) in [
        ("192.0.2.1:5683", 10),
        ("192.0.2.1:5684", 13),
        ("192.0.2.1:256", 13),
        ("192.0.2.1:255", 12),
        ("192.0.2.1:24", 12),
        ("192.0.2.1:23", 11),
        ("[2001:db8::1]:5683", 22),
        ("[2001:db8::1]:61616", 25),
    ] {
        assert_eq!(MultiEtag::address_len(address(server)), len);
        for tag in 1..=8 {
            let value = written(server, &[&vec![7; tag], b"1"]);
            assert_eq!(value.len(), len + 1 + tag + 2);
        }
    }
}

// Covers: GC-3.2.2.3-04, GC-3.2.2.1-04
#[test]
fn a_port_that_is_null_or_absent_is_the_default() {
    let null = hex("8301d9010444c0000201f6 4101");
    let absent = hex("8201d9010444c0000201 4101");
    let said = hex("8301d9010444c0000201191633 4101");
    for value in [null, absent, said] {
        let read = MultiEtag::parse(&value).unwrap();
        assert_eq!(read.server(), address("192.0.2.1:5683"));
    }
}

// Covers: GC-3.2.2-06
#[test]
fn entity_tags_have_one_to_eight_bytes() {
    let mut out = [0; 100];
    for tags in [&[][..], &[&b""[..]], &[b"1", &[0; 9]]] {
        let refused = MultiEtag::write(address("192.0.2.1:5683"), tags, &mut out);
        assert_eq!(refused, Err(MultiEtagError::Tag));
    }
    for tags in ["", "40", "4101 49000000000000000000"] {
        let value = hex(&format!("8201d9010444c0000201 {tags}"));
        assert_eq!(MultiEtag::parse(&value), Err(MultiEtagMalformed::Tag));
    }
}

#[test]
fn what_is_malformed_says_why() {
    use MultiEtagMalformed::{Address, Structure, Transport};
    for (value, why) in [
        ("", Structure),
        ("01", Structure),
        ("8101", Structure),
        ("8401d9010444c0000201 05 05 4101", Structure), // too many items
        ("9f01d9010444c0000201ff 4101", Structure),     // of indefinite length
        ("8201d9010444c00002", Structure),              // cut short
        ("8201d9010444c0000201 44deadbe", Structure),   // cut short in the tag
        ("8201d9010444c0000201 01", Structure),         // no byte string
        ("8301d9010444c0000201 20 4101", Structure),    // a negative port
        ("8301d9010444c0000201 1a00010000 4101", Structure), // a port above 65535
        ("8202d9010444c0000201 4101", Transport),
        ("8201d9010544c0000201 4101", Address), // another tag
        ("8201d9010444e0000001 4101", Address), // a group
        ("8201d9010443c00002 4101", Address),
        (
            "8201d9010451 20010db800000000000000000000000000 4101",
            Address,
        ),
    ] {
        assert_eq!(MultiEtag::parse(&hex(value)), Err(why), "{value}");
    }
}

#[test]
fn what_does_not_fit_is_not_written() {
    let mut out = [0; 14];
    let mut write = |len: usize| {
        MultiEtag::write(address("192.0.2.1:5683"), &[b"1234"], &mut out[..len]).map(|_| ())
    };
    assert_eq!(write(14), Err(MultiEtagError::NoRoom));
    let mut out = [0; 15];
    assert_eq!(
        MultiEtag::write(address("192.0.2.1:5683"), &[b"1234"], &mut out),
        Ok(15)
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(value in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(read) = MultiEtag::parse(&value) {
            prop_assert!(read.tags().count() > 0);
            prop_assert!(read.tags().all(|tag| (1..=8).contains(&tag.len())));
        }
    }

    #[test]
    fn what_is_written_is_read(
        v6 in any::<Option<[u8; 16]>>(),
        v4 in any::<[u8; 4]>(),
        port in any::<u16>(),
        tags in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=8), 1..5),
    ) {
        let ip = v6.map_or(IpAddr::from(v4), IpAddr::from);
        prop_assume!(!ip.is_multicast());
        let server = SocketAddr::new(ip, port);
        let tags: Vec<&[u8]> = tags.iter().map(Vec::as_slice).collect();
        let mut out = [0; 200];
        let len = MultiEtag::write(server, &tags, &mut out).unwrap();
        let read = MultiEtag::parse(&out[..len]).unwrap();
        prop_assert_eq!(read.server(), server);
        prop_assert!(read.tags().eq(tags.iter().copied()));
    }
}
