//! What the distributor wants sent, and what it answers.

use core::net::SocketAddr;
use core::time::Duration;

use antiphon_wire::{Code, OptionNumber};

use crate::message::{Request, Response};

/// A request to the group that nobody answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSend {
    /// What is sent; its payload is complete unless there is something to fill in.
    pub request: Request,
    /// The block that becomes the payload.
    pub fills: Option<Fills>,
}

/// A block of the content, to be read from where the image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fills {
    /// The number of the block.
    pub number: u32,
    /// Where in the content it begins; the digest list comes first.
    pub offset: u64,
    /// Its length in bytes.
    pub length: usize,
}

/// Names one question to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub(super) u64);

/// A Confirmable request to one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Under which name its end is reported.
    pub ask: AskId,
    /// The place of the member.
    pub member: usize,
    /// Where it goes.
    pub to: SocketAddr,
    /// What is sent.
    pub request: Request,
}

/// What a device is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Served {
    /// 2.05 with this block.
    Block(Fills),
    /// This, as it is.
    Response(Response),
}

/// 5.03: the block comes by multicast within this time, or in an hour if that is longer.
pub(super) fn later(soon: Duration) -> Response {
    const LONGEST: u64 = 3_600;
    let mut response = Response::new(Code::SERVICE_UNAVAILABLE);
    let seconds = (soon.as_secs() + 1).min(LONGEST);
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    response.options.push_uint(OptionNumber::MAX_AGE, seconds);
    response
}
