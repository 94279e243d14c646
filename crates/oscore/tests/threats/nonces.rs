//! Nothing is encrypted twice with the same key and nonce, and no keystream comes twice (threats 3, 4, 46 and 51).

use std::collections::{BTreeSet, HashSet};

use crate::floor::*;
use crate::hand::countersignature_keystream;

/// Key and nonce of everything that a server sent in pairwise mode: the number, and who made it.
#[derive(Default)]
struct Tracker {
    seen: BTreeSet<(Vec<u8>, Kid, u64)>,
    twice: usize,
}

impl Tracker {
    fn sent(&mut self, gid: &[u8], server: usize, request: u64, response: &[u8]) {
        let nonce = match number(response) {
            Some(own) => (gid.to_vec(), kid(server), own),
            None => (gid.to_vec(), kid(0), request),
        };
        self.twice += usize::from(!self.seen.insert(nonce));
    }
}

/// Whether two messages are encrypted with one keystream: an eavesdropper learns the difference of their plaintexts.
fn share_a_keystream(one: (&[u8], &[u8]), two: (&[u8], &[u8])) -> bool {
    // Inside: the code, a payload marker, the payload.
    let plain = |payload: &[u8]| [&[0x45, 0xff][..], payload].concat();
    let difference = xor(&plain(one.1), &plain(two.1));
    xor(&payload(one.0), &payload(two.0))[..difference.len()] == difference
}

#[test]
fn threat_03_after_a_crash_a_replayed_request_is_not_answered_with_its_nonce() {
    let settings = Settings::default();
    let mut client = One::new(0, 2, Suite::default(), settings, 0, None);
    let mut server = One::new(1, 2, Suite::default(), settings, 0, None);
    let (request, mut asked) = client.ask(To::Member(kid(1)), &get(1));
    let asked_with = asked.partial_iv().value();
    let mut tracker = Tracker::default();
    let mut opened = server.hear(&request).unwrap();
    let first = server.answer(&mut opened.received, &content(2, b"is open  "), None);
    assert_eq!(number(&first), None, "it used the nonce of the request");
    tracker.sent(GID, 1, asked_with, &first);

    // The server starts again, at the number that it had reserved, and does not know what it received.
    let mut restarted = One::new(1, 2, Suite::default(), settings, 1024, None);
    restarted.group().windows_unknown();
    let mut to_it = restarted.challenged(&request);
    let (challenge, value) = restarted.challenge(&mut to_it);
    assert_eq!(number(&challenge), Some(1025), "1024 is skipped");
    tracker.sent(GID, 1, asked_with, &challenge);
    // Also what answers the echoed request has a number of its own.
    client.listen(&challenge, &mut asked).unwrap();
    let (echo, asked) = client.ask(To::Member(kid(1)), &echoing(3, &value));
    let mut opened = restarted.hear(&echo).unwrap();
    let second = restarted.answer(&mut opened.received, &content(4, b"is closed"), None);
    assert_eq!(number(&second), Some(1026));
    tracker.sent(GID, 1, asked.partial_iv().value(), &second);
    assert_eq!(tracker.twice, 0);

    // The control: a server that takes its empty windows for the truth.
    let mut careless = One::new(1, 2, Suite::default(), settings, 1024, None);
    let mut opened = careless.hear(&request).unwrap();
    let again = careless.answer(&mut opened.received, &content(2, b"is closed"), None);
    tracker.sent(GID, 1, asked_with, &again);
    assert_eq!(tracker.twice, 1);
    assert!(share_a_keystream(
        (&first, b"is open  "),
        (&again, b"is closed")
    ));
    assert!(!share_a_keystream(
        (&first, b"is open  "),
        (&second, b"is closed")
    ));
}

#[test]
fn threat_04_the_nonce_of_a_request_serves_for_one_response_at_most() {
    let mut tracker = Tracker::default();
    let mut members = floor(2);
    let mut answers = |members: &mut [One], request: &[u8], asked: &Asked, gid: &[u8]| {
        let mut opened = members[1].hear(request).unwrap();
        let one = members[1].answer(
            &mut opened.received,
            &content(2, b"one"),
            Some(Mode::Pairwise),
        );
        let two = members[1].answer(
            &mut opened.received,
            &content(3, b"two"),
            Some(Mode::Pairwise),
        );
        for response in [&one, &two] {
            tracker.sent(gid, 1, asked.partial_iv().value(), response);
        }
        (number(&one), number(&two))
    };
    // The first response to a request in pairwise mode has none of its own; all others have.
    let (request, asked) = members[0].ask(To::Member(kid(1)), &get(1));
    assert_eq!(
        answers(&mut members, &request, &asked, GID),
        (None, Some(0))
    );
    let (request, asked) = members[0].ask(To::Group, &get(1));
    assert_eq!(
        answers(&mut members, &request, &asked, GID),
        (Some(1), Some(2))
    );
    assert_eq!(members[1].hear(&request).unwrap_err(), Reason::Replayed);
    // Opened before a rekeying, answered after it.
    let (request, asked) = members[0].ask(To::Member(kid(1)), &get(1));
    let mut opened = members[1].hear(&request).unwrap();
    members[1].install(b"Em", 2);
    let late = members[1].answer(
        &mut opened.received,
        &content(4, b"x"),
        Some(Mode::Pairwise),
    );
    assert_eq!(number(&late), Some(0));
    tracker.sent(b"Em", 1, asked.partial_iv().value(), &late);
    // A new Sender ID is a new key as well.
    members[0].install(b"Em", 2);
    let (request, _) = members[0].ask(To::Member(kid(1)), &get(1));
    let mut opened = members[1].hear(&request).unwrap();
    let prepared = members[1].group().prepare_sender_id(kid(5), 99).unwrap();
    members[1].group().commit_sender_id(prepared).unwrap();
    let renamed = members[1].answer(&mut opened.received, &content(4, b"x"), None);
    assert_eq!(number(&renamed), Some(0));
    assert_eq!(tracker.twice, 0);

    // The control: a permission that can be copied, made by two servers of the same state. (`Received` is not `Clone`,
    // which its documentation shows by an example that does not compile.)
    let mut client = One::new(0, 2, Suite::default(), Settings::default(), 0, None);
    let (request, asked) = client.ask(To::Member(kid(1)), &get(1));
    let mut both = vec![];
    for text in [&b"one"[..], b"two"] {
        let mut copy = One::new(1, 2, Suite::default(), Settings::default(), 0, None);
        let mut opened = copy.hear(&request).unwrap();
        both.push(copy.answer(&mut opened.received, &content(2, text), None));
        tracker.sent(
            b"copied",
            1,
            asked.partial_iv().value(),
            both.last().unwrap(),
        );
    }
    assert_eq!(tracker.twice, 1);
    assert!(share_a_keystream((&both[0], b"one"), (&both[1], b"two")));
}

#[test]
fn threat_46_encrypted_countersignatures_of_two_servers_say_nothing_about_each_other() {
    let suite = Suite::default();
    let mut members = floor(3);
    let (request, asked) = members[0].ask(To::Group, &get(1));
    let mut encrypted = vec![];
    let mut signatures = vec![];
    for server in [1, 2] {
        let mut opened = members[server].hear(&request).unwrap();
        let response = members[server].answer(&mut opened.received, &content(2, b"21"), None);
        // The defence: always an own number.
        let own = PartialIv::new(number(&response).unwrap()).unwrap();
        let payload = payload(&response);
        let part = payload[payload.len() - 64..].to_vec();
        let stream = countersignature_keystream(&suite, own, kid(server), false);
        signatures.push(xor(&part, &stream));
        encrypted.push(part);
    }
    let difference = xor(&signatures[0], &signatures[1]);
    assert_ne!(xor(&encrypted[0], &encrypted[1]), difference);
    // The control: without own numbers both have the keystream of the request's number and client.
    let shared = countersignature_keystream(&suite, asked.partial_iv(), asked.kid(), false);
    let without: Vec<_> = signatures.iter().map(|it| xor(it, &shared)).collect();
    assert_eq!(xor(&without[0], &without[1]), difference);
}

#[test]
fn threat_51_no_two_messages_of_a_sender_have_the_same_keystream() {
    let suite = Suite::default();
    let stream = |number: u64| {
        let number = PartialIv::new(number).unwrap();
        countersignature_keystream(&suite, number, kid(0), true)
    };
    let mut numbers = sequence_from(0);
    let mut seen = HashSet::new();
    let mut last = 0;
    for _ in 0..70_000 {
        let number = numbers.take().unwrap().value();
        assert!(seen.insert(stream(number)), "{number}");
        last = number;
    }
    assert!(last > 70_000, "{last}: some were skipped");
    // The control: with the numbers that are skipped.
    assert_eq!(stream(256), stream(1));
    assert_eq!(stream(65_536), stream(1));
    assert_ne!(stream(2), stream(1));
    assert!(!seen.insert(stream(512)), "the scan notices them");
}
