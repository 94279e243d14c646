//! The borrowed view of a message (RFC 7252, section 3). Every format error is decided here.

use core::fmt;
use core::iter::FusedIterator;

use crate::{Code, MessageId, OptionNumber, ParseError, ParseErrorKind, Token, decode_uint};

/// The byte between options and payload.
pub(crate) const PAYLOAD_MARKER: u8 = 0xff;
/// Version, type, token length; code; Message ID.
pub(crate) const HEADER_LEN: usize = 4;
/// Version 1 in the upper two bits of the first byte.
pub(crate) const VERSION_1: u8 = 0b0100_0000;

/// From this value on, delta and length have extension bytes.
const EXTENDED: usize = 13;

/// The type of a message (RFC 7252, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type {
    /// Confirmable.
    Con = 0,
    /// Non-confirmable.
    Non = 1,
    /// Acknowledgement.
    Ack = 2,
    /// Reset.
    Rst = 3,
}

impl Type {
    #[inline]
    const fn of(first: u8) -> Type {
        match (first >> 4) & 0b11 {
            0 => Type::Con,
            1 => Type::Non,
            2 => Type::Ack,
            _ => Type::Rst,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Type::Con => "CON",
            Type::Non => "NON",
            Type::Ack => "ACK",
            Type::Rst => "RST",
        })
    }
}

/// The header of a datagram, also of one that does not parse: it tells whether a Reset is due
/// (RFC 7252, section 4.2: a Confirmable message with a format error is rejected) and to which Message ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The message type.
    pub kind: Type,
    /// The code, whatever its class.
    pub code: Code,
    /// The Message ID.
    pub message_id: MessageId,
    /// The Token Length field, 0 to 15; above 8 the message is malformed.
    pub token_length: u8,
}

impl Header {
    /// Reads the first four bytes; `None` if there are fewer or the version is not 1. Nothing is ever
    /// answered to such datagrams.
    #[inline]
    pub const fn peek(bytes: &[u8]) -> Option<Header> {
        let &[first, code, id_high, id_low, ..] = bytes else {
            return None;
        };
        if first & 0b1100_0000 != VERSION_1 {
            return None;
        }
        Some(Header {
            kind: Type::of(first),
            code: Code::from_u8(code),
            message_id: MessageId(u16::from_be_bytes([id_high, id_low])),
            token_length: first & 0x0f,
        })
    }
}

/// One well-formed message, borrowed from the datagram.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    bytes: &'a [u8],
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Checks the format of the whole datagram and gives a view of it.
    ///
    /// Reserved code classes (1, 6, 7) and unknown codes parse: rejecting them is a rule of the message
    /// layer, see [`Code::is_reserved`]. Unknown, misplaced or wrongly sized options parse too; see
    /// [`OptionNumber::check`].
    ///
    /// # Errors
    /// The first format error from the front: header, Token, emptiness, options, payload.
    #[inline(always)]
    pub fn parse(bytes: &'a [u8]) -> Result<Message<'a>, ParseError> {
        let &[first, code, _, _, ref rest @ ..] = bytes else {
            return Err(ParseError {
                kind: ParseErrorKind::TooShort,
                offset: bytes.len(),
            });
        };
        if first & 0b1100_0000 != VERSION_1 {
            return Err(ParseError {
                kind: ParseErrorKind::Version(first >> 6),
                offset: 0,
            });
        }
        let token_length = first & 0x0f;
        if token_length > 8 {
            let kind = match token_length {
                13 | 14 => ParseErrorKind::ExtendedToken(token_length),
                _ => ParseErrorKind::TokenLength(token_length),
            };
            return Err(ParseError { kind, offset: 0 });
        }
        if code == 0 && (token_length != 0 || !rest.is_empty()) {
            let offset = if rest.is_empty() { 0 } else { HEADER_LEN };
            return Err(ParseError {
                kind: ParseErrorKind::EmptyMessageNotEmpty,
                offset,
            });
        }
        let Some(tail) = rest.get(usize::from(token_length)..) else {
            return Err(ParseError {
                kind: ParseErrorKind::TokenTruncated,
                offset: HEADER_LEN,
            });
        };
        let (options, payload) = split_tail(tail)
            .map_err(|error| error.behind(HEADER_LEN + usize::from(token_length)))?;
        Ok(Message {
            bytes,
            options,
            payload,
        })
    }

    /// The message type.
    #[inline]
    pub fn kind(&self) -> Type {
        Type::of(self.first())
    }

    /// The code.
    #[inline]
    pub fn code(&self) -> Code {
        Code::from_u8(self.bytes.get(1).copied().unwrap_or_default())
    }

    /// The Message ID.
    #[inline]
    pub fn message_id(&self) -> MessageId {
        match *self.bytes {
            [_, _, high, low, ..] => MessageId(u16::from_be_bytes([high, low])),
            _ => MessageId(0), // not reached: a view has at least the header
        }
    }

    /// The Token.
    #[inline]
    pub fn token(&self) -> Token {
        let len = self.first() & 0x0f;
        match self.bytes.first_chunk::<{ HEADER_LEN + Token::MAX_LEN }>() {
            Some([_, _, _, _, eight @ ..]) => Token::cut(*eight, len),
            None => {
                let end = HEADER_LEN + usize::from(len);
                self.bytes
                    .get(HEADER_LEN..end)
                    .and_then(Token::new)
                    .unwrap_or(Token::EMPTY)
            }
        }
    }

    /// The options, in the order of the message.
    #[inline]
    pub fn options(&self) -> Options<'a> {
        Options::new(self.options)
    }

    /// The first option of this number.
    pub fn option(&self, number: OptionNumber) -> Option<&'a [u8]> {
        self.options_of(number).next()
    }

    /// The values of all options of this number, in order.
    pub fn options_of(
        &self,
        number: OptionNumber,
    ) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        // Numbers never fall, so that everything behind the first larger one is of no interest.
        self.options()
            .take_while(move |option| option.number <= number)
            .filter(move |option| option.number == number)
            .map(|option| option.value)
    }

    /// The first option of this number, read as an unsigned integer; `None` if absent or above `u32`.
    pub fn uint(&self, number: OptionNumber) -> Option<u32> {
        self.option(number).and_then(decode_uint)
    }

    /// The payload, empty when there is none.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// All bytes after the Token: options, marker and payload. With code and Token this is what makes
    /// two messages the same.
    #[inline]
    pub fn options_and_payload(&self) -> &'a [u8] {
        let start = HEADER_LEN + usize::from(self.first() & 0x0f);
        self.bytes.get(start..).unwrap_or_default()
    }

    /// The whole datagram.
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    #[inline]
    fn first(&self) -> u8 {
        self.bytes.first().copied().unwrap_or_default()
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("kind", &self.kind())
            .field("code", &self.code())
            .field("message_id", &self.message_id())
            .field("token", &self.token())
            .field("options", &self.options())
            .field("payload", &self.payload())
            .finish()
    }
}

impl ParseError {
    /// The same error, found `start` bytes further into the input.
    fn behind(self, start: usize) -> ParseError {
        ParseError {
            kind: self.kind,
            offset: self.offset + start,
        }
    }
}

/// Divides what follows the Token into options and payload, and checks both.
///
/// This runs for every datagram, so that it only finds out whether all is well: numbers only grow, and an
/// option that is cut off puts `at` beyond the end, so that both are looked at once, behind the loop.
#[inline(always)]
fn split_tail(tail: &[u8]) -> Result<(&[u8], &[u8]), ParseError> {
    let (mut at, mut number) = (0_usize, 0_u64);
    let end = loop {
        let Some(&first) = tail.get(at) else {
            break at;
        };
        let (delta, length) = (usize::from(first >> 4), usize::from(first & 0x0f));
        at += 1;
        if delta.max(length) >= EXTENDED {
            if first == PAYLOAD_MARKER {
                break at - 1;
            }
            let behind = tail.get(at..).unwrap_or_default();
            let mut rest = behind;
            let (Some(extended_delta), Some(extended_length)) =
                (extend(delta, &mut rest), extend(length, &mut rest))
            else {
                return Err(first_error(tail));
            };
            number += extended_delta as u64;
            at += extended_length + (behind.len() - rest.len());
            continue;
        }
        number += delta as u64;
        at += length;
    };
    match (tail.get(..end), tail.get(at..)) {
        (Some(options), Some(payload))
            if number <= 0xffff && (at == end || !payload.is_empty()) =>
        {
            Ok((options, payload))
        }
        _ => Err(first_error(tail)),
    }
}

/// The first format error of options and payload that are known to have one, step by step.
#[cold]
fn first_error(tail: &[u8]) -> ParseError {
    let mut rest = tail;
    let mut number = 0;
    loop {
        let error = |kind| ParseError {
            kind,
            offset: tail.len() - rest.len(),
        };
        let Some((&first, mut behind)) = rest.split_first() else {
            // Not reached: there is an error before the end.
            return error(ParseErrorKind::OptionTruncated);
        };
        if first == PAYLOAD_MARKER {
            return error(ParseErrorKind::PayloadMarkerWithoutPayload);
        }
        let (delta, length) = (usize::from(first >> 4), usize::from(first & 0x0f));
        if delta == 15 {
            return error(ParseErrorKind::OptionDelta15);
        }
        if length == 15 {
            return error(ParseErrorKind::OptionLength15);
        }
        let (Some(delta), Some(length)) = (extend(delta, &mut behind), extend(length, &mut behind))
        else {
            return error(ParseErrorKind::OptionTruncated);
        };
        number += delta;
        if number > 0xffff {
            return error(ParseErrorKind::OptionNumberOverflow);
        }
        match behind.get(length..) {
            Some(behind) => rest = behind,
            None => return error(ParseErrorKind::OptionTruncated),
        }
    }
}

/// The value of a delta or length field with its extension bytes (RFC 7252, section 3.1), which are taken
/// from the front of `rest`. `None` if they are missing or the field is the reserved 15.
#[inline]
fn extend(nibble: usize, rest: &mut &[u8]) -> Option<usize> {
    match nibble {
        0..=12 => Some(nibble),
        13 => {
            let (&byte, behind) = rest.split_first()?;
            *rest = behind;
            Some(usize::from(byte) + 13)
        }
        14 => {
            let (bytes, behind) = rest.split_first_chunk()?;
            *rest = behind;
            Some(usize::from(u16::from_be_bytes(*bytes)) + 269)
        }
        _ => None,
    }
}

/// One option of a message.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Opt<'a> {
    /// The option number.
    pub number: OptionNumber,
    /// The bytes of the value.
    pub value: &'a [u8],
}

impl<'a> Opt<'a> {
    /// The value as an unsigned integer; `None` if it does not fit 32 bits.
    pub fn as_uint(&self) -> Option<u32> {
        decode_uint(self.value)
    }

    /// The value as text; `None` if it is not UTF-8.
    pub fn as_str(&self) -> Option<&'a str> {
        core::str::from_utf8(self.value).ok()
    }
}

impl fmt::Debug for Opt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:02x?}", self.number, self.value)
    }
}

/// The options of a message, in ascending order of number, equal numbers in the order of the message.
#[derive(Clone, PartialEq, Eq)]
pub struct Options<'a> {
    rest: &'a [u8],
    number: u16,
}

impl<'a> Options<'a> {
    /// `bytes` have gone through [`split_tail`].
    #[inline]
    const fn new(bytes: &'a [u8]) -> Options<'a> {
        Options {
            rest: bytes,
            number: 0,
        }
    }

    /// Checks and divides a sequence of options with an optional payload that has no header before it,
    /// such as the plaintext of a protected message after its code.
    ///
    /// # Errors
    /// As [`Message::parse`], with offsets into `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<(Options<'a>, &'a [u8]), ParseError> {
        let (options, payload) = split_tail(bytes)?;
        Ok((Options::new(options), payload))
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Opt<'a>;

    // The bytes are checked: nothing in here fails, and the numbers do not overflow.
    #[inline]
    fn next(&mut self) -> Option<Opt<'a>> {
        let (&first, mut behind) = self.rest.split_first()?;
        let (mut delta, mut length) = (usize::from(first >> 4), usize::from(first & 0x0f));
        if delta.max(length) >= EXTENDED {
            delta = extend(delta, &mut behind)?;
            length = extend(length, &mut behind)?;
        }
        let (value, rest) = behind.split_at_checked(length)?;
        self.number = self.number.wrapping_add(delta as u16);
        self.rest = rest;
        Some(Opt {
            number: OptionNumber(self.number),
            value,
        })
    }
}

impl FusedIterator for Options<'_> {}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

#[cfg(test)]
mod tests;
