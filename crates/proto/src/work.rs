//! What may wait: joining a group, verifying, signing, making a sequence number durable, fetching a credential.
//!
//! The endpoint never does these inside its loop. It hands them out by `poll_work` and takes the
//! result back by `work_done`, in any order and at any time. A microcontroller does the work inline, a
//! server on worker threads, the simulator in scripted order.

use core::net::SocketAddr;

/// Names one piece of work; never reused within an endpoint's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkId(pub u64);

/// A piece of work handed out.
#[derive(Debug)]
pub struct Work {
    /// Under which name its result comes back.
    pub id: WorkId,
    /// What is to be done.
    pub task: Task,
}

/// What is to be done.
#[derive(Debug)]
pub enum Task {
    /// Start to listen for a CoAP group on one interface. Result: [`WorkResult::Done`].
    Join {
        /// Multicast address and port.
        group: SocketAddr,
        /// Interface index.
        interface: u32,
    },
    /// Stop to listen for a CoAP group on one interface. Result: [`WorkResult::Done`].
    Leave {
        /// Multicast address and port.
        group: SocketAddr,
        /// Interface index.
        interface: u32,
    },
    /// Verify a countersignature: [`VerifyJob::run`](antiphon_oscore::VerifyJob::run), on any thread.
    /// Result: [`WorkResult::Checked`].
    #[cfg(feature = "oscore")]
    Verify(antiphon_oscore::VerifyJob),
    /// Agree on a secret with a peer, with the own private key in the job's group:
    /// [`AgreeJob::run`](antiphon_oscore::AgreeJob::run). Result: [`WorkResult::Agreed`].
    #[cfg(feature = "oscore")]
    Agree(antiphon_oscore::AgreeJob),
    /// Sign a message with the own private key. Result: [`WorkResult::Signed`].
    #[cfg(feature = "oscore")]
    Sign(SignJob),
    /// Make a fact durable (written and synced) in the store of this group or pair. Result: [`WorkResult::Done`].
    #[cfg(feature = "oscore")]
    Store {
        /// Of which group or pair.
        context: antiphon_oscore::ContextId,
        /// What is to be durable.
        record: antiphon_oscore::record::Record,
    },
    /// Fetch the authentication credential of a member that is not known yet.
    /// Result: [`WorkResult::Credential`].
    #[cfg(feature = "oscore")]
    LoadCredential {
        /// Of which group.
        group: antiphon_oscore::GroupId,
        /// The Sender ID that a message names; nothing about it is proven.
        kid: antiphon_oscore::Kid,
    },
}

impl Task {
    /// The same once more, if it is about a membership.
    pub(crate) fn of_membership(&self) -> Option<Task> {
        match *self {
            Self::Join { group, interface } => Some(Self::Join { group, interface }),
            Self::Leave { group, interface } => Some(Self::Leave { group, interface }),
            #[cfg(feature = "oscore")]
            _ => None,
        }
    }
}

/// Joins and leaves can be compared; other work is like nothing else.
impl PartialEq for Task {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Join { group, interface },
                Self::Join {
                    group: other,
                    interface: on,
                },
            )
            | (
                Self::Leave { group, interface },
                Self::Leave {
                    group: other,
                    interface: on,
                },
            ) => group == other && interface == on,
            _ => false,
        }
    }
}

/// A message to be signed, by the own private key in its group. Only the endpoint makes one.
#[cfg(feature = "oscore")]
#[derive(Debug)]
pub struct SignJob(pub(crate) antiphon_oscore::SignJob);

#[cfg(feature = "oscore")]
impl SignJob {
    /// In which group: the own key of that group signs.
    pub fn group(&self) -> antiphon_oscore::GroupId {
        self.0.group()
    }

    /// What is to be signed, for a key that is not in memory. The signature goes back as [`WorkResult::Signed`].
    pub fn to_be_signed(&self) -> antiphon_oscore::crypto::ToBeSigned<'_> {
        self.0.to_be_signed()
    }

    /// Does the work at once.
    pub fn run(&self, key: &dyn antiphon_oscore::crypto::PrivateKey) -> WorkResult {
        match self.0.run(key) {
            Ok(signature) => WorkResult::Signed(signature),
            Err(_) => WorkResult::Failed(WorkFailure::Key),
        }
    }
}

/// How a piece of work ended.
#[derive(Debug)]
pub enum WorkResult {
    /// Joined, left, stored.
    Done,
    /// A countersignature was looked at.
    #[cfg(feature = "oscore")]
    Checked(antiphon_oscore::Checked),
    /// A secret was agreed on, or not.
    #[cfg(feature = "oscore")]
    Agreed(antiphon_oscore::Agreed),
    /// The signature of a message.
    #[cfg(feature = "oscore")]
    Signed(alloc::vec::Vec<u8>),
    /// The credential of a member; `None` if there is no such member.
    #[cfg(feature = "oscore")]
    Credential(Option<antiphon_oscore::credential::Credential>),
    /// It failed.
    Failed(WorkFailure),
}

/// Why a piece of work failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkFailure {
    /// The operating system refused; the number is its error code, 0 when it has none.
    System(i32),
    /// There is no private key for the context, or it could not be used.
    Key,
}
