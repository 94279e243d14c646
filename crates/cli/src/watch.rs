//! Descriptions that change while a command runs: new keys and members are taken over.
//!
//! The file is looked at every second; by a server at once on SIGHUP as well. What does not fit leaves everything as it was.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use antiphon::SecurityGroup;
use antiphon::security_group::Update;
use antiphon::store::StoreId;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::failure::Failure;
use crate::marks::Marks;
use crate::preconfigured::{self, Preconfigured};
use crate::terminal::line;
use crate::{hex, state};

/// How often a file is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Looks at a file until it is dropped.
pub(crate) struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What has become of a file that changed.
pub(crate) enum News {
    /// It was taken over.
    Changed {
        group: String,
        gid: String,
        generation: u64,
        update: Update,
    },
    /// It was not: why.
    Refused { file: String, why: String },
}

impl News {
    pub(crate) fn json(&self) -> serde_json::Value {
        match self {
            Self::Changed {
                group,
                gid,
                generation,
                update,
            } => {
                let (change, added, removed) = match update {
                    Update::NewKeys => ("new-keys", None, None),
                    Update::NewSenderId => ("new-sender-id", None, None),
                    Update::Members { added, removed } => ("members", Some(added), Some(removed)),
                    _ => ("nothing", None, None),
                };
                json!({
                    "event": "keys", "group": group, "change": change, "gid": gid, "generation": generation,
                    "added": added, "removed": removed,
                })
            }
            Self::Refused { file, why } => {
                json!({"event": "keys", "change": "refused", "file": file, "reason": why})
            }
        }
    }
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed {
                group,
                gid,
                generation,
                update,
            } => {
                let group = line(group);
                match update {
                    Update::NewKeys => write!(
                        f,
                        "{group} has new keys from now on: Gid {gid}, generation {generation}"
                    ),
                    Update::NewSenderId => write!(f, "{group} knows us by a new Sender ID"),
                    Update::Members { added, removed } => {
                        write!(f, "{group} has other members:")?;
                        if !added.is_empty() {
                            write!(f, " {} came", line(&added.join(", ")))?;
                        }
                        if !removed.is_empty() {
                            write!(f, " {} left", line(&removed.join(", ")))?;
                        }
                        Ok(())
                    }
                    _ => write!(f, "{group} is as before"),
                }
            }
            Self::Refused { file, why } => write!(
                f,
                "{} has changed and is not used: {}; everything goes on as before",
                line(file),
                line(why)
            ),
        }
    }
}

/// What tells one content of a file from another, cheaply.
type Stamp = Option<(SystemTime, u64, u64)>;

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    #[cfg(unix)]
    let number = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let number = 0;
    Some((metadata.modified().ok()?, metadata.len(), number))
}

/// Takes over what changes in the description of a group, whose numbers are counted in this state.
pub(crate) fn watch(
    path: PathBuf,
    state: (PathBuf, StoreId),
    group: SecurityGroup,
    serves: bool,
    tell: impl Fn(News) + Send + 'static,
) -> Watch {
    let used = stamp(&path);
    Watch(tokio::spawn(async move {
        let mut hangup = Hangup::new(serves);
        let (mut used, mut seen) = (used, used);
        loop {
            let asked = hangup.or(EVERY).await;
            let now = stamp(&path);
            // A file that changes this very moment may not be whole yet.
            let settled = now == core::mem::replace(&mut seen, now);
            if asked || (settled && now != used && now.is_some()) {
                used = now;
                if let Some(news) = take_over(&path, &state, &group, asked).await {
                    tell(news);
                }
            }
        }
    }))
}

/// Reads a description and has the group as it says.
async fn take_over(
    path: &Path,
    state: &(PathBuf, StoreId),
    group: &SecurityGroup,
    asked: bool,
) -> Option<News> {
    let refused = |why: String| {
        let file = path.display().to_string();
        Some(News::Refused { file, why })
    };
    let wanted = preconfigured::read(path).and_then(|described| {
        let marks = Marks::of(path, &described)?;
        marks.refuse_another(&state.0, Some(state.1))?;
        match &described {
            Preconfigured::Group(file) => Ok((state::builder_of(file)?, marks)),
            Preconfigured::Pair(_) => Err(Failure::usage("it describes an OSCORE context now")),
        }
    });
    let (builder, marks) = match wanted {
        Ok(wanted) => wanted,
        Err(failure) => return refused(failure.message),
    };
    // Before anything is sent with them.
    if let Err(failure) = marks.note(&state.0, state.1) {
        return refused(failure.message);
    }
    match group.install(builder).await {
        Ok(Update::Nothing) if !asked => None,
        Ok(update) => Some(News::Changed {
            group: group.name().to_owned(),
            gid: hex::plain(&group.gid()),
            generation: group.generation(),
            update,
        }),
        Err(error) => refused(state::refused(&error).message),
    }
}

/// SIGHUP, where there is such a thing.
struct Hangup {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl Hangup {
    /// Whoever does not serve ends with its terminal, as usual.
    fn new(serves: bool) -> Self {
        #[cfg(not(unix))]
        let _ = serves;
        Self {
            #[cfg(unix)]
            signal: serves
                .then(|| tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()))
                .and_then(Result::ok),
        }
    }

    /// Waits so long, or until the signal comes: then it is true.
    async fn or(&mut self, time: Duration) -> bool {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal {
            return tokio::time::timeout(time, signal.recv()).await.is_ok();
        }
        tokio::time::sleep(time).await;
        false
    }
}
