//! The network interfaces of this host: what `--interface` may name, and where groups can be joined.
//!
//! Indices are what sockets work with; a name is what people and configurations use. An interface that
//! vanishes and returns keeps its name and mostly gets another index, so look it up again.

use core::net::{IpAddr, Ipv4Addr};
use std::io;

/// One network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its index, never 0.
    pub index: u32,
    /// Its name, such as `eth0` or `lo`.
    pub name: String,
    /// Whether it is switched on.
    pub up: bool,
    /// Whether it says that it carries multicast. Linux's loopback interface does not say so, and carries
    /// IPv4 multicast all the same.
    pub multicast: bool,
    /// Whether it is a loopback interface.
    pub loopback: bool,
    /// Largest IP packet it carries, in bytes; `None` where the system does not tell.
    pub mtu: Option<u32>,
    /// Its addresses, in the system's order.
    pub addresses: Vec<IpAddr>,
}

impl Interface {
    /// Its first IPv4 address.
    #[must_use]
    pub fn ipv4(&self) -> Option<Ipv4Addr> {
        self.addresses.iter().find_map(|address| match address {
            IpAddr::V4(v4) => Some(*v4),
            IpAddr::V6(_) => None,
        })
    }

    /// Whether it has an address of the same family as `like`.
    #[must_use]
    pub fn speaks(&self, like: IpAddr) -> bool {
        self.addresses
            .iter()
            .any(|address| address.is_ipv4() == like.is_ipv4())
    }
}

/// All interfaces, by index.
///
/// # Errors
/// When the system cannot list them.
pub fn list() -> io::Result<Vec<Interface>> {
    let mut interfaces = system::list()?;
    interfaces.sort_by_key(|interface| interface.index);
    Ok(interfaces)
}

/// The interface with this index.
///
/// # Errors
/// `NotFound` when there is none.
pub fn by_index(index: u32) -> io::Result<Interface> {
    find(&index.to_string(), |interface| interface.index == index)
}

/// The interface with this name.
///
/// # Errors
/// `NotFound` when there is none.
pub fn by_name(name: &str) -> io::Result<Interface> {
    find(name, |interface| interface.name == name)
}

/// The interface that has this address.
///
/// # Errors
/// `NotFound` when there is none.
pub fn by_address(address: IpAddr) -> io::Result<Interface> {
    let address = address.to_canonical();
    find(&address.to_string(), |interface| {
        interface.addresses.contains(&address)
            // All of 127/8 belongs to the loopback interface, listed or not.
            || (interface.loopback && address.is_loopback() && interface.speaks(address))
    })
}

/// The interface that a person means by `text`: a name, an index or one of its addresses.
///
/// # Errors
/// `NotFound` when there is none.
pub fn resolve(text: &str) -> io::Result<Interface> {
    by_name(text).or_else(|error| {
        if let Ok(index) = text.parse::<u32>() {
            by_index(index)
        } else if let Ok(address) = text.parse::<IpAddr>() {
            by_address(address)
        } else {
            Err(error)
        }
    })
}

fn find(what: &str, wanted: impl Fn(&Interface) -> bool) -> io::Result<Interface> {
    list()?.into_iter().find(wanted).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("there is no network interface {what}"),
        )
    })
}

#[cfg(target_os = "linux")]
mod system {
    use core::net::IpAddr;
    use std::io;
    use std::os::fd::AsRawFd;

    use nix::ifaddrs::getifaddrs;
    use nix::libc;
    use nix::net::if_::{InterfaceFlags, if_nametoindex};
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrLike, socket};

    use super::Interface;

    pub(super) fn list() -> io::Result<Vec<Interface>> {
        let any = socket(
            AddressFamily::Inet,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        let mut interfaces: Vec<Interface> = Vec::new();
        for entry in getifaddrs()? {
            // An address with a label is listed as `eth0:label`.
            let name = entry.interface_name.split(':').next().unwrap_or_default();
            let known = interfaces
                .iter()
                .position(|interface| interface.name == name);
            let position = match known {
                Some(position) => position,
                None => {
                    // It may have gone since the list was made.
                    let Ok(index) = if_nametoindex(name) else {
                        continue;
                    };
                    interfaces.push(Interface {
                        index,
                        up: entry.flags.contains(InterfaceFlags::IFF_UP),
                        multicast: entry.flags.contains(InterfaceFlags::IFF_MULTICAST),
                        loopback: entry.flags.contains(InterfaceFlags::IFF_LOOPBACK),
                        mtu: mtu(any.as_raw_fd(), name),
                        addresses: Vec::new(),
                        name: name.to_owned(),
                    });
                    interfaces.len() - 1
                }
            };
            let address = entry.address.and_then(|address| match address.family()? {
                AddressFamily::Inet => Some(IpAddr::V4(address.as_sockaddr_in()?.ip())),
                AddressFamily::Inet6 => Some(IpAddr::V6(address.as_sockaddr_in6()?.ip())),
                _ => None,
            });
            if let (Some(address), Some(interface)) = (address, interfaces.get_mut(position)) {
                interface.addresses.push(address);
            }
        }
        Ok(interfaces)
    }

    /// Asks by ioctl: `/sys` shows the interfaces of the namespace that mounted it, not of this process.
    fn mtu(fd: i32, name: &str) -> Option<u32> {
        // SAFETY: ifreq consists of integers, pointers and arrays of them, for which zero is a valid value.
        let mut request: libc::ifreq = unsafe { core::mem::zeroed() };
        let room = request.ifr_name.len() - 1;
        for (to, from) in request.ifr_name.iter_mut().take(room).zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        // SAFETY: SIOCGIFMTU reads the terminated name and writes `ifru_mtu`, both within `request`.
        let result = unsafe { libc::ioctl(fd, libc::SIOCGIFMTU as _, &raw mut request) };
        if result != 0 {
            return None;
        }
        // SAFETY: the call succeeded, so `ifru_mtu` is what the kernel wrote; any bits are a valid integer.
        u32::try_from(unsafe { request.ifr_ifru.ifru_mtu }).ok()
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;

    use getifaddrs::InterfaceFlags;

    use super::Interface;

    pub(super) fn list() -> io::Result<Vec<Interface>> {
        let mut interfaces: Vec<Interface> = Vec::new();
        for entry in getifaddrs::getifaddrs()? {
            let Some(index) = entry.index else { continue };
            let position = match interfaces.iter().position(|known| known.index == index) {
                Some(position) => position,
                None => {
                    interfaces.push(Interface {
                        index,
                        up: entry.flags.contains(InterfaceFlags::UP),
                        multicast: entry.flags.contains(InterfaceFlags::MULTICAST),
                        loopback: entry.flags.contains(InterfaceFlags::LOOPBACK),
                        mtu: None,
                        addresses: Vec::new(),
                        name: entry.name,
                    });
                    interfaces.len() - 1
                }
            };
            if let (Some(address), Some(interface)) =
                (entry.address.ip_addr(), interfaces.get_mut(position))
            {
                interface.addresses.push(address);
            }
        }
        Ok(interfaces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_listed_with_its_facts() {
        let lo = list()
            .unwrap()
            .into_iter()
            .find(|interface| interface.loopback)
            .unwrap();
        assert!(lo.up);
        assert!(lo.index > 0);
        assert_eq!(lo.ipv4(), Some(Ipv4Addr::LOCALHOST));
        assert!(lo.speaks(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))));
        if cfg!(target_os = "linux") {
            assert_eq!(lo.name, "lo");
            assert_eq!(lo.mtu, Some(65_536));
            assert!(!lo.multicast);
        }
    }

    #[test]
    fn an_interface_is_found_by_name_index_and_address() {
        let lo = by_address(Ipv4Addr::LOCALHOST.into()).unwrap();
        assert!(lo.loopback);
        assert_eq!(by_name(&lo.name).unwrap(), lo);
        assert_eq!(by_index(lo.index).unwrap(), lo);
        assert_eq!(resolve(&lo.name).unwrap(), lo);
        assert_eq!(resolve(&lo.index.to_string()).unwrap(), lo);
        assert_eq!(resolve("127.0.0.1").unwrap(), lo);
        assert_eq!(resolve("127.9.8.7").unwrap(), lo);
        assert_eq!(resolve("::ffff:127.0.0.1").unwrap(), lo);
    }

    #[test]
    fn an_unknown_interface_is_not_found_and_the_error_names_it() {
        for unknown in ["none0", "4000000000", "203.0.113.77", ""] {
            let error = resolve(unknown).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
            assert!(error.to_string().contains(unknown), "{error}");
        }
    }

    #[test]
    fn interfaces_come_in_the_order_of_their_indices() {
        let indices: Vec<u32> = list().unwrap().iter().map(|one| one.index).collect();
        assert!(indices.is_sorted_by(|a, b| a < b), "{indices:?}");
    }
}
