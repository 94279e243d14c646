//! A question to a group, before it is put.

use core::net::SocketAddr;
use core::time::Duration;

use antiphon_proto::{
    AnswerLimits, Caching, Completion, Expectation, FurtherBlocks, GroupRequest, GroupTarget,
    Leisure, NoSec, ObserveRequest, Observed, Options, Repeat, Request, Security,
};
use antiphon_wire::{Code, ContentFormat, OptionNumber, Uri};

use super::what::what_is_asked;
use super::{Client, Collection, Observation, Observing, Protecting};
use crate::driver::Link;
use crate::egress::{self, Wishes};
use crate::error::{AskError, ResolveError};
use crate::request::uri_options;
use crate::resolve::{Kind, resolve};
use crate::security_group::{SecurityGroup, group_id};

/// A question to a group: what is asked, how long answers are collected, who is expected. [`send`](Self::send) puts it.
///
/// Defaults: GET, answers collected for 10 s or until all expected members have answered, sent once, no completion.
#[must_use = "a call does nothing until it is sent"]
pub struct GroupCall {
    client: Client,
    uri: String,
    request: Request,
    security: Protecting<SecurityGroup>,
    leisure: Option<Duration>,
    deadline: Option<Duration>,
    interfaces: Vec<String>,
    only: Vec<SocketAddr>,
    also: Vec<SocketAddr>,
    /// Everything else, with targets and request left open.
    shape: GroupRequest,
}

impl GroupCall {
    pub(super) fn new(client: Client, uri: String) -> Self {
        let nowhere = GroupTarget {
            group: SocketAddr::from(([0, 0, 0, 0], 0)),
            socket: antiphon_proto::SocketId(0),
            interface: 0,
        };
        let shape = GroupRequest::new(
            Request::new(Code::GET),
            nowhere,
            Security::Unsecured(NoSec::Discovery),
        );
        Self {
            client,
            uri,
            request: Request::new(Code::GET),
            security: Protecting::NotStated,
            leisure: None,
            deadline: None,
            interfaces: Vec::new(),
            only: Vec::new(),
            also: Vec::new(),
            shape,
        }
    }

    // ---- what is asked ----

    what_is_asked! {
        /// Neither repeated nor completed unless [`idempotent`](Self::idempotent) is stated.
    }

    /// The request is protected for this security group: signed and encrypted, in group mode. Only answers that are proven to come from its
    /// members count. Silent members are asked in person in pairwise mode.
    pub fn secure(mut self, group: &SecurityGroup) -> Self {
        self.security = self.security.and(Protecting::Secured(group.clone()));
        self
    }

    /// The request is not protected, for this reason. There is no default: with neither this nor [`secure`](Self::secure), and with both,
    /// [`send`](Self::send) refuses.
    pub fn unsecured(mut self, reason: NoSec) -> Self {
        self.security = self.security.and(Protecting::Unsecured(reason));
        self
    }

    // ---- who is expected, and for how long ----

    /// These members are expected: the collection ends when all have answered, and its outcome names who is missing.
    pub fn expect(mut self, members: Expectation) -> Self {
        self.shape.expect = members;
        self
    }

    /// The current members of the group are expected, as the client's
    /// [oracle](super::Client::set_membership_oracle) knows them when the call is sent.
    pub fn expect_current(self) -> Self {
        self.expect(Expectation::current())
    }

    /// Answers are collected for this long after the last transmission. Default 10 s without security; in a security group, the
    /// [leisure](Self::leisure) and 5 s.
    pub fn collect_for(mut self, duration: Duration) -> Self {
        self.deadline = Some(duration);
        self
    }

    /// The collection ends when this many distinct members have answered.
    pub fn count(mut self, members: usize) -> Self {
        self.shape.end.count = Some(members);
        self
    }

    /// Further answers are collected until the time is over, also when all expected members have answered.
    pub fn wait_for_everyone(mut self) -> Self {
        self.shape.end.when_all_expected = false;
        self
    }

    /// The request is sent more than once.
    pub fn repeat(mut self, repeat: Repeat) -> Self {
        self.shape.repeat = repeat;
        self
    }

    /// Expected members that stay silent are asked in person.
    pub fn complete(mut self, completion: Completion) -> Self {
        self.shape.completion = completion;
        self
    }

    /// A member may process the request twice without harm, although its method does not say so.
    pub fn idempotent(mut self) -> Self {
        self.shape.idempotent = true;
        self
    }

    /// Nobody shall answer: No-Response 26, nothing is collected, done when sent.
    pub fn silent(mut self) -> Self {
        self.shape.silent = true;
        self
    }

    /// Answers are wanted after all: undoes [`silent`](Self::silent), for resources that confirm a notification.
    pub fn confirm(mut self) -> Self {
        self.shape.silent = false;
        self
    }

    /// The longest leisure that the servers are expected to take. Default: 5 s without security; 20 s in a security group, 13 s
    /// in one that has no group mode.
    pub fn leisure(mut self, leisure: Duration) -> Self {
        self.leisure = Some(leisure);
        self
    }

    /// The expected round-trip time. Default 1 s.
    pub fn rtt(mut self, rtt: Duration) -> Self {
        self.shape.rtt = rtt;
        self
    }

    /// Late answers are still delivered for this long after the end, for members that sleep.
    pub fn late(mut self, duration: Duration) -> Self {
        self.shape.late = Some(duration);
        self
    }

    /// The outcome keeps the answers as well.
    pub fn keep_answers(mut self) -> Self {
        self.shape.keep_answers = true;
        self
    }

    /// Answers are kept in the client's cache, and those of earlier calls that are still fresh stand in for members that do
    /// not answer: [`How::Cached`](crate::How::Cached). Members whose answer is kept and not fresh any more may confirm it
    /// instead of sending it again. The group is asked all the same. For GET and FETCH.
    pub fn cached(self) -> Self {
        self.caching(Caching::default())
    }

    /// As [`cached`](Self::cached), with a choice: among others that nothing is sent when all expected members have a fresh
    /// answer in the cache.
    pub fn caching(mut self, caching: Caching) -> Self {
        self.shape.caching = Some(caching);
        self
    }

    /// How further blocks of answers are asked for, of which only the first has come. Default: of each member by unicast.
    pub fn further_blocks(mut self, how: FurtherBlocks) -> Self {
        self.shape.blocks = how;
        self
    }

    /// What the answers may take at most.
    pub fn limits(mut self, limits: AnswerLimits) -> Self {
        self.shape.limits = limits;
        self
    }

    // ---- where it goes ----

    /// It leaves by each of these interfaces (names, indices or addresses), as one collection. Default: the client's.
    pub fn interfaces<I: Into<String>>(mut self, interfaces: impl IntoIterator<Item = I>) -> Self {
        self.interfaces
            .extend(interfaces.into_iter().map(Into::into));
        self
    }

    /// Of the groups that the name stands for, only this one is asked. May be given several times.
    pub fn only(mut self, group: SocketAddr) -> Self {
        self.only.push(group);
        self
    }

    /// The same question goes to these groups as well, such as one group in several scopes: one collection, in which the
    /// answers of a member count as its own, whichever group it heard the question through. What the URI says beside the
    /// group's address is asked of all.
    pub fn also(mut self, groups: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.also.extend(groups);
        self
    }

    /// The groups that the URI stands for: several if its name resolves to several addresses.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub async fn groups(&self) -> Result<Vec<SocketAddr>, ResolveError> {
        let Ok(uri) = Uri::parse(&self.uri) else {
            return Ok(Vec::new()); // it was read when the call was made
        };
        let shared = self.client.shared();
        resolve(&uri, Kind::Group, &*shared.resolver, shared.lookup_limit).await
    }

    /// The targets: every group on every interface.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn targets(&self) -> Result<Vec<GroupTarget>, AskError> {
        let mut groups = self.groups().await?;
        if let Some(other) = self.only.iter().find(|only| !groups.contains(only)) {
            return Err(AskError::OtherGroup(*other));
        }
        groups.retain(|group| self.only.is_empty() || self.only.contains(group));
        for group in &self.also {
            if !groups.contains(group) {
                groups.push(*group);
            }
        }
        let shared = self.client.shared();
        let named = match self.interfaces.is_empty() {
            true => &shared.interfaces,
            false => &self.interfaces,
        };
        let mut named = named
            .iter()
            .map(|name| egress::named(name))
            .collect::<Result<Vec<_>, _>>()?;
        named.sort_unstable();
        named.dedup();
        let mut targets = Vec::new();
        for group in groups {
            let (socket, local) = shared.socket_for(group).ok_or(AskError::Family(group))?;
            let wishes = Wishes {
                named: &named,
                bound: Some(local.ip()),
            };
            let interfaces = egress::for_request(group, wishes)?;
            targets.extend(interfaces.into_iter().map(|interface| GroupTarget {
                group,
                socket,
                interface,
            }));
        }
        Ok(targets)
    }

    /// The request as it is sent, with the options of the URI.
    ///
    /// # Errors
    /// [`AskError::TooLong`].
    pub fn composed(&self, destination: SocketAddr) -> Result<Request, AskError> {
        let mut request = self.request.clone();
        let options = Uri::parse(&self.uri)
            .ok()
            .and_then(|uri| uri_options(&uri, destination))
            .ok_or(AskError::TooLong)?;
        merge(&mut request.options, &options);
        Ok(request)
    }

    /// Puts the question: resolves a name, chooses interfaces, and hands it to the client's task, which sends it as
    /// soon as the pace of the group allows.
    ///
    /// # Errors
    /// See [`AskError`]; nothing is sent then.
    pub async fn send(self) -> Result<Collection, AskError> {
        let (link, question) = self.prepared().await?;
        let weak = link.downgrade();
        link.call(move |driver, now| {
            driver.is_open()?;
            let id = driver.endpoint.collect(now, question)?;
            Ok(Collection::follow(driver, id, weak))
        })
        .await?
    }

    /// Observes the resource at every member of the group, by GET or FETCH (groupcomm-bis section 3.7). Of what was said of the
    /// call these count: what is asked, security, [`expect`](Self::expect), [`repeat`](Self::repeat), [`leisure`](Self::leisure),
    /// [`rtt`](Self::rtt), and where it goes.
    ///
    /// # Errors
    /// See [`AskError`]; nothing is sent then.
    pub async fn observe(self, how: Observing) -> Result<Observation, AskError> {
        let (link, question) = self.prepared().await?;
        let of = Observed::Group {
            targets: question.targets,
            security: question.security,
        };
        let request = ObserveRequest {
            of,
            expect: question.expect,
            repeat: question.repeat,
            leisure: question.leisure,
            rtt: question.rtt,
            ..how.applied_to(question.request)
        };
        let weak = link.downgrade();
        let of_member = request.limits.waiting_per_member;
        link.call(move |driver, now| {
            driver.is_open()?;
            let id = driver.endpoint.observe(now, request)?;
            Ok(Observation::follow(driver, id, of_member, weak))
        })
        .await?
    }

    /// Everything that is known of the question before it is put.
    async fn prepared(self) -> Result<(Link, GroupRequest), AskError> {
        let security = match &self.security {
            Protecting::NotStated => return Err(AskError::SecurityNotStated),
            Protecting::Twice => return Err(AskError::SecurityTwice),
            Protecting::Unsecured(reason) => Err(*reason),
            Protecting::Secured(group) => Ok(group.clone()),
        };
        let targets = self.targets().await?;
        let first = targets.first().map(|target| target.group);
        let request = self.composed(first.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0))))?;
        let link = self.client.link().clone();
        let mut end = self.shape.end;
        let (security, leisure) = match security {
            Err(reason) => {
                let leisure = self.leisure.unwrap_or(self.shape.leisure);
                (Security::Unsecured(reason), leisure)
            }
            Ok(group) => {
                let id = link.claim::<AskError>(group.held()).await?;
                let id = group_id(id).ok_or(AskError::SecurityNotStated)?;
                let leisure = self.leisure.unwrap_or_else(|| usual_leisure(&group));
                end.deadline = leisure.saturating_add(AFTER_LEISURE);
                (Security::Group(id), leisure)
            }
        };
        end.deadline = self.deadline.unwrap_or(end.deadline);
        let question = GroupRequest {
            request,
            targets,
            security,
            leisure,
            end,
            ..self.shape
        };
        Ok((link, question))
    }
}

/// So long after the leisure answers of a security group are still collected.
const AFTER_LEISURE: Duration = Duration::from_secs(5);

/// The leisure of members whose answers are protected as the group does it.
fn usual_leisure(group: &SecurityGroup) -> Duration {
    match group.suite().has_group_mode() {
        true => Leisure::DEFAULT_GROUP_MODE,
        false => Leisure::DEFAULT_PAIRWISE_MODE,
    }
}

/// Adds the options of the URI before others of the same number.
fn merge(options: &mut Options, of_uri: &Options) {
    let mut all = of_uri.clone();
    for (number, value) in options.iter() {
        all.push(number, value);
    }
    *options = all;
}

impl core::fmt::Debug for GroupCall {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("GroupCall")
            .field("uri", &self.uri)
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}
