//! Finds the tests that name requirements.

use std::fs;
use std::path::Path;

/// The most rows that one test may prove: a test that claims more rarely looks at each of them.
const MOST_ROWS: usize = 6;

/// A test, by file (relative to the root) and function.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Test {
    pub(super) file: String,
    pub(super) name: String,
}

/// What one file claims.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Requirement and the test that names it.
    pub(super) claims: Vec<(String, Test)>,
    pub(super) problems: Vec<String>,
}

/// All Rust sources below `root` that are ours, with paths relative to it, in order.
pub(super) fn sources(root: &Path) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        for entry in entries {
            let path = entry
                .map_err(|e| format!("{}: {e}", folder.display()))?
                .path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" && !name.starts_with("mutants.out") {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                let bytes = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let below = path.strip_prefix(root).unwrap_or(&path);
                found.push((below.to_string_lossy().into_owned(), text));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The claims of one file.
pub(super) fn claims(file: &str, text: &str) -> Found {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Found::default();
    let mut in_proptest = false;
    for (index, line) in lines.iter().enumerate() {
        if opens_proptest(line) {
            in_proptest = true;
        } else if line.starts_with('}') {
            in_proptest = false;
        }
        let Some(first) = comment(line).and_then(|text| text.strip_prefix("Covers:")) else {
            continue;
        };
        let place = format!("{file}:{}", index + 1);
        let mut ids: Vec<String> = Vec::new();
        for word in words(first) {
            let word = word.trim_matches(['.', ';']);
            if is_id(word) {
                ids.push(word.into());
            } else if !word.is_empty() {
                found.problems.push(format!("{place}: `{word}` is no id"));
            }
        }
        let mut next = index + 1;
        while let Some(more) = lines.get(next).and_then(|line| only_ids(line)) {
            ids.extend(more);
            next += 1;
        }
        if !in_proptest && !above_is_test(&lines, index) && !below_is_test(&lines, next) {
            found
                .problems
                .push(format!("{place}: no test stands under this"));
            continue;
        }
        if ids.len() > MOST_ROWS {
            found.problems.push(format!(
                "{place}: {} rows, more than {MOST_ROWS}",
                ids.len()
            ));
        }
        let name = function_name(&lines, next);
        let test = Test {
            file: file.into(),
            name: name.unwrap_or("?").into(),
        };
        found
            .claims
            .extend(ids.into_iter().map(|id| (id, test.clone())));
    }
    found
}

/// Whether a word has the form of a requirement's id: `GC-3.1-04`, `KM-014`, `GO-B-7.2-03a`.
pub(super) fn is_id(word: &str) -> bool {
    let parts: Vec<&str> = word.split('-').collect();
    let number = |text: &str| {
        let digits = text
            .strip_suffix(|c: char| c.is_ascii_lowercase())
            .unwrap_or(text);
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
    };
    let section = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.')
    };
    let family = |text: &str| matches!(text.as_bytes(), [a, b] if a.is_ascii_uppercase() && (b.is_ascii_uppercase() || b.is_ascii_digit()));
    let part = |text: &str| matches!(text.as_bytes(), [a] if a.is_ascii_uppercase());
    match parts.as_slice() {
        [a, n] => family(a) && number(n),
        [a, s, n] => family(a) && section(s) && number(n),
        [a, p, s, n] => family(a) && part(p) && section(s) && number(n),
        _ => false,
    }
}

/// The text of a line that is a comment.
fn comment(line: &str) -> Option<&str> {
    let text = line.trim_start().strip_prefix("//")?;
    Some(text.strip_prefix(['/', '!']).unwrap_or(text).trim_start())
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c.is_whitespace())
        .filter(|word| !word.is_empty())
}

/// The ids of a comment line that holds nothing else: a claim may wrap.
fn only_ids(line: &str) -> Option<Vec<String>> {
    let text = comment(line)?;
    let ids: Vec<String> = words(text).map(String::from).collect();
    (!ids.is_empty() && ids.iter().all(|id| is_id(id))).then_some(ids)
}

fn opens_proptest(line: &str) -> bool {
    line.find("proptest!").is_some_and(|at| {
        let before = line[..at].chars().next_back();
        let after = line[at + "proptest!".len()..].trim_start();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_') && after.starts_with('{')
    })
}

/// Whether a line carries an attribute that makes a test.
fn is_test_attribute(line: &str) -> bool {
    line.find("#[")
        .is_some_and(|at| line[at..].contains("test"))
}

/// Looks through the comments and attributes that stand directly above.
fn above_is_test(lines: &[&str], index: usize) -> bool {
    let above = lines[..index].iter().rev();
    above
        .take_while(|line| is_comment_or_attribute(line))
        .any(|line| is_test_attribute(line))
}

/// Looks through the comments and attributes that stand directly below.
fn below_is_test(lines: &[&str], from: usize) -> bool {
    let below = lines.iter().skip(from);
    let ends_attribute = |line: &str| {
        let line = line.trim_start();
        line.starts_with(")]") || (line.ends_with(")]") && !line.contains('f'))
    };
    below
        .take_while(|line| is_comment_or_attribute(line) || ends_attribute(line))
        .any(|line| is_test_attribute(line))
}

fn is_comment_or_attribute(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("//") || line.starts_with("#[")
}

/// The name of the next function.
fn function_name<'a>(lines: &[&'a str], from: usize) -> Option<&'a str> {
    lines.iter().skip(from).find_map(|line| {
        let at = line
            .find("fn ")
            .filter(|_| !line.trim_start().starts_with("//"))?;
        let rest = &line[at + 3..];
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        rest.get(..end).filter(|name| !name.is_empty())
    })
}
