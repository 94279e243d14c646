//! What a group is asked, and everything that is checked before anything is sent.

use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use antiphon_wire::{
    ALL_COAP_NODES_V4, Class, Code, EncodeError, MultiEtag, NoResponse, OptionNumber, SECURE_PORT,
};

use super::NoSec;
use super::cached::Caching;
use crate::config::Profile;
use crate::expect::{DuplicateMember, Expectation};
use crate::message::Request;
use crate::pacing::GroupKey;
use crate::path::SocketId;
use crate::tokens::TokensExhausted;

/// One question to a group, or to one group on several interfaces, in several scopes or in both address
/// families. It is always sent Non-confirmable: there is no other kind (GC-3.1-02).
#[derive(Debug)]
pub struct GroupRequest {
    /// What is asked.
    pub request: Request,
    /// Where it goes. All targets get the same token, and the same Message ID in each round, so that a
    /// member of several of these groups sees one message. At least one.
    pub targets: Vec<GroupTarget>,
    /// How it is protected, or why it is not. There is no default.
    pub security: Security,
    /// Who is expected to answer.
    pub expect: Expectation,
    /// When the collection is over.
    pub end: End,
    /// Whether the request is sent more than once.
    pub repeat: Repeat,
    /// Whether expected members that stay silent are asked in person.
    pub completion: Completion,
    /// The request may be processed more than once by a member. GET, FETCH, PUT and DELETE always may.
    pub idempotent: bool,
    /// The longest leisure that the servers are expected to take; default 5 s.
    pub leisure: Duration,
    /// The expected round-trip time; default 1 s. A repeat waits for this and the leisure.
    pub rtt: Duration,
    /// For how long after the end late answers are still delivered; `None` (default): not at all.
    pub late: Option<Duration>,
    /// Nothing is collected: the request carries No-Response 26 and is done when it is sent. It is
    /// never outstanding and keeps to the rate of its groups.
    pub silent: bool,
    /// The outcome holds the answers as well; default false: they are only delivered one by one.
    pub keep_answers: bool,
    /// How further blocks of answers are asked for, of which only the first has come; default: of each member by unicast.
    pub blocks: FurtherBlocks,
    /// Its answers are kept for later requests, and those kept of earlier ones count; `None` (default): neither.
    pub caching: Option<Caching>,
    /// What the answers may take at most.
    pub limits: AnswerLimits,
}

impl GroupRequest {
    /// A question to one group, with default times: answers are collected for 10 s.
    pub fn new(request: Request, target: GroupTarget, security: Security) -> Self {
        Self {
            request,
            targets: Vec::from([target]),
            security,
            expect: Expectation::nobody(),
            end: End::after(Duration::from_secs(10)),
            repeat: Repeat::None,
            completion: Completion::None,
            idempotent: false,
            leisure: Duration::from_secs(5),
            rtt: Duration::from_secs(1),
            late: None,
            silent: false,
            keep_answers: false,
            blocks: FurtherBlocks::Unicast,
            caching: None,
            limits: AnswerLimits::default(),
        }
    }

    /// A request to which nobody shall answer: No-Response 26, nothing collected, done when sent.
    pub fn notify(request: Request, target: GroupTarget, security: Security) -> Self {
        Self {
            silent: true,
            ..Self::new(request, target, security)
        }
    }

    /// May a member process the request twice?
    pub(crate) fn may_be_processed_twice(&self) -> bool {
        self.idempotent
            || [Code::GET, Code::FETCH, Code::PUT, Code::DELETE].contains(&self.request.method)
    }

    /// Is an answer of no class wanted? Then the request is silent by design, whether or not it is collected.
    pub(crate) fn wants_no_answer(&self) -> bool {
        let no_response = self
            .request
            .options
            .get(OptionNumber::NO_RESPONSE)
            .and_then(NoResponse::decode)
            .unwrap_or(NoResponse::NONE);
        self.silent
            || [Class::Success, Class::ClientError, Class::ServerError]
                .into_iter()
                .all(|class| no_response.suppresses(class))
    }

    /// Checks everything that can be known before sending, except tokens and tables.
    pub(crate) fn check(&self, limits: &RequestLimits) -> Result<(), CollectError> {
        if !self.request.method.is_request() {
            return Err(CollectError::NotAMethod);
        }
        if self.targets.is_empty() {
            return Err(CollectError::NoTarget);
        }
        if self.targets.len() > limits.targets {
            return Err(CollectError::TooManyTargets);
        }
        for (n, target) in self.targets.iter().enumerate() {
            self.check_target(target, limits)?;
            let earlier = self.targets.iter().take(n);
            if earlier.into_iter().any(|t| t.key() == target.key()) {
                return Err(CollectError::DuplicateTarget(target.group));
            }
        }
        if self.security == Security::Unsecured(NoSec::Discovery) && !is_discovery(&self.request) {
            return Err(CollectError::NotDiscovery);
        }
        if !self.may_be_processed_twice() {
            if matches!(self.repeat, Repeat::NewMessageId(1..)) {
                return Err(CollectError::NotIdempotent(Again::NewMessageId));
            }
            if self.completion != Completion::None {
                return Err(CollectError::NotIdempotent(Again::Unicast));
            }
        }
        if matches!(self.completion, Completion::Unicast { at_once: 0, .. }) {
            return Err(CollectError::NoCompletionAtOnce);
        }
        for blocks in [
            OptionNumber::BLOCK1,
            OptionNumber::Q_BLOCK1,
            OptionNumber::Q_BLOCK2,
        ] {
            if self.request.options.get(blocks).is_some() {
                return Err(CollectError::Blockwise(blocks));
            }
        }
        self.check_entity_tags(limits.profile)
    }

    /// Each profile has its own way to ask a group whether what is stored still holds, and never both.
    fn check_entity_tags(&self, profile: Profile) -> Result<(), CollectError> {
        let options = &self.request.options;
        let with_etag = options.get(OptionNumber::ETAG).is_some();
        let mut servers = Vec::new();
        for value in options.all(OptionNumber::MULTI_ETAG) {
            let server = MultiEtag::parse(value)
                .map_err(|_| CollectError::MultiEtag)?
                .server();
            if profile == Profile::Current || with_etag || servers.contains(&server) {
                return Err(CollectError::MultiEtag);
            }
            servers.push(server);
        }
        match profile {
            Profile::Seed03 if with_etag => Err(CollectError::EntityTag),
            Profile::Seed03 | Profile::Current => Ok(()),
        }
    }

    fn check_target(
        &self,
        target: &GroupTarget,
        limits: &RequestLimits,
    ) -> Result<(), CollectError> {
        let group = target.group;
        if !group.ip().to_canonical().is_multicast() {
            return Err(CollectError::NotAGroup(group));
        }
        if group.port() == SECURE_PORT {
            return Err(CollectError::SecurePort);
        }
        if group.port() == 0 {
            return Err(CollectError::NoPort);
        }
        match reach(group.ip(), limits.ipv4_global) {
            Reach::Reserved => Err(CollectError::ReservedScope(group)),
            Reach::Global => match self.security {
                Security::Unsecured(NoSec::Discovery | NoSec::Accepted) => {
                    Err(CollectError::GlobalScope(group))
                }
                _ => Ok(()),
            },
            Reach::Limited => Ok(()),
        }
    }
}

/// A CoAP group on one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupTarget {
    /// Multicast address and port; never port 5684.
    pub group: SocketAddr,
    /// The unicast socket that sends the request and receives the answers.
    pub socket: SocketId,
    /// Interface index; 0 leaves the choice to the driver.
    pub interface: u32,
}

impl GroupTarget {
    pub(crate) fn key(&self) -> GroupKey {
        GroupKey::new(self.group, self.interface)
    }
}

/// How a group request is protected. Sending without protection is a stated choice, never the result of silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Not at all, for this reason.
    Unsecured(NoSec),
    /// With Group OSCORE in group mode, in this security group. What completes the collection is protected for each
    /// member alone, in pairwise mode if the group has it.
    #[cfg(feature = "oscore")]
    Group(crate::security::GroupId),
}

impl Security {
    /// Must answers be protected to count?
    pub const fn is_protected(&self) -> bool {
        !matches!(self, Self::Unsecured(_))
    }
}

/// When a collection is over; whatever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// This long after the *last* transmission: repeats extend it.
    pub deadline: Duration,
    /// When this many distinct members have answered; `None`: no matter how many.
    pub count: Option<usize>,
    /// When all expected members have answered (if any are expected).
    pub when_all_expected: bool,
}

impl End {
    /// After this time, or when all expected members have answered.
    pub fn after(deadline: Duration) -> Self {
        Self {
            deadline,
            count: None,
            when_all_expected: true,
        }
    }
}

/// Whether a group request is sent more than once. Repeats carry the same token, are spaced by at least
/// round trip plus leisure, and stop when all expected members have answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeat {
    /// It is sent once.
    #[default]
    None,
    /// It is repeated up to this often (254 times at most) with a new Message ID: every member processes it again, so that lost
    /// answers come again. Only for requests that may be processed twice. This is the usual kind.
    NewMessageId(u8),
    /// The identical datagram is sent up to this often again (254 times at most): it reaches members that missed the request,
    /// and brings no lost answer back from members that deduplicate.
    SameMessage(u8),
}

impl Repeat {
    /// Repeats of the usual kind.
    pub fn times(n: u8) -> Self {
        Self::NewMessageId(n)
    }

    pub(crate) fn count(self) -> u8 {
        match self {
            Self::None => 0,
            Self::NewMessageId(n) | Self::SameMessage(n) => n,
        }
    }
}

/// Whether expected members that stay silent are asked in person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Completion {
    /// They are not.
    #[default]
    None,
    /// Each is sent the request once by unicast, Confirmable, when round trip and leisure after the last
    /// transmission are over. Only for requests that may be processed twice.
    Unicast {
        /// How many are asked at the same time; at least 1.
        at_once: usize,
        /// After how long the completion is broken off; `None`: when every exchange has come to its end.
        within: Option<Duration>,
    },
}

/// How the further blocks of answers are asked for, of which the group request has brought the first (groupcomm-bis-18
/// section 3.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FurtherBlocks {
    /// Of each member by unicast, at its own pace and in the size that it uses.
    #[default]
    Unicast,
    /// By group requests, one for each block, as long as at least two members have more. The next one leaves when all of
    /// these have answered, at the latest after round trip and leisure; who has not answered by then, or whose
    /// representation has changed, is asked by unicast for the rest. It begins when all expected members have answered,
    /// or when the first request has had its time.
    ///
    /// If the request has a Block2 option, all answers must have the same block size; else all are asked by unicast. If
    /// it has none, the smallest size counts. It pays for many members with bodies of about the same length, on links that
    /// lose little.
    Group,
}

/// What the answers to one request may take at most. Expected members and others have their own shares,
/// so that a flood of strangers costs no expected answer, and no responder can take the share of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerLimits {
    /// Answers delivered of each responder; default 64. Further ones are counted and dropped.
    pub per_responder: u32,
    /// Distinct responders that are not expected; default 4096, about 150 bytes each. Answers of further ones are counted and dropped.
    pub unexpected: usize,
    /// How many of these may share one IP address; default 1024.
    pub unexpected_per_address: usize,
    /// Bytes of options and payload of an answer, put together if it comes in blocks; default 1 MiB. Larger ones are rejected.
    pub response_bytes: usize,
    /// Bytes that the answers which the outcome keeps take in memory, roughly; default 16 MiB. Further ones are delivered, but not kept.
    pub kept_bytes: usize,
}

impl Default for AnswerLimits {
    fn default() -> Self {
        Self {
            per_responder: 64,
            unexpected: 4_096,
            unexpected_per_address: 1_024,
            response_bytes: 1 << 20,
            kept_bytes: 16 << 20,
        }
    }
}

/// Where IPv4 multicast addresses are taken to reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ipv4Global {
    /// 224.0.0.0/24, 239.0.0.0/8 (RFC 2365) and All CoAP Nodes 224.0.1.187 stay within the site; every other group counts as global.
    #[default]
    Restricted,
    /// The network keeps all IPv4 multicast within the site.
    KeptInSite,
}

/// What the link under the groups can carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkProfile {
    /// Fragmentation is of no concern.
    #[default]
    Unconstrained,
    /// 6LoWPAN: a request should fit into a single IEEE 802.15.4 frame (groupcomm-bis section 3.9.2).
    SixLowpan {
        /// The largest CoAP message, in bytes; see [`SIXLOWPAN_BUDGET`].
        budget: usize,
        /// What happens to a larger one.
        larger: Larger,
    },
}

impl LinkProfile {
    /// 6LoWPAN with the default budget: larger requests are sent with a warning.
    pub const SIXLOWPAN: Self = Self::SixLowpan {
        budget: SIXLOWPAN_BUDGET,
        larger: Larger::Warn,
    };
}

/// The bytes that a CoAP message may have in one IEEE 802.15.4 frame, in the worst case that is usual: 58.
///
/// | bytes | for |
/// | --- | --- |
/// | 127 | the frame |
/// | 25 | the largest MAC header, and the check sum (RFC 4944 section 4) |
/// | 21 | link security with AES-CCM-128 |
/// | 16 | the IPv6 header by RFC 6282: 3 with context identifier, hop limit 1, source interface identifier 8, multicast destination such as ff03::fd 4 |
/// | 7 | the UDP header with full ports and check sum |
pub const SIXLOWPAN_BUDGET: usize = 127 - 25 - 21 - 16 - 7;

/// What happens to a request that is larger than the frame budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Larger {
    /// It is sent, and the application is warned.
    #[default]
    Warn,
    /// It is refused.
    Refuse,
}

/// Limits against which a request is checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestLimits {
    pub(crate) targets: usize,
    pub(crate) ipv4_global: Ipv4Global,
    pub(crate) profile: Profile,
}

/// Why a group request was refused before anything was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollectError {
    /// The code is not a request method.
    NotAMethod,
    /// There is no target.
    NoTarget,
    /// There are more targets than the configuration allows.
    TooManyTargets,
    /// The same group on the same interface is named twice.
    DuplicateTarget(SocketAddr),
    /// The destination is not an IP multicast address (GC-2.1.1-06).
    NotAGroup(SocketAddr),
    /// Port 5684 is never used for group communication (GC-3.3-05).
    SecurePort,
    /// Port 0 cannot be sent to.
    NoPort,
    /// The multicast scope is reserved (RFC 4291 section 2.7: scope 0).
    ReservedScope(SocketAddr),
    /// The group reaches beyond the site, and the request is not protected.
    GlobalScope(SocketAddr),
    /// Unsecured "for discovery", but the request does not discover anything.
    NotDiscovery,
    /// The request must not be processed twice (POST, PATCH, iPATCH), so it cannot be sent again in this
    /// way. If it is idempotent in the application, say so.
    NotIdempotent(Again),
    /// Completion of no member at once never comes to an end.
    NoCompletionAtOnce,
    /// Block1, Q-Block1 and Q-Block2 are not defined for groups (groupcomm-bis section 3.8).
    Blockwise(OptionNumber),
    /// Whoever observes a group starts an observation, not a collection.
    Observe,
    /// Profile `seed03` has no ETag in group requests (RFC 7252 section 8.2.1), but Multi-ETag.
    EntityTag,
    /// Multi-ETag options that are malformed, two for one server, beside ETag, or in profile `current`, which has none.
    MultiEtag,
    /// Two expected members cannot be told apart.
    DuplicateMember(DuplicateMember),
    /// The request cannot be encoded.
    Encode(EncodeError),
    /// The request does not fit into the largest datagram (65,507 bytes).
    TooLarge(usize),
    /// The request does not fit into one frame of the link, and the link profile refuses such requests.
    OverFrameBudget(OverFrameBudget),
    /// No token is left.
    Tokens(TokensExhausted),
    /// Too many collections are open, late ones included.
    TooManyCollections,
    /// As many requests to this group wait as may.
    QueueFull(SocketAddr),
    /// Too many groups are in use at once.
    TooManyGroups,
}

impl fmt::Display for CollectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAMethod => f.write_str("the code is not a request method"),
            Self::NoTarget => f.write_str("the request has no target"),
            Self::TooManyTargets => f.write_str("the request has too many targets"),
            Self::DuplicateTarget(group) => write!(f, "the target {group} is named twice"),
            Self::NotAGroup(group) => write!(f, "{group} is not a multicast address"),
            Self::SecurePort => f.write_str("port 5684 is never used for group communication"),
            Self::NoPort => f.write_str("port 0 cannot be sent to"),
            Self::ReservedScope(group) => write!(f, "the multicast scope of {group} is reserved"),
            Self::GlobalScope(group) => write!(
                f,
                "{group} reaches beyond the site, and the request is not protected"
            ),
            Self::NotDiscovery => f.write_str(
                "unsecured for discovery, but the request is not a GET or FETCH of /.well-known/core",
            ),
            Self::NotIdempotent(again) => write!(
                f,
                "the request may have an effect each time it is processed, so it is not {again} \
                 unless it is stated to be idempotent"
            ),
            Self::NoCompletionAtOnce => {
                f.write_str("completion must ask at least one member at a time")
            }
            Self::Blockwise(option) => write!(f, "a group request carries no {option}"),
            Self::Observe => f.write_str("a group is observed by an observation, not a question"),
            Self::EntityTag => {
                f.write_str("a group request carries no ETag in profile seed03, but Multi-ETag")
            }
            Self::MultiEtag => f.write_str(
                "Multi-ETag is for profile seed03, never beside ETag, well-formed, and one for each server",
            ),
            Self::DuplicateMember(duplicate) => write!(
                f,
                "the expected members {} and {} cannot be told apart",
                duplicate.first.0, duplicate.second.0
            ),
            Self::Encode(error) => write!(f, "the request cannot be encoded: {error}"),
            Self::TooLarge(bytes) => {
                write!(f, "{bytes} bytes do not fit into the largest datagram")
            }
            Self::OverFrameBudget(over) => over.fmt(f),
            Self::Tokens(exhausted) => exhausted.fmt(f),
            Self::TooManyCollections => f.write_str("too many collections are open"),
            Self::QueueFull(group) => write!(f, "too many requests to {group} are waiting"),
            Self::TooManyGroups => f.write_str("too many groups are in use"),
        }
    }
}

impl core::error::Error for CollectError {}

/// How a request would have been sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// To the group, with a new Message ID.
    NewMessageId,
    /// To single members, by unicast.
    Unicast,
}

impl fmt::Display for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NewMessageId => "repeated with a new Message ID",
            Self::Unicast => "completed by unicast",
        })
    }
}

/// A request that the link would fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverFrameBudget {
    /// The size of the CoAP message.
    pub bytes: usize,
    /// What fits into one frame.
    pub budget: usize,
}

impl fmt::Display for OverFrameBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the request has {} bytes, of which only {} fit into one link-layer frame",
            self.bytes, self.budget
        )
    }
}

/// How far a multicast address reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Reserved,
    Limited,
    Global,
}

fn reach(group: IpAddr, ipv4_global: Ipv4Global) -> Reach {
    match group.to_canonical() {
        IpAddr::V4(v4) if ipv4_global == Ipv4Global::Restricted && !stays_in_site(v4) => {
            Reach::Global
        }
        IpAddr::V4(_) => Reach::Limited,
        // RFC 4291 section 2.7: scope 0 is not to be sent to, scope F is treated like E.
        IpAddr::V6(v6) => match v6.octets() {
            [_, second, ..] if second & 0x0f == 0 => Reach::Reserved,
            [_, second, ..] if second & 0x0f >= 0x0e => Reach::Global,
            _ => Reach::Limited,
        },
    }
}

fn stays_in_site(group: Ipv4Addr) -> bool {
    matches!(group.octets(), [239, ..] | [224, 0, 0, _]) || group == ALL_COAP_NODES_V4
}

fn is_discovery(request: &Request) -> bool {
    let path = request.options.all(OptionNumber::URI_PATH);
    let core: [&[u8]; 2] = [b".well-known", b"core"];
    [Code::GET, Code::FETCH].contains(&request.method) && path.eq(core)
}
