//! Ciphers whose key schedule is worked out, for the peers talked to most recently.

use alloc::vec::Vec;

use crate::crypto::{AeadKey, CryptoError, GroupKey};

/// What a key is for. The number is the serial of the Recipient Context, or of the own Sender Context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    GroupSend(u64),
    GroupReceive(u64),
    PairwiseSend(u64),
    PairwiseReceive(u64),
}

impl Role {
    const fn serial(self) -> u64 {
        match self {
            Role::GroupSend(serial)
            | Role::GroupReceive(serial)
            | Role::PairwiseSend(serial)
            | Role::PairwiseReceive(serial) => serial,
        }
    }
}

pub(crate) enum Cipher {
    Aead(AeadKey),
    Group(GroupKey),
}

/// A few ciphers, the one used last in front. They are dropped, and so erased, with their context.
pub(crate) struct KeyCache {
    limit: usize,
    entries: Vec<(Role, Cipher)>,
}

impl KeyCache {
    /// `limit` is at least 1.
    pub(crate) fn new(limit: usize) -> KeyCache {
        KeyCache {
            limit: limit.max(1),
            entries: Vec::new(),
        }
    }

    /// The pairwise cipher for `role`, made when it is not there.
    pub(crate) fn aead(
        &mut self,
        role: Role,
        make: impl FnOnce() -> Result<AeadKey, CryptoError>,
    ) -> Result<&AeadKey, CryptoError> {
        match self.find(role, || Ok(Cipher::Aead(make()?)))? {
            Cipher::Aead(key) => Ok(key),
            Cipher::Group(_) => Err(CryptoError::Unavailable),
        }
    }

    /// The group cipher for `role`, made when it is not there.
    pub(crate) fn group(
        &mut self,
        role: Role,
        make: impl FnOnce() -> Result<GroupKey, CryptoError>,
    ) -> Result<&GroupKey, CryptoError> {
        match self.find(role, || Ok(Cipher::Group(make()?)))? {
            Cipher::Group(key) => Ok(key),
            Cipher::Aead(_) => Err(CryptoError::Unavailable),
        }
    }

    fn find(
        &mut self,
        role: Role,
        make: impl FnOnce() -> Result<Cipher, CryptoError>,
    ) -> Result<&Cipher, CryptoError> {
        let at = match self.entries.iter().position(|(of, _)| *of == role) {
            Some(at) => at,
            None => {
                let cipher = make()?;
                if self.entries.len() >= self.limit {
                    // Whatever was not used for longest has sunk to the end.
                    self.entries.pop();
                }
                self.entries.push((role, cipher));
                self.entries.len() - 1
            }
        };
        // Rises by one place for each use: cheap, and in the long run the busiest stand in front.
        let up = at.saturating_sub(1);
        self.entries.swap(up, at);
        match self.entries.get(up) {
            Some((_, cipher)) => Ok(cipher),
            None => Err(CryptoError::Unavailable),
        }
    }

    /// Drops all ciphers of a Sender or Recipient Context.
    pub(crate) fn forget(&mut self, serial: u64) {
        self.entries.retain(|(role, _)| role.serial() != serial);
    }
}
