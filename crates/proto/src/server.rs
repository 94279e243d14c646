//! The server half of an endpoint: from a request to what is answered, if anything is.
//!
//! [`Server::handle_request`] reads like the route of a request: arrival, options, resource, access,
//! method, preconditions, handler; and [`Server::finish`] like the route of a response: representation,
//! suppression, size, leisure. Handlers run at once; leisure delays only the response.

mod admission;
mod asked;
mod block;
mod config;
mod disposition;
mod etags;
mod links;
mod member;
mod negotiate;
mod nosec;
mod observe;
mod response;
mod route;
mod target;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use antiphon_wire::{Code, Message, OptionNumber, Type};

use crate::block::{IncompleteBodies, KeptBodies};
use crate::identity::{Arrival, SecurityMode, Sender, Standing};
use crate::membership::{
    ApplicationGroupId, CoapGroup, GroupSecurity, Memberships, RequestUri, is_host_name,
};
use crate::message::Response;
use crate::path::Path;
use crate::policy::{
    AccessRequest, GroupPolicy, Leisure, NoSecPolicy, Oversize, Suppressed, Suppression,
};
use crate::resource::table::Resources;
use crate::resource::{ETag, Entry, Incoming, Operation, Resource, ResourceError, ResourceId};
use crate::rng::{KeyedHash, Rng};
use crate::time::Instant;

pub use admission::{Admission, Demanded, GroupModeByUnicast, Known, Reachability};
use admission::{EchoValue, Echoes, is_redirected};
use asked::{Asked, success};
pub(crate) use block::NotedOperation;
#[cfg(feature = "oscore")]
pub(crate) use block::assemble;
use block::{Blocks, Known as KnownBy, Part};
pub use config::{Discoverable, Onboarding, ServerConfig};
pub use disposition::{Context, Deferred, Disposition, ServerCounters, SilenceReason};
pub use member::{MEMBER_ADDRESS, MEMBER_ADDRESS_TYPE};
use negotiate::negotiate;
pub use nosec::NoSecResource;
use observe::{Asks, Wish};
pub(crate) use observe::{
    DEREGISTER, Kept, ObserverId, Observers, Taken, Turn, is_success, observe_of,
};
pub use observe::{ObserveConfig, ObserverCounters};
pub(crate) use response::encoded_len;
use response::{represent, revalidate};
use target::Target;

/// So many entity tags of a request are compared; a client that sends more gets the representation.
pub(crate) const ETAGS_KEPT: usize = 32;

/// What the diagnostic text of a refusal says.
const NEEDS_SECURITY: &str = "this resource needs security";

/// The server half of an endpoint.
pub struct Server {
    config: ServerConfig,
    memberships: Memberships,
    resources: Resources,
    discovery: Option<ResourceId>,
    counters: ServerCounters,
    echoes: Echoes,
    /// Own unicast addresses.
    addresses: Vec<SocketAddr>,
    incomplete: IncompleteBodies,
    kept: KeptBodies,
    /// Makes entity tags; no other server makes the same.
    tags: KeyedHash,
    observers: Observers,
    /// Draws the delays of answers to group requests.
    rng: Rng,
    scratch: String,
}

impl Server {
    /// A server without resources of its own. The hash key and the seed of the delays come from `rng`.
    pub fn new(config: ServerConfig, rng: &mut Rng) -> Self {
        let mut seed = [0; 32];
        rng.fill(&mut seed);
        let mut memberships = Memberships::new(config.memberships.clone(), rng);
        memberships.serve_discovery(config.discoverable == Discoverable::All);
        let mut resources = Resources::new(rng.keyed_hash());
        let well_known = Resource::discovery().group_policy(config.discovery.clone());
        let discovery = Some(resources.insert(Entry {
            resource: well_known,
            groups: Vec::new(),
        }));
        Self {
            incomplete: IncompleteBodies::new(config.blocks.clone()),
            kept: KeptBodies::new(config.blocks.clone(), [(); 2].map(|()| rng.keyed_hash())),
            tags: rng.keyed_hash(),
            observers: Observers::new(config.observe.clone(), rng),
            config,
            memberships,
            resources,
            discovery,
            counters: ServerCounters::default(),
            echoes: Echoes::new(rng),
            addresses: Vec::new(),
            rng: Rng::from_seed(seed),
            scratch: String::new(),
        }
    }

    /// Offers a resource from now on.
    ///
    /// # Errors
    /// Whatever is wrong with it; it is not added then.
    pub fn add(&mut self, mut resource: Resource) -> Result<ResourceId, ResourceError> {
        resource.say_observable();
        if resource.methods.is_empty() {
            return Err(ResourceError::NoMethod);
        }
        if resource.ambiguous {
            return Err(ResourceError::MethodTwice);
        }
        if resource.sensitive && resource.access.is_open() {
            return Err(ResourceError::SensitiveWithoutSecurity);
        }
        if resource.access.is_open() && self.config.nosec != NoSecPolicy::Stated {
            return Err(ResourceError::UnsecuredNotStated);
        }
        let is_segment =
            |segment: &String| segment.len() <= 255 && !matches!(segment.as_str(), "." | "..");
        if !resource.path.iter().all(is_segment) {
            return Err(ResourceError::Path);
        }
        if !resource.host.as_deref().is_none_or(is_host_name) {
            return Err(ResourceError::HostName);
        }
        if !resource.attributes.is_well_formed() {
            return Err(ResourceError::Attribute);
        }
        let mut groups = Vec::new();
        for name in &resource.groups {
            let group = self
                .memberships
                .application_named(name)
                .ok_or(ResourceError::UnknownApplicationGroup)?;
            groups.push(group.id());
        }
        // The resource for discovery is the server's own and counts for nothing.
        if self.resources.len() > self.config.resources {
            return Err(ResourceError::Full);
        }
        let entry = Entry { resource, groups };
        let path = || entry.resource.path.iter().map(String::as_bytes);
        let host = entry.resource.host.as_deref().map(str::as_bytes);
        let taken = self.resources.find(host, path(), |other| {
            let both = |id: &ApplicationGroupId| {
                let id = self.memberships.canonical(*id);
                other
                    .groups
                    .iter()
                    .any(|other| self.memberships.canonical(*other) == id)
            };
            match (entry.groups.is_empty(), other.groups.is_empty()) {
                (true, true) => true,
                (false, false) => entry.groups.iter().any(both),
                _ => false,
            }
        });
        match taken {
            Some(_) => Err(ResourceError::PathTaken),
            None => Ok(self.resources.insert(entry)),
        }
    }

    /// Offers a resource no more; false if there is none of this name. Discovery is switched by [`set_discoverable`](Self::set_discoverable) instead.
    pub fn remove(&mut self, id: ResourceId) -> bool {
        self.observers.changed(id);
        self.discovery != Some(id) && self.resources.remove(id)
    }

    /// Sets the tag of a resource's present representation, which If-Match is compared with; false if there is none of this name.
    pub fn set_etag(&mut self, id: ResourceId, tag: Option<ETag>) -> bool {
        self.resources
            .get_mut(id)
            .map(|entry| entry.resource.etag = tag)
            .is_some()
    }

    /// Replaces what a resource does with group requests; false if there is none of this name.
    pub fn set_group_policy(&mut self, id: ResourceId, policy: GroupPolicy) -> bool {
        self.resources
            .get_mut(id)
            .map(|entry| entry.resource.group_policy = policy)
            .is_some()
    }

    /// Changes which discovery requests are answered, and with it whether the endpoint listens to All CoAP Nodes.
    pub fn set_discoverable(&mut self, discoverable: Discoverable) {
        self.config.discoverable = discoverable;
        self.memberships
            .serve_discovery(discoverable == Discoverable::All);
    }

    /// Opens or closes the onboarding window.
    pub fn set_onboarding(&mut self, onboarding: Option<Onboarding>) {
        self.config.onboarding = onboarding;
    }

    /// Changes how far the server opens itself to messages without security, for requests from now on. Resources
    /// that are open stay, and are out of reach unless the policy is [`NoSecPolicy::Stated`].
    pub fn set_nosec(&mut self, policy: NoSecPolicy) {
        self.config.nosec = policy;
    }

    /// Changes the leisure that holds where neither resource nor group has one, for requests from now on.
    pub fn set_leisure(&mut self, leisure: Leisure) {
        self.config.leisure = Some(leisure);
    }

    /// The table of groups.
    pub fn memberships(&self) -> &Memberships {
        &self.memberships
    }

    /// The table of groups, to change it.
    pub fn memberships_mut(&mut self) -> &mut Memberships {
        &mut self.memberships
    }

    /// How the server is set up.
    pub fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// What it has done so far.
    pub fn counters(&self) -> &ServerCounters {
        &self.counters
    }

    /// The path of a resource.
    pub fn path_of(&self, id: ResourceId) -> Option<String> {
        self.resources
            .get(id)
            .map(|entry| path_text(&entry.resource.path))
    }

    /// Processes a request that is no duplicate. `response` is reused from call to call; what is in it
    /// afterwards counts only if the disposition is to respond.
    ///
    /// Nothing is allocated for a unicast request whose handler allocates nothing.
    pub fn handle_request(
        &mut self,
        now: Instant,
        path: &Path,
        sender: &Sender,
        message: &Message<'_>,
        response: &mut Response,
    ) -> Disposition {
        self.handle_request_of(now, path, &Standing::of(sender), message, response)
    }

    /// As [`handle_request`](Self::handle_request), with all that security knows of the sender.
    pub fn handle_request_of(
        &mut self,
        now: Instant,
        path: &Path,
        standing: &Standing<'_>,
        message: &Message<'_>,
        response: &mut Response,
    ) -> Disposition {
        self.counters.requests += 1;
        self.counters.group_requests += u64::from(path.is_multicast());
        let disposition = match self.route(now, path, standing, message, response, None) {
            Outcome::Processed(context) => {
                let known = KnownBy::Request(Part::of(path, standing, message));
                let disposition = self.conclude(now, &context, &known, response);
                if context.observer.is_none() && !is_success(response) {
                    self.not_registered(path, standing.sender, message);
                }
                disposition
            }
            Outcome::Challenge(context) => self.challenge(&context, response),
            Outcome::Silence(reason) => Disposition::Silence(reason),
            Outcome::Deferred(deferred) => Disposition::Deferred(deferred),
        };
        self.counters.count(&disposition);
        disposition
    }

    /// Applies policy to the response of a deferred handler.
    pub fn finish(
        &mut self,
        now: Instant,
        context: &Context,
        response: &mut Response,
    ) -> Disposition {
        let known = KnownBy::Noted(context.operation.as_deref());
        let disposition = self.conclude(now, context, &known, response);
        self.counters.count(&disposition);
        disposition
    }

    /// How long an answer that is not a resource's own, such as a challenge, is held back: drawn from the leisure of
    /// the group that the request came through, zero for unicast.
    pub fn draw_leisure(&mut self, path: &Path, mode: SecurityMode) -> Duration {
        if !path.is_multicast() {
            return Duration::ZERO;
        }
        let coap = self.memberships.membership(path.local, path.interface);
        let interval = self.leisure(coap, None, mode).interval();
        self.rng.duration_up_to(interval)
    }

    /// The leisure of the resource, else of the group, else of the server, else the default for the protection.
    fn leisure(
        &self,
        coap: Option<&CoapGroup>,
        policy: Option<&GroupPolicy>,
        mode: SecurityMode,
    ) -> Leisure {
        policy
            .and_then(GroupPolicy::own_leisure)
            .or_else(|| coap?.leisure())
            .or(self.config.leisure)
            .unwrap_or(Leisure::default_for(mode))
    }

    /// The route of a response.
    fn conclude(
        &mut self,
        now: Instant,
        context: &Context,
        known: &KnownBy<'_, '_>,
        response: &mut Response,
    ) -> Disposition {
        if let Some(id) = context.changes.filter(|_| is_success(response)) {
            self.observers.changed(id);
        }
        let disposition = self.weigh(now, context, known, response);
        self.settle(now, context, &disposition, response);
        disposition
    }

    fn weigh(
        &mut self,
        now: Instant,
        context: &Context,
        known: &KnownBy<'_, '_>,
        response: &mut Response,
    ) -> Disposition {
        if response.code == Code::EMPTY {
            return Disposition::Silence(SilenceReason::Handler);
        }
        if response.code.response_class().is_none() {
            response.reset(Code::INTERNAL_SERVER_ERROR);
        }
        self.tag(context, response);
        revalidate(context, response);
        represent(context, response);
        self.number(now, context, response);
        if let Some(silence) = self.silence(context, response) {
            return silence;
        }
        let whole = response.code;
        self.cut(now, context, known, response);
        // The block that is asked for may be none.
        if response.code != whole
            && let Some(silence) = self.silence(context, response)
        {
            return silence;
        }
        if context.group && response.payload.len() > context.limit {
            if response.code.response_class() != Some(antiphon_wire::Class::Success) {
                // An error says what it has to say without its diagnostic text.
                response.payload.clear();
            } else if context.oversize == Oversize::Tell {
                response.reset(Code::NOT_IMPLEMENTED);
            } else {
                return Disposition::Silence(SilenceReason::TooLarge);
            }
        }
        if encoded_len(context.token_length, response) > context.largest {
            return match (context.wish, context.challenge) {
                (Wish::Notification, _) => {
                    // Who registers again is challenged; in person at once.
                    response.reset(Code::SERVICE_UNAVAILABLE);
                    response.options.push_uint(OptionNumber::MAX_AGE, 0);
                    self.respond(context)
                }
                (_, true) => self.challenge(context, response),
                (_, false) => Disposition::Silence(SilenceReason::Amplification),
            };
        }
        self.respond(context)
    }

    /// The response is not wanted.
    fn silence(&self, context: &Context, response: &Response) -> Option<Disposition> {
        let suppressed = self.suppressed(context, response)?;
        Some(Disposition::Silence(match suppressed {
            Suppressed::ByGroup => SilenceReason::Policy,
            Suppressed::ByRequest => SilenceReason::NoResponse,
            Suppressed::Empty => SilenceReason::Empty,
        }))
    }

    fn respond(&mut self, context: &Context) -> Disposition {
        Disposition::Respond {
            leisure: self.rng.duration_up_to(context.leisure),
            port: context.port,
        }
    }

    /// A challenge in place of a response. The default suppression of errors does not concern it, and it is small.
    fn challenge(&mut self, context: &Context, response: &mut Response) -> Disposition {
        let Some(value) = context.echo else {
            return Disposition::Challenge {
                leisure: self.rng.duration_up_to(context.leisure),
            };
        };
        response.reset(Code::UNAUTHORIZED);
        response.options.push(OptionNumber::ECHO, &value);
        self.respond(context)
    }

    /// What policy needs to know of a request under this group policy.
    fn context(&self, asking: &Asking<'_, '_>, policy: &GroupPolicy) -> Context {
        let Asking {
            coap,
            path,
            message,
            asked,
            ..
        } = *asking;
        let proven = asking.standing.sender.is_proven();
        let (largest, challenge) = self.largest(asking, policy);
        let may_narrow = proven || self.config.nosec_no_response_full;
        let leisure = self.leisure(coap, Some(policy), asking.standing.mode);
        Context {
            group: coap.is_some(),
            suppression: match coap {
                Some(_) => Suppression::group(policy, asked.no_response, may_narrow),
                None => Suppression::unicast(asked.no_response),
            },
            leisure: match coap {
                Some(_) => leisure.interval(),
                None => Duration::ZERO,
            },
            port: path.local.port(),
            limit: policy
                .own_limit()
                .unwrap_or(self.config.group_answer_limit()),
            oversize: policy.on_oversize(),
            largest,
            challenge,
            echo: asking.echo,
            token_length: message.token().len(),
            safe: matches!(message.code(), Code::GET | Code::FETCH),
            accept: asked.accept,
            block1: asked.block1,
            block2: asked.block2,
            size2: asked.size2,
            cut: false,
            operation: None,
            tagged: false,
            etags: self.etags(asked, message, path),
            wish: Wish::None,
            observer: None,
            changes: None,
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("config", &self.config)
            .field("resources", &self.resources.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// How far a request came.
enum Outcome {
    /// There is a response, before policy.
    Processed(Context),
    /// The sender must first send an Echo value back.
    Challenge(Context),
    Silence(SilenceReason),
    Deferred(Box<Deferred>),
}

/// A request on its way, as policy needs to know it.
#[derive(Clone, Copy)]
struct Asking<'a, 'm> {
    coap: Option<&'a CoapGroup>,
    path: &'a Path,
    standing: &'a Standing<'a>,
    /// The sender is known to be reachable at its source address.
    reachable: bool,
    /// The Echo value for a sender that proves nothing.
    echo: Option<EchoValue>,
    message: &'a Message<'m>,
    asked: &'a Asked<'m>,
}

/// No answer through a group; by unicast 4.03 to a sender without permission and 4.01 to one without (the right) security.
fn turn_away(
    response: &mut Response,
    context: Context,
    reason: SilenceReason,
    text: &str,
) -> Outcome {
    if context.group {
        return Outcome::Silence(reason);
    }
    let code = match reason {
        SilenceReason::NotPermitted => Code::FORBIDDEN,
        _ => Code::UNAUTHORIZED,
    };
    refuse(response, context, code, text)
}

/// Has this proven sender permission, by the resource's access and by the application's own rule?
fn is_permitted(resource: &Resource, request: &AccessRequest<'_>) -> bool {
    let by_access = match request.sender {
        Sender::Proven(identity) => resource.access.allows(identity, request.method),
        Sender::Unauthenticated => false,
    };
    by_access && resource.permits.as_ref().is_none_or(|rule| rule(request))
}

/// An error response with a text for people (RFC 7252 section 5.5.2).
fn refuse(response: &mut Response, context: Context, code: Code, text: &str) -> Outcome {
    response.reset(code);
    response.payload.extend_from_slice(text.as_bytes());
    Outcome::Processed(context)
}

fn path_text(segments: &[String]) -> String {
    let mut text = String::new();
    for segment in segments {
        text.push('/');
        text.push_str(segment);
    }
    if text.is_empty() {
        text.push('/');
    }
    text
}

#[cfg(test)]
mod tests;
