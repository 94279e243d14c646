//! Who may use a resource: members, permissions, and the security groups of a resource.

use antiphon::{Access as NetAccess, Identity, Methods, Permissions, SecurityGroupName};
use antiphon_wire::Code;
use serde::Deserialize;
use toml::Spanned;

use super::raw::{RawAllow, RawMember};
use super::{ConfigError, Lines};
use crate::hex;
use crate::terminal::quoted;

/// Who may use a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Access {
    /// Proven senders only.
    #[default]
    Verified,
    /// Anyone may read.
    Public,
    /// Anyone may do everything.
    Unsecured,
}

/// A member of a security group, by the name that permissions use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) identity: Identity,
}

/// A permission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allow {
    pub(crate) methods: Methods,
    /// `None`: every proven sender.
    pub(crate) members: Option<Vec<Member>>,
}

/// The access to a resource as the library takes it.
pub(crate) fn net_access(access: Access, allow: &[Allow]) -> NetAccess {
    match access {
        Access::Verified if allow.is_empty() => NetAccess::Verified,
        Access::Public => NetAccess::Public,
        Access::Unsecured => NetAccess::Unsecured,
        Access::Verified => NetAccess::Only(allow.iter().fold(
            Permissions::none(),
            |permissions, allow| match &allow.members {
                None => permissions.grant_all(allow.methods),
                Some(members) => {
                    let members = members.iter().map(|member| member.identity.clone());
                    permissions.grant(allow.methods, members)
                }
            },
        )),
    }
}

/// The members that the file names.
pub(super) fn members(
    raw: &[Spanned<RawMember>],
    lines: Lines<'_>,
) -> Result<Vec<Member>, ConfigError> {
    let mut members: Vec<Member> = Vec::new();
    for entry in raw {
        let raw = entry.get_ref();
        let name = raw.name.get_ref();
        if name.is_empty() {
            return lines.fail(raw.name.span().start, "the name is empty");
        }
        if members.iter().any(|other| other.name == *name) {
            return lines.fail(
                entry.span().start,
                format!("a second member {}", quoted(name)),
            );
        }
        let group = security_group(&raw.security_group, lines)?;
        let credential = match hex::parse(raw.credential.get_ref()) {
            Ok(bytes) if bytes.is_empty() => {
                return lines.fail(raw.credential.span().start, "the credential is empty");
            }
            Ok(bytes) => bytes,
            Err(error) => return lines.fail(raw.credential.span().start, error.to_string()),
        };
        members.push(Member {
            name: name.clone(),
            identity: Identity::member(group.as_str(), &credential),
        });
    }
    Ok(members)
}

/// The permissions of a resource.
pub(super) fn allow(
    raw: &[Spanned<RawAllow>],
    access: Access,
    members: &[Member],
    lines: Lines<'_>,
) -> Result<Vec<Allow>, ConfigError> {
    if let (Some(first), true) = (raw.first(), access != Access::Verified) {
        return lines.fail(
            first.span().start,
            "permissions have no meaning where access is open: leave it at \"verified\"",
        );
    }
    raw.iter()
        .map(|entry| {
            let raw = entry.get_ref();
            let granted = match &raw.members {
                None => None,
                Some(names) => Some(
                    names
                        .iter()
                        .map(|name| {
                            let known = members.iter().find(|known| known.name == *name.get_ref());
                            known.cloned().map_or_else(
                                || {
                                    let what =
                                        format!("there is no member {}", quoted(name.get_ref()));
                                    lines.fail(name.span().start, what)
                                },
                                Ok,
                            )
                        })
                        .collect::<Result<Vec<Member>, ConfigError>>()?,
                ),
            };
            let methods = match &raw.methods {
                None => Methods::ALL,
                Some(names) => methods(names, lines)?,
            };
            Ok(Allow {
                methods,
                members: granted,
            })
        })
        .collect()
}

/// `GET`, `PUT` and so on.
pub(super) fn methods(names: &[Spanned<String>], lines: Lines<'_>) -> Result<Methods, ConfigError> {
    names.iter().try_fold(Methods::NONE, |all, name| {
        let found = (1..=7)
            .map(Code::from_u8)
            .find(|code| code.name() == Some(name.get_ref()));
        match found {
            Some(code) => Ok(all | Methods::one(code)),
            None => lines.fail(
                name.span().start,
                format!(
                    "{} is no method: GET, POST, PUT, DELETE, FETCH, PATCH or iPATCH",
                    quoted(name.get_ref())
                ),
            ),
        }
    })
}

/// The names of security groups.
pub(super) fn security_groups(
    names: &[Spanned<String>],
    lines: Lines<'_>,
) -> Result<Vec<SecurityGroupName>, ConfigError> {
    names
        .iter()
        .map(|name| security_group(name, lines))
        .collect()
}

fn security_group(
    name: &Spanned<String>,
    lines: Lines<'_>,
) -> Result<SecurityGroupName, ConfigError> {
    SecurityGroupName::new(name.get_ref().as_str())
        .or_else(|error| lines.fail(name.span().start, error.to_string()))
}
