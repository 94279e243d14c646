//! The servers under test, each in a process of its own.

use std::time::Duration;

use antiphon::{
    Access, ContentFormat, EndpointConfig, GroupPolicy, Incoming, Leisure, Resource, Response,
    Server,
};
use antiphon_proto::DedupLimits;

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
