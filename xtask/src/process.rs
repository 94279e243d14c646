//! Running other programs: nothing on their input, their output shown as it comes.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Outcome;

/// A command that will run in `folder` with nothing to read.
pub(crate) fn command(folder: &Path, program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).stdin(Stdio::null());
    command
}

/// Runs to the end; the error names the program and how it ended.
pub(crate) fn run(mut command: Command) -> Outcome {
    let name = shown(&command);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{name}` ended with {status}")),
        Err(error) => Err(format!("`{name}` did not start: {error}")),
    }
}

/// Runs to the end and returns what it printed.
pub(crate) fn output_of(mut command: Command) -> Result<String, String> {
    let name = shown(&command);
    match command.stderr(Stdio::inherit()).output() {
        Ok(output) if output.status.success() => String::from_utf8(output.stdout)
            .map_err(|_| format!("`{name}` printed something that is not UTF-8")),
        Ok(output) => Err(format!("`{name}` ended with {}", output.status)),
        Err(error) => Err(format!("`{name}` did not start: {error}")),
    }
}

/// The command line, as a person would type it (long ones are cut).
fn shown(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    if line.len() > 200 {
        let cut = (0..=200).rev().find(|&at| line.is_char_boundary(at));
        line.truncate(cut.unwrap_or(0));
        line.push_str("...");
    }
    line
}
