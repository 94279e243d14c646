//! Message ID and Token (RFC 7252, sections 3, 4.4 and 5.3.1).

use core::fmt;

/// A Message ID: matches acknowledgements and resets to their message, and finds duplicates.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub u16);

impl MessageId {
    /// The Message ID after this one; 0xffff is followed by 0.
    pub const fn next(self) -> MessageId {
        MessageId(self.0.wrapping_add(1))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:04x}", self.0)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A Token of 0 to 8 bytes: matches responses to their request.
///
/// Tokens of other lengths are different even if one begins with the other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// Unused bytes are zero, so that derived comparison is right.
    bytes: [u8; Token::MAX_LEN],
    len: u8,
}

impl Token {
    /// The longest Token, in bytes (RFC 7252, section 3). Extended Tokens (RFC 8974) are not supported.
    pub const MAX_LEN: usize = 8;

    /// The Token of length zero.
    pub const EMPTY: Token = Token {
        bytes: [0; Token::MAX_LEN],
        len: 0,
    };

    /// A Token of these bytes, or `None` if there are more than eight.
    #[inline]
    pub fn new(bytes: &[u8]) -> Option<Token> {
        let mut token = Token::EMPTY;
        let to = token.bytes.get_mut(..bytes.len())?;
        to.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        token.len = bytes.len() as u8; // at most eight, or `get_mut` had failed
        Some(token)
    }

    /// The Token in the first `len` of these bytes; `len` is at most eight. Faster than [`Token::new`].
    #[inline]
    pub(crate) const fn cut(bytes: [u8; Token::MAX_LEN], len: u8) -> Token {
        let behind = u64::BITS.saturating_sub(8 * len as u32);
        let kept = u64::from_le_bytes(bytes) & u64::MAX.unbounded_shr(behind);
        Token {
            bytes: kept.to_le_bytes(),
            len,
        }
    }

    /// The bytes with zeros behind them.
    #[inline]
    pub(crate) const fn padded(&self) -> [u8; Token::MAX_LEN] {
        self.bytes
    }

    /// A Token of full length.
    #[inline]
    pub const fn full(bytes: [u8; Token::MAX_LEN]) -> Token {
        Token {
            bytes,
            len: Token::MAX_LEN as u8,
        }
    }

    /// The bytes as they stand in a message.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The length in bytes, 0 to 8.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the length is zero.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The bytes in hexadecimal, nothing for the empty Token.
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({self})")
    }
}

#[cfg(test)]
mod tests;
