//! The one parking lot: messages that wait for work to be done.
//!
//! It is bounded in messages, in bytes and per peer; whoever finds it full is dropped, as if the
//! network had lost the message. A message that waits too long leaves the same way.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use crate::exchange::{PeerKey, peer_key};
use crate::time::Instant;
use crate::work::WorkId;

/// Limits of the parking lot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkingLimits {
    /// Messages at a time. Default 256.
    pub messages: usize,
    /// Bytes of those messages. Default 256 KiB.
    pub bytes: usize,
    /// Messages of one peer at a time. Default 16.
    pub per_peer: usize,
    /// How long a message waits before it is dropped. Default 10 s.
    pub patience: Duration,
}

impl Default for ParkingLimits {
    fn default() -> Self {
        Self {
            messages: 256,
            bytes: 256 * 1024,
            per_peer: 16,
            patience: Duration::from_secs(10),
        }
    }
}

struct Slot<T> {
    id: WorkId,
    peer: PeerKey,
    since: Instant,
    bytes: usize,
    ticket: T,
}

/// In order of arrival, so the first is always the one that has waited longest.
pub(crate) struct ParkingLot<T> {
    limits: ParkingLimits,
    slots: VecDeque<Slot<T>>,
    bytes: usize,
    full: u64,
    expired: u64,
}

impl<T> ParkingLot<T> {
    /// What a message takes beside its bytes.
    pub(crate) const PLACE: usize = size_of::<Slot<T>>();

    pub(crate) fn new(limits: ParkingLimits) -> Self {
        Self {
            limits,
            slots: VecDeque::new(),
            bytes: 0,
            full: 0,
            expired: 0,
        }
    }

    /// Parks a message of `len` bytes until the work `id` is done. False: no room, the message is dropped.
    pub(crate) fn park(
        &mut self,
        now: Instant,
        id: WorkId,
        peer: SocketAddr,
        len: usize,
        ticket: T,
    ) -> bool {
        let peer = peer_key(peer);
        let of_peer = self.slots.iter().filter(|s| s.peer == peer).count();
        if self.slots.len() >= self.limits.messages
            || self.bytes.saturating_add(len) > self.limits.bytes
            || of_peer >= self.limits.per_peer
        {
            self.full += 1;
            return false;
        }
        self.bytes += len;
        self.slots.push_back(Slot {
            id,
            peer,
            since: now,
            bytes: len,
            ticket,
        });
        true
    }

    /// Takes out the message whose work is done; `None` if it has left meanwhile.
    pub(crate) fn take(&mut self, id: WorkId) -> Option<T> {
        let at = self.slots.iter().position(|s| s.id == id)?;
        let slot = self.slots.remove(at)?;
        self.bytes = self.bytes.saturating_sub(slot.bytes);
        Some(slot.ticket)
    }

    /// Drops the messages that have waited too long and returns the work nobody waits for any more.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<WorkId> {
        let mut gone = Vec::new();
        while self.next_timeout().is_some_and(|due| due <= now) {
            if let Some(slot) = self.slots.pop_front() {
                self.bytes = self.bytes.saturating_sub(slot.bytes);
                self.expired += 1;
                gone.push(slot.id);
            }
        }
        gone
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.slots.front().map(|s| s.since + self.limits.patience)
    }

    /// Messages waiting now.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Messages that found no room, and messages that waited too long.
    pub(crate) fn dropped(&self) -> (u64, u64) {
        (self.full, self.expired)
    }
}

#[cfg(test)]
mod tests;
