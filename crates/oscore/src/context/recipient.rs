//! Recipient Contexts: what is known of each peer (draft section 2.2).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use sha2::{Digest, Sha256};

use crate::credential::Credential;
use crate::echo::Challenges;
use crate::identity::Kid;
use crate::replay::ReplayWindow;
use crate::secret::Secret;

/// Stands for a credential where its bytes would take too much room: the first half of its SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CredentialHash([u8; 16]);

impl CredentialHash {
    /// Where there is no credential: of the peer of a pair.
    pub(crate) const NONE: CredentialHash = CredentialHash([0; 16]);

    pub(crate) fn of(credential: &[u8]) -> CredentialHash {
        let digest: [u8; 32] = Sha256::digest(credential).into();
        let mut half = [0; 16];
        half.iter_mut()
            .zip(digest)
            .for_each(|(to, from)| *to = from);
        CredentialHash(half)
    }
}

/// The AEAD keys between this endpoint and one peer.
pub(crate) struct PairwiseKeys {
    pub(crate) send: Secret,
    pub(crate) receive: Secret,
}

/// One peer.
pub(crate) struct Recipient {
    /// Never the same for two Recipient Contexts of a group at this endpoint.
    pub(crate) serial: u64,
    pub(crate) key: Secret,
    pub(crate) credential: Credential,
    pub(crate) hash: CredentialHash,
    pub(crate) window: ReplayWindow,
    pub(crate) pairwise: Option<PairwiseKeys>,
    /// Made for a message that has not verified yet (draft section 2.6.1.2).
    pub(crate) provisional: bool,
    /// A request of this peer was verified as fresh in this context (draft section 9).
    pub(crate) fresh: bool,
    /// The challenges that it was sent.
    pub(crate) challenges: Challenges,
    /// The peer has had a response with the present own Sender ID (draft section 7.3).
    pub(crate) knows_sender_id: bool,
    /// Messages in a row that did not verify.
    pub(crate) failures: u32,
    /// When one of its messages verified last, or one was sent to it alone; before that, when it was first looked at.
    pub(crate) used_at: Option<Duration>,
}

impl Recipient {
    /// A message of it verified.
    pub(crate) fn verified(&mut self, now: Duration) {
        self.provisional = false;
        self.failures = 0;
        self.used_at = Some(now);
    }
}

/// All peers under one context, bounded.
pub(crate) struct Recipients {
    by_id: BTreeMap<u64, Box<Recipient>>,
    /// Under which IDs a credential is known, in order.
    by_credential: Vec<(CredentialHash, u64)>,
    limit: usize,
    provisional_limit: usize,
    /// A Recipient Context was deleted: those made from now on do not know what was received before
    /// (draft section 2.6.1.2).
    ever_deleted: bool,
}

/// A Recipient Context that was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// As many as are allowed: another one has to be deleted first.
    Recipients,
    /// The ID is taken.
    Taken,
}

impl Recipients {
    pub(crate) fn new(limit: usize, provisional_limit: usize, ever_deleted: bool) -> Recipients {
        Recipients {
            by_id: BTreeMap::new(),
            by_credential: Vec::new(),
            limit,
            provisional_limit,
            ever_deleted,
        }
    }

    pub(crate) fn get(&self, kid: Kid) -> Option<&Recipient> {
        self.by_id.get(&kid.packed()).map(|peer| &**peer)
    }

    pub(crate) fn get_mut(&mut self, kid: Kid) -> Option<&mut Recipient> {
        self.by_id.get_mut(&kid.packed()).map(|peer| &mut **peer)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn ever_deleted(&self) -> bool {
        self.ever_deleted
    }

    pub(crate) fn set_ever_deleted(&mut self) {
        self.ever_deleted = true;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Kid, &Recipient)> {
        self.by_id
            .iter()
            .map(|(id, peer)| (Kid::unpacked(*id), &**peer))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Kid, &mut Recipient)> {
        self.by_id
            .iter_mut()
            .map(|(id, peer)| (Kid::unpacked(*id), &mut **peer))
    }

    /// Whoever holds this credential now.
    pub(crate) fn holder(&self, hash: CredentialHash) -> Option<(Kid, &Recipient)> {
        let place = self.by_credential.partition_point(|known| known.0 < hash);
        let (of, id) = self.by_credential.get(place)?;
        let peer = self.by_id.get(id).filter(|_| *of == hash)?;
        Some((Kid::unpacked(*id), peer))
    }

    /// Adds a peer; gives the one whose place it has taken. That is one that is not verified yet, with its ID or where there is no room:
    /// for another such one the oldest if there are many, for a member always. A verified one loses its place to nobody.
    pub(crate) fn insert(
        &mut self,
        kid: Kid,
        peer: Recipient,
    ) -> Result<Option<Box<Recipient>>, Full> {
        let mut gone = None;
        if let Some(known) = self.get(kid) {
            if peer.provisional || !known.provisional {
                return Err(Full::Taken);
            }
            gone = self.remove(kid);
        }
        let full = self.by_id.len() >= self.limit;
        if peer.provisional || full {
            let (oldest, count) = self.provisional();
            let crowded = !peer.provisional || count >= self.provisional_limit.max(1);
            if let Some(oldest) = oldest.filter(|_| crowded) {
                gone = self.remove(oldest);
            }
        }
        if self.by_id.len() >= self.limit {
            return Err(Full::Recipients);
        }
        let known = (peer.hash, kid.packed());
        let (Ok(place) | Err(place)) = self.by_credential.binary_search(&known);
        self.by_credential.insert(place, known);
        self.by_id.insert(kid.packed(), Box::new(peer));
        Ok(gone)
    }

    /// The oldest of the peers that are not verified yet, and how many there are.
    fn provisional(&self) -> (Option<Kid>, usize) {
        let mut count = 0;
        let waiting = self.iter().filter(|(_, peer)| peer.provisional);
        let oldest = waiting
            .inspect(|_| count += 1)
            .min_by_key(|(_, peer)| peer.serial);
        let oldest = oldest.map(|(kid, _)| kid);
        (oldest, count)
    }

    fn remove(&mut self, kid: Kid) -> Option<Box<Recipient>> {
        let peer = self.by_id.remove(&kid.packed())?;
        let known = (peer.hash, kid.packed());
        if let Ok(place) = self.by_credential.binary_search(&known) {
            self.by_credential.remove(place);
        }
        Some(peer)
    }

    /// Deletes a Recipient Context. From now on new ones begin with an invalid window, unless this one was made
    /// for a message that never verified.
    pub(crate) fn delete(&mut self, kid: Kid) -> Option<Box<Recipient>> {
        let peer = self.remove(kid)?;
        self.ever_deleted |= !peer.provisional;
        Some(peer)
    }
}
