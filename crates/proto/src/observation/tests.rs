//! Registrations that cannot be made, and places of members that nobody expected.

mod members;
mod runs;

use core::net::SocketAddr;

use antiphon_wire::{Code, Message, MessageId, OptionNumber, Type, Writer};

use super::freshness::Latest;
use super::*;
use crate::collection::{
    Completion, End, EndedBy, GroupTarget, NoSec, Repeat, RoundNews, RoundOver, Security,
};
use crate::failure::SendError;
use crate::identity::{Identity, Sender};
use crate::message::{Request, Response};
use crate::path::SocketId;

const SOCKET: SocketId = SocketId(3);

fn secs(n: u64) -> Instant {
    Instant::from_millis(n * 1_000)
}

/// Leisure 5 s and round trip 1 s.
fn of_group() -> ObserveRequest {
    let target = GroupTarget {
        group: ([224, 0, 1, 187], 5683).into(),
        socket: SOCKET,
        interface: 1,
    };
    let security = Security::Unsecured(NoSec::Accepted);
    ObserveRequest::group(Request::new(Code::GET).path("t"), target, security)
}

fn opened(every: Option<Duration>) -> (Observations, ObservationId) {
    let mut rng = Rng::from_seed([1; 32]);
    let mut all = Observations::new(ObservationConfig::default(), &mut rng);
    let token = Token::new(&[1, 2, 3, 4]).unwrap();
    let request = ObserveRequest {
        every,
        ..of_group()
    };
    let id = all.open(secs(0), &mut rng, token, request).unwrap();
    (all, id)
}

/// The groups are asked, and nobody answers.
fn asked(all: &mut Observations, id: ObservationId, round: u64, at: Instant, ended_by: EndedBy) {
    let round = CollectionId(round);
    all.round_began(at, id, Purpose::Register, round);
    if ended_by == EndedBy::Deadline {
        all.round_news(at, RoundNews::Sent(round));
    }
    let over = RoundOver {
        round,
        ended_by,
        last_sent: None,
        transmissions: 0,
        bytes: 0,
    };
    all.round_news(at, RoundNews::Over(over));
}

/// When the groups are to be asked next.
fn due(all: &mut Observations) -> Instant {
    assert!(all.poll_act().is_none());
    let at = all.next_timeout().unwrap();
    all.handle_timeout(at);
    let act = all.poll_act();
    assert!(
        matches!(act, Some(Act::Round(_, Purpose::Register))),
        "{act:?}"
    );
    at
}

#[test]
fn a_registration_that_cannot_be_made_is_tried_again_soon_and_ever_more_rarely() {
    let (mut all, id) = opened(Some(Duration::from_secs(40)));
    asked(&mut all, id, 1, secs(0), EndedBy::Deadline);
    let mut at = due(&mut all);
    assert_eq!(at, secs(40));
    for wait in [6, 12, 24, 40, 40] {
        all.round_refused(at, id, Purpose::Register);
        let next = due(&mut all);
        assert_eq!(next.since(at), Duration::from_secs(wait));
        at = next;
    }
    // One that leaves makes an end of that.
    asked(&mut all, id, 2, at, EndedBy::Deadline);
    let next = due(&mut all);
    assert_eq!(next.since(at), Duration::from_secs(40));
    // It may fail on the way out as well.
    let failed = EndedBy::Failed(SendError::InterfaceGone);
    for (round, wait) in [(3, 6), (4, 12)] {
        let at = due_after(&mut all, id, round, next, failed);
        assert_eq!(at, Duration::from_secs(wait));
    }
}

fn due_after(
    all: &mut Observations,
    id: ObservationId,
    round: u64,
    at: Instant,
    ended_by: EndedBy,
) -> Duration {
    asked(all, id, round, at, ended_by);
    due(all).since(at)
}

#[test]
fn without_an_interval_a_registration_is_tried_again_at_least_every_hour() {
    let (mut all, id) = opened(None);
    asked(&mut all, id, 1, secs(0), EndedBy::Deadline);
    all.register_again(secs(100), id);
    assert!(all.poll_act().is_some());
    let mut at = secs(100);
    let mut waits = Vec::new();
    for _ in 0..12 {
        all.round_refused(at, id, Purpose::Register);
        let next = due(&mut all);
        waits.push(next.since(at).as_secs());
        at = next;
    }
    assert_eq!(waits.get(..3), Some(&[6, 12, 24][..]));
    assert_eq!(waits.get(9..), Some(&[3_072, 3_600, 3_600][..]));
}

#[test]
fn a_round_goes_to_all_groups_with_the_times_of_the_observation() {
    let target = |n| GroupTarget {
        group: ([224, 0, 1, n], 5683).into(),
        socket: SOCKET,
        interface: 1,
    };
    let (rtt, leisure) = (Duration::from_secs(2), Duration::from_secs(7));
    let ask = |targets| {
        let security = Security::Unsecured(NoSec::Accepted);
        let repeat = Repeat::NewMessageId(2);
        let request = Request::new(Code::FETCH).path("t");
        request::round(request, targets, security, repeat, rtt, leisure)
    };
    assert!(ask(Vec::new()).is_none());
    let targets = Vec::from([target(187), target(188)]);
    let round = ask(targets.clone()).unwrap();
    assert_eq!(round.request.method, Code::FETCH);
    assert_eq!(round.targets, targets);
    assert_eq!(round.security, Security::Unsecured(NoSec::Accepted));
    let end = End {
        deadline: Duration::from_secs(9),
        count: None,
        when_all_expected: false,
    };
    assert_eq!((round.end, round.repeat), (end, Repeat::NewMessageId(2)));
    assert_eq!((round.rtt, round.leisure), (rtt, leisure));
    // Who does not answer is asked by the observation, under its token.
    assert_eq!(round.completion, Completion::None);
}

#[test]
fn that_a_member_was_not_reached_counts_for_a_registration_that_is_still_wanted() {
    for (phase, purpose, counts) in [
        (watch::Phase::Open, Purpose::Register, true),
        (watch::Phase::Open, Purpose::Deregister, false),
        (watch::Phase::Ending, Purpose::Register, false),
    ] {
        let (mut all, id) = opened(None);
        asked(&mut all, id, 1, secs(0), EndedBy::Deadline);
        while all.poll_event().is_some() {}
        let watch = all.watches.get_mut(&id).unwrap();
        assert_eq!(place(watch, ([10, 0, 0, 2], 5683), &UNKNOWN), Some(0));
        says(watch, 0, secs(1), ObservedState::Silent);
        let member = ObservedIndex(0);
        watch.slot(member).unwrap().ask = Some(watch::Ask {
            exchange: None,
            registration: 2,
            purpose,
        });
        (watch.asking, watch.phase, watch.registrations) = (2, phase, 0);
        let observer = Observer {
            observation: id,
            member,
        };
        all.not_reached(secs(9), observer, Failure::TimedOut);
        let watch = &all.watches[&id];
        let slot = watch.slot_ref(member).unwrap();
        assert!(slot.ask.is_none() && watch.asking == 1);
        let again = counts.then(|| secs(9 + 60));
        assert_eq!((slot.failures, slot.silent_at), (counts.into(), again));
        assert_eq!(slot.failure, counts.then_some(Failure::TimedOut));
        let told = counts.then_some(ObservationEvent::Unreached {
            observation: id,
            member,
            failure: Failure::TimedOut,
        });
        assert_eq!(all.poll_event(), told);
        assert_eq!(all.poll_event(), None);
        // What comes of an answer twice counts once.
        all.not_reached(secs(9), observer, Failure::TimedOut);
        assert_eq!(all.watches[&id].asking, 1);
    }
}

fn watch(change: impl FnOnce(&mut ObservationLimits)) -> Watch {
    let mut request = of_group();
    change(&mut request.limits);
    let token = Token::new(&[1]).unwrap();
    Watch::new(secs(0), &mut Rng::from_seed([1; 32]), token, request).unwrap()
}

fn place(watch: &mut Watch, from: ([u8; 4], u16), sender: &Sender) -> Option<u32> {
    let mut bytes = [0; 32];
    let token = Token::new(&[1]).unwrap();
    let writer = Writer::new(&mut bytes, Type::Non, Code::CONTENT, MessageId(1), token).unwrap();
    let len = writer.finish();
    let message = Message::parse(&bytes[..len]).unwrap();
    let path = Path {
        socket: SOCKET,
        peer: from.into(),
        local: SocketAddr::from(([10, 0, 0, 1], 5683)),
        interface: 1,
    };
    watch.place_of(&path, sender, &message).map(|index| index.0)
}

/// What a member said last, and how it stands.
fn says(watch: &mut Watch, member: u32, at: Instant, state: ObservedState) {
    let slot = watch.slot(ObservedIndex(member)).unwrap();
    slot.state = state;
    slot.latest = Some(Latest {
        at,
        number: Some(1),
        bound: None,
    });
}

fn proven(name: &str) -> Sender {
    Sender::Proven(Identity::member("g", name.as_bytes()))
}

const UNKNOWN: Sender = Sender::Unauthenticated;

#[test]
fn the_place_of_the_stranger_that_was_heard_longest_ago_is_reused() {
    let mut watch = watch(|limits| limits.unexpected = 4);
    let of = |n: u8| ([10, 0, 0, n], 5683);
    let at = [40, 20, 10, 30];
    for (n, at) in at.into_iter().enumerate() {
        let n = n as u8;
        assert_eq!(place(&mut watch, of(n), &UNKNOWN), Some(n.into()));
        says(&mut watch, n.into(), secs(at), ObservedState::Fresh);
    }
    assert_eq!(place(&mut watch, of(9), &UNKNOWN), None, "all are heard");
    let ended = ObservedState::Ended(MemberEnd::NotObserved);
    let deregistered = ObservedState::Ended(MemberEnd::Deregistered);
    says(&mut watch, 0, secs(40), ObservedState::Silent);
    says(&mut watch, 1, secs(20), ended);
    says(&mut watch, 2, secs(10), deregistered);
    watch.silent_at(ObservedIndex(1), Some(secs(50)));
    watch.queue.push_back(1);
    watch.slot(ObservedIndex(1)).unwrap().waiting = 2;
    assert_eq!(place(&mut watch, of(9), &UNKNOWN), Some(1));
    let slot = watch.slot_ref(ObservedIndex(1)).unwrap();
    assert_eq!((slot.state, slot.count), (ObservedState::Awaited, 0));
    assert_eq!(slot.waiting, 2, "events that are still to be fetched");
    assert!(watch.silences.is_empty() && watch.queue.is_empty());
    says(&mut watch, 1, secs(60), ObservedState::Fresh);
    assert_eq!(place(&mut watch, of(9), &UNKNOWN), Some(1), "it is known");
    assert_eq!(
        place(&mut watch, of(1), &UNKNOWN),
        Some(0),
        "not its old one"
    );
    says(&mut watch, 0, secs(61), ObservedState::Fresh);
    // Whoever was deregistered goes last, and who is being asked not at all.
    says(&mut watch, 3, secs(30), ObservedState::Silent);
    watch.slot(ObservedIndex(3)).unwrap().ask = Some(watch::Ask {
        exchange: None,
        registration: 1,
        purpose: Purpose::Register,
    });
    assert_eq!(place(&mut watch, of(10), &UNKNOWN), Some(2));
    says(&mut watch, 2, secs(62), ObservedState::Fresh);
    assert_eq!(place(&mut watch, of(11), &UNKNOWN), None);
}

#[test]
fn one_address_reuses_its_own_places_and_the_proven_need_none_of_them() {
    let mut watch = watch(|limits| limits.unexpected_per_address = 2);
    let of = |port| ([10, 0, 0, 66], port);
    assert_eq!(place(&mut watch, ([10, 0, 0, 7], 1), &UNKNOWN), Some(0));
    says(&mut watch, 0, secs(1), ObservedState::Silent);
    for (port, index) in [(1, Some(1)), (2, Some(2))] {
        assert_eq!(place(&mut watch, of(port), &UNKNOWN), index);
        says(&mut watch, port.into(), secs(2), ObservedState::Fresh);
    }
    assert_eq!(place(&mut watch, of(3), &UNKNOWN), None);
    // Behind a border router all members have one address.
    for (n, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
        assert_eq!(place(&mut watch, of(9), &proven(name)), Some(3 + n as u32));
    }
    assert_eq!(place(&mut watch, of(10), &proven("b")), Some(4));
    says(&mut watch, 3, secs(0), ObservedState::Silent);
    assert_eq!(place(&mut watch, of(3), &UNKNOWN), None);
    says(&mut watch, 2, secs(2), ObservedState::Silent);
    assert_eq!(place(&mut watch, of(3), &UNKNOWN), Some(2));
    says(&mut watch, 2, secs(3), ObservedState::Fresh);
    assert_eq!(place(&mut watch, of(4), &UNKNOWN), None, "still two");
}
