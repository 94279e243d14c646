//! The value of the OSCORE option (RFC 8613, section 6.1; draft-ietf-core-oscore-groupcomm-28, section 4.1).

use alloc::vec::Vec;
use core::fmt;

use antiphon_wire::{Message, OptionNumber};

use crate::nonce::PartialIv;

const RESERVED: u8 = 0b1100_0000;
const GROUP_FLAG: u8 = 0b0010_0000;
const KID_CONTEXT_FLAG: u8 = 0b0001_0000;
const KID_FLAG: u8 = 0b0000_1000;
const PARTIAL_IV_LEN: u8 = 0b0000_0111;

/// The longest value of the option in bytes.
pub const MAX_OPTION_LEN: usize = 255;

/// Why the bytes are no OSCORE option, or the message is none with such an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionMalformed {
    /// A reserved flag bit is set.
    ReservedBits,
    /// The length of the Partial IV is 6 or 7.
    ReservedLength,
    /// The value ends before what its flags announce.
    Truncated,
    /// The Partial IV has leading zeros.
    LeadingZeros,
    /// Bytes are left over, and no kid is announced.
    TrailingBytes,
    /// All flags are zero, which has to be the empty value: a single zero byte is refused.
    ZeroFlags,
    /// Longer than 255 bytes.
    TooLong,
    /// The option occurs more than once.
    Repeated,
    /// The message has no payload, so no ciphertext.
    NoPayload,
    /// A request without Partial IV.
    NoPartialIv,
    /// A request without kid.
    NoKid,
    /// A request of a group without kid context.
    NoKidContext,
}

impl fmt::Display for OptionMalformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OptionMalformed::ReservedBits => "the OSCORE option has a reserved flag bit set",
            OptionMalformed::ReservedLength => {
                "the OSCORE option announces a Partial IV of 6 or 7 bytes"
            }
            OptionMalformed::Truncated => "the OSCORE option ends too early",
            OptionMalformed::LeadingZeros => "the Partial IV has leading zeros",
            OptionMalformed::TrailingBytes => "the OSCORE option has bytes left over",
            OptionMalformed::ZeroFlags => {
                "the OSCORE option has a flag byte of zero instead of none"
            }
            OptionMalformed::TooLong => "the OSCORE option is longer than 255 bytes",
            OptionMalformed::Repeated => "the OSCORE option occurs more than once",
            OptionMalformed::NoPayload => "a message with the OSCORE option has no payload",
            OptionMalformed::NoPartialIv => "a request has no Partial IV",
            OptionMalformed::NoKid => "a request has no kid",
            OptionMalformed::NoKidContext => "a request of a group has no kid context",
        })
    }
}

impl core::error::Error for OptionMalformed {}

/// The fields of the option. Absent and empty are different things, for the kid and for the kid context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OscoreOption<'a> {
    /// The Partial IV: always in requests.
    pub partial_iv: Option<PartialIv>,
    /// The kid context: in Group OSCORE the Gid. At most 255 bytes, less what the rest takes.
    pub kid_context: Option<&'a [u8]>,
    /// The kid: the sender's Sender ID.
    pub kid: Option<&'a [u8]>,
    /// The Group Flag: protected in group mode.
    pub group_flag: bool,
}

impl<'a> OscoreOption<'a> {
    /// The option of a message, `None` if it has none.
    ///
    /// # Errors
    /// What [`parse`](Self::parse) refuses; [`OptionMalformed::Repeated`]; [`OptionMalformed::NoPayload`].
    pub fn of(message: &Message<'a>) -> Result<Option<OscoreOption<'a>>, OptionMalformed> {
        let found = OscoreOption::with_value(message)?;
        Ok(found.map(|(option, _)| option))
    }

    /// As [`of`](Self::of), with the value as it stands.
    pub(crate) fn with_value(
        message: &Message<'a>,
    ) -> Result<Option<(OscoreOption<'a>, &'a [u8])>, OptionMalformed> {
        let mut values = message.options_of(OptionNumber::OSCORE);
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(OptionMalformed::Repeated);
        }
        if message.payload().is_empty() {
            return Err(OptionMalformed::NoPayload);
        }
        Ok(Some((OscoreOption::parse(value)?, value)))
    }

    /// Reads the value of the option: `flags | Partial IV | length of the kid context, kid context | kid`, where the empty
    /// value stands for no field at all.
    ///
    /// # Errors
    /// [`OptionMalformed`], for everything that [`write`](Self::write) would not have written. So each set of fields has
    /// exactly one encoding.
    pub fn parse(value: &'a [u8]) -> Result<OscoreOption<'a>, OptionMalformed> {
        if value.len() > MAX_OPTION_LEN {
            return Err(OptionMalformed::TooLong);
        }
        let Some((&flags, rest)) = value.split_first() else {
            return Ok(OscoreOption::default());
        };
        if flags & RESERVED != 0 {
            return Err(OptionMalformed::ReservedBits);
        }
        let piv_len = flags & PARTIAL_IV_LEN;
        if piv_len > 5 {
            return Err(OptionMalformed::ReservedLength);
        }
        let (piv, rest) = rest
            .split_at_checked(piv_len.into())
            .ok_or(OptionMalformed::Truncated)?;
        let partial_iv = match piv {
            [] => None,
            piv => Some(PartialIv::from_wire(piv).ok_or(OptionMalformed::LeadingZeros)?),
        };
        let (kid_context, rest) = if flags & KID_CONTEXT_FLAG != 0 {
            let (&len, rest) = rest.split_first().ok_or(OptionMalformed::Truncated)?;
            let (context, rest) = rest
                .split_at_checked(len.into())
                .ok_or(OptionMalformed::Truncated)?;
            (Some(context), rest)
        } else {
            (None, rest)
        };
        let kid = (flags & KID_FLAG != 0).then_some(rest);
        if kid.is_none() && !rest.is_empty() {
            return Err(OptionMalformed::TrailingBytes);
        }
        if flags == 0 {
            return Err(OptionMalformed::ZeroFlags);
        }
        Ok(OscoreOption {
            partial_iv,
            kid_context,
            kid,
            group_flag: flags & GROUP_FLAG != 0,
        })
    }

    /// Checks that all is there that a request needs: Partial IV and kid, and in a group the kid context.
    ///
    /// # Errors
    /// The first that is missing.
    pub fn check_request(&self, group: bool) -> Result<(PartialIv, &'a [u8]), OptionMalformed> {
        let partial_iv = self.partial_iv.ok_or(OptionMalformed::NoPartialIv)?;
        let kid = self.kid.ok_or(OptionMalformed::NoKid)?;
        if group && self.kid_context.is_none() {
            return Err(OptionMalformed::NoKidContext);
        }
        Ok((partial_iv, kid))
    }

    /// Length of the value in bytes.
    pub fn encoded_len(&self) -> usize {
        if *self == OscoreOption::default() {
            return 0;
        }
        let partial_iv = self
            .partial_iv
            .as_ref()
            .map_or(0, |piv| piv.as_bytes().len());
        let kid_context = self.kid_context.map_or(0, |context| 1 + context.len());
        1 + partial_iv + kid_context + self.kid.map_or(0, <[u8]>::len)
    }

    /// Appends the value.
    ///
    /// # Errors
    /// [`OptionMalformed::TooLong`], with nothing written.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), OptionMalformed> {
        if self.encoded_len() > MAX_OPTION_LEN {
            return Err(OptionMalformed::TooLong);
        }
        let piv = self
            .partial_iv
            .as_ref()
            .map_or(&[][..], PartialIv::as_bytes);
        let mut flags = piv.len() as u8;
        if self.group_flag {
            flags |= GROUP_FLAG;
        }
        if self.kid_context.is_some() {
            flags |= KID_CONTEXT_FLAG;
        }
        if self.kid.is_some() {
            flags |= KID_FLAG;
        }
        if flags == 0 {
            return Ok(());
        }
        out.push(flags);
        out.extend_from_slice(piv);
        if let Some(context) = self.kid_context {
            out.push(context.len() as u8);
            out.extend_from_slice(context);
        }
        out.extend_from_slice(self.kid.unwrap_or_default());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
