//! The interfaces of this host: what comes, what goes, and whose addresses change.

use core::net::{IpAddr, SocketAddr};

use antiphon_proto::{CoapGroup, Instant, Interface as Known, Memberships};

use super::Driver;
use crate::interfaces::{self, Interface};

impl Driver {
    /// Looks for changes. Groups on an interface that went away are joined again when it returns, also with
    /// another index: what counts is its name.
    pub(super) fn look_around(&mut self, now: Instant) {
        self.next_check = now + self.config.interface_check;
        if self.config.interface_check.is_zero() {
            self.next_check = Instant::from_micros(u64::MAX);
        }
        self.remind(now);
        let found = match interfaces::list() {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "the interfaces of this host cannot be listed");
                return;
            }
        };
        self.surroundings_are(found);
    }

    pub(super) fn surroundings_are(&mut self, found: Vec<Interface>) {
        if found == self.surroundings {
            return;
        }
        let before = core::mem::replace(&mut self.surroundings, found);
        let first = before.is_empty();
        let now = self.surroundings.clone();

        self.tell_addresses();
        if !first && addresses(&before) != addresses(&now) {
            self.counters.address_changes += 1;
            tracing::info!("the addresses of this host have changed");
        }
        for interface in before.iter().filter(|one| one.up) {
            if !now.iter().any(|one| one.up && is_same(one, interface)) {
                self.counters.interfaces_gone += 1;
                tracing::warn!(interface = %interface.name, index = interface.index, "an interface went away");
                self.went_away(interface);
            }
        }
        for interface in now.iter().filter(|one| one.up) {
            if !first && !before.iter().any(|one| one.up && is_same(one, interface)) {
                self.counters.interfaces_come += 1;
                tracing::warn!(interface = %interface.name, index = interface.index, "an interface came up");
                self.came(interface);
            }
        }
    }

    /// Tells the endpoint under which addresses it can be reached.
    pub(super) fn tell_addresses(&mut self) {
        let here = addresses(&self.surroundings);
        let reachable = self.bound.iter().flat_map(|bound| {
            let all = bound.ip().is_unspecified();
            let of_host = here
                .iter()
                .filter(move |ip| all && bound.is_ipv6() == ip.is_ipv6());
            let own = (!all).then_some(*bound);
            own.into_iter()
                .chain(of_host.map(|ip| SocketAddr::new(*ip, bound.port())))
        });
        self.endpoint.server_mut().set_addresses(reachable);
    }

    fn went_away(&mut self, interface: &Interface) {
        self.away.retain(|(name, _)| *name != interface.name);
        self.away.push((interface.name.clone(), interface.index));
        let memberships = self.endpoint.server_mut().memberships_mut();
        memberships.interface_away(interface.index);
        // The system has forgotten the memberships of an interface that is gone, and the sockets must too.
        for id in self.ports.forget(interface.index) {
            self.endpoint.remove_socket(id);
        }
    }

    fn came(&mut self, interface: &Interface) {
        let memberships = self.endpoint.server_mut().memberships_mut();
        if let Some(at) = self
            .away
            .iter()
            .position(|(name, _)| *name == interface.name)
        {
            let (_, old) = self.away.swap_remove(at);
            if old != interface.index {
                renumber(memberships, old, interface.index);
            }
        }
        memberships.interface_back(interface.index);
    }
}

/// What was joined on an interface is from now on joined on the same one with its new index.
fn renumber(memberships: &mut Memberships, old: u32, new: u32) {
    let of_old: Vec<_> = memberships
        .groups()
        .filter(|group| group.interfaces().contains(&old))
        .map(CoapGroup::id)
        .collect();
    let known = memberships
        .interfaces()
        .iter()
        .find(|known| known.index == old);
    if let Some(known) = known.copied() {
        memberships.remove_interface(new);
        if let Err(error) = memberships.set_interface(Known {
            index: new,
            ..known
        }) {
            tracing::warn!(%error, index = new, "an interface that returned cannot be used");
        }
    }
    for group in of_old {
        if let Err(error) = memberships.join(group, new) {
            tracing::warn!(%error, index = new, "a group cannot be joined again");
        }
    }
    memberships.remove_interface(old);
}

fn is_same(one: &Interface, other: &Interface) -> bool {
    one.index == other.index && one.name == other.name
}

fn addresses(interfaces: &[Interface]) -> Vec<IpAddr> {
    let up = interfaces.iter().filter(|one| one.up);
    let mut all: Vec<IpAddr> = up.flat_map(|one| one.addresses.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    all
}
