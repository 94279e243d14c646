//! What one message in group mode is encrypted and signed with (draft sections 4 and 7).

use alloc::vec::Vec;

use crate::aad::{Aad, GroupAad};
use crate::context::{Context, Role};
use crate::crypto::{CryptoError, GroupKey};
use crate::derive::{Keystream, KeystreamOf, keystream};
use crate::identity::{Kid, Mode};
use crate::nonce::PartialIv;
use crate::open::VerifyJob;
use crate::refused::Reason;
use crate::suite::{GroupEncryption, SignatureAlgorithm};

/// What a message is bound to: its request, its own option, and whoever made the number for its nonce.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding<'a> {
    /// Whether the message is a request.
    pub(crate) request: bool,
    pub(crate) request_kid: Kid,
    pub(crate) request_piv: PartialIv,
    /// The Gid in the request, whatever the Gid is now.
    pub(crate) request_kid_context: &'a [u8],
    /// The value of the OSCORE option of this message.
    pub(crate) option: &'a [u8],
    /// Who generated `piv`: the sender of this message, or the client for a response without Partial IV.
    pub(crate) generator: Kid,
    pub(crate) piv: PartialIv,
}

impl Context {
    /// The authenticated data of a message, the same in both modes (draft section 3.4).
    pub(crate) fn aad(&self, binding: &Binding<'_>, sender: &[u8], buffer: &mut Vec<u8>) -> Aad {
        let parts = GroupAad {
            suite: &self.common.suite,
            request_kid: binding.request_kid.as_bytes(),
            request_piv: binding.request_piv,
            class_i_options: &[],
            request_kid_context: binding.request_kid_context,
            oscore_option: binding.option,
            sender_credential: sender,
            group_manager_credential: &self.common.gm_credential,
        };
        Aad::group(&parts, core::mem::take(buffer))
    }

    pub(crate) fn group_algorithms(
        &self,
    ) -> Result<(GroupEncryption, SignatureAlgorithm), CryptoError> {
        let suite = &self.common.suite;
        suite
            .group_encryption()
            .zip(suite.signature())
            .ok_or(CryptoError::Unavailable)
    }

    pub(crate) fn keystream(&self, binding: &Binding<'_>) -> Result<Keystream, CryptoError> {
        let (_, signature) = self.group_algorithms()?;
        let common = &self.common;
        let key = common.signature_encryption_key.as_ref();
        keystream(
            common.suite.hkdf(),
            key.ok_or(CryptoError::Unavailable)?,
            signature,
            &KeystreamOf {
                partial_iv: binding.piv,
                id: binding.generator.as_bytes(),
                gid: common.gid.as_bytes(),
                request: binding.request,
            },
        )
    }

    /// Ciphertext with tag, and encrypted countersignature; both whole, and something encrypted.
    pub(crate) fn split_payload<'a>(
        &self,
        payload: &'a [u8],
    ) -> Result<(&'a [u8], &'a [u8]), Reason> {
        let (encryption, signature) = self
            .group_algorithms()
            .map_err(|_| Reason::ModeUnavailable(Mode::Group))?;
        let at = payload
            .len()
            .checked_sub(signature.signature_len())
            .filter(|at| *at > encryption.tag_len())
            .ok_or(Reason::Malformed)?;
        payload.split_at_checked(at).ok_or(Reason::Malformed)
    }

    /// What has to be verified before anything is decrypted (draft sections 7.2 and 7.4).
    pub(crate) fn verify_job(
        &self,
        kid: Kid,
        binding: &Binding<'_>,
        payload: &[u8],
        ticket: u64,
    ) -> Result<VerifyJob, Reason> {
        let (ciphertext, encrypted) = self.split_payload(payload)?;
        let peer = self.recipients.get(kid).ok_or(Reason::NoContext)?;
        let broken = |_: CryptoError| Reason::NotVerified;
        let (_, algorithm) = self.group_algorithms().map_err(broken)?;
        let mut signature = encrypted.to_vec();
        let stream = self.keystream(binding).map_err(broken)?;
        stream.apply(&mut signature).map_err(broken)?;
        let aad = self.aad(binding, peer.credential.bytes(), &mut Vec::new());
        Ok(VerifyJob::new(
            ticket,
            peer.credential.public_key().clone(),
            algorithm,
            aad.into_signed_structure(ciphertext),
            signature,
        ))
    }

    /// Decrypts a message whose countersignature is verified, with the Recipient Key and the Group Encryption
    /// Algorithm; the plaintext is then in `body`.
    pub(crate) fn group_decrypt(
        &mut self,
        kid: Kid,
        binding: &Binding<'_>,
        payload: &[u8],
        aad_buffer: &mut Vec<u8>,
        body: &mut Vec<u8>,
    ) -> Result<(), Reason> {
        let (ciphertext, _) = self.split_payload(payload)?;
        let broken = |_: CryptoError| Reason::NotVerified;
        let nonce = self
            .common
            .nonce(Mode::Group, binding.generator, binding.piv)
            .map_err(broken)?;
        let (algorithm, _) = self.group_algorithms().map_err(broken)?;
        let peer = self.recipients.get(kid).ok_or(Reason::NoContext)?;
        let mut aad = self.aad(binding, peer.credential.bytes(), aad_buffer);
        let cipher = self
            .cache
            .group(Role::GroupReceive(peer.serial), || {
                GroupKey::new(algorithm, peer.key.as_bytes())
            })
            .map_err(broken)?;
        body.clear();
        body.extend_from_slice(ciphertext);
        let result = cipher.open(nonce.as_bytes(), aad.enc_structure(), body);
        *aad_buffer = aad.into_buffer();
        result.map_err(broken)
    }

    /// Encrypts `body` with the Sender Key and the Group Encryption Algorithm, and gives what is to be signed.
    pub(crate) fn group_encrypt(
        &mut self,
        binding: &Binding<'_>,
        body: &mut Vec<u8>,
    ) -> Result<Vec<u8>, CryptoError> {
        let nonce = self
            .common
            .nonce(Mode::Group, binding.generator, binding.piv)?;
        let (algorithm, _) = self.group_algorithms()?;
        let sender = self.sender.as_ref().ok_or(CryptoError::Unavailable)?;
        let mut aad = self.aad(binding, sender.credential.bytes(), &mut Vec::new());
        let cipher = self.cache.group(Role::GroupSend(sender.serial), || {
            GroupKey::new(algorithm, sender.key.as_bytes())
        })?;
        cipher.seal(nonce.as_bytes(), aad.enc_structure(), body)?;
        Ok(aad.into_signed_structure(body))
    }
}
