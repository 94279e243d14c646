//! Making a security group from its parts, and from what a store remembers of it.

use std::sync::Arc;

use antiphon_oscore::credential::{Credential, CredentialFormat};
use antiphon_oscore::crypto::SoftwareKey;
use antiphon_oscore::record::{Established, Installed, Record, Restored};
use antiphon_oscore::secret::Secret;
use antiphon_oscore::sequence::{MAX_NUMBER, Sequence};
use antiphon_oscore::suite::Suite;
use antiphon_oscore::{
    Group, GroupError, GroupManagerCredential, Kid, Own, Parameters, RestoreError, Settings,
};
use antiphon_proto::SecurityGroupName;

use super::held::{Held, Material};
use super::keeper::{CredentialSource, Keeper, OwnKey};
use super::member::{gid_of, kid_of};
use super::{SecurityError, SecurityGroup, Shared};
use crate::store::{Continuity, Opened};

/// The longest name: with its kind before it, it is a name in the store.
pub(super) const MAX_NAME: usize = 240;

/// The name of a group's records in a store.
pub(super) fn list(name: &str) -> String {
    format!("group/{name}")
}

/// The parts of a pre-configured group. What it is made into decides where its sequence numbers live:
/// [`create`](Self::create) or [`volatile`](Self::volatile).
#[must_use = "a builder makes a group when it is told where"]
pub struct SecurityGroupBuilder {
    name: String,
    gid: Option<Vec<u8>>,
    generation: u64,
    master_secret: Option<Secret>,
    master_salt: Secret,
    suite: Suite,
    format: CredentialFormat,
    manager: GroupManagerCredential,
    own: Option<(Vec<u8>, Vec<u8>, OwnKey)>,
    peers: Vec<(Vec<u8>, Vec<u8>)>,
    settings: Settings,
    credentials: Option<Arc<dyn CredentialSource>>,
}

impl SecurityGroupBuilder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            gid: None,
            generation: 0,
            master_secret: None,
            master_salt: Secret::new(Vec::new()),
            suite: Suite::default(),
            format: CredentialFormat::Ccs,
            manager: GroupManagerCredential::no_manager(),
            own: None,
            peers: Vec::new(),
            settings: Settings::default(),
            credentials: None,
        }
    }

    /// The Group Identifier, at most 255 bytes. Needed.
    pub fn gid(mut self, gid: impl Into<Vec<u8>>) -> Self {
        self.gid = Some(gid.into());
        self
    }

    /// The number of these keys. Default 0; whoever replaces the keys of a group counts up.
    pub fn generation(mut self, generation: u64) -> Self {
        self.generation = generation;
        self
    }

    /// The Master Secret. Needed.
    pub fn master_secret(mut self, secret: Secret) -> Self {
        self.master_secret = Some(secret);
        self
    }

    /// The Master Salt. Default: none.
    pub fn master_salt(mut self, salt: impl Into<Vec<u8>>) -> Self {
        self.master_salt = Secret::new(salt.into());
        self
    }

    /// The algorithms. Default: group and pairwise mode with AES-CCM-16-128-128, EdDSA, ECDH-SS + HKDF-256, HKDF SHA-256.
    pub fn suite(mut self, suite: Suite) -> Self {
        self.suite = suite;
        self
    }

    /// The format of all credentials. Default: CCS.
    pub fn format(mut self, format: CredentialFormat) -> Self {
        self.format = format;
        self
    }

    /// The Group Manager's credential, with what speaks for it. Default: none, as in a group that has no manager.
    pub fn manager_credential(mut self, credential: GroupManagerCredential) -> Self {
        self.manager = credential;
        self
    }

    /// This endpoint: its Sender ID, its credential, its private key. Without it, it is a silent server: it listens to requests in
    /// group mode, and says nothing.
    pub fn member(
        mut self,
        sender_id: impl Into<Vec<u8>>,
        credential: impl Into<Vec<u8>>,
        key: impl Into<OwnKey>,
    ) -> Self {
        self.own = Some((sender_id.into(), credential.into(), key.into()));
        self
    }

    /// Another member: its Sender ID and its credential.
    pub fn peer(mut self, sender_id: impl Into<Vec<u8>>, credential: impl Into<Vec<u8>>) -> Self {
        self.peers.push((sender_id.into(), credential.into()));
        self
    }

    /// Replay windows, freshness, limits. Default: the safe ones.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Where to look for the credentials of members that are not among the [peers](Self::peer). Default: nowhere; their messages are dropped.
    pub fn credentials(mut self, source: impl CredentialSource + 'static) -> Self {
        self.credentials = Some(Arc::new(source));
        self.settings.dynamic = true;
        self
    }

    /// Writes the group to a store, and opens it. The name may be new there; or there may be a group of this name with keys of a
    /// lower generation and another Gid, which this one replaces.
    ///
    /// The private key is stored beside it if it is in memory. Blocks until everything is durable.
    ///
    /// # Errors
    /// [`SecurityError`]; nothing is stored then.
    pub fn create(self, state: &mut Opened) -> Result<SecurityGroup, SecurityError> {
        let parts = self.check()?;
        let sequence = Sequence::new(parts.settings.sequence);
        let (group, members) = parts.group(sequence)?;
        let list = list(&parts.name);
        let stored = parts.own.as_ref().and_then(|own| own.key.stored());
        let installed = group.record(stored, Vec::new());
        let peers = group.peer_records();
        let records: Vec<_> = core::iter::once(Record::Installed(Box::new(installed)))
            .chain(peers)
            .collect();
        let before = state.records.get(&list).map(Vec::as_slice);
        if before.is_some_and(<[_]>::is_empty) {
            return Err(SecurityError::Unknown { name: parts.name }); // it is open already
        }
        let mut after = Restored::fold(before.unwrap_or_default());
        if let Some(loss @ antiphon_oscore::record::Loss::Unreadable) = after.loss {
            return Err(SecurityError::Lost {
                name: parts.name,
                why: Some(loss),
            });
        }
        for record in records.iter().cloned() {
            after.apply(record);
        }
        match after.loss {
            None => {}
            Some(antiphon_oscore::record::Loss::Refused(reason)) => {
                let name = parts.name;
                return Err(SecurityError::Refused { name, reason });
            }
            why => {
                let name = parts.name;
                return Err(SecurityError::Lost { name, why });
            }
        }
        let keeper = Keeper::new(state.store.clone(), &list);
        keeper.append(&records)?;
        state.records.insert(list, Vec::new()); // it is taken
        Ok(parts.finish(group, members, Some(keeper)))
    }

    /// A group that is not stored: its sequence numbers begin at 0, and are forgotten with the program. Only for keys that were never
    /// used before and will never be used again, as in tests and demonstrations: a second start with the same keys breaks
    /// the encryption.
    ///
    /// # Errors
    /// [`SecurityError`].
    pub fn volatile(self) -> Result<SecurityGroup, SecurityError> {
        let parts = self.check()?;
        let sequence = Sequence::exact(0, MAX_NUMBER + 1, parts.settings.sequence);
        let (group, members) = parts.group(sequence)?;
        Ok(parts.finish(group, members, None))
    }

    fn check(self) -> Result<Parts, SecurityError> {
        let name = self.name;
        let label = label(&name)?;
        let missing = |what| SecurityError::Missing {
            name: name.clone(),
            what,
        };
        let gid = self.gid.ok_or_else(|| missing("the Group Identifier"))?;
        let master_secret = self
            .master_secret
            .filter(|secret| !secret.is_empty())
            .ok_or_else(|| missing("the Master Secret"))?;
        let parameters = Parameters {
            gid: gid_of(&name, &gid)?,
            generation: self.generation,
            master_secret,
            master_salt: self.master_salt,
            suite: self.suite,
            format: self.format,
            gm_credential: self.manager,
        };
        let own = match self.own {
            None => None,
            Some((id, credential, key)) => {
                let kid = kid_of(&name, &id)?;
                let credential = import(&name, self.format, kid, &credential)?;
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
        let peer = |(id, credential): (Vec<u8>, Vec<u8>)| {
            let kid = kid_of(&name, &id)?;
            let credential = import(&name, self.format, kid, &credential)?;
            Ok::<_, SecurityError>((kid, credential))
        };
        let peers = self.peers.into_iter().map(peer).collect::<Result<_, _>>()?;
        Ok(Parts {
            name,
            label,
            parameters,
            own,
            peers,
            settings: self.settings,
            credentials: self.credentials,
        })
    }
}

/// The name, if it can be one.
fn label(name: &str) -> Result<SecurityGroupName, SecurityError> {
    let label = SecurityGroupName::new(name).map_err(|_| SecurityError::Name)?;
    match name.len() > MAX_NAME {
        true => Err(SecurityError::Name),
        false => Ok(label),
    }
}

fn import(
    name: &str,
    format: CredentialFormat,
    kid: Kid,
    credential: &[u8],
) -> Result<Credential, SecurityError> {
    Credential::import(format, credential).map_err(|reason| SecurityError::Credential {
        name: name.to_owned(),
        of: kid.to_string(),
        reason,
    })
}

/// All parts, checked one by one.
struct Parts {
    name: String,
    label: SecurityGroupName,
    parameters: Parameters,
    own: Option<OwnPart>,
    peers: Members,
    settings: Settings,
    credentials: Option<Arc<dyn CredentialSource>>,
}

struct OwnPart {
    kid: Kid,
    credential: Credential,
    key: OwnKey,
}

type Members = Vec<(Kid, Credential)>;

/// The peers of a group, by Sender ID.
fn members(group: &Group) -> Members {
    let peer = |peer: antiphon_oscore::Peer<'_>| (peer.kid(), peer.credential().clone());
    let mut members: Members = group.peers().map(peer).collect();
    members.sort_by_key(|(kid, _)| *kid);
    members
}

impl Parts {
    /// Puts them together, with these sequence numbers.
    fn group(&self, sequence: Sequence) -> Result<(Group, Members), SecurityError> {
        let own = self.own.as_ref().map(|own| Own {
            sender_id: own.kid,
            credential: own.credential.clone(),
            sequence,
        });
        let myself = self.own.as_ref().map(|own| own.kid);
        let of = |kid: Option<Kid>, reason: GroupError| SecurityError::Member {
            name: self.name.clone(),
            of: kid.map_or_else(|| "this one".to_owned(), |kid| kid.to_string()),
            reason,
        };
        let parameters = self.parameters.clone();
        let mut group = Group::new(&self.name, parameters, own, self.settings, None)
            .map_err(|reason| of(myself, reason))?;
        for (kid, credential) in &self.peers {
            let added = group.add_peer(*kid, credential.clone());
            added.map_err(|reason| of(Some(*kid), reason))?;
        }
        let members = members(&group);
        Ok((group, members))
    }

    fn finish(self, group: Group, peers: Members, keeper: Option<Keeper>) -> SecurityGroup {
        let (own, key) = match self.own {
            None => (None, None),
            Some(own) => (Some((own.kid, own.credential)), Some(own.key.into_key())),
        };
        let material = Material::from(group);
        let held = Held::new(&self.name, material, key, keeper, self.credentials);
        SecurityGroup {
            shared: Arc::new(Shared {
                held,
                label: self.label,
                gid: self.parameters.gid.as_bytes().to_vec(),
                generation: self.parameters.generation,
                suite: self.parameters.suite,
                own,
                peers,
            }),
        }
    }
}

/// Opens a group that a store remembers.
pub(super) fn open(
    state: &mut Opened,
    name: &str,
    key: Option<OwnKey>,
    settings: Settings,
) -> Result<SecurityGroup, SecurityError> {
    let unknown = || SecurityError::Unknown {
        name: name.to_owned(),
    };
    let lost = |why| SecurityError::Lost {
        name: name.to_owned(),
        why,
    };
    let list = list(name);
    let records = state.records.get(&list).filter(|all| !all.is_empty());
    let records = records.ok_or_else(unknown)?;
    let restored = Restored::fold(records);
    if restored.loss.is_some() {
        return Err(lost(restored.loss));
    }
    if matches!(state.continuity, Continuity::Broken(_)) {
        return Err(lost(None));
    }
    let Some(Established::Group(installed)) = &restored.context else {
        return Err(unknown());
    };
    if installed.name != name {
        return Err(unknown());
    }
    let parts = restore(name, installed, key, settings)?;
    let group = Group::restore(&restored, settings).map_err(|error| match error {
        RestoreError::Group(reason) => SecurityError::Member {
            name: name.to_owned(),
            of: "one that is stored".to_owned(),
            reason,
        },
        RestoreError::Credential(reason) => SecurityError::Credential {
            name: name.to_owned(),
            of: "one that is stored".to_owned(),
            reason,
        },
        RestoreError::NoContext | RestoreError::Id => unknown(),
    })?;
    let members = members(&group);
    let keeper = Keeper::new(state.store.clone(), &list);
    state.records.insert(list, Vec::new()); // it is taken
    Ok(parts.finish(group, members, Some(keeper)))
}

/// The parts of a group that a store remembers, but for what varies.
fn restore(
    name: &str,
    installed: &Installed,
    key: Option<OwnKey>,
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
            let Some(key) = key.or(stored.map(OwnKey::from)) else {
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
        credentials: None,
    })
}

impl core::fmt::Debug for SecurityGroupBuilder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SecurityGroupBuilder")
            .field("name", &self.name)
            .field("peers", &self.peers.len())
            .finish_non_exhaustive()
    }
}
