//! CoAP group communication on real networks: one question to a whole group, every answer collected.
//!
//! ```no_run
//! use core::time::Duration;
//! use antiphon::{Client, NoSec};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder().interface("lo").build().await?;
//! let mut answers = client
//!     .group("coap://224.0.1.187/status")?
//!     .get()
//!     .unsecured(NoSec::Accepted)
//!     .collect_for(Duration::from_secs(2))
//!     .send()
//!     .await?;
//! while let Some(answer) = answers.answer().await {
//!     println!("{} answers {:?}", answer.from.peer, answer.response);
//! }
//! println!("{} servers answered", answers.finish().await?.servers());
//! # Ok(())
//! # }
//! ```
//!
//! # Contents
//!
//! - [`Client`] asks: [`Client::group`] gives a [`GroupCall`], which when sent becomes a [`Collection`] of answers with an
//!   [`Outcome`] that names who is missing; [`Client::one`] asks a single peer.
//! - [`Server`] answers: [`Resource`]s with inline or async handlers ([`AsyncResource`]), [`Membership`]s in groups, and a [`Handle`] to
//!   change all of it while it runs.
//! - [`security_group`]: groups and peers with whom messages are protected, [`SecurityGroup`] and [`OscoreContext`].
//! - [`distribution`]: one image to a whole group.
//! - [`resolve`]: host names that stand for one or several groups. [`egress`]: by which interface a group request leaves.
//! - [`interfaces`]: the network interfaces of this host. [`socket`]: UDP with multicast, packet information and batches.
//! - [`store`]: the sealed file that keeps keys and sequence numbers over crashes.
//! - [`error`]: one small enum for each thing that can be asked.
//!
//! One task owns an endpoint and its sockets ([`DriverConfig`], [`DriverCounters`]); what it decides with is the
//! state machine of `antiphon-proto`, whose words are exported here. `antiphon-wire` is [`wire`].
//!
//! # Where it runs
//!
//! Linux is the tested platform. What another system cannot do fails loudly; see [`socket`].

mod client;
mod clock;
pub mod distribution;
mod driver;
pub mod egress;
pub mod error;
pub mod interfaces;
mod request;
pub mod resolve;
pub mod security_group;
mod server;
pub mod socket;
pub mod store;
mod worker;

pub use antiphon_oscore as oscore;
pub use antiphon_proto as proto;
pub use antiphon_wire as wire;

pub use antiphon_proto::{
    Access, AccessRequest, Amplification, Answer, AnswerLimits, AnswerPolicy, AnswerProgress,
    AnsweredBy, ApplicationGroupId, Arrival, Attributes, BlockSize, BodyFailure, BodyProgress,
    CacheConfig, CacheCounters, Caching, CoapGroup, CoapGroupId, CollectError, CollectionEvent,
    CollectionId, Completion, Discoverable, EndedBy, EndpointConfig, Expectation, Failure,
    FollowUp, FurtherBlocks, GroupModeByUnicast, GroupPacing, GroupPolicy, HoldReason, How,
    Identity, Incoming, Leisure, Lint, Member, MemberEnd, MemberIndex, MembershipError,
    MembershipOracle, Methods, MissingReason, Naming, News, NoSec, NoSecPolicy, Notification,
    ObservationConfig, ObservationDropped, ObservationEnd, ObservationEvent, ObservationId,
    ObservationLimits, ObservationOutcome, ObservationStatus, ObserveConfig, ObserveError,
    ObservedIndex, ObservedReport, ObservedState, ObserverCounters, Options, Outcome, Path,
    Permissions, Reachability, Rejection, Repeat, Request, Resource, ResourceError, ResourceId,
    Response, SecurityGroupName, SecurityMode, Sender, ServerBlocks, ServerConfig, StaticMembers,
    Status, TransferLimits, Transmission,
};
pub use antiphon_wire::{Class, Code, ContentFormat, OptionNumber, Scope};

pub use client::{
    Client, ClientBuilder, Collection, GroupCall, Observation, Observing, OneCall, Reply,
};
pub use driver::{DriverConfig, DriverCounters};
pub use error::{AskError, BadUri, BuildError, ChangeError, Closed, OneError};
pub use resolve::{NoResolver, Resolve, StaticResolver, SystemResolver};
pub use security_group::{
    GroupMember, OscoreContext, Secured, SecurityError, SecurityGroup, Signed,
};
pub use server::{
    AsyncResource, Counted, Handle, Membership, Provided, ResourceHandle, Running, Server,
    ServerBuilder,
};
pub use worker::{Asked, AsyncHandler};

/// The example of the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
