//! The order of decisions when a message comes in, and what is said about it.

use super::floor::*;
use crate::suite::{Aead, GroupEncryption, Hkdf, KeyAgreement, SignatureAlgorithm};

pub(super) fn group_only() -> Suite {
    let ccm = Some(GroupEncryption::Aead(Aead::AesCcm16_64_128));
    Suite::new(
        Hkdf::Sha256,
        None,
        ccm,
        Some(SignatureAlgorithm::EdDsa),
        None,
    )
    .unwrap()
}

// Covers: GO-6-02, GO-2.1.1-02, GO-2.1.10-03, GO-9-09, GO-3.4-03, GO-3.4-06
#[test]
fn a_group_without_pairwise_algorithms_has_no_pairwise_mode() {
    let mut floor = Floor::new(2, group_only());
    let mut both = Floor::new(2, Suite::default());
    let request = get(1, &[0xaa], "temp");
    // A message for one member goes in group mode there.
    let (bytes, asked) = floor.ask(0, To::Member(kid(1)), &request);
    assert_eq!(asked.mode(), Mode::Group);
    assert_eq!(asked.intended(), Some(kid(1)));
    assert_eq!(option(&bytes)[0] & 0x20, 0x20);
    let mut opened = floor.hear(1, &bytes).unwrap();
    let answer = content(1, &[0xaa], b"1");
    let message = Message::parse(&answer).unwrap();
    let one = &mut floor.members[1];
    let refused = one.protect(|it, now| {
        it.protect_response(now, &message, &mut opened.received, Some(Mode::Pairwise))
    });
    assert_eq!(refused.unwrap_err(), ProtectError::ModeUnavailable);
    // And what comes in pairwise mode is discarded.
    let (paired, _) = both.ask(0, To::Member(kid(1)), &request);
    let reason = floor.hear(1, &paired).unwrap_err();
    assert_eq!(reason, Reason::ModeUnavailable(Mode::Pairwise));
    // What is not set enters the authenticated data as null: the messages of the other group do not verify.
    let (signed, _) = both.ask(0, To::Group, &request);
    assert_eq!(floor.hear(1, &signed).unwrap_err(), Reason::NotVerified);
}

#[test]
fn a_response_has_the_mode_that_there_is_when_the_keys_were_replaced() {
    let mut floor = Floor::new(2, Suite::default());
    let (bytes, _) = floor.ask(0, To::Member(kid(1)), &get(1, &[0xaa], "temp"));
    let mut opened = floor.hear(1, &bytes).unwrap();
    let one = &mut floor.members[1];
    let new = parameters(b"Em", 2, group_only());
    let prepared = one.group().prepare_install(
        new,
        None,
        Stale::Since {
            generation: 1,
            kids: vec![],
        },
        100,
    );
    one.group()
        .commit_install(prepared.unwrap(), seconds(1000))
        .unwrap();
    let answer = content(2, &[0xaa], b"1");
    let refused = one.try_answer(&mut opened.received, &answer, Some(Mode::Pairwise));
    assert_eq!(refused.unwrap_err(), ProtectError::ModeUnavailable);
    let response = one.try_answer(&mut opened.received, &answer, None).unwrap();
    assert_eq!(option(&response)[0] & 0x20, 0x20);
}

// Covers: GO-6-03, GO-2.1.7-02, GO-2.1.8-01, GO-3.4-04, GO-3.4-05
#[test]
fn a_group_without_group_algorithms_has_no_group_mode() {
    let aead = Some(Aead::AesCcm16_64_128);
    let agreement = Some(KeyAgreement::EcdhSsHkdf256);
    let suite = Suite::new(Hkdf::Sha256, aead, None, None, agreement).unwrap();
    // Without signatures the keys are made for key agreement.
    let key = |member: usize| SoftwareKey::from_x25519(&[member as u8 + 1; 32]).unwrap();
    let credential = |member: usize| {
        let bytes = Credential::build_ccs("x", &key(member).public());
        Credential::import(CredentialFormat::Ccs, &bytes).unwrap()
    };
    let mut members: Vec<One> = (0..2)
        .map(|index| {
            let own = Own {
                sender_id: kid(index),
                credential: credential(index),
                sequence: sequence(),
            };
            let mut group = Group::new(
                "x",
                parameters(GID, 1, suite),
                Some(own),
                Settings::default(),
                None,
            )
            .unwrap();
            group
                .add_peer(kid(1 - index), credential(1 - index))
                .unwrap();
            let mut contexts = Contexts::new();
            let group = contexts.add_group(group);
            One {
                contexts,
                group,
                key: key(index),
                now: seconds(1),
            }
        })
        .collect();
    let request = get(1, &[0xaa], "temp");
    assert_eq!(
        members[0].try_ask(To::Group, &request).unwrap_err(),
        ProtectError::ModeUnavailable
    );
    let (bytes, mut asked) = members[0].try_ask(To::Member(kid(1)), &request).unwrap();
    let mut opened = members[1].hear(&bytes).unwrap();
    let answer = content(1, &[0xaa], b"1");
    let response = members[1]
        .try_answer(&mut opened.received, &answer, None)
        .unwrap();
    assert_eq!(
        members[0].listen(&response, &mut asked).unwrap().message,
        answer
    );
    let mut both = Floor::new(2, Suite::default());
    let (signed, _) = both.ask(0, To::Group, &request);
    let reason = members[1].hear(&signed).unwrap_err();
    assert_eq!(reason, Reason::ModeUnavailable(Mode::Group));
    let (paired, _) = both.ask(0, To::Member(kid(1)), &request);
    assert_eq!(members[1].hear(&paired).unwrap_err(), Reason::NotVerified);
}

// Covers: GO-2-03, GO-8-03, GO-14.14-01, GO-1.1-01, GO-2.6.1.1-07
#[test]
fn a_silent_server_opens_group_mode_and_sends_nothing() {
    let mut floor = Floor::new(2, Suite::default());
    let parameters = parameters(GID, 1, Suite::default());
    let mut group = Group::new("lights", parameters, None, Settings::default(), None).unwrap();
    group.add_peer(kid(0), credential(0)).unwrap();
    assert!(group.sender_id().is_none() && group.sequence().is_none());
    let mut contexts = Contexts::new();
    let group = contexts.add_group(group);
    let mut silent = One {
        contexts,
        group,
        key: key(5),
        now: seconds(1),
    };
    let request = get(1, &[0xaa], "temp");
    let (bytes, _) = floor.ask(0, To::Group, &request);
    let mut opened = silent.hear(&bytes).unwrap();
    assert_eq!(opened.message, request);
    let answer = content(1, &[0xaa], b"1");
    for mode in [None, Some(Mode::Group), Some(Mode::Pairwise)] {
        let refused = silent.try_answer(&mut opened.received, &answer, mode);
        assert_eq!(refused.unwrap_err(), ProtectError::NoSender);
    }
    assert_eq!(
        silent.try_ask(To::Group, &request).unwrap_err(),
        ProtectError::NoSender
    );
    let (paired, _) = floor.ask(0, To::Member(kid(1)), &request);
    let reason = silent.hear(&paired).unwrap_err();
    assert_eq!(reason, Reason::ModeUnavailable(Mode::Pairwise));
    // It may say so, without protection, as any other server may; by multicast nobody does.
    let error = reason.answer(false).map(|error| error.code);
    assert_eq!(error, Some(Code::BAD_OPTION));
    let (mut forged, _) = floor.ask(0, To::Group, &request);
    *forged.last_mut().unwrap() ^= 1;
    let reason = silent.hear(&forged).unwrap_err();
    let error = reason.answer(false).map(|error| error.code);
    assert_eq!(
        (error, reason.answer(true)),
        (Some(Code::BAD_REQUEST), None)
    );
    // With an invalid window it cannot challenge: it waits for new keys.
    silent.group().windows_unknown();
    let (next, _) = floor.ask(0, To::Group, &request);
    assert_eq!(silent.hear(&next).unwrap_err(), Reason::WindowInvalid);
    silent.group().mark_lost();
    assert_eq!(silent.hear(&next).unwrap_err(), Reason::Lost);
}

#[test]
fn a_member_is_found_by_its_credential_under_whatever_id() {
    let mut floor = Floor::new(3, Suite::default());
    let group = floor.members[1].group();
    let (zero, two) = (credential(0), credential(2));
    group.add_peer(kid(7), zero.clone()).unwrap();
    assert_eq!(group.holder_of(zero.bytes()), Some(kid(0)));
    assert_eq!(group.holder_of(two.bytes()), Some(kid(2)));
    group.remove_peer(kid(0));
    assert_eq!(group.holder_of(zero.bytes()), Some(kid(7)));
    group.remove_peer(kid(7));
    assert_eq!(group.holder_of(zero.bytes()), None);
    assert_eq!(group.holder_of(two.bytes()), Some(kid(2)));
}

// Covers: GO-7.2-15
#[test]
fn a_request_with_the_own_sender_id_is_not_processed() {
    for to in [To::Group, To::Member(kid(1))] {
        let mut floor = Floor::new(2, Suite::default());
        let (bytes, _) = floor.ask(0, to, &get(1, &[0xaa], "temp"));
        assert_eq!(floor.hear(0, &bytes).unwrap_err(), Reason::OwnKid);
        assert_eq!(Reason::OwnKid.answer(false), None);
        assert!(floor.hear(1, &bytes).is_ok());
    }
}

// Covers: GO-8.4-03
#[test]
fn what_is_not_known_and_what_came_before_new_keys_is_treated_alike_in_both_modes() {
    for to in [To::Group, To::Member(kid(1))] {
        let mut floor = Floor::new(3, Suite::default());
        let (own, _) = floor.ask(0, to, &get(1, &[0xaa], "temp"));
        assert_eq!(floor.hear(0, &own).unwrap_err(), Reason::OwnKid);
        floor.members[1].group().remove_peer(kid(2));
        let (unknown, _) = floor.ask(2, to, &get(1, &[0xaa], "temp"));
        assert_eq!(floor.hear(1, &unknown).unwrap_err(), Reason::NoContext);
        // A long exchange over new keys: the responses are for the request as it was.
        let observe = [(OptionNumber::OBSERVE, &[][..])];
        let plain = message(Type::Non, Code::GET, 1, &[0xaa], &observe, b"");
        let (bytes, mut asked) = floor.ask(0, to, &plain);
        let mut opened = floor.hear(1, &bytes).unwrap();
        for member in [0, 1] {
            super::install::install(&mut floor.members[member], seconds(1000));
        }
        let answer = message(Type::Non, Code::CONTENT, 2, &[0xaa], &observe, b"1");
        let response = floor.answer(1, &mut opened.received, &answer, None);
        assert!(floor.listen(0, &response, &mut asked).is_ok());
        // And a request under the old ones finds nobody.
        assert_eq!(floor.hear(1, &bytes).unwrap_err(), Reason::NoContext);
    }
}

// Covers: GO-7.2-02, GO-7.2-03, GO-7.2-04, GO-7.2-13, GO-2.6.1.2-02, GO-7.2-14
#[test]
fn unknown_members_are_dropped_or_asked_for() {
    let mut floor = Floor::new(3, Suite::default());
    let stranger = kid(2);
    floor.members[1].group().remove_peer(stranger);
    let request = get(1, &[0xaa], "temp");
    let (bytes, _) = floor.ask(2, To::Group, &request);
    assert_eq!(floor.hear(1, &bytes).unwrap_err(), Reason::NoContext);

    let settings = Settings {
        dynamic: true,
        provisional: 2,
        ..Settings::default()
    };
    let mut floor = Floor::with(2, Suite::default(), settings);
    let mut outside = Floor::new(3, Suite::default()).members.remove(2);
    let (bytes, _) = outside.try_ask(To::Group, &request).unwrap();
    let group = floor.members[1].group;
    let expected = Reason::NoCredential {
        group,
        kid: stranger,
    };
    assert_eq!(floor.hear(1, &bytes).unwrap_err(), expected);
    // The credential comes; a forgery comes first: the Recipient Context is gone again, and leaves no trace.
    let one = &mut floor.members[1];
    one.group()
        .add_peer_on_reception(stranger, credential(2))
        .unwrap();
    let mut forged = bytes.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert_eq!(one.hear(&forged).unwrap_err(), Reason::NotVerified);
    assert!(one.group().peer(stranger).is_none());
    assert!(!one.group().ever_deleted());
    // Then the genuine one: the peer stays, with a valid window.
    one.group()
        .add_peer_on_reception(stranger, credential(2))
        .unwrap();
    assert!(one.group().peer(stranger).unwrap().is_provisional());
    assert_eq!(one.hear(&bytes).unwrap().message, request);
    assert!(!one.group().peer(stranger).unwrap().is_provisional());
    assert_eq!(one.hear(&bytes).unwrap_err(), Reason::Replayed);
}

// Covers: GO-2.2-05, GO-8.4-02
#[test]
fn threat_33_peers_that_never_verified_push_out_only_each_other() {
    let settings = Settings {
        dynamic: true,
        provisional: 2,
        recipients: 4,
        ..Settings::default()
    };
    let mut floor = Floor::with(3, Suite::default(), settings);
    let group = floor.members[1].group();
    assert_eq!(group.peer_count(), 2);
    for stranger in 10..20 {
        group
            .add_peer_on_reception(kid(stranger), credential(stranger))
            .unwrap();
        assert!(group.peer_count() <= 4);
    }
    assert!(group.peer(kid(0)).is_some() && group.peer(kid(2)).is_some());
    assert!(group.peer(kid(18)).is_some() && group.peer(kid(19)).is_some());
    assert!(!group.ever_deleted());
    let known: Vec<_> = group.peers().map(|peer| peer.kid()).collect();
    assert_eq!(known, [kid(0), kid(2), kid(18), kid(19)]);
    // Keys that were worked out for one that did not verify go with it.
    let mut outside = Floor::new(20, Suite::default()).members.remove(19);
    let (mut bytes, _) = outside
        .try_ask(To::Member(kid(1)), &get(1, &[1], "x"))
        .unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert_eq!(floor.hear(1, &bytes).unwrap_err(), Reason::NotVerified);
    assert!(floor.members[1].group().peer(kid(19)).is_none());
    // The control: where nobody counts as verified, the same strangers push out the members.
    let mut floor = Floor::with(3, Suite::default(), settings);
    let group = floor.members[1].group();
    for (_, peer) in group.current.recipients.iter_mut() {
        peer.provisional = true;
    }
    for stranger in 10..20 {
        group
            .add_peer_on_reception(kid(stranger), credential(stranger))
            .unwrap();
    }
    let known: Vec<_> = group.peers().map(|peer| peer.kid()).collect();
    assert_eq!(known, [kid(18), kid(19)]);
}

// Covers: GO-B-8.2-01, GO-B-8.2-02, GO-B-8.2-03, GO-7.2-01, GO-7.2-05, GO-8.4-05
#[test]
fn the_error_map_is_that_of_the_documents() {
    let group = GroupId(1);
    let map = [
        (
            Reason::Malformed,
            Some((Code::BAD_OPTION, Some("Failed to decode COSE"), true)),
        ),
        (
            Reason::NoContext,
            Some((Code::UNAUTHORIZED, Some("Security context not found"), true)),
        ),
        (
            Reason::Replayed,
            Some((Code::UNAUTHORIZED, Some("Replay detected"), true)),
        ),
        (
            Reason::NotVerified,
            Some((Code::BAD_REQUEST, Some("Decryption failed"), true)),
        ),
        (
            Reason::ModeUnavailable(Mode::Pairwise),
            Some((Code::BAD_OPTION, None, true)),
        ),
        (Reason::ModeUnavailable(Mode::Group), None),
        (
            Reason::NoCredential { group, kid: kid(1) },
            Some((Code::SERVICE_UNAVAILABLE, None, false)),
        ),
        (Reason::WindowInvalid, None),
        (Reason::OwnKid, None),
        (Reason::Lost, None),
        (Reason::Installing, None),
        (Reason::Superseded, None),
        (Reason::OtherMember, None),
        (Reason::KidChanged, None),
        (Reason::TooManyServers, None),
        (Reason::Content, None),
        (Reason::KeyFailure, None),
        (Reason::WrongResult, None),
    ];
    for (reason, expected) in map {
        let answer = reason.answer(false);
        let answer = answer.map(|answer| (answer.code, answer.text, answer.max_age_zero));
        assert_eq!(answer, expected, "{reason:?}");
        // Nothing at all to what came by multicast.
        assert_eq!(reason.answer(true), None, "{reason:?}");
    }
}

#[test]
fn what_may_be_opened_a_little_later_is_told_apart_from_what_never_will() {
    let group = GroupId(1);
    for (reason, passing) in [
        (Reason::NoContext, true),
        (Reason::NoCredential { group, kid: kid(1) }, true),
        (Reason::Installing, true),
        (Reason::Superseded, true),
        (Reason::KeyFailure, true),
        (Reason::Malformed, false),
        (Reason::Replayed, false),
        (Reason::NotVerified, false),
        (Reason::OwnKid, false),
        (Reason::Content, false),
    ] {
        assert_eq!(reason.is_passing(), passing, "{reason:?}");
    }
}

// Covers: GO-2.1.3-02, GO-2.1.3-01
#[test]
fn colliding_gids_of_two_managers_are_told_apart() {
    let mut floor = Floor::new(2, Suite::default());
    // The server is in another group of the same Gid, with the same IDs, and that group comes first.
    let other = |own_id: usize, peer: usize| {
        let mut parameters = parameters(GID, 1, Suite::default());
        parameters.master_secret = Secret::new(vec![0x11; 16]);
        let mut group = Group::new(
            "doors",
            parameters,
            Some(own(own_id)),
            Settings::default(),
            None,
        )
        .unwrap();
        group.add_peer(kid(peer), credential(peer)).unwrap();
        group
    };
    let one = &mut floor.members[1];
    let lights = one.contexts.remove_group(one.group).unwrap();
    let doors = one.contexts.add_group(other(1, 0));
    one.group = one.contexts.add_group(lights);
    let mut client = {
        let mut contexts = Contexts::new();
        let group = contexts.add_group(other(0, 1));
        One {
            contexts,
            group,
            key: key(0),
            now: seconds(1),
        }
    };
    let request = get(1, &[0xaa], "temp");
    for to in [To::Group, To::Member(kid(1))] {
        let (bytes, mut asked) = floor.ask(0, to, &request);
        let mut opened = floor.hear(1, &bytes).unwrap();
        assert_eq!(opened.sender.group(), "lights");
        assert_eq!(opened.received.group(), Some(floor.members[1].group));
        let answer = content(2, &[0xaa], b"1");
        let response = floor.answer(1, &mut opened.received, &answer, None);
        assert!(floor.listen(0, &response, &mut asked).is_ok());
        let (bytes, _) = client.try_ask(to, &request).unwrap();
        let opened = floor.hear(1, &bytes).unwrap();
        assert_eq!(opened.sender.group(), "doors");
        assert_eq!(opened.received.group(), Some(doors));
        // The same credential in two groups is two identities.
        let lights = floor.members[1].group().member(kid(0)).unwrap();
        assert_ne!(opened.sender, lights);
        assert_eq!(opened.sender.credential(), lights.credential());
    }
    // A forgery fails in both, and at most so often.
    let (mut bytes, _) = floor.ask(0, To::Group, &request);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert_eq!(floor.hear(1, &bytes).unwrap_err(), Reason::NotVerified);
}

// Covers: GO-7.4-01, GO-7.4-06, GO-7.4-16, GO-7.4-17, GO-8.6-01
#[test]
fn threat_18_another_member_cannot_answer_a_request_for_one() {
    let mut floor = Floor::new(3, Suite::default());
    let request = get(1, &[0xaa], "temp");
    // Member 2 cannot open it. It knows number and Gid from the wire, and makes a response of its own: in group mode that
    // verifies for everyone.
    let (bytes, mut asked) = floor.ask(0, To::Member(kid(1)), &request);
    let mut opened = floor.hear(1, &bytes).unwrap();
    let answer = content(2, &[0xaa], b"evil");
    let mut stolen = {
        let (bytes, _) = floor.ask(0, To::Group, &request);
        floor.hear(2, &bytes).unwrap().received
    };
    stolen.piv = asked.partial_iv();
    stolen.mode = Mode::Group;
    for mode in [Mode::Group, Mode::Pairwise] {
        let response = floor.answer(2, &mut stolen, &answer, Some(mode));
        assert_eq!(
            floor.listen(0, &response, &mut asked).unwrap_err(),
            Reason::OtherMember
        );
        assert_eq!(asked.servers(), 0);
    }
    // The control: in an exchange for many the very same answer is taken.
    let mut for_many = {
        let (_, mut kept) = floor.ask(0, To::Group, &request);
        kept.piv = asked.partial_iv();
        kept
    };
    let response = floor.answer(2, &mut stolen, &answer, Some(Mode::Group));
    assert!(floor.listen(0, &response, &mut for_many).is_ok());
    // The intended server may leave its name out.
    let answer = content(3, &[0xaa], b"good");
    let response = floor.answer(1, &mut opened.received, &answer, None);
    assert_eq!(option(&response), b"");
    let opened = floor.listen(0, &response, &mut asked).unwrap();
    assert_eq!(opened.sender.kid(), kid(1));
    assert_eq!(opened.message, answer);
}

// Covers: GO-5.3.1-01, GO-5.3.1-07, GO-5.3.1-12, GO-B-7.3-01, GO-3.2-01
#[test]
fn responses_are_taken_once_and_for_their_request_only() {
    let mut floor = Floor::new(2, Suite::default());
    let (first, mut asked_first) = floor.ask(0, To::Group, &get(1, &[1], "a"));
    let (second, mut asked_second) = floor.ask(0, To::Group, &get(2, &[2], "b"));
    let mut first = floor.hear(1, &first).unwrap();
    let mut second = floor.hear(1, &second).unwrap();
    let a = floor.answer(1, &mut first.received, &content(3, &[1], b"a"), None);
    let b = floor.answer(1, &mut second.received, &content(4, &[2], b"b"), None);
    // threat 17: swapped
    assert_eq!(
        floor.listen(0, &b, &mut asked_first).unwrap_err(),
        Reason::NotVerified
    );
    assert_eq!(
        floor.listen(0, &a, &mut asked_second).unwrap_err(),
        Reason::NotVerified
    );
    assert!(floor.listen(0, &a, &mut asked_first).is_ok());
    assert_eq!(
        floor.listen(0, &a, &mut asked_first).unwrap_err(),
        Reason::Replayed
    );
    // Each further response has a number of its own, and both say who sent it.
    let again = floor.answer(1, &mut first.received, &content(5, &[1], b"c"), None);
    assert_eq!(option(&a), [0x29, 0, 0x41]);
    assert_eq!(option(&again), [0x29, 2, 0x41]);
    assert!(floor.listen(0, &again, &mut asked_first).is_ok());
    let pairwise = Some(Mode::Pairwise);
    let other = floor.answer(1, &mut first.received, &content(5, &[1], b"d"), pairwise);
    assert_eq!(option(&other), [0x09, 3, 0x41]);
    assert!(floor.listen(0, &other, &mut asked_first).is_ok());
    // To a request for one answer there is one.
    let (bytes, mut asked) = floor.ask(0, To::Member(kid(1)), &get(6, &[1], "a"));
    let mut opened = floor.hear(1, &bytes).unwrap();
    let one = floor.answer(1, &mut opened.received, &content(7, &[1], b"d"), None);
    let two = floor.answer(1, &mut opened.received, &content(8, &[1], b"e"), None);
    assert_eq!((option(&one), option(&two)), (vec![], vec![0x01, 4]));
    assert!(floor.listen(0, &one, &mut asked).is_ok());
    assert_eq!(
        floor.listen(0, &two, &mut asked).unwrap_err(),
        Reason::Replayed
    );
}

// Covers: GO-2.5.3-01, GO-5.3.1-02, GO-14.3-01, GO-2.6.2-02, GO-2.6.2-03, GO-14.16-05
#[test]
fn one_number_space_serves_everything_until_it_is_used_up() {
    let mut floor = Floor::new(2, Suite::default());
    let request = get(1, &[1], "a");
    let (signed, _) = floor.ask(0, To::Group, &request);
    let (paired, _) = floor.ask(0, To::Member(kid(1)), &request);
    assert_eq!((option(&signed)[1], option(&paired)[1]), (0, 1));
    let mut kept: Vec<Received> = (0..3)
        .map(|_| {
            let (bytes, _) = floor.ask(0, To::Member(kid(1)), &request);
            floor.hear(1, &bytes).unwrap().received
        })
        .collect();
    let settings = SequenceSettings {
        limit: 4,
        ..SequenceSettings::default()
    };
    *floor.members[1].group().sequence_mut().unwrap() = Sequence::exact(3, 5, settings);
    let answer = content(1, &[1], b"x");
    let one = &mut floor.members[1];
    // A first response in the same context needs no number of its own; a second does.
    assert_eq!(
        option(&one.try_answer(&mut kept[0], &answer, None).unwrap()),
        b""
    );
    assert_eq!(
        option(&one.try_answer(&mut kept[0], &answer, None).unwrap()),
        [1, 3]
    );
    let (last, _) = one.try_ask(To::Group, &request).unwrap();
    assert_eq!(option(&last)[1], 4);
    assert_eq!(
        one.try_ask(To::Group, &request).unwrap_err(),
        ProtectError::Exhausted
    );
    assert_eq!(
        one.try_answer(&mut kept[0], &answer, None).unwrap_err(),
        ProtectError::Exhausted
    );
    assert_eq!(
        option(&one.try_answer(&mut kept[1], &answer, None).unwrap()),
        b""
    );
    // In group mode there is always an own number, so that there is none.
    let refused = one.try_answer(&mut kept[2], &answer, Some(Mode::Group));
    assert_eq!(refused.unwrap_err(), ProtectError::Exhausted);
    // And a permission that was given up does not come back.
    assert_eq!(
        one.try_answer(&mut kept[2], &answer, None).unwrap_err(),
        ProtectError::Exhausted
    );
}

// Covers: GO-2.6.1.1-01, GO-2.6.1.1-05, GO-2.6.1.1-06
#[test]
fn after_a_loss_nothing_is_protected_and_nothing_opened() {
    let mut floor = Floor::new(2, Suite::default());
    let request = get(1, &[1], "a");
    let (first, mut asked) = floor.ask(0, To::Group, &request);
    let (second, _) = floor.ask(0, To::Group, &request);
    let mut opened = floor.hear(1, &first).unwrap();
    let answer = content(1, &[1], b"x");
    let response = floor.answer(1, &mut opened.received, &answer, None);
    floor.members[1].group().mark_lost();
    assert!(floor.members[1].group().is_lost());
    assert_eq!(floor.hear(1, &second).unwrap_err(), Reason::Lost);
    let one = &mut floor.members[1];
    assert_eq!(
        one.try_ask(To::Group, &request).unwrap_err(),
        ProtectError::Lost
    );
    assert_eq!(
        one.try_answer(&mut opened.received, &answer, None)
            .unwrap_err(),
        ProtectError::Lost
    );
    // A client likewise.
    floor.members[0].group().mark_lost();
    assert_eq!(
        floor.listen(0, &response, &mut asked).unwrap_err(),
        Reason::Lost
    );
}

#[test]
fn a_result_of_other_work_opens_nothing() {
    let mut floor = Floor::new(3, Suite::default());
    let (good, _) = floor.ask(0, To::Group, &get(1, &[1], "a"));
    let (mut bad, _) = floor.ask(0, To::Group, &get(2, &[1], "b"));
    let last = bad.len() - 1;
    bad[last] ^= 1;
    let one = &mut floor.members[1];
    let mut begin = |bytes: &[u8]| {
        let message = Message::parse(bytes).unwrap();
        match one
            .contexts
            .begin_request(one.now, &message, false)
            .unwrap()
        {
            Step::Work(opening, job) => (opening, job.run(&one.key)),
            Step::Done(_) => panic!(),
        }
    };
    let (_, of_good) = begin(&good);
    let (opening, _) = begin(&bad);
    let refused = one
        .contexts
        .finish_request(one.now, opening, of_good)
        .unwrap_err();
    assert_eq!(refused.reason, Reason::WrongResult);
    // Twice at the same time: one is delivered (threat 27).
    let (first, of_first) = {
        let message = Message::parse(&good).unwrap();
        match one
            .contexts
            .begin_request(one.now, &message, false)
            .unwrap()
        {
            Step::Work(opening, job) => (opening, job.run(&one.key)),
            Step::Done(_) => panic!(),
        }
    };
    let message = Message::parse(&good).unwrap();
    let (second, of_second) = match one
        .contexts
        .begin_request(one.now, &message, false)
        .unwrap()
    {
        Step::Work(opening, job) => (opening, job.run(&one.key)),
        Step::Done(_) => panic!(),
    };
    assert!(
        one.contexts
            .finish_request(one.now, second, of_second)
            .is_ok()
    );
    let refused = one
        .contexts
        .finish_request(one.now, first, of_first)
        .unwrap_err();
    assert_eq!(refused.reason, Reason::Replayed);
    assert_eq!(refused.group, Some(one.group));
}
