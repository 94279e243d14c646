//! What happened: a bounded ring of events, printed with the seed when a test fails.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::fmt;
use core::net::SocketAddr;
use std::io;

use crate::address::HostId;
use crate::datagram::SendError;
use crate::pcap::PcapWriter;
use crate::time::Time;

/// Why a copy of a datagram ended before its receiver.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum DropCause {
    /// Lost on the way out of the sending host.
    EgressLoss,
    /// Lost on a segment.
    SegmentLoss,
    /// Lost on the way into the receiving host.
    IngressLoss,
    /// Nobody has the destination address where the datagram could get to.
    NoSuchAddress,
    /// A router had no hop left to take.
    HopLimit,
    /// An interface or segment is down.
    LinkDown,
    /// Sender and receiver are on different islands.
    Partition,
    /// The receiving host is down.
    HostDown,
    /// The receiver's translator does not let it in.
    Filtered,
    /// The receiver has left the group, or given the address up, since.
    NotMine,
    /// Nothing is bound to the port.
    NoSocket,
    /// The receive buffer is full.
    BufferFull,
    /// The simulator's own queue is full.
    QueueFull,
}

/// What happened to a datagram or a host.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum What {
    /// A host sent it.
    Sent,
    /// It came from nowhere, see [`Network::inject`](crate::Network::inject).
    Injected,
    /// A host has it in its receive buffer.
    Delivered,
    /// A copy of it ended on its way.
    Dropped(DropCause),
    /// The host was not allowed to send it.
    Refused(SendError),
    /// Something else, in words.
    Note(String),
}

/// One event.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// When.
    pub at: Time,
    /// The datagram, numbered in the order of sending; 0 for what concerns none.
    pub id: u64,
    /// The host that sent, received or lost it.
    pub host: Option<HostId>,
    /// What happened.
    pub what: What,
    /// Sender and destination of the datagram.
    pub path: Option<(SocketAddr, SocketAddr)>,
    /// The hop limit at this place.
    pub hop_limit: u8,
    /// The payload of the datagram.
    pub bytes: Arc<[u8]>,
}

/// The most bytes of payload that a printed line shows.
const SHOWN_BYTES: usize = 16;

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>14}", self.at.to_string())?;
        match self.host {
            Some(host) => write!(f, "  {:<9}", host.to_string())?,
            None => write!(f, "  {:<9}", "-")?,
        }
        match &self.what {
            What::Sent => f.write_str(" sent      ")?,
            What::Injected => f.write_str(" injected  ")?,
            What::Delivered => f.write_str(" delivered ")?,
            What::Dropped(cause) => write!(f, " dropped ({cause:?}) ")?,
            What::Refused(error) => write!(f, " refused ({error}) ")?,
            What::Note(text) => return write!(f, " {text}"),
        }
        write!(f, "#{}", self.id)?;
        if let Some((src, dst)) = self.path {
            write!(f, " {src} > {dst}")?;
        }
        write!(f, ", {} bytes:", self.bytes.len())?;
        for byte in self.bytes.iter().take(SHOWN_BYTES) {
            write!(f, " {byte:02x}")?;
        }
        if self.bytes.len() > SHOWN_BYTES {
            f.write_str(" ..")?;
        }
        Ok(())
    }
}

/// The last events, bounded in number and in bytes of payload, and a digest over all events there ever were.
#[derive(Debug)]
pub struct Trace {
    entries: VecDeque<Entry>,
    max_entries: usize,
    max_bytes: usize,
    bytes: usize,
    recorded: u64,
    digest: Digest,
}

/// FNV-1a with 64 bits: tells two runs apart, keeps nobody from forging anything.
#[derive(Debug, Clone, Copy)]
struct Digest(u64);

impl Digest {
    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

impl fmt::Write for Digest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.add(text.as_bytes());
        Ok(())
    }
}

impl Default for Trace {
    /// 2,048 events with at most 4 MiB of payload.
    fn default() -> Trace {
        Trace::new(2_048, 4 << 20)
    }
}

impl Trace {
    /// A trace that keeps the last `max_entries` events, and of those only as many as have `max_bytes` of payload.
    pub fn new(max_entries: usize, max_bytes: usize) -> Trace {
        Trace {
            entries: VecDeque::new(),
            max_entries,
            max_bytes,
            bytes: 0,
            recorded: 0,
            digest: Digest(0xcbf2_9ce4_8422_2325),
        }
    }

    pub(crate) fn record(&mut self, entry: Entry) {
        self.recorded += 1;
        self.fold(&entry);
        self.bytes += entry.bytes.len();
        self.entries.push_back(entry);
        while self.entries.len() > self.max_entries || self.bytes > self.max_bytes {
            match self.entries.pop_front() {
                Some(old) => self.bytes -= old.bytes.len(),
                None => break,
            }
        }
    }

    /// Takes an event into the digest. Payload is taken whole where a datagram begins; later its number stands for it.
    fn fold(&mut self, entry: &Entry) {
        use core::fmt::Write as _;
        let digest = &mut self.digest;
        digest.add(&entry.at.as_micros().to_le_bytes());
        digest.add(&entry.id.to_le_bytes());
        digest.add(&entry.host.map_or(u32::MAX, |host| host.0).to_le_bytes());
        match &entry.what {
            What::Delivered => digest.add(b"D"),
            What::Dropped(cause) => digest.add(&[b'-', *cause as u8]),
            What::Note(text) => digest.add(text.as_bytes()),
            what => {
                // Writing into the digest cannot fail.
                let _ = write!(digest, "{what:?} {:?} {}", entry.path, entry.hop_limit);
                digest.add(&entry.bytes);
            }
        }
    }

    /// The events that are still held, oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> + ExactSizeIterator {
        self.entries.iter()
    }

    /// How many events there ever were.
    pub fn recorded(&self) -> u64 {
        self.recorded
    }

    /// A number over all events there ever were: equal for equal runs.
    pub fn digest(&self) -> u64 {
        self.digest.0
    }

    /// Writes the datagrams among the events that are still held, each once as it was sent, as a pcap file. Returns how
    /// many they were.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn write_pcap<W: io::Write>(&self, sink: W) -> io::Result<u64> {
        let mut writer = PcapWriter::new(sink)?;
        for entry in &self.entries {
            if let (What::Sent | What::Injected, Some((src, dst))) = (&entry.what, entry.path) {
                writer.write(entry.at, src, dst, entry.hop_limit, &entry.bytes)?;
            }
        }
        let packets = writer.packets();
        writer.finish()?;
        Ok(packets)
    }

    /// The last `lines` events as text, under a line that names the seed.
    pub fn report(&self, seed: u64, lines: usize) -> String {
        use core::fmt::Write as _;
        let shown = lines.min(self.entries.len());
        // Writing into a string cannot fail.
        let mut text = String::new();
        let _ = writeln!(
            text,
            "netsim: seed {seed}; the last {shown} of {} events:",
            self.recorded
        );
        for entry in self.entries.iter().skip(self.entries.len() - shown) {
            let _ = writeln!(text, "{entry}");
        }
        text
    }
}
