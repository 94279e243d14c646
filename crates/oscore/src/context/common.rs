//! The Common Context: what all members of a group share under one Gid (draft section 2.1).

use alloc::boxed::Box;

use crate::aad::GroupFrame;
use crate::crypto::CryptoError;
use crate::derive::{CommonIv, Material};
use crate::identity::{Gid, Kid, Mode};
use crate::nonce::{Nonce, PartialIv, nonce};
use crate::secret::Secret;
use crate::suite::Suite;

pub(crate) struct Common {
    pub(crate) gid: Gid,
    pub(crate) suite: Suite,
    master_secret: Secret,
    master_salt: Secret,
    common_iv: CommonIv,
    /// Only for the group mode.
    pub(crate) signature_encryption_key: Option<Secret>,
    /// The Group Manager's authentication credential, as distributed.
    pub(crate) gm_credential: Box<[u8]>,
    /// What the authenticated data of all messages begins and ends with.
    pub(crate) frame: GroupFrame,
}

impl Common {
    pub(crate) fn derive(
        gid: Gid,
        suite: Suite,
        master_secret: Secret,
        master_salt: Secret,
        gm_credential: &[u8],
    ) -> Result<Common, CryptoError> {
        let material = Material {
            hkdf: suite.hkdf(),
            master_secret: &master_secret,
            master_salt: master_salt.as_bytes(),
            id_context: Some(gid.as_bytes()),
        };
        let common_iv = material.common_iv(&suite)?;
        let signature_encryption_key = match suite.has_group_mode() {
            true => Some(material.signature_encryption_key(&suite)?),
            false => None,
        };
        Ok(Common {
            frame: GroupFrame::new(&suite, gm_credential),
            common_iv,
            signature_encryption_key,
            gid,
            suite,
            master_secret,
            master_salt,
            gm_credential: gm_credential.into(),
        })
    }

    /// The Sender Key or Recipient Key that belongs to an ID.
    pub(crate) fn key_of(&self, id: Kid) -> Result<Secret, CryptoError> {
        let material = Material {
            hkdf: self.suite.hkdf(),
            master_secret: &self.master_secret,
            master_salt: self.master_salt.as_bytes(),
            id_context: Some(self.gid.as_bytes()),
        };
        material.sender_key(&self.suite, id.as_bytes())
    }

    /// The nonce of one message: as long as the algorithm of its mode wants it (draft section 3.3). `id` is whoever
    /// generated the Partial IV.
    pub(crate) fn nonce(&self, mode: Mode, id: Kid, piv: PartialIv) -> Result<Nonce, CryptoError> {
        let len = match mode {
            Mode::Group => self.suite.group_encryption().map(|it| it.nonce_len()),
            Mode::Pairwise | Mode::Plain => self.suite.aead().map(|it| it.nonce_len()),
        };
        let len = len.ok_or(CryptoError::Unavailable)?;
        nonce(len, id.as_bytes(), piv, self.common_iv.as_bytes()).ok_or(CryptoError::Length)
    }

    /// The Master Secret and the Master Salt, for what has to be durable.
    pub(crate) fn master(&self) -> (&Secret, &Secret) {
        (&self.master_secret, &self.master_salt)
    }
}
