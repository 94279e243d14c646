//! What a server is a member of.

use core::net::{IpAddr, SocketAddr};

use antiphon_proto::{
    ApplicationGroupId, CoapGroupId, CoapGroupSpec, Leisure, MembershipError, SecurityGroupName,
};
use antiphon_wire::{Scope, Uri};

use super::announce;
use crate::driver::Driver;
use crate::egress::{self, InterfaceError};
use crate::error::{BadUri, BuildError, ResolveError};
use crate::resolve::{self, LOOKUP_LIMIT, Resolve, resolve};
use crate::security_group::{Secured, SecurityGroup};

/// A CoAP group to be joined: where, on which interfaces, how it is protected, for which application groups.
///
/// Security is a stated choice: without [`unsecured`](Self::unsecured) (or a security group) it is refused.
#[derive(Clone, Debug)]
#[must_use]
pub struct Membership {
    place: Place,
    kind: Kind,
    on: Vec<String>,
    applications: Vec<String>,
    /// What the server must have to understand the group.
    protection: Vec<Secured>,
}

/// What the group is to be, apart from its address.
#[derive(Clone, Debug, Default)]
struct Kind {
    names: Vec<String>,
    unsecured: bool,
    secured: Vec<SecurityGroupName>,
    leisure: Option<Leisure>,
    needed: Option<Scope>,
}

impl Kind {
    /// A group of this kind at this address.
    fn at(&self, address: SocketAddr, on: &[u32]) -> CoapGroupSpec {
        let mut spec = CoapGroupSpec::new(address);
        for name in &self.names {
            spec = spec.name(name.as_str());
        }
        for index in on {
            spec = spec.on(*index);
        }
        if self.unsecured {
            spec = spec.unsecured();
        }
        for by in &self.secured {
            spec = spec.secured(by.clone());
        }
        if let Some(leisure) = self.leisure {
            spec = spec.leisure(leisure);
        }
        if let Some(scope) = self.needed {
            spec = spec.needs(scope);
        }
        spec
    }
}

#[derive(Clone, Debug)]
enum Place {
    Address(SocketAddr),
    Uri(String),
}

impl Membership {
    /// The group of this multicast address and port. An IPv6 address with a scope id is joined on that interface.
    pub fn new(group: SocketAddr) -> Self {
        Self::of(Place::Address(group))
    }

    /// The group or groups of this group URI: with a host name, one for each address that it resolves to.
    ///
    /// # Errors
    /// What is wrong with the URI.
    pub fn uri(uri: &str) -> Result<Self, BadUri> {
        if let Err(reason) = Uri::parse_group(uri) {
            return Err(BadUri {
                uri: uri.to_owned(),
                reason,
            });
        }
        Ok(Self::of(Place::Uri(uri.to_owned())))
    }

    fn of(place: Place) -> Self {
        Self {
            place,
            kind: Kind::default(),
            on: Vec::new(),
            applications: Vec::new(),
            protection: Vec::new(),
        }
    }

    /// Messages to the group are protected for this security group, which the server has then too: see
    /// [`ServerBuilder::secure`](super::ServerBuilder::secure). May be called for several.
    pub fn secure(mut self, group: &SecurityGroup) -> Self {
        self.kind.secured.push(group.label().clone());
        self.protection.push(group.into());
        self
    }

    /// What the server must have to understand the group.
    pub(super) fn protection(&self) -> &[Secured] {
        &self.protection
    }

    /// Joins on this interface: a name, an index or one of its addresses. May be given several times. Default: the
    /// server's interfaces.
    pub fn on(mut self, interface: impl Into<String>) -> Self {
        self.on.push(interface.into());
        self
    }

    /// A host name under which the group is known too.
    pub fn name(mut self, host: &str) -> Self {
        self.kind.names.push(host.to_owned());
        self
    }

    /// Messages to the group are not protected: anyone can forge requests and their sources, and each member's
    /// answer amplifies them.
    pub fn unsecured(mut self) -> Self {
        self.kind.unsecured = true;
        self
    }

    /// Messages to the group are protected by the security group of this name. The server must be given its keys apart:
    /// [`secure`](Self::secure) does both.
    pub fn secured(mut self, by: SecurityGroupName) -> Self {
        self.kind.secured.push(by);
        self
    }

    /// The leisure of answers to requests through this group.
    pub fn leisure(mut self, leisure: Leisure) -> Self {
        self.kind.leisure = Some(leisure);
        self
    }

    /// The smallest scope that would do: a wider address is remarked on.
    pub fn needs(mut self, scope: Scope) -> Self {
        self.kind.needed = Some(scope);
        self
    }

    /// This application group, which must exist, uses the group. May be given several times.
    pub fn application(mut self, name: &str) -> Self {
        self.applications.push(name.to_owned());
        self
    }
}

/// A membership with everything looked up that takes time.
pub(super) struct Groups {
    kind: Kind,
    /// Address, and the interfaces on which it is joined.
    groups: Vec<(SocketAddr, Vec<u32>)>,
    applications: Vec<String>,
    bound: Vec<IpAddr>,
}

/// Why a membership leads to no group on no interface.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookupError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Interface(#[from] InterfaceError),
}

impl From<LookupError> for BuildError {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Resolve(error) => Self::Resolve(error),
            LookupError::Interface(error) => Self::Interface(error),
        }
    }
}

impl Groups {
    pub(super) async fn of(
        membership: Membership,
        resolver: &dyn Resolve,
        interfaces: &[String],
        bound: &[IpAddr],
    ) -> Result<Self, LookupError> {
        let mut kind = membership.kind;
        let addresses = match &membership.place {
            Place::Address(address) => vec![*address],
            Place::Uri(text) => match Uri::parse(text) {
                Ok(uri) => {
                    if uri.host.ip().is_none() {
                        kind.names.push(uri.host.to_string());
                    }
                    resolve(&uri, resolve::Kind::Group, resolver, LOOKUP_LIMIT).await?
                }
                Err(_) => Vec::new(), // it was read when the membership was made
            },
        };
        let named = match membership.on.is_empty() {
            true => interfaces,
            false => &membership.on,
        };
        let named = named
            .iter()
            .map(|name| egress::named(name))
            .collect::<Result<Vec<_>, _>>()?;
        let mut groups = Vec::new();
        for address in addresses {
            let on = match named.is_empty() {
                true if !address.ip().is_multicast() => Vec::new(), // refused by its own name later
                true => egress::for_membership(address, bound)?,
                false => named.clone(),
            };
            groups.push((address, on));
        }
        Ok(Self {
            kind,
            groups,
            applications: membership.applications,
            bound: bound.to_vec(),
        })
    }

    /// The groups, without scope ids.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let plain = |(group, _): &(SocketAddr, _)| SocketAddr::new(group.ip(), group.port());
        self.groups.iter().map(plain).collect()
    }

    /// A group to which no response could be sent, because there is no unicast address of its family.
    pub(super) fn without_answer(&self, bound: &[IpAddr]) -> Option<SocketAddr> {
        self.addresses()
            .into_iter()
            .find(|group| !bound.iter().any(|own| own.is_ipv4() == group.is_ipv4()))
    }

    /// Enters the groups into the table of memberships and relates them to their application groups.
    pub(super) fn create(
        self,
        driver: &mut Driver,
    ) -> Result<Vec<CoapGroupId>, (SocketAddr, MembershipError)> {
        let mut created = Vec::new();
        for (address, on) in &self.groups {
            let plain = SocketAddr::new(address.ip(), address.port());
            let at = |reason| (plain, reason);
            for index in on {
                // An interface that the endpoint has not heard of is not known to be public either.
                if let Err(error) = announce(driver, *index, &self.bound) {
                    tracing::warn!(%error, "an interface cannot be announced");
                }
            }
            let memberships = driver.endpoint.server_mut().memberships_mut();
            let group = memberships.create(self.kind.at(plain, on)).map_err(at)?;
            for name in &self.applications {
                let application: ApplicationGroupId = memberships
                    .application_named(name)
                    .map(|found| found.id())
                    .ok_or(at(MembershipError::UnknownGroup))?;
                memberships.relate(application, group).map_err(at)?;
            }
            created.push(group);
        }
        Ok(created)
    }
}
