//! What whoever manages a group is told, and how often strangers can make it be told.

use core::num::NonZeroU32;

use super::floor::*;

const PERIOD: Duration = Duration::from_secs(600);

fn times(count: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(count)
}

/// Five of each kind are enough.
fn attentive() -> Settings {
    Settings {
        upkeep: UpkeepSettings {
            tell_deleted: true,
            idle: None,
            recheck_after: times(5),
            keys_after: times(5),
            again_after: PERIOD,
        },
        ..Settings::default()
    }
}

fn only(upkeep: UpkeepSettings) -> Settings {
    Settings {
        upkeep,
        ..Settings::default()
    }
}

/// Everything that a member has to tell.
fn news(one: &mut One) -> Vec<GroupEvent> {
    let group = one.group;
    let mut news = Vec::new();
    while let Some((id, event)) = one.contexts.poll_event() {
        assert_eq!(id, group);
        news.push(event);
    }
    news
}

/// Messages of one member that do not verify, each another one.
struct Junk {
    message_id: u16,
    to: To,
}

impl Junk {
    fn by_group() -> Junk {
        Junk {
            message_id: 100,
            to: To::Group,
        }
    }

    /// So many of them at the server, member 1.
    fn send(&mut self, floor: &mut Floor, from: usize, count: usize) {
        for _ in 0..count {
            self.message_id += 1;
            let (mut bytes, _) = floor.ask(from, self.to, &get(self.message_id, &[1], "temp"));
            *bytes.last_mut().unwrap() ^= 1;
            assert_eq!(floor.hear(1, &bytes).unwrap_err(), Reason::NotVerified);
        }
    }
}

const KEYS: GroupEvent = GroupEvent::Wanted(Wanted::CurrentKeys);

fn credential_of(member: usize) -> GroupEvent {
    GroupEvent::Wanted(Wanted::Credential(kid(member)))
}

// Covers: GO-14.5.2-01
#[test]
fn messages_that_cannot_be_opened_ask_once_for_current_keys() {
    let settings = UpkeepSettings {
        recheck_after: None,
        ..attentive().upkeep
    };
    for to in [To::Group, To::Member(kid(1))] {
        let mut floor = Floor::with(3, Suite::default(), only(settings));
        let mut junk = Junk { message_id: 0, to };
        junk.send(&mut floor, 0, 4);
        assert_eq!(news(&mut floor.members[1]), []);
        junk.send(&mut floor, 0, 1);
        assert_eq!(news(&mut floor.members[1]), [KEYS]);
        assert_eq!(floor.members[1].group().undecryptable(), 5);
        junk.send(&mut floor, 2, 40);
        assert_eq!(news(&mut floor.members[1]), [], "once, whoever goes on");
    }
}

#[test]
fn what_verifies_in_between_begins_the_count_anew() {
    let mut floor = Floor::with(3, Suite::default(), attentive());
    let mut junk = Junk::by_group();
    for round in 0..4 {
        junk.send(&mut floor, 0, 4);
        let (bytes, _) = floor.ask(0, To::Group, &get(round, &[2], "temp"));
        floor.hear(1, &bytes).unwrap();
    }
    assert_eq!(news(&mut floor.members[1]), []);
    junk.send(&mut floor, 0, 5);
    let told = news(&mut floor.members[1]);
    assert_eq!(told, [KEYS, credential_of(0)]);
}

/// Whoever sends junk can make this member ask once in the period and not more often, whatever it does.
#[test]
fn threat_floods_of_junk_ask_once_in_each_period() {
    let mut floor = Floor::with(4, Suite::default(), attentive());
    let mut junk = Junk::by_group();
    let start = floor.members[1].now;
    let mut told = Vec::new();
    for tenth in 0..30 {
        floor.members[1].now = start + PERIOD * tenth / 10;
        // Under every name there is, with genuine messages in between to begin the counts anew.
        for from in [0, 2, 3] {
            junk.send(&mut floor, from, 6);
            let plain = get(tenth as u16 * 8 + from as u16, &[2], "temp");
            let (bytes, _) = floor.ask(from, To::Group, &plain);
            floor.hear(1, &bytes).unwrap();
        }
        told.push(news(&mut floor.members[1]));
    }
    let at: Vec<usize> = (0..30).filter(|tenth| !told[*tenth].is_empty()).collect();
    assert_eq!(at, [0, 10, 20]);
    for tenth in at {
        assert_eq!(told[tenth], [KEYS, credential_of(0)]);
    }
}

#[test]
fn unknown_gids_ask_once_for_the_keys_of_each_group() {
    let mut floor = Floor::with(2, Suite::default(), attentive());
    let mut others = parameters(b"Tal", 2, Suite::default());
    others.master_secret = Secret::copy_of(&[1; 16]);
    let asker = Group::new("lights", others, Some(own(0)), Settings::default(), None);
    let mut contexts = Contexts::new();
    let group = contexts.add_group(asker.unwrap());
    let mut asker = One {
        contexts,
        group,
        key: key(0),
        now: seconds(1000),
    };
    let mut hear = |floor: &mut Floor, count: usize| {
        for at in 0..count {
            let (bytes, _) = asker
                .try_ask(To::Group, &get(at as u16, &[1], "temp"))
                .unwrap();
            assert_eq!(floor.hear(1, &bytes).unwrap_err(), Reason::NoContext);
        }
    };
    hear(&mut floor, 4);
    assert_eq!(news(&mut floor.members[1]), []);
    hear(&mut floor, 1);
    assert_eq!(news(&mut floor.members[1]), [KEYS]);
    hear(&mut floor, 20);
    assert_eq!(news(&mut floor.members[1]), []);
    floor.members[1].now += PERIOD - Duration::from_nanos(1);
    hear(&mut floor, 1);
    assert_eq!(news(&mut floor.members[1]), []);
    floor.members[1].now += Duration::from_nanos(1);
    hear(&mut floor, 1);
    assert_eq!(news(&mut floor.members[1]), [KEYS]);
}

// Covers: GO-2.6.3-02
#[test]
fn failures_of_one_sender_id_ask_once_for_its_credential_and_who_is_idle_goes() {
    let settings = UpkeepSettings {
        keys_after: None,
        idle: Some(seconds(3600)),
        ..attentive().upkeep
    };
    let mut floor = Floor::with(3, Suite::default(), only(settings));
    let mut junk = Junk::by_group();
    junk.send(&mut floor, 0, 4);
    junk.send(&mut floor, 2, 4);
    assert_eq!(news(&mut floor.members[1]), [], "four of each");
    junk.send(&mut floor, 0, 1);
    assert_eq!(news(&mut floor.members[1]), [credential_of(0)]);
    junk.send(&mut floor, 0, 30);
    assert_eq!(news(&mut floor.members[1]), [], "once at five");
    // Whoever had to wait for the period to end is asked about at its next failure.
    junk.send(&mut floor, 2, 1);
    floor.members[1].now += PERIOD;
    assert_eq!(news(&mut floor.members[1]), []);
    junk.send(&mut floor, 2, 1);
    assert_eq!(news(&mut floor.members[1]), [credential_of(2)]);

    // Idle: counted from the first look, and anew with every message that verifies, not with junk.
    let mut floor = Floor::with(4, Suite::default(), only(settings));
    let server = &mut floor.members[1];
    let start = server.now;
    assert_eq!(server.contexts.next_timeout(), Some(Duration::ZERO));
    assert_eq!(server.contexts.take_idle(start), None);
    let due = start + seconds(3600);
    assert_eq!(server.contexts.next_timeout(), Some(due));
    server.now = start + seconds(10);
    let (bytes, _) = floor.ask(0, To::Group, &get(1, &[1], "temp"));
    floor.hear(1, &bytes).unwrap();
    junk.send(&mut floor, 2, 1);
    // A request to a member alone counts as well.
    floor.members[1].now = start + seconds(20);
    floor.ask(1, To::Member(kid(3)), &get(1, &[1], "temp"));
    let server = &mut floor.members[1];
    assert_eq!(
        server.contexts.take_idle(due - Duration::from_nanos(1)),
        None
    );
    let id = server.group;
    assert_eq!(server.contexts.take_idle(due), Some((id, kid(2))));
    assert!(server.group().remove_peer(kid(2)));
    assert_eq!(server.contexts.take_idle(due), None);
    for (later, member) in [(10, 0), (20, 3)] {
        let due = due + seconds(later);
        assert_eq!(server.contexts.next_timeout(), Some(due));
        assert_eq!(server.contexts.take_idle(due), Some((id, kid(member))));
        // Not given out twice at once, whether it is removed or not.
        assert_eq!(server.contexts.take_idle(due), None);
    }
    assert!(server.group().peer(kid(0)).is_some());
    let again = due + seconds(3610);
    assert_eq!(server.contexts.take_idle(again), Some((id, kid(0))));
}

#[test]
fn nobody_is_idle_unless_that_is_asked_for() {
    let mut floor = Floor::new(2, Suite::default());
    let server = &mut floor.members[1];
    assert_eq!(server.contexts.next_timeout(), None);
    assert_eq!(server.contexts.take_idle(Duration::MAX), None);
}

// Covers: GO-2.6.1.2-08
#[test]
fn a_deleted_recipient_context_is_told_once_if_somebody_wants_to_know() {
    let mut floor = Floor::with(3, Suite::default(), attentive());
    let server = &mut floor.members[1];
    assert!(server.group().remove_peer(kid(2)));
    assert!(!server.group().remove_peer(kid(2)), "there is none");
    assert_eq!(
        news(server),
        [GroupEvent::RecipientDeleted(kid(2))],
        "its Recipient ID, once"
    );
    // New keys leave it to be told; what was wanted is there.
    assert!(server.group().remove_peer(kid(0)));
    let stale = Stale::Replace(vec![(kid(0), credential(0))]);
    let fresh = parameters(b"New", 2, Suite::default());
    let prepared = server.group().prepare_install(fresh, None, stale, 1000);
    let now = server.now;
    server
        .group()
        .commit_install(prepared.unwrap(), now)
        .unwrap();
    assert_eq!(news(server), [GroupEvent::RecipientDeleted(kid(0))]);

    // Without the hook nothing is told and nothing fails.
    let mut floor = Floor::new(3, Suite::default());
    let server = &mut floor.members[1];
    assert!(server.group().remove_peer(kid(2)));
    assert_eq!(news(server), []);
    assert!(server.group().peer(kid(2)).is_none());
    let (bytes, _) = floor.ask(0, To::Group, &get(1, &[1], "temp"));
    assert!(floor.hear(1, &bytes).is_ok());
}

#[test]
fn a_context_that_goes_with_the_message_it_was_made_for_is_not_told() {
    let mut floor = Floor::with(3, Suite::default(), attentive());
    let server = &mut floor.members[1];
    assert!(server.group().remove_peer(kid(2)));
    news(server);
    server
        .group()
        .add_peer_on_reception(kid(2), credential(2))
        .unwrap();
    let (mut bytes, _) = floor.ask(2, To::Group, &get(1, &[1], "temp"));
    *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(floor.hear(1, &bytes).unwrap_err(), Reason::NotVerified);
    let server = &mut floor.members[1];
    assert!(server.group().peer(kid(2)).is_none());
    assert_eq!(news(server), []);
}

#[test]
fn news_that_nobody_takes_are_bounded() {
    let mut settings = attentive();
    settings.recipients = 100;
    for (recipients, kept) in [(100, 100), (10, 64)] {
        settings.recipients = recipients;
        let mut floor = Floor::with(3, Suite::default(), settings);
        let server = &mut floor.members[1];
        for _ in 0..500 {
            assert!(server.group().remove_peer(kid(2)));
            server.group().add_peer(kid(2), credential(2)).unwrap();
        }
        assert_eq!(news(server).len(), kept);
    }
}

// Covers: GO-14.16-06
#[test]
fn new_parameters_are_asked_for_once_before_the_numbers_end() {
    let sequence = SequenceSettings {
        limit: 199,
        block: 1024,
        margin: 100,
    };
    let mut floor = Floor::with(2, Suite::default(), attentive());
    let me = Own {
        sequence: Sequence::exact(0, 200, sequence),
        ..own(0)
    };
    let settings = Settings {
        sequence,
        ..attentive()
    };
    let parts = parameters(GID, 1, Suite::default());
    let mut group = Group::new("lights", parts, Some(me), settings, None).unwrap();
    group.add_peer(kid(1), credential(1)).unwrap();
    let one = &mut floor.members[0];
    one.contexts.remove_group(one.group);
    one.group = one.contexts.add_group(group);
    let wanted = GroupEvent::Wanted(Wanted::SenderContext);
    let mut told = Vec::new();
    let mut sent = 0;
    loop {
        for event in news(one) {
            told.push((one.group().sequence().unwrap().next(), event));
        }
        match one.try_ask(To::Group, &get(sent, &[1], "temp")) {
            Ok(_) => sent += 1,
            Err(error) => {
                assert_eq!(error, ProtectError::Exhausted);
                break;
            }
        }
    }
    assert_eq!(told, [(100, wanted)], "with a hundred numbers left");
    assert_eq!(sent, 200);
    // A new Sender ID is another Sender Context, which may ask again.
    let prepared = one.group().prepare_sender_id(kid(9), 200).unwrap();
    one.group().commit_sender_id(prepared).unwrap();
    assert_eq!(news(one), []);
    for at in 0..150 {
        one.try_ask(To::Group, &get(at, &[1], "temp")).unwrap();
    }
    assert_eq!(news(one), [wanted]);
    assert_eq!(news(one), []);
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let settings = Settings::default().upkeep;
    assert!(!settings.tell_deleted);
    assert_eq!((settings.idle, settings.recheck_after), (None, None));
    assert_eq!(settings.keys_after, times(16));
    assert_eq!(settings.again_after, PERIOD);
}

#[test]
fn keys_that_are_there_are_not_asked_for_any_more() {
    let mut floor = Floor::with(3, Suite::default(), attentive());
    Junk::by_group().send(&mut floor, 0, 5);
    let server = &mut floor.members[1];
    assert!(server.group().remove_peer(kid(2)));
    super::install::install(server, seconds(2000));
    assert_eq!(news(server), [GroupEvent::RecipientDeleted(kid(2))]);
}

#[test]
fn a_new_recipient_context_is_looked_at_at_once() {
    let settings = UpkeepSettings {
        idle: Some(seconds(100)),
        ..UpkeepSettings::default()
    };
    let mut floor = Floor::with(1, Suite::default(), only(settings));
    let one = &mut floor.members[0];
    assert_eq!(one.contexts.next_timeout(), None, "nobody can be idle");
    let id = one.group;
    one.group().add_peer(kid(1), credential(1)).unwrap();
    assert_eq!(one.contexts.take_idle(seconds(1000)), None);
    assert_eq!(one.contexts.next_timeout(), Some(seconds(1100)));
    // The time of the second one begins when it comes, not when that of the first is over.
    one.group().add_peer(kid(2), credential(2)).unwrap();
    assert_eq!(one.contexts.next_timeout(), Some(Duration::ZERO));
    assert_eq!(one.contexts.take_idle(seconds(1050)), None);
    assert_eq!(one.contexts.next_timeout(), Some(seconds(1100)));
    assert_eq!(one.contexts.take_idle(seconds(1100)), Some((id, kid(1))));
    assert!(one.group().remove_peer(kid(1)));
    assert_eq!(one.contexts.take_idle(seconds(1100)), None);
    assert_eq!(one.contexts.next_timeout(), Some(seconds(1150)));
    assert_eq!(one.contexts.take_idle(seconds(1150)), Some((id, kid(2))));
    // After new keys as well: those who are kept begin anew.
    super::install::install(one, seconds(1200));
    assert_eq!(one.contexts.next_timeout(), Some(Duration::ZERO));
}
