//! What comes in: datagrams, and reports of those that did not arrive.

use core::time::Duration;

use antiphon_proto::Instant;

use super::sending::send_error;
use super::{Driver, lent};
use crate::socket::SendFailure;

/// Error reports of one socket that are read in one round at most: they come from the network.
const REPORTS_PER_ROUND: usize = 32;
/// How long a socket is left alone after a failure to receive.
const REST: Duration = Duration::from_millis(20);

impl Driver {
    /// Reads one batch of each socket. True: there may be more.
    pub(super) fn receive(&mut self, now: Instant) -> bool {
        let mut more = false;
        let mut lent = None;
        for index in 0..self.ports.len() {
            if !self.ports.is_ready(index, now) {
                continue;
            }
            let received = lent.get_or_insert_with(|| {
                lent::receiving(self.config.batch, self.config.largest_datagram)
            });
            match self.ports.recv(index, received) {
                Ok(count) => {
                    let full = count == received.capacity();
                    self.ports.set_ready(index, full);
                    more |= full;
                }
                Err(error) => {
                    self.counters.receive_errors += 1;
                    if let Some(withheld) = self.deaf.warn(now) {
                        tracing::warn!(%error, withheld, "a socket cannot receive");
                    }
                    self.ports.rest(index, now + REST);
                    continue;
                }
            }
            for arrival in received.iter() {
                let Some(path) = self.ports.path(index, &arrival) else {
                    continue;
                };
                match arrival.payload {
                    Ok(bytes) => self.endpoint.handle_datagram(now, path, bytes),
                    Err(_) => self.counters.truncated += 1,
                }
            }
            for turn in 1..=REPORTS_PER_ROUND {
                let Some(report) = self.ports.poll_error(index) else {
                    break;
                };
                self.not_delivered(now, index, &report);
                if turn == REPORTS_PER_ROUND {
                    self.ports.set_ready(index, true);
                    more = true;
                }
            }
            self.drain(now);
        }
        if let Some(batch) = lent {
            lent::return_receiving(batch);
        }
        more
    }

    /// The network says that a datagram did not arrive. Anyone can forge such a report; it is believed only as far
    /// as it quotes an open request.
    fn not_delivered(&mut self, now: Instant, index: usize, report: &SendFailure) {
        let Some(socket) = self.ports.id(index) else {
            return;
        };
        let (destination, reason) = (report.destination, report.reason);
        let error = send_error(reason);
        let believed =
            self.endpoint
                .handle_undelivered(now, socket, destination, report.quote(), error);
        if believed {
            self.counters.unreachable += 1;
            tracing::debug!(%destination, ?reason, "a request did not arrive");
        } else {
            self.counters.unreachable_ignored += 1;
        }
    }
}
