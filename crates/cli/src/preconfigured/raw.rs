//! The file as it stands, before it is checked. Every key is named here, and no other is accepted.

use serde::Deserialize;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawFile {
    pub(super) group: Option<Spanned<RawGroup>>,
    pub(super) me: Option<Spanned<RawMe>>,
    #[serde(default)]
    pub(super) member: Vec<Spanned<RawMember>>,
    pub(super) oscore: Option<Spanned<RawPair>>,
}

/// What may be a secret is a [`toml::Value`]: a message about a wrong type would show it.
pub(super) type RawSecret = Spanned<toml::Value>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawGroup {
    pub(super) name: Spanned<String>,
    pub(super) gid: Spanned<String>,
    #[serde(default)]
    pub(super) generation: u64,
    pub(super) master_secret: RawSecret,
    pub(super) master_salt: Option<RawSecret>,
    pub(super) algorithms: Option<Spanned<RawAlgorithms>>,
    pub(super) manager_credential: Option<Spanned<String>>,
    pub(super) credential_format: Option<Spanned<String>>,
    /// What is known of the network between the members.
    pub(super) link: Option<Spanned<String>>,
}

/// Names or numbers of the COSE registry; `none` for what the group does not use.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawAlgorithms {
    pub(super) aead: Option<Spanned<toml::Value>>,
    pub(super) group_encryption: Option<Spanned<toml::Value>>,
    pub(super) hkdf: Option<Spanned<toml::Value>>,
    pub(super) signature: Option<Spanned<toml::Value>>,
    pub(super) key_agreement: Option<Spanned<toml::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawMe {
    pub(super) sender_id: Spanned<String>,
    pub(super) credential: Spanned<String>,
    pub(super) key_file: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawMember {
    pub(super) sender_id: Spanned<String>,
    pub(super) credential: Spanned<String>,
    pub(super) subject: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawPair {
    pub(super) name: Spanned<String>,
    pub(super) master_secret: RawSecret,
    pub(super) master_salt: Option<RawSecret>,
    pub(super) id_context: Option<Spanned<String>>,
    pub(super) sender_id: Spanned<String>,
    pub(super) recipient_id: Spanned<String>,
    pub(super) hkdf: Option<Spanned<toml::Value>>,
    pub(super) aead: Option<Spanned<toml::Value>>,
}
