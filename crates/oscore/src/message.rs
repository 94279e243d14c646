//! Which part of a message is protected, and how it is put together again (RFC 8613, sections 4 and 5.3).
//!
//! Class E options, code and payload go inside; class U options stay outside. RFC 8613 defines no class I
//! option, and none of its successors that are spoken here does.

use alloc::vec;
use alloc::vec::Vec;

use antiphon_wire::{Code, Message, MessageId, OptionNumber, Options, Token, Type, Uri, Writer};

/// What protection adds to a message at most, beside ciphertext tag and countersignature: the OSCORE option
/// with its header, a payload marker and the inner code.
const ROOM: usize = 3 + 255 + 1 + 1;

/// A message that cannot be protected, or a plaintext that is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageRefused {
    /// The message has an OSCORE option already: protection is not nested (RFC 8613, section 4.1.3.7).
    Nested,
    /// The code is of the other kind: a response where a request belongs, or neither.
    Code,
    /// A Proxy-Uri that cannot be taken apart (RFC 8613, section 4.1.3.3).
    ProxyUri,
    /// An option is too long to be written.
    Option,
    /// The plaintext is empty, or its options and payload are malformed.
    Plaintext,
}

/// Where an option belongs that the sender put into a message (RFC 8613, section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionClass {
    /// Encrypted and integrity protected: inside.
    E,
    /// Unprotected: outside.
    U,
    /// Observe: inside and outside (RFC 8613, section 4.1.3.5).
    Both,
}

impl OptionClass {
    /// The class of an option. Whatever is not known is class E (RFC 8613, section 4.1).
    pub const fn of(number: OptionNumber) -> OptionClass {
        match number {
            OptionNumber::URI_HOST
            | OptionNumber::URI_PORT
            | OptionNumber::OSCORE
            | OptionNumber::PROXY_URI
            | OptionNumber::PROXY_SCHEME
            // RFC 8768 section 3, RFC 9668 section 3.1.
            | OptionNumber::HOP_LIMIT
            | OptionNumber::EDHOC
            // draft-ietf-core-groupcomm-proxy, sections 3, 4 and 8.
            | OptionNumber::MULTICAST_TIMEOUT
            | OptionNumber::REPLY_FROM
            | OptionNumber::GROUP_ETAG => OptionClass::U,
            OptionNumber::OBSERVE => OptionClass::Both,
            _ => OptionClass::E,
        }
    }
}

/// Whether a message asks or answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Request,
    Response,
}

impl Direction {
    const fn fits(self, code: Code) -> bool {
        match self {
            Direction::Request => code.is_request(),
            Direction::Response => code.is_response(),
        }
    }

    /// The code that is seen from outside (RFC 8613, sections 4.2 and 4.1.3.5).
    const fn outer_code(self, observe: bool) -> Code {
        match (self, observe) {
            (Direction::Request, false) => Code::POST,
            (Direction::Request, true) => Code::FETCH,
            (Direction::Response, false) => Code::CHANGED,
            (Direction::Response, true) => Code::CONTENT,
        }
    }
}

/// What one look at the options of a message tells about its protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    direction: Direction,
    /// The message has an Observe option.
    pub(crate) observe: bool,
    proxy_uri: bool,
    /// All options are class E, so that options and payload go inside as they are.
    all_inner: bool,
}

impl Split {
    pub(crate) fn of(message: &Message<'_>, direction: Direction) -> Result<Split, MessageRefused> {
        if !direction.fits(message.code()) {
            return Err(MessageRefused::Code);
        }
        let mut split = Split {
            direction,
            observe: false,
            proxy_uri: false,
            all_inner: true,
        };
        for option in message.options() {
            match option.number {
                OptionNumber::OSCORE => return Err(MessageRefused::Nested),
                OptionNumber::OBSERVE => split.observe = true,
                OptionNumber::PROXY_URI => split.proxy_uri = true,
                _ => {}
            }
            split.all_inner &= OptionClass::of(option.number) == OptionClass::E;
        }
        Ok(split)
    }

    /// Appends the plaintext of the COSE object: code, class E options, payload (RFC 8613, section 5.3).
    pub(crate) fn write_plaintext(
        &self,
        message: &Message<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), MessageRefused> {
        out.push(message.code().to_u8());
        if self.all_inner {
            out.extend_from_slice(message.options_and_payload());
            return Ok(());
        }
        let taken_apart = match message.option(OptionNumber::PROXY_URI) {
            Some(text) if self.proxy_uri => Some(ProxyUri::split(text)?),
            _ => None,
        };
        let start = out.len();
        // Taking options out can make the header of the next one longer, by at most two bytes.
        let options = message.options().count();
        let more = taken_apart.as_ref().map_or(0, ProxyUri::inner_len);
        out.resize(
            start + message.as_bytes().len() + 2 * options + more + ROOM,
            0,
        );
        let mut writer = Writer::tail(out.get_mut(start..).unwrap_or_default());
        // What is left of Proxy-Uri stands where Uri-Path and Uri-Query of the message would.
        let mut pending = taken_apart.iter().flat_map(ProxyUri::inner).peekable();
        for option in message.options() {
            let number = option.number;
            while let Some((number, value)) = pending.next_if(|(inner, _)| *inner < number) {
                writer
                    .option(number, value)
                    .map_err(|_| MessageRefused::Option)?;
            }
            // Proxy-Uri takes precedence over Uri-* (RFC 7252, section 5.10.2).
            let overruled = taken_apart.is_some()
                && matches!(number, OptionNumber::URI_PATH | OptionNumber::URI_QUERY);
            let value: &[u8] = match OptionClass::of(number) {
                OptionClass::U => continue,
                _ if overruled => continue,
                // "For notifications, the Inner Observe option value MUST be empty" (section 4.1.3.5.2).
                OptionClass::Both if self.direction == Direction::Response => &[],
                _ => option.value,
            };
            writer
                .option(number, value)
                .map_err(|_| MessageRefused::Option)?;
        }
        for (number, value) in pending {
            writer
                .option(number, value)
                .map_err(|_| MessageRefused::Option)?;
        }
        writer
            .payload(message.payload())
            .map_err(|_| MessageRefused::Option)?;
        let end = start + writer.finish();
        out.truncate(end);
        Ok(())
    }

    /// The protected message: header and token as they are, outer code, class U options, the OSCORE option
    /// and `payload` (RFC 8613, section 4), with room for so many more bytes to be appended.
    pub(crate) fn outer(
        &self,
        message: &Message<'_>,
        option_value: &[u8],
        payload: &[u8],
        room: usize,
    ) -> Result<Vec<u8>, MessageRefused> {
        let code = self.direction.outer_code(self.observe);
        let head = message.as_bytes().len() - message.options_and_payload().len();
        if self.all_inner && option_value.len() <= 12 {
            // By far the most frequent case: the OSCORE option is the only one.
            let len = head + 2 + option_value.len() + payload.len();
            let mut out = Vec::with_capacity(len + room);
            out.extend_from_slice(message.as_bytes().get(..head).unwrap_or_default());
            if let Some(byte) = out.get_mut(1) {
                *byte = code.to_u8();
            }
            out.push(0x90 | option_value.len() as u8);
            out.extend_from_slice(option_value);
            out.push(0xff);
            out.extend_from_slice(payload);
            return Ok(out);
        }
        let options: usize = message.options().map(|option| option.value.len() + 5).sum();
        let mut out = vec![0; head + options + option_value.len() + ROOM];
        let mut writer = Writer::new(
            &mut out,
            message.kind(),
            code,
            message.message_id(),
            message.token(),
        )
        .map_err(|_| MessageRefused::Option)?;
        let mut written = false;
        for option in message.options() {
            if OptionClass::of(option.number) == OptionClass::E {
                continue;
            }
            if !written && option.number > OptionNumber::OSCORE {
                written = true;
                writer
                    .option(OptionNumber::OSCORE, option_value)
                    .map_err(|_| MessageRefused::Option)?;
            }
            let composed;
            let value = match option.number {
                OptionNumber::PROXY_URI => {
                    composed = ProxyUri::split(option.value)?.outer;
                    composed.as_slice()
                }
                _ => option.value,
            };
            writer
                .option(option.number, value)
                .map_err(|_| MessageRefused::Option)?;
        }
        if !written {
            writer
                .option(OptionNumber::OSCORE, option_value)
                .map_err(|_| MessageRefused::Option)?;
        }
        let end = writer.finish();
        out.truncate(end);
        out.reserve_exact(1 + payload.len() + room);
        out.push(0xff);
        out.extend_from_slice(payload);
        Ok(out)
    }
}

/// A Proxy-Uri taken apart (RFC 8613, section 4.1.3.3).
struct ProxyUri {
    /// Scheme, host and port: what a proxy needs.
    outer: Vec<u8>,
    /// Uri-Path and Uri-Query.
    inner: Vec<(OptionNumber, Vec<u8>)>,
}

impl ProxyUri {
    fn split(text: &[u8]) -> Result<ProxyUri, MessageRefused> {
        let text = core::str::from_utf8(text).map_err(|_| MessageRefused::ProxyUri)?;
        let uri = Uri::parse(text).map_err(|_| MessageRefused::ProxyUri)?;
        let start = text.find("://").ok_or(MessageRefused::ProxyUri)? + 3;
        let behind = text.get(start..).unwrap_or_default();
        let end = start + behind.find(['/', '?', '#']).unwrap_or(behind.len());
        let mut outer = text.get(..end).unwrap_or_default();
        if let Some((before, port)) = outer.rsplit_once(':') {
            // A port that the scheme implies is left out (RFC 7252, section 6.5).
            let default = Uri::parse(before).map(|uri| uri.effective_port());
            if port.is_empty() || (!port.contains(']') && default == Ok(uri.effective_port())) {
                outer = before;
            }
        }
        let mut inner = Vec::new();
        for segment in uri.path_segments() {
            inner.push((OptionNumber::URI_PATH, segment.bytes().collect()));
        }
        for item in uri.query_items() {
            inner.push((OptionNumber::URI_QUERY, item.bytes().collect()));
        }
        Ok(ProxyUri {
            outer: outer.as_bytes().to_vec(),
            inner,
        })
    }

    fn inner(&self) -> impl Iterator<Item = (OptionNumber, &[u8])> {
        self.inner
            .iter()
            .map(|(number, value)| (*number, value.as_slice()))
    }

    fn inner_len(&self) -> usize {
        self.inner.iter().map(|(_, value)| value.len() + 5).sum()
    }
}

/// What the plaintext of a verified message says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inner<'a> {
    code: Code,
    tail: &'a [u8],
    /// There is an inner Observe option.
    pub(crate) observe: bool,
    /// The Echo option, if there is one.
    pub(crate) echo: Option<&'a [u8]>,
    /// Options that also occur outside are there only once.
    outer_kind: bool,
}

impl<'a> Inner<'a> {
    pub(crate) fn parse(
        plaintext: &'a [u8],
        direction: Direction,
    ) -> Result<Inner<'a>, MessageRefused> {
        let (&code, tail) = plaintext.split_first().ok_or(MessageRefused::Plaintext)?;
        let code = Code::from_u8(code);
        if !direction.fits(code) {
            return Err(MessageRefused::Code);
        }
        let (options, _) = Options::parse(tail).map_err(|_| MessageRefused::Plaintext)?;
        let mut inner = Inner {
            code,
            tail,
            observe: false,
            echo: None,
            outer_kind: false,
        };
        for option in options {
            match option.number {
                OptionNumber::OSCORE => return Err(MessageRefused::Nested),
                OptionNumber::OBSERVE => inner.observe = true,
                OptionNumber::ECHO => inner.echo = inner.echo.or(Some(option.value)),
                number => inner.outer_kind |= OptionClass::of(number) == OptionClass::U,
            }
        }
        Ok(inner)
    }

    /// The plain message: type, Message ID and token of the outer one, its class U options, and code,
    /// options and payload from inside (RFC 8613, sections 8.2 and 8.4, steps 1 and 7).
    ///
    /// `notification` is the value for an Observe option, in place of the one inside.
    pub(crate) fn rebuild(
        &self,
        outer: &Message<'_>,
        notification: Option<u32>,
    ) -> Result<Vec<u8>, MessageRefused> {
        let header = Header::of(outer);
        let keeps =
            |number| number != OptionNumber::OSCORE && OptionClass::of(number) == OptionClass::U;
        let kept = outer.options().any(|option| keeps(option.number));
        let replaced = self.observe && notification.is_some();
        if !kept && !replaced {
            return Ok(header.with(self.code, self.tail));
        }
        let (options, payload) =
            Options::parse(self.tail).map_err(|_| MessageRefused::Plaintext)?;
        let room: usize = outer.options().map(|option| option.value.len() + 5).sum();
        let count = options.clone().count();
        let mut out = vec![0; ROOM + room + self.tail.len() + 2 * count];
        let mut writer = Writer::new(
            &mut out,
            header.kind,
            self.code,
            header.message_id,
            header.token,
        )
        .map_err(|_| MessageRefused::Option)?;
        let inside =
            |number| self.outer_kind && options.clone().any(|option| option.number == number);
        // What is protected takes the place of what is not.
        let mut outside = outer
            .options()
            .filter(|option| keeps(option.number) && !inside(option.number))
            .peekable();
        for option in options.clone() {
            while let Some(first) = outside.next_if(|first| first.number < option.number) {
                writer
                    .option(first.number, first.value)
                    .map_err(|_| MessageRefused::Option)?;
            }
            match notification {
                Some(value) if option.number == OptionNumber::OBSERVE => {
                    writer.uint_option(option.number, value)
                }
                _ => writer.option(option.number, option.value),
            }
            .map_err(|_| MessageRefused::Option)?;
        }
        for option in outside {
            writer
                .option(option.number, option.value)
                .map_err(|_| MessageRefused::Option)?;
        }
        writer
            .payload(payload)
            .map_err(|_| MessageRefused::Option)?;
        let end = writer.finish();
        out.truncate(end);
        Ok(out)
    }
}

/// What of a message outlives its bytes.
#[derive(Clone, Copy, Debug)]
struct Header {
    kind: Type,
    message_id: MessageId,
    token: Token,
}

impl Header {
    fn of(message: &Message<'_>) -> Header {
        Header {
            kind: message.kind(),
            message_id: message.message_id(),
            token: message.token(),
        }
    }

    /// A message of this header and of options and payload that are already encoded.
    fn with(self, code: Code, tail: &[u8]) -> Vec<u8> {
        let token = self.token.as_bytes();
        let [high, low] = self.message_id.0.to_be_bytes();
        let first = 0x40 | ((self.kind as u8) << 4) | token.len() as u8;
        let mut out = Vec::with_capacity(4 + token.len() + tail.len());
        out.extend_from_slice(&[first, code.to_u8(), high, low]);
        out.extend_from_slice(token);
        out.extend_from_slice(tail);
        out
    }
}

#[cfg(test)]
mod tests;
