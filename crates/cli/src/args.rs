//! The command line as a whole; each subcommand describes its own arguments.

use clap::{Parser, Subcommand};

use crate::decode::{self, DecodeArgs};
use crate::failure::Failure;

/// Ask a whole CoAP group, and see who answered and who did not.
#[derive(Debug, Parser)]
#[command(
    name = "antiphon",
    version,
    about,
    max_term_width = 110,
    disable_help_subcommand = true,
    after_help = "\
Exit codes:
  0  all expected members answered (at least one, if none were named)
  2  the command line, or a file it names, says something that cannot be meant
  3  some expected members are missing
  4  nobody answered
  5  this machine could not do it: interface, address, file

`antiphon COMMAND --help` shows examples."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show a datagram as text, or where it is malformed
    Decode(DecodeArgs),
}

impl Cli {
    /// Runs the subcommand: its exit code, or why it has none.
    pub(crate) fn run(&self) -> Result<u8, Failure> {
        match &self.command {
            Command::Decode(args) => decode::run(args),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
