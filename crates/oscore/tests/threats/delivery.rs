//! What is delivered: for the right request, once, verified, under the agreed algorithms (threats 17, 22, 27, 28, 29
//! and 31).

use antiphon_oscore::replay::{ReplayWindow, WindowSize};
use antiphon_oscore::suite::{Hkdf, KeyAgreement, SignatureAlgorithm, SuiteError};

use crate::floor::*;
use crate::hand::{Draft, Recipe};

#[test]
fn threat_17_a_response_is_for_its_request_and_taken_once() {
    let mut members = floor(3);
    let (first, mut asked_first) = members[0].ask(To::Group, &get(1));
    let (second, mut asked_second) = members[0].ask(To::Group, &get(2));
    let mut first = members[1].hear(&first).unwrap();
    let mut second = members[1].hear(&second).unwrap();
    let a = members[1].answer(&mut first.received, &content(3, b"a"), None);
    let b = members[1].answer(&mut second.received, &content(4, b"b"), None);
    // Swapped.
    assert_eq!(
        members[0].listen(&b, &mut asked_first).unwrap_err(),
        Reason::NotVerified
    );
    assert_eq!(
        members[0].listen(&a, &mut asked_second).unwrap_err(),
        Reason::NotVerified
    );
    assert_eq!((asked_first.servers(), asked_second.servers()), (0, 0));
    // To somebody else's request.
    let (_, mut of_another) = members[2].ask(To::Group, &get(1));
    assert_eq!(
        members[2].listen(&a, &mut of_another).unwrap_err(),
        Reason::NotVerified
    );
    // Once, and not for the next request under the same token.
    assert!(members[0].listen(&a, &mut asked_first).is_ok());
    assert_eq!(
        members[0].listen(&a, &mut asked_first).unwrap_err(),
        Reason::Replayed
    );
    drop(asked_first);
    let (_, mut next) = members[0].ask(To::Group, &get(1));
    assert_eq!(
        members[0].listen(&a, &mut next).unwrap_err(),
        Reason::NotVerified
    );

    // The control: two requests that are the same to the authenticated data, as a client makes them that was set back.
    let settings = Settings::default();
    let mut before = One::new(0, 3, Suite::default(), settings, 0, None);
    let mut after = One::new(0, 3, Suite::default(), settings, 0, None);
    let (request, _) = before.ask(To::Group, &get(1));
    let (_, mut other) = after.ask(To::Group, &echoing(2, b"something else"));
    let mut server = One::new(1, 3, Suite::default(), settings, 0, None);
    let mut opened = server.hear(&request).unwrap();
    let response = server.answer(&mut opened.received, &content(3, b"a"), None);
    assert!(after.listen(&response, &mut other).is_ok());
}

#[test]
fn threat_22_only_what_verified_is_challenged() {
    for to in [To::Group, To::Member(kid(1))] {
        let mut members = floor(2);
        members[1].group().windows_unknown();
        let (request, _) = members[0].ask(to, &get(1));
        // A flood: every one of them would be the first request of a client.
        for number in 0..50 {
            let mut forged = payload(&request);
            let at = number % forged.len();
            forged[at] ^= 0x40;
            let forged = with_payload(&request, &forged);
            assert_eq!(members[1].refuses(&forged), Reason::NotVerified);
        }
        assert_eq!(Reason::NotVerified.answer(true), None);
        // The control: the genuine one is challenged.
        members[1].challenged(&request);
    }
}

// Covers: GO-5.3-01
#[test]
fn threat_27_of_copies_that_are_processed_at_once_one_is_delivered() {
    let copies = 16;
    let mut members = floor(2);
    let (request, _) = members[0].ask(To::Group, &get(1));
    let message = Message::parse(&request).unwrap();
    let server = &mut members[1];
    let mut waiting = vec![];
    for _ in 0..copies {
        match server.contexts.begin_request(server.now, &message, false) {
            Ok(Step::Work(opening, Job::Verify(job))) => waiting.push((opening, job)),
            other => panic!("{other:?}"),
        }
    }
    // Each copy on a thread of its own; windows have one owner, to whom the results return.
    let threads: Vec<_> = waiting
        .into_iter()
        .map(|(opening, job)| (opening, std::thread::spawn(move || job.run())))
        .collect();
    let mut delivered = 0;
    for (opening, thread) in threads.into_iter().rev() {
        let result = JobResult::Checked(thread.join().unwrap());
        match server.contexts.finish_request(server.now, opening, result) {
            Ok(Step::Done(Opened::Request(_))) => delivered += 1,
            Ok(other) => panic!("{other:?}"),
            Err(refused) => assert_eq!(refused.reason, Reason::Replayed),
        }
    }
    assert_eq!(delivered, 1);
    // In pairwise mode likewise, where the agreement is what takes long.
    let (request, _) = members[0].ask(To::Member(kid(1)), &get(2));
    let message = Message::parse(&request).unwrap();
    let server = &mut members[1];
    let mut waiting = vec![];
    for _ in 0..2 {
        match server.contexts.begin_request(server.now, &message, false) {
            Ok(Step::Work(opening, job)) => waiting.push((opening, job.run(&server.key))),
            other => panic!("{other:?}"),
        }
    }
    let finished = waiting.into_iter().map(|(opening, result)| {
        let now = server.now;
        server.contexts.finish_request(now, opening, result).is_ok()
    });
    assert_eq!(finished.filter(|delivered| *delivered).count(), 1);

    // The control: checked at the beginning only.
    let mut window = ReplayWindow::valid(WindowSize::default());
    let piv = PartialIv::new(9).unwrap();
    let checked: Vec<_> = (0..copies).map(|_| window.check(piv)).collect();
    assert_eq!(checked.iter().filter(|it| it.is_ok()).count(), copies);
    let committed: Vec<_> = (0..copies).map(|_| window.commit(piv)).collect();
    assert_eq!(committed.iter().filter(|it| it.is_ok()).count(), 1);
}

fn suite(aead: Option<Aead>, group: Option<Aead>, agreement: Option<KeyAgreement>) -> Suite {
    let signature = group.map(|_| SignatureAlgorithm::EdDsa);
    let group = group.map(GroupEncryption::Aead);
    Suite::new(Hkdf::Sha256, aead, group, signature, agreement).unwrap()
}

#[test]
fn threat_28_members_with_different_algorithms_do_not_understand_each_other() {
    let (long, short) = (Some(Aead::AesCcm16_128_128), Some(Aead::AesCcm16_64_128));
    let dh = Some(KeyAgreement::EcdhSsHkdf256);
    let ours = suite(long, long, dh);
    assert_eq!(ours, Suite::default());
    let one = |suite| One::new(1, 2, suite, Settings::default(), 0, None);
    let mut client = One::new(0, 2, ours, Settings::default(), 0, None);
    let (signed, _) = client.ask(To::Group, &get(1));
    let (paired, _) = client.ask(To::Member(kid(1)), &get(1));
    // Another algorithm in one place, or none in the places of the mode that is not used.
    for theirs in [
        suite(short, long, dh),
        suite(None, long, None),
        suite(long, short, dh),
    ] {
        assert_eq!(one(theirs).hear(&signed).unwrap_err(), Reason::NotVerified);
    }
    assert_eq!(
        one(suite(long, short, dh)).hear(&paired).unwrap_err(),
        Reason::NotVerified
    );
    assert_eq!(
        one(suite(short, long, dh)).hear(&paired).unwrap_err(),
        Reason::NotVerified
    );
    let pairwise = Reason::ModeUnavailable(Mode::Pairwise);
    assert_eq!(
        one(suite(None, long, None)).hear(&paired).unwrap_err(),
        pairwise
    );
    // The control: keys and nonces are the same with another AEAD algorithm for the pairwise mode, so that a message whose
    // authenticated data name that one is taken. Nothing but those data tells the two apart.
    let theirs = suite(short, long, dh);
    let mut recipe = Recipe::new(ours);
    assert_eq!(
        one(theirs).hear(&recipe.request(0, 0)).unwrap_err(),
        Reason::NotVerified
    );
    recipe.claimed = theirs;
    assert!(one(theirs).hear(&recipe.request(0, 0)).is_ok());
    assert!(one(ours).hear(&signed).is_ok());
    assert!(one(ours).hear(&paired).is_ok());
    // What protects no integrity is refused when a group is configured: CBC anywhere, counter mode in pairwise mode.
    for cbc in [-65_531, -65_530, -65_529] {
        assert_eq!(
            GroupEncryption::lookup(cbc),
            Err(SuiteError::Forbidden(cbc))
        );
        assert_eq!(Aead::from_id(cbc), None);
    }
    for ctr in [
        GroupEncryption::A128Ctr,
        GroupEncryption::A192Ctr,
        GroupEncryption::A256Ctr,
    ] {
        assert_eq!(Aead::from_id(ctr.id()), None);
    }
}

#[test]
fn threat_29_a_message_by_the_rules_of_an_older_draft_is_refused() {
    let mut recipe = Recipe::new(Suite::default());
    let mut server = One::new(1, 2, Suite::default(), Settings::default(), 0, None);
    let older = [
        (Draft::Eleven, Draft::Eleven),
        (Draft::Eleven, Draft::TwentyEight),
        (Draft::TwentyEight, Draft::Eleven),
    ];
    for (aad, signature) in older {
        (recipe.aad, recipe.signature) = (aad, signature);
        let refused = server.hear(&recipe.request(0, 0)).unwrap_err();
        assert_eq!(refused, Reason::NotVerified, "{aad:?} {signature:?}");
    }
    // The control: made by the same hand, by the rules of today.
    recipe = Recipe::new(Suite::default());
    let opened = server.hear(&recipe.request(0, 0)).unwrap();
    let plain = Message::parse(&opened.message).unwrap();
    assert_eq!(plain.option(OptionNumber::URI_PATH), Some(&b"lock"[..]));
    // State of another version is not read: there is no other version to fall back to.
    assert_eq!(antiphon_oscore::record::VERSION, "draft-28");
}

#[test]
fn threat_31_scanning_for_ids_by_multicast_finds_nothing() {
    let mut members = floor(2);
    let (request, _) = members[0].ask(To::Group, &get(1));
    let (replayed, _) = members[0].ask(To::Group, &get(1));
    members[1].hear(&replayed).unwrap();
    let renamed = |from: &[u8], to: &[u8]| {
        let mut bytes = request.clone();
        let at = bytes
            .windows(from.len())
            .position(|part| part == from)
            .unwrap();
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    };
    let probes = [
        ("unknown Gid", renamed(GID, b"Dax")),
        ("unknown kid", renamed(b"Dal\x40", b"Dal\x50")),
        ("known kid", spoiled(&request)),
        ("the server's own kid", renamed(b"Dal\x40", b"Dal\x41")),
        ("replay", replayed),
        ("short", with_payload(&request, b"x")),
    ];
    let mut said = vec![];
    for (what, probe) in probes {
        let reason = members[1].refuses(&probe);
        assert_eq!(reason.answer(true), None, "{what}");
        said.push(reason.answer(false));
    }
    // The control: where the policy is to answer, valid and invalid kids are told apart. That is for unicast only, off
    // by default and limited in its rate (`docs/threats.md`).
    assert_ne!(said[1], said[2]);
    assert!(said[2].is_some());
}
