//! What is shown of a distribution: bars on a terminal, lines elsewhere, or JSON.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use antiphon::distribution::{
    DeviceReport, DeviceState, Distributed, Distribution, DistributionPhase, DistributionProgress,
    DistributorEvent, LinkProfile, PreparedDistribution,
};
use serde_json::{Value, json};

use super::Speed;
use crate::collecting::print_line;
use crate::failure::Failure;
use crate::terminal::{self, Style};

/// So many devices have a bar of their own: those that are not done yet before the others.
const BARS: usize = 24;
const BAR: usize = 30;

/// Where a distribution is shown.
pub(super) struct Screen {
    json: bool,
    names: Vec<String>,
    /// Bars, on a terminal.
    live: bool,
    /// Lines of bars that stand there.
    shown: usize,
    /// What was said last of each device, so that nothing is said twice.
    said: Vec<String>,
}

impl Screen {
    pub(super) fn new(json: bool, names: Vec<String>) -> Self {
        Self {
            json,
            said: vec![String::new(); names.len()],
            names,
            live: !json && std::io::stdout().is_terminal(),
            shown: 0,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// What is going to happen.
    pub(super) fn plan(
        &mut self,
        uri: &str,
        prepared: &PreparedDistribution,
        speed: &Speed,
    ) -> Result<(), Failure> {
        let (config, estimate) = (prepared.config(), prepared.estimate());
        let image = prepared.announcement();
        let seconds = estimate.duration.as_secs_f64();
        if self.json {
            let plan = json!({
                "event": "plan", "uri": uri, "id": image.id().to_string(), "name": image.name(), "kind": image.kind(),
                "version": image.version(), "size": image.size(), "block_size": image.block_size(),
                "blocks": image.blocks(), "devices": self.names.len(), "rate": config.rate,
                "rate_from": speed.from, "link": speed.link.name(), "passes": config.passes,
                "manifest": image.manifest().is_some(), "signed": image.signature().is_some(),
                "estimate": {
                    "datagrams": estimate.datagrams, "bytes": estimate.bytes, "seconds": seconds,
                },
            });
            return print_line(&plan.to_string());
        }
        let mut text = format!(
            "{} {} bytes, version {}, id {}: {} blocks of {} bytes",
            match image.name() {
                "" => "An image of".to_owned(),
                name => format!("{}:", terminal::line(name)),
            },
            grouped(u64::from(image.size())),
            image.version(),
            image.id(),
            grouped(u64::from(image.blocks())),
            image.block_size(),
        );
        for (what, there) in [
            ("with a manifest", image.manifest().is_some()),
            ("signed", image.signature().is_some()),
        ] {
            if there {
                let _ = write!(text, ", {what}");
            }
        }
        print_line(&text)?;
        let whom = match self.names.len() {
            0 => "whoever listens (no --members: nobody is asked how far it is)".to_owned(),
            1 => "1 device".to_owned(),
            devices => format!("{devices} devices"),
        };
        print_line(&format!("To {whom} by {}", terminal::line(uri)))?;
        print_line(&format!(
            "Takes about {} at {} a second ({}): {} datagrams, {} bytes with all headers. What is lost comes on top.",
            long(estimate.duration),
            match config.rate {
                1 => "1 byte".to_owned(),
                rate => format!("{} bytes", grouped(u64::from(rate))),
            },
            match speed.from {
                "--link" => format!("--link {}", speed.link.name()),
                "group file" => format!("link {} in the file of the group", speed.link.name()),
                from => from.to_owned(),
            },
            grouped(estimate.datagrams),
            grouped(estimate.bytes),
        ))?;
        if speed.link == LinkProfile::Unknown && speed.from != "--rate" {
            eprintln!(
                "{} nothing is known of this network, so 1 byte a second is sent (PROBING_RATE, RFC 7252). \
                 --rate says what it can carry, --link what it is.",
                Style::stderr().warn("note:")
            );
        }
        Ok(())
    }

    pub(super) fn event(
        &mut self,
        distribution: &Distribution,
        event: DistributorEvent,
    ) -> Result<(), Failure> {
        let progress = distribution.progress();
        let (text, value) = match event {
            DistributorEvent::Announced => {
                (Some("Announced.".to_owned()), json!({"event": "announced"}))
            }
            DistributorEvent::PassBegun { pass, blocks } => (
                Some(format!("Pass {pass}: {} blocks.", grouped(blocks.into()))),
                json!({"event": "pass", "pass": pass, "blocks": blocks}),
            ),
            DistributorEvent::PassEnded { pass } => (
                Some(format!("Pass {pass} is over.")),
                json!({"event": "pass-ended", "pass": pass}),
            ),
            DistributorEvent::RepairBegun { window } => (
                Some(format!(
                    "Devices ask for what they lack, beginning within {} s.",
                    window.as_secs()
                )),
                json!({"event": "repair", "window": window.as_secs()}),
            ),
            DistributorEvent::Member(index) => {
                let device = distribution.devices().into_iter().nth(index);
                let Some(device) = device else { return Ok(()) };
                return self.device(index, &device, &progress);
            }
            DistributorEvent::Ended(_) => return Ok(()), // said at the end
        };
        if self.json {
            return print_line(&value.to_string());
        }
        if let Some(text) = text {
            self.say(&text)?;
        }
        Ok(())
    }

    /// News of one device: every change in JSON, only other states in lines.
    fn device(
        &mut self,
        index: usize,
        device: &DeviceReport,
        progress: &DistributionProgress,
    ) -> Result<(), Failure> {
        let name = self.names.get(index).cloned().unwrap_or_default();
        if self.json {
            return print_line(&of_device("device", &name, device).to_string());
        }
        if self.live {
            return Ok(());
        }
        let state = state(device);
        // how far it is during a pass is no news for a line
        let passing = progress.phase == DistributionPhase::Passing;
        if self.said.get(index).is_some_and(|said| *said == state) {
            return Ok(());
        }
        if let Some(said) = self.said.get_mut(index) {
            *said = state.clone();
        }
        let how_far = match passing || device.total == 0 {
            true => String::new(),
            false => format!(", {} of {} blocks", device.have, device.total),
        };
        print_line(&format!(
            "{} ({}): {state}{how_far}",
            terminal::line(&name),
            device.address
        ))
    }

    /// What came of it.
    pub(super) fn done(&mut self, done: &Distributed, stopped: bool) -> Result<(), Failure> {
        self.wipe()?;
        let activated = |device: &&DeviceReport| device.state == Some(DeviceState::Activated);
        let count = done.devices.iter().filter(activated).count();
        let progress = done.progress;
        if self.json {
            let devices: Vec<Value> = done
                .devices
                .iter()
                .enumerate()
                .map(|(index, device)| {
                    let name = self.names.get(index).cloned().unwrap_or_default();
                    of_device("device", &name, device)
                })
                .collect();
            let outcome = json!({
                "event": "outcome", "ended_by": done.end.map_or("stopped".into(), |end| end.to_string()),
                "activated": count, "all_activated": done.all_activated, "devices": devices,
                "passes": progress.pass, "group_datagrams": progress.group_datagrams,
                "group_bytes": progress.group_bytes, "repairs": progress.repairs, "asks": progress.asks,
            });
            return print_line(&outcome.to_string());
        }
        let style = Style::stdout();
        for (index, device) in done.devices.iter().enumerate() {
            if activated(&device) {
                continue;
            }
            let name = self.names.get(index).cloned().unwrap_or_default();
            print_line(&format!(
                "{} ({}): {}, {} of {} blocks",
                terminal::line(&name),
                device.address,
                style.bad(&state(device)),
                device.have,
                device.total
            ))?;
        }
        let why = match (stopped, done.end) {
            (_, Some(end)) => end.to_string(),
            (true, None) => "stopped; the same command goes on where it was".to_owned(),
            (false, None) => "broken off".to_owned(),
        };
        let whom = match done.devices.len() {
            0 => String::new(),
            devices => format!("{count} of {devices} devices have activated it; "),
        };
        print_line(&format!(
            "{}{whom}{why}. {} bytes to the group in {}, {} blocks repaired.",
            match done.all_activated {
                true => style.good("Done: "),
                false => String::new(),
            },
            grouped(progress.group_bytes),
            match progress.pass {
                1 => "1 pass".to_owned(),
                passes => format!("{passes} passes"),
            },
            grouped(progress.repairs),
        ))
    }

    fn say(&mut self, text: &str) -> Result<(), Failure> {
        self.wipe()?;
        print_line(text)
    }

    /// Removes the bars.
    fn wipe(&mut self) -> Result<(), Failure> {
        let lines = core::mem::take(&mut self.shown);
        if lines > 0 {
            let mut out = std::io::stdout().lock();
            write!(out, "\x1b[{lines}A\r\x1b[J")?;
            out.flush()?;
        }
        Ok(())
    }

    /// Draws the bars anew.
    pub(super) fn redraw(&mut self, distribution: &Distribution) -> Result<(), Failure> {
        if !self.live {
            return Ok(());
        }
        let width = terminal::width().unwrap_or(80);
        let lines = self.bars(&distribution.progress(), &distribution.devices());
        self.wipe()?;
        let mut out = std::io::stdout().lock();
        for line in &lines {
            writeln!(out, "{}", terminal::fit(line, width.saturating_sub(1)))?;
        }
        out.flush()?;
        self.shown = lines.len();
        Ok(())
    }

    /// The whole in the first line, then each device.
    fn bars(&self, progress: &DistributionProgress, devices: &[DeviceReport]) -> Vec<String> {
        let whole = match progress.phase {
            DistributionPhase::Passing => format!(
                "pass {}  {}",
                progress.pass,
                bar(progress.pass_sent, progress.pass_blocks)
            ),
            DistributionPhase::Repairing => {
                format!("repairs: {} blocks so far", grouped(progress.repairs))
            }
            phase => format!("{phase:?}").to_lowercase(),
        };
        let have: u64 = devices.iter().map(|device| u64::from(device.have)).sum();
        let total: u64 = devices.iter().map(|device| u64::from(device.total)).sum();
        let mut lines = vec![format!(
            "{whole}   {} bytes sent, devices have {} of {} blocks",
            grouped(progress.group_bytes),
            grouped(have),
            grouped(total)
        )];
        let longest = self.names.iter().map(|name| terminal::columns(name)).max();
        let with_bar = with_bar(devices);
        for &index in &with_bar {
            let device = &devices[index];
            let name = terminal::line(self.names.get(index).map_or("", String::as_str));
            let pad = longest
                .unwrap_or(0)
                .min(24)
                .saturating_sub(terminal::columns(&name));
            lines.push(format!(
                "  {name}{} {} {}",
                " ".repeat(pad),
                bar(device.have, device.total),
                state(device)
            ));
        }
        let more = devices.len() - with_bar.len();
        if more > 0 {
            let of_those = with_bar.iter().filter(|index| is_done(&devices[**index]));
            let done = devices.iter().filter(|device| is_done(device)).count() - of_those.count();
            lines.push(format!(
                "  and {more} more, of which {done} have activated it"
            ));
        }
        lines
    }
}

fn is_done(device: &DeviceReport) -> bool {
    device.state == Some(DeviceState::Activated)
}

/// Whose bars are shown, by index, in the order in which they were named.
fn with_bar(devices: &[DeviceReport]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..devices.len()).collect();
    order.sort_by_key(|index| is_done(&devices[*index]));
    order.truncate(BARS);
    order.sort_unstable();
    order
}

/// `[#####.....]  50 %`
fn bar(done: u32, of: u32) -> String {
    let part = |whole: u64| u64::from(done) * whole / u64::from(of.max(1));
    let filled = usize::try_from(part(BAR as u64)).unwrap_or(BAR).min(BAR);
    format!(
        "[{}{}] {:>3} %",
        "#".repeat(filled),
        ".".repeat(BAR - filled),
        part(100).min(100)
    )
}

/// How a device is, in words.
fn state(device: &DeviceReport) -> String {
    if device.given_up {
        return "it did not get further for too long".to_owned();
    }
    match (device.state, device.code) {
        (Some(DeviceState::Failed), Some(code)) => format!("failed: {}", why(code)),
        (Some(state), _) => format!("{state:?}").to_lowercase(),
        (None, Some(code)) => format!("takes no images here ({code:?})"),
        (None, None) => match (device.busy_with, device.failure, device.heard) {
            (Some(id), ..) => format!("occupied with another image, {id}"),
            (None, Some(failure), _) => failure.to_string(),
            (None, None, Some(_)) => "has not heard of it yet".to_owned(),
            (None, None, None) => "not asked yet".to_owned(),
        },
    }
}

/// What the code of a failure means.
fn why(code: antiphon::Code) -> String {
    use antiphon::Code;
    let text = match code {
        Code::NOT_ACCEPTABLE => "it does not take this image",
        Code::REQUEST_ENTITY_TOO_LARGE => "no room for it",
        Code::BAD_REQUEST => "what came is not what was announced",
        Code::INTERNAL_SERVER_ERROR => "it could not be stored or activated",
        _ => return code.to_string(),
    };
    format!("{text} ({code:?})")
}

fn of_device(event: &str, name: &str, device: &DeviceReport) -> Value {
    json!({
        "event": event, "name": name, "address": device.address.to_string(),
        "state": device.state.map(|state| format!("{state:?}").to_lowercase()),
        "code": device.code.map(|code| code.to_string()), "have": device.have, "total": device.total,
        "busy_with": device.busy_with.map(|id| id.to_string()), "repairs": device.repairs,
        "failure": device.failure.map(|failure| failure.to_string()), "given_up": device.given_up,
    })
}

/// 1234567 as 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A duration that may be days.
fn long(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..=119 => format!("{} s", seconds.max(1)),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(n: u8) -> DeviceReport {
        DeviceReport {
            address: ([10, 0, 0, n], 5683).into(),
            state: None,
            code: None,
            have: 0,
            total: 8,
            busy_with: None,
            heard: None,
            failure: None,
            repairs: 0,
            given_up: false,
        }
    }

    #[test]
    fn bars_show_the_whole_and_each_device() {
        let names = (1..=26).map(|n| format!("lamp-{n}")).collect();
        let screen = Screen::new(false, names);
        let mut devices: Vec<_> = (1..=26).map(device).collect();
        devices[1].state = Some(DeviceState::Receiving);
        devices[1].have = 4;
        devices[25].state = Some(DeviceState::Activated);
        devices[25].have = 8;
        let progress = DistributionProgress {
            phase: DistributionPhase::Passing,
            pass: 1,
            pass_blocks: 8,
            pass_sent: 2,
            group_bytes: 12_345,
            ..DistributionProgress::default()
        };
        let lines = screen.bars(&progress, &devices);
        assert_eq!(lines.len(), 26);
        assert_eq!(
            lines[0],
            "pass 1  [#######.......................]  25 %   12,345 bytes sent, devices have 12 of 208 blocks"
        );
        assert_eq!(
            lines[2],
            "  lamp-2  [###############...............]  50 % receiving"
        );
        assert_eq!(lines[25], "  and 2 more, of which 1 have activated it");

        // Who is done makes room for who is not.
        devices[0].state = Some(DeviceState::Activated);
        let lines = screen.bars(&progress, &devices);
        assert!(lines[1].starts_with("  lamp-2 "), "{}", lines[1]);
        assert!(lines[24].starts_with("  lamp-25 "), "{}", lines[24]);
        assert_eq!(lines[25], "  and 2 more, of which 2 have activated it");
    }

    #[test]
    fn what_a_device_is_doing_is_said_in_words() {
        let said = |change: fn(&mut DeviceReport)| {
            let mut device = device(1);
            change(&mut device);
            state(&device)
        };
        assert_eq!(said(|_| {}), "not asked yet");
        assert_eq!(
            said(|d| {
                d.state = Some(DeviceState::Failed);
                d.code = Some(antiphon::Code::REQUEST_ENTITY_TOO_LARGE);
            }),
            "failed: no room for it (4.13)"
        );
        assert_eq!(
            said(|d| d.code = Some(antiphon::Code::NOT_FOUND)),
            "takes no images here (4.04)"
        );
        assert_eq!(
            said(|d| d.failure = Some(antiphon::Failure::TimedOut)),
            "no response in time"
        );
        assert_eq!(
            said(|d| d.given_up = true),
            "it did not get further for too long"
        );
    }

    #[test]
    fn numbers_and_durations_are_readable() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(long(Duration::from_millis(10)), "1 s");
        assert_eq!(long(Duration::from_secs(119)), "119 s");
        assert_eq!(long(Duration::from_secs(120)), "2 min");
        assert_eq!(long(Duration::from_secs(7_200)), "2 h");
        assert_eq!(long(Duration::from_secs(1_209_600)), "14 days");
    }
}
