//! Real sockets on the loopback interface. IPv4 multicast works there without any set-up; IPv6 multicast
//! needs a namespace and is tested in the lab.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::io;

use tokio::time::timeout;

use super::*;
use crate::interfaces;

pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How long nothing has to come to count as silence; deliveries on loopback take microseconds.
const SILENCE: Duration = Duration::from_millis(60);

/// What a test keeps of an [`Arrival`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Got {
    pub(super) source: SocketAddr,
    pub(super) destination: Option<IpAddr>,
    pub(super) cast: Cast,
    pub(super) interface: u32,
    pub(super) payload: Result<Vec<u8>, Truncated>,
}

pub(super) trait Receive {
    async fn ready(&self) -> io::Result<()>;
    fn take(&self, batch: &mut RecvBatch) -> io::Result<usize>;

    /// Receives until `count` datagrams are there.
    async fn collect(&self, count: usize, batch: &mut RecvBatch) -> Vec<Got> {
        let mut all = Vec::new();
        while all.len() < count {
            timeout(PATIENCE, self.ready())
                .await
                .unwrap_or_else(|_| panic!("{} of {count} arrived", all.len()))
                .unwrap();
            let taken = self.take(batch).unwrap();
            assert_eq!(taken, batch.len());
            if taken == 0 {
                // Woken by an error report, which a test keeps for later: look again.
                tokio::task::yield_now().await;
            }
            all.extend(batch.iter().map(|arrival| Got {
                source: arrival.source,
                destination: arrival.destination,
                cast: arrival.cast,
                interface: arrival.interface,
                payload: arrival.payload.map(<[u8]>::to_vec),
            }));
        }
        assert_eq!(all.len(), count);
        all
    }

    async fn one(&self) -> Got {
        self.collect(1, &mut RecvBatch::default()).await.remove(0)
    }

    /// Passes when nothing comes.
    async fn silent(&self) {
        let mut batch = RecvBatch::default();
        let came = timeout(SILENCE, async {
            loop {
                self.ready().await.unwrap();
                if self.take(&mut batch).unwrap() > 0 {
                    break;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert!(came.is_err(), "{:?}", batch.iter().collect::<Vec<_>>());
    }
}

impl Receive for UnicastSocket {
    async fn ready(&self) -> io::Result<()> {
        self.readable().await
    }
    fn take(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        self.recv_batch(batch)
    }
}

impl Receive for GroupSocket {
    async fn ready(&self) -> io::Result<()> {
        self.readable().await
    }
    fn take(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        self.recv_batch(batch)
    }
}

pub(super) fn lo() -> u32 {
    interfaces::by_address(Ipv4Addr::LOCALHOST.into())
        .unwrap()
        .index
}

pub(super) fn bind(address: &str) -> UnicastSocket {
    UnicastSocket::bind(address.parse().unwrap(), &SocketOptions::default()).unwrap()
}

pub(super) fn open(group: Ipv4Addr, port: u16) -> GroupSocket {
    GroupSocket::open(group.into(), port, lo(), &SocketOptions::default()).unwrap()
}

/// A group that no other test or program uses: the port is held by `keeper` as long as that lives.
pub(super) fn own_group(keeper: &UnicastSocket, last: u8) -> (Ipv4Addr, u16) {
    let port = keeper.local_addr().port();
    let [high, low] = port.to_be_bytes();
    (Ipv4Addr::new(239, high, low, last), port)
}

pub(super) fn send(socket: &UnicastSocket, outgoing: Outgoing, payload: &[u8]) -> Sent {
    let mut batch = SendBatch::new(1, payload.len().max(1));
    batch.push(outgoing, payload).unwrap();
    let sent = socket.send_batch(&mut batch).unwrap();
    assert!(batch.failures().is_empty(), "{:?}", batch.failures());
    sent
}

pub(super) const SENT: Sent = Sent {
    sent: 1,
    failed: 0,
    waiting: 0,
};

#[tokio::test]
async fn unicast_arrives_whole_with_its_path() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (a, b) = (bind(address), bind(address));
        assert_eq!(send(&a, Outgoing::to(b.local_addr()), b"hello"), SENT);
        let got = b.one().await;
        assert_eq!(got.source, a.local_addr());
        assert_eq!(got.destination, Some(b.local_addr().ip()));
        assert_eq!(got.cast, Cast::Unicast);
        assert_eq!(got.payload, Ok(b"hello".to_vec()));
        if cfg!(not(antiphon_portable_sockets)) {
            assert_eq!(got.interface, lo());
        }
        a.silent().await;
    }
}

#[tokio::test]
async fn an_empty_datagram_arrives_as_an_empty_datagram() {
    let (a, b) = (bind("127.0.0.1:0"), bind("127.0.0.1:0"));
    send(&a, Outgoing::to(b.local_addr()), b"");
    assert_eq!(b.one().await.payload, Ok(vec![]));
}

#[tokio::test]
async fn every_group_socket_gets_its_copy_and_knows_that_it_came_by_multicast() {
    let sender = bind("127.0.0.1:0");
    let (group, port) = own_group(&sender, 1);
    let (first, second) = (open(group, port), open(group, port));
    assert_eq!(first.group(), SocketAddr::new(group.into(), port));
    assert_eq!(first.members(), [lo()]);
    let to = Outgoing::to(first.group()).through(lo());
    assert_eq!(send(&sender, to, b"all"), SENT);
    for socket in [&first, &second] {
        let got = socket.one().await;
        assert_eq!(got.source, sender.local_addr());
        assert_eq!(got.destination, Some(group.into()));
        assert_eq!(got.cast, Cast::Multicast);
        assert_eq!(got.payload, Ok(b"all".to_vec()));
        if cfg!(not(antiphon_portable_sockets)) {
            assert_eq!(got.interface, lo());
        }
    }
    // Bound to 127.0.0.1 on the very port: groups do not reach it.
    sender.silent().await;
}

#[tokio::test]
async fn two_groups_on_one_port_stay_apart() {
    let sender = bind("127.0.0.1:0");
    let (one, port) = own_group(&sender, 1);
    let (two, _) = own_group(&sender, 2);
    let (first, second) = (open(one, port), open(two, port));
    send(&sender, Outgoing::to(first.group()).through(lo()), b"1");
    send(&sender, Outgoing::to(second.group()).through(lo()), b"2");
    assert_eq!(first.one().await.payload, Ok(b"1".to_vec()));
    assert_eq!(second.one().await.payload, Ok(b"2".to_vec()));
    first.silent().await;
    second.silent().await;
}

#[cfg(not(antiphon_portable_sockets))]
#[tokio::test]
async fn a_wildcard_socket_does_not_hear_groups_that_others_joined() {
    let wildcard = bind("0.0.0.0:0");
    let sender = bind("127.0.0.1:0");
    let (group, port) = own_group(&wildcard, 1);
    // The wildcard's port stays open to group sockets.
    let socket = open(group, port);
    send(&sender, Outgoing::to(socket.group()).through(lo()), b"all");
    assert_eq!(socket.one().await.payload, Ok(b"all".to_vec()));
    wildcard.silent().await;
    // And unicast goes to the wildcard alone, with the address it was sent to.
    let to: SocketAddr = (Ipv4Addr::new(127, 0, 0, 9), port).into();
    send(&sender, Outgoing::to(to), b"one");
    let got = wildcard.one().await;
    assert_eq!(got.destination, Some(to.ip()));
    assert_eq!(got.cast, Cast::Unicast);
    socket.silent().await;
}

#[cfg(not(antiphon_portable_sockets))]
#[tokio::test]
async fn arrival_by_multicast_names_an_address_to_answer_from() {
    let sender = bind("127.0.0.1:0");
    let (group, port) = own_group(&sender, 1);
    let socket = open(group, port);
    send(&sender, Outgoing::to(socket.group()).through(lo()), b"x");
    let mut batch = RecvBatch::default();
    timeout(PATIENCE, socket.readable()).await.unwrap().unwrap();
    assert_eq!(socket.recv_batch(&mut batch).unwrap(), 1);
    let arrival = batch.iter().next().unwrap();
    let answer_from = arrival.answer_from.unwrap();
    assert!(!answer_from.is_multicast());
    // It is a local address: a socket can be bound to it.
    UnicastSocket::bind(SocketAddr::new(answer_from, 0), &SocketOptions::default()).unwrap();
}

#[cfg(not(antiphon_portable_sockets))]
#[tokio::test]
async fn multicast_leaves_with_the_address_that_the_socket_is_bound_to() {
    for (bound, seen) in [("127.0.0.7:0", "127.0.0.7"), ("0.0.0.0:0", "127.0.0.1")] {
        let sender = bind(bound);
        let (group, port) = own_group(&sender, 1);
        let socket = open(group, port);
        let to = Outgoing::to(socket.group()).through(lo());
        send(&sender, to, b"bound");
        assert_eq!(
            socket.one().await.source.ip(),
            seen.parse::<IpAddr>().unwrap()
        );
        // Another choice of the caller's counts for more.
        let chosen = IpAddr::from(Ipv4Addr::new(127, 0, 0, 8));
        send(&sender, to.from(chosen), b"chosen");
        assert_eq!(socket.one().await.source.ip(), chosen);
    }
}

#[cfg(not(antiphon_portable_sockets))]
#[tokio::test]
async fn a_broadcast_is_told_from_unicast() {
    // 127.255.255.255 is the broadcast address of 127/8.
    let receiver = bind("0.0.0.0:0");
    let sender = bind("127.0.0.1:0");
    socket2::SockRef::from(sender.port.raw_socket())
        .set_broadcast(true)
        .unwrap();
    let to: SocketAddr = (
        Ipv4Addr::new(127, 255, 255, 255),
        receiver.local_addr().port(),
    )
        .into();
    assert_eq!(send(&sender, Outgoing::to(to), b"x"), SENT);
    let got = receiver.one().await;
    assert_eq!(got.cast, Cast::Broadcast);
    assert_eq!(got.destination, Some(to.ip()));
}

#[cfg(not(antiphon_portable_sockets))]
#[tokio::test]
async fn the_source_address_is_chosen_per_datagram() {
    let sender = bind("0.0.0.0:0");
    let receiver = bind("127.0.0.1:0");
    let mut batch = SendBatch::default();
    let sources: Vec<IpAddr> = (2..=5)
        .map(|last| Ipv4Addr::new(127, 0, 0, last).into())
        .collect();
    for source in &sources {
        let outgoing = Outgoing::to(receiver.local_addr()).from(*source);
        batch.push(outgoing, b"from").unwrap();
    }
    assert_eq!(sender.send_batch(&mut batch).unwrap().sent, 4);
    let got = receiver.collect(4, &mut RecvBatch::default()).await;
    let seen: Vec<IpAddr> = got.iter().map(|one| one.source.ip()).collect();
    assert_eq!(seen, sources);
    assert!(
        got.iter()
            .all(|one| one.source.port() == sender.local_addr().port())
    );
    // IPv6: the one address there is, chosen explicitly and with the interface.
    let (sender, receiver) = (bind("[::]:0"), bind("[::1]:0"));
    let outgoing = Outgoing::to(receiver.local_addr())
        .from(Ipv6Addr::LOCALHOST.into())
        .through(lo());
    assert_eq!(send(&sender, outgoing, b"six"), SENT);
    assert_eq!(
        receiver.one().await.source.ip(),
        IpAddr::from(Ipv6Addr::LOCALHOST)
    );
}

#[tokio::test]
async fn a_hundred_datagrams_go_and_come_in_batches_in_order() {
    let (a, b) = (bind("127.0.0.1:0"), bind("127.0.0.1:0"));
    let mut batch = SendBatch::new(100, 16);
    for number in 0..100_u8 {
        batch
            .push(Outgoing::to(b.local_addr()), &[number; 3])
            .unwrap();
    }
    assert!(batch.is_full());
    assert_eq!(batch.len(), 100);
    assert!(batch.slot().is_none());
    let refused = batch.push(Outgoing::to(b.local_addr()), b"x").unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
    let sent = a.send_batch(&mut batch).unwrap();
    assert_eq!(
        sent,
        Sent {
            sent: 100,
            failed: 0,
            waiting: 0
        }
    );
    assert!(batch.is_empty() && !batch.is_full());
    // A batch larger and one smaller than what one system call takes, each ending within the hundred.
    let mut got = b.collect(60, &mut RecvBatch::new(60, 16)).await;
    got.extend(b.collect(40, &mut RecvBatch::new(7, 16)).await);
    for (number, one) in (0..100_u8).zip(got) {
        assert_eq!(one.payload, Ok(vec![number; 3]));
    }
    assert!(b.recv_batch(&mut RecvBatch::default()).unwrap() == 0);
}

#[tokio::test]
async fn a_datagram_longer_than_its_room_is_flagged_and_withheld() {
    let (a, b) = (bind("127.0.0.1:0"), bind("127.0.0.1:0"));
    let to = Outgoing::to(b.local_addr());
    for length in [10, 11, 9, 500] {
        send(&a, to, &vec![7; length]);
    }
    let got = b.collect(4, &mut RecvBatch::new(8, 10)).await;
    let payloads: Vec<_> = got.into_iter().map(|one| one.payload).collect();
    let full = if cfg!(antiphon_portable_sockets) {
        11
    } else {
        500
    };
    assert_eq!(
        payloads,
        [
            Ok(vec![7; 10]),
            Err(Truncated { length: 11 }),
            Ok(vec![7; 9]),
            Err(Truncated { length: full }),
        ]
    );
}

/// What a plain socket sees as hop limit of the next datagram.
#[cfg(not(antiphon_portable_sockets))]
fn hops_of_next(socket: &socket2::Socket) -> i32 {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
    use std::os::fd::AsRawFd;
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut control = nix::cmsg_space!(i32);
    let mut room = [0; 16];
    let mut parts = [io::IoSliceMut::new(&mut room)];
    let fd = socket.as_raw_fd();
    let flags = MsgFlags::empty();
    let message = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), flags).unwrap();
    message
        .cmsgs()
        .unwrap()
        .find_map(|message| match message {
            ControlMessageOwned::Ipv4Ttl(hops) | ControlMessageOwned::Ipv6HopLimit(hops) => {
                Some(hops)
            }
            _ => None,
        })
        .unwrap()
}

#[cfg(not(antiphon_portable_sockets))]
#[tokio::test]
async fn hop_limits_are_those_of_the_datagram_or_of_the_socket() {
    use nix::sys::socket::{setsockopt, sockopt};
    use socket2::{Domain, Socket, Type};
    let options = SocketOptions {
        multicast_hops: 9,
        unicast_hops: Some(33),
        ..SocketOptions::default()
    };
    for (local, any) in [("127.0.0.1:0", "0.0.0.0:0"), ("[::1]:0", "[::]:0")] {
        let local: SocketAddr = local.parse().unwrap();
        let plain = Socket::new(Domain::for_address(local), Type::DGRAM, None).unwrap();
        if local.is_ipv4() {
            setsockopt(&plain, sockopt::Ipv4RecvTtl, &true).unwrap();
        } else {
            plain.set_recv_hoplimit_v6(true).unwrap();
        }
        plain
            .bind(&any.parse::<SocketAddr>().unwrap().into())
            .unwrap();
        let port = plain.local_addr().unwrap().as_socket().unwrap().port();
        let standard = UnicastSocket::bind(local, &SocketOptions::default()).unwrap();
        let other = UnicastSocket::bind(local, &options).unwrap();
        let to = Outgoing::to(SocketAddr::new(local.ip(), port));
        send(&standard, to, b"x");
        assert_eq!(hops_of_next(&plain), 64);
        send(&other, to, b"x");
        assert_eq!(hops_of_next(&plain), 33);
        for hops in [1, 17, 255] {
            send(&other, to.hops(hops), b"x");
            assert_eq!(hops_of_next(&plain), i32::from(hops));
        }
        // Together with a path.
        send(&other, to.hops(5).from(local.ip()).through(lo()), b"x");
        assert_eq!(hops_of_next(&plain), 5);
        if local.is_ipv4() {
            let group = Ipv4Addr::new(239, 8, 7, 6);
            let join = socket2::InterfaceIndexOrAddress::Index(lo());
            plain.join_multicast_v4_n(&group, &join).unwrap();
            let to = Outgoing::to(SocketAddr::new(group.into(), port)).through(lo());
            send(&standard, to, b"x");
            assert_eq!(hops_of_next(&plain), 1);
            send(&other, to, b"x");
            assert_eq!(hops_of_next(&plain), 9);
            send(&other, to.hops(200), b"x");
            assert_eq!(hops_of_next(&plain), 200);
        }
    }
}

#[cfg(antiphon_portable_sockets)]
#[tokio::test]
async fn what_this_system_cannot_do_is_refused_loudly() {
    let socket = bind("127.0.0.1:0");
    let to = Outgoing::to(socket.local_addr());
    let mut batch = SendBatch::default();
    for outgoing in [
        to.from(Ipv4Addr::LOCALHOST.into()),
        to.hops(3),
        to.through(lo()),
    ] {
        let error = batch.push(outgoing, b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(
            error.to_string().starts_with("this system cannot"),
            "{error}"
        );
    }
    assert_eq!(socket.dropped(), None);
    assert_eq!(socket.poll_error(), None);
    // Bound to the wildcard it cannot tell how a datagram was addressed, and says so.
    let wildcard = bind("0.0.0.0:0");
    let to: SocketAddr = (Ipv4Addr::LOCALHOST, wildcard.local_addr().port()).into();
    send(&socket, Outgoing::to(to), b"x");
    let got = wildcard.one().await;
    assert_eq!((got.cast, got.destination), (Cast::Unknown, None));
    // An interface that does not exist fails the datagram, not the socket.
    let group: SocketAddr = "239.1.2.3:9".parse().unwrap();
    batch
        .push(Outgoing::to(group).through(2_000_000_000), b"x")
        .unwrap();
    let sent = socket.send_batch(&mut batch).unwrap();
    assert_eq!((sent.sent, sent.failed, sent.waiting), (0, 1, 0));
    assert_eq!(batch.failures()[0].error.kind(), io::ErrorKind::NotFound);
}

#[tokio::test]
async fn leaving_ends_reception_and_joining_again_resumes_it() {
    let sender = bind("127.0.0.1:0");
    let (group, port) = own_group(&sender, 1);
    let mut socket = open(group, port);
    let to = Outgoing::to(socket.group()).through(lo());
    send(&sender, to, b"1");
    assert_eq!(socket.one().await.payload, Ok(b"1".to_vec()));

    socket.leave(lo()).unwrap();
    assert!(socket.members().is_empty());
    send(&sender, to, b"2");
    socket.silent().await;
    assert!(matches!(
        socket.leave(lo()),
        Err(JoinError::NotMember(interface)) if interface == lo()
    ));

    socket.join(lo()).unwrap();
    send(&sender, to, b"3");
    assert_eq!(socket.one().await.payload, Ok(b"3".to_vec()));
    assert!(matches!(
        socket.join(lo()),
        Err(JoinError::AlreadyMember(interface)) if interface == lo()
    ));

    // An interface that returned, with the same index and after one that is no more.
    socket.rejoin(lo(), lo()).unwrap();
    assert_eq!(socket.members(), [lo()]);
    socket.rejoin(2_000_000_000, lo()).unwrap();
    assert_eq!(socket.members(), [lo()]);
    send(&sender, to, b"4");
    assert_eq!(socket.one().await.payload, Ok(b"4".to_vec()));
}

#[tokio::test]
async fn a_group_of_link_scope_has_one_socket_per_interface() {
    let keeper = bind("127.0.0.1:0");
    let port = keeper.local_addr().port();
    let options = SocketOptions::default();
    for group in ["ff02::fd", "ff01::fd"] {
        let mut socket = GroupSocket::open(group.parse().unwrap(), port, lo(), &options).unwrap();
        assert_eq!(
            socket.group(),
            format!("[{group}%{}]:{port}", lo()).parse().unwrap()
        );
        assert!(matches!(
            socket.join(lo() + 1),
            Err(JoinError::OneInterfaceOnly { interface, .. }) if interface == lo() + 1
        ));
        assert!(matches!(
            socket.rejoin(lo(), lo() + 1),
            Err(JoinError::OneInterfaceOnly { .. })
        ));
        assert_eq!(socket.members(), [lo()]);
        socket.rejoin(lo(), lo()).unwrap();
    }
    let socket = GroupSocket::open("ff05::fd".parse().unwrap(), port, lo(), &options).unwrap();
    assert_eq!(
        socket.group(),
        format!("[ff05::fd]:{port}").parse().unwrap()
    );
}

#[tokio::test]
async fn a_second_socket_does_not_steal_a_unicast_address() {
    for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
        let first = bind(address);
        let error = UnicastSocket::bind(first.local_addr(), &SocketOptions::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{address}");
    }
    // IPv6 takes no IPv4: both wildcards live on one port.
    let six = bind("[::]:0");
    bind(&format!("0.0.0.0:{}", six.local_addr().port()));
    // Sharing is a choice.
    let shared = SocketOptions {
        share_port: true,
        ..SocketOptions::default()
    };
    let first = UnicastSocket::bind("127.0.0.1:0".parse().unwrap(), &shared).unwrap();
    UnicastSocket::bind(first.local_addr(), &shared).unwrap();
}

#[test]
fn addresses_have_one_canonical_form() {
    for (given, expected) in [
        ("[::ffff:192.0.2.1]:5683", "192.0.2.1:5683"),
        ("192.0.2.1:1", "192.0.2.1:1"),
        ("[fe80::1%3]:5683", "[fe80::1%3]:5683"),
        ("[2001:db8::1%3]:5683", "[2001:db8::1]:5683"),
        ("[ff02::fd%3]:5683", "[ff02::fd%3]:5683"),
        ("[ff01::fd%3]:5683", "[ff01::fd%3]:5683"),
        (
            "[ff32:30:2001:db8::1%3]:5683",
            "[ff32:30:2001:db8::1%3]:5683",
        ),
        ("[ff03::fd%3]:5683", "[ff03::fd]:5683"),
        ("[ff05::fd%3]:5683", "[ff05::fd]:5683"),
    ] {
        let given: SocketAddr = given.parse().unwrap();
        assert_eq!(canonical(given), expected.parse().unwrap(), "{given}");
    }
    let flow: SocketAddr = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 1, 77, 0).into();
    assert_eq!(canonical(flow), "[::1]:1".parse().unwrap());
    for narrow in ["fe80::1", "ff11::1", "ff02::1", "ff32:30::1"] {
        assert!(needs_interface(narrow.parse().unwrap()), "{narrow}");
    }
    assert!(!needs_interface("ff0e::1".parse().unwrap()));
    assert!(!needs_interface("::1".parse().unwrap()));
    assert!(!needs_interface("224.0.0.1".parse().unwrap()));
    assert_eq!(wildcard(Ipv4Addr::LOCALHOST.into()), Ipv4Addr::UNSPECIFIED);
    assert_eq!(wildcard(Ipv6Addr::LOCALHOST.into()), Ipv6Addr::UNSPECIFIED);
}
