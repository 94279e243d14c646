//! The endpoint of CoAP group communication, as state machines without sockets, clocks or threads.
//!
//! Time is an argument, randomness a seed, bytes go in and bytes come out, so that the same endpoint
//! runs under tokio, in the network simulator of the tests, and on a microcontroller.
//!
//! Features, all of them default: `oscore` is OSCORE and Group OSCORE; `client` is the half that asks, without which an endpoint
//! only serves; `distribution` is one image to a whole group.

#![no_std]
#![forbid(unsafe_code)]
// An image without security has no use for what only protected messages need, and one that only serves has none for some
// of what both halves share.
#![cfg_attr(not(all(feature = "client", feature = "oscore")), allow(dead_code))]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod attributes;
mod block;
#[cfg(feature = "client")]
mod cache;
#[cfg(feature = "client")]
mod collection;
mod config;
mod dedup;
mod discovery;
#[cfg(feature = "distribution")]
pub mod distribution;
mod endpoint;
mod event;
#[cfg(feature = "client")]
mod exchange;
#[cfg(feature = "client")]
mod expect;
mod failure;
mod identity;
mod membership;
mod message;
mod message_id;
#[cfg(feature = "client")]
mod observation;
mod outbox;
#[cfg(feature = "client")]
mod pacing;
mod parking;
mod path;
mod policy;
mod reliability;
mod resource;
mod rng;
mod security;
mod server;
mod shares;
mod time;
#[cfg(feature = "client")]
mod tokens;
mod work;

pub use attributes::Attributes;
pub use block::{BlockSize, BodyFailure, ServerBlocks};
pub use config::{ConfigError, Profile, Transmission};
pub use dedup::DedupLimits;
pub use endpoint::{Endpoint, EndpointConfig, Limits, Load, MemoryTotals, SocketInfo};
pub use event::{Counters, Event, ExchangeId, IncomingId};
pub use failure::{Failure, SendError};
pub use identity::{Arrival, GroupTuple, Identity, SecurityGroup, SecurityMode, Sender, Standing};
pub use membership::{
    ApplicationGroup, ApplicationGroupId, Authority, CoapGroup, CoapGroupId, CoapGroupSpec,
    GroupAddress, GroupSecurity, Interface, Lint, ListenChange, ListenEvent, Listening,
    MembershipError, MembershipLimits, Memberships, Naming, SecurityGroupName, check_member_ports,
    reverse_name,
};
pub use message::{Options, Request, Response};
pub use message_id::MessageIds;
pub use parking::ParkingLimits;
pub use path::{Path, Route, SocketId, Transmit, is_group_address};
pub use policy::{
    Access, AccessRequest, Amplification, Classes, GroupPolicy, Leisure, NoSec, NoSecPolicy,
    NoSecSources, Oversize, Permissions, Prefix, is_publicly_routed,
};
pub use resource::{ETag, Handler, Incoming, Methods, Resource, ResourceError, ResourceId};
pub use rng::{KeyedHash, Rng};
#[cfg(feature = "oscore")]
pub use security::{
    AnswerMode, ContextId, GroupId, PairId, SecurityConfig, SecurityCounters, SecurityEvent,
};
pub use security::{NotProtected, Protection};
pub use server::{
    Admission, Context, Deferred, Demanded, Discoverable, Disposition, GroupModeByUnicast, Known,
    MEMBER_ADDRESS, MEMBER_ADDRESS_TYPE, NoSecResource, ObserveConfig, ObserverCounters,
    Onboarding, Reachability, Server, ServerConfig, ServerCounters, SilenceReason,
};
pub use time::Instant;
#[cfg(feature = "oscore")]
pub use work::SignJob;
pub use work::{Task, Work, WorkFailure, WorkId, WorkResult};

// The half that asks.
#[cfg(feature = "client")]
pub use crate::{
    block::{BodyProgress, TransferLimits},
    cache::{CacheConfig, CacheCounters},
    collection::{
        Again, Answer, AnswerLimits, AnswerPolicy, AnswerProgress, AnsweredBy, Asking, Caching,
        CollectError, CollectionConfig, CollectionEvent, CollectionId, Collections, Completion,
        CompletionRequest, Delivery, Dropped, End, EndedBy, FurtherBlocks, GroupRequest,
        GroupTarget, Held, HoldReason, How, Ipv4Global, Larger, LinkProfile, MemberReport,
        MemberState, MissingReason, Outcome, OverFrameBudget, Rejection, Repeat, Reply,
        SIXLOWPAN_BUDGET, Security, Stage, Status, Unexpected, Verdict,
    },
    exchange::{Reliability, RequestError, UnicastRequest, Waiting},
    expect::{
        DuplicateMember, Expectation, Extract, Member, MemberAddress, MemberIndex,
        MembershipOracle, StaticMembers,
    },
    observation::{
        FollowUp, MemberEnd, News, Notification, ObservationConfig, ObservationDropped,
        ObservationEnd, ObservationEvent, ObservationId, ObservationLimits, ObservationOutcome,
        ObservationStatus, ObserveError, ObserveRequest, Observed, ObservedIndex, ObservedReport,
        ObservedState,
    },
    pacing::{GroupKey, GroupPacing},
    tokens::{Binding, Tokens, TokensExhausted},
};
