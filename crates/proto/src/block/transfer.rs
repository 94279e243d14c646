//! One operation of a client in blocks: the request's body is sent, then the response's body received.
//!
//! It is asked for one request after the other, and told each response. What protects and repeats these messages, and
//! how long each may take, is no concern of it.

use alloc::vec::Vec;
use core::time::Duration;

use antiphon_wire::{BlockValue, Class, Code, OptionNumber, decode_uint};

use super::{BlockSize, BodyFailure};
use crate::message::{Options, Request, Response};

/// How a client transfers bodies that are larger than a block, and what that may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferLimits {
    /// The largest block that is sent or asked for. `None` (default): 1024 bytes, or 64 where the link profile is
    /// [`SixLowpan`](crate::LinkProfile::SixLowpan). Below 1024, a GET or FETCH says so from the beginning.
    pub size: Option<BlockSize>,
    /// The largest body that is sent or put together, in bytes; default 1 MiB.
    pub body: usize,
    /// Bytes that all transfers of the endpoint take together; default 16 MiB.
    pub bytes: usize,
    /// How long a transfer may take as a whole; default 10 min.
    pub patience: Duration,
    /// How often a transfer begins anew because the representation changed meanwhile, or the server lost what it had; default 2.
    pub restarts: u8,
    /// How many members' answers to group requests are fetched at the same time; default 16. Towards each member NSTART holds.
    /// Expected and proven members go before strangers, who have half of these places, and one of an address; those of one /64
    /// prefix leave one of them to others, if there is more than one. While others wait, whoever
    /// has sent no block for a round trip and ACK_TIMEOUT gives its place to the next, and goes on later where it was.
    pub at_once: usize,
}

impl Default for TransferLimits {
    fn default() -> Self {
        Self {
            size: None,
            body: 1 << 20,
            bytes: 16 << 20,
            patience: Duration::from_secs(600),
            restarts: 2,
            at_once: 16,
        }
    }
}

/// How far a transfer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyProgress {
    /// The body of the request is being sent; else that of the response is being received.
    pub sending: bool,
    /// Bytes that have arrived.
    pub bytes: usize,
    /// How many there will be, if that is known: from Size2 it is what the server says.
    pub total: Option<usize>,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// This is to be asked.
    Send(Request),
    /// That was all: the response, with its whole body and without Block options.
    Done(Response),
    /// The transfer has failed.
    Failed(BodyFailure),
}

/// What a transfer may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The largest block.
    pub(crate) size: BlockSize,
    /// The largest body.
    pub(crate) body: usize,
    /// How often it may begin anew.
    pub(crate) restarts: u8,
}

impl TransferLimits {
    /// The bounds of one transfer in blocks of at most this size.
    pub(crate) const fn bounds(&self, size: BlockSize) -> Bounds {
        Bounds {
            size,
            body: self.body,
            restarts: self.restarts,
        }
    }
}

/// One operation in blocks.
#[derive(Debug)]
pub(crate) struct Transfer {
    /// What is asked, with the whole body.
    request: Request,
    /// The Request-Tag of the operation.
    tag: Option<Vec<u8>>,
    bounds: Bounds,
    /// From which byte on, and how many, if not all.
    range: Option<(usize, usize)>,
    /// The body of the request goes in blocks.
    in_blocks: bool,
    /// The server has been heeded once that it wants smaller blocks for the whole.
    shrunk: bool,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Sending(Sending),
    Receiving(Receiving),
}

/// The block of the request's body that is on its way.
#[derive(Clone, Copy, Debug)]
struct Sending {
    start: usize,
    size: BlockSize,
}

/// What has been received of the response's body.
#[derive(Debug)]
struct Receiving {
    /// The first response, without payload.
    first: Option<Response>,
    /// Where the first block begins.
    start: usize,
    body: Vec<u8>,
    /// The size that was asked for, or that the server uses.
    size: BlockSize,
}

impl Transfer {
    /// A request with a body that goes in blocks, and its first block.
    pub(crate) fn upload(
        request: Request,
        bounds: Bounds,
        tag: Option<Vec<u8>>,
    ) -> (Self, Request) {
        let transfer = Self {
            in_blocks: true,
            tag,
            phase: Phase::Sending(Sending {
                start: 0,
                size: bounds.size,
            }),
            ..Self::whole(request, bounds)
        };
        let first = transfer.first();
        (transfer, first)
    }

    /// A request that was sent whole and refused: the refusal, which comes next, asks for blocks of this size.
    pub(crate) fn too_large(request: Request, bounds: Bounds, tag: Option<Vec<u8>>) -> Self {
        let mut transfer = Self::asked(request, bounds);
        transfer.in_blocks = true;
        transfer.tag = tag;
        transfer.bounds.size = BlockSize::LARGEST;
        transfer.phase = Phase::Sending(Sending {
            start: 0,
            size: BlockSize::LARGEST,
        });
        transfer
    }

    /// A request for `length` bytes of a representation from byte `start` on.
    pub(crate) fn range(
        request: Request,
        bounds: Bounds,
        start: usize,
        length: usize,
    ) -> Option<(Self, Request)> {
        let aligned = start - start % bounds.size.bytes();
        bounds.size.block_at(aligned, false)?;
        let transfer = Self {
            range: Some((start, length)),
            phase: Phase::Receiving(Receiving::at(aligned, bounds.size)),
            ..Self::whole(request, bounds)
        };
        let first = transfer.first();
        Some((transfer, first))
    }

    /// A request that was sent as it is; its first response comes next.
    pub(crate) fn asked(mut request: Request, bounds: Bounds) -> Self {
        request.options.remove(OptionNumber::ECHO); // it has served its purpose
        Self::whole(request, bounds)
    }

    fn whole(request: Request, bounds: Bounds) -> Self {
        let asked = block(&request.options, OptionNumber::BLOCK2);
        let size = asked.map_or(BlockSize::LARGEST, BlockSize::of);
        Self {
            request,
            tag: None,
            bounds,
            range: None,
            in_blocks: false,
            shrunk: false,
            phase: Phase::Receiving(Receiving::at(0, size)),
        }
    }

    /// A response to what was asked last.
    pub(crate) fn on_response(&mut self, response: Response) -> Step {
        match self.phase {
            Phase::Sending(sending) => self.acknowledged(sending, response),
            Phase::Receiving(_) => self.receive(response),
        }
    }

    /// How far it has come.
    pub(crate) fn progress(&self) -> BodyProgress {
        match &self.phase {
            Phase::Sending(sending) => BodyProgress {
                sending: true,
                bytes: sending.start,
                total: Some(self.request.payload.len()),
            },
            Phase::Receiving(receiving) => BodyProgress {
                sending: false,
                bytes: receiving.body.len(),
                total: match self.range {
                    Some((_, length)) => Some(length),
                    None => receiving.first.as_ref().and_then(stated_size),
                },
            },
        }
    }

    /// Where the next block of the response's body begins, if it is that which is being received.
    pub(crate) fn position(&self) -> Option<usize> {
        match &self.phase {
            Phase::Sending(_) => None,
            Phase::Receiving(receiving) => Some(receiving.start + receiving.body.len()),
        }
    }

    /// The block size of the response.
    pub(crate) fn size(&self) -> Option<BlockSize> {
        match &self.phase {
            Phase::Sending(_) => None,
            Phase::Receiving(receiving) => Some(receiving.size),
        }
    }

    /// The request for the next block of the response; `None` if there can be none.
    pub(crate) fn next_request(&self) -> Option<Request> {
        let next = self.size()?.block_at(self.position()?, false)?;
        Some(self.request_next(next))
    }

    /// The memory of the bodies.
    pub(crate) fn footprint(&self) -> usize {
        let received = match &self.phase {
            Phase::Sending(_) => 0,
            Phase::Receiving(receiving) => receiving.body.capacity(),
        };
        self.request.payload.len() + received
    }

    // ---- the body of the request ---------------------------------------------------------------------

    fn acknowledged(&mut self, sending: Sending, mut response: Response) -> Step {
        let Sending { start, size } = sending;
        let sent = self.sent(sending);
        let last = start + sent == self.request.payload.len();
        let control = block(&response.options, OptionNumber::BLOCK1);
        let number = size.block_at(start, false).map(BlockValue::num);
        let fits = control.is_some_and(|control| Some(control.num()) == number);
        let is_success = response.code.response_class() == Some(Class::Success);
        let goes_on = match control {
            // Acted upon only when all is there, or block by block (RFC 7959 section 2.3). The code says it; coap-rs does not
            // set the M bit with it.
            Some(control) => fits && (response.code == Code::CONTINUE || !control.more()),
            None => false,
        };
        match response.code {
            Code::CONTINUE if last || !goes_on => Step::Failed(BodyFailure::Inconsistent),
            Code::REQUEST_ENTITY_INCOMPLETE if self.bounds.restarts > 0 => self.restart(),
            Code::REQUEST_ENTITY_TOO_LARGE => match control.map(BlockSize::of) {
                Some(smaller) if smaller < size && !self.shrunk => {
                    self.shrunk = true;
                    self.bounds.size = smaller;
                    self.begin()
                }
                _ => Step::Done(response),
            },
            _ if last || !is_success => {
                response.options.remove(OptionNumber::BLOCK1);
                self.phase = Phase::Receiving(Receiving::at(0, BlockSize::LARGEST));
                self.receive(response)
            }
            _ if goes_on => {
                let wanted = control.map_or(size, BlockSize::of);
                let next = Sending {
                    start: start + sent,
                    size: size.min(wanted),
                };
                self.phase = Phase::Sending(next);
                Step::Send(self.request_block(next))
            }
            _ => Step::Failed(BodyFailure::Inconsistent),
        }
    }

    /// How many bytes a block has.
    fn sent(&self, sending: Sending) -> usize {
        let left = self.request.payload.len().saturating_sub(sending.start);
        left.min(sending.size.bytes())
    }

    fn request_block(&self, sending: Sending) -> Request {
        let Sending { start, size } = sending;
        let end = start + self.sent(sending);
        let more = end < self.request.payload.len();
        let mut request = Request::new(self.request.method);
        request.options = self.request.options.clone();
        if start > 0 {
            request.options.remove(OptionNumber::IF_NONE_MATCH); // RFC 7959 section 2.10
        } else {
            let length = u32::try_from(self.request.payload.len()).unwrap_or(u32::MAX);
            request.options.remove(OptionNumber::SIZE1);
            request.options.push_uint(OptionNumber::SIZE1, length);
        }
        if let Some(block) = size.block_at(start, more) {
            let value = block.encode();
            request.options.set(OptionNumber::BLOCK1, value.as_bytes());
        }
        self.set_tag(&mut request.options);
        let payload = self.request.payload.get(start..end);
        request
            .payload
            .extend_from_slice(payload.unwrap_or_default());
        request
    }

    fn set_tag(&self, options: &mut Options) {
        if let Some(tag) = &self.tag {
            options.set(OptionNumber::REQUEST_TAG, tag);
        }
    }

    // ---- the body of the response ----------------------------------------------------------------------

    fn receive(&mut self, mut response: Response) -> Step {
        let method = self.request.method;
        let Phase::Receiving(receiving) = &mut self.phase else {
            return Step::Failed(BodyFailure::Inconsistent);
        };
        let is_first = receiving.first.is_none();
        if response.code.response_class() != Some(Class::Success) {
            let lost = matches!(
                response.code,
                Code::BAD_REQUEST | Code::REQUEST_ENTITY_INCOMPLETE
            );
            // What is said about outer blocks is no answer to what is inside of them.
            let outer = |first: &Response| first.options.get(OptionNumber::OSCORE).is_some();
            let is_outer = receiving.first.as_ref().is_some_and(outer);
            return match (is_first, is_safe(method)) {
                // As the response it would say that nothing was done.
                (false, false) if !is_outer => Step::Failed(BodyFailure::Lost(response.code)),
                // Behind the end of what was there before, or forgotten.
                (false, true) if lost && self.range.is_none() => self.restart(),
                _ => Step::Done(response),
            };
        }
        let Some(block) = block(&response.options, OptionNumber::BLOCK2) else {
            // Not in blocks, or the server knows nothing of them.
            return match (is_first, self.range) {
                (true, Some(_)) => {
                    let body = core::mem::take(&mut response.payload);
                    let start = 0;
                    self.done(response, &body, start)
                }
                (true, None) => Step::Done(response),
                (false, _) => Step::Failed(BodyFailure::Inconsistent),
            };
        };
        if let Some(first) = &receiving.first {
            let same = |number| first.options.get(number) == response.options.get(number);
            if first.code != response.code
                || !same(OptionNumber::OSCORE) // of outer blocks
                || !same(OptionNumber::ETAG)
                || !same(OptionNumber::CONTENT_FORMAT)
            {
                return self.restart();
            }
        }
        let there = receiving.start + receiving.body.len();
        let length = response.payload.len();
        let as_long_as_it_says = match block.more() {
            true => length == block.size(),
            false => length <= block.size() && (length > 0 || there == 0),
        };
        if block.start() != there || BlockSize::of(block) > receiving.size || !as_long_as_it_says {
            return Step::Failed(BodyFailure::Inconsistent);
        }
        let limit = self.bounds.body;
        let stated = match self.range {
            Some(_) => 0,
            None => stated_size(&response).unwrap_or(0),
        };
        let least = receiving.body.len() + length + usize::from(block.more());
        if stated.max(least) > limit {
            return Step::Failed(BodyFailure::TooLarge(limit));
        }
        receiving.size = BlockSize::of(block);
        receiving.body.extend_from_slice(&response.payload);
        if receiving.first.is_none() {
            response.payload = Vec::new();
            receiving.first = Some(response);
        }
        let end = receiving.start + receiving.body.len();
        let wanted = self
            .range
            .map_or(usize::MAX, |(start, length)| start.saturating_add(length));
        if !block.more() || end >= wanted {
            let body = core::mem::take(&mut receiving.body);
            let (first, start) = (receiving.first.take(), receiving.start);
            return match first {
                Some(first) => self.done(first, &body, start),
                None => Step::Failed(BodyFailure::Inconsistent),
            };
        }
        match receiving.size.block_at(end, false) {
            Some(next) => Step::Send(self.request_next(next)),
            None => Step::Failed(BodyFailure::TooLarge(end)), // there are no more numbers
        }
    }

    /// The response with what was wanted of its body, which begins at `start`.
    fn done(&self, mut response: Response, body: &[u8], start: usize) -> Step {
        let wanted = match self.range {
            Some((from, length)) => {
                let from = from.saturating_sub(start).min(body.len());
                body.get(from..from.saturating_add(length).min(body.len()))
            }
            None => Some(body),
        };
        response.payload = wanted.unwrap_or_default().to_vec();
        response.options.remove(OptionNumber::BLOCK1);
        response.options.remove(OptionNumber::BLOCK2);
        Step::Done(response)
    }

    /// A request for a later block.
    fn request_next(&self, block: BlockValue) -> Request {
        let mut request = later_block(&self.request, block);
        if self.in_blocks {
            request.payload = Vec::new();
            self.set_tag(&mut request.options); // RFC 9175 section 3.4
        }
        request
    }

    // ---- beginning -------------------------------------------------------------------------------------

    /// Begins anew, unless that was done often enough or would do twice what is not to be done twice.
    fn restart(&mut self) -> Step {
        let processed = matches!(self.phase, Phase::Receiving(_));
        if self.bounds.restarts == 0 || (processed && !is_safe(self.request.method)) {
            return Step::Failed(BodyFailure::Changed);
        }
        self.bounds.restarts -= 1;
        self.begin()
    }

    fn begin(&mut self) -> Step {
        self.phase = match (self.in_blocks, &self.phase) {
            (true, _) => Phase::Sending(Sending {
                start: 0,
                size: self.bounds.size,
            }),
            (false, Phase::Receiving(receiving)) => {
                let asked = block(&self.request.options, OptionNumber::BLOCK2);
                let size = match self.range {
                    Some(_) => self.bounds.size,
                    None => asked.map_or(BlockSize::LARGEST, BlockSize::of),
                };
                // Of a range that is a multiple of the size, else 0.
                Phase::Receiving(Receiving::at(receiving.start, size))
            }
            (false, Phase::Sending(_)) => Phase::Receiving(Receiving::at(0, BlockSize::LARGEST)),
        };
        Step::Send(self.first())
    }

    /// The first request of the phase.
    fn first(&self) -> Request {
        match &self.phase {
            Phase::Sending(sending) => self.request_block(*sending),
            Phase::Receiving(receiving) => {
                let mut request = self.request.clone();
                if self.range.is_some()
                    && let Some(block) = receiving.size.block_at(receiving.start, false)
                {
                    let value = block.encode();
                    request.options.set(OptionNumber::BLOCK2, value.as_bytes());
                }
                request
            }
        }
    }
}

impl Receiving {
    fn at(start: usize, size: BlockSize) -> Self {
        Self {
            first: None,
            start,
            body: Vec::new(),
            size,
        }
    }
}

/// A request for a later block of the response to another one. That of a FETCH has its payload again, so that a server
/// which has not kept the response can make it anew.
pub(crate) fn later_block(first: &Request, block: BlockValue) -> Request {
    let mut request = Request::new(first.method);
    request.options = first.options.clone();
    for number in [
        OptionNumber::ETAG,
        OptionNumber::MULTI_ETAG,
        OptionNumber::IF_NONE_MATCH,
        OptionNumber::OBSERVE,
        OptionNumber::BLOCK1,
        OptionNumber::SIZE1,
        OptionNumber::SIZE2,
    ] {
        request.options.remove(number);
    }
    let value = block.encode();
    request.options.set(OptionNumber::BLOCK2, value.as_bytes());
    if first.method == Code::FETCH {
        request.payload.clone_from(&first.payload);
    }
    request
}

/// The value of a Block option, if there is one.
pub(crate) fn block(options: &Options, number: OptionNumber) -> Option<BlockValue> {
    options.get(number).and_then(BlockValue::decode)
}

/// Is this the first of several blocks of a response?
pub(crate) fn is_first_of_more(options: &Options) -> bool {
    block(options, OptionNumber::BLOCK2).is_some_and(|block| block.num() == 0 && block.more())
}

/// The block size that a server asks for which found a request too large that was sent whole (RFC 7959 section 2.9.3).
pub(crate) fn hinted_size(response: &Response, request: &Request) -> Option<BlockSize> {
    if response.code != Code::REQUEST_ENTITY_TOO_LARGE
        || request.options.get(OptionNumber::BLOCK1).is_some()
    {
        return None;
    }
    let size = BlockSize::of(block(&response.options, OptionNumber::BLOCK1)?);
    (size.bytes() < request.payload.len()).then_some(size)
}

fn stated_size(response: &Response) -> Option<usize> {
    let size = response.options.get(OptionNumber::SIZE2)?;
    decode_uint(size).map(|size| size as usize)
}

fn is_safe(method: Code) -> bool {
    matches!(method, Code::GET | Code::FETCH)
}
