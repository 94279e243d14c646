//! Answers while they arrive, and the outcome that names everyone: as a growing table, or as JSON lines.

use std::net::SocketAddr;
use std::time::Duration;

use antiphon_wire::{Class, Code, ContentFormat};
use serde_json::json;

use crate::decode::code_name;
use crate::secured::SignedBy;
use crate::table::{Align, Cell, Table, Tone};
use crate::terminal::{self, Style};
use crate::{duration, exit, hex, render};

/// One answer, as far as people and scripts are told of it.
#[derive(Clone, Debug)]
pub(crate) struct Shown<'a> {
    /// The expected member that gave it; `None` if nobody expected it.
    pub(crate) member: Option<&'a str>,
    pub(crate) from: SocketAddr,
    /// Who is proven to have sent it.
    pub(crate) signer: Option<SignedBy>,
    pub(crate) code: Code,
    pub(crate) after: Duration,
    pub(crate) how: String,
    pub(crate) sequence: u32,
    pub(crate) format: Option<ContentFormat>,
    pub(crate) payload: &'a [u8],
    /// More of the representation is to be had block by block, which this version does not fetch.
    pub(crate) truncated: bool,
}

/// How a question to a group ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    /// Expected members, in their order, that answered in time.
    pub(crate) answered: Vec<String>,
    /// Expected members of which nothing came, and why.
    pub(crate) missing: Vec<(String, String)>,
    /// Expected members that answered after the end.
    pub(crate) late: Vec<String>,
    /// Expected members whose answers could not be accepted, and why.
    pub(crate) rejected: Vec<(String, String)>,
    /// Who answered without being expected.
    pub(crate) unexpected: Vec<SocketAddr>,
    /// Datagrams sent to groups: by each interface, repeats included. What single members were asked is not among them.
    pub(crate) transmissions: u32,
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
    /// In words: "all expected members answered".
    pub(crate) ended_by: &'static str,
    /// Nothing was asked: a notification.
    pub(crate) silent: bool,
    /// The user ended it.
    pub(crate) interrupted: bool,
}

impl Summary {
    fn expected(&self) -> usize {
        self.answered.len() + self.missing.len() + self.late.len() + self.rejected.len()
    }

    /// What a script is told.
    pub(crate) fn exit_code(&self) -> u8 {
        if self.silent {
            return exit::ALL;
        }
        match (self.expected(), self.answered.len()) {
            (0, _) if self.unexpected.is_empty() => exit::NONE,
            (0, _) => exit::ALL,
            (_, 0) => exit::NONE,
            (expected, answered) if answered == expected => exit::ALL,
            _ => exit::SOME_MISSING,
        }
    }
}

/// Writes answers and outcomes, in one of the two forms.
#[derive(Debug)]
pub(crate) struct Reporter {
    form: Form,
    /// Who answered with an error, in order: name or address, and the code.
    failed: Vec<(String, Code)>,
    /// Who answered only when asked one by one.
    by_unicast: Vec<String>,
}

#[derive(Debug)]
enum Form {
    Json,
    Text {
        table: Table,
        /// The table has a column of names.
        named: bool,
        /// It has a column of signers.
        signed: bool,
        begun: bool,
        /// Show payloads in full, below their rows.
        full: bool,
        style: Style,
    },
}

impl Reporter {
    /// JSON, one object a line.
    pub(crate) fn json() -> Self {
        Self::of(Form::Json)
    }

    /// A table, wide enough for these names from the beginning. `signed`: with a column that says who is proven to have answered.
    pub(crate) fn text(
        names: &[&str],
        signed: bool,
        full: bool,
        style: Style,
        room: Option<usize>,
    ) -> Self {
        let named = !names.is_empty();
        let widest = names
            .iter()
            .map(|name| terminal::columns(&terminal::line(name)))
            .max()
            .unwrap_or(0);
        let mut columns = vec![
            ("address", Align::Left, 18),
            ("code", Align::Left, 12),
            ("after ms", Align::Right, 8),
            ("how", Align::Left, 9),
            ("value", Align::Left, 0),
        ];
        if signed {
            columns.insert(4, ("signed by", Align::Left, widest));
        }
        if named {
            columns.insert(0, ("member", Align::Left, widest));
        }
        Self::of(Form::Text {
            table: Table::new(&columns, style, room),
            named,
            signed,
            begun: false,
            full,
            style,
        })
    }

    fn of(form: Form) -> Self {
        Self {
            form,
            failed: Vec::new(),
            by_unicast: Vec::new(),
        }
    }

    /// The lines of one answer, without the last line end.
    pub(crate) fn answer(&mut self, shown: &Shown<'_>) -> String {
        let who = match shown.member {
            Some(name) => name.to_owned(),
            None => shown.from.to_string(),
        };
        if shown.code.response_class() != Some(Class::Success) {
            self.failed.push((who.clone(), shown.code));
        }
        if shown.how == "unicast" && !self.by_unicast.contains(&who) {
            self.by_unicast.push(who);
        }
        match &mut self.form {
            Form::Json => answer_json(shown).to_string(),
            Form::Text {
                table,
                named,
                signed,
                begun,
                full,
                ..
            } => {
                let mut out = String::new();
                if !*begun {
                    *begun = true;
                    out.push_str(&table.header());
                    out.push('\n');
                }
                out.push_str(&answer_row(table, *named, *signed, *full, shown));
                out
            }
        }
    }

    /// The end, without the last line end.
    pub(crate) fn summary(&self, summary: &Summary) -> String {
        match &self.form {
            Form::Json => self.summary_json(summary).to_string(),
            Form::Text { style, begun, .. } => {
                let gap = if *begun { "\n" } else { "" };
                format!("{gap}{}", self.summary_text(summary, *style))
            }
        }
    }

    fn summary_text(&self, summary: &Summary, style: Style) -> String {
        let took = duration::show(summary.took);
        if summary.silent {
            return format!(
                "sent {}; nobody was asked to answer",
                datagrams(summary.transmissions)
            );
        }
        let sent = datagrams(summary.transmissions);
        let mut lines = Vec::new();
        let expected = summary.expected();
        let answered = summary.answered.len();
        if expected == 0 {
            lines.push(match summary.unexpected.len() {
                0 => style.bad(&format!("nobody answered in {took} ({sent})")),
                1 => format!("1 member answered in {took} ({sent})"),
                n => format!("{n} members answered in {took} ({sent})"),
            });
        } else {
            let text =
                format!("{answered} of {expected} expected members answered in {took} ({sent})");
            lines.push(if answered == expected {
                style.good(&text)
            } else {
                style.bad(&text)
            });
        }
        let mut list = |label: &str, items: Vec<String>, tone: fn(Style, &str) -> String| {
            for (i, item) in items.iter().enumerate() {
                let label = if i == 0 { label } else { "" };
                lines.push(format!(
                    "  {label:<11} {}",
                    tone(style, &terminal::line(item))
                ));
            }
        };
        let with_reason = |pairs: &[(String, String)]| {
            pairs
                .iter()
                .map(|(name, reason)| format!("{name} ({reason})"))
                .collect()
        };
        list("missing", with_reason(&summary.missing), Style::bad);
        list("rejected", with_reason(&summary.rejected), Style::bad);
        list("late", summary.late.clone(), Style::warn);
        let failed = self
            .failed
            .iter()
            .map(|(who, code)| format!("{who} ({})", code_name(*code)));
        list("failed", failed.collect(), Style::bad);
        if expected > 0 {
            list("by unicast", self.by_unicast.clone(), Style::warn);
            let others = summary.unexpected.iter().map(ToString::to_string).collect();
            list("unexpected", others, Style::warn);
        }
        if summary.interrupted {
            lines.push(style.warn("  interrupted: this is the outcome so far"));
        }
        lines.join("\n")
    }

    fn summary_json(&self, summary: &Summary) -> serde_json::Value {
        let with_reason = |pairs: &[(String, String)]| -> serde_json::Value {
            pairs
                .iter()
                .map(|(name, reason)| json!({"name": name, "reason": reason}))
                .collect()
        };
        json!({
            "event": "outcome",
            "expected": summary.expected(),
            "answered": summary.answered,
            "missing": with_reason(&summary.missing),
            "rejected": with_reason(&summary.rejected),
            "late": summary.late,
            "failed": self.failed.iter().map(|(who, code)| json!({
                "name": who,
                "code": code_number(*code),
            })).collect::<Vec<_>>(),
            "by_unicast": self.by_unicast,
            "others": summary.unexpected.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "transmissions": summary.transmissions,
            "bytes": summary.bytes,
            "took_ms": milliseconds(summary.took),
            "ended_by": summary.ended_by,
            "interrupted": summary.interrupted,
            "exit": summary.exit_code(),
        })
    }
}

/// What was sent to groups; what single members were asked stands in the list of those.
fn datagrams(n: u32) -> String {
    match n {
        1 => "1 multicast datagram".into(),
        n => format!("{n} multicast datagrams"),
    }
}

pub(crate) fn code_number(code: Code) -> String {
    format!("{}.{:02}", code.class(), code.detail())
}

/// Milliseconds with microseconds behind the point.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}

fn answer_row(
    table: &mut Table,
    named: bool,
    signed: bool,
    full: bool,
    shown: &Shown<'_>,
) -> String {
    let rendered = render::payload(shown.format, shown.payload);
    let tone = match shown.code.response_class() {
        Some(Class::Success) => Tone::Good,
        Some(Class::ClientError) => Tone::Warn,
        _ => Tone::Bad,
    };
    let mut value = rendered.line.clone();
    if shown.truncated {
        value.push_str(" … (the first block only)");
    }
    if let Some(complaint) = &rendered.complaint {
        value.push_str(&format!("  [{complaint}]"));
    }
    let below = full && rendered.block.contains('\n');
    let how = match shown.sequence {
        0 | 1 => shown.how.clone(),
        n => format!("{} #{n}", shown.how),
    };
    let how_tone = match shown.how.as_str() {
        "multicast" => Tone::Plain,
        _ => Tone::Warn,
    };
    let mut cells = vec![
        Cell::new(shown.from.to_string()),
        Cell::toned(code_name(shown.code), tone),
        Cell::new(format!("{:.1}", milliseconds(shown.after))),
        Cell::toned(how, how_tone),
        Cell::new(if below { "" } else { &value }),
    ];
    if signed {
        cells.insert(
            4,
            match &shown.signer {
                Some(signer) => Cell::new(terminal::line(&signer.name)),
                None => Cell::toned("(nobody)", Tone::Bad),
            },
        );
    }
    if named {
        cells.insert(
            0,
            match shown.member {
                Some(name) => Cell::new(terminal::line(name)),
                None => Cell::toned("(unexpected)", Tone::Dim),
            },
        );
    }
    let mut out = table.row(&cells);
    if below {
        for line in rendered.block.lines() {
            out.push_str(&format!("\n    {line}"));
        }
    }
    out
}

fn answer_json(shown: &Shown<'_>) -> serde_json::Value {
    json!({
        "event": "answer",
        "member": shown.member,
        "address": shown.from.to_string(),
        "signer": shown.signer.as_ref().map(SignedBy::json),
        "code": code_number(shown.code),
        "name": shown.code.name(),
        "after_ms": milliseconds(shown.after),
        "how": shown.how,
        "sequence": shown.sequence,
        "content_format": shown.format.map(|f| f.0),
        "payload": render::payload_json(shown.format, shown.payload),
        "payload_hex": hex::plain(shown.payload),
        "truncated": shown.truncated,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown<'a>(member: Option<&'a str>, from: &str, payload: &'a [u8]) -> Shown<'a> {
        Shown {
            member,
            from: from.parse().unwrap(),
            signer: None,
            code: Code::CONTENT,
            after: Duration::from_micros(12_345),
            how: "multicast".into(),
            sequence: 1,
            format: Some(ContentFormat::TEXT),
            payload,
            truncated: false,
        }
    }

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn answers_are_rows_of_one_table() {
        let mut reporter = Reporter::text(&["lamp-1", "kitchen"], false, false, Style::PLAIN, None);
        assert_eq!(
            reporter.answer(&shown(Some("lamp-1"), "10.0.0.7:5683", b"on")),
            "member   address             code          after ms  how        value\n\
             lamp-1   10.0.0.7:5683       2.05 Content      12.3  multicast  on"
        );
        let mut second = shown(None, "10.0.0.9:5683", b"a\x1b[2J");
        second.how = "unicast".into();
        second.sequence = 2;
        second.truncated = true;
        assert_eq!(
            reporter.answer(&second),
            "(unexpected)  10.0.0.9:5683       2.05 Content      12.3  unicast #2  a\\u001b[2J … (the first block only)"
        );
        let mut nameless = Reporter::text(&[], false, true, Style::PLAIN, None);
        let text = nameless.answer(&shown(None, "10.0.0.9:5683", b"two\nlines"));
        assert!(text.starts_with("address  "), "{text}");
        assert!(text.ends_with("multicast\n    two\n    lines"), "{text}");
    }

    #[test]
    fn who_signed_stands_in_a_column_of_its_own() {
        let mut reporter = Reporter::text(&["lamp-1"], true, false, Style::PLAIN, None);
        let mut signed = shown(Some("lamp-1"), "10.0.0.7:5683", b"on");
        signed.signer = Some(SignedBy {
            name: "lamp-1".into(),
            kid: Some("01".into()),
            group: "lights".into(),
        });
        assert_eq!(
            reporter.answer(&signed),
            "member  address             code          after ms  how        signed by  value\n\
             lamp-1  10.0.0.7:5683       2.05 Content      12.3  multicast  lamp-1     on"
        );
        assert!(
            reporter
                .answer(&shown(None, "10.0.0.9:5683", b"on"))
                .contains("multicast  (nobody)   on")
        );
        let json = answer_json(&signed);
        assert_eq!(
            json["signer"],
            json!({"name": "lamp-1", "kid": "01", "group": "lights"})
        );
    }

    #[test]
    fn the_summary_names_everyone() {
        let mut reporter = Reporter::text(&["a"], false, false, Style::PLAIN, None);
        let mut failed = shown(Some("a"), "10.0.0.7:5683", b"");
        failed.code = Code::INTERNAL_SERVER_ERROR;
        failed.how = "unicast".into();
        reporter.answer(&failed);
        let summary = Summary {
            answered: strings(&["a"]),
            missing: vec![
                ("b".into(), "silent".into()),
                ("c\x1b".into(), "silent".into()),
            ],
            late: strings(&["d"]),
            rejected: vec![("e".into(), "reserved code 1.00".into())],
            unexpected: vec!["10.0.0.9:5683".parse().unwrap()],
            transmissions: 3,
            bytes: 90,
            took: Duration::from_millis(5250),
            ended_by: "time over",
            silent: false,
            interrupted: true,
        };
        assert_eq!(
            reporter.summary(&summary),
            "\n1 of 5 expected members answered in 5.25 s (3 multicast datagrams)\n  \
               missing     b (silent)\n              \
                           c\\u001b (silent)\n  \
               rejected    e (reserved code 1.00)\n  \
               late        d\n  \
               failed      a (5.00 Internal Server Error)\n  \
               by unicast  a\n  \
               unexpected  10.0.0.9:5683\n  \
               interrupted: this is the outcome so far"
        );
        assert_eq!(summary.exit_code(), exit::SOME_MISSING);

        let json = reporter.summary_json(&summary);
        assert_eq!(json["expected"], 5);
        assert_eq!(
            json["missing"][1],
            json!({"name": "c\x1b", "reason": "silent"})
        );
        assert_eq!(json["failed"], json!([{"name": "a", "code": "5.00"}]));
        assert_eq!(json["exit"], 3);
        assert_eq!(json["took_ms"], 5250.0);
    }

    #[test]
    fn exit_codes_follow_who_answered() {
        let code = |answered: &[&str], missing: usize, unexpected: usize| {
            Summary {
                answered: strings(answered),
                missing: vec![("m".into(), "silent".into()); missing],
                unexpected: vec!["10.0.0.9:5683".parse().unwrap(); unexpected],
                ..Summary::default()
            }
            .exit_code()
        };
        assert_eq!(code(&["a", "b"], 0, 0), 0);
        assert_eq!(code(&["a"], 1, 0), 3);
        assert_eq!(code(&[], 2, 0), 4);
        assert_eq!(
            code(&[], 2, 1),
            4,
            "a stranger does not stand in for a member"
        );
        assert_eq!(code(&[], 0, 1), 0);
        assert_eq!(code(&[], 0, 0), 4);
        let late = Summary {
            answered: strings(&["a"]),
            late: strings(&["b"]),
            ..Summary::default()
        };
        assert_eq!(late.exit_code(), 3);
        let silent = Summary {
            silent: true,
            ..Summary::default()
        };
        assert_eq!(silent.exit_code(), 0);
    }

    #[test]
    fn without_expected_members_the_answers_are_counted() {
        let mut summary = Summary {
            transmissions: 1,
            took: Duration::from_secs(5),
            ..Summary::default()
        };
        let text = |summary: &Summary| {
            Reporter::text(&[], false, false, Style::PLAIN, None).summary(summary)
        };
        assert_eq!(
            text(&summary),
            "nobody answered in 5 s (1 multicast datagram)"
        );
        summary.unexpected.push("10.0.0.9:5683".parse().unwrap());
        assert_eq!(
            text(&summary),
            "1 member answered in 5 s (1 multicast datagram)"
        );
        summary.unexpected.push("10.0.0.8:5683".parse().unwrap());
        assert_eq!(
            text(&summary),
            "2 members answered in 5 s (1 multicast datagram)"
        );
        summary.silent = true;
        assert_eq!(
            text(&summary),
            "sent 1 multicast datagram; nobody was asked to answer"
        );
    }

    #[test]
    fn json_answers_carry_everything() {
        let line = Reporter::json().answer(&shown(Some("a"), "[fe80::1]:5683", b"on"));
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            json,
            json!({
                "event": "answer", "member": "a", "address": "[fe80::1]:5683", "signer": null, "code": "2.05", "name": "Content",
                "after_ms": 12.345, "how": "multicast", "sequence": 1, "content_format": 0, "payload": "on",
                "payload_hex": "6f6e", "truncated": false,
            })
        );
    }
}
