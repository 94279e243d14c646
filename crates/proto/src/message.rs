//! Requests and responses as the application holds them: owned, and free of everything that belongs
//! to one transmission (type, Message ID, token).

use alloc::vec::Vec;
use core::fmt;

use antiphon_wire::{Code, ContentFormat, EncodeError, Message, OptionNumber, Writer, encode_uint};

/// Options in the order of their numbers; equal numbers keep the order in which they were pushed.
///
/// Two allocations hold any number of options, and [`clear`](Self::clear) keeps both.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Options {
    entries: Vec<Entry>,
    values: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    number: OptionNumber,
    start: u32,
    len: u32,
}

impl Options {
    /// No options.
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Adds one option after those with the same or a lower number.
    ///
    /// A value longer than 65,804 bytes cannot be encoded (RFC 7252 section 3.1) and is refused when the message is written.
    pub fn push(&mut self, number: OptionNumber, value: &[u8]) -> &mut Self {
        let entry = Entry {
            number,
            start: u32::try_from(self.values.len()).unwrap_or(u32::MAX),
            len: u32::try_from(value.len()).unwrap_or(u32::MAX),
        };
        self.values.extend_from_slice(value);
        let at = self.entries.partition_point(|e| e.number <= number);
        self.entries.insert(at, entry);
        self
    }

    /// Adds an unsigned integer in its shortest form; zero is the empty value (RFC 7252 section 3.2).
    pub fn push_uint(&mut self, number: OptionNumber, value: u32) -> &mut Self {
        self.push(number, encode_uint(value).as_bytes())
    }

    /// Replaces all options of this number by one.
    pub fn set(&mut self, number: OptionNumber, value: &[u8]) -> &mut Self {
        self.remove(number);
        self.push(number, value)
    }

    /// Removes all options of this number.
    pub fn remove(&mut self, number: OptionNumber) {
        self.entries.retain(|e| e.number != number);
    }

    /// The first option of this number.
    pub fn get(&self, number: OptionNumber) -> Option<&[u8]> {
        self.all(number).next()
    }

    /// Every option of this number, in order.
    pub fn all(&self, number: OptionNumber) -> impl Iterator<Item = &[u8]> {
        self.iter()
            .filter(move |(n, _)| *n == number)
            .map(|(_, v)| v)
    }

    /// All options in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (OptionNumber, &[u8])> {
        self.entries.iter().map(|e| (e.number, self.value(e)))
    }

    /// Forgets all options and keeps the memory.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.values.clear();
    }

    /// How many options there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Writes all options into a message under construction.
    ///
    /// # Errors
    /// Whatever the writer refuses: the buffer is too small or a value too long.
    pub fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        for (number, value) in self.iter() {
            writer.option(number, value)?;
        }
        Ok(())
    }

    fn value(&self, entry: &Entry) -> &[u8] {
        let start = entry.start as usize;
        self.values
            .get(start..start.saturating_add(entry.len as usize))
            .unwrap_or_default()
    }
}

/// How many bytes a message with such a token, these options and a payload of this length takes (RFC 7252 section 3).
pub(crate) fn encoded_len(token: usize, options: &Options, payload: usize) -> usize {
    const HEADER: usize = 4;
    let extended = |value: usize| match value {
        0..=12 => 0,
        13..=268 => 1,
        _ => 2,
    };
    let mut length = HEADER + token;
    let mut previous = 0;
    for (number, value) in options.iter() {
        let delta = usize::from(number.0.saturating_sub(previous));
        previous = number.0;
        length += 1 + extended(delta) + extended(value.len()) + value.len();
    }
    match payload {
        0 => length,
        payload => length + 1 + payload,
    }
}

impl<'a> From<&Message<'a>> for Options {
    fn from(message: &Message<'a>) -> Self {
        let mut options = Self::new();
        for option in message.options() {
            options.push(option.number, option.value);
        }
        options
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// What a client asks: a method, options and a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// GET, POST, PUT, DELETE, FETCH, PATCH or iPATCH.
    pub method: Code,
    /// The options, target (Uri-Host, Uri-Path, Uri-Query) included.
    pub options: Options,
    /// The payload; empty means none (a payload marker is never written before nothing).
    pub payload: Vec<u8>,
}

impl Request {
    /// A request without options and payload.
    pub const fn new(method: Code) -> Self {
        Self {
            method,
            options: Options::new(),
            payload: Vec::new(),
        }
    }

    /// Adds one Uri-Path option for each segment of `path` (split at `/`; empty segments at either end are dropped). Segments are taken literally: no percent-decoding.
    pub fn path(mut self, path: &str) -> Self {
        let path = path.trim_matches('/');
        if !path.is_empty() {
            for segment in path.split('/') {
                self.options
                    .push(OptionNumber::URI_PATH, segment.as_bytes());
            }
        }
        self
    }

    /// Adds one Uri-Query option.
    pub fn query(mut self, item: &str) -> Self {
        self.options.push(OptionNumber::URI_QUERY, item.as_bytes());
        self
    }

    /// Adds any option.
    pub fn option(mut self, number: OptionNumber, value: &[u8]) -> Self {
        self.options.push(number, value);
        self
    }

    /// Sets the payload and its Content-Format.
    pub fn payload(mut self, format: ContentFormat, payload: impl Into<Vec<u8>>) -> Self {
        self.options.remove(OptionNumber::CONTENT_FORMAT);
        self.options
            .push_uint(OptionNumber::CONTENT_FORMAT, u32::from(format.0));
        self.payload = payload.into();
        self
    }
}

/// What a server answers: a code, options and a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The response code.
    pub code: Code,
    /// The options.
    pub options: Options,
    /// The payload; empty means none.
    pub payload: Vec<u8>,
}

impl Response {
    /// A response without options and payload.
    pub const fn new(code: Code) -> Self {
        Self {
            code,
            options: Options::new(),
            payload: Vec::new(),
        }
    }

    /// Sets the payload and its Content-Format.
    pub fn with_payload(mut self, format: ContentFormat, payload: &[u8]) -> Self {
        self.set_payload(format, payload);
        self
    }

    /// Sets the payload and its Content-Format in place, reusing memory.
    pub fn set_payload(&mut self, format: ContentFormat, payload: &[u8]) {
        self.options.remove(OptionNumber::CONTENT_FORMAT);
        self.options
            .push_uint(OptionNumber::CONTENT_FORMAT, u32::from(format.0));
        self.payload.clear();
        self.payload.extend_from_slice(payload);
    }

    /// Back to an empty response with `code`, keeping the memory.
    pub fn reset(&mut self, code: Code) {
        self.code = code;
        self.options.clear();
        self.payload.clear();
    }
}

impl<'a> From<&Message<'a>> for Response {
    fn from(message: &Message<'a>) -> Self {
        Self {
            code: message.code(),
            options: Options::from(message),
            payload: message.payload().to_vec(),
        }
    }
}

impl<'a> From<&Message<'a>> for Request {
    fn from(message: &Message<'a>) -> Self {
        Self {
            method: message.code(),
            options: Options::from(message),
            payload: message.payload().to_vec(),
        }
    }
}

/// An upper bound of the encoded length of a message.
pub(crate) fn encoded_bound(options: &Options, payload: &[u8]) -> usize {
    // Header, token, marker; each option has at most five bytes before its value.
    let options: usize = options.iter().map(|(_, value)| value.len() + 5).sum();
    4 + 8 + 1 + options + payload.len()
}
