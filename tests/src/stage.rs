//! What scenarios are played on: one address family and scope, a client, members, strangers, and what they say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use antiphon_netsim::{Delivery, HostId, Interface as NetInterface, Outgoing};
use antiphon_proto::{
    Access, Answer, Arrival, CoapGroupId, CoapGroupSpec, CollectionEvent, CollectionId,
    EndpointConfig, Event, ExchangeId, Failure, GroupRequest, GroupTarget, Incoming, Instant,
    Interface, NoSec, NoSecPolicy, Outcome, Path, Reliability, Request, Resource, ResourceId,
    Response, Route, Security, Server, SocketId, UnicastRequest,
};
use antiphon_wire::{
    Code, ContentFormat, Message, MessageId, OptionNumber, Token, Type, Uri, Writer,
};

use crate::sim::World;

/// An address family, and a scope in it: where a scenario takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// IPv6, link-local: ff02::fd, and link-local addresses of the hosts.
    Link,
    /// IPv6, realm-local: ff03::fd.
    Realm,
    /// IPv6, site-local: ff05::fd.
    Site,
    /// IPv4: 224.0.1.187.
    V4,
}

impl Ground {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Link, Self::Realm, Self::Site, Self::V4];

    /// All CoAP Nodes.
    pub fn all_nodes(self) -> SocketAddr {
        SocketAddr::new(
            match self {
                Self::V4 => Ipv4Addr::new(224, 0, 1, 187).into(),
                _ => self.multicast(0xfd),
            },
            5683,
        )
    }

    /// Another group of the same scope.
    pub fn group(self, n: u8, port: u16) -> SocketAddr {
        let ip = match self {
            Self::V4 => Ipv4Addr::new(239, 1, 0, n).into(),
            _ => self.multicast(0x8000_0000 + u32::from(n)),
        };
        SocketAddr::new(ip, port)
    }

    fn multicast(self, id: u32) -> IpAddr {
        let first = match self {
            Self::Link => 0xff02,
            Self::Realm => 0xff03,
            _ => 0xff05,
        };
        let [high, low] = [id >> 16, id & 0xffff].map(|half| half as u16);
        Ipv6Addr::new(first, 0, 0, 0, 0, 0, high, low).into()
    }

    /// The address of host `n`.
    pub fn address(self, n: u16) -> IpAddr {
        let [high, low] = n.to_be_bytes();
        match self {
            Self::Link => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, n).into(),
            Self::Realm | Self::Site => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n).into(),
            Self::V4 => Ipv4Addr::new(10, 0, high, low).into(),
        }
    }
}

/// The number of the host that has this address.
pub fn number_of(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(v4) => u16::from_be_bytes([v4.octets()[2], v4.octets()[3]]),
        IpAddr::V6(v6) => v6.segments()[7],
    }
}

/// The only interface of a host on the stage.
pub const INTERFACE: u32 = 1;
/// The client's port.
pub const CLIENT_PORT: u16 = 40_001;

/// A link with a client and members.
pub struct Stage {
    /// The network and all endpoints on it.
    pub world: World,
    /// Where it is.
    pub ground: Ground,
}

impl Stage {
    /// An empty stage.
    pub fn new(ground: Ground, seed: u64) -> Self {
        Self {
            world: World::new(seed),
            ground,
        }
    }

    /// A client at address 1.
    pub fn client(&mut self) -> HostId {
        self.client_with(EndpointConfig::default())
    }

    /// A client at address 1, set up like this.
    pub fn client_with(&mut self, config: EndpointConfig) -> HostId {
        let address = self.ground.address(1);
        self.world.host("client", &[address], CLIENT_PORT, config)
    }

    /// A server at address `n` and port 5683 that serves discovery.
    pub fn member(&mut self, n: u16) -> HostId {
        self.member_with(n, &[5683], EndpointConfig::default())
    }

    /// A server at address `n` with unicast sockets at these ports.
    pub fn member_with(&mut self, n: u16, ports: &[u16], config: EndpointConfig) -> HostId {
        let lan = self.world.lan;
        let address = self.ground.address(n);
        let name = format!("member {n}");
        let host = self
            .world
            .host_on_ports(lan, &name, &[address], ports, config);
        self.open(host);
        host
    }

    /// A member that has just been switched on has its interface, and is open to requests without security.
    pub fn open(&mut self, host: HostId) {
        let ipv4 = self.ground == Ground::V4;
        let interface = Interface {
            ipv4,
            ipv6: !ipv4,
            sixlowpan: self.ground == Ground::Realm,
            ..Interface::new(INTERFACE)
        };
        let server = self.server(host);
        server.set_nosec(NoSecPolicy::Stated);
        server.memberships_mut().set_interface(interface).unwrap();
    }

    /// Somebody at address `n` who says and hears bytes: another implementation, or an attacker.
    pub fn stranger(&mut self, n: u16, port: u16) -> Stranger {
        let address = self.ground.address(n);
        let lan = self.world.lan;
        let network = self.world.sim.network_mut();
        let host = network.add_host(format!("stranger {n}"));
        network.attach(host, lan, &[address]);
        network.bind(host, port).unwrap();
        Stranger { host, port }
    }

    /// The server half of a host.
    pub fn server(&mut self, host: HostId) -> &mut Server {
        self.world.endpoint(host).server_mut()
    }

    /// Adds a resource that anyone may use.
    pub fn offer(&mut self, host: HostId, resource: Resource) -> ResourceId {
        let server = self.server(host);
        server.set_nosec(NoSecPolicy::Stated);
        server.add(resource.access(Access::Unsecured)).unwrap()
    }

    /// Makes a host a member of an unsecured group.
    pub fn join(&mut self, host: HostId, group: SocketAddr) -> CoapGroupId {
        let spec = CoapGroupSpec::new(group).on(INTERFACE).unsecured();
        self.server(host).memberships_mut().create(spec).unwrap()
    }

    /// Lets this much time pass.
    pub fn run(&mut self, duration: Duration) {
        self.world.run(duration);
    }

    /// Long enough that what was joined is joined, short enough for everything else.
    pub fn settle(&mut self) {
        self.run(Duration::from_millis(10));
    }

    /// Unsecured, to one group.
    pub fn question(&self, request: Request, group: SocketAddr) -> GroupRequest {
        GroupRequest::new(request, target(group), Security::Unsecured(NoSec::Accepted))
    }

    /// Asks.
    pub fn ask(&mut self, client: HostId, question: GroupRequest) -> CollectionId {
        let now = self.world.now();
        self.world.endpoint(client).collect(now, question).unwrap()
    }

    /// Asks, and waits until the collection is over.
    pub fn collect(&mut self, client: HostId, question: GroupRequest) -> Collected {
        let id = self.ask(client, question);
        let limit = self.world.sim.now() + Duration::from_secs(3_600);
        let over = self.world.sim.run_until_true(limit, |sim| {
            let events = &sim.node(client).unwrap().events;
            events.iter().any(|(_, event)| is_end(event, id))
        });
        assert!(over, "the collection never ends");
        self.collected(client, id)
    }

    /// What came of a collection so far.
    pub fn collected(&mut self, client: HostId, id: CollectionId) -> Collected {
        let mut collected = Collected {
            id,
            answers: Vec::new(),
            late: Vec::new(),
            outcome: None,
            at: None,
        };
        for (at, event) in &self.world.node(client).events {
            let Event::Collection(event) = event else {
                continue;
            };
            match event {
                CollectionEvent::Answer(answer) if answer.collection == id => {
                    collected.answers.push(answer.clone());
                }
                CollectionEvent::LateAnswer(answer) if answer.collection == id => {
                    collected.late.push(answer.clone());
                }
                CollectionEvent::Ended(outcome) if outcome.collection == id => {
                    assert!(collected.outcome.is_none(), "a collection ends once");
                    collected.at = Some(*at);
                    collected.outcome = Some(outcome.clone());
                }
                _ => {}
            }
        }
        collected
    }

    /// Sends a request to one host and waits for its end.
    pub fn unicast(
        &mut self,
        client: HostId,
        to: SocketAddr,
        reliability: Reliability,
        request: Request,
    ) -> Result<(Path, Response), Failure> {
        let id = self.start_unicast(client, to, reliability, request);
        let limit = self.world.sim.now() + Duration::from_secs(600);
        let over = self.world.sim.run_until_true(limit, |sim| {
            let events = &sim.node(client).unwrap().events;
            events.iter().any(|(_, event)| ended(event, id).is_some())
        });
        assert!(over, "the exchange never ends");
        let events = &self.world.node(client).events;
        events.iter().find_map(|(_, e)| ended(e, id)).unwrap()
    }

    /// Sends a request to one host.
    pub fn start_unicast(
        &mut self,
        client: HostId,
        to: SocketAddr,
        reliability: Reliability,
        request: Request,
    ) -> ExchangeId {
        let now = self.world.now();
        let unicast = UnicastRequest {
            request,
            route: Route {
                socket: SocketId(0),
                source: None,
                interface: INTERFACE,
                destination: to,
            },
            reliability,
            response_timeout: None,
            protection: antiphon_proto::Protection::None,
        };
        self.world.endpoint(client).request(now, unicast).unwrap()
    }

    /// A stranger says something.
    pub fn say(&mut self, stranger: Stranger, to: SocketAddr, bytes: impl Into<Vec<u8>>) {
        let outgoing =
            Outgoing::from_port(stranger.port, to, bytes).over(NetInterface::new(INTERFACE));
        let network = self.world.sim.network_mut();
        network.send(stranger.host, outgoing).unwrap();
    }

    /// A datagram with any source address.
    pub fn forge(&mut self, from: SocketAddr, to: SocketAddr, bytes: impl Into<Vec<u8>>) {
        let lan = self.world.lan;
        self.world.sim.network_mut().inject(lan, from, to, bytes);
    }

    /// What a stranger has heard since it was last asked.
    pub fn heard(&mut self, stranger: Stranger) -> Vec<Delivery> {
        let network = self.world.sim.network_mut();
        network.deliveries(stranger.host).collect()
    }

    /// Says something, waits for longer than any leisure, and returns all that comes back.
    pub fn provoke(
        &mut self,
        stranger: Stranger,
        to: SocketAddr,
        bytes: impl Into<Vec<u8>>,
    ) -> Vec<Delivery> {
        self.say(stranger, to, bytes);
        self.run(Duration::from_secs(30));
        self.heard(stranger)
    }

    /// What a host has sent, as bytes, oldest first.
    pub fn sent(&mut self, host: HostId) -> Vec<Vec<u8>> {
        let sent = &self.world.node(host).sent;
        sent.iter().map(|(_, _, bytes)| bytes.clone()).collect()
    }

    /// Forgets what hosts have sent and received, to look at what follows only.
    pub fn forget(&mut self, hosts: &[HostId]) {
        for host in hosts {
            let node = self.world.node(*host);
            node.sent.clear();
            node.received.clear();
        }
    }
}

/// Somebody who says and hears bytes.
#[derive(Clone, Copy, Debug)]
pub struct Stranger {
    /// The host.
    pub host: HostId,
    /// Its port.
    pub port: u16,
}

/// What came of a collection.
#[derive(Clone, Debug)]
pub struct Collected {
    /// Which.
    pub id: CollectionId,
    /// The answers in time, in the order in which they came.
    pub answers: Vec<Answer>,
    /// The late ones.
    pub late: Vec<Answer>,
    /// How it ended, if it has.
    pub outcome: Option<Outcome>,
    /// When.
    pub at: Option<Instant>,
}

impl Collected {
    /// Who answered with which code: host numbers, ascending.
    pub fn codes(&self) -> Vec<(u16, Code)> {
        let mut all: Vec<_> = self
            .answers
            .iter()
            .map(|answer| (number_of(answer.from.peer.ip()), answer.response.code))
            .collect();
        all.sort_unstable();
        all
    }

    /// Who answered: host numbers, ascending, each as often as it answered.
    pub fn who(&self) -> Vec<u16> {
        self.codes().into_iter().map(|(number, _)| number).collect()
    }

    /// Who answered what, as text.
    pub fn texts(&self) -> Vec<(u16, String)> {
        let mut all: Vec<_> = self
            .answers
            .iter()
            .map(|answer| {
                let text = String::from_utf8(answer.response.payload.clone()).unwrap();
                (number_of(answer.from.peer.ip()), text)
            })
            .collect();
        all.sort_unstable();
        all
    }

    /// How it ended.
    pub fn outcome(&self) -> &Outcome {
        self.outcome.as_ref().expect("it has ended")
    }
}

fn is_end(event: &Event, id: CollectionId) -> bool {
    matches!(event, Event::Collection(CollectionEvent::Ended(outcome)) if outcome.collection == id)
}

fn ended(event: &Event, id: ExchangeId) -> Option<Result<(Path, Response), Failure>> {
    match event {
        Event::Response {
            exchange,
            response,
            from,
            ..
        } if *exchange == id => Some(Ok((*from, response.clone()))),
        Event::Failed { exchange, failure } if *exchange == id => Some(Err(*failure)),
        _ => None,
    }
}

/// The group, asked from the first socket on the only interface.
pub fn target(group: SocketAddr) -> GroupTarget {
    GroupTarget {
        group,
        socket: SocketId(0),
        interface: INTERFACE,
    }
}

/// GET of a path.
pub fn get(path: &str) -> Request {
    Request::new(Code::GET).path(path)
}

/// PUT of a text.
pub fn put(path: &str, text: &str) -> Request {
    let request = Request::new(Code::PUT).path(path);
    request.payload(ContentFormat::TEXT, text)
}

/// POST of a text.
pub fn post(path: &str, text: &str) -> Request {
    let request = Request::new(Code::POST).path(path);
    request.payload(ContentFormat::TEXT, text)
}

/// The request of a URI, sent to this destination.
pub fn uri_request(method: Code, uri: &str, destination: SocketAddr) -> Request {
    let mut buffer = [0; 1_024];
    let mut writer =
        Writer::new(&mut buffer, Type::Non, method, MessageId(0), Token::EMPTY).unwrap();
    let uri = Uri::parse(uri).unwrap();
    uri.write_options(&mut writer, destination).unwrap();
    let len = writer.finish();
    Request::from(&parse(&buffer[..len]))
}

/// What a datagram is made from.
#[derive(Clone, Debug)]
pub struct Datagram<'a> {
    /// Message type.
    pub kind: Type,
    /// Code.
    pub code: Code,
    /// Message ID.
    pub mid: u16,
    /// Token, up to 8 bytes.
    pub token: &'a [u8],
    /// Options in ascending order.
    pub options: &'a [(OptionNumber, &'a [u8])],
    /// Payload.
    pub payload: &'a [u8],
}

impl Datagram<'_> {
    /// A Non-confirmable GET of one path segment, as bytes.
    pub fn get(mid: u16, token: &[u8], segment: &str) -> Vec<u8> {
        Datagram {
            kind: Type::Non,
            code: Code::GET,
            mid,
            token,
            options: &[(OptionNumber::URI_PATH, segment.as_bytes())],
            payload: b"",
        }
        .bytes()
    }

    /// The bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut buffer = vec![0; 2_048 + self.payload.len()];
        let token = Token::new(self.token).unwrap();
        let mid = MessageId(self.mid);
        let mut writer = Writer::new(&mut buffer, self.kind, self.code, mid, token).unwrap();
        for (number, value) in self.options {
            writer.option(*number, value).unwrap();
        }
        writer.payload(self.payload).unwrap();
        let len = writer.finish();
        buffer.truncate(len);
        buffer
    }
}

/// The message in these bytes.
pub fn parse(bytes: &[u8]) -> Message<'_> {
    Message::parse(bytes).unwrap()
}

/// What handlers have done: when, how asked, with which payload.
#[derive(Clone, Default)]
pub struct Diary(Arc<Mutex<Vec<Entry>>>);

/// One run of a handler.
#[derive(Clone, Debug)]
pub struct Entry {
    /// How the request arrived.
    pub arrival: Arrival,
    /// The method.
    pub method: Code,
    /// The payload of the request.
    pub payload: Vec<u8>,
}

impl Diary {
    /// An empty diary.
    pub fn new() -> Self {
        Self::default()
    }

    /// A handler that writes here and answers with this code and text.
    pub fn handler(
        &self,
        code: Code,
        text: &str,
    ) -> impl FnMut(&Incoming<'_>, &mut Response) + Send + use<> {
        let (diary, text) = (self.clone(), text.to_owned());
        move |request, response| {
            diary.0.lock().unwrap().push(Entry {
                arrival: request.arrival.clone(),
                method: request.method(),
                payload: request.payload().to_vec(),
            });
            response.reset(code);
            if !text.is_empty() {
                response.set_payload(ContentFormat::TEXT, text.as_bytes());
            }
        }
    }

    /// Everything so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.0.lock().unwrap().clone()
    }

    /// How often.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Never?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
