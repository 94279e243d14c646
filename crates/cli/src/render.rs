//! Payloads for people: by their Content-Format, on one line or as a block, harmless to a terminal.

use antiphon_wire::ContentFormat;
use antiphon_wire::link::LinkFormat;
use serde_json::json;

use crate::cbor::{self, Value};
use crate::senml::{self, Record};
use crate::{hex, terminal};

/// A payload as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rendered {
    /// Everything on one line; cut it to the room there is.
    pub(crate) line: String,
    /// Several lines, where one line is not enough for people.
    pub(crate) block: String,
    /// What is wrong with the payload, where it is not what its Content-Format says.
    pub(crate) complaint: Option<String>,
}

impl Rendered {
    fn new(line: String, block: String) -> Self {
        Self {
            line,
            block,
            complaint: None,
        }
    }

    fn complaining(mut self, complaint: impl ToString) -> Self {
        self.complaint = Some(complaint.to_string());
        self
    }
}

/// Is a payload of this format one CBOR item?
pub(crate) fn is_cbor(format: ContentFormat) -> bool {
    matches!(
        format,
        ContentFormat::CBOR
            | ContentFormat::CWT
            | ContentFormat::MULTIPART
            | ContentFormat::COSE_KEY
            | ContentFormat::COSE_SIGN1
    ) || format.name().is_some_and(|name| name.ends_with("+cbor"))
}

/// Is a payload of this format JSON text?
pub(crate) fn is_json(format: ContentFormat) -> bool {
    format == ContentFormat::JSON || format.name().is_some_and(|name| name.ends_with("+json"))
}

fn is_senml(format: ContentFormat) -> bool {
    matches!(
        format,
        ContentFormat::SENML_JSON
            | ContentFormat::SENML_CBOR
            | ContentFormat::SENML_ETCH_JSON
            | ContentFormat::SENML_ETCH_CBOR
    )
}

/// Width that a block may take before items are broken into lines.
const BLOCK_WIDTH: usize = 76;

/// Shows a payload. A payload without a format is text if it looks like text (so are diagnostic payloads), else bytes.
pub(crate) fn payload(format: Option<ContentFormat>, bytes: &[u8]) -> Rendered {
    if bytes.is_empty() {
        return Rendered::new(String::new(), String::new());
    }
    let Some(format) = format else {
        return match core::str::from_utf8(bytes) {
            Ok(text) if looks_like_text(text) => text_of(text),
            _ => bytes_of(bytes),
        };
    };
    if format == ContentFormat::LINK_FORMAT {
        return links(bytes);
    }
    if is_json(format) {
        return match Value::from_json(bytes) {
            Ok(value) => item(format, value),
            Err(error) => text_or_bytes(bytes)
                .complaining(format!("not JSON: {}", terminal::line(&error.to_string()))),
        };
    }
    if is_cbor(format) {
        return match cbor::read(bytes) {
            Ok(value) => item(format, value),
            Err(error) => bytes_of(bytes).complaining(format!("not CBOR: {error}")),
        };
    }
    match format {
        ContentFormat::CBOR_SEQ => match cbor::read_sequence(bytes) {
            Ok(items) => {
                let lines: Vec<String> = items.iter().map(Value::diagnostic).collect();
                let blocks: Vec<String> = items
                    .iter()
                    .map(|i| i.diagnostic_block(BLOCK_WIDTH))
                    .collect();
                Rendered::new(lines.join(", "), blocks.join("\n"))
            }
            Err(error) => bytes_of(bytes).complaining(format!("not a CBOR sequence: {error}")),
        },
        ContentFormat::TEXT | ContentFormat::XML => match core::str::from_utf8(bytes) {
            Ok(text) => text_of(text),
            Err(error) => {
                bytes_of(bytes).complaining(format!("not UTF-8 at byte {}", error.valid_up_to()))
            }
        },
        _ => bytes_of(bytes),
    }
}

fn item(format: ContentFormat, value: Value) -> Rendered {
    if is_senml(format) {
        let named = senml::with_names(value.clone());
        return match senml::resolve(&named) {
            Some(records) => {
                let lines: Vec<String> = records.iter().map(Record::line).collect();
                Rendered::new(lines.join("; "), lines.join("\n"))
            }
            None => Rendered::new(named.diagnostic(), named.diagnostic_block(BLOCK_WIDTH))
                .complaining("not a SenML pack"),
        };
    }
    Rendered::new(value.diagnostic(), value.diagnostic_block(BLOCK_WIDTH))
}

/// One link a line, attributes behind it: `</light>  rt=light, ct=0`.
fn links(bytes: &[u8]) -> Rendered {
    let mut lines = Vec::new();
    for link in LinkFormat::parse(bytes) {
        let link = match link {
            Ok(link) => link,
            Err(error) => {
                return text_or_bytes(bytes).complaining(format!("not link-format: {error}"));
            }
        };
        let attributes: Vec<String> = link
            .attributes()
            .map(|attribute| match attribute.value {
                Some(value) => format!(
                    "{}={}",
                    terminal::line(attribute.name),
                    terminal::line(&value.to_string())
                ),
                None => terminal::line(attribute.name),
            })
            .collect();
        lines.push((
            format!("<{}>", terminal::line(link.target)),
            attributes.join(", "),
        ));
    }
    let width = lines
        .iter()
        .map(|(target, _)| terminal::columns(target))
        .max()
        .unwrap_or(0);
    let block: Vec<String> = lines
        .iter()
        .map(|(target, attributes)| {
            let pad = " ".repeat(width.min(40).saturating_sub(terminal::columns(target)));
            format!("{target}{pad}  {attributes}").trim_end().to_owned()
        })
        .collect();
    let targets: Vec<&str> = lines.iter().map(|(target, _)| target.as_str()).collect();
    Rendered::new(targets.join(", "), block.join("\n"))
}

fn text_or_bytes(bytes: &[u8]) -> Rendered {
    match core::str::from_utf8(bytes) {
        Ok(text) => text_of(text),
        Err(_) => bytes_of(bytes),
    }
}

fn text_of(text: &str) -> Rendered {
    Rendered::new(
        terminal::line(text.trim_end()),
        terminal::block(text.trim_end()),
    )
}

fn bytes_of(bytes: &[u8]) -> Rendered {
    Rendered::new(format!("h'{}'", hex::plain(bytes)), hex::dump(bytes))
}

fn looks_like_text(text: &str) -> bool {
    text.chars()
        .all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'))
}

/// A payload as JSON: text as a string, JSON and CBOR as values, and `null` for what only its bytes can say.
pub(crate) fn payload_json(format: Option<ContentFormat>, bytes: &[u8]) -> serde_json::Value {
    let text = || core::str::from_utf8(bytes).ok().map(|text| json!(text));
    let shown = match format {
        _ if bytes.is_empty() => None,
        None => text().filter(|t| t.as_str().is_some_and(looks_like_text)),
        Some(format) if is_json(format) => Value::from_json(bytes)
            .ok()
            .map(|v| v.to_json())
            .or_else(text),
        Some(format) if is_cbor(format) => cbor::read(bytes).ok().map(|value| {
            let value = if is_senml(format) {
                senml::with_names(value)
            } else {
                value
            };
            value.to_json()
        }),
        Some(ContentFormat::CBOR_SEQ) => cbor::read_sequence(bytes)
            .ok()
            .map(|items| items.iter().map(Value::to_json).collect()),
        Some(ContentFormat::TEXT | ContentFormat::XML | ContentFormat::LINK_FORMAT) => text(),
        Some(_) => None,
    };
    shown.unwrap_or(serde_json::Value::Null)
}

/// The name people use for a format: the media type, or the number.
pub(crate) fn format_name(format: ContentFormat) -> String {
    format.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(format: u16, bytes: &[u8]) -> Rendered {
        payload(Some(ContentFormat(format)), bytes)
    }

    #[test]
    fn shows_each_format_in_its_own_way() {
        assert_eq!(shown(0, b"21.5 C\n").line, "21.5 C");
        assert_eq!(
            shown(50, b"{\"b\":1,\"a\":[true,1.50]}").line,
            "{\"b\": 1, \"a\": [true, 1.5]}"
        );
        assert_eq!(
            shown(60, &[0xa1, 0x61, 0x61, 0x41, 0xff]).line,
            "{\"a\": h'ff'}"
        );
        assert_eq!(shown(63, &[1, 2]).block, "1\n2");
        assert_eq!(
            shown(110, br#"[{"n":"t","v":3,"u":"Cel"}]"#).line,
            "t = 3 Cel"
        );
        assert_eq!(
            shown(112, &hex::parse("81 a3 00 6174 01 6343656c 02 03").unwrap()).line,
            "t = 3 Cel"
        );
        let links = shown(40, b"</light>;rt=\"light x\";ct=0,</very/long>;obs");
        assert_eq!(links.line, "</light>, </very/long>");
        assert_eq!(
            links.block,
            "</light>      rt=light x, ct=0\n</very/long>  obs"
        );
        assert_eq!(shown(42, b"abc").line, "h'616263'");
        assert_eq!(
            shown(9999, b"abc").block,
            "0000  61 62 63                                         abc"
        );
        assert_eq!(shown(0, b"").line, "");
        assert_eq!(payload(None, b"not found").line, "not found");
        assert_eq!(payload(None, b"\x01").line, "h'01'");
        assert_eq!(payload(None, b"\xff").line, "h'ff'");
    }

    #[test]
    fn complains_about_what_is_not_what_it_says() {
        for (format, bytes, start) in [
            (0, &[0x61, 0xff][..], "not UTF-8 at byte 1"),
            (50, b"{", "not JSON: "),
            (50, b"{\"\x1b\":1,\"\x1b\":1}", "not JSON: "),
            (
                60,
                &[0x82, 0x01],
                "not CBOR: the data end inside an item that starts at byte 2",
            ),
            (63, &[0x82], "not a CBOR sequence: "),
            (40, b"</a>,b", "not link-format: "),
            (110, b"[1]", "not a SenML pack"),
            (112, &[0x01], "not a SenML pack"),
        ] {
            let complaint = shown(format, bytes).complaint.unwrap();
            assert!(complaint.starts_with(start), "{format}: {complaint}");
        }
        assert_eq!(shown(50, b"1").complaint, None);
    }

    #[test]
    fn no_format_lets_an_escape_through() {
        let evil = b"\"\x1b[2J\xc2\x9b0m\"";
        let cbor_text = [&[0x60 + evil.len() as u8][..], evil].concat();
        for format in [0, 40, 41, 42, 50, 60, 63, 110, 112, 9999] {
            for bytes in [&evil[..], &cbor_text] {
                let shown = shown(format, bytes);
                for text in [Some(shown.line), Some(shown.block), shown.complaint]
                    .into_iter()
                    .flatten()
                {
                    assert!(
                        !text.contains(|c: char| c.is_control() && c != '\n'),
                        "{format}: {text:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn as_json() {
        assert_eq!(payload_json(Some(ContentFormat::TEXT), b"on"), json!("on"));
        assert_eq!(
            payload_json(Some(ContentFormat::JSON), b"{\"a\":1}"),
            json!({"a": 1})
        );
        assert_eq!(payload_json(Some(ContentFormat::JSON), b"{"), json!("{"));
        assert_eq!(
            payload_json(Some(ContentFormat::CBOR), &[0x81, 0xf5]),
            json!([true])
        );
        assert_eq!(
            payload_json(Some(ContentFormat::CBOR), &[0x81]),
            json!(null)
        );
        assert_eq!(
            payload_json(Some(ContentFormat::SENML_CBOR), &[0x81, 0xa1, 0x02, 0x03]),
            json!([{"v": 3}])
        );
        assert_eq!(
            payload_json(Some(ContentFormat::OCTETS), b"on"),
            json!(null)
        );
        assert_eq!(payload_json(None, b""), json!(null));
        assert_eq!(payload_json(None, b"gone"), json!("gone"));
    }
}
