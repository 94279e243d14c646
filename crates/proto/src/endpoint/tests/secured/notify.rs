//! Observed resources of members of a security group: each notification is protected for itself.

pub(super) mod pairs;

use core::sync::atomic::AtomicBool;

use super::*;
use crate::identity::SecurityMode;
use crate::observation::*;
use crate::policy::AccessRequest;
use crate::resource::ResourceId;
use antiphon_wire::OptionNumber;

const LEISURE: Duration = Duration::from_secs(3);

/// A world in which the lamp and the bell can be observed.
struct Watched {
    world: World,
    ids: [ResourceId; 2],
    value: Arc<AtomicU32>,
    permitted: Arc<AtomicBool>,
    /// How the requests were protected that were asked, or asked again.
    modes: Arc<std::sync::Mutex<Vec<SecurityMode>>>,
}

fn watched() -> Watched {
    watched_with(Settings {
        retention: Duration::from_secs(60),
        ..Settings::default()
    })
}

fn watched_with(settings: Settings) -> Watched {
    watched_in(world_of(Modes::Both, settings), Methods::NONE)
}

/// In this world, and only for requests that are known to be fresh with these methods.
fn watched_in(mut world: World, fresh: Methods) -> Watched {
    let value = Arc::new(AtomicU32::new(0));
    let permitted = Arc::new(AtomicBool::new(true));
    let modes = Arc::new(std::sync::Mutex::new(Vec::new()));
    let ids = [LAMP, BELL].map(|node| {
        let (state, allowed, noted) = (value.clone(), permitted.clone(), modes.clone());
        let policy = GroupPolicy::silent().leisure(Leisure::Fixed(LEISURE));
        let resource = Resource::at("o")
            .get(move |_, response| {
                let value = state.load(Ordering::Relaxed);
                response.set_payload(
                    ContentFormat::TEXT,
                    alloc::format!("{node}: {value}").as_bytes(),
                );
                response.options.push_uint(OptionNumber::MAX_AGE, 100_000);
            })
            .permits(move |asked: &AccessRequest<'_>| {
                noted.lock().unwrap().push(asked.mode);
                allowed.load(Ordering::Relaxed)
            })
            .fresh(fresh)
            .group_policy(policy)
            .observable();
        world.nodes[node]
            .endpoint
            .server_mut()
            .add(resource)
            .unwrap()
    });
    Watched {
        world,
        ids,
        value,
        permitted,
        modes,
    }
}

impl Watched {
    /// The client observes both through the group.
    fn observe_group(&mut self) -> ObservationId {
        let target = GroupTarget {
            group: GROUP.into(),
            socket: UNICAST,
            interface: 1,
        };
        let security = Security::Group(self.world.group());
        let request = Request::new(Code::GET).path("o");
        let mut request = ObserveRequest::group(request, target, security);
        request.expect = both();
        request.every = None;
        request.leisure = LEISURE;
        self.observe(request)
    }

    /// The client observes the lamp in person.
    fn observe_lamp(&mut self) -> ObservationId {
        let route = request_to(LAMP, "o", Protection::None).route;
        let protection = to_member(&self.world, LAMP);
        let request = Request::new(Code::GET).path("o");
        let mut request = ObserveRequest::one(request, route, protection);
        request.every = None;
        self.observe(request)
    }

    fn observe(&mut self, request: ObserveRequest) -> ObservationId {
        let now = self.world.now;
        let id = self.world.nodes[CLIENT]
            .endpoint
            .observe(now, request)
            .unwrap();
        self.world.run();
        id
    }

    /// The resource of a member gets a new value.
    fn change(&mut self, node: usize, value: u32) {
        self.value.store(value, Ordering::Relaxed);
        let id = self.ids[node - 1];
        let now = self.world.now;
        self.world.nodes[node].endpoint.changed(now, id);
        self.world.run();
    }

    fn observers(&self, node: usize) -> usize {
        let server = self.world.nodes[node].endpoint.server();
        server.observers_of(self.ids[node - 1])
    }

    /// What the client has been told, in order, and by whom.
    fn heard(&mut self) -> Vec<(String, Sender)> {
        let mut heard = Vec::new();
        for event in core::mem::take(&mut self.world.nodes[CLIENT].events) {
            if let Event::Observation(ObservationEvent::Notification(note)) = event {
                let text = String::from_utf8(note.response.payload).unwrap();
                heard.push((text, note.sender));
            }
        }
        heard
    }

    fn texts(&mut self) -> Vec<String> {
        let mut texts: Vec<_> = self.heard().into_iter().map(|(text, _)| text).collect();
        texts.sort();
        texts
    }
}

#[test]
fn each_notification_through_a_group_is_signed_for_itself_under_its_own_partial_iv() {
    let mut w = watched();
    w.observe_group();
    w.world.pass(2 * LEISURE);
    assert_eq!(w.texts(), ["1: 0", "2: 0"], "whatever the policy");
    assert_eq!((w.observers(LAMP), w.observers(BELL)), (1, 1));
    let mut partial_ivs = Vec::new();
    for value in 1..4 {
        w.world.forget_sent();
        w.change(LAMP, value);
        w.change(BELL, value);
        assert!(w.world.from(LAMP).is_empty(), "its leisure");
        w.world.pass(LEISURE);
        for node in [LAMP, BELL] {
            let sent = w.world.from(node);
            let [note] = sent.as_slice() else {
                panic!("{sent:?}")
            };
            assert!(
                note.option().group_flag,
                "group mode answers what came through a group"
            );
            assert_eq!(
                note.message().code(),
                Code::CONTENT,
                "a notification's outer code (RFC 8613 section 4.2)"
            );
            assert!(note.message().option(OptionNumber::OBSERVE).is_some());
            assert_eq!(note.route.destination, address(CLIENT));
            assert!(!note.route.is_multicast());
            partial_ivs.push((node, note.option().partial_iv.expect("its own")));
        }
        let heard = w.heard();
        assert_eq!(heard.len(), 2);
        for (node, text) in [(LAMP, "1"), (BELL, "2")] {
            let told = heard.iter().find(|(_, sender)| *sender == proven(node));
            assert_eq!(told.unwrap().0, alloc::format!("{text}: {value}"));
        }
    }
    partial_ivs.sort();
    partial_ivs.dedup();
    assert_eq!(partial_ivs.len(), 6);
    let counters = w.world.nodes[LAMP].endpoint.counters().observers;
    assert_eq!(
        (
            counters.notifications,
            counters.confirmable,
            counters.acknowledged
        ),
        (3, 1, 1)
    );
}

#[test]
fn in_person_notifications_are_protected_for_the_observer_alone() {
    let mut w = watched();
    w.observe_lamp();
    assert_eq!(w.texts(), ["1: 0"]);
    let first = w.world.from(LAMP).last().unwrap().option().partial_iv;
    assert_eq!(
        first, None,
        "the first answer may use the nonce of the request"
    );
    for value in 1..3 {
        w.world.pass(Duration::from_secs(4));
        w.world.forget_sent();
        w.change(LAMP, value);
        let sent = w.world.from(LAMP);
        assert!(!sent[0].option().group_flag, "pairwise mode");
        assert!(sent[0].option().partial_iv.is_some());
        assert_eq!(w.texts(), [alloc::format!("1: {value}")]);
    }
}

#[test]
fn a_notification_is_made_when_it_may_leave_and_repeated_as_it_is() {
    let mut w = watched();
    w.observe_lamp();
    let before = w.world.nodes[LAMP].counters().protected;
    w.world.forget_sent();
    w.world.nodes[CLIENT].deaf = true;
    for value in 1..6 {
        w.change(LAMP, value);
    }
    w.world.pass(Duration::from_secs(20));
    let sent: Vec<Vec<u8>> = w.world.from(LAMP).iter().map(|d| d.bytes.clone()).collect();
    assert!(sent.len() >= 3, "a Confirmable one and its repetitions");
    assert!(sent.iter().all(|bytes| *bytes == sent[0]));
    assert_eq!(
        w.world.nodes[LAMP].counters().protected,
        before + 1,
        "for five changes"
    );
    w.world.nodes[CLIENT].deaf = false;
    w.world.pass(Duration::from_secs(40));
    let texts = w.texts();
    assert_eq!(texts.last().map(String::as_str), Some("1: 5"), "{texts:?}");
    assert_eq!(w.world.nodes[LAMP].counters().protected, before + 2);
    // Nobody listens any more: the observation ends with the last repetition.
    w.world.nodes[CLIENT].deaf = true;
    for value in 6..16 {
        w.change(LAMP, value);
        w.world.pass(Duration::from_secs(4));
    }
    w.world.pass(Duration::from_secs(100));
    assert_eq!(w.observers(LAMP), 0);
}

#[test]
fn while_a_signature_is_made_changes_wait_and_the_last_one_counts() {
    let mut w = watched();
    w.observe_group();
    w.world.pass(2 * LEISURE);
    w.world.forget_sent();
    w.world.nodes[LAMP].worker = Worker::Held;
    w.change(LAMP, 1);
    w.world.pass(LEISURE);
    assert_eq!(w.world.nodes[LAMP].waiting.len(), 1);
    w.change(LAMP, 2);
    w.change(LAMP, 3);
    assert_eq!(w.world.nodes[LAMP].waiting.len(), 1, "one at a time");
    w.world.nodes[LAMP].worker = Worker::Eager;
    let work = w.world.nodes[LAMP].waiting.pop().unwrap();
    let now = w.world.now;
    w.world.nodes[LAMP].work(now, work);
    w.world.run();
    assert_eq!(w.texts(), ["1: 1"]);
    w.world.pass(2 * LEISURE);
    assert_eq!(w.texts(), ["1: 3"]);
}

#[test]
fn a_key_that_fails_puts_the_notification_off() {
    let mut w = watched();
    w.observe_group();
    w.world.pass(2 * LEISURE);
    w.heard();
    w.world.nodes[LAMP].worker = Worker::Fails;
    w.change(LAMP, 1);
    w.world.pass(2 * LEISURE);
    assert!(w.heard().is_empty());
    assert!(w.world.nodes[LAMP].endpoint.counters().observers.put_off > 0);
    assert_eq!(w.observers(LAMP), 1);
    w.world.nodes[LAMP].worker = Worker::Eager;
    w.world.pass(2 * LEISURE);
    assert_eq!(w.texts(), ["1: 1"]);
}

#[test]
fn who_may_no_more_is_told_so_in_person_and_is_an_observer_no_more() {
    let mut w = watched();
    w.observe_lamp();
    w.world.pass(Duration::from_secs(1));
    w.world.nodes[CLIENT].events.clear();
    w.permitted.store(false, Ordering::Relaxed);
    w.change(LAMP, 1);
    assert_eq!(w.observers(LAMP), 0);
    let told = w.world.nodes[CLIENT].events.iter().any(|event| {
        matches!(event, Event::Observation(ObservationEvent::MemberEnded { why, .. }) if *why == MemberEnd::Error(Code::FORBIDDEN))
            || matches!(event, Event::Observation(ObservationEvent::Ended(_)))
    });
    assert!(told, "{:?}", w.world.nodes[CLIENT].events);
    let texts: Vec<_> = w
        .texts()
        .into_iter()
        .filter(|text| text.starts_with('1'))
        .collect();
    assert!(texts.is_empty(), "and of the resource nothing: {texts:?}");
    // Through a group nobody without permission is answered.
    let mut w = watched();
    w.observe_group();
    w.world.pass(2 * LEISURE);
    w.heard();
    w.world.forget_sent();
    w.permitted.store(false, Ordering::Relaxed);
    w.change(LAMP, 1);
    w.world.pass(2 * LEISURE);
    assert!(w.world.from(LAMP).is_empty());
    assert_eq!((w.observers(LAMP), w.observers(BELL)), (0, 1));
}

/// The group has new keys; who is named gets another Sender ID with them.
fn new_keys(w: &mut Watched, new_id: Option<(usize, Kid)>) {
    for node in 0..NODES {
        let id = new_id.filter(|(of, _)| *of == node).map(|(_, kid)| kid);
        let parameters = parameters(Modes::Both, 2, 2);
        let kids = Vec::new();
        let stale = Stale::Since {
            generation: 1,
            kids,
        };
        let now = w.world.now;
        let group = w.world.nodes[node].group();
        let prepared = group.prepare_install(parameters, id, stale, 1_000).unwrap();
        group
            .commit_install(prepared, crate::security::at(now))
            .unwrap();
        if let Some((of, kid)) = new_id
            && of != node
        {
            group.add_peer(kid, credential(of)).unwrap();
        }
        w.world.nodes[node].endpoint.keys_changed(now);
    }
    w.world.run();
}

#[test]
fn observations_outlive_new_keys() {
    let mut w = watched();
    w.observe_group();
    w.world.pass(2 * LEISURE);
    w.heard();
    new_keys(&mut w, None);
    assert_eq!((w.observers(LAMP), w.observers(BELL)), (1, 1));
    w.world.forget_sent();
    w.change(LAMP, 7);
    w.world.pass(LEISURE);
    let note = w.world.from(LAMP)[0].clone();
    assert_eq!(
        note.option().kid_context,
        Some([0x47, 2].as_slice()),
        "the new keys are named"
    );
    assert_eq!(w.texts(), ["1: 7"]);
    w.change(BELL, 8);
    w.world.pass(2 * LEISURE);
    assert_eq!(w.texts(), ["2: 8"]);
}

// Covers: GO-7.4-11
#[test]
fn under_another_sender_id_a_server_ends_its_observations() {
    for with_new_keys in [false, true] {
        let mut w = watched();
        w.observe_group();
        w.world.pass(2 * LEISURE);
        w.heard();
        let new = Kid::new(&[0x77]).unwrap();
        if with_new_keys {
            new_keys(&mut w, Some((LAMP, new)));
        } else {
            let now = w.world.now;
            let group = w.world.nodes[LAMP].group();
            let prepared = group.prepare_sender_id(new, 64).unwrap();
            group.commit_sender_id(prepared).unwrap();
            w.world.nodes[LAMP].endpoint.keys_changed(now);
        }
        assert_eq!((w.observers(LAMP), w.observers(BELL)), (0, 1));
        w.world.forget_sent();
        w.change(LAMP, 1);
        w.change(BELL, 1);
        w.world.pass(2 * LEISURE);
        assert!(w.world.from(LAMP).is_empty(), "clients need not follow");
        assert_eq!(w.texts(), ["2: 1"]);
    }
}

#[test]
fn a_notification_that_was_being_signed_under_the_old_sender_id_does_not_leave_under_the_new() {
    let mut w = watched();
    w.observe_group();
    w.world.pass(2 * LEISURE);
    w.world.nodes[LAMP].worker = Worker::Held;
    w.change(LAMP, 1);
    w.world.pass(LEISURE);
    let work = w.world.nodes[LAMP].waiting.pop().unwrap();
    w.world.forget_sent();
    w.world.nodes[LAMP].worker = Worker::Eager;
    let now = w.world.now;
    let group = w.world.nodes[LAMP].group();
    let prepared = group
        .prepare_sender_id(Kid::new(&[0x77]).unwrap(), 64)
        .unwrap();
    group.commit_sender_id(prepared).unwrap();
    w.world.nodes[LAMP].endpoint.keys_changed(now);
    w.world.nodes[LAMP].work(now, work);
    w.world.run();
    w.world.pass(LEISURE);
    assert!(w.world.from(LAMP).is_empty());
    assert_eq!(w.observers(LAMP), 0);
}

#[test]
fn the_observations_of_a_member_that_was_removed_end() {
    let mut w = watched();
    w.observe_group();
    w.world.pass(2 * LEISURE);
    w.world.forget_sent();
    w.world.nodes[LAMP].group().remove_peer(kid(CLIENT));
    // Noticed at the next notification at the latest, and as soon as the endpoint is told.
    w.change(LAMP, 1);
    w.world.pass(2 * LEISURE);
    assert!(w.world.from(LAMP).is_empty());
    assert_eq!(w.observers(LAMP), 0);
    let now = w.world.now;
    w.world.nodes[BELL].group().remove_peer(kid(CLIENT));
    w.world.nodes[BELL].endpoint.keys_changed(now);
    assert_eq!(w.observers(BELL), 0);
}

#[test]
fn leaving_the_security_group_ends_its_observations() {
    let mut w = watched();
    w.observe_group();
    w.world.pass(2 * LEISURE);
    let (now, group) = (w.world.now, w.world.nodes[LAMP].group);
    w.world.nodes[LAMP]
        .endpoint
        .leave_group(now, group)
        .unwrap();
    assert_eq!((w.observers(LAMP), w.observers(BELL)), (0, 1));
}

#[test]
fn nobody_else_ends_or_takes_over_an_observation_by_its_token() {
    let mut w = watched();
    w.observe_lamp();
    let registration = w.world.from(CLIENT)[0].clone();
    let token = registration.message().token();
    // The resource is open to anyone now; the stranger asks from the client's own address.
    for observe in [[1].as_slice(), &[]] {
        let mut bytes = [0; 64];
        let mut writer = Writer::new(
            &mut bytes,
            Type::Con,
            Code::GET,
            MessageId(900 + observe.len() as u16),
            token,
        )
        .unwrap();
        writer.option(OptionNumber::OBSERVE, observe).unwrap();
        writer.option(OptionNumber::URI_PATH, b"o").unwrap();
        let len = writer.finish();
        w.world.inject(LAMP, false, address(CLIENT), &bytes[..len]);
        assert_eq!(w.observers(LAMP), 1);
    }
    w.world.nodes[CLIENT].events.clear();
    w.change(LAMP, 5);
    assert_eq!(w.texts(), ["1: 5"]);
    assert_eq!(
        w.world.nodes[LAMP]
            .endpoint
            .counters()
            .observers
            .deregistered,
        0
    );
}

#[test]
fn a_replayed_registration_changes_nothing() {
    let mut w = watched();
    let id = w.observe_lamp();
    let registration = w.world.from(CLIENT)[0].clone();
    let now = w.world.now;
    w.world.nodes[CLIENT].endpoint.end_observation(now, id);
    w.world.run();
    assert_eq!(w.observers(LAMP), 0, "deregistered under protection");
    let mut replayed = registration.bytes.clone();
    replayed[2..4].copy_from_slice(&[0xbe, 0xef]);
    w.world.inject(LAMP, false, address(CLIENT), &replayed);
    assert_eq!(w.observers(LAMP), 0);
}

#[test]
fn a_registration_that_is_not_answered_for_lack_of_room_leaves_no_observer() {
    let mut w = watched();
    w.world.nodes[LAMP].worker = Worker::Held;
    w.observe_group();
    // The signature of the request, and then that of the answer.
    let now = w.world.now;
    let work = w.world.nodes[LAMP].waiting.pop().unwrap();
    w.world.nodes[LAMP].work(now, work);
    w.world.run();
    assert_eq!(w.observers(LAMP), 1);
    w.world.pass(LEISURE);
    assert_eq!(w.world.nodes[LAMP].waiting.len(), 1);
    w.world.pass(Duration::from_secs(20));
    assert_eq!(w.observers(LAMP), 0, "its answer was given up");
}

#[test]
fn a_reset_of_the_first_answer_ends_a_protected_observation_too() {
    let mut w = watched();
    w.observe_group();
    w.world.pass(2 * LEISURE);
    assert_eq!((w.observers(LAMP), w.observers(BELL)), (1, 1));
    let mid = w.world.from(LAMP)[0].message().message_id();
    let reset = crate::endpoint::answer::empty(Type::Rst, mid);
    let path = Path {
        socket: UNICAST,
        local: address(LAMP),
        interface: 1,
        peer: address(CLIENT),
    };
    let now = w.world.now;
    w.world.nodes[LAMP]
        .endpoint
        .handle_datagram(now, path, &reset);
    assert_eq!((w.observers(LAMP), w.observers(BELL)), (0, 1));
}

#[test]
fn whoever_was_admitted_is_asked_for_again_as_the_same() {
    // The lamp demands that the observer is fresh and reachable: that was shown once.
    let doubting = world_with(Modes::Both, Settings::default(), EndpointConfig::default());
    let mut w = watched_in(doubting, Methods::GET);
    w.observe_lamp();
    assert_eq!(w.texts(), ["1: 0"]);
    assert_eq!(w.world.nodes[LAMP].counters().challenges, 1);
    let pairwise = SecurityMode::Pairwise { only: false };
    for value in 1..3 {
        w.modes.lock().unwrap().clear();
        w.world.pass(Duration::from_secs(4));
        w.change(LAMP, value);
        assert_eq!(w.texts(), [alloc::format!("1: {value}")]);
        assert_eq!(*w.modes.lock().unwrap(), [pairwise]);
    }
    assert_eq!(w.world.nodes[LAMP].counters().challenges, 1);

    let mut w = watched();
    w.observe_group();
    w.world.pass(2 * LEISURE);
    assert_eq!(w.texts().len(), 2);
    w.modes.lock().unwrap().clear();
    w.change(LAMP, 1);
    w.world.pass(LEISURE);
    assert_eq!(w.texts(), ["1: 1"]);
    assert_eq!(*w.modes.lock().unwrap(), [SecurityMode::Group]);
}

#[test]
fn whoever_has_shown_that_it_is_reachable_is_told_large_states_through_a_group_too() {
    let mut config = EndpointConfig::default();
    config.server.proven_reachability = Reachability::WhenAmplified;
    let world = world_with(Modes::Both, Settings::default(), config);
    let mut w = watched_in(world, Methods::NONE);
    // More than three times the request.
    let state = w.value.clone();
    let large = move |_: &crate::resource::Incoming<'_>, response: &mut Response| {
        let value = state.load(Ordering::Relaxed);
        let text = alloc::format!("{value:0200}");
        response.set_payload(ContentFormat::TEXT, text.as_bytes());
        response.options.push_uint(OptionNumber::MAX_AGE, 100_000);
    };
    let policy = GroupPolicy::respond()
        .limit(1_000)
        .leisure(Leisure::Fixed(LEISURE));
    let resource = Resource::at("state").get(large).group_policy(policy);
    let server = w.world.nodes[LAMP].endpoint.server_mut();
    w.ids[0] = server.add(resource.observable()).unwrap();
    let target = GroupTarget {
        group: GROUP.into(),
        socket: UNICAST,
        interface: 1,
    };
    let security = Security::Group(w.world.group());
    let request = Request::new(Code::GET).path("state");
    let mut request = ObserveRequest::group(request, target, security);
    request.every = None;
    request.leisure = LEISURE;
    w.observe(request);
    w.world.pass(4 * LEISURE);
    assert_eq!(w.texts(), [alloc::format!("{:0200}", 0)]);
    let challenges = w.world.nodes[LAMP].counters().challenges;
    assert!(challenges > 0);
    for value in 1..3 {
        w.change(LAMP, value);
        w.world.pass(2 * LEISURE);
        assert_eq!(w.texts(), [alloc::format!("{value:0200}")]);
    }
    assert_eq!(w.world.nodes[LAMP].counters().challenges, challenges);
    assert_eq!(w.observers(LAMP), 1);
}
