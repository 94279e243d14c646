//! What can be wrong: in a datagram, in what shall be written, in an option.

use core::fmt;

/// A message format error: what is wrong, and at which byte of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParseError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// Where: the first byte of the field that is wrong. For an option this is its first byte
    /// (the one with delta and length), for the payload the marker.
    pub offset: usize,
}

/// The kinds of message format errors (RFC 7252, section 3; RFC 8974, section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// Fewer than the four bytes of the header. Offset: the length of the input.
    TooShort,
    /// A version other than 1. Such a message is to be ignored silently, never reset.
    Version(u8),
    /// A Token Length of 9 to 12 or 15, which are reserved.
    TokenLength(u8),
    /// A Token Length of 13 or 14: an extended Token (RFC 8974), which is not supported here. As that
    /// document demands of such an endpoint, it is a format error and never read as options or payload.
    ExtendedToken(u8),
    /// The input ends within the Token. Offset: where the Token begins.
    TokenTruncated,
    /// Code 0.00 together with a Token, options or a payload (RFC 7252, section 4.1). Offset 0 if only the
    /// Token Length contradicts, else 4.
    EmptyMessageNotEmpty,
    /// An option delta of 15 in a byte that is not the payload marker.
    OptionDelta15,
    /// An option length of 15, which is reserved.
    OptionLength15,
    /// The input ends within an option.
    OptionTruncated,
    /// The option numbers add up to more than 65535.
    OptionNumberOverflow,
    /// A payload marker with nothing behind it.
    PayloadMarkerWithoutPayload,
}

impl fmt::Display for ParseErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseErrorKind::TooShort => f.write_str("shorter than the header of four bytes"),
            ParseErrorKind::Version(version) => write!(f, "version {version} instead of 1"),
            ParseErrorKind::TokenLength(length) => write!(f, "reserved token length {length}"),
            ParseErrorKind::ExtendedToken(length) => {
                write!(f, "extended token (token length {length}) is not supported")
            }
            ParseErrorKind::TokenTruncated => f.write_str("token is cut off"),
            ParseErrorKind::EmptyMessageNotEmpty => {
                f.write_str("code 0.00 with a token, options or a payload")
            }
            ParseErrorKind::OptionDelta15 => f.write_str("reserved option delta 15"),
            ParseErrorKind::OptionLength15 => f.write_str("reserved option length 15"),
            ParseErrorKind::OptionTruncated => f.write_str("option is cut off"),
            ParseErrorKind::OptionNumberOverflow => f.write_str("option number above 65535"),
            ParseErrorKind::PayloadMarkerWithoutPayload => {
                f.write_str("payload marker without payload")
            }
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.kind, self.offset)
    }
}

impl core::error::Error for ParseError {}

/// Why something cannot be written. What had been written before is untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EncodeError {
    /// The buffer ends too early.
    BufferTooSmall {
        /// How long, in bytes, the buffer must be for the message up to and including this element.
        needed: usize,
    },
    /// The option's number is smaller than the one written before it.
    OptionOrder,
    /// The option's value is longer than 65804 bytes, the longest that the format can express.
    OptionTooLong,
    /// Something was to follow the payload, or an encoded body was to follow options.
    AfterPayload,
    /// Code 0.00 together with a Token, an option or a payload (RFC 7252, section 4.1).
    EmptyMessageNotEmpty,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncodeError::BufferTooSmall { needed } => {
                write!(f, "the buffer is too small, {needed} bytes are needed")
            }
            EncodeError::OptionOrder => f.write_str("options are not in ascending order"),
            EncodeError::OptionTooLong => f.write_str("option value longer than 65804 bytes"),
            EncodeError::AfterPayload => f.write_str("nothing may follow the payload"),
            EncodeError::EmptyMessageNotEmpty => {
                f.write_str("code 0.00 with a token, an option or a payload")
            }
        }
    }
}

impl core::error::Error for EncodeError {}

/// Why a known option is to be treated as unrecognised (RFC 7252, sections 5.4.3 and 5.4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OptionError {
    /// The length of the value is outside the limits of the option's definition.
    Length {
        /// The length found, in bytes.
        found: usize,
        /// The shortest allowed, in bytes.
        min: usize,
        /// The longest allowed, in bytes.
        max: usize,
    },
    /// The value of a string option is not UTF-8.
    NotUtf8,
    /// The option may occur once and this is a further occurrence.
    Surplus,
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptionError::Length { found, min, max } => {
                write!(
                    f,
                    "option value of {found} bytes, allowed are {min} to {max}"
                )
            }
            OptionError::NotUtf8 => f.write_str("option value is not UTF-8"),
            OptionError::Surplus => f.write_str("option occurs more often than allowed"),
        }
    }
}

impl core::error::Error for OptionError {}
