//! Notifications in blocks: the client fetches the rest.

use super::*;
use crate::observation::*;

fn of_one(n: usize) -> ObserveRequest {
    let UnicastRequest { request, route, .. } = unicast(n, get());
    ObserveRequest {
        every: None,
        margin: Some(secs(1_000_000)),
        ..ObserveRequest::one(request, route, Protection::None)
    }
}

fn of_group() -> ObserveRequest {
    let target = GroupTarget {
        group: GROUP.into(),
        socket: UNICAST,
        interface: 1,
    };
    let security = Security::Unsecured(NoSec::Accepted);
    ObserveRequest {
        every: None,
        margin: Some(secs(1_000_000)),
        ..ObserveRequest::group(get(), target, security)
    }
}

impl Net {
    fn observe(&mut self, request: ObserveRequest) -> ObservationId {
        let now = self.now;
        let id = self.hosts[CLIENT].endpoint.observe(now, request).unwrap();
        self.drain(CLIENT);
        id
    }

    /// The resource of a host gets another representation, and its observers are told.
    fn change(&mut self, n: usize, body: Vec<u8>) {
        *self.hosts[n].body.lock().unwrap() = body;
        let (now, id) = (self.now, self.hosts[n].resource);
        self.hosts[n].endpoint.changed(now, id);
        self.drain(n);
    }

    /// Who has told what since the last call; what was told by now is forgotten.
    fn heard(&mut self) -> Vec<(SocketAddr, News, Vec<u8>)> {
        let mut heard = Vec::new();
        for event in core::mem::take(&mut self.hosts[CLIENT].events) {
            if let Event::Observation(ObservationEvent::Notification(note)) = event {
                assert_eq!(note.response.options.get(OptionNumber::BLOCK2), None);
                heard.push((note.from.peer, note.news, note.response.payload));
            }
        }
        heard.sort_by_key(|(from, ..)| *from);
        heard
    }

    fn incomplete(&self) -> Vec<Failure> {
        let events = self.hosts[CLIENT].events.iter();
        let failures = events.filter_map(|event| match event {
            Event::Observation(ObservationEvent::Incomplete { failure, .. }) => Some(*failure),
            _ => None,
        });
        failures.collect()
    }

    fn end(&mut self, id: ObservationId) -> ObservationOutcome {
        let now = self.now;
        self.hosts[CLIENT].endpoint.end_observation(now, id);
        self.pass(secs(1_000));
        let mut events = self.hosts[CLIENT].events.iter();
        let outcome = events.find_map(|event| match event {
            Event::Observation(ObservationEvent::Ended(outcome)) => Some(outcome.clone()),
            _ => None,
        });
        let endpoint = &self.hosts[CLIENT].endpoint;
        assert!(endpoint.client.transfers.is_clear());
        assert_eq!(endpoint.load().exchanges, 0);
        outcome.expect("ended")
    }
}

/// The block that a request asks for.
fn number(datagram: &Flying) -> Option<u32> {
    datagram.block(OptionNumber::BLOCK2).map(|(num, ..)| num)
}

#[test]
fn the_rest_of_each_notification_is_fetched_by_unicast_without_observe() {
    let mut net = Net::new(4);
    let id = net.observe(of_group());
    net.pass(secs(10));
    let first = |n| (address(n), News::First, body(3_000));
    assert_eq!(net.heard(), [first(1), first(2), first(3)]);
    let token = net.requests()[0].message().token();
    net.sent.clear();
    net.change(2, body(1_500));
    net.pass(secs(10));
    assert_eq!(net.heard(), [(address(2), News::Update, body(1_500))]);
    let note = net.sent.iter().find(|d| d.from == 2).unwrap();
    assert_eq!(note.message().token(), token);
    let (num, more, size) = note.block(OptionNumber::BLOCK2).unwrap();
    assert_eq!((num, more), (0, true));
    let asked = net.requests();
    let numbers: Vec<_> = asked.iter().map(|d| number(d).unwrap()).collect();
    let blocks = u32::try_from(1_500_usize.div_ceil(size)).unwrap();
    assert_eq!(numbers, (1..blocks).collect::<Vec<_>>());
    for request in asked {
        let message = request.message();
        assert_eq!(message.kind(), Type::Con);
        assert_eq!(message.option(OptionNumber::OBSERVE), None);
        assert_ne!(message.token(), token);
        assert_eq!(request.route.destination, address(2));
    }
    let outcome = net.end(id);
    assert_eq!(outcome.notifications, 4);
    assert_eq!(outcome.dropped, ObservationDropped::default());
}

#[test]
fn a_newer_notification_takes_the_place_of_one_that_is_being_fetched() {
    let mut net = Net::new(2);
    net.observe(of_one(1));
    net.pass(secs(1));
    assert_eq!(net.heard().len(), 1);
    // Every notification may follow at once.
    net.pass(secs(30));
    net.sent.clear();
    net.change(1, body(2_100));
    net.pass(Duration::from_millis(12));
    assert_eq!(net.requests().len(), 1, "the second block is on its way");
    net.pass(secs(30));
    assert_eq!(net.heard(), [(address(1), News::Update, body(2_100))]);

    net.sent.clear();
    net.delay = secs(4);
    net.change(1, [body(1_024), body(1_024), body(50)].concat());
    net.pass(secs(9));
    let newest = [body(1_100), body(1_024)].concat();
    net.change(1, newest.clone());
    net.delay = Duration::from_millis(5);
    net.pass(secs(100));
    assert_eq!(net.heard(), [(address(1), News::Update, newest)]);
    let endpoint = &net.hosts[CLIENT].endpoint;
    assert!(endpoint.client.transfers.is_clear());
}

#[test]
fn what_was_new_about_a_notification_that_was_overtaken_is_new_about_the_next() {
    let mut net = Net::new(2);
    net.delay = secs(1);
    let id = net.observe(of_one(1));
    net.pass(Duration::from_millis(3_500));
    assert_eq!(
        net.requests().len(),
        2,
        "the first answer is there, and the next block asked for"
    );
    net.delay = Duration::from_millis(5);
    net.change(1, body(20));
    net.pass(secs(100));
    assert_eq!(net.heard(), [(address(1), News::First, body(20))]);
    let outcome = net.end(id);
    assert_eq!((outcome.notifications, outcome.dropped.superseded), (1, 1));
}

#[test]
fn blocks_of_different_representations_are_never_put_together() {
    let mut net = Net::with(2, |_, config| config.server.blocks.kept = 0);
    net.observe(of_one(1));
    net.pass(Duration::from_millis(12));
    assert_eq!(net.requests().len(), 2);
    // It changes, and nobody says so.
    let other: Vec<u8> = body(2_500).iter().map(|byte| !byte).collect();
    *net.hosts[1].body.lock().unwrap() = other.clone();
    net.pass(secs(10));
    assert_eq!(net.heard(), [(address(1), News::First, other)]);
    let again = net.requests();
    let again = again.iter().skip(2).find(|d| number(d).is_none()).unwrap();
    assert_eq!(
        again.message().option(OptionNumber::OBSERVE),
        None,
        "it is an observer already"
    );
}

#[test]
fn a_rest_that_cannot_be_had_is_told_and_the_next_notification_comes_whole() {
    let mut net = Net::new(2);
    let id = net.observe(of_one(1));
    net.pass(secs(10));
    assert_eq!(net.heard(), [(address(1), News::First, body(3_000))]);
    net.change(1, body(2_100));
    net.pass(Duration::from_millis(12));
    net.loss = 100;
    net.pass(secs(100));
    assert_eq!(net.incomplete(), [Failure::TimedOut]);
    assert!(net.heard().is_empty());
    net.loss = 0;
    net.change(1, body(1_030));
    net.pass(secs(100));
    assert_eq!(net.heard(), [(address(1), News::Update, body(1_030))]);
    let outcome = net.end(id);
    assert_eq!((outcome.notifications, outcome.dropped.incomplete), (2, 1));
}

#[test]
fn a_notification_above_its_limit_is_not_put_together() {
    for (limit, whole) in [(3_000, true), (2_999, false)] {
        let mut net = Net::new(2);
        let mut request = of_one(1);
        request.limits.response_bytes = limit;
        net.observe(request);
        net.pass(secs(10));
        let failures = net.incomplete();
        assert_eq!(net.heard().len(), usize::from(whole));
        let too_large = Failure::Body(BodyFailure::TooLarge(2_999));
        assert_eq!(
            failures,
            if whole {
                Vec::new()
            } else {
                Vec::from([too_large])
            }
        );
    }
    let mut net = Net::with(2, |_, config| config.transfers.bytes = 1_000);
    net.observe(of_one(1));
    net.pass(secs(10));
    assert_eq!(net.incomplete(), [Failure::Body(BodyFailure::Crowded)]);
    // The limit of all bodies counts too.
    let mut net = Net::with(2, |_, config| config.transfers.body = 2_000);
    net.observe(of_one(1));
    net.pass(secs(10));
    let too_large = Failure::Body(BodyFailure::TooLarge(2_000));
    assert_eq!(net.incomplete(), [too_large]);
}

#[test]
fn what_waits_for_its_turn_to_be_fetched_gives_way_alone() {
    let mut net = Net::with(5, |_, config| config.transfers.at_once = 1);
    net.delay = Duration::from_millis(200);
    let id = net.observe(of_group());
    // All first blocks are there, and one rest is being fetched.
    net.pass(Duration::from_millis(450));
    assert_eq!(net.hosts[CLIENT].endpoint.load().exchanges, 1);
    net.change(3, body(30));
    net.pass(secs(60));
    let heard = net.heard();
    let lengths: Vec<_> = heard
        .iter()
        .map(|(from, _, body)| (*from, body.len()))
        .collect();
    let expected = [(1, 3_000), (2, 3_000), (3, 30), (4, 3_000)];
    let mut expected = expected.map(|(n, length)| (address(n), length));
    expected.sort();
    assert_eq!(lengths, expected);
    let outcome = net.end(id);
    assert_eq!(outcome.dropped.superseded, 1);
}

#[test]
fn so_many_rests_are_fetched_at_the_same_time() {
    let mut net = Net::with(7, |_, config| config.transfers.at_once = 2);
    net.observe(of_group());
    let mut most = 0;
    for _ in 0..2_000 {
        net.pass(Duration::from_millis(1));
        most = most.max(net.hosts[CLIENT].endpoint.load().exchanges);
    }
    assert_eq!(most, 2);
    net.pass(secs(50));
    assert_eq!(net.heard().len(), 6);
}

/// Why the client's observation ended.
fn ended(net: &Net) -> Option<ObservationEnd> {
    let mut events = net.hosts[CLIENT].events.iter();
    events.find_map(|event| match event {
        Event::Observation(ObservationEvent::Ended(outcome)) => Some(outcome.ended_by),
        _ => None,
    })
}

#[test]
fn who_does_not_notify_gives_its_one_answer_whole() {
    let mut net = Net::with(2, |_, config| config.server.observe.observers = 0);
    net.observe(of_one(1));
    net.pass(secs(10));
    let why = ObservationEnd::ByServer(MemberEnd::NotObserved);
    assert_eq!(ended(&net), Some(why));
    assert_eq!(net.heard(), [(address(1), News::First, body(3_000))]);
}

#[test]
fn who_does_not_notify_and_whose_rest_cannot_be_had_ends_the_observation() {
    let mut net = Net::with(2, |_, config| config.server.observe.observers = 0);
    let mut request = of_one(1);
    request.limits.response_bytes = 2_999;
    net.observe(request);
    net.pass(secs(10));
    assert_eq!(net.incomplete().len(), 1);
    let why = ObservationEnd::ByServer(MemberEnd::NotObserved);
    assert_eq!(ended(&net), Some(why));
}

#[test]
fn ending_an_observation_breaks_the_fetching_off() {
    let mut net = Net::new(4);
    net.delay = Duration::from_millis(100);
    let id = net.observe(of_group());
    net.pass(Duration::from_millis(350));
    assert!(net.hosts[CLIENT].endpoint.client.transfers.len() > 0);
    let outcome = net.end(id);
    assert_eq!(outcome.notifications, 0);
    assert!(net.incomplete().is_empty());
}
