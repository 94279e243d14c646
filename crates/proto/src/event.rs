//! What the endpoint tells its driver.

#[cfg(feature = "client")]
use core::time::Duration;

use crate::failure::Failure;
use crate::identity::Arrival;
use crate::membership::ListenEvent;
use crate::message::Request;
use crate::resource::ResourceId;
#[cfg(feature = "client")]
use crate::{
    block::BodyProgress, cache::CacheCounters, collection::CollectionEvent, identity::Sender,
    message::Response, observation::ObservationEvent, path::Path,
};

/// Names one exchange with one peer; never reused within an endpoint's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub u64);

/// Names one request that a deferred handler answers; never reused within an endpoint's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IncomingId(pub u64);

/// Something happened that the application wants to know.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(not(feature = "client"), allow(clippy::large_enum_variant))]
pub enum Event {
    /// A unicast request was answered; the exchange is over.
    #[cfg(feature = "client")]
    Response {
        /// Which exchange.
        exchange: ExchangeId,
        /// The response.
        response: Response,
        /// The way it came.
        from: Path,
        /// Time since the request first left.
        after: Duration,
        /// Who is proven to have sent it.
        sender: Sender,
    },
    /// A unicast request whose body, or that of its response, goes in several blocks has come further.
    #[cfg(feature = "client")]
    Progress {
        /// Which exchange: the one that the request was begun with.
        exchange: ExchangeId,
        /// How far.
        progress: BodyProgress,
    },
    /// A unicast request was answered from the cache, and nothing was sent.
    #[cfg(feature = "client")]
    Cached {
        /// Under which name it was asked.
        exchange: ExchangeId,
        /// The response. Max-Age says for how long it is still fresh.
        response: Response,
        /// The way it came when it came.
        from: Path,
        /// How long ago it came, or was confirmed.
        age: Duration,
        /// Who is proven to have sent it.
        sender: Sender,
    },
    /// A unicast request got no response; the exchange is over.
    #[cfg(feature = "client")]
    Failed {
        /// Which exchange.
        exchange: ExchangeId,
        /// Why.
        failure: Failure,
    },
    /// News of a collection.
    #[cfg(feature = "client")]
    Collection(CollectionEvent),
    /// News of an observation.
    #[cfg(feature = "client")]
    Observation(ObservationEvent),
    /// A request for a resource whose handler is deferred: answer it with `respond`.
    Request {
        /// Under which name it is answered.
        incoming: IncomingId,
        /// For which resource.
        resource: ResourceId,
        /// What is asked.
        request: Request,
        /// How it came and who sent it.
        arrival: Arrival,
    },
    /// A Confirmable separate response was never acknowledged, or was rejected with a Reset.
    Undelivered {
        /// Which request it answered.
        incoming: IncomingId,
        /// Why.
        failure: Failure,
    },
    /// News of a security context.
    #[cfg(feature = "oscore")]
    Security(crate::security::SecurityEvent),
    /// News of a membership: joined, left, or failed and to be tried again.
    Membership(ListenEvent),
}

/// What the endpoint has counted since it started. Nothing is dropped without being counted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams handed in.
    pub received: u64,
    /// Datagrams handed out.
    pub sent: u64,
    /// Datagrams whose source nobody can have: a group, no address, port 0. They are not looked at.
    pub bad_source: u64,
    /// Datagrams that are no CoAP message.
    pub malformed: u64,
    /// Of those, Confirmable unicast ones, answered with a Reset.
    pub malformed_reset: u64,
    /// Own multicast that came back and was ignored.
    pub own_multicast: u64,
    /// Requests handed to the server.
    pub requests: u64,
    /// Requests that came by multicast without being Non-confirmable.
    pub group_not_non: u64,
    /// Empty messages, responses and errors that came by multicast.
    pub group_not_request: u64,
    /// Exact duplicates.
    pub duplicates: u64,
    /// Duplicates of Confirmable requests that were answered from memory.
    pub replies_repeated: u64,
    /// Deduplication records that gave way before their time.
    pub dedup_evicted: u64,
    /// Requests met with silence by policy.
    pub silenced: u64,
    /// Group answers that found no room to wait for their leisure.
    pub answers_dropped: u64,
    /// Requests for deferred handlers that found no room.
    pub deferred_dropped: u64,
    /// Deferred requests whose handler never answered.
    pub deferred_expired: u64,
    /// Requests to one peer that were repeated with an Echo value.
    pub echoed: u64,
    /// Responses without protection to protected requests: hints, which answer nothing.
    pub unprotected_responses: u64,
    /// Responses that belong to nothing.
    pub unmatched: u64,
    /// Of those, answered with a Reset.
    pub unmatched_reset: u64,
    /// Answers of groups that could not be accepted.
    pub responses_rejected: u64,
    /// Acknowledgements and Resets that belong to nothing.
    pub unmatched_empty: u64,
    /// Confirmable messages sent again.
    pub retransmissions: u64,
    /// Messages that found the parking lot full.
    pub parking_full: u64,
    /// Messages that waited too long in the parking lot.
    pub parking_expired: u64,
    /// Datagrams that found the outbox full.
    pub outbox_full: u64,
    /// Responses too large for a datagram.
    pub too_large: u64,
    /// What has become of observers and notifications.
    pub observers: crate::server::ObserverCounters,
    /// What the cache of this client has been good for.
    #[cfg(feature = "client")]
    pub cache: CacheCounters,
    /// What has become of protected messages.
    #[cfg(feature = "oscore")]
    pub security: crate::security::SecurityCounters,
    /// Failures to send that the driver reported, and reports of the network that quote an open exchange.
    pub send_errors: u64,
    /// Reports that a datagram was not delivered which quote no open exchange: without consequence.
    pub reports_ignored: u64,
}
