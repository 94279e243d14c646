//! Who can protect and open what, and what is seen from outside.

use super::floor::*;
use crate::suite::{Aead, GroupEncryption};

fn pair(own: usize, peer: usize, secret: u8, id_context: Option<&[u8]>) -> Pair {
    let parameters = PairParameters {
        master_secret: Secret::new(vec![secret; 16]),
        master_salt: Secret::new(vec![]),
        id_context: id_context.and_then(Gid::new),
        sender_id: kid(own),
        recipient_id: kid(peer),
        hkdf: crate::suite::Hkdf::Sha256,
        aead: Aead::AesCcm16_64_128,
    };
    let settings = PairSettings {
        send_id_context: true,
        ..PairSettings::default()
    };
    Pair::new("pair", &parameters, sequence(), settings).unwrap()
}

/// The OSCORE option replaced by another value.
fn with_option(bytes: &[u8], value: &[u8]) -> Vec<u8> {
    let parsed = Message::parse(bytes).unwrap();
    let options = [(OptionNumber::OSCORE, value)];
    let token = parsed.token();
    message(
        parsed.kind(),
        parsed.code(),
        1,
        token.as_bytes(),
        &options,
        parsed.payload(),
    )
}

// Covers: GC-2.1.3-01, GC-6.2.2-01
#[test]
fn who_does_not_have_the_keys_is_heard_by_nobody() {
    let mut floor = Floor::new(3, Suite::default());
    let plain = get(1, &[0xaa], "temp");
    // Member 0 does not have the Master Secret, only what everybody can see: Gid, IDs, credentials.
    let mut guessed = parameters(GID, 1, Suite::default());
    guessed.master_secret = Secret::new(vec![0; 16]);
    let settings = Settings::default();
    let mut outside = Group::new("lights", guessed, Some(own(0)), settings, None).unwrap();
    outside.add_peer(kid(1), credential(1)).unwrap();
    let member = core::mem::replace(floor.members[0].group(), outside);
    for to in [To::Group, To::Member(kid(1))] {
        let (bytes, _) = floor.ask(0, to, &plain);
        assert_eq!(floor.hear(1, &bytes).unwrap_err(), Reason::NotVerified);
    }
    *floor.members[0].group() = member;
    for to in [To::Group, To::Member(kid(1))] {
        let (bytes, mut asked) = floor.ask(0, to, &plain);
        // Under the name of another member it does not verify either.
        let mut raw = option(&bytes);
        *raw.last_mut().unwrap() = kid(2).as_bytes()[0];
        let refused = floor.hear(1, &with_option(&bytes, &raw)).unwrap_err();
        assert_eq!(refused, Reason::NotVerified);
        let mut opened = floor.hear(1, &bytes).unwrap();
        assert_eq!(opened.sender.credential(), credential(0).bytes());
        let answer = content(2, &[0xaa], b"1");
        let response = floor.answer(1, &mut opened.received, &answer, None);
        let heard = floor.listen(0, &response, &mut asked).unwrap();
        assert_eq!(heard.sender.credential(), credential(1).bytes());
    }
}

// Covers: GC-2.1.3-02, GO-14-01
#[test]
fn a_member_of_several_groups_takes_the_one_that_is_named() {
    // Neither Gid nor ID is text, and bytes that look alike as text are different.
    let gids: [&[u8]; 3] = [b"\xff\xfe", b"\xff\xfd", b"\xef\xbf\xbd"];
    let ids = [&[0xc0][..], &[0xc1], &[0x00], &[]].map(|id| Kid::new(id).unwrap());
    let mut server = Contexts::new();
    let mut clients = vec![];
    for (number, gid) in gids.into_iter().enumerate() {
        let group = |own_id: Kid, who: usize| {
            let own = Own {
                sender_id: own_id,
                ..own(who)
            };
            let parameters = parameters(gid, 1, Suite::default());
            let name = format!("group {number}");
            Group::new(&name, parameters, Some(own), Settings::default(), None).unwrap()
        };
        let mut at_server = group(Kid::new(&[0xee]).unwrap(), 9);
        for (who, id) in ids.into_iter().enumerate() {
            at_server.add_peer(id, credential(who)).unwrap();
            let mut contexts = Contexts::new();
            let group = contexts.add_group(group(id, who));
            clients.push((
                number,
                who,
                One {
                    contexts,
                    group,
                    key: key(who),
                    now: seconds(1),
                },
            ));
        }
        server.add_group(at_server);
    }
    let group = server.group_named("group 0").unwrap();
    let mut server = One {
        contexts: server,
        group,
        key: key(9),
        now: seconds(1),
    };
    for (number, who, client) in &mut clients {
        let (bytes, _) = client.try_ask(To::Group, &get(1, &[0xaa], "temp")).unwrap();
        let opened = server.hear(&bytes).unwrap();
        assert_eq!(opened.sender.group(), format!("group {number}"));
        assert_eq!(opened.sender.kid(), ids[*who]);
        assert_eq!(opened.sender.credential(), credential(*who).bytes());
    }
    assert_eq!(
        format!("{} {}", Gid::new(gids[0]).unwrap(), ids[0]),
        "fffe c0"
    );
}

// Covers: GO-3.2-02, GO-3.2-03
#[test]
fn every_request_names_group_sender_and_number() {
    let mut floor = Floor::new(2, Suite::default());
    for to in [To::Group, To::Member(kid(1))] {
        for number in [0, 255, 257, (1 << 40) - 1] {
            let sequence = floor.members[0].group().sequence_mut().unwrap();
            *sequence = Sequence::exact(number, 1 << 40, SequenceSettings::default());
            let (bytes, _) = floor.ask(0, to, &get(1, &[0xaa], "temp"));
            let raw = option(&bytes);
            let fields = crate::option::OscoreOption::parse(&raw).unwrap();
            assert_eq!(raw[0] & 0x18, 0x18, "h and k");
            assert!((1..=5).contains(&(raw[0] & 0x07)));
            assert_eq!(fields.kid_context, Some(GID));
            assert_eq!(fields.kid, Some(kid(0).as_bytes()));
            assert_eq!(fields.partial_iv.unwrap().value(), number);
            // Without one of them it belongs to no group.
            for (left_out, refused) in [
                ([false, true, true], [Reason::Malformed; 2]),
                ([true, false, true], [Reason::Malformed; 2]),
                ([true, true, false], [Reason::Malformed, Reason::NoContext]),
            ] {
                let [piv, kid, context] = left_out;
                let less = crate::option::OscoreOption {
                    partial_iv: fields.partial_iv.filter(|_| piv),
                    kid: fields.kid.filter(|_| kid),
                    kid_context: fields.kid_context.filter(|_| context),
                    ..fields
                };
                let mut raw = vec![];
                less.write(&mut raw).unwrap();
                let without = with_option(&bytes, &raw);
                let expected = refused[usize::from(to != To::Group)];
                assert_eq!(floor.hear(1, &without).unwrap_err(), expected);
            }
            assert!(floor.hear(1, &bytes).is_ok());
            floor.members[1] = Floor::new(2, Suite::default()).members.remove(1);
        }
    }
}

// Covers: GO-8.3-01
#[test]
fn a_pairwise_request_is_kept_with_its_id_and_gid() {
    let mut floor = Floor::new(2, Suite::default());
    let client = floor.members[0].group();
    let prepared = client.prepare_sender_id(Kid::new(&[0x25]).unwrap(), 100);
    client.commit_sender_id(prepared.unwrap()).unwrap();
    *client.sequence_mut().unwrap() = Sequence::exact(5, 100, SequenceSettings::default());
    let (bytes, asked) = floor.ask(0, To::Member(kid(1)), &get(1, &[0xaa], "temp"));
    assert_eq!(option(&bytes), b"\x19\x05\x03Dal\x25");
    // New keys and a new ID change nothing of what is kept.
    super::install::install(&mut floor.members[0], seconds(1001));
    assert_eq!(asked.kid().as_bytes(), [0x25]);
    assert_eq!(asked.kid_context().map(Gid::as_bytes), Some(GID));
    assert_eq!(asked.partial_iv().value(), 5);
}

// Covers: GO-6-01, GO-6-06
#[test]
fn a_pair_and_a_group_of_the_same_names_get_their_own_messages() {
    let mut floor = Floor::new(2, Suite::default());
    let at_client = floor.members[0].contexts.add_pair(pair(0, 1, 3, Some(GID)));
    floor.members[1].contexts.add_pair(pair(1, 0, 3, Some(GID)));
    let plain = get(1, &[0xaa], "temp");
    for round in 0..2 {
        for (to, mode) in [
            (To::Group, Mode::Group),
            (To::Member(kid(1)), Mode::Pairwise),
            (To::Peer, Mode::Plain),
        ] {
            let client = &mut floor.members[0];
            let id = match mode {
                Mode::Plain => at_client.into(),
                _ => client.group.into(),
            };
            let message = Message::parse(&plain).unwrap();
            let asked = client.protect(|it, now| it.protect_request(now, id, &message, to));
            let asked = asked.unwrap();
            let raw = option(&asked.bytes);
            let fields = crate::option::OscoreOption::parse(&raw).unwrap();
            assert_eq!(fields.kid_context, Some(GID));
            assert_eq!(fields.kid, Some(kid(0).as_bytes()));
            assert_eq!(fields.group_flag, mode == Mode::Group);
            let mut opened = floor.hear(1, &asked.bytes).unwrap();
            assert_eq!(opened.mode, mode, "{round}");
            let name = if mode == Mode::Plain {
                "pair"
            } else {
                "lights"
            };
            assert_eq!(opened.sender.group(), name);
            // And the answer is of the same kind.
            let answer = content(2, &[0xaa], b"1");
            let response = floor.answer(1, &mut opened.received, &answer, None);
            if mode == Mode::Plain {
                assert_eq!(option(&response), b"", "RFC 8613, section 8.3");
            }
            let heard = floor.listen(0, &response, &mut asked.asked.unwrap());
            assert_eq!(heard.unwrap().mode, mode);
        }
    }
}

// Covers: GO-B-2-02
#[test]
fn a_message_with_the_option_and_no_payload_is_malformed() {
    let mut floor = Floor::new(2, Suite::default());
    for to in [To::Group, To::Member(kid(1))] {
        let (bytes, mut asked) = floor.ask(0, to, &get(1, &[0xaa], "temp"));
        let raw = option(&bytes);
        let options = [(OptionNumber::OSCORE, &raw[..])];
        let empty = message(Type::Non, Code::POST, 1, &[0xaa], &options, b"");
        let reason = floor.hear(1, &empty).unwrap_err();
        assert_eq!(reason, Reason::Malformed);
        let answer = reason.answer(false).unwrap();
        assert_eq!(answer.code, Code::BAD_OPTION);
        assert_eq!(answer.text, Some("Failed to decode COSE"));
        assert_eq!(reason.answer(true), None);
        let empty = message(Type::Non, Code::CHANGED, 1, &[0xaa], &options, b"");
        let reason = floor.listen(0, &empty, &mut asked).unwrap_err();
        assert_eq!(reason, Reason::Malformed);
        assert!(floor.hear(1, &bytes).is_ok());
    }
}

// Covers: GN-2.2.1.3-03, GN-6.3.1-03
#[test]
fn neither_the_name_of_the_group_nor_a_challenge_is_seen_from_outside() {
    for observe in [false, true] {
        let mut floor = Floor::new(2, Suite::default());
        floor.members[1].group().windows_unknown();
        let mut options = vec![(OptionNumber::URI_PATH, &b"temp"[..])];
        if observe {
            options.insert(0, (OptionNumber::OBSERVE, &[]));
        }
        let plain = message(Type::Non, Code::GET, 1, &[0xaa], &options, b"");
        let mut traffic = vec![];
        let (bytes, mut asked) = floor.ask(0, To::Group, &plain);
        traffic.push(bytes);
        let server = &mut floor.members[1];
        let Ok(Opened::Challenge(mut to_it)) = server.hear_any(&traffic[0], true) else {
            panic!()
        };
        let header = (Type::Non, MessageId(9), Token::new(&[0xaa]).unwrap());
        let challenge =
            server
                .contexts
                .challenge(server.now, &to_it.received, || [7; 32], [0; 4], header);
        let challenge = challenge.unwrap();
        let value = Message::parse(&challenge).unwrap();
        let value = value.option(OptionNumber::ECHO).unwrap();
        for mode in [Mode::Group, Mode::Pairwise] {
            let protected = server.try_answer(&mut to_it.received, &challenge, Some(mode));
            let protected = protected.unwrap();
            let outside = Message::parse(&protected).unwrap();
            assert_eq!(outside.code(), Code::CHANGED);
            assert_eq!(outside.options().count(), 1, "the OSCORE option");
            assert!(!protected.windows(8).any(|bytes| bytes == &value[..8]));
            traffic.push(protected);
        }
        let heard = floor.listen(0, &traffic[1], &mut asked).unwrap();
        let heard = Message::parse(&heard.message).unwrap();
        assert_eq!(heard.code(), Code::UNAUTHORIZED);
        assert_eq!(heard.option(OptionNumber::ECHO), Some(value));
        let (paired, _) = floor.ask(0, To::Member(kid(1)), &plain);
        traffic.push(paired);
        for bytes in &traffic {
            assert!(!bytes.windows(6).any(|bytes| bytes == b"lights"));
        }
    }
}

// Covers: GO-A.1-01, GO-14.2-01
#[test]
fn all_members_of_a_group_use_the_same_algorithms() {
    let ids = |aead, group| Suite::from_ids(5, Some(aead), Some(group), Some(-8), Some(-27));
    let plain = get(1, &[0xaa], "longer than every tag");
    let usual = ids(10, 10).unwrap();
    for other in [ids(30, 10), ids(10, 30), ids(1, 1)] {
        let other = other.unwrap();
        let mut floor = Floor::new(2, usual);
        floor.members[1] = Floor::new(2, other).members.remove(1);
        for to in [To::Group, To::Member(kid(1))] {
            let (bytes, _) = floor.ask(0, to, &plain);
            assert_eq!(floor.hear(1, &bytes).unwrap_err(), Reason::NotVerified);
        }
        // Nor do they change under the keys that are in use.
        let group = floor.members[0].group();
        let changed = parameters(GID, 1, other);
        let refused = group.prepare_install(changed, None, Stale::All, 10).err();
        assert_eq!(refused, Some(InstallError::NotNewer));
        let changed = parameters(GID, 2, other);
        let refused = group.prepare_install(changed, None, Stale::All, 10).err();
        assert_eq!(refused, Some(InstallError::SameGid));
        assert_eq!(group.suite(), &usual);
    }
    // Without integrity an algorithm serves for groups only, where there are signatures.
    let ctr = GroupEncryption::A128Ctr.id();
    assert!(ids(10, ctr).is_ok());
    assert!(ids(ctr, ctr).is_err());
    assert!(Suite::from_ids(5, Some(ctr), None, None, Some(-27)).is_err());
}

// Covers: GO-5.2-03, GO-5.1-01, GO-5.3-02
#[test]
fn numbers_are_those_of_each_sender_and_of_each_request() {
    let settings = Settings {
        order: crate::replay::OrderPolicy {
            older: crate::replay::OlderResponses::Within(Default::default()),
            ..Default::default()
        },
        ..Settings::default()
    };
    let mut floor = Floor::with(4, Suite::default(), settings);
    let observe = [(OptionNumber::OBSERVE, &[][..])];
    let plain = message(Type::Non, Code::GET, 1, &[0xaa], &observe, b"");
    let (earlier, _) = floor.ask(0, To::Group, &plain);
    // The number may jump, for each client as it likes.
    let sequence = floor.members[0].group().sequence_mut().unwrap();
    *sequence = Sequence::exact((1 << 20) + 1, 1 << 21, SequenceSettings::default());
    let (bytes, mut asked) = floor.ask(0, To::Group, &plain);
    let mut numbers = vec![];
    for server in 1..4 {
        let mut old = floor.hear(server, &earlier).unwrap();
        let mut opened = floor.hear(server, &bytes).unwrap();
        let group = floor.members[server].group();
        let window = group.peer(kid(0)).unwrap().window();
        assert_eq!(window.lower_limit(), Some((1 << 20) + 2 - 32));
        for other in (1..4).filter(|other| *other != server) {
            let window = group.peer(kid(other)).unwrap().window();
            assert_eq!(window.lower_limit(), Some(0));
        }
        // Each server is at another number of its own.
        let start = 10 * server as u64;
        let sequence = group.sequence_mut().unwrap();
        *sequence = Sequence::exact(start, 1 << 20, SequenceSettings::default());
        let answer =
            |number: u16| message(Type::Non, Code::CONTENT, number, &[0xaa], &observe, b"1");
        // What answers an earlier request does not answer this one, however late it comes.
        let stale = floor.answer(server, &mut old.received, &answer(1), None);
        let refused = floor.listen(0, &stale, &mut asked).unwrap_err();
        assert_eq!(refused, Reason::NotVerified);
        let first = floor.answer(server, &mut opened.received, &answer(2), None);
        let second = floor.answer(server, &mut opened.received, &answer(3), None);
        assert!(floor.listen(0, &second, &mut asked).unwrap().order.freshest);
        assert!(!floor.listen(0, &first, &mut asked).unwrap().order.freshest);
        for again in [&first, &second] {
            let refused = floor.listen(0, again, &mut asked).unwrap_err();
            assert_eq!(refused, Reason::Replayed);
        }
        numbers.push(start + 2);
    }
    let serial = floor.members[0].group().current.serial;
    let mut kept: Vec<u64> = asked
        .servers
        .values()
        .map(|order| order.response_number(serial).unwrap().value())
        .collect();
    kept.sort_unstable();
    assert_eq!(kept, numbers);
}

// Covers: GO-2.6.1.2-04, GC-6.3-02
#[test]
fn what_comes_in_an_invalid_window_is_never_delivered_as_it_is() {
    let plain = get(1, &[0xaa], "temp");
    // Discarded, where nothing can be sent.
    let mut floor = Floor::new(2, Suite::default());
    let parameters = parameters(GID, 1, Suite::default());
    let mut silent = Group::new("lights", parameters, None, Settings::default(), None).unwrap();
    silent.add_peer(kid(0), credential(0)).unwrap();
    silent.windows_unknown();
    *floor.members[1].group() = silent;
    let (bytes, _) = floor.ask(0, To::Group, &plain);
    let reason = floor.hear(1, &bytes).unwrap_err();
    assert_eq!(
        (reason, reason.answer(false)),
        (Reason::WindowInvalid, None)
    );
    // Challenged.
    let mut floor = Floor::new(2, Suite::default());
    floor.members[1].group().windows_unknown();
    let (bytes, _) = floor.ask(0, To::Group, &plain);
    let server = &mut floor.members[1];
    let Ok(Opened::Challenge(to_it)) = server.hear_any(&bytes, false) else {
        panic!()
    };
    let header = (Type::Non, MessageId(9), Token::EMPTY);
    let now = server.now;
    let challenge = server
        .contexts
        .challenge(now, &to_it.received, || [7; 32], [0; 4], header)
        .unwrap();
    let value = Message::parse(&challenge).unwrap();
    let options = [(
        OptionNumber::ECHO,
        value.option(OptionNumber::ECHO).unwrap(),
    )];
    let echo = message(Type::Con, Code::GET, 2, &[0xbb], &options, b"");
    let (echo, _) = floor.ask(0, To::Member(kid(1)), &echo);
    assert!(floor.hear(1, &echo).unwrap().fresh);
    assert_eq!(floor.hear(1, &bytes).unwrap_err(), Reason::Replayed);
    // Or new keys come, which nothing was received under.
    let mut floor = Floor::new(2, Suite::default());
    floor.members[1].group().windows_unknown();
    for member in 0..2 {
        super::install::install(&mut floor.members[member], seconds(1001));
    }
    let (bytes, _) = floor.ask(0, To::Group, &plain);
    assert_eq!(floor.hear(1, &bytes).unwrap().message, plain);
}

// Covers: GO-7.4-07, GO-7.3-09
#[test]
fn a_server_that_answers_under_a_new_id_is_known_by_it_from_then_on() {
    let mut floor = Floor::new(2, Suite::default());
    let observe = [(OptionNumber::OBSERVE, &[][..])];
    let plain = message(Type::Non, Code::GET, 1, &[0xaa], &observe, b"");
    let (bytes, mut asked) = floor.ask(0, To::Member(kid(1)), &plain);
    let mut opened = floor.hear(1, &bytes).unwrap();
    let server = floor.members[1].group();
    let prepared = server.prepare_sender_id(kid(8), 100).unwrap();
    server.commit_sender_id(prepared).unwrap();
    let client = floor.members[0].group();
    client.add_peer(kid(8), credential(1)).unwrap();
    assert_eq!(asked.intended(), Some(kid(1)));
    let answer = message(Type::Non, Code::CONTENT, 2, &[0xaa], &observe, b"1");
    let response = floor.answer(1, &mut opened.received, &answer, Some(Mode::Group));
    let raw = option(&response);
    let fields = crate::option::OscoreOption::parse(&raw).unwrap();
    assert_eq!(fields.kid, Some(kid(8).as_bytes()));
    // A forgery under that ID changes nothing.
    let mut forged = response.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert!(floor.listen(0, &forged, &mut asked).is_err());
    assert_eq!(asked.intended(), Some(kid(1)));
    assert!(floor.listen(0, &response, &mut asked).is_ok());
    assert_eq!(asked.intended(), Some(kid(8)));
    // The next one does not name it.
    let next = floor.answer(1, &mut opened.received, &answer, Some(Mode::Pairwise));
    assert!(!option(&next).ends_with(kid(8).as_bytes()));
    assert!(floor.listen(0, &next, &mut asked).is_ok());
}
