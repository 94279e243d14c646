//! What a request asks for that its resource does not give: formats and preconditions.

use antiphon_wire::{Code, Message, OptionNumber};

use super::asked::Asked;
use crate::resource::{ETag, Resource};

/// Content-Format, Accept and preconditions: the error, if one is due.
pub(super) fn negotiate(
    resource: &Resource,
    asked: &Asked<'_>,
    message: &Message<'_>,
) -> Option<(Code, &'static str)> {
    let is = |declared: u16, asked: Option<u32>| asked == Some(u32::from(declared));
    // A payload without Content-Format is taken for what the resource expects (RFC 7252 section 5.5.1): most simple clients send none.
    if !resource.consumes.is_empty()
        && !message.payload().is_empty()
        && asked.content_format.is_some()
        && !resource
            .consumes
            .iter()
            .any(|format| is(format.0, asked.content_format))
    {
        return Some((Code::UNSUPPORTED_CONTENT_FORMAT, ""));
    }
    if asked.accept.is_some()
        && !resource.produces.is_empty()
        && !resource
            .produces
            .iter()
            .any(|format| is(format.0, asked.accept))
    {
        return Some((Code::NOT_ACCEPTABLE, ""));
    }
    if resource.own_preconditions {
        return None;
    }
    let present = resource.etag.as_ref().map(ETag::as_bytes);
    let matches = |tag: &[u8]| tag.is_empty() || Some(tag) == present;
    let fails = asked.if_none_match
        || (asked.if_match && !message.options_of(OptionNumber::IF_MATCH).any(matches));
    fails.then_some((Code::PRECONDITION_FAILED, ""))
}
