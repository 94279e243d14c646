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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::Aead;

    /// Whether the cipher had to be made.
    fn made(cache: &mut KeyCache, role: Role) -> bool {
        let mut made = false;
        let key = cache.aead(role, || {
            made = true;
            AeadKey::new(Aead::A128Gcm, &[7; 16])
        });
        assert_eq!(key.map(AeadKey::algorithm), Ok(Aead::A128Gcm));
        made
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let [first, second, third] = [1, 2, 3].map(Role::PairwiseSend);
        let mut cache = KeyCache::new(2);
        assert!(made(&mut cache, first));
        assert!(made(&mut cache, second));
        assert!(!made(&mut cache, first));
        assert!(made(&mut cache, third)); // in place of the second
        assert_eq!(cache.entries.len(), 2);
        assert!(!made(&mut cache, first));
        assert!(!made(&mut cache, third));
        assert!(made(&mut cache, second)); // in place of the first
        assert!(!made(&mut cache, third));
        assert!(made(&mut cache, first));
    }

    #[test]
    fn ciphers_are_told_apart_by_use_and_serial_and_forgotten_by_serial() {
        let mut cache = KeyCache::new(8);
        let roles = [
            Role::PairwiseSend(1),
            Role::PairwiseReceive(1),
            Role::PairwiseSend(2),
        ];
        for role in roles {
            assert!(made(&mut cache, role));
        }
        cache.forget(1);
        assert_eq!(cache.entries.len(), 1);
        assert!(!made(&mut cache, roles[2]));
        assert!(made(&mut cache, roles[0]));
        let group = cache.group(roles[2], || Err(CryptoError::Length));
        assert_eq!(group.err(), Some(CryptoError::Unavailable));
        assert!(made(&mut KeyCache::new(0), roles[0]));
    }
}
