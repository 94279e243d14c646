//! What one message in group mode is encrypted and signed with (draft sections 4 and 7).

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::aad::{Aad, GroupFrame, MessageAad};
use crate::context::{Common, Context, Role};
use crate::contexts::Scratch;
use crate::credential::Credential;
use crate::crypto::{CryptoError, GroupKey};
use crate::derive::{Keystream, KeystreamOf, keystream};
use crate::identity::{Gid, Kid, Mode};
use crate::nonce::{Nonce, PartialIv};
use crate::open::VerifyJob;
use crate::refused::Reason;
use crate::secret::Secret;
use crate::suite::{GroupEncryption, SignatureAlgorithm, Suite};

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

/// What of a Common Context the countersignatures are made and verified with. A signature checker has it too.
#[derive(Clone, Copy)]
pub(crate) struct Countersigning<'a> {
    pub(crate) suite: &'a Suite,
    pub(crate) gid: &'a Gid,
    pub(crate) frame: &'a GroupFrame,
    pub(crate) signature_encryption_key: Option<&'a Secret>,
}

impl Countersigning<'_> {
    /// The authenticated data of a message, the same in both modes (draft section 3.4).
    pub(crate) fn aad(&self, binding: &Binding<'_>, sender: &[u8], buffer: &mut Vec<u8>) -> Aad {
        let parts = MessageAad {
            request_kid: binding.request_kid.as_bytes(),
            request_piv: binding.request_piv,
            class_i_options: &[],
            request_kid_context: binding.request_kid_context,
            oscore_option: binding.option,
            sender_credential: sender,
        };
        Aad::framed(self.frame, &parts, core::mem::take(buffer))
    }

    /// Memory for what is signed: enough for all but the longest options.
    fn room(&self, sender: &[u8], ciphertext: usize) -> Vec<u8> {
        const SHORT: usize = 128;
        Vec::with_capacity(self.frame.len() + sender.len() + ciphertext + SHORT)
    }

    pub(crate) fn algorithms(&self) -> Result<(GroupEncryption, SignatureAlgorithm), CryptoError> {
        let algorithms = self.suite.group_encryption().zip(self.suite.signature());
        algorithms.ok_or(CryptoError::Unavailable)
    }

    pub(crate) fn keystream(&self, binding: &Binding<'_>) -> Result<Keystream, CryptoError> {
        let (_, signature) = self.algorithms()?;
        let key = self.signature_encryption_key;
        keystream(
            self.suite.hkdf(),
            key.ok_or(CryptoError::Unavailable)?,
            signature,
            &KeystreamOf {
                partial_iv: binding.piv,
                id: binding.generator.as_bytes(),
                gid: self.gid.as_bytes(),
                request: binding.request,
            },
        )
    }

    /// Ciphertext with tag, and encrypted countersignature; both whole, and something encrypted.
    pub(crate) fn split<'p>(&self, payload: &'p [u8]) -> Result<(&'p [u8], &'p [u8]), Reason> {
        let (encryption, signature) = self
            .algorithms()
            .map_err(|_| Reason::ModeUnavailable(Mode::Group))?;
        let at = payload
            .len()
            .checked_sub(signature.signature_len())
            .filter(|at| *at > encryption.tag_len())
            .ok_or(Reason::Malformed)?;
        payload.split_at_checked(at).ok_or(Reason::Malformed)
    }

    /// What has to be verified: SIGNATURE = ENC_SIGNATURE XOR KEYSTREAM, over the external_aad and the ciphertext (draft
    /// sections 7.2, 7.4 and 7.5).
    pub(crate) fn job(
        &self,
        sender: &Credential,
        binding: &Binding<'_>,
        payload: &[u8],
        ticket: u64,
    ) -> Result<VerifyJob, Reason> {
        let (ciphertext, encrypted) = self.split(payload)?;
        let broken = |_: CryptoError| Reason::NotVerified;
        let (_, algorithm) = self.algorithms().map_err(broken)?;
        let mut signature = encrypted.to_vec();
        let stream = self.keystream(binding).map_err(broken)?;
        stream.apply(&mut signature).map_err(broken)?;
        let mut room = self.room(sender.bytes(), ciphertext.len());
        let aad = self.aad(binding, sender.bytes(), &mut room);
        Ok(VerifyJob::new(
            ticket,
            Box::new(sender.public_key().clone()),
            algorithm,
            aad.into_signed_structure(ciphertext),
            signature,
        ))
    }
}

impl Common {
    pub(crate) fn countersigning(&self) -> Countersigning<'_> {
        Countersigning {
            suite: &self.suite,
            gid: &self.gid,
            frame: &self.frame,
            signature_encryption_key: self.signature_encryption_key.as_ref(),
        }
    }

    /// The nonce and the authenticated data of one message.
    pub(crate) fn bind(
        &self,
        mode: Mode,
        binding: &Binding<'_>,
        sender_credential: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Result<(Nonce, Aad), CryptoError> {
        let nonce = self.nonce(mode, binding.generator, binding.piv)?;
        let aad = self
            .countersigning()
            .aad(binding, sender_credential, buffer);
        Ok((nonce, aad))
    }
}

impl Context {
    /// Decrypts a message whose countersignature is verified, with the Recipient Key and the Group Encryption
    /// Algorithm; the plaintext is then in `scratch.body`.
    pub(crate) fn group_decrypt(
        &mut self,
        kid: Kid,
        binding: &Binding<'_>,
        payload: &[u8],
        scratch: &mut Scratch,
    ) -> Result<(), Reason> {
        let broken = |_: CryptoError| Reason::NotVerified;
        let keys = self.common.countersigning();
        let (ciphertext, _) = keys.split(payload)?;
        let (algorithm, _) = keys.algorithms().map_err(broken)?;
        let peer = self.recipients.get(kid).ok_or(Reason::NoContext)?;
        let sender = peer.credential.bytes();
        let bound = self
            .common
            .bind(Mode::Group, binding, sender, &mut scratch.aad);
        let (nonce, aad) = bound.map_err(broken)?;
        let role = Role::GroupReceive(peer.serial);
        let cipher = self
            .cache
            .group(role, || GroupKey::new(algorithm, peer.key.as_bytes()))
            .map_err(broken)?;
        scratch.decrypt(ciphertext, aad, |aad, body| {
            cipher.open(nonce.as_bytes(), aad, body)
        })
    }

    /// Encrypts `body` with the Sender Key and the Group Encryption Algorithm, and gives what is to be signed.
    pub(crate) fn group_encrypt(
        &mut self,
        binding: &Binding<'_>,
        body: &mut Vec<u8>,
    ) -> Result<Vec<u8>, CryptoError> {
        let keys = self.common.countersigning();
        let (algorithm, _) = keys.algorithms()?;
        let sender = self.sender.as_ref().ok_or(CryptoError::Unavailable)?;
        let credential = sender.credential.bytes();
        let mut room = keys.room(credential, body.len() + algorithm.tag_len());
        let bound = self
            .common
            .bind(Mode::Group, binding, credential, &mut room);
        let (nonce, mut aad) = bound?;
        let cipher = self.cache.group(Role::GroupSend(sender.serial), || {
            GroupKey::new(algorithm, sender.key.as_bytes())
        })?;
        cipher.seal(nonce.as_bytes(), aad.enc_structure(), body)?;
        Ok(aad.into_signed_structure(body))
    }
}
