//! Proof that somebody has a private key, and the Group Manager's credential, which is used only with such a proof or on the
//! word of the operator (draft section 2.1.6; draft-ietf-ace-key-groupcomm-oscore, sections 6.1 to 6.3).

use alloc::vec::Vec;
use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::cbor;
use crate::credential::{Credential, CredentialFormat, CredentialRefused};
use crate::crypto::{Agreement, KeyFailure, PrivateKey, PublicKey, ToBeSigned, hkdf, verify};
use crate::suite::{Hkdf, Suite};

/// The length of a proof in a group without signatures, in bytes.
const MAC_LEN: usize = 8;

/// What a proof of possession covers: the challenges of both sides. One proof serves for one exchange, so that a challenge is
/// random and never given twice; 8 bytes or more are recommended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    input: Vec<u8>,
}

impl Proof {
    /// The Group Manager proves to a member, or to a signature checker, that it has its private key: over the challenge
    /// N_C of the one who asks ('cnonce') and the nonce N_KDC of the Group Manager ('kdc_nonce').
    pub fn of_manager(n_c: &[u8], n_kdc: &[u8]) -> Proof {
        Proof::over(&[n_c, n_kdc])
    }

    /// Whoever joins proves to the Group Manager that it has its private key: over the 'scope' of the Join Request, the
    /// challenge N_S of the Group Manager and its own N_C.
    pub fn of_member(scope: &[u8], n_s: &[u8], n_c: &[u8]) -> Proof {
        Proof::over(&[scope, n_s, n_c])
    }

    fn over(parts: &[&[u8]]) -> Proof {
        let mut input = Vec::new();
        for part in parts {
            cbor::bytes(&mut input, part);
        }
        Proof { input }
    }

    /// The PoP input.
    pub fn as_bytes(&self) -> &[u8] {
        &self.input
    }

    /// Makes the evidence: a signature, or in a group without group mode a MAC with the key that is agreed on with `peer`, who
    /// will look at it.
    ///
    /// # Errors
    /// [`KeyFailure`]; `Unsupported` also for a group with neither mode.
    pub fn make(
        &self,
        suite: &Suite,
        key: &dyn PrivateKey,
        peer: &PublicKey,
    ) -> Result<Vec<u8>, KeyFailure> {
        match suite.signature().filter(|_| suite.has_group_mode()) {
            Some(algorithm) => key.sign(&ToBeSigned::possession(algorithm, &self.input)),
            None => Ok(self.mac(suite, key, peer)?.to_vec()),
        }
    }

    /// Looks at evidence of whoever has the private key that belongs to `of`. The own `key` is needed for a MAC, not for a signature.
    ///
    /// # Errors
    /// [`ProofRefused`].
    pub fn check(
        &self,
        suite: &Suite,
        of: &PublicKey,
        evidence: &[u8],
        key: Option<&dyn PrivateKey>,
    ) -> Result<(), ProofRefused> {
        if let Some(algorithm) = suite.signature().filter(|_| suite.has_group_mode()) {
            let verdict = verify(of, algorithm, &self.input, evidence);
            return verdict.map_err(|_| ProofRefused::NotProven);
        }
        let key = key.ok_or(ProofRefused::NoKey)?;
        let mac = self.mac(suite, key, of).map_err(ProofRefused::Key)?;
        match bool::from(mac.as_slice().ct_eq(evidence)) {
            true => Ok(()),
            false => Err(ProofRefused::NotProven),
        }
    }

    fn mac(
        &self,
        suite: &Suite,
        key: &dyn PrivateKey,
        peer: &PublicKey,
    ) -> Result<Zeroizing<[u8; MAC_LEN]>, KeyFailure> {
        if !suite.has_pairwise_mode() {
            return Err(KeyFailure::Unsupported);
        }
        let shared = key.agree(&Agreement::with(peer))?;
        let mut mac = Zeroizing::new([0; MAC_LEN]);
        // The hash is SHA-256, whatever that of the group is.
        let ikm = [shared.secret().as_bytes()];
        hkdf(Hkdf::Sha256, &[], &ikm, &self.input, &mut *mac)
            .map_err(|_| KeyFailure::Unsupported)?;
        Ok(mac)
    }
}

/// Why a proof of possession does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofRefused {
    /// It is not by the private key that belongs to the credential, or over other challenges.
    NotProven,
    /// The credential cannot be used in the group.
    Credential(CredentialRefused),
    /// In this group looking at a proof takes an own private key (a group without signatures).
    NoKey,
    /// The own private key could not be used.
    Key(KeyFailure),
}

impl fmt::Display for ProofRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProofRefused::NotProven => f.write_str("the proof of possession is wrong"),
            ProofRefused::Credential(refused) => refused.fmt(f),
            ProofRefused::NoKey => f.write_str("the proof takes an own private key"),
            ProofRefused::Key(failure) => failure.fmt(f),
        }
    }
}

impl core::error::Error for ProofRefused {}

/// On what grounds a Group Manager's credential is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grounds {
    /// The Group Manager has proven that it has the private key.
    Proven,
    /// The operator says so.
    Configured,
    /// It was installed in an earlier run, on one of these grounds.
    Installed,
    /// There is no Group Manager.
    NoManager,
}

/// The Group Manager's authentication credential, with the grounds to use it. A member must have proof that the Group
/// Manager holds the private key *before* it uses the credential (draft section 2.1.6), and a Security Context cannot be made
/// without this value: so there is no other way to one than [`proven`](Self::proven), or the operator's word.
///
/// ```compile_fail
/// let credential = antiphon_oscore::GroupManagerCredential::from(vec![0xa0]);
/// ```
///
/// ```compile_fail
/// use antiphon_oscore::{Grounds, GroupManagerCredential};
/// let credential = GroupManagerCredential { bytes: vec![0xa0], grounds: Grounds::Proven };
/// ```
///
/// ```compile_fail
/// fn replaced(parameters: &mut antiphon_oscore::Parameters) {
///     parameters.gm_credential = vec![0xa0];
/// }
/// ```
///
/// ```
/// use antiphon_oscore::GroupManagerCredential;
/// fn replaced(parameters: &mut antiphon_oscore::Parameters) {
///     parameters.gm_credential = GroupManagerCredential::configured_by_hand(vec![0xa0]);
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupManagerCredential {
    bytes: Vec<u8>,
    grounds: Grounds,
}

impl GroupManagerCredential {
    /// The credential of a Group Manager that has proven its possession: what comes of a join. `key` is the own private
    /// key, which groups without group mode need (draft-ietf-ace-key-groupcomm-oscore, section 6.3).
    ///
    /// # Errors
    /// [`ProofRefused`]: the join is to be given up, and there is nothing that could be installed.
    pub fn proven(
        format: CredentialFormat,
        credential: &[u8],
        suite: &Suite,
        proof: &Proof,
        evidence: &[u8],
        key: Option<&dyn PrivateKey>,
    ) -> Result<GroupManagerCredential, ProofRefused> {
        let credential =
            Credential::import(format, credential).map_err(ProofRefused::Credential)?;
        let usable = credential.check_usable(suite);
        usable.map_err(ProofRefused::Credential)?;
        proof.check(suite, credential.public_key(), evidence, key)?;
        Ok(GroupManagerCredential {
            bytes: credential.bytes().to_vec(),
            grounds: Grounds::Proven,
        })
    }

    /// **A statement:** whoever configured this group by hand has made sure that the Group Manager with this credential has
    /// the private key, or has made both. For pre-configured groups, where nobody joins.
    ///
    /// An empty one says that there is [no Group Manager](Self::no_manager).
    pub fn configured_by_hand(credential: impl Into<Vec<u8>>) -> GroupManagerCredential {
        GroupManagerCredential::on(Grounds::Configured, credential.into())
    }

    /// There is no Group Manager, as in a pre-configured group without one: the credential is empty.
    pub const fn no_manager() -> GroupManagerCredential {
        GroupManagerCredential {
            bytes: Vec::new(),
            grounds: Grounds::NoManager,
        }
    }

    /// That of a context that was installed before.
    pub(crate) fn installed(credential: Vec<u8>) -> GroupManagerCredential {
        GroupManagerCredential::on(Grounds::Installed, credential)
    }

    fn on(grounds: Grounds, bytes: Vec<u8>) -> GroupManagerCredential {
        let grounds = match bytes.is_empty() {
            true => Grounds::NoManager,
            false => grounds,
        };
        GroupManagerCredential { bytes, grounds }
    }

    /// The bytes, as distributed; empty without a Group Manager.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// On what grounds it is used.
    pub const fn grounds(&self) -> Grounds {
        self.grounds
    }
}
