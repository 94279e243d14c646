//! Notifications and the cache: what a member has told is the newest that is known of it.

use super::*;
use crate::observation::*;

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
    if code == Code::CONTENT {
        writer.option(OptionNumber::OBSERVE, &[number]).unwrap();
    }
    for (number, value) in options {
        writer.option(*number, value).unwrap();
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
        let bytes = notification(token, number, Code::CONTENT, &[(MAX_AGE, &[100])], text);
        self.hear(from(n), &bytes);
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
