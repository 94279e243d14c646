//! Bodies in blocks between endpoints, in virtual time and with loss.

mod bombs;
mod groups;
mod hostile;
mod notifications;
mod reboots;
mod stalled;
mod unicast;

use std::collections::VecDeque;
use std::sync::Mutex;

use antiphon_wire::BlockValue;

use super::*;
use crate::block::{BlockSize, BodyFailure, BodyProgress, ServerBlocks};
use crate::collection::{
    AnswerProgress, CollectionEvent, End, GroupTarget, NoSec, Outcome, Rejection, Security,
};
use crate::rng::Rng;
use crate::security::Protection;

const CLIENT: usize = 0;

/// One host.
struct Host {
    endpoint: Endpoint,
    events: Vec<Event>,
    /// What its `/r` is.
    body: Arc<Mutex<Vec<u8>>>,
    resource: crate::resource::ResourceId,
    asked: Arc<AtomicU32>,
    /// What was put to it.
    put: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A datagram that was sent.
#[derive(Clone)]
struct Flying {
    from: usize,
    route: Route,
    bytes: Vec<u8>,
}

impl Flying {
    fn message(&self) -> Message<'_> {
        Message::parse(&self.bytes).unwrap()
    }

    fn block(&self, number: OptionNumber) -> Option<(u32, bool, usize)> {
        let value = self.message().option(number)?;
        let block = BlockValue::decode(value).unwrap();
        Some((block.num(), block.more(), block.size()))
    }

    fn is_request(&self) -> bool {
        self.message().code().is_request()
    }
}

/// Some hosts on one link, members of one group but for the client.
struct Net {
    hosts: Vec<Host>,
    now: Instant,
    flying: VecDeque<(Instant, Flying)>,
    sent: Vec<Flying>,
    rng: Rng,
    /// So many datagrams of 100 are lost.
    loss: u64,
    delay: Duration,
    /// These hear no request to them alone.
    stalls: core::ops::RangeInclusive<usize>,
    /// All servers are seen under the address of a gateway, each at a port of its own.
    behind_one_address: bool,
}

/// Host 3 has a port of its own.
fn address(host: usize) -> SocketAddr {
    let port = if host == 3 { 61_616 } else { 5_683 };
    let [high, low] = (10 + host as u16).to_be_bytes();
    ([10, 0, high, low], port).into()
}

/// No two blocks of it are alike.
fn body(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 16 * 7 + at) as u8).collect()
}

fn host(n: usize, config: EndpointConfig) -> Host {
    host_of(n, (n as u8).wrapping_add(1), config)
}

/// A host with random numbers of its own.
fn host_of(n: usize, seed: u8, config: EndpointConfig) -> Host {
    let mut endpoint = Endpoint::new(config, [seed; 32]);
    let unicast = SocketInfo {
        local: address(n),
        respond_from: None,
    };
    endpoint.add_socket(UNICAST, unicast);
    let of_group = SocketInfo {
        local: GROUP.into(),
        respond_from: None,
    };
    endpoint.add_socket(OF_GROUP, of_group);
    let server = endpoint.server_mut();
    server.set_nosec(crate::policy::NoSecPolicy::Stated);
    let text = Arc::new(Mutex::new(body(3_000)));
    let asked = Arc::new(AtomicU32::new(0));
    let put = Arc::new(Mutex::new(Vec::new()));
    let (shown, counter, taken) = (text.clone(), asked.clone(), put.clone());
    let answer = move |_: &crate::resource::Incoming<'_>, response: &mut Response| {
        counter.fetch_add(1, Ordering::Relaxed);
        response.set_payload(ContentFormat::OCTETS, &shown.lock().unwrap());
    };
    let take = move |request: &crate::resource::Incoming<'_>, response: &mut Response| {
        taken.lock().unwrap().push(request.payload().to_vec());
        if request.method() == Code::POST {
            response.payload = request.payload().iter().rev().copied().collect();
        }
    };
    let policy = GroupPolicy::respond()
        .leisure(Leisure::Fixed(Duration::ZERO))
        .amplification(crate::policy::Amplification::Unlimited);
    let resource = Resource::at("/r")
        .on(Methods::GET | Methods::FETCH, answer)
        .on(Methods::PUT | Methods::POST, take)
        .group_policy(policy)
        .access(Access::Unsecured)
        .observable();
    let resource = server.add(resource).unwrap();
    if n != CLIENT {
        server
            .memberships_mut()
            .create(CoapGroupSpec::new(GROUP.into()).on(1).unsecured())
            .unwrap();
    }
    Host {
        endpoint,
        events: Vec::new(),
        body: text,
        resource,
        asked,
        put,
    }
}

impl Net {
    fn new(hosts: usize) -> Self {
        Self::with(hosts, |_, _| {})
    }

    fn with(hosts: usize, change: impl Fn(usize, &mut EndpointConfig)) -> Self {
        let hosts = (0..hosts).map(|n| {
            let mut config = EndpointConfig::default();
            change(n, &mut config);
            host(n, config)
        });
        let mut net = Self {
            hosts: hosts.collect(),
            now: Instant::from_millis(1_000),
            flying: VecDeque::new(),
            sent: Vec::new(),
            rng: Rng::from_seed([77; 32]),
            loss: 0,
            delay: Duration::from_millis(5),
            stalls: 0..=0,
            behind_one_address: false,
        };
        net.pass(Duration::from_millis(1));
        for host in &mut net.hosts {
            host.events.clear();
        }
        net
    }

    fn drain(&mut self, n: usize) {
        let now = self.now;
        let host = &mut self.hosts[n];
        while let Some(work) = host.endpoint.poll_work(now) {
            host.endpoint.work_done(now, work.id, WorkResult::Done);
        }
        let mut out = Vec::new();
        while let Some(transmit) = host.endpoint.poll_transmit(now, &mut out) {
            let datagram = Flying {
                from: n,
                route: transmit.route,
                bytes: out.clone(),
            };
            self.sent.push(datagram.clone());
            if self.rng.up_to(99) >= self.loss {
                self.flying.push_back((now + self.delay, datagram));
            }
        }
        while let Some(event) = host.endpoint.poll_event() {
            host.events.push(event);
        }
    }

    /// Under which address others see a host.
    fn seen_as(&self, host: usize) -> SocketAddr {
        match self.behind_one_address && host != CLIENT {
            true => ([10, 9, 9, 9], 50_000 + host as u16).into(),
            false => address(host),
        }
    }

    fn deliver(&mut self, datagram: &Flying) {
        let to = datagram.route.destination;
        let multicast = datagram.route.is_multicast();
        for n in 0..self.hosts.len() {
            if (multicast && n == datagram.from) || (!multicast && self.seen_as(n) != to) {
                continue;
            }
            if !multicast && n != CLIENT && self.stalls.contains(&n) {
                continue;
            }
            let path = Path {
                socket: if multicast { OF_GROUP } else { UNICAST },
                local: to,
                interface: 1,
                peer: self.seen_as(datagram.from),
            };
            let now = self.now;
            let endpoint = &mut self.hosts[n].endpoint;
            endpoint.handle_datagram(now, path, &datagram.bytes);
            self.drain(n);
        }
    }

    /// Lets time pass, and everything happen that is due.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        for n in 0..self.hosts.len() {
            self.drain(n);
        }
        loop {
            let timers = self.hosts.iter().filter_map(|h| h.endpoint.next_timeout());
            let arrivals = self.flying.front().map(|(at, _)| *at);
            let next = timers.chain(arrivals).min().filter(|due| *due <= end);
            self.now = next.unwrap_or(end).max(self.now);
            while self.flying.front().is_some_and(|(at, _)| *at <= self.now) {
                let (_, datagram) = self.flying.pop_front().unwrap();
                self.deliver(&datagram);
            }
            for n in 0..self.hosts.len() {
                self.hosts[n].endpoint.handle_timeout(self.now);
                self.drain(n);
            }
            if next.is_none() {
                return;
            }
        }
    }

    fn ask(&mut self, to: usize, request: Request) -> ExchangeId {
        let now = self.now;
        let unicast = unicast(to, request);
        let id = self.hosts[CLIENT].endpoint.request(now, unicast).unwrap();
        self.drain(CLIENT);
        id
    }

    /// The response to a request, when it has come.
    fn response(&self, id: ExchangeId) -> Option<&Response> {
        self.hosts[CLIENT]
            .events
            .iter()
            .find_map(|event| match event {
                Event::Response {
                    exchange, response, ..
                } if *exchange == id => Some(response),
                _ => None,
            })
    }

    fn failure(&self, id: ExchangeId) -> Option<Failure> {
        self.hosts[CLIENT]
            .events
            .iter()
            .find_map(|event| match event {
                Event::Failed { exchange, failure } if *exchange == id => Some(*failure),
                _ => None,
            })
    }

    fn progress(&self, id: ExchangeId) -> Vec<BodyProgress> {
        let events = self.hosts[CLIENT].events.iter();
        let progress = events.filter_map(|event| match event {
            Event::Progress { exchange, progress } if *exchange == id => Some(*progress),
            _ => None,
        });
        progress.collect()
    }

    /// What the client has asked, in order.
    fn requests(&self) -> Vec<&Flying> {
        let of_client = |d: &&Flying| d.from == CLIENT && d.is_request();
        self.sent.iter().filter(of_client).collect()
    }

    fn asked(&self, host: usize) -> u32 {
        self.hosts[host].asked.load(Ordering::Relaxed)
    }
}

fn get() -> Request {
    Request::new(Code::GET).path("/r")
}

fn unicast(to: usize, request: Request) -> UnicastRequest {
    UnicastRequest {
        request,
        route: Route {
            socket: UNICAST,
            source: None,
            interface: 0,
            destination: address(to),
        },
        reliability: Reliability::Confirmable,
        response_timeout: None,
        protection: Protection::None,
    }
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}
