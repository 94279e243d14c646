//! One image to a whole group, on simulated hosts: endpoints with a device or a distributor behind them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use antiphon_netsim::{
    Arrival, HostId, Impairment, Network, Node, Outgoing, Segment, SegmentId,
    SendError as NetError, Simulation, SocketChange, SocketError, Time,
};
use antiphon_oscore::Settings;
use antiphon_proto::distribution::{
    Announcement, AskId, Command, Device, DeviceConfig, DeviceEvent, DistributionEnd, Distributor,
    DistributorConfig, DistributorEvent, Fills, Heard, ImageId, ImageSurvey, RepairId, Served,
};
use antiphon_proto::{
    Access, CoapGroupSpec, CollectionEvent, EndpointConfig, Event, ExchangeId, GroupId,
    GroupPolicy, GroupRequest, Incoming, Instant, Interface, NoSec, NoSecPolicy, Protection,
    Reliability, Request, Resource, Response, Route, Security, SocketId, UnicastRequest,
};
use antiphon_wire::Code;

mod disk;

pub use disk::{Disk, Kept};

use crate::secure;
use crate::sim::{EndpointHost, instant, time};
use crate::stage::{Ground, INTERFACE, target};

/// The path of all distributions.
pub const PATH: &str = "fw";
const PORT: u16 = 5683;
/// IPv6 and UDP headers.
pub const HEADERS: u64 = 48;

/// An image, and what is announced of it.
#[derive(Clone)]
pub struct Image {
    /// The announcement.
    pub announcement: Announcement,
    /// Digest list and image.
    pub content: Arc<Vec<u8>>,
    /// The image alone.
    pub bytes: Vec<u8>,
}

impl Image {
    /// An image of so many bytes, made from this seed, in blocks of this size.
    pub fn new(size: usize, block_size: u16, seed: u64) -> Self {
        let mut state = seed;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .take(size)
        .collect();
        let mut survey = ImageSurvey::new(block_size).unwrap();
        survey.update(&bytes);
        let (announcement, mut content) = survey.finish().unwrap();
        content.extend(&bytes);
        Self {
            announcement,
            content: Arc::new(content),
            bytes,
        }
    }

    /// Its identifier.
    pub fn id(&self) -> ImageId {
        self.announcement.id()
    }

    /// One block.
    pub fn block(&self, fills: Fills) -> Vec<u8> {
        let start = usize::try_from(fills.offset).unwrap();
        self.content[start..start + fills.length].to_vec()
    }
}

/// What a host has put on the air and taken from it, headers counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Air {
    /// Datagrams sent to groups.
    pub group_datagrams: u64,
    /// Bytes sent to groups.
    pub group_bytes: u64,
    /// Bytes sent to single hosts.
    pub unicast_bytes: u64,
    /// Bytes of datagrams to groups that came.
    pub heard_bytes: u64,
}

/// The part a host plays.
pub enum Part {
    /// It receives images.
    Device(DevicePart),
    /// It has one.
    Distributor(Box<DistributorPart>),
}

/// A device.
pub struct DevicePart {
    device: Arc<Mutex<Device>>,
    disk: Disk,
    repairs: BTreeMap<ExchangeId, RepairId>,
    /// Its security group, if it has one, and the credential behind each distributor's address.
    security: Option<(GroupId, BTreeMap<SocketAddr, Vec<u8>>)>,
    /// What it reported.
    pub events: Vec<DeviceEvent>,
}

/// A distributor.
pub struct DistributorPart {
    machine: Arc<Mutex<Distributor>>,
    image: Image,
    served: Arc<Mutex<Image>>,
    group: SocketAddr,
    security: Option<GroupId>,
    sending: bool,
    asks: BTreeMap<ExchangeId, AskId>,
    /// What it reported, and when.
    pub events: Vec<(Instant, DistributorEvent)>,
}

/// A host with its endpoint and its part.
pub struct Party {
    /// The endpoint.
    pub host: EndpointHost,
    /// What is behind it.
    pub part: Part,
    /// What it has put on the air.
    pub air: Air,
    /// Whether its datagrams are looked at one by one.
    pub watch: bool,
    /// How many of its datagrams to groups had an option Block1 (27), in the clear.
    pub block1: usize,
}

impl Party {
    fn drain(&mut self, now: Instant) -> bool {
        let mut done = false;
        for (_, event) in std::mem::take(&mut self.host.events) {
            done = true;
            match &mut self.part {
                Part::Device(part) => part.hear(now, event),
                Part::Distributor(part) => part.hear(now, event),
            }
        }
        let endpoint = &mut self.host.endpoint;
        done | match &mut self.part {
            Part::Device(part) => part.act(now, endpoint),
            Part::Distributor(part) => part.act(now, endpoint),
        }
    }
}

impl DevicePart {
    fn hear(&mut self, now: Instant, event: Event) {
        let (exchange, answer) = match event {
            Event::Response {
                exchange,
                response,
                sender,
                ..
            } => (exchange, Some((response, sender))),
            Event::Failed { exchange, .. } => (exchange, None),
            _ => return,
        };
        if let Some(repair) = self.repairs.remove(&exchange) {
            let answer = answer.as_ref().map(|(response, sender)| (response, sender));
            self.device.lock().unwrap().repaired(now, repair, answer);
        }
    }

    fn act(&mut self, now: Instant, endpoint: &mut antiphon_proto::Endpoint) -> bool {
        let mut device = self.device.lock().unwrap();
        let mut done = false;
        while let Some((work, task)) = device.poll_work() {
            done = true;
            let mut installation = self.disk.clone();
            let result = task.perform(&mut self.disk, &mut installation);
            device.work_done(now, work, result);
        }
        while let Some(repair) = device.poll_repair(now) {
            done = true;
            let protection = match &self.security {
                None => Protection::None,
                Some((group, credentials)) => Protection::Member {
                    group: *group,
                    credential: credentials.get(&repair.to).cloned().unwrap_or_default(),
                },
            };
            let asked = endpoint.request(now, to_one(repair.to, repair.request(PATH), protection));
            match asked {
                Ok(exchange) => {
                    self.repairs.insert(exchange, repair.repair);
                }
                Err(_) => device.repaired(now, repair.repair, None),
            }
        }
        while let Some(event) = device.poll_event() {
            self.events.push(event);
        }
        done
    }
}

impl DistributorPart {
    fn hear(&mut self, now: Instant, event: Event) {
        let mut machine = self.machine.lock().unwrap();
        match event {
            Event::Response {
                exchange, response, ..
            } => {
                if let Some(ask) = self.asks.remove(&exchange) {
                    machine.asked(now, ask, Ok(&response));
                }
            }
            Event::Failed { exchange, failure } => {
                if let Some(ask) = self.asks.remove(&exchange) {
                    machine.asked(now, ask, Err(failure));
                }
            }
            Event::Collection(CollectionEvent::Ended(outcome)) => {
                self.sending = false;
                let sent = (outcome.transmissions > 0).then_some(outcome.bytes);
                machine.sent(now, sent.map(|bytes| usize::try_from(bytes).unwrap()));
            }
            _ => {}
        }
    }

    fn act(&mut self, now: Instant, endpoint: &mut antiphon_proto::Endpoint) -> bool {
        let mut machine = self.machine.lock().unwrap();
        let mut done = false;
        if !self.sending
            && let Some(send) = machine.poll_send(now)
        {
            done = true;
            let mut request = send.request;
            if let Some(fills) = send.fills {
                request.payload = self.image.block(fills);
            }
            let security = match self.security {
                None => Security::Unsecured(NoSec::Accepted),
                Some(group) => Security::Group(group),
            };
            let question = GroupRequest::notify(request, target(self.group), security);
            match endpoint.collect(now, question) {
                Ok(_) => self.sending = true,
                Err(_) => machine.sent(now, None),
            }
        }
        while let Some(ask) = machine.poll_ask(now) {
            done = true;
            let protection = self.security.map_or(Protection::None, Protection::Group);
            match endpoint.request(now, to_one(ask.to, ask.request, protection)) {
                Ok(exchange) => {
                    self.asks.insert(exchange, ask.ask);
                }
                Err(_) => machine.asked(now, ask.ask, Err(antiphon_proto::Failure::Cancelled)),
            }
        }
        while let Some(event) = machine.poll_event() {
            self.events.push((now, event));
        }
        done
    }
}

fn to_one(to: SocketAddr, request: Request, protection: Protection) -> UnicastRequest {
    UnicastRequest {
        request,
        route: Route {
            socket: SocketId(0),
            source: None,
            interface: INTERFACE,
            destination: to,
        },
        reliability: Reliability::Confirmable,
        response_timeout: None,
        protection,
    }
}

impl Node for Party {
    fn handle_datagram(&mut self, now: Time, arrival: &Arrival, bytes: &[u8]) {
        if arrival.dst.ip().is_multicast() {
            self.air.heard_bytes += bytes.len() as u64 + HEADERS;
        }
        self.host.handle_datagram(now, arrival, bytes);
        self.drain(instant(now));
    }

    fn handle_timeout(&mut self, now: Time) {
        self.host.handle_timeout(now);
        match &mut self.part {
            Part::Device(part) => part.device.lock().unwrap().handle_timeout(instant(now)),
            Part::Distributor(part) => part.machine.lock().unwrap().handle_timeout(instant(now)),
        }
        self.drain(instant(now));
    }

    fn poll_transmit(&mut self, now: Time) -> Option<Outgoing> {
        loop {
            let outgoing = self.host.poll_transmit(now);
            let more = self.drain(instant(now));
            let Some(outgoing) = outgoing else {
                match more {
                    true => continue,
                    false => return None,
                }
            };
            let length = outgoing.bytes.len() as u64 + HEADERS;
            if outgoing.dst.ip().is_multicast() {
                self.air.group_datagrams += 1;
                self.air.group_bytes += length;
                if self.watch {
                    let message = crate::stage::parse(&outgoing.bytes);
                    let options = message.options_of(antiphon_wire::OptionNumber::BLOCK1);
                    self.block1 += options.count();
                }
            } else {
                self.air.unicast_bytes += length;
            }
            return Some(outgoing);
        }
    }

    fn next_timeout(&self) -> Option<Time> {
        let part = match &self.part {
            Part::Device(part) => part.device.lock().unwrap().next_timeout(),
            Part::Distributor(part) => part.machine.lock().unwrap().next_timeout(),
        };
        [self.host.next_timeout(), part.map(time)]
            .into_iter()
            .flatten()
            .min()
    }

    fn handle_send_error(&mut self, now: Time, outgoing: &Outgoing, error: NetError) {
        self.host.handle_send_error(now, outgoing, error);
        self.drain(instant(now));
    }

    fn poll_socket(&mut self, now: Time) -> Option<SocketChange> {
        self.host.poll_socket(now)
    }

    fn handle_socket(&mut self, now: Time, change: SocketChange, result: Result<(), SocketError>) {
        self.host.handle_socket(now, change, result);
        self.drain(instant(now));
    }
}

/// Devices and distributors on one link.
pub struct Campaign {
    /// The simulation.
    pub sim: Simulation<Party>,
    lan: SegmentId,
    seed: u64,
    /// Everything is protected, with distributors and devices as members of one security group.
    pub secured: bool,
    /// Hosts keep no record of their datagrams: for large ones.
    pub lean: bool,
    /// The devices, and what they keep.
    pub devices: Vec<(HostId, Disk)>,
    /// The images whose blocks devices have a place for.
    pub images: Vec<Image>,
    restarts: u64,
}

/// The group of all campaigns.
pub fn group() -> SocketAddr {
    Ground::Site.all_nodes()
}

/// The address of host `n`.
pub fn address(n: u16) -> SocketAddr {
    SocketAddr::new(Ground::Site.address(n), PORT)
}

/// The first device; distributors are 1 to 9.
pub const FIRST: u16 = 10;

impl Campaign {
    /// An empty link.
    pub fn new(seed: u64, images: &[Image]) -> Self {
        let mut network = Network::new(seed);
        let lan = network.add_segment(Segment::default());
        Self {
            sim: Simulation::new(network),
            lan,
            seed,
            secured: false,
            lean: false,
            devices: Vec::new(),
            images: images.to_vec(),
            restarts: 0,
        }
    }

    fn attach(&mut self, n: u16) -> HostId {
        let network = self.sim.network_mut();
        let host = network.add_host(format!("host {n}"));
        network.attach(host, self.lan, &[address(n).ip()]);
        network.bind(host, PORT).unwrap();
        host
    }

    fn endpoint(&mut self, n: u16, rate: u32) -> (EndpointHost, Option<GroupId>) {
        self.restarts += 1;
        let mut config = EndpointConfig::default();
        let transmission = &mut config.collections.transmission;
        transmission.set_probing_rate(rate).unwrap();
        let seed = self.seed.wrapping_mul(1_000_003) + self.restarts;
        let mut host = EndpointHost::new(config, seed, &[address(n)]);
        if self.lean {
            host = host.without_records();
        }
        let interface = Interface {
            ipv4: false,
            ipv6: true,
            ..Interface::new(INTERFACE)
        };
        let server = host.endpoint.server_mut();
        server.set_nosec(NoSecPolicy::Stated);
        server.memberships_mut().set_interface(interface).unwrap();
        let group = self.secured.then(|| {
            let me = u8::try_from(n).unwrap();
            host.key = Some(secure::key(me));
            let last = FIRST as u8 + 40;
            let peers = (1..last).filter(|peer| *peer != me);
            let group = secure::group(me, peers, Settings::default());
            host.endpoint.security_mut().add_group(group)
        });
        (host, group)
    }

    fn access(&self, resource: Resource) -> Resource {
        match self.secured {
            true => resource,
            false => resource.access(Access::Unsecured),
        }
    }

    /// A device that keeps what it receives here.
    fn device_party(&mut self, n: u16, disk: &Disk) -> Party {
        let (mut host, secured_by) = self.endpoint(n, 1);
        let config = DeviceConfig {
            proven_only: self.secured,
            ..DeviceConfig::default()
        };
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&(self.seed + self.restarts * 977).to_le_bytes());
        let device = Arc::new(Mutex::new(Device::new(config, seed).unwrap()));
        let handler = || {
            let device = Arc::clone(&device);
            move |request: &Incoming<'_>, response: &mut Response| {
                let command = Command::of_message(PATH, request.message);
                let heard = Heard::from(request.arrival);
                let answer = device
                    .lock()
                    .unwrap()
                    .handle(request.arrival.at, &heard, &command);
                *response = answer.unwrap_or_else(|| Response::new(Code::EMPTY));
            }
        };
        let server = host.endpoint.server_mut();
        let base = Resource::at(PATH).get(handler()).post(handler());
        let base = base.group_policy(GroupPolicy::silent());
        server.add(self.access(base)).unwrap();
        for image in &self.images {
            let blocks = Resource::at(&format!("{PATH}/{}", image.id())).put(handler());
            let blocks = blocks.group_policy(GroupPolicy::silent());
            server.add(self.access(blocks)).unwrap();
        }
        let spec = CoapGroupSpec::new(group()).on(INTERFACE).unsecured();
        server.memberships_mut().create(spec).unwrap();
        let credentials = (1..FIRST as u8)
            .map(|n| (address(n.into()), secure::credential(n).bytes().to_vec()))
            .collect();
        Party {
            host,
            part: Part::Device(DevicePart {
                device,
                disk: disk.clone(),
                repairs: BTreeMap::new(),
                security: secured_by.map(|group| (group, credentials)),
                events: Vec::new(),
            }),
            air: Air::default(),
            watch: false,
            block1: 0,
        }
    }

    /// One more device; devices are hosts 10, 11, and so on.
    pub fn device(&mut self) -> (HostId, Disk) {
        let n = FIRST + u16::try_from(self.devices.len()).unwrap();
        let disk = Disk::default();
        let host = self.attach(n);
        let party = self.device_party(n, &disk);
        self.sim.insert(host, party);
        self.devices.push((host, disk.clone()));
        (host, disk)
    }

    /// A device crashes, loses what it did not note, and starts again.
    pub fn restart_device(&mut self, index: usize, after: Duration) {
        let (host, disk) = self.devices[index].clone();
        self.sim.crash(host);
        disk.cut();
        self.sim.run_for(after);
        let n = FIRST + u16::try_from(index).unwrap();
        let party = self.device_party(n, &disk);
        self.sim.restart(host, party);
        // a socket is opened with the program
        let _ = self.sim.network_mut().bind(host, PORT);
    }

    /// The addresses of all devices.
    pub fn members(&self) -> Vec<SocketAddr> {
        let count = u16::try_from(self.devices.len()).unwrap();
        (0..count).map(|n| address(FIRST + n)).collect()
    }

    fn distributor_party(&mut self, n: u16, image: &Image, config: DistributorConfig) -> Party {
        let (mut host, secured_by) = self.endpoint(n, config.rate);
        let machine = Arc::new(Mutex::new(Distributor::new(config).unwrap()));
        let repairs = Resource::at(&format!("{PATH}/{}", image.id()));
        let served = Arc::new(Mutex::new(image.clone()));
        let (asked, serving) = (Arc::clone(&machine), Arc::clone(&served));
        let repairs = repairs.get(move |request: &Incoming<'_>, response: &mut Response| {
            let message = Request::from(request.message);
            let from = request.arrival.path.peer;
            let at = request.arrival.at;
            *response = match asked.lock().unwrap().handle_request(at, from, &message) {
                Served::Response(response) => response,
                Served::Block(fills) => {
                    let mut response = Response::new(Code::CONTENT);
                    response.payload = serving.lock().unwrap().block(fills);
                    response
                }
            };
        });
        let repairs = self.access(repairs);
        host.endpoint.server_mut().add(repairs).unwrap();
        Party {
            host,
            part: Part::Distributor(Box::new(DistributorPart {
                machine,
                image: image.clone(),
                served,
                group: group(),
                security: secured_by,
                sending: false,
                asks: BTreeMap::new(),
                events: Vec::new(),
            })),
            air: Air::default(),
            watch: true,
            block1: 0,
        }
    }

    /// A distributor at host `n`, 1 to 9, begins.
    pub fn distribute(&mut self, n: u16, image: &Image, config: DistributorConfig) -> HostId {
        let host = self.attach(n);
        let party = self.distributor_party(n, image, config);
        self.sim.insert(host, party);
        host
    }

    /// A distributor crashes and starts again with the same parameters.
    pub fn restart_distributor(
        &mut self,
        host: HostId,
        n: u16,
        image: &Image,
        config: DistributorConfig,
        after: Duration,
    ) {
        self.sim.crash(host);
        self.sim.run_for(after);
        let party = self.distributor_party(n, image, config);
        self.sim.restart(host, party);
        let _ = self.sim.network_mut().bind(host, PORT);
    }

    /// With all devices as members, at 20,000 bytes a second.
    pub fn config(&self, image: &Image) -> DistributorConfig {
        DistributorConfig {
            members: self.members(),
            rate: 20_000,
            deadline: Some(Duration::from_secs(40_000)),
            ..DistributorConfig::new(image.announcement.clone(), PATH)
        }
    }

    /// Loss in both directions at all devices, beside delay, duplicates and reordering.
    pub fn impair(&mut self, loss: f64, duplicates: f64, reordering: f64) {
        let impairment = Impairment::none()
            .loss(loss)
            .delay(Duration::from_millis(5))
            .duplicate(duplicates)
            .reorder(reordering, Duration::from_millis(300));
        let hosts: Vec<_> = self.devices.iter().map(|(host, _)| *host).collect();
        for host in hosts {
            self.sim.network_mut().set_egress(host, impairment);
            self.sim.network_mut().set_ingress(host, impairment);
        }
    }

    /// Until a distributor is over; why it ended.
    pub fn finish(&mut self, distributor: HostId) -> DistributionEnd {
        let limit = self.sim.now() + Duration::from_secs(50_000);
        let over = self.sim.run_until_true(limit, |sim| {
            sim.node(distributor)
                .is_some_and(|party| end_of(party).is_some())
        });
        assert!(over, "the distribution never ends");
        end_of(self.sim.node(distributor).unwrap()).unwrap()
    }

    /// A distributor's machine.
    pub fn with_distributor<R>(&self, host: HostId, look: impl FnOnce(&mut Distributor) -> R) -> R {
        match &self.sim.node(host).unwrap().part {
            Part::Distributor(part) => look(&mut part.machine.lock().unwrap()),
            Part::Device(_) => panic!("a device"),
        }
    }

    /// A device's machine.
    pub fn with_device<R>(&self, index: usize, look: impl FnOnce(&mut Device) -> R) -> R {
        match &self.sim.node(self.devices[index].0).unwrap().part {
            Part::Device(part) => look(&mut part.device.lock().unwrap()),
            Part::Distributor(_) => panic!("a distributor"),
        }
    }

    /// The link.
    pub fn lan(&self) -> SegmentId {
        self.lan
    }

    /// Requests for repair are answered with the blocks of another image.
    pub fn repair_from(&mut self, host: HostId, image: &Image) {
        let Part::Distributor(part) = &self.sim.node(host).unwrap().part else {
            panic!("a device");
        };
        *part.served.lock().unwrap() = image.clone();
    }

    /// Sends a request to the group from the address and port of a host, beside everything else.
    pub fn say_as(&mut self, host: HostId, request: &Request) {
        let options: Vec<_> = request.options.iter().collect();
        let bytes = crate::stage::Datagram {
            kind: antiphon_wire::Type::Non,
            code: request.method,
            mid: 0xabcd,
            token: b"say",
            options: &options,
            payload: &request.payload,
        }
        .bytes();
        let outgoing = Outgoing::from_port(PORT, group(), bytes);
        let outgoing = outgoing.over(antiphon_netsim::Interface::new(INTERFACE));
        self.sim.network_mut().send(host, outgoing).unwrap();
    }

    /// What all hosts have put on the air.
    pub fn air(&self) -> Air {
        let mut all = Air::default();
        for (_, party) in self.sim.nodes() {
            all.group_datagrams += party.air.group_datagrams;
            all.group_bytes += party.air.group_bytes;
            all.unicast_bytes += party.air.unicast_bytes;
            all.heard_bytes += party.air.heard_bytes;
        }
        all
    }

    /// How many devices use exactly this image, which they have activated once.
    pub fn exact(&self, image: &Image) -> usize {
        let exact = |disk: &&Disk| disk.kept().in_use == image.bytes;
        self.devices
            .iter()
            .map(|(_, disk)| disk)
            .filter(exact)
            .count()
    }
}

fn end_of(party: &Party) -> Option<DistributionEnd> {
    let Part::Distributor(part) = &party.part else {
        return None;
    };
    part.events.iter().find_map(|(_, event)| match event {
        DistributorEvent::Ended(end) => Some(*end),
        _ => None,
    })
}
