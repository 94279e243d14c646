//! The `antiphon` command: ask a whole CoAP group, and see who answered and who did not.

mod args;
mod cbor;
mod collecting;
mod decode;
mod discover;
mod distribute;
mod duration;
mod exit;
mod failure;
mod hex;
mod marks;
mod members;
mod offline;
mod oscore;
mod outcome;
mod payload;
mod preconfigured;
mod progress;
mod quickstart;
mod render;
mod request;
mod secret_file;
mod secured;
mod senml;
mod serve;
mod state;
mod table;
mod terminal;
mod watch;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    match cli.run() {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            let style = terminal::Style::stderr();
            eprintln!(
                "{} {}",
                style.bad("antiphon:"),
                terminal::block(&failure.message)
            );
            ExitCode::from(failure.code)
        }
    }
}
