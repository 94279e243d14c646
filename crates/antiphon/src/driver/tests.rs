//! What only shows from within: interfaces that come and go, full buffers, reports of the network.

use core::future::poll_fn;
use core::net::IpAddr;
use core::task::Poll;

use antiphon_proto::{CoapGroupSpec, Discoverable, Listening, Route, SendError};

use super::sending::{refusal, send_error};
use super::*;
use crate::interfaces;
use crate::socket::Unreachable;

fn driver() -> (Driver, Link) {
    let mut endpoint = EndpointConfig::default();
    endpoint.server.discoverable = Discoverable::Groups;
    Driver::new(endpoint, DriverConfig::default(), [7; 32])
}

fn lo() -> Interface {
    interfaces::resolve("127.0.0.1").unwrap()
}

/// A group that no other test has, as long as the socket lives.
fn own_group() -> (std::net::UdpSocket, SocketAddr) {
    let keeper = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = keeper.local_addr().unwrap().port();
    let [high, low] = port.to_be_bytes();
    (keeper, SocketAddr::from(([239, high, low, 77], port)))
}

fn joins(driver: &mut Driver, group: SocketAddr, interface: u32) {
    let now = clock::now();
    let memberships = driver.endpoint.server_mut().memberships_mut();
    let spec = CoapGroupSpec::new(group).on(interface).unsecured();
    memberships.create(spec).unwrap();
    driver.drain(now);
}

fn state(driver: &Driver) -> Vec<(u32, Listening)> {
    let memberships = driver.endpoint.server().memberships();
    memberships
        .listening()
        .map(|(_, interface, state)| (interface, state))
        .collect()
}

#[tokio::test]
async fn a_group_is_joined_again_when_its_interface_returns() {
    let (mut driver, _link) = driver();
    let (_keeper, group) = own_group();
    let lo = lo();
    driver.surroundings_are(vec![lo.clone()]);
    joins(&mut driver, group, lo.index);
    assert_eq!(driver.listening(), [(group, lo.index)]);

    driver.surroundings_are(vec![Interface {
        up: false,
        ..lo.clone()
    }]);
    driver.drain(clock::now());
    assert_eq!(state(&driver), [(lo.index, Listening::Away)]);
    assert_eq!(driver.counters().interfaces_gone, 1);

    driver.surroundings_are(vec![lo.clone()]);
    driver.drain(clock::now());
    assert_eq!(state(&driver), [(lo.index, Listening::Joined)]);
    assert_eq!(driver.listening(), [(group, lo.index)]);
    assert_eq!(driver.counters().interfaces_come, 1);
    // Nothing has changed, so nothing is counted.
    driver.surroundings_are(vec![lo]);
    assert_eq!(driver.counters().interfaces_come, 1);
}

#[tokio::test]
async fn an_interface_that_returns_with_another_index_keeps_its_groups() {
    let (mut driver, _link) = driver();
    let (_keeper, group) = own_group();
    let lo = lo();
    // The interface had another index before it went away.
    let old = Interface {
        index: lo.index + 1_000_000,
        ..lo.clone()
    };
    driver.surroundings_are(vec![old.clone()]);
    joins(&mut driver, group, old.index);
    assert!(matches!(
        state(&driver)[..],
        [(index, Listening::Failed { .. })] if index == old.index
    ));
    assert_eq!(driver.counters().memberships_failed, 1);
    assert_eq!(driver.listened.take_failures().len(), 1);

    driver.surroundings_are(vec![lo.clone()]);
    driver.drain(clock::now());
    assert_eq!(state(&driver), [(lo.index, Listening::Joined)]);
    assert_eq!(driver.listening(), [(group, lo.index)]);
}

#[tokio::test]
async fn the_endpoint_knows_where_it_can_be_reached() {
    let (mut driver, _link) = driver();
    let (_, one) = driver.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    assert_eq!(driver.endpoint.server().addresses(), [one]);
    // One that is bound to all addresses is reached at each of its family.
    let (_, all) = driver.bind("0.0.0.0:0".parse().unwrap()).unwrap();
    assert_eq!(driver.endpoint.server().addresses(), [one]);
    let mut lo = lo();
    let ip = IpAddr::from([10, 9, 8, 7]);
    lo.addresses = vec![IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 1]), ip];
    driver.surroundings_are(vec![lo]);
    let at = SocketAddr::new(ip, all.port());
    assert_eq!(driver.endpoint.server().addresses(), [one, at]);
}

#[tokio::test]
async fn a_change_of_addresses_is_counted_and_the_first_look_is_none() {
    let (mut driver, _link) = driver();
    let lo = lo();
    driver.surroundings_are(vec![lo.clone()]);
    assert_eq!(driver.counters().address_changes, 0);
    let mut more = lo;
    more.addresses.push(IpAddr::from([10, 9, 8, 7]));
    driver.surroundings_are(vec![more]);
    assert_eq!(driver.counters().address_changes, 1);
    assert_eq!(driver.counters().interfaces_come, 0);
}

#[test]
fn what_the_system_says_has_one_word_for_the_endpoint() {
    use std::io::{Error, ErrorKind};
    let failure = |error: Error| FailedSend {
        tag: 0,
        destination: SocketAddr::from(([127, 0, 0, 1], 1)),
        error,
    };
    assert_eq!(
        refusal(&failure(ErrorKind::AddrNotAvailable.into())),
        SendError::InterfaceGone
    );
    if cfg!(target_os = "linux") {
        for (code, error) in [
            (6, SendError::InterfaceGone),
            (19, SendError::InterfaceGone),
            (101, SendError::NoRoute),
            (113, SendError::NoRoute),
            (105, SendError::NoBuffer),
            (90, SendError::TooLarge),
            (1, SendError::Forbidden),
            (111, SendError::PortUnreachable),
            (5, SendError::Other(5)),
        ] {
            assert_eq!(refusal(&failure(Error::from_raw_os_error(code))), error);
        }
    }
    assert_eq!(send_error(Unreachable::HopLimit), SendError::NoRoute);
    assert_eq!(
        send_error(Unreachable::TooBig { mtu: Some(1_280) }),
        SendError::TooLarge
    );
}

#[tokio::test]
async fn a_datagram_for_a_socket_that_is_gone_is_counted_and_fails_its_request() {
    let (mut driver, _link) = driver();
    let now = clock::now();
    let route = Route {
        socket: SocketId(99),
        source: None,
        interface: 0,
        destination: SocketAddr::from(([127, 0, 0, 1], 9)),
    };
    let request = antiphon_proto::UnicastRequest {
        request: antiphon_proto::Request::new(antiphon_wire::Code::GET),
        route,
        reliability: antiphon_proto::Reliability::Confirmable,
        response_timeout: None,
        protection: antiphon_proto::Protection::None,
    };
    let id = driver.endpoint.request(now, request).unwrap();
    let mut response = driver.await_response(id, None);
    driver.drain(now);
    let failure = response.try_recv().unwrap().unwrap_err();
    assert_eq!(failure, Failure::Unreachable(SendError::InterfaceGone));
    assert_eq!(driver.counters().no_socket, 1);
}

#[tokio::test]
async fn a_round_reads_one_batch_and_says_whether_there_may_be_more() {
    let (mut driver, _link) = driver();
    let (_, local) = driver.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let batch = driver.config.batch;
    assert!(!driver.receive(clock::now())); // nothing is there yet
    for (sent, rounds) in [
        (1, [false, false]),
        (batch, [true, false]),
        (batch + 1, [true, false]),
    ] {
        for _ in 0..sent {
            sender.send_to(b"x", local).unwrap();
        }
        let before = driver.endpoint.counters().received;
        poll_fn(|cx| {
            driver.called |= driver.bell.answer(cx.waker());
            match driver.poll_inputs(clock::now()) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
        for more in rounds {
            assert_eq!(driver.receive(clock::now()), more, "{sent} sent");
        }
        let received = driver.endpoint.counters().received - before;
        assert_eq!(received, u64::try_from(sent).unwrap());
        assert!(!driver.ports.is_ready(0, clock::now()));
    }
}

#[tokio::test]
async fn a_socket_that_rests_is_not_looked_at_until_its_time_has_come() {
    let (mut driver, _link) = driver();
    driver.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let now = clock::now();
    let later = now + Duration::from_secs(3_600);
    assert!(driver.ports.is_ready(0, now));
    assert_eq!(driver.ports.rested(now), None);
    driver.ports.rest(0, later);
    assert!(!driver.ports.is_ready(0, now));
    assert_eq!(driver.ports.rested(now), Some(later));
    assert_eq!(driver.deadline(now), Some(Instant::ZERO)); // the first look around is due
    driver.next_check = later + Duration::from_secs(1);
    assert_eq!(driver.deadline(now), Some(later));
    assert!(driver.ports.is_ready(0, later));
    assert_eq!(driver.ports.rested(later), None);
}

#[tokio::test]
async fn commands_are_done_a_few_in_a_row() {
    let (mut driver, link) = driver();
    let done = std::sync::Arc::new(core::sync::atomic::AtomicUsize::new(0));
    for _ in 0..COMMANDS_PER_ROUND + 1 {
        let done = std::sync::Arc::clone(&done);
        let command: Command = Box::new(move |_, _| {
            done.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
        });
        link.commands.send(command).await.unwrap();
    }
    let count = || done.load(core::sync::atomic::Ordering::Relaxed);
    assert!(driver.obey(clock::now()));
    assert_eq!(count(), COMMANDS_PER_ROUND);
    assert!(!driver.obey(clock::now()));
    assert_eq!(count(), COMMANDS_PER_ROUND + 1);
}

/// A request that expects nothing, from one socket to a peer.
fn asks(driver: &mut Driver, socket: SocketId, destination: SocketAddr) {
    let request = antiphon_proto::UnicastRequest {
        request: antiphon_proto::Request::new(antiphon_wire::Code::GET),
        route: Route {
            socket,
            source: None,
            interface: 0,
            destination,
        },
        reliability: antiphon_proto::Reliability::Confirmable,
        response_timeout: None,
        protection: antiphon_proto::Protection::None,
    };
    driver.endpoint.request(clock::now(), request).unwrap();
}

fn arrives(peer: &std::net::UdpSocket) -> bool {
    let timeout = Some(Duration::from_millis(500));
    peer.set_read_timeout(timeout).unwrap();
    peer.recv(&mut [0; 64]).is_ok()
}

#[tokio::test]
async fn a_socket_that_waits_for_room_holds_up_no_other() {
    let (mut driver, _link) = driver();
    let (stuck, _) = driver.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let (free, _) = driver.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let peers = [0; 2].map(|_| std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    let [first, second] = peers.each_ref().map(|peer| peer.local_addr().unwrap());

    driver.ports.block(stuck);
    asks(&mut driver, stuck, first);
    asks(&mut driver, free, second);
    driver.drain(clock::now());
    assert!(arrives(&peers[1]));
    peers[0].set_nonblocking(true).unwrap();
    assert!(peers[0].recv(&mut [0; 64]).is_err());
    peers[0].set_nonblocking(false).unwrap();
    assert!(!driver.is_idle());

    // It has room again: the task is woken, and the next round sends what has waited.
    poll_fn(|cx| {
        driver.called |= driver.bell.answer(cx.waker());
        driver.poll_inputs(clock::now());
        match driver.unblocked {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    driver.round(clock::now());
    assert!(arrives(&peers[0]));
    assert!(!driver.ports.is_blocked());
    assert_eq!(driver.counters().refused, 0);
}

/// Counts warnings.
#[derive(Clone, Default)]
struct Warnings(std::sync::Arc<core::sync::atomic::AtomicU64>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn a_hundred_unsendable_datagrams_are_counted_and_one_is_warned_of() {
    let (mut driver, _link) = driver();
    let (socket, _) = driver.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let count = || warnings.0.load(core::sync::atomic::Ordering::Relaxed);
    for port in 1..=100 {
        // A link-local peer without its interface is no path at all.
        let nowhere = SocketAddr::new("fe80::1".parse().unwrap(), port);
        asks(&mut driver, socket, nowhere);
        driver.drain(clock::now());
    }
    assert_eq!(driver.counters().refused, 100);
    assert_eq!(count(), 1);
    let later = clock::now() + restraint::INTERVAL;
    driver.remind(later);
    assert_eq!(count(), 2);
    driver.remind(later + restraint::INTERVAL);
    assert_eq!(count(), 2); // all were told of
}
