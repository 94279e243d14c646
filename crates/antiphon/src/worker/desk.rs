//! The work of one endpoint: handed to the threads that do it, and taken back.

use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use antiphon_oscore::record::Record;
use antiphon_oscore::{ContextId, Contexts};
use antiphon_proto::{Task, WorkFailure, WorkId, WorkResult};
use tokio::sync::{OwnedMutexGuard, mpsc};

use super::pool::Pool;
use crate::driver::WeakLink;
use crate::security_group::GroupNews;
use crate::security_group::held::{Held, Material, Place};
use crate::security_group::keeper::Keeper;
use crate::store::StoreError;

/// Credentials that wait for a thread that fetches them, at most, in the whole process. Further ones are not found.
const FETCHES_WAITING: usize = 64;
/// How long it is waited before a record is written once more, when writing it failed.
const AGAIN: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(800),
];

/// What has become of work, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) store_failures: u64,
    pub(crate) key_failures: u64,
}

/// Where an endpoint's work is handed out. It knows which keys and which stores belong to which contexts; the endpoint does not.
pub(crate) struct Desk {
    /// Tells endpoints of this process apart.
    endpoint: u64,
    used: Vec<(ContextId, Arc<Held>)>,
    /// How others reach the endpoint.
    link: Option<WeakLink>,
    results: mpsc::UnboundedSender<(WorkId, WorkResult)>,
    incoming: mpsc::UnboundedReceiver<(WorkId, WorkResult)>,
    done: VecDeque<(WorkId, WorkResult)>,
    under_way: usize,
    tally: Tally,
}

impl Desk {
    pub(crate) fn new() -> Self {
        static ENDPOINTS: AtomicU64 = AtomicU64::new(0);
        let (results, incoming) = mpsc::unbounded_channel();
        Self {
            endpoint: ENDPOINTS.fetch_add(1, Ordering::Relaxed),
            used: Vec::new(),
            link: None,
            results,
            incoming,
            done: VecDeque::new(),
            under_way: 0,
            tally: Tally::default(),
        }
    }

    /// The number of this endpoint.
    pub(crate) fn endpoint(&self) -> u64 {
        self.endpoint
    }

    /// Says how the endpoint is reached by whoever changes what it uses.
    pub(crate) fn reached_by(&mut self, link: WeakLink) {
        self.link = Some(link);
    }

    /// Gives a context that is ready to the endpoint, and says under which name.
    pub(crate) fn install(
        &mut self,
        contexts: &mut Contexts,
        held: &Arc<Held>,
        mut place: OwnedMutexGuard<Place>,
    ) -> Option<ContextId> {
        let id = match place.take()? {
            Material::Group(group) => contexts.add_group(*group).into(),
            Material::Pair(pair) => contexts.add_pair(*pair).into(),
        };
        *place = Place::Used {
            endpoint: self.endpoint,
            id,
            link: self.link.clone(),
        };
        self.used.push((id, Arc::clone(held)));
        Some(id)
    }

    /// Takes a piece of work that is not about memberships. The result, if there is nothing to be done; else it comes later.
    pub(crate) fn take(&mut self, id: WorkId, task: Task) -> Option<WorkResult> {
        match task {
            Task::Join { .. } | Task::Leave { .. } => {
                return Some(WorkResult::Failed(WorkFailure::System(0)));
            }
            Task::Verify(job) => {
                let reply = self.reply(id, || WorkResult::Failed(WorkFailure::Key));
                Pool::computing().submit(Box::new(move || {
                    reply.send(WorkResult::Checked(job.run()));
                }));
            }
            Task::Sign(job) => {
                let key = match self.held(job.group().into()).and_then(|held| held.key()) {
                    Some(key) => key,
                    None => return Some(WorkResult::Failed(WorkFailure::Key)),
                };
                let reply = self.reply(id, || WorkResult::Failed(WorkFailure::Key));
                key.strand().clone().submit(Box::new(move || {
                    reply.send(key.with(|key| job.run(key)));
                }));
            }
            Task::Agree(job) => {
                let key = match self.held(job.group().into()).and_then(|held| held.key()) {
                    Some(key) => key,
                    None => return Some(WorkResult::Failed(WorkFailure::Key)),
                };
                let reply = self.reply(id, || WorkResult::Failed(WorkFailure::Key));
                key.strand().clone().submit(Box::new(move || {
                    reply.send(WorkResult::Agreed(key.with(|key| job.run(key))));
                }));
            }
            Task::Store { context, record } => {
                let Some(held) = self.held(context) else {
                    return Some(WorkResult::Failed(WorkFailure::System(0)));
                };
                let Some(keeper) = held.keeper().cloned() else {
                    return Some(WorkResult::Done); // held in memory by its owner's choice
                };
                let reply = self.reply(id, || WorkResult::Failed(WorkFailure::System(0)));
                keeper.strand().clone().submit(Box::new(move || {
                    let result = store(&keeper, &record);
                    drop(keeper);
                    reply.send(result);
                }));
            }
            Task::LoadCredential { group, kid } => {
                let source = self
                    .held(group.into())
                    .and_then(|held| held.credentials().cloned());
                let Some(source) = source else {
                    return Some(WorkResult::Credential(None));
                };
                let reply = self.reply(id, || WorkResult::Credential(None));
                let job = Box::new(move || reply.send(WorkResult::Credential(source.fetch(kid))));
                // One that is not even begun says so, as its reply is dropped.
                drop(Pool::fetching().submit_within(FETCHES_WAITING, job));
            }
        }
        None
    }

    /// Looks for results. True: there is one to be fetched.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        while let Poll::Ready(Some(result)) = self.incoming.poll_recv(cx) {
            self.under_way = self.under_way.saturating_sub(1);
            if let WorkResult::Failed(failure) = &result.1 {
                match failure {
                    WorkFailure::Key => self.tally.key_failures += 1,
                    _ => self.tally.store_failures += 1,
                }
            }
            self.done.push_back(result);
        }
        !self.done.is_empty()
    }

    /// The next result.
    pub(crate) fn finished(&mut self) -> Option<(WorkId, WorkResult)> {
        self.done.pop_front()
    }

    /// Nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.under_way == 0 && self.done.is_empty()
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// The name of a context at this endpoint.
    pub(crate) fn name(&self, id: ContextId) -> &str {
        self.held(id).map_or("", |held| held.name())
    }

    /// Tells whoever listens to a group or pair.
    pub(crate) fn tell(&self, id: ContextId, news: GroupNews) {
        if let Some(held) = self.held(id) {
            held.tell(news);
        }
    }

    /// The endpoint has ended in good order: writes down the exact state of its contexts, and gives them back.
    pub(crate) async fn close(&mut self, contexts: &mut Contexts) {
        for (id, held) in core::mem::take(&mut self.used) {
            let material = match id {
                ContextId::Group(id) => contexts.remove_group(id).map(Material::from),
                ContextId::Pair(id) => contexts.remove_pair(id).map(Material::from),
            };
            if let Some(material) = material {
                held.give_back(material).await;
            }
        }
    }

    /// The endpoint is no more, or never was, without having ended in good order: gives its contexts back as they are.
    pub(crate) fn abandon(&mut self, contexts: &mut Contexts) {
        for (id, held) in core::mem::take(&mut self.used) {
            let material = match id {
                ContextId::Group(id) => contexts.remove_group(id).map(Material::from),
                ContextId::Pair(id) => contexts.remove_pair(id).map(Material::from),
            };
            if let Some(material) = material {
                held.take_back(material);
            }
        }
    }

    /// The endpoint has left a group.
    pub(crate) fn forget(&mut self, id: ContextId) {
        self.used.retain(|(of, _)| *of != id);
    }

    fn held(&self, id: ContextId) -> Option<&Arc<Held>> {
        let found = self.used.iter().find(|(of, _)| *of == id);
        found.map(|(_, held)| held)
    }

    /// `otherwise` is what is said if the work ends without a result.
    fn reply(&mut self, id: WorkId, otherwise: fn() -> WorkResult) -> Reply {
        self.under_way += 1;
        Reply {
            id,
            results: self.results.clone(),
            otherwise,
            said: false,
        }
    }
}

/// Writes a record, more than once if it fails.
fn store(keeper: &Keeper, record: &Record) -> WorkResult {
    let mut waits = AGAIN.into_iter();
    loop {
        let error = match keeper.append(core::slice::from_ref(record)) {
            Ok(()) => return WorkResult::Done,
            Err(error) => error,
        };
        let hopeless = matches!(
            error,
            StoreError::Poisoned { .. } | StoreError::Closed { .. } | StoreError::TooLong
        );
        // Also what is hopeless is not answered at once: whoever asks will ask again.
        let wait = waits.next();
        std::thread::sleep(wait.unwrap_or_default());
        if hopeless || wait.is_none() {
            tracing::error!(%error, list = keeper.list(), "nothing can be made durable; what is to be sent waits");
            return WorkResult::Failed(WorkFailure::System(0));
        }
        tracing::warn!(%error, list = keeper.list(), "a record could not be written; trying again");
    }
}

/// Owes a result. If the work ends without one, it has failed.
struct Reply {
    id: WorkId,
    results: mpsc::UnboundedSender<(WorkId, WorkResult)>,
    /// What is said if the work ends without a result.
    otherwise: fn() -> WorkResult,
    said: bool,
}

impl Reply {
    fn send(mut self, result: WorkResult) {
        self.said = true;
        let _ = self.results.send((self.id, result)); // the endpoint may have ended
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.said {
            let _ = self.results.send((self.id, (self.otherwise)()));
        }
    }
}
