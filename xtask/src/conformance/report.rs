//! `docs/conformance.md`.

use std::fmt::Write;

use super::Status;
use super::rows::Row;

type Settled = (Row, Status);

/// The whole report: a table of capabilities, then every requirement of those that are under way.
pub(super) fn write(settled: &[Settled]) -> String {
    let mut text = String::from(
        "# Conformance\n\n\
         Written by `cargo xtask conformance` from `conformance/*.tsv` and the comments on the tests; do not edit.\n\
         Capabilities of which nothing is settled yet are counted and not listed.\n\n\
         | capability | rows | tested | documented | excused | open |\n\
         | --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for capability in capabilities(settled) {
        let [rows, tested, documented, excused, open] = numbers(of(settled, capability));
        let _ = writeln!(
            text,
            "| {capability} | {rows} | {tested} | {documented} | {excused} | {open} |"
        );
    }
    for capability in capabilities(settled) {
        let [rows, .., open] = numbers(of(settled, capability));
        if open < rows {
            list(&mut text, capability, of(settled, capability));
        }
    }
    text
}

/// One line a capability, for the terminal.
pub(super) fn totals(settled: &[Settled]) -> String {
    let mut text = String::new();
    for capability in capabilities(settled) {
        let [rows, tested, documented, excused, open] = numbers(of(settled, capability));
        let _ = writeln!(
            text,
            "{capability:<14} {rows:>5} rows {tested:>5} tested {documented:>4} documented {excused:>4} excused {open:>5} open"
        );
    }
    text.trim_end().to_owned()
}

/// Capabilities in the order of their first row.
fn capabilities(settled: &[Settled]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for (row, _) in settled {
        if !names.contains(&row.capability.as_str()) {
            names.push(&row.capability);
        }
    }
    names
}

fn of<'a>(settled: &'a [Settled], capability: &str) -> impl Iterator<Item = &'a Settled> {
    settled
        .iter()
        .filter(move |(row, _)| row.capability == capability)
}

/// Rows, tested, documented, excused, open.
fn numbers<'a>(rows: impl Iterator<Item = &'a Settled>) -> [usize; 5] {
    let mut numbers = [0; 5];
    for (_, status) in rows {
        let column = match status {
            Status::Tested(_) => 1,
            Status::Documented(_) => 2,
            Status::Excused(_) => 3,
            Status::Open => 4,
        };
        numbers[0] += 1;
        numbers[column] += 1;
    }
    numbers
}

fn list<'a>(text: &mut String, capability: &str, rows: impl Iterator<Item = &'a Settled>) {
    let _ = write!(
        text,
        "\n## {capability}\n\n| id | level | role | requirement | status | proven by |\n| --- | --- | --- | --- | --- | --- |\n"
    );
    for (row, status) in rows {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            row.id,
            row.level,
            row.role,
            cell(&row.requirement),
            status.word(),
            proof(status)
        );
    }
}

/// What stands behind a status.
fn proof(status: &Status) -> String {
    match status {
        Status::Tested(tests) => {
            let names: Vec<String> = tests
                .iter()
                .map(|test| format!("`{}` in {}", test.name, test.file))
                .collect();
            names.join("<br>")
        }
        Status::Documented(heading) => {
            let target = heading.strip_prefix("docs/").unwrap_or(heading);
            format!("[{heading}]({target})")
        }
        Status::Excused(reason) => cell(reason),
        Status::Open => String::new(),
    }
}

/// Text that cannot break out of a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}
