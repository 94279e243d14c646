//! Bodies in blocks, as a client: one exchange after the other, under the name of the first.
//!
//! A transfer is made only when there is something to transfer: when the body of a request is larger than a block, or when
//! a response says that it is the first of several blocks. Nothing else passes through here.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use antiphon_wire::{Code, OptionNumber, encode_uint};

use super::Endpoint;
use super::client::Completing;
use crate::block::{
    BlockSize, BodyFailure, Bounds, Step, Transfer, block, hinted_size, is_first_of_more,
};
use crate::collection::{Asking, BodyWanted, LinkProfile, Rank};
use crate::event::Event;
use crate::exchange::{
    Ended, ExchangeId, Failure, Owner, Reliability, RequestError, SendError, UnicastRequest,
    encoded_bound, same_peer,
};
use crate::identity::Sender;
use crate::message::{Request, Response};
use crate::path::Path;
use crate::security::Protection;
use crate::time::Instant;

/// The transfers that are under way.
#[derive(Default)]
pub(super) struct Transfers {
    /// By the exchange that each was begun with, whose name it keeps.
    open: BTreeMap<ExchangeId, Open>,
    /// The exchange that each waits for, and the one it was begun with.
    current: BTreeMap<ExchangeId, ExchangeId>,
    deadlines: BTreeSet<(Instant, ExchangeId)>,
    /// Those of members' answers, by the same name.
    places: BTreeSet<ExchangeId>,
    /// When one of these is next looked at that may have come no further, while others wait.
    look_at: Option<Instant>,
    /// The memory of all bodies.
    bytes: usize,
    /// Request-Tags below this one are not used any more: an operation with one of them has not come to its end.
    tag_floor: u32,
}

struct Open {
    transfer: Box<Transfer>,
    current: ExchangeId,
    deadline: Instant,
    first_sent: Option<Instant>,
    /// Who has sent the blocks so far.
    sender: Option<Sender>,
    peer: SocketAddr,
    /// Which of the Request-Tags it has, if it sends a body.
    tag: Option<u32>,
    footprint: usize,
    place: Option<Place>,
}

/// The place of a member's answer among those that are fetched at the same time.
#[derive(Clone, Copy)]
struct Place {
    rank: Rank,
    /// When it came further.
    since: Instant,
    /// It gives way to others that wait when it has not come further within this time.
    within: Duration,
    /// It has come further since it has this place.
    moves: bool,
}

impl Place {
    fn gives_way_at(&self) -> Instant {
        self.since + self.within
    }
}

/// An exchange that is over, and what came of it.
type Reported = (Ended<Completing>, Result<(Path, Sender, Response), Failure>);

impl Transfers {
    /// The exchange that a request waits for at present.
    pub(super) fn current(&self, id: ExchangeId) -> ExchangeId {
        self.open.get(&id).map_or(id, |open| open.current)
    }

    /// Forgets a transfer that is given up, and says which exchange it waited for.
    pub(super) fn remove(&mut self, id: ExchangeId) -> Option<ExchangeId> {
        let open = self.take(id)?;
        self.not_concluded(&open);
        Some(open.current)
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Nothing is under way, and nothing is left of what was.
    #[cfg(test)]
    pub(super) fn is_clear(&self) -> bool {
        self.open.is_empty()
            && self.current.is_empty()
            && self.deadlines.is_empty()
            && self.places.is_empty()
            && self.bytes == 0
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        deadline.into_iter().chain(self.look_at).min()
    }

    /// The members' answers that are under way.
    fn places(&self) -> impl Iterator<Item = (ExchangeId, Place)> {
        let place = |id: &ExchangeId| Some((*id, self.open.get(id)?.place?));
        self.places.iter().filter_map(place)
    }

    fn take(&mut self, id: ExchangeId) -> Option<Open> {
        let open = self.open.remove(&id)?;
        self.current.remove(&open.current);
        self.deadlines.remove(&(open.deadline, id));
        self.places.remove(&id);
        self.bytes = self.bytes.saturating_sub(open.footprint);
        Some(open)
    }

    fn insert(&mut self, id: ExchangeId, mut open: Open) {
        open.footprint = open.transfer.footprint();
        self.bytes += open.footprint;
        self.current.insert(open.current, id);
        self.deadlines.insert((open.deadline, id));
        if open.place.is_some() {
            self.places.insert(id);
        }
        self.open.insert(id, open);
    }

    /// Blocks of this operation may still be on their way, so that its Request-Tag must not be used again (RFC 9175
    /// section 3.5.1).
    fn not_concluded(&mut self, open: &Open) {
        if let Some(tag) = open.tag {
            self.tag_floor = self.tag_floor.max(tag.saturating_add(1));
        }
    }

    /// The lowest Request-Tag that no operation with this peer has.
    fn free_tag(&self, peer: SocketAddr) -> u32 {
        let taken: BTreeSet<u32> = self
            .open
            .values()
            .filter(|open| same_peer(open.peer, peer))
            .filter_map(|open| open.tag)
            .collect();
        (self.tag_floor..=u32::MAX)
            .find(|tag| !taken.contains(tag))
            .unwrap_or(u32::MAX)
    }
}

/// The values in the order of their length: none, the empty one, then numbers (RFC 9175 section 3.4).
fn tag_value(tag: u32) -> Option<Vec<u8>> {
    match tag {
        0 => None,
        _ => Some(encode_uint(tag - 1).as_bytes().to_vec()),
    }
}

impl Endpoint {
    /// Fetches `length` bytes of a representation, from byte `start` on, and no block that has none of them. The response
    /// has these bytes as its payload, or fewer where the representation ends. One that begins behind the end is answered
    /// with 4.00 by the server.
    ///
    /// # Errors
    /// See [`RequestError`]; nothing is sent then.
    pub fn request_range(
        &mut self,
        now: Instant,
        unicast: UnicastRequest,
        start: usize,
        length: usize,
    ) -> Result<ExchangeId, RequestError> {
        let (request, unicast) = split(unicast);
        if !matches!(request.method, Code::GET | Code::FETCH) {
            return Err(RequestError::NotAMethod);
        }
        let bounds = self.bounds();
        let (transfer, first) =
            Transfer::range(request, bounds, start, length).ok_or(RequestError::TooLarge)?;
        self.begin_transfer(now, transfer, unicast, first, None)
    }

    /// A request of the application.
    pub(super) fn request_in_blocks(
        &mut self,
        now: Instant,
        unicast: UnicastRequest,
    ) -> Result<ExchangeId, RequestError> {
        let bounds = self.bounds();
        let own_block = unicast.request.options.get(OptionNumber::BLOCK1).is_some();
        if unicast.request.payload.len() > bounds.size.bytes() && !own_block {
            if unicast.request.payload.len() > bounds.body {
                return Err(RequestError::TooLarge);
            }
            let (request, unicast) = split(unicast);
            let tag = self.client.transfers.free_tag(unicast.route.destination);
            let (transfer, first) = Transfer::upload(request, bounds, tag_value(tag));
            return self.begin_transfer(now, transfer, unicast, first, Some(tag));
        }
        let unicast = self.sized(unicast);
        self.fits(&unicast.request)?;
        let owner = Owner::Application;
        self.client
            .exchanges
            .start(now, &mut self.rng, owner, unicast)
    }

    /// States the block size that is wanted from the beginning, if it is not the largest.
    pub(super) fn sized(&self, mut unicast: UnicastRequest) -> UnicastRequest {
        let size = self.block_size();
        let request = &mut unicast.request;
        if size < BlockSize::LARGEST
            && matches!(request.method, Code::GET | Code::FETCH)
            && request.options.get(OptionNumber::BLOCK2).is_none()
            && let Some(block) = size.block_at(0, false)
        {
            let value = block.encode();
            request.options.push(OptionNumber::BLOCK2, value.as_bytes());
        }
        unicast
    }

    fn block_size(&self) -> BlockSize {
        let by_link = match self.config.collections.link {
            LinkProfile::Unconstrained => BlockSize::LARGEST,
            LinkProfile::SixLowpan { .. } => BlockSize::SIXLOWPAN,
        };
        self.config.transfers.size.unwrap_or(by_link)
    }

    pub(super) fn bounds(&self) -> Bounds {
        self.config.transfers.bounds(self.block_size())
    }

    fn fits(&self, request: &Request) -> Result<(), RequestError> {
        let bound = encoded_bound(&request.options, &request.payload);
        match bound > self.config.limits.datagram.saturating_add(64) {
            true => Err(RequestError::TooLarge),
            false => Ok(()),
        }
    }

    fn begin_transfer(
        &mut self,
        now: Instant,
        transfer: Transfer,
        unicast: UnicastRequest,
        first: Request,
        tag: Option<u32>,
    ) -> Result<ExchangeId, RequestError> {
        self.fits(&first)?;
        if self.is_crowded(&transfer) {
            return Err(RequestError::TooMany);
        }
        let peer = unicast.route.destination;
        let unicast = UnicastRequest {
            request: first,
            ..unicast
        };
        let owner = Owner::Application;
        let id = self
            .client
            .exchanges
            .start(now, &mut self.rng, owner, unicast)?;
        let open = Open {
            transfer: Box::new(transfer),
            current: id,
            deadline: now + self.config.transfers.patience,
            first_sent: None,
            sender: None,
            peer,
            tag,
            footprint: 0,
            place: None,
        };
        self.client.transfers.insert(id, open);
        Ok(id)
    }

    /// Is there no room for one more transfer?
    fn is_crowded(&self, transfer: &Transfer) -> bool {
        self.is_crowded_without(transfer, None)
    }

    /// The same when another one is given up for it.
    pub(super) fn is_crowded_without(
        &self,
        transfer: &Transfer,
        other: Option<ExchangeId>,
    ) -> bool {
        let client = &self.client;
        let other = other.and_then(|id| client.transfers.open.get(&id));
        let freed = other.map_or(0, |open| open.footprint);
        let bytes = client.transfers.bytes + client.collections.waiting_bytes();
        (bytes + transfer.footprint()).saturating_sub(freed) > self.config.transfers.bytes
    }

    /// An exchange has ended. If more of a body is to be transferred, that goes on; else whoever asked is to be told, under
    /// the name of the first exchange.
    pub(super) fn transfer(
        &mut self,
        now: Instant,
        mut ended: Ended<Completing>,
        result: Result<(Path, Sender, Response), Failure>,
    ) -> Option<Reported> {
        let known = self.client.transfers.current.get(&ended.id).copied();
        let open = match known {
            Some(id) => {
                let open = self.client.transfers.take(id)?;
                ended.id = id;
                open
            }
            None => match &result {
                Ok((_, _, response)) => match self.transfer_for(now, &mut ended, response) {
                    Some(open) => open,
                    None => return Some((ended, result)),
                },
                Err(_) => return Some((ended, result)),
            },
        };
        let (path, sender, response) = match result {
            Ok(arrived) => arrived,
            Err(failure) => {
                self.client.transfers.not_concluded(&open);
                ended.request_sent = open.first_sent.or(ended.request_sent);
                return Some((ended, Err(failure)));
            }
        };
        self.go_on(now, open, ended, path, sender, response)
    }

    /// Is the response one that makes a transfer of what was an ordinary exchange?
    fn transfer_for(
        &mut self,
        now: Instant,
        ended: &mut Ended<Completing>,
        response: &Response,
    ) -> Option<Open> {
        let asked = &ended.unicast.request;
        let one_block = |number| block(&asked.options, number).is_some_and(|b| b.num() > 0);
        if matches!(ended.owner, Owner::Observation(_)) {
            return None;
        }
        if one_block(OptionNumber::BLOCK2) || asked.options.get(OptionNumber::BLOCK1).is_some() {
            return None; // the application deals with blocks itself
        }
        let too_large = hinted_size(response, asked).is_some();
        if !is_first_of_more(&response.options) && !too_large {
            return None;
        }
        let peer = ended.unicast.route.destination;
        let request = core::mem::replace(&mut ended.unicast.request, Request::new(Code::GET));
        let mut tag = None;
        let bounds = self.bounds();
        let transfer = match too_large {
            true => {
                let free = self.client.transfers.free_tag(peer);
                tag = Some(free);
                Transfer::too_large(request, bounds, tag_value(free))
            }
            false => Transfer::asked(request, bounds),
        };
        Some(Open {
            transfer: Box::new(transfer),
            current: ended.id,
            deadline: now + self.config.transfers.patience,
            first_sent: None,
            sender: None,
            peer,
            tag,
            footprint: 0,
            place: None,
        })
    }

    fn go_on(
        &mut self,
        now: Instant,
        mut open: Open,
        mut ended: Ended<Completing>,
        path: Path,
        sender: Sender,
        response: Response,
    ) -> Option<Reported> {
        open.first_sent = open.first_sent.or(ended.request_sent);
        ended.request_sent = open.first_sent;
        let step = match open.sender.replace(sender.clone()) {
            Some(other) if other != sender => Step::Failed(BodyFailure::Inconsistent),
            _ => open.transfer.on_response(response),
        };
        let crowded = self.is_crowded(&open.transfer);
        match step {
            Step::Done(response) => Some((ended, Ok((path, sender, response)))),
            Step::Failed(failure) => Some((ended, Err(Failure::Body(failure)))),
            Step::Send(_) if crowded => Some((ended, Err(Failure::Body(BodyFailure::Crowded)))),
            Step::Send(request) => {
                let unicast = UnicastRequest {
                    request,
                    protection: pinned(ended.unicast.protection, &sender),
                    ..ended.unicast
                };
                let owner = ended.owner;
                let started =
                    self.client
                        .exchanges
                        .start(now, &mut self.rng, owner, unicast.clone());
                let Ok(current) = started else {
                    ended.unicast = unicast;
                    let failure = Failure::Unreachable(SendError::NoBuffer);
                    return Some((ended, Err(failure)));
                };
                open.current = current;
                if let Some(place) = &mut open.place {
                    (place.since, place.moves) = (now, true);
                }
                let progress = open.transfer.progress();
                match owner {
                    Owner::Application => self.events.push_back(Event::Progress {
                        exchange: ended.id,
                        progress,
                    }),
                    Owner::Completion((collection, asking)) => {
                        self.client
                            .completing
                            .insert((collection, asking), ended.id);
                        self.client
                            .collections
                            .body_progress(collection, asking, &path, progress);
                    }
                    Owner::Notification(_) => {}
                    Owner::Observation(_) => {} // their answers do not come here
                    #[cfg(feature = "oscore")]
                    Owner::Outer(beside) => self.outer_went_on(now, ended.id, beside),
                }
                self.client.transfers.insert(ended.id, open);
                None
            }
        }
    }

    /// Gives up the transfers that take too long.
    pub(super) fn give_up_transfers(&mut self, now: Instant) {
        while let Some((due, id)) = self.client.transfers.deadlines.first().copied() {
            if due > now {
                return;
            }
            let current = self.client.transfers.current(id);
            self.fail(now, current, Failure::Body(BodyFailure::TimedOut));
            self.client.transfers.remove(id); // if its exchange was gone
        }
    }

    /// Fetches what follows the first blocks of members' answers, so many at the same time.
    pub(super) fn start_bodies(&mut self, now: Instant) {
        self.client.collections.start_follow_ups(now, &mut self.rng);
        self.client.transfers.look_at = None;
        while self.client.collections.wants_bodies() {
            let Some((wanted, instead_of)) = self.next_body(now) else {
                let places = self.client.transfers.places();
                let later = places.map(|(_, place)| place.gives_way_at());
                self.client.transfers.look_at = later.filter(|at| *at > now).min();
                return;
            };
            if let Some(id) = instead_of {
                self.wait_again(now, id);
            }
            self.start_body(now, wanted);
        }
    }

    /// The next answer that is fetched, and which one gives way to it: one that has not come further in its time.
    fn next_body(&mut self, now: Instant) -> Option<(BodyWanted, Option<ExchangeId>)> {
        let at_once = self.config.transfers.at_once.max(1);
        let (transfers, collections) = (&self.client.transfers, &mut self.client.collections);
        let places: Vec<_> = transfers.places().collect();
        let ranks = |without: Option<ExchangeId>| -> Vec<Rank> {
            let others = places.iter().filter(|(id, _)| Some(*id) != without);
            others.map(|(_, place)| place.rank).collect()
        };
        if let Some(wanted) = collections.poll_body(&ranks(None), at_once) {
            return Some((wanted, None));
        }
        let mut stalled: Vec<_> = places
            .iter()
            .map(|(id, place)| (place.gives_way_at(), *id))
            .filter(|(at, _)| *at <= now)
            .collect();
        stalled.sort_unstable();
        stalled.into_iter().find_map(|(_, id)| {
            let wanted = collections.poll_body(&ranks(Some(id)), at_once)?;
            Some((wanted, Some(id)))
        })
    }

    /// The place of a member's answer is given to another: what is there of it is kept for its next turn.
    fn wait_again(&mut self, now: Instant, id: ExchangeId) {
        let Some(open) = self.client.transfers.take(id) else {
            return;
        };
        if let Some((peer, mid)) = self.client.exchanges.sent_as(open.current) {
            self.confirmables.settle(peer, mid);
        }
        let place = open.place;
        // Whoever has just sent a block is there.
        let responds = place.is_some_and(|place| place.rank == Rank::Known && place.moves);
        let ended = self.client.exchanges.end(now, open.current, responds);
        let (Some(ended), Some(place), Some(sender)) = (ended, place, open.sender) else {
            return;
        };
        let Owner::Completion((collection, Asking::Body(n))) = ended.owner else {
            return;
        };
        self.client
            .completing
            .remove(&(collection, Asking::Body(n)));
        let Some(path) = self.client.collections.body_from(collection, n) else {
            return;
        };
        let UnicastRequest {
            request,
            route,
            protection,
            ..
        } = ended.unicast;
        self.client.collections.wait_again(BodyWanted {
            collection,
            n,
            path,
            sender,
            route,
            protection,
            transfer: open.transfer,
            request,
            rank: place.rank,
            within: place.within.saturating_mul(2),
            deadline: Some(open.deadline),
        });
    }

    fn start_body(&mut self, now: Instant, wanted: BodyWanted) {
        let BodyWanted {
            collection,
            n,
            path,
            sender,
            route,
            protection,
            transfer,
            request,
            rank,
            within,
            deadline,
        } = wanted;
        let completing = (collection, Asking::Body(n));
        let unicast = UnicastRequest {
            request,
            route,
            reliability: Reliability::Confirmable,
            response_timeout: None,
            protection,
        };
        let progress = transfer.progress();
        let owner = Owner::Completion(completing);
        match self.fetch_rest(now, owner, transfer, unicast, sender.clone()) {
            Ok(id) => {
                self.client.completing.insert(completing, id);
                let moves = deadline.is_none();
                let place = Place {
                    rank,
                    since: now,
                    within,
                    moves,
                };
                if let Some(mut open) = self.client.transfers.take(id) {
                    open.place = Some(place);
                    open.deadline = deadline.unwrap_or(open.deadline);
                    self.client.transfers.insert(id, open);
                }
                self.client
                    .collections
                    .body_progress(collection, completing.1, &path, progress);
            }
            Err(failure) => {
                let failure = Failure::Body(failure);
                self.client
                    .collections
                    .body_done(now, collection, n, &sender, Err(failure));
            }
        }
    }

    /// Fetches the blocks that follow those which `sender` has sent already.
    pub(super) fn fetch_rest(
        &mut self,
        now: Instant,
        owner: Owner<Completing>,
        transfer: Box<Transfer>,
        unicast: UnicastRequest,
        sender: Sender,
    ) -> Result<ExchangeId, BodyFailure> {
        if self.is_crowded(&transfer) {
            return Err(BodyFailure::Crowded);
        }
        let peer = unicast.route.destination;
        let current = self
            .client
            .exchanges
            .start(now, &mut self.rng, owner, unicast)
            .map_err(|_| BodyFailure::Crowded)?;
        let open = Open {
            transfer,
            current,
            deadline: now + self.config.transfers.patience,
            first_sent: None,
            sender: Some(sender),
            peer,
            tag: None,
            footprint: 0,
            place: None,
        };
        self.client.transfers.insert(current, open);
        Ok(current)
    }
}

/// The request, and all that is known of it beside.
fn split(mut unicast: UnicastRequest) -> (Request, UnicastRequest) {
    let method = unicast.request.method;
    let request = core::mem::replace(&mut unicast.request, Request::new(method));
    (request, unicast)
}

/// Later blocks are asked of the one that has sent the first: in pairwise mode, as soon as it is known who that is
/// (draft-ietf-core-oscore-groupcomm-28 section 14.9).
fn pinned(protection: Protection, sender: &Sender) -> Protection {
    #[cfg(feature = "oscore")]
    if let (Protection::Group(group), Sender::Proven(identity)) = (&protection, sender)
        && let Some(credential) = identity.credential()
    {
        return Protection::Member {
            group: *group,
            credential: credential.to_vec(),
        };
    }
    let _ = sender;
    protection
}
