//! `antiphon oscore`: keys, groups and contexts that are configured by hand, and the state files in which they live.

mod context;
mod inspect;
mod keygen;
mod new_group;
mod rekey;
mod state_file;
mod verify;

use clap::{Args, Subcommand};

use crate::failure::Failure;

/// Keys, groups and contexts, and the state files in which they live
#[derive(Debug, Args)]
#[command(
    disable_help_subcommand = true,
    after_help = "\
Example, from nothing to an answer that is signed:
  antiphon oscore new-group lights --member switch --member lamp-1 --member lamp-2 --out lights
  antiphon serve --config lamp-1.toml          # with group = \"lights/lamp-1.toml\" in [server]
  antiphon get coap://224.0.1.187/light --group lights/switch.toml -i eth0

docs/security.md goes through it step by step."
)]
pub(crate) struct OscoreArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a private key, and show the credential that belongs to it
    Keygen(keygen::KeygenArgs),
    /// Make a whole group: fresh secret, a key and a file for each member
    NewGroup(new_group::NewGroupArgs),
    /// Make new keys for a group that is there: names, Sender IDs and private keys stay
    Rekey(rekey::RekeyArgs),
    /// Put a group or context that a file describes into a state file
    Context(context::ContextArgs),
    /// Show what a state file holds, without its secrets
    Inspect(inspect::InspectArgs),
    /// Check that a state file is whole, and the last one that was in use
    Verify(verify::VerifyArgs),
}

impl OscoreArgs {
    /// Runs the subcommand.
    pub(crate) fn run(&self) -> Result<u8, Failure> {
        match &self.command {
            Command::Keygen(args) => args.run(),
            Command::NewGroup(args) => args.run(),
            Command::Rekey(args) => args.run(),
            Command::Context(args) => args.run(),
            Command::Inspect(args) => args.run(),
            Command::Verify(args) => args.run(),
        }
    }
}
