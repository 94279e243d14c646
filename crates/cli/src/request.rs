//! `antiphon get|put|post|delete|fetch|patch|ipatch|notify`: one question to a group or to a single member.

mod ask;
mod dry_run;
mod observe;
mod whom;

pub(crate) use ask::endpoint_address;
pub(crate) use observe::ObserveArgs;

use std::path::PathBuf;
use std::time::Duration;

use antiphon::BlockSize;
use antiphon_wire::uri::{Scheme, Uri};
use antiphon_wire::{Code, Format, OptionNumber, encode_uint};
use clap::Args;

use crate::failure::Failure;
use crate::members::Member;
use crate::payload::{self, Form, FormatChoice, Payload};
use crate::{duration, hex};
use whom::Whom;

/// Whom to ask and how to wait: the same for all methods.
#[derive(Debug, Args)]
pub(crate) struct Question {
    #[command(flatten)]
    whom: Whom,

    /// Format wanted of the answers: a name (json, cbor, ...) or number
    #[arg(long, value_name = "FORMAT", value_parser = FormatChoice::parse, help_heading = "Request")]
    accept: Option<FormatChoice>,

    /// Another option, such as `No-Response=26`, `258=26` or `2049=0xcafe`; repeatable
    #[arg(long, value_name = "OPTION=VALUE", value_parser = parse_option, help_heading = "Request")]
    option: Vec<(OptionNumber, Vec<u8>)>,

    /// Send a unicast request without asking for an acknowledgement
    #[arg(long, help_heading = "Request")]
    non: bool,

    /// How long to wait for answers after the last transmission [default: 10s; with --group 25s, the leisure and 5s; one member: up to 93s]
    #[arg(short = 't', long, value_name = "TIME", value_parser = duration::parse, help_heading = "Waiting")]
    collect_for: Option<Duration>,

    /// End as soon as this many members have answered
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Waiting")]
    count: Option<u32>,

    /// Ask again this many times, so that members that lost the request hear it
    #[arg(short, long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=16), help_heading = "Waiting")]
    repeat: u32,

    /// Repeat the same message (members that have it ignore it) instead of a fresh one
    #[arg(long, requires = "repeat", help_heading = "Waiting")]
    same_message: bool,

    /// Ask expected members that stay silent one by one, at most N at once
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "4", require_equals = true,
          value_parser = clap::value_parser!(u16).range(1..=256), help_heading = "Waiting")]
    complete: Option<u16>,

    /// End the asking one by one after this time
    #[arg(long, value_name = "TIME", requires = "complete", value_parser = duration::parse, help_heading = "Waiting")]
    complete_within: Option<Duration>,

    /// The request does no harm when a member processes it twice: POST, PATCH and iPATCH may be repeated
    #[arg(long, help_heading = "Waiting")]
    idempotent: bool,

    /// The longest time that members wait before they answer [default: 5s; with --group 20s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse, help_heading = "Waiting")]
    leisure: Option<Duration>,

    /// The longest way to a member and back [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse, help_heading = "Waiting")]
    rtt: Option<Duration>,

    /// Show late answers for this long after the end
    #[arg(long, value_name = "TIME", value_parser = duration::parse, help_heading = "Waiting")]
    late: Option<Duration>,

    /// One JSON object a line
    #[arg(long, help_heading = "Output")]
    json: bool,

    /// Show payloads of several lines in full, below their rows
    #[arg(long, help_heading = "Output")]
    full: bool,

    /// Write the payload of a single member's answer as it is
    #[arg(long, conflicts_with = "json", help_heading = "Output")]
    raw: bool,

    /// Write the payload of a single member's answer to this file
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["json", "raw"], help_heading = "Output")]
    output: Option<PathBuf>,

    /// Bodies go in blocks of this many bytes: 16, 32, ... 1024 [default: 1024; with --link 6lowpan 64]
    #[arg(long, value_name = "BYTES", value_parser = block_size, help_heading = "Request")]
    block_size: Option<BlockSize>,

    /// Ask the group for further blocks of large answers, one request for each, instead of every member for its own
    #[arg(long, help_heading = "Request")]
    blocks_by_group: bool,

    /// Kind of network: 6lowpan warns about requests that do not fit one frame, 6lowpan-strict refuses them
    #[arg(
        long,
        value_name = "LINK",
        value_enum,
        default_value_t,
        help_heading = "Request"
    )]
    link: LinkChoice,

    /// Send nothing: show the options, the sizes, and whether the request fits a 6LoWPAN frame
    #[arg(long, help_heading = "Output")]
    dry_run: bool,
}

/// The kind of network that a request to a group travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LinkChoice {
    #[default]
    Any,
    #[value(name = "6lowpan")]
    SixLowpan,
    #[value(name = "6lowpan-strict")]
    SixLowpanStrict,
}

/// Where an answer states the id of its member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IdSource {
    Option(OptionNumber),
    /// A JSON pointer into a JSON or CBOR payload; empty: the whole payload.
    Payload(String),
}

impl IdSource {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("option:") {
            return option_number(name).map(Self::Option);
        }
        let pointer = match text.strip_prefix("payload") {
            Some("") => Some(""),
            Some(rest) => rest
                .strip_prefix(':')
                .filter(|pointer| pointer.starts_with('/')),
            None => None,
        };
        pointer
            .map(|pointer| Self::Payload(pointer.into()))
            .ok_or_else(|| format!("{text:?} is not option:NAME, payload or payload:/pointer"))
    }
}

/// The payload of a request.
#[derive(Debug, Args)]
pub(crate) struct Body {
    /// The payload: text, `@FILE`, or `-` for standard input; text that begins with @ is written @@
    #[arg(value_name = "PAYLOAD", allow_hyphen_values = true)]
    payload: Option<String>,

    /// The payload is what this file holds
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "payload",
        help_heading = "Request"
    )]
    payload_file: Option<PathBuf>,

    /// Format of the payload: a name (text, json, cbor, senml-cbor, ...), a number, or none
    #[arg(short = 'f', long, value_name = "FORMAT", value_parser = FormatChoice::parse, help_heading = "Request")]
    content_format: Option<FormatChoice>,

    /// How the payload is written down
    #[arg(
        long,
        value_name = "FORM",
        value_enum,
        default_value_t,
        help_heading = "Request"
    )]
    payload_as: Form,
}

/// GET and DELETE.
#[derive(Debug, Args)]
pub(crate) struct BareArgs {
    #[command(flatten)]
    question: Question,
}

/// PUT, POST, FETCH, PATCH, iPATCH.
#[derive(Debug, Args)]
pub(crate) struct BodyArgs {
    #[command(flatten)]
    question: Question,
    #[command(flatten)]
    body: Body,
}

/// `notify`.
#[derive(Debug, Args)]
pub(crate) struct NotifyArgs {
    #[command(flatten)]
    question: Question,
    #[command(flatten)]
    body: Body,

    /// Wait for the answers of members that confirm
    #[arg(long, help_heading = "Waiting")]
    confirm: bool,

    /// Notify with PUT instead of POST
    #[arg(long, help_heading = "Request")]
    put: bool,
}

/// A request, checked and complete, before anything of it is sent.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) question: &'a Question,
    pub(crate) uri: Uri<'a>,
    pub(crate) method: Code,
    pub(crate) payload: Payload,
    /// Besides those of the URI, ascending.
    pub(crate) options: Vec<(OptionNumber, Vec<u8>)>,
    pub(crate) members: Vec<Member>,
    /// Nothing is collected.
    pub(crate) silent: bool,
    /// Members are asked to answer a notification.
    pub(crate) confirm: bool,
}

impl BareArgs {
    /// Runs GET or DELETE.
    pub(crate) fn run(&self, method: Code) -> Result<u8, Failure> {
        let nothing = Payload {
            bytes: Vec::new(),
            format: None,
        };
        Plan::new(&self.question, method, nothing)?.run()
    }
}

impl BodyArgs {
    /// Runs a method that carries a payload.
    pub(crate) fn run(&self, method: Code) -> Result<u8, Failure> {
        Plan::new(&self.question, method, self.body.read()?)?.run()
    }
}

impl NotifyArgs {
    /// Runs `notify`.
    pub(crate) fn run(&self) -> Result<u8, Failure> {
        let method = if self.put { Code::PUT } else { Code::POST };
        let mut plan = Plan::new(&self.question, method, self.body.read()?)?;
        plan.silent = !self.confirm;
        plan.confirm = self.confirm;
        if plan.silent {
            plan.refuse_waiting()?;
        }
        plan.run()
    }
}

impl Body {
    fn read(&self) -> Result<Payload, Failure> {
        if let Some(path) = &self.payload_file {
            return payload::read_file(path, self.payload_as, self.content_format);
        }
        payload::read(
            self.payload.as_deref().unwrap_or_default(),
            self.payload_as,
            self.content_format,
        )
    }
}

impl<'a> Plan<'a> {
    fn new(question: &'a Question, method: Code, payload: Payload) -> Result<Self, Failure> {
        let uri = parse_uri(&question.whom.uri)?;
        let mut options = question.option.clone();
        if let Some(format) = payload.format {
            options.push((
                OptionNumber::CONTENT_FORMAT,
                encode_uint(u32::from(format.0)).as_bytes().to_vec(),
            ));
        }
        if let Some(FormatChoice::Format(format)) = question.accept {
            options.push((
                OptionNumber::ACCEPT,
                encode_uint(u32::from(format.0)).as_bytes().to_vec(),
            ));
        }
        options.sort_by_key(|(number, _)| *number);
        for pair in options.windows(2) {
            if let [(first, _), (second, _)] = pair
                && first == second
                && first.is_repeatable_in(method) == Some(false)
            {
                return Err(Failure::usage(format!("the option {first} is given twice")));
            }
        }
        Ok(Self {
            members: question.whom.members()?,
            question,
            uri,
            method,
            payload,
            options,
            silent: false,
            confirm: false,
        })
    }

    /// A notification that nobody answers leaves nothing to wait for.
    fn refuse_waiting(&self) -> Result<(), Failure> {
        let q = self.question;
        let given = [
            (!self.members.is_empty(), "expected members"),
            (q.count.is_some(), "--count"),
            (q.collect_for.is_some(), "--collect-for"),
            (q.complete.is_some(), "--complete"),
            (q.late.is_some(), "--late"),
        ];
        match given.iter().find(|(given, _)| *given) {
            Some((_, what)) => Err(Failure::usage(format!(
                "notify asks for no answers, so {what} has no meaning; give --confirm to wait for answers"
            ))),
            None => Ok(()),
        }
    }

    /// What only a group can be asked. A members file may say who has the address, where requests are protected.
    fn refuse_group_only(&self) -> Result<(), Failure> {
        let q = self.question;
        let secured = q.whom.protection.group.is_some();
        let given = [
            (!self.members.is_empty() && !secured, "expected members"),
            (!q.whom.expect.is_empty() && secured, "--expect"),
            (q.whom.everyone, "--everyone"),
            (q.count.is_some(), "--count"),
            (q.repeat > 0, "--repeat"),
            (q.complete.is_some(), "--complete"),
            (q.late.is_some(), "--late"),
        ];
        match given.iter().find(|(given, _)| *given) {
            Some((_, what)) => Err(Failure::usage(format!(
                "{} is a single member, so {what} has no meaning",
                crate::terminal::line(&q.whom.uri)
            ))),
            None => Ok(()),
        }
    }

    fn run(&self) -> Result<u8, Failure> {
        let given = [
            (self.question.raw, "--raw"),
            (self.question.output.is_some(), "--output"),
        ];
        if let Some((_, what)) = given.iter().find(|(given, _)| *given)
            && self.uri.is_multicast()
        {
            return Err(Failure::usage(format!(
                "{what} writes the answer of a single member, and this is a group"
            )));
        }
        if self.question.dry_run {
            return dry_run::run(self);
        }
        ask::run(self)
    }
}

/// Reads the URI of a group or a member, and says at which character it is wrong.
fn parse_uri(text: &str) -> Result<Uri<'_>, Failure> {
    let uri = Uri::parse(text).map_err(|error| marked(text, &error))?;
    if uri.scheme != Scheme::Coap {
        return Err(Failure::usage(format!(
            "{}: this version speaks coap:// only",
            uri.scheme.name()
        )));
    }
    if uri.is_multicast() {
        return Uri::parse_group(text).map_err(|error| marked(text, &error));
    }
    Ok(uri)
}

/// The error below the URI, with a mark at the place.
fn marked(uri: &str, error: &antiphon_wire::uri::UriError) -> Failure {
    let before = uri.get(..error.offset).unwrap_or(uri);
    let indent = crate::terminal::columns(&crate::terminal::line(before));
    Failure::usage(format!(
        "{}\n  {}\n  {}^",
        error.kind,
        crate::terminal::line(uri),
        " ".repeat(indent)
    ))
}

/// An option by its name in any letter case, or by its number.
fn option_number(name: &str) -> Result<OptionNumber, String> {
    OptionNumber::KNOWN
        .iter()
        .copied()
        .find(|known| known.name().is_some_and(|n| n.eq_ignore_ascii_case(name)))
        .or_else(|| name.parse().ok().map(OptionNumber))
        .ok_or_else(|| format!("{name:?} is no known option and no number"))
}

/// Reads `NAME=VALUE` or `NUMBER=VALUE`; the value as the option's format wants it, or `0x` and digits.
fn parse_option(text: &str) -> Result<(OptionNumber, Vec<u8>), String> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let number = option_number(name)?;
    let instead = match number {
        OptionNumber::URI_HOST
        | OptionNumber::URI_PORT
        | OptionNumber::URI_PATH
        | OptionNumber::URI_QUERY => "the URI",
        OptionNumber::CONTENT_FORMAT => "--content-format",
        OptionNumber::ACCEPT => "--accept",
        _ => "",
    };
    if !instead.is_empty() {
        return Err(format!("{number} is said by {instead}"));
    }
    let bytes = if let Some(digits) = value.strip_prefix("0x") {
        hex::parse(digits).map_err(|error| format!("{number}: {error}"))?
    } else {
        match number.format() {
            Format::Uint => {
                let n: u32 = value
                    .parse()
                    .map_err(|_| format!("{number}: {value:?} is no number up to 4294967295"))?;
                encode_uint(n).as_bytes().to_vec()
            }
            _ => value.as_bytes().to_vec(),
        }
    };
    number
        .check(&bytes, 0)
        .map_err(|error| format!("{number}: {error}"))?;
    Ok((number, bytes))
}

fn block_size(text: &str) -> Result<BlockSize, String> {
    let bytes = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    BlockSize::new(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_by_name_and_number() {
        let hex_of =
            |text: &str| parse_option(text).map(|(number, value)| (number.0, hex::plain(&value)));
        assert_eq!(hex_of("No-Response=26"), Ok((258, "1a".into())));
        assert_eq!(hex_of("no-response=0"), Ok((258, String::new())));
        assert_eq!(hex_of("258=0x1a"), Ok((258, "1a".into())));
        assert_eq!(hex_of("ETag=0xcafe"), Ok((4, "cafe".into())));
        assert_eq!(hex_of("If-None-Match"), Ok((5, String::new())));
        assert_eq!(hex_of("2049=abc"), Ok((2049, "616263".into())));
        for (text, part) in [
            ("Nonsense=1", "\"Nonsense\" is no known option"),
            ("70000=1", "\"70000\" is no known option"),
            ("Uri-Path=x", "Uri-Path is said by the URI"),
            ("12=0", "Content-Format is said by --content-format"),
            ("17=0", "Accept is said by --accept"),
            ("No-Response=x", "no number up to"),
            ("No-Response=256", "option value of 2 bytes"),
            ("ETag=", "option value of 0 bytes"),
            ("ETag=0x1", "half a byte"),
        ] {
            assert!(
                parse_option(text).unwrap_err().contains(part),
                "{text}: {:?}",
                parse_option(text)
            );
        }
    }

    #[test]
    fn a_wrong_uri_is_marked() {
        assert_eq!(
            parse_uri("coap://host/a#b").unwrap_err().message,
            "a CoAP URI has no fragment\n  coap://host/a#b\n               ^"
        );
        assert!(
            parse_uri("coap://[ff02::fd]:5684/")
                .unwrap_err()
                .message
                .starts_with("the port of a group is never 5684\n")
        );
        assert!(
            parse_uri("coaps://host/")
                .unwrap_err()
                .message
                .contains("coap:// only")
        );
        assert!(parse_uri("coap://[ff02::fd%25eth0]/x").is_ok());
    }
}
