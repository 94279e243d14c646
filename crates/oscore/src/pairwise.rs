//! What one message in pairwise mode is encrypted with (draft section 8).

use alloc::vec::Vec;

use crate::context::{Context, Role};
use crate::contexts::Scratch;
use crate::crypto::{AeadKey, CryptoError};
use crate::group_mode::Binding;
use crate::identity::{Kid, Mode};
use crate::refused::Reason;

impl Context {
    /// Decrypts and verifies with the Pairwise Recipient Key of a peer, which is there; the plaintext is then in
    /// `scratch.body`.
    pub(crate) fn pairwise_decrypt(
        &mut self,
        kid: Kid,
        binding: &Binding<'_>,
        payload: &[u8],
        scratch: &mut Scratch,
    ) -> Result<(), Reason> {
        let broken = |_: CryptoError| Reason::NotVerified;
        let algorithm = self.common.suite.aead();
        let algorithm = algorithm.ok_or(Reason::ModeUnavailable(Mode::Pairwise))?;
        if payload.len() <= algorithm.tag_len() {
            return Err(Reason::Malformed);
        }
        let peer = self.recipients.get(kid).ok_or(Reason::NoContext)?;
        let keys = peer.pairwise.as_ref().ok_or(Reason::NoContext)?;
        let sender = peer.credential.bytes();
        let bound = self
            .common
            .bind(Mode::Pairwise, binding, sender, &mut scratch.aad);
        let (nonce, aad) = bound.map_err(broken)?;
        let role = Role::PairwiseReceive(peer.serial);
        let cipher = self
            .cache
            .aead(role, || AeadKey::new(algorithm, keys.receive.as_bytes()))
            .map_err(broken)?;
        scratch.decrypt(payload, aad, |aad, body| {
            cipher.open(nonce.as_bytes(), aad, body)
        })
    }

    /// Encrypts `body` with the Pairwise Sender Key for a peer, which is there.
    pub(crate) fn pairwise_encrypt(
        &mut self,
        kid: Kid,
        binding: &Binding<'_>,
        aad_buffer: &mut Vec<u8>,
        body: &mut Vec<u8>,
    ) -> Result<(), CryptoError> {
        let algorithm = self.common.suite.aead().ok_or(CryptoError::Unavailable)?;
        let sender = self.sender.as_ref().ok_or(CryptoError::Unavailable)?;
        let peer = self.recipients.get(kid).ok_or(CryptoError::Unavailable)?;
        let keys = peer.pairwise.as_ref().ok_or(CryptoError::Unavailable)?;
        let credential = sender.credential.bytes();
        let bound = self
            .common
            .bind(Mode::Pairwise, binding, credential, aad_buffer);
        let (nonce, mut aad) = bound?;
        let cipher = self.cache.aead(Role::PairwiseSend(peer.serial), || {
            AeadKey::new(algorithm, keys.send.as_bytes())
        })?;
        let sealed = cipher.seal(nonce.as_bytes(), aad.enc_structure(), body);
        *aad_buffer = aad.into_buffer();
        sealed
    }
}
