//! Asking groups and single peers.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;

use antiphon_proto::{
    CacheConfig, CollectionId, EndpointConfig, GroupPacing, MembershipOracle, SocketId, Status,
    Transmission,
};
use antiphon_wire::Uri;

use crate::driver::{Driver, DriverConfig, Link};
use crate::error::{AskError, BadUri, BuildError, Closed};
use crate::resolve::{self, Resolve, SystemResolver};
use crate::server::Counted;

mod collection;
mod group_call;
mod observation;
mod one_call;
mod what;

pub use collection::Collection;
pub use group_call::GroupCall;
pub use observation::{Observation, Observing};
pub use one_call::{OneCall, Reply};

/// Asks groups and single peers. Each client has sockets, tokens and randomness of its own, so that several of them in one
/// process never mix; clones share one.
///
/// Its work is done by a task of the runtime in which it was built. The task ends when the last clone is
/// dropped, or by [`close`](Self::close).
#[derive(Clone)]
pub struct Client {
    link: Link,
    shared: Arc<Shared>,
}

/// What all clones of a client know.
pub(crate) struct Shared {
    pub(crate) sockets: Vec<(SocketId, SocketAddr)>,
    pub(crate) interfaces: Vec<String>,
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) lookup_limit: Duration,
}

impl Shared {
    /// The socket for a destination, and what it is bound to.
    pub(crate) fn socket_for(&self, destination: SocketAddr) -> Option<(SocketId, SocketAddr)> {
        let same = |(_, local): &&(SocketId, SocketAddr)| local.is_ipv4() == destination.is_ipv4();
        self.sockets.iter().find(same).copied()
    }
}

/// What was said of the protection of a request.
#[derive(Clone, Debug)]
pub(crate) enum Protecting<T> {
    NotStated,
    Unsecured(antiphon_proto::NoSec),
    Secured(T),
    /// More than one thing.
    Twice,
}

impl<T> Protecting<T> {
    pub(crate) fn and(self, said: Self) -> Self {
        match (self, said) {
            (Self::NotStated, said) => said,
            // To give another reason is no contradiction.
            (Self::Unsecured(_), Self::Unsecured(reason)) => Self::Unsecured(reason),
            _ => Self::Twice,
        }
    }
}

impl Client {
    /// A client with a choice of what it uses.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// A client with one IPv4 and one IPv6 socket on ports that the system chooses.
    ///
    /// # Errors
    /// See [`ClientBuilder::build`].
    pub async fn new() -> Result<Self, BuildError> {
        Self::builder().build().await
    }

    /// A client over the endpoint of a server.
    pub(crate) fn over(link: Link, shared: Shared) -> Self {
        Self {
            link,
            shared: Arc::new(shared),
        }
    }

    /// Asks a group: `coap://` and a multicast address, or a name that stands for one or several groups. The call says what is asked and is then
    /// [sent](GroupCall::send).
    ///
    /// # Errors
    /// What is wrong with the URI, among it a scheme other than `coap`, an address that is not multicast, and port 5684.
    pub fn group(&self, uri: &str) -> Result<GroupCall, BadUri> {
        match Uri::parse_group(uri) {
            Ok(_) => Ok(GroupCall::new(self.clone(), uri.to_owned())),
            Err(reason) => Err(BadUri {
                uri: uri.to_owned(),
                reason,
            }),
        }
    }

    /// Tells a group something that needs no answer: No-Response 26, nothing is collected, done when sent.
    ///
    /// # Errors
    /// As [`group`](Self::group).
    pub fn notify(&self, uri: &str) -> Result<GroupCall, BadUri> {
        self.group(uri).map(GroupCall::silent)
    }

    /// Asks one peer.
    ///
    /// # Errors
    /// What is wrong with the URI.
    pub fn one(&self, uri: &str) -> Result<OneCall, BadUri> {
        match Uri::parse(uri) {
            Ok(_) => Ok(OneCall::new(self.clone(), uri.to_owned())),
            Err(reason) => Err(BadUri {
                uri: uri.to_owned(),
                reason,
            }),
        }
    }

    /// The addresses of its sockets: requests leave from these ports.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.shared
            .sockets
            .iter()
            .map(|(_, local)| *local)
            .collect()
    }

    /// The collections that are not over, with what they wait for and for how long.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn status(&self) -> Result<Vec<(CollectionId, Status)>, Closed> {
        self.link
            .call(|driver, now| {
                let mut all: Vec<_> = driver
                    .collections()
                    .filter_map(|id| Some((id, driver.endpoint.status(now, id)?)))
                    .collect();
                all.sort_unstable_by_key(|(id, _)| *id);
                all
            })
            .await
    }

    /// What has been counted, and how full the tables are.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn counters(&self) -> Result<Counted, Closed> {
        self.link.call(|driver, _| Counted::of(driver)).await
    }

    /// Changes the transmission parameters for what starts from now on.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn set_transmission(&self, transmission: Transmission) -> Result<(), Closed> {
        self.link
            .call(move |driver, now| driver.endpoint.set_transmission(now, transmission))
            .await
    }

    /// Says who knows the current members of groups, for calls and observations that
    /// [expect](antiphon_proto::Expectation::current) them from now on. Default: nobody does.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn set_membership_oracle(
        &self,
        oracle: impl MembershipOracle + 'static,
    ) -> Result<(), Closed> {
        self.link
            .call(move |driver, _| {
                let collections = driver.endpoint.collections_mut();
                collections.set_membership_oracle(Some(Box::new(oracle)));
            })
            .await
    }

    /// Forgets all answers in the cache.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn forget_cached(&self) -> Result<(), Closed> {
        self.link
            .call(|driver, _| driver.endpoint.forget_cached())
            .await
    }

    /// Sets the pace of a group on one interface or (`None`) on all, also for what waits already; `None` instead of a
    /// pace restores the default.
    ///
    /// # Errors
    /// [`AskError::Collect`] if the pace of too many groups is set, [`AskError::Interface`] for an unknown interface.
    pub async fn set_pacing(
        &self,
        group: SocketAddr,
        interface: Option<&str>,
        pacing: Option<GroupPacing>,
    ) -> Result<(), AskError> {
        let interface = interface.map(crate::egress::named).transpose()?;
        self.link
            .call(move |driver, now| {
                let collections = driver.endpoint.collections_mut();
                collections.set_pacing(now, group, interface, pacing)
            })
            .await?
            .map_err(AskError::Collect)
    }

    /// Closes the client, all clones included: collections end with their outcome, requests fail, and the task ends.
    pub async fn close(&self) {
        if self.link.call(|driver, now| driver.stop(now)).await.is_ok() {
            self.link.ended().await;
        }
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl core::fmt::Debug for Client {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Client")
            .field("sockets", &self.shared.sockets)
            .finish_non_exhaustive()
    }
}

/// Chooses what a client uses.
#[derive(Default)]
#[must_use]
pub struct ClientBuilder {
    interfaces: Vec<String>,
    bind: Vec<SocketAddr>,
    endpoint: EndpointConfig,
    driver: DriverConfig,
    seed: Option<[u8; 32]>,
    resolver: Option<Arc<dyn Resolve>>,
}

impl ClientBuilder {
    /// Group requests leave by this interface: a name, an index or one of its addresses. May be given several times:
    /// then they leave by each. Default: see [`egress`](crate::egress).
    pub fn interface(mut self, interface: impl Into<String>) -> Self {
        self.interfaces.push(interface.into());
        self
    }

    /// Binds a socket to this address instead of the defaults; at most one for each family is used. Port 0 lets the system choose.
    pub fn bind(mut self, local: SocketAddr) -> Self {
        self.bind.push(local);
        self
    }

    /// The endpoint's parameters and limits.
    pub fn endpoint(mut self, config: EndpointConfig) -> Self {
        self.endpoint = config;
        self
    }

    /// The driver's parameters and limits.
    pub fn driver(mut self, config: DriverConfig) -> Self {
        self.driver = config;
        self
    }

    /// The transmission parameters of RFC 7252.
    pub fn transmission(mut self, transmission: Transmission) -> Self {
        self.endpoint.collections.transmission = transmission.clone();
        self.endpoint.transmission = transmission;
        self
    }

    /// What the cache may take. It takes nothing until a call asks for it: see [`GroupCall::cached`] and [`OneCall::cached`].
    pub fn cache(mut self, config: CacheConfig) -> Self {
        self.endpoint.collections.cache = config;
        self
    }

    /// TTL or hop limit of group requests, 1 to 255. Default 1: no router passes them on, whatever the scope.
    pub fn hops(mut self, hops: u8) -> Self {
        self.driver.sockets.multicast_hops = hops.max(1);
        self
    }

    /// All random choices come from this seed: for tests alone. Default: from the operating system.
    pub fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Looks up host names. Default: the [system's](SystemResolver).
    pub fn resolver(mut self, resolver: impl Resolve + 'static) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// Binds the sockets and starts the task.
    ///
    /// Without [`bind`](Self::bind) there is one IPv4 and one IPv6 socket; a family that the system does not
    /// have is left out, as long as there is one.
    ///
    /// # Errors
    /// [`BuildError::Bind`], [`BuildError::Seed`], [`BuildError::Interface`] for an interface that does not exist.
    pub async fn build(self) -> Result<Client, BuildError> {
        for interface in &self.interfaces {
            crate::egress::named(interface)?;
        }
        let seed = seed(self.seed)?;
        let (mut driver, link) = Driver::new(self.endpoint, self.driver, seed);
        let sockets = match self.bind.is_empty() {
            true => bind_defaults(&mut driver)?,
            false => {
                let bind = |local: &SocketAddr| driver.bind(*local);
                self.bind.iter().map(bind).collect::<Result<_, _>>()?
            }
        };
        tokio::spawn(driver.run_linked());
        Ok(Client::over(
            link,
            Shared {
                sockets,
                interfaces: self.interfaces,
                resolver: self.resolver.unwrap_or_else(|| Arc::new(SystemResolver)),
                lookup_limit: resolve::LOOKUP_LIMIT,
            },
        ))
    }
}

fn bind_defaults(driver: &mut Driver) -> Result<Vec<(SocketId, SocketAddr)>, BuildError> {
    let any = [
        SocketAddr::from((core::net::Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::from((core::net::Ipv6Addr::UNSPECIFIED, 0)),
    ];
    let mut bound = Vec::new();
    let mut failed = None;
    for local in any {
        match driver.bind(local) {
            Ok(socket) => bound.push(socket),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if bound.is_empty() => Err(error),
        _ => Ok(bound),
    }
}

/// The seed that is given, or one from the operating system.
pub(crate) fn seed(given: Option<[u8; 32]>) -> Result<[u8; 32], BuildError> {
    if let Some(seed) = given {
        return Ok(seed);
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| BuildError::Seed(std::io::Error::other(error.to_string())))?;
    Ok(seed)
}
