//! The records of one group or pair in a store, and its private key: what only workers touch.

use std::sync::{Arc, Mutex, PoisonError};

use antiphon_oscore::Kid;
use antiphon_oscore::credential::Credential;
use antiphon_oscore::crypto::{PrivateKey, PublicKey, SoftwareKey};
use antiphon_oscore::record::{Installations, Record};
use antiphon_oscore::secret::Secret;

use super::error::SecurityError;
use super::used::{Heard, refuse_again};
use crate::store::{Batch, Store, StoreError};
use crate::worker::pool::{Pool, Strand};

/// Where the records of one group or pair go, in their order.
#[derive(Clone)]
pub(crate) struct Keeper {
    store: Store,
    list: Arc<str>,
    strand: Strand,
}

impl Keeper {
    pub(crate) fn new(store: Store, list: &str) -> Self {
        Self {
            store,
            list: list.into(),
            strand: Strand::on(Pool::patient()),
        }
    }

    /// Makes records durable, together. Blocks.
    pub(crate) fn append(&self, records: &[Record]) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        for record in records {
            batch = batch.add(&self.list, &record.encode())?;
        }
        self.store.commit(batch)
    }

    /// Makes records durable with which sequence numbers may begin, if no other list of the store has used these. Where another
    /// one has used the keys at all, that is durable as well: it is not known what was received with them. Blocks.
    pub(crate) fn begin(&self, records: &[Record]) -> Result<Heard, SecurityError> {
        let alone = self.store.alone();
        let heard = refuse_again(&self.store, &self.list, records)?;
        match heard {
            Heard::Nothing => self.append(records)?,
            Heard::Perhaps => self.append(&[records, &[Record::Running]].concat())?,
        }
        drop(alone);
        Ok(heard)
    }

    /// Makes a change durable. Where it brings new keys, the old ones leave the file as well. Blocks.
    pub(crate) fn install(&self, records: &[Record]) -> Result<Heard, SecurityError> {
        let heard = self.begin(records)?;
        let keys = |record: &Record| matches!(record, Record::Installed(_));
        if records.iter().any(keys)
            && let Err(error) = self.store.compact()
        {
            tracing::warn!(%error, list = self.list(), "the old keys are still in the store");
        }
        Ok(heard)
    }

    /// Makes it durable that the group was left: its records are gone from the file, but for what must not be
    /// installed again. Blocks.
    pub(crate) fn leave(&self, installations: &Installations) -> Result<(), StoreError> {
        let left = Record::Left(installations.clone()).encode();
        let batch = Batch::new().forget(&self.list)?.add(&self.list, &left)?;
        self.store.commit(batch)?;
        self.store.compact()
    }

    /// Where to append without waiting.
    pub(crate) fn strand(&self) -> &Strand {
        &self.strand
    }

    /// The name of its records in the store.
    pub(crate) fn list(&self) -> &str {
        &self.list
    }
}

/// The private key with which this endpoint signs and agrees in a group: in memory, or wherever a [`PrivateKey`] of yours keeps it.
pub struct OwnKey(pub(crate) Where);

pub(crate) enum Where {
    Memory(Box<SoftwareKey>),
    Elsewhere(Box<dyn PrivateKey>),
}

impl OwnKey {
    /// A key that never leaves its place, as one in a secure element. It is not stored.
    pub fn elsewhere(key: impl PrivateKey + 'static) -> Self {
        Self(Where::Elsewhere(Box::new(key)))
    }

    /// The public key that belongs to it.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        match &self.0 {
            Where::Memory(key) => key.public(),
            Where::Elsewhere(key) => key.public(),
        }
    }

    /// What is stored of it.
    pub(crate) fn stored(&self) -> Option<Secret> {
        match &self.0 {
            Where::Memory(key) => Some(key.to_bytes()),
            Where::Elsewhere(_) => None,
        }
    }

    pub(crate) fn into_key(self) -> Key {
        let stored = self.stored();
        let key: Box<dyn PrivateKey> = match self.0 {
            Where::Memory(key) => key,
            Where::Elsewhere(key) => key,
        };
        Key {
            key: Arc::new(Mutex::new(key)),
            stored,
            strand: Strand::on(Pool::patient()),
        }
    }
}

impl From<SoftwareKey> for OwnKey {
    fn from(key: SoftwareKey) -> Self {
        Self(Where::Memory(Box::new(key)))
    }
}

impl core::fmt::Debug for OwnKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("OwnKey(..)")
    }
}

/// A private key that one worker uses at a time.
#[derive(Clone)]
pub(crate) struct Key {
    key: Arc<Mutex<Box<dyn PrivateKey>>>,
    /// As it stands in the store.
    stored: Option<Secret>,
    strand: Strand,
}

impl Key {
    pub(crate) fn with<R>(&self, work: impl FnOnce(&dyn PrivateKey) -> R) -> R {
        let key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        work(&**key)
    }

    pub(crate) fn strand(&self) -> &Strand {
        &self.strand
    }

    /// What is stored of it.
    pub(crate) fn stored(&self) -> Option<&Secret> {
        self.stored.as_ref()
    }
}

/// Finds the authentication credentials of members that are not known yet, as at a Group Manager or in a directory.
///
/// It is called on a thread that may wait, with a Sender ID that anybody can have put into a message: the member is kept only if that
/// message verifies with what is returned.
pub trait CredentialSource: Send + Sync {
    /// The credential of the member with this Sender ID, if there is one.
    fn fetch(&self, kid: Kid) -> Option<Credential>;
}

impl<F: Fn(Kid) -> Option<Credential> + Send + Sync> CredentialSource for F {
    fn fetch(&self, kid: Kid) -> Option<Credential> {
        self(kid)
    }
}
