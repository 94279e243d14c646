//! The slow work: verifying a countersignature, agreeing on a secret with a peer.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::contexts::GroupId;
use crate::crypto::{Agreement, KeyFailure, PrivateKey, PublicKey, SharedSecret, verify};
use crate::identity::Kid;
use crate::suite::SignatureAlgorithm;

/// Work that may take long. It is complete in itself and can be done on another thread.
#[derive(Debug)]
pub enum Job {
    /// Verify a countersignature: about 30 to 200 microseconds.
    Verify(VerifyJob),
    /// Agree on a secret with a peer, for its pairwise keys: once for each peer and Security Context.
    Agree(AgreeJob),
}

impl Job {
    /// Does the work at once, with the own private key in that group.
    pub fn run(self, key: &dyn PrivateKey) -> JobResult {
        match self {
            Job::Verify(job) => JobResult::Checked(job.run()),
            Job::Agree(job) => JobResult::Agreed(job.run(key)),
        }
    }
}

/// What came of a [`Job`].
#[derive(Debug)]
pub enum JobResult {
    /// Of a [`VerifyJob`].
    Checked(Checked),
    /// Of an [`AgreeJob`].
    Agreed(Agreed),
}

/// A countersignature to be verified.
pub struct VerifyJob {
    ticket: u64,
    /// In a place of its own: results of every message have room for a job.
    key: Box<PublicKey>,
    algorithm: SignatureAlgorithm,
    structure: Vec<u8>,
    signature: Vec<u8>,
}

impl VerifyJob {
    pub(crate) fn new(
        ticket: u64,
        key: Box<PublicKey>,
        algorithm: SignatureAlgorithm,
        structure: Vec<u8>,
        signature: Vec<u8>,
    ) -> VerifyJob {
        VerifyJob {
            ticket,
            key,
            algorithm,
            structure,
            signature,
        }
    }

    /// Verifies it, by the one rule of [`crypto::verify`](crate::crypto::verify).
    pub fn run(self) -> Checked {
        let verdict = verify(&self.key, self.algorithm, &self.structure, &self.signature);
        Checked {
            ticket: self.ticket,
            valid: verdict.is_ok(),
        }
    }
}

impl fmt::Debug for VerifyJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyJob({})", self.ticket)
    }
}

/// Whether a countersignature is right. Only [`VerifyJob::run`] makes one, for its own message.
#[derive(Debug)]
pub struct Checked {
    ticket: u64,
    valid: bool,
}

impl Checked {
    /// Whether it is right, if it is that of the message with this ticket.
    pub(crate) fn of(&self, ticket: u64) -> Option<bool> {
        (self.ticket == ticket).then_some(self.valid)
    }
}

/// A secret to be agreed on: the own private key with the public key of a peer.
#[derive(Debug)]
pub struct AgreeJob {
    pub(crate) with: With,
    /// In a place of its own, as in [`VerifyJob`].
    pub(crate) peer: Box<PublicKey>,
}

/// Between which two, under which keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct With {
    pub(crate) group: GroupId,
    /// Serial number of the Security Context.
    pub(crate) context: u64,
    /// Serial number of the own Sender Context.
    pub(crate) sender: u64,
    pub(crate) kid: Kid,
    /// Serial number of the Recipient Context.
    pub(crate) recipient: u64,
}

impl AgreeJob {
    /// In which group: the own key of that group is used.
    pub fn group(&self) -> GroupId {
        self.with.group
    }

    /// With whom.
    pub fn kid(&self) -> Kid {
        self.with.kid
    }

    /// For [`PrivateKey::agree`].
    pub fn agreement(&self) -> Agreement<'_> {
        Agreement::with(&self.peer)
    }

    /// Does the work with the own private key.
    pub fn run(self, key: &dyn PrivateKey) -> Agreed {
        let secret = key.agree(&self.agreement());
        self.done(secret)
    }

    /// The work was done elsewhere, with this result of [`PrivateKey::agree`].
    pub fn done(self, secret: Result<SharedSecret, KeyFailure>) -> Agreed {
        Agreed {
            with: self.with,
            secret: secret.ok(),
        }
    }
}

/// A secret that was agreed on, or not.
#[derive(Debug)]
pub struct Agreed {
    pub(crate) with: With,
    pub(crate) secret: Option<SharedSecret>,
}
