//! `antiphon decode`: any CoAP datagram as text, or the place where it stops being one.

use std::io::Read;

use antiphon_oscore::Mode;
use antiphon_wire::{
    BlockValue, Class, ContentFormat, Format, Header, Message, NoResponse, Opt, OptionNumber,
    ParseError, ParseErrorKind, Type,
};
use clap::Args;
use serde_json::json;

use crate::failure::Failure;
use crate::offline::{self, Plain};
use crate::table::{Align, Cell, Table, Tone};
use crate::terminal::{self, Style};
use crate::{exit, hex, render};

/// Longest input that is read: twice as long as the hexadecimal text of the largest UDP datagram needs with separators.
const LONGEST: u64 = 1 << 19;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  antiphon decode 51017d4186b2677003677031
  antiphon decode 0x51 0x01 0x7d 0x41 0x86 0xb4 74:65:6d:70
  xxd -p datagram.bin | antiphon decode -
  antiphon decode --binary - < datagram.bin
  antiphon decode --json 60017d41
  What is inside a protected message; a response needs the request that it answers:
    antiphon decode --group lights/lamp-1.toml 58020001...
    antiphon decode --group lights/lamp-1.toml 58440002... --request 58020001...

Exit code: 0 for a well-formed message, 1 for a malformed one or one that --group cannot open, 2 if the input is not hexadecimal.")]
pub(crate) struct DecodeArgs {
    /// Hexadecimal digits; spaces, colons, commas and 0x may stand between bytes. `-` reads standard input.
    #[arg(value_name = "HEX|-", required = true, num_args = 1..)]
    input: Vec<String>,

    /// Standard input holds the datagram itself, not its hexadecimal digits.
    #[arg(long)]
    binary: bool,

    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,

    /// Open the message with this security group or OSCORE context: its description in TOML, or a state file. Neither is changed.
    #[arg(long, value_name = "FILE")]
    group: Option<std::path::PathBuf>,

    /// Which group or context, where a state file holds several
    #[arg(long, value_name = "NAME", requires = "group")]
    group_name: Option<String>,

    /// The protected request that this response answers, in hexadecimal
    #[arg(long, value_name = "HEX", requires = "group")]
    request: Option<String>,
}

/// Runs the subcommand: the exit code, or why there is none of its own.
pub(crate) fn run(args: &DecodeArgs) -> Result<u8, Failure> {
    let datagram = input(args)?;
    let style = Style::stdout();
    match Message::parse(&datagram) {
        Ok(message) => {
            let opened = open(args, &message)?;
            if args.json {
                println!("{}", protected_json(&message, opened.as_ref()));
            } else {
                print!("{}", message_text(&message, style));
                if let Some(opened) = &opened {
                    print!("{}", opened_text(opened, style));
                }
            }
            Ok(match opened {
                Some(Err(_)) => exit::MALFORMED,
                _ => exit::ALL,
            })
        }
        Err(error) => {
            if args.json {
                println!("{}", error_json(&datagram, &error));
            } else {
                print!("{}", error_text(&datagram, &error, style));
            }
            Ok(exit::MALFORMED)
        }
    }
}

/// What is inside, or which step failed; `None` without --group.
fn open(
    args: &DecodeArgs,
    message: &Message<'_>,
) -> Result<Option<Result<Plain, String>>, Failure> {
    let Some(path) = &args.group else {
        return Ok(None);
    };
    let keys = offline::read(path, args.group_name.as_deref())?;
    let request = match &args.request {
        None => None,
        Some(text) => {
            Some(hex::parse(text).map_err(|error| Failure::usage(format!("--request: {error}")))?)
        }
    };
    let request = match &request {
        None => None,
        Some(bytes) => Some(
            Message::parse(bytes).map_err(|error| Failure::usage(format!("--request: {error}")))?,
        ),
    };
    Ok(Some(offline::open(&keys, message, request.as_ref())))
}

/// Who sent it, and the message inside.
fn opened_text(opened: &Result<Plain, String>, style: Style) -> String {
    let plain = match opened {
        Err(what) => return format!("{}  {}\n", style.bad("not opened"), terminal::line(what)),
        Ok(plain) => plain,
    };
    let what = match plain.mode {
        Mode::Group => "signed by",
        Mode::Pairwise | Mode::Plain => "from",
    };
    let mut out = format!(
        "{}  {what} {} of {} (Sender ID {}), {}\n",
        style.good("opened"),
        terminal::line(&plain.sender),
        terminal::line(&plain.group),
        plain.kid,
        offline::mode_name(plain.mode)
    );
    if let Ok(message) = Message::parse(&plain.message) {
        for line in message_text(&message, style).lines() {
            out.push_str(&format!("  {line}\n"));
        }
    }
    out
}

fn protected_json(
    message: &Message<'_>,
    opened: Option<&Result<Plain, String>>,
) -> serde_json::Value {
    let mut shown = message_json(message);
    let more = match opened {
        None => return shown,
        Some(Err(what)) => json!({"ok": false, "problem": what}),
        Some(Ok(plain)) => json!({
            "ok": true, "signer": plain.sender, "kid": plain.kid, "group": plain.group,
            "mode": offline::mode_name(plain.mode),
            "message": Message::parse(&plain.message).ok().map(|inner| message_json(&inner)),
        }),
    };
    if let Some(object) = shown.as_object_mut() {
        object.insert("opened".into(), more);
    }
    shown
}

fn input(args: &DecodeArgs) -> Result<Vec<u8>, Failure> {
    let from_stdin = args.input.as_slice() == ["-"];
    if args.binary && !from_stdin {
        return Err(Failure::usage(
            "--binary reads standard input: give - as the input",
        ));
    }
    let text = if from_stdin {
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .take(LONGEST + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LONGEST {
            return Err(Failure::usage("standard input is longer than any datagram"));
        }
        if args.binary {
            return Ok(bytes);
        }
        String::from_utf8(bytes).map_err(|_| {
            Failure::usage("standard input is not hexadecimal text; for raw bytes give --binary")
        })?
    } else {
        args.input.join(" ")
    };
    hex::parse(&text).map_err(|error| Failure::usage(error.to_string()))
}

/// The four types by the names of RFC 7252.
pub(crate) fn type_name(kind: Type) -> &'static str {
    match kind {
        Type::Con => "CON",
        Type::Non => "NON",
        Type::Ack => "ACK",
        Type::Rst => "RST",
    }
}

/// Code and name, such as `2.05 Content`.
pub(crate) fn code_name(code: antiphon_wire::Code) -> String {
    let number = format!("{}.{:02}", code.class(), code.detail());
    match code.name() {
        Some(name) => format!("{number} {name}"),
        None => number,
    }
}

/// What a message is, beyond its code: empty, reserved, unknown.
fn code_note(kind: Type, code: antiphon_wire::Code) -> Option<&'static str> {
    match kind {
        Type::Con | Type::Non if code.is_empty() => Some("an empty message: a ping"),
        Type::Ack if code.is_empty() => {
            Some("an empty message: an acknowledgement, the response comes separately")
        }
        Type::Rst if code.is_empty() => Some("an empty message: a reset"),
        Type::Rst => Some("a reset must be empty: a receiver ignores this message"),
        Type::Ack if code.is_request() => {
            Some("a request cannot be an acknowledgement: a receiver ignores this message")
        }
        _ if code.is_reserved() => Some("a reserved code class: a receiver rejects this message"),
        _ if code.name().is_none() => Some("an unknown code"),
        _ => None,
    }
}

/// The whole message as text, with a line end.
pub(crate) fn message_text(message: &Message<'_>, style: Style) -> String {
    let token = message.token();
    let token = match token.as_bytes() {
        [] => "no token".to_owned(),
        bytes => format!("token {}", hex::plain(bytes)),
    };
    let mut out = format!(
        "{}  message ID {} (0x{:04x}), {token}, {} bytes\n",
        style.bold(&format!(
            "{} {}",
            type_name(message.kind()),
            code_name(message.code())
        )),
        message.message_id().0,
        message.message_id().0,
        message.as_bytes().len()
    );
    if let Some(note) = code_note(message.kind(), message.code()) {
        out.push_str(&format!("  {note}\n"));
    }
    if message.options().next().is_some() {
        out.push_str(&options_text(message, style));
    }
    let payload = message.payload();
    if !payload.is_empty() {
        let format = content_format(message);
        out.push_str(&format!(
            "{}  {}, {} bytes\n",
            style.bold("payload"),
            format.map_or_else(|| "no Content-Format".into(), render::format_name),
            payload.len()
        ));
        let shown = render::payload(format, payload);
        if let Some(complaint) = shown.complaint {
            out.push_str(&format!("  {}\n", style.warn(&complaint)));
        }
        for line in shown.block.lines() {
            out.push_str(&format!("  {line}\n"));
        }
    }
    out
}

/// The Content-Format that a receiver sees: an option with a wrong length is as good as none.
pub(crate) fn content_format(message: &Message<'_>) -> Option<ContentFormat> {
    let value = message.option(OptionNumber::CONTENT_FORMAT)?;
    OptionNumber::CONTENT_FORMAT.check(value, 0).ok()?;
    let number = antiphon_wire::decode_uint(value)?;
    u16::try_from(number).ok().map(ContentFormat)
}

/// The options as an aligned table.
pub(crate) fn options_text(message: &Message<'_>, style: Style) -> String {
    let rows: Vec<[Cell; 4]> = explained(message)
        .map(|(option, problem)| {
            let mut value = option_value(&option);
            if let Some(problem) = &problem {
                value.push_str(&format!("  ({problem})"));
            }
            [
                Cell::new(option.number.name().unwrap_or("unknown")),
                Cell::new(option.number.0.to_string()),
                Cell::new(option.value.len().to_string()),
                Cell::toned(
                    value,
                    if problem.is_some() {
                        Tone::Warn
                    } else {
                        Tone::Plain
                    },
                ),
            ]
        })
        .collect();
    let columns = [
        ("option", Align::Left, 0),
        ("number", Align::Right, 0),
        ("bytes", Align::Right, 0),
        ("value", Align::Left, 0),
    ];
    Table::new(&columns, style, None).whole(2, &rows)
}

/// Each option with what is wrong with it.
fn explained<'a>(message: &Message<'a>) -> impl Iterator<Item = (Opt<'a>, Option<String>)> {
    let code = message.code();
    let mut last = None;
    let mut occurrence = 0;
    message.options().map(move |option| {
        occurrence = if last == Some(option.number) {
            occurrence + 1
        } else {
            0
        };
        last = Some(option.number);
        let fate = if option.number.is_critical() {
            "critical: the message is rejected"
        } else {
            "elective: the option is ignored"
        };
        let surplus = occurrence > 0 && option.number.is_repeatable_in(code) == Some(false);
        let problem = match option.number.check(option.value, occurrence) {
            Err(error) => Some(format!("{error}; {fate}")),
            Ok(()) if surplus => Some(format!("{}; {fate}", antiphon_wire::OptionError::Surplus)),
            Ok(()) if option.number.name().is_none() => Some(fate.to_owned()),
            Ok(()) => None,
        };
        (option, problem)
    })
}

/// The value of an option in the words of its definition.
pub(crate) fn option_value(option: &Opt<'_>) -> String {
    let raw = || format!("h'{}'", hex::plain(option.value));
    match option.number.format() {
        Format::Empty if option.value.is_empty() => "(empty)".into(),
        Format::Empty | Format::Opaque | Format::Unknown => raw(),
        Format::String => match option.as_str() {
            Some(text) => terminal::quoted(text),
            None => raw(),
        },
        Format::Uint => match option.as_uint() {
            Some(number) => uint_value(option, number),
            None => raw(),
        },
    }
}

fn uint_value(option: &Opt<'_>, number: u32) -> String {
    let explanation = match option.number {
        OptionNumber::CONTENT_FORMAT | OptionNumber::ACCEPT => u16::try_from(number)
            .ok()
            .and_then(|n| ContentFormat(n).name())
            .map(str::to_owned),
        OptionNumber::BLOCK1
        | OptionNumber::BLOCK2
        | OptionNumber::Q_BLOCK1
        | OptionNumber::Q_BLOCK2 => {
            return match BlockValue::decode(option.value) {
                Some(block) => format!(
                    "block {} of {} bytes, {}",
                    block.num(),
                    block.size(),
                    if block.more() {
                        "more follow"
                    } else {
                        "the last"
                    }
                ),
                None => format!("{number} (reserved block size)"),
            };
        }
        OptionNumber::NO_RESPONSE => NoResponse::decode(option.value).map(no_response),
        OptionNumber::OBSERVE => match number {
            0 => Some("register, or the first notification".into()),
            1 => Some("deregister, or a notification".into()),
            _ => None,
        },
        OptionNumber::MAX_AGE | OptionNumber::MULTICAST_TIMEOUT => Some("seconds".into()),
        OptionNumber::SIZE1 | OptionNumber::SIZE2 => Some("bytes".into()),
        _ => None,
    };
    match explanation {
        Some(text) => format!("{number} ({text})"),
        None => number.to_string(),
    }
}

fn no_response(value: NoResponse) -> String {
    let classes: Vec<&str> = [
        (Class::Success, "2.xx"),
        (Class::ClientError, "4.xx"),
        (Class::ServerError, "5.xx"),
    ]
    .into_iter()
    .filter(|(class, _)| value.suppresses(*class))
    .map(|(_, name)| name)
    .collect();
    if classes.is_empty() {
        "all responses are wanted".into()
    } else {
        format!("not wanted: {}", classes.join(", "))
    }
}

/// The message as one JSON object.
pub(crate) fn message_json(message: &Message<'_>) -> serde_json::Value {
    let options: Vec<serde_json::Value> = explained(message)
        .map(|(option, problem)| {
            let value = match option.number.format() {
                Format::String => option.as_str().map(|text| json!(text)),
                Format::Uint => option.as_uint().map(|number| json!(number)),
                _ => None,
            };
            json!({
                "number": option.number.0,
                "name": option.number.name(),
                "value": value,
                "hex": hex::plain(option.value),
                "critical": option.number.is_critical(),
                "problem": problem,
            })
        })
        .collect();
    let format = content_format(message);
    let payload = message.payload();
    json!({
        "ok": true,
        "type": type_name(message.kind()),
        "code": format!("{}.{:02}", message.code().class(), message.code().detail()),
        "name": message.code().name(),
        "note": code_note(message.kind(), message.code()),
        "message_id": message.message_id().0,
        "token": hex::plain(message.token().as_bytes()),
        "options": options,
        "content_format": format.map(|f| f.0),
        "payload": render::payload_json(format, payload),
        "payload_hex": hex::plain(payload),
        "bytes": message.as_bytes().len(),
    })
}

/// What a receiver does with this datagram (RFC 7252 sections 3 and 4).
fn fate(datagram: &[u8], error: &ParseError) -> &'static str {
    if matches!(
        error.kind,
        ParseErrorKind::TooShort | ParseErrorKind::Version(_)
    ) {
        return "a receiver ignores it silently";
    }
    match Header::peek(datagram).map(|header| header.kind) {
        Some(Type::Con) => "a receiver answers with a reset, or ignores it if it came by multicast",
        _ => "a receiver ignores it",
    }
}

/// The malformed datagram with a mark below the byte where it goes wrong.
fn error_text(datagram: &[u8], error: &ParseError, style: Style) -> String {
    let mut out = format!(
        "{}: {error}, of {}\n",
        style.bad("malformed"),
        datagram.len()
    );
    if let Some(header) = Header::peek(datagram) {
        out.push_str(&format!(
            "  the header reads {} {}, message ID {} (0x{:04x})\n",
            type_name(header.kind),
            code_name(header.code),
            header.message_id.0,
            header.message_id.0
        ));
    }
    out.push_str(&format!("  {}\n", fate(datagram, error)));
    const ROW: usize = 16;
    let marked = error.offset.min(datagram.len());
    // The mark may stand just behind the last byte, perhaps in a row of its own.
    let rows = (datagram.len().max(marked + 1)).div_ceil(ROW);
    for row in 0..rows {
        let start = row * ROW;
        let bytes = &datagram[start.min(datagram.len())..(start + ROW).min(datagram.len())];
        out.push_str(format!("  {start:04x}  {}", hex::spaced(bytes)).trim_end());
        out.push('\n');
        if marked / ROW == row {
            out.push_str(&format!(
                "{}{}\n",
                " ".repeat(8 + 3 * (marked % ROW)),
                style.bad("^^")
            ));
        }
    }
    out
}

fn error_json(datagram: &[u8], error: &ParseError) -> serde_json::Value {
    let header = Header::peek(datagram).map(|header| {
        json!({
            "type": type_name(header.kind),
            "code": format!("{}.{:02}", header.code.class(), header.code.detail()),
            "message_id": header.message_id.0,
        })
    });
    let kind = format!("{:?}", error.kind);
    json!({
        "ok": false,
        "error": error.kind.to_string(),
        "kind": kind.split('(').next(),
        "offset": error.offset,
        "header": header,
        "fate": fate(datagram, error),
        "bytes": datagram.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(hex_text: &str) -> String {
        let datagram = hex::parse(hex_text).unwrap();
        match Message::parse(&datagram) {
            Ok(message) => message_text(&message, Style::PLAIN),
            Err(error) => error_text(&datagram, &error, Style::PLAIN),
        }
    }

    #[test]
    fn shows_the_example_of_appendix_d() {
        assert_eq!(
            text("51 01 7d41 86 b2 6770 03 677031 0b 74656d7065726174757265"),
            "NON 0.01 GET  message ID 32065 (0x7d41), token 86, 24 bytes\n  \
               option    number  bytes  value\n  \
               Uri-Path      11      2  \"gp\"\n  \
               Uri-Path      11      3  \"gp1\"\n  \
               Uri-Path      11     11  \"temperature\"\n"
        );
        assert_eq!(
            text("51 45 60b1 86 ff 32322e332043"),
            "NON 2.05 Content  message ID 24753 (0x60b1), token 86, 12 bytes\n\
             payload  no Content-Format, 6 bytes\n  22.3 C\n"
        );
    }

    #[test]
    fn explains_typed_values() {
        // Content-Format 60, Block2 0/1/64, No-Response 26, payload {"on": true}.
        let shown = text("50 45 0001 c1 3c b1 0a d1 de 1a ff a1626f6ef5");
        assert!(
            shown.contains("Content-Format      12      1  60 (application/cbor)\n"),
            "{shown}"
        );
        assert!(
            shown.contains("Block2              23      1  block 0 of 64 bytes, more follow\n"),
            "{shown}"
        );
        assert!(
            shown.contains("No-Response        258      1  26 (not wanted: 2.xx, 4.xx, 5.xx)\n"),
            "{shown}"
        );
        assert!(
            shown.ends_with("payload  application/cbor, 5 bytes\n  {\"on\": true}\n"),
            "{shown}"
        );
    }

    #[test]
    fn tells_what_becomes_of_options_that_are_not_right() {
        // If-None-Match with a byte (critical), option 2053 unknown (critical), option 2054 unknown (elective).
        let shown = text("40 01 0001 51 00 e0 06f3 10");
        assert!(
            shown.contains(
                "option value of 1 bytes, allowed are 0 to 0; critical: the message is rejected"
            ),
            "{shown}"
        );
        assert!(
            shown
                .contains("unknown          2053      0  h''  (critical: the message is rejected)"),
            "{shown}"
        );
        assert!(
            shown.contains("unknown          2054      0  h''  (elective: the option is ignored)"),
            "{shown}"
        );
        // Two Uri-Hosts.
        let shown = text("40 01 0001 31 61 01 62");
        assert!(
            shown.contains("\"b\"  (option occurs more often than allowed; critical"),
            "{shown}"
        );
        // Two ETags: fine in a request, not in a response.
        assert!(!text("40 01 0001 41 61 01 62").contains("more often"));
        assert!(text("40 45 0001 41 61 01 62").contains("more often than allowed; elective"));
    }

    #[test]
    fn marks_the_place_where_a_datagram_goes_wrong() {
        assert_eq!(
            text("51 01 7d41 86 ff"),
            "malformed: payload marker without payload at byte 5, of 6\n  \
               the header reads NON 0.01 GET, message ID 32065 (0x7d41)\n  \
               a receiver ignores it\n  \
               0000  51 01 7d 41 86 ff\n                       ^^\n"
        );
        let short = text("40 01");
        assert!(
            short.starts_with("malformed: shorter than the header of four bytes at byte 2, of 2\n"),
            "{short}"
        );
        assert!(
            short.ends_with("  0000  40 01\n              ^^\n"),
            "{short}"
        );
        assert!(text("").ends_with("  0000\n        ^^\n"), "{}", text(""));
        assert!(text("80 01 0001").contains("ignores it silently"));
        assert!(text("41 01 0001").contains("answers with a reset"));
    }

    #[test]
    fn notes_what_a_code_means() {
        assert!(text("40 00 0001").contains("a ping"));
        assert!(text("60 00 0001").contains("an acknowledgement, the response comes separately"));
        assert!(text("70 00 0001").contains("an empty message: a reset"));
        assert!(text("60 01 0001").contains("a request cannot be an acknowledgement"));
        assert!(text("70 45 0001").contains("a reset must be empty"));
        assert!(text("40 20 0001").contains("a reserved code class"));
        assert!(text("40 5e 0001").contains("an unknown code"));
    }

    #[test]
    fn as_json() {
        let datagram = hex::parse("51 45 60b1 86 c0 ff 32322e332043").unwrap();
        let json = message_json(&Message::parse(&datagram).unwrap());
        assert_eq!(json["code"], "2.05");
        assert_eq!(json["message_id"], 0x60b1);
        assert_eq!(json["token"], "86");
        assert_eq!(json["options"][0]["name"], "Content-Format");
        assert_eq!(json["options"][0]["value"], 0);
        assert_eq!(json["content_format"], 0);
        assert_eq!(json["payload"], "22.3 C");
        assert_eq!(json["payload_hex"], "32322e332043");

        let broken = hex::parse("50 01 0001 f0").unwrap();
        let json = error_json(&broken, &Message::parse(&broken).unwrap_err());
        assert_eq!(
            (&json["ok"], &json["kind"], &json["offset"]),
            (&json!(false), &json!("OptionDelta15"), &json!(4))
        );
        let version = hex::parse("90 01 0001").unwrap();
        assert_eq!(
            error_json(&version, &Message::parse(&version).unwrap_err())["kind"],
            "Version"
        );
    }
}
