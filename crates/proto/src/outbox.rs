//! Datagrams that are ready to leave, in order, in memory that is used again and again.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::path::Route;

/// So many bytes may lie before the first waiting datagram.
const WASTE: usize = 64 * 1024;

pub(crate) struct Outbox {
    bytes: Vec<u8>,
    queue: VecDeque<Entry>,
    limit: usize,
    dropped: u64,
}

struct Entry {
    route: Route,
    start: usize,
    len: usize,
}

impl Outbox {
    /// The memory for `limit` datagrams of at most `datagram` bytes, at most.
    pub(crate) const fn memory_total(limit: usize, datagram: usize) -> usize {
        3 * (limit * (datagram + size_of::<Entry>()) + WASTE)
    }

    /// Room for `limit` datagrams.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            queue: VecDeque::new(),
            limit,
            dropped: 0,
        }
    }

    /// Adds one datagram whose bytes `write` appends; what it appends is the datagram. Nothing appended, nothing sent.
    /// Returns the bytes, for whoever keeps them.
    pub(crate) fn push(&mut self, route: Route, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        if self.queue.len() >= self.limit {
            self.dropped += 1;
            return &[];
        }
        self.forget_what_has_left();
        let start = self.bytes.len();
        write(&mut self.bytes);
        let len = self.bytes.len().saturating_sub(start);
        if len > 0 {
            self.queue.push_back(Entry { route, start, len });
        }
        self.bytes.get(start..).unwrap_or_default()
    }

    /// Moves the first datagram into `out`.
    pub(crate) fn pop(&mut self, out: &mut Vec<u8>) -> Option<Route> {
        let entry = self.queue.pop_front()?;
        out.clear();
        out.extend_from_slice(
            self.bytes
                .get(entry.start..entry.start + entry.len)
                .unwrap_or_default(),
        );
        if self.queue.is_empty() {
            self.bytes.clear();
        }
        Some(entry.route)
    }

    /// Keeps the memory near to what waits, also when something always waits.
    fn forget_what_has_left(&mut self) {
        let Some(gone) = self.queue.front().map(|entry| entry.start) else {
            return;
        };
        if gone > WASTE && gone > self.bytes.len() / 2 {
            self.bytes.drain(..gone);
            for entry in &mut self.queue {
                entry.start -= gone;
            }
        }
    }

    /// Datagrams that found no room.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Datagrams waiting.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::SocketId;

    fn route(port: u16) -> Route {
        Route {
            socket: SocketId(0),
            source: None,
            interface: 0,
            destination: ([127, 0, 0, 1], port).into(),
        }
    }

    #[test]
    fn gives_back_what_was_put_in_and_in_order() {
        let mut outbox = Outbox::new(2);
        assert_eq!(outbox.push(route(1), |b| b.extend(b"one")), b"one");
        assert_eq!(outbox.push(route(2), |b| b.extend(b"second")), b"second");
        let mut out = Vec::new();
        assert_eq!(outbox.pop(&mut out).unwrap().destination.port(), 1);
        assert_eq!(out, b"one");
        assert_eq!(outbox.pop(&mut out).unwrap().destination.port(), 2);
        assert_eq!(out, b"second");
        assert!(outbox.pop(&mut out).is_none());
    }

    #[test]
    fn is_bounded_and_counts_what_found_no_room() {
        let mut outbox = Outbox::new(1);
        outbox.push(route(1), |b| b.push(1));
        assert_eq!(outbox.push(route(2), |b| b.push(2)), b"");
        assert_eq!((outbox.len(), outbox.dropped()), (1, 1));
    }

    #[test]
    fn memory_stays_near_to_what_waits_when_something_always_waits() {
        let mut outbox = Outbox::new(4);
        let mut out = Vec::new();
        let mut expected = VecDeque::new();
        for n in 0..10_000_u32 {
            outbox.push(route(1), |b| b.extend([n.to_be_bytes(); 100].concat()));
            expected.push_back(n);
            if expected.len() == 3 {
                outbox.pop(&mut out).unwrap();
                let n = expected.pop_front().unwrap();
                assert_eq!(out, [n.to_be_bytes(); 100].concat());
            }
        }
        assert!(outbox.bytes.capacity() < 4 * WASTE);
    }

    #[test]
    fn an_empty_datagram_is_not_sent() {
        let mut outbox = Outbox::new(1);
        outbox.push(route(1), |_| ());
        assert_eq!(outbox.len(), 0);
    }

    #[test]
    fn the_stated_memory_grows_with_datagrams_and_their_size() {
        assert_eq!(Outbox::memory_total(0, 1_000), 3 * WASTE);
        assert_eq!(
            Outbox::memory_total(4, 1_000),
            3 * (4 * (1_000 + size_of::<Entry>()) + WASTE)
        );
    }
}
