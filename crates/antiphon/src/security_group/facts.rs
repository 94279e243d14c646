//! What is told of a group: everything about it but its secrets.

use antiphon_oscore::credential::{Credential, CredentialFormat};
use antiphon_oscore::suite::Suite;
use antiphon_oscore::{Group, Kid};

/// A group as it was when somebody looked, or when it was last changed.
pub(super) struct Facts {
    pub(super) gid: Vec<u8>,
    pub(super) generation: u64,
    pub(super) suite: Suite,
    pub(super) format: CredentialFormat,
    pub(super) needs_new_keys: bool,
    pub(super) own: Option<(Kid, Credential)>,
    /// By Sender ID.
    pub(super) peers: Vec<(Kid, Credential)>,
}

impl Facts {
    pub(super) fn of(group: &Group) -> Self {
        let verified = group.peers().filter(|peer| !peer.is_provisional());
        let mut peers: Vec<_> = verified
            .map(|peer| (peer.kid(), peer.credential().clone()))
            .collect();
        peers.sort_by_key(|(kid, _)| *kid);
        Self {
            gid: group.gid().as_bytes().to_vec(),
            generation: group.generation(),
            suite: *group.suite(),
            format: group.format(),
            needs_new_keys: group.needs_new_keys(),
            own: group.sender_id().zip(group.credential().cloned()),
            peers,
        }
    }
}

/// What has become of a description of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Update {
    /// The group is new here; sequence numbers begin at 0.
    New,
    /// It has new keys; sequence numbers begin at 0.
    NewKeys,
    /// It has the same keys, under a Sender ID that was never used with them; sequence numbers begin at 0.
    NewSenderId,
    /// It has other members, and goes on. Names of people's choice, where the credentials have some, else Sender IDs.
    Members {
        /// Who is new.
        added: Vec<String>,
        /// Who is gone.
        removed: Vec<String>,
    },
    /// It was so already, and goes on.
    Nothing,
}

/// The subject of a credential, else the Sender ID in hexadecimal.
pub(super) fn name_of(kid: Kid, credential: &Credential) -> String {
    match credential.subject() {
        Some(subject) if !subject.is_empty() => subject.to_owned(),
        _ => kid.to_string(),
    }
}
