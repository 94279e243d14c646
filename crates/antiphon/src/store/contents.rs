//! Reading a store: a pure function of its bytes.

use core::fmt;

use super::frame::{BadHeader, Epoch, Frame, Header, Kind, MAX_FRAME, MIN_FRAME, Opening};
use super::wear::Wear;
use super::{Records, SealKey, StoreId, batch};

/// So many bytes are tried when what stands behind a frame that does not verify is searched for one that does. Bytes that chance has
/// written have hardly any place that looks like a frame.
const MOST_TRIED: usize = 8 * MAX_FRAME;

/// What deriving a key costs, in bytes of decryption.
const TRY: usize = 1 << 12;

/// What the bytes of a store hold.
pub struct Contents {
    /// All records.
    pub records: Records,
    /// Which store it is.
    pub store: StoreId,
    /// How often it was opened.
    pub opened: u64,
    /// The number of the last frame.
    pub sequence: u64,
    /// Whether the last owner closed it.
    pub closed: bool,
    /// So many bytes hold all this. What stands behind them is a write that was never acknowledged, in parts or damaged.
    pub length: usize,
    pub(super) header: Header,
    pub(super) opening: Opening,
    pub(super) wear: Wear,
}

/// Numbers, never the content of records.
impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents")
            .field("names", &self.records.keys())
            .field("store", &self.store)
            .field("opened", &self.opened)
            .field("sequence", &self.sequence)
            .field("closed", &self.closed)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// Why bytes are not read as a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// They do not begin as a store does.
    #[error("not a store")]
    NotAStore,
    /// They were written in a format that this version does not know.
    #[error("format {0} is not known")]
    Version(u16),
    /// They were sealed under another key, or the header is damaged.
    #[error("sealed under another key, or damaged at the start")]
    Key,
    /// Something that was acknowledged is damaged.
    #[error("damaged at byte {0}")]
    Corrupt(usize),
}

impl From<BadHeader> for Unreadable {
    fn from(bad: BadHeader) -> Unreadable {
        match bad {
            BadHeader::NotAStore => Unreadable::NotAStore,
            BadHeader::Version(version) => Unreadable::Version(version),
            BadHeader::Key => Unreadable::Key,
        }
    }
}

impl Contents {
    /// Reads the bytes of a store. Never panics.
    ///
    /// A frame that does not verify ends the store if nothing behind it does: such is a write that a crash has divided. Each frame is
    /// synced before the next one is written, so a frame that verifies behind one that does not means damage.
    /// Whether the last frame that was acknowledged has gone is for the witness to say.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read(bytes: &[u8], key: &SealKey) -> Result<Contents, Unreadable> {
        let header = Header::read(bytes, key)?;
        let mut at = Header::LENGTH;
        let mut epoch: Option<Epoch> = None;
        let mut contents = Contents {
            records: Records::new(),
            store: header.store,
            opened: 0,
            sequence: 0,
            closed: false,
            length: at,
            header,
            opening: Opening::default(),
            wear: Wear::default(),
        };
        while at < bytes.len() {
            let Some((frame, of, body)) =
                verify(&bytes[at..], key, &contents.header, epoch.as_ref())
            else {
                break;
            };
            epoch = of.or(epoch);
            contents
                .take(&frame, &body)
                .ok_or(Unreadable::Corrupt(at))?;
            at += frame.length;
            contents.length = at;
        }
        // The first frame was synced before the file got its name.
        if epoch.is_none() || goes_on(bytes, key, &contents, epoch.as_ref()) {
            return Err(Unreadable::Corrupt(at));
        }
        Ok(contents)
    }

    /// Applies a frame that has been verified.
    fn take(&mut self, frame: &Frame<'_>, body: &[u8]) -> Option<()> {
        if frame.sequence <= self.sequence || frame.previous != self.sequence {
            return None;
        }
        match frame.kind {
            Kind::Opening => {
                let opening = Opening::decode(body)?;
                self.opened = opening.number;
                self.opening = opening;
                self.wear = opening.wear;
            }
            Kind::Entries => batch::apply(body, &mut self.records)?,
            Kind::Closing => self.wear = Wear::decode(body.try_into().ok()?),
        }
        self.closed = frame.kind == Kind::Closing;
        self.sequence = frame.sequence;
        Some(())
    }
}

type Verified<'a> = (Frame<'a>, Option<Epoch>, zeroize::Zeroizing<Vec<u8>>);

/// The frame at the start of `bytes`, with its new epoch if it begins one, and its content.
fn verify<'a>(
    bytes: &'a [u8],
    key: &SealKey,
    header: &Header,
    epoch: Option<&Epoch>,
) -> Option<Verified<'a>> {
    let frame = Frame::split(bytes)?;
    let of = frame.salt.map(|salt| Epoch::new(key, header, salt));
    let body = of.as_ref().or(epoch)?.open(&frame)?;
    Some((frame, of, body))
}

/// Whether a frame that verifies, or more than one write can have left, stands behind the last good frame.
fn goes_on(bytes: &[u8], key: &SealKey, good: &Contents, epoch: Option<&Epoch>) -> bool {
    let left = bytes.len() - good.length;
    if left > MAX_FRAME {
        return true;
    }
    let mut tried = 0;
    for at in good.length + 1..(bytes.len() + 1).saturating_sub(MIN_FRAME) {
        let Some(frame) = Frame::split(&bytes[at..]) else {
            continue;
        };
        let ahead = frame.sequence.wrapping_sub(good.sequence);
        if ahead == 0 || ahead > u64::from(u32::MAX) {
            continue;
        }
        tried += TRY + frame.length;
        if tried > MOST_TRIED {
            return true;
        }
        if verify(&bytes[at..], key, &good.header, epoch).is_some() {
            return true;
        }
    }
    false
}
