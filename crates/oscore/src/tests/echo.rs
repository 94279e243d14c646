//! Echo challenges: freshness, and Replay Windows that became invalid (draft section 9).

use super::floor::*;
use crate::echo::{Challenges, Client, EchoNote, EchoSettings, Echoes};
use crate::replay::{ReplayWindow, WindowSize};

const NOTE: EchoNote = *b"note";

fn with_echo(path: &str, value: &[u8]) -> Vec<u8> {
    let options = [
        (OptionNumber::URI_PATH, path.as_bytes()),
        (OptionNumber::ECHO, value),
    ];
    message(Type::Con, Code::POST, 77, &[0xbb], &options, b"")
}

fn challenged(one: &mut One, bytes: &[u8]) -> Challenged {
    match one.hear_any(bytes, false).unwrap() {
        Opened::Challenge(challenged) => challenged,
        Opened::Request(_) => panic!("delivered"),
    }
}

/// Sends the challenge; gives the Echo value that the client finds in it.
fn challenge(floor: &mut Floor, to: Challenged, random: u8, asked: &mut Asked) -> Vec<u8> {
    challenge_by(floor, 1, to, random, asked)
}

fn challenge_by(
    floor: &mut Floor,
    server: usize,
    mut to: Challenged,
    random: u8,
    asked: &mut Asked,
) -> Vec<u8> {
    let one = &mut floor.members[server];
    let header = (Type::Non, MessageId(9), Token::new(&[0xaa]).unwrap());
    let plain = one
        .contexts
        .challenge(one.now, &to.received, || [random; 32], NOTE, header)
        .unwrap();
    let response = one.try_answer(&mut to.received, &plain, None).unwrap();
    // Its own number, in any case: the nonce of the request is not used.
    assert!(option(&response)[0] & 0x07 != 0);
    let opened = floor.listen(0, &response, asked).unwrap();
    let message = Message::parse(&opened.message).unwrap();
    assert_eq!(message.code(), Code::UNAUTHORIZED);
    assert_eq!(message.options().count(), 1);
    assert!(message.payload().is_empty());
    message.option(OptionNumber::ECHO).unwrap().to_vec()
}

// Covers: GO-2.6.1.2-03, GO-2.6.1.2-05, GO-9-02, GO-9-12, GO-9-15, GO-2.6.1.2-06
#[test]
fn threat_01_an_invalid_window_becomes_valid_by_an_echo_only() {
    for to in [To::Group, To::Member(kid(1))] {
        let mut floor = Floor::new(2, Suite::default());
        let (old, _) = floor.ask(0, to, &get(1, &[0xaa], "lock"));
        floor.hear(1, &old).unwrap();
        // A restart at which the windows are not known.
        floor.members[1].group().windows_unknown();
        let replayed = challenged(&mut floor.members[1], &old);
        assert_eq!(replayed.sender.kid(), kid(0));
        assert!(replayed.received.permission.is_none());
        let (request, mut asked) = floor.ask(0, to, &get(2, &[0xaa], "lock"));
        let to_it = challenged(&mut floor.members[1], &request);
        let value = challenge(&mut floor, to_it, 7, &mut asked);
        // A wrong value is challenged again, and uses nothing up.
        let (wrong, _) = floor.ask(0, To::Member(kid(1)), &with_echo("lock", &[8; 8]));
        challenged(&mut floor.members[1], &wrong);
        let (echo, _) = floor.ask(0, To::Member(kid(1)), &with_echo("lock", &value));
        // By multicast it does not count.
        let echoed = floor.members[1].hear_any(&echo, true).unwrap();
        assert!(matches!(echoed, Opened::Challenge(_)));
        let opened = floor.hear(1, &echo).unwrap();
        assert!(opened.fresh);
        assert_eq!(opened.echoed, Some(NOTE));
        // The number of that request is the lower limit now.
        let number = opened.received.partial_iv().value();
        let window = floor.members[1]
            .group()
            .peer(kid(0))
            .unwrap()
            .window()
            .clone();
        assert_eq!(window.lower_limit(), Some(number));
        for bytes in [&old, &request, &wrong, &echo] {
            assert_eq!(floor.hear(1, bytes).unwrap_err(), Reason::Replayed);
        }
        let (next, _) = floor.ask(0, to, &get(3, &[0xaa], "lock"));
        assert!(!floor.hear(1, &next).unwrap().fresh);
        // The control: with a window that is valid after the restart, the old request is delivered again.
        let recipients = &mut floor.members[1].group().current.recipients;
        let peer = recipients.get_mut(kid(0)).unwrap();
        peer.window = ReplayWindow::valid(WindowSize::default());
        assert!(floor.hear(1, &old).is_ok());
    }
}

// Covers: GO-9-01, GO-9-16, GO-9-17, GO-5.2-01, GO-9-13, GO-9-14
#[test]
fn each_client_proves_freshness_once_where_the_application_wants_it() {
    let settings = Settings {
        freshness: Freshness::FirstContact,
        ..Settings::default()
    };
    let mut floor = Floor::with(3, Suite::default(), settings);
    let (first, mut asked) = floor.ask(0, To::Member(kid(1)), &get(1, &[0xaa], "lock"));
    let to_it = challenged(&mut floor.members[1], &first);
    // It was valid, and so it counts as received.
    assert_eq!(floor.hear(1, &first).unwrap_err(), Reason::Replayed);
    let value = challenge(&mut floor, to_it, 1, &mut asked);
    let (wrong, _) = floor.ask(0, To::Member(kid(1)), &with_echo("lock", &[2; 8]));
    challenged(&mut floor.members[1], &wrong);
    let (echo, _) = floor.ask(0, To::Member(kid(1)), &with_echo("lock", &value));
    let opened = floor.hear(1, &echo).unwrap();
    assert!(opened.fresh);
    assert_eq!(floor.hear(1, &echo).unwrap_err(), Reason::Replayed);
    let (next, _) = floor.ask(0, To::Group, &get(3, &[0xaa], "lock"));
    assert!(!floor.hear(1, &next).unwrap().fresh);
    // Another client starts anew, and cannot use the value of the first.
    let (other, _) = floor.ask(2, To::Member(kid(1)), &with_echo("lock", &value));
    challenged(&mut floor.members[1], &other);
}

// Covers: GO-9-11
#[test]
fn under_keys_that_are_new_an_echo_without_challenge_is_fresh() {
    let settings = Settings {
        freshness: Freshness::FirstContact,
        fresh_within: seconds(60),
        ..Settings::default()
    };
    // Installed at 100 s.
    for (now, fresh) in [
        (seconds(160) - Duration::from_nanos(1), true),
        (seconds(160), false),
    ] {
        let mut floor = Floor::with(2, Suite::default(), settings);
        floor.members[1].now = now;
        let (echo, _) = floor.ask(0, To::Member(kid(1)), &with_echo("lock", &[3; 8]));
        let opened = floor.members[1].hear_any(&echo, false).unwrap();
        match opened {
            Opened::Request(opened) => {
                assert!(fresh && opened.fresh);
                assert_eq!(opened.echoed, None, "it proves nothing of an address");
            }
            Opened::Challenge(_) => assert!(!fresh),
        }
        // The age of the keys says nothing where it is not known what was received.
        let (echo, _) = floor.ask(0, To::Member(kid(1)), &with_echo("lock", &[3; 8]));
        floor.members[1].group().windows_unknown();
        challenged(&mut floor.members[1], &echo);
    }
}

#[test]
fn a_wrong_value_is_challenged_as_long_as_a_right_one_waits() {
    let mut floor = Floor::new(2, Suite::default());
    let now = floor.members[1].now;
    // The window is valid, and the application wants to know that a request is fresh.
    let (first, mut asked) = floor.ask(0, To::Member(kid(1)), &get(1, &[0xaa], "lock"));
    let opened = floor.hear(1, &first).unwrap();
    let to_it = Challenged {
        sender: opened.sender,
        received: opened.received,
        mode: opened.mode,
    };
    let value = challenge(&mut floor, to_it, 1, &mut asked);
    let (wrong, _) = floor.ask(0, To::Member(kid(1)), &with_echo("lock", &[2; 8]));
    challenged(&mut floor.members[1], &wrong);
    assert_eq!(floor.hear(1, &wrong).unwrap_err(), Reason::Replayed);
    let (plain, _) = floor.ask(0, To::Member(kid(1)), &get(2, &[0xaa], "lock"));
    assert!(
        !floor.hear(1, &plain).unwrap().fresh,
        "without one it is as any other"
    );
    let (right, _) = floor.ask(0, To::Member(kid(1)), &with_echo("lock", &value));
    assert!(floor.hear(1, &right).unwrap().fresh);
    // A value that is used up, or has expired, is none: requests that crossed would be challenged again and again.
    let (again, _) = floor.ask(0, To::Member(kid(1)), &with_echo("lock", &value));
    assert!(!floor.hear(1, &again).unwrap().fresh);
    floor.members[1].now = now + seconds(61);
    let (late, _) = floor.ask(0, To::Member(kid(1)), &with_echo("lock", &[2; 8]));
    assert!(!floor.hear(1, &late).unwrap().fresh);
}

#[test]
fn threat_20_a_value_in_group_mode_proves_nothing_where_there_is_pairwise_mode() {
    for suite in [Suite::default(), super::receive::group_only()] {
        let mut floor = Floor::new(2, suite);
        floor.members[1].group().windows_unknown();
        let (request, mut asked) = floor.ask(0, To::Group, &get(1, &[0xaa], "lock"));
        let to_it = challenged(&mut floor.members[1], &request);
        let value = challenge(&mut floor, to_it, 7, &mut asked);
        let (echo, _) = floor.ask(0, To::Group, &with_echo("lock", &value));
        let heard = floor.members[1].hear_any(&echo, false).unwrap();
        match suite.has_pairwise_mode() {
            true => assert!(matches!(heard, Opened::Challenge(_))),
            false => assert!(matches!(heard, Opened::Request(_))),
        }
    }
}

#[test]
fn threat_20_the_value_of_one_server_is_none_at_another() {
    // The control: two servers that drew the same secret.
    for (secrets, taken) in [([1, 2], false), ([3, 3], true)] {
        let mut floor = Floor::new(3, Suite::default());
        let mut values = vec![];
        for (server, secret) in [(1, secrets[0]), (2, secrets[1])] {
            floor.members[server].group().windows_unknown();
            let (request, mut asked) =
                floor.ask(0, To::Member(kid(server)), &get(1, &[0xaa], "lock"));
            let to_it = challenged(&mut floor.members[server], &request);
            values.push(challenge_by(&mut floor, server, to_it, secret, &mut asked));
        }
        // The client is made to send the value of member 1 to member 2.
        let (echo, _) = floor.ask(0, To::Member(kid(2)), &with_echo("lock", &values[0]));
        match floor.members[2].hear_any(&echo, false).unwrap() {
            Opened::Request(opened) => assert!(taken && opened.fresh),
            Opened::Challenge(_) => assert!(!taken),
        }
    }
}

/// For whom the values of member 1 for this member are.
fn client(one: &mut One, member: usize) -> Client {
    let serial = one
        .group()
        .current
        .recipients
        .get(kid(member))
        .unwrap()
        .serial;
    Client {
        kid: kid(member),
        serial,
    }
}

/// Installs new keys at a member.
fn install_new(one: &mut One) {
    let all = Stale::Since {
        generation: 1,
        kids: vec![],
    };
    let parameters = parameters(b"new", 2, Suite::default());
    let prepared = one.group().prepare_install(parameters, None, all, 100);
    let prepared = prepared.unwrap();
    one.group().commit_install(prepared, seconds(1000)).unwrap();
}

// Covers: GO-9-05, GO-9-06
#[test]
fn threat_20_a_challenge_is_for_one_client_and_ends_with_the_keys() {
    let mut floor = Floor::new(3, Suite::default());
    floor.members[1].group().windows_unknown();
    let (first, mut asked) = floor.ask(0, To::Member(kid(1)), &get(1, &[0xaa], "lock"));
    let to_it = challenged(&mut floor.members[1], &first);
    let value = challenge(&mut floor, to_it, 1, &mut asked);
    // Member 2 has the value too, and gets no further with it.
    let (stolen, _) = floor.ask(2, To::Member(kid(1)), &with_echo("lock", &value));
    challenged(&mut floor.members[1], &stolen);
    // The control: sealed without the client that it is for, the value would do for member 2, who was sent none.
    let (first_client, thief) = (
        client(&mut floor.members[1], 0),
        client(&mut floor.members[1], 2),
    );
    let now = floor.members[1].now;
    let mut check = |sealed_for: Client| {
        let echo = &floor.members[1].group().echo;
        echo.verify(sealed_for, &mut Challenges::default(), &value, now)
    };
    assert_eq!(check(thief), None);
    assert_eq!(check(first_client), Some(NOTE));
    // From the client that it was sent to the same value is taken.
    let mut same = Floor::new(3, Suite::default());
    same.members[1].group().windows_unknown();
    let (first, mut asked) = same.ask(0, To::Member(kid(1)), &get(1, &[0xaa], "lock"));
    let to_it = challenged(&mut same.members[1], &first);
    let value = challenge(&mut same, to_it, 1, &mut asked);
    let (own, _) = same.ask(0, To::Member(kid(1)), &with_echo("lock", &value));
    assert!(same.hear(1, &own).unwrap().fresh);
    // A second challenge, and then new keys: the old value is gone with the old keys, and there is none to be sent.
    let (second, _) = floor.ask(0, To::Member(kid(1)), &get(2, &[0xaa], "lock"));
    let late = challenged(&mut floor.members[1], &second);
    let one = &mut floor.members[1];
    install_new(one);
    assert!(one.group().echo.is_empty());
    let mut none_waits = Challenges::default();
    let after = one
        .group()
        .echo
        .verify(first_client, &mut none_waits, &value, now);
    assert_eq!(after, None);
    let header = (Type::Non, MessageId(9), Token::EMPTY);
    assert!(
        one.contexts
            .challenge(one.now, &late.received, || [5; 32], NOTE, header)
            .is_none()
    );
    // The control: a server whose secret outlives the keys.
    let one = &mut same.members[1];
    let first_client = client(one, 0);
    let none = Echoes::new(EchoSettings::default());
    let secret = core::mem::replace(&mut one.group().echo, none);
    install_new(one);
    let after = secret.verify(first_client, &mut none_waits, &value, now);
    assert_eq!(after, Some(NOTE));
}

/// RFC 8613, Appendix B.1.2.
// Covers: GO-B-B.1.2-01
#[test]
fn a_plain_context_recovers_its_window_by_an_echo() {
    let parameters = |own: usize, peer: usize| PairParameters {
        master_secret: Secret::new(vec![1; 16]),
        master_salt: Secret::new(vec![]),
        id_context: None,
        sender_id: kid(own),
        recipient_id: kid(peer),
        hkdf: crate::suite::Hkdf::Sha256,
        aead: crate::suite::Aead::AesCcm16_64_128,
    };
    let settings = PairSettings::default();
    let pair = |own, peer| Pair::new("p", &parameters(own, peer), sequence(), settings).unwrap();
    let (mut client, mut server) = (Contexts::new(), Contexts::new());
    let at_client = client.add_pair(pair(0, 1));
    let at_server = server.add_pair(pair(1, 0));
    let now = seconds(1);
    let mut ask = |plain: &[u8]| {
        let message = Message::parse(plain).unwrap();
        match client
            .protect_request(now, at_client.into(), &message, To::Peer)
            .unwrap()
        {
            Protecting::Done(protected) => (protected.bytes, protected.asked.unwrap()),
            other => panic!("{other:?}"),
        }
    };
    let old = ask(&get(1, &[1], "lock")).0;
    let hear = |server: &mut Contexts, bytes: &[u8]| {
        let message = Message::parse(bytes).unwrap();
        match server.begin_request(now, &message, false) {
            Ok(Step::Done(opened)) => Ok(opened),
            Ok(other) => panic!("{other:?}"),
            Err(refused) => Err(refused.reason),
        }
    };
    assert!(matches!(hear(&mut server, &old), Ok(Opened::Request(_))));
    let size = Default::default();
    let invalid = crate::replay::ReplayWindow::invalid(size);
    server.pair_mut(at_server).unwrap().restore_window(invalid);
    assert!(matches!(hear(&mut server, &old), Ok(Opened::Challenge(_))));
    let (request, mut asked) = ask(&get(2, &[1], "lock"));
    let Ok(Opened::Challenge(mut to_it)) = hear(&mut server, &request) else {
        panic!()
    };
    let header = (Type::Ack, MessageId(2), Token::new(&[1]).unwrap());
    let plain = server
        .challenge(now, &to_it.received, || [9; 32], NOTE, header)
        .unwrap();
    let message = Message::parse(&plain).unwrap();
    let response = server
        .protect_response(now, &message, &mut to_it.received, None)
        .unwrap();
    let Protecting::Done(response) = response else {
        panic!()
    };
    assert_eq!(option(&response.bytes), [1, 0]);
    let message = Message::parse(&plain).unwrap();
    let value = message.option(OptionNumber::ECHO).unwrap();
    let (echo, _) = ask(&with_echo("lock", value));
    let message = Message::parse(&response.bytes).unwrap();
    let Ok(Step::Done(opened)) = client.begin_response(now, &message, &mut asked) else {
        panic!()
    };
    assert_eq!(opened.message, plain);
    let Ok(Opened::Request(opened)) = hear(&mut server, &echo) else {
        panic!()
    };
    assert!(opened.fresh);
    for bytes in [&old, &request, &echo] {
        assert!(matches!(hear(&mut server, bytes), Err(Reason::Replayed)));
    }
}
