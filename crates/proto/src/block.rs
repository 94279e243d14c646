//! Block-wise transfer (RFC 7959): bodies that are larger than a datagram, in numbered blocks.
//!
//! A server keeps two tables: bodies of requests that are not complete ([`incomplete`]), and responses of which a peer
//! has had the first block ([`kept`]). A client has one [`transfer`] for each operation that needs it. All three know operations by
//! their [`key`], and nothing of messages, tokens and timers.
//!
//! Under OSCORE and Group OSCORE blocks are *inner* ones: each block is protected as a message of its own, and bodies are
//! cut before and put together after protection. Outer blocks (RFC 8613 section 4.1.3.4.2), which only proxies make, have
//! the same tables once more, in `endpoint::outer`, and the same transfers, in `endpoint::outer_fetch`.

mod incomplete;
mod kept;
mod key;
#[cfg(feature = "client")]
mod transfer;

use core::fmt;
use core::time::Duration;

use antiphon_wire::{BlockValue, Code};

use crate::config::ConfigError;

pub(crate) use incomplete::{IncompleteBodies, Taken};
pub(crate) use kept::{KeptBodies, cut};
pub(crate) use key::OperationKey;
#[cfg(feature = "client")]
pub use transfer::{BodyProgress, TransferLimits};
#[cfg(feature = "client")]
pub(crate) use transfer::{
    Bounds, Step, Transfer, block, hinted_size, is_first_of_more, later_block,
};

/// The size of a block: a power of two from 16 to 1024 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockSize {
    exponent: u8,
}

impl BlockSize {
    /// 16 bytes, the smallest.
    pub const SMALLEST: Self = Self { exponent: 0 };
    /// 64 bytes: what fits into one frame of IEEE 802.15.4 together with its headers.
    pub const SIXLOWPAN: Self = Self { exponent: 2 };
    /// 1024 bytes, the largest. The default.
    pub const LARGEST: Self = Self { exponent: 6 };

    /// The size of so many bytes.
    ///
    /// # Errors
    /// It is not a power of two from 16 to 1024.
    pub const fn new(bytes: usize) -> Result<Self, ConfigError> {
        let problem = match bytes {
            0..16 => "is below its lower limit",
            1_025.. => "is above its upper limit",
            _ if !bytes.is_power_of_two() => "is no power of two",
            _ => {
                return Ok(Self {
                    exponent: (bytes.ilog2() - 4) as u8,
                });
            }
        };
        Err(ConfigError {
            parameter: "block size",
            problem,
        })
    }

    /// The size that a Block option states.
    pub const fn of(block: BlockValue) -> Self {
        Self {
            exponent: block.szx(),
        }
    }

    /// The largest size of at most so many bytes; `None` below 16.
    pub const fn at_most(bytes: usize) -> Option<Self> {
        match bytes {
            0..16 => None,
            1_024.. => Some(Self::LARGEST),
            _ => Some(Self {
                exponent: (bytes.ilog2() - 4) as u8,
            }),
        }
    }

    /// In bytes.
    pub const fn bytes(self) -> usize {
        16 << self.exponent
    }

    /// The next smaller size.
    pub(crate) const fn smaller(self) -> Option<Self> {
        match self.exponent.checked_sub(1) {
            Some(exponent) => Some(Self { exponent }),
            None => None,
        }
    }

    /// The option value of the block that begins there; `None` if it has no number, because it does not begin at a
    /// multiple of the size or lies too far behind.
    pub(crate) fn block_at(self, start: usize, more: bool) -> Option<BlockValue> {
        if !start.is_multiple_of(self.bytes()) {
            return None;
        }
        let number = u32::try_from(start / self.bytes()).ok()?;
        BlockValue::new(number, more, self.exponent)
    }
}

impl Default for BlockSize {
    fn default() -> Self {
        Self::LARGEST
    }
}

impl fmt::Display for BlockSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes())
    }
}

/// What a server does about bodies that are larger than a block, and what that may take.
///
/// Each table is for all peers together; one address (in IPv6 one /64 prefix) gets half of its bytes at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerBlocks {
    /// The largest block that is sent or asked for; default 1024 bytes. Clients may ask for smaller ones.
    pub size: BlockSize,
    /// The largest body of a request in bytes; default 1 MiB. A larger one is refused with 4.13 and Size1.
    pub body: usize,
    /// Bodies of requests that are not complete yet; default 64. Beyond that a new one is refused with 5.03 and Max-Age.
    ///
    /// Those of senders that prove nothing have half of these places and three quarters of the bytes, and give way to
    /// others; the oldest of which only the first block has come gives way to any.
    pub incomplete: usize,
    /// Of these, bodies from one address; default 8.
    pub incomplete_per_address: usize,
    /// Bytes that they take together; default 4 MiB.
    pub incomplete_bytes: usize,
    /// How long the next block of a request is waited for; default 247 s, EXCHANGE_LIFETIME (RFC 7959 section 2.5).
    pub incomplete_for: Duration,
    /// Representations that are kept so that all blocks which a client fetches are from the same one; default 64. Without
    /// room the handler is asked for each block anew, and the entity tag tells the client if the representation changed.
    /// What has answered a POST or the like cannot be made anew: it takes the place of what can.
    pub kept: usize,
    /// Of these, representations for one address; default 8.
    pub kept_per_address: usize,
    /// Bytes that they take together; default 2 MiB.
    pub kept_bytes: usize,
    /// How long a representation is kept after a block of it was asked for; default 247 s (RFC 7959 section 2.4).
    pub kept_for: Duration,
}

impl Default for ServerBlocks {
    fn default() -> Self {
        let lifetime = Duration::from_secs(247);
        Self {
            size: BlockSize::LARGEST,
            body: 1 << 20,
            incomplete: 64,
            incomplete_per_address: 8,
            incomplete_bytes: 4 << 20,
            incomplete_for: lifetime,
            kept: 64,
            kept_per_address: 8,
            kept_bytes: 2 << 20,
            kept_for: lifetime,
        }
    }
}

impl ServerBlocks {
    /// The most memory that both tables take with these limits.
    pub(crate) const fn memory_total(&self) -> usize {
        // A body grows by doubling; for a moment both copies are there, and the whole message made of it.
        let bodies = 4 * self.incomplete_bytes + 2 * self.kept_bytes;
        let places =
            2 * (self.incomplete * IncompleteBodies::PLACE + self.kept * KeptBodies::PLACE);
        bodies + places
    }
}

/// Why a body could not be transferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFailure {
    /// It is larger than this many bytes, which is the most that is allowed.
    TooLarge(usize),
    /// The representation changed whenever some of it was there.
    Changed,
    /// The blocks do not fit together: wrong number, size or sender, an end that is none, or none of the options that say so.
    Inconsistent,
    /// The request, neither GET nor FETCH, was processed; the server answered the request for the rest of its response with this
    /// code. 4.08: it has forgotten it.
    Lost(Code),
    /// It took longer than is allowed as a whole.
    TimedOut,
    /// All transfers together take as much memory as is allowed.
    Crowded,
}

impl fmt::Display for BodyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(limit) => write!(f, "the body is larger than {limit} bytes"),
            Self::Changed => f.write_str("the representation changed during the transfer"),
            Self::Inconsistent => f.write_str("the blocks do not fit together"),
            Self::Lost(code) => {
                write!(
                    f,
                    "the request was processed; the rest of its response is lost ({code})"
                )
            }
            Self::TimedOut => f.write_str("the transfer took too long"),
            Self::Crowded => f.write_str("too many bodies are being transferred"),
        }
    }
}

impl core::error::Error for BodyFailure {}

#[cfg(test)]
mod tests;
