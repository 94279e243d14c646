//! The one table of groups: CoAP groups and application groups in a many-to-many relation, how requests
//! name them, how they are protected, and what the endpoint therefore listens to.
//!
//! Every change is a method that either succeeds or changes nothing. What a change means for listening
//! comes out as tasks ([`Memberships::poll_task`]): one Join for each address, port and interface, however
//! many groups and relations need it, and none for groups that the change does not touch.

mod application;
mod discovery;
mod group;
mod lint;
mod listen;
mod naming;

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use antiphon_wire::{SECURE_PORT, Scope};
use hashbrown::HashMap;

use crate::path::is_group_address;
use crate::policy::Leisure;
use crate::rng::{KeyedHash, Rng};
use crate::time::Instant;
use crate::work::{Task, WorkFailure};

use discovery::{discovery_group, joins_discovery};
use group::ascending;
pub use group::{
    ApplicationGroup, ApplicationGroupId, Authority, CoapGroup, CoapGroupId, CoapGroupSpec,
    GroupSecurity, Interface, MembershipError, SecurityGroupName,
};
pub use lint::{Lint, check_member_ports};
use listen::Listeners;
pub use listen::{ListenChange, ListenEvent, Listening};
pub use naming::{GroupAddress, Naming, reverse_name};
pub(crate) use naming::{RequestUri, is_host_name, literal, segments};

/// How large the table may grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipLimits {
    /// CoAP groups, those for discovery included; default 128.
    pub coap_groups: usize,
    /// Application groups; default 256.
    pub application_groups: usize,
    /// Host names of one CoAP group, interfaces of one CoAP group, and interfaces in all; default 32.
    pub per_group: usize,
    /// Options bytes for the name of an application group beyond which a [`Lint::LongName`] is reported; default 16.
    pub long_name: usize,
    /// The network stack supports few multicast addresses, so that several groups on one address are no [`Lint::SharedAddress`]; default no.
    pub limited_subscriptions: bool,
}

impl Default for MembershipLimits {
    fn default() -> Self {
        Self {
            coap_groups: 128,
            application_groups: 256,
            per_group: 32,
            long_name: 16,
            limited_subscriptions: false,
        }
    }
}

/// The table of groups. See the module.
#[derive(Debug)]
pub struct Memberships {
    limits: MembershipLimits,
    coap: Vec<CoapGroup>,
    by_address: HashMap<(IpAddr, u16), CoapGroupId, KeyedHash>,
    applications: Vec<ApplicationGroup>,
    /// The security groups whose contexts are loaded, ascending.
    loaded: Vec<SecurityGroupName>,
    /// Application groups that were merged into another: old name of the table, new one.
    merged: Vec<(ApplicationGroupId, ApplicationGroupId)>,
    interfaces: Vec<Interface>,
    discovery: bool,
    listeners: Listeners,
    next_id: u32,
}

/// Which application group a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// This one.
    Group(ApplicationGroupId),
    /// One that this endpoint is no member of.
    Unknown,
    /// None; one of those that the CoAP group implies is meant, if it implies any.
    Nothing,
}

impl Memberships {
    /// An empty table. The hash key comes from `rng`.
    pub fn new(limits: MembershipLimits, rng: &mut Rng) -> Self {
        Self {
            limits,
            coap: Vec::new(),
            by_address: HashMap::with_hasher(rng.keyed_hash()),
            applications: Vec::new(),
            loaded: Vec::new(),
            merged: Vec::new(),
            interfaces: Vec::new(),
            discovery: false,
            listeners: Listeners::default(),
            next_id: 0,
        }
    }

    // ---- Interfaces and discovery ----

    /// Announces an interface, or says anew what it is like. It counts as present from now on.
    ///
    /// # Errors
    /// [`MembershipError::Full`], or [`MembershipError::PublicInterface`] if a group without security is configured on it.
    pub fn set_interface(&mut self, interface: Interface) -> Result<(), MembershipError> {
        if interface.public
            && self.coap.iter().any(|group| {
                group.configured
                    && group.security == GroupSecurity::NoSec
                    && group.interfaces.contains(&interface.index)
            })
        {
            return Err(MembershipError::PublicInterface);
        }
        let full = self.interfaces.len() >= self.limits.per_group;
        match self
            .interfaces
            .iter_mut()
            .find(|known| known.index == interface.index)
        {
            Some(known) => *known = interface,
            None if full => return Err(MembershipError::Full),
            None => self.interfaces.push(interface),
        }
        self.listeners.interface_back(interface.index);
        self.sync_discovery();
        self.sync();
        Ok(())
    }

    /// An interface went away. Its memberships are joined again when it returns.
    pub fn interface_away(&mut self, index: u32) {
        self.listeners.interface_away(index);
    }

    /// An interface returned.
    pub fn interface_back(&mut self, index: u32) {
        self.listeners.interface_back(index);
    }

    /// Forgets an interface for good, with everything that was joined on it.
    pub fn remove_interface(&mut self, index: u32) {
        self.interfaces.retain(|interface| interface.index != index);
        for group in &mut self.coap {
            group.interfaces.retain(|interface| *interface != index);
        }
        self.sync_discovery();
        self.sync();
    }

    /// The announced interfaces.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// Whether this endpoint serves discovery: then it listens on port 5683, whatever ports its other groups
    /// use, to the All CoAP Nodes groups of each announced interface: 224.0.1.187, and with IPv6 those of
    /// link-local, admin-local and site-local scope, on 6LoWPAN of realm-local scope too (groupcomm-bis-18
    /// sections 3.9.1 to 3.9.3, RFC 7252 section 7.1).
    pub fn serve_discovery(&mut self, serve: bool) {
        self.discovery = serve;
        self.sync_discovery();
        self.sync();
    }

    // ---- CoAP groups ----

    /// Creates a CoAP group and listens to it on the interfaces of the specification.
    ///
    /// # Errors
    /// [`MembershipError::AddressTaken`] if it exists; what is wrong with address, port, names or security.
    pub fn create(&mut self, spec: CoapGroupSpec) -> Result<CoapGroupId, MembershipError> {
        let address = usable(spec.address)?;
        let security = spec.security.ok_or(MembershipError::SecurityNotStated)?;
        self.check_security(address, &security, &spec.interfaces)?;
        let names = host_names(spec.names)?;
        let interfaces = ascending(spec.interfaces);
        if names.len() > self.limits.per_group || interfaces.len() > self.limits.per_group {
            return Err(MembershipError::Full);
        }
        let group = CoapGroup {
            id: CoapGroupId(self.next_id),
            address,
            names,
            interfaces,
            security,
            leisure: spec.leisure,
            needed: spec.needed,
            applications: Vec::new(),
            configured: true,
            discovery: false,
        };
        let id = match self.id_at(address) {
            // An All CoAP Nodes group that is there for discovery becomes a configured one as well.
            Some(id) => {
                let known = self.group_mut(id)?;
                if known.configured {
                    return Err(MembershipError::AddressTaken);
                }
                *known = CoapGroup {
                    id,
                    discovery: known.discovery,
                    ..group
                };
                id
            }
            None => self.insert(group)?,
        };
        self.sync();
        Ok(id)
    }

    /// Creates one CoAP group for each multicast address that a host name resolves to; addresses of the
    /// specification itself play no role. A group that exists already gets the name as another one of its own.
    ///
    /// # Errors
    /// [`MembershipError::NotMulticast`] if none of the addresses is multicast; as [`create`](Self::create). Nothing is created then.
    pub fn create_resolved(
        &mut self,
        host: &str,
        port: u16,
        addresses: &[IpAddr],
        spec: &CoapGroupSpec,
    ) -> Result<Vec<CoapGroupId>, MembershipError> {
        let groups: Vec<SocketAddr> = addresses
            .iter()
            .map(|address| SocketAddr::new(*address, port))
            .filter(|address| is_group_address(address.ip()))
            .collect();
        if groups.is_empty() {
            return Err(MembershipError::NotMulticast);
        }
        let security = spec
            .security
            .as_ref()
            .ok_or(MembershipError::SecurityNotStated)?;
        let name = host_names(Vec::from([host.to_owned()]))?;
        let mut new = 0;
        for group in &groups {
            let address = usable(*group)?;
            self.check_security(address, security, &spec.interfaces)?;
            match self.id_at(address).and_then(|id| self.group(id)) {
                None => new += 1,
                Some(known) if known.names.len() >= self.limits.per_group => {
                    return Err(MembershipError::Full);
                }
                Some(_) => {}
            }
        }
        if self.coap.len() + new > self.limits.coap_groups {
            return Err(MembershipError::Full);
        }
        let mut ids = Vec::new();
        for group in groups {
            let known = self.id_at(usable(group)?);
            let id = match known.filter(|id| self.group(*id).is_some_and(|known| known.configured))
            {
                Some(id) => {
                    let known = self.group_mut(id)?;
                    for name in &name {
                        if !known.names.contains(name) {
                            known.names.push(name.clone());
                        }
                    }
                    id
                }
                None => self.create(CoapGroupSpec {
                    address: group,
                    ..spec.clone().name(host)
                })?,
            };
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    /// Deletes a CoAP group with its relations and listens to it no more, except for discovery.
    ///
    /// # Errors
    /// [`MembershipError::UnknownGroup`].
    pub fn remove(&mut self, id: CoapGroupId) -> Result<(), MembershipError> {
        let group = self.group_mut(id)?;
        if !group.configured {
            return Err(MembershipError::UnknownGroup);
        }
        self.release(id)?;
        self.sync();
        Ok(())
    }

    /// Listens to a CoAP group on one more interface.
    ///
    /// # Errors
    /// [`MembershipError::UnknownGroup`], [`MembershipError::PublicInterface`], [`MembershipError::Full`].
    pub fn join(&mut self, id: CoapGroupId, interface: u32) -> Result<(), MembershipError> {
        let group = self.group(id).ok_or(MembershipError::UnknownGroup)?;
        self.check_security(group.address, &group.security, &[interface])?;
        if !group.interfaces.contains(&interface) && group.interfaces.len() >= self.limits.per_group
        {
            return Err(MembershipError::Full);
        }
        let group = self.group_mut(id)?;
        if let Err(at) = group.interfaces.binary_search(&interface) {
            group.interfaces.insert(at, interface);
        }
        self.sync();
        Ok(())
    }

    /// Listens to a CoAP group on one interface no more. The group stays, with its relations.
    ///
    /// # Errors
    /// [`MembershipError::UnknownGroup`], [`MembershipError::NotJoined`].
    pub fn leave(&mut self, id: CoapGroupId, interface: u32) -> Result<(), MembershipError> {
        let group = self.group_mut(id)?;
        let at = group
            .interfaces
            .binary_search(&interface)
            .map_err(|_| MembershipError::NotJoined)?;
        group.interfaces.remove(at);
        self.sync();
        Ok(())
    }

    /// Gives a CoAP group another address, another port or both. Its members leave the old one when the
    /// Join of the new one has been handed out; names, relations and interfaces stay.
    ///
    /// # Errors
    /// [`MembershipError::AddressTaken`], [`MembershipError::DiscoveryGroup`]; what is wrong with the address.
    pub fn move_to(&mut self, id: CoapGroupId, address: SocketAddr) -> Result<(), MembershipError> {
        let address = usable(address)?;
        let group = self.group(id).ok_or(MembershipError::UnknownGroup)?;
        if group.address == address {
            return Ok(());
        }
        if group.discovery {
            return Err(MembershipError::DiscoveryGroup);
        }
        if self.id_at(address).is_some() {
            return Err(MembershipError::AddressTaken);
        }
        self.check_security(address, &group.security, &group.interfaces)?;
        let old = group.address;
        self.group_mut(id)?.address = address;
        self.by_address.remove(&(old.ip(), old.port()));
        self.by_address.insert((address.ip(), address.port()), id);
        self.sync();
        Ok(())
    }

    /// Gives a CoAP group these host names instead of its own.
    ///
    /// # Errors
    /// [`MembershipError::NotAHostName`], [`MembershipError::UnknownGroup`], [`MembershipError::Full`].
    pub fn set_names(&mut self, id: CoapGroupId, names: &[&str]) -> Result<(), MembershipError> {
        let names = host_names(names.iter().map(|name| (*name).to_owned()).collect())?;
        if names.len() > self.limits.per_group {
            return Err(MembershipError::Full);
        }
        self.group_mut(id)?.names = names;
        Ok(())
    }

    /// Says anew how a CoAP group is protected.
    ///
    /// # Errors
    /// [`MembershipError::UnknownGroup`]; what forbids a group without security.
    pub fn set_security(
        &mut self,
        id: CoapGroupId,
        security: GroupSecurity,
    ) -> Result<(), MembershipError> {
        let group = self.group(id).ok_or(MembershipError::UnknownGroup)?;
        self.check_security(group.address, &security, &group.interfaces)?;
        self.group_mut(id)?.security = security;
        Ok(())
    }

    /// Sets the leisure of answers to requests through this group.
    ///
    /// # Errors
    /// [`MembershipError::UnknownGroup`].
    pub fn set_leisure(
        &mut self,
        id: CoapGroupId,
        leisure: Option<Leisure>,
    ) -> Result<(), MembershipError> {
        self.group_mut(id)?.leisure = leisure;
        Ok(())
    }

    /// Splits a CoAP group: on these interfaces its members move to another address or port. The new group
    /// has the same security, leisure and application groups, and no host name.
    ///
    /// # Errors
    /// [`MembershipError::NotJoined`] for an interface that the group is not listened to on, or if there is none; as [`move_to`](Self::move_to).
    pub fn split(
        &mut self,
        id: CoapGroupId,
        address: SocketAddr,
        interfaces: &[u32],
    ) -> Result<CoapGroupId, MembershipError> {
        let address = usable(address)?;
        let group = self.group(id).ok_or(MembershipError::UnknownGroup)?;
        if group.discovery {
            return Err(MembershipError::DiscoveryGroup);
        }
        let moved = ascending(interfaces.iter().copied());
        if moved.is_empty()
            || !moved
                .iter()
                .all(|interface| group.interfaces.contains(interface))
        {
            return Err(MembershipError::NotJoined);
        }
        if self.id_at(address).is_some() {
            return Err(MembershipError::AddressTaken);
        }
        self.check_security(address, &group.security, &moved)?;
        let other = CoapGroup {
            id: CoapGroupId(self.next_id),
            address,
            names: Vec::new(),
            interfaces: moved.clone(),
            ..group.clone()
        };
        let new = self.insert(other)?;
        self.group_mut(id)?
            .interfaces
            .retain(|interface| !moved.contains(interface));
        self.sync();
        Ok(new)
    }

    /// Merges a CoAP group into another: that one is listened to on the interfaces of both, has the host
    /// names of both and carries the application groups of both. The first one is gone.
    ///
    /// # Errors
    /// [`MembershipError::SecurityDiffers`], [`MembershipError::DiscoveryGroup`], [`MembershipError::Full`], [`MembershipError::UnknownGroup`].
    pub fn merge(&mut self, from: CoapGroupId, into: CoapGroupId) -> Result<(), MembershipError> {
        let source = self
            .group(from)
            .ok_or(MembershipError::UnknownGroup)?
            .clone();
        let target = self.group(into).ok_or(MembershipError::UnknownGroup)?;
        if from == into {
            return Ok(());
        }
        if source.discovery || !target.configured {
            return Err(MembershipError::DiscoveryGroup);
        }
        if source.security != target.security {
            return Err(MembershipError::SecurityDiffers);
        }
        let interfaces = united(&target.interfaces, &source.interfaces);
        self.check_security(target.address, &target.security, &interfaces)?;
        let mut names = target.names.clone();
        names.extend(
            source
                .names
                .iter()
                .filter(|name| !target.names.contains(name))
                .cloned(),
        );
        if names.len() > self.limits.per_group || interfaces.len() > self.limits.per_group {
            return Err(MembershipError::Full);
        }
        let target = self.group_mut(into)?;
        target.applications = united(&target.applications, &source.applications);
        target.interfaces = interfaces;
        target.names = names;
        self.release(from)?;
        self.sync();
        Ok(())
    }

    // ---- Questions ----

    /// A CoAP group.
    pub fn group(&self, id: CoapGroupId) -> Option<&CoapGroup> {
        self.coap.iter().find(|group| group.id == id)
    }

    /// All CoAP groups, those for discovery included.
    pub fn groups(&self) -> impl Iterator<Item = &CoapGroup> {
        self.coap.iter()
    }

    /// An application group; by the identifier of one that was merged into it, too.
    pub fn application(&self, id: ApplicationGroupId) -> Option<&ApplicationGroup> {
        let id = self.canonical(id);
        self.applications.iter().find(|group| group.id == id)
    }

    /// The application group of this name.
    pub fn application_named(&self, name: &str) -> Option<&ApplicationGroup> {
        self.applications.iter().find(|group| group.name == name)
    }

    /// All application groups.
    pub fn applications(&self) -> impl Iterator<Item = &ApplicationGroup> {
        self.applications.iter()
    }

    /// The CoAP groups that an application group uses.
    pub fn groups_of(&self, id: ApplicationGroupId) -> impl Iterator<Item = &CoapGroup> {
        let id = self.canonical(id);
        self.coap
            .iter()
            .filter(move |group| group.applications.contains(&id))
    }

    /// The CoAP groups that this authority names: `HOST`, `HOST:PORT` or a literal; 5683 without a port. One
    /// name may stand for several groups, and several names for one (groupcomm-bis-18 section 2.2.1.1).
    pub fn groups_named<'a>(&'a self, authority: &'a str) -> impl Iterator<Item = &'a CoapGroup> {
        let parsed = naming::split_authority(authority);
        self.coap.iter().filter(move |group| match &parsed {
            Some((naming::Host::Name(name), port)) => {
                group.address.port() == *port
                    && group
                        .names
                        .iter()
                        .any(|known| known.eq_ignore_ascii_case(name))
            }
            Some((naming::Host::Literal(address), port)) => {
                group.address == SocketAddr::new(address.to_canonical(), *port)
            }
            None => false,
        })
    }

    /// Do these two authorities denote the same CoAP groups, as far as this table knows their names?
    pub fn same_groups(&self, one: &str, other: &str) -> bool {
        let ids = |authority| {
            let mut ids: Vec<CoapGroupId> =
                self.groups_named(authority).map(CoapGroup::id).collect();
            ids.sort_unstable();
            ids
        };
        let one = ids(one);
        !one.is_empty() && one == ids(other)
    }

    /// Is this endpoint a member of the group of this destination, on this interface? 0 is an unknown interface.
    pub fn membership(&self, destination: SocketAddr, interface: u32) -> Option<&CoapGroup> {
        let group = self.group(self.id_at(canonical(destination))?)?;
        self.listens(group, interface).then_some(group)
    }

    /// What the endpoint listens to, and how each listener stands.
    pub fn listening(&self) -> impl Iterator<Item = (SocketAddr, u32, Listening)> {
        self.listeners.iter()
    }

    // ---- Listening ----

    /// The next Join or Leave to be done. May return something after any change, after a result, and at [`next_timeout`](Self::next_timeout).
    pub fn poll_task(&mut self, now: Instant) -> Option<Task> {
        self.listeners.poll(now)
    }

    /// Takes the result of a Join or Leave back. A failed Join is tried again, after 1 s and then twice as
    /// long each time, up to 60 s.
    pub fn task_done(&mut self, now: Instant, task: &Task, result: Result<(), WorkFailure>) {
        self.listeners.done(now, task, result);
    }

    /// When a failed Join is due again.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.listeners.next_retry()
    }

    /// Time has passed. Harmless at any time.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.listeners.handle_timeout(now);
    }

    /// What became of listeners, oldest first. The newest 256 are kept.
    pub fn poll_event(&mut self) -> Option<ListenEvent> {
        self.listeners.poll_event()
    }

    // ---- For the server ----

    /// Which application group of this CoAP group the request names.
    pub(crate) fn named(&self, coap: &CoapGroup, uri: &RequestUri<'_>) -> Named {
        let groups = || {
            coap.applications
                .iter()
                .filter_map(|id| self.application(*id))
        };
        if let Some(group) = groups().find(|group| group.naming.matches(&group.name, uri)) {
            return Named::Group(group.id);
        }
        let is_name_of_group = |host: &[u8]| coap.is_named(host);
        match groups().any(|group| group.naming.names_any(uri, is_name_of_group)) {
            true => Named::Unknown,
            false => Named::Nothing,
        }
    }

    /// The application groups that this CoAP group implies when a request names none.
    pub(crate) fn implied<'a>(
        &'a self,
        coap: &'a CoapGroup,
    ) -> impl Iterator<Item = ApplicationGroupId> {
        coap.applications
            .iter()
            .filter_map(|id| self.application(*id))
            .filter(|group| group.naming == Naming::Implied)
            .map(|group| group.id)
    }

    /// The identifier that stands for the group now, after merges.
    pub(crate) fn canonical(&self, id: ApplicationGroupId) -> ApplicationGroupId {
        self.merged
            .iter()
            .find(|(from, _)| *from == id)
            .map_or(id, |(_, into)| *into)
    }

    // ---- Within ----

    fn id_at(&self, address: SocketAddr) -> Option<CoapGroupId> {
        self.by_address
            .get(&(address.ip(), address.port()))
            .copied()
    }

    fn group_mut(&mut self, id: CoapGroupId) -> Result<&mut CoapGroup, MembershipError> {
        self.coap
            .iter_mut()
            .find(|group| group.id == id)
            .ok_or(MembershipError::UnknownGroup)
    }

    fn application_mut(
        &mut self,
        id: ApplicationGroupId,
    ) -> Result<&mut ApplicationGroup, MembershipError> {
        self.applications
            .iter_mut()
            .find(|group| group.id == id)
            .ok_or(MembershipError::UnknownGroup)
    }

    /// Puts a group whose identifier is the next one into the table.
    fn insert(&mut self, group: CoapGroup) -> Result<CoapGroupId, MembershipError> {
        if self.coap.len() >= self.limits.coap_groups {
            return Err(MembershipError::Full);
        }
        let id = group.id;
        self.next_id = self.next_id.wrapping_add(1);
        self.by_address
            .insert((group.address.ip(), group.address.port()), id);
        self.coap.push(group);
        Ok(id)
    }

    /// Takes everything that was configured from a group; without a use for discovery it is gone.
    fn release(&mut self, id: CoapGroupId) -> Result<(), MembershipError> {
        let group = self.group_mut(id)?;
        if group.discovery {
            *group = discovery_group(id, group.address);
        } else {
            let address = group.address;
            self.coap.retain(|group| group.id != id);
            self.by_address.remove(&(address.ip(), address.port()));
        }
        Ok(())
    }

    /// May a group with this security have this address and be joined on these interfaces?
    fn check_security(
        &self,
        address: SocketAddr,
        security: &GroupSecurity,
        interfaces: &[u32],
    ) -> Result<(), MembershipError> {
        match security {
            GroupSecurity::Groups(groups) if groups.is_empty() => {
                return Err(MembershipError::SecurityNotStated);
            }
            GroupSecurity::Groups(_) => return Ok(()),
            GroupSecurity::NoSec => {}
        }
        if let IpAddr::V6(v6) = address.ip()
            && Scope::of(v6) == Some(Scope::Global)
        {
            return Err(MembershipError::GlobalScope);
        }
        let public =
            |interface: &Interface| interface.public && interfaces.contains(&interface.index);
        match self.interfaces.iter().any(public) {
            true => Err(MembershipError::PublicInterface),
            false => Ok(()),
        }
    }

    /// On which interfaces a group is to be listened to.
    fn listened_on<'a>(&'a self, group: &'a CoapGroup) -> impl Iterator<Item = u32> + 'a {
        let everywhere = self
            .interfaces
            .iter()
            .filter(|interface| group.discovery && joins_discovery(interface, group.address.ip()))
            .map(|interface| interface.index);
        group.interfaces.iter().copied().chain(everywhere)
    }

    fn listens(&self, group: &CoapGroup, interface: u32) -> bool {
        self.listened_on(group)
            .any(|listened| listened == interface || listened == 0 || interface == 0)
    }

    /// Tells the listeners what is wanted now.
    fn sync(&mut self) {
        let mut wanted = Vec::new();
        for group in &self.coap {
            wanted.extend(
                self.listened_on(group)
                    .map(|interface| (group.address, interface)),
            );
        }
        self.listeners.want(wanted);
    }
}

impl CoapGroup {
    /// Is this Uri-Host one of the group's names, or the literal of its address?
    pub(crate) fn is_named(&self, host: &[u8]) -> bool {
        let known = |name: &String| name.as_bytes().eq_ignore_ascii_case(host);
        self.names.iter().any(known) || literal(host) == Some(self.address.ip())
    }
}

/// The address without scope identifiers and in the form that addresses are compared in.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The canonical form of an address that a group may have.
fn usable(address: SocketAddr) -> Result<SocketAddr, MembershipError> {
    let address = canonical(address);
    if !address.ip().is_multicast() {
        return Err(MembershipError::NotMulticast);
    }
    match address.port() {
        0 => Err(MembershipError::PortZero),
        SECURE_PORT => Err(MembershipError::SecurePort),
        _ => Ok(address),
    }
}

/// Host names in lower case, none twice.
fn host_names(names: Vec<String>) -> Result<Vec<String>, MembershipError> {
    let mut known: Vec<String> = Vec::new();
    for mut name in names {
        if !is_host_name(&name) {
            return Err(MembershipError::NotAHostName);
        }
        name.make_ascii_lowercase();
        if !known.contains(&name) {
            known.push(name);
        }
    }
    Ok(known)
}

/// Both lists in one, ascending, nothing twice.
fn united<T: Copy + Ord>(one: &[T], other: &[T]) -> Vec<T> {
    ascending(one.iter().chain(other).copied())
}

#[cfg(test)]
mod tests;
