//! The one task that owns an endpoint and its sockets.
//!
//! A round of the loop: receive what is there, hand each datagram to the endpoint, do what the application asks, let time pass,
//! then drain the endpoint - datagrams into the send batches, work to be done at once, events to whoever waits for them. When a round
//! leaves nothing to be read, the task waits for a socket, a command, a handler or the next timeout, whichever comes first.
//!
//! Nothing is allocated for a datagram, nothing is locked, and no datagram waits for another task.

use core::future::Future;
use core::net::SocketAddr;
use core::pin::{Pin, pin};
use core::task::Waker;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;

use antiphon_oscore::Group;
use antiphon_proto::{
    BodyProgress, CollectionEvent, CollectionId, ContextId, Endpoint, EndpointConfig, Event,
    ExchangeId, Failure, Instant, ListenChange, ListenEvent, ObservationId, Path, Response,
    SecurityEvent, SecurityGroupName, Sender, SocketId,
};
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot};
use tokio::time::Sleep;

use crate::clock;
use crate::error::{BuildError, Closed};
use crate::interfaces::Interface;
use crate::security_group::held::{Claimed, Held, Place};
use crate::security_group::{GroupNews, SecurityError, group_id};
use crate::server::Changed;
use crate::socket::{FailedSend, SocketOptions};
use crate::worker::desk::Desk;
use crate::worker::{self, Handlers, Listened};

mod bell;
mod lent;
pub(crate) mod mailbox;
mod observing;
mod outbox;
pub(crate) mod ports;
mod receiving;
mod reports;
mod restraint;
mod sending;
mod surroundings;
mod waiting;

use bell::{Bell, Callers};
pub(crate) use observing::Observing;
use ports::Ports;
use restraint::Restraint;

/// How the driver works. Every field has a default.
#[derive(Clone, Debug)]
pub struct DriverConfig {
    /// Datagrams received or sent with one system call. Default 32.
    pub batch: usize,
    /// The largest datagram that is received whole, in bytes; larger ones are dropped and counted. Default 2048.
    pub largest_datagram: usize,
    /// Options of all sockets, such as buffer sizes and the hop limit of multicast.
    pub sockets: SocketOptions,
    /// How often the interfaces of the host are looked at for changes. Default 3 s; zero: never.
    pub interface_check: Duration,
    /// How long a shutdown waits for handlers that run, answers that wait for their leisure and datagrams that wait for room. Default 2 s.
    pub drain: Duration,
    /// Async handlers that run at the same time. Default 256; requests beyond it wait.
    pub handlers: usize,
    /// Events of one collection or observation that wait to be fetched. Default 16,384. Of a collection further ones are dropped and
    /// counted; of an observation the oldest of the member that has most, so that the newest state of each remains. The outcome is never dropped.
    pub events: usize,
}

impl Default for DriverConfig {
    fn default() -> Self {
        Self {
            batch: crate::socket::DEFAULT_BATCH,
            largest_datagram: crate::socket::DEFAULT_DATAGRAM,
            sockets: SocketOptions::default(),
            interface_check: Duration::from_secs(3),
            drain: Duration::from_secs(2),
            handlers: 256,
            events: 16_384,
        }
    }
}

/// What the driver has counted beside the endpoint. Nothing is lost without being counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverCounters {
    /// Datagrams dropped by the system because a receive buffer was full, as far as it has told.
    pub receive_buffer_full: u64,
    /// Datagrams that were longer than [`DriverConfig::largest_datagram`].
    pub truncated: u64,
    /// Failures to receive that are no datagram's fault.
    pub receive_errors: u64,
    /// Datagrams that the system refused to send.
    pub refused: u64,
    /// Of those, because it had no buffer (ENOBUFS).
    pub no_buffer: u64,
    /// Times that a send buffer was full and the driver waited.
    pub send_buffer_full: u64,
    /// Reports by ICMP that a request did not arrive.
    pub unreachable: u64,
    /// Such reports that quote no open request, and so are of no consequence.
    pub unreachable_ignored: u64,
    /// Datagrams for a socket that is gone.
    pub no_socket: u64,
    /// Events of collections that found their queue full, and of observations that gave way to newer ones.
    pub events_dropped: u64,
    /// Async handlers that panicked; their requests were answered with 5.00.
    pub handlers_panicked: u64,
    /// Interfaces that went away.
    pub interfaces_gone: u64,
    /// Interfaces that came (back).
    pub interfaces_come: u64,
    /// Changes of this host's addresses.
    pub address_changes: u64,
    /// Groups that could not be joined or left.
    pub memberships_failed: u64,
    /// Records of security groups that could not be made durable, however often it was tried.
    pub store_failures: u64,
    /// Times that a private key could not be used.
    pub key_failures: u64,
}

/// Something the application wants done by the driver.
pub(crate) type Command = Box<dyn FnOnce(&mut Driver, Instant) + Send>;

/// What is said without waiting: nobody waits for this any more, or something has changed.
#[derive(Debug)]
pub(crate) enum Abandoned {
    Collection(CollectionId),
    Exchange(ExchangeId),
    Observation(ObservationId),
    Changed(Arc<Changed>),
}

/// The application's end of a driver. The driver of a client ends when the last link is dropped.
#[derive(Clone)]
pub(crate) struct Link {
    commands: mpsc::Sender<Command>,
    abandoned: mpsc::UnboundedSender<Abandoned>,
    /// The number of the endpoint.
    endpoint: u64,
}

impl Link {
    /// Has the driver do this and waits for the result. It is done as a whole or, if the future is dropped early enough, not at all.
    pub(crate) async fn call<R: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Driver, Instant) -> R + Send + 'static,
    ) -> Result<R, Closed> {
        let (done, result) = oneshot::channel();
        let command: Command = Box::new(move |driver, now| {
            if !done.is_closed() {
                let _ = done.send(task(driver, now));
            }
        });
        self.commands.send(command).await.map_err(|_| Closed)?;
        result.await.map_err(|_| Closed)
    }

    /// Sees to it that the endpoint has this security group or OSCORE context, and says under which name.
    pub(crate) async fn claim<E>(&self, held: &Arc<Held>) -> Result<ContextId, E>
    where
        E: From<SecurityError> + From<Closed>,
    {
        match held.claim(self.endpoint).await? {
            Claimed::Has(id) => Ok(id),
            Claimed::Ready(place) => {
                let held = Arc::clone(held);
                let installed = self
                    .call(move |driver, _| {
                        driver.is_open().ok()?;
                        driver.install(&held, place)
                    })
                    .await?;
                installed.ok_or_else(|| Closed.into())
            }
        }
    }

    /// Waits until the driver is gone.
    pub(crate) async fn ended(&self) {
        self.commands.closed().await;
    }

    /// Says something without waiting for it.
    pub(crate) fn say(&self, what: Abandoned) -> Result<(), Closed> {
        self.abandoned.send(what).map_err(|_| Closed)
    }

    /// A link that does not keep the driver of a client alive.
    pub(crate) fn downgrade(&self) -> WeakLink {
        WeakLink {
            commands: self.commands.downgrade(),
            abandoned: self.abandoned.clone(),
            endpoint: self.endpoint,
        }
    }
}

/// A link that does not keep the driver of a client alive.
#[derive(Clone)]
pub(crate) struct WeakLink {
    commands: mpsc::WeakSender<Command>,
    abandoned: mpsc::UnboundedSender<Abandoned>,
    endpoint: u64,
}

impl WeakLink {
    /// Says that nobody waits for this any more.
    pub(crate) fn abandon(&self, what: Abandoned) {
        let _ = self.abandoned.send(what);
    }

    pub(crate) fn upgrade(&self) -> Option<Link> {
        Some(Link {
            commands: self.commands.upgrade()?,
            abandoned: self.abandoned.clone(),
            endpoint: self.endpoint,
        })
    }
}

/// Commands that wait; whoever has more to ask waits in turn.
const COMMANDS: usize = 256;
/// Commands done in one round at most, so that datagrams are not kept waiting.
const COMMANDS_PER_ROUND: usize = 32;
/// Rounds without a look at other tasks at most.
const ROUNDS: usize = 8;
/// The response to a request to one peer, or why there is none. At the end its age, if it was kept.
pub(crate) type Responded = Result<(Response, Path, Duration, Sender, Option<Duration>), Failure>;

/// Called when a body in blocks has come further.
pub(crate) type OnProgress = Box<dyn FnMut(BodyProgress) + Send + Sync>;

/// Whoever waits for the response of one peer.
struct Awaited {
    responded: oneshot::Sender<Responded>,
    progress: Option<OnProgress>,
}

/// Owns an endpoint and its sockets.
pub(crate) struct Driver {
    pub(crate) endpoint: Endpoint,
    pub(crate) config: DriverConfig,
    pub(crate) handlers: Handlers,
    /// Where the slow work of security is done.
    pub(crate) desk: Desk,
    /// What became of joins and leaves, for whoever has asked for them.
    pub(crate) listened: Listened,
    counters: DriverCounters,
    ports: Ports,
    /// The longest datagram that can be sent.
    largest_sent: usize,
    failed: Vec<(SocketId, FailedSend)>,
    /// What is warned of, at most now and then.
    unsent: Restraint,
    deaf: Restraint,
    bell: Arc<Bell>,
    /// Who has called and was not looked at yet.
    called: Callers,
    ropes: Ropes,
    /// A send buffer that was full has room again.
    unblocked: bool,
    commands: mpsc::Receiver<Command>,
    next_command: Option<Command>,
    abandoned: mpsc::UnboundedReceiver<Abandoned>,
    next_abandoned: Option<Abandoned>,
    /// There is a link through which commands can come.
    linked: bool,
    /// Without one there is nothing left to do.
    ends_with_links: bool,
    collections: HashMap<CollectionId, mpsc::Sender<CollectionEvent>>,
    pub(crate) observations: Observing,
    exchanges: HashMap<ExchangeId, Awaited>,
    /// What the unicast sockets are bound to.
    bound: Vec<SocketAddr>,
    surroundings: Vec<Interface>,
    /// Interfaces that went away, by name and the index they had.
    away: Vec<(String, u32)>,
    next_check: Instant,
    timer: Pin<Box<Sleep>>,
    /// When the timer calls: at the next timeout, or before.
    timer_at: Option<Instant>,
    life: Life,
}

/// With what they call.
struct Ropes {
    application: Waker,
    handlers: Waker,
    stop: Waker,
    timer: Waker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Runs,
    /// Shutting down: what is under way may end until then.
    Drains(Instant),
}

impl Driver {
    /// An endpoint without sockets. Must be called within a tokio runtime.
    pub(crate) fn new(
        endpoint: EndpointConfig,
        config: DriverConfig,
        seed: [u8; 32],
    ) -> (Self, Link) {
        let (commands, command_queue) = mpsc::channel(COMMANDS);
        let (abandoned, abandoned_queue) = mpsc::unbounded_channel();
        let largest_sent = endpoint.limits.datagram.max(config.largest_datagram);
        let bell = Bell::new();
        let mut driver = Self {
            handlers: Handlers::new(config.handlers),
            desk: Desk::new(),
            listened: Listened::default(),
            counters: DriverCounters::default(),
            ports: Ports::new(
                config.sockets,
                config.batch,
                largest_sent,
                Arc::clone(&bell),
            ),
            largest_sent,
            failed: Vec::new(),
            unsent: Restraint::default(),
            deaf: Restraint::default(),
            called: bell::ALL,
            ropes: Ropes {
                application: bell.rope(bell::APPLICATION),
                handlers: bell.rope(bell::HANDLERS),
                stop: bell.rope(bell::STOP),
                timer: bell.rope(bell::TIMER),
            },
            bell,
            unblocked: false,
            commands: command_queue,
            next_command: None,
            abandoned: abandoned_queue,
            next_abandoned: None,
            linked: true,
            ends_with_links: true,
            collections: HashMap::new(),
            observations: Observing::default(),
            exchanges: HashMap::new(),
            bound: Vec::new(),
            surroundings: Vec::new(),
            away: Vec::new(),
            next_check: Instant::ZERO,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            timer_at: None,
            life: Life::Runs,
            endpoint: Endpoint::new(endpoint, seed),
            config,
        };
        let link = Link {
            commands,
            abandoned,
            endpoint: driver.desk.endpoint(),
        };
        driver.desk.reached_by(link.downgrade());
        (driver, link)
    }

    /// Binds a unicast socket and announces it.
    pub(crate) fn bind(
        &mut self,
        address: SocketAddr,
    ) -> Result<(SocketId, SocketAddr), BuildError> {
        let (id, info) = self
            .ports
            .bind(address)
            .map_err(|source| BuildError::Bind { address, source })?;
        self.endpoint.add_socket(id, info);
        self.bound.push(info.local);
        self.tell_addresses();
        Ok((id, info.local))
    }

    /// Gives a security group or OSCORE context to the endpoint. `None` if it is not there to be given.
    pub(crate) fn install(
        &mut self,
        held: &Arc<Held>,
        place: OwnedMutexGuard<Place>,
    ) -> Option<ContextId> {
        let id = self
            .desk
            .install(self.endpoint.security_mut(), held, place)?;
        if let (ContextId::Group(_), Ok(name)) = (id, SecurityGroupName::new(held.name())) {
            let memberships = self.endpoint.server_mut().memberships_mut();
            memberships.set_context_loaded(&name, true);
        }
        Some(id)
    }

    /// A group of this endpoint, to change its keys or members.
    pub(crate) fn group_mut(&mut self, id: ContextId) -> Option<&mut Group> {
        self.endpoint.security_mut().group_mut(group_id(id)?)
    }

    /// Leaves a group: what was asked in it is over, and its keys are gone from here.
    pub(crate) fn leave(&mut self, now: Instant, id: ContextId) {
        self.desk.forget(id);
        if let Some(group) = group_id(id) {
            self.endpoint.leave_group(now, group);
        }
    }

    /// The counters, those of the system's drops included.
    pub(crate) fn counters(&self) -> DriverCounters {
        let tally = self.desk.tally();
        DriverCounters {
            store_failures: tally.store_failures,
            key_failures: tally.key_failures,
            receive_buffer_full: self.ports.dropped(),
            handlers_panicked: self.handlers.panicked(),
            ..self.counters
        }
    }

    /// Every group that is listened to, and on which interface.
    pub(crate) fn listening(&self) -> Vec<(SocketAddr, u32)> {
        self.ports.memberships().collect()
    }

    // ---- the loop ---------------------------------------------------------------------------------

    /// Runs until the last link is dropped or [`stop`](Self::stop) is called.
    pub(crate) async fn run_linked(mut self) {
        self.run(core::future::pending()).await;
    }

    /// Runs until `stop` is ready or [`stop`](Self::stop) is called; links may come and go.
    pub(crate) async fn run_until(mut self, stop: impl Future<Output = ()>) {
        self.ends_with_links = false;
        self.run(stop).await;
    }

    async fn run(&mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut rounds = 0;
        loop {
            let now = clock::now();
            let more = self.round(now);
            if self.is_over(now) {
                break;
            }
            rounds += 1;
            if more && rounds < ROUNDS {
                continue;
            }
            rounds = 0;
            if more {
                tokio::task::yield_now().await;
            }
            if self.wait(now, more, stop.as_mut()).await {
                self.stop(clock::now());
            }
        }
        self.handlers.abort().await;
        // Nothing is sent or received any more.
        self.desk.close(self.endpoint.security_mut()).await;
    }

    /// Does everything that can be done now. True: there may be more to read.
    fn round(&mut self, now: Instant) -> bool {
        let mut more = self.receive(now); // and what comes of it is sent already
        let mut stale = core::mem::take(&mut self.unblocked);
        if self.called & bell::APPLICATION != 0 {
            more |= self.obey(now);
            stale = true;
        }
        while let Some((incoming, response)) = self.handlers.finished() {
            self.endpoint.respond(now, incoming, response);
            self.drain(now);
        }
        while let Some((id, result)) = self.desk.finished() {
            self.endpoint.work_done(now, id, result);
            stale = true;
        }
        if self.endpoint.next_timeout().is_some_and(|due| due <= now) {
            self.endpoint.handle_timeout(now);
            stale = true;
        }
        if now >= self.next_check {
            self.look_around(now);
            stale = true;
        }
        if stale {
            self.drain(now);
        }
        more
    }

    fn is_over(&self, now: Instant) -> bool {
        match self.life {
            Life::Runs => false,
            Life::Drains(until) => now >= until || self.is_idle(),
        }
    }

    /// It can begin something new.
    pub(crate) fn is_open(&self) -> Result<(), Closed> {
        match self.life {
            Life::Runs => Ok(()),
            Life::Drains(_) => Err(Closed),
        }
    }

    /// Nothing is under way.
    fn is_idle(&self) -> bool {
        let load = self.endpoint.load();
        !self.ports.is_blocked()
            && !self.unblocked
            && self.handlers.is_idle()
            && self.desk.is_idle()
            && [load.outbox, load.pending_answers, load.incoming] == [0; 3]
    }

    /// Begins the shutdown: collections end with their outcome, requests fail, groups are left; what remains
    /// to be sent or answered has a little time.
    pub(crate) fn stop(&mut self, now: Instant) {
        if self.life != Life::Runs {
            return;
        }
        self.life = Life::Drains(now + self.config.drain);
        for id in self.collections.keys().copied().collect::<Vec<_>>() {
            self.endpoint.close(now, id);
        }
        self.end_observations(now);
        for (id, _) in core::mem::take(&mut self.exchanges) {
            self.endpoint.cancel(now, id);
        }
        for id in self.ports.close_groups() {
            self.endpoint.remove_socket(id);
        }
        self.drain(now);
        self.collections.clear();
    }

    // ---- what is to be done -----------------------------------------------------------------------

    /// Does what the application asks. True: it asks for more.
    fn obey(&mut self, now: Instant) -> bool {
        let next = self.next_abandoned.take();
        for abandoned in next
            .into_iter()
            .chain(core::iter::from_fn(|| self.abandoned.try_recv().ok()))
        {
            match abandoned {
                Abandoned::Collection(id) => self.endpoint.close(now, id),
                Abandoned::Observation(id) => self.endpoint.end_observation(now, id),
                Abandoned::Changed(changed) => {
                    self.endpoint.changed(now, changed.hear());
                }
                Abandoned::Exchange(id) => {
                    self.exchanges.remove(&id);
                    self.endpoint.cancel(now, id);
                }
            }
        }
        for _ in 0..COMMANDS_PER_ROUND {
            let next = self.next_command.take();
            let Some(command) = next.or_else(|| self.commands.try_recv().ok()) else {
                return false;
            };
            command(self, now);
            self.drain(now);
        }
        true
    }

    // ---- what goes out -----------------------------------------------------------------------------

    /// Takes everything that the endpoint has to give.
    pub(crate) fn drain(&mut self, now: Instant) {
        loop {
            self.transmit(now);
            let mut quiet = true;
            while let Some(work) = self.endpoint.poll_work(now) {
                quiet = false;
                let done = match self.perform(&work.task) {
                    Some(done) => Some(done),
                    None => {
                        self.called |= bell::HANDLERS; // a result does not call before it was looked for
                        self.desk.take(work.id, work.task)
                    }
                };
                if let Some(result) = done {
                    self.endpoint.work_done(now, work.id, result);
                }
            }
            while let Some(event) = self.endpoint.poll_event() {
                quiet = false;
                self.tell(now, event);
            }
            if quiet {
                return;
            }
        }
    }

    fn perform(&mut self, task: &antiphon_proto::Task) -> Option<antiphon_proto::WorkResult> {
        let open = self.life == Life::Runs;
        worker::perform(
            task,
            open,
            &mut self.ports,
            &mut self.endpoint,
            &mut self.listened,
        )
    }

    // ---- who is told --------------------------------------------------------------------------------

    /// Whoever asks for a collection hears of it through this queue.
    pub(crate) fn follow(&mut self, id: CollectionId) -> mpsc::Receiver<CollectionEvent> {
        // Two more places are kept free for the outcomes.
        let (queue, events) = mpsc::channel(self.config.events.saturating_add(OUTCOMES));
        self.collections.insert(id, queue);
        events
    }

    /// Whoever sends a request to one peer hears of it here.
    pub(crate) fn await_response(
        &mut self,
        id: ExchangeId,
        progress: Option<OnProgress>,
    ) -> oneshot::Receiver<Responded> {
        let (responded, response) = oneshot::channel();
        let awaited = Awaited {
            responded,
            progress,
        };
        self.exchanges.insert(id, awaited);
        response
    }

    /// The collections that are not over.
    pub(crate) fn collections(&self) -> impl Iterator<Item = CollectionId> {
        self.collections.keys().copied()
    }

    fn tell(&mut self, now: Instant, event: Event) {
        match event {
            Event::Collection(event) => self.tell_of_collection(now, event),
            Event::Observation(event) => self.tell_of_observation(event),
            Event::Response {
                exchange,
                response,
                from,
                after,
                sender,
            } => {
                if let Some(waiting) = self.exchanges.remove(&exchange) {
                    let _ = waiting
                        .responded
                        .send(Ok((response, from, after, sender, None)));
                }
            }
            Event::Progress { exchange, progress } => {
                if let Some(waiting) = self.exchanges.get_mut(&exchange)
                    && let Some(tell) = &mut waiting.progress
                {
                    tell(progress);
                }
            }
            Event::Cached {
                exchange,
                response,
                from,
                age,
                sender,
            } => {
                if let Some(waiting) = self.exchanges.remove(&exchange) {
                    let _ = waiting.responded.send(Ok((
                        response,
                        from,
                        Duration::ZERO,
                        sender,
                        Some(age),
                    )));
                }
            }
            Event::Failed { exchange, failure } => {
                if let Some(waiting) = self.exchanges.remove(&exchange) {
                    let _ = waiting.responded.send(Err(failure));
                }
            }
            Event::Request {
                incoming,
                resource,
                request,
                arrival,
            } => {
                self.called |= bell::HANDLERS; // a new one does not call before it was looked at
                if let Some(refusal) = self.handlers.start(incoming, resource, request, arrival) {
                    self.endpoint.respond(now, incoming, refusal);
                }
            }
            Event::Undelivered { incoming, failure } => {
                tracing::debug!(?incoming, %failure, "a separate response did not arrive");
            }
            Event::Membership(event) => self.tell_of_membership(&event),
            Event::Security(event) => self.tell_of_security(event),
        }
    }

    fn tell_of_security(&self, event: SecurityEvent) {
        let (id, news) = GroupNews::of(event);
        news.log(self.desk.name(id));
        self.desk.tell(id, news);
    }

    fn tell_of_membership(&mut self, event: &ListenEvent) {
        let ListenEvent {
            group, interface, ..
        } = event;
        match &event.change {
            ListenChange::Joined => tracing::info!(%group, interface, "joined"),
            ListenChange::Left => tracing::info!(%group, interface, "left"),
            change => {
                self.counters.memberships_failed += 1;
                tracing::warn!(%group, interface, ?change, "joining or leaving failed");
            }
        }
    }

    fn tell_of_collection(&mut self, now: Instant, event: CollectionEvent) {
        let (id, outcome) = subject(&event);
        let Some(queue) = self.collections.get(&id) else {
            return;
        };
        if !outcome && queue.capacity() <= OUTCOMES {
            self.counters.events_dropped += 1;
            return;
        }
        let _ = queue.try_send(event);
        if outcome && self.endpoint.status(now, id).is_none() {
            self.collections.remove(&id);
        }
    }
}

/// A driver that ran gave everything back; one that was never run, or whose runtime was shut down, does so now.
impl Drop for Driver {
    fn drop(&mut self) {
        self.desk.abandon(self.endpoint.security_mut());
    }
}

/// How often a collection can have an outcome: at its end, and when the time for late answers is over.
const OUTCOMES: usize = 2;

/// Which collection it is about, and whether it is an outcome.
fn subject(event: &CollectionEvent) -> (CollectionId, bool) {
    match event {
        CollectionEvent::Warning(id, _) | CollectionEvent::Held(id, _) => (*id, false),
        CollectionEvent::SendFailed { collection, .. } => (*collection, false),
        CollectionEvent::Progress(progress) => (progress.collection, false),
        CollectionEvent::Answer(answer) | CollectionEvent::LateAnswer(answer) => {
            (answer.collection, false)
        }
        CollectionEvent::Ended(outcome) | CollectionEvent::LateEnded(outcome) => {
            (outcome.collection, true)
        }
    }
}

#[cfg(test)]
mod tests;
