//! What an answer takes over from the one that it replaces, and what it counts.

use super::*;

const GROUPS: usize = 2;

fn groups() -> [SocketAddr; GROUPS] {
    [1, 2].map(|n| ([224, 0, 1, n], 5683).into())
}

impl Cache {
    fn hear_through(&mut self, key: &Key, response: &Response, groups: &[SocketAddr]) {
        let through = (!groups.is_empty()).then_some((groups, b"host".as_slice()));
        let heard = Heard {
            response,
            path: &path(address(1)),
            sender: &Sender::Unauthenticated,
            through,
            asked: self.moment(),
            made_since: None,
        };
        self.hear(at(0), key.clone(), &heard);
        self.check();
    }

    fn bytes_of(&self, key: &Key) -> usize {
        self.entries[key].bytes
    }
}

#[test]
fn an_answer_in_person_still_stands_for_the_groups_that_the_one_before_came_through() {
    let mut cache = Cache::with(|_| {});
    let (key, groups) = (key(1, 0), groups());
    let tagged = content(&[(ETAG, b"t")], b"0123456789");
    cache.hear_through(&key, &tagged, &[]);
    let alone = cache.bytes_of(&key);
    assert!(!cache.entries[&key].came_through(&groups));
    cache.hear_through(&key, &tagged, &groups);
    let through = cache.bytes_of(&key);
    assert_eq!(through - alone, GROUPS * size_of::<SocketAddr>() + 4);
    // Two bytes longer, in person.
    let longer = content(&[(ETAG, b"u")], b"0123456789ab");
    cache.hear_through(&key, &longer, &[]);
    assert!(cache.entries[&key].came_through(&groups));
    assert_eq!(cache.entries[&key].authority, b"host");
    assert_eq!(cache.bytes_of(&key), through + 2);
    // Through one group, it is that.
    cache.hear_through(&key, &longer, &groups[..1]);
    assert!(cache.entries[&key].came_through(&groups[..1]));
    assert!(!cache.entries[&key].came_through(&groups[1..]));
    let less = size_of::<SocketAddr>();
    assert_eq!(cache.bytes_of(&key), through + 2 - less);
}

#[test]
fn what_is_being_validated_is_so_after_it_was_replaced() {
    let mut cache = Cache::with(|config| config.entries_per_responder = 1);
    let tagged = content(&[(ETAG, b"t"), (MAX_AGE, &[])], b"x");
    cache.hear_from(at(0), &key(1, 0), &tagged);
    assert!(matches!(cache.look_up(at(1), &key(1, 0)), Found::Stale(_)));
    cache.hear_from(at(1), &key(1, 0), &tagged);
    cache.hear_from(at(1), &key(1, 1), &tagged);
    assert!(cache.holds(&key(1, 0)), "does not give way");
    cache.release(&key(1, 0));
    cache.hear_from(at(1), &key(1, 1), &tagged);
    assert!(!cache.holds(&key(1, 0)));
}

#[test]
fn a_tag_that_others_use_is_known_to_be_such_until_it_is_another_one() {
    let mut cache = Cache::with(|_| {});
    let ask = get("a");
    let of = |n| key_of(&ask, Responder::Address(address(n)));
    let tagged = |tag: &[u8]| content(&[(ETAG, tag)], b"x");
    for n in 1..=2 {
        cache.hear_from(at(0), &of(n), &tagged(b"t"));
    }
    assert_eq!(cache.counters.duplicated, 2);
    assert!(cache.entries[&of(1)].is_duplicated());
    // The other one is gone; it was used by two all the same.
    cache.hear_from(at(0), &of(2), &tagged(b"other"));
    cache.hear_from(at(0), &of(1), &tagged(b"t"));
    assert!(cache.entries[&of(1)].is_duplicated());
    assert!(!cache.entries[&of(2)].is_duplicated());
    cache.hear_from(at(0), &of(1), &tagged(b"own"));
    assert!(!cache.entries[&of(1)].is_duplicated());
}

#[test]
fn a_collision_marks_the_tag_it_names_and_no_other() {
    let mut cache = Cache::with(|_| {});
    let ask = get("a");
    let of = |request: &Request, n| key_of(request, Responder::Address(address(n)));
    for (n, tag) in [(1, b"t"), (2, b"u")] {
        cache.hear_from(at(0), &of(&ask, n), &content(&[(ETAG, tag)], b"x"));
    }
    // The same tag for another request, which the order of keys has behind the first.
    let other = get("b");
    cache.hear_from(at(0), &of(&other, 1), &content(&[(ETAG, b"t")], b"x"));
    let request = RequestKey::of_unicast(&ask).unwrap();
    cache.collided(&request, Context::Open, b"t");
    let marked =
        [of(&ask, 1), of(&ask, 2), of(&other, 1)].map(|key| cache.entries[&key].is_duplicated());
    assert_eq!(marked, [true, false, false]);
    assert_eq!(cache.counters.duplicated, 1);
    let found: Vec<_> = cache.of_request(&request, Context::Open).collect();
    assert_eq!(found.len(), 2, "of this request");
}

#[test]
fn what_was_looked_up_last_gives_way_last() {
    let mut cache = Cache::with(|config| config.entries_per_responder = 2);
    for m in 0..2 {
        cache.hear_from(at(0), &key(1, m), &content(&[], b"x"));
    }
    for m in [1, 0] {
        assert!(matches!(cache.look_up(at(0), &key(1, m)), Found::Fresh(_)));
    }
    cache.hear_from(at(0), &key(1, 2), &content(&[], b"x"));
    let held = [0, 1, 2].map(|m| cache.holds(&key(1, m)));
    assert_eq!(held, [true, false, true]);
}

#[test]
fn of_the_answers_to_one_question_the_first_gives_way_first() {
    let mut cache = Cache::with(|config| config.entries_per_responder = 2);
    let asked = cache.moment();
    // Not in the order of their keys.
    for m in [2, 1, 3] {
        let response = content(&[], b"x");
        let heard = Heard {
            response: &response,
            path: &path(address(1)),
            sender: &Sender::Unauthenticated,
            through: None,
            asked,
            made_since: None,
        };
        cache.hear(at(0), key(1, m), &heard);
    }
    let held = [1, 2, 3].map(|m| cache.holds(&key(1, m)));
    assert_eq!(held, [true, false, true]);
}

#[test]
fn a_confirmation_counts_unless_what_is_kept_answers_a_newer_request() {
    for (later, fresh) in [(0, true), (1, false)] {
        let mut cache = Cache::with(|_| {});
        let tagged = content(&[(ETAG, b"t"), (MAX_AGE, &[10])], b"x");
        let asked = cache.moment();
        let response = tagged.clone();
        let heard = Heard {
            response: &response,
            path: &path(address(1)),
            sender: &Sender::Unauthenticated,
            through: None,
            asked: asked + later,
            made_since: None,
        };
        cache.hear(at(0), key(1, 0), &heard);
        let mut valid = Response::new(Code::VALID);
        valid.options.push(ETAG, b"t");
        valid.options.push(MAX_AGE, &[10]);
        assert!(cache.validated(at(8), &key(1, 0), &valid, asked).is_some());
        assert!(cache.take_fresh(at(10), &key(1, 0)).is_some());
        assert_eq!(
            cache.take_fresh(at(18), &key(1, 0)).is_some(),
            fresh,
            "{later}"
        );
        assert!(cache.take_fresh(at(19), &key(1, 0)).is_none());
    }
}

#[test]
fn an_answer_may_be_as_large_as_all_that_a_responder_may_have() {
    let answer = content(&[], b"0123456789");
    let mut cache = Cache::with(|_| {});
    cache.hear_from(at(0), &key(1, 0), &answer);
    let bytes = cache.bytes_of(&key(1, 0));
    for (own, all, kept) in [
        (bytes, 2 * bytes, true),
        (bytes - 1, 2 * bytes, false),
        (2 * bytes, bytes, true),
        (2 * bytes, bytes - 1, false),
    ] {
        let mut cache = Cache::with(|config| {
            (config.bytes_per_responder, config.bytes) = (own, all);
        });
        cache.hear_from(at(0), &key(1, 0), &answer);
        assert_eq!(cache.holds(&key(1, 0)), kept, "{own} {all}");
        assert_eq!(cache.counters.refused, u64::from(!kept));
    }
}

#[test]
fn what_was_created_is_named_by_path_and_query() {
    let mut created = Response::new(Code::CREATED);
    created.options.push(OptionNumber::LOCATION_PATH, b"new");
    created.options.push(OptionNumber::LOCATION_QUERY, b"a=1");
    let of = |request: Request| ResourcePath::of(&request.options);
    let location = ResourcePath::created(&created).unwrap();
    assert_eq!(location, of(get("new").query("a=1")));
    assert_ne!(location, of(get("new")));
    let without = Response::new(Code::CREATED);
    assert_eq!(ResourcePath::created(&without), None);
}

#[test]
fn a_late_notification_without_a_tag_takes_a_place_only_if_it_has_one() {
    let told = |cache: &mut Cache, key: &Key, options: &[(OptionNumber, &[u8])]| {
        let response = content(options, b"told");
        let heard = Heard {
            response: &response,
            path: &path(address(1)),
            sender: &Sender::Unauthenticated,
            through: None,
            asked: cache.moment(),
            made_since: Some(at(0)),
        };
        cache.hear(at(1), key.clone(), &heard);
        cache.check();
    };
    let mut cache = Cache::with(|config| config.entries_per_responder = 1);
    for m in 0..=1 {
        let resource = &key(1, m).request.path;
        let whoever = Sender::Unauthenticated;
        cache.changed(at(0), resource, &path(address(9)), &whoever);
    }
    cache.hear_from(at(0), &key(1, 0), &content(&[], b"fresh"));
    told(&mut cache, &key(1, 1), &[]);
    assert!(cache.holds(&key(1, 0)), "does not give way");
    assert!(!cache.holds(&key(1, 1)));
    // With a tag it can be validated.
    told(&mut cache, &key(1, 1), &[(ETAG, b"t")]);
    assert!(cache.holds(&key(1, 1)) && !cache.holds(&key(1, 0)));
    // Where something is, the next notification refreshes it.
    told(&mut cache, &key(1, 1), &[]);
    assert!(cache.holds(&key(1, 1)) && cache.tag(&key(1, 1)).is_none());
}
