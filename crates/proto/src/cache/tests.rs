//! What is kept, what is not, who gives way to whom, and what a 2.03 changes.

mod replaced;

use std::vec;
use std::vec::Vec;

use super::*;
use crate::identity::Identity;
use crate::message::Request;
use crate::path::SocketId;
use crate::rng::Rng;
use antiphon_wire::ContentFormat;

const ETAG: OptionNumber = OptionNumber::ETAG;
const MAX_AGE: OptionNumber = OptionNumber::MAX_AGE;

fn address(n: u8) -> SocketAddr {
    ([10, 0, 0, n], 5683).into()
}

fn path(peer: SocketAddr) -> Path {
    Path {
        socket: SocketId(1),
        local: ([10, 9, 9, 9], 40_000).into(),
        interface: 2,
        peer,
    }
}

fn at(secs: u64) -> Instant {
    Instant::from_millis(secs * 1_000)
}

fn get(segment: &str) -> Request {
    Request::new(Code::GET).path(segment)
}

fn key_of(request: &Request, responder: Responder) -> Key {
    Key {
        request: RequestKey::of_unicast(request).unwrap(),
        context: Context::Open,
        responder,
    }
}

/// The answer of `address(n)` to the m-th question.
fn key(n: u8, m: usize) -> Key {
    let responder = Responder::Address(address(n));
    key_of(&get(&std::format!("q{m}")), responder)
}

fn content(options: &[(OptionNumber, &[u8])], payload: &[u8]) -> Response {
    let mut response = Response::new(Code::CONTENT).with_payload(ContentFormat::TEXT, payload);
    for (number, value) in options {
        response.options.push(*number, value);
    }
    response
}

impl Cache {
    fn with(change: impl FnOnce(&mut CacheConfig)) -> Self {
        let mut config = CacheConfig::default();
        change(&mut config);
        Self::new(config)
    }

    fn hear_from(&mut self, now: Instant, key: &Key, response: &Response) {
        let peer = match key.responder {
            Responder::Address(address) => address,
            _ => address(99),
        };
        let heard = Heard {
            response,
            path: &path(peer),
            sender: &Sender::Unauthenticated,
            through: None,
            asked: self.moment(),
            made_since: None,
        };
        self.hear(now, key.clone(), &heard);
    }

    fn holds(&self, key: &Key) -> bool {
        self.entries.contains_key(key)
    }

    /// A 2.03 to a request of now.
    fn confirm(&mut self, now: Instant, key: &Key, response: &Response) -> Option<Stored> {
        let asked = self.moment();
        self.validated(now, key, response, asked)
    }

    /// The sums are those of the entries, and within the limits.
    fn check(&self) {
        let mut usage: BTreeMap<Shareholder, (usize, usize)> = BTreeMap::new();
        for (key, entry) in &self.entries {
            let own = usage.entry(key.shareholder()).or_default();
            *own = (own.0 + 1, own.1 + entry.bytes);
        }
        let entries: usize = usage.values().map(|own| own.0).sum();
        let bytes: usize = usage.values().map(|own| own.1).sum();
        assert_eq!((self.total.entries, self.total.bytes), (entries, bytes));
        assert_eq!(self.usage.len(), usage.len());
        for (holder, own) in usage {
            let noted = self.usage[&holder];
            assert_eq!((noted.entries, noted.bytes), own);
            assert!(own.0 <= self.config.entries_per_responder);
            assert!(own.1 <= self.config.bytes_per_responder);
        }
        assert!(entries <= self.config.entries && bytes <= self.config.bytes);
    }
}

// Covers: GC-3.2-02
#[test]
fn the_key_is_made_of_method_options_and_the_payload_of_a_fetch() {
    let of = |request: &Request| RequestKey::of_unicast(request).unwrap();
    let plain = get("a");
    let with = |number, value: &[u8]| of(&get("a").option(number, value));
    assert_eq!(with(OptionNumber::SIZE1, b"\x10"), of(&plain), "NoCacheKey");
    assert_eq!(
        with(OptionNumber::ECHO, b"12345678"),
        of(&plain),
        "NoCacheKey"
    );
    assert_eq!(with(OptionNumber::SIZE2, b""), of(&plain), "NoCacheKey");
    for differs in [
        with(OptionNumber::URI_QUERY, b"b"),
        with(OptionNumber::URI_HOST, b"b"),
        with(OptionNumber::URI_PORT, b"\x16\x33"),
        with(OptionNumber::ACCEPT, b""),
        with(OptionNumber::NO_RESPONSE, b""),
        with(OptionNumber::HOP_LIMIT, b"\x10"),
        of(&get("b")),
        of(&get("a/b")),
        of(&get("")),
    ] {
        assert_ne!(differs, of(&plain));
    }
    assert_ne!(of(&get("a/b")), of(&get("ab")));
    assert_ne!(of(&get("a").query("b")), of(&get("a/b")));

    let fetch = |format, payload: &[u8]| {
        let request = Request::new(Code::FETCH).path("a");
        of(&request.payload(format, payload))
    };
    let first = fetch(ContentFormat::TEXT, b"x");
    assert_eq!(first, fetch(ContentFormat::TEXT, b"x"));
    assert_ne!(first, fetch(ContentFormat::TEXT, b"y"), "payload");
    assert_ne!(first, fetch(ContentFormat::CBOR, b"x"), "Content-Format");
    assert_ne!(
        of(&Request::new(Code::FETCH).path("a")),
        of(&plain),
        "method"
    );
    let mut with_payload = get("a");
    with_payload.payload = b"ignored".to_vec();
    assert_eq!(of(&with_payload), of(&plain), "that of a GET means nothing");

    // To a group: the related unicast request, and the authority beside it.
    let group = get("a").option(OptionNumber::URI_HOST, b"gp1");
    let (related, authority) = RequestKey::of_group(&group).unwrap();
    assert_eq!(related, of(&plain));
    assert_eq!(authority, b"\x00\x03\x00\x00\x00\x03gp1");
    let (same, none) = RequestKey::of_group(&plain).unwrap();
    assert_eq!((same, none), (related, vec![]));
}

#[test]
fn only_whole_representations_are_kept_and_only_if_they_are_of_use() {
    let kept = |response: Response| {
        let mut cache = Cache::with(|_| {});
        cache.hear_from(at(0), &key(1, 1), &response);
        assert_eq!(cache.len(), usize::from(cache.holds(&key(1, 1))));
        cache.check();
        cache.len() == 1
    };
    let plain = |code| Response::new(code);
    assert!(kept(plain(Code::CONTENT)));
    for code in [
        Code::CREATED,
        Code::DELETED,
        Code::CHANGED,
        Code::CONTINUE,
        Code::NOT_FOUND,
        Code::SERVICE_UNAVAILABLE,
        Code::from_u8(0x46), // 2.06: success that nobody knows
    ] {
        assert!(!kept(plain(code)), "{code}");
    }
    let with = |number, value: &[u8]| kept(content(&[(number, value)], b"x"));
    assert!(!with(MAX_AGE, &[]), "Max-Age 0 without a tag");
    assert!(
        kept(content(&[(MAX_AGE, &[]), (ETAG, b"t")], b"x")),
        "to validate"
    );
    assert!(!with(OptionNumber::OBSERVE, b"\x01"), "a notification");
    assert!(!with(OptionNumber::REPLY_FROM, b"12345"), "from a proxy");
    assert!(!with(OptionNumber::Q_BLOCK2, b"\x06"));
    assert!(with(OptionNumber::BLOCK2, b"\x06"), "the only block");
    assert!(with(OptionNumber::BLOCK2, b""), "the only block");
    assert!(!with(OptionNumber::BLOCK2, b"\x0e"), "more to come");
    assert!(!with(OptionNumber::BLOCK2, b"\x16"), "the second");
    assert!(!with(OptionNumber::BLOCK2, b"\x00\x06"), "malformed");
}

#[test]
fn an_entity_tag_is_one_option_of_1_to_8_bytes() {
    let tag =
        |options: &[(OptionNumber, &[u8])]| entity_tag(&content(options, b"")).map(<[u8]>::to_vec);
    assert_eq!(tag(&[(ETAG, b"1")]), Some(b"1".to_vec()));
    assert_eq!(tag(&[(ETAG, b"12345678")]), Some(b"12345678".to_vec()));
    assert_eq!(tag(&[(ETAG, b"")]), None);
    assert_eq!(tag(&[(ETAG, b"123456789")]), None);
    assert_eq!(tag(&[(ETAG, b"1"), (ETAG, b"2")]), None);
    assert_eq!(tag(&[]), None);
}

#[test]
fn what_is_given_says_for_how_long_it_is_still_fresh() {
    let mut cache = Cache::with(|_| {});
    cache.hear_from(at(10), &key(1, 1), &content(&[(MAX_AGE, &[100])], b"x"));
    for (now, left) in [
        (at(10), 100),
        (at(10) + Duration::from_millis(1), 99),
        (at(110), 0),
    ] {
        let stored = cache.take_fresh(now, &key(1, 1)).unwrap();
        let value = stored.response.options.get(MAX_AGE);
        assert_eq!(value, Some(antiphon_wire::encode_uint(left).as_bytes()));
        assert_eq!(stored.response.options.all(MAX_AGE).count(), 1);
        assert_eq!(stored.age, now.since(at(10)));
        assert_eq!(stored.path, path(address(1)));
    }
    assert_eq!(cache.counters.hits, 3);
    assert!(
        cache
            .take_fresh(at(110) + Duration::from_micros(1), &key(1, 1))
            .is_none()
    );
    assert!(
        cache.take_fresh(at(10), &key(2, 1)).is_none(),
        "another responder"
    );
    assert!(
        cache.take_fresh(at(10), &key(1, 2)).is_none(),
        "another question"
    );
    assert_eq!(cache.counters.hits, 3);
}

// RFC 7252 section 5.9.1.3.
#[test]
fn a_2_03_replaces_the_options_of_each_safe_type_that_it_has_and_max_age_in_any_case() {
    const SAFE: OptionNumber = OptionNumber(65_004);
    const UNSAFE: OptionNumber = OptionNumber(65_002);
    let mut cache = Cache::with(|_| {});
    let old: [(OptionNumber, &[u8]); 6] = [
        (ETAG, b"t"),
        (MAX_AGE, &[5]),
        (SAFE, b"one"),
        (SAFE, b"two"),
        (UNSAFE, b"stays"),
        (OptionNumber::SIZE2, &[9]),
    ];
    cache.hear_from(at(0), &key(1, 1), &content(&old, b"payload"));
    let mut valid = Response::new(Code::VALID);
    valid
        .options
        .push(ETAG, b"t")
        .push(SAFE, b"new")
        .push(UNSAFE, b"not taken");
    let stored = cache.confirm(at(100), &key(1, 1), &valid).unwrap();
    assert_eq!(
        (stored.age, stored.response.code),
        (Duration::ZERO, Code::CONTENT)
    );
    assert_eq!(stored.response.payload, b"payload");
    let options: Vec<_> = stored.response.options.iter().collect();
    let new: Vec<(OptionNumber, &[u8])> = vec![
        (ETAG, b"t"),
        (OptionNumber::CONTENT_FORMAT, b""),
        (MAX_AGE, &[60]),
        (OptionNumber::SIZE2, &[9]),
        (UNSAFE, b"stays"),
        (SAFE, b"new"),
    ];
    assert_eq!(options, new);
    assert!(
        cache.take_fresh(at(160), &key(1, 1)).is_some(),
        "60 s by default"
    );
    assert!(cache.take_fresh(at(161), &key(1, 1)).is_none());
    assert_eq!(cache.counters.validated, 1);
    cache.check();
    // Of another tag, or of another responder, it says nothing.
    let mut other = Response::new(Code::VALID);
    other.options.push(ETAG, b"o");
    assert!(cache.confirm(at(100), &key(1, 1), &other).is_none());
    assert!(cache.confirm(at(100), &key(2, 1), &valid).is_none());
    // A thousand of them add nothing.
    let before = cache.total.bytes;
    for _ in 0..1_000 {
        cache.confirm(at(100), &key(1, 1), &valid).unwrap();
    }
    assert_eq!(cache.total.bytes, before);
    let entry = &cache.entries[&key(1, 1)];
    let values: usize = entry.response().options.iter().map(|(_, v)| v.len()).sum();
    assert_eq!(values, 1 + 1 + 5 + 3);
}

#[test]
fn a_2_03_that_makes_an_answer_too_large_delivers_it_and_keeps_it_no_longer() {
    let mut cache = Cache::with(|config| config.bytes_per_responder = 1_000);
    cache.hear_from(at(0), &key(1, 1), &content(&[(ETAG, b"t")], b"payload"));
    let mut valid = Response::new(Code::VALID);
    valid
        .options
        .push(ETAG, b"t")
        .push(OptionNumber(65_004), &[0; 1_000]);
    let stored = cache.confirm(at(1), &key(1, 1), &valid).unwrap();
    assert_eq!(stored.response.payload, b"payload");
    assert_eq!((cache.len(), cache.counters.evicted), (0, 1));
    cache.check();
}

#[test]
fn beyond_its_share_a_responder_pushes_out_its_own_oldest_answer() {
    let mut cache = Cache::with(|config| config.entries_per_responder = 3);
    cache.hear_from(at(0), &key(2, 0), &content(&[], b"of another"));
    for m in 0..3 {
        cache.hear_from(at(1), &key(1, m), &content(&[], b"x"));
    }
    assert_eq!((cache.len(), cache.counters.evicted), (4, 0));
    cache.take_fresh(at(2), &key(1, 0)).unwrap(); // used: not the oldest any more
    cache.hear_from(at(3), &key(1, 3), &content(&[], b"x"));
    assert_eq!(cache.counters.evicted, 1);
    let held: Vec<_> = (0..4).map(|m| cache.holds(&key(1, m))).collect();
    assert_eq!(held, [true, false, true, true]);
    assert!(cache.holds(&key(2, 0)));
    // The same question again takes no further place.
    cache.hear_from(at(4), &key(1, 3), &content(&[], b"y"));
    assert_eq!((cache.len(), cache.counters.evicted), (4, 1));
    cache.check();
}

#[test]
fn shares_are_counted_in_bytes_as_well() {
    let size = {
        let mut cache = Cache::with(|_| {});
        cache.hear_from(at(0), &key(1, 1), &content(&[], &[0; 1_000]));
        cache.total.bytes
    };
    assert!((1_000..2_000).contains(&size));
    let mut cache = Cache::with(|config| config.bytes_per_responder = 2 * size);
    for m in 0..2 {
        cache.hear_from(at(0), &key(1, m), &content(&[], &[0; 1_000]));
    }
    assert_eq!((cache.len(), cache.counters.evicted), (2, 0), "exactly two");
    cache.hear_from(at(0), &key(1, 2), &content(&[], b"small"));
    assert_eq!(cache.counters.evicted, 1);
    assert!(!cache.holds(&key(1, 0)));
    // One that never fits pushes nothing out.
    cache.hear_from(at(0), &key(1, 3), &content(&[], &vec![0; 2 * size]));
    assert_eq!((cache.len(), cache.counters.refused), (2, 1));
    let mut tight = Cache::with(|config| config.bytes_per_responder = size - 1);
    tight.hear_from(at(0), &key(1, 1), &content(&[], &[0; 1_000]));
    assert_eq!((tight.len(), tight.counters.refused), (0, 1));
    let mut full = Cache::with(|config| config.bytes = 2 * size);
    for n in 1..=3 {
        full.hear_from(at(0), &key(n, 1), &content(&[], &[0; 1_000]));
    }
    assert_eq!(
        (full.len(), full.counters.refused),
        (2, 1),
        "as many bytes in all"
    );
    full.check();
}

#[test]
fn what_an_answer_takes_is_all_that_is_kept_of_it() {
    let bytes = |request: &Request, responder, heard: &Heard<'_>| {
        let mut cache = Cache::with(|_| {});
        cache.hear(at(0), key_of(request, responder), heard);
        cache.check();
        cache.total.bytes
    };
    let lamp = Identity(b"lamp".to_vec());
    let response = content(&[(ETAG, b"tag")], &[0; 100]);
    let proven = Sender::Proven(lamp.clone());
    let groups = [address(201), address(202)];
    let heard = Heard {
        response: &response,
        path: &path(address(1)),
        sender: &Sender::Unauthenticated,
        through: None,
        asked: 0,
        made_since: None,
    };
    let of_address = Responder::Address(address(1));
    let place = size_of::<(Key, Entry)>();
    // Payload; entity tag and (empty) format; the path with number and length; the method and the length of no payload.
    let least = place + 100 + (3 + 12) + 12 + (2 + 4 + 3) + (1 + 4);
    assert_eq!(bytes(&get("abc"), of_address.clone(), &heard), least);
    assert_eq!(bytes(&get("abcd"), of_address.clone(), &heard), least + 1);
    let mut fetch = Request::new(Code::FETCH).path("abc");
    fetch.payload = vec![1; 9];
    assert_eq!(bytes(&fetch, of_address.clone(), &heard), least + 9);
    let from_lamp = Heard {
        sender: &proven,
        ..heard
    };
    assert_eq!(
        bytes(&get("abc"), of_address.clone(), &from_lamp),
        least + 4
    );
    let by_name = Responder::Proven(lamp);
    assert_eq!(bytes(&get("abc"), by_name, &from_lamp), least + 8);
    assert_eq!(bytes(&get("abc"), Responder::Peer, &from_lamp), least + 4);
    let through = Heard {
        through: Some((&groups, b"host")),
        ..heard
    };
    let more = 2 * size_of::<SocketAddr>() + 4;
    assert_eq!(bytes(&get("abc"), of_address, &through), least + more);
}

#[test]
fn the_default_limits_are_those_that_are_documented() {
    let config = CacheConfig::default();
    assert_eq!((config.entries, config.entries_per_responder), (1_024, 16));
    assert_eq!(config.bytes, 1_048_576);
    assert_eq!(config.bytes_per_responder, 65_536);
    assert_eq!(config.keep_for, Duration::from_secs(86_400));
    assert_eq!(config.tags, 4);
}

#[test]
fn in_a_full_cache_whoever_keeps_most_gives_way() {
    let full = || {
        let mut cache = Cache::with(|config| config.entries = 6);
        for m in 0..4 {
            cache.hear_from(at(0), &key(1, m), &content(&[], b"flood"));
        }
        cache.hear_from(at(0), &key(2, 0), &content(&[], b"x"));
        cache.hear_from(at(0), &key(3, 0), &content(&[], b"x"));
        assert_eq!((cache.len(), cache.counters.evicted), (6, 0));
        cache
    };
    // A newcomer takes from the largest.
    let mut cache = full();
    cache.hear_from(at(1), &key(4, 0), &content(&[], b"new"));
    assert!(cache.holds(&key(4, 0)) && !cache.holds(&key(1, 0)));
    assert!(cache.holds(&key(2, 0)) && cache.holds(&key(3, 0)));
    // The largest takes from itself.
    let mut cache = full();
    cache.hear_from(at(1), &key(1, 4), &content(&[], b"flood"));
    assert!(cache.holds(&key(1, 4)) && !cache.holds(&key(1, 0)));
    assert_eq!(cache.len(), 6);
    // Whoever would have as much takes from itself, so that nothing goes back and forth.
    let mut cache = full();
    cache.hear_from(at(1), &key(2, 1), &content(&[], b"x"));
    cache.hear_from(at(1), &key(3, 1), &content(&[], b"x"));
    let of = |cache: &Cache, n| (0..9).filter(|m| cache.holds(&key(n, *m))).count();
    assert_eq!([1, 2, 3].map(|n| of(&cache, n)), [2, 2, 2]);
    cache.hear_from(at(1), &key(3, 2), &content(&[], b"x"));
    assert_eq!([1, 2, 3].map(|n| of(&cache, n)), [2, 2, 2]);
    assert!(!cache.holds(&key(3, 0)));
    cache.check();
}

#[test]
fn newcomers_do_not_push_out_the_only_fresh_answer_of_anybody() {
    let mut cache = Cache::with(|config| config.entries = 3);
    for n in 1..=3 {
        let age = [10 * n];
        let age = [(MAX_AGE, age.as_slice())];
        cache.hear_from(at(0), &key(n, 0), &content(&age, b"x"));
    }
    cache.hear_from(at(10), &key(4, 0), &content(&[], b"new"));
    assert_eq!((cache.len(), cache.counters.refused), (3, 1));
    assert!(!cache.holds(&key(4, 0)));
    // One that is not fresh any more gives way.
    cache.hear_from(at(11), &key(4, 0), &content(&[], b"new"));
    assert!(cache.holds(&key(4, 0)) && !cache.holds(&key(1, 0)));
    assert_eq!(cache.counters.evicted, 1);
    // One that is kept longer than any is goes first, whoever has most.
    let mut cache = Cache::with(|config| {
        config.entries = 3;
        config.keep_for = Duration::from_secs(50);
    });
    cache.hear_from(at(0), &key(1, 0), &content(&[], b"x"));
    cache.hear_from(at(50), &key(2, 0), &content(&[], b"x"));
    cache.hear_from(at(50), &key(2, 1), &content(&[], b"x"));
    cache.hear_from(at(51), &key(2, 2), &content(&[], b"x"));
    assert!(!cache.holds(&key(1, 0)) && cache.holds(&key(2, 0)));
}

#[test]
fn in_ipv6_a_prefix_has_one_share() {
    let mut cache = Cache::with(|config| config.entries_per_responder = 2);
    for n in 1..=5 {
        let peer: SocketAddr = std::format!("[2001:db8::{n}]:5683").parse().unwrap();
        let key = key_of(&get("a"), Responder::Address(peer));
        cache.hear_from(at(0), &key, &content(&[], b"x"));
    }
    assert_eq!((cache.len(), cache.counters.evicted), (2, 3));
}

#[test]
fn what_is_being_validated_does_not_give_way() {
    let mut cache = Cache::with(|config| config.entries_per_responder = 1);
    let tagged = content(&[(ETAG, b"t"), (MAX_AGE, &[])], b"x");
    cache.hear_from(at(0), &key(1, 0), &tagged);
    let Found::Stale(tag) = cache.look_up(at(1), &key(1, 0)) else {
        panic!()
    };
    assert_eq!(tag, b"t");
    assert_eq!((cache.counters.stale, cache.counters.hits), (1, 0));
    cache.hear_from(at(1), &key(1, 1), &content(&[], b"y"));
    assert!(cache.holds(&key(1, 0)) && !cache.holds(&key(1, 1)));
    assert_eq!(cache.counters.refused, 1);
    // Twice looked up, twice released.
    assert!(matches!(cache.look_up(at(1), &key(1, 0)), Found::Stale(_)));
    cache.release(&key(1, 0));
    cache.hear_from(at(1), &key(1, 1), &content(&[], b"y"));
    assert!(cache.holds(&key(1, 0)));
    cache.release(&key(1, 0));
    cache.hear_from(at(1), &key(1, 1), &content(&[], b"y"));
    assert!(!cache.holds(&key(1, 0)) && cache.holds(&key(1, 1)));
    cache.release(&key(1, 0)); // nothing there: nothing happens
}

#[test]
fn without_a_tag_or_kept_too_long_there_is_nothing_to_validate() {
    let mut cache = Cache::with(|config| config.keep_for = Duration::from_secs(100));
    cache.hear_from(at(0), &key(1, 0), &content(&[], b"x"));
    cache.hear_from(at(0), &key(1, 1), &content(&[(ETAG, b"t")], b"x"));
    assert!(matches!(cache.look_up(at(60), &key(1, 1)), Found::Fresh(_)));
    assert!(matches!(cache.look_up(at(61), &key(1, 0)), Found::Nothing));
    assert!(matches!(cache.look_up(at(61), &key(1, 9)), Found::Nothing));
    assert_eq!(cache.counters.stale, 1, "of which there was something");
    assert!(matches!(
        cache.look_up(at(100), &key(1, 1)),
        Found::Stale(_)
    ));
    assert!(matches!(cache.look_up(at(101), &key(1, 1)), Found::Nothing));
    cache.clear();
    assert_eq!(cache.len(), 0);
    cache.check();
}

#[test]
fn a_change_concerns_one_resource_of_one_server_whatever_was_asked_and_proven() {
    let mut cache = Cache::with(|_| {});
    let lamp = Sender::Proven(Identity(b"lamp".to_vec()));
    let bell = Sender::Proven(Identity(b"bell".to_vec()));
    let hear = |cache: &mut Cache, key: &Key, peer, sender: &Sender| {
        let response = content(&[(ETAG, b"t")], b"x");
        let heard = Heard {
            response: &response,
            path: &path(peer),
            sender,
            through: None,
            asked: cache.moment(),
            made_since: None,
        };
        cache.hear(at(0), key.clone(), &heard);
    };
    let keys = [
        key_of(&get("a"), Responder::Address(address(1))),
        key_of(&get("a").query("q"), Responder::Address(address(1))),
        key_of(
            &get("a").option(OptionNumber::ACCEPT, b""),
            Responder::Address(address(1)),
        ),
        key_of(&get("a"), Responder::Address(address(2))),
        key_of(&get("a"), Responder::Proven(Identity(b"lamp".to_vec()))),
        key_of(&get("a"), Responder::Proven(Identity(b"bell".to_vec()))),
    ];
    let fill = |cache: &mut Cache| {
        for (n, key) in keys.iter().enumerate() {
            let (peer, sender) = match n {
                0..=2 => (address(1), &Sender::Unauthenticated),
                3 => (address(2), &Sender::Unauthenticated),
                4 => (address(4), &lamp),
                _ => (address(5), &bell),
            };
            hear(cache, key, peer, sender);
        }
    };
    let fresh = |cache: &Cache| {
        let is_fresh = |key| cache.entries[key].is_fresh(at(1));
        keys.iter().map(is_fresh).collect::<Vec<_>>()
    };
    let resource = ResourcePath::of(&get("a").options);
    fill(&mut cache);
    cache.changed(
        at(1),
        &resource,
        &path(address(1)),
        &Sender::Unauthenticated,
    );
    assert_eq!(fresh(&cache), [false, true, false, true, true, true]);
    assert_eq!(cache.counters.invalidated, 2);
    cache.changed(
        at(1),
        &resource,
        &path(address(1)),
        &Sender::Unauthenticated,
    );
    assert_eq!(
        cache.counters.invalidated, 2,
        "they were not fresh any more"
    );
    fill(&mut cache);
    cache.changed(at(1), &resource, &path(address(77)), &lamp);
    assert_eq!(
        fresh(&cache),
        [true, true, true, true, false, true],
        "from another address"
    );
    fill(&mut cache);
    cache.changed(at(1), &resource, &path(address(5)), &lamp);
    assert_eq!(
        fresh(&cache),
        [true, true, true, true, false, false],
        "by its address too"
    );
    // It is outdated, not forgotten: a 2.03 makes it fresh again.
    assert_eq!(cache.len(), 6);
    let mut valid = Response::new(Code::VALID);
    valid.options.push(ETAG, b"t");
    assert!(cache.confirm(at(1), &keys[4], &valid).is_some());
    assert!(fresh(&cache)[4]);
}

#[test]
fn what_is_not_kept_of_one_server_concerns_no_other_and_no_other_resource() {
    let mut cache = Cache::with(|_| {});
    let asked = cache.moment();
    let fresh = |cache: &mut Cache, key: Key| {
        let response = content(&[(ETAG, b"t")], b"x");
        let heard = Heard {
            response: &response,
            path: &path(address(1)),
            sender: &Sender::Unauthenticated,
            through: None,
            asked,
            made_since: None,
        };
        cache.hear(at(0), key.clone(), &heard);
        cache.entries[&key].is_fresh(at(0))
    };
    for m in 0..100 {
        let refused = Response::new(Code::NOT_FOUND);
        cache.hear_from(at(0), &key(1, m), &refused);
    }
    let revoked = content(&[(MAX_AGE, &[])], b"x");
    cache.hear_from(at(0), &key(2, 7), &revoked);
    // Of requests that left before:
    assert!(!fresh(&mut cache, key(1, 0)));
    assert!(!fresh(&mut cache, key(1, 99)));
    assert!(!fresh(&mut cache, key(2, 7)));
    assert!(fresh(&mut cache, key(1, 100)), "another resource");
    assert!(fresh(&mut cache, key(2, 0)), "another server");
    assert!(fresh(&mut cache, key(3, 7)), "another server");
    assert_eq!(cache.counters.invalidated, 3);
    // A change concerns all of them.
    let resource = ResourcePath::of(&get("q8").options);
    cache.changed(
        at(0),
        &resource,
        &path(address(9)),
        &Sender::Unauthenticated,
    );
    assert!(!fresh(&mut cache, key(3, 8)));
    assert!(fresh(&mut cache, key(3, 9)));
}

#[test]
fn the_tables_hold_through_whatever_happens() {
    let mut rng = Rng::from_seed([7; 32]);
    let mut cache = Cache::with(|config| {
        config.entries = 20;
        config.entries_per_responder = 6;
        config.bytes = 20_000;
        config.bytes_per_responder = 5_000;
        config.keep_for = Duration::from_secs(300);
    });
    let mut now = at(0);
    for _ in 0..20_000 {
        let mut below = |n: u64| rng.up_to(n - 1);
        now = now + Duration::from_millis(below(2_000));
        let key = key(below(12) as u8, below(5) as usize);
        let tag = [below(3) as u8];
        let age = [below(90) as u8];
        let options = [(ETAG, tag.as_slice()), (MAX_AGE, age.as_slice())];
        let some = below(3) as usize;
        let length = below(2_500) as usize;
        let response = content(options.get(some..).unwrap_or_default(), &vec![0; length]);
        match below(7) {
            0..=2 => cache.hear_from(now, &key, &response),
            3 => drop(cache.look_up(now, &key)),
            4 => cache.release(&key),
            5 => {
                let mut valid = Response::new(Code::VALID);
                valid.options.push(ETAG, &tag);
                cache.confirm(now, &key, &valid);
            }
            _ => cache.changed(
                now,
                &key.request.path,
                &path(address(1)),
                &Sender::Unauthenticated,
            ),
        }
        cache.check();
    }
    let CacheCounters {
        hits,
        stale,
        validated,
        evicted,
        refused,
        invalidated,
        duplicated,
    } = cache.counters;
    for count in [
        hits,
        stale,
        validated,
        evicted,
        refused,
        invalidated,
        duplicated,
    ] {
        assert!(count > 0, "{:?}", cache.counters);
    }
}
