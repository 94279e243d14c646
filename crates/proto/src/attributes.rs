//! Target attributes of a link (RFC 6690 section 3).

use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The attributes of one link, in the order in which they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    entries: Vec<(String, Option<String>)>,
}

impl Attributes {
    /// No attributes.
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// Resource type; several are separated by spaces. `g.light` is the type of a group of lights in the
    /// examples of groupcomm-bis-18.
    #[must_use]
    pub fn rt(self, types: &str) -> Self {
        self.with("rt", types)
    }

    /// Interface description; several are separated by spaces.
    #[must_use]
    pub fn interface(self, descriptions: &str) -> Self {
        self.with("if", descriptions)
    }

    /// An estimate of the size of the representation, in bytes.
    #[must_use]
    pub fn sz(self, bytes: u32) -> Self {
        self.with("sz", &bytes.to_string())
    }

    /// A title for people.
    #[must_use]
    pub fn title(self, title: &str) -> Self {
        self.with("title", title)
    }

    /// Any attribute with a value, such as `gpt`. A second one of the same name stands beside the first.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.entries.push((name.into(), Some(value.into())));
        self
    }

    /// Any attribute without a value, such as `obs`.
    #[must_use]
    pub fn flag(mut self, name: &str) -> Self {
        self.entries.push((name.into(), None));
        self
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.entries
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    /// The first attribute of this name.
    pub fn get(&self, name: &str) -> Option<Option<&str>> {
        self.iter()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value)
    }

    /// Can every attribute be written? A name has the characters of RFC 5987 "attr-char", a value no control characters.
    pub(crate) fn is_well_formed(&self) -> bool {
        self.iter().all(|(name, value)| {
            let plain = name.strip_suffix('*').unwrap_or(name);
            !plain.is_empty()
                && plain.bytes().all(is_name_char)
                && !value.unwrap_or_default().chars().any(char::is_control)
        })
    }
}

const fn is_name_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'&' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

#[cfg(test)]
mod tests;
