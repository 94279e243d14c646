//! New keys, other members, and leaving, while a group is used or not.
//!
//! Everything is durable before it takes effect. While the store works, nothing new is protected or opened with the old keys, and
//! the new ones are not there yet; a crash leaves the one or the other. Whoever asks for a change may go away: it is done to
//! its end.

use core::pin::pin;
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use antiphon_oscore::credential::Credential;
use antiphon_oscore::record::{InstallRefused, Installations, Record};
use antiphon_oscore::secret::Secret;
use antiphon_oscore::{
    ContextId, Group, GroupError, InstallError, Kid, Parameters, Prepared, PreparedSender, Stale,
};
use antiphon_proto::Instant;
use tokio::sync::{OwnedMutexGuard, oneshot};

use super::error::SecurityError;
use super::facts::{Facts, Update, name_of};
use super::held::{Held, Material, Place};
use super::keeper::Keeper;
use super::used::Heard;
use crate::clock;
use crate::driver::{Link, WeakLink};
use crate::error::Closed;

/// What is to change.
pub(super) enum Change {
    /// It is to be as this says.
    Describe(Box<Wanted>),
    /// One more member.
    Add(Kid, Box<Credential>),
    /// One member less.
    Remove(Kid),
}

/// How a group is to be.
pub(super) struct Wanted {
    pub(super) parameters: Parameters,
    /// The own Sender ID, `None` if it stays.
    pub(super) sender_id: Option<Kid>,
    /// The own credential, if it was said: it cannot change.
    pub(super) own: Option<Credential>,
    pub(super) peers: Vec<(Kid, Credential)>,
    /// Instead of all members, those that are none any more: complete since this generation.
    pub(super) stale: Option<(u64, Vec<Kid>)>,
}

enum Step {
    Install(Box<Prepared>, Box<Ingredients>),
    SenderId(Box<PreparedSender>),
    Remove(Kid),
    Add(Kid, Box<Credential>),
}

/// What was prepared, to prepare it again where the group has changed meanwhile.
struct Ingredients {
    parameters: Parameters,
    sender_id: Option<Kid>,
    stale: Stale,
    reserved: u64,
}

/// A change that waits for the store.
struct Pending {
    steps: Vec<Step>,
    update: Update,
    /// Whether something was received before with the keys that it brings.
    heard: Heard,
}

type Changed = Result<(Update, Facts), SecurityError>;

#[derive(Default)]
enum Inside {
    #[default]
    Empty,
    /// Prepared, and not durable yet.
    Waiting(Pending),
    /// Durable, and not in effect yet.
    Durable(Pending),
    /// In effect; whoever asked has not heard of it.
    Settled(Box<Changed>),
}

/// The one change of a group that is under way. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Slot {
    inside: Arc<Mutex<Inside>>,
    installations: Arc<Mutex<Installations>>,
}

impl Slot {
    /// Remembers what was installed so far.
    pub(super) fn knowing(installations: Installations) -> Self {
        Self {
            installations: Arc::new(Mutex::new(installations)),
            ..Self::default()
        }
    }

    /// What must not be installed again.
    pub(super) fn installations(&self) -> MutexGuard<'_, Installations> {
        self.installations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prepares a change, and says what is to be durable first.
    fn prepare(
        &self,
        group: &mut Group,
        change: &Change,
        key: Option<Secret>,
    ) -> Result<Vec<Record>, SecurityError> {
        let prepared = prepare(group, change, &self.installations(), key);
        let (pending, records) = prepared?;
        *self.inside() = Inside::Waiting(pending);
        Ok(records)
    }

    fn is_waiting(&self) -> bool {
        matches!(&*self.inside(), Inside::Waiting(_))
    }

    /// What was prepared is durable now.
    fn durable(&self, of: &str, heard: Heard) {
        let mut inside = self.inside();
        match core::mem::take(&mut *inside) {
            Inside::Waiting(mut pending) => {
                pending.heard = heard;
                for step in &pending.steps {
                    let mut installations = self.installations();
                    match step {
                        Step::Install(prepared, _) => installations.note(
                            prepared.generation(),
                            prepared.gid().as_bytes(),
                            prepared.sender_id().as_ref().map(Kid::as_bytes),
                        ),
                        Step::SenderId(prepared) => {
                            if let Some((generation, gid)) = installations.latest.clone() {
                                let id = prepared.sender_id();
                                installations.note(generation, &gid, Some(id.as_bytes()));
                            }
                        }
                        Step::Remove(_) | Step::Add(..) => {}
                    }
                }
                tracing::debug!(group = of, "a change is durable");
                *inside = Inside::Durable(pending);
            }
            other => *inside = other,
        }
    }

    /// Puts into effect what is durable, and gives up what is not.
    fn finish(&self, group: &mut Group, now: Duration) -> Changed {
        let inside = core::mem::take(&mut *self.inside());
        match inside {
            Inside::Durable(pending) => commit(group, pending, now),
            Inside::Settled(changed) => *changed,
            Inside::Waiting(_) | Inside::Empty => {
                group.abort_install();
                Err(SecurityError::Worker)
            }
        }
    }

    /// The same for a group that an endpoint has given back; whoever asked hears of it later.
    pub(super) fn settle(&self, material: &mut Material) {
        let Some(group) = material.group_mut() else {
            return;
        };
        if matches!(&*self.inside(), Inside::Durable(_) | Inside::Waiting(_)) {
            let was_durable = matches!(&*self.inside(), Inside::Durable(_));
            let changed = self.finish(group, at(clock::now()));
            if was_durable {
                *self.inside() = Inside::Settled(Box::new(changed));
            }
        }
    }

    fn settled(&self) -> Option<Changed> {
        let mut inside = self.inside();
        match core::mem::take(&mut *inside) {
            Inside::Settled(changed) => Some(*changed),
            other => {
                *inside = other;
                None
            }
        }
    }
}

/// Time as the security contexts count it.
fn at(now: Instant) -> Duration {
    now.since(Instant::ZERO)
}

/// Prepares a change of a group, and says what is to be durable before it takes effect.
fn prepare(
    group: &mut Group,
    change: &Change,
    installations: &Installations,
    key: Option<Secret>,
) -> Result<(Pending, Vec<Record>), SecurityError> {
    let name = group.name().to_owned();
    let (mut steps, mut records) = (Vec::new(), Vec::new());
    let gid = group.gid().as_bytes().to_vec();
    let update = match change {
        Change::Add(kid, credential) => {
            let added = vec![name_of(*kid, credential)];
            add(group, *kid, credential, &mut steps, &mut records)?;
            Update::Members {
                added,
                removed: Vec::new(),
            }
        }
        Change::Remove(kid) => {
            let known = group.peer(*kid).filter(|peer| !peer.is_provisional());
            let peer = known.ok_or_else(|| SecurityError::NoMember {
                name: name.clone(),
                of: kid.to_string(),
            })?;
            let removed = vec![name_of(*kid, peer.credential())];
            remove(gid, *kid, &mut steps, &mut records);
            Update::Members {
                added: Vec::new(),
                removed,
            }
        }
        Change::Describe(wanted) => {
            if let Some(own) = &wanted.own
                && group.credential().map(Credential::bytes) != Some(own.bytes())
            {
                return Err(SecurityError::OtherCredential { name });
            }
            let wanted_id = wanted.sender_id.filter(|id| group.sender_id() != Some(*id));
            let refused = |reason| SecurityError::Refused {
                name: name.clone(),
                reason,
            };
            let (old, new) = (group.generation(), wanted.parameters.generation);
            if new < old {
                return Err(refused(InstallRefused::Rollback));
            }
            let id = wanted.sender_id.or(group.sender_id());
            if new > old {
                installations
                    .check(
                        new,
                        wanted.parameters.gid.as_bytes(),
                        id.as_ref().map(Kid::as_bytes),
                    )
                    .map_err(refused)?;
                install(group, wanted, key, &mut steps, &mut records)?;
                Update::NewKeys
            } else if !has_keys(group, &wanted.parameters) {
                return Err(refused(InstallRefused::Contradiction));
            } else {
                if let Some(id) = wanted_id {
                    installations
                        .check(old, &gid, Some(id.as_bytes()))
                        .map_err(refused)?;
                    let reserved = u64::from(group.settings().sequence.block);
                    let prepared = group
                        .prepare_sender_id(id, reserved)
                        .map_err(|reason| not_installed(&name, reason))?;
                    records.push(prepared.record(group));
                    steps.push(Step::SenderId(Box::new(prepared)));
                }
                let (added, removed) = other_members(group, wanted, &mut steps, &mut records)?;
                match (wanted_id, added.is_empty() && removed.is_empty()) {
                    (Some(_), _) => Update::NewSenderId,
                    (None, true) => Update::Nothing,
                    (None, false) => Update::Members { added, removed },
                }
            }
        }
    };
    let heard = Heard::Nothing;
    let pending = Pending {
        steps,
        update,
        heard,
    };
    Ok((pending, records))
}

/// Whether these are the keys that a group has.
fn has_keys(group: &Group, parameters: &Parameters) -> bool {
    let now = group.record(None, Vec::new());
    now.gid == parameters.gid.as_bytes()
        && now.master_secret == parameters.master_secret
        && now.master_salt == parameters.master_salt.as_bytes()
        && now.suite == parameters.suite
        && now.format == parameters.format
        && now.manager == parameters.gm_credential.as_bytes()
}

fn install(
    group: &mut Group,
    wanted: &Wanted,
    key: Option<Secret>,
    steps: &mut Vec<Step>,
    records: &mut Vec<Record>,
) -> Result<(), SecurityError> {
    let stale = match &wanted.stale {
        Some((generation, kids)) => Stale::Since {
            generation: *generation,
            kids: kids.clone(),
        },
        None => Stale::Replace(wanted.peers.clone()),
    };
    let ingredients = Ingredients {
        parameters: wanted.parameters.clone(),
        sender_id: wanted.sender_id,
        stale,
        reserved: u64::from(group.settings().sequence.block),
    };
    let name = group.name().to_owned();
    let prepared = ingredients
        .prepare(group)
        .map_err(|reason| not_installed(&name, reason))?;
    records.push(Record::Installed(Box::new(prepared.record(group, key))));
    records.extend(prepared.peer_records());
    steps.push(Step::Install(Box::new(prepared), Box::new(ingredients)));
    Ok(())
}

impl Ingredients {
    fn prepare(&self, group: &mut Group) -> Result<Prepared, InstallError> {
        let (parameters, stale) = (self.parameters.clone(), self.stale.clone());
        group.prepare_install(parameters, self.sender_id, stale, self.reserved)
    }
}

/// The members that are to go and to come, by name.
fn other_members(
    group: &mut Group,
    wanted: &Wanted,
    steps: &mut Vec<Step>,
    records: &mut Vec<Record>,
) -> Result<(Vec<String>, Vec<String>), SecurityError> {
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    let gid = group.gid().as_bytes().to_vec();
    let goes = |kid: Kid, credential: &Credential| match &wanted.stale {
        Some((_, kids)) => kids.contains(&kid),
        None => !wanted
            .peers
            .iter()
            .any(|(id, other)| *id == kid && other.bytes() == credential.bytes()),
    };
    for peer in group.peers().filter(|peer| !peer.is_provisional()) {
        if goes(peer.kid(), peer.credential()) {
            removed.push(name_of(peer.kid(), peer.credential()));
            remove(gid.clone(), peer.kid(), steps, records);
        }
    }
    for (kid, credential) in &wanted.peers {
        let stays = group.peer(*kid).is_some_and(|peer| {
            !peer.is_provisional() && peer.credential().bytes() == credential.bytes()
        });
        if !stays {
            added.push(name_of(*kid, credential));
            add(group, *kid, credential, steps, records)?;
        }
    }
    Ok((added, removed))
}

fn remove(gid: Vec<u8>, kid: Kid, steps: &mut Vec<Step>, records: &mut Vec<Record>) {
    records.push(Record::PeerDeleted {
        gid,
        recipient_id: kid.as_bytes().to_vec(),
    });
    steps.push(Step::Remove(kid));
}

/// One more member, if it fits: what is durable must be possible.
fn add(
    group: &Group,
    kid: Kid,
    credential: &Credential,
    steps: &mut Vec<Step>,
    records: &mut Vec<Record>,
) -> Result<(), SecurityError> {
    let goes = |step: &Step| matches!(step, Step::Remove(gone) if *gone == kid);
    let own = steps.iter().find_map(|step| match step {
        Step::SenderId(prepared) => Some(prepared.sender_id()),
        _ => None,
    });
    let its_own = own.or(group.sender_id()) == Some(kid);
    let taken =
        group.peer(kid).is_some_and(|peer| !peer.is_provisional()) && !steps.iter().any(goes);
    let (come, go) = steps.iter().fold((0, 0), |(come, go), step| match step {
        Step::Add(..) => (come + 1, go),
        Step::Remove(_) => (come, go + 1),
        _ => (come, go),
    });
    let known = group.peers().filter(|peer| !peer.is_provisional()).count();
    let fits = if its_own {
        Err(GroupError::OwnId)
    } else if taken {
        Err(GroupError::IdTaken)
    } else if known + come + 1 > group.settings().recipients + go {
        Err(GroupError::Full)
    } else {
        group.check_peer(kid, credential)
    };
    if let Err(reason) = fits {
        return Err(SecurityError::Member {
            name: group.name().to_owned(),
            of: kid.to_string(),
            reason,
        });
    }
    records.push(Record::Peer {
        gid: group.gid().as_bytes().to_vec(),
        recipient_id: kid.as_bytes().to_vec(),
        credential: credential.bytes().to_vec(),
    });
    steps.push(Step::Add(kid, Box::new(credential.clone())));
    Ok(())
}

/// Puts a change into effect that is durable.
fn commit(group: &mut Group, pending: Pending, now: Duration) -> Changed {
    for step in pending.steps {
        let done = match step {
            Step::Install(prepared, again) => match group.commit_install(*prepared, now) {
                // A member was met meanwhile. The keys are the same, and so is what is durable of them.
                Err(InstallError::Superseded) => {
                    group.abort_install();
                    let prepared = again.prepare(group);
                    prepared.and_then(|prepared| group.commit_install(prepared, now))
                }
                done => done,
            },
            Step::SenderId(prepared) => group.commit_sender_id(*prepared),
            Step::Remove(kid) => {
                group.remove_peer(kid);
                Ok(())
            }
            Step::Add(kid, credential) => {
                // Members that were met meanwhile may have taken the last place. The keys are the same, and it is known at the next start.
                if let Err(reason) = group.add_peer(kid, *credential) {
                    return Err(not_installed(group.name(), InstallError::Group(reason)));
                }
                Ok(())
            }
        };
        if let Err(reason) = done {
            // What is durable and what is used must not differ.
            group.mark_lost();
            return Err(not_installed(group.name(), reason));
        }
    }
    if pending.heard == Heard::Perhaps {
        group.windows_unknown();
    }
    Ok((pending.update, Facts::of(group)))
}

fn not_installed(name: &str, reason: InstallError) -> SecurityError {
    let name = name.to_owned();
    let refused = |reason| SecurityError::Refused {
        name: name.clone(),
        reason,
    };
    match reason {
        InstallError::NotNewer => refused(InstallRefused::Rollback),
        InstallError::SameGid => refused(InstallRefused::Contradiction),
        InstallError::UsedSenderId => refused(InstallRefused::SenderIdUsed),
        InstallError::Group(reason) => SecurityError::Member {
            name,
            of: "one of the new keys".to_owned(),
            reason,
        },
        InstallError::StaleUnknown | InstallError::NoSender | InstallError::Superseded => {
            SecurityError::NotInstalled { name, reason }
        }
    }
}

/// Changes a group, whoever has it.
pub(super) async fn change(held: &Arc<Held>, change: Change) -> Changed {
    let held = Arc::clone(held);
    let change = Arc::new(change);
    let done = tokio::spawn(async move { held.change(&change).await });
    done.await.unwrap_or(Err(SecurityError::Worker))
}

/// Leaves a group, whoever has it.
pub(super) async fn leave(held: &Arc<Held>) -> Result<(), SecurityError> {
    let held = Arc::clone(held);
    let done = tokio::spawn(async move { held.leave().await });
    done.await.unwrap_or(Err(SecurityError::Worker))
}

impl Held {
    async fn change(&self, change: &Arc<Change>) -> Changed {
        let _alone = self.changing.lock().await;
        loop {
            let mut released = pin!(self.released.notified());
            released.as_mut().enable();
            let place = Arc::clone(&self.place).lock_owned().await;
            if let Some(changed) = self.slot.settled() {
                return changed;
            }
            let (link, id) = match &*place {
                Place::Left { .. } => return Err(self.left()),
                Place::Moving => return Err(SecurityError::Worker), // nobody moves it without its lock
                Place::Idle { .. } => return self.change_idle(place, change).await,
                Place::Used { link, id, .. } => (link.clone(), *id),
            };
            drop(place);
            if let Some(link) = link.as_ref().and_then(WeakLink::upgrade)
                && let Some(changed) = self.change_used(&link, id, change).await
            {
                return changed;
            }
            released.await; // the endpoint has ended, or is about to
        }
    }

    fn left(&self) -> SecurityError {
        SecurityError::Left {
            name: self.name().to_owned(),
        }
    }

    /// Changes the group while an endpoint uses it. `None`: the endpoint has ended.
    async fn change_used(
        &self,
        link: &Link,
        id: ContextId,
        change: &Arc<Change>,
    ) -> Option<Changed> {
        let (slot, what) = (self.slot.clone(), Arc::clone(change));
        let key = self.key().and_then(|key| key.stored().cloned());
        let prepared = link
            .call(move |driver, _| {
                let group = driver.group_mut(id).ok_or(SecurityError::Worker)?;
                slot.prepare(group, &what, key)
            })
            .await;
        let records = match prepared {
            Err(Closed) => return None,
            Ok(Err(error)) => return Some(Err(error)),
            Ok(Ok(records)) => records,
        };
        let stored = match self.keeper() {
            Some(keeper) if !records.is_empty() => store(self.slot.clone(), keeper, records).await,
            _ => {
                self.slot.durable(self.name(), Heard::Nothing);
                Ok(true)
            }
        };
        if let Ok(false) = stored {
            return None;
        }
        let slot = self.slot.clone();
        let finished = link
            .call(move |driver, now| {
                let group = driver.group_mut(id).ok_or(SecurityError::Worker)?;
                let changed = slot.finish(group, at(now));
                driver.endpoint.keys_changed(now);
                changed
            })
            .await;
        match (stored, finished) {
            (Err(error), _) => Some(Err(error)),
            (Ok(_), Err(Closed)) => None,
            (Ok(_), Ok(changed)) => Some(changed),
        }
    }

    /// Changes the group that nobody uses.
    async fn change_idle(
        &self,
        mut place: OwnedMutexGuard<Place>,
        change: &Arc<Change>,
    ) -> Changed {
        let (slot, what) = (self.slot.clone(), Arc::clone(change));
        let key = self.key().and_then(|key| key.stored().cloned());
        let Some(keeper) = self.keeper().cloned() else {
            return in_place(&mut place, &slot, &what, key, |_| Ok(Heard::Nothing));
        };
        let (done, changed) = oneshot::channel();
        let strand = keeper.strand().clone();
        strand.submit(Box::new(move || {
            let changed = in_place(&mut place, &slot, &what, key, |records| {
                keeper.install(records)
            });
            drop((place, slot, what, keeper)); // whoever hears of the end may want to open the store again
            let _ = done.send(changed);
        }));
        changed.await.unwrap_or(Err(SecurityError::Worker))
    }

    async fn leave(&self) -> Result<(), SecurityError> {
        let _alone = self.changing.lock().await;
        let mut place = loop {
            let mut released = pin!(self.released.notified());
            released.as_mut().enable();
            let place = Arc::clone(&self.place).lock_owned().await;
            let (link, id) = match &*place {
                Place::Used { link, id, .. } => (link.clone(), *id),
                Place::Moving => return Err(SecurityError::Worker),
                Place::Left { .. } | Place::Idle { .. } => break place,
            };
            drop(place);
            let left = match link.as_ref().and_then(WeakLink::upgrade) {
                Some(link) => link.call(move |driver, now| driver.leave(now, id)).await,
                None => Err(Closed),
            };
            match left {
                Ok(()) => break Arc::clone(&self.place).lock_owned().await,
                Err(Closed) => released.await,
            }
        };
        let unwritten = match &mut *place {
            Place::Left { unwritten } => unwritten.take(),
            _ => Some(self.slot.installations().clone()),
        };
        *place = Place::Left { unwritten: None };
        self.forget_key();
        let (Some(installations), Some(keeper)) = (unwritten, self.keeper().cloned()) else {
            return Ok(());
        };
        let (done, written) = oneshot::channel();
        let strand = keeper.strand().clone();
        strand.submit(Box::new(move || {
            let written = keeper.leave(&installations);
            if written.is_err() {
                let unwritten = Some(installations);
                *place = Place::Left { unwritten };
            }
            drop((place, keeper));
            let _ = done.send(written);
        }));
        let written = written.await.map_err(|_| SecurityError::Worker)?;
        Ok(written?)
    }
}

/// Makes the records of a change durable. `false`: it was given up before, because the endpoint has ended.
async fn store(slot: Slot, keeper: &Keeper, records: Vec<Record>) -> Result<bool, SecurityError> {
    let (done, stored) = oneshot::channel();
    let (keeper, strand) = (keeper.clone(), keeper.strand().clone());
    strand.submit(Box::new(move || {
        let stored = match slot.is_waiting() {
            false => Ok(false),
            true => keeper.install(&records).map(|heard| {
                slot.durable(keeper.list(), heard);
                true
            }),
        };
        drop((slot, keeper));
        let _ = done.send(stored);
    }));
    stored.await.map_err(|_| SecurityError::Worker)?
}

/// Where new keys come to a group that nobody has used since it was opened, nothing was received with them at the next start either,
/// however the use of the old ones had ended.
fn untouched(records: &[Record]) -> Option<Record> {
    let installed = records.iter().find_map(|record| match record {
        Record::Installed(installed) => Some(installed),
        _ => None,
    })?;
    Some(Record::Clean {
        gid: installed.gid.clone(),
        sender_id: installed.own.as_ref().map(|own| own.sender_id.clone()),
        next: 0,
        windows: Vec::new(),
    })
}

/// The whole change of a group that nobody uses.
fn in_place(
    place: &mut Place,
    slot: &Slot,
    change: &Change,
    key: Option<Secret>,
    store: impl FnOnce(&[Record]) -> Result<Heard, SecurityError>,
) -> Changed {
    let Place::Idle { material, ready } = place else {
        return Err(SecurityError::Worker);
    };
    let group = material.group_mut().ok_or(SecurityError::Worker)?;
    let mut records = slot.prepare(group, change, key)?;
    if !*ready {
        records.extend(untouched(&records));
    }
    let stored = match records.is_empty() {
        true => Ok(Heard::Nothing),
        false => store(&records),
    };
    if let Ok(heard) = stored {
        slot.durable(group.name(), heard);
    }
    let changed = slot.finish(group, at(clock::now()));
    stored?;
    changed
}

#[cfg(test)]
mod tests;
