//! `antiphon oscore inspect`: what a state file holds, without its secrets.

use antiphon_oscore::credential::Credential;
use antiphon_oscore::record::{Established, Installed, Loss, Paired, Restored};
use antiphon_oscore::replay::{ReplayWindow, WindowSize};
use antiphon_oscore::sequence::SequenceSettings;
use clap::Args;
use serde_json::json;

use super::state_file::{Found, StateFile, left_text};
use crate::failure::Failure;
use crate::preconfigured::{name_of, suite_text};
use crate::table::{Align, Cell, Table, Tone};
use crate::terminal::{self, Style};
use crate::{exit, hex};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  antiphon oscore inspect lamp-1.state
  antiphon oscore inspect lamp-1.state --json | jq '.groups[].sequence.next'

Looks and changes nothing, also while the file is in use. Secrets are never shown.")]
pub(super) struct InspectArgs {
    #[command(flatten)]
    state: StateFile,

    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

impl InspectArgs {
    pub(super) fn run(&self) -> Result<u8, Failure> {
        let found = self.state.look()?;
        if self.json {
            println!("{}", as_json(&self.state, &found));
        } else {
            print!("{}", as_text(&self.state, &found, Style::stdout()));
        }
        Ok(exit::ALL)
    }
}

/// What is known of one list of records.
pub(super) struct Known<'a> {
    pub(super) kind: &'static str,
    pub(super) name: &'a str,
    pub(super) state: Restored,
}

impl Known<'_> {
    /// Whether nothing is accepted until there are new keys: a silent server that does not know what it received.
    pub(super) fn needs_new_keys(&self) -> bool {
        let silent =
            matches!(&self.state.context, Some(Established::Group(group)) if group.own.is_none());
        silent && self.state.loss.is_none() && !self.state.knows_windows()
    }
}

/// Everything that is ours in a store.
pub(super) fn known(found: &Found) -> Vec<Known<'_>> {
    let records = found.contents.records.iter();
    let ours = records.filter_map(|(list, records)| {
        let (kind, name) = match list.split_once('/')? {
            ("group", name) => ("group", name),
            ("pair", name) => ("context", name),
            _ => return None,
        };
        let state = Restored::fold(records);
        Some(Known { kind, name, state })
    });
    ours.collect()
}

/// Why sequence numbers are lost, in words.
pub(super) fn loss_text(loss: Loss) -> String {
    match loss {
        Loss::Unreadable => "a record cannot be read".into(),
        Loss::Mismatch => "a record does not belong to the others".into(),
        Loss::Refused(refused) => refused.to_string(),
        Loss::Recorded => "it was written down that they are lost".into(),
    }
}

fn window_text(window: &ReplayWindow) -> String {
    match window.lower_limit() {
        Some(limit) => format!("from {limit}"),
        None => "unknown: it is challenged first".into(),
    }
}

fn sequence_text(state: &Restored) -> Option<String> {
    let sequence = state.sequence(SequenceSettings::default())?;
    if sequence.is_lost() {
        return Some("lost".into());
    }
    let (next, reserved) = (sequence.next(), sequence.reserved_upto());
    Some(match (next == reserved, state.is_clean()) {
        (true, false) if next > 0 => format!("{next} is next: all below may have been used"),
        (true, _) => format!("{next} is next, none reserved"),
        (false, _) => format!("{next} is next, below {reserved} reserved"),
    })
}

fn as_text(file: &StateFile, found: &Found, style: Style) -> String {
    let contents = &found.contents;
    let mut out = format!(
        "{}  {}\n",
        style.bold(&file.shown()),
        terminal::line(&left_text(&found.left))
    );
    let say = |out: &mut String, what: &str, text: &str| {
        out.push_str(&format!("  {what:<12} {text}\n"));
    };
    let records: usize = contents.records.values().map(Vec::len).sum();
    say(
        &mut out,
        "store",
        &format!(
            "{}, opened {} times, {records} records",
            contents.store, contents.opened
        ),
    );
    for known in known(found) {
        out.push_str(&format!(
            "\n{} {}\n",
            known.kind,
            style.bold(&terminal::line(known.name))
        ));
        let state = &known.state;
        if let Some(loss) = state.loss {
            say(&mut out, "LOST", &style.bad(&loss_text(loss)));
        }
        match &state.context {
            None => say(&mut out, "left", "the keys are gone"),
            Some(Established::Group(group)) => {
                say(&mut out, "Gid", &hex::plain(&group.gid));
                say(&mut out, "generation", &group.generation.to_string());
                say(&mut out, "algorithms", &suite_text(&group.suite));
                say(&mut out, "me", &me_text(group));
                if let Some(text) = sequence_text(state) {
                    say(&mut out, "sequence", &text);
                }
                out.push_str(&members_table(state, group, style));
            }
            Some(Established::Pair(pair)) => {
                if let Some(id) = &pair.id_context {
                    say(&mut out, "ID Context", &hex::plain(id));
                }
                say(&mut out, "algorithms", pair.aead.name());
                say(
                    &mut out,
                    "me",
                    &format!("Sender ID {}", id_text(&pair.sender_id)),
                );
                say(
                    &mut out,
                    "peer",
                    &format!("Sender ID {}", id_text(&pair.recipient_id)),
                );
                if let Some(text) = sequence_text(state) {
                    say(&mut out, "sequence", &text);
                }
                let window = state.window(&pair.recipient_id, WindowSize::default());
                say(&mut out, "window", &window_text(&window));
            }
        }
    }
    out
}

fn id_text(id: &[u8]) -> String {
    match id {
        [] => "(empty)".into(),
        id => hex::plain(id),
    }
}

fn subject_of(group: &Installed, credential: &[u8]) -> Option<String> {
    let credential = Credential::import(group.format, credential).ok()?;
    credential.subject().map(str::to_owned)
}

fn me_text(group: &Installed) -> String {
    let Some(own) = &group.own else {
        return "a silent server".into();
    };
    let subject = subject_of(group, &own.credential);
    format!(
        "{}, Sender ID {}, private key {}",
        name_of(&own.sender_id, subject.as_deref()),
        id_text(&own.sender_id),
        match own.key {
            Some(_) => "in this file",
            None => "elsewhere",
        }
    )
}

fn members_table(state: &Restored, group: &Installed, style: Style) -> String {
    if state.peers.is_empty() {
        return "  there is no other member\n".into();
    }
    let columns = [
        ("member", Align::Left, 0),
        ("Sender ID", Align::Left, 0),
        ("key", Align::Left, 0),
        ("replay window", Align::Left, 0),
    ];
    let rows: Vec<[Cell; 4]> = state
        .peers
        .iter()
        .map(|(id, credential)| {
            let window = state.window(id, WindowSize::default());
            let read = Credential::import(group.format, credential).ok();
            let key = read.as_ref().map_or("?", |c| c.public_key().curve().name());
            let subject = read.as_ref().and_then(Credential::subject);
            let tone = if window.is_valid() {
                Tone::Plain
            } else {
                Tone::Warn
            };
            [
                Cell::new(name_of(id, subject)),
                Cell::new(id_text(id)),
                Cell::new(key),
                Cell::toned(window_text(&window), tone),
            ]
        })
        .collect();
    Table::new(&columns, style, None).whole(2, &rows)
}

fn as_json(file: &StateFile, found: &Found) -> serde_json::Value {
    let (mut groups, mut contexts) = (Vec::new(), Vec::new());
    for known in known(found) {
        let state = &known.state;
        let sequence = state.sequence(SequenceSettings::default()).map(|sequence| {
            json!({
                "next": sequence.next(), "reserved": sequence.reserved_upto(), "exact": state.is_clean(),
                "lost": sequence.is_lost(),
            })
        });
        let mut object = json!({
            "name": known.name, "lost": state.loss.map(loss_text), "sequence": sequence,
        });
        let more = match &state.context {
            None => json!({"left": true}),
            Some(Established::Group(group)) => group_json(state, group),
            Some(Established::Pair(pair)) => pair_json(state, pair),
        };
        if let (Some(object), serde_json::Value::Object(more)) = (object.as_object_mut(), more) {
            object.extend(more);
        }
        match known.kind {
            "group" => groups.push(object),
            _ => contexts.push(object),
        }
    }
    json!({
        "event": "state", "file": file.file.display().to_string(), "store": found.contents.store.to_string(),
        "opened": found.contents.opened, "left": left_text(&found.left), "usable": found.left.is_ok(),
        "groups": groups, "contexts": contexts,
    })
}

fn window_json(window: &ReplayWindow) -> serde_json::Value {
    json!({"valid": window.is_valid(), "from": window.lower_limit()})
}

fn group_json(state: &Restored, group: &Installed) -> serde_json::Value {
    let suite = &group.suite;
    let members: Vec<_> = state
        .peers
        .iter()
        .map(|(id, credential)| {
            json!({
                "sender_id": hex::plain(id), "subject": subject_of(group, credential),
                "credential": hex::plain(credential),
                "window": window_json(&state.window(id, WindowSize::default())),
            })
        })
        .collect();
    json!({
        "gid": hex::plain(&group.gid), "generation": group.generation,
        "algorithms": {
            "aead": suite.aead().map(|a| a.name()), "group_encryption": suite.group_encryption().map(|a| a.name()),
            "signature": suite.signature().map(|a| a.name()), "key_agreement": suite.key_agreement().map(|a| a.name()),
            "hkdf": suite.hkdf().name(),
        },
        "credential_format": group.format.name(),
        "me": group.own.as_ref().map(|own| json!({
            "sender_id": hex::plain(&own.sender_id), "subject": subject_of(group, &own.credential),
            "credential": hex::plain(&own.credential), "key_here": own.key.is_some(),
        })),
        "members": members,
    })
}

fn pair_json(state: &Restored, pair: &Paired) -> serde_json::Value {
    json!({
        "id_context": pair.id_context.as_ref().map(|id| hex::plain(id)),
        "sender_id": hex::plain(&pair.sender_id), "recipient_id": hex::plain(&pair.recipient_id),
        "aead": pair.aead.name(), "hkdf": pair.hkdf.name(),
        "window": window_json(&state.window(&pair.recipient_id, WindowSize::default())),
    })
}
