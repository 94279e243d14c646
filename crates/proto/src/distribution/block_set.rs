//! Which blocks there are: one bit for each.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// A set of block numbers below a total. Takes an eighth of a byte for each block.
///
/// As bytes: block n is bit n mod 8, counted from the least significant, of byte n / 8; bits beyond the total are 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockSet {
    total: u32,
    len: u32,
    bytes: Vec<u8>,
}

impl BlockSet {
    /// No block of `total`.
    pub fn new(total: u32) -> Self {
        Self {
            total,
            len: 0,
            bytes: vec![0; bytes_for(total)],
        }
    }

    /// All blocks of `total`.
    pub fn full(total: u32) -> Self {
        let mut bytes = vec![0xff; bytes_for(total)];
        if let Some(last) = bytes.last_mut() {
            *last &= last_byte(total);
        }
        Self {
            total,
            len: total,
            bytes,
        }
    }

    /// The set of these bytes; `None` if there are not exactly as many as `total` takes, or a bit beyond it is set.
    pub fn from_bytes(total: u32, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != bytes_for(total) {
            return None;
        }
        if bytes
            .last()
            .is_some_and(|last| last & !last_byte(total) != 0)
        {
            return None;
        }
        Some(Self {
            total,
            len: bytes.iter().map(|byte| byte.count_ones()).sum(),
            bytes: bytes.to_vec(),
        })
    }

    /// The set as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many blocks there could be.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// How many blocks are in the set.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Is none in the set?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Are all in the set?
    pub fn is_full(&self) -> bool {
        self.len == self.total
    }

    /// Is this block in the set?
    pub fn contains(&self, block: u32) -> bool {
        block < self.total
            && self
                .bytes
                .get((block / 8) as usize)
                .is_some_and(|byte| byte & (1 << (block % 8)) != 0)
    }

    /// Adds a block; says whether it is new. One at or beyond the total is never added.
    pub fn insert(&mut self, block: u32) -> bool {
        if block >= self.total || self.contains(block) {
            return false;
        }
        if let Some(byte) = self.bytes.get_mut((block / 8) as usize) {
            *byte |= 1 << (block % 8);
            self.len += 1;
        }
        true
    }

    /// Removes a block; says whether it was there.
    pub fn remove(&mut self, block: u32) -> bool {
        if !self.contains(block) {
            return false;
        }
        if let Some(byte) = self.bytes.get_mut((block / 8) as usize) {
            *byte &= !(1 << (block % 8));
            self.len -= 1;
        }
        true
    }

    /// The first block at or after `from` that is not in the set.
    pub fn next_missing(&self, from: u32) -> Option<u32> {
        self.missing_in(from..self.total)
    }

    /// The first block of this range that is not in the set; nothing beyond the total counts.
    pub(super) fn missing_in(&self, range: Range<u32>) -> Option<u32> {
        self.first(range, 0xff)
    }

    /// The first block at or after `from` that is in the set.
    pub(super) fn next_present(&self, from: u32) -> Option<u32> {
        self.first(from..self.total, 0)
    }

    /// The first block of this range whose bit is set after these bits of each byte were flipped. Looks at no byte beyond it.
    fn first(&self, range: Range<u32>, flipped: u8) -> Option<u32> {
        let end = range.end.min(self.total);
        let mut block = range.start;
        while block < end {
            let byte = *self.bytes.get((block / 8) as usize)?;
            let wanted = (byte ^ flipped) & (0xff << (block % 8));
            if wanted != 0 {
                let found = (block & !7) + wanted.trailing_zeros();
                return (found < end).then_some(found);
            }
            block = (block & !7).checked_add(8)?;
        }
        None
    }

    /// The granules of which at least one block is missing: granule g are the blocks from g times `granularity`, so many of
    /// them. `granularity` 0 counts as 1.
    pub fn missing_granules(&self, granularity: u32) -> BlockSet {
        let granularity = granularity.max(1);
        let mut granules = BlockSet::new(self.total.div_ceil(granularity));
        let mut from = Some(0);
        while let Some(missing) = from.and_then(|from| self.next_missing(from)) {
            let granule = missing / granularity;
            granules.insert(granule);
            from = granule
                .checked_add(1)
                .and_then(|next| next.checked_mul(granularity));
        }
        granules
    }
}

fn bytes_for(total: u32) -> usize {
    total.div_ceil(8) as usize
}

/// The bits of the last byte that stand for blocks.
fn last_byte(total: u32) -> u8 {
    match total % 8 {
        0 => 0xff,
        bits => (1 << bits) - 1,
    }
}
