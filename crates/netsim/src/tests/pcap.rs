use alloc::sync::Arc;
use std::io::{self, Write};
use std::sync::Mutex;

use super::*;

/// A sink that the test can look into; fails from `limit` bytes on.
#[derive(Clone)]
struct Sink(Arc<Mutex<Vec<u8>>>, usize);

impl Sink {
    fn new() -> Sink {
        Sink(Arc::default(), usize::MAX)
    }
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = self.0.lock().unwrap();
        if all.len() + bytes.len() > self.1 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        all.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, PartialEq)]
struct Packet {
    micros: u64,
    src: SocketAddr,
    dst: SocketAddr,
    hop_limit: u8,
    payload: Vec<u8>,
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The ones' complement sum; 0xffff if a checksum among the words is right.
fn sum(words: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in words.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// An independent reader: every field is looked at.
fn parse(file: &[u8]) -> Vec<Packet> {
    assert_eq!(le32(file, 0), 0xa1b2_c3d4);
    assert_eq!(file[4..8], [2, 0, 4, 0]);
    assert_eq!(file[8..16], [0; 8]);
    assert_eq!(le32(file, 16), 65_535);
    assert_eq!(le32(file, 20), 101);
    let mut packets = Vec::new();
    let mut rest = &file[24..];
    while !rest.is_empty() {
        let micros = u64::from(le32(rest, 0)) * 1_000_000 + u64::from(le32(rest, 4));
        assert!(le32(rest, 4) < 1_000_000);
        let length = le32(rest, 8) as usize;
        assert_eq!(le32(rest, 12) as usize, length);
        let packet = &rest[16..16 + length];
        rest = &rest[16 + length..];
        let (src, dst, hop_limit, udp, mut pseudo): (IpAddr, IpAddr, u8, &[u8], Vec<u8>) =
            match packet[0] {
                0x45 => {
                    assert_eq!(packet[1], 0);
                    assert_eq!(usize::from(be16(packet, 2)), length);
                    assert_eq!(usize::from(be16(packet, 4)), packets.len());
                    assert_eq!(be16(packet, 6), 0x4000);
                    assert_eq!(packet[9], 17);
                    assert_eq!(sum(&packet[..20]), 0xffff);
                    let v4 = |at: usize| -> [u8; 4] { packet[at..at + 4].try_into().unwrap() };
                    let pseudo = packet[12..20].to_vec();
                    (
                        v4(12).into(),
                        v4(16).into(),
                        packet[8],
                        &packet[20..],
                        pseudo,
                    )
                }
                0x60 => {
                    assert_eq!(packet[1..4], [0; 3]);
                    assert_eq!(usize::from(be16(packet, 4)), length - 40);
                    assert_eq!(packet[6], 17);
                    let v6 = |at: usize| -> [u8; 16] { packet[at..at + 16].try_into().unwrap() };
                    let pseudo = packet[8..40].to_vec();
                    (
                        v6(8).into(),
                        v6(24).into(),
                        packet[7],
                        &packet[40..],
                        pseudo,
                    )
                }
                other => panic!("version and header length {other:#x}"),
            };
        assert_eq!(usize::from(be16(udp, 4)), udp.len());
        assert_ne!(be16(udp, 6), 0);
        pseudo.extend_from_slice(&(udp.len() as u32).to_be_bytes());
        pseudo.extend_from_slice(&[0, 0, 0, 17]);
        pseudo.extend_from_slice(udp);
        assert_eq!(sum(&pseudo), 0xffff);
        packets.push(Packet {
            micros,
            src: SocketAddr::new(src, be16(udp, 0)),
            dst: SocketAddr::new(dst, be16(udp, 2)),
            hop_limit,
            payload: udp[8..].to_vec(),
        });
    }
    packets
}

fn packet(micros: u64, src: &str, dst: &str, hop_limit: u8, payload: &[u8]) -> Packet {
    Packet {
        micros,
        src: at(src),
        dst: at(dst),
        hop_limit,
        payload: payload.to_vec(),
    }
}

/// Two questions and an answer over IPv4 and IPv6, one of them lost, captured at `point`.
fn captured(point: impl FnOnce(&[HostId]) -> CapturePoint) -> (Vec<Packet>, Network) {
    let (mut net, _, hosts) = lan(1, 3, Segment::default());
    let sink = Sink::new();
    net.set_capture(Capture::new(point(&hosts), sink.clone()).unwrap());
    for &host in &hosts[1..] {
        net.join(host, eth(), ip("224.0.1.187")).unwrap();
    }
    net.set_ingress(hosts[2], Impairment::none().loss(1.0));
    net.advance_to(Time::from_micros(2_000_500));
    say(&mut net, hosts[0], "224.0.1.187:5683", b"odd");
    settle(&mut net);
    say(&mut net, hosts[1], "[fe80::1]:5683", b"even");
    settle(&mut net);
    let packets = parse(&sink.bytes());
    let capture = net.take_capture().unwrap();
    assert_eq!(capture.finish().unwrap(), packets.len() as u64);
    assert!(net.take_capture().is_none());
    (packets, net)
}

#[test]
fn a_capture_of_what_is_sent_reads_back() {
    let (packets, net) = captured(|_| CapturePoint::Sent);
    let expected = [
        packet(2_000_500, "10.0.0.1:5683", "224.0.1.187:5683", 64, b"odd"),
        packet(2_001_500, "[fe80::2]:5683", "[fe80::1]:5683", 64, b"even"),
    ];
    assert_eq!(packets, expected);
    // The trace still has the same datagrams.
    let mut file = Vec::new();
    assert_eq!(net.trace().write_pcap(&mut file).unwrap(), 2);
    assert_eq!(parse(&file), expected);
}

#[test]
fn a_capture_of_what_arrives_reads_back() {
    let arrived = |packets: Vec<Packet>| -> Vec<(u64, u16)> {
        let length = |p: &Packet| p.payload.len() as u16;
        packets.iter().map(|p| (p.micros, length(p))).collect()
    };
    let (packets, _) = captured(|_| CapturePoint::Delivered);
    assert_eq!(arrived(packets), [(2_001_500, 3), (2_002_500, 4)]);
    let (packets, _) = captured(|hosts| CapturePoint::Host(hosts[0]));
    assert_eq!(arrived(packets), [(2_002_500, 4)]);
    let (packets, _) = captured(|hosts| CapturePoint::Host(hosts[2]));
    assert_eq!(arrived(packets), []);
}

#[test]
fn the_bytes_of_a_packet_are_these() {
    let mut writer = PcapWriter::new(Vec::new()).unwrap();
    let (src, dst) = (at("10.0.0.1:5683"), at("224.0.1.187:5683"));
    writer
        .write(Time::from_micros(1), src, dst, 7, &[0x40, 0x01])
        .unwrap();
    assert_eq!(writer.packets(), 1);
    let file = writer.finish().unwrap();
    assert_eq!(
        file[40..],
        [
            0x45, 0, 0, 30, 0, 0, 0x40, 0, 7, 17, 0x88, 0x13, 10, 0, 0, 1, 224, 0, 1,
            187, // IPv4
            0x16, 0x33, 0x16, 0x33, 0, 10, 0xa7, 0xb6, 0x40, 0x01, // UDP
        ]
    );
}

#[test]
fn a_checksum_of_zero_is_written_as_all_ones() {
    // With an empty payload the checksum is wrong by exactly what the two payload bytes then mend.
    let (src, dst) = (at("[fe80::1]:1"), at("[fe80::2]:2"));
    let write = |payload: &[u8]| {
        let mut writer = PcapWriter::new(Vec::new()).unwrap();
        writer.write(Time::ZERO, src, dst, 1, payload).unwrap();
        writer.finish().unwrap()
    };
    let sum_of = |file: &[u8]| be16(file, 24 + 16 + 40 + 6);
    let first = sum_of(&write(&[0, 0]));
    let file = write(&first.to_be_bytes());
    assert_eq!(sum_of(&file), 0xffff);
    assert_eq!(parse(&file).len(), 1);
}

#[test]
fn what_no_datagram_can_be_is_refused() {
    let mut writer = PcapWriter::new(Vec::new()).unwrap();
    let (v4, v6) = (at("10.0.0.1:1"), at("[fe80::1]:1"));
    let mut refused = |src, dst, length: usize| {
        let result = writer.write(Time::ZERO, src, dst, 1, &vec![0; length]);
        result.err().map(|error| error.kind())
    };
    assert_eq!(refused(v4, v6, 0), Some(io::ErrorKind::InvalidInput));
    assert_eq!(refused(v4, v4, 65_507), None);
    assert_eq!(refused(v4, v4, 65_508), Some(io::ErrorKind::InvalidInput));
    assert_eq!(refused(v6, v6, 65_527), None);
    assert_eq!(refused(v6, v6, 65_528), Some(io::ErrorKind::InvalidInput));
}

#[test]
fn a_sink_that_fails_ends_the_capture_and_not_the_simulation() {
    let (mut net, _, hosts) = lan(1, 2, Segment::default());
    let mut sink = Sink::new();
    sink.1 = 24 + 60;
    net.set_capture(Capture::new(CapturePoint::Sent, sink.clone()).unwrap());
    for _ in 0..3 {
        say(&mut net, hosts[0], "10.0.0.2:5683", b"x");
    }
    assert_eq!(heard(&mut net, &hosts), [0, 3]);
    let error = net.take_capture().unwrap().finish().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}
