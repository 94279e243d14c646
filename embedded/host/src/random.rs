//! Randomness of the operating system.

use std::fs::File;
use std::io::{self, Read};

/// So many random bytes.
pub(crate) fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A number from `low` to `high`.
pub(crate) fn between(low: u64, high: u64) -> io::Result<u64> {
    let number = u64::from_le_bytes(bytes()?);
    Ok(low + number % (high - low + 1))
}

/// Between `low` and `high` random bytes, at most 32.
pub(crate) fn some(low: u64, high: u64) -> io::Result<Vec<u8>> {
    let len = between(low, high)? as usize;
    Ok(bytes::<32>()?[..len].to_vec())
}
