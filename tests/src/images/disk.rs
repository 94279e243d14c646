//! What a device keeps.

use std::sync::{Arc, Mutex, MutexGuard};

use antiphon_proto::Sender;
use antiphon_proto::distribution::{
    ActivationError, Announcement, Installation, ReadAt, Refusal, Storage, StorageError,
};

/// What a device keeps over a restart: what it has noted, and what it is using.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Kept>>);

/// What stands on a [`Disk`].
#[derive(Default)]
pub struct Kept {
    content: Vec<u8>,
    record: Option<Vec<u8>>,
    /// Content and record as a power cut leaves them.
    durable: Option<(Vec<u8>, Option<Vec<u8>>)>,
    /// A power cut loses what was not noted.
    pub loses: bool,
    /// Bytes that there is room for; `None`: any number.
    pub room: Option<u64>,
    /// The image that is in use.
    pub in_use: Vec<u8>,
    /// Its version: older ones are refused.
    pub version: u64,
    /// How often an image was taken into use.
    pub activations: usize,
    /// Images are refused for this reason.
    pub refuses: Option<Refusal>,
}

impl Disk {
    /// What stands there.
    pub fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap()
    }

    /// The power is cut.
    pub fn cut(&self) {
        let mut kept = self.kept();
        if kept.loses {
            let (content, record) = kept.durable.clone().unwrap_or_default();
            kept.content = content;
            kept.record = record;
        }
    }
}

impl Storage for Disk {
    fn kept(&mut self) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(Disk::kept(self).record.clone())
    }

    fn prepare(&mut self, content_size: u64) -> Result<(), StorageError> {
        let mut kept = Disk::kept(self);
        if kept.room.is_some_and(|room| content_size > room) {
            return Err(StorageError::Full);
        }
        kept.record = None;
        kept.durable = None;
        kept.content = vec![0xee; usize::try_from(content_size).unwrap()];
        Ok(())
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        let start = usize::try_from(offset).unwrap();
        Disk::kept(self).content[start..start + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), StorageError> {
        let start = usize::try_from(offset).unwrap();
        into.copy_from_slice(&Disk::kept(self).content[start..start + into.len()]);
        Ok(())
    }

    fn note(&mut self, record: &[u8]) -> Result<(), StorageError> {
        let mut kept = Disk::kept(self);
        kept.record = Some(record.to_vec());
        if kept.loses {
            kept.durable = Some((kept.content.clone(), kept.record.clone()));
        }
        Ok(())
    }

    fn discard(&mut self) -> Result<(), StorageError> {
        let mut kept = Disk::kept(self);
        kept.content.clear();
        kept.record = None;
        kept.durable = None;
        Ok(())
    }
}

impl Installation for Disk {
    fn accept(&mut self, announcement: &Announcement, _: &Sender) -> Result<(), Refusal> {
        let kept = Disk::kept(self);
        match announcement.version() < kept.version {
            true => Err(Refusal::Version),
            false => kept.refuses.map_or(Ok(()), Err),
        }
    }

    fn activate(
        &mut self,
        announcement: &Announcement,
        image: &mut dyn ReadAt,
    ) -> Result<(), ActivationError> {
        let mut bytes = vec![0; usize::try_from(image.size()).unwrap()];
        image.read_at(0, &mut bytes).unwrap();
        let mut kept = Disk::kept(self);
        kept.in_use = bytes;
        kept.version = announcement.version();
        kept.activations += 1;
        Ok(())
    }
}
