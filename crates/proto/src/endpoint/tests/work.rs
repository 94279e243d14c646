//! Protected requests that wait for a worker, and what else is decided outside.

use super::*;

fn protected(mid: u16, kind: Type) -> Vec<u8> {
    message(
        kind,
        Code::GET,
        mid,
        &[(OptionNumber::OSCORE, b""), (OptionNumber::URI_PATH, b"t")],
    )
}

/// What a worker would make of it: the same message without protection.
fn opened(mid: u16, kind: Type) -> WorkResult {
    WorkResult::Opened {
        message: get(kind, mid, "t"),
        sender: Identity(alloc::vec![1]),
    }
}

fn open_work(bench: &mut Bench) -> WorkId {
    match bench.endpoint.poll_work(bench.now) {
        Some(Work {
            id,
            task: Task::Open { .. },
        }) => id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn protected_requests_wait_for_the_worker_and_are_answered_in_the_order_it_finishes() {
    let mut bench = bench(EndpointConfig::default());
    assert!(bench.hear(path(false), &protected(1, Type::Con)).is_empty());
    assert!(bench.hear(path(false), &protected(2, Type::Con)).is_empty());
    assert_eq!((bench.endpoint.load().parked, bench.handled()), (2, 0));
    let (first, second) = (open_work(&mut bench), open_work(&mut bench));
    bench
        .endpoint
        .work_done(bench.now, second, opened(2, Type::Con));
    assert_eq!(parsed(&bench.sent()[0].1), (Type::Ack, Code::CONTENT, 2));
    bench
        .endpoint
        .work_done(bench.now, first, opened(1, Type::Con));
    assert_eq!(parsed(&bench.sent()[0].1), (Type::Ack, Code::CONTENT, 1));
    bench
        .endpoint
        .work_done(bench.now, first, opened(1, Type::Con));
    assert!(bench.sent().is_empty(), "a repeated result is ignored");
    assert_eq!(bench.handled(), 2);
}

#[test]
fn the_one_error_map_decides_what_a_failed_worker_leads_to() {
    let mut bench = bench(EndpointConfig::default());
    let map = [
        (WorkFailure::NoContext, Code::UNAUTHORIZED),
        (WorkFailure::Replayed, Code::UNAUTHORIZED),
        (WorkFailure::NotVerified, Code::BAD_REQUEST),
        (WorkFailure::Unsupported, Code::BAD_OPTION),
        (WorkFailure::System(5), Code::INTERNAL_SERVER_ERROR),
    ];
    for (mid, (failure, code)) in (10..).zip(map) {
        bench.hear(path(false), &protected(mid, Type::Con));
        let id = open_work(&mut bench);
        bench
            .endpoint
            .work_done(bench.now, id, WorkResult::Failed(failure));
        assert_eq!(parsed(&bench.sent()[0].1), (Type::Ack, code, mid));
        bench.hear(path(true), &protected(mid + 100, Type::Non));
        let id = open_work(&mut bench);
        bench
            .endpoint
            .work_done(bench.now, id, WorkResult::Failed(failure));
        assert!(bench.sent().is_empty(), "silence in a group: {failure:?}");
    }
    bench.hear(path(false), &protected(50, Type::Con));
    let id = open_work(&mut bench);
    bench.endpoint.work_done(bench.now, id, WorkResult::Done);
    assert_eq!(
        parsed(&bench.sent()[0].1).1,
        Code::INTERNAL_SERVER_ERROR,
        "no verified message, no answer of substance"
    );
    assert_eq!(bench.handled(), 0);
}

#[test]
fn a_worker_that_is_too_slow_finds_nobody_waiting() {
    let mut bench = bench(EndpointConfig::default());
    bench.hear(path(false), &protected(1, Type::Con));
    let id = open_work(&mut bench);
    bench.hear(path(false), &protected(2, Type::Con));
    assert!(bench.pass(Duration::from_secs(10)).is_empty());
    bench
        .endpoint
        .work_done(bench.now, id, opened(1, Type::Con));
    assert!(bench.sent().is_empty());
    assert!(
        bench.endpoint.poll_work(bench.now).is_none(),
        "work nobody waits for is not handed out"
    );
    assert_eq!(
        (
            bench.endpoint.counters().parking_expired,
            bench.endpoint.load().parked
        ),
        (2, 0)
    );
}

#[test]
fn the_parking_lot_is_bounded() {
    let mut config = EndpointConfig::default();
    config.parking.per_peer = 2;
    let mut bench = bench(config);
    for mid in 0..5 {
        assert!(
            bench
                .hear(path(false), &protected(mid, Type::Non))
                .is_empty()
        );
    }
    assert_eq!(
        (
            bench.endpoint.load().parked,
            bench.endpoint.counters().parking_full
        ),
        (2, 3)
    );
}

#[test]
fn own_multicast_can_be_ignored() {
    use crate::collection::{GroupTarget, NoSec, Security};
    for (ignore, expected) in [(true, 0), (false, 1)] {
        let mut bench = bench(EndpointConfig {
            ignore_own_multicast: ignore,
            ..EndpointConfig::default()
        });
        let target = GroupTarget {
            group: GROUP.into(),
            socket: UNICAST,
            interface: 1,
        };
        let request = GroupRequest::new(
            Request::new(Code::GET).path("t"),
            target,
            Security::Unsecured(NoSec::Accepted),
        );
        bench.endpoint.collect(bench.now, request).unwrap();
        let sent = bench.sent();
        let back = Path {
            peer: ME.into(),
            ..path(true)
        };
        bench.hear(back, &sent[0].1);
        assert_eq!(bench.handled(), expected);
        assert_eq!(bench.endpoint.counters().own_multicast, u64::from(ignore));
    }
}

#[test]
fn debug_output_of_randomness_shows_nothing() {
    let mut rng = Rng::from_seed([1; 32]);
    let text: String = alloc::format!("{:?} {:?}", rng.keyed_hash(), rng);
    assert_eq!(text, "KeyedHash Rng");
}
