//! What a device notes for the time after a restart.

use alloc::vec::Vec;

use antiphon_wire::Code;
use minicbor::data::Type;
use minicbor::decode::Decoder;
use minicbor::encode::Encoder;

use crate::distribution::announcement::{Announcement, ImageId};
use crate::distribution::block_set::BlockSet;
use crate::distribution::message::Malformed;

/// No release has written a record yet, so the stages below are all of the first format. A stage that comes after a release makes a
/// new one, because readers refuse stages that they do not know.
const FORMAT: u8 = 1;
/// What a record takes beside announcement and bitmap: the array and the heads of its items.
const HEADS: u64 = 20;

/// The record of a distribution of so many blocks has so many bytes at most.
pub(super) const fn longest(blocks: u32) -> u64 {
    HEADS + Announcement::MAX_LEN as u64 + blocks.div_ceil(8) as u64
}

/// The record: CBOR `[1, installed or null, null]` when no distribution is known, else
/// `[1, installed or null, announcement, stage, ...]`, with the bitmap of blocks in stage 0, nothing in stage 1, the code in stage 2,
/// and how often activation was begun in stage 3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// The image activated last.
    pub(super) installed: Option<ImageId>,
    /// The distribution that is known.
    pub(super) of: Option<(Announcement, Noted)>,
}

/// How far a distribution is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// These blocks are there.
    Blocks(BlockSet),
    Activated,
    Failed(Code),
    /// All blocks are there, and activation was begun so often.
    Activating(u8),
}

impl Record {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut items = Encoder::new(&mut out);
        let written: Result<(), minicbor::encode::Error<core::convert::Infallible>> = (|| {
            let count = match &self.of {
                None => 3,
                Some((_, Noted::Activated)) => 4,
                Some(_) => 5,
            };
            items.array(count)?.u8(FORMAT)?;
            match self.installed {
                Some(id) => items.bytes(&id.0)?,
                None => items.null()?,
            };
            let Some((announcement, noted)) = &self.of else {
                items.null()?;
                return Ok(());
            };
            items.bytes(&announcement.encode())?;
            match noted {
                Noted::Blocks(have) => items.u8(0)?.bytes(have.as_bytes())?,
                Noted::Activated => items.u8(1)?,
                Noted::Failed(code) => items.u8(2)?.u8(code.to_u8())?,
                Noted::Activating(times) => items.u8(3)?.u8(*times)?,
            };
            Ok(())
        })();
        debug_assert!(written.is_ok(), "memory takes whatever is written");
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut items = Decoder::new(bytes);
        let count = items.array()?.ok_or(Malformed)?;
        if items.u8()? != FORMAT {
            return Err(Malformed);
        }
        let mut read = Self::default();
        if items.datatype()? == Type::Null {
            items.null()?;
        } else {
            read.installed = Some(ImageId(items.bytes()?.try_into().map_err(|_| Malformed)?));
        }
        if count == 3 {
            items.null()?;
        } else {
            let announcement = Announcement::decode(items.bytes()?)?;
            let noted = match (items.u8()?, count) {
                (0, 5) => {
                    let have = BlockSet::from_bytes(announcement.blocks(), items.bytes()?);
                    Noted::Blocks(have.ok_or(Malformed)?)
                }
                (1, 4) => Noted::Activated,
                (2, 5) => Noted::Failed(Code::from_u8(items.u8()?)),
                (3, 5) => Noted::Activating(items.u8()?),
                _ => return Err(Malformed),
            };
            read.of = Some((announcement, noted));
        }
        if items.position() != bytes.len() {
            return Err(Malformed);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn a_record_reads_back_and_nothing_else_is_one() {
        let announcement = Announcement::new(1_000, 64, [7; 32]).unwrap();
        let mut have = BlockSet::new(16);
        have.insert(3);
        let id = Some(ImageId([9; 8]));
        let of = |noted| Some((announcement.clone(), noted));
        let records = [
            (None, None),
            (id, None),
            (None, of(Noted::Blocks(have))),
            (id, of(Noted::Blocks(BlockSet::full(16)))),
            (id, of(Noted::Activated)),
            (None, of(Noted::Failed(Code::BAD_REQUEST))),
            (None, of(Noted::Activating(200))),
        ];
        for (installed, of) in records {
            let record = Record { installed, of };
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes), Ok(record));
            for cut in 0..bytes.len() {
                assert_eq!(Record::decode(&bytes[..cut]), Err(Malformed));
            }
            let longer = [&bytes[..], &[0]].concat();
            assert_eq!(Record::decode(&longer), Err(Malformed));
            let mut other = bytes.clone();
            other[1] = 2;
            assert_eq!(Record::decode(&other), Err(Malformed), "another format");
        }
        // heads of 3 bytes for the announcement and of 5 for the bitmap
        let of = of(Noted::Blocks(BlockSet::new(16)));
        let length = Record { installed: id, of }.encode().len() as u64;
        let announced = announcement.encode().len() as u64;
        assert_eq!(
            length,
            longest(16) - Announcement::MAX_LEN as u64 + announced - 1 - 4
        );
        assert_eq!(longest(17), longest(16) + 1);
        assert_eq!(longest(Announcement::MAX_BLOCKS), (3 << 25) + 1_044);
        let mut items = Encoder::new(vec![]);
        items.array(5).unwrap().u8(1).unwrap().null().unwrap();
        items.bytes(&announcement.encode()).unwrap();
        items.u8(0).unwrap().bytes(&[0; 3]).unwrap();
        let wrong = items.into_writer();
        assert_eq!(Record::decode(&wrong), Err(Malformed), "bits of 24 blocks");
    }
}
