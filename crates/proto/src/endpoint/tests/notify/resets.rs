//! The first answer to a registration is a notification like any other: a Reset of it ends the observation.

use super::deferred::{add_deferred, asks_deferred};
use super::*;

impl Observed {
    /// A client registers Non-confirmably, through the group or in person: the first answer.
    fn registers(&mut self, to_group: bool) -> Note {
        let mut notes = self.ask(to_group, client(1), Type::Non, b"t", Some(REGISTER));
        notes.extend(self.pass(LEISURE));
        let note = only(&notes).clone();
        assert_eq!((note.kind, self.observers()), (Type::Non, 1));
        note
    }
}

#[test]
fn a_reset_of_the_first_answer_ends_the_observation() {
    for to_group in [false, true] {
        let mut o = observed();
        let first = o.registers(to_group);
        // By nobody else, and of nothing else.
        let other = Note {
            to: client(2),
            ..first.clone()
        };
        assert!(o.reply(Type::Rst, &other).is_empty());
        let other = Note {
            mid: first.mid.wrapping_add(1),
            ..first.clone()
        };
        assert!(o.reply(Type::Rst, &other).is_empty());
        assert_eq!((o.observers(), o.counters().reset), (1, 0));
        assert!(o.reply(Type::Rst, &first).is_empty());
        assert_eq!((o.observers(), o.counters().reset), (0, 1));
        assert!(o.change(1).is_empty());
        assert!(o.pass(LEISURE).is_empty());
    }
}

#[test]
fn after_a_notification_a_reset_of_the_first_answer_says_nothing_any_more() {
    let mut o = observed();
    let first = o.registers(false);
    o.bench.now = o.bench.now + SECOND;
    let notes = o.change(1);
    let second = only(&notes).clone();
    assert_ne!(first.mid, second.mid);
    o.reply(Type::Rst, &first);
    assert_eq!(o.observers(), 1);
    o.reply(Type::Rst, &second);
    assert_eq!(o.observers(), 0);
}

/// A client of a slow handler: the endpoint, and the separate, Confirmable first answer.
fn separately() -> (Observed, Note) {
    let mut o = observed();
    add_deferred(&mut o);
    asks_deferred(&mut o, client(1), true);
    let incoming = o.bench.request_event();
    let acknowledged = o.pass(SECOND);
    assert_eq!(only(&acknowledged).kind, Type::Ack);
    let said = Response::new(Code::CONTENT).with_payload(ContentFormat::TEXT, b"late".as_slice());
    o.bench.endpoint.respond(o.bench.now, incoming, said);
    let notes = o.sent();
    let first = only(&notes).clone();
    assert_eq!((first.kind, first.payload.as_str()), (Type::Con, "late"));
    assert_eq!(o.bench.endpoint.load().observers, 1);
    (o, first)
}

#[test]
fn a_separate_first_answer_is_acknowledged_or_there_is_no_observation() {
    let (mut o, first) = separately();
    o.reply(Type::Ack, &first);
    o.pass(Duration::from_secs(200));
    assert_eq!(o.bench.endpoint.load().observers, 1);

    let (mut o, first) = separately();
    o.reply(Type::Rst, &first);
    assert_eq!(o.bench.endpoint.load().observers, 0);
    assert_eq!((o.counters().reset, o.counters().unanswered), (1, 0));

    let (mut o, _) = separately();
    let repeated = o.run(Duration::from_secs(200));
    assert!(repeated.len() >= 4, "{}", repeated.len());
    assert_eq!(o.bench.endpoint.load().observers, 0);
    assert_eq!((o.counters().reset, o.counters().unanswered), (0, 1));
}
