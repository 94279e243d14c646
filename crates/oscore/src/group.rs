//! One security group at this endpoint: its invariant name, the latest Security Context and at most one that it
//! replaced (draft sections 2 and 2.6.3.2).

mod install;
mod restore;
mod settings;
mod upkeep;

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::iter;
use core::time::Duration;

pub use install::{InstallError, Prepared, PreparedSender, Stale};
pub use restore::RestoreError;
pub use settings::{Freshness, Modes, Settings};
pub use upkeep::{GroupEvent, UpkeepSettings, Wanted};

use crate::context::{
    Common, Context, CredentialHash, Full, KeyCache, Recipient, Recipients, Sender,
};
use crate::credential::{Credential, CredentialFormat};
use crate::crypto::CryptoError;
use crate::echo::{Challenges, Echoes};
use crate::identity::{Gid, Kid, MAX_NAME, Member, Mode};
use crate::manager::GroupManagerCredential;
use crate::record::{Installed, OwnMember, Past, PeersKept, Record};
use crate::replay::ReplayWindow;
use crate::secret::Secret;
use crate::sequence::Sequence;
use crate::suite::Suite;

/// The parameters from which a Security Context is derived, as a Group Manager gives them (draft section 2.1).
#[derive(Clone, Debug)]
pub struct Parameters {
    /// The Group Identifier.
    pub gid: Gid,
    /// The Group Manager's number of these keys: each installation has a greater one.
    pub generation: u64,
    /// The Master Secret.
    pub master_secret: Secret,
    /// The Master Salt; empty if there is none.
    pub master_salt: Secret,
    /// The algorithms.
    pub suite: Suite,
    /// The Authentication Credential Format.
    pub format: CredentialFormat,
    /// The Group Manager's authentication credential, with the proof that it has the private key, or what stands in its
    /// place (draft section 2.1.6).
    pub gm_credential: GroupManagerCredential,
}

/// Under which ID and credential this endpoint sends.
#[derive(Debug)]
pub struct Own {
    /// The Sender ID.
    pub sender_id: Kid,
    /// The own authentication credential; whoever signs has its private key.
    pub credential: Credential,
    /// The Sender Sequence Numbers.
    pub sequence: Sequence,
}

/// One security group.
pub struct Group {
    pub(crate) name: String,
    format: CredentialFormat,
    pub(crate) settings: Settings,
    /// The last serial number given to a context, sender or recipient.
    serials: u64,
    pub(crate) current: Context,
    pub(crate) retained: Option<Retained>,
    pub(crate) echo: Echoes,
    /// Own Sender IDs under the current Gid: none is used twice.
    used_ids: BTreeSet<Kid>,
    pub(crate) installing: bool,
    lost: bool,
    /// Messages in a row that could not be opened.
    pub(crate) undecryptable: u32,
    /// Changes with everything that an installation has to take over.
    revision: u64,
    upkeep: upkeep::Upkeep,
}

/// The Security Context that the current one replaced. It opens, and never protects (draft section 14.5.1).
pub(crate) struct Retained {
    pub(crate) context: Context,
    /// From then on it is erased.
    pub(crate) until: Duration,
    /// Only messages that were begun before the installation are finished with it.
    pub(crate) draining: bool,
}

/// A group, peer or sender that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupError {
    /// The name is empty or longer than 255 bytes.
    Name,
    /// A Sender ID longer than the nonces allow (draft section 2.2).
    IdTooLong,
    /// The ID is that of another peer.
    IdTaken,
    /// The ID is the own one, or was under this Gid: own messages would come back as another's.
    OwnId,
    /// The credential is the own one.
    OwnCredential,
    /// As many peers as [`Settings::recipients`] allows: one has to be removed first.
    Full,
    /// The key in the credential cannot be used with the algorithms of the group (draft sections 2.4 and 8).
    Credential,
    /// Not in the Authentication Credential Format of the group (draft section 2.4).
    Format,
    /// The group has none of the modes that this endpoint is limited to, or a silent server is to do without the group
    /// mode (draft section 2).
    NoMode,
    /// [`Freshness::FirstContact`] in a group with pairwise mode, which this endpoint is to do without: challenges have
    /// to be answered in that mode (draft section 8).
    EchoNeedsPairwise,
    /// A key could not be derived.
    Derivation,
}

impl From<CryptoError> for GroupError {
    fn from(_: CryptoError) -> GroupError {
        GroupError::Derivation
    }
}

/// What a group knows of a peer.
#[derive(Clone, Copy)]
pub struct Peer<'a> {
    kid: Kid,
    recipient: &'a Recipient,
}

impl<'a> Peer<'a> {
    /// The Recipient ID.
    pub fn kid(&self) -> Kid {
        self.kid
    }

    /// The authentication credential.
    pub fn credential(&self) -> &'a Credential {
        &self.recipient.credential
    }

    /// The Replay Window for its requests.
    pub fn window(&self) -> &'a ReplayWindow {
        &self.recipient.window
    }

    /// Whether the pairwise keys are worked out.
    pub fn has_pairwise_keys(&self) -> bool {
        self.recipient.pairwise.is_some()
    }

    /// Whether it was added for a message that has not verified yet.
    pub fn is_provisional(&self) -> bool {
        self.recipient.provisional
    }
}

impl fmt::Debug for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({})", self.kid)
    }
}

impl Group {
    /// A group with its first Security Context of this run. Without `own` this endpoint is a silent server: it has
    /// no Sender Context, opens messages in group mode only, and protects nothing (draft section 2).
    ///
    /// `now` is when the Gid was installed, if that was now; `None` after a restart, when the age of the context
    /// is not known and so counts as great (draft section 9).
    ///
    /// # Errors
    /// [`GroupError`]; `IdTaken`, `OwnId`, `OwnCredential`, `Full` do not occur.
    pub fn new(
        name: &str,
        parameters: Parameters,
        own: Option<Own>,
        settings: Settings,
        now: Option<Duration>,
    ) -> Result<Group, GroupError> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(GroupError::Name);
        }
        let format = parameters.format;
        let mut serials = 0;
        let mut used_ids = BTreeSet::new();
        let common = Group::common(&parameters)?;
        let sender = match own {
            Some(own) => {
                usable(&own.credential, &common.suite, format)?;
                used_ids.insert(own.sender_id);
                Some(sender(&common, own, &mut serials)?)
            }
            None => None,
        };
        serials += 1;
        let current = Context {
            serial: serials,
            generation: parameters.generation,
            installed_at: now,
            common,
            sender,
            recipients: Recipients::new(settings.recipients, settings.provisional, false),
            cache: KeyCache::new(settings.ciphers),
            in_progress: 0,
            modes: settings.modes,
        };
        check_modes(&current, &settings)?;
        Ok(Group {
            name: name.into(),
            format,
            serials,
            current,
            retained: None,
            echo: Echoes::new(settings.echo),
            settings,
            used_ids,
            installing: false,
            lost: false,
            undecryptable: 0,
            revision: 0,
            upkeep: upkeep::Upkeep::default(),
        })
    }

    fn common(parameters: &Parameters) -> Result<Common, GroupError> {
        Ok(Common::derive(
            parameters.gid.clone(),
            parameters.suite,
            parameters.master_secret.clone(),
            parameters.master_salt.clone(),
            parameters.gm_credential.as_bytes(),
        )?)
    }

    /// The invariant name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Gid of the latest Security Context.
    pub fn gid(&self) -> &Gid {
        &self.current.common.gid
    }

    /// The Group Manager's number of the latest keys.
    pub fn generation(&self) -> u64 {
        self.current.generation
    }

    /// The algorithms.
    pub fn suite(&self) -> &Suite {
        &self.current.common.suite
    }

    /// The Authentication Credential Format.
    pub fn format(&self) -> CredentialFormat {
        self.format
    }

    /// The Group Manager's authentication credential.
    pub fn gm_credential(&self) -> &[u8] {
        &self.current.common.gm_credential
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The own Sender ID; `None` of a silent server.
    pub fn sender_id(&self) -> Option<Kid> {
        self.current.sender.as_ref().map(|sender| sender.id)
    }

    /// The own credential; `None` of a silent server.
    pub fn credential(&self) -> Option<&Credential> {
        self.current.sender.as_ref().map(|it| &it.credential)
    }

    /// The own Sender Sequence Numbers; `None` of a silent server. Nobody gets a number from here that is not also
    /// taken for good.
    pub fn sequence(&self) -> Option<&Sequence> {
        self.current.sender.as_ref().map(|it| &it.sequence)
    }

    /// The own Sender Sequence Numbers, to say what is durable.
    pub fn sequence_mut(&mut self) -> Option<&mut Sequence> {
        self.current.sender.as_mut().map(|it| &mut it.sequence)
    }

    /// The varying part of the Security Context is lost: nothing is protected and nothing opened until new parameters
    /// are installed (draft section 2.6.1.1).
    pub fn mark_lost(&mut self) {
        self.lost = true;
        if let Some(sequence) = self.sequence_mut() {
            sequence.mark_lost();
        }
    }

    /// Whether the varying part of the Security Context is lost.
    pub fn is_lost(&self) -> bool {
        self.lost || self.sequence().is_some_and(Sequence::is_lost)
    }

    /// How many messages in a row could not be opened with the keys of this group. After some it is time to ask the
    /// Group Manager for the current ones (draft section 14.5.2).
    pub fn undecryptable(&self) -> u32 {
        self.undecryptable
    }

    /// Adds a peer. Its Replay Window is valid, unless a Recipient Context was ever deleted from this Security Context
    /// (draft section 2.6.1.2). It takes the place of a [provisional](Peer::is_provisional) one with its ID, or of the oldest where
    /// there is no room.
    ///
    /// # Errors
    /// [`GroupError`].
    pub fn add_peer(&mut self, kid: Kid, credential: Credential) -> Result<(), GroupError> {
        let window = self.new_window();
        self.insert(kid, credential, window, false)
    }

    /// Adds a peer whose credential was fetched because a message of it came. It is deleted, without trace, if that
    /// message does not verify; and it never takes the place of a peer that has verified (draft section 7.2).
    ///
    /// # Errors
    /// [`GroupError`].
    pub fn add_peer_on_reception(
        &mut self,
        kid: Kid,
        credential: Credential,
    ) -> Result<(), GroupError> {
        let window = self.new_window();
        self.insert(kid, credential, window, true)
    }

    /// Adds a peer with the Replay Window that was stored for it: exactly, at a clean shutdown, or an invalid one.
    ///
    /// # Errors
    /// [`GroupError`].
    pub fn restore_peer(
        &mut self,
        kid: Kid,
        credential: Credential,
        window: ReplayWindow,
    ) -> Result<(), GroupError> {
        self.insert(kid, credential, window, false)
    }

    fn new_window(&self) -> ReplayWindow {
        match self.current.recipients.ever_deleted() {
            true => ReplayWindow::invalid(self.settings.window),
            false => ReplayWindow::valid(self.settings.window),
        }
    }

    fn insert(
        &mut self,
        kid: Kid,
        credential: Credential,
        window: ReplayWindow,
        provisional: bool,
    ) -> Result<(), GroupError> {
        self.check_peer(kid, &credential)?;
        let serial = self.next_serial();
        let context = &mut self.current;
        let peer = recipient(
            &context.common,
            kid,
            credential,
            window,
            serial,
            provisional,
        )?;
        let gone = context
            .recipients
            .insert(kid, peer)
            .map_err(|full| match full {
                Full::Taken => GroupError::IdTaken,
                Full::Recipients => GroupError::Full,
            })?;
        if let Some(gone) = gone {
            context.cache.forget(gone.serial);
        }
        self.upkeep.look_again();
        self.changed();
        Ok(())
    }

    /// Whether there can be a peer with this ID and credential beside this endpoint itself. Nobody else has an ID that this endpoint
    /// has, or has had under this Gid, nor its credential: its own messages would come back as another's.
    ///
    /// # Errors
    /// [`GroupError`]. Whether another peer has the ID, and whether there is room, is not looked at.
    pub fn check_peer(&self, kid: Kid, credential: &Credential) -> Result<(), GroupError> {
        let suite = &self.current.common.suite;
        if self.used_ids.contains(&kid) {
            return Err(GroupError::OwnId);
        }
        if self.credential().map(Credential::bytes) == Some(credential.bytes()) {
            return Err(GroupError::OwnCredential);
        }
        if kid.as_bytes().len() > suite.max_sender_id_len() {
            return Err(GroupError::IdTooLong);
        }
        usable(credential, suite, self.format)
    }

    /// Deletes a peer's Recipient Context and its pairwise keys; `false` if there was none. Those made from now on
    /// under this Security Context begin with an invalid window (draft section 2.6.1.2), so that the deletion has to
    /// be durable *before* this is called.
    pub fn remove_peer(&mut self, kid: Kid) -> bool {
        let Some(peer) = self.current.recipients.delete(kid) else {
            return false;
        };
        self.current.cache.forget(peer.serial);
        self.tell_deleted(kid);
        self.changed();
        true
    }

    /// It is not known what was received before the start: all Replay Windows become invalid, and those of peers to
    /// come (draft section 2.6.1).
    pub fn windows_unknown(&mut self) {
        let size = self.settings.window;
        for (_, peer) in self.current.recipients.iter_mut() {
            peer.window = ReplayWindow::invalid(size);
        }
        self.current.recipients.set_ever_deleted();
        // A request that has echoed one of these values could be sent again.
        self.echo.forget();
        self.changed();
    }

    /// Whether a Recipient Context was ever deleted from this Security Context.
    pub fn ever_deleted(&self) -> bool {
        self.current.recipients.ever_deleted()
    }

    /// Whether nothing of anybody is accepted until there is a new Security Context: all Replay Windows are invalid, as after a crash,
    /// and this endpoint cannot ask for proof of freshness (Echo), because it is a silent server, or because the group has the
    /// pairwise mode and it does [without](Modes::Group).
    pub fn needs_new_keys(&self) -> bool {
        !self.current.can_challenge()
            && self.ever_deleted()
            && self.peers().all(|peer| !peer.window().is_valid())
    }

    /// All peers, by ID.
    pub fn peers(&self) -> impl Iterator<Item = Peer<'_>> {
        self.current
            .recipients
            .iter()
            .map(|(kid, recipient)| Peer { kid, recipient })
    }

    /// How many peers there are.
    pub fn peer_count(&self) -> usize {
        self.current.recipients.len()
    }

    /// The peer with this Recipient ID.
    pub fn peer(&self, kid: Kid) -> Option<Peer<'_>> {
        let recipient = self.current.recipients.get(kid)?;
        Some(Peer { kid, recipient })
    }

    /// The Recipient ID under which a member is known now: of the same credential, whatever its ID was before.
    pub fn kid_of(&self, member: &Member) -> Option<Kid> {
        if member.group() != self.name {
            return None;
        }
        let of = |kid: Kid| self.current.recipients.get(kid);
        match of(member.kid()) {
            Some(peer) if peer.credential.bytes() == member.credential() => Some(member.kid()),
            _ => self.holder_of(member.credential()),
        }
    }

    /// The Recipient ID under which the owner of this credential is known.
    pub fn holder_of(&self, credential: &[u8]) -> Option<Kid> {
        let hash = CredentialHash::of(credential);
        self.current.recipients.holder(hash).map(|(kid, _)| kid)
    }

    /// The member of this credential, which had that ID at one time.
    pub(crate) fn client(&self, kid: Kid, credential: CredentialHash) -> Option<Member> {
        let recipients = &self.current.recipients;
        let same = recipients
            .get(kid)
            .is_some_and(|peer| peer.hash == credential);
        let kid = match same {
            true => kid,
            false => recipients.holder(credential)?.0,
        };
        self.member(kid)
    }

    /// The member behind a Recipient ID.
    pub fn member(&self, kid: Kid) -> Option<Member> {
        let peer = self.current.recipients.get(kid)?;
        Some(Member::new(&self.name, peer.credential.bytes(), kid))
    }

    /// Erases the replaced context when its time is over. To be called now and then; whatever comes in between looks
    /// at the time itself.
    pub fn expire(&mut self, now: Duration) {
        let over = self
            .retained
            .as_ref()
            .is_some_and(|old| now >= old.until || (old.draining && old.context.in_progress == 0));
        if over {
            self.retained = None;
        }
    }

    /// When [`expire`](Self::expire) or [`take_idle`](Self::take_idle) has something to do.
    pub fn next_timeout(&self) -> Option<Duration> {
        let retained = self.retained.as_ref().map(|old| old.until);
        retained.into_iter().chain(self.idle_timeout()).min()
    }

    /// The current Security Context as a record, for a list of records that is condensed or begun: with the private key
    /// if it is stored beside it, and what the earlier records said of the past.
    pub fn record(&self, key: Option<Secret>, past: Vec<Past>) -> Installed {
        let installed = installed(&self.name, &self.current, self.format, key);
        Installed {
            past,
            ever_deleted: self.ever_deleted(),
            ..installed
        }
    }

    /// The peers as records.
    pub fn peer_records(&self) -> impl Iterator<Item = Record> {
        let gid = self.gid();
        self.peers()
            .filter(|peer| !peer.is_provisional())
            .map(|peer| Record::Peer {
                gid: gid.as_bytes().to_vec(),
                recipient_id: peer.kid().as_bytes().to_vec(),
                credential: peer.credential().bytes().to_vec(),
            })
    }

    /// What is to be made durable as the last thing before the end: the exact state. Nothing may be protected or opened
    /// afterwards.
    pub fn clean_record(&self) -> Record {
        let peers = self.peers().filter(|peer| !peer.is_provisional());
        Record::Clean {
            gid: self.gid().as_bytes().to_vec(),
            sender_id: self.sender_id().map(|kid| kid.as_bytes().to_vec()),
            next: self.sequence().map_or(0, Sequence::next),
            windows: peers
                .map(|peer| (peer.kid().as_bytes().to_vec(), peer.window().clone()))
                .collect(),
        }
    }

    /// Something changed that an installation takes over.
    fn changed(&mut self) {
        self.revision += 1;
    }

    pub(crate) fn next_serial(&mut self) -> u64 {
        self.serials += 1;
        self.serials
    }

    /// The contexts that open messages, the latest first: the replaced one until its time is over, unless it only serves what was
    /// begun before.
    pub(crate) fn opening(&self, now: Duration) -> [Option<&Context>; 2] {
        let old = self.retained.as_ref();
        let old = old.filter(|old| !old.draining && now < old.until);
        [Some(&self.current), old.map(|old| &old.context)]
    }

    /// The context with this serial number, if it is still there.
    pub(crate) fn context(&self, serial: u64) -> Option<&Context> {
        let old = self.retained.as_ref().map(|old| &old.context);
        let mut both = iter::once(&self.current).chain(old);
        both.find(|context| context.serial == serial)
    }

    /// The context with this serial number, if it is still there, to change it.
    pub(crate) fn context_mut(&mut self, serial: u64) -> Option<&mut Context> {
        with_serial(&mut self.current, &mut self.retained, serial)
    }
}

/// As [`Group::context_mut`], where something else of the group is needed at the same time.
pub(crate) fn with_serial<'a>(
    current: &'a mut Context,
    retained: &'a mut Option<Retained>,
    serial: u64,
) -> Option<&'a mut Context> {
    let old = retained.as_mut().map(|old| &mut old.context);
    let mut both = iter::once(current).chain(old);
    both.find(|context| context.serial == serial)
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("name", &self.name)
            .field("gid", self.gid())
            .field("generation", &self.generation())
            .field("sender_id", &self.sender_id())
            .field("peers", &self.peer_count())
            .finish_non_exhaustive()
    }
}

/// A Security Context as a record.
fn installed(
    name: &str,
    context: &Context,
    format: CredentialFormat,
    key: Option<Secret>,
) -> Installed {
    let common = &context.common;
    let (master_secret, master_salt) = common.master();
    let sender = context.sender.as_ref();
    Installed {
        name: name.into(),
        generation: context.generation,
        gid: common.gid.as_bytes().to_vec(),
        master_secret: master_secret.clone(),
        master_salt: master_salt.as_bytes().to_vec(),
        suite: common.suite,
        format,
        manager: common.gm_credential.to_vec(),
        own: sender.map(|sender| OwnMember {
            sender_id: sender.id.as_bytes().to_vec(),
            credential: sender.credential.bytes().to_vec(),
            key,
        }),
        upto: sender.map_or(0, |sender| sender.sequence.reserved_upto()),
        peers: PeersKept::Nobody,
        past: Vec::new(),
        ever_deleted: false,
    }
}

/// Whether a credential serves in a group: in its format, for signing where there are signatures, for key agreement
/// where there are pairwise keys (draft sections 2.4 and 8).
fn usable(
    credential: &Credential,
    suite: &Suite,
    format: CredentialFormat,
) -> Result<(), GroupError> {
    if credential.format() != format {
        return Err(GroupError::Format);
    }
    let signing = !suite.has_group_mode() || credential.usable_for_signing(suite);
    let agreement = !suite.has_pairwise_mode() || credential.usable_for_agreement(suite);
    match signing && agreement {
        true => Ok(()),
        false => Err(GroupError::Credential),
    }
}

/// Whether there is anything that the endpoint can open, and whether it can challenge where it has to.
fn check_modes(context: &Context, settings: &Settings) -> Result<(), GroupError> {
    if !context.has_mode(Mode::Group) && !context.has_mode(Mode::Pairwise) {
        return Err(GroupError::NoMode);
    }
    let challenges = settings.freshness == Freshness::FirstContact && context.sender.is_some();
    match challenges && !context.can_challenge() {
        true => Err(GroupError::EchoNeedsPairwise),
        false => Ok(()),
    }
}

fn sender(common: &Common, own: Own, serials: &mut u64) -> Result<Sender, GroupError> {
    if own.sender_id.as_bytes().len() > common.suite.max_sender_id_len() {
        return Err(GroupError::IdTooLong);
    }
    *serials += 1;
    Ok(Sender {
        serial: *serials,
        id: own.sender_id,
        key: common.key_of(own.sender_id)?,
        credential: own.credential,
        sequence: own.sequence,
    })
}

fn recipient(
    common: &Common,
    kid: Kid,
    credential: Credential,
    window: ReplayWindow,
    serial: u64,
    provisional: bool,
) -> Result<Recipient, GroupError> {
    if kid.as_bytes().len() > common.suite.max_sender_id_len() {
        return Err(GroupError::IdTooLong);
    }
    Ok(Recipient {
        serial,
        key: common.key_of(kid)?,
        hash: CredentialHash::of(credential.bytes()),
        credential,
        window,
        pairwise: None,
        provisional,
        fresh: false,
        challenges: Challenges::default(),
        knows_sender_id: true,
        failures: 0,
        used_at: None,
    })
}
