//! Bodies in blocks: requests are put together before they are processed, responses cut before they are sent (RFC 7959).
//!
//! A response of several blocks is kept as a whole for the peer that has asked for it, so that all its blocks are of the
//! same representation. Where it is not, or not any more, the handler of a GET or FETCH is asked again for each block, and
//! the entity tag, which is made where the handler gives none, tells the client when the representation has changed.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::{BuildHasher, Hasher};
use core::net::SocketAddr;

use antiphon_wire::{Class, Code, Message, OptionNumber, Writer};

use super::asked::Asked;
use super::disposition::Context;
use super::{Server, encoded_len};
use crate::block::{BlockSize, OperationKey, Taken, cut};
use crate::identity::{Sender, Standing};
use crate::message::Response;
use crate::path::Path;
use crate::policy::{Oversize, Suppression};
use crate::time::Instant;

/// A request, and who has sent it from where.
#[derive(Clone, Copy)]
pub(super) struct Part<'a, 'm> {
    pub(super) peer: SocketAddr,
    pub(super) sender: &'a Sender,
    pub(super) message: &'a Message<'m>,
}

impl<'a, 'm> Part<'a, 'm> {
    pub(super) fn of(path: &Path, standing: &Standing<'a>, message: &'a Message<'m>) -> Self {
        Self {
            peer: path.peer,
            sender: standing.sender,
            message,
        }
    }
}

/// Which operation a response belongs to, as far as it must be known to keep the response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotedOperation {
    key: OperationKey,
    /// The payload of the request.
    asked: Option<[u64; 2]>,
}

impl NotedOperation {
    /// A request with longer options is not noted for later; its response is not kept.
    const LONGEST: usize = 1_024;
    /// What a noted one takes.
    pub(crate) const MEMORY: usize = size_of::<Self>() + 3 * Self::LONGEST;
}

/// Where the operation of a response is known from.
pub(super) enum Known<'a, 'm> {
    /// The request is at hand.
    Request(Part<'a, 'm>),
    /// It was noted when the request came.
    Noted(Option<&'a NotedOperation>),
}

/// What the blocks of a request come to.
pub(super) enum Blocks {
    /// The request is whole as it is.
    Whole,
    /// The request was put together: a message with the whole body and without Block1.
    Assembled(Vec<u8>),
    /// The response is written already.
    Answered,
}

impl Server {
    /// Forgets bodies that nobody has completed or fetched in time.
    pub(crate) fn forget_stale_bodies(&mut self, now: Instant) {
        self.incomplete.expire(now);
        self.kept.expire(now);
    }

    /// When [`forget_stale_bodies`](Self::forget_stale_bodies) has something to forget.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let (incomplete, kept) = (self.incomplete.next_timeout(), self.kept.next_timeout());
        incomplete.into_iter().chain(kept).min()
    }

    /// How many bodies of requests wait for more blocks, and how many representations are kept for those who fetch them in
    /// blocks.
    pub fn bodies(&self) -> (usize, usize) {
        (self.incomplete.len(), self.kept.len())
    }

    /// Notes which operation a request belongs to whose response comes later.
    pub(super) fn note(&self, part: &Part<'_, '_>) -> Option<Box<NotedOperation>> {
        let operation = self.operation(part);
        (operation.key.footprint() <= NotedOperation::LONGEST).then(|| Box::new(operation))
    }

    /// Which operation a request belongs to.
    fn operation(&self, part: &Part<'_, '_>) -> NotedOperation {
        NotedOperation {
            key: OperationKey::of(part.peer, part.sender, part.message),
            asked: self.kept.fingerprint(part.message.payload()),
        }
    }

    /// Looks at the Block options of a request that is let in and whose method is allowed.
    pub(super) fn take_blocks(
        &mut self,
        now: Instant,
        part: &Part<'_, '_>,
        asked: &Asked<'_>,
        context: &mut Context,
        response: &mut Response,
    ) -> Blocks {
        if asked.block2.is_none() && asked.block1.is_none() {
            return Blocks::Whole;
        }
        let Part {
            peer,
            sender,
            message,
        } = *part;
        if let Some(block) = asked.block2
            && asked.block1.is_none()
        {
            let kept = &mut self.kept;
            if kept.write(now, peer, sender, message, block, response) {
                context.cut = true;
                return Blocks::Answered;
            }
            // Without the body of the request there is nothing to ask the handler for.
            let asks_again = match message.code() {
                Code::GET => true,
                Code::FETCH => !message.payload().is_empty(),
                _ => false,
            };
            if block.num() > 0 && !asks_again {
                let text = "Block2: the response is not kept";
                return answered(response, Code::REQUEST_ENTITY_INCOMPLETE, text);
            }
        }
        let Some(block) = asked.block1 else {
            return Blocks::Whole;
        };
        if asked.block2.is_some_and(|block| block.num() > 0) {
            let text = "Block2: only block 0 before the request is complete";
            return answered(response, Code::BAD_OPTION, text);
        }
        let taken = self.incomplete.take(now, peer, sender, message, block);
        if let Some((code, text)) = taken.refusal() {
            response.reset(code);
            response.payload.extend_from_slice(text.as_bytes());
        }
        match taken {
            Taken::Complete {
                body,
                if_none_match,
            } => return Blocks::Assembled(assemble(message, &body, if_none_match)),
            Taken::Continue(acknowledged) => {
                response.reset(Code::CONTINUE);
                let acknowledged = acknowledged.encode();
                response
                    .options
                    .push(OptionNumber::BLOCK1, acknowledged.as_bytes());
                // It is no answer: without it the client would not go on (RFC 7967 has nothing to say about it).
                context.suppression = Suppression::unicast(None);
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
        Blocks::Answered
    }

    /// Gives a response that will be cut, or a representation that is to have one, an entity tag, unless it has one.
    pub(super) fn tag(&self, context: &Context, response: &mut Response) {
        let tagged = context.tagged && context.safe && response.code == Code::CONTENT;
        if !tagged && self.block_of(context, response).is_none()
            || response.options.get(OptionNumber::ETAG).is_some()
        {
            return;
        }
        let mut hasher = self.tags.build_hasher();
        hasher.write_u8(response.code.to_u8());
        let format = response.options.get(OptionNumber::CONTENT_FORMAT);
        hasher.write(format.unwrap_or(&[0xff; 3]));
        hasher.write(&response.payload);
        let tag = hasher.finish().to_be_bytes();
        response.options.push(OptionNumber::ETAG, &tag);
    }

    /// Leaves of a response the block that was asked for, or the first one if it is too large to be sent whole.
    pub(super) fn cut(
        &mut self,
        now: Instant,
        context: &Context,
        known: &Known<'_, '_>,
        response: &mut Response,
    ) {
        if context.cut || response.code.response_class() != Some(Class::Success) {
            return;
        }
        let length = response.payload.len();
        let start = context.block2.map_or(0, |block| block.start());
        if context.size2 && length > 0 && start == 0 {
            let length = u32::try_from(length).unwrap_or(u32::MAX);
            response.options.remove(OptionNumber::SIZE2);
            response.options.push_uint(OptionNumber::SIZE2, length);
        }
        let Some(mut size) = self.block_of(context, response) else {
            self.state_the_end(context, response);
            return;
        };
        if start + size.bytes() < length && !self.keep(now, known, response) && !context.safe {
            // What was done cannot be done again to make the other blocks.
            response.reset(Code::INTERNAL_SERVER_ERROR);
            let text = b"no room for the body of the response";
            response.payload.extend_from_slice(text);
            return;
        }
        let body = core::mem::take(&mut response.payload);
        cut(response, &body, start, size);
        // Somebody who proves nothing gets so little of it that the request is not amplified too much (groupcomm-bis-18
        // section 6.3).
        while context.group
            && encoded_len(context.token_length, response) > context.largest
            && let Some(smaller) = size.smaller()
        {
            size = smaller;
            cut(response, &body, start, size);
        }
    }

    /// The size of the block that is sent of a response; `None` if it is sent whole.
    fn block_of(&self, context: &Context, response: &Response) -> Option<BlockSize> {
        if context.cut || response.code.response_class() != Some(Class::Success) {
            return None;
        }
        let length = response.payload.len();
        let wanted = context.block2.map(BlockSize::of);
        let mut size = wanted.unwrap_or_default().min(self.config.blocks.size);
        let mut whole = size.bytes();
        if context.group {
            // Only GET and FETCH (groupcomm-bis-18 section 3.8).
            if !context.safe || (wanted.is_none() && context.oversize != Oversize::Blocks) {
                return None;
            }
            size = size.min(BlockSize::at_most(context.limit)?);
            whole = match wanted {
                Some(_) => size.bytes(),
                None => context.limit.min(self.config.mtu),
            };
            let amplified = encoded_len(context.token_length, response) > context.largest;
            if amplified && !context.challenge {
                whole = BlockSize::SMALLEST.bytes();
            }
        }
        let behind = context.block2.is_some_and(|block| block.num() > 0);
        (length > whole || behind).then_some(size)
    }

    /// A response that is whole says so, if blocks were asked for.
    fn state_the_end(&self, context: &Context, response: &mut Response) {
        let Some(block) = context.block2 else {
            return;
        };
        if response.code != Code::CONTENT && response.payload.is_empty() {
            return;
        }
        let size = BlockSize::of(block).min(self.config.blocks.size);
        if response.payload.len() <= size.bytes()
            && let Some(block) = size.block_at(0, false)
        {
            response
                .options
                .set(OptionNumber::BLOCK2, block.encode().as_bytes());
        }
    }

    fn keep(&mut self, now: Instant, known: &Known<'_, '_>, response: &mut Response) -> bool {
        let NotedOperation { key, asked } = match known {
            Known::Request(part) => self.operation(part),
            Known::Noted(Some(noted)) => (*noted).clone(),
            Known::Noted(None) => return false,
        };
        // Only the first answer acknowledges the request, is a notification, and says how much there is.
        let first = response.options.clone();
        response.options.remove(OptionNumber::BLOCK1);
        response.options.remove(OptionNumber::OBSERVE);
        response.options.remove(OptionNumber::SIZE2);
        let kept = self.kept.keep(now, key, asked, response);
        response.options = first;
        kept
    }
}

fn answered(response: &mut Response, code: Code, text: &str) -> Blocks {
    response.reset(code);
    response.payload.extend_from_slice(text.as_bytes());
    Blocks::Answered
}

/// The message as it would be in one piece.
pub(crate) fn assemble(message: &Message<'_>, body: &[u8], if_none_match: bool) -> Vec<u8> {
    let mut bytes = alloc::vec![0; message.as_bytes().len() + body.len() + 8];
    let write = |bytes: &mut Vec<u8>| {
        let (kind, code) = (message.kind(), message.code());
        let mut writer =
            Writer::new(bytes, kind, code, message.message_id(), message.token()).ok()?;
        let mut missing = if_none_match && message.option(OptionNumber::IF_NONE_MATCH).is_none();
        for option in message.options() {
            if missing && option.number > OptionNumber::IF_NONE_MATCH {
                missing = false;
                writer.option(OptionNumber::IF_NONE_MATCH, &[]).ok()?;
            }
            if !matches!(option.number, OptionNumber::BLOCK1 | OptionNumber::SIZE1) {
                writer.option(option.number, option.value).ok()?;
            }
        }
        if !body.is_empty() {
            writer.payload(body).ok()?;
        }
        Some(writer.finish())
    };
    // There is room: what is left out is not shorter than what is put in.
    let length = write(&mut bytes).unwrap_or_default();
    bytes.truncate(length);
    bytes
}
