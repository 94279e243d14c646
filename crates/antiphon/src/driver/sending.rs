//! What goes out, and what the system refuses.

use core::fmt::Display;
use core::net::SocketAddr;
use std::io;

use antiphon_proto::{Instant, Route, SendError, SocketId};

use super::outbox::Push;
use super::{Driver, lent};
use crate::socket::{FailedSend, Unreachable};

impl Driver {
    /// Takes the datagrams that the endpoint wants sent and hands them to the system. What finds a send buffer full waits
    /// for that socket alone.
    pub(super) fn transmit(&mut self, now: Instant) {
        let mut datagram = lent::datagram(self.largest_sent);
        while let Some(transmit) = self.endpoint.poll_transmit(now, &mut datagram) {
            let route = transmit.route;
            let error = match self.ports.push(&route, &datagram) {
                Push::Queued => continue,
                Push::Full => {
                    self.flush(now, route.socket);
                    continue;
                }
                Push::NoSocket => {
                    self.counters.no_socket += 1;
                    SendError::InterfaceGone
                }
                Push::NoRoom => {
                    self.counters.no_buffer += 1;
                    SendError::NoBuffer
                }
                Push::TooLarge => SendError::TooLarge,
                Push::Refused(error) => {
                    self.warn_unsent(now, route.destination, &error);
                    SendError::Other(error.raw_os_error().unwrap_or(0))
                }
            };
            self.counters.refused += 1;
            self.endpoint.handle_send_error(now, route, error);
        }
        lent::return_datagram(datagram);
        for index in 0..self.ports.len() {
            if let Some(id) = self.ports.due(index) {
                self.flush(now, id);
            }
        }
    }

    /// Hands what is in the outbox of a socket to the system.
    fn flush(&mut self, now: Instant, id: SocketId) {
        match self.ports.flush(id, &mut self.failed) {
            Ok(full) => self.counters.send_buffer_full += u64::from(full),
            Err(error) => {
                self.counters.refused += 1;
                if let Some(withheld) = self.unsent.warn(now) {
                    tracing::warn!(%error, withheld, "a socket cannot send");
                }
            }
        }
        while let Some((socket, failure)) = self.failed.pop() {
            let error = refusal(&failure);
            self.counters.refused += 1;
            self.counters.no_buffer += u64::from(error == SendError::NoBuffer);
            self.warn_unsent(now, failure.destination, &failure.error);
            let route = Route {
                socket,
                source: None,
                interface: u32::try_from(failure.tag).unwrap_or(0),
                destination: failure.destination,
            };
            self.endpoint.handle_send_error(now, route, error);
        }
    }

    fn warn_unsent(&mut self, now: Instant, destination: SocketAddr, error: &dyn Display) {
        if let Some(withheld) = self.unsent.warn(now) {
            tracing::warn!(%destination, %error, withheld, "a datagram was not sent");
        }
    }

    /// Tells of warnings that were withheld and that no further one has told of.
    pub(super) fn remind(&mut self, now: Instant) {
        if let Some(withheld) = self.unsent.remind(now) {
            tracing::warn!(withheld, "more datagrams were not sent");
        }
        if let Some(withheld) = self.deaf.remind(now) {
            tracing::warn!(withheld, "more failures to receive");
        }
    }
}

/// The endpoint's word for what the network reports.
pub(super) fn send_error(reason: Unreachable) -> SendError {
    match reason {
        Unreachable::Port => SendError::PortUnreachable,
        Unreachable::Host | Unreachable::Network | Unreachable::HopLimit => SendError::NoRoute,
        Unreachable::Prohibited => SendError::Forbidden,
        Unreachable::TooBig { .. } => SendError::TooLarge,
        Unreachable::NoBuffers => SendError::NoBuffer,
        Unreachable::Other(code) => SendError::Other(code),
    }
}

/// The endpoint's word for why the system does not send.
pub(super) fn refusal(failure: &FailedSend) -> SendError {
    const GONE: [i32; 2] = [6, 19]; // ENXIO and ENODEV, the same numbers on every Unix
    let gone = failure.error.kind() == io::ErrorKind::AddrNotAvailable
        || failure
            .error
            .raw_os_error()
            .is_some_and(|code| cfg!(unix) && GONE.contains(&code));
    match gone {
        true => SendError::InterfaceGone,
        false => send_error(failure.reason()),
    }
}
