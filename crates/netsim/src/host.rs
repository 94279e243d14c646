//! A host: its interfaces, sockets, receive buffer and ill fortune.

use alloc::collections::{BTreeSet, VecDeque};
use core::net::{IpAddr, SocketAddr};

use crate::address::{HostId, Interface, Scope, SegmentId, is_link_local};
use crate::datagram::{Delivery, SendError};
use crate::link::{Impairment, Nat};
use crate::rng::Rng;

/// Receive buffer of a host unless told otherwise, in datagrams.
pub(crate) const DEFAULT_RECEIVE_BUFFER: usize = 16_384;

/// Memberships of a host unless told otherwise.
pub(crate) const DEFAULT_MEMBERSHIPS: usize = 1_024;

/// What one host did and suffered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HostCounters {
    /// Datagrams that the host sent.
    pub sent: u64,
    /// Datagrams that it was not allowed to send.
    pub refused: u64,
    /// Datagrams that came into its receive buffer.
    pub received: u64,
    /// Datagrams that were for it and never came into its receive buffer, for whatever cause on the way.
    pub lost: u64,
    /// Those among `lost` that found the receive buffer full (as SO_RXQ_OVFL counts).
    pub overflowed: u64,
}

#[derive(Debug)]
pub(crate) struct Attachment {
    pub(crate) segment: SegmentId,
    pub(crate) up: bool,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) groups: BTreeSet<IpAddr>,
}

impl Attachment {
    pub(crate) fn has_family_of(&self, address: IpAddr) -> bool {
        self.addresses
            .iter()
            .any(|own| own.is_ipv4() == address.is_ipv4())
    }

    /// The address from which a datagram to `dst` is best sent: of the same family, and as far-reaching as it must be.
    pub(crate) fn source_for(&self, dst: IpAddr) -> Option<IpAddr> {
        let near = is_link_local(dst) || Scope::of(dst).is_some_and(|scope| scope <= Scope::LINK);
        let mut family = self
            .addresses
            .iter()
            .filter(|own| own.is_ipv4() == dst.is_ipv4());
        let first = *family.clone().next()?;
        Some(
            family
                .find(|own| is_link_local(**own) == near)
                .copied()
                .unwrap_or(first),
        )
    }
}

/// Which of the next sends fail, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub(crate) error: SendError,
    /// So many sends fail for certain.
    pub(crate) next: u64,
    /// After that, each with this probability.
    pub(crate) chance: f64,
}

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) up: bool,
    pub(crate) island: u32,
    /// Interface n is in slot n - 1; a removed one leaves its slot empty.
    pub(crate) interfaces: Vec<Option<Attachment>>,
    pub(crate) ports: BTreeSet<u16>,
    pub(crate) memberships: usize,
    pub(crate) membership_limit: usize,
    pub(crate) egress: Impairment,
    pub(crate) ingress: Impairment,
    pub(crate) egress_rng: Rng,
    pub(crate) ingress_rng: Rng,
    pub(crate) nat: Option<Nat>,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) hears_itself: bool,
    pub(crate) inbox: VecDeque<Delivery>,
    pub(crate) inbox_limit: usize,
    /// Stands in the network's list of hosts that have something to read.
    pub(crate) listed: bool,
    pub(crate) counters: HostCounters,
}

impl Host {
    pub(crate) fn new(name: String, id: HostId, seed: u64) -> Host {
        let stream = u64::from(id.0) * 2;
        Host {
            name,
            up: true,
            island: 0,
            interfaces: Vec::new(),
            ports: BTreeSet::new(),
            memberships: 0,
            membership_limit: DEFAULT_MEMBERSHIPS,
            egress: Impairment::none(),
            ingress: Impairment::none(),
            egress_rng: Rng::stream(seed, stream),
            ingress_rng: Rng::stream(seed, stream + 1),
            nat: None,
            refusal: None,
            hears_itself: true,
            inbox: VecDeque::new(),
            inbox_limit: DEFAULT_RECEIVE_BUFFER,
            listed: false,
            counters: HostCounters::default(),
        }
    }

    pub(crate) fn attachment(&self, interface: Interface) -> Option<&Attachment> {
        self.interfaces.get(interface.slot())?.as_ref()
    }

    pub(crate) fn attachment_mut(&mut self, interface: Interface) -> Option<&mut Attachment> {
        self.interfaces.get_mut(interface.slot())?.as_mut()
    }

    pub(crate) fn attachments(&self) -> impl Iterator<Item = (Interface, &Attachment)> {
        self.interfaces
            .iter()
            .enumerate()
            .filter_map(|(slot, attachment)| {
                Some((Interface::new(slot as u32 + 1), attachment.as_ref()?))
            })
    }

    /// Whether this send is refused on demand.
    pub(crate) fn refuses(&mut self) -> Option<SendError> {
        let refusal = self.refusal.as_mut()?;
        if refusal.next > 0 {
            refusal.next -= 1;
            return Some(refusal.error);
        }
        (refusal.chance > 0.0 && self.egress_rng.chance(refusal.chance)).then_some(refusal.error)
    }

    /// Over which interface a datagram leaves.
    pub(crate) fn choose_interface(
        &self,
        asked: Option<Interface>,
        src: SocketAddr,
        dst: SocketAddr,
    ) -> Result<(Interface, &Attachment), SendError> {
        let in_zone = || {
            crate::address::zone(dst)
                .or(crate::address::zone(src))
                .map(Interface::new)
        };
        let owner_of_source = || {
            self.attachments()
                .find(|(_, attachment)| attachment.addresses.contains(&src.ip()))
                .map(|(interface, _)| interface)
        };
        let first_up = || {
            self.attachments()
                .find(|(_, attachment)| attachment.up && attachment.has_family_of(dst.ip()))
                .map(|(interface, _)| interface)
        };
        let interface = match asked.or_else(in_zone) {
            Some(named) => named,
            None if src.ip().is_unspecified() => first_up().ok_or(SendError::NetworkUnreachable)?,
            None => owner_of_source().ok_or(SendError::AddressNotAvailable)?,
        };
        let attachment = self
            .attachment(interface)
            .ok_or(SendError::NoSuchInterface)?;
        if !attachment.up {
            return Err(SendError::InterfaceDown);
        }
        Ok((interface, attachment))
    }

    /// From which address a datagram leaves; any address of the host will do, as with a real socket.
    pub(crate) fn choose_source(
        &self,
        attachment: &Attachment,
        src: SocketAddr,
        dst: SocketAddr,
    ) -> Result<SocketAddr, SendError> {
        let ip = if src.ip().is_unspecified() {
            attachment
                .source_for(dst.ip())
                .ok_or(SendError::NetworkUnreachable)?
        } else if self
            .attachments()
            .any(|(_, attachment)| attachment.addresses.contains(&src.ip()))
        {
            src.ip()
        } else {
            return Err(SendError::AddressNotAvailable);
        };
        if !self.ports.contains(&src.port()) {
            return Err(SendError::PortNotBound);
        }
        Ok(SocketAddr::new(ip, src.port()))
    }

    /// Forgets what a restart forgets: sockets, memberships, what nobody has read, what the translator has seen.
    pub(crate) fn forget(&mut self) -> Vec<(SegmentId, Interface, IpAddr)> {
        self.inbox.clear();
        self.ports.clear();
        self.memberships = 0;
        let mut left = Vec::new();
        for (slot, attachment) in self.interfaces.iter_mut().enumerate() {
            if let Some(attachment) = attachment {
                for group in core::mem::take(&mut attachment.groups) {
                    left.push((attachment.segment, Interface::new(slot as u32 + 1), group));
                }
            }
        }
        left
    }
}
