//! When it was asked: answers that were on their way while something changed, those that were overtaken, and those that
//! are not admitted.

use super::*;
use crate::collection::Repeat;

const TAG: (OptionNumber, &[u8]) = (ETAG, b"t");

impl Client {
    fn command(&mut self, to: u8) -> CollectionId {
        self.start(GroupRequest {
            request: Request::new(Code::PUT).path("status"),
            targets: Vec::from([target(to)]),
            ..get()
        })
    }

    /// What a question gets from the cache while nobody answers, and the entity tags that it carries.
    fn known(&mut self) -> (Vec<String>, usize) {
        let id = self.start(kept(get_from(1)));
        let sent = self.sent.last().unwrap().bytes.clone();
        let message = Message::parse(&sent).unwrap();
        let tags = message.options().filter(|o| o.number == ETAG).count();
        let end = self.now.since(Instant::ZERO) + secs(10);
        self.run_until(end);
        let texts = self.delivered(id).iter().map(|a| a.1.into()).collect();
        (texts, tags)
    }

    fn says(&mut self, id: CollectionId, text: &str) {
        let verdict = self.answer_with(id, host(1), Code::CONTENT, &[TAG], text);
        assert_eq!(verdict, Verdict::Delivered);
    }
}

fn known(texts: &[&str], tags: usize) -> (Vec<String>, usize) {
    (texts.iter().map(|text| String::from(*text)).collect(), tags)
}

#[test]
fn an_answer_that_was_on_its_way_while_a_command_left_is_kept_as_not_fresh() {
    let mut client = Client::fast();
    let asked = client.start(kept(get_from(1)));
    client.run_until(secs(1));
    client.command(1); // nobody answers it, as usual
    client.run_until(secs(4));
    client.says(asked, "before");
    assert_eq!(client.delivered(asked)[0].1, "before", "it is an answer");
    assert_eq!(client.counters().invalidated, 1);
    client.run_until(secs(5));
    assert_eq!(client.known(), known(&[], 1), "to be validated only");
    // One that is asked right after the command is fresh.
    client.command(1);
    client.run_until(secs(15) + millis(1));
    let asked = client.start(kept(get_from(1)));
    client.says(asked, "after");
    assert_eq!(client.known(), known(&["after"], 0));
    // What cannot be validated is not kept at all.
    let asked = client.start(kept(get_from(1)));
    client.command(1);
    client.answer(asked, host(1), "before");
    assert_eq!(client.collections.cache().len(), 0);
    // Another resource is another matter.
    let asked = client.start(kept(get_from(1)));
    client.start(accepted(put()));
    client.says(asked, "untouched");
    assert_eq!(client.known(), known(&["untouched"], 0));
}

#[test]
fn each_time_that_a_command_leaves_it_may_take_effect() {
    let fresh_if_asked_at = |at: Duration, said_at: Duration| {
        let mut client = Client::fast();
        let early = kept(get_from(1));
        client.ask(early, &[]); // from now on changes count
        let command = GroupRequest {
            repeat: Repeat::NewMessageId(1),
            ..accepted(Request::new(Code::PUT).path("status"))
        };
        let began = client.now.since(Instant::ZERO);
        let sent = client.sent.len();
        client.start(command);
        client.run_until(began + at);
        let asked = client.start(kept(get_from(1)));
        client.run_until(began + said_at);
        client.says(asked, "x");
        let commands = client.sent[sent..].iter();
        let commands = commands
            .filter(|sent| sent.message().code() == Code::PUT)
            .count();
        (commands, client.known().0.len())
    };
    let between = fresh_if_asked_at(millis(1), millis(2));
    assert_eq!(between, (1, 0), "the repeat outdates what is kept");
    let around = fresh_if_asked_at(millis(1), secs(9));
    assert_eq!(around, (2, 0), "and what is on its way");
    let after = fresh_if_asked_at(secs(9), secs(9));
    assert_eq!(after, (2, 1));
}

#[test]
fn a_command_outdates_through_whatever_group_its_members_have_answered() {
    let mut client = Client::fast();
    client.ask(kept(get_from(1)), &[(1, "through the first group")]);
    client.command(2);
    assert_eq!(client.counters().invalidated, 1);
    assert_eq!(client.known(), known(&[], 0));
}

#[test]
fn an_answer_to_an_older_question_does_not_replace_that_to_a_newer() {
    let mut client = Client::fast();
    let older = client.start(kept(get_from(1)));
    let newer = client.start(kept(get_from(1)));
    client.says(newer, "newer");
    client.says(older, "older");
    assert_eq!(client.known(), known(&["newer"], 0));
    // To the same question the last one counts, and so does that to the newer question if it comes last.
    let older = client.start(kept(get_from(1)));
    let newer = client.start(kept(get_from(2)));
    client.says(older, "older");
    client.says(newer, "first");
    client.says(newer, "second");
    assert_eq!(client.known(), known(&["second"], 0));
}

#[test]
fn where_nothing_is_left_of_a_newer_answer_an_older_one_is_not_fresh() {
    for newer_says in [
        (Code::NOT_FOUND, [TAG, (MAX_AGE, &[9])]),
        (Code::CONTENT, [(MAX_AGE, &[]), (OptionNumber::SIZE2, &[9])]),
    ] {
        let mut client = Client::fast();
        client.ask(kept(get_from(1)), &[(1, "kept")]);
        let older = client.start(kept(get_from(1)));
        let newer = client.start(kept(get_from(1)));
        let (code, options) = newer_says;
        client.answer_with(newer, host(1), code, &options, "");
        assert_eq!(client.collections.cache().len(), 0);
        client.says(older, "older");
        assert_eq!(client.known(), known(&[], 1));
        let newest = client.start(kept(get_from(1)));
        client.says(newest, "newest");
        assert_eq!(client.known(), known(&["newest"], 0));
    }
}

#[test]
fn a_confirmation_that_was_asked_for_before_a_change_makes_nothing_fresh() {
    let valid: [(OptionNumber, &[u8]); 2] = [TAG, (MAX_AGE, &[50])];
    let mut client = Client::fast();
    let first = client.start(kept(get_from(1)));
    client.says(first, "a");
    client.command(1);
    let validating = client.start(kept(get_from(1)));
    client.command(1);
    let verdict = client.answer_with(validating, host(1), Code::VALID, &valid, "");
    assert_eq!(verdict, Verdict::Delivered);
    let [(_, text, How::Multicast, Some(0))] = client.delivered(validating)[..] else {
        panic!("{:?}", client.delivered(validating))
    };
    assert_eq!(text, "a");
    assert_eq!(client.counters().validated, 1);
    assert_eq!(client.known(), known(&[], 1));
    // Asked for after it, it does.
    let validating = client.start(kept(get_from(1)));
    client.answer_with(validating, host(1), Code::VALID, &valid, "");
    assert_eq!(client.delivered(validating)[0].3, Some(50));
    assert_eq!(client.known(), known(&["a"], 0));
}

#[test]
fn a_confirmation_to_an_older_question_leaves_a_newer_answer_as_it_is() {
    let mut client = Client::fast();
    let first = client.start(kept(get_from(1)));
    client.says(first, "a");
    client.command(1);
    let older = client.start(kept(get_from(1)));
    let newer = client.start(kept(get_from(1)));
    let options = [TAG, (MAX_AGE, [7].as_slice())];
    client.answer_with(newer, host(1), Code::CONTENT, &options, "b");
    let valid = [TAG, (MAX_AGE, [200].as_slice())];
    client.answer_with(older, host(1), Code::VALID, &valid, "");
    let delivered = client.delivered(older);
    assert_eq!((delivered[0].1, delivered[0].3), ("b", Some(7)));
    client.run_until(secs(8));
    let asked = client.start(alone(get_from(1)));
    assert!(!client.is_ended(asked), "7 s, not 200");
}

#[test]
fn an_answer_that_the_limits_refuse_is_not_kept() {
    let limited = |change: fn(&mut crate::collection::AnswerLimits)| {
        let mut request = kept(get_from(2));
        change(&mut request.limits);
        request
    };
    // One of each responder: the second one is not delivered, and does not take the place of the first.
    let mut client = Client::fast();
    let id = client.start(limited(|limits| limits.per_responder = 1));
    client.says(id, "first");
    let second = client.answer_with(id, host(1), Code::CONTENT, &[TAG], "second");
    assert_eq!(second, Verdict::Dropped);
    assert_eq!(client.known(), known(&["first"], 0));
    // A confirmation beyond the limit does not make it fresh again.
    client.run_until(secs(61));
    let id = client.start(limited(|limits| limits.per_responder = 1));
    let options = [(ETAG, b"u".as_slice()), (MAX_AGE, &[])];
    client.answer_with(id, host(1), Code::CONTENT, &options, "new");
    let valid = [(ETAG, b"u".as_slice()), (MAX_AGE, &[200])];
    let beyond = client.answer_with(id, host(1), Code::VALID, &valid, "");
    assert_eq!(beyond, Verdict::Dropped);
    assert_eq!(client.counters().validated, 0);
    assert_eq!(client.known(), known(&[], 1));
    // Strangers for whom there is no room.
    let mut client = Client::fast();
    let id = client.start(limited(|limits| limits.unexpected = 1));
    for n in [7, 8] {
        client.answer(id, host(n), "x");
    }
    assert_eq!(client.collections.cache().len(), 1);
    // Events that nobody fetches.
    let mut client = Client::with(|config| config.events = 0);
    let id = client.start(kept(get_from(1)));
    let unfetched = client.answer_with(id, host(1), Code::CONTENT, &[TAG], "x");
    assert_eq!(unfetched, Verdict::Dropped);
    assert_eq!(client.collections.cache().len(), 0);
}

#[test]
fn a_change_that_the_limits_refuse_to_tell_is_noted_all_the_same() {
    let mut client = Client::fast();
    client.ask(kept(get_from(2)), &[(1, "a"), (2, "b")]);
    let elsewhere = GroupRequest {
        request: Request::new(Code::POST).path("other"),
        idempotent: true,
        limits: crate::collection::AnswerLimits {
            unexpected: 0,
            ..Default::default()
        },
        ..get()
    };
    let id = client.start(elsewhere);
    let location = [(OptionNumber::LOCATION_PATH, b"status".as_slice())];
    let refused = client.answer_with(id, host(1), Code::CREATED, &location, "");
    assert_eq!(refused, Verdict::Dropped);
    assert_eq!(client.counters().invalidated, 1);
}
