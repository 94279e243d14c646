//! `antiphon oscore verify`: is a state file whole, the last one that was in use, and can everything in it be used?

use clap::Args;
use serde_json::json;

use super::inspect::{known, loss_text};
use super::state_file::{StateFile, left_text};
use crate::exit;
use crate::failure::Failure;
use crate::secured::NEEDS_NEW_KEYS;
use crate::terminal::{self, Style};

#[derive(Debug, Args)]
#[command(after_help = "\
Checks that every record is sealed with the key and in its place, that the file is the one last in use (its witness), and that no group
in it has lost count of its sequence numbers. Changes nothing.

Exit code: 0 if all is in order, 1 if not, 5 if the file is in use or cannot be read.

Example:
  antiphon oscore verify /var/lib/antiphon/lamp-1.state && systemctl start lamp-1")]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    state: StateFile,

    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

impl VerifyArgs {
    pub(super) fn run(&self) -> Result<u8, Failure> {
        let found = match self.state.look() {
            Ok(found) => found,
            Err(failure) if self.json && failure.code == exit::MALFORMED => {
                println!(
                    "{}",
                    json!({"event": "verified", "ok": false, "problems": [failure.message]})
                );
                return Ok(exit::MALFORMED);
            }
            Err(failure) => return Err(failure),
        };
        if let Err(error @ antiphon::store::StoreError::Locked { .. }) = &found.left {
            return Err(Failure::local(format!(
                "{error}: whether it is the last one can only be said when it is not in use"
            )));
        }
        let mut problems = Vec::new();
        if found.left.is_err() {
            problems.push(left_text(&found.left));
        }
        let known = known(&found);
        for one in &known {
            if let Some(loss) = one.state.loss {
                problems.push(format!(
                    "{} {}: sequence numbers are lost: {}",
                    one.kind,
                    one.name,
                    loss_text(loss)
                ));
            }
        }
        let silent = known.iter().filter(|one| one.needs_new_keys());
        let warnings: Vec<String> = silent
            .map(|one| format!("{} {}: {NEEDS_NEW_KEYS}", one.kind, one.name))
            .collect();
        let ok = problems.is_empty();
        let style = Style::stdout();
        if self.json {
            println!(
                "{}",
                json!({"event": "verified", "ok": ok, "left": left_text(&found.left), "problems": problems, "warnings": warnings})
            );
        } else if ok {
            let names: Vec<String> = known
                .iter()
                .map(|one| format!("{} {}", one.kind, terminal::line(one.name)))
                .collect();
            println!(
                "{}  {}: {}",
                style.good("in order"),
                self.state.shown(),
                left_text(&found.left)
            );
            println!(
                "  {}",
                if names.is_empty() {
                    "nothing is in it".into()
                } else {
                    names.join(", ")
                }
            );
            for warning in &warnings {
                println!("  {}: {}", style.bold("but"), terminal::line(warning));
            }
        } else {
            println!("{}  {}", style.bad("not in order"), self.state.shown());
            for problem in &problems {
                println!("  {}", terminal::line(problem));
            }
            println!(
                "  Nothing may be sent with these keys any more. Make new ones: a higher generation and another Gid, for all members."
            );
        }
        Ok(if ok { exit::ALL } else { exit::MALFORMED })
    }
}
