//! SenML (RFC 8428): the JSON and the CBOR form read into the same records, resolved, and one form made of the other.

use crate::cbor::Value;
use crate::{hex, terminal};

/// A resolved record: base values applied.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) value: Option<Reading>,
    pub(crate) unit: Option<String>,
    /// Seconds: since 1970 if at least 2^28, else relative to now (RFC 8428 section 4.5.3).
    pub(crate) time: Option<f64>,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reading {
    Number(f64),
    Text(String),
    Truth(bool),
    Data(Vec<u8>),
    /// Only a sum field.
    Sum(f64),
}

/// The integer labels of the CBOR form (RFC 8428 section 6).
const LABELS: [(i64, &str); 15] = [
    (-1, "bver"),
    (-2, "bn"),
    (-3, "bt"),
    (-4, "bu"),
    (-5, "bv"),
    (-6, "bs"),
    (0, "n"),
    (1, "u"),
    (2, "v"),
    (3, "vs"),
    (4, "vb"),
    (5, "s"),
    (6, "t"),
    (7, "ut"),
    (8, "vd"),
];

/// Gives integer labels their JSON names, and data values their base64url text.
pub(crate) fn with_names(pack: Value) -> Value {
    relabel(pack, |key, value| {
        let label = match key {
            Value::Unsigned(n) => i64::try_from(n).ok(),
            Value::Negative(n) => i64::try_from(n).ok().map(|n| -1 - n),
            _ => None,
        };
        let name = label.and_then(|label| LABELS.iter().find(|(l, _)| *l == label));
        match (name, value) {
            (Some((_, "vd")), Value::Bytes(bytes)) => (
                Value::Text("vd".into()),
                Value::Text(hex::base64url(&bytes)),
            ),
            (Some((_, name)), value) => (Value::Text((*name).into()), value),
            (None, value) => (key, value),
        }
    })
}

/// Gives JSON names their integer labels, and data values their bytes.
pub(crate) fn with_labels(pack: Value) -> Value {
    relabel(pack, |key, value| {
        let label = key
            .as_text()
            .and_then(|text| LABELS.iter().find(|(_, name)| *name == text));
        let Some(&(label, name)) = label else {
            return (key, value);
        };
        let number = match u64::try_from(label) {
            Ok(n) => Value::Unsigned(n),
            Err(_) => Value::Negative((-1 - label) as u64),
        };
        match (name, value.as_text().and_then(hex::from_base64url)) {
            ("vd", Some(bytes)) => (number, Value::Bytes(bytes)),
            _ => (number, value),
        }
    })
}

fn relabel(pack: Value, mut name: impl FnMut(Value, Value) -> (Value, Value)) -> Value {
    match pack {
        Value::Array(records) => Value::Array(
            records
                .into_iter()
                .map(|record| match record {
                    Value::Map(entries) => Value::Map(
                        entries
                            .into_iter()
                            .map(|(key, value)| name(key, value))
                            .collect(),
                    ),
                    other => other,
                })
                .collect(),
        ),
        other => other,
    }
}

/// Resolves a pack whose labels are names (RFC 8428 section 4.6). `None` if it is no SenML pack.
pub(crate) fn resolve(pack: &Value) -> Option<Vec<Record>> {
    let Value::Array(records) = pack else {
        return None;
    };
    let (mut base_name, mut base_unit) = (String::new(), None);
    let (mut base_time, mut base_value, mut base_sum) = (0.0, 0.0, 0.0);
    let mut resolved = Vec::new();
    for record in records {
        let Value::Map(_) = record else {
            return None;
        };
        let number = |name: &str| match record.get(name) {
            None => Some(None),
            Some(value) => value.as_f64().map(Some),
        };
        if let Some(name) = record.get("bn") {
            base_name = name.as_text()?.to_owned();
        }
        if let Some(unit) = record.get("bu") {
            base_unit = Some(unit.as_text()?.to_owned());
        }
        base_time = number("bt")?.unwrap_or(base_time);
        base_value = number("bv")?.unwrap_or(base_value);
        base_sum = number("bs")?.unwrap_or(base_sum);

        let value = if let Some(v) = number("v")? {
            Some(Reading::Number(base_value + v))
        } else if let Some(text) = record.get("vs") {
            Some(Reading::Text(text.as_text()?.to_owned()))
        } else if let Some(truth) = record.get("vb") {
            match truth {
                Value::Bool(truth) => Some(Reading::Truth(*truth)),
                _ => return None,
            }
        } else if let Some(data) = record.get("vd") {
            Some(Reading::Data(hex::from_base64url(data.as_text()?)?))
        } else {
            number("s")?.map(|sum| Reading::Sum(base_sum + sum))
        };
        let own_name = match record.get("n") {
            Some(name) => name.as_text()?,
            None => "",
        };
        // A record of base fields alone carries nothing of its own.
        if value.is_none() && own_name.is_empty() {
            continue;
        }
        let own_time = number("t")?;
        let has_time = own_time.is_some() || base_time != 0.0;
        resolved.push(Record {
            name: format!("{base_name}{own_name}"),
            value,
            unit: match record.get("u") {
                Some(unit) => Some(unit.as_text()?.to_owned()),
                None => base_unit.clone(),
            },
            time: has_time.then(|| base_time + own_time.unwrap_or(0.0)),
        });
    }
    Some(resolved)
}

impl Record {
    /// `name = value unit (time)`, safe for a terminal.
    pub(crate) fn line(&self) -> String {
        let mut out = match self.name.as_str() {
            "" => String::new(),
            name => format!("{} = ", terminal::line(name)),
        };
        out.push_str(&match &self.value {
            Some(Reading::Number(x)) => short(*x),
            Some(Reading::Text(text)) => terminal::quoted(text),
            Some(Reading::Truth(truth)) => truth.to_string(),
            Some(Reading::Data(bytes)) => format!("h'{}'", hex::plain(bytes)),
            Some(Reading::Sum(x)) => format!("sum {}", short(*x)),
            None => "(no value)".into(),
        });
        if let Some(unit) = &self.unit {
            out.push(' ');
            out.push_str(&terminal::line(unit));
        }
        if let Some(time) = self.time {
            out.push_str(&format!(" ({})", moment(time)));
        }
        out
    }
}

/// A number without the noise that adding a base value leaves behind.
fn short(x: f64) -> String {
    let rounded = format!("{x:.9e}").parse::<f64>().unwrap_or(x);
    let close = if (rounded - x).abs() <= x.abs() * 1e-14 {
        rounded
    } else {
        x
    };
    format!("{close}")
}

/// Absolute times as UTC, relative ones as an offset from now.
fn moment(seconds: f64) -> String {
    const ABSOLUTE: f64 = 268_435_456.0;
    const YEAR_10000: f64 = 253_402_300_800.0;
    if !(ABSOLUTE..YEAR_10000).contains(&seconds) {
        return match seconds {
            0.0 => "now".into(),
            s if s < 0.0 => format!("{} s ago", short(-s)),
            s => format!("in {} s", short(s)),
        };
    }
    let whole = seconds.floor();
    let (days, of_day) = (
        (whole as i64).div_euclid(86_400),
        (whole as i64).rem_euclid(86_400),
    );
    let (year, month, day) = civil(days);
    let fraction = match ((seconds - whole) * 1000.0).round() as u32 {
        0 => String::new(),
        ms => format!(".{:03}", ms.min(999)),
    };
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{fraction}Z",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

/// The Gregorian date of a day counted from 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    // Years that begin in March put the leap day last, so that all months have fixed offsets.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(json: &str) -> Vec<String> {
        let pack = Value::from_json(json.as_bytes()).unwrap();
        resolve(&pack).unwrap().iter().map(Record::line).collect()
    }

    #[test]
    fn applies_base_fields() {
        assert_eq!(
            lines(
                r#"[{"bn":"urn:dev:ow:10e2073a01080063:","bt":1.276020076001e+09,"bu":"A","bver":5,
                    "n":"voltage","u":"V","v":120.1},{"n":"current","t":-5,"v":1.2},{"n":"open","vb":true,"u":"/"}]"#
            ),
            [
                "urn:dev:ow:10e2073a01080063:voltage = 120.1 V (2010-06-08T18:01:16.001Z)",
                "urn:dev:ow:10e2073a01080063:current = 1.2 A (2010-06-08T18:01:11.001Z)",
                "urn:dev:ow:10e2073a01080063:open = true / (2010-06-08T18:01:16.001Z)",
            ]
        );
        assert_eq!(
            lines(r#"[{"bv":20,"n":"t","v":0.1,"t":-5},{"n":"w","s":3,"t":2}]"#),
            ["t = 20.1 (5 s ago)", "w = sum 3 (in 2 s)"]
        );
        assert_eq!(
            lines(r#"[{"bn":"only base"},{"vs":"a\nb"},{"n":"x","vd":"_-8"}]"#),
            ["only base = \"a\\nb\"", "only basex = h'ffef'"]
        );
    }

    #[test]
    fn the_two_forms_become_each_other() {
        let json = Value::from_json(br#"[{"bn":"a","n":"b","v":1,"vd":"_-8","other":2}]"#).unwrap();
        let labels = with_labels(json.clone());
        assert_eq!(
            labels.diagnostic(),
            "[{-2: \"a\", 0: \"b\", 2: 1, 8: h'ffef', \"other\": 2}]"
        );
        assert_eq!(with_names(labels), json);
    }

    #[test]
    fn what_is_no_pack_is_not_resolved() {
        for json in [
            "{}",
            "[1]",
            "[{\"v\":\"x\"}]",
            "[{\"bn\":1,\"v\":1}]",
            "[{\"vb\":1}]",
            "[{\"vd\":\"!\"}]",
        ] {
            assert_eq!(
                resolve(&Value::from_json(json.as_bytes()).unwrap()),
                None,
                "{json}"
            );
        }
        assert_eq!(resolve(&Value::Array(vec![])), Some(vec![]));
    }

    #[test]
    fn dates_at_the_edges() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(-1), (1969, 12, 31));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(11_017), (2000, 3, 1));
        assert_eq!(moment(268_435_456.0), "1978-07-04T21:24:16Z");
        assert_eq!(moment(268_435_455.0), "in 268435455 s");
        assert_eq!(moment(1e300), format!("in {} s", short(1e300)));
        assert_eq!(moment(f64::NAN), "in NaN s");
    }
}
