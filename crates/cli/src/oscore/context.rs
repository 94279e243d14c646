//! `antiphon oscore context`: what a file describes goes into a state file, once.

use std::path::PathBuf;

use antiphon::security_group::Update;
use clap::Args;
use serde_json::json;

use crate::failure::Failure;
use crate::preconfigured::{self, Preconfigured, suite_text};
use crate::state;
use crate::terminal::{self, Style};
use crate::{exit, hex};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  antiphon oscore context lamp-1.toml --state /var/lib/antiphon/lamp-1.state
  antiphon oscore context lamp-1.toml --check

A group:
  [group]
  name = \"lights\"
  gid = \"4711\"
  master-secret = \"@lights.secret\"      # hexadecimal, here or in a file
  [me]
  sender-id = \"01\"
  credential = \"a2026...\"               # `antiphon oscore keygen` shows it
  key-file = \"lamp-1.key\"
  [[member]]
  sender-id = \"00\"
  credential = \"a2026...\"

What was put into a state file once goes on there: the same file may be given again, and changes members only. What would begin sequence
numbers again is refused. docs/security.md describes every key.")]
pub(super) struct ContextArgs {
    /// The description of a group or of an OSCORE context, in TOML
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The state file; it is made if it is not there, and its key beside it
    #[arg(long, value_name = "FILE", required_unless_present = "check")]
    state: Option<PathBuf>,

    /// Only check the description
    #[arg(long, conflicts_with = "state")]
    check: bool,

    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

impl ContextArgs {
    pub(super) fn run(&self) -> Result<u8, Failure> {
        let described = preconfigured::read(&self.file)?;
        let change = match &self.state {
            None => None,
            Some(path) => {
                let (state, _, change) = state::described(&self.file, &described, path)?;
                state
                    .store
                    .close()
                    .map_err(|error| state::unusable(&error))?;
                Some(change)
            }
        };
        match self.json {
            true => println!("{}", as_json(&described, change.as_ref())),
            false => print!("{}", as_text(&described, change.as_ref(), Style::stdout())),
        }
        Ok(exit::ALL)
    }
}

fn change_text(change: &Update) -> String {
    match change {
        Update::New => "is in the state file now; sequence numbers begin at 0".into(),
        Update::NewKeys => "has new keys now; sequence numbers begin at 0".into(),
        Update::NewSenderId => "has a new Sender ID now; sequence numbers begin at 0".into(),
        Update::Members { added, removed } => {
            let list = |what: &str, names: &[String]| match names {
                [] => String::new(),
                names => format!(" {what} {}", names.join(", ")),
            };
            format!(
                "goes on, with other members:{}{}",
                list("added", added),
                list("removed", removed)
            )
        }
        _ => "is in the state file already, and goes on".into(),
    }
}

fn as_text(described: &Preconfigured, change: Option<&Update>, style: Style) -> String {
    let text = change.map_or_else(|| "can be used".to_owned(), change_text);
    let (kind, name) = match described {
        Preconfigured::Group(group) => ("group", &group.name),
        Preconfigured::Pair(pair) => ("context", &pair.name),
    };
    let mut out = format!(
        "{kind} {} {}\n",
        style.bold(&terminal::line(name)),
        terminal::line(&text)
    );
    match described {
        Preconfigured::Group(group) => {
            out.push_str(&format!(
                "  Gid {}, generation {}, {} other members\n  {}\n",
                hex::plain(&group.gid),
                group.generation,
                group.members.len(),
                suite_text(&group.suite)
            ));
        }
        Preconfigured::Pair(pair) => out.push_str(&format!("  {}\n", pair.aead.name())),
    }
    if let Some(Update::Members { removed, .. }) = change
        && !removed.is_empty()
    {
        out.push_str("  Who was removed still has the group's secret: only new keys for the others keep it out.\n");
    }
    let advice = described.advice();
    if !advice.is_empty() {
        out.push_str(&format!("\n{}\n", style.bold("worth a second look")));
        for advice in advice {
            out.push_str(&format!("  - {}\n", terminal::line(&advice)));
        }
    }
    out
}

fn as_json(described: &Preconfigured, change: Option<&Update>) -> serde_json::Value {
    let (kind, name) = match described {
        Preconfigured::Group(group) => ("group", &group.name),
        Preconfigured::Pair(pair) => ("context", &pair.name),
    };
    let (what, added, removed) = match change {
        None => (None, None, None),
        Some(Update::New) => (Some("new"), None, None),
        Some(Update::NewKeys) => (Some("new-keys"), None, None),
        Some(Update::NewSenderId) => (Some("new-sender-id"), None, None),
        Some(Update::Members { added, removed }) => (Some("members"), Some(added), Some(removed)),
        Some(_) => (Some("nothing"), None, None),
    };
    json!({
        "event": "context", "kind": kind, "name": name, "change": what, "added": added, "removed": removed,
        "advice": described.advice(),
    })
}
