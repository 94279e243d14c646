//! The contexts of one endpoint: added, found, removed; and which of them may have protected a message.

use super::floor::*;
use super::install::install;
use super::names::pair;
use crate::open::JobResult;

#[test]
fn what_is_added_is_listed_until_it_is_removed() {
    let mut floor = Floor::new(2, Suite::default());
    let contexts = &mut floor.members[0].contexts;
    let first = contexts.add_pair(pair(0, 1, 7, None));
    let second = contexts.add_pair(pair(0, 2, 8, None));
    let all = |contexts: &Contexts| -> Vec<(PairId, Kid)> {
        let pairs = contexts.pairs();
        pairs.map(|(id, pair)| (id, pair.recipient_id())).collect()
    };
    assert_eq!(all(contexts), [(first, kid(1)), (second, kid(2))]);
    let removed = contexts.remove_pair(first).unwrap();
    assert_eq!(removed.recipient_id(), kid(1));
    assert_eq!(all(contexts), [(second, kid(2))]);
    assert!(contexts.remove_pair(first).is_none());
    assert!(contexts.pair(first).is_none() && contexts.pair(second).is_some());
    // An ID is not given again.
    let third = contexts.add_pair(removed);
    assert!(third != first && third != second);
    // What is changed through the list is changed.
    let changed: Vec<GroupId> = contexts
        .groups_mut()
        .map(|(id, group)| {
            group.mark_lost();
            id
        })
        .collect();
    assert_eq!(changed, [floor.members[0].group]);
    assert!(floor.members[0].group().is_lost());
}

#[test]
fn the_client_of_a_request_is_who_it_is_now() {
    let mut floor = Floor::new(2, Suite::default());
    let (bytes, _) = floor.ask(0, To::Group, &get(1, &[0xaa], "temp"));
    let received = floor.hear(1, &bytes).unwrap().received;
    let one = &mut floor.members[1];
    let asked = one.group().member(kid(0)).unwrap();
    let client = |one: &One| one.contexts.client(&received);
    let found = client(one).unwrap();
    assert_eq!((&found, found.kid()), (&asked, kid(0)));
    // Its credential under another ID: still the same client.
    assert!(one.group().remove_peer(kid(0)));
    assert!(client(one).is_none());
    one.group().add_peer(kid(9), credential(0)).unwrap();
    let found = client(one).unwrap();
    assert_eq!((&found, found.kid()), (&asked, kid(9)));
    // Somebody else under its ID is somebody else.
    one.group().add_peer(kid(0), credential(5)).unwrap();
    assert_eq!(client(one).unwrap().kid(), kid(9));
    assert!(one.group().remove_peer(kid(9)));
    assert!(client(one).is_none());
    // Of two IDs it is the one that asked.
    assert!(one.group().remove_peer(kid(0)));
    one.group().add_peer(kid(0), credential(0)).unwrap();
    one.group()
        .add_peer(Kid::new(&[1]).unwrap(), credential(0))
        .unwrap();
    assert_eq!(client(one).unwrap().kid(), kid(0));
    let id = one.group;
    assert!(one.contexts.remove_group(id).is_some());
    assert!(client(one).is_none());
}

#[test]
fn the_client_of_a_pair_is_its_peer() {
    let mut asking = Contexts::new();
    let id = asking.add_pair(pair(0, 1, 7, None));
    let mut hearing = Contexts::new();
    let place = hearing.add_pair(pair(1, 0, 7, None));
    let plain = get(1, &[0xaa], "temp");
    let plain = Message::parse(&plain).unwrap();
    let protected = asking.protect_request(seconds(1), id.into(), &plain, To::Peer);
    let Ok(Protecting::Done(protected)) = protected else {
        panic!("work")
    };
    let message = Message::parse(&protected.bytes).unwrap();
    let opened = hearing.begin_request(seconds(1), &message, false).unwrap();
    let Step::Done(Opened::Request(opened)) = opened else {
        panic!("work")
    };
    let peer = hearing.pair(place).unwrap().member();
    assert_eq!(hearing.client(&opened.received), Some(peer));
    hearing.remove_pair(place);
    assert_eq!(hearing.client(&opened.received), None);
}

/// A client that asked, and what the server answered in the given mode before both had new keys.
fn answered_before(retention: Duration, mode: Mode) -> (Floor, Asked, [Vec<u8>; 2]) {
    let settings = Settings {
        retention,
        ..Settings::default()
    };
    let mut floor = Floor::with(2, Suite::default(), settings);
    let (bytes, asked) = floor.ask(0, To::Group, &get(1, &[0xaa], "temp"));
    let mut opened = floor.hear(1, &bytes).unwrap();
    let answers = [2, 3].map(|number| {
        let answer = content(number, &[0xaa], b"21");
        floor.answer(1, &mut opened.received, &answer, Some(mode))
    });
    (floor, asked, answers)
}

#[test]
fn the_replaced_keys_open_responses_until_their_time_is_over() {
    for mode in [Mode::Group, Mode::Pairwise] {
        for (later, opens) in [
            (Duration::ZERO, true),
            (seconds(30) - Duration::from_nanos(1), true),
            (seconds(30), false),
        ] {
            let (mut floor, mut asked, [answer, _]) = answered_before(seconds(30), mode);
            install(&mut floor.members[0], seconds(1000));
            floor.members[0].now = seconds(1000) + later;
            let heard = floor.listen(0, &answer, &mut asked);
            assert_eq!(heard.is_ok(), opens, "{mode:?} {later:?}");
        }
    }
}

#[test]
fn what_no_key_opens_is_tried_with_each_once() {
    for mode in [Mode::Group, Mode::Pairwise] {
        let (mut floor, mut asked, [mut answer, _]) = answered_before(seconds(30), mode);
        install(&mut floor.members[0], seconds(1000));
        *answer.last_mut().unwrap() ^= 1;
        let heard = floor.listen(0, &answer, &mut asked);
        assert_eq!(heard.unwrap_err(), Reason::NotVerified, "{mode:?}");
    }
}

#[test]
fn keys_that_only_finish_what_was_begun_open_nothing_else() {
    let (mut floor, mut asked, [first, second]) = answered_before(Duration::ZERO, Mode::Group);
    let client = &mut floor.members[0];
    let message = Message::parse(&first).unwrap();
    let begun = client
        .contexts
        .begin_response(client.now, &message, &mut asked);
    let Ok(Step::Work(opening, job)) = begun else {
        panic!("done")
    };
    install(client, seconds(1000));
    assert!(client.group().retained.is_some());
    let heard = client.listen(&second, &mut asked);
    assert_eq!(heard.unwrap_err(), Reason::NotVerified);
    let result: JobResult = job.run(&client.key);
    let finished = client
        .contexts
        .finish_response(client.now, opening, result, &mut asked);
    assert!(matches!(finished, Ok(Step::Done(_))));
}
