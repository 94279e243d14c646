//! Taking images that are brought to a whole group.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use antiphon::distribution::{
    ActivationError, Announcement, Contention, DeviceConfig, DeviceEvent, FileStorage, ImageDevice,
    Installation, OpenDevice, ReadAt, Refusal, copy_image,
};
use antiphon::{NoSec, SecurityGroup, Sender};
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::json;

use super::config::{Access, Config, Images, net_access};
use crate::collecting::print_line;
use crate::failure::Failure;
use crate::hex;
use crate::secured::Keys;
use crate::terminal;

/// How often it is looked whether the program that activates has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The devices of the configuration, ready to be put into the server.
pub(super) fn open(config: &Config, keys: &[Keys], json: bool) -> Result<Vec<OpenDevice>, Failure> {
    let devices = config.images.iter();
    devices.map(|it| open_one(config, it, keys, json)).collect()
}

fn open_one(
    config: &Config,
    it: &Images,
    keys: &[Keys],
    json: bool,
) -> Result<OpenDevice, Failure> {
    let in_folder = |error| {
        let folder = terminal::line(&it.folder.display().to_string());
        Failure::local(format!("{folder}: {error}"))
    };
    let storage = FileStorage::open(&it.folder).map_err(in_folder)?;
    let application = Activation {
        kind: it.kind.clone(),
        folder: it.folder.clone(),
        program: it.activate.clone(),
        timeout: it.timeout,
        trusted_key: it.trusted_key,
    };
    let mut device = ImageDevice::new(&it.path, storage, application).config(DeviceConfig {
        max_content: it.max_size,
        contention: match it.newer_wins {
            true => Contention::NewerVersion,
            false => Contention::First,
        },
        ..DeviceConfig::default()
    });
    if let Some(application) = it.application.and_then(|at| config.applications.get(at)) {
        device = device.in_group(&application.name);
    }
    device = match it.access {
        Access::Unsecured => device.unsecured(NoSec::Accepted),
        _ => device
            .access(net_access(it.access, &it.allow))
            .secure(&group_of(it, keys)?),
    };
    let mut telling = Telling::new(it.path.clone(), json);
    let device = device.on_event(move |event| telling.tell(event)).open();
    device.map_err(|error| Failure::local(terminal::line(&error.to_string())))
}

/// The security group of those who bring images.
fn group_of(it: &Images, keys: &[Keys]) -> Result<SecurityGroup, Failure> {
    let mut groups = keys.iter().filter_map(Keys::group);
    let path = terminal::line(&it.path);
    match (&it.secured_by, groups.next(), groups.next()) {
        (None, Some(only), None) => Ok(only.clone()),
        (None, Some(_), Some(_)) => Err(Failure::usage(format!(
            "images at {path}: there are several security groups: say which (secured-by)"
        ))),
        (Some(name), _, _) => {
            let mut groups = keys.iter().filter_map(Keys::group);
            let found = groups.find(|group| group.name() == name.as_str());
            found.cloned().ok_or_else(|| {
                let name = terminal::line(name.as_str());
                Failure::usage(format!("images at {path}: no file has the keys of {name}"))
            })
        }
        (None, None, _) => Err(Failure::usage(format!(
            "images at {path} are for proven senders only, and [server] group names no security group"
        ))),
    }
}

/// What decides about images, and takes them into use.
struct Activation {
    kind: Option<String>,
    folder: PathBuf,
    program: Vec<String>,
    timeout: Duration,
    trusted_key: Option<VerifyingKey>,
}

impl Activation {
    /// The version that is in use, as far as it is known.
    fn version(&self) -> u64 {
        let text = std::fs::read_to_string(self.folder.join("version"));
        text.ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0)
    }

    fn is_signed(&self, it: &Announcement) -> bool {
        let Some(key) = &self.trusted_key else {
            return true;
        };
        let signature = it.signature().and_then(|it| Signature::from_slice(it).ok());
        signature.is_some_and(|signature| key.verify_strict(&it.signed_part(), &signature).is_ok())
    }

    fn run(&self, it: &Announcement, image: &Path) -> Result<(), String> {
        let Some((program, arguments)) = self.program.split_first() else {
            return Ok(());
        };
        let text = |bytes: Option<&[u8]>| hex::plain(bytes.unwrap_or_default());
        let mut child = Command::new(program)
            .args(arguments)
            .arg(image)
            .env("ANTIPHON_IMAGE_ID", it.id().to_string())
            .env("ANTIPHON_IMAGE_NAME", it.name())
            .env("ANTIPHON_IMAGE_KIND", it.kind())
            .env("ANTIPHON_IMAGE_VERSION", it.version().to_string())
            .env("ANTIPHON_IMAGE_MANIFEST", text(it.manifest()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("{program}: {error}"))?;
        let until = Instant::now() + self.timeout;
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("{program}: {status}")),
                Ok(None) if Instant::now() < until => std::thread::sleep(LOOK_EVERY),
                Ok(None) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(format!("{program} did not end in time"));
                }
                Err(error) => return Err(format!("{program}: {error}")),
            }
        }
    }
}

impl Installation for Activation {
    fn accept(&mut self, it: &Announcement, _: &Sender) -> Result<(), Refusal> {
        if self.kind.as_ref().is_some_and(|kind| kind != it.kind()) {
            return Err(Refusal::Kind);
        }
        if !self.is_signed(it) {
            return Err(Refusal::Signature);
        }
        if it.version() < self.version() {
            return Err(Refusal::Version);
        }
        Ok(())
    }

    fn activate(
        &mut self,
        it: &Announcement,
        image: &mut dyn ReadAt,
    ) -> Result<(), ActivationError> {
        let path = self.folder.join("image");
        let failed = |error: String| ActivationError::new(&error);
        copy_image(image, &path).map_err(|error| failed(error.to_string()))?;
        self.run(it, &path).map_err(failed)?;
        // What is not known to be older is not refused: no version is worse than a wrong one.
        let _ = std::fs::write(self.folder.join("version"), format!("{}\n", it.version()));
        Ok(())
    }
}

/// Prints what happens, and progress in steps of ten percent.
struct Telling {
    path: String,
    json: bool,
    tenth: u64,
}

impl Telling {
    fn new(path: String, json: bool) -> Self {
        Self {
            path,
            json,
            tenth: 0,
        }
    }

    fn tell(&mut self, event: &DeviceEvent) {
        if let Some(line) = self.line(event) {
            let _ = print_line(&line); // nobody reads any more: the server goes on
        }
    }

    fn line(&mut self, event: &DeviceEvent) -> Option<String> {
        let (name, id, text) = match event {
            DeviceEvent::Restored { id, have, total } => {
                let text = format!("goes on with {have} of {total} blocks");
                ("restored", Some(id), text)
            }
            DeviceEvent::Forgotten => {
                let text = "what was noted cannot be read: begins anew".to_owned();
                ("forgotten", None, text)
            }
            DeviceEvent::Accepted { id, name, from } => {
                self.tenth = 0;
                let text = format!("accepted from {from}: {}", terminal::line(name));
                ("accepted", Some(id), text)
            }
            DeviceEvent::Progress { id, have, total } => {
                let tenth = u64::from(*have) * 10 / u64::from(*total).max(1);
                if tenth <= self.tenth {
                    return None;
                }
                self.tenth = tenth;
                ("progress", Some(id), format!("{have} of {total} blocks"))
            }
            DeviceEvent::Corrupted { id, span } => {
                let text = match span {
                    Some(span) => format!("span {span} is corrupted: it is received again"),
                    None => "the digests are corrupted: they are received again".to_owned(),
                };
                ("corrupted", Some(id), text)
            }
            DeviceEvent::Repairing { id, missing } => {
                let text = format!("asks for {missing} blocks");
                ("repairing", Some(id), text)
            }
            DeviceEvent::Waiting { id, missing } => {
                let text = format!("waits for the distributor: {missing} blocks are missing");
                ("waiting", Some(id), text)
            }
            DeviceEvent::Verified(id) => ("verified", Some(id), "verified".to_owned()),
            DeviceEvent::Activated(id) => ("activated", Some(id), "activated".to_owned()),
            DeviceEvent::Failed { id, why } => {
                let why = terminal::line(&why.to_string());
                ("failed", Some(id), format!("failed: {why}"))
            }
            DeviceEvent::Cancelled(id) => ("cancelled", Some(id), "cancelled".to_owned()),
        };
        let id = id.map(ToString::to_string);
        Some(match self.json {
            true => json!({
                "event": "image", "path": self.path, "id": id, "change": name, "text": text,
            })
            .to_string(),
            false => format!(
                "image {} at {}: {text}",
                id.as_deref().unwrap_or("?"),
                terminal::line(&self.path)
            ),
        })
    }
}

#[cfg(test)]
mod tests;
