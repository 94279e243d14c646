//! Any sequence of operations on bodies in blocks, between a client and a server and with an attacker between them: what
//! always holds must hold.
//!
//! The bytes of the input choose what is put and got, which datagrams arrive, twice, late or not at all, which are forged
//! and how, and when time passes. After each operation:
//!
//! - every table keeps to its limit, and everything sent is a message;
//! - a response is whole: one of the representations there were, never a mixture; and so is a body that was put - until
//!   something was forged, which on this path nothing prevents;
//! - a request ends once, and in the end all of them have.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use antiphon_proto::{
    Access, BlockSize, Endpoint, EndpointConfig, Event, ExchangeId, Incoming, Instant, Methods,
    NoSecPolicy, Path, Protection, Reliability, Request, Resource, Response, Route, SocketId,
    SocketInfo, UnicastRequest, WorkResult,
};
use antiphon_wire::{
    BlockValue, Code, ContentFormat, Message, MessageId, OptionNumber, Token, Type, Writer,
};

const SOCKET: SocketId = SocketId(0);
const CLIENT: usize = 0;
const SERVER: usize = 1;
/// The largest body that either side takes.
const LARGEST: usize = 4_096;
/// Bodies that the server puts together, and keeps.
const PLACES: usize = 3;

/// What a sequence of operations reached.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reached {
    /// Requests that ended with a response, and with a failure.
    pub ended: [u64; 2],
    /// Bodies that were put, in several blocks or one.
    pub put: u64,
    /// Datagrams that were forged.
    pub forged: u64,
}

/// Runs the operations that the bytes stand for, and says what came of them.
///
/// # Panics
/// If something that always holds does not.
pub fn run(data: &[u8]) -> Reached {
    let mut play = Play::new(data);
    while !play.input.is_empty() {
        play.operation();
    }
    play.come_to_an_end();
    play.reached
}

struct Play<'a> {
    input: &'a [u8],
    now: Instant,
    endpoints: [Endpoint; 2],
    /// Who has sent it, and the bytes.
    flying: VecDeque<(usize, Vec<u8>)>,
    /// The representations that there were, and the bodies that were sent.
    versions: Arc<Mutex<Vec<Vec<u8>>>>,
    sent: Vec<Vec<u8>>,
    put: Arc<Mutex<Vec<Vec<u8>>>>,
    open: BTreeSet<ExchangeId>,
    /// The last request of the client.
    asked: Option<(Token, MessageId)>,
    reached: Reached,
}

fn address(side: usize) -> SocketAddr {
    ([10, 0, 0, 1 + side as u8], 5683).into()
}

/// A body that tells its number and its places apart.
fn body(number: u8, length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (at / 16) as u8 ^ number.wrapping_mul(37))
        .collect()
}

impl<'a> Play<'a> {
    fn new(input: &'a [u8]) -> Self {
        let mut play = Self {
            input,
            now: Instant::from_micros(1_000_000),
            endpoints: [CLIENT, SERVER].map(|side| {
                let mut config = EndpointConfig::default();
                config.transfers.body = LARGEST;
                config.transfers.bytes = 4 * LARGEST;
                let blocks = &mut config.server.blocks;
                blocks.body = LARGEST;
                blocks.incomplete = PLACES;
                blocks.incomplete_bytes = 2 * LARGEST;
                blocks.kept = PLACES;
                blocks.kept_bytes = 2 * LARGEST;
                let mut endpoint = Endpoint::new(config, [side as u8; 32]);
                let info = SocketInfo {
                    local: address(side),
                    respond_from: None,
                };
                endpoint.add_socket(SOCKET, info);
                endpoint
            }),
            flying: VecDeque::new(),
            versions: Arc::new(Mutex::new(vec![body(0, 3_000)])),
            sent: Vec::new(),
            put: Arc::default(),
            open: BTreeSet::new(),
            asked: None,
            reached: Reached::default(),
        };
        let (shown, taken) = (Arc::clone(&play.versions), Arc::clone(&play.put));
        let get = move |_: &Incoming<'_>, response: &mut Response| {
            let versions = shown.lock().unwrap();
            response.set_payload(ContentFormat::OCTETS, versions.last().unwrap());
        };
        let put = move |request: &Incoming<'_>, response: &mut Response| {
            taken.lock().unwrap().push(request.payload().to_vec());
            if request.method() == Code::POST {
                response.payload = request.payload().to_vec();
            }
        };
        let resource = Resource::at("/r")
            .on(Methods::GET | Methods::FETCH, get)
            .on(Methods::PUT | Methods::POST, put)
            .access(Access::Unsecured);
        let server = play.endpoints[SERVER].server_mut();
        server.set_nosec(NoSecPolicy::Stated);
        server.add(resource).unwrap();
        play.drain();
        play
    }

    fn byte(&mut self) -> u8 {
        match self.input.split_first() {
            Some((first, rest)) => {
                self.input = rest;
                *first
            }
            None => 0,
        }
    }

    fn operation(&mut self) {
        match self.byte() % 16 {
            0 | 1 => self.ask(Code::GET),
            2 => self.ask(Code::PUT),
            3 => self.ask(Code::POST),
            4 => self.ask(Code::FETCH),
            5 => {
                self.flying.pop_front();
            }
            6 => {
                // It comes twice, and the second time later.
                let twice = self.flying.front().cloned();
                self.arrive();
                self.flying.extend(twice);
            }
            7 => self
                .flying
                .rotate_left(usize::from(!self.flying.is_empty())),
            8 => self.forge_response(),
            9 => self.forge_request(),
            10 => {
                let (number, length) = (self.byte(), usize::from(self.byte()) * 16);
                self.versions.lock().unwrap().push(body(number, length));
            }
            11 => {
                let time = Duration::from_millis(1 << (self.byte() % 19));
                self.pass(time);
            }
            12 => self.cancel(),
            _ => self.arrive(),
        }
        self.check();
    }

    fn ask(&mut self, method: Code) {
        let mut request = Request::new(method).path("/r");
        let (what, number, length) = (self.byte(), self.byte(), usize::from(self.byte()) * 17);
        if method != Code::GET {
            request.payload = body(number, length);
        }
        if let Some(size) = BlockSize::at_most(usize::from(what) * 8)
            && what % 2 == 1
            && let Some(block) = BlockValue::new(0, false, size.bytes().ilog2() as u8 - 4)
        {
            let value = block.encode();
            request.options.push(OptionNumber::BLOCK2, value.as_bytes());
        }
        if what % 8 == 3 {
            request.options.push(OptionNumber::SIZE2, b"");
        }
        let payload = request.payload.clone();
        let unicast = UnicastRequest {
            request,
            route: Route {
                socket: SOCKET,
                source: None,
                interface: 0,
                destination: address(SERVER),
            },
            reliability: Reliability::Confirmable,
            response_timeout: None,
            protection: Protection::None,
        };
        let client = &mut self.endpoints[CLIENT];
        let started = match (method, what % 16) {
            (Code::GET, 5) => client.request_range(self.now, unicast, length, 100),
            _ => client.request(self.now, unicast),
        };
        if let Ok(id) = started {
            assert!(self.open.insert(id));
            self.sent.push(payload);
        }
        self.drain();
    }

    fn cancel(&mut self) {
        if let Some(id) = self.open.pop_first() {
            self.endpoints[CLIENT].cancel(self.now, id);
            self.drain();
        }
    }

    /// The next datagram arrives.
    fn arrive(&mut self) {
        if let Some((from, bytes)) = self.flying.pop_front() {
            self.deliver(1 - from, &bytes);
        }
    }

    fn deliver(&mut self, to: usize, bytes: &[u8]) {
        let path = Path {
            socket: SOCKET,
            local: address(to),
            interface: 1,
            peer: address(1 - to),
        };
        self.endpoints[to].handle_datagram(self.now, path, bytes);
        self.drain();
    }

    /// Block options of any value, and a payload that may be as long as they say.
    fn blocks(&mut self, number: OptionNumber) -> (Vec<(OptionNumber, Vec<u8>)>, Vec<u8>) {
        let (szx, bits) = (self.byte() % 7, self.byte());
        let block = u32::from(bits & 7);
        let block = match bits & 0x10 {
            0 => block,
            _ => BlockValue::MAX_NUM - block,
        };
        let more = bits & 8 != 0;
        let value = BlockValue::new(block, more, szx).unwrap().encode();
        let mut options = vec![(number, value.as_bytes().to_vec())];
        if bits & 0x20 != 0 {
            options.push((OptionNumber::ETAG, vec![self.byte() | 1]));
        }
        if bits & 0x40 != 0 {
            let size = match number {
                OptionNumber::BLOCK1 => OptionNumber::SIZE1,
                _ => OptionNumber::SIZE2,
            };
            options.push((size, vec![0x40, 0, 0, self.byte()]));
        }
        let length = match bits & 0x80 {
            0 => 16 << szx,
            _ => usize::from(self.byte()),
        };
        (options, vec![0xee; length])
    }

    fn forge_response(&mut self) {
        let Some((token, mid)) = self.asked else {
            return;
        };
        let codes = [
            Code::CONTENT,
            Code::CHANGED,
            Code::CONTINUE,
            Code::REQUEST_ENTITY_INCOMPLETE,
            Code::REQUEST_ENTITY_TOO_LARGE,
            Code::BAD_REQUEST,
            Code::VALID,
        ];
        let code = codes[usize::from(self.byte()) % codes.len()];
        let number = match self.byte() % 2 {
            0 => OptionNumber::BLOCK2,
            _ => OptionNumber::BLOCK1,
        };
        let (options, payload) = self.blocks(number);
        self.forge(CLIENT, Type::Ack, code, mid, token, options, &payload);
    }

    fn forge_request(&mut self) {
        let methods = [Code::PUT, Code::POST, Code::GET, Code::FETCH];
        let method = methods[usize::from(self.byte()) % methods.len()];
        let number = match self.byte() % 4 {
            0 => OptionNumber::BLOCK2,
            _ => OptionNumber::BLOCK1,
        };
        let (mut options, payload) = self.blocks(number);
        options.push((OptionNumber::URI_PATH, b"r".to_vec()));
        if self.byte().is_multiple_of(4) {
            let tag = vec![self.byte() % 8];
            options.push((OptionNumber::REQUEST_TAG, tag));
        }
        let mid = MessageId(u16::from_be_bytes([self.byte(), self.byte()]));
        let token = Token::new(b"forged").unwrap();
        self.forge(SERVER, Type::Con, method, mid, token, options, &payload);
    }

    #[allow(clippy::too_many_arguments)]
    fn forge(
        &mut self,
        to: usize,
        kind: Type,
        code: Code,
        mid: MessageId,
        token: Token,
        mut options: Vec<(OptionNumber, Vec<u8>)>,
        payload: &[u8],
    ) {
        options.sort_by_key(|(number, _)| *number);
        let mut bytes = [0; 2_048];
        let mut writer = Writer::new(&mut bytes, kind, code, mid, token).unwrap();
        for (number, value) in &options {
            writer.option(*number, value).unwrap();
        }
        if !payload.is_empty() {
            writer.payload(payload).unwrap();
        }
        let length = writer.finish();
        self.reached.forged += 1;
        self.deliver(to, &bytes[..length]);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..10_000 {
            let timers = self.endpoints.iter().filter_map(Endpoint::next_timeout);
            let next = timers.min().filter(|due| *due <= end);
            self.now = next.unwrap_or(end).max(self.now);
            for endpoint in &mut self.endpoints {
                endpoint.handle_timeout(self.now);
            }
            self.drain();
            if next.is_none() {
                return;
            }
        }
        panic!("a timeout stays due");
    }

    fn drain(&mut self) {
        let mut out = Vec::new();
        for side in [CLIENT, SERVER] {
            let endpoint = &mut self.endpoints[side];
            while let Some(work) = endpoint.poll_work(self.now) {
                endpoint.work_done(self.now, work.id, WorkResult::Done);
            }
            while let Some(transmit) = endpoint.poll_transmit(self.now, &mut out) {
                assert_eq!(transmit.route.destination, address(1 - side));
                let message = Message::parse(&out).expect("what is sent is a message");
                assert!(out.len() <= 1_472);
                if side == CLIENT && message.code().is_request() {
                    self.asked = Some((message.token(), message.message_id()));
                }
                self.flying.push_back((side, out.clone()));
            }
        }
        // Nobody reads so slowly that more than this is on its way.
        while self.flying.len() > 256 {
            self.flying.pop_front();
        }
        while let Some(event) = self.endpoints[CLIENT].poll_event() {
            self.heard(event);
        }
        while self.endpoints[SERVER].poll_event().is_some() {}
    }

    fn heard(&mut self, event: Event) {
        match event {
            Event::Response {
                exchange, response, ..
            } => {
                assert!(self.open.remove(&exchange), "it ends once");
                self.reached.ended[0] += 1;
                assert!(response.payload.len() <= LARGEST);
                let whole = |bodies: &[Vec<u8>]| {
                    bodies.iter().any(|body| {
                        response.payload == *body
                            || body.windows(100).any(|part| part == response.payload)
                            || body.ends_with(&response.payload)
                    })
                };
                let known = whole(&self.versions.lock().unwrap()) || whole(&self.sent);
                let error = response.code != Code::CONTENT && response.code != Code::CHANGED;
                assert!(known || error || self.reached.forged > 0, "a mixture");
            }
            Event::Failed { exchange, .. } => {
                assert!(self.open.remove(&exchange), "it ends once");
                self.reached.ended[1] += 1;
            }
            Event::Progress { exchange, progress } => {
                assert!(self.open.contains(&exchange));
                assert!(progress.bytes <= LARGEST);
            }
            _ => {}
        }
    }

    fn check(&mut self) {
        let (incomplete, kept) = self.endpoints[SERVER].server().bodies();
        assert!(incomplete <= PLACES && kept <= PLACES);
        let load = self.endpoints[CLIENT].load();
        assert!(load.transfers <= self.open.len() && load.exchanges <= self.open.len());
        for body in self.put.lock().unwrap().drain(..) {
            self.reached.put += 1;
            assert!(body.len() <= LARGEST);
            assert!(
                self.sent.contains(&body) || self.reached.forged > 0,
                "a mixture"
            );
        }
    }

    /// Nothing arrives any more: everything ends.
    fn come_to_an_end(&mut self) {
        self.flying.clear();
        for _ in 0..10_000 {
            if self.open.is_empty() {
                break;
            }
            self.flying.clear();
            self.pass(Duration::from_secs(600));
        }
        assert!(self.open.is_empty(), "every request ends");
        self.flying.clear();
        self.pass(Duration::from_secs(1_000));
        assert_eq!(self.endpoints[SERVER].server().bodies(), (0, 0));
        assert_eq!(self.endpoints[CLIENT].load().transfers, 0);
        self.check();
    }
}
