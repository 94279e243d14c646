//! New keys and new Sender IDs under running exchanges (draft sections 2.6.3, 7.1, 7.3, 7.4 and 14.5).

use super::floor::*;
use crate::option::OscoreOption;
use crate::replay::{KidChange, OlderResponses, OrderPolicy, WindowSize};
use crate::suite::{GroupEncryption, Hkdf, SignatureAlgorithm};

pub(super) const NEW: &[u8] = b"Em";

pub(super) fn install(one: &mut One, now: Duration) {
    let stale = Stale::Since {
        generation: 1,
        kids: vec![],
    };
    let parameters = parameters(NEW, 2, *one.group().suite());
    let group = one.group();
    let prepared = group
        .prepare_install(parameters, None, stale, 1000)
        .unwrap();
    group.commit_install(prepared, now).unwrap();
    one.now = now;
}

fn named_gid(bytes: &[u8]) -> Option<Vec<u8>> {
    let raw = option(bytes);
    let option = OscoreOption::parse(&raw).unwrap();
    option.kid_context.map(<[u8]>::to_vec)
}

// Covers: GO-7.3-04, GO-7.3-06, GO-7.3-07, GO-7.2-17, GO-4.2-04, GO-14.5-01
#[test]
fn threat_13_a_response_after_a_rekeying_has_the_new_keys_and_the_old_request() {
    for mode in [Mode::Group, Mode::Pairwise] {
        for to in [To::Group, To::Member(kid(1))] {
            let mut floor = Floor::new(2, Suite::default());
            let (bytes, mut asked) = floor.ask(0, to, &get(1, &[0xaa], "temp"));
            let mut opened = floor.hear(1, &bytes).unwrap();
            install(&mut floor.members[1], seconds(1001));
            let answer = content(2, &[0xaa], b"21");
            let response = floor.answer(1, &mut opened.received, &answer, Some(mode));
            // For the control: the same server, which goes on with the old context.
            let mut late = Floor::new(2, Suite::default());
            let (same, mut asked_late) = late.ask(0, to, &get(1, &[0xaa], "temp"));
            assert_eq!(same, bytes);
            let mut opened_late = late.hear(1, &bytes).unwrap();
            let old = late.answer(1, &mut opened_late.received, &answer, Some(mode));
            // An own number, from the new context, and the new Gid.
            let raw = option(&response);
            let option = OscoreOption::parse(&raw).unwrap();
            assert_eq!(option.partial_iv.map(|piv| piv.value()), Some(0));
            assert_eq!(option.kid_context, Some(NEW));
            // The client does not have those keys yet.
            assert_eq!(
                floor.listen(0, &response, &mut asked).unwrap_err(),
                Reason::NoContext
            );
            install(&mut floor.members[0], seconds(1002));
            // The control: under the old keys it is lost on the client, though not on one that keeps those keys.
            let lost = match (mode, to) {
                (Mode::Pairwise, To::Member(_)) => Reason::NoContext, // it has the number of the request
                _ => Reason::NotVerified,
            };
            assert_eq!(floor.listen(0, &old, &mut asked).unwrap_err(), lost);
            assert!(late.listen(0, &old, &mut asked_late).is_ok());
            let heard = floor.listen(0, &response, &mut asked).unwrap();
            assert_eq!(heard.message, answer);
            assert_eq!(asked.kid_context().map(Gid::as_bytes), Some(GID));
            // And so have all that follow. (A request for one member has one response.)
            let mut behind = Floor::new(2, Suite::default());
            let (_, mut asked_behind) = behind.ask(0, to, &get(1, &[0xaa], "temp"));
            for number in 3..7 {
                let further = content(number, &[0xaa], b"22");
                let further = floor.answer(1, &mut opened.received, &further, Some(mode));
                assert!(behind.listen(0, &further, &mut asked_behind).is_err());
                assert!(to != To::Group || floor.listen(0, &further, &mut asked).is_ok());
            }
        }
    }
}

// Covers: GO-5.1-02, GO-2.6.3.2-05, GO-7.4-04, GO-3.4-07, GO-7.1-05, GO-7.1-06
#[test]
fn a_long_exchange_goes_on_under_new_keys() {
    let mut floor = Floor::new(2, Suite::default());
    let observe = [
        (OptionNumber::OBSERVE, &[][..]),
        (OptionNumber::URI_PATH, b"temp"),
    ];
    let plain = message(Type::Non, Code::GET, 1, &[0xaa], &observe, b"");
    let (bytes, mut asked) = floor.ask(0, To::Group, &plain);
    let mut opened = floor.hear(1, &bytes).unwrap();
    let notification = |number: u8| {
        let options = [(OptionNumber::OBSERVE, &[][..])];
        message(
            Type::Non,
            Code::CONTENT,
            number.into(),
            &[0xaa],
            &options,
            &[number],
        )
    };
    let mut responses = vec![];
    for number in 1..4 {
        let plain = notification(number);
        responses.push(floor.answer(1, &mut opened.received, &plain, None));
    }
    for response in &responses {
        assert!(floor.listen(0, response, &mut asked).is_ok());
    }
    install(&mut floor.members[0], seconds(1001));
    install(&mut floor.members[1], seconds(1001));
    // Under the new keys the numbers begin anew.
    let first = floor.answer(1, &mut opened.received, &notification(9), None);
    let heard = floor.listen(0, &first, &mut asked).unwrap();
    assert!(heard.order.freshest);
    assert_eq!(
        floor.listen(0, &first, &mut asked).unwrap_err(),
        Reason::Replayed
    );
    // And what was protected with the old ones is not taken any more.
    assert_eq!(
        floor.listen(0, &responses[2], &mut asked).unwrap_err(),
        Reason::NotVerified
    );
    assert_eq!(asked.kid(), kid(0));
    assert_eq!(asked.kid_context().map(Gid::as_bytes), Some(GID));
    assert_eq!(named_gid(&first).as_deref(), Some(NEW));
}

// Covers: GO-7.3-08, GO-7.3-11
#[test]
fn responses_name_the_new_gid_for_a_while() {
    let answer = |age: u8| {
        let options = [(OptionNumber::MAX_AGE, &[age][..])];
        message(Type::Non, Code::CONTENT, 1, &[0xaa], &options, b"x")
    };
    for (duration, end) in [(None, 1000 + 200), (Some(seconds(30)), 1010 + 30)] {
        let settings = Settings {
            rekey_duration: duration,
            ..Settings::default()
        };
        let mut floor = Floor::with(2, Suite::default(), settings);
        let (bytes, _) = floor.ask(0, To::Group, &get(1, &[0xaa], "temp"));
        let mut opened = floor.hear(1, &bytes).unwrap();
        // At 1000 s, good for 200 s.
        let before = floor.answer(1, &mut opened.received, &answer(200), None);
        assert_eq!(named_gid(&before), None);
        install(&mut floor.members[1], seconds(1010));
        let moments = [1010, 1011, end - 1, end, end + 1];
        for (at, named) in moments.into_iter().zip([true, true, true, false, false]) {
            floor.members[1].now = seconds(at);
            let response = floor.answer(1, &mut opened.received, &answer(1), None);
            assert_eq!(named_gid(&response).is_some(), named, "{duration:?} {at}");
        }
    }
}

// Covers: GO-2.6.3.2-03, GO-2.6.3.2-04, GO-2.6.3.2-06, GO-2.6.3.2-07, GO-2.5.1-05, GO-2.6.1.2-07
#[test]
fn threat_12_an_installation_starts_everything_anew_and_ends_the_old() {
    let mut floor = Floor::new(3, Suite::default());
    let request = get(1, &[0xaa], "temp");
    let (paired, _) = floor.ask(0, To::Member(kid(1)), &request);
    floor.hear(1, &paired).unwrap();
    let (old, _) = floor.ask(0, To::Group, &request);
    floor.members[1].group().windows_unknown();
    assert!(
        floor.members[1]
            .group()
            .peer(kid(0))
            .unwrap()
            .has_pairwise_keys()
    );
    install(&mut floor.members[1], seconds(1001));
    let group = floor.members[1].group();
    assert_eq!(group.gid().as_bytes(), NEW);
    assert_eq!(group.sequence().unwrap().next(), 0);
    assert!(!group.ever_deleted());
    for peer in [0, 2] {
        let peer = group.peer(kid(peer)).unwrap();
        assert_eq!(peer.window().lower_limit(), Some(0));
        assert!(!peer.has_pairwise_keys());
    }
    // Old messages find nobody: retention is off.
    assert_eq!(floor.hear(1, &old).unwrap_err(), Reason::NoContext);
    let (new, _) = floor.ask(1, To::Group, &request);
    assert_eq!(named_gid(&new).as_deref(), Some(NEW));
    // The salt counts: without one, the keys are others.
    let mut without = parameters(NEW, 2, Suite::default());
    without.master_salt = Secret::new(vec![]);
    let one = &mut floor.members[2];
    let all = Stale::Since {
        generation: 1,
        kids: vec![],
    };
    let prepared = one
        .group()
        .prepare_install(without, None, all, 100)
        .unwrap();
    one.group().commit_install(prepared, seconds(1001)).unwrap();
    assert_eq!(floor.hear(2, &new).unwrap_err(), Reason::NotVerified);
    install(&mut floor.members[0], seconds(1001));
    assert!(floor.hear(0, &new).is_ok());
}

// Covers: GO-14.5.1-01, GO-14.5-02, GO-14.5.1-02, GO-2.6.3.2-07
#[test]
fn a_retained_context_opens_responses_for_a_while() {
    let settings = Settings {
        retention: seconds(30),
        ..Settings::default()
    };
    let mut floor = Floor::with(2, Suite::default(), settings);
    let request = get(1, &[0xaa], "temp");
    let mut kept = vec![];
    for mode in [Mode::Group, Mode::Pairwise] {
        for to in [To::Group, To::Member(kid(1))] {
            let (bytes, asked) = floor.ask(0, to, &request);
            let mut opened = floor.hear(1, &bytes).unwrap();
            let answer = content(2, &[0xaa], b"21");
            let response = floor.answer(1, &mut opened.received, &answer, Some(mode));
            let second = floor.answer(1, &mut opened.received, &answer, Some(mode));
            kept.push((response, second, asked));
        }
    }
    let (late, _) = floor.ask(1, To::Group, &request);
    install(&mut floor.members[0], seconds(1000));
    for (response, _, asked) in &mut kept {
        assert!(floor.listen(0, response, asked).is_ok());
    }
    // Requests are not opened with it, unless the application wants that.
    assert_eq!(floor.hear(0, &late).unwrap_err(), Reason::NoContext);
    floor.members[0].group().settings.retained_requests = true;
    floor.members[0].now = seconds(1030);
    assert_eq!(floor.hear(0, &late).unwrap_err(), Reason::NoContext);
    floor.members[0].now = seconds(1030) - Duration::from_nanos(1);
    assert!(floor.hear(0, &late).is_ok());
    // When its time is over it is gone.
    floor.members[0].now = seconds(1030);
    for (_, second, asked) in &mut kept {
        asked.answered = false;
        assert!(floor.listen(0, second, asked).is_err());
    }
    let contexts = &mut floor.members[0].contexts;
    assert_eq!(contexts.next_timeout(), Some(seconds(1030)));
    contexts.handle_timeout(seconds(1030));
    assert_eq!(contexts.next_timeout(), None);
}

// Covers: GO-7-01, GO-2.6.3.2-01, GO-2.6.3.2-02
#[test]
fn a_message_that_was_begun_is_finished_with_its_keys() {
    let mut floor = Floor::new(2, Suite::default());
    let request = get(1, &[0xaa], "temp");
    let (first, _) = floor.ask(0, To::Group, &request);
    let (second, _) = floor.ask(0, To::Group, &request);
    let (third, _) = floor.ask(0, To::Group, &request);
    let one = &mut floor.members[1];
    let begin = |one: &mut One, bytes: &[u8]| {
        let message = Message::parse(bytes).unwrap();
        match one.contexts.begin_request(one.now, &message, false) {
            Ok(Step::Work(opening, job)) => Ok((opening, job.run(&one.key))),
            Ok(other) => panic!("{other:?}"),
            Err(refused) => Err(refused.reason),
        }
    };
    let (opening, result) = begin(one, &first).unwrap();
    let (too_late, its_result) = begin(one, &second).unwrap();
    let stale = Stale::Since {
        generation: 1,
        kids: vec![],
    };
    let new = parameters(NEW, 2, Suite::default());
    let prepared = one.group().prepare_install(new, None, stale, 1000).unwrap();
    // Nothing new begins from here on.
    assert_eq!(begin(one, &third).err(), Some(Reason::Installing));
    assert_eq!(
        one.try_ask(To::Group, &request).unwrap_err(),
        ProtectError::Installing
    );
    one.group().commit_install(prepared, seconds(1000)).unwrap();
    let finished = one
        .contexts
        .finish_request(seconds(1009), opening, result)
        .unwrap();
    let Step::Done(Opened::Request(mut opened)) = finished else {
        panic!()
    };
    assert_eq!(opened.message, request);
    // Its answer has the new keys, and never the nonce of the request.
    assert!(opened.received.permission.is_none());
    let answer = content(2, &[0xaa], b"1");
    let response = one
        .try_answer(&mut opened.received, &answer, Some(Mode::Pairwise))
        .unwrap();
    assert_eq!(named_gid(&response).as_deref(), Some(NEW));
    assert!(one.group().next_timeout().is_some());
    let refused = one
        .contexts
        .finish_request(seconds(1010), too_late, its_result)
        .unwrap_err();
    assert_eq!(refused.reason, Reason::Superseded);
    one.contexts.handle_timeout(seconds(1009));
    assert!(
        one.group().next_timeout().is_none(),
        "nothing waits any more"
    );
}

// Covers: GO-2.6.3.1-01, GO-2.6.3.1-03, GO-7.1-03, GO-7.1-04, GO-8.5-02
#[test]
fn a_new_sender_id_changes_the_sender_and_no_running_exchange() {
    let mut floor = Floor::new(2, Suite::default());
    let request = get(1, &[0xaa], "temp");
    let (bytes, mut asked) = floor.ask(0, To::Group, &request);
    let (paired, mut asked_one) = floor.ask(0, To::Member(kid(1)), &request);
    let mut opened = floor.hear(1, &bytes).unwrap();
    let mut opened_one = floor.hear(1, &paired).unwrap();
    // The client has a new ID; its requests keep the old one.
    let prepared = floor.members[0]
        .group()
        .prepare_sender_id(kid(7), 100)
        .unwrap();
    assert_eq!(prepared.sender_id(), kid(7));
    floor.members[0].group().commit_sender_id(prepared).unwrap();
    let answer = content(2, &[0xaa], b"1");
    let response = floor.answer(1, &mut opened.received, &answer, None);
    assert!(floor.listen(0, &response, &mut asked).is_ok());
    assert_eq!(asked.kid(), kid(0));
    let (renamed, _) = floor.ask(0, To::Group, &request);
    let raw = option(&renamed);
    let fields = OscoreOption::parse(&raw).unwrap();
    assert_eq!(fields.kid, Some(kid(7).as_bytes()));
    assert_eq!(fields.partial_iv.map(|piv| piv.value()), Some(0));
    assert_eq!(fields.kid_context, Some(GID));
    // The server does not know that ID, until it is told; the member is the same.
    assert_eq!(floor.hear(1, &renamed).unwrap_err(), Reason::NoContext);
    let before = floor.members[1].group().member(kid(0)).unwrap();
    floor.members[1]
        .group()
        .add_peer(kid(7), credential(0))
        .unwrap();
    assert_eq!(floor.hear(1, &renamed).unwrap().sender, before);

    // The server has a new ID: its first response to each client of a request in pairwise mode names it.
    let prepared = floor.members[1]
        .group()
        .prepare_sender_id(kid(8), 100)
        .unwrap();
    floor.members[1].group().commit_sender_id(prepared).unwrap();
    floor.members[0]
        .group()
        .add_peer(kid(8), credential(1))
        .unwrap();
    let answer_one = floor.answer(1, &mut opened_one.received, &answer, None);
    let raw = option(&answer_one);
    let fields = OscoreOption::parse(&raw).unwrap();
    assert_eq!(fields.kid, Some(kid(8).as_bytes()));
    assert!(
        fields.partial_iv.is_some(),
        "another key: the nonce is not that of the request"
    );
    assert_eq!(asked_one.intended(), Some(kid(1)));
    assert!(floor.listen(0, &answer_one, &mut asked_one).is_ok());
    assert_eq!(asked_one.intended(), Some(kid(8)));
    let again = floor.answer(1, &mut opened_one.received, &answer, None);
    let raw = option(&again);
    assert_eq!(OscoreOption::parse(&raw).unwrap().kid, None);
}

// Covers: GO-7.4-09, GO-7.4-10, GO-7.4-19, GO-7.4-20
#[test]
fn a_server_that_changes_its_id_within_a_long_exchange_is_not_followed() {
    let mut floor = Floor::new(2, Suite::default());
    let (bytes, mut asked) = floor.ask(0, To::Group, &get(1, &[0xaa], "temp"));
    let mut opened = floor.hear(1, &bytes).unwrap();
    let answer = content(2, &[0xaa], b"1");
    let first = floor.answer(1, &mut opened.received, &answer, None);
    assert!(floor.listen(0, &first, &mut asked).is_ok());
    let prepared = floor.members[1]
        .group()
        .prepare_sender_id(kid(8), 100)
        .unwrap();
    floor.members[1].group().commit_sender_id(prepared).unwrap();
    floor.members[0]
        .group()
        .add_peer(kid(8), credential(1))
        .unwrap();
    let second = floor.answer(1, &mut opened.received, &answer, None);
    assert_eq!(
        floor.listen(0, &second, &mut asked).unwrap_err(),
        Reason::KidChanged
    );
    let order = asked.servers.values().next().unwrap();
    assert_eq!(order.kid(), Some(kid(1).as_bytes()));
    let number = order.response_number(floor.members[0].group().current.serial);
    assert_eq!(number.map(|piv| piv.value()), Some(0));
}

#[test]
fn keys_that_are_not_newer_are_never_installed() {
    let mut floor = Floor::new(2, Suite::default());
    let group = floor.members[0].group();
    let since = |generation| Stale::Since {
        generation,
        kids: vec![],
    };
    let new = |gid: &[u8], generation| parameters(gid, generation, Suite::default());
    let mut refused = |parameters, stale, expected| {
        let prepared = group.prepare_install(parameters, None, stale, 0);
        assert_eq!(prepared.err(), Some(expected));
        assert!(!group.installing);
    };
    refused(new(NEW, 1), since(1), InstallError::NotNewer);
    refused(new(NEW, 0), since(0), InstallError::NotNewer);
    refused(new(GID, 2), since(1), InstallError::SameGid);
    refused(new(NEW, 3), since(2), InstallError::StaleUnknown);
    let group = floor.members[0].group();
    // What was prepared before something changed is not installed.
    let prepared = group
        .prepare_install(new(NEW, 2), None, since(1), 0)
        .unwrap();
    group.remove_peer(kid(1));
    let refused = group.commit_install(prepared, seconds(1)).unwrap_err();
    assert_eq!(refused, InstallError::Superseded);
    group.abort_install();
    let prepared = group
        .prepare_install(new(NEW, 2), None, Stale::All, 0)
        .unwrap();
    group.commit_install(prepared, seconds(1)).unwrap();
    assert_eq!((group.generation(), group.peer_count()), (2, 0));
    // Sender IDs: each once under a Gid.
    let used = group.prepare_sender_id(kid(0), 0).err();
    assert_eq!(used, Some(InstallError::UsedSenderId));
    let prepared = group.prepare_sender_id(kid(3), 0).unwrap();
    group.commit_sender_id(prepared).unwrap();
    for id in [0, 3] {
        let used = group.prepare_sender_id(kid(id), 0).err();
        assert_eq!(used, Some(InstallError::UsedSenderId));
    }
}

// Covers: GO-14.1-01, GO-2.6.1.2-01, GO-2.6.1.1-03, GO-2.6.1.1-04, GO-2.6.1.1-02
#[test]
fn threat_14_stale_members_are_gone_before_the_new_keys_come() {
    let mut floor = Floor::new(4, Suite::default());
    let request = get(1, &[0xaa], "temp");
    // A peer that was deleted comes back: nobody knows what it had sent.
    let group = floor.members[1].group();
    assert!(group.remove_peer(kid(3)) && !group.remove_peer(kid(3)));
    group.add_peer(kid(3), credential(3)).unwrap();
    assert!(!group.peer(kid(3)).unwrap().window().is_valid());
    assert!(group.peer(kid(2)).unwrap().window().is_valid());
    group.mark_lost();
    let stale = Stale::Since {
        generation: 1,
        kids: vec![kid(2)],
    };
    let new = parameters(NEW, 2, Suite::default());
    let prepared = group.prepare_install(new, None, stale, 10).unwrap();
    group.commit_install(prepared, seconds(1000)).unwrap();
    assert!(!group.is_lost());
    assert!(group.peer(kid(2)).is_none());
    assert!(group.peer(kid(3)).unwrap().window().is_valid());
    // The evicted one has even got the new keys; member 3 has not got the list of who is stale.
    for other in [0, 2, 3] {
        install(&mut floor.members[other], seconds(1000));
    }
    let (evicted, _) = floor.ask(2, To::Group, &request);
    let (member, _) = floor.ask(0, To::Group, &request);
    assert_eq!(floor.hear(1, &evicted).unwrap_err(), Reason::NoContext);
    assert!(floor.hear(1, &member).is_ok());
    // The control: without the list it is heard.
    assert!(floor.hear(3, &evicted).is_ok());
}

/// Draft section 14.1.1: without tags, only the countersignature tells who is a member. One who has left and checks signatures
/// now has the new Signature Encryption Key; all else that it encrypts with is old, so that the plaintext is a matter of chance.
// Covers: GO-14.1-01
#[test]
fn threat_14_the_new_signature_encryption_key_alone_makes_nobody_a_member() {
    let (encryption, signature) = (GroupEncryption::A128Ctr, SignatureAlgorithm::EdDsa);
    let suite = Suite::new(Hkdf::Sha256, None, Some(encryption), Some(signature), None).unwrap();
    let mut floor = Floor::new(4, suite);
    // Member 3 has not got the list of who is stale: the control.
    for (member, kids) in [(0, vec![kid(2)]), (1, vec![kid(2)]), (3, vec![])] {
        let mut new = parameters(NEW, 2, suite);
        new.master_secret = Secret::new(vec![0x77; 16]);
        let stale = Stale::Since {
            generation: 1,
            kids,
        };
        let group = floor.members[member].group();
        let prepared = group.prepare_install(new, None, stale, 1000).unwrap();
        group.commit_install(prepared, seconds(1000)).unwrap();
    }
    let new = &floor.members[0].group().current.common;
    let given = (new.gid.clone(), new.signature_encryption_key.clone());
    let former = &mut floor.members[2].group().current.common;
    assert_ne!(former.signature_encryption_key, given.1);
    (former.gid, former.signature_encryption_key) = given;
    let mut delivered = 0;
    for number in 0..64 {
        // Nothing but a code, which every eighth byte is.
        let forged = message(Type::Non, Code::GET, number, &[0xaa], &[], b"");
        let (forged, _) = floor.ask(2, To::Group, &forged);
        assert_eq!(floor.hear(1, &forged).unwrap_err(), Reason::NoContext);
        match floor.hear(3, &forged) {
            Ok(opened) => {
                assert_eq!(opened.sender.kid(), kid(2));
                delivered += 1;
            }
            Err(reason) => assert_eq!(reason, Reason::Content),
        }
    }
    assert!(delivered > 0);
    let (member, _) = floor.ask(0, To::Group, &get(1, &[0xaa], "temp"));
    assert!(floor.hear(1, &member).is_ok());
}

/// The next keys, as both members of a floor install them at this time.
fn install_next(one: &mut One, generation: u64, now: Duration) {
    let stale = Stale::Since {
        generation: generation - 1,
        kids: vec![],
    };
    let gid = [0x30 + generation as u8];
    let parameters = parameters(&gid, generation, Suite::default());
    let group = one.group();
    let prepared = group.prepare_install(parameters, None, stale, 1000);
    group.commit_install(prepared.unwrap(), now).unwrap();
    one.now = now;
}

#[test]
fn what_is_kept_of_replaced_contexts_goes_with_them_in_a_long_exchange() {
    let settings = Settings {
        retention: seconds(10),
        ..Settings::default()
    };
    let mut floor = Floor::with(2, Suite::default(), settings);
    let (request, mut asked) = floor.ask(0, To::Group, &get(1, &[0xaa], "temp"));
    let mut opened = floor.hear(1, &request).unwrap();
    let mut respond = |floor: &mut Floor, asked: &mut Asked| {
        let answer = content(2, &[0xaa], b"1");
        let response = floor.answer(1, &mut opened.received, &answer, None);
        floor.listen(0, &response, asked).map(|opened| opened.order)
    };
    let known = |asked: &Asked, context: u64| {
        let order = asked.servers.values().next().unwrap();
        order.response_number(context).is_some()
    };
    assert!(respond(&mut floor, &mut asked).unwrap().freshest);
    let mut last = floor.members[0].group().current.serial;
    // More contexts than there is room for.
    for generation in 2..10 {
        let now = seconds(1000 + 20 * generation);
        install_next(&mut floor.members[0], generation, now);
        // Until the replaced context is erased, responses are opened with it, and their order is kept.
        floor.members[0].now = now + seconds(10) - Duration::from_nanos(1);
        assert!(respond(&mut floor, &mut asked).unwrap().freshest);
        assert!(known(&asked, last));
        install_next(&mut floor.members[1], generation, now);
        floor.members[0].now = now + seconds(10);
        assert!(respond(&mut floor, &mut asked).unwrap().freshest);
        assert!(!known(&asked, last));
        last = floor.members[0].group().current.serial;
        assert!(known(&asked, last));
    }
}

#[test]
fn a_repeated_response_is_not_tried_under_the_replaced_keys() {
    let settings = Settings {
        retention: seconds(10),
        order: OrderPolicy {
            older: OlderResponses::Within(WindowSize::default()),
            kid_change: KidChange::Followed,
        },
        ..Settings::default()
    };
    let mut floor = Floor::with(2, Suite::default(), settings);
    let (request, mut asked) = floor.ask(0, To::Group, &get(1, &[0xaa], "temp"));
    let mut opened = floor.hear(1, &request).unwrap();
    for member in [0, 1] {
        install_next(&mut floor.members[member], 2, seconds(1000));
    }
    let answer = content(2, &[0xaa], b"1");
    let first = floor.answer(1, &mut opened.received, &answer, None);
    floor.listen(0, &first, &mut asked).unwrap();
    // It does not say under which keys.
    let second = floor.answer(1, &mut opened.received, &answer, None);
    assert_eq!(named_gid(&second), None);
    let message = Message::parse(&second).unwrap();
    let one = &mut floor.members[0];
    let mut copies = [(); 2].map(|()| {
        let begun = one.contexts.begin_response(one.now, &message, &mut asked);
        let Ok(Step::Work(opening, job)) = begun else {
            panic!("nothing to do");
        };
        Some((opening, job.run(&one.key)))
    });
    let mut finish = |copy: usize| {
        let (opening, result) = copies[copy].take().unwrap();
        let contexts = &mut one.contexts;
        contexts.finish_response(one.now, opening, result, &mut asked)
    };
    assert!(matches!(finish(0), Ok(Step::Done(_))));
    assert_eq!(finish(1).unwrap_err().reason, Reason::Replayed);
}

fn since(generation: u64) -> Stale {
    Stale::Since {
        generation,
        kids: vec![],
    }
}

#[test]
fn what_was_prepared_before_something_else_was_installed_is_not_installed() {
    let mut floor = Floor::new(2, Suite::default());
    let group = floor.members[0].group();
    let now = seconds(1000);
    let new = |generation: u64| parameters(&[generation as u8], generation, Suite::default());
    // A new Sender ID in between.
    let sender = group.prepare_sender_id(kid(8), 100).unwrap();
    let prepared = group.prepare_install(new(2), None, since(1), 100).unwrap();
    assert_eq!(
        (prepared.generation(), prepared.sender_id()),
        (2, Some(kid(0)))
    );
    group.commit_sender_id(sender).unwrap();
    let late = group.commit_install(prepared, now);
    assert_eq!(late, Err(InstallError::Superseded));
    group.abort_install();
    assert_eq!(group.generation(), 1);
    // Another installation in between.
    let late = group.prepare_install(new(3), None, since(1), 100).unwrap();
    let first = group.prepare_install(new(2), None, since(1), 100).unwrap();
    group.commit_install(first, now).unwrap();
    let last = group.prepare_install(new(4), None, since(2), 100).unwrap();
    assert_eq!(
        group.commit_install(late, now),
        Err(InstallError::Superseded)
    );
    group.commit_install(last, now).unwrap();
    assert_eq!(group.generation(), 4);
    // A peer that has the ID by now.
    let sender = group.prepare_sender_id(kid(9), 100).unwrap();
    group.add_peer(kid(9), credential(9)).unwrap();
    assert_eq!(
        group.commit_sender_id(sender),
        Err(InstallError::Superseded)
    );
    assert_eq!(group.sender_id(), Some(kid(8)));
}

#[test]
fn an_installation_that_is_given_up_changes_nothing() {
    let mut floor = Floor::new(2, Suite::default());
    let one = &mut floor.members[0];
    let new = parameters(NEW, 2, Suite::default());
    one.group()
        .prepare_install(new, None, since(1), 100)
        .unwrap();
    let plain = get(1, &[0xaa], "temp");
    assert_eq!(
        one.try_ask(To::Group, &plain).err(),
        Some(ProtectError::Installing)
    );
    one.group().abort_install();
    let (bytes, _) = floor.ask(0, To::Group, &plain);
    assert!(floor.hear(1, &bytes).is_ok());
}

#[test]
fn no_serial_number_is_given_twice() {
    let mut floor = Floor::new(4, Suite::default());
    let group = floor.members[0].group();
    let mut given = alloc::collections::BTreeSet::new();
    for generation in 2..5 {
        let context = &group.current;
        let peers = context.recipients.iter().map(|(_, peer)| peer.serial);
        let own = context.sender.as_ref().map(|sender| sender.serial);
        // Those of contexts are told apart from those of senders and peers by where they are used.
        let all: Vec<u64> = peers.chain(own).chain([context.serial]).collect();
        assert_eq!(all.len(), 5);
        for serial in all {
            assert!(given.insert(serial), "{serial}");
        }
        let new = parameters(&[generation as u8], generation, Suite::default());
        let prepared = group.prepare_install(new, None, since(generation - 1), 100);
        group
            .commit_install(prepared.unwrap(), seconds(1000))
            .unwrap();
        // Nothing waited, so that nothing of the replaced keys is kept.
        assert!(group.next_timeout().is_none());
    }
}

#[test]
fn whatever_changes_the_peers_supersedes_what_was_prepared() {
    type Change = fn(&mut Group);
    let changes: [(&str, Change); 3] = [
        ("another peer", |group| {
            group.add_peer(kid(5), credential(5)).unwrap()
        }),
        ("one that came and went", |group| {
            group.add_peer(kid(5), credential(5)).unwrap();
            assert!(group.remove_peer(kid(5)));
        }),
        ("windows that are not known", Group::windows_unknown),
    ];
    for members in [1, 3] {
        for (what, change) in changes {
            let mut floor = Floor::new(members, Suite::default());
            let group = floor.members[0].group();
            let new = || parameters(NEW, 2, Suite::default());
            let prepared = group.prepare_install(new(), None, since(1), 100).unwrap();
            change(group);
            let late = group.commit_install(prepared, seconds(1000));
            assert_eq!(late, Err(InstallError::Superseded), "{what}");
            group.abort_install();
            let prepared = group.prepare_install(new(), None, since(1), 100).unwrap();
            assert_eq!(group.commit_install(prepared, seconds(1000)), Ok(()));
        }
    }
}
