//! Authentication credentials: opaque bytes in the protocol, read once for the public key (draft section 2.4).
//!
//! The bytes that the Group Manager distributes enter keys and authenticated data exactly as they are, never encoded
//! again, however odd their encoding. Only a tag around a CWT or CCS is dropped, and of a chain or bag only the credential of the
//! end entity is kept, as the text wants it. Who vouches for a credential is the Group Manager; its own signature is not verified.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::crypto::{Curve, KeyRefused, PublicKey};
use crate::suite::Suite;

mod ccs;
#[cfg(feature = "cwt")]
mod cwt;
mod item;
#[cfg(feature = "x509")]
mod x509;

/// The encoding of credentials in a group, by the number of its COSE header parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialFormat {
    /// CBOR Web Token (RFC 8392): a signed CCS. With the feature `cwt`.
    Cwt,
    /// CWT Claims Set (RFC 8392), unsigned.
    Ccs,
    /// X.509 certificate (RFC 5280), in DER. With the feature `x509`.
    X509,
}

impl CredentialFormat {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::Cwt, Self::Ccs, Self::X509];

    /// The number in the COSE registry of header parameters.
    pub const fn id(self) -> i32 {
        match self {
            Self::Cwt => 13,
            Self::Ccs => 14,
            Self::X509 => 33,
        }
    }

    /// The one with this number.
    pub fn from_id(id: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.id() == id)
    }

    /// The name in the COSE registry of header parameters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cwt => "kcwt",
            Self::Ccs => "kccs",
            Self::X509 => "x5chain",
        }
    }

    /// The one with this name, in upper or lower case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|format| format.name().eq_ignore_ascii_case(name))
    }

    /// Whether this build can read it.
    pub const fn supported(self) -> bool {
        match self {
            Self::Ccs => true,
            Self::Cwt => cfg!(feature = "cwt"),
            Self::X509 => cfg!(feature = "x509"),
        }
    }
}

/// Why a credential is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialRefused {
    /// This build does not read this format.
    FormatUnavailable,
    /// Longer than [`Credential::MAX_LEN`], or nested deeper than any credential.
    TooLarge,
    /// Not of the format of the group.
    Malformed,
    /// No public key in it.
    NoKey,
    /// Type, curve or coordinate of the key is missing, or they contradict each other.
    KeyIncomplete,
    /// A private or symmetric key is in it. It must not be given to anybody.
    SecretInside,
    /// Of several certificates it is not clear which one is the end entity's.
    NoEndEntity,
    /// The public key itself.
    Key(KeyRefused),
    /// The key is not of the kind that the algorithms of the group need (draft section 2.4).
    WrongAlgorithm,
}

impl fmt::Display for CredentialRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FormatUnavailable => "this build does not read credentials of this format",
            Self::TooLarge => "the credential is too long or nested too deep",
            Self::Malformed => "the credential is not of the group's format",
            Self::NoKey => "the credential holds no public key",
            Self::KeyIncomplete => {
                "type, curve or coordinates of the public key are missing or contradict each other"
            }
            Self::SecretInside => "the credential holds a secret key, which nobody else may have",
            Self::NoEndEntity => "it is not clear which of the certificates is the end entity's",
            Self::Key(refused) => return refused.fmt(f),
            Self::WrongAlgorithm => {
                "the key is not of the kind that the algorithms of the group need"
            }
        })
    }
}

impl core::error::Error for CredentialRefused {}

impl From<KeyRefused> for CredentialRefused {
    fn from(refused: KeyRefused) -> Self {
        Self::Key(refused)
    }
}

/// An authentication credential with its public key, which passed all checks.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    format: CredentialFormat,
    bytes: Box<[u8]>,
    key: PublicKey,
    subject: Option<Box<str>>,
}

/// What a format's reader finds: the bytes to keep, the key, the subject.
struct Found<'a> {
    bytes: &'a [u8],
    key: PublicKey,
    subject: Option<Box<str>>,
}

impl Credential {
    /// The longest credential, chains and tags included.
    pub const MAX_LEN: usize = 8192;

    /// Reads a credential as a Group Manager or a configuration gives it: tagged or not, alone or in a chain or bag.
    /// Never panics, whatever the bytes; time and memory are bounded by their length.
    pub fn import(format: CredentialFormat, bytes: &[u8]) -> Result<Self, CredentialRefused> {
        if bytes.len() > Self::MAX_LEN {
            return Err(CredentialRefused::TooLarge);
        }
        let found = match format {
            CredentialFormat::Ccs => ccs::import(bytes)?,
            #[cfg(feature = "cwt")]
            CredentialFormat::Cwt => cwt::import(bytes)?,
            #[cfg(feature = "x509")]
            CredentialFormat::X509 => x509::import(bytes)?,
            #[cfg(not(all(feature = "cwt", feature = "x509")))]
            _ => return Err(CredentialRefused::FormatUnavailable),
        };
        Ok(Self {
            format,
            bytes: found.bytes.into(),
            key: found.key,
            subject: found.subject,
        })
    }

    /// Whether the key suits the algorithms of a group: that of the Signature Algorithm where there is a group mode, else
    /// one made for key agreement (draft section 2.4).
    pub fn check_usable(&self, suite: &Suite) -> Result<(), CredentialRefused> {
        let usable = if suite.has_group_mode() {
            self.usable_for_signing(suite)
        } else {
            self.usable_for_agreement(suite)
        };
        if usable {
            Ok(())
        } else {
            Err(CredentialRefused::WrongAlgorithm)
        }
    }

    /// Whether messages signed with the key can be verified in a group with these algorithms.
    pub fn usable_for_signing(&self, suite: &Suite) -> bool {
        suite.has_group_mode()
            && self
                .key
                .curve()
                .signature()
                .is_some_and(|algorithm| suite.signature() == Some(algorithm))
    }

    /// Whether pairwise keys can be agreed with the key in a group with these algorithms. An Ed25519 key can, by its
    /// Montgomery form, where the group signs with EdDSA; in a group without group mode it is the wrong kind of key.
    pub fn usable_for_agreement(&self, suite: &Suite) -> bool {
        if !suite.has_pairwise_mode() {
            return false;
        }
        match self.key.curve() {
            Curve::X25519 => !suite.has_group_mode(),
            Curve::Ed25519 => self.usable_for_signing(suite),
            Curve::P256 | Curve::P384 | Curve::P521 => {
                !suite.has_group_mode() || self.usable_for_signing(suite)
            }
        }
    }

    /// The format.
    pub const fn format(&self) -> CredentialFormat {
        self.format
    }

    /// The bytes as stored and used: untagged, the end entity's only, otherwise as they came.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The public key.
    pub const fn public_key(&self) -> &PublicKey {
        &self.key
    }

    /// Whom the credential names, for people: the subject claim, or the subject of a certificate.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// A CCS of this key: `{2: subject, 8: {1: key}}`, and `{8: {1: key}}` for an empty subject.
    pub fn build_ccs(subject: &str, key: &PublicKey) -> Vec<u8> {
        ccs::build(subject, key)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("format", &self.format)
            .field("subject", &self.subject)
            .field("key", &self.key)
            .field("len", &self.bytes.len())
            .finish()
    }
}

#[cfg(test)]
mod tests;
