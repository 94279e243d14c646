//! The three kinds of groups, each with what its own document section says about it.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use antiphon_wire::Scope;

use super::naming::Naming;
use crate::attributes::Attributes;
use crate::policy::Leisure;

/// Names one CoAP group of this endpoint; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoapGroupId(pub(super) u32);

/// Names one application group of this endpoint; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApplicationGroupId(pub(super) u32);

/// The stable name of a security group; never "NoSec" in any letter case, which would advertise the
/// absence of security as if it were a group (groupcomm-bis-18 section 2.2.1.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecurityGroupName(String);

impl SecurityGroupName {
    /// Takes the name.
    ///
    /// # Errors
    /// [`MembershipError::ReservedName`] for "NoSec" in any letter case, [`MembershipError::EmptyName`] for nothing.
    pub fn new(name: impl Into<String>) -> Result<Self, MembershipError> {
        let name = name.into();
        if name.is_empty() {
            Err(MembershipError::EmptyName)
        } else if name.eq_ignore_ascii_case("NoSec") {
            Err(MembershipError::ReservedName)
        } else {
            Ok(Self(name))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecurityGroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// How messages to a CoAP group are protected: always stated, never the result of silence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupSecurity {
    /// Not at all. It names no group and holds no keys.
    NoSec,
    /// By one of these security groups.
    Groups(Vec<SecurityGroupName>),
}

/// A link this endpoint may listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The operating system's index of the interface.
    pub index: u32,
    /// Does it carry IPv4?
    pub ipv4: bool,
    /// Does it carry IPv6?
    pub ipv6: bool,
    /// Is it a 6LoWPAN link? Then the realm-local All CoAP Nodes group is joined too.
    pub sixlowpan: bool,
    /// Does it lead straight to the public Internet? Then no group without security is joined on it.
    pub public: bool,
}

impl Interface {
    /// An ordinary local interface with IPv4 and IPv6.
    pub const fn new(index: u32) -> Self {
        Self {
            index,
            ipv4: true,
            ipv6: true,
            sixlowpan: false,
            public: false,
        }
    }
}

/// What a new CoAP group is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoapGroupSpec {
    pub(super) address: SocketAddr,
    pub(super) names: Vec<String>,
    pub(super) interfaces: Vec<u32>,
    pub(super) security: Option<GroupSecurity>,
    pub(super) leisure: Option<Leisure>,
    pub(super) needed: Option<Scope>,
}

impl CoapGroupSpec {
    /// The group of this multicast address and port. Security must be stated before it can be created.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            names: Vec::new(),
            interfaces: Vec::new(),
            security: None,
            leisure: None,
            needed: None,
        }
    }

    /// A host name under which the group is known too.
    #[must_use]
    pub fn name(mut self, host: impl Into<String>) -> Self {
        self.names.push(host.into());
        self
    }

    /// Listen on this interface; 0 leaves the choice to the operating system.
    #[must_use]
    pub fn on(mut self, interface: u32) -> Self {
        self.interfaces.push(interface);
        self
    }

    /// Messages to the group are not protected. Anyone can forge requests and their source addresses,
    /// and each member's answer amplifies them: see [`Lint::Unsecured`](super::Lint::Unsecured).
    #[must_use]
    pub fn unsecured(mut self) -> Self {
        self.security = Some(GroupSecurity::NoSec);
        self
    }

    /// Messages to the group are protected by this security group; may be given several times.
    #[must_use]
    pub fn secured(mut self, by: SecurityGroupName) -> Self {
        match &mut self.security {
            Some(GroupSecurity::Groups(groups)) => groups.push(by),
            security => *security = Some(GroupSecurity::Groups(Vec::from([by]))),
        }
        self
    }

    /// The leisure of answers to requests through this group.
    #[must_use]
    pub fn leisure(mut self, leisure: Leisure) -> Self {
        self.leisure = Some(leisure);
        self
    }

    /// The smallest scope that would do; a wider address is reported as a [`Lint`](super::Lint).
    #[must_use]
    pub fn needs(mut self, scope: Scope) -> Self {
        self.needed = Some(scope);
        self
    }
}

/// A CoAP group: the endpoints that receive on one multicast address and port (groupcomm-bis-18 section 2.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoapGroup {
    pub(super) id: CoapGroupId,
    pub(super) address: SocketAddr,
    pub(super) names: Vec<String>,
    pub(super) interfaces: Vec<u32>,
    pub(super) security: GroupSecurity,
    pub(super) leisure: Option<Leisure>,
    pub(super) needed: Option<Scope>,
    /// The application groups that use it, ascending. The relation is kept here and nowhere else.
    pub(super) applications: Vec<ApplicationGroupId>,
    /// It was created by a configuring entity.
    pub(super) configured: bool,
    /// It is one of the All CoAP Nodes groups and listened to for discovery on every interface.
    pub(super) discovery: bool,
}

impl CoapGroup {
    /// Its name in this table.
    pub fn id(&self) -> CoapGroupId {
        self.id
    }

    /// Multicast address and port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its host names, in lower case.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The interfaces on which it was configured.
    pub fn interfaces(&self) -> &[u32] {
        &self.interfaces
    }

    /// How its messages are protected.
    pub fn security(&self) -> &GroupSecurity {
        &self.security
    }

    /// The leisure of answers to requests through this group.
    pub fn leisure(&self) -> Option<Leisure> {
        self.leisure
    }

    /// The application groups that use it.
    pub fn applications(&self) -> &[ApplicationGroupId] {
        &self.applications
    }

    /// Is it listened to as an All CoAP Nodes group, for discovery?
    pub fn serves_discovery(&self) -> bool {
        self.discovery
    }

    /// The authority of its group URI: its first name or the literal, and the port unless it is 5683.
    pub fn authority(&self) -> Authority<'_> {
        Authority {
            host: self.names.first().map(String::as_str),
            address: self.address,
        }
    }
}

/// The authority of a group URI, as text by `Display`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// The host name; without one the address stands as a literal.
    pub host: Option<&'a str>,
    /// Multicast address and port.
    pub address: SocketAddr,
}

impl fmt::Display for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.host, self.address.ip()) {
            (Some(host), _) => f.write_str(host)?,
            (None, IpAddr::V4(v4)) => write!(f, "{v4}")?,
            (None, IpAddr::V6(v6)) => write!(f, "[{v6}]")?,
        }
        match self.address.port() {
            antiphon_wire::DEFAULT_PORT => Ok(()),
            port => write!(f, ":{port}"),
        }
    }
}

/// An application group: servers that share a set of resources (groupcomm-bis-18 section 2.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationGroup {
    pub(super) id: ApplicationGroupId,
    pub(super) name: String,
    pub(super) naming: Naming,
    pub(super) attributes: Attributes,
    pub(super) security: Vec<SecurityGroupName>,
}

impl ApplicationGroup {
    /// Its name in this table.
    pub fn id(&self) -> ApplicationGroupId {
        self.id
    }

    /// Its name in requests.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How requests carry the name.
    pub fn naming(&self) -> &Naming {
        &self.naming
    }

    /// The security groups that it uses; none if that was not stated.
    pub fn security(&self) -> &[SecurityGroupName] {
        &self.security
    }

    /// The attributes of its group resource in discovery, such as `rt=g.light`.
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }
}

/// Why the table of memberships refuses a change. Nothing is changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembershipError {
    /// The address is not an IP multicast address.
    NotMulticast,
    /// Port 0 is no port.
    PortZero,
    /// Port 5684 is never used for group communication (groupcomm-bis-18 section 3.4).
    SecurePort,
    /// Neither security groups nor their absence was stated.
    SecurityNotStated,
    /// A group without security may not have global scope: it would be reachable from the public Internet (groupcomm-bis-18 section 4).
    GlobalScope,
    /// A group without security may not be joined on an interface to the public Internet.
    PublicInterface,
    /// The name "NoSec" stands for the absence of a security group and names none.
    ReservedName,
    /// A name must not be empty.
    EmptyName,
    /// The text is no host name: it is longer than 255 bytes, or has characters that do not belong in one.
    NotAHostName,
    /// The name cannot be carried in requests by the group's form of naming.
    NotEncodable,
    /// Another application group has this name.
    NameTaken,
    /// Another CoAP group has this address and port; merge the two instead.
    AddressTaken,
    /// The two groups are not protected alike.
    SecurityDiffers,
    /// An All CoAP Nodes group that serves discovery cannot be moved, split or merged.
    DiscoveryGroup,
    /// There is no such group (any more).
    UnknownGroup,
    /// The group is not listened to on this interface.
    NotJoined,
    /// A table is full: its limit in [`MembershipLimits`](super::MembershipLimits) is reached.
    Full,
}

impl fmt::Display for MembershipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotMulticast => "not an IP multicast address",
            Self::PortZero => "port 0 cannot be used",
            Self::SecurePort => "port 5684 must not be used for group communication",
            Self::SecurityNotStated => "neither a security group nor NoSec was stated",
            Self::GlobalScope => "a group without security must not have global scope",
            Self::PublicInterface => {
                "a group without security must not be joined on a public interface"
            }
            Self::ReservedName => "\"NoSec\" cannot name a security group",
            Self::EmptyName => "the name is empty",
            Self::NotAHostName => "not a host name",
            Self::NotEncodable => "the group's form of naming cannot carry this name",
            Self::NameTaken => "another application group has this name",
            Self::AddressTaken => "another CoAP group has this address and port",
            Self::SecurityDiffers => "the groups are not protected alike",
            Self::DiscoveryGroup => "an All CoAP Nodes group that serves discovery stays as it is",
            Self::UnknownGroup => "no such group",
            Self::NotJoined => "the group is not joined on this interface",
            Self::Full => "the table is full",
        })
    }
}

impl core::error::Error for MembershipError {}

/// Ascending, nothing twice. By insertion: the lists are short, and no other sort is as small.
pub(super) fn ascending<T: Ord>(list: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut all = Vec::new();
    for item in list {
        if let Err(place) = all.binary_search(&item) {
            all.insert(place, item);
        }
    }
    all
}
