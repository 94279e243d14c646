//! Serving resources to groups and single peers.

use core::future::Future;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use antiphon_proto::{
    Attributes, Discoverable, EndpointConfig, Instant, Interface, Load, MEMBER_ADDRESS,
    MembershipError, Naming, NoSec, Resource, ResourceId, SecurityGroupName, ServerCounters,
};
use antiphon_wire::{ALL_COAP_NODES_V4, DEFAULT_PORT, Scope, all_coap_nodes_v6};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::{Client, Shared, seed};
use crate::clock;
use crate::driver::{Driver, DriverConfig, DriverCounters, Link};
use crate::error::BuildError;
use crate::resolve::{self, Resolve, SystemResolver};
use crate::security_group::Secured;
use crate::security_group::held::{Claimed, Held};
use crate::{egress, interfaces};

mod handle;
mod membership;
mod provided;
mod watched;

pub use handle::Handle;
pub use membership::Membership;
pub use provided::{AsyncResource, Provided};
pub(crate) use watched::Changed;
pub use watched::ResourceHandle;

use membership::Groups;

/// A server, with everything bound and joined: it answers as soon as it [runs](Self::run).
#[must_use = "a server answers when it runs"]
pub struct Server {
    driver: Driver,
    link: Link,
    sockets: Vec<(antiphon_proto::SocketId, SocketAddr)>,
    interfaces: Vec<String>,
    resolver: Arc<dyn Resolve>,
    /// The resources that it was built with, in their order.
    resources: Vec<ResourceId>,
}

/// What has been counted, and how full the tables are.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// By the endpoint: messages.
    pub endpoint: antiphon_proto::Counters,
    /// By the server half: requests, and why there was silence.
    pub server: ServerCounters,
    /// By the driver: sockets and the system.
    pub driver: DriverCounters,
    /// How full the endpoint's tables are.
    pub load: Load,
}

impl Counted {
    pub(crate) fn of(driver: &Driver) -> Self {
        Self {
            endpoint: driver.endpoint.counters(),
            server: driver.endpoint.server().counters().clone(),
            driver: driver.counters(),
            load: driver.endpoint.load(),
        }
    }
}

impl Server {
    /// Chooses what the server offers and where.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// The addresses it is bound to, with the ports that the system chose.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|(_, local)| *local).collect()
    }

    /// The resources that it was built with, in their order.
    #[must_use]
    pub fn resources(&self) -> Vec<ResourceHandle> {
        let handle = |id: &ResourceId| ResourceHandle::new(self.link.clone(), *id);
        self.resources.iter().map(handle).collect()
    }

    /// The resource that was given this path; the first one, where it belongs to an application group and several have it.
    #[must_use]
    pub fn resource(&self, path: &str) -> Option<ResourceHandle> {
        let server = self.driver.endpoint.server();
        let path = path.trim_matches('/');
        let mut resources = self.resources.iter();
        let found = resources.find(|id| {
            let of = server.path_of(**id);
            of.is_some_and(|of| of.trim_matches('/') == path)
        });
        found.map(|id| ResourceHandle::new(self.link.clone(), *id))
    }

    /// Changes it while it runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(
            self.link.clone(),
            Arc::clone(&self.resolver),
            self.addresses().iter().map(SocketAddr::ip).collect(),
        )
    }

    /// A client over the same endpoint: its requests leave from the server's sockets. It works while the server runs.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::over(
            self.link.clone(),
            Shared {
                sockets: self.sockets.clone(),
                interfaces: self.interfaces.clone(),
                resolver: Arc::clone(&self.resolver),
                lookup_limit: resolve::LOOKUP_LIMIT,
            },
        )
    }

    /// Serves until `stop` is ready or [`Handle::stop`] is called, then leaves its groups, lets what is under way end
    /// (see [`DriverConfig::drain`]), and returns when no task of it is left.
    ///
    /// Everything but async handlers is done in the task that awaits this, also on a runtime with a single thread.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        self.driver.run_until(stop).await;
    }

    /// Serves in a task of its own.
    pub fn spawn(self) -> Running {
        let (stop, stopped) = oneshot::channel::<()>();
        let handle = self.handle();
        let addresses = self.addresses();
        let client = self.client();
        let task = tokio::spawn(self.run(async {
            let _ = stopped.await;
        }));
        Running {
            handle,
            client,
            addresses,
            stop,
            task,
        }
    }
}

/// A server that runs in a task of its own. Dropping it stops the server as [`stop`](Self::stop) does, without waiting.
pub struct Running {
    /// Changes it while it runs.
    pub handle: Handle,
    client: Client,
    addresses: Vec<SocketAddr>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    /// The addresses it is bound to.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// A client over the same endpoint.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Shuts it down and waits until it has ended.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

/// Chooses what a server offers and where.
#[derive(Default)]
#[must_use]
pub struct ServerBuilder {
    unicast: Vec<SocketAddr>,
    interfaces: Vec<String>,
    sixlowpan: Vec<String>,
    memberships: Vec<Membership>,
    applications: Vec<(String, Naming, Attributes)>,
    application_security: Vec<(String, Vec<SecurityGroupName>)>,
    resources: Vec<Provided>,
    endpoint: EndpointConfig,
    driver: DriverConfig,
    unsecured: Option<NoSec>,
    secured: Vec<Secured>,
    mark_protected: bool,
    seed: Option<[u8; 32]>,
    resolver: Option<Arc<dyn Resolve>>,
}

impl ServerBuilder {
    /// Binds a unicast socket to this address; may be given several times. At least one is needed: responses come from it.
    ///
    /// For requests to a group the same port is best: a peer may expect the answer to come from the port it asked.
    pub fn unicast(mut self, local: SocketAddr) -> Self {
        self.unicast.push(local);
        self
    }

    /// An interface that the server uses for its groups and for discovery: a name, an index or one of its addresses. May be given several
    /// times. Default: those of the addresses it is bound to; see [`egress`](crate::egress).
    pub fn interface(mut self, interface: impl Into<String>) -> Self {
        self.interfaces.push(interface.into());
        self
    }

    /// An [`interface`](Self::interface) whose link is 6LoWPAN: there the server listens to All CoAP Nodes of realm-local scope (ff03::fd) as
    /// well (groupcomm-bis-18 section 3.8.1). What clients may send on such a link is
    /// [`CollectionConfig::link`](antiphon_proto::CollectionConfig::link). Default: no interface is.
    pub fn sixlowpan(mut self, interface: impl Into<String>) -> Self {
        let interface = interface.into();
        if !self.interfaces.contains(&interface) {
            self.interfaces.push(interface.clone());
        }
        self.sixlowpan.push(interface);
        self
    }

    /// Joins a group.
    pub fn join(mut self, membership: Membership) -> Self {
        self.secured.extend_from_slice(membership.protection());
        self.memberships.push(membership);
        self
    }

    /// Takes part in an application group, which memberships refer to by its name.
    pub fn application(mut self, name: &str, naming: Naming, attributes: Attributes) -> Self {
        self.applications
            .push((name.to_owned(), naming, attributes));
        self
    }

    /// An application group uses these security groups: requests for it under others are refused. The server has to be a
    /// member of all of them; [`Handle::missing_contexts`] says which contexts are not loaded yet.
    pub fn application_security(mut self, name: &str, groups: Vec<SecurityGroupName>) -> Self {
        self.application_security.push((name.to_owned(), groups));
        self
    }

    /// Which discovery requests it answers. Default: all, for which it joins All CoAP Nodes on port 5683.
    pub fn discoverable(mut self, discoverable: Discoverable) -> Self {
        self.endpoint.server.discoverable = discoverable;
        self
    }

    /// Links in discovery say which resources are reachable under Group OSCORE or OSCORE alone, by the target attributes `gosc` and
    /// `osc` (draft-ietf-core-oscore-groupcomm-28 section 11). Default: they do not.
    pub fn mark_protected(mut self) -> Self {
        self.mark_protected = true;
        self
    }

    /// Tells members of its security groups where it is reached, when they ask for its Sender ID:
    /// `GET /member-address?kid=0a`, also through a group, where only the member that is meant answers. See
    /// [`Resource::member_address`](crate::Resource::member_address), which takes another path. Default: it does not.
    pub fn address_discovery(self) -> Self {
        self.resource(Resource::member_address(MEMBER_ADDRESS))
    }

    /// Offers a resource.
    pub fn resource(mut self, resource: impl Into<Provided>) -> Self {
        self.resources.push(resource.into());
        self
    }

    /// The endpoint's parameters and limits, those of the server among them. Replaces what [`discoverable`](Self::discoverable) has set.
    pub fn endpoint(mut self, config: EndpointConfig) -> Self {
        self.endpoint = config;
        self
    }

    /// States that the server is unsecured: what its resources open to anyone ([`Access::Public`](crate::Access),
    /// [`Access::Unsecured`](crate::Access)) is reachable without security then. Without this statement only discovery
    /// is, and such a resource is an error of [`build`](Self::build).
    pub fn unsecured(mut self, reason: NoSec) -> Self {
        self.unsecured = Some(reason);
        self
    }

    /// Requests that are protected for this security group are opened, and answered under protection; or those in an
    /// [`OscoreContext`](crate::OscoreContext). May be called for several. Who may do what then is decided by each resource:
    /// [`Access`](crate::Access). The default leisure is 20 s for requests in group mode and 13 s in a group without.
    ///
    /// When [`run`](Server::run) ends, the exact state is written to the store of the group; see
    /// [`security_group`](crate::security_group).
    pub fn secure(mut self, with: impl Into<Secured>) -> Self {
        self.secured.push(with.into());
        self
    }

    /// The driver's parameters and limits.
    pub fn driver(mut self, config: DriverConfig) -> Self {
        self.driver = config;
        self
    }

    /// All random choices come from this seed: for tests alone. Default: from the operating system.
    pub fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Looks up the host names of groups. Default: the [system's](SystemResolver).
    pub fn resolver(mut self, resolver: impl Resolve + 'static) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// Binds the sockets, joins the groups and takes the resources.
    ///
    /// # Errors
    /// See [`BuildError`]. A group that cannot be joined is an error here, except All CoAP Nodes for discovery:
    /// that is logged and tried again.
    pub async fn build(self) -> Result<Server, BuildError> {
        if self.unicast.is_empty() {
            return Err(BuildError::NoUnicastAddress);
        }
        let seed = seed(self.seed)?;
        let resolver = self.resolver.unwrap_or_else(|| Arc::new(SystemResolver));
        let mut endpoint = self.endpoint;
        endpoint.server.mark_protected |= self.mark_protected;
        if let Some(reason) = self.unsecured {
            endpoint.server.nosec = reason.into();
        }
        let (mut driver, link) = Driver::new(endpoint, self.driver, seed);
        let bind = |local: &SocketAddr| driver.bind(*local);
        let sockets: Vec<_> = self.unicast.iter().map(bind).collect::<Result<_, _>>()?;
        let bound: Vec<IpAddr> = sockets.iter().map(|(_, local)| local.ip()).collect();

        let now = clock::now();
        announce_interfaces(&mut driver, &self.interfaces, &bound)?;
        mark_sixlowpan(&mut driver, &self.sixlowpan)?;
        for (name, naming, attributes) in self.applications {
            let memberships = driver.endpoint.server_mut().memberships_mut();
            memberships
                .create_application(&name, naming, attributes)
                .map_err(|reason| BuildError::Application { name, reason })?;
        }
        for (name, groups) in self.application_security {
            let memberships = driver.endpoint.server_mut().memberships_mut();
            let id = memberships.application_named(&name).map(|group| group.id());
            id.ok_or(MembershipError::UnknownGroup)
                .and_then(|id| memberships.set_application_security(id, groups))
                .map_err(|reason| BuildError::Application { name, reason })?;
        }
        let mut joined = Vec::new();
        for membership in self.memberships {
            let groups = Groups::of(membership, &*resolver, &self.interfaces, &bound).await?;
            if let Some(group) = groups.without_answer(&bound) {
                return Err(BuildError::NoUnicastFor(group));
            }
            joined.extend(groups.addresses());
            groups
                .create(&mut driver)
                .map_err(|(group, reason)| BuildError::Membership { group, reason })?;
        }
        let mut resources = Vec::new();
        for resource in self.resources {
            let path = resource.path();
            let id = resource
                .add(&mut driver)
                .map_err(|reason| BuildError::Resource { path, reason })?;
            resources.push(id);
        }
        settle(&mut driver, now, &joined)?;
        for lint in driver.endpoint.server().memberships().lints() {
            tracing::warn!("{lint}");
        }
        // First all, then each: where one cannot be had, the others stay free.
        let mut claimed: Vec<(&Arc<Held>, Claimed)> = Vec::new();
        for held in self.secured.iter().map(Secured::held) {
            if !claimed.iter().any(|(other, _)| Arc::ptr_eq(other, held)) {
                claimed.push((held, held.claim(driver.desk.endpoint()).await?));
            }
        }
        for (held, claimed) in claimed {
            if let Claimed::Ready(place) = claimed {
                driver.install(held, place);
            }
        }
        Ok(Server {
            driver,
            link,
            sockets,
            interfaces: self.interfaces,
            resolver,
            resources,
        })
    }
}

/// Does the joins, and reports the first one of a configured group that failed.
fn settle(driver: &mut Driver, now: Instant, configured: &[SocketAddr]) -> Result<(), BuildError> {
    driver.drain(now);
    for (group, interface, reason) in driver.listened.take_failures() {
        if configured.contains(&group) {
            return Err(BuildError::Join {
                group,
                interface,
                reason,
            });
        }
    }
    Ok(())
}

/// Tells the endpoint on which interfaces it may listen, and with which address families: those it can also answer with.
fn announce_interfaces(
    driver: &mut Driver,
    named: &[String],
    bound: &[IpAddr],
) -> Result<(), BuildError> {
    let mut indices = Vec::new();
    for name in named {
        indices.push(egress::named(name)?);
    }
    if named.is_empty() {
        let probes = [
            IpAddr::V4(ALL_COAP_NODES_V4),
            IpAddr::V6(all_coap_nodes_v6(Scope::Link)),
        ];
        for probe in probes {
            if bound.iter().any(|own| own.is_ipv4() == probe.is_ipv4()) {
                // No interface at all is no error here: a server need not join anything.
                let probe = SocketAddr::new(probe, DEFAULT_PORT);
                indices.extend(egress::for_membership(probe, bound).unwrap_or_default());
            }
        }
    }
    indices.sort_unstable();
    indices.dedup();
    for index in indices {
        announce(driver, index, bound)?;
    }
    Ok(())
}

/// Tells the endpoint which of the announced interfaces lead to 6LoWPAN links.
fn mark_sixlowpan(driver: &mut Driver, named: &[String]) -> Result<(), BuildError> {
    for name in named {
        let index = egress::named(name)?;
        let memberships = driver.endpoint.server_mut().memberships_mut();
        let known = memberships.interfaces().iter().find(|i| i.index == index);
        if let Some(known) = known.copied() {
            let marked = Interface {
                sixlowpan: true,
                ..known
            };
            memberships
                .set_interface(marked)
                .map_err(|reason| BuildError::Announce { index, reason })?;
        }
    }
    Ok(())
}

/// Announces one interface, if it is not known yet.
pub(crate) fn announce(
    driver: &mut Driver,
    index: u32,
    bound: &[IpAddr],
) -> Result<(), BuildError> {
    let memberships = driver.endpoint.server_mut().memberships_mut();
    if memberships
        .interfaces()
        .iter()
        .any(|known| known.index == index)
    {
        return Ok(());
    }
    let found = interfaces::by_index(index).map_err(egress::InterfaceError::Unknown)?;
    let speaks = |family: IpAddr| {
        found.speaks(family) && bound.iter().any(|own| own.is_ipv4() == family.is_ipv4())
    };
    let interface = Interface {
        ipv4: speaks(Ipv4Addr::UNSPECIFIED.into()),
        ipv6: speaks(Ipv6Addr::UNSPECIFIED.into()),
        ..Interface::new(index)
    };
    memberships
        .set_interface(interface)
        .map_err(|reason| BuildError::Announce { index, reason })
}

#[cfg(test)]
mod tests;
