//! Systems other than Linux: one datagram per call, no packet information.
//!
//! What cannot be done is refused with `Unsupported`; nothing is left out silently. Compiled and tested on
//! Linux too with `--cfg antiphon_portable_sockets`.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::{Context, Poll};
use std::io;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::batch::{Cast, Head, Outgoing, RecvBatch, SendBatch, Sent, canonical};
use super::failure::{JoinError, SendFailure, Unreachable};
use super::{SocketOptions, needs_interface};
use crate::interfaces;

/// One extra byte per slot: a datagram that reaches it was too long.
pub(super) const TRUNCATION_ROOM: usize = 1;

/// `EMSGSIZE`, or `WSAEMSGSIZE`. When receiving it means that Windows cut a datagram, and tells neither its
/// sender nor its length.
const TOO_BIG: i32 = if cfg!(windows) {
    10_040
} else if cfg!(target_os = "linux") {
    90
} else {
    40
};

/// `ENOBUFS`, or `WSAENOBUFS`.
const NO_BUFFERS: i32 = if cfg!(windows) {
    10_055
} else if cfg!(target_os = "linux") {
    105
} else {
    55
};

fn unsupported(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, what)
}

/// Nothing is kept per datagram.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RecvScratch {}

/// Nothing is prepared per datagram, only checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct SendHead;

impl SendHead {
    pub(super) fn new(outgoing: &Outgoing) -> io::Result<Self> {
        if outgoing.source.is_some() {
            return Err(unsupported(
                "this system cannot choose the source address of a datagram: bind a socket to it",
            ));
        }
        if outgoing.hop_limit.is_some() {
            return Err(unsupported(
                "this system cannot choose the hop limit of a datagram: set it for the socket",
            ));
        }
        let destination = outgoing.destination.ip();
        if outgoing.interface.is_some()
            && !destination.is_multicast()
            && !needs_interface(destination)
        {
            return Err(unsupported(
                "this system cannot choose the interface of a unicast datagram: leave it to routing",
            ));
        }
        Ok(Self)
    }
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Unicast,
    Group,
}

/// One UDP socket.
#[derive(Debug)]
pub(super) struct Port {
    socket: UdpSocket,
    local: SocketAddr,
    /// Where multicast leaves at present; 0 before the first.
    multicast_interface: AtomicU32,
}

impl Port {
    pub(super) fn bind(
        address: SocketAddr,
        options: &SocketOptions,
        kind: Kind,
    ) -> io::Result<Self> {
        if kind == Kind::Group && cfg!(windows) {
            return Err(unsupported(
                "this system cannot bind a socket to a group's address",
            ));
        }
        let v4 = address.is_ipv4();
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        socket.set_nonblocking(true)?;
        if !v4 {
            socket.set_only_v6(true)?;
        }
        if let Some(bytes) = options.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(bytes) = options.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        let hops = u32::from(options.multicast_hops);
        if v4 {
            socket.set_multicast_loop_v4(options.multicast_loop)?;
            socket.set_multicast_ttl_v4(hops)?;
            if let Some(hops) = options.unicast_hops {
                socket.set_ttl_v4(u32::from(hops))?;
            }
        } else {
            socket.set_multicast_loop_v6(options.multicast_loop)?;
            socket.set_multicast_hops_v6(hops)?;
            if let Some(hops) = options.unicast_hops {
                socket.set_unicast_hops_v6(u32::from(hops))?;
            }
        }
        if kind == Kind::Group || options.share_port {
            socket.set_reuse_address(true)?;
            // Here sharing a group's port takes this option as well.
            #[cfg(all(unix, not(target_os = "linux")))]
            socket.set_reuse_port(true)?;
        }
        socket.bind(&address.into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let local = canonical(socket.local_addr()?);
        Ok(Self {
            socket,
            local,
            multicast_interface: AtomicU32::new(0),
        })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    pub(super) fn join(&self, group: IpAddr, interface: u32) -> io::Result<()> {
        match group {
            IpAddr::V4(group) => {
                SockRef::from(&self.socket).join_multicast_v4(&group, &ipv4_of(interface)?)
            }
            IpAddr::V6(group) => SockRef::from(&self.socket).join_multicast_v6(&group, interface),
        }
    }

    pub(super) fn leave(&self, group: IpAddr, interface: u32) -> io::Result<()> {
        match group {
            IpAddr::V4(group) => {
                SockRef::from(&self.socket).leave_multicast_v4(&group, &ipv4_of(interface)?)
            }
            IpAddr::V6(group) => SockRef::from(&self.socket).leave_multicast_v6(&group, interface),
        }
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Ready when datagrams may be there. Only the task that asked last is woken.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_recv_ready(cx)
    }

    /// Waits for error reports, which this system does not give.
    pub(super) async fn reporting(&self) -> io::Result<()> {
        core::future::pending().await
    }

    pub(super) async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    pub(super) fn recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        batch.heads.clear();
        // Only the address that the socket is bound to tells how a datagram was addressed.
        let local = self.local.ip();
        let (destination, cast) = match local {
            _ if local.is_unspecified() => (None, Cast::Unknown),
            _ if local.is_multicast() => (Some(local), Cast::Multicast),
            _ => (Some(local), Cast::Unicast),
        };
        let rooms = batch.bytes.chunks_exact_mut(batch.stride);
        for (slot, room) in rooms.enumerate() {
            let (length, source) = match self.socket.try_recv_from(room) {
                Ok(received) => received,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => break,
                    // About datagrams sent earlier.
                    io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
                    | io::ErrorKind::Interrupted => continue,
                    _ if cfg!(windows) && error.raw_os_error() == Some(TOO_BIG) => {
                        tracing::warn!(
                            "a datagram longer than {} bytes was discarded; its sender is unknown",
                            batch.limit
                        );
                        continue;
                    }
                    _ if batch.heads.is_empty() => return Err(error),
                    _ => break,
                },
            };
            batch.heads.push(Head {
                source: canonical(source),
                destination,
                answer_from: destination.filter(|_| cast == Cast::Unicast),
                cast,
                interface: 0,
                slot,
                length,
            });
        }
        Ok(batch.heads.len())
    }

    pub(super) fn send_batch(&self, batch: &mut SendBatch) -> io::Result<Sent> {
        let mut outcome = Sent::default();
        // An error can belong to a datagram sent earlier; it counts against this one if it comes again.
        let mut suspected = false;
        while let Some(waiting) = batch.queue.get(batch.next) {
            let SendHead = waiting.head;
            let start = batch.next * batch.stride;
            let bytes = batch
                .bytes
                .get(start..start + waiting.length)
                .unwrap_or_default();
            let result = self.pin(&waiting.outgoing).and_then(|()| {
                // At once, not only after the runtime has seen the socket to be writable.
                let to = waiting.outgoing.destination.into();
                SockRef::from(&self.socket).send_to(bytes, &to)
            });
            match result {
                Ok(_) => {
                    batch.advance(1);
                    outcome.sent += 1;
                    suspected = false;
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {
                        // Tells the runtime, so that `writable` waits.
                        let full = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
                        let _ = self.socket.try_io(Interest::WRITABLE, full);
                        break;
                    }
                    io::ErrorKind::Interrupted => {}
                    _ if !suspected => suspected = true,
                    _ => {
                        batch.refuse(error);
                        outcome.failed += 1;
                        suspected = false;
                    }
                },
            }
        }
        outcome.waiting = batch.len();
        Ok(outcome)
    }

    /// Makes multicast leave by the datagram's interface.
    fn pin(&self, outgoing: &Outgoing) -> io::Result<()> {
        let Some(interface) = outgoing.interface else {
            return Ok(());
        };
        if !outgoing.destination.ip().is_multicast()
            || self.multicast_interface.load(Ordering::Relaxed) == interface
        {
            return Ok(());
        }
        let socket = SockRef::from(&self.socket);
        if outgoing.destination.is_ipv4() {
            socket.set_multicast_if_v4(&ipv4_of(interface)?)?;
        } else {
            socket.set_multicast_if_v6(interface)?;
        }
        self.multicast_interface.store(interface, Ordering::Relaxed);
        Ok(())
    }

    /// These systems have no error queue.
    pub(super) fn poll_error(&self) -> Option<SendFailure> {
        None
    }

    /// These systems do not count what they drop.
    pub(super) fn dropped(&self) -> Option<u64> {
        None
    }
}

fn ipv4_of(interface: u32) -> io::Result<Ipv4Addr> {
    interfaces::by_index(interface)?.ipv4().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            format!("interface {interface} has no IPv4 address"),
        )
    })
}

/// The reason behind an error of sending.
pub(super) fn reason(error: &io::Error) -> Unreachable {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Unreachable::Port,
        io::ErrorKind::HostUnreachable => Unreachable::Host,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => Unreachable::Network,
        io::ErrorKind::PermissionDenied => Unreachable::Prohibited,
        io::ErrorKind::OutOfMemory => Unreachable::NoBuffers,
        // These two have a number each, and no word in the standard library.
        _ => match error.raw_os_error() {
            Some(TOO_BIG) => Unreachable::TooBig { mtu: None },
            Some(NO_BUFFERS) => Unreachable::NoBuffers,
            other => Unreachable::Other(other.unwrap_or(0)),
        },
    }
}

/// Whether leaving failed only because the membership is gone already.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::NotFound
    )
}

/// The meaning of an error of binding to a group or joining it.
pub(super) fn join_error(error: io::Error, interface: u32) -> JoinError {
    match error.kind() {
        io::ErrorKind::NotFound => JoinError::NoSuchInterface(interface),
        io::ErrorKind::AddrInUse => JoinError::AlreadyMember(interface),
        _ => JoinError::Os(error),
    }
}
