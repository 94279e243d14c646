//! The list of observers: who is in it, and who finds a place.

use alloc::boxed::Box;
use core::hash::{BuildHasher, Hasher};

use super::*;
use crate::path::{peer_key, same_peer};
use crate::shares::Holder;

/// No place.
const NONE: u32 = u32::MAX;

/// An observer taken out of its place to be notified.
pub(crate) struct Taken {
    pub(crate) path: Path,
    pub(crate) request: Box<[u8]>,
    pub(crate) kept: Option<Box<Kept>>,
    pub(crate) secured: bool,
    pub(crate) reachable: bool,
}

/// What an entry leaves to the one that replaces it.
#[derive(Clone, Copy)]
struct Left {
    number: u64,
    unconfirmed: u8,
    acknowledged: Instant,
    group: u16,
    leisure: u32,
}

impl Taken {
    /// What is kept of a protected request beside the message, at most.
    pub(super) const KEPT: usize = if cfg!(feature = "oscore") {
        size_of::<Kept>() + 256
    } else {
        0
    };
}

impl Observers {
    pub(crate) fn new(config: ObserveConfig, rng: &mut Rng) -> Self {
        Self {
            hash: rng.keyed_hash(),
            delays: (rng.keyed_hash(), 0),
            table: Slab::new(),
            peers: Slab::new(),
            by_address: HashTable::new(),
            shares: Shares::new(config.per_address, rng),
            ways: Vec::new(),
            watched: BTreeMap::new(),
            strangers: 0,
            admitted: None,
            settled: Vec::new(),
            walks: VecDeque::new(),
            leisures: BTreeMap::new(),
            timers: BTreeSet::new(),
            ready: VecDeque::new(),
            crowded: VecDeque::new(),
            crowded_again: VecDeque::new(),
            crowded_strangers: VecDeque::new(),
            places: places::Places::default(),
            ack_timeout: Duration::from_secs(2),
            unacknowledged: 0,
            unacknowledged_by_strangers: 0,
            round_ends: Instant::ZERO,
            in_round: 0,
            look_at: Instant::ZERO,
            looking: None,
            counters: ObserverCounters::default(),
            config,
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn of(&self, resource: ResourceId) -> usize {
        self.watched.get(&resource).map_or(0, |w| w.observers.len())
    }

    /// Does this observer observe this resource?
    pub(in crate::server) fn is_of(&self, id: ObserverId, resource: ResourceId) -> bool {
        self.table
            .get(id)
            .is_some_and(|observer| observer.resource == resource)
    }

    pub(crate) fn counters_mut(&mut self) -> &mut ObserverCounters {
        &mut self.counters
    }

    /// The observer of this endpoint and token whose request was verified, or not, to come from this sender.
    pub(crate) fn find(
        &self,
        peer: SocketAddr,
        token: Token,
        sender: &Sender,
    ) -> Option<ObserverId> {
        let who = self.who(sender);
        self.of_peer(self.peer_at(peer)?)
            .find(|(_, observer)| observer.who == who && token_of(&observer.request) == Some(token))
            .map(|(id, _)| id)
    }

    /// The observer whose last notification had this Message ID.
    pub(crate) fn notified_as(&self, peer: SocketAddr, mid: MessageId) -> Option<ObserverId> {
        self.of_peer(self.peer_at(peer)?)
            .find(|(_, observer)| observer.notified && observer.mid == mid.0)
            .map(|(id, _)| id)
    }

    /// The answer to its registration had this Message ID. What is notified meanwhile is newer.
    pub(crate) fn answered_as(&mut self, id: ObserverId, mid: MessageId) {
        if let Some(observer) = self.table.get_mut(id)
            && !observer.notified
        {
            observer.mid = mid.0;
            observer.notified = true;
        }
    }

    /// Is it on the list?
    pub(crate) fn contains(&self, id: ObserverId) -> bool {
        self.table.get(id).is_some()
    }

    /// Whom a message was verified to come from; 0: nobody.
    fn who(&self, sender: &Sender) -> u64 {
        match sender {
            Sender::Unauthenticated => 0,
            Sender::Proven(identity) => self.hash.bytes(&identity.0) | 1,
        }
    }

    pub(super) fn address_hash(hash: &KeyedHash, peer: SocketAddr) -> u64 {
        let (ip, port) = peer_key(peer);
        let mut hasher = hash.build_hasher();
        match ip {
            core::net::IpAddr::V4(v4) => hasher.write(&v4.octets()),
            core::net::IpAddr::V6(v6) => hasher.write(&v6.octets()),
        }
        hasher.write_u16(port);
        hasher.finish()
    }

    fn peer_at(&self, address: SocketAddr) -> Option<ObserverId> {
        let hash = Self::address_hash(&self.hash, address);
        let same = |index: &u32| {
            let peer = self.peers.at(*index);
            peer.is_some_and(|peer| same_peer(peer.address, address))
        };
        self.peers.key(*self.by_address.find(hash, same)?)
    }

    /// The observers of one endpoint.
    pub(super) fn of_peer(
        &self,
        peer: ObserverId,
    ) -> impl Iterator<Item = (ObserverId, &Observer)> {
        let mut next = self.peers.get(peer).map_or(NONE, |peer| peer.first);
        core::iter::from_fn(move || {
            let found = self.table.key(next)?;
            let observer = self.table.get(found)?;
            next = observer.next;
            Some((found, observer))
        })
    }

    /// Puts an endpoint on the list, in place of an older entry of the same token; `None` if there is no place. The
    /// entry counts as soon as [`established`](Self::established) says that its request was answered.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        asks: &Asks<'_, '_>,
        leisure: Duration,
    ) -> Option<ObserverId> {
        let (path, message) = (asks.path, asks.message);
        let old = self.find(path.peer, message.token(), asks.sender);
        let Some(way) = self.find_place(asks, old) else {
            self.counters.refused += 1;
            // The answer says that the client is no observer, so it is none.
            self.supersede(path.peer, message.token(), asks.sender);
            return None;
        };
        let peer = self.enter_peer(path.peer)?;
        let strange = asks.is_strange();
        if self.table.len() == 0 {
            self.look_at = now + self.config.look_every();
        }
        if strange {
            self.look_at = self.look_at.min(now + ObserveConfig::STRANGE);
        }
        let before = old.and_then(|old| self.take_over(now, old, asks));
        let left = self.begin_with(now, asks, before, (way, leisure));
        let watched = self.watched.entry(asks.resource).or_default();
        watched.strangers += u32::from(strange);
        let version = watched.version;
        let place = u32::try_from(watched.observers.len()).unwrap_or(NONE);
        let first = self.peers.get(peer).map_or(NONE, |peer| peer.first);
        let id = self.table.insert(Observer {
            request: message.as_bytes().into(),
            kept: None,
            who: self.who(asks.sender),
            resource: asks.resource,
            number: left.number,
            due: now,
            acknowledged: left.acknowledged,
            leisure: left.leisure,
            peer,
            next: first,
            place,
            version,
            way,
            group: left.group,
            mid: 0,
            state: State::Underway,
            unconfirmed: left.unconfirmed,
            withdrawn: 0,
            changed: false,
            outstanding: false,
            notified: false,
            reachable: asks.reachable,
        })?;
        self.strangers += usize::from(strange);
        if let Some(watched) = self.watched.get_mut(&asks.resource) {
            watched.observers.push(id.index);
        }
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.first = id.index;
        }
        match before {
            Some(_) => self.counters.renewed += 1,
            None => self.counters.registered += 1,
        }
        self.admitted = Some(id);
        Some(id)
    }

    /// What a new entry begins with: what was left to it, or nothing. From now on it uses its ways.
    fn begin_with(
        &mut self,
        now: Instant,
        asks: &Asks<'_, '_>,
        before: Option<Left>,
        (way, leisure): (u16, Duration),
    ) -> Left {
        let mut left = before.unwrap_or(Left {
            number: 0,
            // Nobody has heard yet whether anyone is there: the first notification asks.
            unconfirmed: if asks.reachable { 0 } else { u8::MAX },
            acknowledged: now,
            group: NO_GROUP,
            leisure: 0,
        });
        let held = left.group; // by `take_over`
        // Who asks in person once more stays one of those that the group is answered with.
        if asks.path.is_multicast() {
            left.group = way;
            left.leisure = u32::try_from(leisure.as_millis()).unwrap_or(u32::MAX);
        }
        self.use_way(way);
        self.use_way(left.group);
        self.leave_way(held);
        left
    }

    /// Finds room in the list, a share of it and a way, or takes nothing and nobody's place.
    fn find_place(&mut self, asks: &Asks<'_, '_>, old: Option<ObserverId>) -> Option<u16> {
        let peer = asks.path.peer;
        if asks.message.as_bytes().len() > self.config.request {
            return None;
        }
        let way = self.way(asks.path)?;
        // An entry that is replaced leaves its share to the new one.
        let shares = old.is_some() || self.shares.take(peer);
        let Some(leaving) = self.who_gives_way(asks, old, shares) else {
            if old.is_none() && shares {
                self.shares.give_back(peer);
            }
            return None;
        };
        for stranger in leaving.into_iter().flatten() {
            self.counters.gave_way += 1;
            let on_its_way = self.remove(stranger);
            self.settled.extend(on_its_way);
        }
        (shares || self.shares.take(peer)).then_some(way)
    }

    /// Which strangers leave for one more, or for one in place of the old one: one for the share of the address, unless the
    /// new one has it, and one for the place. `None`: there is no room, whoever leaves.
    fn who_gives_way(
        &self,
        asks: &Asks<'_, '_>,
        old: Option<ObserverId>,
        shares: bool,
    ) -> Option<[Option<ObserverId>; 2]> {
        let resource = asks.resource;
        let (places, of_one) = (self.config.observers, self.config.per_resource);
        if asks.is_strange() && !shares {
            return None;
        }
        let for_share = match shares {
            true => None,
            false => {
                let holder = Holder::of(asks.path.peer.ip());
                let shared = |_, other: &Observer| {
                    let other = self.peers.get(other.peer);
                    other.is_some_and(|other| Holder::of(other.address.ip()) == holder)
                };
                Some(self.oldest_stranger(shared)?)
            }
        };
        if old.is_some_and(|old| self.is_of(old, resource)) {
            return Some([for_share, None]); // it stays where it is
        }
        let replaced = old.or(for_share);
        let all = self.table.len() - usize::from(replaced.is_some());
        let here = replaced.is_some_and(|id| self.is_of(id, resource));
        let of_resource = self.of(resource) - usize::from(here);
        if asks.is_strange() {
            let watched = self.watched.get(&resource);
            let strangers = watched.map_or(0, |watched| watched.strangers as usize);
            let room = all < places
                && of_resource < of_one
                && self.strangers < ObserveConfig::of_strangers(places)
                && strangers < ObserveConfig::of_strangers(of_one);
            return room.then_some([None, None]);
        }
        let other = |id| Some(id) != replaced;
        let for_place = if of_resource >= of_one {
            let same = |id, it: &Observer| other(id) && it.resource == resource;
            Some(self.oldest_stranger(same)?)
        } else if all >= places {
            Some(self.oldest_stranger(|id, _| other(id))?)
        } else {
            None
        };
        Some([for_share, for_place])
    }

    /// Of these strangers the one that is there for longest.
    fn oldest_stranger(&self, which: impl Fn(ObserverId, &Observer) -> bool) -> Option<ObserverId> {
        if self.strangers == 0 {
            return None;
        }
        let strangers = self.table.keys().filter_map(|id| {
            let observer = self.table.get(id)?;
            let gives = observer.is_stranger() && which(id, observer);
            gives.then_some((observer.acknowledged, id))
        });
        let oldest = strangers.min_by_key(|(since, _)| *since);
        oldest.map(|(_, id)| id)
    }

    /// What an entry leaves to the one that replaces it: a client does not become more trustworthy by asking again.
    fn take_over(&mut self, now: Instant, old: ObserverId, asks: &Asks<'_, '_>) -> Option<Left> {
        let observer = self.table.get(old)?;
        let (peer, group) = (observer.peer, observer.group);
        let same = observer.resource == asks.resource;
        let left = Left {
            number: observer.number,
            unconfirmed: observer.unconfirmed,
            acknowledged: match asks.is_strange() {
                true => observer.acknowledged,
                false => now,
            },
            group: if same { group } else { NO_GROUP },
            leisure: observer.leisure,
        };
        self.use_way(left.group); // so that it stays
        let address = self.peers.get_mut(peer).map(|peer| {
            peer.outstanding += 1; // so that it stays
            peer.address
        });
        let on_its_way = self.remove(old);
        // Who is known to be there need not say so to the old one any more.
        self.settled
            .extend(on_its_way.filter(|_| !asks.is_strange()));
        if let (Some(peer), Some(address)) = (self.peers.get_mut(peer), address) {
            peer.outstanding -= 1;
            // The share stays with the new entry.
            let _ = self.shares.take(address);
        }
        Some(left)
    }

    /// Ends what this sender has registered under this token.
    pub(super) fn supersede(&mut self, peer: SocketAddr, token: Token, sender: &Sender) {
        if let Some(old) = self.find(peer, token, sender) {
            let stranger = self.table.get(old).is_some_and(Observer::is_stranger);
            let on_its_way = self.end(old).filter(|_| !stranger);
            self.settled.extend(on_its_way);
        }
    }

    /// Whom the last request has put on the list.
    pub(crate) fn take_admitted(&mut self) -> Option<ObserverId> {
        self.admitted.take().filter(|id| self.contains(*id))
    }

    /// The Confirmable notification that need not be acknowledged any more since the last request.
    pub(crate) fn take_settled(&mut self) -> Option<(SocketAddr, MessageId)> {
        self.settled.pop()
    }

    fn use_way(&mut self, at: u16) {
        if let Some(way) = self.ways.get_mut(usize::from(at)) {
            way.users += 1;
        }
    }

    fn leave_way(&mut self, at: u16) {
        if let Some(way) = self.ways.get_mut(usize::from(at)) {
            way.users = way.users.saturating_sub(1);
        }
    }

    /// The way of this path. It is free again unless somebody uses it.
    fn way(&mut self, path: &Path) -> Option<u16> {
        let same = |way: &Way| {
            way.users > 0
                && (way.socket, way.local, way.interface)
                    == (path.socket, path.local, path.interface)
        };
        let known = self.ways.iter().position(same);
        let at = known.or_else(|| self.ways.iter().position(|way| way.users == 0));
        let at = at.unwrap_or(self.ways.len());
        if at >= ObserveConfig::WAYS {
            return None;
        }
        let fresh = Way {
            socket: path.socket,
            local: path.local,
            interface: path.interface,
            users: 0,
        };
        match self.ways.get_mut(at) {
            Some(way) if known.is_none() => *way = fresh,
            Some(_) => {}
            None => self.ways.push(fresh),
        }
        u16::try_from(at).ok()
    }

    pub(super) fn enter_peer(&mut self, address: SocketAddr) -> Option<ObserverId> {
        if let Some(known) = self.peer_at(address) {
            return Some(known);
        }
        let peer = self.peers.insert(Peer {
            address,
            held_until: Instant::ZERO,
            round_trip: 0,
            outstanding: 0,
            outstanding_to_strangers: 0,
            first: NONE,
        })?;
        let (hash, peers) = (&self.hash, &self.peers);
        let of = |index: &u32| {
            peers
                .at(*index)
                .map_or(0, |peer| Self::address_hash(hash, peer.address))
        };
        self.by_address
            .insert_unique(Self::address_hash(hash, address), peer.index, of);
        Some(peer)
    }

    /// Takes an observer off the list; the peer and Message ID of its Confirmable notification, if one is on its way.
    pub(crate) fn remove(&mut self, id: ObserverId) -> Option<(SocketAddr, MessageId)> {
        let observer = self.table.remove(id)?;
        self.places.leave(id.index);
        match observer.state {
            State::Due => {
                self.timers.remove(&(observer.due, id.index));
            }
            State::Ready => self.thin(|all| &mut all.ready),
            State::Crowded if observer.is_stranger() => self.thin(|all| &mut all.crowded_strangers),
            State::Crowded if observer.withdrawn > 0 => self.thin(|all| &mut all.crowded_again),
            State::Crowded => self.thin(|all| &mut all.crowded),
            State::Quiet | State::Waiting | State::Underway => {}
        }
        self.leave_way(observer.way);
        self.leave_way(observer.group);
        self.strangers -= usize::from(observer.is_stranger());
        self.unwatch(&observer);
        let address = self.unlink(&observer, id.index)?;
        self.shares.give_back(address);
        observer
            .outstanding
            .then_some((address, MessageId(observer.mid)))
    }

    /// Whoever is gone is passed over when its turn comes. Only when they are many they are taken out of a queue.
    fn thin(&mut self, queue: impl Fn(&mut Self) -> &mut VecDeque<ObserverId>) {
        let mut ids = core::mem::take(queue(self));
        if ids.len() > 2 * self.table.len() {
            ids.retain(|id| self.contains(*id));
        }
        *queue(self) = ids;
    }

    /// Takes an observer off the list of its resource, where the last takes its place.
    fn unwatch(&mut self, observer: &Observer) {
        let Some(watched) = self.watched.get_mut(&observer.resource) else {
            return;
        };
        let place = observer.place as usize;
        if place < watched.observers.len() {
            watched.observers.swap_remove(place);
        }
        watched.untold = watched.untold.min(watched.observers.len());
        watched.strangers -= u32::from(observer.is_stranger());
        let moved = watched.observers.get(place).copied();
        if watched.observers.is_empty() {
            self.watched.remove(&observer.resource);
            self.walks.retain(|walk| *walk != observer.resource);
        }
        if let Some(key) = moved.and_then(|index| self.table.key(index))
            && let Some(moved) = self.table.get_mut(key)
        {
            moved.place = observer.place;
        }
    }

    /// Takes an observer off the list of its endpoint, which goes with its last one.
    fn unlink(&mut self, observer: &Observer, index: u32) -> Option<SocketAddr> {
        let before = self
            .of_peer(observer.peer)
            .find(|(_, other)| other.next == index)
            .map(|(before, _)| before);
        let peer = self.peers.get_mut(observer.peer)?;
        let address = peer.address;
        if peer.first == index {
            peer.first = observer.next;
        } else if let Some(before) = before.and_then(|before| self.table.get_mut(before)) {
            before.next = observer.next;
        }
        self.leave(observer.peer);
        Some(address)
    }

    /// Forgets an endpoint for which nothing is kept any more.
    pub(super) fn leave(&mut self, id: ObserverId) {
        let Some(peer) = self.peers.get(id) else {
            return;
        };
        if peer.first != NONE || peer.outstanding > 0 || peer.outstanding_to_strangers > 0 {
            return;
        }
        let hash = Self::address_hash(&self.hash, peer.address);
        if let Ok(found) = self.by_address.find_entry(hash, |index| *index == id.index) {
            found.remove();
        }
        self.peers.remove(id);
    }

    /// The server ends an observation.
    pub(crate) fn end(&mut self, id: ObserverId) -> Option<(SocketAddr, MessageId)> {
        self.counters.ended += u64::from(self.table.get(id).is_some());
        self.remove(id)
    }

    /// Whose observations end when the notification of this turn was not acknowledged: those of the endpoint that were made
    /// by the same sender. What a stranger has asked for says nothing of anyone else.
    pub(crate) fn all_of(&self, turn: &Turn) -> Vec<ObserverId> {
        // In place of an entry that was replaced meanwhile stands another stranger, or somebody who was heard of since.
        let who = match self.table.get(turn.observer) {
            Some(observer) if !turn.stranger => Some(observer.who),
            _ => None,
        };
        self.of_peer(turn.peer)
            .filter(|(_, observer)| observer.is_stranger() || who == Some(observer.who))
            .map(|(id, _)| id)
            .collect()
    }

    /// Takes what is kept of an observer, to ask its request again.
    pub(crate) fn take(&mut self, turn: &Turn) -> Option<Taken> {
        let address = self.peers.get(turn.peer)?.address;
        let observer = self.table.get_mut(turn.observer)?;
        let way = self.ways.get(usize::from(observer.way))?;
        Some(Taken {
            path: Path {
                socket: way.socket,
                local: way.local,
                interface: way.interface,
                peer: address,
            },
            request: core::mem::take(&mut observer.request),
            kept: observer.kept.take(),
            secured: observer.who != 0,
            reachable: observer.reachable,
        })
    }

    /// Puts the request back that [`take`](Self::take) took.
    pub(crate) fn put_back(&mut self, id: ObserverId, request: Box<[u8]>) {
        if let Some(observer) = self.table.get_mut(id) {
            observer.request = request;
        }
    }

    /// The observers whose notifications are protected, with what protects them unless that is with an answer on its way.
    pub(crate) fn secured(&self) -> impl Iterator<Item = (ObserverId, &Kept)> {
        self.table.keys().filter_map(|id| {
            let kept = self.table.get(id)?.kept.as_deref()?;
            Some((id, kept))
        })
    }

    /// Keeps what protects the next notification.
    pub(crate) fn keep(&mut self, id: ObserverId, kept: Kept) {
        if let Some(observer) = self.table.get_mut(id) {
            observer.kept = Some(Box::new(kept));
        }
    }
}

/// The token of a message.
fn token_of(message: &[u8]) -> Option<Token> {
    let length = usize::from(message.first()? & 0x0f);
    Token::new(message.get(4..4 + length)?)
}
