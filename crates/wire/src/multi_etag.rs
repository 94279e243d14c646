//! Multi-ETag: entity tags in a group request for one of its servers (groupcomm-bis seed -03, section 3.2.2).
//!
//! The value of the option is a CBOR sequence: the address of the server, and one byte string for each entity tag.
//!
//! ```
//! use antiphon_wire::MultiEtag;
//! use core::net::SocketAddr;
//!
//! let server: SocketAddr = "192.0.2.1:5683".parse()?;
//! let mut value = [0; 40];
//! let len = MultiEtag::write(server, &[b"\xde\xad\xbe\xef"], &mut value)?;
//! let read = MultiEtag::parse(&value[..len])?;
//! assert_eq!(read.server(), server);
//! assert!(read.tags().eq([b"\xde\xad\xbe\xef"]));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

#[cfg(test)]
mod tests;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use minicbor::data::{Tag, Type};
use minicbor::decode::{Decoder, Error as NotCbor};
use minicbor::encode::{Encoder, write::Cursor};

use crate::group::DEFAULT_PORT;

/// CoAP over UDP, as the first item of `tp_info`.
const UDP: u64 = 1;
/// The CBOR tag of a network address.
const ADDRESS: Tag = Tag::new(260);

/// The value of a Multi-ETag option: entity tags (1 to 8 bytes each, one at least) for one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultiEtag<'a> {
    server: SocketAddr,
    /// Checked: a sequence of byte strings.
    tags: &'a [u8],
}

/// Why bytes are not the value of a Multi-ETag option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultiEtagMalformed {
    /// Not CBOR, cut short, or other items than the document has.
    Structure,
    /// Not the address of a server: not of 4 or 16 bytes, or that of a group.
    Address,
    /// Not for CoAP over UDP.
    Transport,
    /// An entity tag that is not 1 to 8 bytes long, or none at all.
    Tag,
}

impl fmt::Display for MultiEtagMalformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Structure => "not the address of a server and entity tags, in CBOR",
            Self::Address => "not a unicast address of 4 or 16 bytes",
            Self::Transport => "not a server of CoAP over UDP",
            Self::Tag => "entity tags have 1 to 8 bytes, and one there must be",
        })
    }
}

impl core::error::Error for MultiEtagMalformed {}

impl From<NotCbor> for MultiEtagMalformed {
    fn from(_: NotCbor) -> Self {
        Self::Structure
    }
}

/// Why the value of a Multi-ETag option was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultiEtagError {
    /// An entity tag that is not 1 to 8 bytes long, or none at all.
    Tag,
    /// The address is that of a group.
    Address,
    /// The value is longer than the room for it.
    NoRoom,
}

impl fmt::Display for MultiEtagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tag => "entity tags have 1 to 8 bytes, and one there must be",
            Self::Address => "not the address of a server",
            Self::NoRoom => "too long for the room that it has",
        })
    }
}

impl core::error::Error for MultiEtagError {}

impl<'a> MultiEtag<'a> {
    /// The address takes so many bytes at most: an IPv6 address with a port.
    pub const MAX_ADDRESS_LEN: usize = 25;
    /// Each entity tag takes so many bytes at most.
    pub const MAX_TAG_LEN: usize = 9;

    /// Reads the value of the option. A port that is absent or null is 5683.
    ///
    /// # Errors
    /// Whatever is not what the document says; such an option is ignored.
    pub fn parse(value: &'a [u8]) -> Result<Self, MultiEtagMalformed> {
        let mut items = Decoder::new(value);
        let server = server(&mut items)?;
        let tags = value
            .get(items.position()..)
            .filter(|tags| !tags.is_empty())
            .ok_or(MultiEtagMalformed::Tag)?;
        let mut items = Decoder::new(tags);
        while items.position() < tags.len() {
            if !is_entity_tag(items.bytes()?) {
                return Err(MultiEtagMalformed::Tag);
            }
        }
        Ok(Self { server, tags })
    }

    /// The server that it is for. Flow label and scope of an IPv6 address are 0.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// The entity tags, in their order.
    pub fn tags(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut items = Decoder::new(self.tags);
        core::iter::from_fn(move || items.bytes().ok())
    }

    /// How many bytes the address of a server takes: 10 or 13 for IPv4, 22 or 25 for IPv6, without and with a port of two bytes.
    pub const fn address_len(server: SocketAddr) -> usize {
        let ip = match server {
            SocketAddr::V4(_) => 10,
            SocketAddr::V6(_) => 22,
        };
        ip + match server.port() {
            DEFAULT_PORT => 0,
            0..24 => 1,
            24..256 => 2,
            _ => 3,
        }
    }

    /// Writes the value of the option to the beginning of `out`; returns its length, at most 25 and 9 for each tag.
    ///
    /// # Errors
    /// See [`MultiEtagError`].
    pub fn write(
        server: SocketAddr,
        tags: &[&[u8]],
        out: &mut [u8],
    ) -> Result<usize, MultiEtagError> {
        if tags.is_empty() || !tags.iter().all(|tag| is_entity_tag(tag)) {
            return Err(MultiEtagError::Tag);
        }
        if server.ip().is_multicast() {
            return Err(MultiEtagError::Address);
        }
        let mut items = Encoder::new(Cursor::new(out));
        let written = (|| {
            let port = Some(server.port()).filter(|port| *port != DEFAULT_PORT);
            items.array(2 + u64::from(port.is_some()))?;
            items.u64(UDP)?.tag(ADDRESS)?;
            match server.ip() {
                IpAddr::V4(ip) => items.bytes(&ip.octets())?,
                IpAddr::V6(ip) => items.bytes(&ip.octets())?,
            };
            if let Some(port) = port {
                items.u16(port)?;
            }
            tags.iter().try_for_each(|tag| items.bytes(tag).map(|_| ()))
        })();
        match written {
            Ok(()) => Ok(items.writer().position()),
            Err(_) => Err(MultiEtagError::NoRoom),
        }
    }
}

fn is_entity_tag(tag: &[u8]) -> bool {
    (1..=8).contains(&tag.len()) // RFC 7252 section 5.10.6
}

/// `tp_info`: the transport, the address, and perhaps the port.
fn server(items: &mut Decoder<'_>) -> Result<SocketAddr, MultiEtagMalformed> {
    let len = items.array()?.ok_or(MultiEtagMalformed::Structure)?;
    if !(2..=3).contains(&len) {
        return Err(MultiEtagMalformed::Structure);
    }
    if items.u64()? != UDP {
        return Err(MultiEtagMalformed::Transport);
    }
    if items.tag()? != ADDRESS {
        return Err(MultiEtagMalformed::Address);
    }
    let address = items.bytes()?;
    let ip = if let Ok(ip) = <[u8; 4]>::try_from(address) {
        IpAddr::V4(Ipv4Addr::from(ip))
    } else if let Ok(ip) = <[u8; 16]>::try_from(address) {
        IpAddr::V6(Ipv6Addr::from(ip))
    } else {
        return Err(MultiEtagMalformed::Address);
    };
    if ip.is_multicast() {
        return Err(MultiEtagMalformed::Address);
    }
    let port = match len {
        2 => DEFAULT_PORT,
        _ if items.datatype()? == Type::Null => {
            items.null()?;
            DEFAULT_PORT
        }
        _ => items.u16()?,
    };
    Ok(SocketAddr::new(ip, port))
}
