//! Under what an answer is kept (RFC 7252 section 5.6): what was asked, in which security context, and who answered.

use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};

use antiphon_wire::{Code, OptionNumber};

use crate::identity::{Identity, Sender};
use crate::message::{Options, Request, Response};
#[cfg(feature = "oscore")]
use crate::security::{GroupId, PairId};
use crate::shares::Holder;

/// Path and query of a URI, encoded. What changes a resource concerns everything that is kept under this.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ResourcePath(Vec<u8>);

impl ResourcePath {
    /// Of the URI that is asked for.
    pub(crate) fn of(options: &Options) -> Self {
        Self(encoded(options, |number| is_path(number).then_some(number)))
    }

    /// Of the resource that was created, if the response names one.
    pub(crate) fn created(response: &Response) -> Option<Self> {
        let location = encoded(&response.options, |number| match number {
            OptionNumber::LOCATION_PATH => Some(OptionNumber::URI_PATH),
            OptionNumber::LOCATION_QUERY => Some(OptionNumber::URI_QUERY),
            _ => None,
        });
        (!location.is_empty()).then_some(Self(location))
    }
}

/// What was asked: the Cache-Key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RequestKey {
    pub(crate) path: ResourcePath,
    /// Method, payload of a FETCH, and all other options that count.
    rest: Vec<u8>,
}

impl RequestKey {
    /// The key of a request to one server; `None` if nothing is kept of its answers.
    pub(crate) fn of_unicast(request: &Request) -> Option<Self> {
        Self::of(request, true)
    }

    /// The key of a request to a group, which is that of the related unicast request: without the authority. Beside it the
    /// authority.
    pub(crate) fn of_group(request: &Request) -> Option<(Self, Vec<u8>)> {
        let authority = encoded(&request.options, |number| {
            is_authority(number).then_some(number)
        });
        Some((Self::of(request, false)?, authority))
    }

    fn of(request: &Request, with_authority: bool) -> Option<Self> {
        if !may_be_kept(request) {
            return None;
        }
        let payload: &[u8] = match request.method {
            Code::FETCH => &request.payload,
            _ => &[],
        };
        let mut rest = Vec::from([request.method.to_u8()]);
        rest.extend_from_slice(&length(payload));
        rest.extend_from_slice(payload);
        rest.extend(encoded(&request.options, |number| {
            let counts = !number.is_no_cache_key()
                && !is_path(number)
                && (with_authority || !is_authority(number));
            counts.then_some(number)
        }));
        Some(Self {
            path: ResourcePath::of(&request.options),
            rest,
        })
    }

    fn footprint(&self) -> usize {
        self.path.0.len() + self.rest.len()
    }
}

/// Are answers to this request kept at all? Not those of an observation or in blocks, not those to a conditional request
/// or with entity tags of the application's own, and not those that come through a proxy: it is not known which server
/// has given them.
fn may_be_kept(request: &Request) -> bool {
    const NOT: [OptionNumber; 14] = [
        OptionNumber::IF_MATCH,
        OptionNumber::IF_NONE_MATCH,
        OptionNumber::ETAG,
        OptionNumber::MULTI_ETAG,
        OptionNumber::GROUP_ETAG,
        OptionNumber::OBSERVE,
        OptionNumber::BLOCK1,
        OptionNumber::BLOCK2,
        OptionNumber::Q_BLOCK1,
        OptionNumber::Q_BLOCK2,
        OptionNumber::PROXY_URI,
        OptionNumber::PROXY_SCHEME,
        OptionNumber::MULTICAST_TIMEOUT,
        OptionNumber::OSCORE,
    ];
    matches!(request.method, Code::GET | Code::FETCH)
        && !request
            .options
            .iter()
            .any(|(number, _)| NOT.contains(&number))
}

fn is_path(number: OptionNumber) -> bool {
    [OptionNumber::URI_PATH, OptionNumber::URI_QUERY].contains(&number)
}

fn is_authority(number: OptionNumber) -> bool {
    [OptionNumber::URI_HOST, OptionNumber::URI_PORT].contains(&number)
}

/// The options for which there is a number, each with number and length.
fn encoded(options: &Options, number: impl Fn(OptionNumber) -> Option<OptionNumber>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (found, value) in options.iter() {
        if let Some(OptionNumber(number)) = number(found) {
            bytes.extend_from_slice(&number.to_be_bytes());
            bytes.extend_from_slice(&length(value));
            bytes.extend_from_slice(value);
        }
    }
    bytes
}

fn length(value: &[u8]) -> [u8; 4] {
    u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes()
}

/// The security context in which it was asked and answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Context {
    /// None.
    Open,
    /// A security group.
    #[cfg(feature = "oscore")]
    Group(GroupId),
    /// What is shared with one peer.
    #[cfg(feature = "oscore")]
    Pair(PairId),
}

/// Who answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Responder {
    /// Whoever has this address, in the form in which responders are told apart.
    Address(SocketAddr),
    /// Who is proven to be this.
    Proven(Identity),
    /// The one peer of the security context.
    Peer,
}

impl Responder {
    /// The responder that comes before all others.
    const FIRST: Self = Self::Address(SocketAddr::new(
        core::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        0,
    ));

    /// Who has sent an answer from `address`. Without proof in a security context it is nobody.
    pub(crate) fn of(context: Context, sender: &Sender, address: SocketAddr) -> Option<Self> {
        match (context, sender) {
            (Context::Open, _) => Some(Self::Address(address)),
            #[cfg(feature = "oscore")]
            (Context::Group(_), Sender::Proven(identity)) => Some(Self::Proven(identity.clone())),
            #[cfg(feature = "oscore")]
            (Context::Pair(_), Sender::Proven(_)) => Some(Self::Peer),
            #[cfg(feature = "oscore")]
            (Context::Group(_) | Context::Pair(_), Sender::Unauthenticated) => None,
        }
    }
}

/// Whose share of the cache an answer counts against.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shareholder {
    /// Without proof, an address, or in IPv6 a /64 prefix: a host takes as many of these addresses as it likes.
    Host(Holder),
    /// A peer of this context.
    Known(Context, Responder),
}

impl Shareholder {
    pub(super) fn of(context: Context, responder: &Responder) -> Self {
        match responder {
            Responder::Address(address) => Self::Host(Holder::of(address.ip())),
            known => Self::Known(context, known.clone()),
        }
    }
}

/// Under what an answer is kept. The order puts together what concerns one resource, and within it one request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) request: RequestKey,
    pub(crate) context: Context,
    pub(crate) responder: Responder,
}

impl Key {
    /// The first key that there can be for this request.
    pub(crate) fn first_for(request: &RequestKey, context: Context) -> Self {
        Self {
            request: request.clone(),
            context,
            responder: Responder::FIRST,
        }
    }

    /// The first key that there can be for this resource.
    pub(crate) fn first_at(path: &ResourcePath) -> Self {
        let request = RequestKey {
            path: path.clone(),
            rest: Vec::new(),
        };
        Self::first_for(&request, Context::Open)
    }

    pub(crate) fn shareholder(&self) -> Shareholder {
        Shareholder::of(self.context, &self.responder)
    }

    /// The memory beside that of its type.
    pub(crate) fn footprint(&self) -> usize {
        let identity = match &self.responder {
            Responder::Proven(Identity(identity)) => identity.len(),
            Responder::Address(_) | Responder::Peer => 0,
        };
        self.request.footprint() + identity
    }
}
