//! Responses of which a peer has had a block and will want the others (RFC 7959 section 2.4).

use alloc::vec::Vec;
use core::net::SocketAddr;

use antiphon_wire::{BlockValue, Code, Message, OptionNumber};

use super::key::OperationKey;
use super::{BlockSize, ServerBlocks};
use crate::identity::Sender;
use crate::message::{Options, Response};
use crate::rng::KeyedHash;
use crate::shares::Holder;
use crate::time::Instant;

/// The responses that are kept: the last one for each operation of each peer.
#[derive(Debug)]
pub(crate) struct KeptBodies {
    limits: ServerBlocks,
    bodies: Vec<Kept>,
    bytes: usize,
    hash: [KeyedHash; 2],
}

#[derive(Debug)]
struct Kept {
    key: OperationKey,
    /// The payload of the request, if it had one in the message that was answered.
    asked: Option<[u64; 2]>,
    code: Code,
    options: Options,
    payload: Vec<u8>,
    expires: Instant,
}

impl Kept {
    /// What can be made again is worth less than what was done and cannot, and what somebody who proves nothing has asked
    /// for less than the same for a proven sender.
    fn worth(&self) -> (bool, bool) {
        (self.is_done(), self.key.is_proven())
    }

    /// The request has changed something: it must not be processed again.
    fn is_done(&self) -> bool {
        !matches!(self.key.method(), Code::GET | Code::FETCH)
    }

    fn footprint(&self) -> usize {
        // Twelve bytes for each option beside its value, as `Options` keeps them.
        let options: usize = self.options.iter().map(|(_, value)| value.len() + 12).sum();
        self.payload.len() + options + self.key.footprint()
    }
}

impl KeptBodies {
    /// What the place of a body takes beside it.
    pub(super) const PLACE: usize = size_of::<Kept>();

    pub(crate) fn new(limits: ServerBlocks, hash: [KeyedHash; 2]) -> Self {
        Self {
            limits,
            bodies: Vec::new(),
            bytes: 0,
            hash,
        }
    }

    /// Keeps a response whole. False if there is no room for it.
    pub(crate) fn keep(
        &mut self,
        now: Instant,
        key: OperationKey,
        asked: Option<[u64; 2]>,
        response: &Response,
    ) -> bool {
        self.expire(now);
        if let Some(same) = self.bodies.iter().position(|body| body.key == key) {
            self.remove(same);
        }
        let body = Kept {
            key,
            asked,
            code: response.code,
            options: response.options.clone(),
            payload: response.payload.clone(),
            expires: now + self.limits.kept_for,
        };
        let bytes = body.footprint();
        let holder = Holder::of(body.key.peer().ip());
        // Whoever asks for more than its share loses what it asked for first. Others lose by it only what is worth less, or
        // the oldest of what is worth the same if this cannot be made again.
        loop {
            let of_peer = |other: &Kept| Holder::of(other.key.peer().ip()) == holder;
            let (count, taken) = self
                .bodies
                .iter()
                .filter(|other| of_peer(other))
                .fold((0, 0), |(count, taken), other| {
                    (count + 1, taken + other.footprint())
                });
            let shared =
                count < self.limits.kept_per_address && taken + bytes <= self.limits.kept_bytes / 2;
            let fits = self.bodies.len() < self.limits.kept
                && self.bytes + bytes <= self.limits.kept_bytes;
            if shared && fits {
                break;
            }
            let gives = |other: &Kept| match of_peer(other) {
                true => other.worth() <= body.worth(),
                false => {
                    let same = body.is_done() && other.worth() == body.worth();
                    shared && (same || other.worth() < body.worth())
                }
            };
            let oldest = self
                .bodies
                .iter()
                .enumerate()
                .filter(|(_, other)| gives(other))
                .min_by_key(|(_, other)| (!of_peer(other), other.worth(), other.expires))
                .map(|(index, _)| index);
            match oldest {
                Some(index) => self.remove(index),
                None => return false,
            }
        }
        self.bytes += bytes;
        self.bodies.push(body);
        true
    }

    /// Writes the block that a request asks for, if the response that it belongs to is kept. Block 0 is a new request,
    /// unless the kept response answers a body that this request does not repeat (RFC 7959 section 3.3, "late negotiation").
    pub(crate) fn write(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        sender: &Sender,
        message: &Message<'_>,
        block: BlockValue,
        response: &mut Response,
    ) -> bool {
        self.expire(now);
        let asks = self.fingerprint(message.payload());
        let Some(body) = self.bodies.iter_mut().find(|body| {
            body.key.matches(peer, sender, message) && (asks.is_none() || asks == body.asked)
        }) else {
            return false;
        };
        let safe = matches!(body.key.method(), Code::GET | Code::FETCH);
        if block.num() == 0 && (safe || body.asked.is_none() || asks.is_some()) {
            return false;
        }
        body.expires = now + self.limits.kept_for;
        response.reset(body.code);
        response.options.clone_from(&body.options);
        let size = BlockSize::of(block).min(self.limits.size);
        cut(response, &body.payload, block.start(), size);
        true
    }

    /// What is remembered of a request's payload.
    pub(crate) fn fingerprint(&self, payload: &[u8]) -> Option<[u64; 2]> {
        let [a, b] = &self.hash;
        (!payload.is_empty()).then(|| [a.bytes(payload), b.bytes(payload)])
    }

    /// Forgets what nobody asks for any more.
    pub(crate) fn expire(&mut self, now: Instant) {
        let bytes = &mut self.bytes;
        self.bodies.retain(|body| {
            let stays = body.expires > now;
            if !stays {
                *bytes = bytes.saturating_sub(body.footprint());
            }
            stays
        });
    }

    /// When [`expire`](Self::expire) has something to forget.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.bodies.iter().map(|body| body.expires).min()
    }

    pub(crate) fn len(&self) -> usize {
        self.bodies.len()
    }

    fn remove(&mut self, index: usize) {
        let body = self.bodies.swap_remove(index); // the callers have just found it there
        self.bytes = self.bytes.saturating_sub(body.footprint());
    }
}

/// Puts the block that begins at `start` into the response, which has everything but payload and Block2. A block behind the
/// end is 4.00.
pub(crate) fn cut(response: &mut Response, body: &[u8], start: usize, size: BlockSize) {
    let end = start.saturating_add(size.bytes()).min(body.len());
    let block = size.block_at(start, end < body.len());
    match (body.get(start..end), block) {
        (Some(bytes), Some(block)) if start == 0 || start < body.len() => {
            response.payload.clear();
            response.payload.extend_from_slice(bytes);
            response
                .options
                .set(OptionNumber::BLOCK2, block.encode().as_bytes());
        }
        _ => {
            response.reset(Code::BAD_REQUEST);
            response
                .payload
                .extend_from_slice(b"Block2: behind the end");
        }
    }
}
