//! Resources: what a server offers at a path, to whom, and what answers.

pub(crate) mod table;

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::BitOr;

use antiphon_wire::{Code, ContentFormat, Message, OptionNumber};

use crate::attributes::Attributes;
use crate::identity::Arrival;
use crate::membership::{ApplicationGroupId, SecurityGroupName, segments};
use crate::message::Response;
use crate::policy::{Access, AccessRequest, GroupPolicy};

/// An application's rule about proven senders.
pub(crate) type Permits = dyn Fn(&AccessRequest<'_>) -> bool + Send;

/// Names one resource of a server; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// A set of methods.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Methods(u8);

impl Methods {
    /// No method.
    pub const NONE: Self = Self(0);
    /// GET.
    pub const GET: Self = Self::one(Code::GET);
    /// POST.
    pub const POST: Self = Self::one(Code::POST);
    /// PUT.
    pub const PUT: Self = Self::one(Code::PUT);
    /// DELETE.
    pub const DELETE: Self = Self::one(Code::DELETE);
    /// FETCH (RFC 8132).
    pub const FETCH: Self = Self::one(Code::FETCH);
    /// PATCH (RFC 8132).
    pub const PATCH: Self = Self::one(Code::PATCH);
    /// iPATCH (RFC 8132).
    pub const IPATCH: Self = Self::one(Code::IPATCH);
    /// All seven.
    pub const ALL: Self = Self(0xfe);

    /// The set of this one method; none for a code that is no method.
    pub const fn one(method: Code) -> Self {
        match method.to_u8() {
            detail @ 1..=7 => Self(1 << detail),
            _ => Self::NONE,
        }
    }

    /// Is this method in the set?
    pub const fn contains(self, method: Code) -> bool {
        self.0 & Self::one(method).0 != 0
    }

    /// Is no method in the set?
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The methods in the set, by number.
    pub fn iter(self) -> impl Iterator<Item = Code> {
        (1..=7)
            .map(Code::from_u8)
            .filter(move |method| self.contains(*method))
    }

    const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Methods {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// A request as a handler sees it.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The message: method, options, payload.
    pub message: &'a Message<'a>,
    /// Through which group, address and interface it came, and who is proven to have sent it.
    pub arrival: &'a Arrival,
    /// The resource it is for.
    pub resource: ResourceId,
    /// It came earlier, from an observer, and is asked again for a notification.
    pub notification: bool,
}

impl<'a> Incoming<'a> {
    /// The method.
    pub fn method(&self) -> Code {
        self.message.code()
    }

    /// The payload; empty if there is none.
    pub fn payload(&self) -> &'a [u8] {
        self.message.payload()
    }

    /// The query parameters, in order.
    pub fn query(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.message.options_of(OptionNumber::URI_QUERY)
    }

    /// The application group that the request is for, by name.
    pub fn application_group(&self) -> Option<&'a str> {
        self.arrival.group.as_ref()?.application_group.as_deref()
    }
}

/// Answers requests at once, on arrival. What takes long is declared with [`Resource::deferred`] instead.
pub trait Handler: Send {
    /// Processes the request. `response` comes empty, with the usual code of success for the method (2.05 for
    /// GET and FETCH, 2.04 for POST, PUT, PATCH and iPATCH, 2.02 for DELETE). Setting its code to
    /// [`Code::EMPTY`] means that there is nothing to say: no response is sent.
    fn handle(&mut self, request: &Incoming<'_>, response: &mut Response);
}

impl<F: FnMut(&Incoming<'_>, &mut Response) + Send> Handler for F {
    fn handle(&mut self, request: &Incoming<'_>, response: &mut Response) {
        self(request, response);
    }
}

/// An entity tag: 1 to 8 bytes that identify one representation (RFC 7252 section 5.10.6).
///
/// A tag that a handler gives is sent as it is. Where groups may ask for the resource it must differ from those of other
/// servers with high probability (groupcomm-bis section 3.2.2.1): a counter of versions alone does not, since the
/// second version is `2` everywhere. [`Resource::tagged`] makes tags that do.
///
/// Nor may a tag come again for something else after a restart, as that of a counter which begins anew: a client that was fetching
/// blocks meanwhile knows by the tag alone that those it has are of another representation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ETag {
    bytes: [u8; 8],
    len: u8,
}

impl ETag {
    /// The tag of these bytes; `None` unless there are 1 to 8.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let len = u8::try_from(bytes.len()).ok().filter(|len| *len > 0)?;
        let mut tag = [0; 8];
        tag.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self { bytes: tag, len })
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// What processes a method of a resource.
pub(crate) enum Operation {
    /// Called on arrival.
    Inline(Box<dyn Handler>),
    /// Handed to the application as an event.
    Deferred,
    /// `/.well-known/core`.
    Discovery,
    /// The links of the resources below this one.
    Links,
    /// The address of this member.
    MemberAddress,
}

/// What a server offers at one path. Built, then given to [`Server::add`](crate::Server::add).
pub struct Resource {
    pub(crate) path: Vec<String>,
    pub(crate) host: Option<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) methods: Methods,
    pub(crate) operations: Vec<(Methods, Operation)>,
    pub(crate) attributes: Attributes,
    pub(crate) produces: Vec<ContentFormat>,
    pub(crate) consumes: Vec<ContentFormat>,
    pub(crate) recognised: Vec<OptionNumber>,
    pub(crate) listed: bool,
    pub(crate) access: Access,
    pub(crate) sensitive: bool,
    pub(crate) permits: Option<Box<Permits>>,
    pub(crate) security_groups: Vec<SecurityGroupName>,
    pub(crate) fresh: Methods,
    pub(crate) etag: Option<ETag>,
    pub(crate) own_preconditions: bool,
    pub(crate) tagged: bool,
    pub(crate) group_policy: GroupPolicy,
    pub(crate) observable: bool,
    /// A method was given two handlers.
    pub(crate) ambiguous: bool,
}

impl Resource {
    /// A resource at this path: `/` divides segments, and each is taken literally (no percent-decoding).
    ///
    /// Without further statements it is listed in discovery, needs a proven sender and ignores group requests.
    pub fn at(path: &str) -> Self {
        Self {
            path: segments(path).map(ToOwned::to_owned).collect(),
            host: None,
            groups: Vec::new(),
            methods: Methods::NONE,
            operations: Vec::new(),
            attributes: Attributes::new(),
            produces: Vec::new(),
            consumes: Vec::new(),
            recognised: Vec::new(),
            listed: true,
            access: Access::Verified,
            sensitive: false,
            permits: None,
            security_groups: Vec::new(),
            fresh: Methods::NONE,
            etag: None,
            own_preconditions: false,
            tagged: false,
            group_policy: GroupPolicy::unsupported(),
            observable: false,
            ambiguous: false,
        }
    }

    /// A resource that answers GET with the links of the listed resources below it. In discovery by an
    /// unfiltered group request only such top-level links appear (RFC 6690 section 5). Like every other resource
    /// it needs a proven sender unless its access says otherwise.
    pub fn links(path: &str) -> Self {
        Self::at(path)
            .operation(Methods::GET, Operation::Links)
            .produces(ContentFormat::LINK_FORMAT)
    }

    /// A resource that tells members of the security group where the member of a Sender ID is reached: only the one that is meant
    /// answers (draft-ietf-core-oscore-groupcomm-28 section 8.1). Asked with `GET PATH?kid=HEX`; see
    /// [`MEMBER_ADDRESS`](crate::MEMBER_ADDRESS) for the usual path. It is never open to anyone without security.
    pub fn member_address(path: &str) -> Self {
        Self::at(path)
            .operation(Methods::GET, Operation::MemberAddress)
            .attributes(Attributes::new().rt(crate::MEMBER_ADDRESS_TYPE))
            .produces(ContentFormat::LINK_FORMAT)
            .group_policy(GroupPolicy::respond())
            .sensitive()
    }

    pub(crate) fn discovery() -> Self {
        Self::at("/.well-known/core")
            .operation(Methods::GET | Methods::FETCH, Operation::Discovery)
            .produces(ContentFormat::LINK_FORMAT)
            .hidden()
    }

    /// GET calls this.
    #[must_use]
    pub fn get(self, handler: impl FnMut(&Incoming<'_>, &mut Response) + Send + 'static) -> Self {
        self.on(Methods::GET, handler)
    }

    /// POST calls this.
    #[must_use]
    pub fn post(self, handler: impl FnMut(&Incoming<'_>, &mut Response) + Send + 'static) -> Self {
        self.on(Methods::POST, handler)
    }

    /// PUT calls this.
    #[must_use]
    pub fn put(self, handler: impl FnMut(&Incoming<'_>, &mut Response) + Send + 'static) -> Self {
        self.on(Methods::PUT, handler)
    }

    /// DELETE calls this.
    #[must_use]
    pub fn delete(
        self,
        handler: impl FnMut(&Incoming<'_>, &mut Response) + Send + 'static,
    ) -> Self {
        self.on(Methods::DELETE, handler)
    }

    /// FETCH calls this.
    #[must_use]
    pub fn fetch(self, handler: impl FnMut(&Incoming<'_>, &mut Response) + Send + 'static) -> Self {
        self.on(Methods::FETCH, handler)
    }

    /// PATCH calls this.
    #[must_use]
    pub fn patch(self, handler: impl FnMut(&Incoming<'_>, &mut Response) + Send + 'static) -> Self {
        self.on(Methods::PATCH, handler)
    }

    /// iPATCH calls this.
    #[must_use]
    pub fn ipatch(
        self,
        handler: impl FnMut(&Incoming<'_>, &mut Response) + Send + 'static,
    ) -> Self {
        self.on(Methods::IPATCH, handler)
    }

    /// These methods call this handler.
    #[must_use]
    pub fn on(self, methods: Methods, handler: impl Handler + 'static) -> Self {
        self.operation(methods, Operation::Inline(Box::new(handler)))
    }

    /// These methods are handed to the application, which answers in its own time.
    #[must_use]
    pub fn deferred(self, methods: Methods) -> Self {
        self.operation(methods, Operation::Deferred)
    }

    /// What the links of this resource say about it.
    #[must_use]
    pub fn attributes(mut self, attributes: Attributes) -> Self {
        self.attributes = attributes;
        self
    }

    /// A Content-Format in which it is represented; may be given several times. It appears as `ct`, and an
    /// Accept option with none of the declared formats is answered with 4.06.
    #[must_use]
    pub fn produces(mut self, format: ContentFormat) -> Self {
        self.produces.push(format);
        self
    }

    /// A Content-Format that it takes; may be given several times. A payload in none of the declared formats
    /// is answered with 4.15; one without Content-Format is taken for a declared one (RFC 7252 section 5.5.1).
    #[must_use]
    pub fn consumes(mut self, format: ContentFormat) -> Self {
        self.consumes.push(format);
        self
    }

    /// A critical option that its handler understands beyond those that every server does.
    #[must_use]
    pub fn recognises(mut self, option: OptionNumber) -> Self {
        self.recognised.push(option);
        self
    }

    /// It does not appear in discovery.
    #[must_use]
    pub fn hidden(mut self) -> Self {
        self.listed = false;
        self
    }

    /// Who may use it.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// A rule of the application's own, asked when `access` lets a proven sender pass: false refuses the request, as
    /// for a sender without permission. It is not asked for senders that prove nothing.
    #[must_use]
    pub fn permits(mut self, rule: impl Fn(&AccessRequest<'_>) -> bool + Send + 'static) -> Self {
        self.permits = Some(Box::new(rule));
        self
    }

    /// Requests are accepted under this security group; may be given several times. Where none is given, those of
    /// its application groups hold, and where these have none, any (groupcomm-bis-18 section 2.1.3). This pairs
    /// contexts with resources and is no means to give permissions: see [`access`](Self::access).
    #[must_use]
    pub fn secured(mut self, by: SecurityGroupName) -> Self {
        self.security_groups.push(by);
        self
    }

    /// Requests with these methods must be fresh: a sender whose freshness is not known is challenged with an Echo
    /// value, and the handler runs for its next request (RFC 9175 section 2.3). They need a proven sender, because
    /// only a protected Echo proves freshness.
    #[must_use]
    pub fn fresh(mut self, methods: Methods) -> Self {
        self.fresh = self.fresh | methods;
        self
    }

    /// It must never be reachable without security: an access that is open to anyone is an error.
    #[must_use]
    pub fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    /// What it does with requests that come through a group.
    #[must_use]
    pub fn group_policy(mut self, policy: GroupPolicy) -> Self {
        self.group_policy = policy;
        self
    }

    /// GET and FETCH with an Observe option make their sender an observer (RFC 7641): it is notified of the newest state
    /// whenever the resource has changed, by one of its other methods or as [`Server::changed`](crate::Server::changed)
    /// says. For a notification the handler is called with the request that the observer registered with, so a GET that
    /// changes something is not for this. Links say `obs`. How many there may be: [`ObserveConfig`](crate::ObserveConfig).
    #[must_use]
    pub fn observable(mut self) -> Self {
        self.observable = true;
        self
    }

    /// Links of an observable resource say so (RFC 7641 section 6).
    pub(crate) fn say_observable(&mut self) {
        if self.observable && self.attributes.get("obs").is_none() {
            self.attributes = core::mem::take(&mut self.attributes).flag("obs");
        }
    }

    /// It belongs to this application group, which must exist; may be given several times. Its path is then
    /// relative to the group: where the path names the group, `light` is found at `/gp/NAME/light`.
    #[must_use]
    pub fn in_group(mut self, application_group: &str) -> Self {
        self.groups.push(application_group.to_owned());
        self
    }

    /// It belongs to the virtual server of this host name: only requests with this Uri-Host find it.
    #[must_use]
    pub fn host(mut self, name: &str) -> Self {
        self.host = Some(name.to_ascii_lowercase());
        self
    }

    /// The tag of its present representation, which If-Match is compared with. [`Server::set_etag`](crate::Server::set_etag) changes it.
    #[must_use]
    pub fn etag(mut self, tag: ETag) -> Self {
        self.etag = Some(tag);
        self
    }

    /// Each of its representations gets an entity tag, unless its handler gives it one: 8 bytes made of the representation
    /// and of a secret of the server, so that no other server has the same (groupcomm-bis section 3.2.2.1). With it clients
    /// validate what they have stored. A response in blocks gets one in any case.
    #[must_use]
    pub fn tagged(mut self) -> Self {
        self.tagged = true;
        self
    }

    /// Its handler evaluates If-Match and If-None-Match itself.
    #[must_use]
    pub fn evaluates_preconditions(mut self) -> Self {
        self.own_preconditions = true;
        self
    }

    fn operation(mut self, methods: Methods, operation: Operation) -> Self {
        self.ambiguous |= self.methods.intersects(methods);
        self.methods = self.methods | methods;
        self.operations.push((methods, operation));
        self
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource")
            .field("path", &self.path)
            .field("methods", &self.methods)
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

/// Why a resource is not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceError {
    /// There is a resource at this path (and host) already.
    PathTaken,
    /// A path segment is longer than 255 bytes or is `.` or `..`.
    Path,
    /// It has no method.
    NoMethod,
    /// A method was given twice.
    MethodTwice,
    /// It is sensitive, and its access does not demand a proven sender.
    SensitiveWithoutSecurity,
    /// Its access opens it to senders that prove nothing, and the server does not state that it is unsecured
    /// ([`NoSecPolicy::Stated`](crate::NoSecPolicy::Stated)).
    UnsecuredNotStated,
    /// An application group that it belongs to does not exist.
    UnknownApplicationGroup,
    /// The virtual server's name is no host name.
    HostName,
    /// An attribute cannot be written as link-format.
    Attribute,
    /// The limit on resources is reached.
    Full,
}

impl fmt::Display for ResourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PathTaken => "there is a resource at this path already",
            Self::Path => "a path segment is too long, or is . or ..",
            Self::NoMethod => "the resource has no method",
            Self::MethodTwice => "a method is given twice",
            Self::SensitiveWithoutSecurity => {
                "a sensitive resource must not be reachable without security"
            }
            Self::UnsecuredNotStated => {
                "the resource is open without security, and the server does not state that it is unsecured"
            }
            Self::UnknownApplicationGroup => "no such application group",
            Self::HostName => "not a host name",
            Self::Attribute => "an attribute cannot be written as link-format",
            Self::Full => "too many resources",
        })
    }
}

impl core::error::Error for ResourceError {}

/// A resource in the server's table.
pub(crate) struct Entry {
    pub(crate) resource: Resource,
    /// The application groups of the resource, by identifier.
    pub(crate) groups: Vec<ApplicationGroupId>,
}

impl Entry {
    /// Is this the resource at these segments?
    pub(crate) fn is_at<'m>(
        &self,
        host: Option<&[u8]>,
        mut path: impl Iterator<Item = &'m [u8]>,
    ) -> bool {
        let same_host = match (&self.resource.host, host) {
            (None, None) => true,
            (Some(own), Some(host)) => own.as_bytes().eq_ignore_ascii_case(host),
            _ => false,
        };
        same_host
            && self
                .resource
                .path
                .iter()
                .all(|segment| path.next() == Some(segment.as_bytes()))
            && path.next().is_none()
    }
}

#[cfg(test)]
mod tests;
