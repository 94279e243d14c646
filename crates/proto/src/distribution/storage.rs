//! What a device brings: room for an image, and the decision what becomes of it.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::announcement::Announcement;
use crate::identity::Sender;

/// Why storage did not do what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageError {
    /// There is no room for so much.
    Full,
    /// It failed.
    Failed,
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "no room",
            Self::Failed => "the storage failed",
        })
    }
}

impl core::error::Error for StorageError {}

/// Where a device keeps what it receives: the content, which is large and written in pieces, and one record, which is small and
/// replaced as a whole. Used by a worker, so it may wait; never by two at once.
pub trait Storage: Send {
    /// The record noted last, by this process or by an earlier one.
    ///
    /// # Errors
    /// It cannot be read.
    fn kept(&mut self) -> Result<Option<Vec<u8>>, StorageError>;

    /// Makes room for content of so many bytes. Content and record that were there are gone, the record first and durably: whenever
    /// the power fails, there is no record without its content.
    ///
    /// # Errors
    /// [`StorageError::Full`] when there is no room.
    fn prepare(&mut self, content_size: u64) -> Result<(), StorageError>;

    /// Writes a part of the content. It need not be durable before the next [`note`](Self::note).
    ///
    /// # Errors
    /// It cannot be written.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StorageError>;

    /// Reads a part of the content that was written before, by this process or, if noted, by an earlier one.
    ///
    /// # Errors
    /// It cannot be read.
    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), StorageError>;

    /// Replaces the record. When this returns, the record and everything written before it are durable; when the power fails
    /// meanwhile, the record is the old or the new one, and the new one only if everything written before it is durable.
    ///
    /// # Errors
    /// It cannot be written.
    fn note(&mut self, record: &[u8]) -> Result<(), StorageError>;

    /// Removes content and record, the record first and durably.
    ///
    /// # Errors
    /// They cannot be removed.
    fn discard(&mut self) -> Result<(), StorageError>;
}

/// Reads an image.
pub trait ReadAt {
    /// How many bytes it has.
    fn size(&self) -> u64;

    /// Fills `into` with what begins at `offset`.
    ///
    /// # Errors
    /// It ends earlier, or cannot be read.
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<(), StorageError>;
}

/// Why a device does not take an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is for devices of another kind.
    Kind,
    /// It is not newer than what is in use.
    Version,
    /// It is not signed by whom it should.
    Signature,
    /// Whoever announced it may not.
    Permission,
    /// Something else of the application's.
    Other,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kind => "it is for another kind of device",
            Self::Version => "it is not newer",
            Self::Signature => "its signature is missing or wrong",
            Self::Permission => "the sender is not permitted",
            Self::Other => "the device refuses it",
        })
    }
}

/// Why an image could not be taken into use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivationError(String);

impl ActivationError {
    /// With a text for people.
    pub fn new(why: &str) -> Self {
        Self(why.to_owned())
    }
}

impl fmt::Display for ActivationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for ActivationError {}

/// The decisions of the application. Called by a worker, so it may wait.
pub trait Installation: Send {
    /// Is the image for this device? Asked before anything is stored; and again when the image is announced, or cancelled, for the first
    /// time after a restart of the device, or by another distributor that takes the place of one that is silent. Who may
    /// distribute it may cancel it.
    ///
    /// An image that was complete at the restart needs no further announcement: it is verified and taken into use.
    ///
    /// # Errors
    /// Why it is refused. After a restart [`Refusal::Kind`] and [`Refusal::Version`] discard what was kept of it. The others may be
    /// reasons against who announces it: what was kept stays, and the next announcement is asked about again.
    fn accept(&mut self, announcement: &Announcement, from: &Sender) -> Result<(), Refusal>;

    /// Takes the image into use. It is complete, and its SHA-256 is the announced one.
    ///
    /// When the device is restarted before this returns, by a power cut or by the activation itself, it is called again, so it must be
    /// repeatable: one that restarts the device into the new image returns when it finds that image in use. That it begins is noted
    /// before; what was begun three times ([`DeviceConfig::max_activations`](super::DeviceConfig::max_activations)) and never
    /// returned is not begun again and has failed, with status 5.00.
    ///
    /// # Errors
    /// It could not be taken into use. The old one stays.
    fn activate(
        &mut self,
        announcement: &Announcement,
        image: &mut dyn ReadAt,
    ) -> Result<(), ActivationError>;
}
