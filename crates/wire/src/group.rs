//! Ports, multicast scopes and the All CoAP Nodes addresses (RFC 7252, section 12.8; RFC 7346).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The UDP port of scheme `coap`, also of a group whose URI names none.
pub const DEFAULT_PORT: u16 = 5683;

/// The UDP port of scheme `coaps`, where group communication never happens.
pub const SECURE_PORT: u16 = 5684;

/// All CoAP Nodes on IPv4.
pub const ALL_COAP_NODES_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 1, 187);

/// All CoAP Nodes on IPv6 in this scope: `ff0X::fd`.
pub const fn all_coap_nodes_v6(scope: Scope) -> Ipv6Addr {
    Ipv6Addr::new(0xff00 + scope as u16, 0, 0, 0, 0, 0, 0, 0xfd)
}

/// Whether this is an All CoAP Nodes address, in whichever known scope.
pub fn all_coap_nodes(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address == ALL_COAP_NODES_V4,
        IpAddr::V6(address) => {
            Scope::of(address).is_some_and(|scope| all_coap_nodes_v6(scope) == address)
        }
    }
}

/// The scope of an IPv6 multicast address (RFC 4291, section 2.7; RFC 7346).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// One interface of one node, 1.
    Interface = 1,
    /// One link, 2.
    Link = 2,
    /// One realm, such as one 6LoWPAN network, 3.
    Realm = 3,
    /// What an administrator has configured, 4.
    Admin = 4,
    /// One site, 5.
    Site = 5,
    /// The sites of one organisation, 8.
    Organisation = 8,
    /// The Internet, 14.
    Global = 14,
}

impl Scope {
    /// All scopes, from the smallest to the largest.
    pub const ALL: [Scope; 7] = [
        Scope::Interface,
        Scope::Link,
        Scope::Realm,
        Scope::Admin,
        Scope::Site,
        Scope::Organisation,
        Scope::Global,
    ];

    /// The name that the command line uses.
    pub const fn name(self) -> &'static str {
        match self {
            Scope::Interface => "interface",
            Scope::Link => "link",
            Scope::Realm => "realm",
            Scope::Admin => "admin",
            Scope::Site => "site",
            Scope::Organisation => "organisation",
            Scope::Global => "global",
        }
    }

    /// The scope of this name, in any letter case and with or without "-local".
    pub fn from_name(name: &str) -> Option<Scope> {
        let name = match name
            .len()
            .checked_sub("-local".len())
            .and_then(|at| name.split_at_checked(at))
        {
            Some((name, suffix)) if suffix.eq_ignore_ascii_case("-local") => name,
            _ => name,
        };
        Scope::ALL
            .into_iter()
            .find(|scope| scope.name().eq_ignore_ascii_case(name))
    }

    /// The scope of this number, or `None` if it is reserved or unassigned.
    pub const fn from_value(value: u8) -> Option<Scope> {
        Some(match value {
            1 => Scope::Interface,
            2 => Scope::Link,
            3 => Scope::Realm,
            4 => Scope::Admin,
            5 => Scope::Site,
            8 => Scope::Organisation,
            14 => Scope::Global,
            _ => return None,
        })
    }

    /// The scope of this address, or `None` if it is not multicast or its scope reserved or unassigned.
    pub const fn of(address: Ipv6Addr) -> Option<Scope> {
        let [0xff, flags_and_scope, ..] = address.octets() else {
            return None;
        };
        Scope::from_value(flags_and_scope & 0x0f)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests;
