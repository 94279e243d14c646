//! What deserves a second look in a configuration of groups: data for whoever shows it, never a log line.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use antiphon_wire::Scope;

use super::Memberships;
use super::group::GroupSecurity;

/// One remark on a configuration of groups.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lint {
    /// The group has a wider scope than is needed (groupcomm-bis-18 section 3.6).
    WiderThanNeeded {
        /// The CoAP group.
        group: SocketAddr,
        /// The scope of its address.
        scope: Scope,
        /// The scope that would do.
        needed: Scope,
    },
    /// The group has global scope.
    GlobalScope {
        /// The CoAP group.
        group: SocketAddr,
    },
    /// Several CoAP groups share one address and differ by port (groupcomm-bis-18 section 3.4, NOT RECOMMENDED).
    SharedAddress {
        /// The address.
        address: IpAddr,
        /// The ports, ascending.
        ports: Vec<u16>,
    },
    /// The name of an application group is long for a constrained network.
    LongName {
        /// The application group.
        name: String,
        /// How many bytes of options each request spends on it.
        bytes: usize,
    },
    /// The group is configured by a host name, which needs a resolver where a literal would need none (groupcomm-bis-18 section 2.2.1.1).
    HostName {
        /// The host name.
        name: String,
    },
    /// Messages to the group are not protected.
    Unsecured {
        /// The CoAP group.
        group: SocketAddr,
    },
    /// Members of one group use different ports (seed -03 section 3.3).
    PortMismatch {
        /// The multicast address.
        address: IpAddr,
        /// The ports that its members use, ascending.
        ports: Vec<u16>,
    },
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WiderThanNeeded {
                group,
                scope,
                needed,
            } => write!(f, "{group} has {scope} scope where {needed} scope would do"),
            Self::GlobalScope { group } => {
                write!(
                    f,
                    "{group} has global scope: requests may reach the public Internet"
                )
            }
            Self::SharedAddress { address, ports } => write!(
                f,
                "{address} carries {} groups on ports {}: each member takes in and discards the others' traffic",
                ports.len(),
                List(ports)
            ),
            Self::LongName { name, bytes } => {
                write!(
                    f,
                    "each request spends {bytes} bytes on the group name {name:?}"
                )
            }
            Self::HostName { name } => write!(
                f,
                "{name} must be resolved before use; an address literal works without a resolver"
            ),
            Self::Unsecured { group } => write!(
                f,
                "{group} is not protected: anyone can forge requests and aim the amplification of all members' answers at a victim"
            ),
            Self::PortMismatch { address, ports } => write!(
                f,
                "members of the group {address} listen on different ports: {}",
                List(ports)
            ),
        }
    }
}

struct List<'a>(&'a [u16]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, port) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{port}")?;
        }
        Ok(())
    }
}

/// Looks at the group addresses that the members of **one** group are configured with: all must use the
/// same port (seed -03 section 3.3). Addresses of several families or scopes count as one group each.
pub fn check_member_ports(members: impl IntoIterator<Item = SocketAddr>) -> Vec<Lint> {
    ports_by_address(members)
        .into_iter()
        .filter(|(_, ports)| ports.len() > 1)
        .map(|(address, ports)| Lint::PortMismatch { address, ports })
        .collect()
}

/// The ports in use with each address, both ascending, none twice.
pub(super) fn ports_by_address(
    groups: impl IntoIterator<Item = SocketAddr>,
) -> Vec<(IpAddr, Vec<u16>)> {
    let mut pairs: Vec<(IpAddr, u16)> = groups
        .into_iter()
        .map(|group| (group.ip().to_canonical(), group.port()))
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    let mut found: Vec<(IpAddr, Vec<u16>)> = Vec::new();
    for (address, port) in pairs {
        match found.last_mut() {
            Some((last, ports)) if *last == address => ports.push(port),
            _ => found.push((address, Vec::from([port]))),
        }
    }
    found
}

impl Memberships {
    /// Remarks on the configuration as it is now.
    pub fn lints(&self) -> Vec<Lint> {
        let configured = || self.coap.iter().filter(|group| group.configured);
        let mut lints = Vec::new();
        for group in configured() {
            let address = group.address;
            let scope = match address.ip() {
                IpAddr::V6(v6) => Scope::of(v6),
                IpAddr::V4(_) => None,
            };
            if scope == Some(Scope::Global) {
                lints.push(Lint::GlobalScope { group: address });
            }
            if let (Some(scope), Some(needed)) = (scope, group.needed)
                && scope > needed
            {
                lints.push(Lint::WiderThanNeeded {
                    group: address,
                    scope,
                    needed,
                });
            }
            if group.security == GroupSecurity::NoSec {
                lints.push(Lint::Unsecured { group: address });
            }
            lints.extend(
                group
                    .names
                    .iter()
                    .map(|name| Lint::HostName { name: name.clone() }),
            );
        }
        if !self.limits.limited_subscriptions {
            let shared = ports_by_address(configured().map(|group| group.address));
            lints.extend(
                shared
                    .into_iter()
                    .filter(|(_, ports)| ports.len() > 1)
                    .map(|(address, ports)| Lint::SharedAddress { address, ports }),
            );
        }
        for group in &self.applications {
            let bytes = group.naming.bytes_for(&group.name);
            if bytes > self.limits.long_name {
                let name = group.name.clone();
                lints.push(Lint::LongName { name, bytes });
            }
        }
        lints
    }
}
