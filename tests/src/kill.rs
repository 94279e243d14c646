//! Programs that are killed at moments they do not choose.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use antiphon_netsim::Rng;

/// When a program is killed.
#[derive(Clone, Copy, Debug)]
pub struct Kills {
    /// How often it is started and killed.
    pub rounds: u64,
    /// What the moments are drawn from.
    pub seed: u64,
    /// It is killed so many idle turns of a loop after a line of its choosing, at most.
    pub longest: u64,
    /// It is killed after at most so many lines.
    pub lines: u64,
}

/// Starts a program again and again, kills it (SIGKILL) in the middle of its work, and gives `check` the lines that it had printed until then, in
/// order: what it said it had done. A line that is not whole does not count.
///
/// The program prints a line for each thing that it has made durable, without buffering, and does not end by itself.
///
/// # Panics
/// When the program does not start or ends by itself; and when `check` does.
pub fn kill_again_and_again(
    kills: Kills,
    mut program: impl FnMut(u64) -> Command,
    mut check: impl FnMut(u64, Vec<String>),
) {
    let mut rng = Rng::new(kills.seed);
    for round in 0..kills.rounds {
        let mut command = program(round);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let output = child.stdout.take().expect("it was asked for");
        let mut output = BufReader::new(output);
        let mut lines = Vec::new();
        let mut line = String::new();
        for _ in 0..rng.below(kills.lines + 1) {
            if output.read_line(&mut line).expect("a pipe can be read") == 0 {
                break;
            }
            lines.push(line.split_off(0));
        }
        for _ in 0..rng.below(kills.longest + 1) {
            core::hint::spin_loop();
        }
        let ended = child.try_wait().expect("a child can be asked");
        assert!(
            ended.is_none(),
            "round {round}: ended by itself, {ended:?}: {lines:#?}"
        );
        child.kill().expect("a running child can be killed");
        child.wait().expect("a child can be waited for");
        // What it printed before it was killed is still in the pipe.
        while output.read_line(&mut line).expect("a pipe can be read") > 0 {
            lines.push(line.split_off(0));
        }
        lines.retain(|line| line.ends_with('\n'));
        for line in &mut lines {
            line.truncate(line.trim_end().len());
        }
        check(round, lines);
    }
}
