//! What needs interfaces: IPv6 groups, several interfaces, interfaces that vanish, networks that cannot be reached.

use core::net::SocketAddr;
use core::time::Duration;
use std::time::Instant;

use antiphon::error::{InterfaceError, JoinError};
use antiphon::socket::SocketOptions;
use antiphon::{
    AskError, BuildError, ChangeError, Client, CollectionEvent, DriverConfig, EndedBy, Failure,
    Handle, Membership, NoSec, OneError, Outcome, Server, Transmission, interfaces, proto,
};

use crate::namespace::{alone, carrier, ip, sysctl, wire};
use crate::place::{PATIENCE, SILENCE, quick, status};

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn at(group: &str) -> Membership {
    Membership::new(address(group)).unsecured()
}

/// A client that asks as often as it likes.
fn client() -> antiphon::ClientBuilder {
    let mut transmission = Transmission::default();
    transmission.set_probing_rate(1_000_000).unwrap();
    transmission.set_nstart(256).unwrap();
    Client::builder().transmission(transmission)
}

fn server(local: &str) -> antiphon::ServerBuilder {
    Server::builder()
        .endpoint(quick())
        .unicast(address(local))
        .resource(status(local))
}

async fn ask(client: &Client, group: &str, duration: Duration) -> Outcome {
    let collection = client
        .group(&format!("coap://{group}/status"))
        .unwrap()
        .unsecured(NoSec::Accepted)
        .collect_for(duration)
        .send()
        .await
        .unwrap();
    collection.finish().await.unwrap()
}

// Covers: GC-1.1-01, GC-3.8.1-04
#[test]
fn ipv6_groups_of_every_scope_are_asked_and_answer() {
    alone("ipv6_groups_of_every_scope_are_asked_and_answer", async {
        ip("-6 route add local ff00::/8 dev lo");
        let groups = ["ff01", "ff02", "ff03", "ff04", "ff05", "ff08"]
            .map(|scope| format!("[{scope}::db8:1]:5683"));
        let mut server = server("[::1]:5683").interface("lo");
        for group in &groups {
            server = server.join(at(group));
        }
        let _server = server.build().await.unwrap().spawn();
        let client = client().bind(address("[::1]:0")).interface("lo");
        let client = client.build().await.unwrap();
        for group in &groups {
            let uri = format!("coap://{group}/status");
            let call = client.group(&uri).unwrap().unsecured(NoSec::Accepted);
            let mut answers = call.count(1).collect_for(PATIENCE).send().await.unwrap();
            let answer = answers.answer().await.unwrap();
            assert_eq!(answer.from.peer, address("[::1]:5683"), "{group}");
            assert_eq!(answers.finish().await.unwrap().ended_by, EndedBy::Count);
        }
        // No other transport leads to a group.
        assert!(client.group("coap+tcp://[ff05::db8:1]/x").is_err());

        // Nobody serves this port, and nothing but silence says so.
        let outcome = ask(&client, "[ff05::db8:1]:61616", SILENCE).await;
        assert_eq!(outcome.ended_by, EndedBy::Deadline);
        assert_eq!((outcome.answers, outcome.transmissions), (0, 1));
        let counted = client.counters().await.unwrap();
        assert_eq!(counted.endpoint.send_errors, 0);
        assert_eq!(counted.driver.unreachable, 0);
    });
}

// Covers: GC-3.8.2-01
#[test]
fn a_group_is_not_joined_where_multicast_is_switched_off() {
    alone(
        "a_group_is_not_joined_where_multicast_is_switched_off",
        async {
            wire("a", 1);
            ip("link set a0 multicast off");
            let off = server("10.0.1.1:5683").join(at("224.0.1.187:5683").on("a0"));
            let Some(BuildError::Join { reason, .. }) = off.build().await.err() else {
                panic!("joined on an interface without multicast")
            };
            assert!(matches!(reason, JoinError::Os(_)));
            assert!(reason.to_string().contains("a0"), "{reason}");

            let on = server("10.0.1.2:5683").join(at("224.0.1.187:5683").on("a1"));
            let on = on.build().await.unwrap().spawn();
            let error = on.handle.join(at("239.1.2.3:5683").on("a0")).await;
            assert!(matches!(error, Err(ChangeError::Join { .. })), "{error:?}");

            let client = client().interface("a0").build().await.unwrap();
            let call = client.group("coap://224.0.1.187/status").unwrap();
            let error = call.unsecured(NoSec::Accepted).send().await.unwrap_err();
            assert!(
                matches!(&error, AskError::Interface(InterfaceError::NoMulticast(name)) if name == "a0"),
                "{error}"
            );
            // Switched on again, everything works: the join that failed is tried again by itself.
            ip("link set a0 multicast on");
            let outcome = ask(&client, "224.0.1.187", SILENCE).await;
            assert_eq!(outcome.servers(), 1);
            let start = Instant::now();
            while on.handle.listening().await.unwrap().len() < 2 {
                assert!(start.elapsed() < PATIENCE);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        },
    );
}

#[test]
fn a_link_local_group_needs_an_interface_where_there_are_several() {
    alone(
        "a_link_local_group_needs_an_interface_where_there_are_several",
        async {
            wire("a", 1);
            wire("b", 2);
            ip("route add 239.0.0.0/8 dev b0");
            let index = |name: &str| interfaces::by_name(name).unwrap().index;
            let client = client().build().await.unwrap();
            for uri in ["coap://[ff02::fd]/x", "coap://224.0.0.7/x"] {
                let error = client.group(uri).unwrap().targets().await.unwrap_err();
                let AskError::Interface(InterfaceError::Ambiguous { candidates, .. }) = error
                else {
                    panic!("{uri}: {error}")
                };
                assert_eq!(candidates, ["a1", "a0", "b1", "b0"], "{uri}");
            }
            let chosen = async |uri: &str| -> Vec<u32> {
                let targets = client.group(uri).unwrap().targets().await.unwrap();
                targets.iter().map(|target| target.interface).collect()
            };
            assert_eq!(chosen("coap://[ff02::fd%25a1]/x").await, [index("a1")]);
            // A wider group goes where the routing table says, and is pinned to it.
            assert_eq!(chosen("coap://239.1.2.3/x").await, [index("b0")]);
            let call = client.group("coap://[ff02::fd]/x").unwrap();
            let mut both = call.interfaces(["b1", "a0"]).targets().await.unwrap();
            both.sort_by_key(|target| target.interface);
            let mut wanted = [index("b1"), index("a0")];
            wanted.sort_unstable();
            assert_eq!(
                both.iter().map(|one| one.interface).collect::<Vec<_>>(),
                wanted
            );
        },
    );
}

#[test]
fn one_question_on_two_interfaces_is_one_collection() {
    alone("one_question_on_two_interfaces_is_one_collection", async {
        wire("a", 1);
        wire("b", 2);
        let one = server("10.0.1.2:5683").join(at("239.1.2.3:5683").on("a1"));
        let two = server("10.0.2.2:5683").join(at("239.1.2.3:5683").on("b1"));
        let _one = one.build().await.unwrap().spawn();
        let _two = two.build().await.unwrap().spawn();
        let client = client().interface("a0").build().await.unwrap();
        assert_eq!(ask(&client, "239.1.2.3", SILENCE).await.servers(), 1);
        let expected = ["10.0.1.2:5683", "10.0.2.2:5683"].map(address);
        let answers = client
            .group("coap://239.1.2.3/status")
            .unwrap()
            .unsecured(NoSec::Accepted)
            .interfaces(["a0", "b0"])
            .expect(expected.into_iter().collect())
            .collect_for(PATIENCE)
            .send();
        let outcome = answers.await.unwrap().finish().await.unwrap();
        assert_eq!(outcome.ended_by, EndedBy::AllExpected);
        assert_eq!(outcome.transmissions, 2);
    });
}

#[test]
fn an_interface_that_vanishes_and_returns_keeps_its_groups() {
    alone(
        "an_interface_that_vanishes_and_returns_keeps_its_groups",
        async {
            wire("a", 1);
            let often = DriverConfig {
                interface_check: Duration::from_millis(20),
                ..DriverConfig::default()
            };
            let server = server("0.0.0.0:5683")
                .driver(often)
                .join(at("239.1.2.3:5683").on("a1"));
            let server = server.build().await.unwrap().spawn();
            let client = client().interface("a0").build().await.unwrap();
            let old = interfaces::by_name("a1").unwrap().index;
            assert_eq!(ask(&client, "239.1.2.3", SILENCE).await.servers(), 1);

            ip("link del a0");
            until(&server.handle, |counted| counted.interfaces_gone == 2).await;
            let call = client.group("coap://239.1.2.3/status").unwrap();
            let error = call.unsecured(NoSec::Accepted).send().await.unwrap_err();
            assert!(matches!(
                error,
                AskError::Interface(InterfaceError::Unknown(_))
            ));

            wire("a", 1);
            let new = interfaces::by_name("a1").unwrap().index;
            assert_ne!(old, new);
            until(&server.handle, |counted| counted.interfaces_come == 2).await;
            let start = Instant::now();
            while ask(&client, "239.1.2.3", SILENCE).await.servers() == 0 {
                assert!(start.elapsed() < PATIENCE, "the group was not joined again");
            }
            let listening = server.handle.listening().await.unwrap();
            assert_eq!(listening, [(address("239.1.2.3:5683"), new)]);
            let counted = server.handle.counters().await.unwrap().driver;
            assert!(counted.address_changes > 0);
        },
    );
}

async fn until(handle: &Handle, reached: impl Fn(&antiphon::DriverCounters) -> bool) {
    let start = Instant::now();
    loop {
        let counted = handle.counters().await.unwrap().driver;
        if reached(&counted) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{counted:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn what_cannot_be_sent_is_told_and_survived() {
    alone("what_cannot_be_sent_is_told_and_survived", async {
        wire("a", 1);
        let server = server("10.0.1.2:5683").join(at("239.1.2.3:5683").on("a1"));
        let _server = server.build().await.unwrap().spawn();
        let client = client().interface("a0").build().await.unwrap();
        // No route leads to the peer.
        let one = client.one("coap://198.51.100.1/status").unwrap();
        let error = one.unsecured(NoSec::Accepted).send().await.unwrap_err();
        assert!(
            matches!(
                error,
                OneError::Failed(Failure::Unreachable(proto::SendError::NoRoute))
            ),
            "{error}"
        );
        // The interface is switched off.
        ip("link set a0 down");
        let call = client.group("coap://239.1.2.3/status").unwrap();
        let call = call.unsecured(NoSec::Accepted).collect_for(SILENCE);
        let mut answers = call.send().await.unwrap();
        let event = answers.next().await;
        assert!(
            matches!(
                event,
                Some(CollectionEvent::SendFailed {
                    error: proto::SendError::NoRoute,
                    ..
                })
            ),
            "{event:?}"
        );
        assert_eq!(answers.finish().await.unwrap().servers(), 0);
        let counted = client.counters().await.unwrap();
        assert_eq!(
            (counted.driver.refused, counted.endpoint.send_errors),
            (2, 2)
        );
        // And on again.
        ip("link set a0 up");
        carrier("a0");
        assert_eq!(ask(&client, "239.1.2.3", SILENCE).await.servers(), 1);
    });
}

#[test]
fn a_full_send_buffer_is_waited_for() {
    alone("a_full_send_buffer_is_waited_for", async {
        wire("a", 1);
        sysctl("ipv4/neigh/a0/mcast_solicit", "1");
        sysctl("ipv4/neigh/a0/retrans_time_ms", "50");
        let tight = DriverConfig {
            sockets: SocketOptions {
                send_buffer: Some(1),
                ..SocketOptions::default()
            },
            ..DriverConfig::default()
        };
        let client = client().driver(tight).bind(address("10.0.1.1:0"));
        let client = client.build().await.unwrap();
        // Nobody answers for the address: datagrams wait in the kernel and fill the send buffer.
        let mut requests = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let call = client.one("coap://10.0.1.99/x").unwrap();
            let call = call.put(antiphon::ContentFormat::OCTETS, [0; 512]);
            requests.spawn(call.unsecured(NoSec::Accepted).confirmable(false).send());
        }
        while let Some(result) = requests.join_next().await {
            let error = result.unwrap().unwrap_err();
            assert!(
                matches!(
                    error,
                    OneError::Failed(Failure::Unreachable(proto::SendError::NoRoute))
                ),
                "{error}"
            );
        }
        let counted = client.counters().await.unwrap();
        assert!(counted.driver.send_buffer_full > 0, "{counted:?}");
        assert_eq!(counted.load.exchanges, 0);
        // Others are reached as if nothing had been.
        let _server = server("10.0.1.2:5683").build().await.unwrap().spawn();
        let call = client.one("coap://10.0.1.2/status").unwrap();
        call.unsecured(NoSec::Accepted).send().await.unwrap();
    });
}

#[test]
fn a_server_on_the_wildcard_address_answers_from_the_address_that_was_asked() {
    alone(
        "a_server_on_the_wildcard_address_answers_from_the_address_that_was_asked",
        async {
            wire("a", 1);
            let server = server("0.0.0.0:5683").unicast(address("[::]:5683"));
            let server = server.join(at("239.1.2.3:5683").on("a1"));
            let server = server.join(at("[ff02::db8:1]:5683").on("a1"));
            let server = server.build().await.unwrap().spawn();
            let client = client().build().await.unwrap();
            for asked in ["127.0.0.7", "10.0.1.2", "[fe80::12%25a0]", "[::1]"] {
                let call = client.one(&format!("coap://{asked}/status")).unwrap();
                let reply = call.unsecured(NoSec::Accepted).send().await.unwrap();
                let from = asked.replace("%25a0", "").replace(['[', ']'], "");
                assert_eq!(reply.from.ip().to_string(), from, "{asked}");
                assert_eq!(reply.from.port(), 5683);
            }
            // A link-local peer is reached by the interface named for the call as well, and by none if there is none.
            let call = client.one("coap://[fe80::12]/status").unwrap();
            let call = call.interface("a0").unsecured(NoSec::Accepted);
            assert_eq!(call.send().await.unwrap().from.port(), 5683);
            let lost = client.one("coap://[fe80::12]/status").unwrap();
            let lost = lost.unsecured(NoSec::Accepted).send().await;
            assert!(matches!(lost, Err(OneError::Failed(_))), "{lost:?}");

            // Answers to a link-local group come from a link-local address, through the interface that was asked.
            for group in ["239.1.2.3", "[ff02::db8:1%25a0]"] {
                let uri = format!("coap://{group}/status");
                let call = client.group(&uri).unwrap().interfaces(["a0"]);
                let call = call.unsecured(NoSec::Accepted).count(1);
                let answer = call.send().await.unwrap().answer().await.unwrap();
                assert_eq!(answer.from.peer.port(), 5683, "{group}");
                let is_link_local = answer.from.peer.to_string().starts_with("[fe80::");
                assert_eq!(is_link_local, group.starts_with('['));
            }

            // A broadcast asks nobody in particular and is answered by nobody.
            let shout = std::net::UdpSocket::bind("10.0.1.1:0").unwrap();
            shout.set_broadcast(true).unwrap();
            shout.set_read_timeout(Some(SILENCE)).unwrap();
            let before = server.handle.counters().await.unwrap();
            let ping = [0x40, 0, 0x12, 0x34];
            for datagram in [&ping[..], b"\x50\x01\x12\x35\xb6status"] {
                shout.send_to(datagram, "10.0.1.255:5683").unwrap();
            }
            let heard = tokio::task::spawn_blocking(move || shout.recv_from(&mut [0; 64]));
            assert!(heard.await.unwrap().is_err());
            let after = server.handle.counters().await.unwrap();
            // Each comes over the wire and, as the system loops broadcasts back, by its own end of it.
            assert_eq!(after.endpoint.received, before.endpoint.received + 4);
            assert_eq!(after.endpoint.sent, before.endpoint.sent);
        },
    );
}

#[test]
fn the_hop_limit_of_group_requests_is_one_unless_more_is_wanted() {
    alone(
        "the_hop_limit_of_group_requests_is_one_unless_more_is_wanted",
        async {
            wire("a", 1);
            let frames = Frames::capture();
            for (hops, seen) in [(None, 1), (Some(7), 7), (Some(0), 1)] {
                let mut builder = client().interface("a0");
                if let Some(hops) = hops {
                    builder = builder.hops(hops);
                }
                let client = builder.build().await.unwrap();
                let call = client.notify("coap://239.1.2.3/x").unwrap();
                let call = call.put(antiphon::ContentFormat::TEXT, "x");
                let sent = call.unsecured(NoSec::Accepted).send().await.unwrap();
                assert_eq!(sent.finish().await.unwrap().ended_by, EndedBy::Sent);
                assert_eq!(frames.time_to_live([239, 1, 2, 3]), Some(seen));
            }
        },
    );
}

// Covers: GC-3.9.1-01, GC-3.9.1-02
#[test]
fn joins_and_leaves_are_reported_to_the_network() {
    alone("joins_and_leaves_are_reported_to_the_network", async {
        wire("a", 1);
        let frames = Frames::capture();
        let server = server("10.0.1.2:5683").unicast(address("[::]:5683"));
        let server = server.interface("a1").build().await.unwrap().spawn();
        for group in ["239.9.8.7:5683", "[ff05::db8:9]:5683"] {
            let ids = server.handle.join(at(group).on("a1")).await.unwrap();
            // From now on from anyone: to exclude nobody. Then from nobody: to include nobody.
            assert!(frames.report(address(group), CHANGE_TO_EXCLUDE), "{group}");
            server.handle.leave(ids[0]).await.unwrap();
            assert!(frames.report(address(group), CHANGE_TO_INCLUDE), "{group}");
        }
    });
}

/// The record types of IGMPv3 (RFC 3376) and MLDv2 (RFC 3810).
const CHANGE_TO_INCLUDE: u8 = 3;
const CHANGE_TO_EXCLUDE: u8 = 4;

/// All frames of this namespace.
struct Frames(socket2::Socket);

impl Frames {
    fn capture() -> Self {
        const EVERYTHING: u16 = 3; // ETH_P_ALL
        let protocol = i32::from(EVERYTHING.to_be());
        let socket = socket2::Socket::new(
            socket2::Domain::PACKET,
            socket2::Type::RAW,
            Some(socket2::Protocol::from(protocol)),
        );
        let socket = socket.unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        Self(socket)
    }

    /// The TTL of the next UDP datagram to this group.
    fn time_to_live(&self, group: [u8; 4]) -> Option<u8> {
        use std::io::Read;
        let start = Instant::now();
        let mut frame = [0; 2048];
        while start.elapsed() < PATIENCE {
            let Ok(length) = (&self.0).read(&mut frame) else {
                continue;
            };
            let packet = frame[..length].get(14..).unwrap_or_default();
            if frame[12..14] == [8, 0] && packet[9] == 17 && packet[16..20] == group {
                // The same frame is seen leaving and arriving.
                let _ = (&self.0).read(&mut [0; 2048]);
                return Some(packet[8]);
            }
        }
        None
    }

    /// Whether a report with such a record for the group comes.
    fn report(&self, group: SocketAddr, kind: u8) -> bool {
        use std::io::Read;
        let start = Instant::now();
        let mut frame = [0; 2048];
        while start.elapsed() < PATIENCE {
            if let Ok(length) = (&self.0).read(&mut frame)
                && records(&frame[..length]).contains(&(kind, group.ip()))
            {
                return true;
            }
        }
        false
    }
}

/// The records of an IGMPv3 or MLDv2 report that an Ethernet frame carries.
fn records(frame: &[u8]) -> Vec<(u8, std::net::IpAddr)> {
    const MLD2_REPORT: u8 = 143;
    const IGMP3_REPORT: u8 = 0x22;
    let Some((ethernet, packet)) = frame.split_at_checked(14) else {
        return Vec::new();
    };
    let (report, width) = match ethernet[12..] {
        [0x08, 0x00] if packet[9] == 2 => (&packet[usize::from(packet[0] & 15) * 4..], 4),
        // A hop-by-hop header of eight bytes with the router alert comes before.
        [0x86, 0xdd] if packet[6] == 0 && packet[40] == 58 => (&packet[48..], 16),
        _ => return Vec::new(),
    };
    if report[0]
        != (if width == 4 {
            IGMP3_REPORT
        } else {
            MLD2_REPORT
        })
    {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut rest = &report[8..];
    while rest.len() >= 4 + width {
        let sources = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        let group = &rest[4..4 + width];
        found.push(match width {
            4 => (rest[0], <[u8; 4]>::try_from(group).unwrap().into()),
            _ => (rest[0], <[u8; 16]>::try_from(group).unwrap().into()),
        });
        rest = rest.get(4 + width * (1 + sources)..).unwrap_or_default();
    }
    found
}
