//! Endpoints on simulated hosts: real bytes, virtual time, everything repeatable from one seed.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use antiphon_netsim::{
    Arrival, HostId, Impairment, Interface, Network, Node, Outgoing, Segment, SegmentId,
    SendError as NetError, Simulation, SocketChange, SocketError, Time,
};
use antiphon_oscore::crypto::SoftwareKey;
use antiphon_oscore::record::Record;
use antiphon_proto::{
    Endpoint, EndpointConfig, Event, Instant, Path, Route, SendError, SocketId, SocketInfo, Task,
    Work, WorkFailure, WorkId, WorkResult,
};

/// How long a worker takes for a piece of work.
pub type Toil = Box<dyn FnMut(&Work) -> Duration>;

/// An endpoint on a simulated host, with its sockets and its worker.
pub struct EndpointHost {
    /// The endpoint itself.
    pub endpoint: Endpoint,
    /// All that it reported, with the time.
    pub events: Vec<(Instant, Event)>,
    /// Every datagram it sent, with the time: what a capture at this host would show.
    pub sent: Vec<(Instant, Route, Vec<u8>)>,
    /// Every datagram it received, with the time.
    pub received: Vec<(Instant, Path, Vec<u8>)>,
    /// The own private key in every security group; without one the worker can verify, and no more.
    pub key: Option<SoftwareKey>,
    /// What was made durable, in order.
    pub stored: Vec<Record>,
    /// How long the worker takes for a piece of work: different times let work overtake each other, and with
    /// `Duration::MAX` it is never done. `None`: no time at all.
    pub toil: Option<Toil>,
    at_work: BTreeMap<(Instant, WorkId), Work>,
    unicast: BTreeMap<SocketId, SocketAddr>,
    groups: BTreeMap<SocketAddr, SocketId>,
    changes: Vec<SocketChange>,
    joining: Vec<(SocketChange, WorkId)>,
    in_flight: BTreeMap<(SocketAddr, u32), Route>,
    keep: bool,
}

/// The instant of the endpoint at a time of the simulation.
pub fn instant(time: Time) -> Instant {
    Instant::from_micros(time.as_micros())
}

/// The time of the simulation at an instant of the endpoint.
pub fn time(instant: Instant) -> Time {
    Time::from_micros(instant.as_micros())
}

impl EndpointHost {
    /// An endpoint with unicast sockets at `locals`, numbered from 0.
    pub fn new(config: EndpointConfig, seed: u64, locals: &[SocketAddr]) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut endpoint = Endpoint::new(config, bytes);
        let mut unicast = BTreeMap::new();
        for (id, local) in (0..).map(SocketId).zip(locals) {
            endpoint.add_socket(
                id,
                SocketInfo {
                    local: *local,
                    respond_from: None,
                },
            );
            unicast.insert(id, *local);
        }
        Self {
            endpoint,
            events: Vec::new(),
            sent: Vec::new(),
            received: Vec::new(),
            key: None,
            stored: Vec::new(),
            toil: None,
            at_work: BTreeMap::new(),
            unicast,
            groups: BTreeMap::new(),
            changes: Vec::new(),
            joining: Vec::new(),
            in_flight: BTreeMap::new(),
            keep: true,
        }
    }

    /// One more socket; its port must be bound.
    pub fn add_unicast(&mut self, id: SocketId, info: SocketInfo) {
        self.endpoint.add_socket(id, info);
        self.unicast.insert(id, info.local);
    }

    /// Keeps no record of datagrams: for simulations with thousands of hosts.
    pub fn without_records(mut self) -> Self {
        self.keep = false;
        self
    }

    fn drain(&mut self, now: Instant) {
        while let Some(work) = self.endpoint.poll_work(now) {
            let time = self
                .toil
                .as_mut()
                .map_or(Duration::ZERO, |toil| toil(&work));
            self.at_work.insert((now + time, work.id), work);
        }
        while let Some(entry) = self.at_work.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let work = entry.remove();
            match work.task {
                Task::Join { group, interface } => {
                    let next = SocketId(1_000 + u16::try_from(self.groups.len()).unwrap());
                    let id = *self.groups.entry(group).or_insert(next);
                    let info = SocketInfo {
                        local: group,
                        respond_from: None,
                    };
                    self.endpoint.add_socket(id, info);
                    let join = SocketChange::Join(Interface::new(interface), group.ip());
                    self.changes.push(SocketChange::Bind(group.port()));
                    self.changes.push(join);
                    self.joining.push((join, work.id));
                }
                Task::Leave { group, interface } => {
                    let leave = SocketChange::Leave(Interface::new(interface), group.ip());
                    self.changes.push(leave);
                    self.joining.push((leave, work.id));
                }
                task => {
                    let result = self.labour(task);
                    self.endpoint.work_done(now, work.id, result);
                }
            }
        }
        while let Some(event) = self.endpoint.poll_event() {
            self.events.push((now, event));
        }
    }

    /// Does work for protected messages.
    fn labour(&mut self, task: Task) -> WorkResult {
        let no_key = WorkResult::Failed(WorkFailure::Key);
        match (task, &self.key) {
            (Task::Verify(job), _) => WorkResult::Checked(job.run()),
            (Task::Agree(job), Some(key)) => WorkResult::Agreed(job.run(key)),
            (Task::Sign(job), Some(key)) => job.run(key),
            (Task::Store { record, .. }, _) => {
                self.stored.push(record);
                WorkResult::Done
            }
            (Task::LoadCredential { .. }, _) => WorkResult::Credential(None),
            (Task::Agree(_) | Task::Sign(_) | Task::Join { .. } | Task::Leave { .. }, _) => no_key,
        }
    }

    fn source(&self, route: &Route) -> SocketAddr {
        let local = self.unicast[&route.socket];
        SocketAddr::new(route.source.unwrap_or(local.ip()), local.port())
    }
}

impl Node for EndpointHost {
    fn handle_datagram(&mut self, now: Time, arrival: &Arrival, bytes: &[u8]) {
        let socket = if arrival.dst.ip().is_multicast() {
            let group = SocketAddr::new(arrival.dst.ip(), arrival.dst.port());
            self.groups.get(&group).copied()
        } else {
            self.unicast
                .iter()
                .find(|(_, local)| {
                    local.port() == arrival.dst.port() && local.is_ipv4() == arrival.dst.is_ipv4()
                })
                .map(|(id, _)| *id)
        };
        let Some(socket) = socket else { return };
        let path = Path {
            socket,
            local: arrival.dst,
            interface: arrival.interface.index(),
            peer: arrival.src,
        };
        if self.keep {
            self.received.push((instant(now), path, bytes.to_vec()));
        }
        self.endpoint.handle_datagram(instant(now), path, bytes);
        self.drain(instant(now));
    }

    fn handle_timeout(&mut self, now: Time) {
        self.endpoint.handle_timeout(instant(now));
        self.drain(instant(now));
    }

    fn poll_transmit(&mut self, now: Time) -> Option<Outgoing> {
        let mut bytes = Vec::new();
        let transmit = self.endpoint.poll_transmit(instant(now), &mut bytes);
        self.drain(instant(now));
        let route = transmit?.route;
        if self.keep {
            self.sent.push((instant(now), route, bytes.clone()));
        }
        self.in_flight
            .insert((route.destination, route.interface), route);
        let outgoing = Outgoing::new(self.source(&route), route.destination, bytes);
        Some(match route.interface {
            0 => outgoing,
            index => outgoing.over(Interface::new(index)),
        })
    }

    fn next_timeout(&self) -> Option<Time> {
        let worker = self.at_work.keys().next().map(|(at, _)| *at);
        let worker = worker.filter(|at| *at < Instant::from_micros(u64::MAX));
        [self.endpoint.next_timeout(), worker]
            .into_iter()
            .flatten()
            .min()
            .map(time)
    }

    fn handle_send_error(&mut self, now: Time, outgoing: &Outgoing, error: NetError) {
        let index = outgoing.interface.map_or(0, Interface::index);
        let Some(route) = self.in_flight.get(&(outgoing.dst, index)).copied() else {
            return;
        };
        let error = match error {
            NetError::NetworkUnreachable => SendError::NoRoute,
            NetError::MessageTooLong => SendError::TooLarge,
            NetError::NoBufferSpace => SendError::NoBuffer,
            _ => SendError::InterfaceGone,
        };
        self.endpoint.handle_send_error(instant(now), route, error);
        self.drain(instant(now));
    }

    fn poll_socket(&mut self, now: Time) -> Option<SocketChange> {
        self.drain(instant(now));
        (!self.changes.is_empty()).then(|| self.changes.remove(0))
    }

    fn handle_socket(&mut self, now: Time, change: SocketChange, result: Result<(), SocketError>) {
        let Some(at) = self.joining.iter().position(|(c, _)| *c == change) else {
            return; // a port: bound already, or bound for several groups
        };
        let (_, id) = self.joining.remove(at);
        let result = match result {
            Ok(()) => WorkResult::Done,
            Err(_) => WorkResult::Failed(WorkFailure::System(0)),
        };
        self.endpoint.work_done(instant(now), id, result);
        self.drain(instant(now));
    }
}

/// A network with one link, to which hosts are added.
pub struct World {
    /// The simulation: run it, look into its nodes, impair its links.
    pub sim: Simulation<EndpointHost>,
    /// The link to which [`host`](Self::host) attaches.
    pub lan: SegmentId,
    seed: u64,
}

impl World {
    /// An empty link; everything random in it follows from `seed`, which a failing test prints.
    pub fn new(seed: u64) -> Self {
        let mut network = Network::new(seed);
        let lan = network.add_segment(Segment::default());
        Self {
            sim: Simulation::new(network),
            lan,
            seed,
        }
    }

    /// Adds a host with these addresses on the link and an endpoint with one socket per address family at `port`.
    pub fn host(
        &mut self,
        name: &str,
        addresses: &[IpAddr],
        port: u16,
        config: EndpointConfig,
    ) -> HostId {
        let lan = self.lan;
        self.host_at(lan, name, addresses, port, config)
    }

    /// The same on another link.
    pub fn host_at(
        &mut self,
        segment: SegmentId,
        name: &str,
        addresses: &[IpAddr],
        port: u16,
        config: EndpointConfig,
    ) -> HostId {
        self.host_on_ports(segment, name, addresses, &[port], config)
    }

    /// The same with one socket per address family at each of these ports.
    pub fn host_on_ports(
        &mut self,
        segment: SegmentId,
        name: &str,
        addresses: &[IpAddr],
        ports: &[u16],
        config: EndpointConfig,
    ) -> HostId {
        let network = self.sim.network_mut();
        let host = network.add_host(name);
        network.attach(host, segment, addresses);
        let mut locals: Vec<SocketAddr> = Vec::new();
        for &port in ports {
            network
                .bind(host, port)
                .expect("a fresh host has free ports");
            for address in addresses {
                let same_family = |other: &&IpAddr| other.is_ipv4() == address.is_ipv4();
                let local = match (addresses.iter().filter(same_family).count(), address) {
                    (1, _) => SocketAddr::new(*address, port),
                    (_, IpAddr::V4(_)) => (Ipv4Addr::UNSPECIFIED, port).into(),
                    (_, IpAddr::V6(_)) => (Ipv6Addr::UNSPECIFIED, port).into(),
                };
                if !locals.contains(&local) {
                    locals.push(local);
                }
            }
        }
        let seed = self
            .seed
            .wrapping_mul(1_000_003)
            .wrapping_add(host.index() as u64);
        self.sim
            .insert(host, EndpointHost::new(config, seed, &locals));
        host
    }

    /// Loss in both directions at one host, from 0 to 1.
    pub fn loss(&mut self, host: HostId, probability: f64) {
        let network = self.sim.network_mut();
        network.set_egress(host, Impairment::none().loss(probability));
        network.set_ingress(host, Impairment::none().loss(probability));
    }

    /// The endpoint of a host.
    pub fn endpoint(&mut self, host: HostId) -> &mut Endpoint {
        &mut self.node(host).endpoint
    }

    /// The host with all its records.
    pub fn node(&mut self, host: HostId) -> &mut EndpointHost {
        self.sim.node_mut(host).expect("the host was added")
    }

    /// Now, as the endpoints count time.
    pub fn now(&self) -> Instant {
        instant(self.sim.now())
    }

    /// Lets this much time pass.
    pub fn run(&mut self, duration: Duration) {
        self.sim.run_for(duration);
    }
}
