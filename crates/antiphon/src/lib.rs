//! CoAP group communication on real networks: sockets and, on top of them, clients and servers.
//!
//! - [`socket`]: UDP with multicast, packet information and batches.
//! - [`interfaces`]: the network interfaces of this host.

pub mod interfaces;
pub mod socket;
