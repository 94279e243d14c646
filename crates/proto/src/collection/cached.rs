//! Questions and the cache: which answers are kept, which of them stand in for members that are silent, and how members
//! say that they still hold (groupcomm-bis section 3.2, and section 3.2.2 of its version -03).

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use antiphon_wire::{
    Class, Code, Message, MessageId, MultiEtag, OptionNumber, Token, Type, Writer,
};

use super::conduct::{Arrived, encode};
use super::outcome::{How, Rejection, Verdict};
use super::protected::ChallengeRequest;
use super::question::{Phase, Question};
use super::request::{CollectError, GroupRequest, LinkProfile, Security};
use super::{Asking, CollectionId, Collections, EndedBy};
use crate::cache::{Cache, Context, Heard, Key, RequestKey, ResourcePath, Responder, entity_tag};
use crate::config::Profile;
use crate::exchange::encoded_bound;
use crate::expect::{MemberIndex, responder_address};
use crate::identity::Sender;
use crate::message::{Request, Response};
use crate::path::{Path, Route};
use crate::security::Protection;
use crate::time::Instant;

/// What a group request has to do with the cache. It counts for GET and FETCH only, and not for requests with Observe,
/// Block, If-Match or If-None-Match, entity tags of the application's own, or to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caching {
    /// The request carries the entity tags of answers that are kept and not fresh any more, so that members whose answer
    /// is still the same need not send it again: ETag in profile `current`, Multi-ETag in profile `seed03`; default true.
    /// Members that are asked in person are asked with the tag of their own answer.
    pub validate: bool,
    /// Nothing is sent at all if the answers of all expected members are kept and fresh. The expectation must name every
    /// current member of the group: others are not asked. Default false. Without effect if nobody is expected, and in
    /// profile `seed03`, which always sends.
    pub alone: bool,
}

impl Default for Caching {
    fn default() -> Self {
        Self {
            validate: true,
            alone: false,
        }
    }
}

/// What a question has to do with the cache.
#[derive(Debug, Default)]
pub(crate) enum Memory {
    /// Nothing.
    #[default]
    None,
    /// Its answers are kept, and those that are kept count.
    Kept(Box<Kept>),
    /// It changes a resource, in this context and through these groups.
    Changes(ResourcePath, Context, Vec<SocketAddr>),
}

impl Memory {
    /// The question leaves, once or again.
    pub(super) fn leaves(&mut self, now: Instant, cache: &mut Cache) {
        match self {
            Self::None => {}
            Self::Kept(kept) => {
                kept.asked.get_or_insert_with(|| cache.moment());
            }
            Self::Changes(path, context, groups) => {
                cache.changed_by_group(now, path, *context, groups);
            }
        }
    }
}

/// Under what the answers to a question are kept.
#[derive(Debug)]
pub(crate) struct Kept {
    request: RequestKey,
    context: Context,
    groups: Vec<SocketAddr>,
    authority: Vec<u8>,
    caching: Caching,
    /// When it left first.
    asked: Option<u64>,
    /// Who has confirmed what is not kept, and was asked again.
    asked_again: BTreeSet<Responder>,
}

impl Kept {
    fn key(&self, sender: &Sender, address: SocketAddr) -> Option<Key> {
        Some(Key {
            request: self.request.clone(),
            context: self.context,
            responder: Responder::of(self.context, sender, address)?,
        })
    }
}

/// An answer that is kept and could be one to a question.
struct Candidate {
    key: Key,
    member: Option<MemberIndex>,
    is_fresh: bool,
    age: Duration,
}

impl Collections {
    /// The answers that are kept, for unicast requests as well.
    pub(crate) fn cache_mut(&mut self) -> &mut Cache {
        &mut self.cache
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// What a question that is open may change.
    pub(crate) fn path_it_changes(&self, id: CollectionId) -> Option<&ResourcePath> {
        match &self.questions.get(&id)?.memory {
            Memory::Changes(path, ..) => Some(path),
            Memory::None | Memory::Kept(_) => None,
        }
    }

    /// What a new question has to do with the cache. What it may change is not fresh from now on.
    pub(super) fn memory_of(&mut self, now: Instant, request: &GroupRequest) -> Memory {
        let context = match request.security {
            Security::Unsecured(_) => Context::Open,
            #[cfg(feature = "oscore")]
            Security::Group(group) => Context::Group(group),
        };
        let groups: Vec<_> = request.targets.iter().map(|target| target.group).collect();
        if changes(request.request.method) {
            let path = ResourcePath::of(&request.request.options);
            self.cache.changed_by_group(now, &path, context, &groups);
            return Memory::Changes(path, context, groups);
        }
        let (Some(caching), false) = (request.caching, request.wants_no_answer()) else {
            return Memory::None;
        };
        let Some((key, authority)) = RequestKey::of_group(&request.request) else {
            return Memory::None;
        };
        Memory::Kept(Box::new(Kept {
            request: key,
            context,
            groups,
            authority,
            caching,
            asked: None,
            asked_again: BTreeSet::new(),
        }))
    }

    /// The datagram of a new question, with as many entity tags as may be and fit into a frame.
    pub(super) fn datagram_of(
        &mut self,
        now: Instant,
        request: &Request,
        memory: &Memory,
    ) -> Result<Vec<u8>, CollectError> {
        let plain = encode(request, self.config.token_len)?;
        let Memory::Kept(kept) = memory else {
            return Ok(plain);
        };
        if !kept.caching.validate {
            return Ok(plain);
        }
        let budget = match self.config.link {
            LinkProfile::SixLowpan { budget, .. } => budget,
            LinkProfile::Unconstrained => usize::MAX,
        };
        let current = self.config.profile == Profile::Current;
        let through = (kept.groups.as_slice(), kept.authority.as_slice());
        let mut tags = self
            .cache
            .tags_to_offer(now, &kept.request, kept.context, through, current);
        while !tags.is_empty() {
            let mut request = request.clone();
            for (server, tag) in &tags {
                let mut value = [0; MultiEtag::MAX_ADDRESS_LEN + MultiEtag::MAX_TAG_LEN];
                if current {
                    request.options.push(OptionNumber::ETAG, tag);
                } else if let Ok(length) = MultiEtag::write(*server, &[tag], &mut value) {
                    let value = value.get(..length).unwrap_or_default();
                    request.options.push(OptionNumber::MULTI_ETAG, value);
                }
            }
            let datagram = encode(&request, self.config.token_len)?;
            if datagram.len() <= budget {
                return Ok(datagram);
            }
            tags.pop();
        }
        Ok(plain)
    }

    /// Answers a new question from the cache alone, if that is wanted and possible; says whether it is over.
    pub(super) fn answered_alone(&mut self, now: Instant, id: CollectionId) -> bool {
        let wants = |question: &Question| matches!(&question.memory, Memory::Kept(kept) if kept.caching.alone);
        if self.config.profile != Profile::Current || !self.questions.get(&id).is_some_and(wants) {
            return false;
        }
        let candidates = self.candidates(now, id);
        let Some(question) = self.questions.get_mut(&id) else {
            return false;
        };
        let expected = question.responders.expected();
        let fresh: BTreeSet<_> = candidates
            .iter()
            .filter(|candidate| candidate.is_fresh)
            .filter_map(|candidate| candidate.member)
            .collect();
        if expected == 0 || fresh.len() < expected {
            return false;
        }
        question.late = None;
        self.fill_up(now, id, true);
        self.finish(now, id, EndedBy::AllExpected);
        true
    }

    /// Answers for members that are silent, as far as theirs are kept and fresh; and for others that have answered this
    /// group before, unless `only_expected`.
    pub(super) fn fill_up(&mut self, now: Instant, id: CollectionId, only_expected: bool) {
        for candidate in self.candidates(now, id) {
            let Some(question) = self.questions.get(&id) else {
                return;
            };
            let is_open = match candidate.member {
                Some(member) => question.responders.is_silent(member),
                None => !only_expected,
            };
            if !is_open || matches!(question.phase, Phase::Late(_)) {
                continue;
            }
            if candidate.member.is_none() && self.has_heard(id, &candidate.key) {
                continue;
            }
            let Some(stored) = self.cache.take_fresh(now, &candidate.key) else {
                self.cache.counters.stale += 1;
                continue;
            };
            let arrived = Arrived {
                member: candidate.member,
                path: &stored.path,
                sender: &stored.sender,
                kind: None,
                how: How::Cached { age: stored.age },
            };
            self.deliver(now, id, &arrived, || stored.response);
        }
    }

    /// Has whoever gave this answer, and is not expected, been heard in this question?
    fn has_heard(&self, id: CollectionId, key: &Key) -> bool {
        let (Some(question), Some((path, sender))) =
            (self.questions.get(&id), self.cache.origin(key))
        else {
            return false;
        };
        question
            .responders
            .has_heard(responder_address(path), sender)
    }

    /// The answers that are kept of expected members, and of others that have answered this group; the youngest first.
    fn candidates(&self, now: Instant, id: CollectionId) -> Vec<Candidate> {
        let Some(question) = self.questions.get(&id) else {
            return Vec::new();
        };
        let Memory::Kept(kept) = &question.memory else {
            return Vec::new();
        };
        let mut candidates: Vec<_> = self
            .cache
            .of_request(&kept.request, kept.context)
            .filter_map(|(key, entry)| {
                let bytes = as_message(entry.response());
                let message = Message::parse(&bytes).ok()?;
                let members = &question.responders.members;
                let member = members.find(&entry.path, &entry.sender, &message);
                let counts = entry.authority == kept.authority
                    && (member.is_some() || entry.came_through(&kept.groups));
                counts.then(|| Candidate {
                    key: key.clone(),
                    member,
                    is_fresh: entry.is_fresh(now),
                    age: entry.age(now),
                })
            })
            .collect();
        candidates.sort_by_key(|candidate| candidate.age);
        candidates
    }

    /// The request to a member that is asked in person: with the entity tag of its own answer, if one is kept.
    pub(super) fn validating(
        &self,
        now: Instant,
        id: CollectionId,
        member: MemberIndex,
        mut request: Request,
    ) -> Request {
        let validates = |question: &Question| matches!(&question.memory, Memory::Kept(kept) if kept.caching.validate);
        if self.questions.get(&id).is_some_and(validates) {
            let mut candidates = self.candidates(now, id).into_iter();
            let own = candidates.find(|candidate| candidate.member == Some(member));
            if let Some(tag) = own.and_then(|own| self.cache.tag(&own.key)) {
                request.options.push(OptionNumber::ETAG, tag);
            }
        }
        request
    }

    /// Is what becomes of the answers to this question of interest here?
    pub(super) fn remembers(&self, id: CollectionId) -> bool {
        self.questions
            .get(&id)
            .is_some_and(|question| !matches!(question.memory, Memory::None))
    }

    /// An answer comes in: what it changes is noted. The verdict if it confirms what is not kept, and so is none.
    pub(super) fn heed(
        &mut self,
        now: Instant,
        id: CollectionId,
        arrived: &Arrived<'_>,
        response: &Response,
    ) -> Option<Verdict> {
        let Self {
            questions, cache, ..
        } = self;
        let question = questions.get_mut(&id)?;
        let kept = match &question.memory {
            _ if matches!(arrived.how, How::Cached { .. }) => return None,
            Memory::Kept(kept) => kept,
            Memory::Changes(path, ..) => {
                note_change(now, cache, path, arrived.path, arrived.sender, response);
                return None;
            }
            Memory::None => return None,
        };
        let address = responder_address(arrived.path);
        let key = kept.key(arrived.sender, address)?;
        if response.code != Code::VALID || cache.is_confirmed(&key, response) {
            return None;
        }
        if let Some(tag) = entity_tag(response) {
            cache.collided(&key.request, key.context, tag);
        }
        let rejection = Rejection::NotStored;
        question
            .responders
            .reject(arrived.member, address, arrived.sender, rejection);
        if let Some(again) = question.ask_again(arrived, key.responder) {
            self.again.push_back((id, again));
        }
        Some(Verdict::Rejected(rejection))
    }

    /// An answer was admitted: keeps it, or replaces a 2.03 by what it confirms.
    pub(super) fn remember(
        &mut self,
        now: Instant,
        id: CollectionId,
        arrived: &Arrived<'_>,
        response: &mut Response,
    ) {
        let question = self.questions.get(&id);
        let Some(Memory::Kept(kept)) = question.map(|question| &question.memory) else {
            return;
        };
        let key = kept.key(arrived.sender, responder_address(arrived.path));
        let Some(key) = key.filter(|_| !matches!(arrived.how, How::Cached { .. })) else {
            return;
        };
        let asked = kept.asked.unwrap_or_default();
        if response.code == Code::VALID {
            if let Some(stored) = self.cache.validated(now, &key, response, asked) {
                *response = stored.response;
            }
            return;
        }
        let heard = Heard {
            response,
            path: arrived.path,
            sender: arrived.sender,
            through: Some((&kept.groups, &kept.authority)),
            asked,
            made_since: None,
        };
        self.cache.hear(now, key, &heard);
    }

    /// The next server that has confirmed what is not kept: it is asked by unicast, without entity tags.
    pub(crate) fn poll_again(&mut self) -> Option<(CollectionId, ChallengeRequest)> {
        while let Some((id, again)) = self.again.pop_front() {
            let waits = |question: &Question| match again.asking {
                Asking::Member(member) => question.in_person.asked.contains(&member),
                Asking::Stranger(n) => question.challenged.strangers.contains(&n),
                Asking::Body(_) => false, // that is no one to ask again
            };
            if self.questions.get(&id).is_some_and(waits) {
                return Some((id, again));
            }
        }
        None
    }
}

impl Question {
    fn ask_again(
        &mut self,
        arrived: &Arrived<'_>,
        responder: Responder,
    ) -> Option<ChallengeRequest> {
        let room = self.responders.expected() + self.responders.room_for_others();
        let Memory::Kept(kept) = &mut self.memory else {
            return None;
        };
        if self.phase != Phase::Open
            || kept.asked_again.len() >= room
            || !kept.asked_again.insert(responder)
        {
            return None;
        }
        let request = self.request.clone()?;
        let asking = match arrived.member {
            Some(member) if self.in_person.asked.contains(&member) => return None,
            Some(member) => {
                self.in_person.asked.push(member);
                Asking::Member(member)
            }
            None => Asking::Stranger(self.challenged.stranger()),
        };
        self.challenged.any = true;
        let path = arrived.path;
        Some(ChallengeRequest {
            asking,
            route: Route {
                socket: path.socket,
                source: None,
                interface: path.interface,
                destination: path.peer,
            },
            request,
            protection: match (self.security, arrived.sender) {
                (Security::Unsecured(_), _) => Protection::None,
                #[cfg(feature = "oscore")]
                (Security::Group(group), Sender::Proven(identity)) => {
                    super::member_of(group, Some(identity))
                }
                #[cfg(feature = "oscore")]
                (Security::Group(group), Sender::Unauthenticated) => Protection::Group(group),
            },
        })
    }
}

/// A request that changes a resource was answered (RFC 7252 sections 5.9.1.1 to 5.9.1.4).
pub(crate) fn note_change(
    now: Instant,
    cache: &mut Cache,
    path: &ResourcePath,
    from: &Path,
    sender: &Sender,
    response: &Response,
) {
    if response.code.response_class() == Some(Class::Success) {
        cache.changed(now, path, from, sender);
        if let Some(created) = ResourcePath::created(response) {
            cache.changed(now, &created, from, sender);
        }
    }
}

/// May a request with this method change a resource?
pub(crate) fn changes(method: Code) -> bool {
    !matches!(method, Code::GET | Code::FETCH)
}

/// An answer as it would have come, to find out whose it is.
fn as_message(response: &Response) -> Vec<u8> {
    let mut bytes = alloc::vec![0; encoded_bound(&response.options, &response.payload)];
    let written = Writer::new(
        &mut bytes,
        Type::Non,
        response.code,
        MessageId(0),
        Token::EMPTY,
    )
    .and_then(|mut writer| {
        response.options.write(&mut writer)?;
        writer.payload(&response.payload)?;
        Ok(writer.finish())
    });
    bytes.truncate(written.unwrap_or(0));
    bytes
}
