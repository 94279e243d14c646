//! What a private key is used for: messages of Group OSCORE and proof of possession, and nothing else (draft section 2.5).
//!
//! A key that both signs and agrees may be used for nothing else, so that the seam to it has no operation on bytes or on
//! public keys of the caller's choice. What it takes is made here alone.

use crate::crypto::PublicKey;
use crate::secret::Secret;
use crate::suite::SignatureAlgorithm;

/// For what a signature is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It countersigns a message in group mode (draft section 3.1).
    Message,
    /// It proves that the private key is there (see [`Proof`](crate::Proof)).
    Possession,
}

/// What a private key signs. Only this crate makes it: of a message in group mode, or of a [`Proof`](crate::Proof).
/// Whoever holds the key reads it; nobody puts other bytes there.
///
/// The two cannot be taken for each other: what countersigns a message begins with a CBOR array, a proof with a byte string.
#[derive(Clone, Copy, Debug)]
pub struct ToBeSigned<'a> {
    purpose: Purpose,
    algorithm: SignatureAlgorithm,
    bytes: &'a [u8],
}

impl<'a> ToBeSigned<'a> {
    pub(crate) fn message(algorithm: SignatureAlgorithm, bytes: &'a [u8]) -> ToBeSigned<'a> {
        ToBeSigned {
            purpose: Purpose::Message,
            algorithm,
            bytes,
        }
    }

    pub(crate) fn possession(algorithm: SignatureAlgorithm, bytes: &'a [u8]) -> ToBeSigned<'a> {
        ToBeSigned {
            purpose: Purpose::Possession,
            algorithm,
            bytes,
        }
    }

    /// For what.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// By which algorithm.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The bytes: to be signed as they are, never a hash of them that was made elsewhere.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// With whom a private key agrees on a secret. Only this crate makes it: for the pairwise keys with a member of the group,
/// or for a [`Proof`](crate::Proof) in a group without signatures.
#[derive(Clone, Copy, Debug)]
pub struct Agreement<'a> {
    peer: &'a PublicKey,
}

impl<'a> Agreement<'a> {
    pub(crate) fn with(peer: &'a PublicKey) -> Agreement<'a> {
        Agreement { peer }
    }

    /// The public key of the other.
    pub fn peer(&self) -> &'a PublicKey {
        self.peer
    }
}

/// What two keys agree on. Whoever holds a private key makes it; only this crate reads it, and derives pairwise keys of it.
#[derive(Debug, PartialEq, Eq)]
pub struct SharedSecret(Secret);

impl SharedSecret {
    /// The x coordinate of the shared point, as long as the field of the curve.
    pub fn new(secret: Secret) -> SharedSecret {
        SharedSecret(secret)
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.0
    }
}
