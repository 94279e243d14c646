//! The places of Confirmable notifications that wait for their acknowledgement, where they are scarce.
//!
//! Nothing tells beforehand who has lost power. So whoever does not acknowledge in time gives its place to the next that
//! waits, and is asked again later, as seldom as a message is sent again (RFC 7252 section 4.2), with the newest state. It
//! waits behind those that were not asked yet. Where nobody waits, everybody keeps its place.

use super::*;

/// A client whose round trip is known has so many of them to acknowledge.
const ROUND_TRIPS: u32 = 4;
/// But no less time than this.
const AT_LEAST: Duration = Duration::from_millis(100);
/// So often somebody is asked before it counts as gone: once, and MAX_RETRANSMIT times again.
const ATTEMPTS: u8 = 5;

/// The notifications on their way, of those who are no strangers: when each observer, by its index in the table, may have to give
/// way. A short list, because there are no more than `unacknowledged` of them.
#[derive(Default)]
pub(super) struct Places(Vec<(Instant, u32)>);

impl Places {
    /// The memory for so many, at most.
    pub(super) const fn memory_total(places: usize) -> usize {
        2 * places * size_of::<(Instant, u32)>()
    }

    fn take(&mut self, index: u32, until: Instant) {
        self.leave(index);
        self.0.push((until, index));
    }

    pub(super) fn leave(&mut self, index: u32) {
        if let Some(at) = self.0.iter().position(|(_, other)| *other == index) {
            self.0.swap_remove(at);
        }
    }

    /// Who is the first to give way, and when.
    pub(super) fn first(&self) -> Option<(Instant, u32)> {
        self.0.iter().min().copied()
    }
}

impl Observers {
    /// ACK_TIMEOUT, for what is sent from now on.
    pub(crate) fn set_ack_timeout(&mut self, ack_timeout: Duration) {
        self.ack_timeout = ack_timeout;
    }

    /// A Confirmable notification was sent to somebody who is no stranger.
    pub(super) fn take_place(&mut self, now: Instant, turn: &Turn) {
        let Some(observer) = self.table.get(turn.observer) else {
            return;
        };
        let round_trip = self.peers.get(turn.peer).map_or(0, |peer| peer.round_trip);
        let within = match round_trip {
            1.. if observer.withdrawn == 0 => {
                let micros = u64::from(round_trip) * u64::from(ROUND_TRIPS);
                Duration::from_micros(micros)
                    .max(AT_LEAST)
                    .min(self.ack_timeout)
            }
            _ => self.ack_timeout,
        };
        self.places.take(turn.observer.index, now + within);
    }

    /// Does anybody who is no stranger wait for a place?
    fn somebody_waits(&mut self) -> bool {
        for line in [&mut self.crowded, &mut self.crowded_again] {
            while let Some(id) = line.front() {
                if self.table.get(*id).is_some() {
                    return true;
                }
                line.pop_front();
            }
        }
        false
    }

    /// When somebody has to give way, as far as anybody waits.
    pub(super) fn gives_way_at(&self) -> Option<Instant> {
        let waits = !(self.crowded.is_empty() && self.crowded_again.is_empty());
        let first = waits.then(|| self.places.first()).flatten();
        first.map(|(until, _)| until)
    }

    /// The next Confirmable notification that was not acknowledged in time while others wait. It is not sent again:
    /// [`withdrawn`](Self::withdrawn) is to be called for its turn.
    pub(crate) fn overdue(&mut self, now: Instant) -> Option<(SocketAddr, MessageId)> {
        while self.somebody_waits() {
            let (_, index) = self.places.first().filter(|(due, _)| *due <= now)?;
            self.places.leave(index);
            let observer = self.table.key(index).and_then(|id| self.table.get(id));
            if let Some(observer) = observer.filter(|observer| observer.outstanding)
                && let Some(peer) = self.peers.get(observer.peer)
            {
                return Some((peer.address, MessageId(observer.mid)));
            }
        }
        None
    }

    /// The Confirmable notification of this turn has given way: it is the turn of this observer again later. False: nothing
    /// was acknowledged for so long that it counts as gone.
    pub(crate) fn withdrawn(&mut self, now: Instant, turn: &Turn) -> bool {
        if let Some(observer) = self.table.get_mut(turn.observer) {
            observer.withdrawn += 1;
            if observer.withdrawn >= ATTEMPTS {
                return false;
            }
            observer.changed = true;
            let pause = self.ack_timeout.saturating_mul(1 << observer.withdrawn);
            self.wait(turn.observer, now + pause);
        }
        self.release(now, turn);
        true
    }

    /// What has given way was acknowledged all the same. False: this observer's last notification has not given way.
    pub(crate) fn acknowledged_late(&mut self, now: Instant, id: ObserverId) -> bool {
        let late = |observer: &&mut Observer| observer.withdrawn > 0 && !observer.outstanding;
        let Some(observer) = self.table.get_mut(id).filter(late) else {
            return false;
        };
        observer.withdrawn = 0;
        observer.unconfirmed = 0;
        observer.acknowledged = now;
        self.counters.acknowledged += 1;
        true
    }
}
