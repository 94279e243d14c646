//! Breaks the code at random places, one at a time, and sees whether a test notices.
//!
//! cargo-mutants knows every place; we draw a sample of them with a seed that is written down, so that anyone can draw the
//! same one. Mutants that do not compile prove nothing: the sample grows until enough of them did.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Outcome;
use crate::process::{command, output_of};

/// At least this many of a hundred mutants must be noticed.
const CAUGHT_AT_LEAST: usize = 90;
/// Mutants that change nothing that matters, each with the reason: `NAME WITHOUT POSITION<TAB>reason`.
const EXPLAINED: &str = "tests/mutants-explained.tsv";
/// Where cargo-mutants writes, below the root.
const OUTPUT: &str = "target/mutants";

/// What to draw from where.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    seed: u64,
    count: usize,
    packages: Vec<String>,
    result: String,
}

impl Plan {
    fn parse(arguments: &[String]) -> Result<Plan, String> {
        let mut plan = Plan {
            seed: 1,
            count: 200,
            packages: Vec::new(),
            result: format!("{OUTPUT}/sample.md"),
        };
        let mut words = arguments.iter();
        while let Some(option) = words.next() {
            let value = words
                .next()
                .ok_or_else(|| format!("{option} needs a value"))?;
            let number = || {
                value
                    .parse::<u64>()
                    .map_err(|_| format!("{option}: not a number: {value}"))
            };
            match option.as_str() {
                "--seed" => plan.seed = number()?,
                "--count" => plan.count = number()? as usize,
                "--package" => plan.packages.push(value.clone()),
                "--result" => plan.result.clone_from(value),
                _ => return Err(format!("mutants: no option `{option}`")),
            }
        }
        if plan.packages.is_empty() {
            plan.packages = vec!["antiphon-wire".into(), "antiphon-proto".into()];
        }
        Ok(plan)
    }
}

/// How the mutants of a sample ended, by name.
#[derive(Debug, Default)]
struct Outcomes {
    caught: Vec<String>,
    missed: Vec<String>,
    timeout: Vec<String>,
    unviable: Vec<String>,
}

impl Outcomes {
    /// Mutants that compiled. One that made a test run for ever was noticed.
    fn viable(&self) -> usize {
        self.caught.len() + self.timeout.len() + self.missed.len()
    }

    fn noticed(&self) -> usize {
        self.caught.len() + self.timeout.len()
    }

    /// Adds what cargo-mutants left in its folder about these mutants. It runs some that were not asked for (those that leave out
    /// a field pass its filter); they are not part of the sample.
    fn add(&mut self, folder: &Path, asked_for: &[String]) {
        let asked_for: BTreeSet<&str> = asked_for.iter().map(String::as_str).collect();
        let lines = |name: &str| -> Vec<String> {
            let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
            text.lines()
                .filter(|line| asked_for.contains(line))
                .map(String::from)
                .collect()
        };
        self.caught.extend(lines("caught.txt"));
        self.missed.extend(lines("missed.txt"));
        self.timeout.extend(lines("timeout.txt"));
        self.unviable.extend(lines("unviable.txt"));
    }
}

/// Draws, runs, writes the summary; fails when too few were noticed or a survivor has no explanation.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Outcome {
    let plan = Plan::parse(arguments)?;
    let explained = read_explained(root)?;
    let mut list = cargo_mutants(root, &plan);
    list.arg("--list");
    let mut all: Vec<String> = output_of(list)?.lines().map(String::from).collect();
    let total = all.len();
    shuffle(&mut all, plan.seed);

    let output = root.join(OUTPUT);
    if output.exists() {
        fs::remove_dir_all(&output).map_err(|e| format!("{}: {e}", output.display()))?;
    }
    let mut outcomes = Outcomes::default();
    let mut rest = all.as_slice();
    for batch in 1.. {
        let wanted = plan.count.saturating_sub(outcomes.viable());
        if wanted == 0 || rest.is_empty() {
            break;
        }
        // About one in twelve does not compile.
        let (now, later) = rest.split_at(rest.len().min(wanted + wanted / 12 + 1));
        rest = later;
        run_batch(
            root,
            &plan,
            now,
            &output.join(format!("batch-{batch}")),
            &mut outcomes,
        )?;
    }
    let commit = output_of({
        let mut git = command(root, "git");
        git.args(["rev-parse", "--short=12", "HEAD"]);
        git
    })?;
    let text = summary(&plan, total, commit.trim(), &outcomes, &explained);
    let result = root.join(&plan.result);
    fs::write(&result, &text).map_err(|e| format!("{}: {e}", result.display()))?;
    print!("{text}");
    verdict(&outcomes, &explained)
}

fn cargo_mutants(root: &Path, plan: &Plan) -> Command {
    let mut cargo = command(root, "cargo");
    cargo.arg("mutants");
    for package in &plan.packages {
        cargo.args(["--package", package]);
    }
    cargo
}

fn run_batch(
    root: &Path,
    plan: &Plan,
    names: &[String],
    output: &Path,
    outcomes: &mut Outcomes,
) -> Outcome {
    fs::create_dir_all(output).map_err(|e| format!("{}: {e}", output.display()))?;
    let mut cargo = cargo_mutants(root, plan);
    cargo.args([
        "--jobs",
        "2",
        "--cap-lints",
        "true",
        "--minimum-test-timeout",
        "30",
        "--colors",
        "never",
    ]);
    cargo.arg("--output").arg(output);
    // Nobody debugs a mutant: without symbols there is less to write and to link.
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "0");
    for name in names {
        cargo.arg("--re").arg(format!("^{}$", literal(name)));
    }
    // Its status says whether mutants were missed; that is ours to judge.
    let status = cargo
        .status()
        .map_err(|e| format!("cargo mutants did not start: {e}"))?;
    let before = outcomes.viable() + outcomes.unviable.len();
    outcomes.add(&output.join("mutants.out"), names);
    let ran = outcomes.viable() + outcomes.unviable.len() - before;
    if ran == names.len() {
        Ok(())
    } else {
        Err(format!(
            "cargo mutants ran {ran} of {} mutants and ended with {status}",
            names.len()
        ))
    }
}

/// A regular expression that matches exactly this text.
fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        // Not every punctuation: `\<` and `\>` are the borders of a word.
        if r"\.+*?()|[]{}^$".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// Fisher and Yates, driven by SplitMix64.
fn shuffle(items: &mut [String], seed: u64) {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    for last in (1..items.len()).rev() {
        let pick = (next() % (last as u64 + 1)) as usize;
        items.swap(last, pick);
    }
}

/// A mutant's name without line and column, which move.
fn without_position(name: &str) -> String {
    let (place, what) = name.split_once(": ").unwrap_or((name, ""));
    let file = place.split(':').next().unwrap_or_default();
    format!("{file}: {what}")
}

fn read_explained(root: &Path) -> Result<BTreeMap<String, String>, String> {
    let path = root.join(EXPLAINED);
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| match line.split_once('\t') {
            Some((name, why)) if !why.trim().is_empty() => Ok((name.into(), why.trim().into())),
            _ => Err(format!("{EXPLAINED}: no reason in: {line}")),
        })
        .collect()
}

fn summary(
    plan: &Plan,
    total: usize,
    commit: &str,
    outcomes: &Outcomes,
    explained: &BTreeMap<String, String>,
) -> String {
    let (viable, noticed) = (outcomes.viable(), outcomes.noticed());
    let percent = if viable == 0 {
        0.0
    } else {
        100.0 * noticed as f64 / viable as f64
    };
    let mut text = format!(
        "## Mutants\n\n\
         `cargo xtask mutants --seed {} --count {}` at {commit}: of {total} places in {}, {} were drawn; {viable} compiled.\n\n\
         | viable | caught | timed out | missed | did not compile | noticed |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: |\n\
         | {viable} | {} | {} | {} | {} | {percent:.1} % |\n",
        plan.seed,
        plan.count,
        plan.packages.join(" and "),
        viable + outcomes.unviable.len(),
        outcomes.caught.len(),
        outcomes.timeout.len(),
        outcomes.missed.len(),
        outcomes.unviable.len(),
    );
    if !outcomes.missed.is_empty() {
        text.push_str("\n| survivor | why it may |\n| --- | --- |\n");
    }
    for name in &outcomes.missed {
        let why = explained
            .get(&without_position(name))
            .map_or("**not looked at yet**", String::as_str);
        let _ = writeln!(text, "| `{}` | {why} |", name.replace('|', "\\|"));
    }
    text
}

fn verdict(outcomes: &Outcomes, explained: &BTreeMap<String, String>) -> Outcome {
    let (viable, noticed) = (outcomes.viable(), outcomes.noticed());
    if viable == 0 || noticed * 100 < viable * CAUGHT_AT_LEAST {
        return Err(format!(
            "{noticed} of {viable} mutants were noticed, under {CAUGHT_AT_LEAST} %"
        ));
    }
    let open = outcomes
        .missed
        .iter()
        .filter(|name| !explained.contains_key(&without_position(name)))
        .count();
    if open > 0 {
        return Err(format!(
            "{open} surviving mutants are neither caught nor explained in {EXPLAINED}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str =
        "crates/wire/src/code.rs:124:9: replace Code::from_u8 -> Code with Default::default()";

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| i.to_string()).collect()
    }

    #[test]
    fn the_same_seed_draws_the_same_sample_and_another_seed_another() {
        let drawn = |seed| {
            let mut items = names(50);
            shuffle(&mut items, seed);
            items
        };
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        let mut sorted = drawn(7);
        sorted.sort_by_key(|name| name.parse::<u32>().unwrap_or_default());
        assert_eq!(sorted, names(50));
    }

    #[test]
    fn a_name_becomes_a_pattern_for_itself_and_loses_its_position() {
        assert_eq!(literal("a(b)->c.d"), "a\\(b\\)->c\\.d");
        assert_eq!(
            without_position(NAME),
            "crates/wire/src/code.rs: replace Code::from_u8 -> Code with Default::default()"
        );
    }

    #[test]
    fn options_are_read_and_others_refused() {
        let words = |text: &str| {
            text.split_whitespace()
                .map(String::from)
                .collect::<Vec<_>>()
        };
        let plan =
            Plan::parse(&words("--seed 9 --count 20 --package p --result r.md")).expect("a plan");
        let expected = Plan {
            seed: 9,
            count: 20,
            packages: vec!["p".into()],
            result: "r.md".into(),
        };
        assert_eq!(plan, expected);
        assert_eq!(
            Plan::parse(&[]).expect("defaults").packages,
            ["antiphon-wire", "antiphon-proto"]
        );
        assert!(Plan::parse(&words("--seed x")).is_err());
        assert!(Plan::parse(&words("--sed 1")).is_err());
        assert!(Plan::parse(&words("--seed")).is_err());
    }

    #[test]
    fn nine_of_ten_must_be_noticed_and_every_survivor_explained() {
        let explained = BTreeMap::from([(without_position(NAME), "equal".to_string())]);
        let outcomes = |caught: usize, missed: &[&str]| Outcomes {
            caught: names(caught),
            missed: missed.iter().map(ToString::to_string).collect(),
            ..Outcomes::default()
        };
        assert_eq!(verdict(&outcomes(9, &[NAME]), &explained), Ok(()));
        assert!(verdict(&outcomes(8, &[NAME]), &explained).is_err());
        assert!(verdict(&outcomes(9, &[NAME]), &BTreeMap::new()).is_err());
        assert!(verdict(&outcomes(0, &[]), &explained).is_err());
    }
}
