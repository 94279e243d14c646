//! The event queue: arrivals in the order of their time, and in the order of their making at the same time.

use alloc::collections::BinaryHeap;
use alloc::sync::Arc;
use core::cmp::Ordering;

use crate::address::{HostId, Interface};
use crate::datagram::Flight;
use crate::time::Time;

/// One copy of a datagram on its way to one interface.
#[derive(Debug)]
pub(crate) struct Arriving {
    pub(crate) at: Time,
    order: u64,
    pub(crate) host: HostId,
    pub(crate) interface: Interface,
    pub(crate) hops: u8,
    pub(crate) flight: Arc<Flight>,
}

impl PartialEq for Arriving {
    fn eq(&self, other: &Arriving) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Arriving {}

impl PartialOrd for Arriving {
    fn partial_cmp(&self, other: &Arriving) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Arriving {
    fn cmp(&self, other: &Arriving) -> Ordering {
        // Reversed, because the standard heap gives the greatest first.
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// Arrivals that are still to come, at most `limit` of them.
#[derive(Debug)]
pub(crate) struct Queue {
    heap: BinaryHeap<Arriving>,
    made: u64,
    limit: usize,
}

impl Queue {
    pub(crate) fn new(limit: usize) -> Queue {
        Queue {
            heap: BinaryHeap::new(),
            made: 0,
            limit,
        }
    }

    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// False if the queue is full, and the copy is lost.
    pub(crate) fn push(
        &mut self,
        at: Time,
        host: HostId,
        interface: Interface,
        hops: u8,
        flight: Arc<Flight>,
    ) -> bool {
        if self.heap.len() >= self.limit {
            return false;
        }
        self.heap.push(Arriving {
            at,
            order: self.made,
            host,
            interface,
            hops,
            flight,
        });
        self.made += 1;
        true
    }

    pub(crate) fn next_at(&self) -> Option<Time> {
        self.heap.peek().map(|arriving| arriving.at)
    }

    /// The next arrival, if it is not after `time`.
    pub(crate) fn pop_until(&mut self, time: Time) -> Option<Arriving> {
        if self.next_at()? > time {
            return None;
        }
        self.heap.pop()
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }
}
