//! The one parking lot: messages that wait for work to be done, those that came in and those on their way out.
//!
//! It is bounded in messages, in bytes and per peer; whoever finds it full is dropped, as if the
//! network had lost the message. A message that waits too long leaves the same way. What comes in, which others
//! decide, never takes the places kept for what goes out.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use hashbrown::HashMap;

use crate::rng::{KeyedHash, Rng};
use crate::time::Instant;
use crate::work::WorkId;

/// Limits of the parking lot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkingLimits {
    /// Messages at a time. Default 2048.
    pub messages: usize,
    /// Bytes of those messages. Default 1 MiB.
    pub bytes: usize,
    /// Messages of one address at a time, whatever its ports. Default 64.
    pub per_peer: usize,
    /// Of the messages, so many places are kept for messages on their way out. Default 512; a quarter of `messages` at most.
    pub outgoing: usize,
    /// How long a message waits before it is dropped. Default 10 s.
    pub patience: Duration,
}

impl Default for ParkingLimits {
    fn default() -> Self {
        Self {
            messages: 2_048,
            bytes: 1 << 20,
            per_peer: 64,
            outgoing: 512,
            patience: Duration::from_secs(10),
        }
    }
}

impl ParkingLimits {
    /// The memory for the messages, at most, when each has a place of `place` bytes.
    pub(crate) const fn memory_total(&self, place: usize) -> usize {
        // A tree is at least half full; a map moves into one twice as large.
        self.bytes + self.messages * (3 * place + 4 * (size_of::<(IpAddr, usize)>() + 1)) + 256
    }
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Incoming,
    Outgoing,
}

struct Slot<T> {
    peer: IpAddr,
    since: Instant,
    bytes: usize,
    direction: Direction,
    ticket: T,
}

/// By the ids of their work. These only grow, so the first is always the one that has waited longest.
pub(crate) struct ParkingLot<T> {
    limits: ParkingLimits,
    slots: BTreeMap<WorkId, Box<Slot<T>>>,
    of_peer: HashMap<IpAddr, usize, KeyedHash>,
    incoming: usize,
    incoming_bytes: usize,
    bytes: usize,
    full: u64,
    expired: u64,
}

impl<T> ParkingLot<T> {
    /// What a message takes beside its bytes.
    pub(crate) const PLACE: usize = size_of::<(WorkId, Slot<T>)>();

    pub(crate) fn new(limits: ParkingLimits, rng: &mut Rng) -> Self {
        Self {
            limits,
            slots: BTreeMap::new(),
            of_peer: HashMap::with_hasher(rng.keyed_hash()),
            incoming: 0,
            incoming_bytes: 0,
            bytes: 0,
            full: 0,
            expired: 0,
        }
    }

    /// Parks a message of `len` bytes until the work `id` is done. An error: no room; the ticket comes back, the message is dropped.
    pub(crate) fn park(
        &mut self,
        now: Instant,
        id: WorkId,
        peer: SocketAddr,
        len: usize,
        direction: Direction,
        ticket: T,
    ) -> Result<(), T> {
        if !self.has_room(peer, len, direction) {
            self.full += 1;
            return Err(ticket);
        }
        let peer = peer.ip().to_canonical();
        *self.of_peer.entry(peer).or_default() += 1;
        self.bytes += len;
        if direction == Direction::Incoming {
            self.incoming += 1;
            self.incoming_bytes += len;
        }
        let slot = Slot {
            peer,
            since: now,
            bytes: len,
            direction,
            ticket,
        };
        self.slots.insert(id, Box::new(slot));
        Ok(())
    }

    fn has_room(&self, peer: SocketAddr, len: usize, direction: Direction) -> bool {
        let limits = &self.limits;
        let of_peer = self.of_peer.get(&peer.ip().to_canonical());
        let kept = limits.outgoing.min(limits.messages / 4);
        let room = match direction {
            Direction::Outgoing => true,
            Direction::Incoming => {
                self.incoming < limits.messages - kept
                    && self.incoming_bytes.saturating_add(len) <= limits.bytes - limits.bytes / 4
            }
        };
        room && self.slots.len() < limits.messages
            && self.bytes.saturating_add(len) <= limits.bytes
            && of_peer.copied().unwrap_or(0) < limits.per_peer
    }

    /// Takes out the message whose work is done; `None` if it has left meanwhile.
    pub(crate) fn take(&mut self, id: WorkId) -> Option<T> {
        let slot = self.slots.remove(&id)?;
        self.leave(&slot);
        Some(slot.ticket)
    }

    fn leave(&mut self, slot: &Slot<T>) {
        self.bytes = self.bytes.saturating_sub(slot.bytes);
        if slot.direction == Direction::Incoming {
            self.incoming = self.incoming.saturating_sub(1);
            self.incoming_bytes = self.incoming_bytes.saturating_sub(slot.bytes);
        }
        if let Some(count) = self.of_peer.get_mut(&slot.peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.of_peer.remove(&slot.peer);
            }
        }
    }

    /// Takes out the messages that have waited too long, with the work that nobody waits for any more.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<(WorkId, T)> {
        let mut gone = Vec::new();
        while self.next_timeout().is_some_and(|due| due <= now) {
            let Some((id, slot)) = self.slots.pop_first() else {
                break;
            };
            self.leave(&slot);
            self.expired += 1;
            gone.push((id, slot.ticket));
        }
        gone
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let (_, first) = self.slots.first_key_value()?;
        Some(first.since + self.limits.patience)
    }

    /// A message that waits, to change what is known of it.
    pub(crate) fn get_mut(&mut self, id: WorkId) -> Option<&mut T> {
        self.slots.get_mut(&id).map(|slot| &mut slot.ticket)
    }

    /// The messages that wait.
    #[cfg(all(feature = "client", feature = "oscore"))]
    pub(crate) fn tickets(&self) -> impl Iterator<Item = &T> {
        self.slots.values().map(|slot| &slot.ticket)
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
