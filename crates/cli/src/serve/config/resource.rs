//! One resource of the configuration.

use std::path::Path;
use std::time::Duration;

use antiphon_wire::{Class, ContentFormat};
use toml::Spanned;

use super::access::{self, Member};
use super::raw::{RawLeisure, RawResource};
use super::{Application, ConfigError, Leisure, Lines, OnGroup, Resource, Source, class_name};
use crate::cbor::Value as Item;
use crate::terminal::quoted;
use crate::{duration, hex, render, senml};

/// Checks one resource.
pub(super) fn resource(
    raw: RawResource,
    at: usize,
    applications: &[Application],
    members: &[Member],
    folder: &Path,
    lines: Lines<'_>,
) -> Result<Resource, ConfigError> {
    let path = raw.path.get_ref();
    let path_at = raw.path.span().start;
    if !path.starts_with('/') {
        return lines.fail(
            path_at,
            format!("the path {} does not begin with /", quoted(path)),
        );
    }
    if path.contains(['?', '#', '%']) || path.chars().any(char::is_control) {
        return lines.fail(
            path_at,
            "a path is written without query, fragment and percent-encoding",
        );
    }
    if path
        .split('/')
        .any(|segment| segment.len() > 255 || segment == "." || segment == "..")
    {
        return lines.fail(
            path_at,
            "a path segment is . or .. or longer than 255 bytes",
        );
    }
    if path == "/.well-known/core" {
        return lines.fail(
            path_at,
            "/.well-known/core is made by the server: see discoverable in [server]",
        );
    }
    let application = match &raw.application_group {
        None => None,
        Some(name) => match applications.iter().position(|a| a.name == *name.get_ref()) {
            Some(index) => Some(index),
            None => {
                return lines.fail(
                    name.span().start,
                    format!("there is no application group {}", quoted(name.get_ref())),
                );
            }
        },
    };
    let format = match &raw.content_format {
        None => None,
        Some(value) => {
            let name = match value.get_ref() {
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::String(name) => name.clone(),
                _ => return lines.fail(value.span().start, "content-format is a name or a number"),
            };
            match ContentFormat::from_name(&name) {
                Some(format) => Some(format),
                None => {
                    return lines.fail(
                        value.span().start,
                        format!("{} is no known Content-Format", quoted(&name)),
                    );
                }
            }
        }
    };
    let source = source(&raw, at, format, folder, lines)?;
    if raw.on_group != OnGroup::Respond {
        let useless = [
            (!raw.answer.is_empty(), "answer"),
            (raw.leisure.is_some(), "leisure"),
            (raw.limit.is_some(), "limit"),
        ];
        if let Some((_, key)) = useless.iter().find(|(given, _)| *given) {
            return lines.fail(
                at,
                format!("{key} has no meaning without on-group = \"respond\""),
            );
        }
    }
    if raw.etag && matches!(source, Source::Counter(_)) && !raw.writable {
        return lines.fail(
            at,
            "etag has no meaning for a counter of its reads: no representation of it comes twice",
        );
    }
    let suppress = classes(&raw.suppress, lines)?;
    let answer = classes(&raw.answer, lines)?;
    if let Some(both) = suppress.iter().find(|class| answer.contains(class)) {
        return lines.fail(
            at,
            format!("{} is both suppressed and answered", class_name(*both)),
        );
    }
    let leisure = match &raw.leisure {
        None => None,
        Some(value) => Some(match value.get_ref() {
            RawLeisure::Fixed(text) => match duration::parse(text) {
                Ok(time) => Leisure::Fixed(time),
                Err(what) => return lines.fail(value.span().start, what),
            },
            RawLeisure::Estimated(estimate) if estimate.rate == 0 => {
                return lines.fail(
                    value.span().start,
                    "the rate is zero: nothing would ever be sent",
                );
            }
            RawLeisure::Estimated(estimate) => Leisure::Estimated {
                response_size: estimate.response_size,
                group_size: estimate.group_size,
                rate: estimate.rate,
            },
        }),
    };
    let default_format = match source {
        Source::Fixed(_) if raw.value_hex.is_some() => ContentFormat::OCTETS,
        _ => ContentFormat::TEXT,
    };
    let every = notify_every(&raw, &source, at, lines)?;
    Ok(Resource {
        path: path.clone(),
        title: raw.title,
        rt: raw.rt,
        interfaces: raw.interfaces,
        format: format.unwrap_or(default_format),
        hidden: raw.hidden,
        application,
        access: raw.access,
        allow: access::allow(&raw.allow, raw.access, members, lines)?,
        secured_by: access::security_groups(&raw.secured_by, lines)?,
        fresh: access::methods(&raw.fresh, lines)?,
        on_group: raw.on_group,
        suppress,
        answer,
        consider_no_response: raw.consider_no_response,
        leisure,
        limit: raw.limit,
        notify_every: every,
        observable: raw.observable,
        source,
        writable: raw.writable,
        etag: raw.etag,
    })
}

/// How often observers get the state of a resource that nobody would say has changed.
fn notify_every(
    raw: &RawResource,
    source: &Source,
    at: usize,
    lines: Lines<'_>,
) -> Result<Option<Duration>, ConfigError> {
    if let Some(value) = &raw.notify_every {
        let at = value.span().start;
        if !raw.observable {
            return lines.fail(at, "notify-every has no meaning without observable = true");
        }
        return match duration::parse(value.get_ref()) {
            Ok(time) if time < SHORTEST => {
                lines.fail(at, "observers are not notified more often than every 100ms")
            }
            Ok(time) => Ok(Some(time)),
            Err(what) => lines.fail(at, what),
        };
    }
    let changes = match source {
        Source::Fixed(_) | Source::Counter(_) => raw.writable,
        Source::File(_) => true,
        Source::Command(_) => false,
    };
    if raw.observable && !changes {
        return lines.fail(
            at,
            "observable: nothing says when the resource changes; write notify-every = \"10s\", or so",
        );
    }
    Ok(None)
}

/// The shortest time between two notifications by the clock.
const SHORTEST: Duration = Duration::from_millis(100);

/// Exactly one of value, value-hex, file, command, counter.
fn source(
    raw: &RawResource,
    at: usize,
    format: Option<ContentFormat>,
    folder: &Path,
    lines: Lines<'_>,
) -> Result<Source, ConfigError> {
    let given = [
        raw.value.is_some(),
        raw.value_hex.is_some(),
        raw.file.is_some(),
        raw.command.is_some(),
        raw.counter.is_some(),
    ];
    if given.iter().filter(|given| **given).count() != 1 {
        return lines.fail(
            at,
            "a resource has exactly one of value, value-hex, file, command and counter",
        );
    }
    if let Some(text) = &raw.value {
        let Some(format) = format.filter(|f| render::is_cbor(*f)) else {
            return Ok(Source::Fixed(text.get_ref().clone().into_bytes()));
        };
        // CBOR is written as JSON here.
        let item = Item::from_json(text.get_ref().as_bytes()).or_else(|error| {
            lines.fail(
                text.span().start,
                format!("the value is not JSON, to become CBOR: {error}"),
            )
        })?;
        let item = match format {
            ContentFormat::SENML_CBOR | ContentFormat::SENML_ETCH_CBOR => senml::with_labels(item),
            _ => item,
        };
        return Ok(Source::Fixed(item.to_bytes()));
    }
    if let Some(text) = &raw.value_hex {
        return match hex::parse(text.get_ref()) {
            Ok(bytes) => Ok(Source::Fixed(bytes)),
            Err(error) => lines.fail(text.span().start, error.to_string()),
        };
    }
    if let Some(path) = &raw.file {
        return Ok(Source::File(folder.join(path)));
    }
    match (&raw.command, raw.counter) {
        (Some(words), _) if words.first().is_none_or(String::is_empty) => {
            lines.fail(at, "command names no program")
        }
        (Some(words), _) => Ok(Source::Command(words.clone())),
        (None, start) => Ok(Source::Counter(start.unwrap_or(0))),
    }
}

/// `2.xx`, `4.xx`, `5.xx`.
fn classes(texts: &[Spanned<String>], lines: Lines<'_>) -> Result<Vec<Class>, ConfigError> {
    texts
        .iter()
        .map(|text| match text.get_ref().as_str() {
            "2.xx" => Ok(Class::Success),
            "4.xx" => Ok(Class::ClientError),
            "5.xx" => Ok(Class::ServerError),
            other => lines.fail(
                text.span().start,
                format!("{} is no class of responses: 2.xx, 4.xx or 5.xx (single codes cannot be suppressed)", quoted(other)),
            ),
        })
        .collect()
}
