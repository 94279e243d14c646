//! `antiphon oscore new-group`: a whole pre-configured group, one file for each member.

use std::path::{Path, PathBuf};

use antiphon_oscore::credential::Credential;
use antiphon_oscore::crypto::{Curve, PrivateKey};
use clap::Args;
use serde_json::json;
use zeroize::Zeroizing;

use super::keygen::CurveChoice;
use crate::failure::Failure;
use crate::preconfigured::{self, toml_text};
use crate::{exit, hex, secret_file, terminal};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  antiphon oscore new-group lights --member switch --member lamp-1 --member lamp-2 --out lights
  New keys for the same group, as when a member has left, or a state file was lost:
    antiphon oscore new-group lights --generation 1 --member switch --member lamp-1 --out lights-1

Whoever sends is a member, too: the switch as well as the lamps. Give each member its own two files, by a way that nobody listens to, and
keep no copy: a file that two use lets both use the same sequence numbers, and that breaks the encryption.")]
pub(crate) struct NewGroupArgs {
    /// The name of the group
    #[arg(value_name = "NAME")]
    name: String,

    /// A member; repeatable
    #[arg(long, value_name = "NAME", required = true)]
    member: Vec<String>,

    /// The new folder for the files
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Kind of keys: all sign but x25519, which makes a group that has only the pairwise mode
    #[arg(long, value_name = "CURVE", value_enum, default_value_t)]
    curve: CurveChoice,

    /// The cipher, by its name or number in the COSE registry [default: AES-CCM-16-128-128]
    #[arg(long, value_name = "ALGORITHM")]
    aead: Option<String>,

    /// Number of these keys: higher than any before, where the group is not new
    #[arg(long, value_name = "N", default_value_t = 0)]
    generation: u64,

    /// The Group Identifier, in hexadecimal [default: 4 random bytes]
    #[arg(long, value_name = "HEX")]
    gid: Option<String>,

    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

struct Made {
    name: String,
    sender_id: Vec<u8>,
    credential: Vec<u8>,
    key: antiphon_oscore::crypto::SoftwareKey,
}

impl NewGroupArgs {
    pub(super) fn run(&self) -> Result<u8, Failure> {
        self.check_names()?;
        let gid = match &self.gid {
            Some(text) => {
                hex::parse(text).map_err(|error| Failure::usage(format!("--gid: {error}")))?
            }
            None => secret_file::random::<4>()?.to_vec(),
        };
        let secret = secret_file::random::<16>()?;
        let salt = secret_file::random::<8>()?;
        // One byte is enough for 256; who sends a lot of requests should come early: none is shorter.
        let id_len = if self.member.len() > 256 { 2 } else { 1 };
        let mut members = Vec::with_capacity(self.member.len());
        for (number, name) in (0u16..).zip(&self.member) {
            let key = secret_file::generate(self.curve.curve())?;
            members.push(Made {
                name: name.clone(),
                sender_id: number.to_be_bytes()[2 - id_len..].to_vec(),
                credential: Credential::build_ccs(name, &key.public()),
                key,
            });
        }
        let head = Zeroizing::new(format!(
            "[group]\nname = {}\ngid = \"{}\"\ngeneration = {}\nmaster-secret = \"{}\"\nmaster-salt = \"{}\"\n{}",
            toml_text(&self.name),
            hex::plain(&gid),
            self.generation,
            *Zeroizing::new(hex::plain(secret.as_ref())),
            hex::plain(salt.as_ref()),
            self.algorithms(),
        ));
        create_folder(&self.out)?;
        let written = write(&self.out, &head, &members);
        if written.is_err() {
            // Half a group is of no use, and its keys are worth nothing.
            let _ = std::fs::remove_dir_all(&self.out);
        }
        written?;
        self.tell(&gid, &members);
        Ok(exit::ALL)
    }

    /// Names are names of files, too.
    fn check_names(&self) -> Result<(), Failure> {
        if self.member.len() > 1 << 16 {
            return Err(Failure::usage("a group has at most 65536 members"));
        }
        let mut seen = std::collections::HashSet::new();
        for name in &self.member {
            let shown = terminal::quoted(name);
            if !is_usable_name(name) {
                return Err(Failure::usage(format!(
                    "{shown} cannot be a member's name: letters, digits, - _ and . (not at the beginning)"
                )));
            }
            if !seen.insert(name.to_lowercase()) {
                return Err(Failure::usage(format!("the member {shown} is named twice")));
            }
        }
        match self.name.len() {
            1..=240 => Ok(()),
            _ => Err(Failure::usage("the name of a group has 1 to 240 bytes")),
        }
    }

    /// What differs from the defaults.
    fn algorithms(&self) -> String {
        let mut lines = String::new();
        if let Some(aead) = &self.aead {
            let value = match aead.parse::<i32>() {
                Ok(number) => number.to_string(),
                Err(_) => toml_text(aead),
            };
            lines.push_str(&format!("aead = {value}\n"));
        }
        match self.curve.curve() {
            Curve::X25519 => lines.push_str("signature = \"none\"\ngroup-encryption = \"none\"\n"),
            Curve::P256 => lines.push_str("signature = \"ES256\"\n"),
            Curve::P384 => lines.push_str("signature = \"ES384\"\n"),
            Curve::P521 => lines.push_str("signature = \"ES512\"\n"),
            Curve::Ed25519 => {}
        }
        match lines.is_empty() {
            true => lines,
            false => format!("\n[group.algorithms]\n{lines}"),
        }
    }

    fn tell(&self, gid: &[u8], members: &[Made]) {
        let folder = self.out.display().to_string();
        if self.json {
            let members: Vec<_> = members
                .iter()
                .map(|member| {
                    json!({
                        "name": member.name,
                        "sender_id": hex::plain(&member.sender_id),
                        "credential": hex::plain(&member.credential),
                        "file": file(&self.out, &member.name).display().to_string(),
                    })
                })
                .collect();
            println!(
                "{}",
                json!({
                    "event": "group", "name": self.name, "gid": hex::plain(gid), "generation": self.generation,
                    "members": members,
                })
            );
            return;
        }
        println!(
            "the group {} (Gid {}, generation {}) with {} members in {}",
            terminal::line(&self.name),
            hex::plain(gid),
            self.generation,
            members.len(),
            terminal::line(&folder)
        );
        for member in members {
            println!(
                "  {}  Sender ID {}",
                terminal::line(&file(&self.out, &member.name).display().to_string()),
                hex::plain(&member.sender_id)
            );
        }
        println!("Each member gets its own .toml and .key, and nobody else does. Keep no copies.");
    }
}

/// Whether a member's name can be that of its files.
pub(super) fn is_usable_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 100
        && !name.starts_with('.')
        && name
            .chars()
            .all(|c| c.is_alphanumeric() || "-_.".contains(c))
}

pub(super) fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.toml"))
}

pub(super) fn create_folder(path: &Path) -> Result<(), Failure> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::usage(format!(
            "{} is there already: choose a new folder",
            path.display()
        )),
        _ => Failure::local(format!("{}: {error}", path.display())),
    })
}

/// A key and a file for each.
fn write(folder: &Path, head: &str, members: &[Made]) -> Result<(), Failure> {
    for me in members {
        let key_file = format!("{}.key", me.name);
        secret_file::write_key(&folder.join(&key_file), &me.key)?;
        let mut text = Zeroizing::new(format!(
            "# {} in the security group. For this member alone: it holds the group's secret.\n{head}\n[me]\nsender-id = \"{}\"\ncredential = \"{}\"\nkey-file = {}\n",
            terminal::line(&me.name),
            hex::plain(&me.sender_id),
            hex::plain(&me.credential),
            toml_text(&key_file),
        ));
        for other in members
            .iter()
            .filter(|other| other.sender_id != me.sender_id)
        {
            text.push_str(&format!(
                "\n{}",
                preconfigured::member_toml(&other.sender_id, &other.credential, &other.name)
            ));
        }
        let path = file(folder, &me.name);
        secret_file::create(&path, text.as_bytes())?;
        // The first is read back as it will be used: what is wrong in one is wrong in all.
        if me.sender_id.iter().all(|byte| *byte == 0) {
            preconfigured::read(&path)?;
        }
    }
    Ok(())
}
