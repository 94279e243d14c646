//! Observations under protection. The servers are played by hand: they open registrations and protect notifications.

use antiphon_oscore::{Job, Mode, Opened, Protecting, Received, Step};

use super::*;
use crate::observation::*;
use crate::security::at;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A world in which the servers hear nothing by themselves, and the client observes them.
fn watched(change: impl FnOnce(&mut ObserveRequest)) -> (World, ObservationId) {
    let mut world = world_of(
        Modes::Both,
        Settings {
            retention: Duration::from_secs(60),
            ..Settings::default()
        },
    );
    for node in [LAMP, BELL] {
        world.nodes[node].deaf = true;
    }
    let id = observe(&mut world, change);
    (world, id)
}

fn observe(world: &mut World, change: impl FnOnce(&mut ObserveRequest)) -> ObservationId {
    let target = GroupTarget {
        group: GROUP.into(),
        socket: UNICAST,
        interface: 1,
    };
    let security = Security::Group(world.group());
    let mut request = ObserveRequest::group(Request::new(Code::GET).path("t"), target, security);
    request.expect = both();
    request.follow_up = FollowUp::None;
    change(&mut request);
    let now = world.now;
    let id = world.nodes[CLIENT].endpoint.observe(now, request).unwrap();
    world.run();
    id
}

/// The registrations of the groups so far.
fn registrations(world: &World) -> Vec<Datagram> {
    let sent = world.from(CLIENT).into_iter();
    sent.filter(|d| d.route.is_multicast()).cloned().collect()
}

impl World {
    /// A server opens a registration.
    fn opens(&mut self, node: usize, registration: &Datagram) -> Received {
        let now = at(self.now);
        let key = key(node);
        let contexts = self.nodes[node].endpoint.security_mut();
        let message = registration.message();
        let mut step = contexts.begin_request(now, &message, true).unwrap();
        loop {
            match step {
                Step::Done(Opened::Request(opened)) => {
                    let message = Message::parse(&opened.message).unwrap();
                    let observe = antiphon_wire::OptionNumber::OBSERVE;
                    assert!(message.option(observe).is_some());
                    return opened.received;
                }
                Step::Done(other) => panic!("{other:?}"),
                Step::Work(opening, job) => {
                    let result = match job {
                        job @ (Job::Verify(_) | Job::Agree(_)) => job.run(&key),
                    };
                    step = contexts.finish_request(now, opening, result).unwrap();
                }
            }
        }
    }

    /// A server protects a notification under this token.
    fn says(
        &mut self,
        node: usize,
        received: &mut Received,
        token: Token,
        text: &str,
        mode: Mode,
    ) -> Vec<u8> {
        let mut plain = [0; 128];
        let mid = MessageId(0);
        let mut writer = Writer::new(&mut plain, Type::Non, Code::CONTENT, mid, token).unwrap();
        writer
            .option(antiphon_wire::OptionNumber::OBSERVE, &[])
            .unwrap();
        writer.payload(text.as_bytes()).unwrap();
        let len = writer.finish();
        let message = Message::parse(&plain[..len]).unwrap();
        let now = at(self.now);
        let key = key(node);
        let contexts = self.nodes[node].endpoint.security_mut();
        loop {
            match contexts
                .protect_response(now, &message, received, Some(mode))
                .unwrap()
            {
                Protecting::Done(protected) => return protected.bytes,
                Protecting::Sign(signing) => return signing.sign(&key).unwrap().bytes,
                Protecting::Agree(job) => contexts.agreed(job.run(&key)).unwrap(),
            }
        }
    }

    /// A notification comes to the client, each under a Message ID of its own.
    fn comes(&mut self, node: usize, kind: Type, mid: u16, bytes: &[u8]) -> usize {
        let mut bytes = bytes.to_vec();
        bytes[0] = bytes[0] & 0xcf | if kind == Type::Con { 0 } else { 0x10 };
        bytes[2..4].copy_from_slice(&mid.to_be_bytes());
        let before = self.from(CLIENT).len();
        self.inject(CLIENT, false, address(node), &bytes);
        self.from(CLIENT).len() - before
    }

    /// Whose notifications were delivered, and what they say.
    fn notified(&mut self) -> Vec<(u32, String)> {
        let events = core::mem::take(&mut self.nodes[CLIENT].events);
        let said = |event| match event {
            Event::Observation(ObservationEvent::Notification(n)) => {
                let expected = [LAMP, BELL][n.member.0 as usize];
                assert_eq!(n.sender, proven(expected), "who it is is proven");
                Some((n.member.0, String::from_utf8(n.response.payload).unwrap()))
            }
            _ => None,
        };
        events.into_iter().filter_map(said).collect()
    }

    fn last_reply(&self) -> Type {
        self.from(CLIENT).last().unwrap().message().kind()
    }
}

fn said(member: u32, text: &str) -> (u32, String) {
    (member, text.into())
}

#[test]
fn notifications_of_a_security_group_are_opened_ordered_and_never_taken_twice() {
    let (mut world, id) = watched(|_| {});
    let asked = registrations(&world)[0].clone();
    let token = asked.message().token();
    assert!(asked.option().group_flag);
    assert_eq!(asked.message().code(), Code::FETCH, "it observes something");
    let mut lamp = world.opens(LAMP, &asked);
    let mut bell = world.opens(BELL, &asked);
    let mut one = |world: &mut World, text| world.says(LAMP, &mut lamp, token, text, Mode::Group);
    let (first, second, third) = (
        one(&mut world, "1"),
        one(&mut world, "2"),
        one(&mut world, "3"),
    );
    assert_eq!(world.comes(LAMP, Type::Non, 1, &first), 0);
    assert_eq!(world.comes(LAMP, Type::Con, 2, &third), 1);
    assert_eq!(world.last_reply(), Type::Ack);
    // Overtaken, and replayed under another Message ID.
    world.comes(LAMP, Type::Non, 3, &second);
    world.comes(LAMP, Type::Non, 4, &third);
    let of_bell = world.says(BELL, &mut bell, token, "ding", Mode::Group);
    world.comes(BELL, Type::Non, 5, &of_bell);
    // One changed bit, and no protection at all.
    let mut changed = one(&mut world, "4");
    *changed.last_mut().unwrap() ^= 1;
    world.comes(LAMP, Type::Non, 6, &changed);
    assert_eq!(
        world.notified(),
        [said(0, "1"), said(0, "3"), said(1, "ding")]
    );
    let bare = observe_message(Type::Con, 7, token);
    assert_eq!(world.comes(LAMP, Type::Con, 7, &bare), 1);
    assert_eq!(world.last_reply(), Type::Rst);
    assert!(world.notified().is_empty());
    // What is genuine still comes.
    let fifth = one(&mut world, "5");
    world.comes(LAMP, Type::Non, 8, &fifth);
    assert_eq!(world.notified(), [said(0, "5")]);
    let now = world.now;
    let endpoint = &mut world.nodes[CLIENT].endpoint;
    assert_eq!(endpoint.observation_status(now, id).unwrap().members, 2);
}

/// A notification without protection.
fn observe_message(kind: Type, mid: u16, token: Token) -> Vec<u8> {
    let mut bytes = [0; 64];
    let mid = MessageId(mid);
    let mut writer = Writer::new(&mut bytes, kind, Code::CONTENT, mid, token).unwrap();
    writer
        .uint_option(antiphon_wire::OptionNumber::OBSERVE, 77)
        .unwrap();
    writer.payload(b"forged").unwrap();
    let len = writer.finish();
    bytes[..len].to_vec()
}

// Covers: GO-5.2-02
#[test]
fn registrations_are_made_anew_each_hour_with_a_fresh_partial_iv_under_the_same_token() {
    let (mut world, _) = watched(|_| {});
    world.pass(secs(3 * 3_600));
    let all = registrations(&world);
    assert_eq!(all.len(), 4, "the first, and one each hour");
    let mut numbers: Vec<_> = all.iter().map(|d| d.option().partial_iv.unwrap()).collect();
    numbers.dedup();
    assert_eq!(numbers.len(), 4);
    assert!(numbers.is_sorted());
    for again in &all[1..] {
        assert_eq!(again.message().token(), all[0].message().token());
        assert_ne!(again.message().message_id(), all[0].message().message_id());
    }
    let (mut world, _) = watched(|request| request.every = None);
    world.pass(secs(3 * 3_600));
    assert_eq!(registrations(&world).len(), 1, "the interval is off");
}

#[test]
fn a_member_that_missed_a_registration_is_still_understood() {
    let (mut world, _) = watched(|request| request.every = Some(secs(60)));
    let first = registrations(&world)[0].clone();
    let token = first.message().token();
    let mut lamp = world.opens(LAMP, &first);
    let mut bell = world.opens(BELL, &first);
    let before = world.says(BELL, &mut bell, token, "before", Mode::Group);
    let late = world.says(BELL, &mut bell, token, "late", Mode::Group);
    world.comes(BELL, Type::Non, 1, &before);
    let hello = world.says(LAMP, &mut lamp, token, "hello", Mode::Group);
    world.comes(LAMP, Type::Non, 2, &hello);
    world.notified();
    world.pass(secs(60));
    let second = registrations(&world)[1].clone();
    let mut bell = world.opens(BELL, &second);
    let after = world.says(BELL, &mut bell, token, "after", Mode::Group);
    world.comes(BELL, Type::Non, 3, &after);
    // Bound to the first, and overtaken by what is bound to the second.
    world.comes(BELL, Type::Non, 4, &late);
    // The lamp has not heard the second.
    let faithful = world.says(LAMP, &mut lamp, token, "faithful", Mode::Group);
    world.comes(LAMP, Type::Non, 5, &faithful);
    assert_eq!(world.notified(), [said(1, "after"), said(0, "faithful")]);
    // What is opened as response to an older registration was tried with the newer one first, to no effect.
    world.comes(LAMP, Type::Non, 6, &faithful);
    assert!(world.notified().is_empty());
}

// Covers: GO-5.1-03
#[test]
fn leaving_a_group_ends_its_observations_and_what_comes_later_is_refused() {
    let (mut world, id) = watched(|_| {});
    let asked = registrations(&world)[0].clone();
    let token = asked.message().token();
    let mut lamp = world.opens(LAMP, &asked);
    let first = world.says(LAMP, &mut lamp, token, "1", Mode::Group);
    let late = world.says(LAMP, &mut lamp, token, "2", Mode::Group);
    world.comes(LAMP, Type::Non, 1, &first);
    assert_eq!(world.notified(), [said(0, "1")]);
    let (now, group) = (world.now, world.group());
    let sent = world.sent.len();
    let endpoint = &mut world.nodes[CLIENT].endpoint;
    assert_eq!(endpoint.end_all_in(now, group), 1);
    assert_eq!(endpoint.load().observations, 0, "the token is free");
    world.run();
    assert_eq!(world.sent.len(), sent, "nothing more is sent");
    let events = core::mem::take(&mut world.nodes[CLIENT].events);
    let Some(Event::Observation(ObservationEvent::Ended(outcome))) = events.first() else {
        panic!("{events:?}")
    };
    assert_eq!(
        (outcome.observation, outcome.ended_by),
        (id, ObservationEnd::GroupLeft)
    );
    let before = world.nodes[CLIENT].counters().responses;
    assert_eq!(world.comes(LAMP, Type::Con, 2, &late), 1);
    assert_eq!(world.last_reply(), Type::Rst);
    assert!(world.notified().is_empty());
    assert_eq!(
        world.nodes[CLIENT].counters().responses,
        before,
        "not even opened"
    );
    let endpoint = &mut world.nodes[CLIENT].endpoint;
    assert_eq!(endpoint.end_all_in(now, group), 0);
}

#[test]
fn observations_of_other_groups_outlive_the_leaving_of_one() {
    let (mut world, id) = watched(|_| {});
    let now = world.now;
    let mut unsecured = ObserveRequest::group(
        Request::new(Code::GET).path("t"),
        GroupTarget {
            group: GROUP.into(),
            socket: UNICAST,
            interface: 1,
        },
        Security::Unsecured(crate::collection::NoSec::Accepted),
    );
    unsecured.every = None;
    let endpoint = &mut world.nodes[CLIENT].endpoint;
    let other = endpoint.observe(now, unsecured).unwrap();
    let group = world.group();
    let endpoint = &mut world.nodes[CLIENT].endpoint;
    assert!(endpoint.leave_group(now, group).is_some());
    assert!(endpoint.observation_status(now, id).is_none());
    assert!(endpoint.observation_status(now, other).is_some());
}

#[test]
fn a_silent_member_is_registered_in_person_in_pairwise_mode_and_notifies_on_that() {
    let (mut world, _) = watched(|request| request.follow_up = FollowUp::Unicast { at_once: 4 });
    let asked = registrations(&world)[0].clone();
    let token = asked.message().token();
    let mut bell = world.opens(BELL, &asked);
    let ding = world.says(BELL, &mut bell, token, "ding", Mode::Group);
    world.comes(BELL, Type::Non, 1, &ding);
    world.notified();
    world.pass(secs(6));
    let sent = world.from(CLIENT);
    let in_person: Vec<_> = sent.iter().filter(|d| !d.route.is_multicast()).collect();
    let [in_person] = in_person[..] else {
        panic!("{in_person:?}")
    };
    let in_person = (*in_person).clone();
    assert_eq!(in_person.route.destination, address(LAMP));
    assert!(!in_person.option().group_flag, "pairwise mode");
    let message = in_person.message();
    assert_eq!((message.kind(), message.token()), (Type::Con, token));
    assert_ne!(message.message_id(), asked.message().message_id());
    let mut lamp = world.opens(LAMP, &in_person);
    let first = world.says(LAMP, &mut lamp, token, "first", Mode::Pairwise);
    let second = world.says(LAMP, &mut lamp, token, "second", Mode::Pairwise);
    let third = world.says(LAMP, &mut lamp, token, "third", Mode::Pairwise);
    world.comes(LAMP, Type::Non, 2, &first);
    world.comes(LAMP, Type::Non, 3, &third);
    world.comes(LAMP, Type::Non, 4, &second);
    assert_eq!(world.notified(), [said(0, "first"), said(0, "third")]);
    world.pass(secs(30));
    let again = world.from(CLIENT);
    let unicast = again.iter().filter(|d| !d.route.is_multicast());
    assert_eq!(unicast.count(), 1, "the response has acknowledged it");
    // The other is bound to the registration of all, still.
    let dong = world.says(BELL, &mut bell, token, "dong", Mode::Group);
    world.comes(BELL, Type::Non, 5, &dong);
    assert_eq!(world.notified(), [said(1, "dong")]);
}

#[test]
fn an_observation_outlives_new_keys() {
    let (mut world, _) = watched(|_| {});
    let asked = registrations(&world)[0].clone();
    let token = asked.message().token();
    let mut lamp = world.opens(LAMP, &asked);
    let old = world.says(LAMP, &mut lamp, token, "old keys", Mode::Group);
    world.comes(LAMP, Type::Non, 1, &old);
    for node in [CLIENT, LAMP] {
        super::groups::rekey(&mut world, node);
    }
    let new = world.says(LAMP, &mut lamp, token, "new keys", Mode::Group);
    world.comes(LAMP, Type::Non, 2, &new);
    assert_eq!(world.notified(), [said(0, "old keys"), said(0, "new keys")]);
}

#[test]
fn what_a_removed_member_notifies_is_not_kept() {
    let (mut world, _) = watched(|request| request.cached = true);
    let asked = registrations(&world)[0].clone();
    let token = asked.message().token();
    let mut lamp = world.opens(LAMP, &asked);
    let mut bell = world.opens(BELL, &asked);
    let [first, second] =
        ["1", "2"].map(|text| world.says(LAMP, &mut lamp, token, text, Mode::Group));
    let of_bell = world.says(BELL, &mut bell, token, "ding", Mode::Group);
    let cached = |world: &World| world.nodes[CLIENT].endpoint.load().cached;
    world.comes(LAMP, Type::Non, 1, &first);
    assert_eq!(cached(&world), 1);
    super::cached::rekey_without(&mut world, CLIENT, &[LAMP]);
    assert_eq!(cached(&world), 0, "forgotten with the member");
    // What was protected under the old keys is still opened, as the settings of the group want.
    world.comes(LAMP, Type::Non, 2, &second);
    assert_eq!(world.notified(), [said(0, "1"), said(0, "2")]);
    assert_eq!(cached(&world), 0, "of whoever is no member");
    world.comes(BELL, Type::Non, 3, &of_bell);
    assert_eq!(world.notified(), [said(1, "ding")]);
    assert_eq!(cached(&world), 1, "of the bell");
}

#[test]
fn a_pair_is_observed_by_its_number_as_well() {
    // One server alone, asked in pairwise mode.
    let mut world = world();
    world.nodes[LAMP].deaf = true;
    let route = Route {
        socket: UNICAST,
        source: None,
        interface: 0,
        destination: address(LAMP),
    };
    let protection = to_member(&world, LAMP);
    let mut request = ObserveRequest::one(Request::new(Code::GET).path("t"), route, protection);
    request.every = Some(secs(60));
    let now = world.now;
    world.nodes[CLIENT].endpoint.observe(now, request).unwrap();
    world.run();
    let asked = world.from(CLIENT)[0].clone();
    let token = asked.message().token();
    let mut lamp = world.opens(LAMP, &asked);
    let texts = ["1", "2", "3"];
    let [one, two, three] =
        texts.map(|text| world.says(LAMP, &mut lamp, token, text, Mode::Pairwise));
    world.comes(LAMP, Type::Non, 1, &one);
    world.comes(LAMP, Type::Non, 2, &three);
    world.comes(LAMP, Type::Non, 3, &two);
    assert_eq!(world.notified(), [said(0, "1"), said(0, "3")]);
    world.pass(secs(60));
    let again = world.from(CLIENT).last().unwrap().message().token();
    assert_eq!(again, token);
    let again = (*world.from(CLIENT).last().unwrap()).clone();
    let mut lamp = world.opens(LAMP, &again);
    let four = world.says(LAMP, &mut lamp, token, "4", Mode::Pairwise);
    world.comes(LAMP, Type::Non, 4, &four);
    assert_eq!(world.notified(), [said(0, "4")]);
    world.comes(LAMP, Type::Non, 5, &three);
    assert!(world.notified().is_empty());
}

#[test]
fn members_that_want_to_see_the_address_proven_are_asked_again_under_the_same_token() {
    let mut config = EndpointConfig::default();
    config.server.proven_reachability = Reachability::Required;
    let mut world = world_with(Modes::Both, Settings::default(), config);
    observe(&mut world, |_| {});
    let token = world.from(CLIENT)[0].message().token();
    let sent = world.from(CLIENT);
    let in_person: Vec<_> = sent
        .iter()
        .filter(|d| d.message().kind() == Type::Con)
        .collect();
    assert_eq!(in_person.len(), 2);
    for datagram in in_person {
        assert_eq!(datagram.message().token(), token);
        assert!(!datagram.option().group_flag);
    }
    let mut heard = world.notified();
    heard.sort();
    assert_eq!(heard, [said(0, "I am 1"), said(1, "I am 2")]);
    assert_eq!(world.nodes[LAMP].handled(), 1);
}

#[test]
fn a_member_under_another_sender_id_is_heard_again_from_the_next_registration_on() {
    let (mut world, _) = watched(|request| request.every = Some(secs(60)));
    let first = registrations(&world)[0].clone();
    let token = first.message().token();
    let mut lamp = world.opens(LAMP, &first);
    let before = world.says(LAMP, &mut lamp, token, "before", Mode::Group);
    world.comes(LAMP, Type::Non, 1, &before);
    assert_eq!(world.notified(), [said(0, "before")]);
    // The lamp has a new Sender ID, and the client knows whose it is.
    let new = Kid::new(&[0x77]).unwrap();
    let group = world.nodes[LAMP].group();
    let prepared = group.prepare_sender_id(new, 1_000).unwrap();
    group.commit_sender_id(prepared).unwrap();
    let of_client = world.nodes[CLIENT].group();
    of_client.add_peer(new, credential(LAMP)).unwrap();
    let changed = world.says(LAMP, &mut lamp, token, "changed", Mode::Group);
    world.comes(LAMP, Type::Non, 2, &changed);
    assert!(world.notified().is_empty(), "another kid than its first");
    world.pass(secs(60));
    let second = registrations(&world)[1].clone();
    let mut lamp = world.opens(LAMP, &second);
    let after = world.says(LAMP, &mut lamp, token, "after", Mode::Group);
    world.comes(LAMP, Type::Non, 3, &after);
    // Its numbers have begun anew, and it is fresh all the same.
    assert_eq!(world.notified(), [said(0, "after")]);
    world.comes(LAMP, Type::Non, 4, &changed);
    world.comes(LAMP, Type::Non, 5, &after);
    assert!(world.notified().is_empty());
}

#[test]
fn only_the_last_registrations_are_remembered_and_what_is_forged_counts_for_nothing() {
    let (mut world, id) = watched(|request| request.every = Some(secs(60)));
    let first = registrations(&world)[0].clone();
    let token = first.message().token();
    let mut bell = world.opens(BELL, &first);
    let genuine = world.says(BELL, &mut bell, token, "from the first", Mode::Group);
    for round in 0..4 {
        let last = registrations(&world).last().unwrap().clone();
        let mut lamp = world.opens(LAMP, &last);
        let text = alloc::format!("{round}");
        let told = world.says(LAMP, &mut lamp, token, &text, Mode::Group);
        world.comes(LAMP, Type::Non, round, &told);
        assert_eq!(world.notified(), [said(0, &text)]);
        let mut forged = told.clone();
        *forged.last_mut().unwrap() ^= 1;
        world.comes(LAMP, Type::Non, 100 + round, &forged);
        assert!(world.notified().is_empty());
        if round == 2 {
            world.comes(BELL, Type::Non, 200, &genuine);
            assert_eq!(world.notified(), [said(1, "from the first")]);
        }
        world.pass(secs(60));
    }
    let late = world.says(BELL, &mut bell, token, "too late", Mode::Group);
    world.comes(BELL, Type::Non, 201, &late);
    assert!(world.notified().is_empty());
    let now = world.now;
    let endpoint = &mut world.nodes[CLIENT].endpoint;
    let status = endpoint.observation_status(now, id).unwrap();
    assert_eq!(status.registrations, 5);
}

#[test]
fn a_notification_lifts_the_pause_of_its_member_and_neither_an_old_nor_a_forged_one_does() {
    let mut world = world();
    world.nodes[LAMP].deaf = true;
    let unicast = UnicastRequest {
        reliability: crate::exchange::Reliability::NonConfirmable,
        response_timeout: Some(secs(1)),
        ..request_to(LAMP, "t", to_member(&world, LAMP))
    };
    let (request, protection) = (Request::new(Code::GET).path("t"), to_member(&world, LAMP));
    let request = ObserveRequest::one(request, unicast.route, protection);
    let now = world.now;
    world.nodes[CLIENT].endpoint.observe(now, request).unwrap();
    world.run();
    let asked = world.from(CLIENT)[0].clone();
    let token = asked.message().token();
    let mut lamp = world.opens(LAMP, &asked);
    let [one, two, three] =
        ["1", "2", "3"].map(|text| world.says(LAMP, &mut lamp, token, text, Mode::Pairwise));
    world.comes(LAMP, Type::Non, 1, &one);
    world.comes(LAMP, Type::Non, 2, &two);
    assert_eq!(world.notified(), [said(0, "1"), said(0, "2")]);
    world.ask(unicast.clone());
    world.pass(secs(2));
    let held = world.ask(unicast);
    let waits = |world: &World| world.nodes[CLIENT].endpoint.waiting(world.now, held);
    assert!(waits(&world).is_some());
    world.comes(LAMP, Type::Non, 3, &two);
    assert!(waits(&world).is_some(), "an old one");
    let mut forged = three.clone();
    *forged.last_mut().unwrap() ^= 1;
    world.comes(LAMP, Type::Non, 4, &forged);
    assert!(waits(&world).is_some(), "a forged one");
    let sent = world.comes(LAMP, Type::Non, 5, &three);
    assert_eq!((waits(&world), sent), (None, 1), "it has left");
    assert_eq!(world.notified(), [said(0, "3")]);
}
