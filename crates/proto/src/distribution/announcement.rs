//! The announcement: what an image is, and how its content is cut into blocks.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use minicbor::decode::Decoder;
use minicbor::encode::Encoder;
use sha2::{Digest as _, Sha256};

use super::message::Malformed;

/// A SHA-256.
pub type Digest = [u8; 32];

/// The length of a [`Digest`] in the list.
pub(crate) const DIGEST_LEN: u64 = 32;

/// Names one image as it is announced: the first 8 bytes of the SHA-256 of the announcement without its signature. The same
/// image with the same parameters has the same id, whoever announces it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(pub [u8; 8]);

impl ImageId {
    /// Reads 16 hexadecimal digits in lower case, as in a path.
    pub fn from_hex(text: &[u8]) -> Option<Self> {
        let mut id = [0; 8];
        if text.len() != 2 * id.len() {
            return None;
        }
        for (byte, digits) in id.iter_mut().zip(text.chunks_exact(2)) {
            for digit in digits {
                let value = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return None,
                };
                *byte = *byte << 4 | value;
            }
        }
        Some(Self(id))
    }
}

/// 16 hexadecimal digits in lower case.
impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImageId({self})")
    }
}

/// The keys of the map.
mod key {
    pub(super) const SIZE: u8 = 0;
    pub(super) const BLOCK_SIZE: u8 = 1;
    pub(super) const DIGEST: u8 = 2;
    pub(super) const SPAN: u8 = 3;
    pub(super) const LIST_DIGEST: u8 = 4;
    pub(super) const NAME: u8 = 5;
    pub(super) const KIND: u8 = 6;
    pub(super) const VERSION: u8 = 7;
    pub(super) const MANIFEST: u8 = 8;
    pub(super) const SIGNATURE: u8 = 9;
}

/// Why an announcement cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnouncementError {
    /// An image has 1 byte at least.
    Size,
    /// Not a power of two from 16 to 1,024.
    BlockSize,
    /// A span of no blocks.
    Span,
    /// The name or the kind is longer than 64 bytes.
    Text,
    /// The manifest is empty or longer than 512 bytes.
    Manifest,
    /// The signature is empty or longer than 128 bytes.
    Signature,
}

impl fmt::Display for AnnouncementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Size => "an image has 1 byte at least",
            Self::BlockSize => "a block size is a power of two from 16 to 1024",
            Self::Span => "a span has 1 block at least",
            Self::Text => "a name or kind has 64 bytes at most",
            Self::Manifest => "a manifest has 1 to 512 bytes",
            Self::Signature => "a signature has 1 to 128 bytes",
        })
    }
}

impl core::error::Error for AnnouncementError {}

/// One image for a group: its size and SHA-256, how it is cut into blocks, what it is for.
///
/// The **content** that is distributed is the digest list, if there is one, followed by the image. Each of the two is cut into
/// blocks on its own, so that the last block of each may be shorter: blocks `0..list_blocks()` are the list, the others the
/// image. The list holds the SHA-256 of each *span*, that is, of so many consecutive blocks of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    size: u32,
    block_size: u16,
    digest: Digest,
    list: Option<(u32, Digest)>,
    name: String,
    kind: String,
    version: u64,
    manifest: Vec<u8>,
    signature: Vec<u8>,
}

impl Announcement {
    /// There are so many blocks at most, those of the list included: 2^28 blocks of 16 bytes, and as many digests of 32 bytes.
    pub const MAX_BLOCKS: u32 = 3 << 28;
    /// The encoding takes so many bytes at most.
    pub const MAX_LEN: usize = 1024;
    /// The longest name and the longest kind, in bytes.
    pub const MAX_TEXT: usize = 64;
    /// The longest manifest, in bytes.
    pub const MAX_MANIFEST: usize = 512;
    /// The longest signature, in bytes.
    pub const MAX_SIGNATURE: usize = 128;
    /// The block sizes there are: the powers of two in this range.
    pub const BLOCK_SIZES: core::ops::RangeInclusive<u16> = 16..=1024;

    /// An image of `size` bytes with this SHA-256, in blocks of `block_size` bytes; without list, name, kind, manifest and
    /// signature, of version 0.
    ///
    /// # Errors
    /// No bytes, or a block size that is no power of two from 16 to 1,024.
    pub fn new(size: u32, block_size: u16, digest: Digest) -> Result<Self, AnnouncementError> {
        if size == 0 {
            return Err(AnnouncementError::Size);
        }
        if !block_size.is_power_of_two() || !Self::BLOCK_SIZES.contains(&block_size) {
            return Err(AnnouncementError::BlockSize);
        }
        Ok(Self {
            size,
            block_size,
            digest,
            list: None,
            name: String::new(),
            kind: String::new(),
            version: 0,
            manifest: Vec::new(),
            signature: Vec::new(),
        })
    }

    /// Digests of spans of so many blocks each precede the image; `digest` is the SHA-256 of the list of them.
    ///
    /// # Errors
    /// A span of no blocks.
    pub fn with_list(mut self, span: u32, digest: Digest) -> Result<Self, AnnouncementError> {
        if span == 0 {
            return Err(AnnouncementError::Span);
        }
        self.list = Some((span, digest));
        Ok(self)
    }

    /// What the image is called, for people. Empty by default.
    ///
    /// # Errors
    /// Longer than 64 bytes.
    pub fn with_name(mut self, name: &str) -> Result<Self, AnnouncementError> {
        self.name = text(name)?;
        Ok(self)
    }

    /// The type of device it is for. Empty, which says nothing, by default.
    ///
    /// # Errors
    /// Longer than 64 bytes.
    pub fn with_kind(mut self, kind: &str) -> Result<Self, AnnouncementError> {
        self.kind = text(kind)?;
        Ok(self)
    }

    /// Its version; a newer one has a larger number. 0, which says nothing, by default.
    #[must_use]
    pub fn with_version(mut self, version: u64) -> Self {
        self.version = version;
        self
    }

    /// A manifest, for example of SUIT (RFC 9019, RFC 9124): opaque here.
    ///
    /// # Errors
    /// Empty, or longer than 512 bytes.
    pub fn with_manifest(mut self, manifest: &[u8]) -> Result<Self, AnnouncementError> {
        if !(1..=Self::MAX_MANIFEST).contains(&manifest.len()) {
            return Err(AnnouncementError::Manifest);
        }
        self.manifest = manifest.to_vec();
        Ok(self)
    }

    /// A detached signature over [`signed_part`](Self::signed_part): opaque here.
    ///
    /// # Errors
    /// Empty, or longer than 128 bytes.
    pub fn with_signature(mut self, signature: &[u8]) -> Result<Self, AnnouncementError> {
        if !(1..=Self::MAX_SIGNATURE).contains(&signature.len()) {
            return Err(AnnouncementError::Signature);
        }
        self.signature = signature.to_vec();
        Ok(self)
    }

    /// How many bytes the image has.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// How many bytes a block has, except the last of the list and the last of the image.
    pub fn block_size(&self) -> u16 {
        self.block_size
    }

    /// The SHA-256 of the image.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// How many blocks of the image a span has, if there is a digest list.
    pub fn span(&self) -> Option<u32> {
        self.list.map(|(span, _)| span)
    }

    /// The SHA-256 of the digest list, if there is one.
    pub fn list_digest(&self) -> Option<&Digest> {
        self.list.as_ref().map(|(_, digest)| digest)
    }

    /// What the image is called; may be empty.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type of device it is for; may be empty.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Its version; 0 says nothing.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The manifest, if there is one.
    pub fn manifest(&self) -> Option<&[u8]> {
        Some(self.manifest.as_slice()).filter(|manifest| !manifest.is_empty())
    }

    /// The signature, if there is one.
    pub fn signature(&self) -> Option<&[u8]> {
        Some(self.signature.as_slice()).filter(|signature| !signature.is_empty())
    }

    /// The name of this image on the wire.
    pub fn id(&self) -> ImageId {
        let digest = Sha256::digest(self.signed_part());
        let mut id = [0; 8];
        for (byte, of_digest) in id.iter_mut().zip(digest) {
            *byte = of_digest;
        }
        ImageId(id)
    }

    /// How many spans the list has digests of; 0 without a list.
    pub fn spans(&self) -> u32 {
        self.span()
            .map_or(0, |span| self.image_blocks().div_ceil(span))
    }

    /// How many bytes the digest list has; 0 without a list.
    pub fn list_size(&self) -> u64 {
        u64::from(self.spans()) * DIGEST_LEN
    }

    /// How many blocks the digest list has.
    pub fn list_blocks(&self) -> u32 {
        // at most 2^28 spans of 32 bytes in blocks of 16
        u32::try_from(self.list_size().div_ceil(u64::from(self.block_size))).unwrap_or(u32::MAX)
    }

    /// How many blocks the image has.
    pub fn image_blocks(&self) -> u32 {
        self.size.div_ceil(u32::from(self.block_size))
    }

    /// How many blocks there are in total.
    pub fn blocks(&self) -> u32 {
        self.list_blocks().saturating_add(self.image_blocks()) // below 2^30
    }

    /// How many bytes there are in total: list and image.
    pub fn content_size(&self) -> u64 {
        self.list_size() + u64::from(self.size)
    }

    /// Where in the content block `block` begins; `None` if there is no such block.
    pub fn block_offset(&self, block: u32) -> Option<u64> {
        Some(self.place(block)?.0)
    }

    /// How many bytes block `block` has; `None` if there is no such block.
    pub fn block_length(&self, block: u32) -> Option<usize> {
        Some(self.place(block)?.1)
    }

    /// The span that a block of the image belongs to; `None` for one of the list, one beyond the last, or without a list.
    pub fn span_of(&self, block: u32) -> Option<u32> {
        let of_image = block.checked_sub(self.list_blocks())?;
        (of_image < self.image_blocks()).then_some(of_image / self.span()?)
    }

    /// The blocks of a span; none if there is no such span.
    pub fn span_blocks(&self, span: u32) -> Range<u32> {
        let first = self.list_blocks();
        let of_image = self.span().filter(|_| span < self.spans()).map(|length| {
            let start = span.saturating_mul(length);
            start..start.saturating_add(length).min(self.image_blocks())
        });
        of_image.map_or(0..0, |blocks| first + blocks.start..first + blocks.end)
    }

    /// Offset and length of a block in the content.
    fn place(&self, block: u32) -> Option<(u64, usize)> {
        let (base, number, size) = match block.checked_sub(self.list_blocks()) {
            None => (0, block, self.list_size()),
            Some(of_image) => (self.list_size(), of_image, u64::from(self.size)),
        };
        let block_size = u64::from(self.block_size);
        let start = u64::from(number) * block_size;
        let length = size.checked_sub(start).filter(|rest| *rest > 0)?;
        Some((base + start, length.min(block_size) as usize)) // at most 1,024
    }

    /// The deterministic encoding, a CBOR map, at most [`MAX_LEN`](Self::MAX_LEN) bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.write(true)
    }

    /// What the signature is over: the encoding without it.
    pub fn signed_part(&self) -> Vec<u8> {
        self.write(false)
    }

    /// Reads an encoding. Only the deterministic one is accepted: keys ascending, nothing longer than necessary, nothing that
    /// says nothing, nothing unknown.
    ///
    /// # Errors
    /// Anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut items = Decoder::new(bytes);
        let read = Self::read(&mut items)?;
        if items.position() != bytes.len() {
            return Err(Malformed);
        }
        Ok(read)
    }

    /// Reads the map, and takes it only if it is written as [`encode`](Self::encode) does.
    pub(super) fn read(items: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let start = items.position();
        let read = Self::fields(items)?;
        let written = items.input().get(start..items.position());
        if written != Some(read.encode().as_slice()) {
            return Err(Malformed);
        }
        Ok(read)
    }

    fn fields(items: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let count = items.map()?.ok_or(Malformed)?;
        let (mut size, mut block_size, mut digest) = (None, None, None);
        let (mut span, mut list_digest) = (None, None);
        let (mut name, mut kind, mut version) = ("", "", 0);
        let (mut manifest, mut signature) = (None, None);
        for _ in 0..count {
            match items.u8()? {
                key::SIZE => size = Some(items.u32()?),
                key::BLOCK_SIZE => block_size = Some(items.u16()?),
                key::DIGEST => digest = Some(bytes32(items)?),
                key::SPAN => span = Some(items.u32()?),
                key::LIST_DIGEST => list_digest = Some(bytes32(items)?),
                key::NAME => name = items.str()?,
                key::KIND => kind = items.str()?,
                key::VERSION => version = items.u64()?,
                key::MANIFEST => manifest = Some(items.bytes()?),
                key::SIGNATURE => signature = Some(items.bytes()?),
                _ => return Err(Malformed),
            }
        }
        let (Some(size), Some(block_size), Some(digest)) = (size, block_size, digest) else {
            return Err(Malformed);
        };
        let mut read = Self::new(size, block_size, digest)?
            .with_name(name)?
            .with_kind(kind)?
            .with_version(version);
        read = match (span, list_digest) {
            (Some(span), Some(digest)) => read.with_list(span, digest)?,
            (None, None) => read,
            _ => return Err(Malformed),
        };
        if let Some(manifest) = manifest {
            read = read.with_manifest(manifest)?;
        }
        if let Some(signature) = signature {
            read = read.with_signature(signature)?;
        }
        Ok(read)
    }

    fn write(&self, signed: bool) -> Vec<u8> {
        let signature = self.signature().filter(|_| signed);
        let name = Some(&self.name).filter(|name| !name.is_empty());
        let kind = Some(&self.kind).filter(|kind| !kind.is_empty());
        let version = Some(self.version).filter(|version| *version != 0);
        let count = 3
            + 2 * usize::from(self.list.is_some())
            + usize::from(name.is_some())
            + usize::from(kind.is_some())
            + usize::from(version.is_some())
            + usize::from(self.manifest().is_some())
            + usize::from(signature.is_some());
        let mut out = Vec::new();
        let mut items = Encoder::new(&mut out);
        let written: Result<(), minicbor::encode::Error<core::convert::Infallible>> = (|| {
            items.map(count as u64)?;
            items.u8(key::SIZE)?.u32(self.size)?;
            items.u8(key::BLOCK_SIZE)?.u16(self.block_size)?;
            items.u8(key::DIGEST)?.bytes(&self.digest)?;
            if let Some((span, digest)) = &self.list {
                items.u8(key::SPAN)?.u32(*span)?;
                items.u8(key::LIST_DIGEST)?.bytes(digest)?;
            }
            if let Some(name) = name {
                items.u8(key::NAME)?.str(name)?;
            }
            if let Some(kind) = kind {
                items.u8(key::KIND)?.str(kind)?;
            }
            if let Some(version) = version {
                items.u8(key::VERSION)?.u64(version)?;
            }
            if let Some(manifest) = self.manifest() {
                items.u8(key::MANIFEST)?.bytes(manifest)?;
            }
            if let Some(signature) = signature {
                items.u8(key::SIGNATURE)?.bytes(signature)?;
            }
            Ok(())
        })();
        debug_assert!(written.is_ok(), "memory takes whatever is written");
        out
    }
}

fn text(text: &str) -> Result<String, AnnouncementError> {
    if text.len() > Announcement::MAX_TEXT {
        return Err(AnnouncementError::Text);
    }
    Ok(text.to_owned())
}

fn bytes32(items: &mut Decoder<'_>) -> Result<Digest, Malformed> {
    items.bytes()?.try_into().map_err(|_| Malformed)
}
