//! Linux socket addresses and control messages as bytes, read and written without `unsafe`.
//!
//! The layouts are the kernel's own: `struct sockaddr_in`, `sockaddr_in6`, `cmsghdr`, `in_pktinfo`,
//! `in6_pktinfo`, `sock_extended_err`.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use nix::libc;

/// Size of `sockaddr_in6`, the larger of both.
pub(super) const NAME_SPACE: usize = 28;
/// Size of `sockaddr_in`.
const NAME_V4: usize = 16;

/// Bytes with the alignment that the kernel's structures need.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(super) struct Aligned<const N: usize>(pub(super) [u8; N]);

impl<const N: usize> Default for Aligned<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

/// A socket address as the kernel writes it.
pub(super) type Name = Aligned<NAME_SPACE>;

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn native_u16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_ne_bytes)
}

pub(super) fn native_u32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_ne_bytes)
}

pub(super) fn ipv4(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    array::<4>(bytes, at).map(Ipv4Addr::from)
}

pub(super) fn ipv6(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    array::<16>(bytes, at).map(Ipv6Addr::from)
}

/// Reads a socket address; `None` for another family or too few bytes.
pub(super) fn read_name(bytes: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(array(bytes, 2)?);
    match i32::from(native_u16(bytes, 0)?) {
        libc::AF_INET => Some(SocketAddrV4::new(ipv4(bytes, 4)?, port).into()),
        libc::AF_INET6 => {
            Some(SocketAddrV6::new(ipv6(bytes, 8)?, port, 0, native_u32(bytes, 24)?).into())
        }
        _ => None,
    }
}

/// Writes a socket address and says how long it is.
pub(super) fn write_name(address: SocketAddr) -> (Name, usize) {
    let mut name = Name::default();
    let mut put = |at: usize, bytes: &[u8]| name.0[at..at + bytes.len()].copy_from_slice(bytes);
    put(2, &address.port().to_be_bytes());
    match address {
        SocketAddr::V4(v4) => {
            put(0, &(libc::AF_INET as u16).to_ne_bytes());
            put(4, &v4.ip().octets());
            (name, NAME_V4)
        }
        SocketAddr::V6(v6) => {
            put(0, &(libc::AF_INET6 as u16).to_ne_bytes());
            put(8, &v6.ip().octets());
            put(24, &v6.scope_id().to_ne_bytes());
            (name, NAME_SPACE)
        }
    }
}

const WORD: usize = size_of::<usize>();
/// `struct cmsghdr`: a length as wide as a word, level and type.
const HEADER: usize = align(WORD + 8);

const fn align(length: usize) -> usize {
    (length + WORD - 1) & !(WORD - 1)
}

/// One control message: level, type, data.
pub(super) type Message<'a> = (i32, i32, &'a [u8]);

/// The control messages in `bytes`, until the end or the first that makes no sense.
pub(super) fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = bytes;
    core::iter::from_fn(move || {
        let length = usize::from_ne_bytes(array(rest, 0)?);
        let level = i32::from_ne_bytes(array(rest, WORD)?);
        let kind = i32::from_ne_bytes(array(rest, WORD + 4)?);
        let data = rest.get(HEADER..length)?;
        rest = rest.get(align(length)..).unwrap_or_default();
        Some((level, kind, data))
    })
}

/// Room for what a datagram is sent with: packet information and a hop limit.
pub(super) const SEND_SPACE: usize = 64;

/// Control messages for one datagram to send.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SendControl {
    pub(super) bytes: Aligned<SEND_SPACE>,
    pub(super) length: usize,
}

impl SendControl {
    fn push(&mut self, level: i32, kind: i32, data: &[u8]) {
        let length = HEADER + data.len();
        let start = self.length;
        let mut put = |at: usize, bytes: &[u8]| {
            self.bytes.0[start + at..start + at + bytes.len()].copy_from_slice(bytes);
        };
        put(0, &length.to_ne_bytes());
        put(WORD, &level.to_ne_bytes());
        put(WORD + 4, &kind.to_ne_bytes());
        put(HEADER, data);
        self.length = start + align(length);
    }

    /// Source address and interface of a datagram of this family; 0 and `None` leave the choice to routing.
    pub(super) fn path(&mut self, v4: bool, source: Option<IpAddr>, interface: u32) {
        if v4 {
            // struct in_pktinfo: interface, source (ipi_spec_dst), an address that is not used in sending
            let mut data = [0; 12];
            data[..4].copy_from_slice(&interface.to_ne_bytes());
            if let Some(IpAddr::V4(source)) = source {
                data[4..8].copy_from_slice(&source.octets());
            }
            self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &data);
        } else {
            // struct in6_pktinfo: source, interface
            let mut data = [0; 20];
            if let Some(IpAddr::V6(source)) = source {
                data[..16].copy_from_slice(&source.octets());
            }
            data[16..].copy_from_slice(&interface.to_ne_bytes());
            self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &data);
        }
    }

    /// Enters a source into the packet information of an IPv4 datagram, which is the first message.
    pub(super) fn default_source(&mut self, source: Ipv4Addr) {
        const AT: usize = HEADER + 4;
        self.bytes.0[AT..AT + 4].copy_from_slice(&source.octets());
    }

    /// TTL or hop limit of a datagram of this family.
    pub(super) fn hop_limit(&mut self, v4: bool, hops: u8) {
        let data = i32::from(hops).to_ne_bytes();
        if v4 {
            self.push(libc::IPPROTO_IP, libc::IP_TTL, &data);
        } else {
            self.push(libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT, &data);
        }
    }
}
