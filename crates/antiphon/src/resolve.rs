//! From the host of a URI to addresses: host names, literals and zone ids.
//!
//! A literal is never resolved. A name may stand for several groups, one per address
//! (groupcomm-bis section 2.2.1.1); all of its addresses must be of the kind that was asked for.

use core::future::Future;
use core::net::{IpAddr, SocketAddr, SocketAddrV6};
use core::pin::Pin;
use core::time::Duration;
use std::io;

use antiphon_wire::{Host, Uri};

use crate::interfaces;
use crate::socket::needs_interface;

/// The future of a name lookup.
pub type Lookup<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// Looks up the addresses of a host name.
pub trait Resolve: Send + Sync {
    /// All addresses of `name`, of both families.
    fn lookup<'a>(&'a self, name: &'a str) -> Lookup<'a>;
}

/// The operating system's resolver, as `getaddrinfo` has it: hosts file, DNS, what is configured.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn lookup<'a>(&'a self, name: &'a str) -> Lookup<'a> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// For hosts without a resolver, as many constrained networks are: every name is an error that says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoResolver;

impl Resolve for NoResolver {
    fn lookup<'a>(&'a self, _: &'a str) -> Lookup<'a> {
        Box::pin(async {
            Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "no resolver is configured; use an address instead of a name",
            ))
        })
    }
}

/// A fixed table of names, in any letter case.
#[derive(Clone, Debug, Default)]
pub struct StaticResolver {
    names: Vec<(String, Vec<IpAddr>)>,
}

impl StaticResolver {
    /// A table without names.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a name with its addresses.
    #[must_use]
    pub fn with(mut self, name: &str, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.names
            .push((name.to_owned(), addresses.into_iter().collect()));
        self
    }
}

impl Resolve for StaticResolver {
    fn lookup<'a>(&'a self, name: &'a str) -> Lookup<'a> {
        let found = self
            .names
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        let result = match found {
            Some((_, addresses)) => Ok(addresses.clone()),
            None => Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the name is not in the table",
            )),
        };
        Box::pin(async move { result })
    }
}

/// Why the host of a URI leads to no address that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The resolver failed, or there is none.
    #[error("cannot resolve {name}: {source}")]
    Lookup {
        /// The host name.
        name: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The resolver did not answer in time.
    #[error("cannot resolve {name}: no answer from the resolver within {limit:?}")]
    TimedOut {
        /// The host name.
        name: String,
        /// How long it was given.
        limit: Duration,
    },
    /// The name has no address.
    #[error("{0} has no address")]
    NoAddress(String),
    /// A group was asked for, and the host is or resolves to an address of one single host.
    #[error("{host} is not a group: {address} is not a multicast address")]
    NotAGroup {
        /// The host as it stands in the URI.
        host: String,
        /// The address.
        address: IpAddr,
    },
    /// One peer was asked for, and the host is or resolves to a group.
    #[error("{host} is a group ({address}): ask it as a group")]
    IsAGroup {
        /// The host as it stands in the URI.
        host: String,
        /// The address.
        address: IpAddr,
    },
    /// The zone names no interface of this host.
    #[error("the zone {zone} names no interface of this host")]
    Zone {
        /// The zone as it stands in the URI.
        zone: String,
        /// What the system said.
        source: io::Error,
    },
    /// The zone contradicts the interface that was chosen.
    #[error("the address has a zone, and {0} is not an address that has one")]
    ZoneOnWideAddress(IpAddr),
}

/// What a URI's host must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A group: multicast addresses only.
    Group,
    /// One host: unicast addresses only.
    Peer,
}

/// How long a resolver may take.
pub(crate) const LOOKUP_LIMIT: Duration = Duration::from_secs(10);

/// The addresses, with port, that the URI's host stands for, without duplicates and in the resolver's order.
/// An IPv6 address with a zone carries the interface as its scope id, whatever its scope.
pub(crate) async fn resolve(
    uri: &Uri<'_>,
    kind: Kind,
    resolver: &dyn Resolve,
    limit: Duration,
) -> Result<Vec<SocketAddr>, ResolveError> {
    let port = uri.effective_port();
    let mut addresses = Vec::new();
    match uri.host {
        Host::V4(address) => addresses.push(SocketAddr::new(address.into(), port)),
        Host::V6 { addr, zone } => {
            let scope = zone.map(zone_index).transpose()?.unwrap_or(0);
            addresses.push(SocketAddrV6::new(addr, port, 0, scope).into());
        }
        Host::Name(name) => {
            for address in lookup(name, resolver, limit).await? {
                let address = SocketAddr::new(address.to_canonical(), port);
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
    }
    let host = || uri.host.to_string();
    for address in addresses.iter().map(SocketAddr::ip) {
        match (kind, address.is_multicast()) {
            (Kind::Group, false) => {
                return Err(ResolveError::NotAGroup {
                    host: host(),
                    address,
                });
            }
            (Kind::Peer, true) => {
                return Err(ResolveError::IsAGroup {
                    host: host(),
                    address,
                });
            }
            _ => {}
        }
    }
    if kind == Kind::Peer {
        refuse_useless_zone(&addresses)?;
    }
    Ok(addresses)
}

async fn lookup(
    name: &str,
    resolver: &dyn Resolve,
    limit: Duration,
) -> Result<Vec<IpAddr>, ResolveError> {
    let name = decoded(name);
    match tokio::time::timeout(limit, resolver.lookup(&name)).await {
        Err(_) => Err(ResolveError::TimedOut { name, limit }),
        Ok(Err(source)) => Err(ResolveError::Lookup { name, source }),
        Ok(Ok(addresses)) if addresses.is_empty() => Err(ResolveError::NoAddress(name)),
        Ok(Ok(addresses)) => Ok(addresses),
    }
}

/// The name in lower case with its percent-encodings resolved; the URI parser has checked them.
fn decoded(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let encoded = (*first == b'%')
            .then(|| behind.get(..2))
            .flatten()
            .and_then(|digits| core::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match encoded {
            Some(byte) => {
                bytes.push(byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first.to_ascii_lowercase());
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn zone_index(zone: &str) -> Result<u32, ResolveError> {
    interfaces::resolve(zone)
        .map(|interface| interface.index)
        .map_err(|source| ResolveError::Zone {
            zone: zone.to_owned(),
            source,
        })
}

/// A zone on a unicast address of wide scope would be dropped silently by the system.
fn refuse_useless_zone(addresses: &[SocketAddr]) -> Result<(), ResolveError> {
    for address in addresses {
        if let SocketAddr::V6(v6) = address
            && v6.scope_id() != 0
            && !needs_interface(address.ip())
        {
            return Err(ResolveError::ZoneOnWideAddress(address.ip()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
