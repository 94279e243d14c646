//! How a store looks in bytes: a header, then sealed frames.
//!
//! ```text
//! header  magic 8, format 2, zero 6, store 16, file 16, check 16                                  = 64 bytes
//! frame   kind 1, length 4, sequence 8, previous 8, salt 32 (opening frames only), ciphertext, tag 16
//! ```
//!
//! Numbers are big endian; `length` counts ciphertext and tag. An opening frame begins an epoch: its key comes from the seal key, its
//! fresh random salt and the header. The nonce is the sequence number, which only ever grows, so under one key no nonce comes
//! twice. `previous` is the sequence number of the frame before, 0 for the first: as a number is sealed under once only, a frame
//! verifies in its place alone. Associated data are the frame's own plain bytes. A frame behind a damaged one can still be verified
//! by itself; that tells damage from a torn write.

use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _, Nonce, Tag};
use hkdf::hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::wear::Wear;
use super::{MAX_BATCH, SealKey, StoreId};

/// The format that this version reads and writes.
pub(super) const VERSION: u16 = 1;

const MAGIC: &[u8; 8] = b"antiphon";
const PREFIX: usize = 21;
const SALT: usize = 32;
const TAG: usize = 16;

/// The longest and the shortest frame.
pub(super) const MAX_FRAME: usize = PREFIX + SALT + MAX_BATCH + TAG;
pub(super) const MIN_FRAME: usize = PREFIX + TAG;

/// The first bytes of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) store: StoreId,
    bytes: [u8; Header::LENGTH],
}

/// Why the first bytes are no header of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BadHeader {
    NotAStore,
    Version(u16),
    Key,
}

impl Header {
    pub(super) const LENGTH: usize = 64;

    pub(super) fn new(key: &SealKey, store: StoreId, file: [u8; 16]) -> Header {
        let mut bytes = [0; Header::LENGTH];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_be_bytes());
        bytes[16..32].copy_from_slice(&store.0);
        bytes[32..48].copy_from_slice(&file);
        let check = header_check(key, &bytes[..48]).finalize().into_bytes();
        bytes[48..].copy_from_slice(&check[..TAG]);
        Header { store, bytes }
    }

    pub(super) fn read(bytes: &[u8], key: &SealKey) -> Result<Header, BadHeader> {
        let bytes: [u8; Header::LENGTH] =
            bytes.first_chunk().copied().ok_or(BadHeader::NotAStore)?;
        if &bytes[..8] != MAGIC {
            return Err(BadHeader::NotAStore);
        }
        let version = u16::from_be_bytes([bytes[8], bytes[9]]);
        if version != VERSION {
            return Err(BadHeader::Version(version));
        }
        header_check(key, &bytes[..48])
            .verify_truncated_left(&bytes[48..])
            .map_err(|_| BadHeader::Key)?;
        let mut store = StoreId([0; 16]);
        store.0.copy_from_slice(&bytes[16..32]);
        Ok(Header { store, bytes })
    }

    pub(super) fn as_bytes(&self) -> &[u8; Header::LENGTH] {
        &self.bytes
    }
}

fn header_check(key: &SealKey, bytes: &[u8]) -> Hmac<Sha256> {
    let key = key.derive(b"", b"header", b"");
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_ref()).expect("HMAC takes every key");
    mac.update(bytes);
    mac
}

/// What a frame says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Somebody opened the store, or wrote it anew: [`Opening`].
    Opening,
    /// Changes to the records: the entries of a [`Batch`](super::Batch).
    Entries,
    /// The owner closed the store: its [`Wear`].
    Closing,
}

impl Kind {
    fn to_byte(self) -> u8 {
        match self {
            Kind::Opening => 1,
            Kind::Entries => 2,
            Kind::Closing => 3,
        }
    }

    fn from_byte(byte: u8) -> Option<Kind> {
        match byte {
            1 => Some(Kind::Opening),
            2 => Some(Kind::Entries),
            3 => Some(Kind::Closing),
            _ => None,
        }
    }
}

/// The key of one epoch.
pub(super) struct Epoch {
    cipher: ChaCha20Poly1305,
    /// What tells this key from others, for the test that no nonce comes twice.
    #[cfg(test)]
    key: [u8; 32],
}

impl Epoch {
    pub(super) fn new(key: &SealKey, header: &Header, salt: &[u8; SALT]) -> Epoch {
        let derived = key.derive(salt, b"epoch", header.as_bytes());
        Epoch {
            cipher: ChaCha20Poly1305::new((&*derived).into()),
            #[cfg(test)]
            key: *derived,
        }
    }

    /// Appends a frame to `out`. `salt`: for an opening frame, the one that this epoch was made with.
    pub(super) fn seal(
        &self,
        kind: Kind,
        sequence: u64,
        previous: u64,
        salt: Option<&[u8; SALT]>,
        body: &[u8],
        out: &mut Vec<u8>,
    ) {
        #[cfg(test)]
        super::tests::tracker::sealed(self.key, sequence);
        let start = out.len();
        let length = (body.len() + TAG) as u32;
        out.push(kind.to_byte());
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&sequence.to_be_bytes());
        out.extend_from_slice(&previous.to_be_bytes());
        if let Some(salt) = salt {
            out.extend_from_slice(salt);
        }
        let text = out.len();
        out.extend_from_slice(body);
        let (plain, text) = out[start..].split_at_mut(text - start);
        let tag = self
            .cipher
            .encrypt_inout_detached(&nonce(sequence), plain, text.into())
            .expect("a body is shorter than what the cipher takes");
        out.extend_from_slice(&tag);
    }

    /// The content of a frame, if it verifies. Whether it stands in its place, its numbers say.
    pub(super) fn open(&self, frame: &Frame<'_>) -> Option<Zeroizing<Vec<u8>>> {
        let mut body = Zeroizing::new(frame.ciphertext.to_vec());
        self.cipher
            .decrypt_inout_detached(
                &nonce(frame.sequence),
                frame.plain,
                body.as_mut_slice().into(),
                &Tag::from(*frame.tag),
            )
            .ok()?;
        Some(body)
    }
}

fn nonce(sequence: u64) -> Nonce {
    let mut nonce = Nonce::default();
    nonce[4..].copy_from_slice(&sequence.to_be_bytes());
    nonce
}

/// A frame as it lies in the file, not verified.
pub(super) struct Frame<'a> {
    pub(super) kind: Kind,
    pub(super) sequence: u64,
    /// The sequence number of the frame before.
    pub(super) previous: u64,
    pub(super) salt: Option<&'a [u8; SALT]>,
    plain: &'a [u8],
    ciphertext: &'a [u8],
    tag: &'a [u8; TAG],
    /// Its length.
    pub(super) length: usize,
}

impl<'a> Frame<'a> {
    /// What may be a frame at the start of `bytes`.
    pub(super) fn split(bytes: &'a [u8]) -> Option<Frame<'a>> {
        let (&[kind, ref numbers @ ..], mut rest) = bytes.split_first_chunk::<PREFIX>()?;
        let kind = Kind::from_byte(kind)?;
        let (length, numbers) = numbers.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let (sequence, previous) = numbers.split_first_chunk()?;
        let sequence = u64::from_be_bytes(*sequence);
        let previous = u64::from_be_bytes(*previous.first_chunk()?);
        let mut salt = None;
        if kind == Kind::Opening {
            let (first, behind) = rest.split_first_chunk()?;
            (salt, rest) = (Some(first), behind);
        }
        let plain = bytes.get(..bytes.len() - rest.len())?;
        if length > MAX_BATCH + TAG {
            return None;
        }
        let (ciphertext, tag) = rest.get(..length)?.split_last_chunk()?;
        Some(Frame {
            kind,
            sequence,
            previous,
            salt,
            plain,
            ciphertext,
            tag,
            length: plain.len() + length,
        })
    }
}

/// What an opening frame says.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Opening {
    /// How often the store was opened, this time included.
    pub(super) number: u64,
    /// Which start of the machine.
    pub(super) boot: Option<[u8; 16]>,
    /// Whose process.
    pub(super) process: u32,
    /// [`Disk::birth`](super::Disk::birth) of the file.
    pub(super) birth: Option<u64>,
    pub(super) wear: Wear,
}

impl Opening {
    const LENGTH: usize = 8 + 1 + 16 + 4 + 1 + 8 + Wear::LENGTH;

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Opening::LENGTH);
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.push(self.boot.is_some().into());
        bytes.extend_from_slice(&self.boot.unwrap_or_default());
        bytes.extend_from_slice(&self.process.to_be_bytes());
        bytes.push(self.birth.is_some().into());
        bytes.extend_from_slice(&self.birth.unwrap_or_default().to_be_bytes());
        bytes.extend_from_slice(&self.wear.encode());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Opening> {
        let (number, rest) = bytes.split_first_chunk()?;
        let (&[has_boot], rest) = rest.split_first_chunk()?;
        let (boot, rest) = rest.split_first_chunk()?;
        let (process, rest) = rest.split_first_chunk()?;
        let (&[has_birth], rest) = rest.split_first_chunk()?;
        let (birth, rest) = rest.split_first_chunk()?;
        let wear = rest.try_into().ok()?;
        Some(Opening {
            number: u64::from_be_bytes(*number),
            boot: (has_boot != 0).then_some(*boot),
            process: u32::from_be_bytes(*process),
            birth: (has_birth != 0).then(|| u64::from_be_bytes(*birth)),
            wear: Wear::decode(wear),
        })
    }
}
