//! The one that has the image.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::pin::Pin;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use antiphon_proto::distribution::{
    Announcement, AnnouncementError, Ask, AskId, DeviceReport, DistributionEnd, DistributionPhase,
    DistributionProgress, Distributor, DistributorConfig, DistributorEvent, Estimate, Fills,
    GroupSend, LinkProfile, Served,
};
use antiphon_proto::{
    Access, CollectError, Discoverable, EndedBy, Failure, GroupPacing, GroupRequest, GroupTarget,
    NoSec, Options, Protection, Reliability, Request, Resource, Response, Route, Security,
    UnicastRequest,
};
use antiphon_wire::{Code, OptionNumber, Uri};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use super::device::sleep_until;
use super::source::{Content, ImageSource, Unreadable};
use crate::client::{Client, Collection, Protecting};
use crate::clock;
use crate::driver::Link;
use crate::error::{AskError, BadUri, BuildError, Closed};
use crate::request::uri_options;
use crate::security_group::{SecurityGroup, group_id};
use crate::server::{AsyncResource, Running, Server};
use crate::worker::Asked;

/// The bytes that group mode adds to a message, roughly: for the estimate. Option, ciphertext tag and signature.
const GROUP_MODE: u16 = 90;
/// Events that wait to be fetched. More stay with the distributor, where those of one device become one.
const EVENTS: usize = 256;

/// Brings one image to a group. [`prepare`](Self::prepare) reads the image and says how long it takes.
#[must_use = "nothing happens until it is prepared and started"]
pub struct Distribute {
    uri: String,
    image: Arc<dyn ImageSource>,
    block_size: Option<u16>,
    link: LinkProfile,
    name: String,
    kind: String,
    version: u64,
    manifest: Option<Vec<u8>>,
    sign: Option<Sign>,
    security: Protecting<SecurityGroup>,
    interface: Option<String>,
    bind: Option<SocketAddr>,
    hops: u8,
    change: Vec<Change>,
}

type Change = Box<dyn FnOnce(&mut DistributorConfig) + Send>;
type Sign = Box<dyn FnOnce(&[u8]) -> Result<Vec<u8>, String> + Send>;

/// Why an image is not distributed.
#[derive(Debug, thiserror::Error)]
pub enum DistributeError {
    /// The image cannot be read.
    #[error("the image cannot be read: {0}")]
    Image(#[from] io::Error),
    /// The image cannot be announced like this.
    #[error(transparent)]
    Announcement(#[from] AnnouncementError),
    /// The signature could not be made.
    #[error("the announcement cannot be signed: {0}")]
    Sign(String),
    /// A parameter is outside of its limits.
    #[error(transparent)]
    Parameter(#[from] antiphon_proto::ConfigError),
    /// The URI is none of a group, or has a query.
    #[error(transparent)]
    Uri(#[from] BadUri),
    /// The path of the distribution: a query, or a segment that has a slash.
    #[error("{0}: the path of a distribution has no query and no slash within a segment")]
    Path(String),
    /// The group cannot be asked like this.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The endpoint could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The endpoint is gone.
    #[error(transparent)]
    Closed(#[from] Closed),
}

impl From<Unreadable> for DistributeError {
    fn from(error: Unreadable) -> Self {
        match error {
            Unreadable::Io(error) => Self::Image(error),
            Unreadable::Announcement(error) => Self::Announcement(error),
        }
    }
}

impl Distribute {
    /// Brings this image to the devices behind a URI such as `coap://[ff05::fd]/fw`.
    pub fn new(uri: &str, image: impl ImageSource) -> Self {
        Self {
            uri: uri.to_owned(),
            image: Arc::new(image),
            block_size: None,
            link: LinkProfile::Unknown,
            name: String::new(),
            kind: String::new(),
            version: 0,
            manifest: None,
            sign: None,
            security: Protecting::NotStated,
            interface: None,
            bind: None,
            hops: 1,
            change: Vec::new(),
        }
    }

    /// What is known of the network: the rate and the size of blocks come from there, unless they are stated. Default: nothing.
    pub fn link(mut self, link: LinkProfile) -> Self {
        self.link = link;
        self
    }

    /// Bytes in a block: a power of two from 16 to 1,024. Default: that of the [`link`](Self::link), 1,024 if nothing is known of it.
    pub fn block_size(mut self, bytes: u16) -> Self {
        self.block_size = Some(bytes);
        self
    }

    /// What the image is called, for people.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// For which type of device it is.
    pub fn kind(mut self, kind: &str) -> Self {
        self.kind = kind.to_owned();
        self
    }

    /// Its version: newer ones have larger numbers.
    pub fn version(mut self, version: u64) -> Self {
        self.version = version;
        self
    }

    /// A manifest that is announced with it, for example of SUIT (RFC 9019): up to 512 bytes.
    pub fn manifest(mut self, manifest: impl Into<Vec<u8>>) -> Self {
        self.manifest = Some(manifest.into());
        self
    }

    /// Signs the announcement, which has the SHA-256 of the image: the function gets what is to be signed and gives the
    /// signature, of up to 128 bytes.
    pub fn sign_with(
        mut self,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, String> + Send + 'static,
    ) -> Self {
        self.sign = Some(Box::new(sign));
        self
    }

    /// The devices that are to get it. Without them nobody is asked how far it is.
    pub fn members(self, members: impl IntoIterator<Item = SocketAddr>) -> Self {
        let members: Vec<_> = members.into_iter().collect();
        self.parameters(move |config| config.members.extend(members))
    }

    /// Bytes per second to the group, all headers counted. Default: that of the [`link`](Self::link), 1 if nothing is known of it (PROBING_RATE): a
    /// higher one is the application's knowledge of its network. What one endpoint can send is 450 datagrams a second:
    /// 65,536 Message IDs in the 145 s for which each is taken.
    pub fn rate(self, bytes_per_second: u32) -> Self {
        self.parameters(move |config| config.rate = bytes_per_second)
    }

    /// All other parameters; see [`DistributorConfig`] for their defaults.
    pub fn parameters(
        mut self,
        change: impl FnOnce(&mut DistributorConfig) + Send + 'static,
    ) -> Self {
        self.change.push(Box::new(change));
        self
    }

    /// Requests to the group leave by this interface: a name, an index or an address.
    pub fn interface(mut self, interface: impl Into<String>) -> Self {
        self.interface = Some(interface.into());
        self
    }

    /// The local address. Devices ask there for what they lack. Default: any, and a port that the system chooses.
    pub fn bind(mut self, local: SocketAddr) -> Self {
        self.bind = Some(local);
        self
    }

    /// TTL or hop limit of what goes to the group. Default 1: no router passes it on.
    pub fn hops(mut self, hops: u8) -> Self {
        self.hops = hops.max(1);
        self
    }

    /// Everything is protected for this security group: requests to the group in group mode, repairs as the devices ask for
    /// them. Devices believe announcement, blocks and notices of one identity alone.
    pub fn secure(mut self, group: &SecurityGroup) -> Self {
        self.security = self.security.and(Protecting::Secured(group.clone()));
        self
    }

    /// Nothing is protected, for this reason. There is no default: with neither this nor [`secure`](Self::secure), nothing is prepared.
    pub fn unsecured(mut self, reason: NoSec) -> Self {
        self.security = self.security.and(Protecting::Unsecured(reason));
        self
    }

    /// Reads the image and computes its digests. Nothing is sent.
    ///
    /// # Errors
    /// See [`DistributeError`].
    pub async fn prepare(self) -> Result<PreparedDistribution, DistributeError> {
        match self.security {
            Protecting::NotStated => return Err(AskError::SecurityNotStated.into()),
            Protecting::Twice => return Err(AskError::SecurityTwice.into()),
            Protecting::Unsecured(_) | Protecting::Secured(_) => {}
        }
        let uri = self.uri.clone();
        let path = path_of(&uri)?;
        let block_size = self.block_size.unwrap_or(self.link.block_size());
        let image = Arc::clone(&self.image);
        let surveyed = on_thread(move || Content::survey(image, block_size)).await?;
        let (announcement, content) = surveyed?;
        let mut announcement = announcement
            .with_name(&self.name)?
            .with_kind(&self.kind)?
            .with_version(self.version);
        if let Some(manifest) = &self.manifest {
            announcement = announcement.with_manifest(manifest)?;
        }
        if let Some(sign) = self.sign {
            let signature = sign(&announcement.signed_part()).map_err(DistributeError::Sign)?;
            announcement = announcement.with_signature(&signature)?;
        }
        let mut config = DistributorConfig::new(announcement, &path);
        config.rate = self.link.rate();
        if Uri::parse_group(&uri).is_ok_and(|uri| matches!(uri.host, antiphon_wire::Host::V4(_))) {
            config.overhead = 28;
        }
        if matches!(self.security, Protecting::Secured(_)) {
            config.protection = GROUP_MODE;
        }
        for change in self.change {
            change(&mut config);
        }
        let machine = Distributor::new(config)?;
        let copies = copies_to(&uri).await;
        Ok(PreparedDistribution {
            uri,
            copies,
            machine,
            content,
            security: self.security,
            interface: self.interface,
            bind: self.bind,
            hops: self.hops,
        })
    }
}

/// The path of a group's URI as a distribution has it.
fn path_of(uri: &str) -> Result<String, DistributeError> {
    let parsed = Uri::parse_group(uri).map_err(|reason| BadUri {
        uri: uri.to_owned(),
        reason,
    })?;
    let anywhere = SocketAddr::from(([224, 0, 1, 187], 5683));
    let options = uri_options(&parsed, anywhere).ok_or(AskError::TooLong)?;
    let segments: Vec<_> = options.all(OptionNumber::URI_PATH).collect();
    let bad = parsed.query.is_some() || segments.iter().any(|segment| segment.contains(&b'/'));
    let path = segments.join(&b'/');
    match String::from_utf8(path) {
        Ok(path) if !bad => Ok(path),
        _ => Err(DistributeError::Path(uri.to_owned())),
    }
}

/// Everything is ready.
pub struct PreparedDistribution {
    uri: String,
    /// In how many datagrams each request to the group leaves.
    copies: u32,
    machine: Distributor,
    content: Content,
    security: Protecting<SecurityGroup>,
    interface: Option<String>,
    bind: Option<SocketAddr>,
    hops: u8,
}

impl PreparedDistribution {
    /// What will be announced.
    #[must_use]
    pub fn announcement(&self) -> &Announcement {
        &self.machine.config().announcement
    }

    /// All parameters.
    #[must_use]
    pub fn config(&self) -> &DistributorConfig {
        self.machine.config()
    }

    /// What announcements and the first pass take, in all the groups that the name stands for.
    #[must_use]
    pub fn estimate(&self) -> Estimate {
        self.config().estimate(self.copies)
    }

    /// Binds a socket and begins.
    ///
    /// # Errors
    /// See [`DistributeError`]; nothing is sent then.
    pub async fn start(self) -> Result<Distribution, DistributeError> {
        let rate = self.config().rate;
        let resource = format!("{}/{}", self.config().path, self.machine.id());
        let shared = Arc::new(Shared {
            machine: Mutex::new(self.machine),
            content: self.content,
            changed: Notify::new(),
            stop: Notify::new(),
        });
        let local = match self.bind {
            Some(local) => local,
            None => any_of_family(&self.uri).await?,
        };
        let driver = crate::DriverConfig {
            sockets: crate::socket::SocketOptions {
                multicast_hops: self.hops,
                ..crate::DriverConfig::default().sockets
            },
            ..crate::DriverConfig::default()
        };
        let mut server = Server::builder()
            .unicast(local)
            .driver(driver)
            .discoverable(Discoverable::Off);
        if let Some(interface) = &self.interface {
            server = server.interface(interface);
        }
        let mut repairs = Resource::at(&resource).hidden();
        match &self.security {
            Protecting::Secured(group) => {
                server = server.secure(group);
                repairs = repairs.secured(group.label().clone());
            }
            Protecting::Unsecured(reason) => {
                server = server.unsecured(*reason);
                repairs = repairs.access(Access::Unsecured);
            }
            Protecting::NotStated | Protecting::Twice => {} // refused when it was prepared
        }
        let serving = Arc::clone(&shared);
        let repairs = repairs.get_async(move |asked: Asked| serve(Arc::clone(&serving), asked));
        let server = server.resource(repairs).build().await?;
        let running = server.spawn();
        match Voice::new(&running.client(), &self.uri, &self.security, rate).await {
            Ok(voice) => {
                let (events, received) = mpsc::channel(EVENTS);
                let task = tokio::spawn(run(Arc::clone(&shared), voice, running, events));
                Ok(Distribution {
                    shared,
                    events: received,
                    task: Some(task),
                })
            }
            Err(error) => {
                running.stop().await;
                Err(error)
            }
        }
    }
}

/// As many as there are groups; a name that cannot be looked up now is for [`start`](PreparedDistribution::start) to tell.
async fn copies_to(uri: &str) -> u32 {
    let named = |uri: Uri<'_>| matches!(uri.host, antiphon_wire::Host::Name(_));
    if !Uri::parse_group(uri).is_ok_and(named) {
        return 1;
    }
    let groups = groups_of(uri).await.map_or(1, |groups| groups.len());
    u32::try_from(groups).unwrap_or(u32::MAX)
}

async fn groups_of(uri: &str) -> Result<Vec<SocketAddr>, DistributeError> {
    let client = Client::builder().build().await?;
    let call = client.group(uri)?;
    let groups = call.groups().await.map_err(AskError::from)?;
    client.close().await;
    Ok(groups)
}

/// Any address of the family of the group, and any port.
async fn any_of_family(uri: &str) -> Result<SocketAddr, DistributeError> {
    Ok(match groups_of(uri).await?.first() {
        Some(SocketAddr::V6(_)) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        _ => (Ipv4Addr::UNSPECIFIED, 0).into(),
    })
}

/// What the task and the handle share.
struct Shared {
    machine: Mutex<Distributor>,
    content: Content,
    /// Something was done that may make something due sooner.
    changed: Notify,
    stop: Notify,
}

impl Shared {
    fn machine(&self) -> MutexGuard<'_, Distributor> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn block(self: &Arc<Self>, block: Fills) -> Result<Vec<u8>, DistributeError> {
        let shared = Arc::clone(self);
        Ok(on_thread(move || shared.content.block(block)).await??)
    }
}

/// Does what may wait for the disk.
async fn on_thread<R: Send + 'static>(
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R, DistributeError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| DistributeError::Closed(Closed))
}

/// Answers a device that asks for a block.
async fn serve(shared: Arc<Shared>, asked: Asked) -> Response {
    let from = asked.arrival.path.peer;
    let served = shared
        .machine()
        .handle_request(clock::now(), from, &asked.request);
    shared.changed.notify_one();
    match served {
        Served::Response(response) => response,
        Served::Block(fills) => {
            let mut response = Response::new(Code::CONTENT);
            match shared.block(fills).await {
                Ok(bytes) => response.payload = bytes,
                Err(error) => {
                    tracing::warn!("block {}: {error}", fills.number);
                    response.reset(Code::INTERNAL_SERVER_ERROR);
                }
            }
            response
        }
    }
}

/// What left: as many datagrams as there are groups and interfaces.
#[derive(Clone, Copy)]
struct Left {
    copies: u32,
    /// Of CoAP, in all of them.
    bytes: usize,
}

/// The way to the group and to its members.
struct Voice {
    client: Client,
    link: Link,
    targets: Vec<GroupTarget>,
    /// Uri-Host and Uri-Port, where the URI has a name.
    host: Options,
    security: Security,
    protection: Protection,
}

impl Voice {
    async fn new(
        client: &Client,
        uri: &str,
        security: &Protecting<SecurityGroup>,
        rate: u32,
    ) -> Result<Self, DistributeError> {
        let call = client.group(uri)?;
        let targets = call.targets().await?;
        let link = client.link().clone();
        let (security, protection) = match security {
            Protecting::Secured(group) => {
                let id = link.claim::<AskError>(group.held()).await?;
                let id = group_id(id).ok_or(AskError::SecurityNotStated)?;
                (Security::Group(id), Protection::Group(id))
            }
            Protecting::Unsecured(reason) => (Security::Unsecured(*reason), Protection::None),
            Protecting::NotStated | Protecting::Twice => {
                return Err(AskError::SecurityNotStated.into());
            }
        };
        // The endpoint keeps to the same rate. It counts fewer bytes, those of CoAP alone, so that it never holds anything back.
        let pacing = GroupPacing::new(1, rate)?;
        for target in &targets {
            client.set_pacing(target.group, None, Some(pacing)).await?;
        }
        let first = targets.first().map(|target| target.group);
        let composed = call.composed(first.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0))))?;
        let mut host = Options::new();
        for (number, value) in composed.options.iter() {
            if [OptionNumber::URI_HOST, OptionNumber::URI_PORT].contains(&number) {
                host.push(number, value);
            }
        }
        Ok(Self {
            client: client.clone(),
            link,
            targets,
            host,
            security,
            protection,
        })
    }

    /// Sends to the group and says what left; `None`: it could not be sent this time.
    async fn say(&self, mut request: Request) -> Result<Option<Left>, DistributeError> {
        for (number, value) in self.host.iter() {
            request.options.push(number, value);
        }
        let Some(first) = self.targets.first() else {
            return Ok(None);
        };
        let question = GroupRequest {
            targets: self.targets.clone(),
            ..GroupRequest::notify(request, *first, self.security)
        };
        let weak = self.link.downgrade();
        let collection = self.link.call(move |driver, now| {
            driver.is_open()?;
            let id = driver.endpoint.collect(now, question)?;
            Ok::<_, AskError>(Collection::follow(driver, id, weak))
        });
        let outcome = match collection.await? {
            Ok(collection) => collection.finish().await?,
            Err(AskError::Collect(
                CollectError::Tokens(_)
                | CollectError::TooManyCollections
                | CollectError::QueueFull(_),
            )) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match outcome.ended_by {
            EndedBy::Sent => Ok(Some(Left {
                copies: outcome.transmissions,
                bytes: usize::try_from(outcome.bytes).unwrap_or(usize::MAX),
            })),
            EndedBy::Closed => Err(Closed.into()),
            _ => Ok(None),
        }
    }

    /// Asks one device.
    async fn ask(&self, to: SocketAddr, request: Request) -> Result<Response, Failure> {
        use antiphon_proto::SendError;
        let shared = self.client.shared();
        let Some((socket, _)) = shared.socket_for(to) else {
            return Err(Failure::Unreachable(SendError::NoRoute));
        };
        let interface = match to {
            SocketAddr::V6(v6) => v6.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        let unicast = UnicastRequest {
            request,
            route: Route {
                socket,
                source: None,
                interface,
                destination: to,
            },
            reliability: Reliability::Confirmable,
            response_timeout: None,
            protection: self.protection.clone(),
        };
        let asked = self.link.call(move |driver, now| {
            let exchange = driver.endpoint.request(now, unicast).ok()?;
            Some(driver.await_response(exchange, None))
        });
        let response = match asked.await {
            Ok(Some(response)) => response.await,
            Ok(None) | Err(Closed) => return Err(Failure::Cancelled),
        };
        response
            .unwrap_or(Err(Failure::Cancelled))
            .map(|(response, ..)| response)
    }
}

/// A distribution that is under way. Dropping it stops it, as [`stop`](Self::stop) does.
pub struct Distribution {
    shared: Arc<Shared>,
    events: mpsc::Receiver<DistributorEvent>,
    task: Option<JoinHandle<Result<Option<DistributionEnd>, DistributeError>>>,
}

/// What came of a distribution.
#[derive(Clone, Debug)]
pub struct Distributed {
    /// Why it ended; `None` if it was stopped: it can be resumed.
    pub end: Option<DistributionEnd>,
    /// What is known of every member, in their order.
    pub devices: Vec<DeviceReport>,
    /// What it took.
    pub progress: DistributionProgress,
    /// Every member is known to have activated the image; `false` without members.
    pub all_activated: bool,
}

impl Distribution {
    /// What happens next; `None` when it is over. Safe to cancel.
    pub async fn next(&mut self) -> Option<DistributorEvent> {
        self.events.recv().await
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> DistributionProgress {
        self.shared.machine().progress()
    }

    /// What is known of every member, in their order.
    #[must_use]
    pub fn devices(&self) -> Vec<DeviceReport> {
        self.shared.machine().report().collect()
    }

    /// Ends it for good: devices are told to forget what they have. It is over when this was said, at the rate: see
    /// [`Distributor::cancel`].
    pub fn cancel(&self) {
        self.shared.machine().cancel(clock::now());
        self.shared.changed.notify_one();
    }

    /// Stops it without a word to the devices. The same image with the same parameters goes on where it was.
    pub fn stop(&self) {
        self.shared.stop.notify_one();
    }

    /// Waits until it is over, passes over what comes until then, and says what came of it.
    ///
    /// # Errors
    /// The image could not be read any more, or the group could not be asked at all.
    pub async fn finish(mut self) -> Result<Distributed, DistributeError> {
        while self.next().await.is_some() {}
        let end = match self.task.take() {
            Some(task) => task.await.map_err(|_| Closed)??,
            None => None,
        };
        let machine = self.shared.machine();
        Ok(Distributed {
            end,
            devices: machine.report().collect(),
            progress: machine.progress(),
            all_activated: machine.all_activated(),
        })
    }
}

impl Drop for Distribution {
    fn drop(&mut self) {
        self.stop();
    }
}

type Sending = Pin<Box<dyn Future<Output = Result<Option<Left>, DistributeError>> + Send>>;

/// Does what the machine wants until it is over or stopped.
async fn run(
    shared: Arc<Shared>,
    voice: Voice,
    running: Running,
    events: mpsc::Sender<DistributorEvent>,
) -> Result<Option<DistributionEnd>, DistributeError> {
    let end = drive(&shared, Arc::new(voice), &events).await;
    running.stop().await;
    // What has happened last is told, if somebody listens.
    loop {
        let event = shared.machine().poll_event();
        let Some(event) = event else { break };
        if events.send(event).await.is_err() {
            break;
        }
    }
    end
}

async fn drive(
    shared: &Arc<Shared>,
    voice: Arc<Voice>,
    events: &mpsc::Sender<DistributorEvent>,
) -> Result<Option<DistributionEnd>, DistributeError> {
    let mut asks: JoinSet<(AskId, Result<Response, Failure>)> = JoinSet::new();
    let mut sending: Option<Sending> = None;
    loop {
        let wake = {
            let now = clock::now();
            let mut machine = shared.machine();
            machine.handle_timeout(now);
            if sending.is_none()
                && let Some(send) = machine.poll_send(now)
            {
                sending = Some(Box::pin(send_one(
                    Arc::clone(shared),
                    Arc::clone(&voice),
                    send,
                )));
            }
            while let Some(ask) = machine.poll_ask(now) {
                let Ask {
                    ask, to, request, ..
                } = ask;
                let voice = Arc::clone(&voice);
                asks.spawn(async move { (ask, voice.ask(to, request).await) });
            }
            if let DistributionPhase::Over(end) = machine.phase() {
                return Ok(Some(end));
            }
            while let Ok(permit) = events.try_reserve() {
                match machine.poll_event() {
                    Some(event) => permit.send(event),
                    None => break,
                }
            }
            machine.next_timeout()
        };
        let wake = wake.map(clock::to_system);
        tokio::select! {
            sent = next_sent(&mut sending) => {
                sending = None;
                let (copies, bytes) = match sent? {
                    Some(left) => (left.copies, Some(left.bytes)),
                    None => (0, None),
                };
                shared.machine().sent_copies(clock::now(), copies, bytes);
            }
            Some(asked) = asks.join_next() => {
                if let Ok((ask, result)) = asked {
                    let result = result.as_ref().map_err(|failure| *failure);
                    shared.machine().asked(clock::now(), ask, result);
                }
            }
            () = shared.changed.notified() => {}
            () = sleep_until(wake) => {}
            () = shared.stop.notified() => return Ok(None),
        }
    }
}

/// Reads the block, if one is to be sent, and sends.
async fn send_one(
    shared: Arc<Shared>,
    voice: Arc<Voice>,
    send: GroupSend,
) -> Result<Option<Left>, DistributeError> {
    let mut request = send.request;
    if let Some(fills) = send.fills {
        request.payload = shared.block(fills).await?;
    }
    voice.say(request).await
}

async fn next_sent(sending: &mut Option<Sending>) -> Result<Option<Left>, DistributeError> {
    match sending {
        Some(sending) => sending.await,
        None => core::future::pending().await,
    }
}
