//! A group after a start, from what is durable of it (draft section 2.6.1).

use alloc::vec::Vec;
use core::fmt;

use super::{Group, GroupError, Own, Parameters, Settings};
use crate::credential::{Credential, CredentialFormat, CredentialRefused};
use crate::identity::{Gid, Kid};
use crate::record::{Established, Restored};
use crate::sequence::Sequence;

/// Records of which no group can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// There is no Security Context of a group: never installed, left, or that of a pair.
    NoContext,
    /// A Group Identifier or Sender ID that is too long.
    Id,
    /// A credential that is not read any more, for instance because this build leaves its format out.
    Credential(CredentialRefused),
    /// The group cannot be with these settings.
    Group(GroupError),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RestoreError::NoContext => f.write_str("no security context of a group is stored"),
            RestoreError::Id => f.write_str("a stored identifier is too long"),
            RestoreError::Credential(refused) => refused.fmt(f),
            RestoreError::Group(error) => write!(f, "the stored group cannot be used: {error:?}"),
        }
    }
}

impl core::error::Error for RestoreError {}

impl From<GroupError> for RestoreError {
    fn from(error: GroupError) -> RestoreError {
        RestoreError::Group(error)
    }
}

impl Group {
    /// The group as the records of earlier runs have it. After a clean shutdown numbers and Replay Windows are exact;
    /// else numbers go on at the reserved bound, and all windows are invalid, also those of peers to come. Where the
    /// varying part is lost, so it is here.
    ///
    /// [`Record::Running`](crate::record::Record::Running) is to be durable before the group is used.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn restore(restored: &Restored, settings: Settings) -> Result<Group, RestoreError> {
        let Some(Established::Group(stored)) = &restored.context else {
            return Err(RestoreError::NoContext);
        };
        let own = match &stored.own {
            Some(own) => Some(Own {
                sender_id: id(&own.sender_id)?,
                credential: credential(stored.format, &own.credential)?,
                sequence: restored
                    .sequence(settings.sequence)
                    .unwrap_or_else(Sequence::lost),
            }),
            None => None,
        };
        let parameters = Parameters {
            gid: Gid::new(&stored.gid).ok_or(RestoreError::Id)?,
            generation: stored.generation,
            master_secret: stored.master_secret.clone(),
            master_salt: crate::secret::Secret::copy_of(&stored.master_salt),
            suite: stored.suite,
            format: stored.format,
            gm_credential: stored.group_manager(),
        };
        let mut group = Group::new(&stored.name, parameters, own, settings, None)?;
        let past = restored.installations.past.iter();
        let ids = past.filter(|past| past.gid == stored.gid);
        let ids: Result<Vec<Kid>, _> = ids.map(|past| id(&past.sender_id)).collect();
        group.used_ids.extend(ids?);
        for (recipient_id, bytes) in &restored.peers {
            let window = restored.window(recipient_id, settings.window);
            let credential = credential(stored.format, bytes)?;
            group.restore_peer(id(recipient_id)?, credential, window)?;
        }
        if restored.ever_deleted {
            group.current.recipients.set_ever_deleted();
        }
        if !restored.knows_windows() {
            group.windows_unknown();
        }
        if restored.loss.is_some() {
            group.mark_lost();
        }
        Ok(group)
    }
}

fn id(bytes: &[u8]) -> Result<Kid, RestoreError> {
    Kid::new(bytes).ok_or(RestoreError::Id)
}

fn credential(format: CredentialFormat, bytes: &[u8]) -> Result<Credential, RestoreError> {
    Credential::import(format, bytes).map_err(RestoreError::Credential)
}
