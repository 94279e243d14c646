//! What the simulation drives: anything that takes datagrams and timeouts, and gives datagrams.

use core::net::IpAddr;

use crate::address::Interface;
use crate::datagram::{Arrival, Outgoing, SendError, SocketError};
use crate::time::Time;

/// What a node asks of its host's sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SocketChange {
    /// Open a UDP port.
    Bind(u16),
    /// Close a UDP port.
    Unbind(u16),
    /// Join a group on an interface.
    Join(Interface, IpAddr),
    /// Leave a group on an interface.
    Leave(Interface, IpAddr),
}

/// A program on a simulated host, without socket and clock: bytes and time go in, bytes and the next timeout come out.
///
/// After each call that can change it, [`Simulation`](crate::Simulation) calls `poll_socket` and `poll_transmit` until both
/// give nothing, then `next_timeout`.
pub trait Node {
    /// A datagram came.
    fn handle_datagram(&mut self, now: Time, arrival: &Arrival, bytes: &[u8]);

    /// The time that `next_timeout` has named is there.
    fn handle_timeout(&mut self, now: Time);

    /// The next datagram to send, if there is one.
    fn poll_transmit(&mut self, now: Time) -> Option<Outgoing>;

    /// When this node wants to be called again, if nothing comes before. A time in the past means at once.
    fn next_timeout(&self) -> Option<Time>;

    /// A datagram was not sent. A node that wants it sent offers it again later.
    fn handle_send_error(&mut self, now: Time, outgoing: &Outgoing, error: SendError) {
        let _ = (now, outgoing, error);
    }

    /// The next change of its sockets, if it wants one.
    fn poll_socket(&mut self, now: Time) -> Option<SocketChange> {
        let _ = now;
        None
    }

    /// What became of a change.
    fn handle_socket(&mut self, now: Time, change: SocketChange, result: Result<(), SocketError>) {
        let _ = (now, change, result);
    }
}
