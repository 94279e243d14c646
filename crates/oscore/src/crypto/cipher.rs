//! Encryption with and without authentication.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use aead::{AeadInOut, KeyInit, Nonce, Tag};
use aes::Aes128;
#[cfg(any(feature = "gcm", feature = "counter"))]
use aes::Aes192;
#[cfg(any(feature = "ccm256", feature = "gcm", feature = "counter"))]
use aes::Aes256;
#[cfg(feature = "gcm")]
use aes::cipher::consts::U12;
use aes::cipher::consts::{U7, U8, U13, U16};
#[cfg(feature = "counter")]
use aes::cipher::{InnerIvInit, StreamCipher, StreamCipherCoreWrapper};
#[cfg(feature = "gcm")]
use aes_gcm::AesGcm;
use ccm::Ccm;
use ccm::aead;
#[cfg(feature = "chacha20poly1305")]
use chacha20poly1305::ChaCha20Poly1305;
#[cfg(feature = "counter")]
use ctr::{CtrCore, flavors::Ctr32BE};
use zeroize::Zeroize;

use super::CryptoError;
use crate::suite::{Aead, GroupEncryption};

/// A key of an AEAD with its schedule, ready for many messages. Overwritten when dropped.
pub struct AeadKey(Schedule);

/// One variant for each AEAD: what the library calls it.
macro_rules! schedules {
    ($($(#[$feature:meta])? $variant:ident($cipher:ty),)*) => {
        // Each in a place of its own size: moved about in an enumeration, the unused bytes of the smaller ones would carry
        // remains of keys that nobody overwrites.
        #[allow(non_camel_case_types)]
        enum Schedule { $($(#[$feature])? $variant(Box<$cipher>)),* }

        impl AeadKey {
            /// Prepares a key.
            ///
            /// # Errors
            /// [`CryptoError::Length`] when it is not as long as the algorithm's keys are; [`CryptoError::Unavailable`]
            /// when this build leaves the algorithm out.
            pub fn new(algorithm: Aead, key: &[u8]) -> Result<AeadKey, CryptoError> {
                Ok(AeadKey(match algorithm {
                    $($(#[$feature])? Aead::$variant => Schedule::$variant(Box::new(
                        <$cipher>::new_from_slice(key).map_err(|_| CryptoError::Length)?
                    )),)*
                    #[cfg(not(all(feature = "ccm256", feature = "gcm", feature = "chacha20poly1305")))]
                    _ => return Err(CryptoError::Unavailable),
                }))
            }

            /// The algorithm.
            pub fn algorithm(&self) -> Aead {
                match &self.0 { $($(#[$feature])? Schedule::$variant(_) => Aead::$variant),* }
            }

            /// Encrypts what is in `buffer` from `start` on, and appends the tag.
            ///
            /// # Errors
            /// [`CryptoError::Length`] when the nonce is not as long as the algorithm's nonces are, or the message too
            /// long for it (65,535 bytes with nonces of 13 bytes). What was to be encrypted is then gone from `buffer`.
            pub fn seal_from(
                &self, nonce: &[u8], aad: &[u8], buffer: &mut Vec<u8>, start: usize,
            ) -> Result<(), CryptoError> {
                match &self.0 { $($(#[$feature])? Schedule::$variant(cipher) => seal(&**cipher, nonce, aad, buffer, start)),* }
            }

            /// Decrypts what is in `buffer` from `start` on, and takes the tag away.
            ///
            /// # Errors
            /// [`CryptoError::NotAuthentic`], also for what is too short to have a tag; [`CryptoError::Length`] when the
            /// nonce is not as long as the algorithm's nonces are. What was to be decrypted is then gone from `buffer`.
            pub fn open_from(
                &self, nonce: &[u8], aad: &[u8], buffer: &mut Vec<u8>, start: usize,
            ) -> Result<(), CryptoError> {
                match &self.0 { $($(#[$feature])? Schedule::$variant(cipher) => open(&**cipher, nonce, aad, buffer, start)),* }
            }
        }
    };
}

schedules! {
    #[cfg(feature = "gcm")]
    A128Gcm(AesGcm<Aes128, U12>),
    #[cfg(feature = "gcm")]
    A192Gcm(AesGcm<Aes192, U12>),
    #[cfg(feature = "gcm")]
    A256Gcm(AesGcm<Aes256, U12>),
    AesCcm16_64_128(Ccm<Aes128, U8, U13>),
    #[cfg(feature = "ccm256")]
    AesCcm16_64_256(Ccm<Aes256, U8, U13>),
    AesCcm64_64_128(Ccm<Aes128, U8, U7>),
    #[cfg(feature = "ccm256")]
    AesCcm64_64_256(Ccm<Aes256, U8, U7>),
    #[cfg(feature = "chacha20poly1305")]
    ChaCha20Poly1305(ChaCha20Poly1305),
    AesCcm16_128_128(Ccm<Aes128, U16, U13>),
    #[cfg(feature = "ccm256")]
    AesCcm16_128_256(Ccm<Aes256, U16, U13>),
    AesCcm64_128_128(Ccm<Aes128, U16, U7>),
    #[cfg(feature = "ccm256")]
    AesCcm64_128_256(Ccm<Aes256, U16, U7>),
}

impl AeadKey {
    /// Encrypts `buffer` and appends the tag.
    ///
    /// # Errors
    /// As [`seal_from`](Self::seal_from).
    pub fn seal(&self, nonce: &[u8], aad: &[u8], buffer: &mut Vec<u8>) -> Result<(), CryptoError> {
        self.seal_from(nonce, aad, buffer, 0)
    }

    /// Decrypts `buffer`, whose end is the tag.
    ///
    /// # Errors
    /// As [`open_from`](Self::open_from).
    pub fn open(&self, nonce: &[u8], aad: &[u8], buffer: &mut Vec<u8>) -> Result<(), CryptoError> {
        self.open_from(nonce, aad, buffer, 0)
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AeadKey({}, ..)", self.algorithm().name())
    }
}

fn seal<C: AeadInOut>(
    cipher: &C,
    nonce: &[u8],
    aad: &[u8],
    buffer: &mut Vec<u8>,
    start: usize,
) -> Result<(), CryptoError> {
    let sealed = Nonce::<C>::try_from(nonce).ok().and_then(|nonce| {
        let message = buffer.get_mut(start..)?;
        cipher
            .encrypt_inout_detached(&nonce, aad, message.into())
            .ok()
    });
    let Some(tag) = sealed else {
        discard(buffer, start);
        return Err(CryptoError::Length);
    };
    buffer.extend_from_slice(&tag);
    Ok(())
}

fn open<C: AeadInOut>(
    cipher: &C,
    nonce: &[u8],
    aad: &[u8],
    buffer: &mut Vec<u8>,
    start: usize,
) -> Result<(), CryptoError> {
    let opened = match Nonce::<C>::try_from(nonce) {
        Ok(nonce) => open_tagged(
            cipher,
            &nonce,
            aad,
            buffer.get_mut(start..).unwrap_or_default(),
        ),
        Err(_) => Err(CryptoError::Length),
    };
    match opened {
        Ok(len) => buffer.truncate(start + len),
        Err(_) => discard(buffer, start),
    }
    opened.map(drop)
}

/// Length of the plaintext, which then stands at the beginning of `sealed`.
fn open_tagged<C: AeadInOut>(
    cipher: &C,
    nonce: &Nonce<C>,
    aad: &[u8],
    sealed: &mut [u8],
) -> Result<usize, CryptoError> {
    let len = sealed
        .len()
        .checked_sub(Tag::<C>::default().len())
        .ok_or(CryptoError::NotAuthentic)?;
    let (ciphertext, tag) = sealed
        .split_at_mut_checked(len)
        .ok_or(CryptoError::NotAuthentic)?;
    let tag = Tag::<C>::try_from(&*tag).map_err(|_| CryptoError::NotAuthentic)?;
    cipher
        .decrypt_inout_detached(nonce, aad, ciphertext.into(), &tag)
        .map_err(|_| CryptoError::NotAuthentic)?;
    Ok(len)
}

/// Nothing half done is left behind.
fn discard(buffer: &mut Vec<u8>, start: usize) {
    if let Some(rest) = buffer.get_mut(start..) {
        rest.zeroize();
    }
    buffer.truncate(start);
}

/// A key of a Group Encryption Algorithm with its schedule. Overwritten when dropped.
///
/// In counter mode nothing is authenticated: the additional data never reaches the cipher, and whoever opens has verified
/// the countersignature before.
pub struct GroupKey(GroupSchedule);

enum GroupSchedule {
    Aead(AeadKey),
    #[cfg(feature = "counter")]
    A128Ctr(Box<Aes128>),
    #[cfg(feature = "counter")]
    A192Ctr(Box<Aes192>),
    #[cfg(feature = "counter")]
    A256Ctr(Box<Aes256>),
}

impl GroupKey {
    /// Prepares a key.
    ///
    /// # Errors
    /// As [`AeadKey::new`].
    pub fn new(algorithm: GroupEncryption, key: &[u8]) -> Result<GroupKey, CryptoError> {
        #[cfg(feature = "counter")]
        let wrong = |_| CryptoError::Length;
        Ok(GroupKey(match algorithm {
            GroupEncryption::Aead(aead) => GroupSchedule::Aead(AeadKey::new(aead, key)?),
            #[cfg(feature = "counter")]
            GroupEncryption::A128Ctr => {
                GroupSchedule::A128Ctr(Box::new(Aes128::new_from_slice(key).map_err(wrong)?))
            }
            #[cfg(feature = "counter")]
            GroupEncryption::A192Ctr => {
                GroupSchedule::A192Ctr(Box::new(Aes192::new_from_slice(key).map_err(wrong)?))
            }
            #[cfg(feature = "counter")]
            GroupEncryption::A256Ctr => {
                GroupSchedule::A256Ctr(Box::new(Aes256::new_from_slice(key).map_err(wrong)?))
            }
            #[cfg(not(feature = "counter"))]
            _ => return Err(CryptoError::Unavailable),
        }))
    }

    /// The algorithm.
    pub fn algorithm(&self) -> GroupEncryption {
        match &self.0 {
            GroupSchedule::Aead(key) => GroupEncryption::Aead(key.algorithm()),
            #[cfg(feature = "counter")]
            GroupSchedule::A128Ctr(_) => GroupEncryption::A128Ctr,
            #[cfg(feature = "counter")]
            GroupSchedule::A192Ctr(_) => GroupEncryption::A192Ctr,
            #[cfg(feature = "counter")]
            GroupSchedule::A256Ctr(_) => GroupEncryption::A256Ctr,
        }
    }

    /// Encrypts what is in `buffer` from `start` on, and appends the tag if the algorithm has one.
    ///
    /// # Errors
    /// As [`AeadKey::seal_from`]; the limit in counter mode is 2^36 bytes.
    pub fn seal_from(
        &self,
        nonce: &[u8],
        aad: &[u8],
        buffer: &mut Vec<u8>,
        start: usize,
    ) -> Result<(), CryptoError> {
        match &self.0 {
            GroupSchedule::Aead(key) => key.seal_from(nonce, aad, buffer, start),
            #[cfg(feature = "counter")]
            _ => self.count(nonce, buffer, start),
        }
    }

    /// Decrypts what is in `buffer` from `start` on, and takes the tag away if the algorithm has one.
    ///
    /// # Errors
    /// As [`AeadKey::open_from`]; the limit in counter mode is 2^36 bytes.
    pub fn open_from(
        &self,
        nonce: &[u8],
        aad: &[u8],
        buffer: &mut Vec<u8>,
        start: usize,
    ) -> Result<(), CryptoError> {
        match &self.0 {
            GroupSchedule::Aead(key) => key.open_from(nonce, aad, buffer, start),
            #[cfg(feature = "counter")]
            _ => self.count(nonce, buffer, start),
        }
    }

    /// Encrypts `buffer`.
    ///
    /// # Errors
    /// As [`seal_from`](Self::seal_from).
    pub fn seal(&self, nonce: &[u8], aad: &[u8], buffer: &mut Vec<u8>) -> Result<(), CryptoError> {
        self.seal_from(nonce, aad, buffer, 0)
    }

    /// Decrypts `buffer`.
    ///
    /// # Errors
    /// As [`open_from`](Self::open_from).
    pub fn open(&self, nonce: &[u8], aad: &[u8], buffer: &mut Vec<u8>) -> Result<(), CryptoError> {
        self.open_from(nonce, aad, buffer, 0)
    }

    #[cfg(feature = "counter")]
    fn count(&self, nonce: &[u8], buffer: &mut Vec<u8>, start: usize) -> Result<(), CryptoError> {
        let counted = initial_counter(nonce).and_then(|counter| {
            let message = buffer.get_mut(start..)?;
            counter_allows(message.len() as u64).then_some(())?;
            macro_rules! apply {
                ($cipher:expr) => {{
                    let core = CtrCore::<_, Ctr32BE>::inner_iv_init($cipher, &counter.into());
                    StreamCipherCoreWrapper::from_core(core)
                        .try_apply_keystream(message)
                        .ok()
                }};
            }
            match &self.0 {
                GroupSchedule::Aead(_) => None,
                GroupSchedule::A128Ctr(cipher) => apply!(&**cipher),
                GroupSchedule::A192Ctr(cipher) => apply!(&**cipher),
                GroupSchedule::A256Ctr(cipher) => apply!(&**cipher),
            }
        });
        if counted.is_none() {
            discard(buffer, start);
        }
        counted.ok_or(CryptoError::Length)
    }
}

impl fmt::Debug for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupKey({}, ..)", self.algorithm().name())
    }
}

/// The initial counter block in counter mode: the nonce of 12 bytes, then four zero bytes that count the blocks (draft,
/// section 2.1.7).
#[cfg(feature = "counter")]
pub(super) fn initial_counter(nonce: &[u8]) -> Option<[u8; 16]> {
    let nonce: &[u8; 12] = nonce.try_into().ok()?;
    let mut block = [0; 16];
    block.first_chunk_mut::<12>()?.copy_from_slice(nonce);
    Some(block)
}

/// Whether a message of so many bytes may be processed in counter mode: up to 2^36, which is when the four bytes that count
/// the blocks are used up.
#[cfg(feature = "counter")]
pub(super) const fn counter_allows(len: u64) -> bool {
    len <= 1 << 36
}
