//! Notifications in blocks (RFC 7959 section 2.6): each is the first block of its representation, and the others are fetched
//! by requests without Observe. A newer notification takes the place of one that is not whole yet.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;

use antiphon_wire::{Class, OptionNumber};

use super::event::{MemberEnd, News, Notification, ObservationEvent, ObservedIndex};
use super::watch::{Of, Watch};
use super::{Act, ObservationId, Observations, Observer};
use crate::block::{BodyFailure, Bounds, Step, Transfer, is_first_of_more};
use crate::cache::Context;
use crate::event::ExchangeId;
use crate::exchange::{Reliability, UnicastRequest};
use crate::failure::Failure;
use crate::identity::Sender;
use crate::message::{Request, Response};
use crate::path::Path;
use crate::security::Protection;
use crate::time::Instant;

/// A notification of which the first block is there.
#[derive(Debug)]
pub(crate) struct Arriving {
    notification: Notification,
    end: Option<MemberEnd>,
    rest: Rest,
}

#[derive(Debug)]
enum Rest {
    /// It waits for its turn: what is there, and what is to be asked.
    Waits(Box<Transfer>, Request),
    /// It is being fetched.
    Fetched(Option<ExchangeId>),
}

impl Arriving {
    /// By which exchange it is being fetched.
    pub(super) fn exchange(&self) -> Option<ExchangeId> {
        match &self.rest {
            Rest::Waits(..) => None,
            Rest::Fetched(exchange) => *exchange,
        }
    }
}

/// A member of whose notification the other blocks are to be fetched.
pub(crate) struct RestWanted {
    pub(crate) observer: Observer,
    pub(crate) transfer: Box<Transfer>,
    pub(crate) unicast: UnicastRequest,
    pub(crate) sender: Sender,
}

/// What a member has told, for the cache.
#[derive(Debug)]
pub(crate) struct Told {
    /// What was asked, without Observe.
    pub(crate) request: Request,
    pub(crate) context: Context,
    /// The groups that were asked; none for one server.
    pub(crate) groups: Option<Vec<SocketAddr>>,
    pub(crate) path: Path,
    pub(crate) sender: Sender,
    pub(crate) response: Response,
    /// It was made at this time at the earliest: round trip and leisure before it, or its first block, arrived.
    pub(crate) made_since: Instant,
    /// It is kept also if nothing was kept before.
    pub(crate) new: bool,
}

impl Observations {
    /// What bodies may take that come in blocks.
    pub(crate) fn limit_bodies(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Whether the cache has something that may have to be refreshed.
    pub(crate) fn cache_in_use(&mut self, used: bool) {
        self.cache_in_use = used;
    }

    /// A newer notification than the one that is being fetched, if there is one, has come. What was new about that is as
    /// new about this.
    pub(super) fn overtake(&mut self, id: ObservationId, member: ObservedIndex) {
        let Some(watch) = self.watches.get_mut(&id) else {
            return;
        };
        let Some(slot) = watch.slot(member) else {
            return;
        };
        let Some(old) = slot.body.take() else {
            return;
        };
        slot.keep_unsaid(old.notification.news);
        watch.dropped.superseded = watch.dropped.superseded.saturating_add(1);
        match old.rest {
            Rest::Waits(..) => self
                .bodies
                .retain(|of| (of.observation, of.member) != (id, member)),
            Rest::Fetched(exchange) => {
                self.fetching = self.fetching.saturating_sub(1);
                self.acts.extend(exchange.map(Act::Break));
            }
        }
    }

    /// Takes a notification of several blocks; any other comes back.
    pub(super) fn begin_body(
        &mut self,
        now: Instant,
        id: ObservationId,
        member: ObservedIndex,
        notification: Notification,
        end: Option<MemberEnd>,
    ) -> Option<(Notification, Option<MemberEnd>)> {
        let success = notification.response.code.response_class() == Some(Class::Success);
        if !success || !is_first_of_more(&notification.response.options) {
            return Some((notification, end));
        }
        let (bounds, news) = (self.bounds, notification.news);
        let watch = self.watches.get_mut(&id)?;
        let bounds = Bounds {
            body: watch.limits.response_bytes.min(bounds.body),
            ..bounds
        };
        let mut transfer = Box::new(Transfer::asked(watch.request_alone(), bounds));
        let failure = match transfer.on_response(notification.response.clone()) {
            Step::Send(next) => {
                let rest = Rest::Waits(transfer, next);
                let arriving = Arriving {
                    notification,
                    end,
                    rest,
                };
                watch.slot(member)?.body = Some(Box::new(arriving));
                self.bodies.push_back(Observer {
                    observation: id,
                    member,
                });
                return None;
            }
            Step::Done(_) => BodyFailure::Inconsistent, // it was the first of several
            Step::Failed(failure) => failure,
        };
        self.incomplete(now, id, member, (news, end), Failure::Body(failure));
        None
    }

    /// The rest cannot be had. What was new about it, and that it was the last word, is true all the same.
    fn incomplete(
        &mut self,
        now: Instant,
        id: ObservationId,
        member: ObservedIndex,
        (news, end): (News, Option<MemberEnd>),
        failure: Failure,
    ) {
        if let Some(watch) = self.watches.get_mut(&id) {
            watch.dropped.incomplete = watch.dropped.incomplete.saturating_add(1);
            if let Some(slot) = watch.slot(member) {
                slot.keep_unsaid(news);
            }
        }
        self.tell(ObservationEvent::Incomplete {
            observation: id,
            member,
            failure,
        });
        self.ended(now, id, member, end);
    }

    /// The next member of whose notification the rest is to be fetched, while there are fewer than `at_once`.
    pub(crate) fn poll_rest(&mut self, at_once: usize) -> Option<RestWanted> {
        while self.fetching < at_once.max(1) {
            let observer = self.bodies.pop_front()?;
            if let Some(wanted) = self.rest_of(observer) {
                self.fetching += 1;
                return Some(wanted);
            }
        }
        None
    }

    fn rest_of(&mut self, observer: Observer) -> Option<RestWanted> {
        let watch = self.watches.get_mut(&observer.observation)?;
        let route = watch.way_to(observer.member)?;
        let protection = watch.protection_for(observer.member);
        let body = watch.slot(observer.member)?.body.as_mut()?;
        let sender = body.notification.sender.clone();
        let Rest::Waits(transfer, request) =
            core::mem::replace(&mut body.rest, Rest::Fetched(None))
        else {
            return None;
        };
        Some(RestWanted {
            observer,
            transfer,
            unicast: UnicastRequest {
                request,
                route,
                reliability: Reliability::Confirmable,
                response_timeout: None,
                protection,
            },
            sender,
        })
    }

    /// The rest is being fetched.
    pub(crate) fn rest_begun(&mut self, observer: Observer, exchange: ExchangeId) {
        let watch = self.watches.get_mut(&observer.observation);
        let slot = watch.and_then(|watch| watch.slot(observer.member));
        if let Some(body) = slot.and_then(|slot| slot.body.as_mut()) {
            body.rest = Rest::Fetched(Some(exchange));
        }
    }

    /// The rest is there, or cannot be had.
    pub(crate) fn rest_done(
        &mut self,
        now: Instant,
        observer: Observer,
        exchange: Option<ExchangeId>,
        result: Result<Response, Failure>,
    ) {
        let (id, member) = (observer.observation, observer.member);
        let watch = self.watches.get_mut(&id);
        let Some(slot) = watch.and_then(|watch| watch.slot(member)) else {
            return;
        };
        let same =
            |body: &mut Box<Arriving>| matches!(&body.rest, Rest::Fetched(of) if *of == exchange);
        let Some(body) = slot.body.take_if(same) else {
            return;
        };
        self.fetching = self.fetching.saturating_sub(1);
        let Arriving {
            mut notification,
            end,
            ..
        } = *body;
        match result {
            // What is not a representation any more is told by a notification of its own.
            Ok(response) if response.code.response_class() == Some(Class::Success) => {
                notification.response = response;
                self.told(now, id, member, notification, end);
            }
            Ok(_) => {
                let failure = Failure::Body(BodyFailure::Changed);
                self.incomplete(now, id, member, (notification.news, end), failure);
            }
            Err(failure) => self.incomplete(now, id, member, (notification.news, end), failure),
        }
        self.step(now, id);
    }

    /// Hands what a member has told to the cache, if that has use for it.
    pub(super) fn keep(&mut self, id: ObservationId, notification: &Notification) {
        let Some(watch) = self.watches.get(&id) else {
            return;
        };
        if !(watch.cached || self.cache_in_use) {
            return;
        }
        let mut response = notification.response.clone();
        response.options.remove(OptionNumber::OBSERVE);
        let arrived = watch.first_sent.unwrap_or_default() + notification.after;
        let told = Told {
            request: watch.request_alone(),
            context: watch.context(),
            groups: watch.groups(),
            path: notification.from,
            sender: notification.sender.clone(),
            response,
            made_since: arrived - watch.patience(),
            new: watch.cached,
        };
        self.acts.push_back(Act::Keep(Box::new(told)));
    }
}

impl Watch {
    /// What is asked, as if it were not observed.
    fn request_alone(&self) -> Request {
        let mut request = self.request.clone();
        request.options.remove(OptionNumber::OBSERVE);
        request
    }

    fn groups(&self) -> Option<Vec<SocketAddr>> {
        match &self.of {
            Of::One { .. } => None,
            Of::Group { targets, .. } => Some(targets.iter().map(|t| t.group).collect()),
        }
    }

    /// The security context in which answers are kept.
    fn context(&self) -> Context {
        match &self.of {
            Of::One { protection, .. } => match protection {
                Protection::None => Context::Open,
                #[cfg(feature = "oscore")]
                Protection::Pair(pair) => Context::Pair(*pair),
                #[cfg(feature = "oscore")]
                Protection::Group(group) | Protection::Member { group, .. } => {
                    Context::Group(*group)
                }
            },
            Of::Group { security, .. } => match security {
                crate::collection::Security::Unsecured(_) => Context::Open,
                #[cfg(feature = "oscore")]
                crate::collection::Security::Group(group) => Context::Group(*group),
            },
        }
    }
}
