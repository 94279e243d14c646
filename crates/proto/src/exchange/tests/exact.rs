//! Tokens of observations, names, and what leaves with an exchange that has not been sent.

use super::*;
use crate::observation::{ObservationId, ObservedIndex, Observer};

const TOKEN: &[u8] = &[7; 5];

/// A request of an observation to one of its members, under its token.
fn observing(bench: &mut Bench, host: u8, observe: &[u8]) -> Result<ExchangeId, RequestError> {
    let observer = Observer {
        observation: ObservationId(1),
        member: ObservedIndex(0),
    };
    let mut unicast = to(host, Reliability::Confirmable);
    unicast.request.options.push(OptionNumber::OBSERVE, observe);
    let token = Some(Token::new(TOKEN).unwrap());
    let owner = Owner::Observation(observer);
    bench
        .exchanges
        .start_with(bench.now, &mut bench.rng, owner, unicast, token)
}

#[test]
fn a_token_of_an_observation_is_open_once_with_each_peer() {
    let mut bench = bench(Transmission::default(), 10);
    let first = observing(&mut bench, 1, &[]).unwrap();
    let again = observing(&mut bench, 1, &[]);
    assert_eq!(again, Err(RequestError::TooMany));
    let other = observing(&mut bench, 2, &[]).unwrap();
    assert_ne!(first, other);
    bench.exchanges.end(bench.now, first, true);
    assert!(observing(&mut bench, 1, &[]).is_ok());
}

#[test]
fn a_notification_does_not_answer_a_deregistration_and_a_piggybacked_response_does() {
    for (observe, kind, notifies, answers) in [
        (&[1][..], Type::Non, true, false),
        (&[1], Type::Con, true, false),
        (&[1], Type::Ack, true, true),
        (&[1], Type::Non, false, true),
        (&[1], Type::Con, false, true),
        (&[], Type::Non, true, true),
        (&[], Type::Ack, true, true),
    ] {
        let mut bench = bench(Transmission::default(), 10);
        let id = observing(&mut bench, 1, observe).unwrap();
        bench.sent().unwrap();
        let request = Message::parse(&bench.out).unwrap();
        let mut bytes = [0; 64];
        let (mid, token) = (request.message_id(), request.token());
        let mut writer = Writer::new(&mut bytes, kind, Code::CONTENT, mid, token).unwrap();
        if notifies {
            writer.option(OptionNumber::OBSERVE, &[9]).unwrap();
        }
        let len = writer.finish();
        let found = bench.matches(&bytes[..len], peer(1), 3);
        assert_eq!(
            found,
            answers.then_some(id),
            "{observe:?} {kind:?} {notifies}"
        );
    }
}

#[test]
fn no_two_have_the_same_name() {
    let mut bench = bench(Transmission::default(), 10);
    let mut names = alloc::vec![bench.exchanges.name(), bench.exchanges.name()];
    names.push(bench.ask(to(1, Reliability::Confirmable)));
    names.push(bench.exchanges.name());
    names.push(bench.ask(to(1, Reliability::Confirmable)));
    let as_they_came = names.clone();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names, as_they_came, "each is larger than those before");
}

#[test]
fn what_is_given_up_before_it_is_sent_takes_nothing_else_with_it() {
    let mut bench = bench(Transmission::default(), 10);
    let ids = [1, 2, 3].map(|host| bench.ask(to(host, Reliability::NonConfirmable)));
    bench.exchanges.end(bench.now, ids[1], false);
    assert_eq!(bench.sent().unwrap().destination, peer(1));
    assert_eq!(bench.sent().unwrap().destination, peer(3));
    assert_eq!(bench.sent(), None);
    // Its place is free at once.
    bench.ask(to(2, Reliability::NonConfirmable));
    assert_eq!(bench.sent().unwrap().destination, peer(2));
}

#[test]
fn only_what_stands_in_a_queue_waits_for_something() {
    let mut bench = bench(Transmission::default(), 10);
    let first = bench.ask(to(1, Reliability::NonConfirmable));
    let second = bench.ask(to(1, Reliability::NonConfirmable));
    assert_eq!(
        bench.exchanges.waiting(bench.now, first),
        None,
        "it may leave"
    );
    let nstart = Some(Waiting::Nstart);
    assert_eq!(bench.exchanges.waiting(bench.now, second), nstart);
    bench.sent().unwrap();
    assert_eq!(
        bench.exchanges.waiting(bench.now, first),
        None,
        "it has left"
    );
    bench.exchanges.end(bench.now, first, true);
    assert_eq!(
        bench.exchanges.waiting(bench.now, first),
        None,
        "it is over"
    );
    assert_eq!(bench.exchanges.waiting(bench.now, second), None);
}

#[test]
fn a_refusal_says_why() {
    for (error, text) in [
        (
            RequestError::GroupDestination,
            "the destination is a group address; a group is asked by a collection",
        ),
        (RequestError::NotAMethod, "the code is not a request method"),
        (RequestError::NoPort, "port 0 cannot be sent to"),
        (RequestError::TooMany, "too many exchanges are open"),
        (
            RequestError::TooLarge,
            "the request does not fit into the largest datagram",
        ),
        (
            RequestError::MultiEtag,
            "Multi-ETag is for requests to groups",
        ),
        (
            RequestError::Observe,
            "a resource is observed by an observation, not a request",
        ),
    ] {
        assert_eq!(std::format!("{error}"), text);
    }
}

#[cfg(feature = "oscore")]
#[test]
fn one_that_waits_beside_another_takes_no_place_at_its_peer() {
    let mut bench = bench(Transmission::default(), 10);
    let first = bench.ask(to(1, Reliability::NonConfirmable));
    bench.sent().unwrap();
    let mut beside = || {
        let owner = Owner::Outer(Some(first));
        let unicast = to(2, Reliability::NonConfirmable);
        let started = bench
            .exchanges
            .start(bench.now, &mut bench.rng, owner, unicast);
        started.unwrap()
    };
    let [_goes, waits] = [beside(), beside()];
    // The second one has not been let go: its end frees nothing, and NSTART still counts the first.
    bench.exchanges.end(bench.now, waits, false);
    assert_eq!(bench.sent().unwrap().destination, peer(2));
    let next = bench.ask(to(2, Reliability::NonConfirmable));
    assert_eq!(bench.sent(), None);
    let nstart = Some(Waiting::Nstart);
    assert_eq!(bench.exchanges.waiting(bench.now, next), nstart);
}
