//! OSCORE (RFC 8613) and Group OSCORE (draft-ietf-core-oscore-groupcomm-28).
//!
//! The only room with key material and cryptographic dependencies. It knows messages and contexts, no
//! sockets, no clock, no files: time and randomness are arguments, what must be durable is handed out as records.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
// The members of the tests are shared with `tests/threats`, which knows this crate by its name.
#[cfg(test)]
extern crate self as antiphon_oscore;
#[cfg(test)]
extern crate std;

mod cbor;
#[cfg(test)]
mod test_vectors;
#[cfg(test)]
mod tests;

pub mod aad;
mod checker;
mod context;
mod contexts;
pub mod credential;
pub mod crypto;
pub mod derive;
pub mod echo;
mod group;
mod group_mode;
mod identity;
mod manager;
mod message;
pub mod nonce;
mod open;
pub mod option;
mod pair;
mod pairwise;
mod protect;
pub mod record;
mod refused;
pub mod replay;
pub mod secret;
pub mod sequence;
pub mod suite;

pub use checker::{Checking, RequestSeen, SignatureChecker};
pub use contexts::{ContextId, Contexts, GroupId, PairId};
pub use group::{
    Freshness, Group, GroupError, GroupEvent, InstallError, Modes, Own, Parameters, Peer, Prepared,
    PreparedSender, RestoreError, Settings, Stale, UpkeepSettings, Wanted,
};
pub use identity::{Gid, Kid, Member, Mode};
pub use manager::{Grounds, GroupManagerCredential, Proof, ProofRefused};
pub use message::{MessageRefused, OptionClass};
pub use open::{
    AgreeJob, Agreed, Asked, Challenged, Checked, Job, JobResult, Opened, OpenedRequest,
    OpenedResponse, Opening, Received, Step, VerifyJob,
};
pub use pair::{Pair, PairError, PairParameters, PairSettings};
pub use protect::{Protected, Protecting, SignJob, Signing, To};
pub use refused::{ErrorAnswer, ProtectError, Reason, Refused};
