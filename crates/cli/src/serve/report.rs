//! What a configuration opens to whom, and what in it deserves a second look.

use std::collections::BTreeMap;
use std::net::IpAddr;

use antiphon::BlockSize;
use antiphon_wire::Scope;
use serde_json::json;

use super::config::{Access, Allow, Config, GroupAddress, OnGroup, Resource, Source, class_name};
use super::leisure;
use crate::render;
use crate::table::{Align, Cell, Table, Tone};
use crate::terminal::{self, Style};

/// Answers to group requests larger than 5 % of an MTU of 1280 are not sent whole by default.
const DEFAULT_ANSWER_LIMIT: usize = 64;

/// The remarks, in the order of the file.
pub(crate) fn remarks(config: &Config) -> Vec<String> {
    let mut remarks = Vec::new();
    groups(config, &mut remarks);
    for resource in &config.resources {
        resource_remarks(config, resource, &mut remarks);
    }
    for images in &config.images {
        let path = terminal::line(&config.path_in(images.application, &images.path));
        if images.access == Access::Unsecured {
            remarks.push(match images.trusted_key {
                Some(_) => format!("{path} takes blocks of images from anyone on the network: anyone can spoil one on its way"),
                None => format!("{path} takes images from anyone on the network"),
            });
        }
        if images.kind.is_none() {
            remarks.push(format!("{path} takes images for any kind of device"));
        }
    }
    let some_support = !config.images.is_empty()
        || config
            .resources
            .iter()
            .any(|r| r.on_group != OnGroup::Ignore);
    if !config.groups.is_empty() && !some_support {
        remarks.push(
            "no resource takes requests through a group (on-group): only discovery answers there"
                .into(),
        );
    }
    remarks
}

fn groups(config: &Config, remarks: &mut Vec<String>) {
    let mut ports: BTreeMap<IpAddr, Vec<u16>> = BTreeMap::new();
    for group in &config.groups {
        let name = terminal::line(&group.name);
        for by in &group.secured_by {
            if !has_keys_of(config, by.as_str()) {
                remarks.push(format!(
                    "{name} is protected by {}, and no file of [server] group has its keys: no request to it can be opened",
                    terminal::line(by.as_str())
                ));
            }
        }
        if group.secured_by.is_empty() {
            remarks.push(format!(
                "{name} is not protected: anyone can forge requests, and aim all members' answers at a victim"
            ));
        }
        if group.interfaces.is_empty() && config.server.interfaces.is_empty() {
            remarks.push(format!(
                "{name} names no interface: the operating system chooses one"
            ));
        }
        if group.name.eq_ignore_ascii_case("nosec") {
            remarks.push(format!(
                "{name} as a name suggests that no security were a kind of security"
            ));
        }
        match &group.address {
            GroupAddress::Name { host, .. } => {
                remarks.push(format!(
                    "{host} must be resolved at the start; an address needs no resolver"
                ));
            }
            GroupAddress::Literal(address) => {
                ports.entry(address.ip()).or_default().push(address.port());
                if let IpAddr::V6(ip) = address.ip()
                    && Scope::of(ip) == Some(Scope::Organisation)
                {
                    remarks.push(format!("{name} reaches the whole organisation"));
                }
                let own_port = config
                    .server
                    .listen
                    .iter()
                    .any(|own| own.port() == address.port());
                if !own_port {
                    remarks.push(format!(
                        "{name} uses port {}, on which the server does not listen: answers come from another port",
                        address.port()
                    ));
                }
            }
        }
    }
    for (address, ports) in ports {
        if ports.len() > 1 {
            remarks.push(format!(
                "{address} carries {} groups on different ports: each member takes in and discards the others' traffic",
                ports.len()
            ));
        }
    }
}

fn resource_remarks(config: &Config, resource: &Resource, remarks: &mut Vec<String>) {
    let path = terminal::line(&config.full_path(resource));
    let writes = resource.writable && resource.access == Access::Unsecured;
    match resource.access {
        Access::Verified if !names_security_group(config) => remarks.push(format!(
            "{path} is for proven senders only, and no security group is named (secured-by): nobody can use it"
        )),
        Access::Verified => {}
        Access::Public => remarks.push(format!("{path} can be read by anyone on the network")),
        Access::Unsecured if resource.writable => {
            remarks.push(format!(
                "{path} can be read and changed by anyone on the network"
            ));
        }
        Access::Unsecured => remarks.push(format!("{path} can be read by anyone on the network")),
    }
    if resource.access != Access::Verified && matches!(resource.source, Source::Command(_)) {
        let input = if writes {
            ", with input of their choice"
        } else {
            ""
        };
        remarks.push(format!(
            "{path} lets anyone on the network start a program{input}"
        ));
    }
    if writes && matches!(resource.source, Source::File(_)) {
        remarks.push(format!("{path} lets anyone on the network replace a file"));
    }
    let used = |group: usize| {
        config
            .applications
            .iter()
            .any(|a| a.groups.contains(&group))
    };
    if resource.on_group != OnGroup::Ignore
        && resource.application.is_none()
        && !config.groups.is_empty()
        && (0..config.groups.len()).all(used)
    {
        remarks.push(format!(
            "{path} belongs to no application group, and application groups use every group here: it is never reached through one"
        ));
    }
    if resource.on_group == OnGroup::Respond {
        let limit = resource
            .limit
            .or(config.server.group_answer_limit)
            .unwrap_or(DEFAULT_ANSWER_LIMIT);
        if let Source::Fixed(value) = &resource.source
            && value.len() > limit
        {
            let then = match BlockSize::at_most(limit) {
                Some(_) => {
                    "members send the first block of it, and the rest is fetched from each by unicast"
                }
                None => "and no block is as small, so that it is asked in vain",
            };
            remarks.push(format!(
                "{path} has {} bytes, more than the {limit} that an answer to a group may have: {then}",
                value.len()
            ));
        }
        if resource.limit.is_some_and(|limit| limit > 1_024) {
            remarks.push(format!("{path} allows answers that do not fit one packet"));
        }
        let spreads = leisure::spreads(config, resource);
        if spreads.iter().any(|spread| spread.time.is_zero()) {
            remarks.push(format!(
                "{path} has no leisure: all members answer at the same moment"
            ));
        }
    }
}

/// Does anything here say under which security groups it is used?
fn has_keys_of(config: &Config, name: &str) -> bool {
    let held = config.security.iter().flat_map(|file| &file.holds);
    held.into_iter().any(|one| one.is_group && one.name == name)
}

fn names_security_group(config: &Config) -> bool {
    config.security.iter().any(|file| !file.holds.is_empty())
        || config.groups.iter().any(|g| !g.secured_by.is_empty())
        || config.applications.iter().any(|a| !a.secured_by.is_empty())
        || config.resources.iter().any(|r| !r.secured_by.is_empty())
}

/// Each permission: the methods and for whom.
fn permissions(resource: &Resource) -> Vec<String> {
    let whom = |allow: &Allow| match &allow.members {
        None => "every proven sender".to_owned(),
        Some(members) => {
            let names: Vec<_> = members.iter().map(|m| terminal::line(&m.name)).collect();
            names.join(", ")
        }
    };
    let methods = |allow: &Allow| {
        let names: Vec<_> = allow.methods.iter().filter_map(|m| m.name()).collect();
        names.join(" ")
    };
    let line = |allow: &Allow| format!("{}: {}", methods(allow), whom(allow));
    resource.allow.iter().map(line).collect()
}

fn access_name(access: Access) -> &'static str {
    match access {
        Access::Verified => "verified",
        Access::Public => "public",
        Access::Unsecured => "unsecured",
    }
}

fn source_name(source: &Source) -> String {
    match source {
        Source::Fixed(bytes) => format!("value, {} bytes", bytes.len()),
        Source::File(path) => format!("file {}", terminal::line(&path.display().to_string())),
        Source::Command(words) => format!(
            "command {}",
            terminal::line(words.first().map_or("", String::as_str))
        ),
        Source::Counter(_) => "counter".into(),
    }
}

fn group_name(config: &Config, resource: &Resource) -> String {
    match resource.on_group {
        OnGroup::Ignore => "ignored".into(),
        OnGroup::Silent => "silent".into(),
        OnGroup::Respond => {
            let mut text = format!(
                "answers in {}",
                leisure::text(&leisure::spreads(config, resource))
            );
            if !resource.suppress.is_empty() {
                let names: Vec<&str> = resource.suppress.iter().map(|c| class_name(*c)).collect();
                text.push_str(&format!(", not {}", names.join(" ")));
            }
            text
        }
    }
}

/// The report as text.
pub(crate) fn as_text(config: &Config, style: Style) -> String {
    let mut out = String::new();
    let listen: Vec<String> = config
        .server
        .listen
        .iter()
        .map(ToString::to_string)
        .collect();
    out.push_str(&format!(
        "{}  {}\n",
        style.bold("listens on"),
        listen.join(", ")
    ));
    for file in &config.security {
        for one in &file.holds {
            let what = match one.is_group {
                true => format!("with {} other members", one.members.len()),
                false => "an OSCORE context".into(),
            };
            out.push_str(&format!(
                "{}    {}, {what}, from {}\n",
                style.bold("security"),
                terminal::line(&one.name),
                terminal::line(&file.path.display().to_string())
            ));
        }
    }
    for group in &config.groups {
        let on = match group.interfaces.as_slice() {
            [] if !config.server.interfaces.is_empty() => config.server.interfaces.join(", "),
            [] => "an interface that the system chooses".into(),
            some => some.join(", "),
        };
        out.push_str(&format!(
            "{}       {} at {} on {}\n",
            style.bold("group"),
            terminal::line(&group.name),
            group.address,
            terminal::line(&on)
        ));
    }
    let columns = [
        ("resource", Align::Left, 0),
        ("access", Align::Left, 0),
        ("methods", Align::Left, 0),
        ("through a group", Align::Left, 0),
        ("from", Align::Left, 0),
    ];
    let images = config.images.iter().map(|images| {
        let tone = match images.access {
            Access::Verified => Tone::Good,
            Access::Public | Access::Unsecured => Tone::Warn,
        };
        let kind = images
            .kind
            .as_ref()
            .map(|kind| format!(" for {}", terminal::line(kind)));
        [
            Cell::new(terminal::line(
                &config.path_in(images.application, &images.path),
            )),
            Cell::toned(access_name(images.access), tone),
            Cell::new("GET POST, PUT below"),
            Cell::new("takes images"),
            Cell::new(format!("images{}", kind.unwrap_or_default())),
        ]
    });
    let rows: Vec<[Cell; 5]> = config
        .resources
        .iter()
        .map(|resource| {
            let tone = match resource.access {
                Access::Verified => Tone::Good,
                Access::Public | Access::Unsecured => Tone::Warn,
            };
            [
                Cell::new(terminal::line(&config.full_path(resource))),
                Cell::toned(access_name(resource.access), tone),
                Cell::new(uses(resource)),
                Cell::new(group_name(config, resource)),
                Cell::new(source_name(&resource.source)),
            ]
        })
        .chain(images)
        .collect();
    out.push('\n');
    out.push_str(&Table::new(&columns, style, None).whole(0, &rows));
    for resource in &config.resources {
        for permission in permissions(resource) {
            let path = terminal::line(&config.full_path(resource));
            out.push_str(&format!("{} {path}  {permission}\n", style.bold("allowed")));
        }
    }
    let remarks = remarks(config);
    if !remarks.is_empty() {
        out.push_str(&format!("\n{}\n", style.bold("worth a second look")));
        for remark in remarks {
            out.push_str(&format!("  - {remark}\n"));
        }
    }
    out
}

/// The methods that a resource takes.
pub(crate) fn methods(resource: &Resource) -> Vec<&'static str> {
    match (&resource.source, resource.writable) {
        (_, false) => vec!["GET"],
        (Source::Counter(_) | Source::Command(_), true) => vec!["GET", "PUT", "POST"],
        (_, true) => vec!["GET", "PUT"],
    }
}

/// The methods, and whether GET may observe.
fn uses(resource: &Resource) -> String {
    let methods = methods(resource).join(" ");
    match resource.observable {
        true => methods.replacen("GET", "GET+observe", 1),
        false => methods,
    }
}

/// The report as one JSON object.
pub(crate) fn as_json(config: &Config) -> serde_json::Value {
    let resources: Vec<serde_json::Value> = config
        .resources
        .iter()
        .map(|resource| {
            let spreads = match resource.on_group {
                OnGroup::Respond => leisure::spreads(config, resource),
                OnGroup::Ignore | OnGroup::Silent => Vec::new(),
            };
            json!({
                "path": config.full_path(resource),
                "access": access_name(resource.access),
                "methods": methods(resource),
                "allow": permissions(resource),
                "on_group": match resource.on_group {
                    OnGroup::Ignore => "ignore",
                    OnGroup::Silent => "silent",
                    OnGroup::Respond => "respond",
                },
                "observable": resource.observable,
                "notify_every_ms": resource.notify_every.map(|every| every.as_millis() as u64),
                "content_format": render::format_name(resource.format),
                "leisure_ms": spreads.iter().map(|spread| spread.time.as_millis() as u64).max(),
                "leisures": spreads.iter().map(|spread| json!({
                    "group": spread.group, "security": spread.security, "leisure_ms": spread.time.as_millis() as u64,
                })).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "listen": config.server.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "groups": config.groups.iter().map(|g| json!({"name": g.name, "address": g.address.to_string(), "interfaces": g.interfaces})).collect::<Vec<_>>(),
        "resources": resources,
        "images": config.images.iter().map(|images| json!({
            "path": config.path_in(images.application, &images.path), "access": access_name(images.access), "kind": images.kind,
            "max_size": images.max_size, "signed": images.trusted_key.is_some(),
        })).collect::<Vec<_>>(),
        "remarks": remarks(config),
    })
}

#[cfg(test)]
mod tests {
    use super::super::config::parse_for_test;
    use super::*;

    #[test]
    fn points_at_what_is_open() {
        let config = parse_for_test(
            r#"
[server]
listen = ["10.0.0.7:5683"]
unsecured = true
[[group]]
name = "nosec"
address = "[ff08::1]:5690"
unsecured = true
[[group]]
address = "[ff08::1]:5691"
interfaces = ["eth0"]
unsecured = true
[[group]]
address = "grp.example"
interfaces = ["eth0"]
unsecured = true
[[resource]]
path = "/secret"
value = "x"
[[resource]]
path = "/run"
command = ["make-coffee"]
access = "unsecured"
writable = true
on-group = "respond"
leisure = "0"
[[resource]]
path = "/big"
value = "0123456789012345678901234567890123456789012345678901234567890123456789"
access = "public"
on-group = "respond"
[[resource]]
path = "/state"
file = "state"
access = "unsecured"
writable = true
"#,
        );
        let all = remarks(&config).join("\n");
        for remark in [
            "nosec is not protected: anyone can forge requests",
            "nosec names no interface",
            "nosec as a name",
            "nosec reaches the whole organisation",
            "nosec uses port 5690, on which the server does not listen",
            "ff08::1 carries 2 groups on different ports",
            "grp.example must be resolved",
            "/secret is for proven senders only",
            "/run can be read and changed by anyone",
            "/run lets anyone on the network start a program, with input of their choice",
            "/run has no leisure",
            "/big has 70 bytes, more than the 64 that an answer to a group may have: members send the first block of it",
            "/big can be read by anyone",
            "/state lets anyone on the network replace a file",
        ] {
            assert!(all.contains(remark), "{remark:?} is not in:\n{all}");
        }
        assert!(!all.contains("in vain"), "{all}");
        assert!(!all.contains("no resource takes requests"));
        let json = as_json(&config);
        assert_eq!(
            json["resources"][1]["methods"],
            json!(["GET", "PUT", "POST"])
        );
        assert_eq!(json["resources"][1]["leisure_ms"], 0);
        assert_eq!(json["resources"][2]["leisure_ms"], 5000);
        assert_eq!(json["resources"][3]["leisure_ms"], json!(null));
        assert_eq!(json["resources"][3]["on_group"], "ignore");
        let text = as_text(&config, Style::PLAIN);
        assert!(
            text.contains("/run      unsecured  GET PUT POST  answers in 0 ms"),
            "{text}"
        );
    }

    #[test]
    fn the_leisure_of_each_group_is_stated() {
        let config = parse_for_test(
            r#"
[server]
unsecured = true
discoverable = "groups"
leisure = "1s"
[[group]]
name = "floor"
address = "239.0.0.1"
leisure = "500ms"
unsecured = true
[[group]]
name = "hall"
address = "239.0.0.2"
unsecured = true
[[resource]]
path = "/x"
value = "0123456789012345"
access = "public"
on-group = "respond"
limit = 15
"#,
        );
        let text = as_text(&config, Style::PLAIN);
        let row =
            "/x        public  GET      answers in 500 ms by floor, 1 s by hall  value, 16 bytes";
        assert!(text.contains(row), "{text}");
        // The smallest block has 16 bytes.
        assert!(text.contains("so that it is asked in vain"), "{text}");
        let resource = &as_json(&config)["resources"][0];
        assert_eq!(resource["leisure_ms"], 1_000);
        assert_eq!(
            resource["leisures"],
            json!([
                {"group": "floor", "security": null, "leisure_ms": 500},
                {"group": "hall", "security": null, "leisure_ms": 1_000},
            ])
        );
    }

    #[test]
    fn who_may_do_what_is_shown() {
        let config = parse_for_test(
            r#"
[[group]]
address = "239.0.0.1"
interfaces = ["lo"]
secured-by = ["floor"]
[[member]]
name = "switch"
security-group = "floor"
credential = "a0"
[[member]]
name = "panel"
security-group = "floor"
credential = "a1"
[[resource]]
path = "/light"
value = "off"
writable = true
on-group = "respond"
allow = [{ methods = ["GET"] }, { methods = ["GET", "PUT"], members = ["switch", "panel"] }]
"#,
        );
        let text = as_text(&config, Style::PLAIN);
        for line in [
            "allowed /light  GET: every proven sender\n",
            "allowed /light  GET PUT: switch, panel\n",
        ] {
            assert!(text.contains(line), "{line:?} is not in:\n{text}");
        }
        assert_eq!(
            as_json(&config)["resources"][0]["allow"],
            json!(["GET: every proven sender", "GET PUT: switch, panel"])
        );
        // Nothing is open; the keys are still missing.
        assert_eq!(
            remarks(&config),
            [
                "239.0.0.1:5683 is protected by floor, and no file of [server] group has its keys: no request to it can be opened"
            ]
        );
        let of_resource = "[[resource]]\npath = \"/x\"\ncounter = 0\nsecured-by = [\"floor\"]\n";
        assert_eq!(remarks(&parse_for_test(of_resource)), Vec::<String>::new());
        let unused = parse_for_test("[[resource]]\npath = \"/x\"\ncounter = 0\n");
        assert_eq!(
            remarks(&unused),
            [
                "/x is for proven senders only, and no security group is named (secured-by): nobody can use it"
            ]
        );
    }

    #[test]
    fn a_quiet_configuration_gets_no_remark_but_the_needed_one() {
        let config = parse_for_test(
            "[server]\nunsecured=true\n[[resource]]\npath = \"/x\"\ncounter = 0\naccess = \"public\"\n",
        );
        assert_eq!(
            remarks(&config),
            ["/x can be read by anyone on the network"]
        );
        let grouped = parse_for_test(
            "[server]\nunsecured=true\n[[group]]\naddress=\"224.0.1.187\"\ninterfaces=[\"lo\"]\nunsecured=true\n[[resource]]\npath = \"/x\"\ncounter = 0\naccess = \"public\"\n",
        );
        let remarks = remarks(&grouped);
        assert_eq!(remarks.len(), 3, "{remarks:?}");
        assert!(remarks[2].starts_with("no resource takes requests through a group"));
    }

    #[test]
    fn a_resource_outside_of_the_application_groups_is_pointed_at() {
        let remarks_of = |resource: &str, more: &str| {
            let config = parse_for_test(&format!(
                "[server]\nunsecured=true\n[[group]]\nname=\"g\"\naddress=\"239.255.0.1\"\ninterfaces=[\"lo\"]\nunsecured=true\n{more}\
                 [[application-group]]\nname=\"a\"\ngroups=[\"g\"]\n\
                 [[resource]]\npath = \"/x\"\ncounter = 0\naccess = \"public\"\non-group=\"silent\"\n{resource}"
            ));
            remarks(&config).join("\n")
        };
        let remark = "/x belongs to no application group";
        assert!(remarks_of("", "").contains(remark));
        assert!(!remarks_of("application-group=\"a\"\n", "").contains(remark));
        let plain = "[[group]]\naddress=\"239.255.0.2\"\ninterfaces=[\"lo\"]\nunsecured=true\n";
        assert!(!remarks_of("", plain).contains(remark));
    }
}
