//! Typed option values: integers, media types, block values, No-Response.

use core::fmt;

use crate::{Class, Code};

/// An unsigned integer in the shortest big-endian form (RFC 7252, section 3.2): zero takes no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UintValue {
    bytes: [u8; 4],
    /// How many leading bytes are zero and left out.
    skip: u8,
}

impl UintValue {
    /// The bytes of the option value.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(usize::from(self.skip)..).unwrap_or_default()
    }
}

/// The shortest form of `value`.
#[inline]
pub const fn encode_uint(value: u32) -> UintValue {
    UintValue {
        bytes: value.to_be_bytes(),
        skip: (value.leading_zeros() / 8) as u8,
    }
}

/// Reads an unsigned integer; leading zero bytes are accepted, as RFC 7252, section 3.2 demands.
/// `None` if the value does not fit 32 bits.
#[inline]
pub const fn decode_uint(bytes: &[u8]) -> Option<u32> {
    let mut value = 0_u32;
    let mut rest = bytes;
    while let [byte, behind @ ..] = rest {
        if value > u32::MAX >> 8 {
            return None;
        }
        value = (value << 8) + *byte as u32;
        rest = behind;
    }
    Some(value)
}

/// A Content-Format number: media type, parameters and content coding (RFC 7252, section 12.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentFormat(pub u16);

/// Lists the known Content-Formats once: constant, number, media type, short name.
macro_rules! content_formats {
    ($($(#[$meta:meta])* $constant:ident = $number:literal, $media_type:literal, $short:literal;)*) => {
        impl ContentFormat {
            $($(#[$meta])* pub const $constant: ContentFormat = ContentFormat($number);)*

            /// The media type, such as "application/cbor", or `None` if the number is not known here.
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(ContentFormat::$constant => Some($media_type),)*
                    _ => None,
                }
            }

            /// The format of this media type ("application/cbor"), short name ("cbor") or decimal number
            /// ("60"); names in any letter case.
            pub fn from_name(name: &str) -> Option<ContentFormat> {
                $(if name.eq_ignore_ascii_case($media_type) || name.eq_ignore_ascii_case($short) {
                    return Some(ContentFormat::$constant);
                })*
                if !name.bytes().all(|byte| byte.is_ascii_digit()) {
                    return None;
                }
                name.parse().ok().map(ContentFormat)
            }
        }
    };
}

content_formats! {
    /// Plain text in UTF-8 (RFC 7252).
    TEXT = 0, "text/plain; charset=utf-8", "text";
    /// A COSE single-signer message (RFC 9052).
    COSE_SIGN1 = 18, "application/cose; cose-type=\"cose-sign1\"", "cose-sign1";
    /// ACE parameters (RFC 9200).
    ACE_CBOR = 19, "application/ace+cbor", "ace";
    /// Links (RFC 6690).
    LINK_FORMAT = 40, "application/link-format", "link-format";
    /// XML (RFC 7252).
    XML = 41, "application/xml", "xml";
    /// Any bytes (RFC 7252).
    OCTETS = 42, "application/octet-stream", "octets";
    /// EXI (RFC 7252).
    EXI = 47, "application/exi", "exi";
    /// JSON (RFC 7252).
    JSON = 50, "application/json", "json";
    /// JSON patch (RFC 8132).
    JSON_PATCH = 51, "application/json-patch+json", "json-patch";
    /// JSON merge patch (RFC 8132).
    MERGE_PATCH = 52, "application/merge-patch+json", "merge-patch";
    /// CBOR (RFC 8949).
    CBOR = 60, "application/cbor", "cbor";
    /// A CBOR web token (RFC 8392).
    CWT = 61, "application/cwt", "cwt";
    /// Several representations in one (RFC 8710).
    MULTIPART = 62, "application/multipart-core", "multipart";
    /// A CBOR sequence (RFC 8742).
    CBOR_SEQ = 63, "application/cbor-seq", "cbor-seq";
    /// COSE keys (RFC 9052).
    COSE_KEY = 101, "application/cose-key", "cose-key";
    /// SenML in JSON (RFC 8428).
    SENML_JSON = 110, "application/senml+json", "senml-json";
    /// SenML in CBOR (RFC 8428).
    SENML_CBOR = 112, "application/senml+cbor", "senml-cbor";
    /// Problem details (RFC 9290).
    PROBLEM_DETAILS = 257, "application/concise-problem-details+cbor", "problem-details";
    /// Group keying material (RFC 9594).
    ACE_GROUPCOMM = 261, "application/ace-groupcomm+cbor", "ace-groupcomm";
    /// SenML patch in JSON (RFC 8790).
    SENML_ETCH_JSON = 320, "application/senml-etch+json", "senml-etch-json";
    /// SenML patch in CBOR (RFC 8790).
    SENML_ETCH_CBOR = 322, "application/senml-etch+cbor", "senml-etch-cbor";
}

/// The media type; the bare number if it is not known here.
impl fmt::Display for ContentFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "{}", self.0),
        }
    }
}

/// The value of Block1, Block2, Q-Block1 or Q-Block2 (RFC 7959, section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockValue {
    num: u32,
    more: bool,
    szx: u8,
}

impl BlockValue {
    /// The largest block number, 2^20 - 1.
    pub const MAX_NUM: u32 = (1 << 20) - 1;

    /// Block `num` of size `2^(szx + 4)` bytes; `None` if `num` is above [`BlockValue::MAX_NUM`] or `szx`
    /// above 6 (7 is reserved).
    pub const fn new(num: u32, more: bool, szx: u8) -> Option<BlockValue> {
        if num > BlockValue::MAX_NUM || szx > 6 {
            return None;
        }
        Some(BlockValue { num, more, szx })
    }

    /// Reads an option value; `None` if it is longer than three bytes or has the reserved size exponent 7.
    pub fn decode(value: &[u8]) -> Option<BlockValue> {
        if value.len() > 3 {
            return None;
        }
        let value = decode_uint(value)?;
        BlockValue::new(value >> 4, value & 8 == 8, (value & 7) as u8)
    }

    /// The option value.
    pub const fn encode(self) -> UintValue {
        encode_uint((self.num << 4) + ((self.more as u32) << 3) + self.szx as u32)
    }

    /// The block number, from 0.
    pub const fn num(self) -> u32 {
        self.num
    }

    /// Whether more blocks follow.
    pub const fn more(self) -> bool {
        self.more
    }

    /// The size exponent, 0 to 6.
    pub const fn szx(self) -> u8 {
        self.szx
    }

    /// The block size in bytes, 16 to 1024.
    pub const fn size(self) -> usize {
        1 << (self.szx + 4)
    }

    /// Where the block begins in the body, in bytes: at most 2^30 - 1024.
    pub const fn start(self) -> usize {
        (self.num as usize) << (self.szx + 4)
    }
}

/// The value of No-Response (RFC 7967, section 2.1): which classes of responses are of no interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NoResponse(u8);

impl NoResponse {
    /// Interested in all responses: what a server suppresses by itself is wanted too.
    pub const NONE: NoResponse = NoResponse(0);
    /// Not interested in 2.xx.
    pub const SUCCESS: NoResponse = NoResponse(2);
    /// Not interested in 4.xx.
    pub const CLIENT_ERROR: NoResponse = NoResponse(8);
    /// Not interested in 5.xx.
    pub const SERVER_ERROR: NoResponse = NoResponse(16);
    /// Not interested in any response: 26.
    pub const ALL: NoResponse = NoResponse(26);

    /// The value as sent, unassigned bits included.
    pub const fn new(bits: u8) -> NoResponse {
        NoResponse(bits)
    }

    /// Reads an option value; `None` if it is longer than one byte. Unassigned bits are kept and mean nothing.
    pub const fn decode(value: &[u8]) -> Option<NoResponse> {
        match value {
            [] => Some(NoResponse(0)),
            [bits] => Some(NoResponse(*bits)),
            _ => None,
        }
    }

    /// The option value.
    pub const fn encode(self) -> UintValue {
        encode_uint(self.0 as u32)
    }

    /// The value as sent.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether responses of this class are not wanted.
    pub const fn suppresses(self, class: Class) -> bool {
        self.0 & (1 << (class as u8 - 1)) != 0
    }

    /// Whether this response is not wanted.
    pub const fn suppresses_code(self, code: Code) -> bool {
        match code.response_class() {
            Some(class) => self.suppresses(class),
            None => false,
        }
    }

    /// Not wanted by one or by the other.
    pub const fn union(self, other: NoResponse) -> NoResponse {
        NoResponse(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests;
