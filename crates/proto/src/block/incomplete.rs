//! Bodies of requests of which not all blocks are there (RFC 7959 section 2.5).

use alloc::vec::Vec;
use core::net::SocketAddr;

use antiphon_wire::{BlockValue, Code, Message, OptionNumber, decode_uint};

use super::key::OperationKey;
use super::{BlockSize, ServerBlocks};
use crate::identity::Sender;
use crate::shares::Holder;
use crate::time::Instant;

/// The bodies that are being put together. One operation of one peer is one body; starting it anew overwrites it.
#[derive(Debug)]
pub(crate) struct IncompleteBodies {
    limits: ServerBlocks,
    bodies: Vec<Incomplete>,
    /// No sender proves anything, so nothing is kept free for those who do.
    nobody_proves: bool,
}

#[derive(Debug)]
struct Incomplete {
    key: OperationKey,
    data: Vec<u8>,
    /// The first block had If-None-Match, which later ones must not have (RFC 7959 section 2.10).
    if_none_match: bool,
    /// Only the first block is there.
    begun: bool,
    expires: Instant,
}

impl Incomplete {
    fn footprint(&self) -> usize {
        self.data.len() + self.key.footprint()
    }
}

/// What there is not enough of.
#[derive(Clone, Copy)]
enum Lack {
    /// Of what one address may have.
    Share,
    /// Of what there is for all, or for all who prove nothing.
    Room,
}

/// What became of a block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is kept: 2.31 with this option.
    Continue(BlockValue),
    /// It was the last one.
    Complete {
        /// The whole body.
        body: Vec<u8>,
        /// The first block had If-None-Match.
        if_none_match: bool,
    },
    /// It does not fit to what is there: 4.08.
    Incomplete,
    /// Its length is not what the option says: 4.00.
    WrongLength,
    /// The body is too large: 4.13 with this Size1.
    TooLarge(usize),
    /// There is no room for it for so many seconds: 5.03.
    NoRoom(u32),
}

impl IncompleteBodies {
    /// What the place of a body takes beside it.
    pub(super) const PLACE: usize = size_of::<Incomplete>();

    pub(crate) fn new(limits: ServerBlocks) -> Self {
        Self {
            limits,
            bodies: Vec::new(),
            nobody_proves: false,
        }
    }

    /// The same for senders none of whom proves anything: they have all places and bytes.
    #[cfg(feature = "oscore")]
    pub(crate) fn for_nobody(limits: ServerBlocks) -> Self {
        Self {
            nobody_proves: true,
            ..Self::new(limits)
        }
    }

    /// Takes a block of a request's body, and gives the body back when it is complete.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        sender: &Sender,
        message: &Message<'_>,
        block: BlockValue,
    ) -> Taken {
        self.expire(now);
        let payload = message.payload();
        let fits = match block.more() {
            true => payload.len() == block.size(),
            false => payload.len() <= block.size(),
        };
        if !fits {
            return Taken::WrongLength;
        }
        let known = self
            .bodies
            .iter()
            .position(|body| body.key.matches(peer, sender, message));
        if block.num() == 0 {
            // Whatever the client has sent before of this operation is void now.
            if let Some(index) = known {
                self.remove(index);
            }
            return match block.more() {
                true => self.begin(now, peer, sender, message, block),
                false => Taken::Complete {
                    body: payload.to_vec(),
                    if_none_match: false, // the message itself says so
                },
            };
        }
        let Some(index) = known else {
            return Taken::Incomplete;
        };
        self.append(now, index, payload, block)
    }

    /// Forgets what nobody has completed in time.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.bodies.retain(|body| body.expires > now);
    }

    /// When [`expire`](Self::expire) has something to forget.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.bodies.iter().map(|body| body.expires).min()
    }

    pub(crate) fn len(&self) -> usize {
        self.bodies.len()
    }

    fn begin(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        sender: &Sender,
        message: &Message<'_>,
        block: BlockValue,
    ) -> Taken {
        let stated = message
            .option(OptionNumber::SIZE1)
            .and_then(decode_uint)
            .map_or(0, |size| size as usize);
        let payload = message.payload();
        if stated.max(payload.len() + 1) > self.limits.body {
            return Taken::TooLarge(self.limits.body);
        }
        let body = Incomplete {
            key: OperationKey::of(peer, sender, message),
            data: payload.to_vec(),
            if_none_match: message.option(OptionNumber::IF_NONE_MATCH).is_some(),
            begun: true,
            expires: now + self.limits.incomplete_for,
        };
        match self.keep(body) {
            true => self.go_on(block),
            false => Taken::NoRoom(self.room_in(now)),
        }
    }

    fn append(&mut self, now: Instant, index: usize, payload: &[u8], block: BlockValue) -> Taken {
        let there = self.bodies.get(index).map_or(0, |body| body.data.len());
        let end = block.start().saturating_add(payload.len());
        if block.start() < there {
            // A block that is there already, in a new message: it says nothing new, or the client is confused.
            let same = self
                .bodies
                .get(index)
                .and_then(|body| body.data.get(block.start()..end))
                .is_some_and(|same| same == payload && block.more());
            return match same {
                true => self.go_on(block),
                false => Taken::Incomplete,
            };
        }
        if block.start() > there {
            return Taken::Incomplete;
        }
        if end + usize::from(block.more()) > self.limits.body {
            self.remove(index);
            return Taken::TooLarge(self.limits.body);
        }
        let mut body = self.remove(index);
        body.data.extend_from_slice(payload);
        if !block.more() {
            return Taken::Complete {
                body: body.data,
                if_none_match: body.if_none_match,
            };
        }
        body.begun = false;
        body.expires = now + self.limits.incomplete_for;
        match self.keep(body) {
            true => self.go_on(block),
            false => Taken::NoRoom(self.room_in(now)),
        }
    }

    /// The block is acknowledged, with the size that is wanted from now on.
    fn go_on(&self, block: BlockValue) -> Taken {
        let size = BlockSize::of(block).min(self.limits.size);
        let acknowledged = BlockValue::new(block.num(), true, size.exponent);
        Taken::Continue(acknowledged.unwrap_or(block))
    }

    /// Keeps a body if there is room for it, or others give way.
    fn keep(&mut self, body: Incomplete) -> bool {
        while let Some(lack) = self.lack(&body) {
            match self.who_gives_way(&body, lack) {
                Some(index) => self.remove(index),
                None => return false,
            };
        }
        self.bodies.push(body);
        true
    }

    /// What there is not enough of for a body. One address has a share; those who prove nothing have half of the places and
    /// three quarters of the bytes.
    fn lack(&self, body: &Incomplete) -> Option<Lack> {
        let (places, bytes) = (self.limits.incomplete, self.limits.incomplete_bytes);
        let holder = Holder::of(body.key.peer().ip());
        let of_address = |other: &Incomplete| Holder::of(other.key.peer().ip()) == holder;
        let exceeds = |which: &dyn Fn(&Incomplete) -> bool, places: usize, bytes: usize| {
            let others = self.bodies.iter().filter(|other| which(other));
            let (count, taken) = others.fold((0, 0), |(count, taken), other| {
                (count + 1, taken + other.footprint())
            });
            count >= places || taken + body.footprint() > bytes
        };
        if exceeds(&of_address, self.limits.incomplete_per_address, bytes / 2) {
            return Some(Lack::Share);
        }
        let unproven = |other: &Incomplete| !other.key.is_proven() && !self.nobody_proves;
        let full = exceeds(&|_| true, places, bytes)
            || (unproven(body) && exceeds(&unproven, places.div_ceil(2), bytes - bytes / 4));
        full.then_some(Lack::Room)
    }

    /// Of those who prove nothing, one gives way to a proven sender; the oldest of those who have begun and not gone on gives
    /// way to anybody.
    fn who_gives_way(&self, body: &Incomplete, lack: Lack) -> Option<usize> {
        let holder = Holder::of(body.key.peer().ip());
        let proven = body.key.is_proven();
        let gives = |other: &Incomplete| {
            let there = match lack {
                Lack::Share => proven && Holder::of(other.key.peer().ip()) == holder,
                Lack::Room => true,
            };
            there && !other.key.is_proven() && (proven || other.begun)
        };
        self.bodies
            .iter()
            .enumerate()
            .filter(|(_, other)| gives(other))
            .min_by_key(|(_, other)| (!other.begun, other.expires))
            .map(|(index, _)| index)
    }

    /// After how many seconds something is forgotten, at the latest.
    fn room_in(&self, now: Instant) -> u32 {
        let wait = self.next_timeout().map_or(0, |at| at.since(now).as_secs());
        u32::try_from(wait).unwrap_or(u32::MAX).max(1)
    }

    fn remove(&mut self, index: usize) -> Incomplete {
        self.bodies.swap_remove(index) // the callers have just found it there
    }
}

/// The code of the refusal; `None` if the block was taken.
impl Taken {
    pub(crate) fn refusal(&self) -> Option<(Code, &'static str)> {
        match self {
            Self::Continue(_) | Self::Complete { .. } => None,
            Self::Incomplete => Some((
                Code::REQUEST_ENTITY_INCOMPLETE,
                "the blocks before it are missing",
            )),
            Self::WrongLength => Some((
                Code::BAD_REQUEST,
                "Block1: the payload is not as long as the block",
            )),
            Self::TooLarge(_) => Some((Code::REQUEST_ENTITY_TOO_LARGE, "")),
            Self::NoRoom(_) => Some((Code::SERVICE_UNAVAILABLE, "")),
        }
    }
}
