//! What can be reached without security.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::{Discoverable, Server, path_text};
use crate::policy::Access;
use crate::resource::{Methods, ResourceId};

/// One resource that is reachable without security, for the report on policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSecResource {
    /// The resource.
    pub resource: ResourceId,
    /// Its path.
    pub path: String,
    /// What it states.
    pub access: Access,
    /// The methods that anyone may use.
    pub methods: Methods,
    /// Are they reachable through groups too? Then one forged request calls forth the answers of all members.
    pub through_groups: bool,
}

/// The warning that belongs to it, for whoever shows it.
impl fmt::Display for NoSecResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is open to anyone for", self.path)?;
        for (at, method) in self.methods.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma} {}", method.name().unwrap_or_default())?;
        }
        if self.through_groups {
            f.write_str(", through groups too: a forged request turns the amplified answers of all members against a victim")?;
        }
        Ok(())
    }
}

impl Server {
    /// Every resource that can be reached without security as the server is set up now, discovery included.
    pub fn nosec_report(&self) -> Vec<NoSecResource> {
        let mut report = Vec::new();
        for (id, entry) in self.resources.iter() {
            let resource = &entry.resource;
            let discovery = self.discovery == Some(id);
            let mut methods = Methods::NONE;
            for method in resource
                .methods
                .iter()
                .filter(|method| self.allows_nosec(discovery, &resource.access, *method))
            {
                methods = methods | Methods::one(method);
            }
            let offered = !discovery || self.config.discoverable != Discoverable::Off;
            if offered && !methods.is_empty() {
                report.push(NoSecResource {
                    resource: id,
                    path: path_text(&resource.path),
                    access: if discovery {
                        Access::Public
                    } else {
                        resource.access.clone()
                    },
                    methods,
                    through_groups: resource.group_policy.is_supported(),
                });
            }
        }
        report
    }
}
