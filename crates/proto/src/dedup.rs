//! Which messages have been seen before (RFC 7252 sections 4.2, 4.3 and 4.5).
//!
//! A record is (peer, Message ID) -> fingerprint of (token, code, options, payload), with the reply to a
//! Confirmable message so that a duplicate gets the very same bytes. The same Message ID with another
//! fingerprint is a *new* message: a peer that restarted, or two clients behind one address.
//!
//! Everything is fixed in size: a total number of records, a share per address, a number of addresses,
//! and one ring of reply bytes. When the table is full the address that holds most gives way, so that a
//! flood from one address pushes out its own records and no one else's.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::hash::{BuildHasher, Hasher};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use antiphon_wire::{Message, MessageId};
use hashbrown::{HashMap, HashTable};

use crate::rng::{KeyedHash, Rng};
use crate::time::Instant;

/// Limits of the deduplication table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DedupLimits {
    /// Records in all; 0 switches deduplication off. Default 8192; 32 bytes each, twice that while a ring grows.
    pub records: usize,
    /// Records for one address. Default a quarter of `records`.
    pub records_per_address: usize,
    /// Addresses at a time. Default 4096; about 100 bytes each.
    pub addresses: usize,
    /// Bytes of stored replies to Confirmable messages. Default 256 KiB; the oldest give way.
    pub reply_bytes: usize,
}

impl Default for DedupLimits {
    fn default() -> Self {
        Self {
            records: 8_192,
            records_per_address: 2_048,
            addresses: 4_096,
            reply_bytes: 256 * 1024,
        }
    }
}

impl DedupLimits {
    /// An upper bound of the memory that the table will ever take, in bytes.
    pub fn memory_total(&self) -> usize {
        // A ring is at most four times its content (it doubles to grow, and shrinks at a quarter).
        self.records * (4 * size_of::<Record>() + 2 * size_of::<Place>())
            + self.addresses * 2 * (size_of::<Ring>() + size_of::<(IpAddr, u32)>() + 24)
            + self.reply_bytes
    }
}

/// What the table knows of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Never seen; it is recorded now.
    New(RecordRef),
    /// Seen before. With [`RecordRef`] the stored reply can be had.
    Duplicate(RecordRef),
}

/// Points to a record for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordRef {
    place: Place,
    mid: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    ring: u32,
    sequence: u32,
}

#[derive(Clone, Copy)]
struct Record {
    fingerprint: u64,
    expires: Instant,
    /// Position of the reply in the stream of all reply bytes ever stored.
    reply_at: u64,
    reply_len: u16,
    port: u16,
    mid: u16,
}

/// The records of one address, oldest first.
struct Ring {
    address: IpAddr,
    /// Sequence number of the record at the front.
    first: u32,
    /// Where it stands among the occupied ones, while it holds records.
    standing: u32,
    records: VecDeque<Record>,
}

pub(crate) struct Dedup {
    limits: DedupLimits,
    hash: KeyedHash,
    index: HashTable<Place>,
    rings: Vec<Ring>,
    free_rings: Vec<u32>,
    /// The rings that hold records, in no order: what gives way is looked for among these only.
    occupied: Vec<u32>,
    by_address: HashMap<IpAddr, u32, KeyedHash>,
    len: usize,
    /// The ring that is looked at next for what has expired.
    hand: usize,
    /// Where in `occupied` the search for what gives way goes on.
    look: usize,
    replies: Vec<u8>,
    /// Bytes ever stored; the last `reply_bytes` of them are still there.
    replies_end: u64,
    evicted: u64,
}

/// How many rings are compared to find one that gives way. The address that asks is always among them.
const CANDIDATES: usize = 8;

impl Dedup {
    pub(crate) fn new(limits: DedupLimits, rng: &mut Rng) -> Self {
        let hash = rng.keyed_hash();
        Self {
            by_address: HashMap::with_hasher(rng.keyed_hash()),
            index: HashTable::new(),
            rings: Vec::new(),
            free_rings: Vec::new(),
            occupied: Vec::new(),
            len: 0,
            hand: 0,
            look: 0,
            replies: Vec::new(),
            replies_end: 0,
            evicted: 0,
            hash,
            limits,
        }
    }

    /// Fingerprint of what makes two messages with one Message ID the same message.
    pub(crate) fn fingerprint(&self, message: &Message<'_>) -> u64 {
        let mut hasher = self.hash.build_hasher();
        hasher.write_u8(message.code().to_u8());
        let token = message.token();
        hasher.write_u8(token.len() as u8);
        hasher.write(token.as_bytes());
        hasher.write(message.options_and_payload());
        hasher.finish()
    }

    /// Has this message been seen from this peer? If not, it is recorded for `lifetime`.
    pub(crate) fn check(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        mid: MessageId,
        fingerprint: u64,
        lifetime: Duration,
    ) -> Option<Seen> {
        if self.limits.records == 0 {
            return None;
        }
        let key = self.key(peer, mid);
        if let Some(place) = self.find(key, peer, mid) {
            let reference = RecordRef { place, mid: mid.0 };
            let record = self.record_mut(place)?;
            if record.expires > now && record.fingerprint == fingerprint {
                return Some(Seen::Duplicate(reference));
            }
            // Another message under a recycled Message ID takes the record over.
            record.fingerprint = fingerprint;
            record.expires = now + lifetime;
            record.reply_len = 0;
            return Some(Seen::New(reference));
        }
        let ring = self.make_room(now, peer.ip())?;
        let record = Record {
            fingerprint,
            expires: now + lifetime,
            reply_at: 0,
            reply_len: 0,
            port: peer.port(),
            mid: mid.0,
        };
        let slot = self.rings.get_mut(ring as usize)?;
        let sequence = slot.first.wrapping_add(slot.records.len() as u32);
        if slot.records.is_empty() {
            slot.standing = self.occupied.len() as u32;
            self.occupied.push(ring);
        }
        slot.records.push_back(record);
        self.len += 1;
        let place = Place { ring, sequence };
        let (rings, hash) = (&self.rings, &self.hash);
        self.index
            .insert_unique(key, place, |p| rehash(rings, hash, *p));
        Some(Seen::New(RecordRef { place, mid: mid.0 }))
    }

    /// Is this an exact duplicate? Records nothing.
    pub(crate) fn lookup(
        &self,
        now: Instant,
        peer: SocketAddr,
        mid: MessageId,
        fingerprint: u64,
    ) -> Option<RecordRef> {
        let place = self.find(self.key(peer, mid), peer, mid)?;
        let record = self.record(place)?;
        (record.expires > now && record.fingerprint == fingerprint)
            .then_some(RecordRef { place, mid: mid.0 })
    }

    /// The message is as if it had never come: its repetition is a new one.
    pub(crate) fn forget(&mut self, reference: RecordRef) {
        if let Some(record) = self.record_of_mut(reference) {
            record.expires = Instant::ZERO;
        }
    }

    /// Keeps the reply to a Confirmable message for its duplicates.
    pub(crate) fn store_reply(&mut self, reference: RecordRef, bytes: &[u8]) {
        let capacity = self.limits.reply_bytes;
        let Ok(len) = u16::try_from(bytes.len()) else {
            return;
        };
        if bytes.len() > capacity {
            return;
        }
        let at = self.replies_end;
        let Some(record) = self.record_of_mut(reference) else {
            return;
        };
        record.reply_at = at;
        record.reply_len = len;
        // In one piece, or in two round the end of the ring.
        let start = (at % capacity.max(1) as u64) as usize;
        let (before, behind) = bytes.split_at(bytes.len().min(capacity - start));
        self.replies_end += bytes.len() as u64;
        for (position, piece) in [(start, before), (0, behind)] {
            let end = position + piece.len();
            if self.replies.len() < end {
                self.replies.resize(end, 0);
            }
            if let Some(room) = self.replies.get_mut(position..end) {
                room.copy_from_slice(piece);
            }
        }
    }

    /// Writes the stored reply into `out`; false if there is none (yet, or any more).
    pub(crate) fn reply(&self, reference: RecordRef, out: &mut Vec<u8>) -> bool {
        let Some(record) = self.record(reference.place) else {
            return false;
        };
        if record.mid != reference.mid || record.reply_len == 0 {
            return false;
        }
        let capacity = self.limits.reply_bytes as u64;
        if self.replies_end.saturating_sub(record.reply_at) > capacity {
            return false; // overwritten by younger replies
        }
        let start = (record.reply_at % capacity.max(1)) as usize;
        let len = usize::from(record.reply_len);
        let whole = start.saturating_add(len).min(self.limits.reply_bytes);
        let (before, behind) = (start..whole, 0..len - (whole - start));
        for piece in [before, behind] {
            out.extend_from_slice(self.replies.get(piece).unwrap_or_default());
        }
        true
    }

    /// Records alive or not yet reclaimed.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Records that gave way before their time.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    fn key(&self, peer: SocketAddr, mid: MessageId) -> u64 {
        key(&self.hash, peer.ip(), peer.port(), mid.0)
    }

    fn find(&self, key: u64, peer: SocketAddr, mid: MessageId) -> Option<Place> {
        self.index
            .find(key, |place| {
                self.rings.get(place.ring as usize).is_some_and(|ring| {
                    ring.at(place.sequence).is_some_and(|r| {
                        r.mid == mid.0 && r.port == peer.port() && ring.address == peer.ip()
                    })
                })
            })
            .copied()
    }

    fn record(&self, place: Place) -> Option<&Record> {
        self.rings.get(place.ring as usize)?.at(place.sequence)
    }

    fn record_mut(&mut self, place: Place) -> Option<&mut Record> {
        let ring = self.rings.get_mut(place.ring as usize)?;
        let index = place.sequence.wrapping_sub(ring.first) as usize;
        ring.records.get_mut(index)
    }

    fn record_of_mut(&mut self, reference: RecordRef) -> Option<&mut Record> {
        self.record_mut(reference.place)
            .filter(|r| r.mid == reference.mid)
    }

    /// Finds or makes the ring of an address and leaves room for one more record in it.
    fn make_room(&mut self, now: Instant, address: IpAddr) -> Option<u32> {
        self.reclaim_expired(now);
        let ring = match self.by_address.get(&address) {
            Some(ring) => *ring,
            None => self.new_ring(address)?,
        };
        let held = self.rings.get(ring as usize).map_or(0, |r| r.records.len());
        if held >= self.limits.records_per_address.max(1) {
            self.evict_front(ring as usize);
        } else if self.len >= self.limits.records {
            let victim = self.largest(ring as usize);
            self.evict_front(victim);
        }
        Some(ring)
    }

    fn new_ring(&mut self, address: IpAddr) -> Option<u32> {
        if self.by_address.len() >= self.limits.addresses.max(1) {
            // The address with the fewest records loses least.
            let victim = self.candidates().min_by_key(|i| self.ring_len(*i))?;
            while self.ring_len(victim) > 0 {
                self.evict_front(victim);
            }
            self.drop_ring(victim);
        }
        let id = match self.free_rings.pop() {
            Some(id) => {
                // Its sequence goes on: references into the past of this ring find nothing of the new owner's.
                self.rings.get_mut(id as usize)?.address = address;
                id
            }
            None => {
                let id = u32::try_from(self.rings.len()).ok()?;
                self.rings.push(Ring {
                    address,
                    first: 0,
                    standing: 0,
                    records: VecDeque::new(),
                });
                id
            }
        };
        self.by_address.insert(address, id);
        Some(id)
    }

    /// The fullest of a few rings, `own` included: whoever floods meets himself.
    fn largest(&mut self, own: usize) -> usize {
        let best = self
            .candidates()
            .max_by_key(|i| self.ring_len(*i))
            .unwrap_or(own);
        self.look = (self.look + CANDIDATES) % self.occupied.len().max(1);
        if self.ring_len(best) > self.ring_len(own) {
            best
        } else {
            own
        }
    }

    /// A few of the rings that hold records. Empty ones are not even passed over: the search is always this short.
    fn candidates(&self) -> impl Iterator<Item = usize> + use<'_> {
        let count = self.occupied.len();
        let from = self.look;
        (0..count.min(CANDIDATES))
            .filter_map(move |i| self.occupied.get((from + i) % count))
            .map(|ring| *ring as usize)
    }

    /// Looks at one ring for each new record and frees what has expired at its front: over time every
    /// ring is visited, and no packet ever pays for a walk.
    fn reclaim_expired(&mut self, now: Instant) {
        let count = self.rings.len();
        if count == 0 {
            return;
        }
        self.hand = (self.hand + 1) % count;
        let at = self.hand;
        for _ in 0..CANDIDATES {
            let expired = self
                .rings
                .get(at)
                .and_then(|r| r.records.front())
                .is_some_and(|r| r.expires <= now);
            if !expired {
                break;
            }
            self.remove_front(at);
        }
        if self.rings.get(at).is_some_and(|r| {
            r.records.is_empty() && self.by_address.get(&r.address) == Some(&(at as u32))
        }) {
            self.drop_ring(at);
        }
    }

    fn evict_front(&mut self, ring: usize) {
        if self.remove_front(ring) {
            self.evicted += 1;
        }
    }

    fn remove_front(&mut self, at: usize) -> bool {
        let Some(ring) = self.rings.get_mut(at) else {
            return false;
        };
        let Some(record) = ring.records.front().copied() else {
            return false;
        };
        let sequence = ring.first;
        let key = key(&self.hash, ring.address, record.port, record.mid);
        let place = Place {
            ring: at as u32,
            sequence,
        };
        if let Ok(entry) = self.index.find_entry(key, |p| *p == place) {
            entry.remove();
        }
        ring.records.pop_front();
        ring.first = ring.first.wrapping_add(1);
        if ring.records.len() < ring.records.capacity() / 4 {
            ring.records.shrink_to(ring.records.len() * 2);
        }
        self.len = self.len.saturating_sub(1);
        if ring.records.is_empty() {
            let standing = ring.standing as usize;
            self.vacate(standing);
        }
        true
    }

    /// The ring at this place among the occupied ones is empty: the last one takes the place.
    fn vacate(&mut self, standing: usize) {
        if standing < self.occupied.len() {
            self.occupied.swap_remove(standing);
        }
        let moved = self.occupied.get(standing).copied();
        if let Some(ring) = moved.and_then(|ring| self.rings.get_mut(ring as usize)) {
            ring.standing = standing as u32;
        }
    }

    fn drop_ring(&mut self, at: usize) {
        if let Some(ring) = self.rings.get_mut(at) {
            self.by_address.remove(&ring.address);
            ring.records = VecDeque::new();
            self.free_rings.push(at as u32);
        }
    }

    fn ring_len(&self, at: usize) -> usize {
        self.rings.get(at).map_or(0, |r| r.records.len())
    }
}

impl Ring {
    fn at(&self, sequence: u32) -> Option<&Record> {
        self.records.get(sequence.wrapping_sub(self.first) as usize)
    }
}

fn rehash(rings: &[Ring], hash: &KeyedHash, place: Place) -> u64 {
    rings
        .get(place.ring as usize)
        .and_then(|ring| {
            ring.at(place.sequence)
                .map(|r| key(hash, ring.address, r.port, r.mid))
        })
        .unwrap_or(0)
}

fn key(hash: &KeyedHash, address: IpAddr, port: u16, mid: u16) -> u64 {
    let mut hasher = hash.build_hasher();
    let rest = u32::from(port) << 16 | u32::from(mid);
    match address {
        // In one piece: this is done twice for every request.
        IpAddr::V4(v4) => hasher.write_u64(u64::from(u32::from(v4)) << 32 | u64::from(rest)),
        IpAddr::V6(v6) => {
            hasher.write_u128(u128::from(v6));
            hasher.write_u32(rest);
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests;
