//! Which part of a message is protected, and how it is put together again (RFC 8613, sections 4 and 5.3).
//!
//! Class E options, code and payload go inside; class U options stay outside. RFC 8613 defines no class I
//! option, and none of its successors that are spoken here does.

use alloc::vec::Vec;

use antiphon_wire::{Code, Message, OptionNumber, Options, Uri, Writer, encode_uint};

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
            all_inner: true,
        };
        for option in message.options() {
            match option.number {
                OptionNumber::OSCORE => return Err(MessageRefused::Nested),
                OptionNumber::OBSERVE => split.observe = true,
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
        let taken_apart = ProxyUri::of(message)?;
        let own = message.options().filter_map(|option| {
            let value = match (OptionClass::of(option.number), option.number) {
                (OptionClass::U, _) => return None,
                // Proxy-Uri takes precedence over Uri-* (RFC 7252, section 5.10.2).
                (_, OptionNumber::URI_PATH | OptionNumber::URI_QUERY) if taken_apart.is_some() => {
                    return None;
                }
                // "For notifications, the Inner Observe option value MUST be empty" (section 4.1.3.5.2).
                (OptionClass::Both, _) if self.direction == Direction::Response => &[],
                _ => option.value,
            };
            Some((option.number, value))
        });
        // What is left of Proxy-Uri stands where Uri-Path and Uri-Query of the message would.
        let inner = own.chain(taken_apart.iter().flat_map(ProxyUri::inner));
        write_options(out, inner.collect())?;
        write_payload(out, message.payload());
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
        if self.all_inner && option_value.len() <= 12 {
            // By far the most frequent case: the OSCORE option is the only one.
            let more = 2 + option_value.len() + payload.len() + room;
            let mut out = with_code(message, code, more);
            out.push(0x90 + option_value.len() as u8);
            out.extend_from_slice(option_value);
            write_payload(&mut out, payload);
            return Ok(out);
        }
        let taken_apart = ProxyUri::of(message)?;
        let outside = message
            .options()
            .filter(|option| OptionClass::of(option.number) != OptionClass::E);
        let outside = outside.map(|option| match (option.number, &taken_apart) {
            (OptionNumber::PROXY_URI, Some(uri)) => (option.number, uri.outer.as_slice()),
            _ => (option.number, option.value),
        });
        let mut options: Vec<_> = outside.collect();
        options.push((OptionNumber::OSCORE, option_value));
        let mut out = with_code(message, code, 0);
        write_options(&mut out, options)?;
        write_payload(&mut out, payload);
        Ok(out)
    }
}

/// The first bytes of a message, its Token included, with another code and with room for so many more.
fn with_code(message: &Message<'_>, code: Code, more: usize) -> Vec<u8> {
    let head = message.as_bytes().len() - message.options_and_payload().len();
    let mut out = Vec::with_capacity(head + more);
    out.extend_from_slice(message.as_bytes().get(..head).unwrap_or_default());
    if let Some(byte) = out.get_mut(1) {
        *byte = code.to_u8();
    }
    out
}

/// Appends options in the order of their numbers; those of one number stay as they are.
fn write_options(
    out: &mut Vec<u8>,
    mut options: Vec<(OptionNumber, &[u8])>,
) -> Result<(), MessageRefused> {
    options.sort_by_key(|(number, _)| *number);
    let start = out.len();
    // The header of an option has five bytes at most.
    let longest: usize = options.iter().map(|(_, value)| 5 + value.len()).sum();
    out.resize(start + longest, 0);
    let mut writer = Writer::tail(out.get_mut(start..).unwrap_or_default());
    for (number, value) in options {
        writer
            .option(number, value)
            .map_err(|_| MessageRefused::Option)?;
    }
    let end = start + writer.finish();
    out.truncate(end);
    Ok(())
}

/// Appends a payload with its marker, or nothing.
fn write_payload(out: &mut Vec<u8>, payload: &[u8]) {
    if !payload.is_empty() {
        out.push(0xff);
        out.extend_from_slice(payload);
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
    fn of(message: &Message<'_>) -> Result<Option<ProxyUri>, MessageRefused> {
        let text = message.option(OptionNumber::PROXY_URI);
        text.map(ProxyUri::split).transpose()
    }

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
        };
        for option in options {
            match option.number {
                OptionNumber::OSCORE => return Err(MessageRefused::Nested),
                OptionNumber::OBSERVE => inner.observe = true,
                OptionNumber::ECHO => inner.echo = inner.echo.or(Some(option.value)),
                _ => {}
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
        let mut out = with_code(outer, self.code, self.tail.len());
        let kept = outer
            .options()
            .filter(|option| option.number != OptionNumber::OSCORE)
            .filter(|option| OptionClass::of(option.number) == OptionClass::U);
        let notification = notification.filter(|_| self.observe).map(encode_uint);
        if kept.clone().next().is_none() && notification.is_none() {
            out.extend_from_slice(self.tail);
            return Ok(out);
        }
        let (inside, payload) = Options::parse(self.tail).map_err(|_| MessageRefused::Plaintext)?;
        // What is protected takes the place of what is not.
        let kept = kept.filter(|kept| inside.clone().all(|option| option.number != kept.number));
        let kept = kept.map(|option| (option.number, option.value));
        let inner = inside.clone().map(|option| match &notification {
            Some(value) if option.number == OptionNumber::OBSERVE => {
                (option.number, value.as_bytes())
            }
            _ => (option.number, option.value),
        });
        write_options(&mut out, kept.chain(inner).collect())?;
        write_payload(&mut out, payload);
        Ok(out)
    }
}
