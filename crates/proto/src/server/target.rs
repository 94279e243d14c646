//! Which resource a request is for: Uri-Host, path and application group.

use super::Server;
use super::disposition::SilenceReason;
use crate::membership::{
    ApplicationGroup, ApplicationGroupId, CoapGroup, Named, RequestUri, literal,
};
use crate::resource::{Entry, ResourceId};

/// Where a request leads.
pub(super) enum Target {
    Found {
        id: ResourceId,
        application: Option<ApplicationGroupId>,
    },
    NotFound,
    Silence(SilenceReason),
}

impl Server {
    /// Which resource a request is for, and in which application group.
    pub(super) fn target(
        &self,
        coap: Option<&CoapGroup>,
        uri: &RequestUri<'_>,
        host: Option<&[u8]>,
    ) -> Target {
        let Ok(host) = self.virtual_server(coap, uri, host) else {
            return Target::NotFound;
        };
        let find = |skip: usize, accept: &dyn Fn(&Entry) -> bool| {
            self.resources.find(host, uri.path().skip(skip), accept)
        };
        let belongs = |entry: &Entry, group: ApplicationGroupId| {
            entry
                .groups
                .iter()
                .any(|id| self.memberships.canonical(*id) == group)
        };
        let free = |entry: &Entry| entry.groups.is_empty();
        let plain = find(0, &free);
        let found = |id: Option<ResourceId>, application: Option<ApplicationGroupId>| match id {
            Some(id) => Target::Found { id, application },
            None => Target::NotFound,
        };
        // Discovery is asked of the server, whatever its groups, and of each virtual server alike.
        let well_known = match host {
            None => plain,
            Some(_) => self.resources.find(None, uri.path(), free),
        };
        if well_known.is_some() && well_known == self.discovery {
            return found(well_known, None);
        }
        let within = |group: &ApplicationGroup| {
            let skip = group.naming().path_prefix().unwrap_or_default();
            find(skip, &|entry| belongs(entry, group.id()))
        };
        let Some(coap) = coap else {
            // By unicast: what the path says; then what lies in a group that the request names, then in any
            // group whose name is not part of the path.
            let groups = || self.memberships.applications();
            let by_name = || {
                groups()
                    .filter(|group| group.naming().matches(group.name(), uri))
                    .find_map(within)
            };
            let by_path = || {
                groups()
                    .filter(|group| group.naming().path_prefix().is_none())
                    .find_map(within)
            };
            return found(plain.or_else(by_name).or_else(by_path), None);
        };
        match self.memberships.named(coap, uri) {
            Named::Unknown => Target::Silence(SilenceReason::UnknownApplicationGroup),
            Named::Group(id) => {
                let group = self.memberships.application(id);
                found(group.and_then(within).or(plain), Some(id))
            }
            Named::Nothing => {
                let implied = || self.memberships.implied(coap);
                let in_implied = implied().find_map(|group| {
                    let id = find(0, &|entry| belongs(entry, group))?;
                    Some((id, Some(group)))
                });
                match in_implied.or_else(|| Some((plain?, implied().next()))) {
                    // GroupComm section 6.3: only resources of the application groups that use the CoAP group.
                    Some((_, None)) if !coap.applications().is_empty() => {
                        Target::Silence(SilenceReason::UnrelatedResource)
                    }
                    Some((id, application)) => Target::Found { id, application },
                    None => Target::NotFound,
                }
            }
        }
    }

    /// The virtual server that Uri-Host asks for: `None` is the server itself, an error none that there is.
    fn virtual_server<'m>(
        &self,
        coap: Option<&CoapGroup>,
        uri: &RequestUri<'_>,
        host: Option<&'m [u8]>,
    ) -> Result<Option<&'m [u8]>, ()> {
        let Some(host) = host.filter(|_| self.resources.virtual_servers > 0) else {
            return Ok(None);
        };
        if self.resources.has_virtual_server(host) {
            return Ok(Some(host));
        }
        let own = literal(host) == Some(uri.destination)
            || coap.is_some_and(|coap| coap.is_named(host))
            || self
                .config
                .names
                .iter()
                .any(|name| name.as_bytes().eq_ignore_ascii_case(host));
        match own {
            true => Ok(None),
            false => Err(()),
        }
    }
}
