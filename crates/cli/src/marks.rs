//! Which state counts the sequence numbers of which keys, and knows what was received with them: noted in the folders of the
//! description and of the private key, so that a description that was renamed or copied, or whose state has gone, does not begin anew.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use antiphon::store::StoreId;
use antiphon_oscore::crypto::hkdf;
use antiphon_oscore::suite::Hkdf;

use crate::failure::Failure;
use crate::hex;
use crate::preconfigured::Preconfigured;
use crate::terminal::line;

/// The file of notes in a folder. A line for each: keys, state, and the path of the state, which is only for people.
pub(crate) const FILE: &str = "antiphon.states";

const HEAD: &str = "# Which state counts the sequence numbers of which keys. Without this a renamed or copied description would begin them again.";

/// Keys, and where it is noted which state counts their numbers.
pub(crate) struct Marks {
    description: PathBuf,
    folders: Vec<PathBuf>,
    /// What tells keys from each other, and from which none can be found out.
    keys: String,
    /// Of a silent server, which has no sequence numbers: its state knows what was received.
    silent: bool,
}

impl Marks {
    /// Those of a description.
    pub(crate) fn of(path: &Path, described: &Preconfigured) -> Result<Self, Failure> {
        let mut folders = vec![folder_of(path)];
        let (secret, gid, sender_id) = match described {
            Preconfigured::Group(group) => {
                if let Some(own) = &group.own {
                    let of_key = folder_of(&folders[0].join(&own.key_file));
                    if of_key != folders[0] {
                        folders.push(of_key);
                    }
                }
                let sender_id = group.own.as_ref().map(|own| &own.sender_id);
                (&group.master_secret, group.gid.as_slice(), sender_id)
            }
            Preconfigured::Pair(pair) => {
                let id = pair.id_context.as_deref().unwrap_or_default();
                (&pair.master_secret, id, Some(&pair.sender_id))
            }
        };
        let mut about = vec![gid.len() as u8];
        about.extend_from_slice(gid);
        about.extend(sender_id.into_iter().flatten());
        let label: &[u8] = match sender_id {
            Some(_) => b"antiphon states",
            None => b"antiphon states of silent servers",
        };
        let mut print = [0; 16];
        hkdf(
            Hkdf::Sha256,
            label,
            &[secret.as_bytes()],
            &about,
            &mut print,
        )
        .map_err(|error| Failure::local(format!("{}: {error}", path.display())))?;
        Ok(Self {
            description: path.to_owned(),
            folders,
            keys: hex::plain(&print),
            silent: sender_id.is_none(),
        })
    }

    /// Refuses to count in a state, which is not there yet where it has no id, if another one counts.
    pub(crate) fn refuse_another(&self, state: &Path, id: Option<StoreId>) -> Result<(), Failure> {
        let id = id.map(|id| id.to_string());
        for folder in &self.folders {
            let other = read(folder)?
                .into_iter()
                .find(|note| note.keys == self.keys && Some(note.state.as_str()) != id.as_deref());
            if let Some(note) = other {
                return Err(self.counted_elsewhere(state, &folder.join(note.path)));
            }
        }
        Ok(())
    }

    fn counted_elsewhere(&self, state: &Path, other: &Path) -> Failure {
        let description = line(&self.description.display().to_string());
        let (here, there) = (
            line(&state.display().to_string()),
            line(&other.display().to_string()),
        );
        let is_here = same_file(state, other);
        let what = match (other.exists() && !is_here, self.silent) {
            (true, false) => format!(
                "{there} counts the sequence numbers of these keys, not {here}.\nIn another state they would begin again, which breaks the \
                 encryption. Use the one that counts (--group {there}), or give the description its old name back."
            ),
            (true, true) => format!(
                "{there} knows what was received with these keys, not {here}.\nWith another state old messages would be taken for new \
                 ones. Use the one that knows (--group {there}), or give the description its old name back."
            ),
            (false, false) => format!(
                "the state that counted the sequence numbers of these keys has gone: it was {there}.\nIt is not known which were used, \
                 and using one twice breaks the encryption. If it was moved, use it where it is now (--group FILE.state). Otherwise \
                 make new keys for all members: antiphon oscore rekey {description} --out DIR"
            ),
            (false, true) => format!(
                "the state that knew what was received with these keys has gone: it was {there}.\nWith another one old messages would be \
                 taken for new ones. If it was moved, use it where it is now (--group FILE.state). Otherwise \
                 make new keys for all members: antiphon oscore rekey {description} --out DIR"
            ),
        };
        Failure::local(format!("{description}: {what}"))
    }

    /// Notes who counts, durably, if that is not noted yet. Before the first number is used.
    pub(crate) fn note(&self, state: &Path, id: StoreId) -> Result<(), Failure> {
        let mut failed = None;
        let mut noted = false;
        for folder in &self.folders {
            match self.note_in(folder, state, id) {
                Ok(()) => noted = true,
                Err(error) => failed = Some((folder, error)),
            }
        }
        let Some((folder, error)) = failed else {
            return Ok(());
        };
        let folder = line(&folder.display().to_string());
        let text = format!(
            "{folder}: it cannot be noted which state counts the sequence numbers of these keys: {error}"
        );
        match noted {
            true => Ok(()),
            // A folder of the administrator's: whoever uses it there renames nothing in it.
            false
                if error.kind() == io::ErrorKind::PermissionDenied
                    || error.kind() == io::ErrorKind::ReadOnlyFilesystem =>
            {
                eprintln!("antiphon: {text}");
                Ok(())
            }
            false => Err(Failure::local(text)),
        }
    }

    fn note_in(&self, folder: &Path, state: &Path, id: StoreId) -> io::Result<()> {
        let id = id.to_string();
        let there = read_notes(folder)?;
        if there
            .iter()
            .any(|note| note.keys == self.keys && note.state == id)
        {
            return Ok(());
        }
        let state = std::path::absolute(state)?;
        let inside = std::path::absolute(folder)?;
        let shown = state.strip_prefix(&inside).unwrap_or(&state).display();
        // A line that a crash has divided is ended by the next one.
        let mut text = format!("\n{} {id} {shown}\n", self.keys);
        if there.is_empty() {
            text.insert_str(0, HEAD);
        }
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(folder.join(FILE))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        #[cfg(unix)]
        std::fs::File::open(folder)?.sync_all()?;
        Ok(())
    }
}

struct Note {
    keys: String,
    state: String,
    path: String,
}

fn read(folder: &Path) -> Result<Vec<Note>, Failure> {
    read_notes(folder).map_err(|error| {
        let path = folder.join(FILE);
        Failure::local(format!("{}: {error}", path.display()))
    })
}

fn read_notes(folder: &Path) -> io::Result<Vec<Note>> {
    let text = match std::fs::read_to_string(folder.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    let note = |line: &str| {
        let (keys, rest) = line.split_once(' ')?;
        let (state, path) = rest.split_once(' ')?;
        let is_note = keys.len() == 32 && state.len() == 32;
        is_note.then(|| Note {
            keys: keys.to_owned(),
            state: state.to_owned(),
            path: path.to_owned(),
        })
    };
    Ok(text.lines().filter_map(note).collect())
}

/// Whether two paths lead to the same place, which need not be there.
fn same_file(one: &Path, other: &Path) -> bool {
    let whole = |path: &Path| {
        let folder = folder_of(path).canonicalize().ok()?;
        Some(folder.join(path.file_name()?))
    };
    whole(one).is_some_and(|path| whole(other) == Some(path))
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}
