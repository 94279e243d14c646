//! Commands that end without a response: nobody knows that they were not processed, so what they were to change is not fresh.

use super::*;
use crate::collection::Completion;
use crate::expect::{Expectation, Member};

const THOUSAND_SECONDS: (OptionNumber, &[u8]) = (MAX_AGE, &[0x03, 0xe8]);

fn post(path: &str) -> Request {
    Request::new(Code::POST).path(path)
}

impl Bench {
    /// Answers of the servers 1 and 2 are kept.
    fn keeping() -> Self {
        let mut bench = bench(fast());
        bench.group(&[THOUSAND_SECONDS], &[(1, b"one"), (2, b"two")]);
        bench
    }

    fn asks(&mut self, unicast: UnicastRequest) -> (ExchangeId, Vec<u8>) {
        let id = self.endpoint.request(self.now, unicast).unwrap();
        (id, self.sent()[0].1.clone())
    }

    /// Is what is kept of the servers 1 and 2 fresh?
    fn fresh(&mut self) -> [bool; 2] {
        [1, 2].map(|n| {
            let (id, sent) = self.cached(to(n, get_r()));
            let now = self.now;
            self.endpoint.cancel(now, id);
            self.events();
            sent.is_empty()
        })
    }

    /// Longer than an exchange lasts, with all its repetitions.
    fn pass_an_exchange(&mut self) {
        for _ in 0..40 {
            self.pass(Duration::from_secs(10));
        }
    }

    fn failure(&mut self) -> Failure {
        match self.events().as_slice() {
            [Event::Failed { failure, .. }] => *failure,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_command_whose_response_is_lost_in_part_has_changed_its_resource() {
    let mut bench = Bench::keeping();
    let (_, asked) = bench.asks(to(1, post("r")));
    let block2 = OptionNumber::BLOCK2;
    let first = response(&asked, Code::CHANGED, &[(block2, &[0x08])], &[b'a'; 16]);
    let sent = bench.hear(from(1), &first);
    assert_eq!(bench.fresh(), [true; 2], "not yet");
    let incomplete = Code::REQUEST_ENTITY_INCOMPLETE;
    bench.hear(from(1), &response(&sent[0].1, incomplete, &[], b""));
    let lost = crate::block::BodyFailure::Lost(incomplete);
    assert_eq!(bench.failure(), Failure::Body(lost));
    assert_eq!(bench.fresh(), [false, true]);
    assert_eq!(bench.cache().invalidated, 1);
}

#[test]
fn a_command_without_an_acceptable_response_may_have_changed_its_resource() {
    let mut bench = Bench::keeping();
    bench.asks(to(1, post("r")));
    bench.pass_an_exchange();
    assert_eq!(bench.failure(), Failure::TimedOut);
    assert_eq!(bench.fresh(), [false, true]);

    let mut bench = Bench::keeping();
    let (_, asked) = bench.asks(to(2, post("r")));
    let critical = (OptionNumber(0x7ff9), b"".as_slice());
    bench.hear(from(2), &response(&asked, Code::CHANGED, &[critical], b""));
    assert_eq!(bench.failure(), Failure::Rejected);
    assert_eq!(bench.fresh(), [true, false]);
}

#[test]
fn a_command_that_is_given_up_may_have_changed_its_resource() {
    let fresh_after = |request: Request| {
        let mut bench = Bench::keeping();
        let (id, _) = bench.asks(to(1, request));
        bench.endpoint.cancel(bench.now, id);
        bench.fresh()
    };
    assert_eq!(fresh_after(post("r")), [false, true]);
    assert_eq!(fresh_after(post("other")), [true; 2]);
    assert_eq!(fresh_after(get_r()), [true; 2]);
    // In the middle of its body.
    let mut bench = Bench::keeping();
    let (id, asked) = bench.asks(to(1, post("r")));
    let first = [(OptionNumber::BLOCK2, [0x08].as_slice())];
    bench.hear(
        from(1),
        &response(&asked, Code::CHANGED, &first, &[b'a'; 16]),
    );
    bench.endpoint.cancel(bench.now, id);
    assert_eq!(bench.fresh(), [false, true]);
    assert_eq!(bench.endpoint.load().exchanges, 0);
}

#[test]
fn what_was_asked_before_a_command_that_failed_is_not_fresh() {
    let mut bench = bench(fast());
    let (_, asked) = bench.cached(to(1, get_r()));
    let (id, _) = bench.asks(to(1, post("r")));
    bench.endpoint.cancel(bench.now, id);
    let old = response(&asked[0].1, Code::CONTENT, &[(ETAG, b"t")], b"old");
    bench.hear(from(1), &old);
    assert_eq!(bench.answered().payload, b"old");
    assert_eq!(bench.cached(to(1, get_r())).1.len(), 1, "it is asked");
}

/// A command to the group does not reach the first server, which is then told in person; meanwhile both say how it is.
fn told_in_person(ends: impl FnOnce(&mut Bench, CollectionId)) -> [bool; 2] {
    let mut bench = bench(fast());
    let mut expect = Expectation::nobody();
    expect.add(Member::named("first").at(server(1)));
    let put = crate::collection::GroupRequest {
        expect,
        completion: Completion::Unicast {
            at_once: 1,
            within: None,
        },
        end: End::after(Duration::from_secs(5)),
        ..to_group(Request::new(Code::PUT).path("r"))
    };
    let id = bench.endpoint.collect(bench.now, put).unwrap();
    assert_eq!(bench.sent().len(), 1);
    let mut told = false;
    while !told {
        bench.now = bench.endpoint.next_timeout().unwrap();
        bench.endpoint.handle_timeout(bench.now);
        told = bench.sent().iter().any(|(route, bytes)| {
            let message = Message::parse(bytes).unwrap();
            (route.destination, message.code()) == (server(1), Code::PUT)
        });
    }
    for n in [1, 2] {
        let (_, sent) = bench.cached(to(n, get_r()));
        let says = response(&sent[0].1, Code::CONTENT, &[THOUSAND_SECONDS], b"off");
        bench.hear(from(n), &says);
    }
    bench.events();
    assert_eq!(bench.fresh(), [true; 2]);
    ends(&mut bench, id);
    bench.events();
    bench.fresh()
}

#[test]
fn a_member_that_is_told_in_person_and_says_nothing_may_have_done_it() {
    let timed_out = told_in_person(|bench, _| bench.pass_an_exchange());
    assert_eq!(timed_out, [false, true]);
    let closed = told_in_person(|bench, id| {
        bench.endpoint.close(bench.now, id);
        bench.sent();
        bench.pass(Duration::from_secs(1));
    });
    assert_eq!(closed, [false, true]);
}
