//! Every derivation of a key (RFC 8613, section 3.2.1; draft-ietf-core-oscore-groupcomm-28, sections 2.1.9, 2.3, 2.5.1 and
//! 4.2). All are HKDF with an `info` that names what the output is for.

use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

use crate::cbor;
use crate::crypto::{CryptoError, hkdf};
use crate::nonce::PartialIv;
use crate::secret::Secret;
use crate::suite::{Aead, Hkdf, SignatureAlgorithm, Suite};

/// What Sender Keys, Recipient Keys, the Common IV and the Signature Encryption Key are derived from.
#[derive(Debug, Clone, Copy)]
pub struct Material<'a> {
    /// The HKDF Algorithm.
    pub hkdf: Hkdf,
    /// The Master Secret.
    pub master_secret: &'a Secret,
    /// The Master Salt, empty if there is none.
    pub master_salt: &'a [u8],
    /// The ID Context: in a group the Gid, in plain OSCORE possibly none.
    pub id_context: Option<&'a [u8]>,
}

/// The Common IV, 7 to 13 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct CommonIv {
    bytes: Zeroizing<[u8; 13]>,
    len: usize,
}

impl CommonIv {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl fmt::Debug for CommonIv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CommonIv(..)")
    }
}

impl Material<'_> {
    /// The Sender Key or Recipient Key of the endpoint with this identifier in plain OSCORE (RFC 8613, section 3.2.1).
    ///
    /// # Errors
    /// [`CryptoError::Length`], which no algorithm here gives rise to. As with all that follow.
    pub fn oscore_key(&self, aead: Aead, id: &[u8]) -> Result<Secret, CryptoError> {
        self.key(id, aead.id(), "Key", aead.key_len())
    }

    /// The Common IV in plain OSCORE (RFC 8613, section 3.2.1).
    ///
    /// # Errors
    /// See [`oscore_key`](Self::oscore_key).
    pub fn oscore_common_iv(&self, aead: Aead) -> Result<CommonIv, CryptoError> {
        self.iv(aead.id(), aead.nonce_len())
    }

    /// The Sender Key or Recipient Key of the member with this Sender ID, for the Group Encryption Algorithm if it is set,
    /// else for the AEAD Algorithm (draft, section 2.3).
    ///
    /// # Errors
    /// See [`oscore_key`](Self::oscore_key).
    pub fn sender_key(&self, suite: &Suite, id: &[u8]) -> Result<Secret, CryptoError> {
        let (algorithm, len) = suite.key_algorithm().ok_or(CryptoError::Unavailable)?;
        self.key(id, algorithm, "Key", len)
    }

    /// The Common IV of the group: as long as the longer nonce of its algorithms (draft, sections 2.1.4 and 2.3).
    ///
    /// # Errors
    /// See [`oscore_key`](Self::oscore_key).
    pub fn common_iv(&self, suite: &Suite) -> Result<CommonIv, CryptoError> {
        let (algorithm, _) = suite.key_algorithm().ok_or(CryptoError::Unavailable)?;
        self.iv(algorithm, suite.common_iv_len())
    }

    /// The Signature Encryption Key (draft, section 2.1.9).
    ///
    /// # Errors
    /// [`CryptoError::Unavailable`] in a group without Group Encryption Algorithm.
    pub fn signature_encryption_key(&self, suite: &Suite) -> Result<Secret, CryptoError> {
        let algorithm = suite.group_encryption().ok_or(CryptoError::Unavailable)?;
        self.key(&[], algorithm.id(), "SEKey", algorithm.key_len())
    }

    fn key(
        &self,
        id: &[u8],
        algorithm: i32,
        label: &str,
        len: usize,
    ) -> Result<Secret, CryptoError> {
        let mut key = Secret::zeroed(len);
        self.fill(
            &info(id, self.id_context, algorithm, label, len),
            key.as_mut(),
        )?;
        Ok(key)
    }

    fn iv(&self, algorithm: i32, len: usize) -> Result<CommonIv, CryptoError> {
        let mut iv = CommonIv {
            bytes: Zeroizing::new([0; 13]),
            len,
        };
        let place = iv.bytes.get_mut(..len).ok_or(CryptoError::Length)?;
        self.fill(&info(&[], self.id_context, algorithm, "IV", len), place)?;
        Ok(iv)
    }

    fn fill(&self, info: &[u8], out: &mut [u8]) -> Result<(), CryptoError> {
        hkdf(
            self.hkdf,
            self.master_salt,
            &[self.master_secret.as_bytes()],
            info,
            out,
        )
    }
}

/// `info = [ id, id_context, alg_aead, type, L ]` (RFC 8613, section 3.2.1).
fn info(id: &[u8], id_context: Option<&[u8]>, algorithm: i32, label: &str, len: usize) -> Vec<u8> {
    let mut info = Vec::with_capacity(id.len() + id_context.map_or(0, <[u8]>::len) + 24);
    cbor::array(&mut info, 5);
    cbor::bytes(&mut info, id);
    cbor::bytes_or_null(&mut info, id_context);
    cbor::int(&mut info, algorithm);
    cbor::text(&mut info, label);
    cbor::unsigned(&mut info, len as u64);
    info
}

/// What pairwise keys are derived from, seen from a message's sender: to send, this endpoint is the sender; to receive,
/// its peer is.
#[derive(Debug, Clone, Copy)]
pub struct Pairwise<'a> {
    /// The Sender Key of the message's sender: own Sender Key, or Recipient Key for the peer.
    pub sender_key: &'a Secret,
    /// The Sender ID of the message's sender.
    pub sender_id: &'a [u8],
    /// The credential of the message's sender.
    pub sender_credential: &'a [u8],
    /// The credential of the message's receiver.
    pub receiver_credential: &'a [u8],
    /// What [`agree`](crate::crypto::PrivateKey::agree) gave for the two.
    pub shared_secret: &'a Secret,
    /// The Gid.
    pub gid: &'a [u8],
}

/// The key of messages in pairwise mode from that sender to that receiver (draft, section 2.5.1).
///
/// # Errors
/// [`CryptoError::Unavailable`] in a group without AEAD Algorithm.
pub fn pairwise_key(suite: &Suite, parts: &Pairwise<'_>) -> Result<Secret, CryptoError> {
    let aead = suite.aead().ok_or(CryptoError::Unavailable)?;
    let info = info(
        parts.sender_id,
        Some(parts.gid),
        aead.id(),
        "Key",
        aead.key_len(),
    );
    let material = [
        parts.sender_credential,
        parts.receiver_credential,
        parts.shared_secret.as_bytes(),
    ];
    let mut key = Secret::zeroed(aead.key_len());
    hkdf(
        suite.hkdf(),
        parts.sender_key.as_bytes(),
        &material,
        &info,
        key.as_mut(),
    )?;
    Ok(key)
}

/// What a countersignature is encrypted with: as long as the signature.
pub struct Keystream {
    bytes: Zeroizing<[u8; 132]>,
    len: usize,
}

impl Keystream {
    /// Encrypts a signature, or decrypts it: exclusive or.
    ///
    /// # Errors
    /// [`CryptoError::Length`] when the signature is not as long as the algorithm's signatures are; it is left as it was.
    pub fn apply(&self, signature: &mut [u8]) -> Result<(), CryptoError> {
        if signature.len() != self.len {
            return Err(CryptoError::Length);
        }
        for (byte, mask) in signature.iter_mut().zip(self.bytes.iter()) {
            *byte ^= mask;
        }
        Ok(())
    }
}

impl fmt::Debug for Keystream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keystream(..)")
    }
}

/// Which message a keystream is for (draft, section 4.2).
#[derive(Debug, Clone, Copy)]
pub struct KeystreamOf<'a> {
    /// The Partial IV of the message's nonce: its own, or that of the request when a response has none.
    pub partial_iv: PartialIv,
    /// The Sender ID of the endpoint that generated that Partial IV: of a response without one, the client.
    pub id: &'a [u8],
    /// The Gid that protects this message, which after a rekeying is not that of the request.
    pub gid: &'a [u8],
    /// Whether the message is a request.
    pub request: bool,
}

/// The keystream for the countersignature of one message (draft, section 4.2).
///
/// # Errors
/// See [`Material::oscore_key`].
pub fn keystream(
    hash: Hkdf,
    signature_encryption_key: &Secret,
    algorithm: SignatureAlgorithm,
    message: &KeystreamOf<'_>,
) -> Result<Keystream, CryptoError> {
    let len = algorithm.signature_len();
    let mut info = Vec::with_capacity(message.id.len() + message.gid.len() + 12);
    cbor::array(&mut info, 4);
    cbor::bytes(&mut info, message.id);
    cbor::bytes(&mut info, message.gid);
    cbor::boolean(&mut info, message.request);
    cbor::unsigned(&mut info, len as u64);
    let mut keystream = Keystream {
        bytes: Zeroizing::new([0; 132]),
        len,
    };
    let place = keystream.bytes.get_mut(..len).ok_or(CryptoError::Length)?;
    hkdf(
        hash,
        message.partial_iv.as_bytes(),
        &[signature_encryption_key.as_bytes()],
        &info,
        place,
    )?;
    Ok(keystream)
}

#[cfg(test)]
mod tests;
