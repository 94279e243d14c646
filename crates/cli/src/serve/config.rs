//! The configuration of a member: strict, and every complaint names its line.

mod access;
mod images;
mod raw;
mod resource;
mod security;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use antiphon::{Methods, SecurityGroupName};
use antiphon_wire::{
    ALL_COAP_NODES_V4, Class, ContentFormat, DEFAULT_PORT, SECURE_PORT, Scope, all_coap_nodes_v6,
};
use serde::Deserialize;
use toml::Spanned;

use crate::duration;
use crate::failure::Failure;
use crate::members::line_of;
use crate::terminal::quoted;
pub(crate) use access::{Access, Allow, net_access};
pub(crate) use images::Images;
use raw::{RawApplication, RawConfig, RawGroup, RawNaming, RawServer};
use resource::resource;
pub(crate) use security::SecurityFile;

/// A member, checked.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) server: Server,
    /// Where the keys are.
    pub(crate) security: Vec<SecurityFile>,
    pub(crate) groups: Vec<Group>,
    pub(crate) applications: Vec<Application>,
    pub(crate) resources: Vec<Resource>,
    /// What takes images that are brought to a whole group.
    pub(crate) images: Vec<Images>,
}

/// What holds for the whole member.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) listen: Vec<SocketAddr>,
    /// For discovery, and for groups that name none.
    pub(crate) interfaces: Vec<String>,
    /// Of these, or besides them, 6LoWPAN links.
    pub(crate) sixlowpan: Vec<String>,
    pub(crate) discoverable: Discoverable,
    pub(crate) profile: Profile,
    /// It is stated that resources may be open to anyone.
    pub(crate) unsecured: bool,
    /// When a sender that proves nothing must show that it is reachable.
    pub(crate) echo: Echo,
    pub(crate) group_mode_by_unicast: GroupMode,
    /// Links say what is reached under protection alone.
    pub(crate) mark_protected: bool,
    /// Members learn where this one is reached.
    pub(crate) address_discovery: bool,
    pub(crate) leisure: Option<Duration>,
    /// Largest payload of an answer to a group request, in bytes.
    pub(crate) group_answer_limit: Option<usize>,
}

/// Through which groups `/.well-known/core` is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Discoverable {
    /// All CoAP Nodes and those of the file.
    #[default]
    All,
    /// Those of the file.
    Groups,
    /// None; there is no such resource.
    Off,
}

/// Which text of groupcomm-bis wins where the texts differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Profile {
    #[default]
    Current,
    Seed03,
}

/// When a sender that proves nothing is challenged with an Echo value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Echo {
    #[default]
    Never,
    /// Before an answer that is much larger than the request.
    WhenAmplified,
    Always,
}

/// What becomes of requests in group mode that come by unicast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum GroupMode {
    #[default]
    Serve,
    ReadOnly,
    Refuse,
}

/// A CoAP group to join.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) address: GroupAddress,
    pub(crate) interfaces: Vec<String>,
    pub(crate) leisure: Option<Duration>,
    /// The security groups that protect it; empty: it is stated that nothing does.
    pub(crate) secured_by: Vec<SecurityGroupName>,
}

/// Where a group is: an address, or a host name that is resolved at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GroupAddress {
    Literal(SocketAddr),
    Name { host: String, port: u16 },
}

impl fmt::Display for GroupAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GroupAddress::Literal(address) => write!(f, "{address}"),
            GroupAddress::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// An application group, by one of the naming forms.
#[derive(Debug)]
pub(crate) struct Application {
    pub(crate) name: String,
    /// Indices into [`Config::groups`].
    pub(crate) groups: Vec<usize>,
    pub(crate) naming: Naming,
    pub(crate) secured_by: Vec<SecurityGroupName>,
}

/// Where in a request the name of an application group stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// `/BASE/DELIMITER/NAME/...`
    Path {
        base: Vec<String>,
        delimiter: Option<String>,
    },
    /// `?NAME`
    QueryName,
    /// `?INDICATOR=NAME`
    Query { indicator: String },
    /// The whole authority.
    Authority,
    /// `NAME.DOMAIN`
    HostLabel { domain: String },
    /// The port.
    Port,
    /// Nowhere: the CoAP group implies it.
    Implied,
}

/// A resource.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) path: String,
    pub(crate) title: Option<String>,
    pub(crate) rt: Vec<String>,
    pub(crate) interfaces: Vec<String>,
    pub(crate) format: ContentFormat,
    pub(crate) hidden: bool,
    /// Index into [`Config::applications`].
    pub(crate) application: Option<usize>,
    pub(crate) access: Access,
    /// Which proven senders may do what; empty: all may do everything.
    pub(crate) allow: Vec<Allow>,
    /// The security groups under which it takes requests; empty: those of its groups.
    pub(crate) secured_by: Vec<SecurityGroupName>,
    /// The methods whose requests must be fresh.
    pub(crate) fresh: Methods,
    pub(crate) on_group: OnGroup,
    pub(crate) suppress: Vec<Class>,
    pub(crate) answer: Vec<Class>,
    pub(crate) consider_no_response: bool,
    pub(crate) leisure: Option<Leisure>,
    pub(crate) limit: Option<usize>,
    pub(crate) source: Source,
    pub(crate) writable: bool,
    /// Each representation gets an entity tag.
    pub(crate) etag: bool,
    pub(crate) observable: bool,
    /// Observers get its state this often, whether it has changed or not.
    pub(crate) notify_every: Option<Duration>,
}

/// What becomes of requests that come through a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OnGroup {
    /// They are not processed.
    #[default]
    Ignore,
    /// They are processed and not answered.
    Silent,
    /// Success is answered.
    Respond,
}

/// The interval in which answers are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leisure {
    Fixed(Duration),
    /// S * G / R.
    Estimated {
        response_size: u32,
        group_size: u32,
        rate: u32,
    },
}

/// Where a representation comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// These bytes, until they are replaced.
    Fixed(Vec<u8>),
    /// The content of a file.
    File(PathBuf),
    /// What a program writes.
    Command(Vec<String>),
    /// A number that counts requests.
    Counter(u64),
}

/// What is wrong, and in which line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConfigError {
    line: usize,
    what: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.what)
    }
}

/// Reads and checks a configuration file. Paths in it are relative to its folder.
pub(crate) fn read(path: &Path) -> Result<Config, Failure> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::local(format!("{shown}: {error}")))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    parse(&text, folder).map_err(|error| Failure::usage(format!("{shown}:{error}")))
}

/// Turns offsets into lines.
#[derive(Clone, Copy)]
struct Lines<'a>(&'a str);

impl Lines<'_> {
    fn fail<T>(self, at: usize, what: impl Into<String>) -> Result<T, ConfigError> {
        Err(ConfigError {
            line: line_of(self.0, at),
            what: what.into(),
        })
    }

    fn duration(self, text: &Spanned<String>) -> Result<Duration, ConfigError> {
        duration::parse(text.get_ref()).or_else(|what| self.fail(text.span().start, what))
    }
}

fn parse(text: &str, folder: &Path) -> Result<Config, ConfigError> {
    let lines = Lines(text);
    let raw: RawConfig = toml::from_str(text).map_err(|error| ConfigError {
        line: error.span().map_or(1, |span| line_of(text, span.start)),
        what: error.message().to_owned(),
    })?;
    let security = security::files(raw.server.group.as_ref(), folder, lines)?;
    let server = server(raw.server, lines)?;

    let mut groups: Vec<Group> = Vec::new();
    for entry in raw.group {
        let group = group(&entry, lines)?;
        if groups.iter().any(|other| other.name == group.name) {
            return lines.fail(
                entry.span().start,
                format!("a second group {}", quoted(&group.name)),
            );
        }
        groups.push(group);
    }

    let mut applications: Vec<Application> = Vec::new();
    for entry in raw.application_group {
        let application = application(&entry, &groups, lines)?;
        if applications
            .iter()
            .any(|other| other.name == application.name)
        {
            return lines.fail(
                entry.span().start,
                format!("a second application group {}", quoted(&application.name)),
            );
        }
        applications.push(application);
    }

    let mut members = access::members(&raw.member, lines)?;
    security::add_members(&security, &mut members);
    let mut resources: Vec<Resource> = Vec::new();
    let mut paths: HashMap<(Option<usize>, String), usize> = HashMap::new();
    for entry in raw.resource {
        let at = entry.span().start;
        let resource = resource(
            entry.into_inner(),
            at,
            &applications,
            &members,
            folder,
            lines,
        )?;
        if resource.access != Access::Verified && !server.unsecured {
            return lines.fail(
                at,
                format!(
                    "{} is open without security: state unsecured = true in [server], or leave access at \"verified\"",
                    quoted(&resource.path)
                ),
            );
        }
        let key = (resource.application, resource.path.clone());
        if let Some(first) = paths.insert(key, line_of(text, at)) {
            return lines.fail(
                at,
                format!(
                    "a second resource {}, the first is in line {first}",
                    quoted(&resource.path)
                ),
            );
        }
        resources.push(resource);
    }
    let mut all_images: Vec<Images> = Vec::new();
    for entry in raw.images {
        let at = entry.span().start;
        let images = images::images(
            entry.into_inner(),
            at,
            &applications,
            &members,
            folder,
            lines,
        )?;
        if images.access == Access::Unsecured && !server.unsecured {
            return lines.fail(
                at,
                "images would be taken from anyone: state unsecured = true in [server], or leave access at \"verified\"",
            );
        }
        let key = (images.application, images.path.clone());
        if paths.insert(key, line_of(text, at)).is_some() {
            let path = quoted(&images.path);
            return lines.fail(at, format!("{path} is the path of a resource already"));
        }
        all_images.push(images);
    }
    if resources.is_empty() && all_images.is_empty() {
        return lines.fail(text.len(), "no [[resource]]: there is nothing to serve");
    }
    Ok(Config {
        server,
        security,
        groups,
        applications,
        resources,
        images: all_images,
    })
}

fn server(raw: RawServer, lines: Lines<'_>) -> Result<Server, ConfigError> {
    let mut listen = Vec::new();
    for text in &raw.listen {
        let at = text.span().start;
        let address: SocketAddr = match text.get_ref().parse() {
            Ok(address) => address,
            Err(_) => match text.get_ref().parse::<IpAddr>() {
                Ok(ip) => SocketAddr::new(ip, DEFAULT_PORT),
                Err(_) => {
                    return lines.fail(
                        at,
                        format!("{} is no address to listen on", quoted(text.get_ref())),
                    );
                }
            },
        };
        if address.ip().is_multicast() {
            return lines.fail(
                at,
                format!("{address} is a group: it belongs into a [[group]]"),
            );
        }
        if address.port() == SECURE_PORT {
            return lines.fail(
                at,
                "port 5684 is for coaps, which this version does not serve",
            );
        }
        if listen.contains(&address) {
            return lines.fail(at, format!("{address} is given twice"));
        }
        listen.push(address);
    }
    if listen.is_empty() {
        listen.push(SocketAddr::new(
            IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
            DEFAULT_PORT,
        ));
    }
    Ok(Server {
        listen,
        interfaces: raw.interfaces,
        sixlowpan: raw.sixlowpan,
        discoverable: raw.discoverable,
        profile: raw.profile,
        unsecured: raw.unsecured,
        echo: raw.echo,
        group_mode_by_unicast: raw.group_mode_by_unicast,
        mark_protected: raw.mark_protected,
        address_discovery: raw.address_discovery,
        leisure: raw
            .leisure
            .as_ref()
            .map(|text| lines.duration(text))
            .transpose()?,
        group_answer_limit: raw.group_answer_limit,
    })
}

fn group(entry: &Spanned<RawGroup>, lines: Lines<'_>) -> Result<Group, ConfigError> {
    let raw = entry.get_ref();
    let at = raw.address.span().start;
    let text = raw.address.get_ref();
    let Some(address) = group_address(text) else {
        return lines.fail(
            at,
            format!(
                "{} is neither a group's address nor a host name",
                quoted(text)
            ),
        );
    };
    let port = match &address {
        GroupAddress::Literal(address) => address.port(),
        GroupAddress::Name { port, .. } => *port,
    };
    if port == SECURE_PORT {
        return lines.fail(at, "the port of a group is never 5684");
    }
    if let GroupAddress::Literal(address) = &address {
        if !address.ip().is_multicast() {
            return lines.fail(at, format!("{} is not a multicast address", address.ip()));
        }
        if let IpAddr::V6(ip) = address.ip()
            && Scope::of(ip) == Some(Scope::Global)
            && raw.unsecured
        {
            return lines.fail(at, "a group of global scope needs security: secured-by");
        }
    }
    let secured_by = access::security_groups(&raw.secured_by, lines)?;
    if raw.unsecured != secured_by.is_empty() {
        return lines.fail(
            entry.span().start,
            "a group says either which security groups protect it (secured-by) or unsecured = true",
        );
    }
    let name = match &raw.name {
        Some(name) if name.get_ref().is_empty() => {
            return lines.fail(name.span().start, "the name is empty");
        }
        Some(name) => name.get_ref().clone(),
        None => address.to_string(),
    };
    Ok(Group {
        name,
        address,
        interfaces: raw.interfaces.clone(),
        leisure: raw
            .leisure
            .as_ref()
            .map(|text| lines.duration(text))
            .transpose()?,
        secured_by,
    })
}

/// `224.0.1.187`, `[ff05::fd]:5683`, `ff05::fd`, `all-coap-nodes` (IPv4), `all-coap-nodes-site`, or a host name with or without port.
fn group_address(text: &str) -> Option<GroupAddress> {
    let literal = |ip: IpAddr| Some(GroupAddress::Literal(SocketAddr::new(ip, DEFAULT_PORT)));
    if text == "all-coap-nodes" {
        return literal(ALL_COAP_NODES_V4.into());
    }
    if let Some(scope) = text.strip_prefix("all-coap-nodes-") {
        return literal(all_coap_nodes_v6(Scope::from_name(scope)?).into());
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return (address.port() != 0).then_some(GroupAddress::Literal(address));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return literal(ip);
    }
    if let Some(ip) = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .and_then(|ip| ip.parse::<Ipv6Addr>().ok())
    {
        return literal(ip.into());
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|&port| port != 0)?),
        None => (text, DEFAULT_PORT),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    // Digits and dots alone are a mistyped address, never a name.
    let numeric = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let valid =
        !numeric && host.len() <= 253 && host.trim_end_matches('.').split('.').all(is_label);
    valid.then(|| GroupAddress::Name {
        host: host.to_ascii_lowercase(),
        port,
    })
}

fn application(
    entry: &Spanned<RawApplication>,
    groups: &[Group],
    lines: Lines<'_>,
) -> Result<Application, ConfigError> {
    let raw = entry.get_ref();
    let at = entry.span().start;
    let name = raw.name.get_ref();
    if name.is_empty() {
        return lines.fail(raw.name.span().start, "the name is empty");
    }
    let mut indices = Vec::new();
    for group in &raw.groups {
        match groups.iter().position(|g| g.name == *group.get_ref()) {
            Some(index) => indices.push(index),
            None => {
                return lines.fail(
                    group.span().start,
                    format!("there is no group {}", quoted(group.get_ref())),
                );
            }
        }
    }
    if indices.is_empty() {
        return lines.fail(at, "an application group needs at least one group");
    }
    let belongs = |given: bool, key: &str, naming: RawNaming| {
        if given && raw.naming != naming {
            return lines.fail(at, format!("{key} has no meaning with this naming"));
        }
        Ok(())
    };
    belongs(raw.base.is_some(), "base", RawNaming::Path)?;
    belongs(raw.delimiter.is_some(), "delimiter", RawNaming::Path)?;
    belongs(raw.indicator.is_some(), "indicator", RawNaming::Query)?;
    belongs(raw.domain.is_some(), "domain", RawNaming::HostLabel)?;
    let naming = match raw.naming {
        RawNaming::Path => Naming::Path {
            base: segments(raw.base.as_deref().unwrap_or_default()),
            delimiter: match raw.delimiter.as_deref() {
                None => Some("gp".into()),
                Some("") => None,
                Some(delimiter) => Some(delimiter.into()),
            },
        },
        RawNaming::QueryName => Naming::QueryName,
        RawNaming::Query => Naming::Query {
            indicator: raw.indicator.clone().unwrap_or_else(|| "gp".into()),
        },
        RawNaming::Authority => Naming::Authority,
        RawNaming::HostLabel => match &raw.domain {
            Some(domain) => Naming::HostLabel {
                domain: domain.clone(),
            },
            None => {
                return lines.fail(
                    at,
                    "naming = \"host-label\" needs the domain behind the label",
                );
            }
        },
        RawNaming::Implied => Naming::Implied,
        RawNaming::Port if name.parse::<u16>().is_ok_and(|port| port != 0) => Naming::Port,
        RawNaming::Port => {
            return lines.fail(
                at,
                format!("{} is no port, as naming = \"port\" wants", quoted(name)),
            );
        }
    };
    Ok(Application {
        name: name.clone(),
        groups: indices,
        naming,
        secured_by: access::security_groups(&raw.secured_by, lines)?,
    })
}

fn segments(path: &str) -> Vec<String> {
    path.split('/')
        .filter(|s| !s.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The name of a class.
pub(crate) fn class_name(class: Class) -> &'static str {
    match class {
        Class::Success => "2.xx",
        Class::ClientError => "4.xx",
        Class::ServerError => "5.xx",
    }
}

impl Config {
    /// The path of a resource with the segments that name its application group.
    pub(crate) fn full_path(&self, resource: &Resource) -> String {
        self.path_in(resource.application, &resource.path)
    }

    /// A path with the segments that name an application group.
    pub(crate) fn path_in(&self, application: Option<usize>, path: &str) -> String {
        let application = application.and_then(|index| self.applications.get(index));
        match application {
            Some(Application {
                name,
                naming: Naming::Path { base, delimiter },
                ..
            }) => {
                let before: String = base
                    .iter()
                    .chain(delimiter)
                    .map(|segment| format!("/{segment}"))
                    .collect();
                format!("{before}/{name}{path}")
            }
            _ => path.to_owned(),
        }
    }
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;

#[cfg(test)]
pub(super) fn parse_for_test(text: &str) -> Config {
    parse(text, Path::new("")).unwrap()
}
