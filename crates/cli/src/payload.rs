//! The payload of a request as the command line gives it: an argument, a file, standard input; as it is, or converted.

use std::io::Read;

use antiphon_wire::ContentFormat;

use crate::cbor::Value;
use crate::failure::Failure;
use crate::{hex, render, senml};

/// More than this is not read: no request may carry it.
const LONGEST: u64 = 1 << 20;

/// How the payload is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Form {
    /// JSON where the Content-Format is CBOR and the payload is an argument or a *.json file; else raw.
    #[default]
    Auto,
    /// The bytes as they are.
    Raw,
    /// JSON text, checked; converted if the Content-Format is CBOR.
    Json,
    /// Hexadecimal digits.
    Hex,
}

/// A payload with the Content-Format to send it under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) bytes: Vec<u8>,
    pub(crate) format: Option<ContentFormat>,
}

/// A `--content-format` or `--accept`: a name, a number, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FormatChoice {
    /// No option at all.
    Absent,
    Format(ContentFormat),
}

impl FormatChoice {
    /// Reads a name such as `cbor` or `application/cbor`, a number, or `none`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("none") {
            return Ok(Self::Absent);
        }
        ContentFormat::from_name(text).map(Self::Format).ok_or_else(|| {
            format!("{text:?} is no known Content-Format; give its number, or a name such as text, json, cbor, senml-cbor, link-format, octets")
        })
    }
}

/// Reads `source`: `-` is standard input, `@path` a file, `@@...` text that begins with `@`, anything else the text itself.
pub(crate) fn read(
    source: &str,
    form: Form,
    choice: Option<FormatChoice>,
) -> Result<Payload, Failure> {
    read_from(source, form, choice, &mut std::io::stdin().lock())
}

/// Reads a file, whatever its name begins with.
pub(crate) fn read_file(
    path: &std::path::Path,
    form: Form,
    choice: Option<FormatChoice>,
) -> Result<Payload, Failure> {
    let name = path.display().to_string();
    let mut file = std::fs::File::open(path)
        .map_err(|error| Failure::local(format!("{}: {error}", crate::terminal::line(&name))))?;
    let bytes = limited(&mut file, &name)?;
    made((bytes, false, name.ends_with(".json")), form, choice)
}

fn read_from(
    source: &str,
    form: Form,
    choice: Option<FormatChoice>,
    stdin: &mut dyn Read,
) -> Result<Payload, Failure> {
    let given = if source == "-" {
        (limited(stdin, "standard input")?, false, false)
    } else if let Some(text) = source.strip_prefix("@@") {
        (format!("@{text}").into_bytes(), true, false)
    } else if let Some(path) = source.strip_prefix('@') {
        let mut file = std::fs::File::open(path)
            .map_err(|error| Failure::local(format!("{path}: {error}")))?;
        (limited(&mut file, path)?, false, path.ends_with(".json"))
    } else {
        (source.as_bytes().to_vec(), true, false)
    };
    made(given, form, choice)
}

/// The payload of these bytes; whether they are an argument or a JSON file.
fn made(
    (raw, is_argument, is_json_file): (Vec<u8>, bool, bool),
    form: Form,
    choice: Option<FormatChoice>,
) -> Result<Payload, Failure> {
    let wants_cbor = matches!(choice, Some(FormatChoice::Format(format)) if is_cbor(format));
    let form = match form {
        Form::Auto if wants_cbor && (is_argument || is_json_file) => Form::Json,
        Form::Auto => Form::Raw,
        other => other,
    };
    let bytes = match form {
        Form::Json => from_json(&raw, choice)?,
        Form::Hex => {
            let text = core::str::from_utf8(&raw)
                .map_err(|_| Failure::usage("the payload is not hexadecimal text"))?;
            hex::parse(text).map_err(|error| Failure::usage(format!("payload: {error}")))?
        }
        Form::Auto | Form::Raw => raw,
    };
    let format = match choice {
        Some(FormatChoice::Format(format)) => Some(format),
        Some(FormatChoice::Absent) => None,
        None if bytes.is_empty() => None,
        None if form == Form::Json => Some(ContentFormat::JSON),
        None if form == Form::Raw && core::str::from_utf8(&bytes).is_ok() => {
            Some(ContentFormat::TEXT)
        }
        None => Some(ContentFormat::OCTETS),
    };
    Ok(Payload { bytes, format })
}

fn is_cbor(format: ContentFormat) -> bool {
    render::is_cbor(format) || format == ContentFormat::CBOR_SEQ
}

/// JSON text, as the bytes of the Content-Format.
fn from_json(raw: &[u8], choice: Option<FormatChoice>) -> Result<Vec<u8>, Failure> {
    let value = Value::from_json(raw).map_err(|error| {
        Failure::usage(format!(
            "the payload is not JSON: {}",
            crate::terminal::line(&error.to_string())
        ))
    })?;
    Ok(match choice {
        Some(FormatChoice::Format(ContentFormat::SENML_CBOR | ContentFormat::SENML_ETCH_CBOR)) => {
            senml::with_labels(value).to_bytes()
        }
        Some(FormatChoice::Format(format)) if is_cbor(format) => value.to_bytes(),
        _ => raw.to_vec(),
    })
}

fn limited(from: &mut dyn Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    from.take(LONGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::local(format!("{name}: {error}")))?;
    if bytes.len() as u64 > LONGEST {
        return Err(Failure::usage(format!(
            "{name}: longer than {LONGEST} bytes"
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit;

    fn given(
        source: &str,
        form: Form,
        format: Option<&str>,
        stdin: &[u8],
    ) -> Result<Payload, Failure> {
        let choice = format.map(|name| FormatChoice::parse(name).unwrap());
        let mut stdin = stdin;
        read_from(source, form, choice, &mut stdin)
    }

    #[test]
    fn comes_from_argument_file_and_standard_input() {
        let text = given("on", Form::Auto, None, b"").unwrap();
        assert_eq!(
            (text.bytes.as_slice(), text.format),
            (&b"on"[..], Some(ContentFormat::TEXT))
        );
        assert_eq!(
            given("@@home", Form::Auto, None, b"").unwrap().bytes,
            b"@home"
        );
        assert_eq!(
            given("-", Form::Auto, None, b"piped").unwrap().bytes,
            b"piped"
        );
        assert_eq!(
            given("-", Form::Auto, None, &[0xff]).unwrap().format,
            Some(ContentFormat::OCTETS)
        );
        assert_eq!(given("", Form::Auto, None, b"").unwrap().format, None);
        assert_eq!(
            given("on", Form::Auto, Some("none"), b"").unwrap().format,
            None
        );
        assert_eq!(
            given("on", Form::Auto, Some("999"), b"").unwrap().format,
            Some(ContentFormat(999))
        );

        let missing = given("@/no/such/file", Form::Auto, None, b"").unwrap_err();
        assert_eq!(missing.code, exit::LOCAL);
        let endless = given("-", Form::Auto, None, &vec![0; LONGEST as usize + 1]).unwrap_err();
        assert_eq!(endless.code, exit::USAGE);
    }

    #[test]
    fn json_becomes_cbor_where_that_is_meant() {
        let cbor = |source: &str, form| {
            given(source, form, Some("cbor"), b"{\"on\":true}")
                .unwrap()
                .bytes
        };
        let item = hex::parse("a1626f6ef5").unwrap();
        assert_eq!(cbor("{\"on\":true}", Form::Auto), item);
        assert_eq!(cbor("-", Form::Json), item);
        assert_eq!(
            cbor("-", Form::Auto),
            b"{\"on\":true}",
            "standard input is taken as it is"
        );
        assert_eq!(cbor("{\"on\":true}", Form::Raw), b"{\"on\":true}");
        assert_eq!(
            given("a1626f6ef5", Form::Hex, Some("cbor"), b"")
                .unwrap()
                .bytes,
            item
        );
        assert_eq!(
            given(r#"[{"n":"t","v":3}]"#, Form::Auto, Some("senml-cbor"), b"")
                .unwrap()
                .bytes,
            hex::parse("81a2006174 02 03").unwrap()
        );
        let json = given("{\"on\":true}", Form::Json, None, b"").unwrap();
        assert_eq!(
            (json.bytes.as_slice(), json.format),
            (&b"{\"on\":true}"[..], Some(ContentFormat::JSON))
        );
    }

    #[test]
    fn a_json_file_is_converted_too() {
        let path =
            std::env::temp_dir().join(format!("antiphon-payload-{}.json", std::process::id()));
        std::fs::write(&path, "[1]").unwrap();
        let read = given(
            &format!("@{}", path.display()),
            Form::Auto,
            Some("cbor"),
            b"",
        );
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read.unwrap().bytes, [0x81, 0x01]);
    }

    #[test]
    fn says_what_is_wrong() {
        let not_json = given("{", Form::Auto, Some("cbor"), b"").unwrap_err();
        assert_eq!(not_json.code, exit::USAGE);
        assert!(not_json.message.starts_with("the payload is not JSON: "));
        assert_eq!(
            given("4g", Form::Hex, None, b"").unwrap_err().message,
            "payload: \"g\" is not a hexadecimal digit at character 2"
        );
        assert!(
            FormatChoice::parse("yaml")
                .unwrap_err()
                .contains("\"yaml\" is no known Content-Format")
        );
        assert_eq!(
            FormatChoice::parse("application/cbor"),
            Ok(FormatChoice::Format(ContentFormat::CBOR))
        );
    }
}
