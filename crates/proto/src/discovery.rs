//! What `/.well-known/core` says: resources and application groups as links (RFC 6690, groupcomm-bis-18
//! section 2.2.3.2 and Appendix C).
//!
//! Links to resources are relative. The link to an application group's own resource is relative if the
//! request came to the CoAP group that hosts it, and absolute otherwise, so that the asker learns that group.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use antiphon_wire::link::{Filter, GOSC, LinkFormat, LinkWriter, OSC};
use antiphon_wire::{ContentFormat, Message, OptionNumber};

use crate::attributes::Attributes;
use crate::membership::{ApplicationGroup, CoapGroup, Memberships, Naming};
use crate::resource::table::Resources;
use crate::resource::{Entry, Resource};

/// One request for links.
pub(crate) struct Query<'a> {
    pub(crate) message: &'a Message<'a>,
    /// Only links below this resource; all for discovery itself.
    pub(crate) below: Option<&'a Entry>,
    /// The CoAP group that the request came through.
    pub(crate) coap: Option<&'a CoapGroup>,
    /// The port that the request was sent to.
    pub(crate) port: u16,
    /// The virtual server that is asked.
    pub(crate) host: Option<&'a str>,
    /// Which resources are marked as reachable under security alone.
    pub(crate) is_marked: &'a dyn Fn(&Resource) -> bool,
}

impl<'a> Query<'a> {
    fn filters(&self) -> impl Iterator<Item = Filter<'a>> + Clone + use<'a> {
        self.message
            .options_of(OptionNumber::URI_QUERY)
            .filter_map(Filter::parse)
    }
}

/// Writes the links that the query asks for into `payload`. `scratch` is working memory.
pub(crate) fn write(
    query: &Query<'_>,
    resources: &Resources,
    memberships: &Memberships,
    scratch: &mut String,
    payload: &mut Vec<u8>,
) {
    let mut links = Links {
        query,
        // To a group, without a filter: top-level links only (RFC 6690 section 5).
        top_level: query.coap.is_some()
            && query.below.is_none()
            && query.filters().next().is_none(),
        resources,
        memberships,
        scratch,
        out: LinkWriter::new(Payload(payload)),
    };
    // Writing to memory does not fail, and what cannot be written was refused when it was configured.
    let _ = links.groups();
    let _ = links.resources();
}

struct Links<'a> {
    query: &'a Query<'a>,
    top_level: bool,
    resources: &'a Resources,
    memberships: &'a Memberships,
    scratch: &'a mut String,
    out: LinkWriter<Payload<'a>>,
}

impl Links<'_> {
    /// The application groups, once for each CoAP group that the asker should know of.
    fn groups(&mut self) -> fmt::Result {
        if self.query.below.is_some() || self.query.host.is_some() {
            return Ok(());
        }
        for group in self.memberships.applications() {
            let in_path = matches!(group.naming(), Naming::Path { .. });
            if !in_path && group.attributes().iter().next().is_none() {
                continue;
            }
            let target = group_target(group);
            if !self.wanted(&target, group.attributes(), &[], false)? {
                continue;
            }
            let mut relative = false;
            for coap in self.memberships.groups_of(group.id()) {
                match self.hosting(coap) {
                    Hosting::Here if relative => {}
                    Hosting::Here => {
                        relative = true;
                        self.link(&target, group.attributes(), &[], false)?;
                    }
                    Hosting::Elsewhere => {
                        let mut absolute = String::new();
                        write!(absolute, "coap://{}{target}", coap.authority())?;
                        self.link(&absolute, group.attributes(), &[], false)?;
                    }
                    Hosting::NotAsked => {}
                }
            }
        }
        Ok(())
    }

    /// The listed resources.
    fn resources(&mut self) -> fmt::Result {
        for (_, entry) in self.resources.iter() {
            if !entry.resource.listed || entry.resource.host.as_deref() != self.query.host {
                continue;
            }
            let resource = &entry.resource;
            if entry.groups.is_empty() {
                let path = || resource.path.iter().map(String::as_str);
                self.resource(path, entry)?;
                continue;
            }
            // A resource of several groups whose names are not part of the path has one link.
            let mut plain = false;
            for id in &entry.groups {
                let Some(group) = self.memberships.application(*id) else {
                    continue;
                };
                if group.naming().path_prefix().is_none() && core::mem::replace(&mut plain, true) {
                    continue;
                }
                let prefix = || in_path(group).then(|| group.naming().group_path(group.name()));
                let path = || {
                    prefix()
                        .into_iter()
                        .flatten()
                        .chain(resource.path.iter().map(String::as_str))
                };
                self.resource(path, entry)?;
            }
        }
        Ok(())
    }

    /// One resource at one path.
    fn resource<'p, I>(&mut self, path: impl Fn() -> I, entry: &Entry) -> fmt::Result
    where
        I: Iterator<Item = &'p str>,
    {
        let resource = &entry.resource;
        if let Some(below) = self.query.below {
            let mut rest = path();
            let inside = below
                .resource
                .path
                .iter()
                .all(|segment| rest.next() == Some(segment));
            if !inside || rest.next().is_none() {
                return Ok(());
            }
        }
        if self.top_level && self.has_parent(&path) {
            return Ok(());
        }
        let mut target = String::new();
        write_path(&mut target, path())?;
        let marked = (self.query.is_marked)(resource);
        let (attributes, formats) = (&resource.attributes, &resource.produces);
        if self.wanted(&target, attributes, formats, marked)? {
            self.link(&target, attributes, formats, marked)?;
        }
        Ok(())
    }

    /// Is a resource or application group listed at a path that this one continues?
    fn has_parent<'p, I>(&self, path: impl Fn() -> I) -> bool
    where
        I: Iterator<Item = &'p str>,
    {
        let length = path().count();
        let listed = |length: usize| {
            let bytes: Vec<&[u8]> = path().take(length).map(str::as_bytes).collect();
            let host = self.query.host.map(str::as_bytes);
            let found = self.resources.find(host, bytes.iter().copied(), |entry| {
                entry.resource.listed && entry.groups.is_empty()
            });
            found.is_some()
        };
        let in_group = |group: &ApplicationGroup| {
            let mut rest = path();
            in_path(group)
                && group
                    .naming()
                    .group_path(group.name())
                    .all(|segment| rest.next() == Some(segment))
                && rest.next().is_some()
        };
        (1..length).any(listed) || self.memberships.applications().any(in_group)
    }

    /// Where a CoAP group is, seen from where the request came to.
    fn hosting(&self, coap: &CoapGroup) -> Hosting {
        match self.query.coap {
            None if coap.address().port() == self.query.port => Hosting::Here,
            None => Hosting::Elsewhere,
            Some(asked) if asked.id() == coap.id() => Hosting::Here,
            Some(asked) if antiphon_wire::group::all_coap_nodes(asked.address().ip()) => {
                Hosting::Elsewhere
            }
            Some(_) => Hosting::NotAsked,
        }
    }

    /// Does the link pass every filter? They look at the path, whatever authority is put before it.
    fn wanted(
        &mut self,
        target: &str,
        attributes: &Attributes,
        formats: &[ContentFormat],
        marked: bool,
    ) -> Result<bool, fmt::Error> {
        let mut filters = self.query.filters().peekable();
        if filters.peek().is_none() {
            return Ok(true);
        }
        self.scratch.clear();
        write_link(
            &mut LinkWriter::new(&mut *self.scratch),
            target,
            attributes,
            formats,
            marked,
        )?;
        let link = LinkFormat::parse(self.scratch.as_str()).next();
        Ok(link
            .is_some_and(|link| link.is_ok_and(|link| filters.all(|filter| filter.matches(&link)))))
    }

    fn link(
        &mut self,
        target: &str,
        attributes: &Attributes,
        formats: &[ContentFormat],
        marked: bool,
    ) -> fmt::Result {
        write_link(&mut self.out, target, attributes, formats, marked)
    }
}

/// Where a CoAP group is, seen from where the request came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hosting {
    /// At the endpoint that was asked: a relative link does.
    Here,
    /// At another endpoint of this server.
    Elsewhere,
    /// The request was sent to one group and asks for the application groups of that one.
    NotAsked,
}

fn in_path(group: &ApplicationGroup) -> bool {
    group.naming().path_prefix().is_some()
}

/// The path and query of an application group's own resource.
fn group_target(group: &ApplicationGroup) -> String {
    let mut target = String::new();
    let _ = write_path(&mut target, group.naming().group_path(group.name()));
    match group.naming() {
        Naming::QueryName => {
            target.push('?');
            let _ = write_encoded(&mut target, group.name());
        }
        Naming::Query { indicator } => {
            target.push('?');
            let _ = write_encoded(&mut target, indicator);
            target.push('=');
            let _ = write_encoded(&mut target, group.name());
        }
        _ => {}
    }
    target
}

fn write_path<'p>(out: &mut String, path: impl Iterator<Item = &'p str>) -> fmt::Result {
    let start = out.len();
    for segment in path {
        out.push('/');
        write_encoded(out, segment)?;
    }
    if out.len() == start {
        out.push('/');
    }
    Ok(())
}

/// Writes a segment or query item, what has a meaning of its own in a URI percent-encoded (RFC 3986 section 3.3).
fn write_encoded(out: &mut String, text: &str) -> fmt::Result {
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'!'
                    | b'$'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b':'
                    | b'@'
                    | b'='
            );
        match plain {
            true => out.push(char::from(byte)),
            false => write!(out, "%{byte:02X}")?,
        }
    }
    Ok(())
}

fn write_link(
    out: &mut LinkWriter<impl fmt::Write>,
    target: &str,
    attributes: &Attributes,
    formats: &[ContentFormat],
    marked: bool,
) -> fmt::Result {
    out.link(target)?;
    let marked = marked || attributes.get(GOSC).is_some();
    for (name, value) in attributes.iter() {
        if marked && matches!(name, GOSC | OSC) {
            continue; // they stand at the end: once, together and without values
        }
        match value {
            Some(value) => out.attribute(name, value)?,
            None => out.flag(name)?,
        };
    }
    if !formats.is_empty() && attributes.get("ct").is_none() {
        let mut list = String::new();
        for (at, format) in formats.iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            write!(list, "{space}{}", format.0)?;
        }
        out.attribute("ct", &list)?;
    }
    if marked {
        // draft-ietf-core-oscore-groupcomm-28 section 11: for those who know OSCORE alone, `osc` as well.
        out.flag(GOSC)?.flag(OSC)?;
    }
    Ok(())
}

/// A payload as a place to write text to.
struct Payload<'a>(&'a mut Vec<u8>);

impl fmt::Write for Payload<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
