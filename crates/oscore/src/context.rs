//! One installed Security Context of a group (draft section 2): a Common Context, at most one Sender
//! Context, and a Recipient Context for each peer.

mod cache;
mod common;
mod recipient;
mod sender;

use core::time::Duration;

pub(crate) use cache::{KeyCache, Role};
pub(crate) use common::Common;
pub(crate) use recipient::{CredentialHash, Full, PairwiseKeys, Recipient, Recipients};
pub(crate) use sender::Sender;

use crate::crypto::CryptoError;
use crate::derive::{Pairwise, pairwise_key};
use crate::group::Modes;
use crate::identity::{Kid, Mode};
use crate::secret::Secret;

/// One installation of keys under one Gid.
pub(crate) struct Context {
    /// Never the same for two installations in one group of this endpoint.
    pub(crate) serial: u64,
    /// The number of the keys as the Group Manager counts them; it only grows.
    pub(crate) generation: u64,
    /// When it was installed in this run; `None` if it was restored, and so is of unknown age.
    pub(crate) installed_at: Option<Duration>,
    pub(crate) common: Common,
    pub(crate) sender: Option<Sender>,
    pub(crate) recipients: Recipients,
    pub(crate) cache: KeyCache,
    /// Messages that were begun under this context and wait for work.
    pub(crate) in_progress: u32,
    /// What this endpoint is limited to.
    pub(crate) modes: Modes,
}

impl Context {
    /// Whether messages of this mode can be processed: the parameters are set, and the endpoint is more than
    /// a silent server where keys of two are needed (draft sections 6 and 8).
    pub(crate) fn has_mode(&self, mode: Mode) -> bool {
        let there = match mode {
            Mode::Group => self.common.suite.has_group_mode(),
            Mode::Pairwise => self.common.suite.has_pairwise_mode() && self.sender.is_some(),
            Mode::Plain => false,
        };
        there && self.modes.allow(mode)
    }

    /// Whether an Echo challenge can be sent, and its answer be opened: where the group has the pairwise mode it comes in
    /// that (draft sections 8 and 9).
    pub(crate) fn can_challenge(&self) -> bool {
        self.sender.is_some()
            && (!self.common.suite.has_pairwise_mode() || self.has_mode(Mode::Pairwise))
    }

    pub(crate) fn own_id(&self) -> Option<Kid> {
        self.sender.as_ref().map(|sender| sender.id)
    }

    /// Derives the pairwise keys with a peer from the shared secret (draft section 2.5.1) and keeps them;
    /// the secret itself is not kept.
    pub(crate) fn agree(&mut self, kid: Kid, shared: &Secret) -> Result<(), CryptoError> {
        let (Some(sender), Some(peer)) = (&self.sender, self.recipients.get_mut(kid)) else {
            return Ok(());
        };
        let common = &self.common;
        let (own, theirs) = (sender.credential.bytes(), peer.credential.bytes());
        let send = pairwise_key(
            &common.suite,
            &Pairwise {
                sender_key: &sender.key,
                sender_id: sender.id.as_bytes(),
                sender_credential: own,
                receiver_credential: theirs,
                shared_secret: shared,
                gid: common.gid.as_bytes(),
            },
        )?;
        let receive = pairwise_key(
            &common.suite,
            &Pairwise {
                sender_key: &peer.key,
                sender_id: kid.as_bytes(),
                sender_credential: theirs,
                receiver_credential: own,
                shared_secret: shared,
                gid: common.gid.as_bytes(),
            },
        )?;
        peer.pairwise = Some(PairwiseKeys { send, receive });
        self.cache.forget(peer.serial);
        Ok(())
    }
}
