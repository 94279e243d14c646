//! Protecting messages (draft sections 7.1, 7.3, 8.3 and 8.5; RFC 8613, sections 8.1 and 8.3).
//!
//! A sequence number that was taken is used up, whatever becomes of the message.

mod request;
mod response;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use antiphon_wire::Message;

use crate::context::Context;
use crate::contexts::GroupId;
use crate::crypto::{CryptoError, KeyFailure, PrivateKey, PublicKey, ToBeSigned, verify};
use crate::derive::Keystream;
use crate::group::{Group, Settings};
use crate::group_mode::Binding;
use crate::identity::Kid;
use crate::message::Split;
use crate::nonce::PartialIv;
use crate::open::{AgreeJob, Asked};
use crate::option::OscoreOption;
use crate::refused::ProtectError;
use crate::sequence::{Sequence, SequenceError};
use crate::suite::SignatureAlgorithm;

/// For whom a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// For many members of a group: in group mode.
    Group,
    /// For one member of a group: in pairwise mode, or, in a group without, in group mode.
    Member(Kid),
    /// For the peer of a plain OSCORE context.
    Peer,
}

/// What protecting has come to.
#[derive(Debug)]
pub enum Protecting {
    /// It is done.
    Done(Protected),
    /// It has to be signed.
    Sign(Signing),
    /// The pairwise keys with the member have to be agreed on first; nothing is used up yet. When
    /// [`Contexts::agreed`](crate::Contexts::agreed) has the result, protect again.
    Agree(AgreeJob),
}

/// A protected message.
#[derive(Debug)]
pub struct Protected {
    /// The message, ready to be sent. Repeats send the same bytes (draft section 7).
    pub bytes: Vec<u8>,
    /// For a request: what is needed to open the responses.
    pub asked: Option<Asked>,
}

/// A message in group mode that waits for its countersignature.
pub struct Signing {
    group: GroupId,
    algorithm: SignatureAlgorithm,
    /// What is to be signed.
    structure: Vec<u8>,
    /// The message without the countersignature.
    bytes: Vec<u8>,
    keystream: Keystream,
    asked: Option<Asked>,
    /// Whose countersignature it is to be, if that is verified before it is sent.
    check: Option<Box<PublicKey>>,
}

impl Signing {
    /// In which group: the own key of that group signs.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// With which algorithm.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// What is to be signed, for [`PrivateKey::sign`].
    pub fn to_be_signed(&self) -> ToBeSigned<'_> {
        ToBeSigned::message(self.algorithm, &self.structure)
    }

    /// The same as work that can be done on another thread. Its result goes to [`finish`](Self::finish).
    pub fn job(&self) -> SignJob {
        SignJob {
            group: self.group,
            algorithm: self.algorithm,
            bytes: self.structure.clone(),
        }
    }

    /// Signs with a private key at once.
    ///
    /// # Errors
    /// [`ProtectError::KeyFailure`].
    pub fn sign(self, key: &dyn PrivateKey) -> Result<Protected, ProtectError> {
        let signature = key.sign(&self.to_be_signed());
        self.finish(&signature.map_err(|_| ProtectError::KeyFailure)?)
    }

    /// Encrypts the countersignature and puts it at the end (draft section 4.1).
    ///
    /// # Errors
    /// [`ProtectError::KeyFailure`] if the signature is not as long as those of the algorithm are, or, where
    /// [own countersignatures are verified](crate::Settings::check_own_signatures), if it is wrong.
    pub fn finish(self, signature: &[u8]) -> Result<Protected, ProtectError> {
        if let Some(own) = &self.check {
            verify(own, self.algorithm, &self.structure, signature)
                .map_err(|_| ProtectError::KeyFailure)?;
        }
        let mut bytes = self.bytes;
        let start = bytes.len();
        bytes.extend_from_slice(signature);
        let end = bytes.get_mut(start..).unwrap_or_default();
        self.keystream
            .apply(end)
            .map_err(|_| ProtectError::KeyFailure)?;
        Ok(Protected {
            bytes,
            asked: self.asked,
        })
    }
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signing")
            .field("group", &self.group)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// A message in group mode that is to be countersigned. It is complete in itself and can be done on another thread.
pub struct SignJob {
    group: GroupId,
    algorithm: SignatureAlgorithm,
    bytes: Vec<u8>,
}

impl SignJob {
    /// In which group: the own key of that group signs.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// What is to be signed, for [`PrivateKey::sign`].
    pub fn to_be_signed(&self) -> ToBeSigned<'_> {
        ToBeSigned::message(self.algorithm, &self.bytes)
    }

    /// Does the work at once.
    ///
    /// # Errors
    /// [`KeyFailure`].
    pub fn run(&self, key: &dyn PrivateKey) -> Result<Vec<u8>, KeyFailure> {
        key.sign(&self.to_be_signed())
    }
}

impl fmt::Debug for SignJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignJob")
            .field("group", &self.group)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// Which Partial IV a message gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Numbering {
    /// The next own one, or that of the request where that is allowed.
    Allocated,
    /// This one, or that of the request.
    #[cfg(any(test, feature = "vectors"))]
    Given(Option<PartialIv>),
}

impl Numbering {
    /// The own number, for a message that has to have one.
    fn take(self, sequence: &mut Sequence) -> Result<PartialIv, ProtectError> {
        match self {
            Numbering::Allocated => sequence.take().map_err(ProtectError::from),
            #[cfg(any(test, feature = "vectors"))]
            Numbering::Given(number) => number.ok_or(ProtectError::NotReserved),
        }
    }

    /// Whether the number of the request is used, where `allowed` says that it may be.
    fn reuses(self, allowed: bool) -> bool {
        match self {
            Numbering::Allocated => allowed,
            #[cfg(any(test, feature = "vectors"))]
            Numbering::Given(number) => number.is_none(),
        }
    }
}

impl From<SequenceError> for ProtectError {
    fn from(error: SequenceError) -> ProtectError {
        match error {
            SequenceError::NotReserved => ProtectError::NotReserved,
            SequenceError::Exhausted => ProtectError::Exhausted,
            SequenceError::Lost => ProtectError::Lost,
        }
    }
}

/// The algorithms of an installed context work; only the length of a message can be wrong.
impl From<CryptoError> for ProtectError {
    fn from(error: CryptoError) -> ProtectError {
        match error {
            CryptoError::Unavailable => ProtectError::NoContext,
            CryptoError::Length | CryptoError::NotAuthentic => ProtectError::TooLong,
        }
    }
}

/// Writes an OSCORE option in place of the one before.
fn write_option(option: &OscoreOption<'_>, out: &mut Vec<u8>) -> Result<(), ProtectError> {
    out.clear();
    option.write(out).map_err(|_| ProtectError::TooLong)
}

/// Before a number is taken: whether the option will fit, with the longest Partial IV.
fn check_option(kid: Kid, kid_context: Option<&[u8]>) -> Result<(), ProtectError> {
    let longest = 1 + 5 + kid_context.map_or(0, |context| 1 + context.len());
    match longest + kid.as_bytes().len() <= crate::option::MAX_OPTION_LEN {
        true => Ok(()),
        false => Err(ProtectError::TooLong),
    }
}

/// The longest plaintext, in bytes: what every algorithm here can encrypt, and no datagram can hold.
const MAX_PLAINTEXT: usize = 0xffff;

fn check_length(plaintext: usize) -> Result<(), ProtectError> {
    match plaintext <= MAX_PLAINTEXT {
        true => Ok(()),
        false => Err(ProtectError::TooLong),
    }
}

impl Group {
    fn may_protect(&self) -> Result<(), ProtectError> {
        if self.is_lost() {
            return Err(ProtectError::Lost);
        }
        if self.sender_id().is_none() {
            return Err(ProtectError::NoSender);
        }
        match self.installing {
            true => Err(ProtectError::Installing),
            false => Ok(()),
        }
    }
}

impl Context {
    /// The own public key, where own countersignatures are verified before they are sent.
    fn own_key_to_check(&self, settings: &Settings) -> Option<Box<PublicKey>> {
        let sender = self.sender.as_ref()?;
        settings
            .check_own_signatures
            .then(|| Box::new(sender.credential.public_key().clone()))
    }

    /// Encrypts `body` in group mode; what is left to do is to sign.
    fn encrypt_for_signing(
        &mut self,
        group: GroupId,
        settings: &Settings,
        message: &Message<'_>,
        split: Split,
        binding: &Binding<'_>,
        body: &mut Vec<u8>,
    ) -> Result<Signing, ProtectError> {
        let structure = self.group_encrypt(binding, body)?;
        let keys = self.common.countersigning();
        let (_, algorithm) = keys.algorithms()?;
        Ok(Signing {
            group,
            algorithm,
            structure,
            bytes: split.outer(message, binding.option, body, algorithm.signature_len())?,
            keystream: keys.keystream(binding)?,
            asked: None,
            check: self.own_key_to_check(settings),
        })
    }
}
