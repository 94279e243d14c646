//! By what members and pairs are known.

use core::hash::{BuildHasher, BuildHasherDefault};
use std::hash::DefaultHasher;

use super::floor::*;
use crate::suite::{Aead, Hkdf};

fn member(group: &str, credential: &[u8], id: usize) -> Member {
    Member::new(group, credential, kid(id))
}

#[test]
fn a_member_is_its_group_and_its_credential() {
    let one = member("lights", b"c1", 1);
    assert_eq!(one.identity(), b"\0\x06lightsc1");
    assert_eq!((one.group(), one.credential()), ("lights", &b"c1"[..]));
    let hash = |member: &Member| BuildHasherDefault::<DefaultHasher>::default().hash_one(member);
    // The ID counts for nothing.
    let again = member("lights", b"c1", 2);
    assert_eq!(one, again);
    assert_eq!(hash(&one), hash(&again));
    assert_eq!(one.partial_cmp(&again), Some(core::cmp::Ordering::Equal));
    // Group and credential do, and where one ends and the other begins.
    let others = [
        member("lights", b"c2", 1),
        member("doors", b"c1", 1),
        member("lightsc", b"1", 1),
    ];
    for other in &others {
        assert_ne!(one, *other);
        assert_ne!(hash(&one), hash(other), "{other:?}");
    }
    assert!(member("a", b"1", 1) < member("a", b"2", 0));
    assert!(member("b", b"1", 1) > member("a", b"2", 0));
}

pub(super) fn pair(own: usize, peer: usize, secret: u8, id_context: Option<&[u8]>) -> Pair {
    let parameters = PairParameters {
        master_secret: Secret::new(vec![secret; 16]),
        master_salt: Secret::new(vec![]),
        id_context: id_context.and_then(Gid::new),
        sender_id: kid(own),
        recipient_id: kid(peer),
        hkdf: Hkdf::Sha256,
        aead: Aead::AesCcm16_64_128,
    };
    Pair::new("door", &parameters, sequence(), PairSettings::default()).unwrap()
}

#[test]
fn a_pair_says_its_names_and_not_its_keys() {
    let named = pair(0, 1, 7, Some(GID));
    assert_eq!(named.name(), "door");
    assert_eq!(named.id_context().map(Gid::as_bytes), Some(GID));
    assert_eq!((named.sender_id(), named.recipient_id()), (kid(0), kid(1)));
    assert_eq!(
        format!("{named:?}"),
        "Pair { name: \"door\", sender_id: 40, recipient_id: 41, .. }"
    );
    assert_eq!(pair(0, 1, 7, None).id_context(), None);
}

// RFC 8613, section 8.2, step 2
#[test]
fn a_request_belongs_to_the_pair_of_its_id_and_of_its_context_if_it_names_one() {
    for (of, own) in [
        (pair(0, 1, 7, Some(GID)), Some(GID)),
        (pair(0, 1, 7, None), None),
    ] {
        for from in [kid(0), kid(1), kid(2)] {
            assert_eq!(of.expects(from, None), from == kid(1));
            for named in [GID, b"", b"Da"] {
                let expected = from == kid(1) && own == Some(named);
                assert_eq!(of.expects(from, Some(named)), expected, "{from} {named:?}");
            }
        }
    }
}

#[test]
fn a_pair_whose_numbers_are_lost_protects_and_opens_nothing() {
    let mut ends = [pair(0, 1, 7, None), pair(1, 0, 7, None)].map(|pair| {
        let mut contexts = Contexts::new();
        let id = contexts.add_pair(pair);
        (contexts, id)
    });
    let plain = get(1, &[0xaa], "temp");
    let plain = Message::parse(&plain).unwrap();
    let ask = |(contexts, id): &mut (Contexts, PairId)| match contexts.protect_request(
        seconds(1),
        (*id).into(),
        &plain,
        To::Peer,
    )? {
        Protecting::Done(protected) => Ok(protected.bytes),
        _ => panic!("work"),
    };
    let bytes = ask(&mut ends[0]).unwrap();
    let [asking, hearing] = &mut ends;
    for (contexts, id) in [&mut *asking, &mut *hearing] {
        let pair = contexts.pair_mut(*id).unwrap();
        assert!(!pair.is_lost());
        pair.sequence_mut().mark_lost();
        assert!(pair.is_lost());
    }
    assert_eq!(ask(asking).err(), Some(ProtectError::Lost));
    let message = Message::parse(&bytes).unwrap();
    let heard = hearing.0.begin_request(seconds(1), &message, false);
    assert_eq!(heard.err().map(|it| it.reason), Some(Reason::Lost));
}
