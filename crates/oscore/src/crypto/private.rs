//! Private keys: a seam, because they may live in a secure element, and the keys in memory.

use alloc::vec::Vec;
use core::fmt;

use ed25519_dalek::Signer;
#[cfg(feature = "p256")]
use p256::ecdsa::signature::RandomizedSigner;
use subtle::ConstantTimeEq;
#[cfg(feature = "p256")]
use zeroize::Zeroize;
use zeroize::Zeroizing;

use super::kdf::hkdf;
use super::public::{Curve, KeyRefused, PublicKey};
use super::purpose::{Agreement, SharedSecret, ToBeSigned};
use crate::secret::Secret;
use crate::suite::{Hkdf, SignatureAlgorithm};

#[cfg(feature = "p256")]
mod hedge;
#[cfg(feature = "p256")]
use hedge::Hedge;

/// Why an operation with a private key was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFailure {
    /// The key cannot do this: another algorithm than its curve's, or no such operation.
    Unsupported,
    /// The other key is on another curve.
    CurveMismatch,
    /// The shared secret is zero, which every eavesdropper knows too.
    ZeroSecret,
    /// The bytes are no private key of this curve.
    NotAKey,
    /// Whoever holds the key did not answer. It may answer later.
    Unavailable,
}

impl fmt::Display for KeyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyFailure::Unsupported => "the private key cannot be used for this",
            KeyFailure::CurveMismatch => "the two keys are on different curves",
            KeyFailure::ZeroSecret => "the keys agree on zero",
            KeyFailure::NotAKey => "not a private key of this curve",
            KeyFailure::Unavailable => "the private key is out of reach",
        })
    }
}

impl core::error::Error for KeyFailure {}

/// A private key, wherever it lives: in memory, or in a secure element that somebody else implements this for.
///
/// A key that both signs and agrees is used for Group OSCORE alone: for its messages, and to prove that it is there (draft
/// section 2.5). So neither operation takes bytes or public keys of the caller's choice:
///
/// ```
/// use antiphon_oscore::crypto::{KeyFailure, PrivateKey, SoftwareKey};
/// use antiphon_oscore::suite::Suite;
/// use antiphon_oscore::{Proof, Signing};
/// fn of_a_message(key: &SoftwareKey, signing: &Signing) -> Result<Vec<u8>, KeyFailure> {
///     key.sign(&signing.to_be_signed())
/// }
/// fn of_possession(key: &SoftwareKey) -> Result<Vec<u8>, KeyFailure> {
///     let manager = key.public();
///     Proof::of_manager(b"challenge", b"nonce").make(&Suite::default(), key, &manager)
/// }
/// # let key = SoftwareKey::from_ed25519_seed(&[1; 32]);
/// # assert_eq!(of_possession(&key).unwrap().len(), 64);
/// ```
///
/// Other bytes are not signed:
///
/// ```compile_fail
/// use antiphon_oscore::crypto::{PrivateKey, SoftwareKey};
/// fn of_anything(key: &SoftwareKey) {
///     let _ = key.sign(b"a contract");
/// }
/// ```
///
/// ```compile_fail
/// use antiphon_oscore::crypto::{PrivateKey, Purpose, SoftwareKey, ToBeSigned};
/// use antiphon_oscore::suite::SignatureAlgorithm;
/// fn of_anything(key: &SoftwareKey) {
///     let (purpose, algorithm) = (Purpose::Message, SignatureAlgorithm::EdDsa);
///     let _ = key.sign(&ToBeSigned { purpose, algorithm, bytes: b"a contract" });
/// }
/// ```
///
/// ```compile_fail
/// use antiphon_oscore::SignJob;
/// use antiphon_oscore::crypto::{PrivateKey, SoftwareKey};
/// fn of_anything(key: &SoftwareKey, job: SignJob) {
///     let _ = SignJob { bytes: b"a contract".to_vec(), ..job }.run(key);
/// }
/// ```
///
/// No secret is agreed on with a key that is not in the group, and none comes out:
///
/// ```
/// use antiphon_oscore::AgreeJob;
/// use antiphon_oscore::crypto::{KeyFailure, PrivateKey, SharedSecret, SoftwareKey};
/// fn with_a_member(key: &SoftwareKey, job: &AgreeJob) -> Result<SharedSecret, KeyFailure> {
///     key.agree(&job.agreement())
/// }
/// ```
///
/// ```compile_fail
/// use antiphon_oscore::crypto::{PrivateKey, PublicKey, SoftwareKey};
/// fn with_anybody(key: &SoftwareKey, peer: &PublicKey) {
///     let _ = key.agree(peer);
/// }
/// ```
///
/// ```compile_fail
/// use antiphon_oscore::crypto::{Agreement, PrivateKey, PublicKey, SoftwareKey};
/// fn with_anybody(key: &SoftwareKey, peer: &PublicKey) {
///     let _ = key.agree(&Agreement { peer });
/// }
/// ```
///
/// ```compile_fail
/// use antiphon_oscore::crypto::SharedSecret;
/// fn of_the_secret(shared: &SharedSecret) -> &[u8] {
///     shared.secret().as_bytes()
/// }
/// ```
///
/// Both operations may be slow and may fail.
pub trait PrivateKey: Send {
    /// The public key that belongs to it.
    fn public(&self) -> PublicKey;

    /// Signs the bytes of `what`, by its algorithm.
    ///
    /// # Errors
    /// [`KeyFailure::Unsupported`] when the algorithm is not that of the key's curve; what keeps the key from being used.
    fn sign(&self, what: &ToBeSigned<'_>) -> Result<Vec<u8>, KeyFailure>;

    /// The shared secret with a peer, by cofactor Diffie-Hellman; Ed25519 keys agree as X25519 (draft, sections 2.5.1 and
    /// 2.5.2.1).
    ///
    /// # Errors
    /// [`KeyFailure::CurveMismatch`], [`KeyFailure::ZeroSecret`]; what keeps the key from being used.
    fn agree(&self, with: &Agreement<'_>) -> Result<SharedSecret, KeyFailure>;
}

/// A private key in memory. It is overwritten when dropped, and absent from `Debug`.
///
/// ECDSA signatures are deterministic (RFC 6979) unless the key is [`hedged`](Self::hedged); EdDSA signatures always are.
pub struct SoftwareKey {
    scalar: Scalar,
    public: PublicKey,
    #[cfg(feature = "p256")]
    hedge: Option<Hedge>,
}

enum Scalar {
    Ed25519(ed25519_dalek::SigningKey),
    X25519(x25519_dalek::StaticSecret),
    #[cfg(feature = "p256")]
    P256(p256::SecretKey),
    #[cfg(feature = "p384")]
    P384(p384::SecretKey),
    #[cfg(feature = "p521")]
    P521(p521::SecretKey),
}

impl SoftwareKey {
    fn of(scalar: Scalar, public: PublicKey) -> SoftwareKey {
        SoftwareKey {
            scalar,
            public,
            #[cfg(feature = "p256")]
            hedge: None,
        }
    }

    /// The same key, whose ECDSA signatures also depend on `seed` and on how many it has made: a fault in one of two
    /// computations of a signature then no longer reveals the key (draft, section 10). They are as safe as deterministic
    /// ones when the seed is known or used again. For EdDSA nothing changes.
    #[cfg(feature = "p256")]
    #[must_use]
    pub fn hedged(self, seed: &[u8; 32]) -> SoftwareKey {
        SoftwareKey {
            hedge: Some(Hedge::new(seed)),
            ..self
        }
    }

    /// The key of an Ed25519 seed (RFC 8032, section 5.1.5).
    pub fn from_ed25519_seed(seed: &[u8; 32]) -> SoftwareKey {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let public = PublicKey::from_ed25519(key.verifying_key());
        SoftwareKey::of(Scalar::Ed25519(key), public)
    }

    /// The key of these bytes, of which X25519 sets some bits itself (RFC 7748, section 5).
    ///
    /// # Errors
    /// None: no such bytes have a public key of small order. The type leaves room for it.
    pub fn from_x25519(bytes: &[u8; 32]) -> Result<SoftwareKey, KeyRefused> {
        let key = x25519_dalek::StaticSecret::from(*bytes);
        let public = PublicKey::okp(
            Curve::X25519,
            x25519_dalek::PublicKey::from(&key).as_bytes(),
        )?;
        Ok(SoftwareKey::of(Scalar::X25519(key), public))
    }

    /// The key of a scalar of P-256, big endian.
    ///
    /// # Errors
    /// [`KeyFailure::NotAKey`] for zero and for what is not below the group order.
    #[cfg(feature = "p256")]
    pub fn from_p256_scalar(scalar: &[u8; 32]) -> Result<SoftwareKey, KeyFailure> {
        let key = p256::SecretKey::from_slice(scalar).map_err(|_| KeyFailure::NotAKey)?;
        let public = PublicKey::from_p256(key.public_key());
        Ok(SoftwareKey::of(Scalar::P256(key), public))
    }

    /// The key of a scalar of P-384, big endian.
    ///
    /// # Errors
    /// [`KeyFailure::NotAKey`] for zero and for what is not below the group order.
    #[cfg(feature = "p384")]
    pub fn from_p384_scalar(scalar: &[u8; 48]) -> Result<SoftwareKey, KeyFailure> {
        let key = p384::SecretKey::from_slice(scalar).map_err(|_| KeyFailure::NotAKey)?;
        let public = PublicKey::from_p384(key.public_key());
        Ok(SoftwareKey::of(Scalar::P384(key), public))
    }

    /// The key of a scalar of P-521, big endian.
    ///
    /// # Errors
    /// [`KeyFailure::NotAKey`] for zero and for what is not below the group order.
    #[cfg(feature = "p521")]
    pub fn from_p521_scalar(scalar: &[u8; 66]) -> Result<SoftwareKey, KeyFailure> {
        let key = p521::SecretKey::from_slice(scalar).map_err(|_| KeyFailure::NotAKey)?;
        let public = PublicKey::from_p521(key.public_key());
        Ok(SoftwareKey::of(Scalar::P521(key), public))
    }

    /// The key that [`to_bytes`](Self::to_bytes) gave the bytes of.
    ///
    /// # Errors
    /// [`KeyFailure::NotAKey`]; [`KeyFailure::Unsupported`] for a curve that this build leaves out.
    pub fn from_bytes(curve: Curve, bytes: &[u8]) -> Result<SoftwareKey, KeyFailure> {
        if !curve.supported() {
            return Err(KeyFailure::Unsupported);
        }
        let wrong = |_| KeyFailure::NotAKey;
        match curve {
            Curve::Ed25519 => Ok(SoftwareKey::from_ed25519_seed(
                bytes.try_into().map_err(wrong)?,
            )),
            Curve::X25519 => SoftwareKey::from_x25519(bytes.try_into().map_err(wrong)?)
                .map_err(|_| KeyFailure::NotAKey),
            #[cfg(feature = "p256")]
            Curve::P256 => SoftwareKey::from_p256_scalar(bytes.try_into().map_err(wrong)?),
            #[cfg(feature = "p384")]
            Curve::P384 => SoftwareKey::from_p384_scalar(bytes.try_into().map_err(wrong)?),
            #[cfg(feature = "p521")]
            Curve::P521 => SoftwareKey::from_p521_scalar(bytes.try_into().map_err(wrong)?),
            #[cfg(not(all(feature = "p256", feature = "p384", feature = "p521")))]
            _ => Err(KeyFailure::Unsupported),
        }
    }

    /// A new key of 64 bytes from a good source of randomness, which nobody else may learn and which must be used once.
    ///
    /// # Errors
    /// [`KeyFailure::Unsupported`] for a curve that this build leaves out.
    pub fn generate(curve: Curve, entropy: &[u8; 64]) -> Result<SoftwareKey, KeyFailure> {
        // FIPS 186-5, appendix A.2.2: candidates until one is below the group order. The first is, but for P-256 once in
        // 2^32 and the others even more rarely.
        for attempt in 0..=u8::MAX {
            let mut candidate = Zeroizing::new([0; 66]);
            let bytes = candidate
                .get_mut(..curve.field_len())
                .ok_or(KeyFailure::NotAKey)?;
            let info = [b"antiphon private key", curve.name().as_bytes(), &[attempt]].concat();
            hkdf(Hkdf::Sha512, &[], &[entropy], &info, bytes).map_err(|_| KeyFailure::NotAKey)?;
            if let (Curve::P521, Some(first)) = (curve, bytes.first_mut()) {
                *first &= 1;
            }
            match SoftwareKey::from_bytes(curve, bytes) {
                Err(KeyFailure::NotAKey) => {}
                done => return done,
            }
        }
        Err(KeyFailure::NotAKey)
    }

    /// The curve.
    pub fn curve(&self) -> Curve {
        self.public.curve()
    }

    /// The private key's bytes, for a sealed store: seed or scalar.
    pub fn to_bytes(&self) -> Secret {
        #[cfg(feature = "p256")]
        macro_rules! scalar {
            ($key:expr) => {{
                let mut bytes = $key.to_bytes();
                let secret = Secret::copy_of(&bytes);
                bytes.zeroize();
                secret
            }};
        }
        match &self.scalar {
            Scalar::Ed25519(key) => Secret::copy_of(key.as_bytes()),
            Scalar::X25519(key) => Secret::copy_of(key.as_bytes()),
            #[cfg(feature = "p256")]
            Scalar::P256(key) => scalar!(key),
            #[cfg(feature = "p384")]
            Scalar::P384(key) => scalar!(key),
            #[cfg(feature = "p521")]
            Scalar::P521(key) => scalar!(key),
        }
    }
}

impl PrivateKey for SoftwareKey {
    fn public(&self) -> PublicKey {
        self.public.clone()
    }

    fn sign(&self, what: &ToBeSigned<'_>) -> Result<Vec<u8>, KeyFailure> {
        let message = what.bytes();
        #[cfg(feature = "p256")]
        macro_rules! ecdsa {
            ($curve:ident, $key:expr) => {{
                let key = $curve::ecdsa::SigningKey::from($key);
                let signature: $curve::ecdsa::Signature = match &self.hedge {
                    Some(hedge) => key.try_sign_with_rng(&mut &*hedge, message),
                    None => key.try_sign(message),
                }
                .map_err(|_| KeyFailure::NotAKey)?;
                Ok(signature.to_bytes().to_vec())
            }};
        }
        match (&self.scalar, what.algorithm()) {
            (Scalar::Ed25519(key), SignatureAlgorithm::EdDsa) => {
                Ok(key.sign(message).to_bytes().to_vec())
            }
            #[cfg(feature = "p256")]
            (Scalar::P256(key), SignatureAlgorithm::Es256) => ecdsa!(p256, key),
            #[cfg(feature = "p384")]
            (Scalar::P384(key), SignatureAlgorithm::Es384) => ecdsa!(p384, key),
            #[cfg(feature = "p521")]
            (Scalar::P521(key), SignatureAlgorithm::Es512) => ecdsa!(p521, key),
            _ => Err(KeyFailure::Unsupported),
        }
    }

    fn agree(&self, with: &Agreement<'_>) -> Result<SharedSecret, KeyFailure> {
        let peer = with.peer();
        #[cfg(feature = "p256")]
        macro_rules! ecdh {
            ($key:expr, $peer:expr) => {
                $peer.map(|peer| Secret::copy_of($key.diffie_hellman(peer).raw_secret_bytes()))
            };
        }
        let secret = match &self.scalar {
            Scalar::Ed25519(key) => peer.ed25519_u().map(|u| {
                let scalar = Zeroizing::new(key.to_scalar_bytes());
                x25519(&x25519_dalek::StaticSecret::from(*scalar), u)
            }),
            Scalar::X25519(key) => peer.x25519_u().map(|u| x25519(key, u)),
            #[cfg(feature = "p256")]
            Scalar::P256(key) => ecdh!(key, peer.as_p256()),
            #[cfg(feature = "p384")]
            Scalar::P384(key) => ecdh!(key, peer.as_p384()),
            #[cfg(feature = "p521")]
            Scalar::P521(key) => ecdh!(key, peer.as_p521()),
        };
        refuse_zero(secret.ok_or(KeyFailure::CurveMismatch)?).map(SharedSecret::new)
    }
}

/// The bare operations, to try keys with.
#[cfg(test)]
impl SoftwareKey {
    pub(crate) fn sign_bytes(
        &self,
        algorithm: SignatureAlgorithm,
        bytes: &[u8],
    ) -> Result<Vec<u8>, KeyFailure> {
        self.sign(&ToBeSigned::message(algorithm, bytes))
    }

    pub(crate) fn agree_with(&self, peer: &PublicKey) -> Result<Secret, KeyFailure> {
        let shared = self.agree(&Agreement::with(peer))?;
        Ok(shared.secret().clone())
    }
}

impl fmt::Debug for SoftwareKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SoftwareKey({:?}, ..)", self.public)
    }
}

fn x25519(key: &x25519_dalek::StaticSecret, u: [u8; 32]) -> Secret {
    Secret::copy_of(
        key.diffie_hellman(&x25519_dalek::PublicKey::from(u))
            .as_bytes(),
    )
}

/// The last defence against keys that were not checked at import.
pub(super) fn refuse_zero(secret: Secret) -> Result<Secret, KeyFailure> {
    let zero = secret
        .as_bytes()
        .iter()
        .fold(0, |any, byte| any | byte)
        .ct_eq(&0);
    if zero.into() {
        Err(KeyFailure::ZeroSecret)
    } else {
        Ok(secret)
    }
}
