//! Bytes that nobody may see.

use alloc::vec::Vec;
use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Secret bytes: a Master Secret, a key, a shared secret. They are overwritten when dropped, compared in constant time
/// (two of different length are unequal at once: lengths are no secret), and absent from `Debug`.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over the bytes; their memory is overwritten when this is dropped.
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(Zeroizing::new(bytes))
    }

    /// Copies the bytes. Overwriting the original remains the caller's duty.
    pub fn copy_of(bytes: &[u8]) -> Secret {
        Secret::new(bytes.to_vec())
    }

    /// The bytes themselves, for those who compute with them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn zeroed(len: usize) -> Secret {
        Secret::new(alloc::vec![0; len])
    }

    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for Secret {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn secrets_are_compared_whole() {
        let secret = Secret::copy_of(&[1, 2, 3]);
        assert_eq!(secret, Secret::new(alloc::vec![1, 2, 3]));
        for other in [&[1, 2, 4][..], &[0, 2, 3], &[1, 2], &[1, 2, 3, 0], &[]] {
            assert_ne!(secret, Secret::copy_of(other));
        }
        assert_eq!((secret.len(), secret.is_empty()), (3, false));
        assert!(Secret::new(Vec::new()).is_empty());
    }

    #[test]
    fn debug_shows_neither_bytes_nor_length() {
        assert_eq!(format!("{:?}", Secret::copy_of(&[0xab; 16])), "Secret(..)");
        assert_eq!(format!("{:#?}", Secret::new(Vec::new())), "Secret(..)");
    }
}
