//! The payloads: notices to the group, and the status of a device.

use alloc::vec::Vec;
use core::fmt;

use antiphon_wire::Code;
use minicbor::decode::Decoder;
use minicbor::encode::Encoder;

use super::announcement::{Announcement, AnnouncementError, ImageId};
use super::block_set::BlockSet;

/// Bytes that are no message of a distribution, or not written as they must be. Such a message is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a message of a distribution")
    }
}

impl core::error::Error for Malformed {}

impl From<minicbor::decode::Error> for Malformed {
    fn from(_: minicbor::decode::Error) -> Self {
        Self
    }
}

impl From<AnnouncementError> for Malformed {
    fn from(_: AnnouncementError) -> Self {
        Self
    }
}

/// The first item of a notice.
mod kind {
    pub(super) const ANNOUNCED: u8 = 0;
    pub(super) const END_OF_PASS: u8 = 1;
    pub(super) const CANCELLED: u8 = 2;
}

/// What a distributor tells the whole group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// An image is coming, or is still to be had.
    Announced(Announcement),
    /// All blocks that this pass has were sent.
    EndOfPass {
        /// The image.
        id: ImageId,
        /// The number of the pass, from 1; 0 when none was worth it, because devices had nearly everything already.
        pass: u16,
        /// In so many seconds devices spread their requests for what they miss; 0: they wait, more is coming.
        window: u16,
    },
    /// Nothing more comes; what was received is of no use.
    Cancelled(ImageId),
}

impl Notice {
    /// A notice takes so many bytes at most.
    pub const MAX_LEN: usize = Announcement::MAX_LEN + 2;

    /// The image that it is about.
    pub fn id(&self) -> ImageId {
        match self {
            Self::Announced(announcement) => announcement.id(),
            Self::EndOfPass { id, .. } | Self::Cancelled(id) => *id,
        }
    }

    /// The payload, in CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut items = Encoder::new(&mut out);
        let written: Result<(), minicbor::encode::Error<core::convert::Infallible>> = (|| {
            match self {
                Self::Announced(announcement) => {
                    items.array(2)?.u8(kind::ANNOUNCED)?;
                    items.writer_mut().extend_from_slice(&announcement.encode());
                }
                Self::EndOfPass { id, pass, window } => {
                    items.array(4)?.u8(kind::END_OF_PASS)?.bytes(&id.0)?;
                    items.u16(*pass)?.u16(*window)?;
                }
                Self::Cancelled(id) => {
                    items.array(2)?.u8(kind::CANCELLED)?.bytes(&id.0)?;
                }
            }
            Ok(())
        })();
        debug_assert!(written.is_ok(), "memory takes whatever is written");
        out
    }

    /// Reads a payload; only the deterministic encoding is accepted.
    ///
    /// # Errors
    /// Anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > Self::MAX_LEN {
            return Err(Malformed);
        }
        let mut items = Decoder::new(bytes);
        let length = items.array()?.ok_or(Malformed)?;
        let read = match (items.u8()?, length) {
            (kind::ANNOUNCED, 2) => Self::Announced(Announcement::read(&mut items)?),
            (kind::END_OF_PASS, 4) => Self::EndOfPass {
                id: image_id(&mut items)?,
                pass: items.u16()?,
                window: items.u16()?,
            },
            (kind::CANCELLED, 2) => Self::Cancelled(image_id(&mut items)?),
            _ => return Err(Malformed),
        };
        if read.encode() != bytes {
            return Err(Malformed);
        }
        Ok(read)
    }
}

/// How far a device is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceState {
    /// No distribution is known.
    #[default]
    Idle,
    /// Blocks are missing.
    Receiving,
    /// All blocks are there, and their digest is computed.
    Verifying,
    /// The image is the one that was announced.
    Verified,
    /// It is taken into use.
    Activating,
    /// It is in use.
    Activated,
    /// It did not come to that; the code says why.
    Failed,
}

impl DeviceState {
    const ALL: [Self; 7] = [
        Self::Idle,
        Self::Receiving,
        Self::Verifying,
        Self::Verified,
        Self::Activating,
        Self::Activated,
        Self::Failed,
    ];

    /// Does nothing more change on its own?
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Activated | Self::Failed)
    }

    fn number(self) -> u8 {
        self as u8
    }

    fn of_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// Which blocks a device misses, as far as 128 bytes can say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingBlocks {
    granularity: u32,
    granules: BlockSet,
}

impl MissingBlocks {
    /// The bitmap takes so many bytes at most.
    pub const MAX_BYTES: usize = 128;

    /// What is missing in this set, at the finest granularity that fits.
    pub fn of(have: &BlockSet) -> Self {
        let bits = 8 * Self::MAX_BYTES as u32;
        let granularity = have.total().div_ceil(bits).max(1);
        Self {
            granularity,
            granules: have.missing_granules(granularity),
        }
    }

    /// How many consecutive blocks one bit stands for, 1 or more.
    pub fn granularity(&self) -> u32 {
        self.granularity
    }

    /// May this block be missing? Granules of several blocks are said to be missing when one of them is.
    pub fn contains(&self, block: u32) -> bool {
        self.granules.contains(block / self.granularity)
    }
}

/// The keys of the status.
mod key {
    pub(super) const ID: u8 = 0;
    pub(super) const STATE: u8 = 1;
    pub(super) const CODE: u8 = 2;
    pub(super) const HAVE: u8 = 3;
    pub(super) const TOTAL: u8 = 4;
    pub(super) const MISSING: u8 = 5;
}

/// What a device says of the distribution it knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceStatus {
    /// The image; `None` if none is known.
    pub id: Option<ImageId>,
    /// How far it is.
    pub state: DeviceState,
    /// What came of it: 2.04 activated, 4.13 no room for it, 4.06 not for this device, 4.00 not what was announced,
    /// 5.00 the activation failed.
    pub code: Option<Code>,
    /// How many blocks are there.
    pub have: u32,
    /// How many blocks there are in total.
    pub total: u32,
    /// Which are missing; said only by unicast and while receiving.
    pub missing: Option<MissingBlocks>,
}

impl DeviceStatus {
    /// A status takes so many bytes at most.
    pub const MAX_LEN: usize = 192;

    /// The payload, in CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let count = 3
            + usize::from(self.id.is_some())
            + usize::from(self.code.is_some())
            + usize::from(self.missing.is_some());
        let mut out = Vec::new();
        let mut items = Encoder::new(&mut out);
        let written: Result<(), minicbor::encode::Error<core::convert::Infallible>> = (|| {
            items.map(count as u64)?;
            if let Some(id) = self.id {
                items.u8(key::ID)?.bytes(&id.0)?;
            }
            items.u8(key::STATE)?.u8(self.state.number())?;
            if let Some(code) = self.code {
                items.u8(key::CODE)?.u8(code.to_u8())?;
            }
            items.u8(key::HAVE)?.u32(self.have)?;
            items.u8(key::TOTAL)?.u32(self.total)?;
            if let Some(missing) = &self.missing {
                items.u8(key::MISSING)?.array(2)?.u32(missing.granularity)?;
                items.bytes(missing.granules.as_bytes())?;
            }
            Ok(())
        })();
        debug_assert!(written.is_ok(), "memory takes whatever is written");
        out
    }

    /// Reads a payload; only the deterministic encoding of a status that can be is accepted.
    ///
    /// # Errors
    /// Anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > Self::MAX_LEN {
            return Err(Malformed);
        }
        let mut items = Decoder::new(bytes);
        let mut read = Self::default();
        let mut missing = None;
        for _ in 0..items.map()?.ok_or(Malformed)? {
            match items.u8()? {
                key::ID => read.id = Some(image_id(&mut items)?),
                key::STATE => {
                    read.state = DeviceState::of_number(items.u8()?).ok_or(Malformed)?;
                }
                key::CODE => {
                    let code = Code::from_u8(items.u8()?);
                    read.code = Some(code).filter(|code| code.is_response());
                }
                key::HAVE => read.have = items.u32()?,
                key::TOTAL => read.total = items.u32()?,
                key::MISSING => {
                    if items.array()? != Some(2) {
                        return Err(Malformed);
                    }
                    missing = Some((items.u32()?, items.bytes()?));
                }
                _ => return Err(Malformed),
            }
        }
        if let Some((granularity, bitmap)) = missing {
            if granularity == 0 || bitmap.len() > MissingBlocks::MAX_BYTES {
                return Err(Malformed);
            }
            let granules = BlockSet::from_bytes(read.total.div_ceil(granularity), bitmap);
            read.missing = Some(MissingBlocks {
                granularity,
                granules: granules.ok_or(Malformed)?,
            });
        }
        if read.have > read.total || read.encode() != bytes {
            return Err(Malformed);
        }
        Ok(read)
    }
}

fn image_id(items: &mut Decoder<'_>) -> Result<ImageId, Malformed> {
    let id = items.bytes()?.try_into().map_err(|_| Malformed)?;
    Ok(ImageId(id))
}
