//! What a Security Context is made of, and what changes in it (draft section 2).

use super::floor::*;
use super::install::{NEW, install};
use crate::open::JobResult;
use crate::suite::{Aead, GroupEncryption, Hkdf, KeyAgreement, SignatureAlgorithm};

/// The parts that derived keys and everything long-lived are made of, and those that vary, as records.
fn records(one: &mut One) -> (Vec<Vec<u8>>, Vec<u8>) {
    let installed = one.group().record(None, vec![]);
    let installed = crate::record::Installed {
        upto: 0,
        ..installed
    };
    let first = crate::record::Record::Installed(alloc::boxed::Box::new(installed));
    let mut fixed = vec![first.encode().to_vec()];
    fixed.extend(one.group().peer_records().map(|it| it.encode().to_vec()));
    let varying = one.group().clean_record().encode().to_vec();
    (fixed, varying)
}

// Covers: GO-2-02, GO-2-04, GO-2-05
#[test]
fn a_context_has_one_sender_at_most_and_a_recipient_for_each_peer() {
    // Nobody to listen to, and requests are sent all the same.
    let mut alone = Floor::new(1, Suite::default());
    assert_eq!(alone.members[0].group().peer_count(), 0);
    let plain = get(1, &[0xaa], "temp");
    let (bytes, _) = alone.ask(0, To::Group, &plain);
    assert!(Floor::new(2, Suite::default()).hear(1, &bytes).is_ok());
    // A silent server: no Sender Context, and as many Recipient Contexts as it hears peers.
    let settings = Settings::default();
    let parameters = parameters(GID, 1, Suite::default());
    let mut silent = Group::new("lights", parameters, None, settings, None).unwrap();
    assert_eq!((silent.sender_id(), silent.peer_count()), (None, 0));
    for member in 0..5 {
        silent.add_peer(kid(member), credential(member)).unwrap();
    }
    assert_eq!((silent.sender_id(), silent.peer_count()), (None, 5));
    // One for each: not two under one ID, and none for the own one.
    let twice = silent.add_peer(kid(3), credential(7));
    assert_eq!(twice, Err(GroupError::IdTaken));
    let own = alone.members[0].group().add_peer(kid(0), credential(7));
    assert_eq!(own, Err(GroupError::OwnId));
    assert_eq!(alone.members[0].group().sender_id(), Some(kid(0)));

    // What messages change is the number of the one who sends and the windows of the ones who receive.
    let mut floor = Floor::new(2, Suite::default());
    let [client, server] = [0, 1].map(|member| records(&mut floor.members[member]));
    let (request, mut asked) = floor.ask(0, To::Member(kid(1)), &plain);
    let mut opened = floor.hear(1, &request).unwrap();
    let answer = content(2, &[0xaa], b"1");
    let response = floor.answer(1, &mut opened.received, &answer, Some(Mode::Group));
    floor.listen(0, &response, &mut asked).unwrap();
    for (member, before) in [(0, client), (1, server)] {
        let after = records(&mut floor.members[member]);
        assert_eq!(after.0, before.0);
        assert_ne!(after.1, before.1);
    }
    assert_eq!(floor.members[0].group().sequence().unwrap().next(), 1);
    assert_eq!(floor.members[1].group().sequence().unwrap().next(), 1);
}

// Covers: GO-2-06
#[test]
fn the_common_context_has_what_each_mode_needs() {
    let aead = Some(Aead::AesCcm16_64_128);
    let group = aead.map(GroupEncryption::Aead);
    let signature = Some(SignatureAlgorithm::EdDsa);
    let agreement = Some(KeyAgreement::EcdhSsHkdf256);
    for set in 0..16_u8 {
        let has = |bit: u8| set & bit != 0;
        let suite = Suite::new(
            Hkdf::Sha256,
            aead.filter(|_| has(1)),
            group.filter(|_| has(2)),
            signature.filter(|_| has(4)),
            agreement.filter(|_| has(8)),
        );
        let (pairwise, grouped) = (has(1) && has(8), has(2) && has(4));
        // A mode is there with both of its algorithms, and there is one mode at least.
        assert_eq!(suite.is_ok(), pairwise || grouped, "{set:04b}");
        let Ok(suite) = suite else { continue };
        assert_eq!(suite.has_pairwise_mode(), pairwise, "{set:04b}");
        assert_eq!(suite.has_group_mode(), grouped, "{set:04b}");
        // Without signatures keys are for key agreement, and there is nothing for a silent server.
        let own = (!grouped).then(|| {
            let key = SoftwareKey::from_x25519(&[7; 32]).unwrap();
            let bytes = Credential::build_ccs("x", &key.public());
            Own {
                credential: Credential::import(CredentialFormat::Ccs, &bytes).unwrap(),
                ..own(0)
            }
        });
        let parameters_of = || parameters(GID, 1, suite);
        let settings = Settings::default();
        let silent = Group::new("x", parameters_of(), None, settings, None).err();
        assert_eq!(silent, Some(GroupError::NoMode).filter(|_| !grouped));
        let made = Group::new("x", parameters_of(), own, settings, None);
        let made = made.unwrap();
        let common = &made.current.common;
        assert_eq!(common.signature_encryption_key.is_some(), grouped);
        assert_eq!(made.suite(), &suite);
        assert_eq!(made.format(), CredentialFormat::Ccs);
        let manager = parameters(GID, 1, suite).gm_credential;
        assert_eq!(made.gm_credential(), manager.as_bytes());
    }
}

// Covers: GO-2-01, GO-7.1-07
#[test]
fn the_group_keeps_its_name_and_its_latest_context() {
    let settings = Settings {
        retention: seconds(60),
        ..Settings::default()
    };
    let mut floor = Floor::with(2, Suite::default(), settings);
    let plain = get(1, &[0xaa], "temp");
    // The server has both contexts now, and the client has missed it.
    install(&mut floor.members[1], seconds(1001));
    let server = floor.members[1].group();
    assert!(server.retained.is_some());
    assert_eq!((server.gid().as_bytes(), server.generation()), (NEW, 2));
    let (late, _) = floor.ask(0, To::Group, &plain);
    assert_eq!(floor.hear(1, &late).unwrap_err(), Reason::NoContext);
    let (latest, _) = floor.ask(1, To::Group, &plain);
    let raw = option(&latest);
    let named = crate::option::OscoreOption::parse(&raw).unwrap();
    assert_eq!(named.kid_context, Some(NEW));
    // It asks for the keys of the name, which has not changed.
    let client = &mut floor.members[0];
    assert_eq!(client.contexts.group_named("lights"), Some(client.group));
    assert_eq!(client.contexts.group_named("Dal"), None);
    install(client, seconds(1002));
    assert_eq!(client.group().name(), "lights");
    assert_eq!(client.contexts.group_named("lights"), Some(client.group));
    let (bytes, _) = floor.ask(0, To::Group, &plain);
    assert_eq!(floor.hear(1, &bytes).unwrap().message, plain);
}

// Covers: GO-2.2-03, GO-2.2-04, GO-7.4-02, GO-7.4-03
#[test]
fn a_recipient_context_follows_from_kid_and_credential() {
    for dynamic in [false, true] {
        let settings = Settings {
            dynamic,
            ..Settings::default()
        };
        let mut known = Floor::new(3, Suite::default());
        let mut floor = Floor::with(2, Suite::default(), settings);
        let plain = get(1, &[0xaa], "temp");
        let (bytes, mut asked) = floor.ask(0, To::Group, &plain);
        // Member 2 is known to nobody here; it answers.
        let mut at_two = known.hear(2, &bytes).unwrap();
        let answer = content(2, &[0xaa], b"2");
        let response = known.answer(2, &mut at_two.received, &answer, None);
        let group = floor.members[0].group;
        let stranger = kid(2);
        let expected = match dynamic {
            true => Reason::NoCredential {
                group,
                kid: stranger,
            },
            false => Reason::NoContext,
        };
        let refused = floor.listen(0, &response, &mut asked).unwrap_err();
        assert_eq!(refused, expected);
        assert_eq!(
            (asked.servers(), floor.members[0].group().peer_count()),
            (0, 1)
        );
        if !dynamic {
            continue;
        }
        // Its credential is fetched: all the rest was there.
        let client = floor.members[0].group();
        client
            .add_peer_on_reception(stranger, credential(2))
            .unwrap();
        let derived = client.current.recipients.get(stranger).unwrap();
        let fixed = known.members[0].group();
        let fixed = fixed.current.recipients.get(stranger).unwrap();
        assert_eq!(derived.key, fixed.key);
        let heard = floor.listen(0, &response, &mut asked).unwrap();
        assert_eq!(heard.message, answer);
        assert!(
            !floor.members[0]
                .group()
                .peer(stranger)
                .unwrap()
                .is_provisional()
        );
    }
}

// Covers: GO-7.4-12
#[test]
fn responses_of_strangers_that_do_not_verify_leave_nothing() {
    let settings = Settings {
        dynamic: true,
        ..Settings::default()
    };
    let mut floor = Floor::with(2, Suite::default(), settings);
    let (bytes, mut asked) = floor.ask(0, To::Group, &get(1, &[0xaa], "temp"));
    let mut opened = floor.hear(1, &bytes).unwrap();
    let answer = content(2, &[0xaa], b"1");
    let response = floor.answer(1, &mut opened.received, &answer, None);
    let genuine = Message::parse(&response).unwrap();
    for stranger in 0..1000_u16 {
        let id = [9, (stranger >> 8) as u8, stranger as u8];
        let raw = [&option(&response)[..2], &id].concat();
        let options = [(OptionNumber::OSCORE, &raw[..])];
        let forged = message(
            Type::Non,
            Code::CHANGED,
            2,
            &[0xaa],
            &options,
            genuine.payload(),
        );
        let id = Kid::new(&id).unwrap();
        let client = floor.members[0].group();
        client.add_peer_on_reception(id, credential(5)).unwrap();
        let refused = floor.listen(0, &forged, &mut asked).unwrap_err();
        assert_eq!(refused, Reason::NotVerified);
        assert_eq!(floor.members[0].group().peer_count(), 1);
    }
    let client = floor.members[0].group();
    assert!(!client.ever_deleted());
    client.add_peer(kid(2), credential(2)).unwrap();
    assert!(client.peer(kid(2)).unwrap().window().is_valid());
}

/// Agrees anew with a peer; gives the shared secret and the two pairwise keys.
fn agreed(one: &mut One, with: usize) -> (Secret, [Secret; 2]) {
    let job = one.group();
    let id = GroupId(1);
    assert!(!job.peer(kid(with)).unwrap().has_pairwise_keys());
    let plain = get(1, &[0xaa], "temp");
    let message = Message::parse(&plain).unwrap();
    let begun = one
        .contexts
        .protect_request(one.now, id.into(), &message, To::Member(kid(with)));
    let Ok(Protecting::Agree(job)) = begun else {
        panic!()
    };
    let shared = one.key.agree_with(job.agreement().peer()).unwrap();
    one.contexts.agreed(job.run(&one.key)).unwrap();
    let peer = one.group().current.recipients.get(kid(with)).unwrap();
    let keys = peer.pairwise.as_ref().unwrap();
    (shared, [keys.send.clone(), keys.receive.clone()])
}

// Covers: GO-2.5.1-06, GO-2.5.1-07, GO-2.5.4-01, GO-14.2-02
#[test]
fn pairwise_keys_change_with_keys_ids_and_credentials() {
    let mut floor = Floor::new(2, Suite::default());
    let one = &mut floor.members[0];
    let (shared, first) = agreed(one, 1);
    assert!(one.group().peer(kid(1)).unwrap().has_pairwise_keys());
    assert_ne!(first[0], first[1]);
    // New keys: the same secret, agreed on anew because it is not kept; other pairwise keys.
    install(one, seconds(1001));
    let (again, second) = agreed(one, 1);
    assert_eq!(again, shared);
    // A new own Sender ID: the key to send with.
    let prepared = one.group().prepare_sender_id(kid(7), 100).unwrap();
    one.group().commit_sender_id(prepared).unwrap();
    let (again, third) = agreed(one, 1);
    assert_eq!(again, shared);
    assert_ne!(third[0], second[0]);
    assert_eq!(third[1], second[1]);
    // The peer has a new ID, and then another credential.
    let group = one.group();
    group.remove_peer(kid(1));
    group.add_peer(kid(2), credential(1)).unwrap();
    let (again, fourth) = agreed(one, 2);
    assert_eq!(again, shared);
    assert_eq!(fourth[0], third[0]);
    assert_ne!(fourth[1], third[1]);
    let group = one.group();
    group.remove_peer(kid(2));
    group.add_peer(kid(2), credential(2)).unwrap();
    let (other, fifth) = agreed(one, 2);
    assert_ne!(other, shared);
    for (at, before) in [&first, &second, &third, &fourth].into_iter().enumerate() {
        assert_ne!(fifth[0], before[0], "{at}");
        assert_ne!(fifth[1], before[1], "{at}");
    }
    assert_ne!(first[0], second[0]);
    assert_ne!(first[1], second[1]);
}

// Covers: GO-2.6.2-05
#[test]
fn after_the_last_number_only_the_new_sender_context_protects() {
    let mut floor = Floor::new(2, Suite::default());
    let plain = get(1, &[0xaa], "temp");
    let settings = SequenceSettings {
        limit: 1,
        ..SequenceSettings::default()
    };
    let one = &mut floor.members[0];
    *one.group().sequence_mut().unwrap() = Sequence::exact(1, 2, settings);
    let (bytes, _) = one.try_ask(To::Group, &plain).unwrap();
    assert_eq!(option(&bytes).last(), Some(&0x40));
    for to in [To::Group, To::Member(kid(1))] {
        assert_eq!(
            one.try_ask(to, &plain).unwrap_err(),
            ProtectError::Exhausted
        );
    }
    let prepared = one.group().prepare_sender_id(kid(7), 100).unwrap();
    one.group().commit_sender_id(prepared).unwrap();
    for (number, to) in [To::Group, To::Member(kid(1)), To::Group]
        .into_iter()
        .enumerate()
    {
        let (bytes, _) = one.try_ask(to, &plain).unwrap();
        let raw = option(&bytes);
        let fields = crate::option::OscoreOption::parse(&raw).unwrap();
        assert_eq!(fields.kid, Some(kid(7).as_bytes()));
        assert_eq!(fields.partial_iv.unwrap().value(), number as u64);
    }
}

// Covers: GO-2.6.3-01, GO-2.6.3.1-04
#[test]
fn an_id_is_nobody_and_its_old_recipient_context_can_go() {
    let mut floor = Floor::new(3, Suite::default());
    let plain = get(1, &[0xaa], "temp");
    let (bytes, _) = floor.ask(0, To::Group, &plain);
    let (unheard, _) = floor.ask(0, To::Group, &plain);
    let before = floor.hear(1, &bytes).unwrap().sender;
    // Member 0 has another ID now, and member 2 gets its old one: IDs say nothing about who it is.
    let client = floor.members[0].group();
    let prepared = client.prepare_sender_id(kid(7), 100).unwrap();
    client.commit_sender_id(prepared).unwrap();
    let server = floor.members[1].group();
    server.add_peer(kid(7), credential(0)).unwrap();
    assert!(server.remove_peer(kid(0)));
    let (renamed, _) = floor.ask(0, To::Group, &plain);
    let after = floor.hear(1, &renamed).unwrap().sender;
    assert_eq!((&after, after.kid()), (&before, kid(7)));
    // What the member sent under its old ID is not taken any more, heard or not.
    for old in [&bytes, &unheard] {
        assert_eq!(floor.hear(1, old).unwrap_err(), Reason::NoContext);
    }
    let server = floor.members[1].group();
    server.add_peer(kid(0), credential(2)).unwrap();
    let other = server.member(kid(0)).unwrap();
    assert_ne!(other, before);
    assert_eq!(other.kid(), before.kid());
    // Nor with that ID in the hands of another: its window begins invalid.
    assert!(!server.peer(kid(0)).unwrap().window().is_valid());
    assert_eq!(floor.hear(1, &bytes).unwrap_err(), Reason::NotVerified);
}

// Covers: GO-8-01, GO-2.5.2.2-01
#[test]
fn keys_that_cannot_agree_are_no_keys_of_a_group_with_pairwise_mode() {
    let mut floor = Floor::new(2, Suite::default());
    let import = |bytes: &[u8]| Credential::import(CredentialFormat::Ccs, bytes);
    // For signing with another algorithm, and for key agreement only.
    let p256 = SoftwareKey::from_p256_scalar(&[7; 32]).unwrap();
    let x25519 = SoftwareKey::from_x25519(&[7; 32]).unwrap();
    for key in [p256, x25519] {
        let wrong = import(&Credential::build_ccs("x", &key.public())).unwrap();
        let group = floor.members[0].group();
        let refused = group.add_peer(kid(5), wrong.clone());
        assert_eq!(refused, Err(GroupError::Credential));
        let own = Own {
            sender_id: kid(5),
            credential: wrong,
            sequence: sequence(),
        };
        let parameters = parameters(GID, 1, Suite::default());
        let refused = Group::new("x", parameters, Some(own), Settings::default(), None);
        assert_eq!(refused.err(), Some(GroupError::Credential));
    }
    // RSA (type 3), and Ed448 (curve 7), whatever its coordinate, are read by nobody here.
    let rsa = b"\xa1\x08\xa1\x01\xa3\x01\x03\x20\x41\x05\x21\x41\x03";
    assert!(import(rsa).is_err());
    for x in [[0; 57], [1; 57]] {
        let mut ed448 = b"\xa1\x08\xa1\x01\xa3\x01\x01\x20\x07\x21\x58\x39".to_vec();
        ed448.extend_from_slice(&x);
        let refused = import(&ed448).unwrap_err();
        let unsupported = crate::crypto::KeyRefused::Unsupported;
        assert_eq!(
            refused,
            crate::credential::CredentialRefused::Key(unsupported)
        );
    }
}

#[test]
fn a_secret_of_another_time_makes_no_keys() {
    let mut floor = Floor::new(2, Suite::default());
    let (bytes, _) = floor.ask(0, To::Member(kid(1)), &get(1, &[0xaa], "temp"));
    let one = &mut floor.members[1];
    let message = Message::parse(&bytes).unwrap();
    let begun = one
        .contexts
        .begin_request(one.now, &message, false)
        .unwrap();
    let Step::Work(opening, job) = begun else {
        panic!()
    };
    let result = job.run(&one.key);
    assert!(matches!(result, JobResult::Agreed(_)));
    // The client goes and comes back under another credential while the secret is worked out.
    one.group().remove_peer(kid(0));
    one.group().add_peer(kid(0), credential(5)).unwrap();
    let step = one
        .contexts
        .finish_request(one.now, opening, result)
        .unwrap();
    assert!(!one.group().peer(kid(0)).unwrap().has_pairwise_keys());
    // It is agreed on anew, with the key of whoever has the ID now; the message is not by that one.
    let Step::Work(opening, job) = step else {
        panic!()
    };
    let result = job.run(&one.key);
    let refused = one.contexts.finish_request(one.now, opening, result);
    assert_eq!(refused.unwrap_err().reason, Reason::NotVerified);
}

#[test]
fn of_those_that_never_verified_the_one_that_waited_longest_goes() {
    let settings = Settings {
        dynamic: true,
        provisional: 2,
        ..Settings::default()
    };
    let mut floor = Floor::with(1, Suite::default(), settings);
    let group = floor.members[0].group();
    let mut waiting_after = |member| {
        group
            .add_peer_on_reception(kid(member), credential(member))
            .unwrap();
        group.peers().map(|peer| peer.kid()).collect::<Vec<_>>()
    };
    assert_eq!(waiting_after(9), [kid(9)]);
    assert_eq!(waiting_after(3), [kid(3), kid(9)]);
    // Whatever its ID, before or behind the others.
    assert_eq!(waiting_after(5), [kid(3), kid(5)]);
    assert_eq!(waiting_after(4), [kid(4), kid(5)]);
    assert_eq!(waiting_after(2), [kid(2), kid(4)]);
}
