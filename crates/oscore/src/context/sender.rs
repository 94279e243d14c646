//! The Sender Context (draft section 2.2; RFC 8613, section 3.1).

use crate::credential::Credential;
use crate::identity::Kid;
use crate::secret::Secret;
use crate::sequence::Sequence;

/// Under which ID, key and numbers this endpoint sends. The private key is elsewhere: with whoever signs.
pub(crate) struct Sender {
    /// Never the same for two Sender Contexts of a group at this endpoint.
    pub(crate) serial: u64,
    pub(crate) id: Kid,
    pub(crate) key: Secret,
    pub(crate) credential: Credential,
    /// The one number space of group mode, pairwise mode, requests, responses and challenges
    /// (draft section 2.5.3).
    pub(crate) sequence: Sequence,
}
