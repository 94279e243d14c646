//! A resource that takes images: `[[images]]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use antiphon::SecurityGroupName;
use ed25519_dalek::VerifyingKey;
use toml::Spanned;

use super::access::{self, Access, Allow, Member};
use super::raw::RawImages;
use super::{Application, ConfigError, Lines};
use crate::hex;
use crate::terminal::quoted;

/// A resource that takes images which are brought to a whole group.
#[derive(Debug)]
pub(crate) struct Images {
    pub(crate) path: String,
    /// Where they are kept while they come, and afterwards.
    pub(crate) folder: PathBuf,
    /// The type of device that this is; `None`: images for any are taken.
    pub(crate) kind: Option<String>,
    /// The largest content in bytes.
    pub(crate) max_size: u64,
    /// What takes an image into use: a program, its arguments, and then the path of the image. Empty: nothing.
    pub(crate) activate: Vec<String>,
    pub(crate) timeout: Duration,
    /// Announcements must be signed with this key.
    pub(crate) trusted_key: Option<VerifyingKey>,
    pub(crate) access: Access,
    pub(crate) allow: Vec<Allow>,
    /// The security group of those who bring them; `None`: the only one there is.
    pub(crate) secured_by: Option<SecurityGroupName>,
    /// Index into [`Config::applications`](super::Config::applications).
    pub(crate) application: Option<usize>,
    /// A newer version takes the place of one that is still coming.
    pub(crate) newer_wins: bool,
}

const MAX_SIZE: u64 = 16 << 20;
const TIMEOUT: Duration = Duration::from_secs(300);

/// Checks one of them.
pub(super) fn images(
    raw: RawImages,
    at: usize,
    applications: &[Application],
    members: &[Member],
    folder: &Path,
    lines: Lines<'_>,
) -> Result<Images, ConfigError> {
    let path = raw.path.get_ref();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    let segments = || path.split('/').skip(1);
    if !path.starts_with('/') || path == "/" || !path.chars().all(plain) {
        return lines.fail(
            raw.path.span().start,
            format!(
                "{} is no path for images: / and letters, digits, -._~",
                quoted(path)
            ),
        );
    }
    if segments().any(|segment| matches!(segment, "" | "." | "..") || segment.len() > 255) {
        return lines.fail(
            raw.path.span().start,
            "a path segment is empty, . or .. or longer than 255 bytes",
        );
    }
    if raw.access == Access::Public {
        return lines.fail(
            at,
            "images are brought by proven senders (access = \"verified\") or by anyone (\"unsecured\")",
        );
    }
    let known = |name: &Spanned<String>| {
        let found = applications.iter().position(|a| a.name == *name.get_ref());
        found.map_or_else(
            || {
                let what = format!("there is no application group {}", quoted(name.get_ref()));
                lines.fail(name.span().start, what)
            },
            Ok,
        )
    };
    let secured_by = match &raw.secured_by {
        None => None,
        Some(name) => access::security_groups(std::slice::from_ref(name), lines)?.pop(),
    };
    if let Some(program) = &raw.activate
        && program.get_ref().is_empty()
    {
        return lines.fail(program.span().start, "activate names no program");
    }
    let timeout = raw.activate_timeout.as_ref();
    Ok(Images {
        folder: folder.join(&raw.folder),
        kind: raw.kind,
        max_size: raw.max_size.unwrap_or(MAX_SIZE),
        activate: raw.activate.map(Spanned::into_inner).unwrap_or_default(),
        timeout: timeout
            .map(|text| lines.duration(text))
            .transpose()?
            .unwrap_or(TIMEOUT),
        trusted_key: raw
            .trusted_key
            .as_ref()
            .map(|text| key(text, lines))
            .transpose()?,
        access: raw.access,
        allow: access::allow(&raw.allow, raw.access, members, lines)?,
        secured_by,
        application: raw.application_group.as_ref().map(known).transpose()?,
        newer_wins: raw.newer_wins,
        path: path.clone(),
    })
}

/// An Ed25519 public key.
fn key(text: &Spanned<String>, lines: Lines<'_>) -> Result<VerifyingKey, ConfigError> {
    let bytes = hex::parse(text.get_ref()).ok();
    let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let key = bytes.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
    match key.filter(|key| !key.is_weak()) {
        Some(key) => Ok(key),
        None => lines.fail(
            text.span().start,
            "trusted-key is no Ed25519 public key: 32 bytes in hexadecimal",
        ),
    }
}
