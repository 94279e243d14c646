//! Where an image is read from.

use std::fs::File;
use std::io;
use std::sync::Arc;

use antiphon_proto::distribution::{Announcement, AnnouncementError, Fills, ImageSurvey};

/// An image that can be read anywhere. It must not change while it is distributed: devices would find out and discard it.
pub trait ImageSource: Send + Sync + 'static {
    /// How many bytes it has.
    ///
    /// # Errors
    /// The system's.
    fn size(&self) -> io::Result<u64>;

    /// Fills `into` with what begins at `offset`. It may wait for the disk: it is called by threads for such work.
    ///
    /// # Errors
    /// The system's, and [`io::ErrorKind::UnexpectedEof`] beyond the end.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

impl ImageSource for Vec<u8> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self.get(start..start.saturating_add(into.len()));
        into.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl ImageSource for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    #[cfg(unix)]
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, into, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, mut offset: u64, mut into: &mut [u8]) -> io::Result<()> {
        while !into.is_empty() {
            let read = std::os::windows::fs::FileExt::seek_read(self, into, offset)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            offset += read as u64;
            into = &mut into[read..];
        }
        Ok(())
    }
}

/// What is distributed: the digest list and the image.
pub(super) struct Content {
    list: Vec<u8>,
    image: Arc<dyn ImageSource>,
}

impl Content {
    /// Reads the image once and computes its digests.
    pub(super) fn survey(
        image: Arc<dyn ImageSource>,
        block_size: u16,
    ) -> Result<(Announcement, Self), Unreadable> {
        let size = image.size()?;
        let mut survey = ImageSurvey::new(block_size)?;
        if size == 0 || size > u64::from(u32::MAX) {
            return Err(AnnouncementError::Size.into());
        }
        let mut buffer = vec![0; 64 * 1_024];
        let mut offset = 0;
        while offset < size {
            let rest = usize::try_from(size - offset).unwrap_or(usize::MAX);
            let length = rest.min(buffer.len());
            let piece = &mut buffer[..length];
            image.read_at(offset, piece)?;
            survey.update(piece);
            offset += length as u64;
        }
        let (announcement, list) = survey.finish()?;
        Ok((announcement, Self { list, image }))
    }

    /// One block.
    pub(super) fn block(&self, block: Fills) -> io::Result<Vec<u8>> {
        let list = self.list.len() as u64;
        let mut bytes = vec![0; block.length];
        match block.offset.checked_sub(list) {
            Some(offset) => self.image.read_at(offset, &mut bytes)?,
            None => self.list.read_at(block.offset, &mut bytes)?,
        }
        Ok(bytes)
    }
}

/// Why an image cannot be distributed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Announcement(#[from] AnnouncementError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_and_image_are_read_as_one_content() {
        let image: Vec<u8> = (0..3_000_u32).map(|n| (n % 253) as u8).collect();
        let (announcement, content) = Content::survey(Arc::new(image.clone()), 64).unwrap();
        assert_eq!(
            (announcement.list_size(), announcement.list_blocks()),
            (96, 2)
        );
        let mut whole = Vec::new();
        for number in 0..announcement.blocks() {
            let block = Fills {
                number,
                offset: announcement.block_offset(number).unwrap(),
                length: announcement.block_length(number).unwrap(),
            };
            whole.extend(content.block(block).unwrap());
        }
        assert_eq!(whole[96..], image);
        assert_eq!(whole[..96], content.list);
    }

    #[test]
    fn beyond_the_end_nothing_is_read() {
        let image = vec![1, 2, 3];
        let mut into = [0; 2];
        assert!(image.read_at(1, &mut into).is_ok());
        assert_eq!(into, [2, 3]);
        let kind = |offset| image.read_at(offset, &mut [0; 2]).unwrap_err().kind();
        assert_eq!(kind(2), io::ErrorKind::UnexpectedEof);
        assert_eq!(kind(u64::MAX), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn an_empty_image_is_refused() {
        let refused = Content::survey(Arc::new(Vec::new()), 64).err().unwrap();
        assert!(matches!(
            refused,
            Unreadable::Announcement(AnnouncementError::Size)
        ));
        let refused = Content::survey(Arc::new(vec![1]), 65).err().unwrap();
        assert!(matches!(
            refused,
            Unreadable::Announcement(AnnouncementError::BlockSize)
        ));
    }
}
