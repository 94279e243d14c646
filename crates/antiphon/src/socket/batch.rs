//! Batches: datagrams that cross the border to the kernel together, in memory that is allocated once.

use core::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::io;

use super::failure::FailedSend;
use super::platform;

/// Datagrams in one batch unless the caller chooses otherwise.
pub const DEFAULT_BATCH: usize = 32;

/// Room for one datagram, in bytes, unless the caller chooses otherwise. A CoAP message of the default
/// sizes (RFC 7252, section 4.6) needs 1152 bytes; this fits every datagram of an Ethernet link.
pub const DEFAULT_DATAGRAM: usize = 2048;

/// The largest UDP payload that can exist (65535 less the UDP header), in bytes.
pub const LARGEST_DATAGRAM: usize = 65_527;

/// The address without any IPv4-mapped form, so that a peer has exactly one name.
///
/// The flow label is cleared; the scope id stays only where it means something (link-local unicast, and
/// multicast of interface and link scope).
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => address,
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(IpAddr::V4(v4), v6.port()),
            None => {
                let scope = if needs_interface(IpAddr::V6(*v6.ip())) {
                    v6.scope_id()
                } else {
                    0
                };
                SocketAddrV6::new(*v6.ip(), v6.port(), 0, scope).into()
            }
        },
    }
}

/// Whether the address means something only together with an interface: IPv6 link-local unicast, and
/// IPv6 multicast of interface-local (ff01) and link-local (ff02) scope.
#[must_use]
pub fn needs_interface(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => {
            let [high, second, ..] = v6.octets();
            if high == 0xff {
                matches!(second & 0x0f, 1 | 2)
            } else {
                v6.is_unicast_link_local()
            }
        }
    }
}

/// How a datagram was addressed, told by its destination address and never guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cast {
    /// To this host alone.
    Unicast,
    /// To a multicast group.
    Multicast,
    /// To an IPv4 broadcast address, limited or directed. Treat it like multicast: nobody asked this host alone.
    Broadcast,
    /// The system did not say. Treat it like multicast.
    Unknown,
}

/// A datagram was longer than the room it was given. What arrived of it is withheld, because a cut message
/// can parse as a shorter whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Truncated {
    /// Its length in bytes; on systems that do not tell, the least that it can have been.
    pub length: usize,
}

/// One received datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival<'a> {
    /// The peer, canonical. A link-local peer carries the interface as its scope id.
    pub source: SocketAddr,
    /// The destination address in the datagram's header, if the system told it.
    pub destination: Option<IpAddr>,
    /// A local address that an answer can come from, if the system told one: the destination itself for
    /// unicast; for IPv4 multicast an address of the receiving interface.
    pub answer_from: Option<IpAddr>,
    /// How the datagram was addressed.
    pub cast: Cast,
    /// Index of the interface it came through; 0 if the system did not tell.
    pub interface: u32,
    /// The UDP payload, or how long it would have been.
    pub payload: Result<&'a [u8], Truncated>,
}

/// What is known of a received datagram besides its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) source: SocketAddr,
    pub(super) destination: Option<IpAddr>,
    pub(super) answer_from: Option<IpAddr>,
    pub(super) cast: Cast,
    pub(super) interface: u32,
    /// Which piece of the batch's memory holds the bytes.
    pub(super) slot: usize,
    /// Full length in bytes, also of what did not fit.
    pub(super) length: usize,
}

/// Room for received datagrams. Allocated once, filled by `recv_batch`, read by [`iter`](Self::iter).
#[derive(Debug)]
pub struct RecvBatch {
    pub(super) bytes: Vec<u8>,
    /// Bytes per slot: `limit`, and on some systems one more to notice truncation.
    pub(super) stride: usize,
    pub(super) limit: usize,
    pub(super) scratch: Vec<platform::RecvScratch>,
    pub(super) heads: Vec<Head>,
}

impl RecvBatch {
    /// Room for `capacity` datagrams (at least one) of at most `max_datagram` bytes (at most
    /// [`LARGEST_DATAGRAM`]) each.
    #[must_use]
    pub fn new(capacity: usize, max_datagram: usize) -> Self {
        let capacity = capacity.max(1);
        let limit = max_datagram.clamp(1, LARGEST_DATAGRAM);
        let stride = limit + platform::TRUNCATION_ROOM;
        Self {
            bytes: vec![0; capacity * stride],
            stride,
            limit,
            scratch: vec![platform::RecvScratch::default(); capacity],
            heads: Vec::with_capacity(capacity),
        }
    }

    /// How many datagrams fit.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.scratch.len()
    }

    /// The longest payload that is handed out whole, in bytes.
    #[must_use]
    pub fn max_datagram(&self) -> usize {
        self.limit
    }

    /// How many datagrams the last `recv_batch` brought.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether the last `recv_batch` brought nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// The datagrams of the last `recv_batch`, in order of arrival.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Arrival<'_>> {
        self.heads.iter().map(|head| {
            let start = head.slot * self.stride;
            let whole = (head.length <= self.limit)
                .then(|| self.bytes.get(start..start + head.length))
                .flatten();
            Arrival {
                source: head.source,
                destination: head.destination,
                answer_from: head.answer_from,
                cast: head.cast,
                interface: head.interface,
                payload: whole.ok_or(Truncated {
                    length: head.length,
                }),
            }
        })
    }
}

impl Default for RecvBatch {
    fn default() -> Self {
        Self::new(DEFAULT_BATCH, DEFAULT_DATAGRAM)
    }
}

/// Where a datagram goes and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The destination. A multicast destination needs `interface`.
    pub destination: SocketAddr,
    /// The source address; `None` leaves it to the address that the socket is bound to, or to routing.
    pub source: Option<IpAddr>,
    /// Index of the interface to leave by; `None` leaves it to routing, which is refused for multicast.
    pub interface: Option<u32>,
    /// TTL or hop limit of this datagram, 1 to 255; `None` takes the socket's.
    pub hop_limit: Option<u8>,
    /// A number of the caller's own that comes back with a failure.
    pub tag: u64,
}

impl Outgoing {
    /// To `destination`, with everything else left to the socket.
    #[must_use]
    pub fn to(destination: SocketAddr) -> Self {
        Self {
            destination,
            source: None,
            interface: None,
            hop_limit: None,
            tag: 0,
        }
    }

    /// From this local address.
    #[must_use]
    pub fn from(mut self, source: IpAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// Through the interface with this index.
    #[must_use]
    pub fn through(mut self, interface: u32) -> Self {
        self.interface = Some(interface);
        self
    }

    /// With this TTL or hop limit.
    #[must_use]
    pub fn hops(mut self, hop_limit: u8) -> Self {
        self.hop_limit = Some(hop_limit);
        self
    }

    /// With this number of the caller's own.
    #[must_use]
    pub fn tagged(mut self, tag: u64) -> Self {
        self.tag = tag;
        self
    }

    /// The same, with addresses in canonical form and a link-local destination tied to its interface.
    ///
    /// # Errors
    /// `InvalidInput` for what no network can mean: multicast without an interface, a scope id that
    /// contradicts the interface, a source of the other address family or a multicast source, hop limit 0.
    fn checked(mut self) -> io::Result<Self> {
        let refuse = |why: &'static str| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        if self.interface == Some(0) {
            return refuse("interface index 0 names no interface");
        }
        if self.hop_limit == Some(0) {
            return refuse("hop limit 0 reaches nobody");
        }
        self.destination = canonical(self.destination);
        if self.destination.ip().is_multicast() && self.interface.is_none() {
            let SocketAddr::V6(v6) = self.destination else {
                return refuse("a multicast datagram needs an interface");
            };
            if v6.scope_id() == 0 {
                return refuse("a multicast datagram needs an interface");
            }
            self.interface = Some(v6.scope_id());
        }
        if let SocketAddr::V6(v6) = &mut self.destination
            && needs_interface(IpAddr::V6(*v6.ip()))
        {
            match (v6.scope_id(), self.interface) {
                (0, Some(interface)) => v6.set_scope_id(interface),
                (0, None) => return refuse("a link-local destination needs an interface"),
                (scope, Some(interface)) if scope != interface => {
                    return refuse("the destination's scope id names another interface");
                }
                _ => {}
            }
        }
        if let Some(source) = self.source {
            let source = source.to_canonical();
            if source.is_multicast() {
                return refuse("a multicast address cannot be a source");
            }
            if source.is_ipv4() != self.destination.is_ipv4() {
                return refuse("source and destination are of different address families");
            }
            self.source = Some(source);
        }
        Ok(self)
    }
}

/// One datagram that waits to be sent.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) outgoing: Outgoing,
    pub(super) length: usize,
    pub(super) head: platform::SendHead,
}

/// What a `send_batch` achieved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Datagrams that the kernel took.
    pub sent: usize,
    /// Datagrams that it refused; each stands in [`SendBatch::failures`].
    pub failed: usize,
    /// Datagrams that still wait because the send buffer is full: await `writable` and call again.
    pub waiting: usize,
}

/// Datagrams to send. Memory is allocated once; a datagram stays until the kernel takes or refuses it.
#[derive(Debug)]
pub struct SendBatch {
    pub(super) bytes: Vec<u8>,
    pub(super) stride: usize,
    pub(super) capacity: usize,
    pub(super) queue: Vec<Waiting>,
    /// The first in `queue` that still waits.
    pub(super) next: usize,
    pub(super) failures: Vec<FailedSend>,
}

impl SendBatch {
    /// Room for `capacity` datagrams (at least one) of at most `max_datagram` bytes each.
    #[must_use]
    pub fn new(capacity: usize, max_datagram: usize) -> Self {
        let capacity = capacity.max(1);
        let stride = max_datagram.clamp(1, LARGEST_DATAGRAM);
        Self {
            bytes: vec![0; capacity * stride],
            stride,
            capacity,
            queue: Vec::with_capacity(capacity),
            next: 0,
            failures: Vec::new(),
        }
    }

    /// How many datagrams fit.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The longest payload that fits, in bytes.
    #[must_use]
    pub fn max_datagram(&self) -> usize {
        self.stride
    }

    /// How many datagrams wait to be sent.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len() - self.next
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no further datagram fits before the next `send_batch`.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.queue.len() == self.capacity
    }

    /// The room for the next datagram, to be written and then handed over by [`commit`](Self::commit);
    /// `None` when the batch is full.
    pub fn slot(&mut self) -> Option<&mut [u8]> {
        if self.is_full() {
            return None;
        }
        let start = self.queue.len() * self.stride;
        self.bytes.get_mut(start..start + self.stride)
    }

    /// Queues the first `length` bytes of [`slot`](Self::slot).
    ///
    /// # Errors
    /// `InvalidInput` when `length` exceeds the room or `outgoing` names no path: multicast without an
    /// interface, a scope id against the interface, a source of the other family, hop limit 0.
    /// `StorageFull` when the batch is full. `Unsupported` for what this system cannot do.
    pub fn commit(&mut self, outgoing: Outgoing, length: usize) -> io::Result<()> {
        if self.is_full() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if length > self.stride {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the datagram is longer than the room for it",
            ));
        }
        let outgoing = outgoing.checked()?;
        let head = platform::SendHead::new(&outgoing)?;
        self.queue.push(Waiting {
            outgoing,
            length,
            head,
        });
        Ok(())
    }

    /// Copies a datagram into the batch.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn push(&mut self, outgoing: Outgoing, payload: &[u8]) -> io::Result<()> {
        if let Some(room) = self.slot().and_then(|slot| slot.get_mut(..payload.len())) {
            room.copy_from_slice(payload);
        }
        self.commit(outgoing, payload.len())
    }

    /// The datagrams that were refused since the last [`take_failures`](Self::take_failures).
    #[must_use]
    pub fn failures(&self) -> &[FailedSend] {
        &self.failures
    }

    /// Hands out the refused datagrams and forgets them.
    pub fn take_failures(&mut self) -> impl Iterator<Item = FailedSend> + '_ {
        self.failures.drain(..)
    }

    /// Forgets what waits; failures stay.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.next = 0;
    }

    /// Counts `count` datagrams as taken by the kernel.
    pub(super) fn advance(&mut self, count: usize) {
        self.next += count;
        if self.next >= self.queue.len() {
            self.clear();
        }
    }

    /// Counts the first waiting datagram as refused.
    pub(super) fn refuse(&mut self, error: io::Error) {
        if let Some(waiting) = self.queue.get(self.next) {
            self.failures.push(FailedSend {
                tag: waiting.outgoing.tag,
                destination: waiting.outgoing.destination,
                error,
            });
            self.advance(1);
        }
    }
}

impl Default for SendBatch {
    fn default() -> Self {
        Self::new(DEFAULT_BATCH, DEFAULT_DATAGRAM)
    }
}
