//! `antiphon serve`: a member of groups, described by a TOML file.

mod config;
mod images;
mod leisure;
mod observe;
mod report;
mod run;
mod value;

use std::path::PathBuf;

use clap::Args;

use crate::exit;
use crate::failure::Failure;
use crate::terminal::Style;

#[derive(Debug, Args)]
#[command(after_help = "\
Example of a configuration:
  [server]
  listen = [\"0.0.0.0:5683\"]
  group = \"lamp-1.toml\"            # the security group: `antiphon oscore new-group` makes it

  [[group]]
  name = \"floor-3\"
  address = \"224.0.1.187\"
  interfaces = [\"eth0\"]
  secured-by = [\"lights\"]          # or, stated: unsecured = true

  [[resource]]
  path = \"/light\"
  rt = [\"light\"]
  value = \"off\"
  writable = true
  on-group = \"respond\"             # ignore (default), silent, respond

Examples:
  antiphon serve --config lamp.toml --check
  antiphon serve --config lamp.toml

docs/cli.md describes every key.")]
pub(crate) struct ServeArgs {
    /// The configuration, in TOML
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,

    /// Only check the configuration: show what would be served to whom, and what deserves a second look
    #[arg(long)]
    check: bool,

    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl ServeArgs {
    /// Runs the subcommand.
    pub(crate) fn run(&self) -> Result<u8, Failure> {
        let config = config::read(&self.config)?;
        if self.check {
            if self.json {
                println!("{}", report::as_json(&config));
            } else {
                print!("{}", report::as_text(&config, Style::stdout()));
            }
            return Ok(exit::ALL);
        }
        run::run(&config, self.json)
    }
}
