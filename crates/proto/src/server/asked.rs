//! What the options of a request ask for, read in one pass and without allocation.

use antiphon_wire::{BlockValue, Code, Message, NoResponse, OptionNumber, decode_uint};

/// The options of a request that a server acts on itself.
///
/// A known option that is malformed or repeated against its definition counts as not recognised
/// (RFC 7252 sections 5.4.3 and 5.4.5): ignored here if elective, [`unrecognised`](Self::unrecognised) if critical.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked<'m> {
    pub(super) host: Option<&'m [u8]>,
    pub(super) content_format: Option<u32>,
    pub(super) accept: Option<u32>,
    pub(super) no_response: Option<NoResponse>,
    pub(super) block1: Option<BlockValue>,
    pub(super) block2: Option<BlockValue>,
    /// The size of the representation is asked for.
    pub(super) size2: bool,
    pub(super) q_block: bool,
    pub(super) proxy: bool,
    pub(super) if_match: bool,
    pub(super) if_none_match: bool,
    pub(super) etag: bool,
    pub(super) multi_etag: bool,
    pub(super) observe: Option<u32>,
    /// The first critical option that is not recognised.
    pub(super) unrecognised: Option<OptionNumber>,
}

impl<'m> Asked<'m> {
    /// Reads all options. `also`: critical options recognised beyond the usual ones.
    pub(super) fn read(message: &Message<'m>, also: &[OptionNumber]) -> Self {
        let mut asked = Self::default();
        let mut previous = None;
        let mut occurrence = 0;
        for option in message.options() {
            let number = option.number;
            occurrence = if previous == Some(number) {
                occurrence + 1
            } else {
                0
            };
            previous = Some(number);
            let well_formed = number.check(option.value, occurrence).is_ok();
            let recognised = well_formed && asked.take(number, option.value);
            if !recognised && number.is_critical() && !also.contains(&number) {
                asked.unrecognised.get_or_insert(number);
            }
        }
        asked
    }

    /// Notes a well-formed option; false if a server does not recognise it.
    fn take(&mut self, number: OptionNumber, value: &'m [u8]) -> bool {
        match number {
            OptionNumber::IF_MATCH => self.if_match = true,
            OptionNumber::URI_HOST => self.host = Some(value),
            OptionNumber::ETAG => self.etag = true,
            OptionNumber::MULTI_ETAG => self.multi_etag = true,
            OptionNumber::IF_NONE_MATCH => self.if_none_match = true,
            OptionNumber::URI_PORT | OptionNumber::URI_PATH | OptionNumber::URI_QUERY => {}
            OptionNumber::CONTENT_FORMAT => self.content_format = decode_uint(value),
            OptionNumber::ACCEPT => self.accept = decode_uint(value),
            OptionNumber::NO_RESPONSE => self.no_response = NoResponse::decode(value),
            OptionNumber::OBSERVE => self.observe = decode_uint(value),
            OptionNumber::BLOCK1 => {
                self.block1 = BlockValue::decode(value);
                return self.block1.is_some();
            }
            OptionNumber::BLOCK2 => {
                self.block2 = BlockValue::decode(value);
                return self.block2.is_some();
            }
            OptionNumber::SIZE2 => self.size2 = true,
            OptionNumber::Q_BLOCK1 | OptionNumber::Q_BLOCK2 => {
                self.q_block = true;
                return false;
            }
            OptionNumber::PROXY_URI | OptionNumber::PROXY_SCHEME => self.proxy = true,
            _ => return false,
        }
        true
    }
}

/// The usual code of success for a method.
pub(super) fn success(method: Code) -> Code {
    match method {
        Code::GET | Code::FETCH => Code::CONTENT,
        Code::DELETE => Code::DELETED,
        _ => Code::CHANGED,
    }
}
