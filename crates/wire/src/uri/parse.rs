//! Reading a URI from the front (RFC 7252, section 6.1; RFC 3986, section 3).

use core::net::Ipv6Addr;

use super::{
    Component, Host, Scheme, Uri, UriError, UriErrorKind, hex, is_name_char, is_pchar,
    is_query_char, is_unreserved, next_decoded,
};

/// A piece of the URI and where it begins, so that errors can say where they are.
#[derive(Clone, Copy)]
struct Piece<'a> {
    text: &'a str,
    offset: usize,
}

impl<'a> Piece<'a> {
    /// What stands before and from byte `at`, which is at most the length and never within a character.
    fn split(self, at: usize) -> (Piece<'a>, Piece<'a>) {
        let (front, back) = self.text.split_at_checked(at).unwrap_or((self.text, ""));
        let offset = self.offset + front.len();
        (
            Piece {
                text: front,
                ..self
            },
            Piece { text: back, offset },
        )
    }

    /// What stands before and from the first of `stops`, or everything and nothing.
    fn split_at_any(self, stops: &[char]) -> (Piece<'a>, Piece<'a>) {
        self.split(self.text.find(stops).unwrap_or(self.text.len()))
    }

    fn strip(self, prefix: &str) -> Option<Piece<'a>> {
        let text = self.text.strip_prefix(prefix)?;
        Some(Piece {
            text,
            offset: self.offset + prefix.len(),
        })
    }

    /// An error `at` bytes into this piece.
    fn error<T>(self, kind: UriErrorKind, at: usize) -> Result<T, UriError> {
        Err(UriError {
            kind,
            offset: self.offset + at,
        })
    }
}

pub(super) fn uri(text: &str) -> Result<Uri<'_>, UriError> {
    let all = Piece { text, offset: 0 };
    if text.len() > Uri::MAX_LEN {
        return all.error(UriErrorKind::TooLong, Uri::MAX_LEN);
    }
    let (scheme, rest) = scheme(all)?;
    let Some(rest) = rest.strip("//") else {
        return rest.error(UriErrorKind::NoAuthority, 0);
    };
    let (authority, rest) = rest.split_at_any(&['/', '?', '#']);
    let (host, port) = authority_parts(authority)?;
    let (path, rest) = rest.split_at_any(&['?', '#']);
    check(path, '/', is_pchar)?;
    let (query, rest) = match rest.strip("?") {
        Some(rest) => {
            let (query, rest) = rest.split_at_any(&['#']);
            check(query, '&', is_query_char)?;
            (Some(query.text), rest)
        }
        None => (None, rest),
    };
    if !rest.text.is_empty() {
        return rest.error(UriErrorKind::Fragment, 0);
    }
    Ok(Uri {
        scheme,
        host,
        port,
        path: path.text,
        query,
    })
}

fn scheme(all: Piece<'_>) -> Result<(Scheme, Piece<'_>), UriError> {
    let is_scheme_char =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let (name, rest) = all.split_at_any(&[':']);
    let begins_right = name
        .text
        .starts_with(|first: char| first.is_ascii_alphabetic());
    match rest.strip(":") {
        Some(rest) if begins_right && name.text.bytes().all(is_scheme_char) => {
            match Scheme::from_name(name.text) {
                Some(scheme) => Ok((scheme, rest)),
                None => all.error(UriErrorKind::UnknownScheme, 0),
            }
        }
        _ => all.error(UriErrorKind::NoScheme, 0),
    }
}

fn authority_parts(authority: Piece<'_>) -> Result<(Host<'_>, Option<u16>), UriError> {
    if authority.text.contains('@') {
        return authority.error(UriErrorKind::UserInfo, 0);
    }
    let (host, rest) = match authority.strip("[") {
        Some(literal) => {
            let (literal, rest) = literal.split_at_any(&[']']);
            let Some(rest) = rest.strip("]") else {
                return authority.error(UriErrorKind::IpLiteral, 0);
            };
            (ip_literal(literal)?, rest)
        }
        None => {
            let (name, rest) = authority.split_at_any(&[':']);
            (name_or_v4(name)?, rest)
        }
    };
    match rest.strip(":") {
        Some(digits) => Ok((host, port(digits)?)),
        None if rest.text.is_empty() => Ok((host, None)),
        None => rest.error(UriErrorKind::Character, 0),
    }
}

/// What stands in brackets: an IPv6 address with an optional zone. There is no other kind of address.
fn ip_literal(literal: Piece<'_>) -> Result<Host<'_>, UriError> {
    let (address, zone) = literal.split_at_any(&['%']);
    let Ok(addr) = address.text.parse::<Ipv6Addr>() else {
        return literal.error(UriErrorKind::IpLiteral, 0);
    };
    let zone = match zone.strip("%25").or_else(|| zone.strip("%")) {
        None => None,
        Some(zone) if zone.text.is_empty() || !zone.text.bytes().all(is_unreserved) => {
            return zone.error(UriErrorKind::Zone, 0);
        }
        Some(zone) => Some(zone.text),
    };
    Ok(Host::V6 { addr, zone })
}

/// What reads as an IPv4 address is one, everything else a name (RFC 3986, section 3.2.2).
fn name_or_v4(name: Piece<'_>) -> Result<Host<'_>, UriError> {
    if name.text.is_empty() {
        return name.error(UriErrorKind::EmptyHost, 0);
    }
    if let Ok(addr) = name.text.parse() {
        return Ok(Host::V4(addr));
    }
    check_component(name, is_name_char, UriErrorKind::HostTooLong)?;
    Ok(Host::Name(name.text))
}

/// The port behind the colon; nothing there means the default (RFC 7252, section 6.1).
fn port(digits: Piece<'_>) -> Result<Option<u16>, UriError> {
    if digits.text.is_empty() {
        return Ok(None);
    }
    match digits.text.parse() {
        // `parse` would take a sign too.
        Ok(port) if port != 0 && digits.text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(Some(port))
        }
        _ => digits.error(UriErrorKind::Port, 0),
    }
}

/// Checks every component of a path or query.
fn check(piece: Piece<'_>, separator: char, plain: fn(u8) -> bool) -> Result<(), UriError> {
    let mut rest = piece;
    loop {
        let (component, behind) = rest.split_at_any(&[separator]);
        check_component(component, plain, UriErrorKind::SegmentTooLong)?;
        if behind.text.is_empty() {
            return Ok(());
        }
        (_, rest) = behind.split(separator.len_utf8());
    }
}

/// Checks one component: characters, percent-encoding, and length and UTF-8 of the result.
fn check_component(
    component: Piece<'_>,
    plain: fn(u8) -> bool,
    too_long: UriErrorKind,
) -> Result<(), UriError> {
    let bytes = component.text.as_bytes();
    if let Some(at) = first_bad(bytes, plain) {
        let kind = match bytes.get(at) {
            Some(b'%') => UriErrorKind::Percent,
            _ => UriErrorKind::Character,
        };
        return component.error(kind, at);
    }
    let mut buf = [0; Uri::MAX_OPTION];
    match Component(component.text).decode_into(&mut buf) {
        Err(_) => component.error(too_long, 0),
        Ok(decoded) if core::str::from_utf8(decoded).is_err() => {
            component.error(UriErrorKind::NotUtf8, 0)
        }
        Ok(_) => Ok(()),
    }
}

/// Where the first character stands that is neither `plain` nor percent-encoding.
fn first_bad(bytes: &[u8], plain: fn(u8) -> bool) -> Option<usize> {
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        let well_formed = match *rest {
            [b'%', high, low, ..] => hex(high).is_some() && hex(low).is_some(),
            _ => plain(first),
        };
        if !well_formed {
            return Some(bytes.len() - rest.len());
        }
        next_decoded(&mut rest);
    }
    None
}

/// Whether a value of Uri-Host can stand in a URI: a name, its characters beyond ASCII to be encoded, or an
/// address (RFC 7252, section 6.5, step 2). A `%` cannot: by section 6.4 encodings are resolved in the value,
/// so that it would be read as another host than the one that was meant.
pub(super) fn is_host(value: &[u8]) -> bool {
    match value {
        [] => false,
        [b'[', literal @ .., b']'] => {
            core::str::from_utf8(literal).is_ok_and(|literal| literal.parse::<Ipv6Addr>().is_ok())
        }
        name => name
            .iter()
            .all(|byte| !byte.is_ascii() || is_name_char(*byte)),
    }
}
