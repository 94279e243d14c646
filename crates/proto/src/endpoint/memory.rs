//! The memory of each table that others can fill, stated.

use core::net::SocketAddr;

use super::{EndpointConfig, Incoming, Origin};
use crate::event::IncomingId;
use crate::message::Response;
use crate::message_id::MessageIds;
use crate::outbox::Outbox;
use crate::parking::ParkingLot;
use crate::path::Route;
use crate::reliability::Confirmables;
use crate::shares::Shares;
use crate::time::Instant;
use crate::work::Work;

/// The most memory, in bytes, that each table takes which others can fill by what they send.
///
/// Each is an upper bound that holds at every moment, also while a table grows; usually it is far less. What the
/// application itself asks for (exchanges, collections, resources, groups) and what it leaves in the endpoint instead of
/// taking it (events, work) is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryTotals {
    /// Records of messages seen, and replies kept for their duplicates.
    pub dedup: usize,
    /// Messages that wait for work.
    pub parking: usize,
    /// Requests that deferred handlers have not answered.
    pub incoming: usize,
    /// Group answers that wait for their leisure.
    pub pending_answers: usize,
    /// Confirmable responses that wait for their acknowledgement.
    pub confirmables: usize,
    /// Datagrams that wait to be taken.
    pub outbox: usize,
    /// Message IDs towards each peer.
    pub message_ids: usize,
}

impl MemoryTotals {
    /// All of them together.
    pub fn sum(&self) -> usize {
        self.dedup
            + self.parking
            + self.incoming
            + self.pending_answers
            + self.confirmables
            + self.outbox
            + self.message_ids
    }
}

/// A tree takes at most so many times the size of its entries: its nodes are at least half full.
const TREE: usize = 3;
/// A queue takes at most so many times the size of its entries, while it moves into one twice as large.
const QUEUE: usize = 3;

impl EndpointConfig {
    /// The most memory that each table takes with these limits.
    pub fn memory_totals(&self) -> MemoryTotals {
        let limits = &self.limits;
        // An option takes 12 bytes beside its value where the encoding counts 5.
        let response = 3 * limits.datagram;
        let waiting = size_of::<((Instant, u64), (Route, SocketAddr, [u8; 16], Response))>();
        MemoryTotals {
            dedup: self.dedup.memory_total(),
            parking: self.parking.bytes
                + self.parking.messages * QUEUE * (ParkingLot::<Origin>::PLACE + size_of::<Work>()),
            incoming: limits.incoming
                * (TREE * size_of::<(IncomingId, Incoming)>() + Incoming::ETAGS)
                + Shares::memory_total(limits.incoming),
            pending_answers: limits.pending_answers * (TREE * waiting + response)
                + Shares::memory_total(limits.pending_answers),
            confirmables: Confirmables::<IncomingId>::memory_total(
                limits.confirmables,
                limits.datagram,
            ) + Shares::memory_total(limits.confirmables),
            outbox: Outbox::memory_total(limits.outbox, limits.datagram),
            message_ids: MessageIds::memory_total(MessageIds::DEFAULT_LIMIT),
        }
    }
}
