//! Datagrams on their way out through one socket: a batch being filled, or what waits because the send buffer is full.

use core::future::Future;
use core::pin::Pin;
use core::task::Context;
use core::time::Duration;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::lent;
use crate::socket::{FailedSend, Outgoing, SendBatch, UnicastSocket};

/// Datagrams that wait behind the batch of a socket whose send buffer is full. Further ones are refused.
pub(super) const BACKLOG: usize = 1_024;

/// How long to wait for a socket that cannot be watched.
const UNKNOWN: Duration = Duration::from_millis(20);

/// Waits until a socket takes datagrams again.
type Room = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What became of a datagram that was put into an outbox.
#[derive(Debug)]
pub(crate) enum Push {
    Queued,
    /// It was the last that fits: the batch must be handed over.
    Full,
    /// No unicast socket has this number (any more).
    NoSocket,
    /// The send buffer is full, and so is the room for those that wait for it.
    NoRoom,
    TooLarge,
    /// It names no path that exists.
    Refused(io::Error),
}

pub(super) struct Outbox {
    /// Lent while something is in it.
    batch: Option<SendBatch>,
    behind: VecDeque<(Outgoing, Box<[u8]>)>,
    /// The send buffer is full.
    blocked: Option<Room>,
    capacity: usize,
    largest: usize,
}

impl Outbox {
    pub(super) fn new(capacity: usize, largest: usize) -> Self {
        Self {
            batch: None,
            behind: VecDeque::new(),
            blocked: None,
            capacity,
            largest,
        }
    }

    pub(super) fn push(&mut self, outgoing: Outgoing, bytes: &[u8]) -> Push {
        let (capacity, largest) = (self.capacity, self.largest);
        let batch = self
            .batch
            .get_or_insert_with(|| lent::sending(capacity, largest));
        if bytes.len() > batch.max_datagram() {
            return Push::TooLarge;
        }
        if !batch.is_full() {
            return match batch.push(outgoing, bytes) {
                Ok(()) if batch.is_full() && self.blocked.is_none() => Push::Full,
                Ok(()) => Push::Queued,
                Err(error) => Push::Refused(error),
            };
        }
        if self.behind.len() >= BACKLOG {
            return Push::NoRoom;
        }
        self.behind.push_back((outgoing, bytes.into()));
        Push::Queued
    }

    /// Something can be handed to the system.
    pub(super) fn is_due(&self) -> bool {
        self.batch.is_some() && self.blocked.is_none()
    }

    /// Waits for room in the send buffer.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// Hands everything to the system, in order, unless the send buffer is full: then true, and the rest waits.
    pub(super) fn flush(
        &mut self,
        socket: &Arc<UnicastSocket>,
        mut failed: impl FnMut(FailedSend),
    ) -> io::Result<bool> {
        let Some(mut batch) = self.batch.take() else {
            return Ok(false);
        };
        loop {
            while !batch.is_full()
                && let Some((outgoing, bytes)) = self.behind.pop_front()
            {
                if let Err(error) = batch.push(outgoing, &bytes) {
                    failed(FailedSend {
                        tag: outgoing.tag,
                        destination: outgoing.destination,
                        error,
                    });
                }
            }
            if batch.is_empty() {
                lent::return_sending(batch);
                return Ok(false);
            }
            let sent = socket.send_batch(&mut batch);
            batch.take_failures().for_each(&mut failed);
            match sent {
                Ok(sent) if sent.waiting > 0 => {
                    let socket = Arc::clone(socket);
                    self.blocked = Some(Box::pin(room(socket)));
                    self.batch = Some(batch);
                    return Ok(true);
                }
                Ok(_) => {}
                Err(error) => {
                    self.behind.clear(); // the socket itself is broken; what waits would wait for ever
                    return Err(error);
                }
            }
        }
    }

    /// True: the send buffer has room again.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> bool {
        let room = (self.blocked.as_mut()).is_some_and(|room| room.as_mut().poll(cx).is_ready());
        if room {
            self.blocked = None;
        }
        room
    }

    /// As if the send buffer were full.
    #[cfg(test)]
    pub(super) fn block(&mut self, socket: &Arc<UnicastSocket>) {
        self.blocked = Some(Box::pin(room(Arc::clone(socket))));
    }
}

/// Waits until the socket takes datagrams again; where that cannot be known (no file descriptor is left), a little.
async fn room(socket: Arc<UnicastSocket>) {
    if socket.writable().await.is_err() {
        tokio::time::sleep(UNKNOWN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::SocketOptions;

    #[tokio::test]
    async fn what_waits_is_bounded_and_goes_in_order() {
        let local = "127.0.0.1:0".parse().unwrap();
        let socket = Arc::new(UnicastSocket::bind(local, &SocketOptions::default()).unwrap());
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = Outgoing::to(peer.local_addr().unwrap());
        let mut out = Outbox::new(2, 4);
        assert!(matches!(out.push(to, b"12345"), Push::TooLarge));
        out.block(&socket);
        for n in 0..u16::try_from(2 + BACKLOG).unwrap() {
            assert!(
                matches!(out.push(to, &n.to_be_bytes()), Push::Queued),
                "{n}"
            );
        }
        assert!(matches!(out.push(to, b"x"), Push::NoRoom));
        assert!(!out.is_due());
        out.blocked = None;
        assert!(out.is_due());
        // A few at a time, so that nothing is lost in the peer's buffer.
        out.behind.truncate(3);
        assert!(!out.flush(&socket, |_| panic!()).unwrap());
        let mut buffer = [0; 4];
        for n in 0_u16..5 {
            assert_eq!(peer.recv(&mut buffer).unwrap(), 2);
            assert_eq!(buffer[..2], n.to_be_bytes());
        }
        assert!(!out.is_due());
        assert!(matches!(out.push(to, b"1"), Push::Queued));
        assert!(matches!(out.push(to, b"2"), Push::Full));
    }
}
