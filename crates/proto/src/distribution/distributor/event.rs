//! What can be seen of a distribution from outside.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use antiphon_wire::Code;

use crate::distribution::{DeviceState, ImageId};
use crate::exchange::Failure;
use crate::time::Instant;

/// Something has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DistributorEvent {
    /// The first announcement left.
    Announced,
    /// Blocks are sent to everyone.
    PassBegun {
        /// Which pass, from 1.
        pass: u16,
        /// How many blocks it sends.
        blocks: u32,
    },
    /// All blocks of a pass were sent.
    PassEnded {
        /// Which.
        pass: u16,
    },
    /// Devices ask for what they lack, from now on.
    RepairBegun {
        /// Within which time for the first time.
        window: Duration,
    },
    /// There is news of the member at this place: see [`Distributor::member`](super::Distributor::member).
    Member(usize),
    /// It is over.
    Ended(DistributionEnd),
}

/// Why a distribution is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DistributionEnd {
    /// Every member has activated the image, or says why it never will.
    AllFinal,
    /// Every member is done but those that did not get further for too long.
    GivenUp,
    /// No members are known, and nobody has asked for anything for a while.
    Quiet,
    /// The time that was given is over.
    Deadline,
    /// It was cancelled.
    Cancelled,
}

impl fmt::Display for DistributionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AllFinal => "every device is done",
            Self::GivenUp => "the devices that are not done did not get further for too long",
            Self::Quiet => "no device has asked for anything for a while",
            Self::Deadline => "the time is over",
            Self::Cancelled => "cancelled",
        })
    }
}

/// Where a distribution stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DistributionPhase {
    /// The group is told what is coming.
    #[default]
    Announcing,
    /// Devices are asked what they lack.
    Counting,
    /// Blocks are sent to everyone.
    Passing,
    /// Everyone is told that a pass is over.
    Ending,
    /// Devices ask for what they lack.
    Repairing,
    /// Everyone is told that it is cancelled.
    Cancelling,
    /// It is over.
    Over(DistributionEnd),
}

/// How far a distribution is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DistributionProgress {
    /// Where it stands.
    pub phase: DistributionPhase,
    /// Which pass is under way or was last; 0 before the first.
    pub pass: u16,
    /// How many blocks this pass sends.
    pub pass_blocks: u32,
    /// How many of them were sent.
    pub pass_sent: u32,
    /// Datagrams to the group so far, and of these blocks.
    pub group_datagrams: u64,
    /// Of these, blocks.
    pub block_datagrams: u64,
    /// Bytes to the group so far, headers counted.
    pub group_bytes: u64,
    /// Requests to the group that could not be sent and were tried again.
    pub not_sent: u64,
    /// Questions to devices so far.
    pub asks: u64,
    /// Devices that have confirmed that it is cancelled.
    pub cancelled: u64,
    /// Blocks that devices asked for and got.
    pub repairs: u64,
    /// Blocks that devices asked for and that come by multicast anyway: they were told when.
    pub repairs_later: u64,
    /// Requests for what there is not.
    pub repairs_refused: u64,
}

/// What is known of one device.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceReport {
    /// Its address.
    pub address: SocketAddr,
    /// How far it is with this image; `None` before it has said anything of it.
    pub state: Option<DeviceState>,
    /// What came of it, as a response code: 2.04 when activated, otherwise why not.
    pub code: Option<Code>,
    /// How many blocks it has.
    pub have: u32,
    /// Of how many.
    pub total: u32,
    /// It is occupied with another image.
    pub busy_with: Option<ImageId>,
    /// When something was last heard of it.
    pub heard: Option<Instant>,
    /// Why the last question failed, if it did.
    pub failure: Option<Failure>,
    /// How many blocks it was sent alone.
    pub repairs: u32,
    /// It did not get further for too long, and nobody waits for it any more.
    pub given_up: bool,
}
