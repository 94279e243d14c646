//! Messages that wait for work: whose result is taken, and how often they are tried.

use super::floor::*;
use super::receive::group_only;
use crate::open::JobResult;

fn begin(one: &mut One, bytes: &[u8]) -> (alloc::boxed::Box<Opening>, JobResult) {
    let message = Message::parse(bytes).unwrap();
    let begun = one.contexts.begin_request(one.now, &message, false);
    match begun.unwrap() {
        Step::Work(opening, job) => (opening, job.run(&one.key)),
        Step::Done(_) => panic!("nothing to do"),
    }
}

/// The group of a member of a floor, with other keys.
fn group(name: &str, own_id: usize, peer: usize, secret: u8) -> Group {
    let mut parameters = parameters(GID, 1, Suite::default());
    parameters.master_secret = Secret::new(vec![secret; 16]);
    let own = Own {
        sequence: sequence_from(10 * u64::from(secret)),
        ..own(own_id)
    };
    let settings = Settings::default();
    let mut group = Group::new(name, parameters, Some(own), settings, None).unwrap();
    group.add_peer(kid(peer), credential(peer)).unwrap();
    group
}

#[test]
fn a_secret_agreed_on_with_another_or_in_another_group_is_not_taken() {
    let mut floor = Floor::new(3, Suite::default());
    let request = get(1, &[0xaa], "temp");
    let (first, _) = floor.ask(0, To::Member(kid(1)), &request);
    let (second, _) = floor.ask(2, To::Member(kid(1)), &request);
    let one = &mut floor.members[1];
    let (opening, _) = begin(one, &first);
    assert_eq!(opening.message(), first);
    assert!(format!("{opening:?}").starts_with("Opening("));
    let (_, of_other_peer) = begin(one, &second);
    let finished = one.contexts.finish_request(one.now, opening, of_other_peer);
    assert_eq!(finished.unwrap_err().reason, Reason::WrongResult);
    assert!(!one.group().peer(kid(2)).unwrap().has_pairwise_keys());

    // The same member in another group, where all serial numbers are the same.
    let mut doors = group("doors", 1, 0, 0x11);
    doors.add_peer(kid(2), credential(2)).unwrap();
    let doors = one.contexts.add_group(doors);
    let (opening, of_lights) = begin(one, &first);
    let JobResult::Agreed(agreed) = of_lights else {
        panic!("not a secret");
    };
    let with = crate::open::With {
        group: doors,
        ..agreed.with
    };
    let of_doors = JobResult::Agreed(Agreed { with, ..agreed });
    let finished = one.contexts.finish_request(one.now, opening, of_doors);
    let refused = finished.unwrap_err();
    assert_eq!(refused.reason, Reason::WrongResult);
    assert_eq!(refused.group, Some(one.group));
    for group in [one.group, doors] {
        let peer = one.contexts.group(group).unwrap().peer(kid(0)).unwrap();
        assert!(!peer.has_pairwise_keys());
    }
}

#[test]
fn a_message_is_tried_in_four_contexts_and_no_more() {
    let request = get(1, &[0xaa], "temp");
    let mut server = Floor::new(2, Suite::default()).members.remove(1);
    server.contexts.remove_group(server.group);
    for secret in 1..=5 {
        let name = format!("group {secret}");
        server.contexts.add_group(group(&name, 1, 0, secret));
    }
    for secret in 1..=5 {
        let mut contexts = Contexts::new();
        let name = format!("group {secret}");
        let id = contexts.add_group(group(&name, 0, 1, secret));
        let mut client = One {
            contexts,
            group: id,
            key: key(0),
            now: seconds(1),
        };
        let (bytes, _) = client.try_ask(To::Group, &request).unwrap();
        match server.hear(&bytes) {
            Ok(opened) => {
                assert_eq!(opened.sender.group(), name);
                assert_ne!(secret, 5);
            }
            Err(reason) => {
                assert_eq!(reason, Reason::NotVerified);
                assert_eq!(secret, 5);
            }
        }
    }
}

#[test]
fn a_request_says_whether_it_was_answered() {
    let mut floor = Floor::new(2, Suite::default());
    let (bytes, asked) = floor.ask(0, To::Group, &get(1, &[0xaa], "temp"));
    assert!(format!("{asked:?}").starts_with("Asked { kid: 40, piv: 0, mode: Group, servers: 0"));
    let mut opened = floor.hear(1, &bytes).unwrap();
    assert!(!opened.received.is_answered());
    for number in 0..2 {
        let answer = content(number, &[0xaa], b"21");
        floor.answer(1, &mut opened.received, &answer, None);
        assert!(opened.received.is_answered());
    }
}

#[test]
fn what_is_genuine_and_refused_is_not_tried_in_another_context() {
    let mut floor = Floor::new(2, Suite::default());
    // Both are in a second group of the same Gid.
    for (member, other) in [(0, 1), (1, 0)] {
        let group = group("doors", member, other, 0x11);
        floor.members[member].contexts.add_group(group);
    }
    let (request, mut asked) = floor.ask(0, To::Group, &get(1, &[0xaa], "temp"));
    let one = &mut floor.members[1];
    let (first, its_result) = begin(one, &request);
    let (second, result) = begin(one, &request);
    let finished = one.contexts.finish_request(one.now, first, its_result);
    let Ok(Step::Done(Opened::Request(mut opened))) = finished else {
        panic!("not opened");
    };
    let finished = one.contexts.finish_request(one.now, second, result);
    let refused = finished.unwrap_err();
    assert_eq!(refused.reason, Reason::Replayed);
    assert_eq!(refused.group, Some(one.group));
    // A response likewise.
    let answer = content(2, &[0xaa], b"21");
    let response = floor.answer(1, &mut opened.received, &answer, None);
    let message = Message::parse(&response).unwrap();
    let one = &mut floor.members[0];
    let mut copies = vec![];
    for _ in 0..2 {
        match one.contexts.begin_response(one.now, &message, &mut asked) {
            Ok(Step::Work(opening, job)) => copies.push((opening, job.run(&one.key))),
            other => panic!("{other:?}"),
        }
    }
    for (number, (opening, result)) in copies.into_iter().enumerate() {
        let finished = one
            .contexts
            .finish_response(one.now, opening, result, &mut asked);
        match finished {
            Ok(Step::Done(opened)) => assert_eq!((number, opened.message), (0, answer.clone())),
            Ok(other) => panic!("{other:?}"),
            Err(refused) => {
                assert_eq!((number, refused.reason), (1, Reason::Replayed));
                assert_eq!(refused.group, Some(one.group));
            }
        }
    }
}

#[test]
fn responses_to_an_overheard_request_are_opened_by_whoever_has_the_keys() {
    let mut floor = Floor::new(3, Suite::default());
    let (request, _) = floor.ask(0, To::Group, &get(1, &[0xaa], "temp"));
    let mut opened = floor.hear(1, &request).unwrap();
    let answer = content(2, &[0xaa], b"21");
    let response = floor.answer(1, &mut opened.received, &answer, None);
    let overhear = |one: &mut One, bytes: &[u8], server| {
        let message = Message::parse(bytes).unwrap();
        one.contexts.overheard(&message, server)
    };
    let listener = &mut floor.members[2];
    let mut asked = overhear(listener, &request, None).unwrap();
    assert_eq!(asked.context(), listener.group.into());
    assert_eq!((asked.kid(), asked.mode()), (kid(0), Mode::Group));
    assert_eq!((asked.partial_iv().value(), asked.intended()), (0, None));
    let listened = listener.listen(&response, &mut asked).unwrap();
    assert_eq!(listened.message, answer);
    assert_eq!(listened.sender.kid(), kid(1));
    // For one member, in pairwise mode: whom it was for is known or not, and has to be a member.
    let (paired, _) = floor.ask(0, To::Member(kid(1)), &get(3, &[0xaa], "temp"));
    let listener = &mut floor.members[2];
    let asked = overhear(listener, &paired, Some(kid(1))).unwrap();
    assert_eq!(
        (asked.intended(), asked.mode()),
        (Some(kid(1)), Mode::Pairwise)
    );
    let unknown = overhear(listener, &paired, Some(kid(7)));
    assert_eq!(unknown.unwrap_err().reason, Reason::NoContext);
    // Of another group.
    floor.members[0].group().current.common.gid = Gid::new(b"Far").unwrap();
    let (far, _) = floor.ask(0, To::Group, &get(4, &[0xaa], "temp"));
    let unknown = overhear(&mut floor.members[2], &far, None);
    assert_eq!(unknown.unwrap_err().reason, Reason::NoContext);
}

#[test]
fn responses_to_an_overheard_request_of_a_pair_are_opened_with_its_keys() {
    let pair = |own, peer| {
        let parameters = PairParameters {
            master_secret: Secret::new(vec![7; 16]),
            master_salt: Secret::new(vec![]),
            id_context: None,
            sender_id: kid(own),
            recipient_id: kid(peer),
            hkdf: crate::suite::Hkdf::Sha256,
            aead: crate::suite::Aead::AesCcm16_64_128,
        };
        Pair::new("pair", &parameters, sequence(), PairSettings::default()).unwrap()
    };
    let mut client = Contexts::new();
    client.add_pair(pair(5, 6));
    let of_client = client.add_pair(pair(0, 1));
    let plain = get(1, &[0xaa], "temp");
    let message = Message::parse(&plain).unwrap();
    let protected = client.protect_request(seconds(1), of_client.into(), &message, To::Peer);
    let Ok(Protecting::Done(protected)) = protected else {
        panic!("not protected");
    };
    let message = Message::parse(&protected.bytes).unwrap();
    // The same request, with what is kept of it and with what is read of it.
    let asked = client.overheard(&message, None).unwrap();
    let kept = protected.asked.unwrap();
    assert_eq!(asked.context(), kept.context());
    assert_eq!((asked.kid(), kept.kid()), (kid(0), kid(0)));
    assert_eq!(
        (asked.intended(), kept.intended()),
        (Some(kid(1)), Some(kid(1)))
    );
    assert_eq!(asked.mode(), Mode::Plain);
    // What is for members of groups is not for the peer of a pair, and uses no number up.
    let plain = get(2, &[0xaa], "temp");
    let for_members = Message::parse(&plain).unwrap();
    for to in [To::Group, To::Member(kid(1))] {
        let refused = client.protect_request(seconds(1), of_client.into(), &for_members, to);
        assert_eq!(refused.err(), Some(ProtectError::UnknownMember));
    }
    assert_eq!(client.pair(of_client).unwrap().sequence().next(), 1);
    // Of nobody here.
    let mut stranger = Contexts::new();
    stranger.add_pair(pair(5, 6));
    let unknown = stranger.overheard(&message, None);
    assert_eq!(unknown.unwrap_err().reason, Reason::NoContext);
    // A request in group mode is never one of a pair.
    let mut floor = Floor::new(2, Suite::default());
    floor.members[0].group().current.common.gid = Gid::new(b"Far").unwrap();
    let (far, _) = floor.ask(0, To::Group, &get(4, &[0xaa], "temp"));
    let unknown = client.overheard(&Message::parse(&far).unwrap(), None);
    assert_eq!(unknown.unwrap_err().reason, Reason::NoContext);
}

#[test]
fn requests_in_a_row_for_which_there_is_no_context_are_counted() {
    let mut floor = Floor::new(2, Suite::default());
    let (good, _) = floor.ask(0, To::Group, &get(1, &[0xaa], "temp"));
    let (next, _) = floor.ask(0, To::Group, &get(2, &[0xaa], "temp"));
    floor.members[0].group().current.common.gid = Gid::new(b"Far").unwrap();
    let (far, _) = floor.ask(0, To::Group, &get(3, &[0xaa], "temp"));
    let server = &mut floor.members[1];
    for (bytes, refused, count) in [
        (&far, Some(Reason::NoContext), 1),
        (&far, Some(Reason::NoContext), 2),
        (&good, None, 0),
        (&good, Some(Reason::Replayed), 0),
        (&far, Some(Reason::NoContext), 1),
        (&good, Some(Reason::Replayed), 1),
        (&next, None, 0),
    ] {
        assert_eq!(server.hear(bytes).err(), refused);
        assert_eq!(server.contexts.without_context(), count);
    }
}

#[test]
fn a_notification_tells_the_low_24_bits_of_its_number() {
    let mut floor = Floor::new(2, Suite::default());
    let observe = [(OptionNumber::OBSERVE, &[][..])];
    let plain = message(Type::Non, Code::GET, 1, &[0xaa], &observe, b"");
    let (bytes, mut asked) = floor.ask(0, To::Group, &plain);
    let mut opened = floor.hear(1, &bytes).unwrap();
    for (number, value) in [
        (0x00_0001, &[0x01][..]),
        (0x12_3456, &[0x12, 0x34, 0x56]),
        (0x01_ffff_ff01, &[0xff, 0xff, 0x01]),
        (0xff_0000_0102, &[0x01, 0x02]),
    ] {
        *floor.members[1].group().sequence_mut().unwrap() = sequence_from(number);
        let answer = message(Type::Non, Code::CONTENT, 2, &[0xaa], &observe, b"1");
        let response = floor.answer(1, &mut opened.received, &answer, None);
        let opened = floor.listen(0, &response, &mut asked).unwrap();
        let message = Message::parse(&opened.message).unwrap();
        assert_eq!(message.option(OptionNumber::OBSERVE), Some(value));
    }
}

#[test]
fn the_age_of_the_keys_proves_nothing_to_whom_cannot_challenge() {
    let settings = Settings {
        fresh_within: seconds(10_000),
        ..Settings::default()
    };
    let echo = [(OptionNumber::ECHO, &[7; 8][..])];
    let plain = message(Type::Non, Code::GET, 1, &[0xaa], &echo, b"");
    let suite = group_only();
    let mut floor = Floor::with(2, suite, settings);
    let (bytes, _) = floor.ask(0, To::Group, &plain);
    assert!(floor.hear(1, &bytes).unwrap().fresh);
    // A silent server.
    let parameters = parameters(GID, 1, suite);
    let mut silent = Group::new("lights", parameters, None, settings, Some(seconds(999))).unwrap();
    silent.add_peer(kid(0), credential(0)).unwrap();
    let one = &mut floor.members[1];
    one.group = one.contexts.add_group(silent);
    let first = one.contexts.groups().next().unwrap().0;
    one.contexts.remove_group(first);
    assert!(!one.hear(&bytes).unwrap().fresh);
}

#[test]
fn replaced_keys_are_not_kept_for_a_message_that_was_given_up() {
    for given_up in [true, false] {
        let mut floor = Floor::new(2, Suite::default());
        let (bytes, _) = floor.ask(0, To::Group, &get(1, &[0xaa], "temp"));
        let one = &mut floor.members[1];
        let (opening, _) = begin(one, &bytes);
        super::install::install(one, seconds(1000));
        assert!(one.group().next_timeout().is_some());
        if given_up {
            one.contexts.give_up(opening);
        }
        one.contexts.handle_timeout(seconds(1001));
        assert_eq!(one.group().next_timeout().is_none(), given_up);
    }
}

#[test]
fn what_is_printed_of_work_says_what_it_is_for() {
    let mut floor = Floor::new(2, Suite::default());
    let one = &mut floor.members[0];
    let plain = get(1, &[0xaa], "temp");
    let message = Message::parse(&plain).unwrap();
    let (now, group) = (one.now, one.group);
    let protecting = one
        .contexts
        .protect_request(now, group.into(), &message, To::Group);
    let Ok(Protecting::Sign(signing)) = protecting else {
        panic!("not to be signed");
    };
    let text = format!("{signing:?}");
    assert_eq!(text, "Signing { group: GroupId(1), algorithm: EdDsa, .. }");
    assert_eq!(
        format!("{:?}", signing.job()),
        text.replace("Signing", "SignJob")
    );
    assert_eq!(signing.job().group(), group);
    let protected = signing.sign(&one.key).unwrap();
    let message = Message::parse(&protected.bytes).unwrap();
    let server = &mut floor.members[1];
    let begun = server.contexts.begin_request(server.now, &message, false);
    let Ok(Step::Work(opening, Job::Verify(job))) = begun else {
        panic!("not to be verified");
    };
    let ticket = format!("{opening:?}");
    assert_eq!(format!("{job:?}"), ticket.replace("Opening", "VerifyJob"));
}

#[test]
fn only_a_challenge_gives_up_the_nonce_of_the_request() {
    let echo = [(OptionNumber::ECHO, &[7; 8][..])];
    let refusal = message(Type::Non, Code::UNAUTHORIZED, 2, &[0xaa], &[], b"no");
    let echoing = message(Type::Non, Code::CONTENT, 2, &[0xaa], &echo, b"1");
    let challenge = message(Type::Non, Code::UNAUTHORIZED, 2, &[0xaa], &echo, b"");
    for (answer, own_number) in [(refusal, false), (echoing, false), (challenge, true)] {
        let mut floor = Floor::new(2, Suite::default());
        let (bytes, _) = floor.ask(0, To::Member(kid(1)), &get(1, &[0xaa], "temp"));
        let mut opened = floor.hear(1, &bytes).unwrap();
        let response = floor.answer(1, &mut opened.received, &answer, None);
        let flags = option(&response).first().copied().unwrap_or(0);
        assert_eq!(flags & 0x07 != 0, own_number);
    }
}

#[test]
fn a_response_is_for_the_member_that_asked_whoever_has_its_id_now() {
    let mut floor = Floor::new(3, Suite::default());
    let (bytes, _) = floor.ask(0, To::Group, &get(1, &[0xaa], "temp"));
    let mut opened = floor.hear(1, &bytes).unwrap();
    let one = &mut floor.members[1];
    for member in [0, 2] {
        one.group().remove_peer(kid(member));
    }
    one.group().add_peer(kid(0), credential(2)).unwrap();
    one.group().add_peer(kid(5), credential(0)).unwrap();
    let plain = content(2, &[0xaa], b"1");
    let answer = Message::parse(&plain).unwrap();
    let mode = Some(Mode::Pairwise);
    let protecting = one
        .contexts
        .protect_response(one.now, &answer, &mut opened.received, mode);
    let Ok(Protecting::Agree(job)) = protecting else {
        panic!("for nobody");
    };
    assert_eq!(job.kid(), kid(5));
}

#[test]
fn no_more_servers_are_kept_than_there_is_room_for() {
    let settings = Settings {
        servers: 2,
        ..Settings::default()
    };
    let mut floor = Floor::with(4, Suite::default(), settings);
    let (bytes, mut asked) = floor.ask(0, To::Group, &get(1, &[0xaa], "temp"));
    for (server, taken) in [(1, true), (2, true), (3, false)] {
        let mut opened = floor.hear(server, &bytes).unwrap();
        let answer = content(2, &[0xaa], b"1");
        let response = floor.answer(server, &mut opened.received, &answer, None);
        let refused = floor.listen(0, &response, &mut asked).err();
        assert_eq!(refused, (!taken).then_some(Reason::TooManyServers));
    }
    assert_eq!(asked.servers(), 2);
}
