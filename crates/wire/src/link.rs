//! Link-format: reading, writing and filtering what `/.well-known/core` answers (RFC 6690).

use core::fmt::{self, Write};
use core::iter::FusedIterator;

/// The links of a document in link-format, read one at a time.
///
/// Spaces, tabs and line ends around the separators are skipped: RFC 6690 has none there, but real
/// servers send them. After an error nothing more is read.
#[derive(Clone, Debug)]
pub struct LinkFormat<'a> {
    text: &'a str,
    /// Where the next link begins; beyond the text when all is read.
    at: usize,
    /// Where the input stops being UTF-8.
    not_utf8: Option<usize>,
}

/// Why a document is no link-format, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkError {
    /// What is wrong.
    pub kind: LinkErrorKind,
    /// Where, in bytes from the start of the document.
    pub offset: usize,
}

/// The kinds of errors in link-format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LinkErrorKind {
    /// The input is not UTF-8; nothing of it is read.
    NotUtf8,
    /// A link must begin here, with `<`.
    TargetExpected,
    /// No `>` behind the target, or a character before it that no URI has.
    Target,
    /// Something other than `;`, `,` and the end behind a target or attribute.
    Separator,
    /// The name of an attribute is empty or has a character that it may not have.
    Name,
    /// A value without quotes is empty or has a character that needs quotes.
    Value,
    /// A quotation mark that is never closed. Offset: the quotation mark.
    OpenQuote,
}

impl fmt::Display for LinkErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LinkErrorKind::NotUtf8 => "not UTF-8",
            LinkErrorKind::TargetExpected => "a link beginning with < is missing",
            LinkErrorKind::Target => "the target does not end with >",
            LinkErrorKind::Separator => "neither ; nor , nor the end",
            LinkErrorKind::Name => "no attribute name",
            LinkErrorKind::Value => "no attribute value",
            LinkErrorKind::OpenQuote => "the quotation mark is not closed",
        })
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.kind, self.offset)
    }
}

impl core::error::Error for LinkError {}

impl<'a> LinkFormat<'a> {
    /// Begins to read a document, text or the bytes of a payload. The empty document has no links.
    pub fn parse(document: &'a (impl AsRef<[u8]> + ?Sized)) -> LinkFormat<'a> {
        match core::str::from_utf8(document.as_ref()) {
            Ok(text) => {
                let start = skip_space(text, 0);
                // Without links at all the document is well-formed; behind a comma a link must follow.
                let at = if start == text.len() {
                    start + 1
                } else {
                    start
                };
                LinkFormat {
                    text,
                    at,
                    not_utf8: None,
                }
            }
            Err(error) => LinkFormat {
                text: "",
                at: 0,
                not_utf8: Some(error.valid_up_to()),
            },
        }
    }

    /// Reads one link that begins at `at`; gives back where the next one begins, beyond the text if there
    /// is none.
    fn link(&self, at: usize) -> Result<(Link<'a>, usize), LinkError> {
        let text = self.text;
        let error = |kind, offset| Err(LinkError { kind, offset });
        if byte_at(text, at) != Some(b'<') {
            return error(LinkErrorKind::TargetExpected, at);
        }
        let start = at + 1;
        let end = start + count(text, start, is_target_char);
        if byte_at(text, end) != Some(b'>') {
            return error(LinkErrorKind::Target, end);
        }
        let target = slice(text, start, end);
        let start = end + 1;
        let mut at = start;
        loop {
            let separator = skip_space(text, at);
            match byte_at(text, separator) {
                Some(b';') => {
                    let (_, behind) = attribute(text, skip_space(text, separator + 1))?;
                    at = behind;
                }
                Some(b',') => {
                    let attributes = slice(text, start, at);
                    return Ok((Link { target, attributes }, skip_space(text, separator + 1)));
                }
                None => {
                    let attributes = slice(text, start, at);
                    return Ok((Link { target, attributes }, text.len() + 1));
                }
                Some(_) => return error(LinkErrorKind::Separator, separator),
            }
        }
    }
}

impl<'a> Iterator for LinkFormat<'a> {
    type Item = Result<Link<'a>, LinkError>;

    fn next(&mut self) -> Option<Result<Link<'a>, LinkError>> {
        let end = self.text.len();
        if let Some(offset) = self.not_utf8.take() {
            self.at = end + 1;
            return Some(Err(LinkError {
                kind: LinkErrorKind::NotUtf8,
                offset,
            }));
        }
        if self.at > end {
            return None;
        }
        let link = self.link(self.at);
        self.at = link.map_or(end + 1, |(_, next)| next);
        Some(link.map(|(link, _)| link))
    }
}

impl FusedIterator for LinkFormat<'_> {}

/// One link: a target and attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link<'a> {
    /// The URI or relative reference between the angle brackets, as it stands there.
    pub target: &'a str,
    /// Everything behind the closing bracket, checked.
    attributes: &'a str,
}

impl<'a> Link<'a> {
    /// The attributes, in order.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'a>> + Clone + use<'a> {
        let text = self.attributes;
        let mut at = 0;
        core::iter::from_fn(move || {
            let separator = skip_space(text, at);
            byte_at(text, separator)?;
            let (attribute, behind) = attribute(text, skip_space(text, separator + 1)).ok()?;
            at = behind;
            Some(attribute)
        })
    }

    /// The first attribute of this name; names are compared as they are, in lower case by convention.
    pub fn attribute(&self, name: &str) -> Option<Attribute<'a>> {
        self.attributes().find(|attribute| attribute.name == name)
    }

    /// Whether there is an attribute of this name. For flags such as `obs`: a value, or another attribute of the same
    /// name, changes nothing.
    pub fn flag(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    /// Which security the link says that its target needs, as a hint. `gosc` overshadows `osc`; neither has a value, and one that
    /// stands there is ignored (draft-ietf-core-oscore-groupcomm-28, section 11; RFC 8613, section 9).
    pub fn security(&self) -> Option<SecurityHint> {
        if self.flag(GOSC) {
            return Some(SecurityHint::GroupOscoreOrOscore);
        }
        self.flag(OSC).then_some(SecurityHint::Oscore)
    }

    /// The value of the first attribute of this name that has one.
    pub fn value(&self, name: &str) -> Option<Value<'a>> {
        self.attributes()
            .find(|attribute| attribute.name == name && attribute.value.is_some())?
            .value
    }
}

/// The target attribute of what is accessible with Group OSCORE or OSCORE only. It has no value.
pub const GOSC: &str = "gosc";

/// The target attribute of what is accessible with OSCORE only. It has no value.
pub const OSC: &str = "osc";

/// Which security the target of a link needs. A hint: there is no key in it, and nothing is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecurityHint {
    /// Group OSCORE or OSCORE: the link has `gosc`.
    GroupOscoreOrOscore,
    /// OSCORE: the link has `osc` alone.
    Oscore,
}

impl SecurityHint {
    /// The attribute that says so.
    pub const fn attribute(self) -> &'static str {
        match self {
            SecurityHint::GroupOscoreOrOscore => GOSC,
            SecurityHint::Oscore => OSC,
        }
    }
}

/// One attribute of a link. `title*` counts as a name of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// The name.
    pub name: &'a str,
    /// The value; none for a flag such as `obs`.
    pub value: Option<Value<'a>>,
}

/// The value of an attribute. Comparing and printing see what is meant: without quotes and backslashes.
#[derive(Clone, Copy, Debug, Eq)]
pub struct Value<'a> {
    /// What stands in the document, without the quotation marks but with backslashes.
    raw: &'a str,
    quoted: bool,
}

impl<'a> Value<'a> {
    /// The characters.
    pub fn chars(&self) -> impl Iterator<Item = char> + Clone + use<'a> {
        // Without quotation marks there are no backslashes.
        let mut chars = self.raw.chars();
        core::iter::from_fn(move || match chars.next() {
            Some('\\') => chars.next(),
            other => other,
        })
    }

    /// The text, if it stands in the document as it is: `None` if there is a backslash in it.
    pub fn as_str(&self) -> Option<&'a str> {
        (!self.raw.contains('\\')).then_some(self.raw)
    }

    /// Whether quotation marks stand around the value.
    pub const fn is_quoted(&self) -> bool {
        self.quoted
    }

    /// The values of a list, divided by spaces: resource types, interfaces, relations, content formats. A space that
    /// is escaped is a space all the same.
    pub fn words(&self) -> impl Iterator<Item = Value<'a>> + Clone + use<'a> {
        let (mut rest, quoted) = (self.raw, self.quoted);
        core::iter::from_fn(move || {
            loop {
                let (raw, after) = first_word(rest, quoted)?;
                rest = after;
                if !raw.is_empty() {
                    return Some(Value { raw, quoted });
                }
            }
        })
    }
}

/// What stands before the first space, and after it; nothing when the text is empty.
fn first_word(text: &str, quoted: bool) -> Option<(&str, &str)> {
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        let separator = match byte {
            b' ' => 1,
            b'\\' if quoted && matches!(bytes.next(), Some((_, b' '))) => 2,
            _ => continue,
        };
        return Some((text.get(..at)?, text.get(at + separator..)?));
    }
    (!text.is_empty()).then_some((text, ""))
}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.chars().eq(other.chars())
    }
}

impl PartialEq<str> for Value<'_> {
    fn eq(&self, other: &str) -> bool {
        self.chars().eq(other.chars())
    }
}

impl PartialEq<&str> for Value<'_> {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.chars().try_for_each(|one| f.write_char(one))
    }
}

/// Reads `name`, `name=value` or `name="value"` that begins at `at`, and where it ends.
fn attribute(text: &str, at: usize) -> Result<(Attribute<'_>, usize), LinkError> {
    let error = |kind, offset| Err(LinkError { kind, offset });
    let mut end = at + count(text, at, is_name_char);
    if end == at {
        return error(LinkErrorKind::Name, at);
    }
    if byte_at(text, end) == Some(b'*') {
        end += 1;
    }
    let name = slice(text, at, end);
    if byte_at(text, end) != Some(b'=') {
        return Ok((Attribute { name, value: None }, end));
    }
    let start = end + 1;
    let (value, end) = if byte_at(text, start) == Some(b'"') {
        let Some(length) = quoted_len(slice(text, start + 1, text.len())) else {
            return error(LinkErrorKind::OpenQuote, start);
        };
        let end = start + 1 + length;
        (
            Value {
                raw: slice(text, start + 1, end),
                quoted: true,
            },
            end + 1,
        )
    } else {
        let end = start + count(text, start, is_token_char);
        if end == start {
            return error(LinkErrorKind::Value, start);
        }
        (
            Value {
                raw: slice(text, start, end),
                quoted: false,
            },
            end,
        )
    };
    Ok((
        Attribute {
            name,
            value: Some(value),
        },
        end,
    ))
}

/// How many bytes stand before the quotation mark that closes, or `None` if there is none.
fn quoted_len(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

fn skip_space(text: &str, at: usize) -> usize {
    at + count(text, at, |byte| {
        matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
    })
}

fn byte_at(text: &str, at: usize) -> Option<u8> {
    text.as_bytes().get(at).copied()
}

/// How many bytes from `at` on are of this kind.
fn count(text: &str, at: usize, is: impl Fn(u8) -> bool) -> usize {
    let rest = text.as_bytes().get(at..).unwrap_or_default();
    rest.iter().take_while(|&&byte| is(byte)).count()
}

/// The text between two bytes that are known to be bounds of characters within it.
fn slice(text: &str, start: usize, end: usize) -> &str {
    text.get(start..end).unwrap_or_default()
}

/// What may stand between angle brackets. Characters beyond ASCII are let through.
const fn is_target_char(byte: u8) -> bool {
    byte > b' ' && !matches!(byte, b'<' | b'>' | b'"' | 0x7f)
}

/// "attr-char" of RFC 5987.
const fn is_name_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'&' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// "ptokenchar" of RFC 6690, section 2: printable, and not one of the delimiters.
const fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

/// Writes links in the shortest form that RFC 6690 allows.
#[derive(Debug)]
pub struct LinkWriter<W> {
    out: W,
    any: bool,
}

impl<W: Write> LinkWriter<W> {
    /// Begins a document.
    pub const fn new(out: W) -> LinkWriter<W> {
        LinkWriter { out, any: false }
    }

    /// Begins a link. Its attributes follow.
    ///
    /// # Errors
    /// [`fmt::Error`] if `out` fails or a character of `target` cannot stand between angle brackets; then
    /// nothing of the link is written.
    pub fn link(&mut self, target: &str) -> Result<&mut Self, fmt::Error> {
        if !target.bytes().all(is_target_char) {
            return Err(fmt::Error);
        }
        if self.any {
            self.out.write_char(',')?;
        }
        self.any = true;
        write!(self.out, "<{target}>")?;
        Ok(self)
    }

    /// Adds an attribute with a value, in quotation marks unless it is a number or a registered name such
    /// as `g.light`. `anchor` and `title` are always quoted, as RFC 6690, section 2 has them.
    ///
    /// # Errors
    /// [`fmt::Error`] if `out` fails, before the first link, and for a name that is none.
    pub fn attribute(&mut self, name: &str, value: &str) -> Result<&mut Self, fmt::Error> {
        self.name(name)?;
        self.out.write_char('=')?;
        if is_bare(value) && !matches!(name, "anchor" | "title") {
            self.out.write_str(value)?;
            return Ok(self);
        }
        self.out.write_char('"')?;
        for one in value.chars() {
            if matches!(one, '"' | '\\') {
                self.out.write_char('\\')?;
            }
            self.out.write_char(one)?;
        }
        self.out.write_char('"')?;
        Ok(self)
    }

    /// Adds an attribute with a number, such as `ct` or `sz`.
    ///
    /// # Errors
    /// As [`LinkWriter::attribute`].
    pub fn number(&mut self, name: &str, value: u32) -> Result<&mut Self, fmt::Error> {
        self.name(name)?;
        write!(self.out, "={value}")?;
        Ok(self)
    }

    /// Adds an attribute without a value, such as `obs`.
    ///
    /// # Errors
    /// As [`LinkWriter::attribute`].
    pub fn flag(&mut self, name: &str) -> Result<&mut Self, fmt::Error> {
        self.name(name)?;
        Ok(self)
    }

    /// Adds a link that was read elsewhere, with its attributes as they stood there.
    ///
    /// # Errors
    /// As [`LinkWriter::link`].
    pub fn copy(&mut self, link: &Link<'_>) -> Result<&mut Self, fmt::Error> {
        self.link(link.target)?;
        self.out.write_str(link.attributes)?;
        Ok(self)
    }

    fn name(&mut self, name: &str) -> fmt::Result {
        let plain = name.strip_suffix('*').unwrap_or(name);
        if !self.any || plain.is_empty() || !plain.bytes().all(is_name_char) {
            return Err(fmt::Error);
        }
        write!(self.out, ";{name}")
    }
}

/// Whether a value is a "cardinal" or a "reg-rel-type" of RFC 6690, section 2.
fn is_bare(value: &str) -> bool {
    let is_number = |value: &str| value.bytes().all(|byte| byte.is_ascii_digit());
    let is_registered = |value: &str| {
        value.starts_with(|first: char| first.is_ascii_lowercase())
            && value.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-')
            })
    };
    !value.is_empty() && (is_number(value) || is_registered(value))
}

/// A query of `/.well-known/core`: which links are wanted (RFC 6690, section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Filter<'a> {
    name: &'a str,
    value: &'a str,
    /// Whether `value` need only be how it begins.
    prefix: bool,
}

impl<'a> Filter<'a> {
    /// Reads one Uri-Query: `name=value`, or `name=value*` for all that begin so. `None` if it is not UTF-8
    /// or there is no name before a `=`; such an argument is no filter.
    pub fn parse(query_item: &'a [u8]) -> Option<Filter<'a>> {
        let (name, value) = core::str::from_utf8(query_item).ok()?.split_once('=')?;
        if name.is_empty() {
            return None;
        }
        Some(match value.strip_suffix('*') {
            Some(value) => Filter {
                name,
                value,
                prefix: true,
            },
            None => Filter {
                name,
                value,
                prefix: false,
            },
        })
    }

    /// The attribute that is looked at; `href` for the target.
    pub const fn name(&self) -> &'a str {
        self.name
    }

    /// Whether the link is wanted. `href` looks at the target, every other name at the attributes of that
    /// name. Of `rt`, `if`, `rel`, `rev` and `ct`, which are lists, any one value suffices. An attribute
    /// without value counts as one with the empty value.
    pub fn matches(&self, link: &Link<'_>) -> bool {
        if self.name == "href" {
            return self.wants(link.target.chars());
        }
        link.attributes()
            .filter(|attribute| attribute.name == self.name)
            .any(|attribute| match attribute.value {
                None => self.wants("".chars()),
                Some(value) if matches!(self.name, "rt" | "if" | "rel" | "rev" | "ct") => {
                    value.words().any(|word| self.wants(word.chars()))
                }
                Some(value) => self.wants(value.chars()),
            })
    }

    fn wants(&self, mut found: impl Iterator<Item = char>) -> bool {
        self.value
            .chars()
            .all(|wanted| found.next() == Some(wanted))
            && (self.prefix || found.next().is_none())
    }
}

#[cfg(test)]
mod tests;
