//! Pre-configured security: a group, or an OSCORE context, as people write it down. Strict, every complaint names its line, and
//! none shows a secret.

mod raw;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use antiphon::distribution::LinkProfile;
use antiphon_oscore::credential::{Credential, CredentialFormat};
use antiphon_oscore::crypto::{PrivateKey, SoftwareKey};
use antiphon_oscore::secret::Secret;
use antiphon_oscore::suite::{
    Aead, GroupEncryption, Hkdf, KeyAgreement, SignatureAlgorithm, Suite,
};
use antiphon_oscore::{Gid, Kid};
use toml::Spanned;
use zeroize::Zeroize;

use crate::failure::Failure;
use crate::members::line_of;
use crate::terminal::{line, quoted};
use crate::{hex, secret_file};
use raw::{RawAlgorithms, RawFile, RawGroup, RawMe, RawMember, RawPair, RawSecret};

/// What a file describes.
pub(crate) enum Preconfigured {
    Group(Box<GroupFile>),
    Pair(Box<PairFile>),
}

/// A security group with one endpoint's place in it.
pub(crate) struct GroupFile {
    pub(crate) name: String,
    pub(crate) gid: Vec<u8>,
    pub(crate) generation: u64,
    pub(crate) master_secret: Secret,
    pub(crate) master_salt: Secret,
    pub(crate) suite: Suite,
    pub(crate) format: CredentialFormat,
    /// The Group Manager's credential; empty without one.
    pub(crate) manager: Vec<u8>,
    /// This endpoint; a silent server has none.
    pub(crate) own: Option<Own>,
    /// The others.
    pub(crate) members: Vec<Listed>,
    /// What is known of the network between the members, if the file says it.
    pub(crate) link: Option<LinkProfile>,
}

/// This endpoint.
pub(crate) struct Own {
    pub(crate) sender_id: Vec<u8>,
    pub(crate) credential: Credential,
    pub(crate) key: SoftwareKey,
    /// As the file names it.
    pub(crate) key_file: String,
}

/// Another member.
pub(crate) struct Listed {
    pub(crate) sender_id: Vec<u8>,
    pub(crate) credential: Credential,
}

/// A plain OSCORE context (RFC 8613).
pub(crate) struct PairFile {
    pub(crate) name: String,
    pub(crate) master_secret: Secret,
    pub(crate) master_salt: Secret,
    pub(crate) id_context: Option<Vec<u8>>,
    pub(crate) sender_id: Vec<u8>,
    pub(crate) recipient_id: Vec<u8>,
    pub(crate) hkdf: Hkdf,
    pub(crate) aead: Aead,
}

impl Preconfigured {
    /// The name of the group or context.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Group(group) => &group.name,
            Self::Pair(pair) => &pair.name,
        }
    }

    /// What is allowed, but worth a word.
    pub(crate) fn advice(&self) -> Vec<String> {
        match self {
            Self::Group(group) => group.advice(),
            Self::Pair(pair) if pair.aead.tag_len() == 8 => vec![format!(
                "{} has tags of 8 bytes, as RFC 8613 has it by default; prefer 16 bytes, such as AES-CCM-16-128-128",
                pair.aead.name()
            )],
            Self::Pair(_) => Vec::new(),
        }
    }
}

impl GroupFile {
    fn advice(&self) -> Vec<String> {
        let mut advice: Vec<String> = self.suite.lint().map(|advice| advice.to_string()).collect();
        if self.master_secret.len() < 16 {
            advice.push(format!(
                "the Master Secret has {} bytes; fewer than 16 can be guessed",
                self.master_secret.len()
            ));
        }
        if self.own.is_none() {
            advice.push("there is no [me]: a silent server, which listens and says nothing".into());
        }
        if self.members.is_empty() {
            advice.push("there is no other member".into());
        }
        for member in self
            .members
            .iter()
            .filter(|m| m.credential.subject().is_none_or(str::is_empty))
        {
            advice.push(format!(
                "the credential of {} names nobody: it is called by its Sender ID",
                hex::plain(&member.sender_id)
            ));
        }
        advice
    }
}

/// What is wrong, and in which line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FileError {
    line: usize,
    what: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.what)
    }
}

/// Reads and checks a file. Paths in it are relative to its folder. It must be for its owner alone if it holds a Master Secret itself.
pub(crate) fn read(path: &Path) -> Result<Preconfigured, Failure> {
    let text = secret_file::read(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let (described, secret_inside) = parse(&text, folder)
        .map_err(|error| Failure::usage(format!("{}:{error}", path.display())))?;
    if secret_inside {
        secret_file::refuse_exposed(path)?;
    }
    Ok(described)
}

/// Turns offsets into lines, and file names into paths.
#[derive(Clone, Copy)]
struct Source<'a> {
    text: &'a str,
    folder: &'a Path,
}

type Checked<T> = Result<T, FileError>;

impl Source<'_> {
    fn fail<T>(self, at: usize, what: impl Into<String>) -> Checked<T> {
        Err(FileError {
            line: line_of(self.text, at),
            what: what.into(),
        })
    }

    /// Bytes in hexadecimal.
    fn bytes(self, text: &Spanned<String>, what: &str) -> Checked<Vec<u8>> {
        hex::parse(text.get_ref())
            .or_else(|error| self.fail(text.span().start, format!("{what}: {error}")))
    }

    /// Bytes in hexadecimal, here or in a file of this name behind `@`. Nothing of them is shown.
    fn secret(self, value: RawSecret, what: &str) -> Checked<(Secret, bool)> {
        let at = value.span().start;
        let toml::Value::String(mut text) = value.into_inner() else {
            return self.fail(at, format!("{what} is not text: write it in quotes"));
        };
        let not_hex = |error: hex::HexError| {
            self.fail(
                at,
                format!("{what} is not hexadecimal: see its character {}", error.at),
            )
        };
        if let Some(name) = text.strip_prefix('@') {
            let path = self.folder.join(name);
            let content = secret_file::refuse_exposed(&path)
                .and_then(|()| secret_file::read(&path))
                .or_else(|failure| self.fail(at, failure.message))?;
            let bytes = hex::parse(&content).or_else(not_hex)?;
            return Ok((Secret::new(bytes), false));
        }
        let bytes = hex::parse(&text).or_else(not_hex);
        text.zeroize();
        Ok((Secret::new(bytes?), true))
    }

    /// A credential, in hexadecimal, here or in a file of this name behind `@`.
    fn credential_bytes(self, text: &Spanned<String>) -> Checked<Vec<u8>> {
        let Some(name) = text.get_ref().strip_prefix('@') else {
            return self.bytes(text, "credential");
        };
        let at = text.span().start;
        let content = secret_file::read(&self.folder.join(name))
            .or_else(|failure| self.fail(at, failure.message))?;
        hex::parse(&content).or_else(|error| self.fail(at, format!("{name}: {error}")))
    }

    fn credential(
        self,
        text: &Spanned<String>,
        format: CredentialFormat,
        suite: &Suite,
    ) -> Checked<Credential> {
        let bytes = self.credential_bytes(text)?;
        let at = text.span().start;
        let credential = Credential::import(format, &bytes)
            .or_else(|refused| self.fail(at, refused.to_string()))?;
        match credential.check_usable(suite) {
            Ok(()) => Ok(credential),
            Err(refused) => self.fail(
                at,
                format!(
                    "{refused}: it is on {}",
                    credential.public_key().curve().name()
                ),
            ),
        }
    }

    fn link(self, name: &Spanned<String>) -> Checked<LinkProfile> {
        link_of(name.get_ref()).or_else(|what| self.fail(name.span().start, what))
    }

    fn name(self, name: &Spanned<String>) -> Checked<String> {
        match name.get_ref().len() {
            1..=240 => Ok(name.get_ref().clone()),
            _ => self.fail(name.span().start, "a name has 1 to 240 bytes"),
        }
    }

    fn gid(self, text: &Spanned<String>, what: &str) -> Checked<Vec<u8>> {
        let bytes = self.bytes(text, what)?;
        match Gid::new(&bytes) {
            Some(_) => Ok(bytes),
            None => self.fail(text.span().start, format!("{what} has more than 255 bytes")),
        }
    }

    fn sender_id(self, text: &Spanned<String>, longest: usize) -> Checked<Vec<u8>> {
        let bytes = self.bytes(text, "Sender ID")?;
        match Kid::new(&bytes).filter(|_| bytes.len() <= longest) {
            Some(_) => Ok(bytes),
            None => self.fail(
                text.span().start,
                format!(
                    "a Sender ID has at most {} bytes with these algorithms, and this one has {}",
                    longest.min(Kid::MAX_LEN),
                    bytes.len()
                ),
            ),
        }
    }

    /// An algorithm by its name or number; `None` for `none`.
    fn algorithm<T>(
        self,
        value: &Spanned<toml::Value>,
        kind: &str,
        by_name: impl Fn(&str) -> Option<T>,
        by_id: impl Fn(i32) -> Option<T>,
    ) -> Checked<Option<T>> {
        let at = value.span().start;
        let (found, shown, id) = match value.get_ref() {
            toml::Value::String(name) if name.eq_ignore_ascii_case("none") => return Ok(None),
            toml::Value::String(name) => (by_name(name), quoted(name), None),
            toml::Value::Integer(id) => {
                let id = i32::try_from(*id).ok();
                (id.and_then(by_id), value.get_ref().to_string(), id)
            }
            _ => return self.fail(at, format!("{kind} is a name or a number")),
        };
        let is_cbc =
            matches!(id, Some(-65531..=-65529)) || shown.to_ascii_uppercase().contains("CBC");
        match found {
            Some(found) => Ok(Some(found)),
            None if is_cbc => self.fail(at, format!("{kind}: AES-CBC must not be used in a group")),
            None => self.fail(at, format!("{shown} is no {kind} that this version knows")),
        }
    }
}

/// The kind of link of this name.
pub(crate) fn link_of(name: &str) -> Result<LinkProfile, String> {
    LinkProfile::from_name(name).ok_or_else(|| {
        let names = LinkProfile::ALL.map(LinkProfile::name).join(", ");
        format!("{} is no kind of link: {names}", quoted(name))
    })
}

/// The name of the registry, or of the hash function alone.
fn hkdf_by_name(name: &str) -> Option<Hkdf> {
    Hkdf::from_name(name).or_else(|| match name.to_ascii_uppercase().as_str() {
        "SHA-256" | "HKDF-256" | "HKDF SHA-256" => Some(Hkdf::Sha256),
        "SHA-512" | "HKDF-512" | "HKDF SHA-512" => Some(Hkdf::Sha512),
        _ => None,
    })
}

/// What the text describes, and whether a Master Secret stands in it.
fn parse(text: &str, folder: &Path) -> Checked<(Preconfigured, bool)> {
    let source = Source { text, folder };
    let raw: RawFile = toml::from_str(text).map_err(|error| FileError {
        line: error.span().map_or(1, |span| line_of(text, span.start)),
        what: error.message().to_owned(),
    })?;
    match (raw.group, raw.oscore) {
        (Some(group), None) => {
            let (group, inside) = group_of(group, raw.me, raw.member, source)?;
            Ok((Preconfigured::Group(Box::new(group)), inside))
        }
        (None, Some(pair)) => {
            let misplaced = raw
                .me
                .map(|me| me.span())
                .or(raw.member.first().map(Spanned::span));
            if let Some(span) = misplaced {
                return source.fail(
                    span.start,
                    "[me] and [[member]] belong to a [group]; an [oscore] context has two ends, sender-id and recipient-id",
                );
            }
            let (pair, inside) = pair_of(pair.into_inner(), source)?;
            Ok((Preconfigured::Pair(Box::new(pair)), inside))
        }
        (Some(_), Some(pair)) => source.fail(
            pair.span().start,
            "a file describes either a [group] or an [oscore] context",
        ),
        (None, None) => source.fail(0, "there is neither a [group] nor an [oscore] context"),
    }
}

fn suite_of(raw: Option<Spanned<RawAlgorithms>>, source: Source<'_>) -> Checked<Suite> {
    let usual = Suite::default();
    let Some(raw) = raw else { return Ok(usual) };
    let at = raw.span().start;
    let raw = raw.into_inner();
    let hkdf = hkdf_of(raw.hkdf.as_ref(), source)?;
    // What is said of each: nothing, none, or which.
    let aead = raw
        .aead
        .as_ref()
        .map(|value| source.algorithm(value, "AEAD algorithm", Aead::from_name, Aead::from_id));
    let aead = aead.transpose()?;
    let encryption = raw.group_encryption.as_ref().map(|value| {
        let kind = "group encryption algorithm";
        source.algorithm(
            value,
            kind,
            GroupEncryption::from_name,
            GroupEncryption::from_id,
        )
    });
    let encryption = encryption.transpose()?;
    let signature = raw.signature.as_ref().map(|value| {
        let kind = "signature algorithm";
        source.algorithm(
            value,
            kind,
            SignatureAlgorithm::from_name,
            SignatureAlgorithm::from_id,
        )
    });
    let signature = signature.transpose()?;
    let agreement = raw.key_agreement.as_ref().map(|value| {
        let kind = "key agreement algorithm";
        source.algorithm(value, kind, KeyAgreement::from_name, KeyAgreement::from_id)
    });
    let agreement = agreement.transpose()?;
    let no_group_mode = encryption == Some(None) || signature == Some(None);
    let no_pairwise_mode = aead == Some(None) || agreement == Some(None);
    // What is not said is as usual, unless its mode is not used. Who names one cipher means it for both modes.
    let usual_encryption = aead
        .flatten()
        .map(GroupEncryption::Aead)
        .or(usual.group_encryption());
    let usual_agreement = match hkdf {
        Hkdf::Sha256 => KeyAgreement::EcdhSsHkdf256,
        Hkdf::Sha512 => KeyAgreement::EcdhSsHkdf512,
    };
    Suite::new(
        hkdf,
        aead.unwrap_or(usual.aead().filter(|_| !no_pairwise_mode)),
        encryption.unwrap_or(usual_encryption.filter(|_| !no_group_mode)),
        signature.unwrap_or(usual.signature().filter(|_| !no_group_mode)),
        agreement.unwrap_or(Some(usual_agreement).filter(|_| !no_pairwise_mode)),
    )
    .or_else(|error| source.fail(at, error.to_string()))
}

fn hkdf_of(value: Option<&Spanned<toml::Value>>, source: Source<'_>) -> Checked<Hkdf> {
    let Some(value) = value else {
        return Ok(Hkdf::Sha256);
    };
    match source.algorithm(value, "HKDF algorithm", hkdf_by_name, Hkdf::from_id)? {
        Some(hkdf) => Ok(hkdf),
        None => source.fail(value.span().start, "there is always an HKDF algorithm"),
    }
}

fn group_of(
    raw: Spanned<RawGroup>,
    me: Option<Spanned<RawMe>>,
    members: Vec<Spanned<RawMember>>,
    source: Source<'_>,
) -> Checked<(GroupFile, bool)> {
    let raw = raw.into_inner();
    let suite = suite_of(raw.algorithms, source)?;
    let format = format_of(raw.credential_format.as_ref(), source)?;
    let (master_secret, inside) = secret_of(raw.master_secret, source)?;
    let master_salt = salt_of(raw.master_salt, source)?;
    let mut roster = Roster::new(source, suite, format);
    let own = me.map(|me| own_of(me, &mut roster)).transpose()?;
    let listed = members
        .into_iter()
        .map(|member| listed_of(member, &mut roster));
    let members = listed.collect::<Checked<_>>()?;
    let manager = match &raw.manager_credential {
        None => Vec::new(),
        Some(text) => source.credential_bytes(text)?,
    };
    let group = GroupFile {
        name: source.name(&raw.name)?,
        gid: source.gid(&raw.gid, "Gid")?,
        generation: raw.generation,
        master_secret,
        master_salt,
        suite,
        format,
        manager,
        own,
        members,
        link: raw.link.map(|link| source.link(&link)).transpose()?,
    };
    Ok((group, inside))
}

/// The format of all credentials in a group.
fn format_of(name: Option<&Spanned<String>>, source: Source<'_>) -> Checked<CredentialFormat> {
    let Some(name) = name else {
        return Ok(CredentialFormat::Ccs);
    };
    let known = match name.get_ref().to_ascii_lowercase().as_str() {
        "ccs" => Some(CredentialFormat::Ccs),
        "cwt" => Some(CredentialFormat::Cwt),
        "x509" => Some(CredentialFormat::X509),
        other => CredentialFormat::from_name(other),
    };
    let wrong = match known {
        Some(format) if format.supported() => return Ok(format),
        Some(format) => format!("this build does not read {}", format.name()),
        None => format!(
            "{} is no format of credentials: ccs, cwt or x509",
            quoted(name.get_ref())
        ),
    };
    source.fail(name.span().start, wrong)
}

/// Who is in a group: nobody twice.
struct Roster<'a> {
    source: Source<'a>,
    suite: Suite,
    format: CredentialFormat,
    /// In which line each Sender ID was given.
    sender_ids: HashMap<Vec<u8>, usize>,
    /// In which line the owner of each credential stands.
    credentials: HashMap<Vec<u8>, usize>,
}

impl<'a> Roster<'a> {
    fn new(source: Source<'a>, suite: Suite, format: CredentialFormat) -> Self {
        Self {
            source,
            suite,
            format,
            sender_ids: HashMap::new(),
            credentials: HashMap::new(),
        }
    }

    /// Takes in whoever is described at this place.
    fn enter(
        &mut self,
        at: usize,
        sender_id: &Spanned<String>,
        credential: &Spanned<String>,
    ) -> Checked<(Vec<u8>, Credential)> {
        let source = self.source;
        let credential = source.credential(credential, self.format, &self.suite)?;
        let sender_id = source.sender_id(sender_id, self.suite.max_sender_id_len())?;
        let here = line_of(source.text, at);
        if let Some(first) = self.sender_ids.insert(sender_id.clone(), here) {
            let id = hex::plain(&sender_id);
            return source.fail(at, format!("the Sender ID {id} is taken by line {first}"));
        }
        let bytes = credential.bytes().to_vec();
        if let Some(first) = self.credentials.insert(bytes, here) {
            return source.fail(at, format!("the credential is that of line {first}"));
        }
        Ok((sender_id, credential))
    }
}

fn own_of(me: Spanned<RawMe>, roster: &mut Roster<'_>) -> Checked<Own> {
    let at = me.span().start;
    let me = me.into_inner();
    let (sender_id, credential) = roster.enter(at, &me.sender_id, &me.credential)?;
    let (source, key_at) = (roster.source, me.key_file.span().start);
    let key = secret_file::read_key(&source.folder.join(me.key_file.get_ref()))
        .or_else(|failure| source.fail(key_at, failure.message))?;
    if key.public() != *credential.public_key() {
        return source.fail(
            key_at,
            "the private key does not belong to the public key in the credential",
        );
    }
    Ok(Own {
        sender_id,
        credential,
        key,
        key_file: me.key_file.into_inner(),
    })
}

fn listed_of(member: Spanned<RawMember>, roster: &mut Roster<'_>) -> Checked<Listed> {
    let at = member.span().start;
    let member = member.into_inner();
    let (sender_id, credential) = roster.enter(at, &member.sender_id, &member.credential)?;
    if let Some(subject) = &member.subject
        && credential.subject() != Some(subject.get_ref())
    {
        let wrong = match credential.subject() {
            Some(other) => format!("the credential is that of {}", quoted(other)),
            None => "the credential names nobody".into(),
        };
        return roster.source.fail(subject.span().start, wrong);
    }
    Ok(Listed {
        sender_id,
        credential,
    })
}

fn secret_of(value: RawSecret, source: Source<'_>) -> Checked<(Secret, bool)> {
    let at = value.span().start;
    let (secret, inside) = source.secret(value, "master-secret")?;
    match secret.is_empty() {
        true => source.fail(at, "master-secret is empty"),
        false => Ok((secret, inside)),
    }
}

fn salt_of(value: Option<RawSecret>, source: Source<'_>) -> Checked<Secret> {
    match value {
        None => Ok(Secret::new(Vec::new())),
        Some(value) => Ok(source.secret(value, "master-salt")?.0),
    }
}

fn pair_of(raw: RawPair, source: Source<'_>) -> Checked<(PairFile, bool)> {
    let hkdf = hkdf_of(raw.hkdf.as_ref(), source)?;
    let aead = match &raw.aead {
        // What RFC 8613 has where nothing is said.
        None => Aead::AesCcm16_64_128,
        Some(value) => {
            match source.algorithm(value, "AEAD algorithm", Aead::from_name, Aead::from_id)? {
                Some(aead) => aead,
                None => {
                    return source.fail(value.span().start, "there is always an AEAD algorithm");
                }
            }
        }
    };
    let longest = aead.nonce_len().saturating_sub(6);
    let sender_id = source.sender_id(&raw.sender_id, longest)?;
    let recipient_id = source.sender_id(&raw.recipient_id, longest)?;
    if sender_id == recipient_id {
        return source.fail(raw.recipient_id.span().start, "both ends have the same ID");
    }
    let (master_secret, inside) = secret_of(raw.master_secret, source)?;
    let pair = PairFile {
        name: source.name(&raw.name)?,
        master_secret,
        master_salt: salt_of(raw.master_salt, source)?,
        id_context: match &raw.id_context {
            None => None,
            Some(text) => Some(source.gid(text, "id-context")?),
        },
        sender_id,
        recipient_id,
        hkdf,
        aead,
    };
    Ok((pair, inside))
}

/// Algorithms in a line, for people.
pub(crate) fn suite_text(suite: &Suite) -> String {
    let none = "none";
    format!(
        "group mode {} with {}; pairwise mode {} with {}; {}",
        suite.group_encryption().map_or(none, GroupEncryption::name),
        suite.signature().map_or(none, SignatureAlgorithm::name),
        suite.aead().map_or(none, Aead::name),
        suite.key_agreement().map_or(none, KeyAgreement::name),
        match suite.hkdf() {
            Hkdf::Sha256 => "HKDF SHA-256",
            Hkdf::Sha512 => "HKDF SHA-512",
        },
    )
}

/// Another member as the file of a group has it.
pub(crate) fn member_toml(sender_id: &[u8], credential: &[u8], subject: &str) -> String {
    format!(
        "[[member]]\nsender-id = \"{}\"\ncredential = \"{}\"\nsubject = {}\n",
        hex::plain(sender_id),
        hex::plain(credential),
        toml_text(subject)
    )
}

/// A text as TOML writes it.
pub(crate) fn toml_text(text: &str) -> String {
    toml::Value::String(text.into()).to_string()
}

/// The name of a credential for people: its subject, else the Sender ID.
pub(crate) fn name_of(sender_id: &[u8], subject: Option<&str>) -> String {
    match subject.filter(|subject| !subject.is_empty()) {
        Some(subject) => line(subject),
        None => hex::plain(sender_id),
    }
}
