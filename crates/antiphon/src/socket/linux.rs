//! Linux: recvmmsg and sendmmsg with packet information, and the error queue.
//!
//! This is the only file of the room with `unsafe`: three system calls for which no safe wrapper fits, and
//! tokio's registration (the reasons stand in the decision record on sockets).

use core::mem::{self, MaybeUninit};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::ptr;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use core::task::{Context, Poll};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::SocketOptions;
use super::batch::{Cast, Head, Outgoing, RecvBatch, SendBatch, Sent, canonical};
use super::control::{self, Aligned, Name, SendControl};
use super::failure::{JoinError, QUOTE, SendFailure, Unreachable};

/// Extra bytes per slot to notice truncation: none, the kernel tells.
pub(super) const TRUNCATION_ROOM: usize = 0;

/// Datagrams per system call; longer batches take several.
const PER_CALL: usize = 32;

/// Datagrams that a call is prepared for at least: with one more than there is, the call also finds the end of the queue.
const LEAST: usize = 2;

/// How many errors of datagrams sent earlier one call steps over before it gives up for now.
const STEP_OVER: usize = 16;

/// How often a datagram is tried before an error counts as its own.
const TRIES: usize = 3;

/// Room for a received datagram's control messages: packet information (40 bytes) and drop count (24).
const RECV_CONTROL: usize = 128;

/// Where the kernel writes the peer and the control messages of one datagram.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RecvScratch {
    name: Name,
    control: Aligned<RECV_CONTROL>,
}

/// The kernel's form of an [`Outgoing`].
#[derive(Debug)]
pub(super) struct SendHead {
    name: Name,
    name_length: usize,
    control: SendControl,
}

impl SendHead {
    pub(super) fn new(outgoing: &Outgoing) -> io::Result<Self> {
        let v4 = outgoing.destination.is_ipv4();
        let mut control = SendControl::default();
        if outgoing.source.is_some() || outgoing.interface.is_some() {
            control.path(v4, outgoing.source, outgoing.interface.unwrap_or(0));
        }
        if let Some(hops) = outgoing.hop_limit {
            control.hop_limit(v4, hops);
        }
        let (name, name_length) = control::write_name(outgoing.destination);
        Ok(Self {
            name,
            name_length,
            control,
        })
    }
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Unicast,
    Group,
}

/// One UDP socket, registered with the runtime for datagrams and errors.
#[derive(Debug)]
pub(super) struct Port {
    fd: AsyncFd<Socket>,
    /// The source of IPv4 datagrams that name an interface and no source: the address that the socket is
    /// bound to, which packet information of its own would override with "any".
    source: Ipv4Addr,
    /// Whether to listen for error reports, which only a socket that sends gets.
    wanted: Interest,
    /// Datagrams dropped so far, widened from the kernel's 32 bits.
    dropped: AtomicU64,
    /// Datagrams that the next call is prepared for, from what was there lately.
    likely: AtomicUsize,
}

impl Port {
    pub(super) fn bind(
        address: SocketAddr,
        options: &SocketOptions,
        kind: Kind,
    ) -> io::Result<Self> {
        let v4 = address.is_ipv4();
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM.nonblocking().cloexec(),
            Some(Protocol::UDP),
        )?;
        if !v4 {
            socket.set_only_v6(true)?;
        }
        if let Some(bytes) = options.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(bytes) = options.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        // What other sockets joined is not for this one.
        let hops = u32::from(options.multicast_hops);
        if v4 {
            socket.set_multicast_all_v4(false)?;
            socket.set_multicast_loop_v4(options.multicast_loop)?;
            socket.set_multicast_ttl_v4(hops)?;
            if let Some(hops) = options.unicast_hops {
                socket.set_ttl_v4(u32::from(hops))?;
            }
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        } else {
            socket.set_multicast_all_v6(false)?;
            socket.set_multicast_loop_v6(options.multicast_loop)?;
            socket.set_multicast_hops_v6(hops)?;
            if let Some(hops) = options.unicast_hops {
                socket.set_unicast_hops_v6(u32::from(hops))?;
            }
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        }
        setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        match kind {
            Kind::Group => {
                socket.set_reuse_address(true)?;
                socket.bind(&address.into())?;
            }
            Kind::Unicast => {
                if v4 {
                    setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
                } else {
                    setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?;
                }
                socket.set_reuse_address(options.share_port)?;
                socket.bind(&address.into())?;
                // Alone at the moment of binding, so that nobody's datagrams are stolen; from here on group
                // sockets may share the port of a wildcard address.
                if address.ip().is_unspecified() {
                    socket.set_reuse_address(true)?;
                }
            }
        }
        let wanted = match kind {
            Kind::Unicast => Interest::READABLE | Interest::ERROR,
            Kind::Group => Interest::READABLE,
        };
        Ok(Self {
            fd: register(socket, wanted)?,
            source: match address.ip() {
                IpAddr::V4(v4) => v4,
                IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
            },
            wanted,
            dropped: AtomicU64::new(0),
            likely: AtomicUsize::new(LEAST),
        })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.fd
            .get_ref()
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    pub(super) fn join(&self, group: IpAddr, interface: u32) -> io::Result<()> {
        let socket = self.fd.get_ref();
        match group {
            IpAddr::V4(group) => {
                socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(interface))
            }
            IpAddr::V6(group) => socket.join_multicast_v6(&group, interface),
        }
    }

    pub(super) fn leave(&self, group: IpAddr, interface: u32) -> io::Result<()> {
        let socket = self.fd.get_ref();
        match group {
            IpAddr::V4(group) => {
                socket.leave_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(interface))
            }
            IpAddr::V6(group) => socket.leave_multicast_v6(&group, interface),
        }
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        // A caller that takes datagrams and leaves error reports lying must not starve the runtime.
        tokio::task::coop::consume_budget().await;
        let mut guard = self.fd.ready(self.wanted).await?;
        guard.retain_ready();
        Ok(())
    }

    /// Ready when datagrams may be there. Only the task that asked last is woken.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.fd.poll_read_ready(cx).map_ok(|mut guard| {
            guard.retain_ready();
        })
    }

    /// Waits until error reports may be there.
    pub(super) async fn reporting(&self) -> io::Result<()> {
        let mut guard = self.fd.ready(Interest::ERROR).await?;
        guard.retain_ready();
        Ok(())
    }

    /// Registers a duplicate afresh: tokio takes an ICMP error for a closed write half and would never
    /// again wait on the registration that saw one.
    pub(super) async fn writable(&self) -> io::Result<()> {
        let duplicate: OwnedFd = self.fd.get_ref().as_fd().try_clone_to_owned()?;
        let writable = register(duplicate, Interest::WRITABLE)?;
        let mut guard = writable.writable().await?;
        guard.retain_ready();
        Ok(())
    }

    pub(super) fn recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        batch.heads.clear();
        let mut taken = 0;
        while taken < batch.capacity() {
            let likely = self.likely.load(Ordering::Relaxed);
            let wanted = (batch.capacity() - taken).min(likely);
            let read = self.fd.try_io(Interest::READABLE, |socket| {
                let count = receive(socket.as_raw_fd(), batch, taken, wanted, &self.dropped)?;
                taken += count;
                self.likely
                    .store(next_likely(likely, wanted, count), Ordering::Relaxed);
                // A short count means an empty queue: say so, and the readiness is cleared without asking
                // the kernel once more. What arrives from here on makes a new readiness event.
                if count > 0 && count < wanted {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(count)
            });
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if batch.heads.is_empty() => return Err(error),
                // What has been read already is worth more; the error comes again.
                Err(_) => break,
            }
        }
        Ok(batch.heads.len())
    }

    pub(super) fn send_batch(&self, batch: &mut SendBatch) -> io::Result<Sent> {
        let fd = self.fd.get_ref().as_raw_fd();
        let mut outcome = Sent::default();
        // An error of a datagram sent earlier (ICMP) is reported at the next send, whatever that one is. So
        // an error counts against the datagram at hand only if it keeps coming; and "refused" never does,
        // since only the other side can say that.
        let mut tries = 0;
        while !batch.is_empty() {
            let error = match send(fd, batch, self.source) {
                Ok(0) => break,
                Ok(count) => {
                    batch.advance(count);
                    outcome.sent += count;
                    tries = 0;
                    continue;
                }
                Err(error) => error,
            };
            let patience = match error.raw_os_error() {
                Some(libc::EINTR) => continue,
                Some(libc::EAGAIN) => break,
                Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT) => return Err(error),
                Some(libc::ECONNREFUSED) => STEP_OVER,
                _ => TRIES,
            };
            tries += 1;
            if tries < patience {
                continue;
            }
            if patience == STEP_OVER {
                // Somebody works through a long error queue meanwhile: later, then.
                break;
            }
            batch.refuse(error);
            outcome.failed += 1;
            tries = 0;
        }
        outcome.waiting = batch.len();
        Ok(outcome)
    }

    pub(super) fn poll_error(&self) -> Option<SendFailure> {
        loop {
            let report = self
                .fd
                .try_io(Interest::ERROR, |socket| read_error(socket.as_raw_fd()));
            match report {
                Ok(Some(failure)) => return Some(failure),
                // A report about something else than a datagram of ours.
                Ok(None) => {}
                Err(_) => return None,
            }
        }
    }

    pub(super) fn dropped(&self) -> Option<u64> {
        Some(self.dropped.load(Ordering::Relaxed))
    }

    /// For what only tests set or read.
    #[cfg(test)]
    pub(super) fn raw_socket(&self) -> &Socket {
        self.fd.get_ref()
    }
}

/// How many datagrams to prepare a call for, after one that asked for `wanted` of `likely` and got `count`.
fn next_likely(likely: usize, wanted: usize, count: usize) -> usize {
    if count >= wanted {
        (likely * 2).min(PER_CALL)
    } else if count < likely / 4 {
        (likely / 2).max(LEAST)
    } else {
        likely
    }
}

/// Registers a socket with the runtime that this is called in.
fn register<S: OwnsSocket>(socket: S, interest: Interest) -> io::Result<AsyncFd<S>> {
    // SAFETY: both types that own a socket keep one open descriptor, and always the same, until they are
    // dropped; `AsyncFd` owns the value and nobody takes it out.
    Ok(unsafe { AsyncFd::register_with_interest(socket, interest) }?)
}

/// Types that own their descriptor for as long as they live.
trait OwnsSocket: AsRawFd {}
impl OwnsSocket for Socket {}
impl OwnsSocket for OwnedFd {}

/// Receives up to `wanted` datagrams into the slots from `first` on and returns how many.
///
/// Errors of datagrams sent earlier are stepped over: the error queue holds them for `poll_error`.
fn receive(
    fd: RawFd,
    batch: &mut RecvBatch,
    first: usize,
    wanted: usize,
    dropped: &AtomicU64,
) -> io::Result<usize> {
    let mut parts = [const { MaybeUninit::uninit() }; PER_CALL];
    let mut headers = [const { MaybeUninit::uninit() }; PER_CALL];
    let rooms = batch
        .bytes
        .chunks_exact_mut(batch.stride)
        .zip(batch.scratch.iter_mut())
        .skip(first)
        .take(wanted);
    let mut prepared = 0;
    for (((room, scratch), part), header) in rooms.zip(&mut parts).zip(&mut headers) {
        let part = part.write(libc::iovec {
            iov_base: room.as_mut_ptr().cast(),
            iov_len: room.len(),
        });
        let header = &mut header.write(empty_header()).msg_hdr;
        header.msg_name = scratch.name.0.as_mut_ptr().cast();
        header.msg_namelen = control::NAME_SPACE as libc::socklen_t;
        header.msg_iov = part;
        header.msg_iovlen = 1;
        header.msg_control = scratch.control.0.as_mut_ptr().cast();
        header.msg_controllen = RECV_CONTROL as _;
        prepared += 1;
    }
    let mut steps = 0;
    let count = loop {
        // SAFETY: the first `prepared` headers are written and point to distinct live buffers of the stated lengths (slots
        // and scratch of `batch`, which is borrowed mutably here, and `parts`); a null timeout is allowed.
        let result = unsafe {
            libc::recvmmsg(
                fd,
                headers.as_mut_ptr().cast(),
                prepared as libc::c_uint,
                // With MSG_TRUNC given, the length of a cut datagram is its full length.
                (libc::MSG_DONTWAIT | libc::MSG_TRUNC) as _,
                ptr::null_mut(),
            )
        };
        if let Ok(count) = usize::try_from(result) {
            break count;
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT | libc::ENOMEM | libc::EINVAL) => {
                return Err(error);
            }
            Some(libc::EAGAIN) => return Err(error),
            _ if steps == STEP_OVER => return Ok(0),
            _ => steps += 1,
        }
    };
    for (index, header) in headers.iter().take(prepared.min(count)).enumerate() {
        // SAFETY: the first `prepared` headers are written.
        let header: &libc::mmsghdr = unsafe { header.assume_init_ref() };
        let Some(scratch) = batch.scratch.get(first + index) else {
            break;
        };
        let name_length = header.msg_hdr.msg_namelen as usize;
        let Some(source) = scratch
            .name
            .0
            .get(..name_length)
            .and_then(control::read_name)
        else {
            continue;
        };
        // As wide as glibc and musl each want it.
        #[allow(clippy::unnecessary_cast)]
        let control_length = (header.msg_hdr.msg_controllen as usize).min(RECV_CONTROL);
        let mut head = Head {
            source: canonical(source),
            destination: None,
            answer_from: None,
            cast: Cast::Unknown,
            interface: 0,
            slot: first + index,
            length: header.msg_len as usize,
        };
        for message in control::messages(&scratch.control.0[..control_length]) {
            read_arrival(message, &mut head, dropped);
        }
        batch.heads.push(head);
    }
    Ok(count)
}

/// Enters what one control message says about a datagram.
fn read_arrival((level, kind, data): control::Message<'_>, head: &mut Head, dropped: &AtomicU64) {
    match (level, kind) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            let (Some(interface), Some(local), Some(destination)) = (
                control::native_u32(data, 0),
                control::ipv4(data, 4),
                control::ipv4(data, 8),
            ) else {
                return;
            };
            head.interface = interface;
            head.destination = Some(destination.into());
            head.answer_from = (!local.is_unspecified()).then_some(local.into());
            head.cast = if destination.is_multicast() {
                Cast::Multicast
            } else if destination.is_broadcast() || destination != local {
                // The kernel names another address to answer from: this one was a subnet's broadcast.
                Cast::Broadcast
            } else {
                Cast::Unicast
            };
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            let (Some(destination), Some(interface)) =
                (control::ipv6(data, 0), control::native_u32(data, 16))
            else {
                return;
            };
            head.interface = interface;
            head.destination = Some(destination.into());
            if destination.is_multicast() {
                head.cast = Cast::Multicast;
            } else {
                head.cast = Cast::Unicast;
                head.answer_from = Some(destination.into());
            }
        }
        (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
            if let Some(count) = control::native_u32(data, 0) {
                widen(dropped, count);
            }
        }
        _ => {}
    }
}

/// Brings a 64-bit count up to the kernel's 32-bit one, which wraps round and never goes back.
fn widen(total: &AtomicU64, count: u32) {
    let old = total.load(Ordering::Relaxed);
    let more = count.wrapping_sub(old as u32);
    if more < u32::MAX / 2 {
        total.store(old + u64::from(more), Ordering::Relaxed);
    }
}

/// Hands the first waiting datagrams to the kernel and returns how many it took: at least one, or an error
/// that came before the first.
fn send(fd: RawFd, batch: &mut SendBatch, source: Ipv4Addr) -> io::Result<usize> {
    let mut parts = [const { MaybeUninit::uninit() }; PER_CALL];
    let mut headers = [const { MaybeUninit::uninit() }; PER_CALL];
    let datagrams = batch
        .bytes
        .chunks_exact_mut(batch.stride)
        .zip(batch.queue.iter_mut())
        .skip(batch.next);
    let mut prepared = 0;
    for (((bytes, waiting), part), header) in datagrams.zip(&mut parts).zip(&mut headers) {
        if waiting.outgoing.source.is_none()
            && let (SocketAddr::V4(to), Some(interface)) =
                (waiting.outgoing.destination, waiting.outgoing.interface)
        {
            let source = default_source(source, *to.ip(), interface);
            waiting.head.control.default_source(source);
        }
        let part = part.write(libc::iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: waiting.length,
        });
        let header = &mut header.write(empty_header()).msg_hdr;
        header.msg_name = waiting.head.name.0.as_mut_ptr().cast();
        header.msg_namelen = waiting.head.name_length as libc::socklen_t;
        header.msg_iov = part;
        header.msg_iovlen = 1;
        if waiting.head.control.length > 0 {
            header.msg_control = waiting.head.control.bytes.0.as_mut_ptr().cast();
            header.msg_controllen = waiting.head.control.length as _;
        }
        prepared += 1;
    }
    // SAFETY: the first `prepared` headers are written and point to live buffers that hold at least the stated lengths
    // (`length` is at most `stride`; all belong to `batch`, borrowed mutably here, or to `parts`).
    let result = unsafe {
        libc::sendmmsg(
            fd,
            headers.as_mut_ptr().cast(),
            prepared as libc::c_uint,
            (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
        )
    };
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// A header that names nothing.
fn empty_header() -> libc::mmsghdr {
    // SAFETY: mmsghdr consists of integers and pointers, for which all bits zero is a valid value.
    unsafe { mem::zeroed() }
}

/// The source address of an IPv4 datagram that leaves by a named interface from a socket bound to `bound`.
fn default_source(bound: Ipv4Addr, to: Ipv4Addr, interface: u32) -> Ipv4Addr {
    /// The kernel's own constant: in every network namespace the loopback interface is the first.
    const LOOPBACK: u32 = 1;
    if bound.is_unspecified() && to.is_multicast() && interface == LOOPBACK {
        // For multicast the kernel passes over 127.0.0.1 (its scope is this host) and would take another
        // interface's address, or none at all.
        Ipv4Addr::LOCALHOST
    } else {
        bound
    }
}

/// Takes one report from the error queue; `None` if it concerns no datagram that was sent.
fn read_error(fd: RawFd) -> io::Result<Option<SendFailure>> {
    let mut name = Name::default();
    let mut control = Aligned::<256>::default();
    let mut quote = [0; QUOTE];
    let mut part = libc::iovec {
        iov_base: quote.as_mut_ptr().cast(),
        iov_len: QUOTE,
    };
    // SAFETY: msghdr consists of integers and pointers, for which all bits zero is a valid value.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_name = name.0.as_mut_ptr().cast();
    header.msg_namelen = control::NAME_SPACE as libc::socklen_t;
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len() as _;
    // SAFETY: the header points to live local buffers of the stated lengths.
    let result =
        unsafe { libc::recvmsg(fd, &raw mut header, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) };
    let Ok(quoted) = usize::try_from(result) else {
        return Err(io::Error::last_os_error());
    };
    #[allow(clippy::unnecessary_cast)]
    let control_length = (header.msg_controllen as usize).min(control.0.len());
    let destination = control::read_name(&name.0);
    let report = control::messages(&control.0[..control_length])
        .find(|(level, kind, _)| {
            matches!(
                (*level, *kind),
                (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
            )
        })
        .map(|(_, _, data)| data);
    let (Some(destination), Some(report)) = (destination, report) else {
        return Ok(None);
    };
    Ok(read_report(report).map(|(reason, offender)| SendFailure {
        destination: canonical(destination),
        offender,
        reason,
        quote,
        quoted: quoted.min(QUOTE),
    }))
}

/// Reads `struct sock_extended_err` and the offender's address behind it.
fn read_report(data: &[u8]) -> Option<(Unreachable, Option<IpAddr>)> {
    const LOCAL: u8 = 1;
    const ICMP: u8 = 2;
    const ICMP6: u8 = 3;
    const OFFENDER: usize = 16;
    let errno = i32::try_from(control::native_u32(data, 0)?).ok()?;
    let (origin, icmp_type) = (*data.get(4)?, *data.get(5)?);
    let info = control::native_u32(data, 8)?;
    if !matches!(origin, LOCAL | ICMP | ICMP6) {
        return None;
    }
    let offender = data
        .get(OFFENDER..)
        .and_then(control::read_name)
        .map(|address| address.ip().to_canonical())
        .filter(|_| origin != LOCAL);
    let hop_limit = matches!((origin, icmp_type), (ICMP, 11) | (ICMP6, 3));
    let reason = match errno {
        _ if hop_limit => Unreachable::HopLimit,
        libc::EMSGSIZE => Unreachable::TooBig {
            mtu: (info > 0).then_some(info),
        },
        _ => by_errno(errno),
    };
    Some((reason, offender))
}

fn by_errno(errno: i32) -> Unreachable {
    match errno {
        libc::ECONNREFUSED => Unreachable::Port,
        libc::EHOSTUNREACH | libc::EHOSTDOWN => Unreachable::Host,
        libc::ENETUNREACH | libc::ENETDOWN => Unreachable::Network,
        libc::EACCES | libc::EPERM => Unreachable::Prohibited,
        libc::EMSGSIZE => Unreachable::TooBig { mtu: None },
        libc::ENOBUFS | libc::ENOMEM => Unreachable::NoBuffers,
        other => Unreachable::Other(other),
    }
}

/// The reason behind an error of sending.
pub(super) fn reason(error: &io::Error) -> Unreachable {
    error.raw_os_error().map_or(Unreachable::Other(0), by_errno)
}

/// Whether leaving failed only because the membership is gone already.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENODEV | libc::ENXIO | libc::EADDRNOTAVAIL)
    )
}

/// The meaning of an error of binding to a group or joining it.
pub(super) fn join_error(error: io::Error, interface: u32) -> JoinError {
    match error.raw_os_error() {
        Some(libc::ENODEV | libc::ENXIO) => JoinError::NoSuchInterface(interface),
        Some(libc::EADDRINUSE) => JoinError::AlreadyMember(interface),
        Some(libc::ENOBUFS | libc::ENOMEM) => JoinError::TooManyMemberships,
        _ => JoinError::Os(error),
    }
}

#[cfg(test)]
#[path = "linux_tests.rs"]
mod tests;
