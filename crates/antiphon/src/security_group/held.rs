//! Who has a context at the moment: nobody, one endpoint, or no one ever again.
//!
//! Sequence numbers may be used once. So a group or pair belongs to one endpoint at a time, whichever asks first, and clones of a handle
//! are the same group.

use std::sync::{Arc, PoisonError};

use antiphon_oscore::record::{Installations, Record};
use antiphon_oscore::sequence::Sequence;
use antiphon_oscore::{ContextId, Group, Pair};
use tokio::sync::{Mutex, Notify, OwnedMutexGuard, broadcast, oneshot};

use super::change::Slot;
use super::error::SecurityError;
use super::keeper::{CredentialSource, Keeper, Key};
use super::news::{GroupNews, WAITING};
use crate::driver::WeakLink;

/// The context itself.
#[derive(Debug)]
pub(crate) enum Material {
    Group(Box<Group>),
    Pair(Box<Pair>),
}

impl From<Group> for Material {
    fn from(group: Group) -> Self {
        Self::Group(Box::new(group))
    }
}

impl From<Pair> for Material {
    fn from(pair: Pair) -> Self {
        Self::Pair(Box::new(pair))
    }
}

impl Material {
    fn sequence(&self) -> Option<&Sequence> {
        match self {
            Self::Group(group) => group.sequence(),
            Self::Pair(pair) => Some(pair.sequence()),
        }
    }

    fn sequence_mut(&mut self) -> Option<&mut Sequence> {
        match self {
            Self::Group(group) => group.sequence_mut(),
            Self::Pair(pair) => Some(pair.sequence_mut()),
        }
    }

    fn is_lost(&self) -> bool {
        match self {
            Self::Group(group) => group.is_lost(),
            Self::Pair(pair) => pair.is_lost(),
        }
    }

    /// The names under which numbers are reserved: Gid or ID Context, and Sender ID.
    fn names(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        match self {
            Self::Group(group) => (
                group.gid().as_bytes().to_vec(),
                group.sender_id().map(|kid| kid.as_bytes().to_vec()),
            ),
            Self::Pair(pair) => (
                pair.id_context()
                    .map_or_else(Vec::new, |id| id.as_bytes().to_vec()),
                Some(pair.sender_id().as_bytes().to_vec()),
            ),
        }
    }

    /// The group, if it is one.
    pub(super) fn group_mut(&mut self) -> Option<&mut Group> {
        match self {
            Self::Group(group) => Some(group),
            Self::Pair(_) => None,
        }
    }

    /// The exact state, as the last records before the end. Members that were met on the way are among them: without
    /// them their windows would be forgotten, and old requests of theirs taken for new ones.
    fn last_records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        if let Self::Group(group) = self
            && group.settings().dynamic
        {
            records.extend(group.peer_records());
        }
        records.push(self.clean_record());
        records
    }

    fn clean_record(&self) -> Record {
        match self {
            Self::Group(group) => group.clean_record(),
            Self::Pair(pair) => {
                let (gid, sender_id) = self.names();
                let of = pair.recipient_id().as_bytes().to_vec();
                Record::Clean {
                    gid,
                    sender_id,
                    next: self.sequence().map_or(0, Sequence::next),
                    windows: vec![(of, pair.window().clone())],
                }
            }
        }
    }
}

/// Where a context is.
pub(crate) enum Place {
    /// With nobody.
    Idle {
        material: Material,
        /// The store knows that it is in use, and has the first numbers reserved.
        ready: bool,
    },
    /// With an endpoint of this process.
    Used {
        endpoint: u64,
        id: ContextId,
        link: Option<WeakLink>,
    },
    /// With nobody any more. What the store is to know of it, if it does not yet.
    Left { unwritten: Option<Installations> },
    /// On its way from one to the other.
    Moving,
}

impl Place {
    /// Takes out what is ready.
    pub(crate) fn take(&mut self) -> Option<Material> {
        match core::mem::replace(self, Self::Moving) {
            Self::Idle {
                material,
                ready: true,
            } => Some(material),
            other => {
                *self = other;
                None
            }
        }
    }
}

/// What an endpoint is to do to use a context.
pub(crate) enum Claimed {
    /// Nothing: it has it.
    Has(ContextId),
    /// To install what is there, ready for use.
    Ready(OwnedMutexGuard<Place>),
}

/// A group or pair, whoever has it.
pub(crate) struct Held {
    name: String,
    key: std::sync::Mutex<Option<Key>>,
    keeper: Option<Keeper>,
    credentials: Option<Arc<dyn CredentialSource>>,
    pub(super) place: Arc<Mutex<Place>>,
    /// Whoever changes keys or members holds it, so that there is one change at a time.
    pub(super) changing: Mutex<()>,
    /// A change on its way to an endpoint.
    pub(super) slot: Slot,
    /// An endpoint has given it back.
    pub(super) released: Notify,
    news: broadcast::Sender<GroupNews>,
}

impl Held {
    pub(crate) fn new(
        name: &str,
        material: Material,
        key: Option<Key>,
        keeper: Option<Keeper>,
        credentials: Option<Arc<dyn CredentialSource>>,
        installations: Installations,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            key: std::sync::Mutex::new(key),
            keeper,
            credentials,
            place: Arc::new(Mutex::new(Place::Idle {
                material,
                ready: false,
            })),
            changing: Mutex::new(()),
            slot: Slot::knowing(installations),
            released: Notify::new(),
            news: broadcast::Sender::new(WAITING),
        })
    }

    /// Tells whoever listens.
    pub(crate) fn tell(&self, news: GroupNews) {
        let _ = self.news.send(news); // nobody has to
    }

    pub(crate) fn news(&self) -> broadcast::Receiver<GroupNews> {
        self.news.subscribe()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn key(&self) -> Option<Key> {
        self.key
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// From now on nobody gets the private key from here.
    pub(super) fn forget_key(&self) {
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn keeper(&self) -> Option<&Keeper> {
        self.keeper.as_ref()
    }

    pub(crate) fn credentials(&self) -> Option<&Arc<dyn CredentialSource>> {
        self.credentials.as_ref()
    }

    /// Claims the context for an endpoint. Before it is used the store says so (from there on a start counts as one after a crash),
    /// and the first sequence numbers are reserved; both in one write.
    ///
    /// A future that is dropped leaves everything in order.
    pub(crate) async fn claim(&self, endpoint: u64) -> Result<Claimed, SecurityError> {
        let mut place = Arc::clone(&self.place).lock_owned().await;
        let ready = match &mut *place {
            Place::Used {
                endpoint: by, id, ..
            } if *by == endpoint => return Ok(Claimed::Has(*id)),
            Place::Left { .. } => {
                return Err(SecurityError::Left {
                    name: self.name.clone(),
                });
            }
            Place::Used { .. } | Place::Moving => {
                return Err(SecurityError::InUse {
                    name: self.name.clone(),
                });
            }
            Place::Idle { ready, .. } => ready,
        };
        if *ready {
            return Ok(Claimed::Ready(place));
        }
        let Some(keeper) = self.keeper.clone() else {
            *ready = true;
            return Ok(Claimed::Ready(place));
        };
        let (done, begun) = oneshot::channel();
        let strand = keeper.strand().clone();
        strand.submit(Box::new(move || {
            let result = begin(&mut place, &keeper);
            drop(keeper); // whoever hears of the end may want to open the store again
            let _ = done.send((place, result)); // nobody waits any more: the place is free again
        }));
        let (place, result) = begun.await.map_err(|_| SecurityError::Worker)?;
        result?;
        Ok(Claimed::Ready(place))
    }

    /// The endpoint has ended in good order: makes the exact state durable.
    pub(crate) async fn give_back(&self, material: Material) {
        let place = Arc::clone(&self.place).lock_owned().await;
        let written = self.put_back(place, material, true);
        let _ = written.await;
    }

    /// The endpoint has ended in some other way, or never begun: the context is free, and what is durable of it is as
    /// while it was in use.
    pub(crate) fn take_back(self: &Arc<Self>, material: Material) {
        match Arc::clone(&self.place).try_lock_owned() {
            Ok(place) => drop(self.put_back(place, material, false)),
            // Somebody just looks.
            Err(_) => {
                let held = Arc::clone(self);
                std::thread::spawn(move || {
                    let place = Arc::clone(&held.place).blocking_lock_owned();
                    drop(held.put_back(place, material, false));
                });
            }
        }
    }

    /// Puts the context where it came from. A change that was on its way to the endpoint is finished here: the keeper's
    /// strand knows whether it is durable.
    fn put_back(
        &self,
        mut place: OwnedMutexGuard<Place>,
        mut material: Material,
        clean: bool,
    ) -> oneshot::Receiver<()> {
        if let Some(sequence) = material.sequence_mut() {
            sequence.not_reserved(); // whoever had asked is gone
        }
        *place = Place::Idle {
            material,
            ready: true,
        };
        let (done, ended) = oneshot::channel();
        let (slot, keeper) = (self.slot.clone(), self.keeper.clone());
        let Some(keeper) = keeper else {
            if let Place::Idle { material, .. } = &mut *place {
                slot.settle(material);
            }
            drop(place);
            self.released.notify_waiters();
            let _ = done.send(());
            return ended;
        };
        let strand = keeper.strand().clone();
        strand.submit(Box::new(move || {
            if let Place::Idle { material, ready } = &mut *place {
                slot.settle(material);
                if clean && !material.is_lost() {
                    match keeper.append(&material.last_records()) {
                        Ok(()) => *ready = false,
                        Err(error) => {
                            tracing::warn!(%error, list = keeper.list(), "the state of a clean shutdown could not be written; the next start is as after a crash");
                        }
                    }
                }
            }
            drop((place, keeper, slot)); // whoever hears of the end may want to open the store again
            let _ = done.send(());
        }));
        // Whoever waits for this waits for the place then, which the job has.
        self.released.notify_waiters();
        ended
    }
}

/// Writes down that the context is in use, and reserves the first numbers.
fn begin(place: &mut Place, keeper: &Keeper) -> Result<(), SecurityError> {
    let Place::Idle { material, ready } = place else {
        return Err(SecurityError::Worker); // it was locked as idle
    };
    let mut records = vec![Record::Running];
    let upto = material.sequence_mut().and_then(Sequence::wants);
    if let (Some(upto), (gid, Some(sender_id))) = (upto, material.names()) {
        records.push(Record::Reserved {
            gid,
            sender_id,
            upto,
        });
    }
    let written = keeper.append(&records);
    if let Some(sequence) = material.sequence_mut() {
        match (&written, upto) {
            (Ok(()), Some(upto)) => sequence.reserved(upto),
            _ => sequence.not_reserved(),
        }
    }
    written?;
    *ready = true;
    Ok(())
}

impl core::fmt::Debug for Held {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Held")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
