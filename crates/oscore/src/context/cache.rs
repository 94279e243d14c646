//! Ciphers whose key schedule is worked out, for the peers talked to most recently.

use alloc::boxed::Box;
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

/// A few ciphers. They are dropped, and so erased, with their context.
pub(crate) struct KeyCache {
    limit: usize,
    entries: Vec<Entry>,
    /// How many times one was asked for.
    uses: u64,
}

struct Entry {
    role: Role,
    /// When it was asked for last.
    used: u64,
    /// Stays where it is, so that no copy is left behind.
    cipher: Box<Cipher>,
}

impl KeyCache {
    /// `limit` is at least 1.
    pub(crate) fn new(limit: usize) -> KeyCache {
        KeyCache {
            limit: limit.max(1),
            entries: Vec::new(),
            uses: 0,
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
        self.uses += 1;
        let known = self.entries.iter().position(|entry| entry.role == role);
        let at = match known {
            Some(at) => at,
            None => self.insert(role, make()?),
        };
        let entry = self.entries.get_mut(at).ok_or(CryptoError::Unavailable)?;
        entry.used = self.uses;
        Ok(&entry.cipher)
    }

    /// Where it is now: in place of what was not used for longest, when there are many.
    fn insert(&mut self, role: Role, cipher: Cipher) -> usize {
        let used = self.uses;
        let cipher = Box::new(cipher);
        let entry = Entry { role, used, cipher };
        let len = self.entries.len();
        if len < self.limit {
            self.entries.push(entry);
            return len;
        }
        let oldest = self.entries.iter_mut().enumerate();
        match oldest.min_by_key(|(_, entry)| entry.used) {
            Some((at, oldest)) => {
                *oldest = entry;
                at
            }
            None => len,
        }
    }

    /// Drops all ciphers of a Sender or Recipient Context.
    pub(crate) fn forget(&mut self, serial: u64) {
        self.entries.retain(|entry| entry.role.serial() != serial);
    }
}
