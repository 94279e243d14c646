//! What a group says of itself and of its members.

use super::floor::*;
use crate::record::Past;
use crate::suite::{Aead, GroupEncryption, Hkdf, KeyAgreement, SignatureAlgorithm};

fn silent() -> Group {
    let parameters = parameters(GID, 1, Suite::default());
    let mut group = Group::new("lights", parameters, None, Settings::default(), None).unwrap();
    for peer in [1, 2] {
        group.add_peer(kid(peer), credential(peer)).unwrap();
    }
    group
}

#[test]
fn who_cannot_challenge_needs_new_keys_when_no_window_is_valid() {
    let mut group = silent();
    assert!(!group.needs_new_keys(), "all windows are valid");
    assert!(group.remove_peer(kid(1)));
    assert!(!group.needs_new_keys(), "that of 2 still is");
    group.add_peer(kid(1), credential(1)).unwrap();
    assert!(!group.needs_new_keys(), "that of 1 is not any more");
    group.windows_unknown();
    assert!(group.needs_new_keys());
    // Nobody yet, whose window would be valid.
    let parameters = || parameters(GID, 1, Suite::default());
    let settings = Settings::default();
    let empty = Group::new("lights", parameters(), None, settings, None).unwrap();
    assert!(!empty.needs_new_keys());
    // Whoever can ask for proof goes on; without the pairwise mode that is not possible in this group.
    for (modes, needs) in [
        (Modes::Both, false),
        (Modes::Pairwise, false),
        (Modes::Group, true),
    ] {
        let settings = Settings { modes, ..settings };
        let mut group = Group::new("lights", parameters(), Some(own(0)), settings, None).unwrap();
        group.add_peer(kid(1), credential(1)).unwrap();
        assert!(!group.needs_new_keys());
        group.windows_unknown();
        assert_eq!(group.needs_new_keys(), needs, "{modes:?}");
    }
}

#[test]
fn a_member_is_known_under_its_present_id() {
    let mut group = silent();
    let member = group.member(kid(2)).unwrap();
    assert_eq!(group.kid_of(&member), Some(kid(2)));
    // Of two IDs of one credential it is the one that the member had.
    group.add_peer(kid(5), credential(2)).unwrap();
    group.add_peer(kid(0), credential(2)).unwrap();
    let other = group.member(kid(5)).unwrap();
    assert_eq!(group.kid_of(&member), Some(kid(2)));
    assert_eq!(group.kid_of(&other), Some(kid(5)));
    // When that is gone, another one; when somebody else has it, too.
    assert!(group.remove_peer(kid(0)) && group.remove_peer(kid(2)));
    assert_eq!(group.kid_of(&member), Some(kid(5)));
    group.add_peer(kid(2), credential(3)).unwrap();
    assert_eq!(group.kid_of(&member), Some(kid(5)));
    assert!(group.remove_peer(kid(5)));
    assert_eq!(group.kid_of(&member), None);
    assert_eq!(group.kid_of(&other), None);
    // A group of another name has other members, whatever their credentials.
    let elsewhere = Member::new("doors", credential(1).bytes(), kid(1));
    assert_eq!(group.kid_of(&elsewhere), None);
}

#[test]
fn a_group_has_the_credential_of_its_own_member() {
    let mut floor = Floor::new(2, Suite::default());
    let own = floor.members[1].group().credential().cloned();
    assert_eq!(own, Some(credential(1)));
    assert_eq!(silent().credential(), None);
}

#[test]
fn the_record_of_a_group_carries_its_past() {
    let past = [(&b"Old"[..], 0x41), (GID, 0x42)].map(|(gid, id)| Past {
        gid: gid.to_vec(),
        sender_id: vec![id],
    });
    let mut group = silent();
    let record = group.record(None, past.to_vec());
    assert_eq!(record.past, past);
    assert!(!record.ever_deleted);
    assert!(group.remove_peer(kid(1)));
    let record = group.record(None, vec![]);
    assert_eq!((record.past, record.ever_deleted), (vec![], true));
}

// draft sections 2.4 and 8
#[test]
fn a_key_must_serve_in_each_mode_that_the_group_has() {
    let (aead, agreement) = (
        Some(Aead::AesCcm16_64_128),
        Some(KeyAgreement::EcdhSsHkdf256),
    );
    let (sealing, signing) = (
        aead.map(GroupEncryption::Aead),
        Some(SignatureAlgorithm::EdDsa),
    );
    let key = SoftwareKey::from_x25519(&[7; 32]).unwrap();
    let bytes = Credential::build_ccs("agrees only", &key.public());
    let agrees = Credential::import(CredentialFormat::Ccs, &bytes).unwrap();
    for (suite, serves) in [
        (
            Suite::new(Hkdf::Sha256, aead, sealing, signing, agreement),
            false,
        ),
        (
            Suite::new(Hkdf::Sha256, None, sealing, signing, None),
            false,
        ),
        (Suite::new(Hkdf::Sha256, aead, None, None, agreement), true),
    ] {
        let own = Own {
            credential: agrees.clone(),
            ..own(0)
        };
        let parameters = parameters(GID, 1, suite.unwrap());
        let made = Group::new("x", parameters, Some(own), Settings::default(), None);
        let refused = Some(GroupError::Credential).filter(|_| !serves);
        assert_eq!(made.err(), refused);
    }
    // A peer as well.
    let refused = silent().add_peer(kid(7), agrees);
    assert_eq!(refused, Err(GroupError::Credential));
}
