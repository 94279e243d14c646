//! The configuration as it stands in the file, before it is checked. Every key is named here, and no other is accepted.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::{Access, Discoverable, Echo, GroupMode, OnGroup, Profile};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawConfig {
    #[serde(default)]
    pub(super) server: RawServer,
    #[serde(default)]
    pub(super) group: Vec<Spanned<RawGroup>>,
    #[serde(default)]
    pub(super) application_group: Vec<Spanned<RawApplication>>,
    #[serde(default)]
    pub(super) member: Vec<Spanned<RawMember>>,
    #[serde(default)]
    pub(super) resource: Vec<Spanned<RawResource>>,
    #[serde(default)]
    pub(super) images: Vec<Spanned<RawImages>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RawServer {
    pub(super) group: Option<Spanned<RawFiles>>,
    pub(super) listen: Vec<Spanned<String>>,
    pub(super) interfaces: Vec<String>,
    #[serde(rename = "6lowpan")]
    pub(super) sixlowpan: Vec<String>,
    pub(super) discoverable: Discoverable,
    pub(super) profile: Profile,
    pub(super) unsecured: bool,
    pub(super) echo: Echo,
    pub(super) group_mode_by_unicast: GroupMode,
    pub(super) mark_protected: bool,
    pub(super) address_discovery: bool,
    pub(super) leisure: Option<Spanned<String>>,
    pub(super) group_answer_limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawGroup {
    pub(super) name: Option<Spanned<String>>,
    pub(super) address: Spanned<String>,
    #[serde(default)]
    pub(super) interfaces: Vec<String>,
    pub(super) leisure: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) unsecured: bool,
    #[serde(default)]
    pub(super) secured_by: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawMember {
    pub(super) name: Spanned<String>,
    pub(super) security_group: Spanned<String>,
    pub(super) credential: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawAllow {
    pub(super) members: Option<Vec<Spanned<String>>>,
    pub(super) methods: Option<Vec<Spanned<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawApplication {
    pub(super) name: Spanned<String>,
    pub(super) groups: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) naming: RawNaming,
    pub(super) base: Option<String>,
    pub(super) delimiter: Option<String>,
    pub(super) indicator: Option<String>,
    pub(super) domain: Option<String>,
    #[serde(default)]
    pub(super) secured_by: Vec<Spanned<String>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawNaming {
    #[default]
    Path,
    QueryName,
    Query,
    Authority,
    HostLabel,
    Port,
    Implied,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawResource {
    pub(super) path: Spanned<String>,
    pub(super) title: Option<String>,
    #[serde(default)]
    pub(super) rt: Vec<String>,
    #[serde(default, rename = "if")]
    pub(super) interfaces: Vec<String>,
    pub(super) content_format: Option<Spanned<toml::Value>>,
    #[serde(default)]
    pub(super) hidden: bool,
    pub(super) application_group: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) access: Access,
    #[serde(default)]
    pub(super) allow: Vec<Spanned<RawAllow>>,
    #[serde(default)]
    pub(super) secured_by: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) fresh: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) on_group: OnGroup,
    #[serde(default)]
    pub(super) suppress: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) answer: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) consider_no_response: bool,
    pub(super) leisure: Option<Spanned<RawLeisure>>,
    pub(super) limit: Option<usize>,
    pub(super) value: Option<Spanned<String>>,
    pub(super) value_hex: Option<Spanned<String>>,
    pub(super) file: Option<PathBuf>,
    pub(super) command: Option<Vec<String>>,
    pub(super) counter: Option<u64>,
    #[serde(default)]
    pub(super) writable: bool,
    #[serde(default)]
    pub(super) etag: bool,
    #[serde(default)]
    pub(super) observable: bool,
    pub(super) notify_every: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawImages {
    pub(super) path: Spanned<String>,
    pub(super) folder: PathBuf,
    pub(super) kind: Option<String>,
    pub(super) max_size: Option<u64>,
    pub(super) activate: Option<Spanned<Vec<String>>>,
    pub(super) activate_timeout: Option<Spanned<String>>,
    pub(super) trusted_key: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) access: Access,
    #[serde(default)]
    pub(super) allow: Vec<Spanned<RawAllow>>,
    pub(super) secured_by: Option<Spanned<String>>,
    pub(super) application_group: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) newer_wins: bool,
}

/// One file or several.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum RawFiles {
    One(PathBuf),
    Several(Vec<PathBuf>),
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RawLeisure {
    Fixed(String),
    Estimated(RawEstimate),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawEstimate {
    pub(super) response_size: u32,
    pub(super) group_size: u32,
    pub(super) rate: u32,
}
