//! Silent members are asked in person.

use super::*;
use crate::expect::MemberAddress;

/// Five known members, of which the last two miss the request.
fn status_request(at_once: usize) -> GroupRequest {
    GroupRequest {
        completion: Completion::Unicast {
            at_once,
            within: None,
        },
        ..get_from(5)
    }
}

// Covers: GC-A.2.2-01
#[test]
fn silent_members_are_asked_in_person_after_round_trip_and_leisure() {
    let mut client = Client::new();
    let id = client.start(status_request(8));
    for n in 1..=3 {
        client.answer(id, host(n), "multicast");
    }
    client.run_until(secs(6) - MICRO);
    assert_eq!(client.completions(), []);
    client.run_until(secs(6));
    assert_eq!(client.status(id).stage, Stage::Completing);
    let asked = client.completions();
    let to: Vec<_> = asked
        .iter()
        .map(|c| (c.collection, c.member.0, c.route))
        .collect();
    let route = |n| Route {
        socket: SOCKET,
        source: None,
        interface: 0,
        destination: host(n),
    };
    assert_eq!(to, [(id, 3, route(4)), (id, 4, route(5))]);
    assert_eq!(asked[0].request, get().request);
    assert_eq!(client.status(id).in_person, 2);
    assert_eq!(client.completions(), [], "each member once");
    client.now = at(secs(7));
    for completion in asked {
        assert!(!client.is_ended(id));
        let path = client.path(completion.route.destination);
        let response = Response::new(Code::CONTENT);
        client.collections.completion_done(
            client.now,
            id,
            completion.member,
            Ok((&path, response)),
        );
        client.drain();
    }
    let (_, outcome) = client.outcome(id);
    assert_eq!(outcome.ended_by, EndedBy::AllExpected);
    assert_eq!(names(outcome.answered()), ["m1", "m2", "m3", "m4", "m5"]);
    let how: Vec<_> = client.answers().iter().map(|a| a.how).collect();
    assert_eq!(
        how,
        [
            How::Multicast,
            How::Multicast,
            How::Multicast,
            How::Unicast,
            How::Unicast
        ]
    );
    let last = client.answers()[4];
    assert_eq!((last.member, last.sequence), (Some(MemberIndex(4)), 1));
    assert_eq!(last.after, secs(7));
    assert_eq!(last.kind, None);
    assert_eq!(client.collections.poll_cancel(), None);
}

#[test]
fn completion_begins_after_the_last_repeat_has_had_its_time() {
    let mut client = Client::fast();
    client.start(GroupRequest {
        completion: Completion::Unicast {
            at_once: 1,
            within: None,
        },
        repeat: Repeat::times(1),
        ..get_from(1)
    });
    client.run_until(secs(12) - MICRO);
    assert_eq!(client.sent_times(), [secs(0), secs(6)]);
    assert_eq!(client.completions(), []);
    client.run_until(secs(12));
    assert_eq!(client.completions().len(), 1);
}

#[test]
fn completion_keeps_to_its_number_at_once_and_outlasts_the_deadline() {
    let mut client = Client::new();
    let id = client.start(status_request(2));
    client.run_until(secs(30));
    assert!(!client.is_ended(id), "members are being asked");
    let first: Vec<_> = client.completions().iter().map(|c| c.member.0).collect();
    assert_eq!(first, [0, 1]);
    let failed = |client: &mut Client, member| {
        client.collections.completion_done(
            client.now,
            id,
            MemberIndex(member),
            Err(Failure::TimedOut),
        );
        client.drain();
    };
    failed(&mut client, 1);
    failed(&mut client, 1);
    let next: Vec<_> = client.completions().iter().map(|c| c.member.0).collect();
    assert_eq!(next, [2]);
    client.answer(id, host(4), "late, but not too late");
    failed(&mut client, 0);
    failed(&mut client, 2);
    let next: Vec<_> = client.completions().iter().map(|c| c.member.0).collect();
    assert_eq!(next, [4], "m4 has answered");
    client
        .collections
        .completion_done(client.now, id, MemberIndex(4), Err(Failure::Reset));
    client.drain();
    let (when, outcome) = client.outcome(id);
    assert_eq!((when, outcome.ended_by), (at(secs(30)), EndedBy::Deadline));
    let missing: Vec<_> = outcome.missing().collect();
    assert_eq!(
        missing,
        [
            ("m1", MissingReason::Unicast(Failure::TimedOut)),
            ("m2", MissingReason::Unicast(Failure::TimedOut)),
            ("m3", MissingReason::Unicast(Failure::TimedOut)),
            ("m5", MissingReason::Unicast(Failure::Reset)),
        ]
    );
}

#[test]
fn completion_waits_for_the_deadline_even_if_it_is_done_before() {
    let mut client = Client::new();
    let id = client.start(GroupRequest {
        completion: Completion::Unicast {
            at_once: 1,
            within: None,
        },
        ..get_from(1)
    });
    client.run_until(secs(6));
    assert_eq!(client.completions().len(), 1);
    client
        .collections
        .completion_done(client.now, id, MemberIndex(0), Err(Failure::TimedOut));
    client.run_until(secs(10) - MICRO);
    assert!(!client.is_ended(id));
    assert_eq!(client.status(id).stage, Stage::Collecting);
    client.run_until(secs(10));
    assert!(client.is_ended(id));
}

#[test]
fn completion_is_broken_off_when_its_time_is_over() {
    let mut client = Client::new();
    let id = client.start(GroupRequest {
        completion: Completion::Unicast {
            at_once: 1,
            within: Some(secs(7)),
        },
        ..get_from(2)
    });
    client.run_until(secs(6));
    assert_eq!(client.completions().len(), 1);
    client.run_until(secs(13) - MICRO);
    assert!(!client.is_ended(id));
    assert_eq!(client.collections.poll_cancel(), None);
    client.run_until(secs(13));
    assert_eq!(
        client.collections.poll_cancel(),
        Some((id, Asking::Member(MemberIndex(0))))
    );
    assert_eq!(client.collections.poll_cancel(), None);
    let (_, outcome) = client.outcome(id);
    assert_eq!(outcome.ended_by, EndedBy::Deadline);
    assert_eq!(
        outcome.missing().collect::<Vec<_>>(),
        [("m1", MissingReason::Silent), ("m2", MissingReason::Silent)]
    );
}

#[test]
fn nobody_is_asked_in_person_after_the_completion_was_broken_off() {
    let mut client = Client::new();
    let id = client.start(GroupRequest {
        completion: Completion::Unicast {
            at_once: 1,
            within: Some(secs(2)),
        },
        end: End::after(secs(20)),
        ..get_from(3)
    });
    client.run_until(secs(8) - MICRO);
    assert_eq!(client.completions().len(), 1);
    assert_eq!(client.status(id).stage, Stage::Completing);
    client.run_until(secs(8));
    assert_eq!(client.completions(), []);
    assert_eq!(client.status(id).stage, Stage::Collecting);
    assert_eq!(client.status(id).in_person, 0);
    client.run_until(secs(20) - MICRO);
    assert!(!client.is_ended(id));
    client.run_until(secs(20));
    assert!(client.is_ended(id));
}

#[test]
fn exchanges_of_an_ended_completion_are_cancelled() {
    let mut client = Client::new();
    let id = client.start(GroupRequest {
        completion: Completion::Unicast {
            at_once: 5,
            within: None,
        },
        ..get_from(2)
    });
    client.run_until(secs(6));
    assert_eq!(client.completions().len(), 2);
    client.answer(id, host(1), "x");
    client.answer(id, host(2), "x");
    assert_eq!(client.outcome(id).1.ended_by, EndedBy::AllExpected);
    let cancelled: Vec<_> = core::iter::from_fn(|| client.collections.poll_cancel()).collect();
    assert_eq!(
        cancelled,
        [0, 1].map(|n| (id, Asking::Member(MemberIndex(n))))
    );
    let path = client.path(host(1));
    client.collections.completion_done(
        client.now,
        id,
        MemberIndex(0),
        Ok((&path, Response::new(Code::CONTENT))),
    );
    client.drain();
    assert_eq!(client.answers().len(), 2);
}

#[test]
fn members_are_reached_by_the_address_that_fits_the_group() {
    let mut client = Client::fast();
    let mut expect = Expectation::nobody();
    let v6 = |text: &str| MemberAddress::from(ip(text));
    expect.add(Member::named("by name only").id(*b"77"));
    expect.add(Member::named("other family").at(ip("192.0.2.7")));
    expect.add(
        Member::named("second address")
            .at(ip("192.0.2.8"))
            .at("[2001:db8::5]:6000".parse::<SocketAddr>().unwrap()),
    );
    expect.add(Member::named("link-local").at(v6("fe80::1")));
    expect.add(
        Member::named("link-local elsewhere").at("[fe80::2%9]:5683".parse::<SocketAddr>().unwrap()),
    );
    expect.add(
        Member::named("link-local here").at("[fe80::3%4]:7000".parse::<SocketAddr>().unwrap()),
    );
    let id = client.start(GroupRequest {
        targets: vec![GroupTarget {
            group: "[ff05::fd]:5685".parse().unwrap(),
            socket: SocketId(6),
            interface: 4,
        }],
        completion: Completion::Unicast {
            at_once: 100,
            within: None,
        },
        expect,
        ..get()
    });
    client.run_until(secs(6));
    let asked: Vec<_> = client
        .completions()
        .iter()
        .map(|c| {
            (
                c.member.0,
                c.route.socket,
                c.route.interface,
                c.route.destination,
            )
        })
        .collect();
    let to = |text: &str| text.parse::<SocketAddr>().unwrap();
    assert_eq!(
        asked,
        [
            (2, SocketId(6), 0, to("[2001:db8::5]:6000")),
            (3, SocketId(6), 4, to("[fe80::1%4]:5685")),
            (5, SocketId(6), 4, to("[fe80::3%4]:7000")),
        ]
    );
    for member in [2, 3, 5] {
        client.collections.completion_done(
            client.now,
            id,
            MemberIndex(member),
            Err(Failure::TimedOut),
        );
    }
    client.run_until(secs(10));
    let missing: Vec<_> = client.outcome(id).1.missing().collect();
    assert_eq!(missing[0], ("by name only", MissingReason::NoAddress));
    assert_eq!(missing[1], ("other family", MissingReason::NoAddress));
    assert_eq!(
        missing[2],
        ("second address", MissingReason::Unicast(Failure::TimedOut))
    );
    assert_eq!(
        missing[4],
        ("link-local elsewhere", MissingReason::NoAddress)
    );
}
