//! The memory of each table that others can fill, stated.

use super::answer::{Asker, Pending};
use super::seam::Parked;
use super::{Endpoint, EndpointConfig, Incoming, Separate};
use crate::event::IncomingId;
use crate::message_id::MessageIds;
use crate::outbox::Outbox;
use crate::parking::ParkingLot;
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
    /// Budgets of sources, addresses of members, credentials that were not found, protected messages in outer blocks.
    pub security: usize,
    /// Datagrams that wait to be taken.
    pub outbox: usize,
    /// Message IDs towards each peer.
    pub message_ids: usize,
    /// Bodies of requests that are not complete, and representations kept for those who fetch them in blocks.
    pub bodies: usize,
    /// Observers of resources, with their requests.
    pub observers: usize,
}

impl MemoryTotals {
    /// All of them together.
    pub fn sum(&self) -> usize {
        self.dedup
            + self.parking
            + self.incoming
            + self.pending_answers
            + self.confirmables
            + self.security
            + self.outbox
            + self.message_ids
            + self.bodies
            + self.observers
    }
}

/// What a piece of work for a message takes beside a copy of the message: what is verified with it, two credentials included.
const JOB: usize = if cfg!(feature = "oscore") { 1_024 } else { 0 };
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
        let waiting = size_of::<((Instant, u64), Pending)>();
        MemoryTotals {
            dedup: self.dedup.memory_total(),
            parking: self.parking.memory_total(ParkingLot::<Parked>::PLACE)
                + self.parking.bytes
                + self.parking.messages * (QUEUE * size_of::<Work>() + JOB),
            incoming: limits.incoming
                * (TREE * size_of::<(IncomingId, Incoming)>() + Incoming::NOTED + Asker::KEPT)
                + Shares::memory_total(limits.incoming),
            pending_answers: limits.pending_answers * (TREE * waiting + response + Asker::KEPT)
                + Shares::memory_total(limits.pending_answers),
            confirmables: Confirmables::<Separate>::memory_total(
                limits.confirmables + self.server.observe.unacknowledged,
                limits.datagram,
            ) + Shares::memory_total(limits.confirmables),
            #[cfg(feature = "oscore")]
            security: self.security.memory_total(),
            #[cfg(not(feature = "oscore"))]
            security: 0,
            outbox: Outbox::memory_total(limits.outbox, limits.datagram),
            message_ids: MessageIds::memory_total(MessageIds::DEFAULT_LIMIT),
            bodies: self.server.blocks.memory_total(),
            observers: self.server.observe.memory_total(),
        }
    }
}

/// How full the tables of an endpoint are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Deduplication records.
    pub dedup_records: usize,
    /// Open unicast exchanges.
    pub exchanges: usize,
    /// Bodies that are sent or received in blocks.
    pub transfers: usize,
    /// Confirmable messages that wait for their acknowledgement.
    pub confirmables: usize,
    /// Requests that deferred handlers have not answered.
    pub incoming: usize,
    /// Group answers that wait for their leisure.
    pub pending_answers: usize,
    /// Messages in the parking lot.
    pub parked: usize,
    /// Datagrams not yet taken.
    pub outbox: usize,
    /// Observations, those included that have ended and are remembered for a while.
    pub observations: usize,
    /// Observers of the server's resources.
    pub observers: usize,
    /// Answers in the cache of the client.
    pub cached: usize,
}

impl Endpoint {
    /// How full the tables are.
    pub fn load(&self) -> Load {
        Load {
            dedup_records: self.dedup.len(),
            confirmables: self.confirmables.len(),
            incoming: self.incoming.len(),
            pending_answers: self.pending.len(),
            parked: self.parking.len(),
            outbox: self.outbox.len(),
            observers: self.server.observers().len(),
            ..self.client.load()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::ServerBlocks;

    #[test]
    fn the_sum_counts_each_table_once() {
        let totals = MemoryTotals {
            dedup: 1,
            parking: 20,
            incoming: 300,
            pending_answers: 4_000,
            confirmables: 50_000,
            outbox: 600_000,
            message_ids: 7_000_000,
            security: 80_000_000,
            bodies: 900_000_000,
            observers: 8_000_000_000,
        };
        assert_eq!(totals.sum(), 8_987_654_321);
    }

    #[test]
    fn each_total_follows_from_its_own_limits() {
        let mut config = EndpointConfig::default();
        config.limits.incoming = 3;
        config.limits.pending_answers = 5;
        config.limits.confirmables = 7;
        config.limits.outbox = 11;
        config.limits.datagram = 1_000;
        config.parking.messages = 13;
        config.parking.bytes = 17;
        config.server.blocks.kept_bytes = 19;
        config.server.observe.unacknowledged = 19;
        let totals = config.memory_totals();
        assert_eq!(totals.dedup, config.dedup.memory_total());
        let place = ParkingLot::<Parked>::PLACE;
        let parked = 3 * size_of::<Work>() + JOB;
        assert_eq!(
            totals.parking,
            config.parking.memory_total(place) + 17 + 13 * parked
        );
        let incoming = 3 * size_of::<(IncomingId, Incoming)>() + Incoming::NOTED + Asker::KEPT;
        assert_eq!(totals.incoming, 3 * incoming + Shares::memory_total(3));
        let waiting = size_of::<((Instant, u64), Pending)>();
        assert_eq!(
            totals.pending_answers,
            5 * (3 * waiting + 3_000 + Asker::KEPT) + Shares::memory_total(5)
        );
        assert_eq!(
            totals.confirmables,
            Confirmables::<Separate>::memory_total(7 + 19, 1_000) + Shares::memory_total(7)
        );
        let blocks = ServerBlocks {
            kept_bytes: 19,
            ..ServerBlocks::default()
        };
        assert_eq!(totals.bodies, blocks.memory_total());
        assert_eq!(totals.outbox, Outbox::memory_total(11, 1_000));
        assert_eq!(totals.message_ids, MessageIds::memory_total(4_096));
        assert_eq!(totals.observers, config.server.observe.memory_total());
    }
}
