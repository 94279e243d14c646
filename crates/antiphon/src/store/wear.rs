//! What a store costs its medium.

/// What was asked of the medium over the whole life of a store. What was written between a crash and the opening before it is missing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Wear {
    /// Bytes written, the witness included.
    pub bytes: u64,
    /// Syncs of files and of the directory.
    pub syncs: u64,
    /// How often the file was written anew.
    pub compactions: u64,
    /// How often that was tried and did not work.
    pub failed_compactions: u64,
}

impl Wear {
    pub(super) const LENGTH: usize = 32;

    pub(super) fn encode(self) -> [u8; Wear::LENGTH] {
        let mut bytes = [0; Wear::LENGTH];
        let numbers = [
            self.bytes,
            self.syncs,
            self.compactions,
            self.failed_compactions,
        ];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: [u8; Wear::LENGTH]) -> Wear {
        let mut numbers = bytes.chunks_exact(8).map(|number| {
            number
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        });
        let mut next = || numbers.next().unwrap_or_default();
        Wear {
            bytes: next(),
            syncs: next(),
            compactions: next(),
            failed_compactions: next(),
        }
    }
}
