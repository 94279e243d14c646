//! Developer commands, run as `cargo xtask COMMAND`.

mod conformance;
mod mutants;
mod needs;
mod process;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  test              install what the tests need (tests/needs.txt), then run everything that ./check runs;
                    the last line is `N passed, N failed`
  peers [--long]    only install; --long also what `./check long` needs
  conformance       write docs/conformance.md: each requirement, its status, the tests that prove it
      --check         write nothing; fail when docs/conformance.md is not up to date
      --closed CAP    also fail when capability CAP has an open row, an excused MUST of code,
                      or too many excuses (may be repeated)
  mutants           break the code at random places and see whether a test notices
      --seed S        which sample (default 1)
      --count N       how many mutants that compile (default 200)
      --package P     may be repeated (default antiphon-wire and antiphon-proto)
      --result FILE   where the summary goes (default target/mutants/sample.md)
  help              this text
";

/// How a command failed: already reported by the program that it ran, or with a message of our own.
type Outcome = Result<(), String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rest = arguments.get(1..).unwrap_or_default();
    let root = root();
    let outcome = match arguments.first().map(String::as_str) {
        Some("test") => return test(&root),
        Some("peers") => needs::install(&root, rest.iter().any(|a| a == "--long")),
        Some("conformance") => conformance::run(&root, rest),
        Some("mutants") => mutants::run(&root, rest),
        Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            Ok(())
        }
        None => Err(format!("which command?\n\n{HELP}")),
        Some(other) => Err(format!("no command `{other}`\n\n{HELP}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Installs, then checks. Whatever happens, the last line is a count that a machine can read.
fn test(root: &Path) -> ExitCode {
    if let Err(message) = needs::install(root, false) {
        eprintln!("xtask: {message}");
        println!("\n0 passed, 1 failed");
        return ExitCode::FAILURE;
    }
    match process::run(process::command(root, "./check")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The root of the checkout: the folder above this crate's.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
