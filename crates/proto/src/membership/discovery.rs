//! The All CoAP Nodes groups, which a server with discovery listens to.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use antiphon_wire::{ALL_COAP_NODES_V4, DEFAULT_PORT, Scope, all_coap_nodes_v6};

use super::Memberships;
use super::group::{CoapGroup, CoapGroupId, GroupSecurity, Interface, ascending};

impl Memberships {
    /// Creates and removes All CoAP Nodes groups as discovery and the interfaces need them.
    pub(super) fn sync_discovery(&mut self) {
        let mut needed: Vec<IpAddr> = Vec::new();
        if self.discovery {
            let private = self.interfaces.iter().filter(|interface| !interface.public);
            needed = ascending(private.flat_map(discovery_addresses));
        }
        for group in &mut self.coap {
            group.discovery =
                group.address.port() == DEFAULT_PORT && needed.contains(&group.address.ip());
        }
        let unused: Vec<SocketAddr> = self
            .coap
            .iter()
            .filter(|group| !group.configured && !group.discovery)
            .map(|group| group.address)
            .collect();
        for address in unused {
            self.coap.retain(|group| group.address != address);
            self.by_address.remove(&(address.ip(), address.port()));
        }
        for address in needed {
            let address = SocketAddr::new(address, DEFAULT_PORT);
            if self.id_at(address).is_none() {
                // A full table leaves the remaining ones out; the limit is far above their number.
                let _ = self.insert(discovery_group(CoapGroupId(self.next_id), address));
            }
        }
    }
}

/// Does this interface take part in the All CoAP Nodes group of this address?
pub(super) fn joins_discovery(interface: &Interface, address: IpAddr) -> bool {
    !interface.public && discovery_addresses(interface).any(|joined| joined == address)
}

/// The All CoAP Nodes addresses that a server with discovery joins on this interface.
fn discovery_addresses(interface: &Interface) -> impl Iterator<Item = IpAddr> {
    let v4 = interface.ipv4.then_some(IpAddr::V4(ALL_COAP_NODES_V4));
    let scopes = [Scope::Link, Scope::Admin, Scope::Site].into_iter();
    let realm = interface.sixlowpan.then_some(Scope::Realm);
    let v6 = scopes
        .chain(realm)
        .map(|scope| IpAddr::V6(all_coap_nodes_v6(scope)));
    v4.into_iter().chain(v6.filter(|_| interface.ipv6))
}

/// An All CoAP Nodes group as discovery needs it.
pub(super) fn discovery_group(id: CoapGroupId, address: SocketAddr) -> CoapGroup {
    CoapGroup {
        id,
        address,
        names: Vec::new(),
        interfaces: Vec::new(),
        security: GroupSecurity::NoSec,
        leisure: None,
        needed: None,
        applications: Vec::new(),
        configured: false,
        discovery: true,
    }
}
