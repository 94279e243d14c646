//! How a group request carries the name of an application group (groupcomm-bis-18 section 2.2.1.2 and
//! Appendix B): written by clients, recognised by servers.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::net::{IpAddr, SocketAddr};

use antiphon_wire::{Message, OptionNumber, decode_uint};

use super::group::MembershipError;
use crate::message::Options;

/// Where in the group URI the name of an application group stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Naming {
    /// In the path: `/BASE/DELIMITER/NAME/resource`. Recommended, with the delimiter `gp`.
    Path {
        /// Segments before the delimiter; usually none.
        base: Vec<String>,
        /// The segment that announces the name; without one the name follows the base at once.
        delimiter: Option<String>,
    },
    /// The only query parameter is the bare name: `?NAME`.
    QueryName,
    /// A query parameter carries the name: `?INDICATOR=NAME`, also among others.
    Query {
        /// The name of that parameter, such as `gp`.
        indicator: String,
    },
    /// The whole authority is the name: `grp.example:5685`.
    Authority,
    /// The leftmost label of the host name is the name: `grp42.example` names `grp42`.
    HostLabel {
        /// What follows the label: `example`.
        domain: String,
    },
    /// The port number is the name: 55685.
    Port,
    /// The request carries no name; the CoAP group, or the resource, implies it.
    Implied,
}

impl Default for Naming {
    fn default() -> Self {
        Self::path()
    }
}

/// The longest value of Uri-Host, Uri-Path and Uri-Query (RFC 7252 section 5.10).
const LONGEST: usize = 255;

impl Naming {
    /// The recommended form, `/gp/NAME/resource`.
    pub fn path() -> Self {
        Self::Path {
            base: Vec::new(),
            delimiter: Some("gp".into()),
        }
    }

    /// The form `?gp=NAME`.
    pub fn query() -> Self {
        Self::Query {
            indicator: "gp".into(),
        }
    }

    /// Can requests carry this name in this form?
    ///
    /// # Errors
    /// [`MembershipError::EmptyName`], or [`MembershipError::NotEncodable`]: too long, not a number for [`Port`](Self::Port), not a label for [`HostLabel`](Self::HostLabel), no authority for [`Authority`](Self::Authority).
    pub fn check(&self, name: &str) -> Result<(), MembershipError> {
        if name.is_empty() {
            return Err(MembershipError::EmptyName);
        }
        let fits = match self {
            Self::Path { base, delimiter } => {
                let mut segments = base.iter().chain(delimiter).map(String::as_str);
                let is_segment =
                    |segment: &str| segment.len() <= LONGEST && !matches!(segment, "." | "..");
                segments.all(is_segment) && is_segment(name)
            }
            Self::QueryName => name.len() <= LONGEST && !name.contains('='),
            Self::Query { indicator } => {
                !indicator.is_empty() && indicator.len() + 1 + name.len() <= LONGEST
            }
            Self::Authority => split_authority(name).is_some(),
            Self::HostLabel { domain } => {
                is_host_name(name)
                    && !name.contains('.')
                    && is_host_name(domain)
                    && name.len() + 1 + domain.len() <= LONGEST
            }
            Self::Port => name.parse::<u16>().is_ok_and(|port| port != 0) && !name.starts_with('+'),
            Self::Implied => true,
        };
        match fits {
            true => Ok(()),
            false => Err(MembershipError::NotEncodable),
        }
    }

    /// How many bytes of options a request spends on the name.
    pub fn bytes_for(&self, name: &str) -> usize {
        let option = |length: usize| 1 + usize::from(length >= 13) + length;
        match self {
            Self::Path { delimiter, .. } => {
                option(name.len()) + delimiter.as_ref().map_or(0, |d| option(d.len()))
            }
            Self::QueryName => option(name.len()),
            Self::Query { indicator } => option(indicator.len() + 1 + name.len()),
            Self::Authority => match split_authority(name) {
                Some((Host::Name(host), _)) => option(host.len()),
                _ => 0,
            },
            Self::HostLabel { domain } => option(name.len() + 1 + domain.len()),
            Self::Port | Self::Implied => 0,
        }
    }

    /// Does this request carry the name in this form?
    pub(crate) fn matches(&self, name: &str, uri: &RequestUri<'_>) -> bool {
        match self {
            Self::Path { base, delimiter } => {
                let mut wanted = base.iter().chain(delimiter).map(String::as_str);
                let mut segments = uri.path();
                wanted.all(|segment| segments.next() == Some(segment.as_bytes()))
                    && segments.next() == Some(name.as_bytes())
            }
            Self::QueryName => uri.only_query() == Some(name.as_bytes()),
            Self::Query { indicator } => uri
                .query()
                .filter_map(|item| value_of(indicator, item))
                .any(|value| value == name.as_bytes()),
            Self::Authority => split_authority(name).is_some_and(|(host, port)| {
                port == uri.port
                    && match (host, uri.host) {
                        (Host::Name(name), Some(host)) => {
                            host.eq_ignore_ascii_case(name.as_bytes())
                        }
                        (Host::Literal(address), None) => address == uri.destination,
                        (Host::Literal(address), Some(host)) => literal(host) == Some(address),
                        (Host::Name(_), None) => false,
                    }
            }),
            Self::HostLabel { .. } => uri.host.is_some_and(|host| {
                let label = host.split(|byte| *byte == b'.').next();
                literal(host).is_none()
                    && label.is_some_and(|label| label.eq_ignore_ascii_case(name.as_bytes()))
            }),
            Self::Port => name.parse() == Ok(uri.port),
            Self::Implied => false,
        }
    }

    /// Does this request carry *some* name in this form, known or not? Forms that cannot tell a name from
    /// something else say no.
    pub(crate) fn names_any(
        &self,
        uri: &RequestUri<'_>,
        is_name_of_group: impl Fn(&[u8]) -> bool,
    ) -> bool {
        match self {
            Self::Path {
                base,
                delimiter: Some(delimiter),
            } => {
                let mut wanted = base.iter().chain([delimiter]);
                let mut segments = uri.path();
                wanted.all(|segment| segments.next() == Some(segment.as_bytes()))
                    && segments.next().is_some()
            }
            Self::QueryName => uri.only_query().is_some_and(|item| !item.contains(&b'=')),
            Self::Query { indicator } => {
                uri.query().any(|item| value_of(indicator, item).is_some())
            }
            Self::Authority | Self::HostLabel { .. } => uri
                .host
                .is_some_and(|host| literal(host).is_none() && !is_name_of_group(host)),
            Self::Path {
                delimiter: None, ..
            }
            | Self::Port
            | Self::Implied => false,
        }
    }

    /// How many segments of the path name the group, where it stands there.
    pub(crate) fn path_prefix(&self) -> Option<usize> {
        match self {
            Self::Path { base, delimiter } => {
                Some(base.len() + usize::from(delimiter.is_some()) + 1)
            }
            _ => None,
        }
    }

    /// The path of the group's own resource: `/gp/NAME` where the path names it, `/` elsewhere.
    pub(crate) fn group_path<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let (base, delimiter, name): (&[String], _, _) = match self {
            Self::Path { base, delimiter } => (base, delimiter.as_deref(), Some(name)),
            _ => (&[], None, None),
        };
        base.iter().map(String::as_str).chain(delimiter).chain(name)
    }
}

/// One resource of one application group in one CoAP group, as a client addresses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupAddress<'a> {
    /// The CoAP group: multicast address and port.
    pub group: SocketAddr,
    /// The host name of the group URI; without one the address stands there as a literal, and no Uri-Host is sent.
    pub host: Option<&'a str>,
    /// How the application group is named.
    pub naming: &'a Naming,
    /// The application group's name.
    pub name: &'a str,
    /// The path of the resource within the application group, such as `light`.
    pub path: &'a str,
    /// Further query parameters.
    pub query: &'a [&'a str],
}

impl GroupAddress<'_> {
    /// Adds Uri-Host, Uri-Path and Uri-Query to a request. Uri-Port is never needed: the request goes to
    /// the port of the group (RFC 7252 section 6.4).
    ///
    /// # Errors
    /// As [`Naming::check`]; [`MembershipError::NotEncodable`] also where the name says another host or port than the group has, and for queries beside a bare name.
    pub fn write(&self, options: &mut Options) -> Result<(), MembershipError> {
        self.naming.check(self.name)?;
        let fits = match self.naming {
            Naming::Authority => split_authority(self.name).is_some_and(|(host, port)| {
                port == self.group.port()
                    && match (host, self.host) {
                        (Host::Name(name), Some(host)) => name.eq_ignore_ascii_case(host),
                        (Host::Literal(address), None) => address == self.group.ip(),
                        _ => false,
                    }
            }),
            Naming::HostLabel { domain } => self.host.is_none_or(|host| {
                host.split_once('.').is_some_and(|(label, rest)| {
                    label.eq_ignore_ascii_case(self.name) && rest.eq_ignore_ascii_case(domain)
                })
            }),
            Naming::Port => self.name.parse() == Ok(self.group.port()),
            Naming::QueryName => self.query.is_empty(),
            _ => true,
        };
        let items = self.path.split('/').chain(self.query.iter().copied());
        let hosts = self.host.is_none_or(is_host_name);
        if !fits || !hosts || items.into_iter().any(|item| item.len() > LONGEST) {
            return Err(MembershipError::NotEncodable);
        }
        match (self.naming, self.host) {
            (Naming::HostLabel { domain }, None) => {
                let mut host = String::from(self.name);
                host.push('.');
                host.push_str(domain);
                options.push(OptionNumber::URI_HOST, host.as_bytes());
            }
            (_, Some(host)) => {
                options.push(OptionNumber::URI_HOST, host.as_bytes());
            }
            (_, None) => {}
        }
        for segment in self.naming.group_path(self.name).chain(segments(self.path)) {
            options.push(OptionNumber::URI_PATH, segment.as_bytes());
        }
        for item in self.query {
            options.push(OptionNumber::URI_QUERY, item.as_bytes());
        }
        match self.naming {
            Naming::QueryName => {
                options.push(OptionNumber::URI_QUERY, self.name.as_bytes());
            }
            Naming::Query { indicator } => {
                let mut item = indicator.clone();
                item.push('=');
                item.push_str(self.name);
                options.push(OptionNumber::URI_QUERY, item.as_bytes());
            }
            _ => {}
        }
        Ok(())
    }
}

/// The parts of the request URI as RFC 7252 section 6.5 puts them together: from the options, and where
/// those are absent from the destination of the datagram.
#[derive(Clone, Copy)]
pub(crate) struct RequestUri<'m> {
    pub(crate) host: Option<&'m [u8]>,
    pub(crate) port: u16,
    pub(crate) destination: IpAddr,
    message: Message<'m>,
}

impl<'m> RequestUri<'m> {
    pub(crate) fn new(message: &Message<'m>, destination: SocketAddr) -> Self {
        let port = message
            .option(OptionNumber::URI_PORT)
            .and_then(decode_uint)
            .and_then(|port| u16::try_from(port).ok());
        Self {
            host: message.option(OptionNumber::URI_HOST),
            port: port.unwrap_or(destination.port()),
            destination: destination.ip().to_canonical(),
            message: *message,
        }
    }

    pub(crate) fn path(&self) -> impl Iterator<Item = &'m [u8]> + Clone + use<'m> {
        self.message.options_of(OptionNumber::URI_PATH)
    }

    pub(crate) fn query(&self) -> impl Iterator<Item = &'m [u8]> + use<'m> {
        self.message.options_of(OptionNumber::URI_QUERY)
    }

    /// The query parameter, if there is exactly one.
    fn only_query(&self) -> Option<&'m [u8]> {
        let mut query = self.query();
        let first = query.next();
        first.filter(|_| query.next().is_none())
    }
}

/// The segments of a path given as text; a leading or trailing slash adds none.
pub(crate) fn segments(path: &str) -> impl Iterator<Item = &str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/').filter(move |_| !path.is_empty())
}

/// May this text stand as a host name in a URI? Letters, digits, hyphens and underscores in labels
/// divided by dots, and not an IPv4 address.
pub(crate) fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.len() <= LONGEST
        && text
            .strip_suffix('.')
            .unwrap_or(text)
            .split('.')
            .all(is_label)
        && text.parse::<core::net::Ipv4Addr>().is_err()
}

/// The address that this Uri-Host is the literal of, if it is one.
pub(crate) fn literal(host: &[u8]) -> Option<IpAddr> {
    let text = core::str::from_utf8(host).ok()?;
    match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
        None => text.parse().ok().map(IpAddr::V4),
    }
}

pub(super) enum Host<'a> {
    Name(&'a str),
    Literal(IpAddr),
}

/// Host and port of an authority; 5683 where it has none.
pub(super) fn split_authority(text: &str) -> Option<(Host<'_>, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        // The colons of an IPv6 literal are no separators.
        Some((host, port)) if !port.contains(']') => {
            let digits = port.bytes().all(|byte| byte.is_ascii_digit());
            (host, port.parse().ok().filter(|port| digits && *port != 0)?)
        }
        _ => (text, antiphon_wire::DEFAULT_PORT),
    };
    match literal(host.as_bytes()) {
        Some(address) => Some((Host::Literal(address), port)),
        None if is_host_name(host) => Some((Host::Name(host), port)),
        None => None,
    }
}

/// The value of the query parameter `item`, if it has this name.
fn value_of<'m>(indicator: &str, item: &'m [u8]) -> Option<&'m [u8]> {
    item.strip_prefix(indicator.as_bytes())?.strip_prefix(b"=")
}

/// The name under which a reverse look-up asks for the host name of an address: the nibbles of an IPv6
/// address below IP6.ARPA, the bytes of an IPv4 address below IN-ADDR.ARPA (RFC 3596 section 2.5, RFC 1035 section 3.5).
pub fn reverse_name(address: IpAddr) -> String {
    let mut name = String::new();
    match address {
        IpAddr::V4(v4) => {
            for byte in v4.octets().iter().rev() {
                let _ = write!(name, "{byte}.");
            }
            name.push_str("in-addr.arpa");
        }
        IpAddr::V6(v6) => {
            for byte in v6.octets().iter().rev() {
                let _ = write!(name, "{:x}.{:x}.", byte & 0x0f, byte >> 4);
            }
            name.push_str("ip6.arpa");
        }
    }
    name
}
