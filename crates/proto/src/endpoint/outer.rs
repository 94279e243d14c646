//! Outer blocks (RFC 8613 section 4.1.3.4.2): protected messages that a proxy on the way has cut into blocks, which nothing
//! protects. A request is put together before it is opened, within a bound; a response is cut after it was protected, as
//! the request asks for it.
//!
//! What a client does about responses that come in outer blocks stands in `outer_fetch`.
//!
//! An endpoint itself cuts bodies before protection. So what is larger than a datagram here is of somebody else's making, and
//! whoever is on the way can make it up: it costs memory up to the bound, and nothing else.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use antiphon_wire::{BlockValue, Code, Message, MessageId, OptionNumber, Token, Type};

use super::answer::append;
use super::{Endpoint, Origin};
use crate::block::{
    BlockSize, IncompleteBodies, KeptBodies, OperationKey, ServerBlocks, Taken, cut,
};
use crate::identity::Sender;
use crate::message::Response;
use crate::rng::Rng;
use crate::server::assemble;
use crate::shares::Holder;
use crate::time::Instant;

/// Messages that are being put together, and responses of which blocks are being fetched.
pub(super) const PLACES: usize = 16;
/// Of these, of one address.
pub(super) const PLACES_PER_ADDRESS: usize = 4;
/// How long the next block is waited for: EXCHANGE_LIFETIME (RFC 7959 sections 2.4 and 2.5).
const PATIENCE: Duration = Duration::from_secs(247);
/// Nobody has proven anything yet.
const NOBODY: Sender = Sender::Unauthenticated;

/// The limits of messages in outer blocks, each of at most so many bytes.
pub(super) const fn outer_limits(largest: usize) -> ServerBlocks {
    ServerBlocks {
        size: BlockSize::LARGEST,
        body: largest,
        incomplete: PLACES,
        incomplete_per_address: PLACES_PER_ADDRESS,
        incomplete_bytes: PLACES * largest,
        incomplete_for: PATIENCE,
        kept: PLACES,
        kept_per_address: PLACES_PER_ADDRESS,
        kept_bytes: PLACES * largest,
        kept_for: PATIENCE,
    }
}

/// What all of them take at most, in both roles.
pub(crate) const fn outer_memory(largest: usize) -> usize {
    if largest == 0 {
        return 0;
    }
    #[cfg(feature = "client")]
    let fetched = super::outer_fetch::OuterFetches::memory_total(largest);
    #[cfg(not(feature = "client"))]
    let fetched = 0;
    // A request's options are noted once more for its answer, and no larger than a datagram.
    let asked = 2 * PLACES * (2 * size_of::<Asked>() + 1_500);
    outer_limits(largest).memory_total() + asked + fetched
}

/// Protected messages in outer blocks.
pub(super) struct OuterBlocks {
    incomplete: IncompleteBodies,
    kept: KeptBodies,
    /// Requests whose answers are wanted in blocks, or acknowledge one; in the order in which they came. Those that are not
    /// opened yet take no place from those that are.
    asked: Vec<Asked>,
    last_asked: u64,
    /// Nothing is put together.
    off: bool,
}

/// Names one [`Asked`]. Address, token and Message ID do not: others can send these too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AskedId(u64);

/// What a request with outer Block options wants of its answer.
struct Asked {
    id: AskedId,
    peer: SocketAddr,
    token: Token,
    key: OperationKey,
    payload: Option<[u64; 2]>,
    /// The last block of the request.
    block1: Option<BlockValue>,
    /// The size in which the answer is wanted.
    block2: Option<BlockValue>,
    /// The request was opened, so that it is known to come from whom it says.
    opened: bool,
    expires: Instant,
}

impl Asked {
    fn is_of(&self, origin: &Origin) -> bool {
        Some(self.id) == origin.outer
    }
}

impl OuterBlocks {
    pub(super) fn new(largest: usize, rng: &mut Rng) -> Self {
        let limits = outer_limits(largest);
        Self {
            incomplete: IncompleteBodies::for_nobody(limits.clone()),
            kept: KeptBodies::new(limits, [(); 2].map(|()| rng.keyed_hash())),
            asked: Vec::new(),
            last_asked: 0,
            off: largest == 0,
        }
    }

    /// Messages that are not complete, answers that are kept, and answers that are to come.
    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize, usize) {
        (self.incomplete.len(), self.kept.len(), self.asked.len())
    }

    /// Forgets what nobody has completed or fetched in time.
    pub(super) fn expire(&mut self, now: Instant) {
        self.incomplete.expire(now);
        self.kept.expire(now);
        self.asked.retain(|asked| asked.expires > now);
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let (incomplete, kept) = (self.incomplete.next_timeout(), self.kept.next_timeout());
        let asked = self.asked.iter().map(|asked| asked.expires).min();
        [incomplete, kept, asked].into_iter().flatten().min()
    }

    /// Notes what the answer to a request is to look like, if it can be opened.
    fn note(
        &mut self,
        now: Instant,
        origin: &mut Origin,
        message: &Message<'_>,
        (block1, block2): (Option<BlockValue>, Option<BlockValue>),
    ) {
        let peer = origin.path.peer;
        self.asked.retain(|asked| asked.expires > now);
        for (places, holder) in [
            (PLACES_PER_ADDRESS, Some(Holder::of(peer.ip()))),
            (PLACES, None),
        ] {
            if let Some(oldest) = self.full(false, places, holder) {
                self.asked.remove(oldest);
            }
        }
        self.last_asked += 1;
        let id = AskedId(self.last_asked);
        origin.outer = Some(id);
        self.asked.push(Asked {
            id,
            peer,
            token: origin.token,
            key: OperationKey::of(peer, &NOBODY, message),
            payload: self.kept.fingerprint(message.payload()),
            block1,
            block2,
            opened: false,
            expires: now + PATIENCE,
        });
    }

    /// The oldest of those that are opened or not, of this holder or of all, if they have so many places.
    fn full(&self, opened: bool, places: usize, holder: Option<Holder>) -> Option<usize> {
        let is_one = |asked: &Asked| {
            asked.opened == opened && holder.is_none_or(|of| Holder::of(asked.peer.ip()) == of)
        };
        let count = self.asked.iter().filter(|asked| is_one(asked)).count();
        let oldest = self.asked.iter().position(is_one);
        oldest.filter(|_| count >= places)
    }

    /// A request was opened: what it wants counts now, and what one before it under its token has wanted does not any more.
    /// Without room for it the answer goes as it is.
    pub(super) fn opened(&mut self, origin: &Origin) {
        if self.asked.is_empty() {
            return; // the usual case
        }
        let under = (origin.path.peer, origin.token);
        self.asked
            .retain(|asked| !asked.opened || (asked.peer, asked.token) != under);
        let Some(at) = self.asked.iter().position(|asked| asked.is_of(origin)) else {
            return;
        };
        let holder = Some(Holder::of(origin.path.peer.ip()));
        let full = self.full(true, PLACES, None).is_some()
            || self.full(true, PLACES_PER_ADDRESS, holder).is_some();
        match self.asked.get_mut(at) {
            Some(asked) if !full => asked.opened = true,
            _ => drop(self.asked.remove(at)),
        }
    }

    /// A request is not answered under protection: it could not be opened, or is as if it had not come.
    pub(super) fn forget(&mut self, origin: &Origin) {
        self.asked.retain(|asked| !asked.is_of(origin));
    }

    fn take(&mut self, origin: &Origin) -> Option<Asked> {
        let same = |asked: &Asked| asked.opened && asked.is_of(origin);
        let at = self.asked.iter().position(same)?;
        Some(self.asked.remove(at))
    }
}

impl Endpoint {
    /// A request with an OSCORE option, of which the message layer knows that it is no duplicate. One that comes in outer
    /// blocks is opened when all of them are there.
    pub(super) fn receive_protected(
        &mut self,
        now: Instant,
        mut origin: Origin,
        message: &Message<'_>,
    ) {
        let block = |number| message.option(number).and_then(BlockValue::decode);
        let (block1, block2) = (block(OptionNumber::BLOCK1), block(OptionNumber::BLOCK2));
        if block1.is_none() && block2.is_none() {
            return self.open_request(now, origin, message);
        }
        let multicast = origin.may_be_multicast();
        if self.outer.off || multicast {
            // Nothing is put together through a group: Block1 has no meaning there.
            return match block1 {
                Some(_) if multicast => self.counters.silenced += 1,
                _ => self.open_request(now, origin, message),
            };
        }
        match (block1, block2) {
            (None, Some(later)) if later.num() > 0 => {
                self.answer_block(now, origin, message, later)
            }
            (Some(block), _) => self.take_block(now, origin, message, block, block2),
            (None, _) => {
                self.outer.note(now, &mut origin, message, (None, block2));
                self.open_request(now, origin, message);
            }
        }
    }

    /// A block of a protected request.
    fn take_block(
        &mut self,
        now: Instant,
        mut origin: Origin,
        message: &Message<'_>,
        block: BlockValue,
        block2: Option<BlockValue>,
    ) {
        let peer = origin.path.peer;
        let taken = self
            .outer
            .incomplete
            .take(now, peer, &NOBODY, message, block);
        let mut response = Response::new(Code::CONTINUE);
        match taken {
            Taken::Complete { body, .. } => {
                let whole = assemble(message, &body, false);
                let Ok(whole) = Message::parse(&whole) else {
                    return;
                };
                let blocks = (Some(block), block2);
                self.outer.note(now, &mut origin, &whole, blocks);
                return self.open_request(now, origin, &whole);
            }
            Taken::Continue(acknowledged) => {
                let acknowledged = acknowledged.encode();
                response
                    .options
                    .push(OptionNumber::BLOCK1, acknowledged.as_bytes());
            }
            Taken::TooLarge(limit) => {
                let limit = u32::try_from(limit).unwrap_or(u32::MAX);
                response.options.push_uint(OptionNumber::SIZE1, limit);
            }
            Taken::NoRoom(seconds) => {
                response.options.push_uint(OptionNumber::MAX_AGE, seconds);
            }
            Taken::Incomplete | Taken::WrongLength => {}
        }
        if let Some((code, _)) = taken.refusal() {
            response.code = code;
        }
        self.answer(now, origin.into(), None, &response);
    }

    /// A later block of a protected answer is asked for.
    fn answer_block(
        &mut self,
        now: Instant,
        origin: Origin,
        message: &Message<'_>,
        block: BlockValue,
    ) {
        let mut response = Response::new(Code::REQUEST_ENTITY_INCOMPLETE);
        let peer = origin.path.peer;
        self.outer
            .kept
            .write(now, peer, &NOBODY, message, block, &mut response);
        self.answer(now, origin.into(), None, &response);
    }

    /// A protected answer as its request wants it: in blocks, or with the acknowledgement of one.
    pub(super) fn in_outer_blocks(
        &mut self,
        now: Instant,
        origin: &Origin,
        bytes: Vec<u8>,
    ) -> Vec<u8> {
        if self.outer.asked.is_empty() {
            return bytes; // the usual case
        }
        let Some(asked) = self.outer.take(origin) else {
            return bytes;
        };
        let Ok(message) = Message::parse(&bytes) else {
            return bytes;
        };
        let mut response = Response::from(&message);
        let size = asked.block2.map(BlockSize::of);
        if let Some(size) = size.filter(|size| size.bytes() < response.payload.len()) {
            // Without room the answer goes whole.
            if self
                .outer
                .kept
                .keep(now, asked.key, asked.payload, &response)
            {
                let body = core::mem::take(&mut response.payload);
                cut(&mut response, &body, 0, size);
            }
        }
        if let Some(block) = asked.block1
            && let Some(last) = BlockValue::new(block.num(), false, block.szx())
        {
            response
                .options
                .set(OptionNumber::BLOCK1, last.encode().as_bytes());
        }
        let mut cut = Vec::new();
        let (limit, head) = (self.config.limits.datagram, (Type::Non, MessageId(0)));
        match append(&mut cut, limit, head.0, head.1, origin.token, &response) {
            true => cut,
            // The acknowledgement of the last block finds no room any more: whoever has sent it sees that all is there.
            false => bytes,
        }
    }
}

/// The tables, in a place of their own.
pub(super) fn outer_blocks(largest: usize, rng: &mut Rng) -> Box<OuterBlocks> {
    super::boxed(|| OuterBlocks::new(largest, rng))
}
