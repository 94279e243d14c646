//! The last look at a response before policy: is it what the request asked for?

use antiphon_wire::{Code, OptionNumber, decode_uint};

use super::disposition::Context;
use crate::message::{self, Response};

/// A 2.05 whose tag the request has becomes 2.03 without the representation (RFC 7252 section 5.10.6.2).
pub(super) fn revalidate(context: &Context, response: &mut Response) {
    if response.code != Code::CONTENT || !context.safe {
        return;
    }
    let Some(tag) = response.options.get(OptionNumber::ETAG) else {
        return;
    };
    let mut rest = context.etags.as_slice();
    while let [len, behind @ ..] = rest {
        let Some((known, others)) = behind.split_at_checked(usize::from(*len)) else {
            return;
        };
        if known == tag {
            response.code = Code::VALID;
            response.options.remove(OptionNumber::CONTENT_FORMAT);
            response.payload.clear();
            return;
        }
        rest = others;
    }
}

/// Holds the representation against Accept, and acknowledges the last block of a request.
pub(super) fn represent(context: &Context, response: &mut Response) {
    if response.code == Code::CONTENT && context.safe {
        let format = response
            .options
            .get(OptionNumber::CONTENT_FORMAT)
            .and_then(decode_uint);
        if let (Some(accept), Some(format)) = (context.accept, format)
            && accept != format
        {
            response.reset(Code::NOT_ACCEPTABLE);
        }
    }
    if let Some(block) = context.block1
        && !block.more()
    {
        response
            .options
            .set(OptionNumber::BLOCK1, block.encode().as_bytes());
    }
}

/// How many bytes the response takes as a message.
pub(crate) fn encoded_len(token_length: usize, response: &Response) -> usize {
    message::encoded_len(token_length, &response.options, response.payload.len())
}
