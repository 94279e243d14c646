//! Unicast requests and the cache: answers that are given without asking, kept, confirmed, or outdated.

use alloc::vec::Vec;
use core::net::SocketAddr;

use antiphon_wire::{Code, OptionNumber};

use super::Endpoint;
use super::client::Completing;
use crate::cache::{Context, Found, Heard, Key, RequestKey, ResourcePath, Responder};
use crate::collection::{changes, note_change};
use crate::event::Event;
use crate::exchange::{Ended, ExchangeId, Failure, Owner, RequestError, UnicastRequest};
use crate::expect::responder_address;
#[cfg(feature = "oscore")]
use crate::identity::Identity;
use crate::identity::Sender;
use crate::message::{Request, Response};
use crate::observation::Told;
use crate::path::{Path, Route};
use crate::security::Protection;
use crate::time::Instant;

/// What the response to a unicast request means for the cache.
pub(super) enum Recall {
    /// It is kept.
    Keeps {
        key: Key,
        /// The request asks whether what is kept still holds.
        validates: bool,
        /// When it left.
        asked: u64,
    },
    /// It says that a resource was changed.
    Changes(ResourcePath),
}

impl Endpoint {
    /// As [`request`](Self::request), by way of the cache (RFC 7252 section 5.6): a fresh answer that is kept of this
    /// server, also one that it gave to a group request, is given at once as [`Event::Cached`], and nothing is sent. One
    /// that is not fresh any more is validated by its entity tag. The response is kept.
    ///
    /// It is a plain request if it is neither GET nor FETCH, has Observe, Block, If-Match, If-None-Match or entity tags of
    /// its own, goes to a proxy, or is protected in group mode for a member that is not known.
    ///
    /// # Errors
    /// See [`RequestError`]; nothing is sent then.
    pub fn request_cached(
        &mut self,
        now: Instant,
        mut unicast: UnicastRequest,
    ) -> Result<ExchangeId, RequestError> {
        let Some(key) = self.cache_key(&unicast) else {
            return self.request(now, unicast);
        };
        let validates = match self.client.collections.cache_mut().look_up(now, &key) {
            Found::Fresh(stored) => {
                let exchange = self.client.exchanges.name();
                self.events.push_back(Event::Cached {
                    exchange,
                    response: stored.response,
                    from: stored.path,
                    age: stored.age,
                    sender: stored.sender,
                });
                return Ok(exchange);
            }
            Found::Stale(tag) => {
                unicast.request.options.push(OptionNumber::ETAG, &tag);
                true
            }
            Found::Nothing => false,
        };
        let asked = self.client.collections.cache_mut().moment();
        let started = self.request_in_blocks(now, unicast);
        match started {
            Ok(id) => {
                let recall = Recall::Keeps {
                    key,
                    validates,
                    asked,
                };
                self.client.recalls.insert(id, recall);
            }
            Err(_) if validates => self.client.collections.cache_mut().release(&key),
            Err(_) => {}
        }
        started
    }

    /// Forgets all answers that are kept.
    pub fn forget_cached(&mut self) {
        self.client.collections.cache_mut().clear();
    }

    /// A request that goes its way without being answered from the cache. What it changes is noted when it is answered.
    pub(super) fn request_noted(
        &mut self,
        now: Instant,
        unicast: UnicastRequest,
    ) -> Result<ExchangeId, RequestError> {
        check_options(&unicast.request)?;
        let path = changes(unicast.request.method).then(|| path_of(&unicast.request));
        let id = self.request_in_blocks(now, unicast)?;
        if let Some(path) = path {
            self.client.recalls.insert(id, Recall::Changes(path));
        }
        Ok(id)
    }

    fn cache_key(&self, unicast: &UnicastRequest) -> Option<Key> {
        let (context, responder) = self.asked_of(unicast);
        Some(Key {
            request: RequestKey::of_unicast(&unicast.request)?,
            context,
            responder: responder?,
        })
    }

    /// In which context a request is made, and to whom; `None`: whoever of the group has its address, no one in particular.
    fn asked_of(&self, unicast: &UnicastRequest) -> (Context, Option<Responder>) {
        match &unicast.protection {
            Protection::None => {
                let address = asked_at(&unicast.route);
                (Context::Open, Some(Responder::Address(address)))
            }
            #[cfg(feature = "oscore")]
            Protection::Pair(pair) => (Context::Pair(*pair), Some(Responder::Peer)),
            #[cfg(feature = "oscore")]
            Protection::Member { group, credential } => {
                let known = self.guard.contexts.group(*group);
                let member = known.map(|group| Identity::member(group.name(), credential));
                (Context::Group(*group), member.map(Responder::Proven))
            }
            #[cfg(feature = "oscore")]
            Protection::Group(group) => (Context::Group(*group), None),
        }
    }

    /// The response to a request of the application, as the cache makes of it.
    pub(super) fn recall(
        &mut self,
        now: Instant,
        id: ExchangeId,
        from: &Path,
        sender: &Sender,
        response: Response,
    ) -> Result<Response, Failure> {
        let Some(recall) = self.client.recalls.remove(&id) else {
            return Ok(response);
        };
        let cache = self.client.collections.cache_mut();
        let (key, validates, asked) = match recall {
            Recall::Keeps {
                key,
                validates,
                asked,
            } => (key, validates, asked),
            Recall::Changes(path) => {
                note_change(now, cache, &path, from, sender, &response);
                return Ok(response);
            }
        };
        if validates {
            cache.release(&key);
        }
        let responder = Responder::of(key.context, sender, responder_address(from));
        let is_its_own = responder.as_ref() == Some(&key.responder);
        if response.code == Code::VALID {
            // Without what it confirms it says nothing, unless a newer answer has come meanwhile.
            let stored = is_its_own
                .then(|| cache.validated(now, &key, &response, asked))
                .flatten()
                .or_else(|| cache.take_fresh(now, &key));
            return stored.map_or(Err(Failure::Rejected), |stored| Ok(stored.response));
        }
        if is_its_own {
            let heard = Heard {
                response: &response,
                path: from,
                sender,
                through: None,
                asked,
                made_since: None,
            };
            cache.hear(now, key, &heard);
        }
        Ok(response)
    }

    /// What a member of an observation has told is the newest that is known of it (RFC 7641 section 3.4). It is fresh unless
    /// it may have been made before the resource was changed.
    pub(super) fn keep_notified(&mut self, now: Instant, told: &Told) {
        let (request, authority) = match &told.groups {
            None => (RequestKey::of_unicast(&told.request), Vec::new()),
            Some(_) => RequestKey::of_group(&told.request)
                .map_or((None, Vec::new()), |(key, authority)| {
                    (Some(key), authority)
                }),
        };
        let responder = Responder::of(told.context, &told.sender, responder_address(&told.path));
        let (Some(request), Some(responder)) = (request, responder) else {
            return;
        };
        let key = Key {
            request,
            context: told.context,
            responder,
        };
        if !self.is_member(&key) {
            return;
        }
        let cache = self.client.collections.cache_mut();
        if told.new || cache.keeps(&key) {
            let groups = told.groups.as_deref();
            let heard = Heard {
                response: &told.response,
                path: &told.path,
                sender: &told.sender,
                through: groups.map(|groups| (groups, authority.as_slice())),
                asked: cache.moment(),
                made_since: Some(told.made_since),
            };
            cache.hear(now, key, &heard);
        }
    }

    /// Is whoever answers under this key a member of its security group, if there is one?
    #[cfg(feature = "oscore")]
    fn is_member(&self, key: &Key) -> bool {
        match (key.context, &key.responder) {
            (Context::Group(group), Responder::Proven(identity)) => is_member(
                &self.guard,
                group,
                identity.credential().unwrap_or_default(),
            ),
            _ => true,
        }
    }

    #[cfg(not(feature = "oscore"))]
    fn is_member(&self, _key: &Key) -> bool {
        true
    }

    /// Forgets what is kept of those who are members of their security group no more.
    #[cfg(feature = "oscore")]
    pub(super) fn review_cached(&mut self) {
        let guard = &self.guard;
        let cache = self.client.collections.cache_mut();
        cache.review(|group, credential| is_member(guard, group, credential));
    }

    /// A request, of this name for whoever asked, has ended without a response. What it was to change is taken for changed:
    /// nobody says that it was not processed, and a response of which the rest is lost says that it was.
    pub(super) fn not_answered(&mut self, now: Instant, id: ExchangeId, ended: &Ended<Completing>) {
        let unicast = &ended.unicast;
        let path = match ended.owner {
            Owner::Application => match self.client.recalls.remove(&id) {
                Some(Recall::Changes(path)) => path,
                Some(Recall::Keeps { key, validates, .. }) => {
                    if validates {
                        self.client.collections.cache_mut().release(&key);
                    }
                    return;
                }
                None => return,
            },
            // What the question was to change, or if that is over, what this request was.
            Owner::Completion((collection, _)) => {
                let of_request =
                    || changes(unicast.request.method).then(|| path_of(&unicast.request));
                let of_question = self.client.collections.path_it_changes(collection);
                match of_question.cloned().or_else(of_request) {
                    Some(path) => path,
                    None => return,
                }
            }
            _ => return,
        };
        let asked = self.asked_of(unicast);
        let address = asked_at(&unicast.route);
        let cache = self.client.collections.cache_mut();
        cache.perhaps_changed(now, &path, address, asked);
    }

    /// Servers that have confirmed what is not kept are asked again, by a Confirmable exchange each.
    pub(super) fn ask_servers_again(&mut self, now: Instant) {
        while let Some((collection, again)) = self.client.collections.poll_again() {
            let unicast = UnicastRequest {
                request: again.request,
                route: again.route,
                reliability: crate::exchange::Reliability::Confirmable,
                response_timeout: None,
                protection: again.protection,
            };
            self.complete(now, (collection, again.asking), unicast);
        }
    }
}

#[cfg(feature = "oscore")]
fn is_member(guard: &super::Guard, group: crate::security::GroupId, credential: &[u8]) -> bool {
    let group = guard.contexts.group(group);
    group.is_some_and(|group| group.holder_of(credential).is_some())
}

/// The address of a request's peer, in the form in which responders are told apart.
fn asked_at(route: &Route) -> SocketAddr {
    responder_address(&Path {
        socket: route.socket,
        local: route.destination,
        interface: route.interface,
        peer: route.destination,
    })
}

fn path_of(request: &Request) -> ResourcePath {
    ResourcePath::of(&request.options)
}

/// Multi-ETag is for groups only, or for a proxy that forwards to one (seed -03 section 3.2.2). Observe belongs to observations:
/// notifications would come under a token that is free again.
fn check_options(request: &Request) -> Result<(), RequestError> {
    let has = |number| request.options.get(number).is_some();
    let to_proxy = has(OptionNumber::PROXY_URI) || has(OptionNumber::PROXY_SCHEME);
    if has(OptionNumber::MULTI_ETAG) && !to_proxy {
        return Err(RequestError::MultiEtag);
    }
    if has(OptionNumber::OBSERVE) {
        return Err(RequestError::Observe);
    }
    Ok(())
}
