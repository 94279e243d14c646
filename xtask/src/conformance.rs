//! Counts which numbered requirements the tests prove, and writes `docs/conformance.md`.
//!
//! The requirements stand in `conformance/*.tsv`. A test names the rows that it proves in a comment on it:
//! `Covers: GC-3.1-04, GC-3.1-15`. Rows for operators may be settled by a manual (`conformance/documented.tsv`), others
//! excused with a reason (`conformance/exceptions.tsv`). What remains is open.

mod report;
mod rows;
mod scan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::Outcome;
use crate::process::{command, output_of};
use rows::{Row, Table};
use scan::Test;

/// Where the report goes, below the root.
const REPORT: &str = "docs/conformance.md";
/// The same count made by somebody else; compared with ours where it is at hand.
const INDEPENDENT: &str = "../shared/tools/conformance";

/// What is known about one requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Status {
    /// The tests that name it.
    Tested(Vec<Test>),
    /// The file and heading of a manual.
    Documented(String),
    /// Why no test proves it.
    Excused(String),
    Open,
}

impl Status {
    fn word(&self) -> &'static str {
        match self {
            Status::Tested(_) => "tested",
            Status::Documented(_) => "documented",
            Status::Excused(_) => "excused",
            Status::Open => "open",
        }
    }
}

/// Every requirement with its status, in the order of the tables, and what is wrong with the claims.
#[derive(Debug, Default)]
struct Count {
    settled: Vec<(Row, Status)>,
    problems: Vec<String>,
}

impl Count {
    /// Requirements of a status, as ids.
    fn ids(&self, word: &str) -> Vec<&str> {
        let of_status = self
            .settled
            .iter()
            .filter(|(_, status)| status.word() == word);
        of_status.map(|(row, _)| row.id.as_str()).collect()
    }
}

/// Of a hundred rows of a closed capability at most this many may be excused.
const EXCUSED_AT_MOST: usize = 5;

/// The command: `--check` compares instead of writing, `--closed CAP` refuses open rows of a capability and too many excuses.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Outcome {
    let (mut check, mut closed) = (false, Vec::new());
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--check" => check = true,
            "--closed" => closed.push(words.next().ok_or("--closed needs a capability")?.clone()),
            other => return Err(format!("conformance: no option `{other}`")),
        }
    }

    let count = count(root)?;
    let mut wrong = count.problems.clone();
    wrong.extend(disagreements(root, &count)?);
    for capability in &closed {
        wrong.extend(still_open(&count, capability));
    }
    let text = report::write(&count.settled);
    let path = root.join(REPORT);
    if !check {
        fs::write(&path, &text).map_err(|e| format!("{}: {e}", path.display()))?;
    } else if fs::read_to_string(&path).is_ok_and(|there| there != text) || !path.exists() {
        wrong.push(format!(
            "{REPORT} is not up to date: run `cargo xtask conformance`"
        ));
    }
    println!("{}", report::totals(&count.settled));
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(format!("conformance:\n{}", wrong.join("\n")))
    }
}

/// Reads the tables and all sources below `root`.
fn count(root: &Path) -> Result<Count, String> {
    let rows = rows::read_all(root)?;
    let mut problems = Vec::new();
    let mut tests: BTreeMap<String, Vec<Test>> = BTreeMap::new();
    for (file, text) in scan::sources(root)? {
        let found = scan::claims(&file, &text);
        problems.extend(found.problems);
        for (id, test) in found.claims {
            if rows.iter().any(|row| row.id == id) {
                let of_row = tests.entry(id).or_default();
                if !of_row.contains(&test) {
                    of_row.push(test);
                }
            } else {
                problems.push(format!("{file}: no requirement has the id {id}"));
            }
        }
    }
    let documented = rows::read_table(root, "documented.tsv", &rows, &mut problems)?;
    let excused = rows::read_table(root, "exceptions.tsv", &rows, &mut problems)?;
    let mut settled = Vec::new();
    for row in rows {
        let status = status(root, &row, &tests, &documented, &excused, &mut problems);
        settled.push((row, status));
    }
    Ok(Count { settled, problems })
}

/// A test wins over a manual, a manual over an excuse.
fn status(
    root: &Path,
    row: &Row,
    tests: &BTreeMap<String, Vec<Test>>,
    documented: &Table,
    excused: &Table,
    problems: &mut Vec<String>,
) -> Status {
    let manual = documented.get(&row.id).filter(|heading| {
        let fault = if row.for_manuals() {
            rows::heading_fault(root, heading)
        } else {
            Some(format!("a row of role {} needs a test", row.role))
        };
        problems.extend(
            fault
                .iter()
                .map(|fault| format!("documented.tsv: {}: {fault}", row.id)),
        );
        fault.is_none()
    });
    let excuse = excused.get(&row.id).filter(|reason| {
        let enough = reason.split_whitespace().count() >= 6;
        if !enough {
            problems.push(format!(
                "exceptions.tsv: {}: a reason of under six words",
                row.id
            ));
        }
        enough
    });
    match (tests.get(&row.id), manual, excuse) {
        (Some(tests), _, _) => Status::Tested(tests.clone()),
        (None, Some(heading), _) => Status::Documented(heading.clone()),
        (None, None, Some(reason)) => Status::Excused(reason.clone()),
        (None, None, None) => Status::Open,
    }
}

/// What keeps a capability from being closed: open rows, excused rows that are a MUST of code, and too many excuses.
fn still_open(count: &Count, capability: &str) -> Vec<String> {
    let of_capability = || {
        let rows = count.settled.iter();
        rows.filter(|(row, _)| row.capability == capability)
    };
    let rows = of_capability().count();
    if rows == 0 {
        return vec![format!("no row has the capability {capability}")];
    }
    let mut wrong = Vec::new();
    let mut excused = 0;
    for (row, status) in of_capability() {
        match status {
            Status::Open => wrong.push(format!("open: {} {}", row.id, row.requirement)),
            Status::Excused(_) => {
                excused += 1;
                if row.level.starts_with("MUST") && row.role != "operator" {
                    wrong.push(format!(
                        "a {} of role {} is excused: {}",
                        row.level, row.role, row.id
                    ));
                }
            }
            Status::Tested(_) | Status::Documented(_) => {}
        }
    }
    if excused * 100 > rows * EXCUSED_AT_MOST {
        wrong.push(format!(
            "{capability}: {excused} of {rows} rows are excused, over {EXCUSED_AT_MOST} %"
        ));
    }
    wrong
}

/// Compares with the independent count, row by row for the open ones. Where it is not at hand there is nothing to compare.
fn disagreements(root: &Path, count: &Count) -> Result<Vec<String>, String> {
    if !root.join(INDEPENDENT).exists() {
        println!("{INDEPENDENT} is not there: nothing to compare the count with");
        return Ok(Vec::new());
    }
    let mut theirs = command(root, INDEPENDENT);
    theirs.args(["--root", ".", "--missing", "100000"]);
    let theirs = output_of(theirs)?;
    let their_open: Vec<&str> = theirs
        .lines()
        .filter_map(|line| line.strip_prefix("open ")?.split(' ').next())
        .collect();
    let our_open = count.ids("open");
    let mut wrong = Vec::new();
    for id in our_open.iter().filter(|id| !their_open.contains(id)) {
        wrong.push(format!("{id} is open here, and not in {INDEPENDENT}"));
    }
    for id in their_open.iter().filter(|id| !our_open.contains(id)) {
        wrong.push(format!("{id} is open in {INDEPENDENT}, and not here"));
    }
    let [tested, documented, excused] =
        ["tested", "documented", "excused"].map(|word| count.ids(word).len());
    let ours =
        format!("conformance: {tested} tested + {documented} documented + {excused} excused");
    if !theirs.lines().any(|line| line.starts_with(&ours)) {
        wrong.push(format!("we count `{ours}`, {INDEPENDENT} does not"));
    }
    Ok(wrong)
}
