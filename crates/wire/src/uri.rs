//! URIs of CoAP resources: reading them, and taking them apart into options and putting them together
//! again (RFC 7252, section 6).

use core::fmt::{self, Write};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{EncodeError, Message, Opt, OptionNumber, Writer, encode_uint};

mod dots;
mod parse;

pub use dots::PathSegments;

/// The schemes of CoAP (RFC 7252, section 6; RFC 8323, section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// `coap`: UDP, the only scheme of a group URI.
    Coap,
    /// `coaps`: DTLS over UDP.
    Coaps,
    /// `coap+tcp`.
    CoapTcp,
    /// `coaps+tcp`: TLS.
    CoapsTcp,
    /// `coap+ws`: WebSockets.
    CoapWs,
    /// `coaps+ws`: WebSockets over TLS.
    CoapsWs,
}

impl Scheme {
    /// All schemes.
    pub const ALL: [Scheme; 6] = [
        Scheme::Coap,
        Scheme::Coaps,
        Scheme::CoapTcp,
        Scheme::CoapsTcp,
        Scheme::CoapWs,
        Scheme::CoapsWs,
    ];

    /// The scheme as it stands before the colon.
    pub const fn name(self) -> &'static str {
        match self {
            Scheme::Coap => "coap",
            Scheme::Coaps => "coaps",
            Scheme::CoapTcp => "coap+tcp",
            Scheme::CoapsTcp => "coaps+tcp",
            Scheme::CoapWs => "coap+ws",
            Scheme::CoapsWs => "coaps+ws",
        }
    }

    /// The scheme of this name, in any letter case.
    pub fn from_name(name: &str) -> Option<Scheme> {
        Scheme::ALL
            .into_iter()
            .find(|scheme| scheme.name().eq_ignore_ascii_case(name))
    }

    /// The port of a URI that names none.
    pub const fn default_port(self) -> u16 {
        match self {
            Scheme::Coap | Scheme::CoapTcp => crate::DEFAULT_PORT,
            Scheme::Coaps | Scheme::CoapsTcp => crate::SECURE_PORT,
            Scheme::CoapWs => 80,
            Scheme::CoapsWs => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The host of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Host<'a> {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address in brackets.
    V6 {
        /// The address.
        addr: Ipv6Addr,
        /// The zone: an interface of this node, by name or number. Never sent (RFC 6874, section 1).
        zone: Option<&'a str>,
    },
    /// A registered name as it stands in the URI: letter case and percent-encoding untouched.
    Name(&'a str),
}

impl Host<'_> {
    /// The address, or `None` for a name.
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Host::V4(addr) => Some(IpAddr::V4(*addr)),
            Host::V6 { addr, .. } => Some(IpAddr::V6(*addr)),
            Host::Name(_) => None,
        }
    }

    /// Whether this is an address of multicast; a name is not, whatever it resolves to.
    pub const fn is_multicast(&self) -> bool {
        match self {
            Host::V4(addr) => addr.is_multicast(),
            Host::V6 { addr, .. } => addr.is_multicast(),
            Host::Name(_) => false,
        }
    }
}

/// The host as it stands in a URI, the zone in the form of RFC 6874.
impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::V4(addr) => write!(f, "{addr}"),
            Host::V6 { addr, zone: None } => write!(f, "[{addr}]"),
            Host::V6 {
                addr,
                zone: Some(zone),
            } => write!(f, "[{addr}%25{zone}]"),
            Host::Name(name) => f.write_str(name),
        }
    }
}

/// A URI of a CoAP resource, borrowed from its text and checked: it can be taken apart into options
/// without a further error, except that the options do not fit the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Uri<'a> {
    /// The scheme.
    pub scheme: Scheme,
    /// The host.
    pub host: Host<'a>,
    /// The port if the URI names one, 1 to 65535.
    pub port: Option<u16>,
    /// The path as it stands in the URI: empty, or from its first slash on.
    pub path: &'a str,
    /// The query as it stands in the URI, without the question mark.
    pub query: Option<&'a str>,
}

/// Why a text is no URI of a CoAP resource, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UriError {
    /// What is wrong.
    pub kind: UriErrorKind,
    /// Where, in bytes from the start of the text.
    pub offset: usize,
}

/// The kinds of errors in a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UriErrorKind {
    /// Longer than [`Uri::MAX_LEN`].
    TooLong,
    /// No scheme before a colon, so that it is no absolute URI.
    NoScheme,
    /// A scheme that is not one of [`Scheme`].
    UnknownScheme,
    /// No `//` behind the scheme.
    NoAuthority,
    /// A user before an `@`, which a CoAP URI has not.
    UserInfo,
    /// No host.
    EmptyHost,
    /// A host name of more than 255 bytes.
    HostTooLong,
    /// An address in brackets that is none, or the closing bracket is missing.
    IpLiteral,
    /// A zone that is empty or has characters other than letters, digits and `-._~`.
    Zone,
    /// A port that is not a number of 1 to 65535.
    Port,
    /// A character that may not stand here.
    Character,
    /// A `%` without two hexadecimal digits behind it.
    Percent,
    /// A host name, path segment or query argument that is not UTF-8 after percent-decoding.
    NotUtf8,
    /// A path segment or query argument of more than 255 bytes.
    SegmentTooLong,
    /// A `#`: CoAP URIs have no fragment (RFC 7252, section 6.4, step 4).
    Fragment,
    /// The URI of a group has another scheme than `coap`.
    GroupScheme,
    /// The URI of a group has an address that is not multicast.
    NotMulticast,
    /// The URI of a group has the port of DTLS, 5684.
    SecurePort,
}

impl fmt::Display for UriErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UriErrorKind::TooLong => "the URI is too long",
            UriErrorKind::NoScheme => "no scheme, such as coap://",
            UriErrorKind::UnknownScheme => "the scheme is not one of CoAP",
            UriErrorKind::NoAuthority => "no // and host after the scheme",
            UriErrorKind::UserInfo => "a CoAP URI has no user part",
            UriErrorKind::EmptyHost => "the host is empty",
            UriErrorKind::HostTooLong => "the host is longer than 255 bytes",
            UriErrorKind::IpLiteral => "no IPv6 address in brackets",
            UriErrorKind::Zone => "not a zone",
            UriErrorKind::Port => "not a port from 1 to 65535",
            UriErrorKind::Character => "a character that may not stand here unencoded",
            UriErrorKind::Percent => "% without two hexadecimal digits",
            UriErrorKind::NotUtf8 => "not UTF-8 after percent-decoding",
            UriErrorKind::SegmentTooLong => "path segment or query argument longer than 255 bytes",
            UriErrorKind::Fragment => "a CoAP URI has no fragment",
            UriErrorKind::GroupScheme => "the scheme of a group is coap",
            UriErrorKind::NotMulticast => "the address of a group is a multicast address",
            UriErrorKind::SecurePort => "the port of a group is never 5684",
        })
    }
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.kind, self.offset)
    }
}

impl core::error::Error for UriError {}

impl<'a> Uri<'a> {
    /// The longest URI that is read, in bytes.
    pub const MAX_LEN: usize = 8192;

    /// The longest value of Uri-Host, Uri-Path and Uri-Query, in bytes.
    const MAX_OPTION: usize = 255;

    /// Reads an absolute URI with one of the schemes of CoAP.
    ///
    /// Percent-encoding is checked here and decoded later, once. A zone is read as `%25eth0` (RFC 6874) and
    /// as the bare `%eth0` that people write.
    ///
    /// # Errors
    /// The first error from the front. Dots and letters are no error: `..` is resolved and host and scheme
    /// are in any letter case.
    pub fn parse(text: &'a str) -> Result<Uri<'a>, UriError> {
        parse::uri(text)
    }

    /// Reads a group URI (draft-ietf-core-groupcomm-bis, section 1.2): scheme `coap`, and a host that is a
    /// multicast address or a name. Whether the name resolves to multicast is for the resolver to find out.
    ///
    /// # Errors
    /// As [`Uri::parse`]; then [`UriErrorKind::GroupScheme`], [`UriErrorKind::NotMulticast`] or
    /// [`UriErrorKind::SecurePort`], where scheme, host or port begin.
    pub fn parse_group(text: &'a str) -> Result<Uri<'a>, UriError> {
        let uri = Uri::parse(text)?;
        let error = |kind, offset| Err(UriError { kind, offset });
        let host_at = uri.scheme.name().len() + "://".len();
        match uri.host {
            _ if uri.scheme != Scheme::Coap => error(UriErrorKind::GroupScheme, 0),
            Host::V4(_) | Host::V6 { .. } if !uri.is_multicast() => {
                error(UriErrorKind::NotMulticast, host_at)
            }
            _ if uri.effective_port() == crate::SECURE_PORT => {
                // The port is the last thing before the path, behind the last colon of the authority.
                let behind = text.get(host_at..).unwrap_or_default();
                let authority = behind.split(['/', '?']).next().unwrap_or_default();
                error(
                    UriErrorKind::SecurePort,
                    host_at + authority.rfind(':').map_or(0, |at| at + 1),
                )
            }
            _ => Ok(uri),
        }
    }

    /// The port of the URI, or that of its scheme.
    pub fn effective_port(&self) -> u16 {
        self.port.unwrap_or(self.scheme.default_port())
    }

    /// Whether the host is a multicast address.
    pub const fn is_multicast(&self) -> bool {
        self.host.is_multicast()
    }

    /// The segments of the path, `.` and `..` resolved (RFC 3986, section 5.2.4): one Uri-Path each.
    /// None for an empty path and for the single slash.
    pub fn path_segments(&self) -> PathSegments<'a> {
        PathSegments::new(self.path)
    }

    /// The arguments of the query: one Uri-Query each.
    pub fn query_items(&self) -> impl Iterator<Item = Component<'a>> + Clone + use<'a> {
        self.query
            .into_iter()
            .flat_map(|query| query.split('&'))
            .map(Component)
    }

    /// Whether a request to `destination` needs Uri-Host: the host is a name, or an address that is not the
    /// destination (RFC 7252, section 6.4, step 5).
    pub fn needs_uri_host(&self, destination: SocketAddr) -> bool {
        self.host.ip() != Some(destination.ip())
    }

    /// Whether a request to `destination` needs Uri-Port: its port is not that of the URI
    /// (RFC 7252, section 6.4, step 7).
    pub fn needs_uri_port(&self, destination: SocketAddr) -> bool {
        self.effective_port() != destination.port()
    }

    /// Takes the URI apart into the options of a request that is sent to `destination`
    /// (RFC 7252, section 6.4).
    ///
    /// # Errors
    /// As [`Writer::option`].
    pub fn write_options(
        &self,
        writer: &mut Writer<'_>,
        destination: SocketAddr,
    ) -> Result<(), EncodeError> {
        self.write_options_among(writer, destination, &[])
    }

    /// As [`Uri::write_options`], together with `others`, which stand in ascending order: each option
    /// comes to its place, as the format demands ascending numbers. Of equal numbers those of the URI come
    /// first.
    ///
    /// # Errors
    /// As [`Writer::option`].
    pub fn write_options_among(
        &self,
        writer: &mut Writer<'_>,
        destination: SocketAddr,
        others: &[Opt<'_>],
    ) -> Result<(), EncodeError> {
        let mut others = others.iter().peekable();
        let mut before = |writer: &mut Writer<'_>, number: OptionNumber| {
            while let Some(other) = others.next_if(|other| other.number < number) {
                writer.option(other.number, other.value)?;
            }
            Ok(())
        };
        before(writer, OptionNumber::URI_HOST)?;
        if self.needs_uri_host(destination) {
            let mut host = Text::default();
            self.write_host(&mut host);
            writer.option(OptionNumber::URI_HOST, host.as_bytes())?;
        }
        before(writer, OptionNumber::URI_PORT)?;
        if self.needs_uri_port(destination) {
            let port = encode_uint(u32::from(self.effective_port()));
            writer.option(OptionNumber::URI_PORT, port.as_bytes())?;
        }
        before(writer, OptionNumber::URI_PATH)?;
        for segment in self.path_segments() {
            segment.write_option(writer, OptionNumber::URI_PATH)?;
        }
        before(writer, OptionNumber::URI_QUERY)?;
        for item in self.query_items() {
            item.write_option(writer, OptionNumber::URI_QUERY)?;
        }
        others.try_for_each(|other| writer.option(other.number, other.value).map(drop))
    }

    /// The value of Uri-Host: letters lowered first, percent-encodings resolved then, as step 5 says. An
    /// address in its usual form, the zone left out.
    fn write_host(&self, host: &mut Text) {
        match self.host {
            Host::Name(name) => {
                let mut rest = name.as_bytes();
                while let Some(raw) = rest.first() {
                    let lowered = if *raw == b'%' {
                        None
                    } else {
                        Some(raw.to_ascii_lowercase())
                    };
                    let byte = next_decoded(&mut rest);
                    host.push(lowered.or(byte).unwrap_or_default());
                }
            }
            // An address is far shorter than the buffer.
            Host::V4(addr) => drop(write!(host, "{addr}")),
            Host::V6 { addr, .. } => drop(write!(host, "[{addr}]")),
        }
    }
}

/// The URI as it was, in normal form as far as scheme, address and zone go.
impl fmt::Display for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(self.path)?;
        match self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}

/// A path segment or query argument of a [`Uri`], percent-encoding not yet resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Component<'a>(&'a str);

impl<'a> Component<'a> {
    /// The text as it stands in the URI.
    pub const fn raw(&self) -> &'a str {
        self.0
    }

    /// The bytes after percent-decoding, at most 255.
    pub fn bytes(&self) -> impl Iterator<Item = u8> + Clone + use<'a> {
        let mut rest = self.0.as_bytes();
        core::iter::from_fn(move || next_decoded(&mut rest))
    }

    /// Writes the bytes to the front of `buf` and gives them back.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`]; 255 bytes always suffice.
    pub fn decode_into<'b>(&self, buf: &'b mut [u8]) -> Result<&'b [u8], EncodeError> {
        let needed = self.bytes().count();
        let Some(to) = buf.get_mut(..needed) else {
            return Err(EncodeError::BufferTooSmall { needed });
        };
        to.iter_mut()
            .zip(self.bytes())
            .for_each(|(to, from)| *to = from);
        Ok(to)
    }

    fn write_option(
        &self,
        writer: &mut Writer<'_>,
        number: OptionNumber,
    ) -> Result<(), EncodeError> {
        if !self.0.contains('%') {
            return writer.option(number, self.0.as_bytes()).map(drop);
        }
        let mut text = Text::default();
        self.bytes().for_each(|byte| text.push(byte));
        writer.option(number, text.as_bytes()).map(drop)
    }
}

/// Equal after percent-decoding.
impl PartialEq<str> for Component<'_> {
    fn eq(&self, other: &str) -> bool {
        self.bytes().eq(other.bytes())
    }
}

/// Takes the next byte, percent-decoded, from the front of a checked component.
fn next_decoded(rest: &mut &[u8]) -> Option<u8> {
    let (byte, behind) = match **rest {
        [b'%', high, low, ref behind @ ..] => ((hex(high)? << 4) + hex(low)?, behind),
        [byte, ref behind @ ..] => (byte, behind),
        [] => return None,
    };
    *rest = behind;
    Some(byte)
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Room for one option value on the stack. What is too much is dropped; a checked URI has nothing such.
struct Text {
    bytes: [u8; Uri::MAX_OPTION],
    len: usize,
}

impl Default for Text {
    fn default() -> Text {
        Text {
            bytes: [0; Uri::MAX_OPTION],
            len: 0,
        }
    }
}

impl Text {
    fn push(&mut self, byte: u8) {
        if let Some(to) = self.bytes.get_mut(self.len) {
            *to = byte;
            self.len += 1;
        }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.push(byte));
        Ok(())
    }
}

/// Puts together the URI that a request with scheme `coap` is about, from its options and from the address
/// and port that it was sent to (RFC 7252, section 6.5). For a request to a group these are the group's.
///
/// # Errors
/// [`fmt::Error`] if `out` fails or the options make no URI: a Uri-Host that cannot stand in one, a Uri-Port
/// that is no port, a Uri-Path of `.` or `..`.
pub fn write_uri(
    out: &mut (impl Write + ?Sized),
    message: &Message<'_>,
    destination: SocketAddr,
) -> fmt::Result {
    write_uri_as(out, Scheme::Coap, message, destination)
}

/// As [`write_uri`], for a request that came by the transport of `scheme`.
///
/// # Errors
/// As [`write_uri`].
pub fn write_uri_as(
    out: &mut (impl Write + ?Sized),
    scheme: Scheme,
    message: &Message<'_>,
    destination: SocketAddr,
) -> fmt::Result {
    write!(out, "{scheme}://")?;
    match message.option(OptionNumber::URI_HOST) {
        Some(host) if parse::is_host(host) => write_encoded(out, host, |byte| byte.is_ascii())?,
        Some(_) => return Err(fmt::Error),
        None => match destination.ip() {
            IpAddr::V4(addr) => write!(out, "{addr}")?,
            IpAddr::V6(addr) => write!(out, "[{addr}]")?,
        },
    }
    let port = match message.option(OptionNumber::URI_PORT) {
        Some(port) => {
            let port = crate::decode_uint(port).ok_or(fmt::Error)?;
            match u16::try_from(port) {
                Ok(port) if port != 0 => port,
                _ => return Err(fmt::Error),
            }
        }
        None => destination.port(),
    };
    if port != scheme.default_port() {
        write!(out, ":{port}")?;
    }
    let mut path = message.options_of(OptionNumber::URI_PATH).peekable();
    if path.peek().is_none() {
        out.write_char('/')?;
    }
    for segment in path {
        if matches!(segment, b"." | b"..") {
            return Err(fmt::Error);
        }
        out.write_char('/')?;
        write_encoded(out, segment, is_pchar)?;
    }
    for (at, item) in message.options_of(OptionNumber::URI_QUERY).enumerate() {
        out.write_char(if at == 0 { '?' } else { '&' })?;
        write_encoded(out, item, |byte| byte != b'&' && is_query_char(byte))?;
    }
    Ok(())
}

/// Writes bytes, those that are not `plain` as `%` and two upper-case digits.
fn write_encoded(
    out: &mut (impl Write + ?Sized),
    bytes: &[u8],
    plain: impl Fn(u8) -> bool,
) -> fmt::Result {
    bytes.iter().try_for_each(|&byte| match plain(byte) {
        true => out.write_char(char::from(byte)),
        false => write!(out, "%{byte:02X}"),
    })
}

/// "unreserved" of RFC 3986, section 2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// "reg-name" without percent-encoding: "unreserved" and "sub-delims" of RFC 3986, section 2.
const fn is_name_char(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
        )
}

/// "pchar" of RFC 3986, section 3.3, without percent-encoding.
const fn is_pchar(byte: u8) -> bool {
    is_name_char(byte) || matches!(byte, b':' | b'@')
}

/// What "query" of RFC 3986, section 3.4 may consist of, without percent-encoding.
const fn is_query_char(byte: u8) -> bool {
    is_pchar(byte) || matches!(byte, b'/' | b'?')
}

#[cfg(test)]
mod tests;
