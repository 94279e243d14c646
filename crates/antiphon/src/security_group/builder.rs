//! Making a security group from its parts, and what a store is to remember of it.

use std::sync::Arc;

use antiphon_oscore::credential::{Credential, CredentialFormat};
use antiphon_oscore::record::{Established, Installations, Installed, Loss, Record, Restored};
use antiphon_oscore::secret::Secret;
use antiphon_oscore::sequence::{MAX_NUMBER, Sequence};
use antiphon_oscore::suite::Suite;
use antiphon_oscore::{Group, GroupError, GroupManagerCredential, Kid, Own, Parameters, Settings};
use antiphon_proto::SecurityGroupName;

use super::change::Wanted;
use super::facts::{Facts, Update, name_of};
use super::held::{Held, Material};
use super::keeper::{CredentialSource, Keeper, OwnKey};
use super::member::{gid_of, kid_of};
use super::open::{OpenWith, open, restored};
use super::used::{Heard, refuse_broken};
use super::{SecurityError, SecurityGroup};
use crate::store::Opened;

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
    stale: Option<(u64, Vec<Vec<u8>>)>,
    sender_id: Option<Vec<u8>>,
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
            stale: None,
            sender_id: None,
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

    /// Which of the members are none any more since the keys of this generation, instead of all [peers](Self::peer): for
    /// [`SecurityGroup::install`] alone. Who was known and is not among them stays, so the list has to be complete.
    pub fn stale<I: Into<Vec<u8>>>(
        mut self,
        since: u64,
        sender_ids: impl IntoIterator<Item = I>,
    ) -> Self {
        let sender_ids = sender_ids.into_iter().map(Into::into).collect();
        self.stale = Some((since, sender_ids));
        self
    }

    /// The own Sender ID under new keys, where private key and credential are those that the group has: for
    /// [`SecurityGroup::install`] alone. Default: it stays.
    pub fn sender_id(mut self, sender_id: impl Into<Vec<u8>>) -> Self {
        self.sender_id = Some(sender_id.into());
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
        refuse_broken(state, &parts.name)?;
        let before = parts.before(state)?;
        parts.create(state, before)
    }

    /// Sees to it that a store has the group as it is described, and opens it. What is there already goes on: the same
    /// description may come again, and changes members only; with a [source of credentials](Self::credentials) who was met and
    /// verified stays, and of those that are described here the credentials count. Other keys are [created](Self::create), if they may be.
    /// Blocks until everything is durable.
    ///
    /// # Errors
    /// [`SecurityError`]; nothing is stored then.
    pub fn provide(self, state: &mut Opened) -> Result<(SecurityGroup, Update), SecurityError> {
        let parts = self.check()?;
        let before = parts.before(state)?;
        let update = match &before.context {
            Some(Established::Group(old)) if parts.is_same(old) => {
                return parts.go_on(state, &before);
            }
            Some(Established::Group(old)) if old.generation == parts.parameters.generation => {
                Update::NewSenderId
            }
            Some(_) => Update::NewKeys,
            None => Update::New,
        };
        refuse_broken(state, &parts.name)?;
        Ok((parts.create(state, before)?, update))
    }

    /// What is to become of a group that is open.
    pub(super) fn wanted(self, of: &SecurityGroup) -> Result<Wanted, SecurityError> {
        if self.name != of.name() {
            return Err(SecurityError::OtherGroup {
                name: of.name().to_owned(),
                other: self.name,
            });
        }
        let name = self.name.clone();
        let read = |id: &Vec<u8>| kid_of(&name, id);
        let sender_id = self.sender_id.as_ref().map(read).transpose()?;
        let stale = match &self.stale {
            None => None,
            Some((since, ids)) => {
                let kids = ids.iter().map(read).collect::<Result<_, _>>()?;
                Some((*since, kids))
            }
        };
        let parts = self.check()?;
        Ok(Wanted {
            parameters: parts.parameters,
            sender_id: sender_id.or(parts.own.as_ref().map(|own| own.kid)),
            own: parts.own.map(|own| own.credential),
            peers: parts.peers,
            stale,
        })
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
        let group = parts.group(sequence)?;
        let mut installations = Installations::default();
        let sender_id = group.sender_id();
        installations.note(
            group.generation(),
            group.gid().as_bytes(),
            sender_id.as_ref().map(Kid::as_bytes),
        );
        Ok(parts.finish(group, None, installations))
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
pub(super) fn label(name: &str) -> Result<SecurityGroupName, SecurityError> {
    let label = SecurityGroupName::new(name).map_err(|_| SecurityError::Name)?;
    match name.len() > MAX_NAME {
        true => Err(SecurityError::Name),
        false => Ok(label),
    }
}

pub(super) fn import(
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
pub(super) struct Parts {
    pub(super) name: String,
    pub(super) label: SecurityGroupName,
    pub(super) parameters: Parameters,
    pub(super) own: Option<OwnPart>,
    pub(super) peers: Vec<(Kid, Credential)>,
    pub(super) settings: Settings,
    pub(super) credentials: Option<Arc<dyn CredentialSource>>,
}

pub(super) struct OwnPart {
    pub(super) kid: Kid,
    pub(super) credential: Credential,
    pub(super) key: OwnKey,
}

impl Parts {
    /// What a store knows of the group.
    fn before(&self, state: &Opened) -> Result<Restored, SecurityError> {
        let records = state.records.get(&list(&self.name)).map(Vec::as_slice);
        if records.is_some_and(<[_]>::is_empty) {
            let name = self.name.clone();
            return Err(SecurityError::Unknown { name }); // it is open already
        }
        let before = Restored::fold(records.unwrap_or_default());
        match before.loss {
            Some(Loss::Unreadable) => Err(self.lost(before.loss)),
            _ => Ok(before),
        }
    }

    fn lost(&self, why: Option<Loss>) -> SecurityError {
        SecurityError::Lost {
            name: self.name.clone(),
            why,
        }
    }

    /// Is everything but the members as it was installed?
    fn is_same(&self, old: &Installed) -> bool {
        let own = match (&old.own, &self.own) {
            (None, None) => true,
            (Some(old), Some(new)) => {
                old.sender_id == new.kid.as_bytes() && old.credential == new.credential.bytes()
            }
            _ => false,
        };
        let new = &self.parameters;
        own && old.generation == new.generation
            && old.gid == new.gid.as_bytes()
            && old.master_secret == new.master_secret
            && old.master_salt == new.master_salt.as_bytes()
            && old.suite == new.suite
            && old.format == new.format
            && old.manager == new.gm_credential.as_bytes()
    }

    /// Begins the group in a store, behind what was there before. What is handed out is what the next start finds: keys that were used
    /// before have received what nobody knows.
    fn create(self, state: &mut Opened, before: Restored) -> Result<SecurityGroup, SecurityError> {
        let described = self.group(Sequence::new(self.settings.sequence))?;
        let stored = self.own.as_ref().and_then(|own| own.key.stored());
        let installed = described.record(stored, Vec::new());
        let are_new = !before.installations.has_installed(&installed.gid);
        let mut records = vec![Record::Installed(Box::new(installed))];
        records.extend(described.peer_records());
        if are_new && !before.knows_windows() {
            // A crash before has nothing to do with new keys.
            records.push(described.clean_record());
        }
        let mut after = before;
        for record in &records {
            after.apply(record.clone());
            // The first refusal is the reason; what follows only belongs to nothing then.
            match after.loss {
                None => {}
                Some(Loss::Refused(reason)) => {
                    let name = self.name;
                    return Err(SecurityError::Refused { name, reason });
                }
                why => return Err(self.lost(why)),
            }
        }
        let mut group = restored(&self.name, &after, self.settings)?;
        let list = list(&self.name);
        let keeper = Keeper::new(state.store.clone(), &list);
        if keeper.begin(&records)? == Heard::Perhaps {
            group.windows_unknown();
        }
        state.records.insert(list, Vec::new()); // it is taken
        Ok(self.finish(group, Some(keeper), after.installations))
    }

    /// Goes on with a group that is there, with other members perhaps.
    fn go_on(
        self,
        state: &mut Opened,
        before: &Restored,
    ) -> Result<(SecurityGroup, Update), SecurityError> {
        if before.loss.is_some() {
            return Err(self.lost(before.loss));
        }
        self.group(Sequence::lost())?; // whoever is new has to fit
        let gid = || self.parameters.gid.as_bytes().to_vec();
        let (mut records, mut added, mut removed) = (Vec::new(), Vec::new(), Vec::new());
        let is_described = |id: &[u8]| {
            let mut all = self.peers.iter();
            all.find(|(kid, _)| kid.as_bytes() == id)
        };
        // Whoever was met on the way is in no description.
        let mut room = match self.credentials {
            Some(_) => self.settings.recipients.saturating_sub(self.peers.len()),
            None => 0,
        };
        for (id, credential) in &before.peers {
            let stays = match is_described(id) {
                Some((_, described)) => described.bytes() == credential.as_slice(),
                None if room > 0 => {
                    room -= 1;
                    true
                }
                None => false,
            };
            if !stays {
                let kid = kid_of(&self.name, id)?;
                let known = Credential::import(self.parameters.format, credential);
                removed.push(known.map_or_else(|_| kid.to_string(), |it| name_of(kid, &it)));
                records.push(Record::PeerDeleted {
                    gid: gid(),
                    recipient_id: id.clone(),
                });
            }
        }
        for (kid, credential) in &self.peers {
            if before.installations.had(&gid(), kid.as_bytes()) {
                return Err(SecurityError::Member {
                    name: self.name.clone(),
                    of: kid.to_string(),
                    reason: GroupError::OwnId,
                });
            }
            let known = before.peers.get(kid.as_bytes());
            if known.map(Vec::as_slice) != Some(credential.bytes()) {
                added.push(name_of(*kid, credential));
                records.push(Record::Peer {
                    gid: gid(),
                    recipient_id: kid.as_bytes().to_vec(),
                    credential: credential.bytes().to_vec(),
                });
            }
        }
        let update = match records.is_empty() {
            true => Update::Nothing,
            false => Update::Members { added, removed },
        };
        let list = list(&self.name);
        if !records.is_empty() {
            Keeper::new(state.store.clone(), &list).append(&records)?;
            let stored = state.records.entry(list).or_default();
            stored.extend(records.iter().map(Record::encode));
        }
        let with = OpenWith {
            key: self.own.map(|own| own.key),
            settings: self.settings,
            credentials: self.credentials,
        };
        Ok((open(state, &self.name, with)?, update))
    }

    /// Puts them together, with these sequence numbers.
    fn group(&self, sequence: Sequence) -> Result<Group, SecurityError> {
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
        Ok(group)
    }

    pub(super) fn finish(
        self,
        group: Group,
        keeper: Option<Keeper>,
        installations: Installations,
    ) -> SecurityGroup {
        let key = self.own.map(|own| own.key.into_key());
        let facts = Facts::of(&group);
        let material = Material::from(group);
        let credentials = self.credentials;
        let held = Held::new(
            &self.name,
            material,
            key,
            keeper,
            credentials,
            installations,
        );
        SecurityGroup::of(held, self.label, facts)
    }
}

impl core::fmt::Debug for SecurityGroupBuilder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SecurityGroupBuilder")
            .field("name", &self.name)
            .field("peers", &self.peers.len())
            .finish_non_exhaustive()
    }
}
