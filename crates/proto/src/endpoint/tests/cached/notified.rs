//! Notifications and the cache: what a member has told is the newest that is known of it.

use super::*;
use crate::observation::*;
use crate::pacing::GroupPacing;

fn of_one(n: u16) -> ObserveRequest {
    let UnicastRequest { request, route, .. } = to(n, get_r());
    ObserveRequest::one(request, route, Protection::None)
}

fn of_group() -> ObserveRequest {
    let crate::collection::GroupRequest {
        request,
        targets,
        security,
        ..
    } = to_group(get_r());
    ObserveRequest::group(request, targets[0], security)
}

/// A notification under this token.
fn notification(
    token: Token,
    number: u8,
    code: Code,
    options: &[(OptionNumber, &[u8])],
    payload: &[u8],
) -> Vec<u8> {
    let mut bytes = [0; 256];
    let mid = MessageId(0x7100 + u16::from(number));
    let mut writer = Writer::new(&mut bytes, Type::Non, code, mid, token).unwrap();
    let number = [number];
    let mut options = Vec::from(options);
    if code == Code::CONTENT {
        options.push((OptionNumber::OBSERVE, &number));
    }
    options.sort();
    for (number, value) in options {
        writer.option(number, value).unwrap();
    }
    writer.payload(payload).unwrap();
    let len = writer.finish();
    bytes[..len].to_vec()
}

impl Bench {
    /// Begins an observation: its token.
    fn observes(&mut self, request: ObserveRequest) -> Token {
        // What the group was asked before has had its time.
        self.pass(Duration::from_secs(10));
        self.endpoint.observe(self.now, request).unwrap();
        let sent = self.sent();
        self.events();
        Message::parse(&sent[0].1).unwrap().token()
    }

    fn notified(&mut self, n: u16, token: Token, number: u8, text: &[u8]) {
        self.notified_with(n, token, number, &[], text);
    }

    fn notified_with(
        &mut self,
        n: u16,
        token: Token,
        number: u8,
        options: &[(OptionNumber, &[u8])],
        text: &[u8],
    ) -> Vec<(Route, Vec<u8>)> {
        let max_age: [(OptionNumber, &[u8]); 1] = [(MAX_AGE, &[100])];
        let options = [&max_age, options].concat();
        let bytes = notification(token, number, Code::CONTENT, &options, text);
        let sent = self.hear(from(n), &bytes);
        self.events();
        sent
    }

    /// A command of this client to one server, which says that it has changed the resource.
    fn commands(&mut self, n: u16, path: &str) {
        let unicast = to(n, Request::new(Code::PUT).path(path));
        self.endpoint.request(self.now, unicast).unwrap();
        let asked = self.sent()[0].1.clone();
        self.hear(from(n), &response(&asked, Code::CHANGED, &[], b""));
        self.events();
    }

    /// What a request by way of the cache gives without asking.
    fn known_of(&mut self, n: u16) -> Option<(Vec<u8>, Duration)> {
        let (id, sent) = self.cached(to(n, get_r()));
        if !sent.is_empty() {
            let now = self.now;
            self.endpoint.cancel(now, id);
            return None;
        }
        let (_, response, ..) = self.given_from_cache();
        let age = response
            .options
            .get(MAX_AGE)
            .and_then(antiphon_wire::decode_uint);
        let left = Duration::from_secs(age.unwrap().into());
        assert_eq!(response.options.get(OptionNumber::OBSERVE), None);
        Some((response.payload, left))
    }
}

#[test]
fn a_notification_refreshes_what_is_kept_of_that_member_and_of_no_other() {
    let mut bench = bench(fast());
    bench.group(&[(MAX_AGE, &[50])], &[(1, b"old"), (2, b"other")]);
    let token = bench.observes(of_group());
    bench.notified(1, token, 9, b"new");
    let new = (b"new".to_vec(), Duration::from_secs(100));
    assert_eq!(bench.known_of(1), Some(new.clone()));
    assert_eq!(bench.known_of(2).unwrap().0, b"other");
    // One that is not newer changes nothing.
    bench.notified(1, token, 8, b"overtaken");
    assert_eq!(bench.known_of(1), Some(new));
    // Of whom nothing was kept nothing is kept now.
    bench.notified(3, token, 1, b"third");
    assert_eq!(bench.known_of(3), None);
    assert_eq!(bench.endpoint.client.collections.cache().len(), 2);
}

#[test]
fn notifications_are_kept_for_later_requests_if_that_is_wanted() {
    let mut bench = bench(fast());
    let token = bench.observes(ObserveRequest {
        cached: true,
        ..of_group()
    });
    bench.notified(1, token, 1, b"one");
    bench.notified(2, token, 1, b"two");
    assert_eq!(bench.known_of(1).unwrap().0, b"one");
    assert_eq!(bench.known_of(2).unwrap().0, b"two");
    // They stand in for members that are silent when the group is asked.
    bench.pass(Duration::from_secs(10));
    bench
        .endpoint
        .collect(bench.now, to_group(get_r()))
        .unwrap();
    assert_eq!(bench.sent().len(), 1);
    bench.pass(Duration::from_secs(10));
    let mut texts: Vec<_> = bench
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Collection(CollectionEvent::Answer(answer)) => {
                assert!(matches!(answer.how, How::Cached { .. }));
                Some(answer.response.payload)
            }
            _ => None,
        })
        .collect();
    texts.sort();
    assert_eq!(texts, [b"one".to_vec(), b"two".to_vec()]);

    // As for one server.
    let mut bench = self::bench(fast());
    let token = bench.observes(ObserveRequest {
        cached: true,
        ..of_one(4)
    });
    bench.notified(4, token, 1, b"four");
    assert_eq!(bench.known_of(4).unwrap().0, b"four");
    assert_eq!(bench.known_of(1), None);
    // Without the wish, and with an empty cache, nothing is kept.
    let mut bench = self::bench(fast());
    let token = bench.observes(of_one(4));
    bench.notified(4, token, 1, b"four");
    assert_eq!(bench.endpoint.client.collections.cache().len(), 0);
}

#[test]
fn the_last_word_of_a_member_removes_what_is_kept_of_it() {
    let mut bench = bench(fast());
    bench.group(&[(MAX_AGE, &[50])], &[(1, b"old"), (2, b"other")]);
    let token = bench.observes(of_group());
    let gone = notification(token, 0, Code::NOT_FOUND, &[], b"");
    bench.hear(from(1), &gone);
    bench.events();
    assert_eq!(bench.known_of(1), None);
    assert_eq!(bench.known_of(2).unwrap().0, b"other");
}

#[test]
fn a_notification_of_something_else_concerns_nothing_that_is_kept() {
    let mut bench = bench(fast());
    bench.group(&[(MAX_AGE, &[50])], &[(1, b"old")]);
    let mut request = of_group();
    request.request = Request::new(Code::GET).path("other");
    let token = bench.observes(request);
    bench.notified(1, token, 1, b"new");
    assert_eq!(bench.known_of(1).unwrap().0, b"old");
    // Nor one with entity tags of the application's own.
    let mut request = of_group();
    request.request = get_r().option(ETAG, b"x");
    let token = bench.observes(request);
    bench.notified(1, token, 1, b"new");
    assert_eq!(bench.known_of(1).unwrap().0, b"old");
}

/// How many entity tags a request by way of the cache carries, so long after what was done when a member notifies; `None`: it is
/// answered with what was told.
fn tags_after(
    after: Duration,
    observe: ObserveRequest,
    done: impl FnOnce(&mut Bench),
) -> Option<usize> {
    let mut bench = bench(fast());
    let token = bench.observes(ObserveRequest {
        cached: true,
        ..observe
    });
    done(&mut bench);
    bench.now = bench.now + after;
    bench.notified_with(1, token, 1, &[(ETAG, b"t")], b"told");
    let (_, sent) = bench.cached(to(1, get_r()));
    let invalidated = bench.cache().invalidated;
    let Some((_, asked)) = sent.first() else {
        assert_eq!(bench.given_from_cache().1.payload, b"told");
        assert_eq!(invalidated, 0);
        return None;
    };
    assert_eq!(invalidated, 1);
    let message = Message::parse(asked).unwrap();
    Some(message.options().filter(|o| o.number == ETAG).count())
}

#[test]
fn a_notification_that_may_have_been_made_before_a_change_serves_for_validation_only() {
    let secs = Duration::from_secs;
    let micro = Duration::from_micros(1);
    let command = |bench: &mut Bench| bench.commands(1, "r");
    assert_eq!(tags_after(Duration::ZERO, of_group(), |_| {}), None);
    // Of a group: its leisure, and the round trip.
    assert_eq!(tags_after(Duration::ZERO, of_group(), command), Some(1));
    assert_eq!(tags_after(secs(6), of_group(), command), Some(1));
    assert_eq!(tags_after(secs(6) + micro, of_group(), command), None);
    let slow = || ObserveRequest {
        leisure: secs(20),
        rtt: secs(3),
        ..of_group()
    };
    assert_eq!(tags_after(secs(23), slow(), command), Some(1));
    assert_eq!(tags_after(secs(23) + micro, slow(), command), None);
    // Of one server: the round trip.
    assert_eq!(tags_after(secs(1), of_one(1), command), Some(1));
    assert_eq!(tags_after(secs(1) + micro, of_one(1), command), None);
    // By a command to the group, which nobody answers.
    let to_all = |bench: &mut Bench| {
        let put = to_group(Request::new(Code::PUT).path("r"));
        let (group, at_any) = (put.targets[0].group, GroupPacing::new(1, 1_000_000));
        let collections = bench.endpoint.collections_mut();
        collections
            .set_pacing(bench.now, group, None, Some(at_any.unwrap()))
            .unwrap();
        bench.pass(secs(10)); // the registration has had its time
        bench.endpoint.collect(bench.now, put).unwrap();
        assert_eq!(bench.sent().len(), 1);
    };
    assert_eq!(tags_after(secs(6), of_group(), to_all), Some(1));
    assert_eq!(tags_after(secs(6) + micro, of_group(), to_all), None);
    // By a command of which nobody knows whether it was processed.
    let unanswered = |bench: &mut Bench| {
        let put = to(1, Request::new(Code::PUT).path("r"));
        let id = bench.endpoint.request(bench.now, put).unwrap();
        assert_eq!(bench.sent().len(), 1);
        bench.endpoint.cancel(bench.now, id);
    };
    assert_eq!(tags_after(secs(6), of_group(), unanswered), Some(1));
    assert_eq!(tags_after(secs(6) + micro, of_group(), unanswered), None);
    // Another resource was changed.
    let other = |bench: &mut Bench| bench.commands(1, "other");
    assert_eq!(tags_after(Duration::ZERO, of_group(), other), None);
}

#[test]
fn the_next_notification_after_a_change_is_fresh_whatever_came_before() {
    let mut bench = bench(fast());
    bench.group(&[(MAX_AGE, &[50])], &[(1, b"off")]);
    // Only what is kept is refreshed, and nothing has an entity tag.
    let token = bench.observes(of_group());
    bench.commands(1, "r");
    for number in 1..=3 {
        bench.now = bench.now + Duration::from_secs(2);
        bench.notified(1, token, number, b"off, or on");
        assert_eq!(bench.known_of(1), None);
        assert_eq!(bench.endpoint.load().cached, 1, "it keeps its place");
    }
    bench.now = bench.now + Duration::from_micros(1);
    bench.notified(1, token, 4, b"on");
    assert_eq!(bench.known_of(1).unwrap().0, b"on");
}

#[test]
fn of_a_notification_in_blocks_it_counts_when_the_first_came() {
    let known = |changes: bool| {
        let mut bench = bench(fast());
        let token = bench.observes(ObserveRequest {
            cached: true,
            ..of_one(1)
        });
        let block2 = OptionNumber::BLOCK2;
        let sent = bench.notified_with(1, token, 1, &[(block2, &[0x08])], &[b'a'; 16]);
        let asked = sent[0].1.clone();
        if changes {
            bench.commands(1, "r");
        }
        // Longer than round trip and leisure.
        bench.now = bench.now + Duration::from_millis(1_500);
        let options: [(OptionNumber, &[u8]); 2] = [(MAX_AGE, &[100]), (block2, &[0x10])];
        bench.hear(from(1), &response(&asked, Code::CONTENT, &options, b"b"));
        bench.events();
        bench.known_of(1).map(|(payload, _)| payload.len())
    };
    assert_eq!(known(false), Some(17));
    assert_eq!(known(true), None);
}
