//! Randomness, handed in as a seed.
//!
//! Two independent streams come from the one seed: values that an observer of the network sees
//! (tokens, Message IDs, delays), and values that must stay secret (keys of the hash maps). Seeing the
//! first says nothing of the second.

use core::hash::{BuildHasher, Hasher};
use core::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng as _, SeedableRng};
use siphasher::sip::SipHasher13;

/// The endpoint's source of randomness. The same seed gives the same run.
pub struct Rng {
    visible: ChaCha12Rng,
    secret: ChaCha12Rng,
}

impl Rng {
    /// Starts both streams from `seed`, which in production is 32 bytes from the operating system.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let mut visible = ChaCha12Rng::from_seed(seed);
        let mut secret = ChaCha12Rng::from_seed(seed);
        visible.set_stream(1);
        secret.set_stream(2);
        Self { visible, secret }
    }

    /// Fills `bytes` with values that may be seen on the wire.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.visible.fill_bytes(bytes);
    }

    /// A 16-bit value that may be seen on the wire.
    pub fn u16(&mut self) -> u16 {
        let mut bytes = [0; 2];
        self.fill(&mut bytes);
        u16::from_ne_bytes(bytes)
    }

    /// A 64-bit value that may be seen on the wire.
    pub fn u64(&mut self) -> u64 {
        self.visible.next_u64()
    }

    /// Uniform in `0..=limit`, to the microsecond. A zero limit is always zero: "at once".
    pub fn duration_up_to(&mut self, limit: Duration) -> Duration {
        let limit = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.up_to(limit))
    }

    /// Uniform in `0..=limit`, without modulo bias.
    pub fn up_to(&mut self, limit: u64) -> u64 {
        let Some(count) = limit.checked_add(1) else {
            return self.u64();
        };
        // Multiply-shift with rejection of the incomplete last interval.
        let threshold = count.wrapping_neg() % count;
        loop {
            let wide = u128::from(self.u64()) * u128::from(count);
            let (high, low) = ((wide >> 64) as u64, wide as u64);
            if low >= threshold {
                return high;
            }
        }
    }

    /// A hasher whose key no one outside knows, so that nobody can choose colliding addresses,
    /// tokens or paths.
    pub fn keyed_hash(&mut self) -> KeyedHash {
        KeyedHash {
            k0: self.secret.next_u64(),
            k1: self.secret.next_u64(),
        }
    }
}

impl core::fmt::Debug for Rng {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Rng")
    }
}

/// Makes SipHash-1-3 hashers with a secret key: the [`BuildHasher`] of every map that holds keys
/// chosen by others.
#[derive(Clone)]
pub struct KeyedHash {
    k0: u64,
    k1: u64,
}

impl KeyedHash {
    /// The hash of some bytes.
    pub fn bytes(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.build_hasher();
        hasher.write(bytes);
        hasher.finish()
    }
}

impl BuildHasher for KeyedHash {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.k0, self.k1)
    }
}

impl core::fmt::Debug for KeyedHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("KeyedHash")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_values_and_another_seed_others() {
        let draw = |seed| {
            let mut rng = Rng::from_seed([seed; 32]);
            (rng.u64(), rng.u16(), rng.up_to(1_000_000))
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn drawing_secret_keys_does_not_disturb_the_visible_stream() {
        let (mut a, mut b) = (Rng::from_seed([7; 32]), Rng::from_seed([7; 32]));
        let key = a.keyed_hash();
        assert_ne!(key.bytes(b"x"), a.keyed_hash().bytes(b"x"));
        assert_eq!(a.u64(), b.u64());
    }

    #[test]
    fn up_to_reaches_both_ends_and_nothing_beyond() {
        let mut rng = Rng::from_seed([3; 32]);
        let mut seen = [0u32; 5];
        for _ in 0..10_000 {
            seen[usize::try_from(rng.up_to(4)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|n| (1_800..2_200).contains(n)), "{seen:?}");
        assert_eq!(rng.duration_up_to(Duration::ZERO), Duration::ZERO);
        assert_eq!(rng.up_to(0), 0);
    }
}
