//! The servers under test, each in a process of its own.

use std::hint::black_box;
use std::time::Duration;

use antiphon::{
    Access, ContentFormat, EndpointConfig, GroupPolicy, Incoming, Leisure, Resource, Response,
    Server,
};
use antiphon_proto::{DedupLimits, Endpoint, Instant, NoSecPolicy, Path, SocketId, SocketInfo};

use crate::server::announce;

/// Guarantees on: deduplication with 64k records, all of which one address may take.
pub(crate) fn config() -> EndpointConfig {
    EndpointConfig {
        dedup: DedupLimits {
            records: 65_536,
            records_per_address: 65_536,
            addresses: 4_096,
            reply_bytes: 4 << 20,
        },
        ..EndpointConfig::default()
    }
}

/// A small resource that answers at once.
pub(crate) fn time() -> Resource {
    Resource::at("/time")
        .get(|_: &Incoming<'_>, response: &mut Response| {
            response.set_payload(ContentFormat::TEXT, b"12:34:56");
        })
        .group_policy(GroupPolicy::respond().leisure(Leisure::Fixed(Duration::ZERO)))
        .access(Access::Unsecured)
}

/// Has an endpoint without sockets answer `count` requests: what is left of the way is the system's.
pub(crate) fn repeat(count: u64) {
    let mut endpoint = Endpoint::new(config(), [7; 32]);
    let socket = SocketId(0);
    let local = ([127, 0, 0, 1], 5683).into();
    endpoint.add_socket(
        socket,
        SocketInfo {
            local,
            respond_from: None,
        },
    );
    let server = endpoint.server_mut();
    server.set_nosec(NoSecPolicy::Stated);
    server.add(time()).expect("the only resource is accepted");
    let mut out = Vec::with_capacity(2048);
    let path = Path {
        socket,
        local,
        interface: 1,
        peer: ([127, 0, 0, 1], 40_000).into(),
    };
    for n in 0..count {
        let now = Instant::from_micros(n * 10);
        let [.., high, low] = n.to_be_bytes();
        let mut request = *b"\x54\x01\x00\x00tokn\xb4time";
        request[2..4].copy_from_slice(&[high, low]);
        request[4..8].copy_from_slice(&(n as u32).to_be_bytes());
        endpoint.handle_datagram(now, path, &request);
        let mut sent = 0;
        while endpoint.poll_transmit(now, &mut out).is_some() {
            sent += 1;
        }
        assert_eq!(sent, 1, "one answer for each request");
        assert!(endpoint.poll_work(now).is_none() && endpoint.poll_event().is_none());
        black_box(endpoint.next_timeout());
    }
}

/// The whole server of the library on one thread, until it is ended.
pub(crate) fn run() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let server = Server::builder()
            .unicast(([127, 0, 0, 1], 0).into())
            .endpoint(config())
            .discoverable(antiphon::Discoverable::Off)
            .unsecured(antiphon::NoSec::Accepted)
            .resource(time())
            .build()
            .await?;
        for address in server.addresses() {
            announce(address);
        }
        server.run(std::future::pending()).await;
        Ok(())
    })
}
