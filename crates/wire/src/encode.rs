//! Writing a message into a slice of the caller (RFC 7252, section 3).

use crate::message::{HEADER_LEN, PAYLOAD_MARKER, VERSION_1};
use crate::{Code, EncodeError, MessageId, OptionNumber, Token, Type, encode_uint};

/// The longest value that length field and extension can express.
const MAX_OPTION_LEN: usize = 269 + 0xffff;

/// Writes one message from front to back: header and Token at once, then options in ascending order, then
/// the payload. A call that fails changes nothing, so that the caller may go on without that element.
#[derive(Debug)]
pub struct Writer<'b> {
    buf: &'b mut [u8],
    /// How many bytes are written.
    len: usize,
    /// The number of the last option.
    last: u16,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Code 0.00: nothing may follow the header.
    Empty,
    /// Nothing written after the Token.
    Start,
    Options,
    Payload,
}

impl<'b> Writer<'b> {
    /// Begins a message with its header and Token.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`]; [`EncodeError::EmptyMessageNotEmpty`] for code 0.00 with a Token.
    #[inline]
    pub fn new(
        buf: &'b mut [u8],
        kind: Type,
        code: Code,
        message_id: MessageId,
        token: Token,
    ) -> Result<Writer<'b>, EncodeError> {
        if code.is_empty() && !token.is_empty() {
            return Err(EncodeError::EmptyMessageNotEmpty);
        }
        let len = HEADER_LEN + token.len();
        let [id_high, id_low] = message_id.0.to_be_bytes();
        let first = VERSION_1 + nibbles(kind as u8, token.len());
        match buf.split_first_chunk_mut() {
            Some((header, rest)) if rest.len() >= token.len() => {
                *header = [first, code.to_u8(), id_high, id_low];
                match rest.first_chunk_mut() {
                    // With the zeros behind the Token, which are overwritten by what follows.
                    Some(eight) => *eight = token.padded(),
                    None => rest
                        .iter_mut()
                        .zip(token.as_bytes())
                        .for_each(|(to, from)| *to = *from),
                }
            }
            _ => return Err(EncodeError::BufferTooSmall { needed: len }),
        }
        let state = if code.is_empty() {
            State::Empty
        } else {
            State::Start
        };
        Ok(Writer {
            buf,
            len,
            last: 0,
            state,
        })
    }

    /// Begins a sequence of options and payload without header and Token, such as the plaintext of a
    /// protected message after its code. The first option is relative to number 0.
    pub fn tail(buf: &'b mut [u8]) -> Writer<'b> {
        Writer {
            buf,
            len: 0,
            last: 0,
            state: State::Start,
        }
    }

    /// Appends an option.
    ///
    /// # Errors
    /// [`EncodeError::OptionOrder`] if `number` is smaller than that of the option before,
    /// [`EncodeError::OptionTooLong`] above 65804 bytes, [`EncodeError::BufferTooSmall`],
    /// [`EncodeError::AfterPayload`], [`EncodeError::EmptyMessageNotEmpty`].
    #[inline]
    pub fn option(&mut self, number: OptionNumber, value: &[u8]) -> Result<&mut Self, EncodeError> {
        self.writable()?;
        let Some(delta) = number.0.checked_sub(self.last) else {
            return Err(EncodeError::OptionOrder);
        };
        if delta <= 12 && value.len() <= 12 {
            // By far the most frequent case: one byte of header.
            let needed = self.len + 1 + value.len();
            match self.buf.get_mut(self.len..needed) {
                Some([first, to @ ..]) => {
                    *first = nibbles(delta as u8, value.len());
                    to.copy_from_slice(value);
                }
                _ => return Err(EncodeError::BufferTooSmall { needed }),
            }
            self.len = needed;
        } else {
            self.long_option(delta, value)?;
        }
        self.last = number.0;
        self.state = State::Options;
        Ok(self)
    }

    /// An option whose delta or length needs extension bytes.
    fn long_option(&mut self, delta: u16, value: &[u8]) -> Result<(), EncodeError> {
        if value.len() > MAX_OPTION_LEN {
            return Err(EncodeError::OptionTooLong);
        }
        let (delta, length) = (Field::of(u32::from(delta)), Field::of(value.len() as u32));
        let needed = self.len + 1 + delta.extra().len() + length.extra().len() + value.len();
        let Some(mut to) = self.buf.get_mut(self.len..needed) else {
            return Err(EncodeError::BufferTooSmall { needed });
        };
        for part in [
            &[nibbles(delta.nibble, length.nibble.into())],
            delta.extra(),
            length.extra(),
            value,
        ] {
            if let Some((here, behind)) = core::mem::take(&mut to).split_at_mut_checked(part.len())
            {
                here.copy_from_slice(part);
                to = behind;
            }
        }
        self.len = needed;
        Ok(())
    }

    /// Appends an option with an unsigned integer in its shortest form: no bytes for zero.
    ///
    /// # Errors
    /// As [`Writer::option`].
    #[inline]
    pub fn uint_option(
        &mut self,
        number: OptionNumber,
        value: u32,
    ) -> Result<&mut Self, EncodeError> {
        self.option(number, encode_uint(value).as_bytes())
    }

    /// Appends the payload with its marker; nothing at all if it is empty.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`], [`EncodeError::AfterPayload`], [`EncodeError::EmptyMessageNotEmpty`].
    #[inline]
    pub fn payload(&mut self, payload: &[u8]) -> Result<(), EncodeError> {
        if payload.is_empty() {
            return Ok(());
        }
        self.writable()?;
        let needed = self.len + 1 + payload.len();
        match self.buf.get_mut(self.len..needed) {
            Some([marker, to @ ..]) => {
                *marker = PAYLOAD_MARKER;
                to.copy_from_slice(payload);
            }
            _ => return Err(EncodeError::BufferTooSmall { needed }),
        }
        self.len = needed;
        self.state = State::Payload;
        Ok(())
    }

    /// Appends options and payload that are already encoded, as [`crate::Message::options_and_payload`] gives
    /// them. They are copied as they are, not checked again.
    ///
    /// # Errors
    /// [`EncodeError::AfterPayload`] if anything was written after the Token, as the first option delta of
    /// `body` is relative to number 0; [`EncodeError::BufferTooSmall`]; [`EncodeError::EmptyMessageNotEmpty`].
    #[inline]
    pub fn body(&mut self, body: &[u8]) -> Result<(), EncodeError> {
        if body.is_empty() {
            return Ok(());
        }
        self.writable()?;
        if self.state != State::Start {
            return Err(EncodeError::AfterPayload);
        }
        let needed = self.len + body.len();
        let Some(to) = self.buf.get_mut(self.len..needed) else {
            return Err(EncodeError::BufferTooSmall { needed });
        };
        to.copy_from_slice(body);
        self.len = needed;
        self.state = State::Payload;
        Ok(())
    }

    /// How many bytes are written so far.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is written; only so at the beginning of a [`Writer::tail`].
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Ends the message: how many bytes of the buffer it takes.
    #[inline]
    pub fn finish(self) -> usize {
        self.len
    }

    #[inline]
    fn writable(&self) -> Result<(), EncodeError> {
        match self.state {
            State::Start | State::Options => Ok(()),
            State::Payload => Err(EncodeError::AfterPayload),
            State::Empty => Err(EncodeError::EmptyMessageNotEmpty),
        }
    }
}

/// One byte of two halves, both at most 15.
#[inline]
const fn nibbles(high: u8, low: usize) -> u8 {
    (high << 4) + low as u8
}

/// A delta or length: the four bits in the first byte, and the extension bytes (RFC 7252, section 3.1).
struct Field {
    nibble: u8,
    extra: [u8; 2],
}

impl Field {
    /// `value` is at most 65804.
    fn of(value: u32) -> Field {
        match value {
            0..=12 => Field {
                nibble: value as u8,
                extra: [0; 2],
            },
            13..=268 => Field {
                nibble: 13,
                extra: [(value - 13) as u8, 0],
            },
            _ => Field {
                nibble: 14,
                extra: ((value - 269) as u16).to_be_bytes(),
            },
        }
    }

    fn extra(&self) -> &[u8] {
        match (self.nibble, &self.extra) {
            (0..=12, _) => &[],
            (13, [first, _]) => core::slice::from_ref(first),
            (_, both) => both,
        }
    }
}

#[cfg(test)]
mod tests;
