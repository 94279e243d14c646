//! Requests to observe, forget and end, and notifications in blocks.

use super::*;
use crate::path::Route;

/// One member, known and fresh, that has notified `count` times.
fn known(all: &mut Observations, id: ObservationId, count: u32) -> ObservedIndex {
    let watch = all.watches.get_mut(&id).unwrap();
    assert_eq!(place(watch, ([10, 0, 0, 2], 5683), &UNKNOWN), Some(0));
    says(watch, 0, secs(1), ObservedState::Fresh);
    let slot = watch.slot(ObservedIndex(0)).unwrap();
    slot.count = count;
    slot.route = Some(Route {
        socket: SOCKET,
        source: None,
        interface: 1,
        destination: ([10, 0, 0, 2], 5683).into(),
    });
    ObservedIndex(0)
}

fn acts(all: &mut Observations) -> Vec<Act> {
    core::iter::from_fn(|| all.poll_act()).collect()
}

#[test]
fn an_observation_is_forgotten_with_all_that_was_to_be_done_for_it_and_no_other() {
    let (mut all, first) = opened(Some(Duration::from_secs(40)));
    let token = Token::new(&[5]).unwrap();
    let request = ObserveRequest {
        every: Some(Duration::from_secs(50)),
        ..of_group()
    };
    let mut rng = Rng::from_seed([2; 32]);
    let second = all.open(secs(0), &mut rng, token, request).unwrap();
    for id in [first, second] {
        all.first(secs(0), id);
        let observer = Observer {
            observation: id,
            member: ObservedIndex(0),
        };
        all.acts.push_back(Act::Ask(observer, None));
    }
    all.acts.push_back(Act::Break(ExchangeId(9)));
    assert_eq!(all.next_timeout(), Some(secs(40)));
    all.forget(first);
    assert_eq!((all.len(), all.next_timeout()), (1, Some(secs(50))));
    let acts = acts(&mut all);
    assert!(matches!(acts[0], Act::Round(id, Purpose::Register) if id == second));
    assert!(matches!(&acts[1], Act::Ask(observer, None) if observer.observation == second));
    assert!(matches!(acts[2], Act::Break(ExchangeId(9))));
    assert_eq!(acts.len(), 3);
    assert!(!all.is_idle());
    all.acts.push_back(Act::Break(ExchangeId(9)));
    all.forget(second);
    assert!(!all.is_idle(), "something is to be done");
    assert!(all.poll_act().is_some());
    assert!(all.is_idle() && all.next_timeout().is_none());
}

#[test]
fn a_registration_has_its_time_before_the_next_is_made_on_request() {
    for (asked_for, made) in [(0, 6), (2, 6), (6, 6), (9, 9)] {
        let (mut all, id) = opened(Some(Duration::from_secs(40)));
        asked(&mut all, id, 1, secs(0), EndedBy::Deadline);
        all.register_again(secs(asked_for), id);
        if asked_for < made {
            assert_eq!(due(&mut all), secs(made));
        } else {
            assert!(matches!(
                all.poll_act(),
                Some(Act::Round(_, Purpose::Register))
            ));
        }
    }
}

#[test]
fn whoever_may_have_heard_of_an_observation_is_told_of_its_end() {
    type Case = (&'static str, fn(&mut Watch), bool);
    let cases: [Case; 5] = [
        ("nobody", |_| {}, false),
        ("one that has notified", |w| w.slots[0].count = 1, true),
        ("asked", |w| w.first_sent = Some(secs(1)), true),
        ("asked in part", |w| w.last_sent = Some(secs(1)), true),
        ("under way", |w| w.asking = 1, true),
    ];
    for (name, change, told) in cases {
        let (mut all, id) = opened(None);
        known(&mut all, id, 0);
        change(all.watches.get_mut(&id).unwrap());
        all.end(secs(2), id);
        let acts = acts(&mut all);
        let rounds = acts
            .iter()
            .filter(|act| matches!(act, Act::Round(_, Purpose::Deregister)));
        assert_eq!(rounds.count(), usize::from(told), "{name}");
        let event = all.poll_event();
        let never = matches!(&event, Some(ObservationEvent::Ended(outcome))
            if outcome.ended_by == ObservationEnd::NeverSent);
        assert_eq!((never, event.is_none()), (!told, told), "{name}");
        assert_eq!(
            all.status(secs(2), id).map(|status| status.ending),
            told.then_some(true)
        );
    }
}

#[test]
fn a_member_of_an_observation_that_ends_is_not_ended_once_more() {
    for ending in [false, true] {
        let (mut all, id) = opened(None);
        let member = known(&mut all, id, 1);
        if ending {
            all.watches.get_mut(&id).unwrap().phase = watch::Phase::Ending;
            all.acts.push_back(Act::Round(id, Purpose::Deregister));
        }
        all.watches.get_mut(&id).unwrap().next = None;
        all.end_member(secs(2), id, member);
        assert_eq!(all.poll_event().is_none(), ending);
        let asked = |act: &Act| matches!(act, Act::Ask(..));
        assert_eq!(acts(&mut all).iter().any(asked), !ending);
        // Whoever is not there has nothing to end.
        all.end_member(secs(2), id, ObservedIndex(7));
        assert!(all.poll_event().is_none() && all.poll_act().is_none());
    }
}

#[test]
fn the_status_counts_those_that_are_fresh() {
    let (mut all, id) = opened(Some(Duration::from_secs(40)));
    let watch = all.watches.get_mut(&id).unwrap();
    let states = [
        ObservedState::Fresh,
        ObservedState::Silent,
        ObservedState::Awaited,
        ObservedState::Ended(MemberEnd::NotObserved),
    ];
    for (n, state) in (0..).zip(states) {
        assert_eq!(place(watch, ([10, 0, 0, n as u8], 5683), &UNKNOWN), Some(n));
        says(watch, n, secs(1), state);
    }
    asked(&mut all, id, 1, secs(0), EndedBy::Deadline);
    let status = all.status(secs(10), id).unwrap();
    assert_eq!((status.fresh, status.members), (1, 4));
    assert_eq!(status.registrations, 1);
    assert_eq!(status.next, Some(Duration::from_secs(30)));
    assert!(!status.ending);
    all.unprotected(id);
    all.unprotected(id);
    assert_eq!(all.watches[&id].dropped.unprotected, 2);
}

fn first_block(id: ObservationId, member: ObservedIndex) -> Notification {
    let mut response = Response::new(Code::CONTENT);
    response.options.set(OptionNumber::BLOCK2, &[0x0a]); // the first of several, 64 bytes
    response.payload = alloc::vec![b'a'; 64];
    Notification {
        observation: id,
        member,
        news: News::Update,
        from: Path {
            socket: SOCKET,
            peer: ([10, 0, 0, 2], 5683).into(),
            local: ([10, 0, 0, 1], 5683).into(),
            interface: 1,
        },
        sender: UNKNOWN,
        response,
        number: Some(1),
        count: 1,
        after: Duration::ZERO,
    }
}

/// The rest of a notification is being fetched.
fn fetching() -> (Observations, Observer, ExchangeId) {
    let (mut all, observation) = opened(None);
    let member = known(&mut all, observation, 1);
    let watch = all.watches.get_mut(&observation).unwrap();
    watch.next = None;
    let notification = first_block(observation, member);
    let whole = all.begin_body(secs(2), observation, member, notification, None);
    assert!(whole.is_none());
    let wanted = all.poll_rest(1).unwrap();
    let observer = Observer {
        observation,
        member,
    };
    assert_eq!((wanted.observer, all.fetching), (observer, 1));
    all.rest_begun(observer, ExchangeId(7));
    (all, observer, ExchangeId(7))
}

#[test]
fn what_is_not_the_rest_of_a_representation_is_not_told_as_one() {
    for code in [Code::NOT_FOUND, Code::CONTENT] {
        let (mut all, observer, exchange) = fetching();
        let other = Some(ExchangeId(8));
        all.rest_done(secs(3), observer, other, Ok(Response::new(code)));
        assert_eq!((all.poll_event(), all.fetching), (None, 1));
        let mut response = Response::new(code);
        response.payload = alloc::vec![b'b'; 100];
        all.rest_done(secs(3), observer, Some(exchange), Ok(response.clone()));
        assert_eq!(all.fetching, 0);
        let dropped = all.watches[&observer.observation].dropped.incomplete;
        match all.poll_event() {
            Some(ObservationEvent::Notification(told)) => {
                assert_eq!((told.response, dropped), (response, 0));
                assert_eq!(code, Code::CONTENT);
            }
            Some(ObservationEvent::Incomplete { failure, .. }) => {
                let changed = Failure::Body(crate::block::BodyFailure::Changed);
                assert_eq!((failure, dropped), (changed, 1));
                assert_eq!(code, Code::NOT_FOUND);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(all.poll_event(), None);
    }
}

#[test]
fn what_is_being_fetched_is_broken_off_with_the_observation() {
    let (mut all, observer, exchange) = fetching();
    all.break_off(observer.observation);
    assert_eq!(all.fetching, 0);
    let acts = acts(&mut all);
    assert!(
        matches!(acts[..], [Act::Break(of)] if of == exchange),
        "{acts:?}"
    );
}
