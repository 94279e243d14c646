//! All Security Contexts of an endpoint: groups and plain pairs. Here the context of a message is chosen
//! (draft section 6; RFC 8613, sections 8.2 and 8.4).

use alloc::vec::Vec;
use core::time::Duration;
use core::{fmt, iter};

use crate::aad::Aad;
use crate::context::Context;
use crate::crypto::CryptoError;
use crate::group::{Group, GroupEvent};
use crate::identity::{Kid, Member};
use crate::open::Received;
use crate::option::OscoreOption;
use crate::pair::Pair;
use crate::refused::Reason;

/// Names a group within one [`Contexts`]; never reused there, so that a group that was left and joined again has
/// another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub(crate) u32);

/// Names a pair within one [`Contexts`]; never reused there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PairId(pub(crate) u32);

/// A group or a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContextId {
    /// A group.
    Group(GroupId),
    /// A plain OSCORE context.
    Pair(PairId),
}

impl ContextId {
    /// The group, if it is one.
    pub fn group(self) -> Option<GroupId> {
        match self {
            ContextId::Group(id) => Some(id),
            ContextId::Pair(_) => None,
        }
    }
}

impl From<GroupId> for ContextId {
    fn from(id: GroupId) -> ContextId {
        ContextId::Group(id)
    }
}

impl From<PairId> for ContextId {
    fn from(id: PairId) -> ContextId {
        ContextId::Pair(id)
    }
}

/// All groups and pairs of an endpoint.
#[derive(Default)]
pub struct Contexts {
    pub(crate) groups: Vec<(GroupId, Group)>,
    pub(crate) pairs: Vec<(PairId, Pair)>,
    last_id: u32,
    last_ticket: u64,
    unknown: u32,
    pub(crate) scratch: Scratch,
}

/// Memory that is used again for each message.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) aad: Vec<u8>,
    pub(crate) body: Vec<u8>,
    pub(crate) option: Vec<u8>,
}

impl Scratch {
    /// Decrypts and verifies a ciphertext under its Enc_structure; the plaintext is then in `body`.
    pub(crate) fn decrypt(
        &mut self,
        ciphertext: &[u8],
        mut aad: Aad,
        open: impl FnOnce(&[u8], &mut Vec<u8>) -> Result<(), CryptoError>,
    ) -> Result<(), Reason> {
        self.body.clear();
        self.body.extend_from_slice(ciphertext);
        let opened = open(aad.enc_structure(), &mut self.body);
        self.aad = aad.into_buffer();
        opened.map_err(|_| Reason::NotVerified)
    }
}

/// How many contexts are tried for one message: Gids of two managers may collide (draft section 14.6), and each try
/// can cost a signature.
pub(crate) const MAX_TRIES: usize = 4;

/// One context that may have protected a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) place: ContextId,
    /// Serial number of the Security Context within the group.
    pub(crate) serial: u64,
    /// Where to look for the next one.
    pub(crate) next: usize,
}

impl Contexts {
    /// No contexts.
    pub fn new() -> Contexts {
        Contexts::default()
    }

    /// Adds a group. Groups are tried in this order where their Gids collide.
    pub fn add_group(&mut self, group: Group) -> GroupId {
        let id = GroupId(self.next_id());
        self.groups.push((id, group));
        id
    }

    /// Adds a plain OSCORE context. Of those that share a Recipient ID and an ID Context, or whose peers leave the ID
    /// Context out, four are tried for a message: a server of many clients gives each an ID of its own (RFC 8613 section 3.3).
    pub fn add_pair(&mut self, pair: Pair) -> PairId {
        let id = PairId(self.next_id());
        self.pairs.push((id, pair));
        id
    }

    /// Takes a group out, for good: its exchanges are over (draft section 5.1).
    pub fn remove_group(&mut self, id: GroupId) -> Option<Group> {
        let at = self.groups.iter().position(|(of, _)| *of == id)?;
        Some(self.groups.remove(at).1)
    }

    /// Takes a pair out, for good.
    pub fn remove_pair(&mut self, id: PairId) -> Option<Pair> {
        let at = self.pairs.iter().position(|(of, _)| *of == id)?;
        Some(self.pairs.remove(at).1)
    }

    /// A group.
    pub fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups
            .iter()
            .find(|(of, _)| *of == id)
            .map(|(_, it)| it)
    }

    /// A group, to change it.
    pub fn group_mut(&mut self, id: GroupId) -> Option<&mut Group> {
        let found = self.groups.iter_mut().find(|(of, _)| *of == id);
        found.map(|(_, it)| it)
    }

    /// The group of that name.
    pub fn group_named(&self, name: &str) -> Option<GroupId> {
        let found = self.groups.iter().find(|(_, group)| group.name() == name);
        found.map(|(id, _)| *id)
    }

    /// All groups.
    pub fn groups(&self) -> impl Iterator<Item = (GroupId, &Group)> {
        self.groups.iter().map(|(id, group)| (*id, group))
    }

    /// All groups, to change them.
    pub fn groups_mut(&mut self) -> impl Iterator<Item = (GroupId, &mut Group)> {
        self.groups.iter_mut().map(|(id, group)| (*id, group))
    }

    /// A pair.
    pub fn pair(&self, id: PairId) -> Option<&Pair> {
        self.pairs
            .iter()
            .find(|(of, _)| *of == id)
            .map(|(_, it)| it)
    }

    /// A pair, to change it.
    pub fn pair_mut(&mut self, id: PairId) -> Option<&mut Pair> {
        let found = self.pairs.iter_mut().find(|(of, _)| *of == id);
        found.map(|(_, it)| it)
    }

    /// All pairs.
    pub fn pairs(&self) -> impl Iterator<Item = (PairId, &Pair)> {
        self.pairs.iter().map(|(id, pair)| (*id, pair))
    }

    /// A group, and the memory to work in.
    pub(crate) fn group_and_scratch(&mut self, id: GroupId) -> Option<(&mut Group, &mut Scratch)> {
        let found = self.groups.iter_mut().find(|(of, _)| *of == id);
        found.map(|(_, it)| (it, &mut self.scratch))
    }

    /// A pair, and the memory to work in.
    pub(crate) fn pair_and_scratch(&mut self, id: PairId) -> Option<(&mut Pair, &mut Scratch)> {
        let found = self.pairs.iter_mut().find(|(of, _)| *of == id);
        found.map(|(_, it)| (it, &mut self.scratch))
    }

    /// The client of a request, under the Sender ID that it has now; `None` if it is a member no more, or the context of
    /// two is gone. Before each response of a long exchange: nobody has a right to one because of what it once was.
    pub fn client(&self, received: &Received) -> Option<Member> {
        match received.place {
            ContextId::Group(id) => self.group(id)?.client(received.kid, received.client),
            ContextId::Pair(id) => Some(self.pair(id)?.member()),
        }
    }

    /// How many requests in a row had no context here. After some it is time to ask the Group Managers for current
    /// keys: this endpoint may have missed a rekeying (draft section 14.5.2).
    pub fn without_context(&self) -> u32 {
        self.unknown
    }

    /// Erases replaced contexts whose time is over.
    pub fn handle_timeout(&mut self, now: Duration) {
        for (_, group) in &mut self.groups {
            group.expire(now);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) or [`take_idle`](Self::take_idle) has something to do.
    pub fn next_timeout(&self) -> Option<Duration> {
        self.groups
            .iter()
            .filter_map(|(_, group)| group.next_timeout())
            .min()
    }

    pub(crate) fn count_unknown(&mut self, now: Duration, known: bool) {
        if known {
            self.unknown = 0;
            return;
        }
        self.unknown = self.unknown.saturating_add(1);
        // Which group has new keys that this endpoint does not know of cannot be seen.
        for (_, group) in &mut self.groups {
            group.want_keys(now, self.unknown);
        }
    }

    /// The next news of a group, each told once.
    pub fn poll_event(&mut self) -> Option<(GroupId, GroupEvent)> {
        let mut groups = self.groups.iter_mut();
        groups.find_map(|(id, group)| Some((*id, group.poll_event()?)))
    }

    /// The next Recipient Context that is idle since long enough: see [`Group::take_idle`].
    pub fn take_idle(&mut self, now: Duration) -> Option<(GroupId, Kid)> {
        let mut groups = self.groups.iter_mut();
        groups.find_map(|(id, group)| Some((*id, group.take_idle(now)?)))
    }

    /// A number that no other message and no other request of this endpoint has.
    pub(crate) fn ticket(&mut self) -> u64 {
        self.last_ticket += 1;
        self.last_ticket
    }

    fn next_id(&mut self) -> u32 {
        self.last_id = self.last_id.saturating_add(1);
        self.last_id
    }

    /// The next context, from position `from` on, that a request may belong to: 'kid context' is a Gid of a group,
    /// latest context first, or, without Group Flag, 'kid' is the Recipient ID of a pair.
    pub(crate) fn request_candidate(
        &self,
        from: usize,
        option: &OscoreOption<'_>,
        kid: Kid,
        now: Duration,
    ) -> Option<Candidate> {
        let of_groups = self.groups.iter().flat_map(|(id, group)| {
            let [latest, old] = group.opening(now);
            let old = old.filter(|_| group.settings.retained_requests);
            [(*id, latest), (*id, old)]
        });
        let of_groups = of_groups.map(|(id, context)| {
            let named = |it: &&Context| Some(it.common.gid.as_bytes()) == option.kid_context;
            let serial = context.filter(named)?.serial;
            Some((ContextId::Group(id), serial))
        });
        // Never an RFC 8613 context, where there is a Group Flag (draft section 6).
        let pairs: &[_] = match option.group_flag {
            true => &[],
            false => &self.pairs,
        };
        let of_pairs = pairs.iter().map(|(id, pair)| {
            let expected = pair.expects(kid, option.kid_context);
            expected.then_some((ContextId::Pair(*id), Pair::SERIAL))
        });
        candidate(of_groups.chain(of_pairs), from)
    }

    /// The next context of the request's group, or its pair, that a response may be protected with: of the Gid that it
    /// names, else the latest and then the replaced one (draft section 14.5.1).
    pub(crate) fn response_candidate(
        &self,
        from: usize,
        place: ContextId,
        kid_context: Option<&[u8]>,
        now: Duration,
    ) -> Option<Candidate> {
        let id = match place {
            ContextId::Group(id) => id,
            ContextId::Pair(id) => {
                self.pair(id)?;
                return candidate(iter::once(Some((place, Pair::SERIAL))), from);
            }
        };
        let contexts = self.group(id)?.opening(now).into_iter();
        let contexts = contexts.map(|context| {
            let gid = |it: &&Context| kid_context.is_none_or(|gid| gid == it.common.gid.as_bytes());
            let serial = context.filter(gid)?.serial;
            Some((place, serial))
        });
        candidate(contexts, from)
    }
}

/// The first that there is, from position `from` on.
fn candidate(
    all: impl Iterator<Item = Option<(ContextId, u64)>>,
    from: usize,
) -> Option<Candidate> {
    all.enumerate().skip(from).find_map(|(at, found)| {
        let (place, serial) = found?;
        let next = at + 1;
        Some(Candidate {
            place,
            serial,
            next,
        })
    })
}

impl fmt::Debug for Contexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contexts")
            .field("groups", &self.groups)
            .field("pairs", &self.pairs)
            .finish_non_exhaustive()
    }
}
