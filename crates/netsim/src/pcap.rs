//! Captures that `tcpdump` and Wireshark read: raw IP packets with complete headers and checksums.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use std::io;

use crate::address::HostId;
use crate::datagram::Flight;
use crate::time::Time;

/// Link type 101: packets begin with the IP header.
const LINKTYPE_RAW: u32 = 101;
const UDP: u8 = 17;

/// Writes datagrams into a pcap file (the classic format, little-endian, microseconds, link type RAW).
#[derive(Debug)]
pub struct PcapWriter<W: io::Write> {
    sink: W,
    packets: u64,
}

impl<W: io::Write> PcapWriter<W> {
    /// Writes the file header.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn new(mut sink: W) -> io::Result<PcapWriter<W>> {
        sink.write_all(&0xa1b2_c3d4u32.to_le_bytes())?;
        sink.write_all(&2u16.to_le_bytes())?;
        sink.write_all(&4u16.to_le_bytes())?;
        sink.write_all(&[0; 8])?; // time zone and accuracy: always zero
        sink.write_all(&u32::from(u16::MAX).to_le_bytes())?;
        sink.write_all(&LINKTYPE_RAW.to_le_bytes())?;
        Ok(PcapWriter { sink, packets: 0 })
    }

    /// Writes one datagram. Virtual time is shown as the time since 1970.
    ///
    /// # Errors
    /// Those of the sink; `InvalidInput` if the addresses are of different families or the payload is too long for UDP.
    pub fn write(
        &mut self,
        at: Time,
        src: SocketAddr,
        dst: SocketAddr,
        hop_limit: u8,
        payload: &[u8],
    ) -> io::Result<()> {
        let packet = packet(self.packets as u16, src, dst, hop_limit, payload)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let micros = at.as_micros();
        let seconds = u32::try_from(micros / 1_000_000).unwrap_or(u32::MAX);
        let fraction = (micros % 1_000_000) as u32;
        let length = packet.len() as u32;
        for field in [seconds, fraction, length, length] {
            self.sink.write_all(&field.to_le_bytes())?;
        }
        self.sink.write_all(&packet)?;
        self.packets += 1;
        Ok(())
    }

    /// How many packets were written.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Flushes and hands the sink back.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn finish(mut self) -> io::Result<W> {
        self.sink.flush()?;
        Ok(self.sink)
    }
}

/// An IP packet with one UDP datagram. `identification` goes into the IPv4 header.
fn packet(
    identification: u16,
    src: SocketAddr,
    dst: SocketAddr,
    hop_limit: u8,
    payload: &[u8],
) -> Option<Vec<u8>> {
    let udp_length = u16::try_from(8 + payload.len()).ok()?;
    let mut packet = Vec::with_capacity(48 + payload.len());
    let mut pseudo = Vec::with_capacity(40);
    match (src.ip(), dst.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = udp_length.checked_add(20)?;
            packet.extend_from_slice(&[0x45, 0]);
            packet.extend_from_slice(&total.to_be_bytes());
            packet.extend_from_slice(&identification.to_be_bytes());
            packet.extend_from_slice(&[0x40, 0, hop_limit, UDP, 0, 0]);
            packet.extend_from_slice(&from.octets());
            packet.extend_from_slice(&to.octets());
            let sum = checksum(&[&packet]);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            pseudo.extend_from_slice(&packet[12..20]);
            pseudo.extend_from_slice(&[0, UDP]);
            pseudo.extend_from_slice(&udp_length.to_be_bytes());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            packet.extend_from_slice(&[0x60, 0, 0, 0]);
            packet.extend_from_slice(&udp_length.to_be_bytes());
            packet.extend_from_slice(&[UDP, hop_limit]);
            packet.extend_from_slice(&from.octets());
            packet.extend_from_slice(&to.octets());
            pseudo.extend_from_slice(&packet[8..40]);
            pseudo.extend_from_slice(&u32::from(udp_length).to_be_bytes());
            pseudo.extend_from_slice(&[0, 0, 0, UDP]);
        }
        _ => return None,
    }
    let mut header = [0; 8];
    header[0..2].copy_from_slice(&src.port().to_be_bytes());
    header[2..4].copy_from_slice(&dst.port().to_be_bytes());
    header[4..6].copy_from_slice(&udp_length.to_be_bytes());
    // 0 would mean 'no checksum' (RFC 768).
    let sum = match checksum(&[&pseudo, &header, payload]) {
        0 => u16::MAX,
        sum => sum,
    };
    header[6..8].copy_from_slice(&sum.to_be_bytes());
    packet.extend_from_slice(&header);
    packet.extend_from_slice(payload);
    Some(packet)
}

/// The internet checksum over `parts`, of which all but the last have an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u64 = 0;
    for part in parts {
        for pair in part.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u64::from(u16::from_be_bytes([pair[0], low]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Where in the network a capture listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CapturePoint {
    /// Everything that leaves a host or is injected, once, as it is sent: also what is lost later.
    Sent,
    /// Everything that one host gets into its receive buffer.
    Host(HostId),
    /// Every arrival anywhere.
    Delivered,
}

/// A running capture; handed to [`Network::set_capture`](crate::Network::set_capture).
pub struct Capture {
    point: CapturePoint,
    writer: PcapWriter<Box<dyn io::Write + Send>>,
    error: Option<io::Error>,
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture")
            .field("point", &self.point)
            .field("packets", &self.writer.packets)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl Capture {
    /// A capture into `sink`, a buffered file for instance. Nothing is kept in memory.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn new(point: CapturePoint, sink: impl io::Write + Send + 'static) -> io::Result<Capture> {
        Ok(Capture {
            point,
            writer: PcapWriter::new(Box::new(sink) as Box<dyn io::Write + Send>)?,
            error: None,
        })
    }

    pub(crate) fn sent(&mut self, at: Time, flight: &Flight) {
        if self.point == CapturePoint::Sent {
            self.write(at, flight, flight.hop_limit);
        }
    }

    pub(crate) fn delivered(&mut self, at: Time, host: HostId, flight: &Flight, hop_limit: u8) {
        if matches!(self.point, CapturePoint::Delivered) || self.point == CapturePoint::Host(host) {
            self.write(at, flight, hop_limit);
        }
    }

    /// The first error ends the capture; the simulation goes on, and [`Capture::finish`] tells.
    fn write(&mut self, at: Time, flight: &Flight, hop_limit: u8) {
        if self.error.is_none() {
            self.error = self
                .writer
                .write(at, flight.src, flight.dst, hop_limit, &flight.bytes)
                .err();
        }
    }

    /// Flushes, and tells how many packets were written.
    ///
    /// # Errors
    /// The first error of the sink.
    pub fn finish(self) -> io::Result<u64> {
        match self.error {
            Some(error) => Err(error),
            None => {
                let packets = self.writer.packets();
                self.writer.finish()?;
                Ok(packets)
            }
        }
    }
}
