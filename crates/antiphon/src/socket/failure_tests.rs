//! What cannot be sent, joined or kept: said clearly, and no harm to the rest.
#![cfg_attr(antiphon_portable_sockets, allow(unused_imports))]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::io;

use tokio::time::timeout;

use super::tests::{PATIENCE, Receive, SENT, bind, lo, open, own_group, send};
use super::*;

#[cfg(not(antiphon_portable_sockets))]
#[tokio::test]
async fn a_source_address_that_is_not_local_is_a_failure_of_that_datagram_alone() {
    let (sender, receiver) = (bind("0.0.0.0:0"), bind("127.0.0.1:0"));
    let to = Outgoing::to(receiver.local_addr());
    let mut batch = SendBatch::default();
    batch.push(to.tagged(1), b"a").unwrap();
    batch
        .push(
            to.tagged(2).from(Ipv4Addr::new(203, 0, 113, 7).into()),
            b"b",
        )
        .unwrap();
    batch.push(to.tagged(3), b"c").unwrap();
    let sent = sender.send_batch(&mut batch).unwrap();
    assert_eq!(
        sent,
        Sent {
            sent: 2,
            failed: 1,
            waiting: 0
        }
    );
    let failures: Vec<_> = batch.take_failures().collect();
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].tag, 2);
    assert_eq!(failures[0].destination, receiver.local_addr());
    assert!(batch.failures().is_empty());
    let got = receiver.collect(2, &mut RecvBatch::default()).await;
    let payloads: Vec<_> = got.into_iter().map(|one| one.payload.unwrap()).collect();
    assert_eq!(payloads, [b"a".to_vec(), b"c".to_vec()]);
}

#[cfg(not(antiphon_portable_sockets))]
#[tokio::test]
async fn datagrams_that_found_the_buffer_full_are_counted() {
    let options = SocketOptions {
        receive_buffer: Some(1),
        ..SocketOptions::default()
    };
    let small = UnicastSocket::bind("127.0.0.1:0".parse().unwrap(), &options).unwrap();
    let sender = bind("127.0.0.1:0");
    assert_eq!(small.dropped(), Some(0));
    let mut batch = SendBatch::new(64, 1000);
    for _ in 0..64 {
        batch
            .push(Outgoing::to(small.local_addr()), &[1; 1000])
            .unwrap();
    }
    assert_eq!(sender.send_batch(&mut batch).unwrap().sent, 64);
    let mut received = RecvBatch::new(64, 1000);
    timeout(PATIENCE, small.readable()).await.unwrap().unwrap();
    let kept = small.recv_batch(&mut received).unwrap();
    assert!((1..64).contains(&kept), "{kept}");
    // The count comes with the next datagram that is queued after the drops.
    send(&sender, Outgoing::to(small.local_addr()), b"after");
    small.one().await;
    assert_eq!(small.dropped(), Some(64 - kept as u64));
}

#[cfg(not(antiphon_portable_sockets))]
#[tokio::test]
async fn port_unreachable_is_reported_and_harms_nothing_else() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (socket, peer) = (bind(address), bind(address));
        let nobody = bind(address).local_addr();
        let long: Vec<u8> = (0..200).collect();
        assert_eq!(send(&socket, Outgoing::to(nobody), b"\x40\x01ab"), SENT);
        assert_eq!(send(&socket, Outgoing::to(nobody), &long), SENT);
        // The next send gets the blame from the kernel, and must not take it.
        assert_eq!(send(&socket, Outgoing::to(peer.local_addr()), b"ok"), SENT);
        assert_eq!(peer.one().await.payload, Ok(b"ok".to_vec()));
        send(&peer, Outgoing::to(socket.local_addr()), b"back");
        assert_eq!(socket.one().await.payload, Ok(b"back".to_vec()));
        timeout(PATIENCE, socket.readable()).await.unwrap().unwrap();
        let failure = socket.poll_error().unwrap();
        assert_eq!(failure.destination, nobody);
        assert_eq!(failure.offender, Some(nobody.ip()));
        assert_eq!(failure.reason, Unreachable::Port);
        assert_eq!(failure.quote(), b"\x40\x01ab");
        let failure = socket.poll_error().unwrap();
        assert_eq!(failure.quote(), &long[..QUOTE]);
        assert_eq!(socket.poll_error(), None);
        socket.silent().await;
    }
}

#[cfg(not(antiphon_portable_sockets))]
#[tokio::test]
async fn an_error_report_wakes_a_reader_that_waits() {
    let socket = bind("127.0.0.1:0");
    let nobody = bind("127.0.0.1:0").local_addr();
    let waiting = async {
        socket.readable().await.unwrap();
        assert_eq!(socket.recv_batch(&mut RecvBatch::default()).unwrap(), 0);
        socket.poll_error().unwrap()
    };
    let sending = async {
        tokio::task::yield_now().await;
        send(&socket, Outgoing::to(nobody), b"x");
    };
    let (failure, ()) = timeout(PATIENCE, async { tokio::join!(waiting, sending) })
        .await
        .unwrap();
    assert_eq!(failure.destination, nobody);
}

#[cfg(not(antiphon_portable_sockets))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn error_reports_amid_a_stream_of_datagrams_neither_stall_nor_lose_it() {
    use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    const COUNT: usize = 20_000;
    /// Few enough on the way never to fill the receive buffer.
    const WINDOW: usize = 40;
    let socket = bind("127.0.0.1:0");
    let nobody = bind("127.0.0.1:0").local_addr();
    let to = socket.local_addr();
    let (taken, done) = (&AtomicUsize::new(0), &AtomicBool::new(false));
    let reported = &AtomicUsize::new(0);
    let end = std::time::Instant::now() + 6 * PATIENCE;
    let runtime = tokio::runtime::Handle::current();
    let received = std::thread::scope(|scope| {
        scope.spawn(|| {
            let plain = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            for number in 0..COUNT {
                while number - taken.load(Ordering::Acquire) >= WINDOW {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    std::thread::yield_now();
                }
                plain.send_to(&number.to_be_bytes(), to).unwrap();
            }
        });
        scope.spawn(|| {
            // Reports take room in the receive buffer too.
            let mut lost = 0;
            while !done.load(Ordering::Relaxed) {
                if lost - reported.load(Ordering::Acquire) < WINDOW {
                    send(&socket, Outgoing::to(nobody), b"lost");
                    lost += 1;
                }
                std::thread::yield_now();
            }
        });
        tokio::task::block_in_place(|| {
            let outcome = runtime.block_on(async {
                let mut batch = RecvBatch::default();
                let mut received = Vec::new();
                while received.len() < COUNT && std::time::Instant::now() < end {
                    if timeout(PATIENCE, socket.readable()).await.is_err() {
                        break;
                    }
                    socket.recv_batch(&mut batch).unwrap();
                    received.extend(
                        batch
                            .iter()
                            .map(|arrival| arrival.payload.unwrap().to_vec()),
                    );
                    taken.store(received.len(), Ordering::Release);
                    while socket.poll_error().is_some() {
                        reported.fetch_add(1, Ordering::Release);
                    }
                }
                received
            });
            done.store(true, Ordering::Relaxed);
            outcome
        })
    });
    assert_eq!(received.len(), COUNT);
    assert!(
        received
            .iter()
            .enumerate()
            .all(|(number, payload)| *payload == number.to_be_bytes())
    );
    assert!(reported.load(Ordering::Acquire) > 0);
}

#[cfg(not(antiphon_portable_sockets))]
#[tokio::test]
async fn what_the_kernel_refuses_at_once_is_named() {
    let socket = bind("127.0.0.1:0");
    let mut batch = SendBatch::new(4, LARGEST_DATAGRAM);
    let peer = bind("127.0.0.1:0");
    // One byte more than an IPv4 packet can hold.
    batch
        .push(Outgoing::to(peer.local_addr()).tagged(1), &[0; 65_508])
        .unwrap();
    // IPv6 from an IPv4 socket.
    let six: SocketAddr = "[::1]:9".parse().unwrap();
    batch.push(Outgoing::to(six).tagged(2), b"x").unwrap();
    // An interface that does not exist.
    batch
        .push(
            Outgoing::to(peer.local_addr())
                .through(2_000_000_000)
                .tagged(3),
            b"x",
        )
        .unwrap();
    batch
        .push(Outgoing::to(peer.local_addr()), &[5; 65_507])
        .unwrap();
    let sent = socket.send_batch(&mut batch).unwrap();
    assert_eq!(
        sent,
        Sent {
            sent: 1,
            failed: 3,
            waiting: 0
        }
    );
    let failures: Vec<_> = batch
        .failures()
        .iter()
        .map(|failure| (failure.tag, failure.reason()))
        .collect();
    assert_eq!(failures[0], (1, Unreachable::TooBig { mtu: None }));
    assert_eq!(
        failures[1],
        (2, Unreachable::Other(nix::libc::EAFNOSUPPORT))
    );
    assert_eq!(failures[2].0, 3);
    let got = peer
        .collect(1, &mut RecvBatch::new(1, LARGEST_DATAGRAM))
        .await;
    assert_eq!(got[0].payload, Ok(vec![5; 65_507]));
}

#[tokio::test]
async fn what_names_no_path_is_refused_before_it_is_queued() {
    let group: SocketAddr = "239.1.2.3:5683".parse().unwrap();
    let link: SocketAddr = "[ff02::fd]:5683".parse().unwrap();
    let link_two: SocketAddr = "[ff02::fd%2]:5683".parse().unwrap();
    let site: SocketAddr = "[ff05::fd]:5683".parse().unwrap();
    let peer: SocketAddr = "[fe80::1]:5683".parse().unwrap();
    let here: SocketAddr = "127.0.0.1:5683".parse().unwrap();
    let mut batch = SendBatch::new(4, 8);
    for outgoing in [
        Outgoing::to(group),
        Outgoing::to(link),
        Outgoing::to(site),
        Outgoing::to(peer),
        Outgoing::to(link_two).through(3),
        Outgoing::to(group).through(0),
        Outgoing::to(here).hops(0),
        Outgoing::to(here).from(Ipv6Addr::LOCALHOST.into()),
        Outgoing::to(here).from(Ipv4Addr::new(239, 1, 2, 3).into()),
    ] {
        let error = batch.push(outgoing, b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{outgoing:?}");
    }
    let error = batch.push(Outgoing::to(here), b"nine byte").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(batch.is_empty());
    for outgoing in [
        Outgoing::to(group).through(1),
        Outgoing::to(link_two),
        Outgoing::to(link_two).through(2),
        Outgoing::to(peer).through(1),
    ] {
        batch.push(outgoing, b"x").unwrap();
    }
    let paths: Vec<_> = batch
        .queue
        .iter()
        .map(|waiting| (waiting.outgoing.destination, waiting.outgoing.interface))
        .collect();
    assert_eq!(paths[1], (link_two, Some(2)));
    assert_eq!(paths[2], (link_two, Some(2)));
    assert_eq!(paths[3], ("[fe80::1%1]:5683".parse().unwrap(), Some(1)));
    assert_eq!(batch.len(), 4);
    batch.clear();
    assert!(batch.is_empty());
}

#[tokio::test]
async fn joining_says_clearly_what_is_wrong() {
    let keeper = bind("127.0.0.1:0");
    let (group, port) = own_group(&keeper, 1);
    let options = SocketOptions::default();
    let no_such = 2_000_000_000;
    let mut socket = open(group, port);
    for error in [
        socket.join(no_such).unwrap_err(),
        GroupSocket::open(group.into(), port, no_such, &options).unwrap_err(),
        GroupSocket::open("ff02::fd".parse().unwrap(), port, no_such, &options).unwrap_err(),
        GroupSocket::open("ff05::fd".parse().unwrap(), port, no_such, &options).unwrap_err(),
    ] {
        if cfg!(antiphon_portable_sockets) {
            continue;
        }
        assert!(
            matches!(error, JoinError::NoSuchInterface(index) if index == no_such),
            "{error:?}"
        );
        assert_eq!(
            error.to_string(),
            "there is no interface with index 2000000000"
        );
    }
    assert!(matches!(
        GroupSocket::open(group.into(), port, 0, &options),
        Err(JoinError::NoSuchInterface(0))
    ));
    assert_eq!(socket.members(), [lo()]);
    assert!(matches!(
        GroupSocket::open(Ipv4Addr::LOCALHOST.into(), port, lo(), &options),
        Err(JoinError::NotMulticast(address)) if address == IpAddr::from(Ipv4Addr::LOCALHOST)
    ));
    let error = UnicastSocket::bind(SocketAddr::new(group.into(), port), &options).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}
