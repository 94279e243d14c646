//! Looking at a state file without using it.

use std::path::{Path, PathBuf};

use antiphon::store::{Contents, Continuity, FileDisk, Options, SealKey, Store, StoreError};
use clap::Args;

use crate::failure::Failure;
use crate::{secret_file, terminal};

/// Which state file, and its key.
#[derive(Debug, Args)]
pub(super) struct StateFile {
    /// The state file
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,

    /// The key that seals it [default: FILE.key]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// What was found.
pub(super) struct Found {
    pub(super) contents: Contents,
    /// How the last owner left it, or why that cannot be said.
    pub(super) left: Result<Continuity, StoreError>,
}

impl StateFile {
    pub(super) fn shown(&self) -> String {
        terminal::line(&self.file.display().to_string())
    }

    /// What the file holds, even if it is in use or not the last one; and whether it could be used.
    pub(super) fn look(&self) -> Result<Found, Failure> {
        let path: &Path = &self.file;
        // Neither the lock file nor anything else is made where there is no state.
        let bytes = std::fs::read(path)
            .map_err(|error| Failure::local(format!("{}: {error}", path.display())))?;
        let key = match &self.key {
            Some(key) => key.clone(),
            None => secret_file::beside(path, ".key"),
        };
        let key = SealKey::load(&key).map_err(|error| Failure::local(error.to_string()))?;
        match Store::examine(FileDisk::new(path), &key, Options::default()) {
            Ok((Some(contents), continuity)) => Ok(Found {
                contents,
                left: Ok(continuity),
            }),
            Ok((None, _)) => Err(Failure::local(format!("{} is gone", path.display()))),
            Err(error @ (StoreError::Locked { .. } | StoreError::NotTheLast { .. })) => {
                let contents = Contents::read(&bytes, &key)
                    .map_err(|unreadable| broken(path, &unreadable.to_string()))?;
                Ok(Found {
                    contents,
                    left: Err(error),
                })
            }
            Err(StoreError::Io { source, .. }) => {
                Err(Failure::local(format!("{}: {source}", path.display())))
            }
            Err(error) => Err(Failure {
                message: error.to_string(),
                code: crate::exit::MALFORMED,
            }),
        }
    }
}

fn broken(path: &Path, why: &str) -> Failure {
    Failure {
        message: format!("{}: {why}", path.display()),
        code: crate::exit::MALFORMED,
    }
}

/// How it was left, in words.
pub(super) fn left_text(left: &Result<Continuity, StoreError>) -> String {
    match left {
        Ok(Continuity::Created) => "new".into(),
        Ok(Continuity::Clean) => "closed in good order".into(),
        Ok(Continuity::Crashed { process, same_boot }) => format!(
            "process {process} ended without closing it{}",
            match same_boot {
                Some(true) => "",
                Some(false) => ", and the machine was started since",
                None => "",
            }
        ),
        Ok(_) => "not the last one in use".into(),
        Err(StoreError::Locked { owner, .. }) if owner.is_empty() => "in use".into(),
        Err(StoreError::Locked { owner, .. }) => format!("in use by process {owner}"),
        Err(StoreError::NotTheLast { mismatch, .. }) => mismatch.to_string(),
        Err(other) => other.to_string(),
    }
}
