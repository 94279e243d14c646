//! How an observation ended, as text and as JSON.

use antiphon::{EndedBy, ObservationEnd, ObservationOutcome, ObservedState};
use serde_json::{Value, json};

use crate::outcome::milliseconds;
use crate::terminal::{self, Style};
use crate::{duration, exit};

/// How an observation ended.
pub(in crate::request::observe) struct Ended {
    outcome: ObservationOutcome,
    interrupted: bool,
}

impl Ended {
    pub(in crate::request::observe) fn of(outcome: &ObservationOutcome, interrupted: bool) -> Self {
        Self {
            outcome: outcome.clone(),
            interrupted,
        }
    }

    /// The expected members that were heard, or those that were not.
    fn expected(&self, heard: bool) -> Vec<&str> {
        let members = self.outcome.members.iter();
        members
            .filter(|report| (report.notifications > 0) == heard)
            .filter_map(|report| report.name.as_deref())
            .collect()
    }

    /// How many members were heard at all.
    fn heard(&self) -> usize {
        let members = self.outcome.members.iter();
        members.filter(|report| report.notifications > 0).count()
    }

    /// Members that may still have this client among their observers.
    fn unconfirmed(&self) -> Vec<String> {
        let registered = |state| matches!(state, ObservedState::Fresh | ObservedState::Silent);
        let members = self.outcome.members.iter();
        members
            .filter(|report| registered(report.state))
            .map(|report| match (&report.name, report.address) {
                (Some(name), _) => name.clone(),
                (None, Some(address)) => address.to_string(),
                (None, None) => String::new(),
            })
            .collect()
    }

    /// What a script is told.
    pub(in crate::request::observe) fn exit_code(&self) -> u8 {
        let (heard, missing) = (self.expected(true).len(), self.expected(false).len());
        match (heard, missing) {
            (0, 0) if self.heard() == 0 => exit::NONE,
            (_, 0) => exit::ALL,
            (0, _) => exit::NONE,
            _ => exit::SOME_MISSING,
        }
    }

    pub(super) fn text(&self, style: Style) -> String {
        let outcome = &self.outcome;
        let (heard, missing) = (self.expected(true), self.expected(false));
        let registrations = match outcome.registrations {
            1 => "1 registration".into(),
            n => format!("{n} registrations"),
        };
        let notifications = match outcome.notifications {
            1 => "1 notification".into(),
            n => format!("{n} notifications"),
        };
        let members = match (heard.len() + missing.len(), self.heard()) {
            (0, 1) => "1 member".into(),
            (0, n) => format!("{n} members"),
            (expected, _) => format!("{} of {expected} expected members", heard.len()),
        };
        let took = duration::show(outcome.took);
        let head = format!("{notifications} of {members} in {took} ({registrations})");
        let mut lines = vec![match self.exit_code() {
            exit::ALL => style.good(&head),
            _ => style.bad(&head),
        }];
        let mut list = |label: &str, items: Vec<String>, tone: fn(Style, &str) -> String| {
            for (i, item) in items.iter().enumerate() {
                let label = if i == 0 { label } else { "" };
                let item = tone(style, &terminal::line(item));
                lines.push(format!("  {label:<11} {item}"));
            }
        };
        let missing = missing.into_iter().map(str::to_owned).collect();
        list("missing", missing, Style::bad);
        list("unconfirmed", self.unconfirmed(), Style::warn);
        lines.join("\n")
    }

    pub(super) fn json(&self) -> Value {
        let outcome = &self.outcome;
        let (heard, missing) = (self.expected(true), self.expected(false));
        let members = outcome.members.iter().map(|report| {
            json!({
                "member": report.name,
                "address": report.address.map(|address| address.to_string()),
                "state": state_name(report.state),
                "notifications": report.notifications,
                "stale": report.stale,
                "missed": report.silences,
                "dropped": report.dropped,
            })
        });
        json!({
            "event": "outcome",
            "expected": heard.len() + missing.len(),
            "heard": heard,
            "missing": missing,
            "unconfirmed": self.unconfirmed(),
            "members": members.collect::<Vec<_>>(),
            "registrations": outcome.registrations,
            "notifications": outcome.notifications,
            "transmissions": outcome.transmissions,
            "bytes": outcome.bytes,
            "took_ms": milliseconds(outcome.took),
            "ended_by": ended_by(outcome.ended_by),
            "interrupted": self.interrupted,
            "exit": self.exit_code(),
        })
    }
}

const fn ended_by(end: ObservationEnd) -> &'static str {
    match end {
        ObservationEnd::Deregistered => "deregistered",
        ObservationEnd::NeverSent => "never-sent",
        ObservationEnd::ByServer(_) => "by-server",
        ObservationEnd::NotRegistered(_) => "not-registered",
        ObservationEnd::Failed(_) => "failed",
        ObservationEnd::GroupLeft => "group-left",
    }
}

fn state_name(state: ObservedState) -> String {
    match state {
        ObservedState::Awaited => "awaited".into(),
        ObservedState::Fresh => "fresh".into(),
        ObservedState::Silent => "silent".into(),
        ObservedState::Rejected(why) => format!("rejected: {why}"),
        ObservedState::Ended(why) => format!("ended: {why}"),
    }
}

/// Why a registration did not come about.
pub(in crate::request::observe) fn not_registered(why: EndedBy) -> String {
    match why {
        EndedBy::Failed(error) => error.to_string(),
        EndedBy::NotProtected(why) => why.to_string(),
        _ => "too much is asked of the group already".into(),
    }
}
