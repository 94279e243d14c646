//! The cryptographic operations, all of them done by libraries (see `docs/decisions/0010-cryptography.md`): encryption,
//! key derivation, signatures, key agreement.

use core::fmt;

mod cipher;
mod kdf;
mod private;
mod public;
mod purpose;

pub use cipher::{AeadKey, GroupKey};
pub use kdf::hkdf;
pub use private::{KeyFailure, PrivateKey, SoftwareKey};
pub use public::{Curve, EcY, KeyRefused, PublicKey, SignatureRefused, verify};
pub use purpose::{Agreement, Purpose, SharedSecret, ToBeSigned};

/// Why an operation with a symmetric key was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CryptoError {
    /// A key, nonce or message of a length that the algorithm does not have.
    Length,
    /// The tag does not belong to this key, nonce, ciphertext and additional data.
    NotAuthentic,
    /// The group has no algorithm for this.
    Unavailable,
}

impl fmt::Display for CryptoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CryptoError::Length => {
                "a key, nonce or message has a length that the algorithm does not allow"
            }
            CryptoError::NotAuthentic => "the message is not authentic",
            CryptoError::Unavailable => "the group has no algorithm for this",
        })
    }
}

impl core::error::Error for CryptoError {}

#[cfg(test)]
mod tests;
