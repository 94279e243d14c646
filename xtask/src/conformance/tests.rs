use super::rows::{heading_fault, parse};
use super::scan::{claims, is_id};
use super::*;

fn ids(text: &str) -> Vec<(String, String)> {
    claims("f.rs", text)
        .claims
        .into_iter()
        .map(|(id, test)| (id, test.name))
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(id, name)| (id.to_string(), name.to_string()))
        .collect()
}

#[test]
fn ids_have_a_form() {
    for id in ["GC-3.1-04", "KM-014", "GO-B-7.2-03", "S0-1-01a", "GC-1-01"] {
        assert!(is_id(id), "{id}");
    }
    for word in [
        "GC",
        "GC-",
        "gc-1-01",
        "GCX-1-01",
        "GC-1-01ab",
        "GC-1-x",
        "GO-BB-1-01-",
        "1C-1",
        "GO-b-7-01",
    ] {
        assert!(!is_id(word), "{word}");
    }
}

#[test]
fn a_claim_needs_a_test_above_or_below() {
    let below = "// Covers: GC-1-01, GC-1-02.\n#[test]\nfn both() {}\n";
    assert_eq!(
        ids(below),
        pairs(&[("GC-1-01", "both"), ("GC-1-02", "both")])
    );
    let above = "#[tokio::test(flavor = \"x\")]\n/// Covers: KM-001\nasync fn one() {}\n";
    assert_eq!(ids(above), pairs(&[("KM-001", "one")]));
    let none = claims("f.rs", "// Covers: GC-1-01\nfn helper() {}\n");
    assert_eq!(none.claims, Vec::new());
    assert_eq!(none.problems, ["f.rs:1: no test stands under this"]);
}

#[test]
fn a_claim_may_wrap_and_words_that_are_no_ids_are_named() {
    let wrapped = "// Covers: GC-1-01,\n// GC-1-02 GC-1-03\n// and words\n#[test]\nfn three() {}\n";
    assert_eq!(ids(wrapped).len(), 3);
    let words = claims("f.rs", "// Covers: GC-1-01 mostly\n#[test]\nfn x() {}\n");
    assert_eq!(words.problems, ["f.rs:1: `mostly` is no id"]);
    assert_eq!(words.claims.len(), 1);
}

#[test]
fn more_than_six_rows_are_too_many() {
    let claim = |n: usize| {
        let ids: Vec<String> = (0..n).map(|i| format!("GC-1-{i:02}")).collect();
        claims(
            "f.rs",
            &format!("// Covers: {}\n#[test]\nfn x() {{}}\n", ids.join(", ")),
        )
        .problems
    };
    assert_eq!(claim(6), Vec::<String>::new());
    assert_eq!(claim(7), ["f.rs:1: 7 rows, more than 6"]);
}

#[test]
fn everything_inside_proptest_is_a_test_until_it_closes() {
    let text = "proptest! {\n    // Covers: GC-1-01\n    fn inside(x in 0..3) {}\n}\n// Covers: GC-1-02\nfn outside() {}\n";
    assert_eq!(ids(text), pairs(&[("GC-1-01", "inside")]));
}

#[test]
fn a_table_is_read_by_the_names_of_its_columns() {
    let rows = parse(
        "role\tid\tcapability\tlevel\thow_to_verify\trequirement\nserver\tX1-1\tcore\tMUST\tlook\tdo it\n",
    );
    let row = rows.expect("a table").remove(0);
    assert_eq!(
        (row.id.as_str(), row.role.as_str(), row.requirement.as_str()),
        ("X1-1", "server", "do it")
    );
    assert!(!row.for_manuals());
    assert!(
        Row {
            role: "operator".into(),
            ..row.clone()
        }
        .for_manuals()
    );
    assert!(
        Row {
            how_to_verify: "Manual: read".into(),
            ..row
        }
        .for_manuals()
    );
    assert_eq!(parse("id\n").err().as_deref(), Some("no column capability"));
}

#[test]
fn a_heading_is_found_by_its_slug() {
    let folder = std::env::temp_dir().join(format!("xtask-conformance-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    fs::write(
        folder.join("m.md"),
        "# Top\n\n## Ports, and why 5684 is refused\n",
    )
    .expect("a file");
    let found = heading_fault(&folder, "m.md#ports-and-why-5684-is-refused");
    let absent = heading_fault(&folder, "m.md#nothing");
    let no_file = heading_fault(&folder, "n.md#top");
    fs::remove_dir_all(&folder).expect("the folder was ours");
    assert_eq!(found, None);
    assert_eq!(absent.as_deref(), Some("m.md has no heading `nothing`"));
    assert_eq!(no_file.as_deref(), Some("no file n.md"));
}

#[test]
fn a_test_wins_over_a_manual_and_a_manual_over_an_excuse() {
    let row = Row {
        id: "X1-1".into(),
        capability: "core".into(),
        level: "MUST".into(),
        role: "server".into(),
        requirement: "do".into(),
        how_to_verify: "look".into(),
    };
    let test = Test {
        file: "f.rs".into(),
        name: "t".into(),
    };
    let tests = BTreeMap::from([("X1-1".to_string(), vec![test.clone()])]);
    let manual = Table::from([("X1-1".to_string(), "m.md#x".to_string())]);
    let excuse = |why: &str| Table::from([("X1-1".to_string(), why.to_string())]);
    let root = Path::new("/nowhere");
    let (mut problems, empty) = (Vec::new(), Table::new());
    let good = excuse("one two three four five six");
    let none = BTreeMap::new();
    let mut of =
        |tests, manual: &Table, excused| status(root, &row, tests, manual, excused, &mut problems);
    assert_eq!(of(&tests, &empty, &good), Status::Tested(vec![test]));
    assert_eq!(
        of(&none, &empty, &good),
        Status::Excused("one two three four five six".into())
    );
    let short = excuse("too short");
    assert_eq!(of(&none, &empty, &short), Status::Open);
    assert_eq!(of(&none, &manual, &empty), Status::Open);
    assert_eq!(
        problems,
        [
            "exceptions.tsv: X1-1: a reason of under six words",
            "documented.tsv: X1-1: a row of role server needs a test"
        ]
    );
}

#[test]
fn the_report_lists_what_is_under_way_and_counts_the_rest() {
    let row = |id: &str, capability: &str| Row {
        id: id.into(),
        capability: capability.into(),
        level: "MUST".into(),
        role: "server".into(),
        requirement: "a | b".into(),
        how_to_verify: String::new(),
    };
    let test = Test {
        file: "tests/src/x.rs".into(),
        name: "proves_it".into(),
    };
    let settled = [
        (row("X1-1", "core"), Status::Tested(vec![test])),
        (row("X1-2", "core"), Status::Open),
        (row("Y1-1", "later"), Status::Open),
    ];
    let text = report::write(&settled);
    assert!(
        text.contains("| core | 2 | 1 | 0 | 0 | 1 |\n| later | 1 | 0 | 0 | 0 | 1 |\n"),
        "{text}"
    );
    assert!(
        text.contains(
            "| X1-1 | MUST | server | a \\| b | tested | `proves_it` in tests/src/x.rs |\n"
        )
    );
    assert!(text.contains("| X1-2 |") && !text.contains("| Y1-1 |"));
}

#[test]
fn a_closed_capability_has_no_open_row_no_excused_must_and_few_excuses() {
    let row = |level: &str, role: &str, status: Status| {
        let row = Row {
            id: "X1-1".into(),
            capability: "core".into(),
            level: level.into(),
            role: role.into(),
            requirement: "do".into(),
            how_to_verify: String::new(),
        };
        (row, status)
    };
    let tested = || row("MUST", "server", Status::Tested(Vec::new()));
    let excused = |level, role| row(level, role, Status::Excused("why".into()));
    let wrong = |odd: (Row, Status), others: usize| {
        let mut settled: Vec<_> = (0..others).map(|_| tested()).collect();
        settled.push(odd);
        still_open(
            &Count {
                settled,
                problems: Vec::new(),
            },
            "core",
        )
    };
    assert_eq!(wrong(tested(), 0), Vec::<String>::new());
    assert_eq!(
        wrong(row("MAY", "server", Status::Open), 19),
        ["open: X1-1 do"]
    );
    assert_eq!(wrong(excused("SHOULD", "server"), 19), Vec::<String>::new());
    assert_eq!(
        wrong(excused("SHOULD", "server"), 18),
        ["core: 1 of 19 rows are excused, over 5 %"]
    );
    assert_eq!(
        wrong(excused("MUST NOT", "client"), 19),
        ["a MUST NOT of role client is excused: X1-1"]
    );
    assert_eq!(wrong(excused("MUST", "operator"), 19), Vec::<String>::new());
    assert_eq!(
        still_open(&Count::default(), "core"),
        ["no row has the capability core"]
    );
}
