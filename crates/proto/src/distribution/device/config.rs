//! How a device conducts itself, what it tells, what it counts.

use core::net::SocketAddr;
use core::time::Duration;

use antiphon_wire::Code;

use super::record;
use crate::config::ConfigError;
use crate::distribution::announcement::{Announcement, ImageId};
use crate::distribution::request::repair_request;
use crate::distribution::storage::{ActivationError, Refusal, StorageError};
use crate::identity::Sender;
use crate::message::Request;

/// What happens when another image is announced while one is received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Contention {
    /// The first one stays until it is final, cancelled, or its distributor is silent. The default.
    #[default]
    First,
    /// One with a larger version number takes its place, if the application accepts it.
    NewerVersion,
}

/// How a device conducts itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceConfig {
    /// Only messages whose sender is proven count. The default; without it anyone can have the device receive anything.
    pub proven_only: bool,
    /// The largest content, list and image, in bytes; by default 16 MiB, at least 1.
    pub max_content: u64,
    /// The largest number of blocks, those of the digest list included; 1 to [`Announcement::MAX_BLOCKS`], by default 262,144. A block takes 2 bits of memory and 2 more
    /// while a record is written, so these take 128 KiB; each span of blocks with a digest of its own takes 2 bits in addition.
    pub max_blocks: u32,
    /// So many blocks wait for the storage at most, by default 64, at least 1; further ones are as good as lost. They take up to 1,024 bytes and
    /// 40 for their places each.
    pub waiting: usize,
    /// What was received is noted after so many blocks, by default 64, at least 1...
    pub note_blocks: u32,
    /// ...or so long after the first of them, by default 5 s. What is not noted is received again after a restart.
    pub note_after: Duration,
    /// A distributor that was not heard for so long is silent, by default 100 s, 1 s at least: the device asks for what it misses on
    /// its own, until it hears a notice or a block again, and another distributor may take its place.
    ///
    /// It is longer where messages are rare: 12 times the longest gap between messages of this distribution of late, where one gap
    /// counts for twice the longest before it at most, and each message lets a sixteenth be forgotten. After the first message,
    /// when nothing is known of the gaps, it is 12 times this.
    pub silence: Duration,
    /// Nobody has to be silent for longer than this, however rare messages are; by default 6 h, not less than
    /// [`silence`](Self::silence). At 1 byte per second a block of 1,024 bytes comes every 19 minutes, and 12 times that are 4 h.
    pub max_silence: Duration,
    /// An announcement is looked at so often at most, by default every second: the application is asked no more often.
    pub consider_every: Duration,
    /// What failed or was refused is tried again when it is announced so much later, by default 1 h.
    pub retry_after: Duration,
    /// Spans, or digest lists, that are found wrong before the image is given up; by default 256, at least 1.
    pub max_corrupted: u32,
    /// An activation that was begun so often without an end, because the device was restarted in its middle, has failed; by default 3,
    /// at least 1.
    pub max_activations: u8,
    /// After a failed request for repair the device waits a random time up to this, doubled with each failure in a row; by default
    /// 10 s, more than 0.
    pub backoff: Duration,
    /// The longest such time, however many fail; by default 5 min, not less than [`backoff`](Self::backoff).
    pub max_backoff: Duration,
    /// When the distributor says that it is to be asked later (5.03 or 4.29 with Max-Age), the device waits so long at most, and the
    /// random time in addition; by default 1 h, 1 s at least.
    pub max_later: Duration,
    /// After so many failed requests for repair in a row the device asks no more, nor after one answer 4.04 of the distributor: it
    /// keeps what it has and waits until it hears a notice or a block of the distribution, and another distributor may take its
    /// place. By default 16, at least 1.
    pub max_failures: u32,
    /// What happens when another image is announced.
    pub contention: Contention,
}

impl Default for DeviceConfig {
    fn default() -> Self {
        Self {
            proven_only: true,
            max_content: 16 << 20,
            max_blocks: 1 << 18,
            waiting: 64,
            note_blocks: 64,
            note_after: Duration::from_secs(5),
            silence: Duration::from_secs(100),
            max_silence: Duration::from_secs(6 * 3600),
            consider_every: Duration::from_secs(1),
            retry_after: Duration::from_secs(3600),
            max_corrupted: 256,
            max_activations: 3,
            backoff: Duration::from_secs(10),
            max_backoff: Duration::from_secs(300),
            max_later: Duration::from_secs(3600),
            max_failures: 16,
            contention: Contention::First,
        }
    }
}

impl DeviceConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let second = Duration::from_secs(1);
        let blocks = 1..=Announcement::MAX_BLOCKS;
        let checks = [
            ("max_content", self.max_content > 0),
            ("max_blocks", blocks.contains(&self.max_blocks)),
            ("waiting", self.waiting > 0),
            ("note_blocks", self.note_blocks > 0),
            ("silence", self.silence >= second),
            ("max_silence", self.max_silence >= self.silence),
            ("max_corrupted", self.max_corrupted > 0),
            ("max_activations", self.max_activations > 0),
            ("backoff", !self.backoff.is_zero()),
            ("max_backoff", self.max_backoff >= self.backoff),
            ("max_later", self.max_later >= second),
            ("max_failures", self.max_failures > 0),
        ];
        match checks.into_iter().find(|(_, good)| !good) {
            Some((parameter, _)) => Err(ConfigError {
                parameter,
                problem: "is outside of its limits",
            }),
            None => Ok(()),
        }
    }

    /// The record that the [`Storage`](crate::distribution::Storage) keeps has so many bytes at most: 1 bit for each block, and 1,044
    /// bytes. By default 33,812.
    pub fn max_record(&self) -> u64 {
        record::longest(self.max_blocks)
    }
}

/// Names one request for repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepairId(pub(super) u64);

/// A request for a block that is missing, confirmable, to the distributor. Other ways to ask, for several blocks at once by
/// Q-Block2 (RFC 9177), would be further fields.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repair {
    /// Names the request; its result is given back with it.
    pub repair: RepairId,
    /// Where it goes.
    pub to: SocketAddr,
    /// Index of the interface by which the distributor is heard; 0 when unknown.
    pub interface: u32,
    /// Who the distributor is proven to be; only an answer of the same counts.
    pub sender: Sender,
    /// The image.
    pub id: ImageId,
    /// The block.
    pub block: u32,
}

impl Repair {
    /// The request, at this base path.
    pub fn request(&self, base: &str) -> Request {
        repair_request(base, self.id, self.block)
    }
}

/// Why a distribution failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceFailure {
    /// It is larger than the device takes.
    TooLarge,
    /// There is no room for it.
    NoRoom,
    /// The storage failed.
    Storage,
    /// What was received is not what was announced.
    Digest,
    /// It could not be taken into use.
    Activation(ActivationError),
    /// The device refused it.
    Refused(Refusal),
}

impl DeviceFailure {
    /// The code that says so in the status.
    pub fn code(&self) -> Code {
        match self {
            Self::TooLarge | Self::NoRoom => Code::REQUEST_ENTITY_TOO_LARGE,
            Self::Storage | Self::Activation(_) => Code::INTERNAL_SERVER_ERROR,
            Self::Digest => Code::BAD_REQUEST,
            Self::Refused(_) => Code::NOT_ACCEPTABLE,
        }
    }

    /// Is it refused for what the image is, and not for who has announced or signed it, or for a failure of the device's own?
    pub(super) fn is_of_the_image(&self) -> bool {
        matches!(
            self,
            Self::TooLarge | Self::Refused(Refusal::Kind | Refusal::Version)
        )
    }
}

impl From<StorageError> for DeviceFailure {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Full => Self::NoRoom,
            StorageError::Failed => Self::Storage,
        }
    }
}

impl core::fmt::Display for DeviceFailure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::TooLarge => f.write_str("it is larger than the device takes"),
            Self::NoRoom => f.write_str("there is no room for it"),
            Self::Storage => f.write_str("the storage failed"),
            Self::Digest => f.write_str("what was received is not what was announced"),
            Self::Activation(why) => write!(f, "the activation failed: {why}"),
            Self::Refused(why) => write!(f, "{why}"),
        }
    }
}

/// What happens to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceEvent {
    /// After a start: a distribution goes on.
    Restored {
        /// The image.
        id: ImageId,
        /// So many blocks are there.
        have: u32,
        /// So many there are in total.
        total: u32,
    },
    /// The record could not be read at the start: it is as if nothing had been received.
    Forgotten,
    /// An announcement was accepted; blocks are received.
    Accepted {
        /// The image.
        id: ImageId,
        /// What it is called; may be empty.
        name: alloc::string::String,
        /// Who distributes it.
        from: SocketAddr,
    },
    /// Blocks were stored.
    Progress {
        /// The image.
        id: ImageId,
        /// So many blocks are there.
        have: u32,
        /// So many there are in total.
        total: u32,
    },
    /// A span, or the digest list (`None`), is not what it should be: its blocks are received again.
    Corrupted {
        /// The image.
        id: ImageId,
        /// The span.
        span: Option<u32>,
    },
    /// The device begins to ask for what it misses.
    Repairing {
        /// The image.
        id: ImageId,
        /// So many blocks are missing.
        missing: u32,
    },
    /// The device asks no more, because nobody answers or the distributor knows nothing of the image: it keeps what it has and
    /// waits until it hears of the image again.
    Waiting {
        /// The image.
        id: ImageId,
        /// So many blocks are missing.
        missing: u32,
    },
    /// The image is the one that was announced.
    Verified(ImageId),
    /// The image is in use.
    Activated(ImageId),
    /// It did not come to that.
    Failed {
        /// The image.
        id: ImageId,
        /// Why.
        why: DeviceFailure,
    },
    /// The distributor cancelled.
    Cancelled(ImageId),
}

/// What a device counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceCounters {
    /// Blocks stored.
    pub stored: u64,
    /// Those of them that came as answers to requests for repair.
    pub repaired: u64,
    /// Blocks that were there already, or came after the last one that was missing.
    pub duplicate: u64,
    /// Messages by others than the distributor, or not proven.
    pub foreign: u64,
    /// Blocks of an image that is not received.
    pub unknown: u64,
    /// Blocks with a number or a length that cannot be, and notices that cannot be read.
    pub malformed: u64,
    /// Blocks for which the storage was too slow.
    pub overrun: u64,
    /// Announcements that were not looked at: another image is received, or the last one was looked at just before.
    pub passed_over: u64,
    /// Requests for repair.
    pub asked: u64,
    /// Those that were not answered with the block.
    pub unanswered: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::Device;

    /// What is wrong with the defaults after this change.
    fn wrong(change: impl FnOnce(&mut DeviceConfig)) -> Option<&'static str> {
        let mut config = DeviceConfig::default();
        change(&mut config);
        let made = Device::new(config, [0; 32]);
        made.err().map(|error| error.parameter)
    }

    #[test]
    fn values_outside_of_their_limits_are_refused() {
        let second = Duration::from_secs(1);
        let less = Duration::from_nanos(999_999_999);
        let nothing = Duration::ZERO;
        let tiny = Duration::from_nanos(1);
        assert_eq!(wrong(|_| {}), None);
        assert_eq!(wrong(|it| it.max_content = 0), Some("max_content"));
        assert_eq!(wrong(|it| it.max_content = 1), None);
        assert_eq!(wrong(|it| it.max_blocks = 0), Some("max_blocks"));
        assert_eq!(wrong(|it| it.max_blocks = 1), None);
        assert_eq!(wrong(|it| it.max_blocks = 3 << 28), None);
        assert_eq!(
            wrong(|it| it.max_blocks = (3 << 28) + 1),
            Some("max_blocks")
        );
        assert_eq!(wrong(|it| it.waiting = 0), Some("waiting"));
        assert_eq!(wrong(|it| it.waiting = 1), None);
        assert_eq!(wrong(|it| it.note_blocks = 0), Some("note_blocks"));
        assert_eq!(wrong(|it| it.note_blocks = 1), None);
        assert_eq!(wrong(|it| it.silence = less), Some("silence"));
        assert_eq!(wrong(|it| it.silence = second), None);
        let shorter = |it: &mut DeviceConfig| it.max_silence = it.silence - tiny;
        assert_eq!(wrong(shorter), Some("max_silence"));
        assert_eq!(wrong(|it| it.max_silence = it.silence), None);
        assert_eq!(wrong(|it| it.max_corrupted = 0), Some("max_corrupted"));
        assert_eq!(wrong(|it| it.max_corrupted = 1), None);
        assert_eq!(wrong(|it| it.max_activations = 0), Some("max_activations"));
        assert_eq!(wrong(|it| it.max_activations = 1), None);
        assert_eq!(wrong(|it| it.backoff = nothing), Some("backoff"));
        assert_eq!(wrong(|it| it.backoff = tiny), None);
        let shorter = |it: &mut DeviceConfig| it.max_backoff = it.backoff - tiny;
        assert_eq!(wrong(shorter), Some("max_backoff"));
        assert_eq!(wrong(|it| it.max_backoff = it.backoff), None);
        assert_eq!(wrong(|it| it.max_later = less), Some("max_later"));
        assert_eq!(wrong(|it| it.max_later = second), None);
        assert_eq!(wrong(|it| it.max_failures = 0), Some("max_failures"));
        assert_eq!(wrong(|it| it.max_failures = 1), None);
    }

    #[test]
    fn a_record_has_a_bit_for_each_block_beside_a_kilobyte() {
        assert_eq!(DeviceConfig::default().max_record(), 32_768 + 1_044);
    }
}
