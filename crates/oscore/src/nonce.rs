//! Partial IVs and nonces (RFC 8613, sections 5.2 and 6.1; draft-ietf-core-oscore-groupcomm-28, section 3.3).

use core::fmt;

/// A Partial IV: a sequence number below 2^40, and its encoding without leading zeros.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PartialIv([u8; 8]);

impl PartialIv {
    /// The smallest.
    pub const ZERO: PartialIv = PartialIv([0; 8]);
    /// The largest: 2^40 - 1.
    pub const MAX: PartialIv = PartialIv([0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff]);

    /// The Partial IV of this sequence number, below 2^40.
    pub const fn new(sequence_number: u64) -> Option<PartialIv> {
        if sequence_number >> 40 == 0 {
            Some(PartialIv(sequence_number.to_be_bytes()))
        } else {
            None
        }
    }

    /// The sequence number.
    pub const fn value(self) -> u64 {
        u64::from_be_bytes(self.0)
    }

    /// The encoding in messages, keys and authenticated data: network byte order, 1 to 5 bytes, no leading zeros; the value
    /// 0 is the single byte 00.
    pub fn as_bytes(&self) -> &[u8] {
        let zeros = (self.value().leading_zeros() / 8).min(7) as usize;
        self.0.get(zeros..).unwrap_or_default()
    }

    /// Reads the encoding. `None`: empty, longer than 5 bytes, or with a leading zero. No document says what a receiver
    /// does with those zeros; whoever reads them as the same number computes other bytes for the keystream and the
    /// authenticated data than a sender that uses them as they are.
    pub fn from_wire(bytes: &[u8]) -> Option<PartialIv> {
        if !matches!(bytes.len(), 1..=5) || (bytes.len() > 1 && bytes.first() == Some(&0)) {
            return None;
        }
        let mut value = [0; 8];
        value.get_mut(8 - bytes.len()..)?.copy_from_slice(bytes);
        PartialIv::new(u64::from_be_bytes(value))
    }
}

impl fmt::Debug for PartialIv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartialIv({})", self.value())
    }
}

const MAX_NONCE: usize = 13;
const PARTIAL_IV: usize = 5;

/// The nonce of one message: 7 to 13 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Nonce {
    bytes: [u8; MAX_NONCE],
    len: usize,
}

/// With ID and Partial IV, which everybody sees, it would show the Common IV.
impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(..)")
    }
}

impl Nonce {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The nonce of `len` bytes for the algorithm that protects this message. `id` is the Sender ID of the endpoint that
/// generated the Partial IV. Of a Common IV that is longer than the nonce, the leading bytes count.
///
/// `None`: a nonce of 7 to 13 bytes cannot be made of these, because the identifier is longer than `len` - 6 bytes or the
/// Common IV shorter than `len`.
pub fn nonce(len: usize, id: &[u8], piv: PartialIv, common_iv: &[u8]) -> Option<Nonce> {
    if !(PARTIAL_IV + 2..=MAX_NONCE).contains(&len) {
        return None;
    }
    // size of the ID | zeros | ID | zeros | Partial IV
    let mut bytes = [0; MAX_NONCE];
    let id_end = len - PARTIAL_IV;
    let id_start = id_end.checked_sub(id.len()).filter(|start| *start >= 1)?;
    *bytes.first_mut()? = u8::try_from(id.len()).ok()?;
    bytes.get_mut(id_start..id_end)?.copy_from_slice(id);
    bytes.get_mut(id_end..len)?.copy_from_slice(piv.0.get(3..)?);
    for (byte, mask) in bytes.iter_mut().zip(common_iv.get(..len)?) {
        *byte ^= mask;
    }
    Some(Nonce { bytes, len })
}

#[cfg(test)]
mod tests;
