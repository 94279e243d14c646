//! The files in which the keys of the server are, and whom they name.

use std::path::{Path, PathBuf};

use antiphon::Identity;
use toml::Spanned;

use super::access::Member;
use super::raw::RawFiles;
use super::{ConfigError, Lines};
use crate::secured::{self, Glance};

/// A description or a state file.
#[derive(Debug)]
pub(crate) struct SecurityFile {
    pub(crate) path: PathBuf,
    pub(crate) holds: Vec<Glance>,
}

/// Looks into the files, relative to `folder`.
pub(super) fn files(
    raw: Option<&Spanned<RawFiles>>,
    folder: &Path,
    lines: Lines<'_>,
) -> Result<Vec<SecurityFile>, ConfigError> {
    let Some(raw) = raw else {
        return Ok(Vec::new());
    };
    let at = raw.span().start;
    let paths = match raw.get_ref().clone() {
        RawFiles::One(path) => vec![path],
        RawFiles::Several(paths) => paths,
    };
    let mut files: Vec<SecurityFile> = Vec::new();
    for path in paths {
        let path = folder.join(path);
        let holds = secured::glance(&path).or_else(|failure| lines.fail(at, failure.message))?;
        let known = files.iter().flat_map(|file| &file.holds);
        if let Some(twice) = known.into_iter().find(|one| {
            holds
                .iter()
                .any(|other| other.name == one.name && other.is_group == one.is_group)
        }) {
            return lines.fail(
                at,
                format!("{} is in two files", crate::terminal::quoted(&twice.name)),
            );
        }
        files.push(SecurityFile { path, holds });
    }
    Ok(files)
}

/// The members of all groups by the names that are theirs alone, behind those that the configuration names itself.
pub(super) fn add_members(files: &[SecurityFile], members: &mut Vec<Member>) {
    let named: Vec<(&str, &str, &[u8])> = files
        .iter()
        .flat_map(|file| &file.holds)
        .filter(|glance| glance.is_group)
        .flat_map(|glance| {
            let members = glance.members.iter();
            members.map(move |(name, credential)| {
                (glance.name.as_str(), name.as_str(), credential.as_slice())
            })
        })
        .collect();
    for (group, name, credential) in &named {
        let alike = named.iter().filter(|(_, other, _)| other == name).count();
        if alike == 1 && !members.iter().any(|member| member.name == *name) {
            members.push(Member {
                name: (*name).to_owned(),
                identity: Identity::member(group, credential),
            });
        }
    }
}
