//! Plain OSCORE (RFC 8613): a context that two share.

use std::sync::Arc;

use antiphon_oscore::record::{Established, Installations, Paired, Record, Restored};
use antiphon_oscore::replay::ReplayWindow;
use antiphon_oscore::secret::Secret;
use antiphon_oscore::sequence::{MAX_NUMBER, Sequence, SequenceSettings};
use antiphon_oscore::suite::{Aead, Hkdf};
use antiphon_oscore::{Gid, Pair, PairParameters, PairSettings};

use super::builder::MAX_NAME;
use super::held::{Held, Material};
use super::keeper::Keeper;
use super::member::{gid_of, kid_of};
use super::used::{Heard, refuse_broken, remembered};
use super::{SecurityError, Update};
use crate::store::Opened;

/// An OSCORE Security Context that this endpoint shares with one peer (RFC 8613). Clones are the same context; it belongs to one
/// endpoint at a time, as a [`SecurityGroup`](super::SecurityGroup) does.
#[derive(Clone, Debug)]
pub struct OscoreContext {
    held: Arc<Held>,
}

impl OscoreContext {
    /// A context from its parts, as they were configured.
    pub fn builder(name: impl Into<String>) -> OscoreContextBuilder {
        OscoreContextBuilder {
            name: name.into(),
            master_secret: None,
            master_salt: Vec::new(),
            id_context: None,
            sender_id: None,
            recipient_id: None,
            hkdf: Hkdf::Sha256,
            aead: Aead::AesCcm16_64_128,
            settings: PairSettings::default(),
        }
    }

    /// The context of this name in a store, as it was left. It is taken out of `state`: nobody else gets it.
    ///
    /// # Errors
    /// [`SecurityError::Unknown`], [`SecurityError::Lost`].
    pub fn open(
        state: &mut Opened,
        name: &str,
        settings: PairSettings,
    ) -> Result<Self, SecurityError> {
        let list = list(name);
        let restored = remembered(state, name, &list)?;
        let Some(Established::Pair(paired)) = &restored.context else {
            return Err(SecurityError::Unknown {
                name: name.to_owned(),
            });
        };
        let parts = Parts {
            name: name.to_owned(),
            parameters: PairParameters {
                master_secret: paired.master_secret.clone(),
                master_salt: Secret::copy_of(&paired.master_salt),
                id_context: paired
                    .id_context
                    .as_deref()
                    .map(|id| gid_of(name, id))
                    .transpose()?,
                sender_id: kid_of(name, &paired.sender_id)?,
                recipient_id: kid_of(name, &paired.recipient_id)?,
                hkdf: paired.hkdf,
                aead: paired.aead,
            },
            settings,
        };
        let sequence = restored
            .sequence(SequenceSettings::default())
            .unwrap_or_else(Sequence::lost);
        let window = restored.window(&paired.recipient_id, settings.window);
        let pair = parts.pair(sequence, Some(window))?;
        let keeper = Keeper::new(state.store.clone(), &list);
        state.records.insert(list, Vec::new()); // it is taken
        Ok(parts.finish(pair, Some(keeper)))
    }

    /// Its name at this endpoint.
    #[must_use]
    pub fn name(&self) -> &str {
        self.held.name()
    }

    pub(crate) fn held(&self) -> &Arc<Held> {
        &self.held
    }
}

/// The name of a context's records in a store.
fn list(name: &str) -> String {
    format!("pair/{name}")
}

/// The parts of an OSCORE context.
#[must_use = "a builder makes a context when it is told where"]
pub struct OscoreContextBuilder {
    name: String,
    master_secret: Option<Secret>,
    master_salt: Vec<u8>,
    id_context: Option<Vec<u8>>,
    sender_id: Option<Vec<u8>>,
    recipient_id: Option<Vec<u8>>,
    hkdf: Hkdf,
    aead: Aead,
    settings: PairSettings,
}

impl OscoreContextBuilder {
    /// The Master Secret. Needed.
    pub fn master_secret(mut self, secret: Secret) -> Self {
        self.master_secret = Some(secret);
        self
    }

    /// The Master Salt. Default: none.
    pub fn master_salt(mut self, salt: impl Into<Vec<u8>>) -> Self {
        self.master_salt = salt.into();
        self
    }

    /// The ID Context. Default: none, which is not the same as an empty one.
    pub fn id_context(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.id_context = Some(id.into());
        self
    }

    /// The own Sender ID. Needed; it may be empty.
    pub fn sender_id(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.sender_id = Some(id.into());
        self
    }

    /// The peer's ID. Needed; it may be empty, and differs from the own.
    pub fn recipient_id(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.recipient_id = Some(id.into());
        self
    }

    /// The algorithms. Default: HKDF SHA-256 and AES-CCM-16-64-128, those of RFC 8613.
    pub fn algorithms(mut self, hkdf: Hkdf, aead: Aead) -> Self {
        (self.hkdf, self.aead) = (hkdf, aead);
        self
    }

    /// Replay window and the like. Default: the safe ones.
    pub fn settings(mut self, settings: PairSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Writes the context to a store, and opens it. Its keys must be new: they would start again at sequence number 0. Blocks.
    ///
    /// # Errors
    /// [`SecurityError`]; nothing is stored then.
    pub fn create(self, state: &mut Opened) -> Result<OscoreContext, SecurityError> {
        let parts = self.check()?;
        refuse_broken(state, &parts.name)?;
        let list = list(&parts.name);
        if state.records.contains_key(&list) {
            return Err(SecurityError::OtherContext { name: parts.name });
        }
        let sequence = Sequence::new(SequenceSettings::default());
        let mut pair = parts.pair(sequence, None)?;
        let keeper = Keeper::new(state.store.clone(), &list);
        if keeper.begin(&[parts.record()])? == Heard::Perhaps {
            pair.restore_window(ReplayWindow::invalid(parts.settings.window));
        }
        state.records.insert(list, Vec::new()); // it is taken
        Ok(parts.finish(pair, Some(keeper)))
    }

    /// Sees to it that a store has the context as it is described, and opens it. What is there already goes on; a context of
    /// this name that is another one is not replaced. Blocks.
    ///
    /// # Errors
    /// [`SecurityError`]; nothing is stored then.
    pub fn provide(self, state: &mut Opened) -> Result<(OscoreContext, Update), SecurityError> {
        let name = self.name.clone();
        let Some(records) = state
            .records
            .get(&list(&name))
            .filter(|all| !all.is_empty())
        else {
            return Ok((self.create(state)?, Update::New));
        };
        let settings = self.settings;
        let described = self.check()?.record();
        let before = Restored::fold(records);
        match (&before.context, described) {
            (Some(Established::Pair(old)), Record::Paired(new))
                if *new
                    == (Paired {
                        upto: 0,
                        ..Paired::clone(old)
                    }) => {}
            _ => {
                return Err(SecurityError::OtherContext { name });
            }
        }
        let opened = OscoreContext::open(state, &name, settings)?;
        Ok((opened, Update::Nothing))
    }

    /// A context that is not stored. Only for keys that were never used before and will never be used again: see
    /// [`SecurityGroupBuilder::volatile`](super::SecurityGroupBuilder::volatile).
    ///
    /// # Errors
    /// [`SecurityError`].
    pub fn volatile(self) -> Result<OscoreContext, SecurityError> {
        let parts = self.check()?;
        let sequence = Sequence::exact(0, MAX_NUMBER + 1, SequenceSettings::default());
        let pair = parts.pair(sequence, None)?;
        Ok(parts.finish(pair, None))
    }

    fn check(self) -> Result<Parts, SecurityError> {
        let name = self.name;
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(SecurityError::Name);
        }
        let missing = |what| SecurityError::Missing {
            name: name.clone(),
            what,
        };
        let secret = self.master_secret.filter(|secret| !secret.is_empty());
        let sender_id = self.sender_id.ok_or_else(|| missing("the own Sender ID"))?;
        let recipient_id = self.recipient_id.ok_or_else(|| missing("the peer's ID"))?;
        let parameters = PairParameters {
            master_secret: secret.ok_or_else(|| missing("the Master Secret"))?,
            master_salt: Secret::new(self.master_salt),
            id_context: self.id_context.map(|id| gid_of(&name, &id)).transpose()?,
            sender_id: kid_of(&name, &sender_id)?,
            recipient_id: kid_of(&name, &recipient_id)?,
            hkdf: self.hkdf,
            aead: self.aead,
        };
        Ok(Parts {
            name,
            parameters,
            settings: self.settings,
        })
    }
}

struct Parts {
    name: String,
    parameters: PairParameters,
    settings: PairSettings,
}

impl Parts {
    fn pair(
        &self,
        sequence: Sequence,
        window: Option<ReplayWindow>,
    ) -> Result<Pair, SecurityError> {
        let pair = Pair::new(&self.name, &self.parameters, sequence, self.settings);
        let mut pair = pair.map_err(|reason| SecurityError::Pair {
            name: self.name.clone(),
            reason,
        })?;
        if let Some(window) = window {
            pair.restore_window(window);
        }
        Ok(pair)
    }

    fn record(&self) -> Record {
        let of = &self.parameters;
        Record::Paired(Box::new(Paired {
            name: self.name.clone(),
            id_context: of.id_context.as_ref().map(Gid::as_bytes).map(Into::into),
            master_secret: of.master_secret.clone(),
            master_salt: of.master_salt.as_bytes().to_vec(),
            hkdf: of.hkdf,
            aead: of.aead,
            sender_id: of.sender_id.as_bytes().to_vec(),
            recipient_id: of.recipient_id.as_bytes().to_vec(),
            upto: 0,
        }))
    }

    fn finish(self, pair: Pair, keeper: Option<Keeper>) -> OscoreContext {
        OscoreContext {
            held: Held::new(
                &self.name,
                Material::from(pair),
                None,
                keeper,
                None,
                Installations::default(),
            ),
        }
    }
}

impl core::fmt::Debug for OscoreContextBuilder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("OscoreContextBuilder")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
