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
