//! The requests: written, and recognised again.

use alloc::format;
use alloc::vec::Vec;

use antiphon_wire::{Code, ContentFormat, Message, NoResponse, OptionNumber};

use super::announcement::ImageId;
use super::message::{Malformed, Notice};
use crate::message::Request;

/// A request below the base path of a distribution, as both halves read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// POST at the base: a notice of a distributor.
    Notice(Result<Notice, Malformed>),
    /// GET at the base: how far is the device?
    Status,
    /// PUT of a block.
    Block {
        /// The image.
        id: ImageId,
        /// The number of the block.
        block: u32,
        /// The block.
        bytes: &'a [u8],
    },
    /// GET of a block: a device misses it.
    Repair {
        /// The image.
        id: ImageId,
        /// The number of the block.
        block: u32,
    },
    /// Nothing of a distribution; the code that says so: 4.04, 4.05 or 4.00.
    Other(Code),
}

impl<'a> Command<'a> {
    /// Reads a message; `base` is the path of the distribution, its segments divided by `/`.
    pub fn of_message(base: &str, message: &Message<'a>) -> Self {
        Self::read(
            base,
            message.code(),
            message.options_of(OptionNumber::URI_PATH),
            message.options_of(OptionNumber::URI_QUERY),
            message.payload(),
        )
    }

    /// Reads a request; `base` is the path of the distribution, its segments divided by `/`.
    pub fn of_request(base: &str, request: &'a Request) -> Self {
        Self::read(
            base,
            request.method,
            request.options.all(OptionNumber::URI_PATH),
            request.options.all(OptionNumber::URI_QUERY),
            &request.payload,
        )
    }

    fn read<'p>(
        base: &str,
        method: Code,
        mut path: impl Iterator<Item = &'p [u8]>,
        mut query: impl Iterator<Item = &'p [u8]>,
        payload: &'a [u8],
    ) -> Self {
        let mut segments = base.split('/').filter(|segment| !segment.is_empty());
        if !segments.all(|segment| path.next() == Some(segment.as_bytes())) {
            return Self::Other(Code::NOT_FOUND);
        }
        let Some(below) = path.next() else {
            return match method {
                Code::GET => Self::Status,
                Code::POST => Self::Notice(Notice::decode(payload)),
                _ => Self::Other(Code::METHOD_NOT_ALLOWED),
            };
        };
        let Some(id) = ImageId::from_hex(below).filter(|_| path.next().is_none()) else {
            return Self::Other(Code::NOT_FOUND);
        };
        if !matches!(method, Code::GET | Code::PUT) {
            return Self::Other(Code::METHOD_NOT_ALLOWED);
        }
        let Some(block) = query.next().and_then(block_number) else {
            return Self::Other(Code::BAD_REQUEST);
        };
        match (method, query.next()) {
            (_, Some(_)) => Self::Other(Code::BAD_REQUEST),
            (Code::GET, None) => Self::Repair { id, block },
            (_, None) => Self::Block {
                id,
                block,
                bytes: payload,
            },
        }
    }
}

/// A notice to the group, which nobody answers.
pub fn notice_request(base: &str, notice: &Notice) -> Request {
    let request = Request::new(Code::POST).path(base);
    silent(request).payload(ContentFormat::CBOR, notice.encode())
}

/// A notice to one device, which answers it: 2.04 when it does what is said.
pub fn notice_to_one(base: &str, notice: &Notice) -> Request {
    let request = Request::new(Code::POST).path(base);
    request.payload(ContentFormat::CBOR, notice.encode())
}

/// A block to the group, which nobody answers. It has no Block1 option, which is not defined for groups.
pub fn block_request(base: &str, id: ImageId, block: u32, bytes: Vec<u8>) -> Request {
    let mut request = silent(of_block(Code::PUT, base, id, block));
    request.payload = bytes;
    request
}

/// Asks for a block that is missing.
pub fn repair_request(base: &str, id: ImageId, block: u32) -> Request {
    of_block(Code::GET, base, id, block)
}

/// Asks a device how far it is.
pub fn status_request(base: &str) -> Request {
    Request::new(Code::GET).path(base)
}

fn of_block(method: Code, base: &str, id: ImageId, block: u32) -> Request {
    let mut request = Request::new(method).path(base);
    let id = format!("{id}");
    request.options.push(OptionNumber::URI_PATH, id.as_bytes());
    request.query(&format!("b={block}"))
}

/// Nobody answers: neither success nor failure (No-Response 26, RFC 7967).
fn silent(mut request: Request) -> Request {
    let none = NoResponse::ALL.encode();
    request
        .options
        .push(OptionNumber::NO_RESPONSE, none.as_bytes());
    request
}

/// `b=N`, N in decimal without leading zeros.
fn block_number(item: &[u8]) -> Option<u32> {
    let digits = item.strip_prefix(b"b=")?;
    let plain = digits.iter().all(u8::is_ascii_digit);
    if !plain || digits.is_empty() || (digits.len() > 1 && digits.starts_with(b"0")) {
        return None;
    }
    core::str::from_utf8(digits).ok()?.parse().ok()
}
