//! The algorithms of a group, by their COSE numbers (draft-ietf-core-oscore-groupcomm-28, section 2.1).

use core::fmt;

/// Why a set of algorithms is no suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuiteError {
    /// A128CBC, A192CBC or A256CBC, which no group may use (section 2.1.7).
    Forbidden(i32),
    /// Not an algorithm of this kind, or none that this implementation has rules for.
    Unknown(i32),
    /// An encryption algorithm that this build leaves out.
    Unavailable(i32),
    /// The Pairwise Key Agreement Algorithm names another hash function than the HKDF Algorithm (section 2.1.10).
    HkdfMismatch,
    /// Neither the group mode nor the pairwise mode has all of its algorithms.
    NoMode,
    /// The claimed security against collisions needs longer authentication tags (section 14.16).
    TagTooShort {
        /// What the claim needs, in bits.
        needed_bits: usize,
        /// What the Group Encryption Algorithm has, in bits.
        tag_bits: usize,
    },
}

impl fmt::Display for SuiteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SuiteError::Forbidden(id) => {
                write!(f, "algorithm {id} (AES-CBC) must not be used in a group")
            }
            SuiteError::Unknown(id) => write!(f, "algorithm {id} is not known for this use"),
            SuiteError::Unavailable(id) => write!(f, "algorithm {id} is left out of this build"),
            SuiteError::HkdfMismatch => {
                f.write_str("the key agreement names another hash function than the HKDF")
            }
            SuiteError::NoMode => {
                f.write_str("neither group mode nor pairwise mode has all of its algorithms")
            }
            SuiteError::TagTooShort {
                needed_bits,
                tag_bits,
            } => {
                write!(
                    f,
                    "that claim needs tags of {needed_bits} bits, the group encryption algorithm has {tag_bits}"
                )
            }
        }
    }
}

impl core::error::Error for SuiteError {}

/// What is allowed, but worth a word to whoever configures a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Tags of 8 bytes in group mode: whoever has the keys finds two messages with one tag in about 2^32 tries, and the
    /// countersignature of one is valid for the other (section 14.16).
    ShortGroupTag,
    /// Tags of 8 bytes in pairwise mode: a forgery succeeds once in 2^64 tries, instead of 2^128.
    ShortPairwiseTag,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Advice::ShortGroupTag => {
                "group mode has tags of 8 bytes: countersignatures resist collisions with 32 bits only; prefer 16 bytes"
            }
            Advice::ShortPairwiseTag => "pairwise mode has tags of 8 bytes; prefer 16 bytes",
        })
    }
}

/// Gives an enumeration of algorithms its numbers and names.
macro_rules! numbered {
    ($type:ident { $($variant:ident = $id:literal, $name:literal;)* }) => {
        impl $type {
            /// All of them, by number as in the COSE registry's table.
            pub const ALL: &'static [$type] = &[$($type::$variant),*];

            /// The number in the COSE registry.
            pub const fn id(self) -> i32 {
                match self { $($type::$variant => $id),* }
            }

            /// The one with this number in the COSE registry.
            pub const fn from_id(id: i32) -> Option<$type> {
                match id { $($id => Some($type::$variant),)* _ => None }
            }

            /// The name in the COSE registry.
            pub const fn name(self) -> &'static str {
                match self { $($type::$variant => $name),* }
            }

            /// The one with this name in the COSE registry, in upper or lower case.
            pub fn from_name(name: &str) -> Option<$type> {
                Self::ALL.iter().copied().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
            }
        }
    };
}

/// An encryption algorithm with authentication (RFC 9053, section 4). Names with two numbers say: bits of the length
/// field, bits of the tag, bits of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types, missing_docs)]
pub enum Aead {
    A128Gcm,
    A192Gcm,
    A256Gcm,
    AesCcm16_64_128,
    AesCcm16_64_256,
    AesCcm64_64_128,
    AesCcm64_64_256,
    ChaCha20Poly1305,
    AesCcm16_128_128,
    AesCcm16_128_256,
    AesCcm64_128_128,
    AesCcm64_128_256,
}

numbered!(Aead {
    A128Gcm = 1, "A128GCM";
    A192Gcm = 2, "A192GCM";
    A256Gcm = 3, "A256GCM";
    AesCcm16_64_128 = 10, "AES-CCM-16-64-128";
    AesCcm16_64_256 = 11, "AES-CCM-16-64-256";
    AesCcm64_64_128 = 12, "AES-CCM-64-64-128";
    AesCcm64_64_256 = 13, "AES-CCM-64-64-256";
    ChaCha20Poly1305 = 24, "ChaCha20/Poly1305";
    AesCcm16_128_128 = 30, "AES-CCM-16-128-128";
    AesCcm16_128_256 = 31, "AES-CCM-16-128-256";
    AesCcm64_128_128 = 32, "AES-CCM-64-128-128";
    AesCcm64_128_256 = 33, "AES-CCM-64-128-256";
});

impl Aead {
    /// Length of the key in bytes.
    pub const fn key_len(self) -> usize {
        use Aead::*;
        match self {
            A128Gcm | AesCcm16_64_128 | AesCcm64_64_128 | AesCcm16_128_128 | AesCcm64_128_128 => 16,
            A192Gcm => 24,
            A256Gcm | AesCcm16_64_256 | AesCcm64_64_256 | ChaCha20Poly1305 | AesCcm16_128_256
            | AesCcm64_128_256 => 32,
        }
    }

    /// Length of the nonce in bytes.
    pub const fn nonce_len(self) -> usize {
        use Aead::*;
        match self {
            AesCcm16_64_128 | AesCcm16_64_256 | AesCcm16_128_128 | AesCcm16_128_256 => 13,
            A128Gcm | A192Gcm | A256Gcm | ChaCha20Poly1305 => 12,
            AesCcm64_64_128 | AesCcm64_64_256 | AesCcm64_128_128 | AesCcm64_128_256 => 7,
        }
    }

    /// Whether this build has it: AES-CCM with keys of 256 bits needs the feature `ccm256`, AES-GCM `gcm`,
    /// ChaCha20/Poly1305 the feature of that name.
    pub const fn supported(self) -> bool {
        use Aead::*;
        match self {
            A128Gcm | A192Gcm | A256Gcm => cfg!(feature = "gcm"),
            ChaCha20Poly1305 => cfg!(feature = "chacha20poly1305"),
            AesCcm16_64_256 | AesCcm64_64_256 | AesCcm16_128_256 | AesCcm64_128_256 => {
                cfg!(feature = "ccm256")
            }
            AesCcm16_64_128 | AesCcm64_64_128 | AesCcm16_128_128 | AesCcm64_128_128 => true,
        }
    }

    /// Length of the authentication tag in bytes.
    pub const fn tag_len(self) -> usize {
        use Aead::*;
        match self {
            AesCcm16_64_128 | AesCcm16_64_256 | AesCcm64_64_128 | AesCcm64_64_256 => 8,
            _ => 16,
        }
    }
}

/// What encrypts messages in group mode: an AEAD, or AES in counter mode, whose integrity is the countersignature's alone
/// (section 2.1.7). Each algorithm here has its own rule for making the initial counter block of the nonce; there is no
/// default rule, so an algorithm that nobody has written one for cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum GroupEncryption {
    Aead(Aead),
    A128Ctr,
    A192Ctr,
    A256Ctr,
}

impl GroupEncryption {
    /// The number in the COSE registry.
    pub const fn id(self) -> i32 {
        match self {
            GroupEncryption::Aead(aead) => aead.id(),
            GroupEncryption::A128Ctr => -65534,
            GroupEncryption::A192Ctr => -65533,
            GroupEncryption::A256Ctr => -65532,
        }
    }

    /// The one with this number in the COSE registry; [`lookup`](Self::lookup) says why there is none.
    pub const fn from_id(id: i32) -> Option<GroupEncryption> {
        match id {
            -65534 => Some(GroupEncryption::A128Ctr),
            -65533 => Some(GroupEncryption::A192Ctr),
            -65532 => Some(GroupEncryption::A256Ctr),
            _ => match Aead::from_id(id) {
                Some(aead) => Some(GroupEncryption::Aead(aead)),
                None => None,
            },
        }
    }

    /// As [`from_id`](Self::from_id).
    ///
    /// # Errors
    /// [`SuiteError::Forbidden`] for A128CBC, A192CBC and A256CBC, [`SuiteError::Unknown`] for what is not known.
    pub const fn lookup(id: i32) -> Result<GroupEncryption, SuiteError> {
        match (Self::from_id(id), id) {
            (Some(algorithm), _) => Ok(algorithm),
            (None, -65531..=-65529) => Err(SuiteError::Forbidden(id)),
            (None, _) => Err(SuiteError::Unknown(id)),
        }
    }

    /// The name in the COSE registry.
    pub const fn name(self) -> &'static str {
        match self {
            GroupEncryption::Aead(aead) => aead.name(),
            GroupEncryption::A128Ctr => "A128CTR",
            GroupEncryption::A192Ctr => "A192CTR",
            GroupEncryption::A256Ctr => "A256CTR",
        }
    }

    /// The one with this name in the COSE registry, in upper or lower case.
    pub fn from_name(name: &str) -> Option<GroupEncryption> {
        [
            GroupEncryption::A128Ctr,
            GroupEncryption::A192Ctr,
            GroupEncryption::A256Ctr,
        ]
        .into_iter()
        .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
        .or_else(|| Aead::from_name(name).map(GroupEncryption::Aead))
    }

    /// Length of the key in bytes.
    pub const fn key_len(self) -> usize {
        match self {
            GroupEncryption::Aead(aead) => aead.key_len(),
            GroupEncryption::A128Ctr => 16,
            GroupEncryption::A192Ctr => 24,
            GroupEncryption::A256Ctr => 32,
        }
    }

    /// Length of the nonce in bytes; 12 in counter mode.
    pub const fn nonce_len(self) -> usize {
        match self {
            GroupEncryption::Aead(aead) => aead.nonce_len(),
            _ => 12,
        }
    }

    /// Whether this build has it: counter mode needs the feature `counter`.
    pub const fn supported(self) -> bool {
        match self {
            GroupEncryption::Aead(aead) => aead.supported(),
            _ => cfg!(feature = "counter"),
        }
    }

    /// Length of the authentication tag in bytes; 0 in counter mode.
    pub const fn tag_len(self) -> usize {
        match self {
            GroupEncryption::Aead(aead) => aead.tag_len(),
            _ => 0,
        }
    }
}

/// The key derivation function, HKDF (RFC 5869), named by its HMAC (section 2.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Hkdf {
    Sha256,
    Sha512,
}

numbered!(Hkdf {
    Sha256 = 5, "HMAC 256/256";
    Sha512 = 7, "HMAC 512/512";
});

/// The Signature Algorithm (section 2.1.8). `EdDsa` is pure Ed25519; no variant here hashes the message first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum SignatureAlgorithm {
    EdDsa,
    Es256,
    Es384,
    Es512,
}

numbered!(SignatureAlgorithm {
    EdDsa = -8, "EdDSA";
    Es256 = -7, "ES256";
    Es384 = -35, "ES384";
    Es512 = -36, "ES512";
});

impl SignatureAlgorithm {
    /// Length of a signature in bytes.
    pub const fn signature_len(self) -> usize {
        match self {
            SignatureAlgorithm::EdDsa | SignatureAlgorithm::Es256 => 64,
            SignatureAlgorithm::Es384 => 96,
            SignatureAlgorithm::Es512 => 132,
        }
    }
}

/// The Pairwise Key Agreement Algorithm: direct static-static ECDH (section 2.1.10). The curve is the credentials' own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum KeyAgreement {
    EcdhSsHkdf256,
    EcdhSsHkdf512,
}

numbered!(KeyAgreement {
    EcdhSsHkdf256 = -27, "ECDH-SS + HKDF-256";
    EcdhSsHkdf512 = -28, "ECDH-SS + HKDF-512";
});

impl KeyAgreement {
    /// The HKDF that its name contains.
    pub const fn hkdf(self) -> Hkdf {
        match self {
            KeyAgreement::EcdhSsHkdf256 => Hkdf::Sha256,
            KeyAgreement::EcdhSsHkdf512 => Hkdf::Sha512,
        }
    }
}

/// The algorithms in the Common Context of a group. What is not set is `None`, and enters the authenticated data as null.
///
/// The default is the one of our tools: AES-CCM-16-128-128 for both modes, EdDSA, ECDH-SS + HKDF-256, HKDF SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suite {
    hkdf: Hkdf,
    aead: Option<Aead>,
    group_encryption: Option<GroupEncryption>,
    signature: Option<SignatureAlgorithm>,
    key_agreement: Option<KeyAgreement>,
}

impl Default for Suite {
    fn default() -> Suite {
        Suite {
            hkdf: Hkdf::Sha256,
            aead: Some(Aead::AesCcm16_128_128),
            group_encryption: Some(GroupEncryption::Aead(Aead::AesCcm16_128_128)),
            signature: Some(SignatureAlgorithm::EdDsa),
            key_agreement: Some(KeyAgreement::EcdhSsHkdf256),
        }
    }
}

impl Suite {
    /// A suite of these algorithms.
    ///
    /// # Errors
    /// [`SuiteError::HkdfMismatch`] when the key agreement names another hash function than `hkdf`;
    /// [`SuiteError::NoMode`] when neither mode has all of its algorithms; [`SuiteError::Unavailable`] for an encryption
    /// algorithm that this build leaves out.
    pub fn new(
        hkdf: Hkdf,
        aead: Option<Aead>,
        group_encryption: Option<GroupEncryption>,
        signature: Option<SignatureAlgorithm>,
        key_agreement: Option<KeyAgreement>,
    ) -> Result<Suite, SuiteError> {
        if key_agreement.is_some_and(|agreement| agreement.hkdf() != hkdf) {
            return Err(SuiteError::HkdfMismatch);
        }
        let mut used = aead
            .map(GroupEncryption::Aead)
            .into_iter()
            .chain(group_encryption);
        if let Some(it) = used.find(|it| !it.supported()) {
            return Err(SuiteError::Unavailable(it.id()));
        }
        let suite = Suite {
            hkdf,
            aead,
            group_encryption,
            signature,
            key_agreement,
        };
        if !suite.has_group_mode() && !suite.has_pairwise_mode() {
            return Err(SuiteError::NoMode);
        }
        Ok(suite)
    }

    /// A suite of the algorithms with these COSE numbers, as a configuration or a Group Manager names them.
    ///
    /// # Errors
    /// As [`Suite::new`]; [`SuiteError::Forbidden`] for AES-CBC; [`SuiteError::Unknown`] for a number that is no algorithm
    /// of the kind its place asks for.
    pub fn from_ids(
        hkdf: i32,
        aead: Option<i32>,
        group_encryption: Option<i32>,
        signature: Option<i32>,
        key_agreement: Option<i32>,
    ) -> Result<Suite, SuiteError> {
        fn known<T>(
            id: Option<i32>,
            from_id: fn(i32) -> Option<T>,
        ) -> Result<Option<T>, SuiteError> {
            id.map(|id| from_id(id).ok_or(SuiteError::Unknown(id)))
                .transpose()
        }
        let aead = match aead {
            Some(id @ -65531..=-65529) => return Err(SuiteError::Forbidden(id)),
            aead => known(aead, Aead::from_id)?,
        };
        Suite::new(
            Hkdf::from_id(hkdf).ok_or(SuiteError::Unknown(hkdf))?,
            aead,
            group_encryption.map(GroupEncryption::lookup).transpose()?,
            known(signature, SignatureAlgorithm::from_id)?,
            known(key_agreement, KeyAgreement::from_id)?,
        )
    }

    /// The HKDF Algorithm.
    pub const fn hkdf(&self) -> Hkdf {
        self.hkdf
    }

    /// The AEAD Algorithm, which protects in pairwise mode.
    pub const fn aead(&self) -> Option<Aead> {
        self.aead
    }

    /// The Group Encryption Algorithm, which encrypts in group mode.
    pub const fn group_encryption(&self) -> Option<GroupEncryption> {
        self.group_encryption
    }

    /// The Signature Algorithm, which signs in group mode.
    pub const fn signature(&self) -> Option<SignatureAlgorithm> {
        self.signature
    }

    /// The Pairwise Key Agreement Algorithm.
    pub const fn key_agreement(&self) -> Option<KeyAgreement> {
        self.key_agreement
    }

    /// Whether the group mode is used: Group Encryption Algorithm and Signature Algorithm are set (sections 2.1.7, 2.1.8).
    pub const fn has_group_mode(&self) -> bool {
        self.group_encryption.is_some() && self.signature.is_some()
    }

    /// Whether the pairwise mode is used: AEAD Algorithm and Pairwise Key Agreement Algorithm are set (sections 2.1.1,
    /// 2.1.10).
    pub const fn has_pairwise_mode(&self) -> bool {
        self.aead.is_some() && self.key_agreement.is_some()
    }

    /// Length of the Common IV in bytes: the longer nonce of the algorithms that are set (section 2.1.4).
    pub fn common_iv_len(&self) -> usize {
        self.nonce_lens().max().unwrap_or(0)
    }

    /// The longest Sender ID in bytes: the shorter nonce of the algorithms that are set, less 6 (section 2.2).
    pub fn max_sender_id_len(&self) -> usize {
        self.nonce_lens().min().unwrap_or(0).saturating_sub(6)
    }

    /// Number and key length of the algorithm that Sender Keys, Recipient Keys and the Common IV are derived for: the Group
    /// Encryption Algorithm if it is set, else the AEAD Algorithm (section 2.3).
    pub(crate) fn key_algorithm(&self) -> Option<(i32, usize)> {
        let group = self
            .group_encryption
            .map(|algorithm| (algorithm.id(), algorithm.key_len()));
        group.or(self
            .aead
            .map(|algorithm| (algorithm.id(), algorithm.key_len())))
    }

    fn nonce_lens(&self) -> impl Iterator<Item = usize> {
        let group = self.group_encryption.map(GroupEncryption::nonce_len);
        group.into_iter().chain(self.aead.map(Aead::nonce_len))
    }

    /// What whoever configures this suite should hear. Nothing of it stops a group from starting.
    pub fn lint(&self) -> impl Iterator<Item = Advice> {
        let group = self.has_group_mode()
            && self
                .group_encryption
                .is_some_and(|algorithm| algorithm.tag_len() == 8);
        let pairwise =
            self.has_pairwise_mode() && self.aead.is_some_and(|algorithm| algorithm.tag_len() == 8);
        let advice = [
            group.then_some(Advice::ShortGroupTag),
            pairwise.then_some(Advice::ShortPairwiseTag),
        ];
        advice.into_iter().flatten()
    }

    /// Checks the claim that countersigned ciphertexts of this suite resist collisions with so many bits: that takes tags
    /// twice as long (section 14.16). No algorithm here satisfies a claim of 128 bits. A group with a claim that fails must
    /// not start.
    ///
    /// # Errors
    /// [`SuiteError::TagTooShort`].
    pub fn claim_collision_resistance(&self, bits: usize) -> Result<(), SuiteError> {
        let tag_bits = self.group_encryption.map_or(0, GroupEncryption::tag_len) * 8;
        let needed_bits = bits.saturating_mul(2);
        if tag_bits < needed_bits {
            return Err(SuiteError::TagTooShort {
                needed_bits,
                tag_bits,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
