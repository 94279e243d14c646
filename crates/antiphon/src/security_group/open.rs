//! A security group from what a store remembers of it.

use std::sync::Arc;

use antiphon_oscore::crypto::SoftwareKey;
use antiphon_oscore::record::{Established, Installed, Restored};
use antiphon_oscore::secret::Secret;
use antiphon_oscore::{Group, Parameters, RestoreError, Settings};

use super::builder::{OwnPart, Parts, import, label, list};
use super::keeper::{CredentialSource, Keeper, OwnKey};
use super::member::{gid_of, kid_of};
use super::used::remembered;
use super::{SecurityError, SecurityGroup};
use crate::store::Opened;

/// What a group is opened with that is not stored. By default nothing: the private key is stored, the settings are the safe ones,
/// and messages of members that are not stored are dropped.
#[derive(Default)]
#[must_use = "it is for SecurityGroup::open_with"]
pub struct OpenWith {
    pub(super) key: Option<OwnKey>,
    pub(super) settings: Settings,
    pub(super) credentials: Option<Arc<dyn CredentialSource>>,
}

impl OpenWith {
    /// The private key, where it is not stored.
    pub fn key(mut self, key: impl Into<OwnKey>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Replay windows, freshness, limits.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Where to look for the credentials of members that are not stored. Whoever was met and verified before is stored from the next
    /// clean shutdown on.
    pub fn credentials(mut self, source: impl CredentialSource + 'static) -> Self {
        self.credentials = Some(Arc::new(source));
        self
    }
}

impl core::fmt::Debug for OpenWith {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("OpenWith")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Opens a group that a store remembers.
pub(super) fn open(
    state: &mut Opened,
    name: &str,
    with: OpenWith,
) -> Result<SecurityGroup, SecurityError> {
    let unknown = || SecurityError::Unknown {
        name: name.to_owned(),
    };
    let list = list(name);
    let restored = remembered(state, name, &list)?;
    let Some(Established::Group(installed)) = &restored.context else {
        return Err(unknown());
    };
    if installed.name != name {
        return Err(unknown());
    }
    let mut settings = with.settings;
    settings.dynamic |= with.credentials.is_some();
    let parts = restore(name, installed, with, settings)?;
    let group = self::restored(name, &restored, settings)?;
    let keeper = Keeper::new(state.store.clone(), &list);
    state.records.insert(list, Vec::new()); // it is taken
    Ok(parts.finish(group, Some(keeper), restored.installations))
}

/// The group as a store remembers it.
pub(super) fn restored(
    name: &str,
    restored: &Restored,
    settings: Settings,
) -> Result<Group, SecurityError> {
    let (name, of) = (name.to_owned(), "one that is stored".to_owned());
    Group::restore(restored, settings).map_err(|error| match error {
        RestoreError::Group(reason) => SecurityError::Member { name, of, reason },
        RestoreError::Credential(reason) => SecurityError::Credential { name, of, reason },
        RestoreError::NoContext | RestoreError::Id => SecurityError::Unknown { name },
    })
}

/// The parts of a group that a store remembers, but for what varies.
fn restore(
    name: &str,
    installed: &Installed,
    with: OpenWith,
    settings: Settings,
) -> Result<Parts, SecurityError> {
    let format = installed.format;
    let own = match &installed.own {
        None => None,
        Some(own) => {
            let kid = kid_of(name, &own.sender_id)?;
            let credential = import(name, format, kid, &own.credential)?;
            let stored = own.key.as_ref().and_then(|bytes| {
                let curve = credential.public_key().curve();
                SoftwareKey::from_bytes(curve, bytes.as_bytes()).ok()
            });
            let name = name.to_owned();
            let Some(key) = with.key.or(stored.map(OwnKey::from)) else {
                return Err(SecurityError::NoKey { name });
            };
            if key.public() != *credential.public_key() {
                return Err(SecurityError::OtherKey { name });
            }
            Some(OwnPart {
                kid,
                credential,
                key,
            })
        }
    };
    Ok(Parts {
        name: name.to_owned(),
        label: label(name)?,
        parameters: Parameters {
            gid: gid_of(name, &installed.gid)?,
            generation: installed.generation,
            master_secret: installed.master_secret.clone(),
            master_salt: Secret::copy_of(&installed.master_salt),
            suite: installed.suite,
            format,
            gm_credential: installed.group_manager(),
        },
        own,
        peers: Vec::new(), // they come with what is known of their windows
        settings,
        credentials: with.credentials,
    })
}
