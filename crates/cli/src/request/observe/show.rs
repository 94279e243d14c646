//! An observation on the screen: a table that is kept up to date, lines that are appended, or JSON.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use antiphon::{News, Notification, ObservationEvent, ObservedIndex, SecurityGroup, Signed};
use antiphon_wire::{Class, Code, ContentFormat, OptionNumber, decode_uint};
use serde_json::{Value, json};

use crate::collecting::{content_format, print_line};
use crate::decode::code_name;
use crate::failure::Failure;
use crate::outcome::{code_number, milliseconds};
use crate::secured::SignedBy;
use crate::table::{Align, Cell, Table, Tone};
use crate::terminal::{self, Style};
use crate::{duration, hex, render};

mod ended;

pub(super) use ended::{Ended, not_registered};

/// Where events are shown.
pub(super) struct Screen<'a> {
    form: Form,
    group: Option<&'a SecurityGroup>,
    /// As the observation numbers its members: the expected ones first.
    rows: Vec<Row>,
    begun: Instant,
}

enum Form {
    Json,
    /// Redrawn in place; how many lines stand there.
    Live {
        style: Style,
        drawn: usize,
        ending: bool,
    },
    Lines {
        table: Table,
        begun: bool,
    },
}

/// What is known of one member.
#[derive(Debug, Default)]
struct Row {
    name: Option<String>,
    address: String,
    code: Option<Code>,
    value: String,
    order: Option<u32>,
    /// When it was heard last.
    heard: Option<Instant>,
    /// How often its Max-Age ran out.
    missed: u32,
    /// Why it is not fresh.
    state: Option<String>,
}

impl<'a> Screen<'a> {
    pub(super) fn new(json: bool, names: Vec<String>, group: Option<&'a SecurityGroup>) -> Self {
        let style = Style::stdout();
        let form = match (json, std::io::stdout().is_terminal()) {
            (true, _) => Form::Json,
            (false, true) => Form::Live {
                style,
                drawn: 0,
                ending: false,
            },
            (false, false) => Form::Lines {
                table: Table::new(&columns(&names), style, None),
                begun: false,
            },
        };
        let awaited = |name| Row {
            name: Some(name),
            state: Some("awaited".into()),
            ..Row::default()
        };
        Self {
            form,
            group,
            rows: names.into_iter().map(awaited).collect(),
            begun: Instant::now(),
        }
    }

    /// Is it redrawn as time passes?
    pub(super) fn is_live(&self) -> bool {
        matches!(self.form, Form::Live { .. })
    }

    /// The members are being told that it is over.
    pub(super) fn ending(&mut self) -> Result<(), Failure> {
        match &mut self.form {
            Form::Live { ending, .. } => *ending = true,
            _ => eprintln!("antiphon: {ENDING}"),
        }
        self.redraw()
    }

    /// Shows what happened.
    pub(super) fn event(&mut self, event: &ObservationEvent) -> Result<(), Failure> {
        let change = self.note(event);
        match &mut self.form {
            Form::Json => match self.json(event) {
                Some(line) => print_line(&line.to_string()),
                None => Ok(()),
            },
            Form::Live { .. } => self.redraw(),
            Form::Lines { table, begun } => match (change, aside(event)) {
                (Some((ObservedIndex(index), what, why)), _) => {
                    let Some(row) = self.rows.get(index as usize) else {
                        return Ok(());
                    };
                    let line = table.row(&row.line(self.begun, what, &why));
                    if !core::mem::replace(begun, true) {
                        print_line(&table.header())?;
                    }
                    print_line(&line)
                }
                (None, Some(text)) => {
                    eprintln!("antiphon: {text}");
                    Ok(())
                }
                (None, None) => Ok(()),
            },
        }
    }

    fn row(&mut self, ObservedIndex(index): ObservedIndex) -> &mut Row {
        let index = index as usize;
        while self.rows.len() <= index {
            self.rows.push(Row::default());
        }
        &mut self.rows[index]
    }

    /// Keeps what an event says: whose row has changed, what is new about it, and why it is no notification.
    fn note(&mut self, event: &ObservationEvent) -> Option<(ObservedIndex, &'static str, String)> {
        match event {
            ObservationEvent::Notification(n) => {
                let signer = n.signer().map(|signer| SignedBy::of(&signer, self.group));
                let rendered = render::payload(format_of(n), &n.response.payload);
                let row = self.row(n.member);
                if row.name.is_none() {
                    row.name = signer.map(|signer| signer.name);
                }
                row.address = n.from.peer.to_string();
                row.code = Some(n.response.code);
                row.value = rendered.line;
                row.order = n.number;
                row.heard = Some(Instant::now());
                row.state = None;
                Some((n.member, news_name(n.news), String::new()))
            }
            ObservationEvent::Stale { member, .. } => Some((*member, "stale", String::new())),
            ObservationEvent::Incomplete {
                member, failure, ..
            } => Some((*member, "incomplete", failure.to_string())),
            ObservationEvent::Silent { member, .. } => {
                let row = self.row(*member);
                row.missed += 1;
                row.state = Some("silent".into());
                Some((*member, "silent", String::new()))
            }
            ObservationEvent::Unreached {
                member, failure, ..
            } => {
                self.row(*member).state = Some(format!("not reached: {failure}"));
                Some((*member, "unreached", failure.to_string()))
            }
            ObservationEvent::MemberEnded { member, why, .. } => {
                self.row(*member).state = Some(format!("ended: {why}"));
                Some((*member, "ended", why.to_string()))
            }
            _ => None,
        }
    }

    /// Draws the table anew, in the place of the last one.
    pub(super) fn redraw(&mut self) -> Result<(), Failure> {
        let Form::Live { style, ending, .. } = &self.form else {
            return Ok(());
        };
        let width = terminal::width().unwrap_or(80);
        let height = terminal_size::terminal_size().map_or(24, |(_, height)| height.0);
        let lines = self.table(
            *style,
            *ending,
            width,
            usize::from(height).max(5) - 1,
            Instant::now(),
        );
        let mut out = std::io::stdout().lock();
        if let Form::Live { drawn, .. } = &mut self.form {
            if *drawn > 0 {
                write!(out, "\x1b[{drawn}A")?;
            }
            *drawn = lines.len();
        }
        write!(out, "\r\x1b[J")?;
        for line in lines {
            writeln!(out, "{line}")?;
        }
        Ok(out.flush()?)
    }

    /// The lines of the live table: titles, a row for each member as far as they fit, and one of progress.
    fn table(
        &self,
        style: Style,
        ending: bool,
        width: usize,
        height: usize,
        now: Instant,
    ) -> Vec<String> {
        let names = self.rows.iter().filter_map(|row| row.name.as_deref());
        let widest = names.map(|name| terminal::columns(&terminal::line(name)));
        let columns = [
            ("member", Align::Left, widest.max().unwrap_or(0)),
            ("address", Align::Left, 18),
            ("age s", Align::Right, 5),
            ("order", Align::Right, 8),
            ("missed", Align::Right, 6),
            ("value", Align::Left, 0),
        ];
        let mut table = Table::new(&columns, style, Some(width));
        let room = height.saturating_sub(2);
        let shown = match self.rows.len() > room {
            true => room.saturating_sub(1),
            false => self.rows.len(),
        };
        let cells: Vec<[Cell; 6]> = self
            .rows
            .iter()
            .take(shown)
            .map(|row| row.cells(now))
            .collect();
        for row in &cells {
            let _widened = table.row(row);
        }
        let mut lines = vec![table.header()];
        lines.extend(cells.iter().map(|row| table.row(row)));
        if shown < self.rows.len() {
            lines.push(style.dim(&format!("... and {} more", self.rows.len() - shown)));
        }
        let fresh = self.rows.iter().filter(|row| row.state.is_none()).count();
        lines.push(style.dim(&match ending {
            true => ENDING.to_owned(),
            false => format!(
                "{fresh} of {} fresh, {} s; Ctrl-C ends it",
                self.rows.len(),
                now.duration_since(self.begun).as_secs()
            ),
        }));
        lines
    }

    /// Leaves what was drawn, but for the line of progress.
    pub(super) fn leave(&mut self) -> Result<(), Failure> {
        self.redraw()?;
        if self.is_live() {
            let mut out = std::io::stdout().lock();
            write!(out, "\x1b[1A\r\x1b[J")?;
            out.flush()?;
        }
        Ok(())
    }

    /// How it ended.
    pub(super) fn outcome(&self, ended: &Ended) -> String {
        match &self.form {
            Form::Json => ended.json().to_string(),
            Form::Live { style, .. } => ended.text(*style),
            Form::Lines { begun: true, .. } => format!("\n{}", ended.text(Style::stdout())),
            Form::Lines { .. } => ended.text(Style::stdout()),
        }
    }

    fn json(&self, event: &ObservationEvent) -> Option<Value> {
        let row = |member: &ObservedIndex| self.rows.get(member.0 as usize);
        let name = |member| row(member).and_then(|row| row.name.clone());
        let about = |event: &str, member| {
            let address = row(member).map(|row| row.address.clone());
            let address = address.filter(|address| !address.is_empty());
            json!({"event": event, "member": name(member), "address": address})
        };
        let with = |mut line: Value, key: &str, value: Value| {
            line[key] = value;
            line
        };
        Some(match event {
            ObservationEvent::Registered { registration, .. } => {
                json!({"event": "registered", "registration": registration})
            }
            ObservationEvent::NotRegistered { why, .. } => {
                json!({"event": "not-registered", "reason": not_registered(*why)})
            }
            ObservationEvent::Held(_, held) => json!({
                "event": "held",
                "reason": held.reason.to_string(),
                "remaining_ms": milliseconds(held.remaining),
            }),
            ObservationEvent::Warning(_, over) => {
                json!({"event": "warning", "reason": over.to_string()})
            }
            ObservationEvent::SendFailed { group, error, .. } => json!({
                "event": "send-failed",
                "group": group.to_string(),
                "reason": error.to_string(),
            }),
            ObservationEvent::Notification(n) => {
                let signer = n.signer().map(|signer| SignedBy::of(&signer, self.group));
                let format = format_of(n);
                let max_age = n.response.options.get(OptionNumber::MAX_AGE);
                json!({
                    "event": "notification",
                    "member": name(&n.member),
                    "address": n.from.peer.to_string(),
                    "signer": signer.as_ref().map(SignedBy::json),
                    "news": news_name(n.news),
                    "order": n.number,
                    "count": n.count,
                    "code": code_number(n.response.code),
                    "name": n.response.code.name(),
                    "after_ms": milliseconds(n.after),
                    "max_age": max_age.and_then(decode_uint).unwrap_or(60),
                    "content_format": format.map(|f| f.0),
                    "payload": render::payload_json(format, &n.response.payload),
                    "payload_hex": hex::plain(&n.response.payload),
                })
            }
            ObservationEvent::Stale { member, number, .. } => {
                with(about("stale", member), "order", json!(number))
            }
            ObservationEvent::Incomplete {
                member, failure, ..
            } => {
                let reason = json!(failure.to_string());
                with(about("incomplete", member), "reason", reason)
            }
            ObservationEvent::Silent { member, .. } => about("silent", member),
            ObservationEvent::Unreached {
                member, failure, ..
            } => {
                let reason = json!(failure.to_string());
                with(about("unreached", member), "reason", reason)
            }
            ObservationEvent::MemberEnded { member, why, .. } => {
                let reason = json!(why.to_string());
                with(about("member-ended", member), "reason", reason)
            }
            ObservationEvent::Ended(_) => return None,
        })
    }
}

const ENDING: &str = "deregistering; Ctrl-C again does not wait for it";

/// The columns of appended lines.
fn columns(names: &[String]) -> [(&'static str, Align, usize); 5] {
    let widths = names
        .iter()
        .map(|name| terminal::columns(&terminal::line(name)));
    [
        ("member", Align::Left, widths.max().unwrap_or(18)),
        ("after s", Align::Right, 7),
        ("news", Align::Left, 10),
        ("order", Align::Right, 8),
        ("value", Align::Left, 0),
    ]
}

impl Row {
    /// In the live table.
    fn cells(&self, now: Instant) -> [Cell; 6] {
        let tone = match (&self.state, self.code.and_then(Code::response_class)) {
            (Some(_), _) => Tone::Warn,
            (None, Some(Class::Success)) => Tone::Good,
            (None, _) => Tone::Bad,
        };
        let age = self
            .heard
            .map(|at| now.duration_since(at).as_secs().to_string());
        let mut shown = self.said();
        if let Some(state) = &self.state {
            shown = format!("({}) {shown}", terminal::line(state));
        }
        let name = self.name.as_deref();
        [
            Cell::new(name.map_or_else(String::new, terminal::line)),
            Cell::new(self.address.clone()),
            Cell::new(age.unwrap_or_default()),
            Cell::new(self.number()),
            Cell::new(match self.missed {
                0 => String::new(),
                n => n.to_string(),
            }),
            Cell::toned(shown.trim_end(), tone),
        ]
    }

    /// As appended line: what is new about it.
    fn line(&self, begun: Instant, what: &'static str, why: &str) -> [Cell; 5] {
        let heard = matches!(what, "first" | "joined" | "returned" | "update");
        [
            Cell::new(match &self.name {
                Some(name) => terminal::line(name),
                None => self.address.clone(),
            }),
            Cell::new(format!("{:.1}", begun.elapsed().as_secs_f64())),
            Cell::new(what),
            Cell::new(match heard {
                true => self.number(),
                false => String::new(),
            }),
            Cell::new(match heard {
                true => self.said(),
                false => terminal::line(why),
            }),
        ]
    }

    fn number(&self) -> String {
        self.order.map_or_else(String::new, |n| n.to_string())
    }

    /// What it says; an error by its name.
    fn said(&self) -> String {
        match self.code {
            Some(code) if code.response_class() != Some(Class::Success) => {
                format!("{} {}", code_name(code), self.value)
            }
            _ => self.value.clone(),
        }
    }
}

fn format_of(notification: &Notification) -> Option<ContentFormat> {
    content_format(&notification.response.options)
}

const fn news_name(news: News) -> &'static str {
    match news {
        News::First => "first",
        News::Joined => "joined",
        News::Returned => "returned",
        News::Update => "update",
    }
}

/// What is no news of a member.
fn aside(event: &ObservationEvent) -> Option<String> {
    match event {
        ObservationEvent::Held(_, held) => Some(format!(
            "waits {}: {}",
            duration::show(held.remaining),
            held.reason
        )),
        ObservationEvent::Warning(_, over) => Some(over.to_string()),
        ObservationEvent::SendFailed { group, error, .. } => {
            Some(format!("sending to {group} failed: {error}"))
        }
        ObservationEvent::NotRegistered { why, .. } => {
            Some(format!("not registered again: {}", not_registered(*why)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use antiphon::proto::{ObservationId, Path, Response, Sender, SocketId};

    use super::*;

    fn notification(member: u32, code: Code, value: &str, number: Option<u32>) -> ObservationEvent {
        let response = Response::new(code).with_payload(ContentFormat::TEXT, value.as_bytes());
        ObservationEvent::Notification(Notification {
            observation: ObservationId(1),
            member: ObservedIndex(member),
            news: News::Update,
            from: Path {
                socket: SocketId(0),
                local: "127.0.0.1:5683".parse().unwrap(),
                interface: 0,
                peer: format!("127.0.0.{}:5683", member + 2).parse().unwrap(),
            },
            sender: Sender::Unauthenticated,
            response,
            number,
            count: 1,
            after: Duration::ZERO,
        })
    }

    fn silent(member: u32) -> ObservationEvent {
        ObservationEvent::Silent {
            observation: ObservationId(1),
            member: ObservedIndex(member),
        }
    }

    /// The table 75 s after the beginning, with room for so many columns and lines.
    fn shown(screen: &Screen<'_>, ending: bool, width: usize, height: usize) -> Vec<String> {
        let now = screen.begun + Duration::from_secs(75);
        screen.table(Style::PLAIN, ending, width, height, now)
    }

    fn screen() -> Screen<'static> {
        Screen::new(true, vec!["lamp-east".into(), "lamp".into()], None)
    }

    /// Shows an event so long after the beginning.
    fn hear(screen: &mut Screen<'_>, event: &ObservationEvent, seconds: u64) {
        screen.note(event);
        let begun = screen.begun;
        if let ObservationEvent::Notification(n) = event {
            screen.row(n.member).heard = Some(begun + Duration::from_secs(seconds));
        }
    }

    #[test]
    fn the_live_table_shows_value_age_order_and_what_was_missed() {
        let mut screen = screen();
        assert_eq!(
            shown(&screen, false, 80, 24),
            [
                "member     address             age s     order  missed  value",
                "lamp-east                                               (awaited)",
                "lamp                                                    (awaited)",
                "0 of 2 fresh, 75 s; Ctrl-C ends it",
            ]
        );
        hear(
            &mut screen,
            &notification(0, Code::CONTENT, "21.5", Some(7)),
            5,
        );
        hear(
            &mut screen,
            &notification(0, Code::CONTENT, "21.6", Some(32_530)),
            65,
        );
        hear(
            &mut screen,
            &notification(1, Code::CONTENT, "on", Some(3)),
            0,
        );
        for _ in 0..2 {
            hear(&mut screen, &silent(1), 70);
        }
        // Somebody who was not expected, with an error and without a number.
        hear(
            &mut screen,
            &notification(2, Code::NOT_FOUND, "gone", None),
            74,
        );
        assert_eq!(
            shown(&screen, false, 80, 24),
            [
                "member     address             age s     order  missed  value",
                "lamp-east  127.0.0.2:5683         10     32530          21.6",
                "lamp       127.0.0.3:5683         75         3       2  (silent) on",
                "           127.0.0.4:5683          1                    4.04 Not Found gone",
                "2 of 3 fresh, 75 s; Ctrl-C ends it",
            ]
        );
        // It is back: fresh, and what was missed still counts.
        hear(
            &mut screen,
            &notification(1, Code::CONTENT, "off", Some(4)),
            75,
        );
        let lines = shown(&screen, true, 80, 24);
        assert_eq!(
            lines[2],
            "lamp       127.0.0.3:5683          0         4       2  off"
        );
        assert_eq!(lines[4], ENDING);
    }

    #[test]
    fn the_live_table_keeps_to_the_screen() {
        let mut screen = screen();
        let long = "x".repeat(200);
        for member in 0..6 {
            hear(
                &mut screen,
                &notification(member, Code::CONTENT, &long, Some(1)),
                1,
            );
        }
        // All six with titles and progress; one line less, and the last two are counted.
        assert_eq!(shown(&screen, false, 80, 8).len(), 8);
        let lines = shown(&screen, false, 80, 7);
        assert_eq!(lines.len(), 7);
        assert_eq!(lines[5], "... and 2 more");
        for line in &lines {
            assert!(terminal::columns(line) <= 80, "{line}");
        }
    }
}
