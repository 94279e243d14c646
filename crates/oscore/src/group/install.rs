//! New Security Contexts and new Sender IDs: prepared, made durable, then installed (draft sections 2.6.3.1 and
//! 2.6.3.2).

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::{
    Group, GroupError, Own, Parameters, Retained, check_modes, installed, recipient, sender, usable,
};
use crate::context::{Context, KeyCache, Recipients, Sender};
use crate::credential::{Credential, CredentialFormat};
use crate::echo::Echoes;
use crate::identity::{Gid, Kid};
use crate::record::{Installed, Record};
use crate::replay::ReplayWindow;
use crate::secret::Secret;
use crate::sequence::Sequence;

/// Own Sender IDs that are remembered under one Gid.
const MAX_USED_IDS: usize = 256;

/// Which peers are not members any more when new keys come (draft section 12.2).
#[derive(Clone, Debug)]
pub enum Stale {
    /// Those with these Sender IDs left or changed theirs since the keys of this generation.
    Since {
        /// From which generation on the list is complete; that of the current keys or an older one.
        generation: u64,
        /// The Sender IDs.
        kids: Vec<Kid>,
    },
    /// Not known: nobody is kept.
    All,
    /// Nobody is kept but these, whoever was known before.
    Replace(Vec<(Kid, Credential)>),
}

/// Keys that cannot be installed. The current ones stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstallError {
    /// Not newer than the current keys: installing them again would repeat nonces.
    NotNewer,
    /// The Gid is the current one.
    SameGid,
    /// The list of stale members begins later than the current keys: use [`Stale::All`] or a complete list.
    StaleUnknown,
    /// The Sender ID was used under this Gid before.
    UsedSenderId,
    /// A silent server has no Sender ID.
    NoSender,
    /// Something else changed since the preparation: prepare again.
    Superseded,
    /// A parameter, credential or ID does not fit.
    Group(GroupError),
}

impl From<GroupError> for InstallError {
    fn from(error: GroupError) -> InstallError {
        InstallError::Group(error)
    }
}

/// A Security Context that is derived and not installed yet. It is to be made durable as a whole, in one step, with
/// its first reservation of sequence numbers, before it is committed.
pub struct Prepared {
    context: Context,
    format: CredentialFormat,
    revision: u64,
}

impl Prepared {
    /// The new Gid.
    pub fn gid(&self) -> &Gid {
        &self.context.common.gid
    }

    /// The new generation.
    pub fn generation(&self) -> u64 {
        self.context.generation
    }

    /// The own Sender ID under the new keys.
    pub fn sender_id(&self) -> Option<Kid> {
        self.context.sender.as_ref().map(|sender| sender.id)
    }

    /// The new context as a record, with the private key if it is stored beside it. The [peers](Self::peer_records) follow
    /// it.
    pub fn record(&self, group: &Group, key: Option<Secret>) -> Installed {
        installed(&group.name, &self.context, self.format, key)
    }

    /// The peers that are kept, as records.
    pub fn peer_records(&self) -> impl Iterator<Item = Record> {
        let gid = self.gid();
        self.peers().map(|(kid, credential)| Record::Peer {
            gid: gid.as_bytes().to_vec(),
            recipient_id: kid.as_bytes().to_vec(),
            credential: credential.bytes().to_vec(),
        })
    }

    /// The peers that are kept.
    pub fn peers(&self) -> impl Iterator<Item = (Kid, &Credential)> {
        let peers = self.context.recipients.iter();
        peers.map(|(kid, peer)| (kid, &peer.credential))
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prepared({}, ..)", self.gid())
    }
}

/// A new Sender Context that is not installed yet.
pub struct PreparedSender {
    sender: Sender,
    context: u64,
}

impl PreparedSender {
    /// The new Sender ID.
    pub fn sender_id(&self) -> Kid {
        self.sender.id
    }

    /// The new Sender ID as a record.
    pub fn record(&self, group: &Group) -> Record {
        Record::SenderId {
            gid: group.gid().as_bytes().to_vec(),
            sender_id: self.sender.id.as_bytes().to_vec(),
            upto: self.sender.sequence.reserved_upto(),
        }
    }
}

impl fmt::Debug for PreparedSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PreparedSender({})", self.sender.id)
    }
}

impl Group {
    /// Derives a new Security Context. From here on no message is begun under the current one, until the new one is
    /// [committed](Self::commit_install) or [given up](Self::abort_install); those begun before may be finished.
    ///
    /// `sender_id` is the own ID under the new keys, `None` if it stays. Sequence numbers below `reserved` count as
    /// reserved once the caller has made them durable together with the rest.
    ///
    /// # Errors
    /// [`InstallError`]; then everything goes on as before.
    pub fn prepare_install(
        &mut self,
        parameters: Parameters,
        sender_id: Option<Kid>,
        stale: Stale,
        reserved: u64,
    ) -> Result<Prepared, InstallError> {
        self.check_newer(&parameters, &stale)?;
        let common = Group::common(&parameters)?;
        let mut serials = self.serials;
        // The own part: the credential stays, the numbers begin again.
        let own = match (&self.current.sender, sender_id) {
            (Some(sender), id) => Some(Own {
                sender_id: id.unwrap_or(sender.id),
                credential: sender.credential.clone(),
                sequence: Sequence::exact(0, reserved, self.settings.sequence),
            }),
            (None, Some(_)) => return Err(InstallError::NoSender),
            (None, None) => None,
        };
        let sender = match own {
            Some(own) => {
                usable(&own.credential, &common.suite, parameters.format)?;
                Some(sender(&common, own, &mut serials)?)
            }
            None => None,
        };
        serials += 1;
        let mut context = Context {
            serial: serials,
            generation: parameters.generation,
            installed_at: None,
            common,
            sender,
            recipients: Recipients::new(self.settings.recipients, self.settings.provisional, false),
            cache: KeyCache::new(self.settings.ciphers),
            in_progress: 0,
            modes: self.settings.modes,
        };
        check_modes(&context, &self.settings)?;
        // The peers: whoever is not stale stays, with a fresh window.
        for (kid, credential) in self.staying(stale) {
            serials += 1;
            let window = ReplayWindow::valid(self.settings.window);
            let peer = (kid, credential, window, serials);
            keep(&mut context, parameters.format, peer)?;
        }
        self.serials = serials;
        self.installing = true;
        Ok(Prepared {
            context,
            format: parameters.format,
            revision: self.revision,
        })
    }

    /// Keys are installed once, and only newer ones.
    fn check_newer(&self, parameters: &Parameters, stale: &Stale) -> Result<(), InstallError> {
        if parameters.generation <= self.current.generation {
            return Err(InstallError::NotNewer);
        }
        if parameters.gid == self.current.common.gid {
            return Err(InstallError::SameGid);
        }
        match stale {
            Stale::Since { generation, .. } if *generation > self.current.generation => {
                Err(InstallError::StaleUnknown)
            }
            _ => Ok(()),
        }
    }

    /// The peers that are members under the new keys as well.
    fn staying(&self, stale: Stale) -> Vec<(Kid, Credential)> {
        match stale {
            Stale::All => Vec::new(),
            Stale::Since { kids, .. } => (self.current.recipients.iter())
                .filter(|(kid, peer)| !peer.provisional && !kids.contains(kid))
                .map(|(kid, peer)| (kid, peer.credential.clone()))
                .collect(),
            Stale::Replace(peers) => peers,
        }
    }

    /// Installs what was prepared and is durable now. Sequence numbers begin at 0, all Replay Windows are valid with
    /// lower limit 0, Echo values and pairwise keys are gone. The replaced context goes, or stays as the settings want.
    ///
    /// # Errors
    /// [`InstallError::Superseded`] if peers or keys changed since [`prepare_install`](Self::prepare_install).
    pub fn commit_install(
        &mut self,
        prepared: Prepared,
        now: Duration,
    ) -> Result<(), InstallError> {
        if prepared.revision != self.revision || !self.installing {
            return Err(InstallError::Superseded);
        }
        let mut context = prepared.context;
        context.installed_at = Some(now);
        self.used_ids.clear();
        self.used_ids
            .extend(context.sender.as_ref().map(|sender| sender.id));
        let old = core::mem::replace(&mut self.current, context);
        let retention = self.settings.retention;
        let draining = retention.is_zero();
        self.retained = (!draining || old.in_progress > 0).then(|| Retained {
            context: old,
            until: now.saturating_add(match draining {
                true => self.settings.finish_within,
                false => retention,
            }),
            draining,
        });
        self.format = prepared.format;
        self.echo = Echoes::new(self.settings.echo);
        self.installing = false;
        self.lost = false;
        self.undecryptable = 0;
        self.upkeep.installed();
        self.changed();
        Ok(())
    }

    /// Gives up an installation: the current context goes on.
    pub fn abort_install(&mut self) {
        self.installing = false;
    }

    /// Derives a new Sender Context for a new Sender ID under the same Gid (draft section 2.6.3.1). The new ID with
    /// its first reservation is to be made durable before it is [committed](Self::commit_sender_id).
    ///
    /// # Errors
    /// [`InstallError`]; `UsedSenderId` for every ID that this endpoint has had under this Gid.
    pub fn prepare_sender_id(
        &mut self,
        sender_id: Kid,
        reserved: u64,
    ) -> Result<PreparedSender, InstallError> {
        if self.used_ids.contains(&sender_id) || self.used_ids.len() >= MAX_USED_IDS {
            return Err(InstallError::UsedSenderId);
        }
        if self.is_member(sender_id) {
            return Err(GroupError::IdTaken.into());
        }
        let old = self.current.sender.as_ref().ok_or(InstallError::NoSender)?;
        let own = Own {
            sender_id,
            credential: old.credential.clone(),
            sequence: Sequence::exact(0, reserved, self.settings.sequence),
        };
        let sender = sender(&self.current.common, own, &mut self.serials)?;
        Ok(PreparedSender {
            sender,
            context: self.current.serial,
        })
    }

    /// Whether somebody with this ID is known, beyond a message that did not verify yet.
    fn is_member(&self, kid: Kid) -> bool {
        let peer = self.current.recipients.get(kid);
        peer.is_some_and(|peer| !peer.provisional)
    }

    /// Installs a new Sender Context. Sequence numbers begin at 0; the pairwise keys are derived anew when they are
    /// needed.
    ///
    /// # Errors
    /// [`InstallError::Superseded`] if the keys of the group changed since, or a member has the ID now.
    pub fn commit_sender_id(&mut self, prepared: PreparedSender) -> Result<(), InstallError> {
        let sender_id = prepared.sender.id;
        if prepared.context != self.current.serial
            || self.is_member(sender_id)
            || !self.used_ids.insert(sender_id)
        {
            return Err(InstallError::Superseded);
        }
        // Anybody can have said to have that ID: of whom nothing has verified, nothing is lost.
        if let Some(stranger) = self.current.recipients.delete(sender_id) {
            self.current.cache.forget(stranger.serial);
        }
        if let Some(old) = self.current.sender.replace(prepared.sender) {
            self.current.cache.forget(old.serial);
        }
        for (_, peer) in self.current.recipients.iter_mut() {
            peer.pairwise = None;
            peer.knows_sender_id = false;
            self.current.cache.forget(peer.serial);
        }
        if core::mem::take(&mut self.lost) {
            // The peers' keys are the same as before the loss, and so are the messages that may be replayed.
            self.windows_unknown();
        }
        self.changed();
        Ok(())
    }
}

/// Takes a peer over into new keys, under a serial number of its own.
fn keep(
    context: &mut Context,
    format: CredentialFormat,
    (kid, credential, window, serial): (Kid, Credential, ReplayWindow, u64),
) -> Result<(), InstallError> {
    if let Some(own) = &context.sender {
        if own.id == kid {
            return Err(GroupError::OwnId.into());
        }
        if own.credential.bytes() == credential.bytes() {
            return Err(GroupError::OwnCredential.into());
        }
    }
    usable(&credential, &context.common.suite, format)?;
    let peer = recipient(&context.common, kid, credential, window, serial, false)?;
    let inserted = context.recipients.insert(kid, peer);
    inserted.map_err(|_| GroupError::Full)?;
    Ok(())
}
