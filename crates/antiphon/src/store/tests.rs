//! What a store promises, on a disk that keeps only what it promised, and on real files.

mod crashes;
mod damage;
#[cfg(unix)]
mod files;
mod flash;
mod owners;
mod reservation;
mod sharing;
pub(crate) mod sim_disk;
mod talks;
pub(super) mod tracker;

use super::*;
use sim_disk::SimDisk;

pub(crate) fn key() -> SealKey {
    SealKey::new([7; 32])
}

/// Entropy that is the same in every run.
pub(crate) fn seeded(seed: u64) -> impl FnMut(&mut [u8]) -> io::Result<()> + Send + 'static {
    let mut rng = antiphon_netsim::Rng::new(seed);
    move |bytes| {
        rng.fill(bytes);
        Ok(())
    }
}

/// All records of one name as they are; to compare.
pub(super) fn of<'a>(records: &'a Records, name: &str) -> Vec<&'a [u8]> {
    records
        .get(name)
        .map(|records| records.iter().map(|record| record.as_slice()).collect())
        .unwrap_or_default()
}
