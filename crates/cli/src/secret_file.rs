//! Files that hold secrets: for their owner alone, and read only if they are.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use antiphon_oscore::crypto::{Curve, SoftwareKey};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::hex;

/// No file of ours that holds secrets is longer.
const LONGEST: u64 = 1 << 20;

/// Writes a new file for its owner alone; one that is there is never replaced.
pub(crate) fn create(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::usage(format!(
            "{} is there already; keys are never overwritten",
            path.display()
        )),
        _ => failed(path, &error),
    })
}

/// The text of a file that may hold secrets.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let file = File::open(path).map_err(|error| failed(path, &error))?;
    let mut text = Zeroizing::new(String::new());
    file.take(LONGEST + 1)
        .read_to_string(&mut text)
        .map_err(|error| failed(path, &error))?;
    match text.len() as u64 > LONGEST {
        true => Err(Failure::usage(format!(
            "{} is longer than any such file",
            path.display()
        ))),
        false => Ok(text),
    }
}

/// Refuses a file that others than its owner may read or write.
pub(crate) fn refuse_exposed(path: &Path) -> Result<(), Failure> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let metadata = std::fs::metadata(path).map_err(|error| failed(path, &error))?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let path = path.display();
            return Err(Failure::local(format!(
                "{path} holds a secret and is open to others (its mode is {mode:03o}): chmod 600 {path}"
            )));
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::local(format!("{}: {error}", path.display()))
}

/// The file beside `path` with this ending behind its name.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawKey {
    curve: String,
    private_key: String,
}

/// Writes a private key into a new file.
pub(crate) fn write_key(path: &Path, key: &SoftwareKey) -> Result<(), Failure> {
    let text = Zeroizing::new(format!(
        "# A private key of antiphon. Whoever has it can speak in your name.\ncurve = \"{}\"\nprivate-key = \"{}\"\n",
        key.curve().name(),
        *Zeroizing::new(hex::plain(key.to_bytes().as_bytes())),
    ));
    create(path, text.as_bytes())
}

/// Reads a private key that [`write_key`] wrote. No error shows anything of it.
pub(crate) fn read_key(path: &Path) -> Result<SoftwareKey, Failure> {
    refuse_exposed(path)?;
    let shown = path.display();
    let text = read(path)?;
    let raw: RawKey = toml::from_str(&text).map_err(|_| {
        Failure::usage(format!(
            "{shown} is no private key: `antiphon oscore keygen` makes one"
        ))
    })?;
    let digits = Zeroizing::new(raw.private_key);
    let curve = Curve::from_name(&raw.curve)
        .filter(|curve| curve.supported())
        .ok_or_else(|| Failure::usage(format!("{shown}: this version has no such curve")))?;
    let wrong = || Failure::usage(format!("{shown}: not a private key of {}", curve.name()));
    let bytes = Zeroizing::new(hex::parse(&digits).map_err(|_| wrong())?);
    SoftwareKey::from_bytes(curve, &bytes).map_err(|_| wrong())
}

/// Random bytes of the operating system.
pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, Failure> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut())
        .map_err(|error| Failure::local(format!("no random numbers: {error}")))?;
    Ok(bytes)
}

/// A new private key.
pub(crate) fn generate(curve: Curve) -> Result<SoftwareKey, Failure> {
    let entropy = random::<64>()?;
    SoftwareKey::generate(curve, &entropy).map_err(|error| Failure::local(error.to_string()))
}
