//! What a server answers, to whom and when: access without security, suppression of answers to group
//! requests, leisure, and the size of what it sends to addresses that nobody has proven.

use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use antiphon_wire::{Class, Code, NoResponse};

use crate::identity::{GroupTuple, Identity, SecurityMode, Sender};
use crate::resource::{Methods, ResourceId};

/// A set of response classes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Classes(u8);

impl Classes {
    /// No class.
    pub const NONE: Self = Self(0);
    /// 2.xx, 4.xx and 5.xx.
    pub const ALL: Self = Self(NoResponse::ALL.bits());
    /// 4.xx and 5.xx.
    pub const ERRORS: Self =
        Self(NoResponse::CLIENT_ERROR.bits() | NoResponse::SERVER_ERROR.bits());

    /// The set and this class.
    #[must_use]
    pub const fn with(self, class: Class) -> Self {
        Self(self.0 | Self::bit(class))
    }

    /// The set without this class.
    #[must_use]
    pub const fn without(self, class: Class) -> Self {
        Self(self.0 & !Self::bit(class))
    }

    /// Is the class in the set?
    pub const fn contains(self, class: Class) -> bool {
        self.0 & Self::bit(class) != 0
    }

    const fn bit(class: Class) -> u8 {
        match class {
            Class::Success => NoResponse::SUCCESS.bits(),
            Class::ClientError => NoResponse::CLIENT_ERROR.bits(),
            Class::ServerError => NoResponse::SERVER_ERROR.bits(),
        }
    }
}

/// The classes that the option says are of no interest; its unassigned bits mean nothing (RFC 7967 section 2.1).
impl From<NoResponse> for Classes {
    fn from(value: NoResponse) -> Self {
        Self(value.bits() & NoResponse::ALL.bits())
    }
}

impl fmt::Debug for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Class::Success, "2.xx"),
            (Class::ClientError, "4.xx"),
            (Class::ServerError, "5.xx"),
        ];
        f.debug_set()
            .entries(
                names
                    .iter()
                    .filter(|(class, _)| self.contains(*class))
                    .map(|(_, name)| name),
            )
            .finish()
    }
}

/// Who may use a resource.
///
/// Nothing but discovery is reachable without security unless it says so here (groupcomm-bis-18
/// sections 4 and 6.1).
///
/// Being a member of a security group only proves who somebody is. Who may do what is decided apart from it, by
/// [`Only`](Self::Only) or by [`Resource::permits`](crate::Resource::permits) (groupcomm-bis-18 section 2.1.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Any sender whose identity is proven. The default.
    #[default]
    Verified,
    /// Of the senders whose identity is proven only those to whom a permission gives the method. Others get 4.03 by
    /// unicast and nothing through a group.
    Only(Permissions),
    /// Anyone may read with GET and FETCH; every other method needs a proven sender. For data that
    /// harms nobody, such as the temperature of a public place.
    Public,
    /// Anyone may use every method. A stated exception: forged requests act, and forged source
    /// addresses turn answers against others.
    Unsecured,
}

impl Access {
    /// May a sender that has proven nothing use this method?
    pub const fn allows_unsecured(&self, method: Code) -> bool {
        match self {
            Self::Verified | Self::Only(_) => false,
            Self::Public => matches!(method, Code::GET | Code::FETCH),
            Self::Unsecured => true,
        }
    }

    /// May this proven sender use this method?
    pub fn allows(&self, sender: &Identity, method: Code) -> bool {
        match self {
            Self::Verified | Self::Public | Self::Unsecured => true,
            Self::Only(permissions) => permissions.allow(sender, method),
        }
    }

    /// These members may use every method, and nobody else any.
    pub fn only(members: impl IntoIterator<Item = Identity>) -> Self {
        Self::Only(Permissions::none().grant(Methods::ALL, members))
    }

    /// Is it open to senders that have proven nothing, for some method at least?
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Public | Self::Unsecured)
    }
}

/// Which proven senders may use which methods of a resource. What is not granted is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// What any proven sender may use.
    any: Methods,
    granted: Vec<(Methods, Vec<Identity>)>,
}

impl Permissions {
    /// Nobody may do anything.
    pub const fn none() -> Self {
        Self {
            any: Methods::NONE,
            granted: Vec::new(),
        }
    }

    /// These members may use these methods too.
    #[must_use]
    pub fn grant(mut self, methods: Methods, members: impl IntoIterator<Item = Identity>) -> Self {
        let mut members: Vec<Identity> = members.into_iter().collect();
        members.sort_unstable();
        self.granted.push((methods, members));
        self
    }

    /// Every proven sender may use these methods too.
    #[must_use]
    pub fn grant_all(mut self, methods: Methods) -> Self {
        self.any = self.any | methods;
        self
    }

    /// Does some grant give the method to this sender?
    pub fn allow(&self, sender: &Identity, method: Code) -> bool {
        self.any.contains(method)
            || self.granted.iter().any(|(methods, members)| {
                methods.contains(method) && members.binary_search(sender).is_ok()
            })
    }
}

/// What a rule of the application's own decides by. There is no address in it: the source address and port of a
/// request are not authenticated (groupcomm-bis-18 section 6.2.2).
#[derive(Clone, Copy, Debug)]
pub struct AccessRequest<'a> {
    /// Who asks.
    pub sender: &'a Sender,
    /// For what.
    pub method: Code,
    /// The resource.
    pub resource: ResourceId,
    /// How the request was protected.
    pub mode: SecurityMode,
    /// The groups it came through; `None` if it came by unicast.
    pub group: Option<&'a GroupTuple>,
}

/// How far a server opens itself to messages without security (NoSec).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoSecPolicy {
    /// Discovery, and the resources whose [`Access`] states it: an unsecured server, which is a choice to be
    /// stated like [`NoSec::Accepted`](crate::NoSec) at a client.
    Stated,
    /// Discovery alone. The default: outside of the well-defined unsecured steps group communication is secured
    /// (groupcomm-bis-18 sections 6.1 and 6.3).
    #[default]
    DiscoveryOnly,
    /// Nothing at all, discovery included.
    Nothing,
}

/// Why a message goes without protection: a stated choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSec {
    /// It discovers resources: GET or FETCH of `/.well-known/core`, nothing else.
    Discovery,
    /// Anyone may read, forge and repeat it, and that is accepted.
    Accepted,
    /// As `Accepted`, and even beyond the site: the group may have global scope.
    Global,
}

/// What a server states with the word that a client has for it. [`NoSec::Global`] opens no more than
/// [`NoSec::Accepted`] does: a server is never reachable without security from the public Internet unless
/// [`NoSecSources`] says so.
impl From<NoSec> for NoSecPolicy {
    fn from(stated: NoSec) -> Self {
        match stated {
            NoSec::Discovery => Self::DiscoveryOnly,
            NoSec::Accepted | NoSec::Global => Self::Stated,
        }
    }
}

/// The interval in which answers to one group request are spread (RFC 7252 section 8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leisure {
    /// This long. Zero answers at once.
    Fixed(Duration),
    /// Computed as S * G / R.
    Estimated {
        /// S: the average size of a response over all responders, in bytes.
        response_size: u32,
        /// G: how many members are expected to respond.
        group_size: u32,
        /// R: the data rate that the responses together may take, in bytes per second. Zero gives the longest interval.
        rate: u32,
    },
}

impl Leisure {
    /// DEFAULT_LEISURE for a request that is protected like this: 20 s where the security group uses (also) the group mode,
    /// 13 s where it uses the pairwise mode only, 5 s for all others (groupcomm-bis-18 section 3.6.1).
    pub const fn default_for(mode: SecurityMode) -> Self {
        Self::Fixed(match mode {
            SecurityMode::NoSec | SecurityMode::Oscore => Self::DEFAULT,
            SecurityMode::Group | SecurityMode::Pairwise { only: false } => {
                Self::DEFAULT_GROUP_MODE
            }
            SecurityMode::Pairwise { only: true } => Self::DEFAULT_PAIRWISE_MODE,
        })
    }

    /// DEFAULT_LEISURE of RFC 7252 section 4.8, which holds for NoSec: 5 s.
    pub const DEFAULT: Duration = Duration::from_secs(5);
    /// DEFAULT_LEISURE of a security group that uses (also) the group mode: 20 s (groupcomm-bis-18 section 3.6.1).
    pub const DEFAULT_GROUP_MODE: Duration = Duration::from_secs(20);
    /// DEFAULT_LEISURE of a security group that uses the pairwise mode only: 13 s (groupcomm-bis-18 section 3.6.1).
    pub const DEFAULT_PAIRWISE_MODE: Duration = Duration::from_secs(13);
    /// No interval is longer than an hour, whatever the estimate.
    pub const LONGEST: Duration = Duration::from_secs(3_600);

    /// The length of the interval: lb_Leisure = S * G / R for an estimate; at most [`LONGEST`](Self::LONGEST).
    pub fn interval(self) -> Duration {
        match self {
            Self::Fixed(interval) => interval.min(Self::LONGEST),
            Self::Estimated {
                response_size,
                group_size,
                rate,
            } => {
                let bytes = u128::from(response_size) * u128::from(group_size);
                let longest = Self::LONGEST.as_micros();
                let micros = (bytes * 1_000_000)
                    .checked_div(u128::from(rate))
                    .unwrap_or(longest)
                    .min(longest);
                Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
            }
        }
    }
}

/// What happens to an answer that is too large for a group request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Oversize {
    /// To GET and FETCH its first block is sent, as large as the limit and the allowed amplification let it be; the client
    /// fetches the others by unicast (groupcomm-bis-18 section 3.8). To other methods nothing is sent. The default.
    #[default]
    Blocks,
    /// It is not sent, and counted.
    Suppress,
    /// 5.01 without the representation tells the client to ask by unicast.
    Tell,
}

/// What a resource does with requests that come through a group.
///
/// By default a resource does not support group requests at all, and answers to them are opt-in
/// (groupcomm-bis-18 sections 3.1.2, 3.6 and 6.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPolicy {
    supported: bool,
    suppressed: Classes,
    suppress_empty: bool,
    no_response: bool,
    leisure: Option<Leisure>,
    limit: Option<usize>,
    oversize: Oversize,
    amplification: Option<Amplification>,
}

/// How much larger than the request an answer to an unproven sender may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amplification {
    /// At most so many times the size of the request, both counted as whole CoAP messages.
    AtMost(u32),
    /// No limit by the request's size.
    Unlimited,
}

impl Default for GroupPolicy {
    fn default() -> Self {
        Self::unsupported()
    }
}

impl GroupPolicy {
    /// The resource ignores requests that come through a group. It serves unicast as ever.
    pub const fn unsupported() -> Self {
        Self {
            supported: false,
            suppressed: Classes::ALL,
            suppress_empty: true,
            no_response: false,
            leisure: None,
            limit: None,
            oversize: Oversize::Blocks,
            amplification: None,
        }
    }

    /// Group requests are processed and never answered: a light that is switched, a notification that is taken.
    pub const fn silent() -> Self {
        Self {
            supported: true,
            ..Self::unsupported()
        }
    }

    /// Group requests are processed; success is answered, errors and empty results are not.
    pub const fn respond() -> Self {
        Self {
            supported: true,
            suppressed: Classes::ERRORS,
            ..Self::unsupported()
        }
    }

    /// Every response of this class is suppressed.
    #[must_use]
    pub const fn suppress(mut self, class: Class) -> Self {
        self.suppressed = self.suppressed.with(class);
        self
    }

    /// Every response of this class is sent.
    #[must_use]
    pub const fn answer(mut self, class: Class) -> Self {
        self.suppressed = self.suppressed.without(class);
        self
    }

    /// 2.05 without a payload is sent too, although it says nothing.
    #[must_use]
    pub const fn answer_empty(mut self) -> Self {
        self.suppress_empty = false;
        self
    }

    /// The No-Response option is taken into account: anyone may suppress more with it, and only a proven
    /// sender may suppress less (groupcomm-bis-18 section 6.4). Without this the option is ignored in group requests.
    #[must_use]
    pub const fn consider_no_response(mut self) -> Self {
        self.no_response = true;
        self
    }

    /// The leisure of this resource, in place of the group's or the server's.
    #[must_use]
    pub const fn leisure(mut self, leisure: Leisure) -> Self {
        self.leisure = Some(leisure);
        self
    }

    /// The largest payload of a successful answer in bytes, in place of the server's (5 % of the MTU).
    #[must_use]
    pub const fn limit(mut self, bytes: usize) -> Self {
        self.limit = Some(bytes);
        self
    }

    /// What happens to larger answers.
    #[must_use]
    pub const fn oversize(mut self, oversize: Oversize) -> Self {
        self.oversize = oversize;
        self
    }

    /// The amplification allowed to unproven senders, in place of the server's.
    #[must_use]
    pub const fn amplification(mut self, amplification: Amplification) -> Self {
        self.amplification = Some(amplification);
        self
    }

    /// Are group requests processed at all?
    pub const fn is_supported(&self) -> bool {
        self.supported
    }

    /// The classes that are suppressed by default.
    pub const fn suppressed(&self) -> Classes {
        self.suppressed
    }

    /// Is the No-Response option taken into account?
    pub const fn considers_no_response(&self) -> bool {
        self.no_response
    }

    pub(crate) const fn own_leisure(&self) -> Option<Leisure> {
        self.leisure
    }

    pub(crate) const fn own_limit(&self) -> Option<usize> {
        self.limit
    }

    pub(crate) const fn on_oversize(&self) -> Oversize {
        self.oversize
    }

    pub(crate) const fn own_amplification(&self) -> Option<Amplification> {
        self.amplification
    }
}

/// Which answers to one request stay unsent.
///
/// "Suppressed because it came through a group" and "suppressed because the request says so" are two
/// tests, joined by or: a No-Response option that is present does not switch the first one off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Suppression {
    group: Classes,
    empty: bool,
    request: Classes,
}

/// Why an answer stays unsent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suppressed {
    ByGroup,
    Empty,
    ByRequest,
}

impl Suppression {
    /// For a unicast request: only its own No-Response option suppresses (RFC 7967).
    pub(crate) fn unicast(no_response: Option<NoResponse>) -> Self {
        Self {
            group: Classes::NONE,
            empty: false,
            request: no_response.map_or(Classes::NONE, Classes::from),
        }
    }

    /// For a request through a group. `may_narrow`: the sender is proven, or the profile lets anyone
    /// override the default suppression; then a No-Response option stands in place of it.
    pub(crate) fn group(
        policy: &GroupPolicy,
        no_response: Option<NoResponse>,
        may_narrow: bool,
    ) -> Self {
        match no_response.filter(|_| policy.no_response) {
            Some(option) if may_narrow => Self::unicast(Some(option)),
            option => Self {
                group: policy.suppressed,
                empty: policy.suppress_empty,
                request: option.map_or(Classes::NONE, Classes::from),
            },
        }
    }

    /// Does the request itself not want a response with this code?
    pub(crate) fn by_request(&self, code: Code) -> Option<Suppressed> {
        let class = code.response_class()?;
        self.request
            .contains(class)
            .then_some(Suppressed::ByRequest)
    }

    /// Does a response with this code stay unsent? `empty`: it is a 2.05 without a payload.
    pub(crate) fn of(&self, code: Code, empty: bool) -> Option<Suppressed> {
        let class = code.response_class()?;
        if self.group.contains(class) {
            Some(Suppressed::ByGroup)
        } else if self.request.contains(class) {
            Some(Suppressed::ByRequest)
        } else if self.empty && empty {
            Some(Suppressed::Empty)
        } else {
            None
        }
    }
}

/// From which source addresses group requests without security are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoSecSources {
    /// Addresses that the public Internet does not route, and those on a prefix that was declared to be
    /// on link. The default (groupcomm-bis-18 section 4: a server is not reachable for NoSec group
    /// communication from the public Internet).
    #[default]
    Local,
    /// Any address: for a network that is closed by other means.
    Any,
}

/// An address prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The prefix of `length` bits; `None` if the address has fewer.
    pub const fn new(address: IpAddr, length: u8) -> Option<Self> {
        let bits = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        if length > bits {
            return None;
        }
        Some(Self { address, length })
    }

    /// Does the address begin with this prefix?
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(prefix), IpAddr::V4(address)) => {
                let differing = prefix.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(self.length)
            }
            (IpAddr::V6(prefix), IpAddr::V6(address)) => {
                let differing = prefix.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(self.length)
            }
            _ => false,
        }
    }
}

/// May a datagram with this source address have come from the public Internet?
///
/// Loopback, link-local, private, shared, benchmarking and documentation addresses may not: no public router forwards them.
pub fn is_publicly_routed(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_documentation()
                || a == 0
                || a >= 224
                || (a == 100 && b & 0xc0 == 64)
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && b & 0xfe == 18))
        }
        IpAddr::V6(v6) => {
            let [a, b, ..] = v6.segments();
            let global_unicast = a & 0xe000 == 0x2000;
            let documentation = (a == 0x2001 && b == 0x0db8) || (a == 0x3fff && b & 0xf000 == 0);
            // An address of the NAT64 prefix stands for some IPv4 address.
            let translated = a == 0x0064 && b == 0xff9b;
            (global_unicast && !documentation) || translated
        }
    }
}

#[cfg(test)]
mod tests;
