//! More than there is room for.

use std::net::UdpSocket;

use antiphon::socket::SocketOptions;
use antiphon::{DriverConfig, NoSec};

use crate::place::{Place, status};

/// GET /status, Non-confirmable, with this Message ID and token.
fn ask(mid: u16) -> Vec<u8> {
    let [high, low] = mid.to_be_bytes();
    let mut bytes = vec![0x52, 0x01, high, low, high, low, 0xb6];
    bytes.extend_from_slice(b"status");
    bytes
}

#[tokio::test]
async fn a_full_receive_buffer_is_counted_and_the_server_goes_on() {
    let place = Place::new();
    let driver = DriverConfig {
        sockets: SocketOptions {
            receive_buffer: Some(4_096),
            ..SocketOptions::default()
        },
        ..DriverConfig::default()
    };
    let server = place.server(1).driver(driver).resource(status("here"));
    let server = server.build().await.unwrap().spawn();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    // This task does not give way, so the server reads nothing meanwhile.
    for mid in 0..500 {
        sender.send_to(&ask(mid), place.member(1)).unwrap();
    }
    let client = place.client().build().await.unwrap();
    for _ in 0..2 {
        let call = client.one(&place.member_uri(1, "/status")).unwrap();
        call.unsecured(NoSec::Accepted).send().await.unwrap();
    }
    let counted = server.handle.counters().await.unwrap();
    assert!(counted.driver.receive_buffer_full > 0);
    let whole = counted.driver.receive_buffer_full + counted.endpoint.received;
    let sent = client.counters().await.unwrap().endpoint.sent;
    assert_eq!(whole, 500 + sent);
}

#[tokio::test]
async fn a_datagram_that_is_too_long_is_dropped_whole() {
    let place = Place::new();
    let driver = DriverConfig {
        largest_datagram: 64,
        ..DriverConfig::default()
    };
    let server = place.server(1).driver(driver).resource(status("here"));
    let server = server.build().await.unwrap().spawn();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for length in [64, 65] {
        let mut long = ask(length);
        long.push(0xff);
        long.resize(usize::from(length), b'x');
        sender.send_to(&long, place.member(1)).unwrap();
    }
    let client = place.client().build().await.unwrap();
    let call = client.one(&place.member_uri(1, "/status")).unwrap();
    call.unsecured(NoSec::Accepted).send().await.unwrap();
    let counted = server.handle.counters().await.unwrap();
    assert_eq!(counted.driver.truncated, 1);
    assert_eq!(counted.endpoint.received, 2);
}

#[tokio::test]
async fn many_requests_at_once_are_all_answered_and_the_application_is_heard_meanwhile() {
    let place = Place::new();
    let server = place.server(1).resource(status("busy")).build().await;
    let server = server.unwrap().spawn();
    let address = place.member(1);
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let flood = std::thread::spawn(move || {
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.set_nonblocking(true).unwrap();
        let (mut sent, mut answered) = (0u64, 0u64);
        let mut buffer = [0; 64];
        while stopped.try_recv().is_err() {
            if sent - answered < 200 && sender.send_to(&ask(sent as u16), address).is_ok() {
                sent += 1;
            }
            while sender.recv_from(&mut buffer).is_ok() {
                answered += 1;
            }
        }
        (sent, answered)
    });
    for _ in 0..50 {
        server.handle.counters().await.unwrap();
        tokio::time::sleep(core::time::Duration::from_millis(2)).await;
    }
    stop.send(()).unwrap();
    let (sent, answered) = flood.join().unwrap();
    assert!(answered > 1_000, "{answered} of {sent}");
}
