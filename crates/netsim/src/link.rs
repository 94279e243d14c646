//! What happens to a datagram on its way: impairments, segments, routers, filters.

use alloc::collections::BTreeMap;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::address::{Scope, SegmentId};
use crate::rng::Rng;
use crate::time::{Time, micros};

/// The most copies of one datagram that one receiver can get, however many duplications follow one another.
pub(crate) const MAX_COPIES: usize = 8;

/// Loss, delay, duplication and reordering on one stretch of the way.
///
/// A datagram passes up to four kinds of stretches: out of the sending host, over each segment (once per receiver), and
/// into the receiving host. Chances are drawn when the datagram is sent.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Impairment {
    loss: f64,
    delay: u64,
    jitter: u64,
    duplicate: f64,
    reorder: f64,
    reorder_by: u64,
}

fn checked(probability: f64) -> f64 {
    assert!(
        (0.0..=1.0).contains(&probability),
        "a probability is between 0 and 1, not {probability}"
    );
    probability
}

impl Impairment {
    /// Nothing is lost, nothing takes time.
    pub fn none() -> Impairment {
        Impairment::default()
    }

    /// Each datagram is lost with this probability (0 to 1). On a segment with frames, each frame is.
    ///
    /// # Panics
    /// If `probability` is not between 0 and 1; so do the other setters of a probability.
    pub fn loss(mut self, probability: f64) -> Impairment {
        self.loss = checked(probability);
        self
    }

    /// Each datagram takes at least this long.
    pub fn delay(mut self, delay: Duration) -> Impairment {
        self.delay = micros(delay);
        self
    }

    /// Each copy of a datagram takes up to this much longer, evenly spread. Jitter alone can already reorder.
    pub fn jitter(mut self, jitter: Duration) -> Impairment {
        self.jitter = micros(jitter);
        self
    }

    /// Each datagram arrives twice with this probability.
    pub fn duplicate(mut self, probability: f64) -> Impairment {
        self.duplicate = checked(probability);
        self
    }

    /// With this probability, a datagram is held back for another `by`, so that those behind it overtake it.
    pub fn reorder(mut self, probability: f64, by: Duration) -> Impairment {
        self.reorder = checked(probability);
        self.reorder_by = micros(by);
        self
    }

    /// What comes out for one datagram that goes in at `offset` microseconds and fills `frames` frames.
    fn pass_one(&self, rng: &mut Rng, offset: u64, frames: u32, out: &mut Copies) {
        // No draw without a chance: an impairment that is off costs nothing and disturbs no sequence.
        if self.loss > 0.0 && (0..frames).any(|_| rng.chance(self.loss)) {
            return;
        }
        let copies = 1 + u32::from(self.duplicate > 0.0 && rng.chance(self.duplicate));
        for _ in 0..copies {
            let mut at = offset.saturating_add(self.delay);
            if self.jitter > 0 {
                at = at.saturating_add(rng.between(0, self.jitter));
            }
            if self.reorder > 0.0 && rng.chance(self.reorder) {
                at = at.saturating_add(self.reorder_by);
            }
            out.push(at);
        }
    }

    /// What comes out for all copies that go in.
    pub(crate) fn pass(&self, rng: &mut Rng, copies: &Copies, frames: u32) -> Copies {
        let mut out = Copies::default();
        for &offset in copies.offsets() {
            self.pass_one(rng, offset, frames, &mut out);
        }
        out
    }
}

/// The copies of one datagram at one place: microseconds after the sending at which each is there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Copies {
    at: [u64; MAX_COPIES],
    len: usize,
}

impl Copies {
    pub(crate) fn one() -> Copies {
        Copies {
            at: [0; MAX_COPIES],
            len: 1,
        }
    }

    fn push(&mut self, offset: u64) {
        if self.len < MAX_COPIES {
            self.at[self.len] = offset;
            self.len += 1;
        }
    }

    pub(crate) fn delayed(mut self, by: u64) -> Copies {
        for at in &mut self.at[..self.len] {
            *at = at.saturating_add(by);
        }
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn offsets(&self) -> &[u64] {
        &self.at[..self.len]
    }
}

/// A link to which interfaces and routers are attached. Every interface on it hears every other one.
///
/// The default is a small local network: 1 ms, no loss, one frame for each datagram.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Segment {
    impairment: Impairment,
    frame: usize,
}

impl Default for Segment {
    fn default() -> Segment {
        Segment::new(Impairment::none().delay(Duration::from_millis(1)))
    }
}

impl Segment {
    /// A segment with this impairment, drawn anew for each receiver of a datagram.
    pub fn new(impairment: Impairment) -> Segment {
        Segment {
            impairment,
            frame: 0,
        }
    }

    /// A frame takes this many bytes of UDP payload. A longer datagram is spread over several frames, and it is lost as
    /// soon as one of them is (as in 6LoWPAN). 0, the default: a datagram always fits.
    pub fn frame(mut self, payload_bytes: usize) -> Segment {
        self.frame = payload_bytes;
        self
    }

    pub(crate) fn pass(&self, rng: &mut Rng, copies: &Copies, bytes: usize) -> Copies {
        let frames = match self.frame {
            0 => 1,
            frame => u32::try_from(bytes.div_ceil(frame).max(1)).unwrap_or(u32::MAX),
        };
        self.impairment.pass(rng, copies, frames)
    }
}

/// What joins segments: forwards unicast, and multicast from a scope on.
///
/// A router at the boundary of a zone does not forward the zone's own scope: inside a realm
/// `Router::forwarding_from(Scope::REALM)`, at its edge `Router::forwarding_from(Scope::ADMIN)`, at the edge of a site
/// `Router::forwarding_from(Scope(6))`. Groups of interface and link scope are never forwarded. The way of a datagram is
/// the one over the fewest routers.
#[derive(Clone, PartialEq, Debug)]
pub struct Router {
    pub(crate) segments: Vec<SegmentId>,
    pub(crate) delay: u64,
    pub(crate) forward_from: Option<Scope>,
    pub(crate) up: bool,
}

impl Router {
    /// Forwards unicast, and groups of `scope` or wider.
    pub fn forwarding_from(scope: Scope) -> Router {
        Router {
            segments: Vec::new(),
            delay: 0,
            forward_from: Some(scope),
            up: true,
        }
    }

    /// Forwards unicast only.
    pub fn unicast_only() -> Router {
        Router {
            forward_from: None,
            ..Router::forwarding_from(Scope::GLOBAL)
        }
    }

    /// Each datagram stays this long in the router.
    pub fn delay(mut self, delay: Duration) -> Router {
        self.delay = micros(delay);
        self
    }

    /// Whether this router forwards a datagram: of this scope, or unicast if there is none.
    pub(crate) fn forwards(&self, scope: Option<Scope>) -> bool {
        self.up
            && match scope {
                None => true,
                Some(scope) => {
                    scope > Scope::LINK && self.forward_from.is_some_and(|from| scope >= from)
                }
            }
    }
}

/// Which inbound datagrams a translator in front of a host lets in (RFC 4787 section 5). Addresses are not rewritten.
///
/// A host behind one that has sent to a group hears no member's answer: it has sent nothing to the member's own address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NatFilter {
    /// Whoever the local port has sent anything to anybody lets everybody in.
    EndpointIndependent,
    /// In comes only from an address to which the local port has sent.
    AddressDependent,
    /// In comes only from an address and port to which the local port has sent.
    AddressAndPortDependent,
}

/// The most mappings that one filter remembers; the one unused for longest goes first.
const MAX_MAPPINGS: usize = 1024;

/// A filter with its memory of what went out.
#[derive(Clone, Debug)]
pub(crate) struct Nat {
    filter: NatFilter,
    lifetime: Duration,
    last_sent: BTreeMap<(u16, Option<(IpAddr, u16)>), Time>,
}

impl Nat {
    pub(crate) fn new(filter: NatFilter, lifetime: Duration) -> Nat {
        Nat {
            filter,
            lifetime,
            last_sent: BTreeMap::new(),
        }
    }

    fn key(&self, local_port: u16, peer: SocketAddr) -> (u16, Option<(IpAddr, u16)>) {
        let remote = match self.filter {
            NatFilter::EndpointIndependent => None,
            NatFilter::AddressDependent => Some((peer.ip(), 0)),
            NatFilter::AddressAndPortDependent => Some((peer.ip(), peer.port())),
        };
        (local_port, remote)
    }

    pub(crate) fn sent(&mut self, now: Time, local_port: u16, peer: SocketAddr) {
        let key = self.key(local_port, peer);
        if self.last_sent.len() >= MAX_MAPPINGS && !self.last_sent.contains_key(&key) {
            let oldest = self.last_sent.iter().min_by_key(|(_, at)| **at);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.last_sent.remove(&oldest);
            }
        }
        self.last_sent.insert(key, now);
    }

    pub(crate) fn lets_in(&self, now: Time, local_port: u16, peer: SocketAddr) -> bool {
        self.last_sent
            .get(&self.key(local_port, peer))
            .is_some_and(|&sent| now.since(sent) <= self.lifetime)
    }

    pub(crate) fn mappings(&self) -> usize {
        self.last_sent.len()
    }
}
