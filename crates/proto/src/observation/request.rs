//! What is observed, and everything that is checked before anything is sent.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use antiphon_wire::{Code, OptionNumber};

use crate::collection::{CollectError, End, GroupRequest, GroupTarget, Repeat, Security};
use crate::exchange::RequestError;
use crate::expect::Expectation;
use crate::message::Request;
use crate::path::Route;
use crate::security::Protection;

/// A resource that is to be observed (RFC 7641), at one server or at every member of a group (groupcomm-bis section 3.7).
#[derive(Debug)]
pub struct ObserveRequest {
    /// GET or FETCH, without an Observe option: that is added.
    pub request: Request,
    /// Where.
    pub of: Observed,
    /// The members that are expected to answer. They have places of their own; who is silent is named.
    pub expect: Expectation,
    /// After which time the registration is made again, under the same token. It brings late joiners in, and bounds how long
    /// a notification can be held back (draft-ietf-core-oscore-groupcomm-28 section 5.2). Never sooner than `rtt` and
    /// `leisure` after the last one. Default 1 h; `None`: never.
    pub every: Option<Duration>,
    /// Whether each registration and the deregistration of a group are sent more than once.
    pub repeat: Repeat,
    /// Whether silent members are asked in person, under the same token. Default: four at once.
    pub follow_up: FollowUp,
    /// How long after the end of its Max-Age a member is taken for silent. Default (`None`): the leisure, and 5 to 15 s
    /// at random (RFC 7641 section 3.3.1).
    pub margin: Option<Duration>,
    /// The longest leisure that the members are expected to take, for first and later notifications. Default 5 s for a group.
    pub leisure: Duration,
    /// The expected round-trip time. Default 1 s.
    pub rtt: Duration,
    /// Notifications are kept in the cache, for later requests that go by way of it; default false. What is kept of these
    /// members already is refreshed in any case (RFC 7641 section 3.4). One that arrives within `rtt` and `leisure` after a
    /// request of this endpoint has changed the resource may have been made before, and is kept as not fresh.
    pub cached: bool,
    /// What members may take at most.
    pub limits: ObservationLimits,
}

/// Who is observed.
#[derive(Clone, Debug)]
pub enum Observed {
    /// One server, by Confirmable requests.
    One {
        /// The way to it.
        route: Route,
        /// How the requests are protected.
        protection: Protection,
    },
    /// Every member of a group.
    Group {
        /// Where requests go.
        targets: Vec<GroupTarget>,
        /// How they are protected, or why they are not.
        security: Security,
    },
}

/// Whether members that have not answered a registration are asked in person, by a Confirmable request with the same token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowUp {
    /// They are not.
    None,
    /// They are, once for each registration and whenever they fall silent.
    Unicast {
        /// How many at the same time; at least 1.
        at_once: usize,
    },
}

impl FollowUp {
    pub(crate) const fn at_once(self) -> usize {
        match self {
            Self::None => 0,
            Self::Unicast { at_once } => at_once,
        }
    }
}

/// What the members of one observation may take at most. Expected members have places of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObservationLimits {
    /// Members that are not expected; default 1024, about 300 bytes each. A further one gets the place of the one that was
    /// heard longest ago and has ended, was rejected or is silent; if there is none, it is told that nobody is interested.
    pub unexpected: usize,
    /// How many of these may share one IP address; default 64. Those whose identity is proven do not count.
    pub unexpected_per_address: usize,
    /// Bytes of options and payload of a notification, put together if it comes in blocks; default 65535. Larger ones are
    /// rejected.
    pub response_bytes: usize,
    /// Events of one member that wait to be fetched; default 16. Further ones are counted and dropped.
    pub waiting_per_member: u32,
}

impl Default for ObservationLimits {
    fn default() -> Self {
        Self {
            unexpected: 1_024,
            unexpected_per_address: 64,
            response_bytes: 65_535,
            waiting_per_member: 16,
        }
    }
}

impl ObserveRequest {
    /// Observes every member of a group, with default times.
    pub fn group(request: Request, target: GroupTarget, security: Security) -> Self {
        let of = Observed::Group {
            targets: Vec::from([target]),
            security,
        };
        Self {
            leisure: Duration::from_secs(5),
            ..Self::new(request, of)
        }
    }

    /// Observes one server, with default times.
    pub fn one(request: Request, route: Route, protection: Protection) -> Self {
        Self::new(request, Observed::One { route, protection })
    }

    fn new(request: Request, of: Observed) -> Self {
        Self {
            request,
            of,
            expect: Expectation::nobody(),
            every: Some(Duration::from_secs(3_600)),
            repeat: Repeat::None,
            follow_up: FollowUp::Unicast { at_once: 4 },
            margin: None,
            leisure: Duration::ZERO,
            rtt: Duration::from_secs(1),
            cached: false,
            limits: ObservationLimits::default(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), ObserveError> {
        if ![Code::GET, Code::FETCH].contains(&self.request.method) {
            return Err(ObserveError::NotObservable(self.request.method));
        }
        if self.request.options.get(OptionNumber::OBSERVE).is_some() {
            return Err(ObserveError::ObserveStated);
        }
        if self.follow_up == (FollowUp::Unicast { at_once: 0 }) {
            return Err(ObserveError::Collect(CollectError::NoCompletionAtOnce));
        }
        if let Observed::One { route, .. } = &self.of {
            if route.is_multicast() {
                return Err(ObserveError::Request(RequestError::GroupDestination));
            }
            if route.destination.port() == 0 {
                return Err(ObserveError::Request(RequestError::NoPort));
            }
        }
        Ok(())
    }
}

/// What one round asks the groups.
pub(crate) fn round(
    request: Request,
    targets: Vec<GroupTarget>,
    security: Security,
    repeat: Repeat,
    rtt: Duration,
    leisure: Duration,
) -> Option<GroupRequest> {
    let target = *targets.first()?;
    let round = GroupRequest::new(request, target, security);
    Some(GroupRequest {
        targets,
        end: End {
            deadline: rtt.saturating_add(leisure),
            count: None,
            when_all_expected: false,
        },
        repeat,
        leisure,
        rtt,
        ..round
    })
}

/// Why an observation was refused before anything was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObserveError {
    /// Only GET and FETCH can observe (RFC 7641 section 2, RFC 8132 section 2.4).
    NotObservable(Code),
    /// The request has an Observe option already.
    ObserveStated,
    /// As many observations are open as may be.
    TooMany,
    /// A group cannot be asked like this.
    Collect(CollectError),
    /// A server cannot be asked like this.
    Request(RequestError),
}

impl fmt::Display for ObserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotObservable(code) => {
                write!(f, "{code} cannot observe: only GET and FETCH can")
            }
            Self::ObserveStated => f.write_str("the request has an Observe option already"),
            Self::TooMany => f.write_str("too many observations are open"),
            Self::Collect(error) => error.fmt(f),
            Self::Request(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ObserveError {}

impl From<CollectError> for ObserveError {
    fn from(error: CollectError) -> Self {
        Self::Collect(error)
    }
}

impl From<RequestError> for ObserveError {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

/// Limits of all observations of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservationConfig {
    /// Observations that are open, those whose outcome was not fetched included; default 256. As many more that have ended are
    /// remembered, to deregister at members that did not hear of the end.
    pub observations: usize,
    /// Events that wait to be fetched, outcomes apart; default 16,384.
    pub events: usize,
    /// Bytes that the notifications among them take in memory, roughly; default 4 MiB. Further ones are counted and dropped.
    pub event_bytes: usize,
}

impl Default for ObservationConfig {
    fn default() -> Self {
        Self {
            observations: 256,
            events: 16_384,
            event_bytes: 4 << 20,
        }
    }
}
