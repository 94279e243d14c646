//! CoAP on the wire: bytes to messages and back, without allocation.
//!
//! Every format error of a datagram is found by [`Message::parse`]; what comes out is a borrowed view
//! that can be read without further checks. [`Writer`] goes the other way, into a slice of the caller.
//! The crate knows the formats of RFC 7252 and its relatives and nothing of exchanges, time or sockets.
//!
//! ```
//! use antiphon_wire::{Code, Message, MessageId, OptionNumber, Token, Type, Uri, Writer};
//!
//! let uri = Uri::parse_group("coap://[ff05::db8:8000:1]/gp/gp1/light")?;
//! let destination = "[ff05::db8:8000:1]:5683".parse()?;
//! let mut buf = [0; 128];
//! let mut writer = Writer::new(&mut buf, Type::Non, Code::GET, MessageId(0x7d41), Token::EMPTY)?;
//! uri.write_options(&mut writer, destination)?;
//! writer.uint_option(OptionNumber::ACCEPT, 60)?;
//! let len = writer.finish();
//!
//! let message = Message::parse(&buf[..len])?;
//! assert!(message.options_of(OptionNumber::URI_PATH).eq([&b"gp"[..], b"gp1", b"light"]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod code;
mod encode;
mod error;
pub mod group;
pub mod link;
mod message;
mod multi_etag;
mod option;
mod token;
pub mod uri;
pub mod value;

pub use code::{Class, Code};
pub use encode::Writer;
pub use error::{EncodeError, OptionError, ParseError, ParseErrorKind};
pub use group::{
    ALL_COAP_NODES_V4, DEFAULT_PORT, SECURE_PORT, Scope, all_coap_nodes, all_coap_nodes_v6,
};
pub use link::{Filter, Link, LinkError, LinkErrorKind, LinkFormat, LinkWriter};
pub use message::{Header, Message, Opt, Options, Type};
pub use multi_etag::{MultiEtag, MultiEtagError, MultiEtagMalformed};
pub use option::{Format, OptionNumber};
pub use token::{MessageId, Token};
pub use uri::{Host, Scheme, Uri, UriError, UriErrorKind, write_uri, write_uri_as};
pub use value::{BlockValue, ContentFormat, NoResponse, UintValue, decode_uint, encode_uint};
