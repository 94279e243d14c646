//! A question to one peer.

use core::net::SocketAddr;
use core::time::Duration;

use antiphon_proto::{
    BodyProgress, ExchangeId, Failure, NoSec, ObserveRequest, Observed, Path, Protection,
    Reliability, Request, Response, Route, Sender, UnicastRequest,
};
use antiphon_wire::{Code, ContentFormat, OptionNumber, Scheme, Uri};
use tokio::sync::oneshot;

use super::what::what_is_asked;
use super::{Client, Observation, Observing, Protecting};
use crate::driver::{Abandoned, Link, OnProgress, Responded, WeakLink};
use crate::egress;
use crate::error::{Closed, OneError};
use crate::request::uri_options;
use crate::resolve::{Kind, resolve};
use crate::security_group::Secured;
use crate::socket::needs_interface;

/// A question to one peer. [`send`](Self::send) puts it and waits for the response.
///
/// Defaults: GET, Confirmable, and as long as RFC 7252 waits.
#[must_use = "a call does nothing until it is sent"]
pub struct OneCall {
    client: Client,
    uri: String,
    request: Request,
    security: Protecting<Secured>,
    reliability: Reliability,
    timeout: Option<Duration>,
    interface: Option<String>,
    range: Option<(usize, usize)>,
    progress: Option<OnProgress>,
    cached: bool,
}

/// The response of one peer.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The response.
    pub response: Response,
    /// Its source.
    pub from: SocketAddr,
    /// The whole way it came.
    pub path: Path,
    /// Time since the request first left; zero if it did not.
    pub after: Duration,
    /// How long ago it came or was confirmed, if it was taken from the [cache](OneCall::cached) and nothing was sent.
    pub cached: Option<Duration>,
    /// Who is proven to have sent it.
    pub sender: Sender,
}

impl OneCall {
    pub(super) fn new(client: Client, uri: String) -> Self {
        Self {
            client,
            uri,
            request: Request::new(Code::GET),
            security: Protecting::NotStated,
            reliability: Reliability::Confirmable,
            timeout: None,
            interface: None,
            range: None,
            progress: None,
            cached: false,
        }
    }

    what_is_asked! {}

    /// The request is protected: for a [member](crate::GroupMember) of a security group alone, in pairwise mode; for the
    /// [group](crate::SecurityGroup), in group mode, when it is not known which member the peer is; or in an
    /// [`OscoreContext`](crate::OscoreContext). A response counts only if it is proven to come from there.
    pub fn secure(mut self, with: impl Into<Secured>) -> Self {
        self.security = self.security.and(Protecting::Secured(with.into()));
        self
    }

    /// The request is not protected, for this reason. There is no default: with neither this nor [`secure`](Self::secure), and with both,
    /// [`send`](Self::send) refuses.
    pub fn unsecured(mut self, reason: NoSec) -> Self {
        self.security = self.security.and(Protecting::Unsecured(reason));
        self
    }

    /// Retransmitted until it is acknowledged (default), or sent once.
    pub fn confirmable(mut self, confirmable: bool) -> Self {
        self.reliability = match confirmable {
            true => Reliability::Confirmable,
            false => Reliability::NonConfirmable,
        };
        self
    }

    /// How long the response is waited for, all in all. Default: as RFC 7252 has it, 93 s and more.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// By which interface a link-local address is reached: a name, an index or an address.
    pub fn interface(mut self, interface: impl Into<String>) -> Self {
        self.interface = Some(interface.into());
        self
    }

    /// A fresh answer of this server in the client's cache will do, also one that it gave to a [group](crate::GroupCall::cached):
    /// then nothing is sent. One that is not fresh any more is validated by its entity tag. The answer is kept for the next
    /// time. For GET and FETCH, and not for a [range](Self::range); see [`Endpoint::request_cached`](antiphon_proto::Endpoint::request_cached).
    pub fn cached(mut self) -> Self {
        self.cached = true;
        self
    }

    /// Only `length` bytes of the representation are wanted, from byte `start` on: the blocks that hold them are fetched, and
    /// the response has these bytes alone, or fewer at the end. For GET and FETCH.
    pub fn range(mut self, start: usize, length: usize) -> Self {
        self.range = Some((start, length));
        self
    }

    /// Calls this whenever a body that goes in several blocks has come further, of the request or of the response. It is
    /// called by the task that moves datagrams, so it must not block.
    pub fn on_progress(
        mut self,
        progress: impl FnMut(BodyProgress) + Send + Sync + 'static,
    ) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Sends the request and waits for the response, whole: bodies larger than a block go in several messages
    /// ([`EndpointConfig::transfers`](crate::EndpointConfig) has the limits). A future that is dropped gives the request up.
    ///
    /// # Errors
    /// See [`OneError`].
    pub async fn send(self) -> Result<Reply, OneError> {
        let limit = self.timeout;
        let answer = self.answer();
        match limit {
            None => answer.await,
            Some(limit) => tokio::time::timeout(limit, answer)
                .await
                .unwrap_or(Err(OneError::Failed(Failure::TimedOut))),
        }
    }

    /// Observes the resource of one peer, by GET or FETCH (RFC 7641): a Confirmable request, however this was set.
    ///
    /// # Errors
    /// See [`OneError`]; nothing is sent then.
    pub async fn observe(self, how: Observing) -> Result<Observation, OneError> {
        let (link, unicast) = self.prepared().await?;
        let of = Observed::One {
            route: unicast.route,
            protection: unicast.protection,
        };
        let request = ObserveRequest {
            of,
            ..how.applied_to(unicast.request)
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

    async fn answer(mut self) -> Result<Reply, OneError> {
        let (range, progress, cached) = (self.range, self.progress.take(), self.cached);
        let (link, unicast) = self.prepared().await?;
        let weak = link.downgrade();
        let mut asked = link
            .call(move |driver, now| {
                driver.is_open()?;
                let exchange = match range {
                    Some((start, length)) => {
                        driver.endpoint.request_range(now, unicast, start, length)?
                    }
                    None if cached => driver.endpoint.request_cached(now, unicast)?,
                    None => driver.endpoint.request(now, unicast)?,
                };
                Ok::<_, OneError>(Open {
                    response: driver.await_response(exchange, progress),
                    exchange,
                    link: weak,
                    over: false,
                })
            })
            .await??;
        let responded = (&mut asked.response).await;
        asked.over = true;
        let (response, path, after, sender, cached) = responded.map_err(|_| Closed)??;
        Ok(Reply {
            response,
            from: path.peer,
            path,
            after,
            cached,
            sender,
        })
    }

    /// Everything that is known of the question before it is put.
    async fn prepared(mut self) -> Result<(Link, UnicastRequest), OneError> {
        match self.security {
            Protecting::NotStated => return Err(OneError::SecurityNotStated),
            Protecting::Twice => return Err(OneError::SecurityTwice),
            Protecting::Unsecured(_) | Protecting::Secured(_) => {}
        }
        let Ok(uri) = Uri::parse(&self.uri) else {
            return Err(OneError::TooLong); // it was read when the call was made
        };
        if uri.scheme != Scheme::Coap {
            return Err(OneError::Scheme(uri.scheme.name()));
        }
        let route = self.route(&uri).await?;
        let mut options = uri_options(&uri, route.destination).ok_or(OneError::TooLong)?;
        for (number, value) in self.request.options.iter() {
            options.push(number, value);
        }
        self.request.options = options;
        let link = self.client.link().clone();
        let protection = match self.security {
            Protecting::Secured(secured) => {
                let id = link.claim::<OneError>(secured.held()).await?;
                secured.protection(id)
            }
            _ => Protection::None, // which was stated, or it would not have come so far
        };
        let unicast = UnicastRequest {
            request: self.request,
            route,
            reliability: self.reliability,
            response_timeout: self.timeout,
            protection,
        };
        Ok((link, unicast))
    }

    /// The way to the first address that one of the client's sockets can reach.
    async fn route(&self, uri: &Uri<'_>) -> Result<Route, OneError> {
        let shared = self.client.shared();
        let peers = resolve(uri, Kind::Peer, &*shared.resolver, shared.lookup_limit).await?;
        let reachable = peers
            .iter()
            .find_map(|peer| Some((*peer, shared.socket_for(*peer)?.0)));
        let Some((destination, socket)) = reachable else {
            let any = SocketAddr::from(([0, 0, 0, 0], 0));
            return Err(OneError::Family(peers.first().copied().unwrap_or(any)));
        };
        let interface = match destination {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => v6.scope_id(),
            _ if needs_interface(destination.ip()) => {
                let only = shared.interfaces.first();
                let named = self.interface.as_ref().or(only);
                named
                    .map(|name| egress::named(name))
                    .transpose()?
                    .unwrap_or(0)
            }
            _ => 0,
        };
        Ok(Route {
            socket,
            source: None,
            interface,
            destination,
        })
    }
}

/// A request that is under way. Dropping it gives it up.
struct Open {
    exchange: ExchangeId,
    response: oneshot::Receiver<Responded>,
    link: WeakLink,
    over: bool,
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.over {
            self.link.abandon(Abandoned::Exchange(self.exchange));
        }
    }
}

impl core::fmt::Debug for OneCall {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("OneCall")
            .field("uri", &self.uri)
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}
