//! What comes while keys, members or the own Sender ID change: from strangers, from those who are expelled, and from time.

use super::floor::*;
use crate::context::{CredentialHash, Recipient};
use crate::nonce::PartialIv;

/// A group that takes in whoever a directory knows, with room for two beside the members 0 and 2.
fn open_to_strangers() -> Settings {
    Settings {
        dynamic: true,
        provisional: 2,
        recipients: 4,
        ..Settings::default()
    }
}

fn stale(kids: &[Kid]) -> Stale {
    Stale::Since {
        generation: 1,
        kids: kids.to_vec(),
    }
}

/// New keys for a member, without these.
fn install_without(one: &mut One, kids: &[Kid]) {
    let new = parameters(b"New", 2, Suite::default());
    let prepared = one.group().prepare_install(new, None, stale(kids), 1000);
    let now = one.now;
    one.group().commit_install(prepared.unwrap(), now).unwrap();
}

#[test]
fn threat_33_a_stranger_keeps_no_member_out() {
    let mut floor = Floor::with(3, Suite::default(), open_to_strangers());
    let group = floor.members[1].group();
    for stranger in [18, 19] {
        let credential = credential(stranger);
        group
            .add_peer_on_reception(kid(stranger), credential)
            .unwrap();
    }
    assert_eq!(group.peer_count(), 4, "there is no room");
    group.add_peer(kid(30), credential(30)).unwrap();
    assert!(group.peer(kid(18)).is_none(), "the oldest stranger");
    assert!(group.peer(kid(19)).is_some());
    // Nor by a member's ID, under another credential; it is not met again for it.
    group.add_peer(kid(19), credential(31)).unwrap();
    let known = group.peer(kid(19)).unwrap();
    assert_eq!(known.credential().bytes(), credential(31).bytes());
    assert!(!known.is_provisional() && known.window().is_valid());
    assert!(!group.ever_deleted(), "nothing of them was heard");
    let again = group.add_peer_on_reception(kid(19), credential(19));
    assert_eq!(again, Err(GroupError::IdTaken));
    // Members do not give way.
    let full = Err(GroupError::Full);
    assert_eq!(group.add_peer(kid(32), credential(32)), full);
    assert_eq!(group.add_peer_on_reception(kid(33), credential(33)), full);
    let taken = Err(GroupError::IdTaken);
    assert_eq!(group.add_peer(kid(0), credential(32)), taken);
    // The control: the same strangers, taken for members, keep out both.
    let mut floor = Floor::with(3, Suite::default(), open_to_strangers());
    let group = floor.members[1].group();
    for stranger in [18, 19] {
        let credential = credential(stranger);
        group.add_peer(kid(stranger), credential).unwrap();
    }
    assert_eq!(group.add_peer(kid(30), credential(30)), full);
    assert_eq!(group.add_peer(kid(19), credential(31)), taken);
}

#[test]
fn a_stranger_takes_no_sender_id_that_is_about_to_be_the_own_one() {
    for meets in ["before", "between"] {
        let mut floor = Floor::with(3, Suite::default(), open_to_strangers());
        let one = &mut floor.members[1];
        let group = one.group();
        let meet = |group: &mut Group| group.add_peer_on_reception(kid(9), credential(9)).unwrap();
        if meets == "before" {
            meet(group);
        }
        let prepared = group.prepare_sender_id(kid(9), 100).unwrap();
        if meets == "between" {
            meet(group);
        }
        group.commit_sender_id(prepared).unwrap();
        assert_eq!(group.sender_id(), Some(kid(9)));
        assert!(group.peer(kid(9)).is_none() && !group.ever_deleted());
        // A member has its ID for itself.
        let taken = group.prepare_sender_id(kid(2), 100).err();
        assert_eq!(taken, Some(InstallError::Group(GroupError::IdTaken)));
        let prepared = group.prepare_sender_id(kid(8), 100).unwrap();
        group.add_peer(kid(8), credential(8)).unwrap();
        let superseded = group.commit_sender_id(prepared);
        assert_eq!(superseded, Err(InstallError::Superseded));
        assert_eq!(group.sender_id(), Some(kid(9)));
    }
}

/// Which ID a member takes for its own: with another one than it has, it has no rule against its own messages.
fn believes(one: &mut One, member: usize) {
    one.group().current.sender.as_mut().unwrap().id = kid(member);
}

#[test]
fn threat_05_a_request_with_the_own_id_is_never_opened_nor_answered() {
    let mut floor = Floor::new(2, Suite::default());
    let request = get(1, &[0xaa], "lock");
    for to in [To::Group, To::Member(kid(1))] {
        let (reflected, _) = floor.ask(0, to, &request);
        // It comes back, or somebody who has the keys made it: the first response would have this key and this nonce.
        assert_eq!(floor.hear(0, &reflected).unwrap_err(), Reason::OwnKid);
        // For who has another ID it is a request as any other.
        assert!(floor.hear(1, &reflected).is_ok());
    }
    let one = &mut floor.members[0];
    let added = one.group().add_peer(kid(0), credential(0));
    assert_eq!(added, Err(GroupError::OwnId));
    let to_itself = one.try_ask(To::Member(kid(0)), &request);
    assert_eq!(to_itself.unwrap_err(), ProtectError::UnknownMember);
    // An ID that was its own once does not come back either.
    let (old, _) = one.try_ask(To::Group, &request).unwrap();
    let prepared = one.group().prepare_sender_id(kid(7), 99).unwrap();
    one.group().commit_sender_id(prepared).unwrap();
    assert_eq!(one.hear(&old).unwrap_err(), Reason::NoContext);
    let replayed = one.group().add_peer_on_reception(kid(0), credential(0));
    assert_eq!(replayed, Err(GroupError::OwnId), "nor as another's");
    let again = one.group().prepare_sender_id(kid(0), 99);
    assert_eq!(again.err(), Some(InstallError::UsedSenderId));
}

#[test]
fn threat_05_an_answer_to_the_own_request_would_repeat_its_key_and_nonce() {
    let mut floor = Floor::new(1, Suite::default());
    let one = &mut floor.members[0];
    // The defences are out: it knows itself as a peer, and does not know its own ID when it hears it.
    let context = &mut one.group().current;
    let key = context.common.key_of(kid(0)).unwrap();
    let hash = CredentialHash::of(credential(0).bytes());
    let itself = Recipient {
        serial: 1 << 20,
        key,
        credential: credential(0),
        hash,
        window: crate::replay::ReplayWindow::valid(Default::default()),
        pairwise: None,
        provisional: false,
        fresh: false,
        challenges: Default::default(),
        knows_sender_id: false,
        failures: 0,
        used_at: None,
    };
    assert!(context.recipients.insert(kid(0), itself).is_ok());
    let inside = |bytes: &[u8]| Message::parse(bytes).unwrap().payload()[..6].to_vec();
    let difference = |one: &[u8], two: &[u8]| -> Vec<u8> {
        let pairs = one.iter().zip(two);
        pairs.map(|(one, two)| one ^ two).collect()
    };
    let of_plaintexts = difference(b"\x01\xb4lock", b"\x45\xffopen");
    let answer = content(2, &[0xaa], b"open");
    let plain = Message::parse(&answer).unwrap();
    for (to, mode) in [
        (To::Group, Mode::Group),
        (To::Member(kid(0)), Mode::Pairwise),
    ] {
        let (request, _) = one.try_ask(to, &get(1, &[0xaa], "lock")).unwrap();
        assert_eq!(one.hear(&request).unwrap_err(), Reason::OwnKid);
        believes(one, 9);
        let mut opened = one.hear(&request).unwrap();
        believes(one, 0);
        let mut respond = |numbered: Option<PartialIv>| {
            let to_it = &mut opened.received;
            let response = one.protect(|it, now| {
                it.protect_response_numbered(now, &plain, to_it, Some(mode), numbered)
            });
            difference(&inside(&request), &inside(&response.unwrap().bytes))
        };
        // Two contents under one keystream: an eavesdropper has the difference of the two.
        assert_eq!(respond(None), of_plaintexts, "{mode:?}");
        // Not so with a number of its own.
        assert_ne!(respond(PartialIv::new(900)), of_plaintexts, "{mode:?}");
    }
}

#[test]
fn threat_05_nobody_gets_an_id_or_the_credential_of_this_endpoint() {
    let mut floor = Floor::with(3, Suite::default(), open_to_strangers());
    let group = floor.members[1].group();
    let prepared = group.prepare_sender_id(kid(9), 100).unwrap();
    group.commit_sender_id(prepared).unwrap();
    let (taken, own) = (Err(GroupError::OwnId), Err(GroupError::OwnCredential));
    for mine in [1, 9] {
        assert_eq!(group.add_peer(kid(mine), credential(5)), taken, "{mine}");
        let met = group.add_peer_on_reception(kid(mine), credential(5));
        assert_eq!(met, taken, "{mine}");
    }
    assert_eq!(group.add_peer(kid(5), credential(1)), own, "its own");
    let window = crate::replay::ReplayWindow::valid(Default::default());
    let stored = group.restore_peer(kid(5), credential(1), window);
    assert_eq!(stored, own);
    // Under new keys an ID of before may be another's, and never the credential.
    let replace = |peers: Vec<(usize, usize)>| {
        let peers = peers.into_iter().map(|(id, of)| (kid(id), credential(of)));
        Stale::Replace(peers.collect())
    };
    let new = || parameters(b"New", 2, Suite::default());
    for (peer, why) in [
        ((5, 1), GroupError::OwnCredential),
        ((9, 5), GroupError::OwnId),
    ] {
        let refused = group.prepare_install(new(), None, replace(vec![peer]), 10);
        assert_eq!(refused.err(), Some(InstallError::Group(why)));
    }
    let prepared = group.prepare_install(new(), None, replace(vec![(1, 5)]), 10);
    group
        .commit_install(prepared.unwrap(), seconds(1000))
        .unwrap();
    assert!(group.peer(kid(1)).is_some());
}

#[test]
fn threat_12_who_is_expelled_is_not_heard_any_more_with_what_was_begun() {
    for expelled in [true, false] {
        let gone: &[Kid] = match expelled {
            true => &[kid(2)],
            false => &[], // the control
        };
        let mut floor = Floor::new(3, Suite::default());
        let (request, _) = floor.ask(2, To::Group, &get(1, &[0xaa], "door"));
        let one = &mut floor.members[1];
        let message = Message::parse(&request).unwrap();
        let begun = one.contexts.begin_request(one.now, &message, false);
        let Ok(Step::Work(opening, job)) = begun else {
            panic!()
        };
        install_without(one, gone);
        let result = job.run(&one.key);
        let finished = one.contexts.finish_request(one.now, opening, result);
        match expelled {
            true => assert_eq!(finished.unwrap_err().reason, Reason::Superseded),
            false => assert!(matches!(finished, Ok(Step::Done(Opened::Request(_))))),
        }

        let mut floor = Floor::new(3, Suite::default());
        let (request, mut asked) = floor.ask(1, To::Group, &get(1, &[0xaa], "door"));
        let mut opened = floor.hear(2, &request).unwrap();
        let answer = content(2, &[0xaa], b"open");
        let response = floor.answer(2, &mut opened.received, &answer, None);
        let one = &mut floor.members[1];
        let message = Message::parse(&response).unwrap();
        let begun = one.contexts.begin_response(one.now, &message, &mut asked);
        let Ok(Step::Work(opening, job)) = begun else {
            panic!()
        };
        install_without(one, gone);
        let result = job.run(&one.key);
        let finished = one
            .contexts
            .finish_response(one.now, opening, result, &mut asked);
        match expelled {
            true => assert_eq!(finished.unwrap_err().reason, Reason::Superseded),
            false => assert!(matches!(finished, Ok(Step::Done(_)))),
        }
    }
}

#[test]
fn nobody_is_idle_while_new_keys_are_installed() {
    let mut settings = Settings::default();
    settings.upkeep.idle = Some(seconds(60));
    for commits in [true, false] {
        let mut floor = Floor::with(2, Suite::default(), settings);
        let one = &mut floor.members[1];
        assert_eq!(one.contexts.take_idle(seconds(1000)), None);
        let due = seconds(1060);
        assert_eq!(one.contexts.next_timeout(), Some(due));
        let new = parameters(b"New", 2, Suite::default());
        let prepared = one.group().prepare_install(new, None, stale(&[]), 10);
        assert_eq!(one.contexts.take_idle(due), None);
        assert_eq!(
            one.contexts.next_timeout(),
            None,
            "it does not turn in circles"
        );
        if commits {
            one.group().commit_install(prepared.unwrap(), due).unwrap();
            assert_eq!(
                one.contexts.take_idle(due),
                None,
                "the new one has been seen now"
            );
            assert_eq!(one.contexts.next_timeout(), Some(due + seconds(60)));
        } else {
            one.group().abort_install();
            assert_eq!(one.contexts.next_timeout(), Some(due));
            assert_eq!(one.contexts.take_idle(due), Some((one.group, kid(0))));
        }
    }
}
