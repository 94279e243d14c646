//! A device that takes images: a resource of a server, its storage, and what the application decides.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use antiphon_proto::distribution::{
    Command, Device, DeviceConfig, DeviceCounters, DeviceEvent, DeviceStatus, Heard, ImageId,
    Installation, Repair, RepairId, Storage, TaskResult,
};
use antiphon_proto::{
    Access, Attributes, GroupPolicy, Incoming, Instant, Methods, NoSec, Resource, ResourceId,
    Response, SecurityGroupName, Sender, WorkId,
};
use antiphon_wire::{Code, ContentFormat, OptionNumber};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::client::{Client, seed};
use crate::clock;
use crate::error::{BuildError, ChangeError};
use crate::security_group::SecurityGroup;
use crate::server::{Handle, Server};

/// What the worker has: where images are kept, and what the application decides.
struct Tools {
    storage: Box<dyn Storage>,
    installation: Box<dyn Installation>,
}

type OnEvent = Box<dyn FnMut(&DeviceEvent) + Send>;

/// A device that takes images which a distributor brings to its whole group.
///
/// It is a [resource](OpenDevice::resource) of a [`Server`], which hears announcements and blocks and tells the status, and a
/// [task](OpenDevice::run), which stores, verifies and activates on a thread of its own, and asks the distributor for what got lost.
///
/// ```no_run
/// use antiphon::distribution::{
///     ActivationError, Announcement, FileStorage, ImageDevice, Installation, ReadAt, Refusal, copy_image,
/// };
/// use antiphon::{Membership, SecurityGroup, Sender, Server};
///
/// struct Lamp;
///
/// impl Installation for Lamp {
///     fn accept(&mut self, it: &Announcement, _: &Sender) -> Result<(), Refusal> {
///         match it.kind() {
///             "lamp" => Ok(()),
///             _ => Err(Refusal::Kind),
///         }
///     }
///
///     fn activate(&mut self, _: &Announcement, image: &mut dyn ReadAt) -> Result<(), ActivationError> {
///         copy_image(image, "/var/lib/lamp/firmware".as_ref())
///             .map_err(|error| ActivationError::new(&error.to_string()))
///     }
/// }
///
/// # async fn example(group: SecurityGroup) -> Result<(), Box<dyn std::error::Error>> {
/// let storage = FileStorage::open("/var/lib/lamp/receiving")?;
/// let device = ImageDevice::new("/fw", storage, Lamp).secure(&group).open()?;
/// let server = Server::builder()
///     .unicast("[::]:5683".parse()?)
///     .join(Membership::new("[ff05::fd]:5683".parse::<core::net::SocketAddr>()?).secure(&group))
///     .resource(device.resource())
///     .build()
///     .await?;
/// let updates = tokio::spawn(device.run(&server));
/// server.run(std::future::pending()).await;
/// updates.abort();
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct ImageDevice {
    base: String,
    tools: Tools,
    config: DeviceConfig,
    group: Option<SecurityGroup>,
    access: Option<Access>,
    application: Option<String>,
    unsecured: bool,
    on_event: OnEvent,
}

impl ImageDevice {
    /// A device that takes images at this path, and keeps them here while they come.
    ///
    /// Without further statements only messages with a proven sender count, and there is nobody to ask for repairs: see
    /// [`secure`](Self::secure) and [`unsecured`](Self::unsecured).
    pub fn new(
        path: &str,
        storage: impl Storage + 'static,
        installation: impl Installation + 'static,
    ) -> Self {
        Self {
            base: path.trim_matches('/').to_owned(),
            tools: Tools {
                storage: Box::new(storage),
                installation: Box::new(installation),
            },
            config: DeviceConfig::default(),
            group: None,
            access: None,
            application: None,
            unsecured: false,
            on_event: Box::new(|_| {}),
        }
    }

    /// Images are brought by members of this security group, and what is missing is asked of them in pairwise mode.
    pub fn secure(mut self, group: &SecurityGroup) -> Self {
        self.group = Some(group.clone());
        self
    }

    /// Anyone may bring images, for this reason: then the digests protect against errors and not against people. The server has to
    /// state it as well: [`ServerBuilder::unsecured`](crate::ServerBuilder::unsecured).
    pub fn unsecured(mut self, _: NoSec) -> Self {
        self.unsecured = true;
        self
    }

    /// Who may bring images. Default: every member of the security group; without one, anyone.
    pub fn access(mut self, access: Access) -> Self {
        self.access = Some(access);
        self
    }

    /// The resource belongs to this application group of the server; the path is relative to it.
    pub fn in_group(mut self, application_group: &str) -> Self {
        self.application = Some(application_group.to_owned());
        self
    }

    /// Limits and times. [`proven_only`](DeviceConfig::proven_only) is set by [`unsecured`](Self::unsecured) alone.
    pub fn config(mut self, config: DeviceConfig) -> Self {
        self.config = config;
        self
    }

    /// Calls this with everything that happens. It is called by the task, so it must not block.
    pub fn on_event(mut self, on_event: impl FnMut(&DeviceEvent) + Send + 'static) -> Self {
        self.on_event = Box::new(on_event);
        self
    }

    /// The device, ready to be put into a server.
    ///
    /// # Errors
    /// [`BuildError::Seed`], and [`BuildError::Parameter`] for a value of [`config`](Self::config) outside of its limits.
    pub fn open(self) -> Result<OpenDevice, BuildError> {
        let config = DeviceConfig {
            proven_only: !self.unsecured,
            ..self.config
        };
        let access = self.access.unwrap_or(match self.unsecured {
            true => Access::Unsecured,
            false => Access::Verified,
        });
        let device = Device::new(config, seed(None)?)?;
        Ok(OpenDevice {
            shared: Arc::new(Shared {
                state: Mutex::new(State { device, base: None }),
                bell: Notify::new(),
            }),
            offer: Offer {
                base: self.base,
                access,
                secured_by: self
                    .group
                    .as_ref()
                    .filter(|_| !self.unsecured)
                    .and_then(|group| SecurityGroupName::new(group.name()).ok()),
                application: self.application,
            },
            tools: Arc::new(Mutex::new(self.tools)),
            group: self.group,
            on_event: self.on_event,
        })
    }
}

impl core::fmt::Debug for ImageDevice {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ImageDevice")
            .field("base", &self.base)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// What handlers and the task share.
struct Shared {
    state: Mutex<State>,
    /// A handler has changed something.
    bell: Notify,
}

struct State {
    device: Device,
    /// The path under which the distributor announced: repairs are asked for there.
    base: Option<String>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request; `below`: its path has so many segments below the base.
    fn handle(&self, incoming: &Incoming<'_>, below: usize, response: &mut Response) {
        let base = base_of(incoming, below);
        let command = Command::of_message(&base, incoming.message);
        let heard = Heard::from(incoming.arrival);
        let mut state = self.state();
        match state.device.handle(clock::now(), &heard, &command) {
            Some(told) => *response = told,
            None => response.reset(Code::EMPTY),
        }
        if matches!(command, Command::Notice(Ok(_))) {
            state.base = Some(base);
        }
        drop(state);
        if !matches!(command, Command::Status) {
            self.bell.notify_one();
        }
    }
}

/// The path of a request without its last `below` segments.
fn base_of(incoming: &Incoming<'_>, below: usize) -> String {
    let segments = || incoming.message.options_of(OptionNumber::URI_PATH);
    let count = segments().count().saturating_sub(below);
    let mut base = String::new();
    for segment in segments().take(count) {
        base.push('/');
        base.push_str(&String::from_utf8_lossy(segment));
    }
    base
}

/// Where the resources are.
struct Offer {
    base: String,
    access: Access,
    /// Requests are accepted under this security group.
    secured_by: Option<SecurityGroupName>,
    application: Option<String>,
}

impl Offer {
    fn at(&self, path: &str) -> Resource {
        let mut resource = Resource::at(path)
            .access(self.access.clone())
            .group_policy(GroupPolicy::silent());
        if let Some(name) = &self.secured_by {
            resource = resource.secured(name.clone());
        }
        match &self.application {
            Some(group) => resource.in_group(group),
            None => resource,
        }
    }

    /// Announcements and status.
    fn base(&self, shared: &Arc<Shared>) -> Resource {
        let shared = Arc::clone(shared);
        self.at(&self.base)
            .attributes(Attributes::new().rt(RESOURCE_TYPE))
            .produces(ContentFormat::CBOR)
            .consumes(ContentFormat::CBOR)
            .on(
                Methods::GET | Methods::POST,
                move |incoming: &Incoming<'_>, response: &mut Response| {
                    shared.handle(incoming, 0, response);
                },
            )
    }

    /// The blocks of an image.
    fn blocks(&self, shared: &Arc<Shared>, id: ImageId) -> Resource {
        let shared = Arc::clone(shared);
        self.at(&format!("{}/{id}", self.base))
            .hidden()
            .put(move |incoming, response| shared.handle(incoming, 1, response))
    }
}

/// The resource type of a resource that takes images.
const RESOURCE_TYPE: &str = "antiphon.image";
/// So long the answer to a request for repair is waited for: the retransmissions of RFC 7252 take 93 s.
const ASKING: Duration = Duration::from_secs(120);

/// A device with its resource and its task: see [`ImageDevice`].
#[must_use]
pub struct OpenDevice {
    shared: Arc<Shared>,
    offer: Offer,
    tools: Arc<Mutex<Tools>>,
    group: Option<SecurityGroup>,
    on_event: OnEvent,
}

/// How far a device is, from any thread. Cheap to clone.
#[derive(Clone)]
pub struct DeviceWatch {
    shared: Arc<Shared>,
}

impl DeviceWatch {
    /// How far it is.
    #[must_use]
    pub fn status(&self) -> DeviceStatus {
        self.shared.state().device.status()
    }

    /// What it counted.
    #[must_use]
    pub fn counters(&self) -> DeviceCounters {
        self.shared.state().device.counters()
    }
}

impl core::fmt::Debug for DeviceWatch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("DeviceWatch").field(&self.status()).finish()
    }
}

impl core::fmt::Debug for OpenDevice {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("OpenDevice")
            .field("base", &self.offer.base)
            .finish_non_exhaustive()
    }
}

impl OpenDevice {
    /// The resource for the server: [`ServerBuilder::resource`](crate::ServerBuilder::resource).
    pub fn resource(&self) -> Resource {
        self.offer.base(&self.shared)
    }

    /// Says how far it is while it runs.
    #[must_use]
    pub fn watch(&self) -> DeviceWatch {
        let shared = Arc::clone(&self.shared);
        DeviceWatch { shared }
    }

    /// Does the work of the device, for as long as the server runs. To be spawned before the server runs; when it is dropped, what
    /// the worker has begun is finished, and nothing else happens.
    pub fn run(self, server: &Server) -> impl Future<Output = ()> + Send + 'static {
        let runner = Runner {
            handle: server.handle(),
            client: server.client(),
            working: JoinSet::new(),
            asking: JoinSet::new(),
            served: None,
            device: self,
        };
        runner.run()
    }
}

/// What came of a request for repair.
type Repaired = (RepairId, Option<(Response, Sender)>);

struct Runner {
    device: OpenDevice,
    handle: Handle,
    client: Client,
    /// One task at most.
    working: JoinSet<(WorkId, TaskResult)>,
    /// More than one only when a distribution took the place of another.
    asking: JoinSet<Repaired>,
    /// The image whose blocks are taken, and its resource.
    served: Option<(ImageId, ResourceId)>,
}

impl Runner {
    async fn run(mut self) {
        while let Ok(wake) = self.turn().await {
            let wake = wake.map(clock::to_system);
            let shared = Arc::clone(&self.device.shared);
            tokio::select! {
                () = shared.bell.notified() => {}
                Some(done) = self.working.join_next() => self.worked(done),
                Some(Ok((repair, answer))) = self.asking.join_next() => {
                    let answer = answer.as_ref().map(|(response, sender)| (response, sender));
                    shared.state().device.repaired(clock::now(), repair, answer);
                }
                () = sleep_until(wake) => {}
                () = self.handle.ended() => return,
            }
        }
    }

    /// Does what is due; when something is due next.
    async fn turn(&mut self) -> Result<Option<Instant>, ChangeError> {
        let shared = Arc::clone(&self.device.shared);
        let now = clock::now();
        let mut events = Vec::new();
        let (work, repair, image, wake) = {
            let state = &mut *shared.state();
            let device = &mut state.device;
            device.handle_timeout(now);
            events.extend(core::iter::from_fn(|| device.poll_event()));
            let work = device.poll_work();
            let base = state.base.clone();
            let repair = device.poll_repair(now).zip(base);
            (work, repair, device.image(), device.next_timeout())
        };
        events
            .iter()
            .for_each(|event| (self.device.on_event)(event));
        self.serve(image).await?;
        if let Some((id, task)) = work {
            let tools = Arc::clone(&self.device.tools);
            self.working.spawn_blocking(move || {
                let tools = &mut *tools.lock().unwrap_or_else(PoisonError::into_inner);
                let Tools {
                    storage,
                    installation,
                } = tools;
                let task = std::panic::AssertUnwindSafe(|| {
                    task.perform(&mut **storage, &mut **installation)
                });
                let result = std::panic::catch_unwind(task);
                (id, result.unwrap_or_else(|_| TaskResult::lost()))
            });
        }
        if let Some((repair, base)) = repair {
            let asked = ask(self.client.clone(), self.device.group.clone(), repair, base);
            self.asking.spawn(asked);
        }
        Ok(wake)
    }

    /// Takes blocks of this image and of no other.
    async fn serve(&mut self, image: Option<ImageId>) -> Result<(), ChangeError> {
        let served = self.served.map(|(id, _)| id);
        if served == image {
            return Ok(());
        }
        if let Some((_, resource)) = self.served.take() {
            self.handle.remove(resource).await?;
        }
        if let Some(id) = image {
            let blocks = self.device.offer.blocks(&self.device.shared, id);
            match self.handle.add(blocks).await {
                Ok(resource) => self.served = Some((id, resource)),
                Err(closed @ ChangeError::Closed(_)) => return Err(closed),
                // Without it the device asks for every block in person.
                Err(error) => tracing::warn!("blocks of {id} cannot be received: {error}"),
            }
        }
        Ok(())
    }

    fn worked(&mut self, done: Result<(WorkId, TaskResult), tokio::task::JoinError>) {
        if let Ok((work, result)) = done {
            let mut state = self.device.shared.state();
            state.device.work_done(clock::now(), work, result);
        }
    }
}

/// Until then; without it for ever.
pub(super) async fn sleep_until(wake: Option<std::time::Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake.into()).await,
        None => core::future::pending().await,
    }
}

/// Asks the distributor for a block: protected for it alone, or stated to be without security.
async fn ask(
    client: Client,
    group: Option<SecurityGroup>,
    repair: Repair,
    base: String,
) -> Repaired {
    let uri = uri_of(repair.to, &base, repair.id, repair.block);
    let asked = async {
        let mut call = client.one(&uri).ok()?.timeout(ASKING);
        if repair.interface != 0 {
            call = call.interface(repair.interface.to_string());
        }
        let call = match (&repair.sender, group) {
            (Sender::Unauthenticated, _) => call.unsecured(NoSec::Accepted),
            (proven, Some(group)) => call.secure(&group.identify(proven)?),
            (Sender::Proven(_), None) => return None, // nobody could ask under protection
        };
        match call.send().await {
            Ok(reply) => Some((reply.response, reply.sender)),
            Err(error) => {
                tracing::debug!("{uri}: {error}");
                None
            }
        }
    };
    (repair.repair, asked.await)
}

/// The URI of a block at the distributor.
fn uri_of(to: SocketAddr, base: &str, id: ImageId, block: u32) -> String {
    let to = match to {
        SocketAddr::V6(v6) => SocketAddr::new((*v6.ip()).into(), v6.port()), // without scope
        v4 => v4,
    };
    let mut uri = format!("coap://{to}");
    for segment in base.split('/').filter(|segment| !segment.is_empty()) {
        uri.push('/');
        for byte in segment.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    uri.push(char::from(byte));
                }
                other => uri.push_str(&format!("%{other:02X}")),
            }
        }
    }
    uri + &format!("/{id}?b={block}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_makes_a_uri() {
        for path in ["/fw", "/a b/ü/c%d", "/%2F/?x=1&y#z", ""] {
            let at = uri_of(
                "[fe80::1%3]:61616".parse().unwrap(),
                path,
                ImageId([7; 8]),
                12,
            );
            let uri = antiphon_wire::Uri::parse(&at).unwrap();
            let mut bytes = [0; 256];
            let mut writer = antiphon_wire::Writer::tail(&mut bytes);
            let to = "[fe80::1]:61616".parse().unwrap();
            uri.write_options(&mut writer, to).unwrap();
            let length = writer.finish();
            let (options, _) = antiphon_wire::Options::parse(&bytes[..length]).unwrap();
            let mut found = String::new();
            let mut query = String::new();
            for option in options {
                let text = String::from_utf8_lossy(option.value);
                match option.number {
                    OptionNumber::URI_PATH => found = format!("{found}/{text}"),
                    OptionNumber::URI_QUERY => query = format!("{query}?{text}"),
                    other => panic!("{other}"),
                }
            }
            let expected = path.trim_end_matches('/');
            assert_eq!(found, format!("{expected}/0707070707070707"));
            assert_eq!(query, "?b=12");
        }
    }
}
