//! Members: what they say, who is asked, how they are reached, and what is told of them.

use alloc::string::ToString;

use super::*;
use crate::collection::{Rejection, Reply};
use crate::expect::Member;

const MICRO: Duration = Duration::from_micros(1);

fn address(n: u8) -> SocketAddr {
    ([10, 0, 0, n], 5683).into()
}

fn path_from(n: u8) -> Path {
    Path {
        socket: SOCKET,
        peer: address(n),
        local: ([10, 0, 0, 1], 5683).into(),
        interface: 1,
    }
}

/// Expects members "a", "b", ... at 10.0.0.11 and so on.
fn expecting(
    members: u8,
    change: impl FnOnce(&mut ObserveRequest),
) -> (Observations, ObservationId) {
    let mut rng = Rng::from_seed([1; 32]);
    let mut all = Observations::new(ObservationConfig::default(), &mut rng);
    let mut request = of_group();
    for n in 0..members {
        let name = char::from(b'a' + n).to_string();
        request.expect.add(Member::named(name).at(address(11 + n)));
    }
    change(&mut request);
    let token = Token::new(&[1, 2, 3, 4]).unwrap();
    let id = all.open(secs(0), &mut rng, token, request).unwrap();
    (all, id)
}

fn acts(all: &mut Observations) -> Vec<Act> {
    core::iter::from_fn(|| all.poll_act()).collect()
}

fn events(all: &mut Observations) -> Vec<ObservationEvent> {
    core::iter::from_fn(|| all.poll_event()).collect()
}

fn slot(all: &mut Observations, id: ObservationId, member: u32) -> &mut watch::Slot {
    let watch = all.watches.get_mut(&id).unwrap();
    watch.slot(ObservedIndex(member)).unwrap()
}

fn ask(purpose: Purpose) -> Option<watch::Ask> {
    Some(watch::Ask {
        exchange: None,
        registration: 1,
        purpose,
    })
}

/// What a member says: its type, code and options.
struct Says {
    kind: Type,
    code: Code,
    options: &'static [(OptionNumber, &'static [u8])],
    in_person: Option<(u32, Instant)>,
}

const NOTIFIES: Says = Says {
    kind: Type::Non,
    code: Code::CONTENT,
    options: &[(OptionNumber::OBSERVE, &[9])],
    in_person: None,
};

fn hears(all: &mut Observations, id: ObservationId, at: Instant, n: u8, says: &Says) -> Reply {
    let mut bytes = [0; 64];
    let token = Token::new(&[1, 2, 3, 4]).unwrap();
    let mut writer = Writer::new(&mut bytes, says.kind, says.code, MessageId(1), token).unwrap();
    for (number, value) in says.options {
        writer.option(*number, value).unwrap();
    }
    let len = writer.finish();
    let message = Message::parse(&bytes[..len]).unwrap();
    let arrived = Arrived {
        path: &path_from(n),
        sender: &UNKNOWN,
        bound: None,
        in_person: says.in_person.map(|(member, sent)| InPerson {
            member: ObservedIndex(member),
            asked: None,
            sent: Some(sent),
        }),
    };
    all.hear(at, &mut Rng::from_seed([3; 32]), id, arrived, &message)
}

/// The groups are being asked, and the request has left.
fn round(all: &mut Observations, id: ObservationId, purpose: Purpose) {
    all.round_began(secs(0), id, purpose, CollectionId(1));
    all.round_news(secs(0), RoundNews::Sent(CollectionId(1)));
    acts(all);
    events(all);
}

#[test]
fn whoever_falls_silent_is_asked_once_unless_nobody_is_asked_in_person() {
    for follow_up in [FollowUp::Unicast { at_once: 2 }, FollowUp::None] {
        let asks = follow_up != FollowUp::None;
        let (mut all, id) = expecting(3, |request| request.follow_up = follow_up);
        let watch = all.watches.get_mut(&id).unwrap();
        watch.next = None;
        watch.asking = 2; // as many as may be asked at once
        for member in 0..3 {
            says(watch, member, secs(1), ObservedState::Fresh);
            watch.silent_at(ObservedIndex(member), Some(secs(60)));
        }
        if asks {
            watch.slot(ObservedIndex(0)).unwrap().ask = ask(Purpose::Register);
            watch.queue.push_back(1);
        }
        all.first(secs(60), id);
        let silent = |member| ObservationEvent::Silent {
            observation: id,
            member: ObservedIndex(member),
        };
        assert_eq!(events(&mut all), [0, 1, 2].map(silent));
        let queue: &[u32] = if asks { &[1, 2] } else { &[] };
        assert_eq!(all.watches[&id].queue, queue);
    }
}

#[test]
fn what_is_broken_off_is_what_was_to_be_done_for_this_observation_and_for_no_other() {
    let (mut all, first) = expecting(1, |_| {});
    let mut rng = Rng::from_seed([2; 32]);
    let token = Token::new(&[5]).unwrap();
    let second = all.open(secs(0), &mut rng, token, of_group()).unwrap();
    for observation in [first, second] {
        let observer = Observer {
            observation,
            member: ObservedIndex(0),
        };
        all.acts
            .push_back(Act::Round(observation, Purpose::Register));
        all.acts.push_back(Act::Ask(observer, None));
        all.bodies.push_back(observer);
    }
    slot(&mut all, first, 0).ask = ask(Purpose::Register);
    let observer = Observer {
        observation: first,
        member: ObservedIndex(0),
    };
    all.asked(observer, ExchangeId(5));
    all.break_off(first);
    let bodies: Vec<_> = all.bodies.iter().map(|of| of.observation).collect();
    assert_eq!(bodies, [second]);
    let acts = acts(&mut all);
    assert_eq!(acts.len(), 3);
    assert!(matches!(acts[0], Act::Round(id, Purpose::Register) if id == second));
    assert!(matches!(&acts[1], Act::Ask(of, None) if of.observation == second));
    assert!(matches!(acts[2], Act::Break(ExchangeId(5))));
}

#[test]
fn as_many_that_are_over_are_remembered_as_may_be_open() {
    let mut rng = Rng::from_seed([2; 32]);
    let config = ObservationConfig {
        observations: 2,
        ..ObservationConfig::default()
    };
    let mut all = Observations::new(config, &mut rng);
    let mut ids = Vec::new();
    for n in 1..=4 {
        let token = Token::new(&[n]).unwrap();
        let id = all.open(secs(0), &mut rng, token, of_group()).unwrap();
        all.conclude(secs(0), id, ObservationEnd::Deregistered);
        assert_eq!(events(&mut all).len(), 1);
        ids.push(id);
        let remembered: Vec<_> = all.watches.keys().copied().collect();
        assert_eq!(remembered, ids[ids.len().saturating_sub(2)..]);
        assert_eq!(all.lingering, remembered);
    }
    all.remove(secs(0), ids[2]);
    assert_eq!(all.lingering, [ids[3]]);
}

#[test]
fn a_token_is_free_when_no_server_can_be_using_it_any_more() {
    use ObservedState::{Awaited, Ended, Fresh};
    const DAY: Duration = Duration::from_secs(24 * 3_600);
    let over = Ended(MemberEnd::NotObserved);
    let deregistered = Ended(MemberEnd::Deregistered);
    let (yes, no) = (Some(secs(1)), None);
    let now = secs(50);
    type Case<'a> = (
        Option<Instant>,
        Option<Instant>,
        &'a [ObservedState],
        Instant,
    );
    let cases: [Case<'_>; 8] = [
        (no, no, &[Fresh], Instant::ZERO),
        (yes, no, &[], now + DAY),
        (no, yes, &[], now + DAY),
        (yes, yes, &[Awaited], now + DAY),
        (yes, no, &[over, Fresh], now + DAY),
        (yes, no, &[over, deregistered], now),
        (no, yes, &[deregistered], now),
        (yes, yes, &[over], now),
    ];
    for (first_sent, last_sent, states, free_at) in cases {
        let (mut all, id) = expecting(0, |_| {});
        let watch = all.watches.get_mut(&id).unwrap();
        (watch.first_sent, watch.last_sent) = (first_sent, last_sent);
        for (n, state) in (0..).zip(states) {
            assert_eq!(
                place(watch, ([10, 0, 0, n], 5683), &UNKNOWN),
                Some(n.into())
            );
            says(watch, n.into(), secs(2), *state);
        }
        all.remove(now, id);
        let acts = acts(&mut all);
        let [Act::Free(token, at)] = acts[..] else {
            panic!("{acts:?}");
        };
        assert_eq!(token.as_bytes(), [1, 2, 3, 4]);
        assert_eq!(at, free_at, "{first_sent:?} {last_sent:?} {states:?}");
    }
}

#[test]
fn the_answer_to_a_request_is_news_if_what_was_known_came_before_that_left() {
    for (sent, stale) in [(secs(5), true), (secs(5) + MICRO, false)] {
        let (mut all, id) = expecting(1, |_| {});
        let watch = all.watches.get_mut(&id).unwrap();
        watch.next = None;
        says(watch, 0, secs(5), ObservedState::Fresh);
        watch.slot(ObservedIndex(0)).unwrap().ask = ask(Purpose::Register);
        watch.asking = 1;
        let answer = Says {
            kind: Type::Ack,
            options: &[(OptionNumber::OBSERVE, &[1])], // the same number again
            in_person: Some((0, sent)),
            ..NOTIFIES
        };
        assert_eq!(hears(&mut all, id, secs(6), 11, &answer), Reply::Nothing);
        let event = events(&mut all).remove(0);
        assert_eq!(matches!(event, ObservationEvent::Stale { .. }), stale);
        let told = matches!(event, ObservationEvent::Notification(_));
        assert_eq!(told, !stale, "{event:?}");
        assert_eq!(slot(&mut all, id, 0).stale, u32::from(stale));
    }
}

#[test]
fn a_member_that_goes_on_to_notify_is_told_in_person_unless_all_are_being_told() {
    let deregistered = ObservedState::Ended(MemberEnd::Deregistered);
    for (ending, under_way, told) in [
        (false, false, true),
        (false, true, true),
        (true, false, true),
        (true, true, false),
    ] {
        let (mut all, id) = expecting(1, |_| {});
        if under_way {
            round(&mut all, id, Purpose::Register);
        }
        let watch = all.watches.get_mut(&id).unwrap();
        watch.next = None;
        says(watch, 0, secs(1), deregistered);
        if ending {
            watch.phase = watch::Phase::Ending;
            all.acts.push_back(Act::Round(id, Purpose::Deregister)); // it goes on
        }
        let reply = hears(&mut all, id, secs(2), 11, &NOTIFIES);
        assert_eq!(reply, Reply::Nothing);
        let asked = acts(&mut all);
        let asked = asked.iter().filter(|act| matches!(act, Act::Ask(..)));
        assert_eq!(asked.count(), usize::from(told), "{ending} {under_way}");
        assert_eq!(slot(&mut all, id, 0).goodbyes, u8::from(told));
    }
}

#[test]
fn who_is_being_told_or_cannot_be_told_now_is_not_reset_for_it() {
    let deregistered = ObservedState::Ended(MemberEnd::Deregistered);
    let con = Says {
        kind: Type::Con,
        ..NOTIFIES
    };
    for (being_told, asking, reply) in [
        (true, 1, Reply::Acknowledge),
        (true, 4, Reply::Acknowledge),
        (false, 4, Reply::Acknowledge),
        (false, 3, Reply::Reset),
    ] {
        let (mut all, id) = expecting(1, |_| {});
        let watch = all.watches.get_mut(&id).unwrap();
        watch.next = None;
        watch.asking = asking;
        says(watch, 0, secs(1), deregistered);
        let told = watch.slot(ObservedIndex(0)).unwrap();
        told.goodbyes = 3;
        told.ask = ask(Purpose::Deregister).filter(|_| being_told);
        let heard = hears(&mut all, id, secs(2), 11, &con);
        assert_eq!(heard, reply, "{being_told} {asking}");
        assert!(acts(&mut all).is_empty());
        assert_eq!(slot(&mut all, id, 0).goodbyes, 3);
    }
}

#[test]
fn a_registration_that_all_expected_have_heard_is_not_waited_for_if_nobody_else_is_known() {
    for (expected, strangers, stops) in [(2, 0, true), (2, 1, false), (0, 2, false)] {
        let (mut all, id) = expecting(expected, |_| {});
        round(&mut all, id, Purpose::Register);
        if strangers > 0 {
            hears(&mut all, id, secs(1), 99, &NOTIFIES);
        }
        let mut stopped = Vec::new();
        for n in 0..2 {
            hears(&mut all, id, secs(1), 11 + n, &NOTIFIES);
            let acts = acts(&mut all);
            stopped.push(
                acts.iter()
                    .any(|act| matches!(act, Act::Stop(CollectionId(1)))),
            );
        }
        assert_eq!(stopped, [false, stops], "{expected} {strangers}");
    }
}

#[test]
fn a_member_that_wants_its_echo_value_back_is_asked_once_and_not_while_it_is_being_asked() {
    let challenge = Says {
        code: Code::UNAUTHORIZED,
        options: &[(OptionNumber::ECHO, b"echo")],
        ..NOTIFIES
    };
    let (mut all, id) = expecting(1, |_| {});
    round(&mut all, id, Purpose::Register);
    slot(&mut all, id, 0).ask = ask(Purpose::Register);
    hears(&mut all, id, secs(1), 11, &challenge);
    assert_eq!(slot(&mut all, id, 0).challenged, 0);
    assert!(acts(&mut all).is_empty());
    slot(&mut all, id, 0).ask = None;
    hears(&mut all, id, secs(2), 11, &challenge);
    let asked = acts(&mut all);
    assert!(matches!(&asked[..], [Act::Ask(_, Some(echo))] if echo == b"echo"));
    slot(&mut all, id, 0).ask = None;
    hears(&mut all, id, secs(3), 11, &challenge);
    assert!(acts(&mut all).is_empty(), "once for each registration");
}

#[test]
fn what_a_member_said_counts_as_rejected_only_while_it_is_wanted() {
    let deregistered = ObservedState::Ended(MemberEnd::Deregistered);
    let why = Rejection::TooLarge(9);
    for (phase, before, after) in [
        (
            watch::Phase::Open,
            ObservedState::Fresh,
            ObservedState::Rejected(why),
        ),
        (watch::Phase::Open, deregistered, deregistered),
        (
            watch::Phase::Ending,
            ObservedState::Fresh,
            ObservedState::Fresh,
        ),
    ] {
        let mut watch = watch(|_| {});
        assert_eq!(place(&mut watch, ([10, 0, 0, 2], 5683), &UNKNOWN), Some(0));
        says(&mut watch, 0, secs(1), before);
        watch.phase = phase;
        watch.reject(secs(9), ObservedIndex(0), why);
        let slot = watch.slot_ref(ObservedIndex(0)).unwrap();
        let again = (before != after).then(|| secs(9 + 60));
        assert_eq!((slot.state, slot.silent_at), (after, again));
    }
}

#[test]
fn a_time_to_ask_again_is_set_for_the_silent_and_only_if_there_is_none() {
    for (state, set, again, failures) in [
        (ObservedState::Silent, None, Some(secs(69)), 1),
        (ObservedState::Silent, Some(secs(70)), Some(secs(70)), 0),
        (ObservedState::Fresh, None, None, 0),
        (ObservedState::Awaited, None, None, 0),
    ] {
        let mut watch = watch(|_| {});
        assert_eq!(place(&mut watch, ([10, 0, 0, 2], 5683), &UNKNOWN), Some(0));
        says(&mut watch, 0, secs(1), state);
        watch.silent_at(ObservedIndex(0), set);
        watch.ask_later(secs(9), ObservedIndex(0));
        let slot = watch.slot_ref(ObservedIndex(0)).unwrap();
        assert_eq!((slot.silent_at, slot.failures), (again, failures));
    }
}

#[test]
fn the_first_registration_that_fails_on_the_way_out_ends_the_observation_and_no_later_one() {
    let why = EndedBy::Failed(SendError::InterfaceGone);
    let (mut all, id) = opened(Some(Duration::from_secs(40)));
    asked(&mut all, id, 1, secs(0), why);
    let [ObservationEvent::Ended(outcome)] = &events(&mut all)[..] else {
        panic!("it is over");
    };
    assert_eq!(outcome.ended_by, ObservationEnd::NotRegistered(why));
    assert_eq!(all.len(), 0);
    let (mut all, id) = opened(Some(Duration::from_secs(40)));
    asked(&mut all, id, 1, secs(0), EndedBy::Deadline);
    events(&mut all);
    asked(&mut all, id, 2, secs(40), why);
    let failed = ObservationEvent::NotRegistered {
        observation: id,
        why,
    };
    assert_eq!(events(&mut all), [failed]);
    assert_eq!(all.len(), 1);
}

#[test]
fn of_those_that_have_not_answered_a_round_the_ones_are_asked_to_whom_there_is_a_way() {
    let (mut all, id) = expecting(2, |request| {
        request.expect.add(Member::named("nowhere"));
    });
    round(&mut all, id, Purpose::Register);
    hears(&mut all, id, secs(1), 11, &NOTIFIES);
    all.watches.get_mut(&id).unwrap().asking = 4; // as many as may be
    all.round_news(
        secs(6),
        RoundNews::Over(RoundOver {
            round: CollectionId(1),
            ended_by: EndedBy::Deadline,
            last_sent: None,
            transmissions: 0,
            bytes: 0,
        }),
    );
    assert_eq!(all.watches[&id].queue, [1]);
}

#[test]
fn a_report_names_whoever_was_expected_and_nobody_else() {
    let (mut all, id) = expecting(1, |_| {});
    let watch = all.watches.get_mut(&id).unwrap();
    assert_eq!(place(watch, ([10, 0, 0, 99], 5683), &UNKNOWN), Some(1));
    let name = |n| all.report(id, ObservedIndex(n)).unwrap().name;
    assert_eq!((name(0).as_deref(), name(1)), (Some("a"), None));
    assert_eq!(all.report(id, ObservedIndex(2)), None);
}

fn notification(all: &Observations, member: u32, payload: usize) -> Notification {
    let mut response = Response::new(Code::CONTENT);
    response.payload = alloc::vec![b'a'; payload];
    Notification {
        observation: *all.watches.keys().next().unwrap(),
        member: ObservedIndex(member),
        news: News::Update,
        from: path_from(11),
        sender: UNKNOWN,
        response,
        number: Some(1),
        count: 1,
        after: Duration::ZERO,
    }
}

#[test]
fn a_notification_takes_what_its_payload_and_its_options_take() {
    let (all, _) = expecting(1, |_| {});
    let empty = size_of::<Notification>();
    assert_eq!(notification(&all, 0, 0).footprint(), empty);
    let mut some = notification(&all, 0, 5);
    some.response.options.push(OptionNumber::ETAG, &[1, 2, 3]);
    some.response.options.push(OptionNumber::MAX_AGE, &[9]);
    assert_eq!(some.footprint(), empty + 5 + (3 + 12) + (1 + 12));
}

#[test]
fn one_that_waits_is_replaced_if_the_newer_one_has_room_in_its_place() {
    for (more, replaced) in [(100, true), (101, false)] {
        let (mut all, id) = expecting(1, |request| request.limits.waiting_per_member = 1);
        let old = notification(&all, 0, 10);
        all.config.event_bytes = old.footprint() + 90;
        let new = notification(&all, 0, more);
        all.deliver(id, ObservedIndex(0), old.clone());
        all.deliver(id, ObservedIndex(0), new.clone());
        let left = if replaced { new } else { old };
        assert_eq!(all.event_bytes, left.footprint());
        let told = events(&mut all);
        assert_eq!(told, [ObservationEvent::Notification(left)], "{more}");
        assert_eq!((all.event_bytes, slot(&mut all, id, 0).dropped), (0, 1));
    }
}

#[test]
fn whoever_has_several_waiting_gives_one_for_an_end_and_whoever_has_one_keeps_it() {
    for several in [false, true] {
        let (mut all, id) = expecting(2, |_| {});
        all.config.events = if several { 3 } else { 2 };
        let silent = ObservationEvent::Silent {
            observation: id,
            member: ObservedIndex(1),
        };
        all.tell(silent.clone());
        let first = notification(&all, 0, 1);
        let second = notification(&all, 0, 2);
        all.deliver(id, ObservedIndex(0), first.clone());
        if several {
            all.deliver(id, ObservedIndex(0), second.clone());
        }
        let end = ObservationEvent::MemberEnded {
            observation: id,
            member: ObservedIndex(1),
            why: MemberEnd::NotObserved,
        };
        all.tell(end.clone());
        let told = match several {
            false => [ObservationEvent::Notification(first), end].to_vec(),
            true => [silent, ObservationEvent::Notification(second), end].to_vec(),
        };
        assert_eq!(events(&mut all), told);
    }
}

#[test]
fn the_texts_say_why() {
    for (end, text) in [
        (MemberEnd::NotObserved, "it does not notify"),
        (MemberEnd::Error(Code::NOT_FOUND), "it answered 4.04"),
        (MemberEnd::Deregistered, "deregistered"),
    ] {
        assert!(end.to_string().starts_with(text), "{end}");
    }
    let request = crate::exchange::RequestError::NoPort;
    for (error, text) in [
        (
            ObserveError::NotObservable(Code::PUT),
            std::format!("{} cannot observe: only GET and FETCH can", Code::PUT),
        ),
        (
            ObserveError::ObserveStated,
            "the request has an Observe option already".to_string(),
        ),
        (
            ObserveError::TooMany,
            "too many observations are open".to_string(),
        ),
        (
            ObserveError::Collect(CollectError::NoTarget),
            CollectError::NoTarget.to_string(),
        ),
        (ObserveError::Request(request), request.to_string()),
    ] {
        assert_eq!(error.to_string(), text);
    }
}

#[cfg(feature = "oscore")]
mod protected {
    use antiphon_oscore::credential::CredentialFormat;
    use antiphon_oscore::secret::Secret;
    use antiphon_oscore::sequence::{Sequence, SequenceSettings};
    use antiphon_oscore::suite::{Aead, GroupEncryption, Hkdf, SignatureAlgorithm, Suite};
    use antiphon_oscore::{
        ContextId, Contexts, Gid, Group, GroupId, GroupManagerCredential, Kid, Pair, PairId,
        PairParameters, PairSettings, Parameters, Settings,
    };

    use super::*;
    use crate::expect::Expectation;
    use crate::path::Route;
    use crate::security::Protection;

    /// Two groups and two pairs.
    fn contexts() -> ([GroupId; 2], [PairId; 2]) {
        let mut all = Contexts::new();
        let suite = Suite::new(
            Hkdf::Sha256,
            None,
            Some(GroupEncryption::A128Ctr),
            Some(SignatureAlgorithm::EdDsa),
            None,
        )
        .unwrap();
        let groups = ["g", "h"].map(|name| {
            let parameters = Parameters {
                gid: Gid::new(name.as_bytes()).unwrap(),
                generation: 0,
                master_secret: Secret::new(alloc::vec![1; 16]),
                master_salt: Secret::new(Vec::new()),
                suite,
                format: CredentialFormat::Ccs,
                gm_credential: GroupManagerCredential::no_manager(),
            };
            let group = Group::new(name, parameters, None, Settings::default(), None);
            all.add_group(group.unwrap())
        });
        let pairs = ["p", "q"].map(|name| {
            let parameters = PairParameters {
                master_secret: Secret::new(alloc::vec![1; 16]),
                master_salt: Secret::new(Vec::new()),
                id_context: Gid::new(name.as_bytes()),
                sender_id: Kid::new(&[1]).unwrap(),
                recipient_id: Kid::new(&[2]).unwrap(),
                hkdf: Hkdf::Sha256,
                aead: Aead::AesCcm16_64_128,
            };
            let sequence = Sequence::new(SequenceSettings::default());
            let pair = Pair::new(name, &parameters, sequence, PairSettings::default());
            all.add_pair(pair.unwrap())
        });
        (groups, pairs)
    }

    fn of_one(protection: Protection) -> ObserveRequest {
        let route = Route {
            socket: SOCKET,
            source: None,
            interface: 1,
            destination: address(2),
        };
        ObserveRequest::one(Request::new(Code::GET).path("t"), route, protection)
    }

    fn secured(group: GroupId) -> ObserveRequest {
        let Observed::Group { targets, .. } = of_group().of else {
            panic!("of a group");
        };
        ObserveRequest::group(
            Request::new(Code::GET).path("t"),
            targets[0],
            Security::Group(group),
        )
    }

    #[test]
    fn an_observation_is_in_the_context_that_protects_it_and_in_no_other() {
        let ([group, other_group], [pair, other_pair]) = contexts();
        let member = Protection::Member {
            group,
            credential: alloc::vec![1],
        };
        let in_group = [true, false, false, false];
        for (request, is_in) in [
            (secured(group), in_group),
            (of_group(), [false; 4]),
            (of_one(Protection::Group(group)), in_group),
            (of_one(member), in_group),
            (of_one(Protection::Pair(pair)), [false, false, true, false]),
            (of_one(Protection::None), [false; 4]),
        ] {
            let what = std::format!("{:?}", request.of);
            let token = Token::new(&[1]).unwrap();
            let watch = Watch::new(secs(0), &mut Rng::from_seed([1; 32]), token, request);
            let watch = watch.unwrap();
            let contexts = [
                ContextId::Group(group),
                ContextId::Group(other_group),
                ContextId::Pair(pair),
                ContextId::Pair(other_pair),
            ];
            assert_eq!(
                contexts.map(|context| watch.is_in(context)),
                is_in,
                "{what}"
            );
        }
    }

    #[test]
    fn one_that_is_over_goes_with_its_security_group_and_is_not_told_again() {
        let ([group, _], _) = contexts();
        for over in [false, true] {
            let mut rng = Rng::from_seed([1; 32]);
            let mut all = Observations::new(ObservationConfig::default(), &mut rng);
            let token = Token::new(&[1]).unwrap();
            let id = all.open(secs(0), &mut rng, token, secured(group)).unwrap();
            if over {
                all.conclude(secs(1), id, ObservationEnd::Deregistered);
                assert_eq!((events(&mut all).len(), all.len()), (1, 1));
            }
            assert_eq!(all.end_all_in(secs(2), ContextId::Group(group)), 1);
            let ends: Vec<_> = events(&mut all)
                .into_iter()
                .map(|event| match event {
                    ObservationEvent::Ended(outcome) => outcome.ended_by,
                    other => panic!("{other:?}"),
                })
                .collect();
            let told: &[_] = if over {
                &[]
            } else {
                &[ObservationEnd::GroupLeft]
            };
            assert_eq!(ends, told);
            assert_eq!((all.len(), all.lingering.len()), (0, 0));
        }
    }

    #[test]
    fn a_member_is_asked_under_the_protection_of_whom_it_is_known_to_be() {
        let ([group, _], _) = contexts();
        let mut request = secured(group);
        let mut expect = Expectation::nobody();
        expect.add(Member::named("a").identity(Identity::member("g", b"expected")));
        expect.add(Member::named("b").at(address(12)));
        request.expect = expect;
        let token = Token::new(&[1]).unwrap();
        let watch = Watch::new(secs(0), &mut Rng::from_seed([1; 32]), token, request);
        let mut watch = watch.unwrap();
        assert_eq!(
            place(&mut watch, ([10, 0, 0, 99], 1), &proven("stranger")),
            Some(2)
        );
        assert_eq!(place(&mut watch, ([10, 0, 0, 99], 2), &UNKNOWN), Some(3));
        let of = |credential: &[u8]| Protection::Member {
            group,
            credential: credential.to_vec(),
        };
        let nobody = Protection::Group(group);
        for (n, protection) in [
            (0, of(b"expected")),
            (1, nobody.clone()),
            (2, of(b"stranger")),
            (3, nobody),
        ] {
            assert_eq!(watch.protection_for(ObservedIndex(n)), protection, "{n}");
        }
    }
}
