//! What was reserved for other keys, or under another Sender ID, is reserved for nobody: numbers are given out only if an upper
//! bound above them is durable for the Sender Key that they are used with (draft-ietf-core-oscore-groupcomm-28 section 2.5.3).

use antiphon_oscore::Own;
use antiphon_oscore::Stale;
use antiphon_oscore::credential::Credential;
use antiphon_oscore::crypto::{PrivateKey, SoftwareKey};
use antiphon_oscore::sequence::SequenceError;

use super::*;

const BLOCK: u32 = 64;
const NOW: Instant = Instant::from_millis(5_000);

fn kid(n: u8) -> Kid {
    Kid::new(&[n]).unwrap()
}

fn numbers() -> SequenceSettings {
    SequenceSettings {
        block: BLOCK,
        ..SequenceSettings::default()
    }
}

fn parameters(gid: &[u8], generation: u64) -> Parameters {
    let suite = Suite::new(
        Hkdf::Sha256,
        None,
        Some(GroupEncryption::A128Ctr),
        Some(SignatureAlgorithm::EdDsa),
        None,
    );
    Parameters {
        gid: Gid::new(gid).unwrap(),
        generation,
        master_secret: Secret::new(alloc::vec![generation as u8; 16]),
        master_salt: Secret::new(Vec::new()),
        suite: suite.unwrap(),
        format: CredentialFormat::Ccs,
        gm_credential: GroupManagerCredential::no_manager(),
    }
}

/// A member with Sender ID 1 under Gid "a" and generation 1; none of its numbers are reserved.
fn member() -> (Guard, GroupId) {
    let mut guard = Guard::new(SecurityConfig::default(), &mut Rng::from_seed([1; 32]));
    let key = SoftwareKey::from_ed25519_seed(&[3; 32]);
    let credential = Credential::build_ccs("member", &key.public());
    let own = Own {
        sender_id: kid(1),
        credential: Credential::import(CredentialFormat::Ccs, &credential).unwrap(),
        sequence: Sequence::new(numbers()),
    };
    let settings = Settings {
        sequence: numbers(),
        ..Settings::default()
    };
    let group = Group::new("g", parameters(b"a", 1), Some(own), settings, None).unwrap();
    let id = guard.contexts.add_group(group);
    (guard, id)
}

fn group(guard: &mut Guard, id: GroupId) -> &mut Group {
    guard.contexts.group_mut(id).unwrap()
}

fn sequence(guard: &mut Guard, id: GroupId) -> &mut Sequence {
    group(guard, id).sequence_mut().unwrap()
}

fn reserved(sender_id: u8, upto: u64) -> Record {
    Record::Reserved {
        gid: b"a".to_vec(),
        sender_id: alloc::vec![sender_id],
        upto,
    }
}

/// The Sender ID changes, with this many numbers made durable together with it.
fn change_sender_id(guard: &mut Guard, id: GroupId, to: u8, durable: u64) {
    let group = group(guard, id);
    let prepared = group.prepare_sender_id(kid(to), durable).unwrap();
    group.commit_sender_id(prepared).unwrap();
}

#[test]
fn what_was_reserved_for_the_old_sender_id_gives_the_new_one_no_number() {
    let (mut guard, id) = member();
    let (old, record) = guard.poll_reservation(NOW).unwrap();
    assert_eq!(record, reserved(1, 64));
    change_sender_id(&mut guard, id, 2, 8);
    guard.reserved(NOW, old, true);
    let sequence = sequence(&mut guard, id);
    assert_eq!((sequence.next(), sequence.reserved_upto()), (0, 8));
    for number in 0..8 {
        assert_eq!(sequence.take().unwrap().value(), number);
    }
    assert_eq!(sequence.take(), Err(SequenceError::NotReserved));
    // Its own reservation is asked for by its name, and counts.
    let (new, record) = guard.poll_reservation(NOW).unwrap();
    assert_eq!(record, reserved(2, 72));
    guard.reserved(NOW, new, true);
    let sequence = self::sequence(&mut guard, id);
    assert_eq!((sequence.next(), sequence.reserved_upto()), (8, 72));
    assert_eq!(sequence.take().unwrap().value(), 8);
}

#[test]
fn what_failed_for_the_old_sender_id_leaves_the_question_of_the_new_one_open() {
    for ok in [true, false] {
        let (mut guard, id) = member();
        let (old, _) = guard.poll_reservation(NOW).unwrap();
        change_sender_id(&mut guard, id, 2, 8);
        let (new, record) = guard.poll_reservation(NOW).unwrap();
        assert_eq!(record, reserved(2, 72));
        guard.reserved(NOW, old, ok);
        let later = NOW + guard.config.store_again_after;
        guard.handle_timeout(later);
        assert!(guard.poll_reservation(later).is_none(), "under way");
        assert_eq!(sequence(&mut guard, id).reserved_upto(), 8);
        guard.reserved(later, new, true);
        assert_eq!(sequence(&mut guard, id).reserved_upto(), 72);
    }
}

#[test]
fn a_reservation_is_of_one_gid_one_generation_and_one_sender_id() {
    type Change = fn(&mut Reservation);
    let changes: [(&str, Change, u64); 4] = [
        ("the same", |_| {}, 64),
        ("the Gid", |it| it.gid = b"b".to_vec(), 0),
        ("the generation", |it| it.generation = 2, 0),
        ("the Sender ID", |it| it.sender_id = kid(2), 0),
    ];
    for (what, change, upto) in changes {
        let (mut guard, id) = member();
        let (mut done, _) = guard.poll_reservation(NOW).unwrap();
        assert_eq!((&done.gid[..], done.generation), (&b"a"[..], 1));
        assert_eq!((done.sender_id, done.upto), (kid(1), 64));
        change(&mut done);
        assert_eq!(guard.reserved(NOW, done, true), ContextId::Group(id));
        let sequence = sequence(&mut guard, id);
        assert_eq!(sequence.reserved_upto(), upto, "{what}");
        assert_eq!(sequence.take().is_ok(), upto > 0, "{what}");
    }
}

#[test]
fn what_was_reserved_before_two_rekeyings_counts_for_none_although_the_gid_is_back() {
    let (mut guard, id) = member();
    let (old, _) = guard.poll_reservation(NOW).unwrap();
    for (gid, generation) in [(b"b", 2), (b"a", 3)] {
        let parameters = parameters(gid, generation);
        let group = group(&mut guard, id);
        let prepared = group.prepare_install(parameters, None, Stale::All, 4);
        let prepared = prepared.unwrap();
        group.commit_install(prepared, at(NOW)).unwrap();
    }
    assert_eq!(group(&mut guard, id).sender_id(), Some(kid(1)));
    guard.reserved(NOW, old, true);
    assert_eq!(sequence(&mut guard, id).reserved_upto(), 4);
}
