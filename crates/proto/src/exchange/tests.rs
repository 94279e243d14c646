mod exact;

use antiphon_wire::Code;

use super::*;
use crate::path::SocketId;

/// An exchange table with everything around it that the endpoint has.
struct Bench {
    now: Instant,
    rng: Rng,
    mids: MessageIds,
    confirmables: Confirmables<Sent<()>>,
    exchanges: Exchanges<()>,
    out: Vec<u8>,
}

fn bench(parameters: Transmission, limit: usize) -> Bench {
    let mut rng = Rng::from_seed([4; 32]);
    Bench {
        now: Instant::ZERO,
        mids: MessageIds::new(
            &Transmission::default(),
            MessageIds::DEFAULT_LIMIT,
            &mut rng,
        ),
        confirmables: Confirmables::new(&mut rng),
        exchanges: Exchanges::new(parameters, limit, &mut rng),
        rng,
        out: Vec::new(),
    }
}

fn peer(host: u8) -> SocketAddr {
    ([10, 0, 0, host], 5683).into()
}

fn to(host: u8, reliability: Reliability) -> UnicastRequest {
    UnicastRequest {
        request: Request::new(Code::GET).path("/t"),
        route: Route {
            socket: SocketId(3),
            source: None,
            interface: 0,
            destination: peer(host),
        },
        reliability,
        response_timeout: None,
        protection: Protection::None,
    }
}

impl Bench {
    fn ask(&mut self, unicast: UnicastRequest) -> ExchangeId {
        self.exchanges
            .start(self.now, &mut self.rng, Owner::Application, unicast)
            .unwrap()
    }

    fn sent(&mut self) -> Option<Route> {
        self.exchanges.poll_transmit(
            self.now,
            &mut self.rng,
            &mut self.mids,
            &mut self.confirmables,
            &mut self.out,
        )
    }

    /// The response to the message in `out`, of another type if that is wanted.
    fn response(&self, kind: Type) -> Vec<u8> {
        let request = Message::parse(&self.out).unwrap();
        let mut bytes = [0; 64];
        let writer = Writer::new(
            &mut bytes,
            kind,
            Code::CONTENT,
            request.message_id(),
            request.token(),
        )
        .unwrap();
        let len = writer.finish();
        bytes[..len].to_vec()
    }

    fn matches(&self, response: &[u8], from: SocketAddr, socket: u16) -> Option<ExchangeId> {
        let path = Path {
            socket: SocketId(socket),
            local: ([10, 0, 0, 99], 40_000).into(),
            interface: 1,
            peer: from,
        };
        self.exchanges
            .matching(&path, &Message::parse(response).unwrap())
    }
}

#[test]
fn a_response_matches_by_token_peer_and_socket() {
    let mut bench = bench(Transmission::default(), 10);
    let id = bench.ask(to(1, Reliability::NonConfirmable));
    assert_eq!(bench.sent().unwrap().destination, peer(1));
    let response = bench.response(Type::Non);
    assert_eq!(bench.matches(&response, peer(1), 3), Some(id));
    assert_eq!(
        bench.matches(&response, peer(2), 3),
        None,
        "another address"
    );
    assert_eq!(
        bench.matches(&response, ([10, 0, 0, 1], 1).into(), 3),
        None,
        "another port"
    );
    assert_eq!(
        bench.matches(&response, peer(1), 4),
        None,
        "another socket of ours"
    );
    let mut foreign = response.clone();
    foreign[4] ^= 1;
    assert_eq!(bench.matches(&foreign, peer(1), 3), None, "another token");
}

#[test]
fn a_piggybacked_response_must_acknowledge_the_request_that_was_sent() {
    let mut bench = bench(Transmission::default(), 10);
    let id = bench.ask(to(1, Reliability::Confirmable));
    bench.sent();
    let mut response = bench.response(Type::Ack);
    assert_eq!(bench.matches(&response, peer(1), 3), Some(id));
    response[3] ^= 1;
    assert_eq!(
        bench.matches(&response, peer(1), 3),
        None,
        "another Message ID"
    );
}

#[test]
fn the_request_on_the_wire_is_what_was_asked() {
    let mut bench = bench(Transmission::default(), 10);
    let mut unicast = to(1, Reliability::Confirmable);
    unicast.request = Request::new(Code::PUT)
        .path("/light/3")
        .payload(antiphon_wire::ContentFormat::TEXT, b"on".to_vec());
    bench.ask(unicast);
    bench.sent();
    let message = Message::parse(&bench.out).unwrap();
    assert_eq!(
        (message.kind(), message.code(), message.token().len()),
        (Type::Con, Code::PUT, 8)
    );
    let path: Vec<&[u8]> = message
        .options_of(antiphon_wire::OptionNumber::URI_PATH)
        .collect();
    assert_eq!(path, [b"light".as_slice(), b"3"]);
    assert_eq!(message.payload(), b"on");
    assert_eq!(
        bench.confirmables.len(),
        1,
        "and it is retransmitted until acknowledged"
    );
}

#[test]
fn nstart_holds_the_second_request_to_one_peer_but_not_to_another() {
    let mut bench = bench(Transmission::default(), 10);
    let first = bench.ask(to(1, Reliability::Confirmable));
    let second = bench.ask(to(1, Reliability::Confirmable));
    bench.ask(to(2, Reliability::Confirmable));
    assert_eq!(bench.sent().unwrap().destination, peer(1));
    assert_eq!(bench.sent().unwrap().destination, peer(2));
    assert!(bench.sent().is_none());
    assert_eq!(
        bench.exchanges.waiting(bench.now, second),
        Some(Waiting::Nstart)
    );
    assert_eq!(bench.exchanges.waiting(bench.now, first), None);
    bench.exchanges.end(bench.now, first, true);
    assert_eq!(bench.sent().unwrap().destination, peer(1));
    assert_eq!(bench.exchanges.waiting(bench.now, second), None);
}

#[test]
fn a_larger_nstart_lets_more_go() {
    let mut parameters = Transmission::default();
    parameters.set_nstart(2).unwrap();
    let mut bench = bench(parameters, 10);
    for _ in 0..3 {
        bench.ask(to(1, Reliability::Confirmable));
    }
    assert!(bench.sent().is_some());
    assert!(bench.sent().is_some());
    assert!(bench.sent().is_none());
}

#[test]
fn a_peer_that_does_not_respond_is_probed_slowly() {
    let mut parameters = Transmission::default();
    parameters.set_probing_rate(2).unwrap();
    let mut bench = bench(parameters, 10);
    let first = bench.ask(to(1, Reliability::NonConfirmable));
    let second = bench.ask(to(1, Reliability::NonConfirmable));
    bench.sent();
    let pause = Duration::from_millis(bench.out.len() as u64 * 500);
    bench.now = Instant::from_millis(1_000);
    bench.exchanges.end(bench.now, first, false);
    assert!(bench.sent().is_none());
    let left = pause - Duration::from_secs(1);
    assert_eq!(
        bench.exchanges.waiting(bench.now, second),
        Some(Waiting::ProbingRate(left))
    );
    bench.now = bench.now + left - Duration::from_micros(1);
    assert_eq!(bench.exchanges.poll_timeout(bench.now), None);
    assert!(bench.sent().is_none());
    bench.now = bench.now + Duration::from_micros(1);
    assert_eq!(bench.exchanges.next_timeout(), Some(bench.now));
    assert_eq!(bench.exchanges.poll_timeout(bench.now), None);
    assert!(bench.sent().is_some());
}

#[test]
fn a_peer_that_responds_is_not_held_back() {
    let mut bench = bench(Transmission::default(), 10);
    let first = bench.ask(to(1, Reliability::NonConfirmable));
    bench.ask(to(1, Reliability::NonConfirmable));
    bench.sent();
    bench.exchanges.end(bench.now, first, true);
    assert!(bench.sent().is_some());
}

#[test]
fn a_non_confirmable_request_times_out_after_its_own_time() {
    let mut bench = bench(Transmission::default(), 10);
    let mut unicast = to(1, Reliability::NonConfirmable);
    unicast.response_timeout = Some(Duration::from_secs(4));
    let id = bench.ask(unicast);
    bench.sent();
    assert_eq!(
        bench.exchanges.poll_timeout(Instant::from_millis(3_999)),
        None
    );
    assert_eq!(
        bench.exchanges.poll_timeout(Instant::from_millis(4_000)),
        Some(id)
    );
}

#[test]
fn an_acknowledged_request_waits_for_its_separate_response() {
    let mut bench = bench(Transmission::default(), 10);
    let id = bench.ask(to(1, Reliability::Confirmable));
    bench.sent();
    assert_eq!(
        bench.exchanges.next_timeout(),
        None,
        "retransmission rules until the acknowledgement"
    );
    bench
        .exchanges
        .acknowledged(Instant::from_millis(2_000), id);
    let due = Instant::from_millis(2_000) + Transmission::default().max_transmit_wait();
    assert_eq!(bench.exchanges.next_timeout(), Some(due));
    assert_eq!(bench.exchanges.poll_timeout(due), Some(id));
}

#[test]
fn refuses_what_cannot_be_asked() {
    let mut bench = bench(Transmission::default(), 1);
    let mut start = |unicast| {
        bench
            .exchanges
            .start(Instant::ZERO, &mut bench.rng, Owner::Application, unicast)
    };
    let mut group = to(1, Reliability::Confirmable);
    group.route.destination = ([224, 0, 1, 187], 5683).into();
    assert_eq!(start(group), Err(RequestError::GroupDestination));
    let mut response = to(1, Reliability::Confirmable);
    response.request.method = Code::CONTENT;
    assert_eq!(start(response), Err(RequestError::NotAMethod));
    let mut no_port = to(1, Reliability::Confirmable);
    no_port.route.destination.set_port(0);
    assert_eq!(start(no_port), Err(RequestError::NoPort));
    assert!(start(to(1, Reliability::Confirmable)).is_ok());
    assert_eq!(
        start(to(2, Reliability::Confirmable)),
        Err(RequestError::TooMany)
    );
}

#[test]
fn giving_up_a_queued_request_lets_the_next_one_go_and_leaves_nothing_behind() {
    let mut bench = bench(Transmission::default(), 10);
    let first = bench.ask(to(1, Reliability::NonConfirmable));
    let second = bench.ask(to(1, Reliability::NonConfirmable));
    let third = bench.ask(to(1, Reliability::NonConfirmable));
    bench.exchanges.end(bench.now, second, false);
    bench.exchanges.end(bench.now, first, false);
    assert!(bench.sent().is_some(), "the third");
    assert!(bench.sent().is_none());
    bench.exchanges.end(bench.now, third, true);
    assert_eq!(bench.exchanges.len(), 0);
    assert!(
        bench.exchanges.peers.is_empty()
            && bench.exchanges.by_token.is_empty()
            && bench.exchanges.by_mid.is_empty()
    );
}

#[test]
fn a_link_local_peer_is_the_same_whatever_its_scope_id_says() {
    use core::net::SocketAddrV6;
    let address = "fe80::1".parse().unwrap();
    let with_scope = SocketAddr::V6(SocketAddrV6::new(address, 5683, 0, 2));
    let without = SocketAddr::V6(SocketAddrV6::new(address, 5683, 0, 0));
    assert!(same_peer(with_scope, without));
    assert_eq!(peer_key(with_scope), peer_key(without));
}

#[test]
fn timers_of_exchanges_that_are_over_do_not_pile_up() {
    let mut bench = bench(Transmission::default(), 8);
    let waiting = bench.ask(to(9, Reliability::NonConfirmable));
    bench.sent().unwrap();
    for _ in 0..1_000 {
        let id = bench.ask(to(1, Reliability::NonConfirmable));
        bench.sent().unwrap();
        bench.exchanges.end(bench.now, id, true).unwrap();
        assert!(bench.exchanges.timers.len() <= 2 * 2 + STALE);
    }
    let silent = bench.ask(to(2, Reliability::NonConfirmable));
    bench.sent().unwrap();
    bench.exchanges.end(bench.now, silent, false).unwrap();
    let before = bench.exchanges.timers.len();
    for _ in 0..1_000 {
        let held = bench.ask(to(2, Reliability::NonConfirmable));
        assert_eq!(bench.sent(), None);
        bench.exchanges.end(bench.now, held, false).unwrap();
    }
    assert_eq!(bench.exchanges.timers.len(), before);
    let held = bench.ask(to(2, Reliability::NonConfirmable));
    // What still counts is still there: the pause of the silent peer, and the request that waits.
    let pause = match bench.exchanges.waiting(bench.now, held) {
        Some(Waiting::ProbingRate(pause)) => pause,
        other => panic!("{other:?}"),
    };
    for _ in 0..1_000 {
        let id = bench.ask(to(1, Reliability::NonConfirmable));
        bench.sent().unwrap();
        bench.exchanges.end(bench.now, id, true).unwrap();
    }
    let start = bench.now;
    assert_eq!(bench.exchanges.poll_timeout(start + pause), None);
    bench.now = start + pause;
    assert!(bench.sent().is_some(), "its pause is over");
    let late = start + Transmission::default().max_transmit_wait();
    assert_eq!(bench.exchanges.poll_timeout(late), Some(waiting));
}

#[test]
fn what_was_sent_to_one_peer_is_neither_what_waits_nor_what_others_were_sent() {
    let mut bench = bench(Transmission::default(), 10);
    let sent = bench.ask(to(1, Reliability::Confirmable));
    let _waits = bench.ask(to(1, Reliability::Confirmable));
    let other = bench.ask(to(2, Reliability::Confirmable));
    assert!(bench.exchanges.sent_to(peer(1)).is_empty(), "nothing yet");
    while bench.sent().is_some() {}
    assert_eq!(bench.exchanges.sent_to(peer(1)), [sent]);
    assert_eq!(bench.exchanges.sent_to(peer(2)), [other]);
    assert!(bench.exchanges.sent_to(peer(3)).is_empty());
    assert_eq!(bench.exchanges.len(), 3);
}

#[test]
fn the_pause_of_a_peer_that_was_heard_ends_and_begins_anew_if_it_stays_silent() {
    let mut bench = bench(Transmission::default(), 10);
    let mut silent = Vec::new();
    for host in [1, 2] {
        let id = bench.ask(to(host, Reliability::NonConfirmable));
        bench.sent().unwrap();
        bench.exchanges.end(bench.now, id, false).unwrap();
        silent.push(bench.ask(to(host, Reliability::NonConfirmable)));
    }
    let held = |bench: &Bench, id| {
        matches!(
            bench.exchanges.waiting(bench.now, id),
            Some(Waiting::ProbingRate(_))
        )
    };
    let other_port = ([10, 0, 0, 1], 5684).into();
    bench.exchanges.heard_from(bench.now, other_port, true);
    assert!(held(&bench, silent[0]), "another endpoint");
    bench.exchanges.heard_from(bench.now, peer(1), true);
    assert!(!held(&bench, silent[0]));
    assert!(held(&bench, silent[1]), "that one was not heard");
    assert_eq!(bench.sent().unwrap().destination, peer(1));
    assert!(bench.sent().is_none());
    bench.exchanges.end(bench.now, silent[0], false).unwrap();
    let next = bench.ask(to(1, Reliability::NonConfirmable));
    let pause = Duration::from_secs(bench.out.len() as u64);
    assert_eq!(
        bench.exchanges.waiting(bench.now, next),
        Some(Waiting::ProbingRate(pause))
    );
    // Whoever is not paused is asked no sooner.
    let (first, second) = (
        bench.ask(to(3, Reliability::NonConfirmable)),
        bench.ask(to(3, Reliability::NonConfirmable)),
    );
    assert_eq!(bench.sent().unwrap().destination, peer(3));
    bench.exchanges.heard_from(bench.now, peer(3), true);
    assert!(bench.sent().is_none(), "NSTART");
    assert_eq!(bench.exchanges.waiting(bench.now, first), None);
    assert_eq!(
        bench.exchanges.waiting(bench.now, second),
        Some(Waiting::Nstart)
    );
}

#[test]
fn a_peer_that_is_heard_and_does_not_respond_is_not_asked_sooner_a_second_time() {
    let mut bench = bench(Transmission::default(), 10);
    let ask = |bench: &mut Bench| bench.ask(to(1, Reliability::NonConfirmable));
    let silent = |bench: &mut Bench| {
        let id = ask(bench);
        assert!(bench.sent().is_some());
        bench.exchanges.end(bench.now, id, false).unwrap();
        ask(bench)
    };
    let hear = |bench: &mut Bench, id| {
        bench.exchanges.heard_from(bench.now, peer(1), true);
        bench.exchanges.waiting(bench.now, id)
    };
    let first = silent(&mut bench);
    let pause = Duration::from_secs(bench.out.len() as u64);
    let held = Some(Waiting::ProbingRate(pause));
    assert_eq!(hear(&mut bench, first), None);
    assert!(bench.sent().is_some());
    bench.now = bench.now + Duration::from_secs(1);
    bench.exchanges.end(bench.now, first, false).unwrap();
    bench.now = Instant::ZERO;
    let second = ask(&mut bench);
    assert_eq!(bench.exchanges.waiting(bench.now, second), held);
    assert_eq!(hear(&mut bench, second), held, "it has not responded");
    bench.now = bench.now + pause;
    assert_eq!(bench.exchanges.poll_timeout(bench.now), None);
    assert!(bench.sent().is_some());
    bench.exchanges.end(bench.now, second, false).unwrap();
    let third = ask(&mut bench);
    assert_eq!(hear(&mut bench, third), held, "nor now");
    bench.now = bench.now + pause;
    assert_eq!(bench.exchanges.poll_timeout(bench.now), None);
    assert!(bench.sent().is_some());
    bench.exchanges.end(bench.now, third, true).unwrap();
    let fourth = silent(&mut bench);
    assert_eq!(bench.exchanges.waiting(bench.now, fourth), held);
    assert_eq!(hear(&mut bench, fourth), None, "it has responded since");
}

#[test]
fn that_a_peer_was_heard_is_remembered_for_as_long_as_its_pause_would_have_lasted() {
    let mut bench = bench(Transmission::default(), 10);
    let id = bench.ask(to(1, Reliability::NonConfirmable));
    assert!(bench.sent().is_some());
    bench.exchanges.end(bench.now, id, false).unwrap();
    let pause = Duration::from_secs(bench.out.len() as u64);
    bench.exchanges.heard_from(bench.now, peer(1), true);
    let moment = Duration::from_micros(1);
    for (now, known) in [(pause - moment, 1), (pause, 0)] {
        bench.now = Instant::ZERO + now;
        assert_eq!(bench.exchanges.poll_timeout(bench.now), None);
        assert_eq!(bench.exchanges.peers.len(), known);
    }
}
