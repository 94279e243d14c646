//! Ten thousand observers of one server: memory, and how soon all are notified.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use antiphon_proto::{
    Access, CoapGroupSpec, Endpoint, EndpointConfig, GroupPolicy, Instant, Leisure, NoSecPolicy,
    Path, Resource, ResourceId, SocketId, SocketInfo, WorkResult,
};
use antiphon_wire::{Code, ContentFormat, Message, MessageId, OptionNumber, Token, Type, Writer};

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
}

/// Counts the bytes that the current thread holds.
struct Counting;

fn count(bytes: isize) {
    // Without thread-local storage (at the end of a thread) nothing is measured any more.
    let _gone = HELD.try_with(|held| held.set(held.get() + bytes));
}

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const OBSERVERS: u32 = 10_000;
const LEISURE: Duration = Duration::from_secs(5);
const ME: ([u8; 4], u16) = ([10, 0, 0, 1], 5683);
const GROUP: ([u8; 4], u16) = ([239, 1, 1, 1], 5683);

struct Server {
    endpoint: Endpoint,
    resource: ResourceId,
    now: Instant,
}

fn server() -> Server {
    let mut config = EndpointConfig::default();
    // Until they have acknowledged something, such observers have half of the places.
    config.server.observe.observers = 2 * OBSERVERS as usize;
    config.server.observe.per_resource = 2 * OBSERVERS as usize;
    config.limits.pending_answers = OBSERVERS as usize;
    config.dedup.records = 0; // it has a bound of its own
    let mut endpoint = Endpoint::new(config, [5; 32]);
    for (id, local) in [(0, ME), (1, GROUP)] {
        let info = SocketInfo {
            local: local.into(),
            respond_from: None,
        };
        endpoint.add_socket(SocketId(id), info);
    }
    let server = endpoint.server_mut();
    server.set_nosec(NoSecPolicy::Stated);
    let resource = Resource::at("building/floor/temperature")
        .get(|_, response| response.set_payload(ContentFormat::TEXT, b"21.5 C"))
        .access(Access::Unsecured)
        .group_policy(GroupPolicy::respond().leisure(Leisure::Fixed(LEISURE)))
        .observable();
    let resource = server.add(resource).unwrap();
    let group = CoapGroupSpec::new(GROUP.into()).on(1).unsecured();
    server.memberships_mut().create(group).unwrap();
    while let Some(work) = endpoint.poll_work(Instant::ZERO) {
        endpoint.work_done(Instant::ZERO, work.id, WorkResult::Done);
    }
    while endpoint.poll_event().is_some() {}
    Server {
        endpoint,
        resource,
        now: Instant::ZERO,
    }
}

fn client(n: u32) -> SocketAddr {
    (Ipv4Addr::from(0x0a01_0000 + n), 40_000).into()
}

impl Server {
    fn hear(&mut self, through_group: bool, peer: SocketAddr, bytes: &[u8]) {
        let (socket, local) = match through_group {
            true => (SocketId(1), GROUP),
            false => (SocketId(0), ME),
        };
        let path = Path {
            socket,
            local: local.into(),
            interface: 1,
            peer,
        };
        self.endpoint.handle_datagram(self.now, path, bytes);
    }

    fn register(&mut self, through_group: bool, n: u32) {
        self.ask(through_group, n, true);
    }

    fn ask(&mut self, through_group: bool, n: u32, observe: bool) {
        let mut bytes = [0; 128];
        let kind = if through_group { Type::Non } else { Type::Con };
        let token = Token::new(&u64::from(n).to_be_bytes()).unwrap();
        let mid = MessageId(n as u16 + 20_000 * u16::from(observe));
        let mut writer = Writer::new(&mut bytes, kind, Code::GET, mid, token).unwrap();
        if observe {
            writer.option(OptionNumber::OBSERVE, &[]).unwrap();
        }
        for segment in ["building", "floor", "temperature"] {
            writer
                .option(OptionNumber::URI_PATH, segment.as_bytes())
                .unwrap();
        }
        let len = writer.finish();
        self.hear(through_group, client(n), &bytes[..len]);
    }

    /// Takes everything that is sent; clients acknowledge what is Confirmable. How many notifications that were.
    fn drain(&mut self) -> usize {
        let mut out = Vec::new();
        let mut notes = 0;
        while let Some(sent) = self.endpoint.poll_transmit(self.now, &mut out) {
            let message = Message::parse(&out).unwrap();
            notes += usize::from(message.option(OptionNumber::OBSERVE).is_some());
            if message.kind() == Type::Con {
                let [high, low] = message.message_id().0.to_be_bytes();
                self.hear(false, sent.route.destination, &[0x60, 0, high, low]);
            }
        }
        notes
    }

    fn run(&mut self, duration: Duration) -> usize {
        let end = self.now + duration;
        let mut notes = self.drain();
        while let Some(next) = self.endpoint.next_timeout().filter(|next| *next <= end) {
            self.now = next;
            self.endpoint.handle_timeout(next);
            notes += self.drain();
        }
        self.now = end;
        notes
    }
}

fn observed(through_group: bool) -> Server {
    let mut server = server();
    // What is there for any number of observers, and what plain requests take as well.
    for n in 1..OBSERVERS {
        server.ask(through_group, n, false);
        if !through_group {
            server.drain();
        }
    }
    server.register(through_group, OBSERVERS);
    server.run(LEISURE + Duration::from_secs(300));
    let before = HELD.get();
    for n in 1..OBSERVERS {
        server.register(through_group, n);
        if !through_group {
            assert_eq!(server.drain(), 1);
        }
    }
    if through_group {
        assert_eq!(server.run(LEISURE), OBSERVERS as usize - 1);
    }
    let held = HELD.get() - before;
    let each = held / (OBSERVERS as isize - 1);
    println!("{each} bytes for each observer, through a group: {through_group}");
    assert!(each <= 300, "{each} bytes");
    assert_eq!(
        server.endpoint.load().observers,
        OBSERVERS as usize,
        "all have found a place"
    );
    let stated = server.endpoint.server().config().clone();
    let stated = EndpointConfig {
        server: stated,
        ..EndpointConfig::default()
    };
    let stated = stated.memory_totals().observers;
    assert!(held as usize <= stated, "{held} of {stated}");
    server
}

#[test]
fn ten_thousand_observers_take_300_bytes_each_and_are_notified_within_a_second() {
    let mut server = observed(false);
    let (now, resource) = (server.now, server.resource);
    for round in 0..3 {
        server.now = now + Duration::from_secs(4 * round);
        let now = server.now;
        server.endpoint.handle_timeout(now);
        assert_eq!(server.endpoint.changed(now, resource), OBSERVERS as usize);
        assert_eq!(server.run(Duration::from_secs(1)), OBSERVERS as usize);
    }
    assert_eq!(server.endpoint.load().observers, OBSERVERS as usize);
}

#[test]
fn ten_thousand_observers_of_a_group_are_notified_within_one_leisure_period() {
    let mut server = observed(true);
    for _ in 0..3 {
        let (now, resource) = (server.now, server.resource);
        server.endpoint.changed(now, resource);
        assert_eq!(
            server.run(LEISURE + Duration::from_millis(200)),
            OBSERVERS as usize
        );
        server.now = server.now + LEISURE;
    }
}
