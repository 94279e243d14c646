//! `antiphon oscore rekey`: new keys for a group that is there, one file for each member that stays.

use std::path::PathBuf;

use antiphon_oscore::credential::{Credential, CredentialFormat};
use antiphon_oscore::crypto::{PrivateKey as _, SoftwareKey};
use antiphon_oscore::suite::{
    Aead, GroupEncryption, Hkdf, KeyAgreement, SignatureAlgorithm, Suite,
};
use clap::Args;
use serde_json::json;
use zeroize::Zeroizing;

use super::new_group::{create_folder, file, is_usable_name};
use crate::failure::Failure;
use crate::preconfigured::{self, GroupFile, Preconfigured, name_of, toml_text};
use crate::{exit, hex, secret_file, terminal};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  antiphon oscore rekey lights/switch.toml --out lights-1
  Keep somebody out, who has the old keys:
    antiphon oscore rekey lights/switch.toml --remove lamp-2 --out lights-1

Names, Sender IDs, private keys and algorithms stay; secret, Gid and generation are new. Bring each member its new file, by a way that nobody
listens to, and move it over the old one (mv lights-1/lamp-1.toml lights/): what runs takes it over within seconds, without a restart.
Until all have it, those with new keys and those with old ones do not understand each other.")]
pub(super) struct RekeyArgs {
    /// The description of the group as one member has it
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The new folder for the files
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// A member that gets no new keys: its name or Sender ID; repeatable
    #[arg(long, value_name = "MEMBER")]
    remove: Vec<String>,

    /// A new member, for which a private key is made; repeatable
    #[arg(long, value_name = "NAME")]
    add: Vec<String>,

    /// Number of the new keys [default: one more than that of the old ones]
    #[arg(long, value_name = "N")]
    generation: Option<u64>,

    /// The new Group Identifier, in hexadecimal [default: 4 random bytes]
    #[arg(long, value_name = "HEX")]
    gid: Option<String>,

    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// A member that gets new keys.
struct Member {
    /// The name of its files.
    name: String,
    sender_id: Vec<u8>,
    credential: Vec<u8>,
    subject: Option<String>,
    key_file: String,
    /// Of a new member.
    key: Option<SoftwareKey>,
}

impl RekeyArgs {
    pub(super) fn run(&self) -> Result<u8, Failure> {
        let group = match preconfigured::read(&self.file)? {
            Preconfigured::Group(group) => group,
            Preconfigured::Pair(_) => {
                return Err(Failure::usage(
                    "an OSCORE context has no generations: make another one with a new name and a new secret",
                ));
            }
        };
        let generation = self
            .generation
            .unwrap_or(group.generation.saturating_add(1));
        if generation <= group.generation {
            return Err(Failure::usage(format!(
                "the generation must be higher than {}, that of the keys in the file",
                group.generation
            )));
        }
        let gid = self.new_gid(&group)?;
        let mut members = self.staying(&group)?;
        self.add_to(&mut members, &group)?;
        let head = head(&group, generation, &gid)?;
        create_folder(&self.out)?;
        let written = self.write(&head, &members);
        if written.is_err() {
            // Half a group is of no use, and its keys are worth nothing.
            let _ = std::fs::remove_dir_all(&self.out);
        }
        written?;
        self.tell(&group, generation, &gid, &members);
        Ok(exit::ALL)
    }

    fn new_gid(&self, group: &GroupFile) -> Result<Vec<u8>, Failure> {
        let given = self.gid.as_deref().map(hex::parse).transpose();
        let given = given.map_err(|error| Failure::usage(format!("--gid: {error}")))?;
        match given {
            Some(gid) if gid == group.gid => Err(Failure::usage(
                "new keys need a Gid that the group never had",
            )),
            Some(gid) => Ok(gid),
            None => loop {
                let gid = secret_file::random::<4>()?.to_vec();
                if gid != group.gid {
                    return Ok(gid);
                }
            },
        }
    }

    /// Everybody but those that are removed.
    fn staying(&self, group: &GroupFile) -> Result<Vec<Member>, Failure> {
        let mut members: Vec<Member> = Vec::new();
        if let Some(own) = &group.own {
            let stem = self.file.file_stem().and_then(|stem| stem.to_str());
            let named = own.credential.subject().map(str::to_owned);
            members.push(Member {
                name: stem.map_or_else(|| hex::plain(&own.sender_id), str::to_owned),
                sender_id: own.sender_id.clone(),
                credential: own.credential.bytes().to_vec(),
                subject: named,
                key_file: own.key_file.clone(),
                key: None,
            });
        }
        for listed in &group.members {
            let subject = listed.credential.subject().filter(|name| !name.is_empty());
            let usable = |name: &&str| {
                let taken = |other: &Member| other.name.eq_ignore_ascii_case(name);
                is_usable_name(name) && !members.iter().any(taken)
            };
            let name = match subject.filter(usable) {
                Some(name) => name.to_owned(),
                None => hex::plain(&listed.sender_id),
            };
            members.push(Member {
                key_file: format!("{name}.key"),
                name,
                sender_id: listed.sender_id.clone(),
                credential: listed.credential.bytes().to_vec(),
                subject: subject.map(str::to_owned),
                key: None,
            });
        }
        let mine = group.own.as_ref().map(|own| own.sender_id.as_slice());
        for name in &self.remove {
            let shown = terminal::quoted(name);
            let is = |member: &Member| {
                member.subject.as_deref() == Some(name)
                    || hex::plain(&member.sender_id).eq_ignore_ascii_case(name)
            };
            let count = members.iter().filter(|member| is(member)).count();
            match members.iter().position(is) {
                Some(_) if count > 1 => {
                    return Err(Failure::usage(format!(
                        "{count} members are called {shown}: say which by its Sender ID"
                    )));
                }
                Some(at) if Some(members[at].sender_id.as_slice()) == mine => {
                    return Err(Failure::usage(format!(
                        "{shown} is the member whose file this is: take that of one that stays"
                    )));
                }
                Some(at) => drop(members.remove(at)),
                None => {
                    let known: Vec<String> = members
                        .iter()
                        .map(|member| name_of(&member.sender_id, member.subject.as_deref()))
                        .collect();
                    return Err(Failure::usage(format!(
                        "there is no member {shown} in the group, which has {}",
                        known.join(", ")
                    )));
                }
            }
        }
        Ok(members)
    }

    fn add_to(&self, members: &mut Vec<Member>, group: &GroupFile) -> Result<(), Failure> {
        let Some(curve) = group
            .own
            .as_ref()
            .map(|own| own.credential.public_key().curve())
            .or_else(|| {
                group
                    .members
                    .first()
                    .map(|m| m.credential.public_key().curve())
            })
        else {
            return Ok(());
        };
        if !self.add.is_empty() && group.format != CredentialFormat::Ccs {
            return Err(Failure::usage(
                "credentials are made as CCS alone, and those of this group are of another format",
            ));
        }
        let id_len = members.iter().map(|m| m.sender_id.len()).max();
        let id_len = id_len.unwrap_or(1).clamp(1, 2);
        for name in &self.add {
            let shown = terminal::quoted(name);
            if !is_usable_name(name) {
                return Err(Failure::usage(format!(
                    "{shown} cannot be a member's name: letters, digits, - _ and . (not at the beginning)"
                )));
            }
            let taken = |member: &Member| {
                member.name.eq_ignore_ascii_case(name) || member.subject.as_deref() == Some(name)
            };
            if members.iter().any(taken) {
                return Err(Failure::usage(format!("there is a member {shown} already")));
            }
            // Under a new Gid every Sender ID is unused, but who was removed should not be taken for who comes.
            let used = |id: &[u8]| {
                members.iter().any(|member| member.sender_id == id)
                    || group.members.iter().any(|member| member.sender_id == id)
            };
            let ids = (0..=u16::MAX).map(|n| n.to_be_bytes()[2 - id_len..].to_vec());
            let ids = ids.take(1 << (8 * id_len));
            let sender_id = ids
                .into_iter()
                .find(|id| !used(id))
                .ok_or_else(|| Failure::usage("all Sender IDs of this length are taken"))?;
            let key = secret_file::generate(curve)?;
            members.push(Member {
                name: name.clone(),
                sender_id,
                credential: Credential::build_ccs(name, &key.public()),
                subject: Some(name.clone()),
                key_file: format!("{name}.key"),
                key: Some(key),
            });
        }
        Ok(())
    }

    fn write(&self, head: &str, members: &[Member]) -> Result<(), Failure> {
        for me in members {
            if let Some(key) = &me.key {
                secret_file::write_key(&self.out.join(&me.key_file), key)?;
            }
            let mut text = Zeroizing::new(format!(
                "# {} in the security group. For this member alone: it holds the group's secret.\n{head}\n[me]\nsender-id = \"{}\"\ncredential = \"{}\"\nkey-file = {}\n",
                terminal::line(&me.name),
                hex::plain(&me.sender_id),
                hex::plain(&me.credential),
                toml_text(&me.key_file),
            ));
            for other in members.iter().filter(|it| it.sender_id != me.sender_id) {
                text.push_str(&format!(
                    "\n[[member]]\nsender-id = \"{}\"\ncredential = \"{}\"\n",
                    hex::plain(&other.sender_id),
                    hex::plain(&other.credential)
                ));
                if let Some(subject) = &other.subject {
                    text.push_str(&format!("subject = {}\n", toml_text(subject)));
                }
            }
            secret_file::create(&file(&self.out, &me.name), text.as_bytes())?;
        }
        Ok(())
    }

    fn tell(&self, group: &GroupFile, generation: u64, gid: &[u8], members: &[Member]) {
        let path = |member: &Member| file(&self.out, &member.name).display().to_string();
        if self.json {
            let members: Vec<_> = members
                .iter()
                .map(|member| {
                    json!({
                        "name": member.name, "sender_id": hex::plain(&member.sender_id), "new": member.key.is_some(),
                        "file": path(member),
                    })
                })
                .collect();
            println!(
                "{}",
                json!({
                    "event": "rekeyed", "name": group.name, "gid": hex::plain(gid), "generation": generation,
                    "members": members, "removed": self.remove,
                })
            );
            return;
        }
        println!(
            "new keys for the group {} (Gid {}, generation {generation}), {} members in {}",
            terminal::line(&group.name),
            hex::plain(gid),
            members.len(),
            terminal::line(&self.out.display().to_string())
        );
        for member in members {
            println!(
                "  {}  Sender ID {}{}",
                terminal::line(&path(member)),
                hex::plain(&member.sender_id),
                match member.key {
                    Some(_) => ", new, with its private key beside it",
                    None => "",
                }
            );
        }
        println!(
            "Move each over the old file of its member: what runs takes it over within seconds. Nobody else gets it."
        );
    }
}

/// Everything that all members have the same.
fn head(group: &GroupFile, generation: u64, gid: &[u8]) -> Result<Zeroizing<String>, Failure> {
    let secret = secret_file::random::<16>()?;
    let salt = secret_file::random::<8>()?;
    let format = match group.format {
        CredentialFormat::Ccs => "ccs",
        CredentialFormat::Cwt => "cwt",
        CredentialFormat::X509 => "x509",
    };
    let mut head = Zeroizing::new(format!(
        "[group]\nname = {}\ngid = \"{}\"\ngeneration = {generation}\nmaster-secret = \"{}\"\nmaster-salt = \"{}\"\ncredential-format = \"{format}\"\n",
        toml_text(&group.name),
        hex::plain(gid),
        *Zeroizing::new(hex::plain(secret.as_ref())),
        hex::plain(salt.as_ref()),
    ));
    if !group.manager.is_empty() {
        head.push_str(&format!(
            "manager-credential = \"{}\"\n",
            hex::plain(&group.manager)
        ));
    }
    if let Some(link) = group.link {
        head.push_str(&format!("link = {}\n", toml_text(link.name())));
    }
    head.push_str(&algorithms(&group.suite));
    Ok(head)
}

fn algorithms(suite: &Suite) -> String {
    if *suite == Suite::default() {
        return String::new();
    }
    let none = "none";
    format!(
        "\n[group.algorithms]\naead = \"{}\"\ngroup-encryption = \"{}\"\nsignature = \"{}\"\nkey-agreement = \"{}\"\nhkdf = \"{}\"\n",
        suite.aead().map_or(none, Aead::name),
        suite.group_encryption().map_or(none, GroupEncryption::name),
        suite.signature().map_or(none, SignatureAlgorithm::name),
        suite.key_agreement().map_or(none, KeyAgreement::name),
        match suite.hkdf() {
            Hkdf::Sha256 => "SHA-256",
            Hkdf::Sha512 => "SHA-512",
        }
    )
}
