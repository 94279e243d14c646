//! Randomness for hedged ECDSA signatures.

use core::cell::Cell;
use core::convert::Infallible;

use p256::ecdsa::signature::rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroizing;

use crate::crypto::hkdf;
use crate::suite::Hkdf;

/// What hedged signatures depend on beside key and message: different bytes for each.
pub(super) struct Hedge {
    seed: Zeroizing<[u8; 32]>,
    signatures: Cell<u64>,
}

impl Hedge {
    pub(super) fn new(seed: &[u8; 32]) -> Hedge {
        Hedge {
            seed: Zeroizing::new(*seed),
            signatures: Cell::new(0),
        }
    }
}

impl TryRng for &Hedge {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        let count = self.signatures.get();
        self.signatures.set(count.wrapping_add(1));
        // too long an output is the one thing that fails, and leaves the deterministic signature
        let _ = hkdf(
            Hkdf::Sha256,
            b"antiphon hedge",
            &[self.seed.as_slice()],
            &count.to_be_bytes(),
            dst,
        );
        Ok(())
    }
}

impl TryCryptoRng for &Hedge {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_first_bytes_of_what_the_seed_gives_and_never_the_same() {
        let bytes = |before: usize| {
            let hedge = Hedge::new(&[7; 32]);
            let mut bytes = [0; 8];
            for _ in 0..=before {
                (&hedge).try_fill_bytes(&mut bytes).unwrap();
            }
            bytes
        };
        let hedge = Hedge::new(&[7; 32]);
        let Ok(short) = (&hedge).try_next_u32();
        let Ok(long) = (&hedge).try_next_u64();
        assert_eq!(short.to_be_bytes(), bytes(0)[..4]);
        assert_eq!(long.to_be_bytes(), bytes(1));
        assert_ne!(bytes(0), bytes(1));
        let other = Hedge::new(&[8; 32]);
        assert_ne!((&other).try_next_u32(), Ok(short));
    }
}
