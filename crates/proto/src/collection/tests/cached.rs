//! Answers that are kept: which count, for how long, for whom, and how members confirm them.

mod entity_tags;
mod oracle;
mod order;

use std::string::String;

use super::*;
use crate::cache::CacheCounters;
use crate::config::Profile;

pub(super) const ETAG: OptionNumber = OptionNumber::ETAG;
pub(super) const MAX_AGE: OptionNumber = OptionNumber::MAX_AGE;

/// A request whose answers are kept.
pub(super) fn kept(request: GroupRequest) -> GroupRequest {
    GroupRequest {
        caching: Some(Caching::default()),
        ..request
    }
}

/// ... and that sends nothing if all answers are there.
fn alone(request: GroupRequest) -> GroupRequest {
    let caching = Caching {
        alone: true,
        ..Caching::default()
    };
    GroupRequest {
        caching: Some(caching),
        ..request
    }
}

impl Client {
    /// A member answers with this code, these options and this text.
    pub(super) fn answer_with(
        &mut self,
        id: CollectionId,
        peer: SocketAddr,
        code: Code,
        options: &[(OptionNumber, &[u8])],
        text: &str,
    ) -> Verdict {
        let bytes = response(self.token(id), Type::Non, code, options, text);
        let path = self.path(peer);
        self.respond(&path, &bytes).unwrap().verdict
    }

    pub(super) fn counters(&self) -> CacheCounters {
        self.collections.cache().counters
    }

    /// What this collection has delivered: text, how it came about, Max-Age.
    pub(super) fn delivered(&self, id: CollectionId) -> Vec<(SocketAddr, &str, How, Option<u32>)> {
        let of_id = self.answers().into_iter().filter(|a| a.collection == id);
        of_id
            .map(|answer| {
                let text = core::str::from_utf8(&answer.response.payload).unwrap();
                let max_age = answer.response.options.get(MAX_AGE);
                let max_age = max_age.and_then(antiphon_wire::decode_uint);
                (answer.from.peer, text, answer.how, max_age)
            })
            .collect()
    }

    /// Asks, lets these members answer at once, and waits for the end.
    fn ask(&mut self, request: GroupRequest, answers: &[(u16, &str)]) -> CollectionId {
        let id = self.start(request);
        for (n, text) in answers {
            self.answer(id, host(*n), text);
        }
        let end = self.now.since(Instant::ZERO) + secs(10);
        self.run_until(end);
        assert!(self.is_ended(id));
        id
    }
}

// Covers: GC-3.2-01, GC-3.2-03
#[test]
fn the_result_is_what_is_new_and_what_is_kept_and_still_fresh() {
    let mut client = Client::fast();
    let first = client.ask(kept(get_from(3)), &[(1, "a"), (2, "b"), (3, "c")]);
    assert!(
        client
            .delivered(first)
            .iter()
            .all(|a| a.2 == How::Multicast)
    );
    client.run_until(secs(20));
    let second = client.start(kept(get_from(3)));
    assert_eq!(client.sent.len(), 2, "the group is asked all the same");
    client.answer(second, host(1), "A");
    client.answer(second, host(3), "C");
    assert_eq!(
        client.delivered(second).len(),
        2,
        "until the end B may answer"
    );
    client.run_until(secs(30));
    let age = secs(30);
    assert_eq!(
        client.delivered(second),
        [
            (host(1), "A", How::Multicast, None),
            (host(3), "C", How::Multicast, None),
            (host(2), "b", How::Cached { age }, Some(30)),
        ]
    );
    let (_, outcome) = client.outcome(second);
    assert_eq!(outcome.ended_by, EndedBy::Deadline);
    assert!(outcome.is_complete());
    assert_eq!(outcome.cached().collect::<Vec<_>>(), ["m2"]);
    assert_eq!(names(outcome.answered()), ["m1", "m2", "m3"]);
    assert_eq!((outcome.servers(), outcome.answers), (3, 3));
    let counters = CacheCounters {
        hits: 1,
        ..CacheCounters::default()
    };
    assert_eq!(client.counters(), counters);
}

#[test]
fn without_being_asked_for_nothing_is_kept_and_nothing_that_is_kept_counts() {
    let mut client = Client::fast();
    client.ask(get_from(1), &[(1, "a")]);
    let silent = client.ask(kept(get_from(1)), &[]);
    assert_eq!(
        client.delivered(silent),
        [],
        "the first answer was not kept"
    );
    client.ask(kept(get_from(1)), &[(1, "b")]);
    let plain = client.ask(get_from(1), &[]);
    assert_eq!(client.delivered(plain), []);
    assert_eq!(names(client.outcome(plain).1.missing()), ["m1"]);
    let counting = client.ask(kept(get_from(1)), &[]);
    assert_eq!(client.delivered(counting).len(), 1);
    assert_eq!(client.outcome(plain).1.cached().count(), 0);
}

/// The age up to which an answer with this Max-Age counts.
fn counts_at(max_age: Option<u32>, age: Duration) -> bool {
    let mut client = Client::fast();
    let first = client.start(kept(get_from(1)));
    let value = max_age.map(antiphon_wire::encode_uint);
    let options: Vec<_> = value.iter().map(|v| (MAX_AGE, v.as_bytes())).collect();
    client.answer_with(first, host(1), Code::CONTENT, &options, "a");
    client.run_until(millis(1));
    let started = age - millis(1);
    let mut request = kept(get_from(1));
    request.end.deadline = millis(1);
    client.run_until(started.max(millis(1)));
    let second = client.start(request);
    client.run_until(age + MICRO);
    let delivered = client.delivered(second);
    assert!(delivered.iter().all(|a| a.2 == How::Cached { age }));
    delivered.len() == 1
}

// Covers: GC-3.2.1-01
#[test]
fn an_answer_is_fresh_for_its_max_age_and_for_60_s_if_it_states_none() {
    assert!(counts_at(None, secs(60)));
    assert!(!counts_at(None, secs(60) + MICRO));
    assert!(counts_at(Some(5), secs(5)));
    assert!(!counts_at(Some(5), secs(5) + MICRO));
    assert!(counts_at(Some(61), secs(61)));
    assert!(!counts_at(Some(0), millis(2)), "never");
}

#[test]
fn a_longer_max_age_than_answers_are_kept_is_cut() {
    for (age, fresh) in [(secs(100), true), (secs(100) + MICRO, false)] {
        let mut client = Client::with(|config| {
            config.cache.keep_for = secs(100);
            config.transmission.set_probing_rate(1_000_000_000).unwrap();
        });
        let id = client.start(kept(get_from(1)));
        client.answer_with(id, host(1), Code::CONTENT, &[(MAX_AGE, &[255; 4])], "a");
        client.run_until(age);
        let second = client.start(alone(get_from(1)));
        assert_eq!(client.is_ended(second), fresh, "{age:?}");
        if fresh {
            assert_eq!(client.delivered(second)[0].3, Some(0));
        }
    }
}

// Covers: GC-3.2.1-02, GN-3.2.1-01
#[test]
fn nothing_is_sent_when_every_member_is_known_and_each_has_a_fresh_answer() {
    let mut client = Client::fast();
    let first = client.start(kept(get_from(3)));
    client.answer_with(first, host(1), Code::CONTENT, &[(MAX_AGE, &[20])], "a");
    client.answer(first, host(2), "b");
    client.answer(first, host(3), "c");
    assert_eq!(client.sent.len(), 1);
    client.run_until(secs(15));

    let from_cache = client.start(alone(get_from(3)));
    assert_eq!(client.sent.len(), 1, "nothing is sent");
    let (at_once, outcome) = client.outcome(from_cache);
    assert_eq!(at_once, at(secs(15)));
    assert_eq!(outcome.ended_by, EndedBy::AllExpected);
    assert_eq!((outcome.transmissions, outcome.answers), (0, 3));
    assert_eq!(outcome.cached().collect::<Vec<_>>(), ["m1", "m2", "m3"]);
    let age = secs(15);
    let how = How::Cached { age };
    let all = [
        (host(1), "a", how, Some(5)),
        (host(2), "b", how, Some(45)),
        (host(3), "c", how, Some(45)),
    ];
    let mut delivered = client.delivered(from_cache);
    delivered.sort_by_key(|answer| answer.0);
    assert_eq!(delivered, all);

    // It has to be asked for.
    client.start(kept(get_from(3)));
    assert_eq!(client.sent.len(), 2);
    // Members that nobody knows may have joined.
    client.start(alone(get()));
    assert_eq!(client.sent.len(), 3, "without an oracle");
    // A fourth member has no answer.
    client.start(alone(get_from(4)));
    assert_eq!(client.sent.len(), 4);
    // One of three is not fresh any more.
    client.run_until(secs(20) + MICRO);
    client.start(alone(get_from(3)));
    assert_eq!(client.sent.len(), 5);
}

// Covers: GC-3.2.1-02
#[test]
fn profile_seed03_always_sends() {
    let mut client = Client::fast();
    client.collections.config.profile = Profile::Seed03;
    client.ask(kept(get_from(2)), &[(1, "a"), (2, "b")]);
    let second = client.start(alone(get_from(2)));
    assert_eq!(client.sent.len(), 2);
    client.run_until(secs(30));
    assert_eq!(client.delivered(second).len(), 2, "they count at the end");
    assert_eq!(client.outcome(second).1.transmissions, 1);
}

// Covers: GC-3.2-02
#[test]
fn answers_count_for_requests_with_the_same_cache_key_only() {
    let answered = |option: OptionNumber, value: &[u8]| {
        let mut client = Client::fast();
        client.ask(kept(get_from(1)), &[(1, "a")]);
        let request = Request::new(Code::GET).path("status").option(option, value);
        let second = client.ask(
            kept(GroupRequest {
                request,
                ..get_from(1)
            }),
            &[],
        );
        client.delivered(second).len() == 1
    };
    assert!(answered(OptionNumber::SIZE1, &[]), "NoCacheKey");
    assert!(answered(OptionNumber::ECHO, b"e"), "NoCacheKey");
    assert!(!answered(OptionNumber::URI_QUERY, b"k=1"));
    assert!(!answered(OptionNumber::URI_PATH, b"more"));
    assert!(!answered(OptionNumber::ACCEPT, &[]));
    assert!(!answered(OptionNumber::URI_HOST, b"gp1"), "another group");
    assert!(
        !answered(OptionNumber(65_002), b""),
        "unknown, part of the key"
    );
    assert!(answered(OptionNumber(0x5c), b""), "unknown, NoCacheKey");
}

#[test]
fn answers_of_unexpected_servers_count_for_the_group_through_which_they_came() {
    let mut client = Client::fast();
    client.ask(kept(get()), &[(7, "x")]);
    let elsewhere = GroupRequest {
        targets: Vec::from([target(2)]),
        ..get()
    };
    let other_group = client.ask(kept(elsewhere), &[]);
    assert_eq!(
        client.delivered(other_group),
        [],
        "it may not be a member there"
    );
    let same = client.ask(kept(get()), &[]);
    let age = secs(30);
    let how = How::Cached { age };
    assert_eq!(client.delivered(same), [(host(7), "x", how, Some(30))]);
    let [unexpected] = client.outcome(same).1.unexpected.as_slice() else {
        panic!()
    };
    assert!(unexpected.cached);
    assert_eq!((unexpected.address, unexpected.answers), (host(7), 1));
    // Who answers is not answered for.
    let answering = client.ask(kept(get()), &[(7, "y")]);
    assert_eq!(client.delivered(answering).len(), 1);
    assert!(!client.outcome(answering).1.unexpected[0].cached);
    // An expected member is known as one, whatever the group.
    let elsewhere = GroupRequest {
        targets: Vec::from([target(3)]),
        ..get_from(7)
    };
    let expected = client.ask(kept(elsewhere), &[]);
    assert_eq!(names(client.outcome(expected).1.answered()), ["m7"]);
}

#[test]
fn a_newer_answer_replaces_the_one_that_is_kept_and_an_error_leaves_none() {
    let mut client = Client::fast();
    client.ask(kept(get_from(1)), &[(1, "old")]);
    client.ask(kept(get_from(1)), &[(1, "new")]);
    let third = client.ask(kept(get_from(1)), &[]);
    assert_eq!(client.delivered(third)[0].1, "new");
    let id = client.start(kept(get_from(1)));
    client.answer_with(id, host(1), Code::NOT_FOUND, &[], "");
    client.run_until(secs(50));
    let last = client.ask(kept(get_from(1)), &[]);
    assert_eq!(client.delivered(last), []);
}

#[test]
fn a_count_that_is_reached_needs_no_kept_answers_and_one_that_is_closed_gets_none() {
    let mut client = Client::fast();
    client.ask(kept(get_from(2)), &[(1, "a"), (2, "b")]);
    let mut request = kept(get_from(2));
    request.end.count = Some(1);
    let counted = client.start(request);
    client.answer(counted, host(1), "A");
    assert_eq!(client.outcome(counted).1.ended_by, EndedBy::Count);
    let closed = client.start(kept(get_from(2)));
    client.collections.close(client.now, closed);
    client.drain();
    assert_eq!(client.outcome(closed).1.answers, 0);
    assert_eq!(client.delivered(counted).len(), 1);
}

#[test]
fn a_request_that_cannot_be_sent_is_answered_by_what_is_kept() {
    let mut client = Client::fast();
    client.ask(kept(get_from(2)), &[(1, "a")]);
    let id = client.start(kept(get_from(2)));
    let route = client.sent[1].route;
    let error = SendError::NoRoute;
    let now = client.now;
    client.collections.handle_send_error(now, &route, error);
    client.drain();
    let (_, outcome) = client.outcome(id);
    assert_eq!(outcome.ended_by, EndedBy::Failed(error));
    assert_eq!(outcome.cached().collect::<Vec<_>>(), ["m1"]);
    assert_eq!(names(outcome.missing()), ["m2"]);
}

#[test]
fn members_with_a_fresh_answer_are_not_asked_in_person() {
    let mut client = Client::fast();
    client.ask(kept(get_from(3)), &[(1, "a")]);
    let with_tag = client.start(kept(get_from(3)));
    let options: [(OptionNumber, &[u8]); 2] = [(ETAG, b"t2"), (MAX_AGE, &[1])];
    client.answer_with(with_tag, host(2), Code::CONTENT, &options, "b");
    client.run_until(secs(20));
    let request = GroupRequest {
        completion: Completion::Unicast {
            at_once: 9,
            within: None,
        },
        ..kept(get_from(3))
    };
    let id = client.start(request);
    client.run_until(secs(26)); // round trip and leisure
    let age = secs(26);
    let how = How::Cached { age };
    assert_eq!(client.delivered(id), [(host(1), "a", how, Some(34))]);
    let asked = client.completions();
    let tags = |n: usize| asked[n].request.options.all(ETAG).collect::<Vec<_>>();
    assert_eq!(asked.len(), 2);
    assert_eq!(
        (asked[0].member, asked[0].route.destination),
        (MemberIndex(1), host(2))
    );
    assert_eq!(tags(0), [b"t2".as_slice()], "the tag of its own answer");
    assert_eq!(asked[1].member, MemberIndex(2));
    assert!(tags(1).is_empty());
    let path = client.path(host(2));
    let mut valid = Response::new(Code::VALID);
    valid.options.push(ETAG, b"t2");
    let (now, member) = (client.now, MemberIndex(1));
    client
        .collections
        .completion_done(now, id, member, Ok((&path, valid)));
    client.drain();
    assert_eq!(
        client.delivered(id)[1],
        (host(2), "b", How::Unicast, Some(60))
    );
}

#[test]
fn what_is_commanded_and_confirmed_outdates_what_is_kept() {
    let asks = |command: Option<(Code, &str, u8, Option<Code>)>| {
        let mut client = Client::fast();
        client.ask(kept(get_from(2)), &[(1, "a"), (2, "b")]);
        if let Some((method, path, to, answer)) = command {
            let request = GroupRequest {
                request: Request::new(method).path(path),
                targets: Vec::from([target(to)]),
                idempotent: true,
                ..get_from(2)
            };
            let id = client.start(request);
            if let Some(code) = answer {
                let location = [(OptionNumber::LOCATION_PATH, b"status".as_slice())];
                let options = if path == "new" { &location[..] } else { &[] };
                client.answer_with(id, host(1), code, options, "");
            }
            client.run_until(secs(20));
        } else {
            client.run_until(secs(20));
        }
        let last = client.ask(kept(get_from(2)), &[]);
        let delivered = client
            .delivered(last)
            .iter()
            .map(|a| a.1)
            .collect::<Vec<_>>()
            .join("");
        (delivered, client.counters().invalidated)
    };
    assert_eq!(asks(None), ("ab".into(), 0));
    // To their group: it may have taken effect, whoever answers.
    for method in [
        Code::PUT,
        Code::POST,
        Code::DELETE,
        Code::PATCH,
        Code::IPATCH,
    ] {
        assert_eq!(
            asks(Some((method, "status", 1, None))),
            (std::string::String::new(), 2)
        );
    }
    assert_eq!(
        asks(Some((Code::PUT, "other", 1, Some(Code::CHANGED)))).0,
        "ab"
    );
    assert_eq!(asks(Some((Code::GET, "status", 1, None))).0, "ab");
    // To another group: they may be members of that as well.
    let elsewhere = |code| asks(Some((Code::PUT, "status", 2, code)));
    assert_eq!(elsewhere(None), (String::new(), 2));
    assert_eq!(elsewhere(Some(Code::FORBIDDEN)), (String::new(), 2));
    // Of something that this one creates: who says so has changed it.
    let created = |code| asks(Some((Code::POST, "new", 2, Some(code))));
    assert_eq!(created(Code::CREATED), ("b".into(), 1));
    assert_eq!(created(Code::CHANGED), ("b".into(), 1));
    assert_eq!(created(Code::FORBIDDEN), ("ab".into(), 0));
}

#[test]
fn what_is_created_outdates_what_was_kept_of_its_location() {
    let mut client = Client::fast();
    client.ask(kept(get_from(1)), &[(1, "a")]);
    let id = client.start(GroupRequest {
        idempotent: true,
        request: Request::new(Code::POST).path("new"),
        ..get_from(1)
    });
    let location = [(OptionNumber::LOCATION_PATH, b"status".as_slice())];
    client.answer_with(id, host(1), Code::CREATED, &location, "");
    let last = client.ask(kept(get_from(1)), &[]);
    assert_eq!(client.delivered(last), []);
    assert_eq!(client.counters().invalidated, 1);
}

/// Poisoning without security: whoever overhears the request can answer, but not for another address.
#[test]
fn an_answer_from_another_source_does_not_replace_that_of_a_member() {
    let mut client = Client::fast();
    let first = client.start(kept(get_from(1)));
    client.answer(first, host(1), "true");
    let second = client.start(kept(get_from(1)));
    client.answer(second, host(66), "false");
    client.run_until(secs(15));
    let third = client.ask(kept(get_from(1)), &[]);
    let mut delivered: Vec<_> = client.delivered(third).iter().map(|a| (a.0, a.1)).collect();
    delivered.sort();
    assert_eq!(delivered, [(host(1), "true"), (host(66), "false")]);
    let (_, outcome) = client.outcome(third);
    assert_eq!(outcome.cached().collect::<Vec<_>>(), ["m1"]);
    assert_eq!(outcome.unexpected.len(), 1, "a stranger, and named as one");
    // Without the token nothing is kept at all.
    let bytes = response(
        Token::new(b"guessed!").unwrap(),
        Type::Non,
        Code::CONTENT,
        &[],
        "x",
    );
    let path = client.path(host(1));
    assert_eq!(client.respond(&path, &bytes), None);
    let fourth = client.ask(kept(get_from(1)), &[]);
    assert!(client.delivered(fourth).iter().all(|a| a.1 != "x"));
}

#[test]
fn nothing_is_kept_of_requests_that_cannot_be_answered_again() {
    let tried = |request: Request| {
        let mut client = Client::fast();
        let ask = |client: &mut Client, answers: &[(u16, &str)]| {
            let request = GroupRequest {
                request: request.clone(),
                ..get_from(1)
            };
            client.ask(kept(request), answers)
        };
        ask(&mut client, &[(1, "a")]);
        let second = ask(&mut client, &[]);
        client.delivered(second).len()
    };
    let get = || Request::new(Code::GET).path("status");
    assert_eq!(tried(get()), 1);
    for number in [
        OptionNumber::IF_MATCH,
        OptionNumber::IF_NONE_MATCH,
        ETAG,
        OptionNumber::GROUP_ETAG,
        OptionNumber::BLOCK2,
        OptionNumber::PROXY_URI,
        OptionNumber::PROXY_SCHEME,
        OptionNumber::MULTICAST_TIMEOUT,
    ] {
        assert_eq!(tried(get().option(number, b"1")), 0, "{number}");
    }
    assert_eq!(tried(Request::new(Code::PUT).path("status")), 0);
    let silent = get().option(OptionNumber::NO_RESPONSE, &[26]);
    assert_eq!(tried(silent), 0, "it wants no answer");
}
