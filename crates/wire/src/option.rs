//! Option numbers and what the number alone, or the option's definition, says about an option.

use core::fmt;

use crate::{Code, OptionError};

/// An option number. Its lowest bits tell how to treat an option that is not known
/// (RFC 7252, section 5.4.6).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OptionNumber(pub u16);

/// The format of an option's value (RFC 7252, section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// A value of no bytes.
    Empty,
    /// Any bytes.
    Opaque,
    /// An unsigned integer in network byte order.
    Uint,
    /// Text in UTF-8.
    String,
    /// The option is not known here.
    Unknown,
}

/// The definition of a known option.
struct Definition {
    name: &'static str,
    format: Format,
    min: usize,
    max: usize,
    repeatable: bool,
}

/// Lists the known options once: constant, number, name, format, shortest and longest value in bytes, and
/// whether the option may be repeated.
macro_rules! options {
    ($($(#[$meta:meta])* $constant:ident = $number:literal, $name:literal, $format:ident, $min:literal ..= $max:literal,
        $repeatable:literal;)*) => {
        impl OptionNumber {
            $($(#[$meta])* pub const $constant: OptionNumber = OptionNumber($number);)*

            const fn definition(self) -> Option<Definition> {
                match self.0 {
                    $($number => Some(Definition {
                        name: $name, format: Format::$format, min: $min, max: $max, repeatable: $repeatable,
                    }),)*
                    _ => None,
                }
            }

            /// Every option that is known here, ascending except that the numbers not yet assigned come last.
            pub const KNOWN: &'static [OptionNumber] = &[$(OptionNumber::$constant),*];
        }
    };
}

options! {
    /// If-Match (RFC 7252, section 5.10.8.1).
    IF_MATCH = 1, "If-Match", Opaque, 0..=8, true;
    /// Uri-Host (RFC 7252, section 5.10.1).
    URI_HOST = 3, "Uri-Host", String, 1..=255, false;
    /// ETag (RFC 7252, section 5.10.6); at most one in a response.
    ETAG = 4, "ETag", Opaque, 1..=8, true;
    /// If-None-Match (RFC 7252, section 5.10.8.2).
    IF_NONE_MATCH = 5, "If-None-Match", Empty, 0..=0, false;
    /// Observe (RFC 7641, section 2).
    OBSERVE = 6, "Observe", Uint, 0..=3, false;
    /// Uri-Port (RFC 7252, section 5.10.1).
    URI_PORT = 7, "Uri-Port", Uint, 0..=2, false;
    /// Location-Path (RFC 7252, section 5.10.7).
    LOCATION_PATH = 8, "Location-Path", String, 0..=255, true;
    /// OSCORE (RFC 8613, section 2).
    OSCORE = 9, "OSCORE", Opaque, 0..=255, false;
    /// Uri-Path (RFC 7252, section 5.10.1).
    URI_PATH = 11, "Uri-Path", String, 0..=255, true;
    /// Content-Format (RFC 7252, section 5.10.3).
    CONTENT_FORMAT = 12, "Content-Format", Uint, 0..=2, false;
    /// Max-Age, in seconds (RFC 7252, section 5.10.5).
    MAX_AGE = 14, "Max-Age", Uint, 0..=4, false;
    /// Uri-Query (RFC 7252, section 5.10.1).
    URI_QUERY = 15, "Uri-Query", String, 0..=255, true;
    /// Hop-Limit (RFC 8768, section 3).
    HOP_LIMIT = 16, "Hop-Limit", Uint, 1..=1, false;
    /// Accept (RFC 7252, section 5.10.4).
    ACCEPT = 17, "Accept", Uint, 0..=2, false;
    /// Q-Block1 (RFC 9177, section 4.1).
    Q_BLOCK1 = 19, "Q-Block1", Uint, 0..=3, false;
    /// Location-Query (RFC 7252, section 5.10.7).
    LOCATION_QUERY = 20, "Location-Query", String, 0..=255, true;
    /// EDHOC (RFC 9668, section 3.1).
    EDHOC = 21, "EDHOC", Empty, 0..=0, false;
    /// Block2 (RFC 7959, section 2.1).
    BLOCK2 = 23, "Block2", Uint, 0..=3, false;
    /// Block1 (RFC 7959, section 2.1).
    BLOCK1 = 27, "Block1", Uint, 0..=3, false;
    /// Size2, in bytes (RFC 7959, section 4).
    SIZE2 = 28, "Size2", Uint, 0..=4, false;
    /// Q-Block2 (RFC 9177, section 4.1).
    Q_BLOCK2 = 31, "Q-Block2", Uint, 0..=3, true;
    /// Proxy-Uri (RFC 7252, section 5.10.2).
    PROXY_URI = 35, "Proxy-Uri", String, 1..=1034, false;
    /// Proxy-Scheme (RFC 7252, section 5.10.2).
    PROXY_SCHEME = 39, "Proxy-Scheme", String, 1..=255, false;
    /// Size1, in bytes (RFC 7252, section 5.10.9).
    SIZE1 = 60, "Size1", Uint, 0..=4, false;
    /// Echo (RFC 9175, section 2.2).
    ECHO = 252, "Echo", Opaque, 1..=40, false;
    /// No-Response (RFC 7967, section 2).
    NO_RESPONSE = 258, "No-Response", Uint, 0..=1, false;
    /// Request-Tag (RFC 9175, section 3.2).
    REQUEST_TAG = 292, "Request-Tag", Opaque, 0..=8, true;

    // Numbers that are not assigned yet stand here and nowhere else.

    /// Multicast-Timeout, in seconds; number suggested by draft-ietf-core-groupcomm-proxy.
    MULTICAST_TIMEOUT = 2, "Multicast-Timeout", Uint, 0..=4, false;
    /// Group-ETag; number suggested by draft-ietf-core-groupcomm-proxy; at most one in a response.
    GROUP_ETAG = 24, "Group-ETag", Opaque, 1..=8, true;
    /// Reply-From; number suggested by draft-ietf-core-groupcomm-proxy.
    REPLY_FROM = 248, "Reply-From", Opaque, 5..=1034, false;
    /// Multi-ETag of draft-ietf-core-groupcomm-bis-03; number of our own from the experimental range.
    MULTI_ETAG = 65000, "Multi-ETag", Opaque, 0..=65804, true;
}

impl OptionNumber {
    /// Whether a message with this option must be rejected if the option is not understood.
    #[inline]
    pub const fn is_critical(self) -> bool {
        self.0 & 1 == 1
    }

    /// Whether a proxy that does not understand this option must not forward the message.
    #[inline]
    pub const fn is_unsafe(self) -> bool {
        self.0 & 2 == 2
    }

    /// Whether the option is safe to forward and no part of the cache key.
    #[inline]
    pub const fn is_no_cache_key(self) -> bool {
        self.0 & 0x1e == 0x1c
    }

    /// The name, or `None` if the option is not known here.
    pub const fn name(self) -> Option<&'static str> {
        match self.definition() {
            Some(definition) => Some(definition.name),
            None => None,
        }
    }

    /// The format of the value.
    pub const fn format(self) -> Format {
        match self.definition() {
            Some(definition) => definition.format,
            None => Format::Unknown,
        }
    }

    /// The shortest and the longest value in bytes, or `None` if the option is not known here.
    pub const fn length_limits(self) -> Option<(usize, usize)> {
        match self.definition() {
            Some(definition) => Some((definition.min, definition.max)),
            None => None,
        }
    }

    /// Whether the option may occur more than once, or `None` if the option is not known here.
    pub const fn is_repeatable(self) -> Option<bool> {
        match self.definition() {
            Some(definition) => Some(definition.repeatable),
            None => None,
        }
    }

    /// As [`OptionNumber::is_repeatable`], in a message with this code: ETag and Group-ETag may be repeated
    /// in a request and not in a response.
    pub const fn is_repeatable_in(self, code: Code) -> Option<bool> {
        match self {
            OptionNumber::ETAG | OptionNumber::GROUP_ETAG => Some(!code.is_response()),
            _ => self.is_repeatable(),
        }
    }

    /// Checks one option against its definition. `occurrence` counts the options of this number that came
    /// before it in the message, so that it is 0 for the first.
    ///
    /// An option that fails is to be treated as one that is not recognised: ignored if elective, a reason to
    /// reject the message if critical (RFC 7252, sections 5.4.1, 5.4.3 and 5.4.5). Unknown options pass.
    ///
    /// # Errors
    /// A length outside the limits, a string that is not UTF-8, or a repetition that is not allowed.
    pub fn check(self, value: &[u8], occurrence: usize) -> Result<(), OptionError> {
        let Some(Definition {
            format,
            min,
            max,
            repeatable,
            ..
        }) = self.definition()
        else {
            return Ok(());
        };
        if occurrence > 0 && !repeatable {
            return Err(OptionError::Surplus);
        }
        let found = value.len();
        if found < min || found > max {
            return Err(OptionError::Length { found, min, max });
        }
        if format == Format::String && core::str::from_utf8(value).is_err() {
            return Err(OptionError::NotUtf8);
        }
        Ok(())
    }
}

/// The name; the bare number if the option is not known here.
impl fmt::Display for OptionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "{}", self.0),
        }
    }
}

/// "Uri-Path(11)".
impl fmt::Debug for OptionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name().unwrap_or("Option"), self.0)
    }
}

#[cfg(test)]
mod tests;
