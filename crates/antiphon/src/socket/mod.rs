//! UDP sockets that know a datagram's path: which address it was sent to, through which interface, and
//! where it leaves.
//!
//! Two kinds, so that a response can never have a multicast source *by type*:
//!
//! - [`UnicastSocket`] is bound to a local address. It sends everything, also requests to groups, and
//!   receives unicast only.
//! - [`GroupSocket`] is bound to one group's address and port. It receives what is sent to that group
//!   through the interfaces that have joined, and sends nothing.
//!
//! Both work in batches ([`RecvBatch`], [`SendBatch`]), never block, and wait with `readable` and
//! `writable` under a tokio runtime with I/O enabled.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use antiphon::socket::{Outgoing, RecvBatch, SendBatch, SocketOptions, UnicastSocket};
//! let socket = UnicastSocket::bind("127.0.0.1:0".parse().unwrap(), &SocketOptions::default())?;
//! let (mut received, mut answers) = (RecvBatch::default(), SendBatch::default());
//! loop {
//!     socket.readable().await?;
//!     socket.recv_batch(&mut received)?;
//!     for arrival in received.iter() {
//!         if let Ok(payload) = arrival.payload {
//!             answers.push(Outgoing::to(arrival.source), payload)?;
//!         }
//!     }
//!     while socket.send_batch(&mut answers)?.waiting > 0 {
//!         socket.writable().await?;
//!     }
//!     while let Some(failure) = socket.poll_error() {
//!         eprintln!("{} is unreachable: {:?}", failure.destination, failure.reason);
//!     }
//! }
//! # }
//! ```
//!
//! # Where it runs
//!
//! Linux does all of this. Elsewhere (macOS, Windows, other Unix) sockets work datagram by datagram and
//! without packet information; what needs it fails with [`io::ErrorKind::Unsupported`] and says so:
//! choosing a source address or a hop limit per datagram, group sockets on Windows. There,
//! [`Arrival::interface`] is 0, truncated lengths are a lower bound, ICMP errors and drops are not told.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use core::task::{Context, Poll};
use std::io;

mod batch;
mod failure;

#[cfg(all(target_os = "linux", not(antiphon_portable_sockets)))]
mod control;
#[cfg(all(target_os = "linux", not(antiphon_portable_sockets)))]
#[path = "linux.rs"]
mod platform;

#[cfg(not(all(target_os = "linux", not(antiphon_portable_sockets))))]
#[path = "fallback.rs"]
mod platform;

#[cfg(test)]
mod failure_tests;
#[cfg(test)]
mod tests;

#[cfg(all(test, target_os = "linux", not(antiphon_portable_sockets)))]
mod namespace_tests;

pub use batch::{
    Arrival, Cast, DEFAULT_BATCH, DEFAULT_DATAGRAM, LARGEST_DATAGRAM, Outgoing, RecvBatch,
    SendBatch, Sent, Truncated, canonical, needs_interface,
};
pub use failure::{FailedSend, JoinError, QUOTE, SendFailure, Unreachable};

/// What a socket is asked for when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Receive buffer in bytes as the kernel counts them (with overhead; Linux doubles the value and caps
    /// it at `net.core.rmem_max`). `None` (default) keeps the system's.
    pub receive_buffer: Option<usize>,
    /// Send buffer in bytes, likewise.
    pub send_buffer: Option<usize>,
    /// TTL or hop limit of multicast datagrams that name none. Default 1: no router passes them on. Scopes
    /// wider than the link need more, per datagram or here.
    pub multicast_hops: u8,
    /// TTL or hop limit of unicast datagrams that name none. `None` (default) keeps the system's, mostly 64.
    pub unicast_hops: Option<u8>,
    /// Whether members on this host get a copy of what this socket sends to a group. Default true. (What
    /// is sent over the loopback interface is received in any case.)
    pub multicast_loop: bool,
    /// Lets a unicast socket be bound where another is bound already. Default false: then a second
    /// program on the same address and port fails instead of stealing datagrams.
    ///
    /// A wildcard address next to group sockets that exist already on its port needs true; one that is
    /// bound before them does not.
    pub share_port: bool,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            receive_buffer: None,
            send_buffer: None,
            multicast_hops: 1,
            unicast_hops: None,
            multicast_loop: true,
            share_port: false,
        }
    }
}

/// A socket on a local address: sends to anybody and any group, receives unicast.
#[derive(Debug)]
pub struct UnicastSocket {
    port: platform::Port,
    local: SocketAddr,
}

impl UnicastSocket {
    /// Binds to `local`; port 0 lets the system choose, an IPv6 link-local address needs its scope id.
    /// An IPv6 socket takes no IPv4 traffic.
    ///
    /// Must be called within a tokio runtime with I/O enabled (it panics otherwise, as tokio's own do).
    ///
    /// # Errors
    /// `InvalidInput` for a multicast address; `AddrInUse`, `AddrNotAvailable` and the like by the system.
    pub fn bind(local: SocketAddr, options: &SocketOptions) -> io::Result<Self> {
        let local = canonical(local);
        if local.ip().is_multicast() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a unicast socket cannot be bound to a multicast address",
            ));
        }
        let port = platform::Port::bind(local, options, platform::Kind::Unicast)?;
        let local = canonical(port.local_addr()?);
        Ok(Self { port, local })
    }

    /// The address and port that the socket is bound to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Waits until datagrams or error reports may be there: then call [`recv_batch`](Self::recv_batch) and
    /// [`poll_error`](Self::poll_error) both. Safe to cancel.
    ///
    /// # Errors
    /// When the runtime shuts down.
    pub async fn readable(&self) -> io::Result<()> {
        self.port.readable().await
    }

    /// Ready when datagrams may be there. One task at a time can wait like this.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.port.poll_readable(cx)
    }

    /// Waits until error reports may be there.
    pub(crate) async fn reporting(&self) -> io::Result<()> {
        self.port.reporting().await
    }

    /// Waits until the send buffer has room again. Safe to cancel.
    ///
    /// # Errors
    /// When the runtime shuts down, or the process has no file descriptor left.
    pub async fn writable(&self) -> io::Result<()> {
        self.port.writable().await
    }

    /// Takes what has arrived, at most the batch's capacity; what the batch held before is gone. 0 when
    /// nothing is there (then await [`readable`](Self::readable)). ICMP errors do not appear here.
    ///
    /// # Errors
    /// What the system reports of the socket itself.
    pub fn recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        self.port.recv_batch(batch)
    }

    /// Sends what waits in the batch, in order. A datagram that the system refuses goes to
    /// [`SendBatch::failures`] and does not hold up the next ones. When the send buffer is full the rest
    /// stays in the batch. An error of an earlier datagram is not blamed on these: it comes by
    /// [`poll_error`](Self::poll_error).
    ///
    /// # Errors
    /// What the system reports of the socket itself.
    pub fn send_batch(&self, batch: &mut SendBatch) -> io::Result<Sent> {
        self.port.send_batch(batch)
    }

    /// The next report that a datagram sent earlier did not arrive; `None` when there is none (then await
    /// [`readable`](Self::readable)).
    pub fn poll_error(&self) -> Option<SendFailure> {
        self.port.poll_error()
    }

    /// How many datagrams the system dropped since the socket was made because its receive buffer was
    /// full. Known as of the last datagram received (`SO_RXQ_OVFL`); `None` where the system does not tell.
    #[must_use]
    pub fn dropped(&self) -> Option<u64> {
        self.port.dropped()
    }
}

/// A socket on a group's address and port: receives what is sent to that group, and sends nothing.
#[derive(Debug)]
pub struct GroupSocket {
    port: platform::Port,
    group: SocketAddr,
    members: Vec<u32>,
}

impl GroupSocket {
    /// Opens a socket for `group` and joins through the interface with index `interface`.
    ///
    /// Other sockets and programs can open the same group and port; each gets its copy. Groups on the same
    /// port do not mix. A socket for a group of interface-local or link-local scope (ff01, ff02) belongs to
    /// its first interface; for other groups more can [`join`](Self::join).
    ///
    /// Must be called within a tokio runtime with I/O enabled (it panics otherwise, as tokio's own do).
    ///
    /// # Errors
    /// See [`JoinError`]; `Os` with `Unsupported` where the system cannot bind to a group (Windows).
    pub fn open(
        group: IpAddr,
        port: u16,
        interface: u32,
        options: &SocketOptions,
    ) -> Result<Self, JoinError> {
        let group = group.to_canonical();
        if !group.is_multicast() {
            return Err(JoinError::NotMulticast(group));
        }
        if interface == 0 {
            return Err(JoinError::NoSuchInterface(0));
        }
        let address = match group {
            IpAddr::V6(v6) if needs_interface(group) => {
                SocketAddrV6::new(v6, port, 0, interface).into()
            }
            _ => SocketAddr::new(group, port),
        };
        let port =
            platform::Port::bind(address, options, platform::Kind::Group).map_err(|error| {
                match platform::join_error(error, interface) {
                    // At this point the address and port are taken, by a socket that does not share them.
                    JoinError::AlreadyMember(_) => JoinError::Os(io::ErrorKind::AddrInUse.into()),
                    error => error,
                }
            })?;
        let group = canonical(port.local_addr()?);
        let mut socket = Self {
            port,
            group,
            members: Vec::new(),
        };
        socket.join(interface)?;
        Ok(socket)
    }

    /// The group and port. For a group of interface-local or link-local scope, with the interface.
    #[must_use]
    pub fn group(&self) -> SocketAddr {
        self.group
    }

    /// The interfaces through which this socket is a member, in order of joining.
    #[must_use]
    pub fn members(&self) -> &[u32] {
        &self.members
    }

    /// Joins the group through one more interface.
    ///
    /// # Errors
    /// See [`JoinError`]. Above all [`TooManyMemberships`](JoinError::TooManyMemberships) and
    /// [`OneInterfaceOnly`](JoinError::OneInterfaceOnly) mean: open another socket for the group.
    pub fn join(&mut self, interface: u32) -> Result<(), JoinError> {
        if self.members.contains(&interface) {
            return Err(JoinError::AlreadyMember(interface));
        }
        self.check_scope(interface)?;
        self.port
            .join(self.group.ip(), interface)
            .map_err(|error| platform::join_error(error, interface))?;
        self.members.push(interface);
        Ok(())
    }

    /// Leaves the group through an interface. A membership that ended with its interface is forgotten
    /// without an error.
    ///
    /// # Errors
    /// [`NotMember`](JoinError::NotMember), or the system's reason.
    pub fn leave(&mut self, interface: u32) -> Result<(), JoinError> {
        let position = self
            .members
            .iter()
            .position(|member| *member == interface)
            .ok_or(JoinError::NotMember(interface))?;
        self.members.remove(position);
        match self.port.leave(self.group.ip(), interface) {
            Err(error) if !platform::is_gone(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Joins again after an interface vanished and returned, perhaps with another index: `old` is
    /// forgotten, whatever state it is in, and `new` joins. Both may be the same.
    ///
    /// # Errors
    /// As [`join`](Self::join); the old membership is gone all the same, and the call can be repeated.
    pub fn rejoin(&mut self, old: u32, new: u32) -> Result<(), JoinError> {
        self.check_scope(new)?;
        if self.members.contains(&old) {
            self.leave(old)?;
        }
        if self.members.contains(&new) {
            self.leave(new)?;
        }
        self.join(new)
    }

    /// Waits until datagrams may be there. Safe to cancel.
    ///
    /// # Errors
    /// When the runtime shuts down.
    pub async fn readable(&self) -> io::Result<()> {
        self.port.readable().await
    }

    /// Ready when datagrams may be there. One task at a time can wait like this.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.port.poll_readable(cx)
    }

    /// Takes what has arrived through interfaces that have joined, as [`UnicastSocket::recv_batch`].
    ///
    /// # Errors
    /// What the system reports of the socket itself.
    pub fn recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        self.port.recv_batch(batch)?;
        // In IPv6, Linux compares the group alone: a socket that joined through one interface also gets what
        // comes through another that some other socket joined.
        batch
            .heads
            .retain(|head| head.interface == 0 || self.members.contains(&head.interface));
        Ok(batch.len())
    }

    /// How many datagrams were dropped, as [`UnicastSocket::dropped`].
    #[must_use]
    pub fn dropped(&self) -> Option<u64> {
        self.port.dropped()
    }

    /// A socket of narrow scope is tied to its interface by the kernel.
    fn check_scope(&self, interface: u32) -> Result<(), JoinError> {
        match self.group {
            SocketAddr::V6(v6)
                if needs_interface(self.group.ip()) && v6.scope_id() != interface =>
            {
                Err(JoinError::OneInterfaceOnly {
                    group: self.group.ip(),
                    interface,
                })
            }
            _ => Ok(()),
        }
    }
}

/// The wildcard address of the same family.
#[must_use]
pub fn wildcard(family_of: IpAddr) -> IpAddr {
    match family_of {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}
