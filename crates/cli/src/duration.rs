//! Durations as people write them: `5`, `5s`, `500ms`, `1.5m`, `2h`, `3d`.

use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
/// What takes longest here, a distribution at a byte a second, may take so many days.
const DAYS: u32 = 60;

/// Reads a duration; a bare number is seconds. At most one day.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    at_most(text, DAY, "a day")
}

/// As [`parse`], for what may take days: 60 at most.
pub(crate) fn parse_days(text: &str) -> Result<Duration, String> {
    at_most(text, DAY * DAYS, "60 days")
}

fn at_most(text: &str, most: Duration, name: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "us" => 1e-6,
        "ms" => 1e-3,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        other => return Err(format!("{other:?} is no unit of time (us, ms, s, m, h, d)")),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number: f64 = plain
        .then(|| digits.parse().ok())
        .flatten()
        .ok_or_else(|| format!("{text:?} is no duration (such as 5s or 500ms)"))?;
    Duration::try_from_secs_f64(number * unit)
        .ok()
        .filter(|d| *d <= most)
        .ok_or_else(|| format!("{text:?} is longer than {name}"))
}

/// The duration in the largest unit that shows three digits or so.
pub(crate) fn show(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1e3;
    if ms < 1.0 && ms > 0.0 {
        format!("{:.0} us", ms * 1e3)
    } else if ms < 10.0 && ms.fract() != 0.0 {
        format!("{ms:.1} ms")
    } else if ms < 1e3 {
        format!("{ms:.0} ms")
    } else if ms < 120e3 {
        format!("{} s", (ms / 10.0).round() / 100.0)
    } else {
        format!("{:.0} min", ms / 60e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_with_units() {
        for (text, us) in [
            ("5", 5_000_000),
            ("5s", 5_000_000),
            ("0", 0),
            ("250us", 250),
            ("500ms", 500_000),
            ("1.5m", 90_000_000),
            ("2min", 120_000_000),
            ("24h", 86_400_000_000),
            ("1d", 86_400_000_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_micros(us)), "{text}");
        }
        for text in [
            "",
            "s",
            "-1",
            "+1",
            "1e3",
            "5 s",
            "5D",
            "5S",
            "1.1d",
            "1..2",
            "NaN",
            "inf",
            "24.1h",
            "99999999999999999999",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(
            parse("5w").unwrap_err(),
            "\"w\" is no unit of time (us, ms, s, m, h, d)"
        );
        assert_eq!(parse("5d").unwrap_err(), "\"5d\" is longer than a day");
    }

    #[test]
    fn what_takes_days_takes_60_at_most() {
        let days = |n: u64| Ok(Duration::from_secs(n * 86_400));
        assert_eq!(parse_days("60d"), days(60));
        assert_eq!(parse_days("1440h"), days(60));
        assert_eq!(parse_days("0.5d"), Ok(Duration::from_secs(43_200)));
        assert_eq!(
            parse_days("60.1d").unwrap_err(),
            "\"60.1d\" is longer than 60 days"
        );
    }

    #[test]
    fn shows_what_people_read() {
        for (us, text) in [
            (0, "0 ms"),
            (250, "250 us"),
            (1_500, "1.5 ms"),
            (2_000, "2 ms"),
            (15_400, "15 ms"),
            (999_000, "999 ms"),
            (5_250_000, "5.25 s"),
            (5_000_000, "5 s"),
            (600_000_000, "10 min"),
        ] {
            assert_eq!(show(Duration::from_micros(us)), text);
        }
    }
}
