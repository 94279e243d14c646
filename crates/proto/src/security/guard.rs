//! What an endpoint keeps for security beside the contexts: policies, budgets, addresses, what is being fetched.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::hash::BuildHasher;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use antiphon_oscore::echo::EchoNote;
use antiphon_oscore::record::Record;
use antiphon_oscore::sequence::Sequence;
use antiphon_oscore::{ContextId, Contexts, GroupEvent, GroupId, Kid, Member, Reason, Wanted};
use hashbrown::HashMap;

use super::Budgets;
use crate::path::{peer_key, same_peer};
use crate::rng::{KeyedHash, Rng};
use crate::time::Instant;
use crate::work::WorkId;

/// Policies of protected messages. The defaults are the safe ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityConfig {
    /// Whether an error is answered, unprotected, when a unicast request cannot be opened (RFC 8613 section 8.2).
    /// Default no: it would tell strangers which contexts there are. To a group nobody ever answers an error.
    pub answer_errors: bool,
    /// In which mode of Group OSCORE requests are answered.
    pub answers: AnswerMode,
    /// Signatures of one address that may fail in a second before its messages are dropped unseen. Default 64.
    pub failures_per_source: u32,
    /// Challenges and errors sent to one address in a second. Default 8.
    pub challenges_per_source: u32,
    /// Credentials of unknown members that are asked for in a second, whoever claims to be one. Default 16.
    pub fetches: u32,
    /// How many of these messages of one address may take. Default 4.
    pub fetches_per_source: u32,
    /// For so long a credential that was not found is not asked for again. Default 60 s.
    pub unknown_for: Duration,
    /// Members whose address is remembered as one where they were reached. Default 1024; one more, and another is challenged again.
    pub addresses: usize,
    /// Sources whose budgets are told apart. Default 1024.
    pub sources: usize,
    /// The largest protected message, request or response, that is put together from outer blocks, which proxies make and
    /// nothing protects: MAX_UNFRAGMENTED_SIZE, in bytes of its payload (RFC 8613 section 4.1.3.4.2). A request that is larger
    /// is refused with 4.13, a response is not taken. Default 4096; 0: none is put together, and no answer is cut for those
    /// who ask for that. In each role 16 at a time, four of them of one address or /64 prefix; a server keeps as many answers
    /// of which it has sent the first outer block.
    pub unfragmented: usize,
    /// How long to wait before a reservation of sequence numbers that failed is tried again. Default 1 s.
    pub store_again_after: Duration,
}

impl Default for SecurityConfig {
    fn default() -> Self {
        Self {
            answer_errors: false,
            answers: AnswerMode::default(),
            failures_per_source: 64,
            challenges_per_source: 8,
            fetches: 16,
            fetches_per_source: 4,
            unknown_for: Duration::from_secs(60),
            addresses: 1_024,
            sources: 1_024,
            unfragmented: 4_096,
            store_again_after: Duration::from_secs(1),
        }
    }
}

impl SecurityConfig {
    /// The memory of all tables that others can fill, at most.
    pub(crate) const fn memory_total(&self) -> usize {
        3 * Budgets::memory_total(self.sources)
            + Budgets::memory_total(1)
            + 4 * self.addresses * (size_of::<((ContextId, Kid), Reached)>() + 1)
            + crate::endpoint::outer_memory(self.unfragmented)
            + UNKNOWN * 3 * size_of::<((GroupId, Kid), Instant)>()
            + 256
    }
}

/// In which mode of Group OSCORE requests are answered. A mode that the group does not have is replaced by the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnswerMode {
    /// A request that came through a group in group mode, one that came by unicast in pairwise mode. The default.
    #[default]
    ByArrival,
    /// In the mode of the request.
    AsRequested,
    /// In group mode, so that everyone in the group can verify the answer.
    Group,
    /// In pairwise mode, so that nobody but the client can read the answer.
    Pairwise,
}

/// News of a security context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecurityEvent {
    /// Its sequence numbers will soon be used up: ask for a new Sender ID or new keys.
    NearExhaustion(ContextId),
    /// Its sequence numbers are used up: nothing more is protected in it.
    Exhausted(ContextId),
    /// It is not certain which of its sequence numbers were used: nothing is protected in it.
    Lost(ContextId),
    /// Sequence numbers could not be reserved; it is tried again.
    NotReserved(ContextId),
    /// The Recipient Context of a member was deleted, by the application or because it was idle. Told only where
    /// [`UpkeepSettings::tell_deleted`](antiphon_oscore::UpkeepSettings::tell_deleted) says so.
    RecipientDeleted {
        /// In which group.
        group: GroupId,
        /// The Recipient ID.
        kid: Kid,
    },
    /// Whoever manages the group should be asked for this: each at most once for its cause, and what strangers can cause at most
    /// once in [`UpkeepSettings::again_after`](antiphon_oscore::UpkeepSettings::again_after).
    Wanted {
        /// For which group.
        group: GroupId,
        /// For what.
        what: Wanted,
    },
}

impl SecurityEvent {
    fn of(group: GroupId, event: GroupEvent) -> Self {
        match event {
            GroupEvent::RecipientDeleted(kid) => Self::RecipientDeleted { group, kid },
            GroupEvent::Wanted(what) => Self::Wanted { group, what },
        }
    }
}

/// What has become of protected messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecurityCounters {
    /// Requests that were opened.
    pub requests: u64,
    /// Responses that were opened.
    pub responses: u64,
    /// Messages that were protected and sent.
    pub protected: u64,
    /// Messages that could not be protected.
    pub not_protected: u64,
    /// Requests answered with a challenge.
    pub challenges: u64,
    /// Challenges not sent, because the source has had its share.
    pub challenges_withheld: u64,
    /// Members of collections that were asked again with the Echo value that they had sent.
    pub echoed: u64,
    /// Messages dropped unseen, because too much of their source had failed.
    pub over_budget: u64,
    /// Messages whose OSCORE option or payload does not decode.
    pub malformed: u64,
    /// Messages for which there is no context.
    pub no_context: u64,
    /// Messages of members whose credential is not known.
    pub no_credential: u64,
    /// Replays.
    pub replayed: u64,
    /// Requests under a replay window that cannot be made valid here.
    pub window_invalid: u64,
    /// Messages whose signature or tag is wrong.
    pub not_verified: u64,
    /// Messages in a mode that the group does not have.
    pub mode_unavailable: u64,
    /// Own requests that came back.
    pub own: u64,
    /// Messages under a context that is lost.
    pub lost: u64,
    /// Messages overtaken by a rekeying, or by the end of what they belonged to.
    pub superseded: u64,
    /// Responses of another member than the one that was asked, or under a changed Sender ID.
    pub other_member: u64,
    /// Messages that verified and hold what may not come here.
    pub content: u64,
    /// Messages not opened because the own key failed.
    pub key_failures: u64,
    /// Errors answered without protection.
    pub errors_answered: u64,
    /// Protected responses in outer blocks that could not be put together: too large, or the blocks did not fit together,
    /// did not come, or found no room.
    #[cfg(feature = "client")]
    pub not_assembled: u64,
}

impl SecurityCounters {
    pub(crate) fn count(&mut self, reason: Reason) {
        let counter = match reason {
            Reason::Malformed => &mut self.malformed,
            Reason::NoContext => &mut self.no_context,
            Reason::NoCredential { .. } => &mut self.no_credential,
            Reason::Replayed => &mut self.replayed,
            Reason::WindowInvalid => &mut self.window_invalid,
            Reason::NotVerified => &mut self.not_verified,
            Reason::ModeUnavailable(_) => &mut self.mode_unavailable,
            Reason::OwnKid => &mut self.own,
            Reason::Lost => &mut self.lost,
            Reason::Installing | Reason::Superseded | Reason::WrongResult => &mut self.superseded,
            Reason::OtherMember | Reason::KidChanged | Reason::TooManyServers => {
                &mut self.other_member
            }
            Reason::Content => &mut self.content,
            Reason::KeyFailure => &mut self.key_failures,
        };
        *counter += 1;
    }
}

/// Sequence numbers that are being reserved.
pub(crate) struct Reservation {
    pub(crate) context: ContextId,
    gid: Vec<u8>,
    sender_id: Kid,
    generation: u64,
    upto: u64,
}

/// A Recipient Context whose deletion is being made durable.
pub(crate) struct Deletion {
    pub(crate) group: GroupId,
    /// A rekeying in between has made another context of it.
    gid: Vec<u8>,
    kid: Kid,
}

/// What is being made durable.
pub(crate) enum Storing {
    Reservation(Reservation),
    Deletion(Deletion),
}

/// What was made durable, or was not.
pub(crate) enum Stored {
    /// A reservation of sequence numbers of this context.
    Reservation(ContextId),
    /// A deletion.
    Deletion,
}

/// Where a member was reached.
struct Reached {
    /// Whose address this is, whatever its Sender ID says.
    identity: u64,
    address: SocketAddr,
}

/// Credentials that were not found, at most so many remembered.
const UNKNOWN: usize = 256;

/// Messages of one unknown member that wait for its credential.
const WAIT_FOR_CREDENTIAL: usize = 4;

/// After so long a credential that is being fetched is asked for once more.
const FETCH_PATIENCE: Duration = Duration::from_secs(10);

/// A credential that is being fetched.
struct Fetching {
    work: WorkId,
    since: Instant,
    waiting: Vec<WorkId>,
}

/// Time as the security contexts count it.
pub(crate) fn at(now: Instant) -> Duration {
    now.since(Instant::ZERO)
}

pub(crate) struct Guard {
    pub(crate) contexts: Contexts,
    pub(crate) config: SecurityConfig,
    pub(crate) counters: SecurityCounters,
    pub(crate) failures: Budgets,
    pub(crate) challenges: Budgets,
    fetches: Budgets,
    source_fetches: Budgets,
    reached: HashMap<(ContextId, Kid), Reached, KeyedHash>,
    /// Of identities, and of addresses in Echo values.
    hash: KeyedHash,
    /// Messages that wait for sequence numbers, in order.
    pub(crate) stalled: Vec<(WorkId, Instant)>,
    storing: BTreeMap<WorkId, Storing>,
    /// Contexts of which a reservation has failed, and when it is tried again.
    reserve_from: BTreeMap<ContextId, Instant>,
    /// Credentials being fetched, and the messages that wait for them.
    fetching: BTreeMap<(GroupId, Kid), Fetching>,
    unknown: BTreeMap<(GroupId, Kid), Instant>,
    /// When answers that wait to be protected are acknowledged.
    pub(crate) slow: BTreeSet<(Instant, WorkId)>,
    /// What was told last of a context that is not well: of few, so a list is enough.
    warned: Vec<(ContextId, SecurityEvent)>,
}

impl Guard {
    pub(crate) fn new(config: SecurityConfig, rng: &mut Rng) -> Self {
        Self {
            contexts: Contexts::new(),
            counters: SecurityCounters::default(),
            failures: Budgets::new(config.failures_per_source, config.sources, rng),
            challenges: Budgets::new(config.challenges_per_source, config.sources, rng),
            fetches: Budgets::new(config.fetches, 1, rng),
            source_fetches: Budgets::new(config.fetches_per_source, config.sources, rng),
            reached: HashMap::with_hasher(rng.keyed_hash()),
            hash: rng.keyed_hash(),
            stalled: Vec::new(),
            storing: BTreeMap::new(),
            reserve_from: BTreeMap::new(),
            fetching: BTreeMap::new(),
            unknown: BTreeMap::new(),
            slow: BTreeSet::new(),
            warned: Vec::new(),
            config,
        }
    }

    /// Is there any security context?
    pub(crate) fn is_used(&self) -> bool {
        self.contexts.groups().next().is_some() || self.contexts.pairs().next().is_some()
    }

    // ---- sequence numbers --------------------------------------------------------------------------

    /// The next reservation that is to be made durable: some are asked for when half of a block is used.
    pub(crate) fn poll_reservation(&mut self, now: Instant) -> Option<(Reservation, Record)> {
        let failed = &self.reserve_from;
        let waits = |id: ContextId| failed.get(&id).is_some_and(|from| now < *from);
        for (id, group) in self.contexts.groups_mut() {
            if waits(id.into()) {
                continue;
            }
            let Some(upto) = group.sequence_mut().and_then(|sequence| sequence.wants()) else {
                continue;
            };
            let (gid, generation) = (group.gid().as_bytes().to_vec(), group.generation());
            let Some(sender_id) = group.sender_id() else {
                continue;
            };
            return Some(reservation(id.into(), gid, sender_id, generation, upto));
        }
        let pairs: Vec<_> = self.contexts.pairs().map(|(id, _)| id).collect();
        for id in pairs {
            let pair = self.contexts.pair_mut(id).filter(|_| !waits(id.into()));
            let Some(pair) = pair else {
                continue;
            };
            let Some(upto) = pair.sequence_mut().wants() else {
                continue;
            };
            let gid = pair.id_context().map(|gid| gid.as_bytes().to_vec());
            let sender_id = pair.sender_id();
            return Some(reservation(
                id.into(),
                gid.unwrap_or_default(),
                sender_id,
                0,
                upto,
            ));
        }
        None
    }

    // ---- idle members ------------------------------------------------------------------------------

    /// The next Recipient Context that is to be deleted because it is idle: what has to be durable first.
    pub(crate) fn poll_deletion(&mut self, now: Instant) -> Option<(Deletion, Record)> {
        let (group, kid) = self.contexts.take_idle(at(now))?;
        let gid = self.contexts.group(group)?.gid().as_bytes().to_vec();
        let record = Record::PeerDeleted {
            gid: gid.clone(),
            recipient_id: kid.as_bytes().to_vec(),
        };
        Some((Deletion { group, gid, kid }, record))
    }

    pub(crate) fn storing(&mut self, id: WorkId, what: Storing) {
        self.storing.insert(id, what);
    }

    /// A reservation or a deletion is durable, or failed. `None`: it was neither.
    pub(crate) fn stored(&mut self, now: Instant, id: WorkId, ok: bool) -> Option<Stored> {
        Some(match self.storing.remove(&id)? {
            Storing::Reservation(done) => Stored::Reservation(self.reserved(now, done, ok)),
            Storing::Deletion(done) => {
                self.deleted(&done, ok);
                Stored::Deletion
            }
        })
    }

    /// If the deletion of a Recipient Context failed, that stays until it is idle once more.
    fn deleted(&mut self, done: &Deletion, ok: bool) {
        if ok
            && let Some(group) = self.contexts.group_mut(done.group)
            && group.gid().as_bytes() == done.gid
        {
            group.remove_peer(done.kid);
        }
    }

    /// A reservation counts only for the keys that it was made for.
    fn reserved(&mut self, now: Instant, done: Reservation, ok: bool) -> ContextId {
        if !ok {
            let again = now + self.config.store_again_after;
            self.reserve_from.insert(done.context, again);
        }
        let sequence = match done.context {
            ContextId::Group(id) => self
                .contexts
                .group_mut(id)
                .filter(|group| {
                    group.gid().as_bytes() == done.gid
                        && group.generation() == done.generation
                        && group.sender_id() == Some(done.sender_id)
                })
                .and_then(|group| group.sequence_mut()),
            ContextId::Pair(id) => self.contexts.pair_mut(id).map(|pair| pair.sequence_mut()),
        };
        match (sequence, ok) {
            (Some(sequence), true) => sequence.reserved(done.upto),
            (Some(sequence), false) => sequence.not_reserved(),
            (None, _) => {}
        }
        done.context
    }

    /// When a failed reservation is tried again.
    pub(crate) fn next_timeout(&self, now_or_before: Option<Instant>) -> Option<Instant> {
        let again = self.reserve_from.values().min().copied();
        let slow = self.slow.first().map(|(at, _)| *at);
        [again, slow, now_or_before].into_iter().flatten().min()
    }

    /// Time passed. Has the time come to try again what failed to be reserved?
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        let failed = self.reserve_from.len();
        self.reserve_from.retain(|_, from| *from > now);
        let again = self.reserve_from.len() < failed;
        self.contexts.handle_timeout(at(now));
        self.unknown.retain(|_, until| *until > now);
        again
    }

    /// News of the contexts that was not told yet.
    pub(crate) fn poll_event(&mut self) -> Option<SecurityEvent> {
        if let Some((group, event)) = self.contexts.poll_event() {
            return Some(SecurityEvent::of(group, event));
        }
        loop {
            let groups = self.contexts.groups().map(|(id, group)| {
                let sequence = group.sequence();
                let lost = group.is_lost() || sequence.is_some_and(Sequence::is_lost);
                let used = sequence.is_some_and(Sequence::is_exhausted);
                let near = sequence.is_some_and(Sequence::near_exhaustion);
                state(id.into(), lost, used, near)
            });
            let pairs = self.contexts.pairs().map(|(id, pair)| {
                let sequence = pair.sequence();
                let lost = pair.is_lost() || sequence.is_lost();
                let (used, near) = (sequence.is_exhausted(), sequence.near_exhaustion());
                state(id.into(), lost, used, near)
            });
            let warned = |id: ContextId| {
                let mut told = self.warned.iter();
                told.find(|(of, _)| *of == id).map(|(_, event)| *event)
            };
            let (id, news) = groups
                .chain(pairs)
                .find(|(id, state)| warned(*id) != *state)?;
            self.warned.retain(|(of, _)| *of != id);
            if let Some(event) = news {
                self.warned.push((id, event));
                return Some(event);
            }
        }
    }

    /// A group was left: nothing is remembered of its members' addresses and of what was told of it.
    pub(crate) fn forget(&mut self, group: GroupId) {
        let id = ContextId::Group(group);
        self.reached.retain(|(of, _), _| *of != id);
        self.unknown.retain(|(of, _), _| *of != group);
        self.warned.retain(|(of, _)| *of != id);
        self.reserve_from.remove(&id);
    }

    // ---- addresses -----------------------------------------------------------------------------------

    /// What an Echo value notes of the address that it is sent to.
    pub(crate) fn note_of(&self, peer: SocketAddr) -> EchoNote {
        let [a, b, c, d, ..] = self.hash.hash_one(peer_key(peer)).to_be_bytes();
        [a, b, c, d]
    }

    /// An Echo value with this note came back from this address. If it was sent there, the address is the member's.
    pub(crate) fn echoed(
        &mut self,
        context: ContextId,
        member: &Member,
        note: EchoNote,
        peer: SocketAddr,
    ) {
        if note != self.note_of(peer) {
            return;
        }
        let key = (context, member.kid());
        if !self.reached.contains_key(&key) && self.reached.len() >= self.config.addresses {
            // Anybody gives way: nobody can choose whom, and who it is is challenged again.
            let Some(any) = self.reached.keys().next().copied() else {
                return;
            };
            self.reached.remove(&any);
        }
        let identity = self.hash.bytes(member.identity());
        let address = peer;
        self.reached.insert(key, Reached { identity, address });
    }

    /// Is the member known to be reached at this address?
    pub(crate) fn is_reachable(
        &self,
        context: ContextId,
        member: &Member,
        peer: SocketAddr,
    ) -> bool {
        let reached = self.reached.get(&(context, member.kid()));
        reached.is_some_and(|reached| {
            same_peer(reached.address, peer)
                && reached.identity == self.hash.bytes(member.identity())
        })
    }

    // ---- credentials of members that are not known yet --------------------------------------------------

    /// Whether a message of this unknown member may wait for its credential, and whether it is to be asked for. Each source has its own
    /// budget before the common one, so that none can use that up for the others.
    pub(crate) fn fetch(
        &mut self,
        now: Instant,
        source: IpAddr,
        group: GroupId,
        kid: Kid,
    ) -> Fetch {
        let key = (group, kid);
        // Who fetches does not always come back.
        self.fetching
            .retain(|_, fetching| fetching.since + FETCH_PATIENCE > now);
        if let Some(fetching) = self.fetching.get(&key) {
            return match fetching.waiting.len() < WAIT_FOR_CREDENTIAL {
                true => Fetch::Wait,
                false => Fetch::Drop,
            };
        }
        let known = self.unknown.get(&key).is_some_and(|until| *until > now);
        let anyone = core::net::Ipv4Addr::UNSPECIFIED.into();
        if known || !self.source_fetches.take(now, source) {
            return Fetch::Drop;
        }
        match self.fetches.take(now, anyone) {
            true => Fetch::Ask,
            false => {
                self.source_fetches.give_back(source);
                Fetch::Drop
            }
        }
    }

    pub(crate) fn fetching(&mut self, now: Instant, group: GroupId, kid: Kid, work: WorkId) {
        let fetching = Fetching {
            work,
            since: now,
            waiting: Vec::new(),
        };
        self.fetching.insert((group, kid), fetching);
    }

    pub(crate) fn wait_for(&mut self, group: GroupId, kid: Kid, message: WorkId) {
        if let Some(fetching) = self.fetching.get_mut(&(group, kid)) {
            fetching.waiting.push(message);
        }
    }

    /// A credential was fetched, or not: whose, and which messages waited for it. `None`: none was asked for.
    pub(crate) fn fetched(
        &mut self,
        now: Instant,
        work: WorkId,
        found: bool,
    ) -> Option<(GroupId, Kid, Vec<WorkId>)> {
        let key = self.fetching.iter().find(|(_, it)| it.work == work);
        let key = key.map(|(key, _)| *key)?;
        let waiting = self.fetching.remove(&key)?.waiting;
        if !found {
            self.remember_unknown(now, key);
        }
        Some((key.0, key.1, waiting))
    }
}

impl Guard {
    /// This credential was not found. Where too many were not, the oldest may be asked for again.
    fn remember_unknown(&mut self, now: Instant, key: (GroupId, Kid)) {
        if self.unknown.len() >= UNKNOWN {
            let oldest = self.unknown.iter().min_by_key(|(_, until)| **until);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.unknown.remove(&oldest);
            }
        }
        self.unknown.insert(key, now + self.config.unknown_for);
    }
}

/// What becomes of a message of a member that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetch {
    /// Its credential is asked for, and the message waits.
    Ask,
    /// Its credential is asked for already; the message waits too.
    Wait,
    /// It is dropped.
    Drop,
}

fn reservation(
    context: ContextId,
    gid: Vec<u8>,
    sender_id: Kid,
    generation: u64,
    upto: u64,
) -> (Reservation, Record) {
    let record = Record::Reserved {
        gid: gid.clone(),
        sender_id: sender_id.as_bytes().to_vec(),
        upto,
    };
    let reservation = Reservation {
        context,
        gid,
        sender_id,
        generation,
        upto,
    };
    (reservation, record)
}

/// The worst that is to be said of a context.
fn state(
    id: ContextId,
    lost: bool,
    exhausted: bool,
    near: bool,
) -> (ContextId, Option<SecurityEvent>) {
    let event = match (lost, exhausted, near) {
        (true, ..) => Some(SecurityEvent::Lost(id)),
        (_, true, _) => Some(SecurityEvent::Exhausted(id)),
        (_, _, true) => Some(SecurityEvent::NearExhaustion(id)),
        _ => None,
    };
    (id, event)
}

#[cfg(test)]
mod tests;
