//! The last look at a response before policy: is it what the request asked for?

use antiphon_wire::{Code, OptionNumber, UintValue, decode_uint, encode_uint};

use super::disposition::{Context, SilenceReason};
use crate::message::Response;

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

/// Holds the representation against Accept and Block2; a reason if a group request gets no answer for it.
pub(super) fn represent(context: &Context, response: &mut Response) -> Option<SilenceReason> {
    let refuse = |response: &mut Response, code, text: &str| {
        response.reset(code);
        response.payload.extend_from_slice(text.as_bytes());
    };
    if response.code == Code::CONTENT && context.safe {
        let format = response
            .options
            .get(OptionNumber::CONTENT_FORMAT)
            .and_then(decode_uint);
        if let (Some(accept), Some(format)) = (context.accept, format)
            && accept != format
        {
            refuse(response, Code::NOT_ACCEPTABLE, "");
        }
    }
    if response.code == Code::CONTENT
        && let Some(block) = context.block2
    {
        if response.payload.len() <= block.size() {
            response
                .options
                .set(OptionNumber::BLOCK2, block_zero(block.szx()).as_bytes());
        } else if context.group {
            return Some(SilenceReason::TooLarge);
        } else {
            refuse(
                response,
                Code::BAD_OPTION,
                "Block2: the representation does not fit the block",
            );
        }
    }
    if let Some(block) = context.block1
        && block.num() == 0
        && !block.more()
    {
        response
            .options
            .set(OptionNumber::BLOCK1, block_zero(block.szx()).as_bytes());
    }
    None
}

/// The block value of a body that is complete in its first block of this size.
fn block_zero(szx: u8) -> UintValue {
    encode_uint(u32::from(szx))
}

/// How many bytes the response takes as a message.
pub(crate) fn encoded_len(token_length: usize, response: &Response) -> usize {
    let extended = |value: usize| match value {
        0..=12 => 0,
        13..=268 => 1,
        _ => 2,
    };
    let mut length = 4 + token_length;
    let mut previous = 0;
    for (number, value) in response.options.iter() {
        let delta = usize::from(number.0) - previous;
        previous = usize::from(number.0);
        length += 1 + extended(delta) + extended(value.len()) + value.len();
    }
    match response.payload.len() {
        0 => length,
        payload => length + 1 + payload,
    }
}
