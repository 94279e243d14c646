//! What can go wrong, one small enum for each thing that can be asked.

use core::net::SocketAddr;
use std::io;

use antiphon_proto::{
    CollectError, Failure, MembershipError, ObserveError, RequestError, ResourceError,
};
use antiphon_wire::UriError;

use crate::security_group::SecurityError;

pub use crate::egress::InterfaceError;
pub use crate::resolve::ResolveError;
pub use crate::socket::JoinError;

/// Why a client or server could not be built. Nothing of it remains.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A local address could not be bound.
    #[error("cannot bind {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// A server needs at least one unicast address: it is where its responses come from.
    #[error(
        "no unicast address is given: a response needs a source, and a group's address cannot be one"
    )]
    NoUnicastAddress,
    /// A server answers group requests of this family from a unicast address of the same family, and has none.
    #[error(
        "no unicast address of the same family as {0}, so requests to it could not be answered"
    )]
    NoUnicastFor(SocketAddr),
    /// A security group or OSCORE context cannot be used.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// The operating system gave no random seed.
    #[error("the operating system gives no random numbers: {0}")]
    Seed(io::Error),
    /// A parameter is outside of its limits.
    #[error(transparent)]
    Parameter(#[from] antiphon_proto::ConfigError),
    /// No interface could be chosen.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// A group could not be joined.
    #[error("cannot join {group} on interface {interface}: {reason}")]
    Join {
        /// The group.
        group: SocketAddr,
        /// Interface index.
        interface: u32,
        /// Why.
        reason: JoinError,
    },
    /// A membership is not permitted.
    #[error("group {group}: {reason}")]
    Membership {
        /// The group.
        group: SocketAddr,
        /// Why.
        reason: MembershipError,
    },
    /// The host of a group leads to no group.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// An application group is not permitted.
    #[error("application group {name}: {reason}")]
    Application {
        /// Its name.
        name: String,
        /// Why.
        reason: MembershipError,
    },
    /// An interface cannot be used.
    #[error("interface {index}: {reason}")]
    Announce {
        /// Its index.
        index: u32,
        /// Why.
        reason: MembershipError,
    },
    /// A resource is not permitted.
    #[error("resource {path}: {reason}")]
    Resource {
        /// Its path.
        path: String,
        /// Why.
        reason: ResourceError,
    },
}

/// Why a question to a group was not put. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It was not said how the request is protected: `.secure(&group)` says it, `.unsecured(NoSec::...)` says that it is not.
    #[error(
        "it is not stated how the request is protected: .secure(..) states it, .unsecured(..) states that it is not"
    )]
    SecurityNotStated,
    /// It was said more than once how the request is protected, and not always the same.
    #[error("it is stated more than once how the request is protected")]
    SecurityTwice,
    /// The security group or OSCORE context cannot be used.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// Groups are asked with scheme `coap` only.
    #[error("a group is asked by coap://, not by {0}://")]
    Scheme(&'static str),
    /// The host leads to no group.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The URI stands for other groups than the ones it was restricted to.
    #[error("the URI does not stand for {0}")]
    OtherGroup(SocketAddr),
    /// No interface could be chosen.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// The client has no socket of the group's address family.
    #[error("this client has no socket of the address family of {0}")]
    Family(SocketAddr),
    /// The URI does not fit into options.
    #[error("the URI does not fit into a message")]
    TooLong,
    /// The collection was refused.
    #[error(transparent)]
    Collect(#[from] CollectError),
    /// The observation was refused.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// The client was closed.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Why a question to one peer has no response.
#[derive(Debug, thiserror::Error)]
pub enum OneError {
    /// It was not said how the request is protected: `.secure(&group)` says it, `.unsecured(NoSec::...)` says that it is not.
    #[error(
        "it is not stated how the request is protected: .secure(..) states it, .unsecured(..) states that it is not"
    )]
    SecurityNotStated,
    /// It was said more than once how the request is protected, and not always the same.
    #[error("it is stated more than once how the request is protected")]
    SecurityTwice,
    /// The security group or OSCORE context cannot be used.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// Only scheme `coap` is spoken.
    #[error("only coap:// is spoken, not {0}://")]
    Scheme(&'static str),
    /// The host leads to no peer.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The interface does not exist.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// The client has no socket of the peer's address family.
    #[error("this client has no socket of the address family of {0}")]
    Family(SocketAddr),
    /// The URI does not fit into options.
    #[error("the URI does not fit into a message")]
    TooLong,
    /// The request was refused before it was sent.
    #[error(transparent)]
    Refused(#[from] RequestError),
    /// The observation was refused before anything was sent.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// It was sent, and no response came.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The client was closed.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Why a change of a running server was refused.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The table of memberships refuses it; nothing has changed.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The security group or OSCORE context cannot be used.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// The resource is refused; nothing has changed.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// The host of a group leads to no group.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// No interface could be chosen.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// The server has no unicast address of the group's family from which it could answer.
    #[error(
        "no unicast address of the same family as {0}, so requests to it could not be answered"
    )]
    NoUnicastFor(SocketAddr),
    /// The change stands, and listening failed. It is tried again later.
    #[error("cannot listen to {group} on interface {interface}: {reason}")]
    Join {
        /// The group.
        group: SocketAddr,
        /// Interface index.
        interface: u32,
        /// Why.
        reason: JoinError,
    },
    /// The server no longer runs.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// The client or server has been closed, or its runtime has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client or server is closed")]
pub struct Closed;

/// A URI that cannot be read; see [`UriError`] for what and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{uri}: {reason}")]
pub struct BadUri {
    /// The text.
    pub uri: String,
    /// What is wrong, and at which byte.
    pub reason: UriError,
}
