//! Reading an image once, to announce it.

use alloc::vec::Vec;

use sha2::{Digest as _, Sha256};

use crate::distribution::{Announcement, AnnouncementError, Digest};

/// Computes the digests of an image, piece by piece: of all of it, and of each span of it.
///
/// ```
/// use antiphon_proto::distribution::ImageSurvey;
/// let image = [7; 5_000];
/// let mut survey = ImageSurvey::new(64).unwrap();
/// for piece in image.chunks(999) {
///     survey.update(piece);
/// }
/// let (announcement, list) = survey.finish().unwrap();
/// assert_eq!((announcement.size(), announcement.span()), (5_000, Some(16)));
/// assert_eq!(list.len(), 5 * 32, "five spans of 16 blocks of 64 bytes");
/// ```
#[derive(Debug)]
pub struct ImageSurvey {
    block_size: u16,
    span: u32,
    /// Bytes that the span under way still lacks.
    rest: u64,
    size: u64,
    all: Sha256,
    of_span: Sha256,
    list: Vec<u8>,
}

impl ImageSurvey {
    /// With a span of at least 1,024 bytes, so that the digest list takes 3.1 % of the image at most.
    ///
    /// # Errors
    /// A block size that is no power of two from 16 to 1,024.
    pub fn new(block_size: u16) -> Result<Self, AnnouncementError> {
        Self::with_span(block_size, 1_024_u32.div_ceil(u32::from(block_size.max(1))))
    }

    /// With a span of so many blocks; 0: no digest list.
    ///
    /// # Errors
    /// A block size that is no power of two from 16 to 1,024.
    pub fn with_span(block_size: u16, span: u32) -> Result<Self, AnnouncementError> {
        if !block_size.is_power_of_two() || !Announcement::BLOCK_SIZES.contains(&block_size) {
            return Err(AnnouncementError::BlockSize);
        }
        Ok(Self {
            block_size,
            span,
            rest: u64::from(span) * u64::from(block_size),
            size: 0,
            all: Sha256::new(),
            of_span: Sha256::new(),
            list: Vec::new(),
        })
    }

    /// The next bytes of the image.
    pub fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.all.update(bytes);
        if self.span == 0 {
            return;
        }
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let fits = usize::try_from(self.rest).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(fits.min(bytes.len()));
            self.of_span.update(now);
            self.rest -= now.len() as u64;
            if self.rest == 0 {
                self.end_span();
            }
            bytes = later;
        }
    }

    /// The announcement, without name, kind, version, manifest and signature; and the digest list.
    ///
    /// # Errors
    /// No byte, or 4 GiB and more.
    pub fn finish(mut self) -> Result<(Announcement, Vec<u8>), AnnouncementError> {
        let size = u32::try_from(self.size).map_err(|_| AnnouncementError::Size)?;
        let whole = u64::from(self.span) * u64::from(self.block_size);
        if self.rest < whole {
            self.end_span();
        }
        let digest: Digest = self.all.finalize().into();
        let announcement = Announcement::new(size, self.block_size, digest)?;
        let announcement = match self.span {
            0 => announcement,
            span => announcement.with_list(span, Sha256::digest(&self.list).into())?,
        };
        Ok((announcement, self.list))
    }

    fn end_span(&mut self) {
        let digest = self.of_span.finalize_reset();
        self.list.extend_from_slice(&digest);
        self.rest = u64::from(self.span) * u64::from(self.block_size);
    }
}
