//! The tables in `conformance/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The requirement tables, in the order of the report.
const TABLES: [&str; 3] = ["core.tsv", "oscore.tsv", "mgmt.tsv"];

/// One numbered requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) capability: String,
    pub(super) level: String,
    pub(super) role: String,
    pub(super) requirement: String,
    pub(super) how_to_verify: String,
}

impl Row {
    /// Whether a manual can settle it.
    pub(super) fn for_manuals(&self) -> bool {
        self.role == "operator" || self.how_to_verify.starts_with("Manual:")
    }
}

/// `id<TAB>text` lines.
pub(super) type Table = BTreeMap<String, String>;

/// Reads all requirement tables.
pub(super) fn read_all(root: &Path) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for name in TABLES {
        let path = root.join("conformance").join(name);
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        rows.extend(parse(&text).map_err(|e| format!("conformance/{name}: {e}"))?);
    }
    Ok(rows)
}

/// Reads one table: the first line names the columns.
pub(super) fn parse(text: &str) -> Result<Vec<Row>, String> {
    let mut lines = text.lines().enumerate();
    let (_, head) = lines.next().ok_or("empty")?;
    let names: Vec<&str> = head.split('\t').collect();
    let column = |name: &str| {
        names
            .iter()
            .position(|n| *n == name)
            .ok_or_else(|| format!("no column {name}"))
    };
    let columns = [
        column("id")?,
        column("capability")?,
        column("level")?,
        column("role")?,
        column("requirement")?,
        column("how_to_verify")?,
    ];
    let mut rows = Vec::new();
    for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split('\t').collect();
        let cell = |at: usize| {
            let text = cells.get(at).map(ToString::to_string);
            text.ok_or_else(|| format!("line {} has too few columns", index + 1))
        };
        let [id, capability, level, role, requirement, how_to_verify] = columns;
        rows.push(Row {
            id: cell(id)?,
            capability: cell(capability)?,
            level: cell(level)?,
            role: cell(role)?,
            requirement: cell(requirement)?,
            how_to_verify: cell(how_to_verify)?,
        });
    }
    Ok(rows)
}

/// Reads a table of `id<TAB>text`; a missing file is an empty table.
pub(super) fn read_table(
    root: &Path,
    name: &str,
    rows: &[Row],
    problems: &mut Vec<String>,
) -> Result<Table, String> {
    let path = root.join("conformance").join(name);
    if !path.exists() {
        return Ok(Table::new());
    }
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut table = Table::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') || line.starts_with("id\t") {
            continue;
        }
        let (id, rest) = line.split_once('\t').unwrap_or((line, ""));
        if rows.iter().any(|row| row.id == id) {
            table.insert(id.into(), rest.trim().into());
        } else {
            problems.push(format!(
                "{name}:{}: no requirement has the id {id}",
                index + 1
            ));
        }
    }
    Ok(table)
}

/// What is wrong with a reference `file.md#heading`; `None` when the heading is there.
pub(super) fn heading_fault(root: &Path, reference: &str) -> Option<String> {
    let (file, heading) = reference.split_once('#').unwrap_or((reference, ""));
    let Ok(text) = fs::read_to_string(root.join(file)) else {
        return Some(format!("no file {file}"));
    };
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let there = headings
        .map(|line| slug(line.trim_start_matches('#')))
        .any(|h| h == slug(heading));
    (!there).then(|| format!("{file} has no heading `{heading}`"))
}

/// A heading as links name it.
fn slug(heading: &str) -> String {
    let lower = heading.to_lowercase();
    let kept: String = lower
        .chars()
        .filter(|c| matches!(c, 'a'..='z' | '0'..='9' | ' ' | '-'))
        .collect();
    kept.trim().replace(' ', "-")
}
