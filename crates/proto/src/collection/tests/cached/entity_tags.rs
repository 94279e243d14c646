//! Validation: ETag in group requests (profile `current`), Multi-ETag (profile `seed03`).

use antiphon_wire::MultiEtag;

use super::*;

const MULTI_ETAG: OptionNumber = OptionNumber::MULTI_ETAG;

impl Client {
    /// The values of an option in the n-th datagram.
    fn values(&self, n: usize, number: OptionNumber) -> Vec<Vec<u8>> {
        let message = self.sent[n].message();
        message
            .options()
            .filter(|option| option.number == number)
            .map(|option| option.value.to_vec())
            .collect()
    }

    /// Each server gives an answer with a tag that is not fresh for long, and time passes.
    fn learn(&mut self, tags: &[(u16, &[u8])]) {
        let id = self.start(kept(get()));
        for (n, tag) in tags {
            let options = [(ETAG, *tag), (MAX_AGE, &[1])];
            let text = std::format!("from {n}");
            self.answer_with(id, host(*n), Code::CONTENT, &options, &text);
        }
        self.collections.close(self.now, id);
        let later = self.now.since(Instant::ZERO) + secs(2);
        self.run_until(later);
    }

    /// A server confirms.
    fn confirm(&mut self, id: CollectionId, n: u16, tag: &[u8]) -> Verdict {
        self.answer_with(id, host(n), Code::VALID, &[(ETAG, tag)], "")
    }

    /// Who is to be asked again.
    fn again(&mut self) -> Vec<(CollectionId, Asking, SocketAddr, Request)> {
        core::iter::from_fn(|| self.collections.poll_again())
            .map(|(id, again)| (id, again.asking, again.route.destination, again.request))
            .collect()
    }
}

fn seed03() -> Client {
    let mut client = Client::fast();
    client.collections.config.profile = Profile::Seed03;
    client
}

fn with(options: &[(OptionNumber, &[u8])]) -> GroupRequest {
    let mut request = get();
    for (number, value) in options {
        request.request.options.push(*number, value);
    }
    request
}

/// What `host(n)` is told.
fn for_server(n: u16, tag: &[u8]) -> Vec<u8> {
    let mut value = [0; 40];
    let length = MultiEtag::write(host(n), &[tag], &mut value).unwrap();
    value[..length].to_vec()
}

// Covers: GC-3.2.2-01, GN-3.2.2-01
#[test]
fn etag_is_for_profile_current_and_multi_etag_for_seed03() {
    let tagged = || with(&[(ETAG, b"one"), (ETAG, b"two")]);
    let mut client = Client::fast();
    client.start(tagged());
    assert_eq!(client.values(0, ETAG), [b"one", b"two"]);
    let mut client = seed03();
    assert_eq!(client.try_start(tagged()), Err(CollectError::EntityTag));
    assert_eq!(client.sent, [], "nothing is sent");
    let value = for_server(1, b"one");
    client.start(with(&[(MULTI_ETAG, &value)]));
    assert_eq!(client.values(0, MULTI_ETAG), [value.as_slice()]);
    let mut client = Client::fast();
    let refused = client.try_start(with(&[(MULTI_ETAG, &value)]));
    assert_eq!(refused, Err(CollectError::MultiEtag));
    assert_eq!(client.sent, []);
}

// Covers: GC-3.2.2.2-02, GC-3.2.2.2-03
#[test]
fn the_two_are_never_sent_together_and_no_server_is_named_twice() {
    let [one, same, other] = [(1, b"a"), (1, b"b"), (2, b"a")].map(|(n, t)| for_server(n, t));
    for refused in [
        with(&[(ETAG, b"a"), (MULTI_ETAG, &one)]),
        with(&[(MULTI_ETAG, &one), (MULTI_ETAG, &same)]),
        with(&[(MULTI_ETAG, &one), (MULTI_ETAG, &other), (MULTI_ETAG, &one)]),
        with(&[(MULTI_ETAG, b"malformed")]),
    ] {
        let mut client = seed03();
        assert_eq!(client.try_start(refused), Err(CollectError::MultiEtag));
        assert_eq!(client.sent, []);
    }
    let mut client = seed03();
    client.start(with(&[(MULTI_ETAG, &one), (MULTI_ETAG, &other)]));
    assert_eq!(client.values(0, MULTI_ETAG), [one, other]);
    // What is learnt is merged: one server, one option, whatever it has said.
    client.learn(&[(1, b"old")]);
    client.learn(&[(1, b"new")]);
    let last = client.sent.len();
    client.start(kept(get()));
    assert_eq!(client.values(last, MULTI_ETAG), [for_server(1, b"new")]);
}

#[test]
fn a_group_request_carries_the_tags_of_what_is_not_fresh_any_more() {
    let mut client = Client::fast();
    client.learn(&[(1, b"t1"), (2, b"t2")]);
    let id = client.start(kept(get()));
    client.answer_with(id, host(3), Code::CONTENT, &[(ETAG, b"t3")], "fresh");
    client.answer(id, host(4), "no tag");
    client.collections.close(client.now, id);
    assert_eq!(client.values(1, ETAG), [b"t1", b"t2"]);
    client.start(kept(get()));
    assert_eq!(client.values(2, ETAG), [b"t1", b"t2"]);
    assert_eq!(client.values(2, MULTI_ETAG), [b""; 0]);
    client.start(get());
    assert_eq!(client.values(3, ETAG), [b""; 0], "not asked for");
    let caching = Some(Caching {
        validate: false,
        ..Caching::default()
    });
    client.start(GroupRequest { caching, ..get() });
    assert_eq!(client.values(4, ETAG), [b""; 0], "not wanted");
    let elsewhere = GroupRequest {
        targets: Vec::from([target(2)]),
        ..get()
    };
    client.start(kept(elsewhere));
    assert_eq!(client.values(5, ETAG), [b""; 0], "of another group");
    let mut authority = kept(get());
    authority
        .request
        .options
        .push(OptionNumber::URI_HOST, b"gp1");
    client.start(authority);
    assert_eq!(
        client.values(6, ETAG),
        [b""; 0],
        "of another application group"
    );
}

// Covers: GC-3.2.2.2-06
#[test]
fn a_2_03_makes_the_stored_answer_fresh_again_and_delivers_it() {
    for (mut client, number) in [(Client::fast(), ETAG), (seed03(), MULTI_ETAG)] {
        client.learn(&[(1, b"t1")]);
        let id = client.start(kept(get()));
        assert_eq!(client.values(1, number).len(), 1);
        let options: [(OptionNumber, &[u8]); 2] = [(ETAG, b"t1"), (MAX_AGE, &[30])];
        let verdict = client.answer_with(id, host(1), Code::VALID, &options, "");
        assert_eq!(verdict, Verdict::Delivered);
        let how = How::Multicast;
        assert_eq!(client.delivered(id), [(host(1), "from 1", how, Some(30))]);
        assert_eq!(client.answers()[1].response.code, Code::CONTENT);
        assert_eq!(client.counters().validated, 1);
        // Fresh for 30 s from now on.
        client.run_until(secs(32));
        let mut last = kept(get());
        last.end.deadline = Duration::ZERO;
        let fresh = client.start(last);
        client.run_until(secs(32));
        assert_eq!(client.delivered(fresh).len(), 1);
        client.run_until(secs(32) + MICRO);
        let stale = client.start(kept(get()));
        client.run_until(secs(60));
        assert_eq!(client.delivered(stale), []);
    }
}

// Covers: GC-3.2.2.2-07, GN-3.2.2-07
#[test]
fn any_other_response_satisfies_the_request_and_replaces_what_is_stored() {
    let mut client = Client::fast();
    client.learn(&[(1, b"t1"), (2, b"t2")]);
    let id = client.start(kept(get()));
    assert_eq!(client.values(1, ETAG).len(), 2);
    let options: [(OptionNumber, &[u8]); 2] = [(ETAG, b"new"), (MAX_AGE, &[1])];
    client.answer_with(id, host(1), Code::CONTENT, &options, "changed");
    // A server that does not know ETag in group requests gives its whole answer, though it is the same.
    let options: [(OptionNumber, &[u8]); 2] = [(ETAG, b"t2"), (MAX_AGE, &[1])];
    client.answer_with(id, host(2), Code::CONTENT, &options, "from 2");
    let texts: Vec<_> = client.delivered(id).iter().map(|a| a.1).collect();
    assert_eq!(texts, ["changed", "from 2"]);
    client.run_until(secs(20));
    client.start(kept(get()));
    assert_eq!(client.values(2, ETAG), [b"new".as_slice(), b"t2"]);
    assert_eq!(client.counters().validated, 0);
}

// Covers: GC-3.2.2-04, GC-3.2.2.2-01
#[test]
fn each_server_to_be_asked_is_named_in_a_multi_etag_of_its_own() {
    let mut client = seed03();
    client.learn(&[(1, b"t1"), (2, b"t2"), (3, b"t2")]);
    client.start(kept(get()));
    let values = client.values(1, MULTI_ETAG);
    assert_eq!(values.len(), 3);
    for (n, value) in (1..).zip(&values) {
        let read = MultiEtag::parse(value).unwrap();
        assert_eq!(read.server(), host(n));
        let tag: &[u8] = if n == 1 { b"t1" } else { b"t2" };
        assert_eq!(
            read.tags().collect::<Vec<_>>(),
            [tag],
            "the same tag does no harm"
        );
    }
    assert_eq!(client.values(1, ETAG), [b""; 0]);
}

// Covers: GC-3.2.2.2-04
#[test]
fn the_servers_are_spread_over_several_requests() {
    for (mut client, number) in [(Client::fast(), ETAG), (seed03(), MULTI_ETAG)] {
        let tags: Vec<[u8; 2]> = (1..=10).map(|n| [7, n]).collect();
        let servers: Vec<_> = (1..).zip(tags.iter().map(|t| t.as_slice())).collect();
        client.learn(&servers);
        let mut named = Vec::new();
        let mut counts = Vec::new();
        for n in 1..=3 {
            let id = client.start(kept(get()));
            let values = client.values(n, number);
            counts.push(values.len());
            for value in values {
                let server = match number {
                    ETAG => u16::from(value[1]),
                    _ => {
                        let read = MultiEtag::parse(&value).unwrap();
                        assert_eq!(read.tags().count(), 1);
                        let server = (1..=10).find(|n| host(*n) == read.server());
                        server.unwrap()
                    }
                };
                named.push(server);
                client.confirm(id, server, &[7, server as u8]);
            }
        }
        assert_eq!(counts, [4, 4, 2]);
        assert_eq!(named, (1..=10).collect::<Vec<_>>());
        assert_eq!(client.counters().validated, 10);
        client.start(kept(get()));
        assert_eq!(client.values(4, number), [b""; 0], "all are fresh");
    }
}

#[test]
fn servers_that_stay_silent_come_again_after_all_others() {
    let mut client = Client::with(|config| {
        config.cache.tags = 2;
        let transmission = &mut config.transmission;
        transmission.set_probing_rate(1_000_000_000).unwrap();
        transmission.set_nstart(100).unwrap();
    });
    client.learn(&[(1, b"t1"), (2, b"t2"), (3, b"t3")]);
    for expected in [[b"t1", b"t2"], [b"t1", b"t3"], [b"t2", b"t3"]] {
        let n = client.sent.len();
        client.start(kept(get()));
        let mut tags = client.values(n, ETAG);
        tags.sort();
        assert_eq!(tags, expected);
    }
}

#[test]
fn tags_never_make_a_request_too_large_for_a_frame() {
    let plain = crate::collection::conduct::encode(&get().request, Token::MAX_LEN)
        .unwrap()
        .len();
    // An ETag of 8 bytes takes 9.
    for (room, tags) in [(17, 1), (18, 2), (8, 0), (100, 3)] {
        let mut client = Client::with(|config| {
            config.link = LinkProfile::SixLowpan {
                budget: plain + room,
                larger: Larger::Refuse,
            };
            let transmission = &mut config.transmission;
            transmission.set_probing_rate(1_000_000_000).unwrap();
            transmission.set_nstart(100).unwrap();
        });
        client.learn(&[(1, b"8 bytes1"), (2, b"8 bytes2"), (3, b"8 bytes3")]);
        client.start(kept(get()));
        assert_eq!(client.values(1, ETAG).len(), tags, "{room} bytes");
    }
}

// Covers: GN-3.2.2-02, GN-3.2.2-04
#[test]
fn a_tag_that_two_servers_use_is_never_sent_to_a_group() {
    let mut client = Client::fast();
    client.learn(&[(1, b"same"), (2, b"same"), (3, b"own")]);
    assert_eq!(client.counters().duplicated, 2);
    let id = client.start(kept(get()));
    assert_eq!(client.values(1, ETAG), [b"own"]);
    // So both answer in full, and still use the same.
    let options: [(OptionNumber, &[u8]); 2] = [(ETAG, b"same"), (MAX_AGE, &[1])];
    client.answer_with(id, host(1), Code::CONTENT, &options, "1 again");
    client.run_until(secs(20));
    client.start(kept(get()));
    assert_eq!(client.values(2, ETAG), [b"own"]);
    // With another tag it can be asked about again.
    client.learn(&[(1, b"another")]);
    let last = client.sent.len();
    client.start(kept(get()));
    let mut tags = client.values(last, ETAG);
    tags.sort();
    assert_eq!(tags, [b"another".as_slice(), b"own"]);
}

// Covers: GN-3.2.2-03, GN-3.2.2-04
#[test]
fn a_server_that_confirms_what_is_not_stored_of_it_is_asked_again_without_the_tag() {
    let mut client = Client::fast();
    client.learn(&[(1, b"t1")]);
    let request = GroupRequest {
        expect: members(2),
        ..kept(get())
    };
    let id = client.start(request);
    assert_eq!(client.values(1, ETAG), [b"t1"]);
    let verdict = client.confirm(id, 2, b"t1");
    assert_eq!(verdict, Verdict::Rejected(Rejection::NotStored));
    assert_eq!(client.delivered(id), []);
    let again = client.again();
    let [(collection, asking, destination, request)] = again.as_slice() else {
        panic!("{again:?}")
    };
    assert_eq!((*collection, *asking), (id, Asking::Member(MemberIndex(1))));
    assert_eq!(*destination, host(2));
    assert_eq!(*request, get().request, "no tag at all");
    // Whoever says so again is not asked again.
    client.confirm(id, 2, b"t1");
    assert_eq!(client.again(), []);
    // A stranger is asked as well.
    client.confirm(id, 3, b"t1");
    assert_eq!(client.again()[0].1, Asking::Stranger(0));

    let mut full = Response::new(Code::CONTENT);
    full.options.push(ETAG, b"t1");
    full.options.push(MAX_AGE, &[1]);
    full.payload = b"of B".to_vec();
    let path = client.path(host(2));
    let (now, member) = (client.now, MemberIndex(1));
    client
        .collections
        .completion_done(now, id, member, Ok((&path, full)));
    client.drain();
    assert_eq!(
        client.delivered(id),
        [(host(2), "of B", How::Unicast, Some(1))]
    );
    assert_eq!(client.counters().duplicated, 2, "that of A, and that of B");
    client.run_until(secs(30));
    client.start(kept(get()));
    assert_eq!(client.values(2, ETAG), [b""; 0], "absent from now on");
}

#[test]
fn who_confirms_what_is_not_stored_and_says_no_more_is_named() {
    let mut client = Client::fast();
    let request = GroupRequest {
        expect: members(1),
        ..kept(get())
    };
    let id = client.start(request);
    client.confirm(id, 1, b"t?");
    assert_eq!(client.again().len(), 1);
    let (now, member) = (client.now, MemberIndex(0));
    let failed = Err(Failure::TimedOut);
    client.collections.completion_done(now, id, member, failed);
    client.run_until(secs(30));
    let (_, outcome) = client.outcome(id);
    let rejected: Vec<_> = outcome.rejected().collect();
    assert_eq!(rejected, [("m1", Rejection::NotStored)]);
    assert_eq!(outcome.dropped.rejected, 1);
}

#[test]
fn who_is_to_be_asked_again_is_not_when_the_question_is_over() {
    let mut client = Client::fast();
    let id = client.start(kept(get()));
    client.confirm(id, 1, b"t?");
    client.collections.close(client.now, id);
    client.drain();
    assert_eq!(client.again(), []);
}

#[test]
fn a_2_03_without_a_tag_or_with_two_confirms_nothing() {
    let mut client = Client::fast();
    client.learn(&[(1, b"t1")]);
    let id = client.start(kept(get()));
    let not = Verdict::Rejected(Rejection::NotStored);
    assert_eq!(client.answer_with(id, host(1), Code::VALID, &[], ""), not);
    let two = [(ETAG, b"t1".as_slice()), (ETAG, b"t2")];
    assert_eq!(client.answer_with(id, host(1), Code::VALID, &two, ""), not);
    assert_eq!(client.counters().validated, 0);
    assert_eq!(client.confirm(id, 1, b"t1"), Verdict::Delivered);
}

#[test]
fn a_2_03_to_the_tags_of_the_application_goes_to_the_application() {
    let mut client = Client::fast();
    let id = client.start(kept(with(&[(ETAG, b"mine")])));
    assert_eq!(client.confirm(id, 1, b"mine"), Verdict::Delivered);
    assert_eq!(client.answers()[0].response.code, Code::VALID);
}
