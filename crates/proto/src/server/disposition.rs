//! What becomes of a request.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use antiphon_wire::BlockValue;

use super::admission::EchoValue;
use super::block::NotedOperation;
use super::observe::{ObserverId, Wish};
use crate::identity::Arrival;
use crate::policy::{Oversize, Suppression};
use crate::resource::ResourceId;

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Disposition {
    /// The response that was written is to be sent, to the request's source.
    Respond {
        /// How long it is held back: drawn for this response from its leisure, zero for unicast. The request has been processed already.
        leisure: Duration,
        /// The port it comes from: the one that the request was sent to (seed -03 section 3.1).
        port: u16,
    },
    /// The request is verified and not processed: its sender is to show first that it is fresh, or reachable at its
    /// source address. To be sent is 4.01 with an Echo option inside of the protection, Non-confirmable or piggybacked.
    Challenge {
        /// How long it is held back, as for [`Respond`](Self::Respond).
        leisure: Duration,
    },
    /// No response is sent. A CON is acknowledged with an empty message, unless the reason says that the message is rejected.
    Silence(SilenceReason),
    /// The application answers later; its response goes through [`Server::finish`](crate::Server::finish).
    Deferred(Box<Deferred>),
}

/// A request that the application answers later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deferred {
    /// The resource that it is for.
    pub resource: ResourceId,
    /// How it arrived.
    pub arrival: Arrival,
    /// What [`Server::finish`](crate::Server::finish) needs.
    pub context: Context,
    /// The request put together, as a message, if it came in blocks.
    pub assembled: Option<Vec<u8>>,
}

/// What policy needs to know of a request when its response is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    pub(super) group: bool,
    pub(super) suppression: Suppression,
    /// The length of the interval that the delay is drawn from.
    pub(super) leisure: Duration,
    pub(super) port: u16,
    /// The largest payload of a success.
    pub(super) limit: usize,
    pub(super) oversize: Oversize,
    /// The largest response as a whole.
    pub(super) largest: usize,
    /// A challenge takes the place of a larger one.
    pub(super) challenge: bool,
    /// The Echo value of a challenge that is not protected.
    pub(super) echo: Option<EchoValue>,
    pub(super) token_length: usize,
    /// The method is GET or FETCH.
    pub(super) safe: bool,
    pub(super) accept: Option<u32>,
    pub(super) block1: Option<BlockValue>,
    pub(super) block2: Option<BlockValue>,
    /// The size of the representation is asked for.
    pub(super) size2: bool,
    /// The response is a block, or about blocks, already.
    pub(super) cut: bool,
    /// What the response is kept under, if it is made later.
    pub(super) operation: Option<Box<NotedOperation>>,
    /// Each representation gets an entity tag.
    pub(super) tagged: bool,
    /// The entity tags of the request, each with its length before it.
    pub(super) etags: Vec<u8>,
    /// What the request wants of the list of observers.
    pub(super) wish: Wish,
    /// The observer that its sender is, if the response is a success.
    pub(crate) observer: Option<ObserverId>,
    /// The observable resource that a success has changed.
    pub(super) changes: Option<ResourceId>,
}

/// Lists the reasons once: name, whether the message is rejected, and meaning.
macro_rules! reasons {
    ($($(#[$meta:meta])* $name:ident;)*) => {
        /// Why no response is sent.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum SilenceReason {
            $($(#[$meta])* $name,)*
        }

        impl SilenceReason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

reasons! {
    /// A confirmable message came by multicast, which RFC 7252 section 8.1 forbids.
    ConfirmableMulticast;
    /// The message is no request.
    NotARequest;
    /// This endpoint is no member of the group that the message was sent to.
    NotAMember;
    /// A group request without security came from an address that may be the public Internet.
    PublicSource;
    /// A critical option is not recognised: the message is rejected (RFC 7252 section 5.4.1).
    CriticalOption;
    /// Block1, Q-Block1 or Q-Block2 came through a group.
    BlockwiseGroupRequest;
    /// A request to a proxy came through a group.
    Proxy;
    /// The request names an application group that this endpoint is no member of.
    UnknownApplicationGroup;
    /// The resource belongs to none of the application groups that use the CoAP group.
    UnrelatedResource;
    /// The resource does not support group requests.
    NotForGroups;
    /// The request is not protected, and the group, the resource or the server demands that it is.
    NotSecured;
    /// The sender is proven and has no permission to do this.
    NotPermitted;
    /// The request is protected by a security group that is not paired with the resource or its groups.
    OtherSecurityGroup;
    /// The server does not want to be discovered this way.
    NotDiscoverable;
    /// Discovery outside of the onboarding window, or not for this server.
    Onboarding;
    /// The handler has nothing to say.
    Handler;
    /// The resource's policy suppresses this class of answers to group requests.
    Policy;
    /// The answer is empty.
    Empty;
    /// The request's No-Response option suppresses this class.
    NoResponse;
    /// The answer is too large for a group request.
    TooLarge;
    /// The answer would be too many times as large as the request, and its source is not proven.
    Amplification;
}

impl SilenceReason {
    /// Is the message itself rejected, so that a Reset may answer it if it came by unicast? It may not otherwise.
    pub const fn rejects(self) -> bool {
        matches!(self, Self::CriticalOption | Self::NotARequest)
    }
}

/// What a server has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerCounters {
    /// Requests seen, by unicast and through groups.
    pub requests: u64,
    /// Of these, requests that came through groups.
    pub group_requests: u64,
    /// Handlers run, deferred ones included.
    pub handled: u64,
    /// Responses to be sent.
    pub responses: u64,
    /// Protected challenges to be sent.
    pub challenges: u64,
    silences: [u64; SilenceReason::ALL.len()],
}

impl ServerCounters {
    /// How often no response was sent for this reason.
    pub fn silenced(&self, reason: SilenceReason) -> u64 {
        self.silences
            .get(reason as usize)
            .copied()
            .unwrap_or_default()
    }

    pub(super) fn count(&mut self, disposition: &Disposition) {
        match disposition {
            Disposition::Respond { .. } => self.responses += 1,
            Disposition::Silence(reason) => {
                if let Some(count) = self.silences.get_mut(*reason as usize) {
                    *count += 1;
                }
            }
            Disposition::Challenge { .. } => self.challenges += 1,
            Disposition::Deferred(_) => {}
        }
    }
}
