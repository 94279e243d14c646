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
    bytes: usize,
}

#[derive(Debug)]
struct Incomplete {
    key: OperationKey,
    data: Vec<u8>,
    /// The first block had If-None-Match, which later ones must not have (RFC 7959 section 2.10).
    if_none_match: bool,
    expires: Instant,
}

impl Incomplete {
    fn footprint(&self) -> usize {
        self.data.len() + self.key.footprint()
    }
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
            bytes: 0,
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
        self.append(now, index, peer, payload, block)
    }

    /// Forgets what nobody has completed in time.
    pub(crate) fn expire(&mut self, now: Instant) {
        if self.bodies.iter().all(|body| body.expires > now) {
            return;
        }
        self.bodies.retain(|body| body.expires > now);
        self.bytes = self.bodies.iter().map(Incomplete::footprint).sum();
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
            expires: now + self.limits.incomplete_for,
        };
        let footprint = body.footprint();
        let crowded = self.bodies.len() >= self.limits.incomplete
            || self.of(peer).count() >= self.limits.incomplete_per_address
            || !self.has_room(peer, footprint);
        if crowded {
            return Taken::NoRoom(self.room_in(now));
        }
        self.bytes += footprint;
        self.bodies.push(body);
        self.go_on(block)
    }

    fn append(
        &mut self,
        now: Instant,
        index: usize,
        peer: SocketAddr,
        payload: &[u8],
        block: BlockValue,
    ) -> Taken {
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
        if !block.more() {
            let mut body = self.remove(index);
            body.data.extend_from_slice(payload);
            return Taken::Complete {
                body: body.data,
                if_none_match: body.if_none_match,
            };
        }
        if !self.has_room(peer, payload.len()) {
            self.remove(index);
            return Taken::NoRoom(self.room_in(now));
        }
        self.bytes += payload.len();
        if let Some(body) = self.bodies.get_mut(index) {
            body.data.extend_from_slice(payload);
            body.expires = now + self.limits.incomplete_for;
        }
        self.go_on(block)
    }

    /// The block is acknowledged, with the size that is wanted from now on.
    fn go_on(&self, block: BlockValue) -> Taken {
        let size = BlockSize::of(block).min(self.limits.size);
        let acknowledged = BlockValue::new(block.num(), true, size.exponent);
        Taken::Continue(acknowledged.unwrap_or(block))
    }

    /// The bodies of one address.
    fn of(&self, peer: SocketAddr) -> impl Iterator<Item = &Incomplete> {
        let holder = Holder::of(peer.ip());
        self.bodies
            .iter()
            .filter(move |body| Holder::of(body.key.peer().ip()) == holder)
    }

    fn has_room(&self, peer: SocketAddr, bytes: usize) -> bool {
        let of_peer: usize = self.of(peer).map(Incomplete::footprint).sum();
        self.bytes + bytes <= self.limits.incomplete_bytes
            && of_peer + bytes <= self.limits.incomplete_bytes / 2
    }

    /// After how many seconds something is forgotten, at the latest.
    fn room_in(&self, now: Instant) -> u32 {
        let wait = self.next_timeout().map_or(0, |at| at.since(now).as_secs());
        u32::try_from(wait).unwrap_or(u32::MAX).max(1)
    }

    fn remove(&mut self, index: usize) -> Incomplete {
        let body = self.bodies.swap_remove(index); // the callers have just found it there
        self.bytes = self.bytes.saturating_sub(body.footprint());
        body
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
