//! By which interface a group request leaves, and on which interfaces a group is joined, when nobody says.
//!
//! A multicast datagram is always pinned to an interface: left to the routing table it may take a road that
//! nobody thought of. The interface of a request to a group is, in this order:
//!
//! 1. the zone of the address in the URI (`coap://[ff02::fd%25eth0]/`),
//! 2. the interfaces named for the request, then those named for the client,
//! 3. for a client bound to an address: the interface that has it,
//! 4. the loopback interface for a group of interface-local scope (`ff01::/16`),
//! 5. the only interface that is up, carries multicast and has an address of the group's family (Linux's loopback does not count; it
//!    is taken when there is no other),
//! 6. of several such interfaces the one to which the routing table leads - except for a group of link-local scope
//!    (`ff02::/16`, `224.0.0.0/24`), for which there is no right choice: that is an error.
//!
//! A server without named interfaces joins on the interfaces of the addresses it is bound to; bound to a wildcard address, on every
//! interface of step 5.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::io;
use std::net::UdpSocket;

use antiphon_wire::Scope;

use crate::interfaces::{self, Interface};

/// Why no interface could be chosen.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// An interface that was named does not exist.
    #[error("{0}")]
    Unknown(io::Error),
    /// The interfaces of this host cannot be listed.
    #[error("cannot list the network interfaces: {0}")]
    List(io::Error),
    /// No interface can carry the group.
    #[error("no interface that is up carries multicast to {0}")]
    None(IpAddr),
    /// The interface is set up not to carry multicast.
    #[error("interface {0} does not carry multicast")]
    NoMulticast(String),
    /// A link-local group means another set of members on each interface.
    #[error("{group} is another group on each interface: name one of {}", .candidates.join(", "))]
    Ambiguous {
        /// The group.
        group: IpAddr,
        /// The names of the interfaces that could be meant.
        candidates: Vec<String>,
    },
    /// The zone of the address contradicts the interfaces that were named.
    #[error("the zone of the address is interface {zone}, which is not among the interfaces named")]
    Contradiction {
        /// Index of the zone's interface.
        zone: u32,
    },
}

/// The index of the interface that `text` means: a name, an index or one of its addresses.
pub(crate) fn named(text: &str) -> Result<u32, InterfaceError> {
    interfaces::resolve(text)
        .map(|interface| interface.index)
        .map_err(InterfaceError::Unknown)
}

/// Refuses an interface that is set up not to carry multicast. (Linux's loopback does not say that it does, and does.) One that cannot be
/// found is for the system to refuse.
pub(crate) fn carries_multicast(index: u32) -> Result<(), InterfaceError> {
    match interfaces::by_index(index) {
        Ok(found) if !found.multicast && !found.loopback => {
            Err(InterfaceError::NoMulticast(found.name))
        }
        _ => Ok(()),
    }
}

/// What is known before a choice must be made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wishes<'a> {
    /// Indices named for the request or the client; empty: none named.
    pub(crate) named: &'a [u32],
    /// The address the client is bound to, if it is a particular one.
    pub(crate) bound: Option<IpAddr>,
}

/// The interfaces by which a request to `group` leaves: never empty.
pub(crate) fn for_request(
    group: SocketAddr,
    wishes: Wishes<'_>,
) -> Result<Vec<u32>, InterfaceError> {
    let stated = match zone(group) {
        Some(zone) if !wishes.named.is_empty() && !wishes.named.contains(&zone) => {
            return Err(InterfaceError::Contradiction { zone });
        }
        Some(zone) => vec![zone],
        None => wishes.named.to_vec(),
    };
    if !stated.is_empty() {
        stated
            .iter()
            .try_for_each(|index| carries_multicast(*index))?;
        return Ok(stated);
    }
    let all = interfaces::list().map_err(InterfaceError::List)?;
    choose(&all, group, wishes.bound, routed).map(|index| vec![index])
}

/// The interfaces on which `group` is joined when none is named, for a server bound to `bound`: never empty.
pub(crate) fn for_membership(
    group: SocketAddr,
    bound: &[IpAddr],
) -> Result<Vec<u32>, InterfaceError> {
    if let Some(zone) = zone(group) {
        return Ok(vec![zone]);
    }
    let all = interfaces::list().map_err(InterfaceError::List)?;
    let chosen = memberships(&all, group, bound);
    if chosen.is_empty() {
        return Err(InterfaceError::None(group.ip()));
    }
    Ok(chosen)
}

fn memberships(all: &[Interface], group: SocketAddr, bound: &[IpAddr]) -> Vec<u32> {
    let family = |address: &&IpAddr| address.is_ipv4() == group.is_ipv4();
    let mut same = bound.iter().filter(family).peekable();
    if same.peek().is_none() || same.clone().any(IpAddr::is_unspecified) {
        return candidates(all, group.ip())
            .iter()
            .map(|one| one.index)
            .collect();
    }
    let mut chosen: Vec<u32> = same
        .filter_map(|address| owner(all, *address))
        .map(|interface| interface.index)
        .collect();
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

/// Steps 3 to 6 of the choice for a request.
fn choose(
    all: &[Interface],
    group: SocketAddr,
    bound: Option<IpAddr>,
    routed: impl Fn(SocketAddr) -> Option<IpAddr>,
) -> Result<u32, InterfaceError> {
    if let Some(interface) = bound
        .filter(|address| !address.is_unspecified())
        .and_then(|address| owner(all, address))
    {
        return Ok(interface.index);
    }
    if is_scope(group.ip(), Scope::Interface)
        && let Some(loopback) = all.iter().find(|one| one.loopback && one.up)
    {
        return Ok(loopback.index);
    }
    let candidates = candidates(all, group.ip());
    match candidates[..] {
        [] => Err(InterfaceError::None(group.ip())),
        [only] => Ok(only.index),
        [first, ..] => {
            if is_link_local(group.ip()) {
                return Err(InterfaceError::Ambiguous {
                    group: group.ip(),
                    candidates: candidates.iter().map(|one| one.name.clone()).collect(),
                });
            }
            let by_route = routed(group).and_then(|source| owner(all, source));
            let chosen = by_route
                .filter(|interface| candidates.iter().any(|one| one.index == interface.index))
                .unwrap_or(first);
            Ok(chosen.index)
        }
    }
}

/// The interfaces that can carry the group; the loopback interface when there is no other.
fn candidates(all: &[Interface], group: IpAddr) -> Vec<&Interface> {
    let fits = |one: &&Interface| one.up && one.speaks(group);
    let real: Vec<&Interface> = all
        .iter()
        .filter(fits)
        .filter(|one| one.multicast && !one.loopback)
        .collect();
    if !real.is_empty() {
        return real;
    }
    all.iter().filter(fits).filter(|one| one.loopback).collect()
}

/// The interface that has this address.
fn owner(all: &[Interface], address: IpAddr) -> Option<&Interface> {
    let address = address.to_canonical();
    all.iter().find(|one| {
        one.addresses.contains(&address) || (one.loopback && address.is_loopback() && one.up)
    })
}

/// The source address with which the routing table would send to `group`. Connecting a socket sends nothing.
fn routed(group: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match group {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(group).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn zone(group: SocketAddr) -> Option<u32> {
    match group {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => Some(v6.scope_id()),
        _ => None,
    }
}

fn is_scope(group: IpAddr, scope: Scope) -> bool {
    matches!(group, IpAddr::V6(v6) if Scope::of(v6) == Some(scope))
}

/// Groups that are another set of members on every link.
fn is_link_local(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(v4) => matches!(v4.octets(), [224, 0, 0, _]),
        IpAddr::V6(_) => is_scope(group, Scope::Link),
    }
}

#[cfg(test)]
mod tests;
