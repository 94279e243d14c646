//! Signature checkers (draft section 7.5).

use super::floor::*;
use crate::derive::Material;

fn checker() -> SignatureChecker {
    let parameters = parameters(GID, 1, Suite::default());
    let material = Material {
        hkdf: parameters.suite.hkdf(),
        master_secret: &parameters.master_secret,
        master_salt: parameters.master_salt.as_bytes(),
        id_context: Some(GID),
    };
    let key = material
        .signature_encryption_key(&parameters.suite)
        .unwrap();
    let gid = parameters.gid.clone();
    let manager = &parameters.gm_credential;
    let mut checker = SignatureChecker::new("lights", gid, parameters.suite, key, manager).unwrap();
    for member in 0..3 {
        checker.add_member(kid(member), credential(member));
    }
    checker
}

fn check(
    checker: &mut SignatureChecker,
    bytes: &[u8],
    request: Option<&RequestSeen>,
    sender: Option<Kid>,
) -> Result<Member, Reason> {
    let message = Message::parse(bytes).unwrap();
    let (checking, job) = checker.begin(&message, request, sender)?;
    checker.finish(checking, job.run())
}

// Covers: GO-7.5-01, GO-7.5-02, GO-8-02
#[test]
fn a_signature_checker_verifies_requests_and_responses() {
    let mut floor = Floor::new(3, Suite::default());
    let mut checker = checker();
    let (bytes, _) = floor.ask(0, To::Group, &get(1, &[0xaa], "temp"));
    let member = check(&mut checker, &bytes, None, None).unwrap();
    assert_eq!(member, floor.members[1].group().member(kid(0)).unwrap());
    let request = RequestSeen::of(&Message::parse(&bytes).unwrap()).unwrap();
    let mut opened = floor.hear(1, &bytes).unwrap();
    let answer = content(2, &[0xaa], b"1");
    let response = floor.answer(1, &mut opened.received, &answer, None);
    let member = check(&mut checker, &response, Some(&request), None).unwrap();
    assert_eq!(member.kid(), kid(1));
    // One without number takes that of the request.
    let plain = Message::parse(&answer).unwrap();
    let one = &mut floor.members[2];
    let mut opened = one.hear(&bytes).unwrap();
    let response = one.protect(|it, now| {
        it.protect_response_numbered(now, &plain, &mut opened.received, Some(Mode::Group), None)
    });
    let response = response.unwrap().bytes;
    assert_eq!(option(&response), [0x28, 0x42]);
    assert!(check(&mut checker, &response, Some(&request), None).is_ok());
    // As a request, or for another request, it is nothing.
    assert!(check(&mut checker, &response, None, None).is_err());
    let (other, _) = floor.ask(0, To::Group, &get(3, &[0xaa], "temp"));
    let other = RequestSeen::of(&Message::parse(&other).unwrap()).unwrap();
    let refused = check(&mut checker, &response, Some(&other), None);
    assert_eq!(refused.unwrap_err(), Reason::NotVerified);
    // What is in pairwise mode cannot be checked.
    let (paired, _) = floor.ask(0, To::Member(kid(1)), &get(4, &[0xaa], "temp"));
    let refused = check(&mut checker, &paired, None, None);
    assert_eq!(
        refused.unwrap_err(),
        Reason::ModeUnavailable(Mode::Pairwise)
    );
}

// Covers: GO-7.5-03
#[test]
fn a_response_that_names_nobody_is_checked_for_whoever_is_known_to_have_sent_it() {
    let mut floor = Floor::new(3, Suite::default());
    let mut checker = checker();
    let (bytes, _) = floor.ask(0, To::Member(kid(1)), &get(1, &[0xaa], "temp"));
    let request = RequestSeen::of(&Message::parse(&bytes).unwrap()).unwrap();
    let mut opened = floor.hear(1, &bytes).unwrap();
    let answer = content(2, &[0xaa], b"1");
    let response = floor.answer(1, &mut opened.received, &answer, Some(Mode::Group));
    let mut of = |sender| check(&mut checker, &response, Some(&request), sender);
    assert_eq!(of(None).unwrap_err(), Reason::NoContext);
    assert_eq!(of(Some(kid(2))).unwrap_err(), Reason::NotVerified);
    assert_eq!(of(Some(kid(1))).unwrap().kid(), kid(1));
}

#[test]
fn a_signature_checker_refuses_what_was_changed() {
    let mut floor = Floor::new(3, Suite::default());
    let mut checker = checker();
    let (bytes, _) = floor.ask(0, To::Group, &get(1, &[0xaa], "temp"));
    for bit in 5 * 8..bytes.len() * 8 {
        let mut forged = bytes.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        if Message::parse(&forged).is_ok() {
            assert!(
                check(&mut checker, &forged, None, None).is_err(),
                "bit {bit}"
            );
        }
    }
    assert!(check(&mut checker, &bytes, None, None).is_ok());
    assert!(checker.remove_member(kid(0)));
    let refused = check(&mut checker, &bytes, None, None);
    assert_eq!(refused.unwrap_err(), Reason::NoContext);
}

#[test]
fn the_result_for_another_message_says_nothing_of_this_one() {
    let mut floor = Floor::new(3, Suite::default());
    let mut checker = checker();
    let begun = [1, 2].map(|number| {
        let (bytes, _) = floor.ask(0, To::Group, &get(number, &[0xaa], "temp"));
        let message = Message::parse(&bytes).unwrap();
        checker.begin(&message, None, None).unwrap()
    });
    let [(first, of_first), (second, of_second)] = begun;
    let swapped = [(first, of_second), (second, of_first)];
    for (checking, job) in swapped {
        let refused = checker.finish(checking, job.run());
        assert_eq!(refused.unwrap_err(), Reason::WrongResult);
    }
}
