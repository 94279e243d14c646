//! Over which time answers to groups are spread, as the server does it: the leisure of the resource, else of the group, else of
//! [server], else the default for the protection of the request (groupcomm-bis-18 section 3.6.1).

use std::time::Duration;

use antiphon::SecurityMode;

use super::config::{Access, Config, Discoverable, Leisure, Resource};
use crate::secured::Glance;
use crate::{duration, terminal};

/// How answers to one kind of request are spread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spread {
    /// The group that the request comes through; `None`: any.
    pub(super) group: Option<String>,
    /// The security group that protects it; `None`: any, or none.
    pub(super) security: Option<String>,
    pub(super) time: Duration,
}

/// A group that requests for a resource come through.
struct Way<'a> {
    name: Option<&'a str>,
    leisure: Option<Duration>,
    secured_by: Vec<&'a str>,
}

impl Leisure {
    /// As the library has it.
    pub(super) fn net(self) -> antiphon::Leisure {
        match self {
            Self::Fixed(time) => antiphon::Leisure::Fixed(time),
            Self::Estimated {
                response_size,
                group_size,
                rate,
            } => antiphon::Leisure::Estimated {
                response_size,
                group_size,
                rate,
            },
        }
    }
}

/// All times over which answers of this resource are spread; never empty.
pub(super) fn spreads(config: &Config, resource: &Resource) -> Vec<Spread> {
    if let Some(own) = resource.leisure {
        return vec![Spread {
            group: None,
            security: None,
            time: own.net().interval(),
        }];
    }
    let mut all = Vec::new();
    for way in ways(config, resource) {
        let stated = way.leisure.or(config.server.leisure);
        let spread = |security: Option<&str>, mode| Spread {
            group: way.name.map(str::to_owned),
            security: security.map(str::to_owned),
            time: match stated {
                Some(time) => antiphon::Leisure::Fixed(time).interval(),
                None => antiphon::Leisure::default_for(mode).interval(),
            },
        };
        if stated.is_some() {
            all.push(spread(None, SecurityMode::NoSec));
            continue;
        }
        let before = all.len();
        if way.secured_by.is_empty() && resource.access != Access::Verified {
            all.push(spread(None, SecurityMode::NoSec));
        }
        for group in paired(config, resource, &way) {
            let mode = match group.has_group_mode {
                true => SecurityMode::Group,
                false => SecurityMode::Pairwise { only: true },
            };
            all.push(spread(Some(&group.name), mode));
        }
        if all.len() == before {
            // Its keys are not here yet.
            all.push(spread(None, SecurityMode::Group));
        }
    }
    all
}

/// The groups that requests for this resource come through: those of its application group, else those that no application
/// group uses, with All CoAP Nodes where these are joined for discovery.
fn ways<'a>(config: &'a Config, resource: &Resource) -> Vec<Way<'a>> {
    let application = resource
        .application
        .and_then(|index| config.applications.get(index));
    let is_used = |group: usize| {
        config
            .applications
            .iter()
            .any(|application| application.groups.contains(&group))
    };
    let reaches = |group: usize| match application {
        Some(application) => application.groups.contains(&group),
        None => !is_used(group),
    };
    let named = config.groups.iter().enumerate();
    let mut ways: Vec<Way<'a>> = named
        .filter(|(index, _)| reaches(*index))
        .map(|(_, group)| Way {
            name: Some(group.name.as_str()),
            leisure: group.leisure,
            secured_by: group.secured_by.iter().map(|name| name.as_str()).collect(),
        })
        .collect();
    let all_nodes = config.server.discoverable == Discoverable::All && application.is_none();
    if all_nodes || ways.is_empty() {
        ways.push(Way {
            name: all_nodes.then_some("All CoAP Nodes"),
            leisure: None,
            secured_by: Vec::new(),
        });
    }
    ways
}

/// The security groups of the files that requests may be protected with.
fn paired<'a>(
    config: &'a Config,
    resource: &'a Resource,
    way: &'a Way<'a>,
) -> impl Iterator<Item = &'a Glance> {
    let application = resource
        .application
        .and_then(|index| config.applications.get(index));
    let own = match (resource.secured_by.as_slice(), application) {
        ([], Some(application)) => application.secured_by.as_slice(),
        (own, _) => own,
    };
    let held = config.security.iter().flat_map(|file| &file.holds);
    held.filter(move |one| {
        let is_one_of_own = own.is_empty() || own.iter().any(|name| name.as_str() == one.name);
        let is_of_way = way.secured_by.is_empty() || way.secured_by.contains(&one.name.as_str());
        one.is_group && is_one_of_own && is_of_way
    })
}

/// The times in words: one alone, or each with the requests that it is for.
pub(super) fn text(spreads: &[Spread]) -> String {
    let mut times: Vec<Duration> = Vec::new();
    for spread in spreads {
        if !times.contains(&spread.time) {
            times.push(spread.time);
        }
    }
    if let [time] = times.as_slice() {
        return duration::show(*time);
    }
    let several_groups = spreads
        .iter()
        .any(|spread| spread.group != spreads.first().and_then(|first| first.group.clone()));
    let label = |spread: &Spread| {
        let mut label = String::new();
        if let Some(group) = spread.group.as_ref().filter(|_| several_groups) {
            label.push_str(&format!(" by {}", terminal::line(group)));
        }
        let differs = spreads
            .iter()
            .any(|other| other.group == spread.group && other.time != spread.time);
        match &spread.security {
            _ if !differs => {}
            Some(security) => label.push_str(&format!(" in {}", terminal::line(security))),
            None => label.push_str(" without security"),
        }
        label
    };
    let parts: Vec<String> = spreads
        .iter()
        .map(|spread| format!("{}{}", duration::show(spread.time), label(spread)))
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::config::{SecurityFile, parse_for_test};
    use super::*;

    /// What is said of the first resource, with security groups of these names; `true`: they have the group mode.
    fn said(text: &str, held: &[(&str, bool)]) -> String {
        let mut config = parse_for_test(text);
        let holds = held.iter().map(|(name, has_group_mode)| Glance {
            name: (*name).to_owned(),
            is_group: true,
            has_group_mode: *has_group_mode,
            members: Vec::new(),
        });
        config.security.push(SecurityFile {
            path: "keys".into(),
            holds: holds.collect(),
        });
        super::text(&spreads(&config, &config.resources[0]))
    }

    const VERIFIED: &str = "[[resource]]\npath = \"/x\"\ncounter = 0\non-group = \"respond\"\n";

    fn group(name: &str, more: &str) -> String {
        format!(
            "[[group]]\nname = \"{name}\"\naddress = \"239.0.0.1:{}\"\n{more}\n",
            6_000 + name.len()
        )
    }

    fn server(more: &str) -> String {
        format!("[server]\ndiscoverable = \"groups\"\n{more}\n")
    }

    #[test]
    fn the_default_is_that_of_the_protection() {
        let secured = group("floor", "secured-by = [\"lights\"]");
        let config = format!("{}{secured}{VERIFIED}", server(""));
        assert_eq!(said(&config, &[("lights", true)]), "20 s");
        assert_eq!(said(&config, &[("lights", false)]), "13 s");
        // A group that the CoAP group is not paired with does not count, nor one whose keys are missing.
        assert_eq!(
            said(&config, &[("lights", false), ("others", true)]),
            "13 s"
        );
        assert_eq!(said(&config, &[]), "20 s");
        let open = group("floor", "unsecured = true");
        let public = "[[resource]]\npath = \"/x\"\ncounter = 0\naccess = \"public\"\non-group = \"respond\"\n";
        let config = format!("{}{open}{public}", server("unsecured = true"));
        assert_eq!(said(&config, &[]), "5 s");
        assert_eq!(
            said(&config, &[("lights", true), ("meters", false)]),
            "5 s without security, 20 s in lights, 13 s in meters"
        );
        let paired = format!("{config}secured-by = [\"meters\"]\n");
        assert_eq!(
            said(&paired, &[("lights", true), ("meters", false)]),
            "5 s without security, 13 s in meters"
        );
        // Who proves nothing gets no answer of it.
        let config = format!("{}{open}{VERIFIED}", server(""));
        assert_eq!(said(&config, &[("lights", true)]), "20 s");
    }

    #[test]
    fn the_resources_own_goes_before_the_groups_and_the_groups_before_the_servers() {
        let own = group("floor", "secured-by = [\"lights\"]\nleisure = \"500ms\"");
        let other = group("hall-1", "secured-by = [\"lights\"]");
        let lights = [("lights", true)];
        let config = format!("{}{own}{VERIFIED}", server("leisure = \"1s\""));
        assert_eq!(said(&config, &lights), "500 ms");
        let config = format!("{}{own}{other}{VERIFIED}", server("leisure = \"1s\""));
        assert_eq!(said(&config, &lights), "500 ms by floor, 1 s by hall-1");
        let config = format!("{}{own}{other}{VERIFIED}", server(""));
        assert_eq!(said(&config, &lights), "500 ms by floor, 20 s by hall-1");
        let config = format!("{config}leisure = \"3s\"\n");
        assert_eq!(said(&config, &lights), "3 s");
        // No interval is longer than an hour, and an estimate is S * G / R.
        let config = config.replace("leisure = \"3s\"", "leisure = \"2h\"");
        assert_eq!(
            said(&config, &lights),
            duration::show(Duration::from_secs(3_600))
        );
        let estimate = "leisure = { response-size = 100, group-size = 50, rate = 1000 }";
        let config = config.replace("leisure = \"2h\"", estimate);
        assert_eq!(said(&config, &lights), "5 s");
    }

    #[test]
    fn only_the_groups_that_reach_the_resource_count() {
        let floor = group("floor", "secured-by = [\"lights\"]\nleisure = \"500ms\"");
        let hall = group("hall-1", "secured-by = [\"lights\"]\nleisure = \"2s\"");
        let application = "[[application-group]]\nname = \"a\"\ngroups = [\"hall-1\"]\n";
        let free = format!("{}{floor}{hall}{application}{VERIFIED}", server(""));
        let lights = [("lights", true)];
        assert_eq!(said(&free, &lights), "500 ms");
        let belonging = format!("{free}application-group = \"a\"\n");
        assert_eq!(said(&belonging, &lights), "2 s");
        // Where All CoAP Nodes are joined for discovery, it is reached through these too.
        let all = free.replace("discoverable = \"groups\"", "leisure = \"1s\"");
        assert_eq!(
            said(&all, &lights),
            "500 ms by floor, 1 s by All CoAP Nodes"
        );
    }
}
