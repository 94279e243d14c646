//! Outer blocks (RFC 8613 section 4.1.3.4.2): protected messages that a proxy on the way has cut into blocks, which nothing
//! protects. A request is put together before it is opened, within a bound; a response is cut after it was protected, as
//! the request asks for it.
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
const PLACES: usize = 16;
/// Of these, of one address.
const PLACES_PER_ADDRESS: usize = 4;
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

/// What all of them take at most.
pub(crate) const fn outer_memory(largest: usize) -> usize {
    // A request's options are noted once more for its answer, and no larger than a datagram.
    outer_limits(largest).memory_total() + PLACES * (2 * size_of::<Asked>() + 1_500)
}

/// Protected messages in outer blocks.
pub(super) struct OuterBlocks {
    incomplete: IncompleteBodies,
    kept: KeptBodies,
    /// Requests whose answers are wanted in blocks, or acknowledge one.
    asked: Vec<Asked>,
    /// Nothing is put together.
    off: bool,
}

/// What a request with outer Block options wants of its answer.
struct Asked {
    peer: SocketAddr,
    token: Token,
    key: OperationKey,
    payload: Option<[u64; 2]>,
    /// The last block of the request.
    block1: Option<BlockValue>,
    /// The size in which the answer is wanted.
    block2: Option<BlockValue>,
    expires: Instant,
}

impl OuterBlocks {
    pub(super) fn new(largest: usize, rng: &mut Rng) -> Self {
        let limits = outer_limits(largest);
        Self {
            incomplete: IncompleteBodies::new(limits.clone()),
            kept: KeptBodies::new(limits, [(); 2].map(|()| rng.keyed_hash())),
            asked: Vec::new(),
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

    /// Notes what the answer to a request is to look like. Without room for it the answer goes as it is.
    fn note(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        message: &Message<'_>,
        (block1, block2): (Option<BlockValue>, Option<BlockValue>),
    ) {
        let holder = Holder::of(peer.ip());
        let of_peer = |asked: &&Asked| Holder::of(asked.peer.ip()) == holder;
        let token = message.token();
        self.asked
            .retain(|asked| (asked.peer, asked.token) != (peer, token) && asked.expires > now);
        if self.asked.len() >= PLACES
            || self.asked.iter().filter(of_peer).count() >= PLACES_PER_ADDRESS
        {
            return;
        }
        self.asked.push(Asked {
            peer,
            token,
            key: OperationKey::of(peer, &NOBODY, message),
            payload: self.kept.fingerprint(message.payload()),
            block1,
            block2,
            expires: now + PATIENCE,
        });
    }

    /// There is a new request under this token.
    fn forget(&mut self, peer: SocketAddr, token: Token) {
        self.asked
            .retain(|asked| (asked.peer, asked.token) != (peer, token));
    }

    fn take(&mut self, peer: SocketAddr, token: Token) -> Option<Asked> {
        let same = |asked: &Asked| (asked.peer, asked.token) == (peer, token);
        let at = self.asked.iter().position(same)?;
        Some(self.asked.swap_remove(at))
    }
}

impl Endpoint {
    /// A request with an OSCORE option, of which the message layer knows that it is no duplicate. One that comes in outer
    /// blocks is opened when all of them are there.
    pub(super) fn receive_protected(
        &mut self,
        now: Instant,
        origin: Origin,
        message: &Message<'_>,
    ) {
        // An earlier request under this token may have had no answer; what it wanted is not wanted any more.
        self.outer.forget(origin.path.peer, message.token());
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
                self.outer
                    .note(now, origin.path.peer, message, (None, block2));
                self.open_request(now, origin, message);
            }
        }
    }

    /// A block of a protected request.
    fn take_block(
        &mut self,
        now: Instant,
        origin: Origin,
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
                self.outer.note(now, peer, &whole, (Some(block), block2));
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
        let Some(asked) = self.outer.take(origin.path.peer, origin.token) else {
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
        let limit = self.config.limits.datagram;
        append(
            &mut cut,
            limit,
            Type::Non,
            MessageId(0),
            origin.token,
            &response,
        );
        cut
    }
}

/// The tables, in a place of their own.
pub(super) fn outer_blocks(largest: usize, rng: &mut Rng) -> Box<OuterBlocks> {
    super::boxed(|| OuterBlocks::new(largest, rng))
}
