//! What was installed before, so that no key meets sequence number 0 twice.

use alloc::vec::Vec;
use core::fmt;

/// A Sender ID that this endpoint had under a Gid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// The Gid.
    pub gid: Vec<u8>,
    /// The Sender ID.
    pub sender_id: Vec<u8>,
}

/// The installations of one group at this endpoint: the highest generation, its Gid, and the Sender IDs that the
/// endpoint had under this Gid and the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installations {
    /// The generation and Gid installed last.
    pub latest: Option<(u64, Vec<u8>)>,
    /// Own (Gid, Sender ID) pairs, of the latest Gid and the one before.
    pub past: Vec<Past>,
}

/// Why something is not installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstallRefused {
    /// A lower generation than the highest ever installed: the same keys would start again at sequence number 0.
    Rollback,
    /// The same generation under another Gid or with other keys, or a new generation under the old Gid.
    Contradiction,
    /// A Sender ID that this endpoint already had under this Gid.
    SenderIdUsed,
    /// More Sender IDs under one Gid than are remembered ([`Installations::SENDER_IDS`]).
    TooManySenderIds,
}

impl fmt::Display for InstallRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rollback => "a newer Security Context of this group was installed before",
            Self::Contradiction => {
                "generation and Group Identifier do not fit what was installed before"
            }
            Self::SenderIdUsed => {
                "this endpoint had that Sender ID before, under the same Group Identifier"
            }
            Self::TooManySenderIds => {
                "this endpoint had too many Sender IDs under this Group Identifier"
            }
        })
    }
}

impl core::error::Error for InstallRefused {}

impl Installations {
    /// How many own (Gid, Sender ID) pairs are remembered; a new Gid makes room.
    pub const SENDER_IDS: usize = 256;

    /// Whether this may be installed, with sequence number 0 for `sender_id` (`None`: a silent server).
    pub fn check(
        &self,
        generation: u64,
        gid: &[u8],
        sender_id: Option<&[u8]>,
    ) -> Result<(), InstallRefused> {
        if let Some((latest, latest_gid)) = &self.latest {
            if generation < *latest {
                return Err(InstallRefused::Rollback);
            }
            if (generation == *latest) != (gid == latest_gid) {
                return Err(InstallRefused::Contradiction);
            }
        }
        let Some(sender_id) = sender_id else {
            return Ok(());
        };
        if self.had(gid, sender_id) {
            return Err(InstallRefused::SenderIdUsed);
        }
        if self.past.iter().filter(|past| past.gid == gid).count() >= Self::SENDER_IDS {
            return Err(InstallRefused::TooManySenderIds);
        }
        Ok(())
    }

    /// Remembers an installation that is durable.
    pub fn note(&mut self, generation: u64, gid: &[u8], sender_id: Option<&[u8]>) {
        if let Some((_, before)) = self.latest.replace((generation, gid.into())) {
            self.past
                .retain(|past| past.gid == gid || past.gid == before);
        }
        if let Some(sender_id) = sender_id.filter(|sender_id| !self.had(gid, sender_id)) {
            self.past.push(Past {
                gid: gid.into(),
                sender_id: sender_id.into(),
            });
        }
    }

    /// Whether these are the keys that were installed last: a Gid is never used with others.
    pub fn has_installed(&self, gid: &[u8]) -> bool {
        self.latest
            .as_ref()
            .is_some_and(|(_, latest)| latest == gid)
    }

    /// Whether this endpoint had any Sender ID under that Gid.
    pub(super) fn had_any(&self, gid: &[u8]) -> bool {
        self.past.iter().any(|past| past.gid == gid)
    }

    /// Whether this endpoint had that Sender ID under that Gid.
    pub fn had(&self, gid: &[u8], sender_id: &[u8]) -> bool {
        self.past
            .iter()
            .any(|past| past.gid == gid && past.sender_id == sender_id)
    }
}
