//! An endpoint without security contexts, and own multicast that comes back.

use super::*;

fn protected(mid: u16, kind: Type) -> Vec<u8> {
    message(
        kind,
        Code::GET,
        mid,
        &[
            (antiphon_wire::OptionNumber::OSCORE, b"\x09\x01\x02"),
            (antiphon_wire::OptionNumber::URI_PATH, b"t"),
        ],
    )
}

#[test]
fn without_a_security_context_the_oscore_option_is_not_recognised() {
    let mut bench = bench(EndpointConfig::default());
    let sent = bench.hear(path(false), &protected(1, Type::Con));
    assert_eq!(parsed(&sent[0].1), (Type::Ack, Code::BAD_OPTION, 1));
    let sent = bench.hear(path(false), &protected(2, Type::Non));
    assert_eq!(parsed(&sent[0].1), (Type::Rst, Code::EMPTY, 2));
    assert!(bench.hear(path(true), &protected(3, Type::Non)).is_empty());
    assert_eq!((bench.handled(), bench.endpoint.load().parked), (0, 0));
    assert!(bench.endpoint.poll_work(bench.now).is_none());
}

#[test]
fn work_that_nobody_asked_for_changes_nothing() {
    let mut bench = bench(EndpointConfig::default());
    bench
        .endpoint
        .work_done(bench.now, WorkId(999), WorkResult::Done);
    let failed = WorkResult::Failed(crate::work::WorkFailure::Key);
    bench.endpoint.work_done(bench.now, WorkId(0), failed);
    assert!(bench.sent().is_empty());
    assert!(bench.endpoint.poll_event().is_none());
}

#[cfg(feature = "client")]
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

#[test]
fn how_full_the_tables_are_is_told_of_each() {
    let mut bench = bench(EndpointConfig::default());
    let empty = bench.endpoint.load();
    assert_eq!(empty, crate::endpoint::Load::default());
    for mid in 1..=3 {
        let get = message(
            Type::Con,
            Code::GET,
            mid,
            &[(antiphon_wire::OptionNumber::URI_PATH, b"t")],
        );
        bench.endpoint.handle_datagram(bench.now, path(false), &get);
    }
    let load = bench.endpoint.load();
    assert_eq!((load.dedup_records, load.outbox), (3, 3));
    assert_eq!(bench.sent().len(), 3);
    let load = bench.endpoint.load();
    assert_eq!((load.dedup_records, load.outbox), (3, 0));
}
