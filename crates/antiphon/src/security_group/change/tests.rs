//! What comes between the preparation of a change and its end.

use antiphon_oscore::credential::CredentialFormat;
use antiphon_oscore::crypto::{PrivateKey as _, SoftwareKey};
use antiphon_oscore::sequence::{Sequence, SequenceSettings};
use antiphon_oscore::{Gid, GroupManagerCredential, Own, Settings};

use super::*;

fn kid(n: u8) -> Kid {
    Kid::new(&[n]).unwrap()
}

fn credential(n: u8) -> Credential {
    let key = SoftwareKey::from_ed25519_seed(&[n + 1; 32]);
    let bytes = Credential::build_ccs(&format!("member-{n}"), &key.public());
    Credential::import(CredentialFormat::Ccs, &bytes).unwrap()
}

fn parameters() -> Parameters {
    Parameters {
        gid: Gid::new(b"gid").unwrap(),
        generation: 0,
        master_secret: Secret::copy_of(&[7; 16]),
        master_salt: Secret::new(Vec::new()),
        suite: Default::default(),
        format: CredentialFormat::Ccs,
        gm_credential: GroupManagerCredential::no_manager(),
    }
}

/// A group that takes in whoever a directory knows, of member 0 with member 1 and room for one more.
fn group() -> (Group, Installations) {
    let settings = Settings {
        dynamic: true,
        recipients: 2,
        ..Settings::default()
    };
    let own = Own {
        sender_id: kid(0),
        credential: credential(0),
        sequence: Sequence::exact(0, 100, SequenceSettings::default()),
    };
    let mut group = Group::new("lights", parameters(), Some(own), settings, None).unwrap();
    group.add_peer(kid(1), credential(1)).unwrap();
    let mut installations = Installations::default();
    installations.note(0, b"gid", Some(&[0]));
    (group, installations)
}

/// Prepares a change, lets something happen, and puts the change into effect.
fn changed(change: &Change, meanwhile: impl FnOnce(&mut Group)) -> (Group, Changed) {
    let (mut group, installations) = group();
    let prepared = prepare(&mut group, change, &installations, None);
    let (pending, _) = prepared.unwrap();
    meanwhile(&mut group);
    let done = commit(&mut group, pending, Duration::ZERO);
    (group, done)
}

/// Somebody says to be a member, which a directory knows; nothing has verified.
fn meet(n: u8) -> impl Fn(&mut Group) {
    move |group| {
        group.add_peer_on_reception(kid(n), credential(n)).unwrap();
    }
}

#[test]
fn a_stranger_that_comes_meanwhile_spoils_no_change() {
    let renamed = Change::Describe(Box::new(Wanted {
        parameters: parameters(),
        sender_id: Some(kid(9)),
        own: None,
        peers: vec![(kid(1), credential(1))],
        stale: None,
    }));
    let (group, done) = changed(&renamed, meet(9));
    assert_eq!(done.unwrap().0, Update::NewSenderId);
    assert_eq!((group.sender_id(), group.is_lost()), (Some(kid(9)), false));

    let one_more = Change::Add(kid(2), Box::new(credential(2)));
    for stranger in [2, 3] {
        let (group, done) = changed(&one_more, meet(stranger));
        assert!(matches!(done.unwrap().0, Update::Members { .. }));
        let known = group.peer(kid(2)).unwrap();
        assert!(!known.is_provisional() && !group.is_lost());
        // Nor does one that came before.
        let (mut group, installations) = self::group();
        meet(stranger)(&mut group);
        let (pending, _) = prepare(&mut group, &one_more, &installations, None).unwrap();
        commit(&mut group, pending, Duration::ZERO).unwrap();
        assert!(!group.peer(kid(2)).unwrap().is_provisional());
    }
}

#[test]
fn a_member_that_is_met_meanwhile_may_take_the_last_place_and_nothing_is_lost() {
    let one_more = Change::Add(kid(2), Box::new(credential(2)));
    let met = |group: &mut Group| group.add_peer(kid(3), credential(3)).unwrap();
    let (group, done) = changed(&one_more, met);
    let full = matches!(
        done,
        Err(SecurityError::Member {
            reason: GroupError::Full,
            ..
        })
    );
    assert!(full && !group.is_lost());
}

#[test]
fn nobody_is_added_under_an_id_or_the_credential_of_this_endpoint() {
    let (mut group, mut installations) = group();
    let prepared = group.prepare_sender_id(kid(9), 100).unwrap();
    group.commit_sender_id(prepared).unwrap();
    installations.note(0, b"gid", Some(&[9]));
    for (id, of, why) in [
        (0, 5, GroupError::OwnId),
        (9, 5, GroupError::OwnId),
        (5, 0, GroupError::OwnCredential),
    ] {
        let change = Change::Add(kid(id), Box::new(credential(of)));
        let refused = prepare(&mut group, &change, &installations, None).err();
        let taken = matches!(refused, Some(SecurityError::Member { reason, .. }) if reason == why);
        assert!(taken, "{id} {of}: {refused:?}");
    }
}
